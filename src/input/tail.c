/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  Files are read with pread, never mapped: a file that is truncated
 * under a map is a SIGBUS.  Nothing is kept of a line that is not complete but
 * its length, so ten thousand files cost no buffers; the bytes are read again
 * when the newline is there.
 *
 * The fingerprint is checked behind each read and not before it: bytes that
 * were read while copytruncate ran are then known to be of the old file, or
 * are thrown away.
 */
#include "input/tail.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"

/* Read up to n bytes; fewer only at the end of the file.  -1 with errno. */
static ssize_t read_at(int fd, char *p, size_t n, uint64_t offset)
{
	size_t got = 0;

	while (got < n) {
		ssize_t r = pread(fd, p + got, n - got, (off_t)(offset + got));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -1;
		if (r == 0)
			break;
		got += (size_t)r;
	}
	return (ssize_t)got;
}

int identity_of(int fd, struct identity *out, struct stat *st, struct error *e)
{
	struct statx sx;

	if (fstat(fd, st) < 0)
		return error_errno(e, errno, "fstat");
	out->dev = st->st_dev;
	out->ino = st->st_ino;
	out->birth_ns = 0;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &sx) == 0 && sx.stx_mask & STATX_BTIME)
		out->birth_ns = sx.stx_btime.tv_sec * NS_PER_SEC + sx.stx_btime.tv_nsec;
	return 0;
}

bool identity_check(int fd, struct identity *id)
{
	char head[FINGERPRINT_BYTES];
	size_t want = id->n_fingerprint;
	ssize_t n = read_at(fd, head, sizeof(head), 0);

	if (n < 0 || (size_t)n < want)
		return false;
	if (want && hash_stable(str_make(head, want)) != id->fingerprint)
		return false;
	if ((size_t)n > want) {
		id->n_fingerprint = (uint32_t)n;
		id->fingerprint = hash_stable(str_make(head, (size_t)n));
	}
	return true;
}

struct tail *tail_new(int fd, const char *path)
{
	struct tail *t = xcalloc(1, sizeof(*t));

	t->fd = fd;
	t->path = xstrdup(path);
	t->origin = xstrdup(path);
	list_init(&t->node);
	list_init(&t->ready);
	list_init(&t->sibling);
	return t;
}

void tail_free(struct tail *t)
{
	if (!t)
		return;
	list_remove(&t->node);
	list_remove(&t->ready);
	list_remove(&t->sibling);
	packed_free(t->packed);
	if (t->fd >= 0)
		close(t->fd);
	buf_fini(&t->labels);
	buf_fini(&t->source);
	free(t->path);
	free(t->origin);
	free(t);
}

void tail_name(struct tail *t)
{
	buf_clear(&t->source);
	buf_printf(&t->source, "file:%016" PRIx64 ":%" PRIu64 ":%" PRIu64 ":%" PRIu64, t->id.giver,
		t->id.dev, t->id.ino, t->id.generation);
}

/* How many pieces of the line that `offset` cuts lie before it.  Pieces have equal lengths from
 * the start of their line, so it is enough to find that start. */
static uint64_t pieces_before(int fd, uint64_t offset, char *p, size_t cap)
{
	uint64_t at = offset;

	while (at > 0) {
		size_t n = at < cap ? (size_t)at : cap;
		const char *newline;

		if (read_at(fd, p, n, at - n) != (ssize_t)n)
			return 0;
		newline = memrchr(p, '\n', n);
		if (newline) {
			at = at - n + (uint64_t)(newline - p) + 1;
			break;
		}
		at -= n;
	}
	return (offset - at) / LINE_FRAGMENT;
}

void tail_rewind(struct tail *t, uint64_t offset)
{
	char p[4096];

	t->read = offset > t->start ? offset : t->start;
	t->sent = t->acked = offset;
	t->skipped = t->read - offset;
	t->partial = t->rested = 0;
	t->fragment = t->fd >= 0 && !t->packing && t->read > t->start
			      ? pieces_before(t->fd, t->read, p, sizeof(p))
			      : 0;
	t->refragment = t->packing != PACKING_NONE && t->read > t->start;
	t->head = (struct record){.flags = RECORD_TIME_OBSERVED};
}

void tail_settle(struct tail *t)
{
	if (t->skipped == 0 || t->acked < t->sent || t->acked >= t->read)
		return;
	t->acked = t->read;
	t->changed = true;
}

uint64_t tail_last_line(int fd, uint64_t size)
{
	char p[65536];
	size_t n = size < sizeof(p) ? (size_t)size : sizeof(p);
	const char *newline;

	if (n == 0 || read_at(fd, p, n, size - n) != (ssize_t)n)
		return size;
	newline = memrchr(p, '\n', n);
	return newline ? size - n + (uint64_t)(newline - p) + 1 : n == size ? 0 : size;
}

/* Nothing was read at `offset`: is this the end, or has the file become shorter? */
static enum tail_result at_end(struct tail *t, uint64_t offset)
{
	struct stat st;

	if (fstat(t->fd, &st) < 0)
		return TAIL_END;
	t->deleted = st.st_nlink == 0;
	t->size = (uint64_t)st.st_size;
	return t->size < offset ? TAIL_REPLACED : TAIL_END;
}

/* The n bytes that were read from `at` on belong to the file that t is.  While the fingerprint
 * grows it must be one of these bytes, and not of what came after them: a file that is truncated
 * behind the read would else lend its new head to the old bytes, and be taken for read so far. */
static bool still_same(struct tail *t, uint64_t at, const char *bytes, size_t n)
{
	char head[FINGERPRINT_BYTES];
	uint64_t end = at + n < FINGERPRINT_BYTES ? at + n : FINGERPRINT_BYTES;
	uint32_t before = t->id.n_fingerprint;

	if (!identity_check(t->fd, &t->id) || t->id.n_fingerprint < end)
		return false;
	t->changed |= t->id.n_fingerprint != before;
	return before == FINGERPRINT_BYTES || at >= end ||
	       (read_at(t->fd, head, end, 0) == (ssize_t)end &&
		       memcmp(head + at, bytes, end - at) == 0);
}

/* `size` was seen before the fingerprint held: those bytes are this generation's. */
static void size_is_sure(struct tail *t, uint64_t size)
{
	if (size > t->sure)
		t->sure = size;
}

void tail_measure(struct tail *t)
{
	struct stat st;

	if (fstat(t->fd, &st) == 0 && (uint64_t)st.st_size > t->sure && t->id.n_fingerprint > 0 &&
		still_same(t, 0, NULL, 0))
		size_is_sure(t, (uint64_t)st.st_size);
}

void tail_unpack(struct tail *t)
{
	if (!t->packed)
		t->packed = packed_new(t->fd, t->packing);
}

void tail_packed_done(struct tail *t)
{
	packed_free(t->packed);
	t->packed = NULL;
}

/* The same of a compressed file: it does not change, and is read forward alone.  What stands before
 * a damaged place is taken to its last byte. */
static enum tail_result read_packed(struct tail *t, struct tail_io *io, struct error *e)
{
	size_t want = t->partial < LINE_FRAGMENT ? (size_t)t->partial + TAIL_CHUNK : TAIL_BUFFER;
	ssize_t n = packed_read(t->packed, io->buffer, want, t->read, e);
	bool damaged = packed_damaged(t->packed), at_eof, whole;
	enum tail_result result;

	if (n == PACKED_AGAIN)
		return TAIL_MORE;
	if (n == PACKED_FAILED) {
		error_wrap(e, ERR_IO, "%s: cannot be read", t->path);
		return TAIL_FAILED;
	}
	at_eof = n >= 0 && (size_t)n < want;
	whole = at_eof && packed_whole(t->packed);
	if (n == 0 && !whole && t->cut) {
		error_set(e, ERR_CORRUPT, "it ends too early");
		n = PACKED_DAMAGED;
	}
	if (n < 0 && packed_end(t->packed) < t->read) {
		t->finished = true; /* the gap was told, it stands for one byte (gaps.c) */
		return TAIL_END;
	}
	if (n < 0) {
		t->finished = t->damaged = true;
		error_wrap(e, ERR_CORRUPT, "%s: what follows offset %llu of its content is lost",
			t->path, (unsigned long long)t->read);
		return TAIL_FAILED;
	}
	if (t->refragment)
		t->fragment = (t->read - packed_line_start(t->packed)) / LINE_FRAGMENT;
	t->refragment = false;
	t->finished = whole;
	if (n == 0)
		return TAIL_END;
	if (t->size < t->read + (uint64_t)n)
		t->size = t->sure = t->read + (uint64_t)n;
	result = tail_split(
		t, io, (size_t)n, at_eof && (whole || damaged || t->cut) ? SHAPE_END : SHAPE_MORE);
	t->finished &= result != TAIL_FULL;
	return result == TAIL_MORE && at_eof && !damaged && !t->cut ? TAIL_END : result;
}

/* How many of the `want` bytes at `at` may be read: the head no further than a fingerprint of it is
 * on disk. */
static size_t sealed_part(const struct tail *t, uint64_t at, size_t want)
{
	uint64_t room = t->n_sealed > at ? t->n_sealed - at : 0;

	return t->n_sealed >= FINGERPRINT_BYTES || want < room ? want : (size_t)room;
}

/* The bytes before `end` were asked for and are all that may be read: is there nothing behind? */
static bool ends_at(const struct tail *t, uint64_t end)
{
	struct stat st;

	return fstat(t->fd, &st) == 0 && (uint64_t)st.st_size <= end;
}

enum tail_result tail_read(
	struct tail *t, struct tail_io *io, enum shape_more more, struct error *e)
{
	enum tail_result result;
	size_t want = TAIL_CHUNK, part;
	bool at_eof;
	uint64_t size;
	struct stat st;
	ssize_t n;

	assert(t->fd >= 0);
	if (t->packed)
		return read_packed(t, io, e);
	if (t->packing)
		return TAIL_END; /* finished: not worth unpacking it once more */
	size = fstat(t->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	if (t->partial > 0 && t->partial < LINE_FRAGMENT && more == SHAPE_MORE) {
		/* Look for the newline behind what was seen before reading all of it again. */
		n = read_at(t->fd, io->buffer, sealed_part(t, t->read + t->partial, TAIL_CHUNK),
			t->read + t->partial);
		if (n < 0)
			goto failed;
		if (n == 0)
			return at_end(t, t->read + t->partial);
		if (!memchr(io->buffer, '\n', (size_t)n)) {
			if (!still_same(t, t->read + t->partial, io->buffer, (size_t)n))
				return TAIL_REPLACED;
			t->partial += (uint64_t)n;
			size_is_sure(t, size);
			return n < TAIL_CHUNK && t->partial < LINE_FRAGMENT ? TAIL_END : TAIL_MORE;
		}
	}
	if (t->partial > 0)
		want = t->partial < LINE_FRAGMENT ? (size_t)t->partial + TAIL_CHUNK : TAIL_BUFFER;
	part = sealed_part(t, t->read, want);
	n = read_at(t->fd, io->buffer, part, t->read);
	if (n < 0)
		goto failed;
	if (n == 0)
		return at_end(t, t->read);
	at_eof = (size_t)n < part || (part < want && ends_at(t, t->read + (uint64_t)n));
	if (!still_same(t, t->read, io->buffer, (size_t)n))
		return TAIL_REPLACED;
	if (t->size < t->read + (uint64_t)n)
		t->size = t->read + (uint64_t)n;
	size_is_sure(t, size);
	size_is_sure(t, t->read + (uint64_t)n);
	if (io->shaper && t->read > 0 && t->n_first < SHAPE_HEAD) {
		ssize_t first = read_at(t->fd, t->first, SHAPE_HEAD, 0);

		t->n_first = first > 0 ? (uint8_t)first : 0;
	}
	if (!at_eof || (more == SHAPE_QUIET && (uint64_t)n > t->partial))
		more = SHAPE_MORE;
	result = tail_split(t, io, (size_t)n, more);
	return result == TAIL_MORE && at_eof && t->partial < LINE_FRAGMENT ? TAIL_END : result;
failed:
	error_errno(e, errno, "%s: cannot be read at %llu", t->path, (unsigned long long)t->read);
	return TAIL_FAILED;
}
