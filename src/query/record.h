/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One record by its sequence number, which is its own in a store for good: no
 * merge changes it.  Threads: as query_run.
 */
#include "query/query.h"

enum { RECORD_CONTEXT_MAX = 1000 };

struct query_record {
	struct query_result self;          /* one entry */
	struct query_result before, after; /* of the same stream, oldest first */
};

/* With up to `context` records of its stream on each side.  `p` gives tenant and budget.
 * ERR_NOT_FOUND, and as query_run.  *out is to be finished only after success. */
struct source;
int source_record(struct source *s, uint64_t seq, uint64_t context, const struct query_params *p,
	struct query_record *out, struct error *e);
int query_record(struct snapshot *sn, uint64_t seq, uint64_t context, const struct query_params *p,
	struct query_record *out, struct error *e);
void query_record_fini(struct query_record *r);
