/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Python's format specifications, what stands behind the colon in {name:>8}:
 *
 *   [[fill]align][sign][#][0][width][, or _][.precision][type]
 *
 * Source: docs.python.org/3/library/string.html#format-specification-mini-language.
 * Pure functions; widths and precisions are bounded by PERCENT_WIDTH_MAX.
 */
#include "output/line_field.h"

struct line_spec {
	struct str fill; /* one character, a view; empty: none given */
	char align;      /* one of "<>^=", 0: that of the type */
	char sign;       /* one of "+- ", 0: none given */
	bool alternate, zero;
	char grouping; /* ',' '_' or 0 */
	int width;     /* 0: none */
	int precision; /* -1: none */
	char type;     /* 0: that of the value */
};

/* ERR_ARG with the sentence of Python's logging, ERR_LIMIT.  Keeps views of `text`. */
int line_spec_parse(struct line_spec *out, struct str text, struct error *e);
/* Append the value.  What has no such form ('d' of a text that is no number) is put in as text. */
void line_spec_put(const struct line_spec *s, const struct line_value *v, struct buf *out);
