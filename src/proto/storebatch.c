/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two passes over the token array: the first refuses, the second adds, so that
 * a body is taken whole or not at all.  Lines of the same file mostly follow
 * each other; stream and source are looked up when host or file change.
 */
#include "proto/storebatch.h"

#include "record/time.h"

enum { MAX_LINE = 256 << 10 };

/* Line numbers stay exact in JSON readers that know only doubles. */
static const uint64_t line_num_max = (uint64_t)1 << 53;

struct line {
	struct str host, file, content;
	uint64_t number;
};

void storebatch_source(struct buf *out, struct str host, struct str file)
{
	buf_c(out, "batch:");
	for (size_t i = 0; i < host.n; i++) {
		if (host.p[i] == '%')
			buf_c(out, "%25");
		else if (host.p[i] == ':')
			buf_c(out, "%3A");
		else
			buf_char(out, host.p[i]);
	}
	buf_char(out, ':');
	buf_str(out, file);
}

/* ---- first pass ---- */

/* A value as it may stand in a sentence. */
static const char *show(const struct json *doc, size_t at, char out[48])
{
	static const char *const kinds[] = {
		"null", "false", "true", NULL, NULL, "a list", "an object"};
	const struct json_node *n = &doc->nodes[at];

	if (at == 0)
		return "nothing";
	if (kinds[n->type])
		return kinds[n->type];
	str_copy(str_sub(n->text, 0, 40), out, 48);
	for (char *p = out; *p; p++)
		if ((*p >= 0 && *p < 0x20) || *p == 0x7f)
			*p = '?';
	return out;
}

static int read_text(const struct json *doc, size_t item, const char *key, bool may_be_empty,
	struct str *out, struct error *e)
{
	size_t at = json_get(doc, item, key);
	char shown[48];

	if (at == 0 || doc->nodes[at].type != JSON_STRING)
		return error_set(
			e, ERR_ARG, ".%s: must be a string, got %s", key, show(doc, at, shown));
	if (!may_be_empty && doc->nodes[at].text.n == 0)
		return error_set(e, ERR_ARG, ".%s: must not be empty", key);
	*out = doc->nodes[at].text;
	return 0;
}

static int read_number(const struct json *doc, size_t item, uint64_t *out, struct error *e)
{
	size_t at = json_get(doc, item, "line-num");
	char shown[48];

	if (at && doc->nodes[at].type == JSON_NUMBER && str_u64(doc->nodes[at].text, out)) {
		if (*out <= line_num_max)
			return 0;
		return error_set(e, ERR_ARG, ".line-num: must be at most %llu, got %llu",
			(unsigned long long)line_num_max, (unsigned long long)*out);
	}
	return error_set(e, ERR_ARG, ".line-num: must be a whole number from 0 on, got \"%s\"",
		show(doc, at, shown));
}

static int read_line(const struct json *doc, size_t item, struct line *l, struct error *e)
{
	int r;

	if (doc->nodes[item].type != JSON_OBJECT)
		return error_set(e, ERR_ARG, ": must be an object");
	if ((r = read_text(doc, item, "host", false, &l->host, e)) < 0 ||
		(r = read_text(doc, item, "file", false, &l->file, e)) < 0 ||
		(r = read_number(doc, item, &l->number, e)) < 0)
		return r;
	return read_text(doc, item, "content", true, &l->content, e);
}

static int check_line(const struct line *l, size_t max_line, struct error *e)
{
	struct buf id = {0};
	size_t n;

	if (l->content.n > max_line)
		return error_set(e, ERR_LIMIT, ".content: %zu bytes, at most %zu are taken",
			l->content.n, max_line);
	n = l->host.n + l->file.n;
	if (n <= SOURCE_ID_MAX) {
		storebatch_source(&id, l->host, l->file);
		n = id.n;
		buf_fini(&id);
	}
	if (n > SOURCE_ID_MAX)
		return error_set(e, ERR_LIMIT,
			": host and file together have %zu bytes, at most %d are taken", n,
			SOURCE_ID_MAX);
	return 0;
}

/* What the batch may grow by for a line whose file is not the one before, at most: a row each for
 * stream and source, the source's id, and host and file in up to four labels. */
static size_t cost_of(const struct line *l, bool same_file)
{
	return 64 + l->content.n + (same_file ? 0 : 256 + 6 * (l->host.n + l->file.n));
}

static int check_all(const struct json *doc, size_t list, const struct push_options *o,
	struct batch_builder *into, struct error *e)
{
	size_t bytes = batch_builder_bytes(into), i = 0, max = o->max_line ? o->max_line : MAX_LINE;
	struct line l, last = {0};
	int r;

	for (size_t at = json_first(doc, list); at < json_end(doc, list);
		at = json_next(doc, at), i++) {
		struct error why;
		bool same;
		if (i == STOREBATCH_LINES_MAX)
			return error_set(e, ERR_LIMIT, "batch: more than %d lines in one request",
				STOREBATCH_LINES_MAX);
		if ((r = read_line(doc, at, &l, &why)) < 0)
			return error_set(e, r, "batch[%zu]%s", i, why.text);
		same = str_eq(l.host, last.host) && str_eq(l.file, last.file);
		if (!same || l.content.n > max) {
			if ((r = check_line(&l, max, &why)) < 0)
				return error_set(e, r, "batch[%zu]%s", i, why.text);
		}
		bytes += cost_of(&l, same);
		if (bytes > BATCH_BYTES_MAX)
			return error_set(e, ERR_LIMIT, "batch: more than %d bytes in one request",
				BATCH_BYTES_MAX);
		last = l;
	}
	return 0;
}

/* ---- second pass ---- */

/* "/var/log/app.log" -> "app"; "/var/log/.hidden" stays ".hidden". */
static struct str app_of(struct str file)
{
	size_t start = file.n, end = file.n;

	while (start > 0 && file.p[start - 1] != '/')
		start--;
	for (size_t i = file.n; i > start + 1; i--) {
		if (file.p[i - 1] == '.') {
			end = i - 1;
			break;
		}
	}
	return str_sub(file, start, end);
}

struct target {
	struct batch_builder *into;
	const struct push_options *o;
	struct labels_builder labels;
	struct buf stream, source_id;
	uint32_t stream_i;
	uint16_t source_i;
};

/* Stream and source of a line's file. */
static int enter_file(struct target *t, const struct line *l, struct error *e)
{
	int r;

	labels_builder_clear(&t->labels);
	if ((r = labels_builder_set(&t->labels, STR("host"), l->host, e)) < 0 ||
		(r = labels_builder_set(&t->labels, STR("file"), l->file, e)) < 0 ||
		(r = labels_builder_set(&t->labels, STR("app"), app_of(l->file), e)) < 0 ||
		(r = labels_builder_set(&t->labels, STR("input"), STR("batch"), e)) < 0)
		return r;
	discover_service_name(&t->o->discover, &t->labels);
	buf_clear(&t->stream);
	labels_builder_write(&t->labels, &t->stream);
	buf_clear(&t->source_id);
	storebatch_source(&t->source_id, l->host, l->file);
	t->stream_i = batch_builder_stream(t->into, buf_view(&t->stream));
	t->source_i = batch_builder_source(t->into,
		&(struct batch_source){.id = buf_view(&t->source_id), .kind = POSITION_SET});
	if (t->source_i == 0)
		return error_set(e, ERR_LIMIT, "batch: more than %d files", BATCH_SOURCES_MAX);
	return 0;
}

static int add_line(struct target *t, const struct line *l, int zone_seconds, struct error *e)
{
	struct record r = {.timestamp = t->o->observed_ns,
		.body = l->content,
		.position = l->number,
		.stream = t->stream_i,
		.source = t->source_i};

	if (!time_detect(l->content, t->o->observed_ns, zone_seconds, &r.timestamp))
		r.flags = RECORD_TIME_OBSERVED;
	discover_level(&t->o->discover, buf_view(&t->stream), &r);
	return batch_builder_add(t->into, &r, e);
}

static int add_all(struct target *t, const struct json *doc, size_t list, struct error *e)
{
	int zone_seconds = time_local_zone(t->o->observed_ns), r;
	struct line l, last = {0};

	for (size_t at = json_first(doc, list); at < json_end(doc, list); at = json_next(doc, at)) {
		if ((r = read_line(doc, at, &l, e)) < 0)
			return r;
		if (!(str_eq(l.host, last.host) && str_eq(l.file, last.file)) &&
			(r = enter_file(t, &l, e)) < 0)
			return r;
		last = l;
		if ((r = add_line(t, &l, zone_seconds, e)) < 0)
			return r;
	}
	return 0;
}

int storebatch_json(struct json_parser *parser, struct str body, const struct push_options *o,
	struct batch_builder *into, struct error *e)
{
	struct target t = {.into = into, .o = o};
	struct json doc;
	size_t list;
	int r;

	if ((r = json_parse(parser, body, &doc, e)) < 0)
		return r;
	list = json_get(&doc, 0, "batch");
	if (list == 0 || doc.nodes[list].type != JSON_ARRAY)
		return error_set(e, ERR_ARG, "a batch must be an object with a list \"batch\"");
	if ((r = check_all(&doc, list, o, into, e)) < 0)
		return r;
	r = add_all(&t, &doc, list, e);
	labels_builder_fini(&t.labels);
	buf_fini(&t.stream);
	buf_fini(&t.source_id);
	return r;
}
