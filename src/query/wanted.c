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
