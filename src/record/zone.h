/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A time zone by name, as the zone database of the system knows it: how far
 * east of UTC it is at a time.  The process's own zone (TZ) is not touched.
 * A zone is immutable: any thread.
 */
#include "base/error.h"
#include "base/str.h"

struct zone;

/* "UTC", "+02:00", "-0330" or an IANA name ("Europe/Berlin"), read from /usr/share/zoneinfo or,
 * when it is set, the folder TZDIR names.  ERR_ARG when there is no such zone. */
int zone_new(struct zone **out, struct str name, struct error *e);
/* The same out of the bytes of a TZif file (RFC 8536).  ERR_CORRUPT. */
int zone_from_tzif(struct zone **out, struct str bytes, struct error *e);
void zone_free(struct zone *z); /* NULL is fine */
/* Seconds east of UTC at that time. */
int zone_offset(const struct zone *z, int64_t ns);
