/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A number is taken apart into sign, prefix ("0x"), digits and the rest (".5e+07"),
 * so that separators go into the digits alone and fillings where the
 * specification wants them.
 */
#include "output/line_spec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/percent.h"
#include "codec/rune.h"

/* ---- parsing ---- */

static bool is_align(char c)
{
	return c == '<' || c == '>' || c == '^' || c == '=';
}

static int read_number(struct str s, size_t *at, int *out, struct error *e)
{
	int v = 0;

	for (; *at < s.n && s.p[*at] >= '0' && s.p[*at] <= '9'; ++*at) {
		v = v * 10 + s.p[*at] - '0';
		if (v > PERCENT_WIDTH_MAX)
			return error_set(e, ERR_LIMIT,
				"width or precision too big in '%.*s': at most %d", STR_ARG(s),
				PERCENT_WIDTH_MAX);
	}
	*out = v;
	return 0;
}

static bool next_is(struct str s, size_t at, const char *set)
{
	return at < s.n && s.p[at] && strchr(set, s.p[at]);
}

static void read_align(struct line_spec *spec, struct str s, size_t *at)
{
	size_t n = 0;

	if (s.n)
		rune_first(s, &n);
	if (n < s.n && is_align(s.p[n])) {
		spec->fill = str_make(s.p, n);
		spec->align = s.p[n];
		*at = n + 1;
	} else if (s.n && is_align(s.p[0])) {
		spec->align = s.p[0];
		*at = 1;
	}
}

int line_spec_parse(struct line_spec *out, struct str s, struct error *e)
{
	size_t at = 0, digits;
	int r;

	*out = (struct line_spec){.precision = -1};
	read_align(out, s, &at);
	if (next_is(s, at, "+- "))
		out->sign = s.p[at++];
	if (next_is(s, at, "#")) {
		out->alternate = true;
		at++;
	}
	/* Behind a fill of its own a zero is but a digit of the width. */
	if (!out->fill.n && next_is(s, at, "0")) {
		out->zero = true;
		at++;
	}
	if ((r = read_number(s, &at, &out->width, e)) < 0)
		return r;
	if (next_is(s, at, ",_"))
		out->grouping = s.p[at++];
	if (next_is(s, at, ".")) {
		digits = ++at;
		if ((r = read_number(s, &at, &out->precision, e)) < 0)
			return r;
		if (at == digits)
			return error_set(e, ERR_ARG, "bad specifier: '%.*s'", STR_ARG(s));
	}
	if (next_is(s, at, "bcdeEfFgGnosxX%"))
		out->type = s.p[at++];
	if (at < s.n)
		return error_set(e, ERR_ARG, "bad specifier: '%.*s'", STR_ARG(s));
	return 0;
}

/* ---- filling ---- */

static void fill(struct buf *out, struct str c, size_t n)
{
	if (c.n == 1 && n) {
		memset(buf_reserve(out, n), c.p[0], n);
		out->n += n;
		return;
	}
	while (n-- > 0)
		buf_str(out, c);
}

/* A value in its parts. */
struct parts {
	char sign; /* 0: none */
	const char *prefix;
	struct str digits; /* with separators and zeros */
	struct str rest;
};

static void put_parts(const struct line_spec *s, const struct parts *p, char align, struct buf *out)
{
	size_t n = (p->sign != 0) + strlen(p->prefix) + rune_count(p->digits) + p->rest.n;
	size_t more = (size_t)s->width > n ? (size_t)s->width - n : 0;
	struct str c = s->fill.n ? s->fill : s->zero ? STR("0") : STR(" ");
	size_t front = align == '>' ? more : align == '^' ? more / 2 : 0;

	fill(out, c, front);
	if (p->sign)
		buf_char(out, p->sign);
	buf_c(out, p->prefix);
	if (align == '=')
		fill(out, c, more);
	buf_str(out, p->digits);
	buf_str(out, p->rest);
	if (align == '<' || align == '^')
		fill(out, c, more - front);
}

static void put_text(const struct line_spec *s, struct str text, bool cuts, struct buf *out)
{
	struct parts p = {0, "", text, STR_NONE};

	if (cuts && s->precision >= 0)
		p.digits = rune_prefix(text, (size_t)s->precision);
	put_parts(s, &p, s->align && s->align != '=' ? s->align : '<', out);
}

/* ---- numbers ---- */

/* Append `digits` with separators, and with zeros in front up to `least` characters; there too
 * separators stand, and none at the very front. */
static void group(struct str digits, char separator, size_t size, size_t least, struct buf *out)
{
	struct buf back = {0}; /* from the last character to the first */
	size_t left = digits.n;

	for (size_t n = 0; left || back.n < least; n++) {
		if (n && n % size == 0)
			buf_char(&back, separator);
		buf_char(&back, left ? digits.p[--left] : '0');
	}
	for (size_t i = back.n; i-- > 0;)
		buf_char(out, back.p[i]);
	buf_fini(&back);
}

static bool fills_zeros(const struct line_spec *s)
{
	return s->zero || str_eq(s->fill, STR("0"));
}

/* p: without a sign.  `size` of the groups of digits, 0: there are none. */
static void put_number(
	const struct line_spec *s, bool negative, struct parts *p, size_t size, struct buf *out)
{
	char align = s->align ? s->align : s->zero ? '=' : '>';
	struct buf grouped = {0};
	size_t fixed, least = 0;

	p->sign = negative ? '-' : s->sign == '+' || s->sign == ' ' ? s->sign : 0;
	fixed = (p->sign != 0) + strlen(p->prefix) + p->rest.n;
	if (align == '=' && fills_zeros(s) && (size_t)s->width > fixed)
		least = (size_t)s->width - fixed;
	if (s->grouping && size) {
		group(p->digits, s->grouping, size, least, &grouped);
		p->digits = buf_view(&grouped);
	}
	put_parts(s, p, align, out);
	buf_fini(&grouped);
}

static void put_int(const struct line_spec *s, int64_t value, struct buf *out)
{
	uint64_t v = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	unsigned base = s->type == 'b' ? 2 : s->type == 'o' ? 8 : 10;
	const char *letters = s->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	struct parts p = {.prefix = ""};
	char digits[64];
	size_t n = sizeof digits, size;

	if (s->type == 'x' || s->type == 'X')
		base = 16;
	if (s->alternate && base != 10) {
		p.prefix = s->type == 'X' ? "0X" : base == 16 ? "0x" : base == 8 ? "0o" : "0b";
	}
	do
		digits[--n] = letters[v % base];
	while (v /= base);
	p.digits = str_make(digits + n, sizeof digits - n);
	size = base == 10 ? 3 : s->grouping == '_' ? 4 : 0;
	put_number(s, value < 0, &p, s->type == 'n' ? 0 : size, out);
}

/* Digits and point of a finite number >= 0 without a type: as repr, or to `precision` digits with
 * one behind the point at least. */
static void spell_plain(double v, int precision, struct buf *out)
{
	char *end;
	int exponent;

	if (precision < 0) {
		percent_repr(out, v);
		return;
	}
	if (precision == 0)
		precision = 1;
	buf_printf(out, "%.*e", precision - 1, v);
	exponent = (int)strtol(strchr(buf_cstr(out), 'e') + 1, &end, 10);
	if (exponent < -4 || exponent >= precision - 1) {
		struct str text = buf_view(out);
		size_t e = (size_t)str_chr(text, 'e'), digits = e;
		if (str_chr(text, '.') >= 0)
			while (text.p[digits - 1] == '0' || text.p[digits - 1] == '.')
				if (text.p[--digits] == '.')
					break;
		memmove(out->p + digits, out->p + e, out->n - e);
		out->n -= e - digits;
		return;
	}
	buf_clear(out);
	buf_printf(out, "%.*f", precision - 1 - exponent, v);
	while (out->n > 2 && out->p[out->n - 1] == '0' && out->p[out->n - 2] != '.')
		out->n--;
}

static void put_float(const struct line_spec *s, double value, struct buf *out)
{
	bool percent = s->type == '%';
	struct parts p = {.prefix = ""};
	struct buf text = {0};
	char format[] = {'%', '#', '.', '*', s->type, 0};
	int precision = s->precision < 0 ? 6 : s->precision;
	double v = fabs(percent ? value * 100 : value);
	size_t n = 0;

	if (percent)
		format[4] = 'f';
	else if (s->type == 'n')
		format[4] = 'g';
	if (!s->alternate)
		memmove(format + 1, format + 2, sizeof format - 2);
	if (s->type)
		buf_printf(&text, format, precision, v);
	else
		spell_plain(v, s->precision, &text);
	if (percent)
		buf_char(&text, '%');
	while (n < text.n && text.p[n] >= '0' && text.p[n] <= '9')
		n++;
	p.digits = str_make(text.p, n);
	p.rest = str_make(text.p + n, text.n - n);
	put_number(s, signbit(value), &p, s->type == 'n' ? 0 : 3, out);
	buf_fini(&text);
}

/* ---- values ---- */

static void put_character(const struct line_spec *s, int64_t v, struct buf *out)
{
	struct percent_spec c = {.precision = -1, .type = 'c'};
	struct line_spec right = *s;
	struct buf text = {0};

	if (!right.align)
		right.align = '>';
	if (percent_int(&text, &c, v, NULL) < 0)
		buf_printf(&text, "%lld", (long long)v);
	put_text(&right, buf_view(&text), false, out);
	buf_fini(&text);
}

static bool is_in(char type, const char *set)
{
	return type && strchr(set, type);
}

/* What the type asks for, where the value can be that. */
static struct line_value convert(char type, const struct line_value *v)
{
	struct line_value out = *v;

	if (is_in(type, "bcdoxXn") && v->kind == VALUE_TEXT && str_i64(v->text, &out.i))
		out.kind = VALUE_INT;
	if (is_in(type, "eEfFgG%n") && out.kind == VALUE_TEXT && str_double(v->text, &out.f))
		out.kind = VALUE_FLOAT;
	if (is_in(type, "eEfFgG%") && v->kind == VALUE_INT) {
		out.kind = VALUE_FLOAT;
		out.f = (double)v->i;
	}
	return out;
}

void line_spec_put(const struct line_spec *s, const struct line_value *v, struct buf *out)
{
	struct line_value got = convert(s->type, v);
	struct buf text = {0};

	if (got.kind == VALUE_TEXT) {
		put_text(s, got.text, !s->type || s->type == 's', out);
	} else if (got.kind == VALUE_INT && s->type == 'c') {
		put_character(s, got.i, out);
	} else if (got.kind == VALUE_INT && s->type != 's') {
		put_int(s, got.i, out);
	} else if (got.kind == VALUE_FLOAT && (!s->type || is_in(s->type, "eEfFgG%n"))) {
		put_float(s, got.f, out);
	} else {
		if (got.kind == VALUE_INT)
			buf_printf(&text, "%lld", (long long)got.i);
		else
			percent_repr(&text, got.f);
		put_text(s, buf_view(&text), false, out);
		buf_fini(&text);
	}
}
