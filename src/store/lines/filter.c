/* SPDX-License-Identifier: Apache-2.0 */
#include "store/lines/filter.h"

static int passes(const struct line_test *t, struct str line)
{
	return t->regex ? regex_match(t->regex, line) : str_find(line, t->text) >= 0;
}

int line_filter_test(const struct line_filter *f, struct str line)
{
	for (size_t i = 0; i < f->n; i++) {
		int r = passes(&f->tests[i], line);
		if (r < 0)
			return r;
		if (r)
			return !f->negate;
	}
	return f->negate;
}

int line_filters_test(const struct line_filter *f, size_t n, struct str line)
{
	for (size_t i = 0; i < n; i++) {
		int r = line_filter_test(&f[i], line);
		if (r <= 0)
			return r;
	}
	return 1;
}
