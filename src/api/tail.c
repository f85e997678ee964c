/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /loki/api/v1/tail for Loki's clients, and /api/v1/follow for other servers.
 *
 * Beyond Loki each frame carries "sawlog": {"cursor": "<place>"}; a client that
 * comes back with cursor=<place> gets all that was committed since, however
 * long it was away.
 */
#include "api/live.h"

enum { DEFAULT_HISTORY = 100 };

static int read_query(struct http_request *r, struct live_options *o, struct error *e)
{
	struct str text = STR_NONE;
	int code;

	http_param(r, "query", &text);
	if ((code = query_parse(&o->query, text, e)) < 0)
		return code;
	return o->strict ? query_check_strict(o->query, e) : 0;
}

static int read_tail(struct http_request *r, struct api *a, struct live_options *o, struct error *e)
{
	int code;

	o->strict = api_strict(a, r);
	if ((code = read_query(r, o, e)) < 0)
		return code;
	o->start_ns = clock_now_ns(a->o.clock) - 3600 * NS_PER_SEC;
	if ((code = api_param_time(r, "start", &o->start_ns, e)) < 0)
		return code;
	http_param(r, "cursor", &o->cursor);
	o->local = api_param_bool(r, "local", false);
	return api_param_u64(r, "limit", DEFAULT_HISTORY, &o->history, e);
}

void loki_tail(struct http_request *r, void *ctx)
{
	struct live_options o = {.form = &live_loki, .channel = LIVE_WEBSOCKET};
	struct error e;

	if (!api_tenant(r, &o.tenant))
		return;
	if (read_tail(r, ctx, &o, &e) < 0) {
		query_free(o.query);
		api_fail(r, &e);
		return;
	}
	live_answer(r, ctx, &o);
}

static int read_follow(
	struct http_request *r, struct api *a, struct live_options *o, struct error *e)
{
	struct str form = STR("loki");
	int code;

	o->strict = api_strict(a, r);
	http_param(r, "form", &form);
	if (!(o->form = live_form_find(form)))
		return error_set(e, ERR_ARG, "form: there is none called \"%.*s\"",
			STR_ARG(str_sub(form, 0, 100)));
	if ((code = api_param_time(r, "since", &o->since_ns, e)) < 0)
		return code;
	http_param(r, "group", &o->group);
	http_param(r, "cursor", &o->cursor);
	return read_query(r, o, e);
}

void follow_answer(struct http_request *r, void *ctx)
{
	struct live_options o = {.channel = LIVE_WEBSOCKET, .framed = true, .local = true};
	struct error e;

	if (!api_tenant(r, &o.tenant))
		return;
	if (read_follow(r, ctx, &o, &e) < 0) {
		query_free(o.query);
		api_fail(r, &e);
		return;
	}
	live_answer(r, ctx, &o);
}
