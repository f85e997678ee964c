/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "codec/json.h"

static struct json_parser *parser;

static int setup(void **state)
{
	(void)state;
	parser = json_parser_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	json_parser_free(parser);
	return 0;
}

/* The nodes written out: s:text, n:text, {count …}, [count …]. */
static void show(const struct json *j, struct buf *out)
{
	for (size_t i = 0; i < j->n; i++) {
		const struct json_node *node = &j->nodes[i];
		buf_printf(out, "%s%c", i ? " " : "", "zftns[{"[node->type]);
		if (node->type >= JSON_ARRAY)
			buf_u64(out, node->inside);
		else if (node->type >= JSON_NUMBER)
			buf_printf(out, ":%.*s", STR_ARG(node->text));
	}
}

static void parses(const char *text, const char *want)
{
	struct buf out = {0};
	struct json j;
	struct error e = {0};

	if (json_parse(parser, str_c(text), &j, &e) < 0)
		fail_msg("%s: %s", text, e.text);
	show(&j, &out);
	assert_string_equal(buf_cstr(&out), want);
	buf_fini(&out);
}

static void refuses(struct str text, const char *want)
{
	struct json j;
	struct error e = {0};

	assert_int_equal(json_parse(parser, text, &j, &e), ERR_ARG);
	assert_string_equal(e.text, want);
}

#define REFUSES(text, what, at) refuses(STR(text), "bad JSON at byte " #at ": " what)

static void test_values(void **state)
{
	(void)state;
	parses("null", "z");
	parses(" true ", "t");
	parses("false\n", "f");
	parses("[]", "[0");
	parses("{}", "{0");
	parses("\"\"", "s:");
	parses("[1,[2,[]],{\"a\":{\"b\":null}}]", "[9 n:1 [2 n:2 [0 {4 s:a {2 s:b z");
	parses("{\"a\" : [ \"x\" , \"y\" ] ,\"b\":1}\r\n", "{6 s:a [2 s:x s:y s:b n:1");
}

static void test_numbers(void **state)
{
	(void)state;
	parses("[0,-0,1,-12,1.5,1e3,1E+3,1.25e-7]",
		"[8 n:0 n:-0 n:1 n:-12 n:1.5 n:1e3 n:1E+3 n:1.25e-7");
	parses("123456789012345678901234567890.10", "n:123456789012345678901234567890.10");
	parses("1787306400000000001", "n:1787306400000000001");
	REFUSES("01", "not a number", 0);
	REFUSES("[1,-]", "not a number", 3);
	REFUSES("[1.]", "not a number", 1);
	REFUSES("[.5]", "expected a value", 1);
	REFUSES("[1e]", "not a number", 1);
	REFUSES("[1e+]", "not a number", 1);
	REFUSES("[+1]", "expected a value", 1);
	REFUSES("[1x]", "not a number", 1);
	REFUSES("[1\"a\"]", "not a number", 1);
	REFUSES("[0x10]", "not a number", 1);
	REFUSES("[NaN]", "expected a value", 1);
	REFUSES("[1 2]", "expected ',' or ']'", 3);
}

static void test_strings(void **state)
{
	struct json j;

	(void)state;
	parses("\"\\\"\\\\\\/\\b\\f\\n\\r\\t|\"", "s:\"\\/\b\f\n\r\t|");
	parses("\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00z\"",
		"s:A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z");
	parses("\"\xc3\xa9\xe2\x82\xac\"", "s:\xc3\xa9\xe2\x82\xac");
	parses("[\"a\\\\\",\"b\\\\\\\"\", \"{[,:]}\"]", "[3 s:a\\ s:b\\\" s:{[,:]}");
	parses("{\"k\\n\":\"\\t\"}", "{2 s:k\n s:\t");
	assert_int_equal(json_parse(parser, STR("\"a\\u0000b\""), &j, NULL), 0);
	assert_true(str_eq(j.nodes[0].text, STR("a\0b")));
	REFUSES("\"\\ud83d\"", "half of a surrogate pair", 1);
	REFUSES("\"ab\\ude00\"", "half of a surrogate pair", 3);
	REFUSES("\"\\ud83d\\u0041\"", "half of a surrogate pair", 1);
	REFUSES("\"\\u12g4\"", "\\u needs four hexadecimal digits", 1);
	REFUSES("\"\\u12\"", "\\u needs four hexadecimal digits", 1);
	REFUSES("\"\\x41\"", "unknown escape in a string", 1);
	REFUSES("[\"a\nb\"]", "a control character in a string must be escaped", 3);
	REFUSES("[\"a\0b\"]", "a control character in a string must be escaped", 3);
	REFUSES("[\"abc]", "the string is not closed", 1);
	REFUSES("\"abc\\\"", "the string is not closed", 0);
	REFUSES("\"a\xff\"", "invalid UTF-8", 2);
	REFUSES("\"\xed\xa0\x80\"", "invalid UTF-8", 1);
	REFUSES("\"\xc0\x80\"", "invalid UTF-8", 1);
}

static void test_grammar(void **state)
{
	(void)state;
	refuses(STR_NONE, "bad JSON at byte 0: no value");
	REFUSES(" \n ", "no value", 0);
	REFUSES("{", "the object is not closed", 1);
	REFUSES("[", "the array is not closed", 1);
	REFUSES("[1", "the array or object is not closed", 2);
	REFUSES("[1,]", "expected a value", 3);
	REFUSES("[,1]", "expected a value", 1);
	REFUSES("{\"a\"}", "expected ':'", 4);
	REFUSES("{\"a\":}", "expected a value", 5);
	REFUSES("{\"a\":1,}", "expected a key", 7);
	REFUSES("{1:2}", "expected a key or '}'", 1);
	REFUSES("{\"a\" 1}", "expected ':'", 5);
	REFUSES("{\"a\":1]", "expected ',' or '}'", 6);
	REFUSES("[1}", "expected ',' or ']'", 2);
	REFUSES("]", "expected a value", 0);
	REFUSES("1 1", "more text after the value", 2);
	REFUSES("{} x", "more text after the value", 3);
	REFUSES("nul", "expected a value", 0);
	REFUSES("nullx", "expected a value", 0);
	REFUSES("[true\"a\"]", "expected a value", 1);
	REFUSES("[\"a\"true]", "expected ',' or ']'", 4);
	REFUSES("\\\"", "expected a value", 0);
	REFUSES("[1,\0]", "expected a value", 3);
	REFUSES("/* c */ 1", "expected a value", 0);
	REFUSES("\xef\xbb\xbf{}", "expected a value", 0);
}

static void test_depth(void **state)
{
	struct buf b = {0};
	struct json j;
	struct error e;

	(void)state;
	for (int depth = 63; depth < 67; depth++) {
		buf_clear(&b);
		for (int i = 0; i < depth; i++)
			buf_char(&b, '[');
		for (int i = 0; i < depth; i++)
			buf_char(&b, ']');
		assert_int_equal(
			json_parse(parser, buf_view(&b), &j, &e), depth <= 64 ? 0 : ERR_ARG);
		if (depth > 64)
			assert_string_equal(e.text, "bad JSON at byte 64: nested deeper than 64");
	}
	buf_clear(&b);
	for (int i = 0; i < 100000; i++)
		buf_c(&b, "{\"a\":[");
	assert_int_equal(json_parse(parser, buf_view(&b), &j, &e), ERR_ARG);
	buf_fini(&b);
}

static void test_get(void **state)
{
	struct json j;

	(void)state;
	assert_int_equal(
		json_parse(
			parser, STR("{\"a\":{\"b\":1},\"b\":[2,3],\"c\":\"x\",\"a\":4}"), &j, NULL),
		0);
	assert_true(str_eq(j.nodes[json_get(&j, 0, "a")].text, STR("4"))); /* the last one */
	assert_int_equal(j.nodes[json_get(&j, 0, "b")].inside, 2);
	assert_true(str_eq(j.nodes[json_get(&j, 0, "c")].text, STR("x")));
	assert_int_equal(json_get(&j, 0, "d"), 0);
	assert_int_equal(json_get(&j, json_get(&j, 0, "b"), "a"), 0);
}

/* Blocks of 64 bytes are where the first stage could lose a token. */
static void test_every_length(void **state)
{
	struct buf b = {0};
	struct json j;
	struct error e;

	(void)state;
	for (size_t pad = 0; pad < 200; pad++) {
		buf_clear(&b);
		buf_c(&b, "{\"key\":\"");
		for (size_t i = 0; i < pad; i++)
			buf_char(&b, i % 7 ? 'x' : '\\'), buf_c(&b, i % 7 ? "" : "\\");
		buf_c(&b, "\" , \"n\": -12.5e1 ,\"t\":true}");
		if (json_parse(parser, buf_view(&b), &j, &e) < 0)
			fail_msg("%zu: %s", pad, e.text);
		assert_int_equal(j.n, 7);
		assert_int_equal(j.nodes[2].text.n, pad);
		assert_true(str_eq(j.nodes[4].text, STR("-12.5e1")));
		for (size_t cut = 0; cut < b.n; cut++)
			assert_int_equal(json_parse(parser, str_make(b.p, cut), &j, &e), ERR_ARG);
	}
	buf_fini(&b);
}

static void test_large_then_small(void **state)
{
	struct buf b = {0};
	struct json j;

	(void)state;
	buf_char(&b, '[');
	for (int i = 0; i < 400000; i++)
		buf_printf(&b, "%s{\"n\":%d,\"s\":\"a\\tb\"}", i ? "," : "", i);
	buf_char(&b, ']');
	assert_int_equal(json_parse(parser, buf_view(&b), &j, NULL), 0);
	assert_int_equal(j.n, 1 + 400000 * 5);
	assert_true(str_eq(j.nodes[j.n - 3].text, STR("399999")));
	parses("[1]", "[1 n:1");
	buf_fini(&b);
}

static void test_charged(void **state)
{
	struct account a;
	struct json_parser *p;
	struct buf b = {0};
	struct json j;
	struct error e;

	(void)state;
	account_init(&a, "test", 1 << 20, NULL);
	p = json_parser_new_charged(&a);
	assert_int_equal(json_parse(p, STR("[1, {}]"), &j, &e), 0);
	assert_true(account_held(&a) > 0);
	buf_char(&b, '[');
	for (int i = 0; i < 60000; i++)
		buf_c(&b, "[],");
	buf_c(&b, "1]");
	/* 180 kB of text would make 1.4 MB of nodes. */
	assert_int_equal(json_parse(p, buf_view(&b), &j, &e), ERR_LIMIT);
	assert_non_null(strstr(e.text, "1048576 bytes of memory"));
	assert_int_equal(json_parse(p, STR("[1, 2]"), &j, &e), 0);
	assert_int_equal(j.n, 3);
	json_parser_free(p);
	assert_int_equal(account_held(&a), 0);
	/* Somebody else holds it: this may change. */
	assert_int_equal(account_charge(&a, 1 << 20), 0);
	p = json_parser_new_charged(&a);
	assert_int_equal(json_parse(p, STR("[1, 2]"), &j, &e), ERR_BUSY);
	account_release(&a, 1 << 20);
	assert_int_equal(json_parse(p, STR("[1, 2]"), &j, &e), 0);
	json_parser_free(p);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_grammar),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_get),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_large_then_small),
		cmocka_unit_test(test_charged),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
