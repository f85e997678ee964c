/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotated files that were compressed: `app.log.1` that became `app.log.1.gz`.
 *
 * Design.  A compressed file is another inode, so it is known by its content:
 * the fingerprint of the first unpacked bytes.  Of those that appeared since
 * the last look, the older first:
 *
 *   it begins as a file that is followed          that one is read, this is its copy
 *   … of a kept position                          the rest is read from there, as the same source
 *   … of none, and last written since             it came, was rotated and compressed unseen: it
 *   everything was accounted for                  is read whole, as a new generation
 *   … of none, and older                          from before the path was followed
 *
 * A position is matched only by a file that was made after the position was
 * last seen uncompressed, each by one, the older by the older: so files that
 * begin alike do not take each other's place.
 *
 * While the original stands beside it nothing is done: gzip and zstd remove it
 * when they are finished, and until then it is read itself.
 *
 * A lineage learns what it saw (packed_ns, accounted_s) only when nothing of
 * it is waiting or being read.  After a kill the same files are matched again:
 * those that were read meanwhile have positions by now.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"
#include "input/file.h"
#include "input/packed.h"

enum {
	COMPARE_CHUNK = 64 << 10,
	COMPARE_BYTES = 1 << 20,
};

static bool has_fingerprint(const struct identity *id, struct str head)
{
	return id->n_fingerprint > 0 && id->n_fingerprint <= head.n &&
	       hash_stable(str_sub(head, 0, id->n_fingerprint)) == id->fingerprint;
}

/* Is the file of this identity there under any name of the family, uncompressed?  Not when its
 * inode was given to another, or was truncated. */
static bool still_plain(const struct look *k, const struct identity *id)
{
	for (size_t i = 0; i < k->n; i++) {
		const struct look_file *f = &k->files[i];
		struct identity probe = *id;
		bool same;
		int fd;

		if (f->ino != id->ino || f->dev != id->dev ||
			(f->birth_ns && id->birth_ns && f->birth_ns != id->birth_ns))
			continue;
		fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
		same = fd >= 0 && identity_check(fd, &probe);
		if (fd >= 0)
			close(fd);
		return same;
	}
	return false;
}

static bool original_there(const struct look *k, const struct look_packed *f)
{
	for (size_t i = 0; i < k->n; i++) {
		if (str_eq(str_c(k->files[i].path), str_make(f->path, f->stem)))
			return true;
	}
	return false;
}

/* Are the first bytes of a compressed file those of a plain one? */
static bool same_content(int packed_fd, enum packing packing, int fd)
{
	struct packed *p = packed_new(packed_fd, packing);
	char *a = xmalloc(2 * COMPARE_CHUNK), *b = a + COMPARE_CHUNK;
	bool same = true;

	for (uint64_t at = 0; same && at < COMPARE_BYTES; at += COMPARE_CHUNK) {
		ssize_t n = packed_read(p, a, COMPARE_CHUNK, at, NULL);

		if (n <= 0)
			break;
		same = pread(fd, b, (size_t)n, (off_t)at) == n && memcmp(a, b, (size_t)n) == 0;
	}
	free(a);
	packed_free(p);
	return same;
}

enum fate { NOT_KNOWN, KNOWN, WAITS, TAKEN };

/* Is it a copy of a file that is being followed? */
static enum fate compare_open(struct file_input *in, const struct look *k,
	const struct look_packed *f, int fd, struct str head)
{
	LIST_EACH (at, &f->of->tails) {
		struct tail *t = CONTAINER(at, struct tail, sibling);
		struct identity probe = t->id;

		if (t->packing || !has_fingerprint(&t->id, head))
			continue;
		if (t->fd < 0) {
			if (!still_plain(k, &t->id))
				return KNOWN; /* read to its end before it was closed */
		} else if (!identity_check(t->fd, &probe)) {
			tails_ready(in, t); /* truncated: what it was is kept in a moment */
			file_scan_soon(in);
			return WAITS;
		} else if (same_content(fd, f->packing, t->fd)) {
			return KNOWN;
		}
	}
	return NOT_KNOWN;
}

/* The oldest position that this may be the rest of. */
static struct position *find_position(
	struct file_input *in, const struct look *k, const struct look_packed *f, struct str head)
{
	struct position *best = NULL;

	LIST_EACH (node, &in->book->kept.list) {
		struct position *at = CONTAINER(node, struct position, node);

		if (at->claimed == k->reading || strcmp(at->path, f->of->path) != 0 ||
			(best && best->id.generation < at->id.generation) ||
			(f->birth_ns && f->birth_ns / NS_PER_SEC + 1 < at->seen_s) ||
			!has_fingerprint(&at->id, head) || (!at->gone && still_plain(k, &at->id)))
			continue;
		best = at;
	}
	return best;
}

/* The first bytes of its content.  False: there are none yet. */
static bool head_of(int fd, enum packing packing, struct buf *out)
{
	struct packed *p = packed_new(fd, packing);
	ssize_t n = packed_read(p, buf_reserve(out, FINGERPRINT_BYTES), FINGERPRINT_BYTES, 0, NULL);
	bool enough = n == FINGERPRINT_BYTES || (n >= 0 && packed_whole(p));

	if (n > 0)
		out->n = (size_t)n;
	packed_free(p);
	return enough;
}

static enum fate consider_content(
	struct file_input *in, const struct look *k, const struct look_packed *f, int fd)
{
	struct buf head = {0};
	struct position *at;
	enum fate fate = KNOWN;
	int64_t now_s = book_now_s(in->book);

	if (!head_of(fd, f->packing, &head)) {
		/* Still being written; or damaged, when that was long ago. */
		fate = now_s - f->changed_ns / NS_PER_SEC < PACKED_WAIT_S ? WAITS : KNOWN;
		goto done;
	}
	fate = compare_open(in, k, f, fd, buf_view(&head));
	if (fate != NOT_KNOWN)
		goto done;
	fate = KNOWN;
	at = find_position(in, k, f, buf_view(&head));
	if (at) {
		at->claimed = k->reading;
		if (packed_has_length(fd, f->packing, at->offset) && at->size <= at->offset)
			goto done;
	} else if (head.n == 0 || (f->changed_ns / NS_PER_SEC < f->of->accounted_s &&
					  now_s >= f->of->accounted_s)) {
		goto done; /* from before; but a clock that was set back proves nothing */
	}
	if (tails_begin_packed(in, fd, f, at, buf_view(&head)))
		fate = TAKEN;
	fd = -1;
done:
	if (fd >= 0)
		close(fd);
	buf_fini(&head);
	return fate;
}

static enum fate consider_packed(
	struct file_input *in, const struct look *k, const struct look_packed *f)
{
	int fd;

	if (!f->of->looked || (f->birth_ns && f->birth_ns <= f->of->packed_ns))
		return KNOWN;
	if (tails_find_inode(in->book, f->dev, f->ino))
		return KNOWN;
	if (original_there(k, f))
		return WAITS;
	if (f->packing == PACKING_OTHER) {
		if (f->changed_ns / NS_PER_SEC >= f->of->accounted_s)
			tails_complain(in, f->path,
				"it is compressed in a way that is not read here (gzip and zstd "
				"are): lines that were not read before are missed");
		return KNOWN;
	}
	fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
	if (fd < 0)
		return WAITS;
	return consider_content(in, k, f, fd);
}

static int by_change(const void *a, const void *b)
{
	const struct look_packed *x = a, *y = b;

	return (x->changed_ns > y->changed_ns) - (x->changed_ns < y->changed_ns);
}

static bool being_read(const struct lineage *l)
{
	LIST_EACH (at, &l->tails) {
		if (CONTAINER(at, struct tail, sibling)->packing)
			return true;
	}
	return false;
}

bool rotated_take(struct file_input *in, struct look *k, int64_t began_s)
{
	bool waits = false;

	if (k->n_packed == 0)
		return false;
	qsort(k->packed, k->n_packed, sizeof(*k->packed), by_change);
	for (size_t i = 0; i < k->n_packed; i++)
		k->packed[i].of->packed_waits = being_read(k->packed[i].of);
	for (size_t i = 0; i < k->n_packed; i++) {
		struct look_packed *f = &k->packed[i];
		enum fate fate = f->of->unsteady ? WAITS : consider_packed(in, k, f);

		f->of->packed_waits |= fate != KNOWN;
		waits |= fate == WAITS;
	}
	for (size_t i = 0; i < k->n_packed; i++) {
		struct look_packed *f = &k->packed[i];

		if (f->of->packed_waits)
			continue;
		if (f->birth_ns > f->of->packed_ns)
			f->of->packed_ns = f->birth_ns;
		f->of->accounted_s = began_s;
	}
	return waits;
}
