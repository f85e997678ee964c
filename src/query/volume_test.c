/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes and stats of made-up records, against sums that are made in the
 * plainest way; the same over two tenants, each with a source of its own; and
 * the types of detected values.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "query/detected.h"
#include "query/source_tenants.h"
#include "query/source_test.h"
#include "query/volume.h"
#include "record/severity.h"

enum { RECORDS = 600, STREAMS = 4, SPAN = 1000 };

struct fixture {
	struct test_source t;
	struct test_record records[RECORDS];
	struct str streams[STREAMS];
	uint64_t seed;
};

static uint64_t next(struct fixture *f)
{
	f->seed ^= f->seed << 13;
	f->seed ^= f->seed >> 7;
	return f->seed ^= f->seed << 17;
}

static struct fixture *fixture_new(uint64_t seed, const char *tenant)
{
	static const char *const labels[STREAMS] = {"{app=\"a\", team=\"x\"}",
		"{app=\"a\", team=\"y\"}", "{app=\"b\", team=\"x\"}", "{app=\"c\"}"};
	static const char line[] = "an error of a hundred bytes or so, or of fewer of them";
	static const uint8_t severities[] = {SEV_UNKNOWN, SEV_INFO, SEV_ERROR};
	struct fixture *f = xcalloc(1, sizeof *f);

	f->seed = seed;
	f->t = test_source_make();
	f->t.tenant = str_c(tenant);
	for (size_t i = 0; i < STREAMS; i++)
		f->streams[i] = test_labels(labels[i]);
	for (size_t i = 0; i < RECORDS; i++)
		f->records[i] = (struct test_record){
			.timestamp = (int64_t)(i + next(f) % 50) * SPAN / RECORDS,
			.seq = i + 1,
			.body = str_make(line, next(f) % sizeof line),
			.stream = (uint32_t)(next(f) % STREAMS),
			.severity = severities[next(f) % 3],
			.flags = next(f) % 4 ? RECORD_LEVEL_DETECTED : 0,
		};
	f->t.records = f->records;
	f->t.n = RECORDS;
	f->t.streams = f->streams;
	f->t.n_streams = STREAMS;
	return f;
}

static void fixture_free(struct fixture *f)
{
	for (size_t i = 0; i < STREAMS; i++)
		free((void *)f->streams[i].p);
	free(f);
}

static bool passes(const struct test_record *r, int64_t from, int64_t to, bool filter)
{
	return r->timestamp >= from && r->timestamp < to &&
	       (!filter || str_find(r->body, STR("error")) >= 0);
}

/* Bytes of a value of a label, by brute force; `name` detected_level asks for the level. */
static uint64_t bytes_of(const struct fixture *f, int64_t from, int64_t to, bool filter,
	struct str name, struct str value)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < RECORDS; i++) {
		const struct test_record *r = &f->records[i];
		struct str got = STR_NONE;
		if (!passes(r, from, to, filter))
			continue;
		if (!str_eq(name, STR("detected_level")))
			labels_get(f->streams[r->stream], name, &got);
		else if (r->flags & RECORD_LEVEL_DETECTED)
			got = str_c(severity_level(r->severity));
		sum += str_eq(got, value) ? r->body.n : 0;
	}
	return sum;
}

static struct query *parse(const char *text)
{
	struct query *q = NULL;
	struct error e = {0};

	if (query_parse(&q, str_c(text), &e) < 0)
		fail_msg("%s: %s", text, e.text);
	return q;
}

static void check_series(const struct fixture *f, const struct query_series *s, struct str name,
	int64_t from, int64_t to, int64_t step, bool filter)
{
	struct str value;

	assert_true(labels_get(s->labels, name, &value));
	for (size_t k = 0; k < s->n; k++) {
		int64_t begin = step ? s->samples[k].timestamp : from,
			end = step ? begin + step : to;
		assert_true(!step || begin % step == 0);
		assert_int_equal((uint64_t)s->samples[k].value,
			bytes_of(f, begin > from ? begin : from, end < to ? end : to, filter, name,
				value));
		if (!step)
			assert_int_equal(s->samples[k].timestamp, to - 1);
	}
}

static void check_one(struct fixture *f, struct str name, int64_t step, bool filter)
{
	int64_t from = (int64_t)(next(f) % 300), to = from + 1 + (int64_t)(next(f) % 800);
	struct query *q = parse(filter ? "{} |= \"error\"" : "{}");
	struct volume_params p = {.query = {.start_ns = from,
					  .end_ns = to,
					  .step_ns = step,
					  .tenant = STR("t"),
					  .limit = 0},
		.by = VOLUME_SERIES,
		.names = &name,
		.n_names = 1};
	struct volume_totals totals;
	struct query_result res;
	uint64_t rows = 0, bytes = 0;
	struct error e;

	f->t.unit_rows = 1 + next(f) % 100;
	assert_int_equal(source_volume(&f->t.source, q, &p, &totals, &res, &e), 0);
	assert_int_equal(res.type, step ? RESULT_MATRIX : RESULT_VECTOR);
	for (size_t i = 0; i < res.n_series; i++)
		check_series(f, &res.series[i], name, from, to, step, filter);
	for (size_t i = 0; i < RECORDS; i++) {
		rows += passes(&f->records[i], from, to, filter);
		bytes += passes(&f->records[i], from, to, filter) ? f->records[i].body.n : 0;
	}
	assert_int_equal(totals.rows, rows);
	assert_int_equal(totals.bytes, bytes);
	query_result_fini(&res);
	query_free(q);
}

static void test_volumes_are_exact(void **state)
{
	static const struct str names[] = {
		STR_INIT("app"), STR_INIT("team"), STR_INIT("detected_level")};
	struct fixture *f = fixture_new(42, "t");

	for (unsigned i = 0; i < 300; i++)
		check_one(f, names[i % 3], i % 2 ? 0 : 1 + (int64_t)(next(f) % 200), i % 5 == 0);
	fixture_free(f);
}

static void test_names_and_defaults(void **state)
{
	struct fixture *f = fixture_new(7, "t");
	struct volume_params p = {
		.query = {.start_ns = 0, .end_ns = 2 * SPAN, .tenant = STR("t"), .limit = 2},
		.by = VOLUME_NAMES};
	struct query *q = parse("{app=~\".+\", team!=\"y\"}"),
		     *metric = parse("rate({a=\"b\"}[1m])");
	struct volume_totals totals;
	struct query_result res;
	struct error e;
	struct str value;

	assert_int_equal(source_volume(&f->t.source, q, &p, &totals, &res, &e), 0);
	assert_int_equal(res.n_series, 2);
	assert_true(labels_get(res.series[0].labels, STR("app"), &value) && value.n == 0);
	assert_int_equal((uint64_t)res.series[0].samples[0].value, totals.bytes);
	assert_true(labels_get(res.series[1].labels, STR("team"), &value));
	query_result_fini(&res);
	p.by = VOLUME_TOTAL;
	assert_int_equal(source_volume(&f->t.source, q, &p, &totals, &res, &e), 0);
	assert_int_equal(totals.streams, 3);
	assert_int_equal(res.n_series, 0);
	query_result_fini(&res);
	assert_int_equal(source_volume(&f->t.source, metric, &p, &totals, &res, &e), ERR_ARG);
	query_free(q);
	query_free(metric);
	fixture_free(f);
}

/* --- tenants -------------------------------------------------------------------------- */

struct both {
	struct source source;
	struct fixture *f[2];
};

static uint64_t both_last_seq(struct source *s)
{
	return RECORDS;
}

static int both_scan(struct source *s, struct scan *sc, struct error *e)
{
	struct both *b = CONTAINER(s, struct both, source);
	struct source *one = &b->f[str_eq(sc->tenant, STR("u"))]->t.source;

	assert_true(str_chr(sc->tenant, '|') < 0);
	return one->scan(one, sc, e);
}

static int both_streams(struct source *s, struct str tenant, int64_t from_ns, int64_t to_ns,
	void (*stream)(void *ctx, struct str labels), void *ctx, struct error *e)
{
	struct both *b = CONTAINER(s, struct both, source);
	struct source *one = &b->f[str_eq(tenant, STR("u"))]->t.source;

	return one->streams(one, tenant, from_ns, to_ns, stream, ctx, e);
}

static uint64_t volume_rows(struct source *s, const char *text, const char *tenant)
{
	struct volume_params p = {
		.query = {.start_ns = 0, .end_ns = 2 * SPAN, .tenant = str_c(tenant)}};
	struct query *q = parse(text);
	struct volume_totals totals;
	struct query_result res;
	struct error e;

	assert_int_equal(source_volume(s, q, &p, &totals, &res, &e), 0);
	query_result_fini(&res);
	query_free(q);
	return totals.rows;
}

/* The newest `limit` lines of both, in order. */
static void check_lines(struct source *s, const struct both *b, bool forward, uint64_t limit)
{
	struct query_params p = {.start_ns = 0,
		.end_ns = 2 * SPAN,
		.tenant = STR("t|u"),
		.limit = limit,
		.forward = forward};
	struct query *q = parse("{app=\"a\"}");
	struct query_result res;
	struct error e;
	uint64_t older = 0, n = 0;

	assert_int_equal(source_query(s, q, &p, &res, &e), 0);
	assert_int_equal(res.n_entries, limit);
	for (size_t i = 1; i < limit; i++) {
		int64_t a = res.entries[i - 1].timestamp, c = res.entries[i].timestamp;
		assert_true(forward ? a <= c : a >= c);
	}
	/* No line that was left out belongs before the last one. */
	for (size_t k = 0; k < 2; k++)
		for (size_t i = 0; i < RECORDS; i++) {
			const struct test_record *r = &b->f[k]->records[i];
			int64_t last = res.entries[limit - 1].timestamp;
			if (r->stream < 2)
				n += forward ? r->timestamp < last : r->timestamp > last;
		}
	for (size_t i = 0; i < limit; i++)
		older += res.entries[i].timestamp != res.entries[limit - 1].timestamp;
	assert_int_equal(n, older);
	query_result_fini(&res);
	query_free(q);
}

static void test_tenants_together(void **state)
{
	struct both b = {
		.source = {.last_seq = both_last_seq, .scan = both_scan, .streams = both_streams},
		.f = {fixture_new(1, "t"), fixture_new(2, "u")}};
	struct source_tenants t;
	struct source *s = &t.source;

	source_tenants_init(&t, &b.source);
	assert_int_equal(volume_rows(s, "{}", "t"), RECORDS);
	assert_int_equal(volume_rows(s, "{}", "t|u"), 2 * RECORDS);
	assert_int_equal(volume_rows(s, "{}", "u|t|u"), 2 * RECORDS);
	assert_int_equal(volume_rows(s, "{__tenant_id__=\"u\"}", "t|u"), RECORDS);
	assert_int_equal(volume_rows(s, "{__tenant_id__=\"u\"}", "t"), 0);
	assert_int_equal(volume_rows(s, "{app=\"a\"}", "t|u"),
		volume_rows(s, "{app=\"a\"}", "t") + volume_rows(s, "{app=\"a\"}", "u"));
	for (uint64_t limit = 1; limit < 200; limit += 37) {
		b.f[0]->t.unit_rows = 1 + limit;
		check_lines(s, &b, false, limit);
		check_lines(s, &b, true, limit);
	}
	fixture_free(b.f[0]);
	fixture_free(b.f[1]);
}

static void test_names_of_tenants(void **state)
{
	struct str one;
	struct error e;
	size_t at = 0;

	assert_true(tenants_next(STR("a||b|a|c"), &at, &one) && str_eq_c(one, "a"));
	assert_true(tenants_next(STR("a||b|a|c"), &at, &one) && str_eq_c(one, "b"));
	assert_true(tenants_next(STR("a||b|a|c"), &at, &one) && str_eq_c(one, "c"));
	assert_false(tenants_next(STR("a||b|a|c"), &at, &one));
	assert_int_equal(tenants_check(STR("a"), &e), 0);
	assert_int_equal(tenants_check(STR("a|b"), &e), 0);
	assert_int_equal(tenants_check(STR("a|b/c"), &e), ERR_ARG);
	assert_int_equal(tenants_check(STR("|"), &e), ERR_ARG);
	assert_int_equal(tenants_check(STR("a|.."), &e), ERR_ARG);
}

static void test_types(void **state)
{
	static const struct {
		const char *value, *type;
	} rows[] = {{"true", "boolean"}, {"7", "int"}, {"-7", "int"}, {"7.5", "float"},
		{"1e3", "float"}, {"15ms", "duration"}, {"1h2m", "duration"}, {"20MB", "bytes"},
		{"5KiB", "bytes"}, {"", "string"}, {"a", "string"}, {"10.0.0.1", "string"},
		{"True", "string"}};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_string_equal(
			detected_type_name(detected_type_of(str_c(rows[i].value))), rows[i].type);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_volumes_are_exact),
		cmocka_unit_test(test_names_and_defaults),
		cmocka_unit_test(test_tenants_together),
		cmocka_unit_test(test_names_of_tenants),
		cmocka_unit_test(test_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
