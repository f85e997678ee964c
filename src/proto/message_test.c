/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "codec/codec.h"
#include "proto/message.h"
#include "proto/otlp.h"
#include "record/time.h"
#include "record/zone.h"

/* 2026-08-21T10:00:00Z */
static const int64_t observed = INT64_C(1787306400000000000);

static struct message_options options;
static struct message message;
static struct buf told; /* the records of the last call, one a line */
static struct error error;
static int stop_at;

static int setup(void **state)
{
	options = (struct message_options){0};
	message = (struct message){.observed_ns = observed};
	stop_at = 0;
	assert_int_equal(zone_new((struct zone **)&options.zone, STR("Europe/Berlin"), NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	zone_free((struct zone *)options.zone);
	buf_fini(&told);
	return 0;
}

/* time severity [app] {labels} {meta} "body" flags */
static int tell(void *arg, const struct message_record *r)
{
	struct buf *out = arg;

	time_format(out, r->record.timestamp);
	buf_printf(out, " %d [%.*s] ", r->record.severity, STR_ARG(r->app));
	if (r->labels.n)
		labels_text(out, r->labels);
	if (r->record.meta.n)
		labels_text(out, r->record.meta);
	buf_json(out, r->record.body);
	buf_printf(out, " %d\n", r->record.flags);
	return stop_at && --stop_at == 0 ? ERR_CLOSED : 0;
}

static int decode_str(enum message_form form, struct str body)
{
	struct message_decoder *d;
	int r;

	options.form = (int)form;
	message.body = body;
	buf_clear(&told);
	d = message_decoder_new(&options);
	r = message_decode(d, &message, tell, &told, &error);
	message_decoder_free(d);
	if (r < 0 && r != ERR_CLOSED)
		assert_int_equal(told.n, 0);
	return r;
}

static void expect(enum message_form form, const char *body, const char *records)
{
	int r = decode_str(form, str_c(body));

	if (r < 0)
		fail_msg("%s: %s", body, error.text);
	assert_string_equal(buf_cstr(&told), records);
}

static void refuse(enum message_form form, const char *body, int code, const char *why)
{
	if (decode_str(form, str_c(body)) != code)
		fail_msg("%s: %.*s", body, STR_ARG(buf_view(&told)));
	if (!strstr(error.text, why))
		fail_msg("%s: %s", body, error.text);
}

/* ---- text ---- */

static void test_text(void **state)
{
	expect(MESSAGE_TEXT, "2024-12-18 10:00:00 ServiceA Error what happened",
		"2024-12-18T09:00:00Z 17 [ServiceA] {severity=\"Error\"}\"what happened\" 0\n");
	expect(MESSAGE_TEXT, "2024-07-18 10:00:00 ServiceB Info  two  blanks ",
		"2024-07-18T08:00:00Z 9 [ServiceB] {severity=\"Info\"}\" two  blanks \" 0\n");
}

/* W-C5, W-C10: the original lost these. */
static void test_text_without_message_and_with_lines(void **state)
{
	expect(MESSAGE_TEXT, "2024-12-18 10:00:00 ServiceA Debug",
		"2024-12-18T09:00:00Z 5 [ServiceA] {severity=\"Debug\"}\"\" 0\n");
	expect(MESSAGE_TEXT, "2024-12-18 10:00:00 ServiceA Warn ",
		"2024-12-18T09:00:00Z 13 [ServiceA] {severity=\"Warn\"}\"\" 0\n");
	expect(MESSAGE_TEXT, "2024-12-18 10:00:00 ServiceA Error\nTrace:\n  at x\n",
		"2024-12-18T09:00:00Z 17 [ServiceA] {severity=\"Error\"}\"Trace:\\n  at x\" 0\n");
}

static void test_services_with_blanks_and_points(void **state)
{
	expect(MESSAGE_TEXT, "2024-12-18 10:00:00 my.own.service Error x",
		"2024-12-18T09:00:00Z 17 [my.own.service] {severity=\"Error\"}\"x\" 0\n");
	expect(MESSAGE_TEXT, "2024-12-18 10:00:00 My Own Service Error x",
		"2024-12-18T09:00:00Z 17 [My Own Service] {severity=\"Error\"}\"x\" 0\n");
	expect(MESSAGE_TEXT, "2024-12-18 10:00:00  A  B  Error  x",
		"2024-12-18T09:00:00Z 17 [A  B] {severity=\"Error\"}\" x\" 0\n");
	/* The second word counts before later ones. */
	expect(MESSAGE_TEXT, "2024-12-18 10:00:00 A Info no Error here",
		"2024-12-18T09:00:00Z 9 [A] {severity=\"Info\"}\"no Error here\" 0\n");
	expect(MESSAGE_TEXT, "2024-12-18 10:00:00 A Audit user an error",
		"2024-12-18T09:00:00Z 0 [A] {severity=\"Audit\"}\"user an error\" 0\n");
	message.routing_key = STR("A Info.x.Audit");
	expect(MESSAGE_TEXT, "2024-12-18 10:00:00 A Info.x Audit Error page",
		"2024-12-18T09:00:00Z 0 [A Info.x] {severity=\"Audit\"}\"Error page\" 0\n");
	expect(MESSAGE_TEXT, "2024-12-18 10:00:00 A Info.x Audit",
		"2024-12-18T09:00:00Z 0 [A Info.x] {severity=\"Audit\"}\"\" 0\n");
	/* A key that does not agree tells nothing. */
	expect(MESSAGE_TEXT, "2024-12-18 10:00:00 B Info Audit",
		"2024-12-18T09:00:00Z 9 [B] {severity=\"Info\"}\"Audit\" 0\n");
	message.routing_key = STR("logs");
	expect(MESSAGE_TEXT, "2024-12-18 10:00:00 B Info Audit",
		"2024-12-18T09:00:00Z 9 [B] {severity=\"Info\"}\"Audit\" 0\n");
}

static void test_times_of_text(void **state)
{
	/* Services that are called like zones are services. */
	expect(MESSAGE_TEXT, "2024-12-18 10:00:00 UTC Error x",
		"2024-12-18T09:00:00Z 17 [UTC] {severity=\"Error\"}\"x\" 0\n");
	expect(MESSAGE_TEXT, "2024-12-18T10:00:00.25Z A Error x",
		"2024-12-18T10:00:00.25Z 17 [A] {severity=\"Error\"}\"x\" 0\n");
	expect(MESSAGE_TEXT, "2024-12-18 10:00:00 +0530 A Error x",
		"2024-12-18T04:30:00Z 17 [A] {severity=\"Error\"}\"x\" 0\n");
	/* The hour that is there twice: the one nearer to when it came. */
	message.observed_ns = INT64_C(1792888200000000000); /* 2026-10-25T00:30:00Z */
	expect(MESSAGE_TEXT, "2026-10-25 02:30:00 A Error x",
		"2026-10-25T00:30:00Z 17 [A] {severity=\"Error\"}\"x\" 0\n");
	message.sent_ns = message.observed_ns + INT64_C(3600000000000);
	expect(MESSAGE_TEXT, "2026-10-25 02:30:00 A Error x",
		"2026-10-25T01:30:00Z 17 [A] {severity=\"Error\"}\"x\" 0\n");
	/* The hour that is not there. */
	expect(MESSAGE_TEXT, "2026-03-29 02:30:00 A Error x",
		"2026-03-29T01:30:00Z 17 [A] {severity=\"Error\"}\"x\" 0\n");
}

static void test_text_that_is_none(void **state)
{
	refuse(MESSAGE_TEXT, "", ERR_ARG, "begins with no time");
	refuse(MESSAGE_TEXT, "ServiceA Error x", ERR_ARG, "begins with no time");
	refuse(MESSAGE_TEXT, "2024-12-18 25:00:00 A Error", ERR_ARG, "begins with no time");
	refuse(MESSAGE_TEXT, "2024-12-18 10:00:00", ERR_ARG, "at byte 19");
	refuse(MESSAGE_TEXT, "2024-12-18 10:00:00 A", ERR_ARG, "service and severity");
	refuse(MESSAGE_TEXT, "2024-12-18 10:00:00  ", ERR_ARG, "expected the service");
}

/* ---- json ---- */

static void test_json(void **state)
{
	expect(MESSAGE_JSON,
		"{\"time\":\"2026-08-20T10:00:00.5+02:00\",\"level\":\"WARN\",\"message\":\"m\","
		"\"service\":\"s\",\"a.b\":1.50,\"ok\":true,\"none\":null,\"list\":[1,\"x\",{}]}",
		"2026-08-20T08:00:00.5Z 13 [s] {a_b=\"1.50\", list=\"[1,\\\"x\\\",{}]\", "
		"ok=\"true\", severity=\"WARN\"}\"m\" 0\n");
	expect(MESSAGE_JSON,
		"{\"@timestamp\":\"2026-08-20T10:00:00Z\",\"log\":{\"level\":\"info\","
		"\"logger\":\"l\"},\"msg\":\"m\",\"service\":{\"name\":\"s\",\"id\":7}}",
		"2026-08-20T10:00:00Z 9 [s] {log_logger=\"l\", service_id=\"7\", "
		"severity=\"info\"}\"m\" 0\n");
}

static void test_names_of_json(void **state)
{
	/* The better name counts, the other one stays. */
	expect(MESSAGE_JSON,
		"{\"msg\":\"b\",\"message\":\"a\",\"ts\":1787306400,\"severity\":\"x\","
		"\"level\":\"error\",\"1ä\":1}",
		"2026-08-21T10:00:00Z 17 [] {_1_=\"1\", extra_severity=\"x\", msg=\"b\", "
		"severity=\"error\"}\"a\" 0\n");
	/* One that cannot be it is left to the next. */
	expect(MESSAGE_JSON, "{\"message\":{\"x\":1},\"msg\":\"b\",\"time\":\"soon\",\"ts\":17.5}",
		"2026-08-21T10:00:00Z 0 [] {message_x=\"1\", time=\"soon\", ts=\"17.5\"}\"b\" 8\n");
}

static void test_times_of_json(void **state)
{
	static const struct {
		const char *value, *time;
	} cases[] = {
		{"1787306400", "2026-08-21T10:00:00Z"},
		{"1787306400.123456789", "2026-08-21T10:00:00.123456789Z"},
		{"1787306400123", "2026-08-21T10:00:00.123Z"},
		{"1787306400123.5", "2026-08-21T10:00:00.1235Z"},
		{"1787306400123456", "2026-08-21T10:00:00.123456Z"},
		{"1787306400123456789", "2026-08-21T10:00:00.123456789Z"},
		{"\"1787306400123456789\"", "2026-08-21T10:00:00.123456789Z"},
		{"1.7873064e9", "2026-08-21T10:00:00Z"},
		{"\"2026-08-21 12:00:00,250\"", "2026-08-21T10:00:00.25Z"},
		{"\"2026-08-21T12:00:00\"", "2026-08-21T10:00:00Z"},
	};
	char body[200], line[200];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		snprintf(body, sizeof body, "{\"time\":%s,\"msg\":\"m\"}", cases[i].value);
		snprintf(line, sizeof line, "%s 0 [] \"m\" 0\n", cases[i].time);
		expect(MESSAGE_JSON, body, line);
	}
	message.sent_ns = INT64_C(1787306399000000000);
	expect(MESSAGE_JSON, "{\"msg\":\"m\"}", "2026-08-21T09:59:59Z 0 [] \"m\" 0\n");
}

static void test_levels_of_json(void **state)
{
	expect(MESSAGE_JSON, "[{\"level\":30,\"msg\":\"\"},{\"level\":3,\"short_message\":\"g\"}]",
		"2026-08-21T10:00:00Z 9 [] {severity=\"30\"}\"\" 8\n"
		"2026-08-21T10:00:00Z 17 [] {severity=\"3\"}\"g\" 8\n");
	options.detect_level = true;
	expect(MESSAGE_JSON, "[{\"level\":\"Error\",\"msg\":\"\"},{\"msg\":\"WARN x\"}]",
		"2026-08-21T10:00:00Z 17 [] {severity=\"Error\"}\"\" 9\n"
		"2026-08-21T10:00:00Z 13 [] \"WARN x\" 9\n");
}

/* What does not fit loses nothing. */
static void test_objects_that_stay(void **state)
{
	struct buf body = {0};

	expect(MESSAGE_JSON, " {\"x\": 1, \"level\": \"info\"}\n",
		"2026-08-21T10:00:00Z 9 [] {severity=\"info\"}"
		"\"{\\\"x\\\": 1, \\\"level\\\": \\\"info\\\"}\" 8\n");
	expect(MESSAGE_JSON, "{\"msg\":\"m\",\"a\":{\"b\":1},\"a_b\":2}",
		"2026-08-21T10:00:00Z 0 [] "
		"\"{\\\"msg\\\":\\\"m\\\",\\\"a\\\":{\\\"b\\\":1},\\\"a_b\\\":2}\" 8\n");
	expect(MESSAGE_JSON, "[{}, {\"x\": [1, null]}]",
		"2026-08-21T10:00:00Z 0 [] \"{}\" 8\n"
		"2026-08-21T10:00:00Z 0 [] \"{\\\"x\\\":[1,null]}\" 8\n");
	for (int n = 60; n < 70; n += 9) {
		buf_clear(&body);
		buf_c(&body, "{\"msg\":\"m\"");
		for (int i = 1; i < n; i++)
			buf_printf(&body, ",\"k%d\":1", i);
		buf_c(&body, "}");
		assert_int_equal(decode_str(MESSAGE_JSON, buf_view(&body)), 0);
		assert_int_equal(str_find(buf_view(&told), STR("\"{")) < 0, n <= 64);
	}
	buf_fini(&body);
}

static void test_objects_one_a_line(void **state)
{
	expect(MESSAGE_JSON, "{\"msg\":\"a\"}\r\n\n{\"x\":1}\n",
		"2026-08-21T10:00:00Z 0 [] \"a\" 8\n"
		"2026-08-21T10:00:00Z 0 [] \"{\\\"x\\\":1}\" 8\n");
	refuse(MESSAGE_JSON, "{\"msg\":\"a\"}\n{\"msg\":", ERR_ARG, "object 2 of one a line");
	refuse(MESSAGE_JSON, "{\"msg\":\"a\"}\n[1]", ERR_ARG, "line 2 is no object");
}

static void test_json_that_is_none(void **state)
{
	refuse(MESSAGE_JSON, "", ERR_ARG, "no value");
	refuse(MESSAGE_JSON, "x", ERR_ARG, "bad JSON at byte 0");
	refuse(MESSAGE_JSON, "\"x\"", ERR_ARG, "expected an object");
	refuse(MESSAGE_JSON, "[{},1]", ERR_ARG, "expected an object");
	refuse(MESSAGE_JSON, "{\"msg\":\"\xff\"}", ERR_ARG, "invalid UTF-8");
	options.max_body = 10;
	refuse(MESSAGE_JSON, "{\"msg\":\"a\"}", ERR_LIMIT, "at most 10");
}

/* ---- loki ---- */

#define PUSH                                                                                       \
	"{\"streams\":[{\"stream\":{\"app\":\"x\"},\"values\":["                                   \
	"[\"1787306400000000001\",\"one\",{\"k\":\"v\"}],[\"1787306400000000002\",\"two\"]]}]}"

static const char push_records[] =
	"2026-08-21T10:00:00.000000001Z 0 [] {app=\"x\"}{k=\"v\"}\"one\" 0\n"
	"2026-08-21T10:00:00.000000002Z 0 [] {app=\"x\"}\"two\" 0\n";

static void put_field(struct buf *out, int number, struct str bytes)
{
	buf_char(out, (char)(number << 3 | 2));
	varint_put(out, bytes.n);
	buf_str(out, bytes);
}

/* One stream with one entry, logproto.PushRequest. */
static void make_push(struct buf *out)
{
	struct buf time = {0}, entry = {0}, stream = {0};

	buf_char(&time, 0x08);
	varint_put(&time, 1787306400);
	put_field(&entry, 1, buf_view(&time));
	put_field(&entry, 2, STR("line"));
	put_field(&stream, 1, STR("{app=\"x\"}"));
	put_field(&stream, 2, buf_view(&entry));
	put_field(out, 1, buf_view(&stream));
	buf_fini(&time);
	buf_fini(&entry);
	buf_fini(&stream);
}

static void test_loki(void **state)
{
	struct buf body = {0}, packed = {0};
	static const char line[] = "2026-08-21T10:00:00Z 0 [] {app=\"x\"}\"line\" 0\n";

	expect(MESSAGE_LOKI, PUSH, push_records);
	make_push(&body);
	assert_int_equal(decode_str(MESSAGE_LOKI, buf_view(&body)), 0);
	assert_string_equal(buf_cstr(&told), line);
	/* A snappy block with one literal. */
	varint_put(&packed, body.n);
	buf_char(&packed, (char)((body.n - 1) << 2));
	buf_str(&packed, buf_view(&body));
	assert_int_equal(decode_str(MESSAGE_LOKI, buf_view(&packed)), 0);
	assert_string_equal(buf_cstr(&told), line);
	message.content_type = STR("application/x-protobuf");
	assert_int_equal(decode_str(MESSAGE_AUTO, buf_view(&packed)), 0);
	assert_string_equal(buf_cstr(&told), line);
	buf_fini(&body);
	buf_fini(&packed);
}

/* A bad entry fails all of it. */
static void test_loki_that_is_none(void **state)
{
	refuse(MESSAGE_LOKI, "{}", ERR_ARG, "streams");
	refuse(MESSAGE_LOKI, "", ERR_ARG, "");
	refuse(MESSAGE_LOKI, "x", ERR_CORRUPT, "a push of Loki's");
	refuse(MESSAGE_LOKI,
		"{\"streams\":[{\"stream\":{\"app\":\"x\"},\"values\":["
		"[\"1\",\"one\"],[\"x\",\"two\"]]}]}",
		ERR_ARG, "streams[0].values[1]");
}

/* ---- otlp ---- */

#define REQUEST                                                                                    \
	"{\"resourceLogs\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\","             \
	"\"value\":{\"stringValue\":\"svc\"}}]},\"scopeLogs\":[{\"logRecords\":[{"                 \
	"\"timeUnixNano\":\"1787306400000000001\",\"severityNumber\":17,"                          \
	"\"body\":{\"stringValue\":\"line\"}}]}]}]}"

static const char request_records[] =
	"2026-08-21T10:00:00.000000001Z 17 [svc] {service_name=\"svc\"}{severity_number=\"17\"}"
	"\"line\" 0\n";

static void test_otlp(void **state)
{
	struct json_parser *parser = json_parser_new();
	struct buf body = {0};

	expect(MESSAGE_OTLP, REQUEST, request_records);
	expect(MESSAGE_AUTO, REQUEST, request_records);
	assert_int_equal(otlp_from_json(parser, STR(REQUEST), &body, NULL), 0);
	assert_int_equal(decode_str(MESSAGE_OTLP, buf_view(&body)), 0);
	assert_string_equal(buf_cstr(&told), request_records);
	assert_int_equal(decode_str(MESSAGE_AUTO, buf_view(&body)), 0);
	assert_string_equal(buf_cstr(&told), request_records);
	message.content_type = STR("application/x-protobuf");
	assert_int_equal(decode_str(MESSAGE_AUTO, buf_view(&body)), 0);
	assert_string_equal(buf_cstr(&told), request_records);
	buf_fini(&body);
	json_parser_free(parser);
}

static void test_otlp_that_is_none(void **state)
{
	expect(MESSAGE_OTLP, "", "");
	refuse(MESSAGE_OTLP, "he", ERR_ARG, "ExportLogsServiceRequest");
	refuse(MESSAGE_OTLP, "{\"resourceLogs\":1}", ERR_ARG, "a list of objects");
	/* A newline and what looks like a length is a text all the same. */
	expect(MESSAGE_AUTO, "\n\001x", "2026-08-21T10:00:00Z 0 [] \"\\n\\u0001x\" 8\n");
	assert_int_equal(decode_str(MESSAGE_AUTO, STR("\n\0")), 0);
	assert_string_equal(buf_cstr(&told), "2026-08-21T10:00:00Z 0 [] \"\\n\\u0000\" 8\n");
}

/* ---- plain and auto ---- */

static void test_plain(void **state)
{
	expect(MESSAGE_PLAIN, "", "2026-08-21T10:00:00Z 0 [] \"\" 8\n");
	expect(MESSAGE_PLAIN, "{\"a\":1}\r\n", "2026-08-21T10:00:00Z 0 [] \"{\\\"a\\\":1}\" 8\n");
	expect(MESSAGE_PLAIN, "2026-08-20 12:00:00 x",
		"2026-08-20T10:00:00Z 0 [] \"2026-08-20 12:00:00 x\" 0\n");
	options.max_line = 6;
	expect(MESSAGE_PLAIN, "0123ää",
		"2026-08-21T10:00:00Z 0 [] {truncated_from=\"8\"}\"0123ä\" 10\n");
}

static void test_auto(void **state)
{
	expect(MESSAGE_AUTO, "2024-12-18 10:00:00 ServiceA Error x",
		"2024-12-18T09:00:00Z 17 [ServiceA] {severity=\"Error\"}\"x\" 0\n");
	/* Other lines keep all of their text. */
	expect(MESSAGE_AUTO, "2024-12-18 10:00:00 INFO Error x",
		"2024-12-18T09:00:00Z 0 [] \"2024-12-18 10:00:00 INFO Error x\" 0\n");
	expect(MESSAGE_AUTO, "2024-12-18 10:00:00 [main] ERROR x",
		"2024-12-18T09:00:00Z 0 [] \"2024-12-18 10:00:00 [main] ERROR x\" 0\n");
	expect(MESSAGE_AUTO, "2024-12-18 10:00:00 My Service Error x",
		"2024-12-18T09:00:00Z 0 [] \"2024-12-18 10:00:00 My Service Error x\" 0\n");
	message.routing_key = STR("My Service.Error");
	expect(MESSAGE_AUTO, "2024-12-18 10:00:00 My Service Error x",
		"2024-12-18T09:00:00Z 17 [My Service] {severity=\"Error\"}\"x\" 0\n");
	expect(MESSAGE_AUTO, "{\"msg\":\"m\"}", "2026-08-21T10:00:00Z 0 [] \"m\" 8\n");
	expect(MESSAGE_AUTO, PUSH, push_records);
	expect(MESSAGE_AUTO, "{\"msg\":", "2026-08-21T10:00:00Z 0 [] \"{\\\"msg\\\":\" 8\n");
	expect(MESSAGE_AUTO, "[1]", "2026-08-21T10:00:00Z 0 [] \"[1]\" 8\n");
	expect(MESSAGE_AUTO, "[]", "2026-08-21T10:00:00Z 0 [] \"[]\" 8\n");
	/* No message is without a trace for its looks. */
	expect(MESSAGE_AUTO, "{\"streams\":[],\"msg\":\"m\"}",
		"2026-08-21T10:00:00Z 0 [] \"m\" 8\n");
	expect(MESSAGE_AUTO, "{\"resourceLogs\":[{}]}",
		"2026-08-21T10:00:00Z 0 [] \"{\\\"resourceLogs\\\":[{}]}\" 8\n");
	expect(MESSAGE_LOKI, "{\"streams\":[]}", "");
	/* A bad entry of what only looks like a push. */
	expect(MESSAGE_AUTO, "{\"streams\":[1]}",
		"2026-08-21T10:00:00Z 0 [] \"{\\\"streams\\\":[1]}\" 8\n");
}

static void test_content_types(void **state)
{
	message.content_type = STR("application/json; charset=utf-8");
	expect(MESSAGE_AUTO, "{\"msg\":\"m\"}", "2026-08-21T10:00:00Z 0 [] \"m\" 8\n");
	expect(MESSAGE_AUTO, "\"a text\"", "2026-08-21T10:00:00Z 0 [] \"\\\"a text\\\"\" 8\n");
	refuse(MESSAGE_AUTO, "{\"msg\":", ERR_ARG, "it is called application/json: bad JSON");
	message.content_type = STR("application/vnd.x+JSON");
	refuse(MESSAGE_AUTO, "{\"streams\":[1]}", ERR_ARG, "it is called application/vnd.x+JSON");
	message.content_type = STR("application/x-protobuf");
	refuse(MESSAGE_AUTO, "hello", ERR_CORRUPT, "it is called application/x-protobuf");
	message.content_type = STR("text/plain");
	expect(MESSAGE_AUTO, "{\"msg\":\"m\"}", "2026-08-21T10:00:00Z 0 [] \"m\" 8\n");
}

static void test_content_encodings(void **state)
{
	struct buf packed = {0};

	message.content_encoding = STR("utf-8");
	expect(MESSAGE_AUTO, "x", "2026-08-21T10:00:00Z 0 [] \"x\" 8\n");
	message.content_encoding = STR("GZip");
	gzip_pack(&packed, STR("{\"msg\":\"m\"}"), 6);
	assert_int_equal(decode_str(MESSAGE_AUTO, buf_view(&packed)), 0);
	assert_string_equal(buf_cstr(&told), "2026-08-21T10:00:00Z 0 [] \"m\" 8\n");
	options.max_body = 5;
	assert_int_equal(decode_str(MESSAGE_PLAIN, buf_view(&packed)), ERR_LIMIT);
	refuse(MESSAGE_PLAIN, "x", ERR_CORRUPT, "content encoding GZip");
	message.content_encoding = STR("br");
	refuse(MESSAGE_PLAIN, "x", ERR_ARG, "gzip, deflate, zstd and snappy");
	buf_fini(&packed);
}

static void test_each_may_end_it(void **state)
{
	stop_at = 1;
	assert_int_equal(
		decode_str(MESSAGE_AUTO, STR("[{\"msg\":\"a\"},{\"msg\":\"b\"}]")), ERR_CLOSED);
	assert_string_equal(buf_cstr(&told), "2026-08-21T10:00:00Z 0 [] \"a\" 8\n");
	stop_at = 1;
	assert_int_equal(decode_str(MESSAGE_AUTO, STR(PUSH)), ERR_CLOSED);
}

/* As many as a message may hold, and small ones after it. */
static void test_large_messages(void **state)
{
	struct message_decoder *d;
	struct buf body = {0};
	struct error e;

	for (int i = 0; i < 100000; i++)
		buf_printf(&body, "{\"msg\":\"line %d\",\"i\":%d}\n", i, i);
	d = message_decoder_new(&options);
	for (int i = 0; i < 3; i++) {
		buf_clear(&told);
		message.body = i == 1 ? buf_view(&body) : STR("{\"msg\":\"small\"}");
		assert_int_equal(message_decode(d, &message, tell, &told, &e), 0);
		if (i == 1)
			assert_true(
				str_ends(buf_view(&told), STR("{i=\"99999\"}\"line 99999\" 8\n")));
		else
			assert_string_equal(
				buf_cstr(&told), "2026-08-21T10:00:00Z 0 [] \"small\" 8\n");
	}
	message_decoder_free(d);
	buf_fini(&body);
}

static void test_too_many_objects(void **state)
{
	struct buf list = {0}, lines = {0};

	buf_char(&list, '[');
	for (int i = 0; i < MESSAGE_OBJECTS_MAX; i++) {
		buf_c(&list, i ? ",{}" : "{}");
		buf_c(&lines, "{}\n");
	}
	buf_c(&list, "]");
	assert_int_equal(decode_str(MESSAGE_JSON, buf_view(&list)), 0);
	assert_int_equal(decode_str(MESSAGE_JSON, buf_view(&lines)), 0);
	list.n--;
	buf_c(&list, ",{}]");
	buf_c(&lines, "{}");
	assert_int_equal(decode_str(MESSAGE_JSON, buf_view(&list)), ERR_LIMIT);
	assert_int_equal(decode_str(MESSAGE_JSON, buf_view(&lines)), ERR_LIMIT);
	buf_fini(&list);
	buf_fini(&lines);
}

static void test_no_memory(void **state)
{
	struct account a;

	account_init(&a, "bodies", 100, NULL);
	options.account = &a;
	assert_true(decode_str(MESSAGE_JSON, STR("{\"msg\":\"a\"}")) < 0);
	assert_int_equal(decode_str(MESSAGE_PLAIN, STR("x")), 0);
	assert_int_equal(account_held(&a), 0);
	account_init(&a, "bodies", 1 << 20, NULL);
	assert_int_equal(decode_str(MESSAGE_JSON, STR("{\"msg\":\"a\"}")), 0);
	assert_int_equal(account_held(&a), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_text, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_text_without_message_and_with_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_services_with_blanks_and_points, setup, teardown),
		cmocka_unit_test_setup_teardown(test_times_of_text, setup, teardown),
		cmocka_unit_test_setup_teardown(test_text_that_is_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names_of_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_times_of_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_levels_of_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_objects_that_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_objects_one_a_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json_that_is_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_loki, setup, teardown),
		cmocka_unit_test_setup_teardown(test_loki_that_is_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_otlp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_otlp_that_is_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_auto, setup, teardown),
		cmocka_unit_test_setup_teardown(test_content_types, setup, teardown),
		cmocka_unit_test_setup_teardown(test_content_encodings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_may_end_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many_objects, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
