/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns against counts that the test keeps itself; what changed between two of them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "query/diff.h"
#include "query/source_test.h"

enum { RECORDS = 2000 };

#define SECOND NS_PER_SEC

static const char *const shapes[] = {
	"user %u logged in from 10.0.0.%u",
	"request %u took %u ms",
	"ERROR disk %u failed with code %u",
	"cache miss for key %08x%08x",
	"warn: %u of %u slots are free",
};

static const char *const texts[] = {
	"user <_> logged in from <_>",
	"request <_> took <_> ms",
	"ERROR disk <_> failed with code <_>",
	"cache miss for key <_>",
	"warn: <_> of <_> slots are free",
};

enum { SHAPES = sizeof shapes / sizeof *shapes };

struct fixture {
	struct test_source t;
	struct test_record records[RECORDS];
	struct str streams[2];
	uint32_t shape[RECORDS]; /* SHAPES: a line without a template */
	uint64_t seed;
};

static uint32_t draw(struct fixture *f, uint32_t below)
{
	f->seed = f->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(f->seed >> 33) % below;
}

static void fill(struct fixture *f, size_t i)
{
	struct buf line = {0};
	uint32_t shape = draw(f, 3) ? draw(f, 2) : draw(f, SHAPES);

	if (i % 500 == 7) {
		shape = SHAPES;
		for (size_t n = 0; n <= TOKEN_LINE_MAX; n++)
			buf_char(&line, 'x');
	} else {
		char text[200];
		/* The values of a hexadecimal key have letters and digits, always. */
		uint32_t a = shape == 3 ? 0xab000000u + draw(f, 1 << 16) : draw(f, 100000);
		snprintf(text, sizeof text, shapes[shape], a, draw(f, 250));
		buf_c(&line, text);
	}
	f->shape[i] = shape;
	f->records[i] = (struct test_record){
		.timestamp = (int64_t)i * SECOND + draw(f, 3) * SECOND,
		.seq = i + 1,
		.body = buf_view(&line),
		.stream = draw(f, 2),
		.severity = shape == 2   ? 17
			    : shape == 4 ? (uint8_t)(9 + 4 * draw(f, 2))
					 : 9,
		.flags = RECORD_LEVEL_DETECTED,
	};
}

static struct fixture *fixture_new(uint64_t seed)
{
	struct fixture *f = xcalloc(1, sizeof *f);

	f->seed = seed;
	f->t = test_source_make();
	f->streams[0] = test_labels("{app=\"a\"}");
	f->streams[1] = test_labels("{app=\"b\"}");
	for (size_t i = 0; i < RECORDS; i++)
		fill(f, i);
	f->t.records = f->records;
	f->t.n = RECORDS;
	f->t.streams = f->streams;
	f->t.n_streams = 2;
	f->t.unit_rows = 100;
	test_templates(&f->t);
	return f;
}

static void fixture_free(struct fixture *f)
{
	test_templates_fini(&f->t);
	for (size_t i = 0; i < RECORDS; i++)
		free((void *)f->records[i].body.p);
	free((void *)f->streams[0].p);
	free((void *)f->streams[1].p);
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

static int ask(struct fixture *f, const char *text, struct patterns_params p, struct patterns *out,
	struct error *e)
{
	struct query *q = parse(text);
	int r;

	p.query.tenant = STR("t");
	r = source_patterns(&f->t.source, q, &p, out, e);
	query_free(q);
	return r;
}

static bool in_query(const struct fixture *f, size_t i, bool app_a, const struct query_params *p)
{
	const struct test_record *x = &f->records[i];

	return x->timestamp >= p->start_ns && x->timestamp < p->end_ns &&
	       (!app_a || x->stream == 0);
}

static const struct pattern *pattern_of(const struct patterns *p, const char *text)
{
	for (size_t i = 0; i < p->n; i++)
		if (str_eq_c(p->patterns[i].text, text))
			return &p->patterns[i];
	return NULL;
}

static void check_shape(const struct fixture *f, const struct patterns *got, uint32_t shape,
	bool app_a, const struct query_params *p)
{
	const struct pattern *x = pattern_of(got, texts[shape]);
	uint64_t count = 0, samples[RECORDS] = {0};
	const struct test_record *newest = NULL;

	for (size_t i = 0; i < RECORDS; i++) {
		const struct test_record *r = &f->records[i];
		if (f->shape[i] != shape || !in_query(f, i, app_a, p))
			continue;
		count++;
		if (p->step_ns)
			samples[(r->timestamp - got->first_ns) / p->step_ns]++;
		if (!newest || r->timestamp > newest->timestamp ||
			(r->timestamp == newest->timestamp && r->seq > newest->seq))
			newest = r;
	}
	if (count == 0) {
		assert_null(x);
		return;
	}
	assert_non_null(x);
	assert_int_equal(x->count, count);
	for (size_t k = 0; k < got->n_steps; k++)
		assert_int_equal(x->samples[k], samples[k]);
	if (x->example.n) {
		assert_true(str_eq(x->example, newest->body));
		assert_int_equal(x->example_ns, newest->timestamp);
	}
	if (shape == 4 && count > 50)
		assert_null(x->level);
	if (shape == 2)
		assert_string_equal(x->level, "error");
}

static void counts(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct fixture *f = fixture_new(seed);
		struct account account;
		struct patterns got;
		struct error e = {0};
		bool app_a = draw(f, 2);
		struct patterns_params p = {
			.query = {.start_ns = (int64_t)draw(f, 500) * SECOND,
				.end_ns = (int64_t)(500 + draw(f, 1600)) * SECOND,
				.step_ns = draw(f, 2) ? (1 + draw(f, 300)) * SECOND : 0,
				.account = &account},
			.examples = draw(f, 2),
		};
		uint64_t lines = 0, other = 0;
		account_init(&account, "test", UINT64_MAX, NULL);
		f->t.unit_rows = 1 + draw(f, 300);
		if (ask(f, app_a ? "{app=\"a\"}" : "{}", p, &got, &e) < 0)
			fail_msg("%s", e.text);
		for (size_t i = 0; i < RECORDS; i++) {
			lines += in_query(f, i, app_a, &p.query);
			other += in_query(f, i, app_a, &p.query) && f->shape[i] == SHAPES;
		}
		assert_int_equal(got.lines, lines);
		assert_int_equal(got.other, other);
		assert_false(got.inexact);
		for (uint32_t shape = 0; shape < SHAPES; shape++)
			check_shape(f, &got, shape, app_a, &p.query);
		for (size_t i = 0; i < got.n; i++) {
			if (i)
				assert_true(got.patterns[i].count <= got.patterns[i - 1].count);
			assert_int_equal(got.patterns[i].example.n > 0, p.examples);
		}
		patterns_fini(&got);
		assert_int_equal(account_held(&account), 0);
		fixture_free(f);
	}
}

/* Without steps nothing of a row is looked at; an example costs a line for each pattern. */
static void cheap(void **state)
{
	struct fixture *f = fixture_new(3);
	struct patterns_params p = {.query = {.end_ns = RECORDS * 2 * SECOND, .limit = 2}};
	struct patterns got;
	struct error e = {0};

	(void)state;
	assert_int_equal(ask(f, "{}", p, &got, &e), 0);
	assert_int_equal(got.n, 2);
	assert_int_equal(got.n_further, SHAPES - 2);
	assert_int_equal(
		got.lines, got.patterns[0].count + got.patterns[1].count + got.further + got.other);
	assert_int_equal(got.result.stats.units_counted, RECORDS / 100);
	assert_int_equal(got.result.stats.lines_spelled, 0);
	patterns_fini(&got);
	p.examples = true;
	assert_int_equal(ask(f, "{}", p, &got, &e), 0);
	assert_true(got.result.stats.lines_spelled <= 4);
	assert_true(got.patterns[0].example.n > 0);
	patterns_fini(&got);
	assert_int_equal(ask(f, "sum(rate({}[1m]))", p, &got, &e), ERR_ARG);
	p.query.step_ns = 1;
	assert_int_equal(ask(f, "{}", p, &got, &e), ERR_ARG);
	assert_non_null(strstr(e.text, "11,000"));
	fixture_free(f);
}

/* Values that a sign joins are shown as one, others are not. */
static void joined(void **state)
{
	static const char *const cases[][2] = {
		{"17", "<_>"},
		{"to 10.0.0.1:8080 at 12:30:59.5", "to <_> at <_>"},
		{"(1, 2) 3-4 5 6", "(<_>, <_>) <_> <_> <_>"},
		{"a1-b2 x=1;y=2", "a<_>-b<_> x=<_>;y=<_>"},
		{".1. -2-", ".<_>. -<_>-"},
		{"nothing", "nothing"},
		{"1..2", "<_>..<_>"},
	};
	struct fixture *f = fixture_new(6);
	struct patterns_params p = {.query = {.end_ns = RECORDS * 2 * SECOND}};
	struct test_record record = f->records[0];
	struct patterns got;
	struct error e = {0};

	(void)state;
	test_templates_fini(&f->t);
	f->t.records = &record;
	f->t.n = 1;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		record.body = str_c(cases[i][0]);
		test_templates(&f->t);
		assert_int_equal(ask(f, "{}", p, &got, &e), 0);
		assert_int_equal(got.n, 1);
		if (!str_eq_c(got.patterns[0].text, cases[i][1]))
			fail_msg("%s: %.*s", cases[i][0], STR_ARG(got.patterns[0].text));
		patterns_fini(&got);
		test_templates_fini(&f->t);
	}
	f->t.records = f->records;
	f->t.n = RECORDS;
	test_templates(&f->t);
	fixture_free(f);
}

/* More kinds of lines than the budget has room for: the frequent ones are exact. */
static void bounded(void **state)
{
	struct fixture *f = fixture_new(4);
	struct account account;
	struct patterns_params p = {.query = {.end_ns = RECORDS * 2 * SECOND,
					    .memory_bytes = 400 << 10,
					    .account = &account}};
	struct patterns got;
	struct error e = {0};
	const struct pattern *x;

	(void)state;
	account_init(&account, "test", UINT64_MAX, NULL);
	test_templates_fini(&f->t);
	for (size_t i = 0; i < RECORDS; i++) {
		struct buf line = {0};
		if (i % 2)
			buf_c(&line, "again and again 17");
		else
			/* Each a kind of its own. */
			for (uint32_t n = (uint32_t)i + 1; n; n /= 2)
				buf_c(&line, n % 2 ? "ping " : "pong ");
		free((void *)f->records[i].body.p);
		f->records[i].body = buf_view(&line);
	}
	test_templates(&f->t);
	assert_int_equal(ask(f, "{}", p, &got, &e), 0);
	assert_true(got.inexact);
	assert_int_equal(got.result.n_warnings, 1);
	x = pattern_of(&got, "again and again <_>");
	assert_non_null(x);
	assert_ptr_equal(x, got.patterns);
	assert_int_equal(x->count, RECORDS / 2);
	assert_int_equal(got.lines, RECORDS);
	patterns_fini(&got);
	assert_int_equal(account_held(&account), 0);
	assert_true(account.peak <= (400 << 10) + (20 << 10));
	/* Whatever the budget, it is kept, and all of it comes back. */
	for (uint64_t bytes = 1000; bytes < 4 << 20; bytes = bytes * 3 / 2) {
		p.query.memory_bytes = bytes;
		p.examples = true;
		if (ask(f, "{}", p, &got, &e) == 0)
			patterns_fini(&got);
		assert_int_equal(account_held(&account), 0);
	}
	fixture_free(f);
}

/* --- what changed --------------------------------------------------------------------- */

static struct patterns made(struct pattern *list, size_t n)
{
	return (struct patterns){.patterns = list, .n = n};
}

static void changes(void **state)
{
	struct pattern old[] = {
		{.text = STR("same"), .count = 1000},
		{.text = STR("doubled"), .count = 500},
		{.text = STR("gone"), .count = 3},
		{.text = STR("long gone"), .count = 70},
		{.text = STR("noise"), .count = 4},
		{.text = STR("tenth"), .count = 1000},
	};
	struct pattern now[] = {
		{.text = STR("fresh"), .count = 12},
		{.text = STR("same"), .count = 2010},
		{.text = STR("doubled"), .count = 2000},
		{.text = STR("noise"), .count = 11},
		{.text = STR("tenth"), .count = 200},
	};
	struct patterns before = made(old, 6), after = made(now, 5);
	static const char *const order[] = {"fresh", "long gone", "gone", "tenth", "doubled"};
	struct diff d;

	(void)state;
	/* The later window is twice as long. */
	diff_make(&before, 100, &after, 200, 0, &d);
	assert_int_equal(d.n, 5);
	for (size_t i = 0; i < d.n; i++)
		assert_true(str_eq_c(d.entries[i].pattern->text, order[i]));
	assert_int_equal(d.n_new, 1);
	assert_int_equal(d.n_vanished, 2);
	assert_int_equal(d.n_changed, 2);
	assert_int_equal(d.n_unchanged, 2);
	assert_true(d.entries[3].ratio == 0.1);
	assert_true(d.entries[4].ratio == 2);
	assert_int_equal(d.entries[4].before, 500);
	assert_int_equal(d.entries[4].now, 2000);
	diff_fini(&d);
	diff_make(&before, 100, &after, 200, 1, &d);
	assert_int_equal(d.n, 3);
	assert_int_equal(d.n_vanished, 2);
	diff_fini(&d);
	before.n = after.n = 0;
	diff_make(&before, 0, &after, 0, 0, &d);
	assert_int_equal(d.n, 0);
	diff_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts),
		cmocka_unit_test(cheap),
		cmocka_unit_test(joined),
		cmocka_unit_test(bounded),
		cmocka_unit_test(changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
