# SPDX-License-Identifier: Apache-2.0
PERSONA_UNIT_LIBS = libpersona_persona.la $(UNIT_LIBS)
check_PROGRAMS += \
	t/fuzz/fuzz_persona \
	t/unit/test_digest \
	t/unit/test_settings \
	t/unit/test_text \
	t/unit/test_units \
	t/unit/test_scan \
	t/unit/test_persona \
	t/unit/test_dates \
	t/unit/test_folder \
	t/unit/test_catalog \
	t/unit/test_match

# clang -fsanitize=fuzzer,address -DPERSONA_LIBFUZZER makes a fuzzer of it; here it replays its corpus.
t_fuzz_fuzz_persona_SOURCES = t/fuzz/fuzz_persona.c
t_fuzz_fuzz_persona_LDADD = libpersona_persona.la
EXTRA_DIST += t/fuzz/corpus
t_unit_test_digest_SOURCES = t/unit/test_digest.c t/unit/unit.h
t_unit_test_digest_LDADD = $(PERSONA_UNIT_LIBS)
t_unit_test_settings_SOURCES = t/unit/test_settings.c
t_unit_test_settings_LDADD = $(PERSONA_UNIT_LIBS)
t_unit_test_text_SOURCES = t/unit/test_text.c
t_unit_test_text_LDADD = $(PERSONA_UNIT_LIBS)
t_unit_test_units_SOURCES = t/unit/test_units.c
t_unit_test_units_LDADD = $(PERSONA_UNIT_LIBS)
t_unit_test_scan_SOURCES = t/unit/test_scan.c
t_unit_test_scan_LDADD = $(PERSONA_UNIT_LIBS)
t_unit_test_persona_SOURCES = t/unit/test_persona.c t/unit/persona_good.h
t_unit_test_persona_LDADD = $(PERSONA_UNIT_LIBS)
t_unit_test_folder_SOURCES = t/unit/test_folder.c t/unit/scratch.h
t_unit_test_folder_LDADD = $(PERSONA_UNIT_LIBS)
t_unit_test_catalog_SOURCES = t/unit/test_catalog.c
t_unit_test_catalog_LDADD = $(PERSONA_UNIT_LIBS)
t_unit_test_match_SOURCES = t/unit/test_match.c
t_unit_test_match_LDADD = $(PERSONA_UNIT_LIBS)
t_unit_test_dates_SOURCES = t/unit/test_dates.c t/unit/persona_good.h
t_unit_test_dates_LDADD = $(PERSONA_UNIT_LIBS)
