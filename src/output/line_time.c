/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calendar costs most of a line, and records come many to the second: so
 * the text of a second is kept, with the places where fractions stand, and
 * within it only their digits are written anew.
 */
#include "output/line_time.h"

#include <assert.h>
#include <locale.h>
#include <stdio.h>
#include <time.h>

#include "os/clock.h"

enum { PIECES_MAX = 64, WIDTH_MAX = 255 };

/* Text for strftime, a fraction or the seconds since 1970. */
struct piece {
	enum { PIECE_CALENDAR, PIECE_FRACTION, PIECE_EPOCH } kind;
	const char *text;
	int digits;
};

struct fraction {
	size_t at;
	int digits;
};

struct line_time {
	struct piece pieces[PIECES_MAX];
	size_t n_pieces;
	bool utc;
	locale_t c;
	/* The second whose text it is. */
	bool filled;
	int64_t second;
	struct fraction fractions[PIECES_MAX];
	size_t n_fractions, n;
	char text[LINE_TIME_TEXT_MAX + 1];
};

/* ---- compiling ---- */

/* Length of the conversion that s begins with; *type and *width are those of it. */
static int read_conversion(struct str s, size_t *n, char *type, int *width, struct error *e)
{
	static const char types[] = "aAbBcCdDeFfgGhHIjklmMnpPrRsStTuUVwWxXyYzZ+%";
	size_t i = 1;

	*width = 0;
	while (i < s.n && s.p[i] && strchr("_-0^#", s.p[i]))
		i++;
	for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) {
		*width = *width * 10 + s.p[i] - '0';
		if (*width > WIDTH_MAX)
			return error_set(
				e, ERR_LIMIT, "a time of width %d: at most %d", *width, WIDTH_MAX);
	}
	if (i < s.n && (s.p[i] == 'E' || s.p[i] == 'O'))
		i++;
	if (i >= s.n)
		return error_set(
			e, ERR_ARG, "incomplete format of a time: it ends with '%.*s'", STR_ARG(s));
	if (!strchr(types, s.p[i]))
		return error_set(
			e, ERR_ARG, "a time has no '%.*s': see strftime(3)", (int)i + 1, s.p);
	*type = s.p[i];
	*n = i + 1;
	return 0;
}

static int add(struct line_time *t, struct piece piece, struct error *e)
{
	if (t->n_pieces == PIECES_MAX)
		return error_set(
			e, ERR_LIMIT, "more than %d fractions in one time", PIECES_MAX / 2);
	t->pieces[t->n_pieces++] = piece;
	return 0;
}

static int add_calendar(struct line_time *t, struct arena *a, struct str text, struct error *e)
{
	if (text.n == 0)
		return 0;
	/* strftime returns 0 both for nothing and for too much: the last character, which is cut
	 * off again, tells one from the other. */
	return add(
		t, (struct piece){PIECE_CALENDAR, arena_printf(a, "%.*s|", STR_ARG(text)), 0}, e);
}

/* A fraction or an epoch: not for strftime, which has no fractions and takes every time for local
 * in its %s. */
static int add_own(struct line_time *t, char type, size_t n, int width, struct error *e)
{
	if (type == 's')
		return add(t, (struct piece){PIECE_EPOCH, NULL, 0}, e);
	if (n == 2)
		width = 6;
	if (width != 3 && width != 6 && width != 9)
		return error_set(
			e, ERR_ARG, "a fraction of a second is '%%f', '%%3f', '%%6f' or '%%9f'");
	return add(t, (struct piece){PIECE_FRACTION, NULL, width}, e);
}

static int compile(struct line_time *t, struct arena *a, struct str format, struct error *e)
{
	size_t start = 0, i = 0, n = 0;
	int r, width;
	char type = 0;

	while (i < format.n) {
		if (format.p[i] != '%') {
			i++;
			continue;
		}
		r = read_conversion(str_sub(format, i, format.n), &n, &type, &width, e);
		if (r == 0 && (type == 'f' || type == 's')) {
			r = add_calendar(t, a, str_sub(format, start, i), e);
			if (r == 0)
				r = add_own(t, type, n, width, e);
			start = i + n;
		}
		if (r < 0)
			return error_wrap(e, r, "column %zu", i + 1);
		i += n;
	}
	return add_calendar(t, a, str_sub(format, start, format.n), e);
}

int line_time_new(
	struct line_time **out, struct arena *a, const char *datefmt, bool utc, struct error *e)
{
	struct str format = datefmt && *datefmt ? str_c(datefmt) : STR("%Y-%m-%d %H:%M:%S,%3f");
	struct line_time *t;
	int r;

	if (format.n > LINE_TIME_FORMAT_MAX)
		return error_set(e, ERR_LIMIT, "a format of %zu bytes for times: at most %d",
			format.n, LINE_TIME_FORMAT_MAX);
	t = ARENA_NEW(a, struct line_time);
	t->utc = utc;
	if ((r = compile(t, a, format, e)) < 0)
		return r;
	t->c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	assert(t->c);
	*out = t;
	return 0;
}

void line_time_free(struct line_time *t)
{
	if (t)
		freelocale(t->c);
}

/* ---- writing ---- */

static void put(struct line_time *t, struct str s)
{
	if (s.n > LINE_TIME_TEXT_MAX - t->n)
		s.n = LINE_TIME_TEXT_MAX - t->n;
	memcpy(t->text + t->n, s.p, s.n);
	t->n += s.n;
}

static void fill(struct line_time *t, int64_t second)
{
	time_t when = (time_t)second;
	struct tm tm = {0};
	char number[24];
	size_t n;

	if (t->utc)
		gmtime_r(&when, &tm);
	else
		localtime_r(&when, &tm);
	t->n = t->n_fractions = 0;
	for (size_t i = 0; i < t->n_pieces; i++) {
		const struct piece *p = &t->pieces[i];
		switch (p->kind) {
		case PIECE_CALENDAR:
			n = strftime_l(t->text + t->n, sizeof t->text - t->n, p->text, &tm, t->c);
			t->n += n ? n - 1 : 0;
			break;
		case PIECE_FRACTION:
			t->fractions[t->n_fractions++] = (struct fraction){t->n, p->digits};
			put(t, str_make("000000000", (size_t)p->digits));
			break;
		case PIECE_EPOCH:
			snprintf(number, sizeof number, "%lld", (long long)second);
			put(t, str_c(number));
			break;
		}
	}
	t->second = second;
	t->filled = true;
}

/* Digits are cut, not rounded: as Python does, and no record seems to come before its time. */
static void put_fraction(struct line_time *t, const struct fraction *f, uint32_t ns)
{
	static const uint32_t units[] = {1000000, 1000, 1};
	uint32_t v = ns / units[f->digits / 3 - 1];

	for (size_t i = (size_t)f->digits; i-- > 0; v /= 10)
		if (f->at + i < t->n)
			t->text[f->at + i] = (char)('0' + v % 10);
}

struct str line_time_text(struct line_time *t, int64_t ns)
{
	int64_t second = ns / NS_PER_SEC, rest = ns % NS_PER_SEC;

	if (rest < 0) {
		rest += NS_PER_SEC;
		second--;
	}
	if (!t->filled || t->second != second)
		fill(t, second);
	for (size_t i = 0; i < t->n_fractions; i++)
		put_fraction(t, &t->fractions[i], (uint32_t)rest);
	return str_make(t->text, t->n);
}
