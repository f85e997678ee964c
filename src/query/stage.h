/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A stage of a pipeline: one kind, one file.  A stage sees one row at a time,
 * may change it (a parser adds labels, a format replaces the line) and decides
 * whether it goes on.
 *
 * A new kind is a file stage_x.c with a const struct stage_type, and a case in
 * the parser.  The struct stage is the first member of the kind's own struct,
 * in the query's arena; what `run` makes must outlive the row only where it
 * says so.
 * Thread rule: stages are immutable; a row belongs to its thread.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "store/scan.h"

struct pipe_row {
	struct str labels; /* of the stream, canonical */
	struct str meta;   /* structured metadata, canonical */
	struct str line;
};

struct stage;

struct stage_type {
	const char *name;
	unsigned columns; /* enum scan_columns it reads */
	/* 1 to keep the row, 0 to drop it, ERR_LIMIT when a regex ran out of its budget. */
	int (*run)(const struct stage *s, struct pipe_row *row);
	/* The filter of lines that it is, and nothing else: what reads the lines may evaluate it
	 * in its place, where no stage before it changes the line.  Valid as long as s.  NULL for
	 * stages that are none. */
	const struct line_filter *(*filter)(const struct stage *s);
	/* Append the canonical text, without a blank before or after. */
	void (*format)(const struct stage *s, struct buf *out);
};

struct stage {
	const struct stage_type *type;
	const struct stage *next;
};

/* All stages from s on, in order; NULL keeps everything. */
static inline int stages_run(const struct stage *s, struct pipe_row *row)
{
	int r = 1;

	for (; s && r == 1; s = s->next)
		r = s->type->run(s, row);
	return r;
}

static inline unsigned stages_columns(const struct stage *s)
{
	unsigned columns = 0;

	for (; s; s = s->next)
		columns |= s->type->columns;
	return columns;
}
