/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/container.h"

static void test_cri(void **state)
{
	static const char *const bad[] = {"", "x", "2026-08-21T10:00:00Z",
		"2026-08-21T10:00:00Z stdout", "2026-08-21T10:00:00Z stdout F",
		"2026-08-21T10:00:00Z stdin F x", "2026-08-21T10:00:00Z stdout X x",
		"2026-13-21T10:00:00Z stdout F x", "2026-08-21 10:00:00Z stdout F x",
		" 2026-08-21T10:00:00Z stdout F x"};
	struct container_line l;

	(void)state;
	assert_true(cri_decode(STR("2026-08-21T10:00:00.25+02:00 stderr P:tag  a b "), &l));
	assert_true(l.partial && l.stream == STREAM_STDERR && str_eq(l.text, STR(" a b ")));
	assert_int_equal(l.time, INT64_C(1787299200250000000));
	assert_int_equal(l.head, 42);
	assert_true(cri_decode(STR("2026-08-21T10:00:00Z stdout F "), &l));
	assert_true(!l.partial && l.text.n == 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(cri_decode(str_c(bad[i]), &l));
}

static void collect(void *arg, struct str name, struct str value)
{
	buf_printf(arg, "%.*s=%.*s;", STR_ARG(name), STR_ARG(value));
}

static void test_docker(void **state)
{
	static const char *const bad[] = {"", "{", "{}", "[]", "{\"log\":1}", "{\"log\":\"a\"",
		"{\"log\":\"a\"}x", "{\"log\":\"a\\\"}", "{\"log\":\"\\x\"}", "{\"log\":\"\\u12\"}",
		"{\"log\":\"a\",}", "{\"log\":\"a\",\"log\":\"b\"}", "{\"log\":\"a\",\"attrs\":{}",
		"{\"log\":\"\t\"}", "{\"stream\":\"stdout\"}", "{\"log\":\"a\" \"b\":1}"};
	struct buf into = {0}, attrs = {0};
	struct container_line l;

	(void)state;
	assert_true(docker_decode(
		STR("{\"log\":\"a\\u00e4\\ud83d\\ude00\\ud83d\\/\\b\\f\\t\\r\\n\",\"x\":[{\"y\":\"}\"}],"
		    "\"stream\":\"stdout\",\"attrs\":{\"a\":\"1\",\"n\":2,\"b\\n\":\"\\\"\"},"
		    "\"time\":\"2026-08-21T10:00:00.000000001Z\"}"),
		&into, &l));
	assert_true(str_eq(l.text, STR("a\xc3\xa4\xf0\x9f\x98\x80\xef\xbf\xbd/\b\f\t\r\n")));
	assert_false(l.partial);
	assert_int_equal(l.stream, STREAM_STDOUT);
	assert_int_equal(l.time, INT64_C(1787306400000000001));
	docker_attrs(l.attrs, &into, collect, &attrs);
	assert_string_equal(buf_cstr(&attrs), "a=1;b\n=\";");
	assert_true(docker_decode(STR("{\"log\":\"\"}"), &into, &l));
	assert_true(l.partial && l.stream == STREAM_NONE && l.time_text.n == 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		size_t n = into.n;

		assert_false(docker_decode(str_c(bad[i]), &into, &l));
		assert_int_equal(into.n, n);
	}
	buf_fini(&into);
	buf_fini(&attrs);
}

static void expect_escaped(unsigned manner, const char *expected)
{
	struct buf out = {0};

	json_escape(
		STR("a\"\\\n\r\t\b\f\x01<>&\xe2\x80\xa8\xe2\x80\xa9\xe2\x82\xac\xef\xbf\xbd\x7f\xe2"),
		manner, &out);
	assert_string_equal(buf_cstr(&out), expected);
	buf_fini(&out);
}

static void test_escape(void **state)
{
	(void)state;
	expect_escaped(0,
		"a\\\"\\\\\\n\\r\\u0009\\u0008\\u000c\\u0001\\u003c\\u003e\\u0026\\u2028\\u2029"
		"\xe2\x82\xac\xef\xbf\xbd\x7f\xe2");
	expect_escaped(JSON_SHORT | JSON_PLAIN | JSON_REPLACED,
		"a\\\"\\\\\\n\\r\\t\\b\\f\\u0001<>&\xe2\x80\xa8\xe2\x80\xa9\xe2\x82\xac\\ufffd\x7f\xe2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cri),
		cmocka_unit_test(test_docker),
		cmocka_unit_test(test_escape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
