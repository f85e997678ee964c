/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The samples of a range aggregation: reads the source, runs the stages, takes
 * the value that unwrap names, and tells which series and which slot each row
 * belongs to.  What is made of the samples is the collector's.
 * Internal to src/query; one thread.
 */
#include "query/series_index.h"
#include "query/window.h"

struct sample {
	int64_t timestamp;
	uint64_t seq;
	double value;  /* of the unwrap, or 1 */
	int64_t bytes; /* of the line */
};

struct gather {
	/* The collector's.  Samples come in any order; windows.lo and windows.hi are the steps of
	 * this one. */
	void *ctx;
	int (*sample)(void *ctx, uint32_t series, const struct sample *s, struct error *e);
	/* Rows that were counted already, all of them in the windows lo..hi.  NULL: every row is
	 * wanted. */
	int (*counted)(void *ctx, uint32_t series, const struct row_count *c, struct error *e);
	/* Records that a broker delivered again are not to be gathered: the first one ends it, as
	 * nobody here knows which of them another store has too. */
	bool alone;
	bool redelivered; /* there was one */
	/* Fixed, from gather_init on. */
	struct run *run;
	const struct range_expr *expr;
	struct windows windows;
	struct series_index series;
	/* Private. */
	struct plan plan;
	struct reader reader;
	struct pipeline *after;
	bool by_row; /* no stage sees the rows, and no unwrap */
	const struct rows *rows;
	uint32_t at;
	uint32_t broker_stream; /* of this unit, as far as it was looked up: */
	bool is_broker;
};

/* Borrows all.  Rows are told apart by `grouping`. */
void gather_init(struct gather *g, struct run *run, const struct range_expr *x,
	const struct axis *axis, const struct grouping *grouping);
int gather_run(struct gather *g, struct error *e);
void gather_fini(struct gather *g);
