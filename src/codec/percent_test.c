/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "codec/percent.h"

/* What is expected is what CPython 3.11 prints. */
static const struct {
	const char *format;
	int64_t value;
	const char *expected;
} ints[] = {
	{"%d", 0, "0"},
	{"%d", 1, "1"},
	{"%d", -1, "-1"},
	{"%d", 42, "42"},
	{"%d", -42, "-42"},
	{"%d", 255, "255"},
	{"%d", 9223372036854775807, "9223372036854775807"},
	{"%d", INT64_MIN, "-9223372036854775808"},
	{"%i", 7, "7"},
	{"%u", 7, "7"},
	{"%5d", 42, "   42"},
	{"%-5d|", 42, "42   |"},
	{"%05d", -42, "-0042"},
	{"%+d", 42, "+42"},
	{"% d", 42, " 42"},
	{"%+ d", 42, "+42"},
	{"%.5d", 42, "00042"},
	{"%08.5d", 42, "00000042"},
	{"%-08.5d|", 42, "00042   |"},
	{"%#x", 255, "0xff"},
	{"%#X", 255, "0XFF"},
	{"%#o", 8, "0o10"},
	{"%08x", 255, "000000ff"},
	{"%#010x", 255, "0x000000ff"},
	{"%#.5x", 42, "0x0002a"},
	{"%x", -255, "-ff"},
	{"%s", 42, "42"},
	{"%5s|", 42, "   42|"},
	{"%.1s", 42, "4"},
	{"%r", -42, "-42"},
	{"%e", 3, "3.000000e+00"},
	{"%f", -3, "-3.000000"},
	{"%g", 100000, "100000"},
	{"%g", 1000000, "1e+06"},
	{"%c", 97, "a"},
	{"%3c|", 8364, "  \xe2\x82\xac|"},
	{"%-3c|", 97, "a  |"},
	{"%ld", 5, "5"},
	{"%#d", 5, "5"},
	{"%.0d", 0, "0"},
	{"%.0f", 7, "7"},
};

static const struct {
	const char *format;
	double value;
	const char *expected;
} floats[] = {
	{"%f", 1.5, "1.500000"},
	{"%.0f", 2.5, "2"},
	{"%.3f", 0.6666666666666666, "0.667"},
	{"%10.2f", 3.14159, "      3.14"},
	{"%-10.2f|", 3.14159, "3.14      |"},
	{"%010.2f", -3.14159, "-000003.14"},
	{"%+.1f", 0.05, "+0.1"},
	{"% f", 1.0, " 1.000000"},
	{"%e", 12345.678, "1.234568e+04"},
	{"%E", 1e-100, "1.000000E-100"},
	{"%g", 1e+16, "1e+16"},
	{"%G", 1e-10, "1E-10"},
	{"%#g", 1.0, "1.00000"},
	{"%#.0f", 1.0, "1."},
	{"%f", INFINITY, "inf"},
	{"%F", -INFINITY, "-INF"},
	{"%08f", INFINITY, "00000inf"},
	{"%f", NAN, "nan"},
	{"%+f", NAN, "+nan"},
	{"%d", 3.99, "3"},
	{"%d", -3.99, "-3"},
	{"%i", 1e+20, "100000000000000000000"},
	{"%05d", 1e+25, "10000000000000000905969664"},
	{"%s", 1.0, "1.0"},
	{"%r", 0.1, "0.1"},
	{"%s", 1e+16, "1e+16"},
	{"%s", 1.2345678901234568e+17, "1.2345678901234568e+17"},
	{"%s", 1000000000000000.0, "1000000000000000.0"},
	{"%s", 0.0001, "0.0001"},
	{"%s", 1e-05, "1e-05"},
	{"%s", 5e-324, "5e-324"},
	{"%s", 1.7976931348623157e+308, "1.7976931348623157e+308"},
	{"%s", -0.0, "-0.0"},
	{"%f", -0.0, "-0.000000"},
	{"%s", 2.2250738585072014e-308, "2.2250738585072014e-308"},
	{"%s", NAN, "nan"},
	{"%s", -INFINITY, "-inf"},
	{"%s", 9007199254740992.0, "9007199254740992.0"},
	{"%s", 0.30000000000000004, "0.30000000000000004"},
	{"%.2s", 1.25, "1."},
	{"%s", 1e+22, "1e+22"},
	{"%s", 1234.5, "1234.5"},
	{"%s", 100.0, "100.0"},
};

static const struct {
	const char *format, *value, *expected;
} texts[] = {
	{"%s", "abc", "abc"},
	{"%5s", "abc", "  abc"},
	{"%-5s|", "abc", "abc  |"},
	{"%.2s", "abc", "ab"},
	{"%5.1s",
		"\xc3\xa4"
		"bc",
		"    \xc3\xa4"},
	{"%05s", "abc", "  abc"},
	{"%6s", "h\xc3\xa4\xc3\x9f", "   h\xc3\xa4\xc3\x9f"},
	{"%.2s", "h\xc3\xa4\xc3\x9f", "h\xc3\xa4"},
	{"%c", "\xc3\xa4", "\xc3\xa4"},
	{"%3c", "\xc3\xa4", "  \xc3\xa4"},
	{"%.0s|", "abc", "|"},
};

static const struct {
	const char *format, *value, *expected;
} decimals[] = {
	{"%d", "18446744073709551616", "18446744073709551616"},
	{"%d", "-18446744073709551616", "-18446744073709551616"},
	{"%x", "18446744073709551616", "10000000000000000"},
	{"%X", "265613988875874769338781322035779626829233452653394495974574961739092490901302182994384699044001",
		"1FD5863C3EB0469EC21A937A76F3432FFD73D97E447606B683ECF6F6E4A7AE225BFAFF1EAAF8B0A1"},
	{"%o", "3234476509624757991344647769100216810857203198904625400933895331391691459636928060001",
		"3250731305143165362224623245673021663155732713151345476512130653547366422316760774447516415141"},
	{"%#x", "-1267650600228229401496703205376", "-0x10000000000000000000000000"},
	{"%032x", "1329227995784915872903807060280344581", "01000000000000000000000000000005"},
	{"%s", "1180591620717411303424", "1180591620717411303424"},
	{"%.3s", "1180591620717411303424", "118"},
	{"%e", "1180591620717411303424", "1.180592e+21"},
	{"%30d", "1180591620717411303424", "        1180591620717411303424"},
	{"%.40d", "-1180591620717411303424", "-0000000000000000001180591620717411303424"},
	{"%x", "1000000000000000000", "de0b6b3a7640000"},
	{"%x", "1000000000000000000000000000", "33b2e3c9fd0803ce8000000"},
	{"%o", "1152921504606846976000000000", "734654500000000000000000000000"},
};

/* The one conversion of a format, with the text around it in `out`. */
static struct percent_spec start(const char *format, struct buf *out, struct str *rest)
{
	struct percent_spec spec;
	struct str literal;
	struct error e;

	*rest = str_c(format);
	if (percent_next(rest, &literal, &spec, &e) != 1)
		fail_msg("%s: %s", format, e.text);
	buf_clear(out);
	buf_str(out, literal);
	return spec;
}

static void check(const char *format, int r, struct buf *out, struct str rest, const char *expected,
	const struct error *e)
{
	if (r < 0)
		fail_msg("%s: %s", format, e->text);
	buf_str(out, rest);
	if (!str_eq_c(buf_view(out), expected))
		fail_msg("%s is '%s' instead of '%s'", format, buf_cstr(out), expected);
}

#define EACH(i, table) for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)

static void values_are_converted_as_python_does(void **state)
{
	struct buf out = {0};
	struct percent_spec spec;
	struct str rest;
	struct error e;
	int r;

	EACH(i, ints)
	{
		spec = start(ints[i].format, &out, &rest);
		r = percent_int(&out, &spec, ints[i].value, &e);
		check(ints[i].format, r, &out, rest, ints[i].expected, &e);
	}
	EACH(i, floats)
	{
		spec = start(floats[i].format, &out, &rest);
		r = percent_float(&out, &spec, floats[i].value, &e);
		check(floats[i].format, r, &out, rest, floats[i].expected, &e);
	}
	EACH(i, texts)
	{
		spec = start(texts[i].format, &out, &rest);
		r = percent_text(&out, &spec, str_c(texts[i].value), &e);
		check(texts[i].format, r, &out, rest, texts[i].expected, &e);
	}
	EACH(i, decimals)
	{
		spec = start(decimals[i].format, &out, &rest);
		r = percent_decimal(&out, &spec, str_c(decimals[i].value), &e);
		check(decimals[i].format, r, &out, rest, decimals[i].expected, &e);
	}
	buf_fini(&out);
}

static void small_decimals_are_integers(void **state)
{
	struct buf out = {0};
	struct percent_spec spec;
	struct str rest;
	struct error e;

	EACH(i, ints)
	{
		char decimal[24];
		snprintf(decimal, sizeof decimal, "%lld", (long long)ints[i].value);
		spec = start(ints[i].format, &out, &rest);
		check(ints[i].format, percent_decimal(&out, &spec, str_c(decimal), &e), &out, rest,
			ints[i].expected, &e);
	}
	buf_fini(&out);
}

static void pieces_of_a_format(void **state)
{
	struct str format = STR("a%%b%(key(x))-+ #05.7ld|%*.*f"), literal;
	struct percent_spec spec;
	struct error e;

	assert_int_equal(percent_next(&format, &literal, &spec, &e), 1);
	assert_true(str_eq_c(literal, "a") && spec.type == '%' && !spec.key.p);
	assert_int_equal(percent_next(&format, &literal, &spec, &e), 1);
	assert_true(str_eq_c(literal, "b") && spec.type == 'd');
	assert_true(str_eq_c(spec.key, "key(x)"));
	assert_true(spec.left && spec.plus && spec.space && spec.alternate && spec.zero);
	assert_int_equal(spec.width, 5);
	assert_int_equal(spec.precision, 7);
	assert_int_equal(percent_next(&format, &literal, &spec, &e), 1);
	assert_true(spec.star_width && spec.star_precision && str_eq_c(literal, "|"));
	assert_int_equal(percent_set_width(&spec, -8, &e), 0);
	assert_int_equal(percent_set_precision(&spec, -1, &e), 0);
	assert_true(spec.left && spec.width == 8 && spec.precision == 0 && !spec.star_width);
	assert_int_equal(percent_set_width(&spec, INT64_MIN, &e), ERR_LIMIT);
	assert_int_equal(percent_set_precision(&spec, INT64_MAX, &e), ERR_LIMIT);
	assert_int_equal(percent_next(&format, &literal, &spec, &e), 0);
	assert_int_equal(literal.n, 0);
}

static void bad_formats(void **state)
{
	static const struct {
		const char *format, *at, *expected;
		int code;
	} bad[] = {
		{"100%", "%", "incomplete format", ERR_ARG},
		{"a%-5", "%-5", "incomplete format", ERR_ARG},
		{"%(name", "%(name", "incomplete format key", ERR_ARG},
		{"%(a(b)", "%(a(b)", "incomplete format key", ERR_ARG},
		{"%5%", "%5%", "unsupported format character '%' (0x25)", ERR_ARG},
		{"%y", "%y", "unsupported format character 'y' (0x79)", ERR_ARG},
		{"x%\xe2\x82\xac", "%\xe2\x82\xac", "unsupported format character '?' (0x20ac)",
			ERR_ARG},
		{"%\xff", "%\xff", "unsupported format character '?' (0xff)", ERR_ARG},
		{"%99999999999999d", "%99999999999999d", "width too big: at most 10000", ERR_LIMIT},
		{"%.10001d", "%.10001d", "precision too big: at most 10000", ERR_LIMIT},
	};
	struct percent_spec spec;
	struct error e;

	EACH(i, bad)
	{
		struct str format = str_c(bad[i].format), literal;
		assert_int_equal(percent_next(&format, &literal, &spec, &e), bad[i].code);
		assert_string_equal(e.text, bad[i].expected);
		assert_true(str_eq_c(format, bad[i].at));
	}
}

static void types_that_do_not_fit(void **state)
{
	struct percent_spec spec = {.type = 'd', .precision = -1};
	struct buf out = {0};
	struct error e;

	assert_int_equal(percent_text(&out, &spec, STR("a"), &e), ERR_ARG);
	assert_string_equal(e.text, "%d format: a real number is required, not str");
	assert_int_equal(percent_float(&out, &spec, NAN, &e), ERR_ARG);
	assert_string_equal(e.text, "cannot convert float NaN to integer");
	assert_int_equal(percent_float(&out, &spec, -INFINITY, &e), ERR_ARG);
	assert_int_equal(percent_decimal(&out, &spec, STR("99999999999999999999x"), &e), ERR_ARG);
	assert_int_equal(percent_decimal(&out, &spec, STR("-"), &e), ERR_LIMIT);
	spec.type = 'x';
	assert_int_equal(percent_float(&out, &spec, 1.5, &e), ERR_ARG);
	assert_string_equal(e.text, "%x format: an integer is required, not float");
	spec.type = 'f';
	assert_int_equal(percent_text(&out, &spec, STR("a"), &e), ERR_ARG);
	assert_string_equal(e.text, "must be real number, not str");
	spec.type = 'c';
	assert_int_equal(percent_text(&out, &spec, STR("ab"), &e), ERR_ARG);
	assert_string_equal(e.text, "%c requires int or char");
	assert_int_equal(percent_int(&out, &spec, 0x110000, &e), ERR_ARG);
	assert_int_equal(percent_int(&out, &spec, -1, &e), ERR_ARG);
	assert_int_equal(out.n, 0);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_converted_as_python_does),
		cmocka_unit_test(small_decimals_are_integers),
		cmocka_unit_test(pieces_of_a_format),
		cmocka_unit_test(bad_formats),
		cmocka_unit_test(types_that_do_not_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
