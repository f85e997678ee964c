/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * For tests: a query's tree in a notation of its own, with every operand in
 * parentheses, so that it tells what was read even where the canonical text is
 * wrong.  Stages are told by their canonical text.
 */
#include <stdio.h>

#include "query/ast.h"
#include "query/query.h"

static inline void dump_names(struct buf *out, const char *word, const struct str *names, size_t n)
{
	buf_printf(out, " %s[", word);
	for (size_t i = 0; i < n; i++) {
		buf_c(out, i ? " " : "");
		buf_str(out, names[i]);
	}
	buf_char(out, ']');
}

static inline void dump_stages(struct buf *out, const struct stage *s)
{
	for (; s; s = s->next) {
		buf_c(out, " <");
		s->type->format(s, out);
		buf_char(out, '>');
	}
}

static inline void dump_log(struct buf *out, const struct log_expr *log)
{
	buf_c(out, "{");
	for (size_t i = 0; i < log->n_matchers; i++) {
		const struct matcher *m = &log->matchers[i];
		buf_c(out, i ? " " : "");
		buf_str(out, m->name);
		buf_printf(out, "%s'%.*s'%s", match_op_text(m->op), STR_ARG(m->value),
			m->regex ? "r" : "");
	}
	buf_c(out, "}");
	dump_stages(out, log->stages);
	for (const struct reshape *x = log->reshapes; x; x = x->next) {
		buf_printf(out, " (%s %llu -%u +%u %d", reshape_kind_name(x->kind),
			(unsigned long long)x->limit, x->before, x->after, x->descending);
		dump_names(out, "by", x->names, x->n);
		buf_char(out, ')');
	}
}

static inline void dump_expr(struct buf *out, const struct expr *x);

static inline void dump_range(struct buf *out, const struct range_expr *x)
{
	buf_printf(out, "%s ", range_function_name(x->function));
	if (x->function == RANGE_QUANTILE_OVER_TIME)
		buf_printf(out, "%.17g ", x->quantile);
	dump_log(out, &x->log);
	if (x->unwrap)
		buf_printf(out, " unwrap %d %.*s", x->unwrap->conversion, STR_ARG(x->unwrap->name));
	dump_stages(out, x->after);
	buf_printf(out, " %lld %lld", (long long)x->range_ns, (long long)x->offset_ns);
	if (x->grouping)
		dump_names(out, x->grouping->kind == GROUP_BY ? "by" : "without",
			x->grouping->names, x->grouping->n);
}

static inline void dump_binary(struct buf *out, const struct binary_expr *x)
{
	dump_expr(out, x->left);
	buf_printf(out, " %s", binary_op_text(x->op));
	if (x->returns_bool)
		buf_c(out, " bool");
	if (x->matched)
		dump_names(out, x->on ? "on" : "ignoring", x->names, x->n_names);
	if (x->cardinality != ONE_TO_ONE)
		dump_names(out, x->cardinality == MANY_TO_ONE ? "left" : "right", x->include,
			x->n_include);
	buf_char(out, ' ');
	dump_expr(out, x->right);
}

static inline void dump_expr(struct buf *out, const struct expr *x)
{
	if (x->kind == EXPR_CONSTANT) {
		buf_printf(out, "%.17g%s", x->constant.value, x->constant.is_vector ? "v" : "");
		return;
	}
	buf_char(out, '(');
	switch (x->kind) {
	case EXPR_LOG: dump_log(out, &x->log); break;
	case EXPR_RANGE: dump_range(out, &x->range); break;
	case EXPR_BINARY: dump_binary(out, &x->binary); break;
	case EXPR_VECTOR:
		buf_c(out, vector_function_name(x->vector.function));
		if (x->vector.k)
			buf_printf(out, " %llu", (unsigned long long)x->vector.k);
		if (x->vector.grouped)
			dump_names(out, x->vector.grouping.kind == GROUP_BY ? "by" : "without",
				x->vector.grouping.names, x->vector.grouping.n);
		buf_char(out, ' ');
		dump_expr(out, x->vector.over);
		break;
	case EXPR_REPLACE:
		buf_c(out, "replace ");
		dump_expr(out, x->replace.over);
		buf_printf(out, " %.*s|%.*s|%.*s|%.*s", STR_ARG(x->replace.to),
			STR_ARG(x->replace.replacement), STR_ARG(x->replace.from),
			STR_ARG(x->replace.pattern));
		break;
	case EXPR_CONSTANT: break;
	}
	buf_char(out, ')');
}

static inline void dump_query(struct buf *out, const struct query *q)
{
	dump_expr(out, q->root);
}
