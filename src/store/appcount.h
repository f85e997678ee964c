/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Committed records and bytes by app and input, for the metrics: how much each
 * application logs.  An app is the stream's label `app`, else `service_name`,
 * else "-".  One thread at a time.  A zeroed struct is ready.
 */
#include "base/map.h"
#include "record/batch.h"

struct appcount {
	struct map apps;
};

void appcount_fini(struct appcount *a);
void appcount_batch(struct appcount *a, const struct batch *b);
