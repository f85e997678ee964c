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
 * the end with the last *literal; ERR_ARG with Python's sentence for a format that is none, and
 * ERR_LIMIT: *format then begins with the '%' at fault, and *literal is what stands before it. */
int percent_next(
	struct str *format, struct str *literal, struct percent_spec *spec, struct error *e);
/* The width and the precision that a '*' stands for.  ERR_LIMIT. */
int percent_set_width(struct percent_spec *spec, int64_t value, struct error *e);
int percent_set_precision(struct percent_spec *spec, int64_t value, struct error *e);
/* Append a converted value: nothing is appended when it fails, and '%%' is the caller's.
 * ERR_ARG with Python's sentence when the type does not fit the value.
 * text: for s, r, a as it is (a caller spells r and a); c when it is one character.
 * int: every type; e f g as a float.  float: s r a e f g, and d i u cut to an integer. */
int percent_text(
	struct buf *out, const struct percent_spec *spec, struct str value, struct error *e);
int percent_int(struct buf *out, const struct percent_spec *spec, int64_t value, struct error *e);
int percent_float(struct buf *out, const struct percent_spec *spec, double value, struct error *e);
/* An integer of any size by its decimal digits, with '-' in front: as percent_int.
 * ERR_LIMIT beyond PERCENT_WIDTH_MAX digits, and beyond 400 for o, x and X. */
int percent_decimal(
	struct buf *out, const struct percent_spec *spec, struct str decimal, struct error *e);
/* Append repr() of a float: the shortest digits that read back as the same value. */
void percent_repr(struct buf *out, double value);
