# SPDX-License-Identifier: Apache-2.0
# Sourced. packages_need PHASE...: installs what t/lib/packages lists for the phases and this machine lacks.
# Callers define `die MESSAGE`, and set `root` to the top of the source tree.

packages_missing()
{
    local phase package command installed
    installed=" $(dpkg-query -W -f '${db:Status-Status}/${Package}\n' 2>/dev/null |
        sed -n 's,^installed/,,p' | tr '\n' ' ') "
    while read -r phase package command; do
        case "$phase" in ''|'#'*) continue ;; esac
        case " $* " in *" $phase "*) ;; *) continue ;; esac
        [ -z "$command" ] || ! command -v "$command" >/dev/null 2>&1 || continue
        case "$installed" in *" $package "*) ;; *) echo "$package" ;; esac
    done < "$root/t/lib/packages"
}

# Packages that bring a service start it when they are installed; here nothing may start by itself.
packages_hold_services()
{
    [ ! -e /usr/sbin/policy-rc.d ] || return 0
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    packages_held=1
}

packages_release_services()
{
    [ -z "${packages_held:-}" ] || rm -f /usr/sbin/policy-rc.d
    packages_held=
}

packages_need()
{
    local missing log
    command -v dpkg-query >/dev/null 2>&1 ||
        die "this script installs Debian packages, and there is no dpkg here: install what t/lib/packages lists"
    missing=$(packages_missing "$@" | sort -u | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || die "these packages are missing, and only root can install them: $missing"
    command -v apt-get >/dev/null 2>&1 || die "there is no apt-get here; install by hand: $missing"
    echo "   installing: $missing"
    log=$(mktemp)
    packages_hold_services
    # shellcheck disable=SC2086 -- a list of words
    if ! { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 \
               --no-install-recommends install $missing; } > "$log" 2>&1 </dev/null; then
        packages_release_services
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "apt-get could not install: $missing"
    fi
    packages_release_services
    rm -f "$log"
}
