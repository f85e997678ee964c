/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Series of the two sides match when the labels that on() names, or that
 * ignoring() does not, are the same: they form a bunch.  Within a bunch, at each
 * step, one side may have one value only, the "one" side; each value of the other
 * meets it.  As series come and go, which series has the value is asked step by
 * step, and so are the rules: two series that are never there at once do not
 * disturb each other.
 * Source: prometheus.io/docs/prometheus/latest/querying/operators.
 */
#include "query/binary.h"

#include <math.h>
#include <stdlib.h>

enum { NOBODY = UINT32_MAX };

/* A result may not look like an absent one. */
static double there(double v)
{
	return value_is_absent(v) ? (double)NAN : v;
}

/* The value of left op right; `kept` is what a comparison lets pass. */
static double combine(const struct binary_expr *x, double left, double right, double kept)
{
	double v = binary_apply(x->op, left, right);

	if (binary_op_is_comparison(x->op) && !x->returns_bool)
		return v != 0 ? kept : value_absent();
	return there(v);
}

/* --- with a scalar --------------------------------------------------------------------- */

static int with_scalar(const struct binary_expr *x, struct matrix *m, double scalar,
	bool scalar_left, struct matrix *out, struct error *e)
{
	int r;

	for (size_t i = 0; i < m->n; i++) {
		double *values = m->series[i].values;
		if ((r = run_check(m->run, e)) < 0)
			return r;
		for (size_t k = 0; k < m->axis.n; k++) {
			double v = values[k];
			if (value_is_absent(v))
				continue;
			values[k] =
				scalar_left ? combine(x, scalar, v, v) : combine(x, v, scalar, v);
		}
	}
	*out = *m;
	*m = (struct matrix){0};
	return 0;
}

/* --- bunches --------------------------------------------------------------------------- */

/* The series of one side, chained by bunch. */
struct side {
	struct matrix *matrix;
	uint32_t *next;  /* by series */
	uint32_t *first; /* by bunch */
};

struct match {
	struct run *run;
	const struct binary_expr *expr;
	struct grouping by;
	struct side left, right;
	struct map index; /* key to bunch */
	uint32_t n;       /* bunches */
	uint32_t *owner;  /* by step: the series of the "one" side */
	uint64_t charged;
	struct buf key;
	struct matrix *out;
};

static void side_chain(struct match *m, struct side *s)
{
	/* From the last, so that chains are in the order of labels. */
	for (size_t i = s->matrix->n; i-- > 0;) {
		bool fresh;
		union map_value *bunch;
		buf_clear(&m->key);
		grouping_project(&m->by, s->matrix->series[i].labels, STR_NONE, NULL, &m->key);
		bunch = map_put(&m->index, buf_view(&m->key), &fresh);
		if (fresh)
			bunch->u = m->n++;
		s->next[i] = s->first[bunch->u];
		s->first[bunch->u] = (uint32_t)i;
	}
}

static void side_init(struct side *s, struct matrix *matrix, size_t bunches)
{
	s->matrix = matrix;
	s->next = xmalloc(matrix->n * sizeof *s->next);
	s->first = xmalloc(bunches * sizeof *s->first);
	memset(s->first, 0xff, bunches * sizeof *s->first);
	matrix_sort(matrix);
}

static int match_init(struct match *m, struct run *run, const struct binary_expr *x,
	struct matrix *left, struct matrix *right, struct matrix *out, struct error *e)
{
	size_t bunches = left->n + right->n;
	uint64_t bytes = bunches * (3 * sizeof(uint32_t) + 2 * sizeof(struct map_slot)) +
			 left->axis.n * sizeof(uint32_t);
	int r;

	*m = (struct match){.run = run, .expr = x, .out = out};
	for (size_t i = 0; i < left->n; i++)
		bytes += left->series[i].labels.n;
	for (size_t i = 0; i < right->n; i++)
		bytes += right->series[i].labels.n;
	if ((r = run_charge(run, bytes, e)) < 0)
		return r;
	m->charged = bytes;
	m->by = (struct grouping){x->on ? GROUP_BY : GROUP_WITHOUT, x->names, x->n_names};
	side_init(&m->left, left, bunches);
	side_init(&m->right, right, bunches);
	side_chain(m, &m->right);
	side_chain(m, &m->left);
	m->owner = xmalloc(left->axis.n * sizeof *m->owner);
	return 0;
}

static void match_fini(struct match *m)
{
	struct side *sides[] = {&m->left, &m->right};

	for (size_t i = 0; i < 2; i++) {
		free(sides[i]->next);
		free(sides[i]->first);
	}
	free(m->owner);
	map_fini(&m->index);
	buf_fini(&m->key);
	if (m->charged)
		run_release(m->run, m->charged);
}

/* --- and, or, unless ------------------------------------------------------------------- */

/* owner[k] of the steps at which a series of the bunch has a value; of several, any. */
static void mark_there(struct match *m, const struct side *s, uint32_t bunch)
{
	size_t n = m->out->axis.n;

	memset(m->owner, 0xff, n * sizeof *m->owner);
	for (uint32_t i = s->first[bunch]; i != NOBODY; i = s->next[i])
		for (size_t k = 0; k < n; k++)
			if (!value_is_absent(s->matrix->series[i].values[k]))
				m->owner[k] = i;
}

/* The values of the bunch at the steps that are marked, or that are not. */
static int copy_marked(
	struct match *m, const struct side *s, uint32_t bunch, bool marked, struct error *e)
{
	size_t at;
	int r;

	for (uint32_t i = s->first[bunch]; i != NOBODY; i = s->next[i]) {
		const struct matrix_series *from = &s->matrix->series[i];
		if ((r = run_check(m->run, e)) < 0 ||
			(r = matrix_series(m->out, from->labels, &at, e)) < 0)
			return r;
		for (size_t k = 0; k < m->out->axis.n; k++)
			if (!value_is_absent(from->values[k]) && (m->owner[k] != NOBODY) == marked)
				m->out->series[at].values[k] = from->values[k];
	}
	return 0;
}

static int set_bunch(struct match *m, uint32_t bunch, struct error *e)
{
	int r;

	if (m->expr->op != BINARY_OR) {
		mark_there(m, &m->right, bunch);
		return copy_marked(m, &m->left, bunch, m->expr->op == BINARY_AND, e);
	}
	mark_there(m, &m->left, bunch);
	for (uint32_t i = m->left.first[bunch]; i != NOBODY; i = m->left.next[i]) {
		const struct matrix_series *from = &m->left.matrix->series[i];
		size_t at;
		if ((r = matrix_series(m->out, from->labels, &at, e)) < 0)
			return r;
		for (size_t k = 0; k < m->out->axis.n; k++)
			if (!value_is_absent(from->values[k]))
				m->out->series[at].values[k] = from->values[k];
	}
	return copy_marked(m, &m->right, bunch, false, e);
}

/* --- arithmetic and comparisons -------------------------------------------------------- */

static int many_to_many(
	struct match *m, const struct side *one, uint32_t a, uint32_t b, struct error *e)
{
	struct buf first = {0}, second = {0}, key = {0}, group = {0};
	bool right = one == &m->right;
	int r;

	labels_text(&first, one->matrix->series[a].labels);
	labels_text(&second, one->matrix->series[b].labels);
	grouping_project(&m->by, one->matrix->series[a].labels, STR_NONE, NULL, &key);
	labels_text(&group, buf_view(&key));
	r = error_set(e, ERR_ARG,
		"found duplicate series for the match group %.80s on the %s hand-side of the "
		"operation: [%.100s, %.100s];many-to-many matching not allowed: matching labels "
		"must be unique on one side",
		buf_cstr(&group), right ? "right" : "left", buf_cstr(&second), buf_cstr(&first));
	buf_fini(&first);
	buf_fini(&second);
	buf_fini(&key);
	buf_fini(&group);
	return r;
}

/* Which series of the "one" side has a value, by step. */
static int find_owners(struct match *m, const struct side *one, uint32_t bunch, struct error *e)
{
	size_t n = m->out->axis.n;

	memset(m->owner, 0xff, n * sizeof *m->owner);
	for (uint32_t i = one->first[bunch]; i != NOBODY; i = one->next[i])
		for (size_t k = 0; k < n; k++) {
			if (value_is_absent(one->matrix->series[i].values[k]))
				continue;
			if (m->owner[k] != NOBODY)
				return many_to_many(m, one, m->owner[k], i, e);
			m->owner[k] = i;
		}
	return 0;
}

/* The labels of what two series make: those that match, or all of the "many" side with what
 * group_left and group_right include of the other. */
static int result_labels(struct match *m, struct str many, struct str one, struct error *e)
{
	const struct binary_expr *x = m->expr;
	struct labels_builder b = {.names_free = true};
	struct str at = many;
	struct label l;
	int r = 0;

	buf_clear(&m->key);
	if (x->cardinality == ONE_TO_ONE) {
		grouping_project(&m->by, many, STR_NONE, NULL, &m->key);
		return 0;
	}
	for (labels_start(&at); r == 0 && labels_next(&at, &l);)
		r = labels_builder_set(&b, l.name, l.value, e);
	for (size_t i = 0; r == 0 && i < x->n_include; i++) {
		struct str value = STR("");
		labels_get(one, x->include[i], &value);
		r = labels_builder_set(&b, x->include[i], value, e);
	}
	labels_builder_write(&b, &m->key);
	labels_builder_fini(&b);
	return r;
}

static int several(const struct match *m, struct error *e)
{
	return error_set(e, ERR_ARG, "multiple matches for labels: %s",
		m->expr->cardinality == ONE_TO_ONE
			? "many-to-one matching must be explicit (group_left/group_right)"
			: "grouping labels must ensure unique matches");
}

/* One series of the "many" side with the owners. */
static int meet(struct match *m, const struct side *many, uint32_t i, const struct side *one,
	struct error *e)
{
	const struct matrix_series *from = &many->matrix->series[i];
	uint32_t last = NOBODY;
	size_t at = 0;
	int r;

	for (size_t k = 0; k < m->out->axis.n; k++) {
		uint32_t owner = m->owner[k];
		double a = from->values[k], b, v;
		if (owner == NOBODY || value_is_absent(a))
			continue;
		b = one->matrix->series[owner].values[k];
		v = many == &m->left ? combine(m->expr, a, b, a) : combine(m->expr, b, a, b);
		if (value_is_absent(v))
			continue;
		if (owner != last) {
			r = result_labels(m, from->labels, one->matrix->series[owner].labels, e);
			if (r < 0 || (r = matrix_series(m->out, buf_view(&m->key), &at, e)) < 0)
				return r;
			last = owner;
		}
		if (!value_is_absent(m->out->series[at].values[k]))
			return several(m, e);
		m->out->series[at].values[k] = v;
	}
	return 0;
}

static int arithmetic_bunch(struct match *m, uint32_t bunch, struct error *e)
{
	bool swap = m->expr->cardinality == ONE_TO_MANY;
	const struct side *one = swap ? &m->left : &m->right;
	const struct side *many = swap ? &m->right : &m->left;
	int r = find_owners(m, one, bunch, e);

	for (uint32_t i = many->first[bunch]; r == 0 && i != NOBODY; i = many->next[i])
		if ((r = run_check(m->run, e)) == 0)
			r = meet(m, many, i, one, e);
	return r;
}

static int with_vector(struct run *run, const struct binary_expr *x, struct matrix *left,
	struct matrix *right, struct matrix *out, struct error *e)
{
	struct match m;
	int r;

	matrix_init(out, run, &left->axis);
	if ((r = match_init(&m, run, x, left, right, out, e)) < 0)
		return r;
	for (uint32_t i = 0; r == 0 && i < m.n; i++)
		r = binary_op_is_set(x->op) ? set_bunch(&m, i, e) : arithmetic_bunch(&m, i, e);
	match_fini(&m);
	return r;
}

int binary_eval(struct run *r, const struct binary_expr *x, struct operand *left,
	struct operand *right, struct matrix *out, struct error *e)
{
	*out = (struct matrix){0};
	if (!left->is_scalar && !right->is_scalar)
		return with_vector(r, x, &left->matrix, &right->matrix, out, e);
	if (binary_op_is_set(x->op))
		return error_set(e, ERR_ARG,
			"unexpected literal for %s leg of logical/set binary operation (%s): %f",
			left->is_scalar ? "left" : "right", binary_op_text(x->op),
			left->is_scalar ? left->value : right->value);
	if (left->is_scalar)
		return with_scalar(x, &right->matrix, left->value, true, out, e);
	return with_scalar(x, &left->matrix, right->value, false, out, e);
}
