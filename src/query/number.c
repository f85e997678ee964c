/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading numbers runs once a row, mostly over short decimals: what has at most
 * 19 digits, a mantissa below 2^53 and a power of ten within 10^±22 is one
 * multiplication or division of exact doubles, which rounds correctly.  All
 * else goes to strtod as a text of bounded length: a decimal is decided by its
 * first 767 digits and by whether any digit behind them is not zero.
 *
 * Writing finds the shortest digits that read back as the same double: up to
 * 15 digits the rounded decimal is the one, if any is; beyond, 16 and 17 are
 * tried.
 */
#include "query/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	DIGITS_KEPT = 800,      /* significant digits that strtod is given */
	EXPONENT_MAX = 1000000, /* beyond, the value is 0 or infinite whatever the digits are,
				 * as a text is shorter than that times a thousand */
};

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The value of a letter or digit in bases up to 36; 255 for another byte. */
static unsigned digit_value(char c)
{
	if (is_digit(c))
		return (unsigned)(c - '0');
	c = lower(c);
	return c >= 'a' && c <= 'z' ? (unsigned)(c - 'a') + 10 : 255;
}

/* Go's rule: an underscore stands between digits, or between a base's prefix and a digit. */
static bool underscores_fit(struct str s)
{
	bool hex = false, after_digit = false, after_underscore = false;
	size_t i = s.n && (s.p[0] == '+' || s.p[0] == '-');

	if (s.n - i >= 2 && s.p[i] == '0' && memchr("xob", lower(s.p[i + 1]), 3)) {
		hex = lower(s.p[i + 1]) == 'x';
		after_digit = true;
		i += 2;
	}
	for (; i < s.n; i++) {
		if (s.p[i] == '_') {
			if (!after_digit)
				return false;
			after_digit = false;
			after_underscore = true;
			continue;
		}
		after_digit = is_digit(s.p[i]) || (hex && digit_value(s.p[i]) < 16);
		if (after_underscore && !after_digit)
			return false;
		after_underscore = false;
	}
	return !after_underscore;
}

static bool read_special(struct str s, bool negative, bool has_sign, double *out)
{
	if (str_eq_nocase(s, STR("inf")) || str_eq_nocase(s, STR("infinity"))) {
		*out = negative ? -INFINITY : INFINITY;
		return true;
	}
	if (has_sign || !str_eq_nocase(s, STR("nan")))
		return false;
	*out = NAN;
	return true;
}

/* What a number's text is made of: mantissa * base^… as it is read. */
struct scanned {
	struct str whole, fraction; /* digits, with underscores */
	int64_t exponent;           /* of 10, or of 2 in hexadecimal */
	bool hex, underscores;
};

static struct str take_digits(struct str *s, bool hex, bool *underscores, size_t *n_digits)
{
	size_t n = 0;

	for (; n < s->n; n++) {
		if (s->p[n] == '_')
			*underscores = true;
		else if (!(is_digit(s->p[n]) || (hex && digit_value(s->p[n]) < 16)))
			break;
		else
			++*n_digits;
	}
	*s = str_make(s->p + n, s->n - n);
	return str_make(s->p - n, n);
}

static bool take_exponent(struct str s, struct scanned *out)
{
	size_t n_digits = 0, i = s.n && (s.p[0] == '+' || s.p[0] == '-');
	bool negative = i && s.p[0] == '-';
	int64_t v = 0;
	struct str digits;

	s = str_make(s.p + i, s.n - i);
	/* "1e_2" and "1e+_2" are refused here, "1e2_" below. */
	if (s.n == 0 || !is_digit(s.p[0]))
		return false;
	digits = take_digits(&s, false, &out->underscores, &n_digits);
	if (s.n)
		return false;
	for (i = 0; i < digits.n; i++)
		if (digits.p[i] != '_' && v < EXPONENT_MAX)
			v = v * 10 + (digits.p[i] - '0');
	out->exponent = negative ? -v : v;
	return true;
}

/* A number without its sign. */
static bool scan_number(struct str s, struct scanned *out)
{
	size_t n_digits = 0;

	*out = (struct scanned){.hex = s.n >= 2 && s.p[0] == '0' && lower(s.p[1]) == 'x'};
	if (out->hex)
		s = str_make(s.p + 2, s.n - 2);
	out->whole = take_digits(&s, out->hex, &out->underscores, &n_digits);
	if (s.n && s.p[0] == '.') {
		s = str_make(s.p + 1, s.n - 1);
		out->fraction = take_digits(&s, out->hex, &out->underscores, &n_digits);
	}
	if (n_digits == 0)
		return false;
	if (s.n && lower(s.p[0]) == (out->hex ? 'p' : 'e'))
		return take_exponent(str_make(s.p + 1, s.n - 1), out);
	/* A hexadecimal mantissa without its p would be ambiguous. */
	return s.n == 0 && !out->hex;
}

/* Significant digits of both parts into `text`; the rest becomes one digit that is not zero if any
 * of them is not.  *exponent is raised by the digits left out and lowered by those behind the
 * point, each worth `each`. */
static size_t gather(const struct scanned *x, char *text, size_t kept, int each, int64_t *exponent)
{
	size_t n = 0;
	bool sticky = false;

	for (int part = 0; part < 2; part++) {
		struct str digits = part ? x->fraction : x->whole;
		for (size_t i = 0; i < digits.n; i++) {
			if (digits.p[i] == '_')
				continue;
			if (part)
				*exponent -= each;
			if (n == 0 && digits.p[i] == '0')
				continue;
			if (n < kept) {
				text[n++] = digits.p[i];
			} else {
				sticky |= digits.p[i] != '0';
				*exponent += each;
			}
		}
	}
	if (sticky) {
		text[n++] = '1';
		*exponent -= each;
	}
	return n;
}

static double slow_value(const struct scanned *x)
{
	/* 0x, digits, the sticky digit, "e-1234567" */
	char text[DIGITS_KEPT + 32];
	size_t prefix = 0, n;
	int64_t exponent = x->exponent;

	if (x->hex)
		memcpy(text, "0x", prefix = 2);
	n = gather(x, text + prefix, x->hex ? 20 : DIGITS_KEPT, x->hex ? 4 : 1, &exponent);
	if (n == 0)
		return 0;
	if (exponent > 2 * EXPONENT_MAX)
		exponent = 2 * EXPONENT_MAX;
	if (exponent < -2 * EXPONENT_MAX)
		exponent = -2 * EXPONENT_MAX;
	n += prefix;
	snprintf(text + n, sizeof text - n, "%c%lld", x->hex ? 'p' : 'e', (long long)exponent);
	return strtod(text, NULL);
}

static bool quick_value(const struct scanned *x, double *out)
{
	static const double tens[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
		1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
	int64_t exponent = x->exponent - (int64_t)x->fraction.n;
	uint64_t v = 0;

	if (x->hex || x->underscores || x->whole.n + x->fraction.n > 19 || exponent < -22 ||
		exponent > 22)
		return false;
	for (size_t i = 0; i < x->whole.n; i++)
		v = v * 10 + (uint64_t)(x->whole.p[i] - '0');
	for (size_t i = 0; i < x->fraction.n; i++)
		v = v * 10 + (uint64_t)(x->fraction.p[i] - '0');
	if (v > (uint64_t)1 << 53)
		return false;
	*out = exponent < 0 ? (double)v / tens[-exponent] : (double)v * tens[exponent];
	return true;
}

bool number_float(struct str s, double *out)
{
	bool has_sign = s.n && (s.p[0] == '+' || s.p[0] == '-');
	bool negative = has_sign && s.p[0] == '-';
	struct scanned x;
	struct str all = s;
	double v;

	if (has_sign)
		s = str_make(s.p + 1, s.n - 1);
	if (s.n == 0)
		return false;
	if (!is_digit(s.p[0]) && s.p[0] != '.')
		return read_special(s, negative, has_sign, out);
	if (!scan_number(s, &x) || (x.underscores && !underscores_fit(all)))
		return false;
	if (!quick_value(&x, &v) && isinf(v = slow_value(&x)))
		return false; /* Go: value out of range */
	*out = negative ? -v : v;
	return true;
}

/* Cut what tells the base off `*s`. */
static int base_of(struct str *s)
{
	int base = 10;
	size_t prefix = 0;

	if (s->p[0] == '0') {
		char c = s->n >= 3 ? lower(s->p[1]) : 0;
		base = c == 'b' ? 2 : c == 'x' ? 16 : 8;
		prefix = c == 'b' || c == 'x' || c == 'o' ? 2 : 1;
	}
	*s = str_make(s->p + prefix, s->n - prefix);
	return base;
}

bool number_int(struct str s, int base, int64_t *out)
{
	bool has_sign = s.n && (s.p[0] == '+' || s.p[0] == '-');
	bool negative = has_sign && s.p[0] == '-', underscores = false;
	struct str all;
	uint64_t v = 0;

	if (has_sign)
		s = str_make(s.p + 1, s.n - 1);
	if (s.n == 0 || (base != 0 && (base < 2 || base > 36)))
		return false;
	all = s;
	if (base == 0) {
		base = base_of(&s);
		underscores = str_chr(s, '_') >= 0;
		if (underscores && !underscores_fit(all))
			return false;
	}
	for (size_t i = 0; i < s.n; i++) {
		unsigned digit = digit_value(s.p[i]);
		if (underscores && s.p[i] == '_')
			continue;
		if (digit >= (unsigned)base || __builtin_mul_overflow(v, (uint64_t)base, &v) ||
			__builtin_add_overflow(v, digit, &v))
			return false;
	}
	if (v > (uint64_t)INT64_MAX + negative)
		return false;
	*out = negative ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

/* Nanoseconds of a unit, the text up to the next digit or point; 0 when it is none. */
static uint64_t unit_ns(struct str unit)
{
	const uint64_t second = 1000000000;

	if (unit.n == 1)
		return unit.p[0] == 's'   ? second
		       : unit.p[0] == 'm' ? 60 * second
		       : unit.p[0] == 'h' ? 3600 * second
					  : 0;
	if (str_eq(unit, STR("ms")))
		return 1000000;
	if (str_eq(unit, STR("us")) || str_eq(unit, STR("\xc2\xb5s")) ||
		str_eq(unit, STR("\xce\xbcs")))
		return 1000;
	return str_eq(unit, STR("ns"));
}

/* The digits behind the point over *scale.  What would pass 63 bits is left out, as in Go. */
static size_t duration_fraction(struct str s, uint64_t *value, double *scale)
{
	size_t i = 0;
	bool full = false;

	*value = 0;
	*scale = 1;
	for (; i < s.n && is_digit(s.p[i]); i++) {
		uint64_t next;
		if (full || *value > (uint64_t)INT64_MAX / 10) {
			full = true;
			continue;
		}
		next = *value * 10 + (uint64_t)(s.p[i] - '0');
		if (next > (uint64_t)1 << 63) {
			full = true;
			continue;
		}
		*value = next;
		*scale *= 10;
	}
	return i;
}

/* One "1.5h" at the head of *s, added to *sum, which stays within 2^63. */
static bool duration_term(struct str *s, uint64_t *sum)
{
	uint64_t whole = 0, fraction = 0, unit;
	size_t i = 0, n_digits = 0, from;
	double scale = 1;

	for (; i < s->n && is_digit(s->p[i]); i++, n_digits++)
		if (__builtin_mul_overflow(whole, 10u, &whole) ||
			__builtin_add_overflow(whole, (uint64_t)(s->p[i] - '0'), &whole) ||
			whole > (uint64_t)1 << 63)
			return false;
	if (i < s->n && s->p[i] == '.') {
		size_t n =
			duration_fraction(str_make(s->p + i + 1, s->n - i - 1), &fraction, &scale);
		i += 1 + n;
		n_digits += n;
	}
	for (from = i; i < s->n && !is_digit(s->p[i]) && s->p[i] != '.'; i++)
		;
	unit = unit_ns(str_make(s->p + from, i - from));
	if (n_digits == 0 || unit == 0 || __builtin_mul_overflow(whole, unit, &whole))
		return false;
	*s = str_make(s->p + i, s->n - i);
	/* Truncated from the same floating point product as Go's, so that 0.3ms is the same ns. */
	if (fraction)
		whole += (uint64_t)((double)fraction * ((double)unit / scale));
	return whole <= (uint64_t)1 << 63 && !__builtin_add_overflow(*sum, whole, sum) &&
	       *sum <= (uint64_t)1 << 63;
}

bool number_duration(struct str s, int64_t *ns)
{
	bool has_sign = s.n && (s.p[0] == '+' || s.p[0] == '-');
	bool negative = has_sign && s.p[0] == '-';
	uint64_t sum = 0;

	if (has_sign)
		s = str_make(s.p + 1, s.n - 1);
	if (s.n == 0)
		return false;
	if (s.n == 1 && s.p[0] == '0') {
		*ns = 0;
		return true;
	}
	while (s.n)
		if (!duration_term(&s, &sum))
			return false;
	if (sum > (uint64_t)INT64_MAX + negative)
		return false;
	*ns = negative ? (int64_t)(0 - sum) : (int64_t)sum;
	return true;
}

/* The factor of a unit in lower case letters; 0 when it is none. */
static double bytes_unit(struct str unit)
{
	static const char letters[] = "kmgtpe";
	const char *at;
	bool binary;
	double v = 1;

	if (unit.n == 0 || (unit.n == 1 && lower(unit.p[0]) == 'b'))
		return 1;
	if (unit.n > 3 || !(at = memchr(letters, lower(unit.p[0]), sizeof letters - 1)))
		return 0;
	unit = str_make(unit.p + 1, unit.n - 1);
	binary = unit.n && lower(unit.p[0]) == 'i';
	if (binary)
		unit = str_make(unit.p + 1, unit.n - 1);
	if (unit.n > 1 || (unit.n == 1 && lower(unit.p[0]) != 'b'))
		return 0;
	for (const char *p = letters; p <= at; p++)
		v *= binary ? 1024 : 1000;
	return v;
}

bool number_bytes(struct str s, uint64_t *out)
{
	char digits[512];
	struct str number;
	size_t n = 0, kept = 0;
	double v, unit;

	for (; n < s.n && (is_digit(s.p[n]) || s.p[n] == '.' || s.p[n] == ','); n++) {
		if (s.p[n] == ',')
			continue;
		if (kept == sizeof digits)
			return false; /* no such size is written with so many digits */
		digits[kept++] = s.p[n];
	}
	number = str_make(digits, kept);
	unit = bytes_unit(str_trim(str_make(s.p + n, s.n - n)));
	if (unit == 0 || !number_float(number, &v))
		return false;
	v *= unit;
	if (v >= 18446744073709551616.0)
		return false;
	*out = (uint64_t)v;
	return true;
}

/* The shortest decimal that reads back as the same: 0.d1d2…dn * 10^point. */
struct shortest {
	char digits[24];
	size_t n;
	int point;
};

/* "d.ddde±xx" into digits and point; trailing zeros do not count. */
static void read_digits(const char *text, struct shortest *out)
{
	const char *e = strchr(text, 'e');

	out->n = 0;
	for (const char *p = text; p < e; p++)
		if (is_digit(*p))
			out->digits[out->n++] = *p;
	while (out->n > 1 && out->digits[out->n - 1] == '0')
		out->n--;
	out->point = (int)strtol(e + 1, NULL, 10) + 1;
}

static double digits_value(const struct shortest *x)
{
	char text[48];

	snprintf(text, sizeof text, "0.%.*se%d", (int)x->n, x->digits, x->point);
	return strtod(text, NULL);
}

/* Below a power of two doubles lie twice as dense as above it: there the nearest decimal of 16
 * digits may read back as the neighbour, while the next one up does not. */
static bool next_up(struct shortest *x, double v)
{
	struct shortest up = *x;
	size_t i = up.n;

	while (i && up.digits[i - 1] == '9')
		up.digits[--i] = '0';
	if (i == 0)
		return false;
	up.digits[i - 1]++;
	if (digits_value(&up) != v)
		return false;
	*x = up;
	return true;
}

/* Of a finite v > 0. */
static void find_shortest(double v, struct shortest *out)
{
	/* A denormal may have fewer digits than 15 although more would read back too. */
	int precision = v < 2.2250738585072014e-308 ? 1 : 15;
	char text[48];

	for (;; precision++) {
		snprintf(text, sizeof text, "%.*e", precision - 1, v);
		read_digits(text, out);
		if (precision == 17 || strtod(text, NULL) == v)
			return;
		if (precision == 16 && out->n == 16 && next_up(out, v))
			return;
	}
}

/* The cases that both forms write alike, and the sign.  False: *v is finite, > 0. */
static bool put_simple(struct buf *out, double *v, double integer_limit)
{
	if (isnan(*v)) {
		buf_c(out, "NaN");
		return true;
	}
	if (isinf(*v)) {
		buf_c(out, *v < 0 ? "-Inf" : "+Inf");
		return true;
	}
	if (signbit(*v)) {
		buf_char(out, '-');
		*v = -*v;
	}
	if (*v < integer_limit && *v == (double)(uint64_t)*v) {
		buf_u64(out, (uint64_t)*v);
		return true;
	}
	return false;
}

static void put_zeros(struct buf *out, int n)
{
	for (; n > 0; n--)
		buf_char(out, '0');
}

static void put_plain(struct buf *out, const struct shortest *x)
{
	size_t whole = x->point <= 0 ? 0 : (size_t)x->point < x->n ? (size_t)x->point : x->n;

	if (whole)
		buf_put(out, x->digits, whole);
	else
		buf_char(out, '0');
	put_zeros(out, x->point - (int)x->n);
	if (whole == x->n)
		return;
	buf_char(out, '.');
	put_zeros(out, -x->point);
	buf_put(out, x->digits + whole, x->n - whole);
}

void number_put_f(struct buf *out, double v)
{
	struct shortest x;

	if (put_simple(out, &v, 9007199254740992.0))
		return;
	find_shortest(v, &x);
	put_plain(out, &x);
}

void number_put_g(struct buf *out, double v)
{
	struct shortest x;
	int exponent;

	if (put_simple(out, &v, 1e6))
		return;
	find_shortest(v, &x);
	exponent = x.point - 1;
	if (exponent >= -4 && exponent < 6) {
		put_plain(out, &x);
		return;
	}
	buf_char(out, x.digits[0]);
	if (x.n > 1) {
		buf_char(out, '.');
		buf_put(out, x.digits + 1, x.n - 1);
	}
	buf_printf(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
}

enum {
	QUOTED_MAX = 100, /* bytes of a text that a sentence about it repeats */
};

#define QUOTED(s) (int)((s).n > QUOTED_MAX ? QUOTED_MAX : (s).n), (s).p ? (s).p : ""

const char *number_float_why(struct str s, char *out)
{
	bool has_sign = s.n && (s.p[0] == '+' || s.p[0] == '-');
	struct scanned x;
	bool range = scan_number(str_sub(s, has_sign, s.n), &x) &&
		     !(x.underscores && !underscores_fit(s));

	snprintf(out, NUMBER_WHY_MAX, "strconv.ParseFloat: parsing \"%.*s\": %s", QUOTED(s),
		range ? "value out of range" : "invalid syntax");
	return out;
}

const char *number_duration_why(struct str s, char *out)
{
	size_t i = s.n && (s.p[0] == '+' || s.p[0] == '-'), from;
	struct str unit;

	while (i < s.n) {
		for (from = i; i < s.n && (is_digit(s.p[i]) || s.p[i] == '.'); i++)
			;
		if (i == from)
			break;
		for (from = i; i < s.n && !is_digit(s.p[i]) && s.p[i] != '.'; i++)
			;
		unit = str_sub(s, from, i);
		if (unit.n == 0)
			snprintf(out, NUMBER_WHY_MAX, "time: missing unit in duration \"%.*s\"",
				QUOTED(s));
		else if (unit_ns(unit) == 0)
			snprintf(out, NUMBER_WHY_MAX,
				"time: unknown unit \"%.*s\" in duration \"%.*s\"", QUOTED(unit),
				QUOTED(s));
		else
			continue;
		return out;
	}
	snprintf(out, NUMBER_WHY_MAX, "time: invalid duration \"%.*s\"", QUOTED(s));
	return out;
}

const char *number_bytes_why(struct str s, char *out)
{
	struct str unit;
	size_t n = 0;

	while (n < s.n && (is_digit(s.p[n]) || s.p[n] == '.' || s.p[n] == ','))
		n++;
	unit = str_trim(str_sub(s, n, s.n));
	if (!number_float(str_sub(s, 0, n), &(double){0}) && !memchr(s.p ? s.p : "", ',', n))
		return number_float_why(str_sub(s, 0, n), out);
	if (bytes_unit(unit) == 0)
		snprintf(out, NUMBER_WHY_MAX, "unhandled size name: %.*s", QUOTED(unit));
	else
		snprintf(out, NUMBER_WHY_MAX, "no size within 64 bits: %.*s", QUOTED(s));
	return out;
}
