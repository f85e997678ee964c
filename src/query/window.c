/* SPDX-License-Identifier: Apache-2.0 */
#include "query/window.h"

static __int128 div_floor(__int128 a, int64_t b)
{
	__int128 q = a / b;

	return q * b > a ? q - 1 : q;
}

static int64_t clamp(__int128 v)
{
	return v > INT64_MAX ? INT64_MAX : v < INT64_MIN ? INT64_MIN : (int64_t)v;
}

/* Times less first_ns: [from, to). */
struct span {
	__int128 from, to;
};

#define FOREVER ((__int128)1 << 100)

void windows_init(struct windows *w, const struct range_expr *x, const struct axis *axis)
{
	*w = (struct windows){
		.axis = *axis,
		.range_ns = x->range_ns,
		.first_ns = plan_add(axis->start_ns, x->offset_ns ? -x->offset_ns : 0),
	};
}

static void set(struct windows *w, struct span span, __int128 lo, __int128 hi)
{
	w->from_ns = clamp(span.from + w->first_ns);
	w->to_ns = clamp(span.to + w->first_ns);
	w->inside = lo <= hi;
	w->lo = w->inside ? (size_t)lo : 0;
	w->hi = w->inside ? (size_t)hi : 0;
}

/* Before the first step and behind the last there are no edges. */
void windows_find(struct windows *w, int64_t s)
{
	__int128 step = w->axis.step_ns, range = w->range_ns;
	__int128 last = (__int128)w->axis.n - 1, since = (__int128)s - w->first_ns;
	__int128 lo = div_floor(since + step - 1, w->axis.step_ns);
	__int128 hi = div_floor(since + range - 1, w->axis.step_ns);
	struct span span;

	if (lo > last || hi < 0) {
		span.from = hi < 0 ? -FOREVER : last * step + 1;
		span.to = hi < 0 ? 1 - range : FOREVER;
		set(w, span, 1, 0);
		return;
	}
	lo = lo < 0 ? 0 : lo;
	hi = hi > last ? last : hi;
	span.from = lo == 0 ? -FOREVER : (lo - 1) * step + 1;
	span.to = lo * step + 1;
	if (hi * step - range + 1 > span.from)
		span.from = hi * step - range + 1;
	if (hi < last && (hi + 1) * step - range + 1 < span.to)
		span.to = (hi + 1) * step - range + 1;
	set(w, span, lo, hi);
}

/* The first slot is that of t_k - range + 1 and has hi = k, the last that of t_k and has lo = k. */
struct slots window_slots(const struct windows *w, size_t k)
{
	__int128 step = w->axis.step_ns, range = w->range_ns, at = (__int128)k * step;
	__int128 lo = div_floor(at - range + step, w->axis.step_ns);
	__int128 hi = div_floor(at + range - 1, w->axis.step_ns);
	__int128 last = (__int128)w->axis.n - 1;

	lo = lo < 0 ? 0 : lo;
	hi = hi > last ? last : hi;
	return (struct slots){(size_t)lo + k, (size_t)hi + k};
}

int64_t window_end(const struct windows *w, size_t k)
{
	return clamp((__int128)w->first_ns + (__int128)k * w->axis.step_ns);
}

static int64_t mod_floor(__int128 a, int64_t b)
{
	return (int64_t)(a - div_floor(a, b) * b);
}

/* A single window is all that is read. */
struct scan_buckets windows_buckets(const struct windows *w)
{
	struct scan_buckets b = {.known = true};

	if (w->axis.n < 2)
		return b;
	b.step_ns = w->axis.step_ns;
	b.edges[0] = mod_floor((__int128)w->first_ns + 1, b.step_ns);
	b.edges[1] = mod_floor((__int128)w->first_ns - w->range_ns + 1, b.step_ns);
	return b;
}
