/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files there are: the globs, the folders they name, and rotation.
 *
 * Design.  A scan watches the folders, matches the globs, takes up what is new
 * and finds out what became of the files that no glob matches any more.  Events
 * of the watches make files ready to be read, and a new name makes a scan.
 * Without a watch the poll of file.c finds the same, later.
 *
 * A file is its inode.  What came to a path and was renamed between two scans
 * is found by its birth (lineage.c), so a folder that changed is looked at
 * whole, the older files before the younger, before its paths are considered.
 */
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <glob.h>
#include <stdlib.h>
#include <unistd.h>

#include "input/file.h"

enum {
	KEPT_DAYS = 7,
};
static const int64_t LOOK_WAIT_NS = NS_PER_SEC; /* for a path that rotates all the time */

/* A watched folder.  Freed when libuv has closed its handle. */
struct watch {
	struct list node;
	uv_fs_event_t handle;
	struct file_input *input;
	char *dir;
	uint64_t dev, ino;
	uint64_t scan;
};

/* Watching. */

/* A name that no glob matches was written to: it may be that of a file just rotated. */
static void ready_renamed(struct file_input *in)
{
	LIST_EACH (at, &in->tails) {
		struct tail *t = CONTAINER(at, struct tail, node);

		if (t->renamed && t->fd >= 0)
			tails_ready(in, t);
	}
}

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
	struct watch *w = CONTAINER(handle, struct watch, handle);
	struct file_input *in = w->input;
	struct buf path = {0};
	struct tail *t;

	if (status < 0 || !name) {
		file_scan_soon(in);
		return;
	}
	buf_printf(&path, "%s/%s", strcmp(w->dir, "/") == 0 ? "" : w->dir, name);
	t = tails_find(&in->by_path, buf_view(&path));
	buf_fini(&path);
	if (t)
		tails_ready(in, t);
	else
		ready_renamed(in);
	/* A new name, or a name that may now be another file's. */
	if (events & UV_RENAME)
		file_scan_soon(in);
}

static void watch_closed(uv_handle_t *handle)
{
	struct watch *w = CONTAINER(handle, struct watch, handle);

	free(w->dir);
	free(w);
}

static void watch_close(struct watch *w)
{
	list_remove(&w->node);
	uv_close((uv_handle_t *)&w->handle, watch_closed);
}

void folders_unwatch(struct file_input *in)
{
	LIST_EACH (at, &in->watches)
		watch_close(CONTAINER(at, struct watch, node));
}

static void watch_dir(struct file_input *in, const char *dir)
{
	struct watch *w;
	struct stat st;

	if (in->s->once || stat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
		return;
	LIST_EACH (at, &in->watches) {
		w = CONTAINER(at, struct watch, node);
		if (w->dev == st.st_dev && w->ino == st.st_ino && strcmp(w->dir, dir) == 0) {
			w->scan = in->n_scans;
			return;
		}
	}
	w = xcalloc(1, sizeof(*w));
	w->input = in;
	w->dir = xstrdup(dir);
	w->dev = st.st_dev;
	w->ino = st.st_ino;
	w->scan = in->n_scans;
	list_append(&in->watches, &w->node);
	uv_fs_event_init(loop_uv(in->env->loop), &w->handle);
	/* Without a watch the poll still finds everything, a second later. */
	if (uv_fs_event_start(&w->handle, on_event, dir, 0) < 0)
		watch_close(w);
}

/* Scanning. */

static bool excluded(const struct file_input *in, const char *path)
{
	static const char *const packed[] = {".gz", ".zst", ".xz", ".bz2", ".lz4", ".zip"};
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	for (size_t i = 0; i < sizeof(packed) / sizeof(packed[0]); i++) {
		if (str_ends(str_c(name), str_c(packed[i])))
			return true;
	}
	for (size_t i = 0; i < in->s->exclude.n; i++) {
		const char *pattern = in->s->exclude.items[i];

		if (fnmatch(pattern, strchr(pattern, '/') ? path : name, 0) == 0)
			return true;
	}
	return false;
}

static bool is_link(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

/* A path that a glob matches. */
static void consider(struct file_input *in, struct lineage *l)
{
	const char *path = l->path;
	struct stat st;
	struct tail *t;
	int fd;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	t = tails_find_inode(in, st.st_dev, st.st_ino);
	if (!t) {
		/* It came after the look.  There may be others that came and went in between. */
		int64_t now = clock_mono_ns(in->env->clock);

		if (!l->deferred_mono)
			l->deferred_mono = now;
		if (now - l->deferred_mono < LOOK_WAIT_NS && !is_link(path)) {
			file_scan_soon(in);
			return;
		}
		if ((fd = tails_open(in, path)) < 0)
			return;
		t = tails_begin(in, fd, path, path);
		if (!t)
			return;
	} else if (strcmp(t->path, path) != 0 && !tails_still_at(t)) {
		tails_moved(in, t, path);
		t->renamed = true;
	}
	l->deferred_mono = 0;
	t->scan = in->n_scans;
	t->matched = true;
}

/* Call each(path) for what a pattern matches; the pattern itself when it names a file. */
static void glob_each(struct file_input *in, const char *pattern, int flags,
	void (*each)(struct file_input *in, const char *path))
{
	glob_t g = {0};
	struct stat st;

	if (stat(pattern, &st) == 0) {
		each(in, pattern);
		return;
	}
	if (glob(pattern, GLOB_NOSORT | GLOB_BRACE | flags, NULL, &g) == 0) {
		for (size_t i = 0; i < g.gl_pathc; i++)
			each(in, g.gl_pathv[i]);
	}
	globfree(&g);
}

static char *dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return xstrdup(".");
	return slash == path ? xstrdup("/") : str_dup(str_make(path, (size_t)(slash - path)));
}

/* The inodes of a folder, kept from one question to the next. */
struct folder {
	char *dir;
	struct map names; /* inode -> heap name */
};

static void folder_clear(struct folder *f)
{
	const struct map_slot *slot;
	size_t at = 0;

	while ((slot = map_next(&f->names, &at)))
		free(slot->value.p);
	map_fini(&f->names);
	free(f->dir);
	*f = (struct folder){0};
}

static void folder_read(struct folder *f, const char *dir)
{
	struct dirent *entry;
	DIR *d;

	if (f->dir && strcmp(f->dir, dir) == 0)
		return;
	folder_clear(f);
	f->dir = xstrdup(dir);
	if (!(d = opendir(dir)))
		return;
	while ((entry = readdir(d))) {
		uint64_t ino = entry->d_ino;
		union map_value *v = map_put(&f->names, str_make(&ino, sizeof(ino)), NULL);

		free(v->p);
		v->p = xstrdup(entry->d_name);
	}
	closedir(d);
}

/* Where in the folder of `path` is the inode now?  False: nowhere. */
static bool folder_find(struct folder *f, const char *path, uint64_t ino, struct buf *out)
{
	char *dir = dir_of(path);
	union map_value *v;

	folder_read(f, dir);
	v = map_get(&f->names, str_make(&ino, sizeof(ino)));
	if (v) {
		buf_clear(out);
		buf_printf(out, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, (const char *)v->p);
	}
	free(dir);
	return v != NULL;
}

/* Files that were being read when we stopped, and that no glob matches any more: rotated. */
static void find_rotated(struct file_input *in)
{
	struct folder folder = {0};
	struct buf path = {0};

	LIST_EACH (node, &in->kept.list) {
		struct position *at = CONTAINER(node, struct position, node);
		uint64_t ino = at->id.ino, generation = at->id.generation;
		struct stat st;
		struct tail *t;
		int fd;

		if (!folder_find(&folder, at->path, ino, &path) ||
			str_ends(buf_view(&path), STR(".gz")) || stat(buf_cstr(&path), &st) < 0 ||
			!S_ISREG(st.st_mode) || (uint64_t)st.st_size <= at->offset ||
			tails_find_inode(in, st.st_dev, ino))
			continue;
		if ((fd = tails_open(in, buf_cstr(&path))) < 0)
			continue;
		{
			struct identity id = {0};
			struct error e;

			if (identity_of(fd, &id, &st, &e) < 0 ||
				tails_kept(in, fd, &id, buf_cstr(&path), (uint64_t)st.st_size) !=
					at) {
				close(fd);
				continue;
			}
		}
		t = tails_begin(in, fd, buf_cstr(&path), at->path); /* frees `at` */
		if (!t)
			continue;
		assert(t->id.generation == generation);
		(void)generation;
		t->renamed = true;
		t->scan = in->n_scans;
	}
	buf_fini(&path);
	folder_clear(&folder);
}

/* The mutant of this program, which the rotation campaign must catch, lets go of a renamed file
 * with what is unread of it.  It is a build of its own (cli/CMakeLists.txt). */
static bool careless(void)
{
#ifdef SAWLOG_MUTANT
	return true;
#else
	return false;
#endif
}

/* A tail that no glob matches any more. */
static void unmatched(struct file_input *in, struct tail *t, struct folder *folder)
{
	struct buf path = {0};

	t->matched = false;
	t->renamed = true;
	if (folder_find(folder, t->path, t->ino, &path)) {
		if (strcmp(buf_cstr(&path), t->path) != 0)
			tails_moved(in, t, buf_cstr(&path));
		if (t->fd < 0)
			t->fd = tails_open(in, t->path);
	}
	buf_fini(&path);
	if (t->fd < 0 || careless()) {
		tails_drop(in, t, true); /* it was read to its end before it was closed */
		return;
	}
	tails_ready(in, t);
}

/* A path that is to be followed: a file that a glob matches, or one that was named. */
static void follow(struct file_input *in, const char *path)
{
	struct lineage *l;
	struct stat st;

	if (excluded(in, path) || (stat(path, &st) == 0 && !S_ISREG(st.st_mode)))
		return;
	l = tails_lineage(in, path);
	if (l->scan == in->n_scans)
		return;
	l->scan = in->n_scans;
	l->seen_s = file_now_s(in);
	if (in->n_found == in->cap_found) {
		in->cap_found = in->cap_found ? 2 * in->cap_found : 64;
		in->found = xrealloc(in->found, in->cap_found * sizeof(struct lineage *));
	}
	in->found[in->n_found++] = l;
}

static void follow_all(struct file_input *in)
{
	in->n_found = 0;
	for (size_t i = 0; i < in->s->paths.n; i++) {
		const char *pattern = in->s->paths.items[i];

		glob_each(in, pattern, 0, follow);
		if (!strpbrk(pattern, "*?[{"))
			follow(in, pattern);
	}
	/* Rotated away and not there again yet. */
	LIST_EACH (at, &in->kept.lineages) {
		struct lineage *l = CONTAINER(at, struct lineage, node);

		for (size_t i = 0; i < in->s->paths.n && l->scan != in->n_scans; i++) {
			if (fnmatch(in->s->paths.items[i], l->path, FNM_PATHNAME | FNM_PERIOD) == 0)
				l->scan = in->n_scans;
		}
	}
}

static bool look_known(void *arg, dev_t dev, uint64_t ino, bool kept)
{
	struct file_input *in = arg;

	if (tails_find_inode(in, dev, ino))
		return true;
	LIST_EACH (node, &in->kept.list) {
		const struct position *at = CONTAINER(node, struct position, node);

		if (kept && at->id.ino == ino && at->id.dev == dev)
			return true;
	}
	return false;
}

/* Take up what is new in a folder, the older before the younger.  False: not now. */
static bool look_folder(struct file_input *in, struct str prefix)
{
	struct look k = {.lineages = &in->lineages, .scan = in->n_scans, .known = look_known};
	struct buf dir = {0};
	union map_value *v;
	struct stat st;
	int64_t changed;
	bool readable;
	int r;

	buf_str(&dir, prefix.n ? prefix : STR("."));
	r = stat(buf_cstr(&dir), &st);
	buf_fini(&dir);
	if (r < 0)
		return false;
	changed = st.st_mtim.tv_sec * NS_PER_SEC + st.st_mtim.tv_nsec;
	if ((v = map_get(&in->looked, prefix)) && v->u == (uint64_t)changed)
		return true;
	map_remove(&in->looked, prefix);
	k.arg = in;
	k.reading = in->reading;
	readable = look_at(&k, prefix);
	in->reading = k.reading;
	if (!readable) {
		look_fini(&k);
		return false;
	}
	if (k.unsteady)
		file_scan_soon(in);
	for (size_t i = 0; i < k.n; i++) {
		struct look_file *f = &k.files[i];
		struct tail *t;

		if (f->fd < 0 || excluded(in, f->path))
			continue;
		t = tails_begin(in, f->fd, f->path, f->of->path);
		f->fd = -1;
		if (t)
			t->renamed = !f->current;
	}
	if (look_learn(&k))
		file_save_soon(in, file_save_pause(in));
	/* A change right behind another may leave the time as it is: clocks tick. */
	if (!k.unread && !k.unsteady && clock_now_ns(in->env->clock) - changed > NS_PER_SEC)
		map_put(&in->looked, prefix, NULL)->u = (uint64_t)changed;
	look_fini(&k);
	return true;
}

static struct str prefix_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return str_make(path, slash ? (size_t)(slash + 1 - path) : 0);
}

static void look_all(struct file_input *in)
{
	struct map prefixes = {0};
	const struct map_slot *slot;
	size_t i = 0;

	LIST_EACH (at, &in->kept.lineages) {
		struct lineage *l = CONTAINER(at, struct lineage, node);

		if (l->scan == in->n_scans)
			map_put(&prefixes, prefix_of(l->path), NULL);
	}
	while ((slot = map_next(&prefixes, &i)))
		map_get(&prefixes, slot->key)->u = look_folder(in, slot->key);
	/* Those of which there is nothing yet: what comes is new. */
	LIST_EACH (at, &in->kept.lineages) {
		struct lineage *l = CONTAINER(at, struct lineage, node);

		if (!l->looked && !l->unread && l->scan == in->n_scans &&
			map_get(&prefixes, prefix_of(l->path))->u)
			l->looked = true;
	}
	map_fini(&prefixes);
}

/* What was not seen for long: its position is of no use, and its path no longer followed. */
static void forget_old(struct file_input *in)
{
	int64_t oldest_s = file_now_s(in) - KEPT_DAYS * 86400;

	LIST_EACH (node, &in->kept.list) {
		struct position *at = CONTAINER(node, struct position, node);

		if (at->seen_s < oldest_s)
			position_remove(&in->kept, at);
	}
	LIST_EACH (at, &in->kept.lineages) {
		struct lineage *l = CONTAINER(at, struct lineage, node);

		if (l->scan == in->n_scans || !list_empty(&l->tails) ||
			(l->seen_s >= oldest_s && in->kept.n_lineages <= in->n_tails + KEPT_MAX))
			continue;
		map_remove(&in->lineages, str_c(l->path));
		positions_forget(&in->kept, l);
	}
}

void folders_scan(void *arg)
{
	struct file_input *in = arg;
	struct folder folder = {0};
	int64_t began = clock_mono_ns(in->env->clock);

	in->scan_due = false;
	in->n_scans++;
	for (size_t i = 0; i < in->s->paths.n; i++) {
		char *dir = dir_of(in->s->paths.items[i]);

		/* The watch first: what appears between it and the glob makes an event. */
		glob_each(in, dir, GLOB_ONLYDIR, watch_dir);
		free(dir);
	}
	follow_all(in);
	look_all(in);
	for (size_t i = 0; i < in->n_found; i++)
		consider(in, in->found[i]);
	if (in->n_scans == 1)
		find_rotated(in);
	LIST_EACH (at, &in->tails) {
		struct tail *t = CONTAINER(at, struct tail, node);

		if (t->scan != in->n_scans && t->matched)
			unmatched(in, t, &folder);
	}
	LIST_EACH (at, &in->watches) {
		struct watch *w = CONTAINER(at, struct watch, node);

		if (w->scan != in->n_scans)
			watch_close(w);
	}
	folder_clear(&folder);
	forget_old(in);
	in->first_scan = false;
	in->scanned_mono = clock_mono_ns(in->env->clock);
	in->scan_took_ns = in->scanned_mono - began;
	if (in->s->once)
		file_pump_soon(in);
}
