/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One evaluation: what the result has is expanded first, all of it, so that an
 * error leaves the set as it was; then the set is brought to it.
 */
#include "alert/alert.h"

#include <stdlib.h>

#include "alert/expand.h"
#include "base/map.h"
#include "base/memory.h"
#include "query/template_text.h"

const char *const alert_states[] = {"pending", "firing", "resolved"};

/* What the result has of an alert. */
struct now {
	size_t labels_at, labels_n, annotations_at, annotations_n; /* in text */
	double value;
};

struct step {
	struct alert_set *set;
	const struct rule *rule;
	int64_t now_ns;
	alert_changed *changed;
	void *arg;
	/* The result. */
	struct now *all;
	size_t n;
	struct buf text;
	struct map by_labels; /* 1 + index; 0 once it was found in the set */
};

static struct str own(struct str s)
{
	return (struct str){str_dup(s), s.n};
}

static void alert_fini(struct alert *a)
{
	free((char *)a->labels.p);
	free((char *)a->annotations.p);
}

void alert_set_fini(struct alert_set *s)
{
	for (size_t i = 0; i < s->n; i++)
		alert_fini(&s->all[i]);
	free(s->all);
	*s = (struct alert_set){.external_url = s->external_url};
}

static struct str view(const struct step *s, size_t at, size_t n)
{
	return str_sub(buf_view(&s->text), at, at + n);
}

static void tell(const struct step *s, const struct alert *a, enum alert_state before, bool is_new)
{
	if (s->changed)
		s->changed(s->arg, a, before, is_new);
}

static int same_labels(struct str labels, struct error *e)
{
	struct buf text = {0};

	labels_text(&text, labels);
	error_set(e, ERR_ARG,
		"two series of the result have the labels %.*s once those of the rule are applied: "
		"leave a label in the query that tells them apart",
		STR_ARG(str_sub(buf_view(&text), 0, 300)));
	buf_fini(&text);
	return ERR_ARG;
}

/* Labels and annotations of all series. */
static int expand_all(struct step *s, const struct query_result *result, struct error *e)
{
	struct expander *x = expander_new(s->rule);
	int r = 0;

	s->all = xcalloc(result->n_series, sizeof *s->all);
	for (size_t i = 0; i < result->n_series && r == 0; i++) {
		const struct query_series *in = &result->series[i];
		struct now *out = &s->all[s->n];
		struct template_about about = {.labels = in->labels,
			.now_ns = s->now_ns,
			.external_url = s->set->external_url};
		bool added;

		if (in->n == 0 || (result->type == RESULT_SCALAR && in->samples[0].value == 0))
			continue;
		about.value = out->value = in->samples[0].value;
		out->labels_at = s->text.n;
		expander_labels(x, &about, &s->text);
		out->labels_n = s->text.n - out->labels_at;
		out->annotations_at = s->text.n;
		expander_annotations(x, &about, &s->text);
		out->annotations_n = s->text.n - out->annotations_at;
		map_put(&s->by_labels, view(s, out->labels_at, out->labels_n), &added)->u = ++s->n;
		if (!added)
			r = same_labels(view(s, out->labels_at, out->labels_n), e);
	}
	expander_free(x);
	return r;
}

static int prepare(
	struct step *s, uint64_t limit, const struct query_result *result, struct error *e)
{
	uint64_t most = limit && limit < ALERTS_MAX ? limit : ALERTS_MAX;

	if (result->type != RESULT_VECTOR && result->type != RESULT_SCALAR)
		return error_set(e, ERR_ARG,
			"a rule asks for one value a series: its expression "
			"must be a metric query");
	if (result->n_series > most)
		return error_set(e, ERR_LIMIT,
			"%zu series where at most %llu alerts are allowed: aggregate to fewer "
			"labels, or raise the limit of the group",
			result->n_series, (unsigned long long)most);
	return expand_all(s, result, e);
}

/* Its series is there. */
static void refresh(const struct step *s, struct alert *a, const struct now *now, bool is_new)
{
	struct str annotations = view(s, now->annotations_at, now->annotations_n);
	enum alert_state before;

	if (a->state == ALERT_RESOLVED) {
		is_new = true;
		a->fired_ns = a->resolved_ns = 0;
	}
	if (is_new) {
		a->state = ALERT_PENDING;
		a->active_ns = s->now_ns;
	}
	before = a->state;
	/* The clock was set back: nothing began in the future. */
	if (a->active_ns > s->now_ns)
		a->active_ns = s->now_ns;
	if (is_new || !str_eq(a->annotations, annotations)) {
		free((char *)a->annotations.p);
		a->annotations = own(annotations);
	}
	a->value = now->value;
	a->seen_ns = s->now_ns;
	a->gone_ns = 0;
	if (a->state == ALERT_PENDING && s->now_ns - a->active_ns >= s->rule->for_ns) {
		a->state = ALERT_FIRING;
		a->fired_ns = s->now_ns;
	}
	if (is_new || a->state != before)
		tell(s, a, before, is_new);
}

/* Its series is not there.  False: it is to be forgotten. */
static bool miss(const struct step *s, struct alert *a)
{
	enum alert_state before = a->state;

	switch (a->state) {
	case ALERT_PENDING: break;
	case ALERT_FIRING:
		if (a->gone_ns == 0 || a->gone_ns > s->now_ns)
			a->gone_ns = s->now_ns;
		if (s->now_ns - a->gone_ns < s->rule->keep_firing_ns)
			return true;
		break;
	case ALERT_RESOLVED:
		if (a->resolved_ns > s->now_ns)
			a->resolved_ns = s->now_ns;
		return s->now_ns - a->resolved_ns <= ALERT_RESOLVED_KEPT_S * NS_PER_SEC;
	}
	a->state = ALERT_RESOLVED;
	a->resolved_ns = s->now_ns;
	tell(s, a, before, false);
	return before == ALERT_FIRING;
}

static void bring_known(struct step *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->set->n; i++) {
		struct alert a = s->set->all[i];
		union map_value *at = map_get(&s->by_labels, a.labels);

		if (at && at->u > 0) {
			refresh(s, &a, &s->all[at->u - 1], false);
			at->u = 0;
		} else if (!miss(s, &a)) {
			alert_fini(&a);
			continue;
		}
		s->set->all[kept++] = a;
	}
	s->set->n = kept;
}

static void bring_new(struct step *s)
{
	struct alert_set *set = s->set;

	for (size_t i = 0; i < s->n; i++) {
		struct str labels = view(s, s->all[i].labels_at, s->all[i].labels_n);

		if (map_get(&s->by_labels, labels)->u == 0)
			continue;
		if (set->n == set->cap) {
			set->cap = set->cap ? 2 * set->cap : 8;
			set->all = xrealloc(set->all, set->cap * sizeof *set->all);
		}
		set->all[set->n] = (struct alert){.labels = own(labels)};
		refresh(s, &set->all[set->n++], &s->all[i], true);
	}
}

int alert_step(struct alert_set *set, const struct rule *r, uint64_t limit,
	const struct query_result *result, int64_t now_ns, alert_changed *changed, void *arg,
	struct error *e)
{
	struct step s = {.set = set, .rule = r, .now_ns = now_ns, .changed = changed, .arg = arg};
	int code = prepare(&s, limit, result, e);

	if (code == 0) {
		bring_known(&s);
		bring_new(&s);
	}
	free(s.all);
	buf_fini(&s.text);
	map_fini(&s.by_labels);
	return code;
}
