/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Which parts are to be merged, and which are to be written anew since much of
 * them is hidden.  Decisions alone: parts.c carries them out.
 * Pure; any thread.
 */
#include "store/parts/part.h"

enum { MERGE_PARTS = 8 }; /* of a level, when nothing else is asked for */

/* A part, as the decision sees it. */
struct merge_part {
	const struct part_summary *summary;
	bool apart; /* records that no part has lie before it: it is not merged with the one there
		     */
	bool skip;  /* cannot be merged at all */
};

struct merge_rules {
	size_t fan;         /* parts of a level */
	size_t most_parts;  /* in one merge */
	int32_t today;      /* since 1970, UTC */
	int32_t active_day; /* gets new parts still, though it may have passed */
};

/* The run of neighbours that should become one now; false when none should. */
bool merge_pick(const struct merge_part *parts, size_t n, const struct merge_rules *rules,
	size_t *at, size_t *count);

/* When the part's day has passed. */
int64_t part_day_end(const struct part_summary *s);

/* What is hidden of a part. */
enum { HIDDEN_DELETED = 1, HIDDEN_MUCH = 2 };
/* HIDDEN_DELETED: a deletion of `v` hides records of it.  HIDDEN_MUCH: so much of it is too old
 * that writing it anew pays. */
unsigned hidden_share(const struct part_footer *footer, const struct part_summary *summary,
	const struct visibility *v);
