/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Most blocks need not be read: the footer knows the times, sequences, streams
 * and templates of each, so it rules out what filters cannot keep, and counts of
 * rows that are alike, so it tells how many there are.
 *
 * A count stands for rows only when nothing could treat two of them
 * differently: the whole block passes the limits and is visible, and filters
 * keep all or none of the lines of each template.
 */
#include "store/parts/open_part.h"

#include <stdlib.h>

#include "store/lines/match.h"

/* A block is asked for its streams first, unless they are more than this and than its templates. */
enum {
	STREAMS_FEW = 16,
	VERDICT_BYTES_MAX = 1 << 20, /* of what filters say of templates, kept for other parts */
};

/* Life */

static bool find_tenant(const struct part_footer *f, struct str tenant, uint32_t *out)
{
	for (size_t i = 0; i < f->n_tenants; i++) {
		if (str_eq(f->tenants[i], tenant)) {
			*out = (uint32_t)i;
			return true;
		}
	}
	return false;
}

static bool find_source(const struct part_footer *f, uint32_t tenant, struct str id, uint32_t *out)
{
	for (size_t i = 0; i < f->n_sources; i++) {
		if (f->sources[i].tenant == tenant && str_eq(f->sources[i].id, id)) {
			*out = (uint32_t)i + 1;
			return true;
		}
	}
	return false;
}

static int charge(struct open_part *op, const struct scan *scan, uint64_t bytes, struct error *e)
{
	int r = scan_charge(scan->account, bytes, e);

	if (r == 0)
		op->charged += bytes;
	return r;
}

int open_part_begin(struct open_part *op, struct part *p, const struct scan *scan,
	struct map *all_verdicts, struct error *e)
{
	const struct part_footer *f;
	int r;

	if ((r = part_load(p, &f, e)) < 0)
		return r;
	*op = (struct open_part){.part = p, .footer = f, .all_verdicts = all_verdicts};
	if (!find_tenant(f, scan->tenant, &op->tenant) ||
		(scan->source.n > 0 && !find_source(f, op->tenant, scan->source, &op->source))) {
		open_part_end(op, scan);
		return 0;
	}
	if ((r = charge(op, scan, 4 * f->n_streams + f->n_templates, e)) < 0) {
		open_part_end(op, scan);
		return r;
	}
	op->asked = xcalloc(4, f->n_streams);
	op->wanted = op->asked + f->n_streams;
	op->wanted_meta = op->wanted + f->n_streams;
	op->by_row = op->wanted_meta + f->n_streams;
	if (scan->n_filters > 0)
		op->verdicts = xcalloc(1, f->n_templates);
	return 1;
}

void open_part_end(struct open_part *op, const struct scan *scan)
{
	if (!op->footer)
		return;
	part_release(op->part);
	free(op->asked);
	free(op->verdicts);
	free(op->streams);
	free(op->sources);
	free(op->templates);
	account_release(scan->account, op->charged);
	*op = (struct open_part){0};
}

/* Deciding */

static void ask_stream(struct open_part *op, struct scan *scan, uint32_t stream)
{
	const struct part_stream *s = &op->footer->streams[stream];

	if (!op->asked[stream]) {
		bool ours = s->tenant == op->tenant;

		op->asked[stream] = true;
		op->wanted[stream] =
			ours && (!scan->want_stream || scan->want_stream(scan->ctx, s->labels));
		op->by_row[stream] = ours && scan->by_row && scan->by_row(scan->ctx, s->labels);
		op->wanted_meta[stream] = op->wanted[stream] || op->by_row[stream];
	}
}

/* By stream, in this block. */
static const uint8_t *wanted_in(const struct open_part *op, const struct part_block *b)
{
	return b->has_meta ? op->wanted_meta : op->wanted;
}

/* Is any stream of the block wanted, and are all?  Streams without a row in the scan's time are
 * neither here nor there.  *by_row: the metadata of some stream's rows has to be seen. */
static bool ask_streams(struct open_part *op, struct scan *scan, const struct part_block *b,
	bool *all, bool *by_row)
{
	const uint8_t *wanted = wanted_in(op, b);
	bool any = false;

	*all = true;
	*by_row = false;
	for (uint32_t i = 0; i < b->n_streams; i++) {
		const struct part_stream *s = &op->footer->streams[b->streams[i]];

		if (s->max_ns < scan->from_ns || s->min_ns >= scan->to_ns)
			continue;
		ask_stream(op, scan, b->streams[i]);
		if (wanted[b->streams[i]])
			any = true;
		else
			*all = false;
		*by_row = *by_row || (b->has_meta && op->by_row[b->streams[i]]);
	}
	return any;
}

/* Parts have most of their templates in common. */
static enum match_verdict ask_filters(
	struct open_part *op, const struct scan *scan, const struct template *t)
{
	struct map *all = op->all_verdicts;
	union map_value *known = map_get(all, t->key);
	enum match_verdict v;

	if (known)
		return (enum match_verdict)known->u;
	v = match_filters(scan->filters, scan->n_filters, t);
	if (all->bytes < VERDICT_BYTES_MAX)
		map_put(all, t->key, NULL)->u = v;
	return v;
}

static uint8_t verdict_of(struct open_part *op, struct scan *scan, uint32_t template)
{
	uint8_t *known = &op->verdicts[template];
	enum match_verdict v;

	if (*known)
		return *known - 1;
	v = ask_filters(op, scan, &op->footer->templates[template]);
	*known = 1 + (uint8_t)v;
	scan->stats.templates++;
	scan->stats.templates_excluded += v == MATCH_NONE;
	scan->stats.templates_whole += v == MATCH_ALL;
	return (uint8_t)v;
}

/* What filters say of the lines of a block by their templates. */
struct kept {
	bool none, all, some;
};

static struct kept ask_templates(
	struct open_part *op, struct scan *scan, const struct part_block *b, struct buf *verdicts)
{
	struct kept kept = {0};
	char *p;

	buf_clear(verdicts);
	p = buf_reserve(verdicts, b->n_templates);
	for (uint32_t i = 0; i < b->n_templates; i++) {
		uint8_t v = verdict_of(op, scan, b->templates[i]);

		p[i] = (char)v;
		kept.none |= v == MATCH_NONE;
		kept.all |= v == MATCH_ALL;
		kept.some |= v == MATCH_SOME;
	}
	verdicts->n = b->n_templates;
	return kept;
}

static void find_hidden(struct open_part *op, const struct scan *scan, struct block_task *t)
{
	const struct part_block *b = t->block;

	buf_clear(&t->hidden);
	buf_clear(&t->hidden_of);
	t->hidden_lines = false;
	if (visibility_clear(scan->visibility))
		return;
	for (uint32_t i = 0; i < b->n_streams; i++)
		if (wanted_in(op, b)[b->streams[i]])
			unit_find_hidden(scan->visibility, scan->tenant,
				op->footer->streams[b->streams[i]].labels, b->streams[i], b->min_ns,
				b->max_ns, b->min_seq, &t->hidden, &t->hidden_of);
	t->hidden_lines = hidden_needs_lines(
		(const struct hidden *)t->hidden.p, t->hidden.n / sizeof(struct hidden));
}

static int64_t hour_start(int64_t hour)
{
	return hour < INT64_MIN / NS_PER_HOUR ? INT64_MIN : hour * NS_PER_HOUR + 1;
}

static int64_t hour_end(int64_t hour)
{
	return hour >= INT64_MAX / NS_PER_HOUR ? INT64_MAX : (hour + 1) * NS_PER_HOUR;
}

/* The part of an hour in which the block has rows. */
static void clip(const struct part_block *b, int64_t hour, int64_t *min_ns, int64_t *max_ns)
{
	*min_ns = hour_start(hour) > b->min_ns ? hour_start(hour) : b->min_ns;
	*max_ns = hour_end(hour) < b->max_ns ? hour_end(hour) : b->max_ns;
}

/* Does each of its hours that has rows lie in one bucket? */
static bool hours_in_buckets(
	const struct scan *scan, const struct part_block *b, struct block_counts *scratch)
{
	int64_t last = INT64_MIN;

	block_counts_get(scratch, b);
	for (uint32_t i = 0; i < b->n_hours; i++) {
		int64_t min_ns, max_ns;

		if (scratch->hours[i].hour == last)
			continue;
		last = scratch->hours[i].hour;
		clip(b, last, &min_ns, &max_ns);
		if (!scan->same_bucket(scan->ctx, min_ns, max_ns))
			return false;
	}
	return true;
}

/* How a block is told that passes whole, or by template. */
static enum block_fate choose_counts(const struct scan *scan, const struct part_block *b,
	const struct kept *kept, bool one_bucket, enum block_fate otherwise,
	struct block_counts *scratch)
{
	bool plain = scan->n_filters > 0 && b->n_plain > 0;
	bool by_template = scan->columns & SCAN_TEMPLATE || kept->none || kept->some || plain;

	if (!by_template && b->n_hours > 0 && (one_bucket || hours_in_buckets(scan, b, scratch)))
		return BLOCK_HOURS;
	if (!one_bucket || b->n_counts == 0)
		return otherwise;
	return kept->some || plain ? BLOCK_MIXED : BLOCK_COUNTS;
}

static bool has_source(const struct part_block *b, uint32_t source)
{
	for (uint32_t i = 0; i < b->n_sources; i++)
		if (b->sources[i] == source - 1)
			return true;
	return false;
}

static void fill_task(struct open_part *op, const struct scan *scan, uint64_t until_seq,
	const struct part_block *b, struct block_task *t)
{
	t->part = op->part;
	t->footer = op->footer;
	t->block = b;
	t->limits = (struct unit_limits){
		.from_ns = scan->from_ns,
		.to_ns = scan->to_ns,
		.after_seq = scan->after_seq,
		.until_seq = until_seq,
		.source = op->source,
	};
	if (b->min_ns >= scan->from_ns && b->max_ns < scan->to_ns)
		t->limits.skip |= UNIT_TIME;
	if (b->min_seq > scan->after_seq && b->max_seq <= until_seq)
		t->limits.skip |= UNIT_SEQ;
	t->columns = scan->columns;
	t->counting = scan->counts != NULL;
	t->narrow = scan->narrow != NULL;
	t->filters = scan->filters;
	t->n_filters = scan->n_filters;
	t->visibility = scan->visibility;
}

enum block_fate open_part_decide(struct open_part *op, struct scan *scan, uint64_t until_seq,
	const struct part_block *b, struct block_task *t, struct block_counts *scratch)
{
	bool templates_first = b->n_streams > STREAMS_FEW && b->n_streams > b->n_templates;
	bool whole, all_streams = true, by_row = false;
	struct kept kept = {.all = true};
	enum block_fate fate = BLOCK_READ;

	if (op->source && !has_source(b, op->source))
		return BLOCK_NOT_WANTED;
	if (!templates_first && !ask_streams(op, scan, b, &all_streams, &by_row))
		return BLOCK_NOT_WANTED;
	if (scan->n_filters > 0) {
		kept = ask_templates(op, scan, b, &t->verdicts);
		if (!kept.all && !kept.some && b->n_plain == 0)
			return BLOCK_EXCLUDED;
	}
	if (templates_first && !ask_streams(op, scan, b, &all_streams, &by_row))
		return BLOCK_NOT_WANTED;
	fill_task(op, scan, until_seq, b, t);
	t->limits.wanted = all_streams ? NULL : wanted_in(op, b);
	if (by_row)
		t->columns |= SCAN_META;
	find_hidden(op, scan, t);
	whole = t->limits.skip == (UNIT_TIME | UNIT_SEQ) && !op->source && t->hidden_of.n == 0;
	t->one_bucket = false;
	if (scan->counts && !(t->columns & SCAN_META && b->has_meta)) {
		bool one_bucket = scan->same_bucket(scan->ctx, b->min_ns, b->max_ns);

		/* What has no template is told with its line. */
		fate = scan->columns & SCAN_TEMPLATE ? BLOCK_READ : BLOCK_ROWS;
		if (whole)
			fate = choose_counts(scan, b, &kept, one_bucket, fate, scratch);
		t->one_bucket = one_bucket && fate != BLOCK_READ;
	}
	t->some = kept.some;
	t->open_only = fate == BLOCK_MIXED;
	t->lengths = fate == BLOCK_ROWS || fate == BLOCK_MIXED;
	return fate;
}

/* Telling */

static int make_streams(struct open_part *op, const struct scan *scan, struct error *e)
{
	const struct part_footer *f = op->footer;
	int r;

	if (op->streams)
		return 0;
	if ((r = charge(op, scan, f->n_streams * sizeof *op->streams, e)) < 0)
		return r;
	op->streams = xmalloc(f->n_streams * sizeof *op->streams);
	for (size_t i = 0; i < f->n_streams; i++)
		op->streams[i] = f->streams[i].labels;
	return 0;
}

static int make_templates(struct open_part *op, const struct scan *scan, struct error *e)
{
	const struct part_footer *f = op->footer;
	int r;

	if (op->templates)
		return 0;
	if ((r = charge(op, scan, f->n_templates * sizeof *op->templates, e)) < 0)
		return r;
	op->templates = xmalloc(f->n_templates * sizeof *op->templates);
	for (size_t i = 0; i < f->n_templates; i++)
		op->templates[i] = &f->templates[i];
	return 0;
}

int open_part_tables(
	struct open_part *op, const struct scan *scan, struct rows *rows, struct error *e)
{
	const struct part_footer *f = op->footer;
	int r = make_streams(op, scan, e);

	if (r == 0 && scan->columns & SCAN_TEMPLATE)
		r = make_templates(op, scan, e);
	if (r == 0 && !op->sources && scan->columns & SCAN_SOURCE &&
		(r = charge(op, scan, f->n_sources * sizeof *op->sources, e)) == 0) {
		op->sources = xmalloc(f->n_sources * sizeof *op->sources);
		for (size_t i = 0; i < f->n_sources; i++)
			op->sources[i] = f->sources[i].id;
	}
	if (r < 0)
		return r;
	rows->streams = op->streams;
	rows->n_streams = f->n_streams;
	rows->sources = op->sources;
	rows->n_sources = op->sources ? f->n_sources : 0;
	rows->templates = op->templates;
	rows->n_templates = op->templates ? f->n_templates : 0;
	return 0;
}

static size_t put_hours(const struct open_part *op, const struct part_block *b,
	const struct block_counts *from, struct row_count *to)
{
	size_t n = 0;

	for (uint32_t i = 0; i < b->n_hours; i++) {
		const struct block_hour *h = &from->hours[i];
		uint32_t stream = b->streams[h->stream];
		struct row_count *c = &to[n];

		if (!op->wanted[stream])
			continue;
		*c = (struct row_count){
			.stream = stream,
			.template = ROWS_NO_TEMPLATE,
			.severity = h->severity,
			.level_detected = h->level_detected,
			.rows = h->rows,
			.bytes = h->bytes,
		};
		clip(b, h->hour, &c->min_ns, &c->max_ns);
		n++;
	}
	return n;
}

static size_t put_counts(const struct open_part *op, const struct block_task *t, bool by_template,
	const struct block_counts *from, struct row_count *to)
{
	const struct part_block *b = t->block;
	size_t n = 0;

	for (uint32_t i = 0; i < b->n_counts; i++) {
		const struct block_count *c = &from->counts[i];
		uint32_t stream = b->streams[c->stream], id = c->template;

		/* With filters, the others are looked at one by one, or ruled out. */
		if (!op->wanted[stream] ||
			(t->n_filters > 0 &&
				(id == TEMPLATE_NONE || t->verdicts.p[id - 1] != MATCH_ALL)))
			continue;
		to[n++] = (struct row_count){
			.stream = stream,
			.template = by_template && id != TEMPLATE_NONE ? b->templates[id - 1]
								       : ROWS_NO_TEMPLATE,
			.severity = c->severity,
			.level_detected = c->level_detected,
			.min_ns = b->min_ns,
			.max_ns = b->max_ns,
			.rows = c->rows,
			.bytes = c->bytes,
		};
	}
	return n;
}

/* Counts of rows that were looked at. */
struct row_list {
	struct row_count *counts;
	size_t n, cap;
	uint64_t charged;
	/* Of rows that are alike: 1 + index into counts by severity and whether it was detected. */
	uint32_t index[256][2];
	size_t first; /* of those of this run of rows */
};

static int row_list_reserve(
	struct row_list *l, const struct scan *scan, size_t more, struct error *e)
{
	size_t cap = l->cap * 2 > l->n + more ? l->cap * 2 : l->n + more;
	uint64_t bytes = (cap - l->cap) * sizeof *l->counts;
	int r;

	if (l->n + more <= l->cap)
		return 0;
	if ((r = scan_charge(scan->account, bytes, e)) < 0)
		return r;
	l->charged += bytes;
	l->counts = xrealloc(l->counts, cap * sizeof *l->counts);
	l->cap = cap;
	return 0;
}

/* The next row is of another run. */
static void row_list_cut(struct row_list *l)
{
	for (; l->first < l->n; l->first++) {
		const struct row_count *c = &l->counts[l->first];

		l->index[c->severity][c->level_detected] = 0;
	}
}

/* Picked rows from .. to, of one stream and template, in one bucket. */
static int put_run(struct row_list *l, const struct scan *scan, const struct block_task *t,
	const struct decoder *d, size_t from, size_t to, struct error *e)
{
	const struct unit *u = &d->rows;
	const int64_t *time = t->one_bucket ? NULL : u->timestamp;
	const uint32_t *pick = u->pick;
	struct row_count like = {
		.stream = u->stream[pick[from]],
		.template =
			scan->columns & SCAN_TEMPLATE ? u->template[pick[from]] : ROWS_NO_TEMPLATE,
		.min_ns = time ? time[pick[from]] : t->block->min_ns,
		.max_ns = time ? time[pick[to - 1]] : t->block->max_ns,
	};
	bool bytes = scan->columns & SCAN_BODY;
	int r;

	row_list_cut(l);
	for (size_t i = from; i < to; i++) {
		uint32_t at = pick[i], *known;

		known = &l->index[u->severity[at]][(u->flags[at] & RECORD_LEVEL_DETECTED) != 0];
		if (*known == 0) {
			if ((r = row_list_reserve(l, scan, 1, e)) < 0)
				return r;
			like.severity = u->severity[at];
			like.level_detected = (u->flags[at] & RECORD_LEVEL_DETECTED) != 0;
			l->counts[l->n++] = like;
			*known = (uint32_t)l->n;
		}
		l->counts[*known - 1].rows++;
		l->counts[*known - 1].bytes += bytes ? d->lengths[at] : 0;
	}
	return 0;
}

/* The end of the rows from `from` on that lie in its bucket; their times ascend. */
static size_t bucket_end(
	const struct scan *scan, const int64_t *time, const uint32_t *pick, size_t from, size_t to)
{
	int64_t first = time[pick[from]];
	size_t in = from, step = 1;

	/* Rows up to `in` lie in it; the one at in + step may not. */
	while (in + step < to && scan->same_bucket(scan->ctx, first, time[pick[in + step]])) {
		in += step;
		step *= 2;
	}
	for (; step > 0; step /= 2)
		if (in + step < to && scan->same_bucket(scan->ctx, first, time[pick[in + step]]))
			in += step;
	return in + 1;
}

static int put_rows(struct row_list *l, const struct scan *scan, const struct block_task *t,
	const struct decoder *d, struct error *e)
{
	const struct unit *u = &d->rows;
	const int64_t *time = t->one_bucket ? NULL : u->timestamp;
	const uint32_t *pick = u->pick, *template = NULL;
	size_t n = d->n_picked, from = 0;
	int r = 0;

	if (scan->columns & SCAN_TEMPLATE)
		template = u->template;
	while (from < n && r == 0) {
		uint32_t stream = u->stream[pick[from]];
		size_t to = from + 1;

		for (; to < n && u->stream[pick[to]] == stream; to++)
			if ((template && template[pick[to]] != template[pick[from]]) ||
				(time && time[pick[to]] < time[pick[to - 1]]))
				break;
		while (from < to && r == 0) {
			size_t end = time ? bucket_end(scan, time, pick, from, to) : to;

			r = put_run(l, scan, t, d, from, end, e);
			from = end;
		}
	}
	return r;
}

int open_part_count(struct open_part *op, struct scan *scan, enum block_fate fate,
	const struct block_task *t, const struct decoder *rows, struct block_counts *scratch,
	struct error *e)
{
	const struct part_block *b = t->block;
	bool by_template = scan->columns & SCAN_TEMPLATE;
	struct row_counts counts = {.n_streams = op->footer->n_streams};
	struct row_list list = {0};
	int r;

	if ((r = make_streams(op, scan, e)) < 0 ||
		(by_template && (r = make_templates(op, scan, e)) < 0) ||
		(r = row_list_reserve(
			 &list, scan, fate == BLOCK_HOURS ? b->n_hours : b->n_counts, e)) < 0)
		return r;
	if (fate != BLOCK_ROWS)
		block_counts_get(scratch, b);
	if (fate == BLOCK_HOURS)
		list.n = put_hours(op, b, scratch, list.counts);
	else if (fate != BLOCK_ROWS)
		list.n = put_counts(op, t, by_template, scratch, list.counts);
	list.first = list.n;
	if (rows)
		r = put_rows(&list, scan, t, rows, e);
	counts.n = list.n;
	counts.counts = list.counts;
	counts.streams = op->streams;
	counts.templates = op->templates;
	counts.n_templates = op->templates ? op->footer->n_templates : 0;
	if (r == 0 && counts.n > 0)
		r = scan->counts(scan->ctx, &counts, e);
	free(list.counts);
	account_release(scan->account, list.charged);
	return r;
}
