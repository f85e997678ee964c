/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts as objects, and reading their blocks.  Nothing in a file is believed
 * before its checksum and its bounds were checked.
 *
 * A column is read and decoded when somebody asks for it.  Some need others:
 * times and sequences the zones, severities the templates of the lines,
 * positions the lengths of the lines, and these the times; these are decoded
 * then and kept until the next block.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "store/bytes.h"
#include "store/parts/fixed.h"
#include "store/parts/meta.h"
#include "store/parts/part.h"
#include "store/unit.h"

/* Parts */

void part_name(struct buf *out, const struct part_summary *s)
{
	buf_printf(out, "%020" PRIu64 "-%020" PRIu64, s->first_seq, s->last_seq);
	if (s->revision > 0)
		buf_printf(out, "-r%" PRIu32, s->revision);
	buf_c(out, ".part");
}

bool part_name_parse(struct str name, struct part_summary *s)
{
	uint64_t revision = 0;

	if (name.n < 46 || name.p[20] != '-' || !str_ends(name, STR(".part")) ||
		!str_u64(str_sub(name, 0, 20), &s->first_seq) ||
		!str_u64(str_sub(name, 21, 41), &s->last_seq) || s->first_seq == 0 ||
		s->first_seq > s->last_seq)
		return false;
	name = str_sub(name, 41, name.n - 5);
	if (name.n > 0 && (!str_starts(name, STR("-r")) || name.n > 12 ||
				  !str_u64(str_sub(name, 2, name.n), &revision) || revision == 0 ||
				  revision > UINT32_MAX))
		return false;
	s->revision = (uint32_t)revision;
	return true;
}

struct part *part_new(struct fs *fs, const char *path, const struct part_summary *summary,
	struct footer_cache *cache)
{
	struct part *p = xcalloc(1, sizeof *p);

	p->fs = fs;
	p->path = xstrdup(path);
	p->summary = *summary;
	p->cache = cache;
	p->refs = 1;
	p->cleaned = summary->cleaned;
	lock_init(&p->lock);
	return p;
}

struct part *part_ref(struct part *p)
{
	atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

static void drop_footer(struct part *p)
{
	if (!p->footer)
		return;
	account_release(p->cache->account, p->footer->bytes);
	part_footer_free(p->footer);
	p->footer = NULL;
}

void part_unref(struct part *p)
{
	if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) > 1)
		return;
	assert(p->users == 0);
	if (p->footer)
		atomic_fetch_sub(&p->cache->idle, p->footer->bytes);
	drop_footer(p);
	if (atomic_load(&p->retired))
		fs_unlink(p->fs, p->path, NULL);
	free(p->path);
	lock_fini(&p->lock);
	free(p);
}

void part_retire(struct part *p)
{
	atomic_store(&p->retired, true);
}

int part_load(struct part *p, const struct part_footer **out, struct error *e)
{
	struct file *f = NULL;
	int r = 0;

	lock_take(&p->lock);
	if (p->footer && p->users == 0)
		atomic_fetch_sub(&p->cache->idle, p->footer->bytes);
	if (!p->footer && (r = fs_open(p->fs, p->path, FILE_READ, &f, e)) == 0 &&
		(r = part_footer_read(f, &p->footer, e)) == 0)
		account_force(p->cache->account, p->footer->bytes);
	if (r == 0) {
		p->users++;
		*out = p->footer;
	}
	lock_drop(&p->lock);
	file_close(f);
	return r < 0 ? error_wrap(e, r, "part %s", p->path) : 0;
}

void part_release(struct part *p)
{
	lock_take(&p->lock);
	assert(p->users > 0);
	if (--p->users == 0) {
		uint64_t idle = atomic_fetch_add(&p->cache->idle, p->footer->bytes);

		if (idle + p->footer->bytes > p->cache->limit) {
			atomic_fetch_sub(&p->cache->idle, p->footer->bytes);
			drop_footer(p);
		}
	}
	lock_drop(&p->lock);
}

/* Blocks */

static int damaged(struct error *e, const char *what)
{
	return error_set(e, ERR_CORRUPT, "%s", what);
}

void block_reader_init(struct block_reader *br, struct account *a)
{
	*br = (struct block_reader){.account = a};
	br->lines = lines_reader_new();
	br->meta = xcalloc(1, sizeof *br->meta);
	br->meta->account = a;
}

/* Forget the block that was read. */
static void leave_block(struct block_reader *br)
{
	free(br->zones);
	free(br->streams);
	free(br->timestamps);
	free(br->lengths);
	br->zones = NULL;
	br->n_zones = 0;
	br->streams = NULL;
	br->timestamps = NULL;
	br->lengths = NULL;
	/* One huge line must not hold its memory for the rest of the scan. */
	if (br->io.cap > BLOCK_RAW_MAX)
		buf_fini(&br->io);
	if (br->meta)
		meta_reader_fini(br->meta);
	account_release(br->account, br->charged);
	br->charged = 0;
	br->block = NULL;
}

void block_reader_fini(struct block_reader *br)
{
	leave_block(br);
	lines_reader_free(br->lines);
	free(br->meta);
	free(br->templates);
	block_counts_fini(&br->counts);
	buf_fini(&br->io);
	file_close(br->file);
	*br = (struct block_reader){.account = br->account};
}

static int hold(struct block_reader *br, uint64_t n, struct error *e)
{
	int r;

	if ((r = scan_charge(br->account, n, e)) == 0)
		br->charged += n;
	return r;
}

static int read_at(struct block_reader *br, uint64_t at, void *to, size_t n, struct error *e)
{
	br->bytes_read += n;
	return file_read(br->file, br->block->offset + at, to, n, e);
}

static int read_payload(void *ctx, uint64_t at, size_t n, void *to, struct error *e)
{
	struct block_reader *br = ctx;

	if (at > br->payload_bytes || n > br->payload_bytes - at)
		return damaged(e, "lines that lie outside the block");
	return read_at(br, br->payload_at + at, to, n, e);
}

static int read_header(struct block_reader *br, struct error *e)
{
	const struct part_block *b = br->block;
	char h[BLOCK_HEADER_BYTES];
	uint64_t at = BLOCK_HEADER_BYTES;
	int r;

	if ((r = read_at(br, 0, h, sizeof h, e)) < 0)
		return r;
	if (get_u32(h) != BLOCK_MAGIC ||
		get_u32(h + BLOCK_HEADER_BYTES - 4) != crc32c(0, h, BLOCK_HEADER_BYTES - 4))
		return damaged(e, "bad checksum of the header");
	if (get_u32(h + 4) != b->n_rows)
		return damaged(e, "another number of rows than the footer tells");
	for (int i = 0; i < N_COLUMNS; i++) {
		struct block_place *p = &br->places[i];

		*p = (struct block_place){
			(uint32_t)at, get_u32(h + 16 + i * 8), get_u32(h + 20 + i * 8)};
		at += p->stored;
		if (at > b->size)
			return damaged(e, "columns larger than the block");
	}
	br->payload_at = at;
	br->payload_bytes = get_u32(h + 8);
	return at + br->payload_bytes == b->size ? 0 : damaged(e, "lines larger than the block");
}

static int need_times(struct block_reader *br, struct error *e);

static int times_of_lines(void *ctx, struct error *e)
{
	return need_times(ctx, e);
}

static bool counts_of_lines(void *ctx, uint32_t *count)
{
	struct block_reader *br = ctx;
	const struct part_block *b = br->block;

	if (b->n_counts == 0)
		return false;
	block_counts_get(&br->counts, b);
	memset(count, 0, b->n_templates * sizeof *count);
	for (uint32_t i = 0; i < b->n_counts; i++)
		if (br->counts.counts[i].template != TEMPLATE_NONE)
			count[br->counts.counts[i].template - 1] += br->counts.counts[i].rows;
	return true;
}

/* The lines, for which all but the times is there: most filters need none. */
static int open_lines(struct block_reader *br, struct error *e)
{
	const struct part_block *b = br->block;
	struct lines_source source = {
		.ctx = br,
		.read = read_payload,
		.times = times_of_lines,
		.counts = counts_of_lines,
		.bytes = br->payload_bytes,
		.n_rows = b->n_rows,
		.n_templates = b->n_templates,
		.account = br->account,
	};

	if (b->n_templates > br->cap_templates) {
		br->cap_templates = b->n_templates;
		free(br->templates);
		br->templates = xmalloc(b->n_templates * sizeof *br->templates);
	}
	for (uint32_t i = 0; i < b->n_templates; i++)
		br->templates[i] = &br->footer->templates[b->templates[i]];
	source.templates = br->templates;
	return lines_open(br->lines, &source, e);
}

int block_open(struct block_reader *br, const struct part *p, const struct part_footer *footer,
	const struct part_block *b, struct error *e)
{
	int r;

	leave_block(br);
	if (br->part != p || !br->file) {
		file_close(br->file);
		br->file = NULL;
		br->part = p;
		if ((r = fs_open(p->fs, p->path, FILE_READ, &br->file, e)) < 0)
			return r;
	}
	br->footer = footer;
	br->block = b;
	if ((r = read_header(br, e)) < 0 || (r = open_lines(br, e)) < 0)
		br->block = NULL;
	return br->block ? 0 : r;
}

struct lines_reader *block_lines(struct block_reader *br)
{
	return br->lines;
}

uint64_t block_bytes_read(struct block_reader *br)
{
	uint64_t n = br->bytes_read;

	br->bytes_read = 0;
	return n;
}

/* The stored bytes of a column, valid until the next one is read. */
static int read_column(
	struct block_reader *br, enum part_column column, struct reader *out, struct error *e)
{
	const struct block_place *p = &br->places[column];
	int r;

	buf_clear(&br->io);
	if (p->stored > br->io.cap && (r = hold(br, p->stored, e)) < 0)
		return r;
	buf_reserve(&br->io, p->stored);
	if (p->stored > 0 && (r = read_at(br, p->at, br->io.p, p->stored, e)) < 0)
		return r;
	br->io.n = p->stored;
	if (crc32c(0, br->io.p, br->io.n) != p->crc)
		return damaged(e, "bad checksum of a column");
	*out = (struct reader){.at = buf_view(&br->io)};
	return 0;
}

static int need_zones(struct block_reader *br, struct error *e)
{
	const struct part_block *b = br->block;
	struct reader in;
	int r;

	if (br->zones)
		return 0;
	if ((r = read_column(br, COLUMN_STREAM, &in, e)) < 0)
		return r;
	br->n_zones = fixed_get_zones(&in, b->n_rows, b->n_streams, &br->zones, &br->streams);
	if (!in.bad && (r = hold(br,
				br->n_zones * sizeof *br->zones +
					(br->streams ? b->n_rows * sizeof *br->streams : 0),
				e)) == 0)
		return 0;
	free(br->zones);
	free(br->streams);
	br->zones = NULL;
	br->streams = NULL;
	return in.bad ? damaged(e, "bad streams of rows") : r;
}

int block_streams(struct block_reader *br, const uint32_t **out, struct error *e)
{
	uint32_t at = 0;
	int r;

	if ((r = need_zones(br, e)) < 0)
		return r;
	if (!br->streams) {
		if ((r = hold(br, br->block->n_rows * sizeof *br->streams, e)) < 0)
			return r;
		br->streams = xmalloc(br->block->n_rows * sizeof *br->streams);
		for (uint32_t z = 0; z < br->n_zones; z++)
			for (uint32_t k = br->zones[z].n; k > 0; k--)
				br->streams[at++] = br->zones[z].stream;
	}
	*out = br->streams;
	return 0;
}

static int need_times(struct block_reader *br, struct error *e)
{
	const struct part_block *b = br->block;
	struct reader in;
	int64_t *t;
	int r;

	if (br->timestamps)
		return 0;
	/* What decoding takes beside counts too: as much as a column again, twice. */
	if ((r = need_zones(br, e)) < 0 || (r = hold(br, b->n_rows * UINT64_C(24), e)) < 0 ||
		(r = read_column(br, COLUMN_TIME, &in, e)) < 0)
		return r;
	t = xmalloc(b->n_rows * sizeof *t);
	fixed_get_times(&in, br->zones, br->n_zones, b->n_rows, t);
	for (uint32_t i = 0; i < b->n_rows; i++)
		if (t[i] < b->min_ns || t[i] > b->max_ns)
			in.bad = true;
	if (in.bad) {
		free(t);
		return damaged(e, "bad times");
	}
	account_release(br->account, b->n_rows * UINT64_C(16));
	br->charged -= b->n_rows * UINT64_C(16);
	br->timestamps = t;
	lines_set_timestamps(br->lines, t);
	return 0;
}

int block_lengths(struct block_reader *br, const uint32_t **out, struct error *e)
{
	uint32_t *lengths;
	int r;

	if (!br->lengths) {
		if ((r = need_times(br, e)) < 0 ||
			(r = hold(br, br->block->n_rows * sizeof *lengths, e)) < 0)
			return r;
		lengths = xmalloc(br->block->n_rows * sizeof *lengths);
		if ((r = lines_lengths(br->lines, lengths, e)) < 0) {
			free(lengths);
			return r;
		}
		br->lengths = lengths;
	}
	*out = br->lengths;
	return 0;
}

static int decode_seqs(struct block_reader *br, struct unit *u, struct error *e)
{
	const struct part_block *b = br->block;
	struct reader in;
	int r;

	if ((r = need_zones(br, e)) < 0 || (r = read_column(br, COLUMN_SEQ, &in, e)) < 0)
		return r;
	fixed_get_seqs(&in, br->zones, br->n_zones, b->n_rows, u->seq);
	for (uint32_t i = 0; i < b->n_rows; i++)
		if (u->seq[i] < b->min_seq || u->seq[i] > b->max_seq)
			in.bad = true;
	return in.bad ? damaged(e, "bad sequences") : 0;
}

static int decode_streams(struct block_reader *br, struct unit *u, struct error *e)
{
	uint32_t at = 0;
	int r;

	if ((r = need_zones(br, e)) < 0)
		return r;
	for (; br->streams && at < br->block->n_rows; at++)
		u->stream[at] = br->block->streams[br->streams[at]];
	for (uint32_t z = 0; z < br->n_zones && at < br->block->n_rows; z++)
		for (uint32_t k = br->zones[z].n; k > 0; k--)
			u->stream[at++] = br->block->streams[br->zones[z].stream];
	return 0;
}

static int give_templates(void *ctx, const uint16_t **out, struct error *e)
{
	struct block_reader *br = ctx;

	return lines_templates(br->lines, out, e);
}

static int decode_bytes(
	struct block_reader *br, enum part_column column, uint8_t *out, struct error *e)
{
	struct reader in;
	int r;

	if ((r = read_column(br, column, &in, e)) < 0 ||
		(r = fixed_get_bytes(&in, br->block->n_rows, br->block->n_templates, give_templates,
			 br, out, e)) < 0)
		return r;
	return in.bad ? damaged(e, "bad severities or flags") : 0;
}

static int decode_meta(struct block_reader *br, struct unit *u, struct error *e)
{
	struct reader in;
	int r = read_column(br, COLUMN_META, &in, e);

	return r < 0 ? r : meta_reader_get(br->meta, in.at, br->block->n_rows, u->meta, e);
}

static int give_lengths(void *ctx, const uint32_t **out, struct error *e)
{
	return block_lengths(ctx, out, e);
}

static int decode_sources(struct block_reader *br, struct unit *u, struct error *e)
{
	const struct part_block *b = br->block;
	struct reader in;
	int r;

	/* What lengths need first: they read columns of their own. */
	if ((r = need_times(br, e)) < 0 || (r = read_column(br, COLUMN_SOURCE, &in, e)) < 0 ||
		(r = fixed_get_sources(&in, br->zones, br->n_zones, b->n_rows, b->n_sources,
			 give_lengths, br, u->source, u->position, e)) < 0)
		return r;
	for (uint32_t i = 0; i < b->n_rows && !in.bad; i++)
		if (u->source[i] > 0)
			u->source[i] = 1 + b->sources[u->source[i] - 1];
	return in.bad ? damaged(e, "bad sources") : 0;
}

int block_columns(struct block_reader *br, unsigned columns, struct unit *u, struct error *e)
{
	int r = 0;

	assert(br->block);
	if (columns & 1 << COLUMN_TIME && (r = need_times(br, e)) == 0)
		memcpy(u->timestamp, br->timestamps, br->block->n_rows * sizeof *u->timestamp);
	if (r == 0 && columns & 1 << COLUMN_SEQ)
		r = decode_seqs(br, u, e);
	if (r == 0 && columns & 1 << COLUMN_STREAM)
		r = decode_streams(br, u, e);
	if (r == 0 && columns & 1 << COLUMN_SEVERITY)
		r = decode_bytes(br, COLUMN_SEVERITY, u->severity, e);
	if (r == 0 && columns & 1 << COLUMN_FLAGS)
		r = decode_bytes(br, COLUMN_FLAGS, u->flags, e);
	if (r == 0 && columns & 1 << COLUMN_META)
		r = decode_meta(br, u, e);
	if (r == 0 && columns & 1 << COLUMN_SOURCE)
		r = decode_sources(br, u, e);
	return r;
}

int block_bytes(struct block_reader *br, struct buf *out, struct error *e)
{
	const struct part_block *b = br->block;
	char *p = buf_reserve(out, b->size);
	int r;

	if ((r = read_at(br, 0, p, b->size, e)) < 0)
		return r;
	if (get_u32(p + BLOCK_HEADER_BYTES - 4) != crc32c(0, p, BLOCK_HEADER_BYTES - 4))
		return damaged(e, "bad checksum of the header");
	for (int i = 0; i < N_COLUMNS; i++)
		if (crc32c(0, p + br->places[i].at, br->places[i].stored) != br->places[i].crc)
			return damaged(e, "bad checksum of a column");
	if (crc32c(0, p + br->payload_at, (size_t)br->payload_bytes) != get_u32(p + 12))
		return damaged(e, "bad checksum of the lines");
	out->n += b->size;
	return 0;
}
