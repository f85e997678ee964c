/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links: connections to one server's /api/v1/follow, and the frames that came.
 *
 *	WAITS --a worker opens it--> OPENING --first frame--> OPEN
 *	  ^------- failed ----------------'                     |
 *	  ^------- lost, cut, silent for DEAD_MS ---------------'
 *
 * While a server is down one of its links at a time is tried, whose success
 * opens the way for the others; so that a thousand wishes for a dead server
 * keep one worker, and not all of them.
 *
 * The ring holds the frames that some reader has not taken.  When it is full, a
 * link whose readers are all behind reads no further, and its server waits; but
 * if some are behind and others are not, those get links of their own.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/relay_core.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "net/client.h"
#include "os/clock.h"

enum {
	READ_TURN = 64, /* messages of one link before the others get their turn */
	FIRST_MS = 5000,
	DEAD_MS = 35000,   /* a server says something every 15 s */
	DENIED_MS = 10000, /* what was refused is asked for again */
	ALIAS_MS = 60000,
	JITTER_MS = 100, /* many links are not opened again at the same moment */
};

/* --- the ring --------------------------------------------------------------------------- */

static void charge(struct link *l, size_t n, bool add)
{
	struct relays *all = l->server->all;

	if (add)
		account_force(all->o.account, n);
	else
		account_release(all->o.account, n);
	l->bytes = add ? l->bytes + n : l->bytes - n;
	lock_take(&all->lock);
	all->n_frames += add;
	all->n_bytes = add ? all->n_bytes + n : all->n_bytes - n;
	lock_drop(&all->lock);
}

static void ring_put(struct link *l, uint64_t seq, struct str bytes)
{
	struct frame *f = xmalloc(sizeof *f + bytes.n);

	f->seq = seq;
	f->n = bytes.n;
	memcpy(f->bytes, bytes.p, bytes.n);
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 16;
		l->ring = xrealloc(l->ring, l->cap * sizeof(struct frame *));
	}
	l->ring[l->n++] = f;
	charge(l, sizeof *f + bytes.n, true);
}

/* Let go of the first n frames. */
static void ring_drop(struct link *l, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		charge(l, sizeof(struct frame) + l->ring[i]->n, false);
		free(l->ring[i]);
	}
	l->n -= n;
	l->first += n;
	if (n && l->n)
		memmove(l->ring, l->ring + n, l->n * sizeof(struct frame *));
}

static uint64_t end_of(const struct link *l)
{
	return l->first + l->n;
}

/* Less when many links share the memory, half of which is for the sockets of subscribers: links
 * that nobody reads leave room to those that are read. */
static uint64_t ring_max(const struct relays *all)
{
	uint64_t share, n = 1;

	for (size_t i = 0; i < all->n_servers; i++)
		n += all->servers[i].n_links;
	share = all->o.account->limit / 2 / n;
	return share < RELAY_RING_MAX ? share : RELAY_RING_MAX;
}

static bool has_room(const struct link *l)
{
	const struct relays *all = l->server->all;

	return l->n == 0 || (l->bytes < ring_max(all) && account_room(all->o.account));
}

/* --- making and ending ------------------------------------------------------------------ */

static struct link *link_new(struct relay_server *s, const struct relay_query *f)
{
	struct link *l = xcalloc(1, sizeof *l);

	l->server = s;
	l->query = relay_query_copy(f);
	list_init(&l->readers);
	list_append(&s->links, &l->node);
	lock_take(&s->all->lock);
	s->n_links++;
	lock_drop(&s->all->lock);
	return l;
}

static void poll_closed(uv_handle_t *h)
{
	free(h);
}

static void hang_up(struct link *l)
{
	if (l->poll) {
		uv_poll_stop(l->poll);
		uv_close((uv_handle_t *)l->poll, poll_closed);
	}
	l->poll = NULL;
	l->polled = l->more = false;
	ws_client_free(l->ws);
	l->ws = NULL;
}

static void link_free(struct link *l)
{
	struct relays *all = l->server->all;

	assert(list_empty(&l->readers) && l->state != LINK_OPENING);
	hang_up(l);
	ring_drop(l, l->n);
	list_remove(&l->node);
	lock_take(&all->lock);
	/* Whether it is still down nobody will know who does not ask. */
	if (--l->server->n_links == 0) {
		l->server->down = false;
		l->server->failed = (struct error){0};
	}
	lock_drop(&all->lock);
	relay_query_fini(&l->query);
	buf_fini(&l->message);
	free(l->ring);
	free(l->cursor);
	free(l);
}

static void end_unread(struct link *l)
{
	if (!list_empty(&l->readers))
		return;
	/* Nobody may join it any more. */
	l->shared = false;
	l->unwanted = true;
	if (l->state != LINK_OPENING)
		link_free(l);
}

/* --- readers ---------------------------------------------------------------------------- */

static void enter(struct link *l, struct reader *x)
{
	x->link = l;
	x->next = end_of(l);
	list_append(&l->readers, &x->node);
	if (l->known)
		relay_reader_place(x);
}

static struct link *find_shared(struct relay_server *s, const struct relay_query *f)
{
	LIST_EACH (node, &s->links) {
		struct link *l = CONTAINER(node, struct link, node);
		if (l->shared && relay_query_same(&l->query, f))
			return l;
	}
	return NULL;
}

void relay_link_join(struct relay_server *s, struct reader *x)
{
	struct link *l = find_shared(s, &x->relay->query);

	if (!l) {
		l = link_new(s, &x->relay->query);
		l->shared = true;
	}
	enter(l, x);
}

void relay_link_own(struct relay_server *s, struct reader *x)
{
	struct link *l = link_new(s, &x->relay->query);

	l->cursor = xstrdup(x->relay->cursor);
	/* A group is where its other members are, and else begins now. */
	l->since_ns = l->query.group[0] && !l->cursor ? 0 : x->relay->begun_ns;
	if (x->known) {
		l->known = true;
		l->seq = x->told;
		memcpy(l->id, x->id, sizeof l->id);
	}
	enter(l, x);
}

void relay_link_miss(struct reader *x)
{
	struct relay_server *s = x->link->server;

	if (x->link->known)
		return;
	if (x->link->shared) {
		relay_link_leave(x);
		relay_link_own(s, x);
	}
	x->link->since_ns = x->relay->begun_ns;
}

void relay_link_leave(struct reader *x)
{
	struct link *l = x->link;

	list_remove(&x->node);
	x->link = NULL;
	if (list_empty(&l->readers))
		end_unread(l);
	else
		relay_link_moved(l);
}

/* The number of the frame behind which all up to `seq` was told, and nothing else. */
static bool find_place(const struct link *l, uint64_t seq, uint64_t *next)
{
	if (seq == l->seq) {
		*next = end_of(l);
		return true;
	}
	for (size_t i = l->n; i-- > 0 && l->ring[i]->seq >= seq;) {
		/* Several frames of one record have the same sequence: the last is meant. */
		if (l->ring[i]->seq == seq) {
			*next = l->first + i + 1;
			return true;
		}
	}
	return false;
}

/* Back to the shared link, or be that from now on.  True: l is gone. */
static bool rejoin(struct link *l)
{
	struct reader *x = CONTAINER(l->readers.next, struct reader, node);
	struct link *shared;
	uint64_t next;

	if (l->shared || l->n || !l->known || l->state != LINK_OPEN || l->query.group[0] ||
		list_empty(&l->readers))
		return false;
	shared = find_shared(l->server, &l->query);
	if (!shared) {
		l->shared = l->quiet;
		return false;
	}
	if (!shared->known || strcmp(shared->id, l->id) != 0 || !find_place(shared, l->seq, &next))
		return false;
	list_remove(&x->node);
	x->link = shared;
	x->next = next;
	list_append(&shared->readers, &x->node);
	link_free(l);
	relay_reader_run(x);
	relay_link_moved(shared);
	return true;
}

/* Those that hold the others up get links of their own. */
static void part_with_slow(struct link *l)
{
	bool ahead = false;

	LIST_EACH (node, &l->readers)
		ahead |= CONTAINER(node, struct reader, node)->next == end_of(l);
	if (!ahead)
		return;
	LIST_EACH (node, &l->readers) {
		struct reader *x = CONTAINER(node, struct reader, node);
		if (x->next >= l->first + l->n / 2 + 1)
			continue;
		list_remove(&x->node);
		x->link = NULL;
		relay_link_own(l->server, x);
		x->link->heard_ns = l->heard_ns;
	}
	relays_kick(l->server->all);
}

static void let_go(struct link *l)
{
	uint64_t least = end_of(l);

	LIST_EACH (node, &l->readers) {
		struct reader *x = CONTAINER(node, struct reader, node);
		if (x->next < least)
			least = x->next;
	}
	ring_drop(l, (size_t)(least - l->first));
}

/* Is it not read, though it has room now? */
static bool may_read_on(const struct link *l)
{
	return l->state == LINK_OPEN && !l->polled && has_room(l);
}

static void read_on(struct link *l)
{
	/* It was not listened to meanwhile. */
	if (!l->more)
		l->heard_ms = relays_now_ms(l->server->all);
	l->more = true;
	relays_kick(l->server->all);
}

void relay_link_moved(struct link *l)
{
	let_go(l);
	if (!has_room(l) && l->shared) {
		part_with_slow(l);
		let_go(l);
	}
	if (!rejoin(l) && may_read_on(l))
		read_on(l);
}

/* --- reading ---------------------------------------------------------------------------- */

static void lost(struct link *l, const struct error *e)
{
	struct relays *all = l->server->all;
	uint32_t jitter;

	hang_up(l);
	l->state = LINK_WAITS;
	l->quiet = false;
	hash_random(&jitter, sizeof jitter);
	l->retry_ms = relays_now_ms(all) + jitter % JITTER_MS;
	log_debug("relay", "%s", e->text);
	relays_kick(all);
}

static uint64_t read_seq(struct str message)
{
	uint64_t seq = 0;

	for (size_t i = 0; i < 8; i++)
		seq = seq << 8 | (unsigned char)message.p[i];
	return seq;
}

static int take_message(struct link *l, struct str message, struct error *e)
{
	uint64_t seq;

	if (message.n < 8)
		return error_set(e, ERR_NET, "%s: a frame of %zu bytes is none of /api/v1/follow",
			remote_url(l->server->remote), message.n);
	seq = read_seq(message);
	if (seq > l->seq)
		l->seq = seq;
	l->quiet |= message.n == 8;
	if (message.n > 8)
		ring_put(l, l->seq, str_sub(message, 8, message.n));
	return 0;
}

static void deliver(struct link *l)
{
	LIST_EACH (node, &l->readers)
		relay_reader_run(CONTAINER(node, struct reader, node));
	relay_link_moved(l);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct link *l = poll->data;

	l->more = true;
	relay_link_continue(l);
}

static void watch(struct link *l)
{
	bool wanted = has_room(l) && !l->more;

	if (l->more && has_room(l))
		relays_kick(l->server->all);
	if (wanted == l->polled)
		return;
	if (wanted)
		uv_poll_start(l->poll, UV_READABLE | UV_DISCONNECT, on_readable);
	else
		uv_poll_stop(l->poll);
	l->polled = wanted;
}

void relay_link_continue(struct link *l)
{
	struct error e;
	int r = 0;

	if (l->state != LINK_OPEN || !l->more || !has_room(l))
		return;
	for (unsigned i = 0; i < READ_TURN && has_room(l); i++) {
		buf_clear(&l->message);
		r = ws_client_next(l->ws, &l->message, 0, &e);
		if (r == 0)
			r = take_message(l, buf_view(&l->message), &e);
		if (r < 0)
			break;
		l->heard_ms = relays_now_ms(l->server->all);
		l->heard_ns = clock_now_ns(clock_real());
	}
	if (r == ERR_TIMEOUT)
		l->more = false;
	else if (r < 0)
		lost(l, &e);
	if (l->message.cap > RELAY_RING_MAX)
		buf_fini(&l->message);
	if (l->state == LINK_OPEN)
		watch(l);
	/* The last thing: the link may be gone after it. */
	deliver(l);
}

/* --- opening: a worker blocks ----------------------------------------------------------- */

struct opening {
	struct link *link;
	struct relays *all;
	struct remote *remote;
	char *tenant;
	struct buf path;
	bool probe; /* the server was down */
	/* What came of it. */
	struct ws_client *ws;
	struct buf first;
	int code;
	struct error error;
};

static void put_param(struct buf *path, const char *name, struct str value)
{
	buf_printf(path, "%s%s=", path->p[path->n - 1] == '?' ? "" : "&", name);
	url_encode(path, value);
}

static void make_path(struct buf *path, const struct link *l)
{
	int64_t since = l->known ? l->heard_ns : l->since_ns;
	char number[64];

	buf_c(path, "/api/v1/follow?");
	put_param(path, "query", str_c(l->query.query));
	put_param(path, "form", str_c(l->query.form->name));
	if (l->query.group[0])
		put_param(path, "group", str_c(l->query.group));
	if (l->query.strict)
		put_param(path, "strict", STR("true"));
	if (l->known) {
		snprintf(number, sizeof number, "%s=%llu", l->id, (unsigned long long)l->seq);
		put_param(path, "cursor", str_c(number));
	} else if (l->cursor) {
		put_param(path, "cursor", str_c(l->cursor));
	}
	if (since) {
		snprintf(number, sizeof number, "%lld", (long long)since);
		put_param(path, "since", str_c(number));
	}
}

static bool is_ending(void *arg)
{
	struct relays *all = arg;

	return atomic_load(&all->ending);
}

static void opened(void *arg);

static int read_first(struct opening *o)
{
	int64_t until = clock_mono_ns(clock_real()) + FIRST_MS * NS_PER_MS;
	int r;

	while ((r = ws_client_next(o->ws, &o->first, 200, &o->error)) == ERR_TIMEOUT &&
		!is_ending(o->all) && clock_mono_ns(clock_real()) < until)
		;
	if (r == 0 && (o->first.n >= 8 + INSTANCE_SIZE ||
			      !relay_is_id(str_sub(buf_view(&o->first), 8, o->first.n))))
		r = error_set(&o->error, ERR_NET,
			"%s: its first frame does not tell who it is: it is an older sawlog",
			remote_url(o->remote));
	return r;
}

static void run_opening(void *arg)
{
	struct opening *o = arg;
	bool posted;

	o->code = remote_socket(o->remote, str_c(o->tenant), buf_cstr(&o->path), is_ending, o->all,
		&o->ws, &o->error);
	if (o->code == 0)
		o->code = read_first(o);
	posted = loop_post(o->all->loop, opened, o);
	assert(posted);
}

void relay_link_try(struct link *l, uint64_t now_ms)
{
	struct relay_server *s = l->server;
	struct opening *o;

	if (l->state != LINK_WAITS || now_ms < l->retry_ms ||
		(s->down && (s->probing || now_ms < s->retry_ms)))
		return;
	l->state = LINK_OPENING;
	o = xcalloc(1, sizeof *o);
	s->probing = o->probe = s->down;
	o->link = l;
	o->all = s->all;
	o->remote = s->remote;
	o->tenant = xstrdup(l->query.tenant);
	make_path(&o->path, l);
	if (workers_submit(s->all->openers, run_opening, o) < 0) {
		o->code = error_set(&o->error, ERR_CANCELLED, "the server is stopping");
		opened(o);
	}
}

/* --- opening: back on the loop ---------------------------------------------------------- */

static void failed_for(struct link *l, const struct error *e)
{
	size_t n = 0;

	LIST_EACH (node, &l->readers)
		n++;
	/* The last one that leaves a shared link, which was never open, ends it. */
	for (struct list *node = l->readers.next, *next; n > 0; node = next, n--) {
		struct reader *x = CONTAINER(node, struct reader, node);

		next = n > 1 ? node->next : NULL;
		relay_link_miss(x);
		relay_reader_state(x, e);
	}
}

static void failed(struct link *l, const struct opening *o)
{
	struct relay_server *s = l->server;
	struct error e = o->error;
	uint64_t now = relays_now_ms(s->all);
	bool down = o->code == ERR_NET || o->code == ERR_TIMEOUT || o->code == ERR_CLOSED;
	bool first = !s->down || o->probe;

	if (!down)
		l->retry_ms = now + DENIED_MS;
	else if (first)
		s->retry_ms = now + backoff_next(&s->backoff);
	lock_take(&s->all->lock);
	s->down = down;
	s->failed = e;
	lock_drop(&s->all->lock);
	if (!down || !first) {
		failed_for(l, &e);
		return;
	}
	/* The others that wait need not find that out one by one.  Links that are made meanwhile
	 * come behind them, and have told it already. */
	LIST_EACH (node, &s->links) {
		struct link *other = CONTAINER(node, struct link, node);
		if (other->state == LINK_WAITS)
			failed_for(other, &e);
	}
}

/* This server itself, or one that another URL leads to as well, and that is there? */
static bool is_alias(const struct relay_server *s, const char *instance)
{
	const struct relays *all = s->all;

	if (strcmp(instance, all->instance) == 0)
		return true;
	for (size_t i = 0; i < all->n_servers; i++) {
		const struct relay_server *other = &all->servers[i];
		if (other != s && !other->alias && !other->down &&
			strcmp(other->instance, instance) == 0)
			return true;
	}
	return false;
}

static void answered(struct relay_server *s, const char *instance, bool alias)
{
	struct relays *all = s->all;

	lock_take(&all->lock);
	s->down = false;
	s->failed = (struct error){0};
	str_copy(str_c(instance), s->instance, sizeof s->instance);
	s->alias = alias;
	lock_drop(&all->lock);
	backoff_reset(&s->backoff);
	remote_leave_alone(s->remote, NULL);
	s->alias_until_ms = relays_now_ms(all) + ALIAS_MS;
}

/* Nothing of it: its readers are told so. */
static void let_alias_go(struct link *l)
{
	l->state = LINK_WAITS;
	l->shared = false;
	LIST_EACH (node, &l->readers) {
		struct reader *x = CONTAINER(node, struct reader, node);

		list_remove(&x->node);
		x->link = NULL;
		relay_reader_state(x, NULL);
	}
	link_free(l);
}

/* Where it begins, or goes on; a server that came back with other records has begun anew. */
static void take_place(struct link *l, struct str first)
{
	struct str id = str_sub(first, 8, 8 + RELAY_ID);
	bool anew = !l->known || !str_eq_c(id, l->id);

	if (!anew)
		return;
	l->known = true;
	l->seq = read_seq(first);
	str_copy(id, l->id, sizeof l->id);
	/* What is in the ring was told by the other one. */
	for (size_t i = 0; i < l->n; i++)
		l->ring[i]->seq = l->seq;
	LIST_EACH (node, &l->readers)
		relay_reader_place(CONTAINER(node, struct reader, node));
}

static void start_reading(struct link *l, struct opening *o)
{
	struct relays *all = l->server->all;
	int r;

	l->ws = o->ws;
	o->ws = NULL;
	l->state = LINK_OPEN;
	l->quiet = false;
	l->heard_ms = relays_now_ms(all);
	l->heard_ns = clock_now_ns(clock_real());
	l->poll = xcalloc(1, sizeof *l->poll);
	r = uv_poll_init(loop_uv(all->loop), l->poll, ws_client_fd(l->ws));
	assert(r == 0);
	l->poll->data = l;
	l->more = true;
	take_place(l, buf_view(&o->first));
	LIST_EACH (node, &l->readers)
		relay_reader_state(CONTAINER(node, struct reader, node), NULL);
	relays_kick(all);
}

static void opened(void *arg)
{
	struct opening *o = arg;
	struct link *l = o->link;
	struct relay_server *s = l->server;
	char instance[INSTANCE_SIZE];

	uv_update_time(loop_uv(o->all->loop));
	if (o->probe)
		s->probing = false;
	l->state = LINK_WAITS;
	if (l->unwanted) {
		link_free(l);
	} else if (o->code < 0) {
		failed(l, o);
	} else {
		str_copy(str_sub(buf_view(&o->first), 8, o->first.n), instance, sizeof instance);
		answered(s, instance, is_alias(s, instance));
		if (s->alias)
			let_alias_go(l);
		else
			start_reading(l, o);
		relays_kick(o->all);
	}
	ws_client_free(o->ws);
	free(o->tenant);
	buf_fini(&o->path);
	buf_fini(&o->first);
	free(o);
}

bool relay_server_is_silent(const struct relay_server *s)
{
	LIST_EACH (node, &s->links)
		if (CONTAINER(node, struct link, node)->state == LINK_OPEN)
			return false;
	return true;
}

void relay_link_tick(struct link *l, uint64_t now_ms)
{
	struct error e;

	if (l->state != LINK_OPEN)
		return;
	/* Memory that was short may be there again. */
	if (may_read_on(l))
		read_on(l);
	if (has_room(l) && now_ms > l->heard_ms + DEAD_MS) {
		error_set(&e, ERR_TIMEOUT, "%s: it said nothing for %d s",
			remote_url(l->server->remote), DEAD_MS / 1000);
		lost(l, &e);
	}
}
