/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Label filters.
 *
 *   filter = one { [ "and" | "," | "or" ] one }
 *   one    = "(" filter ")" | name ( "=" | "!=" | "=~" | "!~" ) STRING
 *          | name ( "=" | "!=" ) "ip" "(" STRING ")"
 *          | name ( "=" | "==" | "!=" | ">" | ">=" | "<" | "<=" ) [+-] ( NUMBER | DURATION | BYTES
 * )
 *
 * and, a comma and a mere blank are the same; all of them and `or` bind alike,
 * from left to right: `a or b and c` is `(a or b) and c`.  That is Loki's
 * documented order, however unusual.
 */
#include "query/parse.h"

enum { PREDICATES_MAX = 256 /* of one filter */ };

bool parse_is_compare(const struct lexeme *t)
{
	switch (t->kind) {
	case T_EQ:
	case T_NEQ:
	case T_RE:
	case T_NRE:
	case T_CMP_EQ:
	case T_GT:
	case T_GTE:
	case T_LT:
	case T_LTE: return true;
	default: return false;
	}
}

static enum compare_op compare_op(enum token_kind kind)
{
	switch (kind) {
	case T_NEQ: return COMPARE_NE;
	case T_GT: return COMPARE_GT;
	case T_GTE: return COMPARE_GE;
	case T_LT: return COMPARE_LT;
	case T_LTE: return COMPARE_LE;
	default: return COMPARE_EQ;
	}
}

/* The name and the operator are in hand; the whole is a matcher. */
static int parse_text(struct parser *p, struct label_filter *out)
{
	out->kind = LABEL_FILTER_STRING;
	return parse_matcher(p, &out->matcher, "IDENTIFIER");
}

static int parse_address(struct parser *p, struct label_filter *out)
{
	struct error inner = {0};
	int r;

	out->kind = LABEL_FILTER_IP;
	if ((r = parse_next(p)) < 0 || (r = parse_expect(p, T_OPEN_PAREN, "(")) < 0)
		return r;
	if (p->tok.kind != T_STRING)
		return parse_unexpected(p, "STRING");
	out->text = p->tok.value;
	if ((r = ip_parse(&out->ip, out->text, &inner)) < 0)
		return parse_fail_with(p, &p->tok, r, &inner);
	if ((r = parse_next(p)) < 0)
		return r;
	return parse_expect(p, T_CLOSE_PAREN, ")");
}

static int parse_value(struct parser *p, struct label_filter *out)
{
	bool negative = p->tok.kind == T_SUB;
	int r;

	if ((negative || p->tok.kind == T_ADD) && (r = parse_next(p)) < 0)
		return r;
	switch (p->tok.kind) {
	case T_NUMBER:
		out->kind = LABEL_FILTER_NUMBER;
		out->number = negative ? -p->tok.number : p->tok.number;
		break;
	case T_DURATION:
		out->kind = LABEL_FILTER_DURATION;
		out->ns = negative ? -p->tok.ns : p->tok.ns;
		break;
	case T_BYTES:
		if (negative)
			return parse_unexpected(p, "NUMBER or DURATION");
		out->kind = LABEL_FILTER_BYTES;
		out->bytes = p->tok.bytes;
		break;
	default: return parse_unexpected(p, "NUMBER or DURATION or BYTES");
	}
	out->text = str_c(arena_printf(
		&p->query->arena, "%s%.*s", negative ? "-" : "", STR_ARG(p->tok.text)));
	return parse_next(p);
}

/* The token behind the operator that follows the name in hand. */
static struct lexeme second_next(const struct parser *p)
{
	struct parser ahead = *p;
	struct error ignored;

	ahead.e = &ignored;
	return parse_next(&ahead) < 0 ? (struct lexeme){.kind = T_END} : parse_peek(&ahead);
}

static int parse_comparison(struct parser *p, struct label_filter *out)
{
	struct lexeme op = parse_peek(p), value = second_next(p);
	bool equal = op.kind == T_EQ || op.kind == T_NEQ;
	int r;

	if (p->tok.kind != T_IDENTIFIER)
		return parse_unexpected(p, "IDENTIFIER or (");
	if (op.kind == T_RE || op.kind == T_NRE || (equal && value.kind == T_STRING))
		return parse_text(p, out);
	out->op = compare_op(op.kind);
	if ((r = parse_identifier(p, "IDENTIFIER", &out->name)) < 0)
		return r;
	if (!parse_is_compare(&op))
		return parse_unexpected(p, NULL);
	if ((r = parse_next(p)) < 0)
		return r;
	if (equal && parse_is_word(&p->tok, "ip"))
		return parse_address(p, out);
	if (equal && p->tok.kind != T_NUMBER && p->tok.kind != T_DURATION &&
		p->tok.kind != T_BYTES && p->tok.kind != T_ADD && p->tok.kind != T_SUB)
		return parse_unexpected(p, NULL);
	return parse_value(p, out);
}

static int parse_chain(struct parser *p, unsigned *n, const struct label_filter **out);

static int parse_one(struct parser *p, unsigned *n, const struct label_filter **out)
{
	struct label_filter *f;
	int r;

	if (p->tok.kind == T_OPEN_PAREN) {
		if ((r = parse_enter(p)) < 0 || (r = parse_next(p)) < 0 ||
			(r = parse_chain(p, n, out)) < 0)
			return r;
		parse_leave(p);
		return parse_expect(p, T_CLOSE_PAREN, NULL);
	}
	if (++*n > PREDICATES_MAX)
		return parse_fail_at(
			p, &p->tok, "more than %d comparisons in one filter", PREDICATES_MAX);
	*out = f = ARENA_NEW(&p->query->arena, struct label_filter);
	return parse_comparison(p, f);
}

/* Does another one follow?  Steps over what is between. */
static int parse_joint(struct parser *p, enum label_filter_kind *kind)
{
	struct lexeme behind;
	int r;

	*kind = LABEL_FILTER_AND;
	if (p->tok.kind == T_OPEN_PAREN)
		return 1;
	behind = parse_peek(p);
	/* A label may be called `and`. */
	if (p->tok.kind == T_IDENTIFIER && parse_is_compare(&behind))
		return 1;
	if (parse_is_word(&p->tok, "or"))
		*kind = LABEL_FILTER_OR;
	else if (p->tok.kind != T_COMMA && !parse_is_word(&p->tok, "and"))
		return 0;
	return (r = parse_next(p)) < 0 ? r : 1;
}

static int parse_chain(struct parser *p, unsigned *n, const struct label_filter **out)
{
	enum label_filter_kind kind;
	int r = parse_one(p, n, out);

	while (r == 0 && (r = parse_joint(p, &kind)) > 0) {
		struct label_filter *both = ARENA_NEW(&p->query->arena, struct label_filter);
		both->kind = kind;
		both->left = *out;
		r = parse_one(p, n, &both->right);
		*out = both;
	}
	return r;
}

int parse_label_filter(struct parser *p, struct stage **out)
{
	const struct label_filter *f = NULL;
	unsigned n = 0;
	int r = parse_chain(p, &n, &f);

	if (r == 0)
		*out = label_filter_new(p->query, f);
	return r;
}
