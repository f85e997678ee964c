/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  Two threads.  The sender posts one batch after the other; the
 * spiller takes the whole queue to disk when its oldest batch has waited too
 * long, when the queue takes too much memory, or when older batches are in the
 * buffer already.  The spiller may take the batch that the sender is just
 * trying: then the sender drops it after that try, whatever it brought, and
 * finds it again in the buffer.  The server knows the batch by its sources.
 *
 * What a server refuses for good was acknowledged to its sender when it came
 * out of the buffer: the record at fault is looked for here (halves.h).  A
 * refused batch that comes straight from memory is its sender's matter.
 */
#include "route/lane.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/log.h"
#include "forward/verdict.h"
#include "loop/loop.h"
#include "os/clock.h"
#include "route/halves.h"
#include "route/spool.h"

enum {
	RETRY_MS = 100,
	RETRY_MAX_MS = 2000,
	RETRY_AFTER_MAX_S = 5,
	SPILL_GROUP = 64, /* batches of one write */
	SPILL_PAUSE_MS = 200,
	QUEUE_FACTOR = 2, /* of memory: so much may be queued while it is written to disk */
};

struct parcel {
	struct list node;
	struct batch *batch;
	sink_done *done;
	void *arg;
	uint64_t bytes;
	int64_t since_mono;
};

struct lane {
	/* Fixed. */
	struct lane_options o;
	char *url, *zone, *labels;
	struct spool *spool;
	pthread_t sender, spiller;
	_Atomic uint64_t numbered;
	/* The sender's. */
	struct servers *servers; /* any thread may cancel it */
	struct json_parser *json;
	struct backoff backoff;
	struct buf frame;
	/* Under lock. */
	struct lock lock;
	struct cond changed;
	struct list queue;           /* of struct parcel */
	uint64_t queued_bytes;       /* of the queue, and of what is being written to disk */
	const struct parcel *trying; /* the head of the queue, while the sender has it */
	size_t n_writing;            /* parcels in the spiller's hands */
	bool hurry, ended, closing;
	bool spill_failing; /* said so */
	int64_t failing_since;
	struct lane_stats stats;
};

/* Results */

static void parcel_finish(struct lane *l, struct parcel *p, const struct sink_result *result)
{
	lock_take(&l->lock);
	l->queued_bytes -= p->bytes;
	cond_broadcast(&l->changed);
	lock_drop(&l->lock);
	account_release(l->o.account, p->bytes);
	p->done(p->arg, result);
	batch_unref(p->batch);
	free(p);
}

static void note_trouble(struct lane *l, const struct error *e)
{
	int64_t now = clock_mono_ns(clock_real());
	bool first;

	lock_take(&l->lock);
	first = l->failing_since == 0;
	if (first)
		l->failing_since = now;
	l->stats.connected = false;
	l->stats.retries++;
	l->stats.last_error = *e;
	lock_drop(&l->lock);
	if (first)
		log_warn(
			"route", "zone %s: %s does not take records: %s", l->zone, l->url, e->text);
}

static void note_answer(struct lane *l, const struct batch *b, const struct sink_result *result)
{
	int64_t failed;

	lock_take(&l->lock);
	failed = l->failing_since;
	l->failing_since = 0;
	l->stats.connected = true;
	if (result->code == 0) {
		l->stats.batches++;
		l->stats.records += batch_count(b);
		l->stats.duplicates += result->n_duplicates;
		l->stats.bytes += batch_raw_bytes(b);
	} else {
		l->stats.last_error = result->error;
	}
	lock_drop(&l->lock);
	if (failed)
		log_info("route", "zone %s: %s takes records again, after %.1f s", l->zone, l->url,
			(double)(clock_mono_ns(clock_real()) - failed) / 1e9);
}

/* Sending */

/* Wait before the next try; false when this batch is not to be tried any more: `p` is in the
 * spiller's hands, or the lane closes. */
static bool pause_before_retry(struct lane *l, const struct parcel *p, uint64_t ms)
{
	int64_t until = clock_mono_ns(clock_real()) + (int64_t)ms * NS_PER_MS, left;
	bool go_on;

	lock_take(&l->lock);
	while (!l->closing && (!p || l->trying == p) &&
		(left = until - clock_mono_ns(clock_real())) > 0)
		cond_wait_for(&l->changed, &l->lock, left);
	go_on = !l->closing && (!p || l->trying == p);
	lock_drop(&l->lock);
	return go_on;
}

static bool try(struct lane *l, const struct batch *b, struct sink_result *result,
	uint64_t *wait_ms, struct error *e)
{
	struct http_answer answer;
	enum verdict v = VERDICT_AGAIN;
	int r;

	servers_set_tenant(l->servers, batch_tenant(b));
	r = servers_post(l->servers, buf_view(&l->frame), true, &answer, e);
	if (r >= 0)
		v = verdict_of(l->json, l->url, &answer, result, e);
	if (v == VERDICT_AGAIN)
		*wait_ms = verdict_pause_ms(
			&l->backoff, r >= 0 ? &answer : NULL, e, RETRY_AFTER_MAX_S);
	http_answer_fini(&answer);
	return v != VERDICT_AGAIN;
}

/* Send until it is settled: true.  False: as pause_before_retry. */
static bool deliver(
	struct lane *l, const struct batch *b, const struct parcel *p, struct sink_result *result)
{
	enum frame_packing packing = servers_loopback(str_c(l->url)) ? FRAME_PLAIN : FRAME_ZSTD;
	bool settled = false, go_on = true;

	buf_clear(&l->frame);
	frame_write(&l->frame, b, packing);
	account_force(l->o.account, l->frame.cap);
	backoff_reset(&l->backoff);
	while (go_on && !settled) {
		uint64_t wait_ms = 0;
		struct error e;

		settled = try(l, b, result, &wait_ms, &e);
		if (settled)
			note_answer(l, b, result);
		else
			note_trouble(l, &e);
		go_on = settled || pause_before_retry(l, p, wait_ms);
	}
	account_release(l->o.account, l->frame.cap);
	if (l->frame.cap > 4 << 20)
		buf_fini(&l->frame);
	return settled;
}

static bool deliver_spooled(void *lane, struct batch *b, struct sink_result *result)
{
	return deliver(lane, b, NULL, result);
}

static void lose_refused(void *lane, const struct batch *b, const struct error *why)
{
	struct lane *l = lane;
	struct buf where = {0};

	buf_printf(&where, "zone %s: %s", l->zone, l->url);
	halves_tell_lost(buf_cstr(&where), b, why);
	buf_fini(&where);
	lock_take(&l->lock);
	l->stats.refused_records++;
	lock_drop(&l->lock);
}

static void send_spooled(struct lane *l)
{
	const struct halves h = {.deliver = deliver_spooled, .refused = lose_refused, .arg = l};
	struct batch *b;
	struct error e;
	int r = spool_next(l->spool, &b, &e);

	if (r < 0) {
		note_trouble(l, &e);
		pause_before_retry(l, NULL, RETRY_MAX_MS);
	} else if (r > 0) {
		if (halves_deliver(&h, b)) {
			spool_advance(l->spool);
			lock_take(&l->lock);
			cond_broadcast(&l->changed);
			lock_drop(&l->lock);
		}
		batch_unref(b);
	}
}

/* Under the lock, which is dropped meanwhile. */
static void send_head(struct lane *l) REQUIRES(l->lock)
{
	struct parcel *p = CONTAINER(l->queue.next, struct parcel, node);
	struct batch *b = batch_ref(p->batch);
	struct sink_result result = {0};
	bool settled, mine;

	l->trying = p;
	lock_drop(&l->lock);
	settled = deliver(l, b, p, &result);
	lock_take(&l->lock);
	mine = l->trying == p;
	l->trying = NULL;
	if (mine && settled)
		list_remove(&p->node);
	lock_drop(&l->lock);
	if (mine && settled)
		parcel_finish(l, p, &result);
	batch_unref(b);
	lock_take(&l->lock);
}

static void *send_run(void *arg)
{
	struct lane *l = arg;

	lock_take(&l->lock);
	while (!l->closing) {
		/* What the spiller has in its hands is older than the queue. */
		if (spool_batches(l->spool) > 0) {
			lock_drop(&l->lock);
			send_spooled(l);
			lock_take(&l->lock);
		} else if (l->n_writing == 0 && !list_empty(&l->queue)) {
			send_head(l);
		} else {
			cond_wait(&l->changed, &l->lock);
		}
	}
	lock_drop(&l->lock);
	return NULL;
}

/* Spilling */

/* Is the queue to go to disk?  Else *wait_ns says when that may be; -1: not before something
 * changes. */
static bool spill_due(struct lane *l, int64_t *wait_ns) REQUIRES(l->lock)
{
	const struct parcel *head;
	int64_t waited;

	*wait_ns = -1;
	if (list_empty(&l->queue))
		return false;
	if (l->hurry || l->queued_bytes > l->o.memory || spool_batches(l->spool) > 0)
		return true;
	head = CONTAINER(l->queue.next, struct parcel, node);
	waited = clock_mono_ns(clock_real()) - head->since_mono;
	*wait_ns = l->o.spill_after_ns - waited;
	return *wait_ns <= 0;
}

static size_t take_queue(struct lane *l, struct parcel **out) REQUIRES(l->lock)
{
	size_t n = 0;

	while (n < SPILL_GROUP && !list_empty(&l->queue)) {
		struct parcel *p = CONTAINER(l->queue.next, struct parcel, node);

		if (l->trying == p)
			l->trying = NULL;
		list_remove(&p->node);
		out[n++] = p;
	}
	l->n_writing = n;
	cond_broadcast(&l->changed);
	return n;
}

static void give_back(struct lane *l, struct parcel **taken, size_t n) REQUIRES(l->lock)
{
	while (n-- > 0)
		list_append(l->queue.next, &taken[n]->node); /* in front of the first */
	l->n_writing = 0;
	cond_broadcast(&l->changed);
}

static void finish_spilled(struct lane *l, struct parcel **taken, size_t n)
{
	lock_take(&l->lock);
	l->n_writing = 0;
	l->stats.spilled_batches += n;
	l->spill_failing = false;
	cond_broadcast(&l->changed);
	lock_drop(&l->lock);
	for (size_t i = 0; i < n; i++)
		parcel_finish(l, taken[i],
			&(struct sink_result){.n_committed = batch_count(taken[i]->batch)});
}

static void spill(struct lane *l) REQUIRES(l->lock)
{
	struct parcel *taken[SPILL_GROUP];
	struct batch *batches[SPILL_GROUP];
	size_t n = take_queue(l, taken);
	struct error e;
	bool first;
	int r;

	lock_drop(&l->lock);
	for (size_t i = 0; i < n; i++)
		batches[i] = taken[i]->batch;
	r = spool_append(l->spool, batches, n, &e);
	if (r == 0)
		finish_spilled(l, taken, n);
	lock_take(&l->lock);
	if (r == 0)
		return;
	first = !l->spill_failing;
	l->spill_failing = true;
	give_back(l, taken, n);
	l->stats.last_error = e;
	if (first)
		log_error("route", "zone %s: %s: its records wait in memory: %s", l->zone, l->url,
			e.text);
	if (!l->closing)
		cond_wait_for(&l->changed, &l->lock, SPILL_PAUSE_MS * NS_PER_MS);
}

static void *spill_run(void *arg)
{
	struct lane *l = arg;

	lock_take(&l->lock);
	while (!l->closing) {
		int64_t wait_ns;

		if (spill_due(l, &wait_ns))
			spill(l);
		else if (wait_ns < 0)
			cond_wait(&l->changed, &l->lock);
		else
			cond_wait_for(&l->changed, &l->lock, wait_ns);
	}
	lock_drop(&l->lock);
	return NULL;
}

/* Life */

int lane_open(struct lane **out, const struct lane_options *o, struct error *e)
{
	struct lane *l = xcalloc(1, sizeof *l);
	int r;

	assert(o->server.n_urls == 1);
	if ((r = servers_open(&l->servers, &o->server, e)) < 0) {
		free(l);
		return r;
	}
	if ((r = spool_open(&l->spool, o->fs, o->dir, e)) < 0) {
		servers_close(l->servers);
		free(l);
		return r;
	}
	l->o = *o;
	l->url = xstrdup(o->server.urls[0]);
	l->zone = xstrdup(o->zone);
	l->o.server = (struct servers_options){0};
	l->o.dir = l->o.zone = NULL;
	l->json = json_parser_new();
	l->backoff = (struct backoff){.base_ms = RETRY_MS, .max_ms = RETRY_MAX_MS};
	lock_init(&l->lock);
	cond_init(&l->changed);
	list_init(&l->queue);
	if (spool_batches(l->spool))
		log_info("route", "zone %s: %" PRIu64 " batches wait for %s in its buffer", l->zone,
			spool_batches(l->spool), l->url);
	l->sender = thread_start("route send", send_run, l);
	l->spiller = thread_start("route spill", spill_run, l);
	*out = l;
	return 0;
}

int lane_room(struct lane *l, uint64_t bytes, struct error *e)
{
	uint64_t waiting = spool_bytes(l->spool);
	int r = 0;

	lock_take(&l->lock);
	if (l->ended)
		r = error_set(e, ERR_CLOSED, "the router is stopping: send it again later");
	else if (waiting + l->queued_bytes + bytes > l->o.buffer)
		r = error_set(e, ERR_FULL,
			"zone %s: %s does not take records and its buffer of %" PRIu64
			" bytes is full: they must wait (route.buffer)",
			l->zone, l->url, l->o.buffer);
	else if (!list_empty(&l->queue) && l->queued_bytes + bytes > QUEUE_FACTOR * l->o.memory)
		r = error_set(e, ERR_BUSY, "zone %s: %" PRIu64 " bytes are under way to %s already",
			l->zone, l->queued_bytes, l->url);
	lock_drop(&l->lock);
	return r;
}

bool lane_add(struct lane *l, struct batch *b, sink_done *done, void *arg)
{
	struct parcel *p = xcalloc(1, sizeof *p);
	bool taken;

	*p = (struct parcel){.batch = b,
		.done = done,
		.arg = arg,
		.bytes = batch_bytes(b).n,
		.since_mono = clock_mono_ns(clock_real())};
	lock_take(&l->lock);
	taken = !l->ended;
	if (taken) {
		account_force(l->o.account, p->bytes);
		list_append(&l->queue, &p->node);
		l->queued_bytes += p->bytes;
		cond_broadcast(&l->changed);
	}
	lock_drop(&l->lock);
	if (!taken)
		free(p);
	return taken;
}

uint64_t lane_number(struct lane *l, uint64_t n)
{
	return atomic_fetch_add(&l->numbered, n);
}

void lane_hurry(struct lane *l)
{
	lock_take(&l->lock);
	l->hurry = true;
	cond_broadcast(&l->changed);
	lock_drop(&l->lock);
}

void lane_end(struct lane *l)
{
	lock_take(&l->lock);
	l->ended = true;
	cond_broadcast(&l->changed);
	lock_drop(&l->lock);
}

static void give_up_queue(struct lane *l)
{
	struct sink_result result = {0};

	result.code = error_set(&result.error, ERR_CLOSED, "not delivered: the router is ending");
	while (!list_empty(&l->queue)) {
		struct parcel *p = CONTAINER(l->queue.next, struct parcel, node);

		list_remove(&p->node);
		parcel_finish(l, p, &result);
	}
}

void lane_close(struct lane *l, int64_t until_mono_ns)
{
	int64_t left;

	lock_take(&l->lock);
	l->ended = l->hurry = true;
	cond_broadcast(&l->changed);
	while ((!list_empty(&l->queue) || l->n_writing > 0) &&
		(left = until_mono_ns - clock_mono_ns(clock_real())) > 0)
		cond_wait_for(&l->changed, &l->lock, left);
	l->closing = true;
	cond_broadcast(&l->changed);
	lock_drop(&l->lock);
	servers_cancel(l->servers);
	pthread_join(l->sender, NULL);
	pthread_join(l->spiller, NULL);
	give_up_queue(l);
	servers_close(l->servers);
	spool_close(l->spool);
	json_parser_free(l->json);
	buf_fini(&l->frame);
	lock_fini(&l->lock);
	cond_fini(&l->changed);
	free(l->url);
	free(l->zone);
	free(l);
}

void lane_stats(struct lane *l, struct lane_stats *out)
{
	lock_take(&l->lock);
	*out = l->stats;
	out->queued_bytes = l->queued_bytes;
	out->failing_ns = l->failing_since ? clock_mono_ns(clock_real()) - l->failing_since : 0;
	lock_drop(&l->lock);
	out->buffer_bytes = spool_bytes(l->spool);
	out->buffer_batches = spool_batches(l->spool);
	out->damaged_bytes = spool_damaged(l->spool);
}

const char *lane_url(const struct lane *l)
{
	return l->url;
}
