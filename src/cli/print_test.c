/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <time.h>

#include "cli/print.h"

static int no_run(struct command_line *cl)
{
	return 0;
}

static const struct command test_command = {
	.name = "test", .args = "", .summary = "a test", .groups = {&print_flags}, .run = no_run};

/* What a printer writes to its two streams. */
struct fixture {
	struct command_line cl;
	struct printer p;
	char *out, *err;
	size_t out_n, err_n;
	char words[10][60];
	char *argv[11];
};

static void begin(struct fixture *f, bool tty, const char *flags)
{
	struct str rest = str_c(flags);
	struct error e = {0};
	size_t n = 0;

	*f = (struct fixture){0};
	for (; rest.n; n++) {
		str_copy(str_cut(&rest, ' '), f->words[n], sizeof f->words[n]);
		f->argv[n] = f->words[n];
	}
	setenv("TZ", "UTC", 1);
	tzset();
	assert_int_equal(command_line_parse(&f->cl, &test_command, f->argv, 0, &e), 0);
	f->cl.out = open_memstream(&f->out, &f->out_n);
	f->cl.err = open_memstream(&f->err, &f->err_n);
	assert_int_equal(printer_init(&f->p, &f->cl, f->cl.out, tty, &e), 0);
}

static void end(struct fixture *f, const char *out, const char *err)
{
	printer_fini(&f->p);
	fclose(f->cl.out);
	fclose(f->cl.err);
	assert_string_equal(f->out, out);
	assert_string_equal(f->err, err);
	free(f->out);
	free(f->err);
	command_line_fini(&f->cl);
}

static struct buf labels_of(const char *text)
{
	struct labels_builder b = {0};
	struct buf out = {0};

	assert_int_equal(labels_parse(&b, str_c(text), NULL), 0);
	labels_builder_write(&b, &out);
	labels_builder_fini(&b);
	return out;
}

static const int64_t at = INT64_C(1787306400123456789); /* 2026-08-21T10:00:00.123456789Z */

static void put(struct fixture *f, const char *labels, const char *line)
{
	struct buf l = labels_of(labels);
	struct print_entry en = {.timestamp = at, .labels = buf_view(&l), .line = str_c(line)};

	printer_entry(&f->p, &en);
	buf_fini(&l);
}

static void test_default(void **state)
{
	struct fixture f;

	begin(&f, false, "");
	put(&f, "{app=\"a\", level=\"warning\"}", "hello \x1b[2J");
	end(&f, "2026-08-21T10:00:00.123+00:00 WARN  {app=\"a\"} hello \x1b[2J\n", "");
	begin(&f, false, "--utc --no-labels");
	put(&f, "{app=\"a\"}", "hello");
	end(&f, "2026-08-21T10:00:00.123Z hello\n", "");
	begin(&f, false, "--timezone Asia/Tokyo --exclude-label app");
	put(&f, "{app=\"a\", b=\"c\"}", "hello");
	end(&f, "2026-08-21T19:00:00.123+09:00 {b=\"c\"} hello\n", "");
	begin(&f, false, "--include-label b --include-label x");
	put(&f, "{app=\"a\", b=\"c\"}", "hello");
	end(&f, "2026-08-21T10:00:00.123+00:00 {b=\"c\"} hello\n", "");
}

static void test_highlight(void **state)
{
	struct fixture f;

	begin(&f, true, "-o raw --color always --highlight b+ --highlight x*");
	put(&f, "{}", "abbc b\x1b[2J xx");
	end(&f, "a\x1b[30;103mbb\x1b[0mc \x1b[30;103mb\x1b[0m\\x1b[2J \x1b[30;103mxx\x1b[0m\n", "");
	begin(&f, false, "-o raw --highlight b");
	put(&f, "{}", "abc");
	end(&f, "abc\n", "");
}

static void test_columns(void **state)
{
	struct fixture f;

	begin(&f, false, "-o csv");
	put(&f, "{app=\"a\", b=\"c d\"}", "x, \"y\"");
	put(&f, "{app=\"a\"}", "plain");
	end(&f,
		"time,labels,line\r\n"
		"2026-08-21T10:00:00.123456789Z,\"{app=\"\"a\"\", b=\"\"c d\"\"}\",\"x, \"\"y\"\"\"\r\n"
		"2026-08-21T10:00:00.123456789Z,\"{app=\"\"a\"\"}\",plain\r\n",
		"");
	begin(&f, false, "-o csv --fields b,line,none");
	put(&f, "{app=\"a\", b=\"c\"}", "one");
	end(&f, "b,line,none\r\nc,one,\r\n", "");
	begin(&f, false, "-o logfmt");
	put(&f, "{app=\"a\", b=\"c d\"}", "x=\"1\"");
	end(&f, "time=2026-08-21T10:00:00.123456789Z app=a b=\"c d\" line=\"x=\\\"1\\\"\"\n", "");
	begin(&f, false, "-o logfmt --fields line,app,none");
	put(&f, "{app=\"a\"}", "one");
	put(&f, "{app=\"\"}", "");
	end(&f, "line=one app=a\nline=\"\"\n", "");
}

static void test_terminal(void **state)
{
	struct fixture f;

	setenv("NO_COLOR", "1", 1);
	begin(&f, true, "--no-labels --utc");
	put(&f, "{}", "a\tb\x1b[31m\r\x7f c\nd \xc2\x9b \xff \xe2\x80\xae \xc3\xa9");
	end(&f, "2026-08-21T10:00:00.123Z a\tb\\x1b[31m\\r\\x7f c\n    d \\u009b \\xff \\u202e \xc3\xa9\n",
		"");
	begin(&f, true, "-o raw");
	put(&f, "{}", "x\x1b[2J");
	end(&f, "x\\x1b[2J\n", "");
	begin(&f, true, "-o raw --raw");
	put(&f, "{}", "x\x1b[2J");
	end(&f, "x\x1b[2J\n", "");
	unsetenv("NO_COLOR");
}

static void test_colour(void **state)
{
	struct fixture f;

	begin(&f, true, "--utc --color always");
	put(&f, "{detected_level=\"error\"}", "hello\x07");
	end(&f, "\033[2m2026-08-21T10:00:00.123Z\033[0m \033[31mERROR\033[0m hello\\x07\n", "");
	unsetenv("NO_COLOR");
	unsetenv("CLICOLOR_FORCE");
	setenv("TERM", "xterm", 1);
	assert_true(print_wants_colour(0, true));
	assert_false(print_wants_colour(0, false));
	assert_true(print_wants_colour(1, false));
	assert_false(print_wants_colour(2, true));
	setenv("TERM", "dumb", 1);
	assert_false(print_wants_colour(0, true));
	setenv("CLICOLOR_FORCE", "1", 1);
	assert_true(print_wants_colour(0, false));
	setenv("NO_COLOR", "1", 1);
	assert_false(print_wants_colour(0, true));
	assert_true(print_wants_colour(1, false));
	unsetenv("NO_COLOR");
	unsetenv("CLICOLOR_FORCE");
}

static void test_json(void **state)
{
	struct fixture f;

	begin(&f, true, "-o jsonl --color never");
	put(&f, "{app=\"a\", level=\"info\"}", "say \"hi\"\x1b");
	end(&f,
		"{\"timestamp\":\"2026-08-21T10:00:00.123456789Z\",\"labels\":{\"app\":\"a\",\"level\":"
		"\"info\"},\"line\":\"say \\\"hi\\\"\\u001b\"}\n",
		"");
	begin(&f, false, "-o json --no-labels");
	put(&f, "{}", "1");
	put(&f, "{}", "2");
	end(&f,
		"[\n{\"timestamp\":\"2026-08-21T10:00:00.123456789Z\",\"labels\":{},\"line\":\"1\"},\n"
		"{\"timestamp\":\"2026-08-21T10:00:00.123456789Z\",\"labels\":{},\"line\":\"2\"}\n]\n",
		"");
	begin(&f, false, "-o json");
	end(&f, "[]\n", "");
}

static void test_common(void **state)
{
	struct buf a = labels_of("{app=\"x\", host=\"h1\", level=\"info\"}");
	struct buf b = labels_of("{app=\"x\", host=\"h2\", level=\"info\"}");
	struct print_entry list[] = {
		{.timestamp = at, .labels = buf_view(&a), .line = STR_INIT("1")},
		{.timestamp = at, .labels = buf_view(&b), .line = STR_INIT("2")}};
	struct fixture f;

	begin(&f, false, "--utc");
	printer_common(&f.p, list, 2);
	printer_entry(&f.p, &list[0]);
	/* A later line that differs shows what the header does not say of it. */
	put(&f, "{app=\"y\", host=\"h1\"}", "3");
	end(&f,
		"2026-08-21T10:00:00.123Z INFO  {host=\"h1\"} 1\n"
		"2026-08-21T10:00:00.123Z {app=\"y\", host=\"h1\"} 3\n",
		"Common labels: {app=\"x\"}\n");
	begin(&f, false, "--utc --include-common-labels");
	printer_common(&f.p, list, 2);
	printer_entry(&f.p, &list[1]);
	end(&f, "2026-08-21T10:00:00.123Z INFO  {app=\"x\", host=\"h2\"} 2\n", "");
	buf_fini(&a);
	buf_fini(&b);
}

static void samples(struct fixture *f, const char *type, const char *text)
{
	struct json_parser *parser = json_parser_new();
	struct error e = {0};
	struct json j;

	assert_int_equal(json_parse(parser, str_c(text), &j, &e), 0);
	assert_int_equal(printer_samples(&f->p, &j, str_c(type), json_get(&j, 0, "result"), &e), 0);
	json_parser_free(parser);
}

static void test_samples(void **state)
{
	static const char *const matrix =
		"{\"result\":[{\"metric\":{\"app\":\"x\"},\"values\":[[1787306400,\"1\"],[1787306460.5,\"2.5\"]]}"
		",{\"metric\":{},\"values\":[[1,\"NaN\"]]}]}";
	static const char *const vector =
		"{\"result\":[{\"metric\":{\"app\":\"x\"},\"value\":[1787306400,\"17\"]}]}";
	struct fixture f;

	begin(&f, false, "--utc");
	samples(&f, "matrix", matrix);
	end(&f,
		"{app=\"x\"}\n  2026-08-21T10:00:00.000Z 1\n  2026-08-21T10:01:00.500Z 2.5\n"
		"{}\n  1970-01-01T00:00:01.000Z NaN\n",
		"");
	begin(&f, false, "--utc");
	samples(&f, "vector", vector);
	end(&f, "{app=\"x\"} 2026-08-21T10:00:00.000Z 17\n", "");
	begin(&f, false, "--utc");
	samples(&f, "scalar", "{\"result\":[1787306400,\"2\"]}");
	end(&f, "2026-08-21T10:00:00.000Z 2\n", "");
	begin(&f, false, "-o json");
	samples(&f, "vector", vector);
	end(&f, "[\n{\"metric\":{\"app\":\"x\"},\"value\":[1787306400,\"17\"]}\n]\n", "");
	begin(&f, false, "-o json");
	samples(&f, "scalar", "{\"result\":[1787306400,\"2\"]}");
	end(&f, "[\n[1787306400,\"2\"]\n]\n", "");
	begin(&f, false, "-o jsonl");
	samples(&f, "matrix", matrix);
	end(&f,
		"{\"metric\":{\"app\":\"x\"},\"values\":[[1787306400,\"1\"],[1787306460.5,\"2.5\"]]}\n"
		"{\"metric\":{},\"values\":[[1,\"NaN\"]]}\n",
		"");
	/* What no server should send is not trusted. */
	begin(&f, false, "--utc");
	samples(&f, "matrix", "{\"result\":[1,{\"values\":[[1],[\"x\",\"y\"],3]},{\"value\":7}]}");
	end(&f, "{} ?\n{}\n  ?\n  ?\n  ?\n{} ?\n", "");
}

static void test_bad_zone(void **state)
{
	static const char *const zones[] = {"Mars/Olympus", "../../etc/passwd", "/etc/passwd"};
	struct error e = {0};

	for (size_t i = 0; i < 3; i++) {
		char *argv[] = {(char[]){"--timezone"}, (char *)(uintptr_t)zones[i], NULL};
		struct command_line cl;
		struct printer p;

		assert_int_equal(command_line_parse(&cl, &test_command, argv, 0, &e), 0);
		assert_int_equal(printer_init(&p, &cl, stdout, false, &e), ERR_ARG);
		command_line_fini(&cl);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_default),
		cmocka_unit_test(test_highlight),
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_terminal),
		cmocka_unit_test(test_colour),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_common),
		cmocka_unit_test(test_samples),
		cmocka_unit_test(test_bad_zone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
