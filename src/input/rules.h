/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What must not leave the host: expressions that drop a record, and others
 * whose matches are replaced.  Compiled once, then read by any thread.
 */
#include "base/buf.h"
#include "conf/option.h"

struct rules;

/* ERR_ARG with "drop: …" or "redact: …".  Settings are borrowed until rules_free. */
int rules_new(struct rules **out, const struct strings *drop, const struct string_map *redact,
	struct error *e);
void rules_free(struct rules *r); /* NULL is fine */
bool rules_empty(const struct rules *r);
bool rules_drop(const struct rules *r, struct str body);
/* Leave the body with all replacements in `out`, which it clears; false: nothing matched.  A body
 * that an expression cannot be tried on within its budget becomes "[redacted]". */
bool rules_redact(const struct rules *r, struct str body, struct buf *out);
