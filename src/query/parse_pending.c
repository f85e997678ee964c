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

static int check_expr(const struct expr *x, struct error *e)
{
	switch (x->kind) {
	case EXPR_LOG: return x->log.reshapes ? pending(e, "| uniq") : 0;
	case EXPR_RANGE:
		if (x->range.function > RANGE_BYTES_RATE)
			return pending(e, range_function_name(x->range.function));
		return x->range.unwrap ? pending(e, "| unwrap") : 0;
	case EXPR_VECTOR:
		if (x->vector.function > VECTOR_COUNT && x->vector.function != VECTOR_TOPK &&
			x->vector.function != VECTOR_BOTTOMK)
			return pending(e, vector_function_name(x->vector.function));
		return check_expr(x->vector.over, e);
	case EXPR_BINARY: return pending(e, binary_op_text(x->binary.op));
	case EXPR_REPLACE: return pending(e, "label_replace");
	case EXPR_CONSTANT: break;
	}
	return 0;
}

int parse_pending_check(const struct query *q, struct error *e)
{
	return check_expr(q->root, e);
}
