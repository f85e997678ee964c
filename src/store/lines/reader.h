/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The inside of a lines_reader: what of a block has been decoded so far.
 * lines_read.c decodes, lines_spell.c and lines_filter.c use it; private to them.
 * Thread rule: the reader's thread.
 */
#include "store/lines/lines_read.h"
#include "store/lines/payload.h"
#include "store/lines/pool.h"

/* A pool, in the steps in which it is needed. */
struct reader_pool {
	struct pool_view view;
	bool has_values, has_uses;
	/* The first use of each row that has any, template by template; NULL before it was needed.
	 */
	uint32_t *base;
};

struct lines_reader {
	struct lines_source s;
	struct payload p;
	struct lines_figures figures;
	uint64_t held;          /* charged to s.account for this block */
	uint64_t kept;          /* the same for what is kept from block to block: lines */
	struct buf stored, raw; /* a chunk on its way */
	/* By row, decoded at first need. */
	bool has_ids, has_counts, has_order;
	uint16_t *ids;
	uint32_t *rank;  /* which line of its template */
	uint32_t *order; /* rows, template by template: those of id are order[start[id]] .. */
	/* By id: 0 plain, else 1 + local index.  One more at the end of start. */
	uint32_t *count, *start;
	struct buf *shared;      /* unpacked shared chunks, by number of chunk; empty: not yet */
	struct column **columns; /* by place; NULL: not yet */
	uint32_t *in_pool;       /* by place: where its template's rows begin in its pool's base */
	struct column_times **times; /* by template; NULL: not yet */
	struct reader_pool *pools;
	/* Plain lines. */
	bool has_plain;
	uint64_t *plain_end; /* of each, in plain */
	char *plain;
	bool *has_piece;
	struct buf lines; /* what the last lines_get has spelled */
};

/* Charge n bytes to the source's account until the next open; ERR_LIMIT. */
int reader_hold(struct lines_reader *r, uint64_t n, struct error *e);
void reader_unhold(struct lines_reader *r, uint64_t n);
/* Each of these decodes at the first call what its field says. */
int reader_ids(struct lines_reader *r, struct error *e);
int reader_counts(struct lines_reader *r, struct error *e);
int reader_order(struct lines_reader *r, struct error *e); /* rank, order, and the two above */
int reader_column(struct lines_reader *r, uint32_t template, uint32_t slot,
	const struct column **out, struct error *e);
/* Let go of the columns of a template when memory is short: they are decoded again if need be. */
void reader_drop(struct lines_reader *r, uint32_t template);
int reader_pool_values(struct lines_reader *r, uint32_t pool, struct error *e);
int reader_pool_uses(struct lines_reader *r, uint32_t pool, struct error *e); /* and base */
/* By line of the template: the first use of the pool that the slot has its values of. */
const uint32_t *reader_pool_base(const struct lines_reader *r, uint32_t template, uint32_t slot);
/* Where the slot's use is behind that. */
uint32_t reader_pool_offset(const struct lines_reader *r, uint32_t template, uint32_t slot);
int reader_plain(struct lines_reader *r, uint32_t rank, struct str *out, struct error *e);

static inline const struct payload_place *reader_place(
	const struct lines_reader *r, uint32_t template, uint32_t slot)
{
	return &r->p.places[r->p.first[template] + slot];
}

/* Append lines of a template, of these ranks (lines_spell.c).  All its columns are decoded. */
int reader_spell(struct lines_reader *r, uint32_t template, const uint32_t *rank, uint32_t n,
	struct buf *out, struct str *lines, struct error *e);
