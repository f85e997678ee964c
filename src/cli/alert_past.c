/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server gives at most 11,000 points of a series in one answer, so a long
 * time is asked for piece by piece.  A piece that takes a server too long is
 * asked for again as two halves, and what follows in pieces of that size.
 */
#include "cli/alert_past.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "cli/print.h"
#include "cli/table.h"
#include "os/clock.h"

enum {
	POINTS_MAX = 11000,
	POINTS_MIN = 60, /* a server that cannot answer so few is not asked for less */
};

/* One series of an answer, and where its next sample stands. */
struct piece_series {
	size_t labels_at, labels_n;
	size_t at, end; /* nodes */
};

struct piece {
	const struct json *json;
	struct piece_series *series;
	size_t n;
	/* What one moment has. */
	struct query_series *now;
	struct query_sample *samples;
};

/* What became of alerts */

static struct past_alert *open_one(struct alert_past *p, struct str labels)
{
	const union map_value *v = map_get(&p->open, labels);

	return v && v->u > 0 ? &p->all[v->u - 1] : NULL;
}

static void on_change(void *arg, const struct alert *a, enum alert_state before, bool is_new)
{
	struct alert_past *p = arg;
	struct past_alert *x;

	if (a->state == ALERT_FIRING) {
		if (p->n == p->cap) {
			p->cap = p->cap ? 2 * p->cap : 32;
			p->all = xrealloc(p->all, p->cap * sizeof *p->all);
		}
		p->all[p->n++] =
			(struct past_alert){.labels = str_make(str_dup(a->labels), a->labels.n),
				.pending_ns = a->active_ns,
				.from_ns = a->fired_ns,
				.until_ns = INT64_MAX,
				.min = a->value,
				.max = a->value};
		map_put(&p->open, a->labels, NULL)->u = p->n;
	} else if (a->state == ALERT_RESOLVED && before == ALERT_FIRING) {
		if ((x = open_one(p, a->labels)))
			x->until_ns = a->resolved_ns;
		map_remove(&p->open, a->labels);
	} else if (a->state == ALERT_RESOLVED) {
		p->n_short++;
	}
}

static void widen(struct alert_past *p, int64_t now_ns)
{
	for (size_t i = 0; i < p->set.n; i++) {
		const struct alert *a = &p->set.all[i];
		struct past_alert *x;

		if (a->state != ALERT_FIRING || a->seen_ns != now_ns ||
			!(x = open_one(p, a->labels)))
			continue;
		x->min = a->value < x->min ? a->value : x->min;
		x->max = a->value > x->max ? a->value : x->max;
	}
}

/* Reading an answer */

static bool read_value(struct str text, double *out)
{
	if (str_double(text, out))
		return true;
	if (str_eq_c(text, "NaN"))
		*out = NAN;
	else if (str_eq_c(text, "+Inf") || str_eq_c(text, "-Inf"))
		*out = text.p[0] == '+' ? INFINITY : -INFINITY;
	else
		return false;
	return true;
}

static bool read_sample(const struct json *j, size_t at, int64_t *ns, double *value)
{
	size_t time = json_first(j, at), text;
	double seconds;

	if (j->nodes[at].type != JSON_ARRAY || time >= json_end(j, at) ||
		(text = json_next(j, time)) >= json_end(j, at) ||
		!str_double(j->nodes[time].text, &seconds) || !(fabs(seconds) < 1e10) ||
		!read_value(j->nodes[text].text, value))
		return false;
	/* A float of seconds is exact to a microsecond; evaluations are not closer than a ms. */
	*ns = llround(seconds * 1000) * NS_PER_MS;
	return true;
}

static int open_piece(
	struct alert_past *p, const struct json *j, struct piece *out, struct error *e)
{
	size_t data = json_get(j, 0, "data"), list = data ? json_get(j, data, "result") : 0;
	struct labels_builder b = {0};

	if (!list || j->nodes[list].type != JSON_ARRAY ||
		!str_eq_c(json_get_text(j, data, "resultType"), "matrix"))
		return error_set(
			e, ERR_ARG, "the answer holds no values over time: is it a metric query?");
	*out = (struct piece){.json = j};
	buf_clear(&p->labels);
	for (size_t i = json_first(j, list); i < json_end(j, list); i = json_next(j, i))
		out->n++;
	out->series = xcalloc(out->n, sizeof *out->series);
	out->now = xcalloc(out->n, sizeof *out->now);
	out->samples = xcalloc(out->n, sizeof *out->samples);
	out->n = 0;
	for (size_t i = json_first(j, list); i < json_end(j, list); i = json_next(j, i)) {
		size_t values = json_get(j, i, "values");
		struct piece_series *s = &out->series[out->n];

		if (!values || j->nodes[values].type != JSON_ARRAY)
			continue;
		s->labels_at = p->labels.n;
		print_labels_of(j, json_get(j, i, "metric"), &b, &p->labels);
		s->labels_n = p->labels.n - s->labels_at;
		s->at = json_first(j, values);
		s->end = json_end(j, values);
		out->n++;
	}
	labels_builder_fini(&b);
	return 0;
}

static void close_piece(struct piece *pc)
{
	free(pc->series);
	free(pc->now);
	free(pc->samples);
}

/* The vector at a moment. */
static struct query_result at_moment(const struct alert_past *p, struct piece *pc, int64_t now_ns)
{
	struct query_result r = {.type = RESULT_VECTOR, .series = pc->now};
	struct str text = buf_view(&p->labels);

	for (size_t i = 0; i < pc->n; i++) {
		struct piece_series *s = &pc->series[i];
		struct query_sample *sample = &pc->samples[i];
		int64_t ns = INT64_MIN;

		while (s->at < s->end && (!read_sample(pc->json, s->at, &ns, &sample->value) ||
						 ns < now_ns - p->step_ns / 2))
			s->at = json_next(pc->json, s->at);
		if (s->at >= s->end || ns > now_ns + p->step_ns / 2)
			continue;
		s->at = json_next(pc->json, s->at);
		pc->now[r.n_series++] = (struct query_series){
			.labels = str_sub(text, s->labels_at, s->labels_at + s->labels_n),
			.samples = sample,
			.n = 1};
	}
	return r;
}

static void step_through(struct alert_past *p, struct piece *pc, int64_t from_ns, uint64_t n)
{
	for (uint64_t k = 0; k < n; k++) {
		int64_t now_ns = from_ns + (int64_t)k * p->step_ns;
		struct query_result r = at_moment(p, pc, now_ns - p->offset_ns);
		struct error e;

		if (r.n_series == 0 && p->set.n == 0)
			continue;
		if (alert_step(&p->set, p->rule, p->limit, &r, now_ns, on_change, p, &e) == 0) {
			widen(p, now_ns);
		} else if (p->n_failed++ == 0) {
			p->failure = xstrdup(e.text);
			p->failed_ns = now_ns;
		}
	}
}

/* Asking */

static int ask(struct alert_past *p, int64_t from_ns, uint64_t n, struct json *j, struct error *e)
{
	struct buf path = {0}, step = {0};
	int r;

	buf_c(&path, "/loki/api/v1/query_range");
	remote_param(&path, "query", p->rule->expr);
	remote_param_i64(&path, "start", from_ns - p->offset_ns);
	remote_param_i64(&path, "end", from_ns - p->offset_ns + (int64_t)(n - 1) * p->step_ns);
	buf_printf(&step, "%.9g", (double)p->step_ns / 1e9);
	remote_param(&path, "step", buf_view(&step));
	r = remote_get(p->remote, buf_cstr(&path), j, e);
	if (r == 0 && remote_warnings_once(p->cl, j, &p->told))
		p->incomplete = true;
	buf_fini(&path);
	buf_fini(&step);
	return r;
}

int alert_past_run(struct alert_past *p, struct error *e)
{
	uint64_t total = (uint64_t)((p->until_ns - p->from_ns) / p->step_ns) + 1, most = POINTS_MAX;
	struct piece piece;
	struct json j;
	int r = 0;

	while (p->n_steps < total && r == 0) {
		uint64_t n = total - p->n_steps < most ? total - p->n_steps : most;
		int64_t from_ns = p->from_ns + (int64_t)p->n_steps * p->step_ns;

		r = ask(p, from_ns, n, &j, e);
		if ((r == ERR_TIMEOUT || r == ERR_LIMIT) && n > POINTS_MIN) {
			most = n / 2;
			r = 0;
			continue;
		}
		if (r < 0 || (r = open_piece(p, &j, &piece, e)) < 0)
			break;
		step_through(p, &piece, from_ns, n);
		close_piece(&piece);
		p->n_steps += n;
	}
	return r;
}

void alert_past_fini(struct alert_past *p)
{
	for (size_t i = 0; i < p->n; i++)
		free((char *)p->all[i].labels.p);
	free(p->all);
	free(p->failure);
	alert_set_fini(&p->set);
	map_fini(&p->open);
	map_fini(&p->told);
	buf_fini(&p->labels);
}
