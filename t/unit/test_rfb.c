/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <string.h>

#include "gateway/rfb.h"

#define HELLO    "RFB 003.008\n\x01\x01"
#define UPDATE   "\x03\x01\x00\x00\x00\x00\x04\x00\x03\x00"
#define KEY      "\x04\x01\x00\x00\x00\x00\x00\x61"
#define POINTER  "\x05\x00\x00\x10\x00\x10"
#define CUT      "\x06\x00\x00\x00\x00\x00\x00\x03\x04\x04\x04"
#define EXTENDED "\x06\x00\x00\x00\xff\xff\xff\xfc\x04\x04\x04\x04"
#define CODINGS  "\x02\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x07"
#define FENCE    "\xf8\x00\x00\x00\x80\x00\x00\x01\x02\x04\x04"
#define SIZE                                                                                       \
    "\xfb\x00\x04\x00\x03\x00\x01\x00"                                                             \
    "0123456789abcdef"
#define QEMU_KEY "\xff\x00\x00\x01\x00\x00\x00\x61\x00\x00\x00\x1e"
#define PIXELS   "\x00\x00\x00\x00\x20\x18\x00\x01\x00\xff\x00\xff\x00\xff\x10\x08\x00\x00\x00\x00"

static unsigned feed(persona_rfb_t *rfb, const char *data, size_t len, size_t piece)
{
    unsigned acts = 0;

    while (len) {
        size_t n = piece < len ? piece : len;

        acts += persona_rfb_client(rfb, (const unsigned char *)data, n);
        data += n;
        len -= n;
    }
    return acts;
}

#define COUNT(bytes, piece) (persona_rfb_start(&rfb), feed(&rfb, bytes, sizeof(bytes) - 1, piece))

static void only_a_person_counts(void **state)
{
    persona_rfb_t rfb;
    size_t piece;

    (void)state;
    for (piece = 1; piece < 40; piece++) {
        assert_int_equal(COUNT(HELLO PIXELS CODINGS UPDATE FENCE SIZE UPDATE, piece), 0);
        assert_int_equal(rfb.state, PERSONA_RFB_TYPE);
        assert_int_equal(COUNT(HELLO UPDATE KEY POINTER CUT EXTENDED QEMU_KEY UPDATE, piece), 5);
        assert_int_equal(rfb.state, PERSONA_RFB_TYPE);
    }
}

static void with_a_password_and_the_old_version(void **state)
{
    persona_rfb_t rfb;

    (void)state;
    assert_int_equal(COUNT("RFB 003.008\n\x02"
                           "0123456789abcdef\x01" UPDATE KEY,
                           3),
                     1);
    assert_int_equal(COUNT("RFB 003.003\n\x01" UPDATE KEY, 3), 1);
}

static void what_is_unknown_counts_from_then_on(void **state)
{
    persona_rfb_t rfb;

    (void)state;
    assert_true(COUNT("GET / HTTP/1.1\r\n\r\n", 100) > 0);
    assert_int_equal(rfb.state, PERSONA_RFB_OPAQUE);
    assert_true(COUNT(HELLO "\x63"
                            "abc",
                      1) > 0);
    assert_int_equal(rfb.state, PERSONA_RFB_OPAQUE);
    assert_true(COUNT(HELLO "\xff\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                            "x",
                      100) > 0);
    assert_int_equal(rfb.state, PERSONA_RFB_OPAQUE);
}

static void the_longest_text(void **state)
{
    persona_rfb_t rfb;

    (void)state;
    /* -2147483648: its amount is 2^31 bytes, and none of the keys in them counts */
    assert_int_equal(COUNT(HELLO "\x06\x00\x00\x00\x80\x00\x00\x00" KEY KEY KEY, 7), 1);
    assert_int_equal(rfb.state, PERSONA_RFB_SKIP);
    assert_true(rfb.skip == 2147483648u - 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(only_a_person_counts),
        UNIT_TEST(with_a_password_and_the_old_version),
        UNIT_TEST(what_is_unknown_counts_from_then_on),
        UNIT_TEST(the_longest_text),
    };

    return UNIT_RUN(tests);
}
