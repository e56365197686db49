/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file scratch.h
 * @brief A folder of its own for each unit test that needs files: made by scratch_setup(), removed with all in it.
 */
#ifndef PERSONA_SCRATCH_H
#define PERSONA_SCRATCH_H

#include "unit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

static char scratch[64];

static const char *scratch_path(const char *name)
{
    return apr_pstrcat(unit_pool, scratch, "/", name, NULL);
}

static inline void scratch_bytes(const char *name, const char *text, size_t len)
{
    FILE *file = fopen(scratch_path(name), "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static inline void scratch_file(const char *name, const char *text)
{
    scratch_bytes(name, text, strlen(text));
}

static void scratch_empty(const char *dir)
{
    DIR *handle = opendir(dir);
    struct dirent *entry;

    while (handle && (entry = readdir(handle))) {
        const char *path = apr_pstrcat(unit_pool, dir, "/", entry->d_name, NULL);

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (unlink(path) != 0) {
            scratch_empty(path);
            rmdir(path);
        }
    }
    if (handle) {
        closedir(handle);
    }
}

static int scratch_setup(void **state)
{
    unit_setup(state);
    apr_cpystrn(scratch, "/tmp/persona-unit.XXXXXX", sizeof(scratch));
    return mkdtemp(scratch) ? 0 : -1;
}

static int scratch_teardown(void **state)
{
    scratch_empty(scratch);
    rmdir(scratch);
    return unit_teardown(state);
}

#define SCRATCH_TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

#endif
