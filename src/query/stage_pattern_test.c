/* SPDX-License-Identifier: Apache-2.0 */
#include "query/stage_rig.h"

#include "query/pattern.h"

static void extraction(void **state)
{
	static const struct {
		const char *pattern, *line, *result; /* over the stream {app="s"} */
	} rows[] = {
		{"<ip> - <_> [<ts>]", "1.2.3.4 - x [now] more", ", ip=\"1.2.3.4\", ts=\"now\""},
		{"<_> msg=\"<method> <path> (<status>) <latency>\"",
			"level=debug msg=\"POST /push (204) 16.6ms\"",
			", latency=\"16.6ms\", method=\"POST\", path=\"/push\", status=\"204\""},
		{"a<x>", "ab", ", x=\"b\""},
		{"a<x>", "b", ""},
		{"<x>", "", ""},
		{"<x> <y>", "one two three", ", x=\"one\", y=\"two three\""},
		{"<x> <y> end", "one two end end", ", x=\"one\", y=\"two\""},
		{"<x>:<y>", "no colon", ", x=\"no colon\""},
		{"<x>,<y>;<z>", "1,2 3", ", x=\"1\", y=\"2 3\""},
		{"<<from>> -> <<to>>", "<a@b> -> <c@d>", ", from=\"a@b\", to=\"c@d\""},
		{"<4><x>", "<4>y", ", x=\"y\""},
		{"<a b><x>", "<a b>y", ", x=\"y\""},
		{"<x>\xc3\xbc<y>", "1\xc3\xbcz", ", x=\"1\", y=\"z\""},
		{"<a> <b>", "  two", ", b=\" two\""},
		{"<app> <x>", "web 1", ", app_extracted=\"web\", x=\"1\""},
	};
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct stage *s = NULL;
		struct error e = {0};
		struct buf want = {0};
		if (pattern_new(&g.query, str_c(rows[i].pattern), &s, &e) < 0)
			fail_msg("%s: %s", rows[i].pattern, e.text);
		buf_printf(&want, "{app=\"s\"%s} %s", rows[i].result, rows[i].line);
		assert_string_equal(
			rig_run(&g, s, "{app=\"s\"}", "{}", str_c(rows[i].line)), buf_cstr(&want));
		buf_fini(&want);
	}
	rig_fini(&g);
}

static void refused(void **state)
{
	static const char *const bad[] = {"", "abc", "<_>", "<_> <_>", "<a><b>", "<a><_>",
		"<a>x<a>", "<1a>", "< a>", "<a", "<>"};
	static const char *const bad_filters[] = {"<a>", "<_><_>", "x <_><_> y", "<_> <b>"};
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct error e = {0};
		struct stage *s = NULL;
		if (pattern_new(&g.query, str_c(bad[i]), &s, &e) != ERR_ARG || !e.text[0])
			fail_msg("%s is taken", bad[i]);
	}
	for (size_t i = 0; i < sizeof bad_filters / sizeof *bad_filters; i++) {
		struct error e = {0};
		assert_int_equal(filter_pattern_check(str_c(bad_filters[i]), &e), ERR_ARG);
		assert_true(e.text[0]);
	}
	rig_fini(&g);
}

static void too_many(void **state)
{
	struct buf text = {0};
	struct stage *s = NULL;
	struct rig g;

	(void)state;
	rig_init(&g);
	for (int i = 0; i < PATTERN_CAPTURES_MAX; i++)
		buf_printf(&text, "<c%d>,", i);
	assert_int_equal(pattern_new(&g.query, buf_view(&text), &s, NULL), 0);
	buf_c(&text, "<more>");
	assert_int_equal(pattern_new(&g.query, buf_view(&text), &s, NULL), ERR_ARG);
	buf_fini(&text);
	rig_fini(&g);
}

/* What nobody reads is not taken, and what lies behind the last that is read is not looked at. */
static void only_wanted(void **state)
{
	struct stage *s = NULL;
	struct rig g;

	(void)state;
	rig_init(&g);
	assert_int_equal(pattern_new(&g.query, STR("<a> <b> <c>"), &s, NULL), 0);
	g.wanted = (struct wanted){.n = 1, .names = {STR("b")}};
	assert_string_equal(rig_run(&g, s, "{}", "{}", STR("1 2 3")), "{b=\"2\"} 1 2 3");
	g.wanted = (struct wanted){.n = 1, .names = {STR("a_extracted")}};
	assert_string_equal(rig_run(&g, s, "{a=\"x\"}", "{}", STR("1 2 3")),
		"{a=\"x\", a_extracted=\"1\"} 1 2 3");
	g.wanted = (struct wanted){.n = 1, .names = {STR("other")}};
	assert_string_equal(rig_run(&g, s, "{}", "{}", STR("1 2 3")), "{} 1 2 3");
	assert_string_equal(rig_format(&g, s), "| pattern \"<a> <b> <c>\"");
	rig_fini(&g);
}

/* A row that is full of fields takes no more, and says so. */
static void full(void **state)
{
	struct stage *s = NULL;
	struct pipe_row row;
	struct pipeline *p;
	struct rig g;

	(void)state;
	rig_init(&g);
	assert_int_equal(pattern_new(&g.query, STR("<a> <b>"), &s, NULL), 0);
	p = pipeline_new(s, &g.wanted, NULL);
	row = rig_row(&g, "{}", "{}", STR("1 2"));
	for (int i = 0; i < FIELDS_MAX - 1; i++)
		assert_true(fields_set(
			g.fields, str_c(arena_printf(&g.query.arena, "f%d", i)), STR("x")));
	assert_int_equal(pipeline_run(p, &row), 1);
	assert_true(fields_failed(g.fields));
	pipeline_free(p);
	rig_fini(&g);
}

static void filters(void **state)
{
	static const struct {
		const char *pattern, *line;
		bool hit;
	} rows[] = {
		{"", "", true},
		{"", "x", false},
		{"<_>", "", false},
		{"<_>", "x", true},
		{"abc", "abc", true},
		{"abc", "abcd", false},
		{"<_>abc", "abc", false},
		{"<_>abc", "xabc", true},
		{"<_>a", "xaya", true},
		{"<_>a", "xay", false},
		{"abc<_>", "abcd", true},
		{"abc<_>", "abc", false},
		{"<_>b<_>", "abc", true},
		{"<_>b<_>", "bbc", true},
		{"<_>b<_>", "ab", false},
		{"<_>b<_>b", "abb", false},
		{"<_>b<_>b", "abxb", true},
		{"a<_>a", "aa", false},
		{"a<_>a", "a", false},
		{"a<_>b<_>c", "a1b2c3c", true},
		{"a<_>b<_>c", "abbcc", true},
		{"a<_>b<_>c", "abcc", false},
		{"<_> caller=http.go:194 level=debug <_> msg=\"POST /p <_>",
			"ts=2024 caller=http.go:194 level=debug id=2 msg=\"POST /p (200) 1ms\"",
			true},
		{"<1> <_>", "<1> x", true},
	};
	struct arena a;

	(void)state;
	arena_init(&a, NULL);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct pattern p;
		assert_int_equal(pattern_parse(&p, &a, str_c(rows[i].pattern), false, NULL), 0);
		if (pattern_matches(&p, str_c(rows[i].line)) != rows[i].hit)
			fail_msg("%s: %s", rows[i].pattern, rows[i].line);
	}
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(extraction),
		cmocka_unit_test(refused),
		cmocka_unit_test(too_many),
		cmocka_unit_test(only_wanted),
		cmocka_unit_test(full),
		cmocka_unit_test(filters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
