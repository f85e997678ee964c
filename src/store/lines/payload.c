/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of a payload, both ways.
 *
 * Decoding is two passes over few bytes: the numbers at the front are checked
 * against what is known without them (rows, templates, the bytes at hand), then
 * every chunk and place is walked in the order in which the writer laid them,
 * so that most of a directory is implied: offsets, which chunk a column has,
 * how many pieces the plain lines fill.  Whatever does not come out even is
 * damage.
 */
#include "store/lines/payload.h"

#include <stdlib.h>

#include "base/memory.h"
#include "codec/codec.h"

enum { TEMPLATES_OF_BLOCK_MAX = UINT16_MAX };

static uint32_t get32(const char *p)
{
	const uint8_t *u = (const uint8_t *)p;

	return (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

static void put32(char *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (char)(v >> (8 * i));
}

static int damaged(struct error *e, const char *what)
{
	return error_set(e, ERR_CORRUPT, "directory of the lines: %s", what);
}

/* Bytes that are being decoded; `bad` stays set once they ran out or passed a limit. */
struct reading {
	struct str in;
	bool bad;
};

static uint64_t take(struct reading *r, uint64_t limit)
{
	uint64_t v = 0;
	size_t n = r->bad ? 0 : varint_get(r->in, &v);

	if (n == 0 || v > limit) {
		r->bad = true;
		return 0;
	}
	r->in = str_sub(r->in, n, r->in.n);
	return v;
}

static const char *take_bytes(struct reading *r, size_t n)
{
	static const char nothing[4];
	const char *p = r->in.p;

	if (r->bad || r->in.n < n) {
		r->bad = true;
		return nothing;
	}
	r->in = str_sub(r->in, n, r->in.n);
	return p;
}

int payload_head(struct str head, uint64_t bytes, size_t *out, struct error *e)
{
	uint32_t stored, raw;

	if (head.n < PAYLOAD_HEADER || bytes < PAYLOAD_HEADER)
		return damaged(e, "cut short");
	stored = get32(head.p);
	raw = get32(head.p + 4);
	if (raw > PAYLOAD_DIRECTORY_MAX || stored > raw || stored > bytes - PAYLOAD_HEADER)
		return damaged(e, "it cannot be so large");
	*out = PAYLOAD_HEADER + (size_t)stored;
	return 0;
}

/* The numbers in front of a directory, and what is left to do. */
struct decoding {
	struct reading r;
	struct payload *p;
	const struct template *const *templates;
	uint32_t next_own;     /* chunk */
	uint32_t shared, fill; /* chunk and bytes of it that are given out */
};

static int decode_counts(struct decoding *d, uint32_t n_rows, size_t n_templates, struct error *e)
{
	struct payload *p = d->p;
	struct reading *r = &d->r;

	p->n_rows = (uint32_t)take(r, PAYLOAD_ROWS_MAX);
	p->n_plain = (uint32_t)take(r, p->n_rows);
	p->plain_bytes = take(r, UINT64_MAX >> 1);
	p->n_templates = (uint32_t)take(r, TEMPLATES_OF_BLOCK_MAX);
	p->n_shared = (uint32_t)take(r, PAYLOAD_DIRECTORY_MAX);
	p->n_pools = (uint32_t)take(r, PAYLOAD_POOLS_MAX);
	/* Each chunk takes at least five bytes here. */
	p->n_chunks = (uint32_t)take(r, r->in.n / 5);
	if (r->bad || p->n_shared > p->n_chunks)
		return damaged(e, "its counts make no sense");
	if (p->n_rows != n_rows || p->n_templates != n_templates)
		return damaged(e, "rows or templates are not those of the block");
	if ((p->n_templates == 0) != (p->n_plain == p->n_rows) || (!p->n_plain && p->plain_bytes))
		return damaged(e, "plain rows and templates do not fit");
	return 0;
}

static int decode_chunks(struct decoding *d, size_t head, uint64_t bytes, struct error *e)
{
	struct payload *p = d->p;
	uint64_t at = head;

	p->chunks = xcalloc(p->n_chunks, sizeof *p->chunks);
	for (uint32_t i = 0; i < p->n_chunks; i++) {
		struct payload_chunk *c = &p->chunks[i];
		uint64_t v = take(&d->r, (uint64_t)PAYLOAD_CHUNK_MAX << 1 | 1);
		c->packed = v & 1;
		c->stored = (uint32_t)(v >> 1);
		c->raw = c->packed ? (uint32_t)take(&d->r, PAYLOAD_CHUNK_MAX) : c->stored;
		c->crc = get32(take_bytes(&d->r, 4));
		c->at = at;
		at += c->stored;
		if (d->r.bad || at > bytes)
			return damaged(e, "a chunk lies outside of the payload");
	}
	return at == bytes ? 0 : damaged(e, "the chunks do not fill the payload");
}

/* The length of the longest value is kept of columns of these kinds. */
static bool has_most(uint8_t kind)
{
	return kind == SLOT_NUMBER || kind == SLOT_TEXT;
}

static bool decode_most(struct decoding *d, struct payload_place *place)
{
	place->most = (uint8_t)*take_bytes(&d->r, 1);
	return !d->r.bad && place->most > 0;
}

/* The next place, of a column of this kind, or of a pool's string (0). */
static bool decode_place(struct decoding *d, struct payload_place *place, uint8_t kind)
{
	struct payload *p = d->p;
	uint64_t v = take(&d->r, PAYLOAD_SMALL + 1);
	uint32_t end = (p->ids == PAYLOAD_NONE ? 0 : 1) + p->n_shared, n;

	if (d->r.bad)
		return false;
	if (v == 0) {
		*place = (struct payload_place){.chunk = PAYLOAD_POOLED};
		place->at = (uint32_t)take(&d->r, PAYLOAD_POOLS_MAX);
		return !d->r.bad && place->at < p->n_pools;
	}
	if (v == 1) {
		if (d->next_own == p->n_chunks)
			return false;
		*place = (struct payload_place){
			.chunk = d->next_own, .n = p->chunks[d->next_own].raw};
		d->next_own++;
		return !has_most(kind) || decode_most(d, place);
	}
	n = (uint32_t)v - 1;
	if (d->shared < end && d->fill == p->chunks[d->shared].raw) {
		d->shared++;
		d->fill = 0;
	}
	if (d->shared >= end || p->chunks[d->shared].raw - d->fill < n)
		return false;
	*place = (struct payload_place){.chunk = d->shared, .at = d->fill, .n = n};
	d->fill += n;
	return !has_most(kind) || decode_most(d, place);
}

static int decode_places(struct decoding *d, struct error *e)
{
	struct payload *p = d->p;
	size_t n = 0;

	for (uint32_t t = 0; t < p->n_templates; t++) {
		n += d->templates[t]->n_slots;
		if (n > PAYLOAD_SLOTS_MAX)
			return damaged(e, "its templates have too many slots");
	}
	if (n > d->r.in.n)
		return damaged(e, "columns are missing");
	p->first = xcalloc((size_t)p->n_templates + 1, sizeof *p->first);
	p->places = xcalloc(n, sizeof *p->places);
	n = 0;
	for (uint32_t t = 0; t < p->n_templates; t++) {
		p->first[t] = (uint32_t)n;
		for (uint32_t s = 0; s < d->templates[t]->n_slots; s++, n++)
			if (!decode_place(d, &p->places[n], d->templates[t]->slots[s].kind))
				return damaged(e, "a column lies outside of its chunk");
	}
	p->first[p->n_templates] = (uint32_t)n;
	return 0;
}

static int decode_pools(struct decoding *d, struct error *e)
{
	struct payload *p = d->p;

	p->pools = xcalloc(p->n_pools, sizeof *p->pools);
	for (uint32_t i = 0; i < p->n_pools; i++) {
		struct payload_pool *pool = &p->pools[i];
		const char *kind = take_bytes(&d->r, 2);
		pool->kind = (uint8_t)kind[0];
		pool->width = (uint8_t)kind[1];
		if (pool->kind < SLOT_NUMBER || pool->kind > SLOT_TEXT)
			return damaged(e, "a pool is of no kind");
		/* A row has at most TOKEN_SLOTS_MAX values. */
		pool->uses = (uint32_t)take(&d->r, UINT32_MAX);
		if (d->r.bad || pool->uses / TOKEN_SLOTS_MAX > p->n_rows)
			return damaged(e, "a pool has more uses than there are values");
		if (!decode_place(d, &pool->references, 0) || !decode_place(d, &pool->values, 0) ||
			pool->references.chunk == PAYLOAD_POOLED ||
			pool->values.chunk == PAYLOAD_POOLED)
			return damaged(e, "a pool lies outside of its chunk");
	}
	return 0;
}

/* A pool has the kind and width of its columns; numbers, which have no width, are in pools of
 * several. */
static int check_pools(struct decoding *d, struct error *e)
{
	struct payload *p = d->p;

	for (uint32_t t = 0; t < p->n_templates; t++) {
		for (uint32_t s = 0; s < d->templates[t]->n_slots; s++) {
			const struct payload_place *place = &p->places[p->first[t] + s];
			const struct template_slot *slot = &d->templates[t]->slots[s];
			if (place->chunk != PAYLOAD_POOLED)
				continue;
			const struct payload_pool *pool = &p->pools[place->at];
			if (slot->kind != pool->kind ||
				(slot->kind != SLOT_NUMBER && slot->width != pool->width))
				return damaged(e, "a column is in a pool of others");
		}
	}
	return 0;
}

/* What follows the columns: lengths and pieces of the plain lines.  Then all must be used up. */
static int decode_plain(struct decoding *d, struct error *e)
{
	struct payload *p = d->p;
	uint64_t left = p->plain_bytes;
	uint32_t i = d->next_own, end = (p->ids == PAYLOAD_NONE ? 0 : 1) + p->n_shared;

	if (p->n_plain) {
		if (i == p->n_chunks)
			return damaged(e, "the lengths of plain lines are missing");
		p->lengths = i++;
		p->pieces = left ? i : PAYLOAD_NONE;
	}
	for (; left; i++) {
		uint64_t want = left < PAYLOAD_PIECE ? left : PAYLOAD_PIECE;
		if (i >= p->n_chunks || p->chunks[i].raw != want)
			return damaged(e, "plain lines are missing");
		left -= want;
	}
	if (i != p->n_chunks || d->r.in.n)
		return damaged(e, "it holds more than it says");
	/* Every shared chunk but the one that is being filled was left full. */
	if (p->n_shared && (d->shared + 1 != end || d->fill != p->chunks[d->shared].raw))
		return damaged(e, "shared chunks hold more than their columns");
	return 0;
}

static int decode_directory(struct decoding *d, size_t head, uint64_t bytes, uint32_t n_rows,
	size_t n_templates, struct error *e)
{
	struct payload *p = d->p;
	int r;

	if ((r = decode_counts(d, n_rows, n_templates, e)) < 0 ||
		(r = decode_chunks(d, head, bytes, e)) < 0)
		return r;
	p->ids = p->n_templates ? 0 : PAYLOAD_NONE;
	d->shared = p->n_templates ? 1 : 0;
	d->next_own = d->shared + p->n_shared;
	if (d->next_own > p->n_chunks)
		return damaged(e, "shared chunks are missing");
	if (p->ids == 0 && p->chunks[0].raw != (uint64_t)n_rows * (p->n_templates > 255 ? 2 : 1))
		return damaged(e, "template ids are missing");
	if ((r = decode_places(d, e)) < 0 || (r = decode_pools(d, e)) < 0 ||
		(r = check_pools(d, e)) < 0)
		return r;
	return decode_plain(d, e);
}

int payload_decode(struct payload *out, struct str head, uint64_t bytes, uint32_t n_rows,
	const struct template *const *templates, size_t n_templates, struct error *e)
{
	struct buf unpacked = {0};
	struct decoding d = {.p = out, .templates = templates};
	size_t n = 0;
	uint32_t raw;
	int r;

	*out = (struct payload){
		.ids = PAYLOAD_NONE, .lengths = PAYLOAD_NONE, .pieces = PAYLOAD_NONE};
	if ((r = payload_head(head, bytes, &n, e)) < 0)
		return r;
	if (n != head.n)
		return damaged(e, "cut short");
	if (crc32c(crc32c(0, head.p, 8), head.p + PAYLOAD_HEADER, n - PAYLOAD_HEADER) !=
		get32(head.p + 8))
		return damaged(e, "bad checksum");
	raw = get32(head.p + 4);
	d.r.in = str_sub(head, PAYLOAD_HEADER, n);
	if (raw > n - PAYLOAD_HEADER) {
		if ((r = zstd_unpack(&unpacked, d.r.in, raw, e)) < 0)
			goto out;
		if (unpacked.n != raw) {
			r = damaged(e, "it is not as long as it says");
			goto out;
		}
		d.r.in = buf_view(&unpacked);
	}
	r = decode_directory(&d, n, bytes, n_rows, n_templates, e);
out:
	buf_fini(&unpacked);
	return r;
}

void payload_fini(struct payload *p)
{
	free(p->chunks);
	free(p->pools);
	free(p->first);
	free(p->places);
	*p = (struct payload){0};
}

size_t payload_bytes(const struct payload *p)
{
	return p->n_chunks * sizeof *p->chunks + p->n_pools * sizeof *p->pools +
	       (p->first ? ((size_t)p->n_templates + 1) * sizeof *p->first +
				       p->first[p->n_templates] * sizeof *p->places
			 : 0);
}

static void encode_place(const struct payload *p, const struct payload_place *place, struct buf *b)
{
	uint32_t end = (p->ids == PAYLOAD_NONE ? 0 : 1) + p->n_shared;

	if (place->chunk == PAYLOAD_POOLED) {
		varint_put(b, 0);
		varint_put(b, place->at);
	} else if (place->chunk < end) {
		varint_put(b, 1 + (uint64_t)place->n);
	} else {
		varint_put(b, 1);
	}
	if (place->chunk != PAYLOAD_POOLED && place->most)
		buf_char(b, (char)place->most);
}

static void encode_directory(const struct payload *p, uint32_t n_slots, struct buf *b)
{
	varint_put(b, p->n_rows);
	varint_put(b, p->n_plain);
	varint_put(b, p->plain_bytes);
	varint_put(b, p->n_templates);
	varint_put(b, p->n_shared);
	varint_put(b, p->n_pools);
	varint_put(b, p->n_chunks);
	for (uint32_t i = 0; i < p->n_chunks; i++) {
		const struct payload_chunk *c = &p->chunks[i];
		varint_put(b, (uint64_t)c->stored << 1 | c->packed);
		if (c->packed)
			varint_put(b, c->raw);
		put32(buf_reserve(b, 4), c->crc);
		b->n += 4;
	}
	for (uint32_t i = 0; i < n_slots; i++)
		encode_place(p, &p->places[i], b);
	for (uint32_t i = 0; i < p->n_pools; i++) {
		buf_char(b, (char)p->pools[i].kind);
		buf_char(b, (char)p->pools[i].width);
		varint_put(b, p->pools[i].uses);
		encode_place(p, &p->pools[i].references, b);
		encode_place(p, &p->pools[i].values, b);
	}
}

void payload_encode(const struct payload *p, uint32_t n_slots, int level, struct buf *out)
{
	struct buf raw = {0};
	struct payload_chunk c;
	size_t at = out->n;
	char *head;

	encode_directory(p, n_slots, &raw);
	buf_reserve(out, PAYLOAD_HEADER);
	out->n += PAYLOAD_HEADER;
	payload_pack(&c, buf_view(&raw), 0, level, out);
	head = out->p + at;
	put32(head, c.stored);
	put32(head + 4, c.raw);
	put32(head + 8, crc32c(crc32c(0, head, 8), head + PAYLOAD_HEADER, c.stored));
	buf_fini(&raw);
}

int payload_unpack(
	const struct payload_chunk *c, struct str stored, struct buf *out, struct error *e)
{
	size_t start = out->n;
	int r;

	if (stored.n != c->stored || crc32c(0, stored.p, stored.n) != c->crc)
		return error_set(e, ERR_CORRUPT, "lines: bad checksum at %llu of the payload",
			(unsigned long long)c->at);
	if (!c->packed) {
		buf_str(out, stored);
		return 0;
	}
	if ((r = zstd_unpack(out, stored, c->raw, e)) < 0)
		return error_wrap(e, ERR_CORRUPT, "lines: chunk at %llu of the payload",
			(unsigned long long)c->at);
	if (out->n - start != c->raw) {
		out->n = start;
		return error_set(e, ERR_CORRUPT,
			"lines: the chunk at %llu of the payload is not as long as it says",
			(unsigned long long)c->at);
	}
	return 0;
}

void payload_pack(struct payload_chunk *c, struct str raw, size_t plane, int level, struct buf *out)
{
	size_t at = out->n;

	if (plane == PAYLOAD_TEXT)
		zstd_pack(out, raw, level);
	else
		zstd_pack_columns(out, raw, plane, level);
	c->packed = out->n - at < raw.n;
	if (!c->packed) {
		out->n = at;
		buf_str(out, raw);
	}
	c->stored = (uint32_t)(out->n - at);
	c->raw = (uint32_t)raw.n;
	c->crc = crc32c(0, out->p ? out->p + at : NULL, c->stored);
}
