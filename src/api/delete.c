/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loki's deletion API, /loki/api/v1/delete: POST or PUT asks for one, with
 * query, start and end (default: from the beginning, until now) and is answered
 * with 204; GET lists those of the tenant; DELETE takes one back by request_id
 * while it is not being carried out.  Source: Loki's HTTP API documentation.
 *
 * Beyond Loki: the answer to POST has the id in its header X-Sawlog-Request-Id.
 */
#include "api/internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "store/retain.h"

static int ask(struct job *j, struct error *e)
{
	struct deletion d = {.tenant = j->tenant};
	char number[24];
	uint64_t id;
	int r;

	d.to_ns = clock_now_ns(j->api->o.clock);
	if (!http_param(j->request, "query", &d.selector) || d.selector.n == 0)
		return error_set(e, ERR_ARG, "query not set: name what is to be deleted");
	if ((r = api_param_time(j->request, "start", &d.from_ns, e)) < 0 ||
		(r = api_param_time(j->request, "end", &d.to_ns, e)) < 0)
		return r;
	/* Loki's end belongs to it. */
	d.to_ns += d.to_ns < INT64_MAX;
	if ((r = store_delete(j->api->o.store, &d, &id, e)) < 0)
		return r;
	j->status = 204;
	snprintf(number, sizeof number, "%" PRIu64, id);
	http_set_header(j->request, "X-Sawlog-Request-Id", number);
	return 0;
}

struct list_of {
	struct buf *out;
	size_t n;
};

static void add_one(void *ctx, const struct deletion *d)
{
	struct list_of *l = ctx;

	buf_printf(l->out,
		"%s{\"request_id\":\"%" PRIu64 "\",\"start_time\":%.3f,\"end_time\":%.3f,"
		"\"query\":",
		l->n++ > 0 ? "," : "", d->id, (double)d->from_ns / 1e9, (double)d->to_ns / 1e9);
	buf_json(l->out, d->selector);
	buf_printf(l->out, ",\"status\":\"%s\",\"created_at\":%.3f}",
		d->state == DELETION_DONE ? "processed" : "received", (double)d->created_ns / 1e9);
}

static int list(struct job *j, struct error *e)
{
	struct list_of l = {.out = &j->body};

	buf_char(&j->body, '[');
	store_deletions(j->api->o.store, j->tenant, add_one, &l);
	buf_c(&j->body, "]\n");
	return 0;
}

static int cancel(struct job *j, struct error *e)
{
	struct str s;
	uint64_t id;
	int r;

	if (!http_param(j->request, "request_id", &s) || !str_u64(s, &id))
		return error_set(e, ERR_ARG, "request_id not set: name one that GET lists");
	if ((r = store_delete_cancel(j->api->o.store, j->tenant, id, e)) < 0)
		return r == ERR_BUSY ? error_set(e, ERR_ARG,
					       "deletion %" PRIu64
					       " is being carried out or done: it cannot be taken "
					       "back",
					       id)
				     : r;
	j->status = 204;
	return 0;
}

void loki_delete(struct http_request *r, void *ctx)
{
	struct str method = http_method(r), tenant;

	if (api_is_router(ctx, r) || !api_tenant(r, &tenant))
		return;
	if (str_eq(method, STR("DELETE")))
		api_job(ctx, r, tenant, cancel);
	else if (str_eq(method, STR("POST")) || str_eq(method, STR("PUT")))
		api_job(ctx, r, tenant, ask);
	else
		api_job(ctx, r, tenant, list);
}
