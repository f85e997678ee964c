/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why not json_parse: for one wanted field of a short line most of its time goes
 * into copying the line, two passes over it and a node for each token.  Here
 * each byte is looked at once, in steps of 16 within strings, and nothing is
 * stored but what was asked for.  Measured by stages_bench on lines of 290
 * bytes with 17 values: 155 ns to check a line, 195 with one field taken into
 * the row; json_parse takes 240 to 290 before anybody looks at its nodes.
 *
 * What may still be found is a set of bits, one for each name or path.  Going
 * into an object or array narrows the set to those that continue with the key
 * in hand; a value no bit is left for is skipped by a loop that knows only
 * grammar.  A name such as a_b can be the key "a_b", or b in the object a: for
 * names, continuing means that the key is followed by _ in the name.
 *
 * A line is read to its end also when all was found, as its answer must not
 * depend on what else a query asks for: a line is JSON or it is not.
 */
#include "query/json_line.h"

#include <stdlib.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/memory.h"
#include "codec/json_text.h"
#include "codec/rune.h"
#include "query/quote.h"
#include "query/wanted.h"

enum { DEPTH_MAX = 64 }; /* as codec/json.h; the kinds of open containers fit one word */

struct reader {
	const char *p, *end;
	struct json_line *line;
	struct fields *fields;
	uint64_t open; /* names or paths not found yet */
	unsigned depth;
	const char *what;  /* NULL: no error yet */
	const char *where; /* of the error */
};

/* What is asked of a value. */
struct frame {
	uint64_t self;   /* those that it is */
	uint64_t inside; /* those that may lie in it */
	size_t pos;      /* names: bytes of them that are matched; paths: steps */
	struct str name; /* all: the keys so far */
};

struct key {
	struct str text; /* between the quotes */
	bool plain;      /* a label name as it stands, where no digit in front matters */
	bool escaped;
};

static bool fail(struct reader *r, const char *where, const char *what)
{
	if (!r->what) {
		r->what = what;
		r->where = where;
	}
	return false;
}

/* ---- strings ---- */

/* The first byte from p on that is no plain ASCII character of a string. */
static inline const char *plain_end(const char *p, const char *end)
{
#if defined(__SSE2__)
	const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
	const __m128i space = _mm_set1_epi8(0x20);

	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		/* Signed: bytes of other than ASCII are below the blank too. */
		__m128i hit = _mm_or_si128(
			_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)),
			_mm_cmplt_epi8(v, space));
		unsigned bits = (unsigned)_mm_movemask_epi8(hit);
		if (bits)
			return p + __builtin_ctz(bits);
	}
#endif
	while (p < end && *p >= 0x20 && *p != '"' && *p != '\\' && (unsigned char)*p < 0x80)
		p++;
	return p;
}

/* *p stands behind "\u" and moves behind the character, which may take a second "\uXXXX".  NULL,
 * or what is wrong. */
static const char *read_unicode(const char **p, const char *end, uint32_t *out)
{
	uint32_t high, low;

	if (!json_hex4(*p, end, &high))
		return "\\u needs four hexadecimal digits";
	*p += 4;
	*out = high;
	if (high < 0xd800 || high > 0xdfff)
		return NULL;
	if (high > 0xdbff || end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u' ||
		!json_hex4(*p + 2, end, &low) || low < 0xdc00 || low > 0xdfff)
		return "half of a surrogate pair";
	*p += 6;
	*out = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
	return NULL;
}

static char simple_escape(char c)
{
	switch (c) {
	case '"':
	case '\\':
	case '/': return c;
	case 'b': return '\b';
	case 'f': return '\f';
	case 'n': return '\n';
	case 'r': return '\r';
	case 't': return '\t';
	default: return 0;
	}
}

/* p is at the backslash; behind the escape, NULL on error. */
static const char *skip_escape(struct reader *r, const char *p)
{
	const char *slash = p++, *what;
	uint32_t c;

	if (p < r->end && *p == 'u') {
		p++;
		if (!(what = read_unicode(&p, r->end, &c)))
			return p;
		fail(r, slash, what);
		return NULL;
	}
	if (p < r->end && simple_escape(*p))
		return p + 1;
	fail(r, slash, "unknown escape in a string");
	return NULL;
}

/* p is at a character that is not ASCII. */
static const char *skip_utf8(struct reader *r, const char *p)
{
	unsigned char c = (unsigned char)*p;
	size_t n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

	if ((size_t)(r->end - p) < n || str_utf8_valid(str_make(p, n)) != n) {
		fail(r, p, "invalid UTF-8");
		return NULL;
	}
	return p + n;
}

/* p is at something that ended a plain run: behind it, or at the closing quote. */
static const char *skip_special(struct reader *r, const char *p, const char *opened, bool *escaped)
{
	if (p == r->end) {
		fail(r, opened, "the string is not closed");
		return NULL;
	}
	if (*p == '\\') {
		*escaped = true;
		return skip_escape(r, p);
	}
	if ((unsigned char)*p >= 0x80)
		return skip_utf8(r, p);
	fail(r, p, "a control character in a string must be escaped");
	return NULL;
}

/* r->p is at the opening quote, and moves behind the closing one. */
static inline bool read_string(struct reader *r, struct str *inside, bool *escaped)
{
	const char *opened = r->p, *p = opened + 1;

	for (;;) {
		p = plain_end(p, r->end);
		if (p < r->end && *p == '"')
			break;
		if (!(p = skip_special(r, p, opened, escaped)))
			return false;
	}
	*inside = str_make(opened + 1, (size_t)(p - opened) - 1);
	r->p = p + 1;
	return true;
}

/* Of a string that read_string accepted. */
static struct str unescape(struct fields *f, struct str s)
{
	const char *from = s.p, *end = s.p + s.n;
	char *text = fields_text(f, s.n), *to = text;

	while (from < end) {
		const char *slash = memchr(from, '\\', (size_t)(end - from));
		size_t plain = (size_t)((slash ? slash : end) - from);
		uint32_t c;
		to = mempcpy(to, from, plain);
		if (!slash)
			break;
		from = slash + 2;
		if (slash[1] != 'u') {
			*to++ = simple_escape(slash[1]);
			continue;
		}
		read_unicode(&from, end, &c);
		to += rune_encode(to, c);
	}
	return str_make(text, (size_t)(to - text));
}

/* ---- scalars ---- */

static bool read_number(struct reader *r, struct str *out)
{
	const char *end = json_number_end(r->p, r->end);

	if (!end)
		return fail(r, r->p, "not a number");
	*out = str_make(r->p, (size_t)(end - r->p));
	r->p = end;
	return true;
}

static bool read_word(struct reader *r, struct str *out)
{
	static const struct str words[] = {STR_INIT("null"), STR_INIT("true"), STR_INIT("false")};
	struct str rest = str_make(r->p, (size_t)(r->end - r->p));

	for (int i = 0; i < 3; i++) {
		struct str word = words[i];
		if (!str_starts(rest, word) || (rest.n > word.n && !json_is_end(rest.p[word.n])))
			continue;
		*out = str_make(r->p, word.n);
		r->p += word.n;
		return true;
	}
	return fail(r, r->p, "expected a value");
}

static inline void skip_space(struct reader *r)
{
	while (r->p < r->end && json_is_space(*r->p))
		r->p++;
}

/* ---- what nobody asked for ---- */

static bool skip_key(struct reader *r)
{
	struct str text;
	bool escaped;

	if (r->p == r->end || *r->p != '"')
		return fail(r, r->p, "expected a key");
	if (!read_string(r, &text, &escaped))
		return false;
	skip_space(r);
	if (r->p == r->end || *r->p != ':')
		return fail(r, r->p, "expected ':'");
	r->p++;
	skip_space(r);
	return true;
}

static bool skip_scalar(struct reader *r)
{
	struct str text;
	bool escaped;
	char c;

	if (r->p == r->end)
		return fail(r, r->p, "a value is missing");
	c = *r->p;
	if (c == '"')
		return read_string(r, &text, &escaped);
	return c == '-' || json_is_digit(c) ? read_number(r, &text) : read_word(r, &text);
}

/* At a bracket: into it.  *value says whether a value comes next, or its end. */
static bool skip_open(struct reader *r, bool object, bool *value)
{
	r->p++;
	skip_space(r);
	*value = r->p == r->end || *r->p != (object ? '}' : ']');
	return !*value || !object || skip_key(r);
}

/* At a value, or (`value` false) behind one, within `n` containers whose kinds are the low bits of
 * `objects`: step over all that is left of it and them. */
static bool skip(struct reader *r, uint64_t objects, unsigned n, bool value)
{
	for (;;) {
		bool object;
		if (value && r->p < r->end && (*r->p == '{' || *r->p == '[')) {
			object = *r->p == '{';
			if (r->depth + n++ == DEPTH_MAX)
				return fail(r, r->p, "nested deeper than 64");
			objects = objects << 1 | object;
			if (!skip_open(r, object, &value))
				return false;
			continue;
		}
		if (value && !skip_scalar(r))
			return false;
		if (n == 0)
			return true;
		object = objects & 1;
		skip_space(r);
		if (r->p == r->end)
			return fail(r, r->p, "the array or object is not closed");
		value = *r->p == ',';
		if (!value && *r->p != (object ? '}' : ']'))
			return fail(
				r, r->p, object ? "expected ',' or '}'" : "expected ',' or ']'");
		r->p++;
		if (value) {
			skip_space(r);
			if (object && !skip_key(r))
				return false;
		} else {
			objects >>= 1;
			n--;
		}
	}
}

/* A value that nobody asked for.  Most are strings. */
static inline bool skip_value(struct reader *r)
{
	struct str text;
	bool escaped;

	if (r->p < r->end && *r->p == '"')
		return read_string(r, &text, &escaped);
	return skip(r, 0, 0, true);
}

/* ---- what was asked for ---- */

static void found(struct reader *r, struct str name, struct str value, size_t at)
{
	struct json_line *line = r->line;

	if (line->n_found == JSON_LINE_FOUND) {
		line->more = true;
		return;
	}
	if (line->n_found == line->cap) {
		line->cap = line->cap ? 2 * line->cap : 32;
		line->found = xrealloc(line->found, line->cap * sizeof *line->found);
	}
	line->found[line->n_found++] = (struct json_found){name, value, at};
}

static void take(struct reader *r, const struct frame *f, struct str value)
{
	struct json_line *line = r->line;
	uint64_t self = f->self & r->open;

	if (line->take == JSON_TAKE_ALL || line->take == JSON_TAKE_STRINGS) {
		found(r, f->name, value, 0);
		return;
	}
	for (r->open &= ~self; self; self &= self - 1) {
		size_t at = (size_t)__builtin_ctzll(self);
		found(r, line->take == JSON_TAKE_NAMES ? line->names[at] : STR_NONE, value, at);
	}
}

static struct frame into_all(struct reader *r, const struct frame *f, const struct key *key)
{
	struct frame in = {.self = ~0ull, .inside = ~0ull, .pos = 1};
	struct str text = key->escaped ? unescape(r->fields, key->text) : key->text;
	char *p;

	if (f->pos == 0) {
		in.name = text;
		return in;
	}
	p = fields_text(r->fields, f->name.n + 1 + text.n);
	in.name = str_make(p, f->name.n + 1 + text.n);
	p = f->name.n ? mempcpy(p, f->name.p, f->name.n) : p;
	*p++ = '_';
	if (text.n)
		memcpy(p, text.p, text.n);
	return in;
}

static struct frame into_names(struct reader *r, const struct frame *f, const struct key *key)
{
	struct str text = key->escaped ? unescape(r->fields, key->text) : key->text;
	bool first = f->pos == 0,
	     plain = key->plain && !(first && text.n && json_is_digit(text.p[0]));
	/* Bytes of the name that are matched, and the _ behind those of a container. */
	size_t n = plain ? text.n : label_name_length(text, first);
	struct frame in = {.pos = f->pos + n + 1};

	for (uint64_t left = f->inside & r->open; left; left &= left - 1) {
		size_t at = (size_t)__builtin_ctzll(left);
		struct str name = r->line->names[at], rest = str_sub(name, f->pos, name.n);
		if (rest.n < n || (rest.n > n && rest.p[n] != '_'))
			continue;
		if (plain ? n && memcmp(rest.p, text.p, n)
			  : !label_name_is(str_sub(rest, 0, n), text, first))
			continue;
		if (rest.n == n)
			in.self |= 1ull << at;
		else
			in.inside |= 1ull << at;
	}
	return in;
}

/* By a key, or (NULL) the index of an array. */
static struct frame into_paths(
	struct reader *r, const struct frame *f, const struct key *key, uint32_t index)
{
	struct frame in = {.pos = f->pos + 1};
	struct str text = STR_NONE;

	if (key)
		text = key->escaped ? unescape(r->fields, key->text) : key->text;
	for (uint64_t left = f->inside & r->open; left; left &= left - 1) {
		size_t at = (size_t)__builtin_ctzll(left);
		const struct json_path *path = &r->line->paths[at];
		const struct json_step *step = &path->steps[f->pos];
		if (key ? !step->key.p || !str_eq(step->key, text)
			: step->key.p || step->index != index)
			continue;
		if (f->pos + 1 == path->n)
			in.self |= 1ull << at;
		else
			in.inside |= 1ull << at;
	}
	return in;
}

static struct frame into_key(struct reader *r, const struct frame *f, const struct key *key)
{
	switch (r->line->take) {
	case JSON_TAKE_NAMES: return into_names(r, f, key);
	case JSON_TAKE_PATHS: return into_paths(r, f, key, 0);
	case JSON_TAKE_STRINGS:
	case JSON_TAKE_ALL: break;
	}
	return into_all(r, f, key);
}

/* At a key: behind it and its colon, at the value. */
static bool read_key(struct reader *r, struct key *out)
{
	const char *p = r->p + 1;

	if (r->p == r->end || *r->p != '"')
		return fail(r, r->p, "expected a key");
	/* Most keys are short and plain, too short for steps of 16. */
	while (p < r->end && label_name_char((unsigned char)*p))
		p++;
	*out = (struct key){.plain = true};
	if (p < r->end && *p == '"') {
		out->text = str_make(r->p + 1, (size_t)(p - r->p) - 1);
		r->p = p + 1;
	} else {
		out->plain = false;
		if (!read_string(r, &out->text, &out->escaped))
			return false;
	}
	skip_space(r);
	if (r->p == r->end || *r->p != ':')
		return fail(r, r->p, "expected ':'");
	r->p++;
	skip_space(r);
	return true;
}

static bool read_value(struct reader *r, const struct frame *f);

/* Behind a value of a container: true when another follows, which r->p is at then; *done when the
 * container is closed.  False with neither on error. */
static bool read_comma(struct reader *r, char close, bool *done)
{
	skip_space(r);
	*done = r->p < r->end && *r->p == close;
	if (*done) {
		r->p++;
		return false;
	}
	if (r->p == r->end)
		return fail(r, r->p, "the array or object is not closed");
	if (*r->p != ',')
		return fail(r, r->p, close == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
	r->p++;
	skip_space(r);
	return true;
}

static bool read_object(struct reader *r, const struct frame *f)
{
	struct key key;
	bool done;

	do {
		struct frame in;
		if (!read_key(r, &key))
			return false;
		in = into_key(r, f, &key);
		if (in.self | in.inside ? !read_value(r, &in) : !skip_value(r))
			return false;
		if (!(f->inside & r->open)) {
			r->depth--;
			return skip(r, 1, 1, false);
		}
	} while (read_comma(r, '}', &done));
	r->depth--;
	return done;
}

static bool read_array(struct reader *r, const struct frame *f)
{
	uint32_t index = 0;
	bool done;

	do {
		struct frame in = into_paths(r, f, NULL, index++);
		if (in.self | in.inside ? !read_value(r, &in) : !skip_value(r))
			return false;
		if (!(f->inside & r->open)) {
			r->depth--;
			return skip(r, 0, 1, false);
		}
	} while (read_comma(r, ']', &done));
	r->depth--;
	return done;
}

/* At a bracket. */
static bool read_container(struct reader *r, const struct frame *f)
{
	bool object = *r->p == '{', deeper = f->inside != 0;
	const char *from = r->p;

	if (r->line->take == JSON_TAKE_STRINGS)
		deeper = f->pos == 0;
	else if (r->line->take != JSON_TAKE_PATHS)
		deeper &= object;
	if (!deeper) {
		if (!skip(r, 0, 0, true))
			return false;
	} else {
		if (r->depth++ == DEPTH_MAX)
			return fail(r, r->p, "nested deeper than 64");
		r->p++;
		skip_space(r);
		if (r->p < r->end && *r->p == (object ? '}' : ']')) {
			r->p++;
			r->depth--;
		} else if (object ? !read_object(r, f) : !read_array(r, f)) {
			return false;
		}
	}
	if (r->line->take == JSON_TAKE_PATHS && f->self)
		take(r, f, str_make(from, (size_t)(r->p - from)));
	return true;
}

static bool read_value(struct reader *r, const struct frame *f)
{
	bool escaped = false;
	struct str text;

	if (r->p == r->end)
		return fail(r, r->p, "a value is missing");
	if (*r->p == '{' || *r->p == '[')
		return read_container(r, f);
	if (*r->p == '"') {
		if (!read_string(r, &text, &escaped))
			return false;
		if (f->self & r->open)
			take(r, f, escaped ? unescape(r->fields, text) : text);
		return true;
	}
	if (*r->p == '-' || json_is_digit(*r->p) ? !read_number(r, &text) : !read_word(r, &text))
		return false;
	if ((f->self & r->open) && text.p[0] != 'n' && r->line->take != JSON_TAKE_STRINGS)
		take(r, f, text);
	return true;
}

bool json_line_read(struct json_line *line, struct str text, struct fields *f)
{
	struct reader r = {.p = text.p, .end = text.p + text.n, .line = line, .fields = f};
	bool picks = line->take == JSON_TAKE_NAMES || line->take == JSON_TAKE_PATHS, ok;
	struct frame top = {0};

	if (text.n == 0)
		r.p = r.end = "";
	r.open = !picks || line->n_picked == 64 ? ~0ull : (1ull << line->n_picked) - 1;
	top.inside = r.open;
	line->n_found = 0;
	line->more = false;
	skip_space(&r);
	if (r.p == r.end || (*r.p != '{' && (*r.p != '[' || line->take != JSON_TAKE_PATHS)))
		ok = fail(&r, r.p, "the line is not an object");
	else
		ok = read_value(&r, &top);
	skip_space(&r);
	if (ok && r.p < r.end)
		ok = fail(&r, r.p, "more text after the value");
	line->what = r.what;
	line->at = ok || text.n == 0 ? 0 : (size_t)(r.where - text.p);
	return ok;
}

void json_line_fini(struct json_line *r)
{
	free(r->found);
	r->found = NULL;
	r->n_found = r->cap = 0;
}

/* ---- paths ---- */

static bool path_char(char c)
{
	return c != '.' && c != '[' && c != ']' && c != '"' && (unsigned char)c > 0x20;
}

static int path_error(struct str text, struct error *e, const char *what)
{
	return error_set(e, ERR_ARG,
		"json: \"%.*s\" is no path (such as a.b, list[0] or a[\"a key\"]): %s",
		STR_ARG(text), what);
}

/* What stands in brackets, at the start of *rest, which moves behind them. */
static const char *read_bracket(struct arena *a, struct str *rest, struct json_step *out)
{
	struct buf key = {0};
	size_t n = 1;
	uint64_t index;

	if (rest->n > 1 && rest->p[1] == '"') {
		for (n = 2; n < rest->n && rest->p[n] != '"'; n++)
			n += rest->p[n] == '\\';
		if (n + 1 >= rest->n || rest->p[n + 1] != ']')
			return "a key in brackets ends with \"]";
		if (!quote_go_read(&key, str_sub(*rest, 2, n))) {
			buf_fini(&key);
			return "an unknown escape in a key";
		}
		out->key = arena_str(a, buf_view(&key));
		buf_fini(&key);
		*rest = str_sub(*rest, n + 2, rest->n);
		return NULL;
	}
	while (n < rest->n && json_is_digit(rest->p[n]))
		n++;
	if (n >= rest->n || rest->p[n] != ']' || !str_u64(str_sub(*rest, 1, n), &index) ||
		index > UINT32_MAX)
		return "brackets hold a number or a key in quotes";
	out->index = (uint32_t)index;
	*rest = str_sub(*rest, n + 1, rest->n);
	return NULL;
}

int json_path_parse(struct arena *a, struct str text, struct json_path *out, struct error *e)
{
	struct str rest = str_trim(text);
	/* A step takes a character at least. */
	struct json_step *steps = ARENA_ARRAY(a, struct json_step, rest.n + 1);
	const char *what;
	size_t n = 0, end;

	if (rest.n == 0)
		return path_error(text, e, "it is empty");
	while (rest.n) {
		if (rest.p[0] == '[') {
			if ((what = read_bracket(a, &rest, &steps[n++])))
				return path_error(text, e, what);
			continue;
		}
		if (n && rest.p[0] != '.')
			return path_error(text, e, "expected . or [ after a step");
		if (n)
			rest = str_sub(rest, 1, rest.n);
		for (end = 0; end < rest.n && path_char(rest.p[end]);)
			end++;
		if (end == 0)
			return path_error(text, e, "a key is missing");
		steps[n++].key = str_sub(rest, 0, end);
		rest = str_sub(rest, end, rest.n);
	}
	*out = (struct json_path){steps, n};
	return 0;
}
