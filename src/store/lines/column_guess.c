/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How to write a column: of several ways the one that should be smallest after
 * zstd.
 *
 * The guess is the entropy of each plane of bytes (order 0) over a sample of up
 * to SAMPLE values, taken from the two ends of the column, so that differences
 * mean something.  What cannot be seen in a sample (all equal, the time of the
 * rows, the largest value) is computed exactly elsewhere.
 *
 * Guessing was a quarter of writing, so nothing is computed that cannot change
 * the outcome: large numbers go to a pool unless differences win, and ranks of
 * one byte are as good as the byte.
 */
#include "store/lines/column_code.h"
#include "store/lines/distinct.h"

enum {
	SAMPLE = 2048,   /* values that a guess looks at */
	SYMBOL_BITS = 5, /* what a distinct byte costs in the tables of zstd, about */
	LARGE_SHARE = 4, /* one number of so many takes two bytes: the column is pooled */
	FEW = 16,        /* rows of a column that is too short to guess */
	POOL_AGES = 256,
	POOL_NEW = 255,
};

/* A pool may know the values from other columns, and so is preferred even when it seems worse. */
#define POOL_MARGIN 0.9F
/* Ranks that save next to nothing are values that hardly recur. */
#define RANKS_MARGIN 0.98F

/* Binary logarithm, to about a hundredth. */
static inline float log2_of(float v)
{
	uint32_t bits;

	memcpy(&bits, &v, sizeof(bits));
	float exponent = (float)(int)(bits >> 23) - 127;
	bits = (bits & 0x007fffff) | 0x3f800000;
	memcpy(&v, &bits, sizeof(v));
	return exponent + (-v / 3 + 2) * v - 5.0F / 3;
}

/* Bits that `total` symbols of these frequencies take, with their table.  Written so that several
 * are summed up at a time; a frequency of 0 adds nothing. */
static float histogram_bits(const uint32_t count[256], uint32_t total)
{
	float sums[8] = {0}, bits = 0;
	uint32_t symbols = 0;

	for (int i = 0; i < 256; i += 8)
		for (int k = 0; k < 8; k++)
			sums[k] += (float)(int)count[i + k] * log2_of((float)(int)count[i + k]);
	for (int i = 0; i < 256; i++)
		symbols += count[i] != 0;
	for (int k = 0; k < 8; k++)
		bits += sums[k];
	bits = (float)total * log2_of((float)total) - bits;
	bits = bits < 0 || symbols < 2 ? 0 : bits;
	bits += (float)(symbols * SYMBOL_BITS);
	return bits < (float)total * 8 ? bits : (float)total * 8;
}

/* Bits of the planes of n values. */
static float planes_bits(const uint64_t *v, uint32_t n)
{
	uint64_t all = 0;
	float bits = 0;

	for (uint32_t i = 0; i < n; i++)
		all |= v[i];
	for (unsigned w = 0; w < column_plane_width(all); w++) {
		uint32_t count[256] = {0};
		for (uint32_t i = 0; i < n; i++)
			count[(uint8_t)(v[i] >> (8 * w))]++;
		bits += histogram_bits(count, n);
	}
	return bits;
}

/* Up to SAMPLE rows: the first ones, and the last ones. */
struct sample {
	const struct column *c;
	uint32_t n, head, skip; /* from the head on so many rows are left out */
	float scale;            /* values of the column for one of the sample */
};

static struct sample take_sample(const struct column *c)
{
	struct sample s = {.c = c, .n = c->n, .head = c->n, .scale = 1};

	if (c->n > SAMPLE) {
		s.n = SAMPLE;
		s.head = SAMPLE / 2;
		s.skip = c->n - SAMPLE;
		s.scale = (float)c->n / SAMPLE;
	}
	return s;
}

static inline uint32_t sample_row(const struct sample *s, uint32_t i)
{
	return i < s->head ? i : i + s->skip;
}

static float delta_bits(const struct sample *s)
{
	const uint64_t *v = s->c->number;
	uint64_t delta[SAMPLE];

	delta[0] = 0;
	for (uint32_t i = 1; i < s->head; i++)
		delta[i] = column_difference(v, i - 1);
	for (uint32_t i = s->head; i < s->n; i++)
		delta[i] = column_difference(v, i + s->skip - 1);
	return s->scale * planes_bits(delta, s->n);
}

/* Bits of the sample's values as they are. */
static float plain_bits(const struct sample *s, uint64_t min)
{
	const struct column *c = s->c;
	uint64_t v[SAMPLE];
	size_t bytes = 0;

	if (c->kind == SLOT_TEXT) {
		for (uint32_t i = 0; i < s->n; i++)
			bytes += 1 + c->text[sample_row(s, i)].n;
		return (float)bytes * 6;
	}
	if (!column_is_integer(c->kind)) {
		/* Digits made by chance; constant ones are rare enough. */
		return (float)s->n * (float)column_bytes(c->kind, c->width) * 8;
	}
	for (uint32_t i = 0; i < s->head; i++)
		v[i] = c->number[i] - min;
	for (uint32_t i = s->head; i < s->n; i++)
		v[i] = c->number[i + s->skip] - min;
	return planes_bits(v, s->n);
}

/* Bits of ranks, when these values come up so often each. */
static float ranks_bits(const struct sample *s, const struct distinct *d, float per_value)
{
	uint32_t counts[SAMPLE + 1] = {0}, kept = 0, escapes = 0;
	float bits = 0;

	for (uint32_t i = 0; i < d->n; i++)
		counts[d->values[i].count]++;
	/* What came up once is an escape. */
	for (uint32_t count = s->n; count > 1; count--) {
		uint32_t take = counts[count];
		if (take == 0)
			continue;
		if (kept + take > COLUMN_RANKS_MAX)
			take = COLUMN_RANKS_MAX - kept;
		kept += take;
		escapes += (counts[count] - take) * count;
		bits += (float)take * (float)count * log2_of((float)s->n / (float)count);
	}
	escapes += counts[1];
	if (escapes > 0)
		bits += (float)escapes * (log2_of((float)s->n / (float)escapes) + per_value);
	/* The ranks' values are written once, however many rows the sample stands for. */
	return s->scale * bits + (float)kept * (per_value + SYMBOL_BITS);
}

/* Ranks and the pool look at how values recur; *pool is not asked for of numbers. */
static float recurring_bits(const struct sample *s, float plain, float *pool)
{
	uint32_t ages[POOL_AGES] = {0}, born = 0;
	float per_value = plain / (float)s->n, ranks;
	struct distinct d;

	distinct_init(&d, s->n);
	for (uint32_t i = 0; i < s->n; i++) {
		struct distinct_value *v = &d.values[distinct_put(&d, s->c, sample_row(s, i))];
		uint32_t age = v->count > 1 ? born - v->born : POOL_NEW;
		if (age >= POOL_NEW - 1) {
			age = POOL_NEW;
			v->born = ++born;
		}
		ages[age]++;
	}
	if (pool)
		*pool = s->scale * (histogram_bits(ages, s->n) + (float)ages[POOL_NEW] * per_value);
	ranks = ranks_bits(s, &d, per_value);
	distinct_fini(&d);
	return ranks;
}

/* Few numbers: as few planes as they take, plain or of differences. */
static void guess_few(const struct column *c, const struct column_range *r, struct column_guess *g)
{
	float plain = (float)(c->n * column_plane_width(r->max - r->base)), delta;
	uint64_t all = 0;

	for (uint32_t i = 0; i + 1 < c->n; i++)
		all |= column_difference(c->number, i);
	delta = (float)(c->n * column_plane_width(all));
	g->code = delta < plain ? COLUMN_DELTA : COLUMN_PLANES;
	g->bits = delta < plain ? delta : plain;
}

/* What the pool knows of the values from other columns cannot be seen here.  Process ids, ports,
 * sizes and numbers of tasks recur from template to template: on eight logs, pooling all numbers
 * that need two bytes made the whole 5 % smaller, the small columns most of all. */
static void guess_number(
	const struct column *c, const struct column_range *r, bool pools, struct column_guess *g)
{
	bool large = pools && r->large > c->n / LARGE_SHARE;
	struct sample s = take_sample(c);
	float plain, delta, ranks;

	if (c->n < FEW) {
		guess_few(c, r, g);
		g->pool = large && g->code != COLUMN_DELTA;
		return;
	}
	delta = delta_bits(&s);
	plain = plain_bits(&s, r->base);
	g->code = delta < s.scale * plain ? COLUMN_DELTA : COLUMN_PLANES;
	g->bits = delta < s.scale * plain ? delta : s.scale * plain;
	g->pool = large && g->code != COLUMN_DELTA;
	/* A byte is as good as a rank. */
	if (g->pool || r->max - r->min <= UINT8_MAX)
		return;
	ranks = recurring_bits(&s, plain, NULL);
	if (ranks < g->bits * RANKS_MARGIN) {
		g->code = COLUMN_RANKS;
		g->bits = ranks;
		g->pool = large;
	}
}

static void guess_other(
	const struct column *c, const struct column_range *r, bool pools, struct column_guess *g)
{
	struct sample s = take_sample(c);
	bool integer = column_is_integer(c->kind);
	float plain = plain_bits(&s, integer ? r->base : 0);
	float delta = integer ? delta_bits(&s) : 0, pool, ranks = recurring_bits(&s, plain, &pool);

	g->bits = s.scale * plain;
	if (integer && delta < g->bits) {
		g->bits = delta;
		g->code = COLUMN_DELTA;
	}
	/* A pool's texts stay in one piece. */
	if (ranks < g->bits * RANKS_MARGIN && (pools || c->kind != SLOT_TEXT)) {
		g->bits = ranks;
		g->code = COLUMN_RANKS;
	}
	g->pool = pools && (g->code == COLUMN_PLANES || pool * POOL_MARGIN < g->bits);
}

struct column_guess column_guess(const struct column *c, const struct column_range *r, bool pools)
{
	struct column_guess g = {.code = COLUMN_PLANES};

	if (c->kind == SLOT_NUMBER)
		guess_number(c, r, pools, &g);
	else
		guess_other(c, r, pools, &g);
	return g;
}
