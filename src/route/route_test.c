/* SPDX-License-Identifier: Apache-2.0 */
/* Which server gets what, how batches are divided, and a router with servers that come and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "forward/fake_server.h"
#include "os/clock.h"
#include "os/fake.h"
#include "route/split.h"

/* --- which server ------------------------------------------------------------------------ */

/* The vectors of Loggregator's hasher, and where arithmetic could overflow. */
static void modulo_is_loggregators(void **state)
{
	assert_int_equal(shard_modulo(2, STR("app1")), 1);
	assert_int_equal(shard_modulo(2, STR("app2")), 0);
	assert_int_equal(shard_modulo(2, STR("0")), 0);
	assert_int_equal(shard_modulo(2, STR("1")), 1);
	assert_int_equal(shard_modulo(2, STR("appId")), 0);
	assert_int_equal(shard_modulo(2, STR("appId23")), 1);
	/* 0x616263 = 6382179; 2^64 + 1 = 0x010000000000000001. */
	assert_int_equal(shard_modulo(7, STR("abc")), 6382179 % 7);
	assert_int_equal(shard_modulo(5, STR("\x01\0\0\0\0\0\0\0\x01")), 2);
	assert_int_equal(shard_modulo(64, STR("\xff\xff")), 63);
	assert_int_equal(shard_modulo(1, STR("")), 0);
}

static void one_more_server_moves_its_own_share_alone(void **state)
{
	const struct str servers[] = {STR("http://a:3100"), STR("http://b:3100"),
		STR("http://c:3100"), STR("http://d:3100")};
	unsigned n[4] = {0}, moved = 0;

	for (unsigned i = 0; i < 4000; i++) {
		char key[32];
		size_t of3, of4;

		snprintf(key, sizeof key, "stream %u", i);
		of3 = shard_rendezvous(servers, 3, str_c(key));
		of4 = shard_rendezvous(servers, 4, str_c(key));
		assert_true(of4 == of3 || of4 == 3);
		moved += of4 != of3;
		n[of4]++;
	}
	for (int i = 0; i < 4; i++)
		assert_in_range(n[i], 850, 1150);
	assert_int_equal(moved, n[3]);
	/* It reaches disks and other routers: it must stay as it is. */
	assert_int_equal(shard_rendezvous(servers, 4, STR("x")), 3);
	assert_int_equal(shard_rendezvous(servers, 4, STR("y")), 0);
	assert_int_equal(shard_rendezvous(servers, 4, STR("z")), 0);
}

/* --- dividing ---------------------------------------------------------------------------- */

static const struct str two[] = {STR("http://a:1"), STR("http://b:1")};

static uint64_t number(void *arg, size_t server, uint64_t n)
{
	uint64_t *next = arg, first = next[server];

	next[server] += n;
	return first;
}

static const struct str sources[] = {STR_INIT("route:test:1:a"), STR_INIT("route:test:1:b")};

static const uint64_t marks[] = {0xa, 0xb};

static struct split_options options(uint64_t *next)
{
	return (struct split_options){.servers = two,
		.n_servers = 2,
		.scheme = ROUTE_MODULO,
		.sources = sources,
		.marks = marks,
		.number = number,
		.arg = next};
}

static uint32_t stream_of(struct batch_builder *b, const char *app, const char *source)
{
	struct labels_builder lb = {0};
	struct buf labels = {0};
	uint32_t stream;

	labels_builder_set(&lb, STR("app"), str_c(app), NULL);
	labels_builder_set(&lb, STR("source"), str_c(source), NULL);
	labels_builder_write(&lb, &labels);
	stream = batch_builder_stream(b, buf_view(&labels));
	labels_builder_fini(&lb);
	buf_fini(&labels);
	return stream;
}

/* Ten records of four apps: those that are even of a file, the others of nothing. */
static struct batch *ten(enum position_kind kind)
{
	struct batch_builder *b = batch_builder_new(STR("t"), STR("test"), 7);
	struct batch_source s = {.id = STR("f"), .from = 100, .to = 200, .kind = kind};
	struct batch *out;

	for (unsigned i = 0; i < 10; i++) {
		char app[2] = {(char)('0' + i % 4), 0}, line[20];
		struct record r = {.timestamp = 1000 + i, .severity = (uint8_t)i};

		r.stream = stream_of(b, app, "APP/0");
		if (i % 2 == 0) {
			r.source = batch_builder_source(b, &s);
			r.position = 100 + 10 * (i + 1);
		}
		snprintf(line, sizeof line, "line %u", i);
		r.body = str_c(line);
		r.meta = STR("\x01\x01k\x01v");
		assert_int_equal(batch_builder_add(b, &r, NULL), 0);
	}
	out = batch_builder_finish(b, 0);
	batch_builder_free(b);
	return out;
}

static void each_record_is_in_one_share(void **state)
{
	uint64_t next[2] = {0, 5};
	struct split_options o = options(next);
	struct batch *b = ten(POSITION_MARK), *shares[2];
	unsigned n = 0;

	assert_int_equal(split_batch(&o, b, shares, NULL), 0);
	for (size_t k = 0; k < 2; k++) {
		struct batch *share = shares[k];
		int64_t before = 0;

		assert_true(str_eq_c(batch_tenant(share), "t"));
		assert_true(str_eq_c(batch_input(share), "test"));
		assert_int_equal(batch_observed(share), 7);
		for (size_t i = 0; i < batch_count(share); i++, n++) {
			struct record r = batch_record(share, i);
			unsigned was = (unsigned)(r.timestamp - 1000);
			struct batch_source s = batch_source(share, r.source - 1u);

			assert_int_equal(was % 2, k); /* apps "0" and "2" are even */
			assert_true(r.timestamp > before);
			before = r.timestamp;
			assert_int_equal(r.severity, was);
			assert_true(str_eq(r.meta, STR("\x01\x01k\x01v")));
			assert_int_equal(s.kind, POSITION_RANGES);
			assert_true(r.position > s.from && r.position <= s.to);
			assert_true(
				str_eq_c(s.id, was % 2 ? "route:test:1:b" : "f|000000000000000a"));
		}
		batch_unref(share);
	}
	assert_int_equal(n, 10);
	assert_int_equal(next[0], 0);
	assert_int_equal(next[1], 10);
	batch_unref(b);
}

/* No server may take for known what another one was to get: names of shares differ by server, by
 * list of servers and by scheme, however long the source's own is. */
static void shares_of_a_source_have_names_of_their_own(void **state)
{
	const struct str other[] = {STR("http://a:1"), STR("http://c:1")};
	char id[SOURCE_ID_MAX];
	uint64_t next[2] = {0}, m[4][2];
	struct split_options o = options(next);

	split_marks(&o, m[0]);
	o.scheme = ROUTE_RENDEZVOUS;
	split_marks(&o, m[1]);
	o.by = ROUTE_BY_APP;
	split_marks(&o, m[2]);
	o.servers = other;
	split_marks(&o, m[3]);
	for (size_t i = 0; i < 8; i++)
		for (size_t k = 0; k < i; k++)
			assert_true(m[i / 2][i % 2] != m[k / 2][k % 2]);
	/* As the order of the list does not matter to where records go, it does not to names. */
	o.servers = (const struct str[]){other[1], other[0]};
	split_marks(&o, m[0]);
	assert_int_equal(m[0][0], m[3][1]);
	assert_int_equal(m[0][1], m[3][0]);
	o = options(next);
	memset(id, 'x', sizeof id);
	for (size_t n = sizeof id - 40; n <= sizeof id; n++) {
		struct batch_source s = {.id = str_make(id, n), .to = 10, .kind = POSITION_RANGES};
		struct batch_builder *b = batch_builder_new(STR("t"), STR("test"), 7);
		struct batch *all, *shares[2];

		for (unsigned i = 0; i < 2; i++) {
			struct record r = {.stream = stream_of(b, i ? "1" : "0", "APP/0"),
				.source = batch_builder_source(b, &s),
				.position = i + 1};

			assert_int_equal(batch_builder_add(b, &r, NULL), 0);
		}
		all = batch_builder_finish(b, 0);
		batch_builder_free(b);
		assert_int_equal(split_batch(&o, all, shares, NULL), 0);
		assert_false(str_eq(batch_source(shares[0], 0).id, batch_source(shares[1], 0).id));
		assert_true(str_ends(batch_source(shares[1], 0).id, STR("|000000000000000b")));
		batch_unref(shares[0]);
		batch_unref(shares[1]);
		batch_unref(all);
	}
}

/* A server cannot know by a token what it has: the router's own source is put in its place. */
static void tokens_are_replaced(void **state)
{
	uint64_t next[2] = {0};
	struct split_options o = options(next);
	struct batch *b = ten(POSITION_TOKEN), *shares[2];

	assert_int_equal(split_batch(&o, b, shares, NULL), 0);
	for (size_t k = 0; k < 2; k++) {
		assert_int_equal(batch_n_sources(shares[k]), 1);
		assert_true(str_eq(batch_source(shares[k], 0).id, sources[k]));
		assert_int_equal(batch_source(shares[k], 0).to, 5);
		batch_unref(shares[k]);
	}
	batch_unref(b);
}

static void an_app_is_on_one_server(void **state)
{
	uint64_t next[2] = {0};
	struct split_options o = options(next);
	struct batch_builder *b = batch_builder_new(STR("t"), STR("test"), 7);
	struct batch *batch;
	size_t n = 0;

	o.scheme = ROUTE_RENDEZVOUS;
	for (char app[] = "a"; app[0] <= 'z'; app[0]++) {
		stream_of(b, app, "APP/0");
		stream_of(b, app, "APP/1");
	}
	batch = batch_builder_finish(b, 0);
	for (size_t i = 0; i < batch_n_streams(batch); i += 2) {
		size_t first, second;

		o.by = ROUTE_BY_APP;
		first = split_server(&o, STR("t"), batch_stream(batch, i));
		second = split_server(&o, STR("t"), batch_stream(batch, i + 1));
		assert_int_equal(first, second);
		o.by = ROUTE_BY_STREAM;
		n += split_server(&o, STR("t"), batch_stream(batch, i)) !=
		     split_server(&o, STR("t"), batch_stream(batch, i + 1));
	}
	assert_true(n > 0);
	batch_unref(batch);
	batch_builder_free(b);
}

/* Parts cover what they hold, one behind the other. */
static void parts_cover_their_records(void **state)
{
	struct batch *b = ten(POSITION_MARK);

	for (size_t cut = 0; cut <= 10; cut++) {
		struct batch *first = split_part(b, 0, cut), *second = split_part(b, cut, 10);
		uint64_t end = 100;

		assert_int_equal(batch_count(first) + batch_count(second), 10);
		if (batch_n_sources(first)) {
			assert_int_equal(batch_source(first, 0).from, 100);
			end = batch_source(first, 0).to;
		}
		for (size_t i = 0; i < batch_count(second); i++)
			if (batch_record(second, i).source)
				assert_true(batch_record(second, i).position > end);
		if (batch_n_sources(second)) {
			assert_int_equal(batch_source(second, 0).from, end);
			assert_int_equal(batch_source(second, 0).to, 200);
		} else {
			assert_int_equal(end, 200);
		}
		batch_unref(first);
		batch_unref(second);
	}
	batch_unref(b);
}

/* --- settings ---------------------------------------------------------------------------- */

static void wrong_settings_are_named(void **state)
{
	const char *urls[] = {"http://a:1", "http://b:1"}, *again[] = {"http://c:1", "http://a:1"},
		   *bad[] = {"ftp://a"};
	struct string_group groups[] = {{"z1", {urls, 2}}, {"z2", {again, 1}}};
	struct route_settings s = {.zones = {groups, 2}};
	struct strings all, zones;
	struct error e;

	assert_int_equal(route_check(&s, &e), ERR_ARG);
	assert_non_null(strstr(e.text, "route.zone is missing"));
	s.zone = "z3";
	assert_int_equal(route_check(&s, &e), ERR_ARG);
	assert_non_null(strstr(e.text, "there is no zone \"z3\""));
	s.zone = "z2";
	assert_int_equal(route_check(&s, &e), 0);
	route_servers(&s, &all, &zones);
	assert_int_equal(all.n, 3);
	assert_string_equal(zones.items[0], "z2");
	assert_string_equal(zones.items[2], "z1");
	assert_string_equal(all.items[0], "http://c:1");
	free(all.items);
	free(zones.items);
	groups[1].values.n = 2;
	assert_int_equal(route_check(&s, &e), ERR_ARG);
	assert_non_null(strstr(e.text, "http://a:1 is named twice"));
	groups[1].values = (struct strings){bad, 1};
	assert_int_equal(route_check(&s, &e), ERR_ARG);
	assert_non_null(strstr(e.text, "route.zones.z2"));
	s.zones.n = 0;
	assert_int_equal(route_check(&s, &e), ERR_ARG);
	assert_non_null(strstr(e.text, "route.zones is missing"));
}

/* --- a router ---------------------------------------------------------------------------- */

struct bench {
	struct fake_server servers[2];
	struct account account;
	struct fs *fs;
	struct router *router;
	const char *urls[2];
	struct string_group zone;
	struct route_settings s;
	_Atomic int n_done, n_failed;
};

static void open_router(struct bench *b)
{
	struct error e = {0};

	assert_int_equal(router_open(&b->router,
				 &(struct router_options){.s = &b->s,
					 .fs = b->fs,
					 .account = &b->account,
					 .dir = "route",
					 .instance = "test"},
				 &e),
		0);
}

static struct bench *bench_new(int64_t spill_after_ms)
{
	struct bench *b = calloc(1, sizeof *b);

	for (int i = 0; i < 2; i++) {
		assert_int_equal(fake_server_start(&b->servers[i], NULL), 0);
		b->urls[i] = b->servers[i].url;
	}
	account_init(&b->account, "memory", 64 << 20, NULL);
	b->fs = fs_fake_new(1);
	b->zone = (struct string_group){"z1", {b->urls, 2}};
	b->s = (struct route_settings){.zones = {&b->zone, 1},
		.scheme = ROUTE_MODULO,
		.buffer = 16 << 20,
		.spill_after = spill_after_ms * NS_PER_MS};
	open_router(b);
	return b;
}

static void bench_free(struct bench *b)
{
	router_close(b->router, 1000);
	for (int i = 0; i < 2; i++)
		fake_server_stop(&b->servers[i]);
	fs_fake_free(b->fs);
	assert_int_equal(account_held(&b->account), 0);
	free(b);
}

static void on_done(void *arg, const struct sink_result *result)
{
	struct bench *b = arg;

	if (result->code)
		b->n_failed++;
	b->n_done++;
}

static int submit(struct bench *b, struct batch *batch, struct error *e)
{
	int r = sink_submit(router_sink(b->router), batch, on_done, b, e);

	if (r < 0)
		batch_unref(batch);
	return r;
}

static void wait_done(struct bench *b, int n)
{
	for (int i = 0; i < 2000 && b->n_done < n; i++)
		usleep(5000);
	assert_int_equal(b->n_done, n);
}

static size_t lines_of(struct fake_server *f)
{
	size_t n = 0;

	lock_take(&f->lock);
	for (size_t i = 0; i < f->bodies.n; i++)
		n += f->bodies.p[i] == '\n';
	lock_drop(&f->lock);
	return n;
}

static void wait_lines(struct fake_server *f, size_t n)
{
	for (int i = 0; i < 2000 && lines_of(f) < n; i++)
		usleep(5000);
	assert_int_equal(lines_of(f), n);
}

static void both_servers_get_their_share(void **state)
{
	struct bench *b = bench_new(60000);
	struct error e;

	assert_int_equal(submit(b, ten(POSITION_TOKEN), &e), 0);
	wait_done(b, 1);
	assert_int_equal(b->n_failed, 0);
	assert_int_equal(lines_of(&b->servers[0]), 5);
	assert_int_equal(lines_of(&b->servers[1]), 5);
	assert_string_equal(buf_cstr(&b->servers[0].tenant), "t");
	bench_free(b);
}

/* One is away: its records are on the disk, and come in order once it is back, also by the next
 * life of the router. */
static void what_is_for_one_that_is_away_waits(void **state)
{
	struct bench *b = bench_new(50);
	struct error e;

	b->servers[1].down = true;
	for (int i = 0; i < 3; i++)
		assert_int_equal(submit(b, ten(POSITION_TOKEN), &e), 0);
	wait_done(b, 3);
	assert_int_equal(b->n_failed, 0);
	wait_lines(&b->servers[0], 15);
	assert_int_equal(lines_of(&b->servers[1]), 0);
	router_close(b->router, 1000);
	open_router(b);
	assert_int_equal(submit(b, ten(POSITION_TOKEN), &e), 0);
	b->servers[1].down = false;
	wait_lines(&b->servers[1], 20);
	wait_done(b, 4);
	lock_take(&b->servers[1].lock);
	for (int i = 0; i < 4; i++)
		assert_memory_equal(b->servers[1].bodies.p + i * 35,
			"line 1\nline 3\nline 5\nline 7\nline 9\n", 35);
	lock_drop(&b->servers[1].lock);
	bench_free(b);
}

/* The buffer is full: refused as a whole, and nothing that was taken is lost. */
static void a_full_buffer_refuses(void **state)
{
	struct bench *b = bench_new(0);
	struct error e = {0};
	int n = 0, r;

	b->servers[1].down = true;
	router_close(b->router, 0);
	b->s.buffer = 20000;
	open_router(b);
	while ((r = submit(b, ten(POSITION_TOKEN), &e)) == 0)
		assert_true(++n < 1000);
	assert_int_equal(r, ERR_FULL);
	/* Maybe of the other one, if that is slow. */
	assert_non_null(strstr(e.text, "zone z1: http://127.0.0.1:"));
	wait_done(b, n);
	b->servers[1].down = false;
	wait_lines(&b->servers[1], 5 * (size_t)n);
	wait_lines(&b->servers[0], 5 * (size_t)n);
	assert_int_equal(b->n_failed, 0);
	bench_free(b);
}

/* What a server refuses for good is its sender's matter, while that is there. */
static void refusals_are_told(void **state)
{
	struct bench *b = bench_new(60000);
	struct error e;

	b->servers[0].script[0] = 413;
	assert_int_equal(submit(b, ten(POSITION_TOKEN), &e), 0);
	wait_done(b, 1);
	assert_int_equal(b->n_failed, 1);
	assert_int_equal(lines_of(&b->servers[1]), 5);
	bench_free(b);
}

/* Out of the buffer there is no sender any more: all but the record at fault arrive. */
static void refused_records_are_found(void **state)
{
	struct bench *b = bench_new(0);
	struct error e;

	b->servers[0].down = true;
	assert_int_equal(submit(b, ten(POSITION_TOKEN), &e), 0);
	wait_done(b, 1);
	/* The five: the five, then the first two, then the first. */
	for (int i = 0; i < 3; i++)
		b->servers[0].script[i] = 400;
	b->servers[0].down = false;
	wait_lines(&b->servers[0], 4);
	assert_int_equal(lines_of(&b->servers[1]), 5);
	bench_free(b);
}

static void a_stop_keeps_what_waits(void **state)
{
	struct bench *b = bench_new(60000);
	struct error e;

	b->servers[1].down = true;
	assert_int_equal(submit(b, ten(POSITION_TOKEN), &e), 0);
	router_close(b->router, 1000);
	assert_int_equal(b->n_done, 1);
	assert_int_equal(b->n_failed, 0);
	b->servers[1].down = false;
	open_router(b);
	wait_lines(&b->servers[1], 5);
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(modulo_is_loggregators),
		cmocka_unit_test(one_more_server_moves_its_own_share_alone),
		cmocka_unit_test(each_record_is_in_one_share),
		cmocka_unit_test(shares_of_a_source_have_names_of_their_own),
		cmocka_unit_test(tokens_are_replaced),
		cmocka_unit_test(an_app_is_on_one_server),
		cmocka_unit_test(parts_cover_their_records),
		cmocka_unit_test(wrong_settings_are_named),
		cmocka_unit_test(both_servers_get_their_share),
		cmocka_unit_test(what_is_for_one_that_is_away_waits),
		cmocka_unit_test(a_full_buffer_refuses),
		cmocka_unit_test(refusals_are_told),
		cmocka_unit_test(refused_records_are_found),
		cmocka_unit_test(a_stop_keeps_what_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
