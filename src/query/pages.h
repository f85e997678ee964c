/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What servers that are peers say to each other: the question for a page of
 * rows and counts, or for partial aggregates, and the page.  Format: doc/format/scan.md.
 * Pure functions; any thread.
 */
#include "os/instance.h"
#include "query/group.h"
#include "query/query.h"

enum {
	PAGE_ROWS_MAX = 256 << 10,
	PAGE_BYTES_MAX = 8 << 20,    /* of lines and metadata, but for one row that is larger */
	PAGE_COUNTS_MAX = 128 << 10, /* more is ERR_LIMIT: less time is to be asked for then */
	PAGE_STREAMS_MAX = 1 << 20,
	PAGE_WARNINGS_MAX = 16,
	PAGE_IDS_MAX = 512, /* of a question */
	PAGE_BODY_MAX = BATCH_BYTES_MAX + (64 << 20),
	INSTANCE_SIZE = INSTANCE_ID_SIZE,
};

/* The question.  Views. */
struct page_request {
	struct str query;       /* LogQL: of rows that its pipeline drops none is told */
	int64_t from_ns, to_ns; /* half open */
	bool strict;
	bool forward;     /* oldest first, in the order (time, sequence); else newest first */
	bool streams;     /* tell streams with records in that time alone, at least those */
	unsigned columns; /* of SCAN_BODY, SCAN_META, SCAN_TEMPLATE; the last is of counts */
	bool counts;      /* tell rows as counts where their metadata does not matter */
	bool counted;     /* leave out the rows that would be: they were told */
	struct scan_buckets buckets;
	uint64_t after_seq, until_seq; /* 0: all */
	bool resume;                   /* only rows strictly behind this one */
	int64_t resume_ns;
	uint64_t resume_seq;
	uint64_t rows, bytes; /* at most, but at least one row */
	bool packed;          /* the page may come compressed */
	/* Not NULL: partial aggregates are asked for in place of rows (collect.h): `query` is a
	 * range aggregation, of series by this grouping, at the steps of a query from start_ns to
	 * end_ns by step_ns, as query_params has them. */
	const struct grouping *grouping;
	int64_t start_ns, end_ns, step_ns;
	/* Only records with one of these as their message_id. */
	const struct str *ids;
	size_t n_ids;
};

/* As a form body. */
void page_request_write(const struct page_request *q, struct buf *out);

/* The answer on its way out: what follows is put in by who makes it. */
struct page_head {
	const char *instance;
	bool more;
	int64_t next_ns; /* where the next page resumes */
	uint64_t next_seq;
	struct scan_stats stats;
	const char *const *warnings;
	size_t n_warnings;
	bool redelivered; /* no partial aggregates: records were delivered again, so rows must be
			   * asked for */
};

/* Each may be empty. */
struct page_payload {
	struct str rows;     /* the bytes of a batch, whose positions are sequences */
	struct str counts;   /* of page_counts_write */
	struct str partials; /* of collection_write */
};

void page_write(struct buf *out, const struct page_head *head, const struct page_payload *payload,
	bool packed); /* append */
/* Append counts; template keys stand in for their templates. */
void page_counts_write(struct buf *out, const struct row_counts *counts);

/* The answer on its way in. */
struct page {
	char instance[INSTANCE_SIZE];
	bool more;
	int64_t next_ns;
	uint64_t next_seq;
	struct scan_stats stats;
	struct str warnings[PAGE_WARNINGS_MAX]; /* views of head */
	size_t n_warnings;
	struct batch *rows; /* NULL: none */
	struct row_counts counts;
	struct str partials; /* for collection_merge, which checks them; a view of text */
	bool redelivered;
	uint64_t bytes; /* what it holds, about */
	/* Private. */
	struct buf head, text;
	struct row_count *list;
	struct str *streams;
	struct template *templates;
	const struct template **template_list;
	size_t n_templates;
};

/* Take the bytes of an answer.  ERR_CORRUPT, ERR_UNSUPPORTED for another version, ERR_LIMIT when
 * what it unpacks to is larger than `limit`.  *out is to be finished whatever is returned. */
int page_read(struct page *out, struct buf *take, size_t limit, struct error *e);
void page_fini(struct page *p); /* a zeroed one is fine */
/* What an answer takes at least while it is read, as its head says; it is not checked yet. */
uint64_t page_bytes(struct str answer);
/* Does the page answer the question: are its rows in order, behind where it resumes, and the next
 * page behind them?  ERR_CORRUPT. */
int page_check(const struct page *p, const struct page_request *q, struct error *e);

/* Are both times in one bucket? */
bool buckets_same(const struct scan_buckets *b, int64_t x_ns, int64_t y_ns);
/* Numbers of the bucket that a time lies in. */
void buckets_of(const struct scan_buckets *b, int64_t ns, int64_t out[2]);

/* Streams and metadata that the amqp input gives its records (doc/input/amqp.md). */
bool amqp_stream(struct str labels);
bool amqp_redelivered(struct str meta);
/* False without one. */
bool amqp_message_id(struct str meta, struct str *out);
