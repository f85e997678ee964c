/* SPDX-License-Identifier: Apache-2.0 */
#include "query/page_tables.h"

#include <stdlib.h>

#include "store/lines/template.h"

enum {
	STREAM_BYTES = 192, /* of a stream in the tables, besides its labels */
	COUNT_BYTES = 160,  /* of a count in its tables */
	TEMPLATES_TOLD_MAX = 1 << 15,
};

static int charge(struct page_tables *t, uint64_t n, struct error *e)
{
	int r = run_charge(t->run, n, e);

	if (r == 0)
		t->charged += n;
	return r;
}

int page_tables_stream(struct page_tables *t, struct str labels, uint32_t *out, struct error *e)
{
	const union map_value *known = map_get(&t->stream_index, labels);
	size_t at = 0;
	int r;

	if (known) {
		*out = (uint32_t)known->u;
		return 0;
	}
	if (t->n_streams == PAGE_STREAMS_MAX)
		return error_set(e, ERR_LIMIT, "there are more than %d streams", PAGE_STREAMS_MAX);
	if ((r = charge(t, labels.n + STREAM_BYTES, e)) < 0)
		return r;
	if (t->n_streams == t->cap_streams) {
		t->cap_streams = t->cap_streams ? 2 * t->cap_streams : 64;
		t->streams = xrealloc(t->streams, t->cap_streams * sizeof *t->streams);
	}
	map_put(&t->stream_index, labels, NULL)->u = at = t->n_streams;
	t->streams[t->n_streams++] = (struct str){NULL, labels.n};
	*out = (uint32_t)at;
	return 0;
}

/* Keys of a map stay where they are, but are only known by walking it. */
void page_tables_name_streams(struct page_tables *t)
{
	const struct map_slot *slot;
	size_t at = 0;

	while ((slot = map_next(&t->stream_index, &at)))
		t->streams[slot->value.u] = slot->key;
}

int page_tables_template(
	struct page_tables *t, const struct template *x, uint32_t *out, struct error *e)
{
	const union map_value *known = map_get(&t->template_index, x->key);
	int r;

	if (known) {
		*out = (uint32_t)known->u;
		return 0;
	}
	if (t->n_templates == TEMPLATES_TOLD_MAX)
		return error_set(e, ERR_LIMIT,
			"the lines are of more than %d kinds: narrow the time range or the selector",
			TEMPLATES_TOLD_MAX);
	if ((r = charge(t, 2 * x->key.n + STREAM_BYTES, e)) < 0)
		return r;
	if (t->n_templates == t->cap_templates) {
		t->cap_templates = t->cap_templates ? 2 * t->cap_templates : 64;
		t->templates = xrealloc(t->templates, t->cap_templates * sizeof *t->templates);
	}
	map_put(&t->template_index, x->key, NULL)->u = t->n_templates;
	*out = (uint32_t)t->n_templates++;
	return 0;
}

/* What makes rows alike; no padding. */
struct count_key {
	int64_t bucket[2];
	uint32_t stream, template;
	uint8_t severity, level_detected;
	uint8_t zeros[6];
};

int page_tables_count(struct page_tables *t, const struct row_count *c, struct error *e)
{
	struct count_key key = {.stream = c->stream,
		.template = c->template,
		.severity = c->severity,
		.level_detected = c->level_detected};
	union map_value *known;
	struct row_count *to;
	int r;

	buckets_of(&t->buckets, c->min_ns, key.bucket);
	if ((known = map_get(&t->count_index, str_make(&key, sizeof key)))) {
		to = &t->counts[known->u];
		to->min_ns = c->min_ns < to->min_ns ? c->min_ns : to->min_ns;
		to->max_ns = c->max_ns > to->max_ns ? c->max_ns : to->max_ns;
		to->rows += c->rows;
		to->bytes += c->bytes;
		return 0;
	}
	if (t->n_counts == PAGE_COUNTS_MAX)
		return error_set(e, ERR_LIMIT,
			"there are more than %d counts: narrow the time range or the selector, or "
			"take a larger step",
			PAGE_COUNTS_MAX);
	if ((r = charge(t, COUNT_BYTES, e)) < 0)
		return r;
	if (t->n_counts == t->cap_counts) {
		t->cap_counts = t->cap_counts ? 2 * t->cap_counts : 256;
		t->counts = xrealloc(t->counts, t->cap_counts * sizeof *t->counts);
	}
	map_put(&t->count_index, str_make(&key, sizeof key), NULL)->u = t->n_counts;
	t->counts[t->n_counts++] = *c;
	return 0;
}

int page_tables_write(struct page_tables *t, struct buf *out, struct error *e)
{
	struct row_counts all = {.n = t->n_counts,
		.counts = t->counts,
		.streams = t->streams,
		.n_streams = t->n_streams,
		.n_templates = t->n_templates};
	const struct template **list;
	const struct map_slot *slot;
	size_t at = 0, n = out->n;
	int r;

	if ((r = charge(t, t->n_templates * sizeof *list + t->n_counts * 40, e)) < 0)
		return r;
	list = xcalloc(t->n_templates, sizeof *list);
	while ((slot = map_next(&t->template_index, &at))) {
		struct template *x = &t->templates[slot->value.u];
		*x = (struct template){.key = slot->key};
		list[slot->value.u] = x;
	}
	all.templates = list;
	page_counts_write(out, &all);
	free(list);
	return charge(t, out->n - n, e);
}

void page_tables_fini(struct page_tables *t)
{
	free(t->streams);
	free(t->templates);
	free(t->counts);
	map_fini(&t->stream_index);
	map_fini(&t->template_index);
	map_fini(&t->count_index);
	run_release(t->run, t->charged);
}
