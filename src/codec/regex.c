/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matching by PCRE2's JIT what regex_syntax.c has rewritten.
 *
 * PCRE2 backtracks where RE2 runs in linear time.  What keeps that harmless:
 * no back-references nor look-around reach it, a literal is looked for first,
 * stacks are bounded, and so is work.  PCRE2 counts the steps of backtracking
 * from each place where a match may begin, but neither the places nor the
 * characters that one step runs over: on a short subject that is bound enough.
 * A long one is matched by a second compilation that calls back before each
 * item of the pattern (PCRE2_AUTO_CALLOUT), where the clock is looked at.
 *
 * Log lines need not be UTF-8.  RE2 reads a broken byte as U+FFFD; PCRE2 would
 * refuse the subject.  So a broken subject is matched as a copy with U+FFFD in
 * place of each such byte, and offsets are carried back.  Most lines are ASCII,
 * which is seen at memory speed.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "codec/regex.h"

#include <pcre2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/memory.h"
#include "codec/regex_syntax.h"

enum {
	PATTERN_MAX = 4096,
	NEST_LIMIT = 250,
	STEPS_BASE = 50000,     /* of backtracking from one place … */
	STEPS_PER_BYTE = 16,    /* … and more for each byte of the subject */
	GUARD_BYTES = 2048,     /* longer subjects are watched by the clock */
	GUARD_MS = 250,         /* for one match … */
	GUARD_NS_PER_BYTE = 20, /* … and more, for whole files on one line */
	HEAP_KIB = 8 << 10,     /* of the interpreter, where the JIT's stack did not do */
	STACK_MIN = 32 << 10,
	STACK_MAX = 1 << 20,
	GROUPS_KEPT = 64, /* groups that a thread's match data has room for */
};

struct program {
	pcre2_code *code;
	bool jit;
};

/* Made at the first long subject, by whichever thread meets it. */
struct guarded {
	_Atomic(struct program *) program;
};

struct regex {
	struct program short_one;
	struct guarded *guarded;
	size_t n_groups;
	struct buf pattern, translated, literal, names, choice;
	struct regex_literals literals; /* views into choice */
	struct str texts[REGEX_LITERALS_MAX];
	struct regex_run run;
};

/* What a thread needs to match, kept until it ends. */
struct scratch {
	pcre2_match_data *data;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
	struct buf repaired; /* a broken subject made whole */
};

static _Thread_local struct scratch *mine;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void scratch_free(void *p)
{
	struct scratch *s = p;

	pcre2_match_data_free(s->data);
	pcre2_match_context_free(s->context);
	pcre2_jit_stack_free(s->stack);
	buf_fini(&s->repaired);
	free(s);
	mine = NULL;
}

static void make_key(void)
{
	if (pthread_key_create(&key, scratch_free) != 0)
		abort();
}

static struct scratch *scratch(void)
{
	struct scratch *s = mine;

	if (s)
		return s;
	pthread_once(&once, make_key);
	s = xcalloc(1, sizeof *s);
	s->data = pcre2_match_data_create(GROUPS_KEPT, NULL);
	s->context = pcre2_match_context_create(NULL);
	if (!s->data || !s->context || pthread_setspecific(key, s) != 0)
		abort();
	s->stack = pcre2_jit_stack_create(STACK_MIN, STACK_MAX, NULL);
	if (s->stack)
		pcre2_jit_stack_assign(s->context, NULL, s->stack);
	pcre2_set_heap_limit(s->context, HEAP_KIB);
	return mine = s;
}

static int compile_failed(struct str pattern, int number, struct error *e)
{
	PCRE2_UCHAR8 text[200];

	if (number == PCRE2_ERROR_UNKNOWN_UNICODE_PROPERTY)
		return error_set(e, ERR_ARG,
			"error parsing regexp: invalid character class range: `%.*s`",
			STR_ARG(pattern));
	pcre2_get_error_message_8(number, text, sizeof text);
	return error_set(
		e, ERR_ARG, "error parsing regexp: %s: `%.*s`", (char *)text, STR_ARG(pattern));
}

static int compile(const struct regex *r, uint32_t more, struct program *out, struct error *e)
{
	const uint32_t options = PCRE2_UTF | PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY |
				 PCRE2_ALT_CIRCUMFLEX | PCRE2_NEVER_BACKSLASH_C | more;
	pcre2_compile_context *context = pcre2_compile_context_create(NULL);
	PCRE2_SIZE at;
	int number;

	if (!context)
		abort();
	pcre2_set_newline(context, PCRE2_NEWLINE_LF);
	pcre2_set_parens_nest_limit(context, NEST_LIMIT);
	out->code = pcre2_compile((PCRE2_SPTR)(r->translated.n ? r->translated.p : ""),
		r->translated.n, options, &number, &at, context);
	pcre2_compile_context_free(context);
	if (!out->code)
		return compile_failed(buf_view(&r->pattern), number, e);
	/* Without executable memory (a hardened service) the interpreter does the same, slower. */
	out->jit = pcre2_jit_compile(out->code, PCRE2_JIT_COMPLETE) == 0;
	return 0;
}

static void take_literals(struct regex *r, struct regex_syntax *syntax, bool anchored)
{
	const char *at;

	r->literal = buf_take(&syntax->literal);
	r->choice = buf_take(&syntax->choice);
	at = r->choice.p;
	for (size_t i = 0; i < syntax->n_choices; at += syntax->choice_bytes[i++])
		r->texts[i] = str_make(at, syntax->choice_bytes[i]);
	r->literals = (struct regex_literals){
		r->texts, syntax->n_choices, syntax->fold, syntax->exact && !anchored};
}

static int make(
	struct regex **out, struct str pattern, bool anchored, bool captures, struct error *e)
{
	struct regex_syntax syntax;
	struct regex *r;
	int code;

	if (pattern.n > PATTERN_MAX)
		return error_set(e, ERR_LIMIT,
			"the regular expression has %zu bytes: at most %d are allowed", pattern.n,
			PATTERN_MAX);
	r = xcalloc(1, sizeof *r);
	r->guarded = xcalloc(1, sizeof *r->guarded);
	buf_str(&r->pattern, pattern);
	code = regex_translate(pattern, captures, &syntax, e);
	if (code == 0) {
		buf_printf(&r->translated, anchored ? "\\A(?:%s)\\z" : "%s",
			buf_cstr(&syntax.pattern));
		code = compile(r, 0, &r->short_one, e);
	}
	take_literals(r, &syntax, anchored);
	if (code == 0)
		regex_run_find(&r->run, pattern);
	r->names = buf_take(&syntax.names);
	regex_syntax_fini(&syntax);
	if (code < 0) {
		regex_free(r);
		return code;
	}
	for (size_t i = 0; captures && i < r->names.n; i++)
		r->n_groups += r->names.p[i] == 0;
	*out = r;
	return 0;
}

int regex_new(struct regex **out, struct str pattern, bool anchored, struct error *e)
{
	return make(out, pattern, anchored, false, e);
}

int regex_new_groups(struct regex **out, struct str pattern, struct error *e)
{
	return make(out, pattern, false, true, e);
}

static void program_free(struct program *p)
{
	if (p)
		pcre2_code_free(p->code);
	free(p);
}

void regex_free(struct regex *r)
{
	if (!r)
		return;
	pcre2_code_free(r->short_one.code);
	program_free(atomic_load(&r->guarded->program));
	free(r->guarded);
	buf_fini(&r->pattern);
	buf_fini(&r->translated);
	buf_fini(&r->literal);
	buf_fini(&r->names);
	buf_fini(&r->choice);
	free(r);
}

/* Eight bytes at a time, which the compiler widens further. */
static bool is_ascii(struct str s)
{
	uint64_t seen = 0, word;
	size_t i = 0;

	for (; i + sizeof word <= s.n; i += sizeof word) {
		memcpy(&word, s.p + i, sizeof word);
		seen |= word;
	}
	for (; i < s.n; i++)
		seen |= (uint64_t)(s.p[i] & 0x80);
	return !(seen & 0x8080808080808080ull);
}

/* The subject with U+FFFD for each byte that is not part of valid UTF-8. */
static struct str repair(struct buf *out, struct str s)
{
	buf_clear(out);
	while (s.n) {
		size_t valid = str_utf8_valid(s);
		buf_put(out, s.p, valid);
		if (valid == s.n)
			break;
		buf_c(out, "\xef\xbf\xbd");
		s = str_make(s.p + valid + 1, s.n - valid - 1);
	}
	return buf_view(out);
}

/* Where byte `at` of the repaired subject is in the subject itself, or the other way round. */
static size_t carry(struct str subject, size_t at, bool back)
{
	size_t here = 0, there = 0; /* in the subject, in the repaired one */

	for (;;) {
		size_t valid = str_utf8_valid(str_make(subject.p + here, subject.n - here));
		size_t from = back ? there : here;
		if (at <= from + valid || here + valid == subject.n)
			return back ? here + (at - there) : there + (at - here);
		here += valid + 1;
		there += valid + 3;
	}
}

static uint32_t steps(size_t n)
{
	return n > (UINT32_MAX - STEPS_BASE) / STEPS_PER_BYTE
		       ? UINT32_MAX
		       : STEPS_BASE + STEPS_PER_BYTE * (uint32_t)n;
}

/* The program that calls back; the short one where it cannot be had. */
static const struct program *guarded(const struct regex *r)
{
	struct program *p = atomic_load(&r->guarded->program), *other = NULL;

	if (p)
		return p;
	p = xcalloc(1, sizeof *p);
	if (compile(r, PCRE2_AUTO_CALLOUT, p, NULL) < 0) {
		program_free(p);
		return &r->short_one;
	}
	if (atomic_compare_exchange_strong(&r->guarded->program, &other, p))
		return p;
	program_free(p);
	return other;
}

struct watch {
	int64_t end_ns;
	unsigned calls;
};

/* A few milliseconds coarse, and an order of magnitude cheaper to read. */
static int64_t coarse_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int look_at_clock(pcre2_callout_block *block, void *data)
{
	struct watch *w = data;

	(void)block;
	return ++w->calls % 8 == 0 && coarse_ns() > w->end_ns ? PCRE2_ERROR_MATCHLIMIT : 0;
}

/* `subject` is valid UTF-8.  Offsets are left in the thread's match data. */
static int run(const struct regex *r, struct scratch *s, struct str subject, size_t from)
{
	const struct program *program = &r->short_one;
	PCRE2_SPTR text = (PCRE2_SPTR)(subject.p ? subject.p : "");
	int n = PCRE2_ERROR_JIT_STACKLIMIT;
	struct watch watch = {0};

	if (subject.n > GUARD_BYTES) {
		program = guarded(r);
		watch.end_ns = coarse_ns() + GUARD_MS * INT64_C(1000000) +
			       GUARD_NS_PER_BYTE * (int64_t)subject.n;
	}
	pcre2_set_callout(s->context, program == &r->short_one ? NULL : look_at_clock, &watch);
	pcre2_set_match_limit(s->context, steps(subject.n));
	if (program->jit)
		n = pcre2_jit_match(program->code, text, subject.n, from, 0, s->data, s->context);
	/* The interpreter keeps its frames on the heap: slower, and it has room for more. */
	if (n == PCRE2_ERROR_JIT_STACKLIMIT)
		n = pcre2_match(program->code, text, subject.n, from,
			PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, s->data, s->context);
	return n >= 0 ? 1 : n == PCRE2_ERROR_NOMATCH ? 0 : ERR_LIMIT;
}

static bool lacks_literal(const struct regex *r, struct str subject)
{
	return r->literal.n && str_find(subject, buf_view(&r->literal)) < 0;
}

int regex_match(const struct regex *r, struct str subject)
{
	struct scratch *s = scratch();

	if (lacks_literal(r, subject))
		return 0;
	if (!is_ascii(subject) && str_utf8_valid(subject) < subject.n)
		subject = repair(&s->repaired, subject);
	return run(r, s, subject, 0);
}

int regex_find(const struct regex *r, struct str subject, size_t from, struct str *groups, size_t n)
{
	struct scratch *s = scratch();
	struct str text = subject;
	bool broken;
	int found;

	if (!subject.p)
		text = subject = STR(""); /* groups are views of it, and NULL means another thing */
	if (from > subject.n || lacks_literal(r, str_sub(subject, from, subject.n)))
		return 0;
	broken = !is_ascii(subject) && str_utf8_valid(subject) < subject.n;
	if (broken)
		text = repair(&s->repaired, subject);
	if (broken)
		from = carry(subject, from, false);
	while (from < text.n && (text.p[from] & 0xc0) == 0x80)
		from++; /* a match begins at a character */
	found = run(r, s, text, from);
	if (found <= 0)
		return found;
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(s->data);
	for (size_t i = 0; i < n; i++) {
		groups[i] = STR_NONE;
		if (i > r->n_groups || i >= GROUPS_KEPT || at[2 * i] == PCRE2_UNSET)
			continue;
		size_t start = broken ? carry(subject, at[2 * i], true) : at[2 * i];
		size_t end = broken ? carry(subject, at[2 * i + 1], true) : at[2 * i + 1];
		groups[i] = str_make(subject.p + start, end - start);
	}
	return 1;
}

size_t regex_n_groups(const struct regex *r)
{
	return r->n_groups;
}

const char *regex_group_name(const struct regex *r, size_t i)
{
	const char *name = r->names.p;

	if (i == 0 || i > r->n_groups)
		return "";
	while (--i)
		name += strlen(name) + 1;
	return name;
}

struct str regex_literal(const struct regex *r)
{
	return buf_view(&r->literal);
}

struct regex_literals regex_literals(const struct regex *r)
{
	return r->literals;
}

const struct regex_run *regex_run(const struct regex *r)
{
	return &r->run;
}

struct str regex_pattern(const struct regex *r)
{
	return buf_view(&r->pattern);
}
