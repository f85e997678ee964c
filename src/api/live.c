/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live answers: history joined to live, without gap or duplicate.
 *
 * A feed is a cursor over this server's store with those who are told what it
 * finds: one subscriber, or those of a group, of whom each record goes to the
 * next that has room.  It follows the order of commits, so a late line is never
 * skipped.  History is a query over sequences up to S (the last one when the
 * subscription began), live is everything behind S.  A slow reader is waited
 * for: its backlog is the store itself.  Frames that the socket's queue does
 * not take, for want of memory, are kept and tried again.
 *
 *   watch fires (committer) --> pump queued (once) --> tail worker reads the cursor, sends
 *                                    ^------------------ drained (socket has room again)
 *                                    ^------------------ tick (retry, heartbeat, end of life)
 *
 * Whoever is closed is taken out and freed by the pump, or where none is queued
 * or running.  A feed of one ends with it; the feed of a group waits GROUP_NS for
 * another member, so that nothing is lost when the last one comes back.
 */
#include "api/live_core.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/metric.h"
#include "query/tail.h"
#include "store/cursor.h"

enum {
	FRAME_BYTES = 64 << 10,
	TAILS_FEW = 8,          /* with more than these they hold nothing between two turns */
	QUEUED_MAX = 512 << 10, /* stop reading the cursor while more waits in the socket */
	CHUNK_ROWS = 10000,
	TURN_CHUNKS = 8, /* one far behind must not hold up the others */
};

#define BEAT_NS  (15 * NS_PER_SEC)
#define GROUP_NS (300 * NS_PER_SEC)
#define AHEAD_NS (600 * NS_PER_SEC) /* by which clocks of senders may be ahead */

/* Life */

static void live_free(struct live *m)
{
	if (m->form && m->form->rest)
		m->form->rest(m->state);
	if (m->n_past)
		query_result_fini(&m->past);
	join_free(m->join);
	free(m->state);
	free(m->app);
	buf_fini(&m->frame);
	buf_fini(&m->ready);
	buf_fini(&m->made);
	free(m);
}

/* Nobody holds it any more.  Not under the lock, which a watch takes. */
static void feed_free(struct feed *f)
{
	if (f->watch)
		store_watch_remove(f->api->o.store, f->watch);
	cursor_fini(&f->cursor);
	query_tail_free(f->tail);
	query_free(f->query);
	free(f->turn);
	free(f->tenant);
	buf_fini(&f->group);
	free(f);
}

static void pump_run(void *arg);

static void feed_wake(struct api *a, struct feed *f) REQUIRES(a->lock)
{
	if (f->pump == IDLE && !f->over && f->n_members) {
		f->pump = QUEUED;
		workers_submit(a->tails, pump_run, f);
	} else if (f->pump == QUEUED) {
		f->pump = AGAIN;
	}
}

void live_wake(struct live *m) UNCHECKED
{
	feed_wake(m->api, m->feed);
}

/* Have the cursor read soon.  Any thread. */
static void pump_wake(void *arg)
{
	struct feed *f = arg;
	struct api *a = f->api;

	lock_take(&a->lock);
	feed_wake(a, f);
	lock_drop(&a->lock);
}

/* Move those that are closed to `dead`.  Where no pump is queued or running, or by the pump. */
static void reap(struct api *a, struct feed *f, struct list *dead) REQUIRES(a->lock)
{
	LIST_EACH (node, &f->members) {
		struct live *m = CONTAINER(node, struct live, node);
		if (!m->closed || (m->join && m->join->asking))
			continue;
		list_remove(node);
		list_append(dead, node);
		f->n_members--;
	}
	if (f->n_members || f->over)
		return;
	f->parked_mono = clock_mono_ns(a->o.clock);
	if (f->group.n == 0) {
		list_remove(&f->node);
		f->over = true;
	}
}

static void free_dead(struct list *dead)
{
	LIST_EACH (node, dead)
		live_free(CONTAINER(node, struct live, node));
}

/* Frames */

/* Bytes that may wait before the cursor is read on: less when many tails share the memory. */
static uint64_t may_wait(const struct api *a) REQUIRES(a->lock)
{
	uint64_t share = a->tail_account.limit / (a->n_tails + 1);

	return share < QUEUED_MAX ? share : QUEUED_MAX;
}

int live_send(const struct live *m, struct str frame)
{
	return m->form->binary || m->framed ? ws_send_binary(m->ws, frame) : ws_send(m->ws, frame);
}

bool live_room(const struct live *m)
{
	return !m->waits && !m->closed && ws_queued(m->ws) <= may_wait(m->api);
}

/* Those of one that is joined are not ended before they go. */
static int frame_send(struct live *m, const struct made_frame *f, struct str bytes)
	REQUIRES(m->api->lock)
{
	return m->join ? join_send(m, f, bytes) : live_send(m, bytes);
}

/* Hand the whole frames to the socket, and see whether it has room for more: never more than
 * QUEUED_MAX and some frames wait. */
static void flush(struct live *m)
{
	struct made_frame *made = (struct made_frame *)m->made.p;
	size_t n = m->made.n / sizeof *made, i = 0, at = 0;
	int r = 0;

	/* Under the lock, which live_closed takes before the socket goes. */
	lock_take(&m->api->lock);
	for (; i < n && !m->closed; i++) {
		r = frame_send(m, &made[i], str_sub(buf_view(&m->ready), at, made[i].end));
		if (r == ERR_BUSY)
			break;
		at = made[i].end;
	}
	m->waits = r == ERR_BUSY;
	m->room = live_room(m);
	m->feed->retry |= m->waits;
	lock_drop(&m->api->lock);
	if (i == n || !m->waits) {
		buf_clear(&m->ready);
		buf_clear(&m->made);
		return;
	}
	buf_shift(&m->ready, at);
	buf_shift(&m->made, i * sizeof *made);
	for (size_t k = 0; k < n - i; k++)
		made[k].end -= (uint32_t)at;
}

static void put_sequence(struct buf *out, uint64_t seq)
{
	for (int i = 56; i >= 0; i -= 8)
		buf_char(out, (char)(seq >> i));
}

/* A frame that is whole but for its prefix, or `open`: join_send ends it. */
static void frame_put(struct live *m, uint64_t seq, struct str bytes, enum made made)
{
	struct made_frame f = {.seq = seq, .made = made};

	if (m->framed)
		put_sequence(&m->ready, seq);
	buf_str(&m->ready, bytes);
	f.end = (uint32_t)m->ready.n;
	buf_put(&m->made, &f, sizeof f);
}

/* End the frame that is open: with it all up to seq is told, but within history. */
static void frame_end_as(struct live *m, uint64_t seq, enum made made)
{
	char cursor[24] = "";

	if (m->frame.n == 0)
		return;
	if (!m->framed && !m->join && m->form->end) {
		if (made == MADE_LIVE && m->feed->group.n == 0)
			snprintf(cursor, sizeof cursor, "%" PRIu64, seq);
		m->form->end(&m->frame, str_c(cursor));
	}
	if (m->form->rest)
		m->form->rest(m->state);
	frame_put(m, seq, buf_view(&m->frame), made);
	buf_clear(&m->frame);
}

static void frame_end(struct live *m, uint64_t seq)
{
	frame_end_as(m, seq, MADE_LIVE);
}

/* `seq` is what a frame that is full before this entry stands for. */
static void frame_add(struct live *m, uint64_t seq, const struct query_entry *x, enum made made)
{
	bool more = true;

	for (size_t nth = 0; more; nth++) {
		if (m->form->single)
			frame_end_as(m, seq, made);
		more = m->form->add(m->api, m->state, &m->frame, x, nth);
	}
}

/* Live */

static int on_entry(void *ctx, const struct query_entry *x)
{
	struct live *m = ctx;

	frame_add(m, m->told_seq, x, MADE_LIVE);
	return 0;
}

/* The member that gets the next record; NULL: none has room. */
static struct live *choose(struct feed *f)
{
	for (size_t i = 0; i < f->n_turn; i++) {
		struct live *m = f->turn[(f->next + i) % f->n_turn];

		if (m->room && m->begun && m->n_past == 0 && !m->history_only) {
			f->next = (f->next + i + 1) % f->n_turn;
			return m;
		}
	}
	return NULL;
}

/* A record was told, to m: a frame ends between two records, never between the entries that stages
 * made of one, as its cursor could not say where. */
static void row_end(struct live *m, uint64_t seq)
{
	m->told_seq = seq;
	if (m->form->single)
		frame_end(m, seq);
	if (m->frame.n + m->ready.n <= FRAME_BYTES)
		return;
	frame_end(m, seq);
	flush(m);
}

/* Rows arrive in sequence order; what no socket has room for is left to the cursor. */
static int on_rows(void *ctx, const struct rows *rows)
{
	struct feed *f = ctx;
	size_t k = 0;

	/* The query was found fit for it when it was asked for. */
	if (!f->tail &&
		query_tail_new(&f->tail, f->query, f->strict, &f->api->tail_account, NULL) < 0)
		return 0;
	query_tail_unit(f->tail, rows);
	for (; k < rows->n; k++) {
		uint32_t i = rows->pick[k];
		struct live *m = choose(f);

		if (!m)
			break;
		query_tail_row(f->tail, rows, i, on_entry, m);
		if (m->frame.n || m->ready.n)
			row_end(m, rows->seq[i]);
		else if (f->group.n)
			f->next = f->next ? f->next - 1
					  : f->n_turn - 1; /* none for it: the next one */
	}
	/* 0 means all: none at all is only asked for when somebody had room. */
	assert(k > 0 || rows->n == 0);
	for (size_t i = 0; i < f->n_turn; i++) {
		frame_end(f->turn[i], f->turn[i]->told_seq);
		flush(f->turn[i]);
	}
	return k < rows->n ? (int)k : 0;
}

static bool somebody_has_room(struct feed *f)
{
	size_t next = f->next;
	bool found = choose(f) != NULL;

	f->next = next;
	return found;
}

/* Beginning and history */

/* Look up the last `history` lines up to the sequence at which it begins. */
static int find_history(struct live *m, struct error *e)
{
	struct feed *f = m->feed;
	struct query_params p = {.start_ns = m->start_ns,
		.end_ns = INT64_MAX,
		.limit = m->history,
		.tenant = str_c(f->tenant),
		.account = &m->api->query_account,
		.memory_bytes = m->api->query_account.limit,
		.strict = f->strict,
		.timeout_ns = m->api->o.query_timeout_ns};
	struct snapshot *sn = snapshot_take(m->api->o.store);
	int r = 0;

	f->cursor.after_seq = p.until_seq = m->asked_seq;
	if (m->history && p.until_seq && (r = query_run(f->query, sn, &p, &m->past, e)) >= 0) {
		m->n_past = m->past.n_entries;
		if (m->n_past == 0)
			query_result_fini(&m->past);
	}
	snapshot_free(sn);
	return r < 0 ? r : 0;
}

static int lowest_seq(void *ctx, const struct rows *rows, struct error *e)
{
	uint64_t *lowest = ctx;

	for (size_t k = 0; k < rows->n; k++)
		if (rows->seq[rows->pick[k]] < *lowest)
			*lowest = rows->seq[rows->pick[k]];
	return 0;
}

/* Begin in front of the first record of a time from since_ns on. */
static int find_since(struct live *m, struct error *e)
{
	struct snapshot *sn = snapshot_take(m->api->o.store);
	uint64_t lowest = snapshot_last_seq(sn) + 1;
	struct scan sc = {.tenant = str_c(m->feed->tenant),
		.from_ns = m->since_ns,
		/* What was dated in the future long ago does not count. */
		.to_ns = clock_now_ns(m->api->o.clock) + AHEAD_NS,
		.order = SCAN_BY_SEQ,
		.columns = SCAN_SEQ,
		.account = &m->api->query_account,
		.ctx = &lowest,
		.rows = lowest_seq};
	int r = snapshot_scan(sn, &sc, e);

	snapshot_free(sn);
	m->feed->cursor.after_seq = lowest - 1;
	return r < 0 ? r : 0;
}

static int begin(struct live *m, struct error *e)
{
	struct feed *f = m->feed;
	int r = 0;

	if (m->begun)
		return 0;
	if (m->join && m->history && !m->resumed) {
		/* It comes from the other servers as well, when it is there. */
		if ((r = join_history(m, e)) <= 0)
			return r;
	} else if (!f->placed && m->resumed)
		f->cursor.after_seq = m->after_seq;
	else if (!f->placed && m->since_ns)
		r = find_since(m, e);
	else if (f->group.n == 0)
		r = find_history(m, e);
	if (r < 0)
		return r;
	f->placed = true;
	m->told_seq = f->cursor.after_seq;
	if (m->framed)
		frame_put(m, m->told_seq, str_c(m->api->o.instance), MADE_WHOLE);
	m->begun = true;
	return 0;
}

/* Oldest first.  Inside history the cursor cannot say where: a client cut off here begins again
 * with its history. */
static void send_history(struct live *m)
{
	while (m->n_past && m->room) {
		while (m->n_past && m->frame.n + m->ready.n <= FRAME_BYTES)
			frame_add(m, m->told_seq, &m->past.entries[--m->n_past], MADE_PAST);
		frame_end_as(m, m->told_seq, m->n_past ? MADE_PAST : MADE_LIVE);
		if (m->n_past == 0)
			query_result_fini(&m->past);
		flush(m);
	}
	if (m->join && m->begun && m->n_past == 0 && m->ready.n == 0)
		join_go(m);
}

/* Heartbeat and the end of its time, as the tick found them due. */
static void send_due(struct live *m)
{
	bool beat, end;

	if (!m->begun || m->n_past || !m->room)
		return;
	lock_take(&m->api->lock);
	beat = m->beat_due;
	end = m->end_due;
	m->beat_due = m->end_due = false;
	lock_drop(&m->api->lock);
	if (!beat && !end)
		return;
	if (m->framed)
		frame_put(m, m->feed->cursor.after_seq, STR_NONE, MADE_WHOLE);
	else if (end && m->form->closing)
		m->form->closing(&m->frame);
	else if (m->form->beat)
		m->form->beat(&m->frame, clock_now_ns(m->api->o.clock));
	if (m->frame.n)
		frame_put(m, 0, buf_view(&m->frame), MADE_WHOLE);
	buf_clear(&m->frame);
	flush(m);
	lock_take(&m->api->lock);
	if (end && !m->closed)
		ws_close(m->ws, 1000, "");
	lock_drop(&m->api->lock);
}

/* What is of one member alone. */
static int serve(struct live *m, struct error *e)
{
	int r;

	if (m->failed)
		return 0;
	if ((r = begin(m, e)) < 0)
		return r;
	flush(m);
	send_history(m);
	send_due(m);
	if (!m->history_only || !m->begun || m->n_past || m->ready.n)
		return 0;
	lock_take(&m->api->lock);
	if (!m->closed)
		ws_close(m->ws, 1000, "");
	lock_drop(&m->api->lock);
	return 0;
}

/* What retention took */

static void add_drop(struct feed *f, const struct live_drop *d)
{
	struct live_drop *last = &f->drops[LIVE_DROPS_MAX - 1];

	if (f->n_drops < LIVE_DROPS_MAX) {
		f->drops[f->n_drops++] = *d;
		return;
	}
	last->first_seq = d->first_seq < last->first_seq ? d->first_seq : last->first_seq;
	last->last_seq = d->last_seq > last->last_seq ? d->last_seq : last->last_seq;
	last->records += d->records;
}

/* On the store's upkeep thread. */
static void on_dropped(void *arg, uint64_t first_seq, uint64_t last_seq, uint64_t records)
{
	struct live_drop d = {.first_seq = first_seq, .last_seq = last_seq, .records = records};
	struct api *a = arg;

	lock_take(&a->lock);
	LIST_EACH (node, &a->tail_list) {
		struct feed *f = CONTAINER(node, struct feed, node);
		add_drop(f, &d);
		feed_wake(a, f);
	}
	lock_drop(&a->lock);
}

/* Those of its records that lie behind a place: exact where the sequences are without gaps. */
static uint64_t dropped_behind(const struct live_drop *d, uint64_t after_seq)
{
	uint64_t span = d->last_seq - d->first_seq + 1, left;

	if (d->last_seq <= after_seq)
		return 0;
	left = d->last_seq - (after_seq < d->first_seq ? d->first_seq - 1 : after_seq);
	return (uint64_t)((double)d->records * ((double)left / (double)span) + 0.5);
}

/* Tell a subscriber what it was too slow for.  How much of it it would have been told, nobody knows
 * any more. */
static void tell_missed(struct feed *f)
{
	struct live_drop drops[LIVE_DROPS_MAX];
	struct live *m = f->turn[f->next];
	uint64_t missed = 0;
	size_t n;

	/* At the beginning the place is not known yet, and what was dropped is not behind it. */
	if (!m->begun)
		return;
	lock_take(&f->api->lock);
	n = f->n_drops;
	memcpy(drops, f->drops, n * sizeof *drops);
	f->n_drops = 0;
	lock_drop(&f->api->lock);
	for (size_t i = 0; i < n; i++)
		missed += dropped_behind(&drops[i], f->cursor.after_seq);
	if (missed == 0)
		return;
	/* What it holds of them goes too, so that the count is right. */
	cursor_fini(&f->cursor);
	metric_add(METRIC_tail_missed_records_total, "", (int64_t)missed);
	if (!m->form->missed)
		return;
	m->form->missed(&m->frame, missed, str_c(m->app), clock_now_ns(f->api->o.clock));
	frame_end(m, m->told_seq);
	flush(m);
}

/* The pump */

static void fail(struct live *m, const struct error *e)
{
	m->failed = true;
	m->room = false;
	lock_take(&m->api->lock);
	if (!m->closed)
		ws_close(m->ws, 1011, e->text);
	lock_drop(&m->api->lock);
}

/* 1 when there is more, but it is the turn of others. */
static int read_on(struct feed *f, struct error *e)
{
	int r = 0;

	for (int turn = 0; r >= 0 && somebody_has_room(f); turn++) {
		if (turn == TURN_CHUNKS)
			return 1;
		if ((r = cursor_next(&f->cursor, CHUNK_ROWS, on_rows, f, e)) == 0)
			break;
	}
	return r < 0 ? r : 0;
}

static int pump_once(struct feed *f)
{
	struct error e;
	int r;

	for (size_t i = 0; i < f->n_turn; i++)
		if (serve(f->turn[i], &e) < 0)
			fail(f->turn[i], &e);
	if (f->n_turn)
		tell_missed(f);
	if ((r = read_on(f, &e)) >= 0)
		return r;
	for (size_t i = 0; i < f->n_turn; i++)
		fail(f->turn[i], &e);
	return 0;
}

/* Members come while the pump runs, and those are for its next turn; they go by its leave alone. */
static void take_turn(struct feed *f)
{
	lock_take(&f->api->lock);
	f->n_turn = 0;
	f->turn = xrealloc(f->turn, (f->n_members + 1) * sizeof(struct live *));
	LIST_EACH (node, &f->members) {
		struct live *m = CONTAINER(node, struct live, node);
		if (!m->closed)
			f->turn[f->n_turn++] = m;
	}
	f->retry = false;
	lock_drop(&f->api->lock);
	if (f->n_turn)
		f->next %= f->n_turn;
}

/* There are few workers for all feeds: none need keep a buffer. */
static void let_go(struct feed *f)
{
	for (size_t i = 0; i < f->n_turn; i++) {
		struct live *m = f->turn[i];

		buf_fini(&m->frame);
		if (m->ready.n)
			continue;
		buf_fini(&m->ready);
		buf_fini(&m->made);
	}
}

static void pump_run(void *arg)
{
	struct feed *f = arg;
	struct api *a = f->api;
	struct list dead;
	bool again, over;
	int r;

	list_init(&dead);
	take_turn(f);
	r = pump_once(f);
	let_go(f);
	lock_take(&a->lock);
	if (a->n_tails > TAILS_FEW) {
		cursor_fini(&f->cursor);
		query_tail_free(f->tail);
		f->tail = NULL;
	}
	reap(a, f, &dead);
	again = (r > 0 || f->pump == AGAIN) && f->n_members;
	f->pump = again ? QUEUED : IDLE;
	over = f->over;
	lock_drop(&a->lock);
	free_dead(&dead);
	if (over)
		feed_free(f);
	else if (again)
		workers_submit(a->tails, pump_run, f);
}

/* The socket's events: its loop's thread */

/* Join the group's feed, if there is one already; else begin it.  The feed that is not needed is
 * returned. */
static struct feed *join(struct api *a, struct live *m) REQUIRES(a->lock)
{
	struct feed *f = m->feed, *unneeded = NULL;

	LIST_EACH (node, &a->tail_list) {
		struct feed *other = CONTAINER(node, struct feed, node);
		if (f->group.n && !other->over &&
			str_eq(buf_view(&other->group), buf_view(&f->group))) {
			unneeded = f;
			m->feed = other;
			break;
		}
	}
	if (!unneeded)
		list_append(&a->tail_list, &f->node);
	list_append(&m->feed->members, &m->node);
	m->feed->n_members++;
	return unneeded;
}

static void live_open(struct ws *w, void *arg)
{
	struct live *m = arg;
	struct api *a = m->api;
	int64_t now = clock_mono_ns(a->o.clock);
	struct feed *unneeded;

	/* A group begins when its first member asked. */
	m->feed->cursor.after_seq = m->asked_seq;
	lock_take(&a->lock);
	m->ws = w;
	m->beat_mono = now + BEAT_NS;
	m->end_mono = m->lifetime_ns ? now + m->lifetime_ns : 0;
	unneeded = join(a, m);
	metric_set(METRIC_tail_clients, "", ++a->n_tails);
	lock_drop(&a->lock);
	if (unneeded)
		feed_free(unneeded);
	else
		m->feed->watch = store_watch_add(a->o.store, pump_wake, m->feed);
	if (atomic_load(&a->draining))
		ws_close(w, 1001, "the server is stopping");
	pump_wake(m->feed);
}

static void live_drained(struct ws *w, void *arg)
{
	struct live *m = arg;

	if (m->join)
		join_resume(m);
	pump_wake(m->feed);
}

static void live_closed(struct ws *w, void *arg)
{
	struct live *m = arg;
	struct api *a = m->api;
	struct feed *f = m->feed;
	struct list dead;
	bool over;

	list_init(&dead);
	if (m->join)
		join_close(m);
	if (!m->ws) {
		feed_free(f);
		live_free(m);
		return;
	}
	lock_take(&a->lock);
	m->closed = true;
	metric_set(METRIC_tail_clients, "", --a->n_tails);
	if (f->pump == IDLE)
		reap(a, f, &dead);
	over = f->over && f->pump == IDLE;
	lock_drop(&a->lock);
	free_dead(&dead);
	if (over)
		feed_free(f);
}

const struct ws_events live_events = {
	.open = live_open, .drained = live_drained, .closed = live_closed};

/* For all of them */

/* Have those go on that wait for memory, or for whom it is time. */
static bool is_due(struct api *a, struct feed *f, int64_t now) REQUIRES(a->lock)
{
	bool due = f->retry;

	LIST_EACH (node, &f->members) {
		struct live *m = CONTAINER(node, struct live, node);
		if (now >= m->beat_mono) {
			m->beat_mono = now + BEAT_NS;
			m->beat_due = m->framed || m->form->beat;
		}
		if (m->end_mono && now >= m->end_mono) {
			m->end_mono = 0;
			m->end_due = true;
		}
		due |= m->beat_due || m->end_due;
		if (m->join)
			join_tick(m);
	}
	return due;
}

/* Take the feeds of groups out that have waited long enough, or all that have no member. */
static void end_parked(struct api *a, struct list *ended, int64_t before_mono) REQUIRES(a->lock)
{
	LIST_EACH (node, &a->tail_list) {
		struct feed *f = CONTAINER(node, struct feed, node);
		if (f->n_members || f->pump != IDLE || f->parked_mono > before_mono)
			continue;
		f->over = true;
		list_remove(node);
		list_append(ended, node);
	}
}

static void free_ended(struct list *ended)
{
	LIST_EACH (node, ended)
		feed_free(CONTAINER(node, struct feed, node));
}

void live_tick(struct api *a)
{
	int64_t now = clock_mono_ns(a->o.clock);
	struct list ended;

	list_init(&ended);
	lock_take(&a->lock);
	LIST_EACH (node, &a->tail_list) {
		struct feed *f = CONTAINER(node, struct feed, node);
		if (f->pump != IDLE || f->over || !is_due(a, f, now))
			continue;
		f->pump = QUEUED;
		workers_submit(a->tails, pump_run, f);
	}
	end_parked(a, &ended, now - GROUP_NS);
	lock_drop(&a->lock);
	free_ended(&ended);
}

void live_init(struct api *a)
{
	store_watch_drops(a->o.store, on_dropped, a);
}

void live_fini(struct api *a)
{
	struct list ended;

	store_watch_drops(a->o.store, NULL, a);
	list_init(&ended);
	lock_take(&a->lock);
	end_parked(a, &ended, INT64_MAX);
	lock_drop(&a->lock);
	free_ended(&ended);
}

static void close_one(struct api *a, struct live *m, unsigned code, const char *reason)
	REQUIRES(a->lock)
{
	struct buf last = {0};

	if (m->form->closing && !m->framed) {
		m->form->closing(&last);
		live_send(m, buf_view(&last));
		buf_fini(&last);
	}
	ws_close(m->ws, code, reason);
}

/* Close those that `which` wants closed. */
static void close_some(struct api *a, bool (*which)(struct live *m), unsigned code,
	const char *reason) REQUIRES(a->lock)
{
	LIST_EACH (node, &a->tail_list) {
		struct feed *f = CONTAINER(node, struct feed, node);
		LIST_EACH (at, &f->members) {
			struct live *m = CONTAINER(at, struct live, node);
			if (!m->closed && which(m))
				close_one(a, m, code, reason);
		}
	}
}

static bool any(struct live *m)
{
	return true;
}

static bool is_denied(struct live *m)
{
	return m->token[0] && !tokens_alive(m->api->o.tokens, m->token);
}

void live_end_all(struct api *a)
{
	lock_take(&a->lock);
	join_release_all(a);
	close_some(a, any, 1001, "the server is stopping");
	lock_drop(&a->lock);
}

void live_end_denied(struct api *a)
{
	lock_take(&a->lock);
	close_some(a, is_denied, 1008, "the token was revoked or has expired");
	lock_drop(&a->lock);
}
