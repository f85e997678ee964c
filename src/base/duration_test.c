/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/duration.h"

#define SECOND 1000000000ll

static void parses(const char *text, int64_t want)
{
	int64_t got = 42;

	if (!duration_parse(str_c(text), &got) || got != want)
		fail_msg("%s: %lld instead of %lld", text, (long long)got, (long long)want);
}

static void refuses(const char *text)
{
	int64_t got = 42;

	if (duration_parse(str_c(text), &got) || got != 42)
		fail_msg("%s: not refused", text);
}

static void test_parse(void **state)
{
	(void)state;
	parses("1h30m", 5400 * SECOND);
	parses("5m", 300 * SECOND);
	parses("30d", 30 * 86400 * SECOND);
	parses("1w", 7 * 86400 * SECOND);
	parses("1y", 365 * 86400 * SECOND);
	parses("1.5s", SECOND * 3 / 2);
	parses(".5s", SECOND / 2);
	parses("1.s", SECOND);
	parses("100ms", SECOND / 10);
	parses("7us", 7000);
	parses("7\xc2\xb5s", 7000);
	parses("7\xce\xbcs", 7000);
	parses("3ns", 3);
	parses("0s", 0);
	parses("-1h", -3600 * SECOND);
	parses("1m2s3ms", 62003 * (SECOND / 1000));
	parses("0.000000000000000000001y", 0);
	parses("0.3333333333333333333h", 1200 * SECOND - 1);
	parses("9223372036854775807ns", INT64_MAX);
	parses("-9223372036854775808ns", INT64_MIN);
	parses("292y", SECOND * 86400 * 365 * 292);
}

static void test_refuse(void **state)
{
	static const char *const bad[] = {"", "-", "5", "0", "m", ".s", "1", "5x", "1h30", "1 h",
		" 1h", "+1h", "--1h", "1h-5m", "293y", "9223372036854775808ns",
		"-9223372036854775809ns", "99999999999999999999s", "18446744073709551616ns",
		"1..5s", "1e3s", "5m\n"};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		refuses(bad[i]);
}

static void test_format(void **state)
{
	static const struct {
		int64_t ns;
		const char *text;
	} rows[] = {{0, "0s"}, {1, "1ns"}, {1100, "1.1\xc2\xb5s"}, {2200000, "2.2ms"},
		{3300000000, "3.3s"}, {245 * SECOND, "4m5s"}, {245 * SECOND + 1000000, "4m5.001s"},
		{3600 * SECOND, "1h0m0s"}, {5400 * SECOND, "1h30m0s"}, {-1, "-1ns"},
		{30 * 86400 * SECOND, "720h0m0s"}, {INT64_MAX, "2562047h47m16.854775807s"},
		{INT64_MIN, "-2562047h47m16.854775808s"}};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf b = {0};
		int64_t back;
		duration_format(&b, rows[i].ns);
		assert_string_equal(buf_cstr(&b), rows[i].text);
		assert_true(duration_parse(buf_view(&b), &back));
		assert_int_equal(back, rows[i].ns);
		buf_fini(&b);
	}
}

static void test_put(void **state)
{
	static const struct {
		int64_t ns;
		const char *text;
	} rows[] = {{0, "0s"}, {1, "1ns"}, {1100, "1us100ns"}, {90 * SECOND, "1m30s"},
		{3600 * SECOND, "1h"}, {5400 * SECOND, "1h30m"}, {-1, "-1ns"},
		{30 * 86400 * SECOND, "30d"}, {26 * 3600 * SECOND, "1d2h"}};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf b = {0};
		int64_t back;

		duration_put(&b, rows[i].ns);
		assert_string_equal(buf_cstr(&b), rows[i].text);
		assert_true(duration_parse(buf_view(&b), &back));
		assert_int_equal(back, rows[i].ns);
		buf_fini(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_refuse),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_put),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
