/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers.  Arguments are cast as sprig does: a string is read as a number, and
 * what is none counts as 0.
 *
 * addf, subf, mulf and divf compute with decimal fractions, so that 0.1 + 0.2
 * is 0.3: a number is its shortest decimal digits, and the result is exact but
 * for a division, which has 16 digits behind the point.  Where the digits do
 * not fit in 128 bits, doubles are as good as any.
 *
 * Sources: Loki's documentation of template functions,
 * masterminds.github.io/sprig/math.html, /mathf.html.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "query/number.h"
#include "query/template_tree.h"

#define FUNCTION(name)                                                                             \
	static int name(                                                                           \
		struct template_run *r, const struct datum *args, size_t n, struct datum *out)

/* ---- integers; they wrap around, as Go's ---- */

FUNCTION(to_int)
{
	*out = datum_int(datum_to_int(&args[0]));
	return 0;
}

FUNCTION(add)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v += (uint64_t)datum_to_int(&args[i]);
	*out = datum_int((int64_t)v);
	return 0;
}

FUNCTION(sub)
{
	*out = datum_int(
		(int64_t)((uint64_t)datum_to_int(&args[0]) - (uint64_t)datum_to_int(&args[1])));
	return 0;
}

FUNCTION(mul)
{
	uint64_t v = (uint64_t)datum_to_int(&args[0]);

	for (size_t i = 1; i < n; i++)
		v *= (uint64_t)datum_to_int(&args[i]);
	*out = datum_int((int64_t)v);
	return 0;
}

static int divided(struct template_run *r, const struct datum *args, bool rest, struct datum *out)
{
	int64_t a = datum_to_int(&args[0]), b = datum_to_int(&args[1]);

	if (b == 0)
		return template_fail(r, "runtime error: integer divide by zero");
	/* INT64_MIN / -1 is a trap for the processor, and INT64_MIN in Go. */
	if (b == -1)
		*out = datum_int(rest ? 0 : (int64_t)(0 - (uint64_t)a));
	else
		*out = datum_int(rest ? a % b : a / b);
	return 0;
}

FUNCTION(div_)
{
	return divided(r, args, false, out);
}

FUNCTION(mod)
{
	return divided(r, args, true, out);
}

FUNCTION(max)
{
	int64_t best = datum_to_int(&args[0]);

	for (size_t i = 1; i < n; i++) {
		int64_t v = datum_to_int(&args[i]);
		best = v > best ? v : best;
	}
	*out = datum_int(best);
	return 0;
}

FUNCTION(min)
{
	int64_t best = datum_to_int(&args[0]);

	for (size_t i = 1; i < n; i++) {
		int64_t v = datum_to_int(&args[i]);
		best = v < best ? v : best;
	}
	*out = datum_int(best);
	return 0;
}

/* ---- decimal fractions ---- */

struct decimal {
	__int128 digits;
	int exponent; /* of ten */
};

static const int division_digits = 16;

static bool times_ten(__int128 *v, int n)
{
	for (; n > 0; n--)
		if (__builtin_mul_overflow(*v, (__int128)10, v))
			return false;
	return true;
}

static bool decimal_of(double v, struct decimal *out)
{
	char text[40];
	int precision = 15;
	char *e, *p;

	if (!isfinite(v))
		return false;
	/* The shortest digits that read back as v. */
	do
		snprintf(text, sizeof text, "%.*e", precision - 1, v);
	while (strtod(text, NULL) != v && ++precision <= 17);
	*out = (struct decimal){0};
	e = strchr(text, 'e');
	out->exponent = atoi(e + 1);
	for (p = text + (text[0] == '-'); p < e; p++) {
		if (*p == '.')
			continue;
		out->digits = out->digits * 10 + (*p - '0');
		if (p != text + (text[0] == '-'))
			out->exponent--;
	}
	while (out->digits != 0 && out->digits % 10 == 0) {
		out->digits /= 10;
		out->exponent++;
	}
	if (text[0] == '-')
		out->digits = -out->digits;
	return true;
}

static double double_of(const struct decimal *d)
{
	unsigned __int128 v =
		d->digits < 0 ? -(unsigned __int128)d->digits : (unsigned __int128)d->digits;
	char text[80], digits[48];
	size_t n = sizeof digits;

	digits[--n] = '\0';
	do
		digits[--n] = (char)('0' + (int)(v % 10));
	while ((v /= 10) != 0);
	snprintf(text, sizeof text, "%s%se%d", d->digits < 0 ? "-" : "", digits + n, d->exponent);
	return strtod(text, NULL);
}

/* Both with the smaller exponent. */
static bool align(struct decimal *a, struct decimal *b)
{
	struct decimal *large = a->exponent > b->exponent ? a : b, *small = large == a ? b : a;
	int apart = large->exponent - small->exponent;

	if (large->digits == 0) {
		large->exponent = small->exponent;
		return true;
	}
	if (apart > 38 || !times_ten(&large->digits, apart))
		return false;
	large->exponent = small->exponent;
	return true;
}

static bool divide(struct decimal a, struct decimal b, struct decimal *out)
{
	/* a / b in units of the last digit. */
	int shift = a.exponent - b.exponent + division_digits;
	__int128 quotient, rest;
	bool negative = (a.digits < 0) != (b.digits < 0);

	if (shift > 38 || shift < -38 || !times_ten(shift >= 0 ? &a.digits : &b.digits, abs(shift)))
		return false;
	if (a.digits < 0)
		a.digits = -a.digits;
	if (b.digits < 0)
		b.digits = -b.digits;
	quotient = a.digits / b.digits;
	rest = a.digits % b.digits;
	/* Half of it and more is rounded up. */
	quotient += rest >= b.digits - rest;
	*out = (struct decimal){negative ? -quotient : quotient, -division_digits};
	return true;
}

static double apply_double(char op, double a, double b)
{
	switch (op) {
	case '+': return a + b;
	case '-': return a - b;
	case '*': return a * b;
	default: return a / b;
	}
}

static double apply(char op, double x, double y)
{
	struct decimal a, b, result = {0};
	bool fits;

	if (!decimal_of(x, &a) || !decimal_of(y, &b))
		return apply_double(op, x, y);
	switch (op) {
	case '*':
		result.exponent = a.exponent + b.exponent;
		fits = !__builtin_mul_overflow(a.digits, b.digits, &result.digits);
		break;
	case '/': fits = divide(a, b, &result); break;
	default:
		fits = align(&a, &b);
		result.exponent = a.exponent;
		if (fits && op == '+')
			fits = !__builtin_add_overflow(a.digits, b.digits, &result.digits);
		else if (fits)
			fits = !__builtin_sub_overflow(a.digits, b.digits, &result.digits);
	}
	return fits ? double_of(&result) : apply_double(op, x, y);
}

static int fold(
	struct template_run *r, char op, const struct datum *args, size_t n, struct datum *out)
{
	double v = n ? datum_to_float(&args[0]) : 0;

	for (size_t i = 1; i < n; i++) {
		double with = datum_to_float(&args[i]);
		if (op == '/' && with == 0)
			return template_fail(r, "decimal division by 0");
		v = apply(op, v, with);
	}
	*out = datum_float(v);
	return 0;
}

FUNCTION(addf)
{
	return fold(r, '+', args, n, out);
}

FUNCTION(subf)
{
	return fold(r, '-', args, n, out);
}

FUNCTION(mulf)
{
	return fold(r, '*', args, n, out);
}

FUNCTION(divf)
{
	return fold(r, '/', args, n, out);
}

/* ---- floats ---- */

FUNCTION(to_float)
{
	*out = datum_float(datum_to_float(&args[0]));
	return 0;
}

/* As math.Max: what is no number wins. */
static int best_of(const struct datum *args, size_t n, bool largest, struct datum *out)
{
	double best = datum_to_float(&args[0]);

	for (size_t i = 1; i < n; i++) {
		double v = datum_to_float(&args[i]);
		if (isnan(v) || (largest ? v > best : v < best))
			best = v;
	}
	*out = datum_float(best);
	return 0;
}

FUNCTION(maxf)
{
	return best_of(args, n, true, out);
}

FUNCTION(minf)
{
	return best_of(args, n, false, out);
}

FUNCTION(ceil_)
{
	*out = datum_float(ceil(datum_to_float(&args[0])));
	return 0;
}

FUNCTION(floor_)
{
	*out = datum_float(floor(datum_to_float(&args[0])));
	return 0;
}

/* round x places [from]: a rest of `from`, .5 if not given, and more goes away from 0. */
FUNCTION(round_)
{
	double from = n > 2 ? args[2].f : .5, v = datum_to_float(&args[0]), power, whole, rest;

	power = pow(10, (double)args[1].i);
	rest = modf(power * fabs(v), &whole);
	if (rest >= from)
		whole++;
	/* With an absurd number of places nothing is rounded away, or all. */
	if (power == 0)
		whole = 0;
	else if (!isfinite(power) || !isfinite(power * v))
		whole = fabs(v);
	else
		whole /= power;
	*out = datum_float(copysign(whole, v));
	return 0;
}

const struct template_function template_maths[] = {
	{"int", "a", to_int, CALL_PLAIN},
	{"float64", "a", to_float, CALL_PLAIN},
	{"add", "a*", add, CALL_PLAIN},
	{"sub", "aa", sub, CALL_PLAIN},
	{"mul", "aa*", mul, CALL_PLAIN},
	{"div", "aa", div_, CALL_PLAIN},
	{"mod", "aa", mod, CALL_PLAIN},
	{"addf", "a*", addf, CALL_PLAIN},
	{"subf", "aa*", subf, CALL_PLAIN},
	{"mulf", "aa*", mulf, CALL_PLAIN},
	{"divf", "aa*", divf, CALL_PLAIN},
	{"max", "aa*", max, CALL_PLAIN},
	{"min", "aa*", min, CALL_PLAIN},
	{"maxf", "aa*", maxf, CALL_PLAIN},
	{"minf", "aa*", minf, CALL_PLAIN},
	{"ceil", "a", ceil_, CALL_PLAIN},
	{"floor", "a", floor_, CALL_PLAIN},
	{"round", "aif*", round_, CALL_PLAIN},
	{0},
};
