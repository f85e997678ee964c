/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an application said last, for clients of Loggregator's traffic
 * controller: /recent (LogMessages), /apps/ID/recentlogs and
 * /apps/ID/containermetrics (dropsonde envelopes), as multipart/x-protobuf
 * without headers in its parts.
 *
 * The lines come from the store, the newest `recent` of them, so they are as
 * old as retention allows and survive restarts.  They are told oldest first.
 * Where all of them do not fit in a query's memory there are fewer, and a
 * notice of source LGR in front says so: an answer is never refused for its
 * size.
 */
#include "api/loggregator_core.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/map.h"
#include "net/client.h"

enum {
	RECENT_MAX = 1000000,
	CONTAINERS_READ = 5000, /* gauges of the last minutes that are looked at */
};

/* What a container said longer ago is no news of one that runs. */
#define CONTAINER_TTL_NS (300 * NS_PER_SEC)

/* A multipart answer in the making. */
struct parts {
	struct job *job;
	char boundary[41];
	struct buf one;
	bool envelopes; /* not LogMessages */
	struct loggregator x;
};

static void parts_begin(struct parts *p, struct job *j, bool envelopes)
{
	uint8_t random[20];

	p->job = j;
	p->envelopes = envelopes;
	p->one = (struct buf){0};
	hash_random(random, sizeof random);
	for (size_t i = 0; i < sizeof random; i++)
		snprintf(p->boundary + 2 * i, 3, "%02x", random[i]);
	/* Clients take all that follows the "=" as the boundary. */
	snprintf(j->type, sizeof j->type, "multipart/x-protobuf; boundary=%s", p->boundary);
	j->content_type = j->type;
}

static void put_part(struct parts *p)
{
	struct str body = buf_view(&p->one);

	loggregator_put_part(&p->job->body, p->boundary, &body);
	buf_clear(&p->one);
}

static void parts_add(struct parts *p)
{
	size_t n = loggregator_n_envelopes(&p->x);

	if (!p->envelopes) {
		loggregator_put_message(&p->one, &p->x);
		put_part(p);
	}
	for (size_t i = 0; p->envelopes && i < n; i++) {
		loggregator_put_envelope(&p->one, &p->x, i);
		put_part(p);
	}
}

static void parts_end(struct parts *p)
{
	loggregator_put_part(&p->job->body, p->boundary, NULL);
	buf_fini(&p->one);
}

/* --- lines -------------------------------------------------------------------------------- */

static struct str app_of(struct http_request *r)
{
	struct str app = http_segment(r, "id");

	if (app.n == 0)
		http_param(r, "app", &app);
	return app;
}

/* The newest `*limit` of an application's records; as many of them as there is memory for. */
static int read_newest(struct job *j, struct view *v, unsigned kinds, int64_t from_ns,
	uint64_t *limit, struct query_result *out, struct error *e)
{
	const char *label = j->api->loggregator->app_label;
	struct query_params p = {.start_ns = from_ns, .end_ns = INT64_MAX};
	struct buf text = {0};
	struct query *q;
	int r;

	loggregator_query(&text, label, app_of(j->request), kinds);
	r = query_parse(&q, buf_view(&text), e);
	buf_fini(&text);
	if (r < 0)
		return r;
	api_query_params(j, &p);
	for (p.strict = false, p.limit = *limit;; p.limit /= 2) {
		r = view_query(v, q, &p, out, e);
		if (r != ERR_LIMIT || p.limit < 2)
			break;
	}
	*limit = p.limit;
	api_query_count(r);
	query_free(q);
	return r;
}

static void add_notice(struct parts *p, struct str app, int64_t timestamp, struct buf *sentence)
{
	loggregator_notice(&p->x, app, timestamp, buf_view(sentence));
	parts_add(p);
	buf_clear(sentence);
}

/* Servers that did not answer, and lines that did not fit, in front: as the proxies of Loggregator
 * told it. */
static void add_notices(
	struct parts *p, const struct query_result *res, uint64_t wanted, uint64_t limit)
{
	int64_t first = res->n_entries ? res->entries[res->n_entries - 1].timestamp
				       : clock_now_ns(p->job->api->o.clock);
	struct str app = app_of(p->job->request);
	struct buf text = {0};

	for (size_t i = 0; i < res->n_warnings; i++) {
		buf_printf(&text, "proxy: error connecting to a loggregator server: %s",
			res->warnings[i]);
		add_notice(p, app, first, &text);
	}
	if (limit < wanted && res->n_entries == limit) {
		buf_printf(&text,
			"lines older than these %zu are left out: %" PRIu64
			" of them do not fit in the memory of a query",
			res->n_entries, wanted);
		add_notice(p, app, first, &text);
	}
	buf_fini(&text);
}

static int run_recent(struct job *j, struct error *e)
{
	bool envelopes = http_segment(j->request, "id").n > 0;
	uint64_t wanted, limit;
	struct query_result res;
	struct parts *p;
	struct view *v;
	int r = api_param_u64(
		j->request, "limit", (uint64_t)j->api->loggregator->recent, &wanted, e);

	if (r < 0)
		return r;
	if (wanted == 0 || wanted > RECENT_MAX)
		return error_set(e, ERR_ARG, "limit: must be from 1 to %d", RECENT_MAX);
	limit = wanted;
	v = api_view(j);
	if ((r = read_newest(j, v, KINDS_LOG, 0, &limit, &res, e)) == 0) {
		p = xmalloc(sizeof *p);
		parts_begin(p, j, envelopes);
		add_notices(p, &res, wanted, limit);
		for (size_t i = res.n_entries; i--;) {
			loggregator_of_entry(
				&p->x, &res.entries[i], j->api->loggregator->app_label);
			parts_add(p);
		}
		parts_end(p);
		free(p);
		query_result_fini(&res);
	}
	view_close(v);
	return r;
}

/* --- containers ---------------------------------------------------------------------------- */

static bool is_container(const struct loggregator *x)
{
	static const struct str names[] = {STR_INIT("cpu"), STR_INIT("memory"), STR_INIT("disk")};
	size_t found = 0;

	if (x->kind != LOGGREGATOR_GAUGE)
		return false;
	for (size_t i = 0; i < x->n_metrics; i++)
		for (size_t k = 0; k < sizeof names / sizeof *names; k++)
			found += str_eq(x->metrics[i].name, names[k]);
	return found >= sizeof names / sizeof *names;
}

/* The newest of each instance: what comes first. */
static int run_containers(struct job *j, struct error *e)
{
	int64_t since = clock_now_ns(j->api->o.clock) - CONTAINER_TTL_NS;
	uint64_t limit = CONTAINERS_READ;
	struct query_result res;
	struct map told = {0};
	struct parts *p;
	struct view *v = api_view(j);
	bool added;
	int r = read_newest(j, v, 1 << LOGGREGATOR_GAUGE, since, &limit, &res, e);

	if (r == 0) {
		p = xmalloc(sizeof *p);
		parts_begin(p, j, true);
		for (size_t i = 0; i < res.n_entries; i++) {
			loggregator_of_entry(
				&p->x, &res.entries[i], j->api->loggregator->app_label);
			if (!is_container(&p->x))
				continue;
			map_put(&told, p->x.instance_id, &added);
			if (added)
				parts_add(p);
		}
		parts_end(p);
		free(p);
		map_fini(&told);
		query_result_fini(&res);
	}
	view_close(v);
	return r;
}

/* --- requests ------------------------------------------------------------------------------- */

static void answer_recent(
	struct http_request *r, struct api *a, enum check_verdict verdict, const char *why)
{
	if (verdict != CHECK_ALLOWED)
		api_check_refuse(r, verdict, why);
	else if (loggregator_is_head(r))
		http_reply(r, 200, "multipart/x-protobuf", STR_NONE);
	else
		api_read_job(a, r, run_recent);
}

static void answer_containers(
	struct http_request *r, struct api *a, enum check_verdict verdict, const char *why)
{
	if (verdict != CHECK_ALLOWED)
		api_check_refuse(r, verdict, why);
	else
		api_read_job(a, r, run_containers);
}

static void answer_about_app(struct http_request *r, struct api *a, check_fn *then)
{
	struct str app = app_of(r);

	if (app.n == 0)
		http_reply(r, 400, NULL, STR("Invalid AppId: ask for /recent?app=APP_ID\n"));
	else
		api_check(r, a, app, then);
}

void loggregator_recent(struct http_request *r, void *ctx)
{
	answer_about_app(r, ctx, answer_recent);
}

void loggregator_containers(struct http_request *r, void *ctx)
{
	answer_about_app(r, ctx, answer_containers);
}

/* A page of another host of the same site has the browser keep its credentials for our name, for
 * WebSockets, which take no header. */
void loggregator_set_cookie(struct http_request *r, void *ctx)
{
	struct str name = STR_NONE, value = STR_NONE, origin;
	struct buf cookie = {0};

	http_param(r, "CookieName", &name);
	http_param(r, "CookieValue", &value);
	if (name.n == 0 || value.n == 0) {
		http_reply(r, 400, NULL,
			STR("Bad Request: CookieName and CookieValue must not be empty\n"));
		return;
	}
	url_encode(&cookie, name);
	buf_char(&cookie, '=');
	url_encode(&cookie, value);
	buf_c(&cookie, "; Secure; HttpOnly; SameSite=Lax");
	http_set_header(r, "Set-Cookie", buf_cstr(&cookie));
	if (http_header(r, "Origin", &origin)) {
		buf_clear(&cookie);
		buf_str(&cookie, origin);
		http_set_header(r, "Access-Control-Allow-Credentials", "true");
		http_set_header(r, "Access-Control-Allow-Origin", buf_cstr(&cookie));
		http_set_header(r, "Vary", "Origin");
	}
	buf_fini(&cookie);
	http_reply(r, 200, NULL, STR_NONE);
}
