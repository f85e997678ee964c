/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes to records.
 *
 * Design.  A physical line (bytes up to a newline) is unwrapped; lines of one
 * stream are put into groups, a group being what becomes a record: the pieces
 * of a program's line, and the lines that multiline joins.  Groups of stdout
 * and stderr may lie among each other:
 *
 *     A1 B1 A2 A3 | B2 C1        A, B, C: groups; |: nothing reaches over it
 *
 * A unit is what lies before the first such place whose groups are all known
 * to be complete.  Its records go out in the order of their last lines.
 *
 * What is complete is told by the bytes alone: the next line of the stream does
 * not go on with it, or a line of any stream is later by the runtime's clock
 * than the timeout.  Only at the end of what there is, the caller's word
 * (SHAPE_QUIET, SHAPE_END) counts.  So records do not depend on how the bytes
 * came, as long as they come in time.
 */
#include <assert.h>
#include <errno.h>
#include <iconv.h>
#include <stdlib.h>
#include <string.h>

#include "base/metric.h"
#include "input/lines.h"
#include "input/multiline.h"
#include "input/shaper.h"
#include "proto/envelope.h"

#define NONE UINT32_MAX
enum { STREAMS = 3, ATTRS_MAX = 64 };

/* A physical line. */
struct phys {
	size_t start, end;      /* in the bytes, with its newline */
	size_t newline;         /* bytes of it; 0 at an end without one */
	size_t text_at, text_n; /* what stands in it, without newline: in `texts` or the bytes */
	bool in_texts;
	bool wrapped; /* it was in an envelope */
	bool docker;
	uint8_t stream;
	uint32_t group, next; /* of its group */
	struct container_line line;
};

/* What becomes a record. */
struct group {
	uint32_t first, last;
	uint32_t sure;    /* the last one that belongs to it whatever follows */
	uint32_t n_lines; /* of the program */
	bool open;
	bool begun;   /* `trace` knows the first line */
	bool pending; /* the program's line goes on */
	bool cut;     /* more would belong to it */
	int64_t time; /* of the last line */
	struct trace trace;
};

/* A record that is ready, while the buffers its parts are in still move. */
struct made {
	struct record record;
	struct str labels;
	size_t end, body_at, meta_at;
	bool in_bodies;
};

struct coder {
	iconv_t decode, encode;
	bool open;
};

struct shaper {
	const struct shape *shape;
	struct line_reader *lines;
	struct coder coders[2]; /* the encoding, and the swapped one */
	struct buf texts, bodies, metas, scratch, recipe, lossy;
	struct buf base, labels[STREAMS]; /* of the source, and with `stream` */
	struct labels_builder meta;
	struct buf usual[2][STREAMS]; /* metadata of usual lines, of CRI and of Docker */
	/* Of the unit at hand. */
	const struct shape_text *t;
	bool swapped;
	struct phys *phys;
	size_t n_phys, cap_phys;
	struct group *groups;
	size_t n_groups, cap_groups;
	uint32_t open[STREAMS]; /* group by stream, or NONE */
	size_t cut_at, reach;   /* see find_cut */
	struct made *made;
	size_t n_made, cap_made;
	struct shape_line *out;
	size_t cap_out;
	struct envelope_line *envelope;
	size_t cap_envelope;
	/* Counted when the caller has taken what they count: see shaper_taken. */
	uint64_t n_filtered, n_redacted, n_malformed;
};

#define GROW(p, n, cap)                                                                            \
	do {                                                                                       \
		if ((n) >= (cap)) {                                                                \
			(cap) = (cap) ? (cap)*2 : 16;                                              \
			(p) = xrealloc((p), (cap) * sizeof(*(p)));                                 \
		}                                                                                  \
	} while (0)

struct shaper *shaper_new(const struct shape *shape, struct line_reader *lines)
{
	struct shaper *s = xcalloc(1, sizeof(*s));

	s->shape = shape;
	s->lines = lines;
	s->meta.names_free = true;
	for (size_t i = 0; i < 2; i++) {
		const char *name = i ? shape->swapped : shape->encoding;

		if (!*name)
			continue;
		s->coders[i].decode = iconv_open("UTF-8", name);
		s->coders[i].encode = iconv_open(name, "UTF-8");
		s->coders[i].open = true;
	}
	return s;
}

void shaper_free(struct shaper *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < 2; i++) {
		if (s->coders[i].open && s->coders[i].decode != (iconv_t)-1)
			iconv_close(s->coders[i].decode);
		if (s->coders[i].open && s->coders[i].encode != (iconv_t)-1)
			iconv_close(s->coders[i].encode);
	}
	buf_fini(&s->texts);
	buf_fini(&s->bodies);
	buf_fini(&s->metas);
	buf_fini(&s->scratch);
	buf_fini(&s->recipe);
	buf_fini(&s->lossy);
	buf_fini(&s->base);
	for (size_t i = 0; i < STREAMS; i++) {
		buf_fini(&s->labels[i]);
		buf_fini(&s->usual[false][i]);
		buf_fini(&s->usual[true][i]);
	}
	labels_builder_fini(&s->meta);
	free(s->phys);
	free(s->groups);
	free(s->made);
	free(s->out);
	free(s->envelope);
	free(s);
}

/* Encodings. */

/* Append; false: not possible without loss. */
static bool convert(iconv_t cd, struct str from, struct buf *to)
{
	char *in = (char *)from.p;
	size_t left = from.n;

	if (cd == (iconv_t)-1)
		return false;
	iconv(cd, NULL, NULL, NULL, NULL);
	while (left > 0) {
		char *out = buf_reserve(to, left * 2 + 16);
		size_t room = to->cap - to->n, r;

		r = iconv(cd, &in, &left, &out, &room);
		to->n = (size_t)(out - to->p);
		if ((r == (size_t)-1 && errno != E2BIG) || (r != (size_t)-1 && r != 0))
			return false;
	}
	return true;
}

static const char *encoding(const struct shaper *s)
{
	return s->swapped ? s->shape->swapped : s->shape->encoding;
}

/* `raw` in UTF-8, appended to `to`, if it can be made again out of that. */
static bool decode(struct shaper *s, struct str raw, struct buf *to)
{
	const struct coder *c = &s->coders[s->swapped];
	size_t from = to->n;

	buf_clear(&s->scratch);
	if (convert(c->decode, raw, to) &&
		convert(c->encode, str_sub(buf_view(to), from, to->n), &s->scratch) &&
		str_eq(buf_view(&s->scratch), raw))
		return true;
	to->n = from;
	return false;
}

/* `raw` as rules see it where it has no decoding without loss: U+FFFD for each code unit that none
 * can be found for, and all others decoded.  Without this one odd character would take a line past
 * the rules, whose expressions do not match bytes of another encoding.  Nothing where there are no
 * rules or no encoding; a view of s->lossy. */
static struct str decode_lossy(struct shaper *s, struct str raw)
{
	iconv_t cd = s->coders[s->swapped].decode;
	char *in = (char *)raw.p;
	size_t left = raw.n;
	struct str text;

	buf_clear(&s->lossy);
	if (!*s->shape->encoding || rules_empty(s->shape->rules) || cd == (iconv_t)-1)
		return STR_NONE;
	iconv(cd, NULL, NULL, NULL, NULL);
	while (left > 0) {
		char *out = buf_reserve(&s->lossy, left * 2 + 16);
		size_t room = s->lossy.cap - s->lossy.n, r, skip;

		r = iconv(cd, &in, &left, &out, &room);
		s->lossy.n = (size_t)(out - s->lossy.p);
		if (r != (size_t)-1 || errno == E2BIG)
			continue;
		skip = left < s->shape->unit ? left : s->shape->unit;
		buf_c(&s->lossy, "\xef\xbf\xbd");
		in += skip;
		left -= skip;
		iconv(cd, NULL, NULL, NULL, NULL);
	}
	text = buf_view(&s->lossy);
	if (str_starts(text, STR("\xef\xbb\xbf")))
		text = str_sub(text, 3, text.n);
	return text;
}

/* Which byte order the source has.  False: that cannot be told yet. */
static bool byte_order(struct shaper *s, const struct shape_text *t)
{
	static const char swapped2[] = "\xfe\xff", swapped4[] = "\0\0\xfe\xff";
	size_t n = s->shape->unit;

	s->swapped = false;
	if (!*s->shape->swapped)
		return true;
	if (t->head.n < n)
		return t->more == SHAPE_END;
	s->swapped = memcmp(t->head.p, n == 2 ? swapped2 : swapped4, n) == 0;
	return true;
}

/* Bytes of the mark at the start of these, which lie at `offset`. */
static size_t mark_of(const struct shaper *s, struct str bytes, uint64_t offset)
{
	bool big = s->shape->big != s->swapped;
	struct str mark = STR("\xef\xbb\xbf");

	if (s->shape->unit == 2)
		mark = big ? STR("\xfe\xff") : STR("\xff\xfe");
	else if (s->shape->unit == 4)
		mark = big ? STR("\0\0\xfe\xff") : STR("\xff\xfe\0\0");
	else if (*s->shape->encoding)
		return 0;
	return offset == 0 && str_starts(bytes, mark) ? mark.n : 0;
}

/* Physical lines. */

/* Is the byte '\n' at `at` a newline of code units that begin at multiples of `unit`? */
static bool is_newline(const struct shaper *s, const struct shape_text *t, size_t at, size_t *end)
{
	size_t unit = s->shape->unit, into, start, low;

	into = (size_t)((t->offset + at) % unit);
	if (into > at)
		return false;
	start = at - into;
	low = s->shape->big != s->swapped ? start + unit - 1 : start;
	if (at != low || start + unit > t->bytes.n)
		return false;
	for (size_t i = start; i < start + unit; i++) {
		if (i != at && t->bytes.p[i] != 0)
			return false;
	}
	*end = start + unit;
	return true;
}

/* The end of the line at `from`, behind its newline; 0: there is none. */
static size_t line_end(const struct shaper *s, const struct shape_text *t, size_t from)
{
	const char *p = t->bytes.p, *stop = p + t->bytes.n, *at = p + from;
	size_t end;

	while ((at = memchr(at, '\n', (size_t)(stop - at)))) {
		if (s->shape->unit == 1)
			return (size_t)(at - p) + 1;
		if (is_newline(s, t, (size_t)(at - p), &end))
			return end;
		at++;
	}
	return 0;
}

/* Unwrap and decode the line. */
static void read_text(struct shaper *s, struct phys *p)
{
	struct str raw = str_sub(s->t->bytes, p->start, p->end - p->newline);
	size_t mark;

	p->wrapped = p->docker = p->in_texts = false;
	p->stream = 0;
	p->line = (struct container_line){0};
	p->text_at = p->start;
	p->text_n = raw.n;
	if (s->shape->docker && raw.n > 0 && raw.p[0] == '{') {
		p->text_at = s->texts.n;
		p->wrapped = p->docker = p->in_texts = docker_decode(raw, &s->texts, &p->line);
		p->text_at = p->in_texts ? p->text_at : p->start;
	} else if (s->shape->cri) {
		p->wrapped = cri_decode(raw, &p->line);
		p->text_at += p->wrapped ? p->line.head : 0;
	}
	if (p->wrapped) {
		p->text_n = p->line.text.n;
		p->stream = (uint8_t)p->line.stream;
		return;
	}
	if (s->shape->docker || s->shape->cri)
		return;
	mark = mark_of(s, raw, s->t->offset + p->start);
	p->text_at += mark;
	p->text_n -= mark;
	if (!*s->shape->encoding || !s->shape->joins)
		return;
	mark = s->texts.n;
	if (decode(s, str_sub(s->t->bytes, p->text_at, p->text_at + p->text_n), &s->texts)) {
		p->in_texts = true;
		p->text_at = mark;
		p->text_n = s->texts.n - mark;
	}
}

static struct str text_of(const struct shaper *s, const struct phys *p)
{
	if (p->text_n == 0)
		return STR("");
	return str_make((p->in_texts ? s->texts.p : s->t->bytes.p) + p->text_at, p->text_n);
}

/* As the rules of multiline see it: without newline. */
static struct str line_of(const struct shaper *s, const struct phys *p)
{
	struct str text = text_of(s, p);

	if (text.n > 0 && text.p[text.n - 1] == '\n')
		text.n--;
	if (text.n > 0 && text.p[text.n - 1] == '\r')
		text.n--;
	return text;
}

/* Groups. */

static uint32_t group_new(struct shaper *s, uint32_t k)
{
	struct group *g;

	GROW(s->groups, s->n_groups, s->cap_groups);
	g = &s->groups[s->n_groups];
	*g = (struct group){.first = k, .last = k, .sure = k, .n_lines = 1};
	s->phys[k].group = (uint32_t)s->n_groups;
	s->phys[k].next = NONE;
	return (uint32_t)s->n_groups++;
}

/* Nothing follows.  Lines that would only have belonged to it if more had are on their own. */
static void group_close(struct shaper *s, uint32_t at)
{
	struct group *g = &s->groups[at];
	uint32_t k = s->phys[g->sure].next;

	if (!g->open)
		return;
	g->open = false;
	g->last = g->sure;
	s->phys[g->sure].next = NONE;
	for (size_t i = 0; i < STREAMS; i++) {
		if (s->open[i] == at)
			s->open[i] = NONE;
	}
	while (k != NONE) {
		uint32_t next = s->phys[k].next;

		group_new(s, k);
		k = next;
	}
}

static void group_join(struct shaper *s, struct group *g, uint32_t k, bool sure)
{
	s->phys[g->last].next = k;
	s->phys[k].next = NONE;
	s->phys[k].group = s->phys[g->first].group;
	g->last = k;
	if (sure)
		g->sure = k;
}

static enum trace_answer goes_on(struct shaper *s, struct group *g, const struct phys *p)
{
	struct str line = line_of(s, p);

	if (s->shape->first)
		return regex_match(s->shape->first, line) > 0 ? TRACE_NO : TRACE_YES;
	/* Only now: the line that completes a unit is looked at again with the next one. */
	if (!g->begun)
		trace_begin(s->shape->traces, line_of(s, &s->phys[g->first]), &g->trace);
	g->begun = true;
	return trace_continues(s->shape->traces, &g->trace, line_of(s, &s->phys[g->last]), line);
}

/* A line that is later than the timeout completes what came before. */
static void close_late(struct shaper *s, const struct phys *p)
{
	for (size_t i = 0; i < STREAMS; i++) {
		uint32_t at = s->open[i];
		int64_t passed;

		if (at == NONE || (i == p->stream && s->groups[at].pending) ||
			__builtin_sub_overflow(p->line.time, s->groups[at].time, &passed))
			continue;
		if (passed >= s->shape->timeout_ns)
			group_close(s, at);
	}
}

/* Find the group of line k, which is the last one. */
static void put_line(struct shaper *s, uint32_t k)
{
	struct phys *p = &s->phys[k];
	enum trace_answer answer = TRACE_NO;
	uint32_t at;

	if (p->wrapped && p->line.time_text.n)
		close_late(s, p);
	at = s->open[p->stream];
	if ((s->shape->docker || s->shape->cri) && !p->wrapped) {
		group_new(s, k); /* broken: on its own, and in nobody's way */
		return;
	}
	if (at != NONE) {
		struct group *g = &s->groups[at];

		answer = g->pending ? TRACE_YES : goes_on(s, g, p);
		if (answer != TRACE_NO && !g->pending && g->n_lines == s->shape->max_lines) {
			g->cut = answer == TRACE_YES;
			answer = TRACE_NO;
		}
		if (answer == TRACE_NO) {
			group_close(s, at);
		} else {
			g->n_lines += !g->pending;
			group_join(s, g, k, answer == TRACE_YES);
		}
	}
	if (answer == TRACE_NO) {
		at = group_new(s, k);
		s->groups[at].open = true;
		s->open[p->stream] = at;
	}
	s->groups[at].pending = p->line.partial;
	s->groups[at].time = p->line.time;
	if (!s->shape->joins && !p->line.partial)
		group_close(s, at);
}

/* How many lines from the start on form a unit; 0: none do yet.  Goes on where it stopped. */
static size_t find_cut(struct shaper *s)
{
	for (; s->cut_at < s->n_phys; s->cut_at++) {
		const struct group *g = &s->groups[s->phys[s->cut_at].group];

		if (g->open)
			return 0;
		s->reach = g->last > s->reach ? g->last : s->reach;
		if (s->reach == s->cut_at)
			return s->cut_at + 1;
	}
	return 0;
}

static void close_all(struct shaper *s, bool cut)
{
	for (size_t i = 0; i < STREAMS; i++) {
		uint32_t at = s->open[i];

		if (at == NONE)
			continue;
		s->groups[at].cut |= cut;
		group_close(s, at);
	}
}

/* Records. */

static struct made *made_new(struct shaper *s, size_t end, struct str labels)
{
	GROW(s->made, s->n_made, s->cap_made);
	s->made[s->n_made] = (struct made){.end = end, .labels = labels};
	return &s->made[s->n_made];
}

static struct str stream_labels(struct shaper *s, uint8_t stream)
{
	if (!str_eq(s->t->labels, buf_view(&s->base))) {
		struct labels_builder b = {0};
		struct str at = s->t->labels;
		struct label l;

		buf_clear(&s->base);
		buf_str(&s->base, at);
		if (at.n)
			labels_start(&at);
		while (at.n && labels_next(&at, &l))
			labels_builder_set(&b, l.name, l.value, NULL);
		for (size_t i = 1; i < STREAMS; i++) {
			labels_builder_set(&b, STR("stream"),
				i == STREAM_STDOUT ? STR("stdout") : STR("stderr"), NULL);
			buf_clear(&s->labels[i]);
			labels_builder_write(&b, &s->labels[i]);
		}
		labels_builder_fini(&b);
	}
	return stream == STREAM_NONE ? s->t->labels : buf_view(&s->labels[stream]);
}

static void set_number(struct labels_builder *b, struct str name, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	labels_builder_set(b, name, str_c(text), NULL);
}

static void set_attr(void *arg, struct str name, struct str value)
{
	struct labels_builder *b = arg;

	/* They are in the envelope too: what is too much here is not lost. */
	if (b->n < ATTRS_MAX)
		labels_builder_set(b, name, value, NULL);
}

/* Drop or redact.  `lossy` is what else the body may be read as, STR_NONE for nothing: a rule that
 * matches there counts as well, and what is redacted is then that.  False: it is dropped.
 * *redacted: the body is now in `bodies`. */
static bool apply_rules(
	struct shaper *s, struct made *m, struct str *body, struct str lossy, bool *redacted)
{
	const struct rules *rules = s->shape->rules;

	*redacted = false;
	if (rules_drop(rules, *body) || (lossy.n && rules_drop(rules, lossy))) {
		s->n_filtered++;
		return false;
	}
	if ((lossy.n && rules_redact(rules, lossy, &s->scratch)) ||
		rules_redact(rules, *body, &s->scratch)) {
		s->n_redacted++;
		m->body_at = s->bodies.n;
		m->in_bodies = true;
		buf_str(&s->bodies, buf_view(&s->scratch));
		*body = str_sub(buf_view(&s->bodies), m->body_at, s->bodies.n);
		*redacted = true;
	}
	return true;
}

/* Severity of the final body, and its timestamp where it has none; then the metadata in s->meta,
 * and it is made. */
static void finish(struct shaper *s, struct made *m, struct str body, bool timed)
{
	if (!timed)
		line_reader_time(s->lines, body, &m->record);
	m->record.body = body;
	discover_level_told(&s->lines->env->discover, s->t->told, &m->record);
	m->meta_at = s->metas.n;
	if (s->meta.n > 0)
		labels_builder_write(&s->meta, &s->metas);
	m->record.meta.n = s->metas.n - m->meta_at;
	s->n_made++;
}

/* A line as it is, newline included when `whole`: nothing else could be made again. */
static void make_raw(struct shaper *s, const struct phys *p, bool alone)
{
	struct made *m = made_new(s, p->end, s->t->labels);
	struct str body = str_sub(s->t->bytes, p->start, p->end - p->newline);
	struct envelope_line l = {.kind = ENVELOPE_RAW, .eol = p->newline ? EOL_LF : EOL_NONE};
	size_t mark = alone ? mark_of(s, body, s->t->offset + p->start) : 0;
	bool redacted;

	body = str_sub(body, mark, body.n);
	if (p->newline && body.n > 0 && body.p[body.n - 1] == '\r') {
		l.eol = EOL_CRLF;
		body.n--;
	}
	if (!apply_rules(s, m, &body, STR_NONE, &redacted))
		return;
	labels_builder_clear(&s->meta);
	if (redacted) {
		set_number(&s->meta, STR(ENVELOPE_REDACTED_META), p->end - p->start);
	} else if (!alone) {
		buf_clear(&s->recipe);
		envelope_write(&l, 1, 0, &s->recipe);
		labels_builder_set(&s->meta, STR(ENVELOPE_META), buf_view(&s->recipe), NULL);
	}
	finish(s, m, body, false);
}

/* One or more lines without envelope, which lie one behind the other. */
static void make_plain(struct shaper *s, const struct group *g)
{
	const struct phys *first = &s->phys[g->first], *last = &s->phys[g->last];
	struct made *m = made_new(s, last->end, s->t->labels);
	struct str body = str_sub(s->t->bytes, first->start, last->end - last->newline);
	size_t mark = mark_of(s, body, s->t->offset + first->start);
	struct str lossy = STR_NONE;
	bool redacted, encoded = *s->shape->encoding;

	labels_builder_clear(&s->meta);
	body = str_sub(body, mark, body.n);
	if (encoded) {
		m->body_at = s->bodies.n;
		m->in_bodies = decode(s, body, &s->bodies);
		if (m->in_bodies) {
			body = str_sub(buf_view(&s->bodies), m->body_at, s->bodies.n);
		} else {
			lossy = decode_lossy(s, body);
			if (last->newline && lossy.n > 0 && lossy.p[lossy.n - 1] == '\r')
				lossy.n--;
			/* Its newline is no plain one: it stays with the bytes. */
			body = str_sub(s->t->bytes, first->start, last->end);
			s->n_malformed++;
		}
	}
	if ((!encoded || m->in_bodies) && last->newline && body.n > 0 && body.p[body.n - 1] == '\r')
		body.n--;
	encoded = m->in_bodies;
	if (!apply_rules(s, m, &body, lossy, &redacted))
		return;
	if (redacted) {
		set_number(&s->meta, STR(ENVELOPE_REDACTED_META), last->end - first->start);
	} else if (encoded) {
		buf_clear(&s->recipe);
		envelope_write_encoding(encoding(s), mark > 0, &s->recipe);
		labels_builder_set(&s->meta, STR(ENVELOPE_META), buf_view(&s->recipe), NULL);
	}
	if (g->cut)
		labels_builder_set(&s->meta, STR("multiline"), STR("cut"), NULL);
	finish(s, m, body, false);
}

/* Containers. */

struct check {
	const struct shape_text *t;
	size_t n;
	bool same;
};

static int compare(void *arg, uint64_t offset, struct str bytes, struct error *e)
{
	struct check *c = arg;
	uint64_t at = offset - c->t->offset;

	(void)e;
	c->same = c->same && offset >= c->t->offset && at <= c->t->bytes.n &&
		  bytes.n <= c->t->bytes.n - at &&
		  memcmp(c->t->bytes.p + at, bytes.p, bytes.n) == 0;
	c->n += bytes.n;
	return 0;
}

/* Do the envelope's lines and the body make the group's bytes again? */
static bool rebuilds(
	struct shaper *s, const struct group *g, struct str body, int64_t timestamp, size_t raw)
{
	struct labels_builder b = {.names_free = true};
	struct check c = {.t = s->t, .same = true};
	struct record r = {.body = body,
		.timestamp = timestamp,
		.position = s->t->offset + s->phys[g->last].end};
	bool same;

	if (labels_builder_set(&b, STR(ENVELOPE_META), buf_view(&s->recipe), NULL) < 0)
		return false;
	buf_clear(&s->scratch);
	labels_builder_write(&b, &s->scratch);
	r.meta = buf_view(&s->scratch);
	same = envelope_rebuild(&r, s->t->offset, compare, &c, NULL) == 0 && c.same && c.n == raw;
	labels_builder_fini(&b);
	return same;
}

/* The lines of the group as an envelope's, and in `bodies` what they say.  Returns their bytes. */
static size_t unwrap(struct shaper *s, const struct group *g, bool exact, size_t *n)
{
	size_t raw = 0;

	*n = 0;
	for (uint32_t k = g->first; k != NONE; k = s->phys[k].next) {
		const struct phys *p = &s->phys[k];
		struct str text = text_of(s, p);
		struct envelope_line *l;
		bool last = p->next == NONE;

		GROW(s->envelope, *n, s->cap_envelope);
		l = &s->envelope[(*n)++];
		envelope_line_of(&p->line, p->docker, l);
		if (exact)
			envelope_line_exact(l, text,
				str_sub(s->t->bytes, p->start, p->end - p->newline), &p->line);
		l->eol = p->newline ? EOL_LF : EOL_NONE;
		l->gap = last ? 0 : s->phys[p->next].start - p->end;
		raw += p->end - p->start;
		if (last) {
			l->open = p->docker && p->line.partial;
			if (p->docker && !l->open)
				text.n--;
			l->cr = !(p->docker && l->open) && text.n > 0 &&
				text.p[text.n - 1] == '\r' && !p->line.partial;
			text.n -= l->cr;
		}
		buf_str(&s->bodies, text);
		l->n = text.n;
		if (!p->docker && !p->line.partial && !last)
			buf_char(&s->bodies, '\n');
	}
	return raw;
}

/* A literal line takes all that it gave to the body, and says its newline itself. */
static void settle_literals(struct shaper *s, const struct group *g)
{
	size_t i = 0;

	for (uint32_t k = g->first; k != NONE; k = s->phys[k].next, i++) {
		struct envelope_line *l = &s->envelope[i];
		const struct phys *p = &s->phys[k];

		if (l->literal && !p->docker && !p->line.partial && p->next != NONE)
			l->n++;
	}
}

/* False: it cannot be made again, or only by a recipe that is too long. */
static bool make_wrapped(struct shaper *s, const struct group *g)
{
	const struct phys *first = &s->phys[g->first];
	struct made *m = made_new(s, s->phys[g->last].end, stream_labels(s, first->stream));
	struct str body;
	int64_t timestamp;
	size_t n, raw = 0;
	bool redacted, same = false;

	m->in_bodies = true;
	m->body_at = s->bodies.n;
	for (int exact = first->line.time_text.n == 0; exact < 2 && !same; exact++) {
		s->bodies.n = m->body_at;
		raw = unwrap(s, g, exact, &n);
		settle_literals(s, g);
		body = str_sub(buf_view(&s->bodies), m->body_at, s->bodies.n);
		buf_clear(&s->recipe);
		m->record = (struct record){.timestamp = first->line.time};
		if (first->line.time_text.n == 0)
			line_reader_time(s->lines, body, &m->record);
		timestamp = m->record.timestamp;
		envelope_write(s->envelope, n, timestamp, &s->recipe);
		same = s->recipe.n <= ENVELOPE_MAX && rebuilds(s, g, body, timestamp, raw);
	}
	/* Where it cannot be made again the rules look at what it says all the same: in the
	 * envelope, escaped and in pieces, they would not know it. */
	if (!apply_rules(s, m, &body, STR_NONE, &redacted))
		return true;
	if (!same && !redacted) {
		s->bodies.n = m->body_at;
		return false;
	}
	labels_builder_clear(&s->meta);
	if (first->line.attrs.n) {
		buf_clear(&s->scratch);
		docker_attrs(first->line.attrs, &s->scratch, set_attr, &s->meta);
	}
	if (redacted)
		set_number(&s->meta, STR(ENVELOPE_REDACTED_META), raw);
	else
		labels_builder_set(&s->meta, STR(ENVELOPE_META), buf_view(&s->recipe), NULL);
	if (g->cut)
		labels_builder_set(&s->meta, STR("multiline"), STR("cut"), NULL);
	finish(s, m, body, first->line.time_text.n > 0 || !redacted);
	return true;
}

static struct str usual_meta(struct shaper *s, const struct phys *p, struct str recipe)
{
	struct buf *to = &s->usual[p->docker][p->stream];

	if (to->n == 0) {
		labels_builder_clear(&s->meta);
		labels_builder_set(&s->meta, STR(ENVELOPE_META), recipe, NULL);
		labels_builder_write(&s->meta, to);
	}
	return buf_view(to);
}

/* Nearly all lines of a runtime are alone and differ in time, stream and text only: their recipe
 * needs no writing, reading and rebuilding, and their body no copy.  With this a CPU-second moves
 * 311 MB of CRI and 248 MB of Docker instead of 149 and 143.  False: not this one. */
static bool make_usual(struct shaper *s, const struct group *g)
{
	const struct phys *p = &s->phys[g->first];
	struct str line = str_sub(s->t->bytes, p->start, p->end - p->newline), body, recipe;
	struct made *m;
	bool redacted;

	if (g->first != g->last || g->cut || !p->newline ||
		!envelope_usual(
			&p->line, p->docker, text_of(s, p), line, &s->scratch, &body, &recipe))
		return false;
	m = made_new(s, p->end, stream_labels(s, p->stream));
	m->record.timestamp = p->line.time;
	if (!apply_rules(s, m, &body, STR_NONE, &redacted))
		return true;
	labels_builder_clear(&s->meta);
	if (redacted)
		set_number(&s->meta, STR(ENVELOPE_REDACTED_META), p->end - p->start);
	finish(s, m, body, true);
	if (!redacted)
		m->record.meta = usual_meta(s, p, recipe);
	return true;
}

static void make_group(struct shaper *s, const struct group *g, bool alone)
{
	const struct phys *first = &s->phys[g->first];

	if (!s->shape->docker && !s->shape->cri) {
		make_plain(s, g);
	} else if (!first->wrapped) {
		s->n_malformed++;
		make_raw(s, first, alone);
	} else if (!make_usual(s, g) && !make_wrapped(s, g)) {
		for (uint32_t k = g->first; k != NONE; k = s->phys[k].next)
			make_raw(s, &s->phys[k], alone && g->first == g->last);
		s->n_malformed++;
	}
}

static int by_end(const void *a, const void *b)
{
	const struct made *x = a, *y = b;

	return x->end < y->end ? -1 : x->end > y->end;
}

/* The records of the first n lines. */
static void make_unit(struct shaper *s, size_t n)
{
	s->n_made = 0;
	buf_clear(&s->bodies);
	buf_clear(&s->metas);
	for (size_t i = 0; i < n; i++) {
		uint32_t at = s->phys[i].group;

		if (s->groups[at].last == i)
			make_group(s, &s->groups[at], s->groups[at].first == 0 && i + 1 == n);
	}
	if (s->n_made > 1)
		qsort(s->made, s->n_made, sizeof(*s->made), by_end);
	while (s->cap_out < s->n_made)
		GROW(s->out, s->cap_out, s->cap_out);
	for (size_t i = 0; i < s->n_made; i++) {
		struct made *m = &s->made[i];

		if (m->in_bodies && m->record.body.n > 0)
			m->record.body.p = s->bodies.p + m->body_at;
		if (m->record.meta.n > 0 && !m->record.meta.p)
			m->record.meta.p = s->metas.p + m->meta_at;
		s->out[i] = (struct shape_line){
			.record = m->record, .labels = m->labels, .end = m->end};
	}
}

/* Read the line at `at`: where the next one begins; 0: it is not complete, or *forced: it does not
 * fit into a unit with those before it. */
static size_t add_line(struct shaper *s, size_t at, bool *forced)
{
	const struct shape_text *t = s->t;
	size_t end = line_end(s, t, at), newline = s->shape->unit;
	struct phys *p;

	if (end == 0 && t->bytes.n < LINE_FRAGMENT && t->more == SHAPE_END && at < t->bytes.n) {
		end = t->bytes.n;
		newline = 0;
	}
	*forced = end > LINE_FRAGMENT || (end == 0 && t->bytes.n >= LINE_FRAGMENT);
	if (end == 0 || *forced)
		return 0;
	GROW(s->phys, s->n_phys, s->cap_phys);
	p = &s->phys[s->n_phys];
	*p = (struct phys){.start = at, .end = end, .newline = newline};
	read_text(s, p);
	put_line(s, (uint32_t)s->n_phys++);
	*forced = end == LINE_FRAGMENT;
	return end;
}

size_t shaper_next(
	struct shaper *s, const struct shape_text *t, const struct shape_line **lines, size_t *n)
{
	size_t at = 0, end, cut = 0;
	bool forced = false;

	s->t = t;
	s->n_phys = s->n_groups = s->cut_at = s->reach = 0;
	s->n_filtered = s->n_redacted = s->n_malformed = 0;
	memset(s->open, 0xff, sizeof(s->open));
	buf_clear(&s->texts);
	if (!byte_order(s, t))
		return 0;
	while (cut == 0 && !forced && (end = add_line(s, at, &forced)) > 0) {
		at = end;
		cut = find_cut(s);
	}
	if (cut == 0 && s->n_phys > 0 && (forced || t->more != SHAPE_MORE)) {
		close_all(s, forced);
		cut = find_cut(s);
	}
	if (cut == 0)
		return 0;
	make_unit(s, cut);
	*lines = s->out;
	*n = s->n_made;
	return s->phys[cut - 1].end;
}

size_t shaper_line(struct shaper *s, const struct shape_text *t, size_t *newline)
{
	size_t end;

	byte_order(s, t);
	end = line_end(s, t, 0);
	*newline = end > 0 && s->shape->unit == 1;
	return end;
}

void shaper_taken(struct shaper *s)
{
	if (s->n_filtered)
		metric_add(METRIC_filtered_records_total, "", s->n_filtered);
	if (s->n_redacted)
		metric_add(METRIC_redacted_records_total, "", s->n_redacted);
	if (s->n_malformed)
		metric_add(METRIC_malformed_lines_total, "", s->n_malformed);
	s->n_filtered = s->n_redacted = s->n_malformed = 0;
}

void shaper_piece(struct shaper *s, struct record *r, size_t raw_bytes)
{
	struct str at = r->meta, lossy;
	struct label l;

	s->n_filtered = s->n_redacted = s->n_malformed = 0;
	lossy = decode_lossy(s, r->body);
	if (!(lossy.n && rules_redact(s->shape->rules, lossy, &s->bodies)) &&
		!rules_redact(s->shape->rules, r->body, &s->bodies))
		return;
	s->n_redacted++;
	r->body = buf_view(&s->bodies);
	labels_builder_clear(&s->meta);
	if (at.n)
		labels_start(&at);
	while (at.n && labels_next(&at, &l))
		labels_builder_set(&s->meta, l.name, l.value, NULL);
	set_number(&s->meta, STR(ENVELOPE_REDACTED_META), raw_bytes);
	buf_clear(&s->metas);
	labels_builder_write(&s->meta, &s->metas);
	r->meta = buf_view(&s->metas);
}
