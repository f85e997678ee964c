/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>

#include "forward/fake_server.h"
#include "forward/uplink.h"
#include "os/clock.h"

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

/* Up to three servers, NULL where there are fewer. */
static struct uplink *open_all(
	const char *const urls[3], enum uplink_packing packing, const char *token_file, int64_t ms)
{
	struct uplink_options o = {.servers = {.urls = urls,
					   .n_urls = urls[1] ? urls[2] ? 3 : 2 : 1,
					   .tenant = "t1",
					   .token_file = token_file,
					   .failover_after_ns = ms * NS_PER_MS,
					   .return_after_ns = ms * NS_PER_MS},
		.packing = packing,
		.max_queued_bytes = 1 << 20};
	struct uplink *u;
	struct error e;

	if (uplink_open(&u, &o, &e) < 0)
		fail_msg("%s", e.text);
	return u;
}

static void write_token(char *path, const char *token)
{
	int fd = strstr(path, "XXXXXX") ? mkstemp(path) : open(path, O_WRONLY | O_TRUNC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, token, strlen(token)), strlen(token));
	close(fd);
}

static struct uplink *open_to(const char *url, enum uplink_packing packing)
{
	char token[] = "/tmp/sawlog-token-XXXXXX";
	struct uplink *u;

	write_token(token, "secret\n");
	u = open_all((const char *const[3]){url}, packing, token, 30000);
	/* Gone: what was read stays in use. */
	unlink(token);
	return u;
}

static void test_delivers_in_order(void **state)
{
	static const enum uplink_packing packings[] = {
		UPLINK_AUTO, UPLINK_PLAIN, UPLINK_LZ4, UPLINK_ZSTD};
	static const int on_wire[] = {FRAME_PLAIN, FRAME_PLAIN, FRAME_LZ4, FRAME_ZSTD};
	struct fake_server server;
	struct error e;

	(void)state;
	for (size_t p = 0; p < 4; p++) {
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
		assert_int_equal(server.packing, on_wire[p]);
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
	u = open_to(server.url, UPLINK_PLAIN);
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
	u = open_to(url, UPLINK_PLAIN);
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
	const char *urls[1];
	struct uplink *u;
	struct error e;
	char url[64];
	unsigned n = 0;
	int r = 0;

	(void)state;
	dead_url(url, sizeof(url));
	urls[0] = url;
	o.servers.urls = urls;
	o.servers.n_urls = 1;
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

static void submit_ok(
	struct uplink *u, uint64_t from, uint64_t to, const char *body, struct results *results)
{
	struct error e;

	assert_int_equal(
		sink_submit(uplink_sink(u), make(from, to, body), on_done, results, &e), 0);
}

/* The first server goes and comes back; the second accepts what it has not seen the start of, and
 * so does the first when its turn is again. */
static void test_failover(void **state)
{
	struct results results = {0};
	struct fake_server a, b;
	struct uplink_stats stats;
	struct uplink *u;
	struct error e;
	unsigned n = 0;

	(void)state;
	assert_int_equal(fake_server_start(&a, &e), 0);
	assert_int_equal(fake_server_start(&b, &e), 0);
	/* Both know the source already: b less of it than a will. */
	map_put(&b.marks, STR("file:1"), NULL)->u = 5;
	u = open_all((const char *const[3]){a.url, b.url}, UPLINK_PLAIN, NULL, 300);
	submit_ok(u, 0, 10, "one", &results);
	wait_results(&results, 1);
	a.down = true;
	submit_ok(u, 10, 20, "two", &results);
	wait_results(&results, 2);
	assert_int_equal(results.items[1].code, 0);
	uplink_stats(u, &stats);
	assert_string_equal(stats.url, b.url);
	assert_string_equal(buf_cstr(&a.bodies), "one\n");
	assert_string_equal(buf_cstr(&b.bodies), "two\n");
	assert_int_equal(b.n_elsewhere, 1);
	a.down = false;
	for (int i = 0; i < 600; i++) {
		uint64_t at = 20 + 10 * (uint64_t)n++;

		submit_ok(u, at, at + 10, "x", &results);
		wait_results(&results, 2 + n);
		uplink_stats(u, &stats);
		if (strcmp(stats.url, a.url) == 0 || n == RESULTS_MAX - 3)
			break;
		usleep(50000);
	}
	assert_string_equal(stats.url, a.url);
	/* Each line is at one of them, and nothing twice. */
	submit_ok(u, 20 + 10 * n, 30 + 10 * n, "last", &results);
	wait_results(&results, 3 + n);
	assert_string_equal(buf_cstr(&a.bodies), "one\nlast\n");
	assert_int_equal(a.n_elsewhere, 1);
	for (unsigned i = 0; i < results.n; i++)
		assert_int_equal(results.items[i].code, 0);
	uplink_close(u, 1000);
	fake_server_stop(&a);
	fake_server_stop(&b);
}

/* A server that lost what it had acknowledged itself is not told that it is elsewhere. */
static void test_loss_is_no_failover(void **state)
{
	struct results results = {0};
	struct fake_server a, b;
	struct uplink *u;
	struct error e;

	(void)state;
	assert_int_equal(fake_server_start(&a, &e), 0);
	assert_int_equal(fake_server_start(&b, &e), 0);
	u = open_all((const char *const[3]){a.url, b.url}, UPLINK_PLAIN, NULL, 30000);
	submit_ok(u, 0, 10, "one", &results);
	wait_results(&results, 1);
	lock_take(&a.lock);
	map_put(&a.marks, STR("file:1"), NULL)->u = 4;
	lock_drop(&a.lock);
	submit_ok(u, 10, 20, "two", &results);
	wait_results(&results, 2);
	assert_int_equal(results.items[1].code, ERR_GAP);
	assert_int_equal(results.items[1].mark, 4);
	/* Nor is a batch that comes behind a refused one. */
	memcpy(a.script, (int[]){400}, sizeof(int));
	submit_ok(u, 4, 14, "poison", &results);
	submit_ok(u, 14, 24, "next", &results);
	wait_results(&results, 4);
	assert_int_equal(results.items[2].code, ERR_ARG);
	assert_int_equal(results.items[3].code, ERR_GAP);
	assert_int_equal(a.n_elsewhere, 0);
	uplink_close(u, 1000);
	fake_server_stop(&a);
	fake_server_stop(&b);
}

/* Servers are exchanged while a batch waits for one that is not there. */
static void test_set_servers(void **state)
{
	struct results results = {0};
	struct servers_options so = {.n_urls = 1, .failover_after_ns = 1, .return_after_ns = 1};
	struct fake_server server;
	const char *urls[1];
	struct uplink *u;
	struct error e;
	char url[64];

	(void)state;
	dead_url(url, sizeof(url));
	assert_int_equal(fake_server_start(&server, &e), 0);
	u = open_to(url, UPLINK_PLAIN);
	submit_ok(u, 0, 10, "one", &results);
	usleep(100000);
	so.urls = urls;
	urls[0] = "gopher://x";
	assert_int_equal(uplink_set_servers(u, &so, UPLINK_LZ4, &e), ERR_ARG);
	assert_int_equal(results.n, 0);
	urls[0] = server.url;
	assert_int_equal(uplink_set_servers(u, &so, UPLINK_LZ4, &e), 0);
	wait_results(&results, 1);
	assert_int_equal(results.items[0].code, 0);
	assert_int_equal(server.packing, FRAME_LZ4);
	uplink_close(u, 1000);
	fake_server_stop(&server);
}

static void test_token_changes(void **state)
{
	char token[] = "/tmp/sawlog-token-XXXXXX";
	struct results results = {0};
	struct fake_server server;
	struct uplink *u;
	struct error e;

	(void)state;
	assert_int_equal(fake_server_start(&server, &e), 0);
	write_token(token, "first");
	u = open_all((const char *const[3]){server.url}, UPLINK_PLAIN, token, 30000);
	submit_ok(u, 0, 10, "one", &results);
	wait_results(&results, 1);
	assert_string_equal(buf_cstr(&server.bearer), "Bearer first");
	write_token(token, "second\n");
	/* Refused with the old one: the file is looked at before the next try. */
	server.at = 0;
	memcpy(server.script, (int[]){401}, sizeof(int));
	submit_ok(u, 10, 20, "two", &results);
	wait_results(&results, 2);
	assert_string_equal(buf_cstr(&server.bearer), "Bearer second");
	uplink_close(u, 1000);
	fake_server_stop(&server);
	unlink(token);
}

static void test_mistakes(void **state)
{
	static const char *const twice[3] = {"http://a", "http://a"};
	struct servers_options o = {.urls = twice, .n_urls = 2};
	struct servers *s;
	struct error e;

	(void)state;
	assert_int_equal(servers_open(&s, &o, &e), ERR_ARG);
	assert_non_null(strstr(e.text, "twice"));
	o.n_urls = 1;
	o.key = "/etc/hostname";
	assert_int_equal(servers_open(&s, &o, &e), ERR_ARG);
	o.key = NULL;
	o.ca = "/nowhere/ca.pem";
	assert_int_equal(servers_open(&s, &o, &e), ERR_ARG);
	assert_non_null(strstr(e.text, "ca: "));
	o.ca = NULL;
	o.n_urls = 0;
	assert_int_equal(servers_open(&s, &o, &e), ERR_ARG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delivers_in_order),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_no_server),
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_failover),
		cmocka_unit_test(test_loss_is_no_failover),
		cmocka_unit_test(test_set_servers),
		cmocka_unit_test(test_token_changes),
		cmocka_unit_test(test_mistakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
