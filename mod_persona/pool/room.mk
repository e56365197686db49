# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libpersona_pool.la
libpersona_pool_la_SOURCES = \
	mod_persona/pool/index.c \
	mod_persona/pool/index.h \
	mod_persona/pool/ipc.c \
	mod_persona/pool/ipc.h \
	mod_persona/pool/ipc_server.c \
	mod_persona/pool/ipc_wire.c \
	mod_persona/pool/ipc_wire.h \
	mod_persona/pool/memcached.c \
	mod_persona/pool/memory.c \
	mod_persona/pool/plan.c \
	mod_persona/pool/pool.c \
	mod_persona/pool/pool.h \
	mod_persona/pool/record.c \
	mod_persona/pool/session.c \
	mod_persona/pool/session.h \
	mod_persona/pool/store.c \
	mod_persona/pool/store.h
libpersona_pool_la_CFLAGS = $(AM_CFLAGS) $(MEMCACHED_CFLAGS)
libpersona_pool_la_LIBADD = libpersona_persona.la $(MEMCACHED_LIBS)
