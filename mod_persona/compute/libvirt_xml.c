/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file libvirt_xml.c
 * @brief A persona as a domain's XML, and a live domain's XML back as an instance.
 *
 * All text passes through libxml2, which escapes it; what XML cannot hold at all (control characters, bytes that
 * are not UTF-8) is refused by libvirt_plan_check() before anything is made.
 *
 * WHAT AN INSTANCE IS TOLD, as environment of its first process (container) or as lines KEY=VALUE of the qemu
 * firmware entry opt/org.persona/env (virtual machine), which qemu reads from a file: as text in the XML libvirt
 * would put it on qemu's command line, for every user of the host to see, and with its commas unescaped:
 *   PERSONA_INSTANCE, PERSONA_ID    its uuid and its persona
 *   PERSONA_HOOK_KEY                key of the assign hook's signature
 *   PERSONA_STREAM_PORT             0: the hypervisor's screen is the stream
 *   PERSONA_HOOK_PORT, _PATH        where the assign hook listens, if the persona has a home
 *   PERSONA_TITLE                   name of the desktop, for people
 *   PERSONA_COMMAND                 argv of what the desktop starts, a JSON array of strings
 *   PERSONA_ROOT_SIZE               container: bytes of the writable layer
 *   PERSONA_ADDRESS, _PREFIX, _GATEWAY   container: its network, which is already set up
 * and the persona's own env, which cannot override these. No value holds a control character, so a line is
 * a value.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <libxml/parser.h>

#include "compute/libvirt.h"
#include "persona/text.h"

#define PERIOD 100000 /**< microseconds: a cpu of a container is so much of each period */
#define ROOT_SIZE_DEFAULT ((apr_int64_t)1 << 30)

int libvirt_text_valid(const char *text)
{
    if (!xmlCheckUTF8(BAD_CAST text)) {
        return 0;
    }
    for (const unsigned char *at = (const unsigned char *)text; *at; ++at) {
        /* U+FFFE and U+FFFF are UTF-8 but not XML. */
        if (*at < 0x20 || *at == 0x7f || (at[0] == 0xef && at[1] == 0xbf && at[2] >= 0xbe)) {
            return 0;
        }
    }
    return 1;
}

static int env_name_valid(const char *name)
{
    if (!apr_isalpha(*name) && *name != '_') {
        return 0;
    }
    for (; *name; ++name) {
        if (!apr_isalnum(*name) && *name != '_') {
            return 0;
        }
    }
    return 1;
}

/* libvirt's container driver writes <initenv> into its own files unescaped (as of 9.0): what would be markup there
 * could add to the domain, or lose it at a restart of libvirt. */
static int initenv_valid(const char *text)
{
    return !strpbrk(text, "<&") && !strstr(text, "]]>");
}

static const char *check_env(const apr_table_t *env, int container, apr_pool_t *p)
{
    const apr_array_header_t *entries = env ? apr_table_elts(env) : NULL;

    for (int i = 0; entries && i < entries->nelts; ++i) {
        const apr_table_entry_t *entry = &APR_ARRAY_IDX(entries, i, apr_table_entry_t);

        if (!env_name_valid(entry->key)) {
            return apr_psprintf(p, "the environment variable name %s is not [A-Za-z_][A-Za-z0-9_]*",
                                persona_text_quote(entry->key, p));
        }
        if (!libvirt_text_valid(entry->val)) {
            return apr_psprintf(p, "the value of the environment variable %s holds control characters or is not "
                                "UTF-8", entry->key);
        }
        if (container && !initenv_valid(entry->val)) {
            return apr_psprintf(p, "the value of the environment variable %s holds <, & or ]]>, which libvirt cannot "
                                "give to a container", entry->key);
        }
    }
    return NULL;
}

const char *libvirt_plan_check(const libvirt_options_t *options, const persona_t *persona, apr_pool_t *p)
{
    const persona_environment_t *environment = &persona->environment;
    const char *wrong = check_env(environment->env, options->driver == LIBVIRT_LXC, p);

    if (wrong) {
        return wrong;
    }
    for (int i = 0; environment->command && i < environment->command->nelts; ++i) {
        if (!libvirt_text_valid(APR_ARRAY_IDX(environment->command, i, const char *))) {
            return "a word of the command holds control characters or is not UTF-8";
        }
    }
    if ((persona->title && !libvirt_text_valid(persona->title))
        || (environment->home_hook && !libvirt_text_valid(environment->home_hook))) {
        return "the title or the path of the assign hook holds control characters or is not UTF-8";
    }
    if (!environment->network || !*environment->network || !libvirt_text_valid(environment->network)) {
        return "a libvirt network is needed: execution_environment.network.name";
    }
    if (options->driver == LIBVIRT_LXC) {
        if (environment->root == PERSONA_ROOT_COPY) {
            return "libvirt cannot copy a directory for a container: use \"root\": \"overlay\"";
        }
        if (persona->resources.gpu_count) {
            return "libvirt gives no GPU to a container: use a compute of virtual machines (qemu)";
        }
        if (!environment->stream_port) {
            return "a container has no screen of the hypervisor: give the port of its stream";
        }
    }
    if (!environment->stream_port && environment->stream != PERSONA_STREAM_VNC) {
        return "only a vnc stream can come from the hypervisor: give the port of its stream";
    }
    return NULL;
}

/* `text` with what is markup in XML put in another way. */
static const char *without_markup(const char *text, const char *lt, const char *gt, const char *amp, apr_pool_t *p)
{
    const char *result = "";
    apr_size_t len;

    while (*(text += len = strcspn(text, "<>&"))) {
        result = apr_pstrcat(p, result, apr_pstrmemdup(p, text - len, len),
                             *text == '<' ? lt : *text == '>' ? gt : amp, NULL);
        ++text;
    }
    return apr_pstrcat(p, result, text - len, NULL);
}

const char *libvirt_command_text(const apr_array_header_t *command, apr_pool_t *p)
{
    json_t *words = json_array();
    const char *copy;
    char *text;

    for (int i = 0; command && i < command->nelts; ++i) {
        json_array_append_new(words, json_string(APR_ARRAY_IDX(command, i, const char *)));
    }
    text = json_dumps(words, JSON_COMPACT);
    copy = text ? without_markup(text, "\\u003c", "\\u003e", "\\u0026", p) : "[]";
    free(text);
    json_decref(words);
    return copy;
}

/* ---- writing ---- */

static xmlNodePtr add(xmlNodePtr parent, const char *name)
{
    return xmlNewChild(parent, NULL, BAD_CAST name, NULL);
}

static xmlNodePtr add_text(xmlNodePtr parent, const char *name, const char *text)
{
    return xmlNewTextChild(parent, NULL, BAD_CAST name, BAD_CAST text);
}

static void set(xmlNodePtr node, const char *name, const char *value)
{
    if (value) {
        xmlNewProp(node, BAD_CAST name, BAD_CAST value);
    }
}

/* An element with attributes in pairs. */
static xmlNodePtr add_set(xmlNodePtr parent, const char *name, const char *const *pairs)
{
    xmlNodePtr node = add(parent, name);

    for (; *pairs; pairs += 2) {
        set(node, pairs[0], pairs[1]);
    }
    return node;
}

#define SET(...) (const char *const[]) { __VA_ARGS__, NULL }

static const char *number(apr_int64_t value, apr_pool_t *p)
{
    return apr_psprintf(p, "%" APR_INT64_T_FMT, value);
}

static void set_time(xmlNodePtr node, const char *name, apr_time_t value, apr_pool_t *p)
{
    if (value) {
        set(node, name, number(value, p));
    }
}

static void set_metadata(xmlNodePtr node, const libvirt_domain_t *domain, apr_pool_t *p)
{
    const persona_instance_t *instance = &domain->instance;

    set(node, "ns", domain->ns);
    set(node, "persona", instance->persona_id);
    set(node, "fingerprint", instance->fingerprint);
    set(node, "state", persona_instance_state_name(instance->state));
    set(node, "session", instance->session);
    set(node, "user", instance->user);
    set(node, "app", instance->app);
    set(node, "address", instance->hook_address);
    set(node, "stream", number(domain->stream_port, p));
    set(node, "hook", number(domain->hook, p));
    set(node, "reason", instance->reason);
    set_time(node, "created", instance->created, p);
    set_time(node, "ready", instance->ready_at, p);
    set_time(node, "assigned", instance->assigned_at, p);
    set_time(node, "retiring", instance->retiring_at, p);
}

static const char *dump(xmlDocPtr doc, apr_pool_t *p)
{
    xmlBufferPtr buffer = xmlBufferCreate();
    const char *xml;

    xmlNodeDump(buffer, doc, xmlDocGetRootElement(doc), 0, 0);
    xml = apr_pstrmemdup(p, (const char *)xmlBufferContent(buffer), xmlBufferLength(buffer));
    xmlBufferFree(buffer);
    xmlFreeDoc(doc);
    return xml;
}

const char *libvirt_metadata_xml(const libvirt_domain_t *domain, apr_pool_t *p)
{
    xmlDocPtr doc = xmlNewDoc(BAD_CAST "1.0");
    xmlNodePtr root = xmlNewNode(NULL, BAD_CAST "instance");

    xmlDocSetRootElement(doc, root);
    set_metadata(root, domain, p);
    return dump(doc, p);
}

/* The persona's own variables first, so that ours win. */
static apr_table_t *environment_of(const libvirt_plan_t *plan, apr_pool_t *p)
{
    const persona_environment_t *environment = &plan->persona->environment;
    apr_table_t *env = environment->env ? apr_table_copy(p, environment->env) : apr_table_make(p, 16);

    apr_table_set(env, "PERSONA_INSTANCE", plan->uuid);
    apr_table_set(env, "PERSONA_ID", plan->persona->id);
    apr_table_set(env, "PERSONA_STREAM_PORT", apr_itoa(p, environment->stream_port));
    /* A title is for people, so letters that look the same will do. */
    apr_table_set(env, "PERSONA_TITLE", !plan->persona->title ? plan->persona->app_id
                  : without_markup(plan->persona->title, "\xef\xbc\x9c", "\xef\xbc\x9e", "\xef\xbc\x86", p));
    if (plan->hook_key) {
        apr_table_set(env, "PERSONA_HOOK_KEY", plan->hook_key);
    }
    if (environment->home_hook) {
        apr_table_set(env, "PERSONA_HOOK_PORT", apr_itoa(p, environment->home_port));
        apr_table_set(env, "PERSONA_HOOK_PATH", environment->home_hook);
    }
    if (environment->command && environment->command->nelts) {
        apr_table_set(env, "PERSONA_COMMAND", libvirt_command_text(environment->command, p));
    }
    if (plan->options->driver == LIBVIRT_LXC) {
        const apr_int64_t size = plan->persona->resources.storage;

        apr_table_set(env, "PERSONA_ROOT_SIZE", number(size ? size : ROOT_SIZE_DEFAULT, p));
    }
    if (plan->address) {
        apr_table_set(env, "PERSONA_ADDRESS", plan->address);
        apr_table_set(env, "PERSONA_PREFIX", apr_itoa(p, plan->net->prefix));
        apr_table_set(env, "PERSONA_GATEWAY", libvirt_net_text(plan->net->gateway, p));
    }
    return env;
}

const char *libvirt_plan_env(const libvirt_plan_t *plan, apr_pool_t *p)
{
    const apr_array_header_t *env = apr_table_elts(environment_of(plan, p));
    const char *lines = "";

    for (int i = 0; i < env->nelts; ++i) {
        const apr_table_entry_t *entry = &APR_ARRAY_IDX(env, i, apr_table_entry_t);
        lines = apr_pstrcat(p, lines, entry->key, "=", entry->val, "\n", NULL);
    }
    return lines;
}

static void add_head(xmlNodePtr root, const libvirt_plan_t *plan, apr_pool_t *p)
{
    const persona_t *persona = plan->persona;
    libvirt_domain_t domain = {.ns = plan->ns, .stream_port = persona->environment.stream_port,
                               .hook = persona->environment.home_hook ? persona->environment.home_port : 0};
    xmlNodePtr node;
    xmlNsPtr ns;

    domain.instance = (persona_instance_t){
        .persona_id = persona->id, .fingerprint = persona->fingerprint, .state = PERSONA_INSTANCE_CREATING,
        .created = plan->created, .reason = plan->reason, .hook_address = plan->address};
    add_text(root, "name", apr_pstrcat(p, LIBVIRT_NAME_PREFIX, plan->uuid, NULL));
    add_text(root, "uuid", plan->uuid);
    add_text(root, "title", apr_pstrcat(p, "persona ", persona->id, NULL));
    node = add(add(root, "metadata"), "instance");
    ns = xmlNewNs(node, BAD_CAST LIBVIRT_METADATA_URI, BAD_CAST "persona");
    xmlSetNs(node, ns);
    set_metadata(node, &domain, p);
    set(add_text(root, "memory", number(persona->resources.max_memory / 1024, p)), "unit", "KiB");
    set(add_text(root, "currentMemory", number(persona->resources.memory / 1024, p)), "unit", "KiB");
}

static void add_tail(xmlNodePtr root)
{
    add_text(root, "on_poweroff", "destroy");
    add_text(root, "on_reboot", "destroy");
    add_text(root, "on_crash", "destroy");
}

static void add_interface(xmlNodePtr devices, const libvirt_plan_t *plan, apr_pool_t *p)
{
    xmlNodePtr node = add_set(devices, "interface", SET("type", "network")), filter;

    add_set(node, "mac", SET("address", libvirt_mac(plan->uuid, plan->address, p)));
    add_set(node, "source", SET("network", plan->net->name));
    add_set(node, "target", SET("dev", libvirt_interface(plan->uuid, p)));
    if (strcmp(plan->type, "lxc")) {
        add_set(node, "model", SET("type", "virtio"));
    }
    else {
        add_set(node, "guest", SET("dev", "eth0"));
    }
    if (plan->address) {
        add_set(node, "ip", SET("address", plan->address, "family", "ipv4", "prefix",
                                apr_itoa(p, plan->net->prefix)));
        add_set(node, "route", SET("family", "ipv4", "address", "0.0.0.0", "prefix", "0", "gateway",
                                   libvirt_net_text(plan->net->gateway, p)));
    }
    if (plan->filter) {
        filter = add_set(node, "filterref", SET("filter", plan->filter));
        if (plan->address) {
            add_set(filter, "parameter", SET("name", "IP", "value", plan->address));
        }
        else {
            add_set(filter, "parameter", SET("name", "CTRL_IP_LEARNING", "value", "dhcp"));
        }
    }
    add_set(node, "port", SET("isolated", "yes"));
}

static void add_container(xmlNodePtr root, const libvirt_plan_t *plan, apr_pool_t *p)
{
    const persona_resources_t *resources = &plan->persona->resources;
    const apr_array_header_t *env = apr_table_elts(environment_of(plan, p));
    const char *start = apr_psprintf(p, "%u", plan->options->idmap_start);
    const char *count = apr_psprintf(p, "%u", plan->options->idmap_count);
    xmlNodePtr node, devices;

    add_text(root, "vcpu", apr_itoa(p, resources->max_cpu));
    node = add(root, "cputune");
    add_text(node, "period", apr_itoa(p, PERIOD));
    add_text(node, "quota", number((apr_int64_t)PERIOD * resources->cpu, p));
    node = add(root, "os");
    add_text(node, "type", "exe");
    add_text(node, "init", "/sbin/persona-init");
    for (int i = 0; i < env->nelts; ++i) {
        const apr_table_entry_t *entry = &APR_ARRAY_IDX(env, i, apr_table_entry_t);
        set(add_text(node, "initenv", entry->val), "name", entry->key);
    }
    node = add(root, "idmap");
    add_set(node, "uid", SET("start", "0", "target", start, "count", count));
    add_set(node, "gid", SET("start", "0", "target", start, "count", count));
    add_tail(root);
    devices = add(root, "devices");
    node = add_set(devices, "filesystem", SET("type", "mount", "accessmode", "passthrough"));
    add_set(node, "source", SET("dir", plan->image->path));
    add_set(node, "target", SET("dir", "/"));
    add(node, "readonly");
    add_interface(devices, plan, p);
    add_set(devices, "console", SET("type", "pty"));
    if (plan->fuse) {
        node = add_set(devices, "hostdev", SET("mode", "capabilities", "type", "misc"));
        add_text(add(node, "source"), "char", "/dev/fuse");
    }
}

static void add_devices(xmlNodePtr parent, const apr_array_header_t *devices, apr_pool_t *p)
{
    for (int i = 0; devices && i < devices->nelts; ++i) {
        const libvirt_device_t *device = &APR_ARRAY_IDX(devices, i, libvirt_device_t);
        xmlNodePtr node = add_set(parent, "hostdev", SET("mode", "subsystem", "type", device->mdev ? "mdev" : "pci"));
        xmlNodePtr address;

        set(node, device->mdev ? "model" : "managed", device->mdev ? "vfio-pci" : "yes");
        address = add(add(node, "source"), "address");
        if (device->mdev) {
            set(address, "uuid", device->mdev);
            continue;
        }
        set(address, "domain", apr_psprintf(p, "0x%04x", device->domain));
        set(address, "bus", apr_psprintf(p, "0x%02x", device->bus));
        set(address, "slot", apr_psprintf(p, "0x%02x", device->slot));
        set(address, "function", apr_psprintf(p, "0x%x", device->function));
    }
}

static void add_screen(xmlNodePtr devices, const libvirt_plan_t *plan)
{
    xmlNodePtr node;

    if (!plan->persona->environment.stream_port) {
        /* A tablet reports where the pointer is, not how it moved: the viewer's pointer and ours agree. */
        add_set(devices, "input", SET("type", "tablet", "bus", "usb"));
        add_set(devices, "graphics", SET("type", "vnc", "port", "-1", "autoport", "yes", "listen",
                                         plan->options->listen));
    }
    node = add(devices, "video");
    add_set(node, "model", SET("type", "vga", "vram", "16384"));
}

static void add_machine(xmlNodePtr root, const libvirt_plan_t *plan, apr_pool_t *p)
{
    const persona_resources_t *resources = &plan->persona->resources;
    xmlNodePtr node, devices;

    set(add_text(root, "vcpu", apr_itoa(p, resources->max_cpu)), "current", apr_itoa(p, resources->cpu));
    node = add_set(root, "sysinfo", SET("type", "fwcfg"));
    add_set(node, "entry", SET("name", "opt/org.persona/env", "file", plan->env));
    node = add(root, "os");
    set(add_text(node, "type", "hvm"), "machine", plan->x86 ? "q35" : NULL);
    if (plan->image->kernel) {
        add_text(node, "kernel", plan->image->kernel);
        if (plan->image->initrd) {
            add_text(node, "initrd", plan->image->initrd);
        }
        add_text(node, "cmdline", plan->image->cmdline);
    }
    else {
        add_set(node, "boot", SET("dev", "hd"));
    }
    node = add(root, "features");
    add(node, "acpi"); /* cpus and memory that come later are announced by it */
    if (plan->x86) {
        add(node, "apic");
    }
    add_set(root, "cpu", SET("mode", strcmp(plan->type, "kvm") ? "maximum" : "host-passthrough"));
    add_set(root, "clock", SET("offset", "utc"));
    add_tail(root);
    devices = add(root, "devices");
    node = add_set(devices, "disk", SET("type", "file", "device", "disk"));
    /* The disk lives no longer than the machine: after a crash of the host nobody reads it again. */
    add_set(node, "driver", SET("name", "qemu", "type", "qcow2", "cache", "unsafe", "discard", "unmap"));
    add_set(node, "source", SET("file", plan->volume));
    add_set(node, "target", SET("dev", "vda", "bus", "virtio"));
    add_interface(devices, plan, p);
    add_set(devices, "serial", SET("type", "pty"));
    add_screen(devices, plan);
    node = add_set(devices, "memballoon", SET("model", "virtio"));
    add_set(node, "stats", SET("period", "5"));
    node = add_set(devices, "rng", SET("model", "virtio"));
    set(add_text(node, "backend", "/dev/urandom"), "model", "random");
    add_devices(devices, plan->devices, p);
}

/* libvirt's test driver: an instance without anything in it. */
static void add_nothing(xmlNodePtr root, const libvirt_plan_t *plan, apr_pool_t *p)
{
    const persona_resources_t *resources = &plan->persona->resources;

    set(add_text(root, "vcpu", apr_itoa(p, resources->max_cpu)), "current", apr_itoa(p, resources->cpu));
    add_text(add(root, "os"), "type", "hvm");
    add_tail(root);
    add_interface(add(root, "devices"), plan, p);
}

const char *libvirt_domain_xml(const libvirt_plan_t *plan, apr_pool_t *p)
{
    xmlDocPtr doc = xmlNewDoc(BAD_CAST "1.0");
    xmlNodePtr root = xmlNewNode(NULL, BAD_CAST "domain");

    xmlDocSetRootElement(doc, root);
    set(root, "type", plan->type);
    add_head(root, plan, p);
    switch (plan->options->driver) {
    case LIBVIRT_LXC:
        add_container(root, plan, p);
        break;
    case LIBVIRT_QEMU:
        add_machine(root, plan, p);
        break;
    case LIBVIRT_TEST:
        add_nothing(root, plan, p);
        break;
    }
    return dump(doc, p);
}

/* ---- reading ---- */

static xmlNodePtr child(xmlNodePtr parent, const char *name)
{
    for (xmlNodePtr node = parent ? parent->children : NULL; node; node = node->next) {
        if (node->type == XML_ELEMENT_NODE && !strcmp((const char *)node->name, name)) {
            return node;
        }
    }
    return NULL;
}

static const char *get(xmlNodePtr node, const char *name, apr_pool_t *p)
{
    xmlChar *value = node ? xmlGetProp(node, BAD_CAST name) : NULL;
    const char *copy = value ? apr_pstrdup(p, (const char *)value) : NULL;

    xmlFree(value);
    return copy;
}

static const char *text_of(xmlNodePtr node, apr_pool_t *p)
{
    xmlChar *value = node ? xmlNodeGetContent(node) : NULL;
    const char *copy = value ? apr_pstrdup(p, (const char *)value) : NULL;

    xmlFree(value);
    return copy;
}

static apr_int64_t get_number(xmlNodePtr node, const char *name, apr_pool_t *p)
{
    const char *value = get(node, name, p);

    return value ? apr_atoi64(value) : 0;
}

static xmlNodePtr metadata_of(xmlNodePtr root)
{
    xmlNodePtr metadata = child(root, "metadata");

    for (xmlNodePtr node = metadata ? metadata->children : NULL; node; node = node->next) {
        if (node->type == XML_ELEMENT_NODE && node->ns
            && !strcmp((const char *)node->ns->href, LIBVIRT_METADATA_URI)) {
            return node;
        }
    }
    return NULL;
}

static void read_devices(libvirt_domain_t *domain, xmlNodePtr devices, apr_pool_t *p)
{
    xmlNodePtr interface = child(devices, "interface"), graphics = child(devices, "graphics");
    const char *type = get(graphics, "type", p);

    domain->network = get(child(interface, "source"), "network", p);
    domain->mac = get(child(interface, "mac"), "address", p);
    if (type && !strcmp(type, "vnc")) {
        domain->vnc_port = (int)get_number(graphics, "port", p);
        domain->vnc_address = get(graphics, "listen", p);
    }
}

apr_status_t libvirt_domain_parse(const char *xml, libvirt_domain_t **result, apr_pool_t *p)
{
    xmlDocPtr doc = xmlReadMemory(xml, (int)strlen(xml), "domain", NULL, XML_PARSE_NONET | XML_PARSE_NOERROR);
    xmlNodePtr root = doc ? xmlDocGetRootElement(doc) : NULL, node = metadata_of(root);
    libvirt_domain_t *domain = apr_pcalloc(p, sizeof(*domain));
    persona_instance_t *instance = &domain->instance;
    const char *state = get(node, "state", p), *vcpu;

    if (!node || !state || persona_instance_state_parse(state, &instance->state) != APR_SUCCESS) {
        xmlFreeDoc(doc);
        return APR_ENOENT;
    }
    instance->uuid = text_of(child(root, "uuid"), p);
    instance->persona_id = get(node, "persona", p);
    instance->fingerprint = get(node, "fingerprint", p);
    instance->session = get(node, "session", p);
    instance->user = get(node, "user", p);
    instance->app = get(node, "app", p);
    instance->hook_address = get(node, "address", p);
    instance->reason = get(node, "reason", p);
    instance->created = get_number(node, "created", p);
    instance->ready_at = get_number(node, "ready", p);
    instance->assigned_at = get_number(node, "assigned", p);
    instance->retiring_at = get_number(node, "retiring", p);
    domain->ns = get(node, "ns", p);
    domain->stream_port = (int)get_number(node, "stream", p);
    domain->hook = (int)get_number(node, "hook", p);
    vcpu = text_of(child(root, "vcpu"), p);
    domain->max_cpus = vcpu ? atoi(vcpu) : 0;
    read_devices(domain, child(root, "devices"), p);
    xmlFreeDoc(doc);
    *result = domain;
    return domain->ns && instance->uuid && instance->persona_id ? APR_SUCCESS : APR_ENOENT;
}
