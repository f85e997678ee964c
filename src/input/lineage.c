/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  A rename keeps the inode and its birth, so a file that was born
 * behind the newest one known, and not behind the one that is at the path
 * now, stood at the path in between.  Copies (copytruncate, a backup by hand)
 * are born while their original is at the path: they are younger than it, and
 * a look that finds them says so before the next rotation comes.
 *
 * A folder that is being changed may show a renamed file twice or not at all.
 * Therefore it is read until two readings agree about the files of a lineage,
 * and a file that was opened must still be the one that was read.
 *
 * Without births the time of the last change serves: a file that was the
 * path's for a while was written to after the last look.
 */
#include "input/lineage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/buf.h"
#include "os/clock.h"
#include "base/hash.h"
#include "base/memory.h"

enum { LOOK_TRIES = 5 };

struct lineage *lineage_new(const char *path)
{
	struct lineage *l = xcalloc(1, sizeof(*l));

	l->path = xstrdup(path);
	list_init(&l->node);
	list_init(&l->tails);
	return l;
}

void lineage_free(struct lineage *l)
{
	list_remove(&l->node);
	free(l->path);
	free(l->target);
	free(l);
}

static bool has_inode(const struct lineage *l, uint64_t ino)
{
	for (size_t i = 0; i < l->n_inodes; i++) {
		if (l->inodes[i] == ino)
			return true;
	}
	return false;
}

bool lineage_is_new(const struct lineage *l, uint64_t ino, int64_t birth_ns)
{
	if (!l->looked || birth_ns < l->newest_ns)
		return false;
	return birth_ns > l->newest_ns || !has_inode(l, ino);
}

bool lineage_saw(struct lineage *l, uint64_t ino, int64_t birth_ns)
{
	if (l->looked && !lineage_is_new(l, ino, birth_ns))
		return false;
	if (!l->looked || birth_ns > l->newest_ns)
		l->n_inodes = 0;
	l->looked = true;
	l->newest_ns = birth_ns;
	if (l->n_inodes < LINEAGE_TIES) {
		l->inodes[l->n_inodes++] = ino;
	} else if (l->newest_ns < INT64_MAX) {
		/* So many at once come out of an archive: all of that tick count as seen. */
		l->newest_ns++;
		l->n_inodes = 0;
	}
	return true;
}

static bool rotation_suffix(struct str s)
{
	if (str_eq(s, STR("old")) || str_eq(s, STR("prev")))
		return true;
	if (s.n == 0 || s.p[0] < '0' || s.p[0] > '9')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!s.p[i] || !strchr("0123456789.-_:TZ+", s.p[i]))
			return false;
	}
	return true;
}

size_t lineage_cut(struct str name, size_t from)
{
	for (size_t i = from + 1; i < name.n; i++) {
		if ((name.p[i] == '.' || name.p[i] == '-') &&
			rotation_suffix(str_sub(name, i + 1, name.n)))
			return i;
	}
	return 0;
}

/* Reading a folder. */

static void look_clear(struct look *k)
{
	for (size_t i = 0; i < k->n; i++) {
		if (k->files[i].fd >= 0)
			close(k->files[i].fd);
		free(k->files[i].path);
	}
	k->n = 0;
	for (size_t i = 0; i < k->n_packed; i++)
		free(k->packed[i].path);
	k->n_packed = 0;
	k->unread = k->unsteady = false;
}

void look_fini(struct look *k)
{
	look_clear(k);
	free(k->files);
	free(k->packed);
	k->files = NULL;
	k->packed = NULL;
	k->cap = k->cap_packed = 0;
}

static int64_t to_ns(struct statx_timestamp t)
{
	const int64_t max_s = INT64_MAX / NS_PER_SEC - 1;

	if (t.tv_sec > max_s || t.tv_sec < -max_s) /* anybody may set such a time */
		return t.tv_sec > 0 ? max_s * NS_PER_SEC : -max_s * NS_PER_SEC;
	return t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

/* What stands at `path`; false when that is no regular file: a link has its family elsewhere. */
static bool measure(const char *path, struct look_file *f)
{
	struct statx sx;

	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &sx) < 0 ||
		!S_ISREG(sx.stx_mode))
		return false;
	f->dev = makedev(sx.stx_dev_major, sx.stx_dev_minor);
	f->ino = sx.stx_ino;
	f->changed_ns = to_ns(sx.stx_mtime);
	f->birth_ns = sx.stx_mask & STATX_BTIME ? to_ns(sx.stx_btime) : 0;
	return true;
}

static uint64_t digits_of(struct str s)
{
	uint64_t v = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] >= '0' && s.p[i] <= '9')
			v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	return v;
}

static struct lineage *followed(const struct look *k, struct str path)
{
	union map_value *v = map_get(k->lineages, path);
	struct lineage *l = v ? v->p : NULL;

	if (l && l->scan == k->scan && !l->target)
		return l;
	v = k->targets ? map_get(k->targets, path) : NULL;
	return v ? v->p : NULL;
}

/* What the lineage has is the same in two readings only when each file has the same name in both.
 */
static void digest_add(struct look *k, struct lineage *of, struct str path, uint64_t ino)
{
	uint64_t key[2] = {hash_stable(path), ino};

	if (of->reading != k->reading) {
		of->before = of->reading + 1 == k->reading ? of->digest : 0;
		of->digest = 0;
		of->reading = k->reading;
		of->current = NULL;
		of->unread = false;
	}
	of->digest += hash_stable(str_make(key, sizeof(key))); /* in whatever order they come */
}

static void add_file(struct look *k, struct lineage *of, struct buf *path, size_t suffix)
{
	struct look_file f = {.of = of, .fd = -1, .current = suffix == path->n};

	if (!measure(buf_cstr(path), &f))
		return;
	f.number = digits_of(str_sub(buf_view(path), suffix, path->n));
	f.path = xstrdup(buf_cstr(path));
	digest_add(k, of, buf_view(path), f.ino);
	if (k->n == k->cap) {
		k->cap = k->cap ? 2 * k->cap : 16;
		k->files = xrealloc(k->files, k->cap * sizeof(*k->files));
	}
	k->files[k->n++] = f;
}

static void add_packed(
	struct look *k, struct lineage *of, struct buf *path, size_t stem, enum packing packing)
{
	struct look_file f = {0};

	if (!measure(buf_cstr(path), &f))
		return;
	digest_add(k, of, buf_view(path), f.ino);
	if (k->n_packed == k->cap_packed) {
		k->cap_packed = k->cap_packed ? 2 * k->cap_packed : 16;
		k->packed = xrealloc(k->packed, k->cap_packed * sizeof(*k->packed));
	}
	k->packed[k->n_packed++] = (struct look_packed){.of = of,
		.path = xstrdup(buf_cstr(path)),
		.stem = stem,
		.packing = packing,
		.dev = f.dev,
		.ino = f.ino,
		.birth_ns = f.birth_ns,
		.changed_ns = f.changed_ns};
}

/* A name with the suffix of a compressed file: whose is it without? */
static void read_packed(
	struct look *k, struct buf *path, size_t prefix, struct str stem, enum packing packing)
{
	struct lineage *of = followed(k, str_sub(buf_view(path), 0, prefix + stem.n));
	size_t cut = 0;

	while (!of && (cut = lineage_cut(stem, cut)))
		of = followed(k, str_sub(buf_view(path), 0, prefix + cut));
	if (of)
		add_packed(k, of, path, prefix + stem.n, packing);
}

static bool read_folder(struct look *k, struct str prefix)
{
	struct buf path = {0};
	struct dirent *entry;
	DIR *d;

	buf_str(&path, prefix);
	look_clear(k);
	k->reading++;
	d = opendir(prefix.n ? buf_cstr(&path) : ".");
	if (!d) {
		buf_fini(&path);
		return false;
	}
	while ((entry = readdir(d))) {
		enum packing packing;
		struct lineage *of;
		struct str stem;
		size_t cut = 0;

		path.n = prefix.n;
		buf_c(&path, entry->d_name);
		if ((packing = packing_of(str_c(entry->d_name), &stem)))
			read_packed(k, &path, prefix.n, stem, packing);
		if ((of = followed(k, buf_view(&path))))
			add_file(k, of, &path, path.n);
		while ((cut = lineage_cut(str_c(entry->d_name), cut))) {
			of = followed(k, str_sub(buf_view(&path), 0, prefix.n + cut));
			if (of)
				add_file(k, of, &path, prefix.n + cut + 1);
		}
	}
	closedir(d);
	buf_fini(&path);
	return true;
}

/* Ordering. */

int64_t look_stamp(const struct look_file *f)
{
	return f->birth_ns ? f->birth_ns : f->changed_ns;
}

static int compare(int64_t a, int64_t b)
{
	return (a > b) - (a < b);
}

/* Those at their path come last: a rotated file may itself be at a path that is followed.  Then
 * the older come first. */
static int by_age(const void *a, const void *b)
{
	const struct look_file *x = a, *y = b;
	int c = compare(x->current, y->current);

	if (c == 0)
		c = compare((int64_t)(uintptr_t)x->of, (int64_t)(uintptr_t)y->of);
	if (c == 0)
		c = compare(look_stamp(x), look_stamp(y));
	return c ? c : compare(x->changed_ns, y->changed_ns);
}

static bool twins(const struct look_file *a, const struct look_file *b)
{
	return by_age(a, b) == 0;
}

/* Do the numbers of this lineage grow with time?  Its other files tell; else short numbers count
 * generations back, long ones are dates. */
static bool grows(const struct look_file *f, size_t n, uint64_t number)
{
	int votes = 0;

	for (size_t i = 1; i < n; i++) {
		if (!twins(&f[i - 1], &f[i]) && f[i - 1].number != f[i].number)
			votes += f[i - 1].number < f[i].number ? 1 : -1;
	}
	return votes ? votes > 0 : number > 9999;
}

/* Files of one tick of the file system's clock go by their numbers. */
static void order_twins(struct look_file *f, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		for (size_t at = i; at > 0 && twins(&f[at - 1], &f[at]); at--) {
			bool up = grows(f, n, f[at].number);
			struct look_file swap = f[at];

			if (up ? f[at - 1].number <= swap.number : f[at - 1].number >= swap.number)
				break;
			f[at] = f[at - 1];
			f[at - 1] = swap;
		}
	}
}

static void order(struct look *k)
{
	if (k->n == 0)
		return;
	qsort(k->files, k->n, sizeof(*k->files), by_age);
	for (size_t from = 0, to; from < k->n; from = to) {
		for (to = from + 1;
			to < k->n && k->files[to].of == k->files[from].of && !k->files[to].current;)
			to++;
		order_twins(k->files + from, to - from);
	}
	for (size_t i = k->n; i > 0 && k->files[i - 1].current; i--)
		k->files[i - 1].of->current = &k->files[i - 1];
}

/* Choosing. */

/* Was this rotated file at the path of its lineage, after the last look? */
static bool was_current(const struct look *k, const struct look_file *f)
{
	const struct look_file *now = f->of->current;

	if (!lineage_is_new(f->of, f->ino, look_stamp(f)))
		return false;
	if (!now)
		return true;
	if (now->ino == f->ino && now->dev == f->dev)
		return false; /* another name of it */
	if (f->birth_ns && now->birth_ns)
		return f->birth_ns <= now->birth_ns;
	/* While a known file is at the path none can have been there after it. */
	return !k->known(k->arg, now->dev, now->ino, true);
}

/* Open what is to be taken up.  False when it is no longer what was read. */
static bool open_file_of(struct look *k, struct look_file *f)
{
	struct stat st;

	if (k->known(k->arg, f->dev, f->ino, false) || (!f->current && !was_current(k, f)))
		return true;
	f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
	if (f->fd >= 0)
		return fstat(f->fd, &st) == 0 && st.st_ino == f->ino && st.st_dev == f->dev;
	if (errno == ENOENT)
		return false;
	k->unread = f->of->unread = true;
	return true;
}

static void open_files(struct look *k)
{
	for (size_t i = 0; i < k->n; i++)
		k->files[i].of->unsteady = k->files[i].of->digest != k->files[i].of->before;
	for (size_t i = 0; i < k->n_packed; i++) {
		struct lineage *of = k->packed[i].of;

		of->unsteady = of->digest != of->before;
		k->unsteady |= of->unsteady;
	}
	for (size_t i = 0; i < k->n; i++) {
		if (!k->files[i].of->unsteady && !open_file_of(k, &k->files[i]))
			k->files[i].of->unsteady = true;
	}
	for (size_t i = 0; i < k->n; i++) {
		struct look_file *f = &k->files[i];

		if (!f->of->unsteady)
			continue;
		k->unsteady = true;
		if (f->fd >= 0)
			close(f->fd);
		f->fd = -1;
	}
}

bool look_at(struct look *k, struct str prefix)
{
	for (int i = 0; i < LOOK_TRIES; i++) {
		if (!read_folder(k, prefix) || !read_folder(k, prefix)) {
			look_clear(k);
			return false;
		}
		order(k);
		open_files(k);
		if (!k->unsteady)
			break;
	}
	return true;
}

bool look_learn(const struct look *k)
{
	bool news = false;

	for (size_t i = 0; i < k->n; i++) {
		const struct look_file *f = &k->files[i];

		if (!f->of->unread && !f->of->unsteady)
			news |= lineage_saw(f->of, f->ino, look_stamp(f));
	}
	return news;
}
