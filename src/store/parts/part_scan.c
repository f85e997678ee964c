/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scanning a set of parts in order.
 *
 * A heap holds what may come next, by key.  At first these are whole parts,
 * by the span of their summary.  A part that comes to the front is opened, and
 * the blocks that may match take its place.  So a scan that ends early has
 * opened only the parts it needed, and memory holds the footers of the parts it
 * is in the middle of.
 *
 * Blocks leave the heap through a short window, in order.  What their footer
 * decides never enters it (excluded) or takes no time there (counted).  A scan
 * that goes on has the others decoded in lanes, threads that work on the blocks
 * of the window while this thread hands on the first of them: rows are handed on
 * by this thread alone.
 */
#include <assert.h>
#include <stdlib.h>

#include "store/parts/open_part.h"
#include "store/parts/part_set.h"

enum {
	/* Blocks that are read before lanes are used: a scan for a few lines, which chooses its
	 * rows, may end with any. */
	LANES_AFTER = 1,
	LANES_AFTER_CHOICE = 2,
	ROOM_SHARE = 6,
};

struct item {
	uint64_t key;
	uint32_t part;
	uint32_t block; /* 1 + index; 0 for a part that is not opened yet */
};

/* A block in the window. */
struct slot {
	struct item item;
	enum block_fate fate;
	struct block_task task;
	struct lane *lane; /* that was asked; NULL: to be decoded here */
};

struct part_scan {
	const struct part_set *set;
	struct scan *scan;
	uint64_t until_seq;
	struct open_part *open; /* by index of the set */
	struct item *heap;
	size_t n, cap;
	struct slot window[LANES_MAX]; /* a ring */
	size_t first, n_window;
	struct block_counts counts;
	struct map verdicts; /* of the filters, by the template's key */
	struct decoder own;
	struct lanes *lanes;
	bool alone; /* memory or processors have no room for them */
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

static void block_done(struct part_scan *ps, struct item item)
{
	struct open_part *op = &ps->open[item.part];

	if (--op->blocks_left == 0)
		open_part_end(op, ps->scan);
}

/* Callbacks may lower it. */
static uint64_t seq_limit(const struct part_scan *ps)
{
	uint64_t asked = ps->scan->until_seq;

	return asked > 0 && asked < ps->until_seq ? asked : ps->until_seq;
}

static bool block_overlaps(const struct part_scan *ps, const struct part_block *b)
{
	return unit_overlaps(ps->scan, seq_limit(ps), b->min_ns, b->max_ns, b->min_seq, b->max_seq);
}

/* Put the blocks of a part that may match into the heap. */
static int open_part(struct part_scan *ps, uint32_t index, struct error *e)
{
	struct part *p = ps->set->parts[index];
	struct open_part *op = &ps->open[index];
	const struct part_summary *s = &p->summary;
	struct scan *scan = ps->scan;
	struct error damage = {0};
	int r;

	/* Callbacks may have moved the limits closer since it was listed. */
	if (!unit_overlaps(scan, seq_limit(ps), s->min_ns, s->max_ns, s->first_seq, s->last_seq))
		return 0;
	if ((r = unit_wanted(scan, s->min_ns, s->max_ns, e)) <= 0)
		return r;
	scan->stats.parts_opened++;
	r = open_part_begin(op, p, scan, &ps->verdicts, &damage);
	if (r == ERR_LIMIT)
		return error_set(e, r, "%s", damage.text);
	if (r < 0)
		scan_warn(scan, "%s; its %llu records are left out", damage.text,
			(unsigned long long)s->n_rows);
	if (r <= 0)
		return 0;
	for (size_t i = 0; i < op->footer->n_blocks; i++) {
		const struct part_block *b = &op->footer->blocks[i];

		if (!block_overlaps(ps, b))
			continue;
		push(ps, (struct item){unit_key(scan->order, b->min_ns, b->max_ns, b->min_seq),
				 index, (uint32_t)i + 1});
		op->blocks_left++;
		scan->stats.units++;
	}
	if (op->blocks_left == 0)
		open_part_end(op, scan);
	return 0;
}

/* The window */

static struct slot *slot_at(struct part_scan *ps, size_t i)
{
	return &ps->window[(ps->first + i) % LANES_MAX];
}

/* A block comes out of the heap: into the window, if anything is to be done for it. */
static void admit(struct part_scan *ps, struct item item)
{
	struct open_part *op = &ps->open[item.part];
	const struct part_block *b = &op->footer->blocks[item.block - 1];
	struct slot *slot = slot_at(ps, ps->n_window);
	enum block_fate fate = BLOCK_NOT_WANTED;

	assert(ps->n_window < LANES_MAX);
	if (block_overlaps(ps, b))
		fate = open_part_decide(op, ps->scan, seq_limit(ps), b, &slot->task, &ps->counts);
	ps->scan->stats.units_excluded += fate == BLOCK_EXCLUDED;
	if (fate == BLOCK_NOT_WANTED || fate == BLOCK_EXCLUDED) {
		block_done(ps, item);
		return;
	}
	slot->item = item;
	slot->fate = fate;
	slot->lane = NULL;
	ps->n_window++;
}

/* Take the next thing out of the heap. */
static int advance(struct part_scan *ps, struct error *e)
{
	struct item item = pop(ps);

	if (ps->scan->cancel && atomic_load_explicit(ps->scan->cancel, memory_order_relaxed)) {
		if (item.block > 0)
			block_done(ps, item);
		return error_set(e, ERR_CANCELLED, "the scan was cancelled");
	}
	if (item.block == 0)
		return open_part(ps, item.part, e);
	admit(ps, item);
	return 0;
}

/* What decoding it may take.  Lanes leave several times as much to the answer and to others: a
 * ceiling of 128 MiB has no room for two blocks whose lines are all put together. */
static uint64_t estimate(const struct part_scan *ps, const struct slot *slot)
{
	const struct part_block *b = slot->task.block;
	bool lines = slot->fate >= BLOCK_ROWS && ps->scan->columns & SCAN_BODY && !ps->scan->narrow;

	return b->raw_bytes * (lines ? 2 : 1) + (uint64_t)b->n_rows * 48;
}

static bool reads(const struct slot *slot)
{
	return slot->fate == BLOCK_READ || slot->fate == BLOCK_ROWS || slot->fate == BLOCK_MIXED;
}

static void ask_lane(struct part_scan *ps, struct slot *slot)
{
	struct account *a = ps->scan->account;

	/* A few plain lines take less than waking somebody. */
	if (!reads(slot) || (slot->fate == BLOCK_MIXED && !slot->task.some) || slot->lane ||
		account_room(a) / ROOM_SHARE < estimate(ps, slot))
		return;
	if (!ps->lanes && !(ps->lanes = lanes_new(a))) {
		ps->alone = true;
		return;
	}
	if ((slot->lane = lanes_take(ps->lanes)))
		lane_ask(slot->lane, &slot->task);
}

/* Not for scans that have read little and may end soon. */
static bool use_lanes(const struct part_scan *ps)
{
	const struct scan *scan = ps->scan;

	return !ps->alone && scan->account &&
	       scan->stats.units_read >= (scan->narrow ? LANES_AFTER_CHOICE : LANES_AFTER);
}

/* Have the blocks decoded that come next as things are now. */
static int look_ahead(struct part_scan *ps, struct error *e)
{
	int r;

	if (!use_lanes(ps))
		return 0;
	for (size_t i = 0; i < ps->n_window; i++)
		ask_lane(ps, slot_at(ps, i));
	while (!ps->alone && ps->n > 0 &&
		ps->n_window < (ps->lanes ? lanes_count(ps->lanes) : LANES_MAX)) {
		size_t before = ps->n_window;

		if ((r = advance(ps, e)) < 0)
			return r;
		if (ps->n_window > before)
			ask_lane(ps, slot_at(ps, before));
	}
	return 0;
}

/* Memory is too small for several blocks at a time. */
static void go_alone(struct part_scan *ps)
{
	for (size_t i = 0; i < ps->n_window; i++)
		slot_at(ps, i)->lane = NULL;
	lanes_free(ps->lanes);
	ps->lanes = NULL;
	ps->alone = true;
}

/* Reading */

static void take_figures(struct part_scan *ps, struct decoder *d)
{
	ps->scan->stats.bytes_read += d->bytes_read;
	ps->scan->stats.lines_spelled += d->spelled;
	d->bytes_read = d->spelled = 0;
}

static int decode(struct part_scan *ps, struct slot *slot, struct decoder **out, struct error *e)
{
	*out = &ps->own;
	if (!slot->lane)
		return decoder_pick(&ps->own, &slot->task, e);
	/* What it holds is rather theirs. */
	decoder_drop(&ps->own);
	return lane_wait(slot->lane, out, e);
}

/* The rows of a block as they are told: *out->n_picked of them. */
static int find_rows(struct part_scan *ps, struct slot *slot, struct decoder **out, struct error *e)
{
	const struct block_task *t = &slot->task;
	struct decoder *d;
	struct rows rows;
	int r = decode(ps, slot, out, e);

	d = *out;
	if (r < 0 || d->n_picked == 0 || !t->narrow || slot->fate != BLOCK_READ)
		return r;
	rows = unit_rows(&d->rows, d->n_picked, decoder_columns(t, false));
	if ((r = open_part_tables(&ps->open[slot->item.part], ps->scan, &rows, e)) < 0)
		return r;
	d->n_picked = ps->scan->narrow(ps->scan->ctx, &rows, d->rows.pick);
	return d->n_picked > 0 ? decoder_finish(d, t, e) : 0;
}

/* Of a block's error: the scan's own, or damage that is told and stepped over. */
static int step_over(
	struct part_scan *ps, const struct slot *slot, int r, struct error *damage, struct error *e)
{
	const struct part_block *b = slot->task.block;

	if (r == ERR_LIMIT || r == ERR_CANCELLED)
		return error_set(e, r, "%s", damage->text);
	scan_warn(ps->scan, "part %s, block %u: %s; its %u records are left out",
		slot->task.part->path, slot->item.block - 1, damage->text, b->n_rows);
	return 0;
}

static int tell(struct part_scan *ps, const struct slot *slot, struct decoder *d, struct error *e)
{
	struct scan *scan = ps->scan;
	struct rows rows = unit_rows(&d->rows, d->n_picked, decoder_columns(&slot->task, true));
	int r;

	if ((r = open_part_tables(&ps->open[slot->item.part], scan, &rows, e)) < 0)
		return r;
	scan->stats.rows_picked += d->n_picked;
	return scan->rows(scan->ctx, &rows, e);
}

static int read_rows(struct part_scan *ps, struct slot *slot, struct error *e)
{
	const struct part_block *b = slot->task.block;
	struct scan *scan = ps->scan;
	struct error damage = {0};
	struct decoder *d;
	int r;

	scan->stats.units_read++;
	if ((r = look_ahead(ps, e)) < 0)
		return r;
	r = find_rows(ps, slot, &d, &damage);
	if (r == ERR_LIMIT && ps->lanes) {
		go_alone(ps);
		r = find_rows(ps, slot, &d, &damage);
	}
	take_figures(ps, d);
	if (r < 0)
		return step_over(ps, slot, r, &damage, e);
	scan->stats.rows += slot->fate == BLOCK_MIXED && !slot->task.some ? b->n_plain : b->n_rows;
	scan->stats.bytes_raw += b->raw_bytes;
	if (slot->fate != BLOCK_READ) {
		scan->stats.rows_picked += d->n_picked;
		return open_part_count(&ps->open[slot->item.part], scan, slot->fate, &slot->task, d,
			&ps->counts, e);
	}
	return d->n_picked > 0 ? tell(ps, slot, d, e) : 0;
}

static int read_slot(struct part_scan *ps, struct slot *slot, struct error *e)
{
	const struct part_block *b = slot->task.block;
	struct scan *scan = ps->scan;
	int r;

	if (!block_overlaps(ps, b))
		return 0;
	if ((r = unit_wanted(scan, b->min_ns, b->max_ns, e)) <= 0)
		return r;
	if (reads(slot))
		return read_rows(ps, slot, e);
	scan->stats.units_counted++;
	return open_part_count(
		&ps->open[slot->item.part], scan, slot->fate, &slot->task, NULL, &ps->counts, e);
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
	scan->stats.parts += set->n;
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
	int r;

	while (ps->n_window == 0 && ps->n > 0)
		if ((r = advance(ps, e)) < 0)
			return r;
	if (ps->n_window == 0)
		return 0;
	*key = slot_at(ps, 0)->item.key;
	return 1;
}

int part_scan_read(struct part_scan *ps, struct error *e)
{
	struct slot *slot = slot_at(ps, 0);
	int r;

	assert(ps->n_window > 0);
	r = read_slot(ps, slot, e);
	if (slot->lane)
		lane_release(slot->lane);
	slot->lane = NULL;
	ps->first = (ps->first + 1) % LANES_MAX;
	ps->n_window--;
	block_done(ps, slot->item);
	return r;
}

void part_scan_end(struct part_scan *ps)
{
	if (!ps)
		return;
	/* First: they read by the footers of open parts. */
	lanes_free(ps->lanes);
	for (size_t i = 0; i < ps->set->n; i++)
		open_part_end(&ps->open[i], ps->scan);
	for (size_t i = 0; i < LANES_MAX; i++)
		block_task_fini(&ps->window[i].task);
	block_counts_fini(&ps->counts);
	map_fini(&ps->verdicts);
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

		/* A damaged part is told by the scans that want its records. */
		if (s->max_ns < from_ns || s->min_ns >= to_ns ||
			part_load(set->parts[i], &f, NULL) < 0)
			continue;
		for (size_t k = 0; k < f->n_streams; k++)
			if (str_eq(f->tenants[f->streams[k].tenant], tenant) &&
				f->streams[k].max_ns >= from_ns && f->streams[k].min_ns < to_ns)
				stream(ctx, f->streams[k].labels);
		part_release(set->parts[i]);
	}
	return 0;
}
