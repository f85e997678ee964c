/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recursive descent over the tokens of one action after the other.  Two things
 * are settled here that Go leaves for later: a variable gets its slot, so that
 * running needs no names, and a constant pattern of a regex function is
 * compiled, so that a wrong one is told at once and not with every row.
 *
 * Source: pkg.go.dev/text/template ("Actions", "Pipelines", "Variables").
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "query/ast.h"
#include "query/number.h"
#include "query/quote.h"
#include "query/template_lex.h"
#include "query/template_rune.h"
#include "query/template_tree.h"

struct parser {
	struct template_program *program;
	struct query *query;
	struct arena *arena;
	struct error *e;
	struct template_lexer l;
	bool pending; /* the lexer's token is still to be taken */
	unsigned depth, range_depth;
	struct template_body *body; /* that is being parsed */
	struct str variables[TEMPLATE_VARIABLES_MAX];
	size_t n_variables;
};

/* What ended a list. */
enum list_end { ENDED_BY_END, ENDED_BY_ELSE, ENDED_BY_TEXT };

static int parse_list(struct parser *p, struct node **list, enum list_end *end);
static int parse_pipe(
	struct parser *p, const char *context, enum template_token closing, struct node **out);

/* ---- tokens ---- */

static size_t line_of(const struct parser *p, size_t pos)
{
	size_t line = 1;

	for (size_t i = 0; i < pos && i < p->program->text.n; i++)
		line += p->program->text.p[i] == '\n';
	return line;
}

static int PRINTF(2, 3) fail(struct parser *p, const char *fmt, ...)
{
	char sentence[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof sentence, fmt, ap);
	va_end(ap);
	return error_set(p->e, ERR_ARG, "template: :%zu: %s", line_of(p, p->l.pos), sentence);
}

static enum template_token next(struct parser *p)
{
	if (!p->pending)
		template_lexer_next(&p->l);
	p->pending = false;
	return p->l.kind;
}

static enum template_token peek(struct parser *p)
{
	next(p);
	p->pending = true;
	return p->l.kind;
}

static enum template_token next_word(struct parser *p)
{
	while (next(p) == TT_SPACE)
		;
	return p->l.kind;
}

static enum template_token peek_word(struct parser *p)
{
	next_word(p);
	p->pending = true;
	return p->l.kind;
}

/* The token that was taken last does not belong here. */
static int unexpected(struct parser *p, const char *context)
{
	struct buf word = {0};
	int r;

	if (p->l.kind == TT_ERROR)
		return fail(p, "%s", p->l.error);
	if (p->l.kind == TT_END)
		return fail(p, "unexpected EOF");
	if (p->l.kind >= TT_BLOCK)
		buf_printf(&word, "<%.*s>", STR_ARG(p->l.token));
	else
		datum_quote(&word, rune_prefix(p->l.token, 10));
	if (p->l.kind < TT_BLOCK && rune_count(p->l.token) > 10)
		buf_c(&word, "...");
	r = fail(p, "unexpected %s in %s", buf_cstr(&word), context);
	buf_fini(&word);
	return r;
}

static struct node *node_new(struct parser *p, enum node_kind kind)
{
	struct node *n = ARENA_NEW(p->arena, struct node);

	n->kind = kind;
	n->pos = (uint32_t)p->l.pos;
	n->end = (uint32_t)(p->l.pos + p->l.token.n);
	return n;
}

static int deeper(struct parser *p)
{
	if (++p->depth <= TEMPLATE_DEPTH_MAX)
		return 0;
	return error_set(p->e, ERR_LIMIT, "template: :%zu: nested more than %d deep",
		line_of(p, p->l.pos), TEMPLATE_DEPTH_MAX);
}

static struct str source(const struct parser *p, const struct node *n)
{
	return str_sub(p->program->text, n->pos, n->end);
}

/* ---- variables ---- */

static int declare(struct parser *p, struct str name, uint16_t *slot)
{
	if (p->n_variables == TEMPLATE_VARIABLES_MAX)
		return error_set(p->e, ERR_LIMIT,
			"template: :%zu: more than %d variables: split the template",
			line_of(p, p->l.pos), TEMPLATE_VARIABLES_MAX);
	*slot = (uint16_t)p->n_variables;
	p->variables[p->n_variables++] = name;
	if (p->n_variables > p->body->n_slots)
		p->body->n_slots = p->n_variables;
	return 0;
}

static int lookup(struct parser *p, struct str name, uint16_t *slot)
{
	for (size_t i = p->n_variables; i-- > 0;) {
		if (str_eq(p->variables[i], name)) {
			*slot = (uint16_t)i;
			return 0;
		}
	}
	return fail(p, "undefined variable \"%.*s\"", STR_ARG(name));
}

/* ---- constants ---- */

static int number_node(struct parser *p, struct node **out)
{
	struct node *n = node_new(p, NODE_NUMBER);
	struct str text = p->l.token;
	bool written_float = false,
	     hex = text.n > 2 &&
		   (text.p[1] == 'x' || text.p[2] == 'x' || text.p[1] == 'X' || text.p[2] == 'X');

	for (size_t i = 0; i < text.n; i++)
		written_float |= strchr(hex ? ".pP" : ".eE", text.p[i]) != NULL;
	n->number.is_int = number_int(text, 0, &n->number.i);
	if (n->number.is_int) {
		n->number.f = (double)n->number.i;
	} else if (!number_float(text, &n->number.f)) {
		return fail(p, "illegal number syntax: \"%.*s\"", STR_ARG(text));
	} else if (!written_float) {
		return fail(p, "integer overflow: \"%.*s\"", STR_ARG(text));
	} else {
		n->number.ideal_float = true;
		/* 1e3 is fine where an int is asked for. */
		if (n->number.f >= -9e18 && n->number.f <= 9e18 &&
			(double)(int64_t)n->number.f == n->number.f) {
			n->number.is_int = true;
			n->number.i = (int64_t)n->number.f;
		}
	}
	*out = n;
	return 0;
}

static int char_node(struct parser *p, struct node **out)
{
	struct node *n = node_new(p, NODE_NUMBER);
	struct str inside = str_sub(p->l.token, 1, p->l.token.n - 1);
	struct buf b = {0};
	size_t length = 0;
	uint32_t c = 0;

	/* Within its quotes ' is written as \', which strings do not know. */
	if (str_eq(inside, STR("\\'")))
		buf_char(&b, '\'');
	else if (!quote_go_read(&b, inside))
		b.n = 0;
	if (b.n)
		c = rune_first(buf_view(&b), &length);
	if (b.n == 0 || length != b.n) {
		buf_fini(&b);
		return fail(p, "malformed character constant: %.*s", STR_ARG(p->l.token));
	}
	buf_fini(&b);
	n->number = (struct node_number){.is_int = true, .i = c, .f = c};
	*out = n;
	return 0;
}

static int string_node(struct parser *p, struct node **out)
{
	struct node *n = node_new(p, NODE_STRING);
	struct str inside = str_sub(p->l.token, 1, p->l.token.n - 1);
	struct buf b = {0};
	bool fine = true;

	if (p->l.kind == TT_STRING)
		fine = quote_go_read(&b, inside);
	else
		buf_str(&b, inside);
	if (fine)
		n->text = arena_str(p->arena, buf_view(&b));
	buf_fini(&b);
	if (!fine)
		return fail(p, "invalid syntax: %.*s", STR_ARG(p->l.token));
	*out = n;
	return 0;
}

/* ---- operands ---- */

static int function_node(struct parser *p, struct node **out)
{
	struct node *n = node_new(p, NODE_FUNCTION);

	n->call.function = template_function(p->l.token);
	if (!n->call.function)
		return fail(p, "function \"%.*s\" not defined", STR_ARG(p->l.token));
	*out = n;
	return 0;
}

static int variable_node(struct parser *p, struct node **out)
{
	struct node *n = node_new(p, NODE_VARIABLE);

	*out = n;
	return lookup(p, p->l.token, &n->path.slot);
}

static void path_add(struct parser *p, struct node *n)
{
	struct str *names = ARENA_ARRAY(p->arena, struct str, n->path.n + 1);

	if (n->path.n)
		memcpy(names, n->path.names, n->path.n * sizeof *names);
	names[n->path.n++] = str_sub(p->l.token, 1, p->l.token.n);
	n->path.names = names;
	n->end = (uint32_t)(p->l.pos + p->l.token.n);
}

static int parenthesised(struct parser *p, struct node **out)
{
	uint32_t pos = (uint32_t)p->l.pos;
	int r;

	if ((r = deeper(p)) < 0 || (r = parse_pipe(p, "parenthesized pipeline", TT_CLOSE, out)) < 0)
		return r;
	p->depth--;
	(*out)->pos = pos;
	(*out)->end = (uint32_t)(p->l.pos + p->l.token.n);
	return 0;
}

/* A function, constant, field, variable or something in parentheses; *out is NULL when none of
 * them comes. */
static int parse_term(struct parser *p, struct node **out)
{
	*out = NULL;
	switch (next_word(p)) {
	case TT_IDENTIFIER: return function_node(p, out);
	case TT_DOT: *out = node_new(p, NODE_DOT); return 0;
	case TT_NIL: *out = node_new(p, NODE_NIL); return 0;
	case TT_VARIABLE: return variable_node(p, out);
	case TT_FIELD:
		*out = node_new(p, NODE_FIELD);
		path_add(p, *out);
		return 0;
	case TT_BOOL:
		*out = node_new(p, NODE_BOOL);
		(*out)->b = p->l.token.n == 4;
		return 0;
	case TT_CHAR: return char_node(p, out);
	case TT_NUMBER: return number_node(p, out);
	case TT_OPEN: return parenthesised(p, out);
	case TT_STRING:
	case TT_RAW: return string_node(p, out);
	default: p->pending = true; return 0;
	}
}

/* A term with the fields behind it. */
static int parse_operand(struct parser *p, struct node **out)
{
	struct node *chain;
	int r = parse_term(p, out);

	if (r < 0 || !*out || peek(p) != TT_FIELD)
		return r;
	switch ((*out)->kind) {
	case NODE_FIELD:
	case NODE_VARIABLE: chain = *out; break;
	case NODE_BOOL:
	case NODE_STRING:
	case NODE_NUMBER:
	case NODE_NIL:
	case NODE_DOT: return fail(p, "unexpected . after term \"%.*s\"", STR_ARG(source(p, *out)));
	default:
		chain = node_new(p, NODE_CHAIN);
		chain->pos = (*out)->pos;
		chain->path.of = *out;
	}
	while (peek(p) == TT_FIELD) {
		next(p);
		path_add(p, chain);
	}
	*out = chain;
	return 0;
}

/* ---- pipelines ---- */

static int constant_regex(struct parser *p, struct node *command)
{
	struct node *name = command->command.args, *pattern = name->next;
	int r;

	if (name->kind != NODE_FUNCTION || name->call.function->special != CALL_REGEX || !pattern ||
		pattern->kind != NODE_STRING)
		return 0;
	r = query_regex(p->query, pattern->text, REGEX_GROUPS, &name->call.regex, p->e);
	if (r < 0)
		return error_wrap(p->e, r, "template: :%zu: %s", line_of(p, name->pos),
			name->call.function->name);
	return 0;
}

/* Up to the pipe, or what closes the pipeline, which stays. */
static int parse_command(struct parser *p, struct node **out)
{
	struct node *command, **tail, *operand;
	int r;

	peek_word(p);
	command = node_new(p, NODE_COMMAND);
	tail = &command->command.args;
	for (;;) {
		if ((r = parse_operand(p, &operand)) < 0)
			return r;
		if (operand) {
			if (++command->command.n > TEMPLATE_ARGS_MAX)
				return error_set(p->e, ERR_LIMIT,
					"template: :%zu: more than %d arguments",
					line_of(p, p->l.pos), TEMPLATE_ARGS_MAX);
			*tail = operand;
			tail = &operand->next;
			command->end = operand->end;
		}
		switch (next(p)) {
		case TT_SPACE: continue;
		case TT_RIGHT:
		case TT_CLOSE: p->pending = true; break;
		case TT_PIPE: break;
		default: return unexpected(p, "operand");
		}
		break;
	}
	if (command->command.n == 0)
		return fail(p, "empty command");
	*out = command;
	return constant_regex(p, command);
}

/* A constant takes no argument, so nothing can be piped into it. */
static bool takes_pipe(const struct node *command)
{
	switch (command->command.args->kind) {
	case NODE_BOOL:
	case NODE_DOT:
	case NODE_NIL:
	case NODE_NUMBER:
	case NODE_STRING: return false;
	default: return true;
	}
}

static int parse_commands(
	struct parser *p, const char *context, enum template_token closing, struct node_pipe *pipe)
{
	struct node **tail = &pipe->commands;
	bool piped = false;
	int r, stage = 0;

	for (;;) {
		enum template_token kind = peek_word(p);
		if (kind == closing)
			break;
		if (kind == TT_RIGHT || kind == TT_CLOSE || kind == TT_PIPE || kind == TT_END ||
			kind == TT_ERROR || kind == TT_OTHER || kind == TT_DECLARE ||
			kind == TT_ASSIGN || kind >= TT_BLOCK) {
			next(p);
			return unexpected(p, context);
		}
		if ((r = parse_command(p, tail)) < 0)
			return r;
		stage++;
		if (stage > 1 && !takes_pipe(*tail))
			return fail(p, "non executable command in pipeline stage %d", stage);
		tail = &(*tail)->next;
		/* Was it a pipe that ended it? */
		piped = !p->pending;
	}
	if (stage == 0 || piped)
		return fail(p, "missing value for %s", context);
	return 0;
}

struct declared {
	struct str names[2];
	size_t n;
	bool assigns;
};

/* `$x :=`, `$x =` and, for range, `$i, $x :=`; otherwise the lexer stays where it is. */
static int parse_declared(struct parser *p, bool range, struct declared *d)
{
	struct template_lexer was;
	bool was_pending, comma = false;

	*d = (struct declared){0};
	peek_word(p);
	was = p->l;
	was_pending = p->pending;
	while (next_word(p) == TT_VARIABLE) {
		d->names[d->n++] = p->l.token;
		switch (next_word(p)) {
		case TT_DECLARE: return 0;
		case TT_ASSIGN: d->assigns = true; return 0;
		case TT_OTHER:
			if (p->l.token.p[0] != ',')
				return 0;
			if (!range || d->n == 2)
				return fail(p, "too many declarations in %s",
					range ? "range" : "command");
			comma = true;
			continue;
		default: break;
		}
		break;
	}
	if (comma)
		return fail(p, "range can only initialize variables");
	d->n = 0;
	p->l = was;
	p->pending = was_pending;
	return 0;
}

static int parse_pipe(
	struct parser *p, const char *context, enum template_token closing, struct node **out)
{
	struct declared declared;
	struct node *pipe;
	int r;

	peek_word(p);
	pipe = node_new(p, NODE_PIPE);
	if ((r = parse_declared(p, strcmp(context, "range") == 0, &declared)) < 0 ||
		(r = parse_commands(p, context, closing, &pipe->pipe)) < 0)
		return r;
	next_word(p); /* what closes it */
	pipe->end = (uint32_t)p->l.pos;
	while (pipe->end > pipe->pos && strchr(" \t\r\n", p->program->text.p[pipe->end - 1]))
		pipe->end--;
	pipe->pipe.assigns = declared.assigns;
	pipe->pipe.n_slots = (uint8_t)declared.n;
	for (size_t i = 0; i < declared.n; i++) {
		r = declared.assigns ? lookup(p, declared.names[i], &pipe->pipe.slots[i])
				     : declare(p, declared.names[i], &pipe->pipe.slots[i]);
		if (r < 0)
			return r;
	}
	*out = pipe;
	return 0;
}

/* ---- actions ---- */

static int expect_right(struct parser *p, const char *context)
{
	return next_word(p) == TT_RIGHT ? 0 : unexpected(p, context);
}

static int parse_branch(struct parser *p, enum node_kind kind, const char *word, struct node **out);

/* Behind {{else: `if` and `with` go on as a nested action that shares the {{end}}. */
static int parse_else(struct parser *p, enum node_kind kind, const char *word, struct node *n)
{
	enum template_token again = kind == NODE_IF ? TT_IF : kind == NODE_WITH ? TT_WITH : TT_END;
	enum list_end end;
	int r;

	if (peek_word(p) == again && again != TT_END) {
		next_word(p);
		if ((r = deeper(p)) < 0)
			return r;
		r = parse_branch(p, kind, word, &n->branch.other);
		p->depth--;
		return r;
	}
	if ((r = expect_right(p, "else")) < 0 || (r = parse_list(p, &n->branch.other, &end)) < 0)
		return r;
	if (end != ENDED_BY_END)
		return fail(p, "expected end; found {{else}}");
	return 0;
}

static int parse_branch(struct parser *p, enum node_kind kind, const char *word, struct node **out)
{
	struct node *n = node_new(p, kind);
	size_t scope = p->n_variables, inner;
	enum list_end end;
	int r;

	if ((r = parse_pipe(p, word, TT_RIGHT, &n->branch.pipe)) < 0)
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

static int parse_jump(struct parser *p, enum node_kind kind, const char *word, struct node **out)
{
	*out = node_new(p, kind);
	if (p->range_depth == 0)
		return fail(p, "{{%s}} outside {{range}}", word);
	return expect_right(p, word);
}

static int template_name(struct parser *p, const char *context, struct str *out)
{
	struct node *n;
	int r;

	if (next_word(p) != TT_STRING && p->l.kind != TT_RAW)
		return unexpected(p, context);
	if ((r = string_node(p, &n)) < 0)
		return r;
	*out = n->text;
	return 0;
}

static int parse_template(struct parser *p, struct node **out)
{
	struct node *n = node_new(p, NODE_TEMPLATE);
	int r = template_name(p, "template clause", &n->tmpl.name);

	*out = n;
	if (r < 0)
		return r;
	/* It is named by its name. */
	n->pos = (uint32_t)p->l.pos;
	n->end = (uint32_t)(p->l.pos + p->l.token.n);
	if (peek_word(p) == TT_RIGHT) {
		next_word(p);
		return 0;
	}
	return parse_pipe(p, "template clause", TT_RIGHT, &n->tmpl.pipe);
}

/* Behind {{define or {{block with its name and pipe: a body of its own, up to {{end}}. */
static int parse_body(struct parser *p, struct str name, const char *context)
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
	if ((r = declare(p, STR("$"), &(uint16_t){0})) < 0 ||
		(r = parse_list(p, &body->list, &end)) < 0)
		return r;
	if (end != ENDED_BY_END)
		return fail(p, "unexpected {{else}} in %s", context);
	if (n)
		memcpy(p->variables, variables, n * sizeof *variables);
	p->n_variables = n;
	p->range_depth = range_depth;
	p->body = was;
	body->next = p->program->defined;
	p->program->defined = body;
	return 0;
}

static int parse_define(struct parser *p)
{
	struct str name;
	int r = template_name(p, "define clause", &name);

	if (r < 0 || (r = expect_right(p, "define clause")) < 0)
		return r;
	return parse_body(p, name, "define clause");
}

static int parse_block(struct parser *p, struct node **out)
{
	struct node *n = node_new(p, NODE_TEMPLATE);
	int r;

	*out = n;
	if ((r = template_name(p, "block clause", &n->tmpl.name)) < 0 ||
		(r = parse_pipe(p, "block clause", TT_RIGHT, &n->tmpl.pipe)) < 0)
		return r;
	return parse_body(p, n->tmpl.name, "block clause");
}

static int parse_action(struct parser *p, struct node **out)
{
	switch (peek_word(p)) {
	case TT_IF: next(p); return parse_branch(p, NODE_IF, "if", out);
	case TT_WITH: next(p); return parse_branch(p, NODE_WITH, "with", out);
	case TT_RANGE: next(p); return parse_branch(p, NODE_RANGE, "range", out);
	case TT_BREAK: next(p); return parse_jump(p, NODE_BREAK, "break", out);
	case TT_CONTINUE: next(p); return parse_jump(p, NODE_CONTINUE, "continue", out);
	case TT_TEMPLATE: next(p); return parse_template(p, out);
	case TT_BLOCK: next(p); return parse_block(p, out);
	case TT_DEFINE:
		next(p);
		if (p->depth > 1)
			return unexpected(p, "command");
		*out = NULL;
		return parse_define(p);
	default: break;
	}
	*out = node_new(p, NODE_ACTION);
	return parse_pipe(p, "command", TT_RIGHT, &(*out)->branch.pipe);
}

static int text_node(struct parser *p, struct node **out)
{
	*out = node_new(p, NODE_TEXT);
	(*out)->text = p->l.token;
	return 0;
}

/* Behind {{: does the list end here?  Takes the word. */
static bool list_ends(struct parser *p, enum list_end *end)
{
	switch (peek_word(p)) {
	case TT_END_WORD: *end = ENDED_BY_END; break;
	case TT_ELSE: *end = ENDED_BY_ELSE; break;
	default: return false;
	}
	next(p);
	return true;
}

/* Up to {{end}} with its }}, to {{else without it, or, at the top, to the end of the text. */
static int parse_list(struct parser *p, struct node **list, enum list_end *end)
{
	struct node **tail = list;
	int r;

	if ((r = deeper(p)) < 0)
		return r;
	*list = NULL;
	for (;;) {
		struct node *n = NULL;
		switch (next(p)) {
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
				return fail(p, "unexpected EOF");
			return 0;
		default: return unexpected(p, "input");
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

static int link_list(struct parser *p, struct node *list)
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
			return fail(p, "template \"%.*s\" not defined", STR_ARG(n->tmpl.name));
		default: break;
		}
	}
	return 0;
}

static int link_all(struct parser *p)
{
	int r = link_list(p, p->program->main.list);

	for (struct template_body *b = p->program->defined; b && r >= 0; b = b->next)
		r = link_list(p, b->list);
	return r;
}

int template_tree_parse(struct template_program *t, struct query *q, struct error *e)
{
	struct parser *p = xcalloc(1, sizeof *p);
	enum list_end end;
	uint16_t root;
	int r;

	p->program = t;
	p->query = q;
	p->arena = &q->arena;
	p->e = e;
	p->body = &t->main;
	template_lexer_init(&p->l, t->text);
	if ((r = declare(p, STR("$"), &root)) == 0 &&
		(r = parse_list(p, &t->main.list, &end)) == 0 && end != ENDED_BY_TEXT)
		r = fail(p, "unexpected {{%s}}", end == ENDED_BY_END ? "end" : "else");
	if (r == 0)
		r = link_all(p);
	free(p);
	return r;
}
