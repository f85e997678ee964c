/* SPDX-License-Identifier: Apache-2.0 */
#include "base/duration.h"

/* Order matters where one name is the head of another: "ms" before "m". */
static const struct unit {
	struct str name;
	uint64_t ns;
} units[] = {
	{STR_INIT("ns"), 1},
	{STR_INIT("us"), 1000},
	{STR_INIT("\xc2\xb5s"), 1000}, /* micro sign */
	{STR_INIT("\xce\xbcs"), 1000}, /* Greek mu */
	{STR_INIT("ms"), 1000000},
	{STR_INIT("s"), 1000000000},
	{STR_INIT("m"), 60 * 1000000000ull},
	{STR_INIT("h"), 3600 * 1000000000ull},
	{STR_INIT("d"), 86400 * 1000000000ull},
	{STR_INIT("w"), 7 * 86400 * 1000000000ull},
	{STR_INIT("y"), 365 * 86400 * 1000000000ull},
};

static const struct unit *find_unit(struct str s)
{
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (str_starts(s, units[i].name))
			return &units[i];
	return NULL;
}

static bool is_digit(struct str s)
{
	return s.n && s.p[0] >= '0' && s.p[0] <= '9';
}

static struct str skip(struct str s, size_t n)
{
	return str_make(s.p + n, s.n - n);
}

/* The digits after the point, as a numerator over *scale; what is finer than 10^-18 is cut. */
static struct str read_fraction(struct str s, uint64_t *fraction, uint64_t *scale)
{
	*fraction = 0;
	*scale = 1;
	for (; is_digit(s); s = skip(s, 1)) {
		if (*scale >= 1000000000000000000ull)
			continue;
		*fraction = *fraction * 10 + (uint64_t)(s.p[0] - '0');
		*scale *= 10;
	}
	return s;
}

/* One "1.5h" at the head of *s, added to *sum. */
static bool read_term(struct str *s, uint64_t *sum)
{
	const struct unit *unit;
	uint64_t whole = 0, fraction = 0, scale = 1;
	bool any = is_digit(*s);

	for (; is_digit(*s); *s = skip(*s, 1))
		if (__builtin_mul_overflow(whole, 10u, &whole) ||
			__builtin_add_overflow(whole, (uint64_t)(s->p[0] - '0'), &whole))
			return false;
	if (s->n && s->p[0] == '.') {
		*s = skip(*s, 1);
		any |= is_digit(*s);
		*s = read_fraction(*s, &fraction, &scale);
	}
	unit = find_unit(*s);
	if (!any || !unit)
		return false;
	*s = skip(*s, unit->name.n);
	fraction = (uint64_t)((unsigned __int128)fraction * unit->ns / scale);
	return !__builtin_mul_overflow(whole, unit->ns, &whole) &&
	       !__builtin_add_overflow(*sum, whole, sum) &&
	       !__builtin_add_overflow(*sum, fraction, sum);
}

bool duration_parse(struct str s, int64_t *out_ns)
{
	bool negative = s.n && s.p[0] == '-';
	uint64_t sum = 0;

	if (negative)
		s = skip(s, 1);
	if (s.n == 0)
		return false;
	while (s.n)
		if (!read_term(&s, &sum))
			return false;
	if (sum > (uint64_t)INT64_MAX + negative)
		return false;
	*out_ns = negative ? (int64_t)(0 - sum) : (int64_t)sum;
	return true;
}

/* value / unit with its fraction, without trailing zeros: "1.5". */
static void put_fraction(struct buf *out, uint64_t value, uint64_t unit)
{
	uint64_t rest = value % unit;

	buf_u64(out, value / unit);
	if (!rest)
		return;
	buf_char(out, '.');
	while (rest) {
		unit /= 10;
		buf_char(out, (char)('0' + rest / unit));
		rest %= unit;
	}
}

void duration_format(struct buf *out, int64_t ns)
{
	const uint64_t second = 1000000000;
	uint64_t v = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;

	if (ns < 0)
		buf_char(out, '-');
	if (v == 0) {
		buf_c(out, "0s");
	} else if (v < second) {
		uint64_t unit = v < 1000 ? 1 : v < 1000000 ? 1000 : 1000000;
		put_fraction(out, v, unit);
		buf_c(out, unit == 1 ? "ns" : unit == 1000 ? "\xc2\xb5s" : "ms");
	} else {
		if (v >= 3600 * second)
			buf_printf(out, "%lluh", (unsigned long long)(v / (3600 * second)));
		if (v >= 60 * second)
			buf_printf(out, "%llum", (unsigned long long)(v / (60 * second) % 60));
		put_fraction(out, v % (60 * second), second);
		buf_char(out, 's');
	}
}

void duration_put(struct buf *out, int64_t ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} shown[] = {{"d", 86400 * UINT64_C(1000000000)}, {"h", 3600 * UINT64_C(1000000000)},
		{"m", 60 * UINT64_C(1000000000)}, {"s", 1000000000}, {"ms", 1000000}, {"us", 1000},
		{"ns", 1}};
	uint64_t left = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;

	if (ns == 0)
		buf_c(out, "0s");
	if (ns < 0)
		buf_char(out, '-');
	for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
		if (left >= shown[i].ns)
			buf_printf(out, "%llu%s", (unsigned long long)(left / shown[i].ns),
				shown[i].name);
		left %= shown[i].ns;
	}
}
