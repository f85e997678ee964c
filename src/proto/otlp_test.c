/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "codec/codec.h"
#include "proto/otlp.h"
#include "record/time.h"

static struct push_options options;
static struct push_report report;
static struct error error;
static struct buf told;

static void tell(const struct batch *b, size_t i)
{
	struct record r = batch_record(b, i);

	time_format(&told, r.timestamp);
	buf_printf(&told, " %d ", r.severity);
	labels_text(&told, batch_stream(b, r.stream));
	if (r.meta.n)
		labels_text(&told, r.meta);
	buf_json(&told, r.body);
	buf_printf(&told, " %d\n", r.flags);
}

static int add(struct str body)
{
	struct batch_builder *builder = batch_builder_new(STR("t"), STR("otlp"), 99);
	struct batch *b;
	size_t n;
	int r;

	buf_clear(&told);
	report = (struct push_report){0};
	if ((r = otlp_check(body, &n, &error)) == 0)
		otlp_add(body, &options, builder, &report);
	b = batch_builder_finish(builder, 0);
	for (size_t i = 0; i < batch_count(b); i++)
		tell(b, i);
	batch_unref(b);
	batch_builder_free(builder);
	return r;
}

static int add_json(const char *body)
{
	struct json_parser *parser = json_parser_new();
	struct buf made = {0};
	int r = otlp_from_json(parser, str_c(body), &made, &error);

	assert_true(made.n <= 2 * strlen(body));
	if (r == 0)
		r = add(buf_view(&made));
	json_parser_free(parser);
	buf_fini(&made);
	return r;
}

static void expect(const char *body, const char *records)
{
	if (add_json(body) < 0)
		fail_msg("%s: %s", body, error.text);
	assert_string_equal(buf_cstr(&told), records);
}

static void refuse(const char *body, const char *why)
{
	assert_int_equal(add_json(body), ERR_ARG);
	if (!strstr(error.text, why))
		fail_msg("%s: %s", body, error.text);
}

/* One record of resource svc. */
#define RECORD(members)                                                                            \
	"{\"resourceLogs\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\","             \
	"\"value\":{\"stringValue\":\"svc\"}}]},\"scopeLogs\":[{\"logRecords\":[{" members         \
	"}]}]}]}"
#define TIME "\"timeUnixNano\":\"1787306400000000001\""
#define SVC  "{service_name=\"svc\"}"

static int setup(void **state)
{
	options = (struct push_options){.observed_ns = INT64_C(1787306400000000000)};
	return 0;
}

static int teardown(void **state)
{
	buf_fini(&told);
	return 0;
}

static void test_a_request(void **state)
{
	expect("{\"resourceLogs\":[{\"resource\":{\"attributes\":["
	       "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"svc\"}},"
	       "{\"key\":\"k8s.pod.name\",\"value\":{\"stringValue\":\"p-1\"}},"
	       "{\"key\":\"os.type\",\"value\":{\"stringValue\":\"linux\"}}]},"
	       "\"scopeLogs\":[{\"scope\":{\"name\":\"lib\",\"version\":\"1.2\",\"attributes\":["
	       "{\"key\":\"s\",\"value\":{\"intValue\":\"7\"}}],\"droppedAttributesCount\":2},"
	       "\"logRecords\":["
	       "{" TIME ",\"observedTimeUnixNano\":1787306400000000002,\"severityNumber\":17,"
	       "\"severityText\":\"Error\",\"body\":{\"stringValue\":\"one\"},\"flags\":1,"
	       "\"traceId\":\"5B8EFFF798038103D269B633813FC60C\",\"spanId\":\"eee19b7ec3c1b174\","
	       "\"attributes\":[{\"key\":\"http.status\",\"value\":{\"intValue\":500}}],"
	       "\"droppedAttributesCount\":3,\"eventName\":\"ev\"},"
	       "{" TIME ",\"body\":{\"stringValue\":\"two\"}}]}]}]}",
		"2026-08-21T10:00:00.000000001Z 17 {k8s_pod_name=\"p-1\", service_name=\"svc\"}"
		"{dropped_attributes_count=\"3\", event_name=\"ev\", flags=\"1\", "
		"http_status=\"500\", observed_timestamp=\"1787306400000000002\", "
		"os_type=\"linux\", s=\"7\", scope_dropped_attributes_count=\"2\", "
		"scope_name=\"lib\", scope_version=\"1.2\", severity_number=\"17\", "
		"severity_text=\"Error\", span_id=\"eee19b7ec3c1b174\", "
		"trace_id=\"5b8efff798038103d269b633813fc60c\"}\"one\" 0\n"
		"2026-08-21T10:00:00.000000001Z 0 {k8s_pod_name=\"p-1\", service_name=\"svc\"}"
		"{os_type=\"linux\", s=\"7\", scope_dropped_attributes_count=\"2\", "
		"scope_name=\"lib\", scope_version=\"1.2\"}\"two\" 0\n");
	assert_int_equal(report.n_accepted, 2);
}

static void test_times(void **state)
{
	expect(RECORD("\"observedTimeUnixNano\":\"1787306400000000002\""),
		"2026-08-21T10:00:00.000000002Z 0 " SVC "\"\" 0\n");
	expect(RECORD(""), "2026-08-21T10:00:00Z 0 " SVC "\"\" 8\n");
	expect(RECORD("\"timeUnixNano\":18446744073709551615"), "");
	assert_int_equal(report.n_bad_timestamp, 1);
	assert_string_equal(report.first.text,
		"entry for stream '{service_name=\"svc\"}' has a timestamp out of range "
		"(resourceLogs[0].logRecords[0])");
}

static void test_bodies(void **state)
{
	static const struct {
		const char *body, *line;
	} cases[] = {
		{"{\"stringValue\":\"a\\nb\"}", "\"a\\nb\""},
		{"{\"boolValue\":true}", "\"true\""},
		{"{\"intValue\":\"-9223372036854775808\"}", "\"-9223372036854775808\""},
		{"{\"doubleValue\":0.1}", "\"0.1\""},
		{"{\"doubleValue\":3}", "\"3\""},
		{"{\"doubleValue\":\"-Infinity\"}", "\"-Infinity\""},
		{"{\"bytesValue\":\"AAE=\"}", "\"AAE=\""},
		{"{}", "\"\""},
		{"null", "\"\""},
		{"{\"arrayValue\":{\"values\":[{\"stringValue\":\"x\"},{},{\"doubleValue\":\"NaN\"},"
		 "{\"intValue\":5},{\"boolValue\":false},{\"bytesValue\":\"AAE=\"}]}}",
			"\"[\\\"x\\\",null,\\\"NaN\\\",5,false,\\\"AAE=\\\"]\""},
		{"{\"kvlistValue\":{\"values\":[{\"key\":\"a.b\",\"value\":{\"kvlistValue\":{}}},"
		 "{\"key\":\"c\"}]}}",
			"\"{\\\"a.b\\\":{},\\\"c\\\":null}\""},
	};
	char body[1000], line[300];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		snprintf(body, sizeof body, RECORD(TIME ",\"body\":%s"), cases[i].body);
		snprintf(line, sizeof line, "2026-08-21T10:00:00.000000001Z 0 " SVC "%s 0\n",
			cases[i].line);
		expect(body, line);
	}
}

static void test_attributes(void **state)
{
	expect(RECORD(TIME ",\"attributes\":["
			   "{\"key\":\"a.b\",\"value\":{\"kvlistValue\":{\"values\":["
			   "{\"key\":\"c-d\",\"value\":{\"intValue\":1}},"
			   "{\"key\":\"e\",\"value\":{\"kvlistValue\":{\"values\":["
			   "{\"key\":\"f\",\"value\":{\"boolValue\":true}}]}}}]}}},"
			   "{\"key\":\"list\",\"value\":{\"arrayValue\":{\"values\":["
			   "{\"stringValue\":\"x\"}]}}},"
			   "{\"key\":\"9\",\"value\":{\"stringValue\":\"y\"}},"
			   "{\"key\":\"none\",\"value\":{}},{\"key\":\"null\"},"
			   "{\"key\":\"twice\",\"value\":{\"stringValue\":\"1\"}},"
			   "{\"key\":\"twice\",\"value\":{\"stringValue\":\"2\"}}]"),
		"2026-08-21T10:00:00.000000001Z 0 " SVC "{_9=\"y\", a_b_c_d=\"1\", "
		"a_b_e_f=\"true\", list=\"[\\\"x\\\"]\", twice=\"2\"}\"\" 0\n");
	/* A label of the resource that is no scalar is metadata. */
	expect("{\"resourceLogs\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\","
	       "\"value\":{\"arrayValue\":{}}}]},\"scopeLogs\":[{\"logRecords\":[{" TIME "}]}]}]}",
		"2026-08-21T10:00:00.000000001Z 0 {service_name=\"unknown_service\"}"
		"{service_name=\"[]\"}\"\" 0\n");
}

static void test_levels(void **state)
{
	options.discover.level = true;
	expect(RECORD(TIME ",\"severityNumber\":14"),
		"2026-08-21T10:00:00.000000001Z 14 " SVC "{severity_number=\"14\"}\"\" 1\n");
	expect(RECORD(TIME ",\"severityNumber\":\"SEVERITY_NUMBER_ERROR2\""),
		"2026-08-21T10:00:00.000000001Z 18 " SVC "{severity_number=\"18\"}\"\" 1\n");
	expect(RECORD(TIME ",\"severityNumber\":\"SEVERITY_NUMBER_UNSPECIFIED\""),
		"2026-08-21T10:00:00.000000001Z 0 " SVC "\"\" 1\n");
	expect(RECORD(TIME ",\"severityText\":\"WARN\""),
		"2026-08-21T10:00:00.000000001Z 13 " SVC "{severity_text=\"WARN\"}\"\" 1\n");
	expect(RECORD(TIME ",\"severityNumber\":99"),
		"2026-08-21T10:00:00.000000001Z 0 " SVC "{severity_number=\"99\"}\"\" 1\n");
}

static void test_what_is_taken_and_passed_over(void **state)
{
	expect("{\"resource_logs\":[{\"scope_logs\":[{\"log_records\":["
	       "{\"time_unix_nano\":1787306400000000001,\"new\":{\"x\":[1]},\"severityText\":null}"
	       "]}],\"schemaUrl\":\"x\"}],\"more\":1}",
		"2026-08-21T10:00:00.000000001Z 0 {service_name=\"unknown_service\"}\"\" 0\n");
	expect("{}", "");
	expect("{\"resourceLogs\":[{},{\"scopeLogs\":[{}]}]}", "");
	assert_int_equal(report.first.code, 0);
}

static void test_json_that_is_none(void **state)
{
	refuse("", "no value");
	refuse("[]", "expected an object");
	refuse("{\"resourceLogs\":{}}", "\"resourceLogs\" must be a list of objects");
	refuse("{\"resourceLogs\":[1]}", "\"resourceLogs\" must be a list of objects");
	refuse(RECORD("\"timeUnixNano\":\"soon\""),
		"\"timeUnixNano\" must be a whole number, 0 or");
	refuse(RECORD("\"severityNumber\":true"), "\"severityNumber\" must be");
	refuse(RECORD("\"severityText\":1"), "\"severityText\" must be a string");
	refuse(RECORD("\"traceId\":\"xyz\""), "\"traceId\" must be hexadecimal");
	refuse(RECORD("\"body\":\"text\""), "\"body\" must be an object");
	refuse(RECORD("\"body\":{\"boolValue\":1}"), "\"boolValue\" must be true or false");
	refuse(RECORD("\"body\":{\"intValue\":1.5}"), "\"intValue\" must be a whole number");
	refuse(RECORD("\"body\":{\"doubleValue\":\"x\"}"), "\"doubleValue\" must be a number");
	refuse(RECORD("\"body\":{\"bytesValue\":\"%\"}"), "\"bytesValue\" must be base64");
}

static void test_protobuf_that_is_none(void **state)
{
	assert_int_equal(add(STR("hello")), ERR_ARG);
	assert_non_null(strstr(error.text, "bad protobuf at byte 2: this is no Export"));
	assert_int_equal(add(STR("\x0a\x03\x12\x05x")), ERR_ARG);
	assert_non_null(strstr(error.text, "bad protobuf at byte 2"));
	assert_int_equal(add(STR_NONE), 0);
}

static void nest(struct buf *out, int depth)
{
	struct buf value = {0}, list = {0};

	for (int i = 0; i < depth; i++) {
		/* AnyValue { ArrayValue { values = value } } */
		struct buf in = buf_take(&value);

		buf_clear(&list);
		buf_char(&list, 0x0a);
		varint_put(&list, in.n);
		buf_str(&list, buf_view(&in));
		buf_char(&value, 0x2a);
		varint_put(&value, list.n);
		buf_str(&value, buf_view(&list));
		buf_fini(&in);
	}
	buf_fini(&list);
	/* Request, ResourceLogs, ScopeLogs, LogRecord */
	static const char tags[] = {0x2a, 0x12, 0x12, 0x0a};
	for (size_t i = 0; i < sizeof tags; i++) {
		buf_clear(out);
		buf_char(out, tags[i]);
		varint_put(out, value.n);
		buf_str(out, buf_view(&value));
		buf_clear(&value);
		buf_str(&value, buf_view(out));
	}
	buf_fini(&value);
}

static void test_depth(void **state)
{
	struct buf body = {0};

	nest(&body, OTLP_DEPTH_MAX - 1);
	assert_int_equal(add(buf_view(&body)), 0);
	assert_int_equal(report.n_accepted, 1);
	nest(&body, OTLP_DEPTH_MAX);
	assert_int_equal(add(buf_view(&body)), ERR_ARG);
	assert_non_null(strstr(error.text, "nested deeper than 32"));
	buf_fini(&body);
}

static void put_bytes(struct buf *out, int number, struct str bytes)
{
	buf_char(out, (char)(number << 3 | 2));
	varint_put(out, bytes.n);
	buf_str(out, bytes);
}

/* Megabytes of one resource for each of a million empty records would be walked for days. */
static void test_work(void **state)
{
	struct buf resource = {0}, scope = {0}, logs = {0}, body = {0};
	size_t n;

	for (int i = 0; i < 2048; i++)
		put_bytes(&resource, 1, STR("\x0a\x01k\x12\x03\x0a\x01v"));
	assert_int_equal(resource.n, 20480);
	for (size_t records = OTLP_WORK_MIN / resource.n; records < SIZE_MAX; records++) {
		buf_clear(&scope);
		buf_clear(&logs);
		buf_clear(&body);
		for (size_t i = 0; i < records; i++)
			put_bytes(&scope, 2, STR_NONE);
		put_bytes(&logs, 1, buf_view(&resource));
		put_bytes(&logs, 2, buf_view(&scope));
		put_bytes(&body, 1, buf_view(&logs));
		if (records * resource.n > OTLP_WORK_MIN)
			break;
		assert_int_equal(otlp_check(buf_view(&body), &n, &error), 0);
		assert_int_equal(n, records);
	}
	assert_int_equal(otlp_check(buf_view(&body), &n, &error), ERR_LIMIT);
	assert_non_null(strstr(error.text, "send fewer records at once"));
	buf_fini(&resource);
	buf_fini(&scope);
	buf_fini(&logs);
	buf_fini(&body);
}

static void test_a_bad_record_costs_itself(void **state)
{
	struct buf body = {0};

	buf_c(&body,
		"{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{" TIME "},{\"attributes\":[");
	for (int i = 0; i <= LABELS_MAX; i++)
		buf_printf(
			&body, "%s{\"key\":\"k%d\",\"value\":{\"intValue\":1}}", i ? "," : "", i);
	buf_c(&body, "]}]}]}]}");
	assert_int_equal(add_json(buf_cstr(&body)), 0);
	assert_int_equal(report.n_accepted, 1);
	assert_int_equal(report.n_over_limit, 1);
	assert_non_null(strstr(report.first.text, "(resourceLogs[0].logRecords[1])"));
	buf_fini(&body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_request, setup, teardown),
		cmocka_unit_test_setup_teardown(test_times, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bodies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_attributes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_levels, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_what_is_taken_and_passed_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json_that_is_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_protobuf_that_is_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_depth, setup, teardown),
		cmocka_unit_test_setup_teardown(test_work, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_bad_record_costs_itself, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
