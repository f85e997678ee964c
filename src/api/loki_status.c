/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients ask about the server itself: limits and features, its
 * configuration, its services, and how much it tells.  Sources: Loki's HTTP API
 * documentation; Grafana's Logs Drilldown for the names of the limits it reads.
 */
#include "api/internal.h"

#include <inttypes.h>

#include "base/duration.h"
#include "base/log.h"
#include "store/retain.h"

enum {
	/* `limit` has no bound here but the memory of a query; a client that offers a choice needs
	 * a number. */
	ENTRIES_SHOWN = 100000,
};

/* A limit as both answers write it. */
struct limits_out {
	struct buf *out;
	bool json;
	size_t n;
};

static void put_name(struct limits_out *l, const char *name)
{
	if (l->json)
		buf_printf(l->out, "%s\"%s\":", l->n++ ? "," : "", name);
	else
		buf_printf(l->out, "%s: ", name);
}

static void put_end(struct limits_out *l)
{
	if (!l->json)
		buf_char(l->out, '\n');
}

static void put_u64(struct limits_out *l, const char *name, uint64_t v)
{
	put_name(l, name);
	buf_u64(l->out, v);
	put_end(l);
}

static void put_bool(struct limits_out *l, const char *name, bool v)
{
	put_name(l, name);
	buf_c(l->out, v ? "true" : "false");
	put_end(l);
}

static void put_duration(struct limits_out *l, const char *name, int64_t ns)
{
	put_name(l, name);
	buf_c(l->out, l->json ? "\"" : "");
	duration_format(l->out, ns);
	buf_c(l->out, l->json ? "\"" : "");
	put_end(l);
}

static void put_limits(struct api *a, struct limits_out *l)
{
	struct discover d = api_discover(a);

	put_bool(l, "allow_structured_metadata", true);
	put_bool(l, "discover_log_levels", d.level);
	put_name(l, "discover_service_name");
	buf_c(l->out, d.service_name ? "[\"service_name\"]" : "[]");
	put_end(l);
	put_u64(l, "max_entries_limit_per_query", ENTRIES_SHOWN);
	put_u64(l, "max_line_size", a->o.max_line);
	put_bool(l, "max_line_size_truncate", true);
	put_duration(l, "max_query_length", 0);
	put_duration(l, "max_query_lookback", 0);
	put_duration(l, "max_query_range", 0);
	put_u64(l, "max_query_series", API_SERIES_MAX);
	put_bool(l, "metric_aggregation_enabled", false);
	put_bool(l, "pattern_persistence_enabled", true);
	put_duration(l, "query_timeout", a->o.query_timeout_ns);
	put_bool(l, "reject_old_samples", false);
	put_bool(l, "volume_enabled", true);
	put_u64(l, "volume_max_series", API_SERIES_MAX);
}

void loki_drilldown_limits(struct http_request *r, void *ctx)
{
	struct buf out = {0};
	struct limits_out l = {.out = &out, .json = true};
	struct str tenant;

	if (!api_tenant(r, &tenant))
		return;
	buf_c(&out, "{\"limits\":{");
	put_limits(ctx, &l);
	buf_c(&out, "},\"pattern_ingester_enabled\":true,\"version\":\"" API_VERSION "\"}\n");
	http_reply_buf(r, 200, "application/json; charset=UTF-8", &out);
}

void loki_tenant_limits(struct http_request *r, void *ctx)
{
	struct buf out = {0};
	struct limits_out l = {.out = &out};
	struct str tenant;

	if (!api_tenant(r, &tenant))
		return;
	put_limits(ctx, &l);
	http_reply_buf(r, 200, "application/yaml", &out);
}

void loki_config(struct http_request *r, void *ctx)
{
	struct api *a = ctx;
	struct buf out = {0};

	lock_take(&a->lock);
	buf_str(&out, buf_view(&a->config));
	lock_drop(&a->lock);
	http_reply_buf(r, 200, "application/yaml", &out);
}

void loki_services(struct http_request *r, void *ctx)
{
	struct api *a = ctx;
	const char *state = atomic_load(&a->draining) ? "Stopping"
			    : atomic_load(&a->ready)  ? "Running"
						      : "Starting";
	struct error e;

	http_replyf(r, 200, "server => %s\nstore => %s\n", state,
		store_healthy(a->o.store, &e) < 0 ? "Failed" : state);
}

static const char *const levels[] = {
	[LOG_ERROR] = "error",
	[LOG_WARN] = "warn",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

void loki_log_level(struct http_request *r, void *ctx)
{
	struct buf out = {0};

	buf_printf(&out, "{\"message\":\"Current log level is %s\"}\n", levels[log_get_level()]);
	http_reply_buf(r, 200, "application/json; charset=UTF-8", &out);
}

void loki_set_log_level(struct http_request *r, void *ctx)
{
	struct buf out = {0};
	struct str word = STR_NONE;

	http_param(r, "log_level", &word);
	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
		if (!str_eq_c(word, levels[i]))
			continue;
		log_set_level((enum log_level)i);
		log_info("serve", "the log level is %s now, as %s asked", levels[i], http_peer(r));
		buf_printf(&out, "{\"message\":\"Log level set to %s\",\"status\":\"success\"}\n",
			levels[i]);
		http_reply_buf(r, 200, "application/json; charset=UTF-8", &out);
		return;
	}
	http_replyf(r, 400, "log_level: must be debug, info, warn or error, got \"%.*s\"\n",
		STR_ARG(str_sub(word, 0, 100)));
}
