/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time and streams are pushed down to the scan, which also skips what it need
 * not read, and so is one text that every line must hold; line filters run
 * here, over the rows that are left.  A column that
 * nobody asks for is never decoded: counting lines touches no line.
 */
#include "query/plan.h"

int64_t plan_add(int64_t a, int64_t b)
{
	int64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return b < 0 ? INT64_MIN : INT64_MAX;
	return sum;
}

static int64_t negate(int64_t v)
{
	return v == INT64_MIN ? INT64_MAX : -v;
}

int plan_axis(struct axis *out, const struct query_params *p, struct error *e)
{
	uint64_t span = p->end_ns > p->start_ns ? (uint64_t)p->end_ns - (uint64_t)p->start_ns : 0;
	uint64_t steps;

	if (p->step_ns < 0)
		return error_set(e, ERR_ARG,
			"zero or negative query resolution step widths are not accepted. "
			"Try a positive integer");
	if (p->step_ns == 0) {
		*out = (struct axis){p->start_ns, 1, 1, true};
		return 0;
	}
	steps = span / (uint64_t)p->step_ns;
	if (steps > QUERY_POINTS_MAX)
		return error_set(e, ERR_ARG,
			"exceeded maximum resolution of 11,000 points per time series. "
			"Try increasing the value of the step parameter");
	*out = (struct axis){
		p->start_ns, p->step_ns, p->end_ns < p->start_ns ? 0 : steps + 1, false};
	return 0;
}

/* An equality costs less than hashing the labels; a regex costs more. */
static bool has_regex(const struct log_expr *log)
{
	for (size_t i = 0; i < log->n_matchers; i++)
		if (log->matchers[i].regex)
			return true;
	return false;
}

/* The longest text that every line must hold: the scan skips what lacks it.  Stages behind one
 * that may change the line do not speak of the line that is stored. */
static struct str contains(const struct log_expr *log)
{
	struct str longest = STR_NONE;

	for (const struct stage *s = log->stages; s && s->type->literal; s = s->next) {
		struct str literal = s->type->literal(s);

		if (literal.n > longest.n)
			longest = literal;
	}
	return longest;
}

struct plan plan_log(const struct log_expr *log, const struct query_params *p)
{
	struct plan plan = {
		.log = log,
		.from_ns = p->start_ns,
		.to_ns = p->end_ns,
		.columns = SCAN_BODY | SCAN_META | stages_columns(log->stages),
		.order = p->forward ? SCAN_OLDEST_FIRST : SCAN_NEWEST_FIRST,
		.contains = contains(log),
		.remember = has_regex(log),
	};

	if (p->resume && p->forward && p->resume_ns > plan.from_ns)
		plan.from_ns = p->resume_ns;
	if (p->resume && !p->forward && plan_add(p->resume_ns, 1) < plan.to_ns)
		plan.to_ns = plan_add(p->resume_ns, 1);
	return plan;
}

struct plan plan_range(
	const struct range_expr *x, const struct axis *axis, const struct grouping *grouping)
{
	bool bytes = x->function == RANGE_BYTES_OVER_TIME || x->function == RANGE_BYTES_RATE;
	bool one_group = grouping->kind == GROUP_BY && grouping->n == 0;
	int64_t back = negate(x->offset_ns), last = axis->n ? axis_time(axis, axis->n - 1) : 0;

	/* The windows are (t - range, t], the scan is [from, to). */
	return (struct plan){
		.log = &x->log,
		.from_ns =
			plan_add(plan_add(plan_add(axis->start_ns, back), negate(x->range_ns)), 1),
		.to_ns = plan_add(plan_add(last, back), 1),
		.columns = (bytes ? SCAN_BODY : 0u) | (one_group ? 0u : SCAN_META) |
			   stages_columns(x->log.stages),
		.order = SCAN_OLDEST_FIRST,
		.contains = contains(&x->log),
		.remember = has_regex(&x->log),
	};
}

const struct grouping *plan_merged(const struct vector_expr *v)
{
	return v->function == VECTOR_SUM && v->over->kind == EXPR_RANGE ? &v->grouping : NULL;
}
