/* SPDX-License-Identifier: Apache-2.0 */
#include "query/stage_rig.h"

#include "query/plan.h"
#include "store/lines/filter.h"

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

/* Patterns and addresses, which the store does not know: what it is given in their place passes
 * every line that they keep. */
static void here(void **state)
{
	static const struct {
		const char *filter, *line;
		bool keep;
	} rows[] = {
		{"|> \"<_> b <_>\"", "a b c", true},
		{"|> \"<_> b <_>\"", "a b", false},
		{"!> \"<_> b <_>\"", "a b c", false},
		{"!> \"<_> b <_>\"", "a b", true},
		{"|> \"a<_>\" or \"b<_>\"", "bx", true},
		{"|> \"a<_>\" or \"b<_>\"", "cx", false},
		{"!> \"a<_>\" or \"b<_>\"", "bx", false},
		{"!> \"a<_>\" or \"b<_>\"", "cx", true},
		{"|> \"\"", "", true},
		{"|> \"\"", "x", false},
		{"|> \"<_>\"", "x", true},
		{"|> \"x\" or \"<_>y\"", "ay", true},
		{"|> \"a<_>b<_>cc\"", "a1b2cc", true},
		{"|> \"a<_>b<_>cc\"", "a1b2c", false},
		{"|= ip(\"10.0.0.0/8\")", "at 10.1.2.3:80", true},
		{"|= ip(\"10.0.0.0/8\")", "at 11.1.2.3:80", false},
		{"!= ip(\"10.0.0.0/8\")", "at 10.1.2.3:80", false},
		{"!= ip(\"10.0.0.0/8\")", "at 11.1.2.3:80", true},
		{"|= ip(\"10.1.2.3\")", "::ffff:10.1.2.3", true},
		{"|= ip(\"::/0\")", "at fe80::1", true},
		{"|= \"x\" or ip(\"10.1.0.0-10.1.9.9\")", "10.1.5.5", true},
		{"|= \"x\" or ip(\"10.1.0.0-10.1.9.9\")", "x", true},
		{"|= \"x\" or ip(\"10.1.0.0-10.1.9.9\")", "10.2.5.5", false},
		{"!= \"x\" or ip(\"10.1.0.0/16\")", "10.1.5.5", false},
		{"!= \"x\" or ip(\"10.1.0.0/16\")", "10.2.5.5", true},
		{"|= \"\" or ip(\"10.1.0.0/16\")", "anything", true},
	};
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct query *q;
		const struct stage *s;
		const struct line_filter *pre;
		size_t n;
		struct pipe_row row = {.line = str_c(rows[i].line)};
		buf_clear(&g.line);
		buf_printf(&g.line, "{a=\"b\"} %s", rows[i].filter);
		q = parse(buf_cstr(&g.line));
		s = expr_log(q->root)->stages;
		assert_null(s->type->filter);
		if (s->type->run(s, NULL, &row) != rows[i].keep)
			fail_msg("%s: %s", rows[i].filter, rows[i].line);
		n = s->type->prefilter(s, &pre);
		if (rows[i].keep && line_filters_test(pre, n, row.line) != 1)
			fail_msg("%s: the store would drop: %s", rows[i].filter, rows[i].line);
		assert_string_equal(rig_format(&g, s), rows[i].filter);
		query_free(q);
	}
	rig_fini(&g);
}

/* How many filters the scan is given: those that speak of the stored line. */
static void pushed_down(void **state)
{
	static const struct {
		const char *stages;
		size_t n;
	} rows[] = {
		{"", 0},
		{"|= \"a\" != \"b\"", 2},
		{"|= \"a\" | drop x |= \"b\"", 2},
		{"|= \"a\" | decolorize |= \"b\"", 1},
		{"|> \"a<_>b<_>\"", 2},
		{"|> \"a<_>b<_>\" |~ \"c\"", 3},
		{"|> \"a<_>\" or \"<_>b\"", 1},
		{"|> \"a<_>\" or \"<_>\"", 0},
		{"!> \"a<_>b<_>\"", 0},
		{"|= ip(\"10.0.0.0/8\")", 1},
		{"|= ip(\"10.0.0.0/8\") or \"b\"", 1},
		{"|= ip(\"10.0.0.0/8\") or ip(\"::1\")", 0},
		{"!= ip(\"10.0.0.0/8\")", 0},
	};
	struct query_params params = {.end_ns = 1};
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct query *q;
		struct plan plan;
		buf_clear(&g.line);
		buf_printf(&g.line, "{a=\"b\"} %s", rows[i].stages);
		q = parse(buf_cstr(&g.line));
		plan = plan_log(expr_log(q->root), &params, &g.query.arena);
		if (plan.n_filters != rows[i].n)
			fail_msg("%s: %zu", rows[i].stages, plan.n_filters);
		query_free(q);
	}
	rig_fini(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(streams),
		cmocka_unit_test(here),
		cmocka_unit_test(pushed_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
