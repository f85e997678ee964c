/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Query results as Loki's JSON.  As in Loki, a record's structured metadata and
 * what the stages parsed show among the labels of its stream, unless the client
 * asked for categories (X-Loki-Response-Encoding-Flags: categorize-labels): then
 * they follow the line.
 *
 * Loki's answer groups the lines by stream, so it tells the order of lines of
 * one time within a stream alone; a client that wants all of it asks for the
 * sequences.
 */
#include "api/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "codec/codec.h"
#include "query/number.h"

/* Three sorted sets, walked side by side.  Where two have one name, what was parsed wins over
 * metadata, and that over the stream. */
struct merge {
	struct str at[3];
	struct label pair[3];
	bool more[3];
	size_t n; /* pairs told */
};

static struct merge merge_of(const struct query_entry *en)
{
	struct merge m = {.at = {en->labels, en->meta, en->parsed}};

	for (size_t i = 0; i < 3; i++) {
		if (m.at[i].n == 0)
			continue;
		labels_start(&m.at[i]);
		m.more[i] = labels_next(&m.at[i], &m.pair[i]);
	}
	return m;
}

static bool merge_next(struct merge *m, struct label *out)
{
	const struct str *name = NULL;

	for (size_t i = 0; i < 3; i++)
		if (m->more[i] && (!name || str_cmp(m->pair[i].name, *name) <= 0)) {
			*out = m->pair[i];
			name = &out->name;
		}
	if (!name)
		return false;
	for (size_t i = 0; i < 3; i++)
		if (m->more[i] && str_eq(m->pair[i].name, *name))
			m->more[i] = labels_next(&m->at[i], &m->pair[i]);
	m->n++;
	return true;
}

static void write_merged(struct buf *out, const struct query_entry *en)
{
	struct merge m = merge_of(en);
	struct label l;

	buf_char(out, '{');
	while (merge_next(&m, &l)) {
		if (m.n > 1)
			buf_char(out, ',');
		buf_json(out, l.name);
		buf_char(out, ':');
		buf_json(out, l.value);
	}
	buf_char(out, '}');
}

void api_write_labels(struct buf *out, struct str labels, struct str meta, struct str parsed)
{
	const struct query_entry en = {.labels = labels, .meta = meta, .parsed = parsed};

	if (meta.n == 0 && parsed.n == 0)
		labels_json(out, labels);
	else
		write_merged(out, &en);
}

/* What tells entries of one group: their labels, merged or as they are. */
static void put_key(struct buf *key, const struct query_entry *en, bool categorize)
{
	struct merge m = merge_of(en);
	struct label l;

	buf_clear(key);
	if (categorize) {
		buf_str(key, en->labels);
		return;
	}
	while (merge_next(&m, &l)) {
		varint_put(key, l.name.n);
		buf_str(key, l.name);
		varint_put(key, l.value.n);
		buf_str(key, l.value);
	}
}

/* Seconds with up to three digits of fraction: Loki's resolution. */
static void write_seconds(struct buf *out, int64_t ns)
{
	int64_t ms = ns / 1000000;
	char text[40];
	size_t n = (size_t)snprintf(text, sizeof text, "%" PRId64 ".%03" PRId64, ms / 1000,
		ms < 0 ? -ms % 1000 : ms % 1000);

	while (text[n - 1] == '0')
		n--;
	if (text[n - 1] == '.')
		n--;
	buf_put(out, text, n);
}

static void write_sample(struct buf *out, const struct query_sample *s)
{
	buf_char(out, '[');
	write_seconds(out, s->timestamp);
	buf_c(out, ",\"");
	/* As Go's 'f' format with the fewest digits: NaN, +Inf, no exponent. */
	number_put_f(out, s->value);
	buf_c(out, "\"]");
}

static void write_series(struct buf *out, const struct query_result *res)
{
	bool matrix = res->type == RESULT_MATRIX;

	for (size_t i = 0; i < res->n_series; i++) {
		const struct query_series *s = &res->series[i];
		buf_c(out, i ? ",{\"metric\":" : "{\"metric\":");
		labels_json(out, s->labels);
		buf_c(out, matrix ? ",\"values\":[" : ",\"value\":");
		for (size_t k = 0; k < s->n; k++) {
			if (k)
				buf_char(out, ',');
			write_sample(out, &s->samples[k]);
		}
		buf_c(out, matrix ? "]}" : "}");
	}
}

/* Entries of one set of labels, chained in result order. */
struct group {
	size_t first, last;
};

static void write_category(struct buf *out, const char *name, struct str labels, bool *comma)
{
	if (labels.n == 0)
		return;
	buf_printf(out, "%s\"%s\":", *comma ? "," : "", name);
	labels_json(out, labels);
	*comma = true;
}

/* `at` is the entry's place in the answer. */
static void write_entry(struct buf *out, const struct query_result *res, size_t at, unsigned flags)
{
	const struct query_entry *en = &res->entries[at];
	bool comma = false;

	buf_printf(out, "[\"%" PRId64 "\",", en->timestamp);
	buf_json(out, en->line);
	if (flags)
		buf_c(out, ",{");
	if (flags & ANSWER_CATEGORIZE) {
		write_category(out, "structuredMetadata", en->meta, &comma);
		write_category(out, "parsed", en->parsed, &comma);
	}
	if (flags & ANSWER_SEQUENCE) {
		buf_c(out, comma ? ",\"seq\":" : "\"seq\":");
		buf_u64(out, en->seq);
		/* Where time and sequence do not tell the order. */
		if (res->reshaped || res->spread) {
			buf_c(out, ",\"at\":");
			buf_u64(out, at);
		}
		if (str_utf8_valid(en->line) < en->line.n) {
			buf_c(out, ",\"base64\":\"");
			base64_put(out, en->line);
			buf_char(out, '"');
		}
	}
	buf_c(out, flags ? "}]" : "]");
}

/* Most entries are of the stream and metadata of one before them: its group is found without
 * merging their labels. */
static struct str own_key(struct buf *key, const struct query_entry *en)
{
	buf_clear(key);
	varint_put(key, en->labels.n);
	buf_str(key, en->labels);
	varint_put(key, en->meta.n);
	buf_str(key, en->meta);
	buf_str(key, en->parsed);
	return buf_view(key);
}

static void write_streams(struct buf *out, const struct query_result *res, unsigned flags)
{
	bool categorize = flags & ANSWER_CATEGORIZE;
	size_t *next = xcalloc(res->n_entries, sizeof *next);
	struct group *groups = NULL;
	size_t n_groups = 0, cap = 0;
	struct map index = {0}, known = {0};
	struct buf key = {0};

	for (size_t i = 0; i < res->n_entries; i++) {
		const struct query_entry *en = &res->entries[i];
		bool added = false, met;
		union map_value *own = map_put(&known, own_key(&key, en), &met);
		if (met) {
			union map_value *v;
			put_key(&key, en, categorize);
			v = map_put(&index, buf_view(&key), &added);
			if (added)
				v->u = n_groups;
			own->u = v->u;
		}
		if (added) {
			if (n_groups == cap)
				groups = xrealloc(
					groups, (cap = cap ? cap * 2 : 16) * sizeof *groups);
			groups[n_groups++] = (struct group){.first = i, .last = i};
		} else {
			next[groups[own->u].last] = i;
			groups[own->u].last = i;
		}
	}
	for (size_t g = 0; g < n_groups; g++) {
		const struct query_entry *first = &res->entries[groups[g].first];
		buf_c(out, g ? ",{\"stream\":" : "{\"stream\":");
		api_write_labels(out, first->labels, categorize ? STR_NONE : first->meta,
			categorize ? STR_NONE : first->parsed);
		buf_c(out, ",\"values\":[");
		for (size_t i = groups[g].first;; i = next[i]) {
			write_entry(out, res, i, flags);
			if (i == groups[g].last)
				break;
			buf_char(out, ',');
		}
		buf_c(out, "]}");
	}
	free(next);
	free(groups);
	map_fini(&known);
	map_fini(&index);
	buf_fini(&key);
}

static void write_stats(struct buf *out, const struct query_result *res)
{
	const struct scan_stats *s = &res->stats;
	double seconds = (double)res->took_ns / 1e9;
	double per = seconds > 0 ? 1 / seconds : 0;

	buf_printf(out,
		"\"stats\":{\"summary\":{\"bytesProcessedPerSecond\":%.0f,\"linesProcessedPerSecond\":"
		"%.0f,\"totalBytesProcessed\":%" PRIu64 ",\"totalLinesProcessed\":%" PRIu64
		",\"execTime\":%.6f,\"queueTime\":0,\"subqueries\":0,\"totalEntriesReturned\":%zu,"
		"\"splits\":0,\"shards\":0},\"sawlog\":{\"units\":%" PRIu64
		",\"unitsRead\":%" PRIu64 ",\"unitsCounted\":%" PRIu64 ",\"unitsExcluded\":%" PRIu64
		",\"rows\":%" PRIu64 ",\"rowsPicked\":%" PRIu64 ",\"linesSpelled\":%" PRIu64
		",\"bytesRead\":%" PRIu64 "}}",
		(double)s->bytes_raw * per, (double)s->rows * per, s->bytes_raw, s->rows, seconds,
		res->n_entries, s->units, s->units_read, s->units_counted, s->units_excluded,
		s->rows, s->rows_picked, s->lines_spelled, s->bytes_read);
}

static void write_sentences(
	struct buf *out, const char *name, const char *const *sentences, size_t n)
{
	if (n == 0)
		return;
	buf_printf(out, ",\"%s\":[", name);
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_char(out, ',');
		buf_json(out, str_c(sentences[i]));
	}
	buf_char(out, ']');
}

void api_write_warnings(struct buf *out, const struct query_result *res)
{
	write_sentences(out, "warnings", res->warnings, res->n_warnings);
}

static bool told_before(const struct query_result *const *all, size_t n, const char *sentence)
{
	for (size_t k = 0; k < n; k++)
		for (size_t i = 0; i < all[k]->n_warnings; i++)
			if (strcmp(all[k]->warnings[i], sentence) == 0)
				return true;
	return false;
}

void api_write_all_warnings(struct buf *out, const struct query_result *const *all, size_t n)
{
	const char **list;
	size_t most = 0, n_list = 0;

	for (size_t k = 0; k < n; k++)
		most += all[k]->n_warnings;
	list = xcalloc(most, sizeof *list);
	for (size_t k = 0; k < n; k++)
		for (size_t i = 0; i < all[k]->n_warnings; i++)
			if (!told_before(all, k, all[k]->warnings[i]))
				list[n_list++] = all[k]->warnings[i];
	write_sentences(out, "warnings", list, n_list);
	free(list);
}

void api_write_view_warnings(struct buf *out, const struct view *v)
{
	const char *const *list;
	size_t n = view_warnings(v, &list);

	write_sentences(out, "warnings", list, n);
}

void api_write_result(struct buf *out, const struct query_result *res, const struct query_params *p,
	unsigned flags, const char *next_cursor)
{
	static const char *const types[] = {"streams", "matrix", "vector", "scalar"};

	buf_printf(out, "{\"status\":\"success\",\"data\":{\"resultType\":\"%s\",\"result\":",
		types[res->type]);
	if (res->type == RESULT_SCALAR) {
		write_sample(out, &res->series[0].samples[0]);
	} else {
		buf_char(out, '[');
		if (res->type == RESULT_STREAMS)
			write_streams(out, res, flags);
		else
			write_series(out, res);
		buf_char(out, ']');
	}
	if (flags & ANSWER_CATEGORIZE && res->type == RESULT_STREAMS)
		buf_c(out, ",\"encodingFlags\":[\"categorize-labels\"]");
	buf_printf(out, ",\"sawlog\":{\"last_seq\":%" PRIu64,
		p->until_seq ? p->until_seq : res->last_seq);
	if (*next_cursor)
		buf_printf(out, ",\"next\":\"%s\"", next_cursor);
	if (flags & ANSWER_PEERS)
		buf_c(out, ",\"peers\":true");
	write_sentences(out, "explain", res->explained, res->n_explained);
	buf_c(out, "},");
	write_stats(out, res);
	buf_char(out, '}');
	api_write_warnings(out, res);
	buf_c(out, "}\n");
}
