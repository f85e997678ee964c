/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * An event loop (libuv) and its messages.  Handles made on a loop belong to
 * its thread; any other thread reaches them by loop_post alone.
 */
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

struct loop;
typedef void loop_fn(void *arg);

struct loop *loop_new(const char *name); /* not running yet */
/* Run on the calling thread until loop_stop. */
void loop_run(struct loop *l);
/* Run on a thread of its own, named after the loop. */
void loop_start(struct loop *l);
/* Any thread: what was posted before it runs first; joins when loop_start made the thread,
 * unless called on that thread.  Twice is fine. */
void loop_stop(struct loop *l);
/* Stops it when nobody did; closes what handles are left.  Not on its own thread. */
void loop_free(struct loop *l);
/* Any thread: run fn(arg) on the loop, in the order posted.  False after loop_stop: not run.
 * True is a promise: it runs, on a loop that never ran in loop_free. */
bool loop_post(struct loop *l, loop_fn *fn, void *arg);
uv_loop_t *loop_uv(struct loop *l);
bool loop_is_mine(const struct loop *l); /* am I on its thread? */

/* A timer embedded in its owner.  Loop's thread only. */
struct timer {
	uv_timer_t *uv; /* heap: outlives the owner until closed */
	loop_fn *fn;
	void *arg;
};

void timer_init(struct timer *t, struct loop *l, loop_fn *fn, void *arg);
void timer_set(struct timer *t, uint64_t first_ms, uint64_t repeat_ms); /* 0: once */
void timer_clear(struct timer *t);
void timer_fini(struct timer *t); /* zeroed is fine */

/* Retry delays: base doubling to max, each drawn from [d/2, d] (jitter). */
struct backoff {
	uint64_t base_ms, max_ms, next_ms;
};

uint64_t backoff_next(struct backoff *b); /* ms to wait now */
void backoff_reset(struct backoff *b);
