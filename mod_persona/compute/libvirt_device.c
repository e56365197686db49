/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file libvirt_device.c
 * @brief GPUs: the node devices that may be given to an instance, and taking some that are free.
 *
 * A PCI device is offered when it is a display controller (class 03xxxx) that the administrator has bound to
 * vfio-pci; any other may be the host's own screen. A mediated device is offered when it exists: the
 * administrator made it for this. A persona's gpu.model is compared with the names a device goes by, all
 * written in lower case with '-' for whatever is no letter or digit: "NVIDIA A16-2Q" is nvidia-a16-2q; a PCI
 * device also goes by its ids, such as 10de-25b6.
 *
 * Taking is by reservation (libvirt_secret.c), so that no two instances of any gateway get the same one. What
 * domains that are not ours use is seen in their XML and left alone.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <libxml/parser.h>

#include "compute/libvirt.h"

static xmlNodePtr child(xmlNodePtr parent, const char *name)
{
    for (xmlNodePtr node = parent ? parent->children : NULL; node; node = node->next) {
        if (node->type == XML_ELEMENT_NODE && !strcmp((const char *)node->name, name)) {
            return node;
        }
    }
    return NULL;
}

static const char *content(xmlNodePtr node, apr_pool_t *p)
{
    xmlChar *text = node ? xmlNodeGetContent(node) : NULL;
    const char *copy = text ? apr_pstrdup(p, (const char *)text) : NULL;

    xmlFree(text);
    return copy;
}

static const char *property(xmlNodePtr node, const char *name, apr_pool_t *p)
{
    xmlChar *text = node ? xmlGetProp(node, BAD_CAST name) : NULL;
    const char *copy = text ? apr_pstrdup(p, (const char *)text) : NULL;

    xmlFree(text);
    return copy;
}

static unsigned value(xmlNodePtr node, apr_pool_t *p)
{
    const char *text = content(node, p);

    return text ? (unsigned)strtoul(text, NULL, 0) : 0;
}

/* Whether `model` is what `name` goes by, or the end of it after a '-' ("a16-2q" of "NVIDIA A16-2Q"). */
static int goes_by(const char *name, const char *model, apr_pool_t *p)
{
    char *plain;
    apr_size_t at = 0, len;

    if (!name) {
        return 0;
    }
    plain = apr_pcalloc(p, strlen(name) + 1);
    for (; *name; ++name) {
        if (apr_isalnum(*name)) {
            plain[at++] = (char)apr_tolower(*name);
        }
        else if (at && plain[at - 1] != '-') {
            plain[at++] = '-';
        }
    }
    while (at && plain[at - 1] == '-') {
        plain[--at] = '\0';
    }
    len = strlen(model);
    return at >= len && !strcmp(plain + at - len, model) && (at == len || plain[at - len - 1] == '-');
}

static int parse_pci(xmlNodePtr root, xmlNodePtr capability, const char *model, libvirt_device_t *device,
                     apr_pool_t *p)
{
    const char *driver = content(child(child(root, "driver"), "name"), p);
    xmlNodePtr product = child(capability, "product"), vendor = child(capability, "vendor");
    const char *vendor_name = content(vendor, p), *product_name = content(product, p);
    const char *ids = apr_pstrcat(p, property(vendor, "id", p), " ", property(product, "id", p), NULL);
    const char *class = content(child(capability, "class"), p);

    if (!class || strncmp(class, "0x03", 4) || !driver || strcmp(driver, "vfio-pci")) {
        return 0;
    }
    /* "0x10de 0x25b6" without the two 0x. */
    if (ids && strlen(ids) == 13) {
        ids = apr_psprintf(p, "%.4s-%.4s", ids + 2, ids + 9);
    }
    if (model && !goes_by(product_name, model, p) && !goes_by(ids, model, p)
        && !goes_by(apr_pstrcat(p, vendor_name ? vendor_name : "", " ", product_name, NULL), model, p)) {
        return 0;
    }
    device->domain = value(child(capability, "domain"), p);
    device->bus = value(child(capability, "bus"), p);
    device->slot = value(child(capability, "slot"), p);
    device->function = value(child(capability, "function"), p);
    return 1;
}

/* The name that a type of mediated devices has in its parent's XML. */
static const char *type_name(const char *types, const char *id, apr_pool_t *p)
{
    xmlDocPtr doc = types ? xmlReadMemory(types, (int)strlen(types), "device", NULL,
                                          XML_PARSE_NONET | XML_PARSE_NOERROR) : NULL;
    xmlNodePtr outer = child(doc ? xmlDocGetRootElement(doc) : NULL, "capability");
    const char *name = NULL;

    for (xmlNodePtr list = outer ? outer->children : NULL; list; list = list->next) {
        for (xmlNodePtr type = list->children; type; type = type->next) {
            const char *type_id = type->type == XML_ELEMENT_NODE ? property(type, "id", p) : NULL;

            if (type_id && !strcmp(type_id, id) && child(type, "name")) {
                name = content(child(type, "name"), p);
            }
        }
    }
    xmlFreeDoc(doc);
    return name;
}

static int parse_mdev(xmlNodePtr capability, const char *types, const char *model, libvirt_device_t *device,
                      apr_pool_t *p)
{
    const char *type = property(child(capability, "type"), "id", p);

    device->mdev = content(child(capability, "uuid"), p);
    if (!device->mdev || !type) {
        return 0;
    }
    return !model || goes_by(type, model, p) || goes_by(type_name(types, type, p), model, p);
}

int libvirt_device_parse(const char *xml, const char *types, const char *model, libvirt_device_t *device,
                         apr_pool_t *p)
{
    xmlDocPtr doc = xmlReadMemory(xml, (int)strlen(xml), "device", NULL, XML_PARSE_NONET | XML_PARSE_NOERROR);
    xmlNodePtr root = doc ? xmlDocGetRootElement(doc) : NULL, capability = child(root, "capability");
    const char *kind = property(capability, "type", p);
    int usable = 0;

    memset(device, 0, sizeof(*device));
    device->name = content(child(root, "name"), p);
    if (device->name && kind && !strcmp(kind, "pci")) {
        usable = parse_pci(root, capability, model, device, p);
    }
    else if (device->name && kind && !strcmp(kind, "mdev")) {
        usable = parse_mdev(capability, types, model, device, p);
    }
    xmlFreeDoc(doc);
    return usable;
}

/* ---- allocation ---- */

/* What names a device wherever it is used: mdev uuid or PCI address. */
static const char *device_key(const libvirt_device_t *device, apr_pool_t *p)
{
    return device->mdev ? device->mdev
                        : apr_psprintf(p, "%04x:%02x:%02x.%x", device->domain, device->bus, device->slot,
                                       device->function);
}

static void add_used(apr_table_t *used, const char *xml, apr_pool_t *p)
{
    xmlDocPtr doc = xmlReadMemory(xml, (int)strlen(xml), "domain", NULL, XML_PARSE_NONET | XML_PARSE_NOERROR);
    xmlNodePtr devices = child(doc ? xmlDocGetRootElement(doc) : NULL, "devices");

    for (xmlNodePtr node = devices ? devices->children : NULL; node; node = node->next) {
        xmlNodePtr address = child(child(node, "source"), "address");
        libvirt_device_t device = {.mdev = property(address, "uuid", p)};
        const char *bus = property(address, "bus", p), *slot = property(address, "slot", p);
        const char *domain = property(address, "domain", p), *function = property(address, "function", p);

        if (node->type != XML_ELEMENT_NODE || strcmp((const char *)node->name, "hostdev") || !address) {
            continue;
        }
        device.domain = domain ? (unsigned)strtoul(domain, NULL, 0) : 0;
        device.bus = bus ? (unsigned)strtoul(bus, NULL, 0) : 0;
        device.slot = slot ? (unsigned)strtoul(slot, NULL, 0) : 0;
        device.function = function ? (unsigned)strtoul(function, NULL, 0) : 0;
        apr_table_setn(used, device_key(&device, p), "1");
    }
    xmlFreeDoc(doc);
}

static apr_status_t list_used(virConnectPtr conn, apr_table_t *used, persona_result_t *res, apr_pool_t *p)
{
    virDomainPtr *domains;
    int count = virConnectListAllDomains(conn, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);

    if (count < 0) {
        return libvirt_failed(conn, res, "gpu", "cannot see which devices are in use");
    }
    for (int i = 0; i < count; ++i) {
        char *xml = virDomainGetXMLDesc(domains[i], 0);

        if (xml) {
            add_used(used, xml, p);
            free(xml);
        }
        virDomainFree(domains[i]);
    }
    free(domains);
    return APR_SUCCESS;
}

/* The XML of a device's parent, in p; NULL: none. */
static const char *parent_xml(virConnectPtr conn, virNodeDevicePtr node, apr_pool_t *p)
{
    const char *name = virNodeDeviceGetParent(node);
    virNodeDevicePtr parent = name ? virNodeDeviceLookupByName(conn, name) : NULL;
    char *xml = parent ? virNodeDeviceGetXMLDesc(parent, 0) : NULL;
    const char *copy = xml ? apr_pstrdup(p, xml) : NULL;

    free(xml);
    if (parent) {
        virNodeDeviceFree(parent);
    }
    return copy;
}

static apr_status_t list_devices(virConnectPtr conn, const char *model, apr_array_header_t *devices,
                                 persona_result_t *res, apr_pool_t *p)
{
    virNodeDevicePtr *nodes;
    int count = virConnectListAllNodeDevices(conn, &nodes, VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV
                                                               | VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV);

    if (count < 0) {
        return libvirt_failed(conn, res, "gpu", "cannot list the host's devices");
    }
    for (int i = 0; i < count; ++i) {
        char *xml = virNodeDeviceGetXMLDesc(nodes[i], 0);
        libvirt_device_t device;

        if (xml && libvirt_device_parse(xml, strstr(xml, "'mdev'") ? parent_xml(conn, nodes[i], p) : NULL, model,
                                        &device, p)) {
            APR_ARRAY_PUSH(devices, libvirt_device_t) = device;
        }
        free(xml);
        virNodeDeviceFree(nodes[i]);
    }
    free(nodes);
    return APR_SUCCESS;
}

apr_status_t libvirt_devices_allocate(virConnectPtr conn, const char *uuid, int count, const char *model,
                                      apr_array_header_t **result, persona_result_t *res, apr_pool_t *p)
{
    apr_array_header_t *offered = apr_array_make(p, 8, sizeof(libvirt_device_t));
    apr_array_header_t *devices = apr_array_make(p, count + 1, sizeof(libvirt_device_t));
    apr_table_t *used = apr_table_make(p, 8);
    apr_status_t status = list_devices(conn, model, offered, res, p);

    if (status == APR_SUCCESS) {
        status = list_used(conn, used, res, p);
    }
    for (int i = 0; status == APR_SUCCESS && i < offered->nelts && devices->nelts < count; ++i) {
        const libvirt_device_t *device = &APR_ARRAY_IDX(offered, i, libvirt_device_t);
        const char *key = device_key(device, p);

        if (apr_table_get(used, key)) {
            continue;
        }
        status = libvirt_reserve(conn, "device", key, uuid, res, p);
        if (status == APR_SUCCESS) {
            APR_ARRAY_PUSH(devices, libvirt_device_t) = *device;
        }
        else if (status == APR_EEXIST) {
            status = APR_SUCCESS;
        }
    }
    if (status == APR_SUCCESS && devices->nelts < count) {
        return persona_result_set(res, APR_ENOSPC, "gpu-none-free", "%d of %d GPUs%s%s are free on this host",
                                  devices->nelts, count, model ? " of model " : "", model ? model : "");
    }
    *result = devices;
    return status;
}
