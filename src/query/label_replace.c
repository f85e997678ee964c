/* SPDX-License-Identifier: Apache-2.0 */
#include "query/label_replace.h"

#include <stdlib.h>

/* 0 is the whole match. */
enum { GROUPS_MAX = 100 };

static bool is_name_byte(char c)
{
	return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
}

/* The name behind a $, taken off *rest; false: it is none, and the $ stands for itself. */
static bool take_name(struct str *rest, struct str *name)
{
	bool braced = rest->n && rest->p[0] == '{';
	struct str at = str_sub(*rest, braced, rest->n);
	size_t n = 0;

	while (n < at.n && is_name_byte(at.p[n]))
		n++;
	if (n == 0 || (braced && (n == at.n || at.p[n] != '}')))
		return false;
	*name = str_sub(at, 0, n);
	*rest = str_sub(at, n + braced, at.n);
	return true;
}

/* A number without a leading zero is an index, anything else a name. */
static struct str group_of(
	struct str name, const struct regex *regex, const struct str *groups, size_t n)
{
	uint64_t index;

	if ((name.p[0] != '0' || name.n == 1) && str_u64(name, &index))
		return index < n ? groups[index] : STR_NONE;
	for (size_t i = 1; i < n; i++)
		if (str_eq_c(name, regex_group_name(regex, i)))
			return groups[i];
	return STR_NONE;
}

void label_replace_expand(struct str template, const struct regex *regex, const struct str *groups,
	size_t n, struct buf *out)
{
	struct str rest = template, name;
	ptrdiff_t at;

	while ((at = str_chr(rest, '$')) >= 0) {
		buf_str(out, str_sub(rest, 0, (size_t)at));
		rest = str_sub(rest, (size_t)at + 1, rest.n);
		if (rest.n && rest.p[0] == '$') {
			buf_char(out, '$');
			rest = str_sub(rest, 1, rest.n);
		} else if (take_name(&rest, &name)) {
			buf_str(out, group_of(name, regex, groups, n));
		} else {
			buf_char(out, '$');
		}
	}
	buf_str(out, rest);
}

/* Append the labels that the series has from now on. */
static int new_labels(
	const struct replace_expr *x, struct str labels, struct buf *out, struct error *e)
{
	struct str groups[GROUPS_MAX + 1] = {0}, from = STR(""), at = labels;
	size_t n = regex_n_groups(x->regex) + 1;
	struct labels_builder b = {.names_free = true};
	struct buf value = {0};
	struct label l;
	int r;

	n = n > GROUPS_MAX ? GROUPS_MAX : n;
	labels_get(labels, x->from, &from);
	if ((r = regex_find(x->regex, from, 0, groups, n)) < 0)
		return error_set(e, r,
			"the regex of label_replace took too many steps on one value: make it "
			"simpler");
	if (r == 0 || groups[0].n != from.n) {
		buf_str(out, labels);
		return 0;
	}
	label_replace_expand(x->replacement, x->regex, groups, n, &value);
	r = 0;
	for (labels_start(&at); r == 0 && labels_next(&at, &l);)
		r = labels_builder_set(&b, l.name, l.value, e);
	if (r == 0)
		r = labels_builder_set(&b, x->to, buf_view(&value), e);
	labels_builder_write(&b, out);
	labels_builder_fini(&b);
	buf_fini(&value);
	return r;
}

static int move_values(
	const struct matrix_series *from, struct matrix *out, size_t at, struct error *e)
{
	double *to = out->series[at].values;

	for (size_t k = 0; k < out->axis.n; k++) {
		if (value_is_absent(from->values[k]))
			continue;
		if (!value_is_absent(to[k]))
			return error_set(
				e, ERR_ARG, "vector cannot contain metrics with the same labelset");
		to[k] = from->values[k];
	}
	return 0;
}

int label_replace(struct run *run, const struct replace_expr *x, struct matrix *in,
	struct matrix *out, struct error *e)
{
	struct buf labels = {0};
	size_t at;
	int r = 0;

	matrix_init(out, run, &in->axis);
	out->ordered = in->ordered;
	for (size_t i = 0; i < in->n && r == 0; i++) {
		buf_clear(&labels);
		if ((r = run_check(run, e)) == 0 &&
			(r = new_labels(x, in->series[i].labels, &labels, e)) == 0 &&
			(r = matrix_series(out, buf_view(&labels), &at, e)) == 0)
			r = move_values(&in->series[i], out, at, e);
	}
	buf_fini(&labels);
	return r;
}
