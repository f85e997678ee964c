/* SPDX-License-Identifier: Apache-2.0 */
#include "query/ast.h"

#include <math.h>
#include <stdlib.h>

#include "query/pipeline.h"
#include "query/query.h"

const char *range_function_name(enum range_function f)
{
	static const char *const names[] = {
		[RANGE_COUNT_OVER_TIME] = "count_over_time",
		[RANGE_RATE] = "rate",
		[RANGE_BYTES_OVER_TIME] = "bytes_over_time",
		[RANGE_BYTES_RATE] = "bytes_rate",
		[RANGE_ABSENT_OVER_TIME] = "absent_over_time",
		[RANGE_RATE_COUNTER] = "rate_counter",
		[RANGE_SUM_OVER_TIME] = "sum_over_time",
		[RANGE_AVG_OVER_TIME] = "avg_over_time",
		[RANGE_MIN_OVER_TIME] = "min_over_time",
		[RANGE_MAX_OVER_TIME] = "max_over_time",
		[RANGE_STDVAR_OVER_TIME] = "stdvar_over_time",
		[RANGE_STDDEV_OVER_TIME] = "stddev_over_time",
		[RANGE_QUANTILE_OVER_TIME] = "quantile_over_time",
		[RANGE_FIRST_OVER_TIME] = "first_over_time",
		[RANGE_LAST_OVER_TIME] = "last_over_time",
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
		[VECTOR_STDDEV] = "stddev",
		[VECTOR_STDVAR] = "stdvar",
		[VECTOR_TOPK] = "topk",
		[VECTOR_BOTTOMK] = "bottomk",
		[VECTOR_APPROX_TOPK] = "approx_topk",
		[VECTOR_SORT] = "sort",
		[VECTOR_SORT_DESC] = "sort_desc",
	};

	return f < sizeof names / sizeof *names ? names[f] : NULL;
}

const char *binary_op_text(enum binary_op op)
{
	static const char *const text[] = {
		[BINARY_OR] = "or",
		[BINARY_AND] = "and",
		[BINARY_UNLESS] = "unless",
		[BINARY_EQ] = "==",
		[BINARY_NE] = "!=",
		[BINARY_GT] = ">",
		[BINARY_GE] = ">=",
		[BINARY_LT] = "<",
		[BINARY_LE] = "<=",
		[BINARY_ADD] = "+",
		[BINARY_SUB] = "-",
		[BINARY_MUL] = "*",
		[BINARY_DIV] = "/",
		[BINARY_MOD] = "%",
		[BINARY_POW] = "^",
	};

	return text[op];
}

bool binary_op_is_comparison(enum binary_op op)
{
	return op >= BINARY_EQ && op <= BINARY_LE;
}

bool binary_op_is_set(enum binary_op op)
{
	return op <= BINARY_UNLESS;
}

double binary_apply(enum binary_op op, double a, double b)
{
	switch (op) {
	case BINARY_EQ: return a == b;
	case BINARY_NE: return a != b;
	case BINARY_GT: return a > b;
	case BINARY_GE: return a >= b;
	case BINARY_LT: return a < b;
	case BINARY_LE: return a <= b;
	case BINARY_ADD: return a + b;
	case BINARY_SUB: return a - b;
	case BINARY_MUL: return a * b;
	case BINARY_DIV: return a / b;
	case BINARY_MOD: return fmod(a, b);
	case BINARY_POW: return pow(a, b);
	case BINARY_OR:
	case BINARY_AND:
	case BINARY_UNLESS: break; /* they are of vectors */
	}
	return NAN;
}

const char *reshape_kind_name(enum reshape_kind kind)
{
	static const char *const names[] = {
		[RESHAPE_UNIQ] = "uniq",
		[RESHAPE_TOP] = "top",
		[RESHAPE_SORT] = "sort",
		[RESHAPE_CONTEXT] = "context",
	};

	return kind < sizeof names / sizeof *names ? names[kind] : NULL;
}

bool range_function_needs_unwrap(enum range_function f)
{
	return f >= RANGE_RATE_COUNTER;
}

bool range_function_takes_unwrap(enum range_function f)
{
	return range_function_needs_unwrap(f) || f == RANGE_RATE || f == RANGE_ABSENT_OVER_TIME;
}

bool range_function_takes_grouping(enum range_function f)
{
	return f >= RANGE_AVG_OVER_TIME;
}

/* The pattern, which may hold any byte, between two texts. */
static struct str enclosed(
	struct query *q, const char *before, struct str pattern, const char *after)
{
	struct buf text = {0};
	struct str kept;

	buf_c(&text, before);
	buf_str(&text, pattern);
	buf_c(&text, after);
	kept = arena_str(&q->arena, buf_view(&text));
	buf_fini(&text);
	return kept;
}

/* regex_new_groups looks anywhere; what must match a whole value is enclosed, once it is known to
 * be a regex by itself. */
static int whole_groups(struct query *q, struct str pattern, struct regex **out, struct error *e)
{
	int r = regex_new_groups(out, pattern, e);

	if (r < 0)
		return r;
	regex_free(*out);
	return regex_new_groups(out, enclosed(q, "^(?s:", pattern, ")$"), e);
}

/* Of line filters Loki's documentation says that . is any character, newlines too. */
static int line_regex(struct query *q, struct str pattern, struct regex **out, struct error *e)
{
	/* Without a dot it is as it stands, and known for what it must contain (regex_run). */
	if (memchr(pattern.p ? pattern.p : "", '.', pattern.n) &&
		regex_new(out, enclosed(q, "(?s)", pattern, ""), false, e) == 0)
		return 0;
	/* The sentence is to show the regex as it was written. */
	return regex_new(out, pattern, false, e);
}

int query_regex(struct query *q, struct str pattern, enum regex_use use, const struct regex **out,
	struct error *e)
{
	struct owned_regex *owned = ARENA_NEW(&q->arena, struct owned_regex);
	int r;

	if (use == REGEX_GROUPS)
		r = regex_new_groups(&owned->regex, pattern, e);
	else if (use == REGEX_WHOLE_GROUPS)
		r = whole_groups(q, pattern, &owned->regex, e);
	else if (use == REGEX_LINE)
		r = line_regex(q, pattern, &owned->regex, e);
	else
		r = regex_new(&owned->regex, pattern, true, e);
	if (r < 0)
		return r;
	owned->next = q->regexes;
	q->regexes = owned;
	*out = owned->regex;
	return 0;
}

const struct log_expr *expr_log(const struct expr *x)
{
	while (x->kind == EXPR_VECTOR)
		x = x->vector.over;
	switch (x->kind) {
	case EXPR_LOG: return &x->log;
	case EXPR_RANGE: return &x->range.log;
	case EXPR_REPLACE: return expr_log(x->replace.over);
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
	return query_is_log(q) && !q->root->log.stages && !q->root->log.reshapes;
}

bool query_reshapes(const struct query *q)
{
	return q->root->kind == EXPR_LOG && q->root->log.reshapes;
}

static void note_wide(void *ctx, const struct log_expr *log)
{
	bool *wide = ctx;

	*wide |= !matchers_narrow(log->matchers, log->n_matchers);
}

int query_check_strict(const struct query *q, struct error *e)
{
	bool wide = false;

	if (q->beyond)
		return error_set(e, ERR_ARG, "%s", q->beyond);
	expr_each_log(q->root, note_wide, &wide);
	if (!wide)
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

void expr_each_log(
	const struct expr *x, void (*each)(void *ctx, const struct log_expr *log), void *ctx)
{
	switch (x->kind) {
	case EXPR_LOG: each(ctx, &x->log); break;
	case EXPR_RANGE: each(ctx, &x->range.log); break;
	case EXPR_VECTOR: expr_each_log(x->vector.over, each, ctx); break;
	case EXPR_REPLACE: expr_each_log(x->replace.over, each, ctx); break;
	case EXPR_BINARY:
		expr_each_log(x->binary.left, each, ctx);
		expr_each_log(x->binary.right, each, ctx);
		break;
	case EXPR_CONSTANT: break;
	}
}

int query_want_line(const struct query *q, struct str line)
{
	const struct log_expr *log = expr_log(q->root);
	struct wanted none = {0};
	struct pipe_row row = {.line = line};
	struct pipeline *p;
	bool filters = true;
	int r;

	if (!log)
		return 0;
	for (const struct stage *s = log->stages; s; s = s->next)
		filters = filters && s->type->filter;
	if (!filters) {
		row.fields = fields_new(NULL);
		fields_begin(row.fields, str_make("", 1), STR_NONE, NULL); /* the empty set */
	}
	p = pipeline_new(log->stages, &none, NULL);
	r = pipeline_spreads(p) ? 1 : pipeline_run(p, &row);
	pipeline_free(p);
	fields_free(row.fields);
	return r;
}
