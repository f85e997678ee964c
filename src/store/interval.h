/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A set of 64-bit numbers as sorted, disjoint, non-touching intervals.  Made
 * for numbers that mostly come in order: adding behind the last is O(1).
 * One thread at a time.  A zeroed struct is the empty set.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct interval {
	uint64_t lo, hi; /* both belong to it */
};

struct interval_set {
	struct interval *p;
	size_t n, cap;
};

void interval_fini(struct interval_set *s);
void interval_clear(struct interval_set *s);
void interval_add(struct interval_set *s, uint64_t lo, uint64_t hi);
bool interval_has(const struct interval_set *s, uint64_t v);
void interval_union(struct interval_set *s, const struct interval_set *other);
