# SPDX-License-Identifier: Apache-2.0
# Sourced with bash, inside t/lib/sandbox, by stages that start personad themselves: its own user, libvirt with the
# network "persona", memcached on 127.0.0.1:11311, and the probe image in $images. The caller sets $root.
services=$TMPDIR/services
images=$TMPDIR/images
export services PERSONA_USER=persona-test
mkdir -p "$services" "$images"
. "$root/t/lib/services.sh"

# A user of its own in this mount namespace, in libvirt's group as a site has it.
for file in passwd group; do
    cp "/etc/$file" "$TMPDIR/$file"
    chmod 644 "$TMPDIR/$file"
done
echo "$PERSONA_USER:x:64321:64321::/nonexistent:/usr/sbin/nologin" >> "$TMPDIR/passwd"
echo "$PERSONA_USER:x:64321:" >> "$TMPDIR/group"
sed -i "s/^\(libvirt:.*:\)\(.*\)$/\1\2,$PERSONA_USER/; s/:,/:/" "$TMPDIR/group"
mount --bind "$TMPDIR/passwd" /etc/passwd
mount --bind "$TMPDIR/group" /etc/group
cat >> /etc/libvirt/libvirtd.conf <<'CONF'
unix_sock_group = "libvirt"
unix_sock_rw_perms = "0770"
auth_unix_rw = "none"
CONF

virtlogd -d && libvirtd -d && services_until 20 service_libvirt_answers && service_network ||
    { echo "Bail out! libvirt does not start"; exit 1; }
memcached -u nobody -l 127.0.0.1 -p 11311 -U 0 -d -P "$TMPDIR/memcached.pid" &&
    services_until 10 services_port 127.0.0.1 11311 || { echo "Bail out! memcached does not start"; exit 1; }
"$root/t/provider/image" "$images" || { echo "Bail out! the image cannot be made"; exit 1; }
