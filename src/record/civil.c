/* SPDX-License-Identifier: Apache-2.0 */
#include "record/civil.h"

static bool leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

bool civil_valid(const struct civil *t)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	if (t->year == NO_DATE)
		return t->hour <= 23 && t->minute <= 59 && t->second <= 60;
	if (t->month < 1 || t->month > 12 || t->day < 1 || t->hour > 23 || t->minute > 59 ||
		t->second > 60)
		return false;
	/* Without a year Feb 29 is fine: one that has it will be chosen. */
	return t->day <= days[t->month - 1] ||
	       (t->month == 2 && t->day == 29 && (t->year == NO_YEAR || leap(t->year)));
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

bool civil_ns(const struct civil *t, int zone, int64_t *out)
{
	int64_t s = days_of(t->year, t->month, t->day) * day_s + t->hour * 3600 + t->minute * 60 +
		    t->second - zone;
	int64_t ns;

	/* A negative second and positive nanos: stay in range in between. */
	if (s < 0 && t->nanos) {
		if (__builtin_mul_overflow(s + 1, second_ns, &ns) ||
			__builtin_add_overflow(ns, t->nanos - second_ns, &ns))
			return false;
	} else if (__builtin_mul_overflow(s, second_ns, &ns) ||
		   __builtin_add_overflow(ns, t->nanos, &ns)) {
		return false;
	}
	*out = ns;
	return true;
}

struct civil civil_of(int64_t ns, int zone)
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

static int64_t apart(int64_t a, int64_t b)
{
	int64_t d;

	if (__builtin_sub_overflow(a, b, &d))
		return INT64_MAX;
	return d < 0 ? (d == INT64_MIN ? INT64_MAX : -d) : d;
}

/* The nearest of the years around the observed one.  Two of them lie 365 days apart or more, so
 * that one within half of it needs no look at the others. */
static bool nearest_year(struct civil t, int zone, int64_t observed_ns, int64_t *out)
{
	const int64_t half = 182 * day_s * second_ns;
	int year = civil_of(observed_ns, zone).year;
	/* The next leap year is up to eight years away. */
	int reach = t.month == 2 && t.day == 29 ? 8 : 1;
	int64_t ns, best = -1;

	t.year = year;
	if (civil_valid(&t) && civil_ns(&t, zone, &ns) && apart(ns, observed_ns) <= half) {
		*out = ns;
		return true;
	}
	for (t.year = year - reach; t.year <= year + reach; t.year++) {
		if (!civil_valid(&t) || !civil_ns(&t, zone, &ns))
			continue;
		if (best >= 0 && apart(ns, observed_ns) >= best)
			continue;
		best = apart(ns, observed_ns);
		*out = ns;
	}
	return best >= 0;
}

static bool nearest_day(struct civil t, int zone, int64_t observed_ns, int64_t *out)
{
	const struct civil day = civil_of(observed_ns, zone);
	int64_t ns, base;
	bool found = false;

	t.year = day.year;
	t.month = day.month;
	t.day = day.day;
	if (!civil_ns(&t, zone, &base))
		return false;
	for (int i = -1; i <= 1; i++) {
		if (__builtin_add_overflow(base, i * day_s * second_ns, &ns))
			continue;
		if (!found || apart(ns, observed_ns) < apart(*out, observed_ns))
			*out = ns;
		found = true;
	}
	return found;
}

bool civil_nearest(const struct civil *t, int zone, int64_t observed_ns, int64_t *out)
{
	if (t->year == NO_YEAR)
		return nearest_year(*t, zone, observed_ns, out);
	if (t->year == NO_DATE)
		return nearest_day(*t, zone, observed_ns, out);
	return civil_ns(t, zone, out);
}
