/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/entries.h"

#include <stdio.h>

#include "codec/rune.h"

enum { MAX_LINE = 256 << 10 };

void entries_init(struct entries *p, const char *list, const struct push_options *o,
	struct batch_builder *into, struct push_report *report)
{
	*p = (struct entries){
		.options = o,
		.report = report,
		.into = into,
		.max_line = o->max_line ? o->max_line : MAX_LINE,
		.streams = "streams",
		.list = list,
		.meta.names_free = true,
	};
}

void entries_fini(struct entries *p)
{
	labels_builder_fini(&p->labels);
	labels_builder_fini(&p->meta);
	buf_fini(&p->stream);
	buf_fini(&p->meta_bytes);
}

struct error *entries_error(struct entries *p)
{
	return p->report->first.code ? NULL : &p->report->first;
}

const char *entries_show(struct str text, char out[ENTRIES_SHOWN])
{
	str_copy(str_sub(text, 0, ENTRIES_SHOWN - 4), out, ENTRIES_SHOWN);
	if (text.n > ENTRIES_SHOWN - 4)
		strcpy(out + ENTRIES_SHOWN - 4, "...");
	for (char *at = out; *at; at++)
		if ((*at >= 0 && *at < 0x20) || *at == 0x7f)
			*at = '?';
	return out;
}

/* ---- streams ---- */

void entries_clear(struct entries *p)
{
	labels_builder_clear(&p->labels);
	p->entry_i = 0;
}

void entries_bad_labels(
	struct entries *p, struct str text, const struct error *why, size_t n_entries)
{
	char shown[ENTRIES_SHOWN];

	p->report->n_bad_labels += n_entries;
	error_set(entries_error(p), ERR_ARG, "error parsing labels '%s' with error: %s (%s[%zu])",
		entries_show(text, shown), why->text, p->streams, p->stream_i);
}

bool entries_stream(struct entries *p, size_t n_entries)
{
	if (p->labels.n == 0) {
		p->report->n_bad_labels += n_entries;
		error_set(entries_error(p), ERR_ARG,
			"error at least one label pair is required per stream (%s[%zu])",
			p->streams, p->stream_i);
		return false;
	}
	discover_service_name(&p->options->discover, &p->labels);
	buf_clear(&p->stream);
	labels_builder_write(&p->labels, &p->stream);
	p->told = discover_labels(&p->options->discover, buf_view(&p->stream));
	p->has_id = false;
	return true;
}

/* ---- entries ---- */

void entries_begin(struct entries *p)
{
	buf_clear(&p->meta_bytes);
	labels_builder_clear(&p->meta);
	p->severity = p->flags = 0;
}

void entries_refuse(struct entries *p, uint64_t *counter, int code, const char *what)
{
	struct error *e = entries_error(p);
	char shown[ENTRIES_SHOWN];
	struct buf labels = {0};

	++*counter;
	if (!e)
		return;
	labels_text(&labels, buf_view(&p->stream));
	error_set(e, code, "entry for stream '%s' %s (%s[%zu].%s[%zu])",
		entries_show(buf_view(&labels), shown), what, p->streams, p->stream_i, p->list,
		p->entry_i);
	buf_fini(&labels);
}

bool entries_meta(struct entries *p, struct str name, struct str value)
{
	struct push_report *report = p->report;
	struct error why;
	char what[400];
	int r = labels_builder_set(&p->meta, name, value, &why);

	if (r == 0)
		return true;
	snprintf(what, sizeof what, "has structured metadata that is refused: %.300s", why.text);
	entries_refuse(p, r == ERR_LIMIT ? &report->n_over_limit : &report->n_bad_entry, r, what);
	return false;
}

/* Say in the metadata how long the line was: truncated_from.  A set that is full already goes
 * without: the flag tells all the same. */
static void mark_cut(struct entries *p, size_t n)
{
	char length[24];

	snprintf(length, sizeof length, "%zu", n);
	labels_builder_set(&p->meta, STR("truncated_from"), str_c(length), NULL);
}

void entries_add(struct entries *p, int64_t timestamp, struct str line)
{
	struct record r = {
		.timestamp = timestamp, .body = line, .severity = p->severity, .flags = p->flags};
	struct error why;
	int code;

	if (line.n > p->max_line) {
		r.body = rune_fit(line, p->max_line);
		r.flags |= RECORD_CUT;
		mark_cut(p, line.n);
	}
	if (p->meta.n)
		labels_builder_write(&p->meta, &p->meta_bytes);
	r.meta = buf_view(&p->meta_bytes);
	discover_level_told(&p->options->discover, p->told, &r);
	if (!p->has_id) {
		p->stream_id = batch_builder_stream(p->into, buf_view(&p->stream));
		p->has_id = true;
	}
	r.stream = p->stream_id;
	if ((code = batch_builder_add(p->into, &r, &why)) < 0) {
		char what[400];

		snprintf(what, sizeof what, "does not fit: %.300s", why.text);
		entries_refuse(p, &p->report->n_over_limit, code, what);
		return;
	}
	p->report->n_accepted++;
	p->report->n_cut += (r.flags & RECORD_CUT) != 0;
}
