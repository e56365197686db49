# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libpersona_manager.la
libpersona_manager_la_SOURCES = \
	mod_persona/manager/arbiter.c \
	mod_persona/manager/arbiter.h \
	mod_persona/manager/assign.c \
	mod_persona/manager/assign.h \
	mod_persona/manager/audit.c \
	mod_persona/manager/audit.h \
	mod_persona/manager/boot.c \
	mod_persona/manager/boot.h \
	mod_persona/manager/check.c \
	mod_persona/manager/check.h \
	mod_persona/manager/control.c \
	mod_persona/manager/crew.c \
	mod_persona/manager/crew.h \
	mod_persona/manager/database.c \
	mod_persona/manager/database.h \
	mod_persona/manager/events.c \
	mod_persona/manager/events.h \
	mod_persona/manager/explain.c \
	mod_persona/manager/explain.h \
	mod_persona/manager/forecaster.c \
	mod_persona/manager/forecaster.h \
	mod_persona/manager/history.c \
	mod_persona/manager/history.h \
	mod_persona/manager/home.c \
	mod_persona/manager/hook.c \
	mod_persona/manager/hook.h \
	mod_persona/manager/maker.c \
	mod_persona/manager/maker.h \
	mod_persona/manager/manager.c \
	mod_persona/manager/manager.h \
	mod_persona/manager/monotonic.c \
	mod_persona/manager/monotonic.h \
	mod_persona/manager/ops.c \
	mod_persona/manager/ops.h \
	mod_persona/manager/plan.c \
	mod_persona/manager/plan.h \
	mod_persona/manager/probe.c \
	mod_persona/manager/probe.h \
	mod_persona/manager/reconcile.c \
	mod_persona/manager/reconcile.h \
	mod_persona/manager/retire.c \
	mod_persona/manager/retire.h \
	mod_persona/manager/sessions.c \
	mod_persona/manager/sessions.h \
	mod_persona/manager/start.c \
	mod_persona/manager/start.h \
	mod_persona/manager/state.c \
	mod_persona/manager/state.h \
	mod_persona/manager/status.c \
	mod_persona/manager/status.h \
	mod_persona/manager/trail.c \
	mod_persona/manager/trail.h \
	mod_persona/manager/wait.c \
	mod_persona/manager/wait.h
libpersona_manager_la_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS)
libpersona_manager_la_LIBADD = $(CURL_LIBS) $(APRUTIL_LIBS) $(APR_LIBS) $(JANSSON_LIBS) -lm -lpthread

pkglibexec_PROGRAMS += personad
personad_SOURCES = mod_persona/manager/main.c
personad_LDADD = libpersona_manager.la libpersona_pool.la libpersona_compute.la libpersona_forecast.la \
	libpersona_persona.la -lpthread
