/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "input/outlet.c"
#include "input/fake_sink.h"

/* An input of outlets alone; all below runs on its loop, by `on_loop`. */
struct bench {
	struct fake_sink sink;
	struct account account;
	struct loop *loop;
	struct input_env env;
	struct outlets *outlets;
	unsigned n_paused, n_room, n_durable, n_given_up;
	_Atomic int done;
};

struct call {
	void (*fn)(struct bench *b);
	struct bench *b;
};

static void run_call(void *arg)
{
	struct call *c = arg;

	c->fn(c->b);
	c->b->done = 1;
}

static void on_loop(struct bench *b, void (*fn)(struct bench *b))
{
	struct call c = {fn, b};

	b->done = 0;
	loop_post(b->loop, run_call, &c);
	for (int i = 0; i < 10000 && !b->done; i++)
		usleep(1000);
	assert_true(b->done);
}

static void on_paused(void *arg)
{
	((struct bench *)arg)->n_paused++;
}

static void on_bench_room(void *arg)
{
	((struct bench *)arg)->n_room++;
}

static void on_told(void *arg, bool durable)
{
	struct bench *b = arg;

	b->n_durable += durable;
	b->n_given_up += !durable;
}

static void make(struct bench *b)
{
	b->outlets = outlets_new(&(struct outlets_options){.env = &b->env,
		.input = "test",
		.keys = {"host", "app"},
		.n_keys = 2,
		.reserve = 1 << 20,
		.paused = on_paused,
		.room = on_bench_room,
		.arg = b});
}

static void bench_init(struct bench *b)
{
	memset(b, 0, sizeof *b);
	account_init(&b->account, "test", 32 << 20, NULL);
	fake_init(&b->sink);
	b->loop = loop_new("test");
	b->env = (struct input_env){.loop = b->loop,
		.sink = &b->sink.sink,
		.clock = clock_real(),
		.account = &b->account,
		.state_dir = "/tmp",
		.host = "h1",
		.tenant = STR("default")};
	loop_start(b->loop);
	on_loop(b, make);
}

static _Atomic int stopped;

static void on_all_stopped(void *arg)
{
	outlets_free(((struct bench *)arg)->outlets);
	stopped = 1;
}

static void stop_all(struct bench *b)
{
	stopped = 0;
	outlets_stop(b->outlets, on_all_stopped, b);
}

static void bench_fini(struct bench *b)
{
	on_loop(b, stop_all);
	for (int i = 0; i < 20000 && !stopped; i++)
		usleep(1000);
	assert_true(stopped);
	loop_stop(b->loop);
	loop_free(b->loop);
	assert_int_equal(account_held(&b->account), 0);
	fake_fini(&b->sink);
}

static void add(struct bench *b, const char *tenant, const char *host, const char *app)
{
	struct record r = {.timestamp = 1, .body = STR("x")};
	struct outlet *o;

	outlets_room(b->outlets);
	o = outlets_of(b->outlets, str_c(tenant));
	outlet_add(o, outlet_stream(o, (struct str[]){str_c(host), str_c(app)}), &r);
}

/* Values that joined would be the same are two streams. */
static void add_streams(struct bench *b)
{
	struct outlet *o = outlets_of(b->outlets, STR_NONE);
	struct str one[] = {str_make("a\0b", 3), STR("c")}, two[] = {STR("a"), str_make("b\0c", 3)};
	struct str three[] = {STR("ab"), STR("")}, four[] = {STR(""), STR("ab")};
	struct outlet_stream *first = outlet_stream(o, one);

	assert_ptr_equal(outlet_stream(o, one), first);
	assert_ptr_not_equal(outlet_stream(o, two), first);
	assert_ptr_not_equal(outlet_stream(o, three), outlet_stream(o, four));
	assert_ptr_equal(outlet_stream(o, one), first);
	/* An empty value is no label. */
	{
		struct str value;
		struct str labels = outlet_stream_labels(outlet_stream(o, three));
		assert_true(labels_get(labels, STR("host"), &value));
		assert_false(labels_get(labels, STR("app"), &value));
		assert_true(labels_get(labels, STR("input"), &value) && str_eq(value, STR("test")));
	}
}

static void test_streams(void **state)
{
	struct bench b;

	bench_init(&b);
	on_loop(&b, add_streams);
	bench_fini(&b);
}

/* More tenants and streams than are remembered: none is lost, none is taken twice. */
static void add_tenants(struct bench *b)
{
	char tenant[16], app[16];

	for (int i = 0; i < 30000; i++) {
		snprintf(tenant, sizeof tenant, "t%d", i % 150);
		snprintf(app, sizeof app, "a%d", i);
		add(b, tenant, "h", app);
	}
	outlets_flush_if_idle(b->outlets);
}

static void test_tenants(void **state)
{
	struct bench b;

	bench_init(&b);
	b.account.limit = 1 << 30;
	on_loop(&b, add_tenants);
	assert_true(fake_wait(&b.sink, 30000, 20000));
	assert_int_equal(fake_count(&b.sink), 30000);
	assert_int_equal(b.sink.n_gaps, 0);
	bench_fini(&b);
	assert_int_equal(b.sink.n_order_errors, 0);
}

/* Who waits is told when it is durable, and not before; at once when it is already. */
static void add_and_wait(struct bench *b)
{
	outlet_tell(outlets_of(b->outlets, STR_NONE), on_told, b);
	assert_int_equal(b->n_durable, 1);
	add(b, "", "h", "a");
	outlet_tell(outlets_of(b->outlets, STR_NONE), on_told, b);
	add(b, "other", "h", "a");
	outlet_tell(outlets_of(b->outlets, STR("other")), on_told, b);
	outlets_flush_if_idle(b->outlets);
}

static unsigned told_now;

static void look(struct bench *b)
{
	told_now = b->n_durable;
}

static unsigned told(struct bench *b)
{
	on_loop(b, look);
	return told_now;
}

static void test_told(void **state)
{
	struct bench b;

	bench_init(&b);
	fake_set_hold(&b.sink, true);
	on_loop(&b, add_and_wait);
	usleep(20000);
	assert_int_equal(told(&b), 1);
	fake_set_hold(&b.sink, false);
	for (int i = 0; i < 10000 && told(&b) < 3; i++)
		usleep(1000);
	assert_int_equal(told(&b), 3);
	bench_fini(&b);
	assert_int_equal(b.n_given_up, 0);
}

/* A sink that fails for good until the stop: who waits is told that as well. */
static void test_given_up(void **state)
{
	struct bench b;

	bench_init(&b);
	b.sink.fail_every = 1;
	b.sink.fail_code = ERR_IO;
	on_loop(&b, add_and_wait);
	bench_fini(&b);
	assert_int_equal(b.n_durable, 1);
	assert_int_equal(b.n_given_up, 2);
}

/* Paused once, and told of the room once. */
static void fill(struct bench *b)
{
	static char big[10000];
	struct record r = {.timestamp = 1, .body = {big, sizeof big}};
	struct str values[] = {STR("h"), STR("a")};

	memset(big, 'x', sizeof big);
	while (outlets_room(b->outlets)) {
		struct outlet *o = outlets_of(b->outlets, STR_NONE);
		outlet_add(o, outlet_stream(o, values), &r);
	}
	assert_false(outlets_room(b->outlets));
	assert_int_equal(b->n_paused, 1);
	assert_int_equal(b->n_room, 0);
}

static unsigned room_now;

static void look_room(struct bench *b)
{
	room_now = b->n_room;
}

static void test_room(void **state)
{
	struct bench b;

	bench_init(&b);
	b.account.limit = 8 << 20;
	fake_set_hold(&b.sink, true);
	on_loop(&b, fill);
	fake_set_hold(&b.sink, false);
	for (int i = 0; i < 10000 && room_now == 0; i++) {
		on_loop(&b, look_room);
		usleep(1000);
	}
	assert_int_equal(room_now, 1);
	bench_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_tenants),
		cmocka_unit_test(test_told),
		cmocka_unit_test(test_given_up),
		cmocka_unit_test(test_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
