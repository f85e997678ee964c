/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static void *or_die(void *p, size_t n)
{
	if (!p) {
		fprintf(stderr, "sawlog: out of memory: %zu bytes\n", n);
		abort();
	}
	return p;
}

void *xmalloc(size_t n)
{
	return or_die(malloc(n ? n : 1), n);
}

void *xcalloc(size_t n, size_t size)
{
	size_t total;

	/* calloc fails on overflow; then the message should not show a wrapped product. */
	if (__builtin_mul_overflow(n, size, &total))
		total = SIZE_MAX;
	return or_die(calloc(n ? n : 1, size ? size : 1), total);
}

void *xrealloc(void *p, size_t n)
{
	return or_die(realloc(p, n ? n : 1), n);
}

char *xstrdup(const char *s)
{
	return s ? or_die(strdup(s), 1) : NULL;
}

void account_init(struct account *a, const char *name, uint64_t limit, struct account *parent)
{
	*a = (struct account){.name = name, .parent = parent, .limit = limit};
}

static void note_peak(struct account *a, uint64_t held)
{
	uint64_t peak = atomic_load_explicit(&a->peak, memory_order_relaxed);

	while (held > peak && !atomic_compare_exchange_weak_explicit(&a->peak, &peak, held,
				      memory_order_relaxed, memory_order_relaxed))
		;
}

static uint64_t limit_now(const struct account *a)
{
	return a->limit - atomic_load_explicit(&a->uncharged, memory_order_relaxed);
}

/* Not by adding first and looking after: a charge that is refused would for a moment
 * make others fail that fit, or by wrapping around let pass others that do not. */
static bool charge_one(struct account *a, uint64_t n)
{
	uint64_t held = atomic_load(&a->held), limit = limit_now(a);

	do
		if (n > limit || held > limit - n)
			return false;
	while (!atomic_compare_exchange_weak(&a->held, &held, held + n));
	return true;
}

int account_charge(struct account *a, uint64_t n)
{
	for (struct account *at = a; at; at = at->parent) {
		if (charge_one(at, n))
			continue;
		atomic_fetch_add(&at->refused, 1);
		for (struct account *undo = a; undo != at; undo = undo->parent)
			atomic_fetch_sub(&undo->held, n);
		return ERR_LIMIT;
	}
	for (struct account *at = a; at; at = at->parent)
		note_peak(at, account_held(at));
	return 0;
}

void account_force(struct account *a, uint64_t n)
{
	for (; a; a = a->parent)
		note_peak(a, atomic_fetch_add(&a->held, n) + n);
}

void account_set_uncharged(struct account *a, uint64_t n)
{
	/* Never more than half.  What is charged can be given back by those who hold it, and is by
	 * and by; what is not may stay for good (arenas that are in pieces), and if it took all
	 * nothing could be charged ever again, which helps nobody: the bytes are there anyway. */
	atomic_store_explicit(
		&a->uncharged, n < a->limit / 2 ? n : a->limit / 2, memory_order_relaxed);
}

void account_release(struct account *a, uint64_t n)
{
	for (; a; a = a->parent) {
		uint64_t held = atomic_fetch_sub(&a->held, n);
		assert(held >= n);
	}
}

uint64_t account_held(const struct account *a)
{
	return atomic_load_explicit(&a->held, memory_order_relaxed);
}

uint64_t account_room(const struct account *a)
{
	uint64_t room = UINT64_MAX;

	for (; a; a = a->parent) {
		uint64_t limit = limit_now(a), held = account_held(a);
		uint64_t here = held < limit ? limit - held : 0;

		room = here < room ? here : room;
	}
	return room;
}
