/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "net/url.h"
#include "query/pages.h"
#include "store/lines/template.h"

static struct str labels_of(const char *text)
{
	struct labels_builder b = {0};
	struct buf out = {0};
	struct error e;

	assert_int_equal(labels_parse(&b, str_c(text), &e), 0);
	labels_builder_write(&b, &out);
	labels_builder_fini(&b);
	return buf_view(&out);
}

static struct buf make_rows(struct str labels)
{
	struct batch_builder *b = batch_builder_new(STR("default"), STR("scan"), 0);
	uint32_t stream = batch_builder_stream(b, labels);
	struct buf out = {0};
	struct batch *made;
	struct error e;

	for (int i = 0; i < 3; i++)
		assert_int_equal(batch_builder_add(b,
					 &(struct record){.timestamp = 10 - i,
						 .body = STR("a line"),
						 .position = (uint64_t)i + 7,
						 .stream = stream},
					 &e),
			0);
	made = batch_builder_finish(b, 0);
	buf_str(&out, batch_bytes(made));
	batch_unref(made);
	batch_builder_free(b);
	return out;
}

/* A page of three rows and two counts, one of which has a template. */
static struct buf make_page(bool packed)
{
	struct template_table *table = template_table_new();
	struct str labels = labels_of("{a=\"b\"}"), line = STR("took 12 ms");
	struct token tokens[TOKEN_SLOTS_MAX];
	uint64_t hash = 0;
	int n = tokens_of(line, tokens, &hash);
	uint32_t id = template_table_put(table, line, tokens, (size_t)n, hash);
	const struct template *templates[] = {template_table_get(table, id)};
	const struct row_count list[] = {
		{.template = 0,
			.severity = 9,
			.level_detected = 1,
			.min_ns = -5,
			.max_ns = 7,
			.rows = 3,
			.bytes = 99},
		{.template = ROWS_NO_TEMPLATE, .min_ns = INT64_MIN, .max_ns = INT64_MAX, .rows = 1},
	};
	const char *const warnings[] = {"one\nthing", "another"};
	struct page_head head = {.instance = "0123456789abcdef",
		.more = true,
		.next_ns = -3,
		.next_seq = 44,
		.stats = {.units = 5, .templates_whole = 6},
		.warnings = warnings,
		.n_warnings = 2};
	struct buf rows = make_rows(labels), counts = {0}, out = {0};

	page_counts_write(&counts, &(struct row_counts){.n = 2,
					   .counts = list,
					   .streams = &labels,
					   .n_streams = 1,
					   .templates = templates,
					   .n_templates = 1});
	page_write(&out, &head,
		&(struct page_payload){.rows = buf_view(&rows), .counts = buf_view(&counts)},
		packed);
	buf_fini(&rows);
	buf_fini(&counts);
	free((void *)labels.p);
	template_table_free(table);
	return out;
}

static void comes_back(bool packed)
{
	struct buf bytes = make_page(packed);
	const struct row_count *c;
	struct page p;
	struct error e;

	assert_int_equal(page_read(&p, &bytes, 1 << 20, &e), 0);
	assert_null(bytes.p);
	assert_string_equal(p.instance, "0123456789abcdef");
	assert_true(p.more);
	assert_int_equal(p.next_ns, -3);
	assert_int_equal(p.next_seq, 44);
	assert_int_equal(p.stats.units, 5);
	assert_int_equal(p.stats.templates_whole, 6);
	assert_int_equal(p.n_warnings, 2);
	assert_true(str_eq(p.warnings[0], STR("one thing")));
	assert_int_equal(batch_count(p.rows), 3);
	assert_int_equal(batch_record(p.rows, 2).position, 9);
	assert_int_equal(p.counts.n, 2);
	c = p.counts.counts;
	assert_int_equal(c[0].template, 0);
	assert_int_equal(c[0].severity, 9);
	assert_int_equal(c[0].level_detected, 1);
	assert_int_equal(c[0].min_ns, -5);
	assert_int_equal(c[0].max_ns, 7);
	assert_int_equal(c[0].bytes, 99);
	assert_int_equal(c[1].template, ROWS_NO_TEMPLATE);
	assert_true(c[1].min_ns == INT64_MIN && c[1].max_ns == INT64_MAX);
	page_fini(&p);
}

static void test_page_comes_back(void **state)
{
	(void)state;
	comes_back(false);
	comes_back(true);
}

/* Cut anywhere, or with any byte turned: refused, or at least whole; never read beyond. */
static void test_damage(void **state)
{
	struct buf whole = make_page(false);
	struct error e;
	struct page p;

	(void)state;
	for (size_t n = 0; n < whole.n; n++) {
		struct buf cut = {0};
		buf_str(&cut, str_sub(buf_view(&whole), 0, n));
		assert_true(page_read(&p, &cut, 1 << 20, &e) < 0);
		page_fini(&p);
	}
	for (size_t i = 0; i < whole.n; i++) {
		struct buf turned = {0};
		buf_str(&turned, buf_view(&whole));
		turned.p[i] ^= 0x41;
		page_read(&p, &turned, 1 << 20, &e);
		page_fini(&p);
	}
	buf_fini(&whole);
}

static void test_limits(void **state)
{
	static const struct {
		struct str text;
		int code;
	} cases[] = {
		{STR_INIT("<html>no sawlog</html>"), ERR_UNSUPPORTED},
		{STR_INIT("sawlog-scan 2\ninstance a\n\n"), ERR_UNSUPPORTED},
		{STR_INIT("sawlog-scan 1\nrows 99999999999\ncounts 0\n\n"), ERR_LIMIT},
		{STR_INIT("sawlog-scan 1\nrows 0\ncounts 18446744073709551615\n\n"), ERR_LIMIT},
		{STR_INIT("sawlog-scan 1\nrows 8\ncounts 0\n\n"), ERR_CORRUPT},
		{STR_INIT("sawlog-scan 1\ninstance 0123456789abcdef0\n\n"), ERR_CORRUPT},
		{STR_INIT("sawlog-scan 1\ninstance 0123456789abcdeF\n\n"), ERR_CORRUPT},
		{STR_INIT("sawlog-scan 1\nnext 1\n\n"), ERR_CORRUPT},
		/* One count of an empty set of labels: of severity 24, and of 25. */
		{STR_INIT("sawlog-scan 1\nrows 0\ncounts 13\n\n\1\1\0\0\1\0\0\30\0\0\0\1\0"), 0},
		{STR_INIT("sawlog-scan 1\nrows 0\ncounts 13\n\n\1\1\0\0\1\0\0\31\0\0\0\1\0"),
			ERR_CORRUPT},
		{STR_INIT("sawlog-scan 1\nrows 0\ncounts 5\n\n\xff\xff\xff\xff\x0f"), ERR_CORRUPT},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf body = {0};
		struct error e;
		struct page p;

		buf_str(&body, cases[i].text);
		assert_int_equal(page_read(&p, &body, 1 << 20, &e), cases[i].code);
		page_fini(&p);
	}
}

struct place {
	int64_t time;
	uint64_t seq;
};

/* Is a page of these rows, whose next one is to resume at `next`, an answer to q? */
static int checked(
	const struct page_request *q, const struct place *rows, size_t n, const struct place *next)
{
	struct batch_builder *bb = batch_builder_new(STR("t"), STR("scan"), 0);
	struct str labels = labels_of("{app=\"x\"}");
	uint32_t stream = batch_builder_stream(bb, labels);
	struct page_head head = {.instance = "a", .more = next != NULL};
	struct batch *batch = NULL;
	struct buf bytes = {0};
	struct page p;
	struct error e;
	int r;

	if (next) {
		head.next_ns = next->time;
		head.next_seq = next->seq;
	}
	for (size_t i = 0; i < n; i++) {
		struct record x = {
			.timestamp = rows[i].time, .position = rows[i].seq, .stream = stream};
		assert_int_equal(batch_builder_add(bb, &x, &e), 0);
	}
	batch = n ? batch_builder_finish(bb, 0) : NULL;
	page_write(&bytes, &head,
		&(struct page_payload){.rows = batch ? batch_bytes(batch) : STR_NONE}, false);
	batch_unref(batch);
	batch_builder_free(bb);
	free((void *)labels.p);
	assert_int_equal(page_read(&p, &bytes, 1 << 20, &e), 0);
	r = page_check(&p, q, &e);
	page_fini(&p);
	return r;
}

/* A peer that answers something else than the question would be told twice, or asked for ever. */
static void test_pages_go_on(void **state)
{
	static const struct place down[] = {{9, 4}, {9, 3}, {7, 8}}, up[] = {{7, 8}, {9, 3}};
	const struct page_request newest = {.rows = 10}, oldest = {.rows = 10, .forward = true};
	struct page_request q = newest;

	(void)state;
	assert_int_equal(checked(&newest, down, 3, NULL), 0);
	assert_int_equal(checked(&newest, down, 3, &down[2]), 0);
	assert_int_equal(checked(&newest, down, 3, &down[1]), ERR_CORRUPT);
	assert_int_equal(checked(&newest, down, 3, &(struct place){1, 1}), ERR_CORRUPT);
	assert_int_equal(checked(&newest, up, 2, NULL), ERR_CORRUPT);
	assert_int_equal(checked(&oldest, up, 2, &up[1]), 0);
	assert_int_equal(checked(&oldest, down, 3, NULL), ERR_CORRUPT);
	assert_int_equal(checked(&newest, NULL, 0, NULL), 0);
	assert_int_equal(checked(&newest, NULL, 0, &down[0]), ERR_CORRUPT);
	q.resume = true;
	q.resume_ns = 9;
	q.resume_seq = 5;
	assert_int_equal(checked(&q, down, 3, &down[2]), 0);
	q.resume_seq = 4;
	assert_int_equal(checked(&q, down, 3, &down[2]), ERR_CORRUPT);
	assert_int_equal(checked(&q, down + 1, 2, &down[2]), 0);
}

static void test_unknown_lines_pass(void **state)
{
	struct buf body = {0};
	struct error e;
	struct page p;

	(void)state;
	buf_c(&body, "sawlog-scan 1\nfrom the future\nstats 1 2\nrows 0\ncounts 0\n\n");
	assert_int_equal(page_read(&p, &body, 1 << 20, &e), 0);
	assert_int_equal(p.stats.units, 1);
	assert_int_equal(p.stats.units_read, 2);
	assert_null(p.rows);
	assert_false(p.more);
	page_fini(&p);
}

static void test_buckets(void **state)
{
	const struct scan_buckets b = {true, 10, {3, 7}}, one = {true, 0, {0, 0}};
	int64_t at[2];

	(void)state;
	assert_true(buckets_same(&b, 3, 6));
	assert_false(buckets_same(&b, 6, 7));
	assert_true(buckets_same(&b, 7, 12));
	assert_false(buckets_same(&b, 12, 13));
	assert_true(buckets_same(&b, -7, -4));
	assert_false(buckets_same(&b, -8, -7));
	assert_true(buckets_same(&one, INT64_MIN, INT64_MAX));
	buckets_of(&b, INT64_MIN, at);
	buckets_of(&b, INT64_MAX, at);
}

/* Texts come through the form as they are. */
static void test_request_form(void **state)
{
	const struct str ids[] = {STR_INIT("a&b=c"), STR_INIT("\x01 %")};
	const struct page_request q = {.query = STR("{a=\"x&y\"} |= \"+ %\""),
		.from_ns = INT64_MIN,
		.to_ns = 5,
		.counts = true,
		.buckets = {true, 10, {1, 2}},
		.resume = true,
		.resume_ns = -1,
		.resume_seq = 2,
		.ids = ids,
		.n_ids = 2};
	struct url_params params = {0};
	struct buf form = {0};
	struct error e;

	(void)state;
	page_request_write(&q, &form);
	assert_int_equal(url_params_add(&params, buf_view(&form), &e), 0);
	assert_true(str_eq(url_params_get(&params, STR("query"), 0)->value, q.query));
	assert_true(
		str_eq_c(url_params_get(&params, STR("from"), 0)->value, "-9223372036854775808"));
	assert_true(str_eq_c(url_params_get(&params, STR("buckets"), 0)->value, "10.1.2"));
	assert_true(str_eq_c(url_params_get(&params, STR("resume"), 0)->value, "-1.2"));
	assert_true(str_eq(url_params_get(&params, STR("message_id"), 0)->value, ids[0]));
	assert_true(str_eq(url_params_get(&params, STR("message_id"), 1)->value, ids[1]));
	assert_null(url_params_get(&params, STR("strict"), 0));
	url_params_fini(&params);
	buf_fini(&form);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page_comes_back),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_pages_go_on),
		cmocka_unit_test(test_unknown_lines_pass),
		cmocka_unit_test(test_buckets),
		cmocka_unit_test(test_request_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
