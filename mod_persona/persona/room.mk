# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libpersona_persona.la
libpersona_persona_la_SOURCES = \
	mod_persona/persona/catalog.c \
	mod_persona/persona/checks.c \
	mod_persona/persona/digest.c \
	mod_persona/persona/document.c \
	mod_persona/persona/dates.c \
	mod_persona/persona/folder.c \
	mod_persona/persona/keys.c \
	mod_persona/persona/log.c \
	mod_persona/persona/match.c \
	mod_persona/persona/persona.c \
	mod_persona/persona/reader.c \
	mod_persona/persona/scan.c \
	mod_persona/persona/settings.c \
	mod_persona/persona/text.c \
	mod_persona/persona/units.c \
	mod_persona/persona/catalog.h \
	mod_persona/persona/digest.h \
	mod_persona/persona/document.h \
	mod_persona/persona/dates.h \
	mod_persona/persona/fault.h \
	mod_persona/persona/folder.h \
	mod_persona/persona/keys.h \
	mod_persona/persona/match.h \
	mod_persona/persona/parse.h \
	mod_persona/persona/reader.h \
	mod_persona/persona/scan.h \
	mod_persona/persona/settings.h \
	mod_persona/persona/text.h \
	mod_persona/persona/tz.c \
	mod_persona/persona/tz.h
if FAULT_POINTS
libpersona_persona_la_SOURCES += mod_persona/persona/fault.c
endif
libpersona_persona_la_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS)
libpersona_persona_la_LIBADD = $(APRUTIL_LIBS) $(APR_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
