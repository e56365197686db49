/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <string.h>

#include "gateway/cookie.h"

#define T "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void token_of_nothing(void **state)
{
    (void)state;
    assert_null(persona_cookie_token(NULL, unit_pool));
    assert_null(persona_cookie_token("", unit_pool));
    assert_null(persona_cookie_token(";;; ;", unit_pool));
    assert_null(persona_cookie_token("persona_session=", unit_pool));
    assert_null(persona_cookie_token("persona_session=" T "0", unit_pool));
    assert_null(persona_cookie_token("persona_session=" T "\r\nX: y", unit_pool));
    assert_null(persona_cookie_token("xpersona_session=" T, unit_pool));
    assert_null(persona_cookie_token(
        "persona_session=../../0123456789abcdef0123456789abcdef0123456789abcdef01234567",
        unit_pool));
    /* the first decides: a second one cannot take its place */
    assert_null(persona_cookie_token("persona_session=bad; persona_session=" T, unit_pool));
}

static void token_among_others(void **state)
{
    (void)state;
    assert_string_equal(persona_cookie_token("a=b; persona_session=" T " ; c=d", unit_pool), T);
}

static void only_prefixed_go_in(void **state)
{
    (void)state;
    assert_null(persona_cookie_inward(NULL, unit_pool));
    assert_null(
        persona_cookie_inward("persona_session=" T "; gateway=secret; persona_i.", unit_pool));
    assert_string_equal(
        persona_cookie_inward("gateway=secret; persona_i.a=1;persona_i.b=2; persona_session=" T,
                              unit_pool),
        "a=1; b=2");
}

static void what_comes_out_is_prefixed(void **state)
{
    (void)state;
    assert_null(persona_cookie_outward("", "/", "/apps/x/", unit_pool));
    assert_null(persona_cookie_outward("novalue", "/", "/apps/x/", unit_pool));
    assert_null(persona_cookie_outward("=v; Path=/", "/", "/apps/x/", unit_pool));
    assert_string_equal(
        persona_cookie_outward("persona_session=" T "; Path=/", "/", "/apps/x/", unit_pool),
        "persona_i.persona_session=" T "; Path=/apps/x/");
    assert_string_equal(
        persona_cookie_outward("a=b; Domain=example.org; HttpOnly; path=/lab/sub; Max-Age=3",
                               "/lab/", "/apps/x/", unit_pool),
        "persona_i.a=b; HttpOnly; Max-Age=3; Path=/apps/x/sub");
    assert_string_equal(persona_cookie_outward("a=b; Domain", "/", "/apps/x/", unit_pool),
                        "persona_i.a=b; Path=/apps/x/");
}

static void paths(void **state)
{
    (void)state;
    assert_string_equal(persona_path_outward("/lab/a?b", "/lab/", "/apps/x/", unit_pool),
                        "/apps/x/a?b");
    assert_string_equal(persona_path_outward("/lab", "/lab/", "/apps/x/", unit_pool), "/apps/x/");
    assert_string_equal(persona_path_outward("/other", "/lab/", "/apps/x/", unit_pool),
                        "/apps/x/other");
    assert_string_equal(persona_path_outward("/", "/", "/apps/x/", unit_pool), "/apps/x/");
}

static void our_own(void **state)
{
    (void)state;
    assert_string_equal(persona_cookie_set(T, "/apps/x/", 0, unit_pool),
                        "persona_session=" T "; Path=/apps/x/; HttpOnly; SameSite=Lax");
    assert_non_null(strstr(persona_cookie_set(T, "/apps/x/", 1, unit_pool), "; Secure"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(token_of_nothing),
        UNIT_TEST(token_among_others),
        UNIT_TEST(only_prefixed_go_in),
        UNIT_TEST(what_comes_out_is_prefixed),
        UNIT_TEST(paths),
        UNIT_TEST(our_own),
    };

    return UNIT_RUN(tests);
}
