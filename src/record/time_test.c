/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "record/time.c"

/* 2026-08-21T10:00:00Z */
#define NOON_ISH 1787306400000000000

static int64_t rfc3339(const char *s)
{
	int64_t ns;

	if (!time_parse_rfc3339(str_c(s), &ns))
		fail_msg("%s", s);
	return ns;
}

static void test_rfc3339(void **state)
{
	int64_t ns = 7;

	assert_int_equal(rfc3339("1970-01-01T00:00:00Z"), 0);
	assert_int_equal(rfc3339("1969-12-31T23:59:59.999999999Z"), -1);
	assert_int_equal(rfc3339("2026-08-21T10:00:00Z"), NOON_ISH);
	assert_int_equal(rfc3339("2026-08-21t10:00:00z"), NOON_ISH);
	assert_int_equal(rfc3339("2026-08-21T12:00:00+02:00"), NOON_ISH);
	assert_int_equal(rfc3339("2026-08-21T04:30:00-05:30"), NOON_ISH);
	assert_int_equal(rfc3339("2026-08-21T10:00:00.1Z"), NOON_ISH + 100000000);
	assert_int_equal(rfc3339("2026-08-21T10:00:00.123456789Z"), NOON_ISH + 123456789);
	assert_int_equal(rfc3339("2016-12-31T23:59:60Z"), rfc3339("2017-01-01T00:00:00Z"));
	assert_int_equal(rfc3339("2000-02-29T00:00:00Z"), 951782400000000000);
	assert_int_equal(rfc3339("2262-04-11T23:47:16.854775807Z"), INT64_MAX);
	assert_int_equal(rfc3339("1677-09-21T00:12:43.145224192Z"), INT64_MIN);
	static const char *const bad[] = {"", "2026-08-21", "2026-08-21T10:00:00",
		"2026-08-21 10:00:00Z", "2026-8-21T10:00:00Z", "2026-02-30T10:00:00Z",
		"2026-02-29T10:00:00Z", "1900-02-29T10:00:00Z", "2026-13-01T10:00:00Z",
		"2026-00-01T10:00:00Z", "2026-01-00T10:00:00Z", "2026-04-31T10:00:00Z",
		"2026-01-01T24:00:00Z", "2026-01-01T10:60:00Z", "2026-01-01T10:00:61Z",
		"2026-01-01T10:00:00.Z", "2026-01-01T10:00:00.1234567890Z",
		"2026-01-01T10:00:00+0200", "2026-01-01T10:00:00+02", "2026-01-01T10:00:00+02:60",
		"2026-01-01T10:00:00Zx", "2026-01-01T10:00:00Z ", "2262-04-11T23:47:16.854775808Z",
		"1677-09-21T00:12:43.145224191Z", "9999-01-01T00:00:00Z"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (time_parse_rfc3339(str_c(bad[i]), &ns))
			fail_msg("taken: %s", bad[i]);
	assert_int_equal(ns, 7);
}

static void assert_format(int64_t ns, const char *expected)
{
	struct buf out = {0};
	int64_t back;

	time_format(&out, ns);
	assert_string_equal(buf_cstr(&out), expected);
	assert_true(time_parse_rfc3339(buf_view(&out), &back));
	assert_int_equal(back, ns);
	buf_fini(&out);
}

static void test_json(void **state)
{
	struct buf out = {0};

	time_json(&out, "at", NOON_ISH);
	time_json(&out, "end", INT64_MAX);
	assert_string_equal(buf_cstr(&out), ",\"at\":\"2026-08-21T10:00:00Z\",\"end\":null");
	buf_fini(&out);
}

static void test_format(void **state)
{
	assert_format(0, "1970-01-01T00:00:00Z");
	assert_format(-1, "1969-12-31T23:59:59.999999999Z");
	assert_format(NOON_ISH + 120000000, "2026-08-21T10:00:00.12Z");
	assert_format(INT64_MAX, "2262-04-11T23:47:16.854775807Z");
	assert_format(INT64_MIN, "1677-09-21T00:12:43.145224192Z");
	assert_format(951782400000000000, "2000-02-29T00:00:00Z");
}

static void test_calendar_agrees_with_libc(void **state)
{
	for (int64_t s = -9000000000; s < 9000000000; s += 7777777) {
		struct civil t = civil_of(s * second_ns + 5, 0);
		time_t time = (time_t)s;
		struct tm tm;
		int64_t back;
		gmtime_r(&time, &tm);
		assert_int_equal(t.year, tm.tm_year + 1900);
		assert_int_equal(t.month, tm.tm_mon + 1);
		assert_int_equal(t.day, tm.tm_mday);
		assert_int_equal(t.hour * 3600 + t.minute * 60 + t.second,
			tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec);
		assert_true(civil_ns(&t, 0, &back));
		assert_int_equal(back, s * second_ns + 5);
	}
}

static void test_api(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = {{"4000000000", 4000000000000000000}, {"0", 0},
		{"1700000000", 1700000000000000000}, {"1700000000000000001", 1700000000000000001},
		{"17000000000", 17000000000}, {"1700000000.25", 1700000000250000000},
		{"1700000000.123456789", 1700000000123456789}, {"1700000000.", 1700000000000000000},
		{"-1.5", -1500000000}, {"1.7e9", 1700000000000000000},
		{"2026-08-21T10:00:00Z", NOON_ISH},
		{"2026-08-21T10:00:00.5Z", NOON_ISH + 500000000}};
	static const char *const bad[] = {"", ".", "-.", "x", "1x", "1.x", "9999999999", "1e30",
		"nan.", "1.e300", "99999999999999999999", "99999999999999999999.5", "9223372036.9",
		"now", "2026-08-21"};
	int64_t ns;

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		if (!time_parse_api(str_c(good[i].text), &ns))
			fail_msg("%s", good[i].text);
		assert_int_equal(ns, good[i].ns);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (time_parse_api(str_c(bad[i]), &ns))
			fail_msg("taken: %s", bad[i]);
}

static void assert_human(const char *text, const char *expected)
{
	int64_t ns;

	if (!time_parse_human(str_c(text), NOON_ISH, &ns))
		fail_msg("%s", text);
	if (ns != rfc3339(expected))
		fail_msg("%s is %ld", text, (long)ns);
}

static void test_human(void **state)
{
	int64_t ns;

	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	assert_human("now", "2026-08-21T10:00:00Z");
	assert_human("2026-08-21T10:00:00Z", "2026-08-21T10:00:00Z");
	assert_human("2026-08-21 10:00", "2026-08-21T08:00:00Z");
	assert_human("2026-08-21 10:00:01", "2026-08-21T08:00:01Z");
	assert_human("2026-08-21T10:00:01.5", "2026-08-21T08:00:01.5Z");
	assert_human("2026-08-21", "2026-08-20T22:00:00Z");
	assert_human("2026-01-21", "2026-01-20T23:00:00Z");
	assert_human("15:04", "2026-08-21T13:04:00Z");
	assert_human("15:04:05", "2026-08-21T13:04:05Z");
	assert_human("today", "2026-08-20T22:00:00Z");
	assert_human(" Yesterday ", "2026-08-19T22:00:00Z");
	assert_human("-1h", "2026-08-21T09:00:00Z");
	assert_human("1h30m", "2026-08-21T08:30:00Z");
	assert_human("3d", "2026-08-18T10:00:00Z");
	assert_human("1787306400", "2026-08-21T10:00:00Z");
	static const char *const bad[] = {"", "tomorrow", "2026-02-30", "25:00", "10:00x",
		"2026-08-21x", "2026-08-21 10", "1x", "10:60"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (time_parse_human(str_c(bad[i]), NOON_ISH, &ns))
			fail_msg("taken: %s", bad[i]);
	struct buf out = {0};
	time_format_local(&out, NOON_ISH + 7999999);
	assert_string_equal(buf_cstr(&out), "2026-08-21T12:00:00.007+02:00");
	buf_clear(&out);
	setenv("TZ", "XST+3:30", 1);
	tzset();
	time_format_local(&out, 0);
	assert_string_equal(buf_cstr(&out), "1969-12-31T20:30:00.000-03:30");
	assert_int_equal(time_local_zone(0), -12600);
	buf_fini(&out);
	unsetenv("TZ");
	tzset();
}

/* Every cut of every line, of exactly its size: for the sanitizers. */
static void test_cuts(void **state)
{
	static const char *const lines[] = {"2026-08-21T10:00:00.123456789+02:00",
		"2026-08-21 10:00:00.5", "1787306400.123456789", "1787306400000000000", "yesterday",
		"-1h30m", "1.7e9"};

	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		for (size_t n = 0; n <= strlen(lines[i]); n++) {
			char *cut = malloc(n + !n);
			int64_t ns;
			memcpy(cut, lines[i], n);
			time_parse_api(str_make(cut, n), &ns);
			time_parse_human(str_make(cut, n), NOON_ISH, &ns);
			free(cut);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc3339),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_calendar_agrees_with_libc),
		cmocka_unit_test(test_api),
		cmocka_unit_test(test_human),
		cmocka_unit_test(test_cuts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
