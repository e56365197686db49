# SPDX-License-Identifier: Apache-2.0
PERSONA_UNIT_LIBS = libpersona_persona.la $(UNIT_LIBS)
check_PROGRAMS += t/unit/test_digest t/unit/test_settings t/unit/test_text t/unit/test_units

t_unit_test_digest_SOURCES = t/unit/test_digest.c t/unit/unit.h
t_unit_test_digest_LDADD = $(PERSONA_UNIT_LIBS)
t_unit_test_settings_SOURCES = t/unit/test_settings.c
t_unit_test_settings_LDADD = $(PERSONA_UNIT_LIBS)
t_unit_test_text_SOURCES = t/unit/test_text.c
t_unit_test_text_LDADD = $(PERSONA_UNIT_LIBS)
t_unit_test_units_SOURCES = t/unit/test_units.c
t_unit_test_units_LDADD = $(PERSONA_UNIT_LIBS)
