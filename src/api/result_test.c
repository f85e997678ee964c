/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "api/result.c"

static struct buf text;

static const char *number(double v)
{
	struct query_sample s = {0, v};
	char *comma;

	buf_clear(&text);
	write_sample(&text, &s);
	comma = strchr(buf_cstr(&text), ',');
	comma[strlen(comma) - 2] = 0;
	return comma + 2;
}

static const char *seconds(int64_t ns)
{
	buf_clear(&text);
	write_seconds(&text, ns);
	return buf_cstr(&text);
}

static void floats_are_the_shortest_that_read_back(void **state)
{
	assert_string_equal(number(0), "0");
	assert_string_equal(number(2), "2");
	assert_string_equal(number(0.1), "0.1");
	assert_string_equal(number(-1.5), "-1.5");
	assert_string_equal(number(1.0 / 3), "0.3333333333333333");
	assert_string_equal(number(1e21), "1000000000000000000000");
	assert_string_equal(number(5e-45), "0.000000000000000000000000000000000000000000005");
	assert_string_equal(number(NAN), "NaN");
	assert_string_equal(number(INFINITY), "+Inf");
	assert_string_equal(number(-INFINITY), "-Inf");
}

static void times_are_seconds_with_milliseconds(void **state)
{
	assert_string_equal(seconds(4000000000), "4");
	assert_string_equal(seconds(1568404331324000000), "1568404331.324");
	assert_string_equal(seconds(1500000000), "1.5");
	assert_string_equal(seconds(0), "0");
}

/* Canonical bytes of `{name="value"}` text. */
static struct str labels_of(const char *s, struct buf *hold)
{
	struct labels_builder b = {0};

	assert_int_equal(labels_parse(&b, str_c(s), NULL), 0);
	labels_builder_write(&b, hold);
	labels_builder_fini(&b);
	return buf_view(hold);
}

static void entries_group_by_stream_in_order(void **state)
{
	struct buf a = {0}, b = {0}, m = {0}, out = {0};
	struct str la = labels_of("{app=\"a\"}", &a), lb = labels_of("{app=\"b\"}", &b),
		   meta = labels_of("{trace=\"t\"}", &m);
	struct query_entry entries[] = {
		{.timestamp = 3, .seq = 3, .labels = la, .line = STR("x\"y")},
		{.timestamp = 2, .seq = 2, .labels = lb, .meta = meta, .line = STR("two")},
		{.timestamp = 1, .seq = 1, .labels = la, .line = STR("one")},
	};
	struct query_result res = {.type = RESULT_STREAMS, .entries = entries, .n_entries = 3};
	struct query_params p = {0};

	write_streams(&out, &res, 0);
	assert_string_equal(buf_cstr(&out),
		"{\"stream\":{\"app\":\"a\"},\"values\":[[\"3\",\"x\\\"y\"],[\"1\",\"one\"]]},"
		"{\"stream\":{\"app\":\"b\",\"trace\":\"t\"},\"values\":[[\"2\",\"two\"]]}");
	buf_clear(&out);
	write_streams(&out, &res, ANSWER_CATEGORIZE);
	assert_string_equal(buf_cstr(&out),
		"{\"stream\":{\"app\":\"a\"},\"values\":[[\"3\",\"x\\\"y\",{}],[\"1\",\"one\",{}]]},"
		"{\"stream\":{\"app\":\"b\"},\"values\":[[\"2\",\"two\","
		"{\"structuredMetadata\":{\"trace\":\"t\"}}]]}");
	buf_clear(&out);
	write_streams(&out, &res, ANSWER_SEQUENCE);
	assert_string_equal(buf_cstr(&out),
		"{\"stream\":{\"app\":\"a\"},\"values\":[[\"3\",\"x\\\"y\",{\"seq\":3}],[\"1\",\"one\","
		"{\"seq\":1}]]},{\"stream\":{\"app\":\"b\",\"trace\":\"t\"},\"values\":[[\"2\",\"two\","
		"{\"seq\":2}]]}");
	buf_clear(&out);
	write_streams(&out, &res, ANSWER_CATEGORIZE | ANSWER_SEQUENCE);
	assert_true(str_find(buf_view(&out),
			    STR("{\"structuredMetadata\":{\"trace\":\"t\"},\"seq\":2}")) > 0);
	buf_clear(&out);
	api_write_result(&out, &res, &p, 0, "f.1.2.3");
	assert_true(str_find(buf_view(&out), STR("\"next\":\"f.1.2.3\"}")) > 0);
	buf_clear(&out);
	api_write_result(&out, &res, &p, ANSWER_PEERS, "");
	assert_true(str_find(buf_view(&out), STR(",\"peers\":true}")) > 0);
	buf_fini(&out);
	buf_fini(&a);
	buf_fini(&b);
	buf_fini(&m);
}

static void labels_merge_or_are_told_apart(void **state)
{
	struct buf hold[4] = {0}, out = {0};
	struct str app = labels_of("{app=\"a\", x=\"1\"}", &hold[0]),
		   meta = labels_of("{trace=\"t\", x=\"2\"}", &hold[1]),
		   parsed = labels_of("{code=\"5\", x=\"3\"}", &hold[2]),
		   all = labels_of("{app=\"a\", code=\"5\", trace=\"t\", x=\"3\"}", &hold[3]);
	/* The second is alike when all is merged. */
	struct query_entry entries[] = {
		{.timestamp = 2, .labels = app, .meta = meta, .parsed = parsed, .line = STR("two")},
		{.timestamp = 1, .nth = 1, .labels = all, .line = STR("one")},
	};
	struct query_result res = {
		.type = RESULT_STREAMS, .entries = entries, .n_entries = 2, .spread = true};

	write_streams(&out, &res, 0);
	assert_string_equal(buf_cstr(&out),
		"{\"stream\":{\"app\":\"a\",\"code\":\"5\",\"trace\":\"t\",\"x\":\"3\"},"
		"\"values\":[[\"2\",\"two\"],[\"1\",\"one\"]]}");
	buf_clear(&out);
	write_streams(&out, &res, ANSWER_CATEGORIZE | ANSWER_SEQUENCE);
	assert_true(str_starts(buf_view(&out),
		STR("{\"stream\":{\"app\":\"a\",\"x\":\"1\"},\"values\":[[\"2\",\"two\","
		    "{\"structuredMetadata\":{\"trace\":\"t\",\"x\":\"2\"},"
		    "\"parsed\":{\"code\":\"5\",\"x\":\"3\"},\"seq\":0,\"at\":0}]]}")));
	assert_true(str_find(buf_view(&out), STR("[\"1\",\"one\",{\"seq\":0,\"at\":1}]")) > 0);
	buf_fini(&out);
	for (size_t i = 0; i < 4; i++)
		buf_fini(&hold[i]);
}

static void a_matrix_lists_its_samples(void **state)
{
	struct buf a = {0}, out = {0};
	struct query_sample samples[] = {{1000000000, 1}, {2000000000, 2.5}};
	struct query_series series = {
		.labels = labels_of("{app=\"a\"}", &a), .samples = samples, .n = 2};
	struct query_result res = {.type = RESULT_MATRIX, .series = &series, .n_series = 1};

	write_series(&out, &res);
	assert_string_equal(
		buf_cstr(&out), "{\"metric\":{\"app\":\"a\"},\"values\":[[1,\"1\"],[2,\"2.5\"]]}");
	buf_fini(&out);
	buf_fini(&a);
}

static int finish(void **state)
{
	buf_fini(&text);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(floats_are_the_shortest_that_read_back),
		cmocka_unit_test(times_are_seconds_with_milliseconds),
		cmocka_unit_test(entries_group_by_stream_in_order),
		cmocka_unit_test(labels_merge_or_are_told_apart),
		cmocka_unit_test(a_matrix_lists_its_samples),
	};
	return cmocka_run_group_tests(tests, NULL, finish);
}
