/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Detection runs for every line that brings no time of its own.  It looks at
 * the starts of the first few tokens alone, and at those that start with a
 * digit or with the letter of a month or day; there it tries the shapes in
 * turn.  A shape is a short function over a cursor: it either reads all of its
 * parts or fails, and then the cursor's copy is thrown away.  A date that does
 * not exist (Feb 30) makes its shape fail.
 */
#include "record/time.h"

#include <stdio.h>
#include <time.h>

enum {
	TOKENS_BEFORE = 4, /* a time may have this many before it */
	HEAD_BYTES = 160,  /* and starts within these */
	NO_YEAR = -1,
	NO_ZONE = INT32_MAX,
};

static const int64_t second_ns = 1000000000, day_s = 86400;

/* A point in time as read: a civil time, and its zone when it has one. */
struct civil {
	int year, month, day, hour, minute, second, nanos;
	int zone; /* seconds east of UTC, or NO_ZONE */
};

struct cursor {
	const char *p, *end;
};

/* ---- calendar ---- */

static bool leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static bool civil_valid(const struct civil *c)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	if (c->month < 1 || c->month > 12 || c->day < 1 || c->hour > 23 || c->minute > 59 ||
		c->second > 60)
		return false;
	/* Without a year Feb 29 is fine: one that has it will be chosen. */
	return c->day <= days[c->month - 1] ||
	       (c->month == 2 && c->day == 29 && (c->year == NO_YEAR || leap(c->year)));
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar; years start in March here, so that
 * the day that leap years add is the last of the year. */
static int64_t days_of(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
	       day_of_year - 719468;
}

/* False when it lies outside what int64 holds. */
static bool civil_ns(const struct civil *c, int zone, int64_t *out)
{
	int64_t s = days_of(c->year, c->month, c->day) * day_s + c->hour * 3600 + c->minute * 60 +
		    c->second - zone;
	int64_t ns;

	/* A negative second and positive nanos: stay in range in between. */
	if (s < 0 && c->nanos) {
		if (__builtin_mul_overflow(s + 1, second_ns, &ns) ||
			__builtin_add_overflow(ns, c->nanos - second_ns, &ns))
			return false;
	} else if (__builtin_mul_overflow(s, second_ns, &ns) ||
		   __builtin_add_overflow(ns, c->nanos, &ns)) {
		return false;
	}
	*out = ns;
	return true;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static struct civil civil_of(int64_t ns, int zone)
{
	int64_t s = floor_div(ns, second_ns), nanos = ns % second_ns;
	int64_t days = floor_div(s + zone, day_s), rest = s + zone - days * day_s;
	int64_t z = days + 719468, era = floor_div(z, 146097), day_of_era = z - era * 146097;
	int64_t year =
		(day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * day_of_year + 2) / 153; /* from March */

	return (struct civil){
		.year = (int)(year + era * 400 + (month >= 10)),
		.month = (int)(month < 10 ? month + 3 : month - 9),
		.day = (int)(day_of_year - (153 * month + 2) / 5 + 1),
		.hour = (int)(rest / 3600),
		.minute = (int)(rest / 60 % 60),
		.second = (int)(rest % 60),
		.nanos = (int)(nanos < 0 ? nanos + second_ns : nanos),
		.zone = zone,
	};
}

int time_local_zone(int64_t ns)
{
	time_t s = (time_t)floor_div(ns, second_ns);
	struct tm tm;

	return localtime_r(&s, &tm) ? (int)tm.tm_gmtoff : 0;
}

/* ---- reading parts ---- */

/* Sets are short and this is asked several times a line: a call of strchr took longer. */
static bool one_of(char c, const char *set)
{
	for (; *set; set++)
		if (*set == c)
			return true;
	return false;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char peek(const struct cursor *c)
{
	return c->p < c->end ? *c->p : '\0';
}

static bool take(struct cursor *c, char wanted)
{
	if (c->p >= c->end || *c->p != wanted)
		return false;
	c->p++;
	return true;
}

/* One of the bytes of `set`; *got may be NULL. */
static bool take_any(struct cursor *c, const char *set, char *got)
{
	if (c->p >= c->end || !one_of(*c->p, set))
		return false;
	if (got)
		*got = *c->p;
	c->p++;
	return true;
}

/* Exactly n digits. */
static bool number(struct cursor *c, int n, int *out)
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
static bool day_number(struct cursor *c, int *out)
{
	take(c, ' ');
	if (number(c, 2, out))
		return true;
	return number(c, 1, out);
}

/* The digits behind a point; those beyond nanoseconds are read and dropped. */
static bool fraction(struct cursor *c, size_t *n_digits, int *nanos)
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

/* [.,]digits, or nothing. */
static void optional_fraction(struct cursor *c, struct civil *t)
{
	struct cursor at = *c;
	size_t n;

	if (take_any(&at, ".,", NULL) && fraction(&at, &n, &t->nanos))
		*c = at;
	else
		t->nanos = 0;
}

/* hh?mm?ss with the same separator twice. */
static bool clock_time(struct cursor *c, char separator, struct civil *t)
{
	return number(c, 2, &t->hour) && take(c, separator) && number(c, 2, &t->minute) &&
	       take(c, separator) && number(c, 2, &t->second) && !is_digit(peek(c));
}

/* +hh:mm, +hhmm, +hh, Z. */
static bool zone(struct cursor *c, int *out)
{
	struct cursor at = *c;
	int hours, minutes = 0;
	char sign;

	if (take_any(&at, "Zz", NULL) && !is_alpha(peek(&at))) {
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

static bool zone_name(struct cursor *c)
{
	struct str rest = str_make(c->p, (size_t)(c->end - c->p));

	if (!str_starts(rest, STR("UTC")) && !str_starts(rest, STR("GMT")))
		return false;
	if (rest.n > 3 && (is_alpha(rest.p[3]) || is_digit(rest.p[3])))
		return false;
	c->p += 3;
	return true;
}

/* A zone right behind the time or behind one blank, where only unmistakable ones count. */
static void optional_zone(struct cursor *c, struct civil *t)
{
	struct cursor at = *c, from;
	int seconds;

	t->zone = NO_ZONE;
	if (zone(&at, &seconds)) {
		t->zone = seconds;
		*c = at;
		return;
	}
	at = *c;
	if (!take(&at, ' '))
		return;
	from = at;
	if (zone_name(&at)) {
		t->zone = 0;
		*c = at;
	} else if (zone(&at, &seconds) && (at.p - from.p >= 5 || at.p - from.p == 1)) {
		t->zone = seconds;
		*c = at;
	}
}

static bool month_name(struct cursor *c, int *out)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	if (c->end - c->p < 3)
		return false;
	for (int i = 0; i < 12; i++) {
		if (memcmp(names + 3 * i, c->p, 3) == 0) {
			*out = i + 1;
			c->p += 3;
			return true;
		}
	}
	return false;
}

static bool day_name(struct cursor *c)
{
	static const char names[] = "MonTueWedThuFriSatSun";

	if (c->end - c->p < 3)
		return false;
	for (int i = 0; i < 7; i++) {
		if (memcmp(names + 3 * i, c->p, 3) == 0) {
			c->p += 3;
			return true;
		}
	}
	return false;
}

/* ---- shapes ---- */

typedef bool shape_reader(struct cursor *c, struct civil *t);

/* 2026-08-21T10:00:00.123+02:00, also with / or . in the date, a blank for the T, hh:mm alone;
 * and 2005-06-03-15.42.50.675872. */
static bool shape_iso(struct cursor *c, struct civil *t)
{
	char separator, between;

	if (!number(c, 4, &t->year) || !take_any(c, "-/.", &separator) ||
		!number(c, 2, &t->month) || !take(c, separator) || !number(c, 2, &t->day) ||
		!take_any(c, "Tt _-", &between))
		return false;
	if (between == '-') {
		if (!clock_time(c, '.', t))
			return false;
	} else if (!number(c, 2, &t->hour) || !take(c, ':') || !number(c, 2, &t->minute) ||
		   is_digit(peek(c))) {
		return false;
	} else if (take(c, ':')) {
		if (!number(c, 2, &t->second) || is_digit(peek(c)))
			return false;
	}
	optional_fraction(c, t);
	optional_zone(c, t);
	return true;
}

/* 20260821T100000.123Z */
static bool shape_iso_basic(struct cursor *c, struct civil *t)
{
	if (!number(c, 4, &t->year) || !number(c, 2, &t->month) || !number(c, 2, &t->day) ||
		!take(c, 'T') || !number(c, 2, &t->hour) || !number(c, 2, &t->minute) ||
		!number(c, 2, &t->second) || is_digit(peek(c)))
		return false;
	optional_fraction(c, t);
	optional_zone(c, t);
	return true;
}

/* 21/Aug/2026:10:00:00 +0000, 21 Aug 2026 10:00:00.123 */
static bool shape_day_first(struct cursor *c, struct civil *t)
{
	char separator;

	if (!(number(c, 2, &t->day) || number(c, 1, &t->day)) || !take_any(c, "/ -", &separator) ||
		!month_name(c, &t->month) || !take(c, separator) || !number(c, 4, &t->year) ||
		!take_any(c, ": ", NULL) || !clock_time(c, ':', t))
		return false;
	optional_fraction(c, t);
	optional_zone(c, t);
	return true;
}

static void two_digit_year(struct civil *t)
{
	t->year += t->year < 70 ? 2000 : 1900;
}

/* 081109 203615 */
static bool shape_compact(struct cursor *c, struct civil *t)
{
	if (!number(c, 2, &t->year) || !number(c, 2, &t->month) || !number(c, 2, &t->day) ||
		!take(c, ' ') || !number(c, 2, &t->hour) || !number(c, 2, &t->minute) ||
		!number(c, 2, &t->second) || !(c->p == c->end || peek(c) == ' '))
		return false;
	two_digit_year(t);
	return true;
}

/* 17/06/09 20:10:40 */
static bool shape_short_year(struct cursor *c, struct civil *t)
{
	if (!number(c, 2, &t->year) || !take(c, '/') || !number(c, 2, &t->month) || !take(c, '/') ||
		!number(c, 2, &t->day) || !take(c, ' ') || !clock_time(c, ':', t))
		return false;
	optional_fraction(c, t);
	two_digit_year(t);
	return true;
}

/* 03-17 16:13:38.811 */
static bool shape_month_day(struct cursor *c, struct civil *t)
{
	t->year = NO_YEAR;
	if (!number(c, 2, &t->month) || !take(c, '-') || !number(c, 2, &t->day) || !take(c, ' ') ||
		!clock_time(c, ':', t))
		return false;
	optional_fraction(c, t);
	return true;
}

/* I0821 10:00:00.123456, the level's letter taken */
static bool shape_klog(struct cursor *c, struct civil *t)
{
	t->year = NO_YEAR;
	if (!take_any(c, "IWEF", NULL) || !number(c, 2, &t->month) || !number(c, 2, &t->day) ||
		!take(c, ' ') || !clock_time(c, ':', t))
		return false;
	optional_fraction(c, t);
	return true;
}

/* Aug 21 10:00:00, Aug  1 10:00:00.123, Aug 21 2026 10:00:00 */
static bool shape_month_name(struct cursor *c, struct civil *t)
{
	struct cursor at;

	t->year = NO_YEAR;
	if (!month_name(c, &t->month) || !take(c, ' ') || !day_number(c, &t->day) || !take(c, ' '))
		return false;
	at = *c;
	if (number(&at, 4, &t->year) && take(&at, ' '))
		*c = at;
	else
		t->year = NO_YEAR;
	if (!clock_time(c, ':', t))
		return false;
	optional_fraction(c, t);
	optional_zone(c, t);
	return true;
}

/* Sun Dec 04 04:47:44 2005, Sun Dec  4 04:47:44.123 UTC 2005, Sun, 04 Dec 2005 04:47:44 GMT */
static bool shape_day_name(struct cursor *c, struct civil *t)
{
	struct cursor at;
	int year;

	if (!day_name(c))
		return false;
	take(c, ',');
	if (!take(c, ' '))
		return false;
	if (is_digit(peek(c)))
		return shape_day_first(c, t);
	if (!shape_month_name(c, t))
		return false;
	at = *c;
	if (t->year == NO_YEAR && take(&at, ' ') && number(&at, 4, &year) && !is_digit(peek(&at))) {
		t->year = year;
		*c = at;
	}
	return true;
}

/* ---- detection ---- */

/* The year that brings a time without one nearest to the observed time. */
static bool nearest_year(struct civil t, int zone_seconds, int64_t observed_ns, int64_t *out)
{
	int year = civil_of(observed_ns, zone_seconds).year;
	/* The next leap year is up to eight years away. */
	int reach = t.month == 2 && t.day == 29 ? 8 : 1;
	unsigned __int128 best = 0;
	bool found = false;
	int64_t ns;

	for (int y = year - reach; y <= year + reach; y++) {
		__int128 apart;
		t.year = y;
		if (!civil_valid(&t) || !civil_ns(&t, zone_seconds, &ns))
			continue;
		apart = (__int128)ns - observed_ns;
		apart = apart < 0 ? -apart : apart;
		if (found && (unsigned __int128)apart >= best)
			continue;
		best = (unsigned __int128)apart;
		*out = ns;
		found = true;
	}
	return found;
}

struct context {
	int64_t observed_ns;
	int zone_seconds;
};

static bool try(shape_reader *read, struct str at, const struct context *x, int64_t *out)
{
	struct cursor c = {at.p, at.p + at.n};
	struct civil t = {.zone = NO_ZONE};
	int east;

	if (!read(&c, &t) || !civil_valid(&t))
		return false;
	/* "10:00:00x" and "10:00:00_1" are something else. */
	if (is_alpha(peek(&c)) || peek(&c) == '_')
		return false;
	east = t.zone == NO_ZONE ? x->zone_seconds : t.zone;
	if (t.year == NO_YEAR)
		return nearest_year(t, east, x->observed_ns, out);
	return civil_ns(&t, east, out);
}

/* A time that starts with these bytes? */
static bool detect_at(struct str at, bool first, const struct context *x, int64_t *out)
{
	char c = at.p[0];

	if (at.n < 11)
		return false;
	if (is_digit(c)) {
		if (is_digit(at.p[1]) && is_digit(at.p[2]) && is_digit(at.p[3]))
			return try(shape_iso, at, x, out) || try(shape_iso_basic, at, x, out) ||
			       (first && try(shape_compact, at, x, out));
		if (at.p[2] == '-' || at.p[2] == '/')
			return try(shape_short_year, at, x, out) ||
			       (first && try(shape_month_day, at, x, out)) ||
			       try(shape_day_first, at, x, out);
		return (at.p[1] == ' ' || at.p[2] == ' ' || at.p[1] == '/') &&
		       try(shape_day_first, at, x, out);
	}
	if (first && c >= 'E' && c <= 'W' && is_digit(at.p[1]))
		return try(shape_klog, at, x, out);
	if (one_of(c, "JFMASOND") && try(shape_month_name, at, x, out))
		return true;
	return one_of(c, "MTWFS") && try(shape_day_name, at, x, out);
}

bool time_detect(struct str line, int64_t observed_ns, int zone_seconds, int64_t *out)
{
	struct context x = {observed_ns, zone_seconds};
	struct str head = str_sub(line, 0, HEAD_BYTES);
	size_t at = 0;

	for (int token = 0; token <= TOKENS_BEFORE; token++) {
		while (at < head.n && one_of(head.p[at], " \t"))
			at++;
		/* Up to two of [ ( < " ' before it. */
		for (int n = 0; n < 2 && at < head.n && one_of(head.p[at], "[(<\"'|"); n++)
			at++;
		if (at >= head.n)
			return false;
		if (head.p[at] && (is_digit(head.p[at]) || is_alpha(head.p[at])) &&
			detect_at(str_sub(line, at, at + 64), token == 0, &x, out))
			return true;
		while (at < head.n && head.p[at] != ' ' && head.p[at] != '\t')
			at++;
	}
	return false;
}

/* ---- whole texts ---- */

bool time_parse_rfc3339(struct str s, int64_t *out)
{
	struct cursor c = {s.p, s.p + s.n};
	struct civil t = {0};
	size_t digits = 0;
	const char *sign;

	if (s.n < 20 || !number(&c, 4, &t.year) || !take(&c, '-') || !number(&c, 2, &t.month) ||
		!take(&c, '-') || !number(&c, 2, &t.day) || !take_any(&c, "Tt", NULL) ||
		!clock_time(&c, ':', &t))
		return false;
	if (take(&c, '.') && (!fraction(&c, &digits, &t.nanos) || digits > 9))
		return false;
	sign = c.p;
	if (!zone(&c, &t.zone) || c.p != c.end || !(c.p - sign == 1 || c.p - sign == 6))
		return false;
	return civil_valid(&t) && civil_ns(&t, t.zone, out);
}

/* "1700000000.25" exactly; with an exponent as the nearest double. */
static bool parse_seconds(struct str s, int64_t *out)
{
	struct cursor c = {s.p, s.p + s.n};
	bool negative = take(&c, '-');
	int64_t whole = 0;
	size_t digits = 0;
	int nanos = 0;
	double v;

	for (; is_digit(peek(&c)); c.p++)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
			__builtin_add_overflow(whole, *c.p - '0', &whole))
			return false;
	if (c.p > s.p + negative && take(&c, '.') &&
		(c.p == c.end || fraction(&c, &digits, &nanos)) && c.p == c.end) {
		if (__builtin_mul_overflow(whole, second_ns, &whole) ||
			__builtin_add_overflow(whole, nanos, &whole))
			return false;
		*out = negative ? -whole : whole;
		return true;
	}
	/* 2^63 ns in seconds, rounded down: what is below it fits. */
	if (!str_double(s, &v) || !(v > -9223372036.0 && v < 9223372036.0))
		return false;
	*out = (int64_t)(v * 1e9);
	return true;
}

bool time_parse_api(struct str s, int64_t *out)
{
	int64_t v;

	if (str_chr(s, '.') >= 0 && str_chr(s, ':') < 0)
		return parse_seconds(s, out);
	if (!str_i64(s, &v))
		return time_parse_rfc3339(s, out);
	if (s.n <= 10 && __builtin_mul_overflow(v, second_ns, &v))
		return false;
	*out = v;
	return true;
}

/* The instant of a civil time of the host's zone.  In the hour that a change of the clock skips
 * or repeats, one of the two. */
static bool local_ns(const struct civil *t, int64_t *out)
{
	int64_t guess;

	if (!civil_valid(t) || !civil_ns(t, 0, &guess))
		return false;
	return civil_ns(t, time_local_zone(guess - time_local_zone(guess) * second_ns), out);
}

/* "2026-08-21", "2026-08-21 10:00[:00[.123]]", "15:04[:05]" with the date of `today`. */
static bool parse_local(struct str s, struct civil today, int64_t *out)
{
	struct cursor c = {s.p, s.p + s.n}, at;
	struct civil t = {0};

	at = c;
	if (number(&at, 4, &t.year) && take(&at, '-') && number(&at, 2, &t.month) &&
		take(&at, '-') && number(&at, 2, &t.day)) {
		if (at.p == at.end)
			return local_ns(&t, out);
		if (!take_any(&at, " T", NULL))
			return false;
		c = at;
	} else {
		t.year = today.year;
		t.month = today.month;
		t.day = today.day;
	}
	if (!number(&c, 2, &t.hour) || !take(&c, ':') || !number(&c, 2, &t.minute))
		return false;
	if (take(&c, ':')) {
		if (!number(&c, 2, &t.second))
			return false;
		optional_fraction(&c, &t);
	}
	return c.p == c.end && local_ns(&t, out);
}

bool time_parse_human(struct str s, int64_t now_ns, int64_t *out)
{
	struct civil today = civil_of(now_ns, time_local_zone(now_ns)), midnight = {0};
	int64_t ago;

	s = str_trim(s);
	midnight.year = today.year;
	midnight.month = today.month;
	midnight.day = today.day;
	if (str_eq_nocase(s, STR("now"))) {
		*out = now_ns;
		return true;
	}
	if (str_eq_nocase(s, STR("today")))
		return local_ns(&midnight, out);
	if (str_eq_nocase(s, STR("yesterday"))) {
		/* Noon of today less a day is yesterday whatever the clock did at night. */
		midnight.hour = 12;
		if (!local_ns(&midnight, &ago))
			return false;
		ago -= day_s * second_ns;
		midnight = civil_of(ago, time_local_zone(ago));
		midnight.hour = midnight.minute = midnight.second = midnight.nanos = 0;
		return local_ns(&midnight, out);
	}
	if (duration_parse(s, &ago)) {
		if (ago == INT64_MIN)
			return false;
		return !__builtin_sub_overflow(now_ns, ago < 0 ? -ago : ago, out);
	}
	return parse_local(s, today, out) || time_parse_api(s, out);
}

/* ---- writing ---- */

static void put_date(struct buf *out, const struct civil *t)
{
	buf_printf(out, "%04d-%02d-%02dT%02d:%02d:%02d", t->year, t->month, t->day, t->hour,
		t->minute, t->second);
}

void time_format(struct buf *out, int64_t ns)
{
	struct civil t = civil_of(ns, 0);
	char digits[16];
	int n = 9;

	put_date(out, &t);
	if (t.nanos) {
		snprintf(digits, sizeof digits, "%09d", t.nanos);
		while (digits[n - 1] == '0')
			n--;
		buf_char(out, '.');
		buf_put(out, digits, (size_t)n);
	}
	buf_char(out, 'Z');
}

void time_format_local(struct buf *out, int64_t ns)
{
	int east = time_local_zone(ns), minutes = (east < 0 ? -east : east) / 60;
	struct civil t = civil_of(ns, east);

	put_date(out, &t);
	buf_printf(out, ".%03d%c%02d:%02d", t.nanos / 1000000, east < 0 ? '-' : '+', minutes / 60,
		minutes % 60);
}
