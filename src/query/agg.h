/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The aggregations of metric queries.  Internal to src/query; one thread.
 * Each fills *out, which it initialises and which is to be finished whatever is
 * returned.
 */
#include "query/matrix.h"
#include "query/window.h"

/* Read the source.  Series are the groups that `grouping` makes of a row's labels: of its stream,
 * its metadata, and what stages made of them. */
int agg_range(struct run *r, const struct range_expr *x, const struct axis *axis,
	const struct grouping *grouping, struct matrix *out, struct error *e);
/* Aggregate `in`, which may be changed on the way. */
int agg_vector(struct run *r, const struct vector_expr *x, struct matrix *in, struct matrix *out,
	struct error *e);
/* topk, bottomk, sort and sort_desc for agg_vector: `in` becomes the answer.  group[i] is the
 * number of the group of series i. */
int agg_rank(const struct vector_expr *x, struct matrix *in, const size_t *group, struct error *e);
/* sort and sort_desc: the order of the series of an instant. */
void agg_sort(struct matrix *m, bool descending);

/*
 * What a series keeps of its samples in a slot, or, for functions that need each of them, of one
 * sample.  How many words there are is the function's.
 */
union word {
	double d;
	int64_t i;
	uint64_t u;
};

struct cell {
	uint64_t slot;
	union word w[];
};

struct cells {
	char *p; /* n of them, `stride` bytes each */
	size_t n, stride;
};

static inline struct cell *cell_at(const struct cells *c, size_t i)
{
	return (struct cell *)(void *)(c->p + i * c->stride);
}

/* The functions that need each sample.  `cells` are by slot, for agg_quantile of {value}, for
 * agg_counter of {time, sequence, value} and by these two.  They fill values[k]. */
int agg_quantile(struct run *r, const struct windows *w, double quantile, const struct cells *cells,
	double *values, struct error *e);
int agg_counter(struct run *r, const struct windows *w, const struct cells *cells, double *values,
	struct error *e);
