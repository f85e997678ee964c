/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Messages to an exchange, kept until the broker has confirmed them: what the
 * amqp output and `sawlog emit amqp=` share.
 *
 * A message that was taken by amqp_publisher_put is copied and published until
 * it is confirmed: over broken connections, after basic.nack, and when no queue
 * took it (basic.return).  It is the same message each time, with the same
 * message-id.  Calls report what is wrong and are simply made again later; the
 * caller chooses the pauses.
 *
 * Sources: amqp-spec 0-9-1, rabbitmq.com/confirms.html, /publishers.html.
 * Thread rule: one thread; calls block, at most for the times of the options.
 */
#include "net/amqp.h"

struct amqp_publisher_options { /* borrowed for the publisher's life */
	struct amqp_link_options link;
	struct amqp_exchange exchange; /* name "": the default one, whose keys are queues */
	bool never_declare;            /* neither made nor looked for */
	bool transient;                /* not kept over a restart of the broker */
	/* A message that no queue takes is counted and given up, not tried again. */
	bool skip_unroutable;
	/* What else than binding a queue helps against that: ", or set unroutable: skip"; or NULL.
	 */
	const char *unroutable_hint;
	unsigned window;     /* messages on their way at once; 0: 1000, at most 10000 */
	unsigned confirm_ms; /* without any confirm so long, the connection is given up; 0: 30 s */
	/* True: stop waiting (ERR_CANCELLED).  Called on the same thread; may be NULL. */
	bool (*ending)(void *arg);
	void *ending_arg;
};

enum {
	AMQP_KEY_MAX = 255,       /* of the protocol: keys, ids and names are short strings */
	AMQP_HEADER_BYTES = 1024, /* of one value; longer ones are cut */
};

struct amqp_header {
	struct str name, value;
};

struct amqp_outgoing {                     /* views, for the call */
	struct str key, id;                /* cut at AMQP_KEY_MAX */
	struct str app;                    /* app-id, cut likewise; empty: sawlog */
	struct str body;                   /* at most AMQP_BODY_MAX */
	const char *type;                  /* content type, static; NULL: not told */
	int64_t time_ns;                   /* the property has seconds; 0: not told */
	const struct amqp_header *headers; /* UTF-8; at most AMQP_HEADERS_MAX */
	size_t n_headers;
};

struct amqp_publisher_stats {
	uint64_t confirmed, unroutable, nacked, returned, repeated;
	size_t waiting; /* taken and not confirmed */
	bool connected;
};

struct amqp_publisher;

struct amqp_publisher *amqp_publisher_new(const struct amqp_publisher_options *o);
/* Drops what is not confirmed. */
void amqp_publisher_free(struct amqp_publisher *p); /* NULL is fine */
/* Connect where that is not done yet, and declare the exchange. */
int amqp_publisher_open(struct amqp_publisher *p, struct error *e);
/* 0: taken, it is on its way or will be.  ERR_LIMIT: too large, for good.  Others: not taken, as
 * something is wrong with the connection or with messages before it (ERR_BUSY: refused, returned,
 * or the broker is blocked). */
int amqp_publisher_put(struct amqp_publisher *p, const struct amqp_outgoing *m, struct error *e);
/* Wait until all that was taken is confirmed: 0, or 1 when it is not after `ms`.  Errors as put. */
int amqp_publisher_settle(struct amqp_publisher *p, unsigned ms, struct error *e);
/* Heartbeats, and confirms that came.  To be called every amqp_publisher_beat_ms at least while
 * nothing else is.  The connection lost is no error while nothing waits. */
int amqp_publisher_serve(struct amqp_publisher *p, struct error *e);
unsigned amqp_publisher_beat_ms(const struct amqp_publisher *p);
/* What the exchange is else than was asked for; NULL or a sentence. */
const char *amqp_publisher_differs(const struct amqp_publisher *p);
struct amqp_publisher_stats amqp_publisher_stats(const struct amqp_publisher *p);
