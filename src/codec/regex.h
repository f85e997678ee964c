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
/* The pattern as it was given; valid as long as r. */
struct str regex_pattern(const struct regex *r);
