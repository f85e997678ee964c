/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One run of one query: its budget, its deadline, its warnings.  Internal to
 * src/query; one thread.
 */
#include "base/map.h"
#include "query/pipeline.h"
#include "query/plan.h"
#include "query/source.h"

enum { WARNINGS_MAX = 10 }; /* in an answer, besides how many more there are */

struct run {
	/* Fixed. */
	const struct query *query;
	const struct query_params *params;
	struct source *source;
	struct query_result *out;
	int64_t deadline_ns; /* monotonic */
	int64_t cpu_ns;      /* of the thread, when the run began */
	/* Moving. */
	unsigned ticks;
	const struct scan *scan; /* while one goes on */
	bool gave_way;           /* it takes long, and said so to its thread's pool */
	char *warnings[WARNINGS_MAX];
	size_t n_warnings;
	uint64_t n_more_warnings; /* that are counted alone */
	struct map told;          /* all of them */
	/* For explaining it: what was last asked of the source, and the time that was spent in
	 * the callbacks of its scans. */
	struct plan plan;
	bool may_count;
	int64_t scan_ns, rows_ns;
};

/* ERR_CANCELLED, ERR_TIMEOUT, or 0. */
int run_check(struct run *r, struct error *e);
/* The same, but looks only every so often: for each row. */
int run_tick(struct run *r, struct error *e);
/* Charge n bytes to the query, or ERR_LIMIT with the sentence. */
int run_charge(struct run *r, uint64_t n, struct error *e);
void run_release(struct run *r, uint64_t n);
/* Tell something of the answer; each sentence once, and few of a kind. */
void run_warn(struct run *r, const char *sentence);
void run_add_stats(struct scan_stats *to, const struct scan_stats *from);
/* Is there room for n bytes in the result's arena? */
int run_reserve(struct run *r, uint64_t n, struct error *e);
/* The sentence for a budget that ran out, whoever found that out. */
int run_over_budget(struct run *r, struct error *e);

/*
 * A reader walks the records that a plan asks for and hands whole units on.
 * It decides about streams, once each, and runs the stages.
 */
struct reader {
	struct run *run;
	const struct plan *plan;
	/* The collector's.  want_span may be NULL. */
	void *ctx;
	bool (*want_span)(void *ctx, int64_t min_ns, int64_t max_ns);
	int (*unit)(void *ctx, const struct rows *rows, struct error *e);
	/* As store/scan.h has them; may be NULL.  counts needs same_bucket, and is used only when
	 * no stage has to see the rows. */
	size_t (*narrow)(void *ctx, const struct rows *rows, uint32_t *pick);
	bool (*same_bucket)(void *ctx, int64_t min_ns, int64_t max_ns);
	int (*counts)(void *ctx, const struct row_counts *counts, struct error *e);
	bool (*want_stream)(void *ctx, struct str labels); /* besides the matchers */
	/* Streams whose units are to come as rows with their metadata; may be NULL. */
	bool (*by_row)(void *ctx, struct str labels);
	/* For sources on other machines: the buckets of same_bucket, and how many rows are most
	 * likely enough. */
	struct scan_buckets buckets;
	uint64_t enough;
	/* The reader's own. */
	struct scan *scan; /* while it goes on */
	struct fields *fields;
	struct pipeline *pipeline;
	/* The same stages for what their filters read alone, where all fields are wanted of the
	 * rows that they keep; NULL: not worth it. */
	struct pipeline *first;
	uint32_t n_first, n_first_kept; /* of late */
	struct map memo;                /* of enum selected, by stream */
	uint64_t memo_limit;
	bool open;     /* of some stream the selector decides row by row */
	bool may_drop; /* for narrow: reader_keeps may yet drop rows of this unit */
	/* By stream of the unit, valid where marked with its number. */
	uint8_t *choices;
	uint32_t *choice_marks;
	size_t choice_cap;
	uint32_t unit_number;
	int failed; /* by a callback; the sentence is in `error` */
	struct error error;
};

int reader_run(struct reader *r, struct error *e);
/* For callbacks: units that follow need not give rows outside of [from, to). */
void reader_closer(struct reader *r, int64_t from_ns, int64_t to_ns);
/* Run the stages over row i of the unit: 1 when they keep it, 0 when not, or an error.  *out (NULL:
 * not asked for) is the row as they left it, with its fields; both are valid until the next call.
 * Not for pipelines that spread.  Asks run_tick too. */
int reader_keeps(struct reader *r, const struct rows *rows, uint32_t i, struct pipe_row *out,
	struct error *e);
/* The same for any pipeline: each row that comes out goes to `each`, which returns 0 or an error.
 * Returns 0 or an error. */
typedef int reader_row(void *ctx, struct pipe_row *row, struct error *e);
int reader_each(struct reader *r, const struct rows *rows, uint32_t i, reader_row *each, void *ctx,
	struct error *e);

/* What an entry's block is charged at. */
uint64_t query_entry_bytes(const struct query_entry *x);

/* A whole run over a source: budget, deadline, warnings and all; `body` fills run->out. */
int run_whole(struct source *s, const struct query *q, const struct query_params *p,
	int (*body)(struct run *r, void *ctx, struct error *e), void *ctx, struct query_result *out,
	struct error *e);

/* Fill run->out; entries or series. */
int run_log(struct run *r, struct error *e);
int run_metric(struct run *r, struct error *e);
