# SPDX-License-Identifier: Apache-2.0
# Sourced with bash, inside t/lib/sandbox, by stages that need a whole site run as root: httpd on 127.0.0.1:8080 as
# conf/site.conf says, memcached, libvirt, the people alice, bob, carol and admin, and the personas of t/personas.
root=$top_srcdir
prefix=$PERSONA_PREFIX
images=$PERSONA_CACHE/images
services=$TMPDIR/services
site=$TMPDIR/site
mkdir -p "$services"
chmod 711 "$TMPDIR"
. "$top_srcdir/t/lib/account.sh"
. "$top_srcdir/t/lib/services.sh"
. "$top_srcdir/t/lib/site.sh"
tests=0

# check NAME COMMAND...: a test that passes when COMMAND succeeds; what it said is shown when it does not.
check()
{
    local name=$1
    shift
    tests=$((tests + 1))
    if "$@" > "$TMPDIR/out" 2>&1; then
        echo "ok $tests - $name"
    else
        echo "not ok $tests - $name"
        sed 's/^/# /' "$TMPDIR/out"
        return 1
    fi
}

fails()
{
    ! "$@"
}

bail()
{
    [ ! -f "$site/logs/error.log" ] || tail -n 30 "$site/logs/error.log" | sed 's/^/# /'
    echo "Bail out! $*"
    exit 1
}

# testsite_start PERSONA...: up and serving with these personas; their pools need not be warm yet.
testsite_start()
{
    local persona
    id persona > /dev/null 2>&1 || useradd --system --user-group --no-create-home --shell /usr/sbin/nologin persona
    service_memcached 11212 || bail "memcached does not start"
    if [ -z "${site_docker:-}" ]; then
        usermod -aG libvirt persona || bail "no user persona"
        service_libvirt || bail "libvirtd does not start: $(tail -n 5 "$services/libvirt.log")"
        service_network || bail "the network does not start"
    fi
    site_make || bail "no site"
    for persona in "$@"; do
        cp "$top_srcdir/t/personas/$persona.json" "$site/personas/" || bail "no persona $persona"
    done
    for persona in alice bob carol admin; do
        site_person $persona '' || bail "htpasswd failed"
    done
    site_httpd -t > "$PERSONA_LOGS/configtest.log" 2>&1 || bail "$(tail -n 5 "$PERSONA_LOGS/configtest.log")"
    site_start || bail "httpd does not serve"
}

testsite_warm()
{
    "$top_srcdir/t/lib/warm" "$site_address" admin "$(site_password admin)" "$1"
}

testsite_stop()
{
    site_stop
    cp "$site"/logs/*.log "$PERSONA_LOGS/" 2>/dev/null
    services_stop
}
