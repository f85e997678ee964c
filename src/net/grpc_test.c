/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/codec.h"
#include "net/grpc_session.h"

/* ---- a service ---- */

/* What it was told, and how it behaves. */
static struct {
	struct buf log;
	struct grpc_server *server;
	struct grpc_call *open; /* the last that waits for an answer */
	unsigned n_messages, n_closed, n_begun, pause_at;
	size_t bytes;
	bool later;
} service;

static int on_begin(
	void *arg, struct grpc_call *c, struct str authorization, void **state, struct error *e)
{
	assert_ptr_equal(arg, &service);
	if (str_eq(authorization, STR("Bearer bad")))
		return error_set(e, ERR_DENIED, "that token is none");
	if (str_eq(authorization, STR("Bearer none"))) {
		error_set(e, ERR_DENIED, "no token");
		return GRPC_UNAUTHENTICATED;
	}
	service.n_begun++;
	*state = c;
	return 0;
}

static int on_message(struct grpc_call *c, void *state, struct str bytes, struct error *e)
{
	assert_ptr_equal(state, c);
	service.n_messages++;
	service.bytes += bytes.n;
	if (bytes.n < 100)
		buf_printf(&service.log, "%.*s;", STR_ARG(bytes));
	if (str_eq(bytes, STR("bad")))
		return error_set(e, ERR_ARG, "100%% bad,\nas asked: \xc3\xa4");
	if (service.pause_at && service.n_messages == service.pause_at)
		grpc_server_pause(service.server);
	return 0;
}

static void on_end(struct grpc_call *c, void *state)
{
	assert_ptr_equal(state, c);
	buf_c(&service.log, "end;");
	if (service.later)
		service.open = c;
	else
		grpc_reply(c, STR("done"));
}

static void on_call_closed(struct grpc_call *c, void *state)
{
	assert_ptr_equal(state, c);
	service.n_closed++;
	if (service.open == c)
		service.open = NULL;
}

static const struct grpc_method methods[] = {
	{"/test.Service/Take", on_begin, on_message, on_end, on_call_closed}, {0}};

static void service_reset(void)
{
	buf_fini(&service.log);
	memset(&service, 0, sizeof service);
}

static void expect_log(const char *text)
{
	assert_string_equal(buf_cstr(&service.log), text);
}

/* ---- a client ---- */

struct answer {
	int32_t id;
	int status, http;
	struct buf sentence, data;
	bool closed, reset;
};

struct client {
	nghttp2_session *h2;
	struct answer answers[300];
	size_t n;
	int32_t goaway; /* its last stream; -1: none came */
	uint32_t goaway_code;
	/* The request to be sent next. */
	struct buf body;
	size_t body_at;
	bool leave_open;
	/* Over a socket; else joined to `session`. */
	int fd;
	struct grpc_session *session;
	bool over;
};

static struct answer *answer_of(struct client *c, int32_t id)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->answers[i].id == id)
			return &c->answers[i];
	fail_msg("stream %d is unknown", id);
	return NULL;
}

static int client_header(nghttp2_session *h2, const nghttp2_frame *f, const uint8_t *name,
	size_t n_name, const uint8_t *value, size_t n_value, uint8_t flags, void *arg)
{
	struct answer *a = answer_of(arg, f->hd.stream_id);
	struct str k = str_make(name, n_name), v = str_make(value, n_value);
	uint64_t n = 0;

	if (str_eq(k, STR(":status")) && str_u64(v, &n))
		a->http = (int)n;
	if (str_eq(k, STR("grpc-status")) && str_u64(v, &n))
		a->status = (int)n;
	if (str_eq(k, STR("grpc-message")))
		buf_str(&a->sentence, v);
	return 0;
}

static int client_data(
	nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	buf_put(&answer_of(arg, id)->data, p, n);
	return 0;
}

static int client_frame(nghttp2_session *h2, const nghttp2_frame *f, void *arg)
{
	struct client *c = arg;

	if (f->hd.type == NGHTTP2_GOAWAY) {
		c->goaway = f->goaway.last_stream_id;
		c->goaway_code = f->goaway.error_code;
	}
	if (f->hd.type == NGHTTP2_RST_STREAM)
		answer_of(c, f->hd.stream_id)->reset = true;
	return 0;
}

static int client_close(nghttp2_session *h2, int32_t id, uint32_t code, void *arg)
{
	answer_of(arg, id)->closed = true;
	return 0;
}

static void client_open(struct client *c)
{
	nghttp2_session_callbacks *callbacks;

	memset(c, 0, sizeof *c);
	c->goaway = -1;
	c->fd = -1;
	nghttp2_session_callbacks_new(&callbacks);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, client_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, client_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, client_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, client_close);
	nghttp2_session_client_new(&c->h2, callbacks, c);
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_submit_settings(c->h2, 0, NULL, 0);
}

static void client_fini(struct client *c)
{
	for (size_t i = 0; i < c->n; i++) {
		buf_fini(&c->answers[i].sentence);
		buf_fini(&c->answers[i].data);
	}
	nghttp2_session_del(c->h2);
	buf_fini(&c->body);
	grpc_session_free(c->session);
	if (c->fd >= 0)
		close(c->fd);
}

struct body {
	struct buf bytes;
	size_t at;
	bool leave_open;
};

static struct body bodies[300];

static ssize_t client_read(nghttp2_session *h2, int32_t id, uint8_t *to, size_t most,
	uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct body *b = source->ptr;
	size_t n = b->bytes.n - b->at;

	if (n > most)
		n = most;
	if (n == 0 && b->leave_open)
		return NGHTTP2_ERR_DEFERRED;
	memcpy(to, b->bytes.p + b->at, n);
	b->at += n;
	if (b->at == b->bytes.n && !b->leave_open) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		buf_fini(&b->bytes);
	}
	return (ssize_t)n;
}

static void put_message(struct buf *out, int packed, struct str bytes)
{
	buf_char(out, (char)packed);
	for (int shift = 24; shift >= 0; shift -= 8)
		buf_char(out, (char)(bytes.n >> shift));
	buf_str(out, bytes);
}

/* `extra`: name and value of one more header, or of one instead. */
static struct answer *call(struct client *c, struct buf *take, const char *name, const char *value)
{
	nghttp2_nv nv[] = {
		{(uint8_t *)":method", (uint8_t *)"POST", 7, 4, 0},
		{(uint8_t *)":scheme", (uint8_t *)"http", 7, 4, 0},
		{(uint8_t *)":authority", (uint8_t *)"test", 10, 4, 0},
		{(uint8_t *)":path", (uint8_t *)"/test.Service/Take", 5, 18, 0},
		{(uint8_t *)"te", (uint8_t *)"trailers", 2, 8, 0},
		{(uint8_t *)"content-type", (uint8_t *)"application/grpc+proto", 12, 22, 0},
		{0},
	};
	nghttp2_data_provider body = {.read_callback = client_read};
	size_t n = 6;

	if (name) {
		for (n = 0; n < 6 && strcmp((char *)nv[n].name, name) != 0; n++)
			;
		nv[n] = (nghttp2_nv){
			(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0};
		n = n == 6 ? 7 : 6;
	}
	assert_true(c->n < 300);
	c->answers[c->n].status = -1;
	bodies[c->n] = (struct body){.bytes = *take, .leave_open = c->leave_open};
	*take = (struct buf){0};
	body.source.ptr = &bodies[c->n];
	c->answers[c->n].id = nghttp2_submit_request(c->h2, NULL, nv, n, &body, NULL);
	assert_true(c->answers[c->n].id > 0);
	return &c->answers[c->n++];
}

static struct answer *call_text(struct client *c, const char *text)
{
	struct buf b = {0};

	put_message(&b, 0, str_c(text));
	return call(c, &b, NULL, NULL);
}

/* ---- a client and a session, joined without sockets ---- */

static void wants_write(void *arg)
{
	++*(unsigned *)arg;
}

static unsigned n_wanted;
static struct account account;

static void join(struct client *c, const struct grpc_session_options *more)
{
	struct grpc_session_options o = more ? *more : (struct grpc_session_options){0};

	service_reset();
	client_open(c);
	o.methods = methods;
	o.max_message = o.max_message ? o.max_message : 1 << 20;
	o.max_streams = o.max_streams ? o.max_streams : 100;
	o.peer = "127.0.0.1:1";
	o.certificate = STR("client");
	o.methods_arg = &service;
	o.wants_write = wants_write;
	o.arg = &n_wanted;
	n_wanted = 0;
	c->session = grpc_session_new(&o);
	assert_non_null(c->session);
}

/* Bytes go to and fro until there are none; `slice` at a time.  What the session says of it. */
static int exchange_sliced(struct client *c, size_t slice, struct error *e)
{
	const uint8_t *p;
	struct str piece;
	ssize_t n;
	int r = 0;
	bool any = true;

	while (any) {
		any = false;
		while (r == 0 && (n = nghttp2_session_mem_send(c->h2, &p)) > 0) {
			for (struct str rest = str_make(p, (size_t)n); rest.n && r == 0;
				rest = str_sub(rest, slice, rest.n))
				r = grpc_session_feed(c->session, str_sub(rest, 0, slice), 1000, e);
			any = true;
		}
		while ((piece = grpc_session_next(c->session)).n) {
			nghttp2_session_mem_recv(c->h2, (const uint8_t *)piece.p, piece.n);
			any = true;
		}
	}
	return r;
}

static void exchange(struct client *c)
{
	struct error e = {0};

	if (exchange_sliced(c, SIZE_MAX, &e) < 0)
		fail_msg("%s", e.text);
}

static void expect_data(const struct answer *a, const char *text)
{
	struct buf b = {0};

	put_message(&b, 0, str_c(text));
	assert_true(str_eq(buf_view(&a->data), buf_view(&b)));
	buf_fini(&b);
}

static void test_unary(void **arg)
{
	struct client c;
	struct answer *a;
	struct error e;

	(void)arg;
	join(&c, NULL);
	assert_false(grpc_session_greeted(c.session));
	a = call_text(&c, "hello");
	exchange(&c);
	assert_true(grpc_session_greeted(c.session));
	expect_log("hello;end;");
	assert_int_equal(a->http, 200);
	assert_int_equal(a->status, GRPC_OK);
	expect_data(a, "done");
	assert_true(a->closed);
	assert_false(a->reset);
	assert_int_equal(service.n_closed, 1);
	assert_int_equal(grpc_session_calls(c.session), 0);
	assert_true(grpc_session_idle(c.session));
	assert_false(grpc_session_over(c.session, &e));
	client_fini(&c);
}

/* However the bytes are cut. */
static void test_slices(void **arg)
{
	const size_t slices[] = {1, 2, 3, 7, 100};

	(void)arg;
	for (size_t i = 0; i < sizeof slices / sizeof *slices; i++) {
		struct client c;
		struct answer *a;
		struct buf b = {0};
		struct error e = {0};

		join(&c, NULL);
		put_message(&b, 0, STR("one"));
		put_message(&b, 0, STR(""));
		put_message(&b, 0, STR("three"));
		a = call(&c, &b, NULL, NULL);
		assert_int_equal(exchange_sliced(&c, slices[i], &e), 0);
		expect_log("one;;three;end;");
		assert_int_equal(a->status, 0);
		client_fini(&c);
	}
}

/* Of many frames: windows go on, and its memory is charged and given back. */
static void test_large(void **arg)
{
	struct grpc_session_options o = {.max_message = 8 << 20, .account = &account};
	struct client c;
	struct answer *a;
	struct buf text = {0}, b = {0};

	(void)arg;
	account_init(&account, "test", 64 << 20, NULL);
	join(&c, &o);
	memset(buf_reserve(&text, 6 << 20), 'x', 6 << 20);
	text.n = 6 << 20;
	put_message(&b, 0, buf_view(&text));
	a = call(&c, &b, NULL, NULL);
	exchange(&c);
	assert_int_equal(a->status, 0);
	assert_int_equal(service.bytes, 6 << 20);
	assert_true(account.peak > 6 << 20);
	client_fini(&c);
	assert_int_equal(account_held(&account), 0);
	buf_fini(&text);
}

static void test_no_memory(void **arg)
{
	struct grpc_session_options o = {.account = &account};
	struct client c;
	struct answer *a;
	struct buf text = {0}, b = {0};

	(void)arg;
	account_init(&account, "test", 100 << 10, NULL);
	join(&c, &o);
	memset(buf_reserve(&text, 200 << 10), 'x', 200 << 10);
	text.n = 200 << 10;
	put_message(&b, 0, buf_view(&text));
	a = call(&c, &b, NULL, NULL);
	exchange(&c);
	assert_int_equal(a->status, GRPC_UNAVAILABLE);
	assert_int_equal(service.n_messages, 0);
	client_fini(&c);
	assert_int_equal(account_held(&account), 0);
	buf_fini(&text);
}

static void test_gzip(void **arg)
{
	struct client c;
	struct answer *a, *bomb, *unsaid, *torn, *other;
	struct buf text = {0}, packed = {0}, b = {0};

	(void)arg;
	join(&c, NULL);
	gzip_pack(&packed, STR("packed text"), 6);
	put_message(&b, 1, buf_view(&packed));
	put_message(&b, 0, STR("plain"));
	a = call(&c, &b, "grpc-encoding", "gzip");
	put_message(&b, 1, buf_view(&packed));
	unsaid = call(&c, &b, NULL, NULL);
	put_message(&b, 1, STR("no gzip at all"));
	torn = call(&c, &b, "grpc-encoding", "gzip");
	other = call_text(&c, "x");
	(void)other;
	memset(buf_reserve(&text, 64 << 20), 0, 64 << 20);
	text.n = 64 << 20;
	buf_clear(&packed);
	gzip_pack(&packed, buf_view(&text), 6);
	assert_true(packed.n < 1 << 20);
	put_message(&b, 1, buf_view(&packed));
	bomb = call(&c, &b, "grpc-encoding", "gzip");
	put_message(&b, 1, STR("x"));
	other = call(&c, &b, "grpc-encoding", "deflate");
	exchange(&c);
	assert_int_equal(a->status, GRPC_OK);
	assert_non_null(strstr(buf_cstr(&service.log), "packed text;plain;end;"));
	assert_int_equal(unsaid->status, GRPC_INTERNAL);
	assert_int_equal(torn->status, GRPC_INVALID_ARGUMENT);
	assert_int_equal(bomb->status, GRPC_RESOURCE_EXHAUSTED);
	assert_non_null(strstr(buf_cstr(&bomb->sentence), "over 1048576 bytes when inflated"));
	assert_int_equal(other->status, GRPC_UNIMPLEMENTED);
	buf_fini(&text);
	buf_fini(&packed);
	client_fini(&c);
}

static void test_refusals(void **arg)
{
	static const struct {
		const char *name, *value;
		int http, status;
		const char *sentence;
	} cases[] = {
		{":method", "GET", 405, -1, ""},
		{"content-type", "application/json", 415, -1, ""},
		{"content-type", "application/grpc-web", 415, -1, ""},
		{":path", "/test.Service/None", 200, GRPC_UNIMPLEMENTED,
			"there is no method /test.Service/None here"},
		{"authorization", "Bearer bad", 200, GRPC_PERMISSION_DENIED, "that token is none"},
		{"authorization", "Bearer none", 200, GRPC_UNAUTHENTICATED, "no token"},
	};
	struct client c;
	struct answer *answers[6], *bad, *cut, *after;
	struct buf b = {0};

	(void)arg;
	join(&c, NULL);
	for (size_t i = 0; i < 6; i++) {
		put_message(&b, 0, STR("x"));
		answers[i] = call(&c, &b, cases[i].name, cases[i].value);
	}
	put_message(&b, 0, STR("bad"));
	put_message(&b, 0, STR("never seen"));
	bad = call(&c, &b, NULL, NULL);
	put_message(&b, 0, STR("cut off"));
	b.n--;
	cut = call(&c, &b, NULL, NULL);
	exchange(&c);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(answers[i]->http, cases[i].http);
		assert_int_equal(answers[i]->status, cases[i].status);
		assert_string_equal(buf_cstr(&answers[i]->sentence), cases[i].sentence);
		assert_true(answers[i]->closed);
	}
	assert_int_equal(bad->status, GRPC_INVALID_ARGUMENT);
	assert_string_equal(buf_cstr(&bad->sentence), "100%25 bad,%0Aas asked: %C3%A4");
	assert_int_equal(cut->status, GRPC_INTERNAL);
	expect_log("bad;");
	assert_int_equal(service.n_begun, service.n_closed);
	/* The connection goes on. */
	after = call_text(&c, "fine");
	exchange(&c);
	assert_int_equal(after->status, 0);
	client_fini(&c);
}

/* A length that is claimed passes the limit, and nothing is kept for it. */
static void test_too_long(void **arg)
{
	struct client c;
	struct answer *a;
	struct buf b = {0};

	(void)arg;
	join(&c, NULL);
	c.leave_open = true;
	buf_put(&b, "\0\x7f\xff\xff\xffxyz", 8);
	a = call(&c, &b, NULL, NULL);
	exchange(&c);
	assert_int_equal(a->status, GRPC_RESOURCE_EXHAUSTED);
	assert_non_null(strstr(buf_cstr(&a->sentence), "a message of 2147483647 bytes is over"));
	/* The client was not done: it is told that it need not go on. */
	assert_true(a->reset);
	buf_fini(&bodies[0].bytes);
	client_fini(&c);
}

static void test_metadata_limit(void **arg)
{
	char *value = xmalloc(20000);
	struct client c;
	struct answer *a, *fine;
	struct buf b = {0};

	(void)arg;
	memset(value, 'v', 19999);
	value[19999] = 0;
	join(&c, NULL);
	put_message(&b, 0, STR("x"));
	a = call(&c, &b, "x-large", value);
	exchange(&c);
	assert_int_equal(a->status, GRPC_RESOURCE_EXHAUSTED);
	fine = call_text(&c, "y");
	exchange(&c);
	assert_int_equal(fine->status, 0);
	client_fini(&c);
	free(value);
}

/* Answered from outside: the owner is told that there is something to write. */
static void test_later(void **arg)
{
	struct client c;
	struct answer *a;

	(void)arg;
	join(&c, NULL);
	service.later = true;
	a = call_text(&c, "x");
	exchange(&c);
	assert_int_equal(a->status, -1);
	assert_int_equal(n_wanted, 0);
	assert_non_null(service.open);
	assert_string_equal(grpc_peer(service.open), "127.0.0.1:1");
	assert_true(str_eq(grpc_certificate(service.open), STR("client")));
	grpc_reply(service.open, STR("late"));
	grpc_fail(service.open, GRPC_INTERNAL, "only the first answer counts");
	assert_int_equal(n_wanted, 1);
	exchange(&c);
	assert_int_equal(a->status, 0);
	expect_data(a, "late");
	client_fini(&c);
}

/* Taken back by the client, or left when the connection ends: closed is called once. */
static void test_cancel(void **arg)
{
	struct client c;
	struct answer *a;

	(void)arg;
	join(&c, NULL);
	service.later = true;
	a = call_text(&c, "x");
	exchange(&c);
	nghttp2_submit_rst_stream(c.h2, 0, a->id, NGHTTP2_CANCEL);
	exchange(&c);
	assert_int_equal(service.n_closed, 1);
	assert_null(service.open);
	call_text(&c, "y");
	exchange(&c);
	client_fini(&c);
	assert_int_equal(service.n_closed, 2);
}

static void test_stop(void **arg)
{
	struct client c;
	struct answer *whole, *half;
	struct error e;
	struct buf b = {0};

	(void)arg;
	join(&c, NULL);
	service.later = true;
	whole = call_text(&c, "x");
	c.leave_open = true;
	put_message(&b, 0, STR("y"));
	half = call(&c, &b, NULL, NULL);
	exchange(&c);
	grpc_session_warn(c.session);
	exchange(&c);
	assert_int_equal(c.goaway, INT32_MAX);
	grpc_session_stop(c.session, "it stops");
	exchange(&c);
	assert_int_equal(c.goaway, half->id);
	assert_int_equal(half->status, GRPC_UNAVAILABLE);
	assert_string_equal(buf_cstr(&half->sentence), "it stops");
	assert_int_equal(whole->status, -1);
	assert_false(grpc_session_idle(c.session));
	grpc_reply(service.open, STR("z"));
	exchange(&c);
	assert_int_equal(whole->status, 0);
	assert_true(grpc_session_idle(c.session));
	assert_true(grpc_session_over(c.session, &e));
	assert_int_equal(e.code, 0);
	buf_fini(&bodies[1].bytes);
	client_fini(&c);
}

static void test_expire(void **arg)
{
	struct client c;
	struct answer *slow, *idle;
	struct buf b = {0};

	(void)arg;
	join(&c, NULL);
	c.leave_open = true;
	buf_put(&b, "\0\0\0\0\x09half", 9);
	slow = call(&c, &b, NULL, NULL);
	put_message(&b, 0, STR("whole"));
	idle = call(&c, &b, NULL, NULL);
	exchange(&c);
	assert_int_equal(grpc_session_expire(c.session, 20000, 30000), 0);
	assert_int_equal(grpc_session_expire(c.session, 31000, 30000), 1);
	exchange(&c);
	assert_int_equal(slow->status, GRPC_DEADLINE_EXCEEDED);
	assert_int_equal(idle->status, -1);
	buf_fini(&bodies[0].bytes);
	buf_fini(&bodies[1].bytes);
	client_fini(&c);
}

/* ---- hostile peers ---- */

static void test_other_protocols(void **arg)
{
	struct client c;
	struct error e;

	(void)arg;
	join(&c, NULL);
	assert_int_equal(grpc_session_feed(c.session,
				 STR("GET / HTTP/1.1\r\nHost: localhost:4317\r\n\r\n"), 0, &e),
		ERR_NET);
	assert_non_null(strstr(e.text, "does not speak HTTP/2"));
	client_fini(&c);
	join(&c, NULL);
	assert_int_equal(
		grpc_session_feed(c.session, STR("\x16\x03\x01\x02\x00\x01"), 0, &e), ERR_NET);
	client_fini(&c);
}

/* Calls that are begun and taken back without end. */
static void test_rapid_reset(void **arg)
{
	struct client c;
	struct error e = {0};
	struct buf b = {0};
	int r = 0, i;

	(void)arg;
	join(&c, NULL);
	for (i = 0; i < 5000 && r == 0; i++) {
		struct answer *a;

		c.n = 0;
		a = call(&c, &b, NULL, NULL);
		nghttp2_session_mem_send(c.h2, (const uint8_t **)&(const uint8_t *){NULL});
		nghttp2_submit_rst_stream(c.h2, 0, a->id, NGHTTP2_CANCEL);
		r = exchange_sliced(&c, SIZE_MAX, &e);
		if (c.goaway >= 0 && c.goaway_code)
			break;
	}
	assert_true(i < 2000);
	assert_int_equal(service.n_begun, service.n_closed);
	client_fini(&c);
}

static void put_frame(struct buf *out, int type, int flags, uint32_t id, struct str payload)
{
	const char head[9] = {(char)(payload.n >> 16), (char)(payload.n >> 8), (char)payload.n,
		(char)type, (char)flags, (char)(id >> 24), (char)(id >> 16), (char)(id >> 8),
		(char)id};

	buf_put(out, head, 9);
	buf_str(out, payload);
}

/* Frames that make no sense are answered with GOAWAY, and the connection is over. */
static void test_broken_frames(void **arg)
{
	static const struct {
		int type, flags;
		uint32_t id;
		struct str payload;
	} cases[] = {
		{NGHTTP2_DATA, 0, 0, STR_INIT("x")},
		{NGHTTP2_HEADERS, 4, 2, STR_INIT("\x82")},
		{NGHTTP2_HEADERS, 4, 1, STR_INIT("\xff\xff\xff\xff\xff\xff\xff")},
		{NGHTTP2_WINDOW_UPDATE, 0, 0, STR_INIT("\0\0\0\0")},
		{NGHTTP2_SETTINGS, 0, 0, STR_INIT("abc")},
		{NGHTTP2_CONTINUATION, 4, 1, STR_INIT("x")},
		{NGHTTP2_PUSH_PROMISE, 4, 1, STR_INIT("\0\0\0\x02x")},
	};

	(void)arg;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct client c;
		struct buf b = {0};
		struct error e = {0};
		struct str piece;
		int r;

		join(&c, NULL);
		buf_c(&b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
		put_frame(&b, NGHTTP2_SETTINGS, 0, 0, STR_NONE);
		put_frame(&b, cases[i].type, cases[i].flags, cases[i].id, cases[i].payload);
		r = grpc_session_feed(c.session, buf_view(&b), 0, &e);
		while ((piece = grpc_session_next(c.session)).n)
			nghttp2_session_mem_recv(c.h2, (const uint8_t *)piece.p, piece.n);
		if (r == 0) {
			assert_true(grpc_session_over(c.session, &e));
			assert_int_equal(e.code, ERR_NET);
			assert_true(c.goaway_code != 0);
		}
		buf_fini(&b);
		client_fini(&c);
	}
}

/* Headers that never end are not gathered for ever. */
static void test_continuation_flood(void **arg)
{
	struct client c;
	struct buf b = {0};
	struct error e = {0};
	bool over = false;

	(void)arg;
	join(&c, NULL);
	buf_c(&b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	put_frame(&b, NGHTTP2_SETTINGS, 0, 0, STR_NONE);
	put_frame(&b, NGHTTP2_HEADERS, 0, 1, STR("\x82"));
	for (int i = 0; i < 10000 && !over; i++) {
		put_frame(&b, NGHTTP2_CONTINUATION, 0, 1, STR("\x40\x01x\x01y"));
		over = grpc_session_feed(c.session, buf_view(&b), 0, &e) < 0;
		while (!over && grpc_session_next(c.session).n)
			;
		over |= grpc_session_over(c.session, &e);
		buf_clear(&b);
	}
	assert_true(over);
	buf_fini(&b);
	client_fini(&c);
}

/* A header of 4 KiB that comes again and again for a byte each: in front of a call, and behind. */
static void test_header_bomb(void **arg)
{
	char *bomb = xmalloc(10000), *value = xmalloc(4000);

	(void)arg;
	memset(bomb, '\xbe', 10000);
	memset(value, 'v', 4000);
	for (int behind = 0; behind < 2; behind++) {
		struct client c;
		struct buf b = {0}, headers = {0};
		struct error e = {0};

		join(&c, NULL);
		buf_c(&b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
		put_frame(&b, NGHTTP2_SETTINGS, 0, 0, STR_NONE);
		if (behind)
			put_frame(&b, NGHTTP2_HEADERS, 4, 1,
				STR("\x83\x86\x01\x01x\x04\x12/test.Service/Take\x0f\x10\x10"
				    "application/grpc"));
		buf_c(&headers, "\x40\x01x\x7f\xa1\x1e");
		buf_put(&headers, value, 4000);
		buf_put(&headers, bomb, 10000);
		put_frame(&b, NGHTTP2_HEADERS, behind ? 5 : 4, 1, buf_view(&headers));
		assert_int_equal(grpc_session_feed(c.session, buf_view(&b), 0, &e), ERR_LIMIT);
		assert_int_equal(service.n_begun, behind);
		buf_fini(&headers);
		buf_fini(&b);
		client_fini(&c);
		assert_int_equal(service.n_closed, behind);
	}
	free(bomb);
	free(value);
}

/* Pings whose answers are not fetched. */
static void test_ping_flood(void **arg)
{
	struct client c;
	struct buf b = {0};
	struct error e = {0};
	int r = 0;

	(void)arg;
	join(&c, NULL);
	buf_c(&b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	put_frame(&b, NGHTTP2_SETTINGS, 0, 0, STR_NONE);
	for (int i = 0; i < 100000 && r == 0; i++) {
		put_frame(&b, NGHTTP2_PING, 0, 0, STR("12345678"));
		r = grpc_session_feed(c.session, buf_view(&b), 0, &e);
		buf_clear(&b);
	}
	assert_int_equal(r, ERR_LIMIT);
	buf_fini(&b);
	client_fini(&c);
}

/* ---- over sockets ---- */

static struct loop *loop;
static struct buf refusals;
static bool drained;

static void on_refused(void *arg, const struct refusal *r)
{
	assert_ptr_equal(arg, &service);
	buf_printf(&refusals, "%s;", r->reason);
}

static void on_drained(void *arg)
{
	*(bool *)arg = true;
}

static void serve(const struct grpc_options *more)
{
	struct grpc_options o = more ? *more : (struct grpc_options){0};
	struct error e = {0};

	service_reset();
	buf_fini(&refusals);
	drained = false;
	o.listener.address = "grpc://127.0.0.1:0";
	o.methods = methods;
	if (grpc_server_open(&service.server, loop, &o, &service, on_refused, &e) < 0)
		fail_msg("%s", e.text);
}

static void dial(struct client *c)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)grpc_server_port(service.server)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	client_open(c);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(c->fd, (struct sockaddr *)&a, sizeof a), 0);
}

/* Send and fetch what there is, without waiting. */
static void turn(struct client *c)
{
	uint8_t room[16384];
	const uint8_t *p;
	ssize_t n;

	for (int i = 0; c && i < 16; i++) {
		struct pollfd poller = {.fd = c->fd, .events = POLLOUT};

		if (poll(&poller, 1, 0) != 1 || !(poller.revents & POLLOUT) ||
			(n = nghttp2_session_mem_send(c->h2, &p)) <= 0)
			break;
		send(c->fd, p, (size_t)n, MSG_NOSIGNAL);
	}
	uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	if (!c)
		return;
	while ((n = recv(c->fd, room, sizeof room, MSG_DONTWAIT)) > 0)
		nghttp2_session_mem_recv(c->h2, room, (size_t)n);
	c->over |= n == 0;
}

#define WAIT(client, condition)                                                                    \
	do {                                                                                       \
		for (int i_ = 0; i_ < 10000 && !(condition); i_++) {                               \
			turn(client);                                                              \
			usleep(500);                                                               \
		}                                                                                  \
		assert_true(condition);                                                            \
	} while (0)

static void test_socket(void **arg)
{
	struct client c;
	struct answer *a[200];

	(void)arg;
	serve(NULL);
	dial(&c);
	for (int i = 0; i < 200; i++)
		a[i] = call_text(&c, "x");
	WAIT(&c, service.n_closed == 200);
	WAIT(&c, a[199]->closed);
	for (int i = 0; i < 200; i++)
		assert_int_equal(a[i]->status, 0);
	assert_int_equal(grpc_server_connections(service.server), 1);
	client_fini(&c);
	WAIT(NULL, grpc_server_connections(service.server) == 0);
	grpc_server_close(service.server);
}

/* A pause stops it within one read; after it nothing is missing. */
static void test_pause(void **arg)
{
	struct client c;
	struct buf b = {0};
	struct answer *a;
	char text[1000];

	(void)arg;
	serve(NULL);
	service.pause_at = 3;
	dial(&c);
	memset(text, 'x', sizeof text);
	for (int i = 0; i < 5000; i++)
		put_message(&b, 0, str_make(text, sizeof text));
	a = call(&c, &b, NULL, NULL);
	for (int i = 0; i < 100; i++) {
		turn(&c);
		usleep(1000);
	}
	assert_true(service.n_messages >= 3 && service.n_messages <= 40);
	grpc_server_resume(service.server);
	WAIT(&c, a->closed);
	assert_int_equal(a->status, 0);
	assert_int_equal(service.n_messages, 5000);
	client_fini(&c);
	grpc_server_close(service.server);
}

/* What has come is taken, calls that wait are answered, others told to come again. */
static void test_drain(void **arg)
{
	struct client c;
	struct answer *whole, *half;
	struct buf b = {0};

	(void)arg;
	serve(NULL);
	service.later = true;
	dial(&c);
	whole = call_text(&c, "whole");
	c.leave_open = true;
	put_message(&b, 0, STR("streamed"));
	half = call(&c, &b, NULL, NULL);
	WAIT(&c, service.n_messages == 2);
	grpc_server_drain(service.server, on_drained, &drained);
	WAIT(&c, half->closed);
	assert_int_equal(half->status, GRPC_UNAVAILABLE);
	assert_false(drained);
	assert_int_equal(whole->status, -1);
	grpc_reply(service.open, STR("durable"));
	WAIT(&c, whole->closed);
	assert_int_equal(whole->status, 0);
	assert_int_equal(c.goaway_code, 0);
	/* It closes once we have seen that; we read to the end, and go. */
	WAIT(&c, c.over);
	close(c.fd);
	c.fd = -1;
	WAIT(NULL, drained);
	buf_fini(&bodies[1].bytes);
	client_fini(&c);
	grpc_server_close(service.server);
}

/* Nobody answers, and the client does not go: it ends all the same. */
static void test_drain_deadline(void **arg)
{
	struct client c;

	(void)arg;
	serve(NULL);
	service.later = true;
	dial(&c);
	call_text(&c, "whole");
	WAIT(&c, service.open != NULL);
	grpc_server_drain(service.server, on_drained, &drained);
	WAIT(&c, drained);
	assert_int_equal(service.n_closed, 1);
	client_fini(&c);
	grpc_server_close(service.server);
}

static void test_no_http2(void **arg)
{
	struct client c;

	(void)arg;
	serve(NULL);
	dial(&c);
	assert_int_equal(send(c.fd, "GET / HTTP/1.1\r\n\r\n\r\n\r\n\r\n\r\n\r\n", 26, 0), 26);
	for (int i = 0; i < 1000 && refusals.n == 0; i++) {
		uv_run(loop_uv(loop), UV_RUN_NOWAIT);
		usleep(500);
	}
	assert_string_equal(buf_cstr(&refusals), "protocol;");
	WAIT(NULL, grpc_server_connections(service.server) == 0);
	client_fini(&c);
	grpc_server_close(service.server);
}

/* It asks and fetches nothing: what waits for it stays small, and the others go on. */
static void test_deaf_peer(void **arg)
{
	struct grpc_options o = {0};
	struct client deaf, c;
	struct answer *a;
	struct buf pings = {0};
	const uint8_t *p;
	ssize_t n;
	int size = 4096;
	size_t sent = 0;

	(void)arg;
	account_init(&account, "test", 64 << 20, NULL);
	o.listener.account = &account;
	o.listener.stuck_ms = 1000;
	serve(&o);
	dial(&deaf);
	setsockopt(deaf.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	while ((n = nghttp2_session_mem_send(deaf.h2, &p)) > 0)
		send(deaf.fd, p, (size_t)n, 0);
	for (int i = 0; i < 1000; i++)
		put_frame(&pings, NGHTTP2_PING, 0, 0, STR("12345678"));
	for (int i = 0; i < 4000 && sent < 40u << 20; i++) {
		struct str rest = str_sub(buf_view(&pings), sent % pings.n, pings.n);

		n = send(deaf.fd, rest.p, rest.n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			break;
		sent += n > 0 ? (size_t)n : 0;
		turn(NULL);
	}
	buf_fini(&pings);
	assert_true(account.peak < 2 << 20);
	dial(&c);
	a = call_text(&c, "x");
	WAIT(&c, a->closed);
	WAIT(&c, grpc_server_connections(service.server) == 1);
	client_fini(&c);
	client_fini(&deaf);
	grpc_server_close(service.server);
	assert_int_equal(account_held(&account), 0);
}

static void test_address(void **arg)
{
	struct grpc_options o = {.listener.address = "tcp://127.0.0.1:0", .methods = methods};
	struct grpc_server *s;
	struct error e;

	(void)arg;
	assert_int_equal(grpc_server_open(&s, loop, &o, &service, on_refused, &e), ERR_ARG);
	assert_non_null(strstr(e.text, "grpc://"));
	o.listener.address = "grpcs://127.0.0.1:0";
	assert_int_equal(grpc_server_open(&s, loop, &o, &service, on_refused, &e), ERR_ARG);
	assert_non_null(strstr(e.text, "tls.cert"));
}

static void test_status_of(void **arg)
{
	(void)arg;
	assert_int_equal(grpc_status_of(ERR_ARG), GRPC_INVALID_ARGUMENT);
	assert_int_equal(grpc_status_of(ERR_BUSY), GRPC_UNAVAILABLE);
	assert_int_equal(grpc_status_of(ERR_LIMIT), GRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(grpc_status_of(-1000), GRPC_INTERNAL);
}

static int set_up(void **arg)
{
	(void)arg;
	loop = loop_new("test");
	return 0;
}

static int tear_down(void **arg)
{
	(void)arg;
	service_reset();
	buf_fini(&refusals);
	loop_free(loop);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unary),
		cmocka_unit_test(test_slices),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_gzip),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_metadata_limit),
		cmocka_unit_test(test_later),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_expire),
		cmocka_unit_test(test_other_protocols),
		cmocka_unit_test(test_rapid_reset),
		cmocka_unit_test(test_broken_frames),
		cmocka_unit_test(test_continuation_flood),
		cmocka_unit_test(test_header_bomb),
		cmocka_unit_test(test_ping_flood),
		cmocka_unit_test(test_socket),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_drain_deadline),
		cmocka_unit_test(test_no_http2),
		cmocka_unit_test(test_deaf_peer),
		cmocka_unit_test(test_address),
		cmocka_unit_test(test_status_of),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
