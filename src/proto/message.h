/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Bodies of messages as a broker hands them over (AMQP; later others), in the
 * forms that publishers use, made into records.
 *
 *   text   "2024-12-18 10:00:00 ServiceA Error what happened": time without a
 *          zone, service, severity, message; a message may be empty or have
 *          several lines
 *   json   an object: time, level, message by their usual names; the rest is
 *          kept as metadata.  One a line (NDJSON) and a list of them too
 *   loki   Loki's push as JSON or protobuf (proto/lokipush.h)
 *   otlp   OpenTelemetry's ExportLogsServiceRequest, protobuf or JSON
 *   plain  the body is the line
 *   auto   by content type, else by what it looks like, else plain: never fails
 *
 * A body is taken whole or not at all: a bad entry within it fails it.
 * Pure functions; a decoder belongs to one thread.
 */
#include "record/batch.h"
#include "record/discover.h"

enum message_form {
	MESSAGE_AUTO,
	MESSAGE_TEXT,
	MESSAGE_JSON,
	MESSAGE_LOKI,
	MESSAGE_OTLP,
	MESSAGE_PLAIN,
};

extern const char *const message_forms[]; /* auto text json loki otlp plain, NULL */

struct message_options {
	int form;                /* enum message_form */
	const struct zone *zone; /* for times without one; NULL: the host's */
	uint64_t max_line;       /* longer lines are cut and marked */
	uint64_t max_body;       /* inflated */
	bool detect_level;       /* struct discover's */
};

struct message { /* borrowed */
	struct str body;
	struct str content_type;      /* "" when not told */
	struct str content_encoding;  /* gzip, zstd, deflate, snappy; "" none */
	int64_t observed_ns, sent_ns; /* sent_ns: the message's own timestamp; 0: not told */
};

/* One record of it; views are valid for the call. */
struct message_record {
	struct str
		labels; /* canonical, those that the form itself tells (loki, otlp); else empty */
	struct str app; /* text: the service; json: service, app, logger …; "" not told */
	struct record record; /* timestamp, body, meta, severity, flags; stream, source unset */
};

struct message_decoder;

struct message_decoder *message_decoder_new(const struct message_options *o); /* copies */
void message_decoder_free(struct message_decoder *d);
/* Each record in order; `each` returns 0 or an error, which ends it.  ERR_ARG, ERR_LIMIT,
 * ERR_CORRUPT: it cannot be decoded, the sentence says why; nothing was told to `each`. */
int message_decode(struct message_decoder *d, const struct message *m,
	int (*each)(void *arg, const struct message_record *r), void *arg, struct error *e);
