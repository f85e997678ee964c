/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  nghttp2 reads and writes frames; a stream of it is a call, which
 * hangs on the stream as its user data and ends with it.  A message that lies
 * whole in one DATA frame is handed over where it lies; of another one the
 * bytes are gathered, and charged as they come, not as its length claims.
 *
 * An answer is HEADERS, one message in DATA, and trailers; one without a
 * message is HEADERS alone ("Trailers-Only").  When it is out before the
 * client is done, the stream is reset with NO_ERROR, as HTTP/2 asks of a
 * server that needs no more of a request.
 *
 * Methods may answer at any time, within nghttp2's callbacks too: answers are
 * submitted to nghttp2 there, and written by grpc_session_next.
 */
#include "net/grpc_session.h"

#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/codec.h"

enum {
	STREAM_WINDOW = 1 << 20,
	SESSION_WINDOW = 4 << 20,
	HEADERS_MAX = 16 << 10, /* bytes of names and values of one call */
	HEADERS_FLOOD = 64 << 10,
	PATH_MAX_BYTES = 256,
	AUTHORIZATION_MAX = 8 << 10,
	SENTENCE_MAX = 500,
	PREFIX = 5,               /* of a message: is it packed, and its length */
	SCRATCH_KEEP = 64 << 10,  /* inflated: an empty buffer keeps no more memory */
	SESSION_BYTES = 16 << 10, /* of nghttp2's memory for a connection, about */
	CALL_BYTES = 1 << 10,     /* and for a stream */
	RESETS = 1000,
	RESETS_PER_S = 100, /* streams that a peer may take back */
};

enum encoding { ENCODING_IDENTITY, ENCODING_GZIP, ENCODING_OTHER };

struct grpc_call {
	struct list node; /* of session.calls */
	struct grpc_session *session;
	int32_t id;
	const struct grpc_method *method; /* NULL: of none that is known */
	void *state;
	/* What its headers told. */
	size_t header_bytes;
	struct buf path, authorization;
	enum encoding encoding;
	bool is_post, is_grpc;
	/* The message at hand. */
	uint8_t prefix[PREFIX];
	size_t n_prefix;
	uint32_t length;
	struct buf message;
	uint64_t charged, last_ms;
	/* The answer. */
	struct buf out;
	size_t out_at;
	enum grpc_status status;
	bool began;    /* `closed` is due */
	bool ended;    /* the client is done */
	bool answered; /* what comes now is thrown away */
};

struct grpc_session {
	struct grpc_session_options o;
	nghttp2_session *h2;
	struct list calls;
	size_t n_calls;
	struct buf scratch;
	uint64_t now_ms;
	uint64_t resets_ms, n_resets; /* counted down with time */
	unsigned busy;                /* within a call from outside, which writes after */
	uint32_t told;                /* why we ended it: HTTP/2's error code */
	bool greeted, stopped, hostile;
};

/* ---- answers ---- */

static nghttp2_nv header(const char *name, struct str value)
{
	return (nghttp2_nv){.name = (uint8_t *)name,
		.value = (uint8_t *)(value.p ? value.p : ""),
		.namelen = strlen(name),
		.valuelen = value.n};
}

/* As grpc-message is written: what is no printable ASCII, and "%", as %XX. */
static void put_percent(struct buf *out, const char *sentence)
{
	static const char digits[] = "0123456789ABCDEF";
	struct str s = str_sub(str_c(sentence), 0, SENTENCE_MAX);

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c >= 0x20 && c <= 0x7e && c != '%') {
			buf_char(out, (char)c);
		} else {
			buf_char(out, '%');
			buf_char(out, digits[c >> 4]);
			buf_char(out, digits[c & 15]);
		}
	}
}

static void wants_write(struct grpc_session *s)
{
	if (s->busy == 0)
		s->o.wants_write(s->o.arg);
}

static void drop_message(struct grpc_call *c)
{
	buf_fini(&c->message);
	account_release(c->session->o.account, c->charged);
	c->charged = 0;
	c->n_prefix = 0;
}

static void answered(struct grpc_call *c)
{
	c->answered = true;
	drop_message(c);
	wants_write(c->session);
}

static ssize_t read_answer(nghttp2_session *h2, int32_t id, uint8_t *to, size_t most,
	uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct grpc_call *c = source->ptr;
	size_t n = c->out.n - c->out_at;
	char status[16];
	nghttp2_nv trailer = header("grpc-status", STR_NONE);

	(void)arg;
	if (n > most)
		n = most;
	memcpy(to, c->out.p + c->out_at, n);
	c->out_at += n;
	if (c->out_at == c->out.n) {
		snprintf(status, sizeof status, "%d", (int)c->status);
		trailer.value = (uint8_t *)status;
		trailer.valuelen = strlen(status);
		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (nghttp2_submit_trailer(h2, id, &trailer, 1) != 0)
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	return (ssize_t)n;
}

void grpc_reply(struct grpc_call *c, struct str message)
{
	const nghttp2_nv head[] = {header(":status", STR("200")),
		header("content-type", STR("application/grpc")),
		header("grpc-accept-encoding", STR("identity,gzip"))};
	const nghttp2_data_provider body = {.source.ptr = c, .read_callback = read_answer};
	uint32_t n = (uint32_t)message.n;

	assert(message.n <= UINT32_MAX);
	if (c->answered)
		return;
	c->status = GRPC_OK;
	buf_char(&c->out, 0);
	for (int shift = 24; shift >= 0; shift -= 8)
		buf_char(&c->out, (char)(n >> shift));
	buf_str(&c->out, message);
	nghttp2_submit_response(c->session->h2, c->id, head, sizeof head / sizeof *head, &body);
	answered(c);
}

void grpc_fail(struct grpc_call *c, enum grpc_status status, const char *sentence)
{
	struct buf text = {0};
	char number[16];

	if (c->answered)
		return;
	snprintf(number, sizeof number, "%d", (int)status);
	put_percent(&text, sentence);
	nghttp2_submit_response(c->session->h2, c->id,
		(nghttp2_nv[]){header(":status", STR("200")),
			header("content-type", STR("application/grpc")),
			header("grpc-accept-encoding", STR("identity,gzip")),
			header("grpc-status", str_c(number)),
			header("grpc-message", buf_view(&text))},
		5, NULL);
	buf_fini(&text);
	answered(c);
}

/* What is no call of gRPC at all gets an answer of HTTP. */
static void fail_http(struct grpc_call *c, const char *status)
{
	const nghttp2_nv head = header(":status", str_c(status));

	nghttp2_submit_response(c->session->h2, c->id, &head, 1, NULL);
	answered(c);
}

/* A method's refusal: a status of its own, or an error. */
static void refuse(struct grpc_call *c, int r, const struct error *e)
{
	grpc_fail(c, r > 0 ? (enum grpc_status)r : grpc_status_of(r), e->text);
}

enum grpc_status grpc_status_of(int error_code)
{
	switch ((enum error_code)error_code) {
	case ERR_ARG:
	case ERR_CORRUPT: return GRPC_INVALID_ARGUMENT;
	case ERR_LIMIT: return GRPC_RESOURCE_EXHAUSTED;
	case ERR_DENIED: return GRPC_PERMISSION_DENIED;
	case ERR_UNSUPPORTED: return GRPC_UNIMPLEMENTED;
	case ERR_CANCELLED: return GRPC_CANCELLED;
	/* What clients try again. */
	case ERR_IO:
	case ERR_FULL:
	case ERR_BUSY:
	case ERR_GAP:
	case ERR_CLOSED:
	case ERR_TIMEOUT:
	case ERR_NET: return GRPC_UNAVAILABLE;
	case ERR_NOT_FOUND:
	case ERR_EXISTS: break;
	}
	return GRPC_INTERNAL;
}

const char *grpc_peer(const struct grpc_call *c)
{
	return c->session->o.peer;
}

struct str grpc_certificate(const struct grpc_call *c)
{
	return c->session->o.certificate;
}

/* ---- calls ---- */

static struct grpc_call *call_new(struct grpc_session *s, int32_t id)
{
	struct grpc_call *c = xcalloc(1, sizeof *c);

	c->session = s;
	c->id = id;
	c->last_ms = s->now_ms;
	list_append(&s->calls, &c->node);
	s->n_calls++;
	if (s->o.account)
		account_force(s->o.account, CALL_BYTES);
	return c;
}

static void call_free(struct grpc_call *c)
{
	struct grpc_session *s = c->session;

	if (c->began)
		c->method->closed(c, c->state);
	drop_message(c);
	list_remove(&c->node);
	s->n_calls--;
	account_release(s->o.account, CALL_BYTES);
	buf_fini(&c->path);
	if (c->authorization.p)
		explicit_bzero(c->authorization.p, c->authorization.cap);
	buf_fini(&c->authorization);
	buf_fini(&c->out);
	free(c);
}

static const struct grpc_method *find_method(const struct grpc_session *s, struct str path)
{
	for (const struct grpc_method *m = s->o.methods; m->path; m++)
		if (str_eq_c(path, m->path))
			return m;
	return NULL;
}

/* All headers are there. */
static void call_begin(struct grpc_call *c)
{
	struct grpc_session *s = c->session;
	struct error e = {0};
	char sentence[PATH_MAX_BYTES + 64];
	int r;

	if (c->header_bytes > HEADERS_MAX) {
		grpc_fail(c, GRPC_RESOURCE_EXHAUSTED, "the call's metadata is over 16 KiB");
	} else if (!c->is_post) {
		fail_http(c, "405");
	} else if (!c->is_grpc) {
		fail_http(c, "415");
	} else if (!(c->method = find_method(s, buf_view(&c->path)))) {
		snprintf(sentence, sizeof sentence, "there is no method %.*s here",
			STR_ARG(buf_view(&c->path)));
		grpc_fail(c, GRPC_UNIMPLEMENTED, sentence);
	} else if (c->encoding == ENCODING_OTHER) {
		grpc_fail(c, GRPC_UNIMPLEMENTED,
			"grpc-encoding: messages are taken as they are (identity) or in gzip");
	} else if (s->stopped) {
		grpc_fail(c, GRPC_UNAVAILABLE, "the server is stopping: connect again");
	} else if ((r = c->method->begin(s->o.methods_arg, c, buf_view(&c->authorization),
			    &c->state, &e)) != 0) {
		refuse(c, r, &e);
	} else {
		c->began = true;
	}
	if (c->authorization.p)
		explicit_bzero(c->authorization.p, c->authorization.cap);
	buf_fini(&c->authorization);
}

static void call_end(struct grpc_call *c)
{
	c->ended = true;
	if (c->answered)
		return;
	if (c->n_prefix)
		grpc_fail(c, GRPC_INTERNAL, "the call ended within a message");
	else if (c->began)
		c->method->end(c, c->state);
}

/* ---- messages ---- */

static int inflate(struct grpc_call *c, struct str *bytes, struct error *e)
{
	struct grpc_session *s = c->session;
	int r;

	buf_clear(&s->scratch);
	r = gzip_unpack(&s->scratch, *bytes, s->o.max_message, e);
	*bytes = buf_view(&s->scratch);
	if (r == ERR_LIMIT)
		return error_set(e, r,
			"a message is over %llu bytes when inflated: send smaller batches",
			(unsigned long long)s->o.max_message);
	return r < 0 ? error_wrap(e, r, "a message is not the gzip that it should be") : 0;
}

static void deliver(struct grpc_call *c, struct str bytes)
{
	struct grpc_session *s = c->session;
	struct error e = {0};
	int r = 0;

	if (c->prefix[0] == 1)
		r = inflate(c, &bytes, &e);
	if (r == 0)
		r = c->method->message(c, c->state, bytes, &e);
	if (s->scratch.cap > SCRATCH_KEEP)
		buf_fini(&s->scratch);
	drop_message(c);
	if (r != 0)
		refuse(c, r, &e);
}

static void take_prefix(struct grpc_call *c, struct str *bytes)
{
	size_t n = PREFIX - c->n_prefix;
	const uint8_t *p = c->prefix;
	char sentence[200];

	if (n > bytes->n)
		n = bytes->n;
	memcpy(c->prefix + c->n_prefix, bytes->p, n);
	c->n_prefix += n;
	*bytes = str_sub(*bytes, n, bytes->n);
	if (c->n_prefix < PREFIX)
		return;
	c->length = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
	if (p[0] > 1 || (p[0] == 1 && c->encoding != ENCODING_GZIP)) {
		grpc_fail(c, GRPC_INTERNAL,
			"a message is marked as compressed, and no grpc-encoding says how");
	} else if (c->length > c->session->o.max_message) {
		snprintf(sentence, sizeof sentence,
			"a message of %lu bytes is over the limit of %llu: send smaller batches",
			(unsigned long)c->length, (unsigned long long)c->session->o.max_message);
		grpc_fail(c, GRPC_RESOURCE_EXHAUSTED, sentence);
	}
}

/* Gather the bytes of a message that comes in pieces. */
static void gather(struct grpc_call *c, struct str *bytes)
{
	struct account *a = c->session->o.account;
	size_t n = c->length - c->message.n;

	if (n > bytes->n)
		n = bytes->n;
	if (a && account_charge(a, n) < 0) {
		grpc_fail(c, GRPC_UNAVAILABLE,
			"there is no memory for the message now: try again in a second");
		return;
	}
	c->charged += a ? n : 0;
	buf_put(&c->message, bytes->p, n);
	*bytes = str_sub(*bytes, n, bytes->n);
	if (c->message.n == c->length) {
		/* The method may answer, which would free it. */
		struct buf whole = buf_take(&c->message);

		deliver(c, buf_view(&whole));
		buf_fini(&whole);
	}
}

static void call_data(struct grpc_call *c, struct str bytes)
{
	c->last_ms = c->session->now_ms;
	while (bytes.n && !c->answered) {
		if (c->n_prefix < PREFIX) {
			take_prefix(c, &bytes);
			if (c->n_prefix < PREFIX || c->answered)
				continue;
			if (c->length == 0)
				deliver(c, STR_NONE);
		} else if (c->message.n == 0 && bytes.n >= c->length) {
			struct str whole = str_sub(bytes, 0, c->length);

			bytes = str_sub(bytes, c->length, bytes.n);
			deliver(c, whole);
		} else {
			gather(c, &bytes);
		}
	}
}

/* ---- nghttp2's callbacks ---- */

static struct grpc_call *call_of(nghttp2_session *h2, int32_t id)
{
	return nghttp2_session_get_stream_user_data(h2, id);
}

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *f, void *arg)
{
	if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST)
		nghttp2_session_set_stream_user_data(
			h2, f->hd.stream_id, call_new(arg, f->hd.stream_id));
	return 0;
}

static void take_header(struct grpc_call *c, struct str name, struct str value)
{
	if (str_eq(name, STR(":method")))
		c->is_post = str_eq(value, STR("POST"));
	else if (str_eq(name, STR(":path")))
		buf_str(&c->path, str_sub(value, 0, PATH_MAX_BYTES));
	else if (str_eq(name, STR("content-type")))
		c->is_grpc = str_starts(value, STR("application/grpc")) &&
			     !str_starts(value, STR("application/grpc-web"));
	else if (str_eq(name, STR("grpc-encoding")))
		c->encoding = str_eq(value, STR("gzip"))       ? ENCODING_GZIP
			      : str_eq(value, STR("identity")) ? ENCODING_IDENTITY
							       : ENCODING_OTHER;
	else if (str_eq(name, STR("authorization")) && c->authorization.n == 0)
		buf_str(&c->authorization, str_sub(value, 0, AUTHORIZATION_MAX));
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *f, const uint8_t *name,
	size_t n_name, const uint8_t *value, size_t n_value, uint8_t flags, void *arg)
{
	struct grpc_call *c = call_of(h2, f->hd.stream_id);
	struct grpc_session *s = arg;

	(void)flags;
	if (!c || f->hd.type != NGHTTP2_HEADERS)
		return 0;
	c->header_bytes += n_name + n_value;
	/* One byte may stand for a header of 4 KiB, which is looked at whole each time. */
	if (c->header_bytes > HEADERS_FLOOD) {
		s->hostile = true;
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	if (c->header_bytes <= HEADERS_MAX && f->headers.cat == NGHTTP2_HCAT_REQUEST)
		take_header(c, str_make(name, n_name), str_make(value, n_value));
	return 0;
}

/* Streams that are taken back at once cost us more than the peer: a few are fine. */
static int on_reset(struct grpc_session *s)
{
	uint64_t gone = (s->now_ms - s->resets_ms) * RESETS_PER_S / 1000;

	if (gone) {
		s->n_resets -= gone < s->n_resets ? gone : s->n_resets;
		s->resets_ms = s->now_ms;
	}
	if (++s->n_resets <= RESETS)
		return 0;
	s->hostile = true;
	return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *f, void *arg)
{
	struct grpc_session *s = arg;
	struct grpc_call *c;

	if (f->hd.type == NGHTTP2_SETTINGS)
		s->greeted = true;
	if (f->hd.type == NGHTTP2_RST_STREAM)
		return on_reset(s);
	if ((f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA) ||
		!(c = call_of(h2, f->hd.stream_id)))
		return 0;
	if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST)
		call_begin(c);
	if (f->hd.flags & NGHTTP2_FLAG_END_STREAM)
		call_end(c);
	return 0;
}

static int on_data(
	nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct grpc_call *c = call_of(h2, id);

	(void)flags;
	(void)arg;
	if (c)
		call_data(c, str_make(p, n));
	return 0;
}

/* The answer is out: the client need not go on. */
static int on_sent(nghttp2_session *h2, const nghttp2_frame *f, void *arg)
{
	struct grpc_session *s = arg;
	struct grpc_call *c;

	if (f->hd.type == NGHTTP2_GOAWAY && f->goaway.error_code)
		s->told = f->goaway.error_code;
	if (f->hd.type == NGHTTP2_HEADERS && (f->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
		(c = call_of(h2, f->hd.stream_id)) && !c->ended)
		nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, f->hd.stream_id, NGHTTP2_NO_ERROR);
	return 0;
}

static int on_close(nghttp2_session *h2, int32_t id, uint32_t code, void *arg)
{
	struct grpc_call *c = call_of(h2, id);

	(void)code;
	(void)arg;
	if (c) {
		nghttp2_session_set_stream_user_data(h2, id, NULL);
		call_free(c);
	}
	return 0;
}

/* ---- life ---- */

static int open_h2(struct grpc_session *s)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *options;
	int r;

	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		return ERR_BUSY;
	if (nghttp2_option_new(&options) != 0) {
		nghttp2_session_callbacks_del(callbacks);
		return ERR_BUSY;
	}
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
	/* Streams that are over need no memory: we have no priorities. */
	nghttp2_option_set_no_closed_streams(options, 1);
	r = nghttp2_session_server_new2(&s->h2, callbacks, s, options);
	nghttp2_option_del(options);
	nghttp2_session_callbacks_del(callbacks);
	return r == 0 ? 0 : ERR_BUSY;
}

struct grpc_session *grpc_session_new(const struct grpc_session_options *o)
{
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, o->max_streams},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADERS_MAX},
		{NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
	};
	struct grpc_session *s = xcalloc(1, sizeof *s);

	s->o = *o;
	list_init(&s->calls);
	if (open_h2(s) < 0 ||
		nghttp2_submit_settings(s->h2, NGHTTP2_FLAG_NONE, settings,
			sizeof settings / sizeof *settings) != 0 ||
		nghttp2_session_set_local_window_size(
			s->h2, NGHTTP2_FLAG_NONE, 0, SESSION_WINDOW) != 0) {
		nghttp2_session_del(s->h2);
		free(s);
		return NULL;
	}
	if (o->account)
		account_force(o->account, SESSION_BYTES);
	return s;
}

void grpc_session_free(struct grpc_session *s)
{
	if (!s)
		return;
	s->busy++; /* nothing is written any more */
	while (!list_empty(&s->calls))
		call_free(CONTAINER(s->calls.next, struct grpc_call, node));
	nghttp2_session_del(s->h2);
	buf_fini(&s->scratch);
	account_release(s->o.account, SESSION_BYTES);
	free(s);
}

static int broken(struct grpc_session *s, ssize_t code, struct error *e)
{
	if (s->hostile || code == NGHTTP2_ERR_FLOODED)
		return error_set(e, ERR_LIMIT,
			"it opens and takes back calls, asks for answers, or sends headers, without "
			"end: that is an attack, or a client gone wrong");
	if (code == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
		return error_set(e, ERR_NET,
			"it does not speak HTTP/2: only gRPC clients are served here, over TLS "
			"where the address is grpcs://");
	return error_set(
		e, ERR_NET, "it broke the rules of HTTP/2: %s", nghttp2_strerror((int)code));
}

int grpc_session_feed(struct grpc_session *s, struct str bytes, uint64_t now_ms, struct error *e)
{
	ssize_t n;

	assert(s->busy == 0);
	s->now_ms = now_ms;
	s->busy++;
	n = nghttp2_session_mem_recv(s->h2, (const uint8_t *)bytes.p, bytes.n);
	s->busy--;
	if (n >= 0)
		return 0;
	if (s->hostile)
		nghttp2_session_terminate_session(s->h2, NGHTTP2_ENHANCE_YOUR_CALM);
	return broken(s, n, e);
}

struct str grpc_session_next(struct grpc_session *s)
{
	const uint8_t *p = NULL;
	ssize_t n;

	s->busy++;
	n = nghttp2_session_mem_send(s->h2, &p);
	s->busy--;
	return n > 0 ? str_make(p, (size_t)n) : STR_NONE;
}

bool grpc_session_over(struct grpc_session *s, struct error *e)
{
	e->code = 0;
	if (nghttp2_session_want_read(s->h2) || nghttp2_session_want_write(s->h2))
		return false;
	if (s->told)
		error_set(e, ERR_NET, "it broke the rules of HTTP/2 (%s)",
			nghttp2_http2_strerror(s->told));
	return true;
}

bool grpc_session_greeted(const struct grpc_session *s)
{
	return s->greeted;
}

void grpc_session_warn(struct grpc_session *s)
{
	nghttp2_submit_shutdown_notice(s->h2);
	wants_write(s);
}

void grpc_session_stop(struct grpc_session *s, const char *sentence)
{
	if (s->stopped)
		return;
	s->stopped = true;
	s->busy++;
	LIST_EACH (at, &s->calls) {
		struct grpc_call *c = CONTAINER(at, struct grpc_call, node);

		if (!c->ended)
			grpc_fail(c, GRPC_UNAVAILABLE, sentence);
	}
	nghttp2_submit_goaway(s->h2, NGHTTP2_FLAG_NONE,
		nghttp2_session_get_last_proc_stream_id(s->h2), NGHTTP2_NO_ERROR, NULL, 0);
	s->busy--;
	wants_write(s);
}

bool grpc_session_idle(const struct grpc_session *s)
{
	return s->n_calls == 0 && !nghttp2_session_want_write(s->h2);
}

size_t grpc_session_calls(const struct grpc_session *s)
{
	return s->n_calls;
}

size_t grpc_session_expire(struct grpc_session *s, uint64_t now_ms, uint64_t stuck_ms)
{
	size_t n = 0;

	s->busy++;
	LIST_EACH (at, &s->calls) {
		struct grpc_call *c = CONTAINER(at, struct grpc_call, node);

		if (c->n_prefix == 0 || c->answered || now_ms - c->last_ms < stuck_ms)
			continue;
		grpc_fail(c, GRPC_DEADLINE_EXCEEDED, "a message began and did not go on");
		n++;
	}
	s->busy--;
	if (n)
		wants_write(s);
	return n;
}
