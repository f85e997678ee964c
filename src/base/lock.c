/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lock.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "base/str.h"

void lock_init(struct lock *l)
{
	pthread_mutex_init(&l->mutex, NULL);
}

void lock_fini(struct lock *l)
{
	pthread_mutex_destroy(&l->mutex);
}

void lock_take(struct lock *l) UNCHECKED
{
	int r = pthread_mutex_lock(&l->mutex);
	assert(r == 0);
}

void lock_drop(struct lock *l) UNCHECKED
{
	int r = pthread_mutex_unlock(&l->mutex);
	assert(r == 0);
}

void cond_init(struct cond *c)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->cond, &attr);
	pthread_condattr_destroy(&attr);
}

void cond_fini(struct cond *c)
{
	pthread_cond_destroy(&c->cond);
}

void cond_wait(struct cond *c, struct lock *l)
{
	pthread_cond_wait(&c->cond, &l->mutex);
}

bool cond_wait_for(struct cond *c, struct lock *l, int64_t ns)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	/* A time before that of the clock's origin would be an error, and look like a signal. */
	if (ns < 0)
		ns = 0;
	until.tv_sec += ns / 1000000000;
	until.tv_nsec += ns % 1000000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	return pthread_cond_timedwait(&c->cond, &l->mutex, &until) != ETIMEDOUT;
}

void cond_signal(struct cond *c)
{
	pthread_cond_signal(&c->cond);
}

void cond_broadcast(struct cond *c)
{
	pthread_cond_broadcast(&c->cond);
}

pthread_t thread_start(const char *name, void *(*run)(void *), void *arg)
{
	/* A fault is for the thread that made it: blocked, it would end the process without
	 * the crash report. */
	static const int faults[] = {
		SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS, THREAD_STACK_SIGNAL};
	pthread_t thread;
	char short_name[16];
	sigset_t blocked, old;
	int r;

	/* Other signals go to the main thread alone, where the loop reads them. */
	sigfillset(&blocked);
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
		sigdelset(&blocked, faults[i]);
	pthread_sigmask(SIG_SETMASK, &blocked, &old);
	r = pthread_create(&thread, NULL, run, arg);
	assert(r == 0);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	/* A longer name would be refused whole. */
	pthread_setname_np(thread, str_copy(str_c(name), short_name, sizeof short_name));
	return thread;
}
