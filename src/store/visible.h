/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What is hidden: records that are stored still but that no answer may show,
 * since they were deleted or are older than their retention.  A snapshot takes
 * the rules of its moment along; merges then carry them out.
 *
 * Selectors are the query language's: the store knows them only by
 * store_selectors, which the layer above gives it.
 * Thread rule: a visibility is immutable and reference-counted; any thread.
 */
#include "base/error.h"
#include "base/str.h"
#include "base/buf.h"

/* How the store reads selectors ('{app="debug"} |= "token="').  All functions may be called by
 * any thread.  parse: ERR_ARG with a sentence. */
struct store_selectors {
	int (*parse)(void **out, struct str selector, struct error *e);
	void (*free)(void *selector);
	bool (*stream)(const void *selector, struct str labels);
	/* Are there line filters?  Then which lines do they keep (1, 0, ERR_LIMIT)? */
	bool (*has_filters)(const void *selector);
	int (*line)(const void *selector, struct str line);
};

/* Records in [from_ns, to_ns) with sequences up to until_seq are hidden; where `selector` is set,
 * only those whose lines it keeps. */
struct hidden {
	int64_t from_ns, to_ns;
	uint64_t until_seq;
	const void *selector; /* NULL: all lines */
};

struct visibility;

struct visibility *visibility_ref(struct visibility *v);
void visibility_unref(struct visibility *v); /* NULL is fine */
/* Is nothing hidden from anybody?  The common case, asked first. */
bool visibility_clear(const struct visibility *v); /* true for NULL */
/* Append the struct hidden of a stream that overlap a span of time and sequences. */
void visibility_of(const struct visibility *v, struct str tenant, struct str labels, int64_t min_ns,
	int64_t max_ns, uint64_t min_seq, struct buf *out);
/* Does one of them hide the record?  `line` is asked only when a selector looks at lines; see
 * hidden_needs_lines.  A filter that runs out of its budget hides nothing. */
bool hidden_record(const struct visibility *v, const struct hidden *h, size_t n, int64_t timestamp,
	uint64_t seq, struct str line);
bool hidden_needs_lines(const struct hidden *h, size_t n);

/* Making one: for retain.c and tests.  A hide is one rule or deletion, shared by visibilities. */
struct hide;

/* ERR_ARG: the selector cannot be read.  Copies; the functions must outlive it.  `tenant` empty:
 * of all. */
int hide_new(struct hide **out, const struct store_selectors *fns, struct str tenant,
	struct str selector, struct error *e);
void hide_unref(struct hide *h); /* NULL is fine */
bool hide_has_filters(const struct hide *h);
/* Is the stream one of those it is for? */
bool hide_selects(const struct hide *h, struct str tenant, struct str labels);

struct hide_rule {
	struct hide *hide; /* borrowed; selector without line filters */
	int64_t age_ns;
};

struct hide_deletion {
	struct hide *hide; /* borrowed */
	int64_t from_ns, to_ns;
	uint64_t until_seq;
};

/* A stream's records are hidden when they are older than the age of the first rule that matches,
 * or than age_ns (0: none), at now_ns. */
struct visibility_parts {
	const struct store_selectors *selectors;
	int64_t now_ns, age_ns;
	const struct hide_rule *rules;
	size_t n_rules;
	const struct hide_deletion *deletions;
	size_t n_deletions;
};
struct visibility *visibility_new(const struct visibility_parts *parts); /* one reference */
