/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A log query over records as they arrive, for tails: its selector and its
 * whole pipeline.  One thread.
 */
#include "query/query.h"

struct query_tail;

/* Borrows q and charges what it holds to `a` by force (NULL: not).  ERR_ARG for a query that only
 * all lines together can answer: a metric, or one with uniq, top, sort or context. */
int query_tail_new(struct query_tail **out, const struct query *q, bool strict, struct account *a,
	struct error *e);
void query_tail_free(struct query_tail *t); /* NULL is fine */
/* The rows that were given before are gone: to be called for each unit of a scan or cursor. */
void query_tail_unit(struct query_tail *t, const struct rows *rows);
/* Hand each entry that comes out of row i, which needs its line and metadata, to `each`; an entry's
 * views are valid for the call.  What `each` returns when that is not 0 ends it and is returned.  A
 * row over which a regex runs out of its budget has no entries. */
typedef int tail_entry(void *ctx, const struct query_entry *x);
int query_tail_row(
	struct query_tail *t, const struct rows *rows, uint32_t i, tail_entry *each, void *ctx);
