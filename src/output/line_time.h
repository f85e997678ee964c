/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Times as Python's logging.Formatter writes them: by strftime with the names
 * of the C locale, and %f, %3f, %6f and %9f for fractions of a second.
 * Source: docs.python.org/3/library/time.html#time.strftime, strftime(3).
 * Thread rule: one thread.
 */
#include "base/arena.h"
#include "base/buf.h"

enum {
	LINE_TIME_FORMAT_MAX = 256,
	LINE_TIME_TEXT_MAX = 2048, /* of a time: what is longer is cut */
};

struct line_time;

/* Out of the arena, but for what line_time_free gives back.  datefmt NULL: "%Y-%m-%d %H:%M:%S,%3f".
 * ERR_ARG with the column, ERR_LIMIT. */
int line_time_new(
	struct line_time **out, struct arena *a, const char *datefmt, bool utc, struct error *e);
void line_time_free(struct line_time *t); /* NULL is fine */
/* Valid until the next call. */
struct str line_time_text(struct line_time *t, int64_t ns);
