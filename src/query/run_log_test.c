/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log queries with stages and reshapes.  What a scan answers is compared with
 * the same query over the records one by one, as a tail runs it: that path knows
 * nothing of pushed-down filters, of asking filters first, of heaps and pages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "query/source_test.h"
#include "query/tail.h"

enum { RECORDS = 400, STREAMS = 3 };

#define SECOND INT64_C(1000000000)

struct fixture {
	struct test_source t;
	struct test_record records[RECORDS];
	struct str streams[STREAMS], meta;
	uint64_t seed;
};

static uint32_t draw(struct fixture *f, uint32_t below)
{
	f->seed = f->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(f->seed >> 33) % below;
}

static struct fixture *fixture_new(void)
{
	static const char *const streams[] = {
		"{app=\"a\", level=\"x\"}", "{app=\"b\"}", "{app=\"b\", host=\"h\"}"};
	struct fixture *f = xcalloc(1, sizeof *f);

	f->t = test_source_make();
	f->t.unit_rows = 37;
	f->meta = test_labels("{trace=\"t\"}");
	for (size_t i = 0; i < STREAMS; i++)
		f->streams[i] = test_labels(streams[i]);
	for (size_t i = 0; i < RECORDS; i++) {
		struct buf line = {0};
		uint32_t kind = draw(f, 10);

		if (kind == 0)
			buf_c(&line, "not a field in sight");
		else if (kind < 4)
			buf_printf(&line, "level=%s took=%ums code=%u",
				draw(f, 2) ? "warn" : "info", draw(f, 900), draw(f, 5));
		else
			buf_printf(&line,
				"{\"level\":\"%s\",\"took\":\"%ums\",\"code\":%u,\"items\":[{\"n\":%u},"
				"{\"n\":%u},{\"n\":%u}]}",
				draw(f, 3) ? "info" : "error", draw(f, 900), draw(f, 5), draw(f, 9),
				draw(f, 9), draw(f, 9));
		f->records[i] = (struct test_record){
			.timestamp = ((int64_t)i / 4 + draw(f, 5)) * SECOND,
			.seq = i * 7 % RECORDS + 1,
			.body = buf_view(&line),
			.meta = draw(f, 2) ? f->meta : STR_NONE,
			.stream = draw(f, STREAMS),
			.severity = 9,
			.flags = draw(f, 2) ? RECORD_LEVEL_DETECTED : 0,
		};
	}
	f->t.records = f->records;
	f->t.n = RECORDS;
	f->t.streams = f->streams;
	f->t.n_streams = STREAMS;
	return f;
}

static void fixture_free(struct fixture *f)
{
	for (size_t i = 0; i < RECORDS; i++)
		free((void *)f->records[i].body.p);
	for (size_t i = 0; i < STREAMS; i++)
		free((void *)f->streams[i].p);
	free((void *)f->meta.p);
	free(f);
}

static struct query *parse(const char *text)
{
	struct query *q = NULL;
	struct error e = {0};

	if (query_parse(&q, str_c(text), &e) < 0)
		fail_msg("%s: %s", text, e.text);
	return q;
}

/* --- the records one by one ----------------------------------------------------------- */

struct collected {
	struct query_entry list[3 * RECORDS];
	size_t n;
	struct arena arena;
};

static int collect(void *ctx, const struct query_entry *x)
{
	struct collected *c = ctx;
	struct query_entry *to = &c->list[c->n++];

	*to = *x;
	to->labels = arena_str(&c->arena, x->labels);
	to->meta = arena_str(&c->arena, x->meta);
	to->parsed = arena_str(&c->arena, x->parsed);
	to->line = arena_str(&c->arena, x->line);
	return 0;
}

static bool forward_order;

static int by_moment(const void *a, const void *b)
{
	const struct query_entry *x = a, *y = b;
	int r = x->timestamp < y->timestamp ? -1 : x->timestamp > y->timestamp;

	r = r ? r : x->seq < y->seq ? -1 : x->seq > y->seq;
	r = r ? r : x->nth < y->nth ? -1 : x->nth > y->nth;
	return forward_order ? r : -r;
}

static void one_by_one(
	struct fixture *f, const struct query *q, bool forward, struct collected *out)
{
	struct query_tail *t;
	struct error e = {0};

	out->n = 0;
	arena_init(&out->arena, NULL);
	assert_int_equal(query_tail_new(&t, q, false, NULL, &e), 0);
	for (uint32_t i = 0; i < RECORDS; i++) {
		const struct test_record *x = &f->records[i];
		uint32_t pick = 0;
		struct rows rows = {
			.n = 1,
			.pick = &pick,
			.timestamp = &x->timestamp,
			.seq = &x->seq,
			.stream = &x->stream,
			.body = &x->body,
			.meta = &x->meta,
			.severity = &x->severity,
			.flags = &x->flags,
			.streams = f->streams,
			.n_streams = STREAMS,
		};

		query_tail_unit(t, &rows);
		assert_int_equal(query_tail_row(t, &rows, 0, collect, out), 0);
	}
	query_tail_free(t);
	forward_order = forward;
	qsort(out->list, out->n, sizeof *out->list, by_moment);
}

static void check_same(const char *text, const struct query_entry *a, const struct query_entry *b)
{
	if (a->timestamp != b->timestamp || a->seq != b->seq || a->nth != b->nth ||
		!str_eq(a->labels, b->labels) || !str_eq(a->meta, b->meta) ||
		!str_eq(a->parsed, b->parsed) || !str_eq(a->line, b->line))
		fail_msg("%s: record %llu.%u and %llu.%u: \"%.*s\", \"%.*s\"", text,
			(unsigned long long)a->seq, a->nth, (unsigned long long)b->seq, b->nth,
			STR_ARG(a->line), STR_ARG(b->line));
}

static void check_pages(struct fixture *f, const char *text, const struct query *q,
	const struct collected *want, struct query_params p)
{
	size_t n = 0;

	for (;;) {
		struct query_result page;
		struct error e = {0};
		size_t got;

		if (source_query(&f->t.source, q, &p, &page, &e) < 0)
			fail_msg("%s: %s", text, e.text);
		got = page.n_entries;
		assert_true(n + got <= want->n);
		for (size_t i = 0; i < got; i++)
			check_same(text, &page.entries[i], &want->list[n + i]);
		n += got;
		if (got) {
			p.resume = true;
			p.resume_ns = page.entries[got - 1].timestamp;
			p.resume_seq = page.entries[got - 1].seq;
			p.resume_nth = page.entries[got - 1].nth;
		}
		query_result_fini(&page);
		if (p.limit == 0 || got < p.limit)
			break;
	}
	assert_int_equal(n, want->n);
}

static void stages_as_one_by_one(void **state)
{
	static const char *const texts[] = {
		"{} | json",
		"{app=\"b\"} |= \"info\" | json | code > 2",
		"{} | json | level=\"error\" | line_format \"{{.code}} {{.took}}\"",
		"{} | json | level_extracted=\"error\"",
		"{} | json | code > 2 | json | took > 300ms or level=\"warn\"",
		"{} | logfmt | code=\"3\" | label_format app=code",
		"{} | json | __error__=\"\"",
		"{} | json | __error__!=\"\"",
		"{} | json | drop app, level | code=\"1\"",
		"{} | json | keep code | code=~\"[12]\"",
		"{trace=\"t\"} | json | code=\"1\"",
		"{app=\"a\", detected_level=\"info\"} | line_format \"x\" |= \"x\"",
		"{} | line_format \"{{.app}}\" |= \"b\"",
		"{} | json | unroll items | n > 4",
		"{} | json items=\"items\" | unroll items",
		"{} | pattern \"level=<level> took=<took> <_>\" | took > 100ms",
		"{} | sample 3 | json | code < 3",
	};
	struct collected *want = xcalloc(1, sizeof *want);
	struct fixture *f = fixture_new();

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct query *q = parse(texts[i]);
		for (unsigned forward = 0; forward < 2; forward++) {
			struct query_params p = {
				.end_ns = INT64_MAX, .forward = forward, .tenant = STR("t")};

			one_by_one(f, q, forward, want);
			for (p.limit = 0; p.limit < 20; p.limit = p.limit * 2 + 1)
				check_pages(f, texts[i], q, want, p);
			arena_fini(&want->arena);
		}
		query_free(q);
	}
	free(want);
	fixture_free(f);
}

/* --- reshapes ------------------------------------------------------------------------- */

static void run(
	struct fixture *f, const char *text, struct query_params p, struct query_result *out)
{
	struct query *q = parse(text);
	struct error e = {0};

	p.tenant = STR("t");
	p.end_ns = p.end_ns ? p.end_ns : INT64_MAX;
	if (source_query(&f->t.source, q, &p, out, &e) < 0)
		fail_msg("%s: %s", text, e.text);
	query_free(q);
}

static struct str value_of(const struct query_entry *x, const char *name)
{
	const struct str sets[] = {x->parsed, x->meta, x->labels};
	struct str value = STR("");

	for (size_t i = 0; i < 3; i++)
		if (sets[i].n && labels_get(sets[i], str_c(name), &value))
			break;
	return value;
}

static uint64_t count_of(const struct query_entry *x)
{
	uint64_t n = 0;

	assert_true(str_u64(value_of(x, "count"), &n));
	return n;
}

static void uniq_leaves_one_of_each(void **state)
{
	struct fixture *f = fixture_new();
	struct query_result all, uniq;

	(void)state;
	for (unsigned forward = 0; forward < 2; forward++) {
		const struct query_params p = {.forward = forward};
		size_t n = 0;

		run(f, "{} | json", p, &all);
		run(f, "{} | json | uniq by (code, level)", p, &uniq);
		/* In the asked order the first of each is the one that stays. */
		for (size_t i = 0; i < all.n_entries; i++) {
			bool seen = false;
			for (size_t k = 0; k < i && !seen; k++)
				seen = str_eq(value_of(&all.entries[i], "code"),
					       value_of(&all.entries[k], "code")) &&
				       str_eq(value_of(&all.entries[i], "level"),
					       value_of(&all.entries[k], "level"));
			if (!seen)
				check_same("uniq", &uniq.entries[n++], &all.entries[i]);
		}
		assert_int_equal(uniq.n_entries, n);
		assert_true(uniq.reshaped);
		query_result_fini(&all);
		query_result_fini(&uniq);
	}
	fixture_free(f);
}

static void top_counts(void **state)
{
	struct fixture *f = fixture_new();
	struct query_result all, top, page;
	uint64_t sum = 0;

	(void)state;
	run(f, "{} | json", (struct query_params){0}, &all);
	run(f, "{} | json | top 100 by (code)", (struct query_params){0}, &top);
	for (size_t i = 0; i < top.n_entries; i++) {
		const struct query_entry *x = &top.entries[i];
		uint64_t n = 0;

		for (size_t k = 0; k < all.n_entries; k++)
			n += str_eq(value_of(x, "code"), value_of(&all.entries[k], "code"));
		assert_int_equal(count_of(x), n);
		assert_true(i == 0 || n <= count_of(&top.entries[i - 1]));
		assert_int_equal(labels_count(x->labels), 0);
		sum += n;
	}
	assert_int_equal(sum, all.n_entries);
	/* Its pages, and its own limit. */
	run(f, "{} | json | top 3 by (code)", (struct query_params){.limit = 2, .skip = 1}, &page);
	assert_int_equal(page.n_entries, 2);
	assert_true(str_eq(value_of(&page.entries[0], "code"), value_of(&top.entries[1], "code")));
	query_result_fini(&page);
	run(f, "{} | json | top 3 by (code)", (struct query_params){.skip = 3}, &page);
	assert_int_equal(page.n_entries, 0);
	query_result_fini(&page);
	query_result_fini(&all);
	query_result_fini(&top);
	fixture_free(f);
}

static void sort_goes_by_number(void **state)
{
	struct fixture *f = fixture_new();
	struct query_result r;
	unsigned last = 0;

	(void)state;
	run(f, "{} | json | took != \"\" | sort by (took)", (struct query_params){0}, &r);
	assert_true(r.n_entries > 100);
	for (size_t i = 0; i < r.n_entries; i++) {
		unsigned ms = (unsigned)strtoul(value_of(&r.entries[i], "took").p, NULL, 10);
		assert_true(ms >= last);
		last = ms;
	}
	query_result_fini(&r);
	run(f, "{} | json | took != \"\" | sort by (took) desc", (struct query_params){.limit = 1},
		&r);
	assert_int_equal(strtoul(value_of(&r.entries[0], "took").p, NULL, 10), last);
	query_result_fini(&r);
	/* Lines without a value are no largest ones. */
	run(f, "{} | json | sort by (took) desc", (struct query_params){0}, &r);
	assert_int_equal(strtoul(value_of(&r.entries[0], "took").p, NULL, 10), last);
	assert_int_equal(value_of(&r.entries[r.n_entries - 1], "took").n, 0);
	query_result_fini(&r);
	fixture_free(f);
}

static void context_shows_the_neighbours(void **state)
{
	struct fixture *f = fixture_new();
	const struct query_params forward = {.forward = true};
	struct query_result all, around;
	size_t n = 0;

	(void)state;
	run(f, "{app=\"a\"}", forward, &all);
	run(f, "{app=\"a\"} |= \"not a field\" | context -B 2 -A 1", forward, &around);
	for (size_t i = 0; i < all.n_entries; i++) {
		bool near = false;
		for (size_t k = i >= 1 ? i - 1 : 0; k <= i + 2 && k < all.n_entries; k++)
			near |= str_find(all.entries[k].line, STR("not a field")) >= 0;
		if (near)
			check_same("context", &around.entries[n++], &all.entries[i]);
	}
	assert_true(n > 5);
	assert_int_equal(around.n_entries, n);
	query_result_fini(&all);
	query_result_fini(&around);
	fixture_free(f);
}

/* Whatever the budget, it is kept, and all of it comes back. */
static void budgets(void **state)
{
	static const char *const texts[] = {"{} | uniq", "{} | top 5", "{} | sort desc",
		"{} |= \"not a field\" | context -B 2 -A 2", "{} | json | uniq by (code) | top 2"};
	struct fixture *f = fixture_new();

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct query *q = parse(texts[i]);
		struct account account;
		bool fits = false;

		account_init(&account, "test", UINT64_MAX, NULL);
		for (uint64_t bytes = 1000; !fits; bytes = bytes * 3 / 2) {
			struct query_params p = {.end_ns = INT64_MAX,
				.tenant = STR("t"),
				.memory_bytes = bytes,
				.account = &account};
			struct query_result r;
			struct error e = {0};
			int code = source_query(&f->t.source, q, &p, &r, &e);

			fits = code == 0;
			if (fits)
				query_result_fini(&r);
			else
				assert_int_equal(code, ERR_LIMIT);
			assert_int_equal(account_held(&account), 0);
		}
		query_free(q);
	}
	fixture_free(f);
}

static void tails_refuse_what_has_no_end(void **state)
{
	static const char *const texts[] = {"rate({}[1m])", "{} | uniq", "{} | context -A 1"};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct query *q = parse(texts[i]);
		struct query_tail *t;
		struct error e = {0};

		assert_int_equal(query_tail_new(&t, q, false, NULL, &e), ERR_ARG);
		query_free(q);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stages_as_one_by_one),
		cmocka_unit_test(uniq_leaves_one_of_each),
		cmocka_unit_test(top_counts),
		cmocka_unit_test(sort_goes_by_number),
		cmocka_unit_test(context_shows_the_neighbours),
		cmocka_unit_test(budgets),
		cmocka_unit_test(tails_refuse_what_has_no_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
