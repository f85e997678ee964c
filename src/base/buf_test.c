/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

static void grows(void **state)
{
	struct buf b = {0};

	assert_int_equal(buf_view(&b).n, 0);
	assert_non_null(buf_reserve(&b, 0));
	for (int i = 0; i < 100000; i++)
		buf_char(&b, (char)i);
	assert_int_equal(b.n, 100000);
	assert_true(b.cap < 200000);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(b.p[i], (char)i);
	buf_clear(&b);
	assert_int_equal(b.n, 0);
	assert_true(b.cap >= 100000);
	buf_fini(&b);
	assert_null(b.p);
	assert_int_equal(b.cap, 0);
}

static void puts_nothing(void **state)
{
	struct buf b = {0};

	buf_put(&b, NULL, 0);
	buf_str(&b, STR_NONE);
	buf_c(&b, "");
	buf_shift(&b, 0);
	assert_int_equal(b.n, 0);
	assert_string_equal(buf_cstr(&b), "");
	assert_int_equal(b.n, 0);
	buf_fini(&b);
}

static void prints(void **state)
{
	struct buf b = {0};

	/* Around the first reservation, where the text has to be made twice. */
	for (int n = 0; n < 300; n++) {
		buf_fini(&b);
		buf_printf(&b, "%*s", n, "");
		buf_printf(&b, "<%d>", n);
		assert_int_equal(b.n, (size_t)n + (n > 99 ? 5 : n > 9 ? 4 : 3));
		assert_int_equal(b.p[b.n - 1], '>');
	}
	buf_fini(&b);
}

static void prints_numbers(void **state)
{
	struct buf b = {0};

	buf_u64(&b, 0);
	buf_char(&b, ' ');
	buf_u64(&b, 10);
	buf_char(&b, ' ');
	buf_u64(&b, UINT64_MAX);
	assert_string_equal(buf_cstr(&b), "0 10 18446744073709551615");
	buf_fini(&b);
}

static void shifts_and_moves(void **state)
{
	struct buf b = {0}, taken;

	buf_c(&b, "hello");
	buf_shift(&b, 2);
	assert_string_equal(buf_cstr(&b), "llo");
	buf_shift(&b, 3);
	assert_int_equal(b.n, 0);
	buf_c(&b, "x");
	taken = buf_take(&b);
	assert_null(b.p);
	assert_int_equal(b.n + b.cap, 0);
	assert_true(str_eq(buf_view(&taken), STR("x")));
	buf_fini(&taken);
}

static void check_json(struct str in, const char *expect)
{
	struct buf b = {0};

	buf_json(&b, in);
	assert_string_equal(buf_cstr(&b), expect);
	buf_fini(&b);
}

static void escapes_json(void **state)
{
	check_json(STR_NONE, "\"\"");
	check_json(STR("a\"b\\c/"), "\"a\\\"b\\\\c/\"");
	check_json(STR("\b\t\n\f\r\v"), "\"\\b\\t\\n\\f\\r\\u000b\"");
	check_json(STR("\0x\x1f\x7f"), "\"\\u0000x\\u001f\x7f\"");
	check_json(STR("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
		"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
	check_json(STR("a\xff\"b"), "\"a\xef\xbf\xbd\\\"b\"");
	/* A character cut off at the end: one U+FFFD for each byte. */
	check_json(STR("x\xe2\x82"), "\"x\xef\xbf\xbd\xef\xbf\xbd\"");
	/* A surrogate is no UTF-8. */
	check_json(STR("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

/* Undo the escapes; fails on anything that may not stand inside a JSON string. */
static void unescape(struct str json, struct buf *out)
{
	assert_true(json.n >= 2 && json.p[0] == '"' && json.p[json.n - 1] == '"');
	for (size_t i = 1; i < json.n - 1; i++) {
		unsigned code;
		const char *letter;
		assert_true((unsigned char)json.p[i] >= 0x20 && json.p[i] != '"');
		if (json.p[i] != '\\') {
			buf_char(out, json.p[i]);
			continue;
		}
		i++;
		if (json.p[i] == 'u') {
			assert_int_equal(sscanf(json.p + i + 1, "%4x", &code), 1);
			assert_true(code < 0x20);
			buf_char(out, (char)code);
			i += 4;
			continue;
		}
		letter = strchr("\"\"\\\\b\bt\tn\nf\fr\r", json.p[i]);
		assert_non_null(letter);
		buf_char(out, letter[1]);
	}
}

static void json_takes_any_bytes(void **state)
{
	struct buf json = {0}, back = {0};
	char in[40];

	srandom(1);
	for (int round = 0; round < 20000; round++) {
		size_t n = (size_t)random() % sizeof in;
		bool ascii = round % 2;
		for (size_t i = 0; i < n; i++)
			in[i] = (char)(ascii ? random() % 128 : random() % 256);
		buf_clear(&json);
		buf_clear(&back);
		buf_json(&json, str_make(in, n));
		assert_int_equal(str_utf8_valid(buf_view(&json)), json.n);
		unescape(buf_view(&json), &back);
		if (str_utf8_valid(str_make(in, n)) == n)
			assert_true(str_eq(buf_view(&back), str_make(in, n)));
	}
	buf_fini(&json);
	buf_fini(&back);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows),
		cmocka_unit_test(puts_nothing),
		cmocka_unit_test(prints),
		cmocka_unit_test(prints_numbers),
		cmocka_unit_test(shifts_and_moves),
		cmocka_unit_test(escapes_json),
		cmocka_unit_test(json_takes_any_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
