/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/listener.h"
#include "net/socket.h"

/* An owner that takes lines, and what it saw. */
struct owner {
	struct listener *l;
	struct buf lines;     /* of connections, each with its LF; a last one with '$' */
	struct buf datagrams; /* each with an LF behind it */
	struct buf words;     /* reasons of refusals and ends */
	uint64_t n_lost, n_broken, n_opened, n_closed, n_datagrams;
	size_t most; /* bytes that one call was given */
	bool drained, pause_at_line;
	bool linger;          /* at the end of a connection */
	unsigned n_sent;      /* calls of `sent` */
	struct connection *c; /* the last that was opened */
	unsigned take;        /* lines of one call, then pause; 0: all */
	char peer[SOCKET_PEER_MAX];
};

static struct loop *loop;
static char folder[] = "/tmp/sawlog-listener-XXXXXX";

static void on_datagram(void *arg, struct str bytes, const char *peer)
{
	struct owner *o = arg;

	buf_str(&o->datagrams, bytes);
	buf_char(&o->datagrams, '\n');
	o->n_datagrams++;
	str_copy(str_c(peer), o->peer, sizeof o->peer);
	if (o->take && o->n_datagrams % o->take == 0)
		listener_pause(o->l);
}

static void on_lost(void *arg, uint64_t n)
{
	((struct owner *)arg)->n_lost += n;
}

static void on_opened(void *arg, struct connection *c, void **state)
{
	struct owner *o = arg;

	o->n_opened++;
	o->c = c;
	*state = o;
	str_copy(str_c(connection_peer(c)), o->peer, sizeof o->peer);
}

static size_t on_bytes(void *arg, struct connection *c, void *state, struct str bytes, bool end)
{
	struct owner *o = arg;
	size_t used = 0;
	unsigned n = 0;

	assert_ptr_equal(state, arg);
	o->most = bytes.n > o->most ? bytes.n : o->most;
	for (;;) {
		struct str rest = str_sub(bytes, used, bytes.n);
		ptrdiff_t at = str_chr(rest, '\n');
		struct error e;

		if (at < 0)
			break;
		if (o->take && n++ == o->take) {
			listener_pause(o->l);
			return used;
		}
		buf_put(&o->lines, rest.p, (size_t)at + 1);
		used += (size_t)at + 1;
		++*connection_note(c);
		if (str_starts(rest, STR("refuse\n"))) {
			error_set(&e, ERR_DENIED, "refused as asked");
			connection_refuse(c, &e);
			return used;
		}
	}
	o->n_broken += end && connection_broken(c);
	if (end && o->linger)
		connection_linger(c);
	if (end && used < bytes.n) {
		buf_str(&o->lines, str_sub(bytes, used, bytes.n));
		buf_char(&o->lines, '$');
		used = bytes.n;
	}
	return used;
}

static void on_closed(void *arg, struct connection *c, void *state, const struct error *why)
{
	struct owner *o = arg;

	assert_ptr_equal(state, arg);
	assert_non_null(connection_peer(c));
	o->n_closed++;
	if (why)
		buf_printf(&o->words, "[%s]", why->text);
}

static void on_refused(void *arg, const struct refusal *r)
{
	struct owner *o = arg;

	assert_non_null(r->peer);
	assert_true(strlen(r->why) > 20); /* a sentence */
	buf_printf(&o->words, "%s 1;", r->reason);
}

static void on_sent(void *arg, struct connection *c, void *state)
{
	struct owner *o = arg;

	assert_ptr_equal(state, arg);
	assert_int_equal(connection_unsent(c), 0);
	o->n_sent++;
}

static void on_drained(void *arg)
{
	((struct owner *)arg)->drained = true;
}

static const struct listener_events events = {.datagram = on_datagram,
	.lost = on_lost,
	.opened = on_opened,
	.bytes = on_bytes,
	.sent = on_sent,
	.closed = on_closed,
	.refused = on_refused,
	.drained = on_drained};

static void owner_fini(struct owner *o)
{
	listener_close(o->l);
	buf_fini(&o->lines);
	buf_fini(&o->datagrams);
	buf_fini(&o->words);
}

static void turn(void)
{
	uv_run(loop_uv(loop), UV_RUN_NOWAIT);
}

#define WAIT(condition)                                                                            \
	do {                                                                                       \
		for (int i_ = 0; i_ < 20000 && !(condition); i_++) {                               \
			turn();                                                                    \
			usleep(500);                                                               \
		}                                                                                  \
		assert_true(condition);                                                            \
	} while (0)

static void settle(void)
{
	for (int i = 0; i < 40; i++) {
		turn();
		usleep(1000);
	}
}

static void open_owner(struct owner *o, const char *address, struct listener_options options)
{
	struct error e = {.text = ""};

	options.address = address;
	*o = (struct owner){0};
	if (listener_open(&o->l, loop, &options, &events, o, &e) < 0)
		fail_msg("%s", e.text);
}

static int dial_type(unsigned port, int type)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

static int dial(const struct owner *o)
{
	return dial_type(listener_port(o->l), SOCK_STREAM);
}

static void put(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static bool is(struct buf *b, const char *text)
{
	return strcmp(buf_cstr(b), text) == 0;
}

/* The peer closed: a read comes back without bytes. */
static bool is_over(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT) == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

static void test_tcp(void **state)
{
	struct account account;
	struct owner o;
	int a, b;

	(void)state;
	account_init(&account, "test", 1 << 20, NULL);
	open_owner(&o, "tcp://127.0.0.1:0", (struct listener_options){.account = &account});
	a = dial(&o);
	b = dial(&o);
	put(a, "one\ntw");
	WAIT(is(&o.lines, "one\n"));
	put(b, "three\n");
	WAIT(is(&o.lines, "one\nthree\n"));
	assert_int_equal(listener_connections(o.l), 2);
	assert_true(str_starts(str_c(o.peer), STR("127.0.0.1:")));
	put(a, "o\nlast");
	close(a);
	WAIT(is(&o.lines, "one\nthree\ntwo\nlast$"));
	WAIT(o.n_closed == 1);
	put(b, "refuse\nnever\n");
	WAIT(o.n_closed == 2);
	assert_string_equal(buf_cstr(&o.lines), "one\nthree\ntwo\nlast$refuse\n");
	assert_string_equal(buf_cstr(&o.words), "[refused as asked]");
	assert_int_equal(listener_connections(o.l), 0);
	close(b);
	owner_fini(&o);
	settle();
	assert_int_equal(account_held(&account), 0);
}

/* Long messages, at every kind of join between reads. */
static void test_long(void **state)
{
	size_t total = 3 << 20, at = 0;
	char *text = malloc(total);
	struct owner o;
	int fd;

	(void)state;
	for (size_t i = 0; i < total; i++)
		text[i] = i % 150001 == 150000 ? '\n' : (char)('a' + i % 26);
	open_owner(&o, "tcp://127.0.0.1:0", (struct listener_options){.keep = 200000});
	fd = dial(&o);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 100000 && at < total; i++) {
		ssize_t n = send(fd, text + at, total - at < 70000 ? total - at : 70000, 0);
		at += n > 0 ? (size_t)n : 0;
		turn();
	}
	assert_int_equal(at, total);
	close(fd);
	WAIT(o.n_closed == 1);
	buf_char(&o.lines, 0);
	assert_memory_equal(o.lines.p, text, total);
	owner_fini(&o);
	free(text);
}

/* More than `keep` without a message: the connection ends, with a sentence. */
static void test_keep(void **state)
{
	char text[8192];
	struct owner o;
	int fd;

	(void)state;
	memset(text, 'x', sizeof text);
	open_owner(&o, "tcp://127.0.0.1:0", (struct listener_options){.keep = 10000});
	fd = dial(&o);
	for (int i = 0; i < 2; i++)
		assert_int_equal(send(fd, text, sizeof text, 0), sizeof text);
	WAIT(o.n_closed == 1);
	assert_string_equal(buf_cstr(&o.words), "limit 1;[a message is longer than 10000 bytes]");
	close(fd);
	owner_fini(&o);
}

/* The owner takes few lines a time: everything comes, in order, and the peer has to wait. */
static void test_pause(void **state)
{
	struct buf model = {0};
	struct owner o;
	size_t at = 0;
	int fd;

	(void)state;
	for (int i = 0; i < 3000; i++)
		buf_printf(&model, "line %d\n", i);
	buf_c(&model, "half$");
	open_owner(&o, "tcp://127.0.0.1:0", (struct listener_options){0});
	o.take = 7;
	fd = dial(&o);
	while (at < model.n - 1)
		at += (size_t)send(fd, model.p + at, model.n - 1 - at, 0);
	close(fd);
	for (int i = 0; i < 10000 && o.n_closed == 0; i++) {
		turn();
		listener_resume(o.l);
	}
	assert_string_equal(buf_cstr(&o.lines), buf_cstr(&model));
	owner_fini(&o);
	/* While it is paused nothing is read. */
	open_owner(&o, "tcp://127.0.0.1:0", (struct listener_options){0});
	fd = dial(&o);
	listener_pause(o.l);
	put(fd, "one\n");
	settle();
	assert_int_equal(o.lines.n, 0);
	listener_resume(o.l);
	WAIT(is(&o.lines, "one\n"));
	close(fd);
	owner_fini(&o);
	buf_fini(&model);
}

static void test_udp(void **state)
{
	struct owner o;
	char text[32];
	int fd;

	(void)state;
	open_owner(&o, "udp://127.0.0.1:0", (struct listener_options){.receive_buffer = 1 << 20});
	fd = dial_type(listener_port(o.l), SOCK_DGRAM);
	o.take = 5;
	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof text, "%d", i);
		put(fd, text);
	}
	for (int i = 0; i < 10000 && o.n_datagrams < 100; i++) {
		uint64_t before = o.n_datagrams;
		turn();
		assert_true(o.n_datagrams - before <= 5);
		listener_resume(o.l);
	}
	assert_int_equal(o.n_datagrams, 100);
	assert_true(str_starts(buf_view(&o.datagrams), STR("0\n1\n2\n3\n4\n5\n")));
	assert_true(str_ends(buf_view(&o.datagrams), STR("\n98\n99\n")));
	assert_true(str_starts(str_c(o.peer), STR("127.0.0.1:")));
	close(fd);
	owner_fini(&o);
}

/* What the kernel has no room for is counted to the last one. */
static void test_udp_drops(void **state)
{
	struct owner o;
	char text[600];
	int fd;

	(void)state;
	memset(text, 'x', sizeof text);
	open_owner(&o, "udp://127.0.0.1:0", (struct listener_options){.receive_buffer = 8192});
	fd = dial_type(listener_port(o.l), SOCK_DGRAM);
	listener_pause(o.l);
	for (int i = 0; i < 500; i++)
		assert_int_equal(send(fd, text, sizeof text, 0), sizeof text);
	settle();
	listener_resume(o.l);
	WAIT(o.n_datagrams + o.n_lost == 500);
	assert_true(o.n_lost > 400 && o.n_datagrams > 0);
	/* Those behind the last that came are told by the tick. */
	listener_pause(o.l);
	for (int i = 0; i < 500; i++)
		assert_int_equal(send(fd, text, sizeof text, 0), sizeof text);
	WAIT(o.n_lost > 900);
	listener_resume(o.l);
	WAIT(o.n_datagrams + o.n_lost == 1000);
	close(fd);
	owner_fini(&o);
}

static int dial_unix(const char *path, int type)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type, 0);

	str_copy(str_c(path), a.sun_path, sizeof a.sun_path);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void test_unix(void **state)
{
	char path[100], address[120];
	struct listener_options options = {.mode = 0640};
	struct owner o, other;
	struct error e;
	struct stat st;
	int fd;

	(void)state;
	snprintf(path, sizeof path, "%s/log", folder);
	snprintf(address, sizeof address, "unix-dgram://%s", path);
	open_owner(&o, address, options);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	fd = dial_unix(path, SOCK_DGRAM);
	put(fd, "hello");
	WAIT(is(&o.datagrams, "hello\n"));
	assert_string_equal(o.peer, "");
	/* Somebody listens: not taken away. */
	options.address = address;
	assert_int_equal(listener_open(&other.l, loop, &options, &events, &other, &e), ERR_NET);
	assert_non_null(strstr(e.text, "somebody else does"));
	close(fd);
	owner_fini(&o);
	assert_int_equal(stat(path, &st), -1);
	/* The file of a process that is gone. */
	snprintf(address, sizeof address, "unix://%s", path);
	assert_int_equal(socket_listen(&fd, address, 0600, &e), 0);
	close(fd);
	assert_int_equal(stat(path, &st), 0);
	open_owner(&o, address, (struct listener_options){0});
	stat(path, &st);
	assert_int_equal(st.st_mode & 0777, 0600);
	fd = dial_unix(path, SOCK_STREAM);
	put(fd, "one\ntwo");
	close(fd);
	WAIT(is(&o.lines, "one\ntwo$"));
	owner_fini(&o);
	/* A file that is none of ours. */
	close(open(path, O_CREAT | O_WRONLY, 0600));
	options.address = address;
	assert_int_equal(listener_open(&other.l, loop, &options, &events, &other, &e), ERR_NET);
	assert_non_null(strstr(e.text, "no socket"));
	unlink(path);
}

static void test_addresses(void **state)
{
	static const struct {
		const char *address;
		int code;
		const char *word;
	} bad[] = {{"http://127.0.0.1:1", ERR_ARG, "must begin with udp://"},
		{"tcp://127.0.0.1", ERR_ARG, "no host and port"},
		{"unix://relative", ERR_ARG, "whole path"},
		{"tls://127.0.0.1:0", ERR_ARG, "tls.cert"},
		{"tcp://nowhere.invalid:1", ERR_ARG, "nowhere.invalid"},
		{"tcp://192.0.2.1:0", ERR_NET, "192.0.2.1"}};
	struct owner o, other;
	struct error e;
	char address[64];

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct listener_options options = {.address = bad[i].address};
		assert_int_equal(listener_open(&o.l, loop, &options, &events, &o, &e), bad[i].code);
		assert_non_null(strstr(e.text, bad[i].word));
	}
	open_owner(&o, "tcp://[::1]:0", (struct listener_options){0});
	assert_true(listener_port(o.l) > 0);
	snprintf(address, sizeof address, "tcp://[::1]:%u", listener_port(o.l));
	struct listener_options options = {.address = address};
	assert_int_equal(listener_open(&other.l, loop, &options, &events, &other, &e), ERR_NET);
	owner_fini(&o);
}

static void test_limits(void **state)
{
	struct listener_options options = {.max_connections = 3, .max_per_peer = 2};
	struct cidr net;
	struct owner o;
	int fds[3];

	(void)state;
	open_owner(&o, "tcp://127.0.0.1:0", options);
	for (int i = 0; i < 3; i++)
		fds[i] = dial(&o);
	WAIT(is(&o.words, "connections_of_peer 1;"));
	assert_int_equal(listener_connections(o.l), 2);
	WAIT(is_over(fds[2]));
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	WAIT(o.n_closed == 2);
	fds[0] = dial(&o);
	WAIT(o.n_opened == 3);
	close(fds[0]);
	owner_fini(&o);
	/* Networks. */
	assert_int_equal(cidr_parse(&net, STR("10.0.0.0/8"), NULL), 0);
	options = (struct listener_options){.allow = &net, .n_allow = 1};
	open_owner(&o, "tcp://127.0.0.1:0", options);
	fds[0] = dial(&o);
	WAIT(is(&o.words, "not_allowed 1;"));
	assert_int_equal(o.n_opened, 0);
	close(fds[0]);
	owner_fini(&o);
	open_owner(&o, "udp://127.0.0.1:0", options);
	fds[0] = dial_type(listener_port(o.l), SOCK_DGRAM);
	put(fds[0], "spoof");
	WAIT(is(&o.words, "not_allowed 1;"));
	assert_int_equal(o.n_datagrams, 0);
	close(fds[0]);
	owner_fini(&o);
}

/* No memory: nothing is read, and it goes on when there is some. */
static void test_account(void **state)
{
	struct account account;
	struct owner o;
	int fd;

	(void)state;
	account_init(&account, "test", 1 << 20, NULL);
	open_owner(&o, "tcp://127.0.0.1:0", (struct listener_options){.account = &account});
	assert_int_equal(account_charge(&account, (1 << 20) - account_held(&account)), 0);
	fd = dial(&o);
	put(fd, "one\n");
	settle();
	assert_int_equal(o.lines.n, 0);
	account_release(&account, 512 << 10);
	WAIT(is(&o.lines, "one\n"));
	close(fd);
	owner_fini(&o);
}

static void test_deadlines(void **state)
{
	struct listener_options options = {.stuck_ms = 500, .idle_ms = 1500};
	struct owner o;
	int half, idle;

	(void)state;
	open_owner(&o, "tcp://127.0.0.1:0", options);
	half = dial(&o);
	idle = dial(&o);
	put(half, "whole\nhalf");
	put(idle, "x\n");
	WAIT(o.n_closed == 1);
	assert_non_null(strstr(buf_cstr(&o.lines), "half$"));
	WAIT(o.n_closed == 2);
	assert_non_null(strstr(buf_cstr(&o.words), "nothing came for"));
	close(half);
	close(idle);
	owner_fini(&o);
}

/* What had come when the drain began is handed over: also from those still in the queue. */
static void test_drain(void **state)
{
	struct buf model = {0};
	struct owner o;
	int fds[50];

	(void)state;
	open_owner(&o, "tcp://127.0.0.1:0", (struct listener_options){0});
	o.take = 3;
	for (int i = 0; i < 50; i++) {
		char text[64];
		fds[i] = dial(&o);
		snprintf(text, sizeof text, "a%d\nb%d\nc%d\nd%d\nhalf%d", i, i, i, i, i);
		put(fds[i], text);
		buf_printf(&model, "a%d\nb%d\nc%d\nd%d\nhalf%d$", i, i, i, i, i);
		if (i == 25)
			turn();
	}
	listener_drain(o.l);
	for (int i = 0; i < 10000 && !o.drained; i++) {
		turn();
		listener_resume(o.l);
	}
	assert_true(o.drained);
	assert_int_equal(o.lines.n, model.n);
	assert_int_equal(o.n_opened, 50);
	assert_int_equal(o.n_closed, 50);
	for (int i = 0; i < 50; i++)
		close(fds[i]);
	owner_fini(&o);
	buf_fini(&model);
	open_owner(&o, "udp://127.0.0.1:0", (struct listener_options){.receive_buffer = 1 << 20});
	fds[0] = dial_type(listener_port(o.l), SOCK_DGRAM);
	listener_pause(o.l);
	for (int i = 0; i < 100; i++)
		put(fds[0], "x");
	listener_drain(o.l);
	settle();
	assert_false(o.drained);
	listener_resume(o.l);
	WAIT(o.drained);
	assert_int_equal(o.n_datagrams, 100);
	close(fds[0]);
	owner_fini(&o);
}

/* Exchanged under load: all arrives once, in order, half messages too. */
static void test_park(void **state)
{
	struct buf model = {0}, all = {0};
	char address[64];
	struct owner o, next;
	uint64_t notes = 0;
	size_t sent = 0;
	int fd;

	(void)state;
	for (int i = 0; i < 20000; i++)
		buf_printf(&model, "line %d of those that must come once\n", i);
	open_owner(&o, "tcp://127.0.0.1:0", (struct listener_options){0});
	snprintf(address, sizeof address, "tcp://127.0.0.1:%u", listener_port(o.l));
	owner_fini(&o);
	open_owner(&o, address, (struct listener_options){0});
	fd = dial(&o);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 1000000 && all.n + o.lines.n < model.n; i++) {
		size_t n = model.n - sent < 777 ? model.n - sent : 777;
		ssize_t r = n ? send(fd, model.p + sent, n, 0) : 0;
		sent += r > 0 ? (size_t)r : 0;
		if (i % 5 == 0)
			turn();
		if (i % 50)
			continue;
		o.take = (unsigned)(i / 50 % 3);
		listener_resume(o.l);
		listener_park(o.l);
		buf_str(&all, buf_view(&o.lines));
		o.l = NULL;
		owner_fini(&o);
		if (i % 100 == 0)
			turn();
		open_owner(&next, address, (struct listener_options){0});
		o = next;
		/* The new owner's address is what was given as arg. */
		listener_park(o.l);
		struct listener_options options = {.address = address};
		struct error e;
		assert_int_equal(listener_open(&o.l, loop, &options, &events, &o, &e), 0);
		o.n_opened = 1;
		notes++;
	}
	buf_str(&all, buf_view(&o.lines));
	assert_string_equal(buf_cstr(&all), buf_cstr(&model));
	assert_true(notes > 20);
	assert_int_equal(listener_connections(o.l), 1);
	close(fd);
	owner_fini(&o);
	buf_fini(&all);
	buf_fini(&model);
}

static void test_park_udp(void **state)
{
	struct listener_options options = {.receive_buffer = 1 << 20};
	struct buf all = {0};
	char address[64];
	struct owner o, next;
	int fd;

	(void)state;
	open_owner(&o, "udp://127.0.0.1:0", options);
	snprintf(address, sizeof address, "udp://127.0.0.1:%u", listener_port(o.l));
	owner_fini(&o);
	open_owner(&o, address, options);
	fd = dial_type(listener_port(o.l), SOCK_DGRAM);
	for (int i = 0; i < 100; i++)
		put(fd, "before");
	o.take = 3; /* stops among those of one recvmmsg */
	WAIT(o.n_datagrams == 3);
	listener_park(o.l);
	buf_str(&all, buf_view(&o.datagrams));
	o.l = NULL;
	owner_fini(&o);
	for (int i = 0; i < 100; i++)
		put(fd, "meanwhile");
	settle();
	open_owner(&next, address, options);
	WAIT(next.n_datagrams == 197);
	settle();
	assert_int_equal(next.n_datagrams, 197);
	close(fd);
	owner_fini(&next);
	buf_fini(&all);
}

/* Nobody takes it. */
static void test_park_dropped(void **state)
{
	struct owner o;
	int fd;

	(void)state;
	open_owner(&o, "tcp://127.0.0.1:0", (struct listener_options){0});
	fd = dial(&o);
	put(fd, "half");
	WAIT(o.n_opened == 1);
	settle();
	listener_park(o.l);
	assert_int_equal(o.n_closed, 1);
	settle();
	assert_false(is_over(fd));
	listener_drop_parked(loop);
	o.l = NULL;
	WAIT(is_over(fd));
	close(fd);
	owner_fini(&o);
}

/* The next owner would not let it in: what it had sent is taken, the half it was in is told. */
static void test_park_leaves(void **state)
{
	struct listener_options options = {0};
	struct cidr elsewhere;
	struct owner o, next;
	char address[64];
	struct error e;
	int fd;

	(void)state;
	open_owner(&o, "tcp://127.0.0.1:0", options);
	snprintf(address, sizeof address, "tcp://127.0.0.1:%u", listener_port(o.l));
	owner_fini(&o);
	open_owner(&o, address, options);
	fd = dial(&o);
	put(fd, "one\ntwo\nthr");
	WAIT(o.lines.n == 8);
	listener_park(o.l);
	o.l = NULL;
	owner_fini(&o);
	for (int i = 0; i < 30000; i++)
		put(fd, i ? "seven\n" : "ee\n");
	put(fd, "half");
	assert_int_equal(cidr_parse(&elsewhere, STR("10.0.0.0/8"), &e), 0);
	options.allow = &elsewhere;
	options.n_allow = 1;
	open_owner(&next, address, options);
	WAIT(next.n_closed == 1);
	assert_true(is_over(fd));
	assert_int_equal(next.lines.n, 6 + 29999 * 6 + 5);
	assert_true(str_starts(buf_view(&next.lines), STR("three\nseven\n")));
	assert_true(str_ends(buf_view(&next.lines), STR("seven\nhalf$")));
	assert_string_equal(buf_cstr(&next.words), "not_allowed 1;");
	assert_int_equal(next.n_broken, 1);
	close(fd);
	owner_fini(&next);
}

static void test_cidr(void **state)
{
	static const struct {
		const char *net, *address;
		bool in;
	} rows[] = {{"10.0.0.0/8", "10.255.1.2", true}, {"10.0.0.0/8", "11.0.0.1", false},
		{"0.0.0.0/0", "1.2.3.4", true}, {"192.168.1.128/25", "192.168.1.127", false},
		{"192.168.1.128/25", "192.168.1.129", true}, {"127.0.0.1", "127.0.0.1", true},
		{"127.0.0.1", "127.0.0.2", false}, {"fd00::/8", "fdab::1", true},
		{"fd00::/8", "fe80::1", false}, {"::1", "::1", true}, {"::/0", "::2", true},
		{"0.0.0.0/0", "::2", false}, {"::ffff:10.0.0.0/104", "10.1.1.1", true}};
	static const char *const bad[] = {"", "10.0.0.0/33", "10.0.0.1/8", "x", "::1/129", "1.2.3",
		"10.0.0.0/", "fd00::1/8",
		"1111111111111111111111111111111111111111111111111111111111111"};
	struct cidr c;
	struct error e;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sockaddr_storage a = {0};
		struct sockaddr_in *v4 = (struct sockaddr_in *)&a;
		struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a;
		assert_int_equal(cidr_parse(&c, str_c(rows[i].net), &e), 0);
		if (inet_pton(AF_INET, rows[i].address, &v4->sin_addr) == 1)
			a.ss_family = AF_INET;
		else if (inet_pton(AF_INET6, rows[i].address, &v6->sin6_addr) == 1)
			a.ss_family = AF_INET6;
		assert_int_equal(cidr_has(&c, 1, (struct sockaddr *)&a), rows[i].in);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(cidr_parse(&c, str_c(bad[i]), &e), ERR_ARG);
}

static int setup(void **state)
{
	(void)state;
	loop = loop_new("test");
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	settle();
	loop_free(loop);
	return rmdir(folder);
}

/* Sent at once, else as the peer fetches it; never more than the bound waits. */
static void test_send(void **arg)
{
	struct owner o;
	struct buf text = {0};
	char room[65536];
	size_t n_sent = 0, n_got = 0;
	ssize_t n;
	int fd, r = 0;

	(void)arg;
	open_owner(&o, "tcp://127.0.0.1:0", (struct listener_options){0});
	fd = dial(&o);
	WAIT(o.c);
	memset(buf_reserve(&text, 8000), 'x', 8000);
	text.n = 8000;
	for (int i = 0; i < 10000 && (r = connection_send(o.c, buf_view(&text))) == 0; i++) {
		n_sent += text.n;
		turn();
	}
	assert_int_equal(r, ERR_BUSY);
	assert_true(connection_unsent(o.c) > 0);
	assert_true(connection_unsent(o.c) <= CONNECTION_SEND_MAX);
	assert_int_equal(o.n_sent, 0);
	/* A pause is of what is read. */
	listener_pause(o.l);
	for (int i = 0; i < 20000 && (o.n_sent == 0 || n_got < n_sent); i++) {
		if ((n = recv(fd, room, sizeof room, MSG_DONTWAIT)) > 0)
			n_got += (size_t)n;
		turn();
		usleep(100);
	}
	assert_int_equal(n_got, n_sent);
	assert_int_equal(o.n_sent, 1);
	listener_resume(o.l);
	put(fd, "still heard\n");
	WAIT(is(&o.lines, "still heard\n"));
	close(fd);
	WAIT(o.n_closed == 1);
	buf_fini(&text);
	owner_fini(&o);
}

/* Who is gone: said by the first or the next send, and the connection ends. */
static void test_send_gone(void **arg)
{
	struct owner o;
	struct linger now = {.l_onoff = 1};
	int fd;

	(void)arg;
	open_owner(&o, "tcp://127.0.0.1:0", (struct listener_options){0});
	fd = dial(&o);
	WAIT(o.c);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(fd); /* a reset */
	usleep(20000);
	assert_int_equal(connection_send(o.c, STR("x")), ERR_CLOSED);
	assert_int_equal(connection_send(o.c, STR("x")), ERR_CLOSED);
	WAIT(o.n_closed == 1);
	owner_fini(&o);
}

/* What was sent last arrives though bytes of the peer's lie unread. */
static void test_finish(void **arg)
{
	struct owner o;
	char room[16];
	int fd;

	(void)arg;
	open_owner(&o, "tcp://127.0.0.1:0", (struct listener_options){0});
	fd = dial(&o);
	WAIT(o.c);
	assert_int_equal(connection_send(o.c, STR("last")), 0);
	put(fd, "not read any more\n");
	connection_finish(o.c);
	assert_int_equal(connection_send(o.c, STR("more")), ERR_CLOSED);
	put(fd, "nor this\n");
	settle();
	assert_int_equal(o.n_closed, 0);
	assert_int_equal(o.lines.n, 0);
	assert_int_equal(recv(fd, room, sizeof room, 0), 4);
	assert_int_equal(recv(fd, room, sizeof room, 0), 0);
	close(fd);
	WAIT(o.n_closed == 1);
	assert_int_equal(listener_connections(o.l), 0);
	owner_fini(&o);
}

/* A peer that does not see the end is left after a while. */
static void test_finish_alone(void **arg)
{
	struct owner o;
	int fd;

	(void)arg;
	open_owner(&o, "tcp://127.0.0.1:0", (struct listener_options){0});
	fd = dial(&o);
	WAIT(o.c);
	connection_finish(o.c);
	WAIT(o.n_closed == 1);
	close(fd);
	owner_fini(&o);
}

/* A drain waits for those whose answers are under way. */
static void test_linger(void **arg)
{
	struct owner o;
	char room[16];
	int fd;

	(void)arg;
	open_owner(&o, "tcp://127.0.0.1:0", (struct listener_options){0});
	o.linger = true;
	fd = dial(&o);
	put(fd, "question\n");
	WAIT(is(&o.lines, "question\n"));
	listener_drain(o.l);
	settle();
	assert_int_equal(o.n_broken, 1);
	assert_false(o.drained);
	assert_int_equal(o.n_closed, 0);
	assert_int_equal(connection_send(o.c, STR("answer")), 0);
	connection_finish(o.c);
	assert_int_equal(recv(fd, room, sizeof room, 0), 6);
	close(fd);
	WAIT(o.drained);
	assert_int_equal(o.n_closed, 1);
	owner_fini(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_send),
		cmocka_unit_test(test_send_gone),
		cmocka_unit_test(test_finish),
		cmocka_unit_test(test_finish_alone),
		cmocka_unit_test(test_linger),
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_udp),
		cmocka_unit_test(test_udp_drops),
		cmocka_unit_test(test_unix),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_account),
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_park),
		cmocka_unit_test(test_park_udp),
		cmocka_unit_test(test_park_dropped),
		cmocka_unit_test(test_park_leaves),
		cmocka_unit_test(test_cidr),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
