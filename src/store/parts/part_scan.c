/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scanning a set of parts in order.
 *
 * A heap holds what may come next, by key.  At first these are whole parts,
 * by the span of their summary.  A part that comes to the front is opened: its
 * streams are asked for once, and the blocks that may match take its place.
 * So a scan that ends early has opened only the parts it needed, and memory
 * holds the footers of the parts it is in the middle of.
 *
 * Decoding is most of a scan's time, so a scan that goes on for more than a few
 * blocks decodes two at a time: while this thread is at one, another is at the
 * one that now comes next.  Rows are handed on by this thread alone and in
 * order; a block whose turn never comes was decoded in vain.
 */
#include <assert.h>
#include <stdlib.h>

#include "store/parts/decoder.h"
#include "store/parts/part_set.h"
#include "store/unit.h"

enum { AHEAD_AFTER = 4 }; /* blocks */

struct item {
	uint64_t key;
	uint32_t part;
	uint32_t block; /* 1 + index; 0 for a part that is not opened yet */
};

/* A part in the middle of the scan. */
struct open_part {
	const struct part_footer *footer; /* NULL while not opened, and when done */
	uint8_t *wanted;                  /* by stream */
	struct str *streams, *sources;
	uint32_t source; /* the scan's, 0 for any */
	uint32_t blocks_left;
	uint64_t charged;
};

struct part_scan {
	const struct part_set *set;
	struct scan *scan;
	uint64_t until_seq;
	struct open_part *open; /* by index of the set */
	struct item *heap;
	size_t n, cap;
	struct decoder own;
	struct ahead *ahead; /* NULL while, or when, there is none */
	bool alone;          /* memory has no room for it */
};

/* The heap */

static bool before(const struct item *a, const struct item *b)
{
	if (a->key != b->key)
		return a->key < b->key;
	return a->part != b->part ? a->part < b->part : a->block < b->block;
}

static void push(struct part_scan *ps, struct item item)
{
	size_t i = ps->n++;

	if (ps->n > ps->cap) {
		ps->cap = ps->cap ? ps->cap * 2 : 64;
		ps->heap = xrealloc(ps->heap, ps->cap * sizeof *ps->heap);
	}
	for (; i > 0 && before(&item, &ps->heap[(i - 1) / 2]); i = (i - 1) / 2)
		ps->heap[i] = ps->heap[(i - 1) / 2];
	ps->heap[i] = item;
}

static struct item pop(struct part_scan *ps)
{
	struct item top = ps->heap[0], last = ps->heap[--ps->n];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= ps->n)
			break;
		if (child + 1 < ps->n && before(&ps->heap[child + 1], &ps->heap[child]))
			child++;
		if (!before(&ps->heap[child], &last))
			break;
		ps->heap[i] = ps->heap[child];
		i = child;
	}
	ps->heap[i] = last;
	return top;
}

/* Opening parts */

static void close_part(struct part_scan *ps, uint32_t index)
{
	struct open_part *op = &ps->open[index];

	if (!op->footer)
		return;
	part_release(ps->set->parts[index]);
	free(op->wanted);
	free(op->streams);
	free(op->sources);
	account_release(ps->scan->account, op->charged);
	*op = (struct open_part){0};
}

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

/* Which streams pass.  False when none does. */
static bool ask_streams(const struct part_scan *ps, struct open_part *op, uint32_t tenant)
{
	const struct part_footer *f = op->footer;
	const struct scan *scan = ps->scan;
	size_t n_wanted = 0;

	for (size_t i = 0; i < f->n_streams; i++) {
		const struct part_stream *s = &f->streams[i];

		op->streams[i] = s->labels;
		op->wanted[i] = s->tenant == tenant && s->max_ns >= scan->from_ns &&
				s->min_ns < scan->to_ns &&
				(!scan->want_stream || scan->want_stream(scan->ctx, s->labels));
		n_wanted += op->wanted[i];
	}
	for (size_t i = 0; i < f->n_sources; i++)
		op->sources[i] = f->sources[i].id;
	return n_wanted > 0;
}

static bool any_wanted(const struct open_part *op, const struct part_block *b)
{
	uint32_t i = 0, k = 0;

	while (i < b->n_streams && !op->wanted[b->streams[i]])
		i++;
	while (op->source && k < b->n_sources && b->sources[k] != op->source - 1)
		k++;
	return i < b->n_streams && (!op->source || k < b->n_sources);
}

static void push_blocks(struct part_scan *ps, uint32_t index)
{
	struct open_part *op = &ps->open[index];
	struct scan *scan = ps->scan;

	for (size_t i = 0; i < op->footer->n_blocks; i++) {
		const struct part_block *b = &op->footer->blocks[i];

		if (!any_wanted(op, b) || !unit_overlaps(scan, ps->until_seq, b->min_ns, b->max_ns,
						  b->min_seq, b->max_seq))
			continue;
		push(ps, (struct item){unit_key(scan->order, b->min_ns, b->max_ns, b->min_seq),
				 index, (uint32_t)i + 1});
		op->blocks_left++;
		scan->stats.units++;
	}
}

/* Put the blocks of a part that may match into the heap. */
static int open_part(struct part_scan *ps, uint32_t index, struct error *e)
{
	struct open_part *op = &ps->open[index];
	struct scan *scan = ps->scan;
	const struct part_footer *f;
	uint32_t tenant;
	struct error damage;
	uint64_t bytes;
	int r;

	if (part_load(ps->set->parts[index], &f, &damage) < 0) {
		scan_warn(scan, "%s; its %llu records are left out", damage.text,
			(unsigned long long)ps->set->parts[index]->summary.n_rows);
		return 0;
	}
	op->footer = f;
	if (!find_tenant(f, scan->tenant, &tenant) ||
		(scan->source.n > 0 && !find_source(f, tenant, scan->source, &op->source))) {
		close_part(ps, index);
		return 0;
	}
	bytes = f->n_streams * (sizeof *op->streams + 1) + f->n_sources * sizeof *op->sources +
		f->n_blocks * sizeof(struct item);
	if ((r = scan_charge(scan->account, bytes, e)) < 0) {
		close_part(ps, index);
		return r;
	}
	op->charged = bytes;
	op->wanted = xmalloc(f->n_streams);
	op->streams = xmalloc(f->n_streams * sizeof *op->streams);
	op->sources = xmalloc(f->n_sources * sizeof *op->sources);
	if (ask_streams(ps, op, tenant))
		push_blocks(ps, index);
	if (op->blocks_left == 0)
		close_part(ps, index);
	return 0;
}

/* The scan */

int part_scan_begin(const struct part_set *set, struct scan *scan, uint64_t until_seq,
	struct part_scan **out, struct error *e)
{
	struct part_scan *ps = xcalloc(1, sizeof *ps);

	ps->set = set;
	ps->scan = scan;
	ps->until_seq = until_seq;
	decoder_init(&ps->own, scan->account);
	ps->open = xcalloc(set->n, sizeof *ps->open);
	for (size_t i = 0; i < set->n; i++) {
		const struct part_summary *s = &set->parts[i]->summary;

		if (unit_overlaps(scan, until_seq, s->min_ns, s->max_ns, s->first_seq, s->last_seq))
			push(ps, (struct item){
					 unit_key(scan->order, s->min_ns, s->max_ns, s->first_seq),
					 (uint32_t)i, 0});
	}
	*out = ps;
	return 0;
}

int part_scan_peek(struct part_scan *ps, uint64_t *key, struct error *e)
{
	while (ps->n > 0 && ps->heap[0].block == 0) {
		int r;

		if (ps->scan->cancel && atomic_load(ps->scan->cancel))
			return error_set(e, ERR_CANCELLED, "the scan was cancelled");
		if ((r = open_part(ps, pop(ps).part, e)) < 0)
			return r;
	}
	if (ps->n == 0)
		return 0;
	*key = ps->heap[0].key;
	return 1;
}

static int deliver(struct part_scan *ps, struct decoder *d, const struct open_part *op,
	const struct part_block *b, struct error *e)
{
	struct scan *scan = ps->scan;
	struct unit_limits limits = {
		.from_ns = scan->from_ns,
		.to_ns = scan->to_ns,
		.after_seq = scan->after_seq,
		.until_seq = ps->until_seq,
		.wanted = op->wanted,
		.source = op->source,
	};
	struct rows rows;
	size_t picked = unit_pick(&d->rows, b->n_rows, &limits);
	int r;

	if (picked > 0 && scan->n_filters > 0 &&
		(r = unit_filter(&d->rows, &picked, scan->filters, scan->n_filters, e)) < 0)
		return r;
	rows = unit_rows(&d->rows, picked, UNIT_ALL);
	rows.template = NULL;
	rows.streams = op->streams;
	rows.n_streams = op->footer->n_streams;
	rows.sources = op->sources;
	rows.n_sources = op->footer->n_sources;
	if (picked > 0 && scan->narrow)
		rows.n = picked = scan->narrow(scan->ctx, &rows, d->rows.pick);
	scan->stats.rows_picked += picked;
	return picked > 0 ? scan->rows(scan->ctx, &rows, e) : 0;
}

static struct block_request request(const struct part_scan *ps, struct item item)
{
	const struct open_part *op = &ps->open[item.part];

	return (struct block_request){
		.part = ps->set->parts[item.part],
		.footer = op->footer,
		.block = &op->footer->blocks[item.block - 1],
		.columns = ps->scan->columns | (op->source ? SCAN_SOURCE : 0) |
			   (ps->scan->n_filters > 0 ? SCAN_BODY : 0),
	};
}

/* Have the block decoded that comes next as things are now.  Not for scans that have read
 * little and may end soon, nor where a second set of buffers might take the memory that the
 * answer needs; 128 MB of lines on two processors: 67 -> 40 ms. */
static void look_ahead(struct part_scan *ps)
{
	struct account *a = ps->scan->account;
	struct block_request next;

	if (ps->alone || !a || ps->scan->stats.units_read < AHEAD_AFTER || ps->n == 0 ||
		ps->heap[0].block == 0 || (ps->ahead && ahead_block(ps->ahead)) ||
		(!ps->ahead && account_held(a) > a->limit / 4))
		return;
	if (!ps->ahead)
		ps->ahead = ahead_new(a);
	next = request(ps, ps->heap[0]);
	ahead_ask(ps->ahead, &next);
}

static void go_alone(struct part_scan *ps)
{
	ahead_free(ps->ahead);
	ps->ahead = NULL;
	ps->alone = true;
}

/* Here or, when it was asked for, over there: *out has its rows.  Memory that is too small for
 * two is left to one. */
static int decode(
	struct part_scan *ps, const struct block_request *q, struct decoder **out, struct error *e)
{
	int r;

	if (ps->ahead && ahead_block(ps->ahead) == q->block) {
		r = ahead_wait(ps->ahead, out, e);
	} else {
		look_ahead(ps);
		*out = &ps->own;
		r = decoder_read(&ps->own, q, e);
	}
	if (r == ERR_LIMIT && ps->ahead) {
		go_alone(ps);
		*out = &ps->own;
		r = decoder_read(&ps->own, q, e);
	}
	ps->scan->stats.bytes_read += block_bytes_read(&(*out)->reader);
	return r;
}

static int read_block(struct part_scan *ps, struct item item, struct error *e)
{
	struct block_request q = request(ps, item);
	struct scan *scan = ps->scan;
	struct decoder *d;
	struct error damage;
	int r = unit_wanted(scan, q.block->min_ns, q.block->max_ns, e);

	if (r <= 0) {
		if (ps->ahead && ahead_block(ps->ahead) == q.block)
			ahead_wait(ps->ahead, &d, &damage);
		return r;
	}
	scan->stats.units_read++;
	r = decode(ps, &q, &d, &damage);
	if (r == ERR_LIMIT)
		return error_set(e, r, "%s", damage.text);
	if (r < 0) {
		scan_warn(scan, "part %s, block %u: %s; its %u records are left out", q.part->path,
			item.block - 1, damage.text, q.block->n_rows);
		return 0;
	}
	scan->stats.rows += q.block->n_rows;
	scan->stats.bytes_raw += q.block->raw_bytes;
	return deliver(ps, d, &ps->open[item.part], q.block, e);
}

int part_scan_read(struct part_scan *ps, struct error *e)
{
	struct item item = pop(ps);
	int r;

	assert(item.block > 0);
	r = read_block(ps, item, e);
	if (--ps->open[item.part].blocks_left == 0)
		close_part(ps, item.part);
	return r;
}

void part_scan_end(struct part_scan *ps)
{
	if (!ps)
		return;
	/* First: it reads by the footers of open parts. */
	ahead_free(ps->ahead);
	for (size_t i = 0; i < ps->set->n; i++)
		close_part(ps, (uint32_t)i);
	decoder_fini(&ps->own);
	free(ps->open);
	free(ps->heap);
	free(ps);
}

/* Sets */

struct part_set *part_set_new(struct part *const *parts, size_t n)
{
	struct part_set *set = xmalloc(sizeof *set + n * sizeof(struct part *));

	set->refs = 1;
	set->n = n;
	if (n > 0)
		memcpy(set->parts, parts, n * sizeof(struct part *));
	return set;
}

struct part_set *part_set_ref(struct part_set *set)
{
	atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
	return set;
}

void part_set_unref(struct part_set *set)
{
	if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (size_t i = 0; i < set->n; i++)
		part_unref(set->parts[i]);
	free(set);
}

int part_set_streams(const struct part_set *set, struct str tenant, int64_t from_ns, int64_t to_ns,
	void (*stream)(void *ctx, struct str labels), void *ctx, struct error *e)
{
	for (size_t i = 0; i < set->n; i++) {
		const struct part_summary *s = &set->parts[i]->summary;
		const struct part_footer *f;
		uint32_t index;

		/* A damaged part is told by the scans that want its records. */
		if (s->max_ns < from_ns || s->min_ns >= to_ns ||
			part_load(set->parts[i], &f, NULL) < 0)
			continue;
		if (find_tenant(f, tenant, &index))
			for (size_t k = 0; k < f->n_streams; k++)
				if (f->streams[k].tenant == index &&
					f->streams[k].max_ns >= from_ns &&
					f->streams[k].min_ns < to_ns)
					stream(ctx, f->streams[k].labels);
		part_release(set->parts[i]);
	}
	return 0;
}
