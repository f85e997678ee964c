/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The canonical text: parsing it again gives the same tree, hence the same text.
 *
 * What fits LINE_MAX characters stands in one line.  What does not is opened:
 * each stage of a pipeline, each operand and each side of an operator gets
 * lines of its own, two blanks further in, and the same is asked of these.
 *
 *   sum by (app) (
 *     rate(
 *       {app=~".+"}
 *         | json
 *         | status >= 500
 *         [5m]
 *     )
 *   )
 *     /
 *   vector(2)
 */
#include <math.h>

#include "base/duration.h"
#include "codec/rune.h"
#include "query/ast.h"
#include "query/number.h"
#include "query/query.h"
#include "query/quote.h"

enum { LINE_MAX = 100, INDENT = 2 };

static void format_expr(struct buf *out, const struct expr *x);

/* The language has no word for an
 * infinity or for what is no number, so that those become a division. */
static void format_number(struct buf *out, double v)
{
	if (isnan(v) || isinf(v)) {
		buf_c(out, isnan(v) ? "(0 / 0)" : v > 0 ? "(1 / 0)" : "(-1 / 0)");
		return;
	}
	number_put_g(out, v);
}

static void format_constant(struct buf *out, const struct constant_expr *c)
{
	bool finite = isfinite(c->value);

	if (!c->is_vector) {
		format_number(out, c->value);
		return;
	}
	buf_c(out, finite ? "vector(" : "(");
	format_number(out, c->value);
	buf_c(out, finite ? ")" : " + vector(0))");
}

static void format_names(struct buf *out, const struct str *names, size_t n)
{
	buf_char(out, '(');
	for (size_t i = 0; i < n; i++) {
		buf_c(out, i ? ", " : "");
		buf_str(out, names[i]);
	}
	buf_char(out, ')');
}

static void format_selector(struct buf *out, const struct log_expr *log)
{
	buf_char(out, '{');
	matchers_format(log->matchers, log->n_matchers, out);
	buf_char(out, '}');
}

static void format_reshape(struct buf *out, const struct reshape *x)
{
	buf_printf(out, "| %s", reshape_kind_name(x->kind));
	if (x->kind == RESHAPE_TOP)
		buf_printf(out, " %llu", (unsigned long long)x->limit);
	if (x->n) {
		buf_c(out, " by ");
		format_names(out, x->names, x->n);
	}
	if (x->descending)
		buf_c(out, " desc");
	if (x->before && x->before == x->after) {
		buf_printf(out, " -C %u", x->before);
		return;
	}
	if (x->before)
		buf_printf(out, " -B %u", x->before);
	if (x->after)
		buf_printf(out, " -A %u", x->after);
}

/* A pipeline as a list of pieces, each of which may get a line of its own. */
struct pieces {
	struct buf *out;
	const char *between; /* what stands before each */
};

static struct buf *piece(const struct pieces *p)
{
	buf_c(p->out, p->between);
	return p->out;
}

static void format_pieces(
	const struct pieces *p, const struct log_expr *log, const struct range_expr *range)
{
	format_selector(p->out, log);
	for (const struct stage *s = log->stages; s; s = s->next)
		s->type->format(s, piece(p));
	for (const struct reshape *x = log->reshapes; x; x = x->next)
		format_reshape(piece(p), x);
	if (!range)
		return;
	if (range->unwrap)
		unwrap_format(range->unwrap, piece(p));
	for (const struct stage *s = range->after; s; s = s->next)
		s->type->format(s, piece(p));
	if (log->stages || range->unwrap)
		piece(p);
	buf_char(p->out, '[');
	duration_put(p->out, range->range_ns);
	buf_char(p->out, ']');
	if (range->offset_ns) {
		buf_c(p->out, " offset ");
		duration_put(p->out, range->offset_ns);
	}
}

static void format_grouping(struct buf *out, const struct grouping *g)
{
	buf_c(out, g->kind == GROUP_BY ? " by " : " without ");
	format_names(out, g->names, g->n);
}

/* --- in one line ---------------------------------------------------------------------- */

/* The operator with all that belongs to it. */
static void format_operator(struct buf *out, const struct binary_expr *x)
{
	buf_c(out, binary_op_text(x->op));
	if (x->returns_bool)
		buf_c(out, " bool");
	if (!x->matched)
		return;
	buf_c(out, x->on ? " on " : " ignoring ");
	format_names(out, x->names, x->n_names);
	if (x->cardinality == ONE_TO_ONE)
		return;
	buf_c(out, x->cardinality == MANY_TO_ONE ? " group_left" : " group_right");
	buf_char(out, ' ');
	format_names(out, x->include, x->n_include);
}

static int strength(enum binary_op op)
{
	switch (op) {
	case BINARY_OR: return 1;
	case BINARY_AND:
	case BINARY_UNLESS: return 2;
	case BINARY_ADD:
	case BINARY_SUB: return 4;
	case BINARY_MUL:
	case BINARY_DIV:
	case BINARY_MOD: return 5;
	case BINARY_POW: return 6;
	default: return 3;
	}
}

/* Would the side be read as something else without parentheses? */
static bool needs_parens(const struct binary_expr *x, const struct expr *side)
{
	int own = strength(x->op), inner;

	if (side->kind != EXPR_BINARY)
		return false;
	inner = strength(side->binary.op);
	if (inner != own)
		return inner < own;
	return (side == x->left) == (x->op == BINARY_POW);
}

static void format_side(struct buf *out, const struct binary_expr *x, const struct expr *side)
{
	bool parens = needs_parens(x, side);

	buf_c(out, parens ? "(" : "");
	format_expr(out, side);
	buf_c(out, parens ? ")" : "");
}

static void format_call(struct buf *out, const struct expr *x)
{
	if (x->kind == EXPR_REPLACE) {
		buf_c(out, "label_replace(");
		return;
	}
	if (x->kind == EXPR_RANGE) {
		buf_printf(out, "%s(", range_function_name(x->range.function));
		return;
	}
	buf_c(out, vector_function_name(x->vector.function));
	if (x->vector.grouped) {
		format_grouping(out, &x->vector.grouping);
		buf_char(out, ' ');
	}
	buf_char(out, '(');
}

static void format_replacement(struct buf *out, const struct replace_expr *x)
{
	const struct str *args[] = {&x->to, &x->replacement, &x->from, &x->pattern};

	for (size_t i = 0; i < sizeof args / sizeof *args; i++) {
		buf_c(out, i ? ", " : "");
		quote_go(out, *args[i]);
	}
}

/* What stands before the operand in a call. */
static bool format_parameter(struct buf *out, const struct expr *x)
{
	if (x->kind == EXPR_VECTOR && x->vector.k)
		buf_printf(out, "%llu", (unsigned long long)x->vector.k);
	else if (x->kind == EXPR_RANGE && x->range.function == RANGE_QUANTILE_OVER_TIME)
		format_number(out, x->range.quantile);
	else
		return false;
	buf_char(out, ',');
	return true;
}

static void format_expr(struct buf *out, const struct expr *x)
{
	const struct pieces line = {out, " "};

	switch (x->kind) {
	case EXPR_LOG: format_pieces(&line, &x->log, NULL); return;
	case EXPR_CONSTANT: format_constant(out, &x->constant); return;
	case EXPR_BINARY:
		format_side(out, &x->binary, x->binary.left);
		buf_char(out, ' ');
		format_operator(out, &x->binary);
		buf_char(out, ' ');
		format_side(out, &x->binary, x->binary.right);
		return;
	default: break;
	}
	format_call(out, x);
	if (format_parameter(out, x))
		buf_char(out, ' ');
	if (x->kind == EXPR_RANGE) {
		format_pieces(&line, &x->range.log, &x->range);
	} else {
		format_expr(out, x->kind == EXPR_VECTOR ? x->vector.over : x->replace.over);
	}
	if (x->kind == EXPR_REPLACE) {
		buf_c(out, ", ");
		format_replacement(out, &x->replace);
	}
	buf_char(out, ')');
	if (x->kind == EXPR_RANGE && x->range.grouping)
		format_grouping(out, x->range.grouping);
}

/* --- in many lines -------------------------------------------------------------------- */

static void new_line(struct buf *out, unsigned indent)
{
	buf_printf(out, "\n%*s", (int)indent, "");
}

static void lay(struct buf *out, const struct expr *x, unsigned indent);

static void lay_side(
	struct buf *out, const struct binary_expr *x, const struct expr *side, unsigned indent)
{
	if (!needs_parens(x, side)) {
		lay(out, side, indent);
		return;
	}
	buf_char(out, '(');
	new_line(out, indent + INDENT);
	lay(out, side, indent + INDENT);
	new_line(out, indent);
	buf_char(out, ')');
}

static void lay_pieces(struct buf *out, const struct log_expr *log, const struct range_expr *range,
	unsigned indent)
{
	struct buf between = {0};
	struct pieces p = {.out = out};

	new_line(&between, indent + INDENT);
	p.between = buf_cstr(&between);
	format_pieces(&p, log, range);
	buf_fini(&between);
}

static void lay_call(struct buf *out, const struct expr *x, unsigned indent)
{
	unsigned inner = indent + INDENT;

	format_call(out, x);
	new_line(out, inner);
	if (format_parameter(out, x))
		new_line(out, inner);
	if (x->kind == EXPR_RANGE) {
		lay_pieces(out, &x->range.log, &x->range, inner);
	} else if (x->kind == EXPR_VECTOR) {
		lay(out, x->vector.over, inner);
	} else {
		lay(out, x->replace.over, inner);
		buf_char(out, ',');
		new_line(out, inner);
		format_replacement(out, &x->replace);
	}
	new_line(out, indent);
	buf_char(out, ')');
	if (x->kind == EXPR_RANGE && x->range.grouping)
		format_grouping(out, x->range.grouping);
}

/* The line has `indent` blanks by now. */
static void lay(struct buf *out, const struct expr *x, unsigned indent)
{
	size_t begin = out->n;

	format_expr(out, x);
	if (x->kind == EXPR_CONSTANT ||
		indent + rune_count(str_sub(buf_view(out), begin, SIZE_MAX)) <= LINE_MAX)
		return;
	out->n = begin;
	if (x->kind == EXPR_LOG) {
		lay_pieces(out, &x->log, NULL, indent);
	} else if (x->kind == EXPR_BINARY) {
		lay_side(out, &x->binary, x->binary.left, indent);
		new_line(out, indent + INDENT);
		format_operator(out, &x->binary);
		new_line(out, indent);
		lay_side(out, &x->binary, x->binary.right, indent);
	} else {
		lay_call(out, x, indent);
	}
}

void query_format(const struct query *q, struct buf *out)
{
	lay(out, q->root, 0);
}

void query_format_line(const struct query *q, struct buf *out)
{
	format_expr(out, q->root);
}

void range_format(const struct range_expr *x, struct buf *out)
{
	format_expr(out, &(struct expr){.kind = EXPR_RANGE, .range = *x});
}

void log_format_rows(const struct log_expr *log, struct buf *out)
{
	format_selector(out, log);
	for (const struct stage *s = log->stages; s && !stage_is_sample(s); s = s->next) {
		buf_char(out, ' ');
		s->type->format(s, out);
	}
}
