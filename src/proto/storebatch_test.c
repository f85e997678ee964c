/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "proto/storebatch.c"
#include "record/severity.h"

static struct push_options options = {.observed_ns = 1787306400000000000};
static struct error error;

/* The code, and what was added. */
static int push(struct str body, struct batch **out)
{
	struct json_parser *parser = json_parser_new();
	struct batch_builder *b = batch_builder_new(STR("t"), STR("batch"), options.observed_ns);
	int r = storebatch_json(parser, body, &options, b, &error);

	*out = batch_builder_finish(b, 0);
	if (r < 0) {
		assert_int_equal(batch_count(*out), 0);
		assert_int_equal(batch_n_streams(*out), 0);
		assert_int_equal(batch_n_sources(*out), 0);
	}
	batch_builder_free(b);
	json_parser_free(parser);
	return r;
}

static void assert_labels(struct str labels, const char *expected)
{
	struct buf text = {0};

	labels_text(&text, labels);
	assert_string_equal(buf_cstr(&text), expected);
	buf_fini(&text);
}

static void test_a_batch(void **state)
{
	struct batch *b;
	struct record r;

	options.discover = (struct discover){.service_name = true, .level = true};
	assert_int_equal(
		push(STR("{\"batch\":["
			 "{\"uuid\":\"u\",\"host\":\"h\",\"file\":\"/var/log/app.log\","
			 "\"line-num\":0,\"content\":\"hello\"},"
			 "{\"uuid\":\"v\",\"host\":\"h\",\"file\":\"/var/log/app.log\","
			 "\"line-num\":6,\"content\":\"2026-08-21T09:59:59Z ERROR x\"},"
			 "{\"host\":\"h2\",\"file\":\"b\",\"line-num\":1,\"content\":\"\"},"
			 "{\"host\":\"h\",\"file\":\"/var/log/app.log\",\"line-num\":7,"
			 "\"content\":\"x\"}],\"size\":4}"),
			&b),
		0);
	options.discover = (struct discover){0};
	assert_int_equal(batch_count(b), 4);
	assert_int_equal(batch_n_streams(b), 2);
	assert_int_equal(batch_n_sources(b), 2);
	assert_labels(batch_stream(b, 0),
		"{app=\"app\", file=\"/var/log/app.log\", host=\"h\", input=\"batch\", "
		"service_name=\"app\"}");
	assert_true(str_eq(batch_source(b, 0).id, STR("batch:h:/var/log/app.log")));
	assert_int_equal(batch_source(b, 0).kind, POSITION_SET);
	r = batch_record(b, 0);
	assert_int_equal(r.source, 1);
	assert_int_equal(r.position, 0);
	assert_int_equal(r.timestamp, options.observed_ns);
	assert_int_equal(r.flags, RECORD_TIME_OBSERVED | RECORD_LEVEL_DETECTED);
	r = batch_record(b, 1);
	assert_int_equal(r.position, 6);
	assert_int_equal(r.timestamp, options.observed_ns - 1000000000);
	assert_int_equal(r.severity, SEV_ERROR);
	assert_int_equal(r.flags, RECORD_LEVEL_DETECTED);
	assert_int_equal(batch_record(b, 2).source, 2);
	assert_int_equal(batch_record(b, 3).source, 1);
	assert_int_equal(batch_record(b, 3).stream, 0);
	batch_unref(b);

	assert_int_equal(push(STR("{\"batch\":[],\"size\":0}"), &b), 0);
	assert_int_equal(batch_count(b), 0);
	batch_unref(b);
}

static void assert_source(const char *host, const char *file, const char *expected)
{
	struct buf id = {0};

	storebatch_source(&id, str_c(host), str_c(file));
	assert_string_equal(buf_cstr(&id), expected);
	buf_fini(&id);
}

static void test_sources_are_unambiguous(void **state)
{
	assert_source("a:b", "c", "batch:a%3Ab:c");
	assert_source("a", "b:c", "batch:a:b:c");
	assert_source("a%3Ab", "c", "batch:a%253Ab:c");
}

static void test_app(void **state)
{
	assert_true(str_eq(app_of(STR("/var/log/app.log")), STR("app")));
	assert_true(str_eq(app_of(STR("/a.b/app")), STR("app")));
	assert_true(str_eq(app_of(STR("app.log.1")), STR("app.log")));
	assert_true(str_eq(app_of(STR("/x/.hidden")), STR(".hidden")));
	assert_true(str_eq(app_of(STR("/x/.hidden.log")), STR(".hidden")));
	assert_int_equal(app_of(STR("/x/")).n, 0);
	assert_true(str_eq(app_of(STR("x.")), STR("x")));
}

static void assert_refused(const char *body, int code, const char *sentence)
{
	struct batch *b;

	assert_int_equal(push(str_c(body), &b), code);
	assert_string_equal(error.text, sentence);
	batch_unref(b);
}

#define GOOD          "{\"host\":\"h\",\"file\":\"f\",\"line-num\":1,\"content\":\"x\"}"
#define LINE(members) "{\"batch\":[" GOOD "," members "]}"
#define NUMBER(n)     LINE("{\"host\":\"h\",\"file\":\"f\",\"line-num\":" n ",\"content\":\"x\"}")

static void test_all_or_nothing(void **state)
{
	const char *number = "batch[1].line-num: must be a whole number from 0 on, got ";
	static const char *const numbers[][2] = {{NUMBER("\"x\""), "\"x\""},
		{NUMBER("-1"), "\"-1\""}, {NUMBER("1.5"), "\"1.5\""}, {NUMBER("1e3"), "\"1e3\""},
		{NUMBER("null"), "\"null\""},
		{NUMBER("18446744073709551616"), "\"18446744073709551616\""},
		{NUMBER("[1]"), "\"a list\""}, {NUMBER("\"a\\nb\""), "\"a?b\""}};
	struct buf sentence = {0};

	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		buf_clear(&sentence);
		buf_printf(&sentence, "%s%s", number, numbers[i][1]);
		assert_refused(numbers[i][0], ERR_ARG, buf_cstr(&sentence));
	}
	buf_fini(&sentence);
	assert_refused(NUMBER("9007199254740993"), ERR_ARG,
		"batch[1].line-num: must be at most 9007199254740992, got 9007199254740993");
	assert_refused(LINE("{\"host\":\"h\",\"file\":\"f\",\"content\":\"x\"}"), ERR_ARG,
		"batch[1].line-num: must be a whole number from 0 on, got \"nothing\"");
	assert_refused(LINE("{\"file\":\"f\",\"line-num\":1,\"content\":\"x\"}"), ERR_ARG,
		"batch[1].host: must be a string, got nothing");
	assert_refused(LINE("{\"host\":\"h\",\"file\":\"\",\"line-num\":1,\"content\":\"x\"}"),
		ERR_ARG, "batch[1].file: must not be empty");
	assert_refused(LINE("{\"host\":\"h\",\"file\":\"f\",\"line-num\":1,\"content\":{}}"),
		ERR_ARG, "batch[1].content: must be a string, got an object");
	assert_refused(LINE("3"), ERR_ARG, "batch[1]: must be an object");
	assert_refused("{}", ERR_ARG, "a batch must be an object with a list \"batch\"");
	assert_refused("[]", ERR_ARG, "a batch must be an object with a list \"batch\"");
	assert_refused("{\"batch\":3}", ERR_ARG, "a batch must be an object with a list \"batch\"");
	options.max_line = 4;
	assert_refused(LINE("{\"host\":\"h\",\"file\":\"f\",\"line-num\":1,\"content\":\"12345\"}"),
		ERR_LIMIT, "batch[1].content: 5 bytes, at most 4 are taken");
	options.max_line = 0;
}

static void test_limits(void **state)
{
	struct buf body = {0};
	struct batch *b;

	buf_c(&body, "{\"batch\":[{\"line-num\":1,\"content\":\"x\",\"file\":\"f\",\"host\":\"");
	for (int i = 0; i < 1016; i++)
		buf_char(&body, 'h');
	buf_c(&body, "\"}]}");
	assert_int_equal(push(buf_view(&body), &b), 0); /* "batch:" … ":f" is 1024 */
	batch_unref(b);
	body.n -= 4;
	buf_c(&body, "h\"}]}");
	assert_refused(buf_cstr(&body), ERR_LIMIT,
		"batch[0]: host and file together have 1025 bytes, at most 1024 are taken");

	buf_clear(&body);
	buf_c(&body, "{\"batch\":[" GOOD);
	for (int i = 1; i < STOREBATCH_LINES_MAX; i++)
		buf_c(&body, "," GOOD);
	buf_c(&body, "]}");
	assert_int_equal(push(buf_view(&body), &b), 0);
	assert_int_equal(batch_count(b), STOREBATCH_LINES_MAX);
	batch_unref(b);
	body.n -= 2;
	buf_c(&body, "," GOOD "]}");
	assert_refused(buf_cstr(&body), ERR_LIMIT, "batch: more than 65535 lines in one request");
	buf_fini(&body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_batch),
		cmocka_unit_test(test_sources_are_unambiguous),
		cmocka_unit_test(test_app),
		cmocka_unit_test(test_all_or_nothing),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
