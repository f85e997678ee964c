/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

enum { CHUNK = 16 << 10, ALIGN = 16 };

struct arena_chunk {
	struct arena_chunk *next;
	size_t used, size;
	_Alignas(ALIGN) char bytes[];
};

void arena_init(struct arena *a, struct account *account)
{
	*a = (struct arena){.account = account};
}

void arena_clear(struct arena *a)
{
	while (a->chunks) {
		struct arena_chunk *next = a->chunks->next;
		free(a->chunks);
		a->chunks = next;
	}
	account_release(a->account, a->bytes);
	a->bytes = 0;
}

void arena_fini(struct arena *a)
{
	arena_clear(a);
}

void *arena_alloc(struct arena *a, size_t n)
{
	struct arena_chunk *c = a->chunks;
	void *p;

	assert(n < SIZE_MAX / 2);
	n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (!c || c->size - c->used < n) {
		size_t size = n > CHUNK / 4 ? n : CHUNK;
		struct arena_chunk *fresh = xcalloc(1, sizeof *fresh + size);
		fresh->size = size;
		a->bytes += sizeof *fresh + size;
		account_force(a->account, sizeof *fresh + size);
		/* A large one goes behind the first, which may still have room. */
		if (c && size != CHUNK) {
			fresh->next = c->next;
			c->next = fresh;
		} else {
			fresh->next = c;
			a->chunks = fresh;
		}
		c = fresh;
	}
	p = c->bytes + c->used;
	c->used += n;
	return p;
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
	size_t total;
	bool overflow = __builtin_mul_overflow(n, size, &total);

	assert(!overflow);
	return arena_alloc(a, total);
}

struct str arena_str(struct arena *a, struct str s)
{
	return str_make(str_copy(s, arena_alloc(a, s.n + 1), s.n + 1), s.n);
}

char *arena_c(struct arena *a, struct str s)
{
	return (char *)arena_str(a, s).p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	p = arena_alloc(a, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return p;
}
