/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"
#include "base/lock.h"
#include "loop/worker.h"

static void count(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
}

/* A gate that units wait at until the test opens it. */
struct gate {
	struct lock lock;
	struct cond moved;
	int n_waiting;
	bool open;
	struct workers *workers;
	int submitted; /* what a unit got when it submitted another during workers_free */
};

static void wait_at_gate(void *arg)
{
	struct gate *g = arg;

	lock_take(&g->lock);
	g->n_waiting++;
	cond_broadcast(&g->moved);
	while (!g->open)
		cond_wait(&g->moved, &g->lock);
	g->n_waiting--;
	lock_drop(&g->lock);
}

static void gate_init(struct gate *g)
{
	memset(g, 0, sizeof *g);
	lock_init(&g->lock);
	cond_init(&g->moved);
}

static void gate_fini(struct gate *g)
{
	cond_fini(&g->moved);
	lock_fini(&g->lock);
}

static void gate_open(struct gate *g)
{
	lock_take(&g->lock);
	g->open = true;
	cond_broadcast(&g->moved);
	lock_drop(&g->lock);
}

static void gate_wait_for(struct gate *g, int n)
{
	lock_take(&g->lock);
	while (g->n_waiting < n)
		cond_wait(&g->moved, &g->lock);
	lock_drop(&g->lock);
}

static void all_units_are_done(void **state)
{
	struct workers *w = workers_new("pool-with-a-long-name", 3, 100000, 0);
	_Atomic int n = 0;

	for (int i = 0; i < 5000; i++)
		assert_int_equal(workers_submit(w, count, &n), 0);
	workers_free(w);
	assert_int_equal(n, 5000);
	workers_free(NULL);
}

static void a_full_queue_says_so(void **state)
{
	struct workers *w = workers_new("full", 2, 3, 0);
	struct gate g;
	_Atomic int n = 0;

	gate_init(&g);
	/* Two are taken by the threads and three wait, whether or not they have started yet. */
	for (int i = 0; i < 2; i++)
		assert_int_equal(workers_submit(w, wait_at_gate, &g), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(workers_submit(w, count, &n), 0);
	assert_int_equal(workers_submit(w, count, &n), ERR_BUSY);
	gate_wait_for(&g, 2); /* both run at once */
	assert_int_equal(workers_queued(w), 3);
	assert_int_equal(workers_submit(w, count, &n), ERR_BUSY);
	assert_int_equal(n, 0);
	gate_open(&g);
	while (n < 3)
		usleep(100);
	assert_int_equal(workers_queued(w), 0);
	workers_free(w);
	assert_int_equal(n, 3);
	gate_fini(&g);
}

static void no_queue_at_all(void **state)
{
	struct workers *w = workers_new("direct", 1, 0, 0);
	struct gate g;

	gate_init(&g);
	assert_int_equal(workers_submit(w, wait_at_gate, &g), 0);
	assert_int_equal(workers_submit(w, wait_at_gate, &g), ERR_BUSY);
	gate_open(&g);
	workers_free(w);
	gate_fini(&g);
}

static void submit_late(void *arg)
{
	struct gate *g = arg;

	/* Until workers_free has begun. */
	while ((g->submitted = workers_submit(g->workers, wait_at_gate, g)) != ERR_CLOSED)
		usleep(100);
}

static void the_end_refuses_more(void **state)
{
	struct gate g;

	gate_init(&g);
	g.open = true;
	g.workers = workers_new("end", 2, 10, 0);
	assert_int_equal(workers_submit(g.workers, submit_late, &g), 0);
	workers_free(g.workers);
	assert_int_equal(g.submitted, ERR_CLOSED);
	assert_int_equal(g.n_waiting, 0);
	gate_fini(&g);
}

static _Atomic int accepted, done;
static struct workers *shared;

static void note_done(void *arg)
{
	done++;
}

static void *submit_many(void *arg)
{
	for (int i = 0; i < 2000; i++) {
		int r = workers_submit(shared, note_done, NULL);
		assert(r == 0 || r == ERR_BUSY);
		accepted += r == 0;
	}
	return NULL;
}

static void threads_submit_together(void **state)
{
	pthread_t threads[3];

	shared = workers_new("shared", 2, 8, 0);
	for (int i = 0; i < 3; i++)
		threads[i] = thread_start("submitter", submit_many, NULL);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	workers_free(shared);
	assert_int_equal(accepted, done);
	assert_true(done > 0);
}

struct way {
	_Atomic int n, n_bad;
	int priority;
};

static void give_way(void *arg)
{
	struct way *way = arg;

	worker_give_way();
	worker_give_way();
	atomic_fetch_add(&way->n_bad, getpriority(PRIO_PROCESS, 0) <= way->priority);
	atomic_fetch_add(&way->n, 1);
}

static void look_at_way(void *arg)
{
	struct way *way = arg;

	atomic_fetch_add(&way->n_bad, getpriority(PRIO_PROCESS, 0) != way->priority);
	atomic_fetch_add(&way->n, 1);
}

/* Work that gave way does not slow down what comes behind it. */
static void long_work_gives_way(void **state)
{
	int own = getpriority(PRIO_PROCESS, 0);
	struct workers *w = workers_new("test", 2, 1000, own + 3);
	struct way way = {.priority = own + 3};

	for (int i = 0; i < 200; i++)
		assert_int_equal(workers_submit(w, i % 2 ? look_at_way : give_way, &way), 0);
	/* At the end of all a thread that gave way does what is left. */
	while (atomic_load(&way.n) < 200)
		usleep(100);
	workers_free(w);
	assert_int_equal(atomic_load(&way.n_bad), 0);
	worker_give_way(); /* no unit: nothing happens */
	assert_int_equal(getpriority(PRIO_PROCESS, 0), own);
}

static void wait_long_at_gate(void *arg)
{
	worker_give_way();
	wait_at_gate(arg);
}

/* Long units leave their places to short ones, as many as may. */
static void short_work_passes_long(void **state)
{
	struct workers *w = workers_new("test", 2, 1000, 0);
	struct gate g;
	_Atomic int n = 0;

	gate_init(&g);
	for (int i = 0; i < 6 + 1; i++)
		assert_int_equal(workers_submit(w, wait_long_at_gate, &g), 0);
	gate_wait_for(&g, 7);
	for (int i = 0; i < 100; i++)
		assert_int_equal(workers_submit(w, count, &n), 0);
	while (atomic_load(&n) < 100)
		usleep(100);
	/* The eighth keeps its place, and so did the seventh: now all wait. */
	assert_int_equal(workers_submit(w, wait_long_at_gate, &g), 0);
	gate_wait_for(&g, 8);
	assert_int_equal(workers_submit(w, count, &n), 0);
	usleep(20000);
	assert_int_equal(workers_queued(w), 1);
	gate_open(&g);
	workers_free(w);
	assert_int_equal(atomic_load(&n), 101);
	gate_fini(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_units_are_done),
		cmocka_unit_test(a_full_queue_says_so),
		cmocka_unit_test(no_queue_at_all),
		cmocka_unit_test(the_end_refuses_more),
		cmocka_unit_test(threads_submit_together),
		cmocka_unit_test(long_work_gives_way),
		cmocka_unit_test(short_work_passes_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
