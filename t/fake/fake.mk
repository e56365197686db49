# SPDX-License-Identifier: Apache-2.0
# A compute that several processes share, and a personad that has it: for tests and benchmarks, never installed.
noinst_PROGRAMS += t/fake/server t/fake/personad t/race/race
FAKE_SHARED = t/fake/shared.c t/fake/shared.h t/unit/fake_compute.h
FAKE_LIBS = libpersona_manager.la libpersona_pool.la libpersona_compute.la libpersona_forecast.la \
	libpersona_persona.la -lpthread

t_fake_server_SOURCES = t/fake/server.c $(FAKE_SHARED)
t_fake_server_LDADD = libpersona_compute.la libpersona_persona.la $(APR_LIBS) -lpthread
t_fake_personad_SOURCES = mod_persona/manager/main.c $(FAKE_SHARED)
t_fake_personad_LDADD = $(FAKE_LIBS)
noinst_PROGRAMS += t/bench/load
t_bench_load_SOURCES = t/bench/load.c
t_bench_load_LDADD = $(APRUTIL_LIBS) $(APR_LIBS)
t_race_race_SOURCES = t/race/race.c $(FAKE_SHARED)
t_race_race_LDADD = $(FAKE_LIBS)
