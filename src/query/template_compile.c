/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is found out about a template before it runs: whether it is but pieces to
 * join, and which fields of the row it can read.
 *
 * The row leaves our sight where `.` or `$` is used as a value: it may be a
 * variable, an argument, what another template sees.  There all fields are
 * taken to be read, and so the dot of `range` and `with` is either one of those
 * values, or none that has fields of the row.
 */
#include "query/ast.h"
#include "query/template_tree.h"

struct reads {
	struct wanted *w;
	bool dot_is_row, dollar_is_row;
};

static void read_list(struct reads *x, const struct node *list);
static void read_pipe(struct reads *x, const struct node *pipe);

static void all(struct reads *x)
{
	x->w->all = true;
}

/* `index . "a"` is .a. */
static bool reads_by_index(struct reads *x, const struct node *command)
{
	const struct node *name = command->command.args, *of = name->next;

	if (name->kind != NODE_FUNCTION || strcmp(name->call.function->name, "index") != 0 || !of ||
		!of->next || of->next->kind != NODE_STRING)
		return false;
	if (!(of->kind == NODE_DOT && x->dot_is_row) &&
		!(of->kind == NODE_VARIABLE && of->path.slot == 0 && of->path.n == 0 &&
			x->dollar_is_row))
		return false;
	wanted_add(x->w, of->next->text);
	return true;
}

static void read_operand(struct reads *x, const struct node *n)
{
	switch (n->kind) {
	case NODE_DOT:
		if (x->dot_is_row)
			all(x);
		break;
	case NODE_FIELD:
		if (x->dot_is_row)
			wanted_add(x->w, n->path.names[0]);
		break;
	case NODE_VARIABLE:
		if (n->path.slot != 0 || !x->dollar_is_row)
			break;
		if (n->path.n)
			wanted_add(x->w, n->path.names[0]);
		else
			all(x);
		break;
	case NODE_CHAIN:
		/* (.).a is odd enough to be taken for all. */
		read_operand(x, n->path.of);
		break;
	case NODE_PIPE: read_pipe(x, n); break;
	case NODE_FUNCTION:
		if (n->call.function->special == CALL_LINE)
			x->w->line = true;
		break;
	default: break;
	}
}

static void read_pipe(struct reads *x, const struct node *pipe)
{
	for (const struct node *c = pipe->pipe.commands; c; c = c->next) {
		if (reads_by_index(x, c))
			continue;
		for (const struct node *n = c->command.args; n; n = n->next)
			read_operand(x, n);
	}
}

static void read_branch(struct reads *x, const struct node *n)
{
	bool was = x->dot_is_row;

	read_pipe(x, n->branch.pipe);
	if (n->kind != NODE_IF)
		x->dot_is_row = false;
	read_list(x, n->branch.list);
	x->dot_is_row = was;
	read_list(x, n->branch.other);
}

static void read_list(struct reads *x, const struct node *list)
{
	for (const struct node *n = list; n; n = n->next) {
		switch (n->kind) {
		case NODE_ACTION: read_pipe(x, n->branch.pipe); break;
		case NODE_IF:
		case NODE_WITH:
		case NODE_RANGE: read_branch(x, n); break;
		case NODE_TEMPLATE:
			if (n->tmpl.pipe)
				read_pipe(x, n->tmpl.pipe);
			break;
		default: break;
		}
	}
}

void template_wants(const struct template_program *t, struct wanted *w)
{
	struct reads x = {w, true, true};

	read_list(&x, t->main.list);
	/* The row reaches them by an argument alone. */
	x.dot_is_row = x.dollar_is_row = false;
	for (const struct template_body *b = t->defined; b; b = b->next)
		read_list(&x, b->list);
}

/* Is it text, {{.a}} or {{__line__}}? */
static bool is_piece(const struct node *n, struct piece *out)
{
	const struct node *first;

	if (n->kind == NODE_TEXT) {
		*out = (struct piece){PIECE_TEXT, n->text};
		return true;
	}
	if (n->kind != NODE_ACTION || n->branch.pipe->pipe.n_slots)
		return false;
	first = n->branch.pipe->pipe.commands;
	if (first->next || first->command.n != 1)
		return false;
	first = first->command.args;
	if (first->kind == NODE_FUNCTION && first->call.function->special == CALL_LINE) {
		*out = (struct piece){PIECE_LINE, STR_NONE};
		return true;
	}
	if (first->kind != NODE_FIELD || first->path.n != 1)
		return false;
	*out = (struct piece){PIECE_FIELD, first->path.names[0]};
	return true;
}

static void find_pieces(struct template_program *t, struct arena *a)
{
	struct piece *pieces;
	size_t n = 0;

	for (const struct node *node = t->main.list; node; node = node->next)
		n++;
	/* One at least: without any, it is the empty text. */
	pieces = ARENA_ARRAY(a, struct piece, n + 1);
	n = 0;
	for (const struct node *node = t->main.list; node; node = node->next)
		if (!is_piece(node, &pieces[n++]))
			return;
	if (n == 0)
		pieces[n++] = (struct piece){PIECE_TEXT, STR("")};
	t->pieces = pieces;
	t->n_pieces = n;
}

int template_compile(
	struct template_program **out, struct query *q, struct str text, struct error *e)
{
	struct template_program *t;
	int r;

	if (text.n > TEMPLATE_TEXT_MAX)
		return error_set(e, ERR_LIMIT, "a template of %zu bytes; at most %d are allowed",
			text.n, TEMPLATE_TEXT_MAX);
	t = ARENA_NEW(&q->arena, struct template_program);
	t->text = arena_str(&q->arena, text);
	if ((r = template_tree_parse(t, q, e)) < 0)
		return r;
	find_pieces(t, &q->arena);
	*out = t;
	return 0;
}

bool template_cannot_fail(const struct template_program *t)
{
	return t->pieces != NULL;
}
