# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libpersona_forecast.la
libpersona_forecast_la_SOURCES = \
	mod_persona/forecast/forecast.c \
	mod_persona/forecast/pattern.c \
	mod_persona/forecast/policy.h
libpersona_forecast_la_LIBADD = libpersona_persona.la
