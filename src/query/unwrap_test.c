/* SPDX-License-Identifier: Apache-2.0 */
#include "query/stage_rig.h"

static void values(void **state)
{
	static const struct {
		enum unwrap_conversion conversion;
		const char *text;
		double value;
		const char *details; /* NULL: it can be read */
	} rows[] = {
		{UNWRAP_NUMBER, "5", 5, NULL},
		{UNWRAP_NUMBER, "-1.5e3", -1500, NULL},
		{UNWRAP_NUMBER, "0x1p4", 16, NULL},
		{UNWRAP_NUMBER, "5ms", 0, "strconv.ParseFloat: parsing \"5ms\": invalid syntax"},
		{UNWRAP_NUMBER, "", 0, "strconv.ParseFloat: parsing \"\": invalid syntax"},
		{UNWRAP_NUMBER, "1e999", 0,
			"strconv.ParseFloat: parsing \"1e999\": value out of range"},
		{UNWRAP_DURATION, "1h30m", 5400, NULL},
		{UNWRAP_DURATION, "1.5ms", 0.0015, NULL},
		{UNWRAP_DURATION, "-20us", -0.00002, NULL},
		{UNWRAP_DURATION_SECONDS, "24s30ms", 24.03, NULL},
		{UNWRAP_DURATION_SECONDS, "2562047h47m16.854775807s", 9223372036.854775807, NULL},
		{UNWRAP_DURATION, "5", 0, "time: missing unit in duration \"5\""},
		{UNWRAP_DURATION, "1d", 0, "time: unknown unit \"d\" in duration \"1d\""},
		{UNWRAP_DURATION, "soon", 0, "time: invalid duration \"soon\""},
		{UNWRAP_BYTES, "20MB", 20e6, NULL},
		{UNWRAP_BYTES, "1.5 KiB", 1536, NULL},
		{UNWRAP_BYTES, "-1B", 0, "strconv.ParseFloat: parsing \"\": invalid syntax"},
		{UNWRAP_BYTES, "1XB", 0, "unhandled size name: XB"},
		{UNWRAP_BYTES, "99999EB", 0, "no size within 64 bits: 99999EB"},
	};
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct unwrap u = {STR("v"), rows[i].conversion};
		struct str details = STR_NONE;
		double v = 42;
		rig_row(&g, "{a=\"1\"}", "{}", STR(""));
		fields_set(g.fields, STR("v"), str_c(rows[i].text));
		assert_true(unwrap_take(&u, g.fields, &v));
		if (v != rows[i].value)
			fail_msg("%s: %.17g", rows[i].text, v);
		assert_false(fields_get(g.fields, STR("v"), &details));
		assert_true(fields_failed(g.fields) == (rows[i].details != NULL));
		if (!rows[i].details)
			continue;
		fields_get(g.fields, STR("__error_details__"), &details);
		assert_true(str_eq_c(details, rows[i].details));
		fields_get(g.fields, STR("__error__"), &details);
		assert_true(str_eq_c(details, "SampleExtractionErr"));
	}
	rig_fini(&g);
}

static void none(void **state)
{
	struct unwrap u = {STR("v"), UNWRAP_NUMBER};
	struct rig g;
	double v = 42;

	(void)state;
	rig_init(&g);
	rig_row(&g, "{a=\"1\"}", "{}", STR(""));
	assert_false(unwrap_take(&u, g.fields, &v));
	assert_false(fields_failed(g.fields));
	assert_true(v == 42);
	rig_fini(&g);
}

static void canonical(void **state)
{
	static const char *const want[] = {"| unwrap v", "| unwrap duration(v)",
		"| unwrap duration_seconds(v)", "| unwrap bytes(v)"};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct unwrap u = {STR("v"), i};
		struct buf out = {0};
		unwrap_format(&u, &out);
		assert_string_equal(buf_cstr(&out), want[i]);
		buf_fini(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values),
		cmocka_unit_test(none),
		cmocka_unit_test(canonical),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
