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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_trees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
