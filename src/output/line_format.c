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

#include "codec/percent.h"
#include "output/line_breaks.h"
#include "output/line_field.h"
#include "output/line_spec.h"
#include "output/line_time.h"
#include "query/query.h"
#include "query/template.h"
#include "record/labels.h"

enum {
	FORMAT_MAX = 64 << 10, /* bytes of a format */
	PIECES_MAX = 1000,     /* fields in one */
	LABELS_WANTED_MAX = 1000,
};

const char *const line_styles[] = {"percent", "brace", "template", NULL};
const char *const line_break_names[] = {"indent", "escape", "raw", NULL};

struct piece {
	struct str literal; /* what stands in front */
	enum { PUT_NOTHING, PUT_PERCENT, PUT_BRACE } put;
	bool plain;      /* the value alone: no width, no conversion */
	char conversion; /* of repr() or ascii(): 'r' 'a', else 0 */
	struct line_field field;
	uint16_t slots[FIELD_LABELS_MAX]; /* of its labels, in `values` */
	union {
		struct percent_spec percent;
		struct line_spec brace;
	};
};

/* A field of ours that a template reads like a label. */
struct template_field {
	struct str name;
	struct line_field field;
	uint16_t slots[FIELD_LABELS_MAX];
};

struct format {
	struct piece *pieces;
	size_t n, cap;
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
	for (size_t i = 0; i < format->n; i++)
		find_slots(f, &format->pieces[i].field, format->pieces[i].slots);
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

/* ---- compiling ---- */

static int add_piece(
	struct line_format *f, struct format *format, const struct piece *piece, struct error *e)
{
	int r;

	if (format->n == PIECES_MAX)
		return error_set(e, ERR_LIMIT, "more than %d fields", PIECES_MAX);
	if (format->n == format->cap) {
		size_t cap = format->cap ? 2 * format->cap : 8;
		struct piece *more = ARENA_ARRAY(&f->arena, struct piece, cap);
		if (format->n)
			memcpy(more, format->pieces, format->n * sizeof *more);
		format->pieces = more;
		format->cap = cap;
	}
	if ((r = want(f, &piece->field, e)) < 0)
		return r;
	format->pieces[format->n++] = *piece;
	return 0;
}

static int check_percent(const struct percent_spec *s, struct error *e)
{
	if (s->star_width || s->star_precision)
		return error_set(e, ERR_ARG, "'*' needs an argument, and a record has none");
	if (s->type == '%')
		return s->key.p ? error_set(e, ERR_ARG, "unsupported format character '%%' (0x25)")
				: 0;
	if (!s->key.p)
		return error_set(e, ERR_ARG, "%%%c names no field, as %%(message)%c would", s->type,
			s->type);
	return 0;
}

static bool is_percent_plain(const struct percent_spec *s)
{
	return s->type == 's' && s->width == 0 && s->precision < 0;
}

static int compile_percent(
	struct line_format *f, struct format *format, struct str text, struct error *e)
{
	struct str rest = text;
	size_t n_fields = 0;
	int r = 1;

	while (r > 0) {
		struct piece p = {0};
		size_t at = text.n - rest.n;
		r = percent_next(&rest, &p.literal, &p.percent, e);
		if (r > 0 && check_percent(&p.percent, e) < 0)
			r = e->code;
		if (r < 0)
			return error_wrap(e, r, "column %zu", at + p.literal.n + 1);
		if (r > 0 && p.percent.type == '%') {
			/* The literal and its percent sign lie side by side where nothing is
			 * between the two. */
			if ((r = add_piece(f, format, &p, e)) < 0)
				return r;
			p = (struct piece){.literal = STR("%")};
			r = 1;
		} else if (r > 0) {
			p.put = PUT_PERCENT;
			p.plain = is_percent_plain(&p.percent);
			p.conversion =
				p.percent.type == 'r' || p.percent.type == 'a' ? p.percent.type : 0;
			p.field = line_field_of(p.percent.key);
			n_fields++;
		}
		if (r >= 0 && add_piece(f, format, &p, e) < 0)
			return e->code;
	}
	if (n_fields == 0)
		return error_set(e, ERR_ARG, "Invalid format '%.*s' for '%%' style: no fields",
			STR_ARG(text));
	return 0;
}

/* The text before the next field of a brace format, with "{{" and "}}" made one; *at becomes the
 * offset behind the field's brace.  1: there is a field, 0: that was all. */
static int brace_literal(
	struct arena *a, struct str text, size_t *at, struct str *out, struct error *e)
{
	char *copy = arena_alloc(a, text.n - *at + 1);
	size_t n = 0;
	int r = 0;

	for (; *at < text.n; ++*at) {
		char c = text.p[*at];
		if (c == '{' || c == '}') {
			bool twice = *at + 1 < text.n && text.p[*at + 1] == c;
			if (!twice && c == '{')
				r = 1;
			else if (!twice)
				return error_set(
					e, ERR_ARG, "Single '}' encountered in format string");
			++*at;
			if (r)
				break;
		}
		copy[n++] = c;
	}
	*out = str_make(copy, n);
	return r;
}

static int check_brace_name(struct str name, struct error *e)
{
	uint64_t number;

	if (name.n == 0 || str_u64(name, &number))
		return error_set(
			e, ERR_ARG, "{%.*s} names no field, as {message} would", STR_ARG(name));
	if (str_chr(name, '[') >= 0)
		return error_set(e, ERR_ARG,
			"invalid field name/expression: '%.*s': fields are text and have no items",
			STR_ARG(name));
	return 0;
}

/* A field, from behind its brace to the one that closes it. */
static int brace_field(struct str text, size_t *at, struct piece *p, struct error *e)
{
	struct str field = str_sub(text, *at, text.n), name, spec = STR_NONE;
	ptrdiff_t end = str_chr(field, '}'), colon;
	int r;

	if (end < 0)
		return error_set(e, ERR_ARG,
			field.n ? "expected '}' before end of string"
				: "Single '{' encountered in format string");
	field.n = (size_t)end;
	if (str_chr(field, '{') >= 0)
		return error_set(e, ERR_ARG,
			"a field within {%.*s}: widths and precisions are to be numbers here",
			STR_ARG(field));
	*at += field.n + 1;
	colon = str_chr(field, ':');
	name = str_sub(field, 0, colon < 0 ? field.n : (size_t)colon);
	if (colon >= 0)
		spec = str_sub(field, (size_t)colon + 1, field.n);
	if (str_chr(name, '!') >= 0) {
		struct str conversion = name;
		name = str_cut(&conversion, '!');
		if (conversion.n != 1 || !strchr("rsa", conversion.p[0]))
			return error_set(
				e, ERR_ARG, "invalid conversion: '%.*s'", STR_ARG(conversion));
		p->conversion = conversion.p[0];
	}
	if ((r = check_brace_name(name, e)) < 0 || (r = line_spec_parse(&p->brace, spec, e)) < 0)
		return r;
	p->put = PUT_BRACE;
	p->plain = spec.n == 0 && !p->conversion;
	p->field = line_field_of(name);
	return 0;
}

static int compile_brace(
	struct line_format *f, struct format *format, struct str text, struct error *e)
{
	size_t at = 0, n_fields = 0;
	int more = 1, r;

	while (more) {
		struct piece p = {0};
		size_t column;
		more = brace_literal(&f->arena, text, &at, &p.literal, e);
		column = at + (more < 0);
		r = more > 0 ? brace_field(text, &at, &p, e) : more;
		if (r < 0)
			return error_wrap(e, r, "invalid format: column %zu", column);
		n_fields += more > 0;
		if ((r = add_piece(f, format, &p, e)) < 0)
			return r;
	}
	return n_fields ? 0 : error_set(e, ERR_ARG, "invalid format: no fields");
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

static void text_of(const struct line_value *v, struct buf *out)
{
	switch (v->kind) {
	case VALUE_TEXT: buf_str(out, v->text); break;
	case VALUE_INT: buf_printf(out, "%lld", (long long)v->i); break;
	case VALUE_FLOAT: percent_repr(out, v->f); break;
	}
}

static void put_template(struct line_format *f, const struct format *format,
	const struct output_record *r, struct buf *out)
{
	char room[LINE_ROOM];
	struct str line;

	fields_begin(f->fields, r->labels, STR_NONE, NULL);
	for (size_t i = 0; i < format->n_fields; i++) {
		const struct template_field *t = &format->fields[i];
		struct line_value v;
		struct str there;
		char *copy;
		if (fields_get(f->fields, t->name, &there))
			continue;
		v = value_of(f, r, &t->field, t->slots, room);
		buf_clear(&f->text);
		text_of(&v, &f->text);
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

static int compile(struct line_format *f, struct format *format, const char *text, struct error *e)
{
	static const char *const usual[] = {"%(message)s", "{message}", "{{__line__}}"};
	static int (*const compilers[])(struct line_format *, struct format *, struct str,
		struct error *) = {compile_percent, compile_brace, compile_template};
	struct str s = arena_str(&f->arena, str_c(text ? text : usual[f->style]));
	struct error local;

	if (s.n > FORMAT_MAX)
		return error_set(
			e, ERR_LIMIT, "a format of %zu bytes: at most %d", s.n, FORMAT_MAX);
	return compilers[f->style](f, format, s, e ? e : &local);
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

/* Append repr() of a text; control characters and bytes that are no UTF-8 are escaped, as is all
 * beyond ASCII where `ascii`. */
static void put_repr(struct str s, bool ascii, struct buf *out)
{
	char quote = str_chr(s, '\'') >= 0 && str_chr(s, '"') < 0 ? '"' : '\'';
	size_t valid = 0;

	buf_char(out, quote);
	for (size_t i = 0; i < s.n;) {
		unsigned char c = (unsigned char)s.p[i];
		unsigned n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4, v = c & (0x7fu >> n);
		if (i >= valid)
			valid = i + str_utf8_valid(str_sub(s, i, s.n));
		if (i >= valid)
			n = 1;
		for (unsigned k = 1; k < n; k++)
			v = v << 6 | ((unsigned char)s.p[i + k] & 0x3f);
		if (n == 1)
			v = c;
		if (c == '\n' || c == '\r' || c == '\t')
			buf_c(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
		else if (c == '\\' || c == (unsigned char)quote)
			buf_printf(out, "\\%c", c);
		else if (v < 0x20 || (v >= 0x7f && v <= 0xa0) || v == 0xad || (n == 1 && v >= 0x80))
			buf_printf(out, "\\x%02x", v);
		else if (v == 0x2028 || v == 0x2029 || (ascii && v >= 0x80))
			buf_printf(out,
				v < 0x100     ? "\\x%02x"
				: v < 0x10000 ? "\\u%04x"
					      : "\\U%08x",
				v);
		else
			buf_put(out, s.p + i, n);
		i += n;
	}
	buf_char(out, quote);
}

/* A text as repr() or ascii() has it; numbers are spelled the same by both. */
static void spell(struct line_value *v, char conversion, struct buf *room)
{
	buf_clear(room);
	if (v->kind != VALUE_TEXT || conversion == 's')
		text_of(v, room);
	else
		put_repr(v->text, conversion == 'a', room);
	*v = (struct line_value){.kind = VALUE_TEXT, .text = buf_view(room)};
}

static bool is_float_type(char type)
{
	return type && strchr("eEfFgG", type);
}

static void put_percent(const struct percent_spec *s, const struct line_value *v, struct buf *out)
{
	struct percent_spec as_text = *s;
	struct buf text = {0};
	int64_t i = v->i;
	double f = v->f;
	int r = ERR_ARG;

	if (strchr("sra", s->type)) {
		if (v->kind == VALUE_TEXT)
			r = percent_text(out, s, v->text, NULL);
		else if (v->kind == VALUE_INT)
			r = percent_int(out, s, v->i, NULL);
		else
			r = percent_float(out, s, v->f, NULL);
	} else if (v->kind == VALUE_INT ||
		   (v->kind == VALUE_TEXT && !is_float_type(s->type) && str_i64(v->text, &i))) {
		r = percent_int(out, s, i, NULL);
	} else if (v->kind == VALUE_FLOAT || str_double(v->text, &f)) {
		r = percent_float(out, s, f, NULL);
	} else if (s->type == 'c') {
		r = percent_text(out, s, v->text, NULL);
	}
	if (r == 0)
		return;
	as_text.type = 's';
	as_text.precision = -1;
	text_of(v, &text);
	percent_text(out, &as_text, buf_view(&text), NULL);
	buf_fini(&text);
}

static void put_pieces(struct line_format *f, const struct format *format,
	const struct output_record *r, struct buf *out)
{
	char room[LINE_ROOM];

	for (const struct piece *p = format->pieces; p < format->pieces + format->n; p++) {
		struct line_value v;
		buf_str(out, p->literal);
		if (p->put == PUT_NOTHING)
			continue;
		v = value_of(f, r, &p->field, p->slots, room);
		if (p->plain && v.kind == VALUE_TEXT) {
			buf_str(out, v.text);
			continue;
		}
		if (p->conversion)
			spell(&v, p->conversion, &f->text);
		if (p->put == PUT_PERCENT)
			put_percent(&p->percent, &v, out);
		else
			line_spec_put(&p->brace, &v, out);
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
	text_of(&v, out);
}
