/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <string.h>

#include "gateway/html.h"

static void everything_is_escaped(void **state)
{
    persona_html_t *h = persona_html_create(unit_pool);

    (void)state;
    persona_html_add(h, "<b title=\"%s\">%s</b>", "\"><script>", "a & 'b' \x01");
    assert_string_equal(
        persona_html_text(h),
        "<b title=\"&quot;&gt;&lt;script&gt;\">a &amp; &#39;b&#39; \xef\xbf\xbd</b>");
    assert_int_equal(h->len, strlen(h->text));
}

static void conversions(void **state)
{
    persona_html_t *h = persona_html_create(unit_pool);

    (void)state;
    persona_html_add(h, "%d %l %h %u %s 100%%", -3, (apr_int64_t)5000000000, "<i>",
                     "a b/../\xc3\xa9", NULL);
    assert_string_equal(persona_html_text(h), "-3 5000000000 <i> a%20b%2F..%2F%C3%A9  100%");
}

static void it_grows(void **state)
{
    persona_html_t *h = persona_html_create(unit_pool);
    int i;

    (void)state;
    for (i = 0; i < 5000; i++) {
        persona_html_add(h, "%s", "<&>");
    }
    assert_int_equal(h->len, 5000 * strlen("&lt;&amp;&gt;"));
    assert_string_equal(h->text + h->len - 4, "&gt;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {UNIT_TEST(everything_is_escaped), UNIT_TEST(conversions),
                                       UNIT_TEST(it_grows)};

    return UNIT_RUN(tests);
}
