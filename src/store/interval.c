/* SPDX-License-Identifier: Apache-2.0 */
#include "store/interval.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

void interval_fini(struct interval_set *s)
{
	free(s->p);
	*s = (struct interval_set){0};
}

void interval_clear(struct interval_set *s)
{
	s->n = 0;
}

/* Index of the first interval whose end is at or behind v. */
static size_t find(const struct interval_set *s, uint64_t v)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->p[mid].hi < v)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool interval_has(const struct interval_set *s, uint64_t v)
{
	size_t i = find(s, v);

	return i < s->n && s->p[i].lo <= v;
}

void interval_add(struct interval_set *s, uint64_t lo, uint64_t hi)
{
	/* The neighbours that touch count as overlapping: [1,2] and [3,4] become [1,4]. */
	size_t from, to;

	assert(lo <= hi);
	from = s->n > 0 && s->p[s->n - 1].hi < lo ? s->n - (s->p[s->n - 1].hi == lo - 1)
						  : find(s, lo > 0 ? lo - 1 : 0);
	for (to = from; to < s->n && (hi == UINT64_MAX || s->p[to].lo <= hi + 1); to++) {
		lo = s->p[to].lo < lo ? s->p[to].lo : lo;
		hi = s->p[to].hi > hi ? s->p[to].hi : hi;
	}
	if (from == to) {
		if (s->n == s->cap) {
			s->cap = s->cap ? s->cap * 2 : 2;
			s->p = xrealloc(s->p, s->cap * sizeof *s->p);
		}
		memmove(s->p + from + 1, s->p + from, (s->n - from) * sizeof *s->p);
		s->n++;
	} else {
		memmove(s->p + from + 1, s->p + to, (s->n - to) * sizeof *s->p);
		s->n -= to - from - 1;
	}
	s->p[from] = (struct interval){lo, hi};
}

void interval_union(struct interval_set *s, const struct interval_set *other)
{
	for (size_t i = 0; i < other->n; i++)
		interval_add(s, other->p[i].lo, other->p[i].hi);
}
