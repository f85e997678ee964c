/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the routes of Loggregator's and log-cache's clients share.  Internal to src/api. */
#include "api/internal.h"
#include "proto/loggregator.h"

/* Kinds of envelopes, as bits: 1 << enum loggregator_kind. */
enum {
	KINDS_LOG = 1 << LOGGREGATOR_LOG,
	KINDS_ALL = (1 << (LOGGREGATOR_ERROR + 1)) - 1,
};

/* Append the LogQL of what an application (empty: each) has of these kinds. */
void loggregator_query(struct buf *out, const char *app_label, struct str app, unsigned kinds);
/* All entries of a log query, in pieces of at most `at_once` (fewer where the memory of a query has
 * no room for so many), in the order of p->forward: `each` returns 0, > 0 to end it, or an error.
 * p has times and direction. */
int loggregator_walk(struct job *j, struct view *v, const struct query *q, struct query_params *p,
	uint64_t at_once, int (*each)(void *arg, const struct query_entry *x, struct error *e),
	void *arg, struct error *e);
/* A result's entry as an envelope.  Views of the entry. */
void loggregator_of_entry(
	struct loggregator *out, const struct query_entry *en, const char *app_label);
/* Clients ask so whether they may read, before they do. */
bool loggregator_is_head(struct http_request *r);
/* What the system itself has to tell about an application, as an ERR of source LGR: the texts are
 * borrowed. */
void loggregator_notice(
	struct loggregator *out, struct str app, int64_t timestamp, struct str sentence);
