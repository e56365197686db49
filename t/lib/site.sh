# SPDX-License-Identifier: Apache-2.0
# Sourced, with bash, by quickstart and by the tests: an httpd of its own in the folder $site, as conf/site.conf says.
# The caller sets $root (source tree), $site, $prefix (where mod_persona is installed) and $images, and may set
# $site_docker, the address of the Docker engine that is used in the place of libvirt, and:
site_address=${site_address:-127.0.0.1:8080}
site_homes=${site_homes:-192.168.150.1:6082}
site_memcached=${site_memcached:-127.0.0.1:11212}
site_web_user=${site_web_user:-www-data}
site_manager_user=${site_manager_user:-persona}

# site_make: the folder, with key, roles and passwords where there are none yet. Persona files are the caller's, in
# $site/personas.
site_make()
{
    mkdir -p "$site"/{run,logs,personas,homes,state,more} || return 1
    chmod 755 "$site" "$site/run" "$site/personas"
    chown "$site_web_user": "$site/homes" && chmod 700 "$site/homes"
    chown "$site_manager_user": "$site/state" && chmod 700 "$site/state"
    [ -s "$site/key" ] || (umask 077 && site_random 32 > "$site/key") || return 1
    cat > "$site/httpd.conf" <<CONF
Define SOURCE $root
Define SITE $site
Define PREFIX $prefix
Define LISTEN $site_address
Define HOME_LISTEN $site_homes
Define MEMCACHED $site_memcached
Define IMAGES $images
Define WEB_USER $site_web_user
Define MANAGER_USER $site_manager_user
CONF
    [ -z "${site_docker:-}" ] || echo "Define DOCKER $site_docker" >> "$site/httpd.conf"
    echo "Include $root/conf/site.conf" >> "$site/httpd.conf"
}

# site_random BYTES: in hexadecimal.
site_random()
{
    od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'
    echo
}

# The site's name in memcached and at the computes: the line "site NAME" of its key file, or what
# persona_settings_namespace() says of its key.
site_namespace()
{
    [ ! -s "$site/key" ] || python3 -I -c 'import hashlib, hmac, sys
lines = [line.split() for line in open(sys.argv[1], "rb") if line.strip() and not line.startswith(b"#")]
names = [line[1].decode() for line in lines if line[0] == b"site"]
print(names[0] if names else hmac.new(lines[0][0], b"namespace", hashlib.sha256).hexdigest()[:12])' "$site/key"
}

# site_person NAME ROLES: who may sign in. The password is made once and kept in clear in $site/signin (root only).
site_person()
{
    local password
    password=$(site_password "$1")
    if [ -z "$password" ]; then
        password=$(site_random 6)
        (umask 077 && echo "$1 $password" >> "$site/signin")
    fi
    [ -e "$site/passwords" ] || : > "$site/passwords"
    htpasswd -b -m "$site/passwords" "$1" "$password" 2> /dev/null || return 1
    chown "root:$site_web_user" "$site/passwords" && chmod 640 "$site/passwords"
    touch "$site/roles"
    sed -i "/^$1 /d" "$site/roles"
    # A value of a rewrite map ends at a blank; the roles of the demonstration have none.
    [ -z "$2" ] || echo "$1 $2" >> "$site/roles"
}

site_password()
{
    [ ! -f "$site/signin" ] || awk -v name="$1" '$1 == name { print $2 }' "$site/signin"
}

# site_httpd ARG...: the apache2 binary on this site. With a sanitizer build it needs its run-time library first.
site_httpd()
{
    if [ -n "${PERSONA_ASAN:-}" ]; then
        LD_PRELOAD="$(cc -print-file-name=libasan.so):$(cc -print-file-name=libubsan.so)" \
            /usr/sbin/apache2 -f "$site/httpd.conf" "$@" 9>&-
    else
        /usr/sbin/apache2 -f "$site/httpd.conf" "$@" 9>&-
    fi
}

site_pid()
{
    [ -f "$site/run/httpd.pid" ] && tr -dc 0-9 < "$site/run/httpd.pid"
}

site_alive()
{
    local pid
    pid=$(site_pid) && [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = apache2 ]
}

site_answers()
{
    curl -s -o /dev/null --max-time 5 "http://$site_address/apps/"
}

# site_start: starts, or reloads what runs.
site_start()
{
    if site_alive; then
        site_httpd -k graceful
    else
        site_httpd -k start
    fi && services_until 20 site_answers
}

site_stop()
{
    local pid
    site_alive || return 0
    pid=$(site_pid)
    kill -TERM "$pid"
    services_until 20 services_gone "$pid" || kill -KILL "$pid"
}
