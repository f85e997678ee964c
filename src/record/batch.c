/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encoding is in doc/format/batch.md; the structs below are its layout.
 *
 * Everything in it has one place alone: sections follow each other without a
 * gap, and the heap holds each record's metadata (unless it is the previous
 * record's) and body in order of the records, then the texts of the stream and
 * source tables.  So a batch can be checked in one pass, bytes can be neither
 * shared nor hidden, and what n bytes claim to hold is never more than n bytes.
 *
 * The builder keeps each section in a buffer of its own while it grows, with
 * texts of the tables apart from those of the records; batch_builder_finish
 * lays them out behind each other with one copy a section.  It is the hot path
 * of the forwarder: a record costs one row and one copy of its body.
 */
#include "record/batch.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/map.h"

enum {
	MAGIC = 0x31424c53, /* "SLB1" */
	FLAGS_ALL = RECORD_LEVEL_DETECTED | RECORD_CUT | RECORD_GAP | RECORD_TIME_OBSERVED,
	SEVERITY_MAX = 24,
	KEEP_BYTES = 4 << 20, /* a finished builder keeps no larger buffer than this */
};

struct header {
	uint32_t magic, bytes, n_records, n_streams, n_sources, flags;
	int64_t observed_ns;
	uint64_t raw_bytes;
	int64_t min_time, max_time;
	uint32_t records_at, streams_at, sources_at, heap_at;
	uint16_t tenant_n, input_n;
	uint32_t zero;
};

struct row {
	int64_t timestamp;
	uint64_t position;
	uint32_t stream, body_at, body_n, meta_at, meta_n;
	uint16_t source;
	uint8_t severity, flags;
};

struct stream_row {
	uint64_t hash;
	uint32_t at, n;
};

struct source_row {
	uint32_t id_at, id_n, token_at, token_n;
	uint64_t from, to;
	uint32_t kind, zero;
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "batches are read in place");
_Static_assert(sizeof(struct header) == 80 && sizeof(struct row) == 40 &&
		       sizeof(struct stream_row) == 16 && sizeof(struct source_row) == 40,
	"the layout of doc/format/batch.md");

struct batch {
	/* Fixed once made: any thread. */
	const char *p;
	const struct header *h;
	const struct row *rows;
	const struct stream_row *streams;
	const struct source_row *sources;
	const char *heap;
	void *taken; /* the memory p lies in, when it is not behind this struct */
	/* Set before publication, fixed after. */
	uint64_t first_seq;
	struct account *account;
	bool jumps;
	/* Atomic. */
	_Atomic uint32_t refs;
};

static size_t align8(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

static bool name_bytes(struct str s, const char *others)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    (c && strchr(others, c))))
			return false;
	}
	return true;
}

bool tenant_valid(struct str tenant)
{
	return tenant.n >= 1 && tenant.n <= TENANT_MAX && name_bytes(tenant, "!_.*'()-") &&
	       !str_eq_c(tenant, ".") && !str_eq_c(tenant, "..");
}

static bool input_valid(struct str input)
{
	return input.n >= 1 && input.n <= INPUT_MAX && name_bytes(input, "_.-");
}

/* Let b point into its bytes, whose header is right. */
static void point(struct batch *b, const char *p)
{
	b->p = p;
	b->h = (const struct header *)p;
	b->rows = (const struct row *)(p + b->h->records_at);
	b->streams = (const struct stream_row *)(p + b->h->streams_at);
	b->sources = (const struct source_row *)(p + b->h->sources_at);
	b->heap = p + b->h->heap_at;
	b->refs = 1;
}

struct batch *batch_ref(struct batch *b)
{
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

void batch_unref(struct batch *b)
{
	if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) > 1)
		return;
	account_release(b->account, b->h->bytes);
	free(b->taken);
	free(b);
}

/* ---- reading ---- */

struct str batch_bytes(const struct batch *b)
{
	return str_make(b->p, b->h->bytes);
}

size_t batch_count(const struct batch *b)
{
	return b->h->n_records;
}

struct str batch_tenant(const struct batch *b)
{
	return str_make(b->p + sizeof *b->h, b->h->tenant_n);
}

struct str batch_input(const struct batch *b)
{
	return str_make(b->p + sizeof *b->h + b->h->tenant_n, b->h->input_n);
}

int64_t batch_observed(const struct batch *b)
{
	return b->h->observed_ns;
}

uint64_t batch_raw_bytes(const struct batch *b)
{
	return b->h->raw_bytes;
}

int64_t batch_min_time(const struct batch *b)
{
	return b->h->min_time;
}

int64_t batch_max_time(const struct batch *b)
{
	return b->h->max_time;
}

size_t batch_n_streams(const struct batch *b)
{
	return b->h->n_streams;
}

struct str batch_stream(const struct batch *b, size_t i)
{
	assert(i < b->h->n_streams);
	return str_make(b->heap + b->streams[i].at, b->streams[i].n);
}

size_t batch_n_sources(const struct batch *b)
{
	return b->h->n_sources;
}

struct batch_source batch_source(const struct batch *b, size_t i)
{
	const struct source_row *s = &b->sources[i];

	assert(i < b->h->n_sources);
	return (struct batch_source){
		.id = str_make(b->heap + s->id_at, s->id_n),
		.token = str_make(b->heap + s->token_at, s->token_n),
		.from = s->from,
		.to = s->to,
		.kind = (enum position_kind)s->kind,
	};
}

struct record batch_record(const struct batch *b, size_t i)
{
	const struct row *r = &b->rows[i];

	assert(i < b->h->n_records);
	return (struct record){
		.timestamp = r->timestamp,
		.body = str_make(b->heap + r->body_at, r->body_n),
		.meta = str_make(b->heap + r->meta_at, r->meta_n),
		.position = r->position,
		.stream = r->stream,
		.source = r->source,
		.severity = r->severity,
		.flags = r->flags,
	};
}

uint64_t batch_first_seq(const struct batch *b)
{
	return b->first_seq;
}

void batch_set_first_seq(struct batch *b, uint64_t seq)
{
	b->first_seq = seq;
}

void batch_set_jump(struct batch *b)
{
	b->jumps = true;
}

bool batch_jumps(const struct batch *b)
{
	return b->jumps;
}

void batch_set_account(struct batch *b, struct account *a)
{
	assert(!b->account);
	b->account = a;
}

/* ---- checking ---- */

/* A run of the heap that must start exactly where the last one ended. */
static bool run_follows(uint64_t *heap_n, uint32_t at, uint32_t n, uint64_t limit)
{
	if (at != *heap_n || n > limit - *heap_n)
		return false;
	*heap_n += n;
	return true;
}

static int check_layout(struct str bytes, struct error *e)
{
	const struct header *h = (const struct header *)bytes.p;
	uint64_t at;

	if (bytes.n < sizeof *h)
		return error_set(e, ERR_CORRUPT, "%zu bytes are no batch", bytes.n);
	if (bytes.n > BATCH_BYTES_MAX)
		return error_set(e, ERR_CORRUPT, "%zu bytes, at most %d are allowed", bytes.n,
			BATCH_BYTES_MAX);
	if (h->magic != MAGIC)
		return error_set(e, ERR_CORRUPT, "bad magic 0x%08x", h->magic);
	if (h->bytes != bytes.n)
		return error_set(e, ERR_CORRUPT, "the header tells of %u bytes, there are %zu",
			h->bytes, bytes.n);
	if (h->flags || h->zero)
		return error_set(e, ERR_CORRUPT, "unknown flags 0x%x 0x%x", h->flags, h->zero);
	if (h->n_records > BATCH_RECORDS_MAX || h->n_streams > BATCH_RECORDS_MAX ||
		h->n_sources > BATCH_SOURCES_MAX)
		return error_set(e, ERR_CORRUPT,
			"%u records, %u streams, %u sources: at most %d, %d, %d are allowed",
			h->n_records, h->n_streams, h->n_sources, BATCH_RECORDS_MAX,
			BATCH_RECORDS_MAX, BATCH_SOURCES_MAX);
	/* In 64 bits nothing below overflows: each count is below 2^20, each row 40 bytes. */
	at = align8(sizeof *h + h->tenant_n + h->input_n);
	if (h->records_at != at || h->streams_at != (at += sizeof(struct row) * h->n_records) ||
		h->sources_at != (at += sizeof(struct stream_row) * h->n_streams) ||
		h->heap_at != (at += sizeof(struct source_row) * h->n_sources) || at > bytes.n)
		return error_set(e, ERR_CORRUPT, "sections are not where the counts place them");
	return 0;
}

static int check_names(const struct batch *b, struct error *e)
{
	struct str tenant = batch_tenant(b), input = batch_input(b);
	const char *pad = input.p + input.n;

	if (!tenant_valid(tenant))
		return error_set(
			e, ERR_CORRUPT, "tenant: not 1-%d of [a-zA-Z0-9!_.*'()-]", TENANT_MAX);
	if (!input_valid(input))
		return error_set(e, ERR_CORRUPT, "input: not 1-%d of [a-zA-Z0-9_.-]", INPUT_MAX);
	for (; pad < (const char *)b->rows; pad++)
		if (*pad)
			return error_set(e, ERR_CORRUPT, "padding is not zero");
	return 0;
}

static int check_meta(struct str meta, struct error *e)
{
	int r = labels_check(meta, e);

	if (r == 0 && labels_count(meta) == 0)
		r = error_set(e, ERR_CORRUPT, "an empty set must have no bytes");
	return r < 0 ? error_wrap(e, r, "metadata") : 0;
}

/* The row alone, then its runs of the heap; `last` is the last row with metadata of its own. */
static int check_row(const struct batch *b, const struct row *r, const struct row **last,
	uint64_t *heap_n, struct error *e)
{
	uint64_t limit = b->h->bytes - b->h->heap_at;
	int code;

	if (r->stream >= b->h->n_streams || r->source > b->h->n_sources)
		return error_set(e, ERR_CORRUPT, "stream %u of %u, source %u of %u", r->stream,
			b->h->n_streams, r->source, b->h->n_sources);
	if (r->severity > SEVERITY_MAX || r->flags & ~FLAGS_ALL)
		return error_set(e, ERR_CORRUPT, "severity %u, flags 0x%x are unknown", r->severity,
			r->flags);
	if (r->meta_n == 0 && r->meta_at)
		return error_set(e, ERR_CORRUPT, "no metadata has a place");
	if (r->meta_n &&
		!(*last && r->meta_at == (*last)->meta_at && r->meta_n == (*last)->meta_n)) {
		if (!run_follows(heap_n, r->meta_at, r->meta_n, limit))
			return error_set(e, ERR_CORRUPT, "metadata is not next in the heap");
		if ((code = check_meta(str_make(b->heap + r->meta_at, r->meta_n), e)) < 0)
			return code;
		*last = r;
	}
	if (!run_follows(heap_n, r->body_at, r->body_n, limit))
		return error_set(e, ERR_CORRUPT, "the line is not next in the heap");
	return 0;
}

static int check_records(const struct batch *b, uint64_t *heap_n, struct error *e)
{
	int64_t min = INT64_MAX, max = INT64_MIN;
	const struct row *last = NULL;
	uint64_t raw = 0;
	int r;

	for (size_t i = 0; i < b->h->n_records; i++) {
		const struct row *row = &b->rows[i];
		if ((r = check_row(b, row, &last, heap_n, e)) < 0)
			return error_wrap(e, r, "record %zu", i);
		raw += row->body_n;
		min = row->timestamp < min ? row->timestamp : min;
		max = row->timestamp > max ? row->timestamp : max;
	}
	if (raw != b->h->raw_bytes || min != b->h->min_time || max != b->h->max_time)
		return error_set(
			e, ERR_CORRUPT, "sums in the header differ from those of the records");
	return 0;
}

static int check_stream(struct str labels, uint64_t hash, struct error *e)
{
	struct label l;
	int r;

	if ((r = labels_check(labels, e)) < 0)
		return r;
	if (hash != hash_stable(labels))
		return error_set(e, ERR_CORRUPT, "bad hash");
	labels_start(&labels);
	while (labels_next(&labels, &l))
		if (!label_name_valid(l.name))
			return error_set(e, ERR_CORRUPT, "bad label name");
	return 0;
}

static int check_streams(const struct batch *b, uint64_t *heap_n, struct error *e)
{
	uint64_t limit = b->h->bytes - b->h->heap_at;
	int r;

	for (size_t i = 0; i < b->h->n_streams; i++) {
		const struct stream_row *s = &b->streams[i];
		if (!run_follows(heap_n, s->at, s->n, limit))
			return error_set(e, ERR_CORRUPT, "stream %zu is not next in the heap", i);
		if ((r = check_stream(batch_stream(b, i), s->hash, e)) < 0)
			return error_wrap(e, r, "stream %zu", i);
	}
	return 0;
}

static int check_source(
	const struct batch *b, const struct source_row *s, uint64_t *heap_n, struct error *e)
{
	uint64_t limit = b->h->bytes - b->h->heap_at;

	if (s->kind < POSITION_MARK || s->kind > POSITION_RANGES || s->zero)
		return error_set(e, ERR_CORRUPT, "unknown kind %u", s->kind);
	if (s->id_n == 0 || s->id_n > SOURCE_ID_MAX || s->token_n > SOURCE_TOKEN_MAX)
		return error_set(
			e, ERR_CORRUPT, "an id of %u and a token of %u bytes", s->id_n, s->token_n);
	if (s->from > s->to)
		return error_set(e, ERR_CORRUPT, "ends before it starts");
	if (!run_follows(heap_n, s->id_at, s->id_n, limit) ||
		!run_follows(heap_n, s->token_at, s->token_n, limit))
		return error_set(e, ERR_CORRUPT, "a text is not next in the heap");
	return 0;
}

/* Twice the same id would make the committed position depend on the order of rows. */
static int check_sources(const struct batch *b, uint64_t *heap_n, struct error *e)
{
	struct map seen = {0};
	bool added = true;
	int r = 0;

	for (size_t i = 0; i < b->h->n_sources && r == 0; i++) {
		if ((r = check_source(b, &b->sources[i], heap_n, e)) < 0) {
			error_wrap(e, r, "source %zu", i);
			break;
		}
		map_put(&seen, batch_source(b, i).id, &added);
		if (!added)
			r = error_set(e, ERR_CORRUPT, "source %zu repeats an id", i);
	}
	map_fini(&seen);
	return r;
}

static int check(const struct batch *b, struct error *e)
{
	uint64_t heap_n = 0;
	int r;

	if ((r = check_names(b, e)) < 0 || (r = check_records(b, &heap_n, e)) < 0 ||
		(r = check_streams(b, &heap_n, e)) < 0 || (r = check_sources(b, &heap_n, e)) < 0)
		return r;
	if (b->h->heap_at + heap_n != b->h->bytes)
		return error_set(e, ERR_CORRUPT, "bytes behind the last text");
	return 0;
}

int batch_from_bytes_at(struct batch **out, struct buf *take, size_t at, struct error *e)
{
	struct buf bytes = buf_take(take);
	struct batch *b = NULL;
	int r;

	assert(at <= bytes.n && ((uintptr_t)bytes.p + at) % 8 == 0);
	if ((r = check_layout(str_sub(buf_view(&bytes), at, bytes.n), e)) < 0)
		goto fail;
	b = xcalloc(1, sizeof *b);
	point(b, bytes.p + at);
	if ((r = check(b, e)) < 0)
		goto fail;
	b->taken = bytes.p;
	*out = b;
	return 0;
fail:
	free(b);
	buf_fini(&bytes);
	return error_wrap(e, r, "batch");
}

int batch_from_bytes(struct batch **out, struct buf *take, struct error *e)
{
	return batch_from_bytes_at(out, take, 0, e);
}

/* ---- building ---- */

struct batch_builder {
	struct buf tenant, input;
	int64_t observed_ns;
	struct row *rows;
	size_t n_rows, cap_rows;
	struct buf heap;    /* of the records */
	struct buf names;   /* of streams, ids, without tokens; offsets in the rows are into it */
	struct buf streams; /* of struct stream_row */
	struct map stream_index;
	uint32_t last_stream; /* when there are streams */
	struct builder_source *sources;
	size_t n_sources, cap_sources, token_bytes;
	struct map source_index;
	uint16_t last_source;               /* when there are sources */
	uint32_t last_meta_at, last_meta_n; /* n == 0: none yet */
	uint64_t raw_bytes;
	int64_t min_time, max_time;
};

/* A token is replaced while the batch grows, hence not among the names. */
struct builder_source {
	struct source_row row;
	struct buf token;
};

static void reset(struct batch_builder *b, int64_t observed_ns)
{
	b->observed_ns = observed_ns;
	b->n_rows = 0;
	buf_clear(&b->heap);
	buf_clear(&b->names);
	buf_clear(&b->streams);
	map_fini(&b->stream_index);
	map_fini(&b->source_index);
	for (size_t i = 0; i < b->n_sources; i++)
		buf_fini(&b->sources[i].token);
	b->n_sources = 0;
	b->token_bytes = 0;
	b->last_meta_n = 0;
	b->raw_bytes = 0;
	b->min_time = INT64_MAX;
	b->max_time = INT64_MIN;
}

struct batch_builder *batch_builder_new(struct str tenant, struct str input, int64_t observed_ns)
{
	struct batch_builder *b = xcalloc(1, sizeof *b);

	assert(tenant_valid(tenant) && input_valid(input));
	buf_str(&b->tenant, tenant);
	buf_str(&b->input, input);
	reset(b, observed_ns);
	return b;
}

void batch_builder_free(struct batch_builder *b)
{
	if (!b)
		return;
	reset(b, 0);
	buf_fini(&b->tenant);
	buf_fini(&b->input);
	buf_fini(&b->heap);
	buf_fini(&b->names);
	buf_fini(&b->streams);
	free(b->rows);
	free(b->sources);
	free(b);
}

static struct stream_row *stream_rows(const struct batch_builder *b)
{
	return (struct stream_row *)b->streams.p;
}

static size_t n_streams(const struct batch_builder *b)
{
	return b->streams.n / sizeof(struct stream_row);
}

size_t batch_builder_count(const struct batch_builder *b)
{
	return b->n_rows;
}

size_t batch_builder_bytes(const struct batch_builder *b)
{
	return align8(sizeof(struct header) + b->tenant.n + b->input.n) +
	       b->n_rows * sizeof *b->rows + b->streams.n +
	       b->n_sources * sizeof(struct source_row) + b->heap.n + b->names.n + b->token_bytes;
}

/* May the batch grow by a row and n bytes of text? */
static bool has_room(const struct batch_builder *b, size_t row, size_t n)
{
	return n <= BATCH_BYTES_MAX && batch_builder_bytes(b) + row + n <= BATCH_BYTES_MAX;
}

uint32_t batch_builder_stream(struct batch_builder *b, struct str labels)
{
	struct stream_row row;
	union map_value *v;

	if (labels.n == 0)
		labels = STR("\0"); /* the empty set */
	if (n_streams(b)) {
		row = stream_rows(b)[b->last_stream];
		if (str_eq(str_make(b->names.p + row.at, row.n), labels))
			return b->last_stream;
	}
	if (!(v = map_get(&b->stream_index, labels))) {
		if (n_streams(b) == BATCH_RECORDS_MAX || !has_room(b, sizeof row, labels.n))
			return BATCH_NO_STREAM;
		v = map_put(&b->stream_index, labels, NULL);
		v->u = n_streams(b);
		row = (struct stream_row){
			hash_stable(labels), (uint32_t)b->names.n, (uint32_t)labels.n};
		buf_str(&b->names, labels);
		buf_put(&b->streams, &row, sizeof row);
	}
	return b->last_stream = (uint32_t)v->u;
}

static struct builder_source *add_source(struct batch_builder *b, const struct batch_source *s)
{
	struct builder_source *new;

	if (b->n_sources == b->cap_sources) {
		b->cap_sources = b->cap_sources ? b->cap_sources * 2 : 4;
		b->sources = xrealloc(b->sources, b->cap_sources * sizeof *b->sources);
	}
	new = &b->sources[b->n_sources++];
	*new = (struct builder_source){.row = {.id_at = (uint32_t)b->names.n,
					       .id_n = (uint32_t)s->id.n,
					       .from = s->from,
					       .kind = s->kind}};
	buf_str(&b->names, s->id);
	return new;
}

/* Index of the source, added when new and there is room; n_sources when not. */
static size_t source_of(struct batch_builder *b, const struct batch_source *s)
{
	union map_value *v;

	if (b->n_sources) {
		const struct source_row *last = &b->sources[b->last_source].row;
		if (str_eq(str_make(b->names.p + last->id_at, last->id_n), s->id))
			return b->last_source;
	}
	if ((v = map_get(&b->source_index, s->id)))
		return v->u;
	if (b->n_sources == BATCH_SOURCES_MAX ||
		!has_room(b, sizeof(struct source_row), s->id.n + s->token.n))
		return b->n_sources;
	map_put(&b->source_index, s->id, NULL)->u = b->n_sources;
	add_source(b, s);
	return b->n_sources - 1;
}

uint16_t batch_builder_source(struct batch_builder *b, const struct batch_source *s)
{
	struct builder_source *own;
	size_t i;

	assert(s->id.n && s->from <= s->to);
	assert(s->kind >= POSITION_MARK && s->kind <= POSITION_RANGES);
	if (s->id.n > SOURCE_ID_MAX || s->token.n > SOURCE_TOKEN_MAX)
		return 0;
	if ((i = source_of(b, s)) == b->n_sources)
		return 0;
	own = &b->sources[i];
	if (s->token.n > own->token.n && !has_room(b, 0, s->token.n - own->token.n))
		return 0;
	/* A mark covers a batch as a whole: what goes back would be stored twice by it. */
	if (own->row.kind != (uint32_t)s->kind || s->to < own->row.to)
		return 0;
	own->row.to = s->to;
	b->token_bytes += s->token.n - own->token.n;
	buf_clear(&own->token);
	buf_str(&own->token, s->token);
	b->last_source = (uint16_t)i;
	return (uint16_t)(i + 1);
}

/* The place of a record's metadata in the heap: that of the record before when it is equal. */
static void add_meta(struct batch_builder *b, struct row *row, struct str meta)
{
	if (meta.n == 0 || (meta.n == 1 && meta.p[0] == 0))
		return;
	if (meta.n != b->last_meta_n || memcmp(b->heap.p + b->last_meta_at, meta.p, meta.n) != 0) {
		b->last_meta_at = (uint32_t)b->heap.n;
		b->last_meta_n = (uint32_t)meta.n;
		buf_str(&b->heap, meta);
	}
	row->meta_at = b->last_meta_at;
	row->meta_n = b->last_meta_n;
}

int batch_builder_add(struct batch_builder *b, const struct record *r, struct error *e)
{
	/* Ranges of time are half open: at the last nanosecond nobody would find it. */
	int64_t timestamp = r->timestamp < INT64_MAX ? r->timestamp : INT64_MAX - 1;
	struct row *row;

	assert(r->stream < n_streams(b) || r->stream == BATCH_NO_STREAM);
	assert(r->source <= b->n_sources && r->severity <= SEVERITY_MAX &&
		!(r->flags & ~FLAGS_ALL));
	if (b->n_rows == BATCH_RECORDS_MAX)
		return error_set(
			e, ERR_LIMIT, "a batch holds at most %d records", BATCH_RECORDS_MAX);
	if (r->stream == BATCH_NO_STREAM || r->meta.n > BATCH_BYTES_MAX ||
		!has_room(b, sizeof *row + r->meta.n, r->body.n))
		return error_set(e, ERR_LIMIT, "a batch holds at most %d bytes", BATCH_BYTES_MAX);
	if (b->n_rows == b->cap_rows) {
		b->cap_rows = b->cap_rows ? b->cap_rows * 2 : 64;
		b->rows = xrealloc(b->rows, b->cap_rows * sizeof *b->rows);
	}
	row = &b->rows[b->n_rows++];
	*row = (struct row){.timestamp = timestamp,
		.position = r->position,
		.stream = r->stream,
		.body_n = (uint32_t)r->body.n,
		.source = r->source,
		.severity = r->severity,
		.flags = r->flags};
	add_meta(b, row, r->meta);
	row->body_at = (uint32_t)b->heap.n;
	buf_str(&b->heap, r->body);
	b->raw_bytes += r->body.n;
	b->min_time = timestamp < b->min_time ? timestamp : b->min_time;
	b->max_time = timestamp > b->max_time ? timestamp : b->max_time;
	return 0;
}

static void *put_section(void *at, const void *from, size_t n)
{
	return n ? mempcpy(at, from, n) : at;
}

/* Lay out the tables and their texts at `p`; the texts of the records lie at the heap's start.
 * Texts go in the order in which the check wants them: streams, then each id with its token,
 * which is not the order in which names came. */
static void put_tables(const struct batch_builder *b, char *p, const struct header *h)
{
	struct stream_row *streams = (struct stream_row *)(p + h->streams_at);
	struct source_row *sources = (struct source_row *)(p + h->sources_at);
	char *heap = p + h->heap_at, *text = heap + b->heap.n;

	for (size_t i = 0; i < h->n_streams; i++) {
		struct stream_row row = stream_rows(b)[i];
		const char *labels = b->names.p + row.at;
		row.at = (uint32_t)(text - heap);
		streams[i] = row;
		text = put_section(text, labels, row.n);
	}
	for (size_t i = 0; i < h->n_sources; i++) {
		struct source_row row = b->sources[i].row;
		const char *id = b->names.p + row.id_at;
		row.id_at = (uint32_t)(text - heap);
		text = put_section(text, id, row.id_n);
		row.token_at = (uint32_t)(text - heap);
		row.token_n = (uint32_t)b->sources[i].token.n;
		text = put_section(text, b->sources[i].token.p, row.token_n);
		sources[i] = row;
	}
	assert(text == p + h->bytes);
}

static struct header make_header(const struct batch_builder *b)
{
	struct header h = {
		.magic = MAGIC,
		.bytes = (uint32_t)batch_builder_bytes(b),
		.n_records = (uint32_t)b->n_rows,
		.n_streams = (uint32_t)n_streams(b),
		.n_sources = (uint32_t)b->n_sources,
		.observed_ns = b->observed_ns,
		.raw_bytes = b->raw_bytes,
		.min_time = b->min_time,
		.max_time = b->max_time,
		.tenant_n = (uint16_t)b->tenant.n,
		.input_n = (uint16_t)b->input.n,
	};

	h.records_at = (uint32_t)align8(sizeof h + b->tenant.n + b->input.n);
	h.streams_at = h.records_at + h.n_records * (uint32_t)sizeof(struct row);
	h.sources_at = h.streams_at + h.n_streams * (uint32_t)sizeof(struct stream_row);
	h.heap_at = h.sources_at + h.n_sources * (uint32_t)sizeof(struct source_row);
	return h;
}

/* One huge batch must not hold its memory for the life of an idle input. */
static void trim(struct batch_builder *b)
{
	if (b->heap.cap > KEEP_BYTES)
		buf_fini(&b->heap);
	if (b->names.cap > KEEP_BYTES)
		buf_fini(&b->names);
	if (b->streams.cap > KEEP_BYTES)
		buf_fini(&b->streams);
	if (b->cap_rows * sizeof *b->rows > KEEP_BYTES) {
		free(b->rows);
		b->rows = NULL;
		b->cap_rows = 0;
	}
}

struct batch *batch_builder_finish(struct batch_builder *b, int64_t observed_ns)
{
	struct header h = make_header(b);
	struct batch *new = xmalloc(sizeof *new + h.bytes);
	char *p = (char *)(new + 1), *at = p;

	*new = (struct batch){0};
	at = put_section(at, &h, sizeof h);
	at = put_section(at, b->tenant.p, b->tenant.n);
	at = put_section(at, b->input.p, b->input.n);
	memset(at, 0, (size_t)(p + h.records_at - at));
	put_section(p + h.records_at, b->rows, b->n_rows * sizeof *b->rows);
	put_section(p + h.heap_at, b->heap.p, b->heap.n);
	put_tables(b, p, &h);
	point(new, p);
	reset(b, observed_ns);
	trim(b);
	return new;
}

struct batch *batch_without(const struct batch *b, const uint8_t *drop)
{
	struct batch_builder *to =
		batch_builder_new(batch_tenant(b), batch_input(b), b->h->observed_ns);
	uint32_t *streams = xmalloc(b->h->n_streams * sizeof *streams);
	struct batch *new;

	memset(streams, 0xff, b->h->n_streams * sizeof *streams);
	for (size_t i = 0; i < b->h->n_sources; i++) {
		struct batch_source s = batch_source(b, i);
		batch_builder_source(to, &s);
	}
	for (size_t i = 0; i < b->h->n_records; i++) {
		struct record r = batch_record(b, i);
		if (drop[i / 8] >> (i % 8) & 1)
			continue;
		if (streams[r.stream] == UINT32_MAX)
			streams[r.stream] = batch_builder_stream(to, batch_stream(b, r.stream));
		r.stream = streams[r.stream];
		int code = batch_builder_add(to, &r, NULL);
		assert(code == 0); /* less than what fitted already */
		(void)code;
	}
	new = batch_builder_finish(to, 0);
	batch_builder_free(to);
	free(streams);
	return new;
}
