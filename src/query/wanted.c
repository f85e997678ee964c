/* SPDX-License-Identifier: Apache-2.0 */
#include "query/wanted.h"

static const struct str extracted = STR_INIT("_extracted");

void wanted_add(struct wanted *w, struct str name)
{
	for (size_t i = 0; i < w->n; i++)
		if (str_eq(w->names[i], name))
			return;
	if (w->n == WANTED_MAX)
		w->all = true;
	else
		w->names[w->n++] = name;
}

void wanted_remove(struct wanted *w, struct str name)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++)
		if (!str_eq(w->names[i], name))
			w->names[n++] = w->names[i];
	w->n = n;
}

static bool is_extracted_of(struct str wanted, struct str name)
{
	return wanted.n == name.n + extracted.n && str_starts(wanted, name) &&
	       str_ends(wanted, extracted);
}

bool wanted_has(const struct wanted *w, struct str name)
{
	if (w->all)
		return true;
	for (size_t i = 0; i < w->n; i++)
		if (str_eq(w->names[i], name) || is_extracted_of(w->names[i], name))
			return true;
	return false;
}

static bool is_error(struct str name)
{
	return str_eq(name, STR("__error__")) || str_eq(name, STR("__error_details__"));
}

static size_t add_target(struct str *out, size_t n, struct str name)
{
	if (name.n == 0)
		return n;
	for (size_t i = 0; i < n; i++)
		if (str_eq(out[i], name))
			return n;
	out[n] = name;
	return n + 1;
}

size_t wanted_targets(const struct wanted *w, struct str *out)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++) {
		if (!is_error(w->names[i]))
			n = add_target(out, n, w->names[i]);
		if (str_ends(w->names[i], extracted))
			n = add_target(
				out, n, str_sub(w->names[i], 0, w->names[i].n - extracted.n));
	}
	return n;
}

const uint8_t label_name_chars[256] = {
	['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['_'] = 1, ['a' ... 'z'] = 1};

/* Within a character of several bytes: its first byte alone becomes a _. */
static bool continues(struct str raw, size_t i)
{
	return i > 0 && ((unsigned char)raw.p[i] & 0xc0) == 0x80 &&
	       (unsigned char)raw.p[i - 1] >= 0x80;
}

static bool needs_front(struct str raw, bool first)
{
	return first && raw.n && raw.p[0] >= '0' && raw.p[0] <= '9';
}

size_t label_name_length(struct str raw, bool first)
{
	size_t n = needs_front(raw, first);

	for (size_t i = 0; i < raw.n; i++)
		n += !continues(raw, i);
	return n;
}

void label_name_make(char *out, struct str raw, bool first)
{
	if (needs_front(raw, first))
		*out++ = '_';
	for (size_t i = 0; i < raw.n; i++)
		if (!continues(raw, i))
			*out++ = (char)(label_name_char((unsigned char)raw.p[i]) ? raw.p[i] : '_');
}

bool label_name_is(struct str name, struct str raw, bool first)
{
	size_t n = 0;

	if (needs_front(raw, first)) {
		if (name.n == 0 || name.p[0] != '_')
			return false;
		n = 1;
	}
	for (size_t i = 0; i < raw.n; i++) {
		char c = (char)(label_name_char((unsigned char)raw.p[i]) ? raw.p[i] : '_');
		if (continues(raw, i))
			continue;
		if (n == name.n || name.p[n] != c)
			return false;
		n++;
	}
	return n == name.n;
}
