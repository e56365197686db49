# SPDX-License-Identifier: Apache-2.0
# The parts that need no httpd are a library of their own, so that unit tests can link them.
noinst_LTLIBRARIES += libpersona_gateway.la
libpersona_gateway_la_SOURCES = \
	mod_persona/gateway/cookie.c \
	mod_persona/gateway/cookie.h \
	mod_persona/gateway/html.c \
	mod_persona/gateway/html.h \
	mod_persona/gateway/pass.c \
	mod_persona/gateway/pass.h \
	mod_persona/gateway/rfb.c \
	mod_persona/gateway/rfb.h \
	mod_persona/gateway/websocket.c \
	mod_persona/gateway/websocket.h
libpersona_gateway_la_LIBADD = $(APRUTIL_LIBS) $(APR_LIBS)

apache_libexecdir = @apache_libexecdir@
apache_libexec_LTLIBRARIES = mod_persona.la
mod_persona_la_SOURCES = \
	mod_persona/gateway/assets.c \
	mod_persona/gateway/child.c \
	mod_persona/gateway/claim.c \
	mod_persona/gateway/config.c \
	mod_persona/gateway/gateway.c \
	mod_persona/gateway/gateway.h \
	mod_persona/gateway/home.c \
	mod_persona/gateway/host.c \
	mod_persona/gateway/mod_persona.c \
	mod_persona/gateway/pages.c \
	mod_persona/gateway/portal.c \
	mod_persona/gateway/relay.c \
	mod_persona/gateway/status.c \
	mod_persona/gateway/stream.c \
	mod_persona/gateway/supervise.c
mod_persona_la_CPPFLAGS = $(AM_CPPFLAGS) $(HTTPD_CFLAGS)
mod_persona_la_CFLAGS = $(AM_CFLAGS) $(APRUTIL_CFLAGS)
mod_persona_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared
mod_persona_la_LIBADD = libpersona_gateway.la libpersona_pool.la \
	$(WSLAY_LIBS) $(MEMCACHED_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS) $(APRUTIL_LIBS) $(APR_LIBS)

# noVNC and our viewer become one file: one request instead of some forty before the first pixel.
NOVNC_BANNER = /*! Contains noVNC, Copyright (C) The noVNC Authors, MPL 2.0: https://novnc.com */
mod_persona/gateway/web/viewer.js: $(srcdir)/mod_persona/gateway/web/viewer.main.js
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(ESBUILD) $< --bundle --minify --format=iife --target=es2020 \
		--alias:novnc=$(NOVNC_DIR)/core --banner:js='$(NOVNC_BANNER)' --log-level=warning --outfile=$@
CLEANFILES += mod_persona/gateway/web/viewer.js

webdir = $(pkgdatadir)/web
nodist_web_DATA = mod_persona/gateway/web/viewer.js
dist_web_DATA = \
	mod_persona/gateway/web/persona.css \
	mod_persona/gateway/web/persona.svg \
	mod_persona/gateway/web/portal.js \
	mod_persona/gateway/web/wait.js
EXTRA_DIST += mod_persona/gateway/web/viewer.main.js conf/desk.conf.example conf/persona.conf.example \
	conf/persona.load
