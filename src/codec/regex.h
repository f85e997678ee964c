/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Regular expressions in RE2's dialect, over PCRE2 with its JIT.
 *
 * What RE2 refuses (back-references, look-around, possessive and atomic
 * groups, recursion, repeats over 1000) is refused here with a sentence, and a
 * match limit turns a pathological pattern into ERR_LIMIT instead of a hang.
 * Source: github.com/google/re2/wiki/Syntax.
 * Thread rule: a compiled regex is immutable; any thread may match with it.
 */
#include "base/error.h"
#include "base/str.h"
#include "codec/regex_run.h"

struct regex;

/* `anchored`: the whole subject must match, as label matchers ask.
 * ERR_ARG: "error parsing regexp: …: `…`"; ERR_LIMIT beyond 4 KiB of pattern. */
int regex_new(struct regex **out, struct str pattern, bool anchored, struct error *e);
void regex_free(struct regex *r);
/* 1 on a match, 0 on none, ERR_LIMIT when the match budget ran out. */
int regex_match(const struct regex *r, struct str subject);
/* A byte string that every match must contain, empty when none is known: lets a
 * search skip what cannot match.  Valid as long as r. */
struct str regex_literal(const struct regex *r);
/* Byte strings of which every match contains one. */
enum { REGEX_LITERALS_MAX = 16 };
struct regex_literals {
	const struct str *text;
	size_t n;   /* 0: none are known */
	bool fold;  /* ASCII letters of either case, and U+017F for s, U+212A for k; the texts are
		     * lower case */
	bool exact; /* what contains one of them, in that sense, matches */
};
struct regex_literals regex_literals(const struct regex *r); /* valid as long as r */
/* What every match contains, by classes of bytes; valid as long as r. */
const struct regex_run *regex_run(const struct regex *r);
/* The pattern as it was given; valid as long as r. */
struct str regex_pattern(const struct regex *r);

/* As regex_new, not anchored, and the groups of a match can be asked for. */
int regex_new_groups(struct regex **out, struct str pattern, struct error *e);
/* Groups in order of their '(' ; 0 unless made by regex_new_groups. */
size_t regex_n_groups(const struct regex *r);
/* Name of group i, from 1; empty when it has none.  Valid as long as r. */
const char *regex_group_name(const struct regex *r, size_t i);
/* The first match at or after byte `from`: groups[0] is the whole, groups[i] group i, {NULL, 0}
 * when it took no part; views into `subject`; at most n are filled.  Returns as regex_match. */
int regex_find(
	const struct regex *r, struct str subject, size_t from, struct str *groups, size_t n);
