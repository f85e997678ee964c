/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening, scanning and merging arbitrary part files.  The first byte chooses: even,
 * the rest is a file as it is; odd, a whole small part is written and the rest
 * is a list of changes to it (offset in two bytes, value in one), after which
 * the checksums are made right again, so that the structures behind them are
 * reached; 3 modulo 4: the rest is a raw footer for such a part.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/fake.h"
#include "store/parts/part_set.h"
#include "store/unit.h"
#include "store/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct batch *make_batch(void)
{
	struct batch_builder *bb = batch_builder_new(STR("t"), STR("test"), 5);
	struct batch_source source = {.id = STR("f"), .to = 99, .kind = POSITION_MARK};
	struct batch *b;

	for (uint64_t i = 0; i < 40; i++) {
		struct str labels = i % 3 ? STR("\1\3app\1a") : STR("\1\3app\1b");
		struct record r = {.timestamp = (int64_t)(i * 37 % 17),
			.severity = i % 4 ? 9 : 17,
			.flags = RECORD_LEVEL_DETECTED,
			.position = i * 21};
		char line[64], meta[] = "\2\1k\1v\1t\0100011223a";

		meta[sizeof meta - 2] = (char)('a' + i);
		snprintf(line, sizeof line, "line %u of text %04x%04x", (unsigned)i,
			(unsigned)(i * 7919 % 65536), (unsigned)(i * 104729 % 65536));
		r.body = i % 9 ? str_c(line) : STR_NONE;
		r.meta = i % 4 ? str_make(meta, sizeof meta - 1) : STR_NONE;
		r.stream = batch_builder_stream(bb, labels);
		r.source = batch_builder_source(bb, &source);
		assert(batch_builder_add(bb, &r, NULL) == 0);
	}
	b = batch_builder_finish(bb, 0);
	batch_builder_free(bb);
	batch_set_first_seq(b, 1);
	return b;
}

static void write_part(struct fs *fs, struct account *a, struct buf *out)
{
	struct part_writer w = {.fs = fs, .dir = "p", .account = a, .block_raw = 64 * 16};
	struct part_summary summary;
	struct batch *b = make_batch();
	struct buf name = {0}, path = {0};
	struct error e;

	assert(part_write(&w, &b, 1, &summary, &e) == 0);
	part_name(&name, &summary);
	buf_printf(&path, "p/%s", buf_cstr(&name));
	assert(fs_read_all(fs, buf_cstr(&path), 1 << 20, out, &e) == 0);
	batch_unref(b);
	buf_fini(&name);
	buf_fini(&path);
}

/* Blocks lie one behind the other from the header to the first footer. */
static void mend_blocks(struct buf *file, uint64_t end)
{
	uint64_t at = PART_HEADER_BYTES;

	while (at + BLOCK_HEADER_BYTES <= end && get_u32(file->p + at) == BLOCK_MAGIC) {
		char *h = file->p + at;
		uint64_t column = at + BLOCK_HEADER_BYTES;

		for (int i = 0; i < N_COLUMNS; i++) {
			uint32_t stored = get_u32(h + 16 + i * 8);

			if (stored > end - column)
				return;
			put_u32(h + 20 + i * 8, crc32c(0, file->p + column, stored));
			column += stored;
		}
		if (get_u32(h + 8) > end - column)
			return;
		put_u32(h + 12, crc32c(0, file->p + column, get_u32(h + 8)));
		put_u32(h + BLOCK_HEADER_BYTES - 4, crc32c(0, h, BLOCK_HEADER_BYTES - 4));
		at = column + get_u32(h + 8);
	}
}

static void make_file(struct buf *file, const uint8_t *data, size_t size)
{
	char *tail = file->p + file->n - PART_TAIL_BYTES;
	uint64_t footer = get_u64(tail + 8);

	if (data[0] % 4 == 1) {
		for (size_t i = 1; i + 3 <= size; i += 3)
			file->p[(data[i] | (size_t)data[i + 1] << 8) % footer] ^= (char)data[i + 2];
		mend_blocks(file, footer);
		return;
	}
	struct buf packed = {0};
	char t[PART_TAIL_BYTES];

	memcpy(t, tail, sizeof t);
	zstd_pack(&packed, str_make(data + 1, size - 1), 1);
	put_u32(t + 4, crc32c(0, packed.p, packed.n));
	put_u64(t + 16, footer);
	put_u64(t + 24, packed.n);
	put_u64(t + 32, size - 1);
	put_u32(t + PART_TAIL_BYTES - 4, crc32c(0, t, PART_TAIL_BYTES - 4));
	file->n = footer;
	buf_str(file, buf_view(&packed));
	buf_put(file, t, sizeof t);
	buf_put(file, t, sizeof t);
	buf_fini(&packed);
}

static int on_rows(void *ctx, const struct rows *rows, struct error *e)
{
	uint64_t *sum = ctx;

	for (size_t i = 0; i < rows->n; i++) {
		uint32_t at = rows->pick[i];

		for (size_t k = 0; k < rows->body[at].n; k++)
			*sum += (unsigned char)rows->body[at].p[k];
		*sum += labels_count(rows->streams[rows->stream[at]]) + rows->meta[at].n;
		assert(rows->source[at] <= rows->n_sources);
	}
	return 0;
}

/* What a merge makes of it can be read without damage. */
static void merge(struct fs *fs, struct account *a, struct part *p, bool regroup)
{
	struct part_writer w = {
		.fs = fs, .dir = "m", .account = a, .block_raw = 64 * 16, .level = 1};
	struct part_merge m = {.parts = &p, .n = 1, .regroup = regroup};
	struct part_summary summary;
	struct part_footer *footer;
	struct buf path = {0};
	struct file *f;
	struct error e;

	assert(fs_mkdir(fs, "m", &e) == 0);
	if (part_merge(&w, &m, &summary, &e) < 0 || summary.n_rows == 0)
		return;
	buf_c(&path, "m/");
	part_name(&path, &summary);
	assert(fs_open(fs, buf_cstr(&path), FILE_READ, &f, &e) == 0);
	assert(part_footer_read(f, &footer, &e) == 0);
	assert(footer->summary.n_rows == summary.n_rows);
	part_footer_free(footer);
	file_close(f);
	buf_fini(&path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct account memory;
	struct fs *fs = fs_fake_new(1);
	struct footer_cache cache = {.account = &memory, .limit = 0};
	struct part_summary summary = {.first_seq = 1,
		.last_seq = UINT64_MAX,
		.max_ns = INT64_MAX - 1,
		.min_ns = INT64_MIN};
	uint64_t sum = 0;
	struct scan scan = {.tenant = STR("t"),
		.from_ns = INT64_MIN,
		.to_ns = INT64_MAX,
		.columns = SCAN_BODY | SCAN_META | SCAN_SOURCE,
		.ctx = &sum,
		.rows = on_rows,
		.account = &memory};
	struct buf file = {0};
	struct part_set *set;
	struct part_scan *ps = NULL;
	struct part *p;
	struct error e;
	uint64_t key;

	account_init(&memory, "memory", 256 << 20, NULL);
	assert(fs_mkdir(fs, "p", &e) == 0);
	if (size < 1)
		goto out;
	if (data[0] % 2 == 0) {
		buf_put(&file, data + 1, size - 1);
	} else {
		write_part(fs, &memory, &file);
		make_file(&file, data, size);
	}
	assert(fs_write_all(fs, "p/x", buf_view(&file), &e) == 0);
	p = part_new(fs, "p/x", &summary, &cache);
	set = part_set_new(&p, 1);
	assert(part_scan_begin(set, &scan, UINT64_MAX, &ps, &e) == 0);
	while (part_scan_peek(ps, &key, &e) > 0 && part_scan_read(ps, &e) == 0)
		;
	part_scan_end(ps);
	merge(fs, &memory, p, data[0] & 4);
	part_set_unref(set);
out:
	assert(account_held(&memory) == 0);
	fs_fake_free(fs);
	buf_fini(&file);
	return 0;
}
