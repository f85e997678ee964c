/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One written value to one field, and back (private to conf).  Pure but for the field. */
#include "conf/option.h"

/* Read `text` for one of the kinds with a single value (OPT_BOOL … OPT_ENUM) into `field`, which is
 * left alone on failure: ERR_ARG with a sentence.  Strings are copied into the arena; OPT_PATH is
 * taken as a string here. */
int value_parse(
	const struct option *o, struct str text, void *field, struct arena *arena, struct error *e);
/* As it would be written in the config; bounds are shown the same way. */
void value_put(const struct option *o, const void *field, struct buf *out);
/* What a value of the kind is called in help: "SIZE", "ADDRESS,…". */
const char *value_word(enum option_kind kind);
