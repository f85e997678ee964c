/* SPDX-License-Identifier: Apache-2.0 */
#include "output/line_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "record/labels.h"
#include "record/severity.h"

/* 2026-11-21 10:00:00.123456789 UTC */
#define WHEN INT64_C(1795255200123456789)

struct sample {
	struct output_record record;
	struct buf labels;
};

/* Pairs of name and value, NULL at the end. */
static struct sample sample(const char *line, uint8_t severity, const char *const *pairs)
{
	struct labels_builder b = {.names_free = true};
	struct sample s = {.record = {.seq = 1, .timestamp = WHEN, .line = str_c(line)}};
	struct error e;

	for (; pairs && *pairs; pairs += 2)
		if (labels_builder_set(&b, str_c(pairs[0]), str_c(pairs[1]), &e) < 0)
			fail_msg("%s", e.text);
	labels_builder_write(&b, &s.labels);
	labels_builder_fini(&b);
	s.record.labels = buf_view(&s.labels);
	s.record.severity = severity;
	return s;
}

static const char *const python[] = {"app", "billing", "funcName", "pay", "host", "h1", "levelno",
	"20", "lineno", "42", "logger", "shop.cart", "pathname", "/srv/shop/cart.tar.py", "process",
	"77", "processName", "MainProcess", "severity", "INFO", "thread", "140000000000000",
	"threadName", "MainThread", NULL};

static char *put_record(const struct line_settings *settings, const struct output_record *r)
{
	struct line_format *f;
	struct buf out = {0};
	struct error e;
	char *text;

	if (line_format_new(&f, settings, &e) < 0)
		fail_msg("%s: %s", settings->format, e.text);
	/* The second time nothing has been left behind by the first, and what is there stays. */
	line_format_put(f, r, &out);
	buf_clear(&out);
	buf_c(&out, "<");
	line_format_put(f, r, &out);
	line_format_free(f);
	text = str_dup(str_sub(buf_view(&out), 1, out.n));
	buf_fini(&out);
	return text;
}

static void check_line(const struct line_settings *settings, struct sample *s, const char *expected)
{
	char *got = put_record(settings, &s->record);

	assert_string_equal(got, expected);
	free(got);
}

static void check_python(int style, const char *format, const char *expected)
{
	struct line_settings settings = {
		.format = format, .style = style, .utc = true, .breaks = LINE_RAW};
	struct sample s = sample("paid 5 EUR", SEV_INFO, python);

	check_line(&settings, &s, expected);
	buf_fini(&s.labels);
}

static void check_error(const struct line_settings *settings, const char *sentence)
{
	struct error e = {0};

	assert_true(line_settings_check(settings, &e) < 0);
	assert_string_equal(e.text, sentence);
	assert_true(line_settings_check(settings, NULL) < 0);
}

static void refuse(int style, const char *format, const char *sentence)
{
	check_error(&(struct line_settings){.format = format, .style = style}, sentence);
}

static void test_percent(void **state)
{
	check_python(LINE_PERCENT, NULL, "paid 5 EUR");
	check_python(LINE_PERCENT, "%(asctime)s %(levelname)-8s [%(logger_name)s] %(message)s",
		"2026-11-21 10:00:00,123 INFO     [shop.cart] paid 5 EUR");
	check_python(LINE_PERCENT, "%(name)s:%(lineno)05d:%(process)-5d:%(funcName)s",
		"shop.cart:00042:77   :pay");
	check_python(LINE_PERCENT, "%(filename)s %(module)s %(pathname)s",
		"cart.tar.py cart.tar /srv/shop/cart.tar.py");
	check_python(LINE_PERCENT, "%(created)f %(msecs)03d %(msecs)s %(created).3f",
		"1795255200.123457 123 123.0 1795255200.123");
	check_python(LINE_PERCENT, "%(levelno)s %(levelno)x %(levelno)5.1f", "20 14  20.0");
	check_python(LINE_PERCENT, "100%% %(message).4s|%(host)4s|", "100% paid|  h1|");
	check_python(LINE_PERCENT, "%(nothing)s[%(nothing)3s]%(nothing)d", "[   ]");
	check_python(LINE_PERCENT, "%(thread)d %(thread)#x %(threadName)s",
		"140000000000000 0x7f544a44c000 MainThread");
}

static void test_percent_of_other_types(void **state)
{
	check_python(LINE_PERCENT, "%(message)d|%(message)15x|%(message)-12f|",
		"paid 5 EUR|     paid 5 EUR|paid 5 EUR  |");
	check_python(LINE_PERCENT, "%(app)c", "billing");
	check_python(LINE_PERCENT, "%(lineno)c%(created)d", "*1795255200");
}

static void test_percent_errors(void **state)
{
	refuse(LINE_PERCENT, "", "format: Invalid format '' for '%' style: no fields");
	refuse(LINE_PERCENT, "{message}",
		"format: Invalid format '{message}' for '%' style: no fields");
	refuse(LINE_PERCENT, "%(message)s %(x)y",
		"format: column 13: unsupported format character 'y' (0x79)");
	refuse(LINE_PERCENT, "a %(message", "format: column 3: incomplete format key");
	refuse(LINE_PERCENT, "%(message)", "format: column 1: incomplete format");
	refuse(LINE_PERCENT, "%s %(message)s",
		"format: column 1: %s names no field, as %(message)s would");
	refuse(LINE_PERCENT, "%(message)*d",
		"format: column 1: '*' needs an argument, and a record has none");
	refuse(LINE_PERCENT, "%(message)99999s", "format: column 1: width too big: at most 10000");
	refuse(LINE_PERCENT, "%(message)%",
		"format: column 1: unsupported format character '%' (0x25)");
}

static void test_brace(void **state)
{
	check_python(LINE_BRACE, NULL, "paid 5 EUR");
	check_python(LINE_BRACE, "{asctime} {levelname:<8} [{logger_name}] {message}",
		"2026-11-21 10:00:00,123 INFO     [shop.cart] paid 5 EUR");
	check_python(
		LINE_BRACE, "{{{message:*^14.6}}} {name!s:>10}", "{****paid 5****}  shop.cart");
	check_python(LINE_BRACE, "{lineno:5}|{lineno:<5}|{lineno:05}|{lineno:+d}|{lineno:#x}|",
		"   42|42   |00042|+42|0x2a|");
	check_python(LINE_BRACE, "{thread:,} {thread:_x} {thread:020,d} {process:b} {process:#o}",
		"140,000,000,000,000 7f54_4a44_c000 0,140,000,000,000,000 1001101 0o115");
	check_python(LINE_BRACE,
		"{created} {created:.3f} {created:,.1f} {created:.5} {msecs:03.0f}",
		"1795255200.1234567 1795255200.123 1,795,255,200.1 1.7953e+09 123");
	check_python(LINE_BRACE, "{msecs} {msecs:.4} {msecs:.3} {msecs:e} {msecs:%} {msecs:g}",
		"123.0 123.0 1.23e+02 1.230000e+02 12300.000000% 123");
	check_python(LINE_BRACE, "{host:05} {host:0>5} {host:é^5} {lineno:=+6} {lineno:é=6}",
		"h1000 000h1 éh1éé +   42 éééé42");
	check_python(LINE_BRACE, "{nothing}[{nothing:3}]", "[   ]");
}

static void test_brace_of_other_types(void **state)
{
	/* Python would lose these records. */
	check_python(LINE_BRACE, "{message:d}|{message:12x}|{message:>12f}|{lineno:s}|{host:=4}",
		"paid 5 EUR|paid 5 EUR  |  paid 5 EUR|42|h1  ");
}

static void test_brace_errors(void **state)
{
	refuse(LINE_BRACE, "plain", "format: invalid format: no fields");
	refuse(LINE_BRACE, "a } {message}",
		"format: invalid format: column 3: Single '}' encountered in format string");
	refuse(LINE_BRACE, "{message} {",
		"format: invalid format: column 11: Single '{' encountered in format string");
	refuse(LINE_BRACE, "{message",
		"format: invalid format: column 1: expected '}' before end of string");
	refuse(LINE_BRACE, "{}",
		"format: invalid format: column 1: {} names no field, as {message} would");
	refuse(LINE_BRACE, "x{0}",
		"format: invalid format: column 2: {0} names no field, as {message} would");
	refuse(LINE_BRACE, "{message:>{width}}",
		"format: invalid format: column 1: a field within {message:>{width}: widths and "
		"precisions are to be numbers here");
	refuse(LINE_BRACE, "{message[0]}",
		"format: invalid format: column 1: invalid field name/expression: 'message[0]': "
		"fields are text and have no items");
	refuse(LINE_BRACE, "{message!x}",
		"format: invalid format: column 1: invalid conversion: 'x'");
	refuse(LINE_BRACE, "{message:5y}", "format: invalid format: column 1: bad specifier: '5y'");
	refuse(LINE_BRACE, "{message:99999}",
		"format: invalid format: column 1: width or precision too big in '99999': at most "
		"10000");
}

static void test_repr(void **state)
{
	struct line_settings settings = {.format = "%(message)r %(message)a", .breaks = LINE_RAW};
	struct sample s = sample("it's\n\xc3\xa9 \xe2\x82\xac", 0, NULL);

	check_line(&settings, &s, "\"it's\\n\xc3\xa9 \xe2\x82\xac\" \"it's\\n\\xe9 \\u20ac\"");
	settings.format = "{message!a:>30}";
	settings.style = LINE_BRACE;
	check_line(&settings, &s, "           \"it's\\n\\xe9 \\u20ac\"");
	buf_fini(&s.labels);
}

static void test_template(void **state)
{
	check_python(LINE_TEMPLATE, NULL, "paid 5 EUR");
	check_python(LINE_TEMPLATE, "{{.app}} {{__line__ | ToUpper}} {{.nothing}}!",
		"billing PAID 5 EUR !");
	check_python(LINE_TEMPLATE,
		"{{ __timestamp__ | date \"2006\" }} {{.severity | lower | printf \"%-6s\"}}|"
		"{{if eq .host \"h1\"}}one{{else}}other{{end}}",
		"2026 info  |one");
	check_python(LINE_TEMPLATE,
		"{{.asctime}} {{.levelname}} {{.levelno}} {{.name}} {{.module}}: {{.message}}",
		"2026-11-21 10:00:00,123 INFO 20 shop.cart cart.tar: paid 5 EUR");
	refuse(LINE_TEMPLATE, "{{.app", "format: template: :1: unclosed action");
	refuse(LINE_TEMPLATE, "{{foo}}", "format: template: :1: function \"foo\" not defined");
}

static void test_no_labels(void **state)
{
	static const char *const formats[] = {
		"[%(host)s] %(message)s", "[{host}] {message}", "[{{.host}}] {{__line__}}"};
	struct sample s = {.record = {.line = STR("x")}};

	for (int style = 0; style < 3; style++)
		check_line(&(struct line_settings){.format = formats[style], .style = style}, &s,
			"[] x");
}

static void test_failing_template(void **state)
{
	/* The line as it is. */
	check_python(LINE_TEMPLATE, "x {{ index .app \"y\" }}", "paid 5 EUR");
}

static void test_levels(void **state)
{
	static const struct {
		uint8_t severity;
		const char *text;
	} cases[] = {{0, "NOTSET 0"}, {SEV_TRACE, "TRACE 5"}, {4, "TRACE 5"},
		{SEV_DEBUG, "DEBUG 10"}, {8, "DEBUG 10"}, {SEV_INFO, "INFO 20"}, {12, "INFO 20"},
		{SEV_WARN, "WARNING 30"}, {SEV_ERROR, "ERROR 40"}, {20, "ERROR 40"},
		{SEV_FATAL, "CRITICAL 50"}, {24, "CRITICAL 50"}};
	struct line_settings settings = {.format = "%(levelname)s %(levelno)d"};
	struct sample s;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		s = sample("x", cases[i].severity, NULL);
		check_line(&settings, &s, cases[i].text);
		buf_fini(&s.labels);
	}
	s = sample("x", 11, (const char *const[]){"levelno", "25", NULL});
	check_line(&settings, &s, "Level 25 25");
	buf_fini(&s.labels);
	s = sample("x", 11, (const char *const[]){"levelno", "25", "severity", "NOTICE", NULL});
	check_line(&settings, &s, "NOTICE 25");
	buf_fini(&s.labels);
}

static void test_level_formats(void **state)
{
	struct line_settings settings = {.format = "usual %(message)s"};
	struct sample debug = sample("d", SEV_DEBUG, NULL), info = sample("i", SEV_INFO, NULL);
	struct sample odd = sample("o", 11, (const char *const[]){"levelno", "25", NULL});
	struct {
		const char *name, *value;
	} formats[] = {{"debug", "debug %(message)s %(module)s"}, {"25", "odd %(message)s"}};

	settings.level_formats.items = (void *)formats;
	settings.level_formats.n = 2;
	check_line(&settings, &debug, "debug d ");
	check_line(&settings, &info, "usual i");
	check_line(&settings, &odd, "odd o");
	formats[1].value = "%(message";
	check_error(&settings, "level_formats: 25: column 1: incomplete format key");
	buf_fini(&debug.labels);
	buf_fini(&info.labels);
	buf_fini(&odd.labels);
}

static void check_time(
	const char *zone, const char *datefmt, bool utc, int64_t ns, const char *text)
{
	struct line_settings settings = {.format = "%(asctime)s", .datefmt = datefmt, .utc = utc};
	struct sample s = sample("x", 0, NULL);

	setenv("TZ", zone, 1);
	tzset();
	s.record.timestamp = ns;
	check_line(&settings, &s, text);
	buf_fini(&s.labels);
}

static void test_times(void **state)
{
	check_time("Europe/Berlin", NULL, false, WHEN, "2026-11-21 11:00:00,123");
	check_time("Europe/Berlin", "", true, WHEN, "2026-11-21 10:00:00,123");
	check_time(
		"Europe/Berlin", "%Y-%m-%d,%H:%M:%S.%f", false, WHEN, "2026-11-21,11:00:00.123456");
	check_time("America/New_York", "%d %b %y %I:%M %p %Z %z %A %j", false, WHEN,
		"21 Nov 26 05:00 AM EST -0500 Saturday 325");
	check_time("Asia/Kolkata", "%3f %6f %9f %f%%f %s", false, WHEN,
		"123 123456 123456789 123456%f 1795255200");
	check_time("Asia/Kolkata", "%s", true, WHEN, "1795255200");
	/* Cut, not rounded; before 1970 the fraction still counts upwards. */
	check_time("UTC", NULL, false, INT64_C(1795255199999999999), "2026-11-21 09:59:59,999");
	check_time("UTC", NULL, false, -1, "1969-12-31 23:59:59,999");
	check_time(
		"UTC", "%Y-%m-%d %H:%M:%S.%9f", false, INT64_MIN, "1677-09-21 00:12:43.145224192");
	check_time("UTC", "%-d|%_H|%^a|%e|%5Y|%Ey|%Od|%D|%T|%G-W%V-%u", false, WHEN,
		"21|10|SAT|21|02026|26|21|11/21/26|10:00:00|2026-W47-6");
	/* A zone's change of time. */
	check_time("Europe/Berlin", "%H:%M %Z", false, INT64_C(1792889999000000000), "02:59 CEST");
	check_time("Europe/Berlin", "%H:%M %Z", false, INT64_C(1792890000000000000), "02:00 CET");
	setenv("TZ", "UTC", 1);
	tzset();
}

static void test_many_seconds(void **state)
{
	struct line_settings settings = {.format = "%(asctime)s", .datefmt = "%S.%f", .utc = true};
	struct output_record r = {.line = STR("x")};
	struct line_format *f;
	struct buf out = {0};
	char expected[32];

	assert_int_equal(line_format_new(&f, &settings, NULL), 0);
	for (int i = 0; i < 200; i++) {
		/* Back and forth. */
		r.timestamp = (int64_t)(i * 37 % 60) * 1000000000 + i * 1000;
		buf_clear(&out);
		line_format_put(f, &r, &out);
		snprintf(expected, sizeof expected, "%02d.%06d", i * 37 % 60, i);
		assert_string_equal(buf_cstr(&out), expected);
	}
	buf_fini(&out);
	line_format_free(f);
}

static void refuse_time(const char *datefmt, const char *sentence)
{
	check_error(&(struct line_settings){.datefmt = datefmt}, sentence);
}

static void test_time_errors(void **state)
{
	char longer[300] = {0};

	refuse_time("%H:%M:%", "datefmt: column 7: incomplete format of a time: it ends with '%'");
	refuse_time("x %Q", "datefmt: column 3: a time has no '%Q': see strftime(3)");
	refuse_time("%2f", "datefmt: column 1: a fraction of a second is '%f', '%3f', '%6f' or "
			   "'%9f'");
	refuse_time("%999d", "datefmt: column 1: a time of width 999: at most 255");
	memset(longer, 'x', sizeof longer - 1);
	refuse_time(longer, "datefmt: a format of 299 bytes for times: at most 256");
}

static void test_long_times(void **state)
{
	struct line_settings settings = {.format = "%(asctime)s", .utc = true};
	struct output_record r = {.line = STR("x"), .timestamp = WHEN};
	struct line_format *f;
	struct buf out = {0};
	char datefmt[31 * 7 + 1] = "";

	/* What does not fit is cut, and nothing is written beyond. */
	for (int i = 0; i < 31; i++)
		strcat(datefmt, "%255d%f");
	settings.datefmt = datefmt;
	assert_int_equal(line_format_new(&f, &settings, NULL), 0);
	line_format_put(f, &r, &out);
	assert_true(out.n > 1000 && out.n <= 2048);
	line_format_free(f);
	buf_fini(&out);
}

static void test_traceback(void **state)
{
	static const char line[] = "failed\nTraceback:\n  boom\nStack:\n  here";
	static const char *const both[] = {"traceback_at", "7", "stack_at", "25", NULL};
	static const char *const stack[] = {"stack_at", "25", NULL};
	struct line_settings settings = {.format = "%(message)s [x]", .breaks = LINE_RAW};
	struct sample s = sample(line, 0, both);

	check_line(&settings, &s, "failed [x]\nTraceback:\n  boom\nStack:\n  here");
	settings.format = "%(message)s [x]\n";
	check_line(&settings, &s, "failed [x]\nTraceback:\n  boom\nStack:\n  here");
	settings.format = "%(nothing)s";
	check_line(&settings, &s, "\nTraceback:\n  boom\nStack:\n  here");
	settings.format = "{message}|";
	settings.style = LINE_BRACE;
	settings.breaks = LINE_INDENT;
	check_line(&settings, &s, "failed|\n\tTraceback:\n\t  boom\n\tStack:\n\t  here");
	/* A template says itself what it wants of the line. */
	settings.format = "{{.message}}|{{__line__}}";
	settings.style = LINE_TEMPLATE;
	settings.breaks = LINE_RAW;
	check_line(&settings, &s, "failed|failed\nTraceback:\n  boom\nStack:\n  here");
	buf_fini(&s.labels);
	s = sample(line, 0, stack);
	settings.format = NULL;
	settings.style = LINE_PERCENT;
	check_line(&settings, &s, line);
	settings.format = "%(message)s.";
	check_line(&settings, &s, "failed\nTraceback:\n  boom.\nStack:\n  here");
	buf_fini(&s.labels);
}

static void test_offsets_that_do_not_fit(void **state)
{
	static const char *const offsets[] = {
		"0", "3", "99", "-1", "x", "18446744073709551615", "18446744073709551617", "4 "};
	struct line_settings settings = {.format = "%(message)s.", .breaks = LINE_RAW};

	for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
		const char *const pairs[] = {
			"stack_at", offsets[i], "traceback_at", offsets[i], NULL};
		struct sample s = sample("abc\ndef", 0, pairs);
		check_line(&settings, &s, "abc\ndef.");
		buf_fini(&s.labels);
	}
}

static void check_breaks(const char *line, const char *indent, const char *escape)
{
	struct line_settings settings = {.breaks = LINE_INDENT};
	struct sample s = sample(line, 0, NULL);

	check_line(&settings, &s, indent);
	settings.breaks = LINE_ESCAPE;
	check_line(&settings, &s, escape);
	settings.breaks = LINE_RAW;
	check_line(&settings, &s, line);
	buf_fini(&s.labels);
}

static void test_breaks(void **state)
{
	check_breaks("plain ASCII text of more than eight bytes ~",
		"plain ASCII text of more than eight bytes ~",
		"plain ASCII text of more than eight bytes ~");
	check_breaks("", "", "");
	check_breaks("a\nb\n\nc", "a\n\tb\n\t\n\tc", "a\\nb\\n\\nc");
	check_breaks("a\r\nb\rc\r", "a\n\tb\\rc", "a\\r\\nb\\rc\\r");
	check_breaks("end\n\n", "end", "end\\n\\n");
	check_breaks("\n", "", "\\n");
	check_breaks("\nx", "\n\tx", "\\nx");
	check_breaks("\tx\ty", "\\tx\ty", "\\tx\\ty");
	check_breaks("a\vb\fc\x1cz\x1dz\x1ez", "a\\x0bb\\x0cc\\x1cz\\x1dz\\x1ez",
		"a\\x0bb\\x0cc\\x1cz\\x1dz\\x1ez");
	check_breaks("\x1b[31mred\x1b[0m \x1b]0;t\a \x7f \b",
		"\\x1b[31mred\\x1b[0m \\x1b]0;t\\x07 \\x7f \\x08",
		"\\x1b[31mred\\x1b[0m \\x1b]0;t\\x07 \\x7f \\x08");
	check_breaks("a\xc2\x85"
		     "b\xe2\x80\xa8"
		     "c\xe2\x80\xa9"
		     "d\xc2\x9b",
		"a\\u0085b\\u2028c\\u2029d\\u009b", "a\\u0085b\\u2028c\\u2029d\\u009b");
	check_breaks("Gr\xc3\xbc\xc3\x9f"
		     "e \xe2\x82\xac \xf0\x9f\x98\x80 \xe2\x80\xa7 \xc2\xa0",
		"Gr\xc3\xbc\xc3\x9f"
		"e \xe2\x82\xac \xf0\x9f\x98\x80 \xe2\x80\xa7 \xc2\xa0",
		"Gr\xc3\xbc\xc3\x9f"
		"e \xe2\x82\xac \xf0\x9f\x98\x80 \xe2\x80\xa7 \xc2\xa0");
	/* Latin-1, a surrogate, overlong newline, a character that breaks off. */
	check_breaks("\xfc \x85 \xed\xa0\x80 \xc0\x8a \xe2\x80",
		"\\xfc \\x85 \\xed\\xa0\\x80 \\xc0\\x8a \\xe2\\x80",
		"\\xfc \\x85 \\xed\\xa0\\x80 \\xc0\\x8a \\xe2\\x80");
	check_breaks("C:\\new \\n", "C:\\new \\n", "C:\\\\new \\\\n");
}

static void test_breaks_at_every_place(void **state)
{
	static const char special[] = {'\n', '\r', 0x1b, 0x7f, 0x1f, 0x01, '\v'};
	struct line_settings settings = {.breaks = LINE_INDENT};
	char line[40];

	for (size_t k = 0; k < sizeof special; k++)
		for (size_t at = 0; at < sizeof line; at++) {
			struct sample s = sample("", 0, NULL);
			char *got;
			memset(line, 'x', sizeof line);
			line[at] = special[k];
			s.record.line = str_make(line, sizeof line);
			got = put_record(&settings, &s.record);
			if (special[k] == '\n')
				assert_true(at + 1 == sizeof line ? !strchr(got, '\n')
								  : got[at + 1] == '\t');
			else
				assert_null(strchr(got, special[k]));
			free(got);
			buf_fini(&s.labels);
		}
}

static void test_nul(void **state)
{
	struct line_settings settings = {.breaks = LINE_INDENT};
	struct sample s = sample("", 0, NULL);

	s.record.line = str_make("a\0b", 3);
	check_line(&settings, &s, "a\\x00b");
	buf_fini(&s.labels);
}

/* Nothing that others send begins a line: not the message, labels, names, nor the level. */
static void test_forging(void **state)
{
	static const char *const formats[] = {
		"%(asctime)s %(levelname)s [%(name)s] %(message)s %(x)s %(module)s %(lineno)d",
		"{asctime} {levelname:<8} [{name:^30}] {message} {x!s} {module} {lineno:d}",
		"{{.asctime}} {{.levelname}} {{.name}} {{__line__}} {{.x}} {{.module}} {{\"\\n\"}}"};
	static const char *const pairs[] = {"logger", "a\n2026 CRITICAL b", "x",
		"\r\n2026 \xe2\x80\xa8 y", "severity", "INFO\n2026", "pathname", "/x/\v2026\n.py",
		"lineno", "1\n2026", NULL};
	struct sample s = sample("text\n2026-11-21 ERROR forged\r2026\xc2\x85", 0, pairs);

	for (int style = 0; style < 3; style++)
		for (int breaks = LINE_INDENT; breaks <= LINE_ESCAPE; breaks++) {
			struct line_settings settings = {
				.format = formats[style], .style = style, .breaks = breaks};
			char *got = put_record(&settings, &s.record);
			for (char *p = got; (p = strchr(p, '\n')); p++)
				assert_true(breaks == LINE_INDENT && p[1] == '\t');
			for (char *p = got; *p; p++)
				assert_true((unsigned char)*p >= 0x20 || *p == '\n' || *p == '\t');
			assert_null(strstr(got, "\xe2\x80\xa8"));
			assert_null(strstr(got, "\xc2\x85"));
			free(got);
		}
	buf_fini(&s.labels);
}

static void check_field(
	struct line_format *f, const struct output_record *r, const char *name, const char *text)
{
	struct buf out = {0};

	buf_c(&out, "<");
	line_format_field(f, r, str_c(name), &out);
	assert_string_equal(buf_cstr(&out) + 1, text);
	buf_fini(&out);
}

static void test_field(void **state)
{
	struct line_settings settings = {.datefmt = "%Y-%m-%d", .utc = true};
	struct sample s = sample("paid\n", SEV_INFO, python);
	struct line_format *f;

	assert_int_equal(line_format_new(&f, &settings, NULL), 0);
	check_field(f, &s.record, "asctime", "2026-11-21");
	check_field(f, &s.record, "message", "paid\n");
	check_field(f, &s.record, "levelname", "INFO");
	check_field(f, &s.record, "levelno", "20");
	check_field(f, &s.record, "name", "shop.cart");
	check_field(f, &s.record, "module", "cart.tar");
	check_field(f, &s.record, "msecs", "123.0");
	check_field(f, &s.record, "host", "h1");
	check_field(f, &s.record, "nothing", "");
	line_format_free(f);
	buf_fini(&s.labels);
}

static void test_many_fields(void **state)
{
	struct buf format = {0};
	struct line_settings settings = {0};

	for (int i = 0; i < 900; i++)
		buf_printf(&format, "%%(f%d)s", i);
	settings.format = buf_cstr(&format);
	assert_int_equal(line_settings_check(&settings, NULL), 0);
	for (int i = 900; i < 1010; i++)
		buf_printf(&format, "%%(f%d)s", i);
	settings.format = buf_cstr(&format);
	assert_int_equal(line_settings_check(&settings, NULL), ERR_LIMIT);
	buf_fini(&format);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_percent),
		cmocka_unit_test(test_percent_of_other_types),
		cmocka_unit_test(test_percent_errors),
		cmocka_unit_test(test_brace),
		cmocka_unit_test(test_brace_of_other_types),
		cmocka_unit_test(test_brace_errors),
		cmocka_unit_test(test_repr),
		cmocka_unit_test(test_template),
		cmocka_unit_test(test_no_labels),
		cmocka_unit_test(test_failing_template),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_level_formats),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_many_seconds),
		cmocka_unit_test(test_time_errors),
		cmocka_unit_test(test_long_times),
		cmocka_unit_test(test_traceback),
		cmocka_unit_test(test_offsets_that_do_not_fit),
		cmocka_unit_test(test_breaks),
		cmocka_unit_test(test_breaks_at_every_place),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_forging),
		cmocka_unit_test(test_field),
		cmocka_unit_test(test_many_fields),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
