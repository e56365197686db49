/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file libvirt_storage.c
 * @brief Images, and the disks that instances write to.
 *
 * An image NAME lies in the images directory:
 *   NAME/                        a container's root; its packages are listed in NAME/etc/persona/packages
 *   NAME.qcow2                   a virtual machine's disk; its packages are listed in NAME.packages
 *   NAME.vmlinuz, NAME.initrd    beside it: boot this kernel, with the command line in NAME.cmdline
 * A list of packages has one Debian package name per line; the image builder writes it. A container's tree
 * belongs to the first uid of idmap=, so that it is root inside.
 *
 * A container shares its image read-only and writes to memory, so it has no volume. A virtual machine has two, made
 * by libvirt in the storage pool, where the caller needs no right to write: a qcow2 overlay, and a small file with
 * its environment, which only qemu can read.
 */
#include <string.h>

#include <apr_file_info.h>
#include <apr_file_io.h>
#include <apr_strings.h>
#include <libvirt/virterror.h>

#include "compute/libvirt.h"
#include "persona/digest.h"
#include "persona/text.h"

#define LIST_MAX (1024 * 1024)
#define CMDLINE_MAX 2048
#define CMDLINE_DEFAULT "console=ttyS0 quiet"

/* Relative, without a way out: no "..", no empty part, nothing that XML cannot hold. */
static int image_name_valid(const char *name)
{
    const char *part = name;

    if (!*name || strlen(name) > 255 || !libvirt_text_valid(name)) {
        return 0;
    }
    while (part) {
        const char *slash = strchr(part, '/');
        const apr_size_t len = slash ? (apr_size_t)(slash - part) : strlen(part);

        if (!len || *part == '.') {
            return 0;
        }
        part = slash ? slash + 1 : NULL;
    }
    return 1;
}

static int exists(const char *path, apr_filetype_e type, apr_pool_t *p)
{
    apr_finfo_t info;

    return apr_stat(&info, path, APR_FINFO_TYPE, p) == APR_SUCCESS && info.filetype == type;
}

/* A whole text file, at most `max` bytes; NULL: it cannot be read. */
static char *read_text(const char *path, apr_size_t max, apr_pool_t *p)
{
    apr_file_t *file;
    apr_size_t len = 0;
    char *text;

    if (apr_file_open(&file, path, APR_FOPEN_READ, APR_FPROT_OS_DEFAULT, p) != APR_SUCCESS) {
        return NULL;
    }
    text = apr_palloc(p, max + 1);
    if (apr_file_read_full(file, text, max, &len) != APR_SUCCESS && len == max) {
        text = NULL;
    }
    apr_file_close(file);
    if (text) {
        text[len] = '\0';
    }
    return text;
}

/* The size of the virtual disk: 8 bytes, most significant first, at offset 24 of the qcow2 header. */
static const char *read_capacity(const char *path, apr_int64_t *capacity, apr_pool_t *p)
{
    apr_file_t *file;
    unsigned char head[32];
    apr_size_t len = 0;

    if (apr_file_open(&file, path, APR_FOPEN_READ | APR_FOPEN_BINARY, APR_FPROT_OS_DEFAULT, p) != APR_SUCCESS) {
        return NULL; /* the hypervisor may read it even so */
    }
    apr_file_read_full(file, head, sizeof(head), &len);
    apr_file_close(file);
    if (len < sizeof(head) || memcmp(head, "QFI\xfb", 4)) {
        return apr_psprintf(p, "%s is not a qcow2 disk image", path);
    }
    *capacity = 0;
    for (int i = 24; i < 32; ++i) {
        *capacity = *capacity << 8 | head[i];
    }
    return NULL;
}

static int list_has(const char *list, const char *word)
{
    const apr_size_t len = strlen(word);

    for (const char *line = list; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, word, len) && (line[len] == '\n' || line[len] == '\r' || !line[len])) {
            return 1;
        }
    }
    return 0;
}

static const char *check_libraries(const libvirt_image_t *image, const persona_t *persona, const char **problem,
                                   apr_pool_t *p)
{
    const apr_array_header_t *libraries = persona->environment.libraries;
    const char *list, *missing = NULL;

    if (!libraries || !libraries->nelts) {
        return NULL;
    }
    *problem = "image-lacks-library";
    list = read_text(image->packages, LIST_MAX, p);
    if (!list) {
        return apr_psprintf(p, "the image has no list of its packages (%s), so its libraries cannot be checked: "
                            "build it with personactl image build %s", image->packages, persona->id);
    }
    for (int i = 0; i < libraries->nelts; ++i) {
        const char *library = APR_ARRAY_IDX(libraries, i, const char *);
        if (!list_has(list, library)) {
            missing = missing ? apr_pstrcat(p, missing, ", ", library, NULL) : library;
        }
    }
    if (!missing) {
        return NULL;
    }
    return apr_psprintf(p, "the image %s lacks %s: build it with personactl image build %s", image->path,
                        missing, persona->id);
}

const char *libvirt_image_find(const libvirt_options_t *options, const persona_t *persona,
                               libvirt_image_t **result, const char **problem, apr_pool_t *p)
{
    const char *name = persona->environment.os_image ? persona->environment.os_image : persona->source;
    const char *wrong;
    char *stem;
    libvirt_image_t *image = apr_pcalloc(p, sizeof(*image));
    apr_size_t len;

    *problem = "image-missing";
    if (!name || !image_name_valid(name)) {
        return apr_psprintf(p, "the image name %s is not a path below %s", persona_text_quote(name ? name : "", p),
                            options->images);
    }
    len = strlen(name);
    stem = apr_pstrcat(p, options->images, "/", name, NULL);
    if (options->driver == LIBVIRT_LXC) {
        image->path = stem;
        image->packages = apr_pstrcat(p, stem, "/etc/persona/packages", NULL);
    }
    else {
        if (len > 6 && !strcmp(name + len - 6, ".qcow2")) {
            stem[strlen(stem) - 6] = '\0';
        }
        image->path = apr_pstrcat(p, stem, ".qcow2", NULL);
        image->packages = apr_pstrcat(p, stem, ".packages", NULL);
    }
    *result = image;
    if (!options->local || options->driver == LIBVIRT_TEST) {
        return NULL;
    }
    if (!exists(image->path, options->driver == LIBVIRT_LXC ? APR_DIR : APR_REG, p)) {
        return apr_psprintf(p, "there is no image %s: build it with personactl image build %s", image->path,
                            persona->id);
    }
    if (options->driver == LIBVIRT_QEMU) {
        const char *kernel = apr_pstrcat(p, stem, ".vmlinuz", NULL), *initrd = apr_pstrcat(p, stem, ".initrd", NULL);

        *problem = "image-broken";
        wrong = read_capacity(image->path, &image->capacity, p);
        if (wrong) {
            return wrong;
        }
        if (image->capacity && persona->resources.storage && persona->resources.storage < image->capacity) {
            return apr_psprintf(p, "the image %s needs %" APR_INT64_T_FMT " bytes of storage, the persona gives it "
                                "%" APR_INT64_T_FMT, image->path, image->capacity, persona->resources.storage);
        }
        if (exists(kernel, APR_REG, p)) {
            char *cmdline = read_text(apr_pstrcat(p, stem, ".cmdline", NULL), CMDLINE_MAX, p);

            image->kernel = kernel;
            image->initrd = exists(initrd, APR_REG, p) ? initrd : NULL;
            if (cmdline) {
                cmdline[strcspn(cmdline, "\r\n")] = '\0';
            }
            image->cmdline = cmdline && *cmdline ? cmdline : CMDLINE_DEFAULT;
            if (!libvirt_text_valid(image->cmdline)) {
                return apr_psprintf(p, "%s.cmdline holds control characters", stem);
            }
        }
    }
    return check_libraries(image, persona, problem, p);
}

/* ---- volumes ---- */

static const char *const endings[] = {".qcow2", ".env"};

static const char *volume_name(const libvirt_t *lv, const char *uuid, const char *ending, apr_pool_t *p)
{
    return apr_pstrcat(p, "persona-", lv->head.ns, "-", uuid, ending, NULL);
}

static xmlNodePtr add_text(xmlNodePtr parent, const char *name, const char *text)
{
    return xmlNewTextChild(parent, NULL, BAD_CAST name, BAD_CAST text);
}

static void add_format(xmlNodePtr parent, const char *type)
{
    xmlNewProp(xmlNewChild(parent, NULL, BAD_CAST "format", NULL), BAD_CAST "type", BAD_CAST type);
}

static const char *dump(xmlDocPtr doc, apr_pool_t *p)
{
    xmlChar *text;
    const char *xml;
    int len;

    xmlDocDumpMemory(doc, &text, &len);
    xml = apr_pstrmemdup(p, (const char *)text, len);
    xmlFree(text);
    xmlFreeDoc(doc);
    return xml;
}

static const char *pool_xml(const libvirt_t *lv, apr_pool_t *p)
{
    xmlDocPtr doc = xmlNewDoc(BAD_CAST "1.0");
    xmlNodePtr root = xmlNewNode(NULL, BAD_CAST "pool");

    xmlDocSetRootElement(doc, root);
    xmlNewProp(root, BAD_CAST "type", BAD_CAST "dir");
    add_text(root, "name", lv->options->pool);
    add_text(xmlNewChild(root, NULL, BAD_CAST "target", NULL), "path",
             apr_pstrcat(p, lv->options->images, "/" LIBVIRT_POOL_DIR, NULL));
    return dump(doc, p);
}

/* The storage pool, running; defined where it does not exist. */
static apr_status_t pool_open(libvirt_t *lv, virConnectPtr conn, virStoragePoolPtr *pool, persona_result_t *res,
                              apr_pool_t *p)
{
    const char *what = apr_psprintf(p, "storage pool %s cannot be used", lv->options->pool);

    *pool = virStoragePoolLookupByName(conn, lv->options->pool);
    if (!*pool && libvirt_error_code() == VIR_ERR_NO_STORAGE_POOL) {
        *pool = virStoragePoolDefineXML(conn, pool_xml(lv, p), 0);
        if (*pool) {
            virStoragePoolBuild(*pool, 0);
            virStoragePoolSetAutostart(*pool, 1);
        }
        else {
            *pool = virStoragePoolLookupByName(conn, lv->options->pool); /* somebody else just did */
        }
    }
    if (!*pool) {
        return libvirt_failed(conn, res, "storage", what);
    }
    if (virStoragePoolIsActive(*pool) == 1 || virStoragePoolCreate(*pool, 0) == 0
        || virStoragePoolIsActive(*pool) == 1) {
        return APR_SUCCESS;
    }
    apr_status_t status = libvirt_failed(conn, res, "storage", what);
    virStoragePoolFree(*pool);
    return status;
}

static const char *disk_xml(const char *name, const libvirt_image_t *image, apr_int64_t size, apr_pool_t *p)
{
    xmlDocPtr doc = xmlNewDoc(BAD_CAST "1.0");
    xmlNodePtr root = xmlNewNode(NULL, BAD_CAST "volume"), node;

    xmlDocSetRootElement(doc, root);
    add_text(root, "name", name);
    if (size) {
        node = add_text(root, "capacity", apr_psprintf(p, "%" APR_INT64_T_FMT, size));
        xmlNewProp(node, BAD_CAST "unit", BAD_CAST "bytes");
    }
    add_format(xmlNewChild(root, NULL, BAD_CAST "target", NULL), "qcow2");
    node = xmlNewChild(root, NULL, BAD_CAST "backingStore", NULL);
    add_text(node, "path", image->path);
    add_format(node, "qcow2");
    return dump(doc, p);
}

static const char *file_xml(const char *name, apr_size_t size, apr_pool_t *p)
{
    xmlDocPtr doc = xmlNewDoc(BAD_CAST "1.0");
    xmlNodePtr root = xmlNewNode(NULL, BAD_CAST "volume"), node;

    xmlDocSetRootElement(doc, root);
    add_text(root, "name", name);
    node = add_text(root, "capacity", apr_psprintf(p, "%" APR_SIZE_T_FMT, size));
    xmlNewProp(node, BAD_CAST "unit", BAD_CAST "bytes");
    node = xmlNewChild(root, NULL, BAD_CAST "target", NULL);
    add_format(node, "raw");
    /* It holds the key of the assign hook. libvirt gives it to qemu's user for as long as the domain runs. */
    add_text(xmlNewChild(node, NULL, BAD_CAST "permissions", NULL), "mode", "0400");
    return dump(doc, p);
}

/* A volume made from `xml`, or the one that is there already; *path is where it lies. */
static virStorageVolPtr make_volume(virStoragePoolPtr pool, const char *name, const char *xml, const char **path,
                                    apr_pool_t *p)
{
    virStorageVolPtr volume = virStorageVolLookupByName(pool, name);
    char *where;

    if (!volume) {
        volume = virStorageVolCreateXML(pool, xml, 0);
    }
    where = volume ? virStorageVolGetPath(volume) : NULL;
    *path = where ? apr_pstrdup(p, where) : NULL;
    free(where);
    return volume;
}

/* Write a whole volume. 0, or -1 with libvirt's error. */
static int upload(virConnectPtr conn, virStorageVolPtr volume, const char *text, apr_size_t len)
{
    virStreamPtr stream = virStreamNew(conn, 0);
    int failed = !stream || virStorageVolUpload(volume, stream, 0, len, 0) < 0;

    while (!failed && len) {
        const int sent = virStreamSend(stream, text, len);

        failed = sent < 0;
        text += failed ? 0 : sent;
        len -= failed ? 0 : (apr_size_t)sent;
    }
    if (!failed) {
        failed = virStreamFinish(stream) < 0;
    }
    return failed ? -1 : 0;
}

apr_status_t libvirt_volume_create(libvirt_t *lv, virConnectPtr conn, libvirt_plan_t *plan, persona_result_t *res,
                                   apr_pool_t *p)
{
    const char *disk = volume_name(lv, plan->uuid, ".qcow2", p), *file = volume_name(lv, plan->uuid, ".env", p);
    const char *env = libvirt_plan_env(plan, p);
    virStorageVolPtr volume;
    virStoragePoolPtr pool;
    apr_status_t status = pool_open(lv, conn, &pool, res, p);

    if (status != APR_SUCCESS) {
        return status;
    }
    volume = make_volume(pool, disk, disk_xml(disk, plan->image, plan->persona->resources.storage, p),
                         &plan->volume, p);
    if (!volume) {
        status = libvirt_failed(conn, res, "storage",
                                apr_psprintf(p, "cannot make a disk over %s", plan->image->path));
    }
    else {
        virStorageVolFree(volume);
        volume = make_volume(pool, file, file_xml(file, strlen(env), p), &plan->env, p);
        if (!volume || upload(conn, volume, env, strlen(env)) < 0) {
            status = libvirt_failed(conn, res, "storage", "cannot write the environment of the instance");
        }
        if (volume) {
            virStorageVolFree(volume);
        }
    }
    virStoragePoolFree(pool);
    return status == APR_ENOENT ? APR_EGENERAL : status;
}

/* The pool if it is there and runs: where it is not, there is nothing of ours in it. */
static virStoragePoolPtr pool_peek(const libvirt_t *lv, virConnectPtr conn)
{
    virStoragePoolPtr pool = virStoragePoolLookupByName(conn, lv->options->pool);

    if (pool && virStoragePoolIsActive(pool) != 1) {
        virStoragePoolFree(pool);
        pool = NULL;
    }
    return pool;
}

apr_status_t libvirt_volume_delete(libvirt_t *lv, virConnectPtr conn, const char *uuid, persona_result_t *res,
                                   apr_pool_t *p)
{
    virStoragePoolPtr pool;
    virStorageVolPtr volume;
    apr_status_t status = APR_SUCCESS;

    if (lv->options->driver != LIBVIRT_QEMU || !(pool = pool_peek(lv, conn))) {
        return APR_SUCCESS;
    }
    for (unsigned i = 0; status == APR_SUCCESS && i < sizeof(endings) / sizeof(endings[0]); ++i) {
        volume = virStorageVolLookupByName(pool, volume_name(lv, uuid, endings[i], p));
        if ((!volume || virStorageVolDelete(volume, 0) < 0) && libvirt_error_code() != VIR_ERR_NO_STORAGE_VOL) {
            status = libvirt_failed(conn, res, "storage", apr_psprintf(p, "cannot delete the disk of %s", uuid));
        }
        if (volume) {
            virStorageVolFree(volume);
        }
    }
    virStoragePoolFree(pool);
    return status;
}

apr_status_t libvirt_volume_list(libvirt_t *lv, virConnectPtr conn, apr_array_header_t **uuids,
                                 persona_result_t *res, apr_pool_t *p)
{
    const char *prefix = apr_pstrcat(p, "persona-", lv->head.ns, "-", NULL);
    virStoragePoolPtr pool;
    virStorageVolPtr *volumes;
    int count;

    *uuids = apr_array_make(p, 16, sizeof(const char *));
    if (lv->options->driver != LIBVIRT_QEMU || !(pool = pool_peek(lv, conn))) {
        return APR_SUCCESS;
    }
    count = virStoragePoolListAllVolumes(pool, &volumes, 0);
    if (count < 0) {
        apr_status_t status = libvirt_failed(conn, res, "storage", "cannot list volumes");
        virStoragePoolFree(pool);
        return status;
    }
    virStoragePoolFree(pool);
    for (int i = 0; i < count; ++i) {
        const char *name = virStorageVolGetName(volumes[i]);

        if (name && !strncmp(name, prefix, strlen(prefix))) {
            const char *uuid = apr_pstrmemdup(p, name + strlen(prefix), strnlen(name + strlen(prefix),
                                                                                PERSONA_UUID_LEN - 1));
            if (persona_uuid_valid(uuid) && (!strcmp(name, volume_name(lv, uuid, endings[0], p))
                                             || !strcmp(name, volume_name(lv, uuid, endings[1], p)))) {
                APR_ARRAY_PUSH(*uuids, const char *) = uuid;
            }
        }
        virStorageVolFree(volumes[i]);
    }
    free(volumes);
    return APR_SUCCESS;
}
