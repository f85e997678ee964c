/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Bodies of messages as a broker hands them over (AMQP; later others), in the
 * forms that publishers use, made into records.
 *
 *   text   "2024-12-18 10:00:00 ServiceA Error what happened": time without a
 *          zone, service, severity, message; a message may be empty or have
 *          several lines, and a service blanks where the routing key or a
 *          usual severity tells its end
 *   json   an object: time, level, message, service by their usual names; the
 *          rest is kept as metadata.  One a line (NDJSON) and a list of them too
 *   loki   Loki's push as JSON or protobuf (proto/lokipush.h)
 *   otlp   OpenTelemetry's ExportLogsServiceRequest, protobuf or JSON (proto/otlp.h)
 *   plain  the body is the line
 *   auto   by content type, else by what it looks like, else plain: fails only
 *          where content type or encoding promise what the body is not
 *
 * A body is taken whole or not at all: a bad entry within it fails it.
 * Rules in full: doc/input/message-forms.md.
 * Pure functions; a decoder belongs to one thread.
 */
#include "record/batch.h"

struct zone;

enum message_form {
	MESSAGE_AUTO,
	MESSAGE_TEXT,
	MESSAGE_JSON,
	MESSAGE_LOKI,
	MESSAGE_OTLP,
	MESSAGE_PLAIN,
};

enum { MESSAGE_OBJECTS_MAX = 1 << 17 /* of one message in JSON: more is ERR_LIMIT */ };

extern const char *const message_forms[]; /* auto text json loki otlp plain, NULL */

struct message_options {
	int form;                /* enum message_form */
	const struct zone *zone; /* for times without one; NULL: the host's.  Borrowed */
	uint64_t max_line;       /* longer lines are cut and marked; 0: 256 KiB */
	uint64_t max_body;       /* inflated, and of what is parsed; 0: 16 MiB */
	bool detect_level;       /* struct discover's */
	struct account *account; /* charged with the memory of parsers; NULL: not at all */
};

struct message { /* borrowed */
	struct str body;
	struct str content_type;      /* "" when not told */
	struct str content_encoding;  /* gzip, deflate, zstd, snappy; "" none.  A charset, which
				       * some clients put there, is none */
	struct str routing_key;       /* "" when there is none: SERVICE.SEVERITY helps text */
	int64_t observed_ns, sent_ns; /* sent_ns: the message's own timestamp; 0: not told */
};

/* One record of it; views are valid for the call. */
struct message_record {
	struct str labels; /* canonical, those that the form itself tells (loki, otlp); else "" */
	struct str app;    /* text: the service; json: service, app, logger …; "" not told */
	/* Timestamp, body, meta, severity, flags; stream and source unset.  meta holds the
	 * severity as written (text, json: "severity"), then names of the sender's own. */
	struct record record;
};

struct message_decoder;

struct message_decoder *message_decoder_new(const struct message_options *o); /* copies */
void message_decoder_free(struct message_decoder *d);
/* Each record in order; a body may hold none ([], a push without entries).  `each` returns 0 or an
 * error, which ends it and is returned.  ERR_ARG, ERR_LIMIT, ERR_CORRUPT: it cannot be decoded, the
 * sentence says why; ERR_BUSY: not now, the account has no room.  Then nothing was told to `each`.
 */
int message_decode(struct message_decoder *d, const struct message *m,
	int (*each)(void *arg, const struct message_record *r), void *arg, struct error *e);
