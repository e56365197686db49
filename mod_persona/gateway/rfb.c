/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file rfb.c
 * @brief Which bytes of a VNC client are a person's doing.
 */
#include <string.h>

#include "rfb.h"

#define TYPE_KEY 4
#define TYPE_POINTER 5
#define TYPE_CUT_TEXT 6

/** Client messages: length of the fixed part, type byte included. */
static const struct {
    unsigned char type, head, human;
} messages[] = {
    {0, 20, 0},   /* SetPixelFormat */
    {2, 4, 0},    /* SetEncodings: 4 bytes for each */
    {3, 10, 0},   /* FramebufferUpdateRequest */
    {TYPE_KEY, 8, 1},
    {TYPE_POINTER, 6, 1},
    {TYPE_CUT_TEXT, 8, 1}, /* then the text; a negative length is an extended clipboard message */
    {150, 10, 0}, /* EnableContinuousUpdates */
    {248, 9, 0},  /* ClientFence: then its payload */
    {250, 4, 0},  /* xvp */
    {251, 8, 0},  /* SetDesktopSize: 16 bytes for each screen */
    {255, 12, 1}, /* QEMU extended key event; other subtypes are unknown here */
};

static void expect(persona_rfb_t *rfb, persona_rfb_e state, unsigned need)
{
    rfb->state = state;
    rfb->need = need;
    rfb->have = 0;
}

void persona_rfb_start(persona_rfb_t *rfb)
{
    memset(rfb, 0, sizeof(*rfb));
    expect(rfb, PERSONA_RFB_VERSION, 12);
}

static apr_uint32_t number(const unsigned char *at)
{
    return ((apr_uint32_t)at[0] << 24) | ((apr_uint32_t)at[1] << 16) | ((apr_uint32_t)at[2] << 8) | at[3];
}

/** What follows the fixed part of the message in `head`. */
static apr_uint64_t rest_of(const unsigned char *head)
{
    apr_uint32_t length;

    switch (head[0]) {
    case 2:
        return 4 * (((apr_uint64_t)head[2] << 8) | head[3]);
    case TYPE_CUT_TEXT:
        length = number(head + 4);
        return length & 0x80000000u ? (apr_uint64_t)(~length) + 1 : length;
    case 248:
        return head[8];
    case 251:
        return 16 * (apr_uint64_t)head[6];
    default:
        return 0;
    }
}

static void message_end(persona_rfb_t *rfb)
{
    if (rfb->head[0] == 255 && rfb->head[1] != 0) {
        rfb->state = PERSONA_RFB_OPAQUE;
        return;
    }
    rfb->skip = rest_of(rfb->head);
    expect(rfb, rfb->skip ? PERSONA_RFB_SKIP : PERSONA_RFB_TYPE, 1);
}

/** `head` holds what was expected. */
static void complete(persona_rfb_t *rfb, unsigned *acts)
{
    apr_size_t i;

    switch (rfb->state) {
    case PERSONA_RFB_VERSION:
        if (memcmp(rfb->head, "RFB 003.", 8) || rfb->head[11] != '\n') {
            rfb->state = PERSONA_RFB_OPAQUE;
            return;
        }
        rfb->minor = rfb->head[10] - '0';
        /* before 3.7 the server alone chooses the security */
        expect(rfb, rfb->minor < 7 ? PERSONA_RFB_INIT : PERSONA_RFB_SECURITY, 1);
        return;
    case PERSONA_RFB_SECURITY:
        if (rfb->head[0] == 1) {
            expect(rfb, PERSONA_RFB_INIT, 1);
        }
        else if (rfb->head[0] == 2) {
            expect(rfb, PERSONA_RFB_CHALLENGE, 16);
        }
        else {
            rfb->state = PERSONA_RFB_OPAQUE;
        }
        return;
    case PERSONA_RFB_CHALLENGE:
        expect(rfb, PERSONA_RFB_INIT, 1);
        return;
    case PERSONA_RFB_INIT:
        expect(rfb, PERSONA_RFB_TYPE, 1);
        return;
    case PERSONA_RFB_TYPE:
        for (i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
            if (messages[i].type == rfb->head[0]) {
                *acts += messages[i].human;
                rfb->state = PERSONA_RFB_HEAD;
                rfb->need = messages[i].head;
                return;
            }
        }
        rfb->state = PERSONA_RFB_OPAQUE;
        return;
    case PERSONA_RFB_HEAD:
        message_end(rfb);
        return;
    case PERSONA_RFB_SKIP:
    case PERSONA_RFB_OPAQUE:
    default:
        return;
    }
}

unsigned persona_rfb_client(persona_rfb_t *rfb, const unsigned char *data, apr_size_t len)
{
    unsigned acts = 0;

    while (len && rfb->state != PERSONA_RFB_OPAQUE) {
        apr_size_t n;

        if (rfb->state == PERSONA_RFB_SKIP) {
            n = rfb->skip < len ? (apr_size_t)rfb->skip : len;
            rfb->skip -= n;
            if (!rfb->skip) {
                expect(rfb, PERSONA_RFB_TYPE, 1);
            }
        }
        else {
            n = rfb->need - rfb->have < len ? rfb->need - rfb->have : len;
            if (rfb->have < sizeof(rfb->head)) {
                apr_size_t room = sizeof(rfb->head) - rfb->have;

                memcpy(rfb->head + rfb->have, data, n < room ? n : room);
            }
            rfb->have += (unsigned)n;
            if (rfb->have == rfb->need) {
                complete(rfb, &acts);
            }
        }
        data += n;
        len -= n;
    }
    return acts + (len > 0);
}
