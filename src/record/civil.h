/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A civil time as it is written, the calendar behind it, and a cursor that
 * reads its parts.  For the folder's own files.  Pure functions.
 *
 * The readers are inline: they run for every line of every input.
 */
#include "base/str.h"

enum {
	NO_YEAR = -1,        /* the nearest to the observed time */
	NO_DATE = -2,        /* a time of day: of the nearest day */
	NO_ZONE = INT32_MAX, /* the reader's */
};

static const int64_t second_ns = 1000000000, day_s = 86400;

struct civil {
	int year, month, day, hour, minute, second, nanos;
	int zone; /* seconds east of UTC, or NO_ZONE */
};

/* Does the day exist, and the time of the day?  Without a year Feb 29 does. */
bool civil_valid(const struct civil *t);
/* The instant of a valid time, `zone` east of UTC; false when it lies outside what int64 holds. */
bool civil_ns(const struct civil *t, int zone, int64_t *out);
/* The same for NO_YEAR and NO_DATE: the one nearest to the observed time. */
bool civil_nearest(const struct civil *t, int zone, int64_t observed_ns, int64_t *out);
struct civil civil_of(int64_t ns, int zone);

static inline int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static inline void civil_two_digit_year(struct civil *t)
{
	t->year += t->year < 70 ? 2000 : 1900;
}

/* ---- reading parts ---- */

struct cursor {
	const char *p, *end;
};

/* Sets are short and this is asked several times a line: a call of strchr took longer. */
static inline bool one_of(char c, const char *set)
{
	for (; *set; set++)
		if (*set == c)
			return true;
	return false;
}

static inline bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline char peek(const struct cursor *c)
{
	return c->p < c->end ? *c->p : '\0';
}

static inline bool take(struct cursor *c, char wanted)
{
	if (c->p >= c->end || *c->p != wanted)
		return false;
	c->p++;
	return true;
}

/* One of the bytes of `set`; *got may be NULL. */
static inline bool take_any(struct cursor *c, const char *set, char *got)
{
	if (c->p >= c->end || !one_of(*c->p, set))
		return false;
	if (got)
		*got = *c->p;
	c->p++;
	return true;
}

/* Exactly n digits. */
static inline bool number(struct cursor *c, int n, int *out)
{
	int v = 0;

	if (c->end - c->p < n)
		return false;
	for (int i = 0; i < n; i++) {
		if (!is_digit(c->p[i]))
			return false;
		v = v * 10 + c->p[i] - '0';
	}
	c->p += n;
	*out = v;
	return true;
}

/* A day of the month as "1", "01" or " 1". */
static inline bool day_number(struct cursor *c, int *out)
{
	take(c, ' ');
	if (number(c, 2, out))
		return true;
	return number(c, 1, out);
}

/* The digits behind a point; those beyond nanoseconds are read and dropped. */
static inline bool fraction(struct cursor *c, size_t *n_digits, int *nanos)
{
	int v = 0;
	size_t n = 0;

	for (; is_digit(peek(c)); c->p++, n++)
		if (n < 9)
			v = v * 10 + *c->p - '0';
	for (size_t i = n; i < 9; i++)
		v *= 10;
	*n_digits = n;
	*nanos = v;
	return n > 0;
}

/* .digits, or nothing; behind a comma whole groups of three, as "10:00:00,5 rows" goes on with a
 * number, and three behind a colon. */
static inline void optional_fraction(struct cursor *c, struct civil *t)
{
	struct cursor at = *c;
	char point;
	size_t n;

	t->nanos = 0;
	if (take_any(&at, ".,:", &point) && fraction(&at, &n, &t->nanos) &&
		(point == '.' || n == 3 || (point == ',' && (n == 6 || n == 9))))
		*c = at;
	else
		t->nanos = 0;
}

/* hh?mm?ss with the same separator twice. */
static inline bool clock_time(struct cursor *c, char separator, struct civil *t)
{
	return number(c, 2, &t->hour) && take(c, separator) && number(c, 2, &t->minute) &&
	       take(c, separator) && number(c, 2, &t->second) && !is_digit(peek(c));
}

/* +hh:mm, +hhmm, +hh, Z. */
static inline bool zone_digits(struct cursor *c, int *out)
{
	struct cursor at = *c;
	int hours, minutes = 0;
	char sign;

	if (take_any(&at, "Zz", NULL) && !is_alpha(peek(&at)) && !is_digit(peek(&at))) {
		*c = at;
		*out = 0;
		return true;
	}
	at = *c;
	if (!take_any(&at, "+-", &sign) || !number(&at, 2, &hours))
		return false;
	*c = at; /* the hours alone */
	take(&at, ':');
	if (number(&at, 2, &minutes) && !is_digit(peek(&at)))
		*c = at;
	else
		minutes = 0;
	if (is_digit(peek(c)) || hours > 15 || minutes > 59)
		return false;
	*out = (hours * 3600 + minutes * 60) * (sign == '-' ? -1 : 1);
	return true;
}
