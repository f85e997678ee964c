/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread of a connection.
 *
 *	frames ──► message ──► maker (batch) ──► run ──► loop: courier ──► store
 *	  ▲                                                              │
 *	  └── basic.ack, all up to the tag ◄── mail ◄── durable ◄────────┘
 *
 * Design.  librabbitmq's calls block, so the connection has a thread of its
 * own, which polls the socket and an eventfd.  What the loop has to say is
 * left in `mail` under the lock.
 *
 * A run is a batch with the tag of the last message in it.  It goes when it is
 * large enough, or when nothing more is to be read now and none is under way:
 * so a single message is durable at once, and under load what comes during a
 * commit is the next one.  Runs are durable in their order, and one basic.ack
 * says so for all messages of a run.
 *
 * Under load the thread rests for some milliseconds before it looks at the
 * socket again: a broker writes messages one by one, and reading, committing
 * and acknowledging each few of them costs several times what the messages
 * themselves do (5 thousand commits for 200 thousand messages without it).
 *
 * Before a message is read there is memory for a batch (a grant).  Without one
 * the socket is not read; the broker, who has sent no more than `prefetch`
 * messages, waits.  It may end the connection meanwhile; then a new one is
 * made when there is memory again.
 *
 * When a connection ends, the broker gives all that was not acknowledged to
 * somebody again.  What is in the batch being built is therefore forgotten.
 * What is under way already will be stored; it is known again by its id, when
 * it has one.
 *
 * To stop, the subscription is cancelled and what the broker had sent before is
 * taken; then, when all of it is settled, the connection is closed.  So nothing
 * is delivered twice by a stop in order.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/metric.h"
#include "input/amqp_input.h"
#include "record/time.h"

enum {
	TURN = 512,        /* frames between two looks at the mail */
	CONNECT_MS = 4000, /* a stop waits as long, at most */
	CALL_MS = 4000,
	DRAIN_MS = 4000, /* for the broker to end the subscription, at a stop */
	RETRY_MS = 250,  /* until a lost connection is made again */
	RETRY_MAX_MS = 10000,
	BUSY_MS = 100, /* until a message is tried again that had no memory */
	IDLE_MS = 60000,
	FEW = 16,              /* messages between two rests; more is a load */
	DOZE_MS = 40,          /* of a rest under load */
	TRIES_KEPT = 10000,    /* messages that could not be decoded, remembered */
	QUARANTINE_S = 10,     /* between two warnings of messages that are put there */
	SAY_S = 60,            /* until the same is said again */
	BODY_KEPT = 256 << 10, /* memory that stays for the next message of many frames */
};

enum stage { RUNNING, STOPPING, ENDING };

/* What the loop has to say. */
struct mail {
	uint64_t granted;
	uint64_t n_settled;
	uint64_t connection, tag; /* durable up to it */
	enum stage stage;
	bool grant_is_old; /* it was there the last time the loop looked */
};

struct counts {
	struct series_value *connected, *messages, *known, *unknown, *duplicates, *returned,
		*quarantined;
};

struct consumer {
	/* Fixed: any thread. */
	struct consumer_options o;
	pthread_t thread;
	int wake; /* eventfd */
	struct counts counts;
	/* Atomic. */
	_Atomic bool has_mail;
	_Atomic uint64_t n_known; /* by the window */
	/* Under `lock`. */
	struct lock lock;
	struct mail mail;
	struct buf status; /* one sentence, for people */
	int64_t status_ns;
	uint64_t n_connections_told;
	/* The consumer's thread. */
	struct amqp_link *link;
	struct maker *maker;
	char source[48];  /* of positions */
	char *id_header;  /* NULL: message-id */
	struct buf queue; /* as the broker calls it */
	struct buf consumer_tag;
	uint64_t connection; /* counts connections */
	uint64_t reserved;   /* for the batch being built */
	uint64_t n_out;      /* runs on the loop */
	uint64_t n_rested;   /* messages taken up to the last rest */
	uint64_t n_taken;
	uint64_t tag;         /* last message taken and not in a run yet; 0: none */
	uint64_t acked;       /* of this connection */
	uint64_t seen_before; /* count of `seen` at the beginning of the batch */
	enum stage stage;
	bool cancelled, drained, blocked;
	struct map tries; /* hash of a message that cannot be decoded -> deliveries */
	struct backoff backoff;
	struct buf said; /* the last warning */
	int64_t said_ns, quarantine_ns;
	/* The message at hand. */
	struct delivery d;
	enum { NO_MESSAGE, NEED_HEADER, NEED_BODY } expect;
	struct buf kept, body;
	uint64_t charged; /* for `body` */
	uint64_t got;     /* bytes of it, kept or not */
};

/* Telling. */

static void set_status(struct consumer *c, const char *text)
{
	lock_take(&c->lock);
	buf_clear(&c->status);
	buf_c(&c->status, text);
	c->status_ns = clock_now_ns(c->o.env->clock);
	c->n_connections_told = c->connection;
	lock_drop(&c->lock);
}

/* The same sentence once a minute; the status has it anyway. */
static void warn(struct consumer *c, const char *text)
{
	int64_t now = clock_mono_ns(c->o.env->clock);

	if (str_eq_c(buf_view(&c->said), text) && now - c->said_ns < SAY_S * NS_PER_SEC)
		return;
	c->said_ns = now;
	buf_clear(&c->said);
	buf_c(&c->said, text);
	log_warn("input", "amqp: %s", text);
}

static void count(struct series_value *v, int64_t by)
{
	atomic_fetch_add_explicit(&v->v, by, memory_order_relaxed);
}

static void find_counts(struct consumer *c)
{
	static const char *const ids[] = {"yes", "no"};
	struct buf labels = {0};
	struct amqp_url u;
	struct arena a = {0};
	struct error e;
	char where[300];

	if (amqp_url_parse(&u, str_c(c->o.s->url), &a, &e) < 0)
		u = (struct amqp_url){.host = "", .vhost = ""};
	snprintf(where, sizeof where, "%s:%d/%s", u.host, u.port,
		strcmp(u.vhost, "/") == 0 ? "" : u.vhost);
	metric_label(&labels, "queue", str_c(c->o.s->queue));
	metric_label(&labels, "broker", str_c(where));
	c->counts.connected = metric_series(METRIC_amqp_connected, buf_cstr(&labels));
	c->counts.messages = metric_series(METRIC_amqp_messages_total, buf_cstr(&labels));
	c->counts.duplicates = metric_series(METRIC_amqp_duplicates_total, buf_cstr(&labels));
	c->counts.returned = metric_series(METRIC_amqp_returned_total, buf_cstr(&labels));
	c->counts.quarantined = metric_series(METRIC_amqp_quarantined_total, buf_cstr(&labels));
	for (int i = 0; i < 2; i++) {
		struct buf with_id = {0};

		buf_str(&with_id, buf_view(&labels));
		metric_label(&with_id, "id", str_c(ids[i]));
		*(i == 0 ? &c->counts.known : &c->counts.unknown) =
			metric_series(METRIC_amqp_redelivered_total, buf_cstr(&with_id));
		buf_fini(&with_id);
	}
	buf_fini(&labels);
	arena_fini(&a);
}

/* Mail and memory. */

static void wake(struct consumer *c)
{
	static const uint64_t one = 1;

	atomic_store_explicit(&c->has_mail, true, memory_order_release);
	while (write(c->wake, &one, sizeof one) < 0 && errno == EINTR)
		;
}

static int acknowledge(struct consumer *c, uint64_t tag, struct error *e)
{
	if (c->o.s->ack == AMQP_AUTO || tag <= c->acked)
		return 0;
	c->acked = tag;
	return amqp_link_status(c->link,
		amqp_basic_ack(amqp_link_state(c->link), AMQP_CHANNEL, tag, 1), "basic.ack", e);
}

/* What the loop said since. */
static int read_mail(struct consumer *c, struct error *e)
{
	uint64_t connection, tag;

	if (!atomic_exchange_explicit(&c->has_mail, false, memory_order_acquire))
		return 0;
	lock_take(&c->lock);
	connection = c->mail.connection;
	tag = c->mail.tag;
	c->n_out -= c->mail.n_settled;
	c->mail.n_settled = 0;
	c->stage = c->mail.stage;
	lock_drop(&c->lock);
	return c->link && connection == c->connection ? acknowledge(c, tag, e) : 0;
}

static bool take_grant(struct consumer *c)
{
	if (c->reserved)
		return true;
	lock_take(&c->lock);
	c->reserved = c->mail.granted;
	c->mail.granted = 0;
	lock_drop(&c->lock);
	if (!c->reserved)
		c->o.want(c->o.arg);
	return c->reserved > 0;
}

/* For as long as nothing comes. */
static void leave_grant(struct consumer *c)
{
	if (c->reserved == 0 || maker_count(c->maker) > 0)
		return;
	lock_take(&c->lock);
	if (c->mail.granted == 0) {
		c->mail.granted = c->reserved;
		c->mail.grant_is_old = false;
		c->reserved = 0;
	}
	lock_drop(&c->lock);
}

/* Runs. */

static void send_run(struct consumer *c)
{
	struct run *r;

	if (maker_count(c->maker) == 0 && c->tag == 0)
		return;
	r = xcalloc(1, sizeof *r);
	if (maker_count(c->maker) > 0) {
		r->batch = maker_finish(c->maker, c->o.seen, c->o.seen_source);
		r->reserved = c->reserved;
		c->reserved = 0;
	}
	r->position = maker_position(c->maker);
	r->tag = c->tag;
	r->connection = c->connection;
	c->tag = 0;
	c->n_out++;
	if (c->o.seen) {
		c->seen_before = seen_count(c->o.seen);
		c->n_known = seen_size(c->o.seen);
	}
	c->o.run(c->o.arg, r);
}

static void on_full(void *arg)
{
	send_run(arg);
}

/* Is there room for one more message? */
static bool room(struct consumer *c)
{
	if (maker_count(c->maker) > 0 && maker_bytes(c->maker) >= courier_target(c->reserved))
		send_run(c);
	return take_grant(c);
}

/* The connection is gone, and with it the tags: the broker delivers again what was not
 * acknowledged. */
static void forget_built(struct consumer *c)
{
	if (c->o.s->ack == AMQP_AUTO) {
		c->tag = 0;
		send_run(c); /* nobody has these a second time */
		return;
	}
	maker_drop(c->maker);
	if (c->o.seen)
		seen_undo(c->o.seen, c->seen_before);
	c->tag = 0;
}

/* Messages. */

static bool wait_for(struct consumer *c, int64_t ms, bool socket);

static void quarantine(struct consumer *c, struct str body, const char *why)
{
	char text[sizeof((struct error *)0)->text + 100];

	int64_t now = clock_mono_ns(c->o.env->clock);

	maker_quarantine(c->maker, &c->d, body, why);
	count(c->counts.quarantined, 1);
	/* Each may have a reason of its own. */
	if (c->quarantine_ns && now - c->quarantine_ns < QUARANTINE_S * NS_PER_SEC)
		return;
	c->quarantine_ns = now;
	snprintf(text, sizeof text, "a message of queue \"%s\" is in quarantine: %s", c->o.s->queue,
		why);
	log_warn("input", "amqp: %s", text);
}

/* How often it was delivered to anybody, this time included, as far as is known. */
static int64_t deliveries(struct consumer *c, struct seen_hash h)
{
	struct str key = str_make(&h, sizeof h);
	int64_t n;

	if (c->tries.n >= TRIES_KEPT)
		map_fini(&c->tries);
	n = (int64_t)++map_put(&c->tries, key, NULL)->u;
	return c->d.n_before >= n ? c->d.n_before + 1 : n;
}

/* 1: it was given back; 0: it is taken. */
static int poison(struct consumer *c, struct str body, const struct error *why, struct error *e)
{
	struct seen_hash h = seen_hash_of(c->d.id, c->d.key, body);
	int r;

	if (c->o.s->ack == AMQP_MANUAL && deliveries(c, h) < c->o.s->tries) {
		count(c->counts.returned, 1);
		r = amqp_basic_nack(amqp_link_state(c->link), AMQP_CHANNEL, c->d.tag, 0, 1);
		r = amqp_link_status(c->link, r, "basic.nack", e);
		return r < 0 ? r : 1;
	}
	quarantine(c, body, why->text);
	map_remove(&c->tries, str_make(&h, sizeof h));
	return 0;
}

/* Make it records; where memory is short, later.  1: given back. */
static int decode(struct consumer *c, struct str body, struct error *e)
{
	struct error why;
	int r;

	if (c->d.size > AMQP_BODY_MAX) {
		snprintf(why.text, sizeof why.text,
			"%" PRIu64 " bytes are more than %d: the beginning is kept", c->d.size,
			AMQP_BODY_MAX);
		quarantine(c, body, why.text);
		return 0;
	}
	while ((r = maker_add(c->maker, &c->d, body, &why)) == ERR_BUSY) {
		send_run(c); /* its end frees some */
		if (c->stage == ENDING)
			return error_set(e, ERR_BUSY, "%s", why.text);
		wait_for(c, BUSY_MS, false);
		if ((r = read_mail(c, e)) < 0)
			return r;
	}
	return r < 0 ? poison(c, body, &why, e) : 0;
}

static int take_message(struct consumer *c, struct str body, struct error *e)
{
	bool known = c->o.seen && c->d.id.n;
	struct seen_hash h = {0};
	int r;

	c->n_taken++;
	count(c->counts.messages, 1);
	if (c->d.redelivered)
		count(c->d.id.n ? c->counts.known : c->counts.unknown, 1);
	if (known) {
		h = seen_hash_of(c->d.id, c->d.key, body);
		if (seen_has(c->o.seen, h)) {
			count(c->counts.duplicates, 1);
			c->tag = c->d.tag;
			return 0;
		}
	}
	if ((r = decode(c, body, e)) != 0)
		return r < 0 ? r : 0;
	if (known)
		seen_put(c->o.seen, h);
	c->tag = c->d.tag;
#ifdef SAWLOG_MUTANT
	/* The control of the cluster test: acknowledged before it is stored. */
	return acknowledge(c, c->tag, e);
#else
	return 0;
#endif
}

/* Frames. */

static void release_frames(struct consumer *c)
{
	amqp_maybe_release_buffers_on_channel(amqp_link_state(c->link), AMQP_CHANNEL);
}

static void drop_body(struct consumer *c)
{
	if (c->charged) {
		buf_fini(&c->body);
		account_release(c->o.env->account, c->charged);
		c->charged = 0;
	}
	buf_clear(&c->body);
	c->expect = NO_MESSAGE;
}

/* Memory for a body that is larger than what a batch was charged for. */
static void charge_body(struct consumer *c)
{
	uint64_t n = c->d.size < AMQP_BODY_MAX ? c->d.size : AMQP_BODY_MAX;
	struct account *a = c->o.env->account;

	if (n <= BODY_KEPT)
		return;
	/* A single message passes the ceiling rather than that none ever comes: see courier.c. */
	if (a && account_charge(a, n) < 0) {
		wait_for(c, 10 * BUSY_MS, false);
		account_force(a, n);
	}
	if (a)
		c->charged = n;
	buf_reserve(&c->body, n);
}

static int finish_message(struct consumer *c, struct str body, struct error *e)
{
	int r = take_message(c, body, e);

	drop_body(c);
	if (r == 0)
		release_frames(c);
	return r;
}

static int on_body(struct consumer *c, struct str bytes, struct error *e)
{
	if (c->expect != NEED_BODY || bytes.n > c->d.size - c->got)
		return error_set(
			e, ERR_NET, "%s: a body frame out of place", amqp_link_where(c->link));
	if (c->got == 0 && bytes.n == c->d.size)
		return finish_message(c, bytes, e);
	if (c->got == 0) {
		delivery_keep(&c->d, &c->kept);
		charge_body(c);
	}
	c->got += bytes.n;
	buf_str(&c->body, str_sub(bytes, 0, AMQP_BODY_MAX - c->body.n));
	if (c->got == c->d.size)
		return finish_message(c, buf_view(&c->body), e);
	release_frames(c);
	return 0;
}

static int on_header(struct consumer *c, const amqp_frame_t *f, struct error *e)
{
	if (c->expect != NEED_HEADER)
		return error_set(
			e, ERR_NET, "%s: a header frame out of place", amqp_link_where(c->link));
	delivery_properties(&c->d, f->payload.properties.decoded, c->id_header);
	c->d.size = f->payload.properties.body_size;
	c->got = 0;
	c->expect = NEED_BODY;
	return c->d.size == 0 ? finish_message(c, STR_NONE, e) : 0;
}

static int on_method(struct consumer *c, const amqp_frame_t *f, struct error *e)
{
	bool was = c->blocked;
	int r;

	if (f->payload.method.id == AMQP_BASIC_DELIVER_METHOD) {
		delivery_begin(&c->d, f->payload.method.decoded);
		c->expect = NEED_HEADER;
		return 0;
	}
	if (f->payload.method.id == AMQP_BASIC_CANCEL_OK_METHOD) {
		c->drained = true;
		return 0;
	}
	if ((r = amqp_link_unasked(c->link, f, &c->blocked, e)) < 0)
		return r;
	if (was != c->blocked)
		log_info("input", "amqp: %s: the broker %s", amqp_link_where(c->link),
			c->blocked ? "takes no messages (it is short of memory or disk); what it "
				     "has is still delivered"
				   : "takes messages again");
	if (c->expect == NO_MESSAGE) /* else it came between two frames of one */
		amqp_maybe_release_buffers(amqp_link_state(c->link));
	return 0;
}

static int on_frame(struct consumer *c, const amqp_frame_t *f, struct error *e)
{
	switch (f->frame_type) {
	case AMQP_FRAME_METHOD: return on_method(c, f, e);
	case AMQP_FRAME_HEADER: return on_header(c, f, e);
	case AMQP_FRAME_BODY:
		return on_body(c,
			str_make(f->payload.body_fragment.bytes, f->payload.body_fragment.len), e);
	default: return 0;
	}
}

/* Take what there is.  1: perhaps there is more; 0: not now, or no room. */
static int read_some(struct consumer *c, struct error *e)
{
	struct timeval now = {0};
	amqp_frame_t frame;
	int r;

	maker_set_time(c->maker, clock_now_ns(c->o.env->clock));
	for (unsigned i = 0; i < TURN; i++) {
		if (c->expect == NO_MESSAGE && !room(c))
			return 0;
		r = amqp_simple_wait_frame_noblock(amqp_link_state(c->link), &frame, &now);
		if (r == AMQP_STATUS_TIMEOUT)
			return 0;
		if (r != AMQP_STATUS_OK)
			return amqp_link_status(c->link, r, "consuming", e);
		if ((r = on_frame(c, &frame, e)) < 0)
			return r;
	}
	return 1;
}

/* Waiting. */

static void clear_wake(struct consumer *c)
{
	uint64_t n;

	while (read(c->wake, &n, sizeof n) < 0 && errno == EINTR)
		;
}

/* Until there is mail, `ms` have passed, or with `socket` something came from the broker.  True
 * when there is mail. */
static bool wait_for(struct consumer *c, int64_t ms, bool socket)
{
	struct pollfd fds[2] = {{.fd = c->wake, .events = POLLIN}, {.events = POLLIN}};

	if (atomic_load_explicit(&c->has_mail, memory_order_relaxed))
		return true;
	if (socket)
		fds[1].fd = amqp_link_fd(c->link);
	if (poll(fds, socket ? 2 : 1, (int)ms) > 0 && fds[0].revents) {
		clear_wake(c);
		return true;
	}
	return false;
}

/* While nothing is read librabbitmq sends no heartbeats. */
static int beat(struct consumer *c, struct error *e)
{
	amqp_frame_t frame = {.frame_type = AMQP_FRAME_HEARTBEAT};

	return amqp_link_status(
		c->link, amqp_send_frame(amqp_link_state(c->link), &frame), "heartbeat", e);
}

static int64_t beat_ms(struct consumer *c)
{
	unsigned ms = amqp_link_beat_ms(c->link);

	return ms && ms < IDLE_MS ? (int64_t)ms : IDLE_MS;
}

/* Is much coming, and will the broker go on sending though nothing is acknowledged just now?
 * Tags of a connection are counted from 1. */
static bool loaded(struct consumer *c)
{
	uint64_t n = c->n_taken - c->n_rested;

	c->n_rested = c->n_taken;
	return n >= FEW &&
	       (c->o.s->ack == AMQP_AUTO || (c->d.tag - c->acked) * 2 < (uint64_t)c->o.s->prefetch);
}

static int doze(struct consumer *c, struct error *e)
{
	int64_t now = clock_mono_ns(c->o.env->clock), until = now + DOZE_MS * NS_PER_MS;
	int r = 0;

	while (r == 0 && c->stage == RUNNING && now < until) {
		wait_for(c, (until - now) / NS_PER_MS + 1, false);
		r = read_mail(c, e);
		now = clock_mono_ns(c->o.env->clock);
	}
	return r;
}

/* Until there is something to do. */
static int rest(struct consumer *c, struct error *e)
{
	bool reading = c->expect != NO_MESSAGE || c->reserved > 0;

	if (c->n_out == 0)
		send_run(c); /* nothing waits for more */
	if (reading && loaded(c))
		return doze(c, e);
	if (reading && c->expect == NO_MESSAGE)
		leave_grant(c);
	if (wait_for(c, beat_ms(c), reading) || reading)
		return 0;
	return beat(c, e);
}

/* Connecting. */

static int declare_exchange(struct consumer *c, struct error *e)
{
	const struct amqp_settings *s = c->o.s;
	struct amqp_exchange x = {.name = s->exchange,
		.type = s->exchange_type,
		/* The broker's own are there, and are nobody's to make. */
		.create = s->declare == AMQP_CREATE && !str_starts(str_c(s->exchange), STR("amq.")),
		.durable = s->exchange_durable};
	struct amqp_declared d = {0};
	int r;

	if (!*s->exchange)
		return 0;
	if ((r = amqp_declare_exchange(c->link, &x, &d, e)) == 0 && d.differs)
		warn(c, d.how.text);
	return r;
}

static int declare_queue(struct consumer *c, struct error *e)
{
	static const char *const types[] = {NULL, "classic", "quorum"};
	const struct amqp_settings *s = c->o.s;
	/* One without a name is this connection's, and goes with it. */
	struct amqp_queue q = {.name = s->queue,
		.create = s->declare == AMQP_CREATE,
		.durable = s->queue_durable && *s->queue,
		.exclusive = !*s->queue,
		.auto_delete = !*s->queue,
		.type = types[s->queue_type],
		.arguments = &s->arguments};
	struct amqp_declared d = {0};
	struct arena a = {0};
	const char *name = s->queue;
	int r = amqp_declare_queue(c->link, &q, &a, &name, &d, e);

	if (r == 0 && d.differs)
		warn(c, d.how.text);
	if (r == 0) {
		buf_clear(&c->queue);
		buf_c(&c->queue, name);
	}
	arena_fini(&a);
	return r;
}

static int declare(struct consumer *c, struct error *e)
{
	const struct amqp_settings *s = c->o.s;
	int r;

	buf_clear(&c->queue);
	buf_c(&c->queue, s->queue);
	if (s->declare == AMQP_NEVER)
		return 0;
	if ((r = declare_exchange(c, e)) < 0 || (r = declare_queue(c, e)) < 0)
		return r;
	if (s->declare == AMQP_CHECK || !*s->exchange)
		return 0;
	for (size_t i = 0; i < s->bind.n && r == 0; i++)
		r = amqp_bind(c->link, buf_cstr(&c->queue), s->exchange, s->bind.items[i], e);
	return r;
}

static int subscribe(struct consumer *c, struct error *e)
{
	const struct amqp_settings *s = c->o.s;
	amqp_connection_state_t state = amqp_link_state(c->link);
	amqp_basic_consume_ok_t *ok;
	char what[300];
	int r = 0;

	snprintf(what, sizeof what, "queue \"%s\"", buf_cstr(&c->queue));
	if (s->ack == AMQP_MANUAL &&
		!amqp_basic_qos(state, AMQP_CHANNEL, 0, (uint16_t)s->prefetch, 0))
		r = amqp_link_failed(c->link, amqp_get_rpc_reply(state), "basic.qos", e);
	if (r < 0)
		return r;
	ok = amqp_basic_consume(state, AMQP_CHANNEL, amqp_cstring_bytes(buf_cstr(&c->queue)),
		amqp_cstring_bytes(s->consumer_tag ? s->consumer_tag : ""), 0, s->ack == AMQP_AUTO,
		s->exclusive, amqp_empty_table);
	if (!ok)
		return amqp_link_failed(c->link, amqp_get_rpc_reply(state), what, e);
	buf_clear(&c->consumer_tag);
	buf_put(&c->consumer_tag, ok->consumer_tag.bytes, ok->consumer_tag.len);
	return 0;
}

static int open_link(struct consumer *c, struct error *e)
{
	const struct amqp_settings *s = c->o.s;
	char name[200];
	struct amqp_link_options o = {.url = s->url,
		.tls = s->tls,
		.name = name,
		.connect_ms = CONNECT_MS,
		.call_ms = CALL_MS,
		.heartbeat_s = s->heartbeat / NS_PER_SEC};
	int r;

	snprintf(name, sizeof name, "sawlog input amqp@%s", c->o.env->host);
	if ((r = amqp_link_open(&c->link, &o, e)) < 0)
		return r;
	c->connection++;
	c->acked = 0;
	c->expect = NO_MESSAGE;
	c->blocked = c->cancelled = c->drained = false;
	if ((r = declare(c, e)) < 0)
		return r;
	return subscribe(c, e);
}

static void close_link(struct consumer *c)
{
	if (!c->link)
		return;
	drop_body(c);
	forget_built(c);
	amqp_link_close(c->link);
	c->link = NULL;
	atomic_store(&c->counts.connected->v, 0);
}

static void tell_connected(struct consumer *c)
{
	const struct amqp_settings *s = c->o.s;
	char text[700];

	snprintf(text, sizeof text, "%s (%s): takes the messages of queue \"%s\"",
		amqp_link_where(c->link), amqp_link_server(c->link), buf_cstr(&c->queue));
	set_status(c, text);
	log_info("input", "amqp: %s%s", text,
		s->ack == AMQP_AUTO
			? ", which count as delivered before they are stored (ack: auto)"
			: "");
	atomic_store(&c->counts.connected->v, 1);
	buf_clear(&c->said);
}

/* Life. */

/* Say that no more messages are wanted; those that are on their way still come. */
static int cancel(struct consumer *c, struct error *e)
{
	amqp_basic_cancel_t method = {.consumer_tag = {c->consumer_tag.n, c->consumer_tag.p}};

	c->cancelled = true;
	return amqp_link_status(c->link,
		amqp_send_method(
			amqp_link_state(c->link), AMQP_CHANNEL, AMQP_BASIC_CANCEL_METHOD, &method),
		"basic.cancel", e);
}

/* As long as the connection holds and nobody wants a stop. */
static int consume(struct consumer *c, struct error *e)
{
	int r;

	while ((r = read_mail(c, e)) == 0 && c->stage == RUNNING) {
		if ((r = read_some(c, e)) < 0)
			return r;
		if (r == 0 && (r = rest(c, e)) < 0)
			return r;
	}
	return r;
}

/* Take what was sent before the subscription ended. */
static int drain(struct consumer *c, struct error *e)
{
	int64_t until = clock_mono_ns(c->o.env->clock) + DRAIN_MS * NS_PER_MS, left;
	int r = cancel(c, e);

	while (r == 0 && !c->drained && c->stage != ENDING) {
		if ((left = until - clock_mono_ns(c->o.env->clock)) <= 0)
			break;
		if ((r = read_some(c, e)) == 0 && !c->drained)
			wait_for(c, left / NS_PER_MS + 1,
				c->reserved > 0 || c->expect != NO_MESSAGE);
		if (r >= 0)
			r = read_mail(c, e);
	}
	if (r == 0)
		send_run(c);
	return r;
}

/* All that was taken is with the loop: acknowledge until it says that no more comes. */
static void settle(struct consumer *c)
{
	struct error e;

	c->o.drained(c->o.arg);
	while (c->stage != ENDING) {
		wait_for(c, c->link ? beat_ms(c) : IDLE_MS, false);
		if (read_mail(c, &e) < 0 || (c->link && c->stage != ENDING && beat(c, &e) < 0))
			close_link(c);
	}
}

static void pause_after(struct consumer *c, const struct error *why)
{
	int64_t until = clock_mono_ns(c->o.env->clock), left;
	struct error e;

	warn(c, why->text);
	set_status(c, why->text);
	leave_grant(c);
	until += (int64_t)backoff_next(&c->backoff) * NS_PER_MS;
	while (c->stage == RUNNING && (left = until - clock_mono_ns(c->o.env->clock)) > 0) {
		wait_for(c, left / NS_PER_MS + 1, false);
		read_mail(c, &e);
	}
	/* Without room there is nothing to be done with messages. */
	while (c->stage == RUNNING && !take_grant(c)) {
		wait_for(c, IDLE_MS, false);
		read_mail(c, &e);
	}
}

static void *run_thread(void *arg)
{
	struct consumer *c = arg;
	struct error e = {0};
	int r = 0;

	while (c->stage == RUNNING) {
		if ((r = open_link(c, &e)) == 0) {
			tell_connected(c);
			backoff_reset(&c->backoff);
			r = consume(c, &e);
		}
		if (r == 0)
			r = drain(c, &e);
		if (r < 0) {
			close_link(c);
			if (c->stage == RUNNING)
				pause_after(c, &e);
		}
	}
	settle(c);
	close_link(c);
	set_status(c, "ended");
	c->o.ended(c->o.arg);
	return NULL;
}

struct consumer *consumer_start(const struct consumer_options *o)
{
	static const struct str header = STR_INIT("header:");
	struct consumer *c = xcalloc(1, sizeof *c);
	struct maker_options maker = {
		.s = o->s, .env = o->env, .zone = o->zone, .full = on_full, .arg = c};
	struct str by = str_c(o->s->dedupe.by);
	uint64_t id[2];

	c->o = *o;
	lock_init(&c->lock);
	hash_random(id, sizeof id);
	snprintf(c->source, sizeof c->source, "amqp:%016" PRIx64 "%016" PRIx64, id[0], id[1]);
	maker.source = str_c(c->source);
	c->maker = maker_new(&maker);
	if (str_starts(by, header))
		c->id_header = str_dup(str_sub(by, header.n, by.n));
	c->seen_before = o->seen ? seen_count(o->seen) : 0;
	c->backoff = (struct backoff){.base_ms = RETRY_MS, .max_ms = RETRY_MAX_MS};
	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert(c->wake >= 0);
	find_counts(c);
	set_status(c, "not connected yet");
	c->thread = thread_start("amqp", run_thread, c);
	return c;
}

/* The loop's side. */

void consumer_grant(struct consumer *c, uint64_t reserved)
{
	lock_take(&c->lock);
	c->mail.granted += reserved;
	c->mail.grant_is_old = false;
	lock_drop(&c->lock);
	wake(c);
}

bool consumer_has_grant(struct consumer *c)
{
	bool has;

	lock_take(&c->lock);
	has = c->mail.granted > 0;
	lock_drop(&c->lock);
	return has;
}

uint64_t consumer_take_back(struct consumer *c)
{
	uint64_t n = 0;

	lock_take(&c->lock);
	if (c->mail.grant_is_old) {
		n = c->mail.granted;
		c->mail.granted = 0;
	}
	c->mail.grant_is_old = c->mail.granted > 0;
	lock_drop(&c->lock);
	return n;
}

void consumer_settled(struct consumer *c, uint64_t n, uint64_t connection, uint64_t tag)
{
	lock_take(&c->lock);
	c->mail.n_settled += n;
	if (tag) {
		c->mail.connection = connection;
		c->mail.tag = tag;
	}
	lock_drop(&c->lock);
	wake(c);
}

static void set_stage(struct consumer *c, enum stage stage)
{
	lock_take(&c->lock);
	c->mail.stage = stage;
	lock_drop(&c->lock);
	wake(c);
}

void consumer_stop(struct consumer *c)
{
	set_stage(c, STOPPING);
}

void consumer_end(struct consumer *c)
{
	set_stage(c, ENDING);
}

void consumer_free(struct consumer *c)
{
	if (!c)
		return;
	pthread_join(c->thread, NULL);
	account_release(c->o.env->account, c->reserved + c->mail.granted);
	maker_free(c->maker);
	map_fini(&c->tries);
	buf_fini(&c->status);
	buf_fini(&c->queue);
	buf_fini(&c->consumer_tag);
	buf_fini(&c->said);
	buf_fini(&c->kept);
	buf_fini(&c->body);
	free(c->id_header);
	close(c->wake);
	lock_fini(&c->lock);
	free(c);
}

void consumer_dump(struct consumer *c, struct buf *out)
{
	lock_take(&c->lock);
	buf_printf(out, "  %.*s, since ", STR_ARG(buf_view(&c->status)));
	time_format(out, c->status_ns);
	buf_printf(out, "; connection %" PRIu64 "\n", c->n_connections_told);
	lock_drop(&c->lock);
	if (c->o.seen)
		buf_printf(out, "  knows the last %" PRIu64 " messages with an id\n", c->n_known);
	buf_printf(out,
		"  %lld messages, %lld of them delivered before (%lld without an id to be known "
		"by), %lld duplicates not stored again, %lld given back, %lld in quarantine\n",
		(long long)c->counts.messages->v,
		(long long)(c->counts.known->v + c->counts.unknown->v),
		(long long)c->counts.unknown->v, (long long)c->counts.duplicates->v,
		(long long)c->counts.returned->v, (long long)c->counts.quarantined->v);
}
