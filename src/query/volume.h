/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * How much there is: bytes and lines of what a log query selects, by labels.
 *
 * Exact, and taken from the counts in the footers of parts: rows are looked at
 * only where a block lies across the border of the window or of a step, and
 * where the query has stages that the store cannot decide.
 * Threads: as query_run.
 */
#include "query/query.h"

enum volume_by {
	VOLUME_TOTAL,  /* the totals alone */
	VOLUME_SERIES, /* by the values of the labels */
	VOLUME_NAMES,  /* by the label that a stream has, whatever its value */
};

enum { VOLUME_NAMES_MAX = 100 };

struct volume_params {
	/* start, end, tenant, budget …; step_ns: of the samples, 0 for one sum over all; limit: the
	 * largest ones, 0 for all. */
	struct query_params query;
	enum volume_by by;
	/* The labels, of streams, and detected_level.  None: those that the query's matchers name;
	 * where there are no matchers, all labels of the streams.  Streams without any of them are
	 * left out. */
	const struct str *names;
	size_t n_names;
};

/* Of all that the query selects. */
struct volume_totals {
	uint64_t streams, units, rows, bytes;
};

/* A vector of bytes, the largest first, with the time of its last nanosecond; with a step a matrix,
 * a sample for each step that has any, with the time at which the step begins: a multiple of the
 * step.  ERR_ARG for a metric query, and as query_run.  *out is to be finished only after success.
 */
int query_volume(const struct query *q, struct snapshot *sn, const struct volume_params *p,
	struct volume_totals *totals, struct query_result *out, struct error *e);
