/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One queue, one lock, n places, and a thread in each.  A unit that an idle
 * thread is about to take does not count as waiting: with n places and a queue
 * of m, n + m units are accepted, whatever the scheduler does.
 *
 * A thread that gave way can neither take its priority back nor start one that
 * has more.  So a spare thread waits that never ran a unit: it takes the place
 * that becomes free and starts the next spare first.  Who ends joins who ended
 * before, and workers_free the last.
 */
#include "loop/worker.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/error.h"
#include "base/lock.h"
#include "base/memory.h"
#include "os/process.h"

enum { LONG_SHARE = 3 };

struct unit {
	struct unit *next;
	work_fn *fn;
	void *arg;
};

struct workers {
	/* Fixed after workers_new. */
	unsigned n_threads, max_queued;
	int nice;
	char name[16];
	/* Under `lock`. */
	struct lock lock;
	struct cond work;  /* a unit was queued, or the end has come */
	struct cond place; /* one has become free, or the end has come */
	struct cond ended; /* a thread ended */
	struct unit *units, **units_end;
	unsigned n_queued, n_running; /* n_running: in a place */
	unsigned n_placed, n_long;    /* threads with a place, and those that left theirs */
	unsigned n_alive;             /* all, with the spare */
	bool stopping;
	bool has_ended;
	pthread_t last_ended; /* to be joined */
};

/* The pool whose unit runs on this thread, and whether that has left its place. */
static _Thread_local struct workers *own;
static _Thread_local bool has_left;

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

/* The last that a thread does. */
static void *end(struct workers *w) RELEASES(w->lock)
{
	pthread_t before = w->last_ended;
	bool had_ended = w->has_ended;

	w->has_ended = true;
	w->last_ended = pthread_self();
	w->n_alive--;
	cond_signal(&w->ended);
	lock_drop(&w->lock);
	if (had_ended)
		pthread_join(before, NULL);
	return NULL;
}

static void *run(void *arg);

static void start(struct workers *w) REQUIRES(w->lock)
{
	w->n_alive++;
	thread_start(w->name, run, w);
}

/* True when the thread has a place now; false: it is not needed any more. */
static bool take_place(struct workers *w) REQUIRES(w->lock)
{
	while (w->n_placed == w->n_threads && !w->stopping)
		cond_wait(&w->place, &w->lock);
	if (w->n_placed == w->n_threads || (w->stopping && !w->units))
		return false;
	w->n_placed++;
	start(w); /* the next spare */
	return true;
}

static void run_unit(struct workers *w) REQUIRES(w->lock)
{
	struct unit *unit = take_unit(w);

	lock_drop(&w->lock);
	own = w;
	has_left = false;
	unit->fn(unit->arg);
	free(unit);
	own = NULL;
	lock_take(&w->lock);
	if (!has_left)
		w->n_running--;
}

static void *run(void *arg)
{
	struct workers *w = arg;

	if (w->nice)
		setpriority(PRIO_PROCESS, 0, w->nice); /* of this thread alone, on Linux */
	lock_take(&w->lock);
	if (!take_place(w))
		return end(w);
	for (;;) {
		while (!w->units && !w->stopping)
			cond_wait(&w->work, &w->lock);
		if (!w->units)
			break;
		run_unit(w);
		if (has_left) {
			w->n_long--;
			return end(w);
		}
		/* At the end of all it may as well go on. */
		if (thread_gives_way() && !w->stopping)
			break;
	}
	w->n_placed--;
	cond_signal(&w->place);
	return end(w);
}

void worker_give_way(void)
{
	struct workers *w = own;

	if (!w || !thread_give_way())
		return;
	lock_take(&w->lock);
	if (w->n_long < LONG_SHARE * w->n_threads && !w->stopping) {
		has_left = true;
		w->n_long++;
		w->n_running--;
		w->n_placed--;
		cond_signal(&w->place);
	}
	lock_drop(&w->lock);
}

struct workers *workers_new(const char *name, unsigned n_threads, unsigned max_queued, int nice)
{
	struct workers *w = xcalloc(1, sizeof *w);

	assert(n_threads > 0);
	w->n_threads = n_threads;
	w->max_queued = max_queued;
	w->nice = nice;
	w->units_end = &w->units;
	str_copy(str_c(name), w->name, sizeof w->name);
	lock_init(&w->lock);
	cond_init(&w->work);
	cond_init(&w->place);
	cond_init(&w->ended);
	lock_take(&w->lock);
	start(w); /* each that takes a place starts the next */
	lock_drop(&w->lock);
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
	cond_broadcast(&w->place);
	while (w->n_alive > 0)
		cond_wait(&w->ended, &w->lock);
	lock_drop(&w->lock);
	pthread_join(w->last_ended, NULL);
	cond_fini(&w->work);
	cond_fini(&w->place);
	cond_fini(&w->ended);
	lock_fini(&w->lock);
	free(w);
}
