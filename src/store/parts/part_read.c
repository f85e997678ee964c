/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a part.  Nothing in a file is believed before its checksum and its
 * bounds were checked: counts are held against the bytes that must carry them
 * before anything is allocated for them.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "store/bytes.h"
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

/* Footer */

void part_footer_free(struct part_footer *footer)
{
	if (!footer)
		return;
	free(footer->tenants);
	free(footer->streams);
	free(footer->sources);
	free(footer->blocks);
	buf_fini(&footer->text);
	free(footer);
}

/* An array for n things of which each takes at least `least` bytes of what is left to read. */
static void *array_for(struct reader *in, uint64_t n, size_t least, size_t size)
{
	if (in->bad || n > in->at.n / least) {
		in->bad = true;
		in->at = STR_NONE;
		return NULL;
	}
	return xcalloc((size_t)n + 1, size);
}

static int64_t read_span(struct reader *in, int64_t *min_ns)
{
	uint64_t span;

	*min_ns = reader_signed(in);
	span = reader_varint(in);
	if (span > (uint64_t)INT64_MAX - (uint64_t)*min_ns) {
		in->bad = true;
		return *min_ns;
	}
	return (int64_t)((uint64_t)*min_ns + span);
}

/* A value that lies `reader_varint` above `base`, at most max. */
static uint64_t read_above(struct reader *in, uint64_t base, uint64_t max)
{
	if (base > max) {
		in->bad = true;
		return base;
	}
	return base + reader_number(in, max - base);
}

static void decode_streams(struct part_footer *f, struct reader *in)
{
	uint64_t n = reader_varint(in);

	f->tenants = array_for(in, n, 2, sizeof *f->tenants);
	for (uint64_t i = 0; i < n && !in->bad; i++)
		f->tenants[f->n_tenants++] = reader_str(in, TENANT_MAX);
	n = reader_varint(in);
	f->streams = array_for(in, n, 5, sizeof *f->streams);
	for (uint64_t i = 0; i < n && !in->bad; i++) {
		struct part_stream *s = &f->streams[f->n_streams++];

		s->tenant = (uint32_t)reader_number(in, f->n_tenants - 1);
		s->labels = reader_str(in, BATCH_BYTES_MAX);
		s->n_rows = reader_varint(in);
		s->max_ns = read_span(in, &s->min_ns);
		if (!in->bad && labels_check(s->labels, NULL) < 0)
			in->bad = true;
	}
	n = reader_varint(in);
	f->sources = array_for(in, n, 2, sizeof *f->sources);
	for (uint64_t i = 0; i < n && !in->bad; i++) {
		struct part_source *s = &f->sources[f->n_sources++];

		s->tenant = (uint32_t)reader_number(in, f->n_tenants - 1);
		s->id = reader_str(in, BATCH_BYTES_MAX);
	}
}

static void decode_blocks(struct part_footer *f, struct reader *in, uint64_t end)
{
	uint64_t n = reader_varint(in), rows = 0;

	f->blocks = array_for(in, n, 12, sizeof *f->blocks);
	for (uint64_t i = 0; i < n && !in->bad; i++) {
		struct part_block *b = &f->blocks[f->n_blocks++];

		b->offset = reader_number(in, end);
		b->size = (uint32_t)reader_number(in, UINT32_MAX);
		b->n_rows = (uint32_t)reader_number(in, BLOCK_ROWS_MAX);
		b->raw_bytes = reader_number(in, BATCH_BYTES_MAX);
		b->max_ns = read_span(in, &b->min_ns);
		b->min_seq = reader_varint(in);
		b->max_seq = read_above(in, b->min_seq, UINT64_MAX);
		b->stream_lo = (uint32_t)reader_number(in, f->n_streams - 1);
		b->stream_hi = (uint32_t)read_above(in, b->stream_lo, f->n_streams - 1);
		b->source_lo = (uint32_t)reader_number(in, f->n_sources);
		b->source_hi = (uint32_t)read_above(in, b->source_lo, f->n_sources);
		rows += b->n_rows;
		if (b->n_rows == 0 || b->size < BLOCK_HEADER_BYTES || b->size > end - b->offset)
			in->bad = true;
	}
	if (rows != f->summary.n_rows || f->n_streams == 0 || in->at.n > 0)
		in->bad = true;
}

/* `text` moves into the footer. */
static int footer_decode(struct buf *text, uint64_t end, struct part_footer **out, struct error *e)
{
	struct part_footer *f = xcalloc(1, sizeof *f);
	struct reader in;

	f->text = buf_take(text);
	in = (struct reader){.at = buf_view(&f->text)};
	f->summary.first_seq = reader_varint(&in);
	f->summary.last_seq = read_above(&in, f->summary.first_seq, UINT64_MAX);
	f->summary.n_rows = reader_varint(&in);
	f->summary.raw_bytes = reader_varint(&in);
	f->summary.max_ns = read_span(&in, &f->summary.min_ns);
	decode_streams(f, &in);
	decode_blocks(f, &in, end);
	if (in.bad) {
		part_footer_free(f);
		return error_set(e, ERR_CORRUPT, "the footer's structure is wrong");
	}
	f->bytes = sizeof *f + f->text.cap + (f->n_tenants + 1) * sizeof *f->tenants +
		   (f->n_streams + 1) * sizeof *f->streams +
		   (f->n_sources + 1) * sizeof *f->sources + (f->n_blocks + 1) * sizeof *f->blocks;
	*out = f;
	return 0;
}

struct tail {
	uint64_t footer[2], packed, raw;
	uint32_t crc;
};

static bool read_tail(struct file *f, uint64_t at, uint64_t size, struct tail *t)
{
	char p[PART_TAIL_BYTES];

	if (file_read(f, at, p, sizeof p, NULL) < 0 || get_u32(p) != TAIL_MAGIC ||
		get_u32(p + PART_TAIL_BYTES - 4) != crc32c(0, p, PART_TAIL_BYTES - 4))
		return false;
	t->crc = get_u32(p + 4);
	t->footer[0] = get_u64(p + 8);
	t->footer[1] = get_u64(p + 16);
	t->packed = get_u64(p + 24);
	t->raw = get_u64(p + 32);
	return t->raw <= FOOTER_RAW_MAX && t->packed <= size && t->footer[0] <= size - t->packed &&
	       t->footer[1] <= size - t->packed;
}

static int read_footer_copy(
	struct file *f, const struct tail *t, int copy, struct part_footer **out, struct error *e)
{
	struct buf packed = {0}, raw = {0};
	int r;

	buf_reserve(&packed, (size_t)t->packed);
	if ((r = file_read(f, t->footer[copy], packed.p, (size_t)t->packed, e)) < 0)
		goto out;
	packed.n = (size_t)t->packed;
	if (crc32c(0, packed.p, packed.n) != t->crc) {
		r = error_set(e, ERR_CORRUPT, "bad checksum of the footer");
		goto out;
	}
	if ((r = zstd_unpack(&raw, buf_view(&packed), (size_t)t->raw, e)) < 0)
		goto out;
	r = footer_decode(&raw, t->footer[0], out, e);
out:
	buf_fini(&packed);
	buf_fini(&raw);
	return r;
}

int part_footer_read(struct file *f, struct part_footer **out, struct error *e)
{
	struct tail t;
	uint64_t size;
	int r;

	if ((r = file_size(f, &size, e)) < 0)
		return r;
	for (uint64_t copy = 1; copy <= 2; copy++) {
		if (size < PART_HEADER_BYTES + copy * PART_TAIL_BYTES ||
			!read_tail(f, size - copy * PART_TAIL_BYTES, size, &t))
			continue;
		if ((r = read_footer_copy(f, &t, 0, out, NULL)) == 0)
			return 0;
		return read_footer_copy(f, &t, 1, out, e);
	}
	return error_set(e, ERR_CORRUPT, "no footer can be found: the file is cut or damaged");
}

/* Blocks */

struct column_place {
	uint32_t at, stored, raw, crc; /* at is from the block's start */
};

static int damaged(struct error *e, const char *what)
{
	return error_set(e, ERR_CORRUPT, "%s", what);
}

static int read_header(struct block_reader *br, const struct part_block *b,
	struct column_place places[N_COLUMNS], struct error *e)
{
	char h[BLOCK_HEADER_BYTES];
	uint64_t at = BLOCK_HEADER_BYTES;
	int r;

	if ((r = file_read(br->file, b->offset, h, sizeof h, e)) < 0)
		return r;
	br->bytes_read += sizeof h;
	if (get_u32(h) != BLOCK_MAGIC ||
		get_u32(h + BLOCK_HEADER_BYTES - 4) != crc32c(0, h, BLOCK_HEADER_BYTES - 4))
		return damaged(e, "bad checksum of the header");
	if (get_u32(h + 4) != b->n_rows)
		return damaged(e, "another number of rows than the footer tells");
	for (int i = 0; i < N_COLUMNS; i++) {
		struct column_place *p = &places[i];

		*p = (struct column_place){
			.at = (uint32_t)at,
			.stored = get_u32(h + 8 + i * 12),
			.raw = get_u32(h + 12 + i * 12),
			.crc = get_u32(h + 16 + i * 12),
		};
		at += p->stored;
		if (at > b->size || p->raw > COLUMN_RAW_MAX)
			return damaged(e, "columns larger than the block");
	}
	return 0;
}

static bool column_wanted(int column, unsigned wanted)
{
	switch (column) {
	case COLUMN_LENGTH:
	case COLUMN_BODY: return wanted & SCAN_BODY;
	case COLUMN_META: return wanted & SCAN_META;
	case COLUMN_SOURCE: return wanted & SCAN_SOURCE;
	}
	return true;
}

static int unpack(struct block_reader *br, int column, const struct column_place *p,
	const char *stored, struct error *e)
{
	struct buf *out = &br->columns[column];
	int r = 0;

	buf_clear(out);
	if (crc32c(0, stored, p->stored) != p->crc)
		return damaged(e, "bad checksum of a column");
	if (p->stored == p->raw)
		buf_put(out, stored, p->stored);
	else
		r = zstd_unpack(out, str_make(stored, p->stored), p->raw, e);
	if (r == 0 && out->n != p->raw)
		r = damaged(e, "a column of another length");
	return r;
}

/* The lines alone tell whether anything else of the block is needed. */
static int unpack_columns(struct block_reader *br, int from, int to,
	const struct column_place places[N_COLUMNS], struct str contains, struct error *e)
{
	bool has_body = from <= COLUMN_BODY && COLUMN_BODY < to;
	const char *stored = br->io.p;
	uint32_t start = places[from].at;
	const struct buf *body = &br->columns[COLUMN_BODY];
	int r;

	if (has_body && (r = unpack(br, COLUMN_BODY, &places[COLUMN_BODY],
				 stored + (places[COLUMN_BODY].at - start), e)) < 0)
		return r;
	if (has_body && contains.n > 0 &&
		(body->n == 0 || !memmem(body->p, body->n, contains.p, contains.n)))
		return BLOCK_LACKS;
	for (int i = from; i < to; i++)
		if (i != COLUMN_BODY &&
			(r = unpack(br, i, &places[i], stored + (places[i].at - start), e)) < 0)
			return r;
	return 0;
}

/* Neighbouring columns are read with one call. */
static int read_columns(struct block_reader *br, const struct part_block *b, unsigned wanted,
	const struct column_place places[N_COLUMNS], struct str contains, struct error *e)
{
	for (int from = 0, to; from < N_COLUMNS; from = to + 1) {
		uint64_t n;
		int r;

		for (to = from; to < N_COLUMNS && column_wanted(to, wanted); to++)
			;
		if (to == from)
			continue;
		n = places[to - 1].at + (uint64_t)places[to - 1].stored - places[from].at;
		buf_clear(&br->io);
		buf_reserve(&br->io, (size_t)n);
		if ((r = file_read(br->file, b->offset + places[from].at, br->io.p, (size_t)n, e)) <
			0)
			return r;
		br->bytes_read += n;
		if ((r = unpack_columns(br, from, to, places, contains, e)) != 0)
			return r;
	}
	return 0;
}

static int decode_stream(
	const struct block_reader *br, const struct part_block *b, struct unit *u, struct error *e)
{
	struct reader in = {.at = buf_view(&br->columns[COLUMN_STREAM])};

	for (uint32_t i = 0; i < b->n_rows;) {
		uint64_t stream = reader_varint(&in), run = reader_varint(&in);

		if (in.bad || run == 0 || run > b->n_rows - i || stream < b->stream_lo ||
			stream > b->stream_hi)
			return damaged(e, "bad run of streams");
		for (; run > 0; run--)
			u->stream[i++] = (uint32_t)stream;
	}
	return in.at.n > 0 ? damaged(e, "too many runs of streams") : 0;
}

static int decode_fixed(
	const struct block_reader *br, const struct part_block *b, struct unit *u, struct error *e)
{
	struct reader times = {.at = buf_view(&br->columns[COLUMN_TIME])};
	struct reader seqs = {.at = buf_view(&br->columns[COLUMN_SEQ])};
	uint64_t time = 0, seq = 0;

	if (br->columns[COLUMN_SEVERITY].n != b->n_rows || br->columns[COLUMN_FLAGS].n != b->n_rows)
		return damaged(e, "severities or flags are missing");
	for (uint32_t i = 0; i < b->n_rows; i++) {
		time += (uint64_t)reader_signed(&times);
		seq += (uint64_t)reader_signed(&seqs);
		u->timestamp[i] = (int64_t)time;
		u->seq[i] = seq;
		if (u->timestamp[i] < b->min_ns || u->timestamp[i] > b->max_ns ||
			seq < b->min_seq || seq > b->max_seq)
			return damaged(e, "a time or sequence outside the block's");
	}
	if (times.bad || seqs.bad || times.at.n > 0 || seqs.at.n > 0)
		return damaged(e, "bad times or sequences");
	memcpy(u->severity, br->columns[COLUMN_SEVERITY].p, b->n_rows);
	memcpy(u->flags, br->columns[COLUMN_FLAGS].p, b->n_rows);
	return 0;
}

static int decode_body(
	const struct block_reader *br, const struct part_block *b, struct unit *u, struct error *e)
{
	struct reader lengths = {.at = buf_view(&br->columns[COLUMN_LENGTH])};
	struct reader text = {.at = buf_view(&br->columns[COLUMN_BODY])};

	for (uint32_t i = 0; i < b->n_rows; i++)
		u->body[i] = reader_bytes(&text, reader_varint(&lengths));
	if (lengths.bad || text.bad || lengths.at.n > 0 || text.at.n > 0)
		return damaged(e, "bad lengths of lines");
	return 0;
}

static int decode_meta(
	struct block_reader *br, const struct part_block *b, struct unit *u, struct error *e)
{
	struct reader in = {.at = buf_view(&br->columns[COLUMN_META])};
	const struct str *entries;
	uint64_t n;

	memset(u->meta, 0, b->n_rows * sizeof *u->meta);
	if (in.at.n == 0)
		return 0;
	buf_clear(&br->dictionary);
	n = reader_number(&in, b->n_rows);
	for (uint64_t i = 0; i < n && !in.bad; i++) {
		struct str meta = reader_str(&in, COLUMN_RAW_MAX);

		if (in.bad || labels_check(meta, NULL) < 0)
			return damaged(e, "bad metadata");
		buf_put(&br->dictionary, &meta, sizeof meta);
	}
	entries = (const struct str *)br->dictionary.p;
	for (uint32_t i = 0; i < b->n_rows; i++) {
		uint64_t index = reader_number(&in, n);

		if (index > 0)
			u->meta[i] = entries[index - 1];
	}
	return in.bad || in.at.n > 0 ? damaged(e, "bad metadata numbers") : 0;
}

static int decode_source(const struct block_reader *br, const struct part_footer *f,
	const struct part_block *b, struct unit *u, struct error *e)
{
	struct reader in = {.at = buf_view(&br->columns[COLUMN_SOURCE])};
	uint64_t position = 0;

	memset(u->source, 0, b->n_rows * sizeof *u->source);
	memset(u->position, 0, b->n_rows * sizeof *u->position);
	if (in.at.n == 0)
		return 0;
	for (uint32_t i = 0; i < b->n_rows; i++) {
		u->source[i] = (uint32_t)reader_number(&in, f->n_sources);
		position += (uint64_t)reader_signed(&in);
		u->position[i] = position;
	}
	return in.bad || in.at.n > 0 ? damaged(e, "bad sources") : 0;
}

static int charge_block(struct block_reader *br, unsigned wanted,
	const struct column_place places[N_COLUMNS], struct error *e)
{
	uint64_t need = 0;
	int r;

	for (int i = 0; i < N_COLUMNS; i++)
		if (column_wanted(i, wanted))
			need += (uint64_t)places[i].stored + places[i].raw;
	if (need <= br->charged)
		return 0;
	if ((r = scan_charge(br->account, need - br->charged, e)) < 0)
		return r;
	br->charged = need;
	return 0;
}

static void trim(struct block_reader *br)
{
	bool large = br->charged > 8 * BLOCK_RAW_MAX;

	if (!large)
		return;
	/* One huge line must not hold its memory for the rest of the scan. */
	for (int i = 0; i < N_COLUMNS; i++)
		buf_fini(&br->columns[i]);
	buf_fini(&br->io);
	account_release(br->account, br->charged);
	br->charged = 0;
}

int block_read(struct block_reader *br, const struct part_footer *footer,
	const struct part_block *b, unsigned wanted, struct str contains, struct unit *u,
	struct error *e)
{
	struct column_place places[N_COLUMNS];
	int r;

	trim(br);
	if ((r = unit_reserve(u, b->n_rows, e)) < 0 || (r = read_header(br, b, places, e)) < 0 ||
		(r = charge_block(br, wanted, places, e)) < 0 ||
		(r = read_columns(br, b, wanted, places, contains, e)) != 0 ||
		(r = decode_fixed(br, b, u, e)) < 0 || (r = decode_stream(br, b, u, e)) < 0)
		return r;
	if (wanted & SCAN_BODY)
		r = decode_body(br, b, u, e);
	else
		memset(u->body, 0, b->n_rows * sizeof *u->body);
	if (r == 0 && wanted & SCAN_META)
		r = decode_meta(br, b, u, e);
	else
		memset(u->meta, 0, b->n_rows * sizeof *u->meta);
	if (r == 0 && wanted & SCAN_SOURCE) {
		r = decode_source(br, footer, b, u, e);
	} else {
		memset(u->source, 0, b->n_rows * sizeof *u->source);
		memset(u->position, 0, b->n_rows * sizeof *u->position);
	}
	return r;
}

void block_reader_fini(struct block_reader *br)
{
	for (int i = 0; i < N_COLUMNS; i++)
		buf_fini(&br->columns[i]);
	buf_fini(&br->io);
	buf_fini(&br->dictionary);
	file_close(br->file);
	account_release(br->account, br->charged);
	*br = (struct block_reader){.account = br->account};
}
