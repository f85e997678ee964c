/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch of the head has no templates and no counts: its rows are looked at one
 * by one.  Their lines lie in memory, so they are filtered before anything is
 * copied; templates are found only when the scan asks for them.
 */
#include "store/head_scan.h"

#include <stdlib.h>

#include "store/lines/template.h"

enum {
	SLICE_ROWS = 4096,
	TEMPLATE_BYTES_MAX = 4 << 20, /* of the table of templates, which is emptied beyond it */
};

struct head_unit {
	uint64_t key, seq;
	const struct batch *batch;
};

struct head_scan {
	struct scan *scan;
	uint64_t until_seq;
	struct head_unit *units;
	size_t n, at;
	uint64_t charged;
	struct unit rows;
	/* Of the batch. */
	struct buf wanted;  /* a byte for each stream */
	bool by_row;        /* the metadata of some of them must be seen */
	struct buf streams; /* struct str */
	struct buf sources;
	struct buf hidden;    /* struct hidden */
	struct buf hidden_of; /* struct unit_hidden, sorted */
	uint32_t source;      /* of the scan, 0 for any */
	/* Of all lines so far. */
	struct template_table *templates;
	struct buf template_list; /* const struct template * */
	uint64_t template_charged;
};

static int compare_units(const void *a, const void *b)
{
	const struct head_unit *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static void add_unit(struct head_scan *hs, const struct batch *b)
{
	const struct scan *scan = hs->scan;
	uint64_t seq = batch_first_seq(b);
	int64_t min = batch_min_time(b), max = batch_max_time(b);

	if (!str_eq(batch_tenant(b), scan->tenant) ||
		!unit_overlaps(scan, hs->until_seq, min, max, seq, seq + batch_count(b) - 1))
		return;
	hs->units[hs->n++] = (struct head_unit){unit_key(scan->order, min, max, seq), seq, b};
}

int head_scan_begin(const struct head_view *v, struct scan *scan, uint64_t until_seq,
	struct head_scan **out, struct error *e)
{
	struct head_scan *hs;
	size_t n = 0;
	int r;

	for (size_t i = 0; i < v->n; i++)
		n += head_view_count(v, i);
	if ((r = scan_charge(scan->account, n * sizeof *hs->units, e)) < 0)
		return r;
	hs = xcalloc(1, sizeof *hs);
	hs->scan = scan;
	hs->until_seq = until_seq;
	hs->rows.account = scan->account;
	hs->charged = n * sizeof *hs->units;
	hs->units = xmalloc(hs->charged);
	for (size_t i = 0; i < v->n; i++)
		for (uint32_t k = 0; k < head_view_count(v, i); k++)
			add_unit(hs, v->chunks[i]->batches[k]);
	scan->stats.units += hs->n;
	if (hs->n > 1)
		qsort(hs->units, hs->n, sizeof *hs->units, compare_units);
	*out = hs;
	return 0;
}

void head_scan_end(struct head_scan *hs)
{
	if (!hs)
		return;
	account_release(hs->scan->account, hs->charged + hs->template_charged);
	unit_fini(&hs->rows);
	buf_fini(&hs->wanted);
	buf_fini(&hs->streams);
	buf_fini(&hs->sources);
	buf_fini(&hs->hidden);
	buf_fini(&hs->hidden_of);
	template_table_free(hs->templates);
	buf_fini(&hs->template_list);
	free(hs->units);
	free(hs);
}

int head_scan_peek(const struct head_scan *hs, uint64_t *key)
{
	if (hs->at == hs->n)
		return 0;
	*key = hs->units[hs->at].key;
	return 1;
}

/* The batch's tables */

static bool put_sources(struct head_scan *hs, const struct batch *b)
{
	const struct scan *scan = hs->scan;
	bool found = scan->source.n == 0;

	buf_clear(&hs->sources);
	hs->source = 0;
	for (size_t i = 0; i < batch_n_sources(b); i++) {
		struct str id = batch_source(b, i).id;

		if (scan->source.n > 0 && str_eq(id, scan->source)) {
			hs->source = (uint32_t)i + 1;
			found = true;
		}
		buf_put(&hs->sources, &id, sizeof id);
	}
	return found;
}

/* False when none of its streams is wanted. */
static bool put_streams(struct head_scan *hs, const struct batch *b)
{
	const struct scan *scan = hs->scan;
	bool any = false;

	hs->by_row = false;
	buf_clear(&hs->wanted);
	buf_clear(&hs->streams);
	buf_clear(&hs->hidden);
	buf_clear(&hs->hidden_of);
	for (size_t i = 0; i < batch_n_streams(b); i++) {
		struct str labels = batch_stream(b, i);
		bool by_row = scan->by_row && scan->by_row(scan->ctx, labels);
		bool wanted = !scan->want_stream || scan->want_stream(scan->ctx, labels) || by_row;

		hs->by_row = hs->by_row || by_row;
		buf_char(&hs->wanted, (char)wanted);
		buf_put(&hs->streams, &labels, sizeof labels);
		if (wanted && !visibility_clear(scan->visibility))
			unit_find_hidden(scan->visibility, scan->tenant, labels, (uint32_t)i,
				batch_min_time(b), batch_max_time(b), batch_first_seq(b),
				&hs->hidden, &hs->hidden_of);
		any = any || wanted;
	}
	return any;
}

/* Templates */

static void forget_templates(struct head_scan *hs)
{
	template_table_clear(hs->templates);
	buf_clear(&hs->template_list);
	account_release(hs->scan->account, hs->template_charged);
	hs->template_charged = 0;
}

static int find_templates(struct head_scan *hs, size_t picked, struct rows *rows, struct error *e)
{
	struct token tokens[TOKEN_SLOTS_MAX];
	struct unit *u = &hs->rows;
	uint64_t bytes;
	size_t known;
	int r;

	if (!hs->templates)
		hs->templates = template_table_new();
	else if (hs->template_charged > TEMPLATE_BYTES_MAX)
		forget_templates(hs);
	for (size_t i = 0; i < picked; i++) {
		uint32_t at = u->pick[i], id = TEMPLATE_NONE;
		uint64_t hash;
		int n = tokens_of(u->body[at], tokens, &hash);

		if (n >= 0)
			id = template_table_put(
				hs->templates, u->body[at], tokens, (size_t)n, hash);
		u->template[at] = id == TEMPLATE_NONE ? ROWS_NO_TEMPLATE : id - 1;
	}
	known = hs->template_list.n / sizeof(struct template *);
	for (size_t i = known; i < template_table_count(hs->templates); i++) {
		const struct template *t = template_table_get(hs->templates, (uint32_t)i + 1);

		buf_put(&hs->template_list, &t, sizeof t);
	}
	bytes = template_table_bytes(hs->templates) + hs->template_list.n;
	if (bytes > hs->template_charged) {
		if ((r = scan_charge(hs->scan->account, bytes - hs->template_charged, e)) < 0)
			return r;
		hs->template_charged = bytes;
	}
	rows->templates = (const struct template *const *)hs->template_list.p;
	rows->n_templates = hs->template_list.n / sizeof(struct template *);
	return 0;
}

/* Rows */

static unsigned columns_of(const struct head_scan *hs)
{
	const struct scan *scan = hs->scan;

	return UNIT_TIME | UNIT_SEQ | UNIT_STREAM | UNIT_SEVERITY | UNIT_FLAGS | UNIT_PICK |
	       (scan->columns & SCAN_BODY ? UNIT_BODY : 0) |
	       (scan->columns & SCAN_META || hs->by_row ? UNIT_META : 0) |
	       (scan->columns & SCAN_SOURCE ? UNIT_SOURCE : 0) |
	       (scan->columns & SCAN_TEMPLATE ? UNIT_TEMPLATE : 0);
}

static struct rows rows_of(struct head_scan *hs, size_t picked, unsigned columns)
{
	struct rows rows = unit_rows(&hs->rows, picked, columns);

	rows.streams = (const struct str *)hs->streams.p;
	rows.n_streams = hs->streams.n / sizeof(struct str);
	rows.sources = (const struct str *)hs->sources.p;
	rows.n_sources = hs->sources.n / sizeof(struct str);
	return rows;
}

/* *picked rows of the slice that are there pass everything. */
static int pick(struct head_scan *hs, size_t n, size_t *picked, struct error *e)
{
	struct scan *scan = hs->scan;
	struct unit_limits limits = {
		.from_ns = scan->from_ns,
		.to_ns = scan->to_ns,
		.after_seq = scan->after_seq,
		.until_seq = hs->until_seq,
		.wanted = (const uint8_t *)hs->wanted.p,
		.source = hs->source,
	};
	int r = 0;

	*picked = unit_pick(&hs->rows, n, &limits);
	if (*picked > 0 && scan->n_filters > 0)
		r = unit_filter(&hs->rows, picked, scan->filters, scan->n_filters, e);
	if (r == 0 && *picked > 0 && hs->hidden_of.n > 0)
		*picked = unit_hide(
			&hs->rows, *picked, scan->visibility, &hs->hidden, &hs->hidden_of, true);
	if (r == 0 && *picked > 0 && scan->narrow) {
		struct rows rows = rows_of(hs, *picked,
			columns_of(hs) &
				~(unsigned)(UNIT_BODY | UNIT_META | UNIT_SOURCE | UNIT_TEMPLATE));

		*picked = scan->narrow(scan->ctx, &rows, hs->rows.pick);
	}
	return r;
}

static int read_slice(
	struct head_scan *hs, const struct batch *b, size_t from, size_t n, struct error *e)
{
	struct scan *scan = hs->scan;
	struct rows rows;
	size_t picked;
	int r;

	if ((r = unit_reserve(&hs->rows, n, e)) < 0)
		return r;
	unit_fill(&hs->rows, b, from, n);
	scan->stats.rows += n;
	if ((r = pick(hs, n, &picked, e)) < 0 || picked == 0)
		return r;
	scan->stats.rows_picked += picked;
	rows = rows_of(hs, picked, columns_of(hs));
	if (scan->columns & SCAN_TEMPLATE && (r = find_templates(hs, picked, &rows, e)) < 0)
		return r;
	return scan->rows(scan->ctx, &rows, e);
}

int head_scan_read(struct head_scan *hs, struct error *e)
{
	const struct batch *b = hs->units[hs->at++].batch;
	struct scan *scan = hs->scan;
	uint64_t seq = batch_first_seq(b);
	int r;

	/* Callbacks may have moved the limits closer since the units were listed. */
	if (!unit_overlaps(scan, hs->until_seq, batch_min_time(b), batch_max_time(b), seq,
		    seq + batch_count(b) - 1))
		return 0;
	if ((r = unit_wanted(scan, batch_min_time(b), batch_max_time(b), e)) <= 0)
		return r;
	if (!put_sources(hs, b) || !put_streams(hs, b))
		return 0;
	scan->stats.units_read++;
	scan->stats.bytes_raw += batch_raw_bytes(b);
	for (size_t from = 0; from < batch_count(b); from += SLICE_ROWS) {
		size_t n = batch_count(b) - from;

		n = n < SLICE_ROWS ? n : SLICE_ROWS;
		if ((r = read_slice(hs, b, from, n, e)) != 0)
			return r;
	}
	return 0;
}
