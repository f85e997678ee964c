/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time, streams and the line filters that a pipeline begins with are pushed down
 * to the scan, which knows its lines by template and column and mostly need not
 * put them together to tell.  What follows in the pipeline runs here, over the
 * rows that are left; a line filter behind a stage that may change the line
 * speaks of that line, not of the stored one, and stays here.  A column that
 * nobody asks for is never decoded: counting lines touches no line.
 */
#include "query/plan.h"

#include "query/pipeline.h"
#include "store/lines/filter.h"

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

/* Filters that the stage's rows pass, whether or not it is one itself. */
static size_t filters_of(const struct stage *s, const struct line_filter **out)
{
	if (s->type->filter) {
		*out = s->type->filter(s);
		return 1;
	}
	return s->type->prefilter ? s->type->prefilter(s, out) : 0;
}

/* The stages that a pipeline begins with and that are filters of lines and nothing else are done by
 * the scan.  Of the others those speak of the stored line too that no stage before them changes:
 * they stay, but need not see what the scan can rule out. */
static void push_down(struct plan *plan, struct arena *a)
{
	const struct stage *s = plan->log->stages;
	const struct line_filter *own;
	struct line_filter *filters;
	size_t n = 0;

	for (; s && s->type->filter; s = s->next)
		;
	plan->stages = stages_idle(s, &plan->wanted) ? NULL : s;
	plan->columns |= stages_columns(plan->stages, &plan->wanted);
	for (s = plan->log->stages; s && !s->type->changes_line; s = s->next)
		n += filters_of(s, &own);
	if (n == 0)
		return;
	filters = ARENA_ARRAY(a, struct line_filter, n);
	for (s = plan->log->stages; plan->n_filters < n; s = s->next)
		for (size_t i = 0, k = filters_of(s, &own); i < k; i++)
			filters[plan->n_filters++] = own[i];
	plan->filters = filters;
}

struct plan plan_log(const struct log_expr *log, const struct query_params *p, struct arena *a)
{
	struct plan plan = {
		.log = log,
		.from_ns = p->start_ns,
		.to_ns = p->end_ns,
		.columns = SCAN_BODY | SCAN_META,
		.order = p->forward ? SCAN_OLDEST_FIRST : SCAN_NEWEST_FIRST,
		.wanted = {.all = true, .line = true},
		.remember = has_regex(log),
	};

	push_down(&plan, a);
	if (p->resume && p->forward && p->resume_ns > plan.from_ns)
		plan.from_ns = p->resume_ns;
	if (p->resume && !p->forward && plan_add(p->resume_ns, 1) < plan.to_ns)
		plan.to_ns = plan_add(p->resume_ns, 1);
	return plan;
}

/* What a range aggregation reads of its rows. */
static struct wanted range_wants(const struct range_expr *x, const struct grouping *g, bool bytes)
{
	struct wanted w = {.all = g->kind == GROUP_WITHOUT, .line = bytes};

	for (size_t i = 0; g->kind == GROUP_BY && i < g->n; i++)
		wanted_add(&w, g->names[i]);
	w = stages_wanted(x->after, &w);
	if (x->unwrap)
		wanted_add(&w, x->unwrap->name);
	return w;
}

struct plan plan_count(
	const struct log_expr *log, const struct query_params *p, unsigned columns, struct arena *a)
{
	struct plan plan = plan_log(log, p, a);

	plan.wanted = (struct wanted){0};
	if (stages_idle(plan.stages, &plan.wanted))
		plan.stages = NULL;
	plan.columns = columns | stages_columns(plan.stages, &plan.wanted);
	plan.order = SCAN_OLDEST_FIRST;
	return plan;
}

struct plan plan_range(const struct range_expr *x, const struct axis *axis,
	const struct grouping *grouping, struct arena *a)
{
	bool bytes = x->function == RANGE_BYTES_OVER_TIME || x->function == RANGE_BYTES_RATE;
	bool one_group = grouping->kind == GROUP_BY && grouping->n == 0 && !x->unwrap && !x->after;
	int64_t back = negate(x->offset_ns), last = axis->n ? axis_time(axis, axis->n - 1) : 0;

	/* The windows are (t - range, t], the scan is [from, to). */
	struct plan plan = {
		.log = &x->log,
		.from_ns =
			plan_add(plan_add(plan_add(axis->start_ns, back), negate(x->range_ns)), 1),
		.to_ns = plan_add(plan_add(last, back), 1),
		.columns = (bytes ? SCAN_BODY : 0u) | (one_group ? 0u : SCAN_META),
		.order = SCAN_OLDEST_FIRST,
		.wanted = range_wants(x, grouping, bytes),
		.remember = has_regex(&x->log),
	};

	push_down(&plan, a);
	return plan;
}

const struct grouping *plan_merged(const struct vector_expr *v)
{
	const struct range_expr *x = &v->over->range;
	bool merges = false;

	if (v->over->kind != EXPR_RANGE || x->grouping)
		return NULL;
	switch (x->function) {
	case RANGE_COUNT_OVER_TIME:
	case RANGE_RATE:
	case RANGE_BYTES_OVER_TIME:
	case RANGE_BYTES_RATE:
	case RANGE_SUM_OVER_TIME: merges = v->function == VECTOR_SUM; break;
	case RANGE_MIN_OVER_TIME: merges = v->function == VECTOR_MIN; break;
	case RANGE_MAX_OVER_TIME: merges = v->function == VECTOR_MAX; break;
	default: break;
	}
	return merges ? &v->grouping : NULL;
}
