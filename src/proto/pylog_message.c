/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tuple gives its items in order, anything else is the one argument.  What
 * is no tuple and no text is a mapping for %(key)s as well: after a key the
 * one argument is the value found, so that "%(a)*d" has too few.  Only without
 * a mapping must all arguments be used.
 *
 * A few bytes of format and of memo can ask for a lot of work: each value
 * spelled, each key looked for takes from a budget.
 */
#include "proto/pylog_message.h"

#include "codec/percent.h"
#include "codec/rune.h"

struct merge {
	struct buf *out;
	struct buf scratch;
	const struct pickle_value *tuple, *single, *mapping;
	size_t n_used; /* of the tuple, or of the one */
	size_t left;   /* of the budget */
	size_t most;
	struct error *e;
};

static int spend(struct merge *m, size_t n)
{
	if (n > m->left)
		return error_set(
			m->e, ERR_LIMIT, "message and arguments make more than %zu bytes", m->most);
	m->left -= n;
	return 0;
}

bool message_has_args(const struct pickle_value *args)
{
	if (!args)
		return false;
	switch (args->kind) {
	case PICKLE_NONE: return false;
	case PICKLE_BOOL: return args->b;
	case PICKLE_INT: return args->i != 0;
	case PICKLE_FLOAT: return args->f != 0;
	case PICKLE_TEXT:
	case PICKLE_BYTES: return args->text.n > 0;
	case PICKLE_LIST:
	case PICKLE_TUPLE:
	case PICKLE_SET:
	case PICKLE_DICT: return args->n > 0;
	default: return true;
	}
}

/* ---- arguments ---- */

static void set_args(struct merge *m, const struct pickle_value *args)
{
	m->tuple = args->kind == PICKLE_TUPLE ? args : NULL;
	m->single = m->tuple ? NULL : args;
	m->n_used = 0;
}

static bool all_used(const struct merge *m)
{
	return m->n_used == (m->tuple ? m->tuple->n : 1);
}

static int next_arg(struct merge *m, const struct pickle_value **out)
{
	if (all_used(m))
		return error_set(m->e, ERR_ARG, "not enough arguments for format string");
	*out = m->tuple ? m->tuple->items[m->n_used] : m->single;
	m->n_used++;
	return 0;
}

static int take_key(struct merge *m, struct str key)
{
	const struct pickle_value *v;
	int r;

	if (!m->mapping)
		return error_set(m->e, ERR_ARG, "format requires a mapping");
	if ((r = spend(m, m->mapping->n)) < 0)
		return r;
	if (!(v = pickle_get(m->mapping, key)))
		return error_set(
			m->e, ERR_ARG, "no argument '%.*s'", STR_ARG(str_sub(key, 0, 100)));
	set_args(m, v);
	return 0;
}

static int take_star(struct merge *m, int64_t *out)
{
	const struct pickle_value *v = NULL;
	int r = next_arg(m, &v);

	if (r < 0)
		return r;
	if (v->kind != PICKLE_INT && v->kind != PICKLE_BOOL)
		return error_set(m->e, ERR_ARG, "* wants int");
	*out = v->kind == PICKLE_BOOL ? v->b : v->i;
	return 0;
}

static int take_stars(struct merge *m, struct percent_spec *spec)
{
	int64_t v;
	int r;

	if (spec->star_width &&
		((r = take_star(m, &v)) < 0 || (r = percent_set_width(spec, v, m->e)) < 0))
		return r;
	if (spec->star_precision &&
		((r = take_star(m, &v)) < 0 || (r = percent_set_precision(spec, v, m->e)) < 0))
		return r;
	return 0;
}

/* ---- conversions ---- */

/* Python's ascii(): what repr() left as it is beyond ASCII is escaped too. */
static void escape_rest(struct buf *b)
{
	struct buf out = {0};
	size_t n = 0;

	while (n < b->n && (uint8_t)b->p[n] < 0x80)
		n++;
	if (n == b->n)
		return;
	for (size_t i = 0; i < b->n;) {
		uint32_t rune = rune_first(str_sub(buf_view(b), i, b->n), &n);
		if (rune < 0x80)
			buf_char(&out, (char)rune);
		else
			buf_printf(&out,
				rune < 0x100     ? "\\x%02x"
				: rune < 0x10000 ? "\\u%04x"
						 : "\\U%08x",
				rune);
		i += n;
	}
	buf_fini(b);
	*b = out;
}

static int put_spelled(
	struct merge *m, const struct percent_spec *spec, const struct pickle_value *v)
{
	int r;

	buf_clear(&m->scratch);
	if (spec->type == 's')
		pickle_str(v, MESSAGE_VALUE_MAX, &m->scratch);
	else
		pickle_repr(v, MESSAGE_VALUE_MAX, &m->scratch);
	if (spec->type == 'a')
		escape_rest(&m->scratch);
	if ((r = spend(m, m->scratch.n)) < 0)
		return r;
	return percent_text(m->out, spec, buf_view(&m->scratch), m->e);
}

static int put_text(struct merge *m, const struct percent_spec *spec, const struct pickle_value *v)
{
	if (spec->type == 's' && v->kind == PICKLE_TEXT)
		return percent_text(m->out, spec, v->text, m->e);
	return put_spelled(m, spec, v);
}

static int wants(struct merge *m, const struct percent_spec *spec, const struct pickle_value *v)
{
	struct str type = pickle_type(v);

	if (type.n > 100)
		type.n = 100;
	if (spec->type == 'c')
		return error_set(m->e, ERR_ARG, "%%c requires int or char");
	if (strchr("eEfFgG", spec->type))
		return error_set(m->e, ERR_ARG, "must be real number, not %.*s", STR_ARG(type));
	return error_set(m->e, ERR_ARG, "%%%c format: %s is required, not %.*s", spec->type,
		strchr("oxX", spec->type) ? "an integer" : "a real number", STR_ARG(type));
}

static int put_number(
	struct merge *m, const struct percent_spec *spec, const struct pickle_value *v)
{
	bool real = strchr("eEfFgG", spec->type);
	double f;

	switch (v->kind) {
	case PICKLE_BOOL: return percent_int(m->out, spec, v->b, m->e);
	case PICKLE_INT: return percent_int(m->out, spec, v->i, m->e);
	case PICKLE_FLOAT:
		return spec->type == 'c' ? wants(m, spec, v)
					 : percent_float(m->out, spec, v->f, m->e);
	case PICKLE_BIG:
		/* A huge one has no decimal digits here. */
		if (str_chr(v->text, 'x') >= 0)
			return wants(m, spec, v);
		return percent_decimal(m->out, spec, v->text, m->e);
	case PICKLE_TEXT:
		if (spec->type == 'c')
			return percent_text(m->out, spec, v->text, m->e);
		break;
	default: break;
	}
	if ((real || strchr("diu", spec->type)) && pickle_number(v, &f))
		return percent_float(m->out, spec, f, m->e);
	return wants(m, spec, v);
}

static int convert(struct merge *m, struct percent_spec *spec)
{
	const struct pickle_value *v = NULL;
	size_t before = m->out->n;
	int r;

	if (spec->key.p && (r = take_key(m, spec->key)) < 0)
		return r;
	if ((r = take_stars(m, spec)) < 0)
		return r;
	if (spec->type == '%') {
		buf_char(m->out, '%');
		return 0;
	}
	if ((r = next_arg(m, &v)) < 0)
		return r;
	r = strchr("sra", spec->type) ? put_text(m, spec, v) : put_number(m, spec, v);
	return r < 0 ? r : spend(m, m->out->n - before);
}

int message_merge(struct buf *out, struct str format, const struct pickle_value *args, size_t most,
	struct error *e)
{
	struct merge m = {.out = out, .left = most, .most = most, .e = e};
	struct percent_spec spec;
	struct str literal;
	int r;

	set_args(&m, args);
	if (args->kind == PICKLE_DICT || args->kind == PICKLE_LIST || args->kind == PICKLE_BYTES)
		m.mapping = args;
	while ((r = percent_next(&format, &literal, &spec, e)) == 1) {
		buf_str(out, literal);
		if ((r = convert(&m, &spec)) < 0)
			break;
	}
	if (r == 0) {
		buf_str(out, literal);
		if (!m.mapping && !all_used(&m))
			r = error_set(
				e, ERR_ARG, "not all arguments converted during string formatting");
	}
	buf_fini(&m.scratch);
	return r;
}
