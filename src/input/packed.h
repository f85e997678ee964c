/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The content of a compressed file, from any offset on: gzip (RFC 1952, also
 * of several members) and zstd (RFC 8878, several frames).
 *
 * Bytes come from a window that begins where the last read did; to go back is
 * to unpack anew.  A file that is still being written ends early: what there
 * is can be read, and packed_whole tells that there will be more.
 * One thread.
 */
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"

enum packing {
	PACKING_NONE,
	PACKING_GZIP,
	PACKING_ZSTD,
	PACKING_OTHER, /* known by name, and not readable here */
};

/* By the end of the name; *stem is then what stands before it. */
enum packing packing_of(struct str name, struct str *stem);

struct packed;

/* Borrows fd. */
struct packed *packed_new(int fd, enum packing packing);
void packed_free(struct packed *p); /* NULL is fine */

enum { PACKED_DAMAGED = -1, PACKED_AGAIN = -2, PACKED_FAILED = -3 };

/* Read up to n bytes at `offset`; fewer only at the end, or before what is damaged.  PACKED_AGAIN:
 * on the way there, call again.  PACKED_DAMAGED: nothing can be read from there on; or of a window
 * beyond 8 MiB.  PACKED_FAILED: the file cannot be read now.  e says why. */
ssize_t packed_read(struct packed *p, char *out, size_t n, uint64_t offset, struct error *e);
/* The end that was met is that of the content, and not of a file that is still being written. */
bool packed_whole(const struct packed *p);
/* What follows the last read is damaged. */
bool packed_damaged(const struct packed *p);
/* How far its content could be unpacked so far. */
uint64_t packed_end(const struct packed *p);
/* Where the line began in which the last read began. */
uint64_t packed_line_start(const struct packed *p);
/* Memory held. */
size_t packed_bytes(const struct packed *p);
/* What the file says about its length: it is `length`, as far as its ends tell. */
bool packed_has_length(int fd, enum packing packing, uint64_t length);
/* Does the file say how long its content is? */
bool packed_tells_length(int fd, enum packing packing);
/* The file says that it is less than `length`.  False when it does not tell. */
bool packed_is_shorter(int fd, enum packing packing, uint64_t length);
