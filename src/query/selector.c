/* SPDX-License-Identifier: Apache-2.0 */
#include "query/selector.h"

#include "query/ast.h"
#include "query/query.h"

static bool has_filters(const void *selector)
{
	const struct query *q = selector;

	return expr_log(q->root)->stages != NULL;
}

/* What is there besides matchers and line filters; NULL for nothing. */
static const char *out_of_place(const struct log_expr *log)
{
	for (const struct stage *s = log->stages; s; s = s->next)
		if (!s->type->filter || !s->type->filter(s))
			return s->type->name;
	return log->reshapes ? reshape_kind_name(log->reshapes->kind) : NULL;
}

static int parse(void **out, struct str text, struct error *e)
{
	struct query *q = NULL;
	const char *what;
	int r;

	if ((r = query_parse(&q, text, e)) < 0)
		return r;
	if (!query_is_log(q)) {
		query_free(q);
		return error_set(e, ERR_ARG,
			"a metric query selects no records: {label=\"value\"} and line filters do");
	}
	if ((what = out_of_place(expr_log(q->root)))) {
		query_free(q);
		return error_set(e, ERR_ARG,
			"%s has no place here: {label=\"value\"} and line filters alone select "
			"records",
			what);
	}
	*out = q;
	return 0;
}

static void selector_free(void *selector)
{
	query_free(selector);
}

static bool stream(const void *selector, struct str labels)
{
	return query_want_stream(selector, labels);
}

static int line(const void *selector, struct str text)
{
	return query_want_line(selector, text);
}

const struct store_selectors query_selectors = {
	.parse = parse,
	.free = selector_free,
	.stream = stream,
	.has_filters = has_filters,
	.line = line,
};

int selector_check(struct str text, bool filters, struct error *e)
{
	void *selector = NULL;
	int r = parse(&selector, text, e);

	if (r < 0)
		return r;
	if (!filters && has_filters(selector))
		r = error_set(e, ERR_ARG, "goes by streams: line filters have no place in it");
	selector_free(selector);
	return r;
}
