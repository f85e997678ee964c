/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A view of bytes: any bytes, not terminated, owned by somebody else.
 * Valid for the call it is passed to unless a header says longer.
 * Functions are pure: any thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *p;
	size_t n;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_INIT(literal)                                                                          \
	{                                                                                          \
		"" literal, sizeof(literal) - 1                                                    \
	} /* for static initialisers */
#define STR_NONE ((struct str){NULL, 0})
/* For printf: "%.*s", STR_ARG(s). */
#define STR_ARG(s) (int)((s).n > 1 << 20 ? 1 << 20 : (s).n), (s).p ? (s).p : ""

static inline struct str str_make(const void *p, size_t n)
{
	return (struct str){p, n};
}

/* The view of a terminated string, without its terminator; NULL is empty. */
static inline struct str str_c(const char *s)
{
	return (struct str){s, s ? strlen(s) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_eq_c(struct str a, const char *b)
{
	return str_eq(a, str_c(b));
}

/* Terminated strings: the same text, or both NULL. */
static inline bool str_same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Order of unsigned bytes, shorter first: <0, 0, >0. */
int str_cmp(struct str a, struct str b);
bool str_eq_nocase(struct str a, struct str b); /* ASCII letters alone */
static inline bool str_starts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq(str_make(s.p, prefix.n), prefix);
}

bool str_ends(struct str s, struct str suffix);
/* Index of the first `needle` in `s`, or -1; an empty needle is at 0. */
ptrdiff_t str_find(struct str s, struct str needle);
/* Index of byte c, or -1. */
ptrdiff_t str_chr(struct str s, char c);
/* s[from..to), clamped to s. */
static inline struct str str_sub(struct str s, size_t from, size_t to)
{
	if (to > s.n)
		to = s.n;
	if (from > to)
		from = to;
	/* NULL + 0 is undefined in C. */
	return str_make(s.p ? s.p + from : NULL, to - from);
}

struct str str_trim(struct str s); /* ASCII white space at both ends */
/* Cut *rest at the first c: returns what stands before it, *rest is what
 * follows; without c returns all, and *rest becomes {NULL, 0}. */
struct str str_cut(struct str *rest, char c);
/* A whole decimal number and nothing else; false leaves *out alone.  Overflow is false. */
bool str_u64(struct str s, uint64_t *out);
bool str_i64(struct str s, int64_t *out);
bool str_double(struct str s, double *out); /* at most 63 bytes; no inf, nan or 0x */
/* Copy into `out` with a terminator, cut to fit; returns `out`. */
char *str_copy(struct str s, char *out, size_t size);
/* A terminated copy on the heap: the caller frees it. */
char *str_dup(struct str s);
/* Length of the longest prefix that is valid UTF-8 (RFC 3629). */
size_t str_utf8_valid(struct str s);
/* Levenshtein distance, at most `limit` (returned when larger); for "did you mean". */
unsigned str_distance(struct str a, struct str b, unsigned limit);
