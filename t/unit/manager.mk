# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += t/unit/test_manager_probe t/unit/test_manager_hook t/unit/test_trail t/unit/test_wait
MANAGER_UNIT_LIBS = libpersona_manager.la libpersona_persona.la $(CURL_LIBS) $(UNIT_LIBS) -lpthread

t_unit_test_manager_probe_SOURCES = t/unit/test_manager_probe.c
t_unit_test_manager_probe_LDADD = $(MANAGER_UNIT_LIBS)
t_unit_test_manager_hook_SOURCES = t/unit/test_manager_hook.c
t_unit_test_manager_hook_LDADD = $(MANAGER_UNIT_LIBS)
t_unit_test_trail_SOURCES = t/unit/test_trail.c
t_unit_test_trail_LDADD = $(MANAGER_UNIT_LIBS)
t_unit_test_wait_SOURCES = t/unit/test_wait.c
t_unit_test_wait_LDADD = $(MANAGER_UNIT_LIBS) -lm

# A whole manager on a fake compute.
check_PROGRAMS += t/unit/test_manager_assign t/unit/test_manager_audit t/unit/test_manager_forecast \
	t/unit/test_manager_history \
	t/unit/test_manager_ops t/unit/test_manager_plan t/unit/test_manager_retire t/unit/test_manager_threads \
	t/unit/test_manager_wait
MANAGER_SITE = t/unit/manager_site.c t/unit/manager_site.h t/unit/fake_compute.c t/unit/fake_compute.h
MANAGER_SITE_LIBS = libpersona_manager.la libpersona_pool.la libpersona_compute.la libpersona_forecast.la \
	libpersona_persona.la $(UNIT_LIBS) -lpthread

t_unit_test_manager_assign_SOURCES = t/unit/test_manager_assign.c $(MANAGER_SITE)
t_unit_test_manager_assign_LDADD = $(MANAGER_SITE_LIBS)
t_unit_test_manager_audit_SOURCES = t/unit/test_manager_audit.c $(MANAGER_SITE)
t_unit_test_manager_audit_LDADD = $(MANAGER_SITE_LIBS)
t_unit_test_manager_retire_SOURCES = t/unit/test_manager_retire.c $(MANAGER_SITE)
t_unit_test_manager_retire_LDADD = $(MANAGER_SITE_LIBS)
t_unit_test_manager_plan_SOURCES = t/unit/test_manager_plan.c $(MANAGER_SITE)
t_unit_test_manager_plan_LDADD = $(MANAGER_SITE_LIBS)
t_unit_test_manager_forecast_SOURCES = t/unit/test_manager_forecast.c $(MANAGER_SITE)
t_unit_test_manager_forecast_LDADD = $(MANAGER_SITE_LIBS)
t_unit_test_manager_history_SOURCES = t/unit/test_manager_history.c $(MANAGER_SITE)
t_unit_test_manager_history_LDADD = $(MANAGER_SITE_LIBS)
t_unit_test_manager_ops_SOURCES = t/unit/test_manager_ops.c $(MANAGER_SITE)
t_unit_test_manager_ops_LDADD = $(MANAGER_SITE_LIBS)
t_unit_test_manager_wait_SOURCES = t/unit/test_manager_wait.c $(MANAGER_SITE)
t_unit_test_manager_wait_LDADD = $(MANAGER_SITE_LIBS) -lm
t_unit_test_manager_threads_SOURCES = t/unit/test_manager_threads.c $(MANAGER_SITE)
t_unit_test_manager_threads_LDADD = $(MANAGER_SITE_LIBS)
