/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "input/syslog.c"
#include "input/fake_sink.h"
#include "os/fs.h"

static char folder[] = "/tmp/sawlog-syslog-XXXXXX";
static char address[100], address2[100];
static bool ending;

static bool wanted(void *arg, const char *listen)
{
	(void)arg;
	(void)listen;
	return !ending;
}

struct bench {
	struct syslog_settings s;
	const char *listen[4];
	struct fake_sink sink;
	struct account account;
	struct fake_run run;
	struct error error;
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

static void bench_prepare(struct bench *b, const char *first, const char *second)
{
	memset(b, 0, sizeof *b);
	b->listen[0] = first;
	b->listen[1] = second;
	b->s = (struct syslog_settings){.port.listen = {b->listen, second ? 2 : 1},
		.max_line = 8192,
		.port.receive_buffer = 1 << 20,
		.port.mode = "0666"};
	account_init(&b->account, "test", 32 << 20, NULL);
	fake_init(&b->sink);
}

static int bench_start(struct bench *b)
{
	return fake_start_input(&b->run, &input_syslog, &b->s, &b->sink, &b->account, folder);
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

	assert_true(socket_kind_of(str_c(to), &kind, &rest));
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

static void put(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void expect(struct bench *b, const char *text)
{
	struct buf got = fake_text(&b->sink, "");

	assert_string_equal(buf_cstr(&got), text);
	buf_fini(&got);
}

static void expect_labels(struct bench *b, const char *labels, const char *meta)
{
	lock_take(&b->sink.lock);
	assert_string_equal(buf_cstr(&b->sink.labels), labels);
	assert_string_equal(buf_cstr(&b->sink.meta), meta);
	buf_clear(&b->sink.meta);
	lock_drop(&b->sink.lock);
}

static void use_port(char *out, const char *scheme)
{
	snprintf(out, sizeof address, "%s://127.0.0.1:%u", scheme,
		free_port(strcmp(scheme, "udp") ? SOCK_STREAM : SOCK_DGRAM));
}

static void test_tcp(void **state)
{
	struct bench b;
	int fd;

	(void)state;
	use_port(address, "tcp");
	bench_prepare(&b, address, NULL);
	assert_int_equal(bench_start(&b), 0);
	fd = dial(address);
	put(fd, "<165>1 2026-08-21T10:00:00.5Z web1 shop 77 ID47 [a@1 x=\"1\" y=\"\\\"q\\\"\"][b z=\"2\"] "
		"\xEF\xBB\xBFhello\n");
	assert_true(fake_wait(&b.sink, 1, 5000));
	expect(&b, "hello\n");
	expect_labels(&b, "{app=\"shop\", host=\"web1\", input=\"syslog\", service_name=\"shop\"}",
		"{a@1.x=\"1\", a@1.y=\"\\\"q\\\"\", b.z=\"2\", facility=\"local4\", msgid=\"ID47\", "
		"peer=\"127.0.0.1\", pid=\"77\", severity=\"notice\"}");
	assert_int_equal(b.sink.last_time, INT64_C(1787306400500000000));
	assert_int_equal(b.sink.last_severity, 10);
	assert_int_equal(b.sink.last_flags, RECORD_LEVEL_DETECTED);
	/* Octet counted, in the same connection; no host: the peer's, which is this machine. */
	put(fd, "23 <11>1 - - - - - - coun");
	usleep(20000);
	put(fd, "t<12>su[12]: plain\n");
	assert_true(fake_wait(&b.sink, 3, 5000));
	expect(&b, "hello\ncount\nplain\n");
	close(fd);
	bench_fini(&b);
}

static void test_datagrams(void **state)
{
	struct bench b;
	int udp, un;

	(void)state;
	use_port(address, "udp");
	snprintf(address2, sizeof address2, "unix-dgram://%s/log", folder);
	bench_prepare(&b, address, address2);
	b.s.labels.items = (void *)&(const char *[]){"zone", "a"};
	b.s.labels.n = 1;
	assert_int_equal(bench_start(&b), 0);
	udp = dial(address);
	un = dial(address2);
	put(udp, "<13>Aug 21 10:00:00 web2 cron[9]: job done\n");
	assert_true(fake_wait(&b.sink, 1, 5000));
	expect_labels(&b,
		"{app=\"cron\", host=\"web2\", input=\"syslog\", service_name=\"cron\", zone=\"a\"}",
		"{facility=\"user\", peer=\"127.0.0.1\", pid=\"9\", severity=\"notice\"}");
	put(un, "<86>Aug 21 10:00:00 sshd[1]: accepted");
	assert_true(fake_wait(&b.sink, 2, 5000));
	expect_labels(&b,
		"{app=\"sshd\", host=\"h1\", input=\"syslog\", service_name=\"sshd\", zone=\"a\"}",
		"{facility=\"authpriv\", pid=\"1\", severity=\"info\"}");
	put(un, "no syslog at all");
	assert_true(fake_wait(&b.sink, 3, 5000));
	expect_labels(&b,
		"{app=\"syslog\", host=\"h1\", input=\"syslog\", service_name=\"syslog\", zone=\"a\"}",
		"");
	assert_int_equal(b.sink.last_flags, RECORD_LEVEL_DETECTED | RECORD_TIME_OBSERVED);
	expect(&b, "job done\naccepted\nno syslog at all\n");
	close(udp);
	close(un);
	bench_fini(&b);
}

/* Cut at max_line, with its whole length, in each framing; what follows is whole. */
static void test_long(void **state)
{
	char *big = malloc(3000000), head[64];
	struct bench b;
	int fd, n;

	(void)state;
	memset(big, 'x', 3000000);
	use_port(address, "tcp");
	bench_prepare(&b, address, NULL);
	b.s.max_line = 1000;
	assert_int_equal(bench_start(&b), 0);
	fd = dial(address);
	put(fd, "<13>app: ");
	assert_int_equal(send(fd, big, 2999991, 0), 2999991);
	put(fd, "\n<13>app: after\n");
	assert_true(fake_wait(&b.sink, 2, 5000));
	lock_take(&b.sink.lock);
	assert_non_null(strstr(buf_cstr(&b.sink.meta), "truncated_from=\"3000000\""));
	buf_clear(&b.sink.meta);
	lock_drop(&b.sink.lock);
	n = snprintf(head, sizeof head, "2000009 <13>app: ");
	assert_int_equal(send(fd, head, (size_t)n, 0), n);
	assert_int_equal(send(fd, big, 2000000, 0), 2000000);
	put(fd, "15 <13>app: after2");
	close(fd);
	assert_true(fake_wait(&b.sink, 4, 5000));
	assert_non_null(strstr(buf_cstr(&b.sink.meta), "truncated_from=\"2000009\""));
	{
		struct buf got = fake_text(&b.sink, "");
		assert_true(str_ends(buf_view(&got), STR("x\nafter2\n")));
		assert_int_equal(got.n, 2 * (1000 - 9 + 1) + 6 + 7);
		buf_fini(&got);
	}
	/* A gigabyte that is claimed and does not come costs nothing. */
	fd = dial(address);
	put(fd, "999999999 <13>app: little");
	close(fd);
	assert_true(fake_wait(&b.sink, 5, 5000));
	assert_true(b.account.peak < 24 << 20);
	free(big);
	bench_fini(&b);
}

/* Data that does not fit into pairs is kept as it came. */
static void test_odd_data(void **state)
{
	struct buf many = {0};
	struct bench b;
	int fd;

	(void)state;
	use_port(address, "tcp");
	bench_prepare(&b, address, NULL);
	assert_int_equal(bench_start(&b), 0);
	fd = dial(address);
	put(fd, "<13>1 - h a - - [x ip=\"1\" ip=\"2\"] twice\n");
	assert_true(fake_wait(&b.sink, 1, 5000));
	expect_labels(&b, "{app=\"a\", host=\"h\", input=\"syslog\", service_name=\"a\"}",
		"{facility=\"user\", peer=\"127.0.0.1\", severity=\"notice\", structured_data=\"[x "
		"ip=\\\"1\\\" ip=\\\"2\\\"]\", x.ip=\"1\"}");
	buf_c(&many, "<13>1 - h a - - [x");
	for (int i = 0; i < 200; i++)
		buf_printf(&many, " p%d=\"%d\"", i, i);
	buf_c(&many, "] many\n");
	put(fd, buf_cstr(&many));
	assert_true(fake_wait(&b.sink, 2, 5000));
	lock_take(&b.sink.lock);
	assert_non_null(strstr(buf_cstr(&b.sink.meta), "x.p0=\"0\""));
	assert_non_null(strstr(buf_cstr(&b.sink.meta), "p199=\\\"199\\\"]"));
	lock_drop(&b.sink.lock);
	close(fd);
	buf_fini(&many);
	bench_fini(&b);
}

/* The message's own names beside fixed labels: never under a label's name, which they would hide.
 */
static void test_fixed_labels(void **state)
{
	struct bench b;
	int fd;

	(void)state;
	use_port(address, "tcp");
	bench_prepare(&b, address, NULL);
	b.s.app = "shop";
	b.s.labels.items = (void *)&(const char *[]){"host", "rack1"};
	b.s.labels.n = 1;
	assert_int_equal(bench_start(&b), 0);
	fd = dial(address);
	put(fd, "<13>1 - web1 nginx - - - hello\n");
	assert_true(fake_wait(&b.sink, 1, 5000));
	expect_labels(&b, "{app=\"shop\", host=\"rack1\", input=\"syslog\", service_name=\"shop\"}",
		"{appname=\"nginx\", facility=\"user\", hostname=\"web1\", peer=\"127.0.0.1\", "
		"severity=\"notice\"}");
	put(fd, "<13>1 - rack1 shop - - - the same\n");
	assert_true(fake_wait(&b.sink, 2, 5000));
	expect_labels(&b, "{app=\"shop\", host=\"rack1\", input=\"syslog\", service_name=\"shop\"}",
		"{facility=\"user\", peer=\"127.0.0.1\", severity=\"notice\"}");
	close(fd);
	bench_fini(&b);
}

/* All memory is held by others, who may wait for us: it goes on, a little at a time. */
static void test_memory_is_full(void **state)
{
	struct buf model = {0};
	uint64_t full;
	struct bench b;
	int fd, udp;

	(void)state;
	use_port(address, "tcp");
	use_port(address2, "udp");
	bench_prepare(&b, address, address2);
	account_init(&b.account, "test", 8 << 20, NULL);
	assert_int_equal(bench_start(&b), 0);
	fd = dial(address);
	udp = dial(address2);
	put(fd, "<13>app: first\n");
	assert_true(fake_wait(&b.sink, 1, 5000));
	full = account_room(&b.account);
	account_force(&b.account, full);
	b.account.peak = account_held(&b.account);
	put(udp, "<13>app: datagram");
	assert_true(fake_wait(&b.sink, 2, 5000));
	buf_c(&model, "first\ndatagram\n");
	for (int i = 0; i < 50000; i++) {
		char line[64];
		snprintf(line, sizeof line, "<13>app: message %d\n", i);
		put(fd, line);
		buf_c(&model, line + 9);
	}
	assert_true(fake_wait(&b.sink, 50002, 10000));
	expect(&b, buf_cstr(&model));
	/* The floor, a read, and what connections hold of one. */
	assert_true(b.account.peak <= (8 << 20) + COURIER_FLOOR + (512 << 10));
	account_release(&b.account, full);
	close(fd);
	close(udp);
	buf_fini(&model);
	bench_fini(&b);
}

/* The same with what is full of halves of messages, that only whole ones free. */
static void test_memory_full_of_halves(void **state)
{
	enum { SENDERS = 400 };
	char *half = malloc(8001);
	struct bench b;
	int fd[SENDERS];

	(void)state;
	memset(half, 'x', 8000);
	memcpy(half, "<13>app: ", 9);
	half[8000] = 0;
	use_port(address, "tcp");
	bench_prepare(&b, address, NULL);
	account_init(&b.account, "test", 2 << 20, NULL);
	assert_int_equal(bench_start(&b), 0);
	for (int i = 0; i < SENDERS; i++) {
		fd[i] = dial(address);
		put(fd[i], half);
	}
	for (int i = 0; i < SENDERS; i++)
		put(fd[i], " end\n");
	assert_true(fake_wait(&b.sink, SENDERS, 20000));
	for (int i = 0; i < SENDERS; i++)
		close(fd[i]);
	assert_true(b.account.peak <= (2 << 20) + COURIER_FLOOR + (512 << 10));
	free(half);
	bench_fini(&b);
}

static void *send_many(void *arg)
{
	int fd = *(int *)arg;

	for (int i = 0; i < 200000; i++) {
		char line[100];
		size_t n = (size_t)snprintf(
			line, sizeof line, "<13>Aug 21 10:00:00 h app[%d]: message %d\n", i % 7, i);
		for (size_t at = 0; at < n;) {
			ssize_t r = send(fd, line + at, n - at, MSG_NOSIGNAL);
			if (r < 0)
				return NULL;
			at += (size_t)r;
		}
	}
	close(fd);
	return NULL;
}

static void model_many(struct buf *out)
{
	for (int i = 0; i < 200000; i++)
		buf_printf(out, "message %d\n", i);
}

/* Through a sink that is slow, busy and fails: all of it, in order, within bounds. */
static void test_back_pressure(void **state)
{
	struct buf model = {0};
	pthread_t thread;
	struct bench b;
	int fd;

	(void)state;
	use_port(address, "tcp");
	bench_prepare(&b, address, NULL);
	b.sink.delay_us = 20000;
	b.sink.fail_every = 5;
	b.sink.busy_every = 6;
	assert_int_equal(bench_start(&b), 0);
	fd = dial(address);
	pthread_create(&thread, NULL, send_many, &fd);
	assert_true(fake_wait(&b.sink, 200000, 60000));
	pthread_join(thread, NULL);
	model_many(&model);
	expect(&b, buf_cstr(&model));
	assert_true(b.account.peak < 32 << 20);
	buf_fini(&model);
	bench_fini(&b);
}

/* The store fails, and goes on failing when the input stops: what is lost is counted. */
static void test_lost_at_a_stop(void **state)
{
	struct bench b;
	int fd;

	(void)state;
	use_port(address, "tcp");
	bench_prepare(&b, address, NULL);
	b.sink.fail_every = 1;
	assert_int_equal(bench_start(&b), 0);
	fd = dial(address);
	put(fd, "<13>one\n<13>two\n");
	usleep(100000);
	assert_int_equal(b.sink.n_accounted, 0);
	put(fd, "<13>three\n");
	ending = true;
	assert_true(fake_stop_input(&b.run));
	assert_int_equal(b.sink.n_accounted, 3);
	assert_int_equal(b.sink.n_records, 0);
	assert_int_equal(account_held(&b.account), 0);
	fake_fini(&b.sink);
	close(fd);
	ending = false;
}

/* What the sender's kernel has handed over when the stop begins is committed. */
static void test_stop(void **state)
{
	struct buf model = {0};
	struct bench b;
	int tcp, udp;

	(void)state;
	use_port(address, "tcp");
	use_port(address2, "udp");
	bench_prepare(&b, address, address2);
	fake_set_hold(&b.sink, true);
	assert_int_equal(bench_start(&b), 0);
	tcp = dial(address);
	udp = dial(address2);
	for (int i = 0; i < 5000; i++) {
		char line[64];
		snprintf(line, sizeof line, "<13>app: %d\n", i);
		put(tcp, line);
		buf_printf(&model, "%d\n", i);
	}
	put(tcp, "<13>app: half");
	for (int i = 0; i < 50; i++)
		put(udp, "<13>u: datagram");
	fake_set_hold(&b.sink, false);
	assert_true(fake_stop_input(&b.run));
	assert_int_equal(fake_count(&b.sink), 5051);
	{
		struct buf got = fake_text(&b.sink, "");
		assert_true(str_find(buf_view(&got), STR("4999\nhalf\n")) >= 0 ||
			    str_find(buf_view(&got), STR("half\n")) >= 0);
		buf_fini(&got);
	}
	close(tcp);
	close(udp);
	buf_fini(&model);
	fake_fini(&b.sink);
}

/* An input is exchanged for another on the same loop, again and again, while bytes come: all
 * arrive, once and in order. */

struct exchange {
	struct fake_run *run;
	_Atomic int done;
	int code;
};

static void exchange_start(void *arg)
{
	struct exchange *x = arg;

	x->code =
		input_syslog.start(&x->run->input, x->run->settings, &x->run->env, &x->run->error);
	x->done = 1;
}

static void exchange_stop(void *arg)
{
	struct exchange *x = arg;

	input_syslog.stop(x->run->input, exchange_start, x);
}

static void test_exchange(void **state)
{
	struct buf model = {0};
	pthread_t thread;
	struct bench b;
	int fd, udp, n = 0;

	(void)state;
	use_port(address, "tcp");
	use_port(address2, "udp");
	bench_prepare(&b, address, address2);
	assert_int_equal(bench_start(&b), 0);
	/* From now on a stop is not for good. */
	ending = false;
	((struct syslog_input *)b.run.input)->env_copy.wanted = wanted;
	b.run.env.wanted = wanted;
	fd = dial(address);
	udp = dial(address2);
	pthread_create(&thread, NULL, send_many, &fd);
	for (; n < 1000 && fake_count(&b.sink) < 190000; n++) {
		struct exchange x = {.run = &b.run};
		loop_post(b.run.loop, exchange_stop, &x);
		put(udp, "<13>u: x");
		for (int i = 0; i < 20000 && !x.done; i++)
			usleep(200);
		assert_true(x.done);
		assert_int_equal(x.code, 0);
		usleep(500);
	}
	pthread_join(thread, NULL);
	assert_true(n > 20);
	assert_true(fake_wait(&b.sink, 200000 + (uint64_t)n, 20000));
	model_many(&model);
	{
		struct buf got = fake_text(&b.sink, "");
		size_t at = 0;
		/* The datagrams stand anywhere between. */
		for (struct str rest = buf_view(&got); rest.n;) {
			struct str line = str_cut(&rest, '\n');
			if (str_eq_c(line, "x"))
				continue;
			assert_memory_equal(line.p, model.p + at, line.n);
			at += line.n + 1;
		}
		assert_int_equal(at, model.n);
		buf_fini(&got);
	}
	ending = true;
	close(udp);
	buf_fini(&model);
	bench_fini(&b);
}

/* The kernel drops: counted to the last one, and told in a record. */
static void test_drops(void **state)
{
	struct buf got;
	struct bench b;
	int udp;

	(void)state;
	use_port(address, "udp");
	bench_prepare(&b, address, NULL);
	b.s.port.receive_buffer = 4096;
	assert_int_equal(bench_start(&b), 0);
	udp = dial(address);
	for (int i = 0; i < 20000; i++)
		put(udp, "<13>app: one of very many, of which some have to be lost");
	for (int i = 0; i < 5000 && fake_count(&b.sink) + b.sink.n_accounted < 20001; i++)
		usleep(1000);
	got = fake_text(&b.sink, "");
	assert_true(b.sink.n_accounted > 0);
	{
		uint64_t lines = 0, gaps = 0;
		for (struct str rest = buf_view(&got); rest.n;) {
			struct str line = str_cut(&rest, '\n');
			lines += str_starts(line, STR("one of"));
			gaps += str_starts(line, STR("sawlog: "));
		}
		assert_int_equal(lines + b.sink.n_accounted, 20000);
		assert_true(gaps >= 1);
	}
	buf_fini(&got);
	close(udp);
	bench_fini(&b);
}

/* Tokens: each message carries one; the tenant is the token's; it does not get into the store. */
static void test_token(void **state)
{
	struct token what = {.scopes = SCOPE_INGEST, .tenant = "acme", .name = "test"};
	struct buf good = {0}, reader = {0}, line = {0};
	struct tokens *tokens;
	struct error e;
	struct bench b;
	char path[100];
	int fd;

	(void)state;
	snprintf(path, sizeof path, "%s/tokens", folder);
	assert_int_equal(tokens_create(path, &what, &good, &e), 0);
	what.scopes = SCOPE_READ;
	assert_int_equal(tokens_create(path, &what, &reader, &e), 0);
	assert_int_equal(tokens_open(&tokens, path, &e), 0);
	use_port(address, "tcp");
	bench_prepare(&b, address, NULL);
	b.s.port.token = true;
	assert_int_equal(bench_start(&b), ERR_ARG);
	assert_non_null(strstr(b.run.error.text, "auth.tokens_file"));
	/* fake_start_input has no tokens to give: start by hand. */
	b.s.port.token = false;
	assert_int_equal(bench_start(&b), 0);
	b.s.port.token = true;
	((struct syslog_input *)b.run.input)->env_copy.tokens = tokens;
	fd = dial(address);
	buf_printf(&line, "<13>1 - h a - - [sawlog@32473 token=\"%s\"][x y=\"1\" y=\"2\"] fine\n",
		buf_cstr(&good));
	put(fd, buf_cstr(&line));
	put(fd, buf_cstr(&line));
	assert_true(fake_wait(&b.sink, 2, 5000));
	lock_take(&b.sink.lock);
	assert_null(strstr(buf_cstr(&b.sink.meta), "slt_"));
	assert_non_null(
		strstr(buf_cstr(&b.sink.meta), "structured_data=\"[sawlog@32473 token=\\\"**"));
	lock_drop(&b.sink.lock);
	/* Revoked: within 2 s it is not good any more, on a connection that is open too. */
	assert_int_equal(tokens_check(tokens, buf_view(&good), &what, &e), 0);
	assert_int_equal(tokens_revoke(path, str_c(what.id), &e), 0);
	usleep(2200000);
	put(fd, buf_cstr(&line));
	for (char c; recv(fd, &c, 1, 0) > 0;)
		;
	close(fd);
	fd = dial(address);
	put(fd, "<13>1 - h a - - - none\nmore\n");
	for (char c; recv(fd, &c, 1, 0) > 0;)
		;
	close(fd);
	for (int i = 0; i < 2; i++) {
		fd = dial(address);
		buf_clear(&line);
		buf_printf(&line, "<13>1 - h a - - [sawlog@32473 token=\"%s\"] no\n",
			i ? buf_cstr(&reader) : "slt_0123456789abcdef_00");
		put(fd, buf_cstr(&line));
		for (char c; recv(fd, &c, 1, 0) > 0;)
			;
		close(fd);
	}
	assert_int_equal(fake_count(&b.sink), 2);
	assert_int_equal(b.sink.n_accounted, 4);
	expect(&b, "fine\nfine\n");
	bench_fini(&b);
	tokens_free(tokens);
	buf_fini(&good);
	buf_fini(&reader);
	buf_fini(&line);
	unlink(path);
}

static void test_garbage(void **state)
{
	struct bench b;
	char junk[5000];
	size_t lines = 0;
	int fd;

	(void)state;
	srand(7);
	use_port(address, "tcp");
	bench_prepare(&b, address, NULL);
	assert_int_equal(bench_start(&b), 0);
	for (int i = 0; i < 50; i++) {
		fd = dial(address);
		for (size_t k = 0; k < sizeof junk; k++)
			junk[k] = (char)rand();
		send(fd, junk, sizeof junk, MSG_NOSIGNAL);
		close(fd);
	}
	fd = dial(address);
	put(fd, "<13>app: still here\n");
	for (int i = 0; i < 5000 && !lines; i++) {
		struct buf got = fake_text(&b.sink, "");
		lines = str_find(buf_view(&got), STR("still here\n")) >= 0;
		buf_fini(&got);
		usleep(1000);
	}
	assert_true(lines > 0);
	close(fd);
	bench_fini(&b);
}

static void checks(struct syslog_settings s, const char *first, const char *word)
{
	const char *listen[] = {first};
	struct error e = {.text = ""};
	int r;

	s.port.listen = (struct strings){listen, 1};
	r = check(&s, &e);
	if (!word) {
		assert_string_equal(e.text, "");
		assert_int_equal(r, 0);
	} else {
		assert_int_equal(r, ERR_ARG);
		if (!strstr(e.text, word))
			fail_msg("'%s' does not tell '%s'", e.text, word);
	}
}

static void count_guarded(void *arg, const char *at, bool guarded)
{
	assert_non_null(at);
	*(unsigned *)arg = *(unsigned *)arg * 10 + 1 + guarded;
}

static void test_check(void **state)
{
	const char *net = "10.0.0.0/8", *bad_net = "10.0.0.1/8";
	const struct syslog_settings none = {0}, tls = {.port.tls = {"c", "k", NULL}};
	const char *all[] = {"tcp://127.0.0.1:1", "tls://127.0.0.1:2"};
	struct syslog_settings s = {.port.listen = {all, 2}, .port.tls = {"c", "k", NULL}};
	unsigned seen = 0;

	(void)state;
	checks(none, "udp://127.0.0.1:514", NULL);
	checks(none, "unix-dgram:///dev/log", NULL);
	checks(none, "127.0.0.1:514", "must begin with");
	checks(none, "http://127.0.0.1:514", "must begin with");
	checks(none, "udp://0.0.0.0:514", "allow");
	checks(none, "tcp://[::]:514", "allow");
	checks((struct syslog_settings){.port.allow = {&net, 1}}, "udp://0.0.0.0:514", NULL);
	checks((struct syslog_settings){.port.allow = {&bad_net, 1}}, "udp://0.0.0.0:514",
		"behind its prefix");
	checks(none, "tls://127.0.0.1:6514", "needs tls");
	checks(tls, "tls://0.0.0.0:6514", NULL);
	checks(tls, "tcp://127.0.0.1:514", "no address of listen begins with tls://");
	checks((struct syslog_settings){.port.token = true}, "udp://127.0.0.1:514", "use tls://");
	checks((struct syslog_settings){.port.token = true}, "tcp://127.0.0.1:514", NULL);
	checks((struct syslog_settings){.port.mode = "0999"}, "unix:///x", "mode");
	checks((struct syslog_settings){.port.mode = "1777"}, "unix:///x", "mode");
	checks((struct syslog_settings){.port.mode = ""}, "unix:///x", "mode");
	checks((struct syslog_settings){.timezone = "Mars/Phobos"}, "unix:///x", "timezone: ");
	checks((struct syslog_settings){.timezone = "+02:00"}, "unix:///x", NULL);
	listens(&s, count_guarded, &seen);
	assert_int_equal(seen, 11);
	s.port.token = true;
	seen = 0;
	listens(&s, count_guarded, &seen);
	assert_int_equal(seen, 12);
	s.port.token = false;
	s.port.tls.client_ca = "ca";
	seen = 0;
	listens(&s, count_guarded, &seen);
	assert_int_equal(seen, 12);
}

static int setup(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_datagrams),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_odd_data),
		cmocka_unit_test(test_fixed_labels),
		cmocka_unit_test(test_memory_is_full),
		cmocka_unit_test(test_memory_full_of_halves),
		cmocka_unit_test(test_back_pressure),
		cmocka_unit_test(test_lost_at_a_stop),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_drops),
		cmocka_unit_test(test_token),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_check),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
