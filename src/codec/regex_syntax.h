/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* RE2's dialect, checked and rewritten in PCRE2's (private to regex.c).  Pure: any thread. */
#include "codec/regex.h"

#include "base/buf.h"

struct regex_syntax {
	struct buf pattern; /* for PCRE2, with PCRE2_DOTALL and PCRE2_DOLLAR_ENDONLY */
	struct buf literal; /* bytes that every match contains; may be none */
	struct buf choice;  /* texts of which every match contains one, see regex_literals */
	size_t choice_bytes[REGEX_LITERALS_MAX], n_choices;
	bool fold, exact;
	struct buf names; /* of the groups in order, each terminated; "" for one without */
};

/* Groups capture only if `captures`.  ERR_ARG with Go's sentence.  Fills *out in any case, for
 * regex_syntax_fini. */
int regex_translate(struct str pattern, bool captures, struct regex_syntax *out, struct error *e);
void regex_syntax_fini(struct regex_syntax *s);
