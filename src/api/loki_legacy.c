/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/prom/query, the oldest of Loki's query endpoints, for clients that still
 * ask there: labels come as text and times as RFC 3339.  The other endpoints
 * under that name share the handlers of the newer ones.  Source: Loki's HTTP API
 * documentation, its deprecated endpoints.
 */
#include "api/internal.h"

#include <stdlib.h>

#include "base/map.h"
#include "query/quote.h"
#include "record/time.h"

enum { DEFAULT_LIMIT = 100 };

/* Labels, metadata and parsed ones as one text; a later kind wins. */
static void labels_of(const struct query_entry *en, struct labels_builder *b, struct buf *out)
{
	const struct str sets[] = {en->labels, en->meta, en->parsed};
	struct buf canonical = {0};
	struct label l;

	labels_builder_clear(b);
	b->names_free = true;
	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
		struct str at = sets[i];
		if (at.n == 0)
			continue;
		for (labels_start(&at); labels_next(&at, &l);)
			labels_builder_set(b, l.name, l.value, NULL);
	}
	labels_builder_write(b, &canonical);
	buf_clear(out);
	labels_text(out, buf_view(&canonical));
	buf_fini(&canonical);
}

static void write_entry(struct buf *out, const struct query_entry *en)
{
	buf_c(out, "{\"ts\":\"");
	time_format(out, en->timestamp);
	buf_c(out, "\",\"line\":");
	buf_json(out, en->line);
	buf_char(out, '}');
}

struct group {
	size_t first, last;
};

static void write_groups(struct buf *out, const struct query_result *res,
	const struct group *groups, size_t n, const size_t *next)
{
	struct labels_builder b = {0};
	struct buf text = {0};

	for (size_t g = 0; g < n; g++) {
		labels_of(&res->entries[groups[g].first], &b, &text);
		buf_c(out, g ? ",{\"labels\":" : "{\"labels\":");
		buf_json(out, buf_view(&text));
		buf_c(out, ",\"entries\":[");
		for (size_t i = groups[g].first;; i = next[i]) {
			write_entry(out, &res->entries[i]);
			if (i == groups[g].last)
				break;
			buf_char(out, ',');
		}
		buf_c(out, "]}");
	}
	labels_builder_fini(&b);
	buf_fini(&text);
}

static void write_streams(struct buf *out, const struct query_result *res)
{
	size_t *next = xcalloc(res->n_entries + 1, sizeof *next), n = 0;
	struct group *groups = xcalloc(res->n_entries + 1, sizeof *groups);
	struct labels_builder b = {0};
	struct map index = {0};
	struct buf text = {0};

	for (size_t i = 0; i < res->n_entries; i++) {
		union map_value *v;
		bool added;

		labels_of(&res->entries[i], &b, &text);
		v = map_put(&index, buf_view(&text), &added);
		if (added) {
			v->u = n;
			groups[n++] = (struct group){i, i};
		} else {
			next[groups[v->u].last] = i;
			groups[v->u].last = i;
		}
	}
	buf_c(out, "{\"streams\":[");
	write_groups(out, res, groups, n, next);
	buf_char(out, ']');
	api_write_warnings(out, res);
	buf_c(out, "}\n");
	labels_builder_fini(&b);
	map_fini(&index);
	buf_fini(&text);
	free(next);
	free(groups);
}

/* The query, with the filter that stood beside it in those days. */
static int parse(struct job *j, struct query **out, struct error *e)
{
	struct str text = STR_NONE, regexp;
	struct buf whole = {0};
	int r;

	http_param(j->request, "query", &text);
	buf_str(&whole, text);
	if (http_param(j->request, "regexp", &regexp) && regexp.n) {
		buf_c(&whole, " |~ ");
		quote_go(&whole, regexp);
	}
	r = api_query_text(j, buf_view(&whole), out, e);
	buf_fini(&whole);
	if (r == 0 && !query_is_log(*out)) {
		query_free(*out);
		return error_set(e, ERR_ARG,
			"only log queries are supported here: ask /loki/api/v1/query_range");
	}
	return r;
}

static int read_params(struct job *j, struct query_params *p, struct error *e)
{
	struct str s;
	int r;

	api_query_params(j, p);
	if ((r = api_time_range(j->request, clock_now_ns(j->api->o.clock), 3600 * NS_PER_SEC,
		     &p->start_ns, &p->end_ns, e)) < 0 ||
		(r = api_param_u64(j->request, "limit", DEFAULT_LIMIT, &p->limit, e)) < 0)
		return r;
	p->forward = http_param(j->request, "direction", &s) && str_eq_nocase(s, STR("forward"));
	if (p->end_ns < p->start_ns)
		return error_set(
			e, ERR_ARG, "end timestamp must not be before or equal to start time");
	return 0;
}

static int run(struct job *j, struct error *e)
{
	struct query_params p = {0};
	struct query_result res;
	struct query *q;
	struct view *v;
	int r;

	if ((r = read_params(j, &p, e)) < 0 || (r = parse(j, &q, e)) < 0)
		return r;
	v = api_view(j);
	r = view_query(v, q, &p, &res, e);
	api_query_count(r);
	if (r == 0) {
		write_streams(&j->body, &res);
		query_result_fini(&res);
	}
	view_close(v);
	query_free(q);
	return r;
}

void legacy_query(struct http_request *r, void *ctx)
{
	api_read_job(ctx, r, run);
}
