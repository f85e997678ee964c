/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Reading the store: a snapshot, and scans over it.
 *
 * A snapshot holds references to the batches of the head and to the parts at
 * one moment: every record committed up to snapshot_last_seq is seen exactly
 * once.  A scan walks its units (part blocks, head batches) and hands the
 * matching rows of one unit at a time to a callback.
 * Thread rule: a snapshot belongs to one thread at a time.
 */
#include "record/batch.h"

struct line_filter; /* store/lines/filter.h */
struct store;
struct template; /* store/lines/template.h */
struct snapshot;
struct visibility;

/* The rows of one unit that passed time, sequence, stream and filters.  Columns are arrays over all
 * rows of the unit, with values where a row is picked; `pick` lists the n rows that passed. Columns
 * that were not asked for are NULL.  Valid for the call. */
struct rows {
	size_t n;
	const uint32_t *pick;
	const int64_t *timestamp;
	const uint64_t *seq;
	const uint32_t *stream; /* index into streams */
	const struct str *body;
	const struct str *meta; /* canonical labels bytes, empty for none; not detected_level */
	const uint8_t *severity, *flags;
	const uint64_t *position;
	const uint32_t *source;    /* 0, or 1 + index into sources */
	const struct str *streams; /* canonical labels */
	size_t n_streams;
	const struct str *sources; /* source ids */
	size_t n_sources;
	/* SCAN_TEMPLATE: by row, index into templates, or ROWS_NO_TEMPLATE. */
	const uint32_t *template;
	const struct template *const *templates;
	size_t n_templates;
};

#define ROWS_NO_TEMPLATE UINT32_MAX

/* How many rows of a unit passed, told together: rows that are alike in all of these. */
struct row_count {
	uint32_t stream;   /* index into streams */
	uint32_t template; /* index into templates, or ROWS_NO_TEMPLATE */
	uint8_t severity;
	uint8_t level_detected; /* RECORD_LEVEL_DETECTED */
	int64_t min_ns, max_ns; /* the rows lie in here, which lies in one bucket */
	uint64_t rows;
	uint64_t bytes; /* of their lines; told with SCAN_BODY among columns only */
};

struct row_counts {
	size_t n;
	const struct row_count *counts;
	const struct str *streams;
	size_t n_streams;
	const struct template *const *templates;
	size_t n_templates;
};

enum scan_order {
	SCAN_NEWEST_FIRST, /* units by descending newest time */
	SCAN_OLDEST_FIRST, /* units by ascending oldest time */
	SCAN_BY_SEQ,       /* units by ascending first sequence; rows inside still in any order */
};

enum scan_columns {
	SCAN_BODY = 1,
	SCAN_META = 2,
	SCAN_SOURCE = 4,
	SCAN_TEMPLATE = 8, /* head batches find the templates of their lines then */
	SCAN_SEQ = 16,     /* where `counts` is set too */
};                         /* time, stream, severity, flags always; seq unless `counts` is set */

/* CPU time of a thread after which a scan, or a query, counts as long and gives way to what comes
 * in (thread_give_way). */
#define SCAN_LONG_NS 100000000

struct scan_stats {
	uint64_t units, units_read, rows, rows_picked, bytes_read, bytes_raw;
	uint64_t units_counted;  /* told as counts, no row was looked at */
	uint64_t units_excluded; /* a filter ruled out all of their templates */
	uint64_t lines_spelled;  /* lines that were put together, for a filter or the answer */
	uint64_t parts, parts_opened;
	/* Templates of the blocks that filters were asked about, and how many of them the filters
	 * ruled out, or kept whole, by their constant text alone. */
	uint64_t templates, templates_excluded, templates_whole;
};

/* Buckets of time whose edges are two rows of points, edges[i] + k * step_ns for any whole k: times
 * between two neighbouring points are in one bucket.  step_ns 0: all of the scan's time is one. */
struct scan_buckets {
	bool known;
	int64_t step_ns;
	int64_t edges[2]; /* from 0 to step_ns */
};

struct log_expr; /* query/ast.h */

/* What callbacks know and cannot say to a source on another machine.  The store does not look at
 * it.
 */
struct scan_hints {
	/* The query whose rows are asked for, as the callbacks and filters mean it: rows that its
	 * selector or a stage of its pipeline drops need not be given.  NULL: not known. */
	const struct log_expr *log;
	bool strict;                 /* its selector speaks of the labels of streams alone */
	uint64_t enough;             /* most likely so many of the first rows are; 0: not known */
	struct scan_buckets buckets; /* as same_bucket has them */
	int64_t deadline_ns;         /* monotonic; 0: none */
};

struct scan {
	struct str tenant;
	/* Half open.  A callback may narrow it while the scan goes on: for the units that follow.
	 */
	int64_t from_ns, to_ns;
	uint64_t after_seq, until_seq; /* (after, until]; until 0 means the snapshot's last */
	struct str source;             /* only records of this source; empty: all */
	struct str contains;           /* one more filter: lines with these bytes; empty: none */
	/* Only rows that all of these keep are given; `columns` need not have SCAN_BODY for it. */
	const struct line_filter *filters;
	size_t n_filters;
	enum scan_order order;
	unsigned columns;
	/* Records that are hidden too: for what the store itself must know. */
	bool hidden_too;
	struct account *account;    /* unit buffers are charged here: ERR_LIMIT */
	const _Atomic bool *cancel; /* may be NULL; set: the scan ends with ERR_CANCELLED */
	void *ctx;                  /* for the callbacks */
	/* Wanted?  Asked once per stream and unit.  NULL: all. */
	bool (*want_stream)(void *ctx, struct str labels);
	/* Asked besides of the streams of units that hold metadata: does it depend on a record's
	 * metadata whether it is wanted?  Then the stream is wanted there, whatever want_stream
	 * says, and the unit comes as rows, with their metadata.  NULL: it never does. */
	bool (*by_row)(void *ctx, struct str labels);
	/* Asked before a unit is read, with its time span; false skips it.  NULL: all. */
	bool (*want_span)(void *ctx, int64_t min_ns, int64_t max_ns);
	/* For counting.  When `counts` is set, rows may be told as counts instead of one by one:
	 * those of a span of time that same_bucket says lies in one bucket.  A unit is told by one
	 * of the two, never both.  Where it is told by template (SCAN_TEMPLATE among columns)
	 * counts are too; else their template is ROWS_NO_TEMPLATE.  With SCAN_META among columns
	 * only units without any metadata are told as counts. */
	bool (*same_bucket)(void *ctx, int64_t min_ns, int64_t max_ns);
	int (*counts)(void *ctx, const struct row_counts *counts, struct error *e);
	/* Asked with the rows that passed, before their lines and metadata are read (body and meta
	 * are NULL): `pick` is rows->pick; move those that are wanted to its front, ascending, and
	 * return how many.  So a query for the newest ten spells ten lines.  NULL: all.  With
	 * SCAN_TEMPLATE the templates are there for the rows of parts, which have them at hand;
	 * those of the head, whose lines cost nothing, come with the rows (template is NULL). */
	size_t (*narrow)(void *ctx, const struct rows *rows, uint32_t *pick);
	/* 0 go on, > 0 end the scan (returned), < 0 error. */
	int (*rows)(void *ctx, const struct rows *rows, struct error *e);
	/* Damage met and stepped over: one sentence each.  NULL: not told. */
	void (*warn)(void *ctx, const char *sentence);
	struct scan_stats stats; /* filled */
	/* While the scan goes on: memory that ingest may be waiting for is held for it. */
	bool holds_head;
	/* The snapshot's, set by snapshot_scan; NULL: nothing is hidden. */
	const struct visibility *visibility;
	struct scan_hints hints;
	/* Of a source over several stores: 1 + the number of the only one that is asked; 0: all. */
	unsigned only;
};

struct snapshot *snapshot_take(struct store *s); /* never NULL */
void snapshot_free(struct snapshot *sn);
/* Before scans that may take long: what is in the head need not stay there for them.  It is read
 * where it is by then: all the same exactly once, but for what retention or a deletion takes away
 * meanwhile.  The other does it when the first scan is through with the head: for scans by
 * SCAN_NEWEST_FIRST that will hardly read more. */
void snapshot_let_head_go(struct snapshot *sn);
void snapshot_let_head_go_once_read(struct snapshot *sn);
uint64_t snapshot_last_seq(const struct snapshot *sn);
int snapshot_scan(struct snapshot *sn, struct scan *scan, struct error *e);
/* Every stream of the tenant with records that may lie in [from, to), possibly more than once. */
int snapshot_streams(struct snapshot *sn, struct str tenant, int64_t from_ns, int64_t to_ns,
	void (*stream)(void *ctx, struct str labels), void *ctx, struct error *e);
