/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <string.h>

#include "persona/digest.h"

static void sha256_vectors(void **state)
{
    /* FIPS 180-4 examples, as published with the standard. */
    static const struct {
        const char *text, *hex;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    char hex[PERSONA_HEX256_LEN];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        persona_sha256(cases[i].text, strlen(cases[i].text), hex);
        assert_string_equal(hex, cases[i].hex);
    }
    persona_sha256(NULL, 0, hex);
    assert_string_equal(hex, cases[0].hex);
}

static void hmac_vectors(void **state)
{
    char key[131], data[50], hex[PERSONA_HEX256_LEN];

    (void)state;
    /* RFC 4231, test cases 1, 2, 3 and 6 (a key longer than a block). */
    memset(key, 0x0b, 20);
    persona_hmac(key, 20, "Hi There", 8, hex);
    assert_string_equal(hex, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    persona_hmac("Jefe", 4, "what do ya want for nothing?", 28, hex);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    memset(data, 0xdd, sizeof(data));
    persona_hmac(key, 20, data, sizeof(data), hex);
    assert_string_equal(hex, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    persona_hmac(key, sizeof(key), "Test Using Larger Than Block-Size Key - Hash Key First", 54,
                 hex);
    assert_string_equal(hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void hmac_of_nothing_is_not_the_last_key(void **state)
{
    char hex[PERSONA_HEX256_LEN];

    (void)state;
    persona_hmac("Jefe", 4, "x", 1, hex);
    persona_hmac(NULL, 0, NULL, 0, hex);
    assert_string_equal(hex, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void hex_equal(void **state)
{
    (void)state;
    assert_false(persona_hex_equal("", "0"));
    assert_false(persona_hex_equal("abcd", "abce"));
    assert_false(persona_hex_equal("abcd", "abc"));
    assert_false(persona_hex_equal("abcd", "ABCD"));
    assert_true(persona_hex_equal("abcd", "abcd"));
    assert_true(persona_hex_equal("", ""));
}

static void uuid_valid(void **state)
{
    static const char *const bad[] = {
        "",
        "-",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8a",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8 ",
        "6BA7B810-9DAD-11D1-80B4-00C04FD430C8",
        "6ba7b810x9dad-11d1-80b4-00c04fd430c8",
        "6ba7b81-09dad-11d1-80b4-00c04fd430c8",
        "6ba7b8109dad11d180b400c04fd430c8",
        "{6ba7b810-9dad-11d1-80b4-00c04fd430}",
        "gba7b810-9dad-11d1-80b4-00c04fd430c8",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (persona_uuid_valid(bad[i])) {
            fail_msg("accepted: %s", bad[i]);
        }
        assert_null(persona_uuid_v5(bad[i], "x", unit_pool));
    }
    assert_true(persona_uuid_valid("6ba7b810-9dad-11d1-80b4-00c04fd430c8"));
}

static void uuid_v5_vectors(void **state)
{
    (void)state;
    /* The DNS space of RFC 4122 appendix C; results as given by the uuid module of Python's
     * manual. */
    assert_string_equal(
        persona_uuid_v5("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "python.org", unit_pool),
        "886313e1-3b8a-5372-9b90-0c9aee199e5d");
    assert_string_equal(persona_uuid_v5("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "", unit_pool),
                        "4ebd0208-8328-5d69-8c44-ec50939c0967");
}

static void random_is_random(void **state)
{
    char *a = persona_uuid_random(unit_pool), *b = persona_uuid_random(unit_pool);

    (void)state;
    assert_true(persona_uuid_valid(a));
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
    assert_string_not_equal(a, b);
    a = persona_random_hex(16, unit_pool);
    b = persona_random_hex(16, unit_pool);
    assert_int_equal(strlen(a), 32);
    assert_int_equal(strspn(a, "0123456789abcdef"), 32);
    assert_string_not_equal(a, b);
    assert_string_equal(persona_random_hex(0, unit_pool), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(sha256_vectors),
        UNIT_TEST(hmac_vectors),
        UNIT_TEST(hmac_of_nothing_is_not_the_last_key),
        UNIT_TEST(hex_equal),
        UNIT_TEST(uuid_valid),
        UNIT_TEST(uuid_v5_vectors),
        UNIT_TEST(random_is_random),
    };

    return UNIT_RUN(tests);
}
