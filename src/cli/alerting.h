/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * All of alerts that a server runs: silences, notifications, evaluation.
 * Thread rule: the main loop's thread.
 */
#include "alert/alerts.h"

struct alerting {
	struct silences *silences;
	struct notify *notify;
	struct alerts *alerts;
	struct buf dir; /* what they keep */
};

struct alerting_env { /* borrowed until alerting_close */
	struct store *store;
	struct account *account;
	struct rules *rules;
	const char *data, *host;
};

/* Is it fit to be applied?  ERR_ARG. */
int alerting_check(const struct alert_settings *s, struct error *e);
/* Nothing is evaluated before alerting_apply.  What is open after an error alerting_close ends. */
int alerting_open(struct alerting *x, const struct alerting_env *env, struct error *e);
int alerting_apply(
	struct alerting *x, const struct alert_settings *s, struct peers *peers, struct error *e);
/* Lets notifications go out for at most `ms`.  A zeroed one is fine. */
void alerting_close(struct alerting *x, unsigned ms);
void alerting_dump(struct alerting *x, struct buf *out);
