/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "store/lines/filter.h"

static struct regex *compile(const char *pattern)
{
	struct regex *r;
	struct error e;

	if (regex_new(&r, str_c(pattern), false, &e) < 0)
		fail_msg("%s", e.text);
	return r;
}

static void test_any_of(void **state)
{
	struct regex *r = compile("c[0-9]+");
	const struct line_test tests[] = {{.text = STR("aa")}, {.regex = r}};
	struct line_filter f = {.tests = tests, .n = 2};

	(void)state;
	assert_int_equal(line_filter_test(&f, STR("xaax")), 1);
	assert_int_equal(line_filter_test(&f, STR("xc1")), 1);
	assert_int_equal(line_filter_test(&f, STR("xac")), 0);
	assert_int_equal(line_filter_test(&f, STR_NONE), 0);
	f.negate = true;
	assert_int_equal(line_filter_test(&f, STR("xaax")), 0);
	assert_int_equal(line_filter_test(&f, STR("xac")), 1);
	assert_int_equal(line_filter_test(&f, STR_NONE), 1);
	regex_free(r);
}

static void test_empty_text(void **state)
{
	const struct line_test tests[] = {{.text = STR_INIT("")}};
	struct line_filter f = {.tests = tests, .n = 1};

	(void)state;
	assert_int_equal(line_filter_test(&f, STR("x")), 1);
	assert_int_equal(line_filter_test(&f, STR_NONE), 1);
	f.negate = true;
	assert_int_equal(line_filter_test(&f, STR("x")), 0);
}

static void test_all_filters(void **state)
{
	const struct line_test a = {.text = STR_INIT("a")}, b = {.text = STR_INIT("b")};
	const struct line_filter f[] = {
		{.tests = &a, .n = 1}, {.tests = &b, .n = 1, .negate = true}};

	(void)state;
	assert_int_equal(line_filters_test(f, 2, STR("ac")), 1);
	assert_int_equal(line_filters_test(f, 2, STR("ab")), 0);
	assert_int_equal(line_filters_test(f, 2, STR("c")), 0);
	assert_int_equal(line_filters_test(f, 0, STR("c")), 1);
}

static void test_budget(void **state)
{
	struct regex *r = compile("(a+)+$");
	const struct line_test tests[] = {{.regex = r}};
	struct line_filter f = {.tests = tests, .n = 1};
	char line[60];

	(void)state;
	memset(line, 'a', sizeof line);
	line[59] = '!';
	assert_int_equal(line_filter_test(&f, str_make(line, sizeof line)), ERR_LIMIT);
	assert_int_equal(line_filters_test(&f, 1, str_make(line, sizeof line)), ERR_LIMIT);
	f.negate = true;
	assert_int_equal(line_filter_test(&f, str_make(line, sizeof line)), ERR_LIMIT);
	regex_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_of),
		cmocka_unit_test(test_empty_text),
		cmocka_unit_test(test_all_filters),
		cmocka_unit_test(test_budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
