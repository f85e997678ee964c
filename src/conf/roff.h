/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Text of manual pages.  Source: groff_man(7).  Pure; any thread. */
#include "base/buf.h"

/* Append text as it is to be read: no line of it starts a request, '-' is a minus to copy,
 * backslashes are literal, "…" is three dots. */
void roff_put(struct buf *out, struct str text);
