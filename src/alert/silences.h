/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Silences: for a time, nobody is told of alerts whose labels match.  Kept in
 * one file, durable when silence_put returns 0.  In the JSON of Alertmanager's
 * API v2 (matchers with name, value, isRegex, isEqual; startsAt, endsAt,
 * createdBy, comment).
 * Thread rule: any thread.
 */
#include "base/buf.h"
#include "os/clock.h"
#include "os/fs.h"

enum { SILENCES_MAX = 1000, SILENCE_MATCHERS_MAX = 20 };

struct silences;

int silences_open(struct silences **out, struct fs *fs, struct clock *clock, const char *path,
	struct error *e);
void silences_close(struct silences *s);
/* Add one, or change that of `id` in the JSON; its id is appended to `id`.  ERR_ARG, ERR_LIMIT,
 * ERR_NOT_FOUND, the disk's. */
int silences_put(
	struct silences *s, struct str tenant, struct str json, struct buf *id, struct error *e);
int silences_expire(struct silences *s, struct str tenant, struct str id, struct error *e);
/* A JSON list of those of a tenant (expired ones stay for a day); `id` not empty: that one as an
 * object, ERR_NOT_FOUND. */
int silences_json(
	struct silences *s, struct str tenant, struct str id, struct buf *out, struct error *e);
/* Is an alert with these canonical labels silenced at the time? */
bool silences_match(struct silences *s, struct str tenant, struct str labels, int64_t now_ns);
