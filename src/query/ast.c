/* SPDX-License-Identifier: Apache-2.0 */
#include "query/ast.h"

#include <stdlib.h>

#include "query/query.h"

const char *range_function_name(enum range_function f)
{
	static const char *const names[] = {
		[RANGE_COUNT_OVER_TIME] = "count_over_time",
		[RANGE_RATE] = "rate",
		[RANGE_BYTES_OVER_TIME] = "bytes_over_time",
		[RANGE_BYTES_RATE] = "bytes_rate",
	};

	return f < sizeof names / sizeof *names ? names[f] : NULL;
}

const char *vector_function_name(enum vector_function f)
{
	static const char *const names[] = {
		[VECTOR_SUM] = "sum",
		[VECTOR_MIN] = "min",
		[VECTOR_MAX] = "max",
		[VECTOR_AVG] = "avg",
		[VECTOR_COUNT] = "count",
		[VECTOR_TOPK] = "topk",
		[VECTOR_BOTTOMK] = "bottomk",
	};

	return f < sizeof names / sizeof *names ? names[f] : NULL;
}

const struct log_expr *expr_log(const struct expr *x)
{
	while (x->kind == EXPR_VECTOR)
		x = x->vector.over;
	switch (x->kind) {
	case EXPR_LOG: return &x->log;
	case EXPR_RANGE: return &x->range.log;
	default: return NULL;
	}
}

void query_free(struct query *q)
{
	if (!q)
		return;
	for (struct owned_regex *r = q->regexes; r; r = r->next)
		regex_free(r->regex);
	arena_fini(&q->arena);
	free(q);
}

bool query_is_log(const struct query *q)
{
	return q->root->kind == EXPR_LOG;
}

bool query_is_selector(const struct query *q)
{
	return query_is_log(q) && !q->root->log.stages;
}

int query_check_strict(const struct query *q, struct error *e)
{
	const struct log_expr *log = expr_log(q->root);

	if (!log || matchers_narrow(log->matchers, log->n_matchers))
		return 0;
	return error_set(e, ERR_ARG,
		"parse error : queries require at least one regexp or equality matcher that does "
		"not have an empty-compatible value. For instance, app=~\".*\" does not meet this "
		"requirement, but app=~\".+\" will");
}

bool query_want_stream(const struct query *q, struct str labels)
{
	const struct log_expr *log = expr_log(q->root);

	return log && matchers_match(log->matchers, log->n_matchers, labels) > 0;
}

int query_want_line(const struct query *q, struct str line)
{
	const struct log_expr *log = expr_log(q->root);
	struct pipe_row row = {.line = line};

	return log ? stages_run(log->stages, &row) : 0;
}
