/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Laying a text over a template.
 *
 * A template is constant text with slots between; where a text stands in a line
 * of it, it stands in constant text alone, inside one value, or it covers the
 * end of a value, then constant text and whole values by turns, and the beginning
 * of a value or some text again:
 *
 *     line       ... blk _ - 7 2 3 4 9 ...       template   ... blk_-<long> ...
 *     text           b l k _ - 7 2 3             terms      <long> begins with "723"
 *
 * extend() walks from a slot on through all lengths that its value may have;
 * what follows must fit at once, so in practice one length is left.  Where slots
 * follow each other closely there may be many ways: a place (slot, byte of the
 * text) that led nowhere is remembered, so that it is tried once, the number of
 * places is limited by the caller, and that of steps here: beyond it the values
 * decide, which is never wrong.
 *
 * A value is taken for possible when its bytes are of the slot's alphabet and
 * its length one that the kind has; no finer property of the tokens is relied
 * on, so that a verdict does not change meaning when cutting gets cleverer.
 */
#include "store/lines/match.h"

#include <stdlib.h>

#include "base/memory.h"
#include "store/lines/column.h"

enum { NUMBER_MAX = 9, UUID_BYTES = 36, DEAD_BYTES = 512, STEPS_MAX = 1 << 18 };

/* Classes of bytes. */
enum { DIGIT = 1, HEX_LOWER = 2, HEX_UPPER = 4, LETTER = 8 };

static const uint8_t classes[256] = {
	['0' ... '9'] = DIGIT,
	['a' ... 'f'] = HEX_LOWER | LETTER,
	['g' ... 'z'] = LETTER,
	['A' ... 'F'] = HEX_UPPER | LETTER,
	['G' ... 'Z'] = LETTER,
};

struct match {
	const struct template *t;
	struct str text; /* lower case when `fold` */
	bool fold;
	/* Instead of text.p: at each place any byte of a set; and the classes of those.  Only
	 * whether there is a place is asked then. */
	const struct regex_set *sets;
	uint8_t set_classes[REGEX_RUN_MAX];
	/* What is asked for: the places, or whether there is one (out is NULL). */
	struct match_place *out;
	int max;
	/* What was found. */
	int n;
	uint32_t steps;
	bool too_many; /* places, terms or steps */
	/* The place under construction. */
	struct match_term terms[MATCH_TERMS];
	uint32_t depth;
	/* Bit slot * text.n + byte: extend() found nothing from there. */
	uint8_t *dead, small[DEAD_BYTES];
};

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Is constant text at p the text's bytes at .. at + n? */
static bool same(const struct match *m, const char *p, size_t at, size_t n)
{
	if (m->sets) {
		for (size_t i = 0; i < n; i++)
			if (!regex_set_has(&m->sets[at + i], (unsigned char)p[i]))
				return false;
		return true;
	}
	if (!m->fold)
		return memcmp(p, m->text.p + at, n) == 0;
	for (size_t i = 0; i < n; i++)
		if (lower(p[i]) != m->text.p[at + i])
			return false;
	return true;
}

static unsigned alphabet(const struct match *m, uint8_t kind)
{
	switch (kind) {
	case SLOT_NUMBER:
	case SLOT_LONG: return DIGIT;
	case SLOT_HEX:
	case SLOT_UUID: return DIGIT | HEX_LOWER;
	case SLOT_HEX_UPPER:
	case SLOT_UUID_UPPER: return DIGIT | (m->fold ? HEX_LOWER : HEX_UPPER);
	default: return DIGIT | LETTER;
	}
}

/* The classes that byte `at` of the text is of, or can be. */
static unsigned class_at(const struct match *m, size_t at)
{
	return m->sets ? m->set_classes[at] : classes[(uint8_t)m->text.p[at]];
}

static bool is_uuid(const struct template_slot *s)
{
	return s->kind == SLOT_UUID || s->kind == SLOT_UUID_UPPER;
}

/* Bytes of a value: at most, and whether it is always so many. */
static size_t value_max(const struct template_slot *s, bool *fixed)
{
	*fixed = s->kind != SLOT_NUMBER && s->kind != SLOT_TEXT;
	if (is_uuid(s))
		return UUID_BYTES;
	return *fixed ? s->width : s->kind == SLOT_NUMBER ? NUMBER_MAX : TOKEN_TEXT_MAX;
}

/* Can bytes at .. at + n of the text be those of a UUID from its byte `from` on? */
static bool fits_uuid(const struct match *m, unsigned allowed, size_t at, size_t n, size_t from)
{
	for (size_t i = 0; i < n; i++) {
		size_t place = from + i;
		bool dash = place == 8 || place == 13 || place == 18 || place == 23;
		if (dash ? !same(m, "-", at + i, 1) : !(class_at(m, at + i) & allowed))
			return false;
	}
	return true;
}

/* Can bytes at .. at + n of the text stand so in a value of the slot? */
static bool fits(const struct match *m, const struct template_slot *s, enum column_test test,
	size_t at, size_t n)
{
	unsigned allowed = alphabet(m, s->kind);
	bool fixed;
	size_t most = value_max(s, &fixed);

	if (n > most || (test == COLUMN_EQUALS && fixed && n != most))
		return false;
	if (is_uuid(s)) {
		size_t from = test == COLUMN_ENDS ? most - n : 0;
		size_t last = test == COLUMN_CONTAINS ? most - n : from;
		for (; from <= last; from++)
			if (fits_uuid(m, allowed, at, n, from))
				return true;
		return false;
	}
	for (size_t i = 0; i < n; i++)
		if (!(class_at(m, at + i) & allowed))
			return false;
	return true;
}

/* The same of one byte more, when those before it fit. */
static bool fits_longer(const struct match *m, const struct template_slot *s, enum column_test test,
	size_t at, size_t n)
{
	bool fixed;

	if (n == 1 || is_uuid(s) || n > value_max(s, &fixed) || (test == COLUMN_EQUALS && fixed))
		return fits(m, s, test, at, n);
	return class_at(m, at + n - 1) & alphabet(m, s->kind);
}

static bool done(const struct match *m)
{
	return m->too_many || (!m->out && m->n > 0);
}

static void found(struct match *m)
{
	if (m->out && m->n < m->max) {
		struct match_place *place = &m->out[m->n];
		memcpy(place->terms, m->terms, m->depth * sizeof m->terms[0]);
		place->n = m->depth;
	} else if (m->out) {
		m->too_many = true;
		return;
	}
	m->n++;
}

/* Add a term to the place; false when it has too many.  To be taken back by m->depth--. */
static bool push(struct match *m, uint32_t slot, enum column_test test, size_t at, size_t n)
{
	bool fixed;

	if (!m->out) {
		m->depth++;
		return true;
	}
	if (m->depth == MATCH_TERMS) {
		m->too_many = true;
		return false;
	}
	/* What is as long as the value can only be all of it. */
	if (value_max(&m->t->slots[slot], &fixed) == n && fixed)
		test = COLUMN_EQUALS;
	m->terms[m->depth++] = (struct match_term){
		.slot = slot, .test = (uint8_t)test, .text = str_make(m->text.p + at, n)};
	return true;
}

/* The constant text between a slot and the next, or the end. */
static struct str text_behind(const struct template *t, uint32_t slot)
{
	uint32_t end = slot + 1 < t->n_slots ? t->slots[slot + 1].at : (uint32_t)t->text.n;

	return str_sub(t->text, t->slots[slot].at, end);
}

static void extend(struct match *m, uint32_t slot, size_t at);

/* The value of the slot ends where byte `at` of the text follows. */
static void go_on_behind(struct match *m, uint32_t slot, size_t at)
{
	struct str between = text_behind(m->t, slot);
	size_t rest = m->text.n - at, n = between.n < rest ? between.n : rest;

	if (++m->steps > STEPS_MAX)
		m->too_many = true;
	if (n > 0 && !same(m, between.p, at, n))
		return;
	if (n == rest)
		found(m);
	else if (slot + 1 < m->t->n_slots)
		extend(m, slot + 1, at + n);
}

static bool is_dead(struct match *m, uint32_t slot, size_t at, bool set)
{
	size_t bits = (size_t)m->t->n_slots * m->text.n, bit = slot * m->text.n + at;

	if (!m->dead) {
		if (!set)
			return false;
		if (bits <= DEAD_BYTES * 8) {
			memset(m->small, 0, sizeof m->small);
			m->dead = m->small;
		} else {
			m->dead = xcalloc(bits / 8 + 1, 1);
		}
	}
	if (set)
		m->dead[bit / 8] |= (uint8_t)(1u << bit % 8);
	return m->dead[bit / 8] >> bit % 8 & 1;
}

/* The value of the slot begins with byte `at` of the text, which has been laid so far. */
static void extend(struct match *m, uint32_t slot, size_t at)
{
	const struct template_slot *s = &m->t->slots[slot];
	size_t rest = m->text.n - at, most;
	int before = m->n;
	bool fixed;

	if (done(m) || is_dead(m, slot, at, false))
		return;
	if (fits(m, s, COLUMN_BEGINS, at, rest) && push(m, slot, COLUMN_BEGINS, at, rest)) {
		found(m);
		m->depth--;
	}
	most = value_max(s, &fixed);
	for (size_t n = fixed ? most : 1; n <= most && n < rest && !done(m); n++) {
		if (!fits_longer(m, s, COLUMN_EQUALS, at, n))
			break; /* neither does anything longer */
		if (push(m, slot, COLUMN_EQUALS, at, n)) {
			go_on_behind(m, slot, at + n);
			m->depth--;
		}
	}
	if (m->n == before && !m->too_many)
		is_dead(m, slot, at, true);
}

/* Places that begin in a value of the slot. */
static void start_inside(struct match *m, uint32_t slot)
{
	const struct template_slot *s = &m->t->slots[slot];
	size_t most;
	bool fixed;

	if (fits(m, s, COLUMN_CONTAINS, 0, m->text.n) &&
		push(m, slot, COLUMN_CONTAINS, 0, m->text.n)) {
		found(m);
		m->depth--;
	}
	most = value_max(s, &fixed);
	for (size_t n = 1; n <= most && n < m->text.n && !done(m); n++) {
		if (!fits_longer(m, s, COLUMN_ENDS, 0, n)) {
			if (is_uuid(s))
				continue; /* the dashes stand elsewhere for another length */
			break;
		}
		if (push(m, slot, COLUMN_ENDS, 0, n)) {
			go_on_behind(m, slot, n);
			m->depth--;
		}
	}
}

/* Places that begin in the constant text before the slot and reach into its value. */
static void start_before(struct match *m, uint32_t slot)
{
	size_t from = slot > 0 ? m->t->slots[slot - 1].at : 0, to = m->t->slots[slot].at;
	const char *p = m->t->text.p;

	for (size_t n = 1; n <= to - from && n < m->text.n && !done(m); n++)
		if (same(m, p + to - n, 0, 1) && same(m, p + to - n, 0, n))
			extend(m, slot, n);
}

static void walk(struct match *m)
{
	for (uint32_t i = 0; i < m->t->n_slots && !done(m); i++) {
		start_inside(m, i);
		start_before(m, i);
	}
	if (m->dead != m->small)
		free(m->dead);
	m->dead = NULL;
}

/* Next place of the text in constant text from byte `from` on, slots or not; -1. */
static ptrdiff_t find(const struct match *m, size_t from)
{
	struct str in = str_sub(m->t->text, from, m->t->text.n);
	ptrdiff_t at;

	if (!m->fold && !m->sets) {
		at = str_find(in, m->text);
		return at < 0 ? at : at + (ptrdiff_t)from;
	}
	for (size_t i = 0; i + m->text.n <= in.n; i++)
		if (same(m, in.p + i, 0, 1) && same(m, in.p + i, 0, m->text.n))
			return (ptrdiff_t)(from + i);
	return -1;
}

/* Does the text stand in constant text, without a slot inside? */
static bool in_constant(const struct match *m)
{
	const struct template *t = m->t;
	ptrdiff_t at = -1;
	uint32_t slot = 0;

	while ((at = find(m, (size_t)(at + 1))) >= 0) {
		while (slot < t->n_slots && t->slots[slot].at <= (size_t)at)
			slot++;
		if (slot == t->n_slots || t->slots[slot].at >= (size_t)at + m->text.n)
			return true;
	}
	return false;
}

static void begin(struct match *m, struct str text, const struct template *t)
{
	m->t = t;
	m->text = text;
	m->fold = false;
	m->sets = NULL;
	m->out = NULL;
	m->n = m->max = 0;
	m->steps = 0;
	m->too_many = false;
	m->depth = 0;
	m->dead = NULL;
}

/* Can bytes of these sets stand one behind the other in a line of the template? */
static bool run_can_be(const struct regex_run *run, const struct template *t)
{
	struct match m;

	begin(&m, str_make(NULL, run->n), t);
	m.sets = run->set;
	for (size_t i = 0; i < run->n; i++) {
		m.set_classes[i] = 0;
		for (unsigned c = 0; c < 0x80; c++)
			if (regex_set_has(&run->set[i], (unsigned char)c))
				m.set_classes[i] |= classes[c];
	}
	if (in_constant(&m))
		return true;
	walk(&m);
	return m.n > 0 || m.too_many;
}

static enum match_verdict verdict_of_text(struct str text, bool fold, const struct template *t)
{
	struct match m;

	if (text.n == 0)
		return MATCH_ALL;
	begin(&m, text, t);
	m.fold = fold;
	if (in_constant(&m))
		return MATCH_ALL;
	walk(&m);
	return m.n > 0 || m.too_many ? MATCH_SOME : MATCH_NONE;
}

/* Letters beyond ASCII that are those of a caseless text as well (U+017F for s, U+212A for k). */
static bool has_odd_letter(struct str s)
{
	return str_find(s, STR("\xc5\xbf")) >= 0 || str_find(s, STR("\xe2\x84\xaa")) >= 0;
}

static enum match_verdict verdict_of_regex(const struct regex *r, const struct template *t)
{
	struct regex_literals l = regex_literals(r);
	struct str literal = regex_literal(r);
	enum match_verdict all = MATCH_NONE;
	int match;

	if (t->n_slots == 0 && (match = regex_match(r, t->text)) >= 0)
		return match ? MATCH_ALL : MATCH_NONE;
	if (literal.n > 0 && verdict_of_text(literal, false, t) == MATCH_NONE)
		return MATCH_NONE;
	if (regex_run(r)->n > 0 && !run_can_be(regex_run(r), t))
		return MATCH_NONE;
	if (l.n == 0)
		return MATCH_SOME;
	for (size_t i = 0; i < l.n; i++) {
		enum match_verdict v = verdict_of_text(l.text[i], l.fold, t);
		if (v == MATCH_ALL && l.exact)
			return MATCH_ALL;
		if (v != MATCH_NONE)
			all = MATCH_SOME;
	}
	if (all == MATCH_NONE && l.fold && has_odd_letter(t->text))
		all = MATCH_SOME;
	return all;
}

enum match_verdict match_template(const struct line_filter *f, const struct template *t)
{
	enum match_verdict all = MATCH_NONE;

	for (size_t i = 0; i < f->n && all != MATCH_ALL; i++) {
		const struct line_test *test = &f->tests[i];
		enum match_verdict v = test->regex ? verdict_of_regex(test->regex, t)
						   : verdict_of_text(test->text, false, t);
		if (v != MATCH_NONE)
			all = v;
	}
	if (!f->negate || all == MATCH_SOME)
		return all;
	return all == MATCH_ALL ? MATCH_NONE : MATCH_ALL;
}

enum match_verdict match_filters(const struct line_filter *f, size_t n, const struct template *t)
{
	enum match_verdict all = MATCH_ALL;

	for (size_t i = 0; i < n && all != MATCH_NONE; i++) {
		enum match_verdict v = match_template(&f[i], t);
		if (v != MATCH_ALL)
			all = v;
	}
	return all;
}

int match_places(struct str text, const struct template *t, struct match_place *out, int max)
{
	struct match m = {.t = t, .text = text, .out = out, .max = max};

	if (text.n == 0 || in_constant(&m)) {
		if (max < 1)
			return -1;
		out[0].n = 0;
		return 1;
	}
	walk(&m);
	return m.too_many ? -1 : m.n;
}
