/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "record/discover.h"
#include "record/severity.h"

static const struct discover both = {.service_name = true, .level = true};

static struct buf labels_of(const char *text)
{
	struct labels_builder b = {.names_free = true};
	struct buf bytes = {0};

	assert_int_equal(labels_parse(&b, str_c(text), NULL), 0);
	labels_builder_write(&b, &bytes);
	labels_builder_fini(&b);
	return bytes;
}

static void assert_service(const char *text, const char *service)
{
	struct labels_builder b = {0};
	struct str value = STR("(none)");

	assert_int_equal(labels_parse(&b, str_c(text), NULL), 0);
	discover_service_name(&both, &b);
	labels_builder_get(&b, STR("service_name"), &value);
	assert_true(str_eq_c(value, service));
	labels_builder_fini(&b);
}

static void test_service_name(void **state)
{
	struct labels_builder b = {0};
	struct str value;
	char name[8];

	assert_service("{}", "unknown_service");
	assert_service("{host=\"h\"}", "unknown_service");
	assert_service("{job=\"j\", app=\"a\"}", "a");
	assert_service("{k8s_job_name=\"k\"}", "k");
	assert_service("{workload=\"w\", container=\"c\", service=\"s\"}", "s");
	assert_service("{service_name=\"own\", app=\"a\"}", "own");
	discover_service_name(&(struct discover){0}, &b);
	assert_false(labels_builder_get(&b, STR("service_name"), &value));
	for (int i = 0; i < LABELS_MAX; i++) {
		snprintf(name, sizeof name, "n%d", i);
		labels_builder_set(&b, str_c(name), STR("v"), NULL);
	}
	discover_service_name(&both, &b);
	assert_int_equal(b.n, LABELS_MAX);
	labels_builder_fini(&b);
}

static void assert_level(const char *labels, const char *meta, const char *line, uint8_t severity)
{
	struct buf set = labels_of(labels), data = labels_of(meta);
	struct record r = {.body = str_c(line), .meta = buf_view(&data)};

	discover_level(&both, buf_view(&set), &r);
	assert_int_equal(r.severity, severity);
	assert_int_equal(r.flags, RECORD_LEVEL_DETECTED);
	buf_fini(&set);
	buf_fini(&data);
}

static void test_level(void **state)
{
	assert_level("{}", "{}", "hello", SEV_UNKNOWN);
	assert_level("{}", "{}", "ERROR hello", SEV_ERROR);
	assert_level("{level=\"info\"}", "{}", "ERROR hello", SEV_INFO);
	assert_level("{level=\"info\"}", "{severity=\"WARN\"}", "ERROR hello", SEV_WARN);
	assert_level("{level=\"high\"}", "{}", "ERROR hello", SEV_ERROR);
	assert_level("{}", "{severity=\"debug\", LEVEL=\"warn\"}", "x", SEV_WARN);
	assert_level("{}", "{severity_number=\"18\"}", "x", 18);
	assert_level("{}", "{severity_number=\"18\", severity_text=\"info\"}", "x", SEV_INFO);
	assert_level("{}", "{severity_number=\"25\"}", "x", SEV_UNKNOWN);
	assert_level("{Severity_Text=\"fatal\"}", "{}", "x", SEV_FATAL);
}

static void test_level_is_left_alone(void **state)
{
	struct buf meta = labels_of("{detected_level=\"warn\"}");
	struct record r = {.body = STR("ERROR x"), .severity = 10};

	discover_level(&both, STR_NONE, &r);
	assert_int_equal(r.severity, 10);
	assert_int_equal(r.flags, RECORD_LEVEL_DETECTED);
	r = (struct record){.body = STR("ERROR x")};
	discover_level(&(struct discover){.service_name = true}, STR_NONE, &r);
	assert_int_equal(r.severity, 0);
	assert_int_equal(r.flags, 0);
	r.meta = buf_view(&meta);
	discover_level(&both, STR_NONE, &r);
	assert_int_equal(r.severity, SEV_WARN);
	assert_int_equal(r.flags, 0);
	buf_fini(&meta);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_service_name),
		cmocka_unit_test(test_level),
		cmocka_unit_test(test_level_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
