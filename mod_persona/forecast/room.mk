# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libpersona_forecast.la
libpersona_forecast_la_SOURCES = \
	mod_persona/forecast/agenda.c \
	mod_persona/forecast/agenda.h \
	mod_persona/forecast/backtest.c \
	mod_persona/forecast/backtest.h \
	mod_persona/forecast/control.c \
	mod_persona/forecast/control.h \
	mod_persona/forecast/feedback.c \
	mod_persona/forecast/feedback.h \
	mod_persona/forecast/forecast.c \
	mod_persona/forecast/glm.c \
	mod_persona/forecast/glm.h \
	mod_persona/forecast/learned.c \
	mod_persona/forecast/learned.h \
	mod_persona/forecast/model.c \
	mod_persona/forecast/model.h \
	mod_persona/forecast/past.c \
	mod_persona/forecast/past.h \
	mod_persona/forecast/pattern.c \
	mod_persona/forecast/plan.c \
	mod_persona/forecast/plan.h \
	mod_persona/forecast/policy.h \
	mod_persona/forecast/profile.c \
	mod_persona/forecast/profile.h \
	mod_persona/forecast/rival.c \
	mod_persona/forecast/rival.h \
	mod_persona/forecast/shadow.c \
	mod_persona/forecast/shadow.h \
	mod_persona/forecast/share.c \
	mod_persona/forecast/share.h \
	mod_persona/forecast/state.c \
	mod_persona/forecast/state.h \
	mod_persona/forecast/tail.c \
	mod_persona/forecast/tail.h
libpersona_forecast_la_CFLAGS = $(AM_CFLAGS) -O3
libpersona_forecast_la_LIBADD = libpersona_persona.la -lm
