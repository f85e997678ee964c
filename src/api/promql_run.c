/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each step is evaluated by itself: a tree gives a number or a vector, which
 * lies in an arena that is cleared before the next step.  Results are put
 * together by their labels.
 */
#include "api/promql_core.h"

#include <math.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/memory.h"
#include "os/clock.h"

#define LOOKBACK_NS (300 * NS_PER_SEC)

struct item {
	struct str labels;
	double value;
};

struct value {
	bool scalar;
	double number;
	struct item *items;
	size_t n;
};

struct step {
	const struct promql *query;
	int64_t time_ns;
	struct arena arena;
	struct labels_builder builder;
	struct buf text;
	struct error *e;
};

void promql_window(const struct promql_selector *s, int64_t start_ns, int64_t end_ns,
	int64_t *from_ns, int64_t *to_ns)
{
	int64_t range = s->range_ns ? s->range_ns : LOOKBACK_NS;

	if (__builtin_sub_overflow(end_ns, s->offset_ns, to_ns))
		*to_ns = INT64_MIN;
	if (__builtin_sub_overflow(start_ns, s->offset_ns, from_ns) ||
		__builtin_sub_overflow(*from_ns, range, from_ns))
		*from_ns = INT64_MIN;
}

/* --- samples --------------------------------------------------------------------------------- */

/* How many samples are not after t. */
static size_t count_until(const struct promql_series *s, int64_t t)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (s->samples[middle].timestamp <= t)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void instant(struct step *st, const struct promql_selector *s, struct value *out)
{
	int64_t from, to;

	promql_window(s, st->time_ns, st->time_ns, &from, &to);
	out->items = ARENA_ARRAY(&st->arena, struct item, s->n_series);
	for (size_t i = 0; i < s->n_series; i++) {
		const struct promql_series *x = &s->series[i];
		size_t n = count_until(x, to);
		if (n && x->samples[n - 1].timestamp > from)
			out->items[out->n++] = (struct item){x->labels, x->samples[n - 1].value};
	}
}

/* What a counter, or with `counter` unset a value, has grown by in (from, to], extrapolated to
 * the ends of that unless its samples begin, or end, well within it. */
static bool growth(const struct promql_sample *s, size_t n, int64_t from, int64_t to, bool counter,
	double *out)
{
	double sum, covered, average, begin, end, reach, zero;

	if (n < 2)
		return false;
	sum = s[n - 1].value - s[0].value;
	for (size_t i = 1; counter && i < n; i++)
		if (s[i].value < s[i - 1].value)
			sum += s[i - 1].value; /* it began anew */
	covered = (double)(s[n - 1].timestamp - s[0].timestamp);
	if (covered <= 0)
		return false;
	average = covered / (double)(n - 1);
	begin = (double)(s[0].timestamp - from);
	end = (double)(to - s[n - 1].timestamp);
	reach = average * 1.1;
	if (begin >= reach)
		begin = average / 2;
	if (end >= reach)
		end = average / 2;
	/* A counter is not below zero. */
	if (counter && sum > 0 && s[0].value >= 0) {
		zero = covered * (s[0].value / sum);
		begin = begin < zero ? begin : zero;
	}
	*out = sum * ((covered + begin + end) / covered);
	return true;
}

static double fold(int function, const struct promql_sample *s, size_t n)
{
	double v = s[0].value;

	for (size_t i = 1; i < n; i++) {
		double x = s[i].value;
		switch (function) {
		case RANGE_AVG:
		case RANGE_SUM: v += x; break;
		case RANGE_MIN: v = x < v || isnan(v) ? x : v; break;
		case RANGE_MAX: v = x > v || isnan(v) ? x : v; break;
		default: v = x;
		}
	}
	if (function == RANGE_COUNT)
		return (double)n;
	return function == RANGE_AVG ? v / (double)n : v;
}

static void of_range(struct step *st, const struct promql_node *node, struct value *out)
{
	const struct promql_selector *s = &st->query->selectors[node->left->selector];
	int64_t from, to;

	promql_window(s, st->time_ns, st->time_ns, &from, &to);
	out->items = ARENA_ARRAY(&st->arena, struct item, s->n_series);
	for (size_t i = 0; i < s->n_series; i++) {
		const struct promql_series *x = &s->series[i];
		size_t first = count_until(x, from), n = count_until(x, to) - first;
		const struct promql_sample *samples = x->samples + first;
		double v = 0;
		if (n == 0)
			continue;
		if (node->function > RANGE_DELTA)
			v = fold(node->function, samples, n);
		else if (!growth(samples, n, from, to, node->function != RANGE_DELTA, &v))
			continue;
		if (node->function == RANGE_RATE)
			v /= (double)s->range_ns / 1e9;
		out->items[out->n++] = (struct item){x->labels, v};
	}
}

/* --- operators ------------------------------------------------------------------------------- */

static int evaluate(struct step *st, const struct promql_node *node, struct value *out);

static double of_value(int function, double v)
{
	switch (function) {
	case VALUE_ABS: return fabs(v);
	case VALUE_CEIL: return ceil(v);
	case VALUE_FLOOR: return floor(v);
	default: return floor(v + 0.5);
	}
}

static bool grouped_by(const struct promql_node *node, struct str name)
{
	for (size_t i = 0; i < node->n_names; i++)
		if (str_eq(node->names[i], name))
			return !node->without;
	return node->without;
}

static struct str group_of(struct step *st, const struct promql_node *node, struct str labels)
{
	struct label l;

	labels_builder_clear(&st->builder);
	st->builder.names_free = true;
	labels_start(&labels);
	while (labels_next(&labels, &l))
		if (grouped_by(node, l.name))
			labels_builder_set(&st->builder, l.name, l.value, NULL);
	buf_clear(&st->text);
	labels_builder_write(&st->builder, &st->text);
	return buf_view(&st->text);
}

static void add_to_group(int function, struct item *g, double v)
{
	switch (function) {
	case AGGREGATE_AVG:
	case AGGREGATE_SUM: g->value += v; break;
	case AGGREGATE_MIN: g->value = v < g->value || isnan(g->value) ? v : g->value; break;
	case AGGREGATE_MAX: g->value = v > g->value || isnan(g->value) ? v : g->value; break;
	default: break;
	}
}

static void aggregate(
	struct step *st, const struct promql_node *node, const struct value *in, struct value *out)
{
	size_t *counts = ARENA_ARRAY(&st->arena, size_t, in->n);
	struct map index = {0};

	out->items = ARENA_ARRAY(&st->arena, struct item, in->n);
	for (size_t i = 0; i < in->n; i++) {
		struct str labels = group_of(st, node, in->items[i].labels);
		bool added;
		union map_value *v = map_put(&index, labels, &added);
		if (added) {
			v->u = out->n;
			out->items[out->n] =
				(struct item){arena_str(&st->arena, labels), in->items[i].value};
			counts[out->n++] = 1;
		} else {
			add_to_group(node->function, &out->items[v->u], in->items[i].value);
			counts[v->u]++;
		}
	}
	for (size_t i = 0; i < out->n; i++) {
		if (node->function == AGGREGATE_AVG)
			out->items[i].value /= (double)counts[i];
		else if (node->function == AGGREGATE_COUNT)
			out->items[i].value = (double)counts[i];
	}
	map_fini(&index);
}

static double compute(int op, double a, double b)
{
	switch (op) {
	case OP_ADD: return a + b;
	case OP_SUB: return a - b;
	case OP_MUL: return a * b;
	case OP_DIV: return a / b;
	case OP_MOD: return fmod(a, b);
	case OP_POW: return pow(a, b);
	case OP_EQ: return a == b;
	case OP_NE: return a != b;
	case OP_GE: return a >= b;
	case OP_LE: return a <= b;
	case OP_GT: return a > b;
	default: return a < b;
	}
}

/* A comparison without `bool` keeps those of which it is true. */
static void put(struct value *out, const struct promql_node *node, struct str labels, double kept,
	double computed)
{
	if (node->function < OP_EQ || node->returns_bool)
		kept = computed;
	else if (computed == 0)
		return;
	out->items[out->n++] = (struct item){labels, kept};
}

static int index_items(struct step *st, const struct value *v, struct map *index)
{
	for (size_t i = 0; i < v->n; i++) {
		bool added;
		map_put(index, v->items[i].labels, &added)->u = i;
		if (!added)
			return error_set(st->e, ERR_ARG,
				"several series have the same labels on one side of an operator: "
				"group them");
	}
	return 0;
}

static int join(struct step *st, const struct promql_node *node, const struct value *a,
	const struct value *b, struct value *out)
{
	struct map left = {0}, right = {0};
	const union map_value *other;
	int r;

	if ((r = index_items(st, a, &left)) == 0)
		r = index_items(st, b, &right);
	for (size_t i = 0; r == 0 && i < a->n; i++)
		if ((other = map_get(&right, a->items[i].labels)))
			put(out, node, a->items[i].labels, a->items[i].value,
				compute(node->function, a->items[i].value,
					b->items[other->u].value));
	map_fini(&left);
	map_fini(&right);
	return r;
}

static int binary(struct step *st, const struct promql_node *node, struct value *out)
{
	struct value a = {0}, b = {0};
	int r;

	if ((r = evaluate(st, node->left, &a)) < 0 || (r = evaluate(st, node->right, &b)) < 0)
		return r;
	if (a.scalar && b.scalar) {
		*out = (struct value){
			.scalar = true, .number = compute(node->function, a.number, b.number)};
		return 0;
	}
	out->items = ARENA_ARRAY(&st->arena, struct item, a.scalar ? b.n : a.n);
	if (!a.scalar && !b.scalar)
		return join(st, node, &a, &b, out);
	for (size_t i = 0; i < (a.scalar ? b.n : a.n); i++) {
		const struct item *x = a.scalar ? &b.items[i] : &a.items[i];
		put(out, node, x->labels, x->value,
			a.scalar ? compute(node->function, a.number, x->value)
				 : compute(node->function, x->value, b.number));
	}
	return 0;
}

static int evaluate(struct step *st, const struct promql_node *node, struct value *out)
{
	struct value in = {0};
	int r;

	*out = (struct value){0};
	switch (node->kind) {
	case PROMQL_NUMBER: *out = (struct value){.scalar = true, .number = node->number}; return 0;
	case PROMQL_SELECTOR: instant(st, &st->query->selectors[node->selector], out); return 0;
	case PROMQL_OF_RANGE: of_range(st, node, out); return 0;
	case PROMQL_BINARY: return binary(st, node, out);
	case PROMQL_OF_VALUES:
	case PROMQL_AGGREGATE: break;
	}
	if ((r = evaluate(st, node->left, &in)) < 0)
		return r;
	if (in.scalar)
		return error_set(st->e, ERR_ARG, "a function of a vector is given a number");
	if (node->kind == PROMQL_AGGREGATE) {
		aggregate(st, node, &in, out);
		return 0;
	}
	for (size_t i = 0; i < in.n; i++)
		in.items[i].value = of_value(node->function, in.items[i].value);
	*out = in;
	return 0;
}

/* --- results ---------------------------------------------------------------------------------- */

struct gathering {
	struct promql_result *out;
	struct map index; /* labels to series */
	size_t cap, n_steps;
};

static void gather(struct gathering *g, int64_t time_ns, struct str labels, double v)
{
	struct promql_result *out = g->out;
	struct promql_series *s;
	union map_value *at;
	bool added;

	at = map_put(&g->index, labels, &added);
	if (added) {
		if (out->n == g->cap) {
			g->cap = g->cap ? g->cap * 2 : 16;
			out->series = xrealloc(out->series, g->cap * sizeof *out->series);
		}
		at->u = out->n;
		out->series[out->n++] = (struct promql_series){
			.labels = arena_str(&out->arena, labels),
			.samples = ARENA_ARRAY(&out->arena, struct promql_sample, g->n_steps)};
	}
	s = &out->series[at->u];
	/* Of one step there is one value for each set of labels. */
	if (s->n < g->n_steps)
		s->samples[s->n++] = (struct promql_sample){time_ns, v};
}

static int by_labels(const void *a, const void *b)
{
	const struct promql_series *x = a, *y = b;

	return str_cmp(x->labels, y->labels);
}

static int run_step(struct step *st, struct gathering *g)
{
	/* A set of no labels. */
	static const char none[] = {0};
	struct value v;
	int r = evaluate(st, st->query->root, &v);

	if (r < 0)
		return r;
	g->out->scalar = v.scalar;
	if (v.scalar)
		gather(g, st->time_ns, str_make(none, 1), v.number);
	for (size_t i = 0; i < v.n; i++)
		gather(g, st->time_ns, v.items[i].labels, v.items[i].value);
	return 0;
}

int promql_run(const struct promql *q, int64_t start_ns, int64_t end_ns, int64_t step_ns,
	struct account *account, const _Atomic bool *cancel, struct promql_result *out,
	struct error *e)
{
	struct step st = {.query = q, .e = e};
	struct gathering g = {.out = out, .n_steps = 1};
	int r = 0;

	if (step_ns > 0)
		g.n_steps =
			(size_t)(((uint64_t)end_ns - (uint64_t)start_ns) / (uint64_t)step_ns) + 1;
	if (g.n_steps > PROMQL_POINTS_MAX)
		return error_set(e, ERR_ARG,
			"exceeded maximum resolution of 11,000 points per timeseries. Try "
			"increasing the step");
	*out = (struct promql_result){0};
	arena_init(&out->arena, account);
	arena_init(&st.arena, account);
	for (size_t i = 0; i < g.n_steps && r == 0; i++) {
		st.time_ns = start_ns + (int64_t)i * step_ns;
		arena_clear(&st.arena);
		if (cancel && atomic_load(cancel))
			r = error_set(e, ERR_CANCELLED, "the query was cancelled");
		else if ((r = run_step(&st, &g)) == 0 && account && account_room(account) == 0)
			r = error_set(e, ERR_LIMIT,
				"the result does not fit in the memory: ask for fewer series, or "
				"larger steps");
	}
	if (out->n)
		qsort(out->series, out->n, sizeof *out->series, by_labels);
	map_fini(&g.index);
	labels_builder_fini(&st.builder);
	buf_fini(&st.text);
	arena_fini(&st.arena);
	if (r < 0)
		promql_result_fini(out);
	return r;
}

void promql_result_fini(struct promql_result *r)
{
	free(r->series);
	arena_fini(&r->arena);
	*r = (struct promql_result){0};
}
