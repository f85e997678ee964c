/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page is a head of lines, an empty one, and a payload: a batch and behind it
 * the counts, together in one zstd frame where the head says so.  Rows are a
 * batch because both ends check, write and read those already; its positions
 * are the records' sequences, which a batch has no other place for.
 */
#include "query/pages.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "codec/codec.h"
#include "net/client.h"
#include "query/reading.h"
#include "store/lines/template.h"

enum {
	PACK_LEVEL = 1,
	HEAD_MAX = 256 << 10, /* bytes of the lines in front */
	SEVERITY_MAX = 24,    /* as in a batch */
};

static_assert(sizeof(struct scan_stats) % sizeof(uint64_t) == 0, "all of it is counts");

enum { N_STATS = sizeof(struct scan_stats) / sizeof(uint64_t) };

/* --- buckets -------------------------------------------------------------------------- */

static int64_t floor_div(__int128 a, int64_t b)
{
	__int128 q = a / b;

	return (int64_t)(q * b > a ? q - 1 : q);
}

void buckets_of(const struct scan_buckets *b, int64_t ns, int64_t out[2])
{
	out[0] = out[1] = 0;
	if (b->step_ns <= 0)
		return;
	out[0] = floor_div((__int128)ns - b->edges[0], b->step_ns);
	out[1] = floor_div((__int128)ns - b->edges[1], b->step_ns);
}

bool buckets_same(const struct scan_buckets *b, int64_t x_ns, int64_t y_ns)
{
	int64_t x[2], y[2];

	buckets_of(b, x_ns, x);
	buckets_of(b, y_ns, y);
	return x[0] == y[0] && x[1] == y[1];
}

/* --- records of a broker -------------------------------------------------------------- */

bool amqp_stream(struct str labels)
{
	struct str input;

	return labels_get(labels, STR("input"), &input) && str_eq(input, STR("amqp"));
}

bool amqp_redelivered(struct str meta)
{
	struct str v;

	return meta.n && labels_get(meta, STR("redelivered"), &v) && str_eq(v, STR("true"));
}

bool amqp_message_id(struct str meta, struct str *out)
{
	return meta.n && labels_get(meta, STR("message_id"), out);
}

/* --- the question --------------------------------------------------------------------- */

static void put_flag(struct buf *out, const char *name, bool on)
{
	if (on)
		buf_printf(out, "&%s=true", name);
}

static void put_number(struct buf *out, const char *name, uint64_t v)
{
	if (v)
		buf_printf(out, "&%s=%" PRIu64, name, v);
}

static void put_aggregate(struct buf *out, const struct page_request *q)
{
	const struct grouping *g = q->grouping;

	if (!g)
		return;
	buf_printf(out, "&aggregate=%s&axis=%" PRId64 ".%" PRId64 ".%" PRId64,
		g->kind == GROUP_BY ? "by" : "without", q->start_ns, q->end_ns, q->step_ns);
	for (size_t i = 0; i < g->n; i++) {
		buf_c(out, "&label=");
		url_encode(out, g->names[i]);
	}
}

void page_request_write(const struct page_request *q, struct buf *out)
{
	buf_printf(out, "from=%" PRId64 "&to=%" PRId64 "&query=", q->from_ns, q->to_ns);
	url_encode(out, q->query);
	put_flag(out, "strict", q->strict);
	put_flag(out, "forward", q->forward);
	put_flag(out, "streams", q->streams);
	put_flag(out, "body", q->columns & SCAN_BODY);
	put_flag(out, "metadata", q->columns & SCAN_META);
	put_flag(out, "templates", q->columns & SCAN_TEMPLATE);
	put_flag(out, "counts", q->counts);
	put_flag(out, "counted", q->counted);
	put_flag(out, "packed", q->packed);
	if (q->counts || q->counted)
		buf_printf(out, "&buckets=%" PRId64 ".%" PRId64 ".%" PRId64, q->buckets.step_ns,
			q->buckets.edges[0], q->buckets.edges[1]);
	put_number(out, "after_seq", q->after_seq);
	put_number(out, "until_seq", q->until_seq);
	if (q->resume)
		buf_printf(out, "&resume=%" PRId64 ".%" PRIu64, q->resume_ns, q->resume_seq);
	put_aggregate(out, q);
	put_number(out, "rows", q->rows);
	put_number(out, "bytes", q->bytes);
	for (size_t i = 0; i < q->n_ids; i++) {
		buf_c(out, "&message_id=");
		url_encode(out, q->ids[i]);
	}
}

/* --- the page, out -------------------------------------------------------------------- */

static void put_line(struct buf *out, const char *word, const char *text)
{
	buf_printf(out, "%s ", word);
	for (; *text; text++)
		buf_char(out, (unsigned char)*text < ' ' ? ' ' : *text);
	buf_char(out, '\n');
}

void page_write(struct buf *out, const struct page_head *head, const struct page_payload *payload,
	bool packed)
{
	const struct str *parts[] = {&payload->rows, &payload->counts, &payload->partials};
	const uint64_t *stats = (const uint64_t *)&head->stats;
	struct buf whole = {0}, frame = {0};

	buf_c(out, "sawlog-scan 1\n");
	put_line(out, "instance", head->instance);
	if (head->more)
		buf_printf(out, "next %" PRId64 " %" PRIu64 "\n", head->next_ns, head->next_seq);
	buf_c(out, "stats");
	for (size_t i = 0; i < N_STATS; i++)
		buf_printf(out, " %" PRIu64, stats[i]);
	buf_char(out, '\n');
	for (size_t i = 0; i < head->n_warnings && i < PAGE_WARNINGS_MAX; i++)
		put_line(out, "warning", head->warnings[i]);
	if (head->redelivered)
		buf_c(out, "redelivered 1\n");
	buf_printf(out, "rows %zu\ncounts %zu\n", payload->rows.n, payload->counts.n);
	if (payload->partials.n)
		buf_printf(out, "partials %zu\n", payload->partials.n);
	for (size_t i = 0; packed && i < 3; i++)
		buf_str(&whole, *parts[i]);
	if (packed) {
		zstd_pack(&frame, buf_view(&whole), PACK_LEVEL);
		buf_printf(out, "packed %zu\n", frame.n);
	}
	buf_char(out, '\n');
	if (packed)
		buf_str(out, buf_view(&frame));
	for (size_t i = 0; !packed && i < 3; i++)
		buf_str(out, *parts[i]);
	buf_fini(&whole);
	buf_fini(&frame);
}

void page_counts_write(struct buf *out, const struct row_counts *counts)
{
	varint_put(out, counts->n_streams);
	for (size_t i = 0; i < counts->n_streams; i++)
		put_text(out, counts->streams[i]);
	varint_put(out, counts->n_templates);
	for (size_t i = 0; i < counts->n_templates; i++)
		put_text(out, counts->templates[i]->key);
	varint_put(out, counts->n);
	for (size_t i = 0; i < counts->n; i++) {
		const struct row_count *c = &counts->counts[i];
		varint_put(out, c->stream);
		varint_put(out, c->template == ROWS_NO_TEMPLATE ? 0 : c->template + UINT64_C(1));
		buf_char(out, (char)c->severity);
		buf_char(out, (char)(c->level_detected != 0));
		varint_put(out, zigzag(c->min_ns));
		varint_put(out, (uint64_t)c->max_ns - (uint64_t)c->min_ns);
		varint_put(out, c->rows);
		varint_put(out, c->bytes);
	}
}

/* --- the page, in --------------------------------------------------------------------- */

static int read_streams(struct page *p, struct reading *r, struct error *e)
{
	size_t n = take_count(r, PAGE_STREAMS_MAX, 2);

	p->streams = xcalloc(n, sizeof *p->streams);
	p->bytes += n * sizeof *p->streams;
	for (size_t i = 0; i < n && !r->bad; i++) {
		int code;

		p->streams[i] = take_text(r);
		if (!r->bad && (code = labels_check(p->streams[i], e)) < 0)
			return code;
	}
	p->counts.streams = p->streams;
	p->counts.n_streams = r->bad ? 0 : n;
	return 0;
}

static int read_templates(struct page *p, struct reading *r, struct error *e)
{
	size_t n = take_count(r, TEMPLATES_MAX, 2);
	int code;

	p->templates = xcalloc(n, sizeof *p->templates);
	p->template_list = xcalloc(n, sizeof *p->template_list);
	p->bytes += n * (sizeof *p->templates + sizeof *p->template_list);
	for (size_t i = 0; i < n && !r->bad; i++) {
		struct str key = take_text(r);
		if (r->bad || (code = template_parse(&p->templates[i], key, e)) < 0)
			return r->bad ? 0 : code;
		p->n_templates++;
		p->template_list[i] = &p->templates[i];
		p->bytes += p->templates[i].n_slots * sizeof *p->templates[i].slots;
	}
	p->counts.templates = p->template_list;
	p->counts.n_templates = p->n_templates;
	return 0;
}

static void read_count(struct page *p, struct reading *r, struct row_count *c)
{
	uint64_t stream = take_varint(r), template = take_varint(r), span;

	c->severity = take_byte(r);
	c->level_detected = take_byte(r);
	c->min_ns = unzigzag(take_varint(r));
	span = take_varint(r);
	c->rows = take_varint(r);
	c->bytes = take_varint(r);
	if (stream >= p->counts.n_streams || template > p->n_templates ||
		c->severity > SEVERITY_MAX || c->level_detected > 1 ||
		span > (uint64_t)INT64_MAX - (uint64_t)c->min_ns)
		r->bad = true;
	if (r->bad)
		return;
	c->stream = (uint32_t)stream;
	c->template = template ? (uint32_t) template - 1 : ROWS_NO_TEMPLATE;
	c->max_ns = (int64_t)((uint64_t)c->min_ns + span);
}

static int read_counts(struct page *p, struct str bytes, struct error *e)
{
	struct reading r = {.rest = bytes};
	int code;
	size_t n;

	if (bytes.n == 0)
		return 0;
	if ((code = read_streams(p, &r, e)) < 0 || (code = read_templates(p, &r, e)) < 0)
		return code;
	n = take_count(&r, PAGE_COUNTS_MAX, 8);
	p->list = xcalloc(n, sizeof *p->list);
	p->bytes += n * sizeof *p->list;
	for (size_t i = 0; i < n && !r.bad; i++)
		read_count(p, &r, &p->list[i]);
	p->counts.counts = p->list;
	p->counts.n = n;
	if (r.bad || r.rest.n)
		return error_set(e, ERR_CORRUPT, "the counts of a page of a scan are damaged");
	return 0;
}

/* What the lines of the head say of the payload. */
struct sizes {
	uint64_t rows, counts, partials, packed;
	bool is_packed;
};

static uint64_t sizes_all(const struct sizes *z)
{
	return z->rows + z->counts + z->partials;
}

static bool read_stats(struct page *p, struct str rest)
{
	uint64_t *stats = (uint64_t *)&p->stats;

	/* Another version may know of more, or of fewer. */
	for (size_t i = 0; i < N_STATS && rest.n; i++)
		if (!str_u64(str_cut(&rest, ' '), &stats[i]))
			return false;
	return true;
}

/* Hexadecimal, or empty where a server has none. */
static bool is_instance(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!strchr("0123456789abcdef", s.p[i]) || s.p[i] == 0)
			return false;
	return s.n < INSTANCE_SIZE;
}

static bool read_line(struct page *p, struct str line, struct sizes *z)
{
	struct str rest = line, word = str_cut(&rest, ' ');

	if (str_eq(word, STR("instance"))) {
		str_copy(rest, p->instance, sizeof p->instance);
		return is_instance(rest);
	}
	if (str_eq(word, STR("next"))) {
		p->more = true;
		return str_i64(str_cut(&rest, ' '), &p->next_ns) && str_u64(rest, &p->next_seq);
	}
	if (str_eq(word, STR("stats")))
		return read_stats(p, rest);
	if (str_eq(word, STR("warning"))) {
		if (p->n_warnings < PAGE_WARNINGS_MAX)
			p->warnings[p->n_warnings++] = rest;
		return true;
	}
	if (str_eq(word, STR("rows")))
		return str_u64(rest, &z->rows);
	if (str_eq(word, STR("counts")))
		return str_u64(rest, &z->counts);
	if (str_eq(word, STR("partials")))
		return str_u64(rest, &z->partials);
	if (str_eq(word, STR("redelivered"))) {
		p->redelivered = true;
		return true;
	}
	if (str_eq(word, STR("packed"))) {
		z->is_packed = true;
		return str_u64(rest, &z->packed);
	}
	return true;
}

static int read_head(struct page *p, struct sizes *z, struct error *e)
{
	struct str rest = buf_view(&p->head), first = str_cut(&rest, '\n');

	if (!str_eq(first, STR("sawlog-scan 1")))
		return error_set(e, ERR_UNSUPPORTED,
			"it does not answer with a page of a scan of version 1: is it a sawlog of "
			"about this version?");
	while (rest.n)
		if (!read_line(p, str_cut(&rest, '\n'), z))
			return error_set(e, ERR_CORRUPT, "the head of a page of a scan is damaged");
	return 0;
}

/* The payload is moved to the front of `take`. */
static int unpack(struct buf *take, const struct sizes *z, size_t limit, struct error *e)
{
	struct buf plain = {0};
	int r = 0;

	uint64_t all;

	if (z->rows > limit || z->counts > limit || z->partials > limit ||
		(all = sizes_all(z)) > limit)
		return error_set(e, ERR_LIMIT, "a page of a scan is larger than %zu bytes", limit);
	if (z->is_packed) {
		if (take->n != z->packed)
			return error_set(e, ERR_CORRUPT, "a page of a scan breaks off");
		r = zstd_unpack(&plain, buf_view(take), all, e);
		buf_fini(take);
		*take = plain;
	}
	if (r == 0 && take->n != all)
		r = error_set(e, ERR_CORRUPT, "a page of a scan breaks off");
	return r;
}

static int read_payload(struct page *p, struct buf *take, const struct sizes *z, struct error *e)
{
	int r;

	buf_str(&p->text, str_sub(buf_view(take), z->rows, take->n));
	p->bytes = p->head.n + take->n;
	take->n = z->rows;
	if (z->rows && (r = batch_from_bytes(&p->rows, take, e)) < 0)
		return r;
	p->partials = str_sub(buf_view(&p->text), z->counts, p->text.n);
	return read_counts(p, str_sub(buf_view(&p->text), 0, z->counts), e);
}

uint64_t page_bytes(struct str answer)
{
	ptrdiff_t end = str_find(str_sub(answer, 0, HEAD_MAX), STR("\n\n"));
	struct str rest = str_sub(answer, 0, end < 0 ? 0 : (size_t)end);
	struct page ignored = {0};
	struct sizes z = {0};

	while (rest.n)
		read_line(&ignored, str_cut(&rest, '\n'), &z);
	if (z.rows > PAGE_BODY_MAX || z.counts > PAGE_BODY_MAX || z.partials > PAGE_BODY_MAX)
		return answer.n;
	return answer.n > sizes_all(&z) ? answer.n : sizes_all(&z);
}

int page_read(struct page *out, struct buf *take, size_t limit, struct error *e)
{
	struct str all = buf_view(take);
	ptrdiff_t end = str_find(str_sub(all, 0, HEAD_MAX), STR("\n\n"));
	struct sizes z = {0};
	int r;

	*out = (struct page){0};
	if (end < 0)
		end = str_starts(all, STR("sawlog-scan ")) ? -1 : 0;
	if (end < 0) {
		r = error_set(e, ERR_CORRUPT, "the head of a page of a scan breaks off");
	} else {
		buf_str(&out->head, str_sub(all, 0, (size_t)end));
		/* What is shown of it goes into headers and to terminals. */
		for (size_t i = 0; i < out->head.n; i++)
			if ((unsigned char)out->head.p[i] < ' ' && out->head.p[i] != '\n')
				out->head.p[i] = ' ';
		r = read_head(out, &z, e);
	}
	if (r == 0) {
		buf_shift(take, (size_t)end + 2);
		r = unpack(take, &z, limit, e);
	}
	if (r == 0)
		r = read_payload(out, take, &z, e);
	buf_fini(take);
	return r;
}

int page_check(const struct page *p, const struct page_request *q, struct error *e)
{
	int64_t time = q->resume_ns;
	uint64_t seq = q->resume_seq;
	bool any = q->resume;

	for (size_t i = 0; p->rows && i < batch_count(p->rows); i++) {
		struct record r = batch_record(p->rows, i);
		bool later = r.timestamp != time ? r.timestamp > time : r.position > seq;
		if (any && (later != q->forward || (r.timestamp == time && r.position == seq)))
			return error_set(e, ERR_CORRUPT,
				"the rows of a page of a scan are not in the order that was asked "
				"for, or were told before");
		time = r.timestamp;
		seq = r.position;
		any = true;
	}
	/* Else it might go on for ever. */
	if (p->more &&
		(!p->rows || batch_count(p->rows) == 0 || p->next_ns != time || p->next_seq != seq))
		return error_set(e, ERR_CORRUPT,
			"the next page of a scan does not begin behind the rows of this one");
	return 0;
}

void page_fini(struct page *p)
{
	for (size_t i = 0; i < p->n_templates; i++)
		template_fini(&p->templates[i]);
	free(p->templates);
	free(p->template_list);
	free(p->streams);
	free(p->list);
	batch_unref(p->rows);
	buf_fini(&p->head);
	buf_fini(&p->text);
	*p = (struct page){0};
}
