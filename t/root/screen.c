/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file screen.c
 * @brief The first and only process of the stage's instances: a screen of 16 x 16 pixels, served as RFB 3.8 (RFC 6143).
 *
 * Each connection has a process of its own, and each request for an update is answered at once with the whole
 * screen, so a test sees with every request that its stream still reaches the instance. Linked statically: it is
 * all that is in the image.
 */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIDE 16

static void leave(int signal)
{
    (void)signal;
    _exit(0);
}

static void take(int fd, unsigned char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = read(fd, data, len);

        if (n == 0 || (n < 0 && errno != EINTR)) {
            _exit(0);
        }
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

static void give(int fd, const void *data, size_t len)
{
    const char *from = data;

    while (len > 0) {
        ssize_t n = write(fd, from, len);

        if (n < 0 && errno != EINTR) {
            _exit(0);
        }
        from += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

static void drop(int fd, size_t len)
{
    unsigned char byte;

    while (len-- > 0) {
        take(fd, &byte, 1);
    }
}

static void update(int fd)
{
    static const unsigned char head[16] = {0, 0, 0, 1, 0, 0, 0, 0, 0, SIDE, 0, SIDE};
    uint32_t pixels[SIDE * SIDE];
    int i;

    for (i = 0; i < SIDE * SIDE; i++) {
        pixels[i] = (uint32_t)i * 0x010101U;
    }
    give(fd, head, sizeof(head));
    give(fd, pixels, sizeof(pixels));
}

static void serve(int fd)
{
    /* 32 bits, 24 of them colours, little endian; the name is "screen" */
    static const unsigned char init[] = {0,  SIDE, 0, SIDE, 32, 24, 0, 1, 0, 255, 0,   255, 0,   255, 16,
                                         8,  0,    0, 0,    0,  0,  0, 0, 6, 's', 'c', 'r', 'e', 'e', 'n'};
    unsigned char data[20];

    give(fd, "RFB 003.008\n", 12);
    take(fd, data, 12);
    give(fd, "\1\1", 2);
    take(fd, data, 1);
    give(fd, "\0\0\0\0", 4);
    take(fd, data, 1);
    give(fd, init, sizeof(init));
    for (;;) {
        take(fd, data, 1);
        switch (data[0]) {
        case 0: drop(fd, 19); break;
        case 2:
            take(fd, data, 3);
            drop(fd, 4 * ((size_t)data[1] << 8 | data[2]));
            break;
        case 3:
            drop(fd, 9);
            update(fd);
            break;
        case 4: drop(fd, 7); break;
        case 5: drop(fd, 5); break;
        default: _exit(0);
        }
    }
}

int main(void)
{
    const char *port = getenv("PERSONA_STREAM_PORT");
    struct sockaddr_in address = {.sin_family = AF_INET};
    int listener = socket(AF_INET, SOCK_STREAM, 0), fd;

    signal(SIGTERM, leave);
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    address.sin_port = htons((uint16_t)(port && atoi(port) ? atoi(port) : 5900));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 64)) {
        return 1;
    }
    for (;;) {
        fd = accept(listener, NULL, NULL);
        if (fd >= 0 && fork() == 0) {
            close(listener);
            serve(fd);
        }
        if (fd >= 0) {
            close(fd);
        }
    }
}
