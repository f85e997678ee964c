/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Partial aggregates: what a metric query asks its peers for in place of rows.
 * For view.c; one thread.
 */
#include "query/collect.h"
#include "query/peers_core.h"

/* Gather what this server has and add what the peers gathered: 0; 1 when only a scan can answer it
 * (a peer is too old or has no room, or records were delivered again); or an error.  A peer that
 * does not answer is a warning. */
int view_gather(struct source *own, struct snapshot *sn, struct peers *p, struct collection *c,
	struct error *e);
