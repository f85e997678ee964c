/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A source of records: what a query runs over.  The local one is a snapshot of
 * the store; others may stand for a remote server or plain files.  The
 * functions promise what store/scan.h promises of the snapshot's.
 */
#include "query/patterns.h"
#include "query/stream.h"
#include "query/volume.h"

struct collection; /* query/collect.h */

struct source {
	uint64_t (*last_seq)(struct source *s);
	int (*scan)(struct source *s, struct scan *scan, struct error *e);
	int (*streams)(struct source *s, struct str tenant, int64_t from_ns, int64_t to_ns,
		void (*stream)(void *ctx, struct str labels), void *ctx, struct error *e);
	/* Gather the samples of an empty collection in a better way than through a scan: 0; or 1,
	 * whatever it holds then, where a scan must do.  NULL: there is none. */
	int (*gather)(struct source *s, struct collection *c, struct error *e);
};

/* As query_run and the functions of stream.h, over any source. */
int source_query(struct source *s, const struct query *q, const struct query_params *p,
	struct query_result *out, struct error *e);
int source_patterns(struct source *s, const struct query *q, const struct patterns_params *p,
	struct patterns *out, struct error *e);
int source_volume(struct source *s, const struct query *q, const struct volume_params *p,
	struct volume_totals *totals, struct query_result *out, struct error *e);
int source_label_names(struct source *s, struct str tenant, int64_t from_ns, int64_t to_ns,
	const struct selectors *match, void (*emit)(void *ctx, struct str name), void *ctx,
	struct error *e);
int source_label_values(struct source *s, struct str tenant, int64_t from_ns, int64_t to_ns,
	const struct selectors *match, struct str name, void (*emit)(void *ctx, struct str value),
	void *ctx, struct error *e);
int source_series(struct source *s, struct str tenant, int64_t from_ns, int64_t to_ns,
	const struct selectors *match, void (*emit)(void *ctx, struct str labels), void *ctx,
	struct error *e);
