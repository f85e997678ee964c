/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One libuv loop and a queue of posts under a lock.
 *
 * A post wakes the loop through one uv_async_t; libuv folds several wake-ups
 * into one, so the callback always takes the whole queue.  Stopping is a flag
 * under the same lock: what was posted before it is in the queue and runs,
 * what comes later is refused.  A post that returned true therefore always
 * runs, at the latest in loop_free, and may carry ownership of its argument.
 */
#include "loop/loop.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/str.h"

struct post {
	struct post *next;
	loop_fn *fn;
	void *arg;
};

struct loop {
	/* Fixed after loop_new. */
	char name[16];
	/* Loop's thread only (and the maker's, before and after it runs). */
	uv_loop_t uv;
	uv_async_t wake;
	struct list timers; /* of struct timer_handle */
	/* Under `lock`. */
	struct lock lock;
	struct post *posts, **posts_end;
	bool stopping;
	bool joinable; /* `thread` runs, and nobody joined it yet */
	pthread_t thread;
	/* Atomic: the pthread_t that runs it now, 0 when none does. */
	_Atomic uintptr_t runner;
};

/* The part of a timer that libuv still needs after its owner is gone. */
struct timer_handle {
	uv_timer_t uv;
	struct list node;
	struct timer *owner;
};

static struct post *take_posts(struct loop *l, bool *stopping)
{
	struct post *posts;

	lock_take(&l->lock);
	posts = l->posts;
	l->posts = NULL;
	l->posts_end = &l->posts;
	*stopping = l->stopping;
	lock_drop(&l->lock);
	return posts;
}

static void run_posts(struct post *posts)
{
	while (posts) {
		struct post *next = posts->next;
		posts->fn(posts->arg);
		free(posts);
		posts = next;
	}
}

static void on_wake(uv_async_t *wake)
{
	struct loop *l = wake->data;
	bool stopping;

	/* `stopping` is read with the queue: nothing can be posted after it was set. */
	run_posts(take_posts(l, &stopping));
	if (stopping)
		uv_stop(&l->uv);
}

struct loop *loop_new(const char *name)
{
	struct loop *l = xcalloc(1, sizeof *l);
	int r;

	str_copy(str_c(name), l->name, sizeof l->name);
	lock_init(&l->lock);
	list_init(&l->timers);
	l->posts_end = &l->posts;
	r = uv_loop_init(&l->uv);
	assert(r == 0);
	r = uv_async_init(&l->uv, &l->wake, on_wake);
	assert(r == 0);
	l->wake.data = l;
	return l;
}

void loop_run(struct loop *l)
{
	assert(l->runner == 0);
	l->runner = (uintptr_t)pthread_self();
	uv_run(&l->uv, UV_RUN_DEFAULT);
	l->runner = 0;
}

static void *run_thread(void *arg)
{
	loop_run(arg);
	return NULL;
}

void loop_start(struct loop *l)
{
	lock_take(&l->lock);
	assert(!l->joinable);
	l->thread = thread_start(l->name, run_thread, l);
	l->joinable = true;
	lock_drop(&l->lock);
}

bool loop_is_mine(const struct loop *l)
{
	return l->runner == (uintptr_t)pthread_self();
}

static void join(struct loop *l)
{
	pthread_t thread;
	bool mine;

	lock_take(&l->lock);
	mine = l->joinable;
	l->joinable = false;
	thread = l->thread;
	lock_drop(&l->lock);
	if (mine)
		pthread_join(thread, NULL);
}

void loop_stop(struct loop *l)
{
	lock_take(&l->lock);
	if (!l->stopping) {
		l->stopping = true;
		/* Under the lock, so that nobody touches `wake` once all have seen the flag. */
		uv_async_send(&l->wake);
	}
	lock_drop(&l->lock);
	/* A loop that stops itself is joined by loop_free. */
	if (!loop_is_mine(l))
		join(l);
}

static void free_timer(uv_handle_t *h)
{
	free(h);
}

static void close_handle(uv_handle_t *h, void *arg)
{
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

static void close_timer(struct timer_handle *t)
{
	list_remove(&t->node);
	t->owner->uv = NULL;
	uv_close((uv_handle_t *)&t->uv, free_timer);
}

void loop_free(struct loop *l)
{
	bool stopping;
	int r;

	if (!l)
		return;
	assert(!loop_is_mine(l));
	loop_stop(l);
	/* Only a loop that never ran has any left. */
	run_posts(take_posts(l, &stopping));
	LIST_EACH (node, &l->timers)
		close_timer(CONTAINER(node, struct timer_handle, node));
	uv_walk(&l->uv, close_handle, NULL);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	r = uv_loop_close(&l->uv);
	assert(r == 0);
	lock_fini(&l->lock);
	free(l);
}

bool loop_post(struct loop *l, loop_fn *fn, void *arg)
{
	struct post *post = xmalloc(sizeof *post);
	bool posted;

	*post = (struct post){.fn = fn, .arg = arg};
	lock_take(&l->lock);
	posted = !l->stopping;
	if (posted) {
		bool first = l->posts == NULL;
		*l->posts_end = post;
		l->posts_end = &post->next;
		/* A queue that was not empty has its wake-up on the way. */
		if (first)
			uv_async_send(&l->wake);
	}
	lock_drop(&l->lock);
	if (!posted)
		free(post);
	return posted;
}

uv_loop_t *loop_uv(struct loop *l)
{
	return &l->uv;
}

/* --- timers ------------------------------------------------------------- */

static void on_timer(uv_timer_t *uv)
{
	struct timer *t = CONTAINER(uv, struct timer_handle, uv)->owner;

	t->fn(t->arg);
}

void timer_init(struct timer *t, struct loop *l, loop_fn *fn, void *arg)
{
	struct timer_handle *h = xcalloc(1, sizeof *h);

	uv_timer_init(&l->uv, &h->uv);
	h->owner = t;
	list_append(&l->timers, &h->node);
	*t = (struct timer){.uv = &h->uv, .fn = fn, .arg = arg};
}

void timer_set(struct timer *t, uint64_t first_ms, uint64_t repeat_ms)
{
	/* libuv counts from the time it read at the start of this turn: after a long
	 * callback the timer would be early. */
	uv_update_time(t->uv->loop);
	uv_timer_start(t->uv, on_timer, first_ms, repeat_ms);
}

void timer_clear(struct timer *t)
{
	if (t->uv)
		uv_timer_stop(t->uv);
}

void timer_fini(struct timer *t)
{
	if (t->uv)
		close_timer(CONTAINER(t->uv, struct timer_handle, uv));
	*t = (struct timer){0};
}

/* --- retries ------------------------------------------------------------ */

uint64_t backoff_next(struct backoff *b)
{
	uint64_t d = b->next_ms ? b->next_ms : b->base_ms, draw;

	if (d > b->max_ms)
		d = b->max_ms;
	b->next_ms = d > b->max_ms / 2 ? b->max_ms : d * 2;
	/* Without jitter all clients of a server that died come back in the same moment. */
	hash_random(&draw, sizeof draw);
	return d - draw % (d / 2 + 1);
}

void backoff_reset(struct backoff *b)
{
	b->next_ms = 0;
}
