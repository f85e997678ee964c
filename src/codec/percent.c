/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A conversion is %[(key)][flags][width][.precision][length]type.  Python is
 * close to C's printf and differs in places that matter to a byte: widths
 * count characters and not bytes, "0o" stands before octal numbers, zeros fill
 * "inf" as well, and "-nan" is "nan".  So printf makes the
 * digits of a float alone, and sign, prefix and filling are put on here.
 */
#include "codec/percent.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "codec/rune.h"

enum {
	REPR_DIGITS_MAX = 17, /* of a double: what always reads back as the same value */
	REPR_POINT_MIN = -4,  /* exponents below and from here on are written with an e */
	REPR_POINT_MAX = 16,
	LIMB = 1000000000, /* digits of a large integer go in by nine */
	LIMB_DIGITS = 9,
	BASE_DIGITS_MAX =
		400, /* of what is written in base 8 or 16: the time grows by the square */
};

/* ---- formats ---- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The key behind "%(": parentheses in it come in pairs. */
static int read_key(struct str f, size_t *at, struct str *key, struct error *e)
{
	size_t start = *at + 1, i = start;

	for (int depth = 1; i < f.n; i++) {
		depth += f.p[i] == '(';
		depth -= f.p[i] == ')';
		if (depth == 0)
			break;
	}
	if (i == f.n)
		return error_set(e, ERR_ARG, "incomplete format key");
	*key = str_make(f.p + start, i - start);
	*at = i + 1;
	return 0;
}

static void read_flags(struct str f, size_t *at, struct percent_spec *spec)
{
	for (; *at < f.n; ++*at) {
		switch (f.p[*at]) {
		case '-': spec->left = true; break;
		case '+': spec->plus = true; break;
		case ' ': spec->space = true; break;
		case '#': spec->alternate = true; break;
		case '0': spec->zero = true; break;
		default: return;
		}
	}
}

/* A number or a star, maybe none. */
static int read_number(
	struct str f, size_t *at, const char *what, int *out, bool *star, struct error *e)
{
	int v = 0;

	if (*at < f.n && f.p[*at] == '*') {
		*star = true;
		++*at;
		return 0;
	}
	for (; *at < f.n && is_digit(f.p[*at]); ++*at) {
		v = v * 10 + f.p[*at] - '0';
		if (v > PERCENT_WIDTH_MAX)
			return error_set(
				e, ERR_LIMIT, "%s too big: at most %d", what, PERCENT_WIDTH_MAX);
	}
	*out = v;
	return 0;
}

/* Read the conversion behind the '%' that f begins with; *at becomes its length. */
static int read_spec(struct str f, size_t *at, struct percent_spec *spec, struct error *e)
{
	uint32_t c;
	size_t n;
	int r;

	*spec = (struct percent_spec){.precision = -1};
	*at = 1;
	if (*at < f.n && f.p[*at] == '(' && (r = read_key(f, at, &spec->key, e)) < 0)
		return r;
	read_flags(f, at, spec);
	if ((r = read_number(f, at, "width", &spec->width, &spec->star_width, e)) < 0)
		return r;
	if (*at < f.n && f.p[*at] == '.') {
		++*at;
		spec->precision = 0;
		r = read_number(f, at, "precision", &spec->precision, &spec->star_precision, e);
		if (r < 0)
			return r;
	}
	/* C's lengths mean nothing here. */
	if (*at < f.n && f.p[*at] && strchr("hlL", f.p[*at]))
		++*at;
	if (*at >= f.n)
		return error_set(e, ERR_ARG, "incomplete format");
	/* "%%" is a percent sign, "%5%" is nothing. */
	if (!f.p[*at] || !strchr("sradiouxXeEfFgGc%", f.p[*at]) || (f.p[*at] == '%' && *at > 1)) {
		c = rune_first(str_sub(f, *at, f.n), &n);
		if (n == 1)
			c = (unsigned char)f.p[*at]; /* one that is no UTF-8 stands for itself */
		return error_set(e, ERR_ARG, "unsupported format character '%c' (0x%x)",
			c >= 31 && c < 128 ? (char)c : '?', c);
	}
	spec->type = f.p[(*at)++];
	return 0;
}

int percent_next(
	struct str *format, struct str *literal, struct percent_spec *spec, struct error *e)
{
	ptrdiff_t percent = str_chr(*format, '%');
	size_t n;
	int r;

	if (percent < 0) {
		*literal = *format;
		*format = STR_NONE;
		return 0;
	}
	*literal = str_sub(*format, 0, (size_t)percent);
	*format = str_sub(*format, (size_t)percent, format->n);
	if ((r = read_spec(*format, &n, spec, e)) < 0)
		return r;
	*format = str_sub(*format, n, format->n);
	return 1;
}

int percent_set_width(struct percent_spec *spec, int64_t value, struct error *e)
{
	if (value > PERCENT_WIDTH_MAX || value < -PERCENT_WIDTH_MAX)
		return error_set(e, ERR_LIMIT, "width too big: at most %d", PERCENT_WIDTH_MAX);
	if (value < 0)
		spec->left = true;
	spec->width = (int)(value < 0 ? -value : value);
	spec->star_width = false;
	return 0;
}

int percent_set_precision(struct percent_spec *spec, int64_t value, struct error *e)
{
	if (value > PERCENT_WIDTH_MAX)
		return error_set(e, ERR_LIMIT, "precision too big: at most %d", PERCENT_WIDTH_MAX);
	spec->precision = (int)(value < 0 ? 0 : value);
	spec->star_precision = false;
	return 0;
}

/* ---- filling ---- */

static void fill(struct buf *out, char c, size_t n)
{
	if (n == 0)
		return;
	memset(buf_reserve(out, n), c, n);
	out->n += n;
}

static void put_text(struct buf *out, const struct percent_spec *spec, struct str s, bool cuts)
{
	size_t n, width = (size_t)spec->width;

	if (cuts && spec->precision >= 0)
		s = rune_prefix(s, (size_t)spec->precision);
	n = width ? rune_count(s) : 0;
	if (n < width && !spec->left)
		fill(out, ' ', width - n);
	buf_str(out, s);
	if (n < width && spec->left)
		fill(out, ' ', width - n);
}

/* A number out of its parts; `zeros` stand between prefix and digits. */
static void put_number(struct buf *out, const struct percent_spec *spec, bool negative,
	const char *prefix, size_t zeros, struct str digits)
{
	char sign = negative ? '-' : spec->plus ? '+' : spec->space ? ' ' : 0;
	size_t n = (sign != 0) + strlen(prefix) + zeros + digits.n;
	size_t more = (size_t)spec->width > n ? (size_t)spec->width - n : 0;

	if (!spec->left && !spec->zero)
		fill(out, ' ', more);
	if (sign)
		buf_char(out, sign);
	buf_c(out, prefix);
	fill(out, '0', zeros);
	if (!spec->left && spec->zero)
		fill(out, '0', more);
	buf_str(out, digits);
	if (spec->left)
		fill(out, ' ', more);
}

static void put_integer(
	struct buf *out, const struct percent_spec *spec, bool negative, struct str digits)
{
	const char *prefix = "";
	size_t least = spec->precision > 0 ? (size_t)spec->precision : 0;

	if (spec->alternate)
		prefix = spec->type == 'x'   ? "0x"
			 : spec->type == 'X' ? "0X"
			 : spec->type == 'o' ? "0o"
					     : "";
	put_number(out, spec, negative, prefix, digits.n < least ? least - digits.n : 0, digits);
}

static int wants(const struct percent_spec *spec, const char *type, struct error *e)
{
	if (spec->type == 'c')
		return error_set(e, ERR_ARG, "%%c requires int or char");
	if (strchr("eEfFgG", spec->type))
		return error_set(e, ERR_ARG, "must be real number, not %s", type);
	return error_set(e, ERR_ARG, "%%%c format: %s is required, not %s", spec->type,
		strchr("oxX", spec->type) ? "an integer" : "a real number", type);
}

static bool is_text(char type)
{
	return type == 's' || type == 'r' || type == 'a';
}

int percent_text(
	struct buf *out, const struct percent_spec *spec, struct str value, struct error *e)
{
	if (spec->type == 'c' ? rune_count(value) != 1 : !is_text(spec->type))
		return wants(spec, "str", e);
	put_text(out, spec, value, spec->type != 'c');
	return 0;
}

/* ---- integers ---- */

static int put_character(
	struct buf *out, const struct percent_spec *spec, int64_t value, struct error *e)
{
	char bytes[RUNE_BYTES_MAX];

	if (value < 0 || value >= 0x110000)
		return error_set(e, ERR_ARG, "%%c arg not in range(0x110000)");
	put_text(out, spec, str_make(bytes, rune_encode(bytes, (uint32_t)value)), false);
	return 0;
}

int percent_int(struct buf *out, const struct percent_spec *spec, int64_t value, struct error *e)
{
	char digits[24];
	uint64_t v = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	unsigned base = spec->type == 'o' ? 8 : spec->type == 'x' || spec->type == 'X' ? 16 : 10;
	const char *letters = spec->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	size_t n = sizeof digits;

	if (spec->type == 'c')
		return put_character(out, spec, value, e);
	if (strchr("eEfFgG", spec->type))
		return percent_float(out, spec, (double)value, e);
	do
		digits[--n] = letters[v % base];
	while (v /= base);
	if (is_text(spec->type)) {
		if (value < 0)
			digits[--n] = '-';
		put_text(out, spec, str_make(digits + n, sizeof digits - n), true);
	} else {
		put_integer(out, spec, value < 0, str_make(digits + n, sizeof digits - n));
	}
	return 0;
}

/* The digits of a large decimal number in base 8 or 16; the caller frees them. */
static struct buf change_base(struct str decimal, unsigned base, bool upper)
{
	const char *letters = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	size_t n = (decimal.n + LIMB_DIGITS - 1) / LIMB_DIGITS, used = 0;
	uint32_t *limbs = xcalloc(n + 1, sizeof *limbs);
	struct buf out = {0};

	/* Limbs of base LIMB, the largest first; then divide by the base until nothing is left. */
	for (size_t end = decimal.n % LIMB_DIGITS ? decimal.n % LIMB_DIGITS : LIMB_DIGITS;
		end <= decimal.n; end += LIMB_DIGITS, used++)
		for (size_t i = end < LIMB_DIGITS ? 0 : end - LIMB_DIGITS; i < end; i++)
			limbs[used] = limbs[used] * 10 + (uint32_t)(decimal.p[i] - '0');
	for (size_t first = 0; first < used;) {
		uint64_t left = 0;
		for (size_t i = first; i < used; i++) {
			left = left * LIMB + limbs[i];
			limbs[i] = (uint32_t)(left / base);
			left %= base;
		}
		buf_char(&out, letters[left]);
		while (first < used && limbs[first] == 0)
			first++;
	}
	for (size_t i = 0; i < out.n / 2; i++) {
		char c = out.p[i];
		out.p[i] = out.p[out.n - 1 - i];
		out.p[out.n - 1 - i] = c;
	}
	free(limbs);
	return out;
}

static int decimal_as_float(
	struct buf *out, const struct percent_spec *spec, struct str decimal, struct error *e)
{
	char *text = str_dup(decimal);
	double v = strtod(text, NULL);

	free(text);
	if (isinf(v))
		return error_set(e, ERR_ARG, "int too large to convert to float");
	return percent_float(out, spec, v, e);
}

int percent_decimal(
	struct buf *out, const struct percent_spec *spec, struct str decimal, struct error *e)
{
	bool negative = decimal.n && decimal.p[0] == '-';
	struct str digits = str_sub(decimal, negative, decimal.n);
	int64_t v;

	if (is_text(spec->type)) {
		put_text(out, spec, decimal, true);
		return 0;
	}
	if (digits.n == 0 || digits.n > PERCENT_WIDTH_MAX)
		return error_set(e, ERR_LIMIT, "integer of %zu digits: at most %d", digits.n,
			PERCENT_WIDTH_MAX);
	for (size_t i = 0; i < digits.n; i++)
		if (!is_digit(digits.p[i]))
			return wants(spec, "str", e);
	if (str_i64(decimal, &v))
		return percent_int(out, spec, v, e);
	if (strchr("eEfFgG", spec->type))
		return decimal_as_float(out, spec, decimal, e);
	if (spec->type == 'c')
		return error_set(e, ERR_ARG, "%%c arg not in range(0x110000)");
	if (strchr("oxX", spec->type)) {
		if (digits.n > BASE_DIGITS_MAX)
			return error_set(e, ERR_LIMIT, "integer of %zu digits: at most %d for %%%c",
				digits.n, BASE_DIGITS_MAX, spec->type);
		struct buf other =
			change_base(digits, spec->type == 'o' ? 8 : 16, spec->type == 'X');
		put_integer(out, spec, negative, buf_view(&other));
		buf_fini(&other);
	} else {
		put_integer(out, spec, negative, digits);
	}
	return 0;
}

/* ---- floats ---- */

static int float_as_integer(
	struct buf *out, const struct percent_spec *spec, double value, struct error *e)
{
	char text[320];

	if (isnan(value))
		return error_set(e, ERR_ARG, "cannot convert float NaN to integer");
	if (isinf(value))
		return error_set(e, ERR_ARG, "cannot convert float infinity to integer");
	/* 2^63 is exact as a double; a larger one has all its digits printed. */
	if (value > -0x1p63 && value < 0x1p63)
		return percent_int(out, spec, (int64_t)value, e);
	snprintf(text, sizeof text, "%.0f", value);
	return percent_decimal(out, spec, str_c(text), e);
}

int percent_float(struct buf *out, const struct percent_spec *spec, double value, struct error *e)
{
	struct buf digits = {0};
	char format[8] = "%.*", type[2] = {spec->type, 0};
	int precision = spec->precision < 0 ? 6 : spec->precision;

	if (is_text(spec->type)) {
		percent_repr(&digits, value);
		put_text(out, spec, buf_view(&digits), true);
		buf_fini(&digits);
		return 0;
	}
	if (strchr("diu", spec->type))
		return float_as_integer(out, spec, value, e);
	if (!strchr("eEfFgG", spec->type))
		return wants(spec, "float", e);
	if (spec->alternate)
		strcpy(format, "%#.*");
	strcat(format, type);
	buf_reserve(&digits, 400);
	for (;;) {
		/* The format is one of twelve, made right above. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		int n = snprintf(digits.p, digits.cap, format, precision, fabs(value));
#pragma GCC diagnostic pop
		if ((size_t)n < digits.cap) {
			digits.n = (size_t)n;
			break;
		}
		buf_reserve(&digits, (size_t)n + 1);
	}
	put_number(out, spec, signbit(value) && !isnan(value), "", 0, buf_view(&digits));
	buf_fini(&digits);
	return 0;
}

/* The shortest digits of a finite value, and the power of ten of the first. */
static struct str shortest(double value, char text[32], int *exponent)
{
	size_t n = 0;
	char *e;

	/* Up to 15 digits are kept by every double but the tiny ones of less precision: so 15 with
	 * the zeros cut off are the shortest already. */
	for (int digits = value < DBL_MIN ? 1 : DBL_DIG; digits <= REPR_DIGITS_MAX; digits++) {
		snprintf(text, 32, "%.*e", digits - 1, value);
		if (strtod(text, NULL) == value)
			break;
	}
	/* "d.ddde+xx": the point goes. */
	e = strchr(text, 'e');
	*exponent = atoi(e + 1);
	for (char *p = text; p < e; p++)
		if (*p != '.')
			text[n++] = *p;
	while (n > 1 && text[n - 1] == '0')
		n--;
	return str_make(text, n);
}

void percent_repr(struct buf *out, double value)
{
	char text[32];
	struct str digits;
	int exponent;

	if (isnan(value)) {
		buf_c(out, "nan");
		return;
	}
	if (signbit(value))
		buf_char(out, '-');
	if (isinf(value)) {
		buf_c(out, "inf");
		return;
	}
	digits = shortest(fabs(value), text, &exponent);
	if (exponent < REPR_POINT_MIN || exponent >= REPR_POINT_MAX) {
		buf_char(out, digits.p[0]);
		if (digits.n > 1)
			buf_char(out, '.');
		buf_str(out, str_sub(digits, 1, digits.n));
		buf_printf(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
		return;
	}
	if (exponent < 0) {
		buf_c(out, "0.");
		fill(out, '0', (size_t)(-exponent - 1));
		buf_str(out, digits);
		return;
	}
	buf_str(out, str_sub(digits, 0, (size_t)exponent + 1));
	if (digits.n < (size_t)exponent + 1)
		fill(out, '0', (size_t)exponent + 1 - digits.n);
	buf_char(out, '.');
	buf_str(out, digits.n > (size_t)exponent + 1
			     ? str_sub(digits, (size_t)exponent + 1, digits.n)
			     : STR("0"));
}
