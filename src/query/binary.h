/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Binary operators over matrices.  Internal to src/query; one thread. */
#include "query/matrix.h"

/* What one of the two sides is. */
struct operand {
	bool is_scalar;
	double value;         /* of a scalar */
	struct matrix matrix; /* else; it may be changed on the way */
};

/* left op right into *out, which is initialised here and to be finished whatever is returned; not
 * two scalars.  ERR_ARG where several series match, ERR_LIMIT. */
int binary_eval(struct run *r, const struct binary_expr *x, struct operand *left,
	struct operand *right, struct matrix *out, struct error *e);
