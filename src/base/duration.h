/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Durations as people and protocols write them.  Pure functions: any thread. */
#include "base/buf.h"

/* Prometheus and Go: "1h30m", "5m", "1.5s", "2d", "1w", "1y", "100ms", "7us", "3ns";
 * a bare number is not a duration.  Negative with a leading '-'.  A day has 24 hours, a year
 * 365 days.  False leaves *out_ns alone; beyond int64 (292 years) is false. */
bool duration_parse(struct str s, int64_t *out_ns);
void duration_format(struct buf *out, int64_t ns); /* "1h30m0s", as Go's Duration.String */
void duration_put(struct buf *out, int64_t ns);    /* "1d2h", "5m": what duration_parse reads */
