/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drains: GET /api/v1/drains lists them, POST {"app":…,"url":…} adds one, DELETE
 * /api/v1/drains/{id} ends one.  They are outputs: /api/v1/outputs/{id}/{action} pauses, resumes
 * and rewinds them.
 */
#include "output/drains.h"

#include <inttypes.h>
#include <stdlib.h>

#include "api/internal.h"
#include "base/map.h"
#include "codec/json.h"
#include "record/time.h"

enum { BODY_MAX = 16 << 10 };

/* Of the output of a drain. */
struct state {
	struct output_status s;
	char *error;
};

struct states {
	struct map by_name; /* struct state */
};

struct listing {
	struct buf *out;
	struct states *states;
	size_t n;
};

static int missing(struct error *e)
{
	return error_set(e, ERR_NOT_FOUND,
		"there are no drains here: ask the servers that the records are stored on");
}

static void keep_state(void *arg, const struct output_status *s)
{
	struct states *states = arg;
	struct state *state;

	if (!str_starts(str_c(s->name), STR(OUTPUT_ADDED_PREFIX)))
		return;
	state = xcalloc(1, sizeof *state);
	state->s = *s;
	state->error = xstrdup(s->error);
	map_put(&states->by_name, str_c(s->name), NULL)->p = state;
}

static void states_fini(struct states *states)
{
	const struct map_slot *slot;
	size_t at = 0;

	while ((slot = map_next(&states->by_name, &at))) {
		struct state *state = slot->value.p;

		free(state->error);
		free(state);
	}
	map_fini(&states->by_name);
}

static void put_origins(struct buf *out, unsigned origins)
{
	static const char *const names[] = {"config", "api", "envelope"};
	bool any = false;

	buf_c(out, ",\"origins\":[");
	for (unsigned i = 0; i < 3; i++)
		if (origins & (1u << i)) {
			buf_printf(out, "%s\"%s\"", any ? "," : "", names[i]);
			any = true;
		}
	buf_char(out, ']');
}

static void put_state(struct buf *out, const struct state *state, const char *problem)
{
	static const char *const states[] = {"running", "paused", "failing"};
	const struct output_status *s = state ? &state->s : NULL;

	if (!s) {
		buf_printf(out, ",\"state\":\"%s\",\"error\":", *problem ? "failing" : "starting");
		buf_json(out, str_c(problem));
		return;
	}
	buf_printf(out,
		",\"kind\":\"%s\",\"state\":\"%s\",\"seq\":%" PRIu64 ",\"behind\":%" PRIu64
		",\"behind_seconds\":%.3f,\"delivered\":%" PRIu64 ",\"skipped\":%" PRIu64
		",\"missed\":%" PRIu64 ",\"error\":",
		s->kind, states[s->state], s->seq, s->behind, (double)s->behind_ns / 1e9,
		s->delivered, s->skipped, s->missed);
	buf_json(out, str_c(state->error));
	if (s->retry_ns) {
		buf_c(out, ",\"retry\":\"");
		time_format(out, s->retry_ns);
		buf_char(out, '"');
	}
}

/* The URL without its password: a list is easily shown to others. */
static void put_url(struct buf *out, const char *url)
{
	struct buf plain = {0};
	const char *query = strchr(url, '?');

	drains_plain_url(str_c(url), &plain);
	/* What is ours in the query can be shown; a target's may be a token. */
	if (query)
		buf_c(&plain, "?…");
	buf_json(out, buf_view(&plain));
	buf_fini(&plain);
}

static void put_drain(void *arg, const struct drain *drain)
{
	struct listing *l = arg;
	struct buf *out = l->out;
	union map_value *state = map_get(&l->states->by_name, str_c(drain->id));

	buf_c(out, l->n++ ? ",{\"id\":" : "{\"id\":");
	buf_json(out, str_c(drain->id));
	buf_c(out, ",\"app\":");
	buf_json(out, str_c(drain->app));
	buf_c(out, ",\"url\":");
	put_url(out, drain->url);
	put_origins(out, drain->origins);
	put_state(out, state ? state->p : NULL, drain->problem);
	buf_char(out, '}');
}

static int list(struct job *j, struct error *e)
{
	struct states states = {0};
	struct listing l = {.out = &j->body, .states = &states};

	if (!j->api->o.drains)
		return missing(e);
	if (j->api->o.outputs)
		outputs_list(j->api->o.outputs, keep_state, &states);
	buf_c(&j->body, "{\"drains\":[");
	drains_list(j->api->o.drains, j->tenant, put_drain, &l);
	buf_c(&j->body, "]}\n");
	states_fini(&states);
	return 0;
}

static int add(struct job *j, struct error *e)
{
	struct str body = http_body(j->request);
	struct json_parser *parser = json_parser_new();
	char id[DRAIN_ID_SIZE];
	struct json json;
	int r = 0;

	if (!j->api->o.drains)
		r = missing(e);
	else if (body.n > BODY_MAX)
		r = error_set(e, ERR_LIMIT, "a drain takes at most %d bytes", BODY_MAX);
	else if ((r = json_parse(parser, body, &json, e)) == 0)
		r = drains_add(j->api->o.drains, j->tenant, json_get_text(&json, 0, "app"),
			json_get_text(&json, 0, "url"), id, e);
	json_parser_free(parser);
	if (r < 0)
		return r;
	j->status = r == 0 ? 201 : 200;
	buf_printf(&j->body, "{\"id\":\"%s\"}\n", id);
	return 0;
}

static int end(struct job *j, struct error *e)
{
	int r;

	if (!j->api->o.drains)
		return missing(e);
	r = drains_remove(j->api->o.drains, j->tenant, http_segment(j->request, "id"), e);
	if (r == 0)
		j->status = 204;
	return r;
}

void drains_get(struct http_request *r, void *ctx)
{
	if (!api_is_router(ctx, r))
		api_tenant_job(ctx, r, list);
}

void drains_post(struct http_request *r, void *ctx)
{
	if (!api_is_router(ctx, r))
		api_tenant_job(ctx, r, add);
}

void drains_delete(struct http_request *r, void *ctx)
{
	if (!api_is_router(ctx, r))
		api_tenant_job(ctx, r, end);
}
