/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Counting the rows of a block that are alike, for its footer entry.
 * Thread rule: one thread.
 */
#include "store/parts/fixed.h"

struct tally_entry {
	uint32_t stream; /* local */
	uint16_t level;  /* severity << 1 | level_detected */
	int64_t what;    /* template or hour */
	uint32_t rows;
	uint64_t bytes;
};

/* A zeroed struct is empty. */
struct tally {
	struct tally_entry *entries;
	uint32_t n, most; /* entries; more than `most` are too many to be worth it */
	uint32_t *slots;  /* hash table: 1 + index of an entry */
	uint32_t n_slots, last;
	bool full; /* there would have been more */
};

/* By template of the block's rows, and by hour; sorted.  Empty when there are too many. */
void tally_templates(struct tally *t, const struct fixed *f, const uint32_t *template_of);
void tally_hours(struct tally *t, const struct fixed *f);
void tally_fini(struct tally *t);
