/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other servers' part of a subscription: their history and their live
 * records, joined to this server's without gap or duplicate.
 *
 *	open:    the relay begins to follow each server, and tells from which
 *	         sequence on (its place).  Only then is the request answered
 *	history: asked of all of them (query/peers.h) once all have told that, or
 *	         are known to be away; what lies behind a server's place is left
 *	         out, as it comes live.  A server that is away has no place, and
 *	         nothing of it is told now: it is followed from the beginning of
 *	         the subscription on when it is there
 *	live:    frames of this server (live.c) and of the others, each with a
 *	         cursor over all servers.  So a frame is ended only when it is sent
 *
 * A frame and the places of which its cursor is made change together, under
 * api.lock.  What has no room is refused, and stays with the relay.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "api/live_core.h"
#include "base/memory.h"
#include "loop/worker.h"

struct live_join *join_new(struct live *m, const struct live_options *o)
{
	struct live_join *j = xcalloc(1, sizeof *j);
	struct buf query = {0};

	j->live = m;
	list_init(&j->held_node);
	query_format_line(o->query, &query);
	j->query = str_dup(buf_view(&query));
	buf_fini(&query);
	j->group = str_dup(o->group);
	j->tenant = str_dup(o->tenant);
	j->strict = o->strict;
	/* A number alone is of this server. */
	j->cursor = str_dup(str_chr(o->cursor, '=') >= 0 ? o->cursor : STR_NONE);
	if (j->cursor[0])
		m->history = 0;
	return j;
}

void join_free(struct live_join *j)
{
	if (!j)
		return;
	if (j->history == JOIN_HAS && j->code == 0)
		query_result_fini(&j->past);
	free(j->query);
	free(j->group);
	free(j->tenant);
	free(j->cursor);
	free(j->places);
	free(j->stated);
	buf_fini(&j->frame);
	free(j);
}

/* --- frames --------------------------------------------------------------------------------- */

/* End the frame in j->frame, which stands for this: `server` is SIZE_MAX for this one. */
static void end_frame(struct live *m, enum made made, size_t server, uint64_t seq)
	REQUIRES(m->api->lock)
{
	struct live_join *j = m->join;
	uint64_t own = server == SIZE_MAX ? seq : j->own_seq;
	struct buf cursor = {0};

	if (made == MADE_LIVE && !j->group[0]) {
		buf_printf(&cursor, "%.8s=%" PRIu64 ",", m->api->o.instance, own);
		if (j->relay)
			relay_cursor(j->relay, server, seq, &cursor);
		cursor.n--;
	}
	m->form->end(&j->frame, buf_view(&cursor));
	buf_fini(&cursor);
}

static int send_frame(struct live *m, enum made made, size_t server, uint64_t seq, struct str bytes)
	REQUIRES(m->api->lock)
{
	struct live_join *j = m->join;
	int r;

	if (made == MADE_WHOLE || !m->form->end)
		return live_send(m, bytes);
	buf_clear(&j->frame);
	buf_str(&j->frame, bytes);
	end_frame(m, made, server, seq);
	r = live_send(m, buf_view(&j->frame));
	/* None need keep one. */
	buf_fini(&j->frame);
	return r;
}

int join_send(struct live *m, const struct made_frame *f, struct str bytes)
{
	int r = send_frame(m, f->made, SIZE_MAX, f->seq, bytes);

	if (r == 0 && f->made == MADE_LIVE)
		m->join->own_seq = f->seq;
	return r;
}

/* --- the relay's events: its thread --------------------------------------------------------- */

static bool on_frame(void *arg, size_t server, uint64_t seq, struct str bytes)
{
	struct live *m = arg;
	struct live_join *j = m->join;
	bool taken = true;

	lock_take(&m->api->lock);
	if (j->relay) {
		taken = j->going && live_room(m) &&
			send_frame(m, MADE_LIVE, server, seq, bytes) != ERR_BUSY;
		if (taken)
			relay_told(j->relay, server, seq);
		j->stuck |= !taken;
	}
	lock_drop(&m->api->lock);
	return taken;
}

/* A worker, as answering may call `closed`, which waits for the relay's events. */
static void reply(void *arg)
{
	struct live *m = arg;

	live_reply(m, m->join->request);
}

static void release(struct live *m) REQUIRES(m->api->lock)
{
	struct live_join *j = m->join;

	j->request = j->held;
	j->held = NULL;
	list_remove(&j->held_node);
	workers_submit(m->api->tails, reply, m);
}

static void on_state(void *arg, size_t server, uint64_t seq, const struct error *e)
{
	struct live *m = arg;
	struct live_join *j = m->join;

	lock_take(&m->api->lock);
	if (!j->stated[server])
		j->n_stated++;
	j->stated[server] = true;
	if (j->history == JOIN_WAITS)
		j->places[server] = seq;
	j->notice |= e && m->form->notice;
	if (j->held && j->n_stated == j->n_servers)
		release(m);
	if (m->ws)
		live_wake(m);
	lock_drop(&m->api->lock);
}

/* --- the socket's loop ------------------------------------------------------------------------ */

void join_open(struct live *m, struct http_request *r)
{
	static const struct relay_events events = {.frame = on_frame, .state = on_state};
	struct live_join *j = m->join;
	struct relay_options o = {.tenant = str_c(j->tenant),
		.query = str_c(j->query),
		.form = m->form,
		.group = str_c(j->group),
		.strict = j->strict,
		.cursor = str_c(j->cursor),
		.begun_ns = clock_now_ns(m->api->o.clock)};

	if (m->history_only) {
		live_reply(m, r);
		return;
	}
	lock_take(&m->api->lock);
	/* Its events wait for the lock. */
	j->relay = relay_open(m->api->relays, &o, &events, m);
	j->n_servers = relay_servers(j->relay);
	j->places = xcalloc(j->n_servers, sizeof *j->places);
	j->stated = xcalloc(j->n_servers, sizeof *j->stated);
	j->held = r;
	list_append(&m->api->held_list, &j->held_node);
	if (j->n_servers == 0 || atomic_load(&m->api->draining))
		release(m);
	lock_drop(&m->api->lock);
}

/* The lock is that of all of them, which cannot be seen from here. */
static void release_held(struct live_join *j) UNCHECKED
{
	release(j->live);
}

void join_release_all(struct api *a)
{
	LIST_EACH (node, &a->held_list)
		release_held(CONTAINER(node, struct live_join, held_node));
}

void join_close(struct live *m)
{
	struct live_join *j = m->join;
	struct relay *r;

	atomic_store(&j->cancel, true);
	lock_take(&m->api->lock);
	r = j->relay;
	j->relay = NULL;
	lock_drop(&m->api->lock);
	if (r)
		relay_close(r);
}

void join_tick(struct live *m) UNCHECKED
{
	struct live_join *j = m->join;

	if (!j->stuck || !j->going || !j->relay || !live_room(m))
		return;
	j->stuck = false;
	relay_resume(j->relay);
}

void join_resume(struct live *m)
{
	lock_take(&m->api->lock);
	join_tick(m);
	lock_drop(&m->api->lock);
}

/* --- history ---------------------------------------------------------------------------------- */

/* Leave out what comes live: records behind the place of their server. */
static void leave_live_out(const struct live_join *j, struct query_result *past)
{
	const uint64_t own = ((uint64_t)1 << PEER_SEQ_SHIFT) - 1;
	size_t kept = 0;
	uint64_t place;

	for (size_t i = 0; i < past->n_entries; i++) {
		const struct query_entry *x = &past->entries[i];
		uint64_t server = x->seq >> PEER_SEQ_SHIFT;

		if (server > j->n_servers)
			place = own;
		else
			place = server ? j->places[server - 1] : j->place;
		if ((x->seq & own) <= place)
			past->entries[kept++] = *x;
	}
	past->n_entries = kept;
}

static int ask(struct live *m, struct error *e)
{
	struct live_join *j = m->join;
	struct api *a = m->api;
	struct query_params p = {.start_ns = m->start_ns,
		.end_ns = INT64_MAX,
		.limit = m->history,
		.tenant = str_c(j->tenant),
		.account = &a->query_account,
		.memory_bytes = a->query_account.limit,
		.strict = j->strict,
		.timeout_ns = a->o.query_timeout_ns,
		.cancel = &j->cancel};
	struct view *v = view_open(a->o.store, a->o.peers, false);
	int r;

	j->place = m->asked_seq;
	r = view_query(v, m->feed->query, &p, &j->past, e);
	view_close(v);
	if (r >= 0 && !m->history_only)
		leave_live_out(j, &j->past);
	return r < 0 ? r : 0;
}

/* A worker of queries: it may wait for the other servers. */
static void run_history(void *arg) UNCHECKED
{
	struct live *m = arg;
	struct live_join *j = m->join;
	struct api *api = m->api;
	int r = ask(m, &j->error);

	lock_take(&api->lock);
	j->code = r;
	j->asking = false;
	j->history = JOIN_HAS;
	live_wake(m);
	lock_drop(&api->lock);
}

/* Have it asked for, when all servers have told where they begin. */
static void begin_to_ask(struct live *m) REQUIRES(m->api->lock)
{
	struct live_join *j = m->join;

	if (j->n_stated < j->n_servers)
		return;
	j->asking = true;
	j->history = JOIN_ASKS;
	if (workers_submit(m->api->queries, run_history, m) == 0)
		return;
	/* Too many are asked for already: the tick tries again. */
	j->asking = false;
	j->history = JOIN_WAITS;
	m->feed->retry = true;
}

int join_history(struct live *m, struct error *e)
{
	struct live_join *j = m->join;
	int r = 0;

	lock_take(&m->api->lock);
	if (j->history == JOIN_WAITS)
		begin_to_ask(m);
	if (j->history == JOIN_HAS) {
		r = j->code < 0 ? j->code : 1;
		if (j->code < 0)
			*e = j->error;
	}
	lock_drop(&m->api->lock);
	if (r <= 0)
		return r;
	m->feed->cursor.after_seq = j->place;
	m->past = j->past;
	j->past = (struct query_result){0};
	m->n_past = m->past.n_entries;
	if (m->n_past == 0)
		query_result_fini(&m->past);
	return 1;
}

void join_go(struct live *m)
{
	struct live_join *j = m->join;
	struct buf frame = {0};

	lock_take(&m->api->lock);
	if (!j->going)
		j->own_seq = m->told_seq;
	j->going = true;
	join_tick(m);
	if (j->notice && live_room(m)) {
		j->notice = false;
		m->form->notice(&frame, str_c(m->app),
			STR("proxy: error connecting to a loggregator server"),
			clock_now_ns(m->api->o.clock));
		live_send(m, buf_view(&frame));
	}
	lock_drop(&m->api->lock);
	buf_fini(&frame);
}
