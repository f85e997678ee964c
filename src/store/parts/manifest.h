/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The manifest: the summaries of all parts in one small checksummed file that
 * is replaced as a whole, so that a set of parts changes atomically.  Without
 * it the part files are read; what is lost then is which records were dropped
 * on purpose while the journal still has them.
 */
#include "store/parts/part.h"

struct seq_range {
	uint64_t first, last;
};

struct manifest {
	/* Every sequence at or below it is in a part or was dropped on purpose, but for those of
	 * `holes`: ranges of parts that could not be read, which the journal may still have. */
	uint64_t flushed_until;
	struct seq_range *holes; /* ascending, disjoint */
	size_t n_holes;
	struct part_summary *parts; /* sorted by first_seq, disjoint */
	size_t n;
};

void manifest_fini(struct manifest *m);
void manifest_encode(const struct manifest *m, struct buf *out);
/* ERR_CORRUPT; m is empty then. */
int manifest_decode(struct manifest *m, struct str bytes, struct error *e);
/* The part with that range and revision, or NULL. */
const struct part_summary *manifest_find(const struct manifest *m, const struct part_summary *s);
