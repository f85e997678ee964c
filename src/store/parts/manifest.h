/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The manifest: the summaries of all parts in one small checksummed file that
 * is replaced as a whole, so that a set of parts changes atomically.  It is a
 * cache of what the part files say: without it they are read.
 */
#include "store/parts/part.h"

struct manifest {
	struct part_summary *parts; /* sorted by first_seq, disjoint */
	size_t n;
};

void manifest_fini(struct manifest *m);
void manifest_encode(const struct manifest *m, struct buf *out);
/* ERR_CORRUPT; m is empty then. */
int manifest_decode(struct manifest *m, struct str bytes, struct error *e);
