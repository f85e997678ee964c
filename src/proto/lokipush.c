/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over the token array of a push in JSON; what becomes of its entries
 * is in entries.c.
 */
#include <stdio.h>

#include "proto/entries.h"
#include "record/time.h"

struct push {
	const struct json *doc;
	struct entries entries;
};

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

static bool bad_entry(struct push *p, const char *what)
{
	entries_refuse(&p->entries, &p->entries.report->n_bad_entry, ERR_ARG, what);
	return false;
}

/* ns as a string or number; RFC 3339 in the legacy form. */
static bool read_time(struct push *p, size_t at, bool legacy, int64_t *out)
{
	const struct json_node *n = node(p, at);
	char shown[ENTRIES_SHOWN], what[300];

	if ((n->type == JSON_STRING || n->type == JSON_NUMBER) && str_i64(n->text, out))
		return true;
	if (legacy && n->type == JSON_STRING && time_parse_rfc3339(n->text, out))
		return true;
	snprintf(what, sizeof what, "has timestamp \"%s\" that cannot be read: expected %s",
		entries_show(n->text, shown),
		legacy ? "RFC 3339" : "nanoseconds since 1970 as a string");
	entries_refuse(&p->entries, &p->entries.report->n_bad_timestamp, ERR_ARG, what);
	return false;
}

static bool read_meta(struct push *p, size_t at)
{
	if (is(p, at, JSON_NULL))
		return true;
	if (!is(p, at, JSON_OBJECT))
		return bad_entry(p, "has structured metadata that is no object");
	for (size_t key = json_first(p->doc, at); key < json_end(p->doc, at);
		key = json_next(p->doc, key + 1)) {
		if (!is(p, key + 1, JSON_STRING))
			return bad_entry(
				p, "has structured metadata with a value that is no string");
		if (!entries_meta(&p->entries, node(p, key)->text, node(p, key + 1)->text))
			return false;
	}
	return true;
}

static void add(struct push *p, size_t time, size_t line, size_t meta, bool legacy)
{
	int64_t timestamp;

	entries_begin(&p->entries);
	if (read_time(p, time, legacy, &timestamp) && (meta == 0 || read_meta(p, meta)))
		entries_add(&p->entries, timestamp, node(p, line)->text);
}

/* ["<ns>", "line", {metadata}?]; more elements are of no meaning to us. */
static void read_tuple(struct push *p, size_t at)
{
	size_t time = json_first(p->doc, at), end = json_end(p->doc, at), line, meta;

	if (!is(p, at, JSON_ARRAY) || time >= end || (line = json_next(p->doc, time)) >= end ||
		!is(p, line, JSON_STRING)) {
		bad_entry(p, "must be [\"<ns>\", \"line\"] or [\"<ns>\", \"line\", {…}]");
		return;
	}
	meta = json_next(p->doc, line);
	add(p, time, line, meta < end ? meta : 0, false);
}

/* {"ts": …, "line": …} */
static void read_legacy(struct push *p, size_t at)
{
	size_t time = json_get(p->doc, at, "ts"), line = json_get(p->doc, at, "line");

	if (time == 0)
		time = json_get(p->doc, at, "timestamp");
	if (time == 0 || line == 0 || !is(p, line, JSON_STRING)) {
		bad_entry(p, "must be {\"ts\": RFC 3339, \"line\": \"…\"}");
		return;
	}
	add(p, time, line, json_get(p->doc, at, "structuredMetadata"), true);
}

/* ---- streams ---- */

static int labels_of_object(struct push *p, size_t at, struct error *e)
{
	char shown[ENTRIES_SHOWN];
	int r;

	for (size_t key = json_first(p->doc, at); key < json_end(p->doc, at);
		key = json_next(p->doc, key + 1)) {
		if (!is(p, key + 1, JSON_STRING))
			return error_set(e, ERR_ARG, "the value of label \"%s\" must be a string",
				entries_show(node(p, key)->text, shown));
		r = labels_builder_set(
			&p->entries.labels, node(p, key)->text, node(p, key + 1)->text, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The stream's labels, or a refusal of its n entries. */
static bool read_labels(struct push *p, size_t at, size_t n)
{
	size_t object = json_get(p->doc, at, "stream"), text = json_get(p->doc, at, "labels");
	struct str shown = STR("stream");
	struct error why;
	int r = 0;

	if (object && is(p, object, JSON_OBJECT)) {
		r = labels_of_object(p, object, &why);
	} else if (text && is(p, text, JSON_STRING)) {
		shown = node(p, text)->text;
		r = labels_parse(&p->entries.labels, shown, &why);
	} else if (object || text) {
		r = error_set(&why, ERR_ARG, "\"stream\" must be an object");
	}
	if (r == 0)
		return entries_stream(&p->entries, n);
	entries_bad_labels(&p->entries, shown, &why, n);
	return false;
}

static void read_stream(struct push *p, size_t at)
{
	size_t values = json_get(p->doc, at, "values"), entries = json_get(p->doc, at, "entries");
	bool legacy = !values && entries;
	size_t list = legacy ? entries : values;

	entries_clear(&p->entries);
	if (!is(p, at, JSON_OBJECT) ||
		(list && !is(p, list, JSON_ARRAY) && !is(p, list, JSON_NULL))) {
		p->entries.report->n_bad_entry++;
		error_set(entries_error(&p->entries), ERR_ARG,
			"streams[%zu]: must be an object with \"stream\" and a list \"values\"",
			p->entries.stream_i);
		return;
	}
	if (!list || is(p, list, JSON_NULL) || node(p, list)->inside == 0 ||
		!read_labels(p, at, count_inside(p, list)))
		return;
	for (size_t i = json_first(p->doc, list); i < json_end(p->doc, list);
		i = json_next(p->doc, i), p->entries.entry_i++) {
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
	struct push p = {.doc = &doc};
	size_t streams;
	int r;

	if ((r = json_parse(parser, body, &doc, e)) < 0)
		return r;
	streams = json_get(&doc, 0, "streams");
	if (streams == 0 || !is(&p, streams, JSON_ARRAY))
		return error_set(e, ERR_ARG, "a push must be an object with a list \"streams\"");
	entries_init(&p.entries, "values", o, into, report);
	for (size_t i = json_first(&doc, streams); i < json_end(&doc, streams);
		i = json_next(&doc, i), p.entries.stream_i++)
		read_stream(&p, i);
	entries_fini(&p.entries);
	return 0;
}
