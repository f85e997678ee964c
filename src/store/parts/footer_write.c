/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>

#include "store/bytes.h"
#include "store/parts/footer.h"

/* Merged parts stay, and their footers are 10 % smaller by 9 than by 3.  For what is written at
 * first that would be a twentieth of the work. */
enum { FOOTER_LEVEL = 3, FOOTER_LEVEL_MERGED = 9 };

struct footer_lists {
	size_t streams, sources, templates; /* where each begins in ids */
	size_t counts;                      /* in text */
};

static void *grow(struct footer_builder *f, void *p, size_t n, size_t *cap, size_t size)
{
	size_t more;

	if (n < *cap)
		return p;
	more = *cap > 0 ? *cap : 32;
	*cap += more;
	account_force(f->account, more * size);
	f->charged += more * size;
	return xrealloc(p, *cap * size);
}

static void charge(struct footer_builder *f, uint64_t n)
{
	account_force(f->account, n);
	f->charged += n;
}

void footer_builder_fini(struct footer_builder *f)
{
	free(f->tenants);
	free(f->streams);
	free(f->sources);
	free(f->templates);
	map_fini(&f->template_index);
	free(f->blocks);
	free(f->lists);
	buf_fini(&f->ids);
	buf_fini(&f->text);
	account_release(f->account, f->charged);
	*f = (struct footer_builder){.account = f->account};
}

uint32_t footer_add_tenant(struct footer_builder *f, struct str tenant)
{
	if (f->n_tenants > 0 && str_eq(f->tenants[f->n_tenants - 1], tenant))
		return (uint32_t)f->n_tenants - 1;
	f->tenants = grow(f, f->tenants, f->n_tenants, &f->cap_tenants, sizeof *f->tenants);
	f->tenants[f->n_tenants] = tenant;
	return (uint32_t)f->n_tenants++;
}

uint32_t footer_add_stream(struct footer_builder *f, uint32_t tenant, struct str labels)
{
	f->streams = grow(f, f->streams, f->n_streams, &f->cap_streams, sizeof *f->streams);
	f->streams[f->n_streams] = (struct part_stream){
		.labels = labels, .tenant = tenant, .min_ns = INT64_MAX, .max_ns = INT64_MIN};
	return (uint32_t)f->n_streams++;
}

uint32_t footer_add_source(struct footer_builder *f, uint32_t tenant, struct str id)
{
	f->sources = grow(f, f->sources, f->n_sources, &f->cap_sources, sizeof *f->sources);
	f->sources[f->n_sources] = (struct part_source){.tenant = tenant, .id = id};
	return (uint32_t)f->n_sources++;
}

uint32_t footer_add_template(struct footer_builder *f, struct str key)
{
	size_t held = f->template_index.bytes;
	union map_value *v;
	bool added;

	v = map_put(&f->template_index, key, &added);
	if (!added)
		return (uint32_t)v->u;
	charge(f, f->template_index.bytes - held);
	f->templates =
		grow(f, f->templates, f->n_templates, &f->cap_templates, sizeof *f->templates);
	/* The map keeps a copy of the key, which stays where it is. */
	f->templates[f->n_templates] =
		((struct map_slot *)((char *)v - offsetof(struct map_slot, value)))->key;
	v->u = f->n_templates;
	return (uint32_t)f->n_templates++;
}

static size_t add_ids(struct footer_builder *f, const uint32_t *ids, uint32_t n)
{
	size_t at = f->ids.n / sizeof *ids;

	buf_put(&f->ids, ids, n * sizeof *ids);
	return at;
}

void footer_add_block(struct footer_builder *f, const struct part_block *b)
{
	struct part_summary *s = &f->summary;
	size_t cap = f->cap_blocks, held = f->ids.cap + f->text.cap;

	f->blocks = grow(f, f->blocks, f->n_blocks, &f->cap_blocks, sizeof *f->blocks);
	f->lists = grow(f, f->lists, f->n_blocks, &cap, sizeof *f->lists);
	f->blocks[f->n_blocks] = *b;
	f->lists[f->n_blocks++] = (struct footer_lists){
		.streams = add_ids(f, b->streams, b->n_streams),
		.sources = add_ids(f, b->sources, b->n_sources),
		.templates = add_ids(f, b->templates, b->n_templates),
		.counts = f->text.n,
	};
	buf_str(&f->text, b->counts);
	charge(f, f->ids.cap + f->text.cap - held);
	if (s->n_rows == 0) {
		s->min_ns = b->min_ns;
		s->max_ns = b->max_ns;
	}
	s->n_rows += b->n_rows;
	s->raw_bytes += b->raw_bytes;
	s->min_ns = b->min_ns < s->min_ns ? b->min_ns : s->min_ns;
	s->max_ns = b->max_ns > s->max_ns ? b->max_ns : s->max_ns;
	s->n_blocks++;
}

/* Counts */

void footer_pack_counts(const struct block_count *counts, uint32_t n_counts,
	const struct block_hour *hours, uint32_t n_hours, struct buf *out)
{
	uint32_t stream = 0, template = 0;
	int64_t hour = 0;

	for (uint32_t i = 0; i < n_counts; i++) {
		const struct block_count *c = &counts[i];

		varint_put(out, c->stream - stream);
		varint_put(out, zigzag((int64_t)c->template - (int64_t) template));
		varint_put(out, (uint64_t)c->severity << 1 | c->level_detected);
		varint_put(out, c->rows);
		varint_put(out, c->bytes);
		stream = c->stream;
		template = c->template;
	}
	stream = 0;
	for (uint32_t i = 0; i < n_hours; i++) {
		const struct block_hour *h = &hours[i];

		varint_put(out, h->stream - stream);
		varint_put(out, zigzag(h->hour - hour));
		varint_put(out, (uint64_t)h->severity << 1 | h->level_detected);
		varint_put(out, h->rows);
		varint_put(out, h->bytes);
		stream = h->stream;
		hour = h->hour;
	}
}

/* The footer's bytes */

/* Old number -> new one, of what stays; the rest is UINT32_MAX. */
struct renumbered {
	uint32_t *tenants, *streams, *sources, *templates;
};

static void mark(uint32_t *used, const struct buf *ids, size_t at, uint32_t n)
{
	const uint32_t *list = (const uint32_t *)ids->p;

	for (uint32_t i = 0; i < n; i++)
		used[list[at + i]] = 0;
}

static size_t number(uint32_t *used, size_t n)
{
	size_t next = 0;

	for (size_t i = 0; i < n; i++)
		if (used[i] != UINT32_MAX)
			used[i] = (uint32_t)next++;
	return next;
}

static uint32_t *unused(size_t n)
{
	uint32_t *p = xmalloc((n + 1) * sizeof *p);

	memset(p, 0xff, (n + 1) * sizeof *p);
	return p;
}

static void renumber(const struct footer_builder *f, struct renumbered *r)
{
	*r = (struct renumbered){unused(f->n_tenants), unused(f->n_streams), unused(f->n_sources),
		unused(f->n_templates)};
	for (size_t i = 0; i < f->n_blocks; i++) {
		const struct part_block *b = &f->blocks[i];

		mark(r->streams, &f->ids, f->lists[i].streams, b->n_streams);
		mark(r->sources, &f->ids, f->lists[i].sources, b->n_sources);
		mark(r->templates, &f->ids, f->lists[i].templates, b->n_templates);
	}
	for (size_t i = 0; i < f->n_streams; i++)
		if (r->streams[i] == 0)
			r->tenants[f->streams[i].tenant] = 0;
	for (size_t i = 0; i < f->n_sources; i++)
		if (r->sources[i] == 0)
			r->tenants[f->sources[i].tenant] = 0;
}

static void encode_tables(const struct footer_builder *f, struct renumbered *r, struct buf *out)
{
	varint_put(out, number(r->tenants, f->n_tenants));
	for (size_t i = 0; i < f->n_tenants; i++)
		if (r->tenants[i] != UINT32_MAX)
			bytes_put_str(out, f->tenants[i]);
	varint_put(out, number(r->streams, f->n_streams));
	for (size_t i = 0; i < f->n_streams; i++) {
		const struct part_stream *s = &f->streams[i];

		if (r->streams[i] == UINT32_MAX)
			continue;
		varint_put(out, r->tenants[s->tenant]);
		bytes_put_str(out, s->labels);
		varint_put(out, s->n_rows);
		varint_put(out, zigzag(s->min_ns));
		varint_put(out, (uint64_t)s->max_ns - (uint64_t)s->min_ns);
	}
	varint_put(out, number(r->sources, f->n_sources));
	for (size_t i = 0; i < f->n_sources; i++) {
		if (r->sources[i] == UINT32_MAX)
			continue;
		varint_put(out, r->tenants[f->sources[i].tenant]);
		bytes_put_str(out, f->sources[i].id);
	}
	varint_put(out, number(r->templates, f->n_templates));
	for (size_t i = 0; i < f->n_templates; i++)
		if (r->templates[i] != UINT32_MAX)
			bytes_put_str(out, f->templates[i]);
}

static void encode_ids(const struct footer_builder *f, size_t at, uint32_t n,
	const uint32_t *numbers, struct buf *out)
{
	const uint32_t *ids = (const uint32_t *)f->ids.p + at;
	uint32_t next = 0;

	varint_put(out, n);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t id = numbers[ids[i]];

		varint_put(out, zigzag((int64_t)id - (int64_t)next));
		next = id + 1;
	}
}

static void encode_block(const struct footer_builder *f, const struct renumbered *r, size_t i,
	uint64_t *end, size_t counts_end, struct buf *out)
{
	const struct part_block *b = &f->blocks[i];
	size_t counts = f->lists[i].counts;

	varint_put(out, b->offset - *end);
	*end = b->offset + b->size;
	varint_put(out, b->size);
	varint_put(out, b->n_rows);
	varint_put(out, b->raw_bytes);
	varint_put(out, zigzag(b->min_ns));
	varint_put(out, (uint64_t)b->max_ns - (uint64_t)b->min_ns);
	varint_put(out, b->min_seq);
	varint_put(out, b->max_seq - b->min_seq);
	varint_put(out, (uint64_t)b->n_plain << 1 | b->has_meta);
	encode_ids(f, f->lists[i].streams, b->n_streams, r->streams, out);
	encode_ids(f, f->lists[i].sources, b->n_sources, r->sources, out);
	encode_ids(f, f->lists[i].templates, b->n_templates, r->templates, out);
	varint_put(out, b->n_counts);
	varint_put(out, b->n_hours);
	bytes_put_str(out, str_sub(buf_view(&f->text), counts, counts_end));
}

static void encode_footer(const struct footer_builder *f, struct buf *out)
{
	const struct part_summary *s = &f->summary;
	uint64_t end = PART_HEADER_BYTES;
	struct renumbered r;

	renumber(f, &r);
	varint_put(out, s->first_seq);
	varint_put(out, s->last_seq - s->first_seq);
	varint_put(out, s->n_rows);
	varint_put(out, s->raw_bytes);
	varint_put(out, zigzag(s->min_ns));
	varint_put(out, (uint64_t)s->max_ns - (uint64_t)s->min_ns);
	varint_put(out, zigzag(s->day));
	varint_put(out, s->level);
	varint_put(out, s->cleaned);
	encode_tables(f, &r, out);
	varint_put(out, f->n_blocks);
	varint_put(out, f->ids.n / sizeof(uint32_t));
	for (size_t i = 0; i < f->n_blocks; i++)
		encode_block(f, &r, i, &end,
			i + 1 < f->n_blocks ? f->lists[i + 1].counts : f->text.n, out);
	free(r.tenants);
	free(r.streams);
	free(r.sources);
	free(r.templates);
}

/* The file */

int part_file_put(struct part_file *pf, struct str bytes, struct error *e)
{
	struct iovec iov = {(void *)bytes.p, bytes.n};
	int r = bytes.n > 0 ? file_write(pf->file, pf->at, &iov, 1, e) : 0;

	pf->at += bytes.n;
	return r;
}

int part_file_create(struct part_file *pf, const struct part_writer *w,
	const struct part_summary *name, struct error *e)
{
	char header[PART_HEADER_BYTES] = {0};
	int r;

	*pf = (struct part_file){.w = w};
	part_name(&pf->name, name);
	buf_printf(&pf->path, "%s/%s", w->dir, buf_cstr(&pf->name));
	buf_printf(&pf->temp, "%s.tmp", buf_cstr(&pf->path));
	fs_unlink(w->fs, buf_cstr(&pf->temp), NULL); /* left by an attempt that failed */
	put_u32(header, PART_MAGIC);
	put_u32(header + 4, PART_VERSION);
	if ((r = fs_open(w->fs, pf->temp.p, FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, &pf->file,
		     e)) == 0)
		r = part_file_put(pf, str_make(header, sizeof header), e);
	return r;
}

/* The footer and the tail that finds it, each twice. */
static int write_footer(struct part_file *pf, const struct footer_builder *f, struct error *e)
{
	struct buf raw = {0}, packed = {0};
	char tail[PART_TAIL_BYTES] = {0};
	int r = 0;

	encode_footer(f, &raw);
	if (raw.n > FOOTER_RAW_MAX) {
		r = error_set(e, ERR_LIMIT,
			"its footer would have %zu bytes, more than the limit of %d: merge fewer "
			"parts",
			raw.n, FOOTER_RAW_MAX);
		goto out;
	}
	zstd_pack(
		&packed, buf_view(&raw), f->summary.level > 0 ? FOOTER_LEVEL_MERGED : FOOTER_LEVEL);
	put_u32(tail, TAIL_MAGIC);
	put_u32(tail + 4, crc32c(0, packed.p, packed.n));
	put_u64(tail + 8, pf->at);
	put_u64(tail + 16, pf->at + packed.n);
	put_u64(tail + 24, packed.n);
	put_u64(tail + 32, raw.n);
	put_u64(tail + 40, f->summary.first_seq);
	put_u64(tail + 48, f->summary.last_seq);
	put_u32(tail + PART_TAIL_BYTES - 4, crc32c(0, tail, PART_TAIL_BYTES - 4));
	for (int copy = 0; copy < 2 && r == 0; copy++)
		r = part_file_put(pf, buf_view(&packed), e);
	for (int copy = 0; copy < 2 && r == 0; copy++)
		r = part_file_put(pf, str_make(tail, sizeof tail), e);
out:
	buf_fini(&raw);
	buf_fini(&packed);
	return r;
}

int part_file_finish(
	struct part_file *pf, struct footer_builder *f, struct part_summary *out, struct error *e)
{
	struct fs *fs = pf->w->fs;
	int r;

	if ((r = write_footer(pf, f, e)) < 0 || (r = file_sync(pf->file, e)) < 0 ||
		(r = fs_rename(fs, pf->temp.p, pf->path.p, e)) < 0)
		return r;
	buf_clear(&pf->temp);
	/* A name that may not last must not be found by the next start, which would adopt it. */
	if ((r = fs_sync_dir(fs, pf->w->dir, e)) < 0) {
		fs_unlink(fs, pf->path.p, NULL);
		return r;
	}
	f->summary.file_bytes = pf->at;
	*out = f->summary;
	return 0;
}

void part_file_close(struct part_file *pf)
{
	file_close(pf->file);
	if (pf->temp.n > 0)
		fs_unlink(pf->w->fs, buf_cstr(&pf->temp), NULL);
	buf_fini(&pf->name);
	buf_fini(&pf->path);
	buf_fini(&pf->temp);
}
