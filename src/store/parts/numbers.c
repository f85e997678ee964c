/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers, packed.  A column of a block is thousands of small numbers of which
 * most are alike, or a few hundred in all; zstd does the rest when the bytes
 * that resemble each other lie together.  So values lie in planes (all first
 * bytes, all second bytes, …), each packed by itself, since what is random in
 * one plane would spoil the code of the next.  Varints in place of planes took
 * 10 to 20 % more for times and as much for all else.
 *
 * Which of the forms is smallest is found out by making them: it costs a
 * thousandth of what the lines of the block do.
 */
#include "store/parts/numbers.h"

enum packed_form { PACKED_RAW, PACKED_ZSTD, PACKED_SAME };
enum numbers_form { NUMBERS_SAME, NUMBERS_PLANES, NUMBERS_RUNS };

enum { PACK_MIN = 24 };

static bool same_bytes(struct str s)
{
	return s.n > 1 && memcmp(s.p, s.p + 1, s.n - 1) == 0;
}

void packed_put(struct buf *out, struct str raw, int level)
{
	struct buf packed = {0};

	if (same_bytes(raw)) {
		buf_char(out, PACKED_SAME);
		buf_char(out, raw.p[0]);
		return;
	}
	if (raw.n >= PACK_MIN)
		zstd_pack_columns(&packed, raw, 0, level);
	if (packed.n > 0 && packed.n + 2 < raw.n) {
		buf_char(out, PACKED_ZSTD);
		bytes_put_str(out, buf_view(&packed));
	} else {
		buf_char(out, PACKED_RAW);
		buf_str(out, raw);
	}
	buf_fini(&packed);
}

static uint8_t get_byte(struct reader *in)
{
	struct str one = reader_bytes(in, 1);

	return one.n > 0 ? (uint8_t)one.p[0] : 0;
}

static void go_bad(struct reader *in)
{
	in->bad = true;
	in->at = STR_NONE;
}

void packed_get(struct reader *in, size_t n, struct buf *to)
{
	size_t start = to->n;
	struct str s;

	switch (get_byte(in)) {
	case PACKED_RAW: buf_str(to, reader_bytes(in, n)); break;
	case PACKED_ZSTD:
		s = reader_str(in, UINT32_MAX);
		if (in->bad || zstd_unpack(to, s, n, NULL) < 0 || to->n - start != n)
			go_bad(in);
		break;
	case PACKED_SAME: {
		uint8_t c = get_byte(in);

		if (in->bad)
			return;
		memset(buf_reserve(to, n), c, n);
		to->n += n;
		break;
	}
	default: go_bad(in);
	}
}

/* Planes */

static unsigned width_of(const uint64_t *v, size_t n)
{
	uint64_t all = 0;
	unsigned width = 1;

	for (size_t i = 0; i < n; i++)
		all |= v[i];
	while (width < 8 && all >> (8 * width))
		width++;
	return width;
}

static void put_planes(struct buf *out, const uint64_t *v, size_t n, int level)
{
	unsigned width = width_of(v, n);
	struct buf plane = {0};

	buf_char(out, NUMBERS_PLANES);
	buf_char(out, (char)width);
	for (unsigned k = 0; k < width; k++) {
		char *p;

		buf_clear(&plane);
		p = buf_reserve(&plane, n);
		for (size_t i = 0; i < n; i++)
			p[i] = (char)(v[i] >> (8 * k));
		packed_put(out, str_make(p, n), level);
	}
	buf_fini(&plane);
}

static void get_planes(struct reader *in, uint64_t *v, size_t n)
{
	unsigned width = get_byte(in);
	struct buf plane = {0};

	if (width < 1 || width > 8)
		go_bad(in);
	memset(v, 0, n * sizeof *v);
	for (unsigned k = 0; k < width && !in->bad; k++) {
		buf_clear(&plane);
		packed_get(in, n, &plane);
		for (size_t i = 0; i < n && !in->bad; i++)
			v[i] |= (uint64_t)(unsigned char)plane.p[i] << (8 * k);
	}
	buf_fini(&plane);
}

/* Runs */

static size_t count_runs(const uint64_t *v, size_t n)
{
	size_t runs = 1;

	for (size_t i = 1; i < n; i++)
		runs += v[i] != v[i - 1];
	return runs;
}

static void put_same(struct buf *out, uint64_t v)
{
	buf_char(out, NUMBERS_SAME);
	varint_put(out, v);
}

static void put_flat(struct buf *out, const uint64_t *v, size_t n, int level)
{
	if (count_runs(v, n) == 1)
		put_same(out, v[0]);
	else
		put_planes(out, v, n, level);
}

static void put_runs(struct buf *out, const uint64_t *v, size_t n, size_t runs, int level)
{
	uint64_t *value = xmalloc(2 * runs * sizeof *value), *length = value + runs;
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		if (i > 0 && v[i] == v[i - 1]) {
			length[at - 1]++;
			continue;
		}
		value[at] = v[i];
		length[at++] = 0;
	}
	buf_char(out, NUMBERS_RUNS);
	varint_put(out, runs);
	put_flat(out, value, runs, level);
	put_flat(out, length, runs, level);
	free(value);
}

void numbers_put(struct buf *out, const uint64_t *v, size_t n, int level)
{
	struct buf planes = {0}, *shorter = &planes;
	struct buf by_runs = {0};
	size_t runs;

	if (n == 0)
		return;
	runs = count_runs(v, n);
	if (runs == 1) {
		put_same(out, v[0]);
		return;
	}
	/* Long runs need no second opinion, nor do values without any. */
	if (runs >= n / 64)
		put_planes(&planes, v, n, level);
	if (runs < n - n / 4)
		put_runs(&by_runs, v, n, runs, level);
	if (planes.n == 0 || (by_runs.n > 0 && by_runs.n < planes.n))
		shorter = &by_runs;
	buf_str(out, buf_view(shorter));
	buf_fini(&planes);
	buf_fini(&by_runs);
}

static void get_flat(struct reader *in, uint64_t *v, size_t n)
{
	uint64_t same;

	switch (get_byte(in)) {
	case NUMBERS_SAME:
		same = reader_varint(in);
		for (size_t i = 0; i < n; i++)
			v[i] = same;
		break;
	case NUMBERS_PLANES: get_planes(in, v, n); break;
	default: go_bad(in);
	}
}

static void get_runs(struct reader *in, uint64_t *v, size_t n)
{
	size_t runs = (size_t)reader_number(in, n), at = 0;
	uint64_t *value = xmalloc(2 * runs * sizeof *value), *length = value + runs;

	get_flat(in, value, runs);
	get_flat(in, length, runs);
	for (size_t i = 0; i < runs && !in->bad; i++) {
		if (length[i] >= n - at) {
			go_bad(in);
			break;
		}
		for (uint64_t k = 0; k <= length[i]; k++)
			v[at++] = value[i];
	}
	if (at != n)
		go_bad(in);
	free(value);
}

void numbers_get(struct reader *in, uint64_t *v, size_t n)
{
	if (n == 0)
		return;
	if (in->at.n > 0 && in->at.p[0] == NUMBERS_RUNS) {
		get_byte(in);
		get_runs(in, v, n);
	} else {
		get_flat(in, v, n);
	}
	if (in->bad)
		memset(v, 0, n * sizeof *v);
}
