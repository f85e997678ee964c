/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser knows the whole language; the stages come one by one.  Until a
 * stage is there, its weak maker here refuses it.  This file goes when the last
 * of them has come; it stands last in the list of sources, so that the linker
 * takes a real maker before one of these.
 */
#include "query/parse.h"

#define WEAK __attribute__((weak))

static int pending(struct error *e, const char *what)
{
	return error_set(e, ERR_UNSUPPORTED, "`%s` is not supported yet", what);
}

WEAK int line_format_new(struct query *q, struct str text, struct stage **out, struct error *e)
{
	(void)q, (void)text, (void)out;
	return pending(e, "| line_format");
}

WEAK int label_format_new(struct query *q, const struct label_assignment *list, size_t n,
	struct stage **out, struct error *e)
{
	(void)q, (void)list, (void)n, (void)out;
	return pending(e, "| label_format");
}
