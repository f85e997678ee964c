/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a compressed file.  The first says which format, and how much is asked for at once.
 * It ends, holds a bounded amount of memory, and reads the same a second time. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/hash.h"
#include "input/packed.h"

enum {
	CALLS_MAX = 4000,
	CONTENT_MAX = 16 << 20, /* a few kilobytes of zstd stand for gigabytes */
	READ_MAX = 64 << 10,
	/* The read that is asked for, steps of unpacking, and the largest window with its copy. */
	HELD_MAX = 24 << 20,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct outcome {
	uint64_t length, hash;
	ssize_t last;
	bool whole, damaged;
};

static void read_all(struct packed *p, size_t chunk, struct outcome *o)
{
	static char out[READ_MAX];
	struct error e;
	int calls = 0;

	*o = (struct outcome){0};
	do {
		o->last = packed_read(p, out, chunk, o->length, &e);
		if (o->last > (ssize_t)chunk || packed_bytes(p) > HELD_MAX)
			abort();
		if (o->last > 0) {
			o->hash = o->hash * 31 + hash_stable(str_make(out, (size_t)o->last));
			o->length += (uint64_t)o->last;
		}
		if (packed_line_start(p) > o->length)
			abort();
	} while ((o->last > 0 || o->last == PACKED_AGAIN) && ++calls < CALLS_MAX &&
		 o->length < CONTENT_MAX);
	o->whole = packed_whole(p);
	o->damaged = packed_damaged(p);
	if (o->last == 0 && o->damaged)
		abort(); /* damage is told, and not taken for an end */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	enum packing packing;
	struct outcome a, b;
	struct packed *p;
	size_t chunk;
	int fd;

	if (n == 0 || (fd = memfd_create("packed", MFD_CLOEXEC)) < 0)
		return 0;
	packing = data[0] & 1 ? PACKING_ZSTD : PACKING_GZIP;
	chunk = (size_t)READ_MAX >> (data[0] >> 1 & 3) * 2;
	if (write(fd, data + 1, n - 1) != (ssize_t)(n - 1))
		abort();
	p = packed_new(fd, packing);
	read_all(p, chunk, &a);
	read_all(p, chunk, &b); /* back to the beginning */
	if (a.length != b.length || a.hash != b.hash || a.last != b.last || a.whole != b.whole ||
		a.damaged != b.damaged)
		abort();
	packed_has_length(fd, packing, a.length);
	packed_tells_length(fd, packing);
	packed_is_shorter(fd, packing, a.length);
	packed_free(p);
	close(fd);
	return 0;
}
