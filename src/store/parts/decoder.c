/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block is decoded in the order in which rows fall out: limits that its
 * footer does not settle, templates that the filters rule out, the filters, what
 * is hidden.  Only what is left has its other columns read, and only when
 * something is left.
 */
#include "store/parts/decoder.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/process.h"
#include "store/lines/match.h"

static_assert(MATCH_NONE == 0, "verdicts that are zeroed rule all templates out");
static_assert(1 << COLUMN_TIME == UNIT_TIME && 1 << COLUMN_SEQ == UNIT_SEQ &&
		      1 << COLUMN_STREAM == UNIT_STREAM && 1 << COLUMN_SEVERITY == UNIT_SEVERITY &&
		      1 << COLUMN_FLAGS == UNIT_FLAGS && 1 << COLUMN_META == UNIT_META &&
		      1 << COLUMN_SOURCE == UNIT_SOURCE,
	"columns of a unit are those of a block");

void block_task_fini(struct block_task *t)
{
	buf_fini(&t->verdicts);
	buf_fini(&t->hidden_of);
	buf_fini(&t->hidden);
}

void decoder_init(struct decoder *d, struct account *a)
{
	*d = (struct decoder){.rows.account = a};
	block_reader_init(&d->reader, a);
}

void decoder_fini(struct decoder *d)
{
	unit_fini(&d->rows);
	block_reader_fini(&d->reader);
}

void decoder_drop(struct decoder *d)
{
	struct account *a = d->rows.account;

	if (d->rows.cap == 0)
		return;
	decoder_fini(d);
	decoder_init(d, a);
}

static int stopped(const struct decoder *d, struct error *e)
{
	if (d->stop && atomic_load_explicit(d->stop, memory_order_relaxed))
		return error_set(e, ERR_CANCELLED, "the block is not wanted any more");
	return 0;
}

/* Each column once. */
static int columns(struct decoder *d, const struct block_task *t, unsigned wanted, struct error *e)
{
	int r;

	wanted &= ~d->have;
	if (wanted == 0)
		return 0;
	if ((r = unit_need(&d->rows, t->block->n_rows, wanted, e)) < 0 || (r = stopped(d, e)) < 0 ||
		(r = block_columns(&d->reader, wanted, &d->rows, e)) < 0)
		return r;
	d->have |= wanted;
	return 0;
}

static int pick_by_limits(struct decoder *d, const struct block_task *t, struct error *e)
{
	unsigned need = (UNIT_TIME | UNIT_SEQ) & ~t->limits.skip;
	int r;

	if (t->limits.wanted)
		need |= UNIT_STREAM;
	if (t->limits.source)
		need |= UNIT_SOURCE;
	if ((r = unit_need(&d->rows, t->block->n_rows, UNIT_PICK, e)) < 0 ||
		(r = columns(d, t, need, e)) < 0)
		return r;
	/* All rows: lines_filter picks them, if it keeps any. */
	if (!need && t->n_filters > 0 && t->limits.skip & UNIT_TIME && t->limits.skip & UNIT_SEQ) {
		d->n_picked = t->block->n_rows;
		return 0;
	}
	d->n_picked = unit_pick(&d->rows, t->block->n_rows, &t->limits);
	return 0;
}

static int pick_by_lines(struct decoder *d, const struct block_task *t, struct error *e)
{
	const uint8_t *verdicts = (const uint8_t *)t->verdicts.p;
	uint8_t *open = NULL;
	int r;

	if ((r = stopped(d, e)) < 0)
		return r;
	if (t->open_only) {
		open = xcalloc(t->block->n_templates, 1);
		for (uint32_t i = 0; i < t->block->n_templates; i++)
			open[i] = verdicts[i] == MATCH_SOME ? MATCH_SOME : MATCH_NONE;
		verdicts = open;
	}
	r = lines_filter(block_lines(&d->reader), t->filters, t->n_filters, verdicts, d->rows.pick,
		&d->n_picked, e);
	free(open);
	return r;
}

static int spell(struct decoder *d, const struct block_task *t, struct error *e)
{
	int r;

	if ((r = unit_need(&d->rows, t->block->n_rows, UNIT_BODY, e)) < 0 ||
		(r = stopped(d, e)) < 0)
		return r;
	d->spelled += d->n_picked;
	return lines_get(block_lines(&d->reader), d->rows.pick, d->n_picked, d->rows.body, e);
}

static int leave_hidden_out(struct decoder *d, const struct block_task *t, struct error *e)
{
	int r;

	if ((r = columns(d, t, UNIT_TIME | UNIT_SEQ | UNIT_STREAM, e)) < 0 ||
		(t->hidden_lines && (r = spell(d, t, e)) < 0))
		return r;
	d->n_picked = unit_hide(
		&d->rows, d->n_picked, t->visibility, &t->hidden, &t->hidden_of, t->hidden_lines);
	return 0;
}

/* Of every row that is told. */
static unsigned columns_told(const struct block_task *t)
{
	return UNIT_STREAM | UNIT_SEVERITY | UNIT_FLAGS | (t->one_bucket ? 0 : UNIT_TIME) |
	       (t->counting && !(t->columns & SCAN_SEQ) ? 0 : UNIT_SEQ);
}

static int put_templates(struct decoder *d, const struct block_task *t, struct error *e)
{
	const uint16_t *ids;
	int r;

	if ((r = unit_need(&d->rows, t->block->n_rows, UNIT_TEMPLATE, e)) < 0 ||
		(r = lines_templates(block_lines(&d->reader), &ids, e)) < 0)
		return r;
	for (size_t i = 0; i < d->n_picked; i++) {
		uint32_t at = d->rows.pick[i];
		uint16_t id = ids[at];

		d->rows.template[at] =
			id == TEMPLATE_NONE ? ROWS_NO_TEMPLATE : t->block->templates[id - 1];
	}
	return 0;
}

static int pick(struct decoder *d, const struct block_task *t, struct error *e)
{
	int r;

	if ((r = block_open(&d->reader, t->part, t->footer, t->block, e)) < 0 ||
		(r = pick_by_limits(d, t, e)) < 0)
		return r;
	if (d->n_picked > 0 && t->n_filters > 0 && (r = pick_by_lines(d, t, e)) < 0)
		return r;
	if (d->n_picked > 0 && t->hidden_of.n > 0 && (r = leave_hidden_out(d, t, e)) < 0)
		return r;
	if (d->n_picked == 0)
		return 0;
	if ((r = columns(d, t, columns_told(t), e)) < 0)
		return r;
	return t->columns & SCAN_TEMPLATE ? put_templates(d, t, e) : 0;
}

int decoder_pick(struct decoder *d, const struct block_task *t, struct error *e)
{
	uint64_t spelled = lines_figures(block_lines(&d->reader)).spelled;
	int r;

	d->have = 0;
	d->n_picked = 0;
	r = pick(d, t, e);
	if (r == 0 && d->n_picked > 0 && !t->narrow)
		r = decoder_finish(d, t, e);
	d->spelled += lines_figures(block_lines(&d->reader)).spelled - spelled;
	d->bytes_read += block_bytes_read(&d->reader);
	return r;
}

int decoder_finish(struct decoder *d, const struct block_task *t, struct error *e)
{
	unsigned more = (t->columns & SCAN_META ? UNIT_META : 0) |
			(t->columns & SCAN_SOURCE ? UNIT_SOURCE : 0);
	int r;

	if ((r = columns(d, t, more, e)) == 0 && t->columns & SCAN_BODY)
		r = t->lengths ? block_lengths(&d->reader, &d->lengths, e) : spell(d, t, e);
	d->bytes_read += block_bytes_read(&d->reader);
	return r;
}

unsigned decoder_columns(const struct block_task *t, bool finished)
{
	unsigned columns =
		columns_told(t) | UNIT_PICK | (t->columns & SCAN_TEMPLATE ? UNIT_TEMPLATE : 0);

	if (!finished)
		return columns;
	return columns | (t->columns & SCAN_BODY && !t->lengths ? UNIT_BODY : 0) |
	       (t->columns & SCAN_META ? UNIT_META : 0) |
	       (t->columns & SCAN_SOURCE ? UNIT_SOURCE : 0);
}

/* Lanes */

struct lane {
	pthread_t thread;
	bool taken, asked;
	/* Whoever has the turn: the thread while `busy`, else the scan. */
	struct decoder decoder;
	const struct block_task *task;
	int result;
	struct error error;
	_Atomic bool stop;
	/* Under lock. */
	struct lock lock;
	struct cond changed;
	bool busy, ending;
};

struct lanes {
	struct account *account;
	size_t n;      /* that there may be */
	size_t n_made; /* threads that were started */
	struct lane lane[LANES_MAX];
};

/* A scan that takes long is not to slow down what comes in. */
static void look_at_time(void)
{
	if (!thread_gives_way() && clock_thread_ns() >= SCAN_LONG_NS)
		thread_give_way();
}

static void *run(void *arg)
{
	struct lane *lane = arg;

	lock_take(&lane->lock);
	for (;;) {
		while (!lane->busy && !lane->ending)
			cond_wait(&lane->changed, &lane->lock);
		if (!lane->busy)
			break;
		lock_drop(&lane->lock);
		lane->result = decoder_pick(&lane->decoder, lane->task, &lane->error);
		look_at_time();
		lock_take(&lane->lock);
		lane->busy = false;
		cond_signal(&lane->changed);
	}
	lock_drop(&lane->lock);
	return NULL;
}

struct lanes *lanes_new(struct account *a)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	struct lanes *l;

	if (processors < 2)
		return NULL;
	l = xcalloc(1, sizeof *l);
	l->account = a;
	l->n = processors < LANES_MAX ? (size_t)processors : LANES_MAX;
	return l;
}

size_t lanes_count(const struct lanes *l)
{
	return l->n;
}

static void lane_start(struct lane *lane, struct account *a)
{
	decoder_init(&lane->decoder, a);
	lane->decoder.stop = &lane->stop;
	lock_init(&lane->lock);
	cond_init(&lane->changed);
	lane->thread = thread_start("decode", run, lane);
}

static void lane_end(struct lane *lane)
{
	lane_release(lane);
	lock_take(&lane->lock);
	lane->ending = true;
	cond_signal(&lane->changed);
	lock_drop(&lane->lock);
	pthread_join(lane->thread, NULL);
	decoder_fini(&lane->decoder);
	cond_fini(&lane->changed);
	lock_fini(&lane->lock);
}

void lanes_free(struct lanes *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n_made; i++)
		atomic_store(&l->lane[i].stop, true);
	for (size_t i = 0; i < l->n_made; i++)
		lane_end(&l->lane[i]);
	free(l);
}

struct lane *lanes_take(struct lanes *l)
{
	struct lane *lane = NULL;

	for (size_t i = 0; i < l->n_made && !lane; i++)
		if (!l->lane[i].taken)
			lane = &l->lane[i];
	if (!lane && l->n_made < l->n) {
		lane = &l->lane[l->n_made++];
		lane_start(lane, l->account);
	}
	if (lane)
		lane->taken = true;
	return lane;
}

void lane_ask(struct lane *lane, const struct block_task *t)
{
	assert(lane->taken && !lane->asked);
	lane->task = t;
	lane->asked = true;
	atomic_store(&lane->stop, false);
	lock_take(&lane->lock);
	lane->busy = true;
	cond_signal(&lane->changed);
	lock_drop(&lane->lock);
}

int lane_wait(struct lane *lane, struct decoder **out, struct error *e)
{
	assert(lane->asked);
	lock_take(&lane->lock);
	while (lane->busy)
		cond_wait(&lane->changed, &lane->lock);
	lock_drop(&lane->lock);
	lane->asked = false;
	*out = &lane->decoder;
	if (lane->result < 0 && e)
		*e = lane->error;
	return lane->result;
}

void lane_release(struct lane *lane)
{
	struct decoder *d;

	if (lane->asked) {
		atomic_store(&lane->stop, true);
		lane_wait(lane, &d, NULL);
	}
	lane->taken = false;
}
