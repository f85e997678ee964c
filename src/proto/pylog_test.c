/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "proto/pylog.h"

/* 2026-08-21T10:00:00Z */
#define NOW 1787306400000000000

/* A record of texts and numbers, as its literal attributes in protocol 0. */
#define T(text) "V" text "\n"
#define I(n)    "I" #n "\n"

struct sample {
	const char *attributes; /* keys and values in turn */
	const char *body, *format_error;
};

static struct pylog_record read_record(struct pylog *p, const char *attributes)
{
	struct pylog_record out;
	struct buf b = {0};
	struct error e;

	buf_printf(&b, "(%sd.", attributes);
	if (pylog_pickle(p, buf_view(&b), NOW, &out, &e) < 0)
		fail_msg("%s: %s", attributes, e.text);
	buf_fini(&b);
	return out;
}

static void assert_meta(const struct pylog_record *r, const char *name, const char *expected)
{
	struct str value = STR_NONE;

	if (r->record.meta.n)
		labels_get(r->record.meta, str_c(name), &value);
	if (!str_eq(value, str_c(expected)))
		fail_msg("%s is '%.*s' instead of '%s'", name, STR_ARG(value),
			expected ? expected : "");
}

static void messages(void **state)
{
	static const struct sample samples[] = {
		{T("msg") T("plain"), "plain", NULL},
		{T("msg") T("100%") T("args") "N", "100%", NULL},
		{T("msg") T("100%%") T("args") "(t", "100%%", NULL},
		{T("msg") T("%s=%d%%") T("args") "(" T("a") I(5) "t", "a=5%", NULL},
		{T("msg") T("%(k)s") T("args") "(" T("k") I(5) "d", "5", NULL},
		{T("msg") T("%s") T("args") "(" T("k") I(5) "d", "{'k': 5}", NULL},
		{T("msg") T("%*d|%-*d|%.*f") T("args") "(" I(3) I(1) I(3) I(2) I(1) "F2.55\nt",
			"  1|2  |2.5", NULL},
		{T("msg") T("%r %a") T("args") "(V\xe4\nV\xe4\nt", "'\xc3\xa4' '\\xe4'", NULL},
		{T("msg") T("%s %s") T("args") "(" I(1) "t", "%s %s (1,)",
			"not enough arguments for format string"},
		{T("msg") T("%s") T("args") "(" I(1) I(2) "t", "%s (1, 2)",
			"not all arguments converted during string formatting"},
		{T("msg") T("%d") T("args") "(" T("x") "t", "%d ('x',)",
			"%d format: a real number is required, not str"},
		{T("msg") T("%(b)s") T("args") "(" T("a") I(1) "d", "%(b)s {'a': 1}",
			"no argument 'b'"},
		{T("msg") T("%(b)s") T("args") "(" I(1) "t", "%(b)s (1,)",
			"format requires a mapping"},
		{T("msg") T("%y") T("args") "(" I(1) "t", "%y (1,)",
			"unsupported format character 'y' (0x79)"},
		{T("msg") I(7) T("args") "N", "7", NULL},
		{T("msg") "(" I(7) "t" T("exc_text") T("trace"), "(7,)\ntrace", NULL},
		{T("message") T("of another's"), "of another's", NULL},
	};
	struct pylog *p = pylog_new();

	for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
		struct pylog_record r = read_record(p, samples[i].attributes);
		if (!str_eq_c(r.record.body, samples[i].body))
			fail_msg("'%.*s' instead of '%s'", STR_ARG(r.record.body), samples[i].body);
		assert_meta(&r, "format_error", samples[i].format_error);
		assert_true(str_eq_c(r.logger, "root"));
		assert_true(r.record.timestamp == NOW && r.record.flags & RECORD_TIME_OBSERVED);
	}
	pylog_free(p);
}

static void attributes(void **state)
{
	struct pylog *p = pylog_new();
	struct pylog_record r = read_record(p,
		T("name") T("a.b") T("msg") T("m") T("levelno") I(30) T("levelname") T("WARNING") T(
			"created") "F1787306401.25\n" T("pathname") T("/srv/db.py") T("filename")
			T("db.py") T("module") T("other") T("lineno") I(7) T("funcName") "N" T(
				"process") I(12) T("processName") T("Worker-1")
				T("thread") "L140442183936896L\n" T("threadName") T("MainThread")
					T("taskName") "N" T("msecs") "F250.0\n" T(
						"relativeCreated") "F1.0\n" T("app") T("x")
						T("severity") T("y") T("user") T("ada")
							T("list") "(" I(1) "l" I(5) I(6) T("empty")
								T(""));

	assert_true(str_eq_c(r.logger, "a.b") && str_eq_c(r.process_name, "Worker-1"));
	assert_int_equal(r.record.timestamp, NOW + INT64_C(1250000000));
	assert_int_equal(r.record.severity, 13);
	assert_int_equal(r.record.flags, RECORD_LEVEL_DETECTED);
	assert_int_equal(labels_check(r.record.meta, NULL), 0);
	assert_int_equal(labels_count(r.record.meta), 14);
	assert_meta(&r, "levelno", "30");
	assert_meta(&r, "severity", "WARNING");
	assert_meta(&r, "pathname", "/srv/db.py");
	assert_meta(&r, "filename", NULL);
	assert_meta(&r, "module", "other");
	assert_meta(&r, "lineno", "7");
	assert_meta(&r, "process", "12");
	assert_meta(&r, "processName", "Worker-1");
	assert_meta(&r, "thread", "140442183936896");
	assert_meta(&r, "threadName", "MainThread");
	assert_meta(&r, "extra_app", "x");
	assert_meta(&r, "extra_severity", "y");
	assert_meta(&r, "user", "ada");
	assert_meta(&r, "list", "[1]");
	assert_meta(&r, "5", "6");
	pylog_free(p);
}

static void tracebacks(void **state)
{
	struct pylog *p = pylog_new();
	struct pylog_record r;

	r = read_record(p, T("msg") T("failed") T("exc_text") T("Traceback:\\u000aX: y")
				   T("stack_info") T("Stack"));
	assert_true(str_eq_c(r.record.body, "failed\nTraceback:\nX: y\nStack"));
	assert_meta(&r, "traceback_at", "7");
	assert_meta(&r, "stack_at", "23");
	r = read_record(p, T("msg") T("failed\\u000a") T("exc_text") T("T"));
	assert_true(str_eq_c(r.record.body, "failed\nT"));
	assert_meta(&r, "traceback_at", "7");
	r = read_record(p, T("msg") T("") T("stack_info") T("S"));
	assert_true(str_eq_c(r.record.body, "\nS"));
	r = read_record(p, T("msg") T("x") T("exc_text") T("") T("stack_info") "N");
	assert_true(str_eq_c(r.record.body, "x") && r.record.meta.n == 0);
	pylog_free(p);
}

static void severities(void **state)
{
	static const int64_t levels[] = {INT64_MIN, -1, 0, 1, 5, 9, 10, 15, 20, 25, 30, 35, 39, 40,
		45, 50, 55, 60, INT64_MAX};
	static const uint8_t expected[] = {
		0, 0, 0, 1, 3, 4, 5, 7, 9, 11, 13, 15, 16, 17, 20, 23, 23, 24, 24};
	struct pylog *p = pylog_new();
	uint8_t last = 0;

	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
		assert_int_equal(pylog_severity(levels[i]), expected[i]);
	for (int64_t n = -5; n < 100; n++) {
		assert_true(pylog_severity(n) >= last);
		last = pylog_severity(n);
	}
	/* Without a number the name tells. */
	assert_int_equal(
		read_record(p, T("msg") T("m") T("levelname") T("ERROR")).record.severity, 17);
	assert_int_equal(read_record(p, T("msg") T("m")).record.severity, 0);
	pylog_free(p);
}

static void ends_and_no_records(void **state)
{
	struct pylog *p = pylog_new();
	struct pylog_record r;
	struct error e;

	assert_int_equal(pylog_pickle(p, STR("\x80\4\x8c\4TERM."), NOW, &r, &e), 0);
	assert_true(r.end && str_eq_c(r.record.body, "TERM"));
	assert_int_equal(pylog_pickle(p, STR("}."), NOW, &r, &e), ERR_ARG);
	assert_string_equal(e.text, "no log record: it has no msg");
	assert_int_equal(
		pylog_pickle(p, STR("cos\nsystem\n(S'ls -la'\ntR."), NOW, &r, &e), ERR_ARG);
	assert_string_equal(e.text, "no log record, but a pickled system");
	assert_int_equal(pylog_pickle(p, STR("K\1."), NOW, &r, &e), ERR_ARG);
	assert_int_equal(pylog_pickle(p, STR("K"), NOW, &r, &e), ERR_CORRUPT);
	pylog_free(p);
}

static void forms(void **state)
{
	struct pylog *p = pylog_new();
	struct pylog_record r;
	struct error e;

	assert_int_equal(
		pylog_form(p,
			STR("name=a.b&msg=m+%25s%26&args=%28%27x+y%27%2C%29&levelno=40&levelname=ERROR&"
			    "created=1787306401.5&exc_text=None&funcName=None&user=ada&lineno=7"),
			NOW, &r, &e),
		0);
	assert_true(str_eq_c(r.record.body, "m x y&") && str_eq_c(r.logger, "a.b"));
	assert_int_equal(r.record.timestamp, NOW + INT64_C(1500000000));
	assert_int_equal(r.record.severity, 17);
	assert_meta(&r, "user", "ada");
	assert_meta(&r, "lineno", "7");
	assert_meta(&r, "funcName", NULL);
	assert_int_equal(pylog_form(p, STR("msg=%25d&args=(%27"), NOW, &r, &e), 0);
	assert_true(str_eq_c(r.record.body, "%d ('"));
	assert_meta(&r, "format_error", "literal at byte 2: a quote has no end");
	assert_int_equal(pylog_form(p, STR("a=b"), NOW, &r, &e), ERR_ARG);
	assert_int_equal(pylog_form(p, STR(""), NOW, &r, &e), ERR_ARG);
	pylog_free(p);
}

/* What an application adds cannot push out where a record came from, and is cut with a note. */
static void metadata_is_bounded(void **state)
{
	struct pylog *p = pylog_new();
	struct pylog_record r;
	struct buf b = {0};
	struct label l;
	struct str at;
	size_t n = 0;

	for (int i = 0; i < 300; i++)
		buf_printf(&b, "Vkey%d\nI%d\n", i, i);
	buf_c(&b, "Vlarge\nV");
	for (int i = 0; i < 200000; i++)
		buf_char(&b, 'x');
	buf_c(&b, "\n" T("msg") T("m") T("threadName") T("Main"));
	r = read_record(p, buf_cstr(&b));
	at = r.record.meta;
	assert_int_equal(labels_check(at, NULL), 0);
	assert_true(labels_start(&at) <= LABELS_MAX);
	while (labels_next(&at, &l))
		n += l.name.n + l.value.n;
	assert_true(n <= PYLOG_META_MAX);
	assert_meta(&r, "threadName", "Main");
	assert_meta(&r, "key0", "0");
	assert_meta(&r, "attributes_cut", "207");
	buf_fini(&b);
	pylog_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages),
		cmocka_unit_test(attributes),
		cmocka_unit_test(tracebacks),
		cmocka_unit_test(severities),
		cmocka_unit_test(ends_and_no_records),
		cmocka_unit_test(forms),
		cmocka_unit_test(metadata_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
