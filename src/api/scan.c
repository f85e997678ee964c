/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/v1/scan: what a server asks another one that is its peer.  The answer is
 * of this server's own records, whatever peers it has itself, so that servers
 * which name each other never go round in circles.
 *
 * It has workers of its own: those of queries may all be waiting for a peer,
 * whose queries wait for this server.
 */
#include "api/internal.h"

#include "query/scan_page.h"
#include "query/source_local.h"

/* "STEP.EDGE.EDGE" */
static int read_buckets(struct http_request *r, struct page_request *q, struct error *e)
{
	struct scan_buckets *b = &q->buckets;
	struct str s;

	if (!http_param(r, "buckets", &s) || s.n == 0)
		return q->counts || q->counted
			       ? error_set(e, ERR_ARG, "buckets: must be given with counts")
			       : 0;
	b->known = true;
	if (!str_i64(str_cut(&s, '.'), &b->step_ns) || !str_i64(str_cut(&s, '.'), &b->edges[0]) ||
		!str_i64(s, &b->edges[1]) || b->step_ns < 0)
		return error_set(e, ERR_ARG, "buckets: expected STEP.EDGE.EDGE, whole nanoseconds");
	return 0;
}

static int read_resume(struct http_request *r, struct page_request *q, struct error *e)
{
	struct str s;

	if (!http_param(r, "resume", &s) || s.n == 0)
		return 0;
	q->resume = true;
	if (!str_i64(str_cut(&s, '.'), &q->resume_ns) || !str_u64(s, &q->resume_seq))
		return error_set(e, ERR_ARG, "resume: expected NANOSECONDS.SEQUENCE");
	return 0;
}

enum { GROUPING_MAX = 512 /* labels of one */ };

/* "START.END.STEP" and the labels of the grouping, which are borrowed. */
static int read_aggregate(struct http_request *r, struct page_request *q, struct grouping *g,
	struct str *names, struct error *e)
{
	struct str s;

	if (!http_param(r, "aggregate", &s) || s.n == 0)
		return 0;
	q->grouping = g;
	g->kind = str_eq(s, STR("without")) ? GROUP_WITHOUT : GROUP_BY;
	g->names = names;
	if (g->kind == GROUP_BY && !str_eq(s, STR("by")))
		return error_set(e, ERR_ARG, "aggregate: expected by or without");
	while (http_param_nth(r, "label", g->n, &s)) {
		if (g->n == GROUPING_MAX || (g->n && str_cmp(names[g->n - 1], s) >= 0))
			return error_set(e, ERR_ARG,
				"label: expected at most %d names, sorted and each once",
				GROUPING_MAX);
		names[g->n++] = s;
	}
	if (!http_param(r, "axis", &s) || !str_i64(str_cut(&s, '.'), &q->start_ns) ||
		!str_i64(str_cut(&s, '.'), &q->end_ns) || !str_i64(s, &q->step_ns) ||
		q->step_ns < 0)
		return error_set(e, ERR_ARG, "axis: expected START.END.STEP, whole nanoseconds");
	return 0;
}

static int read_bound(struct http_request *r, const char *name, int64_t *out, struct error *e)
{
	struct str s;

	if (http_param(r, name, &s) && str_i64(s, out))
		return 0;
	return error_set(e, ERR_ARG, "%s: must be given, in nanoseconds since 1970", name);
}

static int read_request(
	struct http_request *r, struct page_request *q, struct str *ids, struct error *e)
{
	int code;

	http_param(r, "query", &q->query);
	q->strict = api_param_bool(r, "strict", false);
	q->forward = api_param_bool(r, "forward", false);
	q->streams = api_param_bool(r, "streams", false);
	q->columns = (api_param_bool(r, "body", false) ? SCAN_BODY : 0u) |
		     (api_param_bool(r, "metadata", false) ? SCAN_META : 0u) |
		     (api_param_bool(r, "templates", false) ? SCAN_TEMPLATE : 0u);
	q->counts = api_param_bool(r, "counts", false);
	q->counted = api_param_bool(r, "counted", false);
	q->packed = api_param_bool(r, "packed", false);
	if ((code = read_bound(r, "from", &q->from_ns, e)) < 0 ||
		(code = read_bound(r, "to", &q->to_ns, e)) < 0 ||
		(code = read_buckets(r, q, e)) < 0 || (code = read_resume(r, q, e)) < 0 ||
		(code = api_param_u64(r, "after_seq", 0, &q->after_seq, e)) < 0 ||
		(code = api_param_u64(r, "until_seq", 0, &q->until_seq, e)) < 0 ||
		(code = api_param_u64(r, "rows", 0, &q->rows, e)) < 0 ||
		(code = api_param_u64(r, "bytes", 0, &q->bytes, e)) < 0)
		return code;
	q->ids = ids;
	while (q->n_ids < PAGE_IDS_MAX && http_param_nth(r, "message_id", q->n_ids, &ids[q->n_ids]))
		q->n_ids++;
	return 0;
}

static int run_scan(struct job *j, struct error *e)
{
	struct api *a = j->api;
	struct str ids[PAGE_IDS_MAX], names[GROUPING_MAX];
	struct grouping grouping = {0};
	struct query_params p = {0};
	struct page_request q = {0};
	struct source_local own;
	struct snapshot *sn;
	int r = read_request(j->request, &q, ids, e);

	if (r < 0 || (r = read_aggregate(j->request, &q, &grouping, names, e)) < 0)
		return r;
	api_query_params(j, &p);
	sn = snapshot_take(a->o.store);
	if (q.forward || q.counts || q.grouping || q.rows > PAGE_ROWS_MAX / 4)
		snapshot_let_head_go(sn);
	else
		snapshot_let_head_go_once_read(sn);
	r = scan_page(source_local_init(&own, sn), &q, &p, a->o.instance ? a->o.instance : "",
		&j->body, e);
	snapshot_free(sn);
	j->content_type = "application/x-sawlog-scan";
	return r;
}

void scan_answer(struct http_request *r, void *ctx)
{
	struct api *a = ctx;
	struct str tenant;

	if (api_tenants(r, &tenant))
		api_job_on(a, a->scans, r, tenant, run_scan);
}
