# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libpersona_compute.la
libpersona_compute_la_SOURCES = \
	mod_persona/compute/compute.c \
	mod_persona/compute/docker/docker.c \
	mod_persona/compute/docker/docker.h \
	mod_persona/compute/docker/docker_create.c \
	mod_persona/compute/docker/docker_events.c \
	mod_persona/compute/docker/docker_fence.c \
	mod_persona/compute/docker/docker_http.c \
	mod_persona/compute/docker/docker_mark.c \
	mod_persona/compute/docker/docker_read.c \
	mod_persona/compute/docker/docker_request.c \
	mod_persona/compute/libvirt.c \
	mod_persona/compute/libvirt.h \
	mod_persona/compute/libvirt_call.c \
	mod_persona/compute/libvirt_device.c \
	mod_persona/compute/libvirt_net.c \
	mod_persona/compute/libvirt_read.c \
	mod_persona/compute/libvirt_secret.c \
	mod_persona/compute/libvirt_storage.c \
	mod_persona/compute/libvirt_xml.c
libpersona_compute_la_CFLAGS = $(AM_CFLAGS) $(LIBVIRT_CFLAGS) $(XML_CFLAGS) $(JANSSON_CFLAGS) $(CURL_CFLAGS) \
	-pthread
libpersona_compute_la_LIBADD = libpersona_persona.la $(LIBVIRT_LIBS) $(XML_LIBS) $(CURL_LIBS) $(JANSSON_LIBS) \
	$(APR_LIBS) -lpthread
