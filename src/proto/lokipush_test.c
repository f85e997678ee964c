/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "proto/lokipush.h"
#include "record/severity.h"

struct pushed {
	int code;
	struct error error;
	struct push_report report;
	struct batch *batch; /* of what was added */
};

static struct push_options options = {.observed_ns = 99};

static struct pushed push_str(struct str body)
{
	struct json_parser *parser = json_parser_new();
	struct batch_builder *b = batch_builder_new(STR("t"), STR("loki"), 99);
	struct pushed p = {0};

	p.code = lokipush_json(parser, body, &options, b, &p.report, &p.error);
	p.batch = batch_builder_finish(b, 0);
	batch_builder_free(b);
	json_parser_free(parser);
	/* What was made is a batch that any reader takes. */
	struct buf bytes = {0};
	struct batch *again = NULL;
	buf_str(&bytes, batch_bytes(p.batch));
	assert_int_equal(batch_from_bytes(&again, &bytes, NULL), 0);
	batch_unref(again);
	assert_int_equal(batch_count(p.batch), p.report.n_accepted);
	return p;
}

static struct pushed push(const char *body)
{
	return push_str(str_c(body));
}

static void assert_labels(struct str labels, const char *expected)
{
	struct buf text = {0};

	labels_text(&text, labels);
	assert_string_equal(buf_cstr(&text), expected);
	buf_fini(&text);
}

static void test_a_push(void **state)
{
	struct pushed p =
		push("{\"streams\": [{\"stream\": {\"b\": \"2\", \"a\": \"1\"}, \"values\": ["
		     "[\"1700000000000000001\", \"one\"],"
		     "[\"-5\", \"t\\u00e4\\n\", {\"trace\": \"x\", \"a.b\": \"y\"}],"
		     "[7, \"\", {}]]},"
		     "{\"values\": [[\"8\", \"other\"]], \"stream\": {\"c\": \"3\"}}]}");
	struct record r;

	assert_int_equal(p.code, 0);
	assert_int_equal(p.report.n_accepted, 4);
	assert_int_equal(p.report.first.code, 0);
	assert_int_equal(batch_n_streams(p.batch), 2);
	assert_labels(batch_stream(p.batch, 0), "{a=\"1\", b=\"2\"}");
	assert_labels(batch_stream(p.batch, 1), "{c=\"3\"}");
	r = batch_record(p.batch, 0);
	assert_int_equal(r.timestamp, 1700000000000000001);
	assert_true(str_eq(r.body, STR("one")));
	assert_int_equal(r.meta.n, 0);
	assert_int_equal(r.flags, 0);
	r = batch_record(p.batch, 1);
	assert_int_equal(r.timestamp, -5);
	assert_true(str_eq(r.body, STR("tä\n")));
	assert_labels(r.meta, "{a.b=\"y\", trace=\"x\"}");
	r = batch_record(p.batch, 2);
	assert_int_equal(r.timestamp, 7);
	assert_int_equal(r.body.n, 0);
	assert_int_equal(r.meta.n, 0);
	assert_int_equal(batch_record(p.batch, 3).stream, 1);
	batch_unref(p.batch);
}

static void test_the_legacy_form(void **state)
{
	struct pushed p = push(
		"{\"streams\": [{\"labels\": \"{foo=\\\"bar\\\"}\", \"entries\": ["
		"{\"ts\": \"2018-12-18T08:28:06.801064-04:00\", \"line\": \"baz\"},"
		"{\"timestamp\": \"5\", \"line\": \"x\", \"structuredMetadata\": {\"k\":\"v\"}},"
		"{\"ts\": \"yesterday\", \"line\": \"x\"}, {\"line\": \"x\"}, 3]}]}");

	assert_int_equal(p.code, 0);
	assert_int_equal(p.report.n_accepted, 2);
	assert_int_equal(p.report.n_bad_timestamp, 1);
	assert_int_equal(p.report.n_bad_entry, 2);
	assert_string_equal(p.report.first.text,
		"entry for stream '{foo=\"bar\"}' has timestamp \"yesterday\" that cannot be read: expected "
		"RFC 3339 (streams[0].values[2])");
	assert_labels(batch_stream(p.batch, 0), "{foo=\"bar\"}");
	assert_int_equal(batch_record(p.batch, 0).timestamp, 1545136086801064000);
	assert_labels(batch_record(p.batch, 1).meta, "{k=\"v\"}");
	batch_unref(p.batch);
}

static void test_nothing_at_all(void **state)
{
	static const char *const bodies[] = {"{\"streams\":[]}",
		"{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[]}]}",
		"{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":null}]}",
		"{\"streams\":[{\"stream\":{\"a\":\"b\"}}]}"};

	for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
		struct pushed p = push(bodies[i]);
		assert_int_equal(p.code, 0);
		assert_int_equal(p.report.first.code, 0);
		assert_int_equal(batch_n_streams(p.batch), 0);
		batch_unref(p.batch);
	}
}

static void test_bodies_without_sense(void **state)
{
	static const char *const bodies[] = {"", "x", "[]", "3", "{}", "{\"streams\":3}",
		"{\"streams\":null}", "{\"streams\":{}}", "{\"streams\":[",
		"{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"1\",\"x\"]]}]"};

	for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
		struct pushed p = push(bodies[i]);
		assert_int_equal(p.code, ERR_ARG);
		assert_true(p.error.text[0]);
		assert_int_equal(batch_count(p.batch), 0);
		batch_unref(p.batch);
	}
}

/* One entry is good; `refused` stands for one stream before it. */
static void assert_refused(const char *refused, uint64_t labels, uint64_t timestamp, uint64_t entry,
	const char *sentence)
{
	struct buf body = {0};
	struct pushed p;

	buf_printf(&body,
		"{\"streams\":[%s,{\"stream\":{\"ok\":\"1\"},\"values\":[[\"1\",\"x\"]]}]}",
		refused);
	p = push_str(buf_view(&body));
	assert_int_equal(p.code, 0);
	assert_string_equal(p.report.first.text, sentence);
	assert_int_equal(p.report.first.code, ERR_ARG);
	assert_int_equal(p.report.n_accepted, 1);
	assert_int_equal(p.report.n_bad_labels, labels);
	assert_int_equal(p.report.n_bad_timestamp, timestamp);
	assert_int_equal(p.report.n_bad_entry, entry);
	assert_int_equal(batch_n_streams(p.batch), 1);
	batch_unref(p.batch);
	buf_fini(&body);
}

static void test_bad_streams_cost_themselves(void **state)
{
	assert_refused("{\"stream\":{},\"values\":[[\"1\",\"x\"],[\"2\",\"x\"]]}", 2, 0, 0,
		"error at least one label pair is required per stream (streams[0])");
	assert_refused("{\"values\":[[\"1\",\"x\"]]}", 1, 0, 0,
		"error at least one label pair is required per stream (streams[0])");
	assert_refused("{\"labels\":\"{}\",\"entries\":[{}]}", 1, 0, 0,
		"error at least one label pair is required per stream (streams[0])");
	assert_refused("{\"stream\":{\"a\":\"\"},\"values\":[[\"1\",\"x\"]]}", 1, 0, 0,
		"error at least one label pair is required per stream (streams[0])");
	assert_refused("{\"stream\":{\"a-b\":\"x\"},\"values\":[[\"1\",\"x\"]]}", 1, 0, 0,
		"error parsing labels 'stream' with error: label \"a-b\": a name is made of letters, "
		"digits and _ and starts with no digit (streams[0])");
	assert_refused("{\"stream\":{\"a\":1},\"values\":[[\"1\",\"x\"]]}", 1, 0, 0,
		"error parsing labels 'stream' with error: the value of label \"a\" must be a string "
		"(streams[0])");
	assert_refused("{\"stream\":[],\"values\":[[\"1\",\"x\"]]}", 1, 0, 0,
		"error parsing labels 'stream' with error: \"stream\" must be an object (streams[0])");
	assert_refused("{\"labels\":\"{a=b}\",\"entries\":[{},{},{}]}", 3, 0, 0,
		"error parsing labels '{a=b}' with error: column 4: expected a quoted value, got 'b' "
		"(streams[0])");
	assert_refused("7", 0, 0, 1,
		"streams[0]: must be an object with \"stream\" and a list \"values\"");
	assert_refused("{\"stream\":{\"a\":\"b\"},\"values\":{}}", 0, 0, 1,
		"streams[0]: must be an object with \"stream\" and a list \"values\"");
}

#define IN_STREAM(entries) "{\"stream\":{\"a\":\"b\"},\"values\":[" entries "]}"

static void test_bad_entries_cost_themselves(void **state)
{
	const char *tuple =
		"entry for stream '{a=\"b\"}' must be [\"<ns>\", \"line\"] or [\"<ns>\", "
		"\"line\", {…}] (streams[0].values[0])";

	assert_refused(IN_STREAM("[\"now\",\"x\"],[1.5,\"x\"],[\"\",\"x\"],[null,\"x\"]"), 0, 4, 0,
		"entry for stream '{a=\"b\"}' has timestamp \"now\" that cannot be read: expected "
		"nanoseconds since 1970 as a string (streams[0].values[0])");
	assert_refused(IN_STREAM("[\"9223372036854775808\",\"x\"]"), 0, 1, 0,
		"entry for stream '{a=\"b\"}' has timestamp \"9223372036854775808\" that cannot be read: "
		"expected nanoseconds since 1970 as a string (streams[0].values[0])");
	assert_refused(IN_STREAM("[]"), 0, 0, 1, tuple);
	assert_refused(IN_STREAM("[\"1\"],[\"1\",2],{},3,null"), 0, 0, 5, tuple);
	assert_refused(IN_STREAM("[\"1\",\"x\",3],[\"1\",\"x\",{\"a\":1}]"), 0, 0, 2,
		"entry for stream '{a=\"b\"}' has structured metadata that is no object "
		"(streams[0].values[0])");
	assert_refused(IN_STREAM("[\"1\",\"x\",{\"a\":1}]"), 0, 0, 1,
		"entry for stream '{a=\"b\"}' has structured metadata with a value that is no string "
		"(streams[0].values[0])");
	assert_refused(IN_STREAM("[\"1\",\"x\",{\"\":\"1\"}]"), 0, 0, 1,
		"entry for stream '{a=\"b\"}' has structured metadata that is refused: a label has an "
		"empty name (streams[0].values[0])");
}

static void test_metadata_beyond_the_limits(void **state)
{
	struct buf body = {0};
	struct pushed p;

	buf_c(&body,
		"{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"1\",\"x\",{\"n\":\"1\"");
	for (int i = 0; i < LABELS_MAX; i++)
		buf_printf(&body, ",\"n%d\":\"1\"", i);
	buf_c(&body, "}],[\"2\",\"y\",null]]}]}");
	p = push_str(buf_view(&body));
	assert_int_equal(p.report.n_over_limit, 1);
	assert_int_equal(p.report.n_accepted, 1);
	assert_string_equal(p.report.first.text,
		"entry for stream '{a=\"b\"}' has structured metadata that is refused: label \"n99\": at "
		"most 100 labels are allowed (streams[0].values[0])");
	batch_unref(p.batch);
	buf_fini(&body);
}

static void test_long_lines_are_cut(void **state)
{
	struct buf body = {0};
	struct str length;
	struct pushed p;
	struct record r;

	options.max_line = 8;
	p = push("{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"1\",\"12345678\"],"
		 "[\"1\",\"123456789\"],[\"1\",\"123456ää\"],[\"1\",\"1234567ä\"]]}]}");
	options.max_line = 0;
	assert_int_equal(p.report.n_cut, 3);
	assert_true(str_eq(batch_record(p.batch, 0).body, STR("12345678")));
	assert_int_equal(batch_record(p.batch, 0).flags, 0);
	assert_true(str_eq(batch_record(p.batch, 1).body, STR("12345678")));
	assert_int_equal(batch_record(p.batch, 1).flags, RECORD_CUT);
	assert_int_equal(batch_record(p.batch, 0).meta.n, 0);
	assert_true(labels_get(batch_record(p.batch, 1).meta, STR("truncated_from"), &length));
	assert_true(str_eq(length, STR("9")));
	assert_true(str_eq(batch_record(p.batch, 2).body, STR("123456ä")));
	assert_true(str_eq(batch_record(p.batch, 3).body, STR("1234567")));
	batch_unref(p.batch);

	buf_c(&body, "{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"1\",\"");
	memset(buf_reserve(&body, 300000), 'x', 300000);
	body.n += 300000;
	buf_c(&body, "\"]]}]}");
	p = push_str(buf_view(&body));
	r = batch_record(p.batch, 0);
	assert_int_equal(r.body.n, 256 << 10);
	assert_int_equal(r.flags, RECORD_CUT);
	batch_unref(p.batch);
	buf_fini(&body);
}

static void test_discovery(void **state)
{
	struct pushed p;

	options.discover = (struct discover){.service_name = true, .level = true};
	p = push("{\"streams\":[{\"stream\":{\"app\":\"a\"},\"values\":[[\"1\",\"ERROR x\"],"
		 "[\"1\",\"ERROR x\",{\"level\":\"info\"}],[\"1\",\"x\"]]},"
		 "{\"stream\":{\"service_name\":\"s\"},\"values\":[[\"1\",\"x\"]]},"
		 "{\"stream\":{\"x\":\"y\"},\"values\":[[\"1\",\"x\"]]},"
		 "{\"stream\":{},\"values\":[[\"1\",\"x\"]]}]}");
	options.discover = (struct discover){0};
	assert_int_equal(p.report.n_bad_labels, 1);
	assert_labels(batch_stream(p.batch, 0), "{app=\"a\", service_name=\"a\"}");
	assert_labels(batch_stream(p.batch, 1), "{service_name=\"s\"}");
	assert_labels(batch_stream(p.batch, 2), "{service_name=\"unknown_service\", x=\"y\"}");
	assert_int_equal(batch_record(p.batch, 0).severity, SEV_ERROR);
	assert_int_equal(batch_record(p.batch, 0).flags, RECORD_LEVEL_DETECTED);
	assert_int_equal(batch_record(p.batch, 1).severity, SEV_INFO);
	assert_int_equal(batch_record(p.batch, 2).severity, SEV_UNKNOWN);
	batch_unref(p.batch);
}

/* The stream of two pushes into one builder is one, whatever the order of its labels. */
static void test_streams_meet_in_one_builder(void **state)
{
	struct json_parser *parser = json_parser_new();
	struct batch_builder *b = batch_builder_new(STR("t"), STR("loki"), 99);
	struct push_report report = {0};
	struct batch *batch;

	assert_int_equal(
		lokipush_json(parser,
			STR("{\"streams\":[{\"stream\":{\"a\":\"1\",\"b\":\"2\"},\"values\":[["
			    "\"1\",\"x\"]]}]}"),
			&options, b, &report, NULL),
		0);
	assert_int_equal(
		lokipush_json(parser,
			STR("{\"streams\":[{\"stream\":{\"b\":\"2\",\"a\":\"1\"},\"values\":[["
			    "\"1\",\"x\"]]}]}"),
			&options, b, &report, NULL),
		0);
	assert_int_equal(report.n_accepted, 2);
	batch = batch_builder_finish(b, 0);
	assert_int_equal(batch_n_streams(batch), 1);
	batch_unref(batch);
	batch_builder_free(b);
	json_parser_free(parser);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_push),
		cmocka_unit_test(test_the_legacy_form),
		cmocka_unit_test(test_nothing_at_all),
		cmocka_unit_test(test_bodies_without_sense),
		cmocka_unit_test(test_bad_streams_cost_themselves),
		cmocka_unit_test(test_bad_entries_cost_themselves),
		cmocka_unit_test(test_metadata_beyond_the_limits),
		cmocka_unit_test(test_long_lines_are_cut),
		cmocka_unit_test(test_discovery),
		cmocka_unit_test(test_streams_meet_in_one_builder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
