/* SPDX-License-Identifier: Apache-2.0 */
#include "output/line_piece.h"

#include "codec/pickle.h"

/* ---- compiling ---- */

static int add_piece(
	struct line_pieces *out, struct arena *a, const struct line_piece *piece, struct error *e)
{

	if (out->n == LINE_PIECES_MAX)
		return error_set(e, ERR_LIMIT, "more than %d fields", LINE_PIECES_MAX);
	if (out->n == out->cap) {
		size_t cap = out->cap ? 2 * out->cap : 8;
		struct line_piece *more = ARENA_ARRAY(a, struct line_piece, cap);
		if (out->n)
			memcpy(more, out->items, out->n * sizeof *more);
		out->items = more;
		out->cap = cap;
	}
	out->items[out->n++] = *piece;
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

int line_percent_compile(
	struct line_pieces *out, struct arena *a, struct str text, bool plain, struct error *e)
{
	struct str rest = text;
	size_t n_fields = 0;
	int r = 1, bad;

	while (r > 0) {
		struct line_piece p = {0};
		size_t at = text.n - rest.n;
		r = percent_next(&rest, &p.literal, &p.percent, e);
		if (r > 0 && (bad = check_percent(&p.percent, e)) < 0)
			r = bad;
		if (r < 0)
			return error_wrap(e, r, "column %zu", at + p.literal.n + 1);
		if (r > 0 && p.percent.type == '%') {
			/* The literal and its percent sign lie side by side where nothing is
			 * between the two. */
			if ((r = add_piece(out, a, &p, e)) < 0)
				return r;
			p = (struct line_piece){.literal = STR("%")};
			r = 1;
		} else if (r > 0) {
			p.put = PUT_PERCENT;
			p.plain = is_percent_plain(&p.percent);
			p.conversion =
				p.percent.type == 'r' || p.percent.type == 'a' ? p.percent.type : 0;
			p.field = line_field_of(p.percent.key);
			n_fields++;
		}
		if (add_piece(out, a, &p, e) < 0)
			return ERR_LIMIT;
	}
	if (n_fields == 0 && !plain)
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
static int brace_field(struct str text, size_t *at, struct line_piece *p, struct error *e)
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

int line_brace_compile(
	struct line_pieces *out, struct arena *a, struct str text, bool plain, struct error *e)
{
	size_t at = 0, n_fields = 0;
	int more = 1, r;

	while (more) {
		struct line_piece p = {0};
		size_t column;
		more = brace_literal(a, text, &at, &p.literal, e);
		column = at + (more < 0);
		r = more > 0 ? brace_field(text, &at, &p, e) : more;
		if (r < 0)
			return error_wrap(e, r, "invalid format: column %zu", column);
		n_fields += more > 0;
		if ((r = add_piece(out, a, &p, e)) < 0)
			return r;
	}
	return n_fields || plain ? 0 : error_set(e, ERR_ARG, "invalid format: no fields");
}

/* ---- writing ---- */

void line_value_put(const struct line_value *v, struct buf *out)
{
	switch (v->kind) {
	case VALUE_TEXT: buf_str(out, v->text); break;
	case VALUE_INT: buf_printf(out, "%lld", (long long)v->i); break;
	case VALUE_FLOAT: percent_repr(out, v->f); break;
	}
}

/* ascii() of what repr() wrote; bytes that are no UTF-8 as bytes. */
static void escape_beyond_ascii(struct buf *text)
{
	struct buf out = {0};
	size_t valid = 0;

	for (size_t i = 0; i < text->n;) {
		const unsigned char *p = (const unsigned char *)text->p + i;
		unsigned n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
		unsigned v = p[0] & (0x7fu >> n);
		if (i >= valid)
			valid = i + str_utf8_valid(str_sub(buf_view(text), i, text->n));
		if (i >= valid) {
			n = 1;
			v = p[0];
		}
		for (unsigned k = 1; k < n; k++)
			v = v << 6 | (p[k] & 0x3f);
		if (p[0] < 0x80)
			buf_char(&out, (char)p[0]);
		else
			buf_printf(&out,
				v < 0x100     ? "\\x%02x"
				: v < 0x10000 ? "\\u%04x"
					      : "\\U%08x",
				v);
		i += n;
	}
	buf_fini(text);
	*text = buf_take(&out);
}

/* A text as repr() or ascii() has it; numbers are spelled the same by both. */
static void spell(struct line_value *v, char conversion, struct buf *room)
{
	buf_clear(room);
	if (v->kind != VALUE_TEXT || conversion == 's')
		line_value_put(v, room);
	else
		pickle_repr_text(v->text, SIZE_MAX, room);
	if (conversion == 'a')
		escape_beyond_ascii(room);
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
	line_value_put(v, &text);
	percent_text(out, &as_text, buf_view(&text), NULL);
	buf_fini(&text);
}

void line_piece_put(const struct line_piece *p, const struct line_value *v, struct buf *out)
{
	struct line_value value = *v;
	struct buf spelled = {0};

	if (p->plain && v->kind == VALUE_TEXT) {
		buf_str(out, v->text);
		return;
	}
	if (p->conversion)
		spell(&value, p->conversion, &spelled);
	if (p->put == PUT_PERCENT)
		put_percent(&p->percent, &value, out);
	else
		line_spec_put(&p->brace, &value, out);
	buf_fini(&spelled);
}
