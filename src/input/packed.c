/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  zlib and zstd unpack forward only, into a window of what was asked
 * for last.  Any bytes may come: memory is bounded by the read that is asked
 * for, one step, and the largest window of the format; a call ends after
 * WORK_BYTES also where they unpack to nothing.  What was unpacked before a
 * damaged place can be read.
 */
#include "input/packed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/memory.h"

enum {
	IN_BYTES = 64 << 10,
	STEP_BYTES = 256 << 10,
	WORK_BYTES = 4 << 20,  /* unpacked in one call, what gave nothing counts as well */
	WINDOW_LOG_MAX = 23,   /* 8 MiB: what every decoder has to have (RFC 8878) */
	GZIP_STATE = 48 << 10, /* about what inflate allocates */
	GZIP_ONLY = 15 + 16,
	GZIP_SURE = 64 << 20, /* a log of 4 GiB, where the length wraps, is larger than this */
};

struct packed {
	int fd;
	enum packing packing;
	z_stream z;
	ZSTD_DCtx *d;
	char in[IN_BYTES];
	size_t in_at, in_n;
	uint64_t file_at;
	struct buf window; /* content from `base` on */
	uint64_t base, line_start;
	bool inside; /* of a member or frame */
	bool began, ended, whole, damaged;
	struct error why; /* it is damaged */
};

enum packing packing_of(struct str name, struct str *stem)
{
	static const struct {
		struct str end;
		enum packing packing;
	} known[] = {{STR_INIT(".gz"), PACKING_GZIP}, {STR_INIT(".zst"), PACKING_ZSTD},
		{STR_INIT(".bz2"), PACKING_OTHER}, {STR_INIT(".xz"), PACKING_OTHER},
		{STR_INIT(".lz4"), PACKING_OTHER}, {STR_INIT(".zip"), PACKING_OTHER}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (!str_ends(name, known[i].end))
			continue;
		if (stem)
			*stem = str_sub(name, 0, name.n - known[i].end.n);
		return known[i].packing;
	}
	return PACKING_NONE;
}

struct packed *packed_new(int fd, enum packing packing)
{
	struct packed *p = xcalloc(1, sizeof(*p));

	p->fd = fd;
	p->packing = packing;
	if (packing == PACKING_GZIP) {
		if (inflateInit2(&p->z, GZIP_ONLY) != Z_OK)
			abort();
	} else {
		p->d = ZSTD_createDCtx();
		if (!p->d)
			abort();
		ZSTD_DCtx_setParameter(p->d, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	}
	return p;
}

void packed_free(struct packed *p)
{
	if (!p)
		return;
	if (p->packing == PACKING_GZIP)
		inflateEnd(&p->z);
	ZSTD_freeDCtx(p->d);
	buf_fini(&p->window);
	free(p);
}

static void restart(struct packed *p)
{
	if (p->packing == PACKING_GZIP)
		inflateReset(&p->z);
	else
		ZSTD_DCtx_reset(p->d, ZSTD_reset_session_only);
	buf_clear(&p->window);
	p->in_at = p->in_n = 0;
	p->file_at = p->base = p->line_start = 0;
	p->began = p->inside = p->ended = p->whole = p->damaged = false;
}

/* Have input; 0: there is none.  -1: errno. */
static int fill(struct packed *p)
{
	ssize_t n;

	if (p->in_at < p->in_n)
		return 1;
	do
		n = pread(p->fd, p->in, sizeof(p->in), (off_t)p->file_at);
	while (n < 0 && errno == EINTR);
	p->in_at = 0;
	p->in_n = n > 0 ? (size_t)n : 0;
	p->file_at += p->in_n;
	return n < 0 ? -1 : n > 0;
}

static int step_gzip(struct packed *p, char *out, size_t room, size_t *n, struct error *e)
{
	int r;

	p->z.next_in = (Bytef *)p->in + p->in_at;
	p->z.avail_in = (uInt)(p->in_n - p->in_at);
	p->z.next_out = (Bytef *)out;
	p->z.avail_out = (uInt)room;
	r = inflate(&p->z, Z_NO_FLUSH);
	p->in_at = p->in_n - p->z.avail_in;
	*n = room - p->z.avail_out;
	if (r == Z_STREAM_END) {
		p->inside = false;
		inflateReset(&p->z);
		return 0;
	}
	if (r == Z_OK || r == Z_BUF_ERROR)
		return 0;
	return error_set(e, ERR_CORRUPT, "gzip: %s", p->z.msg ? p->z.msg : "damaged");
}

static int step_zstd(struct packed *p, char *out, size_t room, size_t *n, struct error *e)
{
	ZSTD_inBuffer in = {p->in, p->in_n, p->in_at};
	ZSTD_outBuffer to = {out, room, 0};
	size_t r = ZSTD_decompressStream(p->d, &to, &in);

	p->in_at = in.pos;
	*n = to.pos;
	if (ZSTD_isError(r))
		return error_set(e, ERR_CORRUPT, "zstd: %s", ZSTD_getErrorName(r));
	p->inside = r != 0;
	return 0;
}

/* What follows the last member is padding: no magic number. */
static bool another_member(const struct packed *p)
{
	return p->packing == PACKING_ZSTD || p->in[p->in_at] == '\x1f';
}

/* Unpack some more bytes to the end of the window. */
static int step(struct packed *p, struct error *e)
{
	int r = fill(p);
	size_t n = 0;

	if (r < 0)
		return error_errno(e, errno, "read");
	/* Behind the first member, what does not begin another is padding. */
	if (r == 0 || (p->began && !p->inside && !another_member(p))) {
		p->ended = true;
		p->whole = p->began && !p->inside;
		return 0;
	}
	p->began = true;
	p->inside = true;
	r = p->packing == PACKING_GZIP
		    ? step_gzip(p, buf_reserve(&p->window, STEP_BYTES), STEP_BYTES, &n, e)
		    : step_zstd(p, buf_reserve(&p->window, STEP_BYTES), STEP_BYTES, &n, e);
	p->window.n += n;
	return r;
}

/* Let go of what lies before `offset`. */
static void forget(struct packed *p, uint64_t offset)
{
	size_t n = offset - p->base < p->window.n ? (size_t)(offset - p->base) : p->window.n;
	const char *newline = n ? memrchr(p->window.p, '\n', n) : NULL;

	if (newline)
		p->line_start = p->base + (uint64_t)(newline - p->window.p) + 1;
	buf_shift(&p->window, n);
	p->base += n;
}

ssize_t packed_read(struct packed *p, char *out, size_t n, uint64_t offset, struct error *e)
{
	size_t work = 0;
	uint64_t from;

	if (offset < p->base)
		restart(p);
	if (p->ended && !p->whole)
		p->ended = false; /* there may be more now */
	forget(p, offset);
	while (!p->ended && !p->damaged && p->base + p->window.n < offset + n) {
		size_t before = p->window.n;
		int r;

		from = p->file_at - (p->in_n - p->in_at);
		r = step(p, &p->why);
		work += p->window.n - before + (size_t)(p->file_at - (p->in_n - p->in_at) - from);
		if (r < 0 && r != ERR_CORRUPT)
			return error_set(e, ERR_IO, "%s", p->why.text), PACKED_FAILED;
		p->damaged = r < 0;
		forget(p, offset);
		if (work >= WORK_BYTES && !p->damaged)
			return PACKED_AGAIN;
	}
	if (p->damaged && p->base + p->window.n <= offset)
		return error_set(e, ERR_CORRUPT, "%s", p->why.text), PACKED_DAMAGED;
	if (p->base < offset)
		return 0;
	if (n > p->window.n)
		n = p->window.n;
	if (n)
		memcpy(out, p->window.p, n);
	return (ssize_t)n;
}

bool packed_whole(const struct packed *p)
{
	return p->whole;
}

bool packed_damaged(const struct packed *p)
{
	return p->damaged;
}

uint64_t packed_end(const struct packed *p)
{
	return p->base + p->window.n;
}

uint64_t packed_line_start(const struct packed *p)
{
	return p->line_start;
}

size_t packed_bytes(const struct packed *p)
{
	return sizeof(*p) + p->window.cap + (p->d ? ZSTD_sizeof_DCtx(p->d) : GZIP_STATE);
}

/* What the last four bytes of a gzip file say: the length of its last member, modulo 2^32. */
static bool gzip_length(int fd, uint32_t *out, off_t *size)
{
	unsigned char b[4];
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_size < 18 || pread(fd, b, 4, st.st_size - 4) != 4)
		return false;
	*out = b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
	*size = st.st_size;
	return true;
}

/* Of the first frame. */
static bool zstd_length(int fd, uint64_t *out)
{
	unsigned char b[18];
	ssize_t n = pread(fd, b, sizeof(b), 0);

	if (n <= 0)
		return false;
	*out = ZSTD_getFrameContentSize(b, (size_t)n);
	return *out != ZSTD_CONTENTSIZE_UNKNOWN && *out != ZSTD_CONTENTSIZE_ERROR;
}

bool packed_has_length(int fd, enum packing packing, uint64_t length)
{
	uint64_t told;
	uint32_t end;
	off_t size;

	if (packing == PACKING_ZSTD)
		return zstd_length(fd, &told) && told == length;
	return packing == PACKING_GZIP && gzip_length(fd, &end, &size) && end == (uint32_t)length;
}

bool packed_tells_length(int fd, enum packing packing)
{
	uint64_t told;

	return packing == PACKING_GZIP || (packing == PACKING_ZSTD && zstd_length(fd, &told));
}

bool packed_is_shorter(int fd, enum packing packing, uint64_t length)
{
	uint64_t told;
	uint32_t end;
	off_t size;

	if (packing == PACKING_ZSTD)
		return zstd_length(fd, &told) && told < length;
	return packing == PACKING_GZIP && gzip_length(fd, &end, &size) && size < GZIP_SURE &&
	       end < length;
}
