/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all route families share: the route table, the way of a batch (handler
 * -> sink -> answer) and of a query (handler -> worker -> answer), and the
 * timer that cancels the queries of clients that went away and closes the
 * tails of tokens that were revoked.
 */
#include "api/push.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/live.h"
#include "base/metric.h"

enum {
	QUERY_THREADS = 2,
	QUERY_THREADS_WAITING = 6, /* where most of their time may go by waiting for peers */
	SCAN_THREADS = 2,
	QUERY_NICE =
		5, /* a third of the time of what comes in, where there is not enough for both */
	QUERY_QUEUE = 1000, /* a dashboard on one machine must never exhaust it */
	TAIL_THREADS = 1,
	GONE_MS = 250,
	ANSWER_SMALL = 64 << 10, /* it is never refused for the memory it takes */
};

static const struct http_route routes[] = {
#define ROUTE(path_, flags_, scope_, handler_, help_)                                              \
	{.path = path_, .flags = flags_, .handle = handler_, .help = help_},
#include "api/routes.def"
#undef ROUTE
	{.path = NULL},
};

const struct http_route *api_routes(void)
{
	return routes;
}

static void cancel_gone(void *arg)
{
	struct api *a = arg;

	lock_take(&a->lock);
	LIST_EACH (node, &a->jobs) {
		struct job *j = CONTAINER(node, struct job, node);
		if (http_gone(j->request))
			atomic_store(&j->cancel, true);
	}
	lock_drop(&a->lock);
	live_tick(a);
	if (a->o.tokens)
		live_end_denied(a);
}

struct api *api_new(const struct api_options *o)
{
	struct api *a = xcalloc(1, sizeof *a);

	a->o = *o;
	account_init(&a->query_account, "queries", o->account->limit / 4, o->account);
	account_init(&a->tail_account, "tails", o->account->limit / 4, o->account);
	account_init(&a->answer_account, "answers", o->account->limit / 4, o->account);
	lock_init(&a->lock);
	list_init(&a->jobs);
	list_init(&a->tail_list);
	list_init(&a->held_list);
	a->o.loggregator = NULL;
	a->loggregator = conf_copy(
		o->loggregator, sizeof *o->loggregator, loggregator_options, &a->settings);
	a->checks = checks_new(&a->loggregator->check, o->clock, &a->draining);
	api_set_discover(a, o->discover);
	api_set_strict(a, o->strict);
	a->queries = workers_new(
		"query", o->peers ? QUERY_THREADS_WAITING : QUERY_THREADS, QUERY_QUEUE, QUERY_NICE);
	a->scans = workers_new("scan", SCAN_THREADS, QUERY_QUEUE, QUERY_NICE);
	a->tails = workers_new("tail", TAIL_THREADS, UINT32_MAX, 0);
	if (peers_listed(o->peers) > 0)
		a->relays = relays_new(&(struct relays_options){
			.peers = o->peers, .instance = o->instance, .account = &a->tail_account});
	live_init(a);
	timer_init(&a->gone_timer, o->loop, cancel_gone, a);
	timer_set(&a->gone_timer, GONE_MS, GONE_MS);
	return a;
}

void api_set_config(struct api *a, struct str yaml)
{
	lock_take(&a->lock);
	buf_clear(&a->config);
	buf_str(&a->config, yaml);
	lock_drop(&a->lock);
}

void api_set_ready(struct api *a)
{
	atomic_store(&a->ready, true);
}

void api_drain(struct api *a)
{
	atomic_store(&a->draining, true);
	lock_take(&a->lock);
	LIST_EACH (node, &a->jobs)
		atomic_store(&CONTAINER(node, struct job, node)->cancel, true);
	lock_drop(&a->lock);
	live_end_all(a);
}

void api_free(struct api *a)
{
	if (!a)
		return;
	timer_fini(&a->gone_timer);
	checks_free(a->checks); /* what it lets in are queries and tails */
	workers_free(a->queries);
	workers_free(a->scans);
	workers_free(a->tails);
	relays_free(a->relays);
	live_fini(a);
	assert(list_empty(&a->jobs) && list_empty(&a->tail_list));
	push_fini(a);
	buf_fini(&a->config);
	arena_fini(&a->settings);
	lock_fini(&a->lock);
	free(a);
}

struct account *api_tail_account(struct api *a)
{
	return &a->tail_account;
}

void api_set_discover(struct api *a, struct discover d)
{
	atomic_store(&a->discover_bits, (unsigned)d.service_name | (unsigned)d.level << 1);
}

struct sink *api_sink(struct api *a)
{
	return a->o.sink ? a->o.sink : store_sink(a->o.store);
}

bool api_is_router(struct api *a, struct http_request *r)
{
	if (a->o.servers)
		http_replyf(r, 501,
			"this is a router and keeps no records itself: ask each of its servers, %s\n",
			a->o.servers);
	return a->o.servers != NULL;
}

struct discover api_discover(struct api *a)
{
	unsigned bits = atomic_load(&a->discover_bits);

	return (struct discover){.service_name = bits & 1, .level = bits & 2};
}

void api_set_strict(struct api *a, bool strict)
{
	atomic_store(&a->strict, strict);
}

bool api_strict(struct api *a, struct http_request *r)
{
	struct str s;

	return atomic_load(&a->strict) ||
	       (http_param(r, "strict", &s) && str_eq_nocase(s, STR("true")));
}

void api_served(void *api, const char *route, int status)
{
	struct buf labels = {0};

	metric_label(&labels, "route", str_c(route));
	buf_printf(&labels, ",status=\"%d\"", status);
	metric_add(METRIC_http_requests_total, buf_cstr(&labels), 1);
	buf_fini(&labels);
}

void api_refused(void *api, const char *route, int status, const char *reason)
{
	struct api *a = api;
	static const struct {
		const char *route, *input;
	} pushes[] = {{"/loki/api/v1/push", "loki"}, {"/api/prom/push", "loki"},
		{"/store/batch", "batch"}, {"/api/v1/forward", "forward"}, {"/python", "python"}};

	const char *word = status == 401 || status == 403 ? error_name(ERR_DENIED)
			   : status == 413                ? error_name(ERR_LIMIT)
			   : status == 429                ? error_name(ERR_BUSY)
			   : status == 503                ? error_name(ERR_CLOSED)
							  : error_name(ERR_ARG);

	/* How many records the refused body held is not known: it counts as one. */
	for (size_t i = 0; i < sizeof pushes / sizeof *pushes; i++)
		if (strcmp(route, pushes[i].route) == 0)
			api_reject(a, STR("default"), pushes[i].input, word, 1);
	api_served(api, route, status);
}

int api_status(int code)
{
	switch ((enum error_code)code) {
	case ERR_ARG:
	case ERR_CORRUPT:
	case ERR_UNSUPPORTED: return 400;
	case ERR_DENIED: return 403;
	case ERR_NOT_FOUND: return 404;
	case ERR_EXISTS:
	case ERR_GAP: return 409;
	case ERR_LIMIT: return 413;
	case ERR_BUSY: return 429;
	case ERR_CANCELLED: return 499;
	case ERR_FULL:
	case ERR_CLOSED: return 503;
	case ERR_TIMEOUT: return 504;
	case ERR_IO:
	case ERR_NET: return 500;
	}
	return 500;
}

void api_fail(struct http_request *r, const struct error *e)
{
	int status = api_status(e->code);

	if (status == 429 || status == 503)
		http_set_header(r, "Retry-After", "1");
	http_replyf(r, status, "%s\n", e->text);
}

void api_reject(struct api *a, struct str tenant, const char *input, const char *reason, uint64_t n)
{
	struct sink *sink = api_sink(a);

	if (n)
		sink->account(sink, tenant, str_c(input), reason, n, true);
}

/* A batch on its way: from the sink's thread back to the request. */
struct submission {
	struct api *api;
	struct http_request *request;
	push_answer *answer;
	void *arg;
	/* Of the batch, for the account when it is refused: the batch may be gone by then. */
	char tenant[TENANT_MAX + 1], input[INPUT_MAX + 1];
	size_t n_records;
};

static void push_done(void *arg, const struct sink_result *result)
{
	struct submission *p = arg;

	if (result->code < 0)
		api_reject(
			p->api, str_c(p->tenant), p->input, error_name(result->code), p->n_records);
	p->answer(p->request, result, p->arg);
	free(p);
}

void api_submit(
	struct api *a, struct http_request *r, struct batch *b, push_answer *answer, void *arg)
{
	struct sink *sink = api_sink(a);
	struct sink_result refused = {0};
	struct submission *p = xmalloc(sizeof *p);

	*p = (struct submission){
		.api = a, .request = r, .answer = answer, .arg = arg, .n_records = batch_count(b)};
	str_copy(batch_tenant(b), p->tenant, sizeof p->tenant);
	str_copy(batch_input(b), p->input, sizeof p->input);
	refused.code = atomic_load(&a->draining)
			       ? error_set(&refused.error, ERR_CLOSED,
					 "the server is stopping: send it again later")
			       : sink_submit(sink, b, push_done, p, &refused.error);
	if (refused.code == 0)
		return;
	batch_unref(b);
	push_done(p, &refused);
}

/* An answer takes memory until its client has read it, however slowly.  Where those that wait are
 * too much another large one is refused, but one alone never is. */
static int hold_answer(struct job *j, struct error *e)
{
	struct account *a = &j->api->answer_account;
	uint64_t n = j->body.cap;

	if (n <= ANSWER_SMALL || account_held(a) == 0)
		account_force(a, n);
	else if (account_charge(a, n) < 0)
		return error_set(e, ERR_BUSY,
			"answers of %llu bytes wait for slow readers already, and this one of %zu "
			"does not fit in the memory beside them: try again in a second, or ask for "
			"less",
			(unsigned long long)account_held(a), j->body.n);
	http_hold(j->request, a, n);
	return 0;
}

static void job_run(void *arg)
{
	struct job *j = arg;
	struct api *a = j->api;
	struct error e;
	int code = j->run(j, &e);

	if (code >= 0)
		code = hold_answer(j, &e);
	/* Out of the list before the answer: after it the request is gone. */
	lock_take(&a->lock);
	list_remove(&j->node);
	lock_drop(&a->lock);
	if (code < 0) {
		buf_fini(&j->body);
		api_fail(j->request, &e);
	} else {
		http_reply_buf(j->request, j->status ? j->status : 200,
			j->content_type ? j->content_type : "application/json; charset=UTF-8",
			&j->body);
	}
	free(j);
}

void api_job_on(
	struct api *a, struct workers *w, struct http_request *r, struct str tenant, job_fn *run)
{
	struct job *j = xcalloc(1, sizeof *j);

	*j = (struct job){.api = a, .request = r, .tenant = tenant, .run = run};
	j->started_mono = clock_mono_ns(a->o.clock);
	lock_take(&a->lock);
	list_append(&a->jobs, &j->node);
	lock_drop(&a->lock);
	if (!atomic_load(&a->draining) && workers_submit(w, job_run, j) == 0)
		return;
	lock_take(&a->lock);
	list_remove(&j->node);
	lock_drop(&a->lock);
	free(j);
	http_set_header(r, "Retry-After", "1");
	http_replyf(r, 429, "%d queries are waiting already: try again in a second\n", QUERY_QUEUE);
}

void api_job(struct api *a, struct http_request *r, struct str tenant, job_fn *run)
{
	api_job_on(a, a->queries, r, tenant, run);
}

void api_read_job(struct api *a, struct http_request *r, job_fn *run)
{
	struct str tenant;

	if (api_tenants(r, &tenant))
		api_job(a, r, tenant, run);
}

void api_tenant_job(struct api *a, struct http_request *r, job_fn *run)
{
	struct str tenant;

	if (api_tenant(r, &tenant))
		api_job(a, r, tenant, run);
}

void api_dump(struct api *a, struct buf *out)
{
	int64_t now = clock_mono_ns(a->o.clock);

	lock_take(&a->lock);
	buf_printf(out, "api: %u tails, %u queries queued, %llu bytes held by queries\n",
		a->n_tails, workers_queued(a->queries),
		(unsigned long long)account_held(&a->query_account));
	LIST_EACH (node, &a->jobs) {
		struct job *j = CONTAINER(node, struct job, node);
		buf_printf(out, "  query from %s for %lld ms%s\n", http_peer(j->request),
			(long long)((now - j->started_mono) / NS_PER_MS),
			atomic_load(&j->cancel) ? ", cancelled" : "");
	}
	lock_drop(&a->lock);
	relays_dump(a->relays, out);
	checks_dump(a->checks, out);
}
