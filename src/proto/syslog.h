/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Syslog: RFC 5424, RFC 3164 in its wild variants, and the framings of
 * RFC 6587 (octet counting and LF, told apart message by message).
 * Pure functions; no bytes are refused: what is no syslog at all is a message
 * whose text is all of it.
 */
#include "record/labels.h"

enum syslog_kind { SYSLOG_PLAIN, SYSLOG_3164, SYSLOG_5424 };

struct syslog_message {
	enum syslog_kind kind;
	int priority; /* 0-191, or -1 when there is none */
	bool has_time;
	int64_t time_ns;       /* the sender's */
	struct str host;       /* views into the message; empty where absent ("-") */
	struct str app;        /* APP-NAME, or the tag */
	struct str process;    /* PROCID */
	struct str message_id; /* MSGID */
	struct str data;       /* STRUCTURED-DATA with its brackets */
	struct str text;       /* MSG, without the BOM; any bytes */
};

/* `observed_ns` gives a time without a year its year; `zone_seconds` east of UTC is for one
 * without a zone. */
void syslog_decode(
	struct syslog_message *out, struct str message, int64_t observed_ns, int zone_seconds);
/* Walk structured data: for each parameter "id.name" -> value, unescaped, into `scratch`.  False
 * at the end or at what is not well-formed. */
struct syslog_data {
	struct str at, id;
	struct buf name, value; /* of the current parameter; syslog_data_fini */
};
void syslog_data_start(struct syslog_data *d, struct str data);
bool syslog_data_next(struct syslog_data *d);
void syslog_data_fini(struct syslog_data *d);
const char *syslog_facility(int priority); /* "daemon"; "" for -1 */
const char *syslog_severity(int priority); /* "err"; "" for -1 */

/* The next message of a stream of bytes: how many bytes it takes with its frame, 0 when more are
 * needed.  With `end` the rest is the last message.  One longer than max_message is given out cut,
 * and *skip says how many of the bytes that follow belong to it and are to be thrown away. */
size_t syslog_frame(
	struct str bytes, size_t max_message, bool end, struct str *message, uint64_t *skip);
