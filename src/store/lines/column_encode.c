/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoding columns: of several ways to write the values, the one that should be
 * smallest after zstd.
 *
 * The guess is the entropy of each plane of bytes (order 0) over a sample of up
 * to SAMPLE values, taken from a few places of the column in runs, so that
 * differences mean something.  What cannot be seen in a sample (all equal, the
 * time of the rows, the largest value) is computed exactly.
 *
 * An encoded column is a byte (enum column_code), for SLOT_NUMBER its digits,
 * then the body:
 *   CONSTANT  the value: varint; the bytes of a binary one; text as length, bytes
 *   TIME      column_time.c
 *   PLANES    integers: byte width; varint minimum; planes of value - minimum.
 *             binary: a plane for each byte.  text: n lengths, then the bytes
 *   DELTA     byte width; varint first value; planes of the zigzag differences of
 *             the others from the value before each
 *   RANKS     varint k; k values as in CONSTANT, most frequent first; a byte a
 *             value: the index of its rank, or 255; the escapes as in PLANES
 * A plane holds the bytes of one weight of all values, the lowest plane first for
 * integers, the first byte first for binary values.
 * Digits: byte w in 1..9: a value has its natural number of digits, at least w;
 * 0: a plane of n bytes follows, the number of digits of each.
 */
#include "store/lines/column_code.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"
#include "codec/codec.h"

enum {
	SAMPLE = 2048,       /* values that a guess looks at */
	SAMPLE_RUNS = 2,     /* of neighbours */
	SYMBOL_BITS = 5,     /* what a distinct byte costs in the tables of zstd, about */
	LARGE_SHARE = 4,     /* one number of so many takes two bytes: the column is pooled */
	FEW = 16,            /* rows of a column that is too short to guess */
	DISTINCT_MAX = 4096, /* values whose frequencies are known exactly; others are escapes */
	TIME_SURE = 16,      /* a column of times of so few bytes is smaller than any other */
	RANK_COUNTS = 1024,  /* a value that came up more often is ranked as if so often */
};

/* A pool may know the values from other columns, and so is preferred even when it seems worse. */
#define POOL_MARGIN 0.9F
/* Ranks that save next to nothing are values that hardly recur. */
#define RANKS_MARGIN 0.98F

unsigned column_plane_width(uint64_t max)
{
	unsigned width = 0;

	for (; max > 0; max >>= 8)
		width++;
	return width;
}

/* Guessing sizes */

/* Binary logarithm, to about a hundredth. */
static float log2_of(float v)
{
	uint32_t bits;

	memcpy(&bits, &v, sizeof(bits));
	float exponent = (float)(int)(bits >> 23) - 127;
	bits = (bits & 0x007fffff) | 0x3f800000;
	memcpy(&v, &bits, sizeof(v));
	return exponent + (-v / 3 + 2) * v - 5.0F / 3;
}

/* Bits that `total` symbols of these frequencies take, with their table. */
static float histogram_bits(const uint32_t *count, uint32_t n, uint32_t total)
{
	float bits = 0, symbols = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (count[i] == 0)
			continue;
		bits += (float)count[i] * log2_of((float)total / (float)count[i]);
		symbols++;
	}
	bits = bits < 0 || symbols < 2 ? 0 : bits;
	bits += symbols * SYMBOL_BITS;
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
		bits += histogram_bits(count, 256, n);
	}
	return bits;
}

/* The distinct values of some rows of a column, as they come. */
struct distinct {
	struct distinct_value {
		uint64_t key; /* the integer, or a hash */
		uint32_t row, count;
		uint32_t born; /* how many new values a pool had seen when this was new last */
		uint8_t rank;
	} * values;
	uint32_t *table; /* 1 + index into values; 0 is empty */
	uint32_t n, max, mask;
};

enum { DISTINCT_NONE = UINT32_MAX };

static void distinct_init(struct distinct *d, uint32_t max)
{
	uint32_t slots = 16;

	while (slots < 2 * max)
		slots *= 2;
	*d = (struct distinct){.max = max, .mask = slots - 1};
	d->values = xmalloc(max * sizeof(*d->values));
	d->table = xcalloc(slots, sizeof(*d->table));
}

static void distinct_fini(struct distinct *d)
{
	free(d->values);
	free(d->table);
}

static struct str bytes_of(const struct column *c, uint32_t i)
{
	size_t bytes;

	if (c->kind == SLOT_TEXT)
		return c->text[i];
	bytes = column_bytes(c->kind, c->width);
	return str_make(c->binary + i * bytes, bytes);
}

static bool same_value(const struct column *c, uint32_t a, uint32_t b)
{
	if (column_is_integer(c->kind))
		return c->number[a] == c->number[b];
	return str_eq(bytes_of(c, a), bytes_of(c, b));
}

/* Index of the value of a row, counted; DISTINCT_NONE when there is no room for a new one. */
static uint32_t distinct_put(struct distinct *d, const struct column *c, uint32_t row)
{
	bool integer = column_is_integer(c->kind);
	uint64_t key = integer ? c->number[row] : hash_stable(bytes_of(c, row));
	uint32_t at = (uint32_t)(key * 0x9e3779b97f4a7c15 >> 32) & d->mask;

	for (; d->table[at]; at = (at + 1) & d->mask) {
		struct distinct_value *v = &d->values[d->table[at] - 1];
		if (v->key != key || (!integer && !same_value(c, v->row, row)))
			continue;
		v->count++;
		return d->table[at] - 1;
	}
	if (d->n == d->max)
		return DISTINCT_NONE;
	d->values[d->n] = (struct distinct_value){.key = key, .row = row, .count = 1};
	d->table[at] = ++d->n;
	return d->n - 1;
}

struct sample {
	uint32_t n;
	uint32_t row[SAMPLE];
	uint64_t number[SAMPLE]; /* of integers */
	uint64_t delta[SAMPLE];
	float scale; /* values of the column for one of the sample */
};

static void take_sample(const struct column *c, struct sample *s)
{
	uint32_t runs = c->n > SAMPLE ? SAMPLE_RUNS : 1, n = c->n > SAMPLE ? SAMPLE : c->n;
	uint32_t run = n / runs;

	s->n = n;
	s->scale = (float)c->n / (float)n;
	for (uint32_t r = 0; r < runs; r++) {
		uint32_t from = runs == 1 ? 0 : (uint32_t)((uint64_t)(c->n - run) * r / (runs - 1));
		for (uint32_t i = 0; i < run; i++)
			s->row[r * run + i] = from + i;
	}
	if (!column_is_integer(c->kind))
		return;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t row = s->row[i];
		s->number[i] = c->number[row];
		s->delta[i] = row == 0 ? 0 : zigzag((int64_t)(c->number[row] - c->number[row - 1]));
	}
}

struct guess {
	float plain; /* bits of the values as they are */
	float delta;
	float ranks;
	float pool;
};

/* Bits of one value as it is, without a table. */
static float plain_bits(const struct column *c, const struct sample *s, uint64_t min)
{
	uint64_t v[SAMPLE];
	size_t bytes = 0;

	if (c->kind == SLOT_TEXT) {
		for (uint32_t i = 0; i < s->n; i++)
			bytes += 1 + c->text[s->row[i]].n;
		return (float)bytes * 6;
	}
	if (!column_is_integer(c->kind)) {
		/* Digits made by chance; constant ones are rare enough. */
		return (float)s->n * (float)column_bytes(c->kind, c->width) * 8;
	}
	for (uint32_t i = 0; i < s->n; i++)
		v[i] = s->number[i] - min;
	return planes_bits(v, s->n);
}

/* Ranks and the pool look at how values recur. */
static void guess_recurring(const struct column *c, const struct sample *s, struct guess *g)
{
	uint32_t ages[256] = {0}, counts[SAMPLE + 1] = {0}, born = 0;
	uint32_t kept = 0, escapes = 0;
	float per_value = g->plain / (float)s->n, bits = 0;
	struct distinct d;

	distinct_init(&d, s->n);
	for (uint32_t i = 0; i < s->n; i++) {
		struct distinct_value *v = &d.values[distinct_put(&d, c, s->row[i])];
		uint32_t age = v->count > 1 ? born - v->born : 255;
		if (age > 253) {
			age = 255;
			v->born = ++born;
		}
		ages[age]++;
	}
	g->pool = s->scale * (histogram_bits(ages, 256, s->n) + (float)ages[255] * per_value);
	for (uint32_t i = 0; i < d.n; i++)
		counts[d.values[i].count]++;
	/* What came up once is an escape. */
	for (uint32_t count = s->n; count > 1; count--) {
		uint32_t take = counts[count];
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
	g->ranks = s->scale * bits + (float)kept * (per_value + SYMBOL_BITS);
	distinct_fini(&d);
}

/* Writing */

/* Integers less a minimum; rows NULL: of all. */
static void put_integers(struct buf *out, const uint64_t *v, const uint32_t *rows, uint32_t n)
{
	uint64_t min = UINT64_MAX, max = 0;
	unsigned width;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t value = v[rows ? rows[i] : i];
		min = value < min ? value : min;
		max = value > max ? value : max;
	}
	if (n == 0 || column_plane_width(max) == column_plane_width(max - min))
		min = 0;
	width = column_plane_width(max - min);
	buf_char(out, (char)width);
	varint_put(out, min);
	uint8_t *to = (uint8_t *)buf_reserve(out, (size_t)n * width);
	for (unsigned w = 0; w < width; w++, to += n) {
		if (rows) {
			for (uint32_t i = 0; i < n; i++)
				to[i] = (uint8_t)((v[rows[i]] - min) >> (8 * w));
		} else {
			for (uint32_t i = 0; i < n; i++)
				to[i] = (uint8_t)((v[i] - min) >> (8 * w));
		}
	}
	out->n += (size_t)n * width;
}

static void put_value(struct buf *out, const struct column *c, uint32_t row)
{
	if (column_is_integer(c->kind)) {
		varint_put(out, c->number[row]);
		return;
	}
	struct str bytes = bytes_of(c, row);
	if (c->kind == SLOT_TEXT)
		buf_char(out, (char)bytes.n);
	buf_str(out, bytes);
}

/* The values of some rows, as they are; rows NULL: of all. */
static void put_rows(struct buf *out, const struct column *c, const uint32_t *rows, uint32_t n)
{
	if (column_is_integer(c->kind)) {
		put_integers(out, c->number, rows, n);
		return;
	}
	if (c->kind == SLOT_TEXT) {
		char *to = buf_reserve(out, n);
		for (uint32_t i = 0; i < n; i++)
			to[i] = (char)c->text[rows ? rows[i] : i].n;
		out->n += n;
		for (uint32_t i = 0; i < n; i++)
			buf_str(out, c->text[rows ? rows[i] : i]);
		return;
	}
	size_t bytes = column_bytes(c->kind, c->width);
	uint8_t *to = (uint8_t *)buf_reserve(out, n * bytes);
	for (size_t b = 0; b < bytes; b++, to += n)
		for (uint32_t i = 0; i < n; i++)
			to[i] = c->binary[(rows ? rows[i] : i) * bytes + b];
	out->n += n * bytes;
}

static inline uint64_t difference(const uint64_t *v, uint32_t i)
{
	return zigzag((int64_t)(v[i + 1] - v[i]));
}

static void put_delta(struct buf *out, const struct column *c)
{
	const uint64_t *v = c->number;
	uint32_t n = c->n - 1;
	uint64_t all = 0;
	unsigned width;

	for (uint32_t i = 0; i < n; i++)
		all |= difference(v, i);
	width = column_plane_width(all);
	buf_char(out, (char)width);
	varint_put(out, v[0]);
	uint8_t *to = (uint8_t *)buf_reserve(out, (size_t)n * width);
	for (unsigned w = 0; w < width; w++, to += n)
		for (uint32_t i = 0; i < n; i++)
			to[i] = (uint8_t)(difference(v, i) >> (8 * w));
	out->n += (size_t)n * width;
}

static uint32_t rank_count(const struct distinct_value *v)
{
	return v->count < RANK_COUNTS ? v->count : RANK_COUNTS - 1;
}

/* Give the most frequent values their ranks; returns how many there are. */
static uint32_t rank(struct distinct *d)
{
	uint32_t counts[RANK_COUNTS] = {0}, least = RANK_COUNTS, kept = 0, room;

	for (uint32_t i = 0; i < d->n; i++)
		counts[rank_count(&d->values[i])]++;
	/* All values that came up more than `least` times, and of those with `least` what fits. */
	while (least > 2 && kept + counts[least - 1] <= COLUMN_RANKS_MAX)
		kept += counts[--least];
	room = least > 2 ? COLUMN_RANKS_MAX - kept : 0;
	kept = 0;
	for (uint32_t i = 0; i < d->n; i++) {
		struct distinct_value *v = &d->values[i];
		v->rank = COLUMN_RANKS_MAX;
		if (rank_count(v) >= least) {
			v->rank = (uint8_t)kept++;
		} else if (rank_count(v) == least - 1 && room > 0) {
			v->rank = (uint8_t)kept++;
			room--;
		}
	}
	return kept;
}

static void put_ranks(struct buf *out, const struct column *c)
{
	uint32_t *index = xmalloc(c->n * sizeof(*index)), n_escapes = 0;
	struct distinct d;

	distinct_init(&d, c->n < DISTINCT_MAX ? c->n : DISTINCT_MAX);
	for (uint32_t i = 0; i < c->n; i++)
		index[i] = distinct_put(&d, c, i);
	varint_put(out, rank(&d));
	for (uint32_t i = 0; i < d.n; i++)
		if (d.values[i].rank < COLUMN_RANKS_MAX)
			put_value(out, c, d.values[i].row);
	uint8_t *to = (uint8_t *)buf_reserve(out, c->n);
	for (uint32_t i = 0; i < c->n; i++) {
		to[i] = index[i] == DISTINCT_NONE ? COLUMN_RANKS_MAX : d.values[index[i]].rank;
		/* From here on the rows of the escapes. */
		index[n_escapes] = i;
		n_escapes += to[i] == COLUMN_RANKS_MAX;
	}
	out->n += c->n;
	put_rows(out, c, index, n_escapes);
	distinct_fini(&d);
	free(index);
}

/* Digits are at least so many, and exactly as many as the value needs if that is more; 0: there is
 * no such number. */
static uint8_t common_digits(const struct column *c)
{
	uint8_t least = COLUMN_NUMBER_DIGITS;
	uint32_t wrong = 0;

	for (uint32_t i = 0; i < c->n; i++)
		least = c->digits[i] < least ? c->digits[i] : least;
	for (uint32_t i = 0; i < c->n; i++) {
		uint8_t natural = column_natural(c->number[i]);
		wrong |= c->digits[i] != (natural > least ? natural : least);
	}
	return wrong ? COLUMN_DIGITS_PLANE : least;
}

static void put_head(struct buf *out, const struct column *c, enum column_code code)
{
	uint8_t digits;

	buf_char(out, (char)code);
	if (c->kind != SLOT_NUMBER)
		return;
	digits = common_digits(c);
	buf_char(out, (char)digits);
	if (digits == COLUMN_DIGITS_PLANE)
		buf_put(out, c->digits, c->n);
}

static bool all_same(const struct column *c)
{
	if (column_is_integer(c->kind)) {
		uint64_t differs = 0;
		if (c->number[0] != c->number[c->n - 1])
			return false;
		for (uint32_t i = 1; i < c->n; i++)
			differs |= c->number[i] ^ c->number[0];
		return differs == 0;
	}
	for (uint32_t i = 1; i < c->n; i++)
		if (!same_value(c, 0, i))
			return false;
	return true;
}

/* Few values: as few planes as they take, plain or of differences. */
static void guess_few(const struct column *c, uint64_t range, struct guess *g)
{
	uint64_t all = 0;

	for (uint32_t i = 0; i + 1 < c->n; i++)
		all |= difference(c->number, i);
	g->plain = (float)(c->n * column_plane_width(range));
	g->delta = (float)(c->n * column_plane_width(all));
	g->ranks = g->plain + 1;
}

static void guess(const struct column *c, struct guess *g)
{
	struct sample s;
	uint64_t min = UINT64_MAX, max = 0;

	*g = (struct guess){0};
	if (column_is_integer(c->kind)) {
		for (uint32_t i = 0; i < c->n; i++) {
			min = c->number[i] < min ? c->number[i] : min;
			max = c->number[i] > max ? c->number[i] : max;
		}
		if (column_plane_width(max) == column_plane_width(max - min))
			min = 0;
		if (c->kind == SLOT_NUMBER && c->n < FEW) {
			guess_few(c, max - min, g);
			return;
		}
	}
	take_sample(c, &s);
	if (column_is_integer(c->kind))
		g->delta = s.scale * planes_bits(s.delta, s.n);
	g->plain = plain_bits(c, &s, min);
	/* A byte is as good as a rank. */
	if (c->kind == SLOT_NUMBER && max - min <= UINT8_MAX)
		g->ranks = s.scale * g->plain + 1;
	else
		guess_recurring(c, &s, g);
	g->plain *= s.scale;
}

/* What the pool knows of the values from other columns cannot be seen here.  Process ids, ports,
 * sizes and numbers of tasks recur from template to template: on eight logs, pooling all numbers
 * that need two bytes made the whole 5 % smaller, the small columns most of all. */
static bool pool_is_better(const struct column *c, enum column_code code, const struct guess *g)
{
	uint32_t large = 0;

	if (c->kind != SLOT_NUMBER)
		return code == COLUMN_PLANES ||
		       g->pool * POOL_MARGIN < (code == COLUMN_RANKS ? g->ranks : g->delta);
	for (uint32_t i = 0; i < c->n; i++)
		large += c->number[i] > UINT8_MAX;
	return code != COLUMN_DELTA && large > c->n / LARGE_SHARE;
}

uint8_t column_pool_width(const struct column *c)
{
	uint64_t max = 0;

	for (uint32_t i = 0; c->kind == SLOT_NUMBER && i < c->n; i++)
		max = c->number[i] > max ? c->number[i] : max;
	return c->kind == SLOT_NUMBER ? column_natural(max) : c->width;
}

enum use { FOR_BLOCK, FOR_POOL };

/* Encode; false when the pool is better. */
static bool encode(
	const struct column *c, struct column_times *times, enum use use, struct buf *out)
{
	bool integer = column_is_integer(c->kind);
	enum column_code code = COLUMN_PLANES;
	float best;
	struct guess g;

	assert(c->n > 0);
	if (all_same(c)) {
		put_head(out, c, COLUMN_CONSTANT);
		put_value(out, c, 0);
		return true;
	}
	guess(c, &g);
	best = g.plain;
	if (integer && g.delta < best) {
		best = g.delta;
		code = COLUMN_DELTA;
	}
	/* A pool's texts stay in one piece. */
	if (g.ranks < best * RANKS_MARGIN && !(use == FOR_POOL && c->kind == SLOT_TEXT)) {
		best = g.ranks;
		code = COLUMN_RANKS;
	}
	if (times && integer) {
		struct buf body = {0};
		bool found = column_time_encode(c, times, &body) &&
			     (body.n <= TIME_SURE || (float)body.n * 8 < best);
		if (found) {
			put_head(out, c, COLUMN_TIME);
			buf_str(out, buf_view(&body));
		}
		buf_fini(&body);
		if (found)
			return true;
	}
	if (use == FOR_BLOCK && pool_is_better(c, code, &g))
		return false;
	put_head(out, c, code);
	switch (code) {
	case COLUMN_DELTA: put_delta(out, c); break;
	case COLUMN_RANKS: put_ranks(out, c); break;
	default: put_rows(out, c, NULL, c->n);
	}
	return true;
}

bool column_encode(const struct column *c, struct column_times *times, struct buf *out)
{
	return encode(c, times, FOR_BLOCK, out);
}

void column_encode_values(const struct column *c, struct column_times *times, struct buf *out)
{
	(void)encode(c, times, FOR_POOL, out);
}
