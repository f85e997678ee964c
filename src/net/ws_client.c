/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket client: libcurl connects (TLS and proxies included) and moves the
 * bytes, the handshake is made here, wslay reads the frames.  It reads no
 * further than one message ahead, so that what the caller does not take stays
 * with the server.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <wslay/wslay.h>

#include "base/hash.h"
#include "base/memory.h"
#include "codec/codec.h"
#include "net/client.h"
#include "net/handshake.h"
#include "net/target.h"
#include "os/clock.h"

enum {
	MAX_HEAD = 16 << 10,
	MAX_REFUSAL = 4 << 10, /* bytes of the body of a refusal, for the sentence */
	MAX_MESSAGE = 16 << 20,
	ENDING_ASK_MS = 200,
};

struct ws_client {
	struct target target;
	wslay_event_context_ptr wslay;
	curl_socket_t fd;
	bool (*ending)(void *arg); /* asked until it is open; may be NULL */
	void *ending_arg;
	bool given_up;       /* as `ending` said */
	struct buf early;    /* read behind the server's handshake */
	struct buf messages; /* each a size_t and its bytes */
	bool lost;           /* no more bytes will come or go */
	bool closed;         /* the server sent a close */
	unsigned code;
	char reason[124];
};

static int64_t now_ms(void)
{
	return clock_mono_ns(clock_real()) / NS_PER_MS;
}

/* Wait until the socket is ready for `events`: false when the time is over. */
static bool wait_ready(struct ws_client *w, short events, int64_t until)
{
	struct pollfd p = {.fd = w->fd, .events = events};
	int r;

	do {
		int64_t left = until - now_ms();
		r = poll(&p, 1, left > 0 ? (int)(left < 1 << 30 ? left : 1 << 30) : 0);
	} while (r < 0 && errno == EINTR);
	return r > 0;
}

/* Handshake */

static bool gives_up(struct ws_client *w)
{
	w->given_up |= w->ending && w->ending(w->ending_arg);
	return w->given_up;
}

static int on_progress(
	void *arg, curl_off_t down, curl_off_t downloaded, curl_off_t up, curl_off_t uploaded)
{
	return gives_up(arg);
}

/* As wait_ready, until it is given up too. */
static bool wait_opening(struct ws_client *w, short events, int64_t until)
{
	while (!gives_up(w)) {
		int64_t now = now_ms(), slice = now + ENDING_ASK_MS;

		if (wait_ready(w, events, slice < until ? slice : until))
			return true;
		if (slice >= until)
			return false;
	}
	return false;
}

static int open_error(struct ws_client *w, CURLcode code, struct error *e)
{
	if (w->given_up)
		return error_set(e, ERR_CANCELLED, "%s: cancelled", w->target.where);
	return target_error(&w->target, code == CURLE_AGAIN ? CURLE_OPERATION_TIMEDOUT : code, e);
}

static int send_all(struct ws_client *w, struct str s, int64_t until, struct error *e)
{
	while (s.n) {
		size_t n = 0;
		CURLcode code = curl_easy_send(w->target.curl, s.p, s.n, &n);
		if (code == CURLE_AGAIN && wait_opening(w, POLLOUT, until))
			continue;
		if (code != CURLE_OK)
			return open_error(w, code, e);
		s = str_sub(s, n, s.n);
	}
	return 0;
}

/* Some more bytes: 1, or 0 at the end of the stream. */
static int read_some(struct ws_client *w, struct buf *to, int64_t until, struct error *e)
{
	for (;;) {
		size_t n = 0;
		CURLcode code = curl_easy_recv(w->target.curl, buf_reserve(to, 4096), 4096, &n);
		if (code == CURLE_AGAIN && wait_opening(w, POLLIN, until))
			continue;
		if (code != CURLE_OK)
			return open_error(w, code, e);
		to->n += n;
		return n > 0;
	}
}

static void put_basic(struct buf *out, const char *user)
{
	buf_c(out, "Authorization: Basic ");
	base64_put(out, str_c(user));
	buf_c(out, "\r\n");
}

static void make_request(struct ws_client *w, struct buf *out, const char *path, struct str key)
{
	const struct target *t = &w->target;

	buf_printf(out, "GET %s%s HTTP/1.1\r\nHost: %s\r\n", t->path, path, t->host);
	buf_printf(out, "Upgrade: websocket\r\nConnection: Upgrade\r\n");
	buf_printf(out, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %.*s\r\n", STR_ARG(key));
	for (const struct curl_slist *at = t->headers; at; at = at->next)
		buf_printf(out, "%s\r\n", at->data);
	if (t->user)
		put_basic(out, t->user);
	buf_c(out, "\r\n");
}

static struct str find_header(struct str head, const char *name)
{
	while (head.p) {
		struct str value = str_trim(str_cut(&head, '\n')), found = str_cut(&value, ':');
		if (value.p && str_eq_nocase(found, str_c(name)))
			return str_trim(value);
	}
	return STR_NONE;
}

/* Any status but 101: the sentence is in the body. */
static int refused(
	struct ws_client *w, struct str head, unsigned status, int64_t until, struct error *e)
{
	struct buf *body = &w->early;
	uint64_t length = MAX_REFUSAL;
	struct str text;
	int code = ERR_NET;

	str_u64(find_header(head, "Content-Length"), &length);
	if (length > MAX_REFUSAL)
		length = MAX_REFUSAL;
	while (body->n < length && read_some(w, body, until, NULL) > 0)
		;
	text = str_trim(str_sub(buf_view(body), 0, length));
	/* An error is one line. */
	for (size_t i = 0; i < text.n; i++)
		if ((unsigned char)text.p[i] < ' ')
			body->p[text.p - body->p + (ptrdiff_t)i] = ' ';
	if (status == 400 && text.n)
		return error_set(e, ERR_ARG, "%.*s", STR_ARG(text));
	if (status == 400)
		code = ERR_ARG;
	else if (status == 401 || status == 403)
		code = ERR_DENIED;
	return error_set(e, code, "%s: status %u%s%.*s", w->target.where, status,
		text.n ? ": " : "", STR_ARG(text));
}

static int check_head(
	struct ws_client *w, struct str head, struct str key, int64_t until, struct error *e)
{
	struct str rest = head, line = str_trim(str_cut(&rest, '\n'));
	char accept[HANDSHAKE_ACCEPT];
	uint64_t status;

	if (!str_starts(line, STR("HTTP/1.")) || !str_u64(str_sub(line, 9, 12), &status))
		return error_set(e, ERR_NET, "%s: the answer is not HTTP/1.1", w->target.where);
	if (status != 101)
		return refused(w, rest, (unsigned)status, until, e);
	handshake_accept(accept, key);
	if (!str_eq_c(find_header(rest, "Sec-WebSocket-Accept"), accept))
		return error_set(e, ERR_NET, "%s: WebSocket handshake: wrong Sec-WebSocket-Accept",
			w->target.where);
	return 0;
}

static int shake_hands(struct ws_client *w, const char *path, struct error *e)
{
	int64_t until = now_ms() + w->target.timeout_ms;
	struct buf key = {0}, request = {0}, head = {0};
	unsigned char nonce[16];
	ptrdiff_t at;
	int r;

	hash_random(nonce, sizeof nonce);
	base64_put(&key, str_make(nonce, sizeof nonce));
	make_request(w, &request, path, buf_view(&key));
	r = send_all(w, buf_view(&request), until, e);
	while (r >= 0 && (at = str_find(buf_view(&head), STR("\r\n\r\n"))) < 0) {
		if (head.n > MAX_HEAD)
			r = error_set(e, ERR_LIMIT, "%s: header of the answer is over %d bytes",
				w->target.where, MAX_HEAD);
		else if ((r = read_some(w, &head, until, e)) == 0)
			r = target_error(&w->target, CURLE_GOT_NOTHING, e);
	}
	if (r >= 0) {
		size_t n = (size_t)at + 4;
		buf_put(&w->early, head.p + n, head.n - n);
		r = check_head(w, str_make(head.p, n), buf_view(&key), until, e);
	}
	buf_fini(&key);
	buf_fini(&request);
	buf_fini(&head);
	return r < 0 ? r : 0;
}

/* Frames */

static ssize_t client_read(wslay_event_context_ptr c, uint8_t *to, size_t n, int flags, void *arg)
{
	struct ws_client *w = arg;
	CURLcode code;
	size_t got = 0;

	if (w->early.n) {
		got = n < w->early.n ? n : w->early.n;
		memcpy(to, w->early.p, got);
		buf_shift(&w->early, got);
		return (ssize_t)got;
	}
	code = w->messages.n ? CURLE_AGAIN : curl_easy_recv(w->target.curl, to, n, &got);
	if (code == CURLE_OK && got)
		return (ssize_t)got;
	w->lost = code != CURLE_AGAIN;
	wslay_event_set_error(c, w->lost ? WSLAY_ERR_CALLBACK_FAILURE : WSLAY_ERR_WOULDBLOCK);
	return -1;
}

static ssize_t client_write(
	wslay_event_context_ptr c, const uint8_t *p, size_t n, int flags, void *arg)
{
	struct ws_client *w = arg;
	size_t sent = 0;
	CURLcode code = curl_easy_send(w->target.curl, p, n, &sent);

	if (code == CURLE_OK)
		return (ssize_t)sent;
	w->lost = code != CURLE_AGAIN;
	wslay_event_set_error(c, w->lost ? WSLAY_ERR_CALLBACK_FAILURE : WSLAY_ERR_WOULDBLOCK);
	return -1;
}

static int make_mask(wslay_event_context_ptr c, uint8_t *to, size_t n, void *arg)
{
	hash_random(to, n);
	return 0;
}

static void client_message(
	wslay_event_context_ptr c, const struct wslay_event_on_msg_recv_arg *m, void *arg)
{
	struct ws_client *w = arg;

	if (m->opcode == WSLAY_CONNECTION_CLOSE) {
		struct str reason = str_make(m->msg, m->msg_length);
		w->closed = true;
		w->code = m->status_code;
		if (m->status_code) /* the message starts with the code's two bytes */
			reason = str_sub(reason, 2, reason.n);
		str_copy(reason, w->reason, sizeof w->reason);
	} else if (!wslay_is_ctrl_frame(m->opcode)) {
		buf_put(&w->messages, &m->msg_length, sizeof m->msg_length);
		buf_put(&w->messages, m->msg, m->msg_length);
	}
}

int ws_client_open(struct ws_client **out, const struct http_client_options *o, const char *path,
	struct error *e)
{
	static const struct wslay_event_callbacks callbacks = {
		.recv_callback = client_read,
		.send_callback = client_write,
		.genmask_callback = make_mask,
		.on_msg_recv_callback = client_message,
	};
	struct ws_client *w = xcalloc(1, sizeof *w);
	int r = target_init(&w->target, o, e);
	CURLcode code;

	w->ending = o->ending;
	w->ending_arg = o->ending_arg;
	if (r < 0)
		goto fail;
	curl_easy_setopt(w->target.curl, CURLOPT_URL, w->target.base);
	curl_easy_setopt(w->target.curl, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(w->target.curl, CURLOPT_HTTPPROXYTUNNEL, 1L);
	curl_easy_setopt(w->target.curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(w->target.curl, CURLOPT_XFERINFODATA, w);
	curl_easy_setopt(w->target.curl, CURLOPT_NOPROGRESS, 0L);
	code = curl_easy_perform(w->target.curl);
	if (code == CURLE_OK)
		code = curl_easy_getinfo(w->target.curl, CURLINFO_ACTIVESOCKET, &w->fd);
	r = code == CURLE_OK ? shake_hands(w, path, e) : open_error(w, code, e);
	if (r < 0)
		goto fail;
	r = wslay_event_context_client_init(&w->wslay, &callbacks, w);
	assert(r == 0);
	wslay_event_config_set_max_recv_msg_length(w->wslay, MAX_MESSAGE);
	*out = w;
	return 0;
fail:
	ws_client_free(w);
	return r;
}

static bool pop_message(struct ws_client *w, struct buf *out)
{
	size_t n;

	if (w->messages.n == 0)
		return false;
	memcpy(&n, w->messages.p, sizeof n);
	buf_put(out, w->messages.p + sizeof n, n);
	buf_shift(&w->messages, sizeof n + n);
	return true;
}

/* The sentence for a connection that is over. */
static int over(const struct ws_client *w, struct error *e)
{
	unsigned sent = wslay_event_get_status_code_sent(w->wslay);

	if (w->closed)
		return error_set(e, ERR_CLOSED, "%s: closed by the server: %u %s", w->target.where,
			w->code, w->reason);
	if (wslay_event_get_close_sent(w->wslay))
		return error_set(e, ERR_NET, "%s: the server broke the WebSocket protocol (%u)",
			w->target.where, sent);
	return error_set(e, ERR_NET, "%s: connection lost", w->target.where);
}

int ws_client_next(struct ws_client *w, struct buf *out, unsigned ms, struct error *e)
{
	int64_t until = now_ms() + ms;

	for (;;) {
		bool broken;
		short events = POLLIN;
		if (pop_message(w, out))
			return 0;
		if (w->closed || w->lost)
			return over(w, e);
		broken = wslay_event_recv(w->wslay) != 0;
		/* Pongs, and the answer to a close. */
		if (wslay_event_want_write(w->wslay))
			broken |= wslay_event_send(w->wslay) != 0;
		if (w->messages.n || w->closed)
			continue;
		if (broken || w->lost || !wslay_event_want_read(w->wslay)) {
			w->lost = true;
			return over(w, e);
		}
		if (wslay_event_want_write(w->wslay))
			events |= POLLOUT;
		if (!wait_ready(w, events, until))
			return error_set(
				e, ERR_TIMEOUT, "%s: no message within %u ms", w->target.where, ms);
	}
}

int ws_client_fd(const struct ws_client *w)
{
	return (int)w->fd;
}

void ws_client_free(struct ws_client *w)
{
	if (!w)
		return;
	if (w->wslay) {
		/* A courtesy: nobody waits for the answer. */
		if (!w->lost && !w->closed &&
			wslay_event_queue_close(w->wslay, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0) == 0)
			wslay_event_send(w->wslay);
		wslay_event_context_free(w->wslay);
	}
	target_fini(&w->target);
	buf_fini(&w->early);
	buf_fini(&w->messages);
	free(w);
}
