/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file folder.c
 * @brief Files of one folder.
 *
 * Kubernetes shows a ConfigMap as links: a.json -> ..data/a.json, ..data -> ..2024_01_01. They stay
 * within the folder and are followed; a link that leads out of it is not, or an administrator of
 * personas could have any file of the host quoted in error messages.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_file_info.h>
#include <apr_strings.h>

#include "folder.h"

static const char *reason(int error, apr_pool_t *p)
{
    char text[128];

    return apr_pstrdup(p, apr_strerror(error, text, sizeof(text)));
}

static int ends_with(const char *text, const char *end)
{
    apr_size_t len = strlen(text), end_len = strlen(end);

    return len > end_len && strcmp(text + len - end_len, end) == 0;
}

static int is_persona_file(const char *name)
{
    return name[0] != '.' && ends_with(name, ".json") && !ends_with(name, ".schema.json") &&
           strcmp(name, "events.json") != 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

apr_array_header_t *persona_folder_list(const char *dir, const char **wrong, apr_pool_t *p)
{
    apr_array_header_t *names = apr_array_make(p, 16, sizeof(const char *));
    DIR *handle = opendir(dir);
    struct dirent *entry;

    if (!handle) {
        *wrong = errno == ENOENT
                     ? "the folder does not exist; create it and put persona files (*.json) into it"
                 : errno == ENOTDIR
                     ? "is not a folder; name the folder that has the persona files (*.json)"
                     : apr_pstrcat(p, "the folder cannot be read: ", reason(errno, p), NULL);
        return NULL;
    }
    errno = 0;
    while ((entry = readdir(handle))) {
        if (is_persona_file(entry->d_name)) {
            APR_ARRAY_PUSH(names, const char *) = apr_pstrdup(p, entry->d_name);
        }
        errno = 0;
    }
    if (errno) {
        *wrong = apr_pstrcat(p, "the folder cannot be read: ", reason(errno, p), NULL);
        names = NULL;
    }
    closedir(handle);
    if (names) {
        qsort(names->elts, (size_t)names->nelts, sizeof(const char *), by_name);
    }
    return names;
}

/** Where `name` really is, if that is within `dir`; else NULL and why. */
static const char *resolve(const char *dir, const char *name, const char **wrong, apr_pool_t *p)
{
    char real_dir[PATH_MAX], real[PATH_MAX];
    apr_size_t len;

    if (!realpath(dir, real_dir) || !realpath(apr_pstrcat(p, dir, "/", name, NULL), real)) {
        *wrong = errno == ENOENT ? "is a symbolic link to nothing, or was removed just now"
                                 : apr_pstrcat(p, "cannot be read: ", reason(errno, p), NULL);
        return NULL;
    }
    len = strcmp(real_dir, "/") == 0 ? 0 : strlen(real_dir);
    if (strncmp(real, real_dir, len) != 0 || real[len] != '/') {
        *wrong = "is a symbolic link that leads out of the folder; put the file itself here";
        return NULL;
    }
    return apr_pstrdup(p, real);
}

static const char *kind_wrong(const struct stat *st)
{
    return S_ISDIR(st->st_mode)    ? "is a folder; it must be a regular file"
           : S_ISFIFO(st->st_mode) ? "is a pipe; it must be a regular file"
           : S_ISSOCK(st->st_mode) ? "is a socket; it must be a regular file"
           : S_ISREG(st->st_mode)  ? NULL
                                   : "is a device; it must be a regular file";
}

/** At most `max` bytes of an open file, and one more where it has more. */
static apr_ssize_t read_all(int fd, char *text, apr_size_t max)
{
    apr_size_t len = 0;

    while (len < max) {
        ssize_t n = read(fd, text + len, max - len);

        if (n == 0) {
            break;
        }
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        len += n > 0 ? (apr_size_t)n : 0;
    }
    return (apr_ssize_t)len;
}

static const char *too_large(apr_int64_t size, apr_size_t max, apr_pool_t *p)
{
    return apr_psprintf(
        p, "has %" APR_INT64_T_FMT " KiB; a persona file has at most %" APR_SIZE_T_FMT " KiB",
        (size + 1023) >> 10, max >> 10);
}

const char *persona_folder_read(const char *dir, const char *name, apr_size_t max, apr_size_t *len,
                                const char **wrong, apr_pool_t *p)
{
    const char *real = resolve(dir, name, wrong, p);
    struct stat st;
    char *text = NULL;
    apr_ssize_t n;
    int fd;

    if (!real) {
        return NULL;
    }
    /* Looked at before it is opened: opening a device may do something. */
    if (lstat(real, &st) == 0 && (*wrong = kind_wrong(&st))) {
        return NULL;
    }
    fd = open(real, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        *wrong = apr_pstrcat(p, "cannot be read: ", reason(errno, p), NULL);
        goto leave;
    }
    *wrong = kind_wrong(&st);
    if (!*wrong && st.st_size > (off_t)max) {
        *wrong = too_large(st.st_size, max, p);
    }
    if (*wrong) {
        goto leave;
    }
    text = apr_palloc(p, (apr_size_t)st.st_size + 2);
    n = read_all(fd, text, (apr_size_t)st.st_size + 1);
    if (n < 0 || n > st.st_size) {
        *wrong = n < 0 ? apr_pstrcat(p, "cannot be read: ", reason(errno, p), NULL)
                       : "grew while it was read; write to another name and rename it";
        text = NULL;
        goto leave;
    }
    text[n] = '\0';
    *len = (apr_size_t)n;

leave:
    if (fd >= 0) {
        close(fd);
    }
    return text;
}

static int write_all(int fd, const char *text, apr_size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);

        if (n < 0 && errno != EINTR) {
            return 0;
        }
        text += n > 0 ? n : 0;
        len -= n > 0 ? (apr_size_t)n : 0;
    }
    return 1;
}

static void sync_folder(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

apr_status_t persona_folder_write(const char *dir, const char *name, const char *text,
                                  apr_size_t len, apr_pool_t *p)
{
    char *temporary = apr_pstrcat(p, dir, "/.", name, ".XXXXXX", NULL);
    apr_status_t status = APR_SUCCESS;
    /* Mode 0600, whatever the umask. */
    int fd = mkostemp(temporary, O_CLOEXEC);

    if (fd < 0) {
        return errno;
    }
    if (!write_all(fd, text, len) || fsync(fd) != 0) {
        status = errno;
    }
    if (close(fd) != 0 && status == APR_SUCCESS) {
        status = errno;
    }
    if (status == APR_SUCCESS && rename(temporary, apr_pstrcat(p, dir, "/", name, NULL)) != 0) {
        status = errno;
    }
    if (status != APR_SUCCESS) {
        unlink(temporary);
        return status;
    }
    sync_folder(dir);
    return APR_SUCCESS;
}

/** FNV-1a. */
static apr_uint64_t mix(apr_uint64_t hash, const void *data, apr_size_t len)
{
    const unsigned char *bytes = data;

    for (apr_size_t i = 0; i < len; i++) {
        hash = (hash ^ bytes[i]) * APR_UINT64_C(0x100000001b3);
    }
    return hash;
}

apr_uint64_t persona_folder_stamp(const char *dir, apr_pool_t *p)
{
    apr_uint64_t hash = APR_UINT64_C(0xcbf29ce484222325);
    const char *wrong = "";
    apr_array_header_t *names = persona_folder_list(dir, &wrong, p);

    if (!names) {
        return mix(hash, wrong, strlen(wrong));
    }
    for (int i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        struct stat st;
        apr_int64_t seen[9] = {0};

        /* Through links: what counts is the file that would be read. */
        if (stat(apr_pstrcat(p, dir, "/", name, NULL), &st) == 0) {
            seen[0] = (apr_int64_t)st.st_dev;
            seen[1] = (apr_int64_t)st.st_ino;
            seen[2] = st.st_size;
            seen[3] = st.st_mtim.tv_sec;
            seen[4] = st.st_mtim.tv_nsec;
            seen[5] = st.st_ctim.tv_sec;
            seen[6] = st.st_ctim.tv_nsec;
            seen[7] = st.st_mode;
        }
        else {
            seen[8] = errno;
        }
        hash = mix(mix(hash, name, strlen(name) + 1), seen, sizeof(seen));
    }
    return hash;
}
