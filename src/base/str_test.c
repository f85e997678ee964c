/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/str.h"

static void compares(void **state)
{
	assert_true(str_cmp(STR("a"), STR("b")) < 0);
	assert_true(str_cmp(STR("ab"), STR("a")) > 0);
	assert_true(str_cmp(STR("\x80"), STR("\x7f")) > 0); /* bytes are unsigned */
	assert_int_equal(str_cmp(STR_NONE, STR("")), 0);
	assert_true(str_cmp(STR_NONE, STR("a")) < 0);
	assert_true(str_eq(STR_NONE, STR("")));
	assert_true(str_eq(STR("a\0b"), STR("a\0b")));
	assert_false(str_eq(STR("a\0b"), STR("a\0c")));
	assert_true(str_eq_c(STR_NONE, NULL));
	assert_true(str_eq_nocase(STR("Content-Type"), STR("cONTENT-tYPE")));
	/* '@' and '`' differ by the case bit alone, but are no letters. */
	assert_false(str_eq_nocase(STR("@"), STR("`")));
	assert_false(str_eq_nocase(STR("a"), STR("aa")));
}

static void finds(void **state)
{
	assert_int_equal(str_find(STR("hello"), STR("ll")), 2);
	assert_int_equal(str_find(STR("hello"), STR("hello!")), -1);
	assert_int_equal(str_find(STR("hello"), STR_NONE), 0);
	assert_int_equal(str_find(STR_NONE, STR_NONE), 0);
	assert_int_equal(str_find(STR_NONE, STR("a")), -1);
	assert_int_equal(str_chr(STR("a\0b"), 'b'), 2);
	assert_int_equal(str_chr(STR_NONE, 'b'), -1);
	assert_true(str_starts(STR("hello"), STR("he")));
	assert_false(str_starts(STR("he"), STR("hello")));
	assert_true(str_starts(STR_NONE, STR_NONE));
	assert_true(str_ends(STR("hello"), STR("lo")));
	assert_false(str_ends(STR("lo"), STR("hello")));
	assert_true(str_ends(STR_NONE, STR_NONE));
}

static void slices(void **state)
{
	struct str rest = STR("a,b,,c");

	assert_true(str_eq(str_sub(STR("hello"), 1, 3), STR("el")));
	assert_true(str_eq(str_sub(STR("hello"), 3, 99), STR("lo")));
	assert_int_equal(str_sub(STR("hello"), 99, 3).n, 0);
	assert_int_equal(str_sub(STR_NONE, 0, 5).n, 0);
	assert_true(str_eq(str_trim(STR(" \t\r\n\v\fx y \n")), STR("x y")));
	assert_int_equal(str_trim(STR("   ")).n, 0);
	assert_int_equal(str_trim(STR_NONE).n, 0);

	assert_true(str_eq(str_cut(&rest, ','), STR("a")));
	assert_true(str_eq(str_cut(&rest, ','), STR("b")));
	assert_int_equal(str_cut(&rest, ',').n, 0);
	assert_true(str_eq(str_cut(&rest, ','), STR("c")));
	assert_null(rest.p);
	assert_int_equal(str_cut(&rest, ',').n, 0);
	/* A separator at the end leaves an empty rest that is not NULL. */
	rest = STR("a,");
	str_cut(&rest, ',');
	assert_non_null(rest.p);
	assert_int_equal(rest.n, 0);
}

static void copies(void **state)
{
	char out[4];
	char *p;

	assert_string_equal(str_copy(STR("hello"), out, sizeof out), "hel");
	assert_string_equal(str_copy(STR_NONE, out, sizeof out), "");
	assert_string_equal(str_copy(STR("x"), out, 1), "");
	p = str_dup(STR("a\0b"));
	assert_memory_equal(p, "a\0b", 4);
	free(p);
	p = str_dup(STR_NONE);
	assert_string_equal(p, "");
	free(p);
}

static void reads_integers(void **state)
{
	static const char *const bad[] = {"", "-", "+", "-1", "+1", " 1", "1 ", "0x1", "1e3", "1.",
		"18446744073709551616", "99999999999999999999", "100000000000000000000", "/", ":"};
	uint64_t u = 7;
	int64_t i = 7;

	for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
		assert_false(str_u64(str_c(bad[k]), &u));
		assert_int_equal(u, 7);
	}
	assert_true(str_u64(STR("0"), &u) && u == 0);
	assert_true(str_u64(STR("18446744073709551615"), &u) && u == UINT64_MAX);
	assert_true(str_i64(STR("9223372036854775807"), &i) && i == INT64_MAX);
	assert_true(str_i64(STR("-9223372036854775808"), &i) && i == INT64_MIN);
	assert_true(str_i64(STR("+5"), &i) && i == 5);
	assert_true(str_i64(STR("-0"), &i) && i == 0);
	i = 7;
	assert_false(str_i64(STR("9223372036854775808"), &i));
	assert_false(str_i64(STR("-9223372036854775809"), &i));
	assert_false(str_i64(STR("--1"), &i));
	assert_false(str_i64(STR("+-1"), &i));
	assert_false(str_i64(STR_NONE, &i));
	assert_int_equal(i, 7);
}

static void reads_doubles(void **state)
{
	static const char *const bad[] = {"", " 1", "1 ", "1x", "0x10", "inf", "-Infinity", "nan",
		"NaN(1)", "1e999", "-1e999", "e5", ".", "1,5", "\t1"};
	double v = 7;

	for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
		assert_false(str_double(str_c(bad[k]), &v));
		assert_true(v == 7);
	}
	assert_false(str_double(STR("1\0"), &v));
	assert_true(str_double(STR("1.5"), &v) && v == 1.5);
	assert_true(str_double(STR("-2e3"), &v) && v == -2000);
	assert_true(str_double(STR(".5"), &v) && v == .5);
	assert_true(str_double(STR("+5."), &v) && v == 5);
	assert_true(str_double(STR("1e-999"), &v) && v == 0); /* underflow is no error */
}

/* RFC 3629 by its grammar, written independently of str_utf8_valid. */
static size_t model_one(const unsigned char *p, size_t n)
{
	uint32_t v;

	if (n >= 1 && p[0] < 0x80)
		return 1;
	if (n >= 2 && (p[0] & 0xe0) == 0xc0 && (p[1] & 0xc0) == 0x80) {
		v = (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
		return v >= 0x80 ? 2 : 0;
	}
	if (n >= 3 && (p[0] & 0xf0) == 0xe0 && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80) {
		v = (p[0] & 0xfu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
		return v >= 0x800 && (v < 0xd800 || v > 0xdfff) ? 3 : 0;
	}
	if (n >= 4 && (p[0] & 0xf8) == 0xf0 && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80 &&
		(p[3] & 0xc0) == 0x80) {
		v = (p[0] & 7u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
		return v >= 0x10000 && v <= 0x10ffff ? 4 : 0;
	}
	return 0;
}

static void knows_utf8(void **state)
{
	static const unsigned char edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
		0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4,
		0xf5, 0xff};
	enum { N = sizeof edges };
	unsigned char p[4];

	assert_int_equal(str_utf8_valid(STR_NONE), 0);
	assert_int_equal(str_utf8_valid(STR("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z")), 11);
	assert_int_equal(str_utf8_valid(STR("ab\xf0\x9f\x98")), 2);
	for (unsigned a = 0; a < 256; a++)
		for (unsigned b = 0; b < N * N * N; b++) {
			size_t expect = 0, one;
			p[0] = (unsigned char)a;
			p[1] = edges[b % N];
			p[2] = edges[b / N % N];
			p[3] = edges[b / N / N];
			while ((one = model_one(p + expect, sizeof p - expect)))
				expect += one;
			assert_int_equal(str_utf8_valid(str_make(p, sizeof p)), expect);
		}
}

static void measures_distance(void **state)
{
	char longer[80];

	memset(longer, 'a', sizeof longer);
	assert_int_equal(str_distance(STR("kitten"), STR("sitting"), 10), 3);
	assert_int_equal(str_distance(STR("kitten"), STR("sitting"), 2), 2);
	assert_int_equal(str_distance(STR(""), STR("abc"), 10), 3);
	assert_int_equal(str_distance(STR("abc"), STR_NONE, 10), 3);
	assert_int_equal(str_distance(STR("same"), STR("same"), 10), 0);
	assert_int_equal(str_distance(str_make(longer, 80), str_make(longer, 80), 5), 5);
	assert_int_equal(str_distance(str_make(longer, 64), str_make(longer, 64), 5), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compares),
		cmocka_unit_test(finds),
		cmocka_unit_test(slices),
		cmocka_unit_test(copies),
		cmocka_unit_test(reads_integers),
		cmocka_unit_test(reads_doubles),
		cmocka_unit_test(knows_utf8),
		cmocka_unit_test(measures_distance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
