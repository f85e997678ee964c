/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Label filters: `| status >= 500 and (method = "GET" or size > 20KB)`.
 *
 * A string filter sees a label that is not there as "".  A comparison with a
 * number, duration, size or address drops a row without the label.  A value
 * that cannot be read as a number, duration or size keeps the row and sets
 * __error__ = LabelFilterErr; one that is no address lies in none.  A row that
 * has an error already passes all of these: errors are dropped by a filter on
 * __error__ and by nothing else.
 *
 * The tree becomes a list of its leaves in the order they are written, each
 * with where to go on when it holds and when it does not, so that a row costs
 * one loop; no recursion follows the length of what a user wrote.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "query/ast.h"
#include "query/number.h"
#include "query/quote.h"

struct test {
	const struct label_filter *filter;
	uint32_t on_true, on_false; /* index of the test to go on with; n: keep, n + 1: drop */
};

struct label_filter_stage {
	struct stage stage;
	const struct label_filter *root;
	struct test *tests;
	uint32_t n;
};

static const char *compare_op_text(enum compare_op op)
{
	static const char *const text[] = {
		[COMPARE_EQ] = "==",
		[COMPARE_NE] = "!=",
		[COMPARE_GT] = ">",
		[COMPARE_GE] = ">=",
		[COMPARE_LT] = "<",
		[COMPARE_LE] = "<=",
	};

	return text[op];
}

static bool is_leaf(const struct label_filter *f)
{
	return f->kind != LABEL_FILTER_AND && f->kind != LABEL_FILTER_OR;
}

static struct str name_of(const struct label_filter *f)
{
	return f->kind == LABEL_FILTER_STRING ? f->matcher.name : f->name;
}

/* What is left to do of a walk through the tree. */
struct todo {
	const struct label_filter *filter; /* NULL: `text` */
	const char *text;
	uint32_t on_true, on_false;
	bool true_next, false_next; /* go on with what follows in the list */
};

struct stack {
	struct todo *at;
	size_t n, cap;
};

static void push(struct stack *s, struct todo x)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 16;
		s->at = xrealloc(s->at, s->cap * sizeof *s->at);
	}
	s->at[s->n++] = x;
}

static uint32_t count_leaves(const struct label_filter *root)
{
	struct stack s = {0};
	uint32_t n = 0;

	push(&s, (struct todo){.filter = root});
	while (s.n) {
		const struct label_filter *f = s.at[--s.n].filter;
		if (is_leaf(f)) {
			n++;
			continue;
		}
		push(&s, (struct todo){.filter = f->left});
		push(&s, (struct todo){.filter = f->right});
	}
	free(s.at);
	return n;
}

/* From the end to the front: a right side is in its place before its left side is taken up, whose
 * next test is then the first of those. */
static void compile(struct label_filter_stage *out)
{
	uint32_t at = out->n;
	struct stack s = {0};

	push(&s, (struct todo){.filter = out->root, .on_true = out->n, .on_false = out->n + 1});
	while (s.n) {
		struct todo x = s.at[--s.n], left;
		if (x.true_next)
			x.on_true = at;
		if (x.false_next)
			x.on_false = at;
		if (is_leaf(x.filter)) {
			out->tests[--at] = (struct test){x.filter, x.on_true, x.on_false};
			continue;
		}
		left = (struct todo){
			.filter = x.filter->left,
			.on_true = x.on_true,
			.on_false = x.on_false,
			.true_next = x.filter->kind == LABEL_FILTER_AND,
			.false_next = x.filter->kind == LABEL_FILTER_OR,
		};
		push(&s, left);
		push(&s, (struct todo){.filter = x.filter->right,
				 .on_true = x.on_true,
				 .on_false = x.on_false});
	}
	assert(at == 0);
	free(s.at);
}

#define COMPARE(op, a, b)                                                                          \
	((op) == COMPARE_EQ          ? (a) == (b)                                                  \
		: (op) == COMPARE_NE ? (a) != (b)                                                  \
		: (op) == COMPARE_GT ? (a) > (b)                                                   \
		: (op) == COMPARE_GE ? (a) >= (b)                                                  \
		: (op) == COMPARE_LT ? (a) < (b)                                                   \
				     : (a) <= (b))

/* Does the value, which is there, pass?  -1: it cannot be read. */
static int compare(const struct label_filter *f, struct str value)
{
	double number;
	int64_t ns;
	uint64_t bytes;
	bool valid;

	switch (f->kind) {
	case LABEL_FILTER_NUMBER:
		return number_float(value, &number) ? COMPARE(f->op, number, f->number) : -1;
	case LABEL_FILTER_DURATION:
		return number_duration(value, &ns) ? COMPARE(f->op, ns, f->ns) : -1;
	case LABEL_FILTER_BYTES:
		return number_bytes(value, &bytes) ? COMPARE(f->op, bytes, f->bytes) : -1;
	case LABEL_FILTER_IP: return ip_matches(&f->ip, value, &valid) == (f->op == COMPARE_EQ);
	default: return -1;
	}
}

static const char *why_not(const struct label_filter *f, struct str value, char *out)
{
	switch (f->kind) {
	case LABEL_FILTER_DURATION: return number_duration_why(value, out);
	case LABEL_FILTER_BYTES: return number_bytes_why(value, out);
	default: return number_float_why(value, out);
	}
}

/* 1, 0, or ERR_LIMIT of a regex. */
static int passes(const struct label_filter *f, struct fields *fields)
{
	struct str value = STR("");
	char why[NUMBER_WHY_MAX];
	int r;

	if (f->kind == LABEL_FILTER_STRING) {
		fields_get(fields, f->matcher.name, &value);
		return matcher_match(&f->matcher, value);
	}
	if (fields_failed(fields))
		return 1;
	if (!fields_get(fields, f->name, &value))
		return 0;
	if ((r = compare(f, value)) >= 0)
		return r;
	fields_fail(fields, "LabelFilterErr", "%s", why_not(f, value, why));
	return 1;
}

static int run(const struct stage *s, void *state, struct pipe_row *row)
{
	const struct label_filter_stage *x = (const struct label_filter_stage *)s;
	uint32_t at = 0;

	(void)state;
	while (at < x->n) {
		const struct test *t = &x->tests[at];
		int r = passes(t->filter, row->fields);
		if (r < 0)
			return r;
		at = r ? t->on_true : t->on_false;
	}
	return at == x->n;
}

static void wants(const struct stage *s, struct wanted *w)
{
	const struct label_filter_stage *x = (const struct label_filter_stage *)s;

	for (uint32_t i = 0; i < x->n; i++)
		wanted_add(w, name_of(x->tests[i].filter));
}

static void format_leaf(const struct label_filter *f, struct buf *out)
{
	switch (f->kind) {
	case LABEL_FILTER_STRING: matcher_format(&f->matcher, out); break;
	case LABEL_FILTER_IP:
		buf_str(out, f->name);
		buf_c(out, f->op == COMPARE_EQ ? "=ip(" : "!=ip(");
		quote_go(out, f->ip.text);
		buf_char(out, ')');
		break;
	default:
		buf_str(out, f->name);
		buf_c(out, compare_op_text(f->op));
		buf_str(out, f->text);
	}
}

/* One side of an operator: in parentheses when it is another operator, so that nobody needs to know
 * which of them binds tighter. */
static void push_side(struct stack *s, enum label_filter_kind within, const struct label_filter *f)
{
	bool enclose = !is_leaf(f) && f->kind != within;

	if (enclose)
		push(s, (struct todo){.text = ")"});
	push(s, (struct todo){.filter = f});
	if (enclose)
		push(s, (struct todo){.text = "("});
}

static void format(const struct stage *st, struct buf *out)
{
	struct stack s = {0};

	buf_c(out, "| ");
	push(&s, (struct todo){.filter = ((const struct label_filter_stage *)st)->root});
	while (s.n) {
		struct todo x = s.at[--s.n];
		const struct label_filter *f = x.filter;
		if (!f) {
			buf_c(out, x.text);
			continue;
		}
		if (is_leaf(f)) {
			format_leaf(f, out);
			continue;
		}
		push_side(&s, f->kind, f->right);
		push(&s, (struct todo){.text = f->kind == LABEL_FILTER_AND ? " and " : " or "});
		push_side(&s, f->kind, f->left);
	}
	free(s.at);
}

static const struct stage_type label_filter_type = {
	.name = "label filter",
	.wants = wants,
	.run = run,
	.format = format,
};

struct stage *label_filter_new(struct query *q, const struct label_filter *f)
{
	struct label_filter_stage *s = ARENA_NEW(&q->arena, struct label_filter_stage);

	s->stage.type = &label_filter_type;
	s->root = f;
	s->n = count_leaves(f);
	s->tests = ARENA_ARRAY(&q->arena, struct test, s->n);
	compile(s);
	return &s->stage;
}
