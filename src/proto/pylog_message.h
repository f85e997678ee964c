/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A log record's message with its arguments merged in, as Python's
 * LogRecord.getMessage() does: `msg % args`.  Pure functions.
 */
#include "codec/pickle.h"

enum { MESSAGE_VALUE_MAX = 64 << 10 }; /* bytes of an argument that is spelled out: more is cut */

/* Append format % args; *out may hold a part of it after a failure.  ERR_ARG with Python's sentence
 * when they do not fit, ERR_LIMIT when it takes more than `most` bytes and steps. */
int message_merge(struct buf *out, struct str format, const struct pickle_value *args, size_t most,
	struct error *e);
/* Does `if args` hold?  Without arguments a message is taken as it is. */
bool message_has_args(const struct pickle_value *args);
