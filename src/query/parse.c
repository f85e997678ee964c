/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recursive descent over LogQL, one function a rule, with one token in hand.
 *
 *   query    = expr $end
 *   expr     = unary { operator [ "bool" ] [ matching ] unary }     by strength, ^ from the right
 *   matching = ( "on" | "ignoring" ) names [ ( "group_left" | "group_right" ) [ names ] ]
 *   unary    = [+-] NUMBER | "(" expr ")" | "vector" "(" NUMBER ")"
 *            | range | vector | replace | log
 *   log      = selector { stage } { reshape }
 *   range    = function [ grouping ] "(" [ NUMBER "," ] window ")" [ grouping ]
 *   window   = ( selector | "(" window ")" )
 *              { stage | unwrap | RANGE [ "offset" [-] DURATION ] }
 *   vector   = function [ grouping ] "(" [ NUMBER "," ] expr ")" [ grouping ]
 *   replace  = "label_replace" "(" expr "," STRING "," STRING "," STRING "," STRING ")"
 *
 * Words are keywords only where they can be one, so that labels may be called
 * by, json or top.  Errors are worded as Loki words them: the token met, and
 * what would have done in its place where that is at most four tokens.
 */
#include "query/parse.h"

#include <stdio.h>
#include <stdlib.h>

#include "query/query.h"

/* Words that an error names as they are. */
static const char *const keywords[] = {"json", "logfmt", "regexp", "pattern", "unpack", "unwrap",
	"line_format", "label_format", "decolorize", "drop", "keep", "by", "without", "bool", "on",
	"ignoring", "group_left", "group_right", "offset", "and", "or", "unless", NULL};

int parse_next(struct parser *p)
{
	return lex_next(&p->lex, &p->tok, p->e);
}

struct lexeme parse_peek(const struct parser *p)
{
	struct lexer ahead = p->lex;
	struct lexeme t;

	return lex_next(&ahead, &t, NULL) < 0 ? (struct lexeme){.kind = T_END} : t;
}

bool parse_is_word(const struct lexeme *t, const char *word)
{
	return t->kind == T_IDENTIFIER && str_eq_c(t->text, word);
}

bool parse_is_grouping(const struct lexeme *t)
{
	return parse_is_word(t, "by") || parse_is_word(t, "without");
}

static struct str token_name(const struct parser *p)
{
	if (p->tok.kind != T_IDENTIFIER)
		return str_c(token_kind_name(p->tok.kind));
	for (const char *const *word = keywords; *word; word++)
		if (str_eq_c(p->tok.text, *word))
			return p->tok.text;
	return parse_is_function(p) ? p->tok.text : STR("IDENTIFIER");
}

int parse_fail_at(struct parser *p, const struct lexeme *t, const char *fmt, ...)
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

int parse_fail_with(struct parser *p, const struct lexeme *t, int code, const struct error *inner)
{
	parse_fail_at(p, t, "%s", inner->text);
	if (p->e)
		p->e->code = code;
	return code;
}

int parse_unexpected(struct parser *p, const char *expecting)
{
	struct str name = token_name(p);

	return parse_fail_at(p, &p->tok, "syntax error: unexpected %.*s%s%s", STR_ARG(name),
		expecting ? ", expecting " : "", expecting ? expecting : "");
}

int parse_expect(struct parser *p, enum token_kind kind, const char *expecting)
{
	return p->tok.kind == kind ? parse_next(p) : parse_unexpected(p, expecting);
}

int parse_string(struct parser *p, struct str *out)
{
	*out = p->tok.value;
	return parse_expect(p, T_STRING, "STRING");
}

int parse_identifier(struct parser *p, const char *expecting, struct str *out)
{
	if (p->tok.kind == T_IDENTIFIER)
		*out = arena_str(&p->query->arena, p->tok.text);
	return parse_expect(p, T_IDENTIFIER, expecting);
}

int parse_names(struct parser *p, const struct str **names, size_t *n)
{
	struct str list[LABELS_MAX];
	int r;

	*n = 0;
	*names = NULL;
	if ((r = parse_expect(p, T_OPEN_PAREN, "(")) < 0)
		return r;
	while (p->tok.kind != T_CLOSE_PAREN || *n) {
		if (*n == LABELS_MAX)
			return parse_fail_at(
				p, &p->tok, "more than %d labels in a grouping", LABELS_MAX);
		if ((r = parse_identifier(p, *n ? "IDENTIFIER" : "IDENTIFIER or )", &list[*n])) < 0)
			return r;
		++*n;
		if (p->tok.kind == T_CLOSE_PAREN)
			break;
		if ((r = parse_expect(p, T_COMMA, ", or )")) < 0)
			return r;
	}
	if (*n)
		*names = memcpy(
			ARENA_ARRAY(&p->query->arena, struct str, *n), list, *n * sizeof *list);
	return parse_next(p);
}

static int order_names(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

int parse_grouping(struct parser *p, struct grouping *out)
{
	const struct str *written;
	struct str *names;
	size_t n;
	int r;

	*out = (struct grouping){.kind = parse_is_word(&p->tok, "by") ? GROUP_BY : GROUP_WITHOUT};
	if ((r = parse_next(p)) < 0 || (r = parse_names(p, &written, &n)) < 0 || n == 0)
		return r;
	names = memcpy(ARENA_ARRAY(&p->query->arena, struct str, n), written, n * sizeof *names);
	qsort(names, n, sizeof *names, order_names);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || !str_eq(names[i], names[i - 1]))
			names[out->n++] = names[i];
	out->names = names;
	return 0;
}

int parse_enter(struct parser *p)
{
	if (++p->depth > QUERY_DEPTH_MAX)
		return parse_fail_at(
			p, &p->tok, "the query is nested deeper than %d levels", QUERY_DEPTH_MAX);
	return 0;
}

void parse_leave(struct parser *p)
{
	p->depth--;
}

void parse_beyond(struct parser *p, const struct lexeme *t, const char *what)
{
	if (!p->query->beyond)
		p->query->beyond = arena_printf(&p->query->arena,
			"parse error at line %u, col %u: %s is beyond LogQL, and strict mode was "
			"asked for",
			t->line, t->col, what);
}

int parse_regex(struct parser *p, enum regex_use use, const struct regex **out)
{
	struct error inner = {0};
	int r = query_regex(p->query, p->tok.value, use, out, &inner);

	return r < 0 ? parse_fail_with(p, &p->tok, r, &inner) : 0;
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
	if ((r = parse_next(&p)) < 0 || (r = parse_expr(&p, &q->root)) < 0)
		goto fail;
	if (p.tok.kind != T_END) {
		r = parse_unexpected(&p, NULL);
		goto fail;
	}
	*out = q;
	return 0;
fail:
	query_free(q);
	return r;
}
