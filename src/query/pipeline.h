/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Stages made ready for one run: their states, and which fields each has to
 * find.  One thread.
 */
#include "query/stage.h"

struct pipeline;

/* Over the stages from `first` on (NULL: none); `wanted` is what the collector of the rows reads,
 * and is copied.  Never NULL. */
struct pipeline *pipeline_new(
	const struct stage *first, const struct wanted *wanted, struct account *a);
void pipeline_free(struct pipeline *p);
/* 1 to keep the row, as changed, 0 to drop it, or an error (the stages').  For pipelines that make
 * one row of one. */
int pipeline_run(struct pipeline *p, struct pipe_row *row);
/* Whether some stage makes several rows of one: then pipeline_each. */
bool pipeline_spreads(const struct pipeline *p);
/* May it pay to run them twice: at first for what their filters read alone, and whole only for the
 * rows that these keep?  Where a parser need not take out all that is there. */
bool stages_halve(const struct stage *first);
bool stages_spread(const struct stage *first);
/* Each row that comes out goes to `row`, which returns 0 or an error.  Returns 0 or an error. */
int pipeline_each(struct pipeline *p, struct pipe_row *row,
	int (*out)(void *ctx, struct pipe_row *row), void *ctx);
/* The columns that the stages read which are run for `behind` wanted at the end. */
unsigned stages_columns(const struct stage *first, const struct wanted *behind);
/* Does none of them have anything to do for that, nor drop a row? */
bool stages_idle(const struct stage *first, const struct wanted *behind);
/* Does it find fields, of which it need not find more than are wanted? */
bool stage_finds(const struct stage *s);
/* What is wanted before `first`, for `behind` wanted at the end. */
struct wanted stages_wanted(const struct stage *first, const struct wanted *behind);
