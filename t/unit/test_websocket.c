/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "gateway/websocket.h"

static void the_example_of_rfc_6455(void **state)
{
    (void)state;
    assert_string_equal(persona_websocket_accept("dGhlIHNhbXBsZSBub25jZQ==", unit_pool),
                        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static void keys_that_are_none(void **state)
{
    (void)state;
    assert_null(persona_websocket_accept("", unit_pool));
    assert_null(persona_websocket_accept("dGhlIHNhbXBsZSBub25jZQ=", unit_pool));
    assert_null(persona_websocket_accept("dGhlIHNhbXBsZSBub25jZQ===", unit_pool));
    assert_null(persona_websocket_accept("dGhlIHNhbXBsZSBub25jZ\r\n==", unit_pool));
}

static void offers(void **state)
{
    (void)state;
    assert_false(persona_websocket_offers(NULL, "binary"));
    assert_false(persona_websocket_offers("", "binary"));
    assert_false(persona_websocket_offers("binaryx, xbinary,,", "binary"));
    assert_true(persona_websocket_offers("base64,\tBinary ", "binary"));
    assert_true(persona_websocket_offers("keep-alive, Upgrade", "upgrade"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {UNIT_TEST(the_example_of_rfc_6455),
                                       UNIT_TEST(keys_that_are_none), UNIT_TEST(offers)};

    return UNIT_RUN(tests);
}
