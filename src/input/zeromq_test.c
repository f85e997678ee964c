/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "input/zeromq.c"
#include "base/hash.h"
#include "input/fake_sink.h"

/* ThreadSanitizer does not see the atomics of libzmq, which is built without it, and so takes what
 * its threads hand to each other for races. */
const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
	return "called_from_lib:libzmq.so\n";
}

static char folder[] = "/tmp/sawlog-zeromq-XXXXXX";
static bool ending;

static bool wanted(void *arg, const char *address)
{
	(void)arg;
	(void)address;
	return !ending;
}

/* An input, and a publisher of its own context, as another process would be. */
struct bench {
	struct zeromq_settings s;
	struct string_group groups[2];
	const char *addresses[2];
	const char *listen[1];
	struct fake_sink sink;
	struct account account;
	struct fake_run run;
	struct error error;
	void *context, *publisher;
	char address[100];
};

static void bench_prepare(struct bench *b, const char *name, bool bound)
{
	static int number;

	memset(b, 0, sizeof *b);
	ending = true;
	snprintf(b->address, sizeof b->address, "ipc://%s/s%d", folder, number++);
	b->s = (struct zeromq_settings){
		.host = "localhost", .max_line = 1000, .heartbeat = 0, .reconnect = 10 * NS_PER_MS};
	b->addresses[0] = b->listen[0] = b->address;
	b->groups[0] = (struct string_group){name, {b->addresses, 1}};
	if (bound)
		b->s.bind = (struct strings){b->listen, 1};
	else
		b->s.connect = (struct string_groups){b->groups, 1};
	account_init(&b->account, "test", 32 << 20, NULL);
	fake_init(&b->sink);
	b->context = zmq_ctx_new();
}

static void publish(struct bench *b, bool bound)
{
	const int none = 0, hwm = 100000, verbose = !bound;

	b->publisher = zmq_socket(b->context, ZMQ_XPUB);
	/* One that connects keeps its subscriptions while there is no connection. */
	zmq_setsockopt(b->publisher, ZMQ_XPUB_VERBOSE, &verbose, sizeof verbose);
	zmq_setsockopt(b->publisher, ZMQ_LINGER, &none, sizeof none);
	zmq_setsockopt(b->publisher, ZMQ_SNDHWM, &hwm, sizeof hwm);
	assert_int_equal(
		bound ? zmq_bind(b->publisher, b->address) : zmq_connect(b->publisher, b->address),
		0);
}

/* The subscription has come: from now on nothing is lost. */
static void expect_subscription(struct bench *b, const char *want)
{
	char text[100];
	int wait = 10000, n;

	zmq_setsockopt(b->publisher, ZMQ_RCVTIMEO, &wait, sizeof wait);
	n = zmq_recv(b->publisher, text, sizeof text - 1, 0);
	assert_true(n >= 1);
	text[n] = 0;
	text[0] = (char)(text[0] ? '+' : '-');
	assert_string_equal(text, want);
}

static void bench_start(struct bench *b)
{
	assert_int_equal(check(&b->s, &b->error), 0);
	assert_int_equal(
		fake_start_input(&b->run, &input_zeromq, &b->s, &b->sink, &b->account, folder), 0);
}

static void unpublish(struct bench *b)
{
	zmq_close(b->publisher);
	b->publisher = NULL;
}

static void bench_fini(struct bench *b)
{
	assert_true(fake_stop_input(&b->run));
	assert_int_equal(account_held(&b->account), 0);
	if (b->publisher)
		unpublish(b);
	zmq_ctx_term(b->context);
	fake_fini(&b->sink);
}

static void put(struct bench *b, const char *topic, const char *text)
{
	assert_true(zmq_send(b->publisher, topic, strlen(topic), ZMQ_SNDMORE) >= 0);
	assert_true(zmq_send(b->publisher, text, strlen(text), 0) >= 0);
}

static void expect(struct bench *b, const char *text)
{
	struct buf got = fake_text(&b->sink, "");

	assert_string_equal(buf_cstr(&got), text);
	buf_fini(&got);
}

static void expect_last(struct bench *b, const char *labels, const char *meta, uint8_t severity)
{
	lock_take(&b->sink.lock);
	assert_string_equal(buf_cstr(&b->sink.labels), labels);
	assert_string_equal(buf_cstr(&b->sink.meta), meta);
	assert_int_equal(b->sink.last_severity, severity);
	buf_clear(&b->sink.meta);
	lock_drop(&b->sink.lock);
}

static void topic(const char *text, const char *name, const char *want)
{
	const char *pair[] = {"SUCCESS", "info"};
	const struct string_map levels = {(void *)pair, 1};
	struct zeromq_topic t = zeromq_topic_read(str_c(text), str_c(name), &levels);
	char got[500];

	snprintf(got, sizeof got, "%.*s|%.*s|%.*s|%u", STR_ARG(t.root), STR_ARG(t.level),
		STR_ARG(t.sub), t.severity);
	assert_string_equal(got, want);
}

/* W-A1: no topic is refused, and what a message says does not change its level. */
static void test_topics(void **state)
{
	(void)state;
	topic("worker.INFO", NULL, "worker|INFO||9");
	topic("INFO", NULL, "|INFO||9");
	topic("INFO.sub", "x", "|INFO|sub|9");
	topic("a.b.c.WARNING.x.y", NULL, "a.b.c|WARNING|x.y|13");
	topic("app.INFO.ERROR", NULL, "app|INFO|ERROR|9");
	topic("app.INFO.std", "app", "app|INFO|std|9");
	topic("x.DEBUG.y.ERROR", "x.DEBUG.y", "x.DEBUG.y|ERROR||17");
	topic("x.info.CRITICAL", NULL, "x.info|CRITICAL||23");
	topic("w.SUCCESS.t", NULL, "w|SUCCESS|t|9");
	topic("w.PARTY.t.u", "w", "w|PARTY|t.u|0");
	topic("w.PARTY.t", NULL, "w.PARTY.t|||0");
	topic("w.Level 25", NULL, "w|Level 25||11");
	topic("w.Level 35.x", NULL, "w|Level 35|x|15");
	topic("w.Level x", NULL, "w.Level x|||0");
	topic("w.handlers", "w", "w|handlers||0");
	topic("", NULL, "|||0");
	topic("", "w", "|||0");
	topic(".", "w", ".|||0");
	topic("w.", "w", "w|||0");
	topic("..INFO..", NULL, ".|INFO|.|9");
	topic("workers.INFO", "worker", "workers|INFO||9");
}

static void strip(const char *text, const char *want)
{
	struct str s = zeromq_strip(str_c(text));

	assert_true(str_eq_c(s, want));
}

static void test_strip(void **state)
{
	(void)state;
	strip("  a b \n", "a b");
	strip("\xc2\xa0\xe3\x80\x80\x1c a\n b \xe2\x80\xa9\xc2\x85", "a\n b");
	strip("", "");
	strip(" \n\xe2\x80\x83", "");
	strip("\xe2\x80\x8b x", "\xe2\x80\x8b x"); /* no white space: of width zero */
	strip("\x80 ", "\x80");
	strip("\xa0", "\xa0");
	strip("\xe2\x80", "\xe2\x80");
	strip("x\xc2", "x\xc2");
}

static void address(const char *text, const char *want)
{
	struct buf out = {0};
	struct error e;
	int r = zeromq_address(str_c(text), "here", &out, &e);

	assert_int_equal(r, want ? 0 : ERR_ARG);
	if (want)
		assert_string_equal(buf_cstr(&out), want);
	buf_fini(&out);
}

static void test_addresses(void **state)
{
	(void)state;
	address("5556", "tcp://here:5556");
	address("salish:5556", "tcp://salish:5556");
	address("tcp://206.12.0.1:05556", "tcp://206.12.0.1:5556");
	address("tcp://[::1]:1", "tcp://[::1]:1");
	address("ipc:///run/x", "ipc:///run/x");
	address("ipc://@x", "ipc://@x");
	address("0", NULL);
	address("70000", NULL);
	address("", NULL);
	address("host", NULL);
	address(":5", NULL);
	address("h:x", NULL);
	address("::1:5", NULL);
	address("udp://h:5", NULL);
	address("inproc://x", NULL);
	address("ipc://", NULL);
	address("tcp://a;tcp://b:5", NULL);
}

static void test_messages(void **state)
{
	struct bench b;
	char long_text[2000], labels[300];

	(void)state;
	bench_prepare(&b, "work", false);
	publish(&b, true);
	bench_start(&b);
	expect_subscription(&b, "+");
	put(&b, "work.INFO", "hello\n");
	assert_true(fake_wait(&b.sink, 1, 10000));
	expect(&b, "hello\n");
	snprintf(labels, sizeof labels, "{peer=\"%s\", severity=\"INFO\"}", b.address + 6);
	expect_last(&b,
		"{app=\"work\", host=\"h1\", input=\"zeromq\", logger=\"work\", service_name=\"work\"}",
		labels, SEV_INFO);
	assert_int_equal(b.sink.last_flags, RECORD_LEVEL_DETECTED | RECORD_TIME_OBSERVED);
	/* One frame, three frames, none but the topic, any bytes. */
	assert_true(zmq_send(b.publisher, "alone: ERROR", 12, 0) >= 0);
	zmq_send(b.publisher, "r.s.ERROR.t", 11, ZMQ_SNDMORE);
	zmq_send(b.publisher, "two", 3, ZMQ_SNDMORE);
	zmq_send(b.publisher, "", 0, ZMQ_SNDMORE);
	zmq_send(b.publisher, "four\n", 5, 0);
	assert_true(fake_wait(&b.sink, 3, 10000));
	expect(&b, "hello\nalone: ERROR\ntwo\n\nfour\n");
	lock_take(&b.sink.lock);
	assert_non_null(strstr(buf_cstr(&b.sink.meta), "severity=\"ERROR\", topic=\"t\"}"));
	buf_clear(&b.sink.meta);
	lock_drop(&b.sink.lock);
	memset(long_text, 'x', sizeof long_text);
	long_text[sizeof long_text - 1] = 0;
	put(&b, "\xff\xfe..", "\xff\n");
	put(&b, "work.INFO", long_text);
	assert_true(fake_wait(&b.sink, 5, 10000));
	assert_int_equal(
		b.sink.last_flags, RECORD_CUT | RECORD_LEVEL_DETECTED | RECORD_TIME_OBSERVED);
	assert_non_null(strstr(buf_cstr(&b.sink.meta), "truncated_from=\"1999\""));
	bench_fini(&b);
}

/* What PUBHandler took for a topic comes back into the text; spaces around the "::" too. */
static void test_join_topic(void **state)
{
	char meta[200];
	struct bench b;

	(void)state;
	bench_prepare(&b, "work", false);
	b.s.join_topic = true;
	publish(&b, true);
	bench_start(&b);
	expect_subscription(&b, "+");
	put(&b, "work.INFO", "plain\n");
	put(&b, "work.INFO.", ":: was not there\n");
	put(&b, "work.INFO. a.b ", " c\n\n");
	put(&b, "work.INFO.ERROR", "d::e\n");
	put(&b, "work.INFO.std", "vector is full\n");
	assert_true(fake_wait(&b.sink, 5, 10000));
	expect(&b, "plain\n:: was not there\na.b :: c\nERROR::d::e\nstd::vector is full\n");
	snprintf(meta, sizeof meta, "{peer=\"%s\", severity=\"INFO\", topic=\"std\"}",
		b.address + 6);
	lock_take(&b.sink.lock);
	assert_non_null(strstr(buf_cstr(&b.sink.meta), meta));
	assert_int_equal(b.sink.last_severity, SEV_INFO);
	lock_drop(&b.sink.lock);
	bench_fini(&b);
}

/* W-A5, W-A6: publishers connect; one address for all. */
static void test_bound(void **state)
{
	char meta[100];
	struct bench b;

	(void)state;
	snprintf(meta, sizeof meta, "{pid=\"%d\", severity=\"DEBUG\"}", (int)getpid());
	bench_prepare(&b, NULL, true);
	bench_start(&b);
	publish(&b, false);
	expect_subscription(&b, "+");
	put(&b, "some.one.DEBUG", "x");
	assert_true(fake_wait(&b.sink, 1, 10000));
	expect_last(&b,
		"{app=\"some.one\", host=\"h1\", input=\"zeromq\", logger=\"some.one\", "
		"service_name=\"some.one\"}",
		meta, SEV_DEBUG);
	put(&b, "DEBUG", "y");
	assert_true(fake_wait(&b.sink, 2, 10000));
	expect_last(&b, "{app=\"zeromq\", host=\"h1\", input=\"zeromq\", service_name=\"zeromq\"}",
		meta, SEV_DEBUG);
	bench_fini(&b);
}

/* A publisher goes and comes back, as workers do. */
static void test_reconnect(void **state)
{
	struct bench b;

	(void)state;
	bench_prepare(&b, "w", false);
	bench_start(&b);
	for (unsigned i = 1; i <= 3; i++) {
		publish(&b, true);
		expect_subscription(&b, "+");
		put(&b, "w.INFO", "here");
		assert_true(fake_wait(&b.sink, i, 10000));
		unpublish(&b);
	}
	expect(&b, "here\nhere\nhere\n");
	bench_fini(&b);
}

/* W-A2: what was sent between a stop and a start is told. */
static void test_numbers(void **state)
{
	struct bench b;
	struct buf path = {0};
	FILE *f;

	(void)state;
	bench_prepare(&b, "w", false);
	b.s.sequence = "^#(\\d+)$";
	publish(&b, true);
	buf_printf(&path, "%s/numbers-%016" PRIx64, folder, hash_stable(str_c(b.address)));
	for (int i = 0; i < 5; i++) {
		char text[20];

		bench_start(&b);
		expect_subscription(&b, "+");
		snprintf(text, sizeof text, "#%d", 10 * i + 1);
		put(&b, "w.INFO", text);
		assert_true(fake_wait(&b.sink, (uint64_t)(i < 3 ? 2 * i + 1 : 3 + i), 10000));
		assert_true(fake_stop_input(&b.run));
		expect_subscription(&b, "-");
		if (i == 2) /* damaged */
			f = fopen(buf_cstr(&path), "r+b");
		else if (i == 3) /* cut */
			f = fopen(buf_cstr(&path), "wb");
		else
			continue;
		assert_non_null(f);
		if (i == 2)
			fseek(f, 8, SEEK_SET);
		fputc(2, f);
		fclose(f);
	}
	assert_int_equal(b.sink.n_accounted, 18);
	struct buf got = fake_text(&b.sink, "");
	assert_non_null(strstr(buf_cstr(&got), "sawlog: 9 messages of "));
	buf_fini(&got);
	buf_fini(&path);
	unpublish(&b);
	zmq_ctx_term(b.context);
	fake_fini(&b.sink);
}

/* W-A3: what a publisher dropped is told where it numbers its messages. */
static void test_sequence(void **state)
{
	struct bench b;

	(void)state;
	bench_prepare(&b, "w", false);
	b.s.sequence = "^#(\\d+) ";
	publish(&b, true);
	bench_start(&b);
	expect_subscription(&b, "+");
	put(&b, "w.INFO", "#7 a");
	put(&b, "w.INFO", "#8 b");
	put(&b, "v.INFO", "#100 other root");
	put(&b, "w.INFO", "no number");
	put(&b, "w.INFO", "#12 c");
	put(&b, "w.INFO", "#1 again");
	put(&b, "w.INFO", "#99999999999999999999 too large");
	assert_true(fake_wait(&b.sink, 8, 10000));
	struct buf got = fake_text(&b.sink, "");
	assert_non_null(strstr(buf_cstr(&got), "no number\nsawlog: 3 messages of "));
	assert_non_null(strstr(buf_cstr(&got), " between the numbers 8 and 12"));
	assert_int_equal(b.sink.n_accounted, 3);
	buf_fini(&got);
	bench_fini(&b);
}

static bool was_paused;

static void look_paused(void *arg)
{
	struct fake_run *r = arg;

	was_paused = ((struct zeromq_input *)r->input)->paused;
	r->done = 1;
}

static void start_next(void *arg)
{
	struct fake_run *r = arg;

	r->code = r->type->start(&r->input, r->settings, &r->env, &r->error);
	r->done = 1;
}

/* Stop and start again on the same loop, as a reload does. */
static void reload(struct bench *b)
{
	b->run.done = 0;
	loop_post(b->run.loop, fake_stop, &b->run);
	assert_true(fake_wait_done(&b->run));
	b->run.done = 0;
	loop_post(b->run.loop, start_next, &b->run);
	assert_true(fake_wait_done(&b->run));
	assert_int_equal(b->run.code, 0);
}

static void drop_parked(void *arg)
{
	zeromq_drop_parked(((struct fake_run *)arg)->loop);
	((struct fake_run *)arg)->done = 1;
}

/* W-A2: with other settings an address that stays keeps its connection and its queue. */
static void test_reload(void **state)
{
	static const char *const prefixes[] = {"a", "b"};
	static const char *const fewer[] = {"b"};
	struct bench b;
	struct buf want = {0};

	(void)state;
	bench_prepare(&b, "w", false);
	b.s.sequence = "^#(\\d+)$";
	publish(&b, true);
	bench_start(&b);
	b.run.env.wanted = ((struct zeromq_input *)b.run.input)->env_copy.wanted = wanted;
	expect_subscription(&b, "+");
	ending = false;
	for (int i = 0; i < 20; i++) {
		for (int k = 0; k < 50; k++) {
			char text[30];
			snprintf(text, sizeof text, "#%d", i * 50 + k + 1);
			buf_printf(&want, "%s\n", text);
			put(&b, "b.INFO", text);
		}
		b.s.hwm = 2000 + i;
		b.s.app = i % 2 ? "one" : "two";
		b.s.subscribe = (struct strings){i % 2 ? (const char **)(uintptr_t)prefixes
						       : (const char **)(uintptr_t)fewer,
			i % 2 ? 2 : 1};
		reload(&b);
	}
	assert_true(fake_wait(&b.sink, 1000, 10000));
	expect(&b, buf_cstr(&want));
	assert_int_equal(b.sink.n_accounted, 0);
	assert_non_null(strstr(buf_cstr(&b.sink.labels), "app=\"one\""));
	/* Other settings of connections: made anew with the next one. */
	b.s.reconnect = 20 * NS_PER_MS;
	reload(&b);
	unpublish(&b);
	publish(&b, true);
	expect_subscription(&b, "+a");
	expect_subscription(&b, "+b");
	put(&b, "a.INFO", "#1001");
	assert_true(fake_wait(&b.sink, 1001, 10000));
	/* Nobody takes it. */
	b.run.done = 0;
	loop_post(b.run.loop, fake_stop, &b.run);
	assert_true(fake_wait_done(&b.run));
	b.run.done = 0;
	loop_post(b.run.loop, drop_parked, &b.run);
	assert_true(fake_wait_done(&b.run));
	b.run.done = 0;
	loop_post(b.run.loop, start_next, &b.run);
	assert_true(fake_wait_done(&b.run));
	ending = true;
	buf_fini(&want);
	bench_fini(&b);
}

/* Another rule for a bound address holds at once: who is connected must come in again. */
static void test_rules(void **state)
{
	static const char *const far[] = {"10.0.0.0/8"};
	static const char *const near[] = {"127.0.0.0/8", "::1"};
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0), wait = 300;
	struct bench b;
	char text[10];

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&a, size), 0);
	getsockname(fd, (struct sockaddr *)&a, &size);
	close(fd);
	bench_prepare(&b, NULL, true);
	snprintf(b.address, sizeof b.address, "tcp://127.0.0.1:%u", ntohs(a.sin_port));
	bench_start(&b);
	b.run.env.wanted = ((struct zeromq_input *)b.run.input)->env_copy.wanted = wanted;
	ending = false;
	publish(&b, false);
	expect_subscription(&b, "+");
	put(&b, "w.INFO", "anybody");
	assert_true(fake_wait(&b.sink, 1, 10000));
	b.s.allow = (struct strings){(const char **)(uintptr_t)near, 2};
	reload(&b);
	do
		assert_int_equal(zmq_recv(b.publisher, text, sizeof text, 0), 1);
	while (text[0] == 0);
	put(&b, "w.INFO", "near");
	assert_true(fake_wait(&b.sink, 2, 10000));
	assert_non_null(strstr(buf_cstr(&b.sink.meta), "peer=\"127.0.0.1\""));
	reload(&b); /* the same rule: the connection stays */
	put(&b, "w.INFO", "still");
	assert_true(fake_wait(&b.sink, 3, 10000));
	b.s.allow = (struct strings){(const char **)(uintptr_t)far, 1};
	reload(&b);
	zmq_setsockopt(b.publisher, ZMQ_RCVTIMEO, &wait, sizeof wait);
	/* The end of the old subscription at most. */
	while (zmq_recv(b.publisher, text, sizeof text, 0) >= 0)
		assert_int_equal(text[0], 0);
	expect(&b, "anybody\nnear\nstill\n");
	ending = true;
	bench_fini(&b);
}

/* While reading pauses, a publisher that comes back is subscribed to all the same. */
static void test_paused(void **state)
{
	struct bench b;
	char line[900];
	uint64_t n;

	(void)state;
	bench_prepare(&b, "w", false);
	b.account.limit = 1 << 20;
	publish(&b, true);
	bench_start(&b);
	expect_subscription(&b, "+");
	fake_set_hold(&b.sink, true);
	memset(line, 'x', sizeof line);
	line[sizeof line - 1] = 0;
	b.run.done = 0;
	for (n = 0; n < 5000; n++)
		put(&b, "w.INFO", line);
	do { /* until reading pauses */
		usleep(1000);
		b.run.done = 0;
		loop_post(b.run.loop, look_paused, &b.run);
		assert_true(fake_wait_done(&b.run));
	} while (!was_paused);
	unpublish(&b);
	publish(&b, true);
	expect_subscription(&b, "+");
	put(&b, "w.INFO", "back");
	fake_set_hold(&b.sink, false);
	for (int i = 0; i < 20000; i++) {
		struct buf got = fake_text(&b.sink, "");
		bool there = str_ends(buf_view(&got), STR("\nback\n"));
		buf_fini(&got);
		if (there)
			break;
		usleep(1000);
		assert_int_not_equal(i, 19999);
	}
	bench_fini(&b);
}

/* What has come is stored at the end, though the sink was busy all the time. */
static void test_end(void **state)
{
	struct bench b;

	(void)state;
	bench_prepare(&b, "w", false);
	b.s.hwm = 100000;
	publish(&b, true);
	bench_start(&b);
	expect_subscription(&b, "+");
	put(&b, "w.INFO", "first");
	assert_true(fake_wait(&b.sink, 1, 10000));
	fake_set_hold(&b.sink, true);
	for (int i = 0; i < 20000; i++)
		put(&b, "w.INFO", "message");
	usleep(300000);
	fake_set_hold(&b.sink, false);
	b.run.done = 0;
	loop_post(b.run.loop, fake_stop, &b.run);
	assert_true(fake_wait_done(&b.run));
	assert_int_equal(fake_count(&b.sink), 20001);
	loop_stop(b.run.loop);
	loop_free(b.run.loop);
	unpublish(&b);
	zmq_ctx_term(b.context);
	fake_fini(&b.sink);
}

static void key_file(char *path, const char *name, const char *secret)
{
	FILE *f;

	sprintf(path, "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "metadata\ncurve\n    public-key = \"x\"\n    secret-key = \"%s\"\n", secret);
	fclose(f);
	chmod(path, 0600);
}

/* W-A7: publishers that let in keys they know, and keys that we let in. */
static void test_curve(void **state)
{
	char server[41], server_secret[41], client[41], client_secret[41], path[200];
	const int on = 1;
	struct bench b;
	const char *keys[1];

	(void)state;
	if (!zmq_has("curve"))
		skip();
	zmq_curve_keypair(server, server_secret);
	zmq_curve_keypair(client, client_secret);
	/* Connecting: the publisher is the server. */
	bench_prepare(&b, "w", false);
	b.s.curve.server_key = server;
	b.publisher = zmq_socket(b.context, ZMQ_XPUB);
	zmq_setsockopt(b.publisher, ZMQ_CURVE_SERVER, &on, sizeof on);
	zmq_setsockopt(b.publisher, ZMQ_CURVE_SECRETKEY, server_secret, 40);
	assert_int_equal(zmq_bind(b.publisher, b.address), 0);
	bench_start(&b);
	expect_subscription(&b, "+");
	put(&b, "w.INFO", "secret");
	assert_true(fake_wait(&b.sink, 1, 10000));
	bench_fini(&b);
	/* Bound: a publisher with a key of the list gets in, one with another does not. */
	bench_prepare(&b, NULL, true);
	key_file(path, "key_secret", server_secret);
	keys[0] = client;
	b.s.curve.secret_key_file = path;
	b.s.curve.client_keys = (struct strings){keys, 1};
	chmod(path, 0640);
	assert_int_equal(fake_start_input(&b.run, &input_zeromq, &b.s, &b.sink, &b.account, folder),
		ERR_DENIED);
	assert_non_null(strstr(b.run.error.text, "chmod 600"));
	chmod(path, 0600);
	bench_start(&b);
	for (int i = 0; i < 2; i++) {
		char public[41], secret[41];
		int wait = 500;

		zmq_curve_keypair(public, secret);
		b.publisher = zmq_socket(b.context, ZMQ_XPUB);
		zmq_setsockopt(b.publisher, ZMQ_CURVE_SERVERKEY, server, 40);
		zmq_setsockopt(b.publisher, ZMQ_CURVE_PUBLICKEY, i ? client : public, 40);
		zmq_setsockopt(b.publisher, ZMQ_CURVE_SECRETKEY, i ? client_secret : secret, 40);
		zmq_setsockopt(b.publisher, ZMQ_RCVTIMEO, &wait, sizeof wait);
		assert_int_equal(zmq_connect(b.publisher, b.address), 0);
		if (i)
			expect_subscription(&b, "+");
		else
			assert_int_equal(zmq_recv(b.publisher, public, 40, 0), -1);
		if (!i)
			unpublish(&b);
	}
	put(&b, "w.INFO", "known");
	assert_true(fake_wait(&b.sink, 1, 10000));
	expect(&b, "known\n");
	bench_fini(&b);
}

static void bad(struct bench *b, const char *want)
{
	assert_true(check(&b->s, &b->error) < 0);
	if (!strstr(b->error.text, want))
		fail_msg("%s", b->error.text);
}

static void test_settings(void **state)
{
	static const char *const nets[] = {"10.0.0.0/8"};
	static const char *const short_key[] = {"abc"};
	struct bench b;

	(void)state;
	bench_prepare(&b, "w", false);
	b.groups[0].values.n = 0;
	b.s.connect.n = 0;
	bad(&b, "connect or bind: at least one address");
	b.s.connect.n = 1;
	b.groups[0].values.n = 1;
	b.addresses[0] = "*:5556";
	bad(&b, "can only connect to a host");
	b.addresses[0] = "nowhere";
	bad(&b, "connect.w: \"nowhere\" is not an address");
	b.addresses[0] = "5556";
	b.addresses[1] = "tcp://localhost:5556";
	b.groups[0].values.n = 2;
	bad(&b, "tcp://localhost:5556 is given twice, in w too");
	b.groups[0].values.n = 1;
	b.s.bind = (struct strings){b.listen, 1};
	b.listen[0] = "tcp://0.0.0.0:5557";
	bad(&b, "is open beyond this machine");
	b.s.allow = (struct strings){(const char **)(uintptr_t)nets, 1};
	assert_int_equal(check(&b.s, &b.error), 0);
	b.listen[0] = "udp://127.0.0.1:5557";
	bad(&b, "must begin with tcp:// or ipc://");
	b.s.bind.n = 0;
	b.s.sequence = "seq";
	bad(&b, "sequence: one group that is the number is needed");
	b.s.sequence = "(";
	bad(&b, "sequence: ");
	b.s.sequence = NULL;
	b.s.curve.server_key = "short";
	bad(&b, "curve.server_key: not a public key");
	b.s.curve.server_key = NULL;
	b.s.curve.secret_key_file = "/nowhere";
	bad(&b, "curve.server_key: the public key of the publishers is needed");
	b.s.curve.secret_key_file = NULL;
	b.s.curve.client_keys = (struct strings){(const char **)(uintptr_t)short_key, 1};
	bad(&b, "\"abc\" is not a public key");
	zmq_ctx_term(b.context);
	fake_fini(&b.sink);
}

static int setup(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_topics),
		cmocka_unit_test(test_strip),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_join_topic),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_reconnect),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_sequence),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_paused),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_curve),
		cmocka_unit_test(test_settings),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
