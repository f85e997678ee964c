/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to the byte: RFC 5424, and the shapes of Loggregator's drains. */
#include "output/syslog_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/loggregator.h"
#include "record/labels.h"
#include "record/severity.h"

/* 2026-11-21 10:00:00.123400789 UTC */
#define WHEN INT64_C(1795255200123400789)

struct sample {
	struct output_record record;
	struct labels_builder labels;
	struct buf bytes, line;
};

static void put(struct sample *s, const char *name, struct str value)
{
	assert_int_equal(labels_builder_set(&s->labels, str_c(name), value, NULL), 0);
}

static void done(struct sample *s)
{
	labels_builder_write(&s->labels, &s->bytes);
	s->record.labels = buf_view(&s->bytes);
}

/* Pairs of name and value, NULL at the end. */
static struct sample sample(struct str line, uint8_t severity, const char *const *pairs)
{
	struct sample s = {
		.record = {.seq = 1, .timestamp = WHEN, .line = line, .severity = severity},
		.labels = {.names_free = true}};

	for (; pairs && *pairs; pairs += 2)
		put(&s, pairs[0], str_c(pairs[1]));
	done(&s);
	return s;
}

/* What the input makes of an envelope, as an output gets it. */
static struct sample of_envelope(const struct loggregator *x)
{
	struct sample s = {.labels = {.names_free = true}};
	const struct loggregator_beside beside = {.drain_urls = STR("")};
	struct loggregator_parts parts = {0};
	struct buf meta = {0};
	struct record r = {0};
	struct label l;
	struct str at;

	loggregator_record(x, &beside, &parts, &s.line, &meta, &r);
	put(&s, "app", parts.app);
	put(&s, "input", STR("loggregator"));
	if (parts.source.n)
		put(&s, "source", parts.source);
	if (parts.event.n)
		put(&s, "event", parts.event);
	at = r.meta;
	if (at.n)
		labels_start(&at);
	while (at.n && labels_next(&at, &l))
		assert_int_equal(labels_builder_set(&s.labels, l.name, l.value, NULL), 0);
	done(&s);
	s.record.timestamp = r.timestamp;
	s.record.line = r.body;
	buf_fini(&parts.source_text);
	buf_fini(&meta);
	return s;
}

static void sample_fini(struct sample *s)
{
	labels_builder_fini(&s->labels);
	buf_fini(&s->bytes);
	buf_fini(&s->line);
}

/* Messages of the record, one behind the other. */
static void expect(const struct syslog_format_settings *settings, bool line_end, struct sample *s,
	size_t n, const char *wanted)
{
	struct syslog_format *f;
	struct buf all = {0};

	assert_int_equal(syslog_format_new(&f, settings, "box", line_end, NULL), 0);
	/* The second time nothing has been left behind by the first. */
	for (int k = 0; k < 2; k++) {
		buf_clear(&all);
		assert_int_equal(syslog_format_make(f, &s->record), n);
		for (size_t i = 0; i < n; i++)
			buf_str(&all, syslog_format_message(f, i));
		assert_string_equal(buf_cstr(&all), wanted);
	}
	syslog_format_free(f);
	buf_fini(&all);
	sample_fini(s);
}

static const struct syslog_format_settings plain = {.shape = SHAPE_RFC5424, .tags = true};
static const struct syslog_format_settings today = {.shape = SHAPE_LOGGREGATOR, .tags = true};

static void test_rfc5424(void **state)
{
	static const char *const syslog[] = {"app", "nginx", "facility", "daemon", "host", "web1",
		"input", "syslog", "msgid", "ID47", "pid", "77", "severity", "notice", NULL};
	static const char *const odd[] = {
		"app", "two words", "env", "a\"b]c\\d\n", "x=y", "1", NULL};
	struct sample s = sample(STR("a line"), SEV_INFO, syslog);

	expect(&plain, false, &s, 1,
		"<29>1 2026-11-21T10:00:00.123400Z web1 nginx 77 ID47 [tags@47450 "
		"input=\"syslog\"] a line");
	s = sample(STR("a line\n"), SEV_ERROR, odd);
	expect(&plain, true, &s, 1,
		"<11>1 2026-11-21T10:00:00.123400Z box two-words - - [tags@47450 "
		"env=\"a\\\"b\\]c\\\\d \" x_y=\"1\"] a line\n");
	s = sample(STR("x"), 0, NULL);
	expect(&plain, false, &s, 1, "<14>1 2026-11-21T10:00:00.123400Z box - - - - x");
}

static void test_severities(void **state)
{
	static const struct {
		uint8_t severity;
		unsigned pri;
	} rows[] = {{SEV_TRACE, 15}, {SEV_DEBUG, 15}, {SEV_INFO, 14}, {SEV_INFO + 1, 13},
		{SEV_WARN, 12}, {SEV_ERROR, 11}, {SEV_FATAL, 10}, {24, 9}};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sample s = sample(STR("x"), rows[i].severity, NULL);
		char wanted[128];

		snprintf(wanted, sizeof wanted, "<%u>1 2026-11-21T10:00:00.123400Z box - - - - x",
			rows[i].pri);
		expect(&plain, false, &s, 1, wanted);
	}
}

static void test_text_is_cut_and_clean(void **state)
{
	struct syslog_format_settings cut = {.shape = SHAPE_RFC5424, .max_message = 4};
	struct sample s = sample(STR("abc\xc3\xa4"), SEV_INFO, NULL);

	expect(&cut, false, &s, 1, "<14>1 2026-11-21T10:00:00.123400Z box - - - - abc");
	s = sample(STR("a\0b\0"), SEV_INFO, NULL);
	expect(&plain, false, &s, 1, "<14>1 2026-11-21T10:00:00.123400Z box - - - - ab");
	s = sample(STR("one\ntwo\n\n"), SEV_INFO, NULL);
	expect(&plain, true, &s, 1, "<14>1 2026-11-21T10:00:00.123400Z box - - - - one\ntwo\n");
}

static void test_hostname(void **state)
{
	static const char *const pairs[] = {"app", "shop", "zone", "z 1", NULL};
	struct syslog_format_settings set = {
		.shape = SHAPE_RFC5424, .hostname = "{{.zone}}.{{.app}}"};
	struct sample s = sample(STR("x"), SEV_INFO, pairs);

	expect(&set, false, &s, 1, "<14>1 2026-11-21T10:00:00.123400Z z-1.shop shop - - - x");
	s = sample(STR("x"), SEV_INFO, NULL);
	set.hostname = "{{.zone}}";
	expect(&set, false, &s, 1, "<14>1 2026-11-21T10:00:00.123400Z box - - - - x");
	assert_int_equal(syslog_format_check_hostname(STR("{{.zone"), NULL), ERR_ARG);
}

static struct loggregator log_envelope(const char *type, const char *instance, const char *text)
{
	return (struct loggregator){.kind = LOGGREGATOR_LOG,
		.timestamp = WHEN,
		.source_id = STR("app-guid"),
		.source_type = str_c(type),
		.instance_id = str_c(instance),
		.payload = str_c(text)};
}

static void test_today(void **state)
{
	struct loggregator x = log_envelope("APP/PROC/WEB", "0", "just a test");
	struct sample s;

	x.tags[0] = (struct loggregator_pair){STR("space_name"), STR("my space")};
	x.tags[1] = (struct loggregator_pair){STR("organization_name"), STR("Org-")};
	x.tags[2] = (struct loggregator_pair){STR("app_name"), STR("shop")};
	x.n_tags = 3;
	s = of_envelope(&x);
	expect(&today, false, &s, 1,
		"<14>1 2026-11-21T10:00:00.123400+00:00 Org.my-space.shop app-guid "
		"[APP/PROC/WEB/0] - [tags@47450 app_name=\"shop\" organization_name=\"Org-\" "
		"source_type=\"APP/PROC/WEB\" space_name=\"my space\"] just a test\n");
	x.n_tags = 0;
	x.err = true;
	s = of_envelope(&x);
	expect(&today, false, &s, 1,
		"<11>1 2026-11-21T10:00:00.123400+00:00 box app-guid [APP/PROC/WEB/0] - "
		"[tags@47450 source_type=\"APP/PROC/WEB\"] just a test\n");
}

static void test_without_tags(void **state)
{
	static const struct syslog_format_settings bare = {.shape = SHAPE_LOGGREGATOR};
	struct loggregator x = log_envelope("my task", "2", "t");
	struct sample s = of_envelope(&x);

	expect(&bare, false, &s, 1,
		"<14>1 2026-11-21T10:00:00.123400+00:00 box app-guid [MY-TASK/2] - - t\n");
}

static void test_of_years(void **state)
{
	static const struct {
		int shape;
		const char *type, *instance, *wanted;
	} rows[] = {
		{SHAPE_LOGGREGATOR_2013, "App", "0",
			"<11>1 2026-11-21T10:00:00+00:00 loggregator app-guid App - - err\n"},
		{SHAPE_LOGGREGATOR_2013, "RTR", "3",
			"<11>1 2026-11-21T10:00:00+00:00 loggregator app-guid RTR - - err\n"},
		{SHAPE_LOGGREGATOR_2014, "APP", "2",
			"<11>1 2026-11-21T10:00:00+00:00 loggregator app-guid [App/2] - - err\n"},
		{SHAPE_LOGGREGATOR_2014, "RTR", "3",
			"<11>1 2026-11-21T10:00:00+00:00 loggregator app-guid [RTR] - - err\n"},
		{SHAPE_LOGGREGATOR_2016, "App", "0",
			"<11>1 2026-11-21T10:00:00.1234+00:00 loggregator app-guid [APP/0] - - "
			"err\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct syslog_format_settings set = {.shape = rows[i].shape, .tags = true};
		struct loggregator x = log_envelope(rows[i].type, rows[i].instance, "err");
		struct sample s;

		x.err = true;
		s = of_envelope(&x);
		expect(&set, false, &s, 1, rows[i].wanted);
	}
}

static void test_metrics(void **state)
{
	struct loggregator x = {.kind = LOGGREGATOR_GAUGE,
		.timestamp = WHEN,
		.source_id = STR("app-guid"),
		.instance_id = STR("2"),
		.metrics = {{STR("cpu"), STR("percentage"), 0.23},
			{STR("memory"), STR("bytes"), 5423}, {STR("disk"), STR("bytes"), 100},
			{STR("quota"), STR("bytes"), 1048576}},
		.n_metrics = 4};
	struct sample s = of_envelope(&x);

	expect(&today, false, &s, 4,
		"<14>1 2026-11-21T10:00:00.123400+00:00 box app-guid [2] - [gauge@47450 "
		"name=\"cpu\" value=\"0.23\" unit=\"percentage\"] \n"
		"<14>1 2026-11-21T10:00:00.123400+00:00 box app-guid [2] - [gauge@47450 "
		"name=\"disk\" value=\"100\" unit=\"bytes\"] \n"
		"<14>1 2026-11-21T10:00:00.123400+00:00 box app-guid [2] - [gauge@47450 "
		"name=\"memory\" value=\"5423\" unit=\"bytes\"] \n"
		"<14>1 2026-11-21T10:00:00.123400+00:00 box app-guid [2] - [gauge@47450 "
		"name=\"quota\" value=\"1.048576e+06\" unit=\"bytes\"] \n");
	x = (struct loggregator){.kind = LOGGREGATOR_COUNTER,
		.timestamp = WHEN,
		.source_id = STR("app-guid"),
		.instance_id = STR("1"),
		.name = STR("requests"),
		.delta = 1,
		.total = 99,
		.tags = {{STR("key"), STR("value")}},
		.n_tags = 1};
	s = of_envelope(&x);
	expect(&today, false, &s, 1,
		"<14>1 2026-11-21T10:00:00.123400+00:00 box app-guid [1] - [counter@47450 "
		"name=\"requests\" total=\"99\" delta=\"1\"][tags@47450 key=\"value\"] \n");
	x = (struct loggregator){.kind = LOGGREGATOR_TIMER,
		.timestamp = WHEN,
		.source_id = STR("app-guid"),
		.instance_id = STR("1"),
		.name = STR("http"),
		.start_ns = 10,
		.stop_ns = 20};
	s = of_envelope(&x);
	expect(&today, false, &s, 1,
		"<14>1 2026-11-21T10:00:00.123400+00:00 box app-guid [1] - [timer@47450 "
		"name=\"http\" start=\"10\" stop=\"20\"] \n");
	x = (struct loggregator){.kind = LOGGREGATOR_EVENT,
		.timestamp = WHEN,
		.source_id = STR("app-guid"),
		.instance_id = STR("1"),
		.name = STR("event title"),
		.payload = STR("event body")};
	s = of_envelope(&x);
	expect(&today, false, &s, 1,
		"<14>1 2026-11-21T10:00:00.123400+00:00 box app-guid [1] - [event@47450 "
		"title=\"event title\" body=\"event body\"] \n");
}

/* What came by another input looks as an application's line does. */
static void test_other_inputs(void **state)
{
	static const char *const pairs[] = {
		"app", "shop", "input", "loki", "source", "APP/0", NULL};
	struct sample s = sample(STR("paid"), SEV_ERROR, pairs);

	expect(&today, false, &s, 1,
		"<11>1 2026-11-21T10:00:00.123400+00:00 box shop [APP/0] - [tags@47450 "
		"source_type=\"APP\"] paid\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc5424),
		cmocka_unit_test(test_severities),
		cmocka_unit_test(test_text_is_cut_and_clean),
		cmocka_unit_test(test_hostname),
		cmocka_unit_test(test_today),
		cmocka_unit_test(test_without_tags),
		cmocka_unit_test(test_of_years),
		cmocka_unit_test(test_metrics),
		cmocka_unit_test(test_other_inputs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
