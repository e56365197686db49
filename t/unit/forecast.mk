# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += t/unit/test_tz t/unit/test_pattern t/unit/test_forecast t/unit/test_feedback t/unit/test_share
t_unit_test_tz_SOURCES = t/unit/test_tz.c
t_unit_test_tz_LDADD = libpersona_persona.la $(UNIT_LIBS)
t_unit_test_pattern_SOURCES = t/unit/test_pattern.c
t_unit_test_pattern_LDADD = libpersona_forecast.la $(UNIT_LIBS)
t_unit_test_forecast_SOURCES = t/unit/test_forecast.c
t_unit_test_forecast_LDADD = libpersona_forecast.la $(UNIT_LIBS) -lm
t_unit_test_feedback_SOURCES = t/unit/test_feedback.c
t_unit_test_feedback_LDADD = libpersona_forecast.la $(UNIT_LIBS) -lm
t_unit_test_share_SOURCES = t/unit/test_share.c
t_unit_test_share_LDADD = libpersona_forecast.la $(UNIT_LIBS) -lm
EXTRA_PROGRAMS += t/bench/forecast_tick
t_bench_forecast_tick_SOURCES = t/bench/forecast_tick.c
t_bench_forecast_tick_LDADD = libpersona_forecast.la $(UNIT_LIBS) -lm
