/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A stage of a pipeline: one kind, one file.  A stage sees one row at a time,
 * may change it (a parser adds fields, a format replaces the line) and decides
 * whether it goes on.
 *
 * A new kind is a file stage_x.c with a const struct stage_type, and a case in
 * the parser.  The struct stage is the first member of the kind's own struct,
 * in the query's arena and immutable; what a stage needs while it runs (a JSON
 * parser, a counter) is its state, made by `begin` for one pipeline.
 * Thread rule: stages are immutable; a row and a state belong to their thread.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "query/fields.h"
#include "query/wanted.h"
#include "store/scan.h"

struct query;

struct pipe_row {
	struct fields *fields;
	struct str line; /* a view of the row, or of fields_text */
	int64_t timestamp;
	uint64_t seq;
	size_t *spread; /* by stages that make several rows of one: what that came to for this
			 * record so far, in rows or what costs as much.  NULL: nothing yet */
};

struct stage;

/* The rest of the pipeline, for a stage that makes several rows of one. */
struct pipe_rest {
	int (*run)(void *ctx, struct pipe_row *row); /* as stage_type.run */
	void *ctx;
};

struct stage_type {
	const char *name;
	unsigned columns; /* enum scan_columns it reads */
	/* It may replace the line: a filter behind it speaks of another line than the stored. */
	bool changes_line;
	/* It never drops a row and only adds fields: where nobody wants them it may be left out. */
	bool only_adds;
	/* A parser that may fail: it never drops a row and adds those fields that are wanted, but
	 * where nobody wants any it still says which rows it cannot read. */
	bool may_fail;
	/* Has it nothing to do, where this is wanted behind it?  Then it is left out likewise.
	 * NULL: it has. */
	bool (*idle)(const struct stage *s, const struct wanted *behind);
	/* Turn what is wanted behind the stage into what is wanted before it.  NULL: the same. */
	void (*wants)(const struct stage *s, struct wanted *w);
	/* State for one pipeline; `behind` is what is wanted behind it and stays valid.  NULL:
	 * none. */
	void *(*begin)(const struct stage *s, const struct wanted *behind, struct account *a);
	void (*end)(void *state);
	/* 1 to keep the row, 0 to drop it; ERR_LIMIT when a regex ran out of its budget, ERR_ARG.
	 */
	int (*run)(const struct stage *s, void *state, struct pipe_row *row);
	/* In place of `run`, for a stage that makes several rows: hand each to `rest`.  Around
	 * each, fields_push and fields_pop. */
	int (*spread)(const struct stage *s, void *state, struct pipe_row *row,
		const struct pipe_rest *rest);
	/* The filter of lines that it is, and nothing else: what reads the lines may evaluate it
	 * in its place, where no stage before it changes the line.  Valid as long as s.  NULL for
	 * stages that are none. */
	const struct line_filter *(*filter)(const struct stage *s);
	/* Filters of lines that each row it keeps passes, for what reads the lines to pick by; the
	 * stage still runs.  Returns how many.  NULL: none are known. */
	size_t (*prefilter)(const struct stage *s, const struct line_filter **out);
	/* Append the canonical text, without a blank before or after. */
	void (*format)(const struct stage *s, struct buf *out);
};

struct stage {
	const struct stage_type *type;
	const struct stage *next;
};
