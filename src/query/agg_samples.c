/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of unwrapped values: sum, avg, min, max, stdvar, stddev, first,
 * last, rate, and what quantile_over_time and rate_counter share with them.
 *
 * Windows that overlap are not each given each sample.  The edges of all windows
 * cut time into slots (window.h); a sample is folded into the cell of its slot,
 * once, and a window is the fold of a run of cells.  As the windows move on,
 * their folds come from a queue of two stacks: the cells that will leave are
 * folded from the back once, those that came are folded as they come, so each
 * cell is touched a few times however long the range is against the step.
 *
 *   cells     a   b   c │ d   e            folded: abc bc c │ de
 *   window    └────────────────┘           = fold(abc, de)
 *
 * Folding is symmetric, so units may come in any order; a series has cells only
 * where it has samples, and those of one stream come in order, so that the cell
 * wanted is mostly the last one.
 */
#include "query/agg.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "query/collect.h"
#include "query/exact.h"
#include "query/peers.h"
#include "query/reading.h"

enum {
	WORDS_MAX = 5,
	CELLS_FIRST = 4, /* room of a new series */
};

/* --- the functions --------------------------------------------------------------------- */

struct fold {
	size_t words;
	void (*begin)(union word *w, const struct sample *s);
	/* NULL: each sample stays a cell. */
	void (*merge)(union word *to, const union word *from);
	double (*value)(const union word *w, double seconds);
};

static struct exact get(const union word *w)
{
	return (struct exact){w[0].d, w[1].d};
}

static void put(union word *w, struct exact x)
{
	w[0].d = x.hi;
	w[1].d = x.lo;
}

static void begin_sum(union word *w, const struct sample *s)
{
	put(w, (struct exact){s->value, 0});
}

static void merge_sum(union word *to, const union word *from)
{
	put(to, exact_add(get(to), get(from)));
}

static double value_sum(const union word *w, double seconds)
{
	(void)seconds;
	return w[0].d;
}

static double value_rate(const union word *w, double seconds)
{
	return w[0].d / seconds;
}

/* Sum and number. */
static void begin_avg(union word *w, const struct sample *s)
{
	begin_sum(w, s);
	w[2].d = 1;
}

static void merge_avg(union word *to, const union word *from)
{
	merge_sum(to, from);
	to[2].d += from[2].d;
}

static double value_avg(const union word *w, double seconds)
{
	(void)seconds;
	return exact_div(get(w), w[2].d).hi;
}

/* Mean, sum of squared distances from it, and number: Chan's formula joins two of them.  Values
 * that are all equal have a distance of exactly 0. */
static void begin_moments(union word *w, const struct sample *s)
{
	put(w, (struct exact){s->value, 0});
	put(w + 2, (struct exact){0, 0});
	w[4].d = 1;
}

static void merge_moments(union word *to, const union word *from)
{
	double n = to[4].d + from[4].d;
	struct exact apart = exact_add(get(from), exact_negate(get(to)));
	struct exact share = exact_div(exact_mul(apart, (struct exact){from[4].d, 0}), n);
	struct exact more = exact_mul(exact_mul(apart, share), (struct exact){to[4].d, 0});

	put(to, exact_add(get(to), share));
	put(to + 2, exact_add(exact_add(get(to + 2), get(from + 2)), more));
	to[4].d = n;
}

static double value_stdvar(const union word *w, double seconds)
{
	(void)seconds;
	/* An infinite value has no distance that is a number. */
	return isfinite(w[0].d) ? w[2].d / w[4].d : (double)NAN;
}

static double value_stddev(const union word *w, double seconds)
{
	return sqrt(value_stdvar(w, seconds));
}

static void begin_value(union word *w, const struct sample *s)
{
	w[0].d = s->value;
}

static void merge_min(union word *to, const union word *from)
{
	if (isnan(to[0].d) || from[0].d < to[0].d)
		to[0] = from[0];
}

static void merge_max(union word *to, const union word *from)
{
	if (isnan(to[0].d) || from[0].d > to[0].d)
		to[0] = from[0];
}

static void begin_timed(union word *w, const struct sample *s)
{
	w[0].i = s->timestamp;
	w[1].u = s->seq;
	w[2].d = s->value;
}

/* Lines of one time are in the order they came in. */
static bool earlier(const union word *a, const union word *b)
{
	return a[0].i != b[0].i ? a[0].i < b[0].i : a[1].u < b[1].u;
}

static void merge_first(union word *to, const union word *from)
{
	if (earlier(from, to))
		memcpy(to, from, 3 * sizeof *to);
}

static void merge_last(union word *to, const union word *from)
{
	if (!earlier(from, to))
		memcpy(to, from, 3 * sizeof *to);
}

static double value_timed(const union word *w, double seconds)
{
	(void)seconds;
	return w[2].d;
}

static const struct fold *fold_of(enum range_function f)
{
	static const struct fold folds[] = {
		[RANGE_RATE] = {2, begin_sum, merge_sum, value_rate},
		[RANGE_RATE_COUNTER] = {3, begin_timed, NULL, NULL},
		[RANGE_SUM_OVER_TIME] = {2, begin_sum, merge_sum, value_sum},
		[RANGE_AVG_OVER_TIME] = {3, begin_avg, merge_avg, value_avg},
		[RANGE_MIN_OVER_TIME] = {1, begin_value, merge_min, value_sum},
		[RANGE_MAX_OVER_TIME] = {1, begin_value, merge_max, value_sum},
		[RANGE_STDVAR_OVER_TIME] = {5, begin_moments, merge_moments, value_stdvar},
		[RANGE_STDDEV_OVER_TIME] = {5, begin_moments, merge_moments, value_stddev},
		[RANGE_QUANTILE_OVER_TIME] = {1, begin_value, NULL, NULL},
		[RANGE_FIRST_OVER_TIME] = {3, begin_timed, merge_first, value_timed},
		[RANGE_LAST_OVER_TIME] = {3, begin_timed, merge_last, value_timed},
	};

	return f < sizeof folds / sizeof *folds && folds[f].words ? &folds[f] : NULL;
}

/* --- cells ----------------------------------------------------------------------------- */

struct pile {
	struct cells cells;
	size_t cap;
	size_t sorted; /* so many at the front are by slot, each slot once (or not merged) */
};

struct collector {
	struct collection base;
	const struct fold *fold;
	struct pile *piles; /* by number of the series */
	size_t n, cap;
};

static int by_slot(const void *a, const void *b)
{
	const struct cell *x = a, *y = b;

	return x->slot < y->slot ? -1 : x->slot > y->slot;
}

/* Within a slot too. */
static int by_time(const void *a, const void *b)
{
	const struct cell *x = a, *y = b;

	if (x->slot != y->slot)
		return x->slot < y->slot ? -1 : 1;
	return earlier(x->w, y->w) ? -1 : earlier(y->w, x->w);
}

/* Sort, and make one cell of those of a slot. */
static void pile_settle(struct pile *p, const struct fold *f)
{
	struct cells *c = &p->cells;
	bool timed = f->begin == begin_timed && !f->merge;
	size_t n = 0;

	if (c->n == 0 || (p->sorted == c->n && !timed))
		return;
	qsort(c->p, c->n, c->stride, timed ? by_time : by_slot);
	for (size_t i = 0; i < c->n && f->merge; i++) {
		struct cell *x = cell_at(c, i), *last = n ? cell_at(c, n - 1) : NULL;
		if (last && last->slot == x->slot)
			f->merge(last->w, x->w);
		else
			memmove(cell_at(c, n++), x, c->stride);
	}
	if (f->merge)
		c->n = n;
	p->sorted = c->n;
}

/* Room for one more: by joining cells of one slot, if that gains half of them. */
static int pile_room(struct collector *c, struct pile *p, struct error *e)
{
	size_t cap;
	int r;

	if (p->cells.n < p->cap)
		return 0;
	if (c->fold->merge)
		pile_settle(p, c->fold);
	if (p->cap && p->cells.n <= p->cap / 2)
		return 0;
	cap = p->cap ? p->cap * 2 : CELLS_FIRST;
	if ((r = collection_charge(&c->base, (cap - p->cap) * p->cells.stride, e)) < 0)
		return r;
	p->cap = cap;
	p->cells.p = xrealloc(p->cells.p, cap * p->cells.stride);
	return 0;
}

/* The cell of the slot, if it is at hand. */
static struct cell *pile_find(const struct pile *p, uint64_t slot)
{
	const struct cells *c = &p->cells;
	size_t from = 0, to = p->sorted;

	if (c->n && cell_at(c, c->n - 1)->slot == slot)
		return cell_at(c, c->n - 1);
	if (to == 0 || cell_at(c, to - 1)->slot < slot)
		return NULL;
	while (from < to) {
		size_t mid = from + (to - from) / 2;
		if (cell_at(c, mid)->slot < slot)
			from = mid + 1;
		else
			to = mid;
	}
	return cell_at(c, from)->slot == slot ? cell_at(c, from) : NULL;
}

/* A new cell behind the others; what it holds is the caller's. */
static int pile_append(
	struct collector *c, struct pile *p, uint64_t slot, struct cell **out, struct error *e)
{
	int r = pile_room(c, p, e);

	if (r < 0)
		return r;
	if (p->sorted == p->cells.n &&
		(p->sorted == 0 || cell_at(&p->cells, p->sorted - 1)->slot <= slot))
		p->sorted++;
	*out = cell_at(&p->cells, p->cells.n++);
	(*out)->slot = slot;
	return 0;
}

static int pile_add(struct collector *c, struct pile *p, const struct sample *s, struct error *e)
{
	uint64_t slot = window_slot(&c->base.gather.windows);
	struct cell *x = c->fold->merge ? pile_find(p, slot) : NULL;
	union word w[WORDS_MAX];
	int r;

	if (x) {
		c->fold->begin(w, s);
		c->fold->merge(x->w, w);
		return 0;
	}
	if ((r = pile_append(c, p, slot, &x, e)) == 0)
		c->fold->begin(x->w, s);
	return r;
}

/* Numbers of series come one after the other. */
static int pile_of(struct collector *c, uint32_t series, struct pile **out, struct error *e)
{
	size_t stride = sizeof(struct cell) + c->fold->words * sizeof(union word);
	int r;

	if (series == c->n) {
		if ((r = collection_charge(&c->base, 2 * sizeof *c->piles, e)) < 0)
			return r;
		if (c->n == c->cap) {
			c->cap = c->cap ? c->cap * 2 : 16;
			c->piles = xrealloc(c->piles, c->cap * sizeof *c->piles);
		}
		c->piles[c->n++] = (struct pile){.cells = {.stride = stride}};
	}
	*out = &c->piles[series];
	return 0;
}

static int on_sample(void *ctx, uint32_t series, const struct sample *s, struct error *e)
{
	struct collector *c = ctx;
	struct pile *p = NULL;
	int r = pile_of(c, series, &p, e);

	return r < 0 ? r : pile_add(c, p, s, e);
}

/* --- windows --------------------------------------------------------------------------- */

/* A queue of cells, by index: [out, mid) is folded from the back, `back` is the fold of [mid, in).
 */
struct queue {
	const struct cells *cells;
	const struct fold *fold;
	union word *suffix; /* `words` of them a cell: of [i, mid) */
	size_t out, mid, in;
	union word back[WORDS_MAX];
};

static union word *suffix_at(const struct queue *q, size_t i)
{
	return q->suffix + i * q->fold->words;
}

static void queue_push(struct queue *q)
{
	const union word *w = cell_at(q->cells, q->in)->w;

	if (q->in == q->mid)
		memcpy(q->back, w, q->fold->words * sizeof *w);
	else
		q->fold->merge(q->back, w);
	q->in++;
}

static void queue_pop(struct queue *q)
{
	size_t bytes = q->fold->words * sizeof(union word);

	if (q->out == q->mid) {
		for (size_t i = q->in; i-- > q->out;) {
			memcpy(suffix_at(q, i), cell_at(q->cells, i)->w, bytes);
			if (i + 1 < q->in)
				q->fold->merge(suffix_at(q, i), suffix_at(q, i + 1));
		}
		q->mid = q->in;
	}
	q->out++;
}

/* Fold what is in the queue, which is not empty. */
static void queue_fold(const struct queue *q, union word *w)
{
	size_t bytes = q->fold->words * sizeof *w;

	if (q->out == q->mid) {
		memcpy(w, q->back, bytes);
		return;
	}
	memcpy(w, suffix_at(q, q->out), bytes);
	if (q->mid < q->in)
		q->fold->merge(w, q->back);
}

static int fold_windows(
	struct collector *c, const struct cells *cells, double *values, struct error *e)
{
	const struct windows *w = &c->base.gather.windows;
	double seconds = (double)w->range_ns / (double)NS_PER_SEC;
	uint64_t bytes = cells->n * c->fold->words * sizeof(union word);
	struct queue q = {.cells = cells, .fold = c->fold};
	union word sum[WORDS_MAX];
	int r;

	if ((r = run_charge(c->base.run, bytes, e)) < 0)
		return r;
	q.suffix = xmalloc(bytes);
	for (size_t k = 0; k < w->axis.n; k++) {
		struct slots s = window_slots(w, k);
		while (q.in < cells->n && cell_at(cells, q.in)->slot <= s.last)
			queue_push(&q);
		while (q.out < q.in && cell_at(cells, q.out)->slot < s.first)
			queue_pop(&q);
		if (q.out == q.in)
			continue;
		queue_fold(&q, sum);
		values[k] = c->fold->value(sum, seconds);
	}
	free(q.suffix);
	run_release(c->base.run, bytes);
	return 0;
}

static int evaluate(struct collector *c, struct pile *p, double *values, struct error *e)
{
	const struct windows *w = &c->base.gather.windows;

	/* Another server may name a series and tell nothing of it. */
	if (p->cells.n == 0)
		return 0;
	pile_settle(p, c->fold);
	switch (c->base.expr->function) {
	case RANGE_QUANTILE_OVER_TIME:
		return agg_quantile(c->base.run, w, c->base.expr->quantile, &p->cells, values, e);
	case RANGE_RATE_COUNTER: return agg_counter(c->base.run, w, &p->cells, values, e);
	default: return fold_windows(c, &p->cells, values, e);
	}
}

static void pile_free(struct pile *p)
{
	free(p->cells.p);
	*p = (struct pile){0};
}

static int to_matrix(struct collection *base, struct matrix *out, struct error *e)
{
	struct collector *c = (struct collector *)base;
	size_t at;
	int r = 0;

	for (size_t i = 0; i < c->n && r == 0; i++) {
		struct pile *p = &c->piles[i];
		uint64_t bytes = p->cap * p->cells.stride;
		if ((r = run_check(base->run, e)) < 0 ||
			(r = matrix_series(out, base->gather.series.keys[i], &at, e)) < 0 ||
			(r = evaluate(c, p, out->series[at].values, e)) < 0)
			break;
		pile_free(p);
		collection_release(base, bytes);
	}
	return r;
}

static void begin(struct collection *base)
{
	struct collector *c = (struct collector *)base;

	c->fold = fold_of(base->expr->function);
	assert(c->fold && c->fold->words <= WORDS_MAX);
	base->gather.sample = on_sample;
}

static void end(struct collection *base)
{
	struct collector *c = (struct collector *)base;

	for (size_t i = 0; i < c->n; i++)
		pile_free(&c->piles[i]);
	free(c->piles);
	c->piles = NULL;
	c->n = c->cap = 0;
}

/* --- for other servers ----------------------------------------------------------------- */

/* Cells in the order of slots: how far behind the one before, and the words. */
static void write_series(struct collection *base, uint32_t series, struct buf *out)
{
	struct collector *c = (struct collector *)base;
	uint64_t last = 0, word;
	struct pile *p = NULL;

	if (series >= c->n)
		return;
	p = &c->piles[series];
	pile_settle(p, c->fold);
	for (size_t i = 0; i < p->cells.n; i++) {
		const struct cell *x = cell_at(&p->cells, i);
		varint_put(out, x->slot - last);
		last = x->slot;
		for (size_t k = 0; k < c->fold->words; k++) {
			word = htole64(x->w[k].u);
			buf_put(out, &word, sizeof word);
		}
	}
}

static int merge_cell(
	struct collector *c, struct pile *p, uint64_t slot, const union word *w, struct error *e)
{
	struct cell *x = c->fold->merge ? pile_find(p, slot) : NULL;
	int r;

	if (x) {
		c->fold->merge(x->w, w);
		return 0;
	}
	if ((r = pile_append(c, p, slot, &x, e)) == 0)
		memcpy(x->w, w, c->fold->words * sizeof *w);
	return r;
}

static int merge_series(
	struct collection *base, uint32_t series, struct str bytes, size_t store, struct error *e)
{
	struct collector *c = (struct collector *)base;
	/* No step is beyond axis.n, and a slot is the sum of two. */
	uint64_t slot = 0, most = 2 * (uint64_t)base->axis.n + 2;
	struct reading in = {.rest = bytes};
	union word w[WORDS_MAX];
	struct pile *p = NULL;
	int r = pile_of(c, series, &p, e);

	while (r == 0 && in.rest.n && !in.bad) {
		uint64_t step = take_varint(&in);

		for (size_t k = 0; k < c->fold->words; k++)
			w[k].u = take_u64(&in);
		if (in.bad || step > most - slot)
			return ERR_CORRUPT;
		slot += step;
		if (c->fold->begin == begin_timed)
			w[1].u = (w[1].u & ((UINT64_C(1) << PEER_SEQ_SHIFT) - 1)) |
				 (uint64_t)store << PEER_SEQ_SHIFT;
		r = merge_cell(c, p, slot, w, e);
	}
	return r == 0 && in.bad ? ERR_CORRUPT : r;
}

const struct collection_type collection_piles = {
	sizeof(struct collector), begin, end, to_matrix, write_series, merge_series};
