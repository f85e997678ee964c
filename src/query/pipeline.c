/* SPDX-License-Identifier: Apache-2.0 */
#include "query/pipeline.h"

#include <stdlib.h>

#include "base/memory.h"

struct step {
	const struct stage *stage;
	void *state;
	struct wanted behind;
};

struct pipeline {
	struct step *steps;
	size_t n;
	bool spreads;
};

struct wanted stages_wanted(const struct stage *first, const struct wanted *behind)
{
	struct wanted w;

	if (!first)
		return *behind;
	w = stages_wanted(first->next, behind);
	if (first->type->wants)
		first->type->wants(first, &w);
	return w;
}

/* May the stage be left out, where this is wanted behind it? */
static bool is_idle(const struct stage *s, const struct wanted *behind)
{
	if (s->type->idle)
		return s->type->idle(s, behind);
	return s->type->only_adds && !behind->all && behind->n == 0;
}

unsigned stages_columns(const struct stage *first, const struct wanted *behind)
{
	unsigned columns = 0;

	for (const struct stage *s = first; s; s = s->next) {
		struct wanted w = stages_wanted(s->next, behind);
		/* All but filters of lines may meet a field whatever it is of. */
		if (!is_idle(s, &w))
			columns |= s->type->columns | (s->type->filter ? 0u : SCAN_META);
	}
	return columns;
}

bool stages_idle(const struct stage *first, const struct wanted *behind)
{
	for (const struct stage *s = first; s; s = s->next) {
		struct wanted w = stages_wanted(s->next, behind);
		if (!is_idle(s, &w))
			return false;
	}
	return true;
}

struct pipeline *pipeline_new(
	const struct stage *first, const struct wanted *wanted, struct account *a)
{
	struct pipeline *p = xcalloc(1, sizeof *p);
	size_t n = 0;

	for (const struct stage *s = first; s; s = s->next)
		n++;
	p->steps = xcalloc(n + 1, sizeof *p->steps);
	for (const struct stage *s = first; s; s = s->next) {
		struct step *step = &p->steps[p->n];

		step->behind = stages_wanted(s->next, wanted);
		if (is_idle(s, &step->behind))
			continue;
		step->stage = s;
		p->spreads |= s->type->spread != NULL;
		p->n++;
	}
	for (size_t i = 0; i < p->n; i++) {
		struct step *step = &p->steps[i];
		if (step->stage->type->begin)
			step->state = step->stage->type->begin(step->stage, &step->behind, a);
	}
	return p;
}

void pipeline_free(struct pipeline *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		if (p->steps[i].state)
			p->steps[i].stage->type->end(p->steps[i].state);
	free(p->steps);
	free(p);
}

bool stage_finds(const struct stage *s)
{
	return s->type->only_adds || s->type->may_fail;
}

bool stages_halve(const struct stage *first)
{
	const struct wanted nothing = {0};
	bool parsed = false, filtered = false;

	for (const struct stage *s = first; s; s = s->next) {
		struct wanted w = stages_wanted(s->next, &nothing);
		bool parser = stage_finds(s);

		if (s->type->spread)
			return false;
		filtered |= parsed && !parser && !s->type->changes_line;
		parsed |= parser && !w.all;
	}
	return filtered;
}

bool stages_spread(const struct stage *first)
{
	for (; first; first = first->next)
		if (first->type->spread)
			return true;
	return false;
}

bool pipeline_spreads(const struct pipeline *p)
{
	return p->spreads;
}

int pipeline_run(struct pipeline *p, struct pipe_row *row)
{
	int r = 1;

	for (size_t i = 0; i < p->n && r == 1; i++)
		r = p->steps[i].stage->type->run(p->steps[i].stage, p->steps[i].state, row);
	return r;
}

struct rest {
	struct pipeline *pipeline;
	size_t from;
	int (*out)(void *ctx, struct pipe_row *row);
	void *ctx;
};

/* 1 when the row was kept or dropped, or an error: a stage that spreads does not care which. */
static int run_rest(void *ctx, struct pipe_row *row)
{
	const struct rest *x = ctx;
	struct pipeline *p = x->pipeline;
	int r = 1;

	for (size_t i = x->from; i < p->n; i++) {
		const struct step *step = &p->steps[i];
		if (step->stage->type->spread) {
			struct rest behind = {p, i + 1, x->out, x->ctx};
			const struct pipe_rest rest = {run_rest, &behind};
			return step->stage->type->spread(step->stage, step->state, row, &rest);
		}
		if ((r = step->stage->type->run(step->stage, step->state, row)) <= 0)
			return r;
	}
	return (r = x->out(x->ctx, row)) < 0 ? r : 1;
}

int pipeline_each(struct pipeline *p, struct pipe_row *row,
	int (*out)(void *ctx, struct pipe_row *row), void *ctx)
{
	struct rest all = {p, 0, out, ctx};
	int r = run_rest(&all, row);

	return r < 0 ? r : 0;
}
