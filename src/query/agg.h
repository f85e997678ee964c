/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The aggregations of metric queries.  Internal to src/query; one thread. */
#include "query/matrix.h"

/* Read the source and count into *out (initialised here; to be finished whatever is returned).
 * Series are the groups that `grouping` makes of labels, metadata and detected_level. */
int agg_range(struct run *r, const struct range_expr *x, const struct axis *axis,
	const struct grouping *grouping, struct matrix *out, struct error *e);
/* Aggregate `in` into *out (as above); `in` may be changed on the way. */
int agg_vector(struct run *r, const struct vector_expr *x, struct matrix *in, struct matrix *out,
	struct error *e);
