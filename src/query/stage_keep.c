/* SPDX-License-Identifier: Apache-2.0 */
/* | keep a, b="x": all other labels go away; with a matcher that one too whose value does not pass.
 * __error__ and __error_details__ always stay, as Loki documents: `drop` is for them. */
#include "query/ast.h"

struct keep_stage {
	struct stage stage;
	const struct matcher *list;
	size_t n;
};

struct keeping {
	const struct keep_stage *stage;
	int error;
};

static bool is_error(struct str name)
{
	return str_eq(name, STR("__error__")) || str_eq(name, STR("__error_details__"));
}

static bool stays(void *ctx, struct str name, struct str value)
{
	struct keeping *k = ctx;

	if (is_error(name))
		return true;
	for (size_t i = 0; i < k->stage->n; i++) {
		const struct matcher *m = &k->stage->list[i];
		int r;
		if (!str_eq(m->name, name))
			continue;
		if (matcher_is_name(m) || (r = matcher_match(m, value)) > 0)
			return true;
		if (r < 0)
			k->error = r;
	}
	return false;
}

static int run(const struct stage *s, void *state, struct pipe_row *row)
{
	struct keeping k = {(const struct keep_stage *)s, 0};

	(void)state;
	fields_filter(row->fields, stays, &k);
	return k.error ? k.error : 1;
}

static bool is_wanted(const struct wanted *w, struct str name)
{
	bool found = w->all;

	for (size_t i = 0; i < w->n && !found; i++)
		found = str_eq(w->names[i], name);
	return found;
}

/* Nobody need find what goes away here. */
static void wants(const struct stage *s, struct wanted *w)
{
	const struct keep_stage *x = (const struct keep_stage *)s;
	struct wanted kept = {.line = w->line};

	for (size_t i = 0; i < x->n; i++)
		if (is_wanted(w, x->list[i].name))
			wanted_add(&kept, x->list[i].name);
	for (size_t i = 0; i < w->n; i++)
		if (is_error(w->names[i]))
			wanted_add(&kept, w->names[i]);
	*w = kept;
}

static bool keeps_any(const struct keep_stage *x, struct str name)
{
	bool found = is_error(name);

	for (size_t i = 0; i < x->n && !found; i++)
		found = matcher_is_name(&x->list[i]) && str_eq(x->list[i].name, name);
	return found;
}

/* All that is read behind it is kept whatever its value. */
static bool idle(const struct stage *s, const struct wanted *behind)
{
	for (size_t i = 0; i < behind->n; i++)
		if (!keeps_any((const struct keep_stage *)s, behind->names[i]))
			return false;
	return !behind->all;
}

static void format(const struct stage *s, struct buf *out)
{
	const struct keep_stage *x = (const struct keep_stage *)s;

	buf_c(out, "| keep ");
	matchers_format(x->list, x->n, out);
}

static const struct stage_type keep_type = {
	.name = "keep",
	.idle = idle,
	.wants = wants,
	.run = run,
	.format = format,
};

struct stage *keep_new(struct query *q, const struct matcher *list, size_t n)
{
	struct keep_stage *s = ARENA_NEW(&q->arena, struct keep_stage);

	*s = (struct keep_stage){{&keep_type, NULL}, list, n};
	return &s->stage;
}
