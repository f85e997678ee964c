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
 * While the original stands beside it nothing is done: gzip and zstd remove it
 * when they are finished, and until then it is read itself.
 *
 * Why nothing comes twice and nothing is lost, killed at any moment.  To send
 * bytes again under the source they were sent with is harmless: the server
 * knows how far it has that source.  So there are two mistakes to avoid.
 *
 * A new source for old content (twice).  Whatever was sent is sent as a
 * generation that is in the book, with a fingerprint that covers min(1 KiB,
 * what was sent) (file.c, seal).  A compressed file whose head no generation's
 * fingerprint fits was therefore never sent.  For this to hold a generation
 * must stay in the book until each compressed file of it has been looked at:
 * so also when its plain file was deleted, where there are compressed files.
 * How long ago it was last seen says nothing: it is open, and seen, while it
 * is being compressed and after.
 *
 * An old source for new content (lost).  Only files that begin alike for 1 KiB,
 * or as long as one was when it was last read, can be taken for each other.
 * The book tells which compressed file a generation is in (packed_as); that is
 * saved before bytes of it are sent as that generation.  One that is in another
 * file, was not born yet when this one was made, is there uncompressed, or
 * holds more bytes than this one says of itself is not considered; of several
 * the one that more bytes tell of, then the oldest, by the oldest file.
 *
 * A lineage learns what it saw (packed_ns, accounted_s): a compressed file born
 * no later is done with for good, so it learns only what lies before the first
 * that waits, is being read, or is the copy of a file that is.  After a kill
 * the others are matched again, and find the generations that they found.
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

/* What the names that rotation gives to a path have in common: the path up to the first suffix of
 * rotation.  With a glob that takes in rotated names the files of one path are several lineages. */
static struct str family_of(struct str path)
{
	const char *slash = memrchr(path.p, '/', path.n);
	size_t prefix = slash ? (size_t)(slash + 1 - path.p) : 0;
	size_t cut = lineage_cut(str_sub(path, prefix, path.n), 0);

	return cut ? str_sub(path, 0, prefix + cut) : path;
}

static bool in_family(struct str family, const char *path)
{
	return strncmp(path, family.p, family.n) == 0 && str_eq(family_of(str_c(path)), family);
}

bool rotated_packs(const struct file_input *in, const char *path)
{
	return map_get(&in->packs, family_of(str_c(path))) != NULL;
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

enum fate {
	NOT_KNOWN,
	KNOWN,
	WAITS, /* look again */
	TAKEN, /* it is being read, or the file is that it is a copy of */
};

/* It is a copy of t, which is read: is there nothing left to read? */
static enum fate copy_of(const struct tail *t, int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && t->acked == t->read && !t->partial &&
			       t->read >= (uint64_t)st.st_size
		       ? KNOWN
		       : TAKEN;
}

/* The same of one that is not open, since it was read to its end. */
static enum fate compare_closed(
	struct file_input *in, const struct look_packed *f, int packed_fd, const struct tail *t)
{
	int fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
	enum fate fate = NOT_KNOWN;
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == t->ino && st.st_dev == t->dev) {
		if (same_content(packed_fd, f->packing, fd))
			fate = copy_of(t, fd);
	} else if (packed_has_length(packed_fd, f->packing, t->read)) {
		fate = KNOWN;
	} else {
		/* It was written to and is gone: it is let go of, and then this is its rest. */
		fate = WAITS;
		file_scan_soon(in);
	}
	if (fd >= 0)
		close(fd);
	return fate;
}

static bool begins_with(int fd, struct str head)
{
	char bytes[FINGERPRINT_BYTES];

	return head.n > 0 && head.n <= sizeof(bytes) &&
	       pread(fd, bytes, head.n, 0) == (ssize_t)head.n && memcmp(bytes, head.p, head.n) == 0;
}

/* Is it a copy of a file that is being followed?  That may have nothing but a name yet. */
static enum fate compare_open(
	struct file_input *in, const struct look_packed *f, int fd, struct str head)
{
	struct str family = family_of(str_c(f->of->path));
	enum fate fate = NOT_KNOWN;

	LIST_EACH (at, &in->tails) {
		struct tail *t = CONTAINER(at, struct tail, node);
		struct identity probe = t->id;

		if (fate != NOT_KNOWN || t->packing || !in_family(family, t->origin))
			continue;
		if (t->fd < 0) {
			if (has_fingerprint(&t->id, head))
				fate = compare_closed(in, f, fd, t);
		} else if (!identity_check(t->fd, &probe)) {
			/* Truncated: what it was is kept in a moment. */
			tails_ready(in, t);
			file_scan_soon(in);
			if (has_fingerprint(&t->id, head))
				fate = WAITS;
		} else if (begins_with(t->fd, head) && same_content(fd, f->packing, t->fd)) {
			fate = copy_of(t, t->fd);
		}
	}
	return fate;
}

/* Is it a copy of a file that this look is about to take up? */
static bool compare_found(
	const struct look *k, const struct look_packed *f, int fd, struct str head)
{
	for (size_t i = 0; i < k->n; i++) {
		if (k->files[i].fd >= 0 && begins_with(k->files[i].fd, head) &&
			same_content(fd, f->packing, k->files[i].fd))
			return true;
	}
	return false;
}

/* The position that is known to be in this file. */
static struct position *own_position(const struct file_input *in, const struct look_packed *f)
{
	LIST_EACH (node, &in->book->kept.list) {
		struct position *at = CONTAINER(node, struct position, node);

		if (at->as.ino == f->ino && at->as.birth_ns == f->birth_ns)
			return at;
	}
	return NULL;
}

/* May this file hold the content of `at`?  One that is known to be in another file does, when this
 * is a copy of that: it has the same length, or does not tell it. */
static bool may_hold(const struct look *k, const struct look_packed *f, int fd,
	const struct position *at, struct str head)
{
	uint64_t size = at->size > at->offset ? at->size : at->offset;

	if (!has_fingerprint(&at->id, head) || packed_is_shorter(fd, f->packing, size))
		return false;
	if (f->birth_ns && at->id.birth_ns > f->birth_ns && at->id.dev == f->dev && !at->gone)
		return false;
	if (at->as.ino && packed_tells_length(fd, f->packing) &&
		!packed_has_length(fd, f->packing, size))
		return false;
	return at->gone || !still_plain(k, &at->id);
}

/* The position that this is most likely the rest of. */
static bool is_better(const struct position *a, const struct position *b)
{
	if (!b || !a->as.ino != !b->as.ino)
		return !b || !a->as.ino;
	if (a->id.n_fingerprint != b->id.n_fingerprint)
		return a->id.n_fingerprint > b->id.n_fingerprint;
	return a->id.generation < b->id.generation;
}

static struct position *find_position(struct file_input *in, const struct look *k,
	const struct look_packed *f, int fd, struct str head)
{
	struct str family = family_of(str_c(f->of->path));
	struct position *best = NULL;

	LIST_EACH (node, &in->book->kept.list) {
		struct position *at = CONTAINER(node, struct position, node);

		if (in_family(family, at->path) && is_better(at, best) &&
			may_hold(k, f, fd, at, head))
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

/* Its head is that of `at`: read the rest of that, if there is any. */
static enum fate take_rest(struct file_input *in, struct position *at, const struct look_packed *f,
	int fd, struct str head)
{
	if (at->as.done)
		return KNOWN;
	if (packed_has_length(fd, f->packing, at->offset) && at->size <= at->offset) {
		at->as = (struct packed_as){.ino = f->ino, .birth_ns = f->birth_ns, .done = true};
		book_save_later(in->book);
		return KNOWN;
	}
	return tails_begin_packed(in, fd, f, at, head) ? TAKEN : WAITS;
}

static enum fate consider_content(
	struct file_input *in, const struct look *k, const struct look_packed *f, int fd)
{
	struct buf head = {0};
	struct position *at = own_position(in, f);
	enum fate fate = NOT_KNOWN;
	int64_t now_s = book_now_s(in->book);

	if (at && at->as.done)
		return KNOWN;
	if (!head_of(fd, f->packing, &head)) {
		/* Still being written; or damaged, when that was long ago. */
		fate = now_s - f->changed_ns / NS_PER_SEC < PACKED_WAIT_S ? WAITS : KNOWN;
		if (fate == KNOWN)
			tails_complain(in, f->path, "nothing of it can be unpacked");
	}
	if (fate == NOT_KNOWN && !at)
		fate = compare_open(in, f, fd, buf_view(&head));
	if (fate == NOT_KNOWN && !at && compare_found(k, f, fd, buf_view(&head)))
		fate = TAKEN;
	if (fate == NOT_KNOWN && !at)
		at = find_position(in, k, f, fd, buf_view(&head));
	if (fate == NOT_KNOWN && !at &&
		(head.n == 0 || (f->changed_ns / NS_PER_SEC < f->of->accounted_s &&
					now_s >= f->of->accounted_s)))
		fate = KNOWN; /* from before; but a clock that was set back proves nothing */
	if (fate == NOT_KNOWN)
		fate = at ? take_rest(in, at, f, fd, buf_view(&head))
		       : tails_begin_packed(in, fd, f, NULL, buf_view(&head)) ? TAKEN
									      : WAITS;
	buf_fini(&head);
	return fate;
}

static enum fate consider_packed(
	struct file_input *in, const struct look *k, const struct look_packed *f)
{
	enum fate fate;
	struct stat st;
	int fd;

	map_put(&in->packs, family_of(str_c(f->of->path)), NULL);
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
	/* Files are renamed while they are looked at. */
	fate = fstat(fd, &st) == 0 && st.st_ino == f->ino && st.st_dev == f->dev
		       ? consider_content(in, k, f, fd)
		       : WAITS;
	close(fd);
	return fate;
}

static int by_change(const void *a, const void *b)
{
	const struct look_packed *x = a, *y = b;

	return (x->changed_ns > y->changed_ns) - (x->changed_ns < y->changed_ns);
}

/* The birth of the oldest compressed file of it that is being read. */
static int64_t floor_of(const struct lineage *l)
{
	int64_t floor = INT64_MAX;

	LIST_EACH (at, &l->tails) {
		const struct tail *t = CONTAINER(at, struct tail, sibling);

		if (t->packing && t->as.birth_ns < floor)
			floor = t->as.birth_ns;
	}
	return floor;
}

bool rotated_take(struct file_input *in, struct look *k, int64_t began_s)
{
	bool waits = false;

	if (k->n_packed == 0)
		return false;
	qsort(k->packed, k->n_packed, sizeof(*k->packed), by_change);
	for (size_t i = 0; i < k->n_packed; i++)
		k->packed[i].of->packed_floor_ns = floor_of(k->packed[i].of);
	for (size_t i = 0; i < k->n_packed; i++) {
		struct look_packed *f = &k->packed[i];
		enum fate fate = f->of->unsteady ? WAITS : consider_packed(in, k, f);

		if (fate != KNOWN && f->birth_ns < f->of->packed_floor_ns)
			f->of->packed_floor_ns = f->birth_ns;
		waits |= fate == WAITS;
	}
	for (size_t i = 0; i < k->n_packed; i++) {
		struct look_packed *f = &k->packed[i];

		if (f->birth_ns < f->of->packed_floor_ns && f->birth_ns > f->of->packed_ns)
			f->of->packed_ns = f->birth_ns;
		if (f->of->packed_floor_ns == INT64_MAX)
			f->of->accounted_s = began_s;
	}
	return waits;
}
