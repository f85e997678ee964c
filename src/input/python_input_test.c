/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "input/python.c"
#include "input/fake_sink.h"
#include "record/severity.h"

static char folder[] = "/tmp/sawlog-python-XXXXXX";
static char address[100], address2[120];
static bool ending;

static bool wanted(void *arg, const char *listen)
{
	(void)arg;
	(void)listen;
	return !ending;
}

struct bench {
	struct python_settings s;
	const char *listen[4];
	struct fake_sink sink;
	struct account account;
	struct fake_run run;
};

static unsigned free_port(int type)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, type, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	getsockname(fd, (struct sockaddr *)&a, &n);
	close(fd);
	return ntohs(a.sin_port);
}

static void use_port(char *out, const char *scheme)
{
	snprintf(out, sizeof address, "%s://127.0.0.1:%u", scheme,
		free_port(strcmp(scheme, "udp") ? SOCK_STREAM : SOCK_DGRAM));
}

static void bench_prepare(struct bench *b, const char *first, const char *second)
{
	memset(b, 0, sizeof *b);
	b->listen[0] = first;
	b->listen[1] = second;
	b->s = (struct python_settings){.port.listen = {b->listen, second ? 2 : 1},
		.app = "python",
		.max_line = 256 << 10,
		.port.receive_buffer = 1 << 20,
		.port.mode = "0666"};
	account_init(&b->account, "test", 64 << 20, NULL);
	fake_init(&b->sink);
}

static void bench_start(struct bench *b)
{
	assert_int_equal(
		fake_start_input(&b->run, &input_python, &b->s, &b->sink, &b->account, folder), 0);
}

static void bench_fini(struct bench *b)
{
	assert_true(fake_stop_input(&b->run));
	assert_int_equal(account_held(&b->account), 0);
	fake_fini(&b->sink);
}

static int dial(const char *to)
{
	enum socket_kind kind;
	struct str rest;
	int fd;

	if (strncmp(to, "http", 4) == 0) {
		kind = SOCKET_TCP;
		rest = str_c(strstr(to, "://") + 3);
	} else {
		assert_true(socket_kind_of(str_c(to), &kind, &rest));
	}
	if (rest.p[0] == '/') {
		struct sockaddr_un a = {.sun_family = AF_UNIX};
		str_copy(rest, a.sun_path, sizeof a.sun_path);
		fd = socket(AF_UNIX, socket_is_datagram(kind) ? SOCK_DGRAM : SOCK_STREAM, 0);
		assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
		return fd;
	}
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(strrchr(to, ':') + 1)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	fd = socket(AF_INET, socket_is_datagram(kind) ? SOCK_DGRAM : SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

static void put(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t done = send(fd, p, n, MSG_NOSIGNAL);

		assert_true(done > 0);
		p += done;
		n -= (size_t)done;
	}
}

static void put_buf(int fd, struct buf *b)
{
	put(fd, b->p, b->n);
	buf_fini(b);
}

/* Pickles as SocketHandler writes them, protocol 1. */

static void put_length(struct buf *out, size_t n, bool big_endian)
{
	for (int i = 0; i < 4; i++)
		buf_char(out, (char)(n >> 8 * (big_endian ? 3 - i : i)));
}

static void put_text(struct buf *out, struct str text)
{
	buf_char(out, 'X');
	put_length(out, text.n, false);
	buf_str(out, text);
}

static void put_double(struct buf *out, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof bits);
	buf_char(out, 'G');
	for (int i = 7; i >= 0; i--)
		buf_char(out, (char)(bits >> 8 * i));
}

static void put_frame(struct buf *out, const struct buf *pickle)
{
	put_length(out, pickle->n, true);
	buf_str(out, buf_view(pickle));
}

/* Append the frame of a record. */
static void frame_of(struct buf *out, const char *logger, struct str msg)
{
	struct buf p = {0};

	buf_c(&p, "}(");
	put_text(&p, STR("name"));
	put_text(&p, str_c(logger));
	put_text(&p, STR("msg"));
	put_text(&p, msg);
	put_text(&p, STR("args"));
	buf_char(&p, 'N');
	put_text(&p, STR("levelno"));
	buf_c(&p, "K\x1e");
	put_text(&p, STR("levelname"));
	put_text(&p, STR("WARNING"));
	put_text(&p, STR("created"));
	put_double(&p, 1787306400.5);
	put_text(&p, STR("process"));
	buf_c(&p, "K\x4d");
	buf_c(&p, "u.");
	put_frame(out, &p);
	buf_fini(&p);
}

static void send_record(int fd, const char *msg)
{
	struct buf out = {0};

	frame_of(&out, "shop", str_c(msg));
	put_buf(fd, &out);
}

static void expect(struct bench *b, const char *text)
{
	struct buf got = fake_text(&b->sink, "");

	assert_string_equal(buf_cstr(&got), text);
	buf_fini(&got);
}

static void expect_labels(struct bench *b, const char *labels)
{
	lock_take(&b->sink.lock);
	assert_string_equal(buf_cstr(&b->sink.labels), labels);
	lock_drop(&b->sink.lock);
}

static void expect_meta(struct bench *b, const char *part)
{
	lock_take(&b->sink.lock);
	if (!strstr(buf_cstr(&b->sink.meta), part))
		fail_msg("%s is not in %s", part, buf_cstr(&b->sink.meta));
	buf_clear(&b->sink.meta);
	lock_drop(&b->sink.lock);
}

static uint64_t accounted(struct bench *b)
{
	uint64_t n;

	lock_take(&b->sink.lock);
	n = b->sink.n_accounted;
	lock_drop(&b->sink.lock);
	return n;
}

static void wait_accounted(struct bench *b, uint64_t n)
{
	for (int i = 0; i < 10000 && accounted(b) < n; i++)
		usleep(1000);
	assert_int_equal(accounted(b), n);
}

static void test_record(void **state)
{
	struct bench b;
	int fd;

	use_port(address, "tcp");
	bench_prepare(&b, address, NULL);
	bench_start(&b);
	fd = dial(address);
	send_record(fd, "h\xc3\xa9llo\nsecond line");
	assert_true(fake_wait(&b.sink, 1, 5000));
	expect(&b, "h\xc3\xa9llo\nsecond line\n");
	expect_labels(&b, "{app=\"python\", host=\"h1\", input=\"python\", logger=\"shop\", "
			  "service_name=\"python\"}");
	expect_meta(&b, "process=\"77\"");
	assert_int_equal(b.sink.last_time, INT64_C(1787306400500000000));
	assert_int_equal(b.sink.last_severity, SEV_WARN);
	assert_int_equal(b.sink.last_flags, RECORD_LEVEL_DETECTED);
	close(fd);
	bench_fini(&b);
}

/* Each byte in a segment of its own, the length too. */
static void test_pieces(void **state)
{
	struct buf out = {0};
	struct bench b;
	int fd;

	use_port(address, "tcp");
	bench_prepare(&b, address, NULL);
	bench_start(&b);
	fd = dial(address);
	frame_of(&out, "a", STR("one"));
	frame_of(&out, "a", STR("two"));
	for (size_t i = 0; i < out.n; i++) {
		put(fd, out.p + i, 1);
		usleep(200);
	}
	assert_true(fake_wait(&b.sink, 2, 5000));
	expect(&b, "one\ntwo\n");
	close(fd);
	buf_fini(&out);
	bench_fini(&b);
}

/* A peer dies in the middle of a frame, and in the middle of a length. */
static void test_broken_off(void **state)
{
	struct buf out = {0};
	struct bench b;
	int one, two, other;

	use_port(address, "tcp");
	bench_prepare(&b, address, NULL);
	bench_start(&b);
	one = dial(address);
	two = dial(address);
	other = dial(address);
	send_record(other, "before");
	frame_of(&out, "a", STR("whole"));
	frame_of(&out, "a", STR("half"));
	put(one, out.p, out.n - 3);
	put(two, "\0\0", 2);
	assert_true(fake_wait(&b.sink, 2, 5000));
	close(one);
	close(two);
	wait_accounted(&b, 2);
	send_record(other, "after");
	assert_true(fake_wait(&b.sink, 3, 5000));
	assert_int_equal(fake_count(&b.sink), 3);
	close(other);
	buf_fini(&out);
	bench_fini(&b);
}

/* One that is too long is skipped to its end; one that says 4 GiB holds nothing. */
static void test_too_long(void **state)
{
	size_t n = PYLOG_FRAME_MAX + 1;
	char *big = xcalloc(1, n);
	struct buf head = {0};
	struct bench b;
	int fd, liar;

	use_port(address, "tcp");
	bench_prepare(&b, address, NULL);
	bench_start(&b);
	liar = dial(address);
	put(liar, "\xff\xff\xff\xff", 4);
	put(liar, big, 1 << 20);
	wait_accounted(&b, 1);
	fd = dial(address);
	put_length(&head, n, true);
	put_buf(fd, &head);
	put(fd, big, n);
	send_record(fd, "after it");
	assert_true(fake_wait(&b.sink, 1, 10000));
	expect(&b, "after it\n");
	assert_int_equal(accounted(&b), 2);
	assert_true(account_held(&b.account) < 4 << 20);
	close(fd);
	close(liar);
	free(big);
	bench_fini(&b);
}

static void test_hostile(void **state)
{
	static const char *const pickles[] = {
		"cos\nsystem\n(S'touch /tmp/x'\ntR", /* no STOP */
		"",
		".",
		"}",
		"K\x01.",
		"\x80\x09}.",
		"GET / HTTP/1.1",
		"(((((((((((((((((",
	};
	struct buf out = {0};
	struct bench b;
	size_t n = sizeof pickles / sizeof *pickles;
	int fd, other;

	use_port(address, "tcp");
	bench_prepare(&b, address, NULL);
	bench_start(&b);
	fd = dial(address);
	other = dial(address);
	for (size_t i = 0; i < n; i++) {
		put_length(&out, strlen(pickles[i]), true);
		buf_c(&out, pickles[i]);
		frame_of(&out, "a", STR("good"));
		send_record(other, "other");
	}
	put_buf(fd, &out);
	assert_true(fake_wait(&b.sink, 2 * n, 10000));
	wait_accounted(&b, n);
	assert_int_equal(fake_count(&b.sink), 2 * n);
	close(fd);
	close(other);
	bench_fini(&b);
}

static void test_datagrams(void **state)
{
	struct buf out = {0};
	struct bench b;
	int udp, un;

	use_port(address, "udp");
	snprintf(address2, sizeof address2, "unix-dgram://%s/log", folder);
	bench_prepare(&b, address, address2);
	b.s.app = "shop";
	b.s.labels.items = (void *)&(const char *[]){"logger", "one"};
	b.s.labels.n = 1;
	bench_start(&b);
	udp = dial(address);
	un = dial(address2);
	send_record(udp, "by udp");
	assert_true(fake_wait(&b.sink, 1, 5000));
	expect_labels(&b, "{app=\"shop\", host=\"h1\", input=\"python\", logger=\"one\", "
			  "service_name=\"shop\"}");
	expect_meta(&b, "name=\"shop\"");
	send_record(un, "by unix");
	assert_true(fake_wait(&b.sink, 2, 5000));
	expect(&b, "by udp\nby unix\n");
	/* Half a one costs itself. */
	frame_of(&out, "a", STR("half"));
	put(udp, out.p, out.n - 1);
	put(udp, out.p, 3);
	wait_accounted(&b, 2);
	send_record(udp, "after");
	assert_true(fake_wait(&b.sink, 3, 5000));
	close(udp);
	close(un);
	buf_fini(&out);
	bench_fini(&b);
}

static void test_cut(void **state)
{
	struct buf out = {0}, got;
	char *big = xmalloc(100000);
	struct bench b;
	int fd;

	memset(big, 'x', 100000);
	use_port(address, "tcp");
	bench_prepare(&b, address, NULL);
	b.s.max_line = 1000;
	bench_start(&b);
	fd = dial(address);
	frame_of(&out, "a", str_make(big, 100000));
	memset(big, 'n', 600);
	big[600] = 0;
	frame_of(&out, big, STR("y"));
	put_buf(fd, &out);
	assert_true(fake_wait(&b.sink, 2, 5000));
	got = fake_text(&b.sink, "");
	assert_int_equal(got.n, 1001 + 2);
	buf_fini(&got);
	expect_meta(&b, "truncated_from=\"100000\"");
	lock_take(&b.sink.lock);
	{
		struct buf labels = {0};
		buf_printf(&labels, "logger=\"%.255s\"", big);
		assert_non_null(strstr(buf_cstr(&b.sink.labels), buf_cstr(&labels)));
		buf_fini(&labels);
	}
	lock_drop(&b.sink.lock);
	close(fd);
	free(big);
	bench_fini(&b);
}

enum { MANY = 20000 };

static void *send_many(void *arg)
{
	struct buf out = {0};
	char text[32];

	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof text, "record %d", i);
		frame_of(&out, "many", str_c(text));
		if (out.n > 20000 || i == MANY - 1)
			put_buf(*(int *)arg, &out);
	}
	return NULL;
}

static void expect_many(struct bench *b)
{
	struct buf got = fake_text(&b->sink, ""), model = {0};

	for (int i = 0; i < MANY; i++)
		buf_printf(&model, "record %d\n", i);
	assert_string_equal(buf_cstr(&got), buf_cstr(&model));
	assert_int_equal(b->sink.n_order_errors, 0);
	buf_fini(&got);
	buf_fini(&model);
}

/* A sink that is slow, busy and fails: all arrive, once and in order. */
static void test_order(void **state)
{
	struct bench b;
	int fd;

	use_port(address, "tcp");
	bench_prepare(&b, address, NULL);
	b.sink.delay_us = 1000;
	b.sink.busy_every = 7;
	b.sink.fail_every = 9;
	bench_start(&b);
	fd = dial(address);
	send_many(&fd);
	assert_true(fake_wait(&b.sink, MANY, 20000));
	expect_many(&b);
	close(fd);
	bench_fini(&b);
}

/* Nothing is acknowledged: the sender has to wait, and memory stays within the account. */
static void test_back_pressure(void **state)
{
	pthread_t thread;
	struct buf got;
	struct bench b;
	char *big = xmalloc(64 << 10);
	uint64_t sent = 0;
	int fd;

	use_port(address, "tcp");
	bench_prepare(&b, address, NULL);
	b.account.limit = 8 << 20;
	b.sink.hold = true;
	bench_start(&b);
	fd = dial(address);
	memset(big, 'x', 64 << 10);
	for (struct pollfd p = {.fd = fd, .events = POLLOUT}; poll(&p, 1, 500) > 0;) {
		struct buf out = {0};
		frame_of(&out, "a", str_make(big, 64 << 10));
		put_buf(fd, &out);
		assert_true(++sent < 2000);
	}
	assert_true(atomic_load(&b.account.peak) <= (8 << 20) + (512 << 10));
	fake_set_hold(&b.sink, false);
	assert_true(fake_wait(&b.sink, sent, 20000));
	got = fake_text(&b.sink, "");
	assert_int_equal(got.n, sent * ((64 << 10) + 1));
	buf_fini(&got);
	pthread_create(&thread, NULL, send_many, &fd);
	pthread_join(thread, NULL);
	assert_true(fake_wait(&b.sink, sent + MANY, 20000));
	close(fd);
	free(big);
	bench_fini(&b);
}

/* What was sent before the stop is stored, though nobody has read it yet. */
static void test_stop(void **state)
{
	struct bench b;
	int fd;

	use_port(address, "tcp");
	snprintf(address2, sizeof address2, "unix://%s/stream", folder);
	bench_prepare(&b, address, address2);
	b.sink.delay_us = 2000;
	bench_start(&b);
	fd = dial(address2);
	send_many(&fd);
	assert_true(fake_stop_input(&b.run));
	assert_int_equal(fake_count(&b.sink), MANY);
	expect_many(&b);
	assert_int_equal(account_held(&b.account), 0);
	close(fd);
	fake_fini(&b.sink);
}

/* An input is exchanged for another on the same loop, again and again, while bytes come. */

struct exchange {
	struct fake_run *run;
	_Atomic int done;
	int code;
};

static void exchange_start(void *arg)
{
	struct exchange *x = arg;

	x->code =
		input_python.start(&x->run->input, x->run->settings, &x->run->env, &x->run->error);
	x->done = 1;
}

static void exchange_stop(void *arg)
{
	struct exchange *x = arg;

	input_python.stop(x->run->input, exchange_start, x);
}

static void exchange(struct bench *b)
{
	struct exchange x = {.run = &b->run};

	loop_post(b->run.loop, exchange_stop, &x);
	for (int i = 0; i < 20000 && !x.done; i++)
		usleep(500);
	assert_true(x.done);
	assert_int_equal(x.code, 0);
}

/* From now on a stop is not for good. */
static void exchanges_begin(struct bench *b)
{
	ending = false;
	((struct python_input *)b->run.input)->env_copy.wanted = wanted;
	b->run.env.wanted = wanted;
}

static void test_exchange(void **state)
{
	pthread_t thread;
	struct bench b;
	int fd, n = 0;

	use_port(address, "tcp");
	bench_prepare(&b, address, NULL);
	bench_start(&b);
	exchanges_begin(&b);
	fd = dial(address);
	pthread_create(&thread, NULL, send_many, &fd);
	for (; n < 1000 && fake_count(&b.sink) < MANY; n++)
		exchange(&b);
	pthread_join(thread, NULL);
	assert_true(n > 2);
	assert_true(fake_wait(&b.sink, MANY, 20000));
	expect_many(&b);
	ending = true;
	close(fd);
	bench_fini(&b);
}

/* HTTP. */

static void read_answer(int fd, struct buf *out, const char *until)
{
	buf_clear(out);
	while (!strstr(buf_cstr(out), until)) {
		char chunk[512];
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		assert_int_equal(poll(&p, 1, 10000), 1);
		n = recv(fd, chunk, sizeof chunk, 0);
		assert_true(n > 0);
		buf_put(out, chunk, (size_t)n);
	}
}

static int ask(const char *method, const char *target, const char *body)
{
	struct buf out = {0};
	int fd = dial(address);

	buf_printf(&out, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", method,
		target, strlen(body), body);
	put_buf(fd, &out);
	return fd;
}

#define FORM "name=a.b&msg=n+%25d&args=%284%2C%29&levelno=40&levelname=ERROR&created=1787306400.5"

static void test_http(void **state)
{
	struct buf got = {0};
	struct bench b;
	int one, two, bad;

	use_port(address, "http");
	bench_prepare(&b, address, NULL);
	b.sink.hold = true;
	snprintf(address2, sizeof address2, "%s/log/in", address);
	b.listen[0] = address2;
	bench_start(&b);
	exchanges_begin(&b);
	one = ask("GET", "/log/in?" FORM, "");
	two = ask("POST", "/log/in", FORM);
	bad = ask("POST", "/log/in", "");
	read_answer(bad, &got, "\r\n\r\n");
	assert_true(str_starts(buf_view(&got), STR("HTTP/1.1 400 ")));
	close(bad);
	/* Nothing is answered before it is durable. */
	{
		struct pollfd p[2] = {{.fd = one, .events = POLLIN}, {.fd = two, .events = POLLIN}};
		assert_int_equal(poll(p, 2, 100), 0);
	}
	fake_set_hold(&b.sink, false);
	read_answer(one, &got, "ok\n");
	assert_true(str_starts(buf_view(&got), STR("HTTP/1.1 200 ")));
	read_answer(two, &got, "ok\n");
	assert_int_equal(fake_count(&b.sink), 2);
	expect(&b, "n 4\nn 4\n");
	assert_int_equal(b.sink.last_severity, SEV_ERROR);
	close(one);
	close(two);
	/* Its listener is left to the next one. */
	for (int i = 0; i < 20; i++) {
		one = ask("GET", "/log/in?" FORM, "");
		exchange(&b);
		read_answer(one, &got, "ok\n");
		close(one);
	}
	assert_int_equal(fake_count(&b.sink), 22);
	ending = true;
	buf_fini(&got);
	bench_fini(&b);
}

/* The standard input. */

struct pipes {
	int in, out; /* ours: to write frames, to read the word */
	int saved_in, saved_out;
};

static void pipes_init(struct pipes *p)
{
	int in[2], out[2];

	fflush(stdout);
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	p->saved_in = dup(STDIN_FILENO);
	p->saved_out = dup(STDOUT_FILENO);
	dup2(in[0], STDIN_FILENO);
	dup2(out[1], STDOUT_FILENO);
	close(in[0]);
	close(out[1]);
	p->in = in[1];
	p->out = out[0];
}

static void pipes_fini(struct pipes *p)
{
	dup2(p->saved_in, STDIN_FILENO);
	dup2(p->saved_out, STDOUT_FILENO);
	close(p->saved_in);
	close(p->saved_out);
	close(p->out);
}

static void test_stdin(void **state)
{
	struct buf out = {0};
	struct pipes p;
	struct bench b;
	char word[16] = "";

	pipes_init(&p);
	bench_prepare(&b, "stdin:", NULL);
	bench_start(&b);
	frame_of(&out, "a", STR("one"));
	frame_of(&out, "a", STR("two"));
	assert_int_equal(write(p.in, out.p, out.n), out.n);
	assert_true(fake_wait(&b.sink, 2, 5000));
	assert_int_equal(b.run.ended, 0);
	assert_int_equal(write(p.in, "\0\0\0\x07U\x04STOP", 10), 10);
	assert_int_equal(write(p.in, ".", 1), 1);
	assert_int_equal(read(p.out, word, sizeof word), 5);
	for (int i = 0; i < 10000 && !b.run.ended; i++)
		usleep(1000);
	close(p.in);
	pipes_fini(&p);
	assert_string_equal(word, "STOP\n");
	assert_int_equal(b.run.ended, 1);
	expect(&b, "one\ntwo\n");
	assert_int_equal(accounted(&b), 0);
	buf_fini(&out);
	bench_fini(&b);
}

/* An exchange in the middle of a frame. */
static void test_stdin_exchange(void **state)
{
	struct buf out = {0};
	struct pipes p;
	struct bench b;

	pipes_init(&p);
	bench_prepare(&b, "stdin:", NULL);
	bench_start(&b);
	exchanges_begin(&b);
	frame_of(&out, "a", STR("one"));
	for (size_t i = 0; i < out.n; i += 40) {
		size_t n = out.n - i < 40 ? out.n - i : 40;
		assert_int_equal(write(p.in, out.p + i, n), n);
		usleep(5000);
		exchange(&b);
	}
	assert_true(fake_wait(&b.sink, 1, 5000));
	expect(&b, "one\n");
	assert_int_equal(accounted(&b), 0);
	ending = true;
	close(p.in);
	for (int i = 0; i < 10000 && !b.run.ended; i++)
		usleep(1000);
	assert_int_equal(b.run.ended, 1);
	pipes_fini(&p);
	buf_fini(&out);
	bench_fini(&b);
}

/* Its end ends the input, once all is stored; half a frame is counted. */
static void test_stdin_end(void **state)
{
	struct buf out = {0};
	struct pipes p;
	struct bench b;

	pipes_init(&p);
	bench_prepare(&b, "stdin:", NULL);
	b.sink.hold = true;
	bench_start(&b);
	frame_of(&out, "a", STR("one"));
	assert_int_equal(write(p.in, out.p, out.n), out.n);
	assert_int_equal(write(p.in, out.p, out.n - 1), out.n - 1);
	close(p.in);
	wait_accounted(&b, 1);
	assert_int_equal(b.run.ended, 0);
	fake_set_hold(&b.sink, false);
	for (int i = 0; i < 10000 && !b.run.ended; i++)
		usleep(1000);
	assert_int_equal(b.run.ended, 1);
	expect(&b, "one\n");
	pipes_fini(&p);
	buf_fini(&out);
	bench_fini(&b);
}

static void checks(struct python_settings s, const char *listen, const char *sentence)
{
	struct error e;
	int r;

	s.port.listen = (struct strings){&listen, 1};
	r = check(&s, &e);
	if (!sentence) {
		assert_int_equal(r, 0);
		return;
	}
	assert_int_equal(r, ERR_ARG);
	if (!strstr(e.text, sentence))
		fail_msg("\"%s\" is not in \"%s\"", sentence, e.text);
}

static void test_check(void **state)
{
	const struct python_settings none = {0}, tls = {.port.tls = {.cert = "c", .key = "k"}},
				     token = {.port.token = true};
	const char *two[] = {"stdin:", "tcp://127.0.0.1:1"}, *net = "10.0.0.0/8";

	checks(none, "tcp://127.0.0.1:9020", NULL);
	checks(none, "unix:///run/x", NULL);
	checks(none, "stdin:", NULL);
	checks(none, "http://127.0.0.1:9022/a/b-c", NULL);
	checks(none, "http://127.0.0.1:9022", NULL);
	checks(none, "http://127.0.0.1:9022/{a}", "a path has");
	checks(none, "http://127.0.0.1:9022/a//b", "a path has");
	checks(none, "ftp://127.0.0.1:1", "must begin with");
	checks(none, "tcp://0.0.0.0:9020", "open beyond this machine");
	checks(none, "http://10.0.0.1:9020", "open beyond this machine");
	checks(none, "tcp://127.example.com:9020", "open beyond this machine");
	checks((struct python_settings){.port.allow = {&net, 1}}, "tcp://0.0.0.0:9020", NULL);
	checks(none, "tls://127.0.0.1:9020", "needs tls");
	checks(tls, "https://0.0.0.0:9020", NULL);
	checks(tls, "tcp://127.0.0.1:9020", "no address of listen begins");
	checks(token, "tcp://127.0.0.1:9020", "cannot ask for one");
	checks(token, "http://127.0.0.1:9020", NULL);
	checks((struct python_settings){.port.mode = "9"}, "unix:///x", "mode");
	{
		struct python_settings s = {.port.listen = {two, 2}};
		struct error e;
		assert_int_equal(check(&s, &e), ERR_ARG);
		assert_non_null(strstr(e.text, "an input of its own"));
	}
}

static int setup(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[64];

	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_broken_off),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_datagrams),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_back_pressure),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_http),
		cmocka_unit_test(test_stdin),
		cmocka_unit_test(test_stdin_end),
		cmocka_unit_test(test_stdin_exchange),
		cmocka_unit_test(test_check),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
