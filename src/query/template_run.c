/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the tree.  Errors have the words of Go: the sentence is set where
 * something goes wrong, and wrapped once, by the node at which Go would name it,
 *
 *   template: :1:3: executing "" at <div 1 .x>: error calling div: …
 *
 * Each evaluation counts as a step, and text that functions read counts too:
 * a template cannot run for long, nor fill the memory, whatever the row holds.
 *
 * Source: pkg.go.dev/text/template.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "query/template_memory.h"
#include "query/template_time.h"

enum walk { WALK_ON, WALK_BREAK, WALK_CONTINUE }; /* negative: an error */

static int eval_pipe(struct template_run *r, const struct datum *dot, const struct node *pipe,
	struct datum *out);
static int eval_command(struct template_run *r, const struct datum *dot, const struct node *command,
	const struct datum *piped, struct datum *out);
static int walk_list(struct template_run *r, const struct datum *dot, const struct node *list);

/* ---- errors ---- */

static struct str source(const struct template_run *r, const struct node *n)
{
	return str_sub(r->program->text, n->pos, n->end);
}

/* Name the place of the sentence that template_fail left. */
static int fail_here(struct template_run *r, const struct node *n)
{
	struct str before = str_sub(r->program->text, 0, n->pos), at = source(r, n);
	size_t line = 1, column = before.n;
	bool is_template = n->kind == NODE_TEMPLATE;

	for (size_t i = 0; i < before.n; i++) {
		if (before.p[i] != '\n')
			continue;
		line++;
		column = before.n - i;
	}
	return error_set(r->error, ERR_ARG, "template: :%zu:%zu: executing \"\" at <%s%.*s%s>: %s",
		line, column, is_template ? "{{template " : "", (int)(at.n > 100 ? 100 : at.n),
		at.p,
		at.n > 100    ? "..."
		: is_template ? "}}"
			      : "",
		r->sentence);
}

static int PRINTF(3, 4) fail_at(struct template_run *r, const struct node *n, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->sentence, sizeof r->sentence, fmt, ap);
	va_end(ap);
	return fail_here(r, n);
}

static int enter(struct template_run *r, const struct node *n)
{
	if (++r->depth > TEMPLATE_RUN_DEPTH_MAX)
		return fail_at(r, n, "exceeded maximum template depth");
	return template_work(r, 0) < 0 ? fail_here(r, n) : 0;
}

/* ---- operands ---- */

static int eval_field(struct template_run *r, const struct node *n, struct str name,
	const struct datum *of, struct datum *out)
{
	struct str value = STR("");

	switch (of->kind) {
	case DATUM_ROW:
		if (!fields_get(r->fields, name, &value))
			value = STR("");
		*out = datum_string(value);
		return 0;
	case DATUM_MAP:
		if (!datum_get(of, name, out))
			*out = (struct datum){.kind = DATUM_NIL};
		return 0;
	case DATUM_NIL:
		return fail_at(r, n, "nil pointer evaluating interface {}.%.*s", STR_ARG(name));
	default:
		return fail_at(r, n, "can't evaluate field %.*s in type %s", STR_ARG(name),
			datum_type(of));
	}
}

static int eval_path(
	struct template_run *r, const struct node *n, struct datum at, struct datum *out)
{
	int e;

	for (size_t i = 0; i < n->path.n; i++) {
		struct datum next;
		if ((e = eval_field(r, n, n->path.names[i], &at, &next)) < 0)
			return e;
		at = next;
	}
	*out = at;
	return 0;
}

static struct datum *variable(struct template_run *r, size_t slot)
{
	return &r->variables[r->frame + slot];
}

static struct datum constant(const struct node *n)
{
	switch (n->kind) {
	case NODE_BOOL: return datum_bool(n->b);
	case NODE_STRING: return datum_string(n->text);
	case NODE_NUMBER:
		return n->number.is_int && !n->number.ideal_float ? datum_int(n->number.i)
								  : datum_float(n->number.f);
	default: return (struct datum){.kind = DATUM_NIL};
	}
}

/* What is no function and takes no arguments. */
static int eval_value(
	struct template_run *r, const struct datum *dot, const struct node *n, struct datum *out)
{
	struct datum of;
	int e;

	switch (n->kind) {
	case NODE_DOT: *out = *dot; return 0;
	case NODE_FIELD: return eval_path(r, n, *dot, out);
	case NODE_VARIABLE: return eval_path(r, n, *variable(r, n->path.slot), out);
	case NODE_CHAIN:
		if ((e = eval_value(r, dot, n->path.of, &of)) < 0)
			return e;
		return eval_path(r, n, of, out);
	case NODE_PIPE: return eval_pipe(r, dot, n, out);
	case NODE_FUNCTION: {
		struct node alone = *n;
		struct node command = {.kind = NODE_COMMAND, .pos = n->pos, .end = n->end};
		alone.next = NULL;
		command.command.args = &alone;
		command.command.n = 1;
		return eval_command(r, dot, &command, NULL, out);
	}
	default: *out = constant(n); return 0;
	}
}

/* ---- arguments ---- */

static const char *parameter_type(char p)
{
	switch (p) {
	case 's': return "string";
	case 'i': return "int";
	case 'f': return "float64";
	case 't': return "time.Time";
	default: return "interface {}";
	}
}

static bool fits(char p, struct datum *d)
{
	switch (p) {
	case 's': return d->kind == DATUM_STRING;
	case 'i': return d->kind == DATUM_INT;
	case 'f':
		if (d->kind == DATUM_INT)
			*d = datum_float((double)d->i);
		return d->kind == DATUM_FLOAT;
	case 't': return d->kind == DATUM_TIME;
	default: return true;
	}
}

static int check_type(struct template_run *r, const struct node *n, char p, struct datum *d)
{
	if (fits(p, d))
		return 0;
	if (d->kind == DATUM_NIL)
		return fail_at(r, n, "invalid value; expected %s", parameter_type(p));
	return fail_at(r, n, "wrong type for value; expected %s; got %s", parameter_type(p),
		datum_type(d));
}

/* A constant is what its parameter asks for, where it can be. */
static int constant_argument(
	struct template_run *r, const struct node *n, char p, struct datum *out)
{
	if (n->kind == NODE_NIL && p != 'a')
		return fail_at(r, n, "cannot assign nil to %s", parameter_type(p));
	*out = constant(n);
	if (n->kind == NODE_NUMBER && p == 'i' && n->number.is_int)
		*out = datum_int(n->number.i);
	if (fits(p, out))
		return 0;
	return fail_at(r, n, "expected %s; found %.*s",
		p == 'i'   ? "integer"
		: p == 'f' ? "float"
			   : parameter_type(p),
		STR_ARG(source(r, n)));
}

static int eval_argument(struct template_run *r, const struct datum *dot, const struct node *n,
	char p, struct datum *out)
{
	int e;

	switch (n->kind) {
	case NODE_NIL:
	case NODE_BOOL:
	case NODE_NUMBER:
	case NODE_STRING: return constant_argument(r, n, p, out);
	default: break;
	}
	if ((e = eval_value(r, dot, n, out)) < 0)
		return e;
	return check_type(r, n, p, out);
}

/* ---- calls ---- */

/* The letter of parameter i; the last one, behind which a * stands, goes on. */
static char parameter(const char *params, size_t i)
{
	size_t n = strlen(params);

	if (n && params[n - 1] == '*') {
		n--;
		return params[i < n ? i : n - 1];
	}
	return params[i];
}

static int check_count(
	struct template_run *r, const struct node *n, const struct template_function *f, size_t got)
{
	size_t want = strlen(f->params);

	if (want && f->params[want - 1] == '*') {
		want -= 2;
		if (got < want)
			return fail_at(r, n,
				"wrong number of args for %s: want at least %zu got %zu", f->name,
				want, got);
		return 0;
	}
	if (got != want)
		return fail_at(
			r, n, "wrong number of args for %s: want %zu got %zu", f->name, want, got);
	return 0;
}

/* `and` and `or` stop at the first argument that decides. */
static int eval_logic(struct template_run *r, const struct datum *dot, const struct node *args,
	const struct datum *piped, bool stop_at, struct datum *out)
{
	int e;

	for (const struct node *n = args; n; n = n->next) {
		if ((e = eval_argument(r, dot, n, 'a', out)) < 0)
			return e;
		if (datum_truth(r, out) == stop_at)
			return 0;
	}
	if (piped)
		*out = *piped;
	return 0;
}

static int call(struct template_run *r, const struct node *command, const struct node *name,
	const struct datum *args, size_t n, struct datum *out)
{
	const struct template_function *f = name->call.function;
	char sentence[sizeof r->sentence];
	size_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		if (args[i].kind == DATUM_STRING)
			bytes += args[i].s.n;
	r->constant_regex = name->call.regex;
	if (template_work(r, bytes) == 0 && f->call(r, args, n, out) == 0)
		return 0;
	memcpy(sentence, r->sentence, sizeof sentence);
	return fail_at(r, command, "error calling %s: %s", f->name, sentence);
}

static int eval_function(struct template_run *r, const struct datum *dot,
	const struct node *command, const struct datum *piped, struct datum *out)
{
	const struct node *name = command->command.args;
	const struct template_function *f = name->call.function;
	struct datum *args;
	size_t n = command->command.n - 1 + (piped != NULL), i = 0;
	int e;

	if (f->special == CALL_LINE) {
		*out = datum_string(r->line);
		if (n == 0)
			return 0;
	}
	if ((e = check_count(r, name, f, n)) < 0)
		return e;
	if (f->special == CALL_AND || f->special == CALL_OR)
		return eval_logic(r, dot, name->next, piped, f->special == CALL_OR, out);
	if (!(args = template_alloc(r, n * sizeof *args)))
		return fail_here(r, command);
	for (const struct node *a = name->next; a; a = a->next, i++)
		if ((e = eval_argument(r, dot, a, parameter(f->params, i), &args[i])) < 0)
			return e;
	if (piped) {
		args[i] = *piped;
		if ((e = check_type(r, command, parameter(f->params, i), &args[i])) < 0)
			return e;
	}
	return call(r, command, name, args, n, out);
}

static int eval_command(struct template_run *r, const struct datum *dot, const struct node *command,
	const struct datum *piped, struct datum *out)
{
	const struct node *first = command->command.args;

	if (first->kind == NODE_FUNCTION)
		return eval_function(r, dot, command, piped, out);
	if (first->kind == NODE_FIELD && (first->next || piped))
		return fail_at(r, first, "%.*s is not a method but has arguments",
			STR_ARG(first->path.names[first->path.n - 1]));
	if (first->next || piped)
		return fail_at(r, first, "can't give argument to non-function %.*s",
			STR_ARG(source(r, first)));
	if (first->kind == NODE_NIL)
		return fail_at(r, first, "nil is not a command");
	return eval_value(r, dot, first, out);
}

static int eval_pipe(
	struct template_run *r, const struct datum *dot, const struct node *pipe, struct datum *out)
{
	struct datum value = {.kind = DATUM_NIL}, next;
	const struct datum *piped = NULL;
	int e;

	if ((e = enter(r, pipe)) < 0)
		return e;
	for (const struct node *c = pipe->pipe.commands; c; c = c->next) {
		if ((e = eval_command(r, dot, c, piped, &next)) < 0)
			return e;
		value = next;
		piped = &value;
	}
	r->depth--;
	*out = value;
	return 0;
}

/* The pipe, and what it declares or assigns gets the value. */
static int eval_declaring(
	struct template_run *r, const struct datum *dot, const struct node *pipe, struct datum *out)
{
	int e = eval_pipe(r, dot, pipe, out);

	if (e == 0 && pipe->pipe.n_slots == 1)
		*variable(r, pipe->pipe.slots[0]) = *out;
	return e;
}

/* ---- actions ---- */

static int check_output(struct template_run *r, const struct node *n)
{
	if (r->out.n <= TEMPLATE_OUT_MAX)
		return 0;
	return fail_at(r, n, "more than %d bytes of output", TEMPLATE_OUT_MAX);
}

static int walk_action(struct template_run *r, const struct datum *dot, const struct node *n)
{
	const struct node *pipe = n->branch.pipe;
	struct datum value;
	int e = eval_declaring(r, dot, pipe, &value);

	if (e < 0 || pipe->pipe.n_slots)
		return e;
	r->sentence[0] = '\0';
	datum_print(r, &r->out, &value);
	return r->sentence[0] ? fail_here(r, pipe) : check_output(r, pipe);
}

static int walk_branch(struct template_run *r, const struct datum *dot, const struct node *n)
{
	struct datum value;
	int e;

	if ((e = enter(r, n)) < 0 || (e = eval_declaring(r, dot, n->branch.pipe, &value)) < 0)
		return e;
	if (datum_truth(r, &value))
		e = walk_list(r, n->kind == NODE_WITH ? &value : dot, n->branch.list);
	else
		e = walk_list(r, dot, n->branch.other);
	r->depth--;
	return e;
}

/* One round.  A single variable is the element, of two the first is the index or key; assigned
 * ones likewise. */
static int walk_round(struct template_run *r, const struct node *n, const struct datum *index,
	const struct datum *element)
{
	const struct node_pipe *pipe = &n->branch.pipe->pipe;

	if (template_work(r, 0) < 0)
		return fail_here(r, n->branch.pipe);
	if (pipe->n_slots == 1)
		*variable(r, pipe->slots[0]) = *element;
	if (pipe->n_slots == 2) {
		*variable(r, pipe->slots[0]) = *index;
		*variable(r, pipe->slots[1]) = *element;
	}
	return walk_list(r, element, n->branch.list);
}

static int walk_rounds(
	struct template_run *r, const struct node *n, const struct datum *over, size_t count)
{
	int e = WALK_ON;

	for (size_t i = 0; i < count && (e == WALK_ON || e == WALK_CONTINUE); i++) {
		struct datum index = datum_int((int64_t)i), element = index;
		if (over->kind == DATUM_LIST)
			element = over->list.p[i];
		if (over->kind == DATUM_MAP) {
			index = datum_string(over->map.p[i].key);
			element = over->map.p[i].value;
		}
		e = walk_round(r, n, &index, &element);
	}
	return e < 0 ? e : WALK_ON;
}

static int walk_range(struct template_run *r, const struct datum *dot, const struct node *n)
{
	struct datum over;
	size_t count = 0;
	int e;

	if ((e = enter(r, n)) < 0 || (e = eval_pipe(r, dot, n->branch.pipe, &over)) < 0)
		return e;
	if (datum_spread(r, &over) < 0)
		return fail_here(r, n->branch.pipe);
	switch (over.kind) {
	case DATUM_LIST: count = over.list.n; break;
	case DATUM_MAP: count = over.map.n; break;
	case DATUM_INT: count = over.i > 0 ? (size_t)over.i : 0; break;
	case DATUM_NIL: break;
	default:
		/* What fromJson gives for a text that is none. */
		if (over.kind == DATUM_STRING && over.s.n == 0)
			break;
		buf_clear(&r->scratch);
		datum_print(r, &r->scratch, &over);
		return fail_at(r, n->branch.pipe, "range can't iterate over %.*s",
			STR_ARG(buf_view(&r->scratch)));
	}
	e = count ? walk_rounds(r, n, &over, count) : walk_list(r, dot, n->branch.other);
	r->depth--;
	return e;
}

static int push_frame(struct template_run *r, size_t n)
{
	size_t needed = r->n_variables + n;

	if (needed > r->variables_cap) {
		size_t cap = needed + 8;
		account_force(r->account, (cap - r->variables_cap) * sizeof *r->variables);
		r->charged += (cap - r->variables_cap) * sizeof *r->variables;
		r->variables = xrealloc(r->variables, cap * sizeof *r->variables);
		r->variables_cap = cap;
	}
	r->frame = r->n_variables;
	for (size_t i = r->frame; i < needed; i++)
		r->variables[i] = (struct datum){.kind = DATUM_NIL};
	r->n_variables = needed;
	return 0;
}

static int walk_body(
	struct template_run *r, const struct template_body *body, const struct datum *dot)
{
	size_t frame = r->frame;
	int e;

	push_frame(r, body->n_slots);
	*variable(r, 0) = *dot;
	e = walk_list(r, dot, body->list);
	r->n_variables = r->frame;
	r->frame = frame;
	return e;
}

static int walk_template(struct template_run *r, const struct datum *dot, const struct node *n)
{
	struct datum value = {.kind = DATUM_NIL};
	int e;

	if (n->tmpl.pipe && (e = eval_declaring(r, dot, n->tmpl.pipe, &value)) < 0)
		return e;
	if (++r->calls > TEMPLATE_CALLS_MAX)
		return fail_at(r, n, "exceeded maximum template depth (%d)", TEMPLATE_CALLS_MAX);
	e = enter(r, n);
	if (e == 0)
		e = walk_body(r, n->tmpl.body, &value);
	r->depth--;
	r->calls--;
	return e;
}

static int walk_list(struct template_run *r, const struct datum *dot, const struct node *list)
{
	int e = WALK_ON;

	for (const struct node *n = list; n && e == WALK_ON; n = n->next) {
		switch (n->kind) {
		case NODE_TEXT:
			buf_str(&r->out, n->text);
			e = check_output(r, n);
			break;
		case NODE_ACTION: e = walk_action(r, dot, n); break;
		case NODE_IF:
		case NODE_WITH: e = walk_branch(r, dot, n); break;
		case NODE_RANGE: e = walk_range(r, dot, n); break;
		case NODE_TEMPLATE: e = walk_template(r, dot, n); break;
		case NODE_BREAK: return WALK_BREAK;
		case NODE_CONTINUE: return WALK_CONTINUE;
		default: assert(!"a list holds no such node");
		}
	}
	return e;
}

/* ---- a row ---- */

static struct str piece_text(struct template_run *r, const struct piece *p)
{
	struct str value;

	switch (p->kind) {
	case PIECE_TEXT: return p->text;
	case PIECE_LINE: return r->line;
	case PIECE_FIELD: break;
	}
	return fields_get(r->fields, p->text, &value) ? value : STR("");
}

/* Labels and lines are bounded, so is the number of pieces; the output is, too. */
static int join_pieces(struct template_run *r, const struct template_program *t, struct str *out)
{
	if (t->n_pieces == 1) {
		*out = piece_text(r, &t->pieces[0]);
		return 0;
	}
	for (size_t i = 0; i < t->n_pieces; i++) {
		buf_str(&r->out, piece_text(r, &t->pieces[i]));
		if (r->out.n > TEMPLATE_OUT_MAX)
			return error_set(r->error, ERR_ARG,
				"template: :1: more than %d bytes of output", TEMPLATE_OUT_MAX);
	}
	*out = buf_view(&r->out);
	return 0;
}

/* The buffers stay as large as the largest row made them. */
static void charge_buffers(struct template_run *r)
{
	size_t held = r->out.cap + r->scratch.cap;

	if (held <= r->buffers_charged)
		return;
	account_force(r->account, held - r->buffers_charged);
	r->charged += held - r->buffers_charged;
	r->buffers_charged = held;
}

static void begin(
	const struct template_program *t, struct template_run *r, struct fields *f, struct error *e)
{
	buf_clear(&r->out);
	r->program = t;
	r->fields = f;
	r->error = e;
}

static void begin_walk(struct template_run *r)
{
	r->n_variables = r->frame = 0;
	r->calls = r->depth = 0;
	r->steps = 0;
	template_memory_reset(r);
}

int template_execute(const struct template_program *t, struct template_run *r, struct fields *f,
	struct str line, int64_t timestamp, struct str *out, struct error *e)
{
	const struct datum row = {.kind = DATUM_ROW};
	int result;

	begin(t, r, f, e);
	r->line = line;
	r->timestamp = timestamp;
	if (t->pieces)
		return join_pieces(r, t, out);
	begin_walk(r);
	result = walk_body(r, &t->main, &row);
	charge_buffers(r);
	if (result < 0)
		return result;
	*out = buf_view(&r->out);
	return 0;
}

int template_execute_over(const struct template_program *t, struct template_run *r,
	struct fields *f, const struct datum *dot, const struct datum *variables, struct str *out,
	struct error *e)
{
	int result;

	begin(t, r, f, e);
	begin_walk(r);
	push_frame(r, t->main.n_slots);
	*variable(r, 0) = *dot;
	for (size_t i = 0; t->dialect->variables[i]; i++)
		*variable(r, i + 1) = variables[i];
	result = walk_list(r, dot, t->main.list);
	charge_buffers(r);
	if (result < 0)
		return result;
	*out = buf_view(&r->out);
	return 0;
}
