/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The best rows seen so far are a heap with the worst at the top, bounded by
 * rows and by bytes.  What once fell out of it is the floor: nothing that comes
 * behind it may come in again, as that would leave a gap.
 *
 * Rows that may be told as counts are added up here, whether the store told them
 * as counts or one by one: what goes over the wire does not depend on how the
 * records happen to lie in blocks.
 */
#include "query/scan_page.h"

#include <stdlib.h>

#include "base/map.h"
#include "query/run.h"
#include "query/select.h"
#include "store/lines/template.h"

enum {
	HELD_BYTES = 16,       /* of malloc, per row */
	CHOOSE_MAX = 64 << 10, /* with more rows asked for, the best of a unit are not chosen */
	STREAM_BYTES = 192,    /* of a stream in the tables, besides its labels */
	COUNT_BYTES = 160,     /* of a count in its tables */
	TEMPLATES_TOLD_MAX = 1 << 15,
};

struct moment {
	int64_t time;
	uint64_t seq;
};

/* A row of the page: its line and metadata are one block. */
struct held {
	struct moment at;
	char *block;
	uint32_t body_n, meta_n, stream;
	uint8_t severity, flags;
};

struct pager {
	struct reader reader;
	struct run *run;
	const struct page_request *q;
	bool spreads;
	struct map ids;    /* wanted message ids */
	struct held *heap; /* the worst first */
	size_t n, cap;
	uint64_t bytes;
	bool cut; /* some fell out: floor is the best of these */
	struct moment floor;
	struct moment *best; /* of a unit, the worst first; NULL: they are not chosen */
	size_t n_best;
	/* Tables of what is told. */
	struct map stream_index, template_index, count_index;
	struct str *streams; /* views of the map's keys */
	struct template *templates;
	size_t n_streams, cap_streams, n_templates, cap_templates;
	struct row_count *counts;
	size_t n_counts, cap_counts;
	uint64_t charged;
	struct buf out; /* the batch, then the counts */
	size_t n_rows_bytes;
	bool more;
	struct moment next;
};

static int charge(struct pager *p, uint64_t n, struct error *e)
{
	int r = run_charge(p->run, n, e);

	if (r == 0)
		p->charged += n;
	return r;
}

/* --- tables --------------------------------------------------------------------------- */

static int stream_of(struct pager *p, struct str labels, uint32_t *out, struct error *e)
{
	const union map_value *known = map_get(&p->stream_index, labels);
	size_t at = 0;
	int r;

	if (known) {
		*out = (uint32_t)known->u;
		return 0;
	}
	if (p->n_streams == PAGE_STREAMS_MAX)
		return error_set(e, ERR_LIMIT, "there are more than %d streams", PAGE_STREAMS_MAX);
	if ((r = charge(p, labels.n + STREAM_BYTES, e)) < 0)
		return r;
	if (p->n_streams == p->cap_streams) {
		p->cap_streams = p->cap_streams ? 2 * p->cap_streams : 64;
		p->streams = xrealloc(p->streams, p->cap_streams * sizeof *p->streams);
	}
	map_put(&p->stream_index, labels, NULL)->u = at = p->n_streams;
	p->streams[p->n_streams++] = (struct str){NULL, labels.n};
	*out = (uint32_t)at;
	return 0;
}

/* Keys of a map stay where they are, but are only known by walking it. */
static void name_streams(struct pager *p)
{
	const struct map_slot *slot;
	size_t at = 0;

	while ((slot = map_next(&p->stream_index, &at)))
		p->streams[slot->value.u] = slot->key;
}

static int template_of(struct pager *p, const struct template *t, uint32_t *out, struct error *e)
{
	const union map_value *known = map_get(&p->template_index, t->key);
	int r;

	if (known) {
		*out = (uint32_t)known->u;
		return 0;
	}
	if (p->n_templates == TEMPLATES_TOLD_MAX)
		return error_set(e, ERR_LIMIT,
			"the lines are of more than %d kinds: narrow the time range or the selector",
			TEMPLATES_TOLD_MAX);
	if ((r = charge(p, 2 * t->key.n + STREAM_BYTES, e)) < 0)
		return r;
	if (p->n_templates == p->cap_templates) {
		p->cap_templates = p->cap_templates ? 2 * p->cap_templates : 64;
		p->templates = xrealloc(p->templates, p->cap_templates * sizeof *p->templates);
	}
	map_put(&p->template_index, t->key, NULL)->u = p->n_templates;
	*out = (uint32_t)p->n_templates++;
	return 0;
}

/* What makes rows alike; no padding. */
struct count_key {
	int64_t bucket[2];
	uint32_t stream, template;
	uint8_t severity, level_detected;
	uint8_t zeros[6];
};

static int add_count(struct pager *p, const struct row_count *c, struct error *e)
{
	struct count_key key = {.stream = c->stream,
		.template = c->template,
		.severity = c->severity,
		.level_detected = c->level_detected};
	union map_value *known;
	struct row_count *to;
	int r;

	buckets_of(&p->q->buckets, c->min_ns, key.bucket);
	if ((known = map_get(&p->count_index, str_make(&key, sizeof key)))) {
		to = &p->counts[known->u];
		to->min_ns = c->min_ns < to->min_ns ? c->min_ns : to->min_ns;
		to->max_ns = c->max_ns > to->max_ns ? c->max_ns : to->max_ns;
		to->rows += c->rows;
		to->bytes += c->bytes;
		return 0;
	}
	if (p->n_counts == PAGE_COUNTS_MAX)
		return error_set(e, ERR_LIMIT,
			"there are more than %d counts: narrow the time range or the selector, or "
			"take a larger step",
			PAGE_COUNTS_MAX);
	if ((r = charge(p, COUNT_BYTES, e)) < 0)
		return r;
	if (p->n_counts == p->cap_counts) {
		p->cap_counts = p->cap_counts ? 2 * p->cap_counts : 256;
		p->counts = xrealloc(p->counts, p->cap_counts * sizeof *p->counts);
	}
	map_put(&p->count_index, str_make(&key, sizeof key), NULL)->u = p->n_counts;
	p->counts[p->n_counts++] = *c;
	return 0;
}

/* --- the heap ------------------------------------------------------------------------- */

static bool before(const struct pager *p, struct moment a, struct moment b)
{
	if (a.time != b.time)
		return (a.time < b.time) == p->q->forward;
	return a.seq != b.seq && (a.seq < b.seq) == p->q->forward;
}

static uint64_t held_bytes(const struct held *h)
{
	return (uint64_t)h->body_n + h->meta_n + HELD_BYTES;
}

static void sift_up(struct pager *p, struct held x)
{
	size_t at = p->n++;

	for (; at && before(p, p->heap[(at - 1) / 2].at, x.at); at = (at - 1) / 2)
		p->heap[at] = p->heap[(at - 1) / 2];
	p->heap[at] = x;
}

static struct held pop(struct pager *p)
{
	struct held top = p->heap[0], last = p->heap[--p->n];
	size_t at = 0;

	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= p->n)
			break;
		if (child + 1 < p->n && before(p, p->heap[child].at, p->heap[child + 1].at))
			child++;
		if (!before(p, last.at, p->heap[child].at))
			break;
		p->heap[at] = p->heap[child];
		at = child;
	}
	p->heap[at] = last;
	return top;
}

static void drop(struct pager *p, struct held *h)
{
	p->bytes -= held_bytes(h);
	run_release(p->run, held_bytes(h));
	free(h->block);
}

static bool too_much(const struct pager *p)
{
	return p->n > p->q->rows || (p->n > 1 && p->bytes > p->q->bytes);
}

/* It is not told in this page, and nothing behind it is. */
static void fell_out(struct pager *p, struct moment at)
{
	if (!p->cut || before(p, at, p->floor))
		p->floor = at;
	p->cut = true;
}

/* Is there room for this moment, as far as is known? */
static bool may_come(struct pager *p, struct moment at)
{
	const struct page_request *q = p->q;

	if (q->resume && !before(p, (struct moment){q->resume_ns, q->resume_seq}, at))
		return false;
	if (p->cut && !before(p, at, p->floor))
		return false;
	if (p->n < q->rows || before(p, at, p->heap[0].at))
		return true;
	fell_out(p, at);
	return false;
}

static int hold(struct pager *p, const struct rows *rows, uint32_t i, struct error *e)
{
	struct str body = rows->body && p->q->columns & (SCAN_BODY | SCAN_TEMPLATE) ? rows->body[i]
										    : STR_NONE;
	struct str meta = rows->meta ? rows->meta[i] : STR_NONE;
	struct held h = {.at = {rows->timestamp[i], rows->seq[i]},
		.body_n = (uint32_t)body.n,
		.meta_n = (uint32_t)meta.n,
		.severity = rows->severity[i],
		.flags = rows->flags[i]};
	size_t cap = p->cap ? 2 * p->cap : 256;
	int r;

	if ((r = stream_of(p, rows->streams[rows->stream[i]], &h.stream, e)) < 0 ||
		(r = run_charge(p->run, held_bytes(&h), e)) < 0)
		return r;
	p->bytes += held_bytes(&h);
	h.block = xmalloc(body.n + meta.n);
	if (body.n)
		memcpy(h.block, body.p, body.n);
	if (meta.n)
		memcpy(h.block + body.n, meta.p, meta.n);
	if (p->n == p->cap) {
		if ((r = charge(p, (cap - p->cap) * sizeof h, e)) < 0) {
			drop(p, &h);
			return r;
		}
		p->heap = xrealloc(p->heap, cap * sizeof h);
		p->cap = cap;
	}
	sift_up(p, h);
	while (too_much(p)) {
		struct held worst = pop(p);
		fell_out(p, worst.at);
		drop(p, &worst);
	}
	return 0;
}

/* --- what the scan tells -------------------------------------------------------------- */

static bool want_span(void *ctx, int64_t min_ns, int64_t max_ns)
{
	const struct pager *p = ctx;

	/* Counts are of all the time. */
	if (!p->cut || p->q->counts)
		return true;
	return p->q->forward ? min_ns <= p->floor.time : max_ns >= p->floor.time;
}

static bool by_row(void *ctx, struct str labels)
{
	return amqp_stream(labels);
}

/* Does nobody need to see the metadata of row i, so that it can be told as a count? */
static bool countable(const struct pager *p, const struct rows *rows, uint32_t i)
{
	const struct reader *r = &p->reader;
	struct str meta = rows->meta ? rows->meta[i] : STR_NONE;

	if (meta.n == 0)
		return true;
	if (p->q->columns & SCAN_META || amqp_redelivered(meta))
		return false;
	/* reader_keeps has looked the stream's choice up. */
	return !r->open || !(r->choices[rows->stream[i]] & SELECT_META);
}

static int count_row(struct pager *p, const struct rows *rows, uint32_t i, struct error *e)
{
	struct row_count c = {.template = ROWS_NO_TEMPLATE,
		.severity = rows->severity[i],
		.level_detected = (rows->flags[i] & RECORD_LEVEL_DETECTED) != 0,
		.min_ns = rows->timestamp[i],
		.max_ns = rows->timestamp[i],
		.rows = 1,
		.bytes = rows->body && p->q->columns & SCAN_BODY ? rows->body[i].n : 0};
	int r = stream_of(p, rows->streams[rows->stream[i]], &c.stream, e);

	if (r == 0 && p->q->columns & SCAN_TEMPLATE && rows->template &&
		rows->template[i] != ROWS_NO_TEMPLATE)
		r = template_of(p, rows->templates[rows->template[i]], &c.template, e);
	return r < 0 ? r : add_count(p, &c, e);
}

static int mark_kept(void *ctx, struct pipe_row *row, struct error *e)
{
	bool *kept = ctx;

	(void)row;
	(void)e;
	*kept = true;
	return 0;
}

static int keeps(struct pager *p, const struct rows *rows, uint32_t i, struct error *e)
{
	bool kept = false;
	int r;

	if (!p->spreads)
		return reader_keeps(&p->reader, rows, i, NULL, e);
	r = reader_each(&p->reader, rows, i, mark_kept, &kept, e);
	return r < 0 ? r : kept;
}

static bool id_wanted(const struct pager *p, const struct rows *rows, uint32_t i)
{
	struct str id;

	return p->q->n_ids == 0 ||
	       (rows->meta && amqp_message_id(rows->meta[i], &id) && map_get(&p->ids, id));
}

static int on_row(struct pager *p, const struct rows *rows, uint32_t i, struct error *e)
{
	struct moment at = {rows->timestamp[i], rows->seq ? rows->seq[i] : 0};
	bool counting = p->q->counts || p->q->counted;
	int r;

	if ((!counting && !may_come(p, at)) || !id_wanted(p, rows, i))
		return run_tick(p->run, e);
	if ((r = keeps(p, rows, i, e)) <= 0)
		return r;
	if (counting && countable(p, rows, i))
		return p->q->counts ? count_row(p, rows, i, e) : 0;
	return may_come(p, at) ? hold(p, rows, i, e) : 0;
}

static int on_unit(void *ctx, const struct rows *rows, struct error *e)
{
	struct pager *p = ctx;
	int r = 0;

	for (size_t at = 0; at < rows->n && r >= 0; at++)
		r = on_row(p, rows, rows->pick[p->q->forward ? at : rows->n - 1 - at], e);
	if (p->cut && !p->q->counts)
		reader_closer(&p->reader, p->q->forward ? INT64_MIN : p->floor.time,
			p->q->forward ? plan_add(p->floor.time, 1) : INT64_MAX);
	return r < 0 ? r : 0;
}

static bool same_bucket(void *ctx, int64_t min_ns, int64_t max_ns)
{
	const struct pager *p = ctx;

	/* The only bucket ends where the scan does, which the other end's may not. */
	if (p->q->buckets.step_ns == 0)
		return min_ns >= p->q->from_ns && max_ns < p->q->to_ns;
	return buckets_same(&p->q->buckets, min_ns, max_ns);
}

static int on_counts(void *ctx, const struct row_counts *counts, struct error *e)
{
	struct pager *p = ctx;
	int r = 0;

	for (size_t i = 0; i < counts->n && r == 0 && p->q->counts; i++) {
		struct row_count c = counts->counts[i];
		if (c.rows == 0)
			continue;
		r = stream_of(p, counts->streams[c.stream], &c.stream, e);
		if (r == 0 && c.template != ROWS_NO_TEMPLATE)
			r = template_of(p, counts->templates[c.template], &c.template, e);
		if (r == 0)
			r = add_count(p, &c, e);
	}
	return r;
}

/* Put x in the place of the worst of `best`, or, growing, beside it. */
static void best_put(struct pager *p, struct moment x, bool grow)
{
	size_t at = 0;

	if (grow) {
		for (at = p->n_best++; at && before(p, p->best[(at - 1) / 2], x); at = (at - 1) / 2)
			p->best[at] = p->best[(at - 1) / 2];
		p->best[at] = x;
		return;
	}
	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= p->n_best)
			break;
		if (child + 1 < p->n_best && before(p, p->best[child], p->best[child + 1]))
			child++;
		if (!before(p, x, p->best[child]))
			break;
		p->best[at] = p->best[child];
		at = child;
	}
	p->best[at] = x;
}

/* Leave those that may be told; of more than a page's rows the best, if none of them may be dropped
 * yet. */
static size_t narrow(void *ctx, const struct rows *rows, uint32_t *pick)
{
	struct pager *p = ctx;
	size_t n = 0, kept = 0;

	for (size_t at = 0; at < rows->n; at++) {
		uint32_t i = pick[at];
		if (may_come(p, (struct moment){rows->timestamp[i], rows->seq[i]}))
			pick[n++] = i;
	}
	if (!p->best || n <= p->q->rows || p->reader.may_drop)
		return n;
	p->n_best = 0;
	for (size_t at = 0; at < n; at++) {
		struct moment x = {rows->timestamp[pick[at]], rows->seq[pick[at]]};
		if (p->n_best < p->q->rows)
			best_put(p, x, true);
		else if (before(p, x, p->best[0]))
			best_put(p, x, false);
	}
	for (size_t at = 0; at < n; at++) {
		struct moment x = {rows->timestamp[pick[at]], rows->seq[pick[at]]};
		if (!before(p, p->best[0], x))
			pick[kept++] = pick[at];
		else
			fell_out(p, x);
	}
	return kept;
}

/* --- the page ------------------------------------------------------------------------- */

static int write_rows(struct pager *p, struct error *e)
{
	struct batch_builder *b;
	struct batch *batch;
	uint32_t *index;
	size_t n = p->n;
	int r = 0;

	/* The builder, the batch, and the copy of it. */
	if (n == 0 || (r = charge(p, 3 * (p->bytes + n * 64) + p->n_streams * 4, e)) < 0)
		return r;
	/* The best first: the worst are taken from the top to the end. */
	while (p->n > 1) {
		struct held worst = pop(p);
		p->heap[p->n] = worst;
	}
	p->n = n;
	p->more = p->cut;
	p->next = p->heap[n - 1].at;
	index = xcalloc(p->n_streams, sizeof *index);
	for (size_t i = 0; i < p->n_streams; i++)
		index[i] = BATCH_NO_STREAM;
	b = batch_builder_new(STR("default"), STR("scan"), 0);
	for (size_t i = 0; i < n && r == 0; i++) {
		struct held *h = &p->heap[i];
		if (index[h->stream] == BATCH_NO_STREAM)
			index[h->stream] = batch_builder_stream(b, p->streams[h->stream]);
		r = batch_builder_add(b,
			&(struct record){.timestamp = h->at.time,
				.body = str_make(h->block, h->body_n),
				.meta = str_make(h->block + h->body_n, h->meta_n),
				.position = h->at.seq,
				.stream = index[h->stream],
				.severity = h->severity,
				.flags = h->flags},
			e);
	}
	if (r == 0) {
		batch = batch_builder_finish(b, 0);
		buf_str(&p->out, batch_bytes(batch));
		batch_unref(batch);
	}
	batch_builder_free(b);
	free(index);
	p->n_rows_bytes = p->out.n;
	return r;
}

static int write_counts(struct pager *p, struct error *e)
{
	struct row_counts all = {.n = p->n_counts,
		.counts = p->counts,
		.streams = p->streams,
		.n_streams = p->n_streams,
		.n_templates = p->n_templates};
	const struct template **list;
	const struct map_slot *slot;
	size_t at = 0, n = p->out.n;
	int r;

	if (p->n_counts == 0 && !p->q->streams)
		return 0;
	if ((r = charge(p, p->n_templates * sizeof *list + p->n_counts * 40, e)) < 0)
		return r;
	list = xcalloc(p->n_templates, sizeof *list);
	while ((slot = map_next(&p->template_index, &at))) {
		struct template *t = &p->templates[slot->value.u];
		*t = (struct template){.key = slot->key};
		list[slot->value.u] = t;
	}
	all.templates = list;
	page_counts_write(&p->out, &all);
	free(list);
	return charge(p, p->out.n - n, e);
}

static void on_listed(void *ctx, struct str labels)
{
	struct pager *p = ctx;
	struct reader *r = &p->reader;
	uint32_t ignored;
	int hit;

	if (r->failed)
		return;
	hit = select_stream(p->reader.plan->log, labels, p->q->strict);
	if (hit & SELECT_SOME)
		r->failed = stream_of(p, labels, &ignored, &r->error);
}

static int list_streams(struct pager *p, struct error *e)
{
	const struct page_request *q = p->q;
	struct source *s = p->run->source;
	int r = q->from_ns < q->to_ns ? s->streams(s, p->run->params->tenant, q->from_ns, q->to_ns,
						on_listed, p, e)
				      : 0;

	if (r == 0 && p->reader.failed)
		r = error_set(e, p->reader.failed, "%s", p->reader.error.text);
	return r;
}

static int pager_begin(struct pager *p, struct error *e)
{
	const struct page_request *q = p->q;
	bool counting = q->counts || q->counted;

	for (size_t i = 0; i < q->n_ids; i++)
		map_put(&p->ids, q->ids[i], NULL);
	p->spreads = stages_spread(p->reader.plan->stages);
	if (counting) {
		p->reader.same_bucket = same_bucket;
		p->reader.counts = on_counts;
		p->reader.by_row = by_row;
	} else if (q->n_ids == 0) {
		p->reader.narrow = narrow;
		if (q->rows <= CHOOSE_MAX && !p->reader.plan->stages) {
			int r = charge(p, q->rows * sizeof *p->best, e);
			if (r < 0)
				return r;
			p->best = xcalloc(q->rows, sizeof *p->best);
		}
	}
	return 0;
}

static void pager_fini(struct pager *p)
{
	for (size_t i = 0; i < p->n; i++)
		drop(p, &p->heap[i]);
	free(p->heap);
	free(p->best);
	free(p->streams);
	free(p->templates);
	free(p->counts);
	map_fini(&p->ids);
	map_fini(&p->stream_index);
	map_fini(&p->template_index);
	map_fini(&p->count_index);
	run_release(p->run, p->charged);
}

struct job {
	const struct page_request *q;
	struct buf payload;
	size_t n_rows_bytes;
	bool more;
	struct moment next;
};

static int run_page(struct run *run, void *ctx, struct error *e)
{
	struct job *j = ctx;
	const struct page_request *q = j->q;
	unsigned columns = q->columns;
	struct plan plan;
	struct pager p = {
		.run = run,
		.q = q,
		.reader = {.run = run, .plan = &plan, .want_span = want_span, .unit = on_unit},
	};
	int r;

	/* The other end finds the templates of rows out of their lines. */
	if (columns & SCAN_TEMPLATE)
		columns |= SCAN_BODY;
	if (q->n_ids)
		columns |= SCAN_META;
	if (q->counts || q->counted)
		columns |= SCAN_SEQ;
	plan = plan_count(&run->query->root->log, run->params, columns, &run->out->arena);
	plan.order = q->forward ? SCAN_OLDEST_FIRST : SCAN_NEWEST_FIRST;
	p.reader.ctx = &p;
	if ((r = pager_begin(&p, e)) == 0)
		r = q->streams ? list_streams(&p, e) : reader_run(&p.reader, e);
	if (r == 0) {
		name_streams(&p);
		if ((r = write_rows(&p, e)) == 0)
			r = write_counts(&p, e);
	}
	j->payload = p.out;
	j->n_rows_bytes = p.n_rows_bytes;
	j->more = p.more;
	j->next = p.next;
	pager_fini(&p);
	return r;
}

static int run_query(struct source *s, const struct query *q, const struct query_params *params,
	struct job *j, const char *instance, struct buf *out, struct error *e)
{
	struct query_result res;
	struct page_head head;
	struct str payload;
	int r = run_whole(s, q, params, run_page, j, &res, e);

	if (r < 0)
		return r;
	head = (struct page_head){.instance = instance,
		.more = j->more,
		.next_ns = j->next.time,
		.next_seq = j->next.seq,
		.stats = res.stats,
		.warnings = res.warnings,
		.n_warnings = res.n_warnings};
	payload = buf_view(&j->payload);
	page_write(out, &head, str_sub(payload, 0, j->n_rows_bytes),
		str_sub(payload, j->n_rows_bytes, payload.n), j->q->packed);
	query_result_fini(&res);
	return 0;
}

int scan_page(struct source *s, const struct page_request *q, const struct query_params *base,
	const char *instance, struct buf *out, struct error *e)
{
	struct query_params params = *base;
	struct page_request asked = *q;
	struct job j = {.q = &asked};
	struct query *query;
	int r;

	if ((r = query_parse(&query, q->query, e)) < 0)
		return r;
	if (!query_is_log(query) || query_reshapes(query)) {
		query_free(query);
		return error_set(e, ERR_ARG,
			"query: a scan is of lines, without uniq, top, sort "
			"and context");
	}
	asked.rows = q->rows == 0 || q->rows > PAGE_ROWS_MAX ? PAGE_ROWS_MAX : q->rows;
	asked.bytes = q->bytes == 0 || q->bytes > PAGE_BYTES_MAX ? PAGE_BYTES_MAX : q->bytes;
	params.start_ns = q->from_ns;
	params.end_ns = q->to_ns;
	params.strict = q->strict;
	params.forward = q->forward;
	params.after_seq = q->after_seq;
	params.until_seq = q->until_seq;
	/* Of a first page of counts all the time is read. */
	params.resume = q->resume;
	params.resume_ns = q->resume_ns;
	params.resume_seq = q->resume_seq;
	r = run_query(s, query, &params, &j, instance, out, e);
	buf_fini(&j.payload);
	query_free(query);
	return r;
}
