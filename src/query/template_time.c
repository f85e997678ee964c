/* SPDX-License-Identifier: Apache-2.0 */
#include "query/template_time.h"

#include <stdio.h>
#include <stdlib.h>

static const int64_t day_s = 86400;

static const char *const months[] = {"January", "February", "March", "April", "May", "June", "July",
	"August", "September", "October", "November", "December"};
static const char *const days[] = {
	"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

/* What a layout is made of.  Where one is the beginning of another the longer comes first. */
enum element {
	LITERAL,
	MONTH_LONG,
	MONTH_SHORT,
	MONTH_TWO,
	MONTH_ONE,
	WEEKDAY_LONG,
	WEEKDAY_SHORT,
	DAY_TWO,
	DAY_BLANK,
	DAY_ONE,
	YEAR_DAY_THREE,
	YEAR_DAY_BLANK,
	HOUR_24,
	HOUR_TWO,
	HOUR_ONE,
	MINUTE_TWO,
	MINUTE_ONE,
	SECOND_TWO,
	SECOND_ONE,
	YEAR_FOUR,
	YEAR_TWO,
	PM_UPPER,
	PM_LOWER,
	ZONE_NAME,
	ZONE_Z,            /* those from here on are offsets, and Z for UTC ... */
	ZONE_PLUS,         /* ... or never Z */
	FRACTION,          /* .000 or ,000 */
	FRACTION_OPTIONAL, /* .999 */
};

struct piece_of_layout {
	enum element element;
	struct str text; /* as written in the layout */
	/* Of offsets. */
	bool colons, has_minutes, has_seconds;
};

static const struct {
	const char *text;
	enum element element;
	bool colons, has_minutes, has_seconds;
} elements[] = {
	{"January", MONTH_LONG, 0, 0, 0},
	{"Jan", MONTH_SHORT, 0, 0, 0},
	{"Monday", WEEKDAY_LONG, 0, 0, 0},
	{"Mon", WEEKDAY_SHORT, 0, 0, 0},
	{"MST", ZONE_NAME, 0, 0, 0},
	{"2006", YEAR_FOUR, 0, 0, 0},
	{"002", YEAR_DAY_THREE, 0, 0, 0},
	{"__2", YEAR_DAY_BLANK, 0, 0, 0},
	{"01", MONTH_TWO, 0, 0, 0},
	{"02", DAY_TWO, 0, 0, 0},
	{"03", HOUR_TWO, 0, 0, 0},
	{"04", MINUTE_TWO, 0, 0, 0},
	{"05", SECOND_TWO, 0, 0, 0},
	{"06", YEAR_TWO, 0, 0, 0},
	{"15", HOUR_24, 0, 0, 0},
	{"PM", PM_UPPER, 0, 0, 0},
	{"pm", PM_LOWER, 0, 0, 0},
	{"-07:00:00", ZONE_PLUS, 1, 1, 1},
	{"-07:00", ZONE_PLUS, 1, 1, 0},
	{"-070000", ZONE_PLUS, 0, 1, 1},
	{"-0700", ZONE_PLUS, 0, 1, 0},
	{"-07", ZONE_PLUS, 0, 0, 0},
	{"Z07:00:00", ZONE_Z, 1, 1, 1},
	{"Z07:00", ZONE_Z, 1, 1, 0},
	{"Z070000", ZONE_Z, 0, 1, 1},
	{"Z0700", ZONE_Z, 0, 1, 0},
	{"Z07", ZONE_Z, 0, 0, 0},
	{"1", MONTH_ONE, 0, 0, 0},
	{"2", DAY_ONE, 0, 0, 0},
	{"3", HOUR_ONE, 0, 0, 0},
	{"4", MINUTE_ONE, 0, 0, 0},
	{"5", SECOND_ONE, 0, 0, 0},
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

/* .000 or .999, and no digit behind. */
static size_t fraction_length(struct str s, enum element *element)
{
	size_t n = 1;

	if (s.n < 2 || (s.p[0] != '.' && s.p[0] != ',') || (s.p[1] != '0' && s.p[1] != '9'))
		return 0;
	while (n < s.n && s.p[n] == s.p[1])
		n++;
	if (n < s.n && is_digit(s.p[n]))
		return 0;
	*element = s.p[1] == '0' ? FRACTION : FRACTION_OPTIONAL;
	return n;
}

/* The element that the layout begins with; false when it begins with plain text. */
static bool element_at(struct str s, struct piece_of_layout *out)
{
	static const bool begins[256] = {['J'] = 1,
		['M'] = 1,
		['P'] = 1,
		['Z'] = 1,
		['p'] = 1,
		['_'] = 1,
		['-'] = 1,
		['.'] = 1,
		[','] = 1,
		['0' ... '5'] = 1};
	size_t n;

	if (!begins[(unsigned char)s.p[0]])
		return false;
	n = fraction_length(s, &out->element);
	if (n > 0) {
		out->text = str_sub(s, 0, n);
		return true;
	}
	/* _2006 is a literal _ before the year. */
	if (str_starts(s, STR("_2")) && !str_starts(s, STR("_2006"))) {
		out->element = DAY_BLANK;
		out->text = str_sub(s, 0, 2);
		return true;
	}
	for (size_t i = 0; i < sizeof elements / sizeof *elements; i++) {
		struct str text;
		if (elements[i].text[0] != s.p[0])
			continue;
		text = str_c(elements[i].text);
		if (!str_starts(s, text))
			continue;
		/* "Janet" and "Month" are words. */
		if ((elements[i].element == MONTH_SHORT || elements[i].element == WEEKDAY_SHORT) &&
			s.n > 3 && is_lower(s.p[3]))
			return false;
		*out = (struct piece_of_layout){elements[i].element, str_sub(s, 0, text.n),
			elements[i].colons, elements[i].has_minutes, elements[i].has_seconds};
		return true;
	}
	return false;
}

/* The next element or run of plain text. */
static bool next_piece(struct str *layout, struct piece_of_layout *out)
{
	size_t n = 0;

	if (layout->n == 0)
		return false;
	*out = (struct piece_of_layout){0};
	if (!element_at(*layout, out)) {
		struct piece_of_layout other;
		do
			n++;
		while (n < layout->n && !element_at(str_sub(*layout, n, layout->n), &other));
		*out = (struct piece_of_layout){.element = LITERAL, .text = str_sub(*layout, 0, n)};
	}
	*layout = str_sub(*layout, out->text.n, layout->n);
	return true;
}

/* ---- the calendar ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* Days since 1970-01-01.  Years begin in March here, so that a leap day is the last of its year. */
static int64_t days_of(int64_t year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year, era = floor_div(y, 400), of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

int64_t time_seconds(const struct time_parts *p)
{
	return days_of(p->year, p->month, p->day) * day_s + p->hour * 3600 + p->minute * 60 +
	       p->second;
}

static struct time_parts time_parts(const struct datum_time *t)
{
	int64_t s = t->s + t->offset, day = floor_div(s, day_s), rest = s - day * day_s;
	int64_t z = day + 719468, era = floor_div(z, 146097), of_era = z - era * 146097;
	int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * of_year + 2) / 153; /* from March */

	return (struct time_parts){
		.year = year + era * 400 + (month >= 10),
		.month = (int)(month < 10 ? month + 3 : month - 9),
		.day = (int)(of_year - (153 * month + 2) / 5 + 1),
		.hour = (int)(rest / 3600),
		.minute = (int)(rest / 60 % 60),
		.second = (int)(rest % 60),
		.ns = t->ns,
	};
}

/* 0 is Sunday. */
static int time_weekday(const struct datum_time *t)
{
	int64_t day = floor_div(t->s + t->offset, day_s);

	return (int)(((day + 4) % 7 + 7) % 7); /* the epoch was a Thursday */
}

/* From 1. */
static int time_year_day(const struct datum_time *t)
{
	struct time_parts p = time_parts(t);

	return (int)(days_of(p.year, p.month, p.day) - days_of(p.year, 1, 1)) + 1;
}

/* ---- writing ---- */

static void put_two(struct buf *out, int v)
{
	buf_char(out, (char)('0' + v / 10));
	buf_char(out, (char)('0' + v % 10));
}

static void put_offset(struct buf *out, const struct piece_of_layout *l, int32_t offset)
{
	int32_t v = abs(offset);

	if (l->element == ZONE_Z && offset == 0) {
		buf_char(out, 'Z');
		return;
	}
	buf_printf(out, "%c%02d", offset < 0 ? '-' : '+', v / 3600);
	if (l->has_minutes)
		buf_printf(out, l->colons ? ":%02d" : "%02d", v / 60 % 60);
	if (l->has_seconds)
		buf_printf(out, l->colons ? ":%02d" : "%02d", v % 60);
}

static void put_zone_name(struct buf *out, int32_t offset)
{
	int32_t v = abs(offset);

	if (offset == 0) {
		buf_c(out, "UTC");
		return;
	}
	buf_printf(out, "%c%02d", offset < 0 ? '-' : '+', v / 3600);
	if (v / 60 % 60)
		buf_printf(out, "%02d", v / 60 % 60);
}

static void put_fraction(struct buf *out, const struct piece_of_layout *l, int ns)
{
	char digits[16];
	size_t n = l->text.n - 1;

	snprintf(digits, sizeof digits, "%09u", (unsigned)ns % 1000000000u);
	if (n > 9)
		n = 9;
	while (l->element == FRACTION_OPTIONAL && n > 0 && digits[n - 1] == '0')
		n--;
	if (l->element == FRACTION_OPTIONAL && n == 0)
		return;
	buf_char(out, l->text.p[0]);
	buf_put(out, digits, n);
}

static void put_element(struct buf *out, const struct piece_of_layout *l,
	const struct datum_time *t, const struct time_parts *p)
{
	int hour = p->hour % 12 ? p->hour % 12 : 12;

	switch (l->element) {
	case LITERAL: buf_str(out, l->text); break;
	case MONTH_LONG: buf_c(out, months[p->month - 1]); break;
	case MONTH_SHORT: buf_put(out, months[p->month - 1], 3); break;
	case MONTH_TWO: put_two(out, p->month); break;
	case MONTH_ONE: buf_printf(out, "%d", p->month); break;
	case WEEKDAY_LONG: buf_c(out, days[time_weekday(t)]); break;
	case WEEKDAY_SHORT: buf_put(out, days[time_weekday(t)], 3); break;
	case DAY_TWO: put_two(out, p->day); break;
	case DAY_BLANK: buf_printf(out, "%2d", p->day); break;
	case DAY_ONE: buf_printf(out, "%d", p->day); break;
	case YEAR_DAY_THREE: buf_printf(out, "%03d", time_year_day(t)); break;
	case YEAR_DAY_BLANK: buf_printf(out, "%3d", time_year_day(t)); break;
	case HOUR_24: put_two(out, p->hour); break;
	case HOUR_TWO: put_two(out, hour); break;
	case HOUR_ONE: buf_printf(out, "%d", hour); break;
	case MINUTE_TWO: put_two(out, p->minute); break;
	case MINUTE_ONE: buf_printf(out, "%d", p->minute); break;
	case SECOND_TWO: put_two(out, p->second); break;
	case SECOND_ONE: buf_printf(out, "%d", p->second); break;
	case YEAR_FOUR: buf_printf(out, "%04lld", (long long)p->year); break;
	case YEAR_TWO: buf_printf(out, "%02lld", (long long)llabs(p->year % 100)); break;
	case PM_UPPER: buf_c(out, p->hour >= 12 ? "PM" : "AM"); break;
	case PM_LOWER: buf_c(out, p->hour >= 12 ? "pm" : "am"); break;
	case ZONE_NAME: put_zone_name(out, t->offset); break;
	case ZONE_Z:
	case ZONE_PLUS: put_offset(out, l, t->offset); break;
	case FRACTION:
	case FRACTION_OPTIONAL: put_fraction(out, l, p->ns); break;
	}
}

void time_layout_put(struct buf *out, const struct datum_time *t, struct str layout)
{
	struct time_parts p = time_parts(t);
	struct piece_of_layout l;

	while (next_piece(&layout, &l))
		put_element(out, &l, t, &p);
}

void time_string(struct buf *out, const struct datum_time *t)
{
	struct str layout = STR("2006-01-02 15:04:05.999999999 -0700 MST");

	/* A zone without a name is written as its offset once more. */
	if (t->offset)
		layout = STR("2006-01-02 15:04:05.999999999 -0700 -0700");
	time_layout_put(out, t, layout);
}

/* ---- reading ---- */

struct reader {
	struct str text;
	struct time_read *out;
	bool pm, pm_set;
	int year_day; /* 0: none */
};

static bool read_name(struct reader *r, const char *const *names, size_t n, size_t length, int *out)
{
	for (size_t i = 0; i < n; i++) {
		size_t take = length ? length : strlen(names[i]);
		if (r->text.n < take ||
			!str_eq_nocase(str_sub(r->text, 0, take), str_make(names[i], take)))
			continue;
		r->text = str_sub(r->text, take, r->text.n);
		*out = (int)i;
		return true;
	}
	return false;
}

/* From `least` to `most` digits. */
static bool read_digits(struct reader *r, size_t least, size_t most, int *out)
{
	size_t n = 0;
	int v = 0;

	while (n < most && n < r->text.n && is_digit(r->text.p[n]))
		v = v * 10 + (r->text.p[n++] - '0');
	if (n < least)
		return false;
	r->text = str_sub(r->text, n, r->text.n);
	*out = v;
	return true;
}

static bool read_within(
	struct reader *r, size_t least_digits, size_t most_digits, int least, int most, int *out)
{
	return read_digits(r, least_digits, most_digits, out) && *out >= least && *out <= most;
}

static void skip_blanks(struct reader *r)
{
	while (r->text.n && r->text.p[0] == ' ')
		r->text = str_sub(r->text, 1, r->text.n);
}

/* A blank of the layout takes any number of them, also none before the end. */
static bool read_literal(struct reader *r, struct str literal)
{
	for (size_t i = 0; i < literal.n; i++) {
		if (literal.p[i] == ' ') {
			if (r->text.n && r->text.p[0] != ' ')
				return false;
			while (i + 1 < literal.n && literal.p[i + 1] == ' ')
				i++;
			skip_blanks(r);
			continue;
		}
		if (r->text.n == 0 || r->text.p[0] != literal.p[i])
			return false;
		r->text = str_sub(r->text, 1, r->text.n);
	}
	return true;
}

static bool read_offset(struct reader *r, const struct piece_of_layout *l)
{
	int hours, minutes = 0, seconds = 0, sign;

	r->out->has_offset = true;
	if (l->element == ZONE_Z && r->text.n && r->text.p[0] == 'Z') {
		r->text = str_sub(r->text, 1, r->text.n);
		r->out->offset = 0;
		return true;
	}
	if (r->text.n == 0 || (r->text.p[0] != '+' && r->text.p[0] != '-'))
		return false;
	sign = r->text.p[0] == '-' ? -1 : 1;
	r->text = str_sub(r->text, 1, r->text.n);
	if (!read_digits(r, 2, 2, &hours) || hours > 24)
		return false;
	if (l->has_minutes && ((l->colons && !read_literal(r, STR(":"))) ||
				      !read_digits(r, 2, 2, &minutes) || minutes > 59))
		return false;
	if (l->has_seconds && ((l->colons && !read_literal(r, STR(":"))) ||
				      !read_digits(r, 2, 2, &seconds) || seconds > 59))
		return false;
	r->out->offset = sign * (hours * 3600 + minutes * 60 + seconds);
	return true;
}

/* Three or four capital letters, or "+03".  Names other than UTC say nothing of an offset, as in
 * Go, which would make one up with offset 0. */
static bool read_zone_name(struct reader *r)
{
	size_t n = 0;
	int hours;

	if (r->text.n && (r->text.p[0] == '+' || r->text.p[0] == '-')) {
		int sign = r->text.p[0] == '-' ? -1 : 1;
		r->text = str_sub(r->text, 1, r->text.n);
		if (!read_digits(r, 2, 2, &hours) || hours > 14)
			return false;
		r->out->has_offset = true;
		r->out->offset = sign * hours * 3600;
		return true;
	}
	while (n < r->text.n && n < 5 && r->text.p[n] >= 'A' && r->text.p[n] <= 'Z')
		n++;
	if (n < 3)
		return false;
	if (str_eq(str_sub(r->text, 0, n), STR("UTC"))) {
		r->out->has_offset = true;
		r->out->offset = 0;
	}
	r->text = str_sub(r->text, n, r->text.n);
	return true;
}

/* Digits behind a point; those beyond nanoseconds are dropped. */
static bool read_fraction(struct reader *r, size_t least, size_t most)
{
	size_t n = 1;
	int v = 0;

	while (n < r->text.n && is_digit(r->text.p[n]) && n - 1 < most) {
		if (n <= 9)
			v = v * 10 + (r->text.p[n] - '0');
		n++;
	}
	if (n - 1 < least)
		return false;
	for (size_t i = n - 1; i < 9; i++)
		v *= 10;
	r->out->parts.ns = v;
	r->text = str_sub(r->text, n, r->text.n);
	return true;
}

static bool at_fraction(const struct reader *r)
{
	return r->text.n >= 2 && (r->text.p[0] == '.' || r->text.p[0] == ',') &&
	       is_digit(r->text.p[1]);
}

/* A fraction may stand behind the seconds though the layout has none there. */
static bool read_second(struct reader *r, size_t least, struct str layout)
{
	struct piece_of_layout behind;
	enum element element;

	if (!read_within(r, least, 2, 0, 59, &r->out->parts.second))
		return false;
	if (!at_fraction(r) || fraction_length(layout, &element) ||
		(next_piece(&layout, &behind) && behind.element == LITERAL &&
			behind.text.p[0] == r->text.p[0]))
		return true;
	return read_fraction(r, 1, SIZE_MAX);
}

static bool read_pm(struct reader *r, const char *am, const char *pm)
{
	struct str two = str_sub(r->text, 0, 2);

	if (!str_eq_c(two, am) && !str_eq_c(two, pm))
		return false;
	r->pm_set = true;
	r->pm = str_eq_c(two, pm);
	r->text = str_sub(r->text, 2, r->text.n);
	return true;
}

static bool read_year(struct reader *r, bool two)
{
	int year;

	if (!read_digits(r, two ? 2 : 4, two ? 2 : 4, &year))
		return false;
	if (two)
		year += year >= 69 ? 1900 : 2000;
	r->out->parts.year = year;
	return true;
}

static bool read_element(struct reader *r, const struct piece_of_layout *l, struct str behind)
{
	struct time_parts *p = &r->out->parts;
	int ignored;

	switch (l->element) {
	case LITERAL: return read_literal(r, l->text);
	case MONTH_LONG:
	case MONTH_SHORT:
		if (!read_name(r, months, 12, l->element == MONTH_SHORT ? 3 : 0, &p->month))
			return false;
		p->month++;
		return true;
	case MONTH_TWO: return read_within(r, 2, 2, 1, 12, &p->month);
	case MONTH_ONE: return read_within(r, 1, 2, 1, 12, &p->month);
	case WEEKDAY_LONG: return read_name(r, days, 7, 0, &ignored);
	case WEEKDAY_SHORT: return read_name(r, days, 7, 3, &ignored);
	case DAY_BLANK:
		if (r->text.n && r->text.p[0] == ' ')
			r->text = str_sub(r->text, 1, r->text.n);
		return read_digits(r, 1, 2, &p->day);
	case DAY_TWO: return read_digits(r, 2, 2, &p->day);
	case DAY_ONE: return read_digits(r, 1, 2, &p->day);
	case YEAR_DAY_BLANK: skip_blanks(r); return read_digits(r, 1, 3, &r->year_day);
	case YEAR_DAY_THREE: return read_digits(r, 3, 3, &r->year_day);
	case HOUR_24: return read_within(r, 1, 2, 0, 23, &p->hour);
	case HOUR_TWO: return read_within(r, 2, 2, 0, 12, &p->hour);
	case HOUR_ONE: return read_within(r, 1, 2, 0, 12, &p->hour);
	case MINUTE_TWO: return read_within(r, 2, 2, 0, 59, &p->minute);
	case MINUTE_ONE: return read_within(r, 1, 2, 0, 59, &p->minute);
	case SECOND_TWO: return read_second(r, 2, behind);
	case SECOND_ONE: return read_second(r, 1, behind);
	case YEAR_FOUR: return read_year(r, false);
	case YEAR_TWO: return read_year(r, true);
	case PM_UPPER: return read_pm(r, "AM", "PM");
	case PM_LOWER: return read_pm(r, "am", "pm");
	case ZONE_NAME: return read_zone_name(r);
	case ZONE_Z:
	case ZONE_PLUS: return read_offset(r, l);
	case FRACTION:
		return r->text.n && (r->text.p[0] == '.' || r->text.p[0] == ',') &&
		       read_fraction(r, l->text.n - 1, l->text.n - 1);
	case FRACTION_OPTIONAL: return !at_fraction(r) || read_fraction(r, 1, SIZE_MAX);
	}
	return false;
}

static int month_days(int64_t year, int month)
{
	int64_t from = days_of(year, month, 1);

	return (int)((month == 12 ? days_of(year + 1, 1, 1) : days_of(year, month + 1, 1)) - from);
}

static bool settle(struct reader *r)
{
	struct time_parts *p = &r->out->parts;

	if (r->pm_set && r->pm && p->hour < 12)
		p->hour += 12;
	else if (r->pm_set && !r->pm && p->hour == 12)
		p->hour = 0;
	if (r->year_day) {
		struct datum_time t = {.s = (days_of(p->year, 1, 1) + r->year_day - 1) * day_s};
		struct time_parts by_day = time_parts(&t);
		if (by_day.year != p->year || (p->month && p->month != by_day.month) ||
			(p->day >= 0 && p->day != by_day.day))
			return false;
		p->month = by_day.month;
		p->day = by_day.day;
	}
	if (!p->month)
		p->month = 1;
	if (p->day < 0)
		p->day = 1;
	return p->day >= 1 && p->day <= month_days(p->year, p->month);
}

bool time_layout_get(struct str layout, struct str text, struct time_read *out)
{
	struct reader r = {.text = text, .out = out};
	struct piece_of_layout l;

	*out = (struct time_read){.parts.day = -1};
	while (next_piece(&layout, &l))
		if (!read_element(&r, &l, layout))
			return false;
	return r.text.n == 0 && settle(&r);
}
