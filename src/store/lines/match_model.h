/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Random templates, lines of them and needles over a small alphabet, and the
 * check of match.h against spelled lines: shared by match_test and match_fuzz.
 * Everything is drawn from a source of bytes, so that the fuzzer steers it.
 */
#include <stdlib.h>

#include "store/lines/column.h"
#include "store/lines/match.h"

enum { MODEL_SLOTS = 6, MODEL_TEXT = 24, MODEL_LINES = 12 };

struct model {
	/* Returns a number below n. */
	unsigned (*draw)(void *ctx, unsigned n);
	void *ctx;
	struct template t;
	struct template_slot slots[MODEL_SLOTS];
	char text[MODEL_TEXT];
	char lines[MODEL_LINES][2048];
	struct str line[MODEL_LINES], value[MODEL_LINES][MODEL_SLOTS];
};

static unsigned model_draw(struct model *m, unsigned n)
{
	return m->draw(m->ctx, n);
}

static char model_char(struct model *m, uint8_t kind)
{
	static const char text[] = "ab1 -Ae\xc5\xbfks", number[] = "0112", hex[] = "01abe",
			  upper[] = "01ABE", any[] = "01aAbkSsz";

	switch (kind) {
	case 0: return text[model_draw(m, sizeof text - 1)];
	case SLOT_NUMBER:
	case SLOT_LONG: return number[model_draw(m, sizeof number - 1)];
	case SLOT_HEX:
	case SLOT_UUID: return hex[model_draw(m, sizeof hex - 1)];
	case SLOT_HEX_UPPER:
	case SLOT_UUID_UPPER: return upper[model_draw(m, sizeof upper - 1)];
	default: return any[model_draw(m, sizeof any - 1)];
	}
}

static size_t model_width(struct model *m, const struct template_slot *s)
{
	switch (s->kind) {
	case SLOT_NUMBER: return 1 + model_draw(m, model_draw(m, 4) ? 3 : 9);
	case SLOT_TEXT: return 1 + model_draw(m, model_draw(m, 8) ? 4 : 255);
	case SLOT_UUID:
	case SLOT_UUID_UPPER: return 36;
	default: return s->width;
	}
}

static void model_template(struct model *m)
{
	uint32_t n = model_draw(m, MODEL_TEXT + 1), n_slots = model_draw(m, MODEL_SLOTS + 1);
	uint32_t at = 0;

	for (uint32_t i = 0; i < n; i++)
		m->text[i] = model_char(m, 0);
	for (uint32_t i = 0; i < n_slots; i++) {
		struct template_slot *s = &m->slots[i];
		at += model_draw(m, 3) ? model_draw(m, 4) : 0;
		at = at > n ? n : at;
		*s = (struct template_slot){.at = at, .kind = (uint8_t)(1 + model_draw(m, 7))};
		if (s->kind == SLOT_LONG)
			s->width = (uint8_t)(10 + model_draw(m, 10));
		if (s->kind == SLOT_HEX || s->kind == SLOT_HEX_UPPER)
			s->width = (uint8_t)(6 + model_draw(m, 5));
	}
	m->t = (struct template){
		.text = str_make(m->text, n), .slots = m->slots, .n_slots = n_slots};
}

static char *model_value(struct model *m, const struct template_slot *s, char *to)
{
	size_t width = model_width(m, s);

	for (size_t i = 0; i < width; i++) {
		bool dash = (s->kind == SLOT_UUID || s->kind == SLOT_UUID_UPPER) &&
			    (i == 8 || i == 13 || i == 18 || i == 23);
		*to++ = dash ? '-' : model_char(m, s->kind);
	}
	return to;
}

static void model_lines(struct model *m)
{
	for (size_t i = 0; i < MODEL_LINES; i++) {
		char *to = m->lines[i];
		for (uint32_t k = 0; k <= m->t.n_slots; k++) {
			uint32_t from = k > 0 ? m->slots[k - 1].at : 0;
			uint32_t end = k < m->t.n_slots ? m->slots[k].at : (uint32_t)m->t.text.n;
			memcpy(to, m->text + from, end - from);
			to += end - from;
			if (k == m->t.n_slots)
				break;
			m->value[i][k].p = to;
			to = model_value(m, &m->slots[k], to);
			m->value[i][k].n = (size_t)(to - m->value[i][k].p);
		}
		m->line[i] = str_make(m->lines[i], (size_t)(to - m->lines[i]));
	}
}

/* A part of a line, sometimes changed; at most `room` bytes. */
static struct str model_needle(struct model *m, char *to, size_t room)
{
	struct str line = m->line[model_draw(m, MODEL_LINES)];
	size_t at = line.n ? model_draw(m, (unsigned)line.n) : 0, n;

	n = line.n ? 1 + model_draw(m, model_draw(m, 3) ? 8 : 60) : 0;
	line = str_sub(line, at, at + (n < room ? n : room));
	if (line.n)
		memcpy(to, line.p, line.n);
	if (line.n && model_draw(m, 3) == 0)
		to[model_draw(m, (unsigned)line.n)] = model_char(m, 0);
	if (line.n && model_draw(m, 4) == 0)
		to[model_draw(m, (unsigned)line.n)] = model_char(m, SLOT_TEXT);
	return str_make(to, line.n);
}

static bool model_term(struct str value, const struct match_term *term)
{
	switch (term->test) {
	case COLUMN_EQUALS: return str_eq(value, term->text);
	case COLUMN_BEGINS: return str_starts(value, term->text);
	case COLUMN_ENDS: return str_ends(value, term->text);
	default: return str_find(value, term->text) >= 0;
	}
}

static bool model_place(const struct model *m, size_t line, const struct match_place *p)
{
	for (uint32_t i = 0; i < p->n; i++)
		if (!model_term(m->value[line][p->terms[i].slot], &p->terms[i]))
			return false;
	return true;
}

/* The verdict of the filter allows what each line says, and the places of a text say it exactly.
 * False when they do not. */
static bool model_check(const struct model *m, const struct line_filter *f)
{
	enum match_verdict v = match_template(f, &m->t);
	static struct match_place places[MATCH_PLACES];
	bool plain = f->n == 1 && !f->tests[0].regex;
	int n = plain ? match_places(f->tests[0].text, &m->t, places, MATCH_PLACES) : -1;

	if (n == 0 && v != (f->negate ? MATCH_ALL : MATCH_NONE))
		return false;
	for (size_t i = 0; i < MODEL_LINES; i++) {
		int kept = line_filter_test(f, m->line[i]);
		bool found = false;
		if (kept < 0)
			continue;
		if ((v == MATCH_ALL && !kept) || (v == MATCH_NONE && kept))
			return false;
		for (int k = 0; k < n && !found; k++)
			found = model_place(m, i, &places[k]);
		if (n >= 0 && found != (kept != f->negate))
			return false;
	}
	return true;
}

/* An expression out of needles: alternatives, in whatever case, with something between. */
static struct str model_pattern(struct model *m, char *to, size_t room)
{
	struct buf b = {0};
	char needle[12];
	struct str s;
	bool classes_only;

	/* Some have no constant text. */
	classes_only = model_draw(m, 4) == 0;
	if (classes_only) {
		static const char *const classes[] = {"[0-9]{2}", "[a-f]", "[a-f0-9]{3}", "[0-9]+",
			"[A-Z]?", "-", "[a-z 0-9]{2}", "\\d{1,3}", "[x-z]*?", "."};
		for (unsigned n = 1 + model_draw(m, 4); n > 0; n--)
			buf_c(&b, classes[model_draw(m, sizeof classes / sizeof *classes)]);
	} else if (model_draw(m, 3) == 0) {
		buf_c(&b, "(?i)");
	}
	for (unsigned n = classes_only ? 0 : 1 + model_draw(m, 3); n > 0; n--) {
		s = model_needle(m, needle, sizeof needle);
		s = str_sub(s, 0, str_utf8_valid(s));
		buf_c(&b, "\\Q");
		buf_str(&b, s);
		buf_c(&b, "\\E");
		if (n > 1)
			buf_c(&b, model_draw(m, 3) ? "|" : ".*");
		else if (model_draw(m, 4) == 0)
			buf_c(&b, "[0-9]+");
	}
	s = str_sub(buf_view(&b), 0, room);
	memcpy(to, s.p, s.n);
	buf_fini(&b);
	return str_make(to, s.n);
}
