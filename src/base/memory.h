/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Memory: allocation that cannot fail for small sizes, and accounts that
 * charge what is held for others.
 *
 * Small allocations abort the process when the system has none left.  A size
 * that comes from a peer or a file first passes a named limit or an account.
 * An account has a ceiling and may have a parent, which is charged as well:
 * `memory:` is the root account, the head, the HTTP bodies and each query are
 * its children.
 * Thread rule: accounts are atomic, any thread; the rest is plain malloc.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

void *xmalloc(size_t n);              /* never NULL, n == 0 is fine */
void *xcalloc(size_t n, size_t size); /* zeroed; overflow aborts */
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s); /* NULL stays NULL */

struct account {
	const char *name; /* for sentences and dumps: "head", "query" */
	struct account *parent;
	uint64_t limit; /* bytes; UINT64_MAX for none.  Fixed after init */
	_Atomic uint64_t held;
	_Atomic uint64_t peak;
	_Atomic uint64_t refused;   /* charges that did not fit */
	_Atomic uint64_t uncharged; /* see account_set_uncharged */
};

/* Borrows `name` and `parent` (may be NULL) for its life. */
void account_init(struct account *a, const char *name, uint64_t limit, struct account *parent);
/* Charge n bytes here and in all parents, or nothing at all: ERR_LIMIT. */
int account_charge(struct account *a, uint64_t n);
/* Charge without asking: for what is already there (recovery).  May pass the limit. */
void account_force(struct account *a, uint64_t n);
/* Memory that is held without a charge (stacks, what malloc keeps), as measured: so much less
 * may be charged from now on, but never less than half of the limit. */
void account_set_uncharged(struct account *a, uint64_t n);
/* Give back n bytes that were charged.  a may be NULL. */
void account_release(struct account *a, uint64_t n);
uint64_t account_held(const struct account *a);
/* What could be charged now, by this account and all its parents. */
uint64_t account_room(const struct account *a);
