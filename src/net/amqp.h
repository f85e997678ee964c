/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A connection to an AMQP 0-9-1 broker with one channel, over librabbitmq:
 * what the amqp input, the amqp output and `sawlog emit amqp=` share.
 *
 * Every sentence says who (host, port and vhost, never the password), what
 * was asked for, the broker's code and words, and what to do about it:
 *   "127.0.0.1:5672/: queue "logQueue": 406 PRECONDITION_FAILED - inequivalent
 *    arg 'durable' …: set durable: false, or use another queue"
 *
 * Sources: amqp-spec 0-9-1, rabbitmq.com/uri-spec.html, /heartbeats.html,
 * /confirms.html, /connection-blocked.html.
 * Thread rule: a link belongs to one thread; calls block, at most for the time
 * that they are given.  Another thread may only poke the owner by a descriptor
 * of its own (amqp_link_fd tells what to poll besides).
 */
#include <amqp.h>

#include "base/error.h"
#include "base/str.h"
#include "conf/option.h"

struct amqp_url {
	bool tls;
	const char *host, *user, *password, *vhost;
	int port;
	int64_t heartbeat_s; /* ?heartbeat=; -1: not told */
};

/* amqp://user:password@host:port/vhost and amqps://; missing parts are guest, guest, localhost,
 * 5672 (5671), "/".  All texts are the arena's.  ERR_ARG with a sentence without the password. */
int amqp_url_parse(struct amqp_url *out, struct str text, struct arena *a, struct error *e);
int amqp_check_url(struct str text, struct error *e); /* for option tables */

struct amqp_tls_settings {
	const char *ca, *cert, *key; /* PEM files */
	bool insecure;               /* do not check the broker's certificate */
};

extern const struct option amqp_tls_options[];

struct amqp_link_options { /* borrowed for the call */
	const char *url;
	struct amqp_tls_settings tls;
	const char *name;    /* shown by the broker as connection_name: "sawlog input amqp@host" */
	unsigned connect_ms; /* for all of connecting and logging in; 0: 10 s */
	unsigned call_ms;    /* for each call after; 0: 10 s */
	int64_t heartbeat_s; /* 0: 30 s; the URL's wins */
	/* Refuse targets in private, loopback and link-local ranges, after resolving. */
	bool public_only;
};

struct amqp_link;

enum { AMQP_CHANNEL = 1 };

/* ERR_NET: not reached, or ended; ERR_DENIED: wrong credentials, no such vhost, not permitted, the
 * certificate, a refused target; ERR_ARG: the URL. */
int amqp_link_open(struct amqp_link **out, const struct amqp_link_options *o, struct error *e);
void amqp_link_close(
	struct amqp_link *l); /* NULL is fine; politely when the broker still answers */
/* For librabbitmq's own calls. */
amqp_connection_state_t amqp_link_state(struct amqp_link *l);
int amqp_link_fd(const struct amqp_link *l);
const char *amqp_link_where(const struct amqp_link *l); /* "host:5672/vhost" */
/* What the broker calls itself: "RabbitMQ 3.10.8". */
const char *amqp_link_server(const struct amqp_link *l);
/* The error of a reply or status of librabbitmq, `what` it was about ("queue \"logQueue\"").  After
 * ERR_NET the connection is gone; after ERR_NOT_FOUND, ERR_DENIED, ERR_ARG (404, 403, 405, 406) the
 * channel is: amqp_link_rechannel opens it anew. */
int amqp_link_failed(
	struct amqp_link *l, amqp_rpc_reply_t reply, const char *what, struct error *e);
int amqp_link_status(struct amqp_link *l, int status, const char *what, struct error *e);
/* A method frame that came unasked (connection.close, channel.close, connection.blocked and
 * unblocked, basic.cancel): 0 with *blocked changed or nothing to do; else as amqp_link_failed,
 * ERR_CLOSED for basic.cancel (the queue was deleted). */
int amqp_link_unasked(struct amqp_link *l, const amqp_frame_t *f, bool *blocked, struct error *e);
int amqp_link_rechannel(struct amqp_link *l, struct error *e);

/* Declarations.  `create` false: it must be there as it is (passive).  True: declared; where it is
 * there with other parameters, *differs says what the broker said and it is used as it is. */
struct amqp_declared {
	bool differs;
	struct error how;             /* the sentence */
	uint32_t messages, consumers; /* of a queue */
};

struct amqp_exchange {
	const char *name, *type;
	bool create, durable, auto_delete;
};

struct amqp_queue {
	const char *name; /* "": the broker chooses one */
	bool create, durable, exclusive, auto_delete;
	const char *type;                   /* classic, quorum; NULL: the broker's default */
	const struct string_map *arguments; /* x-… ; numbers are sent as such.  May be NULL */
};

int amqp_declare_exchange(struct amqp_link *l, const struct amqp_exchange *x,
	struct amqp_declared *out, struct error *e);
/* *name is the queue's, the arena's. */
int amqp_declare_queue(struct amqp_link *l, const struct amqp_queue *q, struct arena *a,
	const char **name, struct amqp_declared *out, struct error *e);
int amqp_bind(struct amqp_link *l, const char *queue, const char *exchange, const char *key,
	struct error *e);
