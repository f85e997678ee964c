/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a payload, as little of it as is asked for.
 *
 * Opening reads the directory alone.  From there each step is made at its first
 * need and kept until the next open: template ids, how many rows each template
 * has, which row of it a row is, columns, values of pools, who uses them.  So a
 * search for a text that only a pool could hold reads that pool's values, and
 * when they do not hold it nothing else.
 *
 * The uses of a pool go by row and slot.  Which use is a row's first is found by
 * one walk over the rows (base, kept by template and line of it); a slot's use
 * follows at a distance that is the same for all rows of its template.
 *
 * Every chunk is checked before it is unpacked, every number of the directory
 * was (payload.c), and what is left to check here is that the counts agree: rows
 * of templates, values of columns, uses of pools, lengths of plain lines.  What
 * is decoded is charged before the memory is reserved.
 */
#include "store/lines/reader.h"

#include <assert.h>
#include <stdlib.h>

#include "codec/codec.h"

enum {
	HEAD_READ = 8 << 10,  /* read at once at opening: most directories are shorter */
	PLAIN_MAX = 80 << 20, /* a block holds 8 MiB of lines, or one line longer than that */
	SCRATCH_KEPT = 2 << 20,
};

struct lines_reader *lines_reader_new(void)
{
	return xcalloc(1, sizeof(struct lines_reader));
}

static int damaged(struct error *e, const char *what)
{
	return error_set(e, ERR_CORRUPT, "lines of the block: %s", what);
}

int reader_hold(struct lines_reader *r, uint64_t n, struct error *e)
{
	if (r->s.account && account_charge(r->s.account, n) < 0)
		return error_set(e, ERR_LIMIT,
			"no memory to decode a block: %llu bytes more do not fit in '%s'",
			(unsigned long long)n, r->s.account->name);
	r->held += n;
	return 0;
}

void reader_unhold(struct lines_reader *r, uint64_t n)
{
	assert(n <= r->held);
	account_release(r->s.account, n);
	r->held -= n;
}

static void column_drop(struct column *c)
{
	if (c)
		column_fini(c);
	free(c);
}

static void pool_drop(struct reader_pool *p)
{
	pool_view_fini(&p->view);
	free(p->base);
}

static void times_drop(struct column_times *t)
{
	if (t) {
		free((void *)(uintptr_t)t->ns);
		column_times_fini(t);
	}
	free(t);
}

/* Let go of the block. */
static void forget(struct lines_reader *r)
{
	uint32_t n_places = r->p.first ? r->p.first[r->p.n_templates] : 0;

	for (uint32_t i = 0; r->columns && i < n_places; i++)
		column_drop(r->columns[i]);
	for (uint32_t i = 0; r->times && i < r->p.n_templates; i++)
		times_drop(r->times[i]);
	for (uint32_t i = 0; r->pools && i < r->p.n_pools; i++)
		pool_drop(&r->pools[i]);
	for (uint32_t i = 0; r->shared && i <= r->p.n_shared; i++)
		buf_fini(&r->shared[i]);
	free(r->columns);
	free(r->in_pool);
	free(r->times);
	free(r->pools);
	free(r->shared);
	free(r->ids);
	free(r->rank);
	free(r->order);
	free(r->count);
	free(r->start);
	free(r->plain_end);
	free(r->plain);
	free(r->has_piece);
	payload_fini(&r->p);
	if (r->held)
		account_release(r->s.account, r->held);
	if (r->stored.cap > SCRATCH_KEPT)
		buf_fini(&r->stored);
	if (r->raw.cap > SCRATCH_KEPT)
		buf_fini(&r->raw);
	*r = (struct lines_reader){.s = r->s,
		.figures = r->figures,
		.kept = r->kept,
		.stored = r->stored,
		.raw = r->raw,
		.lines = r->lines};
}

static void forget_lines(struct lines_reader *r)
{
	account_release(r->s.account, r->kept);
	r->kept = 0;
	buf_fini(&r->lines);
}

void lines_reader_free(struct lines_reader *r)
{
	if (!r)
		return;
	forget(r);
	forget_lines(r);
	buf_fini(&r->stored);
	buf_fini(&r->raw);
	free(r);
}

static int read_bytes(struct lines_reader *r, uint64_t at, size_t n, void *to, struct error *e)
{
	int code = r->s.read(r->s.ctx, at, n, to, e);

	if (code == 0)
		r->figures.bytes_read += n;
	return code;
}

static int read_directory(struct lines_reader *r, struct error *e)
{
	size_t n = r->s.bytes < HEAD_READ ? (size_t)r->s.bytes : HEAD_READ, all;
	int code;

	buf_clear(&r->stored);
	if ((code = read_bytes(r, 0, n, buf_reserve(&r->stored, n), e)) < 0)
		return code;
	r->stored.n = n;
	if ((code = payload_head(buf_view(&r->stored), r->s.bytes, &all, e)) < 0)
		return code;
	if (all > n) {
		code = read_bytes(r, n, all - n, buf_reserve(&r->stored, all - n), e);
		if (code < 0)
			return code;
	}
	r->stored.n = all;
	return payload_decode(&r->p, buf_view(&r->stored), r->s.bytes, r->s.n_rows, r->s.templates,
		r->s.n_templates, e);
}

int lines_open(struct lines_reader *r, const struct lines_source *s, struct error *e)
{
	uint32_t n_places;
	int code;

	forget(r);
	if (r->s.account != s->account)
		forget_lines(r);
	r->s = *s;
	if ((code = read_directory(r, e)) < 0 ||
		(code = reader_hold(r, payload_bytes(&r->p), e)) < 0)
		goto fail;
	if (r->p.plain_bytes > PLAIN_MAX) {
		code = damaged(e, "the plain lines are larger than a block can be");
		goto fail;
	}
	n_places = r->p.first[r->p.n_templates];
	code = reader_hold(r,
		n_places * (sizeof(*r->columns) + sizeof(*r->in_pool)) +
			r->p.n_templates * sizeof(*r->times) + r->p.n_pools * sizeof(*r->pools) +
			(r->p.n_shared + 1) * sizeof(*r->shared),
		e);
	if (code < 0)
		goto fail;
	r->columns = xcalloc(n_places, sizeof(*r->columns));
	r->in_pool = xcalloc(n_places, sizeof(*r->in_pool));
	r->times = xcalloc(r->p.n_templates, sizeof(*r->times));
	r->pools = xcalloc(r->p.n_pools, sizeof(*r->pools));
	r->shared = xcalloc(r->p.n_shared + 1, sizeof(*r->shared));
	return 0;
fail:
	forget(r);
	return code;
}

void lines_set_timestamps(struct lines_reader *r, const int64_t *timestamps)
{
	r->s.timestamps = timestamps;
}

struct lines_figures lines_figures(const struct lines_reader *r)
{
	return r->figures;
}

const struct lines_source *lines_read_source(const struct lines_reader *r)
{
	return &r->s;
}

/* Append the content of a chunk to `out`; the caller has charged it. */
static int load_chunk(struct lines_reader *r, uint32_t chunk, struct buf *out, struct error *e)
{
	const struct payload_chunk *c = &r->p.chunks[chunk];
	int code = reader_hold(r, c->stored, e);

	if (code < 0)
		return code;
	buf_clear(&r->stored);
	code = read_bytes(r, c->at, c->stored, buf_reserve(&r->stored, c->stored), e);
	if (code == 0)
		code = payload_unpack(c, str_make(r->stored.p, c->stored), out, e);
	reader_unhold(r, c->stored);
	return code;
}

/* The bytes of an encoded column or string of a pool: valid until the next call. */
static int load_place(
	struct lines_reader *r, const struct payload_place *place, struct str *out, struct error *e)
{
	uint32_t first = r->p.ids == PAYLOAD_NONE ? 0 : 1, raw = r->p.chunks[place->chunk].raw;
	struct buf *b = &r->raw;
	bool shared = place->chunk - first < r->p.n_shared;
	int code;

	if (shared)
		b = &r->shared[place->chunk];
	else
		buf_clear(b);
	if (b->n == 0 && raw > 0) {
		if (shared && (code = reader_hold(r, raw, e)) < 0)
			return code;
		if ((code = load_chunk(r, place->chunk, b, e)) < 0)
			return code;
	}
	*out = place->n ? str_make(b->p + place->at, place->n) : STR_NONE;
	return 0;
}

/* Are the ids as many as was told before they were read? */
static bool counts_fit(const struct lines_reader *r)
{
	size_t n = (size_t)r->p.n_templates + 1;
	uint32_t *count = xcalloc(n, sizeof(*count));
	bool fit;

	for (uint32_t i = 0; i < r->p.n_rows; i++)
		count[r->ids[i]]++;
	fit = memcmp(count, r->count, n * sizeof(*count)) == 0;
	free(count);
	return fit;
}

int reader_ids(struct lines_reader *r, struct error *e)
{
	uint32_t n = r->p.n_rows, plain = 0;
	uint16_t most = 0;
	int code;

	if (r->has_ids)
		return 0;
	if ((code = reader_hold(r, n * sizeof(*r->ids), e)) < 0)
		return code;
	free(r->ids);
	r->ids = xcalloc(n, sizeof(*r->ids));
	if (r->p.ids != PAYLOAD_NONE) {
		buf_clear(&r->raw);
		if ((code = load_chunk(r, r->p.ids, &r->raw, e)) < 0)
			return code;
		const uint8_t *low = (const uint8_t *)r->raw.p, *high = low + n;
		for (uint32_t i = 0; i < n; i++)
			r->ids[i] = low[i];
		for (uint32_t i = 0; r->p.n_templates > 255 && i < n; i++)
			r->ids[i] |= (uint16_t)(high[i] << 8);
	}
	for (uint32_t i = 0; i < n; i++) {
		most = r->ids[i] > most ? r->ids[i] : most;
		plain += r->ids[i] == 0;
	}
	if (most > r->p.n_templates || plain != r->p.n_plain)
		return damaged(e, "template ids do not fit the directory");
	r->has_ids = true;
	if (r->has_counts && !counts_fit(r)) {
		r->has_ids = false;
		return damaged(e, "template ids are not as many as the footer tells");
	}
	return 0;
}

int lines_templates(struct lines_reader *r, const uint16_t **out, struct error *e)
{
	int code = reader_ids(r, e);

	*out = r->ids;
	return code;
}

/* Counts that are known elsewhere. */
static bool take_counts(struct lines_reader *r)
{
	uint64_t sum = r->p.n_plain;

	if (r->has_ids || !r->s.counts || !r->s.counts(r->s.ctx, r->count + 1))
		return false;
	r->count[0] = r->p.n_plain;
	for (uint32_t id = 1; id <= r->p.n_templates; id++)
		sum += r->count[id];
	return sum == r->p.n_rows;
}

int reader_counts(struct lines_reader *r, struct error *e)
{
	size_t n = (size_t)r->p.n_templates + 2;
	int code;

	if (r->has_counts)
		return 0;
	if ((code = reader_hold(r, n * (sizeof(*r->count) + sizeof(*r->start)), e)) < 0)
		return code;
	free(r->count);
	free(r->start);
	r->count = xcalloc(n, sizeof(*r->count));
	r->start = xcalloc(n, sizeof(*r->start));
	if (!take_counts(r)) {
		if ((code = reader_ids(r, e)) < 0)
			return code;
		memset(r->count, 0, n * sizeof(*r->count));
		for (uint32_t i = 0; i < r->p.n_rows; i++)
			r->count[r->ids[i]]++;
	}
	for (size_t i = 1; i < n; i++)
		r->start[i] = r->start[i - 1] + r->count[i - 1];
	r->has_counts = true;
	return 0;
}

int reader_order(struct lines_reader *r, struct error *e)
{
	uint32_t n = r->p.n_rows, *next;
	int code;

	if (r->has_order)
		return 0;
	if ((code = reader_ids(r, e)) < 0 || (code = reader_counts(r, e)) < 0 ||
		(code = reader_hold(r, n * (sizeof(*r->rank) + sizeof(*r->order)), e)) < 0)
		return code;
	r->rank = xmalloc(n * sizeof(*r->rank));
	r->order = xmalloc(n * sizeof(*r->order));
	next = xcalloc((size_t)r->p.n_templates + 1, sizeof(*next));
	for (uint32_t i = 0; i < n; i++) {
		uint32_t id = r->ids[i];
		r->rank[i] = next[id]++;
		r->order[r->start[id] + r->rank[i]] = i;
	}
	free(next);
	r->has_order = true;
	return 0;
}

int lines_read_ranks(struct lines_reader *r, const uint32_t **rank, struct error *e)
{
	int code = reader_order(r, e);

	*rank = r->rank;
	return code;
}

int lines_read_count(struct lines_reader *r, uint32_t template, uint32_t *count, struct error *e)
{
	int code = reader_counts(r, e);

	assert(template <r->p.n_templates);
	*count = code < 0 ? 0 : r->count[template + 1];
	return code;
}

/* Bytes of memory that a value takes, besides the bytes of a text. */
static size_t value_bytes(uint8_t kind, uint8_t width)
{
	switch (kind) {
	case SLOT_NUMBER: return sizeof(uint64_t) + 1;
	case SLOT_LONG: return sizeof(uint64_t);
	case SLOT_TEXT: return sizeof(struct str);
	default: return column_bytes(kind, width);
	}
}

static uint64_t column_held(const struct column *c)
{
	return sizeof(*c) + (uint64_t)c->cap * value_bytes(c->kind, c->width) + c->bytes.cap +
	       (c->rank ? c->n : 0);
}

/* The charge of `before` bytes becomes one of what the column has taken. */
static int settle(struct lines_reader *r, const struct column *c, uint64_t before, struct error *e)
{
	uint64_t now = column_held(c);

	if (now > before)
		return reader_hold(r, now - before, e);
	reader_unhold(r, before - now);
	return 0;
}

static uint64_t times_bytes(uint32_t n)
{
	return sizeof(struct column_times) +
	       (uint64_t)n * (2 * sizeof(int64_t) + 3 * sizeof(int32_t));
}

/* The times of a template's rows, which columns of it may be derived from. */
static int load_times(struct lines_reader *r, uint32_t template, struct error *e)
{
	struct column_times *t = r->times[template];
	const uint32_t *rows;
	uint32_t n;
	int64_t *ns;
	int code;

	if (t)
		return 0;
	if (!r->s.timestamps && r->s.times && (code = r->s.times(r->s.ctx, e)) < 0)
		return code;
	assert(r->s.timestamps);
	if ((code = reader_order(r, e)) < 0)
		return code;
	n = r->count[template + 1];
	rows = r->order + r->start[template + 1];
	if ((code = reader_hold(r, times_bytes(n), e)) < 0)
		return code;
	ns = xmalloc(n * sizeof(*ns));
	for (uint32_t i = 0; i < n; i++)
		ns[i] = r->s.timestamps[rows[i]];
	r->times[template] = t = xcalloc(1, sizeof(*t));
	column_times_set(t, ns, n);
	return 0;
}

/* Values of a column that lie in a pool. */
static int gather(struct lines_reader *r, uint32_t template, uint32_t slot, uint32_t pool,
	struct column *c, struct error *e)
{
	uint32_t n = r->count[template + 1];
	int code;

	if ((code = reader_pool_uses(r, pool, e)) < 0)
		return code;
	const struct pool_view *v = &r->pools[pool].view;
	const uint32_t *base = reader_pool_base(r, template, slot);
	const uint32_t *use = v->use + reader_pool_offset(r, template, slot);
	size_t bytes = value_bytes(c->kind, c->width);
	c->cap = c->n = n;
	if (c->kind == SLOT_TEXT) {
		/* Views into the pool, which lives as long. */
		c->text = xmalloc(n * sizeof(*c->text));
		for (uint32_t i = 0; i < n; i++)
			c->text[i] = v->values.text[use[base[i]]];
	} else if (c->kind == SLOT_LONG || c->kind == SLOT_NUMBER) {
		c->number = xmalloc(n * sizeof(*c->number));
		c->digits = c->kind == SLOT_NUMBER ? xmalloc(n) : NULL;
		for (uint32_t i = 0; i < n; i++)
			c->number[i] = v->values.number[use[base[i]]];
		for (uint32_t i = 0; c->digits && i < n; i++)
			c->digits[i] = v->values.digits[use[base[i]]];
	} else {
		c->binary = xmalloc(n * bytes);
		for (uint32_t i = 0; i < n; i++)
			memcpy(c->binary + i * bytes, v->values.binary + use[base[i]] * bytes,
				bytes);
	}
	return 0;
}

static int decode(struct lines_reader *r, uint32_t template, const struct payload_place *place,
	struct column *c, struct error *e)
{
	struct str bytes;
	int code;

	if ((code = load_place(r, place, &bytes, e)) < 0)
		return code;
	/* Loading times may use the memory that `bytes` lies in. */
	if (column_needs_times(bytes) && !r->times[template] &&
		((code = load_times(r, template, e)) < 0 ||
			(code = load_place(r, place, &bytes, e)) < 0))
		return code;
	code = column_decode(c, bytes, r->times[template], r->count[template + 1], e);
	return code < 0 ? error_wrap(e, code, "template %u of the block", template) : 0;
}

int reader_column(struct lines_reader *r, uint32_t template, uint32_t slot,
	const struct column **out, struct error *e)
{
	const struct payload_place *place = reader_place(r, template, slot);
	const struct template_slot *s = &r->s.templates[template]->slots[slot];
	struct column **held = &r->columns[r->p.first[template] + slot], *c;
	uint64_t bytes;
	uint32_t n;
	int code;

	*out = *held;
	if (*held)
		return 0;
	if ((code = reader_counts(r, e)) < 0)
		return code;
	n = r->count[template + 1];
	bytes = sizeof(*c) + (uint64_t)n * value_bytes(s->kind, s->width) +
		(place->chunk == PAYLOAD_POOLED ? 0 : place->n);
	if ((code = reader_hold(r, bytes, e)) < 0)
		return code;
	c = xcalloc(1, sizeof(*c));
	c->kind = s->kind;
	c->width = s->width;
	if (n > 0)
		code = place->chunk == PAYLOAD_POOLED ? gather(r, template, slot, place->at, c, e)
						      : decode(r, template, place, c, e);
	if (code < 0 || (code = settle(r, c, bytes, e)) < 0) {
		column_drop(c);
		return code;
	}
	*out = *held = c;
	return 0;
}

void reader_drop(struct lines_reader *r, uint32_t template)
{
	if (!r->s.account || account_room(r->s.account) > r->held)
		return;
	for (uint32_t i = r->p.first[template]; i < r->p.first[template + 1]; i++) {
		if (!r->columns[i])
			continue;
		reader_unhold(r, column_held(r->columns[i]));
		column_drop(r->columns[i]);
		r->columns[i] = NULL;
	}
	if (r->times[template]) {
		reader_unhold(r, times_bytes(r->count[template + 1]));
		times_drop(r->times[template]);
		r->times[template] = NULL;
	}
}

void lines_read_drop(struct lines_reader *r, uint32_t template)
{
	reader_drop(r, template);
}

int lines_read_column(struct lines_reader *r, uint32_t template, uint32_t slot,
	const struct column **out, struct error *e)
{
	assert(template <r->p.n_templates &&slot < r->s.templates[template]->n_slots);
	return reader_column(r, template, slot, out, e);
}

int reader_pool_values(struct lines_reader *r, uint32_t pool, struct error *e)
{
	const struct payload_pool *p = &r->p.pools[pool];
	struct reader_pool *held = &r->pools[pool];
	uint64_t bytes, n = p->uses < p->values.n ? p->uses : p->values.n;
	struct str values;
	int code;

	if (held->has_values)
		return 0;
	/* Each value has at least a byte. */
	bytes = sizeof(held->view.values) + n * value_bytes(p->kind, p->width) + p->values.n;
	if ((code = reader_hold(r, bytes, e)) < 0 ||
		(code = load_place(r, &p->values, &values, e)) < 0)
		return code;
	pool_view_fini(&held->view);
	code = pool_decode_values(&held->view, p->kind, p->width, p->uses, values, e);
	if (code < 0 || (code = settle(r, &held->view.values, bytes, e)) < 0)
		return code;
	held->has_values = true;
	return 0;
}

uint32_t reader_pool_offset(const struct lines_reader *r, uint32_t template, uint32_t slot)
{
	uint32_t offset = 0, pool = reader_place(r, template, slot)->at;

	for (uint32_t i = 0; i < slot; i++) {
		const struct payload_place *place = reader_place(r, template, i);
		offset += place->chunk == PAYLOAD_POOLED && place->at == pool;
	}
	return offset;
}

const uint32_t *reader_pool_base(const struct lines_reader *r, uint32_t template, uint32_t slot)
{
	uint32_t place = r->p.first[template] + slot;

	return r->pools[r->p.places[place].at].base + r->in_pool[place];
}

/* How many uses of the pool a row of each id has, and where its rows begin in base; returns how
 * many rows have any, -1 when their uses are not as many as the pool tells. */
static int64_t count_uses(struct lines_reader *r, uint32_t pool, uint32_t *uses, uint32_t *start)
{
	uint64_t sum = 0;
	uint32_t n = 0;

	for (uint32_t id = 1; id <= r->p.n_templates; id++) {
		start[id] = n;
		for (uint32_t i = r->p.first[id - 1]; i < r->p.first[id]; i++)
			if (r->p.places[i].chunk == PAYLOAD_POOLED && r->p.places[i].at == pool) {
				uses[id]++;
				r->in_pool[i] = n;
			}
		sum += (uint64_t)uses[id] * r->count[id];
		n += uses[id] ? r->count[id] : 0;
	}
	return sum == r->p.pools[pool].uses ? (int64_t)n : -1;
}

/* Make base, of the rows that use the pool alone: a block may have hundreds of pools.  The walk
 * over the rows must come out at the number of uses. */
static int walk_pool(struct lines_reader *r, uint32_t pool, struct error *e)
{
	size_t n_ids = (size_t)r->p.n_templates + 1;
	uint32_t *uses = xcalloc(2 * n_ids, sizeof(*uses)), *start = uses + n_ids, at = 0;
	int64_t n = count_uses(r, pool, uses, start);
	uint32_t *base = n < 0 ? NULL : xmalloc((size_t)n * sizeof(*base));

	for (uint32_t i = 0; base && i < r->p.n_rows; i++) {
		uint32_t id = r->ids[i];

		if (uses[id] == 0)
			continue;
		base[start[id] + r->rank[i]] = at;
		at += uses[id];
	}
	r->pools[pool].base = base;
	free(uses);
	return base ? 0 : damaged(e, "a pool has not as many uses as values");
}

int reader_pool_uses(struct lines_reader *r, uint32_t pool, struct error *e)
{
	const struct payload_pool *p = &r->p.pools[pool];
	struct reader_pool *held = &r->pools[pool];
	struct str references;
	int code;

	if (held->has_uses)
		return 0;
	if ((code = reader_pool_values(r, pool, e)) < 0 || (code = reader_order(r, e)) < 0)
		return code;
	/* No more rows use it than it has uses. */
	code = reader_hold(
		r, (uint64_t)p->uses * (sizeof(*held->view.use) + sizeof(*held->base)), e);
	if (code < 0)
		return code;
	if (!held->base && (code = walk_pool(r, pool, e)) < 0)
		return code;
	if ((code = load_place(r, &p->references, &references, e)) < 0 ||
		(code = pool_decode_uses(&held->view, p->uses, references, e)) < 0)
		return code;
	held->has_uses = true;
	return 0;
}

/* Lengths of the plain lines, and room for their bytes. */
static int load_plain(struct lines_reader *r, struct error *e)
{
	uint64_t end = 0, v, n_pieces = (r->p.plain_bytes + PAYLOAD_PIECE - 1) / PAYLOAD_PIECE;
	struct str at;
	size_t used;
	int code;

	if (r->has_plain)
		return 0;
	code = reader_hold(r,
		r->p.n_plain * sizeof(*r->plain_end) + n_pieces * sizeof(*r->has_piece) +
			r->p.chunks[r->p.lengths].raw,
		e);
	if (code < 0)
		return code;
	buf_clear(&r->raw);
	if ((code = load_chunk(r, r->p.lengths, &r->raw, e)) < 0)
		return code;
	free(r->plain_end);
	r->plain_end = xmalloc(r->p.n_plain * sizeof(*r->plain_end));
	at = buf_view(&r->raw);
	for (uint32_t i = 0; i < r->p.n_plain; i++) {
		if ((used = varint_get(at, &v)) == 0 || v > r->p.plain_bytes - end)
			return damaged(e, "lengths of plain lines do not fit");
		at = str_sub(at, used, at.n);
		r->plain_end[i] = end += v;
	}
	if (end != r->p.plain_bytes || at.n)
		return damaged(e, "lengths of plain lines do not fit");
	/* The pages are touched, and charged, as the pieces are unpacked. */
	r->plain = xmalloc((size_t)r->p.plain_bytes);
	r->has_piece = xcalloc((size_t)n_pieces, sizeof(*r->has_piece));
	r->has_plain = true;
	return 0;
}

static int load_piece(struct lines_reader *r, uint32_t piece, struct error *e)
{
	uint32_t chunk = r->p.pieces + piece, n = r->p.chunks[chunk].raw;
	int code;

	if (r->has_piece[piece])
		return 0;
	if ((code = reader_hold(r, n, e)) < 0)
		return code;
	buf_clear(&r->raw);
	if ((code = load_chunk(r, chunk, &r->raw, e)) < 0)
		return code;
	memcpy(r->plain + (size_t)piece * PAYLOAD_PIECE, r->raw.p, n);
	r->has_piece[piece] = true;
	return 0;
}

int reader_plain(struct lines_reader *r, uint32_t rank, struct str *out, struct error *e)
{
	uint64_t from, to;
	int code;

	if ((code = load_plain(r, e)) < 0)
		return code;
	from = rank > 0 ? r->plain_end[rank - 1] : 0;
	to = r->plain_end[rank];
	*out = str_make(r->plain + from, (size_t)(to - from));
	for (uint64_t at = from / PAYLOAD_PIECE; to > from && at * PAYLOAD_PIECE < to; at++)
		if ((code = load_piece(r, (uint32_t)at, e)) < 0)
			return code;
	return 0;
}

int lines_read_plain(struct lines_reader *r, uint32_t rank, struct str *out, struct error *e)
{
	assert(rank < r->p.n_plain);
	return reader_plain(r, rank, out, e);
}

typedef void account_fn(void *ctx, enum lines_part part, uint32_t template, uint32_t slot,
	uint64_t stored, uint64_t raw);

static void account_place(const struct lines_reader *r, const struct payload_place *place,
	enum lines_part part, uint32_t template, uint32_t slot, account_fn *each, void *ctx)
{
	const struct payload_chunk *c;

	if (place->chunk == PAYLOAD_POOLED)
		return;
	c = &r->p.chunks[place->chunk];
	each(ctx, part, template, slot, c->raw ? (uint64_t)c->stored * place->n / c->raw : 0,
		place->n);
}

int lines_account(struct lines_reader *r, account_fn *each, void *ctx, struct error *e)
{
	const struct payload *p = &r->p;

	(void)e; /* what is known from the directory cannot fail */
	each(ctx, LINES_DIRECTORY, 0, 0, p->n_chunks ? p->chunks[0].at : r->s.bytes,
		p->n_chunks ? p->chunks[0].at : r->s.bytes);
	if (p->ids != PAYLOAD_NONE)
		each(ctx, LINES_TEMPLATE_IDS, 0, 0, p->chunks[p->ids].stored,
			p->chunks[p->ids].raw);
	for (uint32_t t = 0; t < p->n_templates; t++)
		for (uint32_t s = 0; s < r->s.templates[t]->n_slots; s++)
			account_place(r, reader_place(r, t, s), LINES_COLUMN, t, s, each, ctx);
	for (uint32_t i = 0; i < p->n_pools; i++) {
		account_place(r, &p->pools[i].references, LINES_POOL, 0, 0, each, ctx);
		account_place(r, &p->pools[i].values, LINES_POOL, 0, 0, each, ctx);
	}
	for (uint32_t i = p->lengths; p->lengths != PAYLOAD_NONE && i < p->n_chunks; i++)
		each(ctx, LINES_PLAIN, 0, 0, p->chunks[i].stored, p->chunks[i].raw);
	return 0;
}
