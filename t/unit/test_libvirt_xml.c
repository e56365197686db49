/* SPDX-License-Identifier: Apache-2.0 */
/* The domain XML of every kind of instance against libvirt's own schema, and which devices are GPUs to give away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <libxml/parser.h>
#include <libxml/relaxng.h>

#include "compute/libvirt.h"
#include "persona/parse.h"
#include "persona_good.h"

#define SCHEMA "/usr/share/libvirt/schemas/domain.rng"
#define UUID   "5e8f3a53-0d5a-4a0c-9d4e-0a1b2c3d4e5f"

static apr_pool_t *p;
static xmlRelaxNGPtr schema;
static char complaint[512];

static void complain(void *unused, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void complain(void *unused, const char *fmt, ...)
{
    va_list args;

    (void)unused;
    va_start(args, fmt);
    apr_vsnprintf(complaint, sizeof(complaint), fmt, args);
    va_end(args);
}

/** NULL, or what the schema has against it. */
static const char *flaw(const char *xml)
{
    xmlDocPtr doc = xmlReadMemory(xml, (int)strlen(xml), "domain", NULL, XML_PARSE_NONET);
    xmlRelaxNGValidCtxtPtr context = xmlRelaxNGNewValidCtxt(schema);
    int result;

    assert_non_null(doc);
    complaint[0] = '\0';
    xmlRelaxNGSetValidErrors(context, complain, complain, NULL);
    result = xmlRelaxNGValidateDoc(context, doc);
    xmlRelaxNGFreeValidCtxt(context);
    xmlFreeDoc(doc);
    return result == 0 ? NULL : *complaint ? complaint : "it is not valid";
}

static libvirt_plan_t plan_of(libvirt_driver_e driver, const char *type)
{
    static libvirt_options_t options;
    static libvirt_image_t image = {.path = "/images/desk.qcow2", .kernel = "/images/desk.vmlinuz",
                                    .initrd = "/images/desk.initrd", .cmdline = "console=ttyS0"};
    static libvirt_net_t net = {.name = "persona", .gateway = 0xc0a89601, .mask = 0xffffff00};
    static const char text[] = PERSONA_GOOD("cad", "freecad", "[]");
    apr_array_header_t *errors = apr_array_make(p, 1, sizeof(persona_error_t));
    const persona_t *persona = persona_parse("cad.json", text, sizeof(text) - 1, apr_hash_make(p), 0, errors, p);
    libvirt_plan_t plan = {.persona = persona, .options = &options, .ns = "0123456789ab", .uuid = UUID,
                           .hook_key = "abcd", .reason = "a <test> & \"more\"", .created = 1, .type = type, .x86 = 1,
                           .image = &image, .net = &net, .filter = "persona-isolated-0123456789ab", .fuse = 1};

    options = (libvirt_options_t){.driver = driver, .local = 1, .images = "/images", .pool = "persona",
                                  .listen = "127.0.0.1", .idmap_start = 100000, .idmap_count = 65536, .filter = 1};
    if (driver == LIBVIRT_LXC) {
        plan.address = "192.168.150.7";
        image.path = "/images/desk";
    }
    else {
        plan.volume = "/images/instances/disk.qcow2";
        plan.env = "/images/instances/disk.env";
        image.path = "/images/desk.qcow2";
    }
    return plan;
}

static void every_kind_is_valid(void **state)
{
    libvirt_plan_t lxc = plan_of(LIBVIRT_LXC, "lxc"), plan;

    (void)state;
    assert_null(flaw(libvirt_domain_xml(&lxc, p)));
    plan = plan_of(LIBVIRT_QEMU, "kvm");
    assert_null(flaw(libvirt_domain_xml(&plan, p)));
    plan = plan_of(LIBVIRT_QEMU, "qemu");
    assert_null(flaw(libvirt_domain_xml(&plan, p)));
    plan = plan_of(LIBVIRT_TEST, "test");
    assert_null(flaw(libvirt_domain_xml(&plan, p)));
}

static void a_screen_of_the_hypervisor_is_valid(void **state)
{
    libvirt_plan_t plan = plan_of(LIBVIRT_QEMU, "qemu");
    persona_t persona = *plan.persona;

    (void)state;
    persona.environment.stream = PERSONA_STREAM_VNC;
    persona.environment.stream_port = 0;
    plan.persona = &persona;
    assert_null(flaw(libvirt_domain_xml(&plan, p)));
}

static void gpus_are_valid(void **state)
{
    apr_array_header_t *devices = apr_array_make(p, 2, sizeof(libvirt_device_t));
    libvirt_plan_t plan = plan_of(LIBVIRT_QEMU, "kvm");
    const char *xml;

    (void)state;
    APR_ARRAY_PUSH(devices, libvirt_device_t) = (libvirt_device_t){.name = "pci_0000_65_00_0", .bus = 0x65};
    APR_ARRAY_PUSH(devices, libvirt_device_t) =
        (libvirt_device_t){.name = "mdev", .mdev = "c2177883-f1bb-47f0-914d-32a22e3a8804"};
    plan.devices = devices;
    xml = libvirt_domain_xml(&plan, p);
    assert_null(flaw(xml));
    assert_non_null(strstr(xml, "type=\"pci\""));
    assert_non_null(strstr(xml, "bus=\"0x65\""));
    assert_non_null(strstr(xml, "uuid=\"c2177883-f1bb-47f0-914d-32a22e3a8804\""));
}

static void the_schema_can_say_no(void **state)
{
    libvirt_plan_t plan = plan_of(LIBVIRT_QEMU, "kvm");
    char *xml = apr_pstrdup(p, libvirt_domain_xml(&plan, p)), *at = strstr(xml, "<vcpu");

    (void)state;
    assert_non_null(at);
    memcpy(at, "<vcpX", 5);
    at = strstr(xml, "</vcpu>");
    memcpy(at, "</vcpX>", 7);
    assert_non_null(flaw(xml));
}

static const char pci[] =
    "<device><name>pci_0000_65_00_0</name><driver><name>%s</name></driver><capability type='pci'><class>%s</class>"
    "<domain>0</domain><bus>101</bus><slot>0</slot><function>0</function>"
    "<product id='0x25b6'>GA107GL [A16]</product><vendor id='0x10de'>NVIDIA Corporation</vendor></capability></device>";

static int offered(const char *driver, const char *class, const char *model)
{
    libvirt_device_t device;

    return libvirt_device_parse(apr_psprintf(p, pci, driver, class), NULL, model, &device, p) &&
           device.bus == 101 && !device.mdev;
}

static void free_gpus_are_known_by_driver_class_and_name(void **state)
{
    (void)state;
    assert_true(offered("vfio-pci", "0x030200", NULL));
    assert_true(offered("vfio-pci", "0x030200", "10de-25b6"));
    assert_true(offered("vfio-pci", "0x030200", "a16"));
    assert_false(offered("vfio-pci", "0x030200", "a40"));
    assert_false(offered("nvidia", "0x030200", NULL));   /* the host's own */
    assert_false(offered("vfio-pci", "0x020000", NULL)); /* a network card */
}

static void mediated_devices_are_known_by_type(void **state)
{
    static const char mdev[] = "<device><name>mdev_1</name><capability type='mdev'><type id='nvidia-559'/>"
                               "<uuid>c2177883-f1bb-47f0-914d-32a22e3a8804</uuid></capability></device>";
    static const char parent[] = "<device><name>pci_1</name><capability type='pci'><capability type='mdev_types'>"
                                 "<type id='nvidia-559'><name>NVIDIA A16-2Q</name></type></capability></capability>"
                                 "</device>";
    libvirt_device_t device;

    (void)state;
    assert_true(libvirt_device_parse(mdev, parent, "nvidia-a16-2q", &device, p));
    assert_string_equal(device.mdev, "c2177883-f1bb-47f0-914d-32a22e3a8804");
    assert_true(libvirt_device_parse(mdev, NULL, "nvidia-559", &device, p));
    assert_false(libvirt_device_parse(mdev, parent, "nvidia-a16-4q", &device, p));
    assert_false(libvirt_device_parse("<device>", parent, NULL, &device, p));
}

static void what_was_written_is_read_back(void **state)
{
    libvirt_plan_t plan = plan_of(LIBVIRT_QEMU, "kvm");
    libvirt_domain_t *domain;

    (void)state;
    assert_int_equal(libvirt_domain_parse(libvirt_domain_xml(&plan, p), &domain, p), APR_SUCCESS);
    assert_string_equal(domain->instance.uuid, UUID);
    assert_string_equal(domain->instance.persona_id, plan.persona->id);
    assert_string_equal(domain->instance.reason, "a <test> & \"more\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_valid),
        cmocka_unit_test(a_screen_of_the_hypervisor_is_valid),
        cmocka_unit_test(gpus_are_valid),
        cmocka_unit_test(the_schema_can_say_no),
        cmocka_unit_test(free_gpus_are_known_by_driver_class_and_name),
        cmocka_unit_test(mediated_devices_are_known_by_type),
        cmocka_unit_test(what_was_written_is_read_back),
    };
    xmlRelaxNGParserCtxtPtr parser;
    int failed;

    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&p, NULL) != APR_SUCCESS) {
        return 1;
    }
    parser = xmlRelaxNGNewParserCtxt(SCHEMA);
    schema = parser ? xmlRelaxNGParse(parser) : NULL;
    if (!schema) {
        fprintf(stderr, "%s, of libvirt's own package, cannot be read\n", SCHEMA);
        return 1;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    xmlRelaxNGFree(schema);
    xmlRelaxNGFreeParserCtxt(parser);
    return failed;
}
