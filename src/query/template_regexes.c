/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular expressions, with the rules of Go's package for what is a match: an
 * empty one right behind another does not count.  Source: pkg.go.dev/regexp.
 */
#include "codec/regex.h"
#include "codec/rune.h"
#include "query/template_tree.h"

enum { GROUPS_MAX = 100, MATCHES_A_STEP = 16 };

/* Walks the matches of a text. */
struct matches {
	const struct regex *regex;
	struct str text;
	size_t from;     /* where to search on */
	size_t last_end; /* of the match before */
	bool any;        /* there was one */
	struct str groups[GROUPS_MAX];
	size_t n_groups;
};

/* 1 and the next match in groups, 0 at the end, ERR_LIMIT. */
static int next_match(struct matches *m)
{
	size_t length;
	int found;

	for (;;) {
		size_t start, end;
		if (m->from > m->text.n)
			return 0;
		found = regex_find(m->regex, m->text, m->from, m->groups, m->n_groups);
		if (found <= 0)
			return found;
		start = (size_t)(m->groups[0].p - m->text.p);
		end = start + m->groups[0].n;
		if (end > m->from) {
			m->from = end;
		} else if (m->from < m->text.n) {
			rune_first(str_sub(m->text, m->from, m->text.n), &length);
			m->from += length;
		} else {
			m->from = m->text.n + 1;
		}
		if (start == end && m->any && start == m->last_end)
			continue;
		m->any = true;
		m->last_end = end;
		return 1;
	}
}

static int matches_init(struct template_run *r, struct matches *m, struct str pattern, struct str s)
{
	if (template_regex(r, pattern, &m->regex) < 0)
		return ERR_ARG;
	m->text = s.p ? s : STR("");
	m->from = m->last_end = 0;
	m->any = false;
	m->n_groups = regex_n_groups(m->regex) + 1;
	if (m->n_groups > GROUPS_MAX)
		m->n_groups = GROUPS_MAX;
	return 0;
}

static int too_long(struct template_run *r)
{
	return template_fail(r, "the regular expression took too many steps");
}

/* The group that a reference names; STR_NONE for none. */
static struct str group(const struct matches *m, struct str name)
{
	uint64_t index;

	if (str_u64(name, &index))
		return index < m->n_groups ? m->groups[index] : STR_NONE;
	for (size_t i = 1; i < m->n_groups; i++)
		if (str_eq_c(name, regex_group_name(m->regex, i)) && m->groups[i].p)
			return m->groups[i];
	return STR_NONE;
}

/* The name of $name or ${name}, s beginning behind the $; 0 when it is none. */
static size_t reference(struct str s, struct str *name)
{
	bool brace = s.n && s.p[0] == '{';
	size_t n = brace, length;

	while (n < s.n) {
		uint32_t c = rune_first(str_sub(s, n, s.n), &length);
		if (c != '_' && !rune_is_letter(c) && !rune_is_digit(c))
			break;
		n += length;
	}
	if (n == brace || (brace && (n == s.n || s.p[n] != '}')))
		return 0;
	*name = str_sub(s, brace, n);
	return n + brace;
}

static void expand(struct buf *out, const struct matches *m, struct str with)
{
	while (with.n) {
		ptrdiff_t dollar = str_chr(with, '$');
		struct str name;
		size_t n = dollar < 0 ? with.n : (size_t)dollar;
		buf_put(out, with.p, n);
		with = str_sub(with, n, with.n);
		if (with.n == 0)
			return;
		with = str_sub(with, 1, with.n);
		if (with.n && with.p[0] == '$') {
			buf_char(out, '$');
			with = str_sub(with, 1, with.n);
		} else if ((n = reference(with, &name))) {
			buf_str(out, group(m, name));
			with = str_sub(with, n, with.n);
		} else {
			buf_char(out, '$');
		}
	}
}

static int replace_all(
	struct template_run *r, const struct datum *args, bool literal, struct datum *out)
{
	struct buf *b = template_scratch(r);
	struct matches m;
	size_t copied = 0, n = 0;
	int found;

	if (matches_init(r, &m, args[0].s, args[1].s) < 0)
		return ERR_ARG;
	while ((found = next_match(&m)) > 0) {
		size_t start = (size_t)(m.groups[0].p - m.text.p);
		buf_str(b, str_sub(m.text, copied, start));
		if (literal)
			buf_str(b, args[2].s);
		else
			expand(b, &m, args[2].s);
		copied = start + m.groups[0].n;
		if (b->n > TEMPLATE_OUT_MAX)
			break;
		if (n++ % MATCHES_A_STEP == 0 && template_work(r, 0) < 0)
			return ERR_ARG;
	}
	if (found < 0)
		return too_long(r);
	buf_str(b, str_sub(m.text, copied, m.text.n));
	return template_keep(r, b, out);
}

static int regex_replace(
	struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	return replace_all(r, args, false, out);
}

static int regex_replace_literal(
	struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	return replace_all(r, args, true, out);
}

static int count(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	struct matches m;
	int64_t found_n = 0;
	int found;

	if (matches_init(r, &m, args[0].s, args[1].s) < 0)
		return ERR_ARG;
	m.n_groups = 1;
	while ((found = next_match(&m)) > 0)
		if (found_n++ % MATCHES_A_STEP == 0 && template_work(r, 0) < 0)
			return ERR_ARG;
	if (found < 0)
		return too_long(r);
	*out = datum_int(found_n);
	return 0;
}

const struct template_function template_regexes[] = {
	{"regexReplaceAll", "sss", regex_replace, CALL_REGEX},
	{"regexReplaceAllLiteral", "sss", regex_replace_literal, CALL_REGEX},
	{"count", "ss", count, CALL_REGEX},
	{0},
};
