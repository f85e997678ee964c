/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The evaluation of alerting rules: those of `alerts` in the configuration
 * (files, ready-made ones; tenant `default`) and those that were put over the
 * API (rules.h), each group on its interval, over this server and its peers.
 *
 * One thread evaluates, group by group; what is late is evaluated at the time
 * it was due, once.  States are kept in <dir>/states.json (written and renamed
 * after each change), so that a restart neither forgets what is pending nor
 * tells again what was told.  Where several servers are peers, each evaluates
 * and the one that leads notifies (peers_leads).
 * Thread rule: any thread, unless a line says otherwise.
 */
#include "alert/alert.h"
#include "alert/notify.h"
#include "alert/rules.h"
#include "alert/silences.h"
#include "query/peers.h"

struct alerts;

struct alerts_env { /* borrowed for its life */
	struct store *store;
	struct fs *fs;
	struct clock *clock;
	struct account *account;
	struct rules *rules;
	struct silences *silences;
	struct notify *notify;
	const char *dir; /* <data>/alerts; exists */
};

/* `alerts` of the configuration. */
struct alert_settings {
	struct strings groups_file; /* paths; one or several */
	int64_t interval;           /* of groups that name none: 15s */
	const char *external_url;   /* of this server, for links in notifications; NULL: none */
	struct kinds ready; /* ready-made rules: errors, absent, new_template, rate_change */
	struct kinds notify;
};

extern const struct option alert_options[]; /* of struct alert_settings */

struct alerts *alerts_new(const struct alerts_env *env);
/* Is it fit to be applied: rule files readable, expressions parse.  ERR_ARG with file and line. */
int alerts_check(const struct alert_settings *s, struct error *e);
/* From now on; rules that are the same keep their states, those that are gone are told as resolved.
 * Files are read again; nothing else of the settings is needed after it returns.  ERR_ARG, ERR_IO:
 * nothing changed.  `peers` is borrowed until the next apply or free: where it is another one, a
 * query under way is cancelled and waited for.  Main thread. */
int alerts_apply(
	struct alerts *a, const struct alert_settings *s, struct peers *peers, struct error *e);
/* End the thread, save.  Main thread. */
void alerts_free(struct alerts *a);

/* How a rule stands.  Views are valid for the call, in which nothing of this may be called. */
struct alert_rule_status {
	struct str space; /* namespace; of files: their path; of ready-made ones "sawlog" */
	const struct rule_group *group;
	int64_t interval_ns;
	const struct rule *rule; /* NULL: the group has none, and is told once */
	const char *error;       /* of the last evaluation; "" */
	const char *warning;     /* likewise: the answer is not whole, as a peer did not answer */
	int64_t evaluated_ns, took_ns; /* 0: not yet */
	const struct alert *alerts;
	size_t n_alerts;
};

/* All rules of a tenant, group by group. */
void alerts_each(struct alerts *a, struct str tenant,
	void (*each)(void *ctx, const struct alert_rule_status *s), void *ctx);
/* Something was put or deleted over the API: look at the rules again, before it returns. */
void alerts_rules_changed(struct alerts *a);
void alerts_metrics(struct alerts *a);
void alerts_dump(struct alerts *a, struct buf *out);
