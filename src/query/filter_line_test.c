/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "query/query.h"
#include "record/labels.h"

static struct query *parse(const char *text)
{
	struct query *q = NULL;
	struct error e = {0};

	if (query_parse(&q, str_c(text), &e) < 0)
		fail_msg("%s: %s", text, e.text);
	return q;
}

static void lines(void **state)
{
	static const struct {
		const char *filters;
		struct str line;
		bool keep;
	} rows[] = {
		{"", STR_INIT(""), true},
		{"|= \"\"", STR_INIT(""), true},
		{"|= \"\"", STR_INIT("x"), true},
		{"!= \"\"", STR_INIT("x"), false},
		{"|= \"x\"", STR_INIT(""), false},
		{"|= \"abc\"", STR_INIT("ab"), false},
		{"|= \"abc\"", STR_INIT("xxabc"), true},
		{"|= \"ABC\"", STR_INIT("abc"), false},
		{"|= \"a.c\"", STR_INIT("abc"), false},
		{"!= \"abc\"", STR_INIT("ab"), true},
		{"|= \"a\" or \"b\"", STR_INIT("xb"), true},
		{"|= \"a\" or \"b\"", STR_INIT("xc"), false},
		{"!= \"a\" or \"b\"", STR_INIT("xb"), false},
		{"!= \"a\" or \"b\"", STR_INIT("xc"), true},
		{"|= \"a\" |= \"b\"", STR_INIT("ba"), true},
		{"|= \"a\" |= \"b\"", STR_INIT("bb"), false},
		{"|= \"a\" != \"b\"", STR_INIT("a"), true},
		{"|~ \"err|warn\"", STR_INIT("a warning"), true},
		{"|~ \"^err\"", STR_INIT("an err"), false},
		{"|~ `code=\\d+ in`", STR_INIT("x code=42 in y"), true},
		{"|~ `code=\\d+ in`", STR_INIT("x code= in y"), false},
		{"|~ \"(?i)abc\"", STR_INIT("xABCx"), true},
		{"!~ \"(?i)abc\"", STR_INIT("xABCx"), false},
		{"|~ \"\"", STR_INIT("x"), true},
		{"|~ \"a+\" or \"b+\"", STR_INIT("b"), true},
		{"!~ \"a+\" or \"b+\"", STR_INIT("b"), false},
		{"!~ \"a+\" or \"b+\"", STR_INIT("c"), true},
		{"|= \"a\\x00b\"", STR_INIT("xa\0by"), true},
		{"|= \"\\xff\"", STR_INIT("\xfe\xff"), true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf text = {0};
		struct query *q;
		buf_printf(&text, "{a=\"b\"} %s", rows[i].filters);
		q = parse(buf_cstr(&text));
		if (query_want_line(q, rows[i].line) != rows[i].keep)
			fail_msg("%s: %.*s", rows[i].filters, STR_ARG(rows[i].line));
		query_free(q);
		buf_fini(&text);
	}
}

static void streams(void **state)
{
	static const struct {
		const char *selector, *labels;
		bool want;
	} rows[] = {
		{"{}", "{}", true},
		{"{}", "{a=\"b\"}", true},
		{"{a=\"b\"}", "{a=\"b\", c=\"d\"}", true},
		{"{a=\"b\"}", "{a=\"bb\"}", false},
		{"{a=\"b\"}", "{}", false},
		{"{a=\"\"}", "{}", true},
		{"{a=\"\"}", "{a=\"b\"}", false},
		{"{a!=\"b\"}", "{}", true},
		{"{a!=\"\"}", "{}", false},
		{"{a=~\"b\"}", "{a=\"bb\"}", false},
		{"{a=~\"b|bb\"}", "{a=\"bb\"}", true},
		{"{a=~\"b.*\"}", "{a=\"bcd\"}", true},
		{"{a=~\".*\"}", "{}", true},
		{"{a=~\".+\"}", "{}", false},
		{"{a!~\"b.*\"}", "{}", true},
		{"{a!~\"b.*\"}", "{a=\"bcd\"}", false},
		{"{a=\"b\", c=\"d\"}", "{a=\"b\"}", false},
		{"{a=\"b\", a!=\"b\"}", "{a=\"b\"}", false},
		{"{a=\"b\"} |= \"x\"", "{a=\"b\"}", true},
		{"rate({a=\"b\"}[1m])", "{a=\"b\"}", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct labels_builder b = {0};
		struct buf labels = {0};
		struct query *q = parse(rows[i].selector);
		assert_int_equal(labels_parse(&b, str_c(rows[i].labels), NULL), 0);
		labels_builder_write(&b, &labels);
		if (query_want_stream(q, buf_view(&labels)) != rows[i].want)
			fail_msg("%s: %s", rows[i].selector, rows[i].labels);
		query_free(q);
		labels_builder_fini(&b);
		buf_fini(&labels);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(streams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
