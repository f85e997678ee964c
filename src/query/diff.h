/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What changed: the patterns of two windows of time, or of two selectors, laid
 * side by side.  Pure; any thread.
 */
#include "query/patterns.h"

enum diff_change { DIFF_NEW, DIFF_VANISHED, DIFF_CHANGED };

struct diff_entry {
	enum diff_change change;
	const struct pattern *pattern; /* of the later side; of the earlier one when it vanished */
	uint64_t before, now;          /* lines */
	double ratio;                  /* of the rates, now to before; 0 when there is none */
	double score;                  /* how unlikely it is by chance; sorts */
};

struct diff {
	struct diff_entry *entries; /* new, vanished, changed; the surest of each first */
	size_t n;
	size_t n_new, n_vanished, n_changed; /* of all, before the limit */
	size_t n_unchanged;
};

/* A pattern has changed when its rates differ by more than chance explains (p < 0.001).  `limit` is
 * per kind of change; 0: all.  Borrows the patterns, which are best complete (limit 0). */
void diff_make(const struct patterns *before, double before_seconds, const struct patterns *now,
	double now_seconds, size_t limit, struct diff *out);
void diff_fini(struct diff *d);
const char *diff_change_name(enum diff_change c);
