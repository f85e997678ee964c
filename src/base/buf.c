/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

void buf_fini(struct buf *b)
{
	free(b->p);
	*b = (struct buf){0};
}

void buf_clear(struct buf *b)
{
	b->n = 0;
}

char *buf_reserve(struct buf *b, size_t n)
{
	assert(n < SIZE_MAX / 2 - b->n);
	if (b->cap - b->n < n) {
		size_t cap = b->cap + b->cap / 2;
		if (cap < b->n + n)
			cap = b->n + n;
		if (cap < 64)
			cap = 64;
		b->p = xrealloc(b->p, cap);
		b->cap = cap;
	}
	return b->p + b->n;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
	if (n == 0)
		return;
	memcpy(buf_reserve(b, n), p, n);
	b->n += n;
}

void buf_str(struct buf *b, struct str s)
{
	buf_put(b, s.p, s.n);
}

void buf_c(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s));
}

void buf_char(struct buf *b, char c)
{
	*buf_reserve(b, 1) = c;
	b->n++;
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int n;

	va_copy(again, ap);
	buf_reserve(b, 64);
	n = vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
	assert(n >= 0);
	if ((size_t)n >= b->cap - b->n) {
		buf_reserve(b, (size_t)n + 1);
		vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
	}
	va_end(again);
	b->n += (size_t)n;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

/* Longest prefix that needs neither an escape nor a look at its UTF-8. */
static size_t plain_prefix(struct str s)
{
	size_t i = 0;

	for (; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
			break;
	}
	return i;
}

static void put_escaped(struct buf *b, unsigned char c)
{
	static const char letters[] = "btn?fr";

	if (c == '"' || c == '\\')
		buf_printf(b, "\\%c", c);
	else if (c >= 8 && c <= 13 && c != 11)
		buf_printf(b, "\\%c", letters[c - 8]);
	else
		buf_printf(b, "\\u%04x", c);
}

void buf_json(struct buf *b, struct str s)
{
	buf_reserve(b, s.n + 2);
	buf_char(b, '"');
	while (s.n) {
		size_t n = plain_prefix(s);
		if (n) {
			buf_put(b, s.p, n);
		} else if ((unsigned char)s.p[0] <= 0x7f) {
			put_escaped(b, (unsigned char)s.p[0]);
			n = 1;
		} else if ((n = str_utf8_valid(str_sub(s, 0, 4)))) {
			/* The valid prefix of four bytes holds at least one whole character. */
			size_t one = 1;
			while (one < n && ((unsigned char)s.p[one] & 0xc0) == 0x80)
				one++;
			n = one;
			buf_put(b, s.p, n);
		} else {
			buf_c(b, "\xef\xbf\xbd");
			n = 1;
		}
		s = str_sub(s, n, s.n);
	}
	buf_char(b, '"');
}

void buf_u64(struct buf *b, uint64_t v)
{
	char digits[20];
	int n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while (v /= 10);
	buf_reserve(b, (size_t)n);
	while (n)
		b->p[b->n++] = digits[--n];
}

void buf_shift(struct buf *b, size_t n)
{
	assert(n <= b->n);
	if (n && n < b->n)
		memmove(b->p, b->p + n, b->n - n);
	b->n -= n;
}

const char *buf_cstr(struct buf *b)
{
	*buf_reserve(b, 1) = 0;
	return b->p;
}
