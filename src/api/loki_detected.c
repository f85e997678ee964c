/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Grafana's Logs Drilldown and logcli offer to choose from: detected
 * labels with how many values each has, and the fields of a sample of lines.
 * Sources: Loki's HTTP API documentation, and the sentences of Grafana's about
 * what its clients read.
 */
#include "api/internal.h"

#include <stdlib.h>

#include "base/map.h"
#include "query/detected.h"
#include "query/source.h"

enum { DEFAULT_FIELDS = 1000, DEFAULT_LINES = 100 };

/* --- labels --------------------------------------------------------------------------- */

struct label_count {
	struct map values; /* name, NUL, value */
	struct map names;  /* how many values */
	struct buf key;
	struct buf warnings; /* as they stand behind the answer */
	struct account *account;
	uint64_t charged;
	bool full;
};

static void count_labels(void *ctx, struct str labels)
{
	struct label_count *c = ctx;
	struct label l;

	labels_start(&labels);
	while (!c->full && labels_next(&labels, &l)) {
		bool added;

		buf_clear(&c->key);
		buf_str(&c->key, l.name);
		buf_char(&c->key, 0);
		buf_str(&c->key, l.value);
		if (map_get(&c->values, buf_view(&c->key)))
			continue;
		if (account_charge(c->account, 2 * c->key.n + 200) < 0) {
			c->full = true;
			return;
		}
		c->charged += 2 * c->key.n + 200;
		map_put(&c->values, buf_view(&c->key), &added);
		map_put(&c->names, l.name, NULL)->u++;
	}
}

static int by_text(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void write_labels(struct buf *out, const struct map *names, struct str warnings)
{
	struct str *all = xcalloc(names->n + 1, sizeof *all);
	const struct map_slot *slot;
	size_t n = 0, at = 0;

	while ((slot = map_next(names, &at)))
		all[n++] = slot->key;
	qsort(all, n, sizeof *all, by_text);
	buf_c(out, "{\"detectedLabels\":[");
	for (size_t i = 0; i < n; i++) {
		buf_c(out, i ? ",{\"label\":" : "{\"label\":");
		buf_json(out, all[i]);
		buf_c(out, ",\"cardinality\":");
		buf_u64(out, map_get(names, all[i])->u);
		buf_char(out, '}');
	}
	buf_char(out, ']');
	buf_str(out, warnings);
	buf_c(out, "}\n");
	free(all);
}

static int find_labels(struct job *j, const struct query_params *p, struct query *q,
	struct label_count *c, struct error *e)
{
	struct selectors match = {.queries = &q, .n = q ? 1 : 0, .account = &j->api->query_account};
	struct view *v;
	int r;

	if (q && !query_is_selector(q))
		return error_set(e, ERR_ARG, "only label matchers are supported");
	v = api_view(j);
	r = source_series(
		view_source(v), p->tenant, p->start_ns, p->end_ns, &match, count_labels, c, e);
	api_write_view_warnings(&c->warnings, v);
	view_close(v);
	if (r == 0 && c->full)
		r = error_set(e, ERR_LIMIT,
			"the values of all labels do not fit in the memory: narrow the time range or "
			"the selector");
	return r;
}

static int run_labels(struct job *j, struct error *e)
{
	struct label_count c = {.account = &j->api->query_account};
	struct query_params p = {0};
	struct query *q = NULL;
	struct str text;
	int r;

	if ((r = api_window(j, &p, e)) < 0)
		return r;
	if (http_param(j->request, "query", &text) && text.n)
		r = query_parse(&q, text, e);
	if (r == 0 && (r = find_labels(j, &p, q, &c, e)) == 0)
		write_labels(&j->body, &c.names, buf_view(&c.warnings));
	query_free(q);
	map_fini(&c.values);
	map_fini(&c.names);
	buf_fini(&c.key);
	buf_fini(&c.warnings);
	account_release(c.account, c.charged);
	return r;
}

/* --- fields --------------------------------------------------------------------------- */

/* `limit` is how many are answered: of fields, under either name, or of values. */
static int detect(struct job *j, uint64_t *limit, struct detected_fields *out, struct error *e)
{
	struct query_params p = {0};
	struct query *q;
	struct view *v;
	int r;

	if ((r = api_window(j, &p, e)) < 0 ||
		(r = api_param_u64(j->request, "field_limit", DEFAULT_FIELDS, limit, e)) < 0 ||
		(r = api_param_u64(j->request, "limit", *limit, limit, e)) < 0 ||
		(r = api_param_u64(j->request, "line_limit", DEFAULT_LINES, &p.limit, e)) < 0 ||
		(r = api_query_parse(j, "query", &q, e)) < 0)
		return r;
	v = api_view(j);
	snapshot_let_head_go_once_read(view_snapshot(v));
	r = source_detected_fields(view_source(v), q, &p, out, e);
	api_query_count(r);
	view_close(v);
	query_free(q);
	return r;
}

static void write_texts(struct buf *out, const struct str *list, size_t n)
{
	buf_char(out, '[');
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_char(out, ',');
		buf_json(out, list[i]);
	}
	buf_char(out, ']');
}

static void write_field(struct buf *out, const struct detected_field *f)
{
	static const struct str names[] = {STR_INIT("json"), STR_INIT("logfmt")};

	buf_c(out, "{\"label\":");
	buf_json(out, f->name);
	buf_printf(out,
		",\"type\":\"%s\",\"cardinality\":%zu,\"parsers\":", detected_type_name(f->type),
		f->cardinality);
	if (f->json || f->logfmt)
		write_texts(out, names + !f->json, (size_t)f->json + f->logfmt);
	else
		buf_c(out, "null");
	if (f->n_path) {
		buf_c(out, ",\"jsonPath\":");
		write_texts(out, f->path, f->n_path);
	}
	buf_char(out, '}');
}

static int run_fields(struct job *j, struct error *e)
{
	struct detected_fields d;
	uint64_t limit;
	int r;

	if ((r = detect(j, &limit, &d, e)) < 0)
		return r;
	buf_c(&j->body, "{\"fields\":[");
	for (size_t i = 0; i < d.n && i < limit; i++) {
		if (i)
			buf_char(&j->body, ',');
		write_field(&j->body, &d.fields[i]);
	}
	buf_c(&j->body, "],\"limit\":");
	buf_u64(&j->body, limit);
	api_write_warnings(&j->body, &d.sample);
	buf_c(&j->body, "}\n");
	detected_fields_fini(&d);
	return 0;
}

static int run_values(struct job *j, struct error *e)
{
	struct str name = http_segment(j->request, "name");
	const struct detected_field *f = NULL;
	struct detected_fields d;
	uint64_t limit;
	int r;

	if ((r = detect(j, &limit, &d, e)) < 0)
		return r;
	for (size_t i = 0; i < d.n && !f; i++)
		if (str_eq(d.fields[i].name, name))
			f = &d.fields[i];
	buf_c(&j->body, "{\"values\":");
	write_texts(&j->body, f ? f->values : NULL,
		!f                       ? 0
		: f->cardinality < limit ? f->cardinality
					 : limit);
	buf_c(&j->body, ",\"limit\":");
	buf_u64(&j->body, limit);
	api_write_warnings(&j->body, &d.sample);
	buf_c(&j->body, "}\n");
	detected_fields_fini(&d);
	return 0;
}

void loki_detected_labels(struct http_request *r, void *ctx)
{
	api_read_job(ctx, r, run_labels);
}

void loki_detected_fields(struct http_request *r, void *ctx)
{
	api_read_job(ctx, r, run_fields);
}

void loki_detected_values(struct http_request *r, void *ctx)
{
	api_read_job(ctx, r, run_values);
}
