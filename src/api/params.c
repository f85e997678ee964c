/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parameters that requests for reading share, and their errors.  Source:
 * Loki's HTTP API documentation.
 */
#include "api/internal.h"

#include "base/duration.h"
#include "record/time.h"

enum {
	DEFAULT_POINTS = 250, /* what Loki's default step aims at */
	POINTS_MAX = 11000,
};

int api_param_u64(struct http_request *r, const char *param, uint64_t fallback, uint64_t *out,
	struct error *e)
{
	struct str s;

	*out = fallback;
	if (!http_param(r, param, &s) || s.n == 0 || str_u64(s, out))
		return 0;
	return error_set(e, ERR_ARG, "%s: must be a whole number from 0 on, got \"%.*s\"", param,
		STR_ARG(str_sub(s, 0, 100)));
}

bool api_param_bool(struct http_request *r, const char *param, bool fallback)
{
	struct str s;

	return http_param(r, param, &s) && s.n ? str_eq(s, STR("true")) : fallback;
}

int api_param_time(struct http_request *r, const char *param, int64_t *out, struct error *e)
{
	struct str s;

	if (!http_param(r, param, &s) || s.n == 0 || time_parse_api(s, out))
		return 0;
	return error_set(e, ERR_ARG,
		"%s: could not parse \"%.*s\": expected RFC 3339, or seconds or nanoseconds since "
		"1970",
		param, STR_ARG(str_sub(s, 0, 100)));
}

/* Clients name the ends of time when they mean "all": what lies beyond is the end. */
static int64_t before(int64_t t, int64_t span)
{
	int64_t at;

	if (__builtin_sub_overflow(t, span, &at))
		return span > 0 ? INT64_MIN : INT64_MAX;
	return at;
}

int api_time_range(struct http_request *r, int64_t now_ns, int64_t default_since_ns, int64_t *start,
	int64_t *end, struct error *e)
{
	int64_t since = default_since_ns;
	struct str s;
	int code;

	*end = now_ns;
	if ((code = api_param_time(r, "end", end, e)) < 0)
		return code;
	if (http_param(r, "since", &s) && s.n && !duration_parse(s, &since))
		return error_set(e, ERR_ARG,
			"since: could not parse \"%.*s\": expected a duration "
			"like 5m or 1h30m",
			STR_ARG(str_sub(s, 0, 100)));
	*start = before(*end, since);
	return api_param_time(r, "start", start, e);
}

/* A duration, or seconds as a float. */
int api_step(struct http_request *r, struct query_params *p, struct error *e)
{
	/* All of time does not fit int64. */
	uint64_t span = (uint64_t)p->end_ns - (uint64_t)p->start_ns;
	int64_t span_s = (int64_t)(span / (uint64_t)NS_PER_SEC);
	double seconds;
	struct str s;

	p->step_ns = (span_s / DEFAULT_POINTS > 1 ? span_s / DEFAULT_POINTS : 1) * NS_PER_SEC;
	if (!http_param(r, "step", &s) || s.n == 0)
		return 0;
	if (str_double(s, &seconds) && seconds > -9e9 && seconds < 9e9)
		p->step_ns = (int64_t)(seconds * 1e9);
	else if (!duration_parse(s, &p->step_ns))
		return error_set(e, ERR_ARG,
			"step: could not parse \"%.*s\": expected a duration like "
			"30s, or seconds",
			STR_ARG(str_sub(s, 0, 100)));
	if (p->step_ns <= 0)
		return error_set(e, ERR_ARG,
			"zero or negative query resolution step widths are not "
			"accepted. Try a positive integer");
	if (span / (uint64_t)p->step_ns > POINTS_MAX)
		return error_set(e, ERR_ARG,
			"exceeded maximum resolution of 11,000 points per time "
			"series. Try increasing the value of the step parameter");
	return 0;
}

struct view *api_view(struct job *j)
{
	struct view *v = view_open(
		j->api->o.store, j->api->o.peers, api_param_bool(j->request, "local", false));

	view_limit(v, &j->api->query_account, &j->cancel);
	return v;
}

void api_query_params(struct job *j, struct query_params *p)
{
	p->tenant = j->tenant;
	p->timeout_ns = j->api->o.query_timeout_ns;
	p->memory_bytes = j->api->query_account.limit;
	p->max_series = API_SERIES_MAX;
	p->account = &j->api->query_account;
	p->cancel = &j->cancel;
	p->strict = api_strict(j->api, j->request);
}

int api_window(struct job *j, struct query_params *p, struct error *e)
{
	int r;

	api_query_params(j, p);
	if ((r = api_time_range(j->request, clock_now_ns(j->api->o.clock), 3600 * NS_PER_SEC,
		     &p->start_ns, &p->end_ns, e)) < 0)
		return r;
	if (p->end_ns <= p->start_ns)
		return error_set(
			e, ERR_ARG, "end timestamp must not be before or equal to start time");
	return 0;
}
