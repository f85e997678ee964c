/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns that spell the time of their record: the year, the hour, the
 * milliseconds of a line are what the record's timestamp says already, and cost
 * a few bytes a column instead of bytes a line.
 *
 * A column does not know its neighbours, so each finds its zone alone: the first
 * rows leave few of the 105 offsets from -12 to +14 hours, and all rows decide.
 * Fields below the minute have no zone.  A column is cut into runs, each with a
 * zone of its own: streams of hosts in several zones lie one after the other in
 * a block, and summer time ends.  A row that does not fit is an exception, so
 * that one odd line does not spoil a column.
 *
 * Body: byte field; varint number of runs; for each varint rows, byte zone in
 * quarter hours + 48; varint number of exceptions; for each varint rows since the
 * one before, varint value.
 */
#include "store/lines/column_code.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "codec/codec.h"

/* On the disk; never renumbered. */
enum field {
	FIELD_YEAR = 1,
	FIELD_YEAR2,  /* of the century */
	FIELD_MONTH,  /* 1 to 12 */
	FIELD_DAY,    /* of the month */
	FIELD_HOUR,   /* 0 to 23 */
	FIELD_HOUR12, /* 12, 1 to 11 */
	FIELD_MINUTE,
	FIELD_SECOND,
	FIELD_YMD,     /* 20251119 */
	FIELD_YMD2,    /* 251119 */
	FIELD_MD,      /* 1119 */
	FIELD_HMS,     /* 235959 */
	FIELD_HM,      /* 2359 */
	FIELD_YMDHMS,  /* 20251119235959 */
	FIELD_YMDHM,   /* 202511192359 */
	FIELD_YEARDAY, /* 1 to 366 */
	FIELD_EPOCH,   /* seconds since 1970 */
	FIELD_EPOCH3,  /* milliseconds since 1970 */
	FIELD_EPOCH6,
	FIELD_EPOCH9,
	FIELD_FRACTION, /* + d: d digits of the second's fraction, 1 to 9 */
	FIELD_END = FIELD_FRACTION + 10,
};

enum {
	DAY_SECONDS = 86400,
	ZONE_SECONDS = 900,
	ZONE_BIAS = 48, /* -12:00 */
	ZONES = 105,    /* to +14:00 */
	RUNS_MAX = 64,
	CHUNK = 512,           /* rows that are computed at a time */
	LOOK = 16,             /* rows that must tell a zone, or that a run has ended */
	LOOK_WRONG = 3,        /* of which so many may be odd */
	EXCEPTIONS_SHARE = 32, /* one row of so many may be an exception */
};

static const uint32_t powers[] = {
	1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000};

void column_times_set(struct column_times *t, const int64_t *ns, uint32_t n)
{
	t->ns = ns;
	t->n = n;
	t->cut = false;
}

void column_times_fini(struct column_times *t)
{
	free(t->day);
	*t = (struct column_times){0};
}

/* The date of a day since 1970 in the proleptic Gregorian calendar: years begin in March here, so
 * that a leap day is the last of its year. */
static struct column_date date_of(int32_t days)
{
	const int64_t era_days = 146097, from_0000_march = 719468;
	int64_t shifted = days + from_0000_march;
	int64_t era = (shifted >= 0 ? shifted : shifted - era_days + 1) / era_days;
	uint32_t in_era = (uint32_t)(shifted - era * era_days);
	uint32_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	uint32_t from_march = in_era - (365 * year + year / 4 - year / 100);
	uint32_t month = (5 * from_march + 2) / 153;
	bool next_year = month >= 10;
	struct column_date c = {
		.year = (int32_t)((int64_t)year + era * 400 + next_year),
		.month = next_year ? month - 9 : month + 3,
		.day = from_march - (153 * month + 2) / 5 + 1,
	};
	bool leap = (c.year % 4 == 0 && c.year % 100 != 0) || c.year % 400 == 0;
	/* March 1 is day 60 or 61. */
	c.year_day = next_year ? from_march - 305 : from_march + 60 + leap;
	return c;
}

static void cut(struct column_times *t)
{
	const int64_t second_ns = 1000000000;
	int64_t last = INT64_MIN, last_day = 0;
	uint32_t last_second = 0;

	if (t->cut || t->n == 0)
		return;
	if (t->cap < t->n) {
		free(t->day);
		t->cap = t->n;
		t->day = xmalloc((size_t)t->cap * 3 * sizeof(uint32_t));
	}
	t->second = (uint32_t *)(t->day + t->cap);
	t->nano = t->second + t->cap;
	for (uint32_t i = 0; i < t->n; i++) {
		int64_t second = t->ns[i] / second_ns, nano = t->ns[i] % second_ns;
		if (nano < 0) {
			nano += second_ns;
			second--;
		}
		if (second != last) {
			last = second;
			last_day = second / DAY_SECONDS;
			if (second % DAY_SECONDS < 0)
				last_day--;
			last_second = (uint32_t)(second - last_day * DAY_SECONDS);
		}
		t->day[i] = (int32_t)last_day;
		t->second[i] = last_second;
		t->nano[i] = (uint32_t)nano;
	}
	for (int32_t i = 0; i < 3; i++) {
		t->near[0][i] = date_of(t->day[0] + i - 1);
		t->near[1][i] = date_of(t->day[t->n / 2] + i - 1);
	}
	t->cut = true;
}

/* What of a field changes with the day alone. */
static uint64_t date_value(enum field field, struct column_date c)
{
	uint64_t year = (uint64_t)c.year, year2 = (uint64_t)(((c.year % 100) + 100) % 100);

	switch (field) {
	case FIELD_YEAR: return year;
	case FIELD_YEAR2: return year2;
	case FIELD_MONTH: return c.month;
	case FIELD_DAY: return c.day;
	case FIELD_YEARDAY: return c.year_day;
	case FIELD_MD: return c.month * 100 + c.day;
	case FIELD_YMD2: return year2 * 10000 + c.month * 100 + c.day;
	case FIELD_YMD: return year * 10000 + c.month * 100 + c.day;
	case FIELD_YMDHM: return (year * 10000 + c.month * 100 + c.day) * 10000;
	case FIELD_YMDHMS: return (year * 10000 + c.month * 100 + c.day) * 1000000;
	default: return 0;
	}
}

static uint32_t hm(uint32_t s)
{
	return s / 3600 * 100 + s / 60 % 60;
}

static uint32_t hms(uint32_t s)
{
	return hm(s) * 100 + s % 60;
}

/* Fields of the date, with the time of the day or without. */
static void compute_date(const struct column_times *t, enum field field, int zone, uint32_t from,
	uint32_t n, uint64_t *out)
{
	int32_t last = INT32_MIN; /* no day of a timestamp */
	uint64_t value = 0;

	for (uint32_t i = 0; i < n; i++) {
		int32_t s = (int32_t)t->second[from + i] + zone * ZONE_SECONDS;
		int32_t day = t->day[from + i];
		if (s < 0) {
			s += DAY_SECONDS;
			day--;
		} else if (s >= DAY_SECONDS) {
			s -= DAY_SECONDS;
			day++;
		}
		if (day != last) {
			last = day;
			value = date_value(field, date_of(day));
		}
		out[i] = value;
		if (field == FIELD_YMDHMS)
			out[i] += hms((uint32_t)s);
		else if (field == FIELD_YMDHM)
			out[i] += hm((uint32_t)s);
	}
}

/* Second of the day there. */
static inline uint32_t local(const struct column_times *t, int zone, uint32_t i)
{
	return (t->second[i] + (uint32_t)(DAY_SECONDS + zone * ZONE_SECONDS)) % DAY_SECONDS;
}

/* The values of a field in rows from .. from + n. */
static void compute(const struct column_times *t, enum field field, int zone, uint32_t from,
	uint32_t n, uint64_t *out)
{
	const uint32_t *second = t->second + from, *nano = t->nano + from;
	uint32_t scale;

	switch (field) {
	case FIELD_HOUR:
		for (uint32_t i = 0; i < n; i++)
			out[i] = local(t, zone, from + i) / 3600;
		return;
	case FIELD_HOUR12:
		for (uint32_t i = 0; i < n; i++)
			out[i] = (local(t, zone, from + i) / 3600 + 11) % 12 + 1;
		return;
	case FIELD_MINUTE:
		for (uint32_t i = 0; i < n; i++)
			out[i] = local(t, zone, from + i) / 60 % 60;
		return;
	case FIELD_SECOND:
		for (uint32_t i = 0; i < n; i++)
			out[i] = second[i] % 60;
		return;
	case FIELD_HMS:
		for (uint32_t i = 0; i < n; i++)
			out[i] = hms(local(t, zone, from + i));
		return;
	case FIELD_HM:
		for (uint32_t i = 0; i < n; i++)
			out[i] = hm(local(t, zone, from + i));
		return;
	case FIELD_EPOCH:
	case FIELD_EPOCH3:
	case FIELD_EPOCH6:
	case FIELD_EPOCH9:
		scale = powers[(field - FIELD_EPOCH) * 3];
		for (uint32_t i = 0; i < n; i++)
			out[i] = (uint64_t)((int64_t)t->day[from + i] * DAY_SECONDS + second[i]) *
					 scale +
				 nano[i] / (1000000000 / scale);
		return;
	default:
		if (field < FIELD_FRACTION) {
			compute_date(t, field, zone, from, n, out);
			return;
		}
		scale = powers[9 - (field - FIELD_FRACTION)];
		for (uint32_t i = 0; i < n; i++)
			out[i] = nano[i] / scale;
	}
}

static bool has_zone(enum field field)
{
	return field != FIELD_SECOND && field < FIELD_EPOCH;
}

static bool is_date(enum field field)
{
	switch (field) {
	case FIELD_HOUR:
	case FIELD_HOUR12:
	case FIELD_MINUTE:
	case FIELD_HMS:
	case FIELD_HM: return false;
	default: return has_zone(field);
	}
}

/* Encoding */

struct run {
	uint32_t end; /* the row after it */
	uint8_t zone; /* + ZONE_BIAS */
};

struct fit {
	enum field field;
	struct run runs[RUNS_MAX];
	uint32_t n_runs;
	uint32_t exceptions_max, n_exceptions;
	uint32_t *exceptions; /* rows */
};

static uint64_t one(const struct column_times *t, enum field field, int zone, uint32_t row)
{
	uint64_t v;

	compute(t, field, zone, row, 1, &v);
	return v;
}

/* The range of a field's values, so that most columns are not tried at all. */
static bool in_range(enum field field, uint64_t value)
{
	static const struct {
		uint64_t min, max;
	} ranges[] = {
		[FIELD_YEAR] = {1900, 2300},
		[FIELD_YEAR2] = {0, 99},
		[FIELD_MONTH] = {1, 12},
		[FIELD_DAY] = {1, 31},
		[FIELD_HOUR] = {0, 23},
		[FIELD_HOUR12] = {1, 12},
		[FIELD_MINUTE] = {0, 59},
		[FIELD_SECOND] = {0, 60},
		[FIELD_YMD] = {19000101, 23001231},
		[FIELD_YMD2] = {101, 991231},
		[FIELD_MD] = {101, 1231},
		[FIELD_HMS] = {0, 235960},
		[FIELD_HM] = {0, 2359},
		[FIELD_YMDHMS] = {19000101000000, 23001231235960},
		[FIELD_YMDHM] = {190001010000, 230012312359},
		[FIELD_YEARDAY] = {1, 366},
		[FIELD_EPOCH] = {100000000, 9999999999},
		[FIELD_EPOCH3] = {100000000000, 9999999999999},
		[FIELD_EPOCH6] = {100000000000000, 9999999999999999},
		[FIELD_EPOCH9] = {100000000000000000, INT64_MAX},
	};

	return value >= ranges[field].min && value <= ranges[field].max;
}

/* A row by which it is seen early that a column is no field of the time. */
struct probe {
	uint32_t row;
	uint64_t value;
	const struct column_date *near;
};

/* Could the field of a row have its value in any zone?  Cheap, and seldom true by chance: it
 * spares most columns the search for a zone. */
static bool possible(const struct column_times *t, enum field field, const struct probe *p)
{
	uint32_t row = p->row;
	uint64_t value = p->value;
	const uint64_t quarter = 15;
	uint64_t minute = t->second[row] / 60;

	if (field < FIELD_FRACTION && !in_range(field, value))
		return false;
	switch (field) {
	case FIELD_HOUR:
	case FIELD_HOUR12: return true;
	case FIELD_MINUTE: return (value + 60 - minute % 60) % quarter == 0;
	case FIELD_HM: return (value % 100 + 60 - minute % 60) % quarter == 0;
	case FIELD_HMS:
		return value % 100 == t->second[row] % 60 &&
		       (value / 100 % 100 + 60 - minute % 60) % quarter == 0;
	case FIELD_YMDHM: value -= value % 10000; break;
	case FIELD_YMDHMS: value -= value % 1000000; break;
	case FIELD_SECOND:
	case FIELD_EPOCH:
	case FIELD_EPOCH3:
	case FIELD_EPOCH6:
	case FIELD_EPOCH9: return one(t, field, 0, row) == value;
	default:
		if (field >= FIELD_FRACTION)
			return one(t, field, 0, row) == value;
	}
	for (int i = 0; i < 3; i++)
		if (date_value(field, p->near[i]) == value)
			return true;
	return false;
}

/* Rows that are to tell a zone. */
struct look {
	uint32_t n, row[2 * LOOK];
};

/* LOOK rows from here on. */
static struct look look_near(const struct column *c, uint32_t from)
{
	struct look l = {0};

	while (l.n < LOOK && from < c->n)
		l.row[l.n++] = from++;
	return l;
}

/* LOOK rows all over the column, so that it does not matter if the first ones are odd, and the rows
 * before and after the first changes: midnight tells the zone of a day, the full hour that of an
 * hour.  The distance is an odd number, as what is odd comes in round ones. */
static struct look look_all_over(const struct column *c)
{
	struct look l = {0};
	uint32_t step = c->n / LOOK | 1;

	for (uint32_t i = 0; i < c->n && l.n < LOOK; i += step)
		l.row[l.n++] = i;
	for (uint32_t i = 1; i < c->n && l.n + 2 <= 2 * LOOK; i++) {
		if (c->number[i] == c->number[i - 1])
			continue;
		l.row[l.n++] = i - 1;
		l.row[l.n++] = i;
	}
	return l;
}

/* How many of the rows a zone does not explain; stops at `enough`. */
static unsigned misfits(const struct column *c, const struct column_times *t, enum field field,
	int zone, const struct look *l, unsigned enough)
{
	unsigned wrong = 0;

	for (uint32_t i = 0; i < l->n && wrong < enough; i++)
		wrong += one(t, field, zone, l->row[i]) != c->number[l->row[i]];
	return wrong;
}

/* The hour alone, of which there are many columns that are none: what the row itself needs. */
static bool hour_fits(
	const struct column_times *t, enum field field, int zone, uint32_t row, uint64_t value)
{
	uint32_t hour = local(t, zone, row) / 3600;

	return (field == FIELD_HOUR ? hour : (hour + 11) % 12 + 1) == value;
}

/* Do so many of the rows have values of no zone at all? */
static bool hopeless(const struct column *c, const struct column_times *t, enum field field,
	const struct look *l, unsigned enough)
{
	struct column_date near[3] = {0};
	int32_t last = INT32_MIN; /* no day of a timestamp */
	unsigned wrong = 0;

	for (uint32_t i = 0; i < l->n && wrong < enough; i++) {
		uint32_t row = l->row[i];
		if (is_date(field) && t->day[row] != last) {
			last = t->day[row];
			for (int32_t day = 0; day < 3; day++)
				near[day] = date_of(last + day - 1);
		}
		wrong += !possible(t, field, &(struct probe){row, c->number[row], near});
	}
	return wrong >= enough;
}

/* The zone that explains most of the rows looked at, the one found last before others, then the
 * one nearest to UTC; false when none explains four of five. */
static bool find_zone(const struct column *c, struct column_times *t, enum field field,
	const struct look *l, uint8_t *zone)
{
	bool hour = field == FIELD_HOUR || field == FIELD_HOUR12, found = false;
	uint32_t first = l->row[0], second = l->row[l->n > 1];
	unsigned best = 1 + l->n / 5;

	/* Nearly always: the columns before were of this zone. */
	if (misfits(c, t, field, t->zone, l, 1) == 0) {
		*zone = (uint8_t)(t->zone + ZONE_BIAS);
		return true;
	}
	if (hopeless(c, t, field, l, best))
		return false;
	for (int i = -1; i < (has_zone(field) ? ZONES : 1) && best > 0; i++) {
		/* 0, -1, 1, -2 ... quarter hours. */
		int try = i < 0 ? t->zone : i == 0 ? 0 : i % 2 ? -(i + 1) / 2 : i / 2;
		if (i > 2 * ZONE_BIAS)
			try = i - ZONE_BIAS;
		/* Of two rows one at least is not odd. */
		if (hour && !hour_fits(t, field, try, first, c->number[first]) &&
			!hour_fits(t, field, try, second, c->number[second]))
			continue;
		unsigned wrong = misfits(c, t, field, try, l, best);
		if (wrong < best) {
			best = wrong;
			*zone = (uint8_t)(try + ZONE_BIAS);
			found = true;
		}
	}
	return found;
}

/* From this row on, do the rows have another zone? */
static bool zone_ends(const struct column *c, struct column_times *t, const struct fit *f,
	uint32_t row, uint8_t *zone)
{
	const struct run *run = &f->runs[f->n_runs - 1];
	struct look l = look_near(c, row);

	return f->n_runs < RUNS_MAX && l.n == LOOK &&
	       misfits(c, t, f->field, run->zone - ZONE_BIAS, &l, LOOK) > LOOK - LOOK_WRONG &&
	       find_zone(c, t, f->field, &l, zone) && *zone != run->zone;
}

/* Extend the last run from row *at over the rows that fit it, to the end or to where another zone
 * begins: *at is the row after.  False when there are too many exceptions. */
static bool extend(const struct column *c, struct column_times *t, struct fit *f, uint32_t *at)
{
	struct run *run = &f->runs[f->n_runs - 1];
	int zone = run->zone - ZONE_BIAS;
	uint64_t want[CHUNK];
	uint32_t from = *at;

	while (from < c->n) {
		uint32_t n = c->n - from < CHUNK ? c->n - from : CHUNK;
		compute(t, f->field, zone, from, n, want);
		const uint64_t *have = c->number + from;
		uint64_t differs = 0;
		for (uint32_t i = 0; i < n; i++)
			differs |= have[i] ^ want[i];
		for (uint32_t i = 0; differs && i < n; i++) {
			if (have[i] == want[i])
				continue;
			uint8_t other;
			if (zone_ends(c, t, f, from + i, &other)) {
				run->end = *at = from + i;
				f->runs[f->n_runs++] = (struct run){.zone = other};
				return true;
			}
			if (f->n_exceptions == f->exceptions_max)
				return false;
			if (!f->exceptions)
				f->exceptions = xmalloc(f->exceptions_max * sizeof(*f->exceptions));
			f->exceptions[f->n_exceptions++] = from + i;
		}
		from += n;
	}
	run->end = *at = c->n;
	return true;
}

/* Runs and exceptions of a field over all rows. */
static bool fit_field(const struct column *c, struct column_times *t, struct fit *f)
{
	struct look everywhere = look_all_over(c), start = look_near(c, 0);
	uint32_t at = 0;
	uint8_t zone;

	/* Where there are several zones, the first rows tell the first. */
	if (!find_zone(c, t, f->field, &everywhere, &zone) &&
		!find_zone(c, t, f->field, &start, &zone))
		return false;
	f->runs[0].zone = zone;
	f->n_runs = 1;
	f->n_exceptions = 0;
	while (at < c->n)
		if (!extend(c, t, f, &at))
			return false;
	if (has_zone(f->field))
		t->zone = (int8_t)(zone - ZONE_BIAS);
	return true;
}

static void put_fit(const struct column *c, const struct fit *f, struct buf *out)
{
	uint32_t at = 0;

	buf_char(out, (char)f->field);
	varint_put(out, f->n_runs);
	for (uint32_t i = 0; i < f->n_runs; i++) {
		varint_put(out, f->runs[i].end - at);
		buf_char(out, (char)f->runs[i].zone);
		at = f->runs[i].end;
	}
	varint_put(out, f->n_exceptions);
	at = 0;
	for (uint32_t i = 0; i < f->n_exceptions; i++) {
		varint_put(out, f->exceptions[i] - at);
		varint_put(out, c->number[f->exceptions[i]]);
		at = f->exceptions[i];
	}
}

bool column_time_encode(const struct column *c, const struct column_range *r,
	struct column_times *t, struct buf *out)
{
	/* The digits of a fraction are fixed.  Hours from 1 to 12 are tried as those of a clock of
	 * 12 hours: before noon both are the same, and after it the other would need a zone of its
	 * own for each half of a day. */
	enum field fraction = r->digits_max && r->digits_min == r->digits_max
				      ? FIELD_FRACTION + r->digits_max
				      : FIELD_END;
	enum field no_hour = r->min < 1 || r->max > 12 ? FIELD_HOUR12 : FIELD_HOUR;
	struct fit f = {.exceptions_max = c->n / EXCEPTIONS_SHARE};
	struct probe first, middle;
	bool found = false;

	assert(t->n == c->n);
	cut(t);
	first = (struct probe){0, c->number[0], t->near[0]};
	middle = (struct probe){c->n / 2, c->number[c->n / 2], t->near[1]};
	for (enum field field = FIELD_YEAR; field < FIELD_END && !found; field++) {
		if ((field >= FIELD_FRACTION && field != fraction) || field == no_hour)
			continue;
		if (!possible(t, field, &first) && !possible(t, field, &middle))
			continue;
		f.field = field;
		found = fit_field(c, t, &f);
		if (found)
			put_fit(c, &f, out);
	}
	free(f.exceptions);
	return found;
}

/* Decoding */

static bool take_varint(struct str *in, uint64_t max, uint64_t *out)
{
	size_t used = varint_get(*in, out);

	*in = str_sub(*in, used, in->n);
	return used > 0 && *out <= max;
}

static bool take_byte(struct str *in, uint8_t *out)
{
	if (in->n == 0)
		return false;
	*out = (uint8_t)in->p[0];
	*in = str_sub(*in, 1, in->n);
	return true;
}

static bool take_runs(struct column *c, struct str *in, const struct column_times *t,
	enum field field, uint32_t n)
{
	uint64_t n_runs, rows;
	uint32_t at = 0;
	uint8_t zone;

	if (!take_varint(in, RUNS_MAX, &n_runs))
		return false;
	for (uint64_t i = 0; i < n_runs; i++) {
		if (!take_varint(in, n - at, &rows) || !take_byte(in, &zone) || zone >= ZONES)
			return false;
		compute(t, field, zone - ZONE_BIAS, at, (uint32_t)rows, c->number + at);
		at += (uint32_t)rows;
	}
	return at == n;
}

static bool take_exceptions(struct column *c, struct str *in, uint32_t n)
{
	uint64_t count, distance, value, at = 0;

	if (!take_varint(in, n, &count))
		return false;
	for (uint64_t i = 0; i < count; i++) {
		if (!take_varint(in, n, &distance) || !take_varint(in, UINT64_MAX, &value))
			return false;
		at += distance;
		if (at >= n)
			return false;
		c->number[at] = value;
	}
	return in->n == 0;
}

int column_time_decode(
	struct column *c, struct str body, struct column_times *t, uint32_t n, struct error *e)
{
	uint8_t field;

	if (t->n < n)
		return error_set(e, ERR_CORRUPT,
			"column of times: has %u values, but there are %u rows", n, t->n);
	cut(t);
	if (!take_byte(&body, &field) || field < FIELD_YEAR || field == FIELD_FRACTION ||
		field >= FIELD_END || !take_runs(c, &body, t, field, n) ||
		!take_exceptions(c, &body, n))
		return error_set(e, ERR_CORRUPT, "column of times: bad field, run or exception");
	return 0;
}
