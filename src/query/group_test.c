/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "query/group.h"

static struct buf canonical(const char *text)
{
	struct labels_builder b = {0};
	struct buf out = {0};

	assert_int_equal(labels_parse(&b, str_c(text), NULL), 0);
	labels_builder_write(&b, &out);
	labels_builder_fini(&b);
	return out;
}

static void check_project(struct grouping g, const char *labels, const char *meta,
	const char *level, const char *want)
{
	struct buf a = canonical(labels), b = {0}, got = {0}, text = {0};

	if (*meta)
		b = canonical(meta);
	grouping_project(&g, buf_view(&a), buf_view(&b), level, &got);
	assert_int_equal(labels_check(buf_view(&got), NULL), 0);
	labels_text(&text, buf_view(&got));
	assert_string_equal(buf_cstr(&text), want);
	buf_fini(&a);
	buf_fini(&b);
	buf_fini(&got);
	buf_fini(&text);
}

static void projections(void **state)
{
	static const struct str names[] = {STR_INIT("a"), STR_INIT("detected_level")};
	struct grouping by = {GROUP_BY, names, 2}, without = {GROUP_WITHOUT, names, 2};
	struct grouping none = {.kind = GROUP_BY}, all = {.kind = GROUP_WITHOUT};

	(void)state;
	check_project(none, "{a=\"1\"}", "{b=\"2\"}", "info", "{}");
	check_project(all, "{a=\"1\", z=\"3\"}", "{b=\"2\"}", "info",
		"{a=\"1\", b=\"2\", detected_level=\"info\", z=\"3\"}");
	check_project(all, "{a=\"1\"}", "{a=\"2\", b=\"3\"}", NULL, "{a=\"2\", b=\"3\"}");
	check_project(all, "{detected_level=\"x\"}", "{detected_level=\"y\"}", "z",
		"{detected_level=\"y\"}");
	check_project(all, "{detected_level=\"x\"}", "", "z", "{detected_level=\"z\"}");
	check_project(all, "{}", "{detected_level=\"y\"}", "z", "{detected_level=\"y\"}");
	check_project(all, "{}", "", NULL, "{}");
	check_project(by, "{b=\"1\"}", "{a=\"2\"}", "warn", "{a=\"2\", detected_level=\"warn\"}");
	check_project(without, "{b=\"1\"}", "{a=\"2\", c=\"3\"}", "warn", "{b=\"1\", c=\"3\"}");
}

static void check_order(const char *x, const char *y, int want)
{
	struct buf a = canonical(x), b = canonical(y);
	int r = labels_order(buf_view(&a), buf_view(&b));

	assert_int_equal((r > 0) - (r < 0), want);
	r = labels_order(buf_view(&b), buf_view(&a));
	assert_int_equal((r > 0) - (r < 0), -want);
	buf_fini(&a);
	buf_fini(&b);
}

static void orders(void **state)
{
	(void)state;
	check_order("{}", "{}", 0);
	check_order("{}", "{a=\"b\"}", -1);
	check_order("{a=\"b\"}", "{a=\"b\"}", 0);
	check_order("{a=\"b\"}", "{a=\"c\"}", -1);
	check_order("{a=\"bb\"}", "{a=\"c\"}", -1);
	check_order("{aa=\"b\"}", "{b=\"a\"}", -1);
	check_order("{a=\"b\"}", "{a=\"b\", c=\"d\"}", -1);
	check_order("{a=\"b\", c=\"d\"}", "{a=\"c\"}", -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(projections),
		cmocka_unit_test(orders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
