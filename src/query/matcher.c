/* SPDX-License-Identifier: Apache-2.0 */
#include "query/matcher.h"

#include "query/quote.h"

const char *match_op_text(enum match_op op)
{
	static const char *const text[] = {
		[MATCH_EQUAL] = "=",
		[MATCH_NOT_EQUAL] = "!=",
		[MATCH_REGEX] = "=~",
		[MATCH_NOT_REGEX] = "!~",
	};

	return text[op];
}

int matcher_match(const struct matcher *m, struct str value)
{
	int r;

	switch (m->op) {
	case MATCH_EQUAL: return str_eq(m->value, value);
	case MATCH_NOT_EQUAL: return !str_eq(m->value, value);
	case MATCH_REGEX: return regex_match(m->regex, value);
	case MATCH_NOT_REGEX: return (r = regex_match(m->regex, value)) < 0 ? r : !r;
	}
	return 0;
}

int matchers_match(const struct matcher *m, size_t n, struct str labels)
{
	for (size_t i = 0; i < n; i++) {
		struct str value = STR("");
		int r;
		labels_get(labels, m[i].name, &value);
		if ((r = matcher_match(&m[i], value)) <= 0)
			return r;
	}
	return 1;
}

bool matchers_narrow(const struct matcher *m, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool positive = m[i].op == MATCH_EQUAL || m[i].op == MATCH_REGEX;
		if (positive && matcher_match(&m[i], STR("")) == 0)
			return true;
	}
	return false;
}

bool matcher_is_name(const struct matcher *m)
{
	return m->op == MATCH_EQUAL && !m->regex && !m->value.p;
}

void matcher_format(const struct matcher *m, struct buf *out)
{
	buf_str(out, m->name);
	if (matcher_is_name(m))
		return;
	buf_c(out, match_op_text(m->op));
	quote_go(out, m->value);
}

void matchers_format(const struct matcher *m, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++) {
		buf_c(out, i ? ", " : "");
		matcher_format(&m[i], out);
	}
}
