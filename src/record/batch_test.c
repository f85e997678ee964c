/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "record/batch.c"

#define LABELS_A STR("\1\3app\1a")
#define LABELS_B STR("\1\3app\1b")
#define META_1   STR("\1\2id\0011")
#define META_2   STR("\1\2id\0012")

static struct batch_builder *new_builder(void)
{
	return batch_builder_new(STR("team-1"), STR("loki"), 42);
}

/* Four records, two streams, two sources; records 0 and 1 share their metadata. */
static struct batch_builder *sample_builder(void)
{
	struct batch_builder *b = new_builder();
	uint32_t a = batch_builder_stream(b, LABELS_A), other = batch_builder_stream(b, LABELS_B);
	uint16_t s1 = batch_builder_source(
		b, &(struct batch_source){
			   .id = STR("file:1"), .from = 100, .to = 110, .kind = POSITION_MARK});
	uint16_t s2 = batch_builder_source(
		b, &(struct batch_source){
			   .id = STR("journal"), .token = STR("cursor-1"), .kind = POSITION_TOKEN});
	const struct record records[] = {
		{5, STR("one"), META_1, 103, a, s1, 9, 0},
		{-3, STR(""), META_1, 104, a, s1, 0, RECORD_CUT},
		{7, STR("three\0\xff"), META_2, 0, other, s2, 24, RECORD_GAP},
		{6, STR("four"), STR_NONE, 110, a, s1, 17, RECORD_LEVEL_DETECTED},
	};

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(batch_builder_add(b, &records[i], NULL), 0);
	return b;
}

static struct batch *sample(void)
{
	struct batch_builder *b = sample_builder();
	size_t bytes = batch_builder_bytes(b);
	struct batch *new = batch_builder_finish(b, 43);

	assert_int_equal(bytes, batch_bytes(new).n);
	batch_builder_free(b);
	return new;
}

static void assert_sample(const struct batch *b)
{
	struct record r;

	assert_int_equal(batch_count(b), 4);
	assert_true(str_eq(batch_tenant(b), STR("team-1")));
	assert_true(str_eq(batch_input(b), STR("loki")));
	assert_int_equal(batch_observed(b), 42);
	assert_int_equal(batch_raw_bytes(b), 3 + 0 + 7 + 4);
	assert_int_equal(batch_min_time(b), -3);
	assert_int_equal(batch_max_time(b), 7);
	assert_int_equal(batch_n_streams(b), 2);
	assert_true(str_eq(batch_stream(b, 0), LABELS_A));
	assert_true(str_eq(batch_stream(b, 1), LABELS_B));
	assert_int_equal(batch_n_sources(b), 2);
	assert_true(str_eq(batch_source(b, 0).id, STR("file:1")));
	assert_int_equal(batch_source(b, 0).from, 100);
	assert_int_equal(batch_source(b, 0).to, 110);
	assert_int_equal(batch_source(b, 0).kind, POSITION_MARK);
	assert_true(str_eq(batch_source(b, 1).token, STR("cursor-1")));
	r = batch_record(b, 2);
	assert_int_equal(r.timestamp, 7);
	assert_true(str_eq(r.body, STR("three\0\xff")));
	assert_true(str_eq(r.meta, META_2));
	assert_int_equal(r.stream, 1);
	assert_int_equal(r.source, 2);
	assert_int_equal(r.severity, 24);
	assert_int_equal(r.flags, RECORD_GAP);
	assert_int_equal(batch_record(b, 3).meta.n, 0);
	assert_int_equal(batch_record(b, 3).position, 110);
	assert_ptr_equal(batch_record(b, 0).meta.p, batch_record(b, 1).meta.p);
}

static struct buf copy_bytes(const struct batch *b)
{
	struct buf copy = {0};

	buf_str(&copy, batch_bytes(b));
	return copy;
}

static void test_build_and_read(void **state)
{
	struct batch *b = sample(), *again = NULL;
	struct buf bytes = copy_bytes(b);
	struct error e = {0};

	assert_sample(b);
	if (batch_from_bytes(&again, &bytes, &e) < 0)
		fail_msg("%s", e.text);
	assert_null(bytes.p);
	assert_sample(again);
	batch_set_first_seq(again, 1000);
	assert_int_equal(batch_first_seq(again), 1000);
	assert_ptr_equal(batch_ref(again), again);
	batch_unref(again);
	batch_unref(again);
	batch_unref(b);
	batch_unref(NULL);
}

static void test_builder_is_empty_after_finish(void **state)
{
	struct batch_builder *b = sample_builder();
	struct batch *batch;

	batch_unref(batch_builder_finish(b, 77));
	assert_int_equal(batch_builder_count(b), 0);
	batch = batch_builder_finish(b, 78);
	assert_int_equal(batch_observed(batch), 77);
	assert_int_equal(batch_count(batch), 0);
	assert_int_equal(batch_n_streams(batch), 0);
	assert_int_equal(batch_n_sources(batch), 0);
	assert_int_equal(batch_min_time(batch), INT64_MAX);
	assert_true(str_eq(batch_tenant(batch), STR("team-1")));
	struct buf bytes = copy_bytes(batch);
	struct batch *again = NULL;
	assert_int_equal(batch_from_bytes(&again, &bytes, NULL), 0);
	batch_unref(again);
	batch_unref(batch);
	assert_int_equal(batch_builder_stream(b, LABELS_B), 0);
	batch_builder_free(b);
	batch_builder_free(NULL);
}

static void test_same_stream_and_source_keep_their_index(void **state)
{
	struct batch_builder *b = new_builder();
	struct batch_source s = {.id = STR("a"), .from = 5, .to = 9, .kind = POSITION_MARK};
	struct batch_source t = {
		.id = STR("b"), .token = STR("long token"), .kind = POSITION_TOKEN};
	struct batch *batch;

	assert_int_equal(batch_builder_stream(b, LABELS_A), 0);
	assert_int_equal(batch_builder_stream(b, LABELS_B), 1);
	assert_int_equal(batch_builder_stream(b, LABELS_A), 0);
	assert_int_equal(batch_builder_stream(b, STR_NONE), 2);
	assert_int_equal(batch_builder_stream(b, STR("\0")), 2);
	assert_int_equal(batch_builder_source(b, &s), 1);
	assert_int_equal(batch_builder_source(b, &t), 2);
	s.from = 9;
	s.to = 20;
	t.token = STR("short");
	assert_int_equal(batch_builder_source(b, &s), 1);
	assert_int_equal(batch_builder_source(b, &t), 2);
	batch = batch_builder_finish(b, 0);
	assert_int_equal(batch_source(batch, 0).from, 5);
	assert_int_equal(batch_source(batch, 0).to, 20);
	assert_true(str_eq(batch_source(batch, 1).token, STR("short")));
	assert_true(str_eq(batch_stream(batch, 2), STR("\0")));
	struct buf bytes = copy_bytes(batch);
	struct batch *again = NULL;
	assert_int_equal(batch_from_bytes(&again, &bytes, NULL), 0);
	batch_unref(again);
	batch_unref(batch);
	batch_builder_free(b);
}

/* A source goes back, or changes its kind: not in this batch, which stays as it is. */
static void test_a_source_that_goes_back_is_for_the_next_batch(void **state)
{
	struct batch_builder *b = new_builder();
	struct batch_source s = {.id = STR("a"), .from = 500, .to = 900, .kind = POSITION_MARK};
	struct batch_source back = {.id = STR("a"), .to = 300, .kind = POSITION_MARK};
	struct batch_source inside = {
		.id = STR("a"), .from = 600, .to = 899, .kind = POSITION_MARK};
	struct batch_source other = {
		.id = STR("a"), .token = STR("t"), .to = 1000, .kind = POSITION_TOKEN};
	struct batch *batch;

	(void)state;
	assert_int_equal(batch_builder_source(b, &s), 1);
	assert_int_equal(batch_builder_source(b, &back), 0);
	assert_int_equal(batch_builder_source(b, &inside), 0);
	assert_int_equal(batch_builder_source(b, &other), 0);
	s.from = s.to;
	assert_int_equal(batch_builder_source(b, &s), 1);
	batch = batch_builder_finish(b, 0);
	assert_int_equal(batch_n_sources(batch), 1);
	assert_int_equal(batch_source(batch, 0).from, 500);
	assert_int_equal(batch_source(batch, 0).to, 900);
	assert_int_equal(batch_source(batch, 0).kind, POSITION_MARK);
	assert_int_equal(batch_source(batch, 0).token.n, 0);
	batch_unref(batch);
	assert_int_equal(batch_builder_source(b, &back), 1);
	batch = batch_builder_finish(b, 0);
	assert_int_equal(batch_source(batch, 0).to, 300);
	batch_unref(batch);
	batch_builder_free(b);
}

static void test_without(void **state)
{
	struct batch *b = sample(), *rest;
	struct buf bytes;

	rest = batch_without(b, (const uint8_t[]){0x5});
	assert_int_equal(batch_count(rest), 2);
	assert_int_equal(batch_record(rest, 0).position, 104);
	assert_true(str_eq(batch_record(rest, 0).meta, META_1));
	assert_int_equal(batch_record(rest, 1).position, 110);
	assert_int_equal(batch_n_streams(rest), 1);
	assert_int_equal(batch_n_sources(rest), 2);
	assert_true(str_eq(batch_source(rest, 1).token, STR("cursor-1")));
	assert_int_equal(batch_observed(rest), 42);
	assert_int_equal(batch_raw_bytes(rest), 4);
	bytes = copy_bytes(rest);
	batch_unref(rest);
	assert_int_equal(batch_from_bytes(&rest, &bytes, NULL), 0);
	batch_unref(rest);
	rest = batch_without(b, (const uint8_t[]){0xff});
	assert_int_equal(batch_count(rest), 0);
	assert_int_equal(batch_n_sources(rest), 2);
	batch_unref(rest);
	batch_unref(b);
}

static void test_account_is_released(void **state)
{
	struct account a;
	struct batch *b = sample();

	account_init(&a, "test", UINT64_MAX, NULL);
	account_force(&a, batch_bytes(b).n);
	batch_set_account(b, &a);
	assert_int_equal(account_held(&a), batch_bytes(b).n);
	batch_unref(b);
	assert_int_equal(account_held(&a), 0);
}

static void test_limits(void **state)
{
	struct batch_builder *b = new_builder();
	struct buf big = {0};
	struct record r = {.stream = batch_builder_stream(b, LABELS_A)};
	struct batch_source s = {.id = STR("s"), .kind = POSITION_SET};
	struct error e = {0};
	struct batch *batch;

	memset(buf_reserve(&big, BATCH_BYTES_MAX), 'x', BATCH_BYTES_MAX);
	r.body = str_make(big.p, BATCH_BYTES_MAX);
	assert_int_equal(batch_builder_add(b, &r, &e), ERR_LIMIT);
	assert_string_equal(e.text, "a batch holds at most 67108864 bytes");
	/* To the last byte. */
	r.body.n = BATCH_BYTES_MAX - batch_builder_bytes(b) - sizeof(struct row);
	assert_int_equal(batch_builder_add(b, &r, NULL), 0);
	assert_int_equal(batch_builder_bytes(b), BATCH_BYTES_MAX);
	assert_int_equal(batch_builder_source(b, &s), 0);
	assert_int_equal(batch_builder_stream(b, LABELS_A), 0);
	r.stream = batch_builder_stream(b, LABELS_B);
	assert_int_equal(r.stream, BATCH_NO_STREAM);
	assert_int_equal(batch_builder_add(b, &r, NULL), ERR_LIMIT);
	batch = batch_builder_finish(b, 0);
	struct buf bytes = copy_bytes(batch);
	struct batch *again = NULL;
	assert_int_equal(batch_from_bytes(&again, &bytes, NULL), 0);
	batch_unref(again);
	batch_unref(batch);

	s.id = str_make(big.p, SOURCE_ID_MAX + 1);
	assert_int_equal(batch_builder_source(b, &s), 0);
	r = (struct record){.stream = batch_builder_stream(b, LABELS_A)};
	for (int i = 0; i < BATCH_RECORDS_MAX; i++)
		assert_int_equal(batch_builder_add(b, &r, NULL), 0);
	assert_int_equal(batch_builder_add(b, &r, &e), ERR_LIMIT);
	assert_string_equal(e.text, "a batch holds at most 1048576 records");
	batch_builder_free(b);
	buf_fini(&big);
}

static void test_tenant(void **state)
{
	char long_name[TENANT_MAX + 1];

	memset(long_name, 'a', sizeof long_name);
	assert_true(tenant_valid(STR("a")));
	assert_true(tenant_valid(STR("A-Z_09!.*'()")));
	assert_true(tenant_valid(STR("...")));
	assert_true(tenant_valid(str_make(long_name, TENANT_MAX)));
	assert_false(tenant_valid(str_make(long_name, TENANT_MAX + 1)));
	assert_false(tenant_valid(STR("")));
	assert_false(tenant_valid(STR(".")));
	assert_false(tenant_valid(STR("..")));
	assert_false(tenant_valid(STR("a/b")));
	assert_false(tenant_valid(STR("a\0")));
	assert_false(tenant_valid(STR("a|b")));
	assert_false(tenant_valid(STR("ä")));
}

/* Spoil a copy of the sample and expect a refusal that says `sentence`. */
static void assert_spoiled(
	const struct batch *b, size_t at, const void *with, size_t n, const char *sentence)
{
	struct buf bytes = copy_bytes(b);
	struct batch *out = NULL;
	struct error e = {0};

	assert_true(at + n <= bytes.n);
	memcpy(bytes.p + at, with, n);
	assert_int_equal(batch_from_bytes(&out, &bytes, &e), ERR_CORRUPT);
	assert_null(out);
	assert_null(bytes.p);
	assert_string_equal(e.text, sentence);
}

#define SPOIL(b, base, type, field, value, sentence)                                               \
	do {                                                                                       \
		__typeof__(((type *)0)->field) with = (value);                                     \
		assert_spoiled(b, (base) + offsetof(type, field), &with, sizeof with, sentence);   \
	} while (0)

static void test_spoiled_headers_are_refused(void **state)
{
	struct batch *b = sample();
	const char *moved = "batch: sections are not where the counts place them";

	SPOIL(b, 0, struct header, magic, 1, "batch: bad magic 0x00000001");
	SPOIL(b, 0, struct header, flags, 4, "batch: unknown flags 0x4 0x0");
	SPOIL(b, 0, struct header, zero, 4, "batch: unknown flags 0x0 0x4");
	SPOIL(b, 0, struct header, n_records, 5, moved);
	SPOIL(b, 0, struct header, n_streams, 1, moved);
	SPOIL(b, 0, struct header, n_sources, 0, moved);
	SPOIL(b, 0, struct header, records_at, 80, moved);
	SPOIL(b, 0, struct header, heap_at, UINT32_MAX, moved);
	SPOIL(b, 0, struct header, tenant_n, UINT16_MAX, moved);
	SPOIL(b, 0, struct header, n_records, UINT32_MAX,
		"batch: 4294967295 records, 2 streams, 2 sources: at most 1048576, 1048576, 65535 are "
		"allowed");
	SPOIL(b, 0, struct header, raw_bytes, 13,
		"batch: sums in the header differ from those of the records");
	SPOIL(b, 0, struct header, min_time, -4,
		"batch: sums in the header differ from those of the records");
	SPOIL(b, 0, struct header, max_time, 8,
		"batch: sums in the header differ from those of the records");
	SPOIL(b, 0, struct header, tenant_n, 5, "batch: padding is not zero");
	assert_spoiled(b, sizeof(struct header), "/", 1,
		"batch: tenant: not 1-150 of [a-zA-Z0-9!_.*'()-]");
	assert_spoiled(
		b, sizeof(struct header) + 6, "/", 1, "batch: input: not 1-64 of [a-zA-Z0-9_.-]");
	batch_unref(b);
}

static void test_spoiled_tables_are_refused(void **state)
{
	struct batch *b = sample();
	size_t row = b->h->records_at, stream = b->h->streams_at, source = b->h->sources_at;

	SPOIL(b, row, struct row, stream, 2, "batch: record 0: stream 2 of 2, source 1 of 2");
	SPOIL(b, row, struct row, source, 3, "batch: record 0: stream 0 of 2, source 3 of 2");
	SPOIL(b, row, struct row, severity, 25,
		"batch: record 0: severity 25, flags 0x0 are unknown");
	SPOIL(b, row, struct row, flags, 16, "batch: record 0: severity 9, flags 0x10 are unknown");
	SPOIL(b, row, struct row, body_at, 0, "batch: record 0: the line is not next in the heap");
	SPOIL(b, row, struct row, body_n, UINT32_MAX,
		"batch: record 0: the line is not next in the heap");
	SPOIL(b, row, struct row, meta_at, UINT32_MAX,
		"batch: record 0: metadata is not next in the heap");
	SPOIL(b, row, struct row, meta_n, 0, "batch: record 0: the line is not next in the heap");
	SPOIL(b, row + 3 * sizeof(struct row), struct row, meta_at, 3,
		"batch: record 3: no metadata has a place");
	assert_spoiled(b, b->h->heap_at, "\0", 1,
		"batch: record 0: metadata: labels: 5 bytes after the last pair");
	SPOIL(b, stream, struct stream_row, hash, 1, "batch: stream 0: bad hash");
	SPOIL(b, stream, struct stream_row, at, 1, "batch: stream 0 is not next in the heap");
	SPOIL(b, stream, struct stream_row, n, 1, "batch: stream 0: labels: pair 0 of 1 is cut");
	SPOIL(b, source, struct source_row, kind, 5, "batch: source 0: unknown kind 5");
	SPOIL(b, source, struct source_row, zero, 4, "batch: source 0: unknown kind 1");
	SPOIL(b, source, struct source_row, from, 111, "batch: source 0: ends before it starts");
	SPOIL(b, source, struct source_row, id_n, 0,
		"batch: source 0: an id of 0 and a token of 0 bytes");
	SPOIL(b, source, struct source_row, token_n, 65536,
		"batch: source 0: a text is not next in the heap");
	SPOIL(b, source + sizeof(struct source_row), struct source_row, token_n, 7,
		"batch: bytes behind the last text");
	batch_unref(b);
}

static void test_a_source_may_not_come_twice(void **state)
{
	struct batch_builder *builder = new_builder();
	struct batch *b;

	batch_builder_source(builder, &(struct batch_source){.id = STR("a"), .kind = POSITION_SET});
	batch_builder_source(builder, &(struct batch_source){.id = STR("b"), .kind = POSITION_SET});
	b = batch_builder_finish(builder, 0);
	assert_spoiled(b, batch_bytes(b).n - 1, "a", 1, "batch: source 1 repeats an id");
	batch_builder_free(builder);
	batch_unref(b);
}

static void test_every_cut_and_every_bit_is_survived(void **state)
{
	struct batch *b = sample(), *out;
	struct buf bytes;

	for (size_t n = 0; n < batch_bytes(b).n; n++) {
		/* Of exactly this size, so that a sanitizer sees every byte read behind it. */
		bytes = (struct buf){malloc(n ? n : 1), n, n};
		memcpy(bytes.p, batch_bytes(b).p, n);
		assert_int_equal(batch_from_bytes(&out, &bytes, NULL), ERR_CORRUPT);
	}
	for (size_t bit = 0; bit < batch_bytes(b).n * 8; bit++) {
		bytes = copy_bytes(b);
		bytes.p[bit / 8] = (char)(bytes.p[bit / 8] ^ 1 << bit % 8);
		if (batch_from_bytes(&out, &bytes, NULL) < 0)
			continue;
		for (size_t i = 0; i < batch_count(out); i++)
			assert_true(batch_record(out, i).body.n < 100);
		batch_unref(out);
	}
	batch_unref(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_build_and_read),
		cmocka_unit_test(test_builder_is_empty_after_finish),
		cmocka_unit_test(test_same_stream_and_source_keep_their_index),
		cmocka_unit_test(test_a_source_that_goes_back_is_for_the_next_batch),
		cmocka_unit_test(test_without),
		cmocka_unit_test(test_account_is_released),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_tenant),
		cmocka_unit_test(test_spoiled_headers_are_refused),
		cmocka_unit_test(test_spoiled_tables_are_refused),
		cmocka_unit_test(test_a_source_may_not_come_twice),
		cmocka_unit_test(test_every_cut_and_every_bit_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
