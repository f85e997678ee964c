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
/* The same as a member of a JSON object, behind another one: ,"key":"2026-08-21T10:00:00Z";
 * INT64_MAX is null, for never. */
void time_json(struct buf *out, const char *key, int64_t ns);
/* The same in local time with its offset, milliseconds always. */
void time_format_local(struct buf *out, int64_t ns);

/*
 * The time at the head of a log line.  Knows
 *   ISO 8601 with T, blank, _, - or : between date and time, - / or . in the date, fractions behind
 *     . or , with or without a zone; 20260821T100000Z; 2026-Aug-21 10:00:00;
 *   RFC 3164's "Aug 21 10:00:00", with a year on either side, RFC 2822, ctime and date(1);
 *   "21/Aug/2026:10:00:00 +0000", "21-Aug-2026 10:00:00", "21 Aug 10:00:00.123";
 *   "08/21/2026 10:00:00 AM" (the day first where no month can be), "21.08.2026 10:00:00";
 *   "081109 203615", "260821  9:00:00", "17/06/09 20:10:40", "03-17 16:13:38.811", klog's "I0821 ";
 *   a time of day alone at the start, "10:00:00.123" or in brackets;
 *   "1629540000.123" and "[1629540000]" at the start, auditd's "audit(1629540000.123:45)";
 *   ts= time= timestamp= and their like in logfmt and LTSV, and as a member of a JSON object, where
 *     an epoch in s, ms, us or ns is fine too;
 * at the start or behind up to four tokens, brackets and a syslog PRI.
 * A time without a year takes the year nearest to `observed_ns`, a time of day the nearest day;
 * one without a zone is `zone_seconds` east of UTC.  Zones are offsets, Z, and words that mean one
 * offset everywhere.  False when there is none.
 */
bool time_detect(struct str line, int64_t observed_ns, int zone_seconds, int64_t *out);
/* The time, with a date, that `s` starts with, or an epoch in seconds near the observed time that
 * has a fraction: how many bytes it takes with its zone, 0 when there is none. */
size_t time_read(struct str s, int64_t observed_ns, int zone_seconds, int64_t *out);
/* Seconds east of UTC of the host's zone at that time. */
int time_local_zone(int64_t ns);
