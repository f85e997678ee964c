/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /loki/api/v1/tail: history joined to live, without gap or duplicate.
 *
 * A tail is a cursor: it follows the order of commits, not of time, so a late
 * line is never skipped.  History is a query over sequences up to S (the last
 * one when the tail began), live is everything behind S.  Each frame carries
 * "sawlog": {"cursor": "<seq>"}; a client that comes back with cursor=<seq>
 * gets all that was committed since, however long it was away.  A slow reader
 * is waited for: its backlog is the store itself.  A frame that the socket's
 * queue does not take, for want of memory, is kept and tried again.
 *
 *   watch fires (committer) --> pump queued (once) --> tail worker reads the cursor, sends
 *                                    ^------------------ drained (socket has room again)
 *
 * A tail is freed when its socket is closed and no pump is queued or running.
 */
#include "api/internal.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/metric.h"
#include "codec/codec.h"
#include "query/tail.h"
#include "store/cursor.h"

enum {
	FRAME_BYTES = 64 << 10,
	WINDOW_BYTES = 2 << 20, /* what a tail that is far behind may hold of parts */
	TAILS_FEW = 8,          /* with more than these they hold nothing between two turns */
	QUEUED_MAX = 512 << 10, /* stop reading the cursor while more waits in the socket */
	CHUNK_ROWS = 10000,
	TURN_CHUNKS = 8, /* a tail far behind must not hold up the others */
	DEFAULT_HISTORY = 100,
};

struct tail {
	/* Fixed before the socket opens. */
	struct api *api;
	struct query *query;
	char *tenant;
	char token[17];   /* id of the one it was opened with; empty: none was asked for */
	uint64_t history; /* lines of history wanted */
	int64_t start_ns;
	bool strict;
	bool resumed; /* the client brought a cursor: no history */
	/* Tail worker only (one pump of a tail at a time). */
	struct cursor cursor;
	struct query_tail *live;  /* NULL: to be made when there is a row */
	struct query_result past; /* history not yet sent, newest first */
	size_t n_past;            /* of its entries, from the first on */
	struct buf frame;
	struct buf key;  /* of the stream open in the frame */
	struct buf next; /* of the line to be added */
	bool waits;      /* the frame is whole, and was not taken */
	bool begun;
	/* Under api.lock. */
	struct list node;
	struct ws *ws; /* NULL before open and after closed */
	struct store_watch *watch;
	enum { IDLE, QUEUED, AGAIN } pump;
	bool retry; /* the frame waits: the timer wakes the pump */
	bool closed;
};

static void tail_free(struct tail *t)
{
	cursor_fini(&t->cursor);
	query_tail_free(t->live);
	if (t->begun && !t->resumed)
		query_result_fini(&t->past);
	query_free(t->query);
	free(t->tenant);
	buf_fini(&t->frame);
	buf_fini(&t->key);
	buf_fini(&t->next);
	free(t);
}

static void pump_run(void *arg);

/* Have the cursor read soon.  Any thread. */
static void pump_wake(void *arg)
{
	struct tail *t = arg;
	bool queue = false;

	lock_take(&t->api->lock);
	if (t->pump == IDLE && !t->closed) {
		t->pump = QUEUED;
		queue = true;
	} else if (t->pump == QUEUED) {
		t->pump = AGAIN;
	}
	lock_drop(&t->api->lock);
	if (queue)
		workers_submit(t->api->tails, pump_run, t);
}

void tail_retry_all(struct api *a)
{
	LIST_EACH (node, &a->tail_list) {
		struct tail *t = CONTAINER(node, struct tail, node);
		if (!t->retry || t->pump != IDLE || t->closed)
			continue;
		t->pump = QUEUED;
		workers_submit(a->tails, pump_run, t);
	}
}

static void frame_send(struct tail *t)
{
	/* Under the lock, which tail_closed takes before the socket goes. */
	lock_take(&t->api->lock);
	t->waits = t->ws && !t->closed && ws_send(t->ws, buf_view(&t->frame)) == ERR_BUSY;
	t->retry = t->waits;
	lock_drop(&t->api->lock);
	if (!t->waits)
		buf_clear(&t->frame);
}

static void frame_end(struct tail *t, uint64_t seq)
{
	if (t->frame.n == 0)
		return;
	buf_printf(&t->frame,
		"]}],\"dropped_entries\":null,\"sawlog\":{\"cursor\":\"%" PRIu64 "\"}}", seq);
	buf_clear(&t->key);
	frame_send(t);
}

static void put_part(struct buf *key, struct str part)
{
	varint_put(key, part.n);
	buf_str(key, part);
}

/* Add a line to the frame, under the stream object that is open if it is the same. */
static void frame_add(struct tail *t, const struct query_entry *x)
{
	buf_clear(&t->next);
	put_part(&t->next, x->labels);
	put_part(&t->next, x->meta);
	put_part(&t->next, x->parsed);
	if (t->frame.n && str_eq(buf_view(&t->key), buf_view(&t->next))) {
		buf_char(&t->frame, ',');
	} else {
		struct buf key = t->key;

		buf_c(&t->frame, t->frame.n ? "]},{\"stream\":" : "{\"streams\":[{\"stream\":");
		api_write_labels(&t->frame, x->labels, x->meta, x->parsed);
		buf_c(&t->frame, ",\"values\":[");
		t->key = t->next;
		t->next = key;
	}
	buf_printf(&t->frame, "[\"%" PRId64 "\",", x->timestamp);
	buf_json(&t->frame, x->line);
	buf_char(&t->frame, ']');
}

/* Bytes that may wait before the cursor is read on: less when many tails share the memory. */
static uint64_t may_wait(const struct api *a) REQUIRES(a->lock)
{
	uint64_t share = a->tail_account.limit / (a->n_tails + 1);

	return share < QUEUED_MAX ? share : QUEUED_MAX;
}

/* Is there room in the socket for more?  Never more than QUEUED_MAX and one frame waits. */
static bool has_room(struct tail *t)
{
	bool room;

	if (t->waits)
		return false;
	lock_take(&t->api->lock);
	room = t->ws && !t->closed && ws_queued(t->ws) <= may_wait(t->api);
	lock_drop(&t->api->lock);
	return room;
}

static int live_entry(void *ctx, const struct query_entry *x)
{
	frame_add(ctx, x);
	return 0;
}

static int live_begin(struct tail *t)
{
	/* The query was found fit for it when the tail was opened. */
	return t->live ? 0
		       : query_tail_new(&t->live, t->query, t->strict, &t->api->tail_account, NULL);
}

/* Rows arrive in sequence order; what the socket has no room for is left to the cursor.  A frame
 * ends between two records, never between the entries that stages made of one: its cursor could not
 * say where. */
static int live_rows(void *ctx, const struct rows *rows)
{
	struct tail *t = ctx;
	uint64_t last = 0;
	size_t k;

	if (live_begin(t) < 0)
		return 0;
	query_tail_unit(t->live, rows);
	for (k = 0; k < rows->n; k++) {
		uint32_t i = rows->pick[k];
		size_t before = t->frame.n;

		query_tail_row(t->live, rows, i, live_entry, t);
		if (t->frame.n > before)
			last = rows->seq[i];
		if (t->frame.n > FRAME_BYTES) {
			frame_end(t, last);
			if (!has_room(t))
				break;
		}
	}
	if (!t->waits)
		frame_end(t, last);
	return k < rows->n ? (int)k + 1 : 0;
}

/* Look up the last `history` lines up to the sequence at which the tail begins. */
static int find_history(struct tail *t, struct error *e)
{
	struct query_params p = {.start_ns = t->start_ns,
		.end_ns = INT64_MAX,
		.limit = t->history,
		.tenant = str_c(t->tenant),
		.account = &t->api->query_account,
		.memory_bytes = t->api->query_account.limit,
		.strict = t->strict,
		.timeout_ns = t->api->o.query_timeout_ns};
	struct snapshot *sn = snapshot_take(t->api->o.store);
	int r = 0;

	t->cursor.after_seq = p.until_seq = snapshot_last_seq(sn);
	if (t->history && p.until_seq && (r = query_run(t->query, sn, &p, &t->past, e)) >= 0)
		t->n_past = t->past.n_entries;
	snapshot_free(sn);
	return r < 0 ? r : 0;
}

/* Oldest first.  Inside history the cursor cannot say where: a client cut off here begins again
 * with its history. */
static void send_history(struct tail *t)
{
	while (t->n_past && has_room(t)) {
		while (t->n_past && t->frame.n <= FRAME_BYTES) {
			frame_add(t, &t->past.entries[--t->n_past]);
		}
		frame_end(t, t->n_past ? 0 : t->cursor.after_seq);
	}
}

/* 1 when there is more, but it is the turn of other tails. */
static int pump_once(struct tail *t, struct error *e)
{
	int r;

	if (!t->begun && !t->resumed && (r = find_history(t, e)) < 0)
		return r;
	t->begun = true;
	if (t->waits)
		frame_send(t);
	send_history(t);
	for (int turn = 0; t->n_past == 0 && has_room(t); turn++) {
		if (turn == TURN_CHUNKS)
			return 1;
		if ((r = cursor_next(&t->cursor, CHUNK_ROWS, live_rows, t, e)) <= 0)
			return r;
	}
	return 0;
}

static void pump_run(void *arg)
{
	struct tail *t = arg;
	struct api *a = t->api;
	struct error e;
	bool again, gone;

	int r = pump_once(t, &e);
	/* There is one worker for all tails: none need keep a buffer. */
	if (!t->waits) {
		buf_fini(&t->frame);
		buf_fini(&t->key);
		buf_fini(&t->next);
	}
	lock_take(&a->lock);
	if (a->n_tails > TAILS_FEW) {
		cursor_fini(&t->cursor);
		query_tail_free(t->live);
		t->live = NULL;
	}
	if (r < 0 && t->ws && !t->closed)
		ws_close(t->ws, 1011, e.text);
	again = (r > 0 || t->pump == AGAIN) && !t->closed;
	t->pump = again ? QUEUED : IDLE;
	gone = t->closed;
	lock_drop(&a->lock);
	if (again)
		workers_submit(a->tails, pump_run, t);
	else if (gone)
		tail_free(t);
}

static void tail_open(struct ws *w, void *arg)
{
	struct tail *t = arg;
	struct api *a = t->api;

	lock_take(&a->lock);
	t->ws = w;
	list_append(&a->tail_list, &t->node);
	metric_set(METRIC_tail_clients, "", ++a->n_tails);
	lock_drop(&a->lock);
	t->watch = store_watch_add(a->o.store, pump_wake, t);
	if (atomic_load(&a->draining))
		ws_close(w, 1001, "the server is stopping");
	pump_wake(t);
}

static void tail_drained(struct ws *w, void *arg)
{
	pump_wake(arg);
}

static void tail_closed(struct ws *w, void *arg)
{
	struct tail *t = arg;
	struct api *a = t->api;
	bool idle;

	if (t->watch)
		store_watch_remove(a->o.store, t->watch);
	lock_take(&a->lock);
	t->closed = true;
	if (t->ws) {
		list_remove(&t->node);
		metric_set(METRIC_tail_clients, "", --a->n_tails);
	}
	idle = t->pump == IDLE;
	lock_drop(&a->lock);
	/* Else the pump frees it when it is done. */
	if (idle)
		tail_free(t);
}

void tail_end_all(struct api *a)
{
	lock_take(&a->lock);
	LIST_EACH (node, &a->tail_list)
		ws_close(CONTAINER(node, struct tail, node)->ws, 1001, "the server is stopping");
	lock_drop(&a->lock);
}

void tail_end_denied(struct api *a)
{
	LIST_EACH (node, &a->tail_list) {
		struct tail *t = CONTAINER(node, struct tail, node);
		if (t->token[0] && !t->closed && t->ws && !tokens_alive(a->o.tokens, t->token))
			ws_close(t->ws, 1008, "the token was revoked or has expired");
	}
}

static int read_params(struct tail *t, struct http_request *r, struct error *e)
{
	struct str s = STR_NONE;
	int code;

	http_param(r, "query", &s);
	t->strict = api_strict(t->api, r);
	if ((code = query_parse(&t->query, s, e)) < 0 ||
		(t->strict && (code = query_check_strict(t->query, e)) < 0))
		return code;
	/* Made for its errors; the worker of tails makes its own. */
	if ((code = query_tail_new(&t->live, t->query, t->strict, NULL, e)) < 0)
		return code;
	query_tail_free(t->live);
	t->live = NULL;
	t->start_ns = clock_now_ns(t->api->o.clock) - 3600 * NS_PER_SEC;
	if ((code = api_param_time(r, "start", &t->start_ns, e)) < 0 ||
		(code = api_param_u64(r, "limit", DEFAULT_HISTORY, &t->history, e)) < 0)
		return code;
	if (http_param(r, "cursor", &s) && s.n) {
		if (!str_u64(s, &t->cursor.after_seq))
			return error_set(e, ERR_ARG, "cursor: \"%.*s\" is none of ours",
				STR_ARG(str_sub(s, 0, 100)));
		t->resumed = t->cursor.after_seq != 0;
	}
	return 0;
}

void loki_tail(struct http_request *r, void *ctx)
{
	static const struct ws_events events = {
		.open = tail_open, .drained = tail_drained, .closed = tail_closed};
	struct api *a = ctx;
	struct tail *t;
	struct str tenant;
	struct error e;

	if (!api_tenant(r, &tenant))
		return;
	t = xcalloc(1, sizeof *t);
	t->api = a;
	t->tenant = str_dup(tenant);
	str_copy(str_c(http_identity(r)->token), t->token, sizeof t->token);
	list_init(&t->node);
	if (read_params(t, r, &e) < 0) {
		api_fail(r, &e);
		tail_free(t);
		return;
	}
	t->cursor.store = a->o.store;
	t->cursor.tenant = str_c(t->tenant);
	t->cursor.window_bytes = WINDOW_BYTES;
	http_upgrade(r, &events, t);
}
