/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live records for Loggregator's clients of all generations:
 *
 *   /tail/?app=ID    /dump/?app=ID     LogMessages: the newest few, then live; the newest alone
 *   /apps/ID/stream                    dropsonde envelopes of an application
 *   /firehose/NAME                     those of all; clients of one name share them
 *   /v2/read                           v2 envelopes as server-sent events
 *
 * What they ask for becomes a LogQL query, and the rest is live.c's.  They
 * follow the order of commits, so late lines are not skipped; a slow reader is
 * waited for, and told what retention took meanwhile.
 */
#include "api/live.h"

#include "api/loggregator_core.h"
#include "query/quote.h"
#include "record/civil.h"

enum {
	TAIL_HISTORY = 20, /* what /tail/ of 2013 began with */
	SOURCES_MAX = 100, /* of /v2/read */
	NAMES_MAX = 100,
	CLOSE_NO_APP = 4000, /* of a WebSocket: no application was named */
};

/* The gateway ends its streams so that clients spread over its instances anew. */
#define STREAM_NS (14 * 60 * NS_PER_SEC)

static bool wants_socket(struct http_request *r)
{
	struct str text;

	return http_header(r, "Upgrade", &text);
}

/* Follow what the query says, which is made here and is well formed. */
static void answer_query(
	struct http_request *r, struct api *a, struct live_options *o, struct buf *query)
{
	struct error e;
	int code = query_parse(&o->query, buf_view(query), &e);

	o->local = api_param_bool(r, "local", false);
	buf_fini(query);
	if (code < 0)
		api_fail(r, &e);
	else if (api_tenant(r, &o->tenant))
		live_answer(r, a, o);
	else
		query_free(o->query);
}

/* --- 2013 ---------------------------------------------------------------------------------- */

static void answer_messages(struct http_request *r, struct api *a, struct str app, bool dump)
{
	struct live_options o = {.form = &live_message,
		.channel = LIVE_WEBSOCKET,
		.app = app,
		.history = dump ? (uint64_t)a->loggregator->recent : TAIL_HISTORY,
		.history_only = dump};
	struct buf query = {0};

	loggregator_query(&query, a->loggregator->app_label, app, KINDS_LOG);
	answer_query(r, a, &o, &query);
}

static struct str app_of(struct http_request *r)
{
	struct str app = STR_NONE;

	http_param(r, "app", &app);
	return app;
}

static void checked_messages(struct http_request *r, struct api *a, enum check_verdict verdict,
	const char *why, bool dump)
{
	if (verdict != CHECK_ALLOWED)
		api_check_refuse(r, verdict, why);
	else if (loggregator_is_head(r))
		http_reply(r, 200, NULL, STR_NONE);
	else
		answer_messages(r, a, app_of(r), dump);
}

static void checked_tail(
	struct http_request *r, struct api *a, enum check_verdict verdict, const char *why)
{
	checked_messages(r, a, verdict, why, false);
}

static void checked_dump(
	struct http_request *r, struct api *a, enum check_verdict verdict, const char *why)
{
	checked_messages(r, a, verdict, why, true);
}

static void ask_messages(struct http_request *r, struct api *a, check_fn *then)
{
	struct str app = app_of(r);

	if (app.n)
		api_check(r, a, app, then);
	else if (wants_socket(r))
		live_refuse(r, a, &live_message, "Error: Invalid target", CLOSE_NO_APP,
			"no application was named: ?app=APP_ID");
	else
		http_reply(r, 400, NULL, STR("Invalid AppId: ask for /tail/?app=APP_ID\n"));
}

void loggregator_tail(struct http_request *r, void *ctx)
{
	ask_messages(r, ctx, checked_tail);
}

void loggregator_dump(struct http_request *r, void *ctx)
{
	ask_messages(r, ctx, checked_dump);
}

/* --- dropsonde ------------------------------------------------------------------------------- */

static void checked_stream(
	struct http_request *r, struct api *a, enum check_verdict verdict, const char *why)
{
	struct str app = http_segment(r, "id");
	struct live_options o = {.form = &live_envelope, .channel = LIVE_WEBSOCKET, .app = app};
	struct buf query = {0};

	if (verdict != CHECK_ALLOWED) {
		api_check_refuse(r, verdict, why);
	} else if (loggregator_is_head(r)) {
		http_reply(r, 200, NULL, STR_NONE);
	} else {
		loggregator_query(&query, a->loggregator->app_label, app, KINDS_ALL);
		answer_query(r, a, &o, &query);
	}
}

void loggregator_stream(struct http_request *r, void *ctx)
{
	api_check(r, ctx, http_segment(r, "id"), checked_stream);
}

/* ?filter-type=, by which doppler sorts envelopes too. */
static unsigned firehose_kinds(struct http_request *r)
{
	struct str type = STR_NONE;

	http_param(r, "filter-type", &type);
	if (str_eq(type, STR("logs")))
		return KINDS_LOG;
	if (str_eq(type, STR("metrics")))
		return 1 << LOGGREGATOR_COUNTER | 1 << LOGGREGATOR_GAUGE;
	return KINDS_ALL;
}

static void checked_firehose(
	struct http_request *r, struct api *a, enum check_verdict verdict, const char *why)
{
	struct live_options o = {
		.form = &live_envelope, .channel = LIVE_WEBSOCKET, .group = http_segment(r, "id")};
	struct buf query = {0};

	if (verdict != CHECK_ALLOWED) {
		api_check_refuse(r, verdict, why);
	} else if (loggregator_is_head(r)) {
		http_reply(r, 200, NULL, STR_NONE);
	} else {
		loggregator_query(&query, a->loggregator->app_label, STR_NONE, firehose_kinds(r));
		answer_query(r, a, &o, &query);
	}
}

void loggregator_firehose(struct http_request *r, void *ctx)
{
	api_check(r, ctx, STR_NONE, checked_firehose);
}

void loggregator_no_app(struct http_request *r, void *ctx)
{
	http_reply(r, 404, NULL, STR("App ID missing. Make request to /apps/APP_ID/stream\n"));
}

void loggregator_no_subscription(struct http_request *r, void *ctx)
{
	http_reply(r, 404, NULL,
		STR("Firehose SUBSCRIPTION_ID missing. Make request to "
		    "/firehose/SUBSCRIPTION_ID\n"));
}

void loggregator_not_found(struct http_request *r, void *ctx)
{
	http_reply(r, 404, NULL, STR("Resource Not Found.\n"));
}

/* --- the gateway ------------------------------------------------------------------------------ */

static void refuse_read(struct http_request *r, int status, const char *error, const char *message)
{
	struct buf body = {0};

	buf_c(&body, "{\"message\":");
	buf_json(&body, str_c(message));
	buf_c(&body, ",\"error\":");
	buf_json(&body, str_c(error));
	buf_c(&body, "}\n");
	http_reply_buf(r, status, "application/json", &body);
}

/* Which kinds it asks for; those of which it names some by `counter.name` or `gauge.name` as well.
 */
static unsigned read_kinds(struct http_request *r)
{
	static const struct {
		const char *param;
		unsigned kinds;
	} all[] = {{"log", KINDS_LOG}, {"counter", 1 << LOGGREGATOR_COUNTER},
		{"counter.name", 1 << LOGGREGATOR_COUNTER}, {"gauge", 1 << LOGGREGATOR_GAUGE},
		{"gauge.name", 1 << LOGGREGATOR_GAUGE}, {"timer", 1 << LOGGREGATOR_TIMER},
		{"event", 1 << LOGGREGATOR_EVENT | 1 << LOGGREGATOR_ERROR}};
	unsigned kinds = 0;
	struct str s;

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (http_param(r, all[i].param, &s))
			kinds |= all[i].kinds;
	return kinds;
}

static bool has_empty(struct http_request *r, const char *param)
{
	struct str s;

	for (size_t i = 0; http_param_nth(r, param, i, &s); i++)
		if (s.n == 0)
			return true;
	return false;
}

/* False when it was refused. */
static bool check_read(struct http_request *r)
{
	struct str s;

	if (!str_eq(http_method(r), STR("GET"))) {
		http_set_header(r, "Allow", "GET");
		refuse_read(r, 405, "method_not_allowed", "method not permitted");
	} else if (http_query(r).n == 0) {
		refuse_read(r, 400, "empty_query", "query cannot be empty");
	} else if (!read_kinds(r)) {
		refuse_read(r, 400, "missing_envelope_type",
			"query must provide at least one envelope type: log, counter, gauge, timer "
			"or event");
	} else if (has_empty(r, "counter.name")) {
		refuse_read(
			r, 400, "missing_counter_name", "counter.name is invalid without value");
	} else if (has_empty(r, "gauge.name")) {
		refuse_read(r, 400, "missing_gauge_name", "gauge.name is invalid without value");
	} else if (http_param_nth(r, "source_id", SOURCES_MAX, &s) ||
		   http_param_nth(r, "counter.name", NAMES_MAX, &s) ||
		   http_param_nth(r, "gauge.name", NAMES_MAX, &s)) {
		refuse_read(r, 400, "too_many_names",
			"at most 100 each of source_id, counter.name and gauge.name");
	} else {
		return true;
	}
	return false;
}

static void put_regex_quoted(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (memchr("\\.+*?()|[]{}^$", s.p[i], 14))
			buf_char(out, '\\');
		buf_char(out, s.p[i]);
	}
}

/* {…,app=~"a|b"}: behind what the selector says already, and before the stages.  It names no
 * application yet, so that the first closing brace ends it. */
static void put_sources(struct buf *out, struct http_request *r, const char *app_label)
{
	struct buf regex = {0}, whole = {0};
	struct str rest = buf_view(out), id;

	for (size_t i = 0; http_param_nth(r, "source_id", i, &id); i++) {
		if (i)
			buf_char(&regex, '|');
		put_regex_quoted(&regex, id);
	}
	if (regex.n) {
		buf_str(&whole, str_cut(&rest, '}'));
		buf_printf(&whole, ",%s=~", app_label);
		quote_go(&whole, buf_view(&regex));
		buf_char(&whole, '}');
		buf_str(&whole, rest);
		buf_fini(out);
		*out = whole;
	}
	buf_fini(&regex);
}

/* A gauge's metrics are in the metadata of its record, by their names with a prefix. */
static void put_gauge_names(struct buf *out, struct str names)
{
	const char *between = "";

	buf_c(out, " or (");
	while (names.n) {
		struct str name = str_cut(&names, ',');

		if (name.n == 0)
			continue;
		buf_printf(out, "%smetric_", between);
		for (size_t i = 0; i < name.n; i++) {
			char c = name.p[i];

			buf_char(out, is_alpha(c) || is_digit(c) ? c : '_');
		}
		buf_c(out, "!=\"\"");
		between = " and ";
	}
	buf_c(out, *between ? ")" : "metric_!=\"\")");
}

static void put_names(struct buf *out, struct http_request *r)
{
	struct str s;

	if (!http_param(r, "counter", &s) && http_param(r, "counter.name", &s)) {
		buf_c(out, " | event!=\"counter\"");
		for (size_t i = 0; http_param_nth(r, "counter.name", i, &s); i++) {
			buf_c(out, " or name=");
			quote_go(out, s);
		}
	}
	if (!http_param(r, "gauge", &s) && http_param(r, "gauge.name", &s)) {
		buf_c(out, " | event!=\"gauge\"");
		for (size_t i = 0; http_param_nth(r, "gauge.name", i, &s); i++)
			put_gauge_names(out, s);
	}
}

/* The one application that it is about; empty: several, or all. */
static struct str only_source(struct http_request *r)
{
	struct str id = STR_NONE, other;

	http_param(r, "source_id", &id);
	return http_param_nth(r, "source_id", 1, &other) ? STR_NONE : id;
}

static void checked_read(
	struct http_request *r, struct api *a, enum check_verdict verdict, const char *why)
{
	struct live_options o = {.form = &live_sse,
		.channel = LIVE_EVENTS,
		.app = only_source(r),
		.lifetime_ns = STREAM_NS};
	struct buf query = {0};

	if (verdict == CHECK_FAILED) {
		refuse_read(r, 503, "streaming_unavailable", why);
	} else if (verdict != CHECK_ALLOWED) {
		refuse_read(r, 404, "not_found", "resource not found");
	} else {
		http_param(r, "shard_id", &o.group);
		loggregator_query(&query, a->loggregator->app_label, STR_NONE, read_kinds(r));
		put_sources(&query, r, a->loggregator->app_label);
		put_names(&query, r);
		answer_query(r, a, &o, &query);
	}
}

/* Who reads several applications must be allowed to read all. */
void loggregator_read(struct http_request *r, void *ctx)
{
	if (check_read(r))
		api_check(r, ctx, only_source(r), checked_read);
}
