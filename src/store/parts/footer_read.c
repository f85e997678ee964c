/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a footer.  Nothing in a file is believed before its checksum and its
 * bounds were checked: counts are held against the bytes that must carry them
 * before anything is allocated for them.
 *
 * A footer is kept in memory as it lies on the disk but for what a scan looks
 * at for each block: the lists of local ids, all in one array.  Counts, which
 * only some queries ask for, are unpacked when they do.
 */
#include <assert.h>
#include <stdlib.h>

#include "store/bytes.h"
#include "store/parts/part.h"

void part_footer_free(struct part_footer *footer)
{
	if (!footer)
		return;
	for (size_t i = 0; i < footer->n_templates; i++)
		template_fini(&footer->templates[i]);
	free(footer->templates);
	free(footer->tenants);
	free(footer->streams);
	free(footer->sources);
	free(footer->blocks);
	free(footer->ids);
	buf_fini(&footer->text);
	free(footer);
}

/* An array for n things of which each takes at least `least` bytes of what is left to read. */
static void *array_for(struct reader *in, uint64_t n, size_t least, size_t size)
{
	if (in->bad || n > in->at.n / least) {
		in->bad = true;
		in->at = STR_NONE;
		return NULL;
	}
	return xcalloc((size_t)n + 1, size);
}

static int64_t read_span(struct reader *in, int64_t *min_ns)
{
	uint64_t span;

	*min_ns = reader_signed(in);
	span = reader_varint(in);
	if (span > (uint64_t)INT64_MAX - (uint64_t)*min_ns) {
		in->bad = true;
		return *min_ns;
	}
	return (int64_t)((uint64_t)*min_ns + span);
}

/* A value that lies `reader_varint` above `base`, at most max. */
static uint64_t read_above(struct reader *in, uint64_t base, uint64_t max)
{
	if (base > max) {
		in->bad = true;
		return base;
	}
	return base + reader_number(in, max - base);
}

static uint32_t read_index(struct reader *in, size_t n)
{
	if (n == 0) {
		in->bad = true;
		return 0;
	}
	return (uint32_t)reader_number(in, n - 1);
}

static void decode_streams(struct part_footer *f, struct reader *in)
{
	uint64_t n = reader_varint(in);

	f->tenants = array_for(in, n, 2, sizeof *f->tenants);
	for (uint64_t i = 0; i < n && !in->bad; i++)
		f->tenants[f->n_tenants++] = reader_str(in, TENANT_MAX);
	n = reader_varint(in);
	f->streams = array_for(in, n, 5, sizeof *f->streams);
	for (uint64_t i = 0; i < n && !in->bad; i++) {
		struct part_stream *s = &f->streams[f->n_streams++];

		s->tenant = read_index(in, f->n_tenants);
		s->labels = reader_str(in, BATCH_BYTES_MAX);
		s->n_rows = reader_varint(in);
		s->max_ns = read_span(in, &s->min_ns);
		if (!in->bad && labels_check(s->labels, NULL) < 0)
			in->bad = true;
	}
	n = reader_varint(in);
	f->sources = array_for(in, n, 2, sizeof *f->sources);
	for (uint64_t i = 0; i < n && !in->bad; i++) {
		struct part_source *s = &f->sources[f->n_sources++];

		s->tenant = read_index(in, f->n_tenants);
		s->id = reader_str(in, BATCH_BYTES_MAX);
	}
}

static void decode_templates(struct part_footer *f, struct reader *in)
{
	uint64_t n = reader_varint(in);

	f->templates = array_for(in, n, 2, sizeof *f->templates);
	for (uint64_t i = 0; i < n && !in->bad; i++) {
		struct str key = reader_str(in, BATCH_BYTES_MAX);

		if (in->bad || template_parse(&f->templates[f->n_templates], key, NULL) < 0) {
			in->bad = true;
			break;
		}
		f->bytes += f->templates[f->n_templates++].n_slots * sizeof(struct template_slot);
	}
}

/* Ids of one list; ascending where the order says something. */
static uint32_t decode_ids(struct reader *in, uint32_t **at, size_t *left, size_t max, bool ascend)
{
	uint32_t n = (uint32_t)reader_number(in, *left < UINT32_MAX ? *left : UINT32_MAX);
	uint64_t next = 0;

	for (uint32_t i = 0; i < n && !in->bad; i++) {
		int64_t step = reader_signed(in);
		uint64_t id = next + (uint64_t)step;

		if (id >= max || (ascend && step < 0)) {
			in->bad = true;
			break;
		}
		*(*at)++ = (uint32_t)id;
		next = id + 1;
	}
	*left -= n;
	return n;
}

/* Counts */

static void read_count(struct reader *in, struct block_count *c, const struct block_count *last,
	const struct part_block *b)
{
	uint64_t level;

	c->stream = (uint32_t)read_above(in, last->stream, b->n_streams - 1);
	c->template = (uint32_t)((uint64_t)last->template + (uint64_t)reader_signed(in));
	level = reader_number(in, 511);
	c->severity = (uint8_t)(level >> 1);
	c->level_detected = level & 1;
	c->rows = (uint32_t)reader_number(in, b->n_rows);
	c->bytes = reader_number(in, b->raw_bytes);
	if (c->template > b->n_templates)
		in->bad = true;
}

static void read_hour(struct reader *in, struct block_hour *h, const struct block_hour *last,
	const struct part_block *b)
{
	uint64_t level;

	h->stream = (uint32_t)read_above(in, last->stream, b->n_streams - 1);
	h->hour = (int64_t)((uint64_t)last->hour + (uint64_t)reader_signed(in));
	level = reader_number(in, 511);
	h->severity = (uint8_t)(level >> 1);
	h->level_detected = level & 1;
	h->rows = (uint32_t)reader_number(in, b->n_rows);
	h->bytes = reader_number(in, b->raw_bytes);
	if (h->hour < INT64_MIN / NS_PER_HOUR - 1 || h->hour > INT64_MAX / NS_PER_HOUR)
		in->bad = true;
}

/* Do the counts sum up to what the block holds? */
static bool counts_right(const struct part_block *b)
{
	struct reader in = {.at = b->counts};
	struct block_count count = {0};
	struct block_hour hour = {0};
	uint64_t rows = 0, bytes = 0, plain = 0;

	for (uint32_t i = 0; i < b->n_counts && !in.bad; i++) {
		read_count(&in, &count, &count, b);
		rows += count.rows;
		bytes += count.bytes;
		plain += count.template == TEMPLATE_NONE ? count.rows : 0;
	}
	if (b->n_counts > 0 && (rows != b->n_rows || bytes != b->raw_bytes || plain != b->n_plain))
		return false;
	rows = bytes = 0;
	for (uint32_t i = 0; i < b->n_hours && !in.bad; i++) {
		read_hour(&in, &hour, &hour, b);
		rows += hour.rows;
		bytes += hour.bytes;
	}
	if (b->n_hours > 0 && (rows != b->n_rows || bytes != b->raw_bytes))
		return false;
	return !in.bad && in.at.n == 0;
}

static void *room(void *p, size_t n, size_t *cap, size_t size)
{
	if (n <= *cap)
		return p;
	*cap = n;
	free(p);
	return xmalloc(n * size);
}

void block_counts_get(struct block_counts *c, const struct part_block *b)
{
	struct reader in = {.at = b->counts};
	struct block_count count = {0};
	struct block_hour hour = {0};

	c->counts = room(c->counts, b->n_counts, &c->cap_counts, sizeof *c->counts);
	c->hours = room(c->hours, b->n_hours, &c->cap_hours, sizeof *c->hours);
	for (uint32_t i = 0; i < b->n_counts; i++) {
		read_count(&in, &count, &count, b);
		c->counts[i] = count;
	}
	for (uint32_t i = 0; i < b->n_hours; i++) {
		read_hour(&in, &hour, &hour, b);
		c->hours[i] = hour;
	}
	assert(!in.bad);
}

void block_counts_fini(struct block_counts *c)
{
	free(c->counts);
	free(c->hours);
	*c = (struct block_counts){0};
}

/* Blocks */

static void decode_block(struct part_footer *f, struct part_block *b, struct reader *in,
	uint32_t **ids, size_t *left, uint64_t *at, uint64_t end)
{
	uint64_t plain;

	b->offset = read_above(in, *at, end);
	b->size = (uint32_t)reader_number(in, UINT32_MAX);
	b->n_rows = (uint32_t)reader_number(in, BLOCK_ROWS_MAX);
	b->raw_bytes = reader_number(in, BATCH_BYTES_MAX);
	b->max_ns = read_span(in, &b->min_ns);
	b->min_seq = reader_varint(in);
	b->max_seq = read_above(in, b->min_seq, UINT64_MAX);
	plain = reader_varint(in);
	b->n_plain = (uint32_t)(plain >> 1);
	b->has_meta = plain & 1;
	b->streams = *ids;
	b->n_streams = decode_ids(in, ids, left, f->n_streams, true);
	b->sources = *ids;
	b->n_sources = decode_ids(in, ids, left, f->n_sources, false);
	b->templates = *ids;
	b->n_templates = decode_ids(in, ids, left, f->n_templates, false);
	b->n_counts = (uint32_t)reader_number(in, BLOCK_ROWS_MAX);
	b->n_hours = (uint32_t)reader_number(in, BLOCK_ROWS_MAX);
	b->counts = reader_str(in, UINT32_MAX);
	*at = b->offset + b->size;
	if (in->bad || b->n_rows == 0 || b->size < BLOCK_HEADER_BYTES ||
		b->size > end - b->offset || plain >> 1 > b->n_rows || b->n_streams == 0 ||
		b->n_templates >= TEMPLATES_MAX || !counts_right(b))
		in->bad = true;
}

static void decode_blocks(struct part_footer *f, struct reader *in, uint64_t end)
{
	uint64_t n = reader_varint(in), n_ids = reader_varint(in), rows = 0, at = PART_HEADER_BYTES;
	size_t left = (size_t)n_ids;
	uint32_t *ids;

	f->blocks = array_for(in, n, 15, sizeof *f->blocks);
	ids = f->ids = array_for(in, n_ids, 1, sizeof *f->ids);
	for (uint64_t i = 0; i < n && !in->bad; i++) {
		struct part_block *b = &f->blocks[f->n_blocks++];

		decode_block(f, b, in, &ids, &left, &at, end);
		rows += b->n_rows;
	}
	if (rows != f->summary.n_rows || f->n_streams == 0 || in->at.n > 0)
		in->bad = true;
	f->summary.n_blocks = f->n_blocks;
	f->bytes += ((size_t)n_ids + 1) * sizeof *f->ids;
}

/* `text` moves into the footer. */
static int footer_decode(struct buf *text, uint64_t end, struct part_footer **out, struct error *e)
{
	struct part_footer *f = xcalloc(1, sizeof *f);
	struct reader in;
	int64_t day;

	f->text = buf_take(text);
	in = (struct reader){.at = buf_view(&f->text)};
	f->summary.first_seq = reader_varint(&in);
	f->summary.last_seq = read_above(&in, f->summary.first_seq, UINT64_MAX);
	f->summary.n_rows = reader_varint(&in);
	f->summary.raw_bytes = reader_varint(&in);
	f->summary.max_ns = read_span(&in, &f->summary.min_ns);
	day = reader_signed(&in);
	f->summary.day = (int32_t)day;
	f->summary.level = (uint32_t)reader_number(&in, UINT32_MAX);
	f->summary.cleaned = reader_varint(&in);
	decode_streams(f, &in);
	decode_templates(f, &in);
	decode_blocks(f, &in, end);
	if (in.bad || day != f->summary.day) {
		part_footer_free(f);
		return error_set(e, ERR_CORRUPT, "the footer's structure is wrong");
	}
	f->bytes +=
		sizeof *f + f->text.cap + (f->n_tenants + 1) * sizeof *f->tenants +
		(f->n_streams + 1) * sizeof *f->streams + (f->n_sources + 1) * sizeof *f->sources +
		(f->n_templates + 1) * sizeof *f->templates + (f->n_blocks + 1) * sizeof *f->blocks;
	*out = f;
	return 0;
}

struct tail {
	uint64_t footer[2], packed, raw;
	uint32_t crc;
};

static bool read_tail(struct file *f, uint64_t at, uint64_t size, struct tail *t)
{
	char p[PART_TAIL_BYTES];

	if (file_read(f, at, p, sizeof p, NULL) < 0 || get_u32(p) != TAIL_MAGIC ||
		get_u32(p + PART_TAIL_BYTES - 4) != crc32c(0, p, PART_TAIL_BYTES - 4))
		return false;
	t->crc = get_u32(p + 4);
	t->footer[0] = get_u64(p + 8);
	t->footer[1] = get_u64(p + 16);
	t->packed = get_u64(p + 24);
	t->raw = get_u64(p + 32);
	return t->raw <= FOOTER_RAW_MAX && t->packed <= size && t->footer[0] <= size - t->packed &&
	       t->footer[1] <= size - t->packed;
}

static int read_footer_copy(
	struct file *f, const struct tail *t, int copy, struct part_footer **out, struct error *e)
{
	struct buf packed = {0}, raw = {0};
	int r;

	buf_reserve(&packed, (size_t)t->packed);
	if ((r = file_read(f, t->footer[copy], packed.p, (size_t)t->packed, e)) < 0)
		goto out;
	packed.n = (size_t)t->packed;
	if (crc32c(0, packed.p, packed.n) != t->crc) {
		r = error_set(e, ERR_CORRUPT, "bad checksum of the footer");
		goto out;
	}
	if ((r = zstd_unpack(&raw, buf_view(&packed), (size_t)t->raw, e)) < 0)
		goto out;
	r = footer_decode(&raw, t->footer[0], out, e);
out:
	buf_fini(&packed);
	buf_fini(&raw);
	return r;
}

static int check_version(struct file *f, uint64_t size, struct error *e)
{
	char header[PART_HEADER_BYTES];

	/* Damage of the header alone costs nothing: the tail is of this version. */
	if (size < sizeof header || file_read(f, 0, header, sizeof header, NULL) < 0 ||
		(get_u32(header) & 0xffffff) != (PART_MAGIC & 0xffffff) ||
		get_u32(header) == PART_MAGIC)
		return error_set(
			e, ERR_CORRUPT, "no footer can be found: the file is cut or damaged");
	return error_set(e, ERR_CORRUPT,
		"it is of version %u of the format, this program reads version %d",
		get_u32(header + 4), PART_VERSION);
}

int part_footer_read(struct file *f, struct part_footer **out, struct error *e)
{
	struct tail t;
	uint64_t size;
	int r;

	if ((r = file_size(f, &size, e)) < 0)
		return r;
	for (uint64_t copy = 1; copy <= 2; copy++) {
		if (size < PART_HEADER_BYTES + copy * PART_TAIL_BYTES ||
			!read_tail(f, size - copy * PART_TAIL_BYTES, size, &t))
			continue;
		if ((r = read_footer_copy(f, &t, 0, out, NULL)) == 0)
			return 0;
		return read_footer_copy(f, &t, 1, out, e);
	}
	return check_version(f, size, e);
}

static void name_damaged(struct buf *out, const char *what)
{
	if (out->n > 0)
		buf_c(out, ", ");
	buf_c(out, what);
}

void part_copies_check(struct file *f, struct buf *out)
{
	static const char *const tails[] = {"the first tail", "the second tail"};
	static const char *const footers[] = {"the first footer", "the second footer"};
	char header[PART_HEADER_BYTES], want[PART_HEADER_BYTES] = {0};
	bool has_tail = false;
	struct tail t, good;
	uint64_t size;

	put_u32(want, PART_MAGIC);
	put_u32(want + 4, PART_VERSION);
	if (file_size(f, &size, NULL) < 0 || size < PART_HEADER_BYTES + 2 * PART_TAIL_BYTES)
		return name_damaged(out, "its length");
	if (file_read(f, 0, header, sizeof header, NULL) < 0 ||
		memcmp(header, want, sizeof header) != 0)
		name_damaged(out, "the header");
	for (uint64_t i = 0; i < 2; i++) {
		if (read_tail(f, size - (2 - i) * PART_TAIL_BYTES, size, &t)) {
			good = t;
			has_tail = true;
		} else {
			name_damaged(out, tails[i]);
		}
	}
	for (int i = 0; i < 2 && has_tail; i++) {
		struct part_footer *footer = NULL;

		if (read_footer_copy(f, &good, i, &footer, NULL) < 0)
			name_damaged(out, footers[i]);
		part_footer_free(footer);
	}
}
