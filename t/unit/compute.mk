# SPDX-License-Identifier: Apache-2.0
COMPUTE_UNIT_LIBS = libpersona_compute.la libpersona_persona.la $(XML_LIBS) $(UNIT_LIBS)
COMPUTE_UNIT_CFLAGS = $(AM_CFLAGS) $(LIBVIRT_CFLAGS) $(XML_CFLAGS)
noinst_PROGRAMS += t/provider/test_provider
t_provider_test_provider_SOURCES = t/provider/test_provider.c
t_provider_test_provider_LDADD = libpersona_compute.la libpersona_persona.la $(JANSSON_LIBS) $(APR_LIBS) -lpthread
EXTRA_DIST += t/provider/prepare t/provider/image t/provider/test_site.py
check_PROGRAMS += t/unit/test_docker t/unit/test_libvirt_net t/unit/test_libvirt_xml
t_unit_test_docker_SOURCES = t/unit/test_docker.c t/unit/unit.h
t_unit_test_docker_CFLAGS = $(COMPUTE_UNIT_CFLAGS) $(JANSSON_CFLAGS)
t_unit_test_docker_LDADD = $(COMPUTE_UNIT_LIBS) $(JANSSON_LIBS)
t_unit_test_libvirt_net_SOURCES = t/unit/test_libvirt_net.c
t_unit_test_libvirt_net_CFLAGS = $(COMPUTE_UNIT_CFLAGS)
t_unit_test_libvirt_net_LDADD = $(COMPUTE_UNIT_LIBS)
t_unit_test_libvirt_xml_SOURCES = t/unit/test_libvirt_xml.c t/unit/persona_good.h
t_unit_test_libvirt_xml_CFLAGS = $(COMPUTE_UNIT_CFLAGS)
t_unit_test_libvirt_xml_LDADD = $(COMPUTE_UNIT_LIBS)
