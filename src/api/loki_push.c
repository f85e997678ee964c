/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /loki/api/v1/push: 204 once every good entry is synced.  Entries that
 * are refused cost themselves alone; as with Loki the answer is then 400 with
 * the sentence of the first, and the good ones are kept all the same.
 */
#include "api/internal.h"

#include <stdlib.h>

#include "base/metric.h"
#include "proto/lokipush.h"

struct loki_push {
	struct push_report report;
};

static uint64_t refused_entries(const struct push_report *p)
{
	return p->n_bad_labels + p->n_bad_timestamp + p->n_bad_entry + p->n_over_limit;
}

static void answer_push(struct http_request *r, const struct sink_result *result, void *arg)
{
	struct loki_push *push = arg;
	uint64_t n_refused = refused_entries(&push->report);

	if (result->code < 0)
		api_fail(r, &result->error);
	else if (n_refused)
		http_replyf(r, 400,
			"%llu of %llu entries refused, the others are stored; the first: %s\n",
			(unsigned long long)n_refused,
			(unsigned long long)(n_refused + push->report.n_accepted),
			push->report.first.text);
	else
		http_reply(r, 204, NULL, STR_NONE);
	free(push);
}

static void count_refused(struct api *a, struct str tenant, const struct push_report *p)
{
	api_reject(a, tenant, "loki", "bad_labels", p->n_bad_labels);
	api_reject(a, tenant, "loki", "bad_timestamp", p->n_bad_timestamp);
	api_reject(a, tenant, "loki", "bad_entry", p->n_bad_entry);
	api_reject(a, tenant, "loki", "over_limit", p->n_over_limit);
}

/* Protobuf bodies need a decoder of their own: say so instead of "bad JSON". */
static bool is_json(struct http_request *r)
{
	struct str type;

	return !http_header(r, "Content-Type", &type) || str_find(type, STR("protobuf")) < 0;
}

void loki_push(struct http_request *r, void *ctx)
{
	struct api *a = ctx;
	struct push_options o = {.discover = api_discover(a),
		.observed_ns = clock_now_ns(a->o.clock),
		.max_line = a->o.max_line};
	struct sink_result nothing = {0};
	struct json_parser *parser;
	struct batch_builder *builder;
	struct loki_push *push;
	struct room room;
	struct str tenant, body;
	const char *why;
	struct error e;

	if (!api_tenant(r, &tenant))
		return;
	if (!is_json(r)) {
		api_reject(a, tenant, "loki", "unsupported", 1);
		http_replyf(r, 415,
			"snappy-compressed protobuf is not supported yet: send JSON "
			"(Content-Type: application/json)\n");
		return;
	}
	if (!api_body(a, r, &room, &body, &why)) {
		api_reject(a, tenant, "loki", why, 1);
		return;
	}
	parser = json_parser_new_charged(a->o.account);
	builder = batch_builder_new(tenant, STR("loki"), o.observed_ns);
	push = xcalloc(1, sizeof *push);
	if (lokipush_json(parser, body, &o, builder, &push->report, &e) < 0) {
		api_reject(a, tenant, "loki", error_name(e.code), 1);
		api_fail(r, &e);
		free(push);
	} else {
		count_refused(a, tenant, &push->report);
		if (push->report.n_cut)
			metric_add(METRIC_cut_records_total, "input=\"loki\"",
				(int64_t)push->report.n_cut);
		if (batch_builder_count(builder) == 0)
			answer_push(r, &nothing, push);
		else
			api_submit(a, r, batch_builder_finish(builder, 0), answer_push, push);
	}
	batch_builder_free(builder);
	json_parser_free(parser);
	room_fini(&room);
}
