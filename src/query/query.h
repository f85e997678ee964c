/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * LogQL: parse, plan, run.
 *
 * query_parse makes a tree that is immutable from then on; query_run plans and
 * runs it over a source and hands the result over in one piece, within its
 * memory budget.  Errors of the query itself are ERR_ARG with Loki's words:
 * "parse error at line 1, col 5: syntax error: unexpected …, expecting …".
 * Threads: a parsed query may be shared; a run belongs to its thread.
 */
#include "base/arena.h"
#include "os/clock.h"
#include "record/labels.h"
#include "store/scan.h"

struct query;

int query_parse(struct query **out, struct str text, struct error *e);
void query_free(struct query *q);
bool query_is_log(const struct query *q);      /* a log query; else a metric query */
bool query_is_selector(const struct query *q); /* a log query without stages */
bool query_reshapes(const struct query *q);    /* a log query with uniq, top, sort or context */
/* Refuse what Loki refuses (logql: strict): ERR_ARG for a selector that may match anything, and for
 * what is beyond its language. */
int query_check_strict(const struct query *q, struct error *e);
/* The canonical text of it (as /format_query answers): parsing it gives the same query.  One line,
 * or several where that would be longer than 100 characters. */
void query_format(const struct query *q, struct buf *out);
/* The same in one line, however long. */
void query_format_line(const struct query *q, struct buf *out);

/* A log query's selector and filters alone, for tails: does this record pass?
 * Pure; any thread.  1, 0, or ERR_LIMIT. */
bool query_want_stream(const struct query *q, struct str labels);
int query_want_line(const struct query *q, struct str line);

struct query_params {
	int64_t start_ns, end_ns; /* [start, end); instant: end = start = the time */
	int64_t step_ns;          /* 0: instant */
	uint64_t limit;           /* of a log query; 0: no limit but the budget */
	bool forward;             /* oldest first */
	uint64_t after_seq;       /* beyond Loki: records after this sequence alone */
	uint64_t until_seq;       /* and up to this one; 0: all */
	/* Paging a log query: only entries strictly behind (resume_ns, resume_seq,
	 * resume_nth) in the asked order, which is (time, seq, nth), all descending unless
	 * `forward`. */
	bool resume;
	int64_t resume_ns;
	uint64_t resume_seq;
	uint32_t resume_nth;
	/* Paging a log query with reshapes (query_reshapes), whose entries are in no order that
	 * could be resumed: so many of them are left out. */
	uint64_t skip;
	unsigned only; /* of a source over several stores, as scan.h has it; 0: all */
	struct str tenant;
	struct str stream;       /* of a log query: only of this stream; empty: all */
	bool strict;             /* a selector speaks of the labels of streams alone, as in Loki */
	uint64_t max_series;     /* of a metric query's answer; 0: what the budget holds */
	bool explain;            /* say in the result how it was answered */
	uint64_t memory_bytes;   /* budget of this query; 0: 256 MiB */
	int64_t timeout_ns;      /* 0: 30 s */
	struct account *account; /* charged as well; may be NULL */
	const _Atomic bool *cancel; /* may be NULL */
};

/* One line of a log result; views valid as long as the result. */
struct query_entry {
	int64_t timestamp;
	uint64_t seq;
	uint32_t nth;      /* among the entries that stages made of one record: mostly 0 */
	struct str labels; /* the stream's, as the pipeline left them, canonical */
	struct str stream; /* the labels that the record is stored under */
	struct str meta;   /* structured metadata with detected_level, canonical; may be empty */
	struct str parsed; /* what the pipeline found in the line, canonical; may be empty */
	struct str line;
};

struct query_sample {
	int64_t timestamp; /* ns */
	double value;
};

struct query_series {
	struct str labels;
	struct query_sample *samples; /* by time */
	size_t n;
};

/* A scalar is one series without labels and with one sample. */
enum result_type { RESULT_STREAMS, RESULT_MATRIX, RESULT_VECTOR, RESULT_SCALAR };

struct query_result {
	enum result_type type;
	struct query_entry *entries; /* RESULT_STREAMS: in the asked direction, ties by seq */
	size_t n_entries;
	/* By labels, or as sort() has them; a vector has one sample each. */
	struct query_series *series;
	size_t n_series;
	uint64_t last_seq; /* of the snapshot it was run over */
	struct scan_stats stats;
	int64_t took_ns;
	const char **warnings;
	size_t n_warnings;
	bool reshaped; /* entries are in no order of time: pages begin at an index, params.skip */
	bool spread;   /* some record may have made several entries */
	const char **explained; /* sentences, where params asked for them */
	size_t n_explained;
	struct arena arena; /* holds all of it, but for entries and their lines */
	/* The result's own. */
	struct account *account; /* what is held is charged here, and to the caller's above */
	size_t cap_entries;
};

/* Runs over a snapshot of the store.  ERR_ARG, ERR_LIMIT (budget), ERR_TIMEOUT,
 * ERR_CANCELLED.  *out is to be finished only after success. */
int query_run(const struct query *q, struct snapshot *sn, const struct query_params *p,
	struct query_result *out, struct error *e);
void query_result_fini(struct query_result *r);
