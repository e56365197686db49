/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <string.h>

#include <apr_strings.h>

#include "gateway/pass.h"

#define S     "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define NOW   apr_time_from_sec(1800000000)

static const char *const keys[2] = {"aa11", "bb22"};
static const persona_pass_t alice = {S, "alice, \"the first\"; \xc3\xa9", "https://gw.example.org/apps/", "a b?c=;d"};

static const char *label_of(const char *session)
{
    static char label[PERSONA_LABEL_LEN];

    persona_pass_label(session, label);
    return label;
}

static const char *ticket(const char *key)
{
    return persona_pass_make(PERSONA_PASS_TICKET, &alice, key, NOW, unit_pool);
}

static persona_pass_t *reads(const char *word, const char *label, apr_time_t now)
{
    return persona_pass_read(PERSONA_PASS_TICKET, word, label, keys, now, unit_pool);
}

static void a_label_tells_nothing_of_the_session(void **state)
{
    char other[PERSONA_LABEL_LEN];

    (void)state;
    persona_pass_label(OTHER, other);
    assert_int_equal(strlen(other), PERSONA_LABEL_LEN - 1);
    assert_string_not_equal(other, label_of(S));
    assert_true(strncmp(label_of(S), S, 8));
    assert_int_equal(strspn(other, "0123456789abcdef"), PERSONA_LABEL_LEN - 1);
}

static void what_was_said_is_read(void **state)
{
    persona_pass_t *pass = reads(ticket(keys[0]), label_of(S), NOW);

    (void)state;
    assert_non_null(pass);
    assert_string_equal(pass->session, S);
    assert_string_equal(pass->user, alice.user);
    assert_string_equal(pass->portal, alice.portal);
    assert_string_equal(pass->place, alice.place);
    assert_int_equal(strspn(ticket(keys[0]), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.="),
                     strlen(ticket(keys[0])));
    assert_non_null(reads(ticket(keys[1]), label_of(S), NOW)); /* of the older key */
}

static void it_ends_with_its_minute(void **state)
{
    (void)state;
    assert_non_null(reads(ticket(keys[0]), label_of(S), NOW + apr_time_from_sec(59)));
    assert_null(reads(ticket(keys[0]), label_of(S), NOW + apr_time_from_sec(60)));
}

static void it_opens_one_host_for_one_purpose(void **state)
{
    (void)state;
    assert_null(reads(ticket(keys[0]), label_of(OTHER), NOW));
    assert_null(persona_pass_read(PERSONA_PASS_HOST, ticket(keys[0]), label_of(S), keys, NOW, unit_pool));
    assert_null(reads(ticket("cc33"), label_of(S), NOW));
}

static void no_byte_of_it_can_be_changed(void **state)
{
    char *word = apr_pstrdup(unit_pool, ticket(keys[0]));
    apr_size_t i, len = strlen(word);

    (void)state;
    for (i = 0; i < len; i++) {
        char was = word[i];

        word[i] = was == 'a' ? 'b' : 'a';
        assert_null(reads(word, label_of(S), NOW));
        word[i] = '\0';
        assert_null(reads(word, label_of(S), NOW));
        word[i] = was;
    }
    assert_null(reads("", label_of(S), NOW));
    assert_null(reads("......", label_of(S), NOW));
    assert_null(reads(apr_pstrcat(unit_pool, word, ".", NULL), label_of(S), NOW));
}

static void a_long_place_is_left_out(void **state)
{
    persona_pass_t pass = alice, *found;
    char *place = apr_palloc(unit_pool, 5001);
    const char *word;

    (void)state;
    memset(place, 'x', 5000);
    place[5000] = '\0';
    pass.place = place;
    word = persona_pass_make(PERSONA_PASS_TICKET, &pass, keys[0], NOW, unit_pool);
    assert_true(strlen(word) <= PERSONA_PASS_MAX);
    found = reads(word, label_of(S), NOW);
    assert_non_null(found);
    assert_string_equal(found->place, "");
}

static void a_page_cannot_hide_the_cookie_behind_another(void **state)
{
    const char *word = persona_pass_make(PERSONA_PASS_HOST, &alice, keys[0], NOW, unit_pool);
    const char *header = apr_pstrcat(unit_pool, "persona_pass=bad; a=b; xpersona_pass=", word, "; persona_pass=", word,
                                     NULL);
    persona_pass_t *pass = persona_pass_of_cookies(header, label_of(S), keys, NOW, unit_pool);

    (void)state;
    assert_non_null(pass);
    assert_string_equal(pass->user, alice.user);
    assert_null(persona_pass_of_cookies(NULL, label_of(S), keys, NOW, unit_pool));
    assert_null(persona_pass_of_cookies("a=b; persona_pass=", label_of(S), keys, NOW, unit_pool));
    assert_null(persona_pass_of_cookies(apr_pstrcat(unit_pool, "xpersona_pass=", word, NULL), label_of(S), keys, NOW,
                                        unit_pool));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(a_label_tells_nothing_of_the_session),
        UNIT_TEST(what_was_said_is_read),
        UNIT_TEST(it_ends_with_its_minute),
        UNIT_TEST(it_opens_one_host_for_one_purpose),
        UNIT_TEST(no_byte_of_it_can_be_changed),
        UNIT_TEST(a_long_place_is_left_out),
        UNIT_TEST(a_page_cannot_hide_the_cookie_behind_another),
    };

    return UNIT_RUN(tests);
}
