/* SPDX-License-Identifier: Apache-2.0 */
/* A real server on a port of its own, asked by the real client and by bare sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/memory.h"
#include "net/client.h"
#include "net/http.h"

enum { BIG = 4 << 20, LIMIT = 8 << 20 };

static struct {
	struct http_server *server;
	struct account account;
	char url[64];
	unsigned port;
	_Atomic unsigned served, refused, was_gone, answering;
	_Atomic(struct http_request *) held;
	_Atomic(struct http_request *) last_held;
} t;

static void nap(unsigned ms)
{
	usleep(ms * 1000);
}

/* Handlers */

static void hello(struct http_request *r, void *ctx)
{
	http_set_header(r, "X-Test", "yes");
	http_reply(r, 200, NULL, STR("hello"));
}

static void echo(struct http_request *r, void *ctx)
{
	struct buf body = http_take_body(r);
	struct str type = STR("none");

	http_header(r, "content-type", &type);
	assert(body.n == 0 || body.cap - body.n >= 64);
	http_reply_buf(r, 200, "application/octet-stream", &body);
}

static void count(struct http_request *r, void *ctx)
{
	http_replyf(r, 200, "%zu", http_body(r).n);
}

static void *answer_late(void *arg)
{
	struct http_request *r = arg;
	struct str ms;
	uint64_t n = 20;

	if (http_param(r, "ms", &ms))
		str_u64(ms, &n);
	nap((unsigned)n);
	http_replyf(r, 200, "late %.*s", STR_ARG(http_path(r)));
	return NULL;
}

static void late(struct http_request *r, void *ctx)
{
	pthread_detach(thread_start("late", answer_late, r));
}

static void *answer_slowly(void *arg)
{
	static _Atomic unsigned turn;

	usleep(turn++ * 37 % 3000);
	http_replyf(arg, 200, "slow");
	t.answering--;
	return NULL;
}

/* Some at once, some late. */
static void slow(struct http_request *r, void *ctx)
{
	t.answering++;
	pthread_detach(thread_start("slow", answer_slowly, r));
}

static void *answer_when_gone(void *arg)
{
	struct http_request *r = arg;

	for (int i = 0; i < 500 && !http_gone(r); i++)
		nap(10);
	t.was_gone = http_gone(r) ? 1 : 2;
	http_replyf(r, 200, "too late");
	return NULL;
}

static void gone(struct http_request *r, void *ctx)
{
	pthread_detach(thread_start("gone", answer_when_gone, r));
}

static void hold(struct http_request *r, void *ctx)
{
	t.held = r;
}

static void form(struct http_request *r, void *ctx)
{
	struct buf b = {0};
	struct str v;

	buf_printf(&b, "%.*s ", STR_ARG(http_method(r)));
	for (size_t i = 0; http_param_nth(r, "q", i, &v); i++)
		buf_printf(&b, "[%.*s]", STR_ARG(v));
	http_reply_buf(r, 200, NULL, &b);
}

static void whoami(struct http_request *r, void *ctx)
{
	const struct http_identity *who = http_identity(r);

	http_replyf(r, 200, "%s", who->known ? who->tenant : "nobody");
}

static void segment(struct http_request *r, void *ctx)
{
	http_replyf(r, 200, "%.*s from %s", STR_ARG(http_segment(r, "name")), http_peer(r));
}

static void none(struct http_request *r, void *ctx)
{
	http_set_header(r, "X-Bad", "a\r\nX-Injected: b");
	http_replyf(r, 204, "not sent");
}

static void large(struct http_request *r, void *ctx)
{
	struct buf b = {0};

	memset(buf_reserve(&b, BIG), 'x', BIG);
	b.n = BIG;
	http_reply_buf(r, 200, NULL, &b);
}

static const struct http_route routes[] = {
	{"/hello", HTTP_GET | HTTP_CORS, hello, ""},
	{"/echo", HTTP_POST | HTTP_PUT | HTTP_BIG, echo, ""},
	{"/small", HTTP_POST, count, ""},
	{"/late", HTTP_GET, late, ""},
	{"/slow", HTTP_POST, slow, ""},
	{"/gone", HTTP_GET, gone, ""},
	{"/hold", HTTP_GET | HTTP_POST | HTTP_BIG, hold, ""},
	{"/form", HTTP_GET | HTTP_POST | HTTP_FORM, form, ""},
	{"/label/{name}/values", HTTP_GET, segment, ""},
	{"/none", HTTP_DELETE, none, ""},
	{"/large", HTTP_GET, large, ""},
	{"/whoami", HTTP_GET, whoami, ""},
	{0},
};

static void on_served(void *ctx, const char *route, int status)
{
	t.served++;
}

static void on_refused(void *ctx, const char *route, int status, const char *reason)
{
	assert_true(status >= 400 && *reason);
	t.refused++;
}

/* A header asks for a refusal, another names who it is. */
static int on_admit(
	void *ctx, const struct http_request *r, struct http_identity *who, struct error *e)
{
	struct str text;
	uint64_t status;

	assert(http_route_of(r) && http_body(r).n == 0);
	if (http_header(r, "X-Refuse", &text) && str_u64(text, &status)) {
		error_set(e, ERR_DENIED, "not you");
		return (int)status;
	}
	who->known = http_header(r, "X-Tenant", &text);
	if (who->known)
		str_copy(text, who->tenant, sizeof who->tenant);
	return 0;
}

static int set_up(void **state)
{
	static const char *const listen_on[] = {"127.0.0.1:0", NULL};
	struct http_options o = {.listen = listen_on,
		.n_threads = 2,
		.max_body = LIMIT,
		.account = &t.account,
		.routes = routes,
		.served = on_served,
		.refused = on_refused,
		.admit = on_admit};
	struct error e;

	memset(&t, 0, sizeof t);
	account_init(&t.account, "http", 2 * LIMIT, NULL);
	if (http_server_start(&t.server, &o, &e) < 0)
		fail_msg("%s", e.text);
	t.port = http_server_port(t.server, 0);
	snprintf(t.url, sizeof t.url, "http://127.0.0.1:%u", t.port);
	return 0;
}

static int tear_down(void **state)
{
	http_server_stop(t.server, 3000);
	assert_int_equal(account_held(&t.account), 0);
	return 0;
}

/* Clients */

static struct http_client *client(void)
{
	struct http_client_options o = {.url = t.url, .timeout_ms = 20000};
	struct http_client *c;
	struct error e;

	if (http_client_new(&c, &o, &e) < 0)
		fail_msg("%s", e.text);
	return c;
}

static int call(struct http_client *c, const char *method, const char *path, struct str body,
	const char *type, struct http_answer *a)
{
	struct error e;

	if (http_client_call(c, method, path, body, type, NULL, BIG * 2, a, &e) < 0)
		fail_msg("%s", e.text);
	return a->status;
}

/* Status and body in one assertion; text NULL is any. */
static void expect(struct http_client *c, const char *method, const char *path, struct str body,
	const char *type, int status, const char *text)
{
	struct http_answer a;

	assert_int_equal(call(c, method, path, body, type, &a), status);
	if (text)
		assert_string_equal(buf_cstr(&a.body), text);
	http_answer_fini(&a);
}

static int dial(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)t.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Everything up to the end of the stream. */
static void hear(int fd, struct buf *out)
{
	struct timeval patience = {.tv_sec = 10};
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	while ((n = recv(fd, buf_reserve(out, 4096), 4096, 0)) > 0)
		out->n += (size_t)n;
	assert_int_equal(n, 0);
	buf_cstr(out);
}

/* Tests */

static void answers(void **state)
{
	struct http_client *c = client();
	struct http_answer a;

	expect(c, "GET", "/hello", STR_NONE, NULL, 200, "hello");
	expect(c, "HEAD", "/hello", STR_NONE, NULL, 200, "");
	expect(c, "GET", "/label/a%2Fb%2541/values", STR_NONE, NULL, 200, "a/b%41 from 127.0.0.1");
	expect(c, "DELETE", "/none", STR_NONE, NULL, 204, "");
	expect(c, "GET", "/nope", STR_NONE, NULL, 404, "no such path: /nope");
	expect(c, "POST", "/nope", STR("body"), NULL, 404, "no such path: /nope");
	expect(c, "POST", "/hello", STR("x"), NULL, 405,
		"/hello takes GET, HEAD, OPTIONS, not POST");
	expect(c, "PATCH", "/none", STR_NONE, NULL, 405, "/none takes DELETE, not PATCH");
	expect(c, "OPTIONS", "/none", STR_NONE, NULL, 405, NULL);
	expect(c, "OPTIONS", "/hello", STR_NONE, NULL, 204, "");
	expect(c, "GET", "/a%2", STR_NONE, NULL, 400, NULL);
	assert_int_equal(call(c, "GET", "/large", STR_NONE, NULL, &a), 200);
	assert_int_equal(a.body.n, BIG);
	http_answer_fini(&a);
	assert_int_equal(t.served, 6);
	assert_int_equal(t.refused, 6);
	http_client_free(c);
}

static void has_headers(void **state)
{
	struct buf out = {0};
	int fd = dial();

	say(fd, "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	hear(fd, &out);
	close(fd);
	assert_non_null(strstr(out.p, "X-Content-Type-Options: nosniff\r\n"));
	assert_non_null(strstr(out.p, "Access-Control-Allow-Origin: *\r\n"));
	assert_non_null(strstr(out.p, "Content-Type: text/plain; charset=utf-8\r\n"));
	assert_non_null(strstr(out.p, "X-Test: yes\r\n"));
	buf_clear(&out);
	fd = dial();
	say(fd, "DELETE /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	hear(fd, &out);
	close(fd);
	assert_null(strstr(out.p, "X-Injected"));
	assert_null(strstr(out.p, "Content-Type:"));
	buf_clear(&out);
	fd = dial();
	say(fd, "PUT /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: "
		"close\r\n\r\nx");
	hear(fd, &out);
	close(fd);
	assert_non_null(strstr(out.p, " 405 "));
	assert_non_null(strstr(out.p, "Allow: GET, HEAD, OPTIONS\r\n"));
	buf_fini(&out);
}

static void reads_forms(void **state)
{
	static const char type[] = "Application/x-www-form-urlencoded ; charset=utf-8";
	struct http_client *c = client();

	expect(c, "GET", "/form?q=a%20b+c&q=&x=1&q=%25", STR_NONE, NULL, 200, "GET [a b c][][%]");
	expect(c, "POST", "/form?q=3", STR("q=4&q=5%26"), type, 200, "POST [4][5&][3]");
	expect(c, "POST", "/form?q=3", STR("q=4"), "text/plain", 200, "POST [3]");
	expect(c, "GET", "/form?q=%zz", STR_NONE, NULL, 400,
		"query: parameter 'q': '%zz' is no percent-encoded byte: write % as %25");
	expect(c, "POST", "/form", STR("q=%"), type, 400, NULL);
	http_client_free(c);
}

static void takes_bodies(void **state)
{
	struct http_client *c = client();
	struct buf body = {0};
	struct http_answer a;

	for (size_t i = 0; i < BIG; i += 8)
		buf_printf(&body, "%07zx\n", i);
	assert_int_equal(call(c, "POST", "/echo", buf_view(&body), NULL, &a), 200);
	assert_true(str_eq(buf_view(&a.body), buf_view(&body)));
	http_answer_fini(&a);
	assert_int_equal(call(c, "PUT", "/echo", STR_NONE, NULL, &a), 200);
	assert_int_equal(a.body.n, 0);
	http_answer_fini(&a);
	expect(c, "POST", "/small", str_make(body.p, 65536), NULL, 200, "65536");
	buf_fini(&body);
	http_client_free(c);
}

static void takes_chunks(void **state)
{
	struct buf out = {0}, piece = {0};
	int fd = dial();

	say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: "
		"close\r\n\r\n");
	for (int i = 0; i < 300; i++) {
		char head[16];
		buf_clear(&piece);
		memset(buf_reserve(&piece, 5000), 'a' + i % 26, 5000);
		piece.n = 5000;
		snprintf(head, sizeof head, "%x\r\n", 5000);
		say(fd, head);
		buf_c(&piece, "\r\n");
		say(fd, buf_cstr(&piece));
	}
	say(fd, "0\r\n\r\n");
	hear(fd, &out);
	close(fd);
	assert_non_null(strstr(out.p, "Content-Length: 1500000\r\n"));
	assert_int_equal(out.p[out.n - 1], 'a' + 299 % 26);
	buf_fini(&out);
	buf_fini(&piece);
}

static void refuses_large_bodies(void **state)
{
	struct http_client *c = client();
	struct buf body = {0}, out = {0};
	int fd = dial();

	buf_reserve(&body, 5 * LIMIT);
	memset(body.p, 'x', 5 * LIMIT);
	body.n = 5 * LIMIT;
	/* The client gets the sentence, not a reset, and the connection lives on. */
	for (int i = 0; i < 3; i++)
		expect(c, "POST", "/echo", buf_view(&body), NULL, 413,
			"body of 40MiB is over the limit of 8MiB: send smaller batches");
	expect(c, "POST", "/small", str_make(body.p, 65537), NULL, 413,
		"body of 65537 bytes is over the limit of 64KiB: send smaller batches");
	/* Chunked: known only on the way. */
	say(fd, "POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: "
		"close\r\n\r\n20000\r\n");
	body.p[0x20000] = 0;
	say(fd, body.p);
	say(fd, "\r\n0\r\n\r\n");
	hear(fd, &out);
	close(fd);
	assert_non_null(strstr(out.p, "body is over the limit of 64KiB: send smaller batches"));
	assert_int_equal(t.refused, 5);
	buf_fini(&out);
	buf_fini(&body);
	http_client_free(c);
}

/* The head of a request in, the answer out. */
static void ask(const char *head, struct buf *out)
{
	int fd = dial();

	buf_clear(out);
	say(fd, head);
	hear(fd, out);
	close(fd);
}

static void admits(void **state)
{
	struct buf out = {0}, body = {0};
	int fd;

	ask("GET /whoami HTTP/1.1\r\nHost: x\r\nX-Tenant: acme\r\nConnection: close\r\n\r\n", &out);
	assert_non_null(strstr(out.p, "\r\n\r\nacme"));
	ask("GET /whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &out);
	assert_non_null(strstr(out.p, "\r\n\r\nnobody"));
	assert_int_equal(t.refused, 0);
	ask("GET /whoami HTTP/1.1\r\nHost: x\r\nX-Refuse: 401\r\nConnection: close\r\n\r\n", &out);
	assert_non_null(strstr(out.p, "HTTP/1.1 401 "));
	assert_non_null(strstr(out.p, "\r\nWWW-Authenticate: Bearer\r\n"));
	assert_non_null(strstr(out.p, "\r\nWWW-Authenticate: Basic realm=\"sawlog\"\r\n"));
	assert_non_null(strstr(out.p, "\r\n\r\nnot you"));
	/* A body that is announced as large is not waited for, one that never ends is cut. */
	ask("POST /echo HTTP/1.1\r\nHost: x\r\nX-Refuse: 403\r\nContent-Length: 8000000\r\n\r\n",
		&out);
	assert_non_null(strstr(out.p, "HTTP/1.1 403 "));
	assert_null(strstr(out.p, "WWW-Authenticate"));
	/* One of common size is read and thrown away, and the connection lives on. */
	buf_reserve(&body, 500001);
	memset(body.p, 'x', 500000);
	body.n = 500000;
	fd = dial();
	for (int i = 0; i < 2; i++) {
		say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nX-Refuse: 401\r\nContent-Length: 500000\r\n\r\n");
		say(fd, buf_cstr(&body));
		assert_int_equal(account_held(&t.account), 0);
	}
	say(fd, "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	buf_clear(&out);
	hear(fd, &out);
	close(fd);
	assert_non_null(strstr(out.p, "HTTP/1.1 200 "));
	assert_int_equal(t.refused, 4);
	/* No path and preflights are answered before anybody is asked. */
	ask("GET /nowhere HTTP/1.1\r\nHost: x\r\nX-Refuse: 401\r\nConnection: close\r\n\r\n", &out);
	assert_non_null(strstr(out.p, "HTTP/1.1 404 "));
	ask("OPTIONS /hello HTTP/1.1\r\nHost: x\r\nX-Refuse: 401\r\nConnection: close\r\n\r\n",
		&out);
	assert_non_null(strstr(out.p, "HTTP/1.1 204 "));
	buf_fini(&out);
	buf_fini(&body);
}

/* A client that waits for leave to send is told at once. */
static void refuses_before_the_body(void **state)
{
	struct buf out = {0};
	int fd = dial();

	say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
		"999999999999\r\n\r\n");
	hear(fd, &out);
	close(fd);
	assert_non_null(strstr(out.p, " 413 "));
	assert_null(strstr(out.p, " 100 "));
	buf_fini(&out);
}

static void refuses_when_memory_is_full(void **state)
{
	struct http_client *c = client();
	struct buf body = {0};
	struct http_answer a;

	memset(buf_reserve(&body, BIG), 'x', BIG);
	body.n = BIG;
	account_force(&t.account, 2 * LIMIT - 1000);
	assert_int_equal(call(c, "POST", "/echo", buf_view(&body), NULL, &a), 429);
	assert_string_equal(
		buf_cstr(&a.body), "no memory for 4MiB of body now: try again in a second");
	assert_int_equal(a.retry_after_s, 1);
	http_answer_fini(&a);
	assert_int_equal(t.refused, 1);
	account_release(&t.account, 2 * LIMIT - 1000);
	expect(c, "POST", "/echo", buf_view(&body), NULL, 200, NULL);
	assert_int_equal(account_held(&t.account), 0);
	buf_fini(&body);
	http_client_free(c);
}

static void keeps_the_charge_until_the_answer(void **state)
{
	int fd = dial();

	say(fd, "POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
	while (!t.held)
		nap(1);
	assert_int_equal(account_held(&t.account), 5);
	http_reply(t.held, 200, NULL, STR("done"));
	assert_int_equal(account_held(&t.account), 0);
	close(fd);
}

static void answers_late(void **state)
{
	struct http_client *c = client();

	expect(c, "GET", "/late", STR_NONE, NULL, 200, "late /late");
	/* At once from another thread: before, while and after the connection is suspended. */
	for (int i = 0; i < 200; i++)
		expect(c, "GET", "/late?ms=0", STR_NONE, NULL, 200, "late /late");
	http_client_free(c);
}

static void keeps_connections(void **state)
{
	struct buf out = {0};
	int fd = dial();

	for (int i = 0; i < 20; i++)
		say(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	say(fd, "GET /late HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	hear(fd, &out);
	close(fd);
	assert_int_equal(t.served, 21);
	buf_fini(&out);
}

static void notices_gone_clients(void **state)
{
	int fd = dial();

	say(fd, "GET /gone HTTP/1.1\r\nHost: x\r\n\r\n");
	nap(100);
	assert_int_equal(t.was_gone, 0);
	close(fd);
	for (int i = 0; i < 300 && !t.was_gone; i++)
		nap(10);
	assert_int_equal(t.was_gone, 1);
}

static void *ask_often(void *arg)
{
	struct http_client *c = client();

	for (int i = 0; i < 5; i++) {
		expect(c, "GET", i % 2 ? "/late?ms=1" : "/hello", STR_NONE, NULL, 200, NULL);
		expect(c, "POST", "/echo", STR("some body"), NULL, 200, "some body");
	}
	http_client_free(c);
	return NULL;
}

static void serves_many(void **state)
{
	pthread_t threads[100];

	for (size_t i = 0; i < 100; i++)
		threads[i] = thread_start("ask", ask_often, NULL);
	for (size_t i = 0; i < 100; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(t.served, 1000);
}

/* Clients that never finish their request do not keep others from theirs. */
static void outlives_slow_clients(void **state)
{
	struct http_client *c = client();
	int fds[200];

	for (size_t i = 0; i < 200; i++) {
		fds[i] = dial();
		say(fds[i], i % 2 ? "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab"
				  : "GET /hel");
	}
	for (int i = 0; i < 20; i++)
		expect(c, "GET", "/hello", STR_NONE, NULL, 200, "hello");
	for (size_t i = 0; i < 200; i++)
		close(fds[i]);
	http_client_free(c);
}

static void stops_with_requests_open(void **state)
{
	struct buf out = {0};
	int fd = dial(), half = dial();

	say(half, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab");
	say(fd, "POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
	while (!t.held)
		nap(1);
	http_server_stop(t.server, 50);
	hear(fd, &out);
	assert_non_null(strstr(out.p, " 503 "));
	assert_int_equal(account_held(&t.account), 0);
	/* The handler is late: its views are still good, its answer goes nowhere. */
	assert_true(http_gone(t.held));
	assert_true(str_eq(http_body(t.held), STR("hello")));
	http_reply(t.held, 200, NULL, STR("done"));
	close(fd);
	close(half);
	buf_fini(&out);
}

static void stop_waits_for_answers(void **state)
{
	struct buf out = {0};
	int fd = dial();

	say(fd, "GET /late?ms=200 HTTP/1.1\r\nHost: x\r\n\r\n");
	nap(50);
	http_server_stop(t.server, 5000);
	hear(fd, &out);
	assert_non_null(strstr(out.p, "late /late"));
	close(fd);
	buf_fini(&out);
}

static void *ask_until_refused(void *arg)
{
	struct http_client *c = client();
	struct http_answer a = {0};
	int r;

	do {
		http_answer_fini(&a);
		r = http_client_call(c, "POST", "/slow", STR("body"), NULL, NULL, BIG, &a, NULL);
	} while (r == 0 && a.status == 200);
	/* Told, or cut off before anything was answered: never half an answer. */
	if (r == 0)
		assert(a.status == 503);
	http_answer_fini(&a);
	http_client_free(c);
	return NULL;
}

static int open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Requests in each state while the server stops, with patience and without. */
static void stops_under_load(void **state)
{
	int files = open_files();

	for (int round = 0; round < 20; round++) {
		pthread_t threads[8];
		set_up(NULL);
		for (size_t i = 0; i < 8; i++)
			threads[i] = thread_start("ask", ask_until_refused, NULL);
		nap((unsigned)round * 2);
		http_server_stop(t.server, round % 2 ? 1000 : 0);
		assert_int_equal(account_held(&t.account), 0);
		for (size_t i = 0; i < 8; i++)
			pthread_join(threads[i], NULL);
		/* The handlers that were late. */
		while (t.answering)
			nap(1);
	}
	assert_int_equal(open_files(), files);
}

static void check_listen(const char *address, int code, const char *text)
{
	const char *const listen_on[] = {"127.0.0.1:0", address, NULL};
	struct http_options o = {.listen = listen_on, .max_body = 1, .routes = routes};
	struct http_server *s;
	struct error e;
	int r = http_server_start(&s, &o, &e);

	assert_int_equal(r, code);
	if (r < 0)
		assert_string_equal(e.text, text);
	else
		http_server_stop(s, 0);
}

static void explains_listen_errors(void **state)
{
	char taken[64], text[256];

	snprintf(taken, sizeof taken, "127.0.0.1:%u", t.port);
	snprintf(text, sizeof text,
		"http: cannot listen on %s: address already in use (another sawlog? choose another "
		"with --http)",
		taken);
	check_listen(taken, ERR_NET, text);
	check_listen("[::1]:0", 0, "");
	check_listen("localhost", ERR_ARG,
		"http: listen address 'localhost' has no port: write host:port");
	check_listen("::1:80", ERR_ARG,
		"http: listen address '::1:80': an IPv6 address stands in brackets: [::1]:3100");
	check_listen("127.0.0.1:70000", ERR_ARG,
		"http: listen address '127.0.0.1:70000': port must be 0 to 65535");
}

/* Client */

static void *cancel_soon(void *arg)
{
	nap(100);
	http_client_cancel(arg);
	return NULL;
}

static void client_cancels(void **state)
{
	struct http_client *c = client();
	pthread_t thread = thread_start("cancel", cancel_soon, c);
	struct http_answer a;
	struct error e;
	time_t from = time(NULL);
	int r = http_client_call(c, "GET", "/late?ms=3000", STR_NONE, NULL, NULL, BIG, &a, &e);

	assert_int_equal(r, ERR_CANCELLED);
	assert_true(time(NULL) - from < 2);
	r = http_client_call(c, "GET", "/hello", STR_NONE, NULL, NULL, BIG, &a, &e);
	assert_int_equal(r, ERR_CANCELLED);
	pthread_join(thread, NULL);
	http_client_free(c);
}

static void client_explains(void **state)
{
	struct http_client_options o = {.url = "http://me:secret@127.0.0.1:1/x", .timeout_ms = 100};
	struct http_client *c;
	struct http_answer a;
	struct error e;

	assert_int_equal(http_client_new(&c, &o, &e), 0);
	assert_int_equal(
		http_client_call(c, "GET", "/", STR_NONE, NULL, NULL, 10, &a, &e), ERR_NET);
	assert_string_equal(e.text, "http://127.0.0.1:1: connection refused");
	http_client_free(c);
	o.url = "ftp://x";
	assert_int_equal(http_client_new(&c, &o, &e), ERR_ARG);
	o.url = "http://";
	assert_int_equal(http_client_new(&c, &o, &e), ERR_ARG);
	o.url = t.url;
	o.tenant = "a\nb";
	assert_int_equal(http_client_new(&c, &o, &e), ERR_ARG);
	o.tenant = NULL;
	assert_int_equal(http_client_new(&c, &o, &e), 0);
	assert_int_equal(
		http_client_call(c, "GET", "/late?ms=500", STR_NONE, NULL, NULL, 10, &a, &e),
		ERR_NET);
	assert_non_null(strstr(e.text, "no answer within 100 ms"));
	assert_int_equal(
		http_client_call(c, "GET", "/hello", STR_NONE, NULL, NULL, 4, &a, &e), ERR_LIMIT);
	assert_non_null(strstr(e.text, "larger than the limit of 4 bytes"));
	http_client_free(c);
}

#define SERVED(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVED(answers),
		SERVED(has_headers),
		SERVED(reads_forms),
		SERVED(takes_bodies),
		SERVED(takes_chunks),
		SERVED(refuses_large_bodies),
		SERVED(admits),
		SERVED(refuses_before_the_body),
		SERVED(refuses_when_memory_is_full),
		SERVED(keeps_the_charge_until_the_answer),
		SERVED(answers_late),
		SERVED(keeps_connections),
		SERVED(notices_gone_clients),
		SERVED(serves_many),
		SERVED(outlives_slow_clients),
		SERVED(explains_listen_errors),
		SERVED(client_cancels),
		SERVED(client_explains),
		cmocka_unit_test_setup(stops_with_requests_open, set_up),
		cmocka_unit_test_setup(stop_waits_for_answers, set_up),
		cmocka_unit_test(stops_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
