/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Most rows leave a pipeline with the labels and the metadata that they were
 * stored with: those are views of the row.  Rows beside each other mostly have
 * the same metadata and level, so that the last of these, merged, is kept.
 */
#include "query/entry.h"

#include "codec/codec.h"
#include "record/severity.h"

void entry_maker_fini(struct entry_maker *m)
{
	buf_fini(&m->labels);
	buf_fini(&m->meta);
	buf_fini(&m->parsed);
	buf_fini(&m->merged);
}

void entry_maker_unit(struct entry_maker *m)
{
	buf_clear(&m->merged);
}

const char *entry_level(const struct rows *rows, uint32_t i)
{
	return rows->flags[i] & RECORD_LEVEL_DETECTED ? severity_level(rows->severity[i]) : NULL;
}

static struct str row_meta(struct entry_maker *m, const struct rows *rows, uint32_t i)
{
	const char *level = entry_level(rows, i);
	struct str meta = rows->meta ? rows->meta[i] : STR_NONE;

	if (!level)
		return meta;
	if (m->merged.n && level == m->merged_level && meta.p == m->merged_from.p &&
		meta.n == m->merged_from.n)
		return buf_view(&m->merged);
	buf_clear(&m->merged);
	group_meta(meta, level, &m->merged);
	m->merged_level = level;
	m->merged_from = meta;
	return buf_view(&m->merged);
}

/* An empty set counts as none. */
static struct str written(struct fields *f, enum field_kind kind, struct buf *out)
{
	struct str all;

	buf_clear(out);
	fields_write(f, kind, out);
	all = buf_view(out);
	return labels_count(all) ? all : STR_NONE;
}

bool entry_make(struct entry_maker *m, const struct rows *rows, uint32_t i,
	const struct pipe_row *row, struct query_entry *out)
{
	*out = (struct query_entry){
		.timestamp = row->timestamp, .seq = row->seq, .line = row->line};
	if (!fields_changed(row->fields)) {
		out->labels = rows->streams[rows->stream[i]];
		out->meta = row_meta(m, rows, i);
		return false;
	}
	buf_clear(&m->labels);
	fields_write(row->fields, FIELD_STREAM, &m->labels);
	out->labels = buf_view(&m->labels);
	out->meta = written(row->fields, FIELD_META, &m->meta);
	out->parsed = written(row->fields, FIELD_PARSED, &m->parsed);
	return true;
}

/* Sorted sets walked side by side; the last of those with a name wins. */
static size_t merge(const struct query_entry *x, struct buf *out)
{
	struct str at[] = {x->labels, x->meta, x->parsed};
	struct label pair[3];
	bool more[3] = {0};
	size_t n = 0;

	for (size_t i = 0; i < 3; i++)
		if (at[i].n) {
			labels_start(&at[i]);
			more[i] = labels_next(&at[i], &pair[i]);
		}
	for (;; n++) {
		struct label best = {0};
		bool any = false;

		for (size_t i = 0; i < 3; i++)
			if (more[i] && (!any || str_cmp(pair[i].name, best.name) <= 0)) {
				best = pair[i];
				any = true;
			}
		if (!any)
			return n;
		for (size_t i = 0; i < 3; i++)
			if (more[i] && str_eq(pair[i].name, best.name))
				more[i] = labels_next(&at[i], &pair[i]);
		varint_put(out, best.name.n);
		buf_str(out, best.name);
		varint_put(out, best.value.n);
		buf_str(out, best.value);
	}
}

void entry_labels(const struct query_entry *x, struct buf *out)
{
	struct buf pairs = {0};
	size_t n = merge(x, &pairs);

	varint_put(out, n);
	buf_str(out, buf_view(&pairs));
	buf_fini(&pairs);
}
