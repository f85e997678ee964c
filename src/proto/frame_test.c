/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/frame.c"

static struct batch *sample(void)
{
	struct batch_builder *b = batch_builder_new(STR("t"), STR("loki"), 1);
	struct record r = {.stream = batch_builder_stream(b, STR("\1\3app\1x"))};
	struct batch *batch;

	for (int i = 0; i < 500; i++) {
		r.body = STR("the same line again");
		r.timestamp = i;
		assert_int_equal(batch_builder_add(b, &r, NULL), 0);
	}
	batch = batch_builder_finish(b, 2);
	batch_builder_free(b);
	return batch;
}

static void test_all_packings_come_back(void **state)
{
	struct batch *b = sample();

	for (enum frame_packing packing = FRAME_PLAIN; packing <= FRAME_ZSTD; packing++) {
		struct buf frame = {0};
		struct batch *back = NULL;
		frame_write(&frame, b, packing);
		if (packing != FRAME_PLAIN)
			assert_true(frame.n < batch_bytes(b).n / 4);
		assert_int_equal(frame_read(&back, buf_view(&frame), NULL), 0);
		assert_true(str_eq(batch_bytes(b), batch_bytes(back)));
		batch_unref(back);
		assert_int_equal(frame_take(&back, &frame, NULL), 0);
		assert_null(frame.p);
		assert_true(str_eq(batch_bytes(b), batch_bytes(back)));
		batch_unref(back);
	}
	batch_unref(b);
}

static void assert_refused(struct buf *frame, int code, const char *sentence)
{
	struct batch *out = NULL;
	struct error e = {0};
	struct buf copy = {0};

	assert_int_equal(frame_read(&out, buf_view(frame), &e), code);
	assert_null(out);
	assert_string_equal(e.text, sentence);
	buf_str(&copy, buf_view(frame));
	e = (struct error){0};
	assert_int_equal(frame_take(&out, &copy, &e), code);
	assert_null(out);
	assert_null(copy.p);
	assert_string_equal(e.text, sentence);
}

static void test_spoiled_frames_are_refused(void **state)
{
	struct batch *b = sample();
	struct buf frame = {0};
	uint32_t length;

	assert_refused(&frame, ERR_CORRUPT, "frame: 0 bytes are no envelope");
	frame_write(&frame, b, FRAME_PLAIN);
	frame.p[0] = 'X';
	assert_refused(&frame, ERR_CORRUPT, "frame: bad magic 0x31464c58");
	frame.p[0] = 'S';
	frame.p[4] = 3;
	assert_refused(&frame, ERR_CORRUPT, "frame: unknown packing 3");
	frame.p[4] = FRAME_PLAIN;
	frame.p[6] = 1;
	assert_refused(&frame, ERR_CORRUPT, "frame: unknown packing 0");
	frame.p[6] = 0;
	frame.p[12] ^= 1;
	assert_refused(&frame, ERR_CORRUPT, "frame: bad checksum");
	frame.p[12] ^= 1;
	frame.n--;
	assert_int_equal(frame_read(&b, buf_view(&frame), NULL), ERR_CORRUPT);
	length = BATCH_BYTES_MAX + 1;
	memcpy(frame.p + 8, &length, 4);
	assert_refused(
		&frame, ERR_LIMIT, "frame: a batch of 67108865 bytes, at most 67108864 are taken");
	/* A claim far beyond what the payload can hold. */
	buf_clear(&frame);
	frame_write(&frame, b, FRAME_LZ4);
	length = BATCH_BYTES_MAX;
	memcpy(frame.p + 8, &length, 4);
	assert_int_equal(frame_read(&b, buf_view(&frame), NULL), ERR_CORRUPT);
	/* The checksum is right, the bytes are no batch. */
	buf_clear(&frame);
	struct envelope v = {.magic = MAGIC, .length = 4, .crc = crc32c(0, "abcd", 4)};
	buf_put(&frame, &v, sizeof v);
	buf_c(&frame, "abcd");
	assert_refused(&frame, ERR_CORRUPT, "frame: batch: 4 bytes are no batch");
	buf_fini(&frame);
	batch_unref(b);
}

static void test_every_cut_is_refused(void **state)
{
	struct batch *b = sample(), *out;

	for (enum frame_packing packing = FRAME_PLAIN; packing <= FRAME_ZSTD; packing++) {
		struct buf frame = {0};
		frame_write(&frame, b, packing);
		for (size_t n = 0; n < frame.n; n += 1 + n / 100)
			assert_true(frame_read(&out, str_sub(buf_view(&frame), 0, n), NULL) < 0);
		buf_fini(&frame);
	}
	batch_unref(b);
}

static void prefixes(void **state)
{
	char p[FRAME_PREFIX];
	struct error e;
	size_t length;
	unsigned flags;

	frame_prefix_write(p, 12345, FRAME_ELSEWHERE);
	assert_int_equal(frame_prefix_read(p, &length, &flags, &e), 0);
	assert_int_equal(length, 12345);
	assert_int_equal(flags, FRAME_ELSEWHERE);
	p[7] = 1;
	assert_int_equal(frame_prefix_read(p, &length, &flags, &e), ERR_CORRUPT);
	memset(p, 0xff, sizeof p);
	assert_int_equal(frame_prefix_read(p, &length, &flags, &e), ERR_LIMIT);
}

static void answers(void **state)
{
	struct sink_result r = {.n_committed = 3, .n_duplicates = 2, .first_seq = 9};
	struct buf out = {0};

	assert_int_equal(frame_answer(&out, &r), 200);
	assert_string_equal(buf_cstr(&out), "{\"committed\":3,\"duplicates\":2,\"seq\":9}");
	r = (struct sink_result){.mark = 77};
	r.code = error_set(&r.error, ERR_GAP, "a \"gap\"");
	buf_clear(&out);
	assert_int_equal(frame_answer(&out, &r), 409);
	assert_string_equal(buf_cstr(&out), "{\"mark\":77,\"error\":\"a \\\"gap\\\"\"}");
	r.code = ERR_FULL;
	assert_int_equal(frame_answer(&out, &r), 503);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_packings_come_back),
		cmocka_unit_test(test_spoiled_frames_are_refused),
		cmocka_unit_test(test_every_cut_is_refused),
		cmocka_unit_test(prefixes),
		cmocka_unit_test(answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
