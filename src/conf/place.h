/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Where a setting was written, and problems with that place in front (private to conf). */
#include "conf/option.h"

struct place {
	const char *source; /* "sawlog.yaml", "--http-listen", "SAWLOG_HTTP_LISTEN" */
	int line, column;   /* from 1; 0: the source says it all */
	bool says_key;      /* a flag or variable is named as its key */
};

/* Add "<place>: <key>: <sentence>"; `key` may be NULL or empty. */
void problem_add(struct conf_errors *errors, const struct place *at, const char *key,
	const char *fmt, ...) PRINTF(4, 5);
/* " (did you mean "x"?)" when a name in the NULL-terminated list is near, else nothing. */
void nearest_put(struct buf *out, struct str name, const char *const *names);
