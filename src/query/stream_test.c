/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "query/source_test.h"

static const char *const stream_texts[] = {
	"{app=\"b\", host=\"h2\"}", "{app=\"a\", host=\"h1\"}", "{zone=\"z\", app=\"a\"}", "{}"};

struct fixture {
	struct test_source t;
	struct test_record records[4];
	struct str streams[4];
};

static void init(struct fixture *f)
{
	*f = (struct fixture){.t = test_source_make()};
	for (uint32_t i = 0; i < 4; i++) {
		f->streams[i] = test_labels(stream_texts[i]);
		f->records[i] =
			(struct test_record){.timestamp = i * 10, .seq = i + 1, .stream = i};
	}
	f->t.records = f->records;
	f->t.streams = f->streams;
	f->t.n = f->t.n_streams = 4;
}

static void fini(struct fixture *f)
{
	for (size_t i = 0; i < 4; i++)
		free((void *)f->streams[i].p);
}

static void emit(void *ctx, struct str s)
{
	buf_str(ctx, s);
	buf_char(ctx, ' ');
}

static void emit_labels(void *ctx, struct str labels)
{
	labels_text(ctx, labels);
	buf_char(ctx, ' ');
}

/* `name` NULL: names.  `selector` NULL: all. */
static void check_values(struct fixture *f, int64_t from, int64_t to, const char *selector,
	const char *name, const char *want)
{
	struct query *q = NULL;
	struct selectors match = {.queries = &q, .n = selector ? 1 : 0};
	struct buf got = {0};

	if (selector)
		assert_int_equal(query_parse(&q, str_c(selector), NULL), 0);
	if (name)
		assert_int_equal(source_label_values(&f->t.source, STR("t"), from, to, &match,
					 str_c(name), emit, &got, NULL),
			0);
	else
		assert_int_equal(source_label_names(&f->t.source, STR("t"), from, to, &match, emit,
					 &got, NULL),
			0);
	assert_string_equal(buf_cstr(&got), want);
	buf_fini(&got);
	query_free(q);
}

static void values(void **state)
{
	struct fixture f;

	(void)state;
	init(&f);
	check_values(&f, 0, 100, NULL, NULL, "app host zone ");
	check_values(&f, 0, 20, NULL, NULL, "app host ");
	check_values(&f, 30, 100, NULL, NULL, "");
	check_values(&f, 0, 100, "{app=\"a\"}", NULL, "app host zone ");
	check_values(&f, 0, 100, "{zone=\"\"}", NULL, "app host ");
	check_values(&f, 0, 100, NULL, "app", "a b ");
	check_values(&f, 0, 100, NULL, "host", "h1 h2 ");
	check_values(&f, 0, 100, "{app=~\"a|c\"}", "host", "h1 ");
	check_values(&f, 0, 100, NULL, "none", "");
	fini(&f);
}

static void series(void **state)
{
	struct query *queries[2] = {0};
	struct selectors match = {.queries = queries, .n = 2};
	struct fixture f;
	struct buf got = {0};

	(void)state;
	init(&f);
	assert_int_equal(
		source_series(&f.t.source, STR("t"), 0, 100, NULL, emit_labels, &got, NULL), 0);
	assert_string_equal(buf_cstr(&got),
		"{} {app=\"a\", host=\"h1\"} {app=\"a\", zone=\"z\"} {app=\"b\", host=\"h2\"} ");
	buf_clear(&got);
	assert_int_equal(query_parse(&queries[0], STR("{host=\"h1\"}"), NULL), 0);
	assert_int_equal(query_parse(&queries[1], STR("{app=\"b\"}"), NULL), 0);
	assert_int_equal(
		source_series(&f.t.source, STR("t"), 0, 100, &match, emit_labels, &got, NULL), 0);
	assert_string_equal(buf_cstr(&got), "{app=\"a\", host=\"h1\"} {app=\"b\", host=\"h2\"} ");
	buf_clear(&got);
	assert_int_equal(
		source_series(&f.t.source, STR("u"), 0, 100, NULL, emit_labels, &got, NULL), 0);
	assert_string_equal(buf_cstr(&got), "");
	f.t.fail = ERR_IO;
	assert_int_equal(
		source_series(&f.t.source, STR("t"), 0, 100, NULL, emit_labels, &got, NULL),
		ERR_IO);
	assert_string_equal(buf_cstr(&got), "");
	buf_fini(&got);
	query_free(queries[0]);
	query_free(queries[1]);
	fini(&f);
}

/* What is held is charged, also without selectors, and given back. */
static void memory(void **state)
{
	enum { MANY = 20000 };
	static struct test_record records[MANY];
	static struct str streams[MANY];
	struct account a;
	struct selectors match = {.account = &a};
	struct test_source t = test_source_make();
	struct buf got = {0};
	struct error e;

	(void)state;
	for (uint32_t i = 0; i < MANY; i++) {
		char text[40];
		snprintf(text, sizeof text, "{app=\"a\", pod=\"%05u\"}", i);
		streams[i] = test_labels(text);
		records[i] = (struct test_record){.timestamp = 1, .seq = i + 1, .stream = i};
	}
	t.records = records;
	t.streams = streams;
	t.n = t.n_streams = MANY;
	account_init(&a, "queries", 2 << 20, NULL);
	assert_int_equal(
		source_series(&t.source, STR("t"), 0, 100, &match, emit, &got, &e), ERR_LIMIT);
	assert_non_null(strstr(e.text, "do not fit"));
	assert_int_equal(got.n, 0);
	assert_int_equal(account_held(&a), 0);
	assert_int_equal(source_label_values(
				 &t.source, STR("t"), 0, 100, &match, STR("app"), emit, &got, &e),
		0);
	assert_string_equal(buf_cstr(&got), "a ");
	buf_clear(&got);
	account_init(&a, "queries", 32 << 20, NULL);
	assert_int_equal(source_series(&t.source, STR("t"), 0, 100, &match, emit, &got, &e), 0);
	assert_true(got.n > MANY * (size_t)10);
	assert_int_equal(account_held(&a), 0);
	buf_fini(&got);
	for (size_t i = 0; i < MANY; i++)
		free((void *)streams[i].p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values),
		cmocka_unit_test(series),
		cmocka_unit_test(memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
