/* SPDX-License-Identifier: Apache-2.0 */
#include "record/time.h"

#include <stdio.h>
#include <time.h>

#include "record/civil.h"

int time_local_zone(int64_t ns)
{
	time_t s = (time_t)floor_div(ns, second_ns);
	struct tm tm;

	return localtime_r(&s, &tm) ? (int)tm.tm_gmtoff : 0;
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
	if (!zone_digits(&c, &t.zone) || c.p != c.end || !(c.p - sign == 1 || c.p - sign == 6))
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

/* n digits of v, leading zeros included. */
static char *put_digits(char *p, int v, int n)
{
	for (int i = n - 1; i >= 0; i--, v /= 10)
		p[i] = (char)('0' + v % 10);
	return p + n;
}

/* Not by printf, which took longer than all else that a line out of a container needs. */
static void put_date(struct buf *out, const struct civil *t)
{
	char *p = buf_reserve(out, 19);

	/* What int64 holds of ns lies in the years 1677 to 2262. */
	p = put_digits(p, t->year, 4);
	*p++ = '-';
	p = put_digits(p, t->month, 2);
	*p++ = '-';
	p = put_digits(p, t->day, 2);
	*p++ = 'T';
	p = put_digits(p, t->hour, 2);
	*p++ = ':';
	p = put_digits(p, t->minute, 2);
	*p++ = ':';
	put_digits(p, t->second, 2);
	out->n += 19;
}

void time_format(struct buf *out, int64_t ns)
{
	struct civil t = civil_of(ns, 0);
	char digits[9];
	size_t n = sizeof digits;

	put_date(out, &t);
	if (t.nanos) {
		put_digits(digits, t.nanos, (int)n);
		while (digits[n - 1] == '0')
			n--;
		buf_char(out, '.');
		buf_put(out, digits, n);
	}
	buf_char(out, 'Z');
}

void time_json(struct buf *out, const char *key, int64_t ns)
{
	buf_printf(out, ",\"%s\":", key);
	if (ns == INT64_MAX) {
		buf_c(out, "null");
		return;
	}
	buf_char(out, '"');
	time_format(out, ns);
	buf_char(out, '"');
}

void time_format_local(struct buf *out, int64_t ns)
{
	int east = time_local_zone(ns), minutes = (east < 0 ? -east : east) / 60;
	struct civil t = civil_of(ns, east);

	put_date(out, &t);
	buf_printf(out, ".%03d%c%02d:%02d", t.nanos / 1000000, east < 0 ? '-' : '+', minutes / 60,
		minutes % 60);
}
