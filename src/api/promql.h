/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * PromQL as log-cache's clients use it: over the counters, gauges and timers of
 * a source.  Selectors with all four matchers, ranges and offset; rate,
 * increase, delta and the _over_time functions; abs, ceil, floor, round; sum,
 * avg, min, max and count by or without labels; arithmetic and comparisons.
 * What is beyond that is refused by name.
 *
 * Values are those of Prometheus: an instant vector looks back five minutes,
 * rates are extrapolated to the ends of their range.  Source: Prometheus'
 * documentation of its query language.
 * Internal to src/api.  One thread.
 */
#include "base/arena.h"
#include "codec/regex.h"
#include "record/labels.h"

enum {
	PROMQL_TEXT_MAX = 16 << 10,
	PROMQL_DEPTH_MAX = 64,
	PROMQL_SELECTORS_MAX = 32,
	PROMQL_REGEXES_MAX = 64,
	PROMQL_POINTS_MAX = 11000,
};

struct promql_matcher {
	struct str name, value;
	bool negative;
	struct regex *regex; /* NULL: the text itself */
};

struct promql_sample {
	int64_t timestamp; /* ns */
	double value;
};

struct promql_series {
	struct str labels;             /* canonical */
	struct promql_sample *samples; /* by time */
	size_t n;
};

struct promql_selector {
	struct promql_matcher *matchers; /* those of __name__ too */
	size_t n;
	int64_t range_ns; /* 0: an instant vector */
	int64_t offset_ns;
	/* What it selects, for the run: set by the caller, who owns it. */
	const struct promql_series *series;
	size_t n_series;
};

struct promql;

/* ERR_ARG with the sentence, ERR_LIMIT. */
int promql_parse(struct promql **out, struct str text, struct error *e);
void promql_free(struct promql *q); /* NULL is fine */
/* Its selectors, for their samples to be found; valid as long as q. */
struct promql_selector *promql_selectors(struct promql *q, size_t *n);
/* The times that a selector needs samples of, (from, to], for results from start to end. */
void promql_window(const struct promql_selector *s, int64_t start_ns, int64_t end_ns,
	int64_t *from_ns, int64_t *to_ns);
/* Does a matcher of `name` (or its absence) want this value? */
bool promql_wants(const struct promql_selector *s, struct str name, struct str value);

struct promql_result {
	bool scalar; /* one series without labels */
	struct promql_series *series;
	size_t n;
	struct arena arena;
};

/* Values at start, start + step, … up to end; step 0: at start alone.  *out is to be finished only
 * after success.  ERR_LIMIT, ERR_ARG, ERR_CANCELLED. */
int promql_run(const struct promql *q, int64_t start_ns, int64_t end_ns, int64_t step_ns,
	struct account *account, const _Atomic bool *cancel, struct promql_result *out,
	struct error *e);
void promql_result_fini(struct promql_result *r);
