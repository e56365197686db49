# SPDX-License-Identifier: Apache-2.0
# Sourced, with bash, by quickstart and by the tests: the daemons that mod_persona needs, started by hand where none
# runs, on hosts with and without systemd. Every process, network and directory made here is recorded in $services
# (a directory the caller sets), and services_stop takes back exactly that.

services_note()
{
    printf '%s\n' "$*" >> "$services/made"
}

# services_until SECONDS COMMAND...: waits until COMMAND succeeds.
services_until()
{
    local end=$((SECONDS + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

# Whether the process of a pid file lives and is the program it was started as.
services_alive()
{
    local pid
    pid=$(services_pid "$1") && [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ]
}

services_pid()
{
    [ -f "$services/$1.pid" ] && tr -dc 0-9 < "$services/$1.pid"
}

# services_end NAME [SIGNAL]: ends the process of NAME.pid and waits for its end.
services_end()
{
    local pid
    if services_alive "$1"; then
        pid=$(services_pid "$1")
        kill -"${2:-TERM}" "$pid"
        services_until 10 services_gone "$pid" || kill -KILL "$pid"
    fi
    rm -f "$services/$1.pid"
}

services_gone()
{
    ! kill -0 "$1" 2>/dev/null
}

# services_start PROGRAM [ARG...]: runs it detached, its output in PROGRAM.log, its pid in PROGRAM.pid.
services_start()
{
    services_note process "$1"
    setsid "$@" >> "$services/$1.log" 2>&1 < /dev/null 9>&- &
    echo $! > "$services/$1.pid"
    disown
}

# services_port ADDRESS PORT: whether something listens there.
services_port()
{
    (exec 3<> "/dev/tcp/$1/$2") 2>/dev/null
}

# service_memcached PORT: one of our own, on loopback.
service_memcached()
{
    services_alive memcached || services_start memcached -u nobody -l 127.0.0.1 -p "$1" -m 64 -U 0
    services_until 10 services_port 127.0.0.1 "$1"
}

service_libvirt_answers()
{
    timeout 10 virsh -q -c qemu:///system uri && timeout 10 virsh -q -c lxc:///system uri
}

# A libvirtd that already runs is used as it is. Else one is started whose configuration, secrets, domains and
# networks lie in $services/libvirt: what the host keeps in /etc/libvirt and /var/lib/libvirt is not touched. It runs
# in a mount namespace of its own, without the empty v2 tree of a hybrid cgroup host, on which containers cannot start.
service_libvirt()
{
    local dir
    service_libvirt_answers > /dev/null 2>&1 && return
    for dir in /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
        mkdir -p "$services/libvirt$dir"
    done
    cp -a /etc/libvirt/. "$services/libvirt/etc/libvirt/" &&
        rm -rf "$services"/libvirt/etc/libvirt/{qemu,lxc}/*.xml "$services"/libvirt/etc/libvirt/qemu/networks \
            "$services"/libvirt/etc/libvirt/qemu/autostart "$services"/libvirt/etc/libvirt/{secrets,storage} &&
        chmod -R a+rX "$services/libvirt/var/lib" || return 1
    cat > "$services/libvirt/libvirtd.conf" <<'CONF'
unix_sock_group = "libvirt"
unix_sock_rw_perms = "0770"
unix_sock_ro_perms = "0770"
auth_unix_rw = "none"
auth_unix_ro = "none"
CONF
    [ -d /run/libvirt ] || services_note path /run/libvirt
    for dir in /sys/fs/cgroup/*/machine /sys/fs/cgroup/machine; do
        [ -d "$dir" ] || services_note cgroup "$dir"
    done
    services_note libvirt
    # shellcheck disable=SC2016
    unshare --mount --propagation slave sh -c '
        set -e
        for dir in /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
            mkdir -p "$dir"
            mount --bind "$1/libvirt$dir" "$dir"
        done
        umount /sys/fs/cgroup/unified 2>/dev/null || :
        virtlogd -d -p "$1/virtlogd.pid"
        libvirtd -d -p "$1/libvirtd.pid" -f "$1/libvirt/libvirtd.conf"' - "$services" \
        >> "$services/libvirt.log" 2>&1 9>&- || return 1
    services_until 20 service_libvirt_answers
}

service_network_active()
{
    [ "$(virsh -q -c qemu:///system net-info persona 2>/dev/null | awk '$1 == "Active:" { print $2 }')" = yes ]
}

# The network "persona": NAT behind persona0, 192.168.150.1. DHCP (virtual machines) has the upper half of the
# addresses; the lower half is for containers, whose addresses the manager gives out.
service_network()
{
    service_network_active && return
    cat > "$services/network.xml" <<'XML'
<network>
  <name>persona</name>
  <forward mode='nat'/>
  <bridge name='persona0' stp='off' delay='0'/>
  <ip address='192.168.150.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.150.128' end='192.168.150.254'/></dhcp>
  </ip>
</network>
XML
    virsh -q -c qemu:///system net-info persona > /dev/null 2>&1 ||
        { virsh -q -c qemu:///system net-define "$services/network.xml" && services_note network persona; } || return 1
    virsh -q -c qemu:///system net-start persona && service_network_active
}

# service_libvirt_sweep NAMESPACE IMAGES: takes back what the manager of a site made at libvirt: instances with their
# disks, fences, intents, filters, and the storage pool below IMAGES. What other sites made there stays.
service_libvirt_sweep()
{
    local namespace=$1 images=$2 secrets uuid name
    [ -n "$namespace" ] && secrets=$(virsh -q -c qemu:///system secret-list 2> /dev/null) || return 0
    for uuid in $(awk -v ns="$namespace" '$3 ~ "^persona(-intent)?:[a-z]+:" ns ":" {
            sub(/.*:/, "", $3); print $3 }' <<< "$secrets" | sort -u); do
        for name in lxc:/// qemu:///system; do
            virsh -q -c "$name" destroy "persona-$uuid"
        done
        for name in qcow2 env; do
            virsh -q -c qemu:///system vol-delete --pool persona "persona-$namespace-$uuid.$name"
        done
    done > /dev/null 2>&1
    for uuid in $(awk -v ns="$namespace" '$3 ~ "^persona(-intent)?:([a-z]+:)?" ns ":" { print $1 }' <<< "$secrets"); do
        virsh -q -c qemu:///system secret-undefine "$uuid"
    done > /dev/null 2>&1
    for name in $(virsh -q -c qemu:///system nwfilter-list | awk '$2 ~ /^persona-(isolated|open)-/ { print $2 }'); do
        virsh -q -c qemu:///system nwfilter-undefine "$name"
    done > /dev/null 2>&1
    if virsh -q -c qemu:///system pool-dumpxml persona 2> /dev/null | grep -q "<path>$images/"; then
        virsh -q -c qemu:///system pool-destroy persona > /dev/null 2>&1
        virsh -q -c qemu:///system pool-undefine persona > /dev/null 2>&1
    fi
}

# services_note_cgroups NAME: control groups that an engine makes and leaves.
services_note_cgroups()
{
    local top
    for top in /sys/fs/cgroup /sys/fs/cgroup/*; do
        [ ! -d "$top" ] || [ -d "$top/$1" ] || services_note cgroup "$top/$1"
    done
}

service_docker_answers()
{
    docker -H "unix://$services/docker/docker.sock" version
}

# service_docker [OPTION...]: a dockerd of our own, with its images, containers and socket in $services/docker (but for
# the sockets within, for which /run has short names). Its
# containers live on while it is restarted. A storage driver that the disk below cannot have is replaced by vfs. The
# socket is for the group $services_docker_group (default root). With $services_docker_alone it makes no bridge and no
# rule but for the networks that it is asked for: nothing is left of them on the host.
service_docker()
{
    local dir=$services/docker driver net='--bip 172.30.9.1/24'
    [ -z "${services_docker_alone:-}" ] || net='--bridge none --iptables=false --ip6tables=false'
    mkdir -p "$dir" || return 1
    if ! services_alive dockerd; then
        services_note_cgroups docker
        [ -d /run/persona-docker ] || services_note path /run/persona-docker
        services_note docker
        for driver in overlay2 vfs; do
            rm -f "$dir/pid"
            # shellcheck disable=SC2086 -- words
            setsid dockerd --data-root "$dir/data" --exec-root /run/persona-docker -p "$dir/pid" \
                -H "unix://$dir/docker.sock" \
                -G "${services_docker_group:-root}" $net --storage-driver "$driver" --default-ulimit nofile=4096:4096 \
                --live-restore="${PERSONA_LIVE_RESTORE:-1}" "$@" >> "$services/dockerd.log" 2>&1 < /dev/null 9>&- &
            echo $! > "$services/dockerd.pid"
            disown
            services_until 30 service_docker_decided
            service_docker_answers > /dev/null 2>&1 && return
        done
        return 1
    fi
    service_docker_answers > /dev/null 2>&1
}

# podman_cli ARG...: Podman with all that it keeps in $services/podman, but for what it wants below a short path.
podman_cli()
{
    CONTAINERS_CONF=$services/podman/containers.conf podman --root "$services/podman/root" \
        --runroot /run/persona-podman --tmpdir "$services/podman/tmp" --cgroup-manager cgroupfs "$@"
}

# The first answers about itself and the machine take Podman seconds on a busy one: it runs several programs for them.
service_podman_answers()
{
    curl -sf --unix-socket "$services/podman/podman.sock" http://engine/version &&
        curl -sf --unix-socket "$services/podman/podman.sock" http://engine/v1.41/info
}

# service_podman: Podman's interface at $services/podman/podman.sock. Its limits are those that a machine without
# CAP_SYS_RESOURCE can give.
service_podman()
{
    local dir=$services/podman
    mkdir -p "$dir/net" || return 1
    [ -f "$dir/containers.conf" ] || cat > "$dir/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=16384:16384"]
[engine]
runtime = "runc"
events_logger = "file"
[network]
network_config_dir = "$dir/net"
CONF
    services_alive podman || {
        services_note_cgroups libpod_parent
        [ -d /run/persona-podman ] || services_note path /run/persona-podman
        services_note podman
        CONTAINERS_CONF=$dir/containers.conf setsid podman --root "$dir/root" --runroot /run/persona-podman \
            --tmpdir "$dir/tmp" --cgroup-manager cgroupfs system service --time=0 "unix://$dir/podman.sock" \
            >> "$services/podman.log" 2>&1 < /dev/null 9>&- &
        echo $! > "$services/podman.pid"
        disown
    }
    services_until 60 service_podman_answers
}

# Whether it answers, or has ended.
service_docker_decided()
{
    service_docker_answers || services_gone "$(services_pid dockerd)"
}

services_stop()
{
    local kind what
    [ -f "$services/made" ] || return 0
    while read -r kind what; do
        case "$kind" in
        network) virsh -q -c qemu:///system net-destroy "$what"
                 virsh -q -c qemu:///system net-undefine "$what" ;;
        libvirt) services_end libvirtd
                 services_end virtlogd ;;
        podman) podman_cli rm -af -t 0
                services_end podman ;;
        docker) docker -H "unix://$services/docker/docker.sock" ps -aq | xargs -r docker \
                    -H "unix://$services/docker/docker.sock" rm -f
                services_end dockerd ;;
        process) services_end "$what" ;;
        path) rm -rf --one-file-system "$what" ;;
        cgroup) [ ! -d "$what" ] || find "$what" -depth -type d -exec rmdir {} + ;;
        esac
    done < <(tac "$services/made") > /dev/null 2>&1
    rm -f "$services/made"
}
