/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A pool of threads for units of work that may block: queries, part building.
 *
 * A unit that turns out to be long gives way (worker_give_way): its thread
 * runs with little priority from then on and leaves its place in the pool to
 * another, so that neither what is urgent in the process nor the short units
 * behind it wait for it.  As many long units as there are places, and
 * LONG_SHARE times as many more, run at once; beyond that they keep theirs.
 */
#include <stdint.h>

struct workers;
typedef void work_fn(void *arg);

/* Threads of the niceness `nice` (nice(2)); 0: that of the caller. */
struct workers *workers_new(const char *name, unsigned n_threads, unsigned max_queued, int nice);
/* ERR_BUSY when all threads work and max_queued more units wait, ERR_CLOSED once
 * workers_free has begun.  Any thread. */
int workers_submit(struct workers *w, work_fn *fn, void *arg);
/* Finish what is queued, end the threads, free. */
void workers_free(struct workers *w);
unsigned workers_queued(struct workers *w);
/* For the unit that runs on this thread; elsewhere it does nothing. */
void worker_give_way(void);
