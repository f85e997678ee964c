/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recursive descent over RE2's grammar (github.com/google/re2/wiki/Syntax)
 * that writes the same expression in PCRE2's words as it goes.  Nothing of the
 * input reaches PCRE2 unread: literals are written escaped, classes by their
 * members, flags by their effect; so what only PCRE2 knows cannot slip through.
 *
 * Where the two differ: `$` is the very end; \s has no vertical tab; \v is
 * one; `.` becomes \N, which is "no newline" whatever the flags; (?U) is
 * written as the opposite greed; scripts are Script, not Script_Extensions.
 *
 * Beside the rewriting, each piece tells what it is made of (struct piece): its
 * whole text when it can match one text only, or else the longest byte string
 * that is in every match.  When in doubt that is empty.  And the same for a few
 * texts instead of one (struct choice), of which every match contains one: those
 * survive alternatives, small classes and (?i).
 */
#include "codec/regex_syntax.h"

#include "base/arena.h"
#include "base/hex.h"

enum {
	NEST_MAX = 200,         /* groups in groups: PCRE2's own limit is 250 */
	REPEAT_MAX = 1000,      /* RE2's, for nested repeats their product */
	SIZE_MAX_ATOMS = 20000, /* after copying repeated groups, as PCRE2 does */
	RUNE_MAX = 0x10ffff,
	REPLACEMENT = 0xfffd, /* stands for broken bytes too, so it is no literal */
};

enum {
	CHOICE_BYTES = 64, /* a text of a choice; what would be longer is cut in two */
	CLASS_CHOICE = 4,  /* characters of a class that is taken for a choice */
};

enum flag { FOLD = 1, LINES = 2, DOT_ALL = 4, LAZY = 8 };

/* Byte strings of which every match contains one. */
struct choice {
	bool exact; /* matches these and nothing else, assertions aside */
	bool fold;  /* ASCII letters of either case; the texts are lower case */
	unsigned n; /* 0: none are known */
	struct str text[REGEX_LITERALS_MAX]; /* in the arena */
};

struct piece {
	struct choice any;
	bool exact;      /* matches `text` and nothing else */
	struct str text; /* in every match; in the arena */
	unsigned size;   /* atoms */
	unsigned repeat; /* largest product of nested repeats */
};

struct parse {
	struct str all, rest;
	struct buf *out;
	struct error *e;
	struct arena arena;
	struct buf names; /* of the groups so far, each terminated; "" for none */
	unsigned flags, depth;
	bool captures;
	bool loose; /* an assertion was read, or case counts in places: texts are no matches yet */
};

/* A sequence under construction: literals in a row gather in `run`. */
struct sequence {
	struct buf run;
	struct str best;
	bool exact;
	unsigned size, repeat;
	struct choice tail, found; /* the choice that may still grow, and the best before it */
	bool whole;                /* tail is all of it so far */
};

static int refuse(struct parse *p, const char *what, struct str text)
{
	return error_set(p->e, ERR_ARG, "error parsing regexp: %s: `%.*s`", what, STR_ARG(text));
}

static struct str behind(struct str s, size_t n)
{
	return str_make(s.p + n, s.n - n);
}

/* What was read since `from`. */
static struct str since(const struct parse *p, struct str from)
{
	return str_make(from.p, from.n - p->rest.n);
}

static bool at(const struct parse *p, char c)
{
	return p->rest.n && p->rest.p[0] == c;
}

static bool take(struct parse *p, struct str word)
{
	if (!str_starts(p->rest, word))
		return false;
	p->rest = behind(p->rest, word.n);
	return true;
}

/* The next code point; the pattern is valid UTF-8 and not at its end. */
static uint32_t take_rune(struct parse *p)
{
	const unsigned char *s = (const unsigned char *)p->rest.p;
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	uint32_t c = n == 1 ? s[0] : s[0] & (0x7fu >> n);

	for (size_t i = 1; i < n; i++)
		c = c << 6 | (s[i] & 0x3f);
	p->rest = behind(p->rest, n);
	return c;
}

static bool is_letter(uint32_t c)
{
	return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static bool is_digit(uint32_t c)
{
	return c >= '0' && c <= '9';
}

static size_t utf8(uint32_t c, char out[4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)(0xf00u >> n | c);
	return n;
}

/* A code point as PCRE2 takes it inside and outside classes. */
static void put_rune(struct buf *out, uint32_t c)
{
	if (is_letter(c) || is_digit(c) || c == '_')
		buf_char(out, (char)c);
	else
		buf_printf(out, "\\x{%x}", (unsigned)c);
}

/* "7F" or "{10FFFF}" behind \x. */
static bool take_hex(struct parse *p, uint32_t *out)
{
	bool braces = take(p, STR("{"));
	uint32_t v = 0;
	size_t n = 0;

	for (; p->rest.n && hex_digit(p->rest.p[0]) >= 0 && (braces || n < 2); n++) {
		v = v * 16 + (uint32_t)hex_digit(p->rest.p[0]);
		if (v > RUNE_MAX)
			return false;
		p->rest = behind(p->rest, 1);
	}
	*out = v;
	return braces ? n && take(p, STR("}")) : n == 2;
}

/* An escape that stands for one code point; p is at its backslash. */
static int take_escape(struct parse *p, uint32_t *out)
{
	static const char letters[] = "afnrtv", values[] = "\a\f\n\r\t\v";
	struct str from = p->rest;
	const char *known;
	uint32_t c;

	p->rest = behind(p->rest, 1);
	if (!p->rest.n)
		return refuse(p, "trailing backslash at end of expression", STR(""));
	c = take_rune(p);
	*out = c;
	if (c < 0x80 && !is_letter(c) && !is_digit(c))
		return 0;
	if (c == 'x' && take_hex(p, out) && !(*out >= 0xd800 && *out <= 0xdfff))
		return 0;
	/* \0 is octal; \1 alone would be a back-reference, \12 is octal. */
	if (c == '0' ||
		(c >= '1' && c <= '7' && p->rest.n && p->rest.p[0] >= '0' && p->rest.p[0] <= '7')) {
		*out = c - '0';
		for (int i = 0; i < 2 && p->rest.n && p->rest.p[0] >= '0' && p->rest.p[0] <= '7';
			i++)
			*out = *out * 8 + (take_rune(p) - '0');
		return 0;
	}
	if (c < 0x80 && c && (known = strchr(letters, (int)c))) {
		*out = (unsigned char)values[known - letters];
		return 0;
	}
	return refuse(p, "invalid escape sequence", since(p, from));
}

/* \d and its like, at the backslash: written to `out` as members of a class.  0 when it is none. */
static int take_perl_class(struct parse *p)
{
	static const struct {
		char letter;
		const char *members;
	} classes[] = {{'d', "\\d"}, {'D', "\\D"}, {'w', "\\w"}, {'W', "\\W"},
		{'s', "\\t\\n\\f\\r\\x{20}"}, {'S', "\\S\\x{b}"}};

	for (size_t i = 0; p->rest.n > 1 && i < sizeof classes / sizeof classes[0]; i++)
		if (p->rest.p[1] == classes[i].letter) {
			buf_c(p->out, classes[i].members);
			p->rest = behind(p->rest, 2);
			return 1;
		}
	return 0;
}

static bool is_category(struct str name)
{
	static const char all[] =
		" C Cc Cf Co Cs L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe "
		"Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs Any ";
	char key[8];

	if (name.n == 0 || name.n > 3)
		return false;
	key[0] = ' ';
	memcpy(key + 1, name.p, name.n);
	key[name.n + 1] = ' ';
	return str_find(str_c(all), str_make(key, name.n + 2)) >= 0;
}

/* Scripts are named in letters and underscores; whether there is such a script PCRE2 says. */
static bool is_script(struct str name)
{
	for (size_t i = 0; i < name.n; i++)
		if (!is_letter((unsigned char)name.p[i]) && name.p[i] != '_')
			return false;
	return name.n > 1 && name.n < 40 && name.p[0] >= 'A' && name.p[0] <= 'Z';
}

/* \pL, \p{Greek}, \P{^Lu}, at the backslash: 1 when read, 0 when it is none. */
static int take_property(struct parse *p)
{
	struct str from = p->rest, name;
	bool negated;
	ptrdiff_t end;

	if (p->rest.n < 2 || (p->rest.p[1] | 0x20) != 'p')
		return 0;
	negated = p->rest.p[1] == 'P';
	p->rest = behind(p->rest, 2);
	if (take(p, STR("{"))) {
		end = str_chr(p->rest, '}');
		if (end < 0)
			return refuse(p, "invalid character class range", from);
		name = str_make(p->rest.p, (size_t)end);
		p->rest = behind(p->rest, (size_t)end + 1);
		if (str_starts(name, STR("^"))) {
			negated = !negated;
			name = behind(name, 1);
		}
	} else {
		name = str_make(p->rest.p, p->rest.n ? 1 : 0);
		if (p->rest.n)
			take_rune(p);
	}
	if (!is_category(name) && !is_script(name))
		return refuse(p, "invalid character class range", since(p, from));
	buf_printf(p->out, "\\%c{%s%.*s}", negated ? 'P' : 'p',
		is_category(name) ? "" : "sc:", STR_ARG(name));
	return 1;
}

/* [:alpha:] inside a class: 1 when read, 0 when it is none. */
static int take_posix_class(struct parse *p)
{
	static const char names[] = " alnum alpha ascii blank cntrl digit graph lower print punct "
				    "space upper word xdigit ";
	struct str name;
	char key[12];
	ptrdiff_t end = str_find(p->rest, STR(":]"));

	if (!str_starts(p->rest, STR("[:")) || end < 2)
		return 0;
	name = str_make(p->rest.p + 2, (size_t)end - 2);
	if (str_starts(name, STR("^")))
		name = behind(name, 1);
	if (name.n == 0 || name.n > 8 || str_chr(name, ' ') >= 0)
		return refuse(
			p, "invalid character class range", str_sub(p->rest, 0, (size_t)end + 2));
	key[0] = ' ';
	memcpy(key + 1, name.p, name.n);
	key[name.n + 1] = ' ';
	if (str_find(str_c(names), str_make(key, name.n + 2)) < 0)
		return refuse(
			p, "invalid character class range", str_sub(p->rest, 0, (size_t)end + 2));
	buf_str(p->out, str_make(p->rest.p, (size_t)end + 2));
	p->rest = behind(p->rest, (size_t)end + 2);
	return 1;
}

static int take_class_rune(struct parse *p, struct str class, uint32_t *out)
{
	if (!p->rest.n)
		return refuse(p, "missing closing ]", class);
	if (at(p, '\\'))
		return take_escape(p, out);
	*out = take_rune(p);
	return 0;
}

/* One member of a class: a character, a range or a class in it.  *only is the character. */
static int take_member(struct parse *p, struct str class, uint32_t *only)
{
	struct str from = p->rest;
	uint32_t low, high;
	int r;

	*only = UINT32_MAX;
	if ((r = take_posix_class(p)))
		return r;
	if (at(p, '\\') && ((r = take_property(p)) || (r = take_perl_class(p))))
		return r;
	if ((r = take_class_rune(p, class, &low)) < 0)
		return r;
	put_rune(p->out, low);
	if (!at(p, '-') || p->rest.n < 2 || p->rest.p[1] == ']') {
		*only = low;
		return 0;
	}
	take(p, STR("-"));
	if ((r = take_class_rune(p, class, &high)) < 0)
		return r;
	if (high < low)
		return refuse(p, "invalid character class range", since(p, from));
	buf_char(p->out, '-');
	put_rune(p->out, high);
	return 0;
}

static bool folds(const struct parse *p, uint32_t c)
{
	return (p->flags & FOLD) && (is_letter(c) || c >= 0x80);
}

static const struct choice nothing = {.exact = true, .n = 1};

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static void make_lower(struct parse *p, struct choice *c)
{
	for (unsigned i = 0; i < c->n && !c->fold; i++) {
		struct str s = c->text[i];
		char *to = arena_c(&p->arena, s);
		for (size_t k = 0; k < s.n; k++) {
			p->loose = p->loose || is_letter((unsigned char)to[k]);
			to[k] = lower(to[k]);
		}
		c->text[i].p = to;
	}
	c->fold = true;
}

/* False when there is no room; a text that is there already needs none. */
static bool choice_add(struct choice *c, struct str text)
{
	for (unsigned i = 0; i < c->n; i++)
		if (str_eq(c->text[i], text))
			return true;
	if (c->n == REGEX_LITERALS_MAX)
		return false;
	c->text[c->n++] = text;
	return true;
}

/* What either contains. */
static void choice_unite(struct parse *p, struct choice *to, struct choice other)
{
	bool known = to->n && other.n;

	if (known && to->fold != other.fold) {
		make_lower(p, to);
		make_lower(p, &other);
	}
	to->exact = to->exact && other.exact;
	for (unsigned i = 0; known && i < other.n; i++)
		known = choice_add(to, other.text[i]);
	if (!known)
		*to = (struct choice){0};
}

/* Both exact, one behind the other; false when the texts become too many or too long. */
static bool choice_join(struct parse *p, struct choice *to, struct choice other)
{
	struct choice joined = {.exact = true};

	if (to->n * other.n > REGEX_LITERALS_MAX)
		return false;
	if (to->fold != other.fold) {
		make_lower(p, to);
		make_lower(p, &other);
	}
	joined.fold = to->fold;
	for (unsigned i = 0; i < to->n; i++)
		for (unsigned k = 0; k < other.n; k++) {
			struct str a = to->text[i], b = other.text[k];
			char bytes[CHOICE_BYTES];
			if (a.n + b.n > sizeof bytes)
				return false;
			memcpy(bytes, a.n ? a.p : "", a.n);
			memcpy(bytes + a.n, b.n ? b.p : "", b.n);
			choice_add(&joined, arena_str(&p->arena, str_make(bytes, a.n + b.n)));
		}
	*to = joined;
	return true;
}

/* How much it rules out: the length of its shortest text. */
static size_t choice_worth(const struct choice *c)
{
	size_t least = c->n ? SIZE_MAX : 0;

	for (unsigned i = 0; i < c->n; i++)
		least = c->text[i].n < least ? c->text[i].n : least;
	return least;
}

static void choice_keep_better(struct choice *best, const struct choice *c)
{
	size_t a = choice_worth(best), b = choice_worth(c);

	if (b > a || (b == a && b && c->n < best->n))
		*best = *c;
	best->exact = false;
}

static struct choice choice_of_rune(struct parse *p, uint32_t c)
{
	struct choice choice = {.exact = true};
	char bytes[4];
	size_t n;

	if (c == REPLACEMENT || (folds(p, c) && c >= 0x80))
		return (struct choice){0};
	n = utf8(c, bytes);
	choice.fold = folds(p, c);
	if (choice.fold)
		bytes[0] = lower(bytes[0]);
	choice.text[choice.n++] = arena_str(&p->arena, str_make(bytes, n));
	return choice;
}

static void set_literal(struct parse *p, struct piece *out, uint32_t c)
{
	char bytes[4];

	out->any = choice_of_rune(p, c);
	out->exact = !folds(p, c) && c != REPLACEMENT;
	if (out->exact)
		out->text = arena_str(&p->arena, str_make(bytes, utf8(c, bytes)));
}

static int take_class(struct parse *p, struct piece *out)
{
	struct str from = p->rest;
	uint32_t c, first = UINT32_MAX, members[CLASS_CHOICE];
	bool negated, few = true;
	size_t n = 0;
	int r;

	take(p, STR("["));
	negated = take(p, STR("^"));
	buf_c(p->out, negated ? "[^" : "[");
	for (; n == 0 || !at(p, ']'); n++) {
		if ((r = take_member(p, from, &c)) < 0)
			return r;
		if (!p->rest.n)
			return refuse(p, "missing closing ]", from);
		first = n ? UINT32_MAX : c;
		few = few && n < CLASS_CHOICE && c != UINT32_MAX;
		if (few)
			members[n] = c;
	}
	take(p, STR("]"));
	buf_char(p->out, ']');
	if (!negated && first != UINT32_MAX)
		set_literal(p, out, first); /* [.] is how many write \. */
	if (!negated && few && n > 1) {     /* [Ee]rror */
		out->any = choice_of_rune(p, members[0]);
		for (size_t i = 1; i < n; i++)
			choice_unite(p, &out->any, choice_of_rune(p, members[i]));
	}
	return 0;
}

static bool at_repeat(const struct parse *p)
{
	return at(p, '*') || at(p, '+') || at(p, '?') || at(p, '{');
}

/* What has no width.  PCRE2 repeats only what is in a group. */
static int put_assertion(struct parse *p, struct piece *out, const char *text)
{
	buf_printf(p->out, at_repeat(p) ? "(?:%s)" : "%s", text);
	out->exact = true;
	out->any = nothing;
	p->loose = true;
	return 0;
}

static int take_backslash(struct parse *p, struct piece *out)
{
	static const struct {
		struct str escape;
		const char *text;
	} assertions[] = {{STR_INIT("\\A"), "\\A"}, {STR_INIT("\\z"), "\\z"},
		{STR_INIT("\\b"), "\\b"}, {STR_INIT("\\B"), "\\B"}};
	uint32_t c;
	int r;

	for (size_t i = 0; i < sizeof assertions / sizeof assertions[0]; i++)
		if (take(p, assertions[i].escape))
			return put_assertion(p, out, assertions[i].text);
	buf_char(p->out, '[');
	if ((r = take_property(p)) || (r = take_perl_class(p))) {
		buf_char(p->out, ']');
		return r < 0 ? r : 0;
	}
	p->out->n--;
	if ((r = take_escape(p, &c)) < 0)
		return r;
	put_rune(p->out, c);
	set_literal(p, out, c);
	return 0;
}

static int take_alternatives(struct parse *p, struct piece *out);

static bool is_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_letter((unsigned char)s.p[i]) && !is_digit((unsigned char)s.p[i]) &&
			s.p[i] != '_')
			return false;
	return s.n > 0;
}

/* Names are kept here, not given to PCRE2, which knows fewer: no digit first, at most 32 bytes. */
static int open_group(struct parse *p, struct str name, struct str text)
{
	for (size_t i = 0; name.n && i < p->names.n; i += strlen(p->names.p + i) + 1)
		if (str_eq_c(name, p->names.p + i))
			return refuse(p, "duplicate capture group name", text);
	buf_str(&p->names, name);
	buf_char(&p->names, 0);
	buf_c(p->out, p->captures ? "(" : "(?:");
	return 0;
}

/* "P<name>" or "<name>" behind "(?". */
static int take_group_name(struct parse *p, struct str from)
{
	struct str name;
	ptrdiff_t end;

	if (str_starts(p->rest, STR("<=")) || str_starts(p->rest, STR("<!")))
		return refuse(p, "invalid or unsupported Perl syntax", str_sub(from, 0, 4));
	take(p, STR("P"));
	take(p, STR("<"));
	end = str_chr(p->rest, '>');
	if (end < 0)
		return refuse(p, "invalid named capture", from);
	name = str_make(p->rest.p, (size_t)end);
	p->rest = behind(p->rest, (size_t)end + 1);
	if (!is_name(name))
		return refuse(p, "invalid named capture", since(p, from));
	return open_group(p, name, since(p, from));
}

/* "i-s:" or "i)" behind "(?": sets the flags and writes the group's head.  1 when there is no
 * group, only flags from here on. */
static int take_flags(struct parse *p, struct str from)
{
	static const char letters[] = "imsU";
	static const unsigned bits[] = {FOLD, LINES, DOT_ALL, LAZY};
	unsigned flags = p->flags;
	bool off = false, any = false;
	const char *known;

	while (p->rest.n) {
		uint32_t c = take_rune(p);
		if (c < 0x80 && c && (known = strchr(letters, (int)c))) {
			unsigned bit = bits[known - letters];
			flags = off ? flags & ~bit : flags | bit;
			any = true;
		} else if (c == '-' && !off) {
			off = true;
			any = false;
		} else if ((c == ':' || c == ')') && (any || !off)) {
			p->flags = flags;
			buf_c(p->out, flags & FOLD ? "(?i" : "(?-i");
			buf_char(p->out, (char)c);
			return c == ')';
		} else {
			return refuse(p, "invalid or unsupported Perl syntax", since(p, from));
		}
	}
	return refuse(p, "missing closing )", p->all);
}

static int take_group(struct parse *p, struct piece *out)
{
	struct str from = p->rest;
	unsigned flags = p->flags;
	int r = 0;

	take(p, STR("("));
	if (!take(p, STR("?")))
		r = open_group(p, STR_NONE, from);
	else if (str_starts(p->rest, STR("P<")) || at(p, '<'))
		r = take_group_name(p, from);
	else
		r = take_flags(p, from);
	if (r < 0)
		return r;
	if (r == 1) { /* flags alone: they hold to the end of the group around */
		if (at_repeat(p))
			return refuse(p, "missing argument to repetition operator",
				str_sub(p->rest, 0, 1));
		out->exact = true;
		out->any = nothing;
		return 0;
	}
	if (++p->depth > NEST_MAX)
		return refuse(p, "expression nests too deeply", p->all);
	if ((r = take_alternatives(p, out)) < 0)
		return r;
	p->depth--;
	if (!take(p, STR(")")))
		return refuse(p, "missing closing )", p->all);
	buf_char(p->out, ')');
	p->flags = flags;
	return 0;
}

/* Digits of a repeat count; RE2 takes no leading zeros.  SIZE_MAX for none. */
static size_t take_count(struct parse *p)
{
	size_t v = 0, n = 0;

	for (; p->rest.n && is_digit((unsigned char)p->rest.p[0]); n++) {
		if (n == 1 && v == 0)
			return SIZE_MAX;
		if (v < 100000)
			v = v * 10 + (size_t)(p->rest.p[0] - '0');
		p->rest = behind(p->rest, 1);
	}
	return n ? v : SIZE_MAX;
}

/* "{2,5}": 1 when it is a repeat; else 0 and p is where it was, for `{` is then a character. */
static int take_braces(struct parse *p, size_t *min, size_t *max)
{
	struct str from = p->rest;

	take(p, STR("{"));
	*min = *max = take_count(p);
	if (*min != SIZE_MAX && take(p, STR(",")))
		*max = at(p, '}') ? SIZE_MAX : take_count(p);
	else if (*min == SIZE_MAX)
		p->rest = STR_NONE;
	if (!take(p, STR("}")) || (*max == SIZE_MAX && !str_ends(since(p, from), STR(",}")))) {
		p->rest = from;
		return 0;
	}
	if (*min > REPEAT_MAX || (*max != SIZE_MAX && (*max > REPEAT_MAX || *max < *min)))
		return refuse(p, "invalid repeat count", since(p, from));
	return 1;
}

/* One repeat operator, not written yet: 1 when there is one, 0 when not. */
static int take_repeat(struct parse *p, size_t *min, size_t *max)
{
	*min = at(p, '+');
	*max = at(p, '?') ? 1 : SIZE_MAX;
	if (at(p, '{'))
		return take_braces(p, min, max);
	return take(p, STR("*")) || take(p, STR("+")) || take(p, STR("?"));
}

static void put_repeat(struct parse *p, size_t min, size_t max)
{
	bool lazy = (p->flags & LAZY) != 0;

	if (max == SIZE_MAX && min < 2)
		buf_char(p->out, min ? '+' : '*');
	else if (max == SIZE_MAX)
		buf_printf(p->out, "{%zu,}", min);
	else
		buf_printf(p->out, "{%zu,%zu}", min, max);
	if (take(p, STR("?")))
		lazy = !lazy;
	if (lazy)
		buf_char(p->out, '?');
}

/* The repeat behind a piece, if any, and what it makes of the piece. */
static int repeat_piece(struct parse *p, struct piece *piece, bool group)
{
	struct str from = p->rest;
	size_t min, max, again, counted;
	int r = take_repeat(p, &min, &max);

	if (r <= 0)
		return r;
	put_repeat(p, min, max);
	counted = max != SIZE_MAX ? max : min ? min : 1;
	/* RE2 bounds nested counts by their product, stars by nothing. */
	if (str_starts(from, STR("{"))) {
		piece->repeat *= counted ? (unsigned)counted : 1;
		if (piece->repeat > REPEAT_MAX)
			return refuse(p, "invalid repeat count", since(p, from));
	}
	if (group && counted > 1)
		piece->size *= (unsigned)counted;
	if (piece->size > SIZE_MAX_ATOMS)
		return refuse(p, "expression too large", p->all);
	piece->exact = piece->exact && piece->text.n == 0;
	piece->any.exact = false;
	if (min == 0)
		piece->any.n = 0;
	if (min == 0)
		piece->text = STR_NONE;
	if (piece->text.n)
		piece->exact = false;
	if ((r = take_repeat(p, &again, &again)) < 0)
		return r;
	return r ? refuse(p, "invalid nested repetition operator", since(p, from)) : 0;
}

static int take_atom(struct parse *p, struct piece *out)
{
	struct str from = p->rest;
	size_t min, max;
	uint32_t c;
	int r;

	*out = (struct piece){.size = 1, .repeat = 1};
	switch (p->rest.p[0]) {
	case '(': return take_group(p, out);
	case '[': return take_class(p, out);
	case '\\': return take_backslash(p, out);
	case '.':
		take(p, STR("."));
		buf_c(p->out, p->flags & DOT_ALL ? "." : "\\N");
		return 0;
	case '^':
		take(p, STR("^"));
		return put_assertion(p, out, p->flags & LINES ? "(?m:^)" : "\\A");
	case '$':
		take(p, STR("$"));
		return put_assertion(p, out, p->flags & LINES ? "(?m:$)" : "\\z");
	case '*':
	case '+':
	case '?':
	case '{':
		if ((r = take_repeat(p, &min, &max)) < 0)
			return r;
		if (r == 1)
			return refuse(p, "missing argument to repetition operator", since(p, from));
		__attribute__((fallthrough)); /* a brace like any character */
	default:
		c = take_rune(p);
		put_rune(p->out, c);
		set_literal(p, out, c);
		return 0;
	}
}

static struct str longer(struct str a, struct str b)
{
	return b.n > a.n ? b : a;
}

static void end_run(struct parse *p, struct sequence *s)
{
	if (s->run.n > s->best.n)
		s->best = arena_str(&p->arena, buf_view(&s->run));
	buf_clear(&s->run);
}

static void add_choice(struct parse *p, struct sequence *s, const struct choice *c)
{
	if (c->exact && choice_join(p, &s->tail, *c))
		return;
	choice_keep_better(&s->found, &s->tail);
	choice_keep_better(&s->found, c);
	s->tail = c->exact ? *c : nothing;
	s->whole = false;
}

static int add_piece(struct parse *p, struct sequence *s, const struct piece *piece)
{
	add_choice(p, s, &piece->any);
	if (piece->exact) {
		buf_str(&s->run, piece->text);
	} else {
		end_run(p, s);
		s->best = longer(s->best, piece->text);
		s->exact = false;
	}
	s->size += piece->size;
	s->repeat = piece->repeat > s->repeat ? piece->repeat : s->repeat;
	return s->size > SIZE_MAX_ATOMS ? refuse(p, "expression too large", p->all) : 0;
}

/* \Q…\E: literal characters, a repeat behind applies to the last. */
static int take_quoted(struct parse *p, struct sequence *s)
{
	struct piece piece;
	int r = 0;

	take(p, STR("\\Q"));
	while (r == 0 && p->rest.n && !str_starts(p->rest, STR("\\E"))) {
		uint32_t c = take_rune(p);
		piece = (struct piece){.size = 1, .repeat = 1};
		put_rune(p->out, c);
		set_literal(p, &piece, c);
		if (take(p, STR("\\E"))) {
			if ((r = repeat_piece(p, &piece, false)) == 0)
				r = add_piece(p, s, &piece);
			return r;
		}
		r = add_piece(p, s, &piece);
	}
	take(p, STR("\\E"));
	return r;
}

static int fill_sequence(struct parse *p, struct sequence *s)
{
	struct piece piece;
	int r;

	while (p->rest.n && !at(p, '|') && !at(p, ')')) {
		bool group = at(p, '(');
		if (str_starts(p->rest, STR("\\Q"))) {
			if ((r = take_quoted(p, s)) < 0)
				return r;
			continue;
		}
		if ((r = take_atom(p, &piece)) < 0 || (r = repeat_piece(p, &piece, group)) < 0 ||
			(r = add_piece(p, s, &piece)) < 0)
			return r;
	}
	return 0;
}

static int take_sequence(struct parse *p, struct piece *out)
{
	struct sequence s = {.exact = true, .repeat = 1, .size = 1, .tail = nothing, .whole = true};
	int r = fill_sequence(p, &s);

	end_run(p, &s);
	choice_keep_better(&s.found, &s.tail);
	*out = (struct piece){.any = s.whole ? s.tail : s.found,
		.exact = s.exact,
		.text = s.best,
		.size = s.size,
		.repeat = s.repeat};
	buf_fini(&s.run);
	return r;
}

static int take_alternatives(struct parse *p, struct piece *out)
{
	struct piece branch;
	int r = take_sequence(p, out);

	while (r == 0 && take(p, STR("|"))) {
		buf_char(p->out, '|');
		r = take_sequence(p, &branch);
		choice_unite(p, &out->any, branch.any);
		out->exact = false;
		out->text = STR_NONE;
		out->size += branch.size;
		out->repeat = branch.repeat > out->repeat ? branch.repeat : out->repeat;
	}
	return r;
}

static void put_choice(const struct parse *p, const struct choice *c, struct regex_syntax *out)
{
	if (choice_worth(c) == 0)
		return;
	for (unsigned i = 0; i < c->n; i++) {
		buf_str(&out->choice, c->text[i]);
		out->choice_bytes[i] = c->text[i].n;
	}
	out->n_choices = c->n;
	out->fold = c->fold;
	out->exact = c->exact && !p->loose;
}

int regex_translate(struct str pattern, bool captures, struct regex_syntax *out, struct error *e)
{
	struct parse p = {.all = pattern,
		.rest = pattern,
		.out = &out->pattern,
		.e = e,
		.captures = captures};
	size_t valid = str_utf8_valid(pattern);
	struct piece piece = {0};
	int r;

	*out = (struct regex_syntax){0};
	if (valid < pattern.n)
		return error_set(e, ERR_ARG,
			"error parsing regexp: invalid UTF-8: the pattern is broken at byte %zu",
			valid);
	if (!pattern.n)
		return 0;
	arena_init(&p.arena, NULL);
	r = take_alternatives(&p, &piece);
	if (r == 0 && p.rest.n)
		r = refuse(&p, "unexpected )", pattern);
	if (r == 0) {
		buf_str(&out->literal, piece.text);
		put_choice(&p, &piece.any, out);
	}
	out->names = buf_take(&p.names);
	arena_fini(&p.arena);
	return r;
}

void regex_syntax_fini(struct regex_syntax *s)
{
	buf_fini(&s->pattern);
	buf_fini(&s->literal);
	buf_fini(&s->choice);
	buf_fini(&s->names);
}
