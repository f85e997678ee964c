/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  A trace is written right behind the line of the logger that tells of
 * it, so the question is never "does a trace begin here" but "does this line
 * go on with what stands before it".  Each language is a small machine:
 *
 *   TEXT ──head──► HEAD ──frame──► FRAMES ──frame, cause──► FRAMES
 *     └─────────────────────frame────▲
 *
 * A head ("java.lang.IllegalStateException: no", "Traceback (most recent call
 * last):") goes on with a line that looks like a logger's; else, as when a
 * program prints nothing but the trace, it begins a record.  All tests look at
 * the start of a line alone, or at its length once.
 */
#include "input/multiline.h"

#include "record/severity.h"

enum { TEXT, HEAD, FRAMES, LAST, BLANK, GROUP };

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' ||
	       (uint8_t)c >= 0x80;
}

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool indented(struct str s)
{
	return s.n > 0 && blank(s.p[0]);
}

static struct str unindent(struct str s)
{
	while (indented(s))
		s = str_sub(s, 1, s.n);
	return s;
}

static bool starts(struct str s, const char *text)
{
	return str_starts(s, str_c(text));
}

static bool contains(struct str s, const char *text)
{
	return str_find(s, str_c(text)) >= 0;
}

/* Of the texts that rules look for inside a line ("Traceback", "panic", ":in "), may one stand in
 * it?  Nearly no line has them, and four searches in each of all lines took longer than the rest of
 * the way of a line: so one pass for all, which compilers make vectors of. */
static bool marked(struct str s)
{
	uint8_t any = 0;

	for (size_t i = 0; i + 2 < s.n; i++)
		any |= ((s.p[i] == 'T') & (s.p[i + 1] == 'r') & (s.p[i + 2] == 'a')) |
		       ((s.p[i] == 'p') & (s.p[i + 1] == 'a') & (s.p[i + 2] == 'n')) |
		       ((s.p[i] == ':') & (s.p[i + 1] == 'i') & (s.p[i + 2] == 'n'));
	return any;
}

/* Nothing but white space. */
static bool empty(struct str s)
{
	return str_trim(s).n == 0;
}

/* Digits, and then `text`. */
static bool number_then(struct str s, const char *text)
{
	size_t n = 0;

	while (n < s.n && digit(s.p[n]))
		n++;
	return n > 0 && starts(str_sub(s, n, s.n), text);
}

/* Does a logger's line look like this?  One that begins with a time or a level, or names one. */
static bool logged(struct str s)
{
	return s.n > 0 && (digit(s.p[0]) || s.p[0] == '[' || severity_detect(s) > 0);
}

/* A class with its package that is thrown: "a.b.SomeException", "a.b.C$DError: text". */
static bool thrown(struct str s)
{
	static const char *const ends[] = {"Exception", "Error", "Throwable", "Failure", "Fault"};
	size_t n = 0, dots = 0;
	struct str name;

	while (n < s.n && (letter(s.p[n]) || digit(s.p[n]) || s.p[n] == '.' || s.p[n] == '`'))
		dots += s.p[n++] == '.';
	name = str_sub(s, 0, n);
	if (dots == 0 || !letter(s.p[0]))
		return false;
	if (n < s.n && s.p[n] != ':' && s.p[n] != '\r' && !starts(str_sub(s, n, s.n), " ("))
		return false;
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		if (str_ends(name, str_c(ends[i])))
			return true;
	}
	return false;
}

/* Java. */

static bool java_frame(struct str s)
{
	struct str t = unindent(s);

	if (t.n < s.n && (starts(t, "at ") || starts(t, "- locked ") || starts(t, "- waiting ") ||
				 starts(t, "- parking ") || starts(t, "- eliminated ")))
		return true;
	if (starts(t, "... ") && number_then(str_sub(t, 4, t.n), " "))
		return contains(t, " more") || contains(t, " common frames omitted") ||
		       contains(t, " filtered");
	return starts(t, "Caused by: ") || starts(t, "Suppressed: ") || starts(t, "Wrapped by: ") ||
	       starts(t, "[CIRCULAR REFERENCE");
}

static enum trace_answer java(uint8_t *at, struct str previous, struct str s)
{
	if (java_frame(s)) {
		*at = FRAMES;
		return TRACE_YES;
	}
	if (*at == TEXT && thrown(s) && logged(previous)) {
		*at = HEAD;
		return TRACE_YES;
	}
	return TRACE_NO;
}

/* Python. */

static bool python_head(struct str s)
{
	return starts(s, "Traceback (most recent call last):") || starts(s, "  File \"") ||
	       starts(s, "  + Exception Group Traceback");
}

static void python_begin(uint8_t *at, struct str s, bool may_contain)
{
	if (python_head(s))
		*at = starts(s, "  +") ? GROUP : FRAMES;
	else if (may_contain && contains(s, "Traceback (most recent call last):"))
		*at = FRAMES;
	else
		*at = TEXT;
}

static enum trace_answer python(uint8_t *at, struct str previous, struct str s)
{
	switch (*at) {
	case TEXT:
		if (!python_head(s) || !logged(previous))
			return TRACE_NO;
		python_begin(at, s, true);
		return TRACE_YES;
	case FRAMES:
		if (indented(s)) {
			if (starts(s, "  + Exception Group Traceback"))
				*at = GROUP;
			return TRACE_YES;
		}
		if (empty(s))
			return TRACE_NO;
		*at = LAST; /* "ValueError: text" */
		return TRACE_YES;
	case GROUP:
		if (indented(s))
			return TRACE_YES;
		/* fall through */
	case LAST:
	case BLANK:
		if (empty(s)) {
			*at = BLANK;
			return TRACE_MAYBE;
		}
		if (*at != BLANK || !(starts(s, "During handling of the above exception") ||
					    starts(s, "The above exception was the direct cause")))
			return TRACE_NO;
		*at = HEAD;
		return TRACE_YES;
	case HEAD: /* the next one of the chain is due */
		if (python_head(s))
			python_begin(at, s, true);
		return python_head(s) || empty(s) ? TRACE_YES : TRACE_NO;
	default: return TRACE_NO;
	}
}

/* Go. */

static bool go_routine(struct str s)
{
	return starts(s, "goroutine ") && number_then(str_sub(s, 10, s.n), " ");
}

static bool go_panic(struct str s)
{
	return starts(s, "panic: ") || starts(s, "fatal error: ") || starts(s, "SIGQUIT: ") ||
	       starts(s, "SIGABRT: ") || starts(s, "unexpected fault address ");
}

static void go_begin(uint8_t *at, struct str s, bool may_contain)
{
	if (go_routine(s))
		*at = FRAMES;
	else if (go_panic(s) ||
		 (may_contain && (contains(s, "panic serving ") || contains(s, "panic: "))))
		*at = HEAD;
	else
		*at = TEXT;
}

/* "main.f(0x1, ...)", "created by main.main", a register of a dump. */
static bool go_frame(struct str s)
{
	struct str t = str_trim(s);

	if (s.n == 0)
		return false;
	if (s.p[0] == '\t' || starts(s, "created by ") || starts(s, "exit status ") ||
		starts(s, "[originating from ") || starts(s, "...") ||
		starts(s, "goroutine running"))
		return true;
	if (letter(s.p[0]) && t.p[t.n - 1] == ')' && str_chr(t, '(') > 0 && str_chr(t, ' ') != 0)
		return str_find(str_sub(t, 0, (size_t)str_chr(t, '(')), STR(" ")) < 0;
	return contains(s, " 0x") && str_trim(str_sub(s, 0, 7)).n <= 6 && letter(s.p[0]);
}

static enum trace_answer go(uint8_t *at, struct str previous, struct str s)
{
	bool maybe = *at == BLANK;

	(void)previous;
	if (*at == TEXT)
		return TRACE_NO;
	if (go_routine(s)) {
		*at = FRAMES;
		return TRACE_YES;
	}
	if (empty(s)) {
		*at = BLANK;
		return TRACE_MAYBE;
	}
	if (maybe && go_frame(s) && s.p[0] != '\t' && contains(s, " 0x")) {
		*at = FRAMES; /* registers */
		return TRACE_YES;
	}
	if (*at == HEAD && (indented(s) || starts(s, "[signal ") || starts(s, "PC=") ||
				   starts(s, "runtime stack:") || starts(s, "goroutine ") ||
				   starts(s, "[recovered") || go_panic(s)))
		return TRACE_YES;
	if (maybe && (starts(s, "runtime stack:") || starts(s, "exit status "))) {
		*at = FRAMES;
		return TRACE_YES;
	}
	return *at == FRAMES && go_frame(s) ? TRACE_YES : TRACE_NO;
}

/* Ruby. */

/* "app/x.rb:12:in " */
static bool ruby_place(struct str s)
{
	ptrdiff_t at = str_find(s, STR(":in "));
	struct str place;
	size_t n;

	if (at < 4)
		return false;
	place = str_sub(s, 0, (size_t)at);
	for (n = place.n; n > 0 && digit(place.p[n - 1]); n--)
		;
	return n > 3 && n < place.n && place.p[n - 1] == ':' &&
	       (str_find(place, STR(".rb:")) >= 0 || str_find(place, STR(".erb:")) >= 0 ||
		       str_find(place, STR(".ru:")) >= 0 || str_find(place, STR(".rake:")) >= 0 ||
		       s.p[0] == '<' || s.p[0] == '/') &&
	       str_chr(place, ' ') < 0;
}

static void ruby_begin(uint8_t *at, struct str s, bool may_contain)
{
	*at = may_contain && ruby_place(s) ? HEAD : TEXT;
}

static enum trace_answer ruby(uint8_t *at, struct str previous, struct str s)
{
	struct str t = unindent(s);

	(void)previous;
	if (t.n < s.n && ((starts(t, "from ") && ruby_place(str_sub(t, 5, t.n))) ||
				 number_then(t, ": from "))) {
		*at = FRAMES;
		return TRACE_YES;
	}
	if (!marked(t) || !ruby_place(t))
		return TRACE_NO;
	/* Of two heads the second is the cause, if the first had frames. */
	if (*at != FRAMES && t.n == s.n && contains(t, ": ") && str_ends(str_trim(t), STR(")")))
		return TRACE_NO;
	*at = FRAMES;
	return TRACE_YES;
}

/* PHP. */

/* Behind "[21-Aug-2026 10:00:00 UTC] " and "PHP ", which error_log writes before each line. */
static struct str php_line(struct str s, bool *prefixed)
{
	ptrdiff_t end = s.n > 0 && s.p[0] == '[' ? str_find(s, STR("] ")) : -1;

	*prefixed = end > 0;
	if (end > 0)
		s = str_sub(s, (size_t)end + 2, s.n);
	return starts(s, "PHP ") ? unindent(str_sub(s, 4, s.n)) : s;
}

static enum trace_answer php(uint8_t *at, struct str previous, struct str s)
{
	bool prefixed;
	struct str t = php_line(s, &prefixed);

	(void)previous;
	if (starts(t, "Stack trace:") || (!prefixed && starts(t, "[stacktrace]"))) {
		*at = FRAMES;
		return TRACE_YES;
	}
	if (t.n > 1 && t.p[0] == '#' && number_then(str_sub(t, 1, t.n), " ") && *at == FRAMES)
		return TRACE_YES;
	if (*at != FRAMES && *at != BLANK)
		return TRACE_NO;
	if (number_then(t, ". ") && (prefixed || t.n < s.n))
		return TRACE_YES;
	if (*at == FRAMES && (starts(unindent(t), "thrown in ") || starts(t, "\"}")))
		return TRACE_YES;
	if (empty(s)) {
		*at = BLANK;
		return TRACE_MAYBE;
	}
	if (starts(t, "Next ")) {
		*at = FRAMES;
		return TRACE_YES;
	}
	return TRACE_NO;
}

/* .NET. */

/* "fail: App.Worker[0]": its text follows on indented lines. */
static bool dotnet_console(struct str s)
{
	struct str t = str_trim(s);

	return t.n > 8 && starts(str_sub(t, 4, t.n), ": ") && t.p[t.n - 1] == ']' &&
	       (starts(t, "info") || starts(t, "warn") || starts(t, "fail") || starts(t, "crit") ||
		       starts(t, "dbug") || starts(t, "trce"));
}

static enum trace_answer dotnet(uint8_t *at, struct str previous, struct str s)
{
	struct str t = unindent(s);

	if (*at == GROUP && starts(s, "      "))
		return TRACE_YES;
	if ((t.n < s.n && starts(t, "at ")) || starts(t, "---> ") ||
		(starts(t, "--- End of ") && contains(t, " ---"))) {
		*at = *at == GROUP ? GROUP : FRAMES;
		return TRACE_YES;
	}
	if (*at == TEXT && thrown(s) && logged(previous)) {
		*at = HEAD;
		return TRACE_YES;
	}
	return TRACE_NO;
}

/* All of them. */

static const struct {
	const char *name;
	enum trace_answer (*continues)(uint8_t *at, struct str previous, struct str line);
} machines[TRACE_RULES] = {
	[TRACE_JAVA] = {"java", java},
	[TRACE_PYTHON] = {"python", python},
	[TRACE_GO] = {"go", go},
	[TRACE_RUBY] = {"ruby", ruby},
	[TRACE_PHP] = {"php", php},
	[TRACE_DOTNET] = {"dotnet", dotnet},
};

int trace_rules(struct str name, unsigned *rules, struct error *e)
{
	*rules = 0;
	for (unsigned i = 0; i < TRACE_RULES; i++) {
		if (str_eq_c(name, machines[i].name) || str_eq(name, STR("all")))
			*rules |= 1u << i;
	}
	if (*rules == 0)
		return error_set(e, ERR_ARG,
			"\"%.*s\" is none of java, python, go, ruby, php, dotnet, all",
			STR_ARG(name));
	return 0;
}

void trace_begin(unsigned rules, struct str line, struct trace *t)
{
	static const unsigned looking = 1u << TRACE_PYTHON | 1u << TRACE_GO | 1u << TRACE_RUBY;
	bool may_contain = rules & looking && marked(line);

	*t = (struct trace){0};
	if (rules & 1u << TRACE_JAVA)
		t->at[TRACE_JAVA] = thrown(line) ? HEAD : TEXT;
	if (rules & 1u << TRACE_PYTHON)
		python_begin(&t->at[TRACE_PYTHON], line, may_contain);
	if (rules & 1u << TRACE_GO)
		go_begin(&t->at[TRACE_GO], line, may_contain);
	if (rules & 1u << TRACE_RUBY)
		ruby_begin(&t->at[TRACE_RUBY], line, may_contain);
	if (rules & 1u << TRACE_DOTNET)
		t->at[TRACE_DOTNET] = dotnet_console(line) ? GROUP : thrown(line) ? HEAD : TEXT;
}

enum trace_answer trace_continues(
	unsigned rules, struct trace *t, struct str previous, struct str line)
{
	enum trace_answer best = TRACE_NO;

	for (unsigned i = 0; i < TRACE_RULES; i++) {
		enum trace_answer a;

		if (!(rules & 1u << i))
			continue;
		a = machines[i].continues(&t->at[i], previous, line);
		if (a == TRACE_YES)
			return TRACE_YES;
		best = a == TRACE_MAYBE ? a : best;
	}
	return best;
}
