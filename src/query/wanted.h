/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The fields that the rest of a query asks for, so that a parser need not take
 * out what nobody reads.  Built from the end of the pipeline to its front: it
 * begins as what the collector of the rows wants, and each stage adds what it
 * reads itself and takes away what it makes.
 *
 * Names are as after fields_parsed: a parser that finds `a` for which there is
 * a stream label `a` stores `a_extracted`, so it is asked for under both.
 * __error__ and __error_details__ are always wanted.
 * Thread rule: immutable once the pipeline is made.
 */
#include "base/arena.h"
#include "base/str.h"

enum { WANTED_MAX = 64 }; /* more names than that: all */

struct wanted {
	bool all;
	bool line; /* the line itself is read behind here */
	size_t n;
	struct str names[WANTED_MAX]; /* views into the query */
};

void wanted_add(struct wanted *w, struct str name);
void wanted_remove(struct wanted *w, struct str name);
/* Is a field that a parser found under this (sanitised) name wanted, as it is or as
 * NAME_extracted? */
bool wanted_has(const struct wanted *w, struct str name);
