/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static void *or_die(void *p, size_t n)
{
	if (!p && n) {
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
	return or_die(calloc(n ? n : 1, size ? size : 1), n * size);
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

int account_charge(struct account *a, uint64_t n)
{
	for (struct account *at = a; at; at = at->parent) {
		uint64_t held = atomic_fetch_add(&at->held, n) + n;
		if (held <= at->limit && held >= n) {
			note_peak(at, held);
			continue;
		}
		atomic_fetch_add(&at->refused, 1);
		for (struct account *undo = a;; undo = undo->parent) {
			atomic_fetch_sub(&undo->held, n);
			if (undo == at)
				return ERR_LIMIT;
		}
	}
	return 0;
}

void account_force(struct account *a, uint64_t n)
{
	for (; a; a = a->parent)
		note_peak(a, atomic_fetch_add(&a->held, n) + n);
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
