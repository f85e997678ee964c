/* SPDX-License-Identifier: Apache-2.0 */
/* Any frame; the same bytes once more as the payload of a right envelope, so that the fuzzer
 * passes the checksum. */
#include <assert.h>

#include "codec/codec.h"
#include "proto/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void read_frame(struct str frame)
{
	struct batch *b = NULL, *again = NULL;
	struct buf out = {0};
	struct error e;

	if (frame_read(&b, frame, &e) < 0)
		return;
	for (enum frame_packing packing = FRAME_PLAIN; packing <= FRAME_ZSTD; packing++) {
		buf_clear(&out);
		frame_write(&out, b, packing);
		assert(frame_read(&again, buf_view(&out), &e) == 0);
		assert(str_eq(batch_bytes(b), batch_bytes(again)));
		batch_unref(again);
		assert(frame_take(&again, &out, &e) == 0);
		assert(str_eq(batch_bytes(b), batch_bytes(again)));
		batch_unref(again);
	}
	buf_fini(&out);
	batch_unref(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct buf frame = {0};
	uint32_t words[3] = {0, (uint32_t)n, crc32c(0, data, n)};

	read_frame(str_make(data, n));
	buf_c(&frame, "SLF1");
	buf_put(&frame, words, sizeof words);
	buf_put(&frame, data, n);
	read_frame(buf_view(&frame));
	buf_fini(&frame);
	return 0;
}
