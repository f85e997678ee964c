/* SPDX-License-Identifier: Apache-2.0 */
#include "store/parts/manifest.h"

#include <stdlib.h>

#include "store/bytes.h"

static const char magic[MAGIC_BYTES] = "SLMAN002";

enum {
	HOLE_BYTES_MIN = 2, /* of a varint each */
	PART_BYTES_MIN = 12,
};

void manifest_fini(struct manifest *m)
{
	free(m->holes);
	free(m->parts);
	*m = (struct manifest){0};
}

static void put_part(struct buf *out, const struct part_summary *s, uint64_t last)
{
	varint_put(out, s->first_seq - last);
	varint_put(out, s->last_seq - s->first_seq);
	varint_put(out, s->revision);
	varint_put(out, s->n_rows);
	varint_put(out, s->raw_bytes);
	varint_put(out, s->file_bytes);
	varint_put(out, zigzag(s->min_ns));
	varint_put(out, zigzag(s->max_ns));
	varint_put(out, zigzag(s->day));
	varint_put(out, s->level);
	varint_put(out, s->n_blocks);
	varint_put(out, s->cleaned);
}

static void read_range(struct reader *in, uint64_t *last, uint64_t *first_seq, uint64_t *last_seq)
{
	uint64_t skip = reader_varint(in), length = reader_varint(in);

	if (skip == 0 || __builtin_add_overflow(*last, skip, first_seq) ||
		__builtin_add_overflow(*first_seq, length, last_seq))
		in->bad = true;
	*last = *last_seq;
}

static void read_part(struct reader *in, struct part_summary *s, uint64_t *last)
{
	int64_t day;

	read_range(in, last, &s->first_seq, &s->last_seq);
	s->revision = (uint32_t)reader_number(in, UINT32_MAX);
	s->n_rows = reader_varint(in);
	s->raw_bytes = reader_varint(in);
	s->file_bytes = reader_varint(in);
	s->min_ns = reader_signed(in);
	s->max_ns = reader_signed(in);
	day = reader_signed(in);
	s->level = (uint32_t)reader_number(in, UINT32_MAX);
	s->n_blocks = reader_varint(in);
	s->cleaned = reader_varint(in);
	if (day < INT32_MIN || day > INT32_MAX)
		in->bad = true;
	s->day = (int32_t)day;
}

void manifest_encode(const struct manifest *m, struct buf *out)
{
	size_t start = out->n;
	uint64_t last = 0;

	buf_put(out, magic, sizeof magic);
	varint_put(out, m->flushed_until);
	varint_put(out, m->n_holes);
	for (size_t i = 0; i < m->n_holes; i++) {
		varint_put(out, m->holes[i].first - last);
		varint_put(out, m->holes[i].last - m->holes[i].first);
		last = m->holes[i].last;
	}
	varint_put(out, m->n);
	last = 0;
	for (size_t i = 0; i < m->n; i++) {
		put_part(out, &m->parts[i], last);
		last = m->parts[i].last_seq;
	}
	bytes_seal(out, start);
}

int manifest_decode(struct manifest *m, struct str bytes, struct error *e)
{
	struct reader in = {0};
	uint64_t n, last = 0;

	*m = (struct manifest){0};
	if (!bytes_unseal(bytes, magic, &in.at))
		return error_set(e, ERR_CORRUPT, "bad checksum");
	m->flushed_until = reader_varint(&in);
	n = reader_number(&in, bytes.n / HOLE_BYTES_MIN);
	m->holes = xcalloc(n, sizeof *m->holes);
	for (; m->n_holes < n && !in.bad; m->n_holes++)
		read_range(&in, &last, &m->holes[m->n_holes].first, &m->holes[m->n_holes].last);
	n = reader_number(&in, bytes.n / PART_BYTES_MIN);
	m->parts = xcalloc(n, sizeof *m->parts);
	last = 0;
	for (; m->n < n && !in.bad; m->n++)
		read_part(&in, &m->parts[m->n], &last);
	if (!in.bad && in.at.n == 0)
		return 0;
	manifest_fini(m);
	return error_set(e, ERR_CORRUPT, "bad structure");
}

const struct part_summary *manifest_find(const struct manifest *m, const struct part_summary *s)
{
	size_t lo = 0, hi = m->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->parts[mid].first_seq < s->first_seq)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < m->n && m->parts[lo].first_seq == s->first_seq &&
			       m->parts[lo].last_seq == s->last_seq &&
			       m->parts[lo].revision == s->revision
		       ? &m->parts[lo]
		       : NULL;
}
