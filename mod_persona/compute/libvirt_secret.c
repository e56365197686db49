/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file libvirt_secret.c
 * @brief Persistent secrets as fences, reservations and intents.
 *
 * libvirt keeps one secret per usage name, on disk, and refuses a second one with another uuid; one with the
 * same uuid is a redefinition and succeeds. With the uuid made from who asks and what is asked for
 * (persona_fence_token()), defining a secret is an atomic and idempotent test-and-set that outlives every
 * restart. No secret ever has a value.
 *
 *   persona:<driver>:<ns>:<uuid>         the fence of an instance: the uuid is the token of the session, which
 *                                        the description names
 *   persona:<ns>:<name>                  the fence of something else, such as a person's home
 *   persona-intent:<driver>:<ns>:<uuid>  an intent: the description says of what; removed last
 *   persona-address:<network>:<ip>, persona-device:<name>
 *                                        reservations, of all namespaces: the uuid is the token of the instance
 * All drivers of one libvirt share its secrets: without the driver in its name, containers' fences and intents
 * would look like those of virtual machines that are gone.
 */
#include <string.h>

#include <apr_strings.h>
#include <libvirt/virterror.h>
#include <libxml/parser.h>

#include "compute/libvirt.h"
#include "persona/digest.h"

#define USAGE_TYPE VIR_SECRET_USAGE_TYPE_CEPH
#define USAGE_TYPE_WORD "ceph"
#define USAGE_MAX 400

static const char *const reservations[] = {"persona-address:", "persona-device:"};

static const char *secret_xml(const char *usage, const char *token, const char *about, apr_pool_t *p)
{
    xmlDocPtr doc = xmlNewDoc(BAD_CAST "1.0");
    xmlNodePtr root = xmlNewNode(NULL, BAD_CAST "secret"), node;
    xmlChar *text;
    const char *xml;
    int len;

    xmlDocSetRootElement(doc, root);
    xmlNewProp(root, BAD_CAST "ephemeral", BAD_CAST "no");
    xmlNewProp(root, BAD_CAST "private", BAD_CAST "yes");
    xmlNewTextChild(root, NULL, BAD_CAST "uuid", BAD_CAST token);
    xmlNewTextChild(root, NULL, BAD_CAST "description", BAD_CAST about);
    node = xmlNewChild(root, NULL, BAD_CAST "usage", NULL);
    xmlNewProp(node, BAD_CAST "type", BAD_CAST USAGE_TYPE_WORD);
    xmlNewTextChild(node, NULL, BAD_CAST "name", BAD_CAST usage);
    xmlDocDumpMemory(doc, &text, &len);
    xml = apr_pstrmemdup(p, (const char *)text, len);
    xmlFree(text);
    xmlFreeDoc(doc);
    return xml;
}

apr_status_t libvirt_secret_take(virConnectPtr conn, const char *usage, const char *token, const char *about,
                                 persona_result_t *res, apr_pool_t *p)
{
    const char *holder;
    virSecretPtr secret = virSecretDefineXML(conn, secret_xml(usage, token, about, p), 0);
    apr_status_t status, failure;

    if (secret) {
        virSecretFree(secret);
        return APR_SUCCESS;
    }
    failure = libvirt_failed(conn, res, "fence", apr_psprintf(p, "cannot define the secret %s", usage));
    if (failure == APR_TIMEUP || failure == APR_EACCES) {
        return failure;
    }
    status = libvirt_secret_holder(conn, usage, &holder, NULL, p);
    if (status == APR_SUCCESS && !strcmp(holder, token)) {
        return persona_result_set(res, APR_SUCCESS, NULL, "%s", "");
    }
    if (status == APR_SUCCESS) {
        return persona_result_set(res, APR_EEXIST, "fenced", "%s belongs to another", usage);
    }
    /* Refused though nobody has it: either it was removed since, or libvirt cannot write. */
    return status == APR_TIMEUP ? status : failure;
}

apr_status_t libvirt_secret_holder(virConnectPtr conn, const char *usage, const char **token,
                                   persona_result_t *res, apr_pool_t *p)
{
    virSecretPtr secret = virSecretLookupByUsage(conn, USAGE_TYPE, usage);
    char uuid[VIR_UUID_STRING_BUFLEN];

    if (!secret) {
        return libvirt_failed(conn, res, "fence", apr_psprintf(p, "no secret %s", usage));
    }
    virSecretGetUUIDString(secret, uuid);
    virSecretFree(secret);
    *token = apr_pstrdup(p, uuid);
    return APR_SUCCESS;
}

apr_status_t libvirt_secret_drop(virConnectPtr conn, const char *usage, const char *token, persona_result_t *res)
{
    virSecretPtr secret = virSecretLookupByUUIDString(conn, token);
    const char *found;
    apr_status_t status = APR_SUCCESS;

    if (!secret) {
        if (libvirt_error_code() == VIR_ERR_NO_SECRET) {
            return APR_SUCCESS;
        }
        return libvirt_failed(conn, res, "unfence", usage);
    }
    found = virSecretGetUsageID(secret);
    /* Undefining goes by uuid, which is the token: nobody else's can be hit. */
    if (found && !strcmp(found, usage) && virSecretUndefine(secret) < 0
        && libvirt_error_code() != VIR_ERR_NO_SECRET) {
        status = libvirt_failed(conn, res, "unfence", usage);
    }
    virSecretFree(secret);
    return status;
}

apr_status_t libvirt_secret_list(virConnectPtr conn, const char *prefix, apr_array_header_t **secrets,
                                 persona_result_t *res, apr_pool_t *p)
{
    virSecretPtr *all;
    const apr_size_t len = strlen(prefix);
    int count = virConnectListAllSecrets(conn, &all, 0);

    if (count < 0) {
        return libvirt_failed(conn, res, "fence", "cannot list secrets");
    }
    *secrets = apr_array_make(p, count + 1, sizeof(libvirt_secret_t));
    for (int i = 0; i < count; ++i) {
        const char *usage = virSecretGetUsageID(all[i]);
        char uuid[VIR_UUID_STRING_BUFLEN];

        if (usage && virSecretGetUsageType(all[i]) == USAGE_TYPE && !strncmp(usage, prefix, len)
            && virSecretGetUUIDString(all[i], uuid) == 0) {
            libvirt_secret_t *secret = apr_array_push(*secrets);
            secret->usage = apr_pstrdup(p, usage);
            secret->token = apr_pstrdup(p, uuid);
        }
        virSecretFree(all[i]);
    }
    free(all);
    return APR_SUCCESS;
}

static const char *driver_word(const libvirt_t *lv)
{
    switch (lv->options->driver) {
    case LIBVIRT_QEMU:
        return "qemu";
    case LIBVIRT_LXC:
        return "lxc";
    default:
        return "test";
    }
}

static const char *description_of(const char *xml, apr_pool_t *p)
{
    xmlDocPtr doc = xmlReadMemory(xml, (int)strlen(xml), "secret", NULL, XML_PARSE_NONET | XML_PARSE_NOERROR);
    xmlNodePtr root = doc ? xmlDocGetRootElement(doc) : NULL;
    const char *text = NULL;

    for (xmlNodePtr node = root ? root->children : NULL; node; node = node->next) {
        if (node->type == XML_ELEMENT_NODE && !strcmp((const char *)node->name, "description")) {
            xmlChar *content = xmlNodeGetContent(node);
            text = apr_pstrdup(p, (const char *)content);
            xmlFree(content);
        }
    }
    xmlFreeDoc(doc);
    return text;
}

/** What libvirt_secret_take() was told about it: "" for nothing. APR_ENOENT: there is no such secret. */
static apr_status_t secret_about(virConnectPtr conn, const char *usage, const char *code, const char *failure,
                                 const char **about, persona_result_t *res, apr_pool_t *p)
{
    virSecretPtr secret = virSecretLookupByUsage(conn, USAGE_TYPE, usage);
    char *xml = secret ? virSecretGetXMLDesc(secret, 0) : NULL;
    apr_status_t status = xml ? APR_SUCCESS : libvirt_failed(conn, res, code, failure);
    const char *text = xml ? description_of(xml, p) : NULL;

    if (secret) {
        virSecretFree(secret);
    }
    free(xml);
    *about = text ? text : "";
    return status;
}

/* ---- intents ---- */

static const char *const stages[] = {"making", "made", "failed", "unmaking"};

static const char *intent_usage(const libvirt_t *lv, const char *uuid, apr_pool_t *p)
{
    return apr_pstrcat(p, "persona-intent:", driver_word(lv), ":", lv->head.ns, ":", uuid, NULL);
}

static const char *intent_token(const libvirt_t *lv, const char *uuid, apr_pool_t *p)
{
    return persona_fence_token("intent", intent_usage(lv, uuid, p), p);
}

apr_status_t libvirt_intent_write(libvirt_t *lv, virConnectPtr conn, const libvirt_intent_t *intent,
                                  persona_result_t *res, apr_pool_t *p)
{
    const char *about = apr_psprintf(p, "%s %" APR_TIME_T_FMT " %s %s %s %s", stages[intent->stage],
                                     intent->created, intent->persona_id, intent->fingerprint,
                                     intent->maker ? intent->maker : "-",
                                     intent->reason && libvirt_text_valid(intent->reason) ? intent->reason : "");

    return libvirt_secret_take(conn, intent_usage(lv, intent->uuid, p), intent_token(lv, intent->uuid, p), about,
                               res, p);
}

apr_status_t libvirt_intent_read(libvirt_t *lv, virConnectPtr conn, const char *uuid, libvirt_intent_t **intent,
                                 persona_result_t *res, apr_pool_t *p)
{
    char *text, *last, *word[4] = {NULL};
    const char *about;
    apr_status_t status = secret_about(conn, intent_usage(lv, uuid, p), "gone",
                                       apr_psprintf(p, "no instance %s", uuid), &about, res, p);

    if (status != APR_SUCCESS) {
        return status;
    }
    text = apr_pstrdup(p, about);
    for (int i = 0; i < 4; ++i) {
        word[i] = apr_strtok(i ? NULL : text, " ", &last);
        if (!word[i]) {
            return persona_result_set(res, APR_EGENERAL, "intent", "the secret %s was not written by us",
                                      intent_usage(lv, uuid, p));
        }
    }
    *intent = apr_pcalloc(p, sizeof(**intent));
    (*intent)->uuid = apr_pstrdup(p, uuid);
    for (int i = LIBVIRT_MAKING; i <= LIBVIRT_UNMAKING; ++i) {
        if (!strcmp(word[0], stages[i])) {
            (*intent)->stage = (libvirt_stage_e)i;
        }
    }
    (*intent)->created = apr_atoi64(word[1]);
    (*intent)->persona_id = word[2];
    (*intent)->fingerprint = word[3];
    (*intent)->maker = apr_strtok(NULL, " ", &last);
    if ((*intent)->maker && !strcmp((*intent)->maker, "-")) {
        (*intent)->maker = NULL;
    }
    (*intent)->reason = last && *last ? last : NULL;
    return APR_SUCCESS;
}

apr_status_t libvirt_intent_list(libvirt_t *lv, virConnectPtr conn, apr_array_header_t **uuids,
                                 persona_result_t *res, apr_pool_t *p)
{
    const char *prefix = intent_usage(lv, "", p);
    apr_array_header_t *secrets;
    apr_status_t status = libvirt_secret_list(conn, prefix, &secrets, res, p);

    if (status != APR_SUCCESS) {
        return status;
    }
    *uuids = apr_array_make(p, secrets->nelts + 1, sizeof(const char *));
    for (int i = 0; i < secrets->nelts; ++i) {
        APR_ARRAY_PUSH(*uuids, const char *) = APR_ARRAY_IDX(secrets, i, libvirt_secret_t).usage + strlen(prefix);
    }
    return APR_SUCCESS;
}

apr_status_t libvirt_intent_drop(libvirt_t *lv, virConnectPtr conn, const char *uuid, persona_result_t *res,
                                 apr_pool_t *p)
{
    return libvirt_secret_drop(conn, intent_usage(lv, uuid, p), intent_token(lv, uuid, p), res);
}

/* ---- reservations ---- */

apr_status_t libvirt_reserve(virConnectPtr conn, const char *kind, const char *name, const char *uuid,
                             persona_result_t *res, apr_pool_t *p)
{
    const char *usage = apr_pstrcat(p, "persona-", kind, ":", name, NULL);

    return libvirt_secret_take(conn, usage, persona_fence_token(uuid, usage, p),
                               apr_pstrcat(p, "reserved for instance ", uuid, NULL), res, p);
}

apr_status_t libvirt_reserved(virConnectPtr conn, const char *kind, const char *uuid, apr_array_header_t **all,
                              apr_array_header_t **own, persona_result_t *res, apr_pool_t *p)
{
    const char *prefix = apr_pstrcat(p, "persona-", kind, ":", NULL);
    apr_array_header_t *secrets;
    apr_status_t status = libvirt_secret_list(conn, prefix, &secrets, res, p);

    if (status != APR_SUCCESS) {
        return status;
    }
    *all = apr_array_make(p, secrets->nelts + 1, sizeof(const char *));
    *own = apr_array_make(p, 4, sizeof(const char *));
    for (int i = 0; i < secrets->nelts; ++i) {
        const libvirt_secret_t *secret = &APR_ARRAY_IDX(secrets, i, libvirt_secret_t);

        APR_ARRAY_PUSH(*all, const char *) = secret->usage + strlen(prefix);
        if (!strcmp(secret->token, persona_fence_token(uuid, secret->usage, p))) {
            APR_ARRAY_PUSH(*own, const char *) = secret->usage + strlen(prefix);
        }
    }
    return APR_SUCCESS;
}

apr_status_t libvirt_release_all(virConnectPtr conn, const char *uuid, persona_result_t *res, apr_pool_t *p)
{
    apr_array_header_t *secrets;
    apr_status_t status = libvirt_secret_list(conn, "persona-", &secrets, res, p);

    for (int i = 0; status == APR_SUCCESS && i < secrets->nelts; ++i) {
        const libvirt_secret_t *secret = &APR_ARRAY_IDX(secrets, i, libvirt_secret_t);

        for (unsigned kind = 0; kind < sizeof(reservations) / sizeof(reservations[0]); ++kind) {
            if (!strncmp(secret->usage, reservations[kind], strlen(reservations[kind]))
                && !strcmp(secret->token, persona_fence_token(uuid, secret->usage, p))) {
                status = libvirt_secret_drop(conn, secret->usage, secret->token, res);
            }
        }
    }
    return status;
}

/* ---- fences ---- */

typedef struct fence_args_t {
    const char *name, *token, *session;
    apr_array_header_t *fences;
} fence_args_t;

static const char *instance_prefix(const libvirt_t *lv, apr_pool_t *p)
{
    return apr_pstrcat(p, "persona:", driver_word(lv), ":", lv->head.ns, ":", NULL);
}

static const char *other_prefix(const libvirt_t *lv, apr_pool_t *p)
{
    return apr_pstrcat(p, "persona:", lv->head.ns, ":", NULL);
}

static const char *fence_usage(const libvirt_t *lv, const char *name, apr_pool_t *p)
{
    return apr_pstrcat(p, persona_uuid_valid(name) ? instance_prefix(lv, p) : other_prefix(lv, p), name, NULL);
}

/* A name reaches libvirt in XML and as a key: what cannot be written is refused here. */
static int name_valid(const char *name)
{
    return *name && strlen(name) <= USAGE_MAX && libvirt_text_valid(name);
}

static libvirt_job_t *fence_job(persona_compute_t *c, const char *name, const char *token, libvirt_work_fn *work)
{
    libvirt_job_t *job = libvirt_job_make((libvirt_t *)c, LIBVIRT_QUICK, NULL, work, sizeof(fence_args_t));
    fence_args_t *args = job->args;

    args->name = apr_pstrdup(job->pool, name);
    args->token = token ? apr_pstrdup(job->pool, token) : NULL;
    return job;
}

static apr_status_t fence_work(libvirt_t *lv, virConnectPtr conn, void *data, persona_result_t *res,
                               apr_pool_t *p)
{
    fence_args_t *args = data;

    return libvirt_secret_take(conn, fence_usage(lv, args->name, p), args->token, args->session, res, p);
}

apr_status_t libvirt_fence(persona_compute_t *c, const char *name, const char *session, persona_result_t *res,
                           apr_pool_t *p)
{
    libvirt_job_t *job;
    fence_args_t *args;

    if (!name_valid(name) || !libvirt_text_valid(session)) {
        return persona_result_set(res, APR_EINVAL, "fence", "a fence cannot have the name \"%s\"", name);
    }
    job = fence_job(c, name, persona_fence_token(session, name, p), fence_work);
    args = job->args;
    args->session = apr_pstrdup(job->pool, session);
    return libvirt_job_run(job, res, p);
}

static apr_status_t holder_work(libvirt_t *lv, virConnectPtr conn, void *data, persona_result_t *res,
                                apr_pool_t *p)
{
    fence_args_t *args = data;

    return libvirt_secret_holder(conn, fence_usage(lv, args->name, p), &args->token, res, p);
}

apr_status_t libvirt_fence_holder(persona_compute_t *c, const char *name, const char **token,
                                  persona_result_t *res, apr_pool_t *p)
{
    libvirt_job_t *job;
    fence_args_t *args;
    apr_status_t status;

    if (!name_valid(name)) {
        return APR_ENOENT;
    }
    job = fence_job(c, name, NULL, holder_work);
    args = job->args;
    status = libvirt_job_run(job, res, p);
    if (status == APR_SUCCESS) {
        *token = args->token;
    }
    return status;
}

static apr_status_t session_work(libvirt_t *lv, virConnectPtr conn, void *data, persona_result_t *res,
                                 apr_pool_t *p)
{
    fence_args_t *args = data;
    const char *usage = fence_usage(lv, args->name, p);

    return secret_about(conn, usage, "fence", apr_psprintf(p, "no secret %s", usage), &args->session, res, p);
}

apr_status_t libvirt_fence_session(persona_compute_t *c, const char *name, const char **session,
                                   persona_result_t *res, apr_pool_t *p)
{
    libvirt_job_t *job;
    fence_args_t *args;
    apr_status_t status;

    if (!name_valid(name)) {
        return APR_ENOENT;
    }
    job = fence_job(c, name, NULL, session_work);
    args = job->args;
    status = libvirt_job_run(job, res, p);
    if (status == APR_SUCCESS) {
        *session = args->session;
    }
    return status;
}

static apr_status_t fences_add(virConnectPtr conn, const char *prefix, apr_array_header_t *fences,
                               persona_result_t *res, apr_pool_t *p)
{
    apr_array_header_t *secrets;
    apr_status_t status = libvirt_secret_list(conn, prefix, &secrets, res, p);

    for (int i = 0; status == APR_SUCCESS && i < secrets->nelts; ++i) {
        persona_fence_t *fence = apr_palloc(p, sizeof(*fence));

        fence->name = APR_ARRAY_IDX(secrets, i, libvirt_secret_t).usage + strlen(prefix);
        fence->token = APR_ARRAY_IDX(secrets, i, libvirt_secret_t).token;
        APR_ARRAY_PUSH(fences, persona_fence_t *) = fence;
    }
    return status;
}

static apr_status_t fences_work(libvirt_t *lv, virConnectPtr conn, void *data, persona_result_t *res,
                                apr_pool_t *p)
{
    fence_args_t *args = data;
    apr_status_t status;

    args->fences = apr_array_make(p, 16, sizeof(persona_fence_t *));
    status = fences_add(conn, instance_prefix(lv, p), args->fences, res, p);
    return status == APR_SUCCESS ? fences_add(conn, other_prefix(lv, p), args->fences, res, p) : status;
}

apr_status_t libvirt_fences(persona_compute_t *c, apr_array_header_t **fences, persona_result_t *res,
                            apr_pool_t *p)
{
    libvirt_job_t *job = fence_job(c, "", NULL, fences_work);
    fence_args_t *args = job->args;
    apr_status_t status = libvirt_job_run(job, res, p);

    if (status == APR_SUCCESS) {
        *fences = args->fences;
    }
    return status;
}

static apr_status_t unfence_work(libvirt_t *lv, virConnectPtr conn, void *data, persona_result_t *res,
                                 apr_pool_t *p)
{
    fence_args_t *args = data;

    return libvirt_secret_drop(conn, fence_usage(lv, args->name, p), args->token, res);
}

apr_status_t libvirt_unfence(persona_compute_t *c, const char *name, const char *token, persona_result_t *res,
                             apr_pool_t *p)
{
    if (!name_valid(name)) {
        return APR_SUCCESS;
    }
    return libvirt_job_run(fence_job(c, name, token, unfence_work), res, p);
}
