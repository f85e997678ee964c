/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What there is, in numbers: Loki's index/stats, index/volume and
 * index/volume_range.  Source: Loki's HTTP API documentation.
 *
 * There are no chunks here: "chunks" counts the blocks and batches in which
 * something was found.  All figures are exact, of the records in [start, end)
 * and of their lines' bytes.
 */
#include "api/internal.h"

#include <inttypes.h>

#include "query/source.h"

enum { DEFAULT_VOLUMES = 100 };

static int run_volume(struct job *j, const struct volume_params *p, struct volume_totals *totals,
	struct query_result *out, struct error *e)
{
	struct query *q;
	struct view *v;
	int r;

	if ((r = api_query_parse(j, "query", &q, e)) < 0)
		return r;
	v = api_view(j);
	snapshot_let_head_go(view_snapshot(v));
	r = source_volume(view_source(v), q, p, totals, out, e);
	api_query_count(r);
	view_close(v);
	query_free(q);
	return r;
}

static int run_stats(struct job *j, struct error *e)
{
	struct volume_params p = {.by = VOLUME_TOTAL};
	struct volume_totals t;
	struct query_result res;
	int r;

	if ((r = api_window(j, &p.query, e)) < 0 || (r = run_volume(j, &p, &t, &res, e)) < 0)
		return r;
	buf_printf(&j->body,
		"{\"streams\":%" PRIu64 ",\"chunks\":%" PRIu64 ",\"entries\":%" PRIu64
		",\"bytes\":%" PRIu64,
		t.streams, t.units, t.rows, t.bytes);
	api_write_warnings(&j->body, &res);
	buf_c(&j->body, "}\n");
	query_result_fini(&res);
	return 0;
}

/* "team,job" */
static int read_names(struct job *j, struct str *names, struct volume_params *p, struct error *e)
{
	struct str list, name;

	p->names = names;
	if (!http_param(j->request, "targetLabels", &list))
		return 0;
	while (list.n) {
		if ((name = str_trim(str_cut(&list, ','))).n == 0)
			continue;
		if (!label_name_valid(name))
			return error_set(e, ERR_ARG, "targetLabels: \"%.*s\" is no name of a label",
				STR_ARG(str_sub(name, 0, 100)));
		if (p->n_names == VOLUME_NAMES_MAX)
			return error_set(
				e, ERR_ARG, "targetLabels: at most %d labels", VOLUME_NAMES_MAX);
		names[p->n_names++] = name;
	}
	return 0;
}

static int answer_volume(struct job *j, bool range, struct error *e)
{
	struct str names[VOLUME_NAMES_MAX], by;
	struct volume_params p = {.by = VOLUME_SERIES};
	struct volume_totals t;
	struct query_result res;
	int r;

	if ((r = api_window(j, &p.query, e)) < 0 || (r = read_names(j, names, &p, e)) < 0 ||
		(r = api_param_u64(j->request, "limit", DEFAULT_VOLUMES, &p.query.limit, e)) < 0 ||
		(range && (r = api_step(j->request, &p.query, e)) < 0))
		return r;
	if (http_param(j->request, "aggregateBy", &by) && str_eq(by, STR("labels")))
		p.by = VOLUME_NAMES;
	if ((r = run_volume(j, &p, &t, &res, e)) < 0)
		return r;
	api_write_result(&j->body, &res, &p.query, 0, "");
	query_result_fini(&res);
	return 0;
}

static int run_vector(struct job *j, struct error *e)
{
	return answer_volume(j, false, e);
}

static int run_matrix(struct job *j, struct error *e)
{
	return answer_volume(j, true, e);
}

void loki_index_stats(struct http_request *r, void *ctx)
{
	api_read_job(ctx, r, run_stats);
}

void loki_volume(struct http_request *r, void *ctx)
{
	api_read_job(ctx, r, run_vector);
}

void loki_volume_range(struct http_request *r, void *ctx)
{
	api_read_job(ctx, r, run_matrix);
}
