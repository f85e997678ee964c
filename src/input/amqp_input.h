/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the files of the amqp input know of each other; nobody else includes
 * this.
 *
 *	amqp.c            settings, and the side of the loop: memory, batches, what is durable
 *	amqp_consumer.c   the thread of the connection: memory, runs, acknowledgements
 *	amqp_subscription.c  connecting, declarations
 *	amqp_intake.c     frames to messages; which are known, which go back
 *	amqp_headers.c    what comes with a body
 *	amqp_records.c    from a message to records of the batch that is being built
 *	amqp_seen.c       which messages were taken lately
 */
#include "base/list.h"
#include "base/lock.h"
#include "base/map.h"
#include "input/amqp_seen.h"
#include "input/courier.h"
#include "net/amqp.h"
#include "proto/message.h"

enum amqp_declare { AMQP_CREATE, AMQP_CHECK, AMQP_NEVER };
enum amqp_ack { AMQP_MANUAL, AMQP_AUTO };

struct amqp_dedupe {
	const char *by; /* message-id, header:NAME, off */
	int64_t window;
};

struct amqp_settings {
	const char *url, *exchange, *exchange_type, *queue, *app, *timezone, *consumer_tag;
	bool exchange_durable, queue_durable, exclusive;
	int queue_type, declare, ack, format;
	struct string_map arguments, labels;
	struct strings bind;
	int64_t prefetch, heartbeat, tries;
	uint64_t max_line;
	struct amqp_dedupe dedupe;
	struct amqp_tls_settings tls;
};

enum {
	AMQP_HEADER_VALUE_MAX = 4096, /* bytes; longer ones are cut */
	AMQP_NUMBER_MAX = 32,         /* a number as text */
	AMQP_TRIES_MAX = 1000,
};

/* Messages. */

/* What a delivery brought but its body; views into frames until delivery_keep. */
struct delivery {
	uint64_t tag;
	bool redelivered;
	int64_t n_before; /* x-delivery-count: deliveries before this one; -1: not told */
	uint64_t size;    /* of the whole body */
	int64_t sent_ns;  /* 0: not told */
	struct str exchange, key, id, app, user, correlation, type, content_type, encoding;
	size_t n_headers;
	struct {
		struct str name, value;
	} headers[AMQP_HEADERS_MAX];
	char numbers[AMQP_HEADERS_MAX][AMQP_NUMBER_MAX];
};

void delivery_begin(struct delivery *d, const amqp_basic_deliver_t *method);
/* `id_header`: the header whose value is the id, NULL: the message-id is. */
void delivery_properties(
	struct delivery *d, const amqp_basic_properties_t *p, const char *id_header);
/* Copy what the views are of into `out`, which is the message's until its end. */
void delivery_keep(struct delivery *d, struct buf *out);

/* Records. */

struct maker;
struct amqp_input;

/* Builds the batches of one input.  The consumer's thread alone. */
struct maker_options {
	const struct amqp_settings *s; /* borrowed */
	const struct input_env *env;   /* borrowed; its sink's account() alone is used */
	const struct zone *zone;       /* borrowed */
	struct str source;             /* of positions; borrowed */
	/* A batch is full in mid-message: must take it by maker_finish. */
	void (*full)(void *arg);
	void *arg;
};

struct maker *maker_new(const struct maker_options *o);
void maker_free(struct maker *m);
/* When the messages came that are added from now on. */
void maker_set_time(struct maker *m, int64_t now_ns);
/* Add the records of a message.  ERR_BUSY: no memory now; else it cannot be decoded, the sentence
 * says why.  Nothing was added then. */
int maker_add(struct maker *m, const struct delivery *d, struct str body, struct error *e);
/* Add it as it came to the quarantine. */
void maker_quarantine(
	struct maker *m, const struct delivery *d, struct str body, const char *reason);
size_t maker_count(const struct maker *m); /* records built */
size_t maker_bytes(const struct maker *m);
uint64_t maker_position(const struct maker *m); /* records ever made */
/* The batch, with the changes of `seen`, which may be NULL; there are records in it. */
struct batch *maker_finish(struct maker *m, struct seen *seen, const char *seen_source);
/* Forget what is built. */
void maker_drop(struct maker *m);

/* Messages out of frames. */

struct intake;

/* The consumer's thread alone. */
struct intake_options {
	const struct amqp_settings *s; /* borrowed */
	const struct input_env *env;   /* borrowed */
	struct maker *maker;           /* borrowed */
	struct seen *seen;             /* borrowed; NULL: no window */
	struct str labels; /* of its metrics, as metric_label writes them; for the call */
	/* There is no memory for a message, `why` says: hand over what is built, and wait a little.
	 * Negative: give up, the connection is to end. */
	int (*busy)(void *arg, const struct error *why, struct error *e);
	void (*pause)(void *arg); /* wait a little */
	int (*give_back)(void *arg, uint64_t tag, struct error *e);
	void (*release)(void *arg); /* frames up to now are not looked at again */
	void *arg;
};

struct intake *intake_new(const struct intake_options *o);
void intake_free(struct intake *in);
/* A delivery, its header, a part of its body; other methods are the caller's.  Negative: the
 * connection is to end; ERR_CORRUPT: as the broker does not keep to the protocol. */
int intake_frame(struct intake *in, const amqp_frame_t *f, struct error *e);
/* Is no message half read? */
bool intake_is_between(const struct intake *in);
/* Forget the half of one that was read: the connection is gone. */
void intake_drop(struct intake *in);
/* Tag of the last message that is in the maker, known or in quarantine since intake_forget_tag;
 * 0: none. */
uint64_t intake_tag(const struct intake *in);
void intake_forget_tag(struct intake *in);
uint64_t intake_delivered(const struct intake *in); /* tag of the last that came, taken or not */
uint64_t intake_count(const struct intake *in);     /* messages that came */
void intake_dump(const struct intake *in, struct buf *out); /* any thread */

/* The connection. */

struct subscription_options {
	const struct amqp_settings *s;             /* borrowed */
	const char *host;                          /* borrowed */
	void (*warn)(void *arg, const char *text); /* of what is not as the settings say */
	void *arg;
};

struct subscription {
	struct subscription_options o;
	struct amqp_link *link;         /* NULL: none */
	struct buf queue, consumer_tag; /* as the broker calls them */
};

/* Connect, declare, consume.  Bounded by some seconds for each call. */
int subscription_open(struct subscription *s, struct error *e);
/* Say that no more messages are wanted; those that are on their way still come. */
int subscription_cancel(struct subscription *s, struct error *e);
void subscription_close(struct subscription *s);
void subscription_fini(struct subscription *s);

/* The consumer: a thread and its link. */

/* Handed from the thread to the loop, which frees it. */
struct run {
	struct list node;
	struct amqp_input *input; /* set by its owner */
	struct batch *batch;      /* NULL: nothing new was in its messages */
	uint64_t reserved;        /* bytes charged for the batch */
	uint64_t position;        /* behind its records */
	uint64_t tag;             /* to acknowledge up to once all is durable; 0: nothing */
	uint64_t connection;      /* which one's tag it is */
};

struct consumer_options {
	const struct amqp_settings *s; /* all borrowed for its life */
	const struct input_env *env;
	const struct zone *zone;
	struct seen *seen; /* the consumer's thread's; NULL: no window */
	const char *seen_source;
	/* On the consumer's thread; must post to the loop. */
	void (*run)(void *arg, struct run *r); /* takes it */
	void (*want)(void *arg);               /* memory, see consumer_grant */
	void (*drained)(void *arg);            /* after consumer_stop: no more runs come */
	void (*ended)(void *arg);              /* after consumer_end */
	void *arg;
};

struct consumer;

struct consumer *consumer_start(const struct consumer_options *o);
/* Any thread: bytes charged for the next batch. */
void consumer_grant(struct consumer *c, uint64_t reserved);
/* Whether there is a grant that is not used; take it back when it was not for a whole turn. */
bool consumer_has_grant(struct consumer *c);
uint64_t consumer_take_back(struct consumer *c);
/* `n` runs are durable, or given up when tag is 0; acknowledge up to `tag`. */
void consumer_settled(struct consumer *c, uint64_t n, uint64_t connection, uint64_t tag);
/* Take no more messages from the broker; drained() follows. */
void consumer_stop(struct consumer *c);
/* No more is settled: close; ended() follows. */
void consumer_end(struct consumer *c);
/* Joins.  After ended(). */
void consumer_free(struct consumer *c);
void consumer_dump(struct consumer *c, struct buf *out);
