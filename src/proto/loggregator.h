/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Loggregator's messages of all three generations, read and written:
 *
 *   2013       LogMessage, alone or signed in a LogEnvelope (AES-128-CBC of the
 *              SHA-256 of its text)
 *   dropsonde  events.Envelope, from 2014 on, between servers behind an
 *              HMAC-SHA256 of all its bytes
 *   v2         loggregator.v2.Envelope and EnvelopeBatch, protobuf; and their
 *              protojson, as the RLP gateway and log-cache answer
 *
 * and what they become in the store: doc/input/loggregator.md.  Field numbers
 * are those of the public .proto files of loggregatorlib, sonde-go and
 * loggregator-api.
 * Pure functions; a struct loggregator_tags belongs to one thread.
 */
#include "base/arena.h"
#include "record/batch.h"

enum {
	LOGGREGATOR_DATAGRAM_MAX = 65535,
	LOGGREGATOR_TAGS_MAX = 64,    /* more of one envelope are left out, and it says so */
	LOGGREGATOR_METRICS_MAX = 64, /* of a gauge, likewise */
	LOGGREGATOR_DRAINS_MAX = 32,
	LOGGREGATOR_KEY = 16, /* bytes of a 2013 key */
};

enum loggregator_kind {
	LOGGREGATOR_LOG,
	LOGGREGATOR_COUNTER,
	LOGGREGATOR_GAUGE, /* ValueMetric and ContainerMetric too */
	LOGGREGATOR_TIMER, /* HttpStartStop too */
	LOGGREGATOR_EVENT,
	LOGGREGATOR_ERROR, /* dropsonde's Error */
};

struct loggregator_pair {
	struct str name, value;
};

struct loggregator_metric {
	struct str name, unit;
	double value;
};

/* One of them, whatever its generation.  Views of the bytes, or of whom it was made from. */
struct loggregator {
	enum loggregator_kind kind;
	int64_t timestamp;         /* ns; 0: not told */
	struct str source_id;      /* the application's id; of others the origin */
	struct str instance_id;    /* "2", "" */
	struct str source_type;    /* "App", "RTR", "APP/PROC/WEB"; "" */
	bool err;                  /* of a log: ERR, not OUT */
	bool of_2013;              /* source_type is spelt as that generation does ("App") */
	bool from_app;             /* 2013: WARDEN_CONTAINER, whose drain urls count */
	bool drains_told;          /* 2013: of an app, so that no url is "no drains" */
	struct str payload;        /* log: the text; event: its body; error: its message */
	struct str name;           /* counter, timer; event: its title; error: its source */
	uint64_t delta, total;     /* counter */
	int64_t start_ns, stop_ns; /* timer */
	int32_t code;              /* error */
	size_t n_omitted;          /* tags, metrics and urls beyond the limits */
	size_t n_metrics, n_tags, n_drains;
	struct loggregator_metric metrics[LOGGREGATOR_METRICS_MAX];
	/* origin, deployment, job, index, ip of dropsonde are tags as in v2 */
	struct loggregator_pair tags[LOGGREGATOR_TAGS_MAX];
	struct str drains[LOGGREGATOR_DRAINS_MAX];
};

/* All but the arrays, which are as long as their counts say. */
static inline void loggregator_clear(struct loggregator *x)
{
	memset(x, 0, offsetof(struct loggregator, metrics));
}

/* The value of the tag `name`, the last one's of several; false, and *value as it was, when there
 * is none. */
bool loggregator_tag(const struct loggregator *x, struct str name, struct str *value);

/* --- in ---------------------------------------------------------------------------------- */

enum loggregator_form { LOGGREGATOR_AUTO, LOGGREGATOR_2013, LOGGREGATOR_DROPSONDE };
extern const char *const loggregator_forms[]; /* auto 2013 dropsonde, NULL */

struct loggregator_secret {
	bool given;                   /* false: nothing can be verified */
	bool required;                /* what is not signed is refused */
	uint8_t key[LOGGREGATOR_KEY]; /* 2013: first half of SHA-256(secret) */
	struct str secret;            /* dropsonde: as it is.  Borrowed */
};

void loggregator_secret_init(struct loggregator_secret *s, struct str secret);

/* Decode a datagram.  Views of it; `scratch` is for what is not in it as it shall be.  0;
 * ERR_DENIED: the signature is wrong, or missing where it is required; ERR_CORRUPT: no message of
 * that form; ERR_LIMIT.  *reason is one word, for counters: "signature", "unsigned", "malformed",
 * "too_long".  Without a secret signatures are not looked at. */
int loggregator_decode(struct loggregator *out, struct str datagram, int form,
	const struct loggregator_secret *secret, struct arena *scratch, const char **reason,
	struct error *e);
/* The signature of a datagram that was decoded with a secret: what no honest sender sends twice,
 * as its first bytes are random.  Of 2013 alone; empty for others. */
struct str loggregator_signature(struct str datagram);
/* The envelopes of a v2 EnvelopeBatch: `each` returns 0 or what ends it.  ERR_CORRUPT before any
 * was told when the bytes are no such message. */
int loggregator_decode_batch(struct str bytes, struct arena *scratch,
	int (*each)(void *arg, const struct loggregator *x), void *arg, struct error *e);
int loggregator_decode_v2(
	struct loggregator *out, struct str bytes, struct arena *scratch, struct error *e);

/* --- in the store ------------------------------------------------------------------------- */

/* What metadata `drain_urls` holds, the urls parted by blanks; and where an app has none any more.
 */
#define LOGGREGATOR_DRAIN_URLS "drain_urls"
#define LOGGREGATOR_NO_DRAINS  "-"

/* What the input alone knows; each is metadata of that name, "" none. */
struct loggregator_beside {
	struct str drain_urls;     /* when they are due */
	struct str peer;           /* where it came from, unless from this machine */
	struct str certificate;    /* the name in the sender's */
	struct str truncated_from; /* its length, when the line is cut */
};

/* The parts of a record: values of the labels app and source ("APP/0"; "" none), and line and
 * metadata (canonical) put into the buffers.  r->timestamp is 0 when it was not told.  The severity
 * is left to the caller. */
struct loggregator_parts {
	struct str app, source, event; /* event: "" for logs, else "counter", "gauge", …: a label
					* too.  Views of the envelope or of static text */
	struct buf source_text;        /* what `source` may be a view of */
};
void loggregator_record(const struct loggregator *x, const struct loggregator_beside *beside,
	struct loggregator_parts *parts, struct buf *line, struct buf *meta, struct record *r);
/* Append what drain_urls shall say of the application's drains. */
void loggregator_drain_urls(const struct loggregator *x, struct buf *out);
/* "counter" of LOGGREGATOR_COUNTER; "" for logs. */
extern const char *const loggregator_events[];

/* --- out ---------------------------------------------------------------------------------- */

/* What a record of any input is to Loggregator's clients: labels and metadata canonical.  Views. */
void loggregator_of(struct loggregator *out, int64_t timestamp, struct str labels, struct str meta,
	struct str line, uint8_t severity);

void loggregator_put_message(struct buf *out, const struct loggregator *x); /* 2013 LogMessage */
/* Dropsonde has one metric in an envelope: a gauge becomes so many (1 for all else), of which this
 * is the one with that index. */
size_t loggregator_n_envelopes(const struct loggregator *x);
void loggregator_put_envelope(struct buf *out, const struct loggregator *x, size_t index);
void loggregator_put_v2(struct buf *out, const struct loggregator *x);
/* protojson of a v2 envelope as an object.  The gateway of RLP and log-cache tell all fields of the
 * message, also those that are empty. */
void loggregator_put_json(struct buf *out, const struct loggregator *x);

/* For senders: sign.  A LogEnvelope around an encoded LogMessage, whose text is `text`. */
void loggregator_sign_2013(struct buf *out, struct str app, struct str text, struct str message,
	const struct loggregator_secret *s);
void loggregator_sign_dropsonde(
	struct buf *out, struct str envelope, const struct loggregator_secret *s);

/* One of a multipart answer: "--boundary\r\n\r\n" bytes "\r\n"; the end with body NULL. */
void loggregator_put_part(struct buf *out, const char *boundary, const struct str *body);
