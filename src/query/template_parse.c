/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recursive descent over one action after the other: lists of nodes, and
 * templates by name.  Source: pkg.go.dev/text/template ("Actions", "Nested
 * template definitions").
 */
#include "query/template_parse.h"

#include <stdlib.h>

#include "base/memory.h"
#include "query/ast.h"

/* What ended a list. */
enum list_end { ENDED_BY_END, ENDED_BY_ELSE, ENDED_BY_TEXT };

static int parse_list(struct template_parser *p, struct node **list, enum list_end *end);

/* ---- actions ---- */

static int expect_right(struct template_parser *p, const char *context)
{
	return template_next_word(p) == TT_RIGHT ? 0 : template_unexpected(p, context);
}

static int parse_branch(
	struct template_parser *p, enum node_kind kind, const char *word, struct node **out);

/* Behind {{else: `if` and `with` go on as a nested action that shares the {{end}}. */
static int parse_else(
	struct template_parser *p, enum node_kind kind, const char *word, struct node *n)
{
	enum template_token again = kind == NODE_IF ? TT_IF : kind == NODE_WITH ? TT_WITH : TT_END;
	enum list_end end;
	int r;

	if (template_peek_word(p) == again && again != TT_END) {
		template_next_word(p);
		if ((r = template_deeper(p)) < 0)
			return r;
		r = parse_branch(p, kind, word, &n->branch.other);
		p->depth--;
		return r;
	}
	if ((r = expect_right(p, "else")) < 0 || (r = parse_list(p, &n->branch.other, &end)) < 0)
		return r;
	if (end != ENDED_BY_END)
		return template_parse_fail(p, "expected end; found {{else}}");
	return 0;
}

static int parse_branch(
	struct template_parser *p, enum node_kind kind, const char *word, struct node **out)
{
	struct node *n = template_node(p, kind);
	size_t scope = p->n_variables, inner;
	enum list_end end;
	int r;

	if ((r = template_parse_pipe(p, word, TT_RIGHT, &n->branch.pipe)) < 0)
		return r;
	inner = p->n_variables;
	p->range_depth += kind == NODE_RANGE;
	r = parse_list(p, &n->branch.list, &end);
	p->range_depth -= kind == NODE_RANGE;
	if (r < 0)
		return r;
	p->n_variables = inner;
	if (end == ENDED_BY_ELSE && (r = parse_else(p, kind, word, n)) < 0)
		return r;
	p->n_variables = scope;
	*out = n;
	return 0;
}

static int parse_jump(
	struct template_parser *p, enum node_kind kind, const char *word, struct node **out)
{
	*out = template_node(p, kind);
	if (p->range_depth == 0)
		return template_parse_fail(p, "{{%s}} outside {{range}}", word);
	return expect_right(p, word);
}

static int template_name(struct template_parser *p, const char *context, struct str *out)
{
	struct node *n;
	int r;

	if (template_next_word(p) != TT_STRING && p->l.kind != TT_RAW)
		return template_unexpected(p, context);
	if ((r = template_string_node(p, &n)) < 0)
		return r;
	*out = n->text;
	return 0;
}

static int parse_template(struct template_parser *p, struct node **out)
{
	struct node *n = template_node(p, NODE_TEMPLATE);
	int r = template_name(p, "template clause", &n->tmpl.name);

	*out = n;
	if (r < 0)
		return r;
	/* It is named by its name. */
	n->pos = (uint32_t)p->l.pos;
	n->end = (uint32_t)(p->l.pos + p->l.token.n);
	if (template_peek_word(p) == TT_RIGHT) {
		template_next_word(p);
		return 0;
	}
	return template_parse_pipe(p, "template clause", TT_RIGHT, &n->tmpl.pipe);
}

/* Behind {{define or {{block with its name and pipe: a body of its own, up to {{end}}. */
static int parse_body(struct template_parser *p, struct str name, const char *context)
{
	struct template_body *body = ARENA_NEW(p->arena, struct template_body), *was = p->body;
	struct str *variables = NULL;
	size_t n = p->n_variables;
	unsigned range_depth = p->range_depth;
	enum list_end end;
	int r;

	if (n) {
		variables = ARENA_ARRAY(p->arena, struct str, n);
		memcpy(variables, p->variables, n * sizeof *variables);
	}
	body->name = name;
	p->body = body;
	p->n_variables = 0;
	p->range_depth = 0;
	if ((r = template_declare(p, STR("$"), &(uint16_t){0})) < 0 ||
		(r = parse_list(p, &body->list, &end)) < 0)
		return r;
	if (end != ENDED_BY_END)
		return template_parse_fail(p, "unexpected {{else}} in %s", context);
	if (n)
		memcpy(p->variables, variables, n * sizeof *variables);
	p->n_variables = n;
	p->range_depth = range_depth;
	p->body = was;
	body->next = p->program->defined;
	p->program->defined = body;
	return 0;
}

static int parse_define(struct template_parser *p)
{
	struct str name;
	int r = template_name(p, "define clause", &name);

	if (r < 0 || (r = expect_right(p, "define clause")) < 0)
		return r;
	return parse_body(p, name, "define clause");
}

static int parse_block(struct template_parser *p, struct node **out)
{
	struct node *n = template_node(p, NODE_TEMPLATE);
	int r;

	*out = n;
	if ((r = template_name(p, "block clause", &n->tmpl.name)) < 0 ||
		(r = template_parse_pipe(p, "block clause", TT_RIGHT, &n->tmpl.pipe)) < 0)
		return r;
	return parse_body(p, n->tmpl.name, "block clause");
}

static int parse_action(struct template_parser *p, struct node **out)
{
	switch (template_peek_word(p)) {
	case TT_IF: template_next(p); return parse_branch(p, NODE_IF, "if", out);
	case TT_WITH: template_next(p); return parse_branch(p, NODE_WITH, "with", out);
	case TT_RANGE: template_next(p); return parse_branch(p, NODE_RANGE, "range", out);
	case TT_BREAK: template_next(p); return parse_jump(p, NODE_BREAK, "break", out);
	case TT_CONTINUE: template_next(p); return parse_jump(p, NODE_CONTINUE, "continue", out);
	case TT_TEMPLATE: template_next(p); return parse_template(p, out);
	case TT_BLOCK: template_next(p); return parse_block(p, out);
	case TT_DEFINE:
		template_next(p);
		if (p->depth > 1)
			return template_unexpected(p, "command");
		*out = NULL;
		return parse_define(p);
	default: break;
	}
	*out = template_node(p, NODE_ACTION);
	return template_parse_pipe(p, "command", TT_RIGHT, &(*out)->branch.pipe);
}

static int text_node(struct template_parser *p, struct node **out)
{
	*out = template_node(p, NODE_TEXT);
	(*out)->text = p->l.token;
	return 0;
}

/* Behind {{: does the list end here?  Takes the word. */
static bool list_ends(struct template_parser *p, enum list_end *end)
{
	switch (template_peek_word(p)) {
	case TT_END_WORD: *end = ENDED_BY_END; break;
	case TT_ELSE: *end = ENDED_BY_ELSE; break;
	default: return false;
	}
	template_next(p);
	return true;
}

/* Up to {{end}} with its }}, to {{else without it, or, at the top, to the end of the text. */
static int parse_list(struct template_parser *p, struct node **list, enum list_end *end)
{
	struct node **tail = list;
	int r;

	if ((r = template_deeper(p)) < 0)
		return r;
	*list = NULL;
	for (;;) {
		struct node *n = NULL;
		switch (template_next(p)) {
		case TT_TEXT: r = text_node(p, &n); break;
		case TT_LEFT:
			if (list_ends(p, end)) {
				p->depth--;
				return *end == ENDED_BY_END ? expect_right(p, "end") : 0;
			}
			r = parse_action(p, &n);
			break;
		case TT_END:
			*end = ENDED_BY_TEXT;
			if (--p->depth > 0)
				return template_parse_fail(p, "unexpected EOF");
			return 0;
		default: return template_unexpected(p, "input");
		}
		if (r < 0)
			return r;
		if (!n)
			continue;
		*tail = n;
		tail = &n->next;
	}
}

/* ---- templates by name ---- */

static const struct template_body *find_body(const struct template_program *t, struct str name)
{
	for (const struct template_body *b = t->defined; b; b = b->next)
		if (str_eq(b->name, name))
			return b;
	return NULL;
}

static int link_list(struct template_parser *p, struct node *list)
{
	int r;

	for (struct node *n = list; n; n = n->next) {
		switch (n->kind) {
		case NODE_IF:
		case NODE_WITH:
		case NODE_RANGE:
			if ((r = link_list(p, n->branch.list)) < 0 ||
				(r = link_list(p, n->branch.other)) < 0)
				return r;
			break;
		case NODE_TEMPLATE:
			if ((n->tmpl.body = find_body(p->program, n->tmpl.name)))
				break;
			p->l.pos = n->pos;
			return template_parse_fail(
				p, "template \"%.*s\" not defined", STR_ARG(n->tmpl.name));
		default: break;
		}
	}
	return 0;
}

static int link_all(struct template_parser *p)
{
	int r = link_list(p, p->program->main.list);

	for (struct template_body *b = p->program->defined; b && r >= 0; b = b->next)
		r = link_list(p, b->list);
	return r;
}

/* $, and the variables of the dialect behind it. */
static int declare_given(struct template_parser *p)
{
	const struct template_dialect *d = p->program->dialect;
	uint16_t slot;
	int r = template_declare(p, STR("$"), &slot);

	for (size_t i = 0; d && d->variables[i] && r == 0; i++)
		r = template_declare(p, str_c(d->variables[i]), &slot);
	return r;
}

int template_tree_parse(struct template_program *t, struct query *q, struct error *e)
{
	struct template_parser *p = xcalloc(1, sizeof *p);
	enum list_end end;
	int r;

	p->program = t;
	p->query = q;
	p->arena = &q->arena;
	p->e = e;
	p->body = &t->main;
	template_lexer_init(&p->l, t->text);
	if ((r = declare_given(p)) == 0 && (r = parse_list(p, &t->main.list, &end)) == 0 &&
		end != ENDED_BY_TEXT)
		r = template_parse_fail(
			p, "unexpected {{%s}}", end == ENDED_BY_END ? "end" : "else");
	if (r == 0)
		r = link_all(p);
	free(p);
	return r;
}
