/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "cli/table.h"

static int no_run(struct command_line *cl)
{
	return 0;
}

static const struct command test_command = {
	.name = "test", .args = "", .summary = "a test", .groups = {&table_flags}, .run = no_run};

static const struct table_column columns[] = {
	{"LINES", true}, {"LEVEL", false}, {"TEXT", false}, {NULL, false}};

struct fixture {
	struct command_line cl;
	struct table t;
	char *out;
	size_t n;
};

static void begin(struct fixture *f, char **argv)
{
	struct error e = {0};

	*f = (struct fixture){0};
	assert_int_equal(command_line_parse(&f->cl, &test_command, argv, 0, &e), 0);
	f->cl.out = open_memstream(&f->out, &f->n);
	table_init(&f->t, &f->cl, columns);
}

static void end(struct fixture *f, const char *want)
{
	fclose(f->cl.out);
	assert_string_equal(f->out, want);
	free(f->out);
	command_line_fini(&f->cl);
}

static void row(struct table *t, uint64_t n, const char *level, const char *text)
{
	table_count(t, n);
	table_level(t, str_c(level));
	table_text(t, str_c(text));
}

static void times_end_with_their_seconds(void **state)
{
	static const struct {
		const char *time, *want;
	} cases[] = {
		{"2026-11-21T10:00:07.250123456Z", "2026-11-21T10:00:07Z"},
		{"2026-11-21T10:00:07.25+02:00", "2026-11-21T10:00:07+02:00"},
		{"2026-11-21T10:00:07Z", "2026-11-21T10:00:07Z"},
		{"now.", "now"},
		{"", ""},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf out = {0};

		table_put_time(&out, str_c(cases[i].time));
		assert_string_equal(buf_cstr(&out), cases[i].want);
		buf_fini(&out);
	}
}

static void note_below_numbers(void **state)
{
	static const struct table_column two[] = {{"NAME", false}, {"N", true}, {NULL, false}};
	char *argv[] = {NULL};
	struct fixture f;
	struct table t;

	(void)state;
	begin(&f, argv);
	table_init(&t, f.t.cl, two);
	table_text(&t, STR("a long name"));
	table_count(&t, 7);
	table_note(&t, STR("why"));
	table_fini(&t);
	table_fini(&f.t);
	end(&f, "NAME         N\na long name  7\n  why\nLINES  LEVEL  TEXT\n");
}

static void columns_fit(void **state)
{
	char *argv[] = {NULL};
	struct fixture f;

	(void)state;
	begin(&f, argv);
	row(&f.t, 1234567, "critical", "grüße <_>");
	table_note(&f.t, STR("grüße 17\x1b[1m"));
	row(&f.t, 999, "", "two\nlines and a \x1b stay as they are in a pipe");
	row(&f.t, 1000, "warn", "");
	table_fini(&f.t);
	end(&f, "    LINES  LEVEL     TEXT\n"
		"1,234,567  critical  grüße <_>\n"
		"                       grüße 17\\x1b[1m\n"
		"      999  -         two lines and a \x1b stay as they are in a pipe\n"
		"    1,000  warn      \n");
	begin(&f, argv);
	table_fini(&f.t);
	end(&f, "LINES  LEVEL  TEXT\n");
}

/* Where a terminal is at the end, log text does not reach it as it is. */
static void coloured(void **state)
{
	char always[] = "--color=always";
	char *argv[] = {always, NULL};
	struct fixture f;

	(void)state;
	begin(&f, argv);
	row(&f.t, 1, "error", "\x1b[2J");
	row(&f.t, 2, "warn", "x");
	row(&f.t, 3, "info", "y");
	table_fini(&f.t);
	end(&f, "LINES  LEVEL  TEXT\n"
		"    1  \x1b[31merror\x1b[0m  \\x1b[2J\n"
		"    2  \x1b[33mwarn\x1b[0m   x\n"
		"    3  info   y\n");
}

static void as_json(void **state)
{
	char jsonl[] = "--output=jsonl";
	char *none[] = {NULL}, *lines[] = {jsonl, NULL};
	struct json_parser *p = json_parser_new();
	struct error e = {0};
	struct fixture f;
	struct json j;

	(void)state;
	assert_int_equal(
		json_parse(p, STR("[{\"a\":1,\"b\":\"x\",\"c\":1.5},{\"a\":\"no\"}]"), &j, &e), 0);
	assert_int_equal(table_u64(&j, 1, "a"), 1);
	assert_true(str_eq_c(json_get_text(&j, 1, "b"), "x"));
	assert_true(table_double(&j, 1, "c") == 1.5);
	assert_int_equal(table_u64(&j, 1, "none"), 0);
	assert_int_equal(json_get_text(&j, 1, "a").n, 0);
	begin(&f, none);
	table_json(&f.cl, &j, 0);
	end(&f, "[{\"a\":1,\"b\":\"x\",\"c\":1.5},{\"a\":\"no\"}]\n");
	begin(&f, lines);
	table_json(&f.cl, &j, 0);
	end(&f, "{\"a\":1,\"b\":\"x\",\"c\":1.5}\n{\"a\":\"no\"}\n");
	json_parser_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_fit),
		cmocka_unit_test(times_end_with_their_seconds),
		cmocka_unit_test(note_below_numbers),
		cmocka_unit_test(coloured),
		cmocka_unit_test(as_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
