/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a reader is to a scan this is to a cursor: the same selection, pipeline
 * and entries, without budget and deadline.  Decisions about streams are kept,
 * as a tail sees the same few streams for as long as it lives.
 */
#include "query/tail.h"

#include <stdlib.h>

#include "base/map.h"
#include "query/entry.h"
#include "query/pipeline.h"
#include "query/select.h"

enum { MEMO_BYTES = 64 << 10 };

struct query_tail {
	const struct log_expr *log;
	bool strict;
	struct account *account;
	struct fields *fields;
	struct pipeline *pipeline;
	struct entry_maker maker;
	struct map memo; /* of enum selected, by stream */
	/* The row that is being run. */
	const struct rows *rows;
	uint32_t row, nth;
	tail_entry *each;
	void *ctx;
	int ended; /* what `each` returned */
};

int query_tail_new(struct query_tail **out, const struct query *q, bool strict, struct account *a,
	struct error *e)
{
	static const struct wanted all = {.all = true, .line = true};
	struct query_tail *t;

	if (!query_is_log(q))
		return error_set(
			e, ERR_ARG, "tail follows log queries alone: a metric query has no lines");
	if (query_reshapes(q))
		return error_set(e, ERR_ARG,
			"uniq, top, sort and context need all lines: a tail, which has no end, "
			"cannot have them");
	t = xcalloc(1, sizeof *t);
	*t = (struct query_tail){.log = &q->root->log, .strict = strict, .account = a};
	t->fields = fields_new(a);
	t->pipeline = pipeline_new(t->log->stages, &all, a);
	*out = t;
	return 0;
}

void query_tail_free(struct query_tail *t)
{
	if (!t)
		return;
	pipeline_free(t->pipeline);
	fields_free(t->fields);
	entry_maker_fini(&t->maker);
	map_fini(&t->memo);
	free(t);
}

void query_tail_unit(struct query_tail *t, const struct rows *rows)
{
	t->rows = rows;
	entry_maker_unit(&t->maker);
}

static int selected(struct query_tail *t, struct str labels)
{
	const union map_value *known = map_get(&t->memo, labels);
	int choice;

	if (known)
		return (int)known->u;
	/* A stream that a regex cannot decide about is none that was asked for. */
	if ((choice = select_stream(t->log, labels, t->strict)) < 0)
		choice = SELECT_NONE;
	if (t->memo.bytes > MEMO_BYTES)
		map_fini(&t->memo);
	map_put(&t->memo, labels, NULL)->u = (uint64_t)choice;
	return choice;
}

static int on_row(void *ctx, struct pipe_row *row)
{
	struct query_tail *t = ctx;
	struct query_entry x;

	if (t->ended)
		return 0;
	entry_make(&t->maker, t->rows, t->row, row, &x);
	x.nth = t->nth++;
	t->ended = t->each(t->ctx, &x);
	return 0;
}

int query_tail_row(
	struct query_tail *t, const struct rows *rows, uint32_t i, tail_entry *each, void *ctx)
{
	struct str labels = rows->streams[rows->stream[i]];
	int choice = selected(t, labels);
	struct pipe_row row = {
		.fields = t->fields,
		.line = rows->body[i],
		.timestamp = rows->timestamp[i],
		.seq = rows->seq[i],
	};

	if (choice == SELECT_NONE)
		return 0;
	if (choice & (SELECT_META | SELECT_LEVEL) &&
		select_record(t->log, labels, rows->meta[i], entry_level(rows, i)) != 1)
		return 0;
	fields_begin(t->fields, labels, rows->meta[i], entry_level(rows, i));
	t->rows = rows;
	t->row = i;
	t->nth = 0;
	t->each = each;
	t->ctx = ctx;
	t->ended = 0;
	pipeline_each(t->pipeline, &row, on_row, t);
	return t->ended;
}
