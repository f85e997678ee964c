/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A growable run of bytes.  One owner; `p` is valid until the next call that
 * may grow it.  A zeroed struct is an empty buffer.
 */
#include <stdarg.h>

#include "base/error.h"
#include "base/str.h"

struct buf {
	char *p;
	size_t n, cap;
};

void buf_fini(struct buf *b);  /* frees; leaves an empty buffer */
void buf_clear(struct buf *b); /* n = 0, memory kept */
/* Make room for n more bytes and return where they go; the caller adds to b->n. */
char *buf_reserve(struct buf *b, size_t n);
void buf_put(struct buf *b, const void *p, size_t n);
void buf_str(struct buf *b, struct str s);
void buf_c(struct buf *b, const char *s);
void buf_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap);
/* Text of `s` inside a JSON string, with the quotes; bytes that are not UTF-8
 * become U+FFFD, so that the output is always valid JSON (RFC 8259). */
void buf_json(struct buf *b, struct str s);
void buf_u64(struct buf *b, uint64_t v); /* decimal */
/* Remove the first n bytes. */
void buf_shift(struct buf *b, size_t n);
/* A terminated string, valid until the next change; the terminator is not counted. */
const char *buf_cstr(struct buf *b);

static inline struct str buf_view(const struct buf *b)
{
	return str_make(b->p, b->n);
}

/* Move the contents out: the caller frees the pointer; b is empty after. */
static inline struct buf buf_take(struct buf *b)
{
	struct buf taken = *b;

	*b = (struct buf){0};
	return taken;
}
