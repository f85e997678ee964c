/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Label names, label values and series of the streams in a time range.
 * Results are sorted, each once.  Threads: as query_run.
 */
#include "query/query.h"

/* Does a stream pass at least one of the selectors?  n == 0: all do. */
struct selectors {
	struct query **queries; /* log queries without stages */
	size_t n;
	struct account *account; /* charged for what is held meanwhile; NULL: 64 MiB at most */
};

/* Append each once, sorted, through emit.  ERR_LIMIT when they are too many for the memory. */
int streams_label_names(struct snapshot *sn, struct str tenant, int64_t from_ns, int64_t to_ns,
	const struct selectors *match, void (*emit)(void *ctx, struct str name), void *ctx,
	struct error *e);
int streams_label_values(struct snapshot *sn, struct str tenant, int64_t from_ns, int64_t to_ns,
	const struct selectors *match, struct str name, void (*emit)(void *ctx, struct str value),
	void *ctx, struct error *e);
int streams_series(struct snapshot *sn, struct str tenant, int64_t from_ns, int64_t to_ns,
	const struct selectors *match, void (*emit)(void *ctx, struct str labels), void *ctx,
	struct error *e);
