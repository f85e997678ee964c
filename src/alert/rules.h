/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The rule groups of all tenants, by namespace: kept, listed, and written to
 * files under the data folder, one a namespace:
 *
 *   rules/<tenant>/<namespace, other bytes than [A-Za-z0-9_-] as %XX>.yaml
 *
 * A file is in the form of a rule file of Loki's: {groups: [...]}.  What
 * returned 0 is durable.
 * Thread rule: any thread; calls wait for each other.
 */
#include "alert/rule.h"
#include "os/fs.h"

enum {
	RULE_NAMESPACE_MAX = 80,   /* bytes */
	RULE_GROUPS_MAX = 2000,    /* of all tenants */
	RULE_FILE_MAX = 4 << 20,   /* bytes */
	RULE_BYTES_MAX = 32 << 20, /* of all files */
};

struct rules;

/* Reads what is in `dir`, which need not be there.  A file that cannot be read is told in the log
 * and stays as it is; its namespace takes no groups until it is deleted or mended. */
int rules_open(struct rules **out, struct fs *fs, const char *dir, struct error *e);
void rules_close(struct rules *r); /* NULL is fine */
/* Add the group, or replace the one of its name.  ERR_ARG, ERR_LIMIT, ERR_CORRUPT (see above),
 * and those of the disk. */
int rules_put(
	struct rules *r, struct str tenant, struct str space, struct str yaml, struct error *e);
/* Remove a group, or with an empty name the whole namespace: ERR_NOT_FOUND. */
int rules_delete(
	struct rules *r, struct str tenant, struct str space, struct str group, struct error *e);
/* Those of a tenant, sorted by namespace and in it in the order they were added; `space` and
 * `group` empty: all.  Views are valid for the call, in which no other of these may be called. */
void rules_each(struct rules *r, struct str tenant, struct str space, struct str group,
	void (*each)(void *ctx, struct str space, const struct rule_group *g), void *ctx);
/* Those of all tenants. */
void rules_each_tenant(struct rules *r,
	void (*each)(void *ctx, struct str tenant, struct str space, const struct rule_group *g),
	void *ctx);
