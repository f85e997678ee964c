/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Answering a peer's question over one's own records: one page.
 *
 * The rows of a page are the first ones in the asked order, (time, sequence),
 * so that a page needs nothing of the one before but where it ended.  Counts
 * are of all the time that is asked for, and told with the first page alone.
 * Threads: as query_run.
 */
#include "query/pages.h"
#include "query/source.h"

/* Append the page, within the budget of `base`, which has tenant, budget, timeout and cancel flag.
 * ERR_ARG for a query that is none of lines; ERR_LIMIT also when there are more than
 * PAGE_COUNTS_MAX counts. */
int scan_page(struct source *s, const struct page_request *q, const struct query_params *base,
	const char *instance, struct buf *out, struct error *e);
