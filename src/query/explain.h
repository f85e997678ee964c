/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * How a query was answered, in sentences: what was left to the source, what was
 * opened, counted, ruled out and read, and where the time went.  Internal to
 * src/query.
 */
#include "query/run.h"

/* Fill run->out->explained.  ERR_LIMIT. */
int explain_run(struct run *r, struct error *e);
