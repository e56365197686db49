# SPDX-License-Identifier: Apache-2.0
bin_PROGRAMS += personactl
personactl_SOURCES = \
	mod_persona/tool/backtest.c \
	mod_persona/tool/catalog.c \
	mod_persona/tool/control.c \
	mod_persona/tool/explain.c \
	mod_persona/tool/image.c \
	mod_persona/tool/personactl.c \
	mod_persona/tool/report.c \
	mod_persona/tool/report.h \
	mod_persona/tool/tool.h
personactl_LDADD = libpersona_forecast.la libpersona_pool.la libpersona_persona.la -lm
