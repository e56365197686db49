# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += t/unit/test_manager_probe t/unit/test_manager_hook
MANAGER_UNIT_LIBS = libpersona_manager.la libpersona_persona.la $(CURL_LIBS) $(UNIT_LIBS) -lpthread

t_unit_test_manager_probe_SOURCES = t/unit/test_manager_probe.c
t_unit_test_manager_probe_LDADD = $(MANAGER_UNIT_LIBS)
t_unit_test_manager_hook_SOURCES = t/unit/test_manager_hook.c
t_unit_test_manager_hook_LDADD = $(MANAGER_UNIT_LIBS)
