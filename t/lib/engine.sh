# SPDX-License-Identifier: Apache-2.0
# Sourced with bash, inside t/lib/sandbox, by what needs a container engine with the tests' image "probe:1" and the
# networks "persona" (isolated, 172.30.10.0/24) and "open". Sets socket (its address) and cli (its client).
root=${top_srcdir:-$(cd "$(dirname "$0")/../.." && pwd -P)}
build=${top_builddir:-$root}
services=$TMPDIR/services
images=$TMPDIR/images
mkdir -p "$services" "$images"
. "$root/t/lib/services.sh"
export services root

bail()
{
    echo "Bail out! $*"
    services_stop
    exit 1
}

# engine_start docker|podman [OPTION...]
engine_start()
{
    local engine=$1
    shift
    case "$engine" in
    docker)
        service_docker "$@" || { tail -n 20 "$services/dockerd.log" | sed 's/^/# /'; bail "dockerd does not start"; }
        socket=unix://$services/docker/docker.sock
        cli="docker -H $socket" ;;
    podman)
        service_podman || { tail -n 20 "$services/podman.log" | sed 's/^/# /'; bail "podman does not start"; }
        socket=unix://$services/podman/podman.sock
        cli=$services/podman/cli
        printf '#!/bin/bash\nservices=%s\n. %s/t/lib/services.sh\npodman_cli "$@"\n' "$services" "$root" > "$cli"
        chmod 755 "$cli" ;;
    *) bail "there is no engine $engine" ;;
    esac
    PERSONA_CACHE=/nonexistent "$root/t/provider/image" "$images" || bail "the image cannot be made"
    "$root/image/load" "$cli" probe --images "$images" --as probe:1 || bail "the image cannot be loaded"
    "$root/conf/persona-network" create "$cli" persona 172.30.10.0/24 --allow 172.30.10.1:18081 &&
        "$root/conf/persona-network" create "$cli" open 172.30.11.0/24 --open || bail "the networks cannot be made"
}
