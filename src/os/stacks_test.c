/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/lock.h"
#include "os/stacks.h"

/* It keeps signals from threads that are blocked: these are told of as the kernel sees them. */
#if defined(__SANITIZE_THREAD__)
#define SIGNALS_ARE_KEPT 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SIGNALS_ARE_KEPT 1
#endif
#endif
#ifndef SIGNALS_ARE_KEPT
#define SIGNALS_ARE_KEPT 0
#endif

static _Atomic bool ended;
static struct lock held = LOCK_INIT;

static __attribute__((noinline)) void spin_in_here(void)
{
	while (!atomic_load(&ended))
		usleep(1000);
}

static void *spin(void *arg)
{
	spin_in_here();
	return NULL;
}

static __attribute__((noinline)) void wait_for_a_lock(void)
{
	lock_take(&held);
	lock_drop(&held);
}

static void *wait_run(void *arg)
{
	wait_for_a_lock();
	return NULL;
}

static void *deaf(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	spin_in_here();
	return NULL;
}

/* Holds malloc's locks most of the time. */
static void *allocate(void *arg)
{
	while (!atomic_load(&ended))
		for (size_t i = 1; i < 100; i++)
			free(malloc(i * 1000));
	return NULL;
}

static bool has(const struct buf *b, const char *text)
{
	return str_find(buf_view(b), str_c(text)) >= 0;
}

static void tells_names_and_stacks(void **state)
{
	pthread_t threads[3];
	struct buf out = {0};

	atomic_store(&ended, false);
	lock_take(&held);
	threads[0] = thread_start("spinner", spin, NULL);
	threads[1] = thread_start("waiter", wait_run, NULL);
	threads[2] = thread_start("deaf", deaf, NULL);
	usleep(100000);
	stacks_dump(&out);
	assert_true(has(&out, "threads: "));
	assert_true(has(&out, "spinner\n"));
	assert_true(has(&out, "waiter\n"));
	assert_true(SIGNALS_ARE_KEPT || has(&out, "spin_in_here+0x"));
	assert_true(has(&out, SIGNALS_ARE_KEPT ? "does not answer" : "wait_for_a_lock+0x"));
	assert_true(has(&out, "takes no signals: S (sleeping)"));
	/* Its own. */
	assert_true(has(&out, "tells_names_and_stacks+0x"));
	atomic_store(&ended, true);
	lock_drop(&held);
	for (size_t i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	buf_fini(&out);
}

static void *dump_often(void *arg)
{
	struct buf out = {0};

	for (int i = 0; i < 20; i++) {
		buf_clear(&out);
		stacks_dump(&out);
	}
	buf_fini(&out);
	return NULL;
}

static void never_deadlocks(void **state)
{
	pthread_t threads[6];

	atomic_store(&ended, false);
	for (size_t i = 0; i < 4; i++)
		threads[i] = thread_start("allocate", allocate, NULL);
	for (size_t i = 4; i < 6; i++)
		threads[i] = thread_start("dump", dump_often, NULL);
	dump_often(NULL);
	for (size_t i = 4; i < 6; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&ended, true);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

/* Nobody asked: what else sends the signal is harmless. */
static void takes_the_signal_alone(void **state)
{
	raise(THREAD_STACK_SIGNAL);
	kill(getpid(), THREAD_STACK_SIGNAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_names_and_stacks),
		cmocka_unit_test(never_deadlocks),
		cmocka_unit_test(takes_the_signal_alone),
	};

	stacks_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
