/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Syslog: RFC 5424, RFC 3164 in its wild variants, and the framings of
 * RFC 6587 (octet counting and LF or NUL, told apart message by message).
 * Pure functions; no bytes are refused: what is no syslog at all is a message
 * whose text is all of it.
 *
 * No byte of a message is lost: what is not moved into a field stays in
 * `text`, in its order.  Left out are only the signs that part the fields: the
 * PRI and the version, blanks between parts, brackets and colon of a tag, a
 * NILVALUE, the BOM, and NUL, LF and CRLF at the very end.  Where a part of a
 * header is uncertain its bytes stay in the text.
 */
#include "base/buf.h"

enum syslog_kind { SYSLOG_PLAIN, SYSLOG_3164, SYSLOG_5424 };

struct syslog_message {
	enum syslog_kind kind;
	int priority; /* 0-191, or -1 when there is none */
	bool has_time;
	int64_t time_ns; /* the sender's */
	/* Views into the message; empty where absent or "-". */
	struct str time;    /* as it was written, with Cisco's clock mark and the zone */
	struct str host;    /* HOSTNAME */
	struct str app;     /* APP-NAME, or the tag */
	struct str process; /* PROCID, or the pid of the tag */
	struct str
		message_id;  /* MSGID; of Cisco's "%SYS-5-CONFIG_I:", which stays in the text too */
	struct str sequence; /* Cisco's number of the message */
	struct str data;     /* STRUCTURED-DATA with its brackets */
	struct str text;     /* MSG, without the BOM; any bytes */
};

/* `observed_ns` gives a time without a year its year; `zone_seconds` east of UTC is for one
 * without a zone.  SYSLOG_PLAIN has no field but `text`, which is all, and a time when the text
 * starts with one. */
void syslog_decode(
	struct syslog_message *out, struct str message, int64_t observed_ns, int zone_seconds);
/* Walk structured data: for each parameter "id.name" -> value, unescaped.  An element without
 * parameters is told as "id" with an empty value.  False at the end or at what is not
 * well-formed. */
struct syslog_data {
	struct str at, id;
	struct buf name, value; /* of the current parameter; syslog_data_fini */
	bool fresh;             /* no parameter of `id` was told yet */
};
void syslog_data_start(struct syslog_data *d, struct str data);
bool syslog_data_next(struct syslog_data *d);
void syslog_data_fini(struct syslog_data *d);
const char *syslog_facility(int priority); /* "daemon"; "" for -1 */
const char *syslog_severity(int priority); /* "err"; "" for -1 */

enum {
	/* Bytes that syslog_frame may want to see beside a message of max_message: buffers are at
	 * least max_message + this. */
	SYSLOG_FRAME_MORE = 32,
};
/* A *skip that ends with the next LF or NUL. */
#define SYSLOG_SKIP_LINE UINT64_MAX

/*
 * The next message of a stream of bytes: how many bytes it takes with its
 * frame, 0 when more are needed.  An empty *message stands for bytes between
 * frames and is none.  With `end` the rest is the last message.  One longer
 * than max_message is given out cut, and then *skip is not 0: so many of the
 * bytes that follow what was taken belong to it; hand them to syslog_skip.  It
 * is not 0 either for a counted one that the end has broken off.
 *
 * An octet count is digits (1 to 9, no leading 0), a blank, and a message that
 * starts with a PRI.  Without the PRI it is a line: "404 not found" is far more
 * usual than a sender that counts and has no PRI, and a line taken for a count
 * would swallow its neighbours, where a count taken for text loses nothing.
 */
size_t syslog_frame(
	struct str bytes, size_t max_message, bool end, struct str *message, uint64_t *skip);
/* How many of the first bytes are to be thrown away; *skip is what is left to skip. */
size_t syslog_skip(struct str bytes, uint64_t *skip);
