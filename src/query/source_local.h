/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A snapshot of the store as a source, for one tenant or several.
 * Thread rule: as the snapshot.
 */
#include "query/source_tenants.h"

struct source_local {
	struct source source;
	struct snapshot *snapshot;     /* borrowed */
	struct source_tenants tenants; /* over it */
};

/* Returns the source to be used, which is part of *l. */
struct source *source_local_init(struct source_local *l, struct snapshot *sn);
