/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Records of Python's logging as its handlers send them: the pickled
 * dictionary of SocketHandler and DatagramHandler, whole pickled LogRecord
 * objects (message and arguments not merged), and HTTPHandler's form.
 * Source: docs.python.org/3/library/logging.html, Lib/logging/handlers.py's documentation.
 *
 * What becomes of an attribute:
 *   name               logger, which the caller makes a label
 *   msg, args          the line: msg % args as getMessage() merges them; when they do not fit,
 *                      the message and the arguments behind it, and `format_error` says why
 *   exc_text, stack_info   the line, each behind a line end, as Formatter.format has them;
 *                      metadata traceback_at and stack_at are their offsets in it
 *   created            the timestamp, in ns; msecs mends what its float has lost
 *   levelno, levelname severity, and metadata levelno and severity (the name as sent)
 *   process, processName, thread, threadName, taskName, funcName, lineno, pathname
 *                      metadata under these names; filename and module only where they are not
 *                      what pathname says
 *   relativeCreated, exc_info   left out; message too, unless there is no msg
 *   anything else      metadata under its own name as str(value); behind "extra_" when it is one
 *                      of the names above, of a label of ours (app, file, host, input, logger,
 *                      service_name, source, zone), detected_level, peer or severity
 * An attribute that is None is left out, but for those that an application added.  How many were
 * cut or left out for PYLOG_META_MAX and LABELS_MAX is metadata attributes_cut.
 *
 * Thread rule: a reader belongs to one thread; what it gives is valid until its next call.
 */
#include "base/error.h"
#include "record/batch.h"

enum {
	PYLOG_FRAME_MAX = 16 << 20, /* a longer frame is skipped and counted */
	PYLOG_META_MAX = 64 << 10,  /* of one record's metadata: longer values are cut; what an
				       application added is what gives way */
};

struct pylog; /* a reader and its memory */

struct pylog_record {
	struct record record; /* timestamp, body, meta, severity, flags; the rest is the caller's */
	struct str logger;    /* "root" when it has none */
	struct str process_name;
	bool end; /* no record: one of the words TERM STOP FINISH EXIT QUIT, which is `body` */
};

struct pylog *pylog_new(void);
void pylog_free(struct pylog *p);
/* One pickle: a dict, a LogRecord, or a word as above.  observed_ns is the time of a record that
 * has none.  ERR_CORRUPT, ERR_LIMIT as pickle_read; ERR_ARG when it is something else. */
int pylog_pickle(struct pylog *p, struct str pickle, int64_t observed_ns, struct pylog_record *out,
	struct error *e);
/* application/x-www-form-urlencoded, from a body or a query string.  ERR_ARG. */
int pylog_form(struct pylog *p, struct str form, int64_t observed_ns, struct pylog_record *out,
	struct error *e);
/* Severity of a level number: those of DEBUG, INFO, WARNING, ERROR and CRITICAL are what the words
 * mean elsewhere (5 9 13 17 23); between them by proportion, 24 from 60 on, 0 for 0 and less. */
uint8_t pylog_severity(int64_t levelno);
