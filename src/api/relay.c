/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Relays: live records of the other servers.
 *
 *   peer 1 --WebSocket--> link --frames--> reader \
 *                             \--> reader          relay (a subscriber): one reader a server
 *   peer 2 --WebSocket--> link --frames--> reader /
 *
 * All is done on one loop; what other threads want is posted to it.  Links are
 * opened, which may block, by a few workers.  A link that is shared serves all
 * subscribers that want the same and are as far.  One that is behind the others
 * gets a link of its own, and comes back to the shared one where both are at
 * the same sequence.
 *
 * A server that cannot be reached when a subscriber begins is followed, once it
 * is there, from the time on at which the subscriber began; one that was lost,
 * from where it was.  Each is told to the subscriber within RELAY_SETTLE_MS, so
 * that it need not wait longer with its history.
 */
#include <assert.h>
#include <stdlib.h>

#include "api/relay_core.h"
#include "base/hex.h"
#include "base/memory.h"
#include "query/peers.h"

enum {
	OPENERS = 4,
	TICK_MS = 250,
	RETRY_MS = 250, /* doubling to the next */
	RETRY_MAX_MS = 10000,
};

/* --- queries ---------------------------------------------------------------------------- */

bool relay_is_id(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (hex_digit(s.p[i]) < 0)
			return false;
	return s.n >= RELAY_ID;
}

bool relay_query_same(const struct relay_query *a, const struct relay_query *b)
{
	return a->form == b->form && a->strict == b->strict && strcmp(a->tenant, b->tenant) == 0 &&
	       strcmp(a->query, b->query) == 0 && strcmp(a->group, b->group) == 0;
}

struct relay_query relay_query_copy(const struct relay_query *f)
{
	return (struct relay_query){.tenant = xstrdup(f->tenant),
		.query = xstrdup(f->query),
		.group = xstrdup(f->group),
		.form = f->form,
		.strict = f->strict};
}

void relay_query_fini(struct relay_query *f)
{
	free(f->tenant);
	free(f->query);
	free(f->group);
}

/* --- readers ---------------------------------------------------------------------------- */

static size_t number_of(const struct reader *x)
{
	return (size_t)(x - x->relay->readers);
}

void relay_reader_state(struct reader *x, const struct error *e)
{
	struct relay *r = x->relay;
	bool of_it = x->link != NULL || e;

	if (x->stated && x->failing == (e != NULL) && of_it)
		return;
	x->stated = true;
	x->failing = e != NULL;
	r->events->state(r->arg, number_of(x), of_it ? x->told : UINT64_MAX, e);
}

void relay_reader_place(struct reader *x)
{
	struct link *l = x->link;

	lock_take(&x->relay->lock);
	x->known = true;
	x->told = l->seq;
	memcpy(x->id, l->id, sizeof x->id);
	lock_drop(&x->relay->lock);
}

static void told(struct reader *x, uint64_t seq)
{
	lock_take(&x->relay->lock);
	if (seq > x->told)
		x->told = seq;
	lock_drop(&x->relay->lock);
}

void relay_reader_run(struct reader *x)
{
	struct relay *r = x->relay;
	struct link *l = x->link;

	while (x->next < l->first + l->n && !r->stuck) {
		const struct frame *f = l->ring[x->next - l->first];

		if (!r->events->frame(r->arg, number_of(x), f->seq, str_make(f->bytes, f->n))) {
			r->stuck = true;
			break;
		}
		told(x, f->seq);
		x->next++;
	}
	/* What came last may have been that there is nothing. */
	if (x->next == l->first + l->n && x->known)
		told(x, l->seq);
}

/* --- the loop --------------------------------------------------------------------------- */

uint64_t relays_now_ms(const struct relays *all)
{
	return uv_now(loop_uv(all->loop));
}

/* Servers that did not answer in time: this subscriber will have them from its beginning on. */
static void settle(struct relay *r)
{
	struct error e;

	for (size_t i = 0; i < r->all->n_servers; i++) {
		struct relay_server *s = &r->all->servers[i];
		struct reader *x = &r->readers[i];

		if (x->stated || !x->link)
			continue;
		if (s->failed.code)
			e = s->failed;
		else
			error_set(&e, ERR_TIMEOUT, "%s: not connected within %d s",
				remote_url(s->remote), RELAY_SETTLE_MS / 1000);
		/* Nor is it asked for history meanwhile. */
		if (relay_server_is_silent(s))
			remote_leave_alone(s->remote, &e);
		relay_link_miss(x);
		relay_reader_state(x, &e);
	}
	r->settled = true;
}

static void look_at_links(struct relays *all, void (*each)(struct link *l, uint64_t now_ms))
{
	uint64_t now = relays_now_ms(all);

	for (size_t i = 0; i < all->n_servers; i++)
		LIST_EACH (node, &all->servers[i].links)
			each(CONTAINER(node, struct link, node), now);
}

static void on_tick(void *arg)
{
	struct relays *all = arg;
	uint64_t now = relays_now_ms(all);

	LIST_EACH (node, &all->relays) {
		struct relay *r = CONTAINER(node, struct relay, node);
		if (!r->settled && now - r->opened_ms >= RELAY_SETTLE_MS)
			settle(r);
	}
	look_at_links(all, relay_link_tick);
	look_at_links(all, relay_link_try);
	if (list_empty(&all->relays)) {
		timer_clear(&all->timer);
		all->ticking = false;
	}
}

static void continue_link(struct link *l, uint64_t now_ms)
{
	relay_link_continue(l);
}

static void on_kick(void *arg)
{
	struct relays *all = arg;

	all->kicked = false;
	look_at_links(all, continue_link);
	look_at_links(all, relay_link_try);
}

void relays_kick(struct relays *all)
{
	if (!all->kicked)
		all->kicked = loop_post(all->loop, on_kick, all);
}

/* --- subscribers ------------------------------------------------------------------------ */

static void begin_reader(struct relay_server *s, struct reader *x)
{
	struct relays *all = s->all;
	struct relay *r = x->relay;

	if (s->alias && relays_now_ms(all) < s->alias_until_ms) {
		relay_reader_state(x, NULL);
		return;
	}
	if (r->cursor || r->query.group[0])
		relay_link_own(s, x);
	else
		relay_link_join(s, x);
	/* It may be there again. */
	s->retry_ms = 0;
	if (x->known)
		relay_reader_state(x, s->down ? &s->failed : NULL);
}

static void relay_begin(void *arg)
{
	struct relay *r = arg;
	struct relays *all = r->all;

	uv_update_time(loop_uv(all->loop));
	r->opened_ms = relays_now_ms(all);
	r->begun = true;
	list_append(&all->relays, &r->node);
	for (size_t i = 0; i < all->n_servers; i++)
		begin_reader(&all->servers[i], &r->readers[i]);
	if (!all->ticking)
		timer_set(&all->timer, TICK_MS, TICK_MS);
	all->ticking = true;
	look_at_links(all, relay_link_try);
	lock_take(&all->lock);
	all->n_relays++;
	lock_drop(&all->lock);
}

static void relay_go_on(void *arg)
{
	struct relay *r = arg;

	lock_take(&r->lock);
	r->resuming = false;
	lock_drop(&r->lock);
	r->stuck = false;
	for (size_t i = 0; i < r->all->n_servers && !r->stuck; i++) {
		struct reader *x = &r->readers[i];

		if (!x->link || x->next == x->link->first + x->link->n)
			continue;
		relay_reader_run(x);
		relay_link_moved(x->link);
	}
}

static void relay_end(void *arg)
{
	struct relay *r = arg;
	struct relays *all = r->all;

	for (size_t i = 0; i < all->n_servers; i++)
		if (r->readers[i].link)
			relay_link_leave(&r->readers[i]);
	list_remove(&r->node);
	lock_take(&all->lock);
	all->n_relays--;
	lock_drop(&all->lock);
	/* The last touch: relay_close frees it. */
	lock_take(&r->lock);
	r->closed = true;
	cond_signal(&r->ended);
	lock_drop(&r->lock);
}

/* "…,@=NS" of a cursor, which a client brought. */
static void read_begun(struct relay *r)
{
	struct str rest = str_c(r->cursor), part;
	int64_t ns;

	while (rest.p) {
		part = str_cut(&rest, ',');
		if (str_starts(part, STR("@=")) && str_i64(str_sub(part, 2, part.n), &ns))
			r->begun_ns = ns;
	}
}

struct relay *relay_open(struct relays *all, const struct relay_options *o,
	const struct relay_events *events, void *arg)
{
	struct relay *r = xcalloc(1, sizeof *r + all->n_servers * sizeof *r->readers);
	bool posted;

	r->all = all;
	r->events = events;
	r->arg = arg;
	r->query = (struct relay_query){.tenant = str_dup(o->tenant),
		.query = str_dup(o->query),
		.group = str_dup(o->group),
		.form = o->form,
		.strict = o->strict};
	r->begun_ns = o->begun_ns;
	if (o->cursor.n) {
		r->cursor = str_dup(o->cursor);
		read_begun(r);
	}
	list_init(&r->node);
	lock_init(&r->lock);
	cond_init(&r->ended);
	for (size_t i = 0; i < all->n_servers; i++) {
		r->readers[i].relay = r;
		list_init(&r->readers[i].node);
	}
	posted = loop_post(all->loop, relay_begin, r);
	assert(posted);
	return r;
}

size_t relay_servers(const struct relay *r)
{
	return r->all->n_servers;
}

void relay_resume(struct relay *r)
{
	lock_take(&r->lock);
	if (!r->resuming)
		r->resuming = loop_post(r->all->loop, relay_go_on, r);
	lock_drop(&r->lock);
}

void relay_told(struct relay *r, size_t server, uint64_t seq)
{
	told(&r->readers[server], seq);
}

static bool is_known(const struct relay *r, struct str id)
{
	if (str_eq(id, str_sub(str_c(r->all->instance), 0, RELAY_ID)))
		return true;
	for (size_t i = 0; i < r->all->n_servers; i++)
		if (r->readers[i].known && str_eq_c(id, r->readers[i].id))
			return true;
	return false;
}

/* Of the cursor that the client brought: places in servers that are not there at present. */
static void put_brought(const struct relay *r, struct buf *out)
{
	struct str rest = str_c(r->cursor);

	while (rest.p) {
		struct str part = str_cut(&rest, ','), left = part, id = str_cut(&left, '=');

		if (id.n == RELAY_ID && relay_is_id(id) && !is_known(r, id))
			buf_printf(out, "%.*s,", STR_ARG(part));
	}
}

void relay_cursor(struct relay *r, size_t server, uint64_t seq, struct buf *out)
{
	bool missing = false;

	lock_take(&r->lock);
	if (r->cursor)
		put_brought(r, out);
	for (size_t i = 0; i < r->all->n_servers; i++) {
		const struct reader *x = &r->readers[i];
		uint64_t at = i == server && seq > x->told ? seq : x->told;

		missing |= !x->known;
		if (!x->known)
			continue;
		buf_printf(out, "%s=%llu,", x->id, (unsigned long long)at);
	}
	lock_drop(&r->lock);
	if (missing)
		buf_printf(out, "@=%lld,", (long long)r->begun_ns);
}

void relay_close(struct relay *r)
{
	bool posted;

	assert(!loop_is_mine(r->all->loop));
	posted = loop_post(r->all->loop, relay_end, r);
	assert(posted);
	lock_take(&r->lock);
	while (!r->closed)
		cond_wait(&r->ended, &r->lock);
	lock_drop(&r->lock);
	lock_fini(&r->lock);
	cond_fini(&r->ended);
	relay_query_fini(&r->query);
	free(r->cursor);
	free(r);
}

/* --- all of them ------------------------------------------------------------------------ */

static void start_timer(void *arg)
{
	struct relays *all = arg;

	timer_init(&all->timer, all->loop, on_tick, all);
}

static void stop_timer(void *arg)
{
	struct relays *all = arg;

	timer_fini(&all->timer);
}

struct relays *relays_new(const struct relays_options *o)
{
	struct relays *all = xcalloc(1, sizeof *all);

	all->o = *o;
	str_copy(str_c(o->instance), all->instance, sizeof all->instance);
	lock_init(&all->lock);
	list_init(&all->relays);
	all->n_servers = peers_listed(o->peers);
	all->servers = xcalloc(all->n_servers, sizeof *all->servers);
	for (size_t i = 0; i < all->n_servers; i++) {
		struct relay_server *s = &all->servers[i];

		s->all = all;
		s->index = i;
		s->remote = peers_remote(o->peers, i);
		s->backoff = (struct backoff){.base_ms = RETRY_MS, .max_ms = RETRY_MAX_MS};
		list_init(&s->links);
	}
	all->openers = workers_new("relay-open", OPENERS, UINT32_MAX, 0);
	all->loop = loop_new("relay");
	loop_start(all->loop);
	loop_post(all->loop, start_timer, all);
	return all;
}

void relays_free(struct relays *all)
{
	if (!all)
		return;
	assert(list_empty(&all->relays));
	atomic_store(&all->ending, true);
	/* Their results are posted to the loop, which frees the links. */
	workers_free(all->openers);
	loop_post(all->loop, stop_timer, all);
	loop_stop(all->loop);
	loop_free(all->loop);
	for (size_t i = 0; i < all->n_servers; i++)
		assert(list_empty(&all->servers[i].links));
	lock_fini(&all->lock);
	free(all->servers);
	free(all);
}

void relays_dump(struct relays *all, struct buf *out)
{
	if (!all)
		return;
	lock_take(&all->lock);
	buf_printf(out, "relays: %u of %zu servers, %llu frames, %llu bytes kept\n", all->n_relays,
		all->n_servers, (unsigned long long)all->n_frames,
		(unsigned long long)all->n_bytes);
	for (size_t i = 0; i < all->n_servers; i++) {
		const struct relay_server *s = &all->servers[i];

		buf_printf(out, "  %s: instance %s, %u connections%s%s%s\n", remote_url(s->remote),
			s->instance[0] ? s->instance : "not known", s->n_links,
			s->alias ? ", is this one or another one again" : "",
			s->failed.code ? ", failed: " : "", s->failed.code ? s->failed.text : "");
	}
	lock_drop(&all->lock);
}
