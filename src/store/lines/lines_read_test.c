/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "store/lines/read_model.h"

enum { ROWS = 3000, NEEDLE = 24 };

struct question {
	struct line_filter filters[3];
	struct line_test tests[3][2];
	char text[3][2][NEEDLE];
	struct regex *regex[3][2];
	size_t n;
};

static struct str needle(struct read_model *m, char *to)
{
	struct str line = m->line[model_random(m, m->n)];
	size_t at = line.n ? model_random(m, line.n) : 0;

	line = str_sub(line, at, at + 1 + model_random(m, NEEDLE - 1));
	if (line.n)
		memcpy(to, line.p, line.n);
	if (line.n && model_random(m, 8) == 0)
		to[model_random(m, line.n)] = '7';
	return str_make(to, line.n);
}

static void ask_at_random(struct read_model *m, struct question *q)
{
	static const char *const patterns[] = {"(timeout|timed out).*[0-9]{3}", "(?i)error",
		"\\b10\\.0\\.0\\.[0-9]", "[0-9]{3}[a-f]{2}", "blk_-700000000000(1|2)",
		"^rare [a-m]", "port [0-9]*7", "", "x*", "(?i)(failed|SERVED)", "req-|Worker-"};

	*q = (struct question){.n = 1 + model_random(m, 8) / 6};
	for (size_t i = 0; i < q->n; i++) {
		q->filters[i] = (struct line_filter){.tests = q->tests[i],
			.n = 1 + model_random(m, 4) / 3,
			.negate = model_random(m, 3) == 0};
		for (size_t k = 0; k < q->filters[i].n; k++) {
			if (model_random(m, 3)) {
				q->tests[i][k].text = needle(m, q->text[i][k]);
				continue;
			}
			const char *p =
				patterns[model_random(m, sizeof patterns / sizeof *patterns)];
			assert_int_equal(regex_new(&q->regex[i][k], str_c(p), false, NULL), 0);
			q->tests[i][k].regex = q->regex[i][k];
		}
	}
}

static void question_fini(struct question *q)
{
	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < 2; k++)
			regex_free(q->regex[i][k]);
}

/* Rows that are asked for: all, about one of so many, or one. */
static size_t choose(struct read_model *m, uint32_t *pick)
{
	uint64_t of = model_random(m, 3);
	size_t n = 0;

	if (of == 2) {
		pick[0] = (uint32_t)model_random(m, m->n);
		return 1;
	}
	for (uint32_t i = 0; i < m->n; i++)
		if (of == 0 || model_random(m, 5) == 0)
			pick[n++] = i;
	return n;
}

static void test_filter(void **state)
{
	static uint32_t asked[ROWS], pick[ROWS];
	static struct str got[ROWS];
	struct lines_reader *r = lines_reader_new();
	struct read_model m;
	struct question q;
	struct error e = {0};

	(void)state;
	for (int round = 0; round < 12; round++) {
		model_make(&m, round % 3 ? ROWS : 40, 88172645463325252u + (uint64_t)round);
		struct lines_source s = model_source(&m, &m.payload);
		for (int i = 0; i < 60; i++) {
			if (i % 20 == 0 && lines_open(r, &s, &e) < 0)
				fail_msg("%s", e.text);
			ask_at_random(&m, &q);
			size_t n = choose(&m, asked), n_asked = n;
			memcpy(pick, asked, n * sizeof *pick);
			if (model_ask(&m, r, q.filters, q.n, pick, &n, got, &e) < 0)
				fail_msg("%s", e.text);
			if (!model_agrees(&m, q.filters, q.n, asked, n_asked, pick, n, got))
				fail_msg("round %d, question %d", round, i);
			question_fini(&q);
		}
		model_free(&m);
	}
	assert_true(lines_figures(r).bytes_read > 0);
	assert_true(lines_figures(r).spelled > 0);
	lines_reader_free(r);
}

/* A text that no value can be part of costs the directory and pools at most. */
static void test_frugal(void **state)
{
	static const char *const texts[] = {
		"not here at all", "blk_-1", "Worker-ffffffffff", "port 123456789"};
	static uint32_t pick[ROWS];
	static struct str got[ROWS];
	struct lines_reader *r = lines_reader_new();
	struct read_model m;

	(void)state;
	model_make(&m, ROWS, 7);
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct lines_source s = model_source(&m, &m.payload);
		struct line_test test = {.text = str_c(texts[i])};
		struct line_filter f = {.tests = &test, .n = 1};
		uint64_t before = lines_figures(r).spelled;
		size_t n = m.n;
		for (uint32_t row = 0; row < m.n; row++)
			pick[row] = row;
		assert_int_equal(lines_open(r, &s, NULL), 0);
		assert_int_equal(model_ask(&m, r, &f, 1, pick, &n, got, NULL), 0);
		assert_int_equal(n, 0);
		assert_int_equal(lines_figures(r).spelled, before);
	}
	lines_reader_free(r);
	model_free(&m);
}

/* Under a ceiling the answer is right or ERR_LIMIT, and all is given back. */
static void test_limit(void **state)
{
	static uint32_t asked[ROWS], pick[ROWS];
	static struct str got[ROWS];
	struct read_model m;
	struct question q;
	struct error e;
	int right = 0, refused = 0;

	(void)state;
	model_make(&m, ROWS, 99);
	for (uint32_t i = 0; i < m.n; i++)
		asked[i] = i;
	ask_at_random(&m, &q);
	for (uint64_t limit = 0; limit < 4 << 20; limit += 20011) {
		struct account a;
		account_init(&a, "query", limit, NULL);
		struct lines_reader *r = lines_reader_new();
		struct lines_source s = model_source(&m, &m.payload);
		size_t n = m.n;
		s.account = &a;
		memcpy(pick, asked, sizeof pick);
		int code = lines_open(r, &s, &e);
		if (code == 0)
			code = model_ask(&m, r, q.filters, q.n, pick, &n, got, &e);
		if (code == 0)
			assert_true(model_agrees(&m, q.filters, q.n, asked, m.n, pick, n, got));
		else
			assert_int_equal(code, ERR_LIMIT);
		right += code == 0;
		refused += code < 0;
		assert_true(account_held(&a) <= limit);
		lines_reader_free(r);
		assert_int_equal(account_held(&a), 0);
	}
	assert_true(right > 0 && refused > 0);
	question_fini(&q);
	model_free(&m);
}

/* A flipped or cut byte is an error, or is not read. */
static void test_damage(void **state)
{
	static uint32_t asked[ROWS], pick[ROWS];
	static struct str got[ROWS];
	struct lines_reader *r = lines_reader_new();
	struct read_model m;
	struct question q;
	struct account a;
	struct error e;
	int wrong = 0;

	(void)state;
	model_make(&m, ROWS, 4711);
	account_init(&a, "query", UINT64_MAX, NULL);
	for (uint32_t i = 0; i < m.n; i++)
		asked[i] = i;
	for (size_t at = 0; at < m.payload.n; at += 1 + model_random(&m, 60)) {
		struct lines_source s = model_source(&m, &m.payload);
		bool cut = model_random(&m, 8) == 0;
		char was = m.payload.p[at];
		size_t n = m.n;
		s.account = &a;
		s.bytes = cut ? at : s.bytes;
		m.payload.p[at] ^= cut ? 0 : (char)(1 + model_random(&m, 255));
		ask_at_random(&m, &q);
		memcpy(pick, asked, sizeof pick);
		int code = lines_open(r, &s, &e);
		if (code == 0)
			code = model_ask(&m, r, q.filters, q.n, pick, &n, got, &e);
		if (code < 0)
			assert_int_equal(code, ERR_CORRUPT);
		else
			assert_true(model_agrees(&m, q.filters, q.n, asked, m.n, pick, n, got));
		wrong += code < 0;
		question_fini(&q);
		m.payload.p[at] = was;
	}
	assert_true(wrong > 0);
	lines_reader_free(r);
	assert_int_equal(account_held(&a), 0);
	model_free(&m);
}

static void test_budget(void **state)
{
	struct lines_writer *w = lines_writer_new(NULL, 1);
	struct lines_reader *r = lines_reader_new();
	struct line_test test = {.text = STR_NONE};
	struct line_filter f = {.tests = &test, .n = 1};
	struct lines_written written;
	struct template t = {.n_slots = 0};
	const struct template *pointer = &t;
	struct buf payload = {0};
	struct regex *regex;
	struct error e = {0};
	uint8_t verdict = MATCH_SOME;
	char line[64][100];
	uint32_t pick[64];
	int64_t time[64];
	size_t n = 64;

	(void)state;
	assert_int_equal(regex_new(&regex, STR("(a+)+$"), false, NULL), 0);
	test.regex = regex;
	for (uint32_t i = 0; i < 64; i++) {
		int length = snprintf(line[i], sizeof line[i],
			"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa! %u", i);
		pick[i] = i;
		time[i] = MODEL_TIME;
		lines_writer_add(w, str_make(line[i], (size_t)length), time[i]);
	}
	lines_writer_finish(w, &payload, &written);
	assert_int_equal(written.n_templates, 1);
	assert_int_equal(template_parse(&t, written.keys[0], NULL), 0);
	struct lines_source s = {.ctx = &payload,
		.read = model_read,
		.bytes = payload.n,
		.n_rows = 64,
		.templates = &pointer,
		.n_templates = 1,
		.timestamps = time};
	assert_int_equal(lines_open(r, &s, &e), 0);
	assert_int_equal(lines_filter(r, &f, 1, &verdict, pick, &n, &e), ERR_LIMIT);
	assert_non_null(strstr(e.text, "regular expression"));
	template_fini(&t);
	regex_free(regex);
	buf_fini(&payload);
	lines_reader_free(r);
	lines_writer_free(w);
}

static void add_up(void *ctx, enum lines_part part, uint32_t template, uint32_t slot,
	uint64_t stored, uint64_t raw)
{
	uint64_t *sum = ctx;

	(void)template;
	(void)slot;
	(void)raw;
	assert_true(part <= LINES_PLAIN);
	sum[part] += stored;
}

/* Nearly all bytes of a payload are accounted for; shares of shared chunks are rounded down. */
static void test_account(void **state)
{
	struct lines_reader *r = lines_reader_new();
	struct read_model m;
	uint64_t sum[LINES_PLAIN + 1] = {0}, all = 0;

	(void)state;
	model_make(&m, ROWS, 3);
	struct lines_source s = model_source(&m, &m.payload);
	assert_int_equal(lines_open(r, &s, NULL), 0);
	assert_int_equal(lines_account(r, add_up, sum, NULL), 0);
	for (int i = 0; i <= LINES_PLAIN; i++) {
		assert_true(sum[i] > 0);
		all += sum[i];
	}
	assert_true(all <= m.payload.n && all > m.payload.n * 95 / 100);
	lines_reader_free(r);
	model_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filter),
		cmocka_unit_test(test_frugal),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_budget),
		cmocka_unit_test(test_account),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
