/* SPDX-License-Identifier: Apache-2.0 */
#include "query/stage_rig.h"

static void extraction(void **state)
{
	static const char *const rows[][3] = {
		{"| regexp `(?P<method>\\w+) (?P<path>\\S+) \\((?P<status>\\d+)\\)`",
			"POST /push (204) 1s",
			"{app=\"s\", method=\"POST\", path=\"/push\", status=\"204\"} "
			"POST /push (204) 1s"},
		{"| regexp `(?P<a>x)`", "y", "{app=\"s\"} y"},
		{"| regexp `(?P<a>x)?(?P<b>y)`", "y", "{app=\"s\", b=\"y\"} y"},
		{"| regexp `(?P<a>x*)(?P<b>y)`", "y", "{app=\"s\", b=\"y\"} y"},
		{"| regexp `(\\d)(?P<b>\\d)(\\d)`", "a123", "{app=\"s\", b=\"2\"} a123"},
		{"| regexp `(?P<app>\\w)`", "q", "{app=\"s\", app_extracted=\"q\"} q"},
		{"| regexp `(?P<a>\\d)`", "1 2", "{a=\"1\", app=\"s\"} 1 2"},
		{"| regexp `^(?P<a>.*)$`", "gr\xc3\xb6\xc3\x9f",
			"{a=\"gr\xc3\xb6\xc3\x9f\", app=\"s\"} gr\xc3\xb6\xc3\x9f"},
		{"| regexp `(?P<a>x)` | a=\"x\"", "y", ""},
	};
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_string_equal(
			rig_query(&g, rows[i][0], "{app=\"s\"}", "{}", rows[i][1]), rows[i][2]);
	assert_string_equal(rig_canonical(&g, rows[1][0]), "| regexp \"(?P<a>x)\"");
	rig_fini(&g);
}

static void only_wanted(void **state)
{
	const char *stages = "| regexp `(?P<a>\\d)(?P<b>\\d)(?P<c>\\d)`";
	struct rig g;

	(void)state;
	rig_init(&g);
	g.wanted = (struct wanted){.n = 1, .names = {STR("b")}};
	assert_string_equal(rig_query(&g, stages, "{}", "{}", "123"), "{b=\"2\"} 123");
	g.wanted = (struct wanted){.n = 1, .names = {STR("d")}};
	assert_string_equal(rig_query(&g, stages, "{}", "{}", "123"), "{} 123");
	rig_fini(&g);
}

static void refused(void **state)
{
	static const char *const bad[] = {"", "x", "(x)", "(?P<a>x)(?P<a>y)", "(?P<1a>x)", "(?P<a>",
		"(?P<a>x)(?=y)", "(?P<a>x)\\1"};
	struct buf many = {0};
	struct stage *s = NULL;
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct error e = {0};
		if (regexp_new(&g.query, str_c(bad[i]), &s, &e) >= 0 || !e.text[0])
			fail_msg("%s is taken", bad[i]);
	}
	for (int i = 0; i < 64; i++)
		buf_printf(&many, "(?P<g%d>.)", i);
	assert_int_equal(regexp_new(&g.query, buf_view(&many), &s, NULL), ERR_ARG);
	assert_int_equal(
		regexp_new(&g.query, str_make(many.p, many.n - strlen("(?P<g63>.)")), &s, NULL), 0);
	buf_fini(&many);
	rig_fini(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(extraction),
		cmocka_unit_test(only_wanted),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
