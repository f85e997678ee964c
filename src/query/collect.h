/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A collection: what a range aggregation keeps of its samples by series, before
 * windows are summed up.  Collections of one question add up, wherever their
 * samples were gathered: servers that are peers send each other these, as
 * partial aggregates, in place of rows (doc/format/scan.md).
 *
 *   tallies (agg_range.c)    rows and bytes by step, as differences
 *   piles (agg_samples.c)    folded values by slot; samples for what needs each
 *
 * Internal to src/query; one thread.
 */
#include "query/gather.h"
#include "query/matrix.h"

enum { COLLECTION_BYTES_MAX = 64 << 20 /* of one that is written: more is ERR_LIMIT */ };

struct collection {
	struct gather gather;
	const struct collection_type *type;
	uint64_t charged;
	/* What it began with. */
	struct run *run;
	const struct range_expr *expr;
	struct axis axis;
	const struct grouping *grouping;
};

struct collection_type {
	size_t size; /* of the struct, which begins with struct collection, zeroed */
	void (*begin)(struct collection *c); /* gather is there: set its callbacks */
	void (*end)(struct collection *c);
	int (*to_matrix)(struct collection *c, struct matrix *out, struct error *e);
	/* Append what there is of a series: itself is told apart by its length, not by its end. */
	void (*write)(struct collection *c, uint32_t series, struct buf *out);
	/* Add what another server wrote of it; `store` goes into the sequences of its records.
	 * ERR_CORRUPT, ERR_LIMIT. */
	int (*merge)(struct collection *c, uint32_t series, struct str bytes, size_t store,
		struct error *e);
};

extern const struct collection_type collection_tallies, collection_piles;

/* Borrows all.  ERR_ARG for a function that does not go with an unwrap. */
int collection_new(struct collection **out, struct run *run, const struct range_expr *x,
	const struct axis *axis, const struct grouping *grouping, struct error *e);
void collection_free(struct collection *c);
/* Gather all there is, here and at the peers. */
int collection_gather(struct collection *c, struct error *e);
/* Of this source alone, which has no peers: 1 when some record was delivered again by its broker,
 * so that only rows can tell which of them count; then what was gathered is of no use. */
int collection_gather_alone(struct collection *c, struct error *e);
/* Append it. */
int collection_write(struct collection *c, struct buf *out, struct error *e);
int collection_merge(struct collection *c, struct str bytes, size_t store, struct error *e);
/* Empty again. */
void collection_restart(struct collection *c);
/* Charge n bytes until its end, or give them back before. */
int collection_charge(struct collection *c, uint64_t n, struct error *e);
void collection_release(struct collection *c, uint64_t n);
