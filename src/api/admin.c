/* SPDX-License-Identifier: Apache-2.0 */
/* Health, metrics, reload, version. */
#include "api/internal.h"

#include "alert/alerts.h"
#include "base/metric.h"
#include "output/outputs.h"
#include "store/retain.h"

static int health(struct api *a, struct error *e)
{
	if (atomic_load(&a->draining))
		return error_set(e, ERR_CLOSED, "stopping");
	return store_healthy(a->o.store, e);
}

void admin_ready(struct http_request *r, void *ctx)
{
	struct api *a = ctx;
	struct error e;

	if (!atomic_load(&a->ready))
		http_reply(r, 503, NULL, STR("starting: the inputs do not run yet\n"));
	else if (health(a, &e) < 0)
		http_replyf(r, 503, "%s\n", e.text);
	else
		http_reply(r, 200, NULL, STR("ready\n"));
}

/* Loggregator's own answer, for who asks for it: "Accept: text/plain". */
static bool wants_word(struct http_request *r)
{
	struct str accept;

	return http_header(r, "Accept", &accept) && str_find(accept, STR("text/plain")) >= 0 &&
	       str_find(accept, STR("application/json")) < 0;
}

void admin_health(struct http_request *r, void *ctx)
{
	struct api *a = ctx;
	struct buf out = {0};
	struct error e = {0};
	int code = health(a, &e);
	const struct store_recovery *rec = store_recovery(a->o.store);

	if (wants_word(r)) {
		http_reply(
			r, code < 0 ? 503 : 200, "text/plain", code < 0 ? STR("bad") : STR("ok"));
		return;
	}
	buf_printf(&out, "{\"healthy\":%s,\"reason\":", code < 0 ? "false" : "true");
	buf_json(&out, str_c(e.text));
	buf_printf(&out, ",\"version\":\"%s\",\"durability\":\"%s\",\"host\":", SAWLOG_VERSION,
		a->o.durability);
	buf_json(&out, str_c(a->o.host));
	buf_printf(&out,
		",\"sequence\":%llu,\"recovery\":{\"records\":%llu,\"damaged\":%llu,"
		"\"torn_bytes\":%llu,\"seconds\":%.3f}}\n",
		(unsigned long long)store_last_seq(a->o.store), (unsigned long long)rec->records,
		(unsigned long long)rec->damaged, (unsigned long long)rec->torn_bytes,
		(double)rec->took_ns / 1e9);
	http_reply_buf(r, code < 0 ? 503 : 200, "application/json", &out);
}

static void show_account(const struct account *at, struct buf *labels)
{
	buf_clear(labels);
	metric_label(labels, "account", str_c(at->name));
	metric_set(METRIC_memory_held_bytes, buf_cstr(labels), (int64_t)account_held(at));
	metric_set(METRIC_memory_limit_bytes, buf_cstr(labels), (int64_t)at->limit);
	metric_set(METRIC_memory_refused_total, buf_cstr(labels), (int64_t)at->refused);
}

void admin_metrics(struct http_request *r, void *ctx)
{
	struct api *a = ctx;
	struct buf out = {0};
	struct error e;

	store_metrics(a->o.store);
	if (a->o.outputs)
		outputs_metrics(a->o.outputs);
	if (a->o.alerts)
		alerts_metrics(a->o.alerts);
	if (a->o.notify)
		notify_metrics(a->o.notify);
	if (a->o.metrics)
		a->o.metrics(a->o.metrics_ctx);
	metric_set(METRIC_healthy, "", health(a, &e) == 0);
	show_account(a->o.account, &out);
	show_account(&a->query_account, &out);
	show_account(&a->tail_account, &out);
	show_account(&a->answer_account, &out);
	buf_clear(&out);
	metric_render(&out);
	http_reply_buf(r, 200, "text/plain; version=0.0.4; charset=utf-8", &out);
}

static void reloaded(void *arg, const struct error *e)
{
	struct error bad;

	if (!e) {
		http_reply(arg, 200, NULL, STR("reloaded\n"));
	} else if (e->code == ERR_CLOSED || e->code == ERR_BUSY) {
		api_fail(arg, e);
	} else {
		/* Whatever is wrong with the new configuration: a program that is not there must
		 * not look as if this route were not (404), or the request too large (413). */
		bad = *e;
		bad.code = ERR_ARG;
		api_fail(arg, &bad);
	}
}

void admin_reload(struct http_request *r, void *ctx)
{
	struct api *a = ctx;

	a->o.reload(a->o.reload_ctx, reloaded, r);
}

static int flush(struct job *j, struct error *e)
{
	j->content_type = "text/plain";
	buf_c(&j->body, "flushed\n");
	return store_flush(j->api->o.store, e);
}

void admin_flush(struct http_request *r, void *ctx)
{
	api_job(ctx, r, STR_NONE, flush);
}

static int settle(struct job *j, struct error *e)
{
	j->content_type = "text/plain";
	buf_c(&j->body, "settled\n");
	return store_settle(j->api->o.store, e);
}

void admin_settle(struct http_request *r, void *ctx)
{
	api_job(ctx, r, STR_NONE, settle);
}

void loki_buildinfo(struct http_request *r, void *ctx)
{
	/* Grafana reads `version` to choose features: it is that of the API we speak. */
	http_reply(r, 200, "application/json; charset=UTF-8",
		STR("{\"version\":\"" API_VERSION "\",\"revision\":\"sawlog-" SAWLOG_VERSION
		    "\",\"branch\":\"\","
		    "\"buildUser\":\"\",\"buildDate\":\"\",\"goVersion\":\"\"}\n"));
}
