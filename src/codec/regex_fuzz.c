/* SPDX-License-Identifier: Apache-2.0 */
/* First line: a pattern; the rest: a subject.  No crash, and a match contains the literal, groups
 * lie within the subject, and both ways to compile agree. */
#include <stdlib.h>

#include "codec/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(const struct regex *r, const struct regex *groups, struct str subject)
{
	int match = regex_match(r, subject), found;
	struct str g[8];

	if (match == 1 && str_find(subject, regex_literal(r)) < 0)
		abort();
	found = regex_find(groups, subject, 0, g, 8);
	if (match >= 0 && found >= 0 && match != found)
		abort();
	for (int i = 0; found == 1 && i < 8; i++)
		if (g[i].p && (g[i].p < subject.p || g[i].p + g[i].n > subject.p + subject.n))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str subject = str_make(data, n), pattern = str_cut(&subject, '\n');
	struct regex *r, *groups;

	if (regex_new(&r, pattern, false, NULL) < 0)
		return 0;
	if (regex_new_groups(&groups, pattern, NULL) < 0)
		abort();
	if (subject.p)
		check(r, groups, subject);
	regex_free(groups);
	regex_free(r);
	return 0;
}
