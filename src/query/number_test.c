/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <inttypes.h>
#include <math.h>

#include "query/number.c"

static void floats(void **state)
{
	static const struct {
		const char *text;
		double value;
	} rows[] = {
		{"0", 0},
		{"-0", -0.0},
		{"+1", 1},
		{"200", 200},
		{"5.", 5},
		{".5", .5},
		{"-.5e1", -5},
		{"0.1", 0.1},
		{"1e23", 1e23},
		{"1E-5", 1e-5},
		{"1e+5", 1e5},
		{"007", 7},
		{"123456789012345678901234567890", 123456789012345678901234567890.0},
		{"9007199254740993", 9007199254740992.0},
		{"9007199254740993.00000000000000000000000000000000000001", 9007199254740994.0},
		{"18446744073709551616", 18446744073709551616.0},
		{"1.7976931348623157e308", DBL_MAX},
		{"4.9e-324", 4.9e-324},
		{"1e-400", 0},
		{"-1e-99999999999999999999", -0.0},
		{"0e99999999999999999999", 0},
		{"0.000000000000000000000000000000000000000000001e45", 1},
		{"inf", INFINITY},
		{"-Inf", -INFINITY},
		{"+INFINITY", INFINITY},
		{"nan", NAN},
		{"NaN", NAN},
		{"0x1p0", 1},
		{"0X1.8P1", 3},
		{"-0x.8p-1", -.25},
		{"0x1.fffffffffffffp1023", DBL_MAX},
		{"0x1p-1074", 4.9e-324},
		{"0x1p-1076", 0},
		{"0x1.00000000000008p0", 1},
		{"0x1.000000000000080000000000000000001p0", 1.0000000000000002},
		{"0x0p99999999999", 0},
		{"1_000", 1000},
		{"1_23.50_0_0e+1_2", 1.235e14},
		{"0x_1_f.8p1", 63},
	};
	static const char *const bad[] = {"", "+", "-", ".", "-.", "e5", "1e", "1e+", "1e+-5", " 1",
		"1 ", "1x", "1.2.3", "--1", "+-1", "0x", "0x1", "0x1.8", "0xp1", "0x1p", "0x1e5",
		"infi", "infinit", "-nan", "+nan", "nano", "1e309", "-1e309", "1e999999999999",
		"0x1p1024", "_1", "1_", "1__0", "1_.5", "1._5", "1.5_", "1.5_e1", "1e_5", "1e+_5",
		"1e5_", "0x1_p1", "1,000", "0b1", "0o7", "１"};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		double v = 42;
		if (!number_float(str_c(rows[i].text), &v))
			fail_msg("%s is refused", rows[i].text);
		if (isnan(rows[i].value)
				? !isnan(v)
				: v != rows[i].value || signbit(v) != signbit(rows[i].value))
			fail_msg("%s: %.17g", rows[i].text, v);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		double v = 42;
		if (number_float(str_c(bad[i]), &v) || v != 42)
			fail_msg("%s is taken", bad[i]);
	}
	assert_false(number_float(str_make("1\0", 2), &(double){0}));
	assert_false(number_float(STR_NONE, &(double){0}));
}

/* Half way between two doubles, decided by a digit far behind. */
static void long_float(void **state)
{
	struct buf text = {0};
	double v;

	(void)state;
	buf_c(&text, "9007199254740993.");
	for (int i = 0; i < 100000; i++)
		buf_char(&text, '0');
	assert_true(number_float(buf_view(&text), &v));
	assert_true(v == 9007199254740992.0);
	buf_char(&text, '1');
	assert_true(number_float(buf_view(&text), &v));
	assert_true(v == 9007199254740994.0);
	buf_clear(&text);
	for (int i = 0; i < 100000; i++)
		buf_char(&text, '1');
	assert_false(number_float(buf_view(&text), &v));
	buf_c(&text, "e-99999");
	assert_true(number_float(buf_view(&text), &v));
	assert_true(v == 1.1111111111111112);
	buf_fini(&text);
}

static void ints(void **state)
{
	static const struct {
		const char *text;
		int base;
		int64_t value;
	} rows[] = {
		{"0", 0, 0},
		{"0", 10, 0},
		{"-0", 10, 0},
		{"+5", 10, 5},
		{"010", 10, 10},
		{"010", 0, 8},
		{"0o17", 0, 15},
		{"0O17", 0, 15},
		{"0x1F", 0, 31},
		{"-0b101", 0, -5},
		{"0x_1f", 0, 31},
		{"1_000", 0, 1000},
		{"0_7", 0, 7},
		{"9223372036854775807", 10, INT64_MAX},
		{"-9223372036854775808", 10, INT64_MIN},
		{"zz", 36, 1295},
		{"ff", 16, 255},
		{"0b1", 16, 0xb1},
		{"101", 2, 5},
	};
	static const struct {
		const char *text;
		int base;
	} bad[] = {{"", 10}, {"+", 10}, {"-", 0}, {"1.5", 10}, {"9223372036854775808", 10},
		{"-9223372036854775809", 10}, {"18446744073709551616", 10}, {"1_000", 10},
		{"0x1f", 10}, {"0x", 0}, {"0x1f", 16}, {"08", 0}, {"2", 2}, {"1", 1}, {"1", 37},
		{"1", -1}, {"_1", 0}, {"1_", 0}, {"1__0", 0}, {"0x1_", 0}, {" 1", 10}, {"--1", 10},
		{"0_", 0}, {"_", 0}};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int64_t v = 42;
		if (!number_int(str_c(rows[i].text), rows[i].base, &v) || v != rows[i].value)
			fail_msg("%s in base %d: %" PRId64, rows[i].text, rows[i].base, v);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		int64_t v = 42;
		if (number_int(str_c(bad[i].text), bad[i].base, &v) || v != 42)
			fail_msg("%s in base %d is taken", bad[i].text, bad[i].base);
	}
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} rows[] = {
		{"0", 0},
		{"-0", 0},
		{"+0", 0},
		{"0s", 0},
		{"5s", 5000000000},
		{"-5s", -5000000000},
		{"+5s", 5000000000},
		{"1h30m", 5400000000000},
		{"1h15m30.918273645s", 4530918273645},
		{"-1.5ms", -1500000},
		{"1us", 1000},
		{"1\xc2\xb5s", 1000},
		{"1\xce\xbcs", 1000},
		{"12ns", 12},
		{".5s", 500000000},
		{"5.s", 5000000000},
		{"1.9ns", 1},
		{"0.3ms", 300000},
		{"10.5s4m", 250500000000},
		{"3m3m", 360000000000},
		{"0.100000000000000000000h", 360000000000},
		{"0.9223372036854775807h", 3320413933267},
		{"0.33333333333333333333h", 1200000000000},
		{"9223372036854775807ns", INT64_MAX},
		{"9223372036854775.807us", INT64_MAX},
		{"-9223372036854775808ns", INT64_MIN},
		{"2562047h47m16.854775807s", INT64_MAX},
	};
	static const char *const bad[] = {"", "3", "-", "+", "s", ".", "-.", ".s", "+.s", "00",
		"0 ", "1d", "1w", "1y", "1H", "1 s", " 1s", "1s ", "1h 30m", "1e3s", "1sm", "--1s",
		"9223372036854775808ns", "3000000h", "-9223372036854775809ns", "1.5", "1s5",
		"9223372036854775.808us", "99999999999999999999s", "1\xc2s", "1\xb5s"};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int64_t v = 42;
		if (!number_duration(str_c(rows[i].text), &v) || v != rows[i].ns)
			fail_msg("%s: %" PRId64, rows[i].text, v);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		int64_t v = 42;
		if (number_duration(str_c(bad[i]), &v) || v != 42)
			fail_msg("%s is taken", bad[i]);
	}
}

static void bytes(void **state)
{
	static const struct {
		const char *text;
		uint64_t value;
	} rows[] = {
		{"42", 42},
		{"42b", 42},
		{"42 B", 42},
		{"20MB", 20000000},
		{"20 mb", 20000000},
		{"20MiB", 20971520},
		{"42mib", 44040192},
		{"42M", 42000000},
		{"42mi", 44040192},
		{"1.5GB", 1500000000},
		{"1.5 GiB", 1610612736},
		{"12.5 kb", 12500},
		{"1,005.03 MB", 1005030000},
		{"3TB", 3000000000000},
		{"3t", 3000000000000},
		{"2PiB", 2251799813685248},
		{"1EB", 1000000000000000000},
		{"15EiB", 17293822569102704640u},
		{"1.9", 1},
		{".5kB", 500},
		{"1KB  ", 1000},
	};
	static const char *const bad[] = {"", "MB", " 1MB", "-1MB", "+1MB", "1 XB", "1kib2", "1ib",
		"1bb", "1kbb", "1kii", "1.2.3MB", ",", ".", "16EiB", "1e3", "1ZB", "1k b", "84 JB"};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint64_t v = 42;
		if (!number_bytes(str_c(rows[i].text), &v) || v != rows[i].value)
			fail_msg("%s: %" PRIu64, rows[i].text, v);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		uint64_t v = 43;
		if (number_bytes(str_c(bad[i]), &v) || v != 43)
			fail_msg("%s is taken", bad[i]);
	}
}

static void writing(void **state)
{
	static const struct {
		double v;
		const char *f, *g;
	} rows[] = {
		{0, "0", "0"},
		{-0.0, "-0", "-0"},
		{1, "1", "1"},
		{-1.5, "-1.5", "-1.5"},
		{0.1, "0.1", "0.1"},
		{100000, "100000", "100000"},
		{1000000, "1000000", "1e+06"},
		{123456789, "123456789", "1.23456789e+08"},
		{123456.75, "123456.75", "123456.75"},
		{1234567.5, "1234567.5", "1.2345675e+06"},
		{0.0001, "0.0001", "0.0001"},
		{0.00001, "0.00001", "1e-05"},
		{1e21, "1000000000000000000000", "1e+21"},
		{1e100,
			"10000000000000000000000000000000000000000000000000000000000000000000000"
			"000000000000000000000000000000",
			"1e+100"},
		{3.141592653589793, "3.141592653589793", "3.141592653589793"},
		{0.30000000000000004, "0.30000000000000004", "0.30000000000000004"},
		{9007199254740993.0, "9007199254740992", "9.007199254740992e+15"},
		{DBL_MAX, NULL, "1.7976931348623157e+308"},
		{DBL_MIN, NULL, "2.2250738585072014e-308"},
		{4.9e-324, NULL, "5e-324"},
		{2.2250738585072011e-308, NULL, "2.225073858507201e-308"},
		{INFINITY, "+Inf", "+Inf"},
		{-INFINITY, "-Inf", "-Inf"},
		{NAN, "NaN", "NaN"},
	};
	struct buf out = {0};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (rows[i].f) {
			buf_clear(&out);
			number_put_f(&out, rows[i].v);
			assert_string_equal(buf_cstr(&out), rows[i].f);
		}
		buf_clear(&out);
		number_put_g(&out, rows[i].v);
		assert_string_equal(buf_cstr(&out), rows[i].g);
	}
	buf_fini(&out);
}

/* Whatever is written reads back as the same, and no fewer digits would do. */
static void round_trips(void **state)
{
	struct buf out = {0};
	uint64_t x = 88172645463325252u;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		double v, back;
		struct shortest s;
		char shorter[64];
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		/* Every other one a power of two, where the neighbours' distances differ. */
		uint64_t bits = i % 2 ? x : x & 0xfff0000000000000u;
		memcpy(&v, &bits, sizeof v);
		if (!isfinite(v) || v == 0)
			continue;
		buf_clear(&out);
		number_put_f(&out, v);
		assert_true(number_float(buf_view(&out), &back) && back == v);
		buf_clear(&out);
		number_put_g(&out, v);
		assert_true(number_float(buf_view(&out), &back) && back == v);
		find_shortest(fabs(v), &s);
		if (s.n < 2)
			continue;
		snprintf(shorter, sizeof shorter, "%.*e", (int)s.n - 2, fabs(v));
		assert_true(strtod(shorter, NULL) != fabs(v));
	}
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(floats),
		cmocka_unit_test(long_float),
		cmocka_unit_test(ints),
		cmocka_unit_test(durations),
		cmocka_unit_test(bytes),
		cmocka_unit_test(writing),
		cmocka_unit_test(round_trips),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
