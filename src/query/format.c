/* SPDX-License-Identifier: Apache-2.0 */
/* The canonical text: parsing it again gives the same tree, hence the same text. */
#include <math.h>
#include <stdio.h>

#include "query/ast.h"
#include "query/query.h"
#include "query/quote.h"

/* In Prometheus's spelling, largest unit first: "1d2h", "1m30s", "250ms". */
static void format_duration(struct buf *out, int64_t ns)
{
	static const struct {
		const char *unit;
		int64_t ns;
	} units[] = {
		{"d", INT64_C(86400) * NS_PER_SEC},
		{"h", 3600 * NS_PER_SEC},
		{"m", 60 * NS_PER_SEC},
		{"s", NS_PER_SEC},
		{"ms", NS_PER_MS},
		{"us", 1000},
		{"ns", 1},
	};
	uint64_t left = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;

	if (ns < 0)
		buf_char(out, '-');
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		uint64_t n = left / (uint64_t)units[i].ns;
		if (n)
			buf_printf(out, "%llu%s", (unsigned long long)n, units[i].unit);
		left %= (uint64_t)units[i].ns;
	}
}

static void format_log(struct buf *out, const struct log_expr *log)
{
	buf_char(out, '{');
	for (size_t i = 0; i < log->n_matchers; i++) {
		const struct matcher *m = &log->matchers[i];
		buf_c(out, i ? ", " : "");
		buf_str(out, m->name);
		buf_c(out, match_op_text(m->op));
		quote_go(out, m->value);
	}
	buf_char(out, '}');
	for (const struct stage *s = log->stages; s; s = s->next) {
		buf_char(out, ' ');
		s->type->format(s, out);
	}
}

static void format_range(struct buf *out, const struct range_expr *x)
{
	buf_printf(out, "%s(", range_function_name(x->function));
	format_log(out, &x->log);
	buf_c(out, x->log.stages ? " [" : "[");
	format_duration(out, x->range_ns);
	buf_char(out, ']');
	if (x->offset_ns) {
		buf_c(out, " offset ");
		format_duration(out, x->offset_ns);
	}
	buf_char(out, ')');
}

/* The shortest digits that read back as the same number.  The language has no word for an
 * infinity or for what is no number, so that those become a division. */
static void format_number(struct buf *out, double v)
{
	char text[40];

	if (isnan(v) || isinf(v)) {
		buf_c(out, isnan(v) ? "(0 / 0)" : v > 0 ? "(1 / 0)" : "(-1 / 0)");
		return;
	}
	for (int digits = 1; digits <= 17; digits++) {
		double back = 0;
		snprintf(text, sizeof text, "%.*g", digits, v);
		if (str_double(str_c(text), &back) && back == v)
			break;
	}
	buf_c(out, text);
}

static void format_constant(struct buf *out, const struct constant_expr *c)
{
	bool finite = isfinite(c->value);

	if (c->is_vector && finite)
		buf_c(out, "vector(");
	format_number(out, c->value);
	if (c->is_vector)
		buf_c(out, finite ? ")" : " + vector(0)");
}

static void format_expr(struct buf *out, const struct expr *x)
{
	switch (x->kind) {
	case EXPR_LOG: format_log(out, &x->log); break;
	case EXPR_RANGE: format_range(out, &x->range); break;
	case EXPR_BINARY:
	case EXPR_REPLACE:
	case EXPR_CONSTANT: format_constant(out, &x->constant); break;
	case EXPR_VECTOR:
		buf_c(out, vector_function_name(x->vector.function));
		if (x->vector.grouping.n || x->vector.grouping.kind != GROUP_BY)
			buf_char(out, ' ');
		grouping_format(&x->vector.grouping, out);
		buf_char(out, '(');
		if (x->vector.k)
			buf_printf(out, "%llu, ", (unsigned long long)x->vector.k);
		format_expr(out, x->vector.over);
		buf_char(out, ')');
		break;
	}
}

void query_format(const struct query *q, struct buf *out)
{
	format_expr(out, q->root);
}
