/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Keeps a record within its own lines, whatever is in it.  Part of line_format.h: enum line_breaks
 * and doc/output/lines.md say what becomes of what.  Pure; any thread.
 */
#include "base/buf.h"

/* Make the text in `out` from offset `start` on safe, in place.  LINE_RAW leaves it alone. */
void line_breaks_apply(int breaks, struct buf *out, size_t start);
