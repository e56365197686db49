/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file libvirt_net.c
 * @brief Addresses of instances on a libvirt network, and what they may reach from there.
 *
 * A virtual machine asks the network's DHCP. A container gets an address from us, from that part of the
 * network which DHCP does not give away, reserved by a secret that is the same for every gateway on this libvirt.
 *
 * ISOLATION has two parts. `<port isolated='yes'/>` keeps frames from passing between instances on the bridge.
 * A network filter (libvirt's nwfilter, one per compute, network and kind) does the rest on the host's side of
 * the interface, where nothing inside can undo it: only the instance's own MAC and address as source, also in
 * ARP, so that none can take over another's address; replies to connections that came from outside; and
 *   isolated:     DHCP where the network has it, and the allow= targets; nothing else, neither the host (its
 *                 name server included) nor another instance nor the world;
 *   not isolated: everything but other addresses of the same network: the streams of instances have no password.
 * Each rule is several runs of iptables or ebtables per boot, so there are as few as will do.
 */
#include <string.h>

#include <apr_strings.h>
#include <libvirt/virterror.h>
#include <libxml/parser.h>

#include "compute/libvirt.h"
#include "persona/digest.h"

const char *libvirt_net_text(apr_uint32_t address, apr_pool_t *p)
{
    return apr_psprintf(p, "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}

static int parse_address(const char *text, apr_uint32_t *address)
{
    unsigned part[4];
    char rest;

    if (!text || sscanf(text, "%3u.%3u.%3u.%3u%c", &part[0], &part[1], &part[2], &part[3], &rest) != 4
        || part[0] > 255 || part[1] > 255 || part[2] > 255 || part[3] > 255) {
        return 0;
    }
    *address = part[0] << 24 | part[1] << 16 | part[2] << 8 | part[3];
    return 1;
}

static const char *attribute(xmlNodePtr node, const char *name, apr_pool_t *p)
{
    xmlChar *value = xmlGetProp(node, BAD_CAST name);
    const char *copy = value ? apr_pstrdup(p, (const char *)value) : NULL;

    xmlFree(value);
    return copy;
}

static int is_element(xmlNodePtr node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && !strcmp((const char *)node->name, name);
}

static void read_dhcp(libvirt_net_t *net, xmlNodePtr dhcp, apr_array_header_t *taken, apr_pool_t *p)
{
    for (xmlNodePtr node = dhcp->children; node; node = node->next) {
        libvirt_range_t range;

        if (is_element(node, "range") && parse_address(attribute(node, "start", p), &range.first)
            && parse_address(attribute(node, "end", p), &range.last)) {
            net->dhcp = 1;
            APR_ARRAY_PUSH(taken, libvirt_range_t) = range;
        }
        else if (is_element(node, "host") && parse_address(attribute(node, "ip", p), &range.first)) {
            range.last = range.first;
            APR_ARRAY_PUSH(taken, libvirt_range_t) = range;
        }
    }
}

/* Whether this <ip> is the IPv4 one; fills in the network. */
static int read_ip(libvirt_net_t *net, xmlNodePtr ip, apr_array_header_t *taken, apr_pool_t *p)
{
    const char *family = attribute(ip, "family", p), *prefix = attribute(ip, "prefix", p);
    const char *netmask = attribute(ip, "netmask", p);
    int bits = 0;

    if ((family && strcmp(family, "ipv4")) || !parse_address(attribute(ip, "address", p), &net->gateway)) {
        return 0;
    }
    if (prefix) {
        bits = atoi(prefix);
        net->mask = bits > 0 && bits <= 32 ? 0xffffffffu << (32 - bits) : 0;
    }
    else if (!netmask || !parse_address(netmask, &net->mask)) {
        net->mask = net->gateway >> 31 == 0 ? 0xff000000u : net->gateway >> 30 == 2 ? 0xffff0000u : 0xffffff00u;
    }
    for (bits = 0; bits < 32 && net->mask & 0x80000000u >> bits; ++bits) {
    }
    net->prefix = bits;
    for (xmlNodePtr node = ip->children; node; node = node->next) {
        if (is_element(node, "dhcp")) {
            read_dhcp(net, node, taken, p);
        }
    }
    return 1;
}

const char *libvirt_net_parse(const char *xml, libvirt_net_t **result, apr_pool_t *p)
{
    xmlDocPtr doc = xmlReadMemory(xml, (int)strlen(xml), "network", NULL, XML_PARSE_NONET | XML_PARSE_NOERROR);
    xmlNodePtr root = doc ? xmlDocGetRootElement(doc) : NULL;
    libvirt_net_t *net = apr_pcalloc(p, sizeof(*net));
    apr_array_header_t *taken = apr_array_make(p, 4, sizeof(libvirt_range_t));
    int found = 0;

    if (!root || !is_element(root, "network")) {
        xmlFreeDoc(doc);
        return "this is not the XML of a network";
    }
    for (xmlNodePtr node = root->children; node; node = node->next) {
        if (is_element(node, "name")) {
            xmlChar *name = xmlNodeGetContent(node);
            net->name = apr_pstrdup(p, (const char *)name);
            xmlFree(name);
        }
        else if (is_element(node, "ip") && !found) {
            found = read_ip(net, node, taken, p);
        }
    }
    xmlFreeDoc(doc);
    net->taken = taken;
    *result = net;
    return net->name ? NULL : "this network has no name";
}

apr_status_t libvirt_net_read(virConnectPtr conn, const char *name, libvirt_net_t **net, persona_result_t *res,
                              apr_pool_t *p)
{
    virNetworkPtr network = virNetworkLookupByName(conn, name);
    const char *wrong;
    char *xml;
    int active;

    if (!network) {
        apr_status_t status = libvirt_failed(conn, res, "network-missing",
                                             apr_psprintf(p, "network %s cannot be used", name));
        return status == APR_ENOENT ? APR_EGENERAL : status;
    }
    active = virNetworkIsActive(network);
    xml = active < 0 ? NULL : virNetworkGetXMLDesc(network, 0);
    if (!xml) {
        apr_status_t status = libvirt_failed(conn, res, "network-missing",
                                             apr_psprintf(p, "network %s cannot be used", name));
        virNetworkFree(network);
        return status;
    }
    virNetworkFree(network);
    wrong = libvirt_net_parse(xml, net, p);
    free(xml);
    if (wrong) {
        return persona_result_set(res, APR_EGENERAL, "network-missing", "network %s: %s", name, wrong);
    }
    if (!active) {
        return persona_result_set(res, APR_EGENERAL, "network-down",
                                  "network %s is not active; start it: virsh net-start %s", name, name);
    }
    return APR_SUCCESS;
}

static int is_taken(const libvirt_net_t *net, apr_uint32_t address)
{
    for (int i = 0; i < net->taken->nelts; ++i) {
        const libvirt_range_t *range = &APR_ARRAY_IDX(net->taken, i, libvirt_range_t);
        if (address >= range->first && address <= range->last) {
            return 1;
        }
    }
    return address == net->gateway;
}

/* Addresses of one network that are looked at. */
#define HOSTS_MAX 65535

const char *libvirt_net_candidate(const libvirt_net_t *net, const char *uuid, apr_uint32_t n, apr_pool_t *p)
{
    const apr_uint32_t base = net->gateway & net->mask, all = base | ~net->mask;
    const apr_uint32_t last = all - base > HOSTS_MAX ? base + HOSTS_MAX : all;
    apr_uint32_t start = 0, usable = 0, wanted;

    if (!net->mask || last - base < 3) {
        return NULL;
    }
    for (apr_uint32_t address = base + 1; address < last; ++address) {
        usable += !is_taken(net, address);
    }
    if (n >= usable) {
        return NULL;
    }
    /* Each instance begins elsewhere, so that many at once do not ask for the same address. */
    for (const char *at = uuid; *at; ++at) {
        start = start * 31 + (unsigned char)*at;
    }
    wanted = (start % usable + n) % usable;
    for (apr_uint32_t address = base + 1; address < last; ++address) {
        if (!is_taken(net, address) && wanted-- == 0) {
            return libvirt_net_text(address, p);
        }
    }
    return NULL;
}

static int array_has(const apr_array_header_t *names, const char *name)
{
    for (int i = 0; i < names->nelts; ++i) {
        if (!strcmp(APR_ARRAY_IDX(names, i, const char *), name)) {
            return 1;
        }
    }
    return 0;
}

apr_status_t libvirt_net_allocate(virConnectPtr conn, const libvirt_net_t *net, const char *uuid,
                                  const char **address, persona_result_t *res, apr_pool_t *p)
{
    apr_array_header_t *all, *own;
    const char *prefix = apr_pstrcat(p, net->name, ":", NULL), *candidate;
    apr_status_t status = libvirt_reserved(conn, "address", uuid, &all, &own, res, p);

    if (status != APR_SUCCESS) {
        return status;
    }
    for (int i = 0; i < own->nelts; ++i) {
        const char *name = APR_ARRAY_IDX(own, i, const char *);
        if (!strncmp(name, prefix, strlen(prefix))) {
            *address = name + strlen(prefix);
            return APR_SUCCESS;
        }
    }
    for (apr_uint32_t n = 0; (candidate = libvirt_net_candidate(net, uuid, n, p)); ++n) {
        const char *name = apr_pstrcat(p, prefix, candidate, NULL);

        if (array_has(all, name)) {
            continue;
        }
        status = libvirt_reserve(conn, "address", name, uuid, res, p);
        if (status == APR_SUCCESS) {
            *address = candidate;
        }
        if (status != APR_EEXIST) {
            return status;
        }
    }
    return persona_result_set(res, APR_ENOSPC, "network-full",
                              "network %s has no free address outside of its DHCP ranges: make the range smaller",
                              net->name);
}

const char *libvirt_mac(const char *uuid, const char *ip, apr_pool_t *p)
{
    /* 0x52: locally administered. The last ten digits of a random uuid are all random. */
    const char *end = uuid + PERSONA_UUID_LEN - 1;
    apr_uint32_t address;

    if (ip && parse_address(ip, &address)) {
        return apr_psprintf(p, "52:70:%02x:%02x:%02x:%02x", address >> 24, address >> 16 & 255, address >> 8 & 255,
                            address & 255);
    }
    return apr_psprintf(p, "52:%.2s:%.2s:%.2s:%.2s:%.2s", end - 10, end - 8, end - 6, end - 4, end - 2);
}

const char *libvirt_interface(const char *uuid, apr_pool_t *p)
{
    /* libvirt's container driver cannot filter an interface whose name it chose itself. 15 bytes at most. */
    return apr_psprintf(p, "pn%s", uuid + PERSONA_UUID_LEN - 1 - 12);
}

const char *libvirt_lease(virConnectPtr conn, const char *name, const char *mac, apr_pool_t *p)
{
    virNetworkPtr network = virNetworkLookupByName(conn, name);
    virNetworkDHCPLeasePtr *leases = NULL;
    const char *address = NULL;
    long long newest = -1;
    int count;

    if (!network) {
        return NULL;
    }
    count = virNetworkGetDHCPLeases(network, mac, &leases, 0);
    for (int i = 0; i < count; ++i) {
        if (leases[i]->type == VIR_IP_ADDR_TYPE_IPV4 && leases[i]->expirytime > newest) {
            newest = leases[i]->expirytime;
            address = apr_pstrdup(p, leases[i]->ipaddr);
        }
        virNetworkDHCPLeaseFree(leases[i]);
    }
    free(leases);
    virNetworkFree(network);
    return address;
}

/* ---- isolation ---- */

/* A rule of the filter: action, direction, priority and one protocol element with name-value pairs. */
static void add_rule(xmlNodePtr filter, const char *action, const char *direction, const char *priority,
                     const char *protocol, const char *const *pairs)
{
    xmlNodePtr rule = xmlNewChild(filter, NULL, BAD_CAST "rule", NULL), node;

    xmlNewProp(rule, BAD_CAST "action", BAD_CAST action);
    xmlNewProp(rule, BAD_CAST "direction", BAD_CAST direction);
    xmlNewProp(rule, BAD_CAST "priority", BAD_CAST priority);
    node = xmlNewChild(rule, NULL, BAD_CAST protocol, NULL);
    for (; pairs && *pairs; pairs += 2) {
        xmlNewProp(node, BAD_CAST pairs[0], BAD_CAST pairs[1]);
    }
}

#define PAIRS(...) (const char *const[]) { __VA_ARGS__, NULL }

/* Which frames may leave: ebtables, so before anything that looks at addresses. Priorities below 0. */
static void add_frame_rules(xmlNodePtr filter, int dhcp)
{
    add_rule(filter, "accept", "out", "-600", "arp",
             PAIRS("srcmacaddr", "$MAC", "arpsrcmacaddr", "$MAC", "arpsrcipaddr", "$IP"));
    if (dhcp) {
        add_rule(filter, "accept", "out", "-550", "ip",
                 PAIRS("srcmacaddr", "$MAC", "srcipaddr", "0.0.0.0", "dstipaddr", "255.255.255.255", "protocol",
                       "udp", "srcportstart", "68", "dstportstart", "67"));
    }
    add_rule(filter, "accept", "out", "-500", "ip", PAIRS("srcmacaddr", "$MAC", "srcipaddr", "$IP"));
    add_rule(filter, "drop", "out", "-400", "mac", NULL);
}

const char *libvirt_filter_name(const libvirt_t *lv, const libvirt_net_t *net, int isolated, apr_pool_t *p)
{
    char hex[PERSONA_HEX256_LEN];
    const char *whose = apr_pstrcat(p, lv->head.ns, "\n", lv->head.conf->name, "\n", net->name, NULL);

    /* Network names may hold what filter names may not. */
    persona_sha256(whose, strlen(whose), hex);
    return apr_psprintf(p, "persona-%s-%.12s", isolated ? "isolated" : "open", hex);
}

const char *libvirt_filter_xml(const libvirt_t *lv, const libvirt_net_t *net, int isolated, apr_pool_t *p)
{
    xmlDocPtr doc = xmlNewDoc(BAD_CAST "1.0");
    xmlNodePtr filter = xmlNewNode(NULL, BAD_CAST "filter");
    const char *name = libvirt_filter_name(lv, net, isolated, p), *xml;
    const char *gateway = libvirt_net_text(net->gateway, p);
    xmlChar *text;
    int len;

    /* A container is given its address: it has nothing to ask DHCP. */
    const int dhcp = net->dhcp && lv->options->driver == LIBVIRT_QEMU;

    xmlDocSetRootElement(doc, filter);
    xmlNewProp(filter, BAD_CAST "name", BAD_CAST name);
    xmlNewProp(filter, BAD_CAST "chain", BAD_CAST "root");
    xmlNewTextChild(filter, NULL, BAD_CAST "uuid",
                    BAD_CAST persona_fence_token("filter", name, p));
    add_frame_rules(filter, dhcp);
    add_rule(filter, "accept", "out", "100", "all", PAIRS("state", "ESTABLISHED,RELATED"));
    if (dhcp) {
        add_rule(filter, "accept", "out", "200", "udp",
                 PAIRS("srcportstart", "68", "dstportstart", "67", "dstipaddr", "255.255.255.255"));
        add_rule(filter, "accept", "out", "200", "udp",
                 PAIRS("srcportstart", "68", "dstportstart", "67", "dstipaddr", gateway));
    }
    if (isolated) {
        for (int i = 0; i < lv->options->allow->nelts; ++i) {
            const libvirt_target_t *to = &APR_ARRAY_IDX(lv->options->allow, i, libvirt_target_t);
            add_rule(filter, "accept", "out", "300", "tcp",
                     PAIRS("dstipaddr", to->address, "dstportstart", apr_itoa(p, to->port)));
        }
        add_rule(filter, "drop", "out", "900", "all", NULL);
    }
    else if (net->mask) {
        add_rule(filter, "accept", "out", "300", "all", PAIRS("dstipaddr", gateway));
        add_rule(filter, "drop", "out", "900", "all",
                 PAIRS("dstipaddr", libvirt_net_text(net->gateway & net->mask, p), "dstipmask",
                       apr_itoa(p, net->prefix)));
    }
    xmlDocDumpMemory(doc, &text, &len);
    xml = apr_pstrmemdup(p, (const char *)text, len);
    xmlFree(text);
    xmlFreeDoc(doc);
    return xml;
}

apr_status_t libvirt_filter_ensure(libvirt_t *lv, virConnectPtr conn, const libvirt_net_t *net, int isolated,
                                   persona_result_t *res, apr_pool_t *p)
{
    const char *xml = libvirt_filter_xml(lv, net, isolated, p);
    const char *name = libvirt_filter_name(lv, net, isolated, p);
    virNWFilterPtr filter;
    int known;

    pthread_mutex_lock(&lv->mutex);
    known = apr_table_get(lv->filters, name) && !strcmp(apr_table_get(lv->filters, name), xml);
    pthread_mutex_unlock(&lv->mutex);
    /* Defining it anew rebuilds the rules of every instance that has it, so only when it changed or is gone. */
    filter = virNWFilterLookupByName(conn, name);
    if (filter && known) {
        virNWFilterFree(filter);
        return APR_SUCCESS;
    }
    if (filter) {
        virNWFilterFree(filter);
    }
    filter = virNWFilterDefineXML(conn, xml);
    if (!filter) {
        return libvirt_failed(conn, res, "isolation", apr_psprintf(p, "cannot define the network filter %s", name));
    }
    virNWFilterFree(filter);
    pthread_mutex_lock(&lv->mutex);
    apr_table_set(lv->filters, name, xml);
    pthread_mutex_unlock(&lv->mutex);
    return APR_SUCCESS;
}
