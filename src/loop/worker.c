/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One queue, one lock, n threads.  A unit that an idle thread is about to take
 * does not count as waiting: with n threads and a queue of m, n + m units are
 * accepted, whatever the scheduler does.
 */
#include "loop/worker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/lock.h"
#include "base/memory.h"

struct unit {
	struct unit *next;
	work_fn *fn;
	void *arg;
};

struct workers {
	/* Fixed after workers_new. */
	unsigned n_threads, max_queued;
	/* Under `lock`. */
	struct lock lock;
	struct cond work; /* a unit was queued, or the end has come */
	struct unit *units, **units_end;
	unsigned n_queued, n_running;
	bool stopping;
	/* Maker's thread only. */
	pthread_t threads[];
};

static struct unit *take_unit(struct workers *w) REQUIRES(w->lock)
{
	struct unit *unit = w->units;

	w->units = unit->next;
	if (!w->units)
		w->units_end = &w->units;
	w->n_queued--;
	w->n_running++;
	return unit;
}

static void *run(void *arg)
{
	struct workers *w = arg;

	lock_take(&w->lock);
	for (;;) {
		struct unit *unit;
		while (!w->units && !w->stopping)
			cond_wait(&w->work, &w->lock);
		if (!w->units)
			break;
		unit = take_unit(w);
		lock_drop(&w->lock);
		unit->fn(unit->arg);
		free(unit);
		lock_take(&w->lock);
		w->n_running--;
	}
	lock_drop(&w->lock);
	return NULL;
}

struct workers *workers_new(const char *name, unsigned n_threads, unsigned max_queued)
{
	struct workers *w = xcalloc(1, sizeof *w + n_threads * sizeof *w->threads);
	char thread_name[32];

	assert(n_threads > 0);
	w->n_threads = n_threads;
	w->max_queued = max_queued;
	w->units_end = &w->units;
	lock_init(&w->lock);
	cond_init(&w->work);
	for (unsigned i = 0; i < n_threads; i++) {
		snprintf(thread_name, sizeof thread_name, "%.11s-%u", name, i);
		w->threads[i] = thread_start(thread_name, run, w);
	}
	return w;
}

int workers_submit(struct workers *w, work_fn *fn, void *arg)
{
	struct unit *unit = xmalloc(sizeof *unit);
	int r = 0;

	*unit = (struct unit){.fn = fn, .arg = arg};
	lock_take(&w->lock);
	if (w->stopping)
		r = ERR_CLOSED;
	else if (w->n_queued + w->n_running >= (uint64_t)w->n_threads + w->max_queued)
		r = ERR_BUSY;
	if (r == 0) {
		*w->units_end = unit;
		w->units_end = &unit->next;
		w->n_queued++;
		cond_signal(&w->work);
	}
	lock_drop(&w->lock);
	if (r < 0)
		free(unit);
	return r;
}

unsigned workers_queued(struct workers *w)
{
	unsigned n;

	lock_take(&w->lock);
	n = w->n_queued;
	lock_drop(&w->lock);
	return n;
}

void workers_free(struct workers *w)
{
	if (!w)
		return;
	lock_take(&w->lock);
	w->stopping = true;
	cond_broadcast(&w->work);
	lock_drop(&w->lock);
	for (unsigned i = 0; i < w->n_threads; i++)
		pthread_join(w->threads[i], NULL);
	cond_fini(&w->work);
	lock_fini(&w->lock);
	free(w);
}
