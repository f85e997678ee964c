/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a part: sort the rows of a run, cut them into blocks, have each
 * encoded, and end with the footer.
 *
 * Rows are sorted by (tenant, labels, time, sequence) and cut into blocks.
 * Streams are ranked first, then rows are counted into place by rank; a stream's
 * rows arrive in sequence order and are sorted by time only where time does not
 * already ascend, which is rare.  Labels need not say which streams are alike:
 * small ones get into blocks by the templates that they share, so that a block
 * has few of them.  A block of many small streams then has its
 * rows ordered by time alone.  A row costs 16 bytes while the part is built;
 * besides that one block is held, so a builder needs a fraction of what the run
 * takes.
 */
#include <assert.h>
#include <stdlib.h>

#include "store/bytes.h"
#include "store/lines/token.h"
#include "store/parts/block_write.h"

enum {
	KIND_ROWS = 256, /* a stream of fewer is small */
	KIND_LINES = 4,  /* of a stream that are looked at */
};

struct row {
	int64_t timestamp;
	uint32_t stream; /* rank */
	uint32_t at;     /* its number in the run */
};

struct build_stream {
	struct str tenant, labels;
	uint32_t rank, tenant_id;
	uint64_t n_rows;
	/* Of a small stream: the first template seen, and how many lines were looked at. */
	uint32_t kind, n_seen;
};

struct build_source {
	struct str tenant, id;
};

struct build {
	const struct part_writer *w;
	struct batch *const *batches;
	size_t n_batches;
	uint32_t *starts; /* number of each batch's first row */
	struct build_stream *streams;
	uint32_t *order;        /* index of the stream: by rank, later by place in the blocks */
	uint32_t **stream_maps; /* batch, its stream -> index, later rank */
	uint32_t **source_maps; /* batch, its source -> 1 + index */
	struct build_source *sources;
	size_t n_streams, cap_streams, n_sources, cap_sources;
	struct row *rows;
	size_t n_rows;
	uint64_t charged;
	struct footer_builder footer;
	struct block_writer block;
	struct part_file file;
};

static void charge(struct build *b, uint64_t n)
{
	account_force(b->w->account, n);
	b->charged += n;
}

/* Tables of the run */

static uint32_t add_stream(struct build *b, struct map *index, struct str tenant, struct str labels)
{
	struct buf key = {0};
	union map_value *v;
	bool added;

	bytes_put_str(&key, tenant);
	buf_str(&key, labels);
	v = map_put(index, buf_view(&key), &added);
	buf_fini(&key);
	if (!added)
		return (uint32_t)v->u;
	if (b->n_streams == b->cap_streams) {
		b->cap_streams = b->cap_streams ? b->cap_streams * 2 : 64;
		b->streams = xrealloc(b->streams, b->cap_streams * sizeof *b->streams);
	}
	v->u = b->n_streams;
	b->streams[b->n_streams] = (struct build_stream){.tenant = tenant, .labels = labels};
	return (uint32_t)b->n_streams++;
}

static uint32_t add_source(struct build *b, struct map *index, struct str tenant, struct str id)
{
	struct buf key = {0};
	union map_value *v;
	bool added;

	bytes_put_str(&key, tenant);
	buf_str(&key, id);
	v = map_put(index, buf_view(&key), &added);
	buf_fini(&key);
	if (!added)
		return (uint32_t)v->u;
	if (b->n_sources == b->cap_sources) {
		b->cap_sources = b->cap_sources ? b->cap_sources * 2 : 16;
		b->sources = xrealloc(b->sources, b->cap_sources * sizeof *b->sources);
	}
	b->sources[b->n_sources++] = (struct build_source){tenant, id};
	v->u = b->n_sources;
	return (uint32_t)v->u;
}

/* Streams and sources with records in the run; a batch may name others. */
static void collect_batch(struct build *b, size_t i, struct map *streams, struct map *sources)
{
	const struct batch *batch = b->batches[i];
	size_t n_streams = batch_n_streams(batch), n_sources = batch_n_sources(batch);
	uint32_t *stream_map = xmalloc((n_streams + 1) * sizeof *stream_map);
	uint32_t *source_map = xcalloc(n_sources + 1, sizeof *source_map);

	charge(b, (n_streams + n_sources + 2) * sizeof *stream_map);
	memset(stream_map, 0xff, (n_streams + 1) * sizeof *stream_map);
	b->stream_maps[i] = stream_map;
	b->source_maps[i] = source_map;
	for (size_t k = 0; k < batch_count(batch); k++) {
		struct record r = batch_record(batch, k);

		if (stream_map[r.stream] == UINT32_MAX)
			stream_map[r.stream] = add_stream(
				b, streams, batch_tenant(batch), batch_stream(batch, r.stream));
		if (r.source > 0 && source_map[r.source] == 0)
			source_map[r.source] = add_source(b, sources, batch_tenant(batch),
				batch_source(batch, r.source - 1).id);
		b->streams[stream_map[r.stream]].n_rows++;
	}
	b->starts[i] = (uint32_t)b->n_rows;
	b->n_rows += batch_count(batch);
}

static int compare_streams(const void *x, const void *y, void *ctx)
{
	const struct build_stream *streams = ctx;
	const struct build_stream *a = &streams[*(const uint32_t *)x];
	const struct build_stream *b = &streams[*(const uint32_t *)y];
	int c = str_cmp(a->tenant, b->tenant);

	return c != 0 ? c : str_cmp(a->labels, b->labels);
}

/* Streams and sources get their numbers in the part. */
static void rank_streams(struct build *b)
{
	b->order = xmalloc(b->n_streams * sizeof *b->order);
	charge(b, b->n_streams * (sizeof *b->order + sizeof *b->streams));
	for (size_t i = 0; i < b->n_streams; i++)
		b->order[i] = (uint32_t)i;
	qsort_r(b->order, b->n_streams, sizeof *b->order, compare_streams, b->streams);
	for (size_t i = 0; i < b->n_streams; i++) {
		struct build_stream *s = &b->streams[b->order[i]];

		s->rank = (uint32_t)i;
		s->tenant_id = footer_add_tenant(&b->footer, s->tenant);
		footer_add_stream(&b->footer, s->tenant_id, s->labels);
	}
}

static void add_sources(struct build *b)
{
	struct footer_builder *f = &b->footer;

	for (size_t i = 0; i < b->n_sources; i++) {
		uint32_t lo = 0, hi = (uint32_t)f->n_tenants;

		/* Tenants are sorted. */
		while (hi - lo > 1) {
			uint32_t mid = lo + (hi - lo) / 2;

			if (str_cmp(f->tenants[mid], b->sources[i].tenant) <= 0)
				lo = mid;
			else
				hi = mid;
		}
		footer_add_source(f, lo, b->sources[i].id);
	}
}

/* Kinds of small streams */

/* Templates of which some stream has both are of one kind; union and find. */
struct kinds {
	struct map index; /* hash of a template -> its number */
	uint32_t *up;     /* by number; the kind is where it ends */
	uint32_t *lowest; /* by kind: the lowest rank of its streams */
	uint32_t n, cap;
};

static uint32_t kind_of(struct kinds *k, uint32_t t)
{
	while (k->up[t] != t)
		t = k->up[t] = k->up[k->up[t]];
	return t;
}

static uint32_t add_template(struct kinds *k, uint64_t hash)
{
	bool added;
	union map_value *v = map_put(&k->index, str_make((const char *)&hash, sizeof hash), &added);

	if (!added)
		return (uint32_t)v->u;
	if (k->n == k->cap) {
		k->cap = k->cap > 0 ? k->cap * 2 : 64;
		k->up = xrealloc(k->up, k->cap * sizeof *k->up);
		k->lowest = xrealloc(k->lowest, k->cap * sizeof *k->lowest);
	}
	k->up[k->n] = k->n;
	k->lowest[k->n] = UINT32_MAX;
	v->u = k->n;
	return k->n++;
}

static void look_at(struct kinds *k, struct build_stream *s, struct str line)
{
	struct token tokens[TOKEN_SLOTS_MAX];
	uint64_t hash;
	uint32_t t;

	if (s->n_seen >= KIND_LINES || s->n_rows >= KIND_ROWS || tokens_of(line, tokens, &hash) < 0)
		return;
	hash ^= s->tenant_id * UINT64_C(0x9e3779b97f4a7c15);
	t = add_template(k, hash);
	if (s->n_seen++ == 0)
		s->kind = t;
	else
		k->up[kind_of(k, t)] = kind_of(k, s->kind);
}

static int compare_places(const void *x, const void *y, void *ctx)
{
	const uint64_t *place = ctx;
	uint64_t a = place[*(const uint32_t *)x], b = place[*(const uint32_t *)y];

	return a < b ? -1 : a > b;
}

/* The order in which streams get into blocks: that of the part, but small ones of a kind stand
 * where the first of them does. */
static void place_streams(struct build *b)
{
	uint64_t *place = xmalloc(b->n_streams * sizeof *place);
	struct kinds kinds = {0};

	for (size_t i = 0; i < b->n_batches; i++) {
		for (size_t k = 0; k < batch_count(b->batches[i]); k++) {
			struct record r = batch_record(b->batches[i], k);

			look_at(&kinds, &b->streams[b->stream_maps[i][r.stream]], r.body);
		}
	}
	for (size_t i = 0; i < b->n_streams; i++) {
		const struct build_stream *s = &b->streams[b->order[i]];
		uint32_t *lowest = s->n_seen > 0 ? &kinds.lowest[kind_of(&kinds, s->kind)] : NULL;

		if (lowest && *lowest == UINT32_MAX)
			*lowest = (uint32_t)i;
		place[b->order[i]] = (uint64_t)(lowest ? *lowest : (uint32_t)i) << 32 | i;
	}
	qsort_r(b->order, b->n_streams, sizeof *b->order, compare_places, place);
	charge(b, kinds.index.bytes + kinds.cap * (sizeof *kinds.up + sizeof *kinds.lowest));
	map_fini(&kinds.index);
	free(kinds.up);
	free(kinds.lowest);
	free(place);
}

/* Rows */

static int compare_rows(const void *x, const void *y)
{
	const struct row *a = x, *b = y;

	if (a->timestamp != b->timestamp)
		return a->timestamp < b->timestamp ? -1 : 1;
	return a->at < b->at ? -1 : a->at > b->at;
}

static void sort_rows(struct build *b)
{
	uint64_t *next = xmalloc((b->n_streams + 1) * sizeof *next), at = 0;

	b->rows = xmalloc(b->n_rows * sizeof *b->rows);
	charge(b, b->n_rows * sizeof *b->rows);
	for (size_t i = 0; i < b->n_streams; i++) {
		next[b->streams[b->order[i]].rank] = at;
		at += b->streams[b->order[i]].n_rows;
	}
	for (size_t i = 0; i < b->n_batches; i++) {
		for (size_t k = 0; k < batch_count(b->batches[i]); k++) {
			struct record r = batch_record(b->batches[i], k);
			uint32_t rank = b->streams[b->stream_maps[i][r.stream]].rank;

			b->rows[next[rank]++] =
				(struct row){r.timestamp, rank, b->starts[i] + (uint32_t)k};
		}
	}
	at = 0;
	for (size_t i = 0; i < b->n_streams; i++) {
		size_t n = b->streams[b->order[i]].n_rows;
		bool sorted = true;

		for (size_t k = 1; k < n && sorted; k++)
			sorted = b->rows[at + k - 1].timestamp <= b->rows[at + k].timestamp;
		if (!sorted)
			qsort(b->rows + at, n, sizeof *b->rows, compare_rows);
		at += n;
	}
	free(next);
}

/* The batch that holds row `at` of the run. */
static size_t batch_of(const struct build *b, uint32_t at)
{
	size_t lo = 0, hi = b->n_batches;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (b->starts[mid] <= at)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* Blocks */

static struct record record_at(const struct build *b, uint32_t at, uint64_t *seq, uint32_t *source)
{
	size_t i = batch_of(b, at);
	struct record r = batch_record(b->batches[i], at - b->starts[i]);

	*seq = batch_first_seq(b->batches[i]) + at - b->starts[i];
	*source = b->source_maps[i][r.source];
	return r;
}

static void add_row(struct build *b, const struct row *row, const struct record *r, uint64_t seq,
	uint32_t source)
{
	struct block_row out = {
		.timestamp = row->timestamp,
		.seq = seq,
		.position = r->position,
		.meta = r->meta,
		.source = source,
		.length = (uint32_t)r->body.n,
		.severity = r->severity,
		.flags = r->flags,
	};

	block_writer_add(&b->block, row->stream, &out);
	lines_writer_add(b->block.lines, r->body, row->timestamp);
}

/* The end of the block that begins with row `from`; *mixed: its rows are to be ordered by time. */
static size_t find_end(const struct build *b, size_t from, bool *mixed)
{
	struct block_fill held = {0};
	uint64_t n_streams = 0;
	size_t i;

	for (i = from; i < b->n_rows; i++) {
		uint32_t source, stream = b->rows[i].stream;
		uint64_t seq;
		struct record r = record_at(b, b->rows[i].at, &seq, &source);
		uint64_t bytes = r.body.n + r.meta.n;

		if (block_full(&held, b->w->block_raw, stream, bytes))
			break;
		n_streams += i == from || stream != held.stream;
		held.bytes += bytes;
		held.rows++;
		held.stream = stream;
	}
	*mixed = block_is_mixed(held.rows, n_streams);
	return i;
}

static int write_blocks(struct build *b, struct error *e)
{
	size_t i = 0;
	int r;

	while (i < b->n_rows) {
		bool mixed;
		size_t end = find_end(b, i, &mixed);

		if (mixed)
			qsort(b->rows + i, end - i, sizeof *b->rows, compare_rows);
		for (; i < end; i++) {
			const struct row *row = &b->rows[i];
			uint64_t seq;
			uint32_t source;
			struct record record = record_at(b, row->at, &seq, &source);

			add_row(b, row, &record, seq, source);
		}
		if ((r = block_writer_finish(&b->block, &b->file, &b->footer, e)) < 0)
			return r;
	}
	return 0;
}

static int32_t day_of(int64_t ns)
{
	return (int32_t)(ns / NS_PER_DAY - (ns % NS_PER_DAY < 0));
}

static void prepare(struct build *b)
{
	struct map streams = {0}, sources = {0};
	const struct batch *last = b->batches[b->n_batches - 1];
	struct part_summary *s = &b->footer.summary;
	int64_t newest = INT64_MIN, observed = INT64_MIN;

	b->starts = xmalloc(b->n_batches * sizeof *b->starts);
	b->stream_maps = xcalloc(b->n_batches, sizeof(uint32_t *));
	b->source_maps = xcalloc(b->n_batches, sizeof(uint32_t *));
	charge(b, b->n_batches * (sizeof *b->starts + 2 * sizeof(uint32_t *)));
	for (size_t i = 0; i < b->n_batches; i++) {
		const struct batch *batch = b->batches[i];
		int64_t seen = batch_observed(batch), max_ns = batch_max_time(batch);

		collect_batch(b, i, &streams, &sources);
		if (batch_count(batch) > 0)
			newest = max_ns > newest ? max_ns : newest;
		observed = seen > observed ? seen : observed;
	}
	map_fini(&streams);
	map_fini(&sources);
	s->first_seq = batch_first_seq(b->batches[0]);
	s->last_seq = batch_first_seq(last) + batch_count(last) - 1;
	s->day = day_of(newest < observed ? newest : observed);
	rank_streams(b);
	place_streams(b);
	add_sources(b);
	sort_rows(b);
}

static void build_fini(struct build *b)
{
	for (size_t i = 0; i < b->n_batches; i++) {
		free(b->stream_maps[i]);
		free(b->source_maps[i]);
	}
	free(b->stream_maps);
	free(b->source_maps);
	free(b->starts);
	free(b->streams);
	free(b->order);
	free(b->sources);
	free(b->rows);
	account_release(b->w->account, b->charged);
	footer_builder_fini(&b->footer);
	block_writer_fini(&b->block);
}

int part_write(const struct part_writer *w, struct batch *const *batches, size_t n,
	struct part_summary *out, struct error *e)
{
	struct build b = {.w = w, .batches = batches, .n_batches = n, .footer.account = w->account};
	int r;

	assert(n > 0);
	block_writer_init(&b.block, w->account, w->level);
	prepare(&b);
	if ((r = part_file_create(&b.file, w, &b.footer.summary, e)) == 0 &&
		(r = write_blocks(&b, e)) == 0)
		r = part_file_finish(&b.file, &b.footer, out, e);
	if (r < 0)
		error_wrap(e, r, "part %s", buf_cstr(&b.file.name));
	part_file_close(&b.file);
	build_fini(&b);
	return r;
}
