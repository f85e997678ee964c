/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A log query over a time range, fetched page by page: each line once, however
 * many share a timestamp at a page's border.  Memory is bounded by a page.
 * One thread at a time.
 */
#include "cli/print.h"
#include "cli/remote.h"

struct fetch {
	/* Set by the caller. */
	struct remote *remote;
	struct command_line *cl;
	const char *query;
	int64_t from_ns, until_ns;
	uint64_t limit;        /* lines in all; 0: no limit */
	bool forward;          /* oldest first */
	int64_t step_ns;       /* metric queries; 0: the server's choice */
	const char *after_seq; /* sawlog: records behind this sequence alone; NULL: all */
	const char *cursor;    /* sawlog: begin here, as an answer's "next" says; NULL: all */
	bool whole;            /* sawlog: metadata apart from the labels */
	/* One page of lines, in order; valid for the call.  A negative code ends the fetch. */
	int (*page)(void *ctx, const struct print_entry *list, size_t n);
	/* The answer to a metric query: `result` of `type`.  NULL: such a query is an error. */
	int (*samples)(
		void *ctx, const struct json *j, struct str type, size_t result, struct error *e);
	/* Statistics of each answer: the node "stats", when there is one.  May be NULL. */
	void (*stats)(void *ctx, const struct json *j, size_t at);
	void *ctx;
	/* Set by fetch_run. */
	uint64_t n_lines;
	bool sawlog;       /* the server is one: last_seq is known */
	uint64_t last_seq; /* of the snapshot that the first answer saw */
	bool peers;        /* it answered for others too: last_seq is of its own records alone */
	bool incomplete;   /* lines may be missing; the reason was told on cl->err */
	bool warned;       /* an answer came with a warning, which was told */
};

/* Append the window, limit, direction and step to the path of one request for all of it. */
void fetch_params(const struct fetch *f, struct buf *path);
int fetch_run(struct fetch *f, struct error *e);

/* What the tests make small. */
extern uint64_t fetch_page_lines;
