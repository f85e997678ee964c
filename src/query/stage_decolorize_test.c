/* SPDX-License-Identifier: Apache-2.0 */
#include "query/stage_rig.h"

static void sequences(void **state)
{
	static const struct {
		struct str line, result;
	} rows[] = {
		{STR_INIT(""), STR_INIT("")},
		{STR_INIT("plain"), STR_INIT("plain")},
		{STR_INIT("\x1b[31mred\x1b[0m"), STR_INIT("red")},
		{STR_INIT("\x1b[1;32mx\x1b[m y\x1b[K"), STR_INIT("x y")},
		{STR_INIT("\x1b[38;5;208mx"), STR_INIT("x")},
		{STR_INIT("\x1b[38:2::1:2:3mx"), STR_INIT("x")},
		{STR_INIT("\x1b[?25lx"), STR_INIT("x")},
		{STR_INIT("\x1b[4 qx"), STR_INIT("x")},
		{STR_INIT("\x1b]0;title\x07x"), STR_INIT("x")},
		{STR_INIT("\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\"), STR_INIT("link")},
		{STR_INIT("\x1b(Bx\x1b=y\x1b"
			  "7"),
			STR_INIT("xy")},
		{STR_INIT("\x1b\x1b[0mx"), STR_INIT("\x1bx")},
		/* Cut off, or none at all. */
		{STR_INIT("x\x1b"), STR_INIT("x\x1b")},
		{STR_INIT("x\x1b["), STR_INIT("x\x1b[")},
		{STR_INIT("x\x1b[31"), STR_INIT("x\x1b[31")},
		{STR_INIT("\x1b[3\xc3\xbcm"), STR_INIT("\x1b[3\xc3\xbcm")},
		{STR_INIT("\x1b]0;title"), STR_INIT("\x1b]0;title")},
		{STR_INIT("\x1b]0;title\x1b[0m"), STR_INIT("\x1b]0;title")},
		{STR_INIT("\x1b\0x"), STR_INIT("\x1b\0x")},
		{STR_INIT("[31mx"), STR_INIT("[31mx")},
	};
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct stage *s = decolorize_new(&g.query);
		struct pipe_row row = rig_row(&g, "{}", "{}", rows[i].line);
		assert_int_equal(s->type->run(s, NULL, &row), 1);
		if (!str_eq(row.line, rows[i].result))
			fail_msg("row %zu: %.*s", i, STR_ARG(row.line));
	}
	assert_string_equal(rig_canonical(&g, "| decolorize"), "| decolorize");
	rig_fini(&g);
}

/* A filter behind it speaks of what it made. */
static void filters_behind(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g);
	assert_string_equal(
		rig_query(&g, "| decolorize |= \"ab\"", "{}", "{}", "a\x1b[0mb"), "{} ab");
	assert_string_equal(rig_query(&g, "| decolorize |= \"[0m\"", "{}", "{}", "a\x1b[0mb"), "");
	rig_fini(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sequences),
		cmocka_unit_test(filters_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
