/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log queries.  The best `limit` entries seen so far are a heap with the worst
 * at the top: a row that does not beat it is dropped before its line is put
 * together, and a unit whose whole time span does not is never read.  Of the
 * rows of one unit, too, only the best `limit` are asked for their lines.
 * Without a limit everything is kept, within the budget.
 *
 * An entry's line and metadata are one heap block of its own, so that a
 * replaced entry leaves nothing behind; its labels lie in the result's arena,
 * once per stream.
 */
#include <stdlib.h>

#include "base/map.h"
#include "query/entry.h"
#include "query/reshape.h"

enum {
	BLOCK_OVERHEAD = 16, /* of malloc, per block */
	BEST_MAX = 16 << 10, /* a larger limit does not look for the best rows of a unit first */
};

struct moment {
	int64_t time;
	uint64_t seq;
};

struct keeper {
	struct reader reader;
	struct run *run;
	uint64_t limit; /* UINT64_MAX for none */
	bool forward;
	struct query_entry *heap; /* with a limit: the worst first */
	size_t n, cap;
	/* Of a query that begins its reshapes with uniq or top: in place of the heap. */
	struct reshape_group *group;
	struct entries grouped;
	bool spreads;             /* a record may make several entries */
	struct map streams;       /* labels to their copy in the arena */
	struct str *unit_streams; /* of this unit, by index; p == NULL: not looked up yet */
	size_t unit_cap;
	/* The best moments among the rows of a unit, the worst first; NULL: not looked for. */
	struct moment *best;
	size_t n_best;
	uint64_t charged; /* of all these */
	struct entry_maker maker;
	/* The row that is being run, and how many entries it made. */
	const struct rows *rows;
	uint32_t row, nth;
};

uint64_t query_entry_bytes(const struct query_entry *x)
{
	return x->line.n + x->meta.n + x->parsed.n + BLOCK_OVERHEAD;
}

/* Does (time, seq) come before that of b in the asked order?  Entries of one record are ordered
 * by their number besides. */
static bool before(bool forward, int64_t time, uint64_t seq, int64_t b_time, uint64_t b_seq)
{
	if (time != b_time)
		return (time < b_time) == forward;
	return seq != b_seq && (seq < b_seq) == forward;
}

static bool entry_before(
	const struct keeper *k, const struct query_entry *a, const struct query_entry *b)
{
	if (a->timestamp == b->timestamp && a->seq == b->seq)
		return a->nth != b->nth && (a->nth < b->nth) == k->forward;
	return before(k->forward, a->timestamp, a->seq, b->timestamp, b->seq);
}

static bool full(const struct keeper *k)
{
	return k->n >= k->limit;
}

static bool want_span(void *ctx, int64_t min_ns, int64_t max_ns)
{
	const struct keeper *k = ctx;

	/* At an equal time the sequence decides, which only the rows tell. */
	if (!full(k))
		return true;
	return k->forward ? min_ns <= k->heap[0].timestamp : max_ns >= k->heap[0].timestamp;
}

static bool want_stream(void *ctx, struct str labels)
{
	const struct keeper *k = ctx;

	return str_eq(labels, k->run->params->stream);
}

static void swap(struct keeper *k, size_t a, size_t b)
{
	struct query_entry x = k->heap[a];

	k->heap[a] = k->heap[b];
	k->heap[b] = x;
}

static void sift_down(struct keeper *k, size_t at)
{
	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= k->n)
			return;
		if (child + 1 < k->n && entry_before(k, &k->heap[child], &k->heap[child + 1]))
			child++;
		if (!entry_before(k, &k->heap[at], &k->heap[child]))
			return;
		swap(k, at, child);
		at = child;
	}
}

static void sift_up(struct keeper *k, size_t at)
{
	while (at) {
		size_t parent = (at - 1) / 2;
		if (!entry_before(k, &k->heap[parent], &k->heap[at]))
			return;
		swap(k, at, parent);
		at = parent;
	}
}

static int grow(struct keeper *k, struct error *e)
{
	size_t cap = k->cap ? k->cap * 2 : 64;
	int r;

	if (cap > k->limit)
		cap = k->limit;
	if ((r = run_charge(k->run, cap * sizeof *k->heap, e)) < 0)
		return r;
	k->heap = xrealloc(k->heap, cap * sizeof *k->heap);
	run_release(k->run, k->cap * sizeof *k->heap);
	k->cap = cap;
	return 0;
}

/* A copy of the labels that lives as long as the result, one for all that are equal. */
static int intern(struct keeper *k, struct str labels, struct str *out, struct error *e)
{
	union map_value *known;
	struct str *copy;
	int r;

	if ((known = map_get(&k->streams, labels))) {
		*out = *(struct str *)known->p;
		return 0;
	}
	/* The map's own key and its share of the slots, and the copy. */
	if ((r = run_charge(k->run, labels.n + 192, e)) < 0)
		return r;
	k->charged += labels.n + 192;
	if ((r = run_reserve(k->run, labels.n + 64, e)) < 0)
		return r;
	copy = ARENA_NEW(&k->run->out->arena, struct str);
	*copy = arena_str(&k->run->out->arena, labels);
	map_put(&k->streams, labels, NULL)->p = copy;
	*out = *copy;
	return 0;
}

static int stream_labels(struct keeper *k, const struct rows *rows, uint32_t stream,
	struct str *out, struct error *e)
{
	struct str *known = &k->unit_streams[stream];
	int r = known->p ? 0 : intern(k, rows->streams[stream], known, e);

	*out = *known;
	return r;
}

/* Put a copy of the views where they stay. */
static int hold(struct keeper *k, struct query_entry *x, struct error *e)
{
	int r;

	if (!full(k) && k->n == k->cap && (r = grow(k, e)) < 0)
		return r;
	return entry_hold(k->run, x, e);
}

static int put(struct keeper *k, struct query_entry *x, struct error *e)
{
	int r;

	if (k->group)
		return reshape_group_add(k->group, x, e);
	if (full(k) && !entry_before(k, x, &k->heap[0]))
		return 0;
	if ((r = hold(k, x, e)) < 0)
		return r;
	if (full(k)) {
		entry_drop(k->run, &k->heap[0]);
		k->heap[0] = *x;
		sift_down(k, 0);
	} else {
		k->heap[k->n++] = *x;
		if (k->limit != UINT64_MAX)
			sift_up(k, k->n - 1);
	}
	return 0;
}

static int keep(struct keeper *k, const struct rows *rows, uint32_t i, const struct pipe_row *row,
	struct error *e)
{
	struct query_entry x;
	bool changed = entry_make(&k->maker, rows, i, row, &x);
	int r = stream_labels(k, rows, rows->stream[i], &x.stream, e);

	if (r == 0 && changed)
		r = intern(k, x.labels, &x.labels, e);
	else
		x.labels = x.stream;
	x.nth = k->nth;
	return r < 0 ? r : put(k, &x, e);
}

/* --- which rows are wanted ------------------------------------------------------------ */

static bool moment_before(const struct keeper *k, struct moment a, struct moment b)
{
	return before(k->forward, a.time, a.seq, b.time, b.seq);
}

/* May row i become an entry, as far as its time and sequence say? */
static bool may_win(const struct keeper *k, const struct rows *rows, uint32_t i)
{
	const struct query_params *p = k->run->params;
	int64_t time = rows->timestamp[i];
	uint64_t seq = rows->seq[i];

	/* Of a record that makes several entries, some may be told and others not. */
	if (k->spreads)
		return (!p->resume ||
			       !before(k->forward, time, seq, p->resume_ns, p->resume_seq)) &&
		       (!full(k) || !before(k->forward, k->heap[0].timestamp, k->heap[0].seq, time,
					    seq));
	if (p->resume && !before(k->forward, p->resume_ns, p->resume_seq, time, seq))
		return false;
	return !full(k) || before(k->forward, time, seq, k->heap[0].timestamp, k->heap[0].seq);
}

/* Put x in the place of the worst, or, growing, at the end. */
static void best_put(struct keeper *k, struct moment x, bool grow_heap)
{
	size_t at = 0;

	if (grow_heap) {
		for (at = k->n_best++; at && moment_before(k, k->best[(at - 1) / 2], x);
			at = (at - 1) / 2)
			k->best[at] = k->best[(at - 1) / 2];
		k->best[at] = x;
		return;
	}
	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= k->n_best)
			break;
		if (child + 1 < k->n_best && moment_before(k, k->best[child], k->best[child + 1]))
			child++;
		if (!moment_before(k, x, k->best[child]))
			break;
		k->best[at] = k->best[child];
		at = child;
	}
	k->best[at] = x;
}

/* Of the n rows of pick, more than `limit`, leave the best `limit` in their order. */
static size_t leave_best(struct keeper *k, const struct rows *rows, uint32_t *pick, size_t n)
{
	size_t kept = 0;

	k->n_best = 0;
	for (size_t at = 0; at < n; at++) {
		uint32_t i = pick[k->forward ? at : n - 1 - at];
		struct moment x = {rows->timestamp[i], rows->seq[i]};
		if (k->n_best < k->limit)
			best_put(k, x, true);
		else if (moment_before(k, x, k->best[0]))
			best_put(k, x, false);
	}
	for (size_t at = 0; at < n; at++) {
		uint32_t i = pick[at];
		struct moment x = {rows->timestamp[i], rows->seq[i]};
		if (!moment_before(k, k->best[0], x))
			pick[kept++] = i;
	}
	return kept;
}

static int best_begin(struct keeper *k, struct error *e)
{
	uint64_t bytes = k->limit * sizeof *k->best;
	int r = run_charge(k->run, bytes, e);

	if (r < 0)
		return r;
	k->charged += bytes;
	k->best = xmalloc(bytes);
	return 0;
}

static size_t narrow(void *ctx, const struct rows *rows, uint32_t *pick)
{
	struct keeper *k = ctx;
	size_t n = 0;

	for (size_t at = 0; at < rows->n; at++)
		if (may_win(k, rows, pick[at]))
			pick[n++] = pick[at];
	/* Only when no stage may still drop some of them. */
	return k->best && n > k->limit && !k->reader.may_drop ? leave_best(k, rows, pick, n) : n;
}

static bool resumes_at(const struct query_params *p, const struct pipe_row *row)
{
	return p->resume && row->timestamp == p->resume_ns && row->seq == p->resume_seq;
}

/* One of the entries of a record. */
static int on_part(void *ctx, struct pipe_row *row, struct error *e)
{
	struct keeper *k = ctx;
	const struct query_params *p = k->run->params;
	bool told = resumes_at(p, row) &&
		    (k->forward ? k->nth <= p->resume_nth : k->nth >= p->resume_nth);
	int r = told ? 0 : keep(k, k->rows, k->row, row, e);

	k->nth++;
	return r;
}

static int on_row(struct keeper *k, const struct rows *rows, uint32_t i, struct error *e)
{
	struct pipe_row row;
	int r;

	if (!may_win(k, rows, i))
		return run_tick(k->run, e);
	k->rows = rows;
	k->row = i;
	k->nth = 0;
	if (k->spreads)
		return reader_each(&k->reader, rows, i, on_part, k, e);
	r = reader_keeps(&k->reader, rows, i, &row, e);
	return r > 0 ? keep(k, rows, i, &row, e) : r;
}

static int on_unit(void *ctx, const struct rows *rows, struct error *e)
{
	struct keeper *k = ctx;
	int r = 0;

	if (rows->n_streams > k->unit_cap) {
		uint64_t more = (rows->n_streams - k->unit_cap) * sizeof *k->unit_streams;
		if ((r = run_charge(k->run, more, e)) < 0)
			return r;
		k->charged += more;
		k->unit_cap = rows->n_streams;
		k->unit_streams = xrealloc(k->unit_streams, k->unit_cap * sizeof *k->unit_streams);
	}
	if (rows->n_streams)
		memset(k->unit_streams, 0, rows->n_streams * sizeof *k->unit_streams);
	entry_maker_unit(&k->maker);
	/* Rows mostly lie by ascending time: begin at the end that is asked for, so that the
	 * first ones kept are the ones that stay. */
	for (size_t at = 0; at < rows->n && r >= 0; at++)
		r = on_row(k, rows, rows->pick[k->forward ? at : rows->n - 1 - at], e);
	/* At an equal time the sequence decides. */
	if (full(k) && k->forward)
		reader_closer(&k->reader, INT64_MIN, plan_add(k->heap[0].timestamp, 1));
	else if (full(k))
		reader_closer(&k->reader, k->heap[0].timestamp, INT64_MAX);
	return r;
}

/* In place: a sort that takes memory would take it beside the budget. */
static void sort(struct keeper *k)
{
	size_t n = k->n;

	for (size_t i = n / 2; k->limit == UINT64_MAX && i-- > 0;)
		sift_down(k, i);
	while (k->n > 1) {
		swap(k, 0, --k->n);
		sift_down(k, 0);
	}
	k->n = n;
}

/* Reshape all that was kept, and leave the page that was asked for. */
static int reshape(struct keeper *k, const struct reshape *first, struct error *e)
{
	struct entries l = {k->heap, k->n, k->cap};
	const struct query_params *p = k->run->params;
	int r = 0;

	if (k->group) {
		r = reshape_group_end(k->group, e);
		l = k->grouped;
		first = first->next;
	}
	if (r == 0)
		r = reshape_all(k->run, first, &l, e);
	if (r == 0)
		entries_cut(k->run, &l, p->skip,
			p->limit && p->limit < SIZE_MAX - p->skip ? p->skip + p->limit : SIZE_MAX);
	k->heap = l.list;
	k->n = l.n;
	k->cap = l.cap;
	k->run->out->reshaped = true;
	return r;
}

/* How many entries have to be kept. */
static uint64_t limit_of(const struct query_params *p, const struct reshape *first)
{
	if (first && first->kind == RESHAPE_CONTEXT)
		return RESHAPE_HITS_MAX + 1; /* to tell whether there are more */
	return first || p->limit == 0 ? UINT64_MAX : p->limit;
}

static void keeper_end(struct keeper *k)
{
	free(k->best);
	map_fini(&k->streams);
	free(k->unit_streams);
	run_release(k->run, k->charged);
	entry_maker_fini(&k->maker);
	reshape_group_free(k->group);
}

int run_log(struct run *run, struct error *e)
{
	const struct query_params *p = run->params;
	const struct log_expr *log = &run->query->root->log;
	const struct reshape *first = log->reshapes;
	struct plan plan = plan_log(log, p, &run->out->arena);
	struct keeper k = {
		.run = run,
		.limit = limit_of(p, first),
		.forward = p->forward,
		.spreads = stages_spread(plan.stages),
		.reader = {.run = run,
			.plan = &plan,
			.want_span = want_span,
			.want_stream = p->stream.n ? want_stream : NULL,
			.narrow = narrow,
			.unit = on_unit},
	};
	int r = 0;

	k.reader.ctx = &k;
	k.reader.enough = k.limit == UINT64_MAX ? 0 : k.limit;
	if (first && (first->kind == RESHAPE_UNIQ || first->kind == RESHAPE_TOP))
		k.group = reshape_group_new(run, first, &k.grouped);
	if (k.limit <= BEST_MAX && !plan.stages)
		r = best_begin(&k, e);
	if (r == 0)
		r = reader_run(&k.reader, e);
	sort(&k);
	if (k.group && r < 0) {
		k.heap = k.grouped.list;
		k.n = k.grouped.n;
		k.cap = k.grouped.cap;
	} else if (r == 0 && first) {
		r = reshape(&k, first, e);
	}
	keeper_end(&k);
	run->out->type = RESULT_STREAMS;
	run->out->spread = k.spreads;
	run->out->entries = k.heap;
	run->out->n_entries = k.n;
	run->out->cap_entries = k.cap;
	return r;
}
