/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recursive descent over the text itself, an operator's precedence a level:
 *
 *   comparison:  sum { ("==" | "!=" | ">=" | "<=" | ">" | "<") ["bool"] sum }
 *   sum:         product { ("+" | "-") product }
 *   product:     power { ("*" | "/" | "%") power }
 *   power:       unary [ "^" power ]
 *   unary:       ["-" | "+"] atom
 *   atom:        NUMBER | "(" comparison ")" | FUNCTION "(" comparison ")"
 *              | AGGREGATE [grouping] "(" comparison ")" [grouping]
 *              | [NAME] "{" matchers "}" ["[" DURATION "]"] ["offset" DURATION]
 */
#include "api/promql_core.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/duration.h"
#include "base/memory.h"
#include "query/number.h"
#include "query/quote.h"

struct parser {
	struct promql *query;
	struct str text;
	size_t at;
	unsigned depth;
	struct error *e;
};

static int fail(struct parser *p, const char *what)
{
	return error_set(p->e, ERR_ARG, "parse error at character %zu: %s, at \"%.*s\"", p->at + 1,
		what, STR_ARG(str_sub(p->text, p->at, p->at + 30)));
}

static void skip_space(struct parser *p)
{
	while (p->at < p->text.n && isspace((unsigned char)p->text.p[p->at]))
		p->at++;
}

static struct str rest(const struct parser *p)
{
	return str_sub(p->text, p->at, p->text.n);
}

static bool take(struct parser *p, const char *token)
{
	skip_space(p);
	if (!str_starts(rest(p), str_c(token)))
		return false;
	p->at += strlen(token);
	return true;
}

static bool is_name_byte(unsigned char c, bool first)
{
	return isalpha(c) || c == '_' || c == ':' || (!first && isdigit(c));
}

static struct str peek_name(struct parser *p)
{
	size_t n = 0;

	skip_space(p);
	while (p->at + n < p->text.n && is_name_byte((unsigned char)p->text.p[p->at + n], n == 0))
		n++;
	return str_sub(p->text, p->at, p->at + n);
}

static bool take_word(struct parser *p, const char *word)
{
	if (!str_eq_nocase(peek_name(p), str_c(word)))
		return false;
	p->at += strlen(word);
	return true;
}

static int expect(struct parser *p, const char *token)
{
	char text[40];

	if (take(p, token))
		return 0;
	snprintf(text, sizeof text, "\"%s\" is missing", token);
	return fail(p, text);
}

static struct promql_node *new_node(struct parser *p, enum promql_kind kind)
{
	struct promql_node *n = ARENA_NEW(&p->query->arena, struct promql_node);

	n->kind = kind;
	return n;
}

/* --- selectors ----------------------------------------------------------------------------- */

static int read_string(struct parser *p, struct str *out)
{
	struct buf text = {0};
	size_t end;
	char quote;

	skip_space(p);
	quote = p->at < p->text.n ? p->text.p[p->at] : 0;
	if (quote != '"' && quote != '\'' && quote != '`')
		return fail(p, "a string is missing");
	for (end = p->at + 1; end < p->text.n && p->text.p[end] != quote; end++)
		if (p->text.p[end] == '\\' && quote != '`')
			end++;
	if (end >= p->text.n)
		return fail(p, "the string has no end");
	*out = str_sub(p->text, p->at + 1, end);
	if (quote == '`') {
		*out = arena_str(&p->query->arena, *out);
	} else {
		if (!quote_go_read(&text, *out)) {
			buf_fini(&text);
			return fail(p, "the string has an escape that is none");
		}
		*out = arena_str(&p->query->arena, buf_view(&text));
	}
	buf_fini(&text);
	p->at = end + 1;
	return 0;
}

static int read_matcher(struct parser *p, struct promql_matcher *m)
{
	struct str name = peek_name(p);
	bool regex = false;
	int r;

	if (name.n == 0)
		return fail(p, "the name of a label is missing");
	*m = (struct promql_matcher){.name = arena_str(&p->query->arena, name)};
	p->at += name.n;
	if (take(p, "=~"))
		regex = true;
	else if (take(p, "!~"))
		regex = m->negative = true;
	else if (take(p, "!="))
		m->negative = true;
	else if (!take(p, "="))
		return fail(p, "one of = != =~ !~ is missing");
	if ((r = read_string(p, &m->value)) < 0 || !regex)
		return r;
	if (p->query->n_regexes == PROMQL_REGEXES_MAX)
		return error_set(p->e, ERR_LIMIT, "a query has at most %d regular expressions",
			PROMQL_REGEXES_MAX);
	if ((r = regex_new(&m->regex, m->value, true, p->e)) == 0)
		p->query->regexes[p->query->n_regexes++] = m->regex;
	return r;
}

static int read_duration(struct parser *p, int64_t *out)
{
	size_t n = 0;

	skip_space(p);
	while (p->at + n < p->text.n && isalnum((unsigned char)p->text.p[p->at + n]))
		n++;
	if (!duration_parse(str_sub(p->text, p->at, p->at + n), out) || *out < 0)
		return fail(p, "a duration like 5m is missing");
	p->at += n;
	return 0;
}

static int read_matchers(struct parser *p, struct promql_selector *s)
{
	struct promql_matcher all[64];
	size_t own = s->n;
	int r;

	if (own)
		all[0] = s->matchers[0];
	while (!take(p, "}")) {
		if (s->n > own && (r = expect(p, ",")) < 0)
			return r;
		if (take(p, "}"))
			break;
		if (s->n == sizeof all / sizeof *all)
			return error_set(p->e, ERR_LIMIT, "a selector has at most 64 matchers");
		if ((r = read_matcher(p, &all[s->n])) < 0)
			return r;
		s->n++;
	}
	s->matchers = ARENA_ARRAY(&p->query->arena, struct promql_matcher, s->n);
	memcpy(s->matchers, all, s->n * sizeof *all);
	return 0;
}

static int read_selector(struct parser *p, struct str name, const struct promql_node **out)
{
	struct promql *q = p->query;
	struct promql_node *n = new_node(p, PROMQL_SELECTOR);
	struct promql_matcher own = {.name = STR("__name__"), .value = arena_str(&q->arena, name)};
	struct promql_selector s = {.matchers = &own, .n = name.n ? 1 : 0};
	int r = 0;

	if (q->n_selectors == PROMQL_SELECTORS_MAX)
		return error_set(
			p->e, ERR_LIMIT, "a query has at most %d selectors", PROMQL_SELECTORS_MAX);
	if (take(p, "{")) {
		if ((r = read_matchers(p, &s)) < 0)
			return r;
	} else {
		s.matchers = ARENA_NEW(&q->arena, struct promql_matcher);
		*s.matchers = own;
	}
	if (take(p, "[") && ((r = read_duration(p, &s.range_ns)) < 0 || (r = expect(p, "]")) < 0))
		return r;
	if (take_word(p, "offset") && (r = read_duration(p, &s.offset_ns)) < 0)
		return r;
	n->selector = q->n_selectors;
	q->selectors[q->n_selectors++] = s;
	*out = n;
	return 0;
}

/* --- expressions ---------------------------------------------------------------------------- */

static int read_expression(struct parser *p, const struct promql_node **out);

static const struct {
	const char *name;
	enum promql_kind kind;
	int function;
} functions[] = {
	{"rate", PROMQL_OF_RANGE, RANGE_RATE},
	{"increase", PROMQL_OF_RANGE, RANGE_INCREASE},
	{"delta", PROMQL_OF_RANGE, RANGE_DELTA},
	{"avg_over_time", PROMQL_OF_RANGE, RANGE_AVG},
	{"sum_over_time", PROMQL_OF_RANGE, RANGE_SUM},
	{"min_over_time", PROMQL_OF_RANGE, RANGE_MIN},
	{"max_over_time", PROMQL_OF_RANGE, RANGE_MAX},
	{"count_over_time", PROMQL_OF_RANGE, RANGE_COUNT},
	{"last_over_time", PROMQL_OF_RANGE, RANGE_LAST},
	{"abs", PROMQL_OF_VALUES, VALUE_ABS},
	{"ceil", PROMQL_OF_VALUES, VALUE_CEIL},
	{"floor", PROMQL_OF_VALUES, VALUE_FLOOR},
	{"round", PROMQL_OF_VALUES, VALUE_ROUND},
	{"sum", PROMQL_AGGREGATE, AGGREGATE_SUM},
	{"avg", PROMQL_AGGREGATE, AGGREGATE_AVG},
	{"min", PROMQL_AGGREGATE, AGGREGATE_MIN},
	{"max", PROMQL_AGGREGATE, AGGREGATE_MAX},
	{"count", PROMQL_AGGREGATE, AGGREGATE_COUNT},
};

static int read_names(struct parser *p, struct promql_node *n)
{
	struct str names[32];
	int r;

	if ((r = expect(p, "(")) < 0)
		return r;
	while (!take(p, ")")) {
		if (n->n_names && (r = expect(p, ",")) < 0)
			return r;
		if (n->n_names == sizeof names / sizeof *names)
			return error_set(p->e, ERR_LIMIT, "a grouping has at most 32 labels");
		names[n->n_names] = peek_name(p);
		if (names[n->n_names].n == 0)
			return fail(p, "the name of a label is missing");
		p->at += names[n->n_names++].n;
	}
	n->names = ARENA_ARRAY(&p->query->arena, struct str, n->n_names);
	for (size_t i = 0; i < n->n_names; i++)
		n->names[i] = arena_str(&p->query->arena, names[i]);
	return 0;
}

/* True when there is one; *r says how it went. */
static bool read_grouping(struct parser *p, struct promql_node *n, int *r)
{
	n->without = take_word(p, "without");
	if (!n->without && !take_word(p, "by"))
		return false;
	*r = read_names(p, n);
	return true;
}

static bool is_range(const struct parser *p, const struct promql_node *n)
{
	return n->kind == PROMQL_SELECTOR && p->query->selectors[n->selector].range_ns > 0;
}

static int read_call(
	struct parser *p, enum promql_kind kind, int function, const struct promql_node **out)
{
	struct promql_node *n = new_node(p, kind);
	bool grouped = false;
	int r = 0;

	n->function = function;
	/* Without any grouping it is one of nothing. */
	if (kind == PROMQL_AGGREGATE)
		grouped = read_grouping(p, n, &r);
	if (r < 0 || (r = expect(p, "(")) < 0 || (r = read_expression(p, &n->left)) < 0 ||
		(r = expect(p, ")")) < 0)
		return r;
	if (kind == PROMQL_AGGREGATE && !grouped)
		read_grouping(p, n, &r);
	if (r == 0 && is_range(p, n->left) != (kind == PROMQL_OF_RANGE))
		return fail(p, kind == PROMQL_OF_RANGE
				       ? "the function wants a range, as in rate(x{…}[5m])"
				       : "a range is for functions like rate alone");
	*out = n;
	return r;
}

static int read_number(struct parser *p, const struct promql_node **out)
{
	struct promql_node *node = new_node(p, PROMQL_NUMBER);
	size_t n = 0;

	while (p->at + n < p->text.n) {
		char c = p->text.p[p->at + n];
		bool sign = (c == '-' || c == '+') && n && (p->text.p[p->at + n - 1] | 0x20) == 'e';
		if (!isalnum((unsigned char)c) && c != '.' && !sign)
			break;
		n++;
	}
	if (!number_float(str_sub(p->text, p->at, p->at + n), &node->number))
		return fail(p, "this is no number");
	p->at += n;
	*out = node;
	return 0;
}

static int read_named(struct parser *p, const struct promql_node **out)
{
	struct str name = peek_name(p);
	char text[120];

	p->at += name.n;
	skip_space(p);
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
		if (str_eq_nocase(name, str_c(functions[i].name)) &&
			!str_starts(rest(p), STR("{")) && !str_starts(rest(p), STR("[")))
			return read_call(p, functions[i].kind, functions[i].function, out);
	if (str_starts(rest(p), STR("("))) {
		snprintf(text, sizeof text, "the function \"%.*s\" is not supported",
			STR_ARG(str_sub(name, 0, 60)));
		return fail(p, text);
	}
	return read_selector(p, name, out);
}

static int read_atom(struct parser *p, const struct promql_node **out)
{
	unsigned char c;
	int r;

	skip_space(p);
	c = p->at < p->text.n ? (unsigned char)p->text.p[p->at] : 0;
	if (isdigit(c) || c == '.')
		return read_number(p, out);
	if (c == '{')
		return read_selector(p, STR_NONE, out);
	if (is_name_byte(c, true))
		return read_named(p, out);
	if (!take(p, "("))
		return fail(p, "an expression is missing");
	if ((r = read_expression(p, out)) < 0)
		return r;
	return expect(p, ")");
}

static int check_operand(struct parser *p, const struct promql_node *n)
{
	return is_range(p, n) ? fail(p, "a range is for functions like rate alone") : 0;
}

static int make_binary(struct parser *p, int op, bool returns_bool, const struct promql_node *left,
	const struct promql_node *right, const struct promql_node **out)
{
	struct promql_node *n = new_node(p, PROMQL_BINARY);
	int r;

	if ((r = check_operand(p, left)) < 0 || (r = check_operand(p, right)) < 0)
		return r;
	n->function = op;
	n->returns_bool = returns_bool;
	n->left = left;
	n->right = right;
	*out = n;
	return 0;
}

static int read_unary(struct parser *p, const struct promql_node **out)
{
	struct promql_node *zero;
	bool negative = false;
	int r;

	for (;;) {
		if (take(p, "-"))
			negative = !negative;
		else if (!take(p, "+"))
			break;
	}
	if ((r = read_atom(p, out)) < 0)
		return r;
	/* "^" binds more tightly than the sign. */
	if (take(p, "^")) {
		const struct promql_node *right;
		if (++p->depth > PROMQL_DEPTH_MAX)
			return error_set(p->e, ERR_LIMIT, "the query is nested too deeply");
		if ((r = read_unary(p, &right)) < 0 ||
			(r = make_binary(p, OP_POW, false, *out, right, out)) < 0)
			return r;
		p->depth--;
	}
	if (!negative)
		return 0;
	zero = new_node(p, PROMQL_NUMBER);
	zero->number = -1;
	return make_binary(p, OP_MUL, false, zero, *out, out);
}

static const struct {
	const char *token;
	int op, level;
} operators[] = {
	{"==", OP_EQ, 0},
	{"!=", OP_NE, 0},
	{">=", OP_GE, 0},
	{"<=", OP_LE, 0},
	{">", OP_GT, 0},
	{"<", OP_LT, 0},
	{"+", OP_ADD, 1},
	{"-", OP_SUB, 1},
	{"*", OP_MUL, 2},
	{"/", OP_DIV, 2},
	{"%", OP_MOD, 2},
};

static int take_operator(struct parser *p, int level)
{
	for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
		if (operators[i].level == level && take(p, operators[i].token))
			return operators[i].op;
	return -1;
}

static int read_level(struct parser *p, int level, const struct promql_node **out)
{
	const struct promql_node *right;
	int r, op;

	if (level > 2)
		return read_unary(p, out);
	if ((r = read_level(p, level + 1, out)) < 0)
		return r;
	while ((op = take_operator(p, level)) >= 0) {
		bool returns_bool = level == 0 && take_word(p, "bool");
		if ((r = read_level(p, level + 1, &right)) < 0 ||
			(r = make_binary(p, op, returns_bool, *out, right, out)) < 0)
			return r;
		if (++p->depth > PROMQL_DEPTH_MAX)
			return error_set(p->e, ERR_LIMIT, "the query has too many operators");
	}
	return 0;
}

static int read_expression(struct parser *p, const struct promql_node **out)
{
	int r;

	if (++p->depth > PROMQL_DEPTH_MAX)
		return error_set(p->e, ERR_LIMIT, "the query is nested too deeply");
	r = read_level(p, 0, out);
	p->depth--;
	return r;
}

int promql_parse(struct promql **out, struct str text, struct error *e)
{
	struct promql *q;
	struct parser p;
	int r;

	if (text.n > PROMQL_TEXT_MAX)
		return error_set(e, ERR_LIMIT, "a query has at most %d bytes", PROMQL_TEXT_MAX);
	q = xcalloc(1, sizeof *q);
	arena_init(&q->arena, NULL);
	p = (struct parser){.query = q, .text = text, .e = e};
	r = read_expression(&p, &q->root);
	skip_space(&p);
	if (r == 0 && p.at < text.n)
		r = fail(&p, "this is not understood");
	if (r == 0 && is_range(&p, q->root))
		r = fail(&p, "the query's result is a range: use a function like rate");
	if (r < 0) {
		promql_free(q);
		return r;
	}
	*out = q;
	return 0;
}

void promql_free(struct promql *q)
{
	if (!q)
		return;
	for (size_t i = 0; i < q->n_regexes; i++)
		regex_free(q->regexes[i]);
	arena_fini(&q->arena);
	free(q);
}

struct promql_selector *promql_selectors(struct promql *q, size_t *n)
{
	*n = q->n_selectors;
	return q->selectors;
}

bool promql_wants(const struct promql_selector *s, struct str name, struct str value)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct promql_matcher *m = &s->matchers[i];
		if (str_eq(m->name, name) && (m->regex ? regex_match(m->regex, value) > 0
						       : str_eq(m->value, value)) == m->negative)
			return false;
	}
	return true;
}
