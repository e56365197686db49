# SPDX-License-Identifier: Apache-2.0
# The image builder and what it puts into images; installed with its folders as they are here.
nobase_dist_pkgdata_SCRIPTS = \
	image/build \
	image/guest/agent \
	image/guest/init \
	image/guest/initrd \
	image/guest/session \
	image/guest/udhcpc \
	image/load
nobase_dist_pkgdata_DATA = \
	image/README.md \
	image/guest/desktop/files.desktop \
	image/guest/desktop/openbox.xml \
	image/guest/desktop/tint2rc \
	image/guest/home/config/gtk-3.0/bookmarks \
	image/guest/home/config/inkscape/preferences.xml \
	image/guest/home/config/libfm/libfm.conf \
	image/guest/home/config/libreoffice/4/user/registrymodifications.xcu \
	image/guest/home/config/pcmanfm/default/desktop-items-0.conf \
	image/guest/home/config/user-dirs.dirs
nobase_dist_pkgdata_DATA += conf/persona-home.conf
nobase_dist_pkgdata_DATA += \
	conf/quickstart/calc-analyst.json \
	conf/quickstart/calc-designer.json \
	conf/quickstart/default.json \
	conf/quickstart/desktop.json \
	conf/quickstart/inkscape.json
EXTRA_DIST += t/image
# On hosts of Docker or Podman engines, which need nothing else of us.
dist_sbin_SCRIPTS += conf/persona-network
