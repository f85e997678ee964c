/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "forward/fake_server.h"
#include "forward/uplink.h"

enum { RESULTS_MAX = 64 };

struct results {
	struct sink_result items[RESULTS_MAX];
	_Atomic unsigned n;
};

static void on_done(void *arg, const struct sink_result *r)
{
	struct results *out = arg;

	out->items[out->n] = *r;
	out->n++;
}

static void wait_results(struct results *r, unsigned n)
{
	for (int i = 0; i < 10000 && r->n < n; i++)
		usleep(1000);
	assert_int_equal(r->n, n);
}

static struct batch *make(uint64_t from, uint64_t to, const char *body)
{
	struct batch_builder *bb = batch_builder_new(STR("default"), STR("file"), 1);
	struct batch_source s = {
		.id = STR("file:1"), .kind = POSITION_MARK, .from = from, .to = to};
	struct labels_builder lb = {0};
	struct buf labels = {0};
	struct record r = {.timestamp = 1, .body = str_c(body), .position = to};
	struct batch *b;

	labels_builder_set(&lb, STR("app"), STR("x"), NULL);
	labels_builder_write(&lb, &labels);
	r.stream = batch_builder_stream(bb, buf_view(&labels));
	r.source = batch_builder_source(bb, &s);
	assert_int_equal(batch_builder_add(bb, &r, NULL), 0);
	b = batch_builder_finish(bb, 1);
	batch_builder_free(bb);
	labels_builder_fini(&lb);
	buf_fini(&labels);
	return b;
}

static struct uplink *open_to(const char *url, enum frame_packing packing)
{
	struct uplink_options o = {.url = url,
		.tenant = "t1",
		.token = "secret",
		.packing = packing,
		.max_queued_bytes = 1 << 20};
	struct uplink *u;
	struct error e;

	assert_int_equal(uplink_open(&u, &o, &e), 0);
	return u;
}

static void test_delivers_in_order(void **state)
{
	static const enum frame_packing packings[] = {FRAME_PLAIN, FRAME_LZ4, FRAME_ZSTD};
	struct fake_server server;
	struct error e;

	(void)state;
	for (size_t p = 0; p < 3; p++) {
		struct results results = {0};
		struct uplink_stats stats;
		struct uplink *u;
		char body[8];

		assert_int_equal(fake_server_start(&server, &e), 0);
		u = open_to(server.url, packings[p]);
		for (unsigned i = 0; i < 20; i++) {
			snprintf(body, sizeof(body), "%u", i);
			assert_int_equal(
				sink_submit(uplink_sink(u), make(i * 10, i * 10 + 10, body),
					on_done, &results, &e),
				0);
		}
		wait_results(&results, 20);
		uplink_stats(u, &stats);
		assert_true(stats.connected);
		assert_int_equal(stats.batches, 20);
		assert_int_equal(stats.records, 20);
		assert_int_equal(stats.raw_bytes, 30);
		assert_int_equal(stats.retries, 0);
		uplink_close(u, 1000);
		for (unsigned i = 0; i < 20; i++) {
			assert_int_equal(results.items[i].code, 0);
			assert_int_equal(results.items[i].n_committed, 1);
		}
		assert_string_equal(buf_cstr(&server.bodies),
			"0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n18\n19\n");
		assert_string_equal(buf_cstr(&server.tenant), "t1");
		assert_string_equal(buf_cstr(&server.bearer), "Bearer secret");
		assert_int_equal(server.packing, packings[p]);
		fake_server_stop(&server);
	}
}

static void test_answers(void **state)
{
	struct results results = {0};
	struct fake_server server;
	struct uplink_stats stats;
	struct uplink *u;
	struct error e;

	(void)state;
	assert_int_equal(fake_server_start(&server, &e), 0);
	memcpy(server.script, (int[]){503, 429, 500, 401, 409, 400, 413}, 7 * sizeof(int));
	u = open_to(server.url, FRAME_PLAIN);
	for (int i = 0; i < 4; i++)
		assert_int_equal(
			sink_submit(uplink_sink(u), make(0, 10, "x"), on_done, &results, &e), 0);
	wait_results(&results, 4);
	/* The first four answers were tries of the first batch. */
	assert_int_equal(results.items[0].code, ERR_GAP);
	assert_int_equal(results.items[0].mark, 17);
	assert_string_equal(results.items[0].error.text, "a gap");
	assert_int_equal(results.items[1].code, ERR_ARG);
	assert_string_equal(results.items[1].error.text, "told to answer 400");
	assert_int_equal(results.items[2].code, ERR_LIMIT);
	assert_int_equal(results.items[3].code, 0);
	uplink_stats(u, &stats);
	assert_int_equal(stats.retries, 4);
	assert_int_equal(stats.batches, 1);
	uplink_close(u, 1000);
	fake_server_stop(&server);
}

/* A port where nobody listens: one was there and has gone. */
static void dead_url(char *url, size_t size)
{
	struct fake_server server;
	struct error e;

	assert_int_equal(fake_server_start(&server, &e), 0);
	snprintf(url, size, "%s", server.url);
	fake_server_stop(&server);
}

static void test_no_server(void **state)
{
	struct results results = {0};
	struct uplink_stats stats;
	struct uplink *u;
	struct batch *b;
	struct error e;
	char url[64];

	(void)state;
	dead_url(url, sizeof(url));
	u = open_to(url, FRAME_PLAIN);
	assert_int_equal(sink_submit(uplink_sink(u), make(0, 10, "x"), on_done, &results, &e), 0);
	assert_int_equal(sink_submit(uplink_sink(u), make(10, 20, "y"), on_done, &results, &e), 0);
	usleep(300000);
	assert_int_equal(results.n, 0);
	uplink_stats(u, &stats);
	assert_false(stats.connected);
	assert_true(stats.retries > 0);
	assert_int_equal(stats.last_error.code, ERR_NET);
	uplink_abort(u);
	wait_results(&results, 2);
	assert_int_equal(results.items[0].code, ERR_CLOSED);
	assert_int_equal(results.items[1].code, ERR_CLOSED);
	b = make(20, 30, "z");
	assert_int_equal(sink_submit(uplink_sink(u), b, on_done, &results, &e), ERR_CLOSED);
	batch_unref(b);
	uplink_stats(u, &stats);
	assert_int_equal(stats.given_up, 2);
	uplink_close(u, 0);
}

static void test_busy(void **state)
{
	struct results results = {0};
	struct uplink_options o = {.max_queued_bytes = 300};
	struct uplink *u;
	struct error e;
	char url[64];
	unsigned n = 0;
	int r = 0;

	(void)state;
	dead_url(url, sizeof(url));
	o.url = url;
	assert_int_equal(uplink_open(&u, &o, &e), 0);
	while (r == 0 && n < RESULTS_MAX) {
		struct batch *b = make(n * 10, n * 10 + 10, "x");

		r = sink_submit(uplink_sink(u), b, on_done, &results, &e);
		if (r < 0)
			batch_unref(b);
		else
			n++;
	}
	assert_int_equal(r, ERR_BUSY);
	assert_true(n > 0);
	uplink_close(u, 50);
	assert_int_equal(results.n, n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delivers_in_order),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_no_server),
		cmocka_unit_test(test_busy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
