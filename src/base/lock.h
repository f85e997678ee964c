/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Locks and conditions, with clang's thread-safety annotations on functions
 * (`static size_t total(const struct x *) REQUIRES(x->lock);`).  In C the
 * analysis does not reach struct fields: there the grouping comment in the
 * struct is the rule, and ThreadSanitizer the check.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#if defined(__clang__)
#define THREAD_ANNOTATION(x) __attribute__((x))
#else
#define THREAD_ANNOTATION(x)
#endif
#define REQUIRES(...) THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define ACQUIRES(...) THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define RELEASES(...) THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define UNCHECKED     THREAD_ANNOTATION(no_thread_safety_analysis)

struct THREAD_ANNOTATION(capability("mutex")) lock {
	pthread_mutex_t mutex;
};

struct cond {
	pthread_cond_t cond;
};

#define LOCK_INIT                                                                                  \
	{                                                                                          \
		PTHREAD_MUTEX_INITIALIZER                                                          \
	} /* for static locks */

void lock_init(struct lock *l);
void lock_fini(struct lock *l);
void lock_take(struct lock *l) ACQUIRES(*l);
void lock_drop(struct lock *l) RELEASES(*l);

void cond_init(struct cond *c); /* waits by the monotonic clock */
void cond_fini(struct cond *c);
void cond_wait(struct cond *c, struct lock *l) REQUIRES(*l);
/* False when `ns` nanoseconds passed without a signal. */
bool cond_wait_for(struct cond *c, struct lock *l, int64_t ns) REQUIRES(*l);
void cond_signal(struct cond *c);
void cond_broadcast(struct cond *c);

/* The one that threads take besides those of faults: os/stacks.c asks by it what they do. */
#define THREAD_STACK_SIGNAL SIGURG

/* Start a named thread (the first 15 bytes of its name show); aborts when the system has none. */
pthread_t thread_start(const char *name, void *(*run)(void *), void *arg);
