/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strings.  Those with a capital letter have the arguments of Go's package, the
 * others those of sprig, where what is worked on comes last, to be piped in.
 * Sources: Loki's documentation of template functions, pkg.go.dev/strings,
 * masterminds.github.io/sprig/strings.html.
 */
#include "codec/rune.h"
#include "query/template_tree.h"

#define FUNCTION(name)                                                                             \
	static int name(                                                                           \
		struct template_run *r, const struct datum *args, size_t n, struct datum *out)

/* ---- cases ---- */

static int mapped(
	struct template_run *r, struct str s, uint32_t (*map)(uint32_t c), struct datum *out)
{
	struct buf *b = template_scratch(r);
	size_t length;

	for (; s.n; s = str_sub(s, length, s.n)) {
		uint32_t c = map(rune_first(s, &length));
		if (c < 0x80)
			buf_char(b, (char)c);
		else
			rune_put(b, c);
	}
	return template_keep(r, b, out);
}

FUNCTION(lower)
{
	return mapped(r, args[0].s, rune_lower, out);
}

FUNCTION(upper)
{
	return mapped(r, args[0].s, rune_upper, out);
}

/* Words are runs of letters, digits, _ and '. */
FUNCTION(title)
{
	struct buf *b = template_scratch(r);
	struct str s = args[0].s;
	bool inside = false;
	size_t length;

	for (; s.n; s = str_sub(s, length, s.n)) {
		uint32_t c = rune_first(s, &length);
		rune_put(b, inside ? c : rune_upper(c));
		inside = rune_is_letter(c) || rune_is_digit(c) || c == '_' || c == '\'';
	}
	return template_keep(r, b, out);
}

/* ---- trimming ---- */

static bool in_set(uint32_t c, struct str set)
{
	size_t length;

	for (; set.n; set = str_sub(set, length, set.n))
		if (rune_first(set, &length) == c)
			return true;
	return false;
}

static struct str trim_left(struct str s, struct str set)
{
	size_t length;

	while (s.n && in_set(rune_first(s, &length), set))
		s = str_sub(s, length, s.n);
	return s;
}

static struct str trim_right(struct str s, struct str set)
{
	size_t length;

	while (s.n && in_set(rune_last(s, &length), set))
		s.n -= length;
	return s;
}

static struct str trim_space(struct str s)
{
	size_t length;

	while (s.n && rune_is_space(rune_first(s, &length)))
		s = str_sub(s, length, s.n);
	while (s.n && rune_is_space(rune_last(s, &length)))
		s.n -= length;
	return s;
}

static struct str trim_prefix(struct str s, struct str prefix)
{
	return str_starts(s, prefix) ? str_sub(s, prefix.n, s.n) : s;
}

static struct str trim_suffix(struct str s, struct str suffix)
{
	return str_ends(s, suffix) ? str_sub(s, 0, s.n - suffix.n) : s;
}

/* A set costs as much as it has characters, for each of the text. */
static int set_work(struct template_run *r, struct str s, struct str set)
{
	return set.n > 16 ? template_work(r, s.n * (set.n / 16)) : 0;
}

static int trimmed(struct template_run *r, struct str s, struct str set, struct datum *out)
{
	if (set_work(r, s, set) < 0)
		return ERR_ARG;
	*out = datum_string(trim_right(trim_left(s, set), set));
	return 0;
}

FUNCTION(go_trim)
{
	return trimmed(r, args[0].s, args[1].s, out);
}

FUNCTION(trim_all)
{
	return trimmed(r, args[1].s, args[0].s, out);
}

FUNCTION(go_trim_left)
{
	if (set_work(r, args[0].s, args[1].s) < 0)
		return ERR_ARG;
	*out = datum_string(trim_left(args[0].s, args[1].s));
	return 0;
}

FUNCTION(go_trim_right)
{
	if (set_work(r, args[0].s, args[1].s) < 0)
		return ERR_ARG;
	*out = datum_string(trim_right(args[0].s, args[1].s));
	return 0;
}

FUNCTION(go_trim_prefix)
{
	*out = datum_string(trim_prefix(args[0].s, args[1].s));
	return 0;
}

FUNCTION(go_trim_suffix)
{
	*out = datum_string(trim_suffix(args[0].s, args[1].s));
	return 0;
}

FUNCTION(sprig_trim_prefix)
{
	*out = datum_string(trim_prefix(args[1].s, args[0].s));
	return 0;
}

FUNCTION(sprig_trim_suffix)
{
	*out = datum_string(trim_suffix(args[1].s, args[0].s));
	return 0;
}

FUNCTION(trim)
{
	*out = datum_string(trim_space(args[0].s));
	return 0;
}

/* ---- parts ---- */

/* -n is the last n bytes. */
FUNCTION(trunc_)
{
	int64_t c = args[0].i;
	struct str s = args[1].s;

	if (c >= 0 && (uint64_t)c < s.n)
		s.n = (size_t)c;
	else if (c < 0 && c > -(int64_t)s.n)
		s = str_sub(s, s.n - (size_t)-c, s.n);
	*out = datum_string(s);
	return 0;
}

/* A start below 0 is the beginning, an end below 0 or beyond the text is its end; all else is a
 * slice, with Go's error for one that cannot be. */
FUNCTION(substr)
{
	int64_t start = args[0].i, end = args[1].i;
	struct str s = args[2].s;

	if (start < 0) {
		if (end < 0 || (uint64_t)end > s.n)
			return template_fail(r,
				"runtime error: slice bounds out of range [:%lld] with length %zu",
				(long long)end, s.n);
		start = 0;
	} else if (end < 0 || (uint64_t)end > s.n) {
		end = (int64_t)s.n;
	}
	if (start > end)
		return template_fail(r, "runtime error: slice bounds out of range [%lld:%lld]",
			(long long)start, (long long)end);
	*out = datum_string(str_sub(s, (size_t)start, (size_t)end));
	return 0;
}

FUNCTION(contains)
{
	*out = datum_bool(args[0].s.n == 0 || str_find(args[1].s, args[0].s) >= 0);
	return 0;
}

FUNCTION(has_prefix)
{
	*out = datum_bool(str_starts(args[1].s, args[0].s));
	return 0;
}

FUNCTION(has_suffix)
{
	*out = datum_bool(str_ends(args[1].s, args[0].s));
	return 0;
}

/* ---- replacing ---- */

/* Up to `limit` of them, all when it is below 0.  An empty `old` is before each rune and at the
 * end. */
static int replaced(struct template_run *r, struct str s, struct str old, struct str fresh,
	int64_t limit, struct datum *out)
{
	struct buf *b = template_scratch(r);
	size_t length;

	for (bool first = true; limit != 0; limit--, first = false) {
		ptrdiff_t at = str_find(s, old);
		if (old.n == 0 && !first) {
			if (s.n == 0)
				break;
			rune_first(s, &length);
			at = (ptrdiff_t)length;
		}
		if (at < 0)
			break;
		buf_str(b, str_sub(s, 0, (size_t)at));
		buf_str(b, fresh);
		s = str_sub(s, (size_t)at + old.n, s.n);
		if (b->n > TEMPLATE_OUT_MAX)
			break;
	}
	buf_str(b, s);
	return template_keep(r, b, out);
}

FUNCTION(go_replace)
{
	return replaced(r, args[0].s, args[1].s, args[2].s, args[3].i, out);
}

FUNCTION(sprig_replace)
{
	return replaced(r, args[2].s, args[0].s, args[1].s, -1, out);
}

/* ---- layout ---- */

/* A text of n blanks, with what else goes into it, must fit. */
static int check_blanks(struct template_run *r, int64_t n)
{
	if (n < 0)
		return template_fail(r, "strings: negative Repeat count");
	if (n > TEMPLATE_OUT_MAX)
		return template_fail(r, "more than %d bytes of text", TEMPLATE_OUT_MAX);
	return 0;
}

static void put_blanks(struct buf *b, size_t n)
{
	memset(buf_reserve(b, n), ' ', n);
	b->n += n;
}

static int indented(struct template_run *r, const struct datum *args, bool line, struct datum *out)
{
	struct buf *b = template_scratch(r);
	struct str rest = args[1].s;
	bool more = true;

	if (check_blanks(r, args[0].i) < 0)
		return ERR_ARG;
	if (line)
		buf_char(b, '\n');
	while (more) {
		struct str one;
		more = str_chr(rest, '\n') >= 0;
		one = str_cut(&rest, '\n');
		put_blanks(b, (size_t)args[0].i);
		buf_str(b, one);
		if (more)
			buf_char(b, '\n');
		if (b->n > TEMPLATE_OUT_MAX)
			break;
	}
	return template_keep(r, b, out);
}

FUNCTION(indent)
{
	return indented(r, args, false, out);
}

FUNCTION(nindent)
{
	return indented(r, args, true, out);
}

FUNCTION(repeat)
{
	struct buf *b = template_scratch(r);
	struct str s = args[1].s;

	if (args[0].i < 0)
		return template_fail(r, "strings: negative Repeat count");
	if (s.n && (uint64_t)args[0].i > TEMPLATE_OUT_MAX / s.n)
		return template_fail(r, "more than %d bytes of text", TEMPLATE_OUT_MAX);
	for (int64_t i = 0; i < args[0].i && s.n; i++)
		buf_str(b, s);
	return template_keep(r, b, out);
}

/* A width below 0 leaves the text as it is. */
static int aligned(struct template_run *r, const struct datum *args, bool right, struct datum *out)
{
	struct buf *b = template_scratch(r);
	struct str s = args[1].s;
	size_t count = rune_count(s), wanted;

	if (args[0].i < 0 || (uint64_t)args[0].i == count) {
		*out = args[1];
		return 0;
	}
	if (check_blanks(r, args[0].i) < 0)
		return ERR_ARG;
	wanted = (size_t)args[0].i;
	if (count > wanted) {
		struct str left = rune_prefix(s, right ? count - wanted : wanted);
		*out = datum_string(right ? str_sub(s, left.n, s.n) : left);
		return 0;
	}
	if (right)
		put_blanks(b, wanted - count);
	buf_str(b, s);
	if (!right)
		put_blanks(b, wanted - count);
	return template_keep(r, b, out);
}

FUNCTION(align_left)
{
	return aligned(r, args, false, out);
}

FUNCTION(align_right)
{
	return aligned(r, args, true, out);
}

/* ---- what is missing ---- */

static bool is_empty(struct template_run *r, const struct datum *d)
{
	return !datum_truth(r, d);
}

FUNCTION(default_)
{
	*out = n > 1 && !is_empty(r, &args[1]) ? args[1] : args[0];
	return 0;
}

const struct template_function template_strings[] = {
	{"ToLower", "s", lower, CALL_PLAIN},
	{"ToUpper", "s", upper, CALL_PLAIN},
	{"Replace", "sssi", go_replace, CALL_PLAIN},
	{"Trim", "ss", go_trim, CALL_PLAIN},
	{"TrimLeft", "ss", go_trim_left, CALL_PLAIN},
	{"TrimRight", "ss", go_trim_right, CALL_PLAIN},
	{"TrimPrefix", "ss", go_trim_prefix, CALL_PLAIN},
	{"TrimSuffix", "ss", go_trim_suffix, CALL_PLAIN},
	{"TrimSpace", "s", trim, CALL_PLAIN},
	{"lower", "s", lower, CALL_PLAIN},
	{"upper", "s", upper, CALL_PLAIN},
	{"title", "s", title, CALL_PLAIN},
	{"trunc", "is", trunc_, CALL_PLAIN},
	{"substr", "iis", substr, CALL_PLAIN},
	{"contains", "ss", contains, CALL_PLAIN},
	{"hasPrefix", "ss", has_prefix, CALL_PLAIN},
	{"hasSuffix", "ss", has_suffix, CALL_PLAIN},
	{"indent", "is", indent, CALL_PLAIN},
	{"nindent", "is", nindent, CALL_PLAIN},
	{"replace", "sss", sprig_replace, CALL_PLAIN},
	{"repeat", "is", repeat, CALL_PLAIN},
	{"trim", "s", trim, CALL_PLAIN},
	{"trimAll", "ss", trim_all, CALL_PLAIN},
	{"trimSuffix", "ss", sprig_trim_suffix, CALL_PLAIN},
	{"trimPrefix", "ss", sprig_trim_prefix, CALL_PLAIN},
	{"alignLeft", "is", align_left, CALL_PLAIN},
	{"alignRight", "is", align_right, CALL_PLAIN},
	{"default", "aa*", default_, CALL_PLAIN},
	{0},
};
