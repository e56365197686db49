/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses for containers: who gets which, and the MAC address that goes with it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "compute/libvirt.h"

static apr_pool_t *p;

static const char network[] =
    "<network><name>n</name><ip address='192.168.150.1' netmask='255.255.255.0'>"
    "<dhcp><range start='192.168.150.128' end='192.168.150.254'/></dhcp></ip></network>";

static libvirt_net_t *parse(void)
{
    libvirt_net_t *net;

    assert_null(libvirt_net_parse(network, &net, p));
    return net;
}

static int host_of(const char *address)
{
    assert_int_equal(strncmp(address, "192.168.150.", 12), 0);
    return (int)apr_atoi64(address + 12);
}

static const char *uuid_of(int n)
{
    return apr_psprintf(p, "%08x-0d5a-4a0c-9d4e-0a1b2c%06x", (unsigned)n * 2654435761U, (unsigned)n);
}

static void each_address_is_offered_once(void **state)
{
    int offered[256] = {0}, n = 0;
    const char *address;

    (void)state;
    for (; (address = libvirt_net_candidate(parse(), uuid_of(1), (apr_uint32_t)n, p)); n++) {
        offered[host_of(address)]++;
    }
    assert_int_equal(n, 126);
    for (int host = 2; host < 128; host++) {
        assert_int_equal(offered[host], 1);
    }
}

static void first_choices_are_spread(void **state)
{
    int chosen[256] = {0};

    (void)state;
    for (int n = 0; n < 1260; n++) {
        chosen[host_of(libvirt_net_candidate(parse(), uuid_of(n), 0, p))]++;
    }
    for (int host = 2; host < 128; host++) {
        assert_in_range(chosen[host], 0, 40); /* ten on average */
    }
}

static void a_large_network_has_an_end(void **state)
{
    libvirt_net_t *net;

    (void)state;
    assert_null(libvirt_net_parse("<network><name>n</name><ip address='10.0.0.1' netmask='255.0.0.0'/></network>",
                                  &net, p));
    assert_non_null(libvirt_net_candidate(net, uuid_of(1), 0, p));
    assert_null(libvirt_net_candidate(net, uuid_of(1), 70000, p));
}

static void the_next_owner_of_an_address_has_its_mac(void **state)
{
    (void)state;
    assert_string_equal(libvirt_mac(uuid_of(1), "192.168.150.7", p), libvirt_mac(uuid_of(2), "192.168.150.7", p));
    assert_string_not_equal(libvirt_mac(uuid_of(1), "192.168.150.7", p), libvirt_mac(uuid_of(1), "192.168.150.8", p));
    assert_string_not_equal(libvirt_mac(uuid_of(1), NULL, p), libvirt_mac(uuid_of(2), NULL, p));
    assert_int_equal(strlen(libvirt_mac(uuid_of(1), "192.168.150.7", p)), 17);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_address_is_offered_once),
        cmocka_unit_test(first_choices_are_spread),
        cmocka_unit_test(a_large_network_has_an_end),
        cmocka_unit_test(the_next_owner_of_an_address_has_its_mac),
    };

    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&p, NULL) != APR_SUCCESS) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
