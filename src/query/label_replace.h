/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* label_replace.  Internal to src/query; one thread. */
#include "query/matrix.h"

/* `in` with the label set, as Prometheus does it, into *out, which is initialised here and to be
 * finished whatever is returned.  ERR_ARG when two series become one, ERR_LIMIT. */
int label_replace(struct run *r, const struct replace_expr *x, struct matrix *in,
	struct matrix *out, struct error *e);
/* Append `template` with $1, ${1} and ${name} replaced by the groups of a match, as Go's
 * regexp.Expand. */
void label_replace_expand(struct str template, const struct regex *regex, const struct str *groups,
	size_t n, struct buf *out);
