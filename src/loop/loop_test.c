/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/lock.h"
#include "loop/loop.h"

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- posts -------------------------------------------------------------- */

enum { POSTERS = 4, POSTS = 3000 };

struct poster {
	struct loop *loop;
	unsigned sent, seen; /* poster's thread; loop's thread */
	bool wrong;
};

struct message {
	struct poster *from;
	unsigned number;
};

static void take_message(void *arg)
{
	struct message *m = arg;
	struct poster *p = m->from;

	p->wrong |= m->number != p->seen || !loop_is_mine(p->loop);
	p->seen++;
	free(m);
}

static void *post_many(void *arg)
{
	struct poster *p = arg;

	for (; p->sent < POSTS; p->sent++) {
		struct message *m = malloc(sizeof *m);
		*m = (struct message){p, p->sent};
		if (!loop_post(p->loop, take_message, m)) {
			free(m);
			break;
		}
	}
	return NULL;
}

static void posts_run_in_order(void **state)
{
	struct loop *l = loop_new("a-loop-with-a-long-name");
	struct poster posters[POSTERS] = {0};
	pthread_t threads[POSTERS];

	assert_false(loop_is_mine(l));
	loop_start(l);
	assert_false(loop_is_mine(l));
	for (int i = 0; i < POSTERS; i++) {
		posters[i].loop = l;
		threads[i] = thread_start("poster", post_many, &posters[i]);
	}
	for (int i = 0; i < POSTERS; i++)
		pthread_join(threads[i], NULL);
	loop_stop(l);
	for (int i = 0; i < POSTERS; i++) {
		assert_int_equal(posters[i].sent, POSTS);
		assert_int_equal(posters[i].seen, POSTS);
		assert_false(posters[i].wrong);
	}
	loop_free(l);
}

static void never(void *arg)
{
	abort();
}

/* While others still post: what was accepted ran, all else was refused. */
static void stop_runs_what_was_accepted(void **state)
{
	for (int round = 0; round < 20; round++) {
		struct loop *l = loop_new("stop");
		struct poster posters[POSTERS] = {0};
		pthread_t threads[POSTERS];
		loop_start(l);
		for (int i = 0; i < POSTERS; i++) {
			posters[i].loop = l;
			threads[i] = thread_start("poster", post_many, &posters[i]);
		}
		usleep((useconds_t)round * 50);
		loop_stop(l);
		for (int i = 0; i < POSTERS; i++)
			pthread_join(threads[i], NULL);
		for (int i = 0; i < POSTERS; i++) {
			assert_int_equal(posters[i].sent, posters[i].seen);
			assert_false(posters[i].wrong);
		}
		assert_false(loop_post(l, never, NULL));
		loop_stop(l);
		loop_free(l);
	}
}

static void count(void *arg)
{
	++*(int *)arg;
}

static void a_loop_that_never_ran(void **state)
{
	struct loop *l = loop_new("never");
	int n = 0;

	assert_true(loop_post(l, count, &n));
	assert_true(loop_post(l, count, &n));
	assert_int_equal(n, 0);
	loop_free(l);
	assert_int_equal(n, 2);
	loop_free(NULL);
	/* Stopped before it is run: the posts run, and loop_run returns at once. */
	l = loop_new("early");
	assert_true(loop_post(l, count, &n));
	loop_stop(l);
	assert_false(loop_post(l, count, &n));
	loop_run(l);
	assert_int_equal(n, 3);
	loop_free(l);
}

struct chain {
	struct loop *loop;
	int n;
	_Atomic bool done;
};

static void go_on(void *arg)
{
	struct chain *c = arg;

	if (++c->n < 100) {
		bool posted = loop_post(c->loop, go_on, c);
		assert(posted);
	} else {
		loop_stop(c->loop); /* on its own thread: does not wait for itself */
		c->done = true;
	}
}

static void a_loop_may_post_to_and_stop_itself(void **state)
{
	struct chain c = {.loop = loop_new("self")};

	loop_post(c.loop, go_on, &c);
	loop_run(c.loop); /* on this thread */
	assert_int_equal(c.n, 100);
	loop_free(c.loop);
	c = (struct chain){.loop = loop_new("self")};
	loop_post(c.loop, go_on, &c);
	loop_start(c.loop);
	while (!atomic_load(&c.done))
		usleep(100);
	loop_free(c.loop); /* joins */
	assert_int_equal(c.n, 100);
}

/* --- timers ------------------------------------------------------------- */

struct ticker {
	struct loop *loop;
	struct timer timer;
	int n, until;
	int64_t at;
};

static void tick(void *arg)
{
	struct ticker *t = arg;

	t->at = now_ms();
	if (++t->n == t->until) {
		timer_fini(&t->timer); /* inside its own callback */
		loop_stop(t->loop);
	}
}

static void timers_fire(void **state)
{
	struct ticker t = {.loop = loop_new("timers"), .until = 1};
	int64_t start;

	timer_init(&t.timer, t.loop, tick, &t);
	usleep(30000); /* the loop's cached time is old by now */
	start = now_ms();
	timer_set(&t.timer, 20, 0);
	loop_run(t.loop);
	assert_int_equal(t.n, 1);
	assert_true(t.at - start >= 19);
	assert_null(t.timer.uv);
	timer_fini(&t.timer); /* twice */
	loop_free(t.loop);

	t = (struct ticker){.loop = loop_new("timers"), .until = 5};
	timer_init(&t.timer, t.loop, tick, &t);
	start = now_ms();
	timer_set(&t.timer, 1, 4);
	loop_run(t.loop);
	assert_int_equal(t.n, 5);
	assert_true(t.at - start >= 16);
	loop_free(t.loop);
}

static void cleared_timers_do_not_fire(void **state)
{
	struct ticker t = {.loop = loop_new("timers"), .until = 1}, cleared = {.until = 99};
	struct timer none = {0};

	timer_init(&t.timer, t.loop, tick, &t);
	timer_init(&cleared.timer, t.loop, tick, &cleared);
	timer_clear(&cleared.timer); /* not set */
	timer_set(&cleared.timer, 1, 1);
	timer_set(&cleared.timer, 5, 0); /* set again: the last word counts */
	timer_clear(&cleared.timer);
	timer_set(&t.timer, 20, 0);
	loop_run(t.loop);
	assert_int_equal(cleared.n, 0);
	/* One that was not finished: loop_free closes it, and timer_fini after is harmless. */
	timer_set(&cleared.timer, 1000000, 0);
	loop_free(t.loop);
	assert_null(cleared.timer.uv);
	timer_fini(&cleared.timer);
	timer_fini(&none);
	timer_clear(&none);
}

static void free_closes_what_is_left(void **state)
{
	struct loop *l = loop_new("left");
	uv_timer_t timer;
	uv_prepare_t prepare;

	uv_timer_init(loop_uv(l), &timer);
	uv_timer_start(&timer, NULL, 0, 0);
	uv_prepare_init(loop_uv(l), &prepare);
	loop_free(l);
	assert_true(uv_is_closing((uv_handle_t *)&prepare));
}

/* --- backoff ------------------------------------------------------------ */

static void backoff_doubles_with_jitter(void **state)
{
	struct backoff b = {.base_ms = 100, .max_ms = 1000};
	uint64_t low = UINT64_MAX, high = 0;

	for (int round = 0; round < 500; round++) {
		static const uint64_t delays[] = {100, 200, 400, 800, 1000, 1000, 1000};
		for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
			uint64_t d = backoff_next(&b);
			assert_true(d >= delays[i] / 2 && d <= delays[i]);
			if (i == 4) {
				low = d < low ? d : low;
				high = d > high ? d : high;
			}
		}
		backoff_reset(&b);
	}
	assert_true(low < 550 && high > 950); /* spread over the whole range */
	b = (struct backoff){.base_ms = UINT64_MAX / 2 + 1, .max_ms = UINT64_MAX};
	assert_true(backoff_next(&b) >= UINT64_MAX / 4);
	assert_true(backoff_next(&b) >= UINT64_MAX / 2);
	b = (struct backoff){.base_ms = 50, .max_ms = 10};
	assert_true(backoff_next(&b) <= 10);
	b = (struct backoff){.base_ms = 1, .max_ms = 1};
	assert_int_equal(backoff_next(&b), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(posts_run_in_order),
		cmocka_unit_test(stop_runs_what_was_accepted),
		cmocka_unit_test(a_loop_that_never_ran),
		cmocka_unit_test(a_loop_may_post_to_and_stop_itself),
		cmocka_unit_test(timers_fire),
		cmocka_unit_test(cleared_timers_do_not_fire),
		cmocka_unit_test(free_closes_what_is_left),
		cmocka_unit_test(backoff_doubles_with_jitter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
