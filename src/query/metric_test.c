/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metric queries against a model that evaluates random trees the plain way:
 * each step looks at each record, each operator at each pair.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "base/memory.h"
#include "query/ast.h"
#include "query/label_replace.h"
#include "query/source_test.h"
#include "query/window.h"

enum { RECORDS = 240, STREAMS = 5, POINTS = 600, VALUES = RECORDS };

#define SECOND NS_PER_SEC

/* --- the records ----------------------------------------------------------------------- */

static const char *const stream_texts[STREAMS] = {
	"{app=\"a\", host=\"h1\"}",
	"{app=\"a\", host=\"h2\"}",
	"{app=\"b\", host=\"h1\"}",
	"{app=\"b\"}",
	"{host=\"h3\", zone=\"z\"}",
};

struct fixture {
	struct test_source t;
	struct test_record records[RECORDS];
	const char *k[RECORDS];
	double v[RECORDS];
	bool has_v[RECORDS], bad_v[RECORDS];
	struct str streams[STREAMS];
	struct arena arena;
	uint64_t seed;
};

static uint32_t draw(struct fixture *f, uint32_t below)
{
	f->seed = f->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(f->seed >> 33) % below;
}

static void draw_line(struct fixture *f, size_t i)
{
	static const char *const ks[] = {NULL, "x", "y", "z"};
	struct buf line = {0};

	f->k[i] = ks[draw(f, 4)];
	f->has_v[i] = draw(f, 8) != 0;
	f->bad_v[i] = f->has_v[i] && draw(f, 20) == 0;
	/* Halves, so that sums are exact. */
	f->v[i] = ((double)draw(f, 60) - 12) / 2;
	if (f->k[i])
		buf_printf(&line, "k=%s ", f->k[i]);
	if (f->bad_v[i])
		buf_c(&line, "v=many");
	else if (f->has_v[i])
		buf_printf(&line, "v=%g", f->v[i]);
	f->records[i].body = arena_str(&f->arena, buf_view(&line));
	buf_fini(&line);
}

static struct fixture *fixture_new(uint64_t seed)
{
	struct fixture *f = xcalloc(1, sizeof *f);

	f->seed = seed;
	arena_init(&f->arena, NULL);
	f->t = test_source_make();
	for (size_t i = 0; i < STREAMS; i++)
		f->streams[i] = test_labels(stream_texts[i]);
	f->t.records = f->records;
	f->t.n = RECORDS;
	f->t.streams = f->streams;
	f->t.n_streams = STREAMS;
	f->t.unit_rows = 1 + draw(f, 60);
	for (size_t i = 0; i < RECORDS; i++) {
		f->records[i] = (struct test_record){
			.timestamp = ((int64_t)i / 3 + draw(f, 12)) * SECOND / (1 + draw(f, 2)) +
				     (draw(f, 4) ? 0 : (int64_t)draw(f, 3) - 1),
			.seq = i * 7 % RECORDS + 1,
			.stream = draw(f, STREAMS),
		};
		draw_line(f, i);
	}
	return f;
}

static void fixture_free(struct fixture *f)
{
	for (size_t i = 0; i < STREAMS; i++)
		free((void *)f->streams[i].p);
	arena_fini(&f->arena);
	free(f);
}

/* --- the model: sets of labelled values -------------------------------------------------- */

struct point {
	struct str labels; /* canonical, in the arena */
	double v;
};

struct vector {
	struct point p[POINTS];
	size_t n;
};

static struct vector *vector_new(struct fixture *f)
{
	return ARENA_NEW(&f->arena, struct vector);
}

static void builder_add(struct labels_builder *b, struct str labels)
{
	struct label l;

	b->names_free = true;
	labels_start(&labels);
	while (labels_next(&labels, &l))
		assert_int_equal(labels_builder_set(b, l.name, l.value, NULL), 0);
}

static struct str builder_take(struct fixture *f, struct labels_builder *b)
{
	struct buf out = {0};
	struct str labels;

	labels_builder_write(b, &out);
	labels = arena_str(&f->arena, buf_view(&out));
	buf_fini(&out);
	labels_builder_fini(b);
	return labels;
}

struct names {
	bool without;
	const char *name[2];
	size_t n;
};

static struct str project(struct fixture *f, struct str labels, const struct names *g)
{
	struct labels_builder b = {.names_free = true};
	struct label l;

	labels_start(&labels);
	while (labels_next(&labels, &l)) {
		bool named = false;
		for (size_t i = 0; i < g->n; i++)
			named = named || str_eq_c(l.name, g->name[i]);
		if (named != g->without)
			labels_builder_set(&b, l.name, l.value, NULL);
	}
	return builder_take(f, &b);
}

static struct point *find(struct vector *v, struct str labels)
{
	for (size_t i = 0; i < v->n; i++)
		if (str_eq(v->p[i].labels, labels))
			return &v->p[i];
	return NULL;
}

static void add(struct vector *v, struct str labels, double value)
{
	assert_true(v->n < POINTS);
	v->p[v->n++] = (struct point){labels, value};
}

static int by_labels(const void *a, const void *b)
{
	return labels_order(((const struct point *)a)->labels, ((const struct point *)b)->labels);
}

static void order(struct vector *v)
{
	qsort(v->p, v->n, sizeof *v->p, by_labels);
}

/* --- trees ----------------------------------------------------------------------------- */

enum kind { RANGE, VECTOR, BINARY, SCALAR_RIGHT, SCALAR_LEFT, REPLACE, NUMBER };

struct node {
	enum kind kind;
	int function; /* enum range_function, vector_function, binary_op */
	bool unwrap, grouped, on, matched, returns_bool;
	struct names names; /* of groupings, on and ignoring */
	int64_t range_ns, offset_ns;
	double number; /* a scalar, a quantile */
	int cardinality;
	const char *include;
	uint64_t k;
	struct node *left, *right;
};

struct model {
	struct fixture *f;
	bool failed;
};

static double model_quantile(double *v, size_t n, double q)
{
	double rank = q * ((double)n - 1), weight = rank - floor(rank);
	size_t low = q >= 0 ? (size_t)rank : 0, high = low + 1 < n ? low + 1 : low;

	if (q < 0 || q > 1)
		return q < 0 ? -INFINITY : INFINITY;
	return v[low] * (1 - weight) + v[high] * weight;
}

static int by_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Values in the order of time. */
static double model_fold(int function, double *v, size_t n, double seconds, double q)
{
	double sum = 0, low = v[0], high = v[0], squares = 0;

	for (size_t i = 0; i < n; i++) {
		sum += v[i];
		low = v[i] < low ? v[i] : low;
		high = v[i] > high ? v[i] : high;
	}
	for (size_t i = 0; i < n; i++)
		squares += (v[i] - sum / (double)n) * (v[i] - sum / (double)n);
	switch (function) {
	case RANGE_RATE: return sum / seconds;
	case RANGE_SUM_OVER_TIME: return sum;
	case RANGE_AVG_OVER_TIME: return sum / (double)n;
	case RANGE_MIN_OVER_TIME: return low;
	case RANGE_MAX_OVER_TIME: return high;
	case RANGE_STDVAR_OVER_TIME: return squares / (double)n;
	case RANGE_STDDEV_OVER_TIME: return sqrt(squares / (double)n);
	case RANGE_FIRST_OVER_TIME: return v[0];
	case RANGE_LAST_OVER_TIME: return v[n - 1];
	case RANGE_QUANTILE_OVER_TIME:
		qsort(v, n, sizeof *v, by_double);
		return model_quantile(v, n, q);
	default: abort();
	}
}

/* As documented for Prometheus's rate. */
static double model_counter(const double *v, const int64_t *t, size_t n, int64_t end, int64_t range)
{
	double growth = v[n - 1] - v[0], span = (double)(t[n - 1] - t[0]) / 1e9;
	double head = (double)(t[0] - (end - range)) / 1e9, tail = (double)(end - t[n - 1]) / 1e9;
	double mean = span / (double)(n - 1), zero;

	for (size_t i = 1; i < n; i++)
		growth += v[i] < v[i - 1] ? v[i - 1] : 0;
	if (span == 0)
		return growth / ((double)range / 1e9);
	if (head >= mean * 1.1)
		head = mean / 2;
	zero = growth > 0 && v[0] >= 0 ? span * v[0] / growth : head;
	if (zero < head)
		head = zero;
	if (tail >= mean * 1.1)
		tail = mean / 2;
	return growth / span * (span + head + tail) / ((double)range / 1e9);
}

static bool in_window(const struct fixture *f, size_t i, const struct node *x, int64_t t)
{
	int64_t at = t - x->offset_ns, s = f->records[i].timestamp;

	return s > at - x->range_ns && s <= at && f->records[i].stream != STREAMS - 1;
}

static struct str row_labels(struct fixture *f, size_t i, const struct node *x)
{
	struct labels_builder b = {.names_free = true};
	struct buf text = {0};

	builder_add(&b, f->streams[f->records[i].stream]);
	if (f->k[i])
		labels_builder_set(&b, STR("k"), str_c(f->k[i]), NULL);
	buf_printf(&text, "%g", f->v[i]);
	if (!x->unwrap && f->has_v[i])
		labels_builder_set(&b, STR("v"),
			f->bad_v[i] ? STR("many") : arena_str(&f->arena, buf_view(&text)), NULL);
	buf_fini(&text);
	if (x->grouped)
		return project(f, builder_take(f, &b), &x->names);
	return builder_take(f, &b);
}

struct timed {
	int64_t t;
	uint64_t seq;
	double v;
};

static int by_timed(const void *a, const void *b)
{
	const struct timed *x = a, *y = b;

	if (x->t != y->t)
		return x->t < y->t ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* The value of one series; false for none. */
static bool model_series(struct fixture *f, const struct node *x, int64_t t, struct str labels,
	const struct str *rows, double *out)
{
	struct timed all[VALUES];
	double v[VALUES], seconds = (double)x->range_ns / 1e9, bytes = 0;
	int64_t times[VALUES];
	size_t n = 0;

	for (size_t i = 0; i < RECORDS; i++)
		if (rows[i].p && str_eq(rows[i], labels)) {
			bytes += (double)f->records[i].body.n;
			all[n++] =
				(struct timed){f->records[i].timestamp, f->records[i].seq, f->v[i]};
		}
	qsort(all, n, sizeof *all, by_timed);
	for (size_t i = 0; i < n; i++) {
		v[i] = all[i].v;
		times[i] = all[i].t;
	}
	switch (x->unwrap ? -1 : x->function) {
	case RANGE_COUNT_OVER_TIME: *out = (double)n; return true;
	case RANGE_RATE: *out = (double)n / seconds; return true;
	case RANGE_BYTES_OVER_TIME: *out = bytes; return true;
	case RANGE_BYTES_RATE: *out = bytes / seconds; return true;
	default: break;
	}
	if (x->function == RANGE_RATE_COUNTER) {
		if (n > 1)
			*out = model_counter(v, times, n, t - x->offset_ns, x->range_ns);
		return n > 1;
	}
	*out = model_fold(x->function, v, n, seconds, x->number);
	return true;
}

static struct vector *model_range(struct model *m, const struct node *x, int64_t t)
{
	struct vector *out = vector_new(m->f);
	struct str rows[RECORDS] = {0};
	bool any = false;
	double v;

	for (size_t i = 0; i < RECORDS; i++) {
		if (!in_window(m->f, i, x, t))
			continue;
		if (x->unwrap && (!m->f->has_v[i] || m->f->bad_v[i]))
			continue;
		rows[i] = row_labels(m->f, i, x);
		any = true;
	}
	if (x->function == RANGE_ABSENT_OVER_TIME) {
		struct labels_builder b = {0};
		if (!any)
			add(out, builder_take(m->f, &b), 1);
		return out;
	}
	for (size_t i = 0; i < RECORDS; i++)
		if (rows[i].p && !find(out, rows[i]) && model_series(m->f, x, t, rows[i], rows, &v))
			add(out, rows[i], v);
	return out;
}

static bool better(const struct node *x, const struct point *a, const struct point *b)
{
	if (isnan(a->v) != isnan(b->v))
		return isnan(b->v);
	if (a->v != b->v && !isnan(a->v))
		return (a->v > b->v) == (x->function != VECTOR_BOTTOMK);
	return labels_order(a->labels, b->labels) < 0;
}

static struct vector *model_topk(struct model *m, const struct node *x, const struct vector *in)
{
	struct vector *out = vector_new(m->f);

	for (size_t i = 0; i < in->n; i++) {
		struct str mine = project(m->f, in->p[i].labels, &x->names);
		uint64_t n = 0;
		for (size_t k = 0; k < in->n; k++)
			n += str_eq(mine, project(m->f, in->p[k].labels, &x->names)) &&
			     better(x, &in->p[k], &in->p[i]);
		if (n < x->k)
			add(out, in->p[i].labels, in->p[i].v);
	}
	return out;
}

static double model_aggregate(int function, const double *v, size_t n)
{
	double sum = 0, low = NAN, high = NAN, squares = 0, mean = 0;

	for (size_t i = 0; i < n; i++) {
		double apart = v[i] - mean;
		sum = i ? sum + v[i] : v[i];
		low = isnan(low) || v[i] < low ? v[i] : low;
		high = isnan(high) || v[i] > high ? v[i] : high;
		mean += apart / (double)(i + 1);
		squares += apart * (v[i] - mean);
	}
	switch (function) {
	case VECTOR_SUM: return sum;
	case VECTOR_MIN: return low;
	case VECTOR_MAX: return high;
	case VECTOR_AVG: return sum / (double)n;
	case VECTOR_COUNT: return (double)n;
	case VECTOR_STDVAR: return squares / (double)n;
	case VECTOR_STDDEV: return sqrt(squares / (double)n);
	default: abort();
	}
}

static struct vector *model_vector(struct model *m, const struct node *x, struct vector *in)
{
	struct vector *out;

	if (x->function == VECTOR_SORT || x->function == VECTOR_SORT_DESC)
		return in;
	order(in);
	if (x->function >= VECTOR_TOPK)
		return model_topk(m, x, in);
	out = vector_new(m->f);
	for (size_t i = 0; i < in->n; i++) {
		struct str key = project(m->f, in->p[i].labels, &x->names);
		double v[POINTS];
		size_t n = 0;
		if (find(out, key))
			continue;
		for (size_t k = 0; k < in->n; k++)
			if (str_eq(project(m->f, in->p[k].labels, &x->names), key))
				v[n++] = in->p[k].v;
		add(out, key, model_aggregate(x->function, v, n));
	}
	return out;
}

/* False: the comparison drops it. */
static bool model_apply(const struct node *x, double a, double b, double kept, double *out)
{
	double v = binary_apply((enum binary_op)x->function, a, b);

	if (x->function >= BINARY_EQ && x->function <= BINARY_LE && !x->returns_bool) {
		*out = kept;
		return v != 0;
	}
	*out = v;
	return true;
}

static struct vector *model_scalar(struct model *m, const struct node *x, const struct vector *in)
{
	struct vector *out = vector_new(m->f);
	double v;

	for (size_t i = 0; i < in->n; i++) {
		double a = in->p[i].v;
		if (x->kind == SCALAR_LEFT ? model_apply(x, x->number, a, a, &v)
					   : model_apply(x, a, x->number, a, &v))
			add(out, in->p[i].labels, v);
	}
	return out;
}

static struct str match_key(struct model *m, const struct node *x, struct str labels)
{
	struct names by = x->names;

	by.without = !x->on;
	if (!x->matched)
		by = (struct names){.without = true};
	return project(m->f, labels, &by);
}

static size_t partners(
	struct model *m, const struct node *x, const struct vector *in, struct str labels)
{
	struct str key = match_key(m, x, labels);
	size_t n = 0;

	for (size_t i = 0; i < in->n; i++)
		n += str_eq(match_key(m, x, in->p[i].labels), key);
	return n;
}

static struct vector *model_set(
	struct model *m, const struct node *x, const struct vector *l, const struct vector *r)
{
	struct vector *out = vector_new(m->f);

	for (size_t i = 0; i < l->n; i++)
		if (x->function == BINARY_OR ||
			(partners(m, x, r, l->p[i].labels) > 0) == (x->function == BINARY_AND))
			add(out, l->p[i].labels, l->p[i].v);
	for (size_t i = 0; i < r->n && x->function == BINARY_OR; i++)
		if (!partners(m, x, l, r->p[i].labels))
			add(out, r->p[i].labels, r->p[i].v);
	return out;
}

static struct str result_labels(
	struct model *m, const struct node *x, struct str many, struct str one)
{
	struct labels_builder b = {.names_free = true};
	struct str value = STR("");

	if (x->cardinality == ONE_TO_ONE)
		return match_key(m, x, many);
	builder_add(&b, many);
	if (x->include) {
		labels_get(one, str_c(x->include), &value);
		labels_builder_set(&b, str_c(x->include), value, NULL);
	}
	return builder_take(m->f, &b);
}

static struct vector *model_binary(
	struct model *m, const struct node *x, const struct vector *l, const struct vector *r)
{
	struct vector *out = vector_new(m->f);
	bool swap = x->cardinality == ONE_TO_MANY;
	const struct vector *many = swap ? r : l, *one = swap ? l : r;

	if (x->function <= BINARY_UNLESS)
		return model_set(m, x, l, r);
	for (size_t i = 0; i < one->n; i++)
		m->failed |= partners(m, x, one, one->p[i].labels) > 1;
	for (size_t i = 0; i < many->n && !m->failed; i++)
		for (size_t k = 0; k < one->n; k++) {
			double a = many->p[i].v, b = one->p[k].v, v;
			struct str labels;
			if (!str_eq(match_key(m, x, many->p[i].labels),
				    match_key(m, x, one->p[k].labels)))
				continue;
			if (!(swap ? model_apply(x, b, a, b, &v) : model_apply(x, a, b, a, &v)))
				continue;
			labels = result_labels(m, x, many->p[i].labels, one->p[k].labels);
			m->failed |= find(out, labels) != NULL;
			add(out, labels, v);
		}
	return out;
}

/* label_replace(x, "zone", "$1-${2}", "host", "(h)(.)") or of another label. */
static struct vector *model_replace(struct model *m, const struct node *x, const struct vector *in)
{
	struct vector *out = vector_new(m->f);

	for (size_t i = 0; i < in->n; i++) {
		struct labels_builder b = {.names_free = true};
		struct str host = STR("");
		char text[3] = "-";
		builder_add(&b, in->p[i].labels);
		labels_get(in->p[i].labels, STR("host"), &host);
		if (host.n == 2 && host.p[0] == 'h') {
			text[0] = host.p[1];
			text[1] = '-';
			labels_builder_set(
				&b, str_c(x->include), x->k ? str_make(text, 2) : STR(""), NULL);
		}
		struct str labels = builder_take(m->f, &b);
		m->failed |= find(out, labels) != NULL;
		add(out, labels, in->p[i].v);
	}
	return out;
}

static struct vector *model_eval(struct model *m, const struct node *x, int64_t t)
{
	struct vector *l = x->left ? model_eval(m, x->left, t) : NULL;
	struct vector *r = x->right ? model_eval(m, x->right, t) : NULL;
	struct vector *out;
	struct labels_builder none = {0};

	if (m->failed)
		return vector_new(m->f);
	switch (x->kind) {
	case RANGE: return model_range(m, x, t);
	case VECTOR: return model_vector(m, x, l);
	case BINARY: return model_binary(m, x, l, r);
	case SCALAR_LEFT:
	case SCALAR_RIGHT: return model_scalar(m, x, l);
	case REPLACE: return model_replace(m, x, l);
	case NUMBER: break;
	}
	out = vector_new(m->f);
	add(out, builder_take(m->f, &none), x->number);
	return out;
}

/* --- drawing trees ----------------------------------------------------------------------- */

static const char *const label_names[] = {"app", "host", "k", "zone", "none"};

static void draw_names(struct fixture *f, struct names *g, struct buf *text, const char *words[2])
{
	g->without = draw(f, 2);
	g->n = draw(f, 3);
	buf_printf(text, " %s (", words[g->without]);
	for (size_t i = 0; i < g->n; i++) {
		g->name[i] = label_names[draw(f, 5)];
		buf_printf(text, "%s%s", i ? ", " : "", g->name[i]);
	}
	buf_c(text, ") ");
}

static const char *by_words[] = {"by", "without"};
static const char *on_words[] = {"on", "ignoring"};

/* `exact`: nothing whose last digits depend on how it is computed. */
static struct node *draw_range(struct fixture *f, struct buf *text, bool exact)
{
	static const double quantiles[] = {0, 0.25, 0.5, 0.75, 1, -1, 2};
	struct node *x = ARENA_NEW(&f->arena, struct node);
	struct buf names = {0};

	x->kind = RANGE;
	do
		x->function = (int)draw(f, RANGE_LAST_OVER_TIME + 1);
	while (exact &&
		(x->function == RANGE_STDVAR_OVER_TIME || x->function == RANGE_STDDEV_OVER_TIME ||
			x->function == RANGE_RATE_COUNTER));
	x->unwrap = range_function_needs_unwrap((enum range_function)x->function) ||
		    (x->function == RANGE_RATE && draw(f, 2));
	/* Powers of two, so that rates are exact. */
	x->range_ns = (INT64_C(1) << draw(f, 7)) * SECOND / 2;
	x->offset_ns = draw(f, 3) ? 0 : (int64_t)draw(f, 20) * SECOND - 10 * SECOND;
	x->number = quantiles[draw(f, 7)];
	if (range_function_takes_grouping((enum range_function)x->function) && draw(f, 2)) {
		x->grouped = true;
		draw_names(f, &x->names, &names, by_words);
	}
	buf_printf(text, "%s(", range_function_name((enum range_function)x->function));
	if (x->function == RANGE_QUANTILE_OVER_TIME)
		buf_printf(text, "%g, ", x->number);
	buf_printf(text, "{zone!=\"z\"} | logfmt%s [%dms]",
		x->unwrap ? " | unwrap v | __error__=\"\"" : "", (int)(x->range_ns / NS_PER_MS));
	if (x->offset_ns)
		buf_printf(text, " offset %ds", (int)(x->offset_ns / SECOND));
	buf_char(text, ')');
	buf_str(text, buf_view(&names));
	buf_fini(&names);
	return x;
}

static struct node *draw_tree(struct fixture *f, struct buf *text, int depth, bool exact);

static struct node *draw_vector(struct fixture *f, struct buf *text, int depth, bool exact)
{
	struct node *x = ARENA_NEW(&f->arena, struct node);
	struct buf names = {0};

	x->kind = VECTOR;
	x->function = (int)draw(f, VECTOR_SORT_DESC + 1);
	x->k = 1 + draw(f, 4);
	if (x->function < VECTOR_APPROX_TOPK && draw(f, 3))
		draw_names(f, &x->names, &names, by_words);
	buf_c(text, vector_function_name((enum vector_function)x->function));
	if (draw(f, 2)) {
		buf_str(text, buf_view(&names));
		buf_clear(&names);
	}
	buf_char(text, '(');
	if (x->function >= VECTOR_TOPK && x->function <= VECTOR_APPROX_TOPK)
		buf_printf(text, "%d, ", (int)x->k);
	x->left = draw_tree(f, text, depth - 1, exact || x->function >= VECTOR_TOPK);
	buf_char(text, ')');
	buf_str(text, buf_view(&names));
	buf_fini(&names);
	return x;
}

static bool compares(int op)
{
	return op >= BINARY_EQ && op <= BINARY_LE;
}

static struct node *draw_binary(struct fixture *f, struct buf *text, int depth, bool exact)
{
	struct node *x = ARENA_NEW(&f->arena, struct node);
	struct buf middle = {0}, right = {0};

	x->kind = BINARY;
	x->function = (int)draw(f, BINARY_POW + 1);
	/* A value beside a jump of % is as good as undecided. */
	exact = exact || compares(x->function) || x->function == BINARY_MOD;
	x->returns_bool = compares(x->function) && draw(f, 2);
	buf_printf(&middle, ") %s %s", binary_op_text((enum binary_op)x->function),
		x->returns_bool ? "bool" : "");
	if ((x->matched = draw(f, 3) != 0)) {
		draw_names(f, &x->names, &middle, on_words);
		x->on = !x->names.without;
		x->cardinality = x->function > BINARY_UNLESS ? (int)draw(f, 3) : ONE_TO_ONE;
	}
	if (x->cardinality) {
		/* What matches cannot be included too. */
		x->include = draw(f, 2) ? "zone" : NULL;
		for (size_t i = 0; i < x->names.n; i++)
			if (x->on && x->include && !strcmp(x->names.name[i], "zone"))
				x->include = NULL;
		buf_printf(&middle, "group_%s (%s)",
			x->cardinality == MANY_TO_ONE ? "left" : "right",
			x->include ? x->include : "");
	}
	buf_char(text, '(');
	x->left = draw_tree(f, text, depth - 1, exact);
	x->right = draw_tree(f, &right, depth - 1, exact);
	buf_str(text, buf_view(&middle));
	buf_char(text, '(');
	buf_str(text, buf_view(&right));
	buf_char(text, ')');
	buf_fini(&middle);
	buf_fini(&right);
	return x;
}

static struct node *draw_scalar(struct fixture *f, struct buf *text, int depth, bool exact)
{
	struct node *x = ARENA_NEW(&f->arena, struct node);
	bool left = draw(f, 2);
	const char *op;

	x->kind = left ? SCALAR_LEFT : SCALAR_RIGHT;
	x->function = BINARY_EQ + (int)draw(f, BINARY_POW - BINARY_EQ + 1);
	x->returns_bool = compares(x->function) && draw(f, 2);
	x->number = draw(f, 9) / 2.0;
	op = binary_op_text((enum binary_op)x->function);
	exact = exact || compares(x->function) || x->function == BINARY_MOD;
	if (left)
		buf_printf(text, "%g %s %s (", x->number, op, x->returns_bool ? "bool" : "");
	else
		buf_char(text, '(');
	x->left = draw_tree(f, text, depth - 1, exact);
	buf_char(text, ')');
	if (!left)
		buf_printf(text, "%s %s %g", op, x->returns_bool ? "bool" : "", x->number);
	return x;
}

static struct node *draw_replace(struct fixture *f, struct buf *text, int depth, bool exact)
{
	struct node *x = ARENA_NEW(&f->arena, struct node);

	x->kind = REPLACE;
	x->include = draw(f, 2) ? "zone" : "host";
	x->k = draw(f, 4);
	buf_c(text, "label_replace(");
	x->left = draw_tree(f, text, depth - 1, exact);
	buf_printf(text, ", \"%s\", \"%s\", \"host\", \"%s\")", x->include, x->k ? "${2}-$3" : "",
		"(h)(.)");
	return x;
}

/* A vector of numbers alone is folded when it is parsed; here it is not to be. */
static struct node *draw_number(struct fixture *f, struct buf *text)
{
	struct node *x = ARENA_NEW(&f->arena, struct node);

	x->kind = NUMBER;
	x->number = draw(f, 5);
	buf_printf(text, "sum(vector(%g))", x->number);
	return x;
}

static struct node *draw_tree(struct fixture *f, struct buf *text, int depth, bool exact)
{
	switch (depth <= 0 ? 7 : draw(f, 9)) {
	case 0:
	case 1: return draw_vector(f, text, depth, exact);
	case 2:
	case 3:
	case 4: return draw_binary(f, text, depth, exact);
	case 5: return draw_scalar(f, text, depth, exact);
	case 6: return draw_replace(f, text, depth, exact);
	default: return draw(f, 12) ? draw_range(f, text, exact) : draw_number(f, text);
	}
}

/* --- comparing --------------------------------------------------------------------------- */

static struct query *parse(const char *text)
{
	struct query *q;
	struct error e = {0};

	if (query_parse(&q, str_c(text), &e) < 0)
		fail_msg("%s: %s", text, e.text);
	return q;
}

static const double *sample_at(const struct query_series *s, int64_t t)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->samples[i].timestamp == t)
			return &s->samples[i].value;
	return NULL;
}

static const double *result_at(const struct query_result *r, struct str labels, int64_t t)
{
	for (size_t i = 0; i < r->n_series; i++)
		if (str_eq(r->series[i].labels, labels))
			return sample_at(&r->series[i], t);
	return NULL;
}

static bool near(double a, double b)
{
	if (isnan(a) || isnan(b) || isinf(a) || isinf(b))
		return a == b || (isnan(a) && isnan(b));
	return fabs(a - b) <= 1e-9 * (1 + fabs(a));
}

static bool same_step(const struct query_result *got, const struct vector *want, int64_t t)
{
	size_t n = 0;

	for (size_t i = 0; i < want->n; i++) {
		const double *v = result_at(got, want->p[i].labels, t);
		if (!v || !near(*v, want->p[i].v))
			return false;
	}
	for (size_t i = 0; i < got->n_series; i++)
		n += sample_at(&got->series[i], t) != NULL;
	return n == want->n;
}

struct outcome {
	size_t failed, values, wrong; /* wrong: differences that the control made were seen */
};

static void check_tree(struct fixture *f, const struct node *x, const char *text,
	const struct query_params *p, struct outcome *sum)
{
	struct query *q = parse(text);
	struct model m = {.f = f};
	struct query_result got;
	struct error e = {0};
	struct vector *steps[200];
	size_t n = 0;
	int r;

	for (int64_t t = p->start_ns; t <= p->end_ns && n < 200; t += p->step_ns ? p->step_ns : 1)
		steps[n++] = model_eval(&m, x, t);
	r = source_query(&f->t.source, q, p, &got, &e);
	query_free(q);
	if (m.failed || r < 0) {
		if (!m.failed || r >= 0)
			fail_msg("%s: %s", text, r < 0 ? e.text : "should fail");
		assert_int_equal(r, ERR_ARG);
		sum->failed++;
		return;
	}
	for (size_t i = 0; i < n; i++) {
		int64_t t = p->start_ns + (int64_t)i * p->step_ns;
		if (!same_step(&got, steps[i], t))
			fail_msg("%s at %.3f s", text, (double)t / 1e9);
		sum->values += steps[i]->n;
		/* The control: does it see a value that is off? */
		if (steps[i]->n && isfinite(steps[i]->p[0].v)) {
			steps[i]->p[0].v = steps[i]->p[0].v * 1.001 + 0.001;
			sum->wrong += !same_step(&got, steps[i], t);
			sum->wrong -= same_step(&got, steps[i], t);
		}
	}
	query_result_fini(&got);
}

static void random_trees(void **state)
{
	struct outcome sum = {0};

	(void)state;
	for (uint64_t seed = 1; seed <= 500; seed++) {
		struct fixture *f = fixture_new(seed);
		struct account account;
		bool instant = draw(f, 4) == 0;
		struct query_params p = {
			.start_ns = (int64_t)draw(f, 80) * SECOND,
			.step_ns = instant ? 0 : (INT64_C(1) << draw(f, 6)) * SECOND / 2,
			.tenant = STR("t"),
			.account = &account,
		};
		struct buf text = {0};
		struct node *x;
		account_init(&account, "test", UINT64_MAX, NULL);
		p.end_ns = p.start_ns + (instant ? 0 : (int64_t)draw(f, 40) * SECOND);
		x = draw_tree(f, &text, (int)draw(f, 4), false);
		check_tree(f, x, buf_cstr(&text), &p, &sum);
		assert_int_equal(account_held(&account), 0);
		buf_fini(&text);
		fixture_free(f);
	}
	assert_true(sum.values > 5000);
	assert_true(sum.wrong > 500);
	assert_true(sum.failed > 10);
}

/* --- windows ----------------------------------------------------------------------------- */

/* A time is in the slots of a window exactly when it is in the window, and find_steps says how far
 * that is so. */
static void slots_of_windows(void **state)
{
	struct fixture *f = fixture_new(9);

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct axis axis = {.start_ns = (int64_t)draw(f, 50) - 20,
			.step_ns = 1 + (int64_t)draw(f, 12),
			.n = 1 + draw(f, 9)};
		struct range_expr x = {.range_ns = 1 + (int64_t)draw(f, draw(f, 2) ? 8 : 90),
			.offset_ns = (int64_t)draw(f, 9) - 4};
		struct windows w;
		windows_init(&w, &x, &axis);
		for (int64_t s = -150; s < 220; s++) {
			struct windows fresh;
			windows_init(&fresh, &x, &axis);
			window_of(&w, s);
			window_of(&fresh, s);
			assert_true(s >= w.from_ns && s < w.to_ns);
			assert_int_equal(w.inside, fresh.inside);
			for (size_t k = 0; k < axis.n; k++) {
				int64_t end = axis_time(&axis, k) - x.offset_ns;
				struct slots slots = window_slots(&w, k);
				bool in = s > end - x.range_ns && s <= end;
				assert_int_equal(window_end(&w, k), end);
				assert_int_equal(in, w.inside && k >= w.lo && k <= w.hi);
				assert_int_equal(in, w.inside && window_slot(&w) >= slots.first &&
							     window_slot(&w) <= slots.last);
			}
		}
	}
	fixture_free(f);
}

/* --- by hand ----------------------------------------------------------------------------- */

static int run_one(struct fixture *f, const char *text, struct query_params p,
	struct query_result *out, struct error *e)
{
	struct query *q = parse(text);
	int r;

	p.tenant = STR("t");
	r = source_query(&f->t.source, q, &p, out, e);
	query_free(q);
	return r;
}

/* A fixture with these lines, one a second from 1 s on. */
static struct fixture *fixture_of(const char *const *lines, size_t n)
{
	struct fixture *f = fixture_new(1);

	f->t.n = n;
	f->t.unit_rows = 3;
	for (size_t i = 0; i < n; i++)
		f->records[i] = (struct test_record){.timestamp = (int64_t)(i + 1) * SECOND,
			.seq = i + 1,
			.body = str_c(lines[i]),
			.stream = (uint32_t)i % 2};
	return f;
}

static void pipeline_errors(void **state)
{
	static const char *const lines[] = {"{\"a\":\"1\"}", "not", "{\"a\":\"many\"}"};
	static const struct {
		const char *text, *error; /* NULL: it works */
	} cases[] = {
		{"count_over_time({} | json [1m])",
			"pipeline error: 'JSONParserErr' for series: '{app=\"a\", host=\"h2\"}'. Use a "
			"label filter to intentionally skip this error. (e.g | "
			"__error__!=\"JSONParserErr\"). To skip all potential errors you can match "
			"empty errors.(e.g __error__=\"\") The label filter can also be specified "
			"after unwrap. (e.g | unwrap latency | __error__=\"\" )"},
		{"count_over_time({} | json | __error__=\"\" [1m])", NULL},
		{"count_over_time({} | json | __error__!=\"JSONParserErr\" [1m])", NULL},
		{"count_over_time({} | json | drop __error__, __error_details__ [1m])", NULL},
		{"sum_over_time({} | json | unwrap a [1m])", "pipeline error: 'JSONParserErr'"},
		{"sum_over_time({} | json | __error__=\"\" | unwrap a [1m])",
			"pipeline error: 'SampleExtractionErr' for series: '{app=\"a\", "
			"host=\"h1\"}'"},
		{"sum_over_time({} | json | unwrap a | __error__=\"\" [1m])", NULL},
		{"max(sum_over_time({} | json | unwrap a | __error__=\"\" [1m]))", NULL},
		{"absent_over_time({} | json | unwrap a [1m])", "pipeline error: 'JSONParserErr'"},
	};
	struct query_params p = {.start_ns = 10 * SECOND, .end_ns = 10 * SECOND};
	struct fixture *f = fixture_of(lines, 3);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct query_result got;
		struct error e = {0};
		int r = run_one(f, cases[i].text, p, &got, &e);
		if ((r < 0) != (cases[i].error != NULL))
			fail_msg("%s: %s", cases[i].text, e.text);
		if (r == 0)
			query_result_fini(&got);
		else if (strncmp(e.text, cases[i].error, strlen(cases[i].error)) != 0)
			fail_msg("%s: %s", cases[i].text, e.text);
	}
	fixture_free(f);
}

static void values_by_hand(void **state)
{
	static const char *const lines[] = {
		"v=0.1 c=10", "v=0.2 c=20", "v=0.3 c=5", "v=0.1 c=15", "v=0.1 c=30"};
	static const struct {
		const char *text;
		double value;
	} cases[] = {
		{"sum(sum_over_time({} | logfmt | unwrap v [2m]))", 0.8},
		{"avg_over_time({} | logfmt | unwrap v [2m]) by ()", 0.16},
		/* Equal values do not deviate, whatever their digits. */
		{"stddev_over_time({} | logfmt | v=\"0.1\" | unwrap v [2m]) by ()", 0},
		{"stdvar_over_time({} | logfmt | unwrap c [2m]) by ()", 74},
		{"quantile_over_time(0.9, {} | logfmt | unwrap c [2m]) by ()", 26},
		{"first_over_time({} | logfmt | unwrap c [2m]) by ()", 10},
		{"last_over_time({} | logfmt | unwrap c [2m]) by ()", 30},
		{"rate({} | logfmt | c > 14 | keep app | unwrap c [2s] offset 3s)", NAN},
		{"sum(rate({} | logfmt | unwrap c [50s]))", 1.6},
		/* 10 20 5 15 30: grows by 10 + 5 + 10 + 15 in 4 s, a second apart; the window
		 * begins 1 s before and ends with the last. */
		{"sum(rate_counter({app=\"a\"} | logfmt | keep c | unwrap c [5s]))",
			40.0 / 4 * 5 / 5},
		{"sum(count_over_time({}[2m])) / 2", 2.5},
		{"2 ^ sum(count_over_time({}[2m]))", 32},
		{"-7 % sum(count_over_time({}[2m]))", -2},
		{"sum(count_over_time({}[2m])) / 0", INFINITY},
		{"topk(1, count_over_time({}[2m])) >= 3", 3},
		{"7 > bool count(count_over_time({}[2m]))", 1},
		{"stddev(count_over_time({}[2m]))", 0.5},
		{"stdvar without (app) (vector(3))", 0},
		{"max_over_time({} | logfmt | unwrap c [2m]) by (none) or vector(4)", 30},
		{"absent_over_time({app=\"x\"}[2m]) unless on () vector(1) or vector(9)", 9},
	};
	struct fixture *f = fixture_of(lines, 5);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct query_params p = {.start_ns = 5 * SECOND, .end_ns = 5 * SECOND};
		struct query_result got;
		struct error e = {0};
		if (run_one(f, cases[i].text, p, &got, &e) < 0)
			fail_msg("%s: %s", cases[i].text, e.text);
		if (isnan(cases[i].value)) {
			assert_int_equal(got.n_series, 0);
		} else if (got.n_series != 1 || got.series[0].samples[0].value != cases[i].value) {
			fail_msg("%s: %zu series, %.17g", cases[i].text, got.n_series,
				got.n_series ? got.series[0].samples[0].value : 0);
		}
		query_result_fini(&got);
	}
	fixture_free(f);
}

static void labels_of_results(void **state)
{
	static const char *const lines[] = {"k=x v=1", "k=y v=2", "k=x v=3"};
	static const struct {
		const char *text, *labels[3]; /* in order */
	} cases[] = {
		{"absent_over_time({app=\"q\", host=~\"h.\", zone=\"z\", zone!=\"\"}[1m])",
			{"{app=\"q\"}"}},
		{"max_over_time({} | logfmt | unwrap v [1m])",
			{"{app=\"a\", host=\"h1\", k=\"x\"}", "{app=\"a\", host=\"h2\", k=\"y\"}"}},
		{"max_over_time({} | logfmt | unwrap v [1m]) by (k, v)",
			{"{k=\"x\"}", "{k=\"y\"}"}},
		{"max_over_time({} | logfmt | unwrap v [1m]) without (k, host)", {"{app=\"a\"}"}},
		{"sort(sum by (k) (sum_over_time({} | logfmt | unwrap v [1m])))",
			{"{k=\"y\"}", "{k=\"x\"}"}},
		{"sort_desc(sum by (k) (sum_over_time({} | logfmt | unwrap v [1m])))",
			{"{k=\"x\"}", "{k=\"y\"}"}},
		{"-1 * sort(sum by (k) (sum_over_time({} | logfmt | unwrap v [1m])))",
			{"{k=\"y\"}", "{k=\"x\"}"}},
		{"label_replace(sum by (k) (count_over_time({} | logfmt [1m])), \"new\", "
		 "\"$1$$${b}\", \"k\", \"(x)(?P<b>)|y\")",
			{"{k=\"x\", new=\"x$\"}", "{k=\"y\", new=\"$\"}"}},
		{"label_replace(vector(1), \"a\", \"b\", \"none\", \"\")", {"{a=\"b\"}"}},
		{"label_replace(vector(1), \"a\", \"b\", \"none\", \".+\")", {"{}"}},
		{"sum by (k, app) (count_over_time({} | logfmt [1m])) * on (app) group_left (host) "
		 "(label_replace(sum by (app) (count_over_time({}[1m])), \"host\", \"H\", \"\", \"\"))",
			{"{app=\"a\", host=\"H\", k=\"x\"}", "{app=\"a\", host=\"H\", k=\"y\"}"}},
	};
	struct fixture *f = fixture_of(lines, 3);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct query_params p = {.start_ns = 5 * SECOND, .end_ns = 5 * SECOND};
		struct query_result got;
		struct error e = {0};
		size_t n = 0;
		if (run_one(f, cases[i].text, p, &got, &e) < 0)
			fail_msg("%s: %s", cases[i].text, e.text);
		for (; n < 3 && cases[i].labels[n]; n++) {
			struct buf text = {0};
			if (n < got.n_series)
				labels_text(&text, got.series[n].labels);
			if (strcmp(buf_cstr(&text), cases[i].labels[n]) != 0)
				fail_msg("%s: %s", cases[i].text, buf_cstr(&text));
			buf_fini(&text);
		}
		assert_int_equal(got.n_series, n);
		query_result_fini(&got);
	}
	fixture_free(f);
}

static void refused(void **state)
{
	static const char *const lines[] = {"k=x v=1", "k=y v=2", "k=x v=3"};
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"sum(count_over_time({}[1m])) / on () count_over_time({}[1m])",
			"found duplicate series for the match group {} on the right hand-side of the "
			"operation: [{app=\"a\", host=\"h2\"}, {app=\"a\", host=\"h1\"}];many-to-many "
			"matching not allowed: matching labels must be unique on one side"},
		{"count_over_time({}[1m]) / on () sum(count_over_time({}[1m]))",
			"multiple matches for labels: many-to-one matching must be explicit "
			"(group_left/group_right)"},
		{"sum by (host) (count_over_time({}[1m])) / on () group_left (host) "
		 "sum(count_over_time({}[1m]))",
			"multiple matches for labels: grouping labels must ensure unique matches"},
		{"label_replace(sum by (host) (count_over_time({}[1m])), \"host\", \"\", \"\", \"\")",
			"vector cannot contain metrics with the same labelset"},
	};
	struct fixture *f = fixture_of(lines, 3);
	struct query_params p = {.start_ns = 5 * SECOND, .end_ns = 5 * SECOND};
	struct query_result got;
	struct error e = {0};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(run_one(f, cases[i].text, p, &got, &e), ERR_ARG);
		assert_string_equal(e.text, cases[i].error);
	}
	p.max_series = 1;
	assert_int_equal(run_one(f, "count_over_time({}[1m])", p, &got, &e), ERR_ARG);
	assert_non_null(strstr(e.text, "maximum number of series (1) reached for a single query"));
	assert_int_equal(run_one(f, "topk(1, count_over_time({}[1m]))", p, &got, &e), 0);
	query_result_fini(&got);
	fixture_free(f);
}

static void expansions(void **state)
{
	static const char *const cases[][2] = {
		{"$1", "ab"},
		{"${1}c", "abc"},
		{"$1c", ""},
		{"$name-$2", "cd-cd"},
		{"$0", "abcd"},
		{"$3$99$none", ""},
		{"$01", ""},
		{"$$1", "$1"},
		{"$", "$"},
		{"a$-b", "a$-b"},
		{"${", "${"},
		{"${}", "${}"},
		{"${1", "${1"},
		{"${1 }", "${1 }"},
		{"$1_x", ""},
		{"plain", "plain"},
		{"", ""},
	};
	const struct str groups[] = {STR("abcd"), STR("ab"), STR("cd")};
	struct regex *regex;

	(void)state;
	assert_int_equal(regex_new_groups(&regex, STR("(ab)(?P<name>cd)"), NULL), 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf out = {0};
		label_replace_expand(str_c(cases[i][0]), regex, groups, 3, &out);
		assert_string_equal(buf_cstr(&out), cases[i][1]);
		buf_fini(&out);
	}
	regex_free(regex);
}

/* --- limits and order -------------------------------------------------------------------- */

static const char *const heavy[] = {
	"avg_over_time({} | logfmt | unwrap v | __error__=\"\" [1m])",
	"quantile_over_time(0.5, {} | logfmt | unwrap v | __error__=\"\" [1m])",
	"stddev_over_time({} | logfmt | unwrap v | __error__=\"\" [1m]) by (k)",
	"rate_counter({} | logfmt | unwrap v | __error__=\"\" [1m])",
	"last_over_time({} | logfmt | unwrap v | __error__=\"\" [1m]) by (app)",
	"rate({}[1m]) / on (app, host, zone) group_left () sum by (app, host, zone) (rate({}[1m]))",
	"rate({}[1m]) or on (k) label_replace(rate({}[1m]), \"k\", \"v\", \"\", \"\")",
	"stdvar by (app) (rate({} | logfmt [1m]))",
};

/* Whatever the budget, it is kept, and all of it comes back. */
static void budgets(void **state)
{
	struct fixture *f = fixture_new(2);

	(void)state;
	for (size_t i = 0; i < sizeof heavy / sizeof *heavy; i++) {
		struct query_params p = {.end_ns = 200 * SECOND, .step_ns = SECOND / 2};
		bool fits = false;
		for (uint64_t bytes = 100; !fits; bytes = bytes * 3 / 2) {
			struct account account;
			struct query_result got;
			struct error e = {0};
			account_init(&account, "test", UINT64_MAX, NULL);
			p.memory_bytes = bytes;
			p.account = &account;
			fits = run_one(f, heavy[i], p, &got, &e) == 0;
			if (fits)
				query_result_fini(&got);
			else if (!strstr(e.text, "memory budget of"))
				fail_msg("%s: %s", heavy[i], e.text);
			assert_int_equal(account_held(&account), 0);
			assert_true(bytes < 64 << 20);
		}
	}
	fixture_free(f);
}

static int by_seed(const void *a, const void *b)
{
	const struct test_record *x = a, *y = b;
	uint64_t m = x->seq * UINT64_C(0x9e3779b97f4a7c15),
		 n = y->seq * UINT64_C(0x9e3779b97f4a7c15);

	return m < n ? -1 : m > n;
}

/* The same records in another order and other units: the same bits. */
static void same_bits(void **state)
{
	struct query_params p = {.end_ns = 200 * SECOND, .step_ns = 7 * SECOND};
	struct fixture *a = fixture_new(77), *b = fixture_new(77);

	(void)state;
	for (size_t i = 0; i < RECORDS; i++) {
		struct buf line = {0};
		buf_printf(&line, "v=%.17g k=%s", (double)draw(a, 100000) / 700,
			draw(a, 2) ? "x" : "y");
		a->records[i].body = arena_str(&a->arena, buf_view(&line));
		buf_fini(&line);
	}
	memcpy(b->records, a->records, sizeof a->records);
	qsort(b->records, RECORDS, sizeof *b->records, by_seed);
	b->t.unit_rows = 7;
	for (size_t i = 0; i < sizeof heavy / sizeof *heavy; i++) {
		struct query_result x, y;
		struct error e = {0};
		assert_int_equal(run_one(a, heavy[i], p, &x, &e), 0);
		assert_int_equal(run_one(b, heavy[i], p, &y, &e), 0);
		assert_int_equal(x.n_series, y.n_series);
		assert_true(x.n_series > 0);
		for (size_t k = 0; k < x.n_series; k++) {
			assert_int_equal(x.series[k].n, y.series[k].n);
			assert_memory_equal(x.series[k].samples, y.series[k].samples,
				x.series[k].n * sizeof *x.series[k].samples);
		}
		query_result_fini(&x);
		query_result_fini(&y);
	}
	fixture_free(a);
	fixture_free(b);
}

/* As many points as there may be, each of a window over all of them. */
static void many_points(void **state)
{
	static const char *const texts[] = {
		"sum(sum_over_time({zone!=\"z\"} | logfmt v | unwrap v | __error__=\"\" [3h]))",
		"quantile_over_time(1, {zone!=\"z\"} | logfmt v | unwrap v | __error__=\"\" [3h]) by "
		"()",
	};
	struct fixture *f = fixture_new(5);
	struct query_params p = {.end_ns = 110 * SECOND, .step_ns = SECOND / 100};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct query_result got;
		struct error e = {0};
		assert_int_equal(run_one(f, texts[i], p, &got, &e), 0);
		assert_int_equal(got.n_series, 1);
		for (size_t k = 0; k < got.series[0].n; k += 97) {
			const struct query_sample *s = &got.series[0].samples[k];
			double sum = 0, high = -INFINITY;
			for (size_t r = 0; r < RECORDS; r++) {
				if (f->records[r].timestamp > s->timestamp || !f->has_v[r] ||
					f->bad_v[r] || f->records[r].stream == STREAMS - 1)
					continue;
				sum += f->v[r];
				high = f->v[r] > high ? f->v[r] : high;
			}
			assert_true(s->value == (i ? high : sum));
		}
		query_result_fini(&got);
	}
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_of_windows),
		cmocka_unit_test(random_trees),
		cmocka_unit_test(pipeline_errors),
		cmocka_unit_test(values_by_hand),
		cmocka_unit_test(labels_of_results),
		cmocka_unit_test(refused),
		cmocka_unit_test(expansions),
		cmocka_unit_test(budgets),
		cmocka_unit_test(same_bits),
		cmocka_unit_test(many_points),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
