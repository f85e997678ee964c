/* SPDX-License-Identifier: Apache-2.0 */
/* First line: a pattern; the rest: a subject.  No crash, and a match contains the literal and one
 * of the literals, groups lie within the subject, and both ways to compile agree. */
#include <stdlib.h>

#include "codec/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* U+017F and U+212A, which are letters too when case does not count. */
static bool has_odd_letter(struct str s)
{
	return str_find(s, STR("\xc5\xbf")) >= 0 || str_find(s, STR("\xe2\x84\xaa")) >= 0;
}

static void check_literals(const struct regex *r, struct str subject, int match)
{
	struct regex_literals l = regex_literals(r);
	bool any = false;

	for (size_t i = 0; i < l.n && !any; i++)
		for (size_t at = 0; at + l.text[i].n <= subject.n && !any; at++) {
			struct str part = str_make(subject.p + at, l.text[i].n);
			any = l.fold ? str_eq_nocase(part, l.text[i]) : str_eq(part, l.text[i]);
		}
	if (match == 1 && l.n && !any && !(l.fold && has_odd_letter(subject)))
		abort();
	if (match == 0 && any && l.exact)
		abort();
}

static void check_run(const struct regex *r, struct str subject)
{
	const struct regex_run *run = regex_run(r);
	bool any = false;

	for (size_t at = 0; at + run->n <= subject.n && !any; at++) {
		size_t n = 0;
		while (n < run->n && regex_set_has(&run->set[n], (unsigned char)subject.p[at + n]))
			n++;
		any = n == run->n;
	}
	if (!any)
		abort();
}

static void check(const struct regex *r, const struct regex *groups, struct str subject)
{
	int match = regex_match(r, subject), found;
	struct str g[8];

	if (match == 1 && str_find(subject, regex_literal(r)) < 0)
		abort();
	check_literals(r, subject, match);
	if (match == 1)
		check_run(r, subject);
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
