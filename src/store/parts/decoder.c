/* SPDX-License-Identifier: Apache-2.0 */
#include "store/parts/decoder.h"

#include <assert.h>
#include <stdlib.h>

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

/* All lines of the block. */
static int read_lines(struct decoder *d, const struct part_block *b, struct error *e)
{
	for (uint32_t i = 0; i < b->n_rows; i++)
		d->rows.pick[i] = i;
	return lines_get(block_lines(&d->reader), d->rows.pick, b->n_rows, d->rows.body, e);
}

int decoder_read(struct decoder *d, const struct block_request *q, struct error *e)
{
	const struct part_block *b = q->block;
	unsigned columns = UNIT_TIME | UNIT_SEQ | UNIT_STREAM | UNIT_SEVERITY | UNIT_FLAGS |
			   (q->columns & SCAN_META ? UNIT_META : 0) |
			   (q->columns & SCAN_SOURCE ? UNIT_SOURCE : 0);
	unsigned lines = q->columns & SCAN_BODY ? UNIT_BODY : 0;
	int r;

	if ((r = unit_need(&d->rows, b->n_rows, columns | lines | UNIT_PICK, e)) < 0 ||
		(r = block_open(&d->reader, q->part, q->footer, b, e)) < 0 ||
		(r = block_columns(&d->reader, columns, &d->rows, e)) < 0)
		return r;
	return lines ? read_lines(d, b, e) : 0;
}

/* Ahead */

struct ahead {
	pthread_t thread;
	/* Whoever has the turn: the thread while `asked`, else the scan. */
	struct decoder decoder;
	struct block_request request; /* block NULL: nothing to wait for */
	int result;
	struct error error;
	/* Under lock. */
	struct lock lock;
	struct cond changed;
	bool asked, stopping;
};

static void *run(void *arg)
{
	struct ahead *a = arg;

	lock_take(&a->lock);
	for (;;) {
		while (!a->asked && !a->stopping)
			cond_wait(&a->changed, &a->lock);
		if (!a->asked)
			break;
		lock_drop(&a->lock);
		a->result = decoder_read(&a->decoder, &a->request, &a->error);
		lock_take(&a->lock);
		a->asked = false;
		cond_signal(&a->changed);
	}
	lock_drop(&a->lock);
	return NULL;
}

struct ahead *ahead_new(struct account *account)
{
	struct ahead *a = xcalloc(1, sizeof *a);

	decoder_init(&a->decoder, account);
	lock_init(&a->lock);
	cond_init(&a->changed);
	a->thread = thread_start("decode", run, a);
	return a;
}

void ahead_free(struct ahead *a)
{
	if (!a)
		return;
	lock_take(&a->lock);
	a->stopping = true;
	cond_signal(&a->changed);
	lock_drop(&a->lock);
	pthread_join(a->thread, NULL);
	decoder_fini(&a->decoder);
	cond_fini(&a->changed);
	lock_fini(&a->lock);
	free(a);
}

const struct part_block *ahead_block(const struct ahead *a)
{
	return a->request.block;
}

void ahead_ask(struct ahead *a, const struct block_request *q)
{
	assert(!a->request.block && q->block);
	a->request = *q;
	lock_take(&a->lock);
	a->asked = true;
	cond_signal(&a->changed);
	lock_drop(&a->lock);
}

int ahead_wait(struct ahead *a, struct decoder **out, struct error *e)
{
	assert(a->request.block);
	lock_take(&a->lock);
	while (a->asked)
		cond_wait(&a->changed, &a->lock);
	lock_drop(&a->lock);
	a->request.block = NULL;
	*out = &a->decoder;
	if (a->result < 0)
		*e = a->error;
	return a->result;
}
