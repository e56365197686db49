/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The learned state as bytes. The tables name every field that is kept; what is computed from others (fades, views)
 * is computed again, and a plan's target begins at nothing.
 */
#include "forecast/state.h"

#include <apr_strings.h>
#include <stddef.h>
#include <string.h>

#define VERSION 1
#define HEADER_LEN 32
static const char magic[4] = {'P', 'F', 'S', 'T'};

/* A field is `count` words of `width` bytes. */
typedef struct field_t {
    apr_size_t offset, count;
    int width;
} field_t;

#define WORDS(type, member)                                                                        \
    {offsetof(type, member), sizeof(((type *)0)->member) / 4, 4}
#define LONGS(type, member)                                                                        \
    {offsetof(type, member), sizeof(((type *)0)->member) / 8, 8}
#define END                                                                                        \
    {0, 0, 0}

static const field_t entry_fields[] = {
    LONGS(persona_learned_entry_t, boot_mean), LONGS(persona_learned_entry_t, boot_square),
    LONGS(persona_learned_entry_t, wait_cost), WORDS(persona_learned_entry_t, shaped),
    LONGS(persona_learned_entry_t, agenda.place), END
};
static const field_t model_fields[] = {
    LONGS(persona_model_t, origin), LONGS(persona_model_t, step), LONGS(persona_model_t, now),
    LONGS(persona_model_t, lead), LONGS(persona_model_t, offset), LONGS(persona_model_t, last_arrival),
    LONGS(persona_model_t, total), LONGS(persona_model_t, grown), WORDS(persona_model_t, active),
    WORDS(persona_model_t, ends_known), WORDS(persona_model_t, seen), WORDS(persona_model_t, expected),
    WORDS(persona_model_t, recency), WORDS(persona_model_t, ends), WORDS(persona_model_t, users),
    WORDS(persona_model_t, tail), END
};
static const field_t profile_fields[] = {
    WORDS(persona_profile_t, week_count), WORDS(persona_profile_t, week_seen),
    WORDS(persona_profile_t, type_count), WORDS(persona_profile_t, type_seen),
    WORDS(persona_profile_t, all_count), WORDS(persona_profile_t, all_seen),
    WORDS(persona_profile_t, now_count), WORDS(persona_profile_t, now_seen),
    WORDS(persona_profile_t, today_count), WORDS(persona_profile_t, today_seen),
    WORDS(persona_profile_t, log_rate), WORDS(persona_profile_t, base), WORDS(persona_profile_t, shape),
    LONGS(persona_profile_t, day), WORDS(persona_profile_t, weekday), END
};
static const field_t glm_fields[] = {
    WORDS(persona_glm_t, size), WORDS(persona_glm_t, weight), WORDS(persona_glm_t, information),
    WORDS(persona_glm_t, gradient), WORDS(persona_glm_t, past), WORDS(persona_glm_t, recent), END
};
static const field_t site_fields[] = {
    LONGS(persona_model_site_t, step), WORDS(persona_model_site_t, seen),
    WORDS(persona_model_site_t, expected), WORDS(persona_model_site_t, tail), LONGS(persona_model_site_t, origin), END
};
static const field_t control_fields[] = {
    WORDS(persona_control_t, told), LONGS(persona_control_t, trim), LONGS(persona_control_t, day),
    LONGS(persona_control_t, count), LONGS(persona_control_t, first), LONGS(persona_control_t, kappa), END
};
static const field_t feedback_fields[] = {
    LONGS(persona_feedback_t, past.origin), LONGS(persona_feedback_t, past.bin), WORDS(persona_feedback_t, past.count),
    WORDS(persona_feedback_t, bucket), LONGS(persona_feedback_t, bucket_at), WORDS(persona_feedback_t, tried),
    LONGS(persona_feedback_t, decided), LONGS(persona_feedback_t, turned), WORDS(persona_feedback_t, fallen),
    WORDS(persona_feedback_t, size), WORDS(persona_feedback_t, target), END
};
static const field_t learned_fields[] = {LONGS(persona_learned_t, hit_rate), END};

static const field_t *const tables[] = {entry_fields, model_fields, profile_fields, glm_fields, site_fields,
                                        control_fields, learned_fields, feedback_fields};

static apr_uint64_t digest(apr_uint64_t hash, const void *data, apr_size_t len)
{
    const unsigned char *b = data;

    for (; len; len--) {
        hash = (hash ^ *b++) * 1099511628211ULL;
    }
    return hash;
}

static apr_uint64_t layout_digest(void)
{
    apr_uint64_t hash = 14695981039346656037ULL;
    apr_size_t k;

    for (k = 0; k < sizeof(tables) / sizeof(tables[0]); k++) {
        const field_t *f;

        for (f = tables[k]; f->width; f++) {
            unsigned char b[5] = {(unsigned char)f->width, (unsigned char)f->count, (unsigned char)(f->count >> 8),
                                  (unsigned char)(f->count >> 16), (unsigned char)k};

            hash = digest(hash, b, sizeof(b));
        }
    }
    return hash;
}

static void put(char *to, apr_uint64_t value, int width)
{
    int k;

    for (k = 0; k < width; k++) {
        to[k] = (char)(value >> (8 * k));
    }
}

static apr_uint64_t get(const char *from, int width)
{
    apr_uint64_t value = 0;
    int k;

    for (k = 0; k < width; k++) {
        value |= (apr_uint64_t)(unsigned char)from[k] << (8 * k);
    }
    return value;
}

static apr_size_t length_of(const field_t *f)
{
    apr_size_t len = 0;

    for (; f->width; f++) {
        len += f->count * f->width;
    }
    return len;
}

/* Length of an entry without its name and the length of that. */
static apr_size_t entry_length(void)
{
    return length_of(entry_fields) + length_of(model_fields) + length_of(profile_fields) + length_of(glm_fields)
           + length_of(feedback_fields);
}

/* Length of all before the number of entries. */
static apr_size_t fixed_length(void)
{
    return HEADER_LEN + length_of(learned_fields) + length_of(site_fields) + length_of(glm_fields)
           + length_of(control_fields);
}

static char *write_fields(char *to, const field_t *f, const void *from)
{
    apr_size_t k;

    for (; f->width; f++) {
        const char *member = (const char *)from + f->offset;

        for (k = 0; k < f->count; k++, to += f->width, member += f->width) {
            apr_uint32_t word;
            apr_uint64_t value;

            if (f->width == 4) {
                memcpy(&word, member, 4);
                value = word;
            }
            else {
                memcpy(&value, member, 8);
            }
            put(to, value, f->width);
        }
    }
    return to;
}

static const char *read_fields(const char *from, const field_t *f, void *to)
{
    apr_size_t k;

    for (; f->width; f++) {
        char *member = (char *)to + f->offset;

        for (k = 0; k < f->count; k++, from += f->width, member += f->width) {
            apr_uint64_t value = get(from, f->width);
            apr_uint32_t word = (apr_uint32_t)value;

            if (f->width == 4) {
                memcpy(member, &word, 4);
            }
            else {
                memcpy(member, &value, 8);
            }
        }
    }
    return from;
}

void persona_state_save(const persona_learned_t *learned, char **data, apr_size_t *len, apr_pool_t *p)
{
    apr_size_t total = fixed_length() + 4;
    apr_hash_index_t *at;
    char *to;

    for (at = apr_hash_first(p, learned->entries); at; at = apr_hash_next(at)) {
        total += 4 + apr_hash_this_key_len(at) + entry_length();
    }
    *data = apr_palloc(p, total);
    *len = total;
    to = write_fields(*data + HEADER_LEN, learned_fields, learned);
    to = write_fields(to, site_fields, &learned->site);
    to = write_fields(to, glm_fields, &learned->site.glm);
    to = write_fields(to, control_fields, &learned->control);
    put(to, apr_hash_count(learned->entries), 4);
    to += 4;
    for (at = apr_hash_first(p, learned->entries); at; at = apr_hash_next(at)) {
        const persona_learned_entry_t *entry = apr_hash_this_val(at);
        apr_size_t name = apr_hash_this_key_len(at);

        put(to, name, 4);
        memcpy(to + 4, entry->id, name);
        to = write_fields(to + 4 + name, entry_fields, entry);
        to = write_fields(to, model_fields, &entry->model);
        to = write_fields(to, profile_fields, &entry->model.profile);
        to = write_fields(to, glm_fields, &entry->model.glm);
        to = write_fields(to, feedback_fields, &entry->feedback);
    }
    memcpy(*data, magic, 4);
    put(*data + 4, VERSION, 4);
    put(*data + 8, layout_digest(), 8);
    put(*data + 16, total, 8);
    put(*data + 24, digest(14695981039346656037ULL, *data + HEADER_LEN, total - HEADER_LEN), 8);
}

/* The names and number of entries are what the length says; nothing is read beyond it. */
static int entries_fit(const char *from, const char *end)
{
    apr_uint64_t count, k;

    if (end - from < 4) {
        return 0;
    }
    count = get(from, 4);
    from += 4;
    for (k = 0; k < count; k++) {
        apr_uint64_t name = end - from < 4 ? 0 : get(from, 4);

        if (!name || name > PERSONA_NAME_MAX || (apr_uint64_t)(end - from) < 4 + name + entry_length()
            || memchr(from + 4, '\0', name)) {
            return 0;
        }
        from += 4 + name + entry_length();
    }
    return from == end;
}

apr_status_t persona_state_load(persona_learned_t *learned, const char *data, apr_size_t len)
{
    apr_size_t fixed = fixed_length();
    const char *from = data + HEADER_LEN;
    apr_uint64_t count;

    if (len < fixed || memcmp(data, magic, 4) != 0 || get(data + 4, 4) != VERSION
        || get(data + 8, 8) != layout_digest() || get(data + 16, 8) != len
        || get(data + 24, 8) != digest(14695981039346656037ULL, from, len - HEADER_LEN)
        || !entries_fit(data + fixed, data + len)) {
        return APR_EINVAL;
    }
    apr_hash_clear(learned->entries);
    persona_model_site_begin(&learned->site);
    from = read_fields(from, learned_fields, learned);
    from = read_fields(from, site_fields, &learned->site);
    from = read_fields(from, glm_fields, &learned->site.glm);
    from = read_fields(from, control_fields, &learned->control);
    count = get(from, 4);
    for (from += 4; count; count--) {
        apr_size_t name = (apr_size_t)get(from, 4);
        const char *id = apr_pstrmemdup(learned->p, from + 4, name);
        persona_learned_entry_t *entry = persona_learned_entry(learned, id, 0);

        from = read_fields(from + 4 + name, entry_fields, entry);
        from = read_fields(from, model_fields, &entry->model);
        from = read_fields(from, profile_fields, &entry->model.profile);
        from = read_fields(from, glm_fields, &entry->model.glm);
        from = read_fields(from, feedback_fields, &entry->feedback);
        persona_feedback_restored(&entry->feedback);
        persona_model_restored(&entry->model, &learned->site);
    }
    return APR_SUCCESS;
}
