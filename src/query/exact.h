/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Sums in twice the precision of a double, so that they hardly depend on the
 * order of their terms: the same query gives the same digits however the store
 * has its rows arranged.  A value is hi + lo, where lo is what hi lost; hi is
 * the sum rounded.  Source: Knuth, TAOCP 2, 4.2.2 (two-sum); Dekker 1971.
 * Pure; any thread.
 */
#include <math.h>

struct exact {
	double hi, lo;
};

static inline struct exact exact_of(double sum, double lost)
{
	double hi = sum + lost;

	/* What is lost beside an infinity is no number. */
	return isfinite(hi) ? (struct exact){hi, lost - (hi - sum)} : (struct exact){sum, 0};
}

static inline struct exact exact_sum(double a, double b)
{
	double sum = a + b, part = sum - a;

	return isfinite(sum) ? (struct exact){sum, (a - (sum - part)) + (b - part)}
			     : (struct exact){sum, 0};
}

static inline struct exact exact_add(struct exact x, struct exact y)
{
	struct exact s = exact_sum(x.hi, y.hi);

	return exact_of(s.hi, s.lo + x.lo + y.lo);
}

static inline struct exact exact_negate(struct exact x)
{
	return (struct exact){-x.hi, -x.lo};
}

static inline struct exact exact_mul(struct exact x, struct exact y)
{
	double p = x.hi * y.hi;

	if (!isfinite(p))
		return (struct exact){p, 0};
	return exact_of(p, fma(x.hi, y.hi, -p) + (x.hi * y.lo + x.lo * y.hi));
}

static inline struct exact exact_div(struct exact x, double by)
{
	double q = x.hi / by, rest;

	if (!isfinite(q))
		return (struct exact){q, 0};
	rest = fma(-q, by, x.hi) + x.lo;
	return exact_of(q, rest / by);
}
