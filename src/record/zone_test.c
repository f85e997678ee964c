/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "record/zone.c"

static void test_fixed(void **state)
{
	static const struct {
		const char *name;
		int offset;
	} rows[] = {{"UTC", 0}, {"Z", 0}, {"+02:00", 7200}, {"-0330", -12600}, {"+00:00", 0}};
	struct zone *z;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(zone_new(&z, str_c(rows[i].name), NULL), 0);
		assert_int_equal(zone_offset(z, 0), rows[i].offset);
		assert_int_equal(zone_offset(z, INT64_MAX), rows[i].offset);
		zone_free(z);
	}
}

static void test_refused(void **state)
{
	static const char *const bad[] = {"", "Nowhere/Land", "../../../etc/passwd",
		"/etc/localtime", "+2:00", "+99:00", "+02:60", "+aa:bb", "Europe"};
	struct zone *z = NULL;
	struct error e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(zone_new(&z, str_c(bad[i]), &e), ERR_ARG);
		assert_non_null(strstr(e.text, "is no time zone"));
	}
	assert_null(z);
}

/* The C library reads the same files: it must agree at any time, behind the last transition too. */
static void test_as_the_library(void **state)
{
	static const char *const names[] = {"Europe/Berlin", "America/New_York", "Asia/Kolkata",
		"Australia/Lord_Howe", "America/St_Johns", "Africa/Casablanca", "Pacific/Apia",
		"Europe/Dublin", "Asia/Gaza", "America/Santiago"};
	struct zone *z;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (zone_new(&z, str_c(names[i]), NULL) < 0)
			skip(); /* no zone database here */
		setenv("TZ", names[i], 1);
		tzset();
		for (int64_t s = -2000000000; s < 7000000000; s += 1234567) {
			time_t t = (time_t)s;
			struct tm tm;

			localtime_r(&t, &tm);
			assert_int_equal(zone_offset(z, s * second_ns), tm.tm_gmtoff);
		}
		zone_free(z);
	}
	unsetenv("TZ");
	tzset();
}

static void test_rules(void **state)
{
	static const struct {
		const char *rule;
		int64_t s;
		int offset;
	} rows[] = {
		{"CET-1CEST,M3.5.0,M10.5.0/3", 1774745999, 3600}, /* 2026-03-29 00:59:59Z */
		{"CET-1CEST,M3.5.0,M10.5.0/3", 1774746000, 7200},
		{"CET-1CEST,M3.5.0,M10.5.0/3", 1792889999, 7200}, /* 2026-10-25 00:59:59Z */
		{"CET-1CEST,M3.5.0,M10.5.0/3", 1792890000, 3600},
		{"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 1767225600, 39600}, /* summer in January */
		{"<-03>3", 1767225600, -10800},
		{"EST5EDT,J60/0,J300/0", 1772323200, -18000}, /* 2026-03-01 00:00Z: not yet */
		{"EST5EDT,J60/0,J300/0", 1772341200, -14400},
		{"XXX0YYY,0/0,J365/25", 1780000000, 3600}, /* summer all year */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct zone z = {0};

		assert_true(read_rule(&z, str_c(rows[i].rule)));
		assert_int_equal(zone_offset(&z, rows[i].s * second_ns), rows[i].offset);
	}
	for (const char *const *bad = (const char *const[]){"", "CET", "CET-1CEST",
		     "CET-1CEST,M13.1.0,M1.1.0", "CET-1CEST,M3.6.0,M1.1.0", "<CET-1",
		     "CET-1CEST,M3.5.0", "CET-1CEST,J0,J1", NULL};
		*bad; bad++) {
		struct zone z = {0};

		assert_false(read_rule(&z, str_c(*bad)));
	}
}

/* Any bytes: refused or read, never more. */
static void test_damage(void **state)
{
	struct buf bytes = {0};
	struct zone *z;

	(void)state;
	if (fs_read_all(fs_real(), "/usr/share/zoneinfo/Europe/Berlin", TZIF_MAX, &bytes, NULL) < 0)
		skip();
	for (size_t i = 0; i < bytes.n; i++) {
		char *copy = xmalloc(i);

		memcpy(copy, bytes.p, i);
		if (zone_from_tzif(&z, str_make(copy, i), NULL) == 0)
			zone_free(z);
		free(copy);
		bytes.p[i] ^= 0x5a;
		if (zone_from_tzif(&z, buf_view(&bytes), NULL) == 0) {
			zone_offset(z, 1792890000 * second_ns);
			zone_free(z);
		}
		bytes.p[i] ^= 0x5a;
	}
	buf_fini(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fixed),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_as_the_library),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
