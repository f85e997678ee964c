/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk in memory, a little crueller than a real one, as far as POSIX allows.
 *
 * Every inode has two images: `now`, what a reader sees, and `disk`, what a
 * power cut leaves.  Between them stands a list of changes in the order they
 * were made:
 *
 *     file_write ──► now, and a change      file_sync ──► changes go to disk
 *     fs_rename  ──► now, and a change      fs_sync_dir ─► changes go to disk
 *     fake_crash ──► now = disk (+ some changes, when asked to keep some)
 *
 * A directory is an inode whose image is a table of names, so a file may be
 * durable while no durable name leads to it: after a crash it is gone.  Each
 * directory is kept apart: of a rename across two of them a crash may undo
 * one half.  Order among unsynced changes is not kept either; both go beyond
 * what ext4 does, and code that survives here survives there.
 *
 * A failed sync does what Linux does: the pages count as clean afterwards, so
 * the next sync answers 0 and proves nothing.
 *
 * Images are sparse: bytes behind `bytes.n` up to `size` are zeros, so that a
 * preallocated segment of 64 MiB costs nothing.
 *
 * One lock around every operation.  Randomness is drawn only in a crash and a
 * failed sync, by a generator seeded once: same seed and calls, same disk.
 */
#include "os/fake.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/memory.h"
#include "os/clock_ops.h"
#include "os/fs_ops.h"

enum { SECTOR = 512 };
#define FILE_MAX  (UINT64_C(1) << 32) /* bytes of a file: a larger one is a mistake in a test */
#define DISK_SIZE (UINT64_C(1) << 40) /* what fs_space says without a limit */

/* The state of an inode at one time: bytes of a file or names of a directory. */
struct image {
	struct buf bytes;
	uint64_t size;
	struct map names; /* value.p: struct inode, with a reference */
};

enum change_kind {
	CHANGE_WRITE,  /* bytes at offset */
	CHANGE_GROW,   /* at least to `offset` */
	CHANGE_RESIZE, /* to `offset` */
	CHANGE_NAMES,  /* remove `removed`, add `added` -> inode; either may be empty */
};

struct change {
	struct list node;
	enum change_kind kind;
	uint64_t offset;
	struct buf bytes;
	char *removed, *added;
	struct inode *inode; /* of `added`; a reference */
};

struct inode {
	struct list node; /* in fake.inodes, in the order of birth */
	uint64_t id;
	bool is_dir;
	unsigned refs;      /* names in images, changes, handles */
	unsigned n_links;   /* names in `now` images */
	unsigned n_handles; /* open ones, not stale */
	uint64_t allocated; /* bytes taken from the space */
	int64_t modified;
	struct image now, disk;
	struct list changes;
	struct fake_file *locked_by;
};

struct fault {
	uint64_t after; /* calls from now; 0 is off */
	int number;
	bool for_good;
};

struct fake {
	struct fs fs;
	/* Under `lock`. */
	struct lock lock;
	struct list inodes;
	struct inode *root;
	uint64_t next_id, random;
	uint64_t generation; /* crashes so far: handles of an older one are stale */
	uint64_t changes, crash_after;
	bool dead; /* the crash point has passed */
	bool sync_lies;
	uint64_t space; /* UINT64_MAX: no limit */
	struct fault faults[FAKE_OPS];
};

struct fake_file {
	struct file file;
	struct inode *inode;
	uint64_t generation;
	bool writable;
};

static struct fake *fake_of(const struct fs *fs)
{
	return (struct fake *)fs;
}

/* splitmix64 (Steele, Lea and Flood, 2014). */
static uint64_t draw(struct fake *k) REQUIRES(k->lock)
{
	uint64_t z = k->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* --- inodes and images -------------------------------------------------- */

static void inode_unref(struct inode *i);

static struct inode *inode_new(struct fake *k, bool is_dir) REQUIRES(k->lock)
{
	struct inode *i = xcalloc(1, sizeof *i);

	i->id = ++k->next_id;
	i->is_dir = is_dir;
	i->refs = 1;
	list_init(&i->changes);
	list_append(&k->inodes, &i->node);
	return i;
}

static struct inode *inode_ref(struct inode *i)
{
	i->refs++;
	return i;
}

static void image_fini(struct image *m)
{
	const struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&m->names, &at)))
		inode_unref(s->value.p);
	map_fini(&m->names);
	buf_fini(&m->bytes);
	m->size = 0;
}

static void change_free(struct change *c)
{
	list_remove(&c->node);
	buf_fini(&c->bytes);
	free(c->removed);
	free(c->added);
	inode_unref(c->inode);
	free(c);
}

static void forget_changes(struct inode *i)
{
	LIST_EACH (at, &i->changes)
		change_free(CONTAINER(at, struct change, node));
}

static void inode_unref(struct inode *i)
{
	if (!i || --i->refs)
		return;
	forget_changes(i);
	image_fini(&i->now);
	image_fini(&i->disk);
	list_remove(&i->node);
	free(i);
}

/* Bytes behind the old end read as zeros. */
static void image_put(struct image *m, uint64_t offset, const void *p, size_t n)
{
	uint64_t end = offset + n;

	if (n == 0)
		return;
	if (m->bytes.n < end) {
		size_t more = (size_t)(end - m->bytes.n);
		memset(buf_reserve(&m->bytes, more), 0, more);
		m->bytes.n = (size_t)end;
	}
	memcpy(m->bytes.p + offset, p, n);
	if (m->size < end)
		m->size = end;
}

static void image_resize(struct image *m, uint64_t size)
{
	m->size = size;
	if (m->bytes.n > size)
		m->bytes.n = (size_t)size;
}

static struct inode *image_find(const struct image *m, const char *name)
{
	union map_value *v = map_get(&m->names, str_c(name));

	return v ? v->p : NULL;
}

static void image_remove(struct image *m, const char *name)
{
	struct inode *i = image_find(m, name);

	map_remove(&m->names, str_c(name));
	inode_unref(i);
}

static void image_add(struct image *m, const char *name, struct inode *i)
{
	inode_ref(i);
	image_remove(m, name);
	map_put(&m->names, str_c(name), NULL)->p = i;
}

static void image_copy(struct image *to, const struct image *from)
{
	const struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&from->names, &at)))
		map_put(&to->names, s->key, NULL)->p = inode_ref(s->value.p);
	buf_str(&to->bytes, buf_view(&from->bytes));
	to->size = from->size;
}

static void apply(struct image *m, const struct change *c)
{
	switch (c->kind) {
	case CHANGE_WRITE: image_put(m, c->offset, c->bytes.p, c->bytes.n); break;
	case CHANGE_GROW:
		if (m->size < c->offset)
			image_resize(m, c->offset);
		break;
	case CHANGE_RESIZE: image_resize(m, c->offset); break;
	case CHANGE_NAMES:
		/* Unless another unsynced change, kept while this one's elder was not, gave
		 * the name to somebody else. */
		if (c->removed && (!c->added || image_find(m, c->removed) == c->inode))
			image_remove(m, c->removed);
		if (c->added)
			image_add(m, c->added, c->inode);
		break;
	}
}

static struct change *note(struct inode *i, enum change_kind kind, uint64_t offset)
{
	struct change *c = xcalloc(1, sizeof *c);

	c->kind = kind;
	c->offset = offset;
	list_append(&i->changes, &c->node);
	return c;
}

static void note_names(struct inode *dir, const char *removed, const char *added, struct inode *i)
{
	struct change *c = note(dir, CHANGE_NAMES, 0);

	c->removed = xstrdup(removed);
	c->added = xstrdup(added);
	c->inode = i ? inode_ref(i) : NULL;
}

/* Let reach the disk what a power cut may let through of a write: each sector or not, in
 * any order; and the size, which is metadata, with or without the bytes. */
static void apply_torn(struct fake *k, struct image *m, const struct change *c) REQUIRES(k->lock)
{
	uint64_t end = c->offset + c->bytes.n, at = c->offset;

	while (at < end) {
		uint64_t next = (at / SECTOR + 1) * SECTOR;
		if (next > end)
			next = end;
		if (draw(k) & 1)
			image_put(m, at, c->bytes.p + (at - c->offset), (size_t)(next - at));
		at = next;
	}
	if (m->size < end && draw(k) & 1)
		image_resize(m, end);
}

/* Some of the changes reach the disk, the others never will. */
static void apply_some(struct fake *k, struct inode *i) REQUIRES(k->lock)
{
	LIST_EACH (at, &i->changes) {
		struct change *c = CONTAINER(at, struct change, node);
		switch (draw(k) % 3) {
		case 0: break;
		case 1: apply(&i->disk, c); break;
		default:
			if (c->kind == CHANGE_WRITE)
				apply_torn(k, &i->disk, c);
			else if (draw(k) & 1)
				apply(&i->disk, c);
		}
	}
	forget_changes(i);
}

static void apply_all(struct inode *i)
{
	LIST_EACH (at, &i->changes)
		apply(&i->disk, CONTAINER(at, struct change, node));
	forget_changes(i);
}

/* --- paths -------------------------------------------------------------- */

/* The directory that holds `path` and the last name in it, borrowed from `path`'s copy in
 * *name (the caller frees); *name is "" for the root itself. */
static int walk(struct fake *k, const char *path, struct inode **dir, char **name) REQUIRES(k->lock)
{
	struct str rest = str_c(path), part = STR_NONE;
	struct inode *at = k->root;

	while (rest.n) {
		struct str next = str_cut(&rest, '/');
		char *step;
		if (next.n == 0 || str_eq_c(next, "."))
			continue;
		if (str_eq_c(next, ".."))
			return EINVAL; /* not worth its rules */
		if (next.n > 255)
			return ENAMETOOLONG;
		if (part.n) {
			step = str_dup(part);
			at = image_find(&at->now, step);
			free(step);
			if (!at)
				return ENOENT;
		}
		if (!at->is_dir)
			return ENOTDIR;
		part = next;
	}
	*dir = at;
	*name = str_dup(part);
	return 0;
}

static int find(struct fake *k, const char *path, struct inode **out) REQUIRES(k->lock)
{
	struct inode *dir;
	char *name;
	int number = walk(k, path, &dir, &name);

	if (number)
		return number;
	*out = *name ? image_find(&dir->now, name) : k->root;
	free(name);
	return *out ? 0 : ENOENT;
}

static int find_dir(struct fake *k, const char *path, struct inode **out) REQUIRES(k->lock)
{
	int number = find(k, path, out);

	return number ? number : (*out)->is_dir ? 0 : ENOTDIR;
}

/* --- space -------------------------------------------------------------- */

static void give_back(struct fake *k, uint64_t n) REQUIRES(k->lock)
{
	if (k->space != UINT64_MAX)
		k->space += n;
}

/* Take the space up to byte `end` of the file, as far as there is any; returns the end
 * that is reached. */
static uint64_t take_space(struct fake *k, struct inode *i, uint64_t end) REQUIRES(k->lock)
{
	uint64_t more = end > i->allocated ? end - i->allocated : 0;

	if (k->space != UINT64_MAX) {
		if (more > k->space) {
			end -= more - k->space;
			more = k->space;
		}
		k->space -= more;
	}
	i->allocated += more;
	return end;
}

static void unlink_now(struct fake *k, struct inode *i) REQUIRES(k->lock)
{
	i->n_links--;
	if (i->n_links == 0 && i->n_handles == 0) {
		give_back(k, i->allocated);
		i->allocated = 0;
	}
}

/* --- faults ------------------------------------------------------------- */

/* What each call passes first: an errno when it shall fail, else 0.  *last is set when it is
 * the last one before the power goes. */
static int enter(struct fake *k, enum fake_op op, bool changes, bool *last) REQUIRES(k->lock)
{
	struct fault *f = &k->faults[op];

	*last = false;
	if (k->dead)
		return EIO;
	if (f->after == 1) {
		if (!f->for_good)
			f->after = 0;
		return f->number;
	}
	if (f->after)
		f->after--;
	if (changes) {
		k->changes++;
		*last = k->crash_after && --k->crash_after == 0;
	}
	return 0;
}

static int enter_file(struct fake *k, struct file *f, enum fake_op op, bool changes, bool *last)
	REQUIRES(k->lock)
{
	struct fake_file *file = (struct fake_file *)f;
	bool writes = op == FAKE_WRITE || op == FAKE_ALLOCATE || op == FAKE_TRUNCATE;

	*last = false;
	if (file->generation != k->generation)
		return EIO;
	if (writes && !file->writable)
		return op == FAKE_TRUNCATE ? EINVAL : EBADF;
	return enter(k, op, changes, last);
}

static struct inode *inode_of(struct file *f)
{
	return ((struct fake_file *)f)->inode;
}

static void touch(struct fake *k, struct inode *i) REQUIRES(k->lock)
{
	i->modified = (int64_t)k->changes;
}

/* --- files -------------------------------------------------------------- */

static struct inode *create(struct fake *k, struct inode *dir, const char *name, bool is_dir)
	REQUIRES(k->lock)
{
	struct inode *i = inode_new(k, is_dir);

	i->n_links = 1;
	image_add(&dir->now, name, i);
	note_names(dir, NULL, name, i);
	touch(k, dir);
	inode_unref(i); /* the names hold it now */
	return i;
}

static int open_locked(struct fake *k, const char *path, int mode, struct file **out)
	REQUIRES(k->lock)
{
	struct inode *dir, *i;
	struct fake_file *f;
	char *name;
	int number = walk(k, path, &dir, &name);

	if (number)
		return number;
	i = *name ? image_find(&dir->now, name) : k->root;
	if (i && mode & FILE_EXCLUSIVE)
		number = EEXIST;
	else if (i && i->is_dir && mode & FILE_WRITE)
		number = EISDIR;
	else if (!i && !(mode & FILE_CREATE))
		number = ENOENT;
	else if (!i)
		i = create(k, dir, name, false);
	free(name);
	if (number)
		return number;
	f = xcalloc(1, sizeof *f);
	f->inode = inode_ref(i);
	f->inode->n_handles++;
	f->generation = k->generation;
	f->writable = mode & FILE_WRITE;
	*out = &f->file;
	return 0;
}

static int fake_open(struct fs *fs, const char *path, int mode, struct file **out)
{
	struct fake *k = fake_of(fs);
	bool last;
	int number;

	lock_take(&k->lock);
	number = enter(k, FAKE_OPEN, false, &last);
	if (!number)
		number = open_locked(k, path, mode, out);
	lock_drop(&k->lock);
	return number;
}

static void close_locked(struct fake *k, struct fake_file *f) REQUIRES(k->lock)
{
	struct inode *i = f->inode;

	if (f->generation == k->generation) {
		i->n_handles--;
		if (i->locked_by == f)
			i->locked_by = NULL;
		if (i->n_handles == 0 && i->n_links == 0) {
			give_back(k, i->allocated);
			i->allocated = 0;
		}
	}
	inode_unref(i);
	free(f);
}

static int fake_lock(struct fs *fs, const char *path, struct file **out)
{
	struct fake *k = fake_of(fs);
	struct inode *i;
	bool last;
	int number;

	lock_take(&k->lock);
	number = enter(k, FAKE_OPEN, false, &last);
	if (!number)
		number = open_locked(k, path, FILE_WRITE | FILE_CREATE, out);
	if (!number) {
		i = inode_of(*out);
		if (i->locked_by) {
			close_locked(k, (struct fake_file *)*out);
			number = EWOULDBLOCK;
		} else {
			i->locked_by = (struct fake_file *)*out;
		}
	}
	lock_drop(&k->lock);
	return number;
}

static void fake_close(struct file *f)
{
	struct fake *k = fake_of(f->fs);

	lock_take(&k->lock);
	close_locked(k, (struct fake_file *)f);
	lock_drop(&k->lock);
}

static int fake_read(struct file *f, uint64_t offset, void *p, size_t n, size_t *got)
{
	struct fake *k = fake_of(f->fs);
	struct image *m = &inode_of(f)->now;
	size_t solid = 0;
	bool last;
	int number;

	*got = 0;
	lock_take(&k->lock);
	number = enter_file(k, f, FAKE_READ, false, &last);
	if (!number && n && inode_of(f)->is_dir)
		number = EISDIR;
	if (!number && offset < m->size) {
		*got = m->size - offset < n ? (size_t)(m->size - offset) : n;
		if (offset < m->bytes.n)
			solid = m->bytes.n - (size_t)offset;
		if (solid > *got)
			solid = *got;
		if (solid)
			memcpy(p, m->bytes.p + offset, solid);
		if (*got > solid)
			memset((char *)p + solid, 0, *got - solid);
	}
	lock_drop(&k->lock);
	return number;
}

static int write_locked(struct fake *k, struct inode *i, uint64_t offset, struct buf *all,
	bool torn) REQUIRES(k->lock)
{
	uint64_t end = offset + all->n, reached;
	struct change *c;
	int number = 0;

	if (offset > FILE_MAX || end > FILE_MAX)
		return EFBIG;
	if (torn) {
		end = offset + all->n / 2;
		number = EIO;
	}
	reached = take_space(k, i, end);
	if (reached < end)
		number = ENOSPC;
	/* What fits is written, as by the short write that a real disk does first. */
	all->n = reached > offset ? (size_t)(reached - offset) : 0;
	if (all->n == 0)
		return number;
	image_put(&i->now, offset, all->p, all->n);
	c = note(i, CHANGE_WRITE, offset);
	c->bytes = buf_take(all);
	touch(k, i);
	return number;
}

static int fake_write(struct file *f, uint64_t offset, const struct iovec *iov, int n)
{
	struct fake *k = fake_of(f->fs);
	struct buf all = {0};
	bool last;
	int number;

	for (int i = 0; i < n; i++)
		buf_put(&all, iov[i].iov_base, iov[i].iov_len);
	if (all.n == 0)
		return 0; /* the real one makes no call either */
	lock_take(&k->lock);
	number = enter_file(k, f, FAKE_WRITE, true, &last);
	if (!number)
		number = write_locked(k, inode_of(f), offset, &all, last);
	k->dead |= last;
	lock_drop(&k->lock);
	buf_fini(&all);
	return number;
}

static int fake_sync(struct file *f)
{
	struct fake *k = fake_of(f->fs);
	struct fake_file *file = (struct fake_file *)f;
	bool last;
	int number;

	lock_take(&k->lock);
	number = enter_file(k, f, FAKE_SYNC, true, &last);
	if (!number && !k->sync_lies)
		apply_all(inode_of(f));
	else if (number && !k->dead && file->generation == k->generation)
		apply_some(k, inode_of(f)); /* see the top of this file */
	k->dead |= last;
	lock_drop(&k->lock);
	return number;
}

static int fake_allocate(struct file *f, uint64_t size)
{
	struct fake *k = fake_of(f->fs);
	struct inode *i = inode_of(f);
	uint64_t had;
	bool last;
	int number;

	if (size == 0)
		return 0;
	lock_take(&k->lock);
	had = i->allocated;
	number = enter_file(k, f, FAKE_ALLOCATE, true, &last);
	if (!number && size > FILE_MAX)
		number = EFBIG;
	if (!number && take_space(k, i, size) < size) {
		give_back(k, i->allocated - had);
		i->allocated = had;
		number = ENOSPC;
	}
	if (!number && size > i->now.size) {
		image_resize(&i->now, size);
		note(i, CHANGE_GROW, size);
		touch(k, i);
	}
	k->dead |= last;
	lock_drop(&k->lock);
	return number;
}

static int fake_truncate(struct file *f, uint64_t size)
{
	struct fake *k = fake_of(f->fs);
	struct inode *i = inode_of(f);
	bool last;
	int number;

	lock_take(&k->lock);
	number = enter_file(k, f, FAKE_TRUNCATE, true, &last);
	if (!number && size > FILE_MAX)
		number = EFBIG;
	if (!number) {
		if (i->allocated > size) {
			give_back(k, i->allocated - size);
			i->allocated = size;
		}
		image_resize(&i->now, size);
		note(i, CHANGE_RESIZE, size);
		touch(k, i);
	}
	k->dead |= last;
	lock_drop(&k->lock);
	return number;
}

static void fill_stat(const struct inode *i, struct file_stat *out)
{
	*out = (struct file_stat){
		.kind = i->is_dir ? FILE_DIRECTORY : FILE_REGULAR,
		.size = i->now.size,
		.device = 1,
		.inode = i->id,
		.n_links = i->n_links,
		.modified_ns = i->modified,
	};
}

static int fake_file_stat(struct file *f, struct file_stat *out)
{
	struct fake *k = fake_of(f->fs);
	int number = EIO;

	lock_take(&k->lock);
	if (!k->dead && ((struct fake_file *)f)->generation == k->generation) {
		fill_stat(inode_of(f), out);
		number = 0;
	}
	lock_drop(&k->lock);
	return number;
}

/* --- directories -------------------------------------------------------- */

static int fake_stat(struct fs *fs, const char *path, struct file_stat *out)
{
	struct fake *k = fake_of(fs);
	struct inode *i;
	int number;

	lock_take(&k->lock);
	number = k->dead ? EIO : find(k, path, &i);
	if (!number)
		fill_stat(i, out);
	lock_drop(&k->lock);
	return number;
}

/* May `moved` take the place of `target`? */
static int may_replace(const struct inode *moved, const struct inode *target)
{
	if (!target)
		return 0;
	if (moved->is_dir != target->is_dir)
		return target->is_dir ? EISDIR : ENOTDIR;
	return target->now.names.n ? ENOTEMPTY : 0;
}

/* Does `i` lie in the tree below `top`, or is it `top`? */
static bool lies_below(const struct inode *i, const struct inode *top)
{
	const struct map_slot *s;
	size_t at = 0;

	if (i == top)
		return true;
	while ((s = map_next(&top->now.names, &at)))
		if (lies_below(i, s->value.p))
			return true;
	return false;
}

static int move(struct fake *k, struct inode *from, const char *old, struct inode *to,
	const char *new) REQUIRES(k->lock)
{
	struct inode *moved = image_find(&from->now, old), *target = image_find(&to->now, new);
	int number;

	if (!moved)
		return ENOENT;
	if (moved == target)
		return 0;
	if (moved->is_dir && lies_below(to, moved))
		return EINVAL;
	if (target && target->is_dir && lies_below(from, target))
		return ENOTEMPTY; /* before all else, as Linux has it */
	if ((number = may_replace(moved, target)))
		return number;
	if (target)
		unlink_now(k, target);
	image_add(&to->now, new, moved);
	image_remove(&from->now, old);
	if (from == to) {
		note_names(from, old, new, moved);
	} else {
		note_names(from, old, NULL, NULL);
		note_names(to, NULL, new, moved);
	}
	touch(k, from);
	touch(k, to);
	return 0;
}

static int rename_locked(struct fake *k, const char *from, const char *to) REQUIRES(k->lock)
{
	struct inode *from_dir, *to_dir;
	char *old = NULL, *new = NULL;
	int number = walk(k, from, &from_dir, &old);

	if (!number)
		number = walk(k, to, &to_dir, &new);
	if (!number && (!*old || !*new))
		number = EBUSY;
	if (!number)
		number = move(k, from_dir, old, to_dir, new);
	free(old);
	free(new);
	return number;
}

static int fake_rename(struct fs *fs, const char *from, const char *to)
{
	struct fake *k = fake_of(fs);
	bool last;
	int number;

	lock_take(&k->lock);
	number = enter(k, FAKE_RENAME, true, &last);
	if (!number)
		number = rename_locked(k, from, to);
	k->dead |= last;
	lock_drop(&k->lock);
	return number;
}

static int unlink_locked(struct fake *k, const char *path) REQUIRES(k->lock)
{
	struct inode *dir, *i;
	char *name;
	int number = walk(k, path, &dir, &name);

	if (number)
		return number;
	i = *name ? image_find(&dir->now, name) : k->root;
	if (!i)
		number = ENOENT;
	else if (i == k->root)
		number = EBUSY;
	else if (i->now.names.n)
		number = ENOTEMPTY;
	if (!number) {
		unlink_now(k, i);
		image_remove(&dir->now, name);
		note_names(dir, name, NULL, NULL);
		touch(k, dir);
	}
	free(name);
	return number;
}

static int fake_unlink(struct fs *fs, const char *path)
{
	struct fake *k = fake_of(fs);
	bool last;
	int number;

	lock_take(&k->lock);
	number = enter(k, FAKE_UNLINK, true, &last);
	if (!number)
		number = unlink_locked(k, path);
	k->dead |= last;
	lock_drop(&k->lock);
	return number;
}

static int fake_mkdir(struct fs *fs, const char *path)
{
	struct fake *k = fake_of(fs);
	struct inode *dir;
	char *name = NULL;
	bool last;
	int number;

	lock_take(&k->lock);
	number = enter(k, FAKE_MKDIR, false, &last);
	if (!number)
		number = walk(k, path, &dir, &name);
	if (!number && (!*name || image_find(&dir->now, name)))
		number = EEXIST;
	if (!number)
		create(k, dir, name, true);
	lock_drop(&k->lock);
	free(name);
	return number;
}

static int fake_sync_dir(struct fs *fs, const char *path)
{
	struct fake *k = fake_of(fs);
	struct inode *dir;
	bool last;
	int number, found;

	lock_take(&k->lock);
	number = enter(k, FAKE_SYNC_DIR, true, &last);
	found = find_dir(k, path, &dir);
	if (!number && !found)
		apply_all(dir);
	else if (number && !found && !k->dead)
		apply_some(k, dir);
	k->dead |= last;
	lock_drop(&k->lock);
	return number ? number : found;
}

static int fake_list(struct fs *fs, const char *path, struct buf *out, size_t *n_out)
{
	struct fake *k = fake_of(fs);
	const struct map_slot *s;
	struct inode *dir;
	size_t at = 0;
	bool last;
	int number;

	lock_take(&k->lock);
	number = enter(k, FAKE_LIST, false, &last);
	if (!number)
		number = find_dir(k, path, &dir);
	while (!number && (s = map_next(&dir->now.names, &at))) {
		buf_put(out, s->key.p, s->key.n + 1); /* keys of a map are terminated */
		++*n_out;
	}
	lock_drop(&k->lock);
	return number;
}

static int fake_space(struct fs *fs, const char *path, uint64_t *free_bytes, uint64_t *total_bytes)
{
	struct fake *k = fake_of(fs);
	struct inode *dir;
	uint64_t used = 0;
	int number;

	lock_take(&k->lock);
	number = k->dead ? EIO : find(k, path, &dir);
	if (!number) {
		LIST_EACH (at, &k->inodes)
			used += CONTAINER(at, struct inode, node)->allocated;
		*free_bytes = k->space != UINT64_MAX ? k->space : DISK_SIZE - used;
		*total_bytes = *free_bytes + used;
	}
	lock_drop(&k->lock);
	return number;
}

static const struct fs_ops fake_ops = {
	.open = fake_open,
	.lock = fake_lock,
	.close = fake_close,
	.read = fake_read,
	.write = fake_write,
	.sync = fake_sync,
	.allocate = fake_allocate,
	.truncate = fake_truncate,
	.file_stat = fake_file_stat,
	.stat = fake_stat,
	.rename = fake_rename,
	.unlink = fake_unlink,
	.mkdir = fake_mkdir,
	.sync_dir = fake_sync_dir,
	.list = fake_list,
	.space = fake_space,
};

/* --- all inodes ---------------------------------------------------------- */

/* While all are held, letting go of one cannot free another further down the list. */
static void hold_all(struct fake *k) REQUIRES(k->lock)
{
	LIST_EACH (at, &k->inodes)
		inode_ref(CONTAINER(at, struct inode, node));
}

static void release_all(struct fake *k) REQUIRES(k->lock)
{
	LIST_EACH (at, &k->inodes)
		inode_unref(CONTAINER(at, struct inode, node));
}

/* --- the hand of fate --------------------------------------------------- */

struct fs *fs_fake_new(uint64_t seed)
{
	struct fake *k = xcalloc(1, sizeof *k);

	k->fs.ops = &fake_ops;
	lock_init(&k->lock);
	list_init(&k->inodes);
	k->random = seed;
	k->space = UINT64_MAX;
	lock_take(&k->lock);
	k->root = inode_new(k, true);
	k->root->n_links = 1;
	lock_drop(&k->lock);
	return &k->fs;
}

void fs_fake_free(struct fs *fs)
{
	struct fake *k;

	if (!fs)
		return;
	k = fake_of(fs);
	lock_take(&k->lock);
	hold_all(k);
	LIST_EACH (at, &k->inodes) {
		struct inode *i = CONTAINER(at, struct inode, node);
		forget_changes(i);
		image_fini(&i->now);
		image_fini(&i->disk);
	}
	k->root->refs--;
	while (!list_empty(&k->inodes)) {
		struct inode *i = CONTAINER(k->inodes.next, struct inode, node);
		assert(i->refs == 1); /* more: a file is still open */
		inode_unref(i);
	}
	lock_drop(&k->lock);
	lock_fini(&k->lock);
	free(k);
}

void fake_fail(struct fs *fs, enum fake_op op, uint64_t n, int number, bool for_good)
{
	struct fake *k = fake_of(fs);

	assert(op < FAKE_OPS);
	lock_take(&k->lock);
	k->faults[op] = (struct fault){n, number, for_good};
	lock_drop(&k->lock);
}

void fake_set_space(struct fs *fs, uint64_t bytes)
{
	struct fake *k = fake_of(fs);

	lock_take(&k->lock);
	k->space = bytes;
	lock_drop(&k->lock);
}

void fake_crash_at(struct fs *fs, uint64_t n)
{
	struct fake *k = fake_of(fs);

	lock_take(&k->lock);
	k->crash_after = n;
	lock_drop(&k->lock);
}

uint64_t fake_changes(const struct fs *fs)
{
	struct fake *k = fake_of(fs);
	uint64_t n;

	lock_take(&k->lock);
	n = k->changes;
	lock_drop(&k->lock);
	return n;
}

static uint64_t allocated_by_all(struct fake *k) REQUIRES(k->lock)
{
	uint64_t n = 0;

	LIST_EACH (at, &k->inodes)
		n += CONTAINER(at, struct inode, node)->allocated;
	return n;
}

/* `now` becomes what the disk holds; links, handles, locks and space are counted anew. */
static void restart(struct fake *k) REQUIRES(k->lock)
{
	uint64_t had = allocated_by_all(k), has = 0;

	k->generation++;
	hold_all(k);
	LIST_EACH (at, &k->inodes) {
		struct inode *i = CONTAINER(at, struct inode, node);
		image_fini(&i->now);
		image_copy(&i->now, &i->disk);
		i->n_links = i == k->root;
		i->n_handles = 0;
		i->locked_by = NULL;
		i->allocated = i->now.size;
	}
	release_all(k);
	LIST_EACH (at, &k->inodes) {
		const struct map_slot *s;
		size_t next = 0;
		while ((s = map_next(&CONTAINER(at, struct inode, node)->now.names, &next)))
			((struct inode *)s->value.p)->n_links++;
	}
	LIST_EACH (at, &k->inodes) {
		struct inode *i = CONTAINER(at, struct inode, node);
		if (i->n_links == 0)
			i->allocated = 0; /* only a stale handle is left */
		has += i->allocated;
	}
	if (k->space != UINT64_MAX)
		k->space = had + k->space > has ? had + k->space - has : 0;
}

void fake_crash(struct fs *fs, bool keep_some)
{
	struct fake *k = fake_of(fs);

	lock_take(&k->lock);
	hold_all(k);
	LIST_EACH (at, &k->inodes) {
		struct inode *i = CONTAINER(at, struct inode, node);
		if (keep_some)
			apply_some(k, i);
		else
			forget_changes(i);
	}
	release_all(k);
	restart(k);
	memset(k->faults, 0, sizeof k->faults);
	k->dead = false;
	k->crash_after = 0;
	lock_drop(&k->lock);
}

void fake_sync_lies(struct fs *fs, bool lies)
{
	struct fake *k = fake_of(fs);

	lock_take(&k->lock);
	k->sync_lies = lies;
	lock_drop(&k->lock);
}

static void flip(char *p, size_t n, uint64_t offset, uint64_t bit)
{
	uint64_t byte = bit / 8;

	if (byte >= offset && byte - offset < n)
		p[byte - offset] ^= (char)(1 << bit % 8);
}

void fake_flip(struct fs *fs, const char *path, uint64_t bit)
{
	struct fake *k = fake_of(fs);
	struct image *images[2];
	struct inode *i;
	int number;

	lock_take(&k->lock);
	number = find(k, path, &i);
	assert(number == 0 && bit / 8 < i->now.size);
	images[0] = &i->now;
	images[1] = &i->disk;
	for (int at = 0; at < 2; at++) {
		struct image *m = images[at];
		if (bit / 8 >= m->size)
			continue;
		if (bit / 8 >= m->bytes.n)
			image_put(m, bit / 8, "", 1); /* a zero that was not stored */
		flip(m->bytes.p, m->bytes.n, 0, bit);
	}
	/* Else the next sync would heal it. */
	LIST_EACH (at, &i->changes) {
		struct change *c = CONTAINER(at, struct change, node);
		flip(c->bytes.p, c->bytes.n, c->offset, bit);
	}
	lock_drop(&k->lock);
}

/* --- the clock ---------------------------------------------------------- */

struct fake_clock {
	struct clock clock;
	_Atomic int64_t now_ns, mono_ns;
};

static int64_t fake_now_ns(struct clock *c)
{
	return ((struct fake_clock *)c)->now_ns;
}

static int64_t fake_mono_ns(struct clock *c)
{
	return ((struct fake_clock *)c)->mono_ns;
}

struct clock *clock_fake_new(int64_t now_ns)
{
	struct fake_clock *c = xcalloc(1, sizeof *c);

	c->clock = (struct clock){fake_now_ns, fake_mono_ns};
	c->now_ns = now_ns;
	c->mono_ns = NS_PER_SEC; /* not 0, which users take for "never" */
	return &c->clock;
}

void clock_fake_free(struct clock *c)
{
	free(c);
}

void clock_fake_advance(struct clock *c, int64_t ns)
{
	assert(ns >= 0);
	((struct fake_clock *)c)->now_ns += ns;
	((struct fake_clock *)c)->mono_ns += ns;
}

void clock_fake_set(struct clock *c, int64_t now_ns)
{
	((struct fake_clock *)c)->now_ns = now_ns;
}
