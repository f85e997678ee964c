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
	if (b->cap - b->n < n || !b->p) {
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

/* Longest prefix that needs no escape. */
static size_t plain_prefix(struct str s)
{
	size_t i = 0;

	while (i < s.n && (unsigned char)s.p[i] >= 0x20 && s.p[i] != '"' && s.p[i] != '\\')
		i++;
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

static void put_valid(struct buf *b, struct str s)
{
	while (s.n) {
		size_t n = plain_prefix(s);
		buf_put(b, s.p, n);
		if (n < s.n)
			put_escaped(b, (unsigned char)s.p[n++]);
		s = str_sub(s, n, s.n);
	}
}

void buf_json(struct buf *b, struct str s)
{
	buf_reserve(b, s.n + 2);
	buf_char(b, '"');
	/* Each round validates up to the next bad byte alone, so the whole is one pass. */
	while (s.n) {
		size_t valid = str_utf8_valid(s);
		put_valid(b, str_sub(s, 0, valid));
		if (valid < s.n) {
			buf_c(b, "\xef\xbf\xbd");
			valid++;
		}
		s = str_sub(s, valid, s.n);
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
