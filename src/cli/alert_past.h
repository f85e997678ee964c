/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a rule would have told over a time that has passed: its expression is
 * asked of the server at every moment at which the rule would have been
 * evaluated, and the answers go through the same states as those of a server.
 * Memory is that of one answer and of the alerts that were found.  One thread.
 */
#include "alert/alert.h"
#include "cli/remote.h"

/* A time in which an alert fired. */
struct past_alert {
	struct str labels; /* canonical */
	int64_t pending_ns, from_ns;
	int64_t until_ns; /* INT64_MAX: it fired still at the end */
	double min, max;  /* of its value meanwhile */
};

struct alert_past {
	/* Set by the caller. */
	struct remote *remote;
	struct command_line *cl;
	const struct rule *rule;
	uint64_t limit; /* of alerts, as of its group; 0: none */
	int64_t from_ns, until_ns, step_ns;
	int64_t offset_ns; /* what it asks about is so much earlier */
	/* Set by alert_past_run. */
	struct past_alert *all; /* by the time they began */
	size_t n, cap;
	uint64_t n_steps;
	uint64_t n_short;  /* how often one was pending and ended before it fired */
	uint64_t n_failed; /* moments at which the rule would have failed */
	char *failure;     /* the sentence of the first one; NULL: none */
	int64_t failed_ns; /* when */
	bool incomplete;   /* an answer came with a warning, which was told */
	struct alert_set set;
	struct map open;   /* labels of what fires -> 1 + its index */
	struct map told;   /* warnings */
	struct buf labels; /* of the answer's series, each behind the other */
};

/* ERR_ARG: the server cannot evaluate it, and those of remote_get. */
int alert_past_run(struct alert_past *p, struct error *e);
void alert_past_fini(struct alert_past *p);
