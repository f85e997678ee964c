/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/place.h"

void problem_add(
	struct conf_errors *errors, const struct place *at, const char *key, const char *fmt, ...)
{
	va_list ap;

	buf_c(&errors->text, at->source);
	if (at->line)
		buf_printf(&errors->text, ":%d:%d", at->line, at->column);
	buf_c(&errors->text, ": ");
	if (key && *key && !at->says_key)
		buf_printf(&errors->text, "%s: ", key);
	va_start(ap, fmt);
	buf_vprintf(&errors->text, fmt, ap);
	va_end(ap);
	buf_char(&errors->text, '\n');
	errors->n++;
}

void nearest_put(struct buf *out, struct str name, const char *const *names)
{
	/* Two letters swapped are a distance of 2; more than a few wrong is another word. */
	unsigned limit = name.n < 4 ? 2 : name.n < 9 ? 3 : 4;
	const char *best = NULL;

	for (; names && *names; names++) {
		unsigned d = str_distance(name, str_c(*names), limit);
		if (d < limit) {
			limit = d;
			best = *names;
		}
	}
	if (best)
		buf_printf(out, " (did you mean \"%s\"?)", best);
}
