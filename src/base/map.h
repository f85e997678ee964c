/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A hash map from bytes to a pointer or a number: open addressing, keyed hash.
 * Keys are copied.  One thread at a time.  A zeroed struct is an empty map.
 */
#include "base/str.h"

union map_value {
	void *p;
	uint64_t u;
};

struct map_slot {
	uint64_t hash; /* 0 = empty */
	struct str key;
	union map_value value;
};

struct map {
	struct map_slot *slots;
	size_t n, cap; /* cap is a power of two, or 0 */
	size_t bytes;  /* held by slots and keys, for accounts */
};

void map_fini(struct map *m); /* frees slots and keys, not what values point to */
/* NULL when absent; valid until the next map_put or map_remove. */
union map_value *map_get(const struct map *m, struct str key);
/* The value of `key`, added as {0} when absent (*added says so; may be NULL). */
union map_value *map_put(struct map *m, struct str key, bool *added);
bool map_remove(struct map *m, struct str key);
/* Walk: `size_t at = 0; while ((s = map_next(m, &at)))`; no order; no change while walking. */
const struct map_slot *map_next(const struct map *m, size_t *at);
