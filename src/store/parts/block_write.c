/* SPDX-License-Identifier: Apache-2.0 */
#include "store/parts/block_write.h"

#include <assert.h>
#include <stdlib.h>

enum {
	ROW_BYTES_MIN = 64, /* a block of shorter lines is cut by rows */
	MIXED_ROWS = 64,
};

void block_writer_init(struct block_writer *bw, struct account *a, int level)
{
	*bw = (struct block_writer){
		.account = a,
		.level = level,
		.rows.account = a,
		.meta = {.account = a, .level = level},
	};
	account_init(&bw->held, "lines", UINT64_MAX, a);
	bw->lines = lines_writer_new(&bw->held, level);
}

void block_writer_fini(struct block_writer *bw)
{
	lines_writer_free(bw->lines);
	fixed_fini(&bw->rows);
	meta_writer_fini(&bw->meta);
	tally_fini(&bw->tally);
	free(bw->streams.ids);
	free(bw->sources.ids);
	free(bw->local_of);
	buf_fini(&bw->local_streams);
	buf_fini(&bw->head);
	buf_fini(&bw->payload);
	*bw = (struct block_writer){0};
}

size_t block_writer_max_rows(size_t block_raw)
{
	size_t n = block_raw / ROW_BYTES_MIN;

	return n > BLOCK_ROWS_MAX ? BLOCK_ROWS_MAX : n;
}

bool block_over(const struct block_fill *held, size_t block_raw, uint64_t bytes)
{
	return held->rows > 0 &&
	       (held->rows >= block_writer_max_rows(block_raw) || held->bytes + bytes > block_raw);
}

bool block_full(const struct block_fill *held, size_t block_raw, uint32_t stream, uint64_t bytes)
{
	return block_over(held, block_raw, bytes) ||
	       (held->rows > 0 && held->stream != stream && held->bytes >= block_raw / 2);
}

struct block_fill block_writer_held(const struct block_writer *bw)
{
	uint32_t n = bw->rows.n;

	return (struct block_fill){
		bw->raw_bytes + bw->meta_bytes, n, n > 0 ? bw->rows.stream[n - 1] : 0};
}

bool block_is_mixed(uint64_t n_rows, uint64_t n_streams)
{
	return n_streams > 1 && n_rows / MIXED_ROWS < n_streams;
}

uint32_t block_writer_rows(const struct block_writer *bw)
{
	return bw->rows.n;
}

static uint32_t *push_id(uint32_t *ids, uint32_t *n, uint32_t *cap, uint32_t id)
{
	if (*n == *cap) {
		*cap = *cap > 0 ? *cap * 2 : 16;
		ids = xrealloc(ids, *cap * sizeof *ids);
	}
	ids[(*n)++] = id;
	return ids;
}

/* 1 + the local number of a source. */
static uint32_t local_source(struct block_writer *bw, uint32_t source)
{
	uint32_t local;

	if (source == 0)
		return 0;
	source--;
	if (source >= bw->cap_local) {
		size_t cap = (size_t)source + source / 2 + 16;

		bw->local_of = xrealloc(bw->local_of, cap * sizeof *bw->local_of);
		memset(bw->local_of + bw->cap_local, 0,
			(cap - bw->cap_local) * sizeof *bw->local_of);
		bw->cap_local = cap;
	}
	local = bw->local_of[source];
	if (local >= bw->sources.n || bw->sources.ids[local] != source) {
		local = bw->local_of[source] = bw->sources.n;
		bw->sources.ids =
			push_id(bw->sources.ids, &bw->sources.n, &bw->sources.cap, source);
	}
	return local + 1;
}

void block_writer_add(struct block_writer *bw, uint32_t stream, const struct block_row *row)
{
	struct fixed *f = &bw->rows;
	uint32_t i = f->n;

	fixed_grow(f);
	f->stream[i] = stream;
	f->timestamp[i] = row->timestamp;
	f->seq[i] = row->seq;
	f->position[i] = row->position;
	f->source[i] = local_source(bw, row->source);
	f->length[i] = row->length;
	f->meta[i] = meta_writer_add(&bw->meta, row->meta);
	f->severity[i] = row->severity;
	f->flags[i] = row->flags;
	f->n++;
	bw->raw_bytes += row->length;
	bw->meta_bytes += row->meta.n;
}

/* Streams of the rows become local, in the part's order. */
static void number_streams(struct block_writer *bw)
{
	struct fixed *f = &bw->rows;
	uint32_t lowest = f->stream[0], highest = lowest, *local;
	size_t span;

	for (uint32_t i = 1; i < f->n; i++) {
		lowest = f->stream[i] < lowest ? f->stream[i] : lowest;
		highest = f->stream[i] > highest ? f->stream[i] : highest;
	}
	span = (size_t)(highest - lowest) + 1;
	buf_clear(&bw->local_streams);
	local = (uint32_t *)buf_reserve(&bw->local_streams, span * sizeof *local);
	memset(local, 0, span * sizeof *local);
	for (uint32_t i = 0; i < f->n; i++)
		local[f->stream[i] - lowest] = 1;
	for (uint32_t s = lowest; s <= highest; s++) {
		if (!local[s - lowest])
			continue;
		local[s - lowest] = bw->streams.n;
		bw->streams.ids = push_id(bw->streams.ids, &bw->streams.n, &bw->streams.cap, s);
	}
	for (uint32_t i = 0; i < f->n; i++)
		f->stream[i] = local[f->stream[i] - lowest];
	fixed_make_zones(f);
}

static void put_column(struct block_writer *bw, enum part_column column,
	const struct lines_written *written, struct buf *out)
{
	const struct fixed *f = &bw->rows;

	switch (column) {
	case COLUMN_TIME: fixed_put_times(f, out, bw->level); break;
	case COLUMN_SEQ: fixed_put_seqs(f, out, bw->level); break;
	case COLUMN_STREAM: fixed_put_zones(f, out, bw->level); break;
	case COLUMN_SEVERITY:
		fixed_put_bytes(f->severity, f->n, written->template_of, written->n_templates, out,
			bw->level);
		break;
	case COLUMN_FLAGS:
		fixed_put_bytes(
			f->flags, f->n, written->template_of, written->n_templates, out, bw->level);
		break;
	case COLUMN_META: meta_writer_put(&bw->meta, f->meta, f->n, out); break;
	case COLUMN_SOURCE: fixed_put_sources(f, bw->sources.n, out, bw->level); break;
	case N_COLUMNS: break;
	}
}

/* Header and columns; the payload is there already. */
static void encode_head(struct block_writer *bw, const struct lines_written *written)
{
	char header[BLOCK_HEADER_BYTES];
	struct buf *out = &bw->head;

	put_u32(header, BLOCK_MAGIC);
	put_u32(header + 4, bw->rows.n);
	put_u32(header + 8, (uint32_t)bw->payload.n);
	put_u32(header + 12, crc32c(0, bw->payload.p, bw->payload.n));
	buf_clear(out);
	buf_put(out, header, sizeof header);
	for (int i = 0; i < N_COLUMNS; i++) {
		size_t start = out->n;

		put_column(bw, i, written, out);
		put_u32(header + 16 + i * 8, (uint32_t)(out->n - start));
		put_u32(header + 20 + i * 8, crc32c(0, out->p + start, out->n - start));
	}
	put_u32(header + BLOCK_HEADER_BYTES - 4, crc32c(0, header, BLOCK_HEADER_BYTES - 4));
	memcpy(out->p, header, sizeof header);
}

static struct part_block describe(const struct block_writer *bw, struct footer_builder *fb,
	const struct lines_written *written)
{
	const struct fixed *f = &bw->rows;
	struct part_block b = {
		.n_rows = f->n,
		.raw_bytes = bw->raw_bytes,
		.min_ns = INT64_MAX,
		.max_ns = INT64_MIN,
		.min_seq = UINT64_MAX,
		.size = (uint32_t)(bw->head.n + bw->payload.n),
		.streams = bw->streams.ids,
		.n_streams = bw->streams.n,
		.sources = bw->sources.ids,
		.n_sources = bw->sources.n,
		.has_meta = bw->meta.n > 0,
	};

	for (uint32_t i = 0; i < f->n; i++) {
		struct part_stream *s = &fb->streams[bw->streams.ids[f->stream[i]]];
		int64_t t = f->timestamp[i];

		s->n_rows++;
		s->min_ns = t < s->min_ns ? t : s->min_ns;
		s->max_ns = t > s->max_ns ? t : s->max_ns;
		b.min_ns = t < b.min_ns ? t : b.min_ns;
		b.max_ns = t > b.max_ns ? t : b.max_ns;
		b.min_seq = f->seq[i] < b.min_seq ? f->seq[i] : b.min_seq;
		b.max_seq = f->seq[i] > b.max_seq ? f->seq[i] : b.max_seq;
		b.n_plain += written->template_of[i] == TEMPLATE_NONE;
	}
	return b;
}

/* Count, and pack what was counted. */
static void count_rows(struct block_writer *bw, const struct lines_written *written,
	struct part_block *b, struct buf *packed)
{
	struct tally *t = &bw->tally;
	struct block_count *counts;
	struct block_hour *hours;

	tally_templates(t, &bw->rows, written->template_of);
	counts = xmalloc(t->n * sizeof *counts);
	for (uint32_t i = 0; i < t->n; i++) {
		const struct tally_entry *x = &t->entries[i];

		counts[i] = (struct block_count){x->stream, (uint32_t)x->what,
			(uint8_t)(x->level >> 1), x->level & 1, x->rows, x->bytes};
	}
	b->n_counts = t->n;
	tally_hours(t, &bw->rows);
	hours = xmalloc(t->n * sizeof *hours);
	for (uint32_t i = 0; i < t->n; i++) {
		const struct tally_entry *x = &t->entries[i];

		hours[i] = (struct block_hour){x->stream, (uint8_t)(x->level >> 1), x->level & 1,
			x->what, x->rows, x->bytes};
	}
	b->n_hours = t->n;
	footer_pack_counts(counts, b->n_counts, hours, b->n_hours, packed);
	free(counts);
	free(hours);
}

static void tell_footer(struct block_writer *bw, uint64_t offset, struct footer_builder *fb,
	const struct lines_written *written)
{
	struct part_block b = describe(bw, fb, written);
	uint32_t *templates = xmalloc(written->n_templates * sizeof *templates);
	struct buf packed = {0};

	b.offset = offset;
	for (size_t i = 0; i < written->n_templates; i++)
		templates[i] = footer_add_template(fb, written->keys[i]);
	b.templates = templates;
	b.n_templates = (uint32_t)written->n_templates;
	count_rows(bw, written, &b, &packed);
	b.counts = buf_view(&packed);
	footer_add_block(fb, &b);
	buf_fini(&packed);
	free(templates);
}

static void clear(struct block_writer *bw)
{
	/* It keeps room for the columns of all templates it has seen: those of streams that are
	 * done add up to many times a block. */
	if (account_held(&bw->held) > 2 * bw->raw_bytes) {
		lines_writer_free(bw->lines);
		bw->lines = lines_writer_new(&bw->held, bw->level);
	}
	fixed_clear(&bw->rows);
	meta_writer_clear(&bw->meta);
	bw->streams.n = bw->sources.n = 0;
	bw->raw_bytes = bw->meta_bytes = 0;
	if (bw->payload.cap > BLOCK_RAW_MAX)
		buf_fini(&bw->payload);
	if (bw->head.cap > BLOCK_RAW_MAX)
		buf_fini(&bw->head);
}

int block_writer_finish(
	struct block_writer *bw, struct part_file *pf, struct footer_builder *f, struct error *e)
{
	struct lines_written written;
	uint64_t offset = pf->at;
	int r;

	assert(bw->rows.n > 0 && lines_writer_rows(bw->lines) == bw->rows.n);
	buf_clear(&bw->payload);
	number_streams(bw);
	lines_writer_finish(bw->lines, &bw->payload, &written);
	encode_head(bw, &written);
	tell_footer(bw, offset, f, &written);
	if ((r = part_file_put(pf, buf_view(&bw->head), e)) == 0)
		r = part_file_put(pf, buf_view(&bw->payload), e);
	clear(bw);
	return r;
}
