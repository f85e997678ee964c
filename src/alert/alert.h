/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * An alert: one series of an alerting rule's result, and what became of it.
 *
 *   inactive -> pending (for `for`) -> firing -> (keep_firing_for) -> resolved
 *
 * alert_step is the whole of the state machine, for the evaluation of what
 * comes and for `sawlog alert test` over what was.  Pure.
 * Source: prometheus.io/docs/prometheus/latest/configuration/alerting_rules/.
 */
#include "alert/rule.h"
#include "query/query.h"

enum alert_state { ALERT_PENDING, ALERT_FIRING, ALERT_RESOLVED };

extern const char *const alert_states[]; /* pending firing resolved */

struct alert {
	/* Owned by the set. */
	struct str labels;      /* canonical: the series', the rule's, alertname */
	struct str annotations; /* canonical form too, any names; expanded for the last value */
	enum alert_state state;
	int64_t active_ns;   /* when it became pending (or firing, without `for`) */
	int64_t fired_ns;    /* 0: not yet */
	int64_t resolved_ns; /* 0: not */
	int64_t seen_ns;     /* when its series was last there */
	int64_t gone_ns;     /* the first evaluation without it since; 0: it is there */
	double value;        /* when it was last there */
};

enum {
	ALERTS_MAX = 5000,           /* of a rule */
	ALERT_VALUE_MAX = 16 << 10,  /* bytes of a label or annotation that a template made */
	ALERT_RESOLVED_KEPT_S = 900, /* seconds */
};

/* The alerts of one rule, by labels. */
struct alert_set {
	struct alert *all;
	size_t n, cap;
	struct str external_url; /* borrowed: what templates have as .ExternalURL */
};

/* What changed, for notifications and for telling: a state, or it is new (then `before` is
 * pending). One that was pending and is no more is told as resolved, with fired_ns 0, and
 * forgotten. */
typedef void alert_changed(void *arg, const struct alert *a, enum alert_state before, bool is_new);

/* Take the rule's result at `now_ns`: a vector (or scalar: no series when it is 0).  Labels and
 * annotations are expanded (alert/expand.h).  Resolved ones stay for 15 minutes.  ERR_ARG: two
 * series with the same labels, ERR_LIMIT: more than `limit` (0: ALERTS_MAX); then nothing changed.
 */
int alert_step(struct alert_set *s, const struct rule *r, uint64_t limit,
	const struct query_result *result, int64_t now_ns, alert_changed *changed, void *arg,
	struct error *e);
void alert_set_fini(struct alert_set *s);
