/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A pool of threads for units of work that may block: queries, part building. */
#include <stdint.h>

struct workers;
typedef void work_fn(void *arg);

struct workers *workers_new(const char *name, unsigned n_threads, unsigned max_queued);
/* ERR_BUSY when all threads work and max_queued more units wait, ERR_CLOSED once
 * workers_free has begun.  Any thread. */
int workers_submit(struct workers *w, work_fn *fn, void *arg);
/* Finish what is queued, end the threads, free. */
void workers_free(struct workers *w);
unsigned workers_queued(struct workers *w);
