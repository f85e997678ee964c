/* SPDX-License-Identifier: Apache-2.0 */
#include "query/matrix.h"

#include <stdlib.h>

/* A quiet NaN with a payload that no arithmetic makes. */
#define ABSENT_BITS UINT64_C(0x7ff8a11ab5e47000)

double value_absent(void)
{
	uint64_t bits = ABSENT_BITS;
	double v;

	memcpy(&v, &bits, sizeof v);
	return v;
}

bool value_is_absent(double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof bits);
	return bits == ABSENT_BITS;
}

void matrix_init(struct matrix *m, struct run *run, const struct axis *axis)
{
	*m = (struct matrix){.run = run, .axis = *axis};
}

void matrix_fini(struct matrix *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->series[i].values);
		free((void *)m->series[i].labels.p);
	}
	free(m->series);
	map_fini(&m->index);
	if (m->charged)
		run_release(m->run, m->charged);
	*m = (struct matrix){0};
}

/* The bytes of a series and its place in the index, tables included. */
static uint64_t series_bytes(const struct matrix *m, struct str labels)
{
	return m->axis.n * sizeof(double) + 2 * labels.n + 2 * sizeof(struct matrix_series) + 128;
}

int matrix_series(struct matrix *m, struct str labels, size_t *out, struct error *e)
{
	const union map_value *known = map_get(&m->index, labels);
	uint64_t bytes = series_bytes(m, labels);
	struct matrix_series *s;
	int r;

	if (known) {
		*out = known->u;
		return 0;
	}
	if ((r = run_charge(m->run, bytes, e)) < 0)
		return r;
	m->charged += bytes;
	if (m->n == m->cap) {
		m->cap = m->cap ? m->cap * 2 : 16;
		m->series = xrealloc(m->series, m->cap * sizeof *m->series);
	}
	*out = m->n;
	s = &m->series[m->n++];
	s->values = xmalloc(m->axis.n * sizeof *s->values);
	for (size_t k = 0; k < m->axis.n; k++)
		s->values[k] = value_absent();
	map_put(&m->index, labels, NULL)->u = *out;
	s->labels = str_make(str_dup(labels), labels.n);
	return 0;
}

static int by_labels(const void *a, const void *b)
{
	const struct matrix_series *x = a, *y = b;

	return labels_order(x->labels, y->labels);
}

void matrix_sort(struct matrix *m)
{
	if (m->n)
		qsort(m->series, m->n, sizeof *m->series, by_labels);
}

static int move_series(struct matrix *m, struct matrix_series *from, struct error *e)
{
	struct arena *a = &m->run->out->arena;
	struct query_series *to = &m->run->out->series[m->run->out->n_series];
	size_t n = 0;
	int r;

	for (size_t k = 0; k < m->axis.n; k++)
		n += !value_is_absent(from->values[k]);
	if (n == 0)
		return 0;
	if ((r = run_reserve(m->run, n * sizeof *to->samples + from->labels.n + 128, e)) < 0)
		return r;
	to->labels = arena_str(a, from->labels);
	to->samples = ARENA_ARRAY(a, struct query_sample, n);
	for (size_t k = 0; k < m->axis.n; k++)
		if (!value_is_absent(from->values[k]))
			to->samples[to->n++] =
				(struct query_sample){axis_time(&m->axis, k), from->values[k]};
	m->run->out->n_series++;
	return 0;
}

/* Loki's sentence, and its limit where one is set. */
static int check_series(const struct run *r, struct error *e)
{
	uint64_t max = r->params->max_series;

	if (max == 0 || r->out->n_series <= max)
		return 0;
	return error_set(e, ERR_ARG,
		"maximum number of series (%llu) reached for a single query; consider reducing "
		"query cardinality by adding more specific stream selectors, reducing the time "
		"range, or aggregating results with functions like sum(), count() or topk()",
		(unsigned long long)max);
}

int matrix_to_result(struct matrix *m, enum result_type type, struct error *e)
{
	struct query_result *out = m->run->out;
	int r = 0;

	out->type = type;
	if (m->n == 0)
		return 0;
	if ((r = run_reserve(m->run, m->n * sizeof *out->series, e)) < 0)
		return r;
	if (!m->ordered)
		matrix_sort(m);
	out->series = ARENA_ARRAY(&out->arena, struct query_series, m->n);
	for (size_t i = 0; i < m->n && r == 0; i++) {
		if ((r = move_series(m, &m->series[i], e)) == 0)
			r = check_series(m->run, e);
		/* Given back at once, so that no more than one series is held twice. */
		free(m->series[i].values);
		m->series[i].values = NULL;
		run_release(m->run, m->axis.n * sizeof(double));
		m->charged -= m->axis.n * sizeof(double);
	}
	return r;
}
