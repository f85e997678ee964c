/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows that may be told as counts are added up here, whether the store told them
 * as counts or one by one: what goes over the wire does not depend on how the
 * records happen to lie in blocks.
 */
#include "query/scan_page.h"

#include <stdlib.h>

#include "query/collect.h"
#include "query/page_heap.h"
#include "query/select.h"
#include "store/lines/template.h"

struct pager {
	struct reader reader;
	struct run *run;
	const struct page_request *q;
	bool spreads;
	struct map ids; /* wanted message ids */
	struct page_tables tables;
	struct page_heap heap;
	uint64_t charged;
	struct buf out; /* the batch, then the counts */
	size_t n_rows_bytes;
	bool more;
	struct moment next;
};

/* --- what the scan tells -------------------------------------------------------------- */

static bool want_span(void *ctx, int64_t min_ns, int64_t max_ns)
{
	const struct pager *p = ctx;

	/* Counts are of all the time. */
	if (!p->heap.cut || p->q->counts)
		return true;
	return p->q->forward ? min_ns <= p->heap.floor.time : max_ns >= p->heap.floor.time;
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
	int r = page_tables_stream(&p->tables, rows->streams[rows->stream[i]], &c.stream, e);

	if (r == 0 && p->q->columns & SCAN_TEMPLATE && rows->template &&
		rows->template[i] != ROWS_NO_TEMPLATE)
		r = page_tables_template(
			&p->tables, rows->templates[rows->template[i]], &c.template, e);
	return r < 0 ? r : page_tables_count(&p->tables, &c, e);
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

	if ((!counting && !page_heap_may_come(&p->heap, at)) || !id_wanted(p, rows, i))
		return run_tick(p->run, e);
	if ((r = keeps(p, rows, i, e)) <= 0)
		return r;
	if (counting && countable(p, rows, i))
		return p->q->counts ? count_row(p, rows, i, e) : 0;
	return page_heap_may_come(&p->heap, at) ? page_heap_hold(&p->heap, rows, i, e) : 0;
}

static int on_unit(void *ctx, const struct rows *rows, struct error *e)
{
	struct pager *p = ctx;
	int r = 0;

	for (size_t at = 0; at < rows->n && r >= 0; at++)
		r = on_row(p, rows, rows->pick[p->q->forward ? at : rows->n - 1 - at], e);
	if (p->heap.cut && !p->q->counts)
		reader_closer(&p->reader, p->q->forward ? INT64_MIN : p->heap.floor.time,
			p->q->forward ? plan_add(p->heap.floor.time, 1) : INT64_MAX);
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
		r = page_tables_stream(&p->tables, counts->streams[c.stream], &c.stream, e);
		if (r == 0 && c.template != ROWS_NO_TEMPLATE)
			r = page_tables_template(
				&p->tables, counts->templates[c.template], &c.template, e);
		if (r == 0)
			r = page_tables_count(&p->tables, &c, e);
	}
	return r;
}

/* Leave those that may be told; of more than a page's rows the best, if none of them may be dropped
 * yet. */
static size_t narrow(void *ctx, const struct rows *rows, uint32_t *pick)
{
	struct pager *p = ctx;
	size_t n = 0;

	for (size_t at = 0; at < rows->n; at++) {
		uint32_t i = pick[at];
		if (page_heap_may_come(&p->heap, (struct moment){rows->timestamp[i], rows->seq[i]}))
			pick[n++] = i;
	}
	return p->reader.may_drop ? n : page_heap_choose(&p->heap, rows, pick, n);
}

/* --- the page ------------------------------------------------------------------------- */

static int write_rows(struct pager *p, struct error *e)
{
	struct batch_builder *b;
	struct batch *batch;
	uint32_t *index;
	size_t n = p->heap.n;
	uint64_t bytes = 3 * (p->heap.bytes + n * 64) + p->tables.n_streams * 4;
	int r = 0;

	/* The builder, the batch, and the copy of it. */
	if (n == 0 || (r = run_charge(p->run, bytes, e)) < 0)
		return r;
	p->charged += bytes;
	page_heap_sort(&p->heap);
	p->more = p->heap.cut;
	p->next = p->heap.rows[n - 1].at;
	index = xcalloc(p->tables.n_streams, sizeof *index);
	for (size_t i = 0; i < p->tables.n_streams; i++)
		index[i] = BATCH_NO_STREAM;
	b = batch_builder_new(STR("default"), STR("scan"), 0);
	for (size_t i = 0; i < n && r == 0; i++) {
		struct held *h = &p->heap.rows[i];
		if (index[h->stream] == BATCH_NO_STREAM)
			index[h->stream] = batch_builder_stream(b, p->tables.streams[h->stream]);
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
		r->failed = page_tables_stream(&p->tables, labels, &ignored, &r->error);
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
		if (!p->reader.plan->stages)
			return page_heap_choosing(&p->heap, e);
	}
	return 0;
}

static void pager_fini(struct pager *p)
{
	map_fini(&p->ids);
	page_heap_fini(&p->heap);
	page_tables_fini(&p->tables);
	run_release(p->run, p->charged);
}

struct job {
	const struct page_request *q;
	struct buf payload; /* rows and counts, or partial aggregates */
	size_t n_rows_bytes;
	bool more, redelivered;
	struct moment next;
};

static int run_aggregate(struct run *run, void *ctx, struct error *e)
{
	struct job *j = ctx;
	struct collection *c;
	struct axis axis;
	int r;

	if ((r = plan_axis(&axis, run->params, e)) < 0 ||
		(r = collection_new(&c, run, &run->query->root->range, &axis, j->q->grouping, e)) <
			0)
		return r;
	r = collection_gather_alone(c, e);
	j->redelivered = r > 0;
	if (r == 0)
		r = collection_write(c, &j->payload, e);
	collection_free(c);
	return r < 0 ? r : 0;
}

static int run_page(struct run *run, void *ctx, struct error *e)
{
	struct job *j = ctx;
	const struct page_request *q = j->q;
	unsigned columns = q->columns;
	struct plan plan;
	struct pager p = {
		.run = run,
		.q = q,
		.tables = {.run = run, .buckets = q->buckets},
		.heap = {.run = run, .q = q, .tables = &p.tables},
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
		page_tables_name_streams(&p.tables);
		r = write_rows(&p, e);
		if (r == 0 && (p.tables.n_counts || q->streams))
			r = page_tables_write(&p.tables, &p.out, e);
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
	bool aggregate = j->q->grouping;
	struct page_payload payload = {0};
	struct query_result res;
	struct page_head head;
	struct str made;
	int r = run_whole(s, q, params, aggregate ? run_aggregate : run_page, j, &res, e);

	if (r < 0)
		return r;
	head = (struct page_head){.instance = instance,
		.more = j->more,
		.next_ns = j->next.time,
		.next_seq = j->next.seq,
		.redelivered = j->redelivered,
		.stats = res.stats,
		.warnings = res.warnings,
		.n_warnings = res.n_warnings};
	made = buf_view(&j->payload);
	if (aggregate) {
		payload.partials = made;
	} else {
		payload.rows = str_sub(made, 0, j->n_rows_bytes);
		payload.counts = str_sub(made, j->n_rows_bytes, made.n);
	}
	page_write(out, &head, &payload, j->q->packed);
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
	if (q->grouping && query->root->kind != EXPR_RANGE) {
		query_free(query);
		return error_set(
			e, ERR_ARG, "query: partial aggregates are of a range aggregation");
	}
	if (!q->grouping && (!query_is_log(query) || query_reshapes(query))) {
		query_free(query);
		return error_set(e, ERR_ARG,
			"query: a scan is of lines, without uniq, top, sort "
			"and context");
	}
	asked.rows = q->rows == 0 || q->rows > PAGE_ROWS_MAX ? PAGE_ROWS_MAX : q->rows;
	asked.bytes = q->bytes == 0 || q->bytes > PAGE_BYTES_MAX ? PAGE_BYTES_MAX : q->bytes;
	params.start_ns = q->grouping ? q->start_ns : q->from_ns;
	params.end_ns = q->grouping ? q->end_ns : q->to_ns;
	params.step_ns = q->grouping ? q->step_ns : 0;
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
