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

enum { AMQP_URL_MAX = 4096 };

/* amqp://user:password@host:port/vhost and amqps://; missing parts are guest, guest, localhost,
 * 5672 (5671), "/".  The vhost is percent-encoded ("%2F" is "/" too, and so is an empty one).
 * Parameters behind "?" that other clients know are passed by, but those that ask for a check of
 * certificates: they are errors, as `tls` says it here.
 * All texts are the arena's.  ERR_ARG with a sentence without the password. */
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
	/* Refuse targets in private and link-local ranges, after resolving; this machine itself
	 * is allowed, as everywhere (cidr_is_private). */
	bool public_only;
};

struct amqp_link;

enum {
	AMQP_CHANNEL = 1,
	/* Of a message, in and out. */
	AMQP_BODY_MAX = 16 << 20, /* what brokers take by default */
	AMQP_HEADERS_MAX = 32,
};

/* ERR_NET: not reached, or ended; ERR_DENIED: wrong credentials, no such vhost, not permitted, the
 * certificate, a refused target; ERR_ARG: the URL, a PEM file that cannot be used.  The channel is
 * open.  Looking up a name takes as long as the resolver lets it, besides connect_ms. */
int amqp_link_open(struct amqp_link **out, const struct amqp_link_options *o, struct error *e);
void amqp_link_close(
	struct amqp_link *l); /* NULL is fine; politely when the broker still answers */
/* For librabbitmq's own calls. */
amqp_connection_state_t amqp_link_state(struct amqp_link *l);
/* To poll.  Frames may be waiting inside already (of TLS too): poll only after
 * amqp_simple_wait_frame_noblock with a timeout of 0 said AMQP_STATUS_TIMEOUT.  That call sends and
 * checks the heartbeats, so it must come at least every amqp_link_beat_ms. */
int amqp_link_fd(const struct amqp_link *l);
unsigned amqp_link_beat_ms(const struct amqp_link *l);
/* Why the broker takes no messages (connection.blocked): "low on memory"; NULL while it does. */
const char *amqp_link_blocked(const struct amqp_link *l);
const char *amqp_link_where(const struct amqp_link *l); /* "host:5672/vhost" */
/* What the broker calls itself: "RabbitMQ 3.10.8". */
const char *amqp_link_server(const struct amqp_link *l);
/* The error of a reply or status of librabbitmq, `what` it was about ("queue \"logQueue\""); 0 for
 * a good one.  ERR_NOT_FOUND 404, ERR_DENIED 403 and 530, ERR_BUSY 405 (another connection has it
 * for itself), ERR_ARG 406, ERR_LIMIT 311 (the message is too large) and a table that fits in no
 * frame, ERR_NET all else.  When the link is still up only the channel is gone:
 * amqp_link_rechannel opens it anew. */
int amqp_link_failed(
	struct amqp_link *l, amqp_rpc_reply_t reply, const char *what, struct error *e);
int amqp_link_status(struct amqp_link *l, int status, const char *what, struct error *e);
/* A method frame that came unasked (connection.close, channel.close, connection.blocked and
 * unblocked, basic.cancel): 0 with *blocked changed or nothing to do; else as amqp_link_failed,
 * ERR_CLOSED for basic.cancel (the queue was deleted). */
int amqp_link_unasked(struct amqp_link *l, const amqp_frame_t *f, bool *blocked, struct error *e);
/* Open the channel anew, after closing it where it is open. */
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
	const char *type; /* classic, quorum; NULL: the broker's default */
	/* x-… ; numbers, true and false are sent as such.  May be NULL.  `type` wins over an
	 * x-queue-type in it. */
	const struct string_map *arguments;
};

int amqp_declare_exchange(struct amqp_link *l, const struct amqp_exchange *x,
	struct amqp_declared *out, struct error *e);
/* *name is the queue's, the arena's. */
int amqp_declare_queue(struct amqp_link *l, const struct amqp_queue *q, struct arena *a,
	const char **name, struct amqp_declared *out, struct error *e);
int amqp_bind(struct amqp_link *l, const char *queue, const char *exchange, const char *key,
	struct error *e);
