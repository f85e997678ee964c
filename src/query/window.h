/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The windows of a range aggregation: step k looks at (t_k - range, t_k], where
 * t_k is the k-th moment of the axis, less the offset.
 *
 * All edges of windows cut time into slots; a time lies in the windows of the
 * steps lo..hi, and all times of one slot in the same.  lo grows by one at each
 * end of a window, hi at each beginning, so lo + hi numbers the slots in order
 * of time (with holes), and a window is a run of slots.
 * Internal to src/query; one thread.
 */
#include "query/plan.h"

struct windows {
	/* Fixed. */
	struct axis axis;
	int64_t range_ns, first_ns; /* first_ns is t_0 */
	/* What window_find found: of any time in [from_ns, to_ns). */
	int64_t from_ns, to_ns;
	bool inside; /* of any window */
	size_t lo, hi;
};

void windows_init(struct windows *w, const struct range_expr *x, const struct axis *axis);
/* Fill in the above for time s; begin with nothing found. */
void windows_find(struct windows *w, int64_t s);

/* Times between two edges of windows are in one bucket. */
struct scan_buckets windows_buckets(const struct windows *w);

static inline void window_of(struct windows *w, int64_t s)
{
	if (s < w->from_ns || s >= w->to_ns)
		windows_find(w, s);
}

static inline size_t window_slot(const struct windows *w)
{
	return w->lo + w->hi;
}

/* The slots first..last of step k. */
struct slots {
	size_t first, last;
};
struct slots window_slots(const struct windows *w, size_t k);
/* The end of the window of step k. */
int64_t window_end(const struct windows *w, size_t k);
