/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spelling lines: the constant text of a template and the values of its slots,
 * put together again for the rows that were picked.
 *
 * Rows are taken template by template, so that what is constant (which text,
 * which column, how it is spelled) is found once and stays in the cache; where a
 * line lands in the buffer does not matter.  How many bytes it will be is counted
 * before, exactly, so that nothing moves while lines point into it.  Constant
 * text is copied in blocks of COPY bytes, out of a copy that has room behind.
 */
#include "store/lines/reader.h"

#include <assert.h>
#include <stdlib.h>

enum { COPY = 16, UUID_BYTES = 36 };

/* What a slot contributes: its value, then the constant text behind it. */
struct step {
	const struct column *column;
	const char *text;
	uint32_t n;
};

struct program {
	struct step steps[TOKEN_SLOTS_MAX];
	uint32_t n_steps;
	struct str head; /* constant text before the first slot */
	char *copy;      /* of all constant text, COPY bytes longer */
};

static int make_program(
	struct lines_reader *r, uint32_t template, struct program *program, struct error *e)
{
	const struct template *t = r->s.templates[template];
	int code;

	assert(t->n_slots <= TOKEN_SLOTS_MAX);
	for (uint32_t i = 0; i < t->n_slots; i++)
		if ((code = reader_column(r, template, i, &program->steps[i].column, e)) < 0)
			return code;
	program->copy = xcalloc(t->text.n + COPY, 1);
	if (t->text.n > 0)
		memcpy(program->copy, t->text.p, t->text.n);
	program->head = str_make(program->copy, t->n_slots > 0 ? t->slots[0].at : t->text.n);
	for (uint32_t i = 0; i < t->n_slots; i++) {
		size_t end = i + 1 < t->n_slots ? t->slots[i + 1].at : t->text.n;
		program->steps[i].text = program->copy + t->slots[i].at;
		program->steps[i].n = (uint32_t)(end - t->slots[i].at);
	}
	program->n_steps = t->n_slots;
	return 0;
}

/* Bytes that the values of these ranks spell. */
static size_t values_size(const struct column *c, const uint32_t *rank, uint32_t n)
{
	size_t sum = 0;

	switch (c->kind) {
	case SLOT_NUMBER:
		for (uint32_t i = 0; i < n; i++)
			sum += c->digits[rank[i]];
		return sum;
	case SLOT_TEXT:
		for (uint32_t i = 0; i < n; i++)
			sum += c->text[rank[i]].n;
		return sum;
	case SLOT_UUID:
	case SLOT_UUID_UPPER: return (size_t)n * UUID_BYTES;
	default: return (size_t)n * c->width;
	}
}

static inline char *put_text(char *to, const char *p, size_t n)
{
	memcpy(to, p, COPY);
	if (n > COPY)
		memcpy(to + COPY, p + COPY, n - COPY);
	return to + n;
}

/* n digits of v, filled with zeros. */
static inline char *put_decimal(char *to, uint64_t v, size_t n)
{
	static const char pairs[] =
		"00010203040506070809101112131415161718192021222324252627282930313233343536373839"
		"40414243444546474849505152535455565758596061626364656667686970717273747576777879"
		"8081828384858687888990919293949596979899";
	char *end = to + n;

	for (; n >= 2; n -= 2, v /= 100)
		memcpy(to + n - 2, pairs + v % 100 * 2, 2);
	if (n > 0)
		*to = (char)('0' + v % 10);
	return end;
}

static inline char *put_hex(char *to, const uint8_t *p, size_t n, const char *digits)
{
	if (n % 2) {
		*to++ = digits[*p++ & 15];
		n--;
	}
	for (; n > 0; n -= 2, p++) {
		*to++ = digits[*p >> 4];
		*to++ = digits[*p & 15];
	}
	return to;
}

static char *put_uuid(char *to, const uint8_t *p, const char *digits)
{
	static const uint8_t groups[] = {8, 4, 4, 4, 12};

	for (size_t g = 0; g < sizeof(groups); p += groups[g++] / 2) {
		if (g > 0)
			*to++ = '-';
		to = put_hex(to, p, groups[g], digits);
	}
	return to;
}

static inline char *put_value(char *to, const struct column *c, uint32_t i)
{
	static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
	size_t bytes;

	switch (c->kind) {
	case SLOT_NUMBER: return put_decimal(to, c->number[i], c->digits[i]);
	case SLOT_LONG: return put_decimal(to, c->number[i], c->width);
	case SLOT_TEXT:
		memcpy(to, c->text[i].n ? c->text[i].p : "", c->text[i].n);
		return to + c->text[i].n;
	case SLOT_UUID:
	case SLOT_UUID_UPPER:
		return put_uuid(to, c->binary + (size_t)i * (UUID_BYTES - 4) / 2,
			c->kind == SLOT_UUID ? lower : upper);
	default:
		bytes = ((size_t)c->width + 1) / 2;
		return put_hex(
			to, c->binary + i * bytes, c->width, c->kind == SLOT_HEX ? lower : upper);
	}
}

/* All columns of a template and what lines of these ranks take; the program is made. */
static int prepare(struct lines_reader *r, uint32_t template, const uint32_t *rank, uint32_t n,
	struct program *program, size_t *bytes, struct error *e)
{
	int code = make_program(r, template, program, e);

	if (code < 0)
		return code;
	*bytes = n * r->s.templates[template]->text.n;
	for (uint32_t i = 0; i < program->n_steps; i++)
		*bytes += values_size(program->steps[i].column, rank, n);
	return 0;
}

/* Write the lines behind `to`, which has room for COPY bytes more than they take; lines[i] is set
 * for each. */
static char *spell(const struct program *program, const uint32_t *rank, uint32_t n, char *to,
	struct str *lines)
{
	for (uint32_t i = 0; i < n; i++) {
		char *from = to;
		to = put_text(to, program->head.p, program->head.n);
		for (uint32_t k = 0; k < program->n_steps; k++) {
			const struct step *s = &program->steps[k];
			to = put_value(to, s->column, rank[i]);
			to = put_text(to, s->text, s->n);
		}
		lines[i] = str_make(from, (size_t)(to - from));
	}
	return to;
}

int reader_spell(struct lines_reader *r, uint32_t template, const uint32_t *rank, uint32_t n,
	struct buf *out, struct str *lines, struct error *e)
{
	struct program program = {.copy = NULL};
	size_t bytes;
	int code = prepare(r, template, rank, n, &program, &bytes, e);

	if (code == 0) {
		buf_clear(out);
		char *to = buf_reserve(out, bytes + COPY);
		out->n = (size_t)(spell(&program, rank, n, to, lines) - to);
		assert(out->n == bytes);
	}
	free(program.copy);
	return code;
}

/* The picked rows by template: rows of id are at start[id] .. start[id + 1] of rank and pick. */
struct picked {
	uint32_t *start, *rank, *row;
};

static void picked_fini(struct picked *p)
{
	free(p->start);
	free(p->rank);
	free(p->row);
}

static void sort_picked(
	const struct lines_reader *r, const uint32_t *pick, size_t n, struct picked *p)
{
	uint32_t n_ids = r->p.n_templates + 1;

	p->start = xcalloc((size_t)n_ids + 2, sizeof(*p->start));
	p->rank = xmalloc(n * sizeof(*p->rank));
	p->row = xmalloc(n * sizeof(*p->row));
	/* One place further on, so that filling moves each start to where it belongs. */
	for (size_t i = 0; i < n; i++)
		p->start[r->ids[pick[i]] + 2]++;
	for (uint32_t id = 2; id <= n_ids + 1; id++)
		p->start[id] += p->start[id - 1];
	for (size_t i = 0; i < n; i++) {
		uint32_t at = p->start[r->ids[pick[i]] + 1]++;
		p->rank[at] = r->rank[pick[i]];
		p->row[at] = pick[i];
	}
}

/* Bytes of all picked lines that have a template; their columns are decoded, and kept when there is
 * room. */
static int measure(struct lines_reader *r, const struct picked *p, size_t *bytes, struct error *e)
{
	int code;

	*bytes = 0;
	for (uint32_t id = 1; id <= r->p.n_templates; id++) {
		uint32_t from = p->start[id], n = p->start[id + 1] - from;
		const struct template *t = r->s.templates[id - 1];
		if (n == 0)
			continue;
		*bytes += n * t->text.n;
		for (uint32_t k = 0; k < t->n_slots; k++) {
			const struct column *c;
			if ((code = reader_column(r, id - 1, k, &c, e)) < 0)
				return code;
			*bytes += values_size(c, p->rank + from, n);
		}
		reader_drop(r, id - 1);
	}
	return 0;
}

/* Room for so many bytes in r->lines, charged. */
static int reserve_lines(struct lines_reader *r, size_t bytes, struct error *e)
{
	struct account *a = r->s.account;

	buf_clear(&r->lines);
	if (bytes <= r->lines.cap)
		return 0;
	buf_fini(&r->lines);
	account_release(a, r->kept);
	r->kept = 0;
	if (a && account_charge(a, bytes) < 0)
		return error_set(e, ERR_LIMIT,
			"no memory for the lines of a block: %zu bytes more do not fit in '%s'",
			bytes, a->name);
	buf_reserve(&r->lines, bytes);
	r->kept = a ? bytes : 0;
	return 0;
}

static int spell_picked(
	struct lines_reader *r, const struct picked *p, struct str *line, struct error *e)
{
	uint32_t most = 0;
	struct str *lines;
	char *to = r->lines.p;
	int code = 0;

	for (uint32_t id = 1; id <= r->p.n_templates; id++) {
		uint32_t n = p->start[id + 1] - p->start[id];
		most = n > most ? n : most;
	}
	lines = xmalloc(most * sizeof(*lines));
	for (uint32_t id = 1; id <= r->p.n_templates && code == 0; id++) {
		struct program program = {.copy = NULL};
		uint32_t from = p->start[id], n = p->start[id + 1] - from;
		if (n == 0)
			continue;
		if ((code = make_program(r, id - 1, &program, e)) == 0)
			to = spell(&program, p->rank + from, n, to, lines);
		for (uint32_t i = 0; code == 0 && i < n; i++)
			line[p->row[from + i]] = lines[i];
		reader_drop(r, id - 1);
		free(program.copy);
	}
	free(lines);
	return code;
}

int lines_get(
	struct lines_reader *r, const uint32_t *pick, size_t n, struct str *line, struct error *e)
{
	struct picked p = {0};
	size_t bytes;
	int code;

	if (n == 0)
		return 0;
	if ((code = reader_order(r, e)) < 0)
		return code;
	sort_picked(r, pick, n, &p);
	if ((code = measure(r, &p, &bytes, e)) == 0 &&
		(code = reserve_lines(r, bytes + COPY, e)) == 0)
		code = spell_picked(r, &p, line, e);
	for (uint32_t i = p.start[0]; code == 0 && i < p.start[1]; i++)
		code = reader_plain(r, p.rank[i], &line[p.row[i]], e);
	picked_fini(&p);
	return code;
}
