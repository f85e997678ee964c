/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands inside of an action: operands, commands, pipelines, variables.
 * Two things are settled here that Go leaves for later: a variable gets its
 * slot, so that running needs no names, and a constant pattern of a regex
 * function is compiled, so that a wrong one is told at once and not with every
 * row.
 *
 * Source: pkg.go.dev/text/template ("Pipelines", "Variables").
 */
#include <stdio.h>

#include "query/ast.h"
#include "query/number.h"
#include "query/quote.h"
#include "query/template_parse.h"
#include "codec/rune.h"

/* ---- tokens ---- */

static size_t line_of(const struct template_parser *p, size_t pos)
{
	size_t line = 1;

	for (size_t i = 0; i < pos && i < p->program->text.n; i++)
		line += p->program->text.p[i] == '\n';
	return line;
}

int template_parse_fail(struct template_parser *p, const char *fmt, ...)
{
	char sentence[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof sentence, fmt, ap);
	va_end(ap);
	return error_set(p->e, ERR_ARG, "template: :%zu: %s", line_of(p, p->l.pos), sentence);
}

enum template_token template_next(struct template_parser *p)
{
	if (!p->pending)
		template_lexer_next(&p->l);
	p->pending = false;
	return p->l.kind;
}

static enum template_token peek(struct template_parser *p)
{
	template_next(p);
	p->pending = true;
	return p->l.kind;
}

enum template_token template_next_word(struct template_parser *p)
{
	while (template_next(p) == TT_SPACE)
		;
	return p->l.kind;
}

enum template_token template_peek_word(struct template_parser *p)
{
	template_next_word(p);
	p->pending = true;
	return p->l.kind;
}

/* The token that was taken last does not belong here. */
int template_unexpected(struct template_parser *p, const char *context)
{
	struct buf word = {0};
	int r;

	if (p->l.kind == TT_ERROR)
		return template_parse_fail(p, "%s", p->l.error);
	if (p->l.kind == TT_END)
		return template_parse_fail(p, "unexpected EOF");
	if (p->l.kind >= TT_BLOCK)
		buf_printf(&word, "<%.*s>", STR_ARG(p->l.token));
	else
		datum_quote(&word, rune_prefix(p->l.token, 10));
	if (p->l.kind < TT_BLOCK && rune_count(p->l.token) > 10)
		buf_c(&word, "...");
	r = template_parse_fail(p, "unexpected %s in %s", buf_cstr(&word), context);
	buf_fini(&word);
	return r;
}

struct node *template_node(struct template_parser *p, enum node_kind kind)
{
	struct node *n = ARENA_NEW(p->arena, struct node);

	n->kind = kind;
	n->pos = (uint32_t)p->l.pos;
	n->end = (uint32_t)(p->l.pos + p->l.token.n);
	return n;
}

int template_deeper(struct template_parser *p)
{
	if (++p->depth <= TEMPLATE_DEPTH_MAX)
		return 0;
	return error_set(p->e, ERR_LIMIT, "template: :%zu: nested more than %d deep",
		line_of(p, p->l.pos), TEMPLATE_DEPTH_MAX);
}

static struct str source(const struct template_parser *p, const struct node *n)
{
	return str_sub(p->program->text, n->pos, n->end);
}

/* ---- variables ---- */

int template_declare(struct template_parser *p, struct str name, uint16_t *slot)
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

static int lookup(struct template_parser *p, struct str name, uint16_t *slot)
{
	for (size_t i = p->n_variables; i-- > 0;) {
		if (str_eq(p->variables[i], name)) {
			*slot = (uint16_t)i;
			return 0;
		}
	}
	return template_parse_fail(p, "undefined variable \"%.*s\"", STR_ARG(name));
}

/* ---- constants ---- */

static int number_node(struct template_parser *p, struct node **out)
{
	struct node *n = template_node(p, NODE_NUMBER);
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
		return template_parse_fail(p, "illegal number syntax: \"%.*s\"", STR_ARG(text));
	} else if (!written_float) {
		return template_parse_fail(p, "integer overflow: \"%.*s\"", STR_ARG(text));
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

static int char_node(struct template_parser *p, struct node **out)
{
	struct node *n = template_node(p, NODE_NUMBER);
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
		return template_parse_fail(
			p, "malformed character constant: %.*s", STR_ARG(p->l.token));
	}
	buf_fini(&b);
	n->number = (struct node_number){.is_int = true, .i = c, .f = c};
	*out = n;
	return 0;
}

int template_string_node(struct template_parser *p, struct node **out)
{
	struct node *n = template_node(p, NODE_STRING);
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
		return template_parse_fail(p, "invalid syntax: %.*s", STR_ARG(p->l.token));
	*out = n;
	return 0;
}

/* ---- operands ---- */

static int function_node(struct template_parser *p, struct node **out)
{
	struct node *n = template_node(p, NODE_FUNCTION);

	if (p->program->dialect)
		n->call.function = template_table_find(p->program->dialect->functions, p->l.token);
	if (!n->call.function)
		n->call.function = template_function(p->l.token);
	if (!n->call.function)
		return template_parse_fail(p, "function \"%.*s\" not defined", STR_ARG(p->l.token));
	*out = n;
	return 0;
}

static int variable_node(struct template_parser *p, struct node **out)
{
	struct node *n = template_node(p, NODE_VARIABLE);

	*out = n;
	return lookup(p, p->l.token, &n->path.slot);
}

static void path_add(struct template_parser *p, struct node *n)
{
	struct str *names = ARENA_ARRAY(p->arena, struct str, n->path.n + 1);

	if (n->path.n)
		memcpy(names, n->path.names, n->path.n * sizeof *names);
	names[n->path.n++] = str_sub(p->l.token, 1, p->l.token.n);
	n->path.names = names;
	n->end = (uint32_t)(p->l.pos + p->l.token.n);
}

static int parenthesised(struct template_parser *p, struct node **out)
{
	uint32_t pos = (uint32_t)p->l.pos;
	int r;

	if ((r = template_deeper(p)) < 0 ||
		(r = template_parse_pipe(p, "parenthesized pipeline", TT_CLOSE, out)) < 0)
		return r;
	p->depth--;
	(*out)->pos = pos;
	(*out)->end = (uint32_t)(p->l.pos + p->l.token.n);
	return 0;
}

/* A function, constant, field, variable or something in parentheses; *out is NULL when none of
 * them comes. */
static int parse_term(struct template_parser *p, struct node **out)
{
	*out = NULL;
	switch (template_next_word(p)) {
	case TT_IDENTIFIER: return function_node(p, out);
	case TT_DOT: *out = template_node(p, NODE_DOT); return 0;
	case TT_NIL: *out = template_node(p, NODE_NIL); return 0;
	case TT_VARIABLE: return variable_node(p, out);
	case TT_FIELD:
		*out = template_node(p, NODE_FIELD);
		path_add(p, *out);
		return 0;
	case TT_BOOL:
		*out = template_node(p, NODE_BOOL);
		(*out)->b = p->l.token.n == 4;
		return 0;
	case TT_CHAR: return char_node(p, out);
	case TT_NUMBER: return number_node(p, out);
	case TT_OPEN: return parenthesised(p, out);
	case TT_STRING:
	case TT_RAW: return template_string_node(p, out);
	default: p->pending = true; return 0;
	}
}

/* A term with the fields behind it. */
static int parse_operand(struct template_parser *p, struct node **out)
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
	case NODE_DOT:
		return template_parse_fail(
			p, "unexpected . after term \"%.*s\"", STR_ARG(source(p, *out)));
	default:
		chain = template_node(p, NODE_CHAIN);
		chain->pos = (*out)->pos;
		chain->path.of = *out;
	}
	while (peek(p) == TT_FIELD) {
		template_next(p);
		path_add(p, chain);
	}
	*out = chain;
	return 0;
}

/* ---- pipelines ---- */

static int constant_regex(struct template_parser *p, struct node *command)
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
static int parse_command(struct template_parser *p, struct node **out)
{
	struct node *command, **tail, *operand;
	int r;

	template_peek_word(p);
	command = template_node(p, NODE_COMMAND);
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
		switch (template_next(p)) {
		case TT_SPACE: continue;
		case TT_RIGHT:
		case TT_CLOSE: p->pending = true; break;
		case TT_PIPE: break;
		default: return template_unexpected(p, "operand");
		}
		break;
	}
	if (command->command.n == 0)
		return template_parse_fail(p, "empty command");
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

static int parse_commands(struct template_parser *p, const char *context,
	enum template_token closing, struct node_pipe *pipe)
{
	struct node **tail = &pipe->commands;
	bool piped = false;
	int r, stage = 0;

	for (;;) {
		enum template_token kind = template_peek_word(p);
		if (kind == closing)
			break;
		if (kind == TT_RIGHT || kind == TT_CLOSE || kind == TT_PIPE || kind == TT_END ||
			kind == TT_ERROR || kind == TT_OTHER || kind == TT_DECLARE ||
			kind == TT_ASSIGN || kind >= TT_BLOCK) {
			template_next(p);
			return template_unexpected(p, context);
		}
		if ((r = parse_command(p, tail)) < 0)
			return r;
		stage++;
		if (stage > 1 && !takes_pipe(*tail))
			return template_parse_fail(
				p, "non executable command in pipeline stage %d", stage);
		tail = &(*tail)->next;
		/* Was it a pipe that ended it? */
		piped = !p->pending;
	}
	if (stage == 0 || piped)
		return template_parse_fail(p, "missing value for %s", context);
	return 0;
}

struct declared {
	struct str names[2];
	size_t n;
	bool assigns;
};

/* `$x :=`, `$x =` and, for range, `$i, $x :=`; otherwise the lexer stays where it is. */
static int parse_declared(struct template_parser *p, bool range, struct declared *d)
{
	struct template_lexer was;
	bool was_pending, comma = false;

	*d = (struct declared){0};
	template_peek_word(p);
	was = p->l;
	was_pending = p->pending;
	while (template_next_word(p) == TT_VARIABLE) {
		d->names[d->n++] = p->l.token;
		switch (template_next_word(p)) {
		case TT_DECLARE: return 0;
		case TT_ASSIGN: d->assigns = true; return 0;
		case TT_OTHER:
			if (p->l.token.p[0] != ',')
				return 0;
			if (!range || d->n == 2)
				return template_parse_fail(p, "too many declarations in %s",
					range ? "range" : "command");
			comma = true;
			continue;
		default: break;
		}
		break;
	}
	if (comma)
		return template_parse_fail(p, "range can only initialize variables");
	d->n = 0;
	p->l = was;
	p->pending = was_pending;
	return 0;
}

int template_parse_pipe(struct template_parser *p, const char *context, enum template_token closing,
	struct node **out)
{
	struct declared declared;
	struct node *pipe;
	int r;

	template_peek_word(p);
	pipe = template_node(p, NODE_PIPE);
	if ((r = parse_declared(p, strcmp(context, "range") == 0, &declared)) < 0 ||
		(r = parse_commands(p, context, closing, &pipe->pipe)) < 0)
		return r;
	template_next_word(p); /* what closes it */
	pipe->end = (uint32_t)p->l.pos;
	while (pipe->end > pipe->pos && strchr(" \t\r\n", p->program->text.p[pipe->end - 1]))
		pipe->end--;
	pipe->pipe.assigns = declared.assigns;
	pipe->pipe.n_slots = (uint8_t)declared.n;
	for (size_t i = 0; i < declared.n; i++) {
		r = declared.assigns ? lookup(p, declared.names[i], &pipe->pipe.slots[i])
				     : template_declare(p, declared.names[i], &pipe->pipe.slots[i]);
		if (r < 0)
			return r;
	}
	*out = pipe;
	return 0;
}
