/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From frames to messages, and what becomes of each: known, records, given
 * back, quarantine.
 *
 *	method ──► header ──► body … body ──► known? ──► maker ──► tag
 *	                                                   └── cannot be decoded: back, or
 *quarantine
 *
 * Most messages have a body of one frame, which is decoded where it lies.  The
 * rest is gathered in `body`, the beginning of it at least, under a charge of
 * its own.
 *
 * What a broker sends is not trusted: frames in another order than this end the
 * connection.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/metric.h"
#include "input/amqp_input.h"

enum {
	TRIES_KEPT = 10000,    /* messages that could not be decoded, remembered */
	QUARANTINE_S = 10,     /* between two warnings of messages that are put there */
	BODY_KEPT = 256 << 10, /* memory that stays for the next message of many frames */
};

struct counts {
	struct series_value *messages, *known, *unknown, *duplicates, *returned, *quarantined;
};

struct intake {
	/* Fixed: any thread. */
	struct intake_options o;
	struct counts counts;
	/* The consumer's thread. */
	char *id_header;  /* NULL: message-id */
	uint64_t n;       /* messages that came */
	uint64_t tag;     /* of the last one that was taken, and not asked for yet; 0: none */
	struct map tries; /* hash of a message that cannot be decoded -> deliveries */
	int64_t quarantine_ns;
	/* The message at hand. */
	struct delivery d;
	enum { NO_MESSAGE, NEED_HEADER, NEED_BODY, NEED_REST } expect;
	struct buf kept, body;
	uint64_t charged; /* for `body` */
	uint64_t got;     /* bytes of it, kept or not */
};

static void count(struct series_value *v)
{
	atomic_fetch_add_explicit(&v->v, 1, memory_order_relaxed);
}

static struct counts find_counts(struct str labels)
{
	struct buf known = {0}, unknown = {0}, all = {0};
	struct counts c;

	buf_str(&all, labels);
	c.messages = metric_series(METRIC_amqp_messages_total, buf_cstr(&all));
	c.duplicates = metric_series(METRIC_amqp_duplicates_total, buf_cstr(&all));
	c.returned = metric_series(METRIC_amqp_returned_total, buf_cstr(&all));
	c.quarantined = metric_series(METRIC_amqp_quarantined_total, buf_cstr(&all));
	buf_str(&known, labels);
	metric_label(&known, "id", STR("yes"));
	c.known = metric_series(METRIC_amqp_redelivered_total, buf_cstr(&known));
	buf_str(&unknown, labels);
	metric_label(&unknown, "id", STR("no"));
	c.unknown = metric_series(METRIC_amqp_redelivered_total, buf_cstr(&unknown));
	buf_fini(&known);
	buf_fini(&unknown);
	buf_fini(&all);
	return c;
}

/* What cannot be decoded. */

static void quarantine(struct intake *in, struct str body, const char *why)
{
	int64_t now = clock_mono_ns(in->o.env->clock);

	maker_quarantine(in->o.maker, &in->d, body, why);
	count(in->counts.quarantined);
	/* Each may have a reason of its own. */
	if (in->quarantine_ns && now - in->quarantine_ns < QUARANTINE_S * NS_PER_SEC)
		return;
	in->quarantine_ns = now;
	log_warn("input", "amqp: a message of queue \"%s\" is in quarantine: %s", in->o.s->queue,
		why);
}

/* How often it was delivered to anybody, this time included, as far as is known. */
static int64_t deliveries(struct intake *in, struct seen_hash h)
{
	struct str key = str_make(&h, sizeof h);
	int64_t n;

	if (in->tries.n >= TRIES_KEPT)
		map_fini(&in->tries);
	n = (int64_t)++map_put(&in->tries, key, NULL)->u;
	return in->d.n_before >= n ? in->d.n_before + 1 : n;
}

/* 1: it was given back; 0: it is taken. */
static int poison(struct intake *in, struct str body, const struct error *why, struct error *e)
{
	struct seen_hash h = seen_hash_of(in->d.id, in->d.key, body);
	int r;

	if (in->o.s->ack == AMQP_MANUAL && deliveries(in, h) < in->o.s->tries) {
		count(in->counts.returned);
		r = in->o.give_back(in->o.arg, in->d.tag, e);
		return r < 0 ? r : 1;
	}
	quarantine(in, body, why->text);
	map_remove(&in->tries, str_make(&h, sizeof h));
	return 0;
}

/* Messages. */

/* Make it records; where memory is short, later.  1: given back. */
static int decode(struct intake *in, struct str body, struct error *e)
{
	struct error why;
	int r, busy;

	if (in->d.size > AMQP_BODY_MAX) {
		error_set(&why, ERR_LIMIT,
			"%" PRIu64 " bytes are more than %d: the beginning is kept", in->d.size,
			AMQP_BODY_MAX);
		quarantine(in, body, why.text);
		return 0;
	}
	while ((r = maker_add(in->o.maker, &in->d, body, &why)) == ERR_BUSY)
		if ((busy = in->o.busy(in->o.arg, &why, e)) < 0)
			return busy;
	return r < 0 ? poison(in, body, &why, e) : 0;
}

static int take_message(struct intake *in, struct str body, struct error *e)
{
	bool known = in->o.seen && in->d.id.n;
	struct seen_hash h = {0};
	int r;

	in->n++;
	count(in->counts.messages);
	if (in->d.redelivered)
		count(in->d.id.n ? in->counts.known : in->counts.unknown);
	if (known) {
		h = seen_hash_of(in->d.id, in->d.key, body);
		if (seen_has(in->o.seen, h)) {
			count(in->counts.duplicates);
			in->tag = in->d.tag;
			return 0;
		}
	}
	if ((r = decode(in, body, e)) != 0)
		return r < 0 ? r : 0;
	if (known)
		seen_put(in->o.seen, h);
	in->tag = in->d.tag;
	return 0;
}

/* Frames. */

void intake_drop(struct intake *in)
{
	if (in->charged) {
		buf_fini(&in->body);
		account_release(in->o.env->account, in->charged);
		in->charged = 0;
	}
	buf_clear(&in->body);
	in->expect = NO_MESSAGE;
}

static int finish_message(struct intake *in, struct str body, struct error *e)
{
	int r = take_message(in, body, e);

	intake_drop(in);
	if (r == 0)
		in->o.release(in->o.arg);
	return r;
}

static int misplaced(const char *what, struct error *e)
{
	return error_set(e, ERR_CORRUPT, "the broker sent %s out of place", what);
}

static int on_deliver(struct intake *in, const amqp_frame_t *f, struct error *e)
{
	if (in->expect != NO_MESSAGE)
		return misplaced("a message within another", e);
	delivery_begin(&in->d, f->payload.method.decoded);
	in->expect = NEED_HEADER;
	return 0;
}

static int on_header(struct intake *in, const amqp_frame_t *f, struct error *e)
{
	/* The properties of another class are another struct. */
	if (in->expect != NEED_HEADER || f->payload.properties.class_id != AMQP_BASIC_CLASS)
		return misplaced("a header frame", e);
	delivery_properties(&in->d, f->payload.properties.decoded, in->id_header);
	in->d.size = f->payload.properties.body_size;
	in->got = 0;
	in->expect = NEED_BODY;
	return in->d.size == 0 ? finish_message(in, STR_NONE, e) : 0;
}

/* Memory for a body that is larger than what a batch was charged for. */
static void charge_body(struct intake *in)
{
	uint64_t n = in->d.size < AMQP_BODY_MAX ? in->d.size : AMQP_BODY_MAX;
	struct account *a = in->o.env->account;

	if (n <= BODY_KEPT)
		return;
	if (a && account_charge(a, n) < 0) {
		/* A single message passes the ceiling rather than that none ever comes: see
		 * courier.c. */
		in->o.pause(in->o.arg);
		account_force(a, n);
	}
	if (a)
		in->charged = n;
	buf_reserve(&in->body, n);
}

static int on_body(struct intake *in, struct str bytes, struct error *e)
{
	if (in->expect < NEED_BODY || bytes.n > in->d.size - in->got)
		return misplaced("a body frame", e);
	if (in->expect == NEED_BODY && bytes.n == in->d.size)
		return finish_message(in, bytes, e);
	if (in->expect == NEED_BODY) {
		in->expect = NEED_REST;
		delivery_keep(&in->d, &in->kept);
		charge_body(in);
	}
	in->got += bytes.n;
	buf_str(&in->body, str_sub(bytes, 0, AMQP_BODY_MAX - in->body.n));
	if (in->got == in->d.size)
		return finish_message(in, buf_view(&in->body), e);
	in->o.release(in->o.arg);
	return 0;
}

int intake_frame(struct intake *in, const amqp_frame_t *f, struct error *e)
{
	if (f->channel != AMQP_CHANNEL)
		return misplaced("a frame of a channel that nobody opened", e);
	switch (f->frame_type) {
	case AMQP_FRAME_METHOD: return on_deliver(in, f, e);
	case AMQP_FRAME_HEADER: return on_header(in, f, e);
	case AMQP_FRAME_BODY:
		return on_body(in,
			str_make(f->payload.body_fragment.bytes, f->payload.body_fragment.len), e);
	default: return 0;
	}
}

bool intake_is_between(const struct intake *in)
{
	return in->expect == NO_MESSAGE;
}

uint64_t intake_tag(const struct intake *in)
{
	return in->tag;
}

void intake_forget_tag(struct intake *in)
{
	in->tag = 0;
}

uint64_t intake_delivered(const struct intake *in)
{
	return in->d.tag;
}

uint64_t intake_count(const struct intake *in)
{
	return in->n;
}

/* Life. */

struct intake *intake_new(const struct intake_options *o)
{
	static const struct str header = STR_INIT("header:");
	struct intake *in = xcalloc(1, sizeof *in);
	struct str by = str_c(o->s->dedupe.by);

	in->o = *o;
	in->o.labels = STR_NONE;
	in->counts = find_counts(o->labels);
	if (str_starts(by, header))
		in->id_header = str_dup(str_sub(by, header.n, by.n));
	return in;
}

void intake_free(struct intake *in)
{
	if (!in)
		return;
	intake_drop(in);
	map_fini(&in->tries);
	buf_fini(&in->kept);
	buf_fini(&in->body);
	free(in->id_header);
	free(in);
}

void intake_dump(const struct intake *in, struct buf *out)
{
	const struct counts *c = &in->counts;

	buf_printf(out,
		"  %lld messages, %lld of them delivered before (%lld without an id to be known "
		"by), %lld duplicates not stored again, %lld given back, %lld in quarantine\n",
		(long long)c->messages->v, (long long)(c->known->v + c->unknown->v),
		(long long)c->unknown->v, (long long)c->duplicates->v, (long long)c->returned->v,
		(long long)c->quarantined->v);
}
