/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  One thread sends one batch after the other on a kept connection:
 * batches are large, so a window of several would only blur which one was
 * refused.  The order of the queue is the order at the server.
 *
 * What one answer means is decided in one place, judge().  A wrong token or a
 * server of another kind is not held against the records: somebody will put
 * it right, and until then they wait, as they do for a server that is away.
 */
#include "forward/uplink.h"

#include <assert.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/metric.h"
#include "codec/json.h"
#include "loop/loop.h"
#include "net/client.h"
#include "os/clock.h"

enum {
	RETRY_MS = 100,
	RETRY_MAX_MS = 5000,
	RETRY_AFTER_MAX_S = 30,
	ANSWER_MAX = 64 << 10,
	CALL_MS = 60000,
	CONNECT_MS = 10000,
};

/* A batch that waits or is being sent. */
struct parcel {
	struct list node;
	struct batch *batch;
	sink_done *done;
	void *arg;
	uint64_t bytes;
};

struct uplink {
	struct sink sink; /* first: the sink is the uplink */
	/* Fixed after open. */
	struct uplink_options o;
	char *url, *tenant, *token;
	struct http_client *client;
	pthread_t thread;
	/* The thread's own. */
	struct json_parser *json;
	struct backoff backoff;
	/* Under `lock`. */
	struct lock lock;
	struct cond changed; /* a parcel came, the queue ran empty, or closing was set */
	struct list queue;
	uint64_t queued_bytes;
	bool closing;  /* takes no more */
	bool aborting; /* and gives up what waits */
	struct uplink_stats stats;
};

/* What to do after a call. */
enum verdict { DELIVERED, REFUSED, AGAIN };

static uint64_t number_of(const struct json *j, const char *key)
{
	size_t i = json_get(j, 0, key);
	uint64_t v = 0;

	if (i && j->nodes[i].type == JSON_NUMBER)
		str_u64(j->nodes[i].text, &v);
	return v;
}

/* The server's sentence: the field error of a JSON object, or the text itself. */
static struct str sentence_of(const struct json *j, bool is_json, struct str body)
{
	size_t i = is_json ? json_get(j, 0, "error") : 0;

	if (i && j->nodes[i].type == JSON_STRING)
		return j->nodes[i].text;
	return str_sub(str_trim(body), 0, 300);
}

/* What an answer means; fills `result` unless it is AGAIN, then e tells why. */
static enum verdict judge(
	struct uplink *u, const struct http_answer *a, struct sink_result *result, struct error *e)
{
	struct json j = {0};
	bool is_json = json_parse(u->json, buf_view(&a->body), &j, NULL) == 0 && j.n > 0 &&
		       j.nodes[0].type == JSON_OBJECT;
	struct str text = sentence_of(&j, is_json, buf_view(&a->body));

	*result = (struct sink_result){0};
	switch (a->status) {
	case 200:
		if (!is_json || !json_get(&j, 0, "committed")) {
			error_set(e, ERR_NET, "%s answered 200 but not as sawlog does", u->url);
			return AGAIN;
		}
		result->n_committed = number_of(&j, "committed");
		result->n_duplicates = number_of(&j, "duplicates");
		result->first_seq = number_of(&j, "seq");
		return DELIVERED;
	case 409:
		if (!is_json || !json_get(&j, 0, "mark")) {
			error_set(e, ERR_NET, "%s answered 409 without a mark", u->url);
			return AGAIN;
		}
		result->mark = number_of(&j, "mark");
		result->code = error_set(&result->error, ERR_GAP, "%.*s", STR_ARG(text));
		return REFUSED;
	case 413:
		result->code = error_set(&result->error, ERR_LIMIT, "%.*s", STR_ARG(text));
		return REFUSED;
	case 400:
	case 415:
	case 422:
		result->code = error_set(&result->error, ERR_ARG, "%.*s", STR_ARG(text));
		return REFUSED;
	case 401:
	case 403:
		error_set(e, ERR_DENIED, "%s denies access (%d): %.*s", u->url, a->status,
			STR_ARG(text));
		return AGAIN;
	default:
		error_set(e, a->status == 429 || a->status == 503 ? ERR_BUSY : ERR_NET,
			"%s answered %d: %.*s", u->url, a->status, STR_ARG(text));
		return AGAIN;
	}
}

/* Wait before the next try; false when it is time to give up. */
static bool pause_before_retry(struct uplink *u, uint64_t ms)
{
	int64_t until = clock_mono_ns(clock_real()) + (int64_t)ms * NS_PER_MS;
	bool go_on;

	lock_take(&u->lock);
	while (!u->aborting) {
		int64_t left = until - clock_mono_ns(clock_real());

		if (left <= 0)
			break;
		cond_wait_for(&u->changed, &u->lock, left);
	}
	go_on = !u->aborting;
	lock_drop(&u->lock);
	return go_on;
}

static void note_trouble(struct uplink *u, const struct error *e)
{
	lock_take(&u->lock);
	u->stats.connected = false;
	u->stats.retries++;
	u->stats.last_error = *e;
	lock_drop(&u->lock);
}

static void note_answer(
	struct uplink *u, const struct parcel *p, size_t sent, const struct sink_result *result)
{
	lock_take(&u->lock);
	u->stats.connected = true;
	u->stats.bytes += sent;
	if (result->code == 0) {
		u->stats.batches++;
		u->stats.records += batch_count(p->batch);
		u->stats.duplicates += result->n_duplicates;
		u->stats.raw_bytes += batch_raw_bytes(p->batch);
	} else {
		u->stats.last_error = result->error;
	}
	lock_drop(&u->lock);
}

/* Send until there is an answer that settles it, or until told to give up. */
static void deliver(struct uplink *u, struct parcel *p, struct sink_result *result)
{
	struct buf frame = {0};
	bool settled = false;

	frame_write(&frame, p->batch, u->o.packing);
	if (u->o.account)
		account_force(u->o.account, frame.cap);
	backoff_reset(&u->backoff);
	while (!settled) {
		struct http_answer answer = {0};
		struct error e = {0};
		uint64_t wait_ms;
		int r = http_client_call(u->client, "POST", "/api/v1/forward", buf_view(&frame),
			"application/x-sawlog-frame", NULL, ANSWER_MAX, &answer, &e);

		if (r >= 0)
			settled = judge(u, &answer, result, &e) != AGAIN;
		if (settled) {
			note_answer(u, p, frame.n, result);
		} else {
			note_trouble(u, &e);
			wait_ms = backoff_next(&u->backoff);
			if (answer.retry_after_s > 0 && e.code != ERR_BUSY)
				wait_ms =
					1000u * (uint64_t)(answer.retry_after_s < RETRY_AFTER_MAX_S
								   ? answer.retry_after_s
								   : RETRY_AFTER_MAX_S);
			if (!pause_before_retry(u, wait_ms)) {
				*result = (struct sink_result){0};
				result->code = error_set(
					&result->error, ERR_CLOSED, "not delivered: %s", e.text);
				settled = true;
			}
		}
		http_answer_fini(&answer);
	}
	account_release(u->o.account, u->o.account ? frame.cap : 0);
	buf_fini(&frame);
}

static void parcel_finish(struct uplink *u, struct parcel *p, const struct sink_result *result)
{
	lock_take(&u->lock);
	list_remove(&p->node);
	u->queued_bytes -= p->bytes;
	u->stats.given_up += result->code == ERR_CLOSED;
	cond_broadcast(&u->changed);
	lock_drop(&u->lock);
	p->done(p->arg, result);
	batch_unref(p->batch);
	free(p);
}

static void *run(void *arg)
{
	struct uplink *u = arg;

	lock_take(&u->lock);
	for (;;) {
		struct sink_result result = {0};
		struct parcel *p;
		bool give_up;

		while (list_empty(&u->queue) && !u->closing)
			cond_wait(&u->changed, &u->lock);
		if (list_empty(&u->queue))
			break;
		p = CONTAINER(u->queue.next, struct parcel, node);
		give_up = u->aborting;
		lock_drop(&u->lock);
		if (give_up)
			result.code = error_set(&result.error, ERR_CLOSED,
				"not delivered: the forwarder is ending");
		else
			deliver(u, p, &result);
		parcel_finish(u, p, &result);
		lock_take(&u->lock);
	}
	lock_drop(&u->lock);
	return NULL;
}

/* The sink. */

static int submit(struct sink *s, struct batch *b, sink_done *done, void *arg, struct error *e)
{
	struct uplink *u = CONTAINER(s, struct uplink, sink);
	uint64_t bytes = batch_bytes(b).n;
	struct parcel *p;
	int r = 0;

	lock_take(&u->lock);
	if (u->closing) {
		r = error_set(e, ERR_CLOSED, "the forwarder is ending");
	} else if (!list_empty(&u->queue) && u->queued_bytes + bytes > u->o.max_queued_bytes) {
		r = error_set(e, ERR_BUSY, "%llu bytes wait for %s already",
			(unsigned long long)u->queued_bytes, u->url);
	} else {
		p = xcalloc(1, sizeof(*p));
		p->batch = b;
		p->done = done;
		p->arg = arg;
		p->bytes = bytes;
		list_append(&u->queue, &p->node);
		u->queued_bytes += bytes;
		cond_broadcast(&u->changed);
	}
	lock_drop(&u->lock);
	return r;
}

/* The server knows its marks and tells them when they differ (ERR_GAP); it is not asked before. */
static int position(
	struct sink *s, struct str tenant, struct str source, struct buf *token, uint64_t *mark)
{
	(void)s;
	(void)tenant;
	(void)source;
	(void)token;
	(void)mark;
	return ERR_NOT_FOUND;
}

static void account(struct sink *s, struct str tenant, struct str input, const char *reason,
	uint64_t n, bool answered)
{
	struct buf labels = {0};

	(void)s;
	metric_label(&labels, "input", input);
	metric_label(&labels, "tenant", tenant);
	metric_label(&labels, "reason", str_c(reason));
	metric_add(answered ? METRIC_rejected_records_total : METRIC_dropped_records_total,
		buf_cstr(&labels), (int64_t)n);
	buf_fini(&labels);
}

/* Life. */

static void uplink_free(struct uplink *u)
{
	http_client_free(u->client);
	json_parser_free(u->json);
	lock_fini(&u->lock);
	cond_fini(&u->changed);
	free(u->url);
	free(u->tenant);
	free(u->token);
	free(u);
}

int uplink_open(struct uplink **out, const struct uplink_options *o, struct error *e)
{
	struct uplink *u = xcalloc(1, sizeof(*u));
	struct http_client_options ho = {.connect_ms = CONNECT_MS, .timeout_ms = CALL_MS};
	int r;

	u->o = *o;
	u->url = xstrdup(o->url);
	u->tenant = xstrdup(o->tenant);
	u->token = xstrdup(o->token);
	u->sink = (struct sink){.submit = submit, .position = position, .account = account};
	u->backoff = (struct backoff){.base_ms = RETRY_MS, .max_ms = RETRY_MAX_MS};
	lock_init(&u->lock);
	cond_init(&u->changed);
	list_init(&u->queue);
	u->json = json_parser_new();
	ho.url = u->url;
	ho.tenant = u->tenant;
	ho.bearer = u->token;
	if ((r = http_client_new(&u->client, &ho, e)) < 0) {
		uplink_free(u);
		return r;
	}
	u->thread = thread_start("uplink", run, u);
	*out = u;
	return 0;
}

struct sink *uplink_sink(struct uplink *u)
{
	return &u->sink;
}

void uplink_stats(struct uplink *u, struct uplink_stats *out)
{
	lock_take(&u->lock);
	*out = u->stats;
	lock_drop(&u->lock);
}

void uplink_abort(struct uplink *u)
{
	lock_take(&u->lock);
	u->closing = true;
	u->aborting = true;
	cond_broadcast(&u->changed);
	http_client_cancel(u->client);
	lock_drop(&u->lock);
}

void uplink_close(struct uplink *u, unsigned ms)
{
	int64_t until = clock_mono_ns(clock_real()) + (int64_t)ms * NS_PER_MS;

	if (!u)
		return;
	lock_take(&u->lock);
	u->closing = true;
	cond_broadcast(&u->changed);
	while (!list_empty(&u->queue)) {
		int64_t left = until - clock_mono_ns(clock_real());

		if (left <= 0)
			break;
		cond_wait_for(&u->changed, &u->lock, left);
	}
	u->aborting = true;
	cond_broadcast(&u->changed);
	if (!list_empty(&u->queue))
		http_client_cancel(u->client);
	lock_drop(&u->lock);
	pthread_join(u->thread, NULL);
	uplink_free(u);
}
