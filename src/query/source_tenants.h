/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A source of several tenants at once: where a scan asks for "a|b", it is one
 * over the records of both, and each stream has the label __tenant_id__ with
 * the name of its own.  A scan for one tenant goes through as it is.
 * Thread rule: as the source below.
 */
#include "query/source.h"

enum { TENANTS_MAX = 32 };

struct source_tenants {
	struct source source;
	struct source *over; /* borrowed */
};

void source_tenants_init(struct source_tenants *t, struct source *over);
/* The next name of "a|b|a", each once: begin with *at = 0.  False at the end. */
bool tenants_next(struct str all, size_t *at, struct str *out);
/* Is it one tenant, or up to TENANTS_MAX with | between? */
int tenants_check(struct str all, struct error *e);
