/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file mod_persona.c
 * @brief The hooks of the module, and nothing else.
 */
#define PERSONA_MODULE_DEFINITION
#include "gateway.h"

#include <ap_mpm.h>
#include <http_connection.h>
#include <mpm_common.h>

/** Messages of the rooms below the gateway go to httpd's error log. */
static void log_to_httpd(void *baton, const char *file, int line, persona_log_level_e level,
                         apr_status_t status, const char *message)
{
    ap_log_error(file, line, APLOG_MODULE_INDEX, (int)level, status, (server_rec *)baton, "%s", message);
}

static int log_level(server_rec *s)
{
    int level = ap_get_server_module_loglevel(s, APLOG_MODULE_INDEX);

    if (level < PERSONA_LOG_ERR) {
        return PERSONA_LOG_ERR;
    }
    return level > PERSONA_LOG_DEBUG ? PERSONA_LOG_DEBUG : level;
}

static int pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)pconf;
    (void)plog;
    (void)ptemp;
    return persona_supervise_guard();
}

static int check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    persona_log_set(log_to_httpd, s, (persona_log_level_e)log_level(s));
    return persona_config_check(pconf, plog, ptemp, s);
}

static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    const persona_conf_t *conf = persona_conf(s);
    const char *error;

    if (!conf->directory || ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK;
    }
    error = persona_assets_load(conf, pconf);
    if (error) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, "PersonaAssets: %s", error);
    }
    error = persona_relay_config(pconf, s);
    if (error) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "personas that speak HTTP cannot be served: %s", error);
    }
    return persona_supervise_start(pconf, plog, ptemp, s);
}

static int monitor(apr_pool_t *p, server_rec *s)
{
    (void)p;
    (void)s;
    persona_supervise_monitor();
    return DECLINED;
}

static void child_init(apr_pool_t *pchild, server_rec *s)
{
    persona_log_set(log_to_httpd, s, (persona_log_level_e)log_level(s));
    if (persona_conf(s)->directory) {
        persona_child_init(pchild, s);
    }
}

static int fixups(request_rec *r)
{
    int status = persona_gateway_fixup(r);

    return status == DECLINED ? persona_home_fixup(r) : status;
}

static void register_hooks(apr_pool_t *p)
{
    static const char *const after_rewrite[] = {"mod_rewrite.c", NULL};
    static const char *const before_proxy[] = {"mod_proxy.c", "mod_alias.c", NULL};

    ap_hook_pre_config(pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_LAST);
    ap_hook_monitor(monitor, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_pre_translate_name(persona_gateway_pre_translate, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_translate_name(persona_gateway_translate, after_rewrite, before_proxy, APR_HOOK_FIRST);
    ap_hook_check_authn(persona_host_authn, NULL, NULL, APR_HOOK_FIRST, AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_map_to_storage(persona_gateway_map, NULL, before_proxy, APR_HOOK_FIRST);
    ap_hook_fixups(fixups, NULL, NULL, APR_HOOK_LAST);
    ap_hook_handler(persona_gateway_handler, NULL, before_proxy, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(persona_status_handler, NULL, NULL, APR_HOOK_MIDDLE);
    persona_relay_register(p);
    persona_home_register(p);
}

AP_DECLARE_MODULE(persona) = {
    STANDARD20_MODULE_STUFF,
    persona_dir_create, persona_dir_merge,
    persona_conf_create, persona_conf_merge,
    persona_commands,
    register_hooks,
    AP_MODULE_FLAG_NONE
};
