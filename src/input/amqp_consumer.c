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
	TURN = 512,      /* frames between two looks at the mail */
	DRAIN_MS = 4000, /* for the broker to end the subscription, at a stop */
	RETRY_MS = 250,  /* until a lost connection is made again */
	RETRY_MAX_MS = 10000,
	BUSY_MS = 100, /* until a message is tried again that had no memory */
	IDLE_MS = 60000,
	FEW = 16,     /* messages between two rests; more is a load */
	DOZE_MS = 40, /* of a rest under load */
	SAY_S = 60,   /* until the same is said again */
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

struct consumer {
	/* Fixed: any thread. */
	struct consumer_options o;
	pthread_t thread;
	int wake; /* eventfd */
	struct series_value *connected;
	struct intake *intake; /* the consumer's thread's, but for its dump */
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
	struct subscription at;
	struct maker *maker;
	char source[48];      /* of positions */
	uint64_t connection;  /* counts connections */
	uint64_t reserved;    /* for the batch being built */
	uint64_t n_out;       /* runs on the loop */
	uint64_t n_rested;    /* messages taken up to the last rest */
	uint64_t acked;       /* of this connection */
	uint64_t seen_before; /* count of `seen` at the beginning of the batch */
	enum stage stage;
	int64_t stop_ns; /* when a stop waits no longer for memory or the broker; 0: none yet */
	bool drained, blocked;
	struct backoff backoff;
	struct buf said; /* the last warning */
	int64_t said_ns;
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
	return amqp_link_status(c->at.link,
		amqp_basic_ack(amqp_link_state(c->at.link), AMQP_CHANNEL, tag, 1), "basic.ack", e);
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
	if (c->stage != RUNNING && c->stop_ns == 0)
		c->stop_ns = clock_mono_ns(c->o.env->clock) + DRAIN_MS * NS_PER_MS;
	return c->at.link && connection == c->connection ? acknowledge(c, tag, e) : 0;
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

	if (maker_count(c->maker) == 0 && intake_tag(c->intake) == 0)
		return;
	r = xcalloc(1, sizeof *r);
	if (maker_count(c->maker) > 0) {
		r->batch = maker_finish(c->maker, c->o.seen, c->o.seen_source);
		r->reserved = c->reserved;
		c->reserved = 0;
	}
	r->position = maker_position(c->maker);
	r->tag = intake_tag(c->intake);
	r->connection = c->connection;
	intake_forget_tag(c->intake);
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
		intake_forget_tag(c->intake);
		send_run(c); /* nobody has these a second time */
		return;
	}
	maker_drop(c->maker);
	if (c->o.seen)
		seen_undo(c->o.seen, c->seen_before);
	intake_forget_tag(c->intake);
}

static int on_method(struct consumer *c, const amqp_frame_t *f, struct error *e)
{
	bool was = c->blocked;
	int r;

	if (f->payload.method.id == AMQP_BASIC_CANCEL_OK_METHOD) {
		c->drained = true;
		return 0;
	}
	if ((r = amqp_link_unasked(c->at.link, f, &c->blocked, e)) < 0)
		return r;
	if (was != c->blocked)
		log_info("input", "amqp: %s: the broker %s", amqp_link_where(c->at.link),
			c->blocked ? "takes no messages (it is short of memory or disk); what it "
				     "has is still delivered"
				   : "takes messages again");
	if (intake_is_between(c->intake)) /* else it came between two frames of one */
		amqp_maybe_release_buffers(amqp_link_state(c->at.link));
	return 0;
}

static int on_frame(struct consumer *c, const amqp_frame_t *f, struct error *e)
{
	int r;

	if (f->frame_type == AMQP_FRAME_METHOD && f->payload.method.id != AMQP_BASIC_DELIVER_METHOD)
		return on_method(c, f, e);
	if ((r = intake_frame(c->intake, f, e)) == ERR_CORRUPT)
		return error_wrap(e, r, "%s", amqp_link_where(c->at.link));
#ifdef SAWLOG_MUTANT
	/* The control of the cluster test: acknowledged before it is stored. */
	if (r == 0)
		r = acknowledge(c, intake_tag(c->intake), e);
#endif
	return r;
}

/* Take what there is.  1: perhaps there is more; 0: not now, or no room. */
static int read_some(struct consumer *c, struct error *e)
{
	struct timeval now = {0};
	amqp_frame_t frame;
	int r;

	maker_set_time(c->maker, clock_now_ns(c->o.env->clock));
	for (unsigned i = 0; i < TURN; i++) {
		if (intake_is_between(c->intake) && !room(c))
			return 0;
		r = amqp_simple_wait_frame_noblock(amqp_link_state(c->at.link), &frame, &now);
		if (r == AMQP_STATUS_TIMEOUT)
			return 0;
		if (r != AMQP_STATUS_OK)
			return amqp_link_status(c->at.link, r, "consuming", e);
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
		fds[1].fd = amqp_link_fd(c->at.link);
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
		c->at.link, amqp_send_frame(amqp_link_state(c->at.link), &frame), "heartbeat", e);
}

static int64_t beat_ms(struct consumer *c)
{
	unsigned ms = amqp_link_beat_ms(c->at.link);

	return ms && ms < IDLE_MS ? (int64_t)ms : IDLE_MS;
}

/* Is much coming, and will the broker go on sending though nothing is acknowledged just now?
 * Tags of a connection are counted from 1. */
static bool loaded(struct consumer *c)
{
	uint64_t n = intake_count(c->intake) - c->n_rested;

	c->n_rested += n;
	return n >= FEW &&
	       (c->o.s->ack == AMQP_AUTO ||
		       (intake_delivered(c->intake) - c->acked) * 2 < (uint64_t)c->o.s->prefetch);
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
	bool reading = !intake_is_between(c->intake) || c->reserved > 0;

	if (c->n_out == 0)
		send_run(c); /* nothing waits for more */
	if (reading && loaded(c))
		return doze(c, e);
	if (reading && intake_is_between(c->intake))
		leave_grant(c);
	if (wait_for(c, beat_ms(c), reading) || reading)
		return 0;
	return beat(c, e);
}

/* The intake's wishes. */

static int on_busy(void *arg, const struct error *why, struct error *e)
{
	struct consumer *c = arg;

	send_run(c); /* its end frees some */
	wait_for(c, BUSY_MS, false);
	if (c->stage == ENDING ||
		(c->stage != RUNNING && clock_mono_ns(c->o.env->clock) >= c->stop_ns))
		return error_set(e, ERR_BUSY, "%s", why->text);
	return read_mail(c, e);
}

static void on_pause(void *arg)
{
	wait_for(arg, 10 * BUSY_MS, false);
}

static int on_give_back(void *arg, uint64_t tag, struct error *e)
{
	struct consumer *c = arg;

	return amqp_link_status(c->at.link,
		amqp_basic_nack(amqp_link_state(c->at.link), AMQP_CHANNEL, tag, 0, 1), "basic.nack",
		e);
}

static void on_release(void *arg)
{
	struct consumer *c = arg;

	amqp_maybe_release_buffers_on_channel(amqp_link_state(c->at.link), AMQP_CHANNEL);
}

static void on_warn(void *arg, const char *text)
{
	warn(arg, text);
}

/* Connecting. */

static int open_link(struct consumer *c, struct error *e)
{
	int r = subscription_open(&c->at, e);

	if (r < 0)
		return r;
	c->connection++;
	c->acked = 0;
	c->blocked = c->drained = false;
	return 0;
}

static void close_link(struct consumer *c)
{
	if (!c->at.link)
		return;
	intake_drop(c->intake);
	forget_built(c);
	subscription_close(&c->at);
	atomic_store(&c->connected->v, 0);
}

static void tell_connected(struct consumer *c)
{
	const struct amqp_settings *s = c->o.s;
	char text[700];

	snprintf(text, sizeof text, "%s (%s): takes the messages of queue \"%s\"",
		amqp_link_where(c->at.link), amqp_link_server(c->at.link), buf_cstr(&c->at.queue));
	set_status(c, text);
	log_info("input", "amqp: %s%s", text,
		s->ack == AMQP_AUTO
			? ", which count as delivered before they are stored (ack: auto)"
			: "");
	atomic_store(&c->connected->v, 1);
	buf_clear(&c->said);
}

/* Life. */

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
	int64_t left;
	int r = subscription_cancel(&c->at, e);

	while (r == 0 && !c->drained && c->stage != ENDING) {
		if ((left = c->stop_ns - clock_mono_ns(c->o.env->clock)) <= 0)
			break;
		if ((r = read_some(c, e)) == 0 && !c->drained)
			wait_for(c, left / NS_PER_MS + 1,
				c->reserved > 0 || !intake_is_between(c->intake));
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
		wait_for(c, c->at.link ? beat_ms(c) : IDLE_MS, false);
		if (read_mail(c, &e) < 0 || (c->at.link && c->stage != ENDING && beat(c, &e) < 0))
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

/* The labels of its metrics. */
static void name_metrics(struct consumer *c, struct buf *labels)
{
	struct amqp_url u;
	struct arena a = {0};
	struct error e;
	char where[300];

	if (amqp_url_parse(&u, str_c(c->o.s->url), &a, &e) < 0)
		u = (struct amqp_url){.host = "", .vhost = ""};
	snprintf(where, sizeof where, "%s:%d/%s", u.host, u.port,
		strcmp(u.vhost, "/") == 0 ? "" : u.vhost);
	metric_label(labels, "queue", str_c(c->o.s->queue));
	metric_label(labels, "broker", str_c(where));
	arena_fini(&a);
}

static void make_parts(struct consumer *c)
{
	const struct consumer_options *o = &c->o;
	struct maker_options maker = {.s = o->s,
		.env = o->env,
		.zone = o->zone,
		.source = str_c(c->source),
		.full = on_full,
		.arg = c};
	struct intake_options intake = {.s = o->s,
		.env = o->env,
		.seen = o->seen,
		.busy = on_busy,
		.pause = on_pause,
		.give_back = on_give_back,
		.release = on_release,
		.arg = c};
	struct buf labels = {0};

	name_metrics(c, &labels);
	c->connected = metric_series(METRIC_amqp_connected, buf_cstr(&labels));
	c->maker = maker_new(&maker);
	intake.maker = c->maker;
	intake.labels = buf_view(&labels);
	c->intake = intake_new(&intake);
	c->at.o = (struct subscription_options){
		.s = o->s, .host = o->env->host, .warn = on_warn, .arg = c};
	buf_fini(&labels);
}

struct consumer *consumer_start(const struct consumer_options *o)
{
	struct consumer *c = xcalloc(1, sizeof *c);
	uint64_t id[2];

	c->o = *o;
	lock_init(&c->lock);
	hash_random(id, sizeof id);
	snprintf(c->source, sizeof c->source, "amqp:%016" PRIx64 "%016" PRIx64, id[0], id[1]);
	make_parts(c);
	c->seen_before = o->seen ? seen_count(o->seen) : 0;
	c->backoff = (struct backoff){.base_ms = RETRY_MS, .max_ms = RETRY_MAX_MS};
	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert(c->wake >= 0);
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
	intake_free(c->intake);
	subscription_fini(&c->at);
	buf_fini(&c->status);
	buf_fini(&c->said);
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
	intake_dump(c->intake, out);
}
