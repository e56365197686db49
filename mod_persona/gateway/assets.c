/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file assets.c
 * @brief Our style sheets, scripts and icons: read once for each configuration, served from memory under a URL with
 * the hash of the content, so a browser may keep them for ever.
 *
 * `assets` is made in post_config and only read afterwards, by all threads.
 */
#include <apr_file_io.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "gateway.h"
#include "persona/digest.h"

#define ASSET_MAX  (4 * 1024 * 1024)
#define HASH_SHOWN 16

typedef struct asset_t {
    const char *name, *type;
    const char *data;
    apr_size_t len;
    char hash[HASH_SHOWN + 1];
} asset_t;

static asset_t assets[] = {
    {"persona.css", "text/css;charset=utf-8", NULL, 0, ""},
    {"persona.svg", "image/svg+xml", NULL, 0, ""},
    {"portal.js", "text/javascript;charset=utf-8", NULL, 0, ""},
    {"wait.js", "text/javascript;charset=utf-8", NULL, 0, ""},
    {"viewer.js", "text/javascript;charset=utf-8", NULL, 0, ""},
};
#define ASSETS (sizeof(assets) / sizeof(assets[0]))

static const char *asset_read(asset_t *asset, const char *path, apr_pool_t *p)
{
    char hash[PERSONA_HEX256_LEN], reason[128];
    apr_file_t *file;
    apr_finfo_t info;
    apr_status_t status = apr_file_open(&file, path, APR_FOPEN_READ, 0, p);
    char *data;

    if (status == APR_SUCCESS) {
        status = apr_file_info_get(&info, APR_FINFO_SIZE, file);
    }
    if (status == APR_SUCCESS && info.size > ASSET_MAX) {
        return apr_psprintf(p, "%s is larger than %d bytes", path, ASSET_MAX);
    }
    if (status == APR_SUCCESS) {
        data = apr_palloc(p, (apr_size_t)info.size + 1);
        status = apr_file_read_full(file, data, (apr_size_t)info.size, &asset->len);
        asset->data = data;
        apr_file_close(file);
    }
    if (status != APR_SUCCESS) {
        asset->data = NULL;
        return apr_psprintf(p, "%s: %s", path, apr_strerror(status, reason, sizeof(reason)));
    }
    persona_sha256(asset->data, asset->len, hash);
    apr_cpystrn(asset->hash, hash, sizeof(asset->hash));
    return NULL;
}

const char *persona_assets_load(const persona_conf_t *conf, apr_pool_t *p)
{
    const char *error = NULL, *first = NULL;
    apr_size_t i;

    for (i = 0; i < ASSETS; i++) {
        error = asset_read(&assets[i], apr_pstrcat(p, conf->assets, "/", assets[i].name, NULL), p);
        first = first ? first : error;
    }
    return first;
}

static asset_t *asset_find(const char *name)
{
    apr_size_t i;

    for (i = 0; i < ASSETS; i++) {
        if (!strcmp(assets[i].name, name)) {
            return &assets[i];
        }
    }
    return NULL;
}

const char *persona_asset_url(const char *base, const char *name, apr_pool_t *p)
{
    const asset_t *asset = asset_find(name);

    return apr_pstrcat(p, base, ".persona/", name, "?v=", asset ? asset->hash : "", NULL);
}

static int send_bytes(request_rec *r, const char *type, const char *data, apr_size_t len,
                      const char *hash)
{
    int status;

    persona_page_headers(r, type);
    if (hash) {
        apr_table_setn(r->headers_out, "ETag", apr_pstrcat(r->pool, "\"", hash, "\"", NULL));
        apr_table_setn(r->headers_out, "Cache-Control",
                       r->args && strstr(r->args, hash) ? "public, max-age=31536000, immutable"
                                                        : "no-cache");
    }
    status = ap_meets_conditions(r);
    if (status != OK) {
        return status;
    }
    ap_set_content_length(r, (apr_off_t)len);
    if (!r->header_only) {
        ap_rwrite(data, (int)len, r);
    }
    return OK;
}

/* ---- icons ---- */

static const char *icon_type(const char *file)
{
    const char *dot = strrchr(file, '.');

    if (!dot || *file == '.' ||
        strspn(file, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") !=
            strlen(file)) {
        return NULL;
    }
    return !strcmp(dot, ".svg")    ? "image/svg+xml"
           : !strcmp(dot, ".png")  ? "image/png"
           : !strcmp(dot, ".webp") ? "image/webp"
                                   : NULL;
}

/** A coloured tile with the first letter: the same for the same application, always. */
static int send_tile(request_rec *r, const char *app, const char *title)
{
    persona_html_t *h = persona_html_create(r->pool);
    char hash[PERSONA_HEX256_LEN], letter[5] = "";
    unsigned hue;
    int i = 0;

    persona_sha256(app, strlen(app), hash);
    hue = (unsigned)apr_strtoi64(apr_pstrndup(r->pool, hash, 4), NULL, 16) % 360;
    do {
        letter[i] = i ? title[i] : (char)apr_toupper(title[i]);
        i++;
    } while (i < 4 && ((unsigned char)title[i] & 0xc0) == 0x80);
    persona_html_add(
        h,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 72 72\"><rect width=\"72\" height=\"72\" "
        "rx=\"16\" fill=\"hsl(%d,52%%,42%%)\"/><text x=\"36\" y=\"36\" dy=\".36em\" text-anchor=\"middle\" "
        "font-family=\"system-ui,sans-serif\" font-size=\"36\" font-weight=\"600\" fill=\"#fff\">%s</text>"
        "</svg>\n",
        (int)hue, letter);
    persona_sha256(h->text, h->len, hash);
    return send_bytes(r, "image/svg+xml", h->text, h->len, apr_pstrndup(r->pool, hash, HASH_SHOWN));
}

static int send_icon(request_rec *r, const persona_conf_t *conf, const char *app)
{
    persona_catalog_t *catalog = persona_child_catalog(r->request_time + conf->timeout, r->pool);
    const char *icon = NULL, *title = app;
    asset_t file = {0};
    int i;

    if (!*app || strlen(app) > PERSONA_NAME_MAX) {
        return HTTP_NOT_FOUND;
    }
    for (i = 0; catalog && i < catalog->personas->nelts; i++) {
        const persona_t *persona = APR_ARRAY_IDX(catalog->personas, i, const persona_t *);

        if (!strcmp(persona->app_id, app)) {
            icon = icon ? icon : persona->icon;
            title = persona->title && *persona->title ? persona->title : app;
        }
    }
    if (icon && icon_type(icon) &&
        !asset_read(&file, apr_pstrcat(r->pool, conf->directory, "/", icon, NULL), r->pool)) {
        return send_bytes(r, icon_type(icon), file.data, file.len, apr_pstrdup(r->pool, file.hash));
    }
    return send_tile(r, app, title);
}

int persona_asset_handler(request_rec *r, const persona_conf_t *conf, const char *path)
{
    const asset_t *asset;

    if (r->method_number != M_GET) {
        apr_table_setn(r->err_headers_out, "Allow", "GET, HEAD");
        return HTTP_METHOD_NOT_ALLOWED;
    }
    if (!strncmp(path, "icon/", 5)) {
        return send_icon(r, conf, path + 5);
    }
    asset = asset_find(path);
    return asset && asset->data ? send_bytes(r, asset->type, asset->data, asset->len, asset->hash)
                                : HTTP_NOT_FOUND;
}
