/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Silences in the JSON of Alertmanager's API v2: GET and POST /api/v1/silences, GET and DELETE
 * /api/v1/silences/{id}; and GET /api/v1/notifiers, who is told of alerts and how that goes.
 */
#include "alert/silences.h"

#include <inttypes.h>

#include "alert/notify.h"
#include "api/internal.h"

static int none(struct error *e)
{
	return error_set(e, ERR_UNSUPPORTED, "alerts are not evaluated here");
}

static int list_silences(struct job *j, struct error *e)
{
	struct str id = http_segment(j->request, "id");
	int r;

	if (!j->api->o.silences)
		return none(e);
	if ((r = silences_json(j->api->o.silences, j->tenant, id, &j->body, e)) == 0)
		buf_char(&j->body, '\n');
	return r;
}

static int put_silence(struct job *j, struct error *e)
{
	struct buf id = {0};
	int r;

	if (!j->api->o.silences)
		return none(e);
	if ((r = silences_put(j->api->o.silences, j->tenant, http_body(j->request), &id, e)) == 0) {
		buf_c(&j->body, "{\"silenceID\":");
		buf_json(&j->body, buf_view(&id));
		buf_c(&j->body, "}\n");
	}
	buf_fini(&id);
	return r;
}

static int expire_silence(struct job *j, struct error *e)
{
	int r;

	if (!j->api->o.silences)
		return none(e);
	if ((r = silences_expire(
		     j->api->o.silences, j->tenant, http_segment(j->request, "id"), e)) == 0)
		j->status = 204;
	return r;
}

void silences_get(struct http_request *r, void *ctx)
{
	api_tenant_job(ctx, r, list_silences);
}

void silences_post(struct http_request *r, void *ctx)
{
	if (!api_is_router(ctx, r))
		api_tenant_job(ctx, r, put_silence);
}

void silences_delete(struct http_request *r, void *ctx)
{
	if (!api_is_router(ctx, r))
		api_tenant_job(ctx, r, expire_silence);
}

struct listing {
	struct buf *out;
	size_t n;
};

static void put_notifier(void *arg, const struct notifier_status *s)
{
	struct listing *l = arg;
	struct buf *out = l->out;

	buf_c(out, l->n++ ? ",{\"name\":" : "{\"name\":");
	buf_json(out, str_c(s->name));
	buf_c(out, ",\"kind\":");
	buf_json(out, str_c(s->kind));
	buf_printf(out,
		",\"state\":\"%s\",\"sent\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"skipped\":%" PRIu64
		",\"waiting\":%" PRIu64 ",\"silenced\":%" PRIu64
		",\"retry_seconds\":%.3f,\"error\":",
		*s->error ? "failing" : "running", s->sent, s->failed, s->skipped, s->waiting,
		s->silenced, (double)s->retry_ns / 1e9);
	buf_json(out, str_c(s->error));
	buf_char(out, '}');
}

static int list_notifiers(struct job *j, struct error *e)
{
	struct listing l = {.out = &j->body};

	buf_c(&j->body, "{\"notifiers\":[");
	if (j->api->o.notify)
		notify_each(j->api->o.notify, put_notifier, &l);
	buf_c(&j->body, "]}\n");
	return 0;
}

void notifiers_answer(struct http_request *r, void *ctx)
{
	if (!api_is_router(ctx, r))
		api_job(ctx, r, STR_NONE, list_notifiers);
}
