# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += t/unit/test_ipc t/unit/test_memcached t/unit/test_pool t/unit/test_session
POOL_UNIT_LIBS = libpersona_pool.la libpersona_persona.la $(UNIT_LIBS) -lpthread

t_unit_test_ipc_SOURCES = t/unit/test_ipc.c t/unit/unit.h
t_unit_test_ipc_LDADD = $(POOL_UNIT_LIBS)
t_unit_test_pool_SOURCES = t/unit/test_pool.c t/unit/faulty_store.h t/unit/unit.h
t_unit_test_pool_LDADD = $(POOL_UNIT_LIBS)
t_unit_test_session_SOURCES = t/unit/test_session.c t/unit/faulty_store.h t/unit/unit.h
t_unit_test_session_LDADD = $(POOL_UNIT_LIBS)
t_unit_test_memcached_SOURCES = t/unit/test_memcached.c t/unit/unit.h
t_unit_test_memcached_LDADD = $(POOL_UNIT_LIBS)
