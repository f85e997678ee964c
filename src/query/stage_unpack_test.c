/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "query/parser_rig.h"

static void unpacks(void **state)
{
	static const struct {
		const char *labels, *wanted, *line, *parsed, *after;
	} rows[] = {
		{"{}", NULL,
			"{\"container\":\"myapp\",\"pod\":\"pod-3223f\",\"_entry\":\"original log message\"}",
			"{container=\"myapp\", pod=\"pod-3223f\"}", "original log message"},
		{"{}", "pod",
			"{\"container\":\"myapp\",\"pod\":\"pod-3223f\",\"_entry\":\"original log message\"}",
			"{pod=\"pod-3223f\"}", "original log message"},
		{"{pod=\"x\"}", NULL, "{\"pod\":\"y\",\"_entry\":\"a\\nb\"}",
			"{pod_extracted=\"y\"}", "a\nb"},
		{"{pod=\"x\"}", "pod_extracted", "{\"pod\":\"y\",\"q\":\"z\",\"_entry\":\"\"}",
			"{pod_extracted=\"y\"}", ""},
		/* Without an entry the line stays. */
		{"{}", NULL, "{\"a\":\"b\"}", "{a=\"b\"}", "{\"a\":\"b\"}"},
		/* What pack does not write. */
		{"{}", NULL,
			"{\"a\":1,\"b\":true,\"c\":null,\"d\":{\"e\":\"f\"},\"g\":[\"h\"],\"i\":\"j\"}",
			"{i=\"j\"}",
			"{\"a\":1,\"b\":true,\"c\":null,\"d\":{\"e\":\"f\"},\"g\":[\"h\"],\"i\":\"j\"}"},
		{"{}", NULL, "{\"_entry\":7,\"a\":\"b\"}", "{a=\"b\"}",
			"{\"_entry\":7,\"a\":\"b\"}"},
		{"{}", NULL, "{\"_entry\":\"x\",\"a\":\"b\",\"_entry\":\"y\"}", "{a=\"b\"}", "x"},
		{"{}", NULL, "{\"_entry\":\"x\",\"a\":\"b\"",
			"{__error__=\"JSONParserErr\", __error_details__=\"bad JSON at byte 21: the array or "
			"object is not closed\"}",
			"{\"_entry\":\"x\",\"a\":\"b\""},
		{"{}", NULL, "no",
			"{__error__=\"JSONParserErr\", __error_details__=\"bad JSON at byte 0: the line is not "
			"an object\"}",
			"no"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct parser_rig r;
		rig_init(&r);
		rig_stage(&r, unpack_new(&r.query), rows[i].wanted);
		assert_int_equal(rig_run(&r, rows[i].labels, "{}", str_c(rows[i].line)), 1);
		if (strcmp(rig_parsed(&r), rows[i].parsed) != 0)
			fail_msg("%s\n gives %s\n  want %s", rows[i].line, rig_parsed(&r),
				rows[i].parsed);
		if (!str_eq_c(r.line, rows[i].after))
			fail_msg("%s\n becomes %.*s", rows[i].line, STR_ARG(r.line));
		assert_string_equal(rig_format(&r), "| unpack");
		rig_fini(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(unpacks)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
