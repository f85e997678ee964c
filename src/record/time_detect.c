/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Detection runs for every line that brings no time of its own.  It looks at
 * the starts of the first few tokens alone, and there at the first byte: a
 * digit, the letter of a month or a day, the letter of a key (ts=, time:), or
 * an object.  Only then it tries the shapes in turn.  A shape is a short
 * function over a cursor: it either reads all of its parts or fails, and then
 * the cursor's copy is thrown away.  A date that does not exist (Feb 30) makes
 * its shape fail.
 *
 * Numbers alone are the trap: an id of ten digits is an epoch as well.  They
 * count in a field that is named for it, at the start of a line in the two
 * forms that programs write there, and only near the observed time.
 */
#include "record/civil.h"
#include "record/object.h"
#include "record/time.h"

enum {
	TOKENS_BEFORE = 4, /* a time may have this many before it */
	HEAD_BYTES = 160,  /* and starts within these */
	SHAPE_BYTES = 64,  /* and is no longer */
};

/* Where a shape is looked for. */
struct place {
	int64_t observed_ns;
	int zone_seconds;
	bool first; /* nothing but brackets, or "[I ", before it */
	char open;  /* the bracket right before it, or '\0' */
};

/* ---- parts that only some shapes have ---- */

/* The abbreviations of RFC 822, and those beyond that mean one offset wherever they are used.
 * IST (India, Israel, Ireland) is none of them. */
static bool zone_word(struct cursor *c, int *out)
{
	static const struct {
		char word[5];
		int16_t minutes;
	} zones[] = {{"UTC", 0}, {"GMT", 0}, {"CET", 60}, {"CEST", 120}, {"EST", -300},
		{"EDT", -240}, {"CST", -360}, {"CDT", -300}, {"MST", -420}, {"MDT", -360},
		{"PST", -480}, {"PDT", -420}, {"BST", 60}, {"WET", 0}, {"WEST", 60}, {"EET", 120},
		{"EEST", 180}, {"MSK", 180}, {"JST", 540}, {"KST", 540}, {"HKT", 480}, {"SGT", 480},
		{"AEST", 600}, {"AEDT", 660}, {"ACST", 570}, {"AWST", 480}, {"NZST", 720},
		{"NZDT", 780}, {"AKST", -540}, {"AKDT", -480}, {"HST", -600}, {"SAST", 120}};
	size_t n = 0, left = (size_t)(c->end - c->p);

	while (n < left && n < 5 && c->p[n] >= 'A' && c->p[n] <= 'Z')
		n++;
	if (n < 3 || n > 4 || (n < left && (is_alpha(c->p[n]) || is_digit(c->p[n]))))
		return false;
	for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
		if (memcmp(zones[i].word, c->p, n) == 0 && zones[i].word[n] == '\0') {
			*out = zones[i].minutes * 60;
			c->p += n;
			return true;
		}
	}
	return false;
}

/* A zone right behind the time or behind one blank, where only unmistakable ones count. */
static void optional_zone(struct cursor *c, struct civil *t)
{
	struct cursor at = *c, from;
	int seconds;

	t->zone = NO_ZONE;
	if (zone_digits(&at, &seconds)) {
		t->zone = seconds;
		*c = at;
		return;
	}
	at = *c;
	if (!take(&at, ' '))
		return;
	from = at;
	if (zone_word(&at, &seconds) ||
		(zone_digits(&at, &seconds) && (at.p - from.p >= 5 || at.p - from.p == 1))) {
		t->zone = seconds;
		*c = at;
	}
}

/* AM or PM, behind a blank or not. */
static void optional_noon(struct cursor *c, struct civil *t)
{
	struct cursor at = *c;
	char half;

	take(&at, ' ');
	if (t->hour < 1 || t->hour > 12 || !take_any(&at, "AaPp", &half) ||
		!take_any(&at, "Mm", NULL) || is_alpha(peek(&at)) || is_digit(peek(&at)))
		return;
	t->hour = t->hour % 12 + (half == 'P' || half == 'p' ? 12 : 0);
	*c = at;
}

/* One digit or two. */
static bool short_number(struct cursor *c, int *out)
{
	return number(c, 2, out) || number(c, 1, out);
}

/* 10:00:00 with a fraction, AM or PM and a zone; the hour may be one digit. */
static bool clock_and_zone(struct cursor *c, struct civil *t)
{
	if (!short_number(c, &t->hour) || !take(c, ':') || !number(c, 2, &t->minute) ||
		!take(c, ':') || !number(c, 2, &t->second) || is_digit(peek(c)))
		return false;
	optional_fraction(c, t);
	optional_noon(c, t);
	optional_zone(c, t);
	return true;
}

#define NAME(a, b, c) ((uint32_t)(uint8_t)(a) << 16 | (uint32_t)(uint8_t)(b) << 8 | (uint8_t)(c))

static bool month_name(struct cursor *c, int *out)
{
	if (c->end - c->p < 3)
		return false;
	switch (NAME(c->p[0], c->p[1], c->p[2])) {
	case NAME('J', 'a', 'n'): *out = 1; break;
	case NAME('F', 'e', 'b'): *out = 2; break;
	case NAME('M', 'a', 'r'): *out = 3; break;
	case NAME('A', 'p', 'r'): *out = 4; break;
	case NAME('M', 'a', 'y'): *out = 5; break;
	case NAME('J', 'u', 'n'): *out = 6; break;
	case NAME('J', 'u', 'l'): *out = 7; break;
	case NAME('A', 'u', 'g'): *out = 8; break;
	case NAME('S', 'e', 'p'): *out = 9; break;
	case NAME('O', 'c', 't'): *out = 10; break;
	case NAME('N', 'o', 'v'): *out = 11; break;
	case NAME('D', 'e', 'c'): *out = 12; break;
	default: return false;
	}
	c->p += 3;
	return true;
}

static bool day_name(struct cursor *c)
{
	if (c->end - c->p < 3)
		return false;
	switch (NAME(c->p[0], c->p[1], c->p[2])) {
	case NAME('M', 'o', 'n'):
	case NAME('T', 'u', 'e'):
	case NAME('W', 'e', 'd'):
	case NAME('T', 'h', 'u'):
	case NAME('F', 'r', 'i'):
	case NAME('S', 'a', 't'):
	case NAME('S', 'u', 'n'): break;
	default: return false;
	}
	c->p += 3;
	return true;
}

/* " 2026" behind a time; where no day's name announces it, it must be a year of lately, as
 * "Aug 21 10:00:00 2048 bytes" has none. */
static void optional_year(struct cursor *c, struct civil *t, const struct place *x, bool any)
{
	struct cursor at = *c;
	int year, now;

	if (t->year != NO_YEAR || !take(&at, ' ') || !number(&at, 4, &year) ||
		is_digit(peek(&at)) || is_alpha(peek(&at)) || one_of(peek(&at), "._-/"))
		return;
	/* "2010:db8::1" is a host. */
	if (peek(&at) == ':' && at.end - at.p > 1 && at.p[1] != ' ')
		return;
	if (!any) {
		now = civil_of(x->observed_ns, 0).year;
		if (year < (t->zone == NO_ZONE ? now - 20 : 1970) || year > now + 1)
			return;
	}
	t->year = year;
	*c = at;
}

/* ---- shapes ---- */

typedef bool shape_reader(struct cursor *c, struct civil *t, const struct place *x);

/* 2026-08-21T10:00:00.123+02:00, also with / or . in the date, a blank or another sign for the T,
 * hh:mm alone; and 2005-06-03-15.42.50.675872. */
static bool shape_iso(struct cursor *c, struct civil *t, const struct place *x)
{
	char separator, between;

	if (!number(c, 4, &t->year) || !take_any(c, "-/.", &separator) ||
		!number(c, 2, &t->month) || !take(c, separator) || !number(c, 2, &t->day) ||
		!take_any(c, "Tt _-:", &between))
		return false;
	/* "Start-Date: 2026-08-21  10:00:00" */
	if (between == ' ')
		take(c, ' ');
	if (!number(c, 2, &t->hour))
		return false;
	if (between == '-' && take(c, '.')) {
		if (!number(c, 2, &t->minute) || !take(c, '.') || !number(c, 2, &t->second) ||
			is_digit(peek(c)))
			return false;
	} else if (!take(c, ':') || !number(c, 2, &t->minute) || is_digit(peek(c))) {
		return false;
	} else if (take(c, ':') && (!number(c, 2, &t->second) || is_digit(peek(c)))) {
		return false;
	}
	optional_fraction(c, t);
	if (peek(c) == ' ')
		optional_noon(c, t);
	optional_zone(c, t);
	return true;
}

/* 2026 Aug 21 10:00:00, 2026-Aug-21 10:00:00.123 */
static bool shape_year_name(struct cursor *c, struct civil *t, const struct place *x)
{
	char separator;

	return number(c, 4, &t->year) && take_any(c, " -/", &separator) &&
	       month_name(c, &t->month) && take(c, separator) &&
	       (separator == ' ' ? day_number(c, &t->day) : number(c, 2, &t->day)) &&
	       take_any(c, " T", NULL) && clock_and_zone(c, t);
}

/* 20260821T100000.123Z; at the start also 20260821 10:00:00, 20260821-100000 and
 * 20171223-22:15:29:606, whose parts have no leading zeros. */
static bool shape_iso_basic(struct cursor *c, struct civil *t, const struct place *x)
{
	struct cursor at;

	if (!number(c, 4, &t->year) || !number(c, 2, &t->month) || !number(c, 2, &t->day))
		return false;
	if (!take(c, 'T') && (!x->first || !take_any(c, " -_", NULL)))
		return false;
	at = *c;
	if (number(&at, 2, &t->hour) && number(&at, 2, &t->minute) && number(&at, 2, &t->second)) {
		if (is_digit(peek(&at)) || peek(&at) == '-')
			return false;
		*c = at;
	} else if (!short_number(c, &t->hour) || !take(c, ':') || !short_number(c, &t->minute) ||
		   !take(c, ':') || !short_number(c, &t->second) || is_digit(peek(c))) {
		return false;
	} else if (take(c, ':')) {
		int millis = 0, digits = 0;
		for (; digits < 3 && is_digit(peek(c)); digits++, c->p++)
			millis = millis * 10 + *c->p - '0';
		t->nanos = millis * 1000000;
		return digits > 0 && !is_digit(peek(c));
	}
	optional_fraction(c, t);
	optional_zone(c, t);
	return true;
}

/* 21/Aug/2026:10:00:00 +0000, 21 Aug 2026 10:00:00.123, 21-Aug-2026::10:00:00, and without the
 * year 21 Aug 10:00:00.123 */
static bool shape_day_first(struct cursor *c, struct civil *t, const struct place *x)
{
	struct cursor at;
	char separator;

	if (!short_number(c, &t->day) || !take_any(c, "/ -", &separator) ||
		!month_name(c, &t->month) || !take(c, separator))
		return false;
	at = *c;
	t->year = NO_YEAR;
	if (number(&at, 4, &t->year) && take_any(&at, ": ", NULL)) {
		*c = at;
		take(c, ':');
	} else if (separator != ' ') {
		return false;
	} else {
		t->year = NO_YEAR;
	}
	if (!clock_time(c, ':', t))
		return false;
	optional_fraction(c, t);
	if (peek(c) == ' ')
		optional_noon(c, t);
	optional_zone(c, t);
	return true;
}

/* 081109 203615, 260821 10:00:00 and 260821  9:00:00 */
static bool shape_compact(struct cursor *c, struct civil *t, const struct place *x)
{
	if (!number(c, 2, &t->year) || !number(c, 2, &t->month) || !number(c, 2, &t->day) ||
		!take(c, ' '))
		return false;
	civil_two_digit_year(t);
	if (peek(c) == ' ' || (c->end - c->p > 2 && c->p[2] == ':'))
		return day_number(c, &t->hour) && take(c, ':') && number(c, 2, &t->minute) &&
		       take(c, ':') && number(c, 2, &t->second) &&
		       (c->p == c->end || one_of(peek(c), " \t]"));
	return number(c, 2, &t->hour) && number(c, 2, &t->minute) && number(c, 2, &t->second) &&
	       (c->p == c->end || peek(c) == ' ');
}

/* 17/06/09 20:10:40 */
static bool shape_short_year(struct cursor *c, struct civil *t, const struct place *x)
{
	if (!number(c, 2, &t->year) || !take(c, '/') || !number(c, 2, &t->month) || !take(c, '/') ||
		!number(c, 2, &t->day) || !take(c, ' ') || !clock_time(c, ':', t))
		return false;
	optional_fraction(c, t);
	civil_two_digit_year(t);
	return true;
}

/* 03-17 16:13:38.811, and in brackets [03.17 16:13:38] */
static bool shape_month_day(struct cursor *c, struct civil *t, const struct place *x)
{
	t->year = NO_YEAR;
	if (!number(c, 2, &t->month) || !(take(c, '-') || (x->open == '[' && take(c, '.'))) ||
		!number(c, 2, &t->day) || !take(c, ' ') || !clock_time(c, ':', t))
		return false;
	optional_fraction(c, t);
	return true;
}

/* 08/21/2026 10:00:00 AM, 8/21/2026, 9:00:00 PM, 8/21/26 9:00:00:123 CEST; 21/08/2026 and
 * 21-08-2026 where no month can stand first; 21.08.2026 10:00:00 with the day first always. */
static bool shape_numbers(struct cursor *c, struct civil *t, const struct place *x)
{
	char separator;
	int first, second;

	if (!short_number(c, &first) || !take_any(c, "/-.", &separator) ||
		!short_number(c, &second) || !take(c, separator))
		return false;
	if (!number(c, 4, &t->year)) {
		if (separator != '/' || !number(c, 2, &t->year))
			return false;
		civil_two_digit_year(t);
	}
	t->month = separator == '.' || first > 12 ? second : first;
	t->day = separator == '.' || first > 12 ? first : second;
	if (!take(c, ' ') && !take(c, 'T') && !(take(c, ',') && take(c, ' ')))
		return false;
	return clock_and_zone(c, t);
}

/* 10:00:00.123 or [10:00:00]; without both of fraction and bracket only where a logger's next part
 * follows: "10:00:00 elapsed" is a duration. */
static bool shape_clock(struct cursor *c, struct civil *t, const struct place *x)
{
	t->year = NO_DATE;
	if (!clock_time(c, ':', t))
		return false;
	if (c->p < c->end && !one_of(*c->p, " \t].,|"))
		return false;
	if (one_of(peek(c), ".,")) {
		const char *from = c->p;
		optional_fraction(c, t);
		return c->p - from > 3 && (c->p == c->end || one_of(*c->p, " \t]|"));
	}
	if (x->open == '[' || peek(c) == '|')
		return peek(c) == ']' || peek(c) == '|' || peek(c) == ' ';
	if (c->end - c->p < 3)
		return false;
	/* "10:00:00 [main]", "10:00:00 INFO", "10:00:00 - root" */
	return one_of(c->p[1], "[<(|") || (c->p[1] == '-' && c->p[2] == ' ') ||
	       (c->p[1] >= 'A' && c->p[1] <= 'Z' && c->p[2] >= 'A' && c->p[2] <= 'Z');
}

/* 1629540000.123 and, in a bracket, [1629540000] */
static bool shape_epoch(struct cursor *c, struct civil *t, const struct place *x)
{
	int high, low;
	size_t digits = 0;
	int64_t s, ahead_s;

	if (!number(c, 5, &high) || !number(c, 5, &low) || is_digit(peek(c)))
		return false;
	t->nanos = 0;
	if (take(c, '.')) {
		if (!fraction(c, &digits, &t->nanos) || digits < 3 || digits > 9)
			return false;
	} else if (x->open != '[' || peek(c) != ']') {
		return false;
	}
	if (c->p < c->end && !one_of(*c->p, x->open == '[' ? "]" : " \t|,"))
		return false;
	s = (int64_t)high * 100000 + low;
	/* A number that lies far from now is something else. */
	ahead_s = s - x->observed_ns / second_ns;
	if (ahead_s > 366 * day_s || ahead_s < -30 * 366 * day_s || s > INT64_MAX / second_ns - 1)
		return false;
	*t = civil_of(s * second_ns + t->nanos, 0);
	return true;
}

/* I0821 10:00:00.123456 and I20260821 10:00:00.123456 */
static bool shape_klog(struct cursor *c, struct civil *t, const struct place *x)
{
	int high, low;

	t->year = NO_YEAR;
	if (!take_any(c, "IWEF", NULL) || !number(c, 2, &high) || !number(c, 2, &low))
		return false;
	t->month = high;
	t->day = low;
	if (peek(c) != ' ') {
		t->year = high * 100 + low;
		if (!number(c, 2, &t->month) || !number(c, 2, &t->day))
			return false;
	}
	if (!take(c, ' ') || !clock_time(c, ':', t))
		return false;
	optional_fraction(c, t);
	return true;
}

static bool month_and_clock(struct cursor *c, struct civil *t, const struct place *x, bool any_year)
{
	struct cursor at;

	t->year = NO_YEAR;
	if (!month_name(c, &t->month) || !take(c, ' ') || !day_number(c, &t->day))
		return false;
	take(c, ',');
	if (!take(c, ' '))
		return false;
	at = *c;
	if (number(&at, 4, &t->year) && (take(&at, ' ') || (take(&at, ',') && take(&at, ' '))))
		*c = at;
	else
		t->year = NO_YEAR;
	if (!clock_and_zone(c, t))
		return false;
	optional_year(c, t, x, any_year);
	return true;
}

/* Aug 21 10:00:00, Aug  1 10:00:00.123 UTC, Aug 21 2026 10:00:00, Aug 21, 2026 9:00:00 AM,
 * Aug 21 10:00:00 CET 2026 */
static bool shape_month_name(struct cursor *c, struct civil *t, const struct place *x)
{
	return month_and_clock(c, t, x, false);
}

/* Sun Dec 04 04:47:44 2005, Sun Dec  4 04:47:44.123 UTC 2005, Sun, 04 Dec 2005 04:47:44 GMT */
static bool shape_day_name(struct cursor *c, struct civil *t, const struct place *x)
{
	if (!day_name(c))
		return false;
	take(c, ',');
	if (!take(c, ' '))
		return false;
	if (is_digit(peek(c)))
		return shape_day_first(c, t, x);
	return month_and_clock(c, t, x, true);
}

/* Fortinet's date=2026-08-21 time=10:00:00, from the first digit on. */
static bool shape_date_field(struct cursor *c, struct civil *t, const struct place *x)
{
	static const char between[] = " time=";

	if (!number(c, 4, &t->year) || !take(c, '-') || !number(c, 2, &t->month) || !take(c, '-') ||
		!number(c, 2, &t->day))
		return false;
	for (const char *p = between; *p; p++)
		if (!take(c, *p))
			return false;
	return clock_time(c, ':', t);
}

/* ---- a time that starts here ---- */

/* The bytes it takes, or 0. */
static size_t try(shape_reader *read, struct str at, const struct place *x, int64_t *out)
{
	struct cursor c = {at.p, at.p + at.n};
	struct civil t = {.zone = NO_ZONE};

	if (!read(&c, &t, x) || !civil_valid(&t))
		return 0;
	/* "10:00:00x" and "10:00:00_1" are something else. */
	if (is_alpha(peek(&c)) || peek(&c) == '_')
		return 0;
	return civil_nearest(&t, t.zone == NO_ZONE ? x->zone_seconds : t.zone, x->observed_ns, out)
		       ? (size_t)(c.p - at.p)
		       : 0;
}

static size_t starts_with_digits(struct str at, const struct place *x, int64_t *out)
{
	size_t n;
	char after;

	if (at.n < 11 || !is_digit(at.p[1])) {
		if (at.n < 8)
			return 0;
		if (at.p[1] == ' ' || at.p[1] == '/' || at.p[1] == '-' || at.p[1] == '.')
			return (n = try(shape_numbers, at, x, out))
				       ? n
				       : try(shape_day_first, at, x, out);
		return x->first && at.p[2] == ':' ? try(shape_clock, at, x, out) : 0;
	}
	if (is_digit(at.p[2]) && is_digit(at.p[3])) {
		after = at.p[4];
		if (after == '-' || after == '/' || after == '.' || after == ' ')
			return is_digit(at.p[5]) ? try(shape_iso, at, x, out)
						 : try(shape_year_name, at, x, out);
		/* A long number is no date: most ids stop here. */
		if (!x->first && at.p[8] != 'T')
			return 0;
		if ((n = try(shape_iso_basic, at, x, out)) || !x->first)
			return n;
		return (n = try(shape_compact, at, x, out)) ? n : try(shape_epoch, at, x, out);
	}
	after = at.p[2];
	if (after == ':')
		return x->first ? try(shape_clock, at, x, out) : 0;
	if (after != '-' && after != '/' && after != '.' && after != ' ')
		return 0;
	if (after == '/' && (n = try(shape_short_year, at, x, out)))
		return n;
	if (x->first && after != '/' && (n = try(shape_month_day, at, x, out)))
		return n;
	return (n = try(shape_day_first, at, x, out)) ? n : try(shape_numbers, at, x, out);
}

static size_t starts_with_name(struct str at, const struct place *x, int64_t *out)
{
	size_t n;

	if (at.n < 13)
		return 0;
	if (is_digit(at.p[1]))
		return x->first ? try(shape_klog, at, x, out) : 0;
	/* "Sep" and "Sat" share a letter, "Mar" and "Mon" too. */
	return (n = try(shape_month_name, at, x, out)) ? n : try(shape_day_name, at, x, out);
}

/* ---- fields ---- */

static bool is_time_key(struct str key)
{
	static const struct str keys[] = {STR_INIT("ts"), STR_INIT("time"), STR_INIT("t"),
		STR_INIT("timestamp"), STR_INIT("@timestamp"), STR_INIT("@t"), STR_INIT("datetime"),
		STR_INIT("date"), STR_INIT("asctime"), STR_INIT("eventtime"), STR_INIT("_time"),
		STR_INIT("log_time"), STR_INIT("time_local"), STR_INIT("time_iso8601")};

	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (str_eq_nocase(keys[i], key))
			return true;
	return false;
}

/* Epochs by their magnitude, in the years 2001 to 2103, where the units cannot be mistaken for one
 * another: ten digits are seconds, 13 ms, 16 us, 19 ns. */
static bool epoch_field(struct str s, int64_t *out)
{
	struct cursor c = {s.p, s.p + s.n};
	uint64_t v = 0, unit;
	size_t n = 0, digits;
	int part = 0;
	double seconds;

	for (; n < 19 && is_digit(peek(&c)); n++, c.p++)
		v = v * 10 + (uint64_t)(*c.p - '0');
	/* 1.629540000123456e+09 */
	if (n == 1 && memchr(s.p, 'e', s.n) && str_double(s, &seconds) && seconds >= 1e9 &&
		seconds < 4.2e9) {
		*out = (int64_t)(seconds * 1e6) * 1000;
		return true;
	}
	unit = n == 10 ? 1000000000 : n == 13 ? 1000000 : n == 16 ? 1000 : n == 19 ? 1 : 0;
	if (!unit || v > 4200000000000000000 / unit || v < 1000000000000000000 / unit)
		return false;
	if (take(&c, '.') && !fraction(&c, &digits, &part))
		return false;
	if (c.p < c.end && !one_of(*c.p, " \t\",;'|"))
		return false;
	*out = (int64_t)(v * unit) + part / (second_ns / (int64_t)unit);
	return true;
}

/* The value of a field that is named for a time. */
static bool time_field(struct str value, const struct place *outer, int64_t *out)
{
	struct place x = *outer;

	x.first = false;
	x.open = '\0';
	value = str_sub(value, 0, SHAPE_BYTES);
	if (value.n > 0 && value.p[0] == '[')
		value = str_sub(value, 1, value.n);
	if (value.n == 0)
		return false;
	if (is_digit(value.p[0]))
		return starts_with_digits(value, &x, out) || epoch_field(value, out) ||
		       try(shape_date_field, value, &x, out);
	return starts_with_name(value, &x, out);
}

/* time=…, ts="…", LTSV's time:…, and the kernel's audit(1629540000.123:45). */
static bool key_at(struct str at, const struct place *x, int64_t *out)
{
	static const struct str audit[] = {STR_INIT("msg=audit("), STR_INIT("audit(")};
	size_t n = 0;

	while (n < at.n && n < 13 && (is_alpha(at.p[n]) || one_of(at.p[n], "_@8601")))
		n++;
	if (n >= at.n)
		return false;
	if (at.p[n] == '=' || at.p[n] == ':') {
		if (is_time_key(str_sub(at, 0, n))) {
			size_t from = n + 1;
			if (from < at.n && one_of(at.p[from], "\"'"))
				from++;
			return time_field(str_sub(at, from, at.n), x, out);
		}
	}
	for (size_t i = 0; i < sizeof audit / sizeof *audit; i++)
		if (str_starts(at, audit[i])) {
			size_t end = audit[i].n;
			while (end < at.n && (is_digit(at.p[end]) || at.p[end] == '.'))
				end++;
			return end < at.n && at.p[end] == ':' &&
			       epoch_field(str_sub(at, audit[i].n, end), out);
		}
	return false;
}

/* {"time":…}, and MongoDB's {"t":{"$date":…}}. */
static bool object_at(struct str s, const struct place *x, int64_t *out)
{
	struct object o;
	struct str name, value;

	object_start(&o, s);
	while (object_next(&o, &name, &value)) {
		struct object inner;
		struct str inner_name;
		if (!is_time_key(name) || value.n == 0)
			continue;
		if (value.p[0] == '{') {
			object_start(&inner, value);
			if (!object_next(&inner, &inner_name, &value) ||
				!str_eq(inner_name, STR("$date")))
				continue;
		}
		if (time_field(object_scalar(value), x, out))
			return true;
	}
	return false;
}

/* ---- detection ---- */

enum { C_NONE, C_DIGIT, C_NAME, C_KEY, C_NAME_KEY, C_OBJECT };

/* What may start with this byte. */
static const uint8_t starts[256] = {
	['0'] = C_DIGIT,
	['1'] = C_DIGIT,
	['2'] = C_DIGIT,
	['3'] = C_DIGIT,
	['4'] = C_DIGIT,
	['5'] = C_DIGIT,
	['6'] = C_DIGIT,
	['7'] = C_DIGIT,
	['8'] = C_DIGIT,
	['9'] = C_DIGIT,
	['J'] = C_NAME,
	['F'] = C_NAME,
	['M'] = C_NAME,
	['A'] = C_NAME,
	['S'] = C_NAME,
	['O'] = C_NAME,
	['N'] = C_NAME,
	['D'] = C_NAME_KEY,
	['T'] = C_NAME_KEY,
	['W'] = C_NAME,
	['I'] = C_NAME,
	['E'] = C_NAME,
	['t'] = C_KEY,
	['d'] = C_KEY,
	['a'] = C_KEY,
	['m'] = C_KEY,
	['e'] = C_KEY,
	['l'] = C_KEY,
	['@'] = C_KEY,
	['_'] = C_KEY,
	['{'] = C_OBJECT,
};

static bool detect_at(struct str line, size_t at, const struct place *x, int64_t *out)
{
	uint8_t what = starts[(uint8_t)line.p[at]];
	struct str from;

	if (what == C_NONE)
		return false;
	from = str_make(line.p + at, line.n - at < SHAPE_BYTES ? line.n - at : SHAPE_BYTES);
	switch (what) {
	case C_DIGIT: return starts_with_digits(from, x, out);
	case C_NAME: return starts_with_name(from, x, out);
	case C_KEY: return key_at(from, x, out);
	case C_NAME_KEY: return starts_with_name(from, x, out) || key_at(from, x, out);
	default: return object_at(str_sub(line, at, line.n), x, out);
	}
}

/* The end of the token at `at`: a blank; or a sign that parts columns, with a digit behind it. */
static size_t token_end(struct str head, size_t at)
{
	/* Nearly all bytes are none of the signs, and this sees most of the head. */
	static const bool signs[256] = {
		[' '] = true, ['\t'] = true, [','] = true, ['|'] = true, ['['] = true};

	for (; at < head.n; at++) {
		char c = head.p[at];
		if (!signs[(uint8_t)c])
			continue;
		if (c == ' ' || c == '\t')
			break;
		if ((c == ',' || c == '|' || (c == '[' && at > 0 && head.p[at - 1] == ']')) &&
			at + 1 < head.n && is_digit(head.p[at + 1]))
			break;
	}
	return at;
}

/* Behind "<134>", a PRI that a raw syslog line starts with. */
static size_t behind_priority(struct str head)
{
	size_t at = 1;

	while (at < head.n && at < 4 && is_digit(head.p[at]))
		at++;
	return at > 1 && at < head.n && head.p[at] == '>' ? at + 1 : 0;
}

/* Rails: Started GET "/path" for 127.0.0.1 at 2026-08-21 10:00:00 +0000 */
static bool detect_rails(struct str line, const struct place *x, int64_t *out)
{
	struct str head = str_sub(line, 0, 4096);
	ptrdiff_t at;

	if (!str_starts(head, STR("Started ")) || (at = str_find(head, STR(" for "))) < 0)
		return false;
	head = str_sub(head, (size_t)at, head.n);
	return (at = str_find(head, STR(" at "))) >= 0 &&
	       time_field(str_sub(head, (size_t)at + 4, head.n), x, out);
}

bool time_detect(struct str line, int64_t observed_ns, int zone_seconds, int64_t *out)
{
	struct place x = {observed_ns, zone_seconds, true, '\0'};
	struct str head = str_make(line.p, line.n < HEAD_BYTES ? line.n : HEAD_BYTES);
	size_t at = 0;

	if (head.n > 1 && head.p[0] == '<' && is_digit(head.p[1]))
		at = behind_priority(head);
	for (int token = 0; token <= TOKENS_BEFORE;) {
		size_t start, end;
		while (at < head.n && (head.p[at] == ' ' || head.p[at] == '\t'))
			at++;
		/* Up to two signs that open something. */
		x.open = '\0';
		for (int n = 0; n < 2 && at < head.n && one_of(head.p[at], "[(<\"'|,"); n++)
			x.open = head.p[at++];
		if (at >= head.n)
			return false;
		if (detect_at(line, at, &x, out))
			return true;
		start = at;
		end = at = token_end(head, at);
		/* The level's letter of "[I 10:00:00 …" leaves the place the first. */
		x.first = x.first && x.open == '[' && end == start + 1 && is_alpha(head.p[start]);
		token += at >= head.n || head.p[at] == ' ' || head.p[at] == '\t';
	}
	return line.p[0] == 'S' && detect_rails(line, &x, out);
}

size_t time_read(struct str s, int64_t observed_ns, int zone_seconds, int64_t *out)
{
	struct place x = {observed_ns, zone_seconds, false, '\0'};

	s = str_sub(s, 0, SHAPE_BYTES);
	if (s.n == 0)
		return 0;
	switch (starts[(uint8_t)s.p[0]]) {
	case C_DIGIT: {
		size_t n = starts_with_digits(s, &x, out);
		x.open = '\0';
		return n ? n : try(shape_epoch, s, &x, out);
	}
	case C_NAME:
	case C_NAME_KEY: return starts_with_name(s, &x, out);
	default: return 0;
	}
}
