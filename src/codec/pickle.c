/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pickle is a program for a machine with a stack and a memo:
 *
 *     }           an empty dict
 *     q 0         remember it as 0
 *     (           mark
 *     X len msg   a text, …
 *     u           take all down to the mark as keys and values of the dict
 *     .           stop: the value on the stack is the result
 *
 * This is that machine without the one thing that makes it dangerous: a name
 * (GLOBAL) is a value that has the name and nothing more, and calling it
 * (REDUCE, NEWOBJ, …) makes a value out of name and arguments (pickle_call).
 *
 * Reading is a loop and never recursion, so no nesting can overflow; values
 * may hold each other in a circle, and who walks them counts the depth.  Each
 * opcode makes at most one value, and what it copies passes pickle_take, which
 * knows the limit: so time and memory follow from the length of the input.
 * Items of a container move to a larger run when it grows, and the old one
 * stays until the next pickle: at most as much again.
 */
#include "codec/pickle.h"

#include <assert.h>
#include <endian.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/pickle_node.h"
#include "codec/rune.h"

enum {
	CHUNK = 32 << 10,
	PROTOCOL_MAX = 5,
	LINE_MAX_BYTES = 1 << 20, /* of a name, a number or an index in text */
	DECIMAL_BYTES = 128,      /* larger integers are shown in hexadecimal: it costs no time */
	INT_DIGITS = 18,          /* always fit */
	KEPT_MAX = 8 << 10, /* values that stack and memo keep room for until the next pickle */
};

struct chunk {
	struct chunk *next;
	size_t size;
	_Alignas(16) char bytes[];
};

struct node pickle_none = {.v.kind = PICKLE_NONE};
struct node pickle_true = {.v = {.kind = PICKLE_BOOL, .b = true}};
struct node pickle_false = {.v = {.kind = PICKLE_BOOL, .b = false}};

typedef int operation(struct pickle *p);
struct opcode {
	const char *name;
	operation *run;
};
static const struct opcode opcodes[256];

/* ---- errors and memory ---- */

void pickle_set_error(struct pickle *p, int code, const char *fmt, ...)
{
	const char *name = NULL;
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (p->op_at < p->in.n)
		name = opcodes[(uint8_t)p->in.p[p->op_at]].name;
	if (p->protocol == PICKLE_IS_LITERAL)
		error_set(p->e, code, "literal at byte %zu: %s", p->op_at, text);
	else if (name)
		error_set(p->e, code, "pickle: %s at byte %zu: %s", name, p->op_at, text);
	else
		error_set(p->e, code, "pickle: byte %zu: %s", p->op_at, text);
}

static struct chunk *new_chunk(size_t size)
{
	struct chunk *c = xmalloc(sizeof *c + size);

	c->size = size;
	c->next = NULL;
	return c;
}

static void *take_slowly(struct pickle *p, size_t n)
{
	bool large = n > CHUNK / 2;
	struct chunk *c;

	if (n > p->most || p->used > p->most - n)
		return NULL;
	if (!large || !p->chunks) {
		c = new_chunk(CHUNK);
		c->next = p->chunks;
		p->chunks = c;
		p->free_at = c->bytes;
		p->n_free = CHUNK;
	}
	if (!large)
		return pickle_take(p, n);
	/* A large one has a chunk for itself; what is left of the current one goes on. */
	c = new_chunk(n);
	c->next = p->chunks->next;
	p->chunks->next = c;
	p->used += n;
	return c->bytes;
}

void *pickle_take(struct pickle *p, size_t n)
{
	void *taken = p->free_at;

	n = (n + 7) & ~(size_t)7;
	if (__builtin_expect(n > p->n_free || p->used > p->most - n, 0))
		return take_slowly(p, n);
	p->used += n;
	p->free_at += n;
	p->n_free -= n;
	return taken;
}

static void shrink(struct node ***array, size_t *cap)
{
	if (*cap <= KEPT_MAX)
		return;
	free(*array);
	*array = NULL;
	*cap = 0;
}

/* All but one chunk, which the next pickle starts with. */
static void forget(struct pickle *p)
{
	while (p->chunks && p->chunks->next) {
		struct chunk *second = p->chunks->next;
		p->chunks->next = second->next;
		free(second);
	}
	if (p->chunks) {
		p->free_at = p->chunks->bytes;
		p->n_free = p->chunks->size;
	}
	shrink(&p->stack, &p->stack_cap);
	shrink(&p->memo, &p->memo_cap);
	if (p->scratch.cap > KEPT_MAX * sizeof *p->stack)
		buf_fini(&p->scratch);
	p->used = p->n_values = p->n_stack = p->n_memo = p->n_marks = 0;
}

struct pickle *pickle_new(size_t bytes)
{
	struct pickle *p = xcalloc(1, sizeof *p);

	assert(bytes >= CHUNK);
	p->most = bytes;
	return p;
}

void pickle_free(struct pickle *p)
{
	if (!p)
		return;
	forget(p);
	free(p->chunks);
	free(p->stack);
	free(p->memo);
	buf_fini(&p->scratch);
	free(p);
}

struct node *pickle_node(struct pickle *p, enum pickle_kind kind)
{
	struct node *n;

	if (p->n_values >= PICKLE_VALUES_MAX) {
		pickle_set_error(p, ERR_LIMIT, "more than %d values", PICKLE_VALUES_MAX);
		return NULL;
	}
	if (!(n = pickle_take(p, sizeof *n))) {
		pickle_fail_memory(p);
		return NULL;
	}
	p->n_values++;
	memset(n, 0, sizeof *n);
	n->v.kind = kind;
	return n;
}

static int reserve_items(struct pickle *p, struct node *n, size_t more)
{
	struct pickle_value **items;
	size_t cap = n->v.n + more;

	if (cap <= n->cap)
		return 0;
	/* The first items mostly come all at once. */
	if (n->v.n && cap < n->v.n * 2)
		cap = n->v.n * 2;
	if (cap > UINT32_MAX || !(items = pickle_take(p, cap * sizeof *items)))
		return pickle_fail_memory(p);
	if (n->v.n)
		memcpy(items, n->v.items, n->v.n * sizeof *items);
	n->v.items = items;
	n->cap = (uint32_t)cap;
	return 0;
}

static int append_items(struct pickle *p, struct node *to, struct node **items, size_t n)
{
	int r;

	if (n == 0)
		return 0;
	if ((r = reserve_items(p, to, n)) < 0)
		return r;
	memcpy(to->v.items + to->v.n, items, n * sizeof *items);
	to->v.n += n;
	return 0;
}

int pickle_append(struct pickle *p, struct node *to, struct node *item)
{
	return append_items(p, to, &item, 1);
}

struct str pickle_copy(struct pickle *p, struct str s)
{
	char *copy = pickle_take(p, s.n + 1);

	if (!copy) {
		pickle_fail_memory(p);
		return STR_NONE;
	}
	if (s.n)
		memcpy(copy, s.p, s.n);
	return str_make(copy, s.n);
}

/* ---- stack, marks, memo ---- */

static int grow(struct pickle *p, struct node ***array, size_t *cap)
{
	size_t more = *cap ? *cap : 64;

	if ((*cap + more) * sizeof **array > p->most)
		return pickle_fail_memory(p);
	*array = xrealloc(*array, (*cap + more) * sizeof **array);
	*cap += more;
	return 0;
}

/* A NULL is the failure of who made the value. */
static inline int push(struct pickle *p, struct node *n)
{
	int r;

	if (!n)
		return p->e->code;
	if (p->n_stack == p->stack_cap && (r = grow(p, &p->stack, &p->stack_cap)) < 0)
		return r;
	p->stack[p->n_stack++] = n;
	return 0;
}

/* Nothing can be taken from below the last mark. */
static inline size_t height(const struct pickle *p)
{
	return p->n_stack - (p->n_marks ? p->marks[p->n_marks - 1] : 0);
}

static int need(struct pickle *p, size_t n)
{
	if (height(p) >= n)
		return 0;
	return pickle_fail(p, ERR_CORRUPT, "needs %zu value%s on the stack, there %s %zu", n,
		n == 1 ? "" : "s", height(p) == 1 ? "is" : "are", height(p));
}

static struct node *top(const struct pickle *p)
{
	return p->stack[p->n_stack - 1];
}

/* All above the last mark, which goes. */
static int take_mark(struct pickle *p, struct node ***items, size_t *n)
{
	size_t from;

	if (p->n_marks == 0)
		return pickle_fail(p, ERR_CORRUPT, "no mark on the stack");
	from = p->marks[--p->n_marks];
	*items = p->stack ? p->stack + from : NULL; /* NULL + 0 is undefined in C */
	*n = p->n_stack - from;
	p->n_stack = from;
	return 0;
}

static int remember(struct pickle *p, uint64_t index)
{
	int r;

	if ((r = need(p, 1)) < 0)
		return r;
	if (index >= PICKLE_MEMO_MAX)
		return pickle_fail(p, ERR_LIMIT, "memo index %ju: at most %d", (uintmax_t)index,
			PICKLE_MEMO_MAX);
	while (index >= p->memo_cap)
		if ((r = grow(p, &p->memo, &p->memo_cap)) < 0)
			return r;
	while (p->n_memo <= index)
		p->memo[p->n_memo++] = NULL;
	p->memo[index] = top(p);
	return 0;
}

static int recall(struct pickle *p, uint64_t index)
{
	if (index >= p->n_memo || !p->memo[index])
		return pickle_fail(p, ERR_CORRUPT, "nothing in the memo at %ju", (uintmax_t)index);
	return push(p, p->memo[index]);
}

/* ---- arguments in the input ---- */

static int take_bytes(struct pickle *p, uint64_t n, struct str *out)
{
	if (n > p->in.n - p->at)
		return pickle_fail(p, ERR_CORRUPT, "needs %ju bytes, %zu are left", (uintmax_t)n,
			p->in.n - p->at);
	*out = str_make(p->in.p + p->at, n);
	p->at += n;
	return 0;
}

/* A little-endian number of `size` bytes. */
static int take_number(struct pickle *p, size_t size, uint64_t *out)
{
	struct str s;
	uint64_t v = 0;
	int r;

	if ((r = take_bytes(p, size, &s)) < 0)
		return r;
	memcpy(&v, s.p, size);
	*out = le64toh(v);
	return 0;
}

/* Up to a line end, without it. */
static int take_line(struct pickle *p, struct str *out)
{
	struct str rest = str_sub(p->in, p->at, p->in.n);
	ptrdiff_t n = str_chr(rest, '\n');

	if (n < 0)
		return pickle_fail(p, ERR_CORRUPT, "its line has no end");
	*out = str_sub(rest, 0, (size_t)n);
	p->at += (size_t)n + 1;
	return 0;
}

/* ---- numbers ---- */

static struct node *make_int(struct pickle *p, int64_t v)
{
	struct node *n = pickle_node(p, PICKLE_INT);

	if (n)
		n->v.i = v;
	return n;
}

static struct node *make_float(struct pickle *p, double v)
{
	struct node *n = pickle_node(p, PICKLE_FLOAT);

	if (n)
		n->v.f = v;
	return n;
}

static int op_binint(struct pickle *p)
{
	uint64_t v;
	int r = take_number(p, 4, &v);

	return r < 0 ? r : push(p, make_int(p, (int32_t)(uint32_t)v));
}

static int op_binint1(struct pickle *p)
{
	uint64_t v;
	int r = take_number(p, 1, &v);

	return r < 0 ? r : push(p, make_int(p, (int64_t)v));
}

static int op_binint2(struct pickle *p)
{
	uint64_t v;
	int r = take_number(p, 2, &v);

	return r < 0 ? r : push(p, make_int(p, (int64_t)v));
}

/* A view of the digits stays, without zeros and plus in front. */
struct node *pickle_decimal(struct pickle *p, struct str s)
{
	bool negative = s.n && s.p[0] == '-';
	struct str digits = str_sub(s, s.n && (s.p[0] == '-' || s.p[0] == '+'), s.n);
	bool good = digits.n > 0;
	struct node *n;
	int64_t v;

	for (size_t i = 0; i < digits.n; i++)
		good &= digits.p[i] >= '0' && digits.p[i] <= '9';
	if (!good) {
		pickle_set_error(p, ERR_CORRUPT, "not a number");
		return NULL;
	}
	while (digits.n > 1 && digits.p[0] == '0')
		digits = str_sub(digits, 1, digits.n);
	if (digits.n <= INT_DIGITS && str_i64(digits, &v))
		return make_int(p, negative ? -v : v);
	if (!(n = pickle_node(p, PICKLE_BIG)))
		return NULL;
	n->v.text = digits;
	if (negative) {
		buf_clear(&p->scratch);
		buf_char(&p->scratch, '-');
		buf_str(&p->scratch, digits);
		if (!(n->v.text = pickle_copy(p, buf_view(&p->scratch))).p)
			return NULL;
	}
	if (str_i64(n->v.text, &v))
		n->v = (struct pickle_value){.kind = PICKLE_INT, .i = v};
	return n;
}

static int op_int(struct pickle *p)
{
	struct str line;
	int r = take_line(p, &line);

	if (r < 0)
		return r;
	if (str_eq(line, STR("00")) || str_eq(line, STR("01")))
		return push(p, line.p[1] == '1' ? &pickle_true : &pickle_false);
	return push(p, pickle_decimal(p, str_trim(line)));
}

static int op_long(struct pickle *p)
{
	struct str line;
	int r = take_line(p, &line);

	if (r < 0)
		return r;
	line = str_trim(line);
	if (line.n && line.p[line.n - 1] == 'L')
		line.n--;
	return push(p, pickle_decimal(p, line));
}

/* Large integers come as two's complement, the lowest byte first.  The magnitude, likewise, in
 * words; the caller frees it. */
static uint32_t *magnitude(struct str s, bool negative, size_t *n_words)
{
	uint32_t carry = negative, *words;

	*n_words = s.n / 4 + 1;
	words = xcalloc(*n_words, sizeof *words);
	for (size_t i = 0; i < s.n; i++) {
		uint32_t byte = (uint8_t)s.p[i];
		if (negative) {
			byte = (~byte & 0xff) + carry;
			carry = byte >> 8;
			byte &= 0xff;
		}
		words[i / 4] |= byte << (i % 4 * 8);
	}
	words[s.n / 4] |= carry << (s.n % 4 * 8);
	while (*n_words > 1 && words[*n_words - 1] == 0)
		--*n_words;
	return words;
}

static void put_decimal(struct buf *out, uint32_t *words, size_t n)
{
	uint32_t digits[DECIMAL_BYTES / 3];
	size_t n_digits = 0;

	while (n) {
		uint64_t left = 0;
		for (size_t i = n; i-- > 0;) {
			left = left << 32 | words[i];
			words[i] = (uint32_t)(left / 1000000000);
			left %= 1000000000;
		}
		while (n && words[n - 1] == 0)
			n--;
		digits[n_digits++] = (uint32_t)left;
	}
	for (size_t i = n_digits; i-- > 0;)
		buf_printf(out, i == n_digits - 1 ? "%u" : "%09u", digits[i]);
}

static void put_hexadecimal(struct buf *out, const uint32_t *words, size_t n)
{
	buf_printf(out, "0x%x", words[n - 1]);
	for (size_t i = n - 1; i-- > 0;) {
		char *to = buf_reserve(out, 8);
		for (int k = 0; k < 8; k++)
			to[k] = "0123456789abcdef"[words[i] >> (28 - 4 * k) & 15];
		out->n += 8;
	}
}

static int put_long(struct pickle *p, struct str s)
{
	bool negative = s.n && (s.p[s.n - 1] & 0x80);
	uint8_t filling = negative ? 0xff : 0;
	struct node *n;
	uint32_t *words;
	size_t n_words;
	uint64_t v;

	while (s.n > 8 && (uint8_t)s.p[s.n - 1] == filling &&
		((s.p[s.n - 2] ^ filling) & 0x80) == 0)
		s.n--;
	if (s.n <= 8) {
		v = negative ? UINT64_MAX : 0;
		v = htole64(v);
		if (s.n)
			memcpy(&v, s.p, s.n);
		return push(p, make_int(p, (int64_t)le64toh(v)));
	}
	if (s.n > p->most / 2)
		return pickle_fail_memory(p);
	if (!(n = pickle_node(p, PICKLE_BIG)))
		return p->e->code;
	words = magnitude(s, negative, &n_words);
	buf_clear(&p->scratch);
	if (negative)
		buf_char(&p->scratch, '-');
	if (s.n <= DECIMAL_BYTES)
		put_decimal(&p->scratch, words, n_words);
	else
		put_hexadecimal(&p->scratch, words, n_words);
	free(words);
	n->v.text = pickle_copy(p, buf_view(&p->scratch));
	return n->v.text.p ? push(p, n) : p->e->code;
}

static int op_long1(struct pickle *p)
{
	struct str s;
	uint64_t n;
	int r;

	if ((r = take_number(p, 1, &n)) < 0 || (r = take_bytes(p, n, &s)) < 0)
		return r;
	return put_long(p, s);
}

static int op_long4(struct pickle *p)
{
	struct str s;
	uint64_t n;
	int r;

	if ((r = take_number(p, 4, &n)) < 0 || (r = take_bytes(p, n, &s)) < 0)
		return r;
	return put_long(p, s);
}

static int op_float(struct pickle *p)
{
	struct str line;
	double v;
	int r = take_line(p, &line);

	if (r < 0)
		return r;
	line = str_trim(line);
	if (str_eq(line, STR("inf")) || str_eq(line, STR("-inf")))
		v = line.p[0] == '-' ? -INFINITY : INFINITY;
	else if (str_eq(line, STR("nan")) || str_eq(line, STR("-nan")))
		v = NAN;
	else if (!str_double(line, &v))
		return pickle_fail(p, ERR_CORRUPT, "not a number");
	return push(p, make_float(p, v));
}

static int op_binfloat(struct pickle *p)
{
	uint64_t bits;
	double v;
	int r = take_number(p, 8, &bits);

	if (r < 0)
		return r;
	bits = __builtin_bswap64(bits);
	memcpy(&v, &bits, sizeof v);
	return push(p, make_float(p, v));
}

static int op_none(struct pickle *p)
{
	return push(p, &pickle_none);
}

static int op_true(struct pickle *p)
{
	return push(p, &pickle_true);
}

static int op_false(struct pickle *p)
{
	return push(p, &pickle_false);
}

/* ---- texts and bytes ---- */

static int put_text(struct pickle *p, struct str s)
{
	struct node *n = pickle_node(p, PICKLE_TEXT);

	if (n && !(n->v.text = pickle_utf8(p, s)).p)
		return p->e->code;
	return push(p, n);
}

static struct node *make_bytes(struct pickle *p, struct str s)
{
	struct node *n = pickle_node(p, PICKLE_BYTES);

	if (n)
		n->v.text = s.p ? s : STR("");
	return n;
}

/* Python 2's str is text or bytes: UTF-8 is text, other bytes are read as Latin-1, and kept for
 * the constructors that want bytes. */
static int put_str(struct pickle *p, struct str s)
{
	struct node *n, *bytes;

	if (str_utf8_valid(s) == s.n)
		return put_text(p, s);
	if (!(n = pickle_node(p, PICKLE_TEXT)) || !(bytes = make_bytes(p, s)))
		return p->e->code;
	buf_clear(&p->scratch);
	for (size_t i = 0; i < s.n; i++)
		rune_put(&p->scratch, (uint8_t)s.p[i]);
	n->extra = bytes;
	n->v.text = pickle_copy(p, buf_view(&p->scratch));
	return n->v.text.p ? push(p, n) : p->e->code;
}

/* An opcode with a length of `size` bytes in front. */
static int counted(struct pickle *p, size_t size, int (*put)(struct pickle *p, struct str s))
{
	struct str s;
	uint64_t n;
	int r;

	if ((r = take_number(p, size, &n)) < 0 || (r = take_bytes(p, n, &s)) < 0)
		return r;
	return put(p, s);
}

static int put_bytes(struct pickle *p, struct str s)
{
	return push(p, make_bytes(p, s));
}

static int put_bytearray(struct pickle *p, struct str s)
{
	struct node *n = make_bytes(p, s);

	if (n)
		n->label = STR("bytearray");
	return push(p, n);
}

static int op_binunicode(struct pickle *p)
{
	return counted(p, 4, put_text);
}

static int op_short_binunicode(struct pickle *p)
{
	return counted(p, 1, put_text);
}

static int op_binunicode8(struct pickle *p)
{
	return counted(p, 8, put_text);
}

static int op_binstring(struct pickle *p)
{
	return counted(p, 4, put_str);
}

static int op_short_binstring(struct pickle *p)
{
	return counted(p, 1, put_str);
}

static int op_binbytes(struct pickle *p)
{
	return counted(p, 4, put_bytes);
}

static int op_short_binbytes(struct pickle *p)
{
	return counted(p, 1, put_bytes);
}

static int op_binbytes8(struct pickle *p)
{
	return counted(p, 8, put_bytes);
}

static int op_bytearray8(struct pickle *p)
{
	return counted(p, 8, put_bytearray);
}

/* A quoted string as Python 2's repr() wrote it. */
static int op_string(struct pickle *p)
{
	struct str line, copy;
	int r = take_line(p, &line);

	if (r < 0)
		return r;
	line = str_trim(line);
	if (line.n < 2 || line.p[0] != line.p[line.n - 1] ||
		(line.p[0] != '\'' && line.p[0] != '"'))
		return pickle_fail(p, ERR_CORRUPT, "its text is not in quotes");
	line = str_sub(line, 1, line.n - 1);
	if (str_chr(line, '\\') < 0)
		return put_str(p, line);
	buf_clear(&p->scratch);
	for (size_t i = 0; i < line.n;) {
		if (line.p[i] != '\\') {
			buf_char(&p->scratch, line.p[i++]);
			continue;
		}
		if (++i == line.n || !pickle_unescape(line, &i, true, &p->scratch))
			return pickle_fail(p, ERR_CORRUPT, "bad escape in its text");
	}
	copy = pickle_copy(p, buf_view(&p->scratch));
	return copy.p ? put_str(p, copy) : p->e->code;
}

/* Latin-1 with \uXXXX and \UXXXXXXXX. */
static int op_unicode(struct pickle *p)
{
	struct str line;
	struct node *n;
	uint32_t rune;
	int r = take_line(p, &line);

	if (r < 0)
		return r;
	if (!(n = pickle_node(p, PICKLE_TEXT)))
		return p->e->code;
	buf_clear(&p->scratch);
	for (size_t i = 0; i < line.n;) {
		char next = i + 1 < line.n ? line.p[i + 1] : 0;
		size_t digits = next == 'u' ? 4 : 8;
		if (line.p[i] != '\\' || (next != 'u' && next != 'U')) {
			/* A backslash takes the one behind it along, which then escapes nothing. */
			size_t both = line.p[i] == '\\' && i + 1 < line.n ? 2 : 1;
			for (size_t end = i + both; i < end; i++)
				rune_put(&p->scratch, (uint8_t)line.p[i]);
			continue;
		}
		if (!pickle_hex(line, i + 2, digits, &rune) || rune > 0x10ffff)
			return pickle_fail(p, ERR_CORRUPT, "bad escape in its text");
		rune_put(&p->scratch, rune);
		i += 2 + digits;
	}
	n->v.text = pickle_copy(p, buf_view(&p->scratch));
	return n->v.text.p ? push(p, n) : p->e->code;
}

/* ---- containers ---- */

static int push_new(struct pickle *p, enum pickle_kind kind)
{
	return push(p, pickle_node(p, kind));
}

static int op_empty_dict(struct pickle *p)
{
	return push_new(p, PICKLE_DICT);
}

static int op_empty_list(struct pickle *p)
{
	return push_new(p, PICKLE_LIST);
}

static int op_empty_tuple(struct pickle *p)
{
	return push_new(p, PICKLE_TUPLE);
}

static int op_empty_set(struct pickle *p)
{
	return push_new(p, PICKLE_SET);
}

static int op_mark(struct pickle *p)
{
	if (p->n_marks == PICKLE_DEPTH_MAX)
		return pickle_fail(p, ERR_LIMIT, "more than %d marks", PICKLE_DEPTH_MAX);
	p->marks[p->n_marks++] = p->n_stack;
	return 0;
}

/* A container of all above the mark. */
static struct node *collect(struct pickle *p, enum pickle_kind kind)
{
	struct node **items, *made;
	size_t n = 0;

	if (take_mark(p, &items, &n) < 0)
		return NULL;
	if (kind == PICKLE_DICT && n % 2) {
		pickle_set_error(p, ERR_CORRUPT, "a key has no value");
		return NULL;
	}
	made = pickle_node(p, kind);
	return made && append_items(p, made, items, n) == 0 ? made : NULL;
}

static int op_tuple(struct pickle *p)
{
	return push(p, collect(p, PICKLE_TUPLE));
}

static int op_list(struct pickle *p)
{
	return push(p, collect(p, PICKLE_LIST));
}

static int op_dict(struct pickle *p)
{
	return push(p, collect(p, PICKLE_DICT));
}

static int op_frozenset(struct pickle *p)
{
	struct node *n = collect(p, PICKLE_SET);

	if (n)
		n->label = STR("frozenset");
	return push(p, n);
}

static int tuple_of(struct pickle *p, size_t n)
{
	struct node *made;
	int r;

	if ((r = need(p, n)) < 0)
		return r;
	if (!(made = pickle_node(p, PICKLE_TUPLE)))
		return p->e->code;
	if ((r = append_items(p, made, p->stack + p->n_stack - n, n)) < 0)
		return r;
	p->n_stack -= n;
	return push(p, made);
}

static int op_tuple1(struct pickle *p)
{
	return tuple_of(p, 1);
}

static int op_tuple2(struct pickle *p)
{
	return tuple_of(p, 2);
}

static int op_tuple3(struct pickle *p)
{
	return tuple_of(p, 3);
}

/* Items for a container; an object keeps them as it keeps its arguments. */
static int add(
	struct pickle *p, struct node *to, enum pickle_kind kind, struct node **items, size_t n)
{
	if (to->v.kind != kind && to->v.kind != PICKLE_OBJECT)
		return pickle_fail(p, ERR_CORRUPT, "there is nothing to add to");
	if (kind == PICKLE_DICT && n % 2)
		return pickle_fail(p, ERR_CORRUPT, "a key has no value");
	if (to->special == NODE_CLASS)
		return 0;
	/* Its state is the last no longer. */
	if (to->special == NODE_BUILT)
		to->special = NODE_PLAIN;
	return append_items(p, to, items, n);
}

/* n values behind the container they are for. */
static int add_some(struct pickle *p, enum pickle_kind kind, size_t n)
{
	int r = need(p, n + 1);

	if (r < 0)
		return r;
	p->n_stack -= n;
	return add(p, top(p), kind, p->stack + p->n_stack, n);
}

static int add_marked(struct pickle *p, enum pickle_kind kind)
{
	struct node **items;
	size_t n;
	int r;

	if ((r = take_mark(p, &items, &n)) < 0 || (r = need(p, 1)) < 0)
		return r;
	return add(p, top(p), kind, items, n);
}

static int op_setitem(struct pickle *p)
{
	return add_some(p, PICKLE_DICT, 2);
}

static int op_setitems(struct pickle *p)
{
	return add_marked(p, PICKLE_DICT);
}

static int op_append(struct pickle *p)
{
	return add_some(p, PICKLE_LIST, 1);
}

static int op_appends(struct pickle *p)
{
	return add_marked(p, PICKLE_LIST);
}

static int op_additems(struct pickle *p)
{
	return add_marked(p, PICKLE_SET);
}

/* ---- stack and memo ---- */

static int op_pop(struct pickle *p)
{
	/* On a mark it takes the mark, as CPython does. */
	if (p->n_marks && height(p) == 0) {
		p->n_marks--;
		return 0;
	}
	if (p->n_stack == 0)
		return need(p, 1);
	p->n_stack--;
	return 0;
}

static int op_pop_mark(struct pickle *p)
{
	struct node **items;
	size_t n = 0;

	return take_mark(p, &items, &n);
}

static int op_dup(struct pickle *p)
{
	int r = need(p, 1);

	return r < 0 ? r : push(p, top(p));
}

static int take_index(struct pickle *p, uint64_t *out)
{
	struct str line;
	int r = take_line(p, &line);

	if (r < 0)
		return r;
	if (!str_u64(str_trim(line), out))
		return pickle_fail(p, ERR_CORRUPT, "not an index of the memo");
	return 0;
}

static int op_put(struct pickle *p)
{
	uint64_t index;
	int r = take_index(p, &index);

	return r < 0 ? r : remember(p, index);
}

static int op_binput(struct pickle *p)
{
	uint64_t index;
	int r = take_number(p, 1, &index);

	return r < 0 ? r : remember(p, index);
}

static int op_long_binput(struct pickle *p)
{
	uint64_t index;
	int r = take_number(p, 4, &index);

	return r < 0 ? r : remember(p, index);
}

static int op_memoize(struct pickle *p)
{
	return remember(p, p->n_memo);
}

static int op_get(struct pickle *p)
{
	uint64_t index;
	int r = take_index(p, &index);

	return r < 0 ? r : recall(p, index);
}

static int op_binget(struct pickle *p)
{
	uint64_t index;
	int r = take_number(p, 1, &index);

	return r < 0 ? r : recall(p, index);
}

static int op_long_binget(struct pickle *p)
{
	uint64_t index;
	int r = take_number(p, 4, &index);

	return r < 0 ? r : recall(p, index);
}

/* ---- objects ---- */

/* Names of Python 2's modules, which protocols up to 2 write: as Python 3 has them. */
static struct str module_now(struct str module)
{
	static const struct {
		struct str old, now;
	} names[] = {
		{STR_INIT("__builtin__"), STR_INIT("builtins")},
		{STR_INIT("exceptions"), STR_INIT("builtins")},
		{STR_INIT("copy_reg"), STR_INIT("copyreg")},
		{STR_INIT("UserDict"), STR_INIT("collections")},
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_eq(module, names[i].old))
			return names[i].now;
	return module;
}

/* Python 2's types that have another name now. */
static struct str name_now(struct str module, struct str name)
{
	static const struct {
		struct str old, now;
	} names[] = {
		{STR_INIT("long"), STR_INIT("int")},
		{STR_INIT("unicode"), STR_INIT("str")},
		{STR_INIT("xrange"), STR_INIT("range")},
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_eq(module, STR("__builtin__")) && str_eq(name, names[i].old))
			return names[i].now;
	return name;
}

static struct node *make_class(struct pickle *p, struct str module, struct str name)
{
	struct node *n = pickle_node(p, PICKLE_OBJECT);

	if (!n)
		return NULL;
	if (module.n > LINE_MAX_BYTES || name.n > LINE_MAX_BYTES) {
		pickle_set_error(p, ERR_LIMIT, "a name of more than %d bytes", LINE_MAX_BYTES);
		return NULL;
	}
	n->special = NODE_CLASS;
	buf_clear(&p->scratch);
	buf_str(&p->scratch, p->protocol < 3 ? module_now(module) : module);
	buf_char(&p->scratch, '.');
	buf_str(&p->scratch, p->protocol < 3 ? name_now(module, name) : name);
	if (!(n->v.text = pickle_copy(p, buf_view(&p->scratch))).p)
		return NULL;
	n->v.text = pickle_utf8(p, n->v.text);
	return n->v.text.p ? n : NULL;
}

static int take_class(struct pickle *p, struct node **out)
{
	struct str module, name;
	int r;

	if ((r = take_line(p, &module)) < 0 || (r = take_line(p, &name)) < 0)
		return r;
	*out = make_class(p, module, name);
	return *out ? 0 : p->e->code;
}

static int op_global(struct pickle *p)
{
	struct node *n;
	int r = take_class(p, &n);

	return r < 0 ? r : push(p, n);
}

static int op_stack_global(struct pickle *p)
{
	struct node *module, *name;
	int r = need(p, 2);

	if (r < 0)
		return r;
	name = p->stack[--p->n_stack];
	module = p->stack[--p->n_stack];
	if (module->v.kind != PICKLE_TEXT || name->v.kind != PICKLE_TEXT)
		return pickle_fail(p, ERR_CORRUPT, "module and name must be text");
	return push(p, make_class(p, module->v.text, name->v.text));
}

static int op_reduce(struct pickle *p)
{
	struct node *args;
	int r = need(p, 2);

	if (r < 0)
		return r;
	args = p->stack[--p->n_stack];
	if (args->v.kind != PICKLE_TUPLE)
		return pickle_fail(p, ERR_CORRUPT, "arguments must be a tuple");
	return push(p, pickle_call(p, p->stack[--p->n_stack], args));
}

/* The arguments by name are kept behind the others. */
static int op_newobj_ex(struct pickle *p)
{
	struct node *named, *made;
	int r = need(p, 3);

	if (r < 0)
		return r;
	named = p->stack[--p->n_stack];
	if ((r = op_reduce(p)) < 0)
		return r;
	made = top(p);
	return made->v.kind == PICKLE_OBJECT && named->v.n ? pickle_append(p, made, named) : 0;
}

static int op_inst(struct pickle *p)
{
	struct node *callable, *args;
	int r = take_class(p, &callable);

	if (r < 0)
		return r;
	if (!(args = collect(p, PICKLE_TUPLE)))
		return p->e->code;
	return push(p, pickle_call(p, callable, args));
}

static int op_obj(struct pickle *p)
{
	struct node **items, *callable, *args;
	size_t n = 0;
	int r = take_mark(p, &items, &n);

	if (r < 0)
		return r;
	if (n == 0)
		return pickle_fail(p, ERR_CORRUPT, "no type behind the mark");
	callable = items[0];
	if (!(args = pickle_node(p, PICKLE_TUPLE)))
		return p->e->code;
	if ((r = append_items(p, args, items + 1, n - 1)) < 0)
		return r;
	return push(p, pickle_call(p, callable, args));
}

static int op_build(struct pickle *p)
{
	struct node *state;
	int r = need(p, 2);

	if (r < 0)
		return r;
	state = p->stack[--p->n_stack];
	return pickle_build(p, top(p), state);
}

static struct node *opaque(struct pickle *p, struct str what, struct node *item)
{
	struct node *n = pickle_node(p, PICKLE_OBJECT);

	if (!n || (item && pickle_append(p, n, item) < 0))
		return NULL;
	n->v.text = what;
	return n;
}

static int op_persid(struct pickle *p)
{
	struct str line;
	int r;

	if ((r = take_line(p, &line)) < 0 || (r = put_text(p, line)) < 0)
		return r;
	return push(p, opaque(p, STR("pickle.persistent_id"), p->stack[--p->n_stack]));
}

static int op_binpersid(struct pickle *p)
{
	int r = need(p, 1);

	if (r < 0)
		return r;
	return push(p, opaque(p, STR("pickle.persistent_id"), p->stack[--p->n_stack]));
}

static int extension(struct pickle *p, size_t size)
{
	struct node *n;
	uint64_t code;
	int r = take_number(p, size, &code);

	if (r < 0)
		return r;
	if (!(n = opaque(p, STR("copyreg.extension"), make_int(p, (int64_t)code))))
		return p->e->code;
	n->special = NODE_CLASS;
	return push(p, n);
}

static int op_ext1(struct pickle *p)
{
	return extension(p, 1);
}

static int op_ext2(struct pickle *p)
{
	return extension(p, 2);
}

static int op_ext4(struct pickle *p)
{
	return extension(p, 4);
}

/* Buffers out of band came by another way, if at all. */
static int op_next_buffer(struct pickle *p)
{
	return push(p, opaque(p, STR("pickle.buffer"), NULL));
}

static int op_readonly_buffer(struct pickle *p)
{
	return need(p, 1);
}

/* ---- the program ---- */

static int op_proto(struct pickle *p)
{
	uint64_t v;
	int r = take_number(p, 1, &v);

	if (r < 0)
		return r;
	if (v > PROTOCOL_MAX)
		return pickle_fail(
			p, ERR_CORRUPT, "protocol %u: at most %d", (unsigned)v, PROTOCOL_MAX);
	p->protocol = (int)v;
	return 0;
}

/* Frames say how to read from a file; here all is in memory. */
static int op_frame(struct pickle *p)
{
	uint64_t n;
	int r = take_number(p, 8, &n);

	if (r < 0)
		return r;
	if (n > p->in.n - p->at)
		return pickle_fail(p, ERR_CORRUPT, "a frame of %ju bytes, %zu are left",
			(uintmax_t)n, p->in.n - p->at);
	return 0;
}

enum { STOP = '.' };

static const struct opcode opcodes[256] = {
	['('] = {"MARK", op_mark},
	[STOP] = {"STOP", NULL},
	['0'] = {"POP", op_pop},
	['1'] = {"POP_MARK", op_pop_mark},
	['2'] = {"DUP", op_dup},
	['F'] = {"FLOAT", op_float},
	['I'] = {"INT", op_int},
	['J'] = {"BININT", op_binint},
	['K'] = {"BININT1", op_binint1},
	['L'] = {"LONG", op_long},
	['M'] = {"BININT2", op_binint2},
	['N'] = {"NONE", op_none},
	['P'] = {"PERSID", op_persid},
	['Q'] = {"BINPERSID", op_binpersid},
	['R'] = {"REDUCE", op_reduce},
	['S'] = {"STRING", op_string},
	['T'] = {"BINSTRING", op_binstring},
	['U'] = {"SHORT_BINSTRING", op_short_binstring},
	['V'] = {"UNICODE", op_unicode},
	['X'] = {"BINUNICODE", op_binunicode},
	['a'] = {"APPEND", op_append},
	['b'] = {"BUILD", op_build},
	['c'] = {"GLOBAL", op_global},
	['d'] = {"DICT", op_dict},
	['}'] = {"EMPTY_DICT", op_empty_dict},
	['e'] = {"APPENDS", op_appends},
	['g'] = {"GET", op_get},
	['h'] = {"BINGET", op_binget},
	['i'] = {"INST", op_inst},
	['j'] = {"LONG_BINGET", op_long_binget},
	['l'] = {"LIST", op_list},
	[']'] = {"EMPTY_LIST", op_empty_list},
	['o'] = {"OBJ", op_obj},
	['p'] = {"PUT", op_put},
	['q'] = {"BINPUT", op_binput},
	['r'] = {"LONG_BINPUT", op_long_binput},
	['s'] = {"SETITEM", op_setitem},
	['t'] = {"TUPLE", op_tuple},
	[')'] = {"EMPTY_TUPLE", op_empty_tuple},
	['u'] = {"SETITEMS", op_setitems},
	['G'] = {"BINFLOAT", op_binfloat},
	[0x80] = {"PROTO", op_proto},
	[0x81] = {"NEWOBJ", op_reduce},
	[0x82] = {"EXT1", op_ext1},
	[0x83] = {"EXT2", op_ext2},
	[0x84] = {"EXT4", op_ext4},
	[0x85] = {"TUPLE1", op_tuple1},
	[0x86] = {"TUPLE2", op_tuple2},
	[0x87] = {"TUPLE3", op_tuple3},
	[0x88] = {"NEWTRUE", op_true},
	[0x89] = {"NEWFALSE", op_false},
	[0x8a] = {"LONG1", op_long1},
	[0x8b] = {"LONG4", op_long4},
	['B'] = {"BINBYTES", op_binbytes},
	['C'] = {"SHORT_BINBYTES", op_short_binbytes},
	[0x8c] = {"SHORT_BINUNICODE", op_short_binunicode},
	[0x8d] = {"BINUNICODE8", op_binunicode8},
	[0x8e] = {"BINBYTES8", op_binbytes8},
	[0x8f] = {"EMPTY_SET", op_empty_set},
	[0x90] = {"ADDITEMS", op_additems},
	[0x91] = {"FROZENSET", op_frozenset},
	[0x92] = {"NEWOBJ_EX", op_newobj_ex},
	[0x93] = {"STACK_GLOBAL", op_stack_global},
	[0x94] = {"MEMOIZE", op_memoize},
	[0x95] = {"FRAME", op_frame},
	[0x96] = {"BYTEARRAY8", op_bytearray8},
	[0x97] = {"NEXT_BUFFER", op_next_buffer},
	[0x98] = {"READONLY_BUFFER", op_readonly_buffer},
};

void pickle_begin(struct pickle *p, struct str in, int protocol, struct error *e)
{
	forget(p);
	p->in = in;
	p->at = p->op_at = 0;
	p->protocol = protocol;
	p->e = e ? e : &p->unused;
}

int pickle_read(struct pickle *p, struct str in, const struct pickle_value **out, size_t *used,
	struct error *e)
{
	int r;

	pickle_begin(p, in, 0, e);
	for (;;) {
		operation *run;
		p->op_at = p->at;
		if (p->at == in.n)
			return pickle_fail(p, ERR_CORRUPT, "ends without STOP");
		uint8_t op = (uint8_t)in.p[p->at++];
		if (op == STOP)
			break;
		if (!(run = opcodes[op].run))
			return pickle_fail(p, ERR_CORRUPT, "0x%02x is no opcode", op);
		if ((r = run(p)) < 0)
			return r;
	}
	if ((r = need(p, 1)) < 0)
		return r;
	*out = &top(p)->v;
	if (used)
		*used = p->at;
	return 0;
}

const struct pickle_value *pickle_get(const struct pickle_value *dict, struct str key)
{
	if (!dict || dict->kind != PICKLE_DICT)
		return NULL;
	for (size_t i = dict->n; i >= 2; i -= 2) {
		const struct pickle_value *k = dict->items[i - 2];
		if (k->kind == PICKLE_TEXT && str_eq(k->text, key))
			return dict->items[i - 1];
	}
	return NULL;
}

const struct pickle_value *pickle_state(const struct pickle_value *object)
{
	if (object->kind != PICKLE_OBJECT || node_of(object)->special != NODE_BUILT)
		return NULL;
	return object->items[object->n - 1];
}
