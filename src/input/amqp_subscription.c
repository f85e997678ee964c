/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection that consumes a queue: from the address to the subscription, and
 * back.
 */
#include <assert.h>
#include <stdio.h>

#include "input/amqp_input.h"
#include "os/clock.h"

enum {
	CONNECT_MS = 4000, /* a stop waits as long, at most */
	CALL_MS = 4000,
};

static int declare_exchange(struct subscription *s, struct error *e)
{
	const struct amqp_settings *o = s->o.s;
	struct amqp_exchange x = {.name = o->exchange,
		.type = o->exchange_type,
		/* The broker's own are there, and are nobody's to make. */
		.create = o->declare == AMQP_CREATE && !str_starts(str_c(o->exchange), STR("amq.")),
		.durable = o->exchange_durable};
	struct amqp_declared d = {0};
	int r;

	if (!*o->exchange)
		return 0;
	if ((r = amqp_declare_exchange(s->link, &x, &d, e)) == 0 && d.differs)
		s->o.warn(s->o.arg, d.how.text);
	return r;
}

static int declare_queue(struct subscription *s, struct error *e)
{
	static const char *const types[] = {NULL, "classic", "quorum"};
	const struct amqp_settings *o = s->o.s;
	/* One without a name is this connection's, and goes with it. */
	struct amqp_queue q = {.name = o->queue,
		.create = o->declare == AMQP_CREATE,
		.durable = o->queue_durable && *o->queue,
		.exclusive = !*o->queue,
		.auto_delete = !*o->queue,
		.type = types[o->queue_type],
		.arguments = &o->arguments};
	struct amqp_declared d = {0};
	struct arena a = {0};
	const char *name = o->queue;
	int r = amqp_declare_queue(s->link, &q, &a, &name, &d, e);

	if (r == 0 && d.differs)
		s->o.warn(s->o.arg, d.how.text);
	if (r == 0) {
		buf_clear(&s->queue);
		buf_c(&s->queue, name);
	}
	arena_fini(&a);
	return r;
}

static int declare(struct subscription *s, struct error *e)
{
	const struct amqp_settings *o = s->o.s;
	int r;

	buf_clear(&s->queue);
	buf_c(&s->queue, o->queue);
	if (o->declare == AMQP_NEVER)
		return 0;
	if ((r = declare_exchange(s, e)) < 0 || (r = declare_queue(s, e)) < 0)
		return r;
	if (o->declare == AMQP_CHECK || !*o->exchange)
		return 0;
	for (size_t i = 0; i < o->bind.n && r == 0; i++)
		r = amqp_bind(s->link, buf_cstr(&s->queue), o->exchange, o->bind.items[i], e);
	return r;
}

static int consume(struct subscription *s, struct error *e)
{
	const struct amqp_settings *o = s->o.s;
	amqp_connection_state_t state = amqp_link_state(s->link);
	amqp_basic_consume_ok_t *ok;
	char what[300];
	int r = 0;

	snprintf(what, sizeof what, "queue \"%s\"", buf_cstr(&s->queue));
	if (o->ack == AMQP_MANUAL &&
		!amqp_basic_qos(state, AMQP_CHANNEL, 0, (uint16_t)o->prefetch, 0))
		r = amqp_link_failed(s->link, amqp_get_rpc_reply(state), "basic.qos", e);
	if (r < 0)
		return r;
	ok = amqp_basic_consume(state, AMQP_CHANNEL, amqp_cstring_bytes(buf_cstr(&s->queue)),
		amqp_cstring_bytes(o->consumer_tag ? o->consumer_tag : ""), 0, o->ack == AMQP_AUTO,
		o->exclusive, amqp_empty_table);
	if (!ok)
		return amqp_link_failed(s->link, amqp_get_rpc_reply(state), what, e);
	buf_clear(&s->consumer_tag);
	buf_put(&s->consumer_tag, ok->consumer_tag.bytes, ok->consumer_tag.len);
	return 0;
}

static int open_link(struct subscription *s, struct error *e)
{
	const struct amqp_settings *o = s->o.s;
	char name[200];
	struct amqp_link_options link = {.url = o->url,
		.tls = o->tls,
		.name = name,
		.connect_ms = CONNECT_MS,
		.call_ms = CALL_MS,
		.heartbeat_s = o->heartbeat / NS_PER_SEC};

	snprintf(name, sizeof name, "sawlog input amqp@%s", s->o.host);
	return amqp_link_open(&s->link, &link, e);
}

int subscription_open(struct subscription *s, struct error *e)
{
	int r;

	assert(!s->link);
	if ((r = open_link(s, e)) < 0)
		return r;
	if ((r = declare(s, e)) < 0 || (r = consume(s, e)) < 0)
		subscription_close(s);
	return r;
}

int subscription_cancel(struct subscription *s, struct error *e)
{
	amqp_basic_cancel_t method = {.consumer_tag = {s->consumer_tag.n, s->consumer_tag.p}};

	return amqp_link_status(s->link,
		amqp_send_method(
			amqp_link_state(s->link), AMQP_CHANNEL, AMQP_BASIC_CANCEL_METHOD, &method),
		"basic.cancel", e);
}

void subscription_close(struct subscription *s)
{
	amqp_link_close(s->link);
	s->link = NULL;
}

void subscription_fini(struct subscription *s)
{
	subscription_close(s);
	buf_fini(&s->queue);
	buf_fini(&s->consumer_tag);
}
