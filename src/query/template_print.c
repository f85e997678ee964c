/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Go's fmt, for the types that templates have: Sprint, Sprintln and Sprintf with
 * its flags, widths, precisions, argument indexes, and what it writes in place
 * of an error ("%!d(string=hi)").  Source: pkg.go.dev/fmt.
 */
#include <ctype.h>
#include <math.h>
#include <stdio.h>

#include "query/number.h"
#include "codec/rune.h"
#include "query/template_time.h"
#include "query/template_tree.h"

enum { WIDTH_MAX = 1000000 };

void datum_quote(struct buf *out, struct str s)
{
	static const char names[] = "abfnrtv\\\"", bytes[] = "\a\b\f\n\r\t\v\\\"";
	size_t n;

	buf_char(out, '"');
	for (; s.n; s = str_sub(s, n, s.n)) {
		uint32_t c = rune_first(s, &n);
		const char *at = c && c < 0x80 ? strchr(bytes, (int)c) : NULL;
		if (at)
			buf_printf(out, "\\%c", names[at - bytes]);
		else if (c == RUNE_ERROR && n == 1)
			buf_printf(out, "\\x%02x", (unsigned char)s.p[0]);
		else if (rune_is_print(c))
			buf_put(out, s.p, n);
		else if (c < 0x80)
			buf_printf(out, "\\x%02x", c);
		else
			buf_printf(out, c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
	}
	buf_char(out, '"');
}

/* ---- one operand, as %v ---- */

static void print_inside(struct template_run *r, struct buf *out, const struct datum *d)
{
	if (d->kind == DATUM_NIL)
		buf_c(out, "<nil>");
	else
		datum_print(r, out, d);
}

void datum_print(struct template_run *r, struct buf *out, const struct datum *d)
{
	struct datum spread = *d;

	switch (d->kind) {
	case DATUM_NIL: buf_c(out, "<no value>"); break;
	case DATUM_BOOL: buf_c(out, d->b ? "true" : "false"); break;
	case DATUM_INT: buf_printf(out, "%lld", (long long)d->i); break;
	case DATUM_FLOAT: number_put_g(out, d->f); break;
	case DATUM_STRING: buf_str(out, d->s); break;
	case DATUM_TIME: time_string(out, &d->t); break;
	case DATUM_LIST:
		buf_char(out, '[');
		for (size_t i = 0; i < d->list.n && out->n < TEMPLATE_OUT_MAX; i++) {
			buf_c(out, i ? " " : "");
			print_inside(r, out, &d->list.p[i]);
		}
		buf_char(out, ']');
		break;
	case DATUM_ROW:
		if (datum_spread(r, &spread) < 0)
			break;
		d = &spread;
		/* fallthrough */
	case DATUM_MAP:
		buf_c(out, "map[");
		for (size_t i = 0; i < d->map.n && out->n < TEMPLATE_OUT_MAX; i++) {
			buf_c(out, i ? " " : "");
			buf_str(out, d->map.p[i].key);
			buf_char(out, ':');
			print_inside(r, out, &d->map.p[i].value);
		}
		buf_char(out, ']');
		break;
	}
}

void datum_sprint(struct template_run *r, struct buf *out, const struct datum *args, size_t n)
{
	for (size_t i = 0; i < n && out->n < TEMPLATE_OUT_MAX; i++) {
		if (i && args[i].kind != DATUM_STRING && args[i - 1].kind != DATUM_STRING)
			buf_char(out, ' ');
		print_inside(r, out, &args[i]);
	}
}

void datum_sprintln(struct template_run *r, struct buf *out, const struct datum *args, size_t n)
{
	for (size_t i = 0; i < n && out->n < TEMPLATE_OUT_MAX; i++) {
		buf_c(out, i ? " " : "");
		print_inside(r, out, &args[i]);
	}
	buf_char(out, '\n');
}

/* ---- formats ---- */

struct directive {
	bool minus, plus, sharp, space, zero;
	bool has_width, has_precision;
	int width, precision;
	uint32_t verb;
};

struct printer {
	struct template_run *run;
	struct buf *out;
	const struct datum *args;
	size_t n, next;
	bool reordered, good_index;
};

static void print_value(struct printer *p, const struct directive *f, const struct datum *d);

/* What was written behind `from` is padded to the width; zeros go behind a sign. */
static void pad(struct buf *out, size_t from, const struct directive *f, bool zeros)
{
	struct str s = str_sub(buf_view(out), from, out->n);
	size_t count = rune_count(s), missing, at = from;

	if (!f->has_width || count >= (size_t)f->width)
		return;
	missing = (size_t)f->width - count;
	buf_reserve(out, missing);
	if (f->minus) {
		memset(out->p + out->n, ' ', missing);
		out->n += missing;
		return;
	}
	if (zeros && s.n && strchr("+- ", out->p[from]))
		at++;
	memmove(out->p + at + missing, out->p + at, out->n - at);
	memset(out->p + at, zeros ? '0' : ' ', missing);
	out->n += missing;
}

static void bad_verb(struct printer *p, const struct directive *f, const struct datum *d)
{
	buf_c(p->out, "%!");
	rune_put(p->out, f->verb);
	buf_char(p->out, '(');
	if (d->kind == DATUM_NIL) {
		buf_c(p->out, "<nil>");
	} else {
		buf_c(p->out, datum_type(d));
		buf_char(p->out, '=');
		datum_print(p->run, p->out, d);
	}
	buf_char(p->out, ')');
}

static void put_hex(struct buf *out, const struct directive *f, struct str s)
{
	const char *digits = f->verb == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";

	if (f->has_precision)
		s = str_sub(s, 0, (size_t)f->precision);
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (i && f->space)
			buf_char(out, ' ');
		if (f->sharp && (i == 0 || f->space))
			buf_c(out, f->verb == 'X' ? "0X" : "0x");
		buf_char(out, digits[c >> 4]);
		buf_char(out, digits[c & 15]);
	}
}

static void print_string(struct printer *p, const struct directive *f, const struct datum *d)
{
	struct str cut = f->has_precision ? rune_prefix(d->s, (size_t)f->precision) : d->s;
	size_t from = p->out->n;

	switch (f->verb) {
	case 'v':
		if (f->sharp) {
			datum_quote(p->out, d->s);
			break;
		}
		/* fallthrough */
	case 's': buf_str(p->out, cut); break;
	case 'q':
		/* %#q is raw where that can hold it. */
		if (f->sharp && str_chr(cut, '`') < 0 && str_utf8_valid(cut) == cut.n)
			buf_printf(p->out, "`%.*s`", STR_ARG(cut));
		else
			datum_quote(p->out, cut);
		break;
	case 'x':
	case 'X': put_hex(p->out, f, d->s); break;
	default: bad_verb(p, f, d); return;
	}
	pad(p->out, from, f, f->zero && !f->minus);
}

static unsigned base_of(uint32_t verb)
{
	return verb == 'b'                  ? 2
	       : verb == 'o' || verb == 'O' ? 8
	       : verb == 'x' || verb == 'X' ? 16
					    : 10;
}

static void put_prefix(struct buf *out, const struct directive *f)
{
	if (f->verb == 'O')
		buf_c(out, "0o");
	else if (f->sharp && f->verb == 'o')
		buf_char(out, '0');
	else if (f->sharp && (f->verb == 'x' || f->verb == 'X'))
		buf_c(out, f->verb == 'x' ? "0x" : "0X");
	else if (f->sharp && f->verb == 'b')
		buf_c(out, "0b");
}

static void put_integer(struct buf *out, const struct directive *f, int64_t v)
{
	const char *digits = f->verb == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	unsigned base = base_of(f->verb);
	size_t n = 0, from = out->n, wanted = f->has_precision ? (size_t)f->precision : 1;
	bool zeros = f->zero && !f->minus && !f->has_precision;
	char text[64];

	for (; u; u /= base)
		text[n++] = digits[u % base];
	if (v < 0)
		buf_char(out, '-');
	else if (f->plus || f->space)
		buf_char(out, f->plus ? '+' : ' ');
	/* Zeros of the width stand between the prefix and the digits. */
	if (zeros && f->has_width) {
		size_t before = out->n - from + (f->verb == 'O' ? 2 : 0);
		if ((size_t)f->width > before && (size_t)f->width - before > wanted)
			wanted = (size_t)f->width - before;
	}
	put_prefix(out, f);
	for (size_t i = n; i < wanted; i++)
		buf_char(out, '0');
	while (n)
		buf_char(out, text[--n]);
	pad(out, from, f, false);
}

static void print_int(struct printer *p, const struct directive *f, const struct datum *d)
{
	uint32_t c = d->i < 0 || d->i > 0x10ffff ? RUNE_ERROR : (uint32_t)d->i;
	struct directive plain = *f;
	struct buf *out = p->out;
	size_t from = out->n;

	switch (f->verb) {
	case 'v':
		plain.verb = 'd';
		put_integer(out, &plain, d->i);
		break;
	case 'd':
	case 'b':
	case 'o':
	case 'O':
	case 'x':
	case 'X': put_integer(out, f, d->i); break;
	case 'c':
		rune_put(out, c);
		pad(out, from, f, f->zero && !f->minus);
		break;
	case 'q': {
		bool escape = c == '\'' || c == '\\';
		buf_char(out, '\'');
		if (escape)
			buf_char(out, '\\');
		if (escape || rune_is_print(c))
			rune_put(out, c);
		else if (c && c < 0x80 && strchr("\a\b\f\n\r\t\v", (int)c))
			buf_printf(out, "\\%c", "abtnvfr"[c - 7]);
		else
			buf_printf(out,
				c < 0x80      ? "\\x%02x"
				: c < 0x10000 ? "\\u%04x"
					      : "\\U%08x",
				c);
		buf_char(out, '\'');
		pad(out, from, f, false);
		break;
	}
	case 'U':
		buf_printf(out, "U+%04llX", (unsigned long long)d->i);
		if (f->sharp && rune_is_print(c)) {
			buf_c(out, " '");
			rune_put(out, c);
			buf_char(out, '\'');
		}
		pad(out, from, f, false);
		break;
	default: bad_verb(p, f, d);
	}
}

/* C writes p+1 where Go writes p+01. */
static void put_hex_float(struct buf *out, const struct directive *f, double v)
{
	char text[80], *exponent;
	bool upper = f->verb == 'X';

	if (f->has_precision)
		snprintf(text, sizeof text, upper ? "%.*A" : "%.*a",
			f->precision > 60 ? 60 : f->precision, v);
	else
		snprintf(text, sizeof text, upper ? "%A" : "%a", v);
	exponent = strchr(text, upper ? 'P' : 'p');
	buf_put(out, text, (size_t)(exponent + 2 - text));
	if (!exponent[3])
		buf_char(out, '0');
	buf_c(out, exponent + 2);
}

static bool put_float(struct buf *out, const struct directive *f, double v)
{
	char format[] = "%.*e";

	switch (f->verb) {
	case 'v':
	case 'g':
	case 'G':
		if (!f->has_precision && f->verb != 'G') {
			number_put_g(out, v);
			return true;
		}
		if (!f->has_precision) {
			size_t from = out->n;
			number_put_g(out, v);
			for (size_t i = from; i < out->n; i++)
				out->p[i] = (char)toupper((unsigned char)out->p[i]);
			return true;
		}
		break;
	case 'e':
	case 'E':
	case 'f':
	case 'F': break;
	case 'x':
	case 'X': put_hex_float(out, f, v); return true;
	default: return false;
	}
	format[3] = f->verb == 'F' ? 'f' : f->verb == 'v' ? 'g' : (char)f->verb;
	{
		int precision = f->has_precision ? f->precision : 6;
		int n = snprintf(NULL, 0, format, precision, v);
		snprintf(buf_reserve(out, (size_t)n + 1), (size_t)n + 1, format, precision, v);
		out->n += (size_t)n;
	}
	return true;
}

static void print_float(struct printer *p, const struct directive *f, const struct datum *d)
{
	size_t from = p->out->n;
	bool plain = isfinite(d->f);

	if (!signbit(d->f) || isnan(d->f)) {
		if (f->plus)
			buf_char(p->out, '+');
		else if (f->space)
			buf_char(p->out, ' ');
	}
	if (!plain && strchr("vgGeEfFxX", (int)f->verb)) {
		bool sign = p->out->n == from && !isnan(d->f);
		buf_c(p->out, isnan(d->f) ? "NaN" : signbit(d->f) ? "-Inf" : sign ? "+Inf" : "Inf");
	} else if (!put_float(p->out, f, d->f)) {
		p->out->n = from;
		bad_verb(p, f, d);
		return;
	}
	pad(p->out, from, f, f->zero && !f->minus && plain);
}

static void print_list(struct printer *p, const struct directive *f, const struct datum *d)
{
	buf_char(p->out, '[');
	for (size_t i = 0; i < d->list.n && p->out->n < TEMPLATE_OUT_MAX; i++) {
		buf_c(p->out, i ? " " : "");
		print_value(p, f, &d->list.p[i]);
	}
	buf_char(p->out, ']');
}

static void print_map(struct printer *p, const struct directive *f, const struct datum *d)
{
	struct datum spread = *d;

	if (datum_spread(p->run, &spread) < 0)
		return;
	buf_c(p->out, "map[");
	for (size_t i = 0; i < spread.map.n && p->out->n < TEMPLATE_OUT_MAX; i++) {
		struct datum key = datum_string(spread.map.p[i].key);
		buf_c(p->out, i ? " " : "");
		print_value(p, f, &key);
		buf_char(p->out, ':');
		print_value(p, f, &spread.map.p[i].value);
	}
	buf_char(p->out, ']');
}

static void print_value(struct printer *p, const struct directive *f, const struct datum *d)
{
	size_t from = p->out->n;

	if (f->verb == 'T') {
		buf_c(p->out, datum_type(d));
		pad(p->out, from, f, false);
		return;
	}
	switch (d->kind) {
	case DATUM_NIL:
		if (f->verb == 'v') {
			buf_c(p->out, "<nil>");
			pad(p->out, from, f, false);
		} else {
			bad_verb(p, f, d);
		}
		break;
	case DATUM_BOOL:
		if (f->verb == 'v' || f->verb == 't') {
			buf_c(p->out, d->b ? "true" : "false");
			pad(p->out, from, f, false);
		} else {
			bad_verb(p, f, d);
		}
		break;
	case DATUM_INT:
		if (strchr("eEfFgG", (int)f->verb) && f->verb)
			bad_verb(p, f, d);
		else
			print_int(p, f, d);
		break;
	case DATUM_FLOAT: print_float(p, f, d); break;
	case DATUM_STRING: print_string(p, f, d); break;
	case DATUM_TIME: {
		struct buf text = {0};
		struct datum s;
		time_string(&text, &d->t);
		s = datum_string(buf_view(&text));
		if (strchr("vsqxX", (int)f->verb) && f->verb)
			print_string(p, f, &s);
		else
			bad_verb(p, f, d);
		buf_fini(&text);
		break;
	}
	case DATUM_LIST: print_list(p, f, d); break;
	case DATUM_MAP:
	case DATUM_ROW: print_map(p, f, d); break;
	}
}

/* A number of the format, or, for a *, of the arguments. */
static bool read_number(struct str *s, int *out)
{
	size_t n = 0;
	long v = 0;

	while (n < s->n && isdigit((unsigned char)s->p[n])) {
		v = v * 10 + (s->p[n++] - '0');
		if (v > WIDTH_MAX)
			return false;
	}
	*s = str_sub(*s, n, s->n);
	*out = (int)v;
	return n > 0;
}

/* [3]: the argument that comes next. */
static void read_index(struct printer *p, struct str *s)
{
	struct str at = *s;
	ptrdiff_t close;
	int index;

	if (at.n == 0 || at.p[0] != '[')
		return;
	p->reordered = true;
	close = str_chr(at, ']');
	if (close < 0) {
		*s = str_sub(at, 1, at.n);
		p->good_index = false;
		return;
	}
	*s = str_sub(at, (size_t)close + 1, at.n);
	at = str_sub(at, 1, (size_t)close);
	if (read_number(&at, &index) && at.n == 0 && index >= 1 && (size_t)index <= p->n)
		p->next = (size_t)index - 1;
	else
		p->good_index = false;
}

/* The value of a *; false when there is no integer. */
static bool star(struct printer *p, int *out)
{
	const struct datum *d;

	if (p->next >= p->n)
		return false;
	d = &p->args[p->next++];
	if (d->kind != DATUM_INT || d->i > WIDTH_MAX || d->i < -WIDTH_MAX)
		return false;
	*out = (int)d->i;
	return true;
}

static void read_flags(struct str *s, struct directive *f)
{
	for (; s->n; *s = str_sub(*s, 1, s->n)) {
		switch (s->p[0]) {
		case '-': f->minus = true; break;
		case '+': f->plus = true; break;
		case '#': f->sharp = true; break;
		case ' ': f->space = true; break;
		case '0': f->zero = true; break;
		default: return;
		}
	}
}

static bool take(struct str *s, char c)
{
	if (s->n == 0 || s->p[0] != c)
		return false;
	*s = str_sub(*s, 1, s->n);
	return true;
}

static void read_width(struct printer *p, struct str *s, struct directive *f)
{
	read_index(p, s);
	if (take(s, '*')) {
		f->has_width = star(p, &f->width);
		if (!f->has_width)
			buf_c(p->out, "%!(BADWIDTH)");
		if (f->width < 0) {
			f->width = -f->width;
			f->minus = true;
		}
	} else {
		f->has_width = read_number(s, &f->width);
	}
}

static void read_precision(struct printer *p, struct str *s, struct directive *f)
{
	if (!take(s, '.'))
		return;
	read_index(p, s);
	if (take(s, '*')) {
		f->has_precision = star(p, &f->precision) && f->precision >= 0;
		if (!f->has_precision)
			buf_c(p->out, "%!(BADPREC)");
		return;
	}
	f->has_precision = true;
	if (!read_number(s, &f->precision))
		f->precision = 0;
}

/* *s stands behind the %. */
static void directive(struct printer *p, struct str *s)
{
	struct directive f = {0};
	size_t n;

	p->good_index = true;
	read_flags(s, &f);
	read_width(p, s, &f);
	read_precision(p, s, &f);
	read_index(p, s);
	if (s->n == 0) {
		buf_c(p->out, "%!(NOVERB)");
		return;
	}
	f.verb = rune_first(*s, &n);
	*s = str_sub(*s, n, s->n);
	if (f.verb == '%') {
		buf_char(p->out, '%');
	} else if (!p->good_index || p->next >= p->n) {
		buf_c(p->out, "%!");
		rune_put(p->out, f.verb);
		buf_c(p->out, p->good_index ? "(MISSING)" : "(BADINDEX)");
	} else {
		print_value(p, &f, &p->args[p->next++]);
	}
}

static void print_extra(struct printer *p)
{
	if (p->reordered || p->next >= p->n)
		return;
	buf_c(p->out, "%!(EXTRA ");
	for (size_t i = p->next; i < p->n; i++) {
		const struct datum *d = &p->args[i];
		buf_c(p->out, i > p->next ? ", " : "");
		buf_c(p->out, datum_type(d));
		if (d->kind == DATUM_NIL)
			continue;
		buf_char(p->out, '=');
		datum_print(p->run, p->out, d);
	}
	buf_char(p->out, ')');
}

int datum_sprintf(struct template_run *r, struct buf *out, struct str format,
	const struct datum *args, size_t n)
{
	struct printer p = {.run = r, .out = out, .args = args, .n = n};

	while (format.n) {
		ptrdiff_t percent = str_chr(format, '%');
		size_t text = percent < 0 ? format.n : (size_t)percent;
		buf_put(out, format.p, text);
		if (out->n > TEMPLATE_OUT_MAX)
			return template_fail(r, "more than %d bytes of text", TEMPLATE_OUT_MAX);
		format = str_sub(format, text + (percent >= 0), format.n);
		if (percent >= 0)
			directive(&p, &format);
	}
	print_extra(&p);
	if (out->n > TEMPLATE_OUT_MAX)
		return template_fail(r, "more than %d bytes of text", TEMPLATE_OUT_MAX);
	return 0;
}
