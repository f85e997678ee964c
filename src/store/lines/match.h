/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a line filter can say of a template without reading a line: all lines
 * of it pass, none does, or the values decide.
 *
 * A text is laid over the template in every place where it could stand; a slot
 * takes any run of its alphabet (digits, hexadecimal digits, letters and digits)
 * of a length that its kind can have.  Exact: never ALL or NONE where a line
 * could say otherwise.
 * Thread rule: pure.
 */
#include "store/lines/filter.h"
#include "store/lines/template.h"

enum match_verdict { MATCH_NONE, MATCH_ALL, MATCH_SOME };

enum match_verdict match_template(const struct line_filter *f, const struct template *t);
/* Of several, which all must keep the line. */
enum match_verdict match_filters(const struct line_filter *f, size_t n, const struct template *t);

/* A place where a text could stand in a template: conditions on up to MATCH_TERMS values, all of
 * which must hold for the text to stand there; constant text between them fits already. */
enum { MATCH_TERMS = 16, MATCH_PLACES = 64 };
struct match_term {
	uint32_t slot;
	uint8_t test;    /* enum column_test */
	struct str text; /* a part of the filter's */
};
struct match_place {
	struct match_term terms[MATCH_TERMS];
	uint32_t n; /* 0: the text stands in the constant text alone */
};
/* All places of a text in a template.  Returns how many, -1 when there are more than `max` or one
 * has more than MATCH_TERMS: then lines must be spelled to know. */
int match_places(struct str text, const struct template *t, struct match_place *out, int max);
