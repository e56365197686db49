/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file marker.c
 * @brief The first and only process of the fault suite's instances: an HTTP server that keeps one mark.
 *
 * GET /mark answers "BOOT MARK": 16 random digits that are this instance's alone, and the mark, "-" while there is
 * none. GET /mark?TEXT makes TEXT the mark if there is none yet. So whoever comes to an instance that somebody else
 * had sees whose it was. Any other request is answered with 404. Linked statically: it is all that is in the image.
 */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static char boot[17], mark[65] = "-";

static void leave(int number)
{
    (void)number;
    _exit(0);
}

/** Reads the head of a request; 0: there is none. */
static int read_head(int fd, char *head, size_t size)
{
    size_t len = 0;

    while (len + 1 < size) {
        ssize_t n = read(fd, head + len, size - len - 1);

        if (n <= 0 && errno != EINTR) {
            return 0;
        }
        len += n > 0 ? (size_t)n : 0;
        head[len] = '\0';
        if (strstr(head, "\r\n\r\n")) {
            return 1;
        }
    }
    return 0;
}

static void serve(int fd)
{
    char head[8192] = "", answer[256], text[96], given[65] = "";

    int known;

    if (!read_head(fd, head, sizeof(head))) {
        return;
    }
    known = !strncmp(head, "GET /mark", 9);
    if (sscanf(head, "GET /mark?%64[0-9A-Za-z._-]", given) == 1 && !strcmp(mark, "-")) {
        memcpy(mark, given, sizeof(mark));
    }
    snprintf(text, sizeof(text), "%s %s\n", boot, mark);
    snprintf(answer, sizeof(answer), "HTTP/1.0 %s\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\n"
             "Content-Length: %zu\r\n\r\n%s", known ? "200 OK" : "404 Not Found", strlen(text), text);
    if (write(fd, answer, strlen(answer)) < 0) {
        return;
    }
    shutdown(fd, SHUT_WR);
}

int main(void)
{
    const char *port = getenv("PERSONA_STREAM_PORT");
    const struct timeval patience = {.tv_sec = 2};
    struct sockaddr_in address = {.sin_family = AF_INET};
    int listener = socket(AF_INET, SOCK_STREAM, 0), i;
    unsigned char random[8];

    signal(SIGTERM, leave);
    signal(SIGPIPE, SIG_IGN);
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        return 1;
    }
    for (i = 0; i < 8; i++) {
        snprintf(boot + 2 * i, 3, "%02x", random[i]);
    }
    address.sin_port = htons((uint16_t)(port ? atoi(port) : 0));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 64)) {
        return 1;
    }
    for (;;) {
        int fd = accept(listener, NULL, NULL);

        if (fd >= 0) {
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
            serve(fd);
            close(fd);
        }
    }
}
