/* SPDX-License-Identifier: Apache-2.0 */
#include "query/collect.h"

#include <stdlib.h>

#include "query/reading.h"

enum { WRITE_STEP = 64 << 10 /* bytes that are charged at once for what is written */ };

static void begin(struct collection *c)
{
	gather_init(&c->gather, c->run, c->expr, &c->axis, c->grouping);
	c->gather.ctx = c;
	c->type->begin(c);
}

static void end(struct collection *c)
{
	gather_fini(&c->gather);
	c->type->end(c);
	run_release(c->run, c->charged);
	c->charged = 0;
}

int collection_new(struct collection **out, struct run *run, const struct range_expr *x,
	const struct axis *axis, const struct grouping *grouping, struct error *e)
{
	bool values = x->unwrap && x->function != RANGE_COUNT_OVER_TIME &&
		      x->function != RANGE_ABSENT_OVER_TIME;
	const struct collection_type *type = values ? &collection_piles : &collection_tallies;
	struct collection *c;

	if (values && !range_function_takes_unwrap(x->function))
		return error_set(e, ERR_ARG, "%s does not take an unwrapped range",
			range_function_name(x->function));
	c = xcalloc(1, type->size);
	c->type = type;
	c->run = run;
	c->expr = x;
	c->axis = *axis;
	c->grouping = grouping;
	begin(c);
	*out = c;
	return 0;
}

void collection_free(struct collection *c)
{
	end(c);
	free(c);
}

void collection_restart(struct collection *c)
{
	end(c);
	begin(c);
}

int collection_charge(struct collection *c, uint64_t n, struct error *e)
{
	int r = run_charge(c->run, n, e);

	if (r == 0)
		c->charged += n;
	return r;
}

void collection_release(struct collection *c, uint64_t n)
{
	run_release(c->run, n);
	c->charged -= n;
}

int collection_gather(struct collection *c, struct error *e)
{
	struct source *s = c->run->source;
	int r = s->gather ? s->gather(s, c, e) : 1;

	if (r <= 0)
		return r;
	if (s->gather)
		collection_restart(c);
	return gather_run(&c->gather, e);
}

int collection_gather_alone(struct collection *c, struct error *e)
{
	int r;

	c->gather.alone = true;
	r = gather_run(&c->gather, e);
	return c->gather.redelivered ? 1 : r;
}

/* A count, and for each series: its labels, and what the type writes, both with their lengths. */
int collection_write(struct collection *c, struct buf *out, struct error *e)
{
	const struct series_index *x = &c->gather.series;
	struct buf one = {0};
	uint64_t charged = 0;
	size_t from = out->n;
	int r = 0;

	varint_put(out, x->n);
	for (size_t i = 0; i < x->n && r == 0; i++) {
		buf_clear(&one);
		c->type->write(c, (uint32_t)i, &one);
		put_text(out, x->keys[i]);
		put_text(out, buf_view(&one));
		if (out->n - from > COLLECTION_BYTES_MAX)
			r = error_set(e, ERR_LIMIT,
				"the partial aggregates of the query take more than %d MiB",
				COLLECTION_BYTES_MAX >> 20);
		/* A buffer that grows is held twice for a moment. */
		while (r == 0 && charged < 2 * (out->n - from + one.n)) {
			if ((r = collection_charge(c, WRITE_STEP, e)) == 0)
				charged += WRITE_STEP;
		}
		if (r == 0)
			r = run_tick(c->run, e);
	}
	buf_fini(&one);
	return r;
}

static int damaged(struct error *e)
{
	return error_set(e, ERR_CORRUPT, "the partial aggregates are damaged");
}

int collection_merge(struct collection *c, struct str bytes, size_t store, struct error *e)
{
	struct reading in = {.rest = bytes};
	uint64_t n = take_varint(&in);
	uint32_t series;
	int r = 0;

	for (uint64_t i = 0; i < n && r == 0 && !in.bad; i++) {
		struct str labels = take_text(&in), one = take_text(&in);
		if (in.bad || labels_check(labels, e) < 0)
			return damaged(e);
		if ((r = series_of_key(&c->gather.series, labels, &series, e)) == 0 &&
			(r = c->type->merge(c, series, one, store, e)) == ERR_CORRUPT)
			return damaged(e);
		if (r == 0)
			r = run_tick(c->run, e);
	}
	return r == 0 && (in.bad || in.rest.n) ? damaged(e) : r;
}
