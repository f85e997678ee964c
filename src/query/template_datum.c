/* SPDX-License-Identifier: Apache-2.0 */
#include "query/template_datum.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "query/number.h"
#include "query/template_tree.h"

const char *datum_type(const struct datum *d)
{
	static const char *const names[] = {
		[DATUM_NIL] = "<nil>",
		[DATUM_BOOL] = "bool",
		[DATUM_INT] = "int",
		[DATUM_FLOAT] = "float64",
		[DATUM_STRING] = "string",
		[DATUM_TIME] = "time.Time",
		[DATUM_LIST] = "[]interface {}",
		[DATUM_MAP] = "map[string]interface {}",
		[DATUM_ROW] = "map[string]string",
	};

	return names[d->kind];
}

static int by_key(const void *a, const void *b)
{
	return str_cmp(((const struct datum_pair *)a)->key, ((const struct datum_pair *)b)->key);
}

int datum_spread(struct template_run *r, struct datum *d)
{
	struct fields *f = template_fields(r);
	struct datum_pair *pairs;
	const struct label *l;
	size_t n = 0, at = 0, i = 0;

	if (d->kind != DATUM_ROW)
		return 0;
	while (fields_next(f, &at))
		n++;
	if (!(pairs = template_alloc(r, n * sizeof *pairs)))
		return ERR_ARG;
	at = 0;
	while (i < n && (l = fields_next(f, &at)))
		pairs[i++] = (struct datum_pair){l->name, datum_string(l->value)};
	if (i > 1)
		qsort(pairs, i, sizeof *pairs, by_key);
	*d = (struct datum){.kind = DATUM_MAP, .map = {pairs, i}};
	return 0;
}

bool datum_get(const struct datum *map, struct str key, struct datum *out)
{
	size_t low = 0, high = map->map.n;

	assert(map->kind == DATUM_MAP);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = str_cmp(map->map.p[middle].key, key);
		if (order == 0) {
			*out = map->map.p[middle].value;
			return true;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

bool datum_truth(struct template_run *r, const struct datum *d)
{
	switch (d->kind) {
	case DATUM_NIL: return false;
	case DATUM_BOOL: return d->b;
	case DATUM_INT: return d->i != 0;
	case DATUM_FLOAT: return d->f != 0;
	case DATUM_STRING: return d->s.n > 0;
	case DATUM_TIME: return true;
	case DATUM_LIST: return d->list.n > 0;
	case DATUM_MAP: return d->map.n > 0;
	case DATUM_ROW: return fields_next(template_fields(r), &(size_t){0}) != NULL;
	}
	return false;
}

/* Digits alone are decimal, though Go would take "010" for octal: the numbers of log lines often
 * have zeros in front. */
static bool plain_decimal(struct str s)
{
	size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+');

	if (i == s.n)
		return false;
	for (; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return true;
}

static int64_t string_to_int(struct str s)
{
	ptrdiff_t point = str_chr(s, '.');
	int64_t v;

	/* "1.00" is 1, "1.5" is no integer. */
	if (point > 0) {
		size_t n = s.n;
		while (s.p[n - 1] == '0')
			n--;
		if (n == (size_t)point + 1)
			s.n = (size_t)point;
	}
	return number_int(s, plain_decimal(s) ? 10 : 0, &v) ? v : 0;
}

static int64_t float_to_int(double f)
{
	if (isnan(f))
		return INT64_MIN;
	/* 2^63 is a double, INT64_MAX is not; Go on amd64 gives the least number beyond. */
	if (f >= 9223372036854775808.0 || f < -9223372036854775808.0)
		return INT64_MIN;
	return (int64_t)f;
}

int64_t datum_to_int(const struct datum *d)
{
	switch (d->kind) {
	case DATUM_BOOL: return d->b;
	case DATUM_INT: return d->i;
	case DATUM_FLOAT: return float_to_int(d->f);
	case DATUM_STRING: return string_to_int(d->s);
	default: return 0;
	}
}

double datum_to_float(const struct datum *d)
{
	double v;

	switch (d->kind) {
	case DATUM_BOOL: return d->b;
	case DATUM_INT: return (double)d->i;
	case DATUM_FLOAT: return d->f;
	case DATUM_STRING: return number_float(d->s, &v) ? v : 0;
	default: return 0;
	}
}
