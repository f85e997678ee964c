/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery from arbitrary bytes.  The first byte chooses: even, the rest is a
 * segment as it is; odd, it is a row of payloads (a type byte, a length byte
 * in units of 4, the payload), for which headers with right checksums are
 * made, so that what is behind the checksums is reached.
 */
#include <assert.h>
#include <stdlib.h>

#include "os/fake.h"
#include "store/journal.h"
#include "store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char path[] = "data/journal/00000000000000000001.journal";

static void put_record(struct buf *out, unsigned type, struct str payload, uint64_t seq)
{
	char h[40];

	put_u32(h, 0x314a4c53);
	put_u32(h + 4, (uint32_t)payload.n);
	put_u32(h + 8, type);
	put_u32(h + 12, type == JOURNAL_BATCH ? 1 : 0);
	put_u64(h + 16, seq);
	put_u64(h + 24, 0);
	put_u32(h + 32, crc32c(0, payload.p, payload.n));
	put_u32(h + 36, crc32c(0, h, 36));
	buf_put(out, h, sizeof h);
	buf_str(out, payload);
	while (out->n % 8 != 0)
		buf_char(out, 0);
}

static void make_segment(struct buf *out, const uint8_t *data, size_t size)
{
	uint64_t seq = 1;

	if (data[0] % 2 == 0) {
		buf_put(out, data + 1, size - 1);
		return;
	}
	for (size_t at = 1; at + 2 <= size;) {
		unsigned type = 1 + data[at] % 3;
		size_t n = (size_t)data[at + 1] * 4;

		at += 2;
		n = n < size - at ? n : size - at;
		put_record(out, type, str_make(data + at, n), seq);
		seq += type == JOURNAL_BATCH;
		at += n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct store_options o = {.dir = "data", .segment_bytes = 16 << 10};
	struct account memory;
	struct buf segment = {0};
	struct store *s;
	struct error e;

	if (size < 1)
		return 0;
	make_segment(&segment, data, size);
	account_init(&memory, "memory", 1 << 20, NULL);
	o.account = &memory;
	o.fs = fs_fake_new(1);
	o.clock = clock_fake_new(0);
	assert(fs_mkdir(o.fs, "data/journal", &e) == 0);
	assert(fs_write_all(o.fs, path, buf_view(&segment), &e) == 0);
	assert(store_open(&s, &o, &e) == 0);
	/* Twice, as the second start reads what the first made of it. */
	store_close(s);
	assert(store_open(&s, &o, &e) == 0);
	assert(store_flush(s, &e) == 0);
	store_close(s);
	assert(account_held(&memory) == 0);
	fs_fake_free(o.fs);
	clock_fake_free(o.clock);
	buf_fini(&segment);
	return 0;
}
