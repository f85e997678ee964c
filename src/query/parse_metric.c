/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Aggregations, operators and constants.
 *
 * Constants are folded as they are read, so that a tree has none to compute:
 * 5 * 60 is 300, vector(1) + 1 is vector(2).  Only what may leave out the one
 * sample of a vector(n), as vector(1) > 2 does, stays as it is.
 */
#include <math.h>

#include "query/parse.h"

/* Names are functions when "(" follows; those of vectors also before a grouping. */
static bool is_called(const struct parser *p)
{
	struct lexeme behind = parse_peek(p);

	return behind.kind == T_OPEN_PAREN || parse_is_grouping(&behind);
}

static bool find_range(struct str word, enum range_function *out)
{
	for (*out = 0; range_function_name(*out); ++*out)
		if (str_eq_c(word, range_function_name(*out)))
			return true;
	return false;
}

static bool find_vector(struct str word, enum vector_function *out)
{
	for (*out = 0; vector_function_name(*out); ++*out)
		if (str_eq_c(word, vector_function_name(*out)))
			return true;
	return false;
}

bool parse_is_function(const struct parser *p)
{
	enum range_function range;
	enum vector_function vector;

	if (find_range(p->tok.text, &range) || find_vector(p->tok.text, &vector))
		return is_called(p);
	return (str_eq_c(p->tok.text, "vector") || str_eq_c(p->tok.text, "label_replace")) &&
	       parse_peek(p).kind == T_OPEN_PAREN;
}

static int parse_above(struct parser *p, int above, const struct expr **out);

/* --- ranges --------------------------------------------------------------------------- */

static int parse_offset(struct parser *p, struct range_expr *out)
{
	bool negative;
	int r;

	if ((r = parse_next(p)) < 0)
		return r;
	if ((negative = p->tok.kind == T_SUB) && (r = parse_next(p)) < 0)
		return r;
	out->offset_ns = negative ? -p->tok.ns : p->tok.ns;
	return parse_expect(p, T_DURATION, "DURATION");
}

static int parse_window(struct parser *p, struct range_expr *out)
{
	bool nested = p->tok.kind == T_OPEN_PAREN;
	int r;

	if ((r = parse_enter(p)) < 0)
		return r;
	if (nested) {
		if ((r = parse_next(p)) < 0 || (r = parse_window(p, out)) < 0 ||
			(r = parse_expect(p, T_CLOSE_PAREN, NULL)) < 0)
			return r;
	} else if ((r = parse_selector(p, &out->log)) < 0) {
		return r;
	}
	for (;;) {
		if (parse_starts_stage(&p->tok)) {
			r = parse_stages(p, &out->log, out);
		} else if (p->tok.kind == T_RANGE && !out->range_ns) {
			out->range_ns = p->tok.ns;
			if ((r = parse_next(p)) == 0 && parse_is_word(&p->tok, "offset"))
				r = parse_offset(p, out);
		} else {
			break;
		}
		if (r < 0)
			return r;
	}
	parse_leave(p);
	return 0;
}

/* The quantile: it must be there, and nowhere else. */
static int parse_quantile(struct parser *p, struct range_expr *x)
{
	const char *name = range_function_name(x->function);
	bool negative = p->tok.kind == T_SUB;
	int r;

	if (x->function != RANGE_QUANTILE_OVER_TIME) {
		if (p->tok.kind == T_NUMBER)
			return parse_fail_at(p, &p->tok,
				"parameter %.*s not supported for operation %s",
				STR_ARG(p->tok.text), name);
		return 0;
	}
	if (p->tok.kind != T_NUMBER && !negative && p->tok.kind != T_ADD)
		return parse_fail_at(p, &p->tok, "parameter required for operation %s", name);
	if (p->tok.kind != T_NUMBER && (r = parse_next(p)) < 0)
		return r;
	x->quantile = negative ? -p->tok.number : p->tok.number;
	if ((r = parse_expect(p, T_NUMBER, "NUMBER")) < 0)
		return r;
	return parse_expect(p, T_COMMA, ",");
}

static int parse_range_grouping(
	struct parser *p, const struct lexeme *name, struct range_expr *x, bool before)
{
	struct grouping *g;
	int r;

	if (!parse_is_grouping(&p->tok))
		return 0;
	if (!range_function_takes_grouping(x->function))
		return parse_fail_at(p, name, "grouping not allowed for %s aggregation",
			range_function_name(x->function));
	if (x->grouping)
		return parse_unexpected(p, NULL);
	if (before)
		parse_beyond(p, &p->tok, "a grouping before what it groups");
	g = ARENA_NEW(&p->query->arena, struct grouping);
	if ((r = parse_grouping(p, g)) < 0)
		return r;
	x->grouping = g;
	return 0;
}

static int parse_range(struct parser *p, enum range_function f, struct expr *out)
{
	struct lexeme name = p->tok;
	struct range_expr *x = &out->range;
	int r;

	*out = (struct expr){.kind = EXPR_RANGE, .range = {.function = f}};
	if ((r = parse_next(p)) < 0 || (r = parse_range_grouping(p, &name, x, true)) < 0 ||
		(r = parse_expect(p, T_OPEN_PAREN, "(")) < 0 || (r = parse_quantile(p, x)) < 0)
		return r;
	if (p->tok.kind != T_OPEN_BRACE && p->tok.kind != T_OPEN_PAREN)
		return parse_unexpected(
			p, f == RANGE_QUANTILE_OVER_TIME ? "{ or (" : "NUMBER or { or (");
	if ((r = parse_window(p, x)) < 0)
		return r;
	if (!x->range_ns)
		return parse_unexpected(p, NULL);
	if ((r = parse_expect(p, T_CLOSE_PAREN, NULL)) < 0 ||
		(r = parse_range_grouping(p, &name, x, false)) < 0)
		return r;
	if (!x->unwrap && range_function_needs_unwrap(f))
		return parse_fail_at(
			p, &name, "invalid aggregation %s without unwrap", range_function_name(f));
	if (x->unwrap && !range_function_takes_unwrap(f))
		return parse_fail_at(
			p, &name, "invalid aggregation %s with unwrap", range_function_name(f));
	return 0;
}

/* --- vectors -------------------------------------------------------------------------- */

static bool has_parameter(enum vector_function f)
{
	return f == VECTOR_TOPK || f == VECTOR_BOTTOMK || f == VECTOR_APPROX_TOPK;
}

/* The k of topk: it must be there, and nowhere else. */
static int parse_parameter(struct parser *p, struct vector_expr *v)
{
	const char *name = vector_function_name(v->function);
	struct lexeme number = p->tok;
	bool wanted = has_parameter(v->function);
	int r;

	/* sum(1) is a scalar where a vector belongs; sum(1, …) has a parameter too many. */
	if (number.kind != T_NUMBER || (!wanted && parse_peek(p).kind != T_COMMA)) {
		if (!wanted)
			return 0;
		return parse_fail_at(p, &p->tok, "parameter required for operation %s", name);
	}
	if (!wanted)
		return parse_fail_at(p, &number, "unsupported parameter for operation %s(%.*s,",
			name, STR_ARG(number.text));
	if (!str_u64(number.text, &v->k))
		return parse_fail_at(
			p, &number, "invalid parameter %s(%.*s,", name, STR_ARG(number.text));
	if (v->k == 0)
		return parse_fail_at(
			p, &number, "invalid parameter (must be greater than 0) %s(0", name);
	if ((r = parse_next(p)) < 0)
		return r;
	return parse_expect(p, T_COMMA, ",");
}

/* What stands between the parentheses of a vector function: lines cannot be aggregated, nor a bare
 * number. */
static int parse_operand(struct parser *p, const struct expr **out)
{
	int r = parse_above(p, 0, out);

	if (r < 0)
		return r;
	if ((*out)->kind == EXPR_LOG ||
		((*out)->kind == EXPR_CONSTANT && !(*out)->constant.is_vector))
		return parse_unexpected(p, NULL);
	return 0;
}

/* 1 when there was one. */
static int parse_vector_grouping(struct parser *p, const struct lexeme *name, struct vector_expr *v)
{
	int r;

	if (!parse_is_grouping(&p->tok))
		return 0;
	if (v->function == VECTOR_SORT || v->function == VECTOR_SORT_DESC)
		return parse_fail_at(p, name, "grouping not allowed for %s aggregation",
			vector_function_name(v->function));
	if ((r = parse_grouping(p, &v->grouping)) < 0)
		return r;
	/* by () is what none stands for. */
	v->grouped = v->grouping.n > 0 || v->grouping.kind != GROUP_BY;
	return 1;
}

static int parse_vector(struct parser *p, enum vector_function f, struct expr *out)
{
	struct lexeme name = p->tok;
	struct vector_expr *v = &out->vector;
	int r, before;

	*out = (struct expr){.kind = EXPR_VECTOR, .vector = {.function = f}};
	if ((r = parse_next(p)) < 0 || (r = before = parse_vector_grouping(p, &name, v)) < 0 ||
		(r = parse_expect(p, T_OPEN_PAREN, "(")) < 0 || (r = parse_parameter(p, v)) < 0 ||
		(r = parse_operand(p, &v->over)) < 0 ||
		(r = parse_expect(p, T_CLOSE_PAREN, NULL)) < 0)
		return r;
	if (before && parse_is_grouping(&p->tok))
		return parse_unexpected(p, NULL);
	r = parse_vector_grouping(p, &name, v);
	return r < 0 ? r : 0;
}

/* --- label_replace -------------------------------------------------------------------- */

static bool is_label_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i], lower = (char)(c | 0x20);
		if (c != '_' && !(lower >= 'a' && lower <= 'z') && !(i && c >= '0' && c <= '9'))
			return false;
	}
	return s.n > 0;
}

static int parse_replace(struct parser *p, struct expr *out)
{
	struct replace_expr *x = &out->replace;
	int r;

	*out = (struct expr){.kind = EXPR_REPLACE};
	if ((r = parse_next(p)) < 0 || (r = parse_expect(p, T_OPEN_PAREN, "(")) < 0 ||
		(r = parse_operand(p, &x->over)) < 0 || (r = parse_expect(p, T_COMMA, ",")) < 0)
		return r;
	if (p->tok.kind == T_STRING && !is_label_name(p->tok.value))
		return parse_fail_at(p, &p->tok,
			"invalid destination label name in label_replace: %.*s",
			STR_ARG(str_sub(p->tok.value, 0, 100)));
	if ((r = parse_string(p, &x->to)) < 0 || (r = parse_expect(p, T_COMMA, ",")) < 0 ||
		(r = parse_string(p, &x->replacement)) < 0 ||
		(r = parse_expect(p, T_COMMA, ",")) < 0 || (r = parse_string(p, &x->from)) < 0 ||
		(r = parse_expect(p, T_COMMA, ",")) < 0)
		return r;
	x->pattern = p->tok.value;
	if (p->tok.kind == T_STRING && (r = parse_regex(p, REGEX_WHOLE_GROUPS, &x->regex)) < 0)
		return r;
	if ((r = parse_expect(p, T_STRING, "STRING")) < 0)
		return r;
	return parse_expect(p, T_CLOSE_PAREN, ")");
}

/* --- constants ------------------------------------------------------------------------ */

static int parse_signed_number(struct parser *p, double *out)
{
	bool negative = p->tok.kind == T_SUB;
	int r;

	if ((negative || p->tok.kind == T_ADD) && (r = parse_next(p)) < 0)
		return r;
	*out = negative ? -p->tok.number : p->tok.number;
	return parse_expect(p, T_NUMBER, "NUMBER");
}

static int parse_vector_constant(struct parser *p, struct expr *out)
{
	int r;

	*out = (struct expr){.kind = EXPR_CONSTANT, .constant.is_vector = true};
	if ((r = parse_next(p)) < 0 || (r = parse_expect(p, T_OPEN_PAREN, "(")) < 0 ||
		(r = parse_signed_number(p, &out->constant.value)) < 0)
		return r;
	return parse_expect(p, T_CLOSE_PAREN, ")");
}

/* --- operators ------------------------------------------------------------------------ */

static const struct operation {
	enum token_kind token;
	enum binary_op op;
	int strength; /* greater binds more strongly */
} operators[] = {
	{T_CMP_EQ, BINARY_EQ, 3},
	{T_NEQ, BINARY_NE, 3},
	{T_GT, BINARY_GT, 3},
	{T_GTE, BINARY_GE, 3},
	{T_LT, BINARY_LT, 3},
	{T_LTE, BINARY_LE, 3},
	{T_ADD, BINARY_ADD, 4},
	{T_SUB, BINARY_SUB, 4},
	{T_MUL, BINARY_MUL, 5},
	{T_DIV, BINARY_DIV, 5},
	{T_MOD, BINARY_MOD, 5},
	{T_POW, BINARY_POW, 6},
	{T_IDENTIFIER, BINARY_OR, 1},
	{T_IDENTIFIER, BINARY_AND, 2},
	{T_IDENTIFIER, BINARY_UNLESS, 2},
};

/* The operator in hand; NULL for none. */
static const struct operation *find_operator(const struct lexeme *t)
{
	for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
		if (operators[i].token == t->kind &&
			(t->kind != T_IDENTIFIER ||
				str_eq_c(t->text, binary_op_text(operators[i].op))))
			return &operators[i];
	return NULL;
}

static int parse_matching(struct parser *p, struct binary_expr *x)
{
	struct lexeme at = p->tok;
	int r;

	x->on = parse_is_word(&p->tok, "on");
	if (!x->on && !parse_is_word(&p->tok, "ignoring"))
		return 0;
	x->matched = true;
	if ((r = parse_next(p)) < 0 || (r = parse_names(p, &x->names, &x->n_names)) < 0)
		return r;
	at = p->tok;
	if (parse_is_word(&at, "group_left"))
		x->cardinality = MANY_TO_ONE;
	else if (parse_is_word(&at, "group_right"))
		x->cardinality = ONE_TO_MANY;
	else
		return 0;
	if (binary_op_is_set(x->op))
		return parse_fail_at(p, &at, "%.*s is not allowed for the set operation %s",
			STR_ARG(at.text), binary_op_text(x->op));
	if ((r = parse_next(p)) < 0 || p->tok.kind != T_OPEN_PAREN)
		return r;
	return parse_names(p, &x->include, &x->n_include);
}

/* bool, on (…) group_left (…): what stands between an operator and its right side. */
static int parse_modifiers(struct parser *p, struct binary_expr *x)
{
	struct lexeme at = p->tok;
	int r;

	if (parse_is_word(&at, "bool")) {
		if (!binary_op_is_comparison(x->op))
			return parse_fail_at(
				p, &at, "bool modifier can only be used on comparison operators");
		x->returns_bool = true;
		if ((r = parse_next(p)) < 0)
			return r;
	}
	return parse_matching(p, x);
}

static bool is_scalar(const struct expr *x)
{
	return x->kind == EXPR_CONSTANT && !x->constant.is_vector;
}

/* Can the result be said by a constant? */
static bool folds(const struct binary_expr *x)
{
	if (x->left->kind != EXPR_CONSTANT || x->right->kind != EXPR_CONSTANT || x->matched ||
		binary_op_is_set(x->op))
		return false;
	return (is_scalar(x->left) && is_scalar(x->right)) || !binary_op_is_comparison(x->op) ||
	       x->returns_bool;
}

static int check_sides(struct parser *p, const struct lexeme *at, const struct binary_expr *x)
{
	const struct expr *scalar = is_scalar(x->left)    ? x->left
				    : is_scalar(x->right) ? x->right
							  : NULL;

	if (!scalar)
		return 0;
	if (binary_op_is_set(x->op))
		return parse_fail_at(p, at,
			"unexpected literal for %s leg of logical/set binary operation (%s): %f",
			scalar == x->left ? "left" : "right", binary_op_text(x->op),
			scalar->constant.value);
	if (x->matched)
		return parse_fail_at(p, at, "vector matching only allowed between instant vectors");
	return 0;
}

static int combine(struct parser *p, const struct lexeme *at, const struct binary_expr *x,
	const struct expr **out)
{
	struct expr *made = ARENA_NEW(&p->query->arena, struct expr);
	int r = check_sides(p, at, x);

	if (r < 0)
		return r;
	if (folds(x)) {
		made->kind = EXPR_CONSTANT;
		made->constant.value =
			binary_apply(x->op, x->left->constant.value, x->right->constant.value);
		made->constant.is_vector =
			x->left->constant.is_vector || x->right->constant.is_vector;
	} else {
		if (++p->n_operators > QUERY_OPERATORS_MAX)
			return parse_fail_at(
				p, at, "more than %d operators in one query", QUERY_OPERATORS_MAX);
		made->kind = EXPR_BINARY;
		made->binary = *x;
	}
	*out = made;
	return 0;
}

static int parse_called(struct parser *p, struct expr *out)
{
	struct str word = p->tok.text;
	enum range_function range;
	enum vector_function vector;

	if (!parse_is_function(p))
		return parse_unexpected(p, NULL);
	if (find_range(word, &range))
		return parse_range(p, range, out);
	if (find_vector(word, &vector))
		return parse_vector(p, vector, out);
	return str_eq_c(word, "vector") ? parse_vector_constant(p, out) : parse_replace(p, out);
}

static int parse_unary(struct parser *p, const struct expr **out)
{
	struct expr *x;
	int r;

	if (p->tok.kind == T_OPEN_PAREN) {
		if ((r = parse_next(p)) < 0 || (r = parse_above(p, 0, out)) < 0)
			return r;
		return parse_expect(p, T_CLOSE_PAREN, NULL);
	}
	*out = x = ARENA_NEW(&p->query->arena, struct expr);
	switch (p->tok.kind) {
	case T_OPEN_BRACE:
		x->kind = EXPR_LOG;
		if ((r = parse_selector(p, &x->log)) < 0)
			return r;
		return parse_stages(p, &x->log, NULL);
	case T_NUMBER:
	case T_ADD:
	case T_SUB: x->kind = EXPR_CONSTANT; return parse_signed_number(p, &x->constant.value);
	case T_IDENTIFIER: return parse_called(p, x);
	default: return parse_unexpected(p, NULL);
	}
}

/* Operators that bind more strongly than `above`; ^ goes from right to left. */
static int parse_above(struct parser *p, int above, const struct expr **out)
{
	const struct operation *op;
	int r;

	if ((r = parse_enter(p)) < 0 || (r = parse_unary(p, out)) < 0)
		return r;
	while ((*out)->kind != EXPR_LOG && (op = find_operator(&p->tok)) && op->strength > above) {
		struct lexeme at = p->tok;
		struct binary_expr x = {.op = op->op, .left = *out};
		if ((r = parse_next(p)) < 0 || (r = parse_modifiers(p, &x)) < 0 ||
			(r = parse_above(p, op->op == BINARY_POW ? op->strength - 1 : op->strength,
				 &x.right)) < 0)
			return r;
		if (x.right->kind == EXPR_LOG)
			return parse_unexpected(p, NULL);
		if ((r = combine(p, &at, &x, out)) < 0)
			return r;
	}
	parse_leave(p);
	return 0;
}

int parse_expr(struct parser *p, const struct expr **out)
{
	return parse_above(p, 0, out);
}
