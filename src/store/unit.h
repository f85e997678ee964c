/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One unit of a scan on its way to the callback: its columns, which rows pass,
 * and what its memory is charged to.  For the head and the engines.
 *
 * A column gets its memory when it is asked for: a block has up to 128 Ki rows,
 * and most scans look at a few columns.
 * One thread at a time.
 */
#include "store/lines/filter.h"
#include "store/scan.h"
#include "store/visible.h"

/* Of a unit; the first seven are 1 << enum part_column. */
enum unit_columns {
	UNIT_TIME = 1,
	UNIT_SEQ = 2,
	UNIT_STREAM = 4,
	UNIT_SEVERITY = 8,
	UNIT_FLAGS = 16,
	UNIT_META = 32,
	UNIT_SOURCE = 64, /* source and position */
	UNIT_BODY = 128,
	UNIT_PICK = 256,
	UNIT_TEMPLATE = 512,
	UNIT_ALL = 1023, /* all of these */
};

struct unit {
	struct account *account; /* may be NULL */
	size_t cap;              /* rows the columns have room for */
	uint64_t charged;
	/* Each NULL until it is asked for. */
	int64_t *timestamp;
	uint64_t *seq;
	struct str *body, *meta;
	uint64_t *position;
	uint32_t *stream, *source, *pick, *template;
	uint8_t *severity, *flags;
};

/* A zeroed unit with its account set is empty. */
void unit_fini(struct unit *u);
/* Room for n rows in these columns (enum unit_columns): ERR_LIMIT when the account has none.  What
 * the columns hold stays as long as n does not grow. */
int unit_need(struct unit *u, size_t n, unsigned columns, struct error *e);
/* The same of all columns. */
int unit_reserve(struct unit *u, size_t n, struct error *e);
/* Records from, from + 1, … of a batch become the first n rows; there is room for them. */
void unit_fill(struct unit *u, const struct batch *b, size_t from, size_t n);

/* What rows must fulfil before their lines are looked at. */
struct unit_limits {
	int64_t from_ns, to_ns;        /* half open */
	uint64_t after_seq, until_seq; /* (after, until] */
	const uint8_t *wanted;         /* by stream: pass when not 0; NULL: all */
	uint32_t source;               /* 0 for any */
	unsigned skip; /* enum unit_columns that need not be looked at: all rows pass there */
};
/* Put the numbers of the rows among the first n that pass into pick; returns how many. */
size_t unit_pick(struct unit *u, size_t n, const struct unit_limits *limits);
/* Keep of the n_picked rows those whose line contains these bytes; returns how many.  Lines must
 * lie in memory by ascending row, as those of a batch do. */
size_t unit_keep(struct unit *u, size_t n_picked, struct str text);
/* Keep of the n picked rows those whose line the filters keep; *n is how many.  Lines must lie
 * as for unit_keep.  ERR_LIMIT: an expression ran out of steps. */
int unit_filter(struct unit *u, size_t *n, const struct line_filter *filters, size_t n_filters,
	struct error *e);
/* Records of one stream that are hidden, if any; `at` and `n` tell which of an array. */
struct unit_hidden {
	uint32_t stream;
	uint32_t at, n;
};
/* Append what is hidden of a stream, if anything: to `hidden` and, one struct unit_hidden, to
 * `hidden_of`.  Streams are asked for in ascending order. */
void unit_find_hidden(const struct visibility *v, struct str tenant, struct str labels,
	uint32_t stream, int64_t min_ns, int64_t max_ns, uint64_t min_seq, struct buf *hidden,
	struct buf *hidden_of);
/* Leave hidden rows out.  Time, seq and stream must be there; the lines when `lines`, which
 * hidden_needs_lines asks for. */
size_t unit_hide(struct unit *u, size_t n, const struct visibility *v, const struct buf *hidden,
	const struct buf *hidden_of, bool lines);
/* The picked rows with these columns of the unit (enum unit_columns), the others are NULL; the
 * caller adds streams, sources and templates. */
struct rows unit_rows(const struct unit *u, size_t n_picked, unsigned columns);

/* Does a unit with these spans overlap what the scan asks for? */
bool unit_overlaps(const struct scan *scan, uint64_t until_seq, int64_t min_ns, int64_t max_ns,
	uint64_t min_seq, uint64_t max_seq);
/* Asked right before a unit is read: scan->want_span, and the cancel flag (ERR_CANCELLED). */
int unit_wanted(const struct scan *scan, int64_t min_ns, int64_t max_ns, struct error *e);
/* The key by which units are ordered: the smallest comes first. */
uint64_t unit_key(enum scan_order order, int64_t min_ns, int64_t max_ns, uint64_t min_seq);
/* Charge n bytes to the scan: ERR_LIMIT with a sentence. */
int scan_charge(struct account *a, uint64_t n, struct error *e);
/* Tell of damage that was stepped over. */
void scan_warn(const struct scan *scan, const char *fmt, ...) PRINTF(2, 3);
