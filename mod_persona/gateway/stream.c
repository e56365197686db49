/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file stream.c
 * @brief APP/.persona/stream: a WebSocket of the viewer on one side, the instance's RFB port over TCP on the other.
 *
 * One stream_t on one worker thread, for as long as the stream lasts. Neither side is read while the other has not
 * taken what came before, so a slow side slows the other down, memory stays bounded, and nothing here blocks. The
 * handshake is completed even where there is nothing to show: only then can the viewer be told why, by a close code
 * of ours.
 */
#include "gateway.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_network_io.h>
#include <apr_portable.h>
#include <apr_strings.h>
#include <http_connection.h>
#include <util_filter.h>
#include <wslay/wslay.h>

#include "rfb.h"
#include "websocket.h"

#define WINDOW      (64 * 1024) /**< bytes of the client that may wait for the backend */
#define CHUNK       (32 * 1024) /**< at most so much is given to httpd at once: more could block */
#define MESSAGE_MAX (16 * 1024 * 1024)
#define TURN        1000 /**< ms: how often the end of the session is looked at */
#define PING        apr_time_from_sec(20)
#define SILENCE     apr_time_from_sec(70) /**< no byte of the client, not even a pong */
#define PARTING     apr_time_from_sec(2)  /**< for the closing handshake */
#define HOME_TURN   apr_time_from_sec(2)
#define HOME_MAX    apr_time_from_sec(120)

/** Close codes of ours (RFC 6455, section 7.4.2: 4000 to 4999 are private); viewer.js has the same list. */
enum {
    CLOSE_ENDED = 4001,
    CLOSE_BROKEN = 4002,
    CLOSE_HOME = 4003,
    CLOSE_NONE = 4004,
    CLOSE_LATER = 4005
};

typedef struct stream_t {
    persona_visit_t *visit;
    request_rec *r;
    conn_rec *c;
    wslay_event_context_ptr ws;
    apr_bucket_brigade *in, *out;
    apr_size_t out_len;
    int client_fd, backend_fd; /**< -1: none */
    int connected;             /**< the backend has accepted */
    int data_frame;            /**< the frame being received is the stream's */
    int open;                  /**< the home is there: bytes may flow */
    int client_gone, closing;
    persona_attached_t *attached;
    persona_rfb_t rfb;
    char to_backend[WINDOW];
    apr_size_t to_backend_len;
    char from_backend[CHUNK];
    apr_time_t began, heard, pinged, closing_since;
    apr_off_t sent;
} stream_t;

/* ---- between wslay and httpd's filters ---- */

static ssize_t ws_recv(wslay_event_context_ptr ws, uint8_t *buffer, size_t len, int flags,
                       void *baton)
{
    stream_t *s = baton;
    apr_size_t n = len;
    apr_status_t status = APR_EAGAIN;

    (void)flags;
    if (sizeof(s->to_backend) - s->to_backend_len >= len) {
        status = ap_get_brigade(s->c->input_filters, s->in, AP_MODE_READBYTES, APR_NONBLOCK_READ,
                                (apr_off_t)len);
    }
    if (status == APR_SUCCESS) {
        status =
            APR_BRIGADE_EMPTY(s->in) ? APR_EAGAIN : apr_brigade_flatten(s->in, (char *)buffer, &n);
        apr_brigade_cleanup(s->in);
        if (status == APR_SUCCESS && n > 0) {
            s->heard = apr_time_now();
            return (ssize_t)n;
        }
        status = status == APR_SUCCESS ? APR_EOF : status;
    }
    if (APR_STATUS_IS_EAGAIN(status)) {
        wslay_event_set_error(ws, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    s->client_gone = 1;
    wslay_event_set_error(ws, WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static ssize_t ws_send(wslay_event_context_ptr ws, const uint8_t *data, size_t len, int flags,
                       void *baton)
{
    stream_t *s = baton;

    (void)flags;
    if (s->out_len >= CHUNK) {
        wslay_event_set_error(ws, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    len = len > CHUNK - s->out_len ? CHUNK - s->out_len : len;
    if (apr_brigade_write(s->out, NULL, NULL, (const char *)data, len) != APR_SUCCESS) {
        wslay_event_set_error(ws, WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
    }
    s->out_len += len;
    s->sent += (apr_off_t)len;
    return (ssize_t)len;
}

static void close_queue(stream_t *s, uint16_t code, const char *why)
{
    if (!s->closing) {
        s->closing = 1;
        s->closing_since = apr_time_now();
        wslay_event_queue_close(s->ws, code, (const uint8_t *)why, strlen(why));
    }
}

static void ws_frame(wslay_event_context_ptr ws,
                     const struct wslay_event_on_frame_recv_start_arg *arg, void *baton)
{
    stream_t *s = baton;

    (void)ws;
    s->data_frame = !wslay_is_ctrl_frame(arg->opcode);
    if (arg->opcode == WSLAY_TEXT_FRAME) {
        close_queue(s, WSLAY_CODE_UNSUPPORTED_DATA, "only binary frames");
    }
}

/** Payload of the client, piece by piece; ws_recv() has seen to it that there is room. */
static void ws_chunk(wslay_event_context_ptr ws,
                     const struct wslay_event_on_frame_recv_chunk_arg *arg, void *baton)
{
    stream_t *s = baton;

    (void)ws;
    if (!s->data_frame || s->closing ||
        arg->data_length > sizeof(s->to_backend) - s->to_backend_len) {
        return;
    }
    memcpy(s->to_backend + s->to_backend_len, arg->data, arg->data_length);
    s->to_backend_len += arg->data_length;
    if (s->attached && persona_rfb_client(&s->rfb, arg->data, arg->data_length)) {
        persona_attach_input(s->attached);
    }
}

/* ---- the client's side ---- */

/** Let the core filter write what it holds, as far as the socket takes it. */
static void output_push(stream_t *s)
{
    ap_filter_t *last = s->c->output_filters;

    while (last->next) {
        last = last->next;
    }
    if (last->frec->filter_func.out_func(last, NULL) != APR_SUCCESS || s->c->aborted) {
        s->client_gone = 1;
    }
}

static void client_write(stream_t *s)
{
    if (s->c->data_in_output_filters) {
        output_push(s);
    }
    while (!s->client_gone && !s->c->data_in_output_filters && wslay_event_want_write(s->ws)) {
        if (wslay_event_send(s->ws) != 0) {
            s->client_gone = 1;
            return;
        }
        s->out_len = 0;
        if (APR_BRIGADE_EMPTY(s->out)) {
            return;
        }
        if (ap_pass_brigade(s->c->output_filters, s->out) != APR_SUCCESS || s->c->aborted) {
            s->client_gone = 1;
        }
        apr_brigade_cleanup(s->out);
        if (!s->client_gone && s->c->data_in_output_filters) {
            output_push(s);
        }
    }
}

static void client_keep(stream_t *s)
{
    struct wslay_event_msg ping = {.opcode = WSLAY_PING};
    apr_time_t now = apr_time_now();

    if (now - s->heard > SILENCE) {
        s->client_gone = 1;
    }
    else if (!s->closing && now - s->heard > PING && now - s->pinged > PING) {
        s->pinged = now;
        wslay_event_queue_msg(s->ws, &ping);
    }
}

/* ---- the backend's side ---- */

/** Begin to connect; the poll loop sees how it ends. */
static void backend_connect(stream_t *s)
{
    const persona_record_t *record = s->visit->record;
    apr_sockaddr_t *address;

    if (apr_sockaddr_info_get(&address, record->address, APR_UNSPEC, (apr_port_t)record->port, 0,
                              s->r->pool) != APR_SUCCESS) {
        return;
    }
    s->backend_fd =
        socket(address->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (s->backend_fd < 0) {
        return;
    }
    setsockopt(s->backend_fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    setsockopt(s->backend_fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
    if (connect(s->backend_fd, (struct sockaddr *)&address->sa, address->salen) &&
        errno != EINPROGRESS) {
        close(s->backend_fd);
        s->backend_fd = -1;
    }
}

/** The instance does not answer, or hung up. */
static void backend_lost(stream_t *s, const char *why)
{
    if (s->backend_fd >= 0) {
        close(s->backend_fd);
        s->backend_fd = -1;
    }
    if (s->closing) {
        return;
    }
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, s->r, "the screen of instance %s (session %.16s) %s",
                  s->visit->record->instance, s->visit->session, why);
    persona_visit_condemn(s->visit, why);
    close_queue(s, persona_attach_ended(s->attached) ? CLOSE_ENDED : CLOSE_BROKEN, why);
}

static void backend_connected(stream_t *s, short events)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (events & (POLLOUT | POLLERR | POLLHUP)) {
        getsockopt(s->backend_fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error) {
            backend_lost(s, "cannot be reached");
        }
        else {
            s->connected = 1;
        }
    }
    else if (apr_time_now() - s->began > s->visit->conf->timeout) {
        backend_lost(s, "did not accept in time");
    }
}

static void backend_write(stream_t *s)
{
    ssize_t n = send(s->backend_fd, s->to_backend, s->to_backend_len, MSG_NOSIGNAL);

    if (n > 0) {
        s->to_backend_len -= (apr_size_t)n;
        memmove(s->to_backend, s->to_backend + n, s->to_backend_len);
    }
    else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        backend_lost(s, "was closed");
    }
}

static void backend_read(stream_t *s)
{
    struct wslay_event_msg message = {.opcode = WSLAY_BINARY_FRAME,
                                      .msg = (const uint8_t *)s->from_backend};
    ssize_t n = recv(s->backend_fd, s->from_backend, sizeof(s->from_backend), 0);

    if (n > 0) {
        message.msg_length = (size_t)n;
        if (wslay_event_queue_msg(s->ws, &message)) {
            s->closing = 1;
            s->closing_since = apr_time_now();
        }
    }
    else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        backend_lost(s, "was closed");
    }
}

/* ---- the loop ---- */

static int may_read_backend(const stream_t *s)
{
    return s->connected && s->open && !s->closing && !s->c->data_in_output_filters &&
           !wslay_event_want_write(s->ws);
}

static void turn(stream_t *s)
{
    struct pollfd fds[2] = {{.fd = s->client_fd}, {.fd = s->backend_fd}};

    fds[0].events =
        (short)((sizeof(s->to_backend) - s->to_backend_len >= CHUNK ? POLLIN : 0) |
                (s->c->data_in_output_filters || wslay_event_want_write(s->ws) ? POLLOUT : 0));
    if (s->backend_fd >= 0) {
        fds[1].events = (short)((may_read_backend(s) ? POLLIN : 0) |
                                (!s->connected || (s->open && s->to_backend_len) ? POLLOUT : 0));
    }
    if (poll(fds, fds[1].events ? 2 : 1, s->open || s->closing ? TURN : 0) < 0 && errno != EINTR) {
        s->client_gone = 1;
        return;
    }
    if (fds[0].revents & POLLNVAL) {
        s->client_gone = 1;
        return;
    }
    if (s->backend_fd >= 0 && !s->connected) {
        backend_connected(s, fds[1].revents);
    }
    else if (s->backend_fd >= 0 && fds[1].revents & (POLLIN | POLLHUP | POLLERR) &&
             may_read_backend(s)) {
        backend_read(s);
    }
    /* not only after POLLIN: the TLS filter may hold bytes that poll() does not see */
    if (wslay_event_get_read_enabled(s->ws) && wslay_event_recv(s->ws) != 0) {
        s->client_gone = 1;
    }
    if (s->backend_fd >= 0 && s->connected && s->open && s->to_backend_len) {
        backend_write(s);
    }
    client_keep(s);
    client_write(s);
}

/** The person's files come first: not a byte of the screen before they are there. */
static void home_turn(stream_t *s)
{
    persona_visit_e outcome;

    s->visit->deadline = apr_time_now() + HOME_TURN;
    outcome = persona_visit_home(s->visit);
    if (outcome == PERSONA_VISIT_READY) {
        s->open = 1;
    }
    else if (outcome == PERSONA_VISIT_HOME) {
        close_queue(s, CLOSE_HOME, "your files cannot be reached");
    }
    else if (outcome == PERSONA_VISIT_ENDED) {
        close_queue(s, CLOSE_ENDED, "the session has ended");
    }
    else if (apr_time_now() - s->began > HOME_MAX) {
        close_queue(s, CLOSE_HOME, "your files could not be attached in time");
    }
}

static int parted(const stream_t *s)
{
    if (s->client_gone) {
        return 1;
    }
    if (wslay_event_get_close_sent(s->ws) && wslay_event_get_close_received(s->ws)) {
        return !s->c->data_in_output_filters;
    }
    return s->closing && apr_time_now() - s->closing_since > PARTING;
}

static void run(stream_t *s, persona_visit_e outcome)
{
    if (outcome == PERSONA_VISIT_READY) {
        s->attached = persona_attach(s->visit->record, NULL);
        backend_connect(s);
        if (s->backend_fd < 0) {
            backend_lost(s, "cannot be reached");
        }
    }
    else {
        close_queue(s,
                    outcome == PERSONA_VISIT_ENDED  ? CLOSE_ENDED
                    : outcome == PERSONA_VISIT_DOWN ? CLOSE_LATER
                                                    : CLOSE_NONE,
                    "there is no running session");
    }
    while (!parted(s)) {
        if (s->attached && !s->open && !s->closing) {
            home_turn(s);
        }
        turn(s);
        if (s->attached && !s->closing && persona_attach_ended(s->attached)) {
            close_queue(s, CLOSE_ENDED, "the session has ended");
        }
    }
    if (s->attached) {
        persona_detach(s->attached);
    }
    if (s->backend_fd >= 0) {
        close(s->backend_fd);
    }
}

/* ---- the request ---- */

/** 0, or the status to refuse with. */
static int handshake_check(request_rec *r)
{
    const char *version = apr_table_get(r->headers_in, "Sec-WebSocket-Version");
    const char *key = apr_table_get(r->headers_in, "Sec-WebSocket-Key");

    if (r->method_number != M_GET || r->header_only || r->connection->master ||
        r->proto_num < HTTP_VERSION(1, 1) ||
        !persona_websocket_offers(apr_table_get(r->headers_in, "Upgrade"), "websocket") ||
        !persona_websocket_offers(apr_table_get(r->headers_in, "Connection"), "upgrade") ||
        !version || strcmp(version, "13")) {
        apr_table_setn(r->err_headers_out, "Upgrade", "websocket");
        apr_table_setn(r->err_headers_out, "Sec-WebSocket-Version", "13");
        return HTTP_UPGRADE_REQUIRED;
    }
    if (!key || !persona_websocket_accept(key, r->pool)) {
        return HTTP_BAD_REQUEST;
    }
    if (!persona_same_origin(r)) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, "a page of another site asked for a stream");
        return HTTP_FORBIDDEN;
    }
    return 0;
}

static void handshake(request_rec *r)
{
    conn_rec *c = r->connection;

    apr_table_clear(r->headers_out);
    apr_table_setn(r->headers_out, "Upgrade", "websocket");
    apr_table_setn(r->headers_out, "Connection", "Upgrade");
    apr_table_setn(
        r->headers_out, "Sec-WebSocket-Accept",
        persona_websocket_accept(apr_table_get(r->headers_in, "Sec-WebSocket-Key"), r->pool));
    if (persona_websocket_offers(apr_table_get(r->headers_in, "Sec-WebSocket-Protocol"),
                                 "binary")) {
        apr_table_setn(r->headers_out, "Sec-WebSocket-Protocol", "binary");
    }
    r->status = HTTP_SWITCHING_PROTOCOLS;
    r->status_line = NULL;
    ap_send_interim_response(r, 1);
    ap_remove_output_filter_byhandle(c->output_filters, "SSL/TLS Coalescing Filter");
    ap_remove_input_filter_byhandle(c->input_filters, "reqtimeout");
    r->input_filters = r->proto_input_filters = c->input_filters;
    r->output_filters = r->proto_output_filters = c->output_filters;
    c->keepalive = AP_CONN_CLOSE;
}

int persona_stream_handler(persona_visit_t *visit)
{
    static const struct wslay_event_callbacks callbacks = {ws_recv,  ws_send, NULL, ws_frame,
                                                           ws_chunk, NULL,    NULL};
    request_rec *r = visit->r;
    persona_visit_e outcome;
    stream_t *s;
    int status = handshake_check(r);

    if (status) {
        return status;
    }
    outcome = visit->record ? PERSONA_VISIT_READY : persona_visit_find(visit);
    if (outcome == PERSONA_VISIT_READY && visit->record->stream != PERSONA_STREAM_VNC) {
        return HTTP_NOT_FOUND;
    }
    s = calloc(1, sizeof(*s));
    if (!s || wslay_event_context_server_init(&s->ws, &callbacks, s)) {
        free(s);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    s->visit = visit;
    s->r = r;
    s->c = r->connection;
    s->in = apr_brigade_create(r->pool, s->c->bucket_alloc);
    s->out = apr_brigade_create(r->pool, s->c->bucket_alloc);
    s->backend_fd = -1;
    s->began = s->heard = s->pinged = apr_time_now();
    apr_os_sock_get(&s->client_fd, ap_get_conn_socket(s->c));
    wslay_event_config_set_no_buffering(s->ws, 1);
    wslay_event_config_set_max_recv_msg_length(s->ws, MESSAGE_MAX);
    persona_rfb_start(&s->rfb);
    handshake(r);
    run(s, outcome);
    r->bytes_sent = s->sent;
    wslay_event_context_free(s->ws);
    free(s);
    return OK;
}
