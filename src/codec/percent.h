/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Python's %-formatting, taken apart: for `msg % args` of log records and for
 * the line formats of outputs.
 * Source: docs.python.org/3/library/stdtypes.html#printf-style-string-formatting.
 * Pure functions; nothing is executed, widths are bounded.
 */
#include "base/buf.h"
#include "base/error.h"

enum { PERCENT_WIDTH_MAX = 10000 }; /* of width and precision: more is ERR_LIMIT */

struct percent_spec {
	struct str key; /* of %(key)s; p NULL without one */
	bool left, zero, space, plus, alternate;
	bool star_width, star_precision; /* taken from the arguments */
	int width;                       /* 0: none */
	int precision;                   /* -1: none */
	char type;                       /* one of "sradiouxXeEfFgGc" and '%' */
};

/* Cut the next piece off *format: 1 with *literal the text before a conversion and *spec it; 0 at
 * the end with the last *literal; ERR_ARG with Python's sentence for a format that is none. */
int percent_next(
	struct str *format, struct str *literal, struct percent_spec *spec, struct error *e);
/* Append a converted value.  text: for s, r, a, c.  int: d i u o x X c, and e f g as a float.
 * float: e f g, and d i u cut to an integer.  ERR_ARG when the type does not fit the value. */
int percent_text(
	struct buf *out, const struct percent_spec *spec, struct str value, struct error *e);
int percent_int(struct buf *out, const struct percent_spec *spec, int64_t value, struct error *e);
int percent_float(struct buf *out, const struct percent_spec *spec, double value, struct error *e);
