/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "record/labels.h"

static int set(struct labels_builder *b, const char *name, const char *value)
{
	return labels_builder_set(b, str_c(name), str_c(value), NULL);
}

static void assert_text(struct str labels, const char *expected)
{
	struct buf out = {0};

	labels_text(&out, labels);
	assert_string_equal(buf_cstr(&out), expected);
	buf_fini(&out);
}

static void test_builder_sorts_and_the_last_value_wins(void **state)
{
	struct labels_builder b = {0};
	struct buf bytes = {0};
	struct str value;

	assert_int_equal(set(&b, "zone", "eu"), 0);
	assert_int_equal(set(&b, "app", "x"), 0);
	assert_int_equal(set(&b, "job", "j"), 0);
	assert_int_equal(set(&b, "app", "y"), 0);
	assert_int_equal(set(&b, "gone", "1"), 0);
	assert_int_equal(set(&b, "gone", ""), 0);
	assert_int_equal(set(&b, "never", ""), 0);
	assert_true(labels_builder_get(&b, STR("app"), &value));
	assert_true(str_eq(value, STR("y")));
	assert_false(labels_builder_get(&b, STR("gone"), &value));
	labels_builder_write(&b, &bytes);
	assert_int_equal(labels_check(buf_view(&bytes), NULL), 0);
	assert_memory_equal(bytes.p, "\3\3app\1y\3job\1j\4zone\2eu", bytes.n);
	assert_text(buf_view(&bytes), "{app=\"y\", job=\"j\", zone=\"eu\"}");
	assert_int_equal(labels_count(buf_view(&bytes)), 3);
	assert_true(labels_get(buf_view(&bytes), STR("zone"), &value));
	assert_true(str_eq(value, STR("eu")));
	assert_false(labels_get(buf_view(&bytes), STR("zon"), &value));

	labels_builder_clear(&b);
	buf_clear(&bytes);
	labels_builder_write(&b, &bytes);
	assert_int_equal(bytes.n, 1);
	assert_int_equal(labels_check(buf_view(&bytes), NULL), 0);
	assert_text(buf_view(&bytes), "{}");
	assert_text(STR_NONE, "{}");
	assert_int_equal(labels_count(STR_NONE), 0);
	labels_builder_fini(&b);
	buf_fini(&bytes);
}

static void test_any_order_gives_the_same_bytes(void **state)
{
	struct labels_builder b = {0};
	struct buf first = {0}, again = {0};
	int order[50];
	char name[8];

	for (int i = 0; i < 50; i++)
		order[i] = i;
	for (int round = 0; round < 100; round++) {
		for (int i = 0; i < 50; i++) {
			snprintf(name, sizeof name, "n%d", order[i]);
			assert_int_equal(set(&b, name, name), 0);
		}
		buf_clear(&again);
		labels_builder_write(&b, &again);
		if (round == 0)
			buf_str(&first, buf_view(&again));
		assert_true(str_eq(buf_view(&first), buf_view(&again)));
		labels_builder_clear(&b);
		for (int i = 49; i > 0; i--) {
			int other = rand() % (i + 1), kept = order[i];
			order[i] = order[other];
			order[other] = kept;
		}
	}
	labels_builder_fini(&b);
	buf_fini(&first);
	buf_fini(&again);
}

static void test_limits(void **state)
{
	struct labels_builder b = {0};
	struct buf bytes = {0};
	struct error e = {0};
	char *big = calloc(1, LABEL_VALUE_MAX + 1), name[16];

	memset(big, 'x', LABEL_VALUE_MAX + 1);
	assert_int_equal(labels_builder_set(&b, STR("1a"), STR("v"), &e), ERR_ARG);
	assert_string_equal(e.text,
		"label \"1a\": a name is made of letters, digits and _ and starts with no digit");
	assert_int_equal(labels_builder_set(&b, STR("a\nb\""), STR("v"), &e), ERR_ARG);
	assert_string_equal(e.text,
		"label \"a?b?\": a name is made of letters, digits and _ and starts with no digit");
	assert_int_equal(labels_builder_set(&b, STR_NONE, STR("v"), NULL), ERR_ARG);
	assert_int_equal(labels_builder_set(&b, STR("a"), str_make(big, LABEL_VALUE_MAX + 1), &e),
		ERR_LIMIT);
	assert_string_equal(
		e.text, "label \"a\": the value has 65537 bytes, at most 65536 are allowed");
	assert_int_equal(labels_builder_set(&b, str_make(big, LABEL_NAME_MAX + 1), STR("v"), NULL),
		ERR_LIMIT);
	assert_int_equal(labels_builder_set(&b, str_make(big, LABEL_NAME_MAX), STR("v"), NULL), 0);
	assert_int_equal(labels_builder_set(&b, STR("a"), str_make(big, LABEL_VALUE_MAX), NULL), 0);
	for (int i = 2; i < LABELS_MAX; i++) {
		snprintf(name, sizeof name, "n%d", i);
		assert_int_equal(set(&b, name, "v"), 0);
	}
	assert_int_equal(labels_builder_set(&b, STR("more"), STR("v"), &e), ERR_LIMIT);
	assert_string_equal(e.text, "label \"more\": at most 100 labels are allowed");
	assert_int_equal(set(&b, "a", "replaced"), 0);
	labels_builder_write(&b, &bytes);
	assert_int_equal(labels_check(buf_view(&bytes), NULL), 0);
	free(big);
	labels_builder_fini(&b);
	buf_fini(&bytes);
}

static void test_metadata_names_are_free(void **state)
{
	struct labels_builder b = {.names_free = true};
	struct buf bytes = {0};

	assert_int_equal(set(&b, "k8s.pod/name ä", "v"), 0);
	assert_int_equal(set(&b, "", "v"), ERR_ARG);
	labels_builder_write(&b, &bytes);
	assert_int_equal(labels_check(buf_view(&bytes), NULL), 0);
	labels_builder_fini(&b);
	assert_true(b.names_free);
	buf_fini(&bytes);
}

static void test_check_takes_only_what_write_makes(void **state)
{
	static const struct str bad[] = {
		STR_INIT(""), STR_INIT("\1"), STR_INIT("\0x"), STR_INIT("\1\1a"),
		STR_INIT("\1\1a\0"),                      /* empty value */
		STR_INIT("\1\0\1v"),                      /* empty name */
		STR_INIT("\2\1b\1v\1a\1v"),               /* order */
		STR_INIT("\2\1a\1v\1a\1w"),               /* twice */
		STR_INIT("\1\1a\1v\1"),                   /* after the end */
		STR_INIT("\x81\0\1a\1v"),                 /* count not shortest */
		STR_INIT("\1\x81\0a\1v"),                 /* length not shortest */
		STR_INIT("\1\1a\x81\x80\0v"),             /* three bytes for one */
		STR_INIT("\1\1a\xff\xff\xff\xff\xff\1v"), /* longer than 21 bits */
		STR_INIT("\x65"),                         /* 101 pairs */
		STR_INIT("\1\1a\5v"),                     /* cut value */
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(labels_check(bad[i], NULL), ERR_CORRUPT);
	assert_int_equal(labels_check(STR("\1\1a\1v"), NULL), 0);
}

static void assert_parses(const char *text, const char *expected)
{
	struct labels_builder b = {0};
	struct buf bytes = {0};
	struct error e = {0};

	if (labels_parse(&b, str_c(text), &e) < 0)
		fail_msg("%s: %s", text, e.text);
	labels_builder_write(&b, &bytes);
	assert_int_equal(labels_check(buf_view(&bytes), NULL), 0);
	assert_text(buf_view(&bytes), expected);
	labels_builder_fini(&b);
	buf_fini(&bytes);
}

static void test_parse(void **state)
{
	assert_parses("{}", "{}");
	assert_parses(" { } ", "{}");
	assert_parses("{a=\"b\"}", "{a=\"b\"}");
	assert_parses("{b=\"2\",a=\"1\",}", "{a=\"1\", b=\"2\"}");
	assert_parses("{ a = \"b\" , c\t=\n'd' }", "{a=\"b\", c=\"d\"}");
	assert_parses("{a=`raw \\n \"q\"`}", "{a=\"raw \\\\n \\\"q\\\"\"}");
	assert_parses("{a=`x\r\ny`}", "{a=\"x\\ny\"}");
	assert_parses("{a=\"\", b=\"x\"}", "{b=\"x\"}");
	assert_parses("{a=\"1\", a=\"2\"}", "{a=\"2\"}");
	assert_parses("{a=\"pre\\t\\\"mid\\\" post\"}", "{a=\"pre\\t\\\"mid\\\" post\"}");
	assert_parses("{a=\"\\x41\\101\\u00e4\\U0001f600\\a\\b\\f\\v\\r\\\\\"}",
		"{a=\"AAä😀\\a\\b\\f\\v\\r\\\\\"}");
	assert_parses("{a='it\\'s'}", "{a=\"it's\"}");
	assert_parses("{a=\"ä\xff\"}", "{a=\"ä\\xff\"}");
	assert_parses("{a=\"{b=\\\"c\\\"}\"}", "{a=\"{b=\\\"c\\\"}\"}");
}

static void test_quote_as_go_does(void **state)
{
	/* A soft hyphen, a zero-width space, a no-break space and a tag are not printable. */
	assert_parses("{a=\"\xc2\xad\xe2\x80\x8b\xc2\xa0\xf3\xa0\x80\x81\x7f\x01\"}",
		"{a=\"\\u00ad\\u200b\\u00a0\\U000e0001\\x7f\\x01\"}");
	assert_parses("{a=\"\xe2\x82\"}", "{a=\"\\xe2\\x82\"}");
}

static void assert_refused(const char *text, const char *sentence)
{
	struct labels_builder b = {0};
	struct error e = {0};

	assert_int_equal(labels_parse(&b, str_c(text), &e), ERR_ARG);
	assert_string_equal(e.text, sentence);
	labels_builder_fini(&b);
}

static void test_parse_says_the_column(void **state)
{
	assert_refused("", "column 1: expected {, got the end");
	assert_refused("a", "column 1: expected {, got 'a'");
	assert_refused("{", "column 2: expected a label name or }, got the end");
	assert_refused("{a}", "column 3: expected = after a label name, got '}'");
	assert_refused("{a=b}", "column 4: expected a quoted value, got 'b'");
	assert_refused("{a=\"b}", "column 7: expected the closing quote of a value, got the end");
	assert_refused(
		"{a=\"b\n\"}", "column 6: expected the closing quote of a value, got byte 0x0a");
	assert_refused("{a=`b}", "column 7: expected the closing ` of a string, got the end");
	assert_refused("{a=\"b\" c=\"d\"}", "column 8: expected , or }, got 'c'");
	assert_refused("{a=\"b\"} x", "column 9: expected nothing after }, got 'x'");
	assert_refused("{,}", "column 2: expected a label name or }, got ','");
	assert_refused("{a=\"\\q\"}", "column 6: unknown escape in a quoted string, got 'q'");
	assert_refused("{a=\"\\x4\"}", "column 8: a hexadecimal escape is cut, got '\"'");
	assert_refused("{a=\"\\400\"}",
		"column 9: an octal escape has three digits up to \\377, got '\"'");
	assert_refused(
		"{a=\"\\ud800\"}", "column 11: an escape names no Unicode character, got '\"'");
	assert_refused("{a=\"\\", "column 6: unknown escape in a quoted string, got the end");
	assert_refused("{1a=\"b\"}",
		"column 2: label \"1a\": a name is made of letters, digits and _ and starts with no "
		"digit");
}

static void test_json(void **state)
{
	struct labels_builder b = {0};
	struct buf bytes = {0}, out = {0};

	set(&b, "b", "q\"");
	set(&b, "a", "ä\xff");
	labels_builder_write(&b, &bytes);
	labels_json(&out, buf_view(&bytes));
	assert_string_equal(buf_cstr(&out), "{\"a\":\"ä\xef\xbf\xbd\",\"b\":\"q\\\"\"}");
	labels_builder_fini(&b);
	buf_fini(&bytes);
	buf_fini(&out);
}

static void test_write_at_once(void **state)
{
	static const struct str names[] = {STR_INIT("app"), STR_INIT("job"), STR_INIT("zone")};
	struct buf bytes = {0}, is_long = {0};
	struct str value;

	(void)state;
	labels_write(&bytes, names, (struct str[]){STR_NONE, STR_NONE, STR_NONE}, 3);
	assert_int_equal(bytes.n, 0);
	labels_write(&bytes, names, (struct str[]){STR("y"), STR_NONE, STR("eu")}, 3);
	assert_int_equal(labels_check(buf_view(&bytes), NULL), 0);
	assert_text(buf_view(&bytes), "{app=\"y\", zone=\"eu\"}");
	/* A value that is too long is cut at a character. */
	for (size_t i = 0; i < LABEL_VALUE_MAX - 1; i++)
		buf_char(&is_long, 'x');
	buf_c(&is_long, "é");
	buf_clear(&bytes);
	labels_write(&bytes, names, (struct str[]){STR_NONE, buf_view(&is_long), STR_NONE}, 3);
	assert_int_equal(labels_check(buf_view(&bytes), NULL), 0);
	assert_true(labels_get(buf_view(&bytes), STR("job"), &value));
	assert_int_equal(value.n, LABEL_VALUE_MAX - 1);
	buf_fini(&bytes);
	buf_fini(&is_long);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_builder_sorts_and_the_last_value_wins),
		cmocka_unit_test(test_any_order_gives_the_same_bytes),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_metadata_names_are_free),
		cmocka_unit_test(test_check_takes_only_what_write_makes),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_quote_as_go_does),
		cmocka_unit_test(test_parse_says_the_column),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_write_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
