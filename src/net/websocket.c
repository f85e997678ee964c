/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSockets of the server: upgraded sockets on one loop.
 *
 * wslay reads frames and makes the control frames (pong, close); text frames
 * are framed here, by ws_send on the caller's thread, right behind what waits
 * already.  So a frame is copied once, and one send takes many of them.
 *
 *	ws_send --(lock)--> out --swap--> sending --send()--> socket
 *	                    wslay control frames --^ (into out, under the lock)
 *
 * `queued` counts both buffers; it is charged to the server's account.
 *
 * Under TLS `fd` is one end of a socket pair, whose other end libmicrohttpd
 * joins to the session.  What comes from clients, which is little, goes that
 * way; what is sent goes to the session right here: libmicrohttpd (0.9.75) has
 * no memory left for it after the 101 and makes records of four bytes, which
 * took 40 s for 30 MB.  GnuTLS allows one thread to send while another
 * receives.  Session and socket stay until MHD_UPGRADE_ACTION_CLOSE.
 *
 * Life: http_upgrade makes a ws and counts it in the hub; libmicrohttpd sends
 * 101 and calls on_upgrade, which posts it to the loop (`start`); `end` leaves
 * the loop, calls closed, and posts the free, so that it runs behind whatever
 * was posted for this ws before.
 */
#include <assert.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <wslay/wslay.h>

#include "net/handshake.h"
#include "net/socket.h"
#include "net/ws_core.h"

enum {
	WS_MAX_MESSAGE = 64 << 10, /* from the client; larger is closed with 1009 */
	WS_READ_TURN = 256 << 10,  /* bytes of one socket before the others get their turn */
	WS_CLOSE_MS = 5000,        /* for the client to answer our close */
	WS_RECORD = 16 << 10,      /* of TLS */
};

static void flush(struct ws *w);
static void end(struct ws *w);

/* Queue: any thread */

static size_t frame_head(unsigned char head[10], int opcode, size_t n)
{
	head[0] = (unsigned char)(0x80 | opcode);
	if (n < 126) {
		head[1] = (unsigned char)n;
		return 2;
	}
	if (n < 65536) {
		head[1] = 126;
		head[2] = (unsigned char)(n >> 8);
		head[3] = (unsigned char)n;
		return 4;
	}
	head[1] = 127;
	for (int i = 0; i < 8; i++)
		head[2 + i] = (unsigned char)((uint64_t)n >> (56 - 8 * i));
	return 10;
}

static void on_flush(void *arg)
{
	struct ws *w = arg;

	lock_take(&w->lock);
	w->posted = false;
	lock_drop(&w->lock);
	if (!w->over)
		flush(w);
}

static void post_flush(struct ws *w) REQUIRES(w->lock)
{
	if (!w->posted)
		w->posted = loop_post(w->hub->loop, on_flush, w);
}

/* Let what was queued, or the end, go out. */
static void wake(struct ws *w) REQUIRES(w->lock)
{
	if (w->stream)
		stream_wake(w);
	else
		post_flush(w);
}

static int queue(struct ws *w, const void *head, size_t n_head, struct str bytes)
{
	size_t n = n_head + bytes.n;
	int r = 0;

	lock_take(&w->lock);
	if (w->ended) {
		r = ERR_CLOSED;
	} else if (w->queued && w->queued + n > WS_MAX_QUEUE) {
		r = ERR_BUSY;
	} else if (w->queued && account_charge(w->hub->account, n) < 0) {
		r = ERR_BUSY;
	} else {
		/* One message at least: those that do not read and have the account full of theirs
		 * hold up none that does. */
		if (w->queued == 0)
			account_force(w->hub->account, n);
		buf_put(&w->out, head, n_head);
		buf_str(&w->out, bytes);
		w->queued += n;
		wake(w);
	}
	lock_drop(&w->lock);
	return r;
}

static int send_frame(struct ws *w, int opcode, struct str bytes)
{
	unsigned char head[10];

	return queue(w, head, w->stream ? 0 : frame_head(head, opcode, bytes.n), bytes);
}

int ws_send(struct ws *w, struct str text)
{
	return send_frame(w, WSLAY_TEXT_FRAME, text);
}

int ws_send_binary(struct ws *w, struct str bytes)
{
	return send_frame(w, WSLAY_BINARY_FRAME, bytes);
}

void ws_close(struct ws *w, unsigned code, const char *reason)
{
	lock_take(&w->lock);
	if (!w->ended) {
		w->ended = true;
		w->close_asked = true;
		w->close_code = code;
		str_copy(str_c(reason), w->close_reason, sizeof w->close_reason);
		wake(w);
	}
	lock_drop(&w->lock);
}

size_t ws_queued(struct ws *w)
{
	return w->queued;
}

/* Wire: loop's thread */

static ssize_t take_bytes(wslay_event_context_ptr c, uint8_t *to, size_t n, int flags, void *arg)
{
	struct ws *w = arg;
	ssize_t got;

	if (w->early.n) {
		got = (ssize_t)(n < w->early.n ? n : w->early.n);
		memcpy(to, w->early.p, (size_t)got);
		buf_shift(&w->early, (size_t)got);
		return got;
	}
	if (n > w->budget)
		n = w->budget;
	got = n ? recv(w->fd, to, n, MSG_DONTWAIT) : 0;
	if (n == 0 || (got < 0 && (errno == EAGAIN || errno == EINTR))) {
		wslay_event_set_error(c, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (got <= 0) {
		wslay_event_set_error(c, WSLAY_ERR_CALLBACK_FAILURE);
		return -1;
	}
	w->budget -= (size_t)got;
	w->heard_ms = uv_now(loop_uv(w->hub->loop));
	return got;
}

/* A control frame of wslay: into the queue, whose lock send_controls holds. */
static ssize_t put_bytes(
	wslay_event_context_ptr c, const uint8_t *p, size_t n, int flags, void *arg)
{
	struct ws *w = arg;

	buf_put(&w->out, p, n);
	w->queued += n;
	account_force(w->hub->account, n);
	return (ssize_t)n;
}

static void begin_close(struct ws *w)
{
	lock_take(&w->lock);
	w->ended = true;
	lock_drop(&w->lock);
	w->closing = true;
	w->close_until_ms = uv_now(loop_uv(w->hub->loop)) + WS_CLOSE_MS;
}

static void on_message(
	wslay_event_context_ptr c, const struct wslay_event_on_msg_recv_arg *m, void *arg)
{
	struct ws *w = arg;

	if (m->opcode == WSLAY_TEXT_FRAME && w->events.text)
		w->events.text(w, str_make(m->msg, m->msg_length), w->arg);
	if (m->opcode != WSLAY_CONNECTION_CLOSE)
		return;
	/* wslay has queued the answer. */
	begin_close(w);
}

/* Make the control frames that wslay has waiting, and the close that was asked for. */
static bool send_controls(struct ws *w)
{
	bool close_now;
	int r = 0;

	lock_take(&w->lock);
	close_now = w->close_asked && !w->closing;
	if (close_now) {
		w->closing = true;
		w->close_until_ms = uv_now(loop_uv(w->hub->loop)) + WS_CLOSE_MS;
		r = wslay_event_queue_close(w->wslay, (uint16_t)w->close_code,
			(const uint8_t *)w->close_reason, strlen(w->close_reason));
	}
	if (r == 0 && wslay_event_want_write(w->wslay))
		r = wslay_event_send(w->wslay);
	lock_drop(&w->lock);
	return r == 0;
}

/* The buffer that is to be sent next: false when nothing is left. */
static bool next_buffer(struct ws *w)
{
	struct buf empty;

	if (w->sent < w->sending.n)
		return true;
	w->sent = 0;
	buf_clear(&w->sending);
	if (w->sending.cap > WS_KEEP_BUFFER)
		buf_fini(&w->sending);
	empty = w->sending;
	lock_take(&w->lock);
	w->sending = w->out;
	w->out = empty;
	lock_drop(&w->lock);
	return w->sending.n > 0;
}

/* After EAGAIN, GnuTLS wants the same bytes again: they stay where they are until all are out. */
static ssize_t send_tls(struct ws *w, const char *p, size_t n)
{
	ssize_t sent = gnutls_record_send(w->tls, p, n < WS_RECORD ? n : WS_RECORD);

	if (sent >= 0)
		return sent;
	errno = sent == GNUTLS_E_AGAIN ? EAGAIN : sent == GNUTLS_E_INTERRUPTED ? EINTR : EPIPE;
	return -1;
}

/* 1: all is out; 0: the socket is full; -1: it is broken. */
static int send_bytes(struct ws *w)
{
	while (next_buffer(w)) {
		const char *p = w->sending.p + w->sent;
		size_t left = w->sending.n - w->sent;
		ssize_t n = w->tls ? send_tls(w, p, left)
				   : send(w->fd, p, left, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		w->sent += (size_t)n;
		w->queued -= (size_t)n;
		account_release(w->hub->account, (size_t)n);
	}
	return 1;
}

static void on_ready(uv_poll_t *poll, int status, int events);

static void on_wire(uv_poll_t *poll, int status, int events)
{
	struct ws *w = poll->data;

	/* libmicrohttpd tells of a client that left when something else happens next. */
	if (status < 0 || events & UV_DISCONNECT) {
		end(w);
		return;
	}
	w->heard_ms = uv_now(loop_uv(w->hub->loop));
	flush(w);
}

static void watch_wire(struct ws *w, bool full)
{
	int events = UV_DISCONNECT | (full ? UV_WRITABLE : 0);

	if (events != w->wire_watched && uv_poll_start(&w->wire, events, on_wire) == 0)
		w->wire_watched = events;
}

static void watch(struct ws *w, bool full)
{
	/* A client that asks but does not read is not read: its pongs would pile up. */
	int events = (w->queued <= WS_MAX_QUEUE ? UV_READABLE : 0);

	if (!w->tls)
		events |= full ? UV_WRITABLE : 0;
	else
		watch_wire(w, full);
	if (events != w->watched && uv_poll_start(&w->poll, events, on_ready) == 0)
		w->watched = events;
}

/* wslay is done.  A client that broke the protocol may be in the middle of sending: closing now
 * would reset the connection, and the close frame with the code would be lost. */
static void finish_frames(struct ws *w)
{
	if (wslay_event_get_close_received(w->wslay)) {
		end(w);
		return;
	}
	if (w->lingering)
		return;
	begin_close(w);
	w->lingering = true;
	shutdown(w->wire_fd, SHUT_WR);
	watch(w, false);
}

static void linger(struct ws *w)
{
	char waste[16 << 10];
	ssize_t n = recv(w->fd, waste, sizeof waste, MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		end(w);
}

static void flush(struct ws *w)
{
	bool had = w->queued > 0;
	int r;

	if (!send_controls(w) || (r = send_bytes(w)) < 0) {
		end(w);
		return;
	}
	if (r == 1 && !wslay_event_want_read(w->wslay) && !wslay_event_want_write(w->wslay)) {
		finish_frames(w);
		return;
	}
	watch(w, r == 0);
	if (had && r == 1 && !w->closing && w->events.drained)
		w->events.drained(w, w->arg);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct ws *w = poll->data;

	if (status < 0) {
		end(w);
		return;
	}
	if (w->lingering) {
		linger(w);
		return;
	}
	/* That the socket has room again means that the client has read. */
	if (events & UV_WRITABLE)
		w->heard_ms = uv_now(loop_uv(w->hub->loop));
	w->budget = WS_READ_TURN;
	if (events & UV_READABLE && wslay_event_want_read(w->wslay) &&
		wslay_event_recv(w->wslay) != 0) {
		end(w);
		return;
	}
	flush(w);
}

/* Life: loop's thread but where said */

struct ws *ws_new(struct ws_hub *h, const struct ws_events *events, void *arg)
{
	struct ws *w = xcalloc(1, sizeof *w);

	w->hub = h;
	w->events = *events;
	w->arg = arg;
	w->fd = -1;
	list_init(&w->node);
	lock_init(&w->lock);
	return w;
}

void ws_free(struct ws *w)
{
	lock_fini(&w->lock);
	free(w);
}

static void leave(void *arg)
{
	struct ws *w = arg;
	struct ws_hub *h = w->hub;

	ws_free(w);
	lock_take(&h->lock);
	h->n--;
	cond_broadcast(&h->changed);
	lock_drop(&h->lock);
}

void ws_finish(void *arg)
{
	struct ws *w = arg;
	bool posted;

	lock_take(&w->lock);
	w->ended = true;
	lock_drop(&w->lock);
	w->over = true;
	list_remove(&w->node);
	w->events.closed(w, w->arg);
	if (w->wslay)
		wslay_event_context_free(w->wslay);
	account_release(w->hub->account, w->queued);
	buf_fini(&w->early);
	buf_fini(&w->sending);
	buf_fini(&w->out);
	posted = loop_post(w->hub->loop, leave, w);
	assert(posted);
}

static void on_unwatched(uv_handle_t *handle)
{
	struct ws *w = handle->data;

	if (--w->n_polls)
		return;
	MHD_upgrade_action(w->handle, MHD_UPGRADE_ACTION_CLOSE);
	ws_finish(w);
}

static void end(struct ws *w)
{
	if (w->over)
		return;
	if (w->stream) {
		stream_cut(w);
		return;
	}
	w->over = true;
	list_remove(&w->node);
	uv_close((uv_handle_t *)&w->poll, on_unwatched);
	if (w->tls)
		uv_close((uv_handle_t *)&w->wire, on_unwatched);
}

void ws_hub_entered(struct ws *w)
{
	struct ws_hub *h = w->hub;
	bool stopping, cut;

	lock_take(&h->lock);
	stopping = h->stopping;
	cut = h->cut;
	lock_drop(&h->lock);
	if (cut)
		end(w);
	else if (stopping)
		ws_close(w, WSLAY_CODE_GOING_AWAY, "the server is stopping");
}

static void start(void *arg)
{
	static const struct wslay_event_callbacks callbacks = {
		.recv_callback = take_bytes,
		.send_callback = put_bytes,
		.on_msg_recv_callback = on_message,
	};
	struct ws *w = arg;
	struct ws_hub *h = w->hub;
	int r;

	w->heard_ms = w->pinged_ms = uv_now(loop_uv(h->loop));
	r = uv_poll_init(loop_uv(h->loop), &w->poll, w->fd);
	assert(r == 0);
	w->poll.data = w;
	w->n_polls = 1;
	if (w->tls) {
		r = uv_poll_init(loop_uv(h->loop), &w->wire, w->wire_fd);
		assert(r == 0);
		w->wire.data = w;
		w->n_polls = 2;
	}
	r = wslay_event_context_server_init(&w->wslay, &callbacks, w);
	assert(r == 0);
	wslay_event_config_set_max_recv_msg_length(w->wslay, WS_MAX_MESSAGE);
	list_append(&h->open, &w->node);
	w->events.open(w, w->arg);
	ws_hub_entered(w);
	if (!w->over)
		on_ready(&w->poll, 0, UV_READABLE); /* what came behind the handshake */
}

/* A connection's thread. */
static void on_upgrade(void *arg, struct MHD_Connection *connection, void *request,
	const char *early, size_t n_early, int fd, struct MHD_UpgradeResponseHandle *handle)
{
	struct http_request *r = request;
	struct ws *w = arg;
	bool posted;

	/* Small frames go out at once; under TLS `fd` is one end of a socket pair, hence r->fd. */
	socket_no_delay(r->fd);
	w->fd = fd;
	w->wire_fd = r->fd;
	if (r->server->o.tls)
		w->tls = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION)
				 ->tls_session;
	w->handle = handle;
	buf_put(&w->early, early, n_early);
	r->ws = NULL;
	request_leave(r);
	posted = loop_post(w->hub->loop, start, w);
	assert(posted);
}

void ws_abandon(struct ws *w)
{
	bool posted = loop_post(w->hub->loop, ws_finish, w);

	assert(posted);
}

static const char *handshake_error(struct http_request *r, struct str *key)
{
	struct str text;

	if (!http_header(r, "Upgrade", &text) || !handshake_has_token(text, "websocket"))
		return "this path speaks WebSocket: the request has no 'Upgrade: websocket'";
	if (!http_header(r, "Connection", &text) || !handshake_has_token(text, "upgrade"))
		return "WebSocket handshake: no 'Connection: Upgrade'";
	if (!http_header(r, "Sec-WebSocket-Version", &text) || !str_eq(text, STR("13")))
		return "WebSocket handshake: only version 13 is spoken here";
	if (!http_header(r, "Sec-WebSocket-Key", key) || !handshake_key_valid(*key))
		return "WebSocket handshake: Sec-WebSocket-Key is not 16 bytes in base64";
	if (strcmp(r->method, "GET") != 0)
		return "WebSocket handshake: the method must be GET";
	return NULL;
}

bool ws_hub_enter(struct http_request *r)
{
	struct http_server *s = r->server;
	bool alive;

	lock_take(&s->lock);
	alive = r->state != REQUEST_ORPHAN;
	if (alive) {
		lock_take(&s->hub->lock);
		s->hub->n++;
		lock_drop(&s->hub->lock);
	}
	lock_drop(&s->lock);
	return alive;
}

static void refuse_upgrade(struct http_request *r, const char *why)
{
	http_set_header(r, "Sec-WebSocket-Version", "13");
	http_replyf(r, MHD_HTTP_BAD_REQUEST, "%s", why);
}

void http_upgrade(struct http_request *r, const struct ws_events *events, void *arg)
{
	struct ws *w = ws_new(r->server->hub, events, arg);
	char accept[HANDSHAKE_ACCEPT];
	const char *why;
	struct str key;

	if (!ws_hub_enter(r)) {
		/* The loop may be gone: the one case where closed is called here. */
		events->closed(w, arg);
		ws_free(w);
		http_replyf(r, MHD_HTTP_SERVICE_UNAVAILABLE, "the server is stopping");
		return;
	}
	if ((why = handshake_error(r, &key))) {
		ws_abandon(w);
		refuse_upgrade(r, why);
		return;
	}
	handshake_accept(accept, key);
	r->status = MHD_HTTP_SWITCHING_PROTOCOLS;
	r->response = MHD_create_response_for_upgrade(on_upgrade, w);
	assert(r->response);
	MHD_add_response_header(r->response, MHD_HTTP_HEADER_UPGRADE, "websocket");
	MHD_add_response_header(r->response, "Sec-WebSocket-Accept", accept);
	r->ws = w;
	request_answered(r);
}

/* Hub */

struct ws_hub *ws_hub_new(
	struct loop *l, struct account *account, unsigned ping_ms, unsigned dead_ms)
{
	struct ws_hub *h = xcalloc(1, sizeof *h);

	h->loop = l;
	h->account = account;
	h->ping_ms = ping_ms;
	h->dead_ms = dead_ms;
	list_init(&h->open);
	lock_init(&h->lock);
	cond_init(&h->changed);
	return h;
}

void ws_hub_free(struct ws_hub *h)
{
	assert(h->n == 0);
	lock_fini(&h->lock);
	cond_fini(&h->changed);
	free(h);
}

void ws_hub_tick(struct ws_hub *h)
{
	uint64_t now = uv_now(loop_uv(h->loop));

	LIST_EACH (at, &h->open) {
		struct ws *w = CONTAINER(at, struct ws, node);
		if (w->stream) {
			stream_look(w);
		} else if (w->dead || (w->closing && now >= w->close_until_ms)) {
			end(w);
		} else if (!w->closing && now - w->heard_ms >= h->dead_ms) {
			/* In the words that Loggregator's clients know; until the next tick. */
			w->dead = true;
			ws_close(w, WSLAY_CODE_POLICY_VIOLATION,
				"Client did not respond to ping before keep-alive timeout expired.");
		} else if (!w->closing && now - w->pinged_ms >= h->ping_ms) {
			struct wslay_event_msg ping = {.opcode = WSLAY_PING};
			w->pinged_ms = now;
			if (wslay_event_queue_msg(w->wslay, &ping) == 0)
				flush(w);
		}
	}
}

static void close_all(void *arg)
{
	struct ws_hub *h = arg;

	LIST_EACH (at, &h->open)
		ws_close(CONTAINER(at, struct ws, node), WSLAY_CODE_GOING_AWAY,
			"the server is stopping");
}

static void cut_all(void *arg)
{
	struct ws_hub *h = arg;

	LIST_EACH (at, &h->open)
		end(CONTAINER(at, struct ws, node));
}

void ws_hub_stop(struct ws_hub *h)
{
	lock_take(&h->lock);
	h->stopping = true;
	lock_drop(&h->lock);
	loop_post(h->loop, close_all, h);
}

void ws_hub_wait(struct ws_hub *h, unsigned ms)
{
	int64_t step = 10, left = ms;

	lock_take(&h->lock);
	for (; h->n && left > 0; left -= step)
		cond_wait_for(&h->changed, &h->lock, step * 1000000);
	if (h->n) {
		h->cut = true;
		loop_post(h->loop, cut_all, h);
	}
	while (h->n)
		cond_wait(&h->changed, &h->lock);
	lock_drop(&h->lock);
}
