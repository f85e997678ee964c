/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  setenv("TZ") and tzset belong to the whole process, so a second
 * zone beside the host's is read here: the 64-bit block of a TZif file is a
 * sorted list of moments and the offset from each on; behind the last one the
 * footer's rule holds ("CET-1CEST,M3.5.0,M10.5.0/3").
 *
 *   header v1 | block of 32-bit times | header v2 | block of 64-bit times | \n footer \n
 *   header: "TZif" version 15×0, then six big-endian counts:
 *           isut, isstd, leap, time, type, char
 *
 * Source: RFC 8536; the rule's form is POSIX's TZ.
 */
#include "record/zone.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/memory.h"
#include "os/fs.h"

enum {
	TZIF_MAX = 256 << 10,
	HEADER = 44,
	TRANSITIONS_MAX = 10000,
	DAY_S = 86400,
	OFFSET_MAX_S = 26 * 3600, /* RFC 8536: -25 h to 26 h */
};

/* When a year's change is: "M3.5.0/2", "J60", "59". */
struct change {
	char kind; /* 'M', 'J' or 'n' */
	int month, week, day;
	int time_s; /* of the local day */
};

static const int64_t second_ns = 1000000000;

struct transition {
	int64_t at_s;
	int offset;
};

struct zone {
	int first; /* before the first transition; all there is of a fixed offset */
	struct transition *transitions;
	size_t n;
	bool rule; /* holds behind the last transition */
	bool summer;
	int standard_s, summer_s;
	struct change begin, end; /* of summer time */
};

/* The rule. */

static bool read_number(struct str *s, int max, int *out)
{
	size_t n = 0;

	*out = 0;
	while (n < s->n && s->p[n] >= '0' && s->p[n] <= '9' && n < 4)
		*out = *out * 10 + (s->p[n++] - '0');
	*s = str_sub(*s, n, s->n);
	return n > 0 && *out <= max;
}

static bool skip_char(struct str *s, char c)
{
	if (s->n == 0 || s->p[0] != c)
		return false;
	*s = str_sub(*s, 1, s->n);
	return true;
}

/* [+-]hh[:mm[:ss]] */
static bool read_time(struct str *s, int *out)
{
	int sign = skip_char(s, '-') ? -1 : (skip_char(s, '+'), 1);
	int hours, minutes = 0, seconds = 0;

	if (!read_number(s, 167, &hours) || (skip_char(s, ':') && !read_number(s, 59, &minutes)) ||
		(s->n && s->p[0] == ':' && skip_char(s, ':') && !read_number(s, 59, &seconds)))
		return false;
	*out = sign * (hours * 3600 + minutes * 60 + seconds);
	return true;
}

static bool skip_name(struct str *s)
{
	size_t n = 0;

	if (skip_char(s, '<')) {
		while (n < s->n && s->p[n] != '>')
			n++;
		*s = str_sub(*s, n, s->n);
		return skip_char(s, '>') && n > 0;
	}
	while (n < s->n && ((s->p[n] | 32) >= 'a' && (s->p[n] | 32) <= 'z'))
		n++;
	*s = str_sub(*s, n, s->n);
	return n > 0;
}

static bool read_change(struct str *s, struct change *out)
{
	*out = (struct change){.kind = 'n', .time_s = 2 * 3600};
	if (!skip_char(s, ','))
		return false;
	if (skip_char(s, 'M')) {
		out->kind = 'M';
		if (!read_number(s, 12, &out->month) || out->month == 0 || !skip_char(s, '.') ||
			!read_number(s, 5, &out->week) || out->week == 0 || !skip_char(s, '.') ||
			!read_number(s, 6, &out->day))
			return false;
	} else {
		if (skip_char(s, 'J'))
			out->kind = 'J';
		if (!read_number(s, 365, &out->day) || (out->kind == 'J' && out->day == 0))
			return false;
	}
	return !skip_char(s, '/') || read_time(s, &out->time_s);
}

static bool read_rule(struct zone *z, struct str s)
{
	int west;

	if (!skip_name(&s) || !read_time(&s, &west) || abs(west) > OFFSET_MAX_S)
		return false;
	z->standard_s = -west;
	z->rule = true;
	if (s.n == 0)
		return true;
	z->summer = true;
	z->summer_s = z->standard_s + 3600;
	if (!skip_name(&s))
		return false;
	if (s.n && s.p[0] != ',') {
		if (!read_time(&s, &west) || abs(west) > OFFSET_MAX_S)
			return false;
		z->summer_s = -west;
	}
	return read_change(&s, &z->begin) && read_change(&s, &z->end) && s.n == 0;
}

/* Days since 1970-01-01 of the first day of a month (1-12; Hinnant's formula). */
static int64_t days_of(int64_t year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static int64_t year_of(int64_t days)
{
	int64_t year = 1970 + floor_div(days * 400, 146097);

	while (days_of(year, 1, 1) > days)
		year--;
	while (days_of(year + 1, 1, 1) <= days)
		year++;
	return year;
}

/* Local seconds since 1970 of a change in a year. */
static int64_t change_at(const struct change *c, int64_t year)
{
	bool leap = days_of(year, 3, 1) - days_of(year, 2, 28) == 2;
	int64_t day = days_of(year, 1, 1);

	if (c->kind == 'M') {
		int64_t next =
			c->month == 12 ? days_of(year + 1, 1, 1) : days_of(year, c->month + 1, 1);
		int64_t weekday;

		day = days_of(year, c->month, 1);
		weekday = ((day + 4) % 7 + 7) % 7; /* the epoch was a Thursday */
		day += (c->day - weekday + 7) % 7 + 7 * (c->week - 1);
		while (day >= next)
			day -= 7;
	} else if (c->kind == 'J') {
		day += c->day - 1 + (leap && c->day >= 60);
	} else {
		day += c->day;
	}
	return day * DAY_S + c->time_s;
}

static int rule_offset(const struct zone *z, int64_t s)
{
	int64_t year, begin, end;
	bool is_summer;

	if (!z->summer)
		return z->standard_s;
	year = year_of(floor_div(s + z->standard_s, DAY_S));
	begin = change_at(&z->begin, year) - z->standard_s;
	end = change_at(&z->end, year) - z->summer_s;
	is_summer = begin < end ? s >= begin && s < end : s >= begin || s < end;
	return is_summer ? z->summer_s : z->standard_s;
}

/* TZif. */

static int64_t big_endian(const char *p, size_t n)
{
	uint64_t v = (p[0] & 0x80) ? UINT64_MAX : 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | (uint8_t)p[i];
	return (int64_t)v;
}

struct tzif {
	uint32_t n_isut, n_isstd, n_leap, n_time, n_type, n_char;
	size_t data; /* bytes behind the header, with times of `width` */
};

static bool read_header(struct str bytes, size_t at, size_t width, struct tzif *out)
{
	uint32_t *counts[] = {&out->n_isut, &out->n_isstd, &out->n_leap, &out->n_time, &out->n_type,
		&out->n_char};

	if (at > bytes.n || bytes.n - at < HEADER || memcmp(bytes.p + at, "TZif", 4) != 0)
		return false;
	for (size_t i = 0; i < 6; i++) {
		*counts[i] = (uint32_t)big_endian(bytes.p + at + 20 + i * 4, 4);
		if (*counts[i] > TRANSITIONS_MAX)
			return false;
	}
	out->data = out->n_time * width + out->n_time + out->n_type * 6ul + out->n_char +
		    out->n_leap * (width + 4) + out->n_isstd + out->n_isut;
	return out->data <= bytes.n - at - HEADER && out->n_type > 0;
}

static bool read_block(struct zone *z, struct str bytes, size_t at, const struct tzif *h)
{
	const char *times = bytes.p + at + HEADER, *kinds = times + h->n_time * 8ul;
	const char *types = kinds + h->n_time;

	z->first = (int)big_endian(types, 4);
	z->transitions = xcalloc(h->n_time, sizeof(*z->transitions));
	for (z->n = 0; z->n < h->n_time; z->n++) {
		struct transition *t = &z->transitions[z->n];
		uint8_t kind = (uint8_t)kinds[z->n];

		if (kind >= h->n_type)
			return false;
		t->at_s = big_endian(times + z->n * 8, 8);
		t->offset = (int)big_endian(types + kind * 6ul, 4);
		if (abs(t->offset) > OFFSET_MAX_S || (z->n > 0 && t->at_s <= t[-1].at_s))
			return false;
	}
	return abs(z->first) <= OFFSET_MAX_S;
}

int zone_from_tzif(struct zone **out, struct str bytes, struct error *e)
{
	struct zone *z = xcalloc(1, sizeof(*z));
	struct tzif h;
	struct str footer;
	size_t at;

	if (!read_header(bytes, 0, 4, &h) || bytes.p[4] < '2')
		goto bad;
	at = HEADER + h.data;
	if (!read_header(bytes, at, 8, &h) || !read_block(z, bytes, at, &h))
		goto bad;
	footer = str_sub(bytes, at + HEADER + h.data, bytes.n);
	if (skip_char(&footer, '\n')) {
		footer = str_cut(&footer, '\n');
		if (footer.n && !read_rule(z, footer))
			goto bad;
	}
	*out = z;
	return 0;
bad:
	zone_free(z);
	return error_set(e, ERR_CORRUPT, "no TZif file of version 2 or later");
}

/* [+-]hh[:]mm */
static bool read_fixed(struct str s, int *out)
{
	int sign, hours, minutes;
	const char *p = s.p;

	if (s.n == 6 && p[3] == ':')
		minutes = 4;
	else if (s.n == 5)
		minutes = 3;
	else
		return false;
	for (size_t i = 1; i < s.n; i++) {
		if ((p[i] < '0' || p[i] > '9') && !(i == 3 && s.n == 6))
			return false;
	}
	if (p[0] != '+' && p[0] != '-')
		return false;
	sign = p[0] == '-' ? -1 : 1;
	hours = (p[1] - '0') * 10 + p[2] - '0';
	minutes = (p[minutes] - '0') * 10 + p[minutes + 1] - '0';
	*out = sign * (hours * 3600 + minutes * 60);
	return hours <= 18 && minutes <= 59;
}

/* No way out of the folder of zones, and nothing odd. */
static bool name_safe(struct str name)
{
	if (name.n == 0 || name.n > 200 || name.p[0] == '/' || str_find(name, STR("..")) >= 0)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] <= ' ' || name.p[i] >= 0x7f)
			return false;
	}
	return true;
}

int zone_new(struct zone **out, struct str name, struct error *e)
{
	const char *dir = secure_getenv("TZDIR");
	struct buf path = {0}, bytes = {0};
	int fixed = 0, r;

	if (str_eq(name, STR("UTC")) || str_eq(name, STR("Z")) || read_fixed(name, &fixed)) {
		*out = xcalloc(1, sizeof(**out));
		(*out)->first = fixed;
		return 0;
	}
	if (!name_safe(name))
		return error_set(e, ERR_ARG,
			"\"%.*s\" is no time zone: a name as Europe/Berlin, UTC or +hh:mm",
			STR_ARG(name));
	buf_printf(&path, "%s/%.*s", dir && *dir ? dir : "/usr/share/zoneinfo", STR_ARG(name));
	r = fs_read_all(fs_real(), buf_cstr(&path), TZIF_MAX, &bytes, e);
	if (r >= 0 && (r = zone_from_tzif(out, buf_view(&bytes), e)) < 0)
		error_wrap(e, r, "%s", buf_cstr(&path));
	if (r < 0)
		r = error_wrap(e, ERR_ARG,
			"\"%.*s\" is no time zone that this host knows (is tzdata installed?)",
			STR_ARG(name));
	buf_fini(&path);
	buf_fini(&bytes);
	return r;
}

void zone_free(struct zone *z)
{
	if (!z)
		return;
	free(z->transitions);
	free(z);
}

int zone_offset(const struct zone *z, int64_t ns)
{
	int64_t s = floor_div(ns, second_ns);
	size_t low = 0, high = z->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (z->transitions[middle].at_s <= s)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == z->n && z->rule)
		return rule_offset(z, s);
	return low == 0 ? z->first : z->transitions[low - 1].offset;
}
