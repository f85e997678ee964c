/* SPDX-License-Identifier: Apache-2.0 */
/*
 * | logfmt: key=value key="a value", separated by blanks.  The documentation
 * calls three things bad: a pair without a key (=value), a value with = in it
 * (a=b=c) and a key with a quote in it (a"b=c).  Beside them here: a quote
 * within a value that does not begin with one, one that is not closed, and
 * text right behind a closing one.
 *
 * With --strict a bad pair ends the reading, and the row gets LogfmtParserErr;
 * what stands before it counts.  Else a bad pair is stepped over up to the next
 * blank, so that the rest of a line which is only half logfmt is read; and as
 * nothing can fail, reading ends as soon as all that is wanted was found.
 *
 * Keys without a value, or with an empty one, count only with --keep-empty or
 * when the list names them.
 */
#include <stdlib.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/memory.h"
#include "query/ast.h"
#include "query/quote.h"

enum { PICKED = 64 }; /* names looked for; where more are wanted, all are taken */

struct logfmt {
	struct stage stage;
	bool strict, keep_empty;
	const struct extraction *list;
	size_t n;
};

struct state {
	struct account *account;
	bool all;
	size_t n;
	struct str names[WANTED_TARGETS_MAX]; /* of fields */
	struct str keys[WANTED_TARGETS_MAX];  /* of the line */
	uint64_t lengths;                     /* bit n: some key has n bytes; 63: or more */
	struct buf escaped;
};

struct pair {
	struct str key, value; /* the value as it stands between quotes */
	bool escaped;
};

struct reader {
	const char *p, *start, *end;
	const char *what; /* of a bad pair */
};

/* ---- pairs ---- */

/* The first byte from p on that is no part of a word. */
static inline const char *word_end(const char *p, const char *end)
{
#if defined(__SSE2__)
	const __m128i quote = _mm_set1_epi8('"'), equals = _mm_set1_epi8('=');
	const __m128i blank = _mm_set1_epi8(0x20);

	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i hit = _mm_or_si128(
			_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, equals)),
			_mm_cmpeq_epi8(_mm_min_epu8(v, blank), v));
		unsigned bits = (unsigned)_mm_movemask_epi8(hit);
		if (bits)
			return p + __builtin_ctz(bits);
	}
#endif
	while (p < end && (unsigned char)*p > 0x20 && *p != '"' && *p != '=')
		p++;
	return p;
}

/* The first quote or backslash. */
static inline const char *quoted_end(const char *p, const char *end)
{
#if defined(__SSE2__)
	const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');

	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i hit = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
		unsigned bits = (unsigned)_mm_movemask_epi8(hit);
		if (bits)
			return p + __builtin_ctz(bits);
	}
#endif
	while (p < end && *p != '"' && *p != '\\')
		p++;
	return p;
}

static inline bool is_blank(char c)
{
	return (unsigned char)c <= 0x20;
}

static inline bool bad(struct reader *r, const char *what)
{
	r->what = what;
	return false;
}

/* At the opening quote. */
static bool read_quoted(struct reader *r, struct pair *out)
{
	const char *from = ++r->p;

	for (;;) {
		r->p = quoted_end(r->p, r->end);
		if (r->p == r->end) {
			r->p = from - 1;
			return bad(r, "a quoted value is not closed");
		}
		if (*r->p == '"')
			break;
		out->escaped = true;
		r->p += r->end - r->p > 1 ? 2 : 1;
	}
	out->value = str_make(from, (size_t)(r->p - from));
	r->p++;
	if (r->p < r->end && !is_blank(*r->p))
		return bad(r, "text follows a closing quote");
	return true;
}

/* At no blank: behind the pair.  False with r->p somewhere in a bad one. */
static bool read_pair(struct reader *r, struct pair *out)
{
	const char *from = r->p;

	*out = (struct pair){0};
	r->p = word_end(from, r->end);
	out->key = str_make(from, (size_t)(r->p - from));
	if (r->p < r->end && *r->p == '"')
		return bad(r, "a key has a quote in it");
	if (r->p == r->end || *r->p != '=')
		return true;
	if (out->key.n == 0)
		return bad(r, "a value has no key");
	from = ++r->p;
	if (r->p < r->end && *r->p == '"')
		return read_quoted(r, out);
	r->p = word_end(from, r->end);
	out->value = str_make(from, (size_t)(r->p - from));
	if (r->p < r->end && *r->p == '"')
		return bad(r, "a value has a quote in it");
	if (r->p < r->end && *r->p == '=')
		return bad(r, "a value has = in it");
	return true;
}

static inline void skip_blanks(struct reader *r)
{
	while (r->p < r->end && is_blank(*r->p))
		r->p++;
}

static void skip_word(struct reader *r)
{
	while (r->p < r->end && !is_blank(*r->p))
		r->p++;
}

/* To the next pair with a value, past words without: false when there is none.  For where neither
 * such words count nor bad pairs are told. */
static bool seek_value(struct reader *r)
{
	const char *equals = memchr(r->p, '=', (size_t)(r->end - r->p));
	const char *from = equals;

	while (from && from > r->p && !is_blank(from[-1]))
		from--;
	r->p = from ? from : r->end;
	return from != NULL;
}

/* ---- values ---- */

/* With Go's escapes, and JSON's slash.  One that is neither stays as it is written where that is
 * allowed. */
static bool unescape(struct state *st, struct str s, bool strict, struct fields *f, struct str *out)
{
	struct buf *b = &st->escaped;
	struct str at = s;
	char *p;

	buf_clear(b);
	while (at.n) {
		ptrdiff_t slash = str_chr(at, '\\');
		size_t plain = slash < 0 ? at.n : (size_t)slash, had, n;
		buf_put(b, at.p, plain);
		at = str_sub(at, plain, at.n);
		if (at.n == 0)
			break;
		had = b->n;
		if (at.n > 1 && (at.p[1] == '/' || at.p[1] == '\'')) {
			buf_char(b, at.p[1]);
			n = 2;
		} else if (!(n = quote_go_escape(b, at))) {
			if (strict)
				return false;
			b->n = had;
			buf_char(b, '\\');
			n = 1;
		}
		at = str_sub(at, n, at.n);
	}
	p = fields_text(f, b->n);
	if (b->n)
		memcpy(p, b->p, b->n);
	*out = str_make(p, b->n);
	return true;
}

static bool is_plain(struct str key)
{
	for (size_t i = 0; i < key.n; i++)
		if (!label_name_char((unsigned char)key.p[i]))
			return false;
	return key.n == 0 || !(key.p[0] >= '0' && key.p[0] <= '9');
}

static uint64_t length_bit(size_t n)
{
	return 1ull << (n < 63 ? n : 63);
}

/* Those of `open` that the key is. */
static uint64_t match(const struct logfmt *l, const struct state *st, struct str key, uint64_t open)
{
	uint64_t hits = 0;

	if (st->lengths & length_bit(key.n))
		for (uint64_t left = open; left; left &= left - 1) {
			size_t i = (size_t)__builtin_ctzll(left);
			if (str_eq(st->keys[i], key))
				hits |= 1ull << i;
		}
	if (hits || l->n || is_plain(key))
		return hits;
	for (uint64_t left = open; left; left &= left - 1) {
		size_t i = (size_t)__builtin_ctzll(left);
		if (label_name_is(st->keys[i], key, true))
			hits |= 1ull << i;
	}
	return hits;
}

/* ---- the stage ---- */

static void *begin(const struct stage *s, const struct wanted *behind, struct account *a)
{
	const struct logfmt *l = (const struct logfmt *)s;
	struct state *st = xcalloc(1, sizeof *st);

	for (size_t i = 0; i < l->n; i++) {
		if (!wanted_has(behind, l->list[i].name))
			continue;
		st->names[st->n] = l->list[i].name;
		st->keys[st->n++] = l->list[i].path;
	}
	if (l->n == 0 && !behind->all) {
		st->n = wanted_targets(behind, st->keys);
		memcpy(st->names, st->keys, sizeof st->names);
	}
	st->all = l->n == 0 && (behind->all || st->n > PICKED);
	for (size_t i = 0; i < st->n; i++)
		st->lengths |= length_bit(st->keys[i].n);
	st->account = a;
	if (a)
		account_force(a, sizeof *st);
	return st;
}

static void end(void *state)
{
	struct state *st = state;

	account_release(st->account, sizeof *st);
	buf_fini(&st->escaped);
	free(st);
}

/* True when the row has room for more. */
static bool put_pair(const struct state *st, struct fields *f, const struct pair *p,
	struct str value, uint64_t hits)
{
	bool fits = true;

	if (st->all)
		return fields_parsed(f, p->key, value);
	for (; hits; hits &= hits - 1)
		fits &= fields_parsed(f, st->names[__builtin_ctzll(hits)], value);
	return fits;
}

/* False when the pair is bad after all. */
static bool take(const struct logfmt *l, struct state *st, struct reader *r, const struct pair *p,
	uint64_t *open, struct fields *f)
{
	uint64_t hits = st->all ? 0 : match(l, st, p->key, *open);
	bool wanted = st->all || hits;
	struct str value = p->value;

	if (p->escaped && (wanted || l->strict) && !unescape(st, p->value, l->strict, f, &value))
		return bad(r, "unknown escape in a quoted value");
	if (!wanted || (value.n == 0 && !l->keep_empty && l->n == 0))
		return true;
	*open &= ~hits;
	if (!put_pair(st, f, p, value, hits))
		fields_fail(f, "LogfmtParserErr", "more than %d fields: the rest is left out",
			FIELDS_MAX);
	return true;
}

static int run(const struct stage *s, void *state, struct pipe_row *row)
{
	const struct logfmt *l = (const struct logfmt *)s;
	struct reader r = {.p = row->line.p, .start = row->line.p};
	struct state *st = state;
	uint64_t open = st->all || st->n == PICKED ? ~0ull : (1ull << st->n) - 1;
	bool may_seek = !l->strict && !l->keep_empty && l->n == 0, seek = false;
	struct pair p;

	r.end = row->line.n ? r.p + row->line.n : r.p;
	while (open || l->strict) {
		skip_blanks(&r);
		if (r.p == r.end || (seek && !seek_value(&r)))
			break;
		seek = false;
		if (read_pair(&r, &p)) {
			/* A word alone: more of them may follow, as in plain text. */
			seek = may_seek && !p.value.p;
			if (seek || take(l, st, &r, &p, &open, row->fields))
				continue;
		}
		if (l->strict) {
			fields_fail(row->fields, "LogfmtParserErr", "bad logfmt at byte %zu: %s",
				(size_t)(r.p - r.start), r.what);
			break;
		}
		skip_word(&r);
	}
	return 1;
}

static void wants(const struct stage *s, struct wanted *w)
{
	w->line = true;
}

static void format(const struct stage *s, struct buf *out)
{
	const struct logfmt *l = (const struct logfmt *)s;

	buf_c(out, "| logfmt");
	buf_c(out, l->strict ? " --strict" : "");
	buf_c(out, l->keep_empty ? " --keep-empty" : "");
	for (size_t i = 0; i < l->n; i++) {
		buf_c(out, i ? ", " : " ");
		buf_str(out, l->list[i].name);
		buf_char(out, '=');
		quote_go(out, l->list[i].path);
	}
}

#define LOGFMT                                                                                     \
	.name = "logfmt", .columns = SCAN_BODY, .wants = wants, .begin = begin, .end = end,        \
	.run = run, .format = format

static const struct stage_type strict_logfmt = {LOGFMT, .may_fail = true};
static const struct stage_type lenient_logfmt = {LOGFMT, .only_adds = true};

/* A key that no line has would be a mistake. */
static int check_key(struct str key, struct error *e)
{
	if (key.n == 0)
		return error_set(e, ERR_ARG, "logfmt: the name of a key is empty");
	if (word_end(key.p, key.p + key.n) != key.p + key.n)
		return error_set(e, ERR_ARG,
			"logfmt: \"%.*s\" is no key: it has a blank, = or a quote in it",
			STR_ARG(key));
	return 0;
}

int logfmt_new(struct query *q, bool strict, bool keep_empty, const struct extraction *list,
	size_t n, struct stage **out, struct error *e)
{
	struct logfmt *l = ARENA_NEW(&q->arena, struct logfmt);
	int r;

	if (n > PICKED)
		return error_set(e, ERR_ARG,
			"logfmt takes out %zu fields by name, at most %d are allowed", n, PICKED);
	for (size_t i = 0; i < n; i++)
		if ((r = check_key(list[i].path, e)) < 0)
			return r;
	*l = (struct logfmt){
		{.type = strict ? &strict_logfmt : &lenient_logfmt}, strict, keep_empty, list, n};
	*out = &l->stage;
	return 0;
}
