/* SPDX-License-Identifier: Apache-2.0 */
#include "scratch.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "persona/folder.h"

#define MAX 1024

static const char *why;

/** The text of a file of the folder "d". */
static const char *get(const char *name)
{
    apr_size_t len = 0;
    const char *text;

    why = NULL;
    text = persona_folder_read(scratch_path("d"), name, MAX, &len, &why, unit_pool);
    if (text) {
        assert_int_equal(strlen(text), len);
    }
    return text;
}

static void refused(const char *name, const char *says)
{
    if (get(name)) {
        fail_msg("%s: read", name);
    }
    if (!strstr(why, says)) {
        fail_msg("%s: says \"%s\", not \"%s\"", name, why, says);
    }
}

static void folders_that_cannot_be_listed(void **state)
{
    const char *wrong = NULL;

    (void)state;
    assert_null(persona_folder_list(scratch_path("d"), &wrong, unit_pool));
    assert_non_null(strstr(wrong, "does not exist; create it"));
    scratch_file("f", "");
    assert_null(persona_folder_list(scratch_path("f"), &wrong, unit_pool));
    assert_non_null(strstr(wrong, "is not a folder"));
}

static void what_counts_as_a_persona_file(void **state)
{
    const char *wrong = NULL;
    apr_array_header_t *names;

    (void)state;
    scratch_file("b.json", "");
    scratch_file("a.json", "");
    scratch_file(".a.json", "");
    scratch_file(".json", "");
    scratch_file("a.json~", "");
    scratch_file("a.json.bak", "");
    scratch_file("events.json", "");
    scratch_file("persona.schema.json", "");
    names = persona_folder_list(scratch, &wrong, unit_pool);
    assert_int_equal(names->nelts, 2);
    assert_string_equal(APR_ARRAY_IDX(names, 0, const char *), "a.json");
    assert_string_equal(APR_ARRAY_IDX(names, 1, const char *), "b.json");
}

static void what_is_no_regular_file(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)state;
    assert_int_equal(mkdir(scratch_path("d"), 0755), 0);
    assert_int_equal(mkdir(scratch_path("d/folder.json"), 0755), 0);
    assert_int_equal(mkfifo(scratch_path("d/pipe.json"), 0644), 0);
    apr_cpystrn(address.sun_path, scratch_path("d/socket.json"), sizeof(address.sun_path));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    refused("folder.json", "is a folder; it must be a regular file");
    refused("socket.json", "is a socket");
    /* Nobody writes to it: this must not wait. */
    refused("pipe.json", "is a pipe");
    refused("absent.json", "was removed just now");
}

static void links(void **state)
{
    (void)state;
    scratch_file("secret", "secret");
    assert_int_equal(mkdir(scratch_path("d"), 0755), 0);
    assert_int_equal(mkdir(scratch_path("d-other"), 0755), 0);
    scratch_file("d-other/a.json", "secret");
    assert_int_equal(symlink("../secret", scratch_path("d/out.json")), 0);
    assert_int_equal(symlink("/etc/passwd", scratch_path("d/absolute.json")), 0);
    assert_int_equal(symlink("../d-other/a.json", scratch_path("d/sibling.json")), 0);
    assert_int_equal(symlink("/dev/zero", scratch_path("d/zero.json")), 0);
    assert_int_equal(symlink("nowhere", scratch_path("d/dangling.json")), 0);
    assert_int_equal(symlink("loop.json", scratch_path("d/loop.json")), 0);
    refused("out.json", "leads out of the folder");
    refused("absolute.json", "leads out of the folder");
    refused("sibling.json", "leads out of the folder");
    refused("zero.json", "leads out of the folder");
    refused("dangling.json", "is a symbolic link to nothing");
    refused("loop.json", "cannot be read");
    /* As Kubernetes shows a ConfigMap. */
    assert_int_equal(mkdir(scratch_path("d/..2024"), 0755), 0);
    scratch_file("d/..2024/a.json", "inside");
    assert_int_equal(symlink("..2024", scratch_path("d/..data")), 0);
    assert_int_equal(symlink("..data/a.json", scratch_path("d/a.json")), 0);
    assert_string_equal(get("a.json"), "inside");
}

static void sizes(void **state)
{
    char text[MAX + 2];

    (void)state;
    assert_int_equal(mkdir(scratch_path("d"), 0755), 0);
    memset(text, 'x', sizeof(text));
    scratch_bytes("d/more.json", text, MAX + 1);
    refused("more.json", "has 2 KiB; a persona file has at most 1 KiB");
    scratch_bytes("d/most.json", text, MAX);
    assert_int_equal(strlen(get("most.json")), MAX);
    scratch_file("d/huge.json", "");
    assert_int_equal(truncate(scratch_path("d/huge.json"), 50 * 1024 * 1024), 0);
    refused("huge.json", "has 51200 KiB");
    scratch_file("d/empty.json", "");
    assert_string_equal(get("empty.json"), "");
}

static void unreadable(void **state)
{
    int root = geteuid() == 0;

    (void)state;
    assert_int_equal(mkdir(scratch_path("d"), 0755), 0);
    scratch_file("d/a.json", "x");
    assert_int_equal(chmod(scratch_path("d/a.json"), 0), 0);
    /* Nothing is unreadable for root: be nobody for a moment. */
    assert_int_equal(chmod(scratch, 0755), 0);
    assert_int_equal(root ? seteuid(65534) : 0, 0);
    get("a.json");
    assert_int_equal(root ? seteuid(0) : 0, 0);
    assert_non_null(why);
    assert_non_null(strstr(why, "cannot be read: Permission denied"));
}

static void written_files(void **state)
{
    struct stat st;
    const char *dir, *wrong;

    (void)state;
    dir = scratch_path("d");
    assert_int_not_equal(persona_folder_write(dir, "a.json", "one", 3, unit_pool), APR_SUCCESS);
    assert_int_equal(mkdir(dir, 0755), 0);
    umask(0);
    assert_int_equal(persona_folder_write(dir, "a.json", "one", 3, unit_pool), APR_SUCCESS);
    assert_int_equal(persona_folder_write(dir, "a.json", "two", 3, unit_pool), APR_SUCCESS);
    assert_string_equal(get("a.json"), "two");
    assert_int_equal(stat(scratch_path("d/a.json"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(persona_folder_list(dir, &wrong, unit_pool)->nelts, 1);
    /* A folder in its place: nothing is left behind. */
    assert_int_equal(mkdir(scratch_path("d/b.json"), 0755), 0);
    assert_int_not_equal(persona_folder_write(dir, "b.json", "x", 1, unit_pool), APR_SUCCESS);
    assert_int_equal(rmdir(scratch_path("d/b.json")), 0);
    assert_int_equal(unlink(scratch_path("d/a.json")), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void stamp(void **state)
{
    apr_uint64_t last = persona_folder_stamp(scratch_path("d"), unit_pool), now;

#define CHANGED()                                                                                  \
    now = persona_folder_stamp(scratch_path("d"), unit_pool);                                      \
    assert_true(now != last);                                                                      \
    last = now;                                                                                    \
    assert_true(last == persona_folder_stamp(scratch_path("d"), unit_pool))

    (void)state;
    assert_int_equal(mkdir(scratch_path("d"), 0755), 0);
    CHANGED();
    scratch_file("d/a.json", "1");
    CHANGED();
    scratch_file("d/a.json", "22");
    CHANGED();
    assert_int_equal(rename(scratch_path("d/a.json"), scratch_path("d/b.json")), 0);
    CHANGED();
    scratch_file("d/new", "33");
    assert_true(last == persona_folder_stamp(scratch_path("d"), unit_pool));
    assert_int_equal(rename(scratch_path("d/new"), scratch_path("d/b.json")), 0);
    CHANGED();
    assert_int_equal(symlink("b.json", scratch_path("d/c.json")), 0);
    CHANGED();
    assert_int_equal(unlink(scratch_path("d/c.json")), 0);
    CHANGED();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(folders_that_cannot_be_listed),
        SCRATCH_TEST(what_counts_as_a_persona_file),
        SCRATCH_TEST(what_is_no_regular_file),
        SCRATCH_TEST(links),
        SCRATCH_TEST(sizes),
        SCRATCH_TEST(unreadable),
        SCRATCH_TEST(written_files),
        SCRATCH_TEST(stamp),
    };

    return UNIT_RUN(tests);
}
