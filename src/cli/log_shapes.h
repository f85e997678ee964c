/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The shapes in which Cloud Foundry's command line has shown an application's
 * lines over the years.  Pure functions; local time is that of the process.
 */
#include "cli/print.h"

enum log_shape {
	SHAPE_TODAY,   /* "   2016-07-19T16:08:12.00-0700 [APP/PROC/WEB/12] OUT text" */
	SHAPE_2015,    /* "2015-07-19T16:08:12.00-0700 [APP/0]      OUT text" */
	SHAPE_2013,    /* "2013-11-19T16:08:12.00-0700 [App/0]   OUT text" */
	SHAPE_2013_10, /* "2013-10-19T16:08:12.00-0700 shop [App/0]    STDOUT text" */
	SHAPE_2013_09, /* "Oct 3 15:09:26 shop App/0 STDERR text" */
};
extern const char *const log_shapes[]; /* by number, NULL-terminated */

struct log_style {
	enum log_shape shape;
	bool colour; /* ERR in red */
	bool escape; /* control bytes as \x1b: a terminal is at the end */
	bool utc;
	struct str app; /* as the reader called it */
};

/* Append a line with its line end, or several: an entry may hold line ends.  Where the entry tells
 * no source, what it tells of its instance, or its host, stands there. */
void log_shape_put(struct buf *out, const struct log_style *style, const struct print_entry *en);
