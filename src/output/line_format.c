/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A format is compiled into pieces: text, and the field behind it with how it is
 * to be written.  All formats of an output (that of each level besides the
 * usual one) name the labels they need in one table, sorted as the labels of
 * a record are; so one walk over a record's labels finds what every piece needs.
 *
 * Whatever the style, the text of a record is made first and made safe as a
 * whole then (line_breaks.h): no way of getting bytes into it is forgotten, be it
 * a label's value or a line end that a template spells.
 */
#include "output/line_format.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "output/line_breaks.h"
#include "output/line_field.h"
#include "output/line_piece.h"
#include "output/line_time.h"
#include "query/query.h"
#include "query/template.h"
#include "record/labels.h"

enum {
	FORMAT_MAX = 64 << 10, /* bytes of a format */
	LABELS_WANTED_MAX = 1000,
};

const char *const line_styles[] = {"percent", "brace", "template", NULL};
const char *const line_break_names[] = {"indent", "escape", "raw", NULL};

/* A field of ours that a template reads like a label. */
struct template_field {
	struct str name;
	struct line_field field;
	uint16_t slots[FIELD_LABELS_MAX];
};

struct format {
	struct line_pieces pieces;
	struct template_program *program;
	struct template_field *fields;
	size_t n_fields;
};

struct level {
	const char *name;
	int64_t number; /* a level by its number, else -1 */
	struct format format;
};

struct line_format {
	/* Fixed after line_format_new. */
	struct arena arena;
	int style, breaks;
	bool plain;
	struct format usual;
	struct level *levels;
	size_t n_levels;
	struct str *wanted; /* names of labels, sorted */
	size_t n_wanted, cap_wanted;
	struct line_field levelname, levelno, message;
	uint16_t levelname_slots[FIELD_LABELS_MAX], levelno_slots[FIELD_LABELS_MAX];
	uint16_t message_slots[FIELD_LABELS_MAX];
	struct query *query; /* what programs live in */
	/* Of the record that is being written. */
	struct line_time *time;
	struct str *values; /* of `wanted` */
	struct template_run *run;
	struct fields *fields;
	struct buf text;
};

/* ---- labels that are wanted ---- */

static int cmp_str(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static int want(struct line_format *f, const struct line_field *field, struct error *e)
{
	for (size_t i = 0; i < field->n_labels; i++) {
		bool known = false;
		for (size_t k = 0; k < f->n_wanted && !known; k++)
			known = str_eq(f->wanted[k], field->labels[i]);
		if (known)
			continue;
		if (f->n_wanted == LABELS_WANTED_MAX)
			return error_set(
				e, ERR_LIMIT, "more than %d different fields", LABELS_WANTED_MAX);
		f->wanted[f->n_wanted++] = field->labels[i];
	}
	return 0;
}

static void find_slots(const struct line_format *f, const struct line_field *field, uint16_t *slots)
{
	for (size_t i = 0; i < field->n_labels; i++) {
		const struct str *at = bsearch(
			&field->labels[i], f->wanted, f->n_wanted, sizeof *f->wanted, cmp_str);
		slots[i] = (uint16_t)(at - f->wanted);
	}
}

static void find_format_slots(struct line_format *f, struct format *format)
{
	for (size_t i = 0; i < format->pieces.n; i++)
		find_slots(f, &format->pieces.items[i].field, format->pieces.items[i].slots);
	for (size_t i = 0; i < format->n_fields; i++)
		find_slots(f, &format->fields[i].field, format->fields[i].slots);
}

/* Sort the names; from here on places in the table stand. */
static void settle(struct line_format *f)
{
	qsort(f->wanted, f->n_wanted, sizeof *f->wanted, cmp_str);
	find_format_slots(f, &f->usual);
	for (size_t i = 0; i < f->n_levels; i++)
		find_format_slots(f, &f->levels[i].format);
	find_slots(f, &f->levelname, f->levelname_slots);
	find_slots(f, &f->levelno, f->levelno_slots);
	find_slots(f, &f->message, f->message_slots);
	f->values = ARENA_ARRAY(&f->arena, struct str, f->n_wanted);
}

static void look_up(struct line_format *f, struct str labels)
{
	struct label l;
	size_t i = 0;

	for (size_t k = 0; k < f->n_wanted; k++)
		f->values[k] = STR_NONE;
	if (!labels.n)
		return;
	labels_start(&labels);
	while (i < f->n_wanted && labels_next(&labels, &l)) {
		int cmp = -1;
		while (i < f->n_wanted && (cmp = str_cmp(f->wanted[i], l.name)) < 0)
			i++;
		if (cmp == 0)
			f->values[i++] = l.value;
	}
}

static struct line_value value_of(struct line_format *f, const struct output_record *r,
	const struct line_field *field, const uint16_t *slots, char *room)
{
	struct str labels[FIELD_LABELS_MAX] = {0};

	if (field->id == LINE_ASCTIME)
		return (struct line_value){
			.kind = VALUE_TEXT, .text = line_time_text(f->time, r->timestamp)};
	for (size_t i = 0; i < field->n_labels; i++)
		labels[i] = f->values[slots[i]];
	return line_field_value(field, r, labels, room);
}

/* ---- templates ---- */

/* Fields of ours that templates read as .name where no label has that name. */
static const struct str template_names[] = {
	STR_INIT("asctime"),
	STR_INIT("created"),
	STR_INIT("filename"),
	STR_INIT("levelname"),
	STR_INIT("levelno"),
	STR_INIT("logger_name"),
	STR_INIT("message"),
	STR_INIT("module"),
	STR_INIT("msecs"),
	STR_INIT("name"),
};

enum { TEMPLATE_NAMES = sizeof template_names / sizeof *template_names };

static int compile_template(
	struct line_format *f, struct format *format, struct str text, struct error *e)
{
	struct wanted wanted = {0};
	int r;

	if (!f->query && (r = query_parse(&f->query, STR("{}"), e)) < 0)
		return r;
	if ((r = template_compile(&format->program, f->query, text, e)) < 0)
		return r;
	template_wants(format->program, &wanted);
	format->fields = ARENA_ARRAY(&f->arena, struct template_field, TEMPLATE_NAMES);
	for (size_t i = 0; !wanted.all && i < TEMPLATE_NAMES; i++) {
		struct template_field *t = &format->fields[format->n_fields];
		if (!wanted_has(&wanted, template_names[i]))
			continue;
		*t = (struct template_field){
			template_names[i], line_field_of(template_names[i]), {0}};
		if ((r = want(f, &t->field, e)) < 0)
			return r;
		format->n_fields++;
	}
	return 0;
}

static void put_template(struct line_format *f, const struct format *format,
	const struct output_record *r, struct buf *out)
{
	char room[LINE_ROOM];
	struct str line;

	fields_begin(f->fields, r->labels.n ? r->labels : STR("\0"), STR_NONE, NULL);
	for (size_t i = 0; i < format->n_fields; i++) {
		const struct template_field *t = &format->fields[i];
		struct line_value v;
		struct str there;
		char *copy;
		if (fields_get(f->fields, t->name, &there))
			continue;
		v = value_of(f, r, &t->field, t->slots, room);
		buf_clear(&f->text);
		line_value_put(&v, &f->text);
		copy = fields_text(f->fields, f->text.n + 1);
		if (f->text.n)
			memcpy(copy, f->text.p, f->text.n);
		fields_set(f->fields, t->name, str_make(copy, f->text.n));
	}
	/* One that fails leaves the line as it is, as line_format does in a query. */
	if (template_execute(
		    format->program, f->run, f->fields, r->line, r->timestamp, &line, NULL) < 0)
		line = r->line;
	buf_str(out, line);
}

/* ---- opening ---- */

static int compile_pieces(
	struct line_format *f, struct format *format, struct str text, struct error *e)
{
	int r;

	r = f->style == LINE_BRACE
		    ? line_brace_compile(&format->pieces, &f->arena, text, f->plain, e)
		    : line_percent_compile(&format->pieces, &f->arena, text, f->plain, e);
	for (size_t i = 0; r == 0 && i < format->pieces.n; i++)
		r = want(f, &format->pieces.items[i].field, e);
	return r;
}

static int compile(struct line_format *f, struct format *format, const char *text, struct error *e)
{
	static const char *const usual[] = {"%(message)s", "{message}", "{{__line__}}"};
	struct str s = arena_str(&f->arena, str_c(text ? text : usual[f->style]));

	if (s.n > FORMAT_MAX)
		return error_set(
			e, ERR_LIMIT, "a format of %zu bytes: at most %d", s.n, FORMAT_MAX);
	return f->style == LINE_TEMPLATE ? compile_template(f, format, s, e)
					 : compile_pieces(f, format, s, e);
}

static int compile_levels(struct line_format *f, const struct line_settings *s, struct error *e)
{
	int r;

	f->levels = ARENA_ARRAY(&f->arena, struct level, s->level_formats.n);
	f->n_levels = s->level_formats.n;
	for (size_t i = 0; i < f->n_levels; i++) {
		struct level *l = &f->levels[i];
		l->name = arena_c(&f->arena, str_c(s->level_formats.items[i].name));
		if (!str_i64(str_c(l->name), &l->number))
			l->number = -1;
		r = compile(f, &l->format, s->level_formats.items[i].value, e);
		if (r < 0)
			return error_wrap(e, r, "level_formats: %s", l->name);
	}
	return 0;
}

static int build(struct line_format *f, const struct line_settings *s, struct error *e)
{
	int r;

	f->wanted = ARENA_ARRAY(&f->arena, struct str, LABELS_WANTED_MAX);
	if ((r = line_time_new(&f->time, &f->arena, s->datefmt, s->utc, e)) < 0)
		return error_wrap(e, r, "datefmt");
	if ((r = compile(f, &f->usual, s->format, e)) < 0)
		return error_wrap(e, r, "format");
	if ((r = compile_levels(f, s, e)) < 0)
		return r;
	f->levelname = line_field_of(STR("levelname"));
	f->levelno = line_field_of(STR("levelno"));
	f->message = line_field_of(STR("message"));
	if (f->n_levels &&
		((r = want(f, &f->levelname, e)) < 0 || (r = want(f, &f->levelno, e)) < 0))
		return r;
	if ((r = want(f, &f->message, e)) < 0)
		return r;
	if (f->style == LINE_TEMPLATE) {
		f->run = template_run_new(NULL);
		f->fields = fields_new(NULL);
	}
	settle(f);
	return 0;
}

int line_format_new(struct line_format **out, const struct line_settings *s, struct error *e)
{
	struct line_format *f = xcalloc(1, sizeof *f);
	int r;

	arena_init(&f->arena, NULL);
	f->style = s->style;
	f->breaks = s->breaks;
	f->plain = s->plain;
	if ((r = build(f, s, e)) < 0) {
		line_format_free(f);
		return r;
	}
	*out = f;
	return 0;
}

void line_format_free(struct line_format *f)
{
	if (!f)
		return;
	line_time_free(f->time);
	if (f->run)
		template_run_free(f->run);
	if (f->fields)
		fields_free(f->fields);
	if (f->query)
		query_free(f->query);
	buf_fini(&f->text);
	arena_fini(&f->arena);
	free(f);
}

int line_settings_check(const struct line_settings *s, struct error *e)
{
	struct line_format *f;
	int r = line_format_new(&f, s, e);

	if (r == 0)
		line_format_free(f);
	return r;
}

/* ---- writing ---- */

static void put_pieces(struct line_format *f, const struct format *format,
	const struct output_record *r, struct buf *out)
{
	const struct line_piece *end = format->pieces.items + format->pieces.n;
	char room[LINE_ROOM];

	for (const struct line_piece *p = format->pieces.items; p < end; p++) {
		struct line_value v;
		buf_str(out, p->literal);
		if (p->put == PUT_NOTHING)
			continue;
		v = value_of(f, r, &p->field, p->slots, room);
		line_piece_put(p, &v, out);
	}
}

/* Traceback and stack, on lines of their own behind whatever the format made. */
static void put_tail(
	struct line_format *f, const struct output_record *r, size_t start, struct buf *out)
{
	struct str labels[FIELD_LABELS_MAX];
	size_t tail;

	for (size_t i = 0; i < f->message.n_labels; i++)
		labels[i] = f->values[f->message_slots[i]];
	tail = line_field_tail(r, labels);
	if (tail == r->line.n)
		return;
	if (out->n == start || out->p[out->n - 1] != '\n')
		buf_char(out, '\n');
	buf_str(out, str_sub(r->line, tail, r->line.n));
}

static const struct format *choose(struct line_format *f, const struct output_record *r)
{
	char room[LINE_ROOM];
	struct line_value name, number;

	if (!f->n_levels)
		return &f->usual;
	name = value_of(f, r, &f->levelname, f->levelname_slots, room);
	number = value_of(f, r, &f->levelno, f->levelno_slots, room);
	for (size_t i = 0; i < f->n_levels; i++) {
		const struct level *l = &f->levels[i];
		if (l->number >= 0 ? l->number == number.i
				   : str_eq_nocase(name.text, str_c(l->name)))
			return &l->format;
	}
	return &f->usual;
}

void line_format_put(struct line_format *f, const struct output_record *r, struct buf *out)
{
	size_t start = out->n;
	const struct format *format;

	look_up(f, r->labels);
	format = choose(f, r);
	if (f->style == LINE_TEMPLATE) {
		put_template(f, format, r, out);
	} else {
		put_pieces(f, format, r, out);
		put_tail(f, r, start, out);
	}
	line_breaks_apply(f->breaks, out, start);
}

void line_format_field(
	struct line_format *f, const struct output_record *r, struct str name, struct buf *out)
{
	struct line_field field = line_field_of(name);
	struct str labels[FIELD_LABELS_MAX] = {0};
	struct line_value v;
	char room[LINE_ROOM];

	if (field.id == LINE_ASCTIME) {
		buf_str(out, line_time_text(f->time, r->timestamp));
		return;
	}
	line_field_labels(&field, r->labels, labels);
	v = line_field_value(&field, r, labels, room);
	line_value_put(&v, out);
}
