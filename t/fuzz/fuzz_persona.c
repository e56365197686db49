/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file fuzz_persona.c
 * @brief Any bytes as a persona file: no crash, and the promises of the parser hold.
 *
 * With clang -fsanitize=fuzzer this is a libFuzzer target. Without, main() replays the files of
 * t/fuzz/corpus/persona and the examples, as TAP.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "persona/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "broken promise: %s\n", what);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *root;
    apr_pool_t *p;
    apr_array_header_t *errors;
    persona_t *persona;

    if (size > PERSONA_FILE_MAX) {
        return 0;
    }
    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    apr_pool_create(&p, root);
    errors = apr_array_make(p, 4, sizeof(persona_error_t));
    persona = persona_parse("fuzz.json", (const char *)data, size, apr_hash_make(p), 0, errors, p);
    must(persona ? errors->nelts == 0 : errors->nelts > 0, "a persona, or errors");
    for (int i = 0; i < errors->nelts; i++) {
        const char *text = persona_error_text(&APR_ARRAY_IDX(errors, i, persona_error_t), p);

        must(!strpbrk(text, "\r\n\x1b"), "an error is one line without control characters");
        must(strlen(text) < 20000, "an error is short");
    }
    if (persona) {
        char *text = json_dumps(persona->document, JSON_COMPACT);
        const persona_t *again =
            persona_parse("fuzz.json", text, strlen(text), apr_hash_make(p), 1, errors, p);

        must(again != NULL, "what was good is good when it was written out");
        must(strcmp(again->fingerprint, persona->fingerprint) == 0, "and the same");
        free(text);
    }
    apr_pool_destroy(p);
    return 0;
}

#ifndef PERSONA_LIBFUZZER
static int replay(const char *dir)
{
    DIR *handle = opendir(dir);
    struct dirent *entry;
    char path[4096], *data = malloc(PERSONA_FILE_MAX + 1);
    int count = 0;

    while (data && handle && (entry = readdir(handle))) {
        FILE *file;
        size_t size;

        apr_snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        file = entry->d_name[0] != '.' ? fopen(path, "r") : NULL;
        if (!file) {
            continue;
        }
        size = fread(data, 1, PERSONA_FILE_MAX + 1, file);
        fclose(file);
        LLVMFuzzerTestOneInput((const uint8_t *)data, size);
        count++;
    }
    if (handle) {
        closedir(handle);
    }
    free(data);
    return count;
}

int main(void)
{
    static const char *const dirs[] = {"t/fuzz/corpus/persona", "personas"};
    const char *top = getenv("top_srcdir");
    char dir[4096];
    int bad = 0;

    puts("1..2");
    for (int i = 0; i < 2; i++) {
        int count;

        apr_snprintf(dir, sizeof(dir), "%s/%s", top ? top : ".", dirs[i]);
        count = replay(dir);
        bad |= count == 0;
        printf("%s %d - %d files of %s\n", count ? "ok" : "not ok", i + 1, count, dirs[i]);
    }
    return bad;
}
#endif
