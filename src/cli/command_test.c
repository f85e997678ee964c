/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "cli/command.h"
#include "cli/manual.h"

static const int64_t now = INT64_C(1787306400) * 1000000000; /* 2026-08-21T10:00:00Z */

static const char *const choices[] = {"default", "raw", "json", NULL};

static const struct flag own[] = {
	{.name = "limit",
		.letter = 'n',
		.aliases = "lines tail",
		.kind = FLAG_INT,
		.min = 0,
		.max = 100,
		.fallback = "30",
		.env = "TEST_LIMIT",
		.help = "At most N lines."},
	{.name = "forward", .letter = 'f', .kind = FLAG_BOOL, .help = "Oldest first."},
	{.name = "quiet", .letter = 'q', .kind = FLAG_BOOL, .help = "Print nothing."},
	{.name = "output",
		.letter = 'o',
		.kind = FLAG_CHOICE,
		.choices = choices,
		.fallback = "default",
		.help = "Format."},
	{.name = "label", .kind = FLAG_REPEATED, .env = "TEST_LABEL", .help = "A label."},
	{.name = "http", .kind = FLAG_STRING, .setting = "http.listen", .help = "Address."},
	FLAG_END,
};

static const struct flag shared[] = {
	{.name = "since", .aliases = "from", .kind = FLAG_TIME, .fallback = "1h", .help = "Begin."},
	{.name = "step", .kind = FLAG_DURATION, .help = "Step."},
	{.name = "addr",
		.kind = FLAG_STRING,
		.env = "TEST_ADDR TEST_OLD_ADDR",
		.fallback = "http://x",
		.help = "Server."},
	FLAG_END,
};

static const struct flag_group group = {"Shared", shared};

static int no_run(struct command_line *cl)
{
	return 0;
}

static const struct command plain = {.name = "plain",
	.args = "LOGQL",
	.summary = "a test",
	.flags = own,
	.groups = {&group},
	.min_args = 1,
	.max_args = 1,
	.run = no_run};
static const struct command settings = {.name = "settings",
	.args = "[FILE…]",
	.summary = "a test",
	.flags = own,
	.groups = {&group},
	.max_args = ARGS_ANY,
	.settings = true,
	.run = no_run};

struct fixture {
	struct command_line cl;
	struct error e;
	char words[20][80];
	char *argv[21];
};

static int parse(struct fixture *f, const struct command *c, const char *line)
{
	struct str rest = str_c(line);
	size_t n = 0;

	for (; rest.n; n++) {
		str_copy(str_cut(&rest, ' '), f->words[n], sizeof f->words[n]);
		f->argv[n] = f->words[n];
	}
	f->argv[n] = NULL;
	f->e = (struct error){0};
	return command_line_parse(&f->cl, c, f->argv, now, &f->e);
}

static void refused(const char *line, const char *sentence)
{
	struct fixture f;

	assert_int_equal(parse(&f, &plain, line), ERR_ARG);
	assert_string_equal(f.e.text, sentence);
	command_line_fini(&f.cl);
}

static void test_defaults(void **state)
{
	struct fixture f;

	assert_int_equal(parse(&f, &plain, "{}"), 0);
	assert_string_equal(f.cl.args[0], "{}");
	assert_int_equal(flag_int(&f.cl, "limit"), 30);
	assert_false(flag_given(&f.cl, "limit"));
	assert_false(flag_bool(&f.cl, "forward"));
	assert_int_equal(flag_choice(&f.cl, "output"), 0);
	assert_int_equal(flag_count(&f.cl, "label"), 0);
	assert_int_equal(flag_int(&f.cl, "since"), now - INT64_C(3600000000000));
	assert_string_equal(flag_string(&f.cl, "addr"), "http://x");
	assert_null(flag_string(&f.cl, "http"));
	assert_null(f.cl.settings[0]);
	command_line_fini(&f.cl);
}

static void test_forms(void **state)
{
	static const char *const limits[] = {"--limit 5 {}", "--limit=5 {}", "-n 5 {}", "-n5 {}",
		"--lines 5 {}", "--tail=5 {}", "{} -qn5", "-q -n 7 --limit 5 {}"};
	struct fixture f;

	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		assert_int_equal(parse(&f, &plain, limits[i]), 0);
		assert_int_equal(flag_int(&f.cl, "limit"), 5);
		assert_true(flag_typed(&f.cl, "limit"));
		assert_int_equal(f.cl.n_args, 1);
		command_line_fini(&f.cl);
	}
	assert_int_equal(
		parse(&f, &plain, "-fq -ojson --label a --label b=c --step 1h30m -- --odd"), 0);
	assert_true(flag_bool(&f.cl, "forward") && flag_bool(&f.cl, "quiet"));
	assert_int_equal(flag_choice(&f.cl, "output"), 2);
	assert_int_equal(flag_count(&f.cl, "label"), 2);
	assert_string_equal(flag_nth(&f.cl, "label", 1), "b=c");
	assert_int_equal(flag_int(&f.cl, "step"), INT64_C(5400000000000));
	assert_string_equal(f.cl.args[0], "--odd");
	command_line_fini(&f.cl);
	assert_int_equal(parse(&f, &plain, "--forward=false --since -2h -"), 0);
	assert_false(flag_bool(&f.cl, "forward"));
	assert_int_equal(flag_int(&f.cl, "since"), now - INT64_C(7200000000000));
	assert_string_equal(f.cl.args[0], "-");
	command_line_fini(&f.cl);
}

static void test_refusals(void **state)
{
	refused("{} --limt 5", "unknown flag --limt, did you mean --limit?");
	refused("{} --lnes 5", "unknown flag --lnes, did you mean --lines?");
	refused("{} --completely-other", "unknown flag --completely-other");
	refused("{} -z", "unknown flag -z");
	refused("{} --limit", "--limit: needs a value");
	refused("{} -n", "-n: needs a value");
	refused("{} --limit x", "--limit: must be a whole number from 0 to 100, got \"x\"");
	refused("{} --lines 101", "--lines: must be a whole number from 0 to 100, got \"101\"");
	refused("{} -o xml", "-o: must be one of default, raw, json, got \"xml\"");
	refused("{} --forward=perhaps", "--forward: must be true or false, got \"perhaps\"");
	refused("{} --step 5", "--step: must be a duration such as 30s, 5m or 1h30m, got \"5\"");
	refused("", "needs LOGQL");
	refused("{} more", "too many operands: \"more\" (quote a query as one word)");
}

static void test_environment(void **state)
{
	struct fixture f;

	setenv("TEST_LIMIT", "7", 1);
	setenv("TEST_ADDR", "", 1);
	setenv("TEST_OLD_ADDR", "http://old", 1);
	setenv("TEST_LABEL", "env", 1);
	assert_int_equal(parse(&f, &plain, "{}"), 0);
	assert_int_equal(flag_int(&f.cl, "limit"), 7);
	assert_true(flag_given(&f.cl, "limit"));
	assert_false(flag_typed(&f.cl, "limit"));
	assert_string_equal(flag_string(&f.cl, "addr"), "http://old");
	assert_string_equal(flag_nth(&f.cl, "label", 0), "env");
	command_line_fini(&f.cl);
	setenv("TEST_LIMIT", "many", 1);
	refused("{}", "TEST_LIMIT: must be a whole number from 0 to 100, got \"many\"");
	assert_int_equal(parse(&f, &plain, "{} -n 3 --label words"), 0);
	assert_int_equal(flag_int(&f.cl, "limit"), 3);
	assert_int_equal(flag_count(&f.cl, "label"), 1);
	assert_string_equal(flag_nth(&f.cl, "label", 0), "words");
	command_line_fini(&f.cl);
	unsetenv("TEST_LIMIT");
	unsetenv("TEST_ADDR");
	unsetenv("TEST_OLD_ADDR");
	unsetenv("TEST_LABEL");
}

static void test_settings(void **state)
{
	struct fixture f;

	assert_int_equal(parse(&f, &settings,
				 "a --memory 64MiB --limits.max_line=4KiB --http [::1]:80 "
				 "--discover-level --limit 4 --logql.strict b --last"),
		0);
	assert_string_equal(f.cl.settings[0], "memory=64MiB");
	assert_string_equal(f.cl.settings[1], "limits.max_line=4KiB");
	assert_string_equal(f.cl.settings[2], "http.listen=[::1]:80");
	assert_string_equal(f.cl.settings[3], "discover-level=true");
	assert_string_equal(f.cl.settings[4], "logql.strict=b");
	assert_string_equal(f.cl.settings[5], "last=true");
	assert_null(f.cl.settings[6]);
	assert_int_equal(flag_int(&f.cl, "limit"), 4);
	assert_int_equal(f.cl.n_args, 1);
	assert_string_equal(f.cl.raw[1], "--memory");
	command_line_fini(&f.cl);
}

static void test_help_flag(void **state)
{
	struct fixture f;

	assert_int_equal(parse(&f, &plain, "--help"), 0);
	assert_true(f.cl.help);
	command_line_fini(&f.cl);
	assert_int_equal(parse(&f, &plain, "-qh"), ERR_ARG);
	command_line_fini(&f.cl);
}

static void test_find(void **state)
{
	struct error e = {0};

	assert_ptr_equal(command_find(STR("query"), &e), &command_query);
	assert_null(command_find(STR("qeury"), &e));
	assert_string_equal(e.text, "unknown command \"qeury\", did you mean \"query\"?");
	assert_null(command_find(STR("frobnicate"), &e));
	assert_string_equal(e.text, "unknown command \"frobnicate\"");
}

static void has(struct buf *text, const char *part)
{
	if (str_find(buf_view(text), str_c(part)) < 0)
		fail_msg("\"%s\" is not in:\n%s", part, buf_cstr(text));
}

static void test_help(void **state)
{
	struct buf out = {0};

	manual_help(&plain, &out);
	has(&out, "Usage: sawlog plain [FLAG]… LOGQL\n");
	has(&out, "  -n, --limit N");
	has(&out, "At most N lines. Default: 30. Also --lines, --tail. [TEST_LIMIT]");
	has(&out, "\nShared:\n");
	has(&out, "      --since TIME");
	has(&out, "-o, --output default|raw|json");
	buf_clear(&out);
	manual_overview(&out);
	has(&out, "  query ");
	has(&out, "   69  ");
	buf_fini(&out);
}

/* Every command has what the manual needs, and no line of help is wider than the screen. */
static void test_all_commands(void **state)
{
	const struct command *c;

	for (size_t i = 0; (c = command_nth(i)); i++) {
		struct buf help = {0}, page = {0};
		struct command_line cl;
		char *argv[] = {(char[]){"--help"}, NULL};
		struct error e = {0};
		struct str rest;

		assert_int_equal(command_line_parse(&cl, c, argv, now, &e), 0);
		command_line_fini(&cl);
		manual_help(c, &help);
		for (rest = buf_view(&help); rest.n;) {
			struct str line = str_cut(&rest, '\n');
			size_t width = 0;
			for (size_t k = 0; k < line.n; k++)
				width += ((unsigned char)line.p[k] & 0xc0) != 0x80;
			if (width > 110)
				fail_msg("too wide: %.*s", STR_ARG(line));
		}
		manual_page(c, &page);
		has(&page, ".SH NAME\n");
		has(&page, ".SH EXIT STATUS\n");
		assert_true(str_find(buf_view(&page), STR("\n'")) < 0);
		buf_fini(&help);
		buf_fini(&page);
	}
}

static void test_roff(void **state)
{
	static const struct command odd = {.name = "odd",
		.args = "",
		.summary = "a test",
		.description = "First.\n\n'quoted' start and a \\ in it.\n\n.dot",
		.run = no_run};
	struct buf out = {0};

	manual_page(&odd, &out);
	has(&out, ".TH SAWLOG-ODD 1");
	has(&out, "\n.PP\n\\&'quoted' start and a \\e in it.\n");
	has(&out, "\n.PP\n\\&.dot\n");
	buf_fini(&out);
}

static void test_completion(void **state)
{
	struct buf out = {0};
	struct error e = {0};

	assert_int_equal(manual_completion(STR("bash"), &out, &e), 0);
	has(&out, "complete -o default -F _sawlog sawlog");
	has(&out, "--no-labels");
	has(&out, "query:--output|query:-o) words='default raw json jsonl csv logfmt'");
	has(&out, "\ttoken) words='create list revoke --help' ;;\n");
	has(&out, "\ttoken\\ create) words='--scope ");
	buf_clear(&out);
	assert_int_equal(manual_completion(STR("zsh"), &out, &e), 0);
	has(&out, "#compdef sawlog");
	buf_clear(&out);
	assert_int_equal(manual_completion(STR("fish"), &out, &e), 0);
	has(&out, "__fish_seen_subcommand_from query' -l limit -s n");
	has(&out, "_from token; and __fish_seen_subcommand_from create' -l scope");
	assert_int_equal(manual_completion(STR("csh"), &out, &e), ERR_ARG);
	assert_string_equal(e.text, "no completion for \"csh\": must be bash, zsh or fish");
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_help_flag),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_all_commands),
		cmocka_unit_test(test_roff),
		cmocka_unit_test(test_completion),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
