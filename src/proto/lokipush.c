/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over the token array.  Labels of a stream and metadata of an entry
 * go through two builders that are kept for the whole body, so that an entry
 * allocates nothing.  A refused entry costs itself: it is counted by reason,
 * and the first of them is told in full.
 */
#include "proto/lokipush.h"

#include <stdio.h>

#include "record/time.h"

enum { MAX_LINE = 256 << 10 };

struct push {
	const struct json *doc;
	const struct push_options *options;
	size_t max_line;
	struct batch_builder *into;
	struct push_report *report;
	/* The stream at hand. */
	size_t stream_i; /* its index in the body */
	struct labels_builder labels;
	struct buf stream;  /* canonical bytes */
	uint32_t stream_id; /* in the batch, once an entry was taken */
	bool has_id;
	/* The entry at hand. */
	size_t entry_i;
	struct labels_builder meta;
	struct buf meta_bytes;
};

/* Where the sentence of a refusal goes: nowhere but for the first. */
static struct error *first_error(struct push *p)
{
	return p->report->first.code ? NULL : &p->report->first;
}

/* A text of the sender's as it may stand in a sentence. */
static const char *show(struct str text, char out[48])
{
	str_copy(str_sub(text, 0, 40), out, 48);
	for (char *p = out; *p; p++)
		if ((*p >= 0 && *p < 0x20) || *p == 0x7f)
			*p = '?';
	return out;
}

static const struct json_node *node(const struct push *p, size_t i)
{
	return &p->doc->nodes[i];
}

static bool is(const struct push *p, size_t i, enum json_type type)
{
	return node(p, i)->type == type;
}

static size_t count_inside(const struct push *p, size_t array)
{
	size_t n = 0;

	for (size_t i = json_first(p->doc, array); i < json_end(p->doc, array);
		i = json_next(p->doc, i))
		n++;
	return n;
}

/* ---- entries ---- */

/* The index of an entry's tuple or object in its stream, for sentences: "streams[1].values[7]". */
static int refuse(struct push *p, int code, const char *what)
{
	return error_set(first_error(p), code, "streams[%zu].values[%zu]: %s", p->stream_i,
		p->entry_i, what);
}

/* ns as a string or number; RFC 3339 in the legacy form. */
static int read_time(struct push *p, size_t at, bool legacy, int64_t *out)
{
	const struct json_node *n = node(p, at);
	char shown[48];

	if ((n->type == JSON_STRING || n->type == JSON_NUMBER) && str_i64(n->text, out))
		return 0;
	if (legacy && n->type == JSON_STRING && time_parse_rfc3339(n->text, out))
		return 0;
	p->report->n_bad_timestamp++;
	return error_set(first_error(p), ERR_ARG,
		"streams[%zu].values[%zu]: couldn't parse timestamp \"%s\": expected %s",
		p->stream_i, p->entry_i, show(n->text, shown),
		legacy ? "RFC 3339" : "nanoseconds since 1970 as a string");
}

/* The canonical bytes of an object of strings, in p->meta_bytes. */
static int read_meta(struct push *p, size_t at)
{
	struct error *e = first_error(p);
	int r;

	buf_clear(&p->meta_bytes);
	if (is(p, at, JSON_NULL))
		return 0;
	if (!is(p, at, JSON_OBJECT)) {
		p->report->n_bad_entry++;
		return refuse(p, ERR_ARG, "structured metadata must be an object");
	}
	labels_builder_clear(&p->meta);
	for (size_t key = json_first(p->doc, at); key < json_end(p->doc, at);
		key = json_next(p->doc, key + 1)) {
		if (!is(p, key + 1, JSON_STRING)) {
			p->report->n_bad_entry++;
			return refuse(p, ERR_ARG, "values of structured metadata must be strings");
		}
		r = labels_builder_set(&p->meta, node(p, key)->text, node(p, key + 1)->text, e);
		if (r < 0) {
			p->report->n_over_limit += r == ERR_LIMIT;
			p->report->n_bad_entry += r != ERR_LIMIT;
			return error_wrap(e, r, "streams[%zu].values[%zu]: structured metadata",
				p->stream_i, p->entry_i);
		}
	}
	if (p->meta.n)
		labels_builder_write(&p->meta, &p->meta_bytes);
	return 0;
}

/* Not in the middle of a character, if it is text. */
static struct str cut_line(struct str line, size_t max)
{
	size_t at = max;

	while (at > 0 && max - at < 3 && ((unsigned char)line.p[at] & 0xc0) == 0x80)
		at--;
	if (((unsigned char)line.p[at] & 0xc0) == 0x80)
		at = max;
	return str_sub(line, 0, at);
}

/* Say in the metadata how long the line was: truncated_from. */
static void mark_cut(struct push *p, size_t n)
{
	char length[24];

	if (p->meta_bytes.n == 0)
		labels_builder_clear(&p->meta);
	snprintf(length, sizeof length, "%zu", n);
	/* A set that is full already goes without: the flag tells all the same. */
	if (labels_builder_set(&p->meta, STR("truncated_from"), str_c(length), NULL) < 0)
		return;
	buf_clear(&p->meta_bytes);
	labels_builder_write(&p->meta, &p->meta_bytes);
}

static void add(struct push *p, int64_t timestamp, struct str line)
{
	struct record r = {.timestamp = timestamp, .body = line};
	struct error *e = first_error(p);
	int code;

	if (line.n > p->max_line) {
		r.body = cut_line(line, p->max_line);
		r.flags = RECORD_CUT;
		mark_cut(p, line.n);
	}
	r.meta = buf_view(&p->meta_bytes);
	discover_level(&p->options->discover, buf_view(&p->stream), &r);
	if (!p->has_id) {
		p->stream_id = batch_builder_stream(p->into, buf_view(&p->stream));
		p->has_id = true;
	}
	r.stream = p->stream_id;
	if ((code = batch_builder_add(p->into, &r, e)) < 0) {
		error_wrap(e, code, "streams[%zu].values[%zu]", p->stream_i, p->entry_i);
		p->report->n_over_limit++;
		return;
	}
	p->report->n_accepted++;
	p->report->n_cut += (r.flags & RECORD_CUT) != 0;
}

/* ["<ns>", "line", {metadata}?]; more elements are of no meaning to us. */
static void read_tuple(struct push *p, size_t at)
{
	size_t time = json_first(p->doc, at), end = json_end(p->doc, at), line, meta;
	int64_t timestamp;

	if (!is(p, at, JSON_ARRAY) || time >= end || (line = json_next(p->doc, time)) >= end ||
		!is(p, line, JSON_STRING)) {
		p->report->n_bad_entry++;
		refuse(p, ERR_ARG,
			"an entry must be [\"<ns>\", \"line\"] or [\"<ns>\", \"line\", {…}]");
		return;
	}
	if (read_time(p, time, false, &timestamp) < 0)
		return;
	buf_clear(&p->meta_bytes);
	meta = json_next(p->doc, line);
	if (meta < end && read_meta(p, meta) < 0)
		return;
	add(p, timestamp, node(p, line)->text);
}

/* {"ts": …, "line": …} */
static void read_legacy(struct push *p, size_t at)
{
	size_t time = json_get(p->doc, at, "ts"), line = json_get(p->doc, at, "line");
	size_t meta = json_get(p->doc, at, "structuredMetadata");
	int64_t timestamp;

	if (time == 0)
		time = json_get(p->doc, at, "timestamp");
	if (time == 0 || line == 0 || !is(p, line, JSON_STRING)) {
		p->report->n_bad_entry++;
		refuse(p, ERR_ARG, "an entry must be {\"ts\": RFC 3339, \"line\": \"…\"}");
		return;
	}
	if (read_time(p, time, true, &timestamp) < 0)
		return;
	buf_clear(&p->meta_bytes);
	if (meta && read_meta(p, meta) < 0)
		return;
	add(p, timestamp, node(p, line)->text);
}

/* ---- streams ---- */

static int labels_of_object(struct push *p, size_t at, struct error *e)
{
	char shown[48];
	int r;

	for (size_t key = json_first(p->doc, at); key < json_end(p->doc, at);
		key = json_next(p->doc, key + 1)) {
		if (!is(p, key + 1, JSON_STRING))
			return error_set(e, ERR_ARG, "the value of label \"%s\" must be a string",
				show(node(p, key)->text, shown));
		r = labels_builder_set(&p->labels, node(p, key)->text, node(p, key + 1)->text, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The stream's labels into p->stream, or a refusal. */
static int read_labels(struct push *p, size_t at)
{
	size_t object = json_get(p->doc, at, "stream"), text = json_get(p->doc, at, "labels");
	struct error *e = first_error(p);
	int r = 0;

	labels_builder_clear(&p->labels);
	if (object && is(p, object, JSON_OBJECT))
		r = labels_of_object(p, object, e);
	else if (text && is(p, text, JSON_STRING))
		r = labels_parse(&p->labels, node(p, text)->text, e);
	else if (object || text)
		r = error_set(e, ERR_ARG, "\"stream\" must be an object");
	if (r < 0)
		return error_wrap(e, r, "streams[%zu]: couldn't parse labels", p->stream_i);
	if (p->labels.n == 0)
		return error_set(e, ERR_ARG,
			"error at least one label pair is required per stream (streams[%zu])",
			p->stream_i);
	discover_service_name(&p->options->discover, &p->labels);
	buf_clear(&p->stream);
	labels_builder_write(&p->labels, &p->stream);
	p->has_id = false;
	return 0;
}

static void read_stream(struct push *p, size_t at)
{
	size_t values = json_get(p->doc, at, "values"), entries = json_get(p->doc, at, "entries");
	bool legacy = !values && entries;
	size_t list = legacy ? entries : values;

	p->entry_i = 0;
	if (!is(p, at, JSON_OBJECT) ||
		(list && !is(p, list, JSON_ARRAY) && !is(p, list, JSON_NULL))) {
		p->report->n_bad_entry++;
		error_set(first_error(p), ERR_ARG,
			"streams[%zu]: must be an object with \"stream\" and a list \"values\"",
			p->stream_i);
		return;
	}
	if (!list || is(p, list, JSON_NULL) || node(p, list)->inside == 0)
		return;
	if (read_labels(p, at) < 0) {
		p->report->n_bad_labels += count_inside(p, list);
		return;
	}
	for (size_t i = json_first(p->doc, list); i < json_end(p->doc, list);
		i = json_next(p->doc, i), p->entry_i++) {
		if (legacy)
			read_legacy(p, i);
		else
			read_tuple(p, i);
	}
}

int lokipush_json(struct json_parser *parser, struct str body, const struct push_options *o,
	struct batch_builder *into, struct push_report *report, struct error *e)
{
	struct json doc;
	struct push p = {
		.doc = &doc,
		.options = o,
		.max_line = o->max_line ? o->max_line : MAX_LINE,
		.into = into,
		.report = report,
		.meta.names_free = true,
	};
	size_t streams;
	int r;

	if ((r = json_parse(parser, body, &doc, e)) < 0)
		return r;
	streams = json_get(&doc, 0, "streams");
	if (streams == 0 || !is(&p, streams, JSON_ARRAY))
		return error_set(e, ERR_ARG, "a push must be an object with a list \"streams\"");
	for (size_t i = json_first(&doc, streams); i < json_end(&doc, streams);
		i = json_next(&doc, i), p.stream_i++)
		read_stream(&p, i);
	labels_builder_fini(&p.labels);
	labels_builder_fini(&p.meta);
	buf_fini(&p.stream);
	buf_fini(&p.meta_bytes);
	return 0;
}
