/* SPDX-License-Identifier: Apache-2.0 */
/* From frames made by hand to records: intake, headers and records of the amqp input. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "input/amqp_input.h"
#include "record/severity.h"

struct bench {
	struct account account;
	struct sink sink;
	struct input_env env;
	struct amqp_settings s;
	struct maker_options maker_options;
	struct maker *maker;
	struct seen *seen;
	struct intake *intake;
	unsigned n_full, n_busy, n_released, n_accounted;
	uint64_t given_back[16];
	size_t n_given_back;
	struct batch *batch; /* the last one that was full */
};

static void on_account(struct sink *s, struct str tenant, struct str input, const char *reason,
	uint64_t n, bool answered)
{
	CONTAINER(s, struct bench, sink)->n_accounted += (unsigned)n;
}

static void on_full(void *arg)
{
	struct bench *b = arg;

	b->n_full++;
	batch_unref(b->batch);
	b->batch = maker_finish(b->maker, NULL, NULL);
}

/* Gives up the third time. */
static int on_busy(void *arg, const struct error *why, struct error *e)
{
	struct bench *b = arg;

	return ++b->n_busy % 3 ? 0 : error_set(e, ERR_BUSY, "%s", why->text);
}

static void on_pause(void *arg) {}

static int on_give_back(void *arg, uint64_t tag, struct error *e)
{
	struct bench *b = arg;

	assert_true(b->n_given_back < 16);
	b->given_back[b->n_given_back++] = tag;
	return 0;
}

static void on_release(void *arg)
{
	((struct bench *)arg)->n_released++;
}

static struct bench *bench_new(const char *by, int form)
{
	struct bench *b = xcalloc(1, sizeof *b);
	struct intake_options o = {.s = &b->s,
		.env = &b->env,
		.labels = STR("queue=\"q\""),
		.busy = on_busy,
		.pause = on_pause,
		.give_back = on_give_back,
		.release = on_release,
		.arg = b};

	account_init(&b->account, "test", 32 << 20, NULL);
	b->sink.account = on_account;
	b->env = (struct input_env){.sink = &b->sink,
		.clock = clock_real(),
		.account = &b->account,
		.discover = {true, true},
		.host = "h1",
		.tenant = STR("default")};
	b->s = (struct amqp_settings){.url = "amqp://localhost/",
		.exchange = "x",
		.queue = "q",
		.format = form,
		.prefetch = 100,
		.tries = 3,
		.max_line = 256 << 10,
		.dedupe = {.by = by, .window = 100}};
	b->maker_options = (struct maker_options){
		.s = &b->s, .env = &b->env, .source = STR("amqp:test"), .full = on_full, .arg = b};
	o.maker = b->maker = maker_new(&b->maker_options);
	o.seen = b->seen = seen_new(100, 100);
	b->intake = intake_new(&o);
	return b;
}

static void bench_free(struct bench *b)
{
	intake_free(b->intake);
	maker_free(b->maker);
	seen_free(b->seen);
	batch_unref(b->batch);
	assert_int_equal(account_held(&b->account), 0);
	free(b);
}

/* ---- frames ---- */

static amqp_bytes_t bytes(const char *s)
{
	return amqp_cstring_bytes(s);
}

static int deliver(struct bench *b, uint64_t tag, const char *key, bool again, struct error *e)
{
	amqp_basic_deliver_t method = {.delivery_tag = tag,
		.redelivered = again,
		.exchange = bytes("logs_exchange"),
		.routing_key = bytes(key)};
	amqp_frame_t f = {.frame_type = AMQP_FRAME_METHOD,
		.channel = AMQP_CHANNEL,
		.payload.method = {AMQP_BASIC_DELIVER_METHOD, &method}};

	return intake_frame(b->intake, &f, e);
}

static int header(struct bench *b, amqp_basic_properties_t *p, uint64_t size, struct error *e)
{
	amqp_basic_properties_t none = {0};
	amqp_frame_t f = {.frame_type = AMQP_FRAME_HEADER, .channel = AMQP_CHANNEL};

	f.payload.properties.class_id = AMQP_BASIC_CLASS;
	f.payload.properties.body_size = size;
	f.payload.properties.decoded = p ? p : &none;
	return intake_frame(b->intake, &f, e);
}

static int part(struct bench *b, const char *p, size_t n, struct error *e)
{
	amqp_frame_t f = {.frame_type = AMQP_FRAME_BODY, .channel = AMQP_CHANNEL};

	f.payload.body_fragment = (amqp_bytes_t){n, (void *)p};
	return intake_frame(b->intake, &f, e);
}

static void message_of(struct bench *b, uint64_t tag, const char *key, amqp_basic_properties_t *p,
	const char *text)
{
	struct error e;

	assert_int_equal(deliver(b, tag, key, false, &e), 0);
	assert_int_equal(header(b, p, strlen(text), &e), 0);
	if (*text)
		assert_int_equal(part(b, text, strlen(text), &e), 0);
	assert_true(intake_is_between(b->intake));
}

static amqp_basic_properties_t with_id(const char *id)
{
	return (amqp_basic_properties_t){
		._flags = AMQP_BASIC_MESSAGE_ID_FLAG, .message_id = bytes(id)};
}

static amqp_basic_properties_t with_headers(amqp_table_entry_t *entries, int n)
{
	return (amqp_basic_properties_t){
		._flags = AMQP_BASIC_HEADERS_FLAG, .headers = {n, entries}};
}

static amqp_table_entry_t entry(const char *name, uint8_t kind)
{
	amqp_table_entry_t e = {.key = bytes(name)};

	e.value.kind = kind;
	return e;
}

static amqp_table_entry_t text_entry(const char *name, const char *value)
{
	amqp_table_entry_t e = entry(name, AMQP_FIELD_KIND_UTF8);

	e.value.value.bytes = bytes(value);
	return e;
}

/* ---- what was made ---- */

static struct batch *finish(struct bench *b)
{
	batch_unref(b->batch);
	b->batch = maker_finish(b->maker, NULL, NULL);
	return b->batch;
}

/* The value of a label or of the metadata of record i; empty: none. */
static struct str meta(const struct batch *b, size_t i, const char *name)
{
	struct str at = batch_record(b, i).meta;
	struct label l;

	if (at.n == 0)
		return STR_NONE;
	labels_start(&at);
	while (labels_next(&at, &l))
		if (str_eq_c(l.name, name))
			return l.value;
	return STR_NONE;
}

static size_t n_meta(const struct batch *b, size_t i)
{
	struct str at = batch_record(b, i).meta;

	return at.n ? labels_start(&at) : 0;
}

static struct str label(const struct batch *b, size_t i, const char *name)
{
	struct str at = batch_stream(b, batch_record(b, i).stream);
	struct label l;

	labels_start(&at);
	while (labels_next(&at, &l))
		if (str_eq_c(l.name, name))
			return l.value;
	return STR_NONE;
}

#define expect_str(got, wanted)                                                                    \
	do {                                                                                       \
		struct str got_ = (got);                                                           \
		assert_int_equal(got_.n, strlen(wanted));                                          \
		assert_memory_equal(got_.n ? got_.p : "", wanted, got_.n);                         \
	} while (0)

/* ---- tests ---- */

static void test_message(void **state)
{
	struct bench *b = bench_new("message-id", MESSAGE_AUTO);
	amqp_basic_properties_t p = with_id("id-1");
	struct batch *made;

	p._flags |= AMQP_BASIC_APP_ID_FLAG | AMQP_BASIC_TIMESTAMP_FLAG;
	p.app_id = bytes("shop");
	p.timestamp = 1000;
	message_of(b, 1, "ServiceA.Error", NULL, "2024-12-18 10:00:00 ServiceA Error it broke");
	message_of(b, 2, "any.key", &p, "a line");
	message_of(b, 3, "ServiceB.Warn", NULL, "another");
	message_of(b, 4, "no-point", NULL, "");
	assert_int_equal(intake_tag(b->intake), 4);
	assert_int_equal(intake_count(b->intake), 4);
	assert_int_equal(b->n_released, 4);
	made = finish(b);
	assert_int_equal(batch_count(made), 4);
	expect_str(batch_record(made, 0).body, "it broke");
	expect_str(label(made, 0, "app"), "ServiceA");
	expect_str(meta(made, 0, "severity"), "Error");
	assert_int_equal(batch_record(made, 0).severity, SEV_ERROR);
	expect_str(label(made, 1, "app"), "shop");
	expect_str(meta(made, 1, "message_id"), "id-1");
	expect_str(meta(made, 1, "severity"), "");
	assert_int_equal(batch_record(made, 1).timestamp, INT64_C(1000) * NS_PER_SEC);
	expect_str(label(made, 2, "app"), "ServiceB");
	expect_str(meta(made, 2, "severity"), "Warn");
	expect_str(label(made, 3, "app"), "q");
	expect_str(batch_record(made, 3).body, "");
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(batch_record(made, i).position, i + 1);
	bench_free(b);
}

static void test_body_of_many_frames(void **state)
{
	struct bench *b = bench_new("message-id", MESSAGE_PLAIN);
	amqp_table_entry_t entries[] = {
		text_entry("name", "value"), entry("n", AMQP_FIELD_KIND_I32)};
	char key[] = "A.Info", id[] = "id-1", text[] = "one line of two frames";
	amqp_basic_properties_t p = with_id(id);
	struct batch *made;
	struct error e;

	entries[1].value.value.i32 = -7;
	p._flags |= AMQP_BASIC_HEADERS_FLAG;
	p.headers = (amqp_table_t){2, entries};
	assert_int_equal(deliver(b, 1, key, true, &e), 0);
	assert_int_equal(header(b, &p, strlen(text), &e), 0);
	assert_int_equal(part(b, "", 0, &e), 0);
	assert_int_equal(part(b, text, 8, &e), 0);
	assert_false(intake_is_between(b->intake));
	/* The frames up to here are somebody else's memory now. */
	memset(key, 'x', sizeof key - 1);
	memset(id, 'x', sizeof id - 1);
	entries[0] = text_entry("x", "x");
	assert_int_equal(part(b, "", 0, &e), 0);
	assert_int_equal(part(b, text + 8, strlen(text) - 8, &e), 0);
	made = finish(b);
	expect_str(batch_record(made, 0).body, text);
	expect_str(meta(made, 0, "routing_key"), "A.Info");
	expect_str(meta(made, 0, "message_id"), "id-1");
	expect_str(meta(made, 0, "header_name"), "value");
	expect_str(meta(made, 0, "header_n"), "-7");
	expect_str(meta(made, 0, "redelivered"), "true");
	bench_free(b);
}

/* More than is kept: charged while it comes, the rest counted, the beginning in quarantine. */
static void test_body_of_too_many_bytes(void **state)
{
	struct bench *b = bench_new("off", MESSAGE_PLAIN);
	size_t chunk = 1 << 20, n = AMQP_BODY_MAX / chunk + 3;
	char *text = xcalloc(1, chunk);
	struct batch *made;
	struct error e;

	assert_int_equal(deliver(b, 1, "A.Info", false, &e), 0);
	assert_int_equal(header(b, NULL, n * chunk, &e), 0);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(part(b, text, 0, &e), 0);
		assert_int_equal(account_held(&b->account), AMQP_BODY_MAX);
		assert_int_equal(part(b, text, chunk, &e), 0);
	}
	assert_int_equal(account_held(&b->account), 0);
	made = finish(b);
	/* An eighth of the memory at most, as a store would never take more at once. */
	assert_in_range(batch_record(made, 0).body.n, 3 << 20, 4 << 20);
	expect_str(label(made, 0, "quarantine"), "true");
	expect_str(meta(made, 0, "truncated_from"), "19922944");
	assert_int_equal(intake_tag(b->intake), 1);
	free(text);
	bench_free(b);
}

/* Half of a message, and then the connection is gone: nothing stays charged. */
static void test_half_a_message(void **state)
{
	struct bench *b = bench_new("off", MESSAGE_PLAIN);
	struct error e;

	assert_int_equal(deliver(b, 1, "A.Info", false, &e), 0);
	assert_int_equal(header(b, NULL, 8 << 20, &e), 0);
	assert_int_equal(part(b, "abc", 3, &e), 0);
	assert_int_equal(account_held(&b->account), 8 << 20);
	intake_drop(b->intake);
	assert_int_equal(account_held(&b->account), 0);
	assert_true(intake_is_between(b->intake));
	message_of(b, 1, "A.Info", NULL, "whole");
	expect_str(batch_record(finish(b), 0).body, "whole");
	bench_free(b);
}

static void expect_misplaced(struct bench *b, int r, struct error *e)
{
	assert_int_equal(r, ERR_CORRUPT);
	assert_non_null(strstr(e->text, "out of place"));
	intake_drop(b->intake);
}

static void test_frames_out_of_place(void **state)
{
	struct bench *b = bench_new("off", MESSAGE_PLAIN);
	amqp_connection_properties_t other = {._flags = ~0U};
	amqp_frame_t f = {.frame_type = AMQP_FRAME_HEADER, .channel = AMQP_CHANNEL};
	struct error e;

	expect_misplaced(b, header(b, NULL, 3, &e), &e);
	expect_misplaced(b, part(b, "abc", 3, &e), &e);
	assert_int_equal(deliver(b, 1, "k", false, &e), 0);
	expect_misplaced(b, part(b, "abc", 3, &e), &e);
	assert_int_equal(deliver(b, 1, "k", false, &e), 0);
	expect_misplaced(b, deliver(b, 2, "k", false, &e), &e);
	assert_int_equal(deliver(b, 1, "k", false, &e), 0);
	assert_int_equal(header(b, NULL, 3, &e), 0);
	expect_misplaced(b, part(b, "abcd", 4, &e), &e);
	/* A message begins within the body of another, whose memory is charged. */
	assert_int_equal(deliver(b, 1, "k", false, &e), 0);
	assert_int_equal(header(b, NULL, 8 << 20, &e), 0);
	assert_int_equal(part(b, "abc", 3, &e), 0);
	expect_misplaced(b, deliver(b, 2, "k", false, &e), &e);
	assert_int_equal(account_held(&b->account), 0);
	/* The properties of another class: a smaller struct with all flags. */
	assert_int_equal(deliver(b, 1, "k", false, &e), 0);
	f.payload.properties.class_id = AMQP_CONNECTION_CLASS;
	f.payload.properties.decoded = &other;
	expect_misplaced(b, intake_frame(b->intake, &f, &e), &e);
	/* Another channel. */
	f.channel = 7;
	f.frame_type = AMQP_FRAME_BODY;
	expect_misplaced(b, intake_frame(b->intake, &f, &e), &e);
	assert_int_equal(maker_count(b->maker), 0);
	bench_free(b);
}

static void test_headers(void **state)
{
	struct bench *b = bench_new("message-id", MESSAGE_PLAIN);
	static char names[64][8], big[2 * AMQP_HEADER_VALUE_MAX], long_name[300];
	amqp_table_entry_t entries[64];
	amqp_basic_properties_t p = with_headers(entries, 11);
	struct batch *made;

	memset(big, 'v', sizeof big - 1);
	memset(long_name, 'n', 255);
	entries[0] = text_entry("app", "evil");
	entries[1] = text_entry("a b-\xc3\xa4", "odd");
	entries[2] = text_entry("big", big);
	entries[3] = entry("table", AMQP_FIELD_KIND_TABLE);
	entries[3].value.value.table = (amqp_table_t){2, entries};
	entries[4] = entry("list", AMQP_FIELD_KIND_ARRAY);
	entries[5] = entry("none", AMQP_FIELD_KIND_VOID);
	entries[6] = entry("decimal", AMQP_FIELD_KIND_DECIMAL);
	entries[6].value.value.decimal = (amqp_decimal_t){2, (uint32_t)-314};
	entries[7] = entry("large", AMQP_FIELD_KIND_U64);
	entries[7].value.value.u64 = UINT64_MAX;
	entries[8] = entry("yes", AMQP_FIELD_KIND_BOOLEAN);
	entries[8].value.value.boolean = 1;
	entries[9] = text_entry("", "no name");
	entries[10] = text_entry(long_name, "long");
	message_of(b, 1, "k", &p, "first");
	for (int i = 0; i < 64; i++) {
		snprintf(names[i], sizeof names[i], "h%02d", i);
		entries[i] = text_entry(names[i], "v");
	}
	p = with_headers(entries, 64);
	message_of(b, 2, "k", &p, "second");
	/* Written the same in LogQL's letters: the first. */
	entries[0] = text_entry("a-b", "1");
	entries[1] = text_entry("a.b", "2");
	p = with_headers(entries, 2);
	message_of(b, 3, "k", &p, "third");
	made = finish(b);
	expect_str(label(made, 0, "app"), "q");
	expect_str(meta(made, 0, "header_app"), "evil");
	expect_str(meta(made, 0, "header_a_b___"), "odd");
	assert_int_equal(meta(made, 0, "header_big").n, AMQP_HEADER_VALUE_MAX);
	expect_str(meta(made, 0, "header_table"), "");
	expect_str(meta(made, 0, "header_decimal"), "-3.14");
	expect_str(meta(made, 0, "header_large"), "9223372036854775807");
	expect_str(meta(made, 0, "header_yes"), "true");
	assert_int_equal(n_meta(made, 0), 2 + 7);
	assert_int_equal(n_meta(made, 1), 2 + AMQP_HEADERS_MAX);
	expect_str(meta(made, 2, "header_a_b"), "1");
	assert_int_equal(n_meta(made, 2), 3);
	bench_free(b);
}

/* A field of the body that is called as what the transport tells. */
static void test_names_of_both(void **state)
{
	struct bench *b = bench_new("message-id", MESSAGE_JSON);
	amqp_table_entry_t entries[] = {text_entry("x", "transport")};
	amqp_basic_properties_t p = with_headers(entries, 1);
	struct batch *made;

	message_of(b, 1, "real.key", &p,
		"{\"message\": \"m\", \"routing_key\": \"forged\", \"header_x\": \"body\", "
		"\"redelivered\": \"true\"}");
	made = finish(b);
	expect_str(meta(made, 0, "routing_key"), "real.key");
	expect_str(meta(made, 0, "routing_key_extracted"), "forged");
	expect_str(meta(made, 0, "header_x"), "transport");
	expect_str(meta(made, 0, "header_x_extracted"), "body");
	bench_free(b);
}

static void test_duplicates(void **state)
{
	struct bench *b = bench_new("header:uid", MESSAGE_PLAIN);
	amqp_table_entry_t entries[] = {text_entry("uid", "7")};
	amqp_basic_properties_t p = with_headers(entries, 1);

	message_of(b, 1, "k", &p, "text");
	message_of(b, 2, "k", &p, "text");
	message_of(b, 3, "k", &p, "other text");
	message_of(b, 4, "k", NULL, "text");
	message_of(b, 5, "k", &p, "text");
	assert_int_equal(maker_count(b->maker), 3);
	assert_int_equal(intake_tag(b->intake), 5);
	/* The connection is gone before any of it was sent to the store. */
	maker_drop(b->maker);
	seen_undo(b->seen, 0);
	message_of(b, 1, "k", &p, "text");
	assert_int_equal(maker_count(b->maker), 1);
	assert_int_equal(maker_position(b->maker), 1);
	bench_free(b);
}

static void test_poison(void **state)
{
	struct bench *b = bench_new("off", MESSAGE_JSON);
	amqp_table_entry_t entries[] = {entry("x-delivery-count", AMQP_FIELD_KIND_I64)};
	amqp_basic_properties_t p = with_headers(entries, 1);
	struct batch *made;

	message_of(b, 1, "k", NULL, "{\"message\": \"good\"}");
	message_of(b, 2, "k", NULL, "no JSON");
	message_of(b, 3, "k", NULL, "no JSON");
	assert_int_equal(b->n_given_back, 2);
	assert_int_equal(b->given_back[0], 2);
	assert_int_equal(b->given_back[1], 3);
	assert_int_equal(intake_tag(b->intake), 1);
	message_of(b, 4, "k", NULL, "no JSON");
	assert_int_equal(b->n_given_back, 2);
	assert_int_equal(intake_tag(b->intake), 4);
	/* What the broker counted, and what a publisher says that it did. */
	entries[0].value.value.i64 = 2;
	message_of(b, 5, "k", &p, "nor this");
	entries[0].value.value.i64 = INT64_MAX;
	message_of(b, 6, "k", &p, "nor that");
	entries[0].value.value.i64 = INT64_MIN;
	message_of(b, 7, "k", &p, "neither");
	assert_int_equal(b->n_given_back, 3);
	made = finish(b);
	assert_int_equal(batch_count(made), 4);
	expect_str(label(made, 1, "quarantine"), "true");
	expect_str(batch_record(made, 1).body, "no JSON");
	assert_true(meta(made, 1, "reason").n > 0);
	bench_free(b);
}

/* One message of more than a batch may have. */
static void test_push_of_many_lines(void **state)
{
	struct bench *b = bench_new("off", MESSAGE_JSON);
	struct buf text = {0};
	struct error e;

	for (int i = 0; i < 9000; i++)
		buf_printf(&text, "{\"message\": \"%01000d\"}\n", i);
	assert_int_equal(deliver(b, 1, "k", false, &e), 0);
	assert_int_equal(header(b, NULL, text.n, &e), 0);
	assert_int_equal(part(b, text.p, text.n, &e), 0);
	assert_int_equal(b->n_full, 2);
	assert_in_range(batch_bytes(b->batch).n, 3 << 20, 4 << 20);
	assert_in_range(maker_bytes(b->maker), 1 << 10, 4 << 20);
	assert_int_equal(maker_position(b->maker), 9000);
	buf_fini(&text);
	bench_free(b);
}

static void test_no_memory(void **state)
{
	struct bench *b = bench_new("off", MESSAGE_JSON);
	const char *text = "{\"message\": \"good\"}";
	struct error e;

	account_force(&b->account, 32 << 20);
	assert_int_equal(deliver(b, 1, "k", false, &e), 0);
	assert_int_equal(header(b, NULL, strlen(text), &e), 0);
	assert_int_equal(part(b, text, strlen(text), &e), ERR_BUSY);
	assert_int_equal(b->n_busy, 3);
	assert_int_equal(intake_tag(b->intake), 0);
	account_release(&b->account, 32 << 20);
	intake_drop(b->intake);
	message_of(b, 1, "k", NULL, text);
	assert_int_equal(intake_tag(b->intake), 1);
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_message),
		cmocka_unit_test(test_body_of_many_frames),
		cmocka_unit_test(test_body_of_too_many_bytes),
		cmocka_unit_test(test_half_a_message),
		cmocka_unit_test(test_frames_out_of_place),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_names_of_both),
		cmocka_unit_test(test_duplicates),
		cmocka_unit_test(test_poison),
		cmocka_unit_test(test_push_of_many_lines),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
