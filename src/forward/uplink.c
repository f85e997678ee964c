/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  One thread sends one batch after the other on a kept connection:
 * batches are large, so a window of several would only blur which one was
 * refused.  The order of the queue is the order at the server.
 *
 * What one answer means is decided in one place, verdict_of().  A wrong token or a
 * server of another kind is not held against the records: somebody will put
 * it right, and until then they wait, as they do for a server that is away.
 *
 * Servers are exchanged at a reload by leaving the new ones in `fresh`, which
 * the thread takes up between two tries: a call under way comes to its end,
 * so that its batch is not stored at both.
 */
#include "forward/uplink.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/metric.h"
#include "codec/json.h"
#include "loop/loop.h"
#include "forward/known.h"
#include "forward/pipe.h"
#include "forward/verdict.h"
#include "os/clock.h"

enum {
	RETRY_MS = 100,
	RETRY_MAX_MS = 5000,
	RETRY_AFTER_MAX_S = 30,
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
	struct pipe_link *pipe; /* NULL: servers */
	pthread_t thread;
	/* The thread's own. */
	enum uplink_packing packing;
	struct known *known;        /* NULL until there are several servers */
	char *slots[KNOWN_SERVERS]; /* the URL that each number of known.h means */
	unsigned next_slot;
	struct json_parser *json;
	struct backoff backoff;
	/* Under `lock`. */
	struct lock lock;
	struct cond changed;     /* a parcel came, the queue ran empty, or anything below */
	struct servers *servers; /* replaced by the thread alone; NULL with a pipe */
	struct servers *fresh;   /* to be used instead */
	enum uplink_packing fresh_packing;
	struct list queue;
	uint64_t queued_bytes;
	bool closing;  /* takes no more */
	bool aborting; /* and gives up what waits */
	struct uplink_stats stats;
};

static const char *where(const struct uplink *u)
{
	return u->pipe ? "the other side" : servers_url(u->servers, servers_current(u->servers));
}

/* Wait before the next try; false when it is time to give up. */
static bool pause_before_retry(struct uplink *u, uint64_t ms)
{
	int64_t until = clock_mono_ns(clock_real()) + (int64_t)ms * NS_PER_MS;
	bool go_on;

	lock_take(&u->lock);
	while (!u->aborting && !u->fresh) {
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

/* Servers. */

/* The number in known.h of the server in use. */
static unsigned slot_of_current(struct uplink *u)
{
	const char *url = where(u);
	unsigned n;

	for (n = 0; n < KNOWN_SERVERS && u->slots[n]; n++)
		if (strcmp(u->slots[n], url) == 0)
			return n;
	if (n == KNOWN_SERVERS) {
		/* Reloads have brought more servers than are remembered: the oldest goes. */
		n = u->next_slot++ % KNOWN_SERVERS;
		free(u->slots[n]);
		known_forget_server(u->known, n);
	}
	u->slots[n] = xstrdup(url);
	return n;
}

/* Somebody must remember as soon as there may be a second server. */
static void use_servers(struct uplink *u, bool second)
{
	if (!u->known && (second || servers_count(u->servers) > 1))
		u->known = known_new();
	lock_take(&u->lock);
	snprintf(u->stats.url, sizeof(u->stats.url), "%s", where(u));
	u->stats.n_changes += second;
	lock_drop(&u->lock);
}

static void take_fresh_servers(struct uplink *u)
{
	struct servers *old = NULL;

	lock_take(&u->lock);
	if (u->fresh) {
		old = u->servers;
		u->servers = u->fresh;
		u->packing = u->fresh_packing;
		u->fresh = NULL;
	}
	lock_drop(&u->lock);
	if (!old)
		return;
	servers_close(old);
	use_servers(u, true);
	backoff_reset(&u->backoff);
}

static enum frame_packing packing_of(const struct uplink *u)
{
	switch (u->packing) {
	case UPLINK_PLAIN: return FRAME_PLAIN;
	case UPLINK_LZ4: return FRAME_LZ4;
	case UPLINK_ZSTD: return FRAME_ZSTD;
	case UPLINK_AUTO: break;
	}
	return !u->pipe && servers_loopback(str_c(where(u))) ? FRAME_PLAIN : FRAME_ZSTD;
}

int uplink_set_servers(struct uplink *u, const struct servers_options *o,
	enum uplink_packing packing, struct error *e)
{
	struct servers *fresh, *unused;
	int r;

	assert(!u->pipe);
	if ((r = servers_open(&fresh, o, e)) < 0)
		return r;
	lock_take(&u->lock);
	unused = u->fresh;
	u->fresh = fresh;
	u->fresh_packing = packing;
	cond_broadcast(&u->changed);
	lock_drop(&u->lock);
	servers_close(unused);
	return 0;
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

/* Sending. */

/* A batch on its way. */
struct delivery {
	struct parcel *parcel;
	struct buf frame;
	enum frame_packing packing;
	bool elsewhere;
};

static int post(struct uplink *u, struct delivery *d, struct http_answer *answer, struct error *e)
{
	enum frame_packing packing = packing_of(u);

	if (d->frame.n == 0 || packing != d->packing) {
		account_release(u->o.account, d->frame.cap);
		buf_clear(&d->frame);
		frame_write(&d->frame, d->parcel->batch, packing);
		d->packing = packing;
		if (u->o.account)
			account_force(u->o.account, d->frame.cap);
	}
	if (u->pipe)
		return pipe_post(u->pipe, buf_view(&d->frame), d->elsewhere, answer, e);
	return servers_post(u->servers, buf_view(&d->frame), d->elsewhere, answer, e);
}

/* One try.  True: it is settled. */
static bool try(struct uplink *u, struct delivery *d, struct sink_result *result, uint64_t *wait_ms,
	struct error *e)
{
	struct http_answer answer;
	enum verdict v = VERDICT_AGAIN;
	int r = post(u, d, &answer, e);

	if (r >= 0)
		v = verdict_of(u->json, where(u), &answer, result, e);
	*wait_ms = v == VERDICT_AGAIN ? verdict_pause_ms(&u->backoff, r >= 0 ? &answer : NULL, e,
						RETRY_AFTER_MAX_S)
				      : 0;
	http_answer_fini(&answer);
	if (v == VERDICT_AGAIN)
		return false;
	if (result->code == ERR_GAP && u->known && !d->elsewhere &&
		known_elsewhere(u->known, d->parcel->batch, slot_of_current(u), result->mark)) {
		d->elsewhere = true;
		return false;
	}
	if (u->known && result->code == 0)
		known_acked(u->known, d->parcel->batch, slot_of_current(u));
	note_answer(u, d->parcel, d->frame.n, result);
	return true;
}

/* Send until there is an answer that settles it, or until told to give up. */
static void deliver(struct uplink *u, struct parcel *p, struct sink_result *result)
{
	struct delivery d = {.parcel = p};
	bool settled = false;

	backoff_reset(&u->backoff);
	while (!settled) {
		struct error e = {0};
		uint64_t wait_ms;

		take_fresh_servers(u);
		if (u->known)
			known_meet(u->known, p->batch);
		settled = try(u, &d, result, &wait_ms, &e);
		if (settled || wait_ms == 0)
			continue;
		note_trouble(u, &e);
		if (!u->pipe && servers_failed(u->servers)) {
			/* What the one before said of its mark does not hold here. */
			d.elsewhere = false;
			use_servers(u, true);
			wait_ms = 0;
		}
		if (!pause_before_retry(u, wait_ms)) {
			*result = (struct sink_result){0};
			result->code =
				error_set(&result->error, ERR_CLOSED, "not delivered: %s", e.text);
			settled = true;
		}
	}
	if (!u->pipe && result->code != ERR_CLOSED && servers_settled(u->servers))
		use_servers(u, true);
	account_release(u->o.account, u->o.account ? d.frame.cap : 0);
	buf_fini(&d.frame);
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
		r = error_set(e, ERR_BUSY, "%llu bytes wait for the server already",
			(unsigned long long)u->queued_bytes);
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
	servers_close(u->servers);
	servers_close(u->fresh);
	pipe_close(u->pipe);
	known_free(u->known);
	for (size_t i = 0; i < KNOWN_SERVERS; i++)
		free(u->slots[i]);
	json_parser_free(u->json);
	lock_fini(&u->lock);
	cond_fini(&u->changed);
	free(u);
}

/* The other side of the pipe went: there will be no other one. */
static void on_gone(void *arg)
{
	struct uplink *u = arg;

	lock_take(&u->lock);
	u->closing = true;
	u->aborting = true;
	u->stats.connected = false;
	error_set(&u->stats.last_error, ERR_CLOSED, "the other side has gone");
	cond_broadcast(&u->changed);
	lock_drop(&u->lock);
	if (u->o.gone)
		u->o.gone(u->o.gone_arg);
}

int uplink_open(struct uplink **out, const struct uplink_options *o, struct error *e)
{
	struct uplink *u = xcalloc(1, sizeof(*u));
	int r;

	u->o = *o;
	u->packing = o->packing;
	u->sink = (struct sink){.submit = submit, .position = position, .account = account};
	u->backoff = (struct backoff){.base_ms = RETRY_MS, .max_ms = RETRY_MAX_MS};
	lock_init(&u->lock);
	cond_init(&u->changed);
	list_init(&u->queue);
	u->json = json_parser_new();
	if (o->stdio)
		r = pipe_open(&u->pipe, STDIN_FILENO, STDOUT_FILENO, on_gone, u, e);
	else
		r = servers_open(&u->servers, &o->servers, e);
	if (r < 0) {
		uplink_free(u);
		return r;
	}
	if (u->servers)
		use_servers(u, false);
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

/* Under the lock: servers must not be exchanged meanwhile. */
static void cancel(struct uplink *u) REQUIRES(u->lock)
{
	if (u->pipe)
		pipe_cancel(u->pipe);
	else
		servers_cancel(u->servers);
}

void uplink_abort(struct uplink *u)
{
	lock_take(&u->lock);
	u->closing = true;
	u->aborting = true;
	cond_broadcast(&u->changed);
	cancel(u);
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
		cancel(u);
	lock_drop(&u->lock);
	pthread_join(u->thread, NULL);
	uplink_free(u);
}
