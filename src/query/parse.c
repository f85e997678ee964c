/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recursive descent over LogQL, one function a rule, with one token in hand.
 *
 *   query    = expr $end
 *   expr     = unary { operator unary }             operators over constants alone, as yet
 *   unary    = [+-] NUMBER | "(" expr ")" | "vector" "(" NUMBER ")" | range | vector | log
 *   log      = selector { stage }
 *   range    = function "(" window ")"
 *   window   = ( selector | "(" window ")" ) { stage | RANGE [ "offset" [-] DURATION ] }
 *   vector   = function [ grouping ] "(" [ NUMBER "," ] expr ")" [ grouping ]
 *
 * Errors are worded as Loki words them: the token met, and what would have
 * done in its place where that is at most four tokens.  What is LogQL but not
 * built yet is ERR_UNSUPPORTED, so that nobody mistakes it for a typing error.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "query/ast.h"
#include "query/filter_line.h"
#include "query/lex.h"
#include "query/query.h"

struct parser {
	struct lexer lex;
	struct lexeme tok; /* in hand */
	struct query *query;
	unsigned depth;
	struct error *e;
};

/* Names that are functions when "(" follows; LogQL's whole list, so that the rest of it is
 * told apart from a mistake. */
static const char *const other_functions[] = {"rate_counter", "avg_over_time", "sum_over_time",
	"min_over_time", "max_over_time", "stdvar_over_time", "stddev_over_time",
	"quantile_over_time", "first_over_time", "last_over_time", "absent_over_time",
	"label_replace", NULL};
static const char *const other_vectors[] = {
	"stddev", "stdvar", "sort", "sort_desc", "approx_topk", NULL};
static const char *const pipe_words[] = {"json", "logfmt", "regexp", "pattern", "unpack", "unwrap",
	"line_format", "label_format", "decolorize", "drop", "keep", NULL};
static const char *const other_words[] = {"by", "without", "bool", "on", "ignoring", "group_left",
	"group_right", "offset", "and", "or", "unless", NULL};

static bool word_in(struct str word, const char *const *list)
{
	for (; *list; list++)
		if (str_eq_c(word, *list))
			return true;
	return false;
}

static bool find_range(struct str word, enum range_function *out)
{
	for (int f = 0; f <= RANGE_BYTES_RATE; f++)
		if (str_eq_c(word, range_function_name(f)))
			return *out = f, true;
	return false;
}

static bool find_vector(struct str word, enum vector_function *out)
{
	for (int f = 0; vector_function_name(f); f++)
		if ((f <= VECTOR_COUNT || f == VECTOR_TOPK || f == VECTOR_BOTTOMK) &&
			str_eq_c(word, vector_function_name(f)))
			return *out = f, true;
	return false;
}

static int next(struct parser *p)
{
	return lex_next(&p->lex, &p->tok, p->e);
}

/* The token behind the one in hand; T_END when it cannot be read. */
static struct lexeme peek(const struct parser *p)
{
	struct lexer ahead = p->lex;
	struct lexeme t;

	return lex_next(&ahead, &t, NULL) < 0 ? (struct lexeme){.kind = T_END} : t;
}

static bool is_word(const struct lexeme *t, const char *word)
{
	return t->kind == T_IDENTIFIER && str_eq_c(t->text, word);
}

static bool is_grouping(const struct lexeme *t)
{
	return is_word(t, "by") || is_word(t, "without");
}

/* Is the word in hand called: followed by "(", or by a grouping where vectors have one? */
static bool is_called(const struct parser *p, bool vector)
{
	struct lexeme t = peek(p);

	return t.kind == T_OPEN_PAREN || (vector && is_grouping(&t));
}

static struct str token_name(const struct parser *p)
{
	struct str word = p->tok.text;
	enum range_function range;
	enum vector_function vector;
	bool known = false;

	if (p->tok.kind != T_IDENTIFIER)
		return str_c(token_kind_name(p->tok.kind));
	if (word_in(word, pipe_words) || word_in(word, other_words))
		known = true;
	else if (find_range(word, &range) || word_in(word, other_functions) ||
		 str_eq_c(word, "vector"))
		known = is_called(p, false);
	else if (find_vector(word, &vector) || word_in(word, other_vectors))
		known = is_called(p, true);
	return known ? word : STR("IDENTIFIER");
}

/* An error at the token t: "parse error at line 1, col 5: <sentence>". */
__attribute__((format(printf, 3, 4))) static int fail_at(
	struct parser *p, const struct lexeme *t, const char *fmt, ...)
{
	va_list ap;
	char text[400];

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (t->line == 0)
		return error_set(p->e, ERR_ARG, "parse error : %s", text);
	return error_set(
		p->e, ERR_ARG, "parse error at line %u, col %u: %s", t->line, t->col, text);
}

/* The token in hand is wrong.  `expecting` is "STRING or ip"; NULL when too much would do. */
static int unexpected(struct parser *p, const char *expecting)
{
	struct str name = token_name(p);

	return fail_at(p, &p->tok, "syntax error: unexpected %.*s%s%s", STR_ARG(name),
		expecting ? ", expecting " : "", expecting ? expecting : "");
}

static int unsupported(
	struct parser *p, const struct lexeme *at, const char *before, struct str what)
{
	return error_set(p->e, ERR_UNSUPPORTED, "line %u, col %u: `%s%.*s` is not supported yet",
		at->line, at->col, before, (int)(what.n < 100 ? what.n : 100), what.p);
}

static int expect(struct parser *p, enum token_kind kind, const char *expecting)
{
	return p->tok.kind == kind ? next(p) : unexpected(p, expecting);
}

static int enter(struct parser *p)
{
	if (++p->depth > QUERY_DEPTH_MAX)
		return fail_at(
			p, &p->tok, "the query is nested deeper than %d levels", QUERY_DEPTH_MAX);
	return 0;
}

static void leave(struct parser *p)
{
	p->depth--;
}

/* The compiled regex belongs to the query from here on. */
static int compile(struct parser *p, struct str pattern, bool anchored, const struct regex **out)
{
	struct owned_regex *owned = ARENA_NEW(&p->query->arena, struct owned_regex);
	struct error inner = {0};
	int r = regex_new(&owned->regex, pattern, anchored, &inner);

	if (r < 0) {
		fail_at(p, &p->tok, "%s", inner.text);
		if (p->e)
			p->e->code = r;
		return r;
	}
	owned->next = p->query->regexes;
	p->query->regexes = owned;
	*out = owned->regex;
	return 0;
}

/* --- selectors ------------------------------------------------------------------------ */

static int parse_match_op(struct parser *p, enum match_op *out)
{
	switch (p->tok.kind) {
	case T_EQ: *out = MATCH_EQUAL; break;
	case T_NEQ: *out = MATCH_NOT_EQUAL; break;
	case T_RE: *out = MATCH_REGEX; break;
	case T_NRE: *out = MATCH_NOT_REGEX; break;
	default: return unexpected(p, "= or =~ or !~ or !=");
	}
	return next(p);
}

static int parse_matcher(struct parser *p, struct matcher *m, const char *expecting)
{
	int r;

	m->name = arena_str(&p->query->arena, p->tok.text);
	if ((r = expect(p, T_IDENTIFIER, expecting)) < 0 || (r = parse_match_op(p, &m->op)) < 0)
		return r;
	if (p->tok.kind != T_STRING)
		return unexpected(p, "STRING");
	m->value = p->tok.value;
	if ((m->op == MATCH_REGEX || m->op == MATCH_NOT_REGEX) &&
		(r = compile(p, m->value, true, &m->regex)) < 0)
		return r;
	return next(p);
}

static int parse_selector(struct parser *p, struct log_expr *out)
{
	struct matcher *list = NULL;
	size_t n = 0, cap = 0;
	int r;

	if ((r = expect(p, T_OPEN_BRACE, NULL)) < 0)
		return r;
	for (const char *first = "IDENTIFIER or }"; p->tok.kind != T_CLOSE_BRACE || n;
		first = NULL) {
		if (n == QUERY_MATCHERS_MAX)
			return fail_at(p, &p->tok, "more than %d matchers in one selector",
				QUERY_MATCHERS_MAX);
		if (n == cap) {
			struct matcher *more =
				ARENA_ARRAY(&p->query->arena, struct matcher, cap ? cap * 2 : 4);
			if (n)
				memcpy(more, list, n * sizeof *list);
			list = more;
			cap = cap ? cap * 2 : 4;
		}
		if ((r = parse_matcher(p, &list[n], first ? first : "IDENTIFIER")) < 0)
			return r;
		n++;
		if (p->tok.kind == T_CLOSE_BRACE)
			break;
		if ((r = expect(p, T_COMMA, "} or ,")) < 0)
			return r;
	}
	out->matchers = list;
	out->n_matchers = n;
	return next(p);
}

/* --- stages --------------------------------------------------------------------------- */

static bool starts_stage(const struct lexeme *t)
{
	switch (t->kind) {
	case T_PIPE:
	case T_PIPE_EXACT:
	case T_PIPE_MATCH:
	case T_PIPE_PATTERN:
	case T_NEQ:
	case T_NRE:
	case T_NOT_PATTERN: return true;
	default: return false;
	}
}

static int parse_filter_value(struct parser *p, enum filter_op op, struct filter_value *out)
{
	int r;

	if (is_word(&p->tok, "ip") && peek(p).kind == T_OPEN_PAREN)
		return unsupported(p, &p->tok, "", STR("ip()"));
	if (p->tok.kind != T_STRING)
		return unexpected(p, "STRING or ip");
	out->text = p->tok.value;
	if (filter_op_is_regex(op) && (r = compile(p, out->text, false, &out->regex)) < 0)
		return r;
	return next(p);
}

static int parse_filter(struct parser *p, enum filter_op op, struct stage **out)
{
	struct filter_value *first = NULL, **link = &first;
	int r;

	do {
		if ((r = next(p)) < 0)
			return r;
		*link = ARENA_NEW(&p->query->arena, struct filter_value);
		if ((r = parse_filter_value(p, op, *link)) < 0)
			return r;
		link = &(*link)->next;
	} while (is_word(&p->tok, "or"));
	*out = filter_line_new(&p->query->arena, op, first);
	return 0;
}

/* What follows a "|": all of it is LogQL for later. */
static int parse_pipe(struct parser *p)
{
	struct lexeme pipe = p->tok;
	int r;

	if ((r = next(p)) < 0)
		return r;
	if (p->tok.kind == T_OPEN_PAREN)
		return unsupported(p, &pipe, "| ", STR("("));
	if (p->tok.kind != T_IDENTIFIER)
		return unexpected(p, NULL);
	if (word_in(p->tok.text, pipe_words))
		return unsupported(p, &pipe, "| ", p->tok.text);
	switch (peek(p).kind) {
	case T_EQ:
	case T_NEQ:
	case T_RE:
	case T_NRE:
	case T_CMP_EQ:
	case T_GT:
	case T_GTE:
	case T_LT:
	case T_LTE: return unsupported(p, &pipe, "| ", p->tok.text);
	default: return (r = next(p)) < 0 ? r : unexpected(p, NULL);
	}
}

static int parse_stage(struct parser *p, struct stage **out)
{
	switch (p->tok.kind) {
	case T_PIPE_EXACT: return parse_filter(p, FILTER_CONTAINS, out);
	case T_NEQ: return parse_filter(p, FILTER_LACKS, out);
	case T_PIPE_MATCH: return parse_filter(p, FILTER_MATCHES, out);
	case T_NRE: return parse_filter(p, FILTER_MATCHES_NOT, out);
	case T_PIPE_PATTERN:
	case T_NOT_PATTERN: return unsupported(p, &p->tok, "", p->tok.text);
	default: return parse_pipe(p);
	}
}

/* Append the stages that follow, if any. */
static int parse_stages(struct parser *p, struct log_expr *log)
{
	const struct stage **link = &log->stages;
	size_t n = 0;

	for (; *link; link = (const struct stage **)&(*link)->next)
		n++;
	while (starts_stage(&p->tok)) {
		struct stage *stage = NULL;
		int r;
		if (n++ == QUERY_STAGES_MAX)
			return fail_at(p, &p->tok, "more than %d stages in one pipeline",
				QUERY_STAGES_MAX);
		if ((r = parse_stage(p, &stage)) < 0)
			return r;
		*link = stage;
		link = &stage->next;
	}
	return 0;
}

/* --- metrics -------------------------------------------------------------------------- */

static int parse_offset(struct parser *p, struct range_expr *out)
{
	bool negative;
	int r;

	if ((r = next(p)) < 0)
		return r;
	if ((negative = p->tok.kind == T_SUB) && (r = next(p)) < 0)
		return r;
	out->offset_ns = negative ? -p->tok.ns : p->tok.ns;
	return expect(p, T_DURATION, "DURATION");
}

static int parse_window(struct parser *p, struct range_expr *out)
{
	bool nested = p->tok.kind == T_OPEN_PAREN;
	int r;

	if ((r = enter(p)) < 0)
		return r;
	if (nested) {
		if ((r = next(p)) < 0 || (r = parse_window(p, out)) < 0 ||
			(r = expect(p, T_CLOSE_PAREN, NULL)) < 0)
			return r;
	} else if ((r = parse_selector(p, &out->log)) < 0) {
		return r;
	}
	for (;;) {
		if (starts_stage(&p->tok)) {
			r = parse_stages(p, &out->log);
		} else if (p->tok.kind == T_RANGE && !out->range_ns) {
			out->range_ns = p->tok.ns;
			if ((r = next(p)) == 0 && is_word(&p->tok, "offset"))
				r = parse_offset(p, out);
		} else {
			break;
		}
		if (r < 0)
			return r;
	}
	leave(p);
	return 0;
}

static int parse_range(struct parser *p, enum range_function f, struct expr *out)
{
	struct lexeme name = p->tok;
	int r;

	*out = (struct expr){.kind = EXPR_RANGE, .range = {.function = f}};
	if ((r = next(p)) < 0 || (r = expect(p, T_OPEN_PAREN, "(")) < 0)
		return r;
	if (p->tok.kind == T_NUMBER)
		return fail_at(p, &p->tok, "parameter %.*s not supported for operation %s",
			STR_ARG(p->tok.text), range_function_name(f));
	if (p->tok.kind != T_OPEN_BRACE && p->tok.kind != T_OPEN_PAREN)
		return unexpected(p, "NUMBER or { or (");
	if ((r = parse_window(p, &out->range)) < 0)
		return r;
	if (!out->range.range_ns)
		return unexpected(p, NULL);
	if ((r = expect(p, T_CLOSE_PAREN, NULL)) < 0)
		return r;
	if (is_grouping(&p->tok))
		return fail_at(
			p, &name, "grouping not allowed for %s operation", range_function_name(f));
	return 0;
}

static int order_names(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static int parse_grouping(struct parser *p, struct grouping *out)
{
	struct str names[LABELS_MAX];
	size_t n = 0, unique = 0;
	int r;

	out->kind = is_word(&p->tok, "by") ? GROUP_BY : GROUP_WITHOUT;
	if ((r = next(p)) < 0 || (r = expect(p, T_OPEN_PAREN, "(")) < 0)
		return r;
	while (p->tok.kind != T_CLOSE_PAREN || n) {
		if (n == LABELS_MAX)
			return fail_at(p, &p->tok, "more than %d labels in a grouping", LABELS_MAX);
		names[n++] = arena_str(&p->query->arena, p->tok.text);
		if ((r = expect(p, T_IDENTIFIER, n == 1 ? "IDENTIFIER or )" : "IDENTIFIER")) < 0)
			return r;
		if (p->tok.kind == T_CLOSE_PAREN)
			break;
		if ((r = expect(p, T_COMMA, ", or )")) < 0)
			return r;
	}
	qsort(names, n, sizeof *names, order_names);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || !str_eq(names[i], names[i - 1]))
			names[unique++] = names[i];
	out->names = NULL;
	out->n = unique;
	if (unique)
		out->names = memcpy(ARENA_ARRAY(&p->query->arena, struct str, unique), names,
			unique * sizeof *names);
	return next(p);
}

static int parse_expr(struct parser *p, int above, const struct expr **out);

/* The k of topk: it must be there, and nowhere else. */
static int parse_parameter(struct parser *p, struct vector_expr *v)
{
	const char *name = vector_function_name(v->function);
	bool wanted = v->function == VECTOR_TOPK || v->function == VECTOR_BOTTOMK;
	struct lexeme number = p->tok;
	int r;

	/* sum(1) is a scalar where a vector belongs; sum(1, …) has a parameter too many. */
	if (number.kind != T_NUMBER || (!wanted && peek(p).kind != T_COMMA)) {
		if (!wanted)
			return 0;
		return fail_at(p, &p->tok, "parameter required for operation %s", name);
	}
	if (!wanted)
		return fail_at(p, &number, "unsupported parameter for operation %s(%.*s,", name,
			STR_ARG(number.text));
	if (!str_u64(number.text, &v->k))
		return fail_at(
			p, &number, "invalid parameter %s(%.*s,", name, STR_ARG(number.text));
	if (v->k == 0)
		return fail_at(p, &number, "invalid parameter (must be greater than 0) %s(0", name);
	if ((r = next(p)) < 0)
		return r;
	return expect(p, T_COMMA, ",");
}

static int parse_vector(struct parser *p, enum vector_function f, struct expr *out)
{
	bool grouped;
	int r;

	*out = (struct expr){.kind = EXPR_VECTOR, .vector = {.function = f}};
	if ((r = next(p)) < 0)
		return r;
	if ((grouped = is_grouping(&p->tok)) && (r = parse_grouping(p, &out->vector.grouping)) < 0)
		return r;
	if ((r = expect(p, T_OPEN_PAREN, "(")) < 0 || (r = parse_parameter(p, &out->vector)) < 0 ||
		(r = parse_expr(p, 0, &out->vector.over)) < 0)
		return r;
	/* Lines cannot be aggregated, nor a bare number. */
	if (out->vector.over->kind == EXPR_LOG)
		return unexpected(p, NULL);
	if (out->vector.over->kind == EXPR_CONSTANT && !out->vector.over->constant.is_vector)
		return unexpected(p, NULL);
	if ((r = expect(p, T_CLOSE_PAREN, NULL)) < 0)
		return r;
	if (is_grouping(&p->tok)) {
		if (grouped)
			return unexpected(p, NULL);
		return parse_grouping(p, &out->vector.grouping);
	}
	return 0;
}

static int parse_signed_number(struct parser *p, double *out)
{
	bool negative = p->tok.kind == T_SUB;
	int r;

	if ((negative || p->tok.kind == T_ADD) && (r = next(p)) < 0)
		return r;
	*out = negative ? -p->tok.number : p->tok.number;
	return expect(p, T_NUMBER, "NUMBER");
}

static int parse_vector_constant(struct parser *p, struct expr *out)
{
	int r;

	*out = (struct expr){.kind = EXPR_CONSTANT, .constant.is_vector = true};
	if ((r = next(p)) < 0 || (r = expect(p, T_OPEN_PAREN, "(")) < 0 ||
		(r = parse_signed_number(p, &out->constant.value)) < 0)
		return r;
	return expect(p, T_CLOSE_PAREN, ")");
}

static int parse_called(struct parser *p, struct expr *out)
{
	struct str word = p->tok.text;
	enum range_function range;
	enum vector_function vector;

	if (is_called(p, false)) {
		if (find_range(word, &range))
			return parse_range(p, range, out);
		if (str_eq_c(word, "vector"))
			return parse_vector_constant(p, out);
		if (word_in(word, other_functions))
			return unsupported(p, &p->tok, "", word);
	}
	if (is_called(p, true)) {
		if (find_vector(word, &vector))
			return parse_vector(p, vector, out);
		if (word_in(word, other_vectors))
			return unsupported(p, &p->tok, "", word);
	}
	return unexpected(p, NULL);
}

static int parse_unary(struct parser *p, const struct expr **out)
{
	struct expr *x;
	int r;

	if (p->tok.kind == T_OPEN_PAREN) {
		if ((r = next(p)) < 0 || (r = parse_expr(p, 0, out)) < 0)
			return r;
		return expect(p, T_CLOSE_PAREN, NULL);
	}
	*out = x = ARENA_NEW(&p->query->arena, struct expr);
	switch (p->tok.kind) {
	case T_OPEN_BRACE:
		x->kind = EXPR_LOG;
		if ((r = parse_selector(p, &x->log)) < 0)
			return r;
		return parse_stages(p, &x->log);
	case T_NUMBER:
	case T_ADD:
	case T_SUB: x->kind = EXPR_CONSTANT; return parse_signed_number(p, &x->constant.value);
	case T_IDENTIFIER: return parse_called(p, x);
	default: return unexpected(p, NULL);
	}
}

/* The binding strength of the operator in hand, 0 for none. */
static int strength(const struct lexeme *t)
{
	switch (t->kind) {
	case T_CMP_EQ:
	case T_NEQ:
	case T_GT:
	case T_GTE:
	case T_LT:
	case T_LTE: return 3;
	case T_ADD:
	case T_SUB: return 4;
	case T_MUL:
	case T_DIV:
	case T_MOD: return 5;
	case T_POW: return 6;
	default: break;
	}
	if (is_word(t, "or"))
		return 1;
	return is_word(t, "and") || is_word(t, "unless") ? 2 : 0;
}

static bool fold(enum token_kind op, double a, double b, double *out)
{
	switch (op) {
	case T_ADD: *out = a + b; return true;
	case T_SUB: *out = a - b; return true;
	case T_MUL: *out = a * b; return true;
	case T_DIV: *out = a / b; return true;
	case T_MOD: *out = fmod(a, b); return true;
	case T_POW: *out = pow(a, b); return true;
	default: return false;
	}
}

static int combine(struct parser *p, const struct lexeme *op, const struct expr *left,
	const struct expr *right, const struct expr **out)
{
	struct expr *x = ARENA_NEW(&p->query->arena, struct expr);

	x->kind = EXPR_CONSTANT;
	if (left->kind != EXPR_CONSTANT || right->kind != EXPR_CONSTANT ||
		!fold(op->kind, left->constant.value, right->constant.value, &x->constant.value))
		return unsupported(p, op, "", op->text);
	x->constant.is_vector = left->constant.is_vector || right->constant.is_vector;
	*out = x;
	return 0;
}

/* Operators that bind more strongly than `above`; ^ goes from right to left. */
static int parse_expr(struct parser *p, int above, const struct expr **out)
{
	int r, s;

	if ((r = enter(p)) < 0 || (r = parse_unary(p, out)) < 0)
		return r;
	while ((*out)->kind != EXPR_LOG && (s = strength(&p->tok)) > above) {
		struct lexeme op = p->tok;
		const struct expr *right;
		if ((r = next(p)) < 0)
			return r;
		if (is_word(&p->tok, "bool") || is_word(&p->tok, "on") ||
			is_word(&p->tok, "ignoring"))
			return unsupported(p, &op, "", op.text);
		if ((r = parse_expr(p, op.kind == T_POW ? s - 1 : s, &right)) < 0)
			return r;
		if (right->kind == EXPR_LOG)
			return unexpected(p, NULL);
		if ((r = combine(p, &op, *out, right, out)) < 0)
			return r;
	}
	leave(p);
	return 0;
}

int query_parse(struct query **out, struct str text, struct error *e)
{
	struct query *q;
	struct parser p;
	int r;

	if (text.n > QUERY_TEXT_MAX)
		return error_set(e, ERR_ARG,
			"parse error : input size too long (%zu > %d): max length of a query in bytes",
			text.n, QUERY_TEXT_MAX);
	q = xcalloc(1, sizeof *q);
	arena_init(&q->arena, NULL);
	p = (struct parser){.query = q, .e = e};
	lex_init(&p.lex, text, &q->arena);
	if ((r = next(&p)) < 0 || (r = parse_expr(&p, 0, &q->root)) < 0)
		goto fail;
	if (p.tok.kind != T_END) {
		r = unexpected(&p, NULL);
		goto fail;
	}
	*out = q;
	return 0;
fail:
	query_free(q);
	return r;
}
