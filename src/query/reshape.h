/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What is done with the lines of a log query at last: uniq, top, sort, context.
 * Internal to src/query; one thread.
 */
#include "query/run.h"

enum {
	RESHAPE_HITS_MAX = 200, /* lines that `context` shows the neighbours of */
};

/* Entries whose views are heap blocks of their own, charged to the query (entry_hold); the list's
 * own memory is charged too. */
struct entries {
	struct query_entry *list;
	size_t n, cap;
};

/* Room for one more. */
int entries_grow(struct run *run, struct entries *l, struct error *e);
/* Copy what the entry views, but its labels, into a block that it owns.  On failure it stays. */
int entry_hold(struct run *run, struct query_entry *x, struct error *e);
void entry_drop(struct run *run, struct query_entry *x);
/* Drop all but the entries [from, to). */
void entries_cut(struct run *run, struct entries *l, size_t from, size_t to);
/* Into the asked order: time, sequence and number. */
int entries_sort(struct run *run, struct entries *l, bool forward, struct error *e);
/* The value that counts under the name: parsed, metadata, stream; empty when there is none. */
struct str entry_value(const struct query_entry *x, struct str name);

/* uniq and top: entries that are alike are one, as they come. */
struct reshape_group;

struct reshape_group *reshape_group_new(
	struct run *run, const struct reshape *shape, struct entries *out);
void reshape_group_free(struct reshape_group *g);
/* Views, but for the labels, which stay as long as the result. */
int reshape_group_add(struct reshape_group *g, const struct query_entry *x, struct error *e);
/* Bring the list into its order; with top, cut it and write the counts. */
int reshape_group_end(struct reshape_group *g, struct error *e);

int reshape_sort(struct run *run, const struct reshape *shape, struct entries *l, struct error *e);
int reshape_context(
	struct run *run, const struct reshape *shape, struct entries *l, struct error *e);

/* All from `first` on, over a list in the asked order. */
int reshape_all(struct run *run, const struct reshape *first, struct entries *l, struct error *e);
