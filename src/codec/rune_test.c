/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "codec/rune.h"

static struct str encoded(char to[RUNE_BYTES_MAX], uint32_t c)
{
	return str_make(to, rune_encode(to, c));
}

static void every_rune_comes_back(void **state)
{
	char bytes[RUNE_BYTES_MAX];
	size_t n;

	for (uint32_t c = 0; c <= 0x10ffff; c++) {
		struct str s;
		if (c >= 0xd800 && c < 0xe000)
			continue;
		s = encoded(bytes, c);
		assert_int_equal(str_utf8_valid(s), s.n);
		assert_int_equal(rune_first(s, &n), c);
		assert_int_equal(n, s.n);
		assert_int_equal(rune_last(s, &n), c);
		assert_int_equal(n, s.n);
	}
}

static void what_is_no_character_is_replaced(void **state)
{
	static const uint32_t bad[] = {0xd800, 0xdbff, 0xdc00, 0xdfff, 0x110000, UINT32_MAX};
	char bytes[RUNE_BYTES_MAX];
	struct buf b = {0};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_true(str_eq(encoded(bytes, bad[i]), STR("\xef\xbf\xbd")));
	rune_put(&b, 'a');
	rune_put(&b, 0xd800);
	rune_put(&b, 0x20ac);
	assert_true(str_eq(buf_view(&b), STR("a\xef\xbf\xbd\xe2\x82\xac")));
	buf_fini(&b);
}

static void a_byte_that_is_none_stands_alone(void **state)
{
	/* Alone, overlong, a surrogate, beyond Unicode, cut. */
	static const char *const bad[] = {
		"\x80", "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"};
	size_t n;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_int_equal(rune_first(str_c(bad[i]), &n), RUNE_ERROR);
		assert_int_equal(n, 1);
		assert_int_equal(rune_count(str_c(bad[i])), strlen(bad[i]));
	}
}

static void counts_and_cuts(void **state)
{
	struct str s = STR("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z"); /* 1 2 3 4 1 bytes */
	static const size_t fits[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};

	size_t n;

	assert_int_equal(rune_count(s), 5);
	assert_int_equal(rune_count(STR_NONE), 0);
	assert_int_equal(rune_prefix(s, 3).n, 6);
	assert_int_equal(rune_prefix(s, 0).n, 0);
	assert_int_equal(rune_prefix(s, 99).n, s.n);
	for (size_t most = 0; most < sizeof fits / sizeof *fits; most++)
		assert_int_equal(rune_fit(s, most).n, fits[most]);
	assert_int_equal(rune_fit(STR_NONE, 0).n, 0);
	assert_int_equal(rune_last(STR("z\x80"), &n), RUNE_ERROR);
	assert_int_equal(n, 1);
	/* Bytes that continue nothing can be cut anywhere: a cut always gets on. */
	assert_int_equal(rune_fit(STR("\x80\x80\x80\x80\x80\x80"), 5).n, 5);
	assert_int_equal(rune_fit(STR("\x80\x80"), 1).n, 1);
}

static void classes(void **state)
{
	assert_true(rune_is_space(0xa0) && rune_is_space('\t') && !rune_is_space('a'));
	assert_true(rune_is_letter('z') && !rune_is_letter('1'));
	assert_true(rune_is_digit('9') && !rune_is_digit('a'));
	assert_true(rune_is_print(' ') && !rune_is_print(0x7f) && !rune_is_print(0x200b));
	assert_int_equal(rune_upper('a'), 'A');
	assert_int_equal(rune_lower('A'), 'a');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_rune_comes_back),
		cmocka_unit_test(what_is_no_character_is_replaced),
		cmocka_unit_test(a_byte_that_is_none_stands_alone),
		cmocka_unit_test(counts_and_cuts),
		cmocka_unit_test(classes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
