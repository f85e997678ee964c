/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdlib.h>

#include "codec/codec.h"
#include "proto/lokipush.h"

static struct push_options options = {.observed_ns = 99, .max_line = 1000};

/* ---- writing protobuf ---- */

static void put_number(struct buf *b, unsigned field, uint64_t value)
{
	varint_put(b, field << 3);
	varint_put(b, value);
}

static void put_bytes(struct buf *b, unsigned field, struct str bytes)
{
	varint_put(b, field << 3 | 2);
	varint_put(b, bytes.n);
	buf_str(b, bytes);
}

/* Put what `inside` holds as a field of `b`, and empty it. */
static void put_message(struct buf *b, unsigned field, struct buf *inside)
{
	put_bytes(b, field, buf_view(inside));
	buf_fini(inside);
}

static void put_timestamp(struct buf *entry, int64_t seconds, int32_t nanos)
{
	struct buf t = {0};

	if (seconds)
		put_number(&t, 1, (uint64_t)seconds);
	if (nanos)
		put_number(&t, 2, (uint64_t)(int64_t)nanos);
	put_message(entry, 1, &t);
}

static void put_pair(struct buf *entry, struct str name, struct str value)
{
	struct buf pair = {0};

	put_bytes(&pair, 1, name);
	put_bytes(&pair, 2, value);
	put_message(entry, 3, &pair);
}

/* An entry of time 7 with a line. */
static void put_entry(struct buf *stream, const char *line)
{
	struct buf entry = {0};

	put_timestamp(&entry, 0, 7);
	put_bytes(&entry, 2, str_c(line));
	put_message(stream, 2, &entry);
}

/* ---- reading it ---- */

struct pushed {
	int code;
	size_t n_entries;
	struct error error;
	struct push_report report;
	struct batch *batch;
};

static struct pushed push(struct str body)
{
	struct batch_builder *b = batch_builder_new(STR("t"), STR("loki"), 99);
	struct pushed p = {0};

	p.code = lokipush_protobuf_check(body, &p.n_entries, &p.error);
	if (p.code == 0)
		lokipush_protobuf(body, &options, b, &p.report);
	p.batch = batch_builder_finish(b, 0);
	batch_builder_free(b);
	return p;
}

static struct pushed push_buf(struct buf *body)
{
	struct pushed p = push(buf_view(body));

	buf_fini(body);
	return p;
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
	struct buf body = {0}, stream = {0}, entry = {0};
	struct pushed p;
	struct record r;

	put_timestamp(&entry, 1700000000, 1);
	put_bytes(&entry, 2, STR("one\0\xff"));
	put_pair(&entry, STR("trace"), STR("x"));
	put_pair(&entry, STR("a.b"), STR("y"));
	put_bytes(&stream, 1, STR("{b=\"2\", a=\"1\"}"));
	put_message(&stream, 2, &entry);
	put_timestamp(&entry, -1, 999999999);
	put_message(&stream, 2, &entry);
	put_number(&stream, 3, 0xdeadbeef);
	put_message(&body, 1, &stream);
	p = push_buf(&body);
	assert_int_equal(p.code, 0);
	assert_int_equal(p.n_entries, 2);
	assert_int_equal(p.report.n_accepted, 2);
	assert_int_equal(p.report.first.code, 0);
	assert_labels(batch_stream(p.batch, 0), "{a=\"1\", b=\"2\"}");
	r = batch_record(p.batch, 0);
	assert_int_equal(r.timestamp, 1700000000000000001);
	assert_true(str_eq(r.body, STR("one\0\xff")));
	assert_labels(r.meta, "{a.b=\"y\", trace=\"x\"}");
	r = batch_record(p.batch, 1);
	assert_int_equal(r.timestamp, -1);
	assert_int_equal(r.body.n, 0);
	assert_int_equal(r.meta.n, 0);
	batch_unref(p.batch);
}

/* Fields in another order, repeated ones, unknown ones, empty streams. */
static void test_what_the_format_allows(void **state)
{
	struct buf body = {0}, stream = {0}, entry = {0}, time = {0};
	struct pushed p;
	struct record r;

	put_bytes(&body, 2, STR("snappy"));
	put_bytes(&body, 1, STR_NONE);
	put_bytes(&stream, 1, STR("{bad"));
	put_message(&body, 1, &stream); /* no entries: nothing is refused */
	put_bytes(&entry, 9, STR("unknown"));
	put_number(&entry, 2, 5); /* known by number, another type: unknown */
	put_bytes(&entry, 2, STR("first"));
	put_pair(&entry, STR("k"), STR("1"));
	put_pair(&entry, STR("k"), STR("2"));
	put_bytes(&entry, 2, STR("second"));
	put_number(&time, 1, 5);
	put_message(&entry, 1, &time);
	put_number(&time, 2, 6);
	put_number(&time, 2, 7);
	put_message(&entry, 1, &time); /* messages merge */
	put_message(&stream, 2, &entry);
	put_bytes(&stream, 1, STR("{a=\"1\"}"));
	put_bytes(&stream, 1, STR("{a=\"2\"}"));
	put_message(&body, 1, &stream);
	p = push_buf(&body);
	assert_int_equal(p.code, 0);
	assert_int_equal(p.report.n_accepted, 1);
	assert_int_equal(p.report.first.code, 0);
	assert_labels(batch_stream(p.batch, 0), "{a=\"2\"}");
	r = batch_record(p.batch, 0);
	assert_int_equal(r.timestamp, 5000000007);
	assert_true(str_eq(r.body, STR("second")));
	assert_labels(r.meta, "{k=\"2\"}");
	batch_unref(p.batch);

	p = push(STR_NONE);
	assert_int_equal(p.code, 0);
	assert_int_equal(batch_count(p.batch), 0);
	batch_unref(p.batch);
}

/* A body that cannot be read to its end leaves nothing, wherever the fault is. */
static void test_bodies_without_sense(void **state)
{
	struct buf body = {0}, stream = {0};
	struct pushed p;

	put_bytes(&stream, 1, STR("{a=\"b\"}"));
	put_entry(&stream, "x");
	put_message(&body, 1, &stream);
	for (size_t n = 1; n < body.n; n++) {
		p = push(str_sub(buf_view(&body), 0, n));
		assert_int_equal(p.code, ERR_ARG);
		assert_int_equal(batch_count(p.batch), 0);
		batch_unref(p.batch);
	}
	buf_put(&body, "\x0b", 1);
	p = push_buf(&body);
	assert_int_equal(p.code, ERR_ARG);
	assert_string_equal(
		p.error.text, "bad protobuf at byte 20: this is no logproto.PushRequest");
	assert_int_equal(batch_count(p.batch), 0);
	batch_unref(p.batch);
}

/* Push a stream of these labels with two entries, and a good one after it. */
static void assert_refused(const char *labels, struct buf *entry, const char *sentence)
{
	struct buf body = {0}, stream = {0};
	struct pushed p;

	if (labels)
		put_bytes(&stream, 1, str_c(labels));
	put_entry(&stream, "x");
	put_message(&stream, 2, entry);
	put_message(&body, 1, &stream);
	put_bytes(&stream, 1, STR("{ok=\"1\"}"));
	put_entry(&stream, "y");
	put_message(&body, 1, &stream);
	p = push_buf(&body);
	assert_int_equal(p.code, 0);
	assert_string_equal(p.report.first.text, sentence);
	assert_int_equal(p.report.n_accepted + p.report.n_bad_labels + p.report.n_bad_timestamp +
				 p.report.n_bad_entry + p.report.n_over_limit,
		p.n_entries);
	assert_int_equal(p.n_entries, 3);
	assert_true(str_eq(batch_record(p.batch, batch_count(p.batch) - 1).body, STR("y")));
	batch_unref(p.batch);
}

static void test_refusals(void **state)
{
	struct buf entry = {0};

	assert_refused(
		NULL, &entry, "error at least one label pair is required per stream (streams[0])");
	assert_refused(
		"{}", &entry, "error at least one label pair is required per stream (streams[0])");
	assert_refused("{a=b}", &entry,
		"error parsing labels '{a=b}' with error: column 4: expected a quoted value, got "
		"'b' (streams[0])");
	assert_refused("{a=\"b\"}", &entry,
		"entry for stream '{a=\"b\"}' has no timestamp (streams[0].entries[1])");
	put_timestamp(&entry, 0, 1000000000);
	assert_refused("{a=\"b\"}", &entry,
		"entry for stream '{a=\"b\"}' has a timestamp out of range (streams[0].entries[1])");
	put_timestamp(&entry, 0, -1);
	assert_refused("{a=\"b\"}", &entry,
		"entry for stream '{a=\"b\"}' has a timestamp out of range (streams[0].entries[1])");
	put_timestamp(&entry, INT64_MAX, 0);
	assert_refused("{a=\"b\"}", &entry,
		"entry for stream '{a=\"b\"}' has a timestamp out of range (streams[0].entries[1])");
	put_timestamp(&entry, 1, 0);
	put_pair(&entry, STR_NONE, STR("v"));
	assert_refused("{a=\"b\"}", &entry,
		"entry for stream '{a=\"b\"}' has structured metadata that is refused: a label has "
		"an empty name (streams[0].entries[1])");
}

/* ---- the same by JSON ---- */

static uint64_t random_state = 1;

static unsigned pick(unsigned n)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(random_state >> 33) % n;
}

static struct str random_text(void)
{
	static const char *const texts[] = {"", "GET /x 200", "level=error it broke",
		"tä\n\"q\" \\", "{\"level\":\"warn\"}", "x", "2026-01-01T00:00:00Z INFO a",
		"0123456789012345678901234567890123456789012345678901234567890123456789"};

	return str_c(texts[pick(sizeof texts / sizeof *texts)]);
}

static void put_both(struct buf *json, struct buf *stream, bool comma)
{
	static const char *const names[] = {"trace", "user", "level", "a.b"};
	struct buf entry = {0};
	int64_t seconds = (int64_t)pick(2000000000) - 1000;
	struct str line = random_text();
	unsigned nanos = pick(1000000000), n = pick(4);

	put_timestamp(&entry, seconds, (int32_t)nanos);
	put_bytes(&entry, 2, line);
	buf_printf(json, "%s[\"%" PRId64 "\",", comma ? "," : "",
		seconds * 1000000000 + (int64_t)nanos);
	buf_json(json, line);
	buf_c(json, ",{");
	for (unsigned i = 0; i < n; i++) {
		struct str name = str_c(names[pick(4)]), value = random_text();
		put_pair(&entry, name, value);
		buf_c(json, i ? "," : "");
		buf_json(json, name);
		buf_char(json, ':');
		buf_json(json, value);
	}
	buf_c(json, "}]");
	put_message(stream, 2, &entry);
}

static void test_json_and_protobuf_agree(void **state)
{
	struct json_parser *parser = json_parser_new();

	options.discover = (struct discover){.service_name = true, .level = true};
	options.max_line = 40;
	for (int round = 0; round < 300; round++) {
		struct buf json = {0}, body = {0}, stream = {0};
		struct batch_builder *b = batch_builder_new(STR("t"), STR("loki"), 99);
		struct push_report report = {0};
		struct error e;
		struct batch *by_json;
		struct pushed p;

		buf_c(&json, "{\"streams\":[");
		for (unsigned s = 0, n = 1 + pick(4); s < n; s++) {
			unsigned app = pick(3), zone = pick(2);
			struct buf labels = {0};

			buf_printf(&labels, "{zone=\"%u\", app=\"app %u\"}", zone, app);
			put_bytes(&stream, 1, buf_view(&labels));
			buf_fini(&labels);
			buf_printf(&json,
				"%s{\"stream\":{\"zone\":\"%u\",\"app\":\"app %u\"},\"values\":[",
				s ? "," : "", zone, app);
			for (unsigned i = 0, n_entries = pick(20); i < n_entries; i++)
				put_both(&json, &stream, i > 0);
			buf_c(&json, "]}");
			put_message(&body, 1, &stream);
		}
		buf_c(&json, "]}");
		assert_int_equal(
			lokipush_json(parser, buf_view(&json), &options, b, &report, &e), 0);
		by_json = batch_builder_finish(b, 0);
		p = push_buf(&body);
		assert_int_equal(p.report.n_accepted, report.n_accepted);
		assert_int_equal(p.report.n_cut, report.n_cut);
		assert_int_equal(p.n_entries, report.n_accepted);
		assert_true(str_eq(batch_bytes(by_json), batch_bytes(p.batch)));
		batch_unref(by_json);
		batch_unref(p.batch);
		batch_builder_free(b);
		buf_fini(&json);
	}
	options.discover = (struct discover){0};
	options.max_line = 1000;
	json_parser_free(parser);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_push),
		cmocka_unit_test(test_what_the_format_allows),
		cmocka_unit_test(test_bodies_without_sense),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_json_and_protobuf_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
