/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * An arena: many small allocations that live and die with one unit of work
 * (a query, a config load).  One thread at a time.  Nothing is freed singly;
 * what it hands out is valid until arena_fini or arena_clear.
 */
#include <stddef.h>

#include "base/error.h"
#include "base/str.h"

struct account;
struct arena_chunk;

struct arena {
	struct arena_chunk *chunks;
	struct account *account; /* charged by chunk when not NULL, beyond its limit too */
	size_t bytes;            /* of all chunks */
};

void arena_init(struct arena *a, struct account *account);
void arena_fini(struct arena *a);
void arena_clear(struct arena *a);
/* Zeroed, aligned to 16 bytes. */
void *arena_alloc(struct arena *a, size_t n);
void *arena_array(struct arena *a, size_t n, size_t size); /* an overflow aborts */
struct str arena_str(struct arena *a, struct str s); /* a copy, terminated beyond its length */
char *arena_c(struct arena *a, struct str s);        /* the same as a terminated string */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);

#define ARENA_NEW(a, type)      ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_array((a), (n), sizeof(type)))
