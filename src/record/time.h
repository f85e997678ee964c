/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Times and durations as people and protocols write them.  Pure functions:
 * `now_ns` is passed in.  Times are ns since 1970-01-01 UTC in int64 (1677-2262).
 */
#include "base/buf.h"
#include "base/duration.h"
#include "base/error.h"

/* RFC 3339 with up to 9 digits of fraction, whole text. */
bool time_parse_rfc3339(struct str s, int64_t *out);
/* As Loki's API reads a time: with '.' float seconds; an integer of at most 10 digits seconds,
 * longer ns; else RFC 3339. */
bool time_parse_api(struct str s, int64_t *out);
/* As people write on the command line, in the host's zone where they name none: RFC 3339,
 * "2026-08-21 10:00[:00]", "2026-08-21", "15:04", "now", "today", "yesterday", a duration before
 * now ("-1h", "1h", "3d"), and time_parse_api's. */
bool time_parse_human(struct str s, int64_t now_ns, int64_t *out);
/* "2026-08-21T10:00:00.123456789Z"; trailing zeros of the fraction are left out (RFC3339Nano). */
void time_format(struct buf *out, int64_t ns);
/* The same in local time with its offset, milliseconds always. */
void time_format_local(struct buf *out, int64_t ns);

/*
 * The time at the head of a log line.  Knows ISO 8601 with 'T' or blank and '.' or ',' fraction
 * with or without zone, RFC 3164 "Aug 21 10:00:00", "[Sun Dec 04 04:47:44 2005]",
 * "21/Aug/2026:10:00:00 +0000", "081109 203615", "17/06/09 20:10:40", "03-17 16:13:38.811",
 * "2005-06-03-15.42.50.675872", and a leading '[' or level word, or up to four tokens before it.
 * A time without a year takes the year nearest to `observed_ns`; one without a zone is
 * `zone_seconds` east of UTC.  False when there is none.
 */
bool time_detect(struct str line, int64_t observed_ns, int zone_seconds, int64_t *out);
/* Seconds east of UTC of the host's zone at that time. */
int time_local_zone(int64_t ns);
