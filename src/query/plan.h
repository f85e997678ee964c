/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a query asks of the source: the time, the columns, the order, and which
 * lines.  Pure.
 */
#include "query/ast.h"
#include "query/query.h"

enum {
	QUERY_POINTS_MAX = 11000, /* steps of a range query, as Loki counts them */
};

/* The moments at which a metric query is evaluated: start, start + step, … */
struct axis {
	int64_t start_ns, step_ns; /* step > 0 */
	size_t n;
	bool instant;
};

struct plan {
	const struct log_expr *log;
	int64_t from_ns, to_ns; /* half open */
	unsigned columns;       /* for the stages below and for what collects the rows */
	enum scan_order order;
	/* The filters that the source evaluates, and the stages behind them, which run here. */
	const struct line_filter *filters;
	size_t n_filters;
	const struct stage *stages;
	struct wanted wanted; /* what the collector reads of the rows that come out */
	bool remember;        /* deciding about a stream costs more than looking the decision up */
};

/* ERR_ARG for more than QUERY_POINTS_MAX steps. */
int plan_axis(struct axis *out, const struct query_params *p, struct error *e);
static inline int64_t axis_time(const struct axis *a, size_t k)
{
	/* The product may pass int64 where the sum does not. */
	return (int64_t)((uint64_t)a->start_ns + k * (uint64_t)a->step_ns);
}

/* The filters lie in the arena. */
struct plan plan_log(const struct log_expr *log, const struct query_params *p, struct arena *a);
/* For counting the lines as they are stored, by `columns`: stages only choose among them. */
struct plan plan_count(const struct log_expr *log, const struct query_params *p, unsigned columns,
	struct arena *a);
/* Series are told apart by the labels that `grouping` keeps.  Wanted are those, what the unwrap
 * takes, and what the filters behind it read. */
struct plan plan_range(const struct range_expr *x, const struct axis *axis,
	const struct grouping *grouping, struct arena *a);
/* The grouping that counting may apply at once in place of `v` over a range: summing sums is
 * counting in larger groups, the largest of largest values the largest of a larger group.  NULL
 * when v is no such thing. */
const struct grouping *plan_merged(const struct vector_expr *v);
/* a + b, kept within int64. */
int64_t plan_add(int64_t a, int64_t b);
