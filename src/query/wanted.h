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
/* The names to look for in a line: those of w, and NAME for each NAME_extracted; without those of
 * the error.  `out` has room for WANTED_TARGETS_MAX.  Returns how many; not for w->all. */
enum { WANTED_TARGETS_MAX = 2 * WANTED_MAX };
size_t wanted_targets(const struct wanted *w, struct str *out);

/* Names in lines become label names: each character but [a-zA-Z0-9_] becomes _, and a digit in
 * front gets one. */
extern const uint8_t label_name_chars[256];
static inline bool label_name_char(unsigned char c)
{
	return label_name_chars[c];
}

/* Bytes of the label name that `raw` becomes; `first` false when other text stands before it. */
size_t label_name_length(struct str raw, bool first);
/* Into `out`, which has room for it. */
void label_name_make(char *out, struct str raw, bool first);
bool label_name_is(struct str name, struct str raw, bool first);
