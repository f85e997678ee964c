/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Go's time layouts ("2006-01-02T15:04:05.999Z07:00"): times are written and
 * read after the example of Mon Jan 2 15:04:05 MST 2006.
 * Source: pkg.go.dev/time (Constants, Time.Format, Parse).  Pure; any thread.
 */
#include "query/template_datum.h"

/* The calendar of a time in its zone, or what was read of one. */
struct time_parts {
	int64_t year;
	int month, day, hour, minute, second, ns;
};

/* Seconds since 1970 of the parts, taken as UTC. */
int64_t time_seconds(const struct time_parts *p);

/* What a layout read: a time in UTC unless the text named an offset. */
struct time_read {
	struct time_parts parts;
	bool has_offset; /* or Z, or UTC */
	int32_t offset;
};

void time_layout_put(struct buf *out, const struct datum_time *t, struct str layout);
/* Time.String: "2006-01-02 15:04:05.999999999 -0700 MST". */
void time_string(struct buf *out, const struct datum_time *t);
/* False when the text does not follow the layout, or there is no such day. */
bool time_layout_get(struct str layout, struct str text, struct time_read *out);
