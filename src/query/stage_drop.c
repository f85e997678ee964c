/* SPDX-License-Identifier: Apache-2.0 */
/* | drop a, b="x": labels go away, whatever they are of; with a matcher where the value passes it.
 * `drop __error__` makes a row without errors of one with. */
#include "query/ast.h"

struct drop_stage {
	struct stage stage;
	const struct matcher *list;
	size_t n;
};

static int run(const struct stage *s, void *state, struct pipe_row *row)
{
	const struct drop_stage *x = (const struct drop_stage *)s;

	(void)state;
	for (size_t i = 0; i < x->n; i++) {
		const struct matcher *m = &x->list[i];
		struct str value;
		int r;
		if (!fields_get(row->fields, m->name, &value))
			continue;
		if (!matcher_is_name(m) && (r = matcher_match(m, value)) <= 0) {
			if (r < 0)
				return r;
			continue;
		}
		fields_remove(row->fields, m->name);
	}
	return 1;
}

/* What is dropped whatever its value is not there behind the stage, so nobody in front need find it
 * for those behind.  A matcher reads a label, but only to hide it from those that want it. */
static void wants(const struct stage *s, struct wanted *w)
{
	const struct drop_stage *x = (const struct drop_stage *)s;

	for (size_t i = 0; i < x->n; i++)
		if (matcher_is_name(&x->list[i]))
			wanted_remove(w, x->list[i].name);
}

/* Nobody reads any of them. */
static bool idle(const struct stage *s, const struct wanted *behind)
{
	const struct drop_stage *x = (const struct drop_stage *)s;

	if (behind->all)
		return false;
	for (size_t i = 0; i < x->n; i++) {
		struct str name = x->list[i].name;
		/* Errors are always wanted. */
		if (str_starts(name, STR("__error_")))
			return false;
		for (size_t k = 0; k < behind->n; k++)
			if (str_eq(behind->names[k], name))
				return false;
	}
	return true;
}

static void format(const struct stage *s, struct buf *out)
{
	const struct drop_stage *x = (const struct drop_stage *)s;

	buf_c(out, "| drop ");
	matchers_format(x->list, x->n, out);
}

static const struct stage_type drop_type = {
	.name = "drop",
	.idle = idle,
	.wants = wants,
	.run = run,
	.format = format,
};

struct stage *drop_new(struct query *q, const struct matcher *list, size_t n)
{
	struct drop_stage *s = ARENA_NEW(&q->arena, struct drop_stage);

	*s = (struct drop_stage){{&drop_type, NULL}, list, n};
	return &s->stage;
}
