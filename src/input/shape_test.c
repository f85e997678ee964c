/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "input/shape_model.h"

/* The text passes a shape in one piece and in many; `expected` are the bodies, each with a '|'
 * behind it.  Returns the model of one piece, to be looked at and freed. */
static struct model *shaped(const struct shape_settings *s, struct str text, const char *expected)
{
	struct model *one = xmalloc(sizeof(*one)), *many = xmalloc(sizeof(*many));
	struct buf bodies = {0};
	struct error e;

	assert_int_equal(model_init(one, s, &e), 0);
	model_text(one, text, TAIL_CHUNK, 1);
	for (unsigned seed = 1; seed < 6; seed++) {
		assert_int_equal(model_init(many, s, &e), 0);
		model_text(many, text, seed * seed * 3, seed);
		assert_true(model_same(one, many));
		model_fini(many);
	}
	for (size_t i = 0; i < model_count(one); i++) {
		buf_str(&bodies, model_record(one, i).r.body);
		buf_char(&bodies, '|');
	}
	if (expected)
		assert_string_equal(buf_cstr(&bodies), expected);
	if (s->drop.n == 0 && s->redact.n == 0)
		assert_int_equal(model_lost(one, text), 0);
	buf_fini(&bodies);
	free(many);
	return one;
}

static void expect(const struct shape_settings *s, struct str text, const char *expected)
{
	struct model *m = shaped(s, text, expected);

	model_fini(m);
	free(m);
}

static void expect_meta(const struct model *m, size_t i, const char *name, const char *expected)
{
	struct str value = STR("");
	struct str meta = model_record(m, i).r.meta;

	if (meta.n)
		labels_get(meta, str_c(name), &value);
	assert_true(str_eq_c(value, expected));
}

static void test_plain(void **state)
{
	struct shape_settings s = {0};

	(void)state;
	expect(&s, STR("one\r\ntwo\n\n\r\n\rx\r\r\nlast"), "one|two|||\rx\r|last|");
	expect(&s,
		STR("\xef\xbb\xbf"
		    "one\nlast\r"),
		"one|last\r|");
	expect(&s, STR("\xef\xbb\xbf\r\nx\n"), "|x|");
	expect(&s, STR("\xef\xbb\xbf"), "|");
	expect(&s, STR("\n"), "|");
}

static void trace(const char *rule, const char *text, const char *expected)
{
	struct shape_settings s = {.multiline.rule = rule};

	expect(&s, str_c(text), expected);
	s.multiline.rule = "all";
	expect(&s, str_c(text), expected);
}

#define JAVA                                                                                       \
	"2026-08-21 10:00:00 ERROR failed\n"                                                       \
	"java.lang.IllegalStateException: no\n"                                                    \
	"\tat a.b.C.d(C.java:1)\n"                                                                 \
	"\tSuppressed: java.io.IOException: also\n"                                                \
	"\t\tat a.b.C.e(C.java:2)\n"                                                               \
	"\t\t... 3 more\n"                                                                         \
	"Caused by: java.lang.NullPointerException\n"                                              \
	"\tat a.b.C.f(C.java:3)\n"                                                                 \
	"\t... 12 common frames omitted"

static void test_java(void **state)
{
	(void)state;
	trace("java", "one\n" JAVA "\ntwo\n", "one|" JAVA "|two|");
	trace("java", "a.b.XException: x\n\tat y\nc.d.ZError\n\tat w\n",
		"a.b.XException: x\n\tat y|c.d.ZError\n\tat w|");
	trace("java", "Exception in thread \"main\" a.b.C: x\r\n\tat y\r\nz\r\n",
		"Exception in thread \"main\" a.b.C: x\r\n\tat y|z|");
	trace("java", "plain text\na.b.XException: x\n\tat y\n",
		"plain text|a.b.XException: x\n\tat y|");
}

#define TRACEBACK                                                                                  \
	"Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    f()\n    ^^^\n"

static void test_python(void **state)
{
	(void)state;
	trace("python", "ERROR:root:bad\n" TRACEBACK "ValueError: x\nnext\n",
		"ERROR:root:bad\n" TRACEBACK "ValueError: x|next|");
	trace("python",
		TRACEBACK
		"KeyError: 'a'\n\nDuring handling of the above exception, another exception "
		"occurred:\n\n" TRACEBACK "ValueError: x\n\nnext\n",
		TRACEBACK
		"KeyError: 'a'\n\nDuring handling of the above exception, another exception "
		"occurred:\n\n" TRACEBACK "ValueError: x||next|");
	trace("python", TRACEBACK "A: b\n" TRACEBACK "C: d\n", TRACEBACK "A: b|" TRACEBACK "C: d|");
	trace("python",
		"  File \"x.py\", line 1\n    a b\n      ^\nSyntaxError: invalid syntax\nz\n",
		"  File \"x.py\", line 1\n    a b\n      ^\nSyntaxError: invalid syntax|z|");
	trace("python",
		"  + Exception Group Traceback (most recent call last):\n  |   File \"a\"\n"
		"  | ExceptionGroup: two (2 sub-exceptions)\n  +-+---------------- 1 ----\n"
		"    | ValueError: 1\n    +---------------- 2 ----\n    | TypeError: 2\n    +----\nnext\n",
		"  + Exception Group Traceback (most recent call last):\n  |   File \"a\"\n"
		"  | ExceptionGroup: two (2 sub-exceptions)\n  +-+---------------- 1 ----\n"
		"    | ValueError: 1\n    +---------------- 2 ----\n    | TypeError: 2\n    +----|next|");
}

#define PANIC                                                                                      \
	"panic: runtime error: index out of range [recovered]\n"                                   \
	"\tpanic: again\n"                                                                         \
	"[signal SIGSEGV: segmentation violation code=0x1]\n"                                      \
	"\n"                                                                                       \
	"goroutine 1 [running]:\n"                                                                 \
	"main.(*T).f(0xc000012345, {0x1, 0x2})\n"                                                  \
	"\t/src/main.go:12 +0x1d\n"                                                                \
	"created by main.main\n"                                                                   \
	"\t/src/main.go:3 +0x25\n"                                                                 \
	"\n"                                                                                       \
	"goroutine 7 [chan receive, 3 minutes]:\n"                                                 \
	"net/http.(*conn).serve(...)\n"                                                            \
	"\t/go/x.go:1\n"                                                                           \
	"exit status 2"

static void test_others(void **state)
{
	(void)state;
	trace("go", "start\n" PANIC "\nnext\n", "start|" PANIC "|next|");
	trace("go", "one\n\ntwo (three)\n", "one||two (three)|");
	trace("ruby",
		"a.rb:3:in `f': no (RuntimeError)\n\tfrom a.rb:7:in `g'\n\tfrom a.rb:9:in `<main>'\nx\n",
		"a.rb:3:in `f': no (RuntimeError)\n\tfrom a.rb:7:in `g'\n\tfrom a.rb:9:in `<main>'|x|");
	trace("ruby",
		"E, [x] ERROR -- : NoMethodError (nil)\napp/x.rb:12:in `y'\nlib/z.rb:1:in `w'\n.\n",
		"E, [x] ERROR -- : NoMethodError (nil)\napp/x.rb:12:in `y'\nlib/z.rb:1:in `w'|.|");
	trace("php",
		"PHP Fatal error:  Uncaught Exception: m in /x.php:3\nStack trace:\n#0 /x.php(5): f()\n"
		"#1 {main}\n\nNext RuntimeException: n in /x.php:4\nStack trace:\n#0 {main}\n  thrown in "
		"/x.php on line 3\nok\n",
		"PHP Fatal error:  Uncaught Exception: m in /x.php:3\nStack trace:\n#0 /x.php(5): f()\n"
		"#1 {main}\n\nNext RuntimeException: n in /x.php:4\nStack trace:\n#0 {main}\n  thrown in "
		"/x.php on line 3|ok|");
	trace("dotnet",
		"Unhandled exception. System.InvalidOperationException: m\n ---> System.Exception: i\n"
		"   at X.Y() in /x.cs:line 3\n   --- End of inner exception stack trace ---\n   at X.Z()\n"
		"--- End of stack trace from previous location ---\n   at A.B()\nok\n",
		"Unhandled exception. System.InvalidOperationException: m\n ---> System.Exception: i\n"
		"   at X.Y() in /x.cs:line 3\n   --- End of inner exception stack trace ---\n   at X.Z()\n"
		"--- End of stack trace from previous location ---\n   at A.B()|ok|");
	trace("dotnet",
		"fail: App.Worker[0]\n      broken\n      System.Exception: m\n         at A.B()\nok\n",
		"fail: App.Worker[0]\n      broken\n      System.Exception: m\n         at A.B()|ok|");
}

static void test_first(void **state)
{
	struct shape_settings s = {.multiline = {.first = "^[0-9]{4}-", .max_lines = 3}};
	struct model *m;

	(void)state;
	expect(&s, STR("2026-a\nb\n\n2026-c\nd"), "2026-a\nb\n|2026-c\nd|");
	m = shaped(&s, STR("2026-1\n2\n3\n4\n5\n2026-6\n"), "2026-1\n2\n3|4\n5|2026-6|");
	expect_meta(m, 0, "multiline", "cut");
	expect_meta(m, 1, "multiline", "");
	model_fini(m);
	free(m);
}

#define T "2026-08-21T10:00:00."

static void test_cri(void **state)
{
	struct shape_settings s = {.format = FORMAT_CRI};
	struct str stream;
	struct model *m;

	(void)state;
	m = shaped(&s,
		STR(T "000000001Z stdout F one\n" T "5Z stderr P tw\n"
		      "2026-08-21T12:00:00.500000001+02:00 stdout F out\r\n" T
		      "500000002Z stderr F o\n"
		      "not a line\n" T "6Z stdout F \n" T "7Z stdout P open"),
		"one|out|two|not a line||open|");
	assert_int_equal(model_record(m, 0).r.timestamp, INT64_C(1787306400000000001));
	assert_true(labels_get(model_record(m, 0).labels, STR("stream"), &stream));
	assert_true(str_eq(stream, STR("stdout")));
	assert_true(labels_get(model_record(m, 2).labels, STR("stream"), &stream));
	assert_true(str_eq(stream, STR("stderr")));
	assert_false(labels_get(model_record(m, 3).labels, STR("stream"), &stream));
	expect_meta(m, 0, "envelope", "cri stdout");
	expect_meta(m, 1, "envelope", "cri stdout z=+02:00 cr");
	expect_meta(m, 3, "envelope", "");
	model_fini(m);
	free(m);
}

static void test_cri_joined(void **state)
{
	struct shape_settings s = {.format = FORMAT_CRI, .multiline.rule = "java"};

	(void)state;
	expect(&s,
		STR(T "000000001Z stdout F ERROR x\n" T "000000002Z stderr F other\n" T
		      "000000003Z stdout P \tat \n" T "000000004Z stderr F more\n" T
		      "000000004Z stdout F a.b\n" T "000000005Z stdout F next\n"),
		"other|more|ERROR x\n\tat a.b|next|");
	/* What is a second later by the runtime's clock does not go on with it. */
	expect(&s,
		STR(T "1Z stdout F ERROR x\n" T "2Z stderr F lonely\n"
		      "2026-08-21T10:00:01.300000000Z stdout F \tat x\n"),
		"ERROR x|lonely|\tat x|");
}

static void test_docker(void **state)
{
	struct shape_settings s = {.format = FORMAT_CONTAINER};
	struct model *m;

	(void)state;
	m = shaped(&s,
		STR("{\"log\":\"a \\u003cb\\u003e \\u0009\\\"\\\\\\n\",\"stream\":\"stdout\",\"time\":\"" T
		    "5Z\"}\n"
		    "{\"log\":\"pie\",\"stream\":\"stderr\",\"attrs\":{\"tag\":\"t1\",\"n\":\"2\"},\"time\":\"" T
		    "6Z\"}\n"
		    "{\"log\":\"between\\n\",\"stream\":\"stdout\",\"time\":\"" T "7Z\"}\n"
		    "{\"log\":\"ces\\r\\n\",\"stream\":\"stderr\",\"attrs\":{\"tag\":\"t1\",\"n\":\"2\"},\"time\":\"" T
		    "8Z\"}\n"
		    "{\"log\":\"ha\n"
		    "{\"stream\": \"stdout\", \"log\": \"\\u00e4\\t\\n\", \"time\": \"" T "9Z\"}\n"
		    "{\"log\":\"bad \\ufffd\\n\",\"stream\":\"stdout\",\"time\":\"" T "91Z\"}\n"),
		"a <b> \t\"\\|between|pieces|{\"log\":\"ha|\xc3\xa4\t|bad \xef\xbf\xbd|");
	expect_meta(m, 0, "envelope", "docker stdout");
	expect_meta(m, 2, "tag", "t1");
	expect_meta(m, 2, "n", "2");
	expect_meta(m, 5, "envelope", "docker stdout x=4");
	model_fini(m);
	free(m);
}

static void test_encodings(void **state)
{
	struct shape_settings s = {.encoding = "utf-16"};
	struct model *m;

	(void)state;
	/* U+0A0A and U+0A00 hold the byte of a newline and are none. */
	m = shaped(&s,
		STR("\xff\xfe"
		    "a\0\r\0\n\0"
		    "\n\n\0\n"
		    "\n\0"
		    "z\0"),
		"a|\xe0\xa8\x8a\xe0\xa8\x80|z|");
	expect_meta(m, 0, "envelope", "utf-16le bom");
	expect_meta(m, 1, "envelope", "utf-16le");
	model_fini(m);
	free(m);
	m = shaped(&s,
		STR("\xfe\xff"
		    "\0a\0\n"
		    "\xd8\0\0b\0\n"
		    "\0c"),
		NULL);
	assert_int_equal(model_count(m), 3);
	expect_meta(m, 1, "envelope", ""); /* half a character: as it is */
	assert_true(str_eq(model_record(m, 1).r.body, STR("\xd8\0\0b\0\n")));
	model_fini(m);
	free(m);
	s.encoding = "latin1";
	expect(&s, STR("\xe4\r\n\xff"), "\xc3\xa4|\xc3\xbf|");
	s.encoding = "utf-16be";
	s.multiline.rule = "java";
	expect(&s, STR("\0x\0\n\0\t\0a\0t\0 \0y\0\n\0z"), "x\n\tat y|z|");
}

static void test_rules(void **state)
{
	const char *drop[] = {"^DEBUG", "health"};
	struct shape_settings s = {.drop = {drop, 2}};
	struct string_map redact = {.n = 2};
	struct model *m;

	(void)state;
	redact.items = xcalloc(2, sizeof(*redact.items));
	redact.items[0].name = "(pass(word)?)=\\S+";
	redact.items[0].value = "$1=$$";
	redact.items[1].name = "[0-9]{16}";
	redact.items[1].value = "<card>";
	m = shaped(&s, STR("one\nDEBUG x\nGET /health\ntwo\nDEBUG y\n"), "one|two|");
	expect_meta(m, 1, "skipped", "20");
	assert_int_equal(m->tail->read, 36);
	assert_int_equal(m->tail->skipped, 8);
	model_fini(m);
	free(m);
	s = (struct shape_settings){.redact = redact, .multiline.rule = "java"};
	m = shaped(&s, STR("x password=abc pass=d 1234567812345678\n\tat pass=e\nplain\n"),
		"x password=$ pass=$ <card>\n\tat pass=$|plain|");
	expect_meta(m, 0, "redacted", "50");
	expect_meta(m, 1, "redacted", "");
	model_fini(m);
	free(m);
	free(redact.items);
}

static bool found(struct str in, struct str what)
{
	return str_find(in, what) >= 0;
}

/* One rule; its items to be freed. */
static struct string_map redaction(const char *expression, const char *with)
{
	struct string_map m = {.n = 1};

	m.items = xcalloc(1, sizeof(*m.items));
	m.items[0].name = expression;
	m.items[0].value = with;
	return m;
}

/* The secret of these tests is nowhere in what would be sent. */
static void expect_no_secret(const struct model *m)
{
	static const char utf16[] = "H\0U\0N\0T\0E\0R\0";

	for (size_t i = 0; i < m->n; i++) {
		struct str bytes = batch_bytes(m->batches[i]);

		assert_false(found(bytes, STR("HUNTER")));
		assert_false(found(bytes, str_make(utf16, sizeof(utf16) - 2)));
	}
	for (size_t i = 0; i < model_count(m); i++) {
		struct model_record r = model_record(m, i);
		struct str parts[] = {r.r.body, r.r.meta, r.labels};

		for (size_t k = 0; k < 3; k++) {
			assert_false(found(parts[k], STR("HUNTER")));
			assert_false(found(parts[k], str_make(utf16, sizeof(utf16) - 2)));
		}
	}
}

/* In UTF-16; '~' in `text` stands for a surrogate without the other one. */
static void wide_text(struct buf *out, const char *text, bool big)
{
	for (; *text; text++) {
		char high = *text == '~' ? (char)0xd8 : 0, low = *text == '~' ? 0 : *text;

		buf_char(out, big ? high : low);
		buf_char(out, big ? low : high);
	}
}

/* One odd character does not take a line past the rules. */
static void test_rules_undecodable(void **state)
{
	static const char *const lines[] = {"~password=HUNTER2X\n", "x ~ password=HUNTER2X\n",
		"x password=HUNTER2X~\n", "password=HUN~TER2X\r\n",
		"~~ password=HUNTER2X ~~ password=HUNTER3X\n"};
	static const char *const bodies[] = {"\xef\xbf\xbdpassword=*", "x \xef\xbf\xbd password=*",
		"x password=*", "password=*",
		"\xef\xbf\xbd\xef\xbf\xbd password=* \xef\xbf\xbd\xef\xbf\xbd password=*"};
	const char *drop[] = {"password="};
	struct string_map redact = redaction("password=\\S+", "password=*");
	struct model *m;

	(void)state;
	for (size_t i = 0; i < 20; i++) {
		bool big = i % 2, mark = i / 2 % 2;
		struct shape_settings s = {.encoding = mark  ? "utf-16"
						       : big ? "utf-16be"
							     : "utf-16le",
			.redact = redact,
			.multiline.rule = i % 3 ? NULL : "java"};
		struct buf text = {0}, expected = {0};

		if (mark)
			buf_put(&text, big ? "\xfe\xff" : "\xff\xfe", 2);
		wide_text(&text, lines[i / 4], big);
		wide_text(&text, "ok\n", big);
		buf_printf(&expected, "%s|ok|", bodies[i / 4]);
		m = shaped(&s, buf_view(&text), buf_cstr(&expected));
		expect_meta(m, 0, "envelope", "");
		expect_no_secret(m);
		model_fini(m);
		free(m);
		s.redact.n = 0;
		s.drop = (struct strings){drop, 1};
		m = shaped(&s, buf_view(&text), "ok|");
		expect_no_secret(m);
		model_fini(m);
		free(m);
		buf_fini(&text);
		buf_fini(&expected);
	}
	free(redact.items);
}

/* The same at an end in the middle of a character, in other encodings, and in pieces. */
static void test_rules_undecodable_rest(void **state)
{
	struct string_map redact = redaction("password=\\S+", "password=*");
	struct shape_settings s = {.encoding = "utf-16le", .redact = redact};
	struct buf text = {0};
	struct model *m;

	(void)state;
	wide_text(&text, "password=HUNTER2X", false);
	buf_char(&text, 'q');
	m = shaped(&s, buf_view(&text), "password=*|");
	expect_no_secret(m);
	model_fini(m);
	free(m);
	/* Bytes that are not of the encoding, and one that is half a character. */
	s.encoding = "iso-8859-7";
	m = shaped(&s, STR("\xff\xc2 password=HUNTER2X \xae\nok\xe1\n"),
		"\xef\xbf\xbd\xce\x92 password=* \xef\xbf\xbd|ok\xce\xb1|");
	model_fini(m);
	free(m);
	s.encoding = "shift_jis";
	m = shaped(&s, STR("\x83 password=HUNTER2X\xfd\x83\n"), NULL);
	assert_true(str_ends(model_record(m, 0).r.body, STR(" password=*")));
	expect_no_secret(m);
	model_fini(m);
	free(m);
	/* A long line goes in pieces that nobody has decoded. */
	s.encoding = "utf-16le";
	buf_clear(&text);
	wide_text(&text, "password=HUNTER2X ", false);
	for (size_t i = 0; i < LINE_FRAGMENT; i++)
		buf_put(&text, "x", 2);
	m = xmalloc(sizeof(*m));
	assert_int_equal(model_init(m, &s, NULL), 0);
	model_text(m, buf_view(&text), 100000, 7);
	assert_true(str_starts(model_record(m, 0).r.body, STR("password=* xxx")));
	expect_no_secret(m);
	model_fini(m);
	free(m);
	/* The longest line that is no piece. */
	s.encoding = NULL;
	buf_clear(&text);
	buf_c(&text, "password=HUNTER2X ");
	while (text.n < LINE_FRAGMENT)
		buf_char(&text, 'x');
	buf_char(&text, '\n');
	m = xmalloc(sizeof(*m));
	assert_int_equal(model_init(m, &s, NULL), 0);
	model_text(m, buf_view(&text), 100000, 7);
	assert_int_equal(model_count(m), 1);
	expect_no_secret(m);
	model_fini(m);
	free(m);
	free(redact.items);
	buf_fini(&text);
}

/* Lines of more than a mebibyte travel in pieces, and no unit is longer. */
static void test_long(void **state)
{
	struct buf text = {0};

	(void)state;
	for (size_t f = 0; f < 3; f++) {
		struct shape_settings s = {.multiline.rule = f == 1 ? "java" : NULL,
			.encoding = f == 2 ? "utf-16le" : NULL};
		struct model *m = xmalloc(sizeof(*m));

		buf_clear(&text);
		for (int i = 0; i < 1300000; i++)
			buf_put(&text, "xy", 2);
		buf_put(&text, "\n\0end\n\0", 7);
		if (f < 2) {
			text.n -= 6;
			for (int i = 0; i < 200000; i++)
				buf_c(&text, "\tat some.place\n");
		}
		buf_char(&text, 0);
		buf_char(&text, 'q');
		assert_int_equal(model_init(m, &s, NULL), 0);
		model_text(m, buf_view(&text), 100000, 7);
		assert_int_equal(model_lost(m, buf_view(&text)), 0);
		expect_meta(m, 0, "fragment", "1");
		expect_meta(m, 2, "fragment", "3");
		model_fini(m);
		free(m);
	}
	buf_fini(&text);
}

static void test_check(void **state)
{
	const char *bad[] = {"("}, *all[] = {"", "x*", ".*", "^", "$", "a|", "^\\s*"};
	const char *some[] = {"^$", "^\\s*$", ".", "^x*$"};
	struct string_map wrong = {.n = 1};
	struct error e;

	(void)state;
#define REFUSED(sentence, ...)                                                                     \
	do {                                                                                       \
		assert_int_equal(shape_check(&(struct shape_settings){__VA_ARGS__}, &e), ERR_ARG); \
		if (!strstr(e.text, sentence))                                                     \
			fail_msg("%s", e.text);                                                    \
	} while (0)
	wrong.items = xcalloc(1, sizeof(*wrong.items));
	wrong.items[0].name = "a(b)";
	wrong.items[0].value = "$2";
	REFUSED("drop: ", .drop = {bad, 1});
	REFUSED("redact: \"$2\": the expression has 1 groups", .redact = wrong);
	wrong.items[0].name = "\\S*";
	REFUSED("redact: \"\\S*\" matches every line", .redact = wrong);
	wrong.items[0].name = "";
	REFUSED("redact: \"\" matches every line", .redact = wrong);
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		REFUSED("drop: \"", .drop = {&all[i], 1});
	assert_int_equal(shape_check(&(struct shape_settings){.drop = {some, 4}}, &e), 0);
	wrong.items[0].name = "a(b)";
	REFUSED("env_labels: ", .env_labels = wrong);
	REFUSED("multiline: rule: \"cobol\"", .multiline.rule = "cobol");
	REFUSED("multiline: rule and first", .multiline = {.rule = "go", .first = "x"});
	REFUSED("multiline: first: ", .multiline.first = "[");
	REFUSED("encoding: ", .encoding = "klingon");
	REFUSED("encoding: ", .encoding = "utf-16", .format = FORMAT_CRI);
	REFUSED("encoding: ", .encoding = "../x");
	REFUSED("timezone: ", .timezone = "Mars/Phobos");
	REFUSED("path_labels: no group has a name", .path_labels = "/x/(y)");
	free(wrong.items);
}

static void expect_labels(const struct shape_settings *s, const char *path, const char *expected)
{
	struct labels_builder b = {0};
	struct buf bytes = {0}, text = {0};
	struct shape *shape;

	assert_int_equal(shape_new(&shape, s, NULL), 0);
	assert_int_equal(shape_labels(shape, path, &b, NULL), 0);
	labels_builder_write(&b, &bytes);
	labels_text(&text, buf_view(&bytes));
	assert_string_equal(buf_cstr(&text), expected);
	shape_free(shape);
	labels_builder_fini(&b);
	buf_fini(&bytes);
	buf_fini(&text);
}

static void test_labels(void **state)
{
	struct shape_settings s = {.format = FORMAT_CRI};

	(void)state;
	expect_labels(&s, "/var/log/pods/shop_web-7d_8a1b/nginx/0.log",
		"{container=\"nginx\", namespace=\"shop\", pod=\"web-7d\"}");
	expect_labels(&s, "/var/log/containers/web-7d_shop_nginx-0a1b2c.log",
		"{container=\"nginx\", namespace=\"shop\", pod=\"web-7d\"}");
	expect_labels(&s, "/var/log/syslog", "{}");
	s = (struct shape_settings){.path_labels = "/srv/(?P<site>[^/]+)/(?P<part>x)?"};
	s.env_labels.n = 2;
	s.env_labels.items = xcalloc(2, sizeof(*s.env_labels.items));
	s.env_labels.items[0].name = "zone";
	s.env_labels.items[0].value = "SHAPE_TEST_ZONE";
	s.env_labels.items[1].name = "none";
	s.env_labels.items[1].value = "SHAPE_TEST_NOTHING";
	setenv("SHAPE_TEST_ZONE", "a1", 1);
	expect_labels(&s, "/srv/shop/log", "{site=\"shop\", zone=\"a1\"}");
	free(s.env_labels.items);
}

static void test_quiet(void **state)
{
	struct shape_settings s = {.multiline.rule = "java"};
	struct model *m = xmalloc(sizeof(*m));

	(void)state;
	assert_int_equal(model_init(m, &s, NULL), 0);
	model_feed(m, STR("one\n\tat x\nhal"), SHAPE_MORE);
	assert_int_equal(batch_builder_count(m->io.builder), 0);
	model_feed(m, STR(""), SHAPE_QUIET);
	assert_int_equal(batch_builder_count(m->io.builder), 1);
	assert_int_equal(m->held, 3);
	model_feed(m, STR(""), SHAPE_END);
	assert_int_equal(batch_builder_count(m->io.builder), 2);
	model_fini(m);
	free(m);
}

static void test_zone(void **state)
{
	struct shape_settings s = {.timezone = "-07:00"};
	struct model *m = shaped(&s, STR("2026-08-21 03:00:00 x\n2026-08-21T10:00:00Z y\n"), NULL);

	(void)state;
	assert_int_equal(model_record(m, 0).r.timestamp, INT64_C(1787306400) * NS_PER_SEC);
	assert_int_equal(model_record(m, 1).r.timestamp, INT64_C(1787306400) * NS_PER_SEC);
	model_fini(m);
	free(m);
}

/* Lines that tell no time are of the clock's, each later than the one before it, also over reads
 * and where the clock went back a little; when it was set back, it is followed. */
static void test_observed(void **state)
{
	static const char *const rules[] = {NULL, "all"};

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		struct shape_settings s = {.multiline.rule = rules[k]};
		struct model *m = xmalloc(sizeof(*m));
		int64_t now, last = 0;
		struct error e;

		assert_int_equal(model_init(m, &s, &e), 0);
		now = m->lines.observed_ns;
		model_feed(m, STR("a\nb\n2026-08-21T10:00:00Z c\nd\n"), SHAPE_MORE);
		m->lines.observed_ns = now - 5;
		model_feed(m, STR("e\nf\n"), SHAPE_QUIET);
		m->lines.observed_ns = now - 3600 * NS_PER_SEC;
		model_feed(m, STR("g\n"), SHAPE_MORE);
		model_feed(m, STR(""), SHAPE_END);
		model_finish(m);
		assert_int_equal(model_count(m), 7);
		for (size_t i = 0; i < 6; i++) {
			struct record r = model_record(m, i).r;

			if (i == 2)
				continue;
			assert_true(r.flags & RECORD_TIME_OBSERVED);
			assert_true(r.timestamp > last && r.timestamp < now + 10);
			last = r.timestamp;
		}
		assert_int_equal(model_record(m, 0).r.timestamp, now);
		assert_true(model_record(m, 6).r.timestamp < now - 3599 * NS_PER_SEC);
		model_fini(m);
		free(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_java),
		cmocka_unit_test(test_python),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_first),
		cmocka_unit_test(test_cri),
		cmocka_unit_test(test_cri_joined),
		cmocka_unit_test(test_docker),
		cmocka_unit_test(test_encodings),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_rules_undecodable),
		cmocka_unit_test(test_rules_undecodable_rest),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_quiet),
		cmocka_unit_test(test_zone),
		cmocka_unit_test(test_observed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
