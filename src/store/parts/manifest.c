/* SPDX-License-Identifier: Apache-2.0 */
#include "store/parts/manifest.h"

#include <stdlib.h>

#include "store/bytes.h"

static const char magic[8] = "SLMAN001";

void manifest_fini(struct manifest *m)
{
	free(m->parts);
	*m = (struct manifest){0};
}

void manifest_encode(const struct manifest *m, struct buf *out)
{
	size_t start = out->n;
	char crc[4];

	buf_put(out, magic, sizeof magic);
	varint_put(out, m->n);
	for (size_t i = 0; i < m->n; i++) {
		const struct part_summary *s = &m->parts[i];

		varint_put(out, s->first_seq);
		varint_put(out, s->last_seq);
		varint_put(out, s->n_rows);
		varint_put(out, s->raw_bytes);
		varint_put(out, s->file_bytes);
		varint_put(out, zigzag(s->min_ns));
		varint_put(out, zigzag(s->max_ns));
	}
	put_u32(crc, crc32c(0, out->p + start, out->n - start));
	buf_put(out, crc, sizeof crc);
}

int manifest_decode(struct manifest *m, struct str bytes, struct error *e)
{
	struct reader in;
	uint64_t n, last = 0;

	*m = (struct manifest){0};
	if (bytes.n < sizeof magic + 5 || memcmp(bytes.p, magic, sizeof magic) != 0 ||
		get_u32(bytes.p + bytes.n - 4) != crc32c(0, bytes.p, bytes.n - 4))
		return error_set(e, ERR_CORRUPT, "bad checksum");
	in = (struct reader){.at = str_sub(bytes, sizeof magic, bytes.n - 4)};
	n = reader_number(&in, bytes.n / 7);
	m->parts = xcalloc(n, sizeof *m->parts);
	for (; m->n < n && !in.bad; m->n++) {
		struct part_summary *s = &m->parts[m->n];

		s->first_seq = reader_varint(&in);
		s->last_seq = reader_varint(&in);
		s->n_rows = reader_varint(&in);
		s->raw_bytes = reader_varint(&in);
		s->file_bytes = reader_varint(&in);
		s->min_ns = reader_signed(&in);
		s->max_ns = reader_signed(&in);
		if (s->first_seq <= last || s->last_seq < s->first_seq)
			in.bad = true;
		last = s->last_seq;
	}
	if (!in.bad && in.at.n == 0)
		return 0;
	manifest_fini(m);
	return error_set(e, ERR_CORRUPT, "bad structure");
}
