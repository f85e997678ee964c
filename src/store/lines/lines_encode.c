/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block's payload out of the rows that were added.
 *
 * Templates of few rows do not pay for themselves (a key in the part's footer,
 * a place for each slot, columns that hold nothing to compress), so where there
 * are many their lines are plain.  But a plain line must be read by every search,
 * while a template tells by its key that it need not: a block that has but a few
 * of them keeps them all, and has no plain lines then.  The others are encoded one after the other
 * with the same few columns in hand.  Only columns that go to a pool are kept until the end, as a
 * pool is filled in the order of the rows over all templates.
 */
#include "store/lines/lines_write.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "codec/codec.h"
#include "store/lines/column.h"
#include "store/lines/pool.h"

enum {
	TEMPLATE_ROWS_MIN = 3,
	RARE_BYTES_MAX = 16 << 10, /* of keys of templates with fewer rows: else none of these */
	/* Places of own chunks while it is not known how many shared ones there are. */
	OWN = 1 << 30,
};

/* Chunks of one sort, packed one behind the other. */
struct chunks {
	struct payload_chunk *p;
	size_t n, cap;
	struct buf packed;
};

struct pooled {
	struct column *column;
	struct pool *pool;
	uint32_t place; /* whose pool is numbered at the end */
	uint8_t width;  /* of the pool */
};

struct encoding {
	struct lines_writer *w;
	struct payload p;
	uint32_t n_slots, cap_places;
	struct chunks ids, shared, own, plain;
	struct buf fill;  /* the shared chunk that is being filled */
	struct buf bytes; /* of one column */
	int64_t *ns;      /* of one template's rows */
	struct column_times times;
	struct pooled *pooled;
	uint32_t n_pooled, cap_pooled;
	struct pool *pool_of[SLOT_TEXT + 1][256];
};

/* `plane` as payload_pack takes it. */
static void add_chunk(struct encoding *en, struct chunks *c, struct str raw, size_t plane)
{
	if (c->n == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 16;
		c->p = xrealloc(c->p, c->cap * sizeof *c->p);
	}
	assert(raw.n <= PAYLOAD_CHUNK_MAX);
	payload_pack(&c->p[c->n++], raw, plane, en->w->level, &c->packed);
}

static void chunks_fini(struct chunks *c)
{
	free(c->p);
	buf_fini(&c->packed);
}

/* Lay encoded bytes where bytes of that size belong. */
static struct payload_place lay(struct encoding *en, struct str bytes, size_t plane)
{
	struct payload_place place;

	if (bytes.n >= PAYLOAD_SMALL) {
		add_chunk(en, &en->own, bytes, plane);
		return (struct payload_place){
			.chunk = OWN + (uint32_t)en->own.n - 1, .n = (uint32_t)bytes.n};
	}
	if (en->fill.n >= PAYLOAD_SHARED) {
		add_chunk(en, &en->shared, buf_view(&en->fill), 0);
		buf_clear(&en->fill);
	}
	place = (struct payload_place){.chunk = (uint32_t)en->shared.n + 1,
		.at = (uint32_t)en->fill.n,
		.n = (uint32_t)bytes.n};
	buf_str(&en->fill, bytes);
	return place;
}

static void add_place(struct encoding *en, struct payload_place place)
{
	if (en->n_slots == en->cap_places) {
		en->cap_places = en->cap_places ? en->cap_places * 2 : 256;
		en->p.places = xrealloc(en->p.places, en->cap_places * sizeof *en->p.places);
	}
	en->p.places[en->n_slots++] = place;
}

static void keep_for_pool(struct encoding *en, struct column *c)
{
	uint8_t width = column_pool_width(c);
	struct pool **pool = &en->pool_of[c->kind][width];

	if (!*pool)
		*pool = pool_new(c->kind, width);
	if (en->n_pooled == en->cap_pooled) {
		en->cap_pooled = en->cap_pooled ? en->cap_pooled * 2 : 64;
		en->pooled = xrealloc(en->pooled, en->cap_pooled * sizeof *en->pooled);
	}
	en->pooled[en->n_pooled++] = (struct pooled){c, *pool, en->n_slots, width};
	add_place(en, (struct payload_place){.chunk = PAYLOAD_POOLED});
}

/* Are the keys of templates of few rows so short that these are worth it?  A line that is plain in
 * any case has the plain lines read. */
static bool keep_rare(const struct lines_writer *w)
{
	size_t bytes = 0;

	for (size_t i = 0; i < w->n_rows; i++)
		if (w->rows[i].template == TEMPLATE_NONE)
			return false;
	for (uint32_t id = 1; id <= template_table_count(w->table); id++)
		if (w->groups[id - 1].n < TEMPLATE_ROWS_MIN)
			bytes += template_table_get(w->table, id)->key.n;
	return bytes <= RARE_BYTES_MAX;
}

/* Which templates have columns?  Numbers them as the block does. */
static void choose(struct encoding *en)
{
	struct lines_writer *w = en->w;
	uint32_t least = keep_rare(w) ? 1 : TEMPLATE_ROWS_MIN;

	w->keys = xcalloc(template_table_count(w->table), sizeof *w->keys);
	w->n_keys = 0;
	for (uint32_t id = 1; id <= template_table_count(w->table); id++) {
		struct group *g = &w->groups[id - 1];
		g->local = TEMPLATE_NONE;
		if (g->n < least)
			continue;
		w->keys[w->n_keys++] = template_table_get(w->table, id)->key;
		g->local = (uint32_t)w->n_keys;
	}
	en->p.n_templates = (uint32_t)w->n_keys;
}

/* The timestamps of a template's rows side by side. */
static void sort_times(struct encoding *en)
{
	struct lines_writer *w = en->w;
	uint32_t at = 0;

	en->ns = xmalloc(w->n_rows * sizeof *en->ns);
	for (uint32_t id = 1; id <= template_table_count(w->table); id++) {
		struct group *g = &w->groups[id - 1];
		g->first_ns = g->cursor = at;
		at += g->n;
	}
	for (size_t i = 0; i < w->n_rows; i++)
		if (w->rows[i].template)
			en->ns[w->groups[w->rows[i].template - 1].cursor++] = w->rows[i].timestamp;
	for (uint32_t id = 1; id <= template_table_count(w->table); id++)
		w->groups[id - 1].cursor = 0;
}

/* Bytes of the longest value, of the kinds of which the directory keeps that. */
static uint8_t longest(const struct column *c)
{
	size_t most = 0;

	for (uint32_t i = 0; c->kind == SLOT_NUMBER && i < c->n; i++)
		most = c->digits[i] > most ? c->digits[i] : most;
	for (uint32_t i = 0; c->kind == SLOT_TEXT && i < c->n; i++)
		most = c->text[i].n > most ? c->text[i].n : most;
	return (uint8_t)most;
}

static void encode_group(struct encoding *en, uint32_t id)
{
	struct lines_writer *w = en->w;
	const struct template *t = template_table_get(w->table, id);
	struct group *g = &w->groups[id - 1];

	if (!t->n_slots)
		return;
	group_take(w, id);
	column_times_set(&en->times, en->ns + g->first_ns, g->n);
	g->first_pooled = en->n_pooled;
	for (uint32_t s = 0; s < t->n_slots; s++) {
		buf_clear(&en->bytes);
		if (column_encode(g->columns[s], &en->times, &en->bytes)) {
			struct str bytes = buf_view(&en->bytes);
			struct payload_place place =
				lay(en, bytes, column_plane(g->columns[s], bytes));
			place.most = longest(g->columns[s]);
			add_place(en, place);
		} else {
			keep_for_pool(en, g->columns[s]);
			g->columns[s] = NULL;
		}
	}
	g->n_pooled = en->n_pooled - g->first_pooled;
	group_drop_columns(w, id);
}

static void fill_pools(struct encoding *en)
{
	struct lines_writer *w = en->w;

	for (size_t i = 0; en->n_pooled && i < w->n_rows; i++) {
		struct group *g = w->rows[i].template ? &w->groups[w->rows[i].template - 1] : NULL;
		if (!g || !g->local || !g->n_pooled)
			continue;
		for (uint32_t k = 0; k < g->n_pooled; k++) {
			const struct pooled *pooled = &en->pooled[g->first_pooled + k];
			pool_add(pooled->pool, pooled->column, g->cursor);
		}
		g->cursor++;
	}
}

static void encode_pools(struct encoding *en)
{
	struct buf references = {0}, values = {0};
	uint16_t index[SLOT_TEXT + 1][256];
	size_t plane;

	fill_pools(en);
	en->p.pools = xcalloc(PAYLOAD_POOLS_MAX, sizeof *en->p.pools);
	for (unsigned kind = 0; kind <= SLOT_TEXT; kind++) {
		for (unsigned width = 0; width < 256; width++) {
			struct pool *pool = en->pool_of[kind][width];
			struct payload_pool *out = &en->p.pools[en->p.n_pools];
			if (!pool)
				continue;
			assert(en->p.n_pools < PAYLOAD_POOLS_MAX);
			index[kind][width] = (uint16_t)en->p.n_pools++;
			out->kind = (uint8_t)kind;
			out->width = (uint8_t)width;
			out->uses = pool_uses(pool);
			plane = pool_encode(pool, &references, &values);
			out->references = lay(en, buf_view(&references), references.n);
			out->values = lay(en, buf_view(&values), plane);
			buf_clear(&references);
			buf_clear(&values);
			pool_free(pool);
		}
	}
	for (uint32_t i = 0; i < en->n_pooled; i++) {
		const struct pooled *pooled = &en->pooled[i];
		en->p.places[pooled->place].at = index[pooled->column->kind][pooled->width];
		column_return(en->w, pooled->column);
	}
	buf_fini(&references);
	buf_fini(&values);
}

static void encode_ids(struct encoding *en)
{
	struct lines_writer *w = en->w;
	size_t n = w->n_rows;
	bool wide = en->p.n_templates > UINT8_MAX;
	struct buf ids = {0};
	uint8_t *p;

	w->template_of = xcalloc(n, sizeof *w->template_of);
	for (size_t i = 0; i < n; i++)
		w->template_of[i] =
			w->rows[i].template ? w->groups[w->rows[i].template - 1].local : 0;
	if (!en->p.n_templates)
		return;
	p = (uint8_t *)buf_reserve(&ids, 2 * n);
	for (size_t i = 0; i < n; i++) {
		p[i] = (uint8_t)w->template_of[i];
		if (wide)
			p[n + i] = (uint8_t)(w->template_of[i] >> 8);
	}
	ids.n = wide ? 2 * n : n;
	add_chunk(en, &en->ids, buf_view(&ids), n);
	buf_fini(&ids);
}

/* Plain lines as one string, cut into pieces. */
static void put_plain(struct encoding *en, struct buf *piece, struct str line)
{
	en->p.plain_bytes += line.n;
	while (line.n) {
		size_t n = PAYLOAD_PIECE - piece->n;
		struct str head = str_sub(line, 0, n);
		buf_str(piece, head);
		line = str_sub(line, head.n, line.n);
		if (piece->n == PAYLOAD_PIECE) {
			add_chunk(en, &en->plain, buf_view(piece), PAYLOAD_TEXT);
			buf_clear(piece);
		}
	}
}

/* Rows of a template that was not chosen may be in columns, where they came out of other blocks;
 * its columns are kept until here. */
static void encode_plain(struct encoding *en)
{
	struct lines_writer *w = en->w;
	struct buf lengths = {0}, piece = {0}, spelled = {0};

	for (size_t i = 0; i < w->n_rows; i++)
		en->p.n_plain += w->template_of[i] == TEMPLATE_NONE;
	if (!en->p.n_plain)
		return;
	for (size_t i = 0; i < w->n_rows; i++) {
		const struct row *row = &w->rows[i];
		struct str line = row->line;
		uint32_t nth = 0;
		if (w->template_of[i])
			continue;
		if (row->template)
			nth = w->groups[row->template - 1].cursor++;
		if (!line.p) {
			buf_clear(&spelled);
			group_spell(w, row->template, nth, &spelled);
			line = buf_view(&spelled);
		}
		varint_put(&lengths, line.n);
		/* The chunk of lengths comes first: its turn is at the end of the loop. */
		put_plain(en, &piece, line);
	}
	if (piece.n)
		add_chunk(en, &en->plain, buf_view(&piece), PAYLOAD_TEXT);
	buf_clear(&piece);
	en->p.lengths = 0;
	add_chunk(en, &en->own, buf_view(&lengths), 0);
	buf_fini(&lengths);
	buf_fini(&piece);
	buf_fini(&spelled);
}

/* Header, directory and chunks, in the order of payload.h. */
static void assemble(struct encoding *en, struct buf *out)
{
	struct chunks *const all[] = {&en->ids, &en->shared, &en->own, &en->plain};
	struct payload *p = &en->p;
	size_t n = 0;

	for (int i = 0; i < 4; i++)
		n += all[i]->n;
	p->n_shared = (uint32_t)en->shared.n;
	p->chunks = xcalloc(n, sizeof *p->chunks);
	for (int i = 0; i < 4; i++) {
		for (size_t k = 0; k < all[i]->n; k++)
			p->chunks[p->n_chunks++] = all[i]->p[k];
	}
	payload_encode(p, en->n_slots, en->w->level, out);
	for (int i = 0; i < 4; i++) {
		buf_str(out, buf_view(&all[i]->packed));
		chunks_fini(all[i]);
	}
}

/* Empty for the next rows; what was written stays for the caller to look at. */
static void reset(struct lines_writer *w)
{
	for (uint32_t id = 1; id <= template_table_count(w->table); id++)
		group_drop_columns(w, id);
	arena_clear(&w->text);
	w->n_rows = 0;
	w->n_values = 1;
	w->templated_bytes = 0;
	w->n_columns = 0;
	w->finished = true;
}

void lines_writer_finish(struct lines_writer *w, struct buf *payload, struct lines_written *out)
{
	struct encoding en = {.w = w};

	lines_writer_begin(w);
	en.p.n_rows = (uint32_t)w->n_rows;
	choose(&en);
	sort_times(&en);
	for (uint32_t id = 1; id <= template_table_count(w->table); id++)
		if (w->groups[id - 1].local)
			encode_group(&en, id);
	encode_pools(&en);
	if (en.fill.n)
		add_chunk(&en, &en.shared, buf_view(&en.fill), 0);
	encode_ids(&en);
	en.p.ids = en.p.n_templates ? 0 : PAYLOAD_NONE;
	lines_writer_charge(w, en.own.packed.n + en.shared.packed.n);
	encode_plain(&en);
	assemble(&en, payload);
	payload_fini(&en.p);
	column_times_fini(&en.times);
	buf_fini(&en.fill);
	buf_fini(&en.bytes);
	free(en.ns);
	free(en.pooled);
	*out = (struct lines_written){w->n_keys, w->keys, w->template_of};
	reset(w);
	lines_writer_charge(w, 0);
}
