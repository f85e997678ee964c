/* SPDX-License-Identifier: Apache-2.0 */
/* The server's WebSockets, asked by our client and by a bare socket.  Both .c files are included
 * to reach the hub's times and the client's frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/memory.h"
#include "net/request.h"

#include "net/websocket.c"
#include "net/ws_client.c"

static struct {
	struct http_server *server;
	struct account account;
	char url[64];
	unsigned port;
	_Atomic int opened, closed, drained;
	_Atomic(struct ws *) ws;
	struct buf big; /* what /big sends */
} t;

static void nap(unsigned ms)
{
	usleep(ms * 1000);
}

/* Handlers */

static char mine[] = "arg"; /* what events get */

static void on_open(struct ws *w, void *arg)
{
	assert(arg == mine);
	t.opened++;
	t.ws = w;
}

static void on_text(struct ws *w, struct str message, void *arg)
{
	int r;

	/* Under a server that stops, the socket may be closing already. */
	if (str_eq_c(message, "x")) {
		ws_send(w, message);
		return;
	}
	if (str_eq_c(message, "close")) {
		ws_close(w, 4321, "as you wish");
		r = ws_send(w, STR("more"));
		assert(r == ERR_CLOSED);
		return;
	}
	r = ws_send(w, message);
	assert(r == 0);
}

static void on_drained(struct ws *w, void *arg)
{
	t.drained++;
}

static void on_closed(struct ws *w, void *arg)
{
	assert(arg == mine);
	t.closed++;
}

static const struct ws_events events = {
	.open = on_open, .text = on_text, .drained = on_drained, .closed = on_closed};

static void upgrade(struct http_request *r, void *ctx)
{
	http_upgrade(r, &events, mine);
}

static void on_big_open(struct ws *w, void *arg)
{
	int r = ws_send(w, buf_view(&t.big));

	assert(r == 0);
	on_open(w, arg);
}

static void upgrade_big(struct http_request *r, void *ctx)
{
	static const struct ws_events big = {.open = on_big_open, .closed = on_closed};

	http_upgrade(r, &big, mine);
}

static void refuse_upgrade_400(struct http_request *r, void *ctx)
{
	http_replyf(r, 400, "parse error:\nunexpected '}'");
}

static const struct http_route routes[] = {
	{"/p/ws", HTTP_GET, upgrade, ""},
	{"/p/big", HTTP_GET, upgrade_big, ""},
	{"/p/bad", HTTP_GET, refuse_upgrade_400, ""},
	{0},
};

static int set_up(void **state)
{
	static const char *const listen_on[] = {"127.0.0.1:0", NULL};
	struct http_options o = {.listen = listen_on,
		.n_threads = 2,
		.max_body = 1 << 20,
		.account = &t.account,
		.routes = routes};
	struct error e;

	memset(&t, 0, sizeof t);
	account_init(&t.account, "http", 64 << 20, NULL);
	if (http_server_start(&t.server, &o, &e) < 0)
		fail_msg("%s", e.text);
	t.port = http_server_port(t.server, 0);
	snprintf(t.url, sizeof t.url, "http://127.0.0.1:%u/p/", t.port);
	return 0;
}

static int tear_down(void **state)
{
	http_server_stop(t.server, 3000);
	assert_int_equal(account_held(&t.account), 0);
	buf_fini(&t.big);
	return 0;
}

/* Clients */

static struct ws_client *open_client(const char *path)
{
	struct http_client_options o = {.url = t.url, .tenant = "x", .user = "me:secret"};
	struct ws_client *w;
	struct error e;

	if (ws_client_open(&w, &o, path, &e) < 0)
		fail_msg("%s", e.text);
	return w;
}

static bool client_send_may_fail(struct ws_client *w, struct str s)
{
	struct wslay_event_msg m = {WSLAY_TEXT_FRAME, (const uint8_t *)s.p, s.n};
	int r = wslay_event_queue_msg(w->wslay, &m);

	while (r == 0 && wslay_event_want_write(w->wslay))
		r = wslay_event_send(w->wslay);
	return r == 0;
}

static void client_send(struct ws_client *w, struct str s)
{
	assert_true(client_send_may_fail(w, s));
}

static void expect_next(struct ws_client *w, struct str text)
{
	struct buf got = {0};
	struct error e;

	if (ws_client_next(w, &got, 10000, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(got.n, text.n);
	assert_true(str_eq(buf_view(&got), text));
	buf_fini(&got);
}

static void expect_end(struct ws_client *w, int code, const char *text)
{
	struct buf got = {0};
	struct error e;

	assert_int_equal(ws_client_next(w, &got, 10000, &e), code);
	assert_non_null(strstr(e.text, text));
	assert_int_equal(ws_client_next(w, &got, 10000, &e), code);
	assert_int_equal(got.n, 0);
	ws_client_free(w);
	buf_fini(&got);
}

static void wait_for(_Atomic int *counter, int n)
{
	for (int i = 0; i < 1000 && *counter != n; i++)
		nap(10);
	assert_int_equal(*counter, n);
}

/* A bare socket behind its handshake; the answer's head is read. */
static int dial(const char *path, const char *key, struct buf *head)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)t.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval patience = {.tv_sec = 10};
	struct buf request = {0};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	buf_printf(&request,
		"GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: keep-alive, "
		"Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
		path, key);
	assert_int_equal(send(fd, request.p, request.n, MSG_NOSIGNAL), request.n);
	buf_clear(head);
	while (str_find(buf_view(head), STR("\r\n\r\n")) < 0) {
		ssize_t n = recv(fd, buf_reserve(head, 1), 1, 0);
		assert_int_equal(n, 1);
		head->n++;
	}
	buf_cstr(head);
	buf_fini(&request);
	return fd;
}

/* Tests */

static void shakes_hands(void **state)
{
	struct buf head = {0};
	int fd = dial("/p/ws", "dGhlIHNhbXBsZSBub25jZQ==", &head);

	/* The example of RFC 6455, section 1.3. */
	assert_non_null(strstr(head.p, "HTTP/1.1 101 "));
	assert_non_null(strstr(head.p, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
	assert_non_null(strstr(head.p, "Upgrade: websocket\r\n"));
	assert_non_null(strstr(head.p, "Connection: Upgrade\r\n"));
	wait_for(&t.opened, 1);
	close(fd);
	wait_for(&t.closed, 1);
	fd = dial("/p/ws", "tooshort", &head);
	assert_non_null(strstr(head.p, "HTTP/1.1 400 "));
	wait_for(&t.closed, 2); /* alone: it was never opened */
	assert_int_equal(t.opened, 1);
	close(fd);
	buf_fini(&head);
}

static void echoes(void **state)
{
	struct ws_client *w = open_client("/ws");
	struct buf text = {0};
	static const size_t sizes[] = {0, 1, 125, 126, 4096, 65535, 65536};

	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		buf_clear(&text);
		for (size_t n = 0; n < sizes[i]; n++)
			buf_char(&text, (char)('a' + n % 26));
		client_send(w, buf_view(&text));
		expect_next(w, buf_view(&text));
	}
	for (int i = 0; i < 100; i++)
		client_send(w, STR("many"));
	for (int i = 0; i < 100; i++)
		expect_next(w, STR("many"));
	assert_int_equal(ws_client_next(w, &text, 10, NULL), ERR_TIMEOUT);
	ws_client_free(w);
	wait_for(&t.closed, 1);
	buf_fini(&text);
}

static void closes_with_code_and_reason(void **state)
{
	struct ws_client *w = open_client("/ws");

	client_send(w, STR("close"));
	expect_end(w, ERR_CLOSED, "closed by the server: 4321 as you wish");
	wait_for(&t.closed, 1);
}

/* What the client must not send ends with the code that says so. */
static void enforces_the_protocol(void **state)
{
	struct ws_client *w = open_client("/ws");
	struct buf text = {0}, head = {0};
	unsigned char frame[4];
	int fd;

	memset(buf_reserve(&text, 65537), 'x', 65537);
	text.n = 65537;
	client_send(w, buf_view(&text));
	expect_end(w, ERR_CLOSED, "1009");
	w = open_client("/ws");
	client_send(w, STR("bad utf-8 \xff\xfe"));
	expect_end(w, ERR_CLOSED, "1007");
	wait_for(&t.closed, 2);
	/* An unmasked frame. */
	fd = dial("/p/ws", "dGhlIHNhbXBsZSBub25jZQ==", &head);
	assert_int_equal(send(fd, "\x81\x01x", 3, MSG_NOSIGNAL), 3);
	assert_int_equal(recv(fd, frame, 4, MSG_WAITALL), 4);
	assert_memory_equal(frame, "\x88\x02\x03\xea", 4); /* close 1002 */
	close(fd); /* the server has waited for that, or it would have been a reset */
	wait_for(&t.closed, 3);
	buf_fini(&text);
	buf_fini(&head);
}

static void sends_big_messages(void **state)
{
	struct ws_client *w;

	for (size_t i = 0; i < 8 << 20; i += 8)
		buf_printf(&t.big, "%07zx\n", i);
	w = open_client("/big");
	expect_next(w, buf_view(&t.big));
	ws_client_free(w);
	wait_for(&t.closed, 1);
}

static void reports_refusals(void **state)
{
	struct http_client_options o = {.url = t.url};
	struct ws_client *w;
	struct error e;

	assert_int_equal(ws_client_open(&w, &o, "/bad", &e), ERR_ARG);
	assert_string_equal(e.text, "parse error: unexpected '}'");
	assert_int_equal(ws_client_open(&w, &o, "/nope", &e), ERR_NET);
	assert_non_null(strstr(e.text, ": status 404: no such path: /p/nope"));
	o.url = "http://127.0.0.1:1";
	assert_int_equal(ws_client_open(&w, &o, "/", &e), ERR_NET);
	assert_string_equal(e.text, "http://127.0.0.1:1: connection refused");
}

/* A client that does not read: the queue is bounded, and drained says when to go on. */
static void pushes_back(void **state)
{
	struct ws_client *w = open_client("/ws");
	struct buf text = {0}, got = {0};
	unsigned sent = 0;
	int r = 0;

	wait_for(&t.opened, 1);
	memset(buf_reserve(&text, 100000), 'x', 100000);
	text.n = 100000;
	/* The sockets' own buffers take some MiB first. */
	for (int idle = 0; idle < 50;) {
		if ((r = ws_send(t.ws, buf_view(&text))) == 0) {
			sent++;
			idle = 0;
		} else {
			assert_int_equal(r, ERR_BUSY);
			idle++;
			nap(2);
		}
		assert_true(ws_queued(t.ws) <= WS_MAX_QUEUE);
	}
	assert_true(ws_queued(t.ws) > WS_MAX_QUEUE - 110000);
	assert_int_equal(account_held(&t.account), ws_queued(t.ws));
	t.drained = 0;
	for (unsigned i = 0; i < sent; i++)
		expect_next(w, buf_view(&text));
	wait_for(&t.drained, 1);
	assert_int_equal(ws_queued(t.ws), 0);
	assert_int_equal(account_held(&t.account), 0);
	assert_int_equal(ws_client_next(w, &got, 10, NULL), ERR_TIMEOUT);
	ws_client_free(w);
	wait_for(&t.closed, 1);
	buf_fini(&text);
	buf_fini(&got);
}

/* Where others have the account full, a message is taken as long as none waits: who reads gets on.
 */
static void goes_on_in_a_full_account(void **state)
{
	struct ws_client *w = open_client("/ws");
	int r;

	wait_for(&t.opened, 1);
	account_force(&t.account, t.account.limit);
	for (unsigned i = 0; i < 3; i++) {
		/* What went before may not be on the wire yet. */
		while ((r = ws_send(t.ws, STR("abc"))) == ERR_BUSY)
			nap(1);
		assert_int_equal(r, 0);
		expect_next(w, STR("abc"));
	}
	account_release(&t.account, t.account.limit);
	ws_client_free(w);
	wait_for(&t.closed, 1);
}

/* Pongs for one who pings and never reads do not pile up. */
static void bounds_pongs(void **state)
{
	struct buf head = {0}, pings = {0};
	int fd = dial("/p/ws", "dGhlIHNhbXBsZSBub25jZQ==", &head);
	size_t total = 0;

	for (int i = 0; i < 1000; i++) {
		char ping[6 + 125] = "\x89\xfd\0\0\0\0";
		memset(ping + 6, 'x', 125);
		buf_put(&pings, ping, sizeof ping);
	}
	/* Until both directions are full. */
	for (int idle = 0; idle < 50;) {
		ssize_t n = send(fd, pings.p + total % pings.n, pings.n - total % pings.n,
			MSG_NOSIGNAL | MSG_DONTWAIT);
		idle = n > 0 ? 0 : idle + 1;
		total += n > 0 ? (size_t)n : 0;
		if (n <= 0)
			nap(2);
		assert_true(account_held(&t.account) < 2 * WS_MAX_QUEUE);
		assert_true(total < 256 << 20);
	}
	close(fd);
	wait_for(&t.closed, 1);
	buf_fini(&head);
	buf_fini(&pings);
}

static void pings(void **state)
{
	struct ws_client *w;
	struct buf head = {0}, got = {0};
	unsigned char frame[2];
	int fd;

	t.server->hub->ping_ms = 500;
	t.server->hub->dead_ms = 2500;
	w = open_client("/ws");
	fd = dial("/p/ws", "dGhlIHNhbXBsZSBub25jZQ==", &head);
	wait_for(&t.opened, 2);
	assert_int_equal(recv(fd, frame, 2, MSG_WAITALL), 2);
	assert_memory_equal(frame, "\x89\0", 2);
	/* One answers, the other is dead to us. */
	for (int i = 0; i < 40; i++)
		assert_int_equal(ws_client_next(w, &got, 100, NULL), ERR_TIMEOUT);
	assert_int_equal(t.closed, 1);
	while (recv(fd, frame, 2, 0) > 0)
		;
	client_send(w, STR("alive"));
	expect_next(w, STR("alive"));
	close(fd);
	ws_client_free(w);
	buf_fini(&head);
	buf_fini(&got);
}

static void stops_with_sockets_open(void **state)
{
	struct ws_client *clients[20];
	struct buf head = {0}, rest = {0};
	int deaf = dial("/p/ws", "dGhlIHNhbXBsZSBub25jZQ==", &head);

	for (size_t i = 0; i < 20; i++)
		clients[i] = open_client("/ws");
	wait_for(&t.opened, 21);
	http_server_stop(t.server, 200);
	assert_int_equal(t.closed, 21);
	for (size_t i = 0; i < 20; i++)
		expect_end(clients[i], ERR_CLOSED, "1001 the server is stopping");
	/* The one that did not answer the close was cut. */
	assert_int_equal(recv(deaf, buf_reserve(&rest, 4), 4, MSG_WAITALL), 4);
	assert_memory_equal(rest.p + 2, "\x03\xe9", 2);
	close(deaf);
	buf_fini(&head);
	buf_fini(&rest);
}

static void *open_until_refused(void *arg)
{
	struct http_client_options o = {.url = t.url};
	struct buf got = {0};
	struct ws_client *w;
	struct error e;

	while (ws_client_open(&w, &o, "/ws", &e) == 0) {
		client_send_may_fail(w, STR("x"));
		ws_client_next(w, &got, 5000, NULL);
		ws_client_free(w);
	}
	buf_fini(&got);
	return NULL;
}

/* Sockets in each state of their life while the server stops. */
static void stops_under_load(void **state)
{
	for (int round = 0; round < 20; round++) {
		pthread_t threads[8];
		set_up(NULL);
		for (size_t i = 0; i < 8; i++)
			threads[i] = thread_start("open", open_until_refused, NULL);
		nap((unsigned)round * 2);
		http_server_stop(t.server, round % 2 ? 1000 : 0);
		assert_int_equal(account_held(&t.account), 0);
		assert_true(t.closed >= t.opened);
		for (size_t i = 0; i < 8; i++)
			pthread_join(threads[i], NULL);
	}
}

/* From many threads to one client: whole frames, each once. */
static void *send_many(void *arg)
{
	for (int i = 0; i < 500; i++)
		while (ws_send(t.ws, STR("from a thread")) == ERR_BUSY)
			nap(1);
	return NULL;
}

static void sends_from_threads(void **state)
{
	struct ws_client *w = open_client("/ws");
	pthread_t threads[4];

	wait_for(&t.opened, 1);
	for (size_t i = 0; i < 4; i++)
		threads[i] = thread_start("send", send_many, NULL);
	for (int i = 0; i < 2000; i++)
		expect_next(w, STR("from a thread"));
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ws_client_free(w);
	wait_for(&t.closed, 1);
}

#define SERVED(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVED(shakes_hands),
		SERVED(echoes),
		SERVED(closes_with_code_and_reason),
		SERVED(enforces_the_protocol),
		SERVED(sends_big_messages),
		SERVED(reports_refusals),
		SERVED(pushes_back),
		SERVED(goes_on_in_a_full_account),
		SERVED(bounds_pongs),
		SERVED(pings),
		SERVED(sends_from_threads),
		cmocka_unit_test_setup(stops_with_sockets_open, set_up),
		cmocka_unit_test(stops_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
