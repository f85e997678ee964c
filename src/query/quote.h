/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Go's string literals, as LogQL writes its strings.  Pure functions. */
#include "base/buf.h"

/* Append `s` in double quotes so that quote_go_read gives it back, whatever bytes it holds. */
void quote_go(struct buf *out, struct str s);
/* The bytes that a literal stands for: `inside` is what lies between its double quotes.
 * Appends to `out`; false for an escape that Go does not know. */
bool quote_go_read(struct buf *out, struct str inside);
/* The one escape at the start of `s`, a backslash: appends what it stands for and returns its
 * length; 0 for one that Go does not know. */
size_t quote_go_escape(struct buf *out, struct str s);
