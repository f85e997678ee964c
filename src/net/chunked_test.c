/* SPDX-License-Identifier: Apache-2.0 */
/* Answers without an end, read by a bare socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "net/ws_core.h"

static struct {
	struct http_server *server;
	struct account account;
	_Atomic int opened, closed, drained;
	_Atomic(struct ws *) ws;
} t;

static char mine[] = "arg";

static void nap(unsigned ms)
{
	usleep(ms * 1000);
}

static void on_open(struct ws *w, void *arg)
{
	assert(arg == mine);
	t.ws = w;
	t.opened++;
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

static void stream(struct http_request *r, void *ctx)
{
	static const struct ws_events events = {
		.open = on_open, .drained = on_drained, .closed = on_closed};

	http_set_header(r, "Cache-Control", "no-cache");
	http_stream(r, "text/event-stream", &events, mine);
}

static const struct http_route routes[] = {{"/s", HTTP_GET, stream, ""}, {0}};

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
	return 0;
}

static int tear_down(void **state)
{
	http_server_stop(t.server, 3000);
	assert_int_equal(account_held(&t.account), 0);
	assert_int_equal(t.opened, t.closed);
	return 0;
}

static int dial(const char *version)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)http_server_port(t.server, 0)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval patience = {.tv_sec = 10};
	struct buf request = {0};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	buf_printf(&request, "GET /s HTTP/%s\r\nHost: x\r\n\r\n", version);
	assert_int_equal(send(fd, request.p, request.n, MSG_NOSIGNAL), request.n);
	buf_fini(&request);
	return fd;
}

/* Read until `end` was read. */
static void read_until(int fd, struct buf *out, struct str end)
{
	while (!str_ends(buf_view(out), end)) {
		ssize_t n = recv(fd, buf_reserve(out, 1), 1, 0);

		assert_int_equal(n, 1);
		out->n++;
	}
}

static void read_head(int fd)
{
	struct buf head = {0};

	read_until(fd, &head, STR("\r\n\r\n"));
	assert_true(str_starts(buf_view(&head), STR("HTTP/1.1 200 ")));
	assert_true(str_find(buf_view(&head), STR("Content-Type: text/event-stream\r\n")) > 0);
	assert_true(str_find(buf_view(&head), STR("Cache-Control: no-cache\r\n")) > 0);
	buf_fini(&head);
}

static void wait_for(_Atomic int *counter, int n)
{
	for (int i = 0; i < 1000 && *counter < n; i++)
		nap(10);
	assert_int_equal(*counter, n);
}

/* Tests */

/* The head comes before anything is sent, each piece at once, and then the end. */
static void sends_pieces(void **state)
{
	struct buf got = {0};
	int fd = dial("1.1");

	read_head(fd);
	wait_for(&t.opened, 1);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ws_send(t.ws, STR("data: x\n\n")), 0);
		read_until(fd, &got, STR("9\r\ndata: x\n\n\r\n"));
		wait_for(&t.drained, i + 1);
		nap(20);
	}
	assert_int_equal(ws_send_binary(t.ws, STR("last")), 0);
	ws_close(t.ws, 1000, "");
	read_until(fd, &got, STR("4\r\nlast\r\n0\r\n\r\n"));
	wait_for(&t.closed, 1);
	assert_int_equal(recv(fd, buf_reserve(&got, 1), 1, 0), 0);
	close(fd);
	buf_fini(&got);
}

static void serves_http_1_0(void **state)
{
	struct buf got = {0};
	int fd = dial("1.0");

	wait_for(&t.opened, 1);
	assert_int_equal(ws_send(t.ws, STR("piece\n")), 0);
	ws_close(t.ws, 1000, "");
	read_until(fd, &got, STR("\r\n\r\npiece\n"));
	assert_int_equal(recv(fd, buf_reserve(&got, 1), 1, 0), 0);
	close(fd);
	wait_for(&t.closed, 1);
	buf_fini(&got);
}

/* One that waits for nothing and one in the middle of much. */
static void notices_who_goes(void **state)
{
	struct buf text = {0};
	int fd = dial("1.1");

	read_head(fd);
	wait_for(&t.opened, 1);
	close(fd);
	wait_for(&t.closed, 1);
	fd = dial("1.1");
	read_head(fd);
	wait_for(&t.opened, 2);
	memset(buf_reserve(&text, 1 << 20), 'x', 1 << 20);
	text.n = 1 << 20;
	for (int i = 0; i < 8; i++)
		if (ws_send(t.ws, buf_view(&text)) < 0)
			nap(5);
	close(fd);
	wait_for(&t.closed, 2);
	buf_fini(&text);
}

/* The queue is bounded for one that does not read; then all comes, in order. */
static void pushes_back(void **state)
{
	struct buf text = {0}, got = {0};
	int fd = dial("1.1"), r = 0;
	unsigned sent = 0;
	struct str body;

	read_head(fd);
	wait_for(&t.opened, 1);
	memset(buf_reserve(&text, 50000), 'y', 50000);
	text.n = 50000;
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
	ws_close(t.ws, 1000, "");
	for (;;) {
		ssize_t n = recv(fd, buf_reserve(&got, 65536), 65536, 0);

		assert_true(n >= 0);
		if (n == 0)
			break;
		got.n += (size_t)n;
	}
	/* Without the chunks' lengths and line ends. */
	body = buf_view(&got);
	for (size_t i = 0, n = 0; i <= body.n; i++) {
		if (i == body.n)
			assert_int_equal(n, 50000 * (size_t)sent);
		else
			n += body.p[i] == 'y';
	}
	close(fd);
	wait_for(&t.closed, 1);
	buf_fini(&text);
	buf_fini(&got);
}

/* Streams in each state while the server stops: quiet, unread, just opened. */
static void stops(void **state)
{
	for (int round = 0; round < 10; round++) {
		struct buf text = {0};
		int fds[8];

		set_up(NULL);
		for (size_t i = 0; i < 8; i++)
			fds[i] = dial("1.1");
		nap((unsigned)round * 3);
		if (round == 9) {
			wait_for(&t.opened, 8);
			memset(buf_reserve(&text, 16 << 20), 'x', 16 << 20);
			text.n = 16 << 20;
			ws_send(t.ws, buf_view(&text));
		}
		http_server_stop(t.server, round % 2 ? 300 : 0);
		assert_int_equal(account_held(&t.account), 0);
		assert_true(t.closed >= t.opened);
		for (size_t i = 0; i < 8; i++)
			close(fds[i]);
		buf_fini(&text);
	}
}

static void *send_many(void *arg)
{
	for (int i = 0; i < 500; i++)
		while (ws_send(t.ws, STR("abc")) == ERR_BUSY)
			nap(1);
	return NULL;
}

static void sends_from_threads(void **state)
{
	struct buf got = {0};
	pthread_t threads[4];
	int fd = dial("1.1");
	size_t n = 0;

	read_head(fd);
	wait_for(&t.opened, 1);
	for (size_t i = 0; i < 4; i++)
		threads[i] = thread_start("send", send_many, NULL);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ws_close(t.ws, 1000, "");
	read_until(fd, &got, STR("\r\n0\r\n\r\n"));
	for (struct str s = buf_view(&got); s.n; s = str_sub(s, 1, s.n))
		n += s.p[0] == 'z' ? 0 : str_starts(s, STR("abc"));
	assert_in_range(n, 1900, 2000); /* some lie across two chunks */
	close(fd);
	wait_for(&t.closed, 1);
	buf_fini(&got);
}

#define SERVED(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVED(sends_pieces),
		SERVED(serves_http_1_0),
		SERVED(notices_who_goes),
		SERVED(pushes_back),
		SERVED(sends_from_threads),
		cmocka_unit_test(stops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
