/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What may stand at a place of a LogQL query that is being typed: for the
 * prompt's completion.  A guess from the text before the place; pure, any
 * thread.
 */
#include "base/str.h"

enum query_place {
	PLACE_NONE,  /* within a string that is no label's value, or behind an operator */
	PLACE_START, /* a function or a selector */
	PLACE_LABEL, /* the name of a label, within braces or a grouping */
	PLACE_VALUE, /* the value of `label`, within its quotes */
	PLACE_STAGE, /* behind a "|": a stage */
};

struct query_spot {
	enum query_place place;
	struct str word;  /* what is typed of it already; ends at the end of `before` */
	struct str label; /* of PLACE_VALUE; both are views of `before` */
};

struct query_spot query_spot(struct str before);
/* The words of a place, NULL-terminated; none for labels and values, which the server knows. */
const char *const *query_words(enum query_place place);
