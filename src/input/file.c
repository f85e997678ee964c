/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `file` input: follows files named by globs.
 *
 * Design.  inotify on the folders tells what to read at once; a poll every
 * second finds what inotify missed (network file systems, no watches left).
 * A scan of the globs decides which files there are; a file is its inode, so
 * a rename is nothing, and what takes its name is another file.  What came to
 * a path and was renamed between two scans is found by its birth (lineage.c).
 *
 *   scan ──► new file ──► identity saved ──► ready ──► read ──► builder ──► courier
 *                                              ▲                               │
 *                event, poll ──────────────────┘          acknowledged ──► positions
 *
 * The files of one path are read in order of age: a new one waits until the
 * one before it is read to what was its end when the new one was found.
 *
 * Reading is self-clocked: a batch goes when none is under way, or when it is
 * large; so one line goes at once and a flood in large batches.
 *
 * A file that was renamed away from its globs, or deleted, is read to its end
 * through the descriptor, and let go after it has been quiet for rotate_wait
 * and all of it is acknowledged.
 *
 * Positions are written by libuv's pool: their fdatasync would hold the loop.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/map.h"
#include "base/metric.h"
#include "input/courier.h"
#include "input/settings.h"
#include "input/tail.h"
#include "os/fs.h"

enum {
	BATCH_TARGET = 1 << 20, /* encoded bytes of a full batch */
	RESERVE = 3 << 20,      /* charged for a batch while it is built: it and its growth */
	PUMP_BUDGET = 4 << 20,  /* bytes read before others on the loop get their turn */
	SOURCES_MAX = 1000,     /* files in a batch */
	POLL_MS = 1000,
	SCAN_POLLS = 5, /* every so many polls a scan of the globs */
	SAVE_MS = 200,
	RETRY_SAVE_MS = 1000,
	KEPT_MAX = 10000, /* positions of files that are not there: the oldest go */
	KEPT_DAYS = 7,
};
static const int64_t CLOSE_IDLE_NS = 60 * NS_PER_SEC;
static const int64_t LOOK_WAIT_NS = NS_PER_SEC; /* for a path that rotates all the time */
static const int64_t DELETED_WAIT_NS = 5 * NS_PER_SEC;

/* A watched folder.  Freed when libuv has closed its handle. */
struct watch {
	struct list node;
	uv_fs_event_t handle;
	struct file_input *input;
	char *dir;
	uint64_t dev, ino;
	uint64_t scan;
};

/* Positions on their way to the disk. */
struct save {
	uv_work_t work;
	struct file_input *input;
	char *path;
	struct buf text;
	uint64_t number;
	int code;
	struct error error;
	int64_t started_mono;
};

struct file_input {
	const struct file_settings *s;
	const struct input_env *env; /* env_copy: what it points to is borrowed */
	struct input_env env_copy;
	struct courier *courier;
	struct positions kept; /* of files that are not open: not there, or done with */
	struct list tails, ready, watches;
	struct map lineages;    /* path -> struct lineage, of kept */
	struct map looked;      /* folder -> when it had last changed at the last look */
	struct lineage **found; /* what the globs match in this scan */
	size_t n_found, cap_found;
	struct map by_inode, by_path, by_source; /* -> struct tail */
	struct map complained;                   /* paths that could not be opened */
	struct tail_io io;
	struct line_reader lines;
	uint64_t reserved, reserve;
	size_t n_tails;
	uint64_t n_builder_sources;
	struct timer poll, pump, scan_timer, save_timer;
	bool scan_due, pump_due, save_due;
	unsigned n_polls;
	uint64_t n_scans, n_saves, reading;
	int64_t scan_took_ns, save_took_ns, scanned_mono;
	bool first_scan; /* of the input's life with no positions: `start` holds */
	bool saving, unsaved, urgent, save_failing;
	bool ended, stopping, courier_done;
	char *positions_path;
	loop_fn *stopped;
	void *stopped_arg;
};

static void pump(void *arg);
static void save_positions(void *arg);

/* Small things. */

struct inode_key {
	uint64_t dev, ino;
};

static struct str inode_view(const struct inode_key *k)
{
	return str_make(k, sizeof(*k));
}

static struct tail *find(const struct map *m, struct str key)
{
	union map_value *v = map_get(m, key);

	return v ? v->p : NULL;
}

static struct tail *find_inode(const struct file_input *in, uint64_t dev, uint64_t ino)
{
	struct inode_key k = {dev, ino};

	return find(&in->by_inode, inode_view(&k));
}

static void remove_if(struct map *m, struct str key, const struct tail *t)
{
	if (find(m, key) == t)
		map_remove(m, key);
}

static void pump_soon(struct file_input *in)
{
	if (in->pump_due || in->stopping)
		return;
	in->pump_due = true;
	timer_set(&in->pump, 0, 0);
}

static void make_ready(struct file_input *in, struct tail *t)
{
	if (t->is_ready || !t->known || t->waits)
		return;
	t->is_ready = true;
	list_append(&in->ready, &t->ready);
	pump_soon(in);
}

static void not_ready(struct tail *t)
{
	list_remove(&t->ready);
	t->is_ready = false;
}

static void save_soon(struct file_input *in, uint64_t ms)
{
	in->unsaved = true;
	/* A new file waits for its identity: that goes before a pause that is on already. */
	in->urgent |= ms == 0;
	if (in->saving || in->stopping || (in->save_due && ms > 0))
		return;
	in->save_due = true;
	timer_set(&in->save_timer, ms, 0);
}

/* A sync must not take more than a few percent of the disk's time. */
static uint64_t save_pause(const struct file_input *in)
{
	uint64_t ms = (uint64_t)(in->save_took_ns * 20 / NS_PER_MS);

	return ms > SAVE_MS ? ms : SAVE_MS;
}

static void scan_soon(struct file_input *in)
{
	uint64_t ms = (uint64_t)(in->scan_took_ns * 10 / NS_PER_MS);
	int64_t since_ms = (clock_mono_ns(in->env->clock) - in->scanned_mono) / NS_PER_MS;

	if (in->scan_due || in->stopping)
		return;
	in->scan_due = true;
	timer_set(&in->scan_timer, since_ms < (int64_t)ms ? ms - (uint64_t)since_ms : 0, 0);
}

/* Label app: the base name without what rotation and compression add, and without extension. */
static void app_of(const char *path, struct buf *out)
{
	const char *slash = strrchr(path, '/');
	struct str name = str_c(slash ? slash + 1 : path), all = name;
	size_t n = name.n;

	while (n > 0 && (name.p[n - 1] >= '0' && name.p[n - 1] <= '9'))
		n--;
	if (n > 1 && n < name.n && (name.p[n - 1] == '.' || name.p[n - 1] == '-'))
		name.n = n - 1;
	for (n = name.n; n > 1; n--) {
		if (name.p[n - 1] == '.') {
			name.n = n - 1;
			break;
		}
	}
	buf_str(out, name.n ? name : all);
}

/* The files of one path. */

static int64_t now_s(const struct file_input *in)
{
	return clock_now_ns(in->env->clock) / NS_PER_SEC;
}

static struct lineage *lineage_of(struct file_input *in, const char *path)
{
	union map_value *v = map_put(&in->lineages, str_c(path), NULL);
	struct lineage *l = v->p;

	if (!l) {
		v->p = l = positions_lineage(&in->kept, path);
		l->seen_s = now_s(in);
	}
	return l;
}

static struct tail *tail_behind(const struct tail *t)
{
	struct list *next = t->sibling.next;

	return next == &t->lineage->tails ? NULL : CONTAINER(next, struct tail, sibling);
}

/* t is read to its end, or will not be: the turn is the next one's. */
static void let_next(struct file_input *in, struct tail *t)
{
	struct tail *next = tail_behind(t);

	if (t->waits || !next || !next->waits)
		return;
	next->waits = false;
	make_ready(in, next);
}

static void wait_for(struct file_input *in, struct tail *t, struct tail *before)
{
	struct stat st;

	t->waits = true;
	not_ready(t);
	/* Who goes on writing to the old file does not hold up the new one. */
	t->wait_to =
		before->fd >= 0 && fstat(before->fd, &st) == 0 ? (uint64_t)st.st_size : UINT64_MAX;
	make_ready(in, before);
}

/* Generations are given out in order of age. */
static void tail_enrol(struct file_input *in, struct tail *t)
{
	struct list *head, *at;
	struct tail *next;

	t->lineage = lineage_of(in, t->origin);
	head = at = &t->lineage->tails;
	while (at->prev != head &&
		CONTAINER(at->prev, struct tail, sibling)->id.generation > t->id.generation)
		at = at->prev;
	list_append(at, &t->sibling);
	if (t->sibling.prev != head)
		wait_for(in, t, CONTAINER(t->sibling.prev, struct tail, sibling));
	next = tail_behind(t);
	if (next && next->began == in->n_scans)
		wait_for(in, next, t);
}

/* Life of a tail. */

static int tail_label(struct file_input *in, struct tail *t, struct error *e)
{
	struct buf app = {0};
	struct line_labels l = {.input = "file", .file = t->origin, .extra = &in->s->labels};
	int r;

	app_of(t->origin, &app);
	l.app = in->s->app ? in->s->app : buf_cstr(&app);
	buf_clear(&t->labels);
	r = line_labels_write(&l, in->env, &t->labels, e);
	buf_fini(&app);
	return r;
}

static void tail_adopt(struct file_input *in, struct tail *t)
{
	struct inode_key k = {t->dev, t->ino};
	struct tail *before = find(&in->by_path, str_c(t->path));

	if (before)
		before->renamed = true;
	map_put(&in->by_path, str_c(t->path), NULL)->p = t;
	map_put(&in->by_inode, inode_view(&k), NULL)->p = t;
	tail_name(t, in->kept.id);
	map_put(&in->by_source, buf_view(&t->source), NULL)->p = t;
	list_append(&in->tails, &t->node);
	in->n_tails++;
	t->quiet_mono = clock_mono_ns(in->env->clock);
	t->began = in->n_scans;
	tail_enrol(in, t);
}

static void tail_position(const struct tail *t, struct position *out)
{
	out->id = t->id;
	out->start = t->start;
	out->offset = t->acked;
	out->path = t->origin;
}

/* Let go of a tail.  With `keep` its position is remembered, should the file come back. */
static void tail_drop(struct file_input *in, struct tail *t, bool keep)
{
	struct inode_key k = {t->dev, t->ino};

	if (keep && t->known) {
		struct position *at = position_add(&in->kept);
		struct list node = at->node;

		tail_position(t, at);
		at->node = node;
		at->path = xstrdup(t->origin);
		at->seen_s = now_s(in);
		if (in->kept.n > KEPT_MAX)
			position_remove(
				&in->kept, CONTAINER(in->kept.list.next, struct position, node));
	}
	remove_if(&in->by_inode, inode_view(&k), t);
	remove_if(&in->by_path, str_c(t->path), t);
	remove_if(&in->by_source, buf_view(&t->source), t);
	in->n_tails--;
	t->lineage->seen_s = now_s(in);
	let_next(in, t);
	tail_free(t);
	save_soon(in, save_pause(in));
}

static void tail_moved(struct file_input *in, struct tail *t, const char *path)
{
	struct tail *before;

	remove_if(&in->by_path, str_c(t->path), t);
	free(t->path);
	t->path = xstrdup(path);
	before = find(&in->by_path, str_c(path));
	if (before)
		before->renamed = true;
	map_put(&in->by_path, str_c(path), NULL)->p = t;
}

/* The same inode holds other bytes: they are a new source from 0 on. */
static void tail_renew(struct file_input *in, struct tail *t)
{
	log_info("input", "file: %s was truncated: reading it from its start", t->path);
	remove_if(&in->by_source, buf_view(&t->source), t);
	not_ready(t);
	t->id.generation = positions_generation(&in->kept, clock_now_ns(in->env->clock));
	t->id.n_fingerprint = 0;
	t->id.dev = t->dev;
	t->start = t->acked = t->sent = t->read = t->partial = t->fragment = t->size = 0;
	t->known = false;
	t->save = 0;
	tail_name(t, in->kept.id);
	map_put(&in->by_source, buf_view(&t->source), NULL)->p = t;
	save_soon(in, 0);
}

/* A kept position that is this file's: the same inode with the same first bytes.  Device numbers
 * may change with a reboot, then path and birth must agree. */
static struct position *kept_of(
	struct file_input *in, int fd, const struct identity *id, const char *path, uint64_t size)
{
	LIST_EACH (node, &in->kept.list) {
		struct position *at = CONTAINER(node, struct position, node);
		struct identity probe = at->id;

		if (at->id.ino != id->ino || at->offset > size ||
			(at->id.birth_ns && id->birth_ns && at->id.birth_ns != id->birth_ns))
			continue;
		if (at->id.dev != id->dev && (strcmp(at->path, path) != 0 || at->id.birth_ns == 0))
			continue;
		if (identity_check(fd, &probe)) {
			at->id = probe;
			return at;
		}
	}
	return NULL;
}

/* Take up a file: where it was left when it is known, else anew, as one that was at `origin`.
 * Takes fd. */
static struct tail *tail_begin(struct file_input *in, int fd, const char *path, const char *origin)
{
	struct tail *t;
	struct position *at;
	struct identity id = {0};
	struct stat st;
	struct error e;

	if (identity_of(fd, &id, &st, &e) < 0 || find_inode(in, id.dev, id.ino)) {
		close(fd);
		return NULL;
	}
	t = tail_new(fd, path);
	t->dev = id.dev;
	t->ino = id.ino;
	t->size = (uint64_t)st.st_size;
	at = kept_of(in, fd, &id, path, t->size);
	if (at) {
		t->id = at->id;
		t->start = at->start;
		free(t->origin);
		t->origin = at->path;
		at->path = NULL;
		tail_rewind(t, at->offset);
		t->known = true;
		position_remove(&in->kept, at);
	} else {
		free(t->origin);
		t->origin = xstrdup(origin);
		t->id = id;
		t->id.generation = positions_generation(&in->kept, clock_now_ns(in->env->clock));
		identity_check(fd, &t->id);
		if (in->first_scan && in->s->start == FILE_START_END)
			t->start = t->read = tail_last_line(fd, t->size);
		save_soon(in, 0);
	}
	if (tail_label(in, t, &e) < 0) {
		log_warn("input", "file: %s: %s", path, e.text);
		tail_free(t);
		return NULL;
	}
	tail_adopt(in, t);
	make_ready(in, t);
	return t;
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

static int open_file(struct file_input *in, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool added;

	if (fd >= 0) {
		map_remove(&in->complained, str_c(path));
		return fd;
	}
	if (errno == ENOENT)
		return -1;
	map_put(&in->complained, str_c(path), &added);
	if (added)
		log_warn("input", "file: %s cannot be read: %s", path, strerror(errno));
	return -1;
}

static bool still_at(const struct tail *t)
{
	struct stat st;

	return stat(t->path, &st) == 0 && st.st_dev == t->dev && st.st_ino == t->ino;
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
	t = find_inode(in, st.st_dev, st.st_ino);
	if (!t) {
		/* It came after the look.  There may be others that came and went in between. */
		int64_t now = clock_mono_ns(in->env->clock);

		if (!l->deferred_mono)
			l->deferred_mono = now;
		if (now - l->deferred_mono < LOOK_WAIT_NS && !is_link(path)) {
			scan_soon(in);
			return;
		}
		if ((fd = open_file(in, path)) < 0)
			return;
		t = tail_begin(in, fd, path, path);
		if (!t)
			return;
	} else if (strcmp(t->path, path) != 0 && !still_at(t)) {
		tail_moved(in, t, path);
		t->renamed = true;
	}
	l->deferred_mono = 0;
	t->scan = in->n_scans;
	t->matched = true;
}

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status);

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
			find_inode(in, st.st_dev, ino))
			continue;
		if ((fd = open_file(in, buf_cstr(&path))) < 0)
			continue;
		{
			struct identity id = {0};
			struct error e;

			if (identity_of(fd, &id, &st, &e) < 0 ||
				kept_of(in, fd, &id, buf_cstr(&path), (uint64_t)st.st_size) != at) {
				close(fd);
				continue;
			}
		}
		t = tail_begin(in, fd, buf_cstr(&path), at->path); /* frees `at` */
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

/* A tail that no glob matches any more. */
static void unmatched(struct file_input *in, struct tail *t, struct folder *folder)
{
	struct buf path = {0};

	t->matched = false;
	t->renamed = true;
	if (folder_find(folder, t->path, t->ino, &path)) {
		if (strcmp(buf_cstr(&path), t->path) != 0)
			tail_moved(in, t, buf_cstr(&path));
		if (t->fd < 0)
			t->fd = open_file(in, t->path);
	}
	buf_fini(&path);
	if (t->fd < 0) {
		tail_drop(in, t, true); /* it was read to its end before it was closed */
		return;
	}
	make_ready(in, t);
}

/* A path that is to be followed: a file that a glob matches, or one that was named. */
static void follow(struct file_input *in, const char *path)
{
	struct lineage *l;
	struct stat st;

	if (excluded(in, path) || (stat(path, &st) == 0 && !S_ISREG(st.st_mode)))
		return;
	l = lineage_of(in, path);
	if (l->scan == in->n_scans)
		return;
	l->scan = in->n_scans;
	l->seen_s = now_s(in);
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

	if (find_inode(in, dev, ino))
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
		scan_soon(in);
	for (size_t i = 0; i < k.n; i++) {
		struct look_file *f = &k.files[i];
		struct tail *t;

		if (f->fd < 0 || excluded(in, f->path))
			continue;
		t = tail_begin(in, f->fd, f->path, f->of->path);
		f->fd = -1;
		if (t)
			t->renamed = !f->current;
	}
	if (look_learn(&k))
		save_soon(in, save_pause(in));
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
	int64_t oldest_s = now_s(in) - KEPT_DAYS * 86400;

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

static void scan(void *arg)
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
		pump_soon(in);
}

/* A name that no glob matches was written to: it may be that of a file just rotated. */
static void ready_renamed(struct file_input *in)
{
	LIST_EACH (at, &in->tails) {
		struct tail *t = CONTAINER(at, struct tail, node);

		if (t->renamed && t->fd >= 0)
			make_ready(in, t);
	}
}

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
	struct watch *w = CONTAINER(handle, struct watch, handle);
	struct file_input *in = w->input;
	struct buf path = {0};
	struct tail *t;

	if (status < 0 || !name) {
		scan_soon(in);
		return;
	}
	buf_printf(&path, "%s/%s", strcmp(w->dir, "/") == 0 ? "" : w->dir, name);
	t = find(&in->by_path, buf_view(&path));
	buf_fini(&path);
	if (t)
		make_ready(in, t);
	else
		ready_renamed(in);
	/* A new name, or a name that may now be another file's. */
	if (events & UV_RENAME)
		scan_soon(in);
}

/* Saving. */

static void save_work(uv_work_t *work) /* a thread of libuv's pool */
{
	struct save *s = CONTAINER(work, struct save, work);

	s->code = fs_write_all(fs_real(), s->path, buf_view(&s->text), &s->error);
}

static void finish_stop(struct file_input *in);

static void save_done(uv_work_t *work, int status)
{
	struct save *s = CONTAINER(work, struct save, work);
	struct file_input *in = s->input;

	(void)status;
	in->saving = false;
	in->save_took_ns = clock_mono_ns(in->env->clock) - s->started_mono;
	if (s->code < 0) {
		if (!in->save_failing)
			log_error("input", "file: positions cannot be saved, new files wait: %s",
				s->error.text);
		in->save_failing = true;
		save_soon(in, RETRY_SAVE_MS);
	} else {
		in->save_failing = false;
		LIST_EACH (at, &in->tails) {
			struct tail *t = CONTAINER(at, struct tail, node);

			if (!t->known && t->save && t->save <= s->number) {
				t->known = true;
				make_ready(in, t);
			}
		}
		if (in->unsaved)
			save_soon(in, in->urgent ? 0 : save_pause(in));
	}
	buf_fini(&s->text);
	free(s->path);
	free(s);
	if (in->stopping)
		finish_stop(in);
}

static void positions_text(struct file_input *in, struct buf *out)
{
	int64_t seen_s = now_s(in);

	positions_write_head(&in->kept, out);
	LIST_EACH (at, &in->tails) {
		struct tail *t = CONTAINER(at, struct tail, node);
		struct position p = {.seen_s = seen_s};

		tail_position(t, &p);
		position_write(&p, out);
		t->changed = false;
		if (!t->known && !t->save)
			t->save = in->n_saves;
	}
	LIST_EACH (at, &in->kept.list)
		position_write(CONTAINER(at, struct position, node), out);
	LIST_EACH (at, &in->kept.lineages) {
		const struct lineage *l = CONTAINER(at, struct lineage, node);

		if (l->looked)
			lineage_write(l, out);
	}
}

static void save_positions(void *arg)
{
	struct file_input *in = arg;
	struct save *s;

	in->save_due = false;
	if (in->saving)
		return; /* it comes again when that one is done */
	s = xcalloc(1, sizeof(*s));
	s->input = in;
	s->number = ++in->n_saves;
	s->path = xstrdup(in->positions_path);
	s->started_mono = clock_mono_ns(in->env->clock);
	positions_text(in, &s->text);
	in->saving = true;
	in->unsaved = in->urgent = false;
	uv_queue_work(loop_uv(in->env->loop), &s->work, save_work, save_done);
}

/* Reading. */

static void send_builder(struct file_input *in)
{
	struct batch *b = batch_builder_finish(in->io.builder, in->lines.observed_ns);
	uint64_t reserved = in->reserved;

	in->reserved = 0;
	in->n_builder_sources = 0;
	courier_send(in->courier, b, reserved);
}

/* A renamed or deleted file that nobody writes to any more. */
static bool certainly_finished(const struct file_input *in, const struct tail *t)
{
	int64_t quiet = clock_mono_ns(in->env->clock) - t->quiet_mono;

	if (in->s->once)
		return true;
	if (t->deleted && quiet >= DELETED_WAIT_NS)
		return true;
	return (t->renamed || t->deleted) && quiet >= in->s->rotate_wait;
}

/* Read one chunk of the first ready file.  False when there is nothing to do but wait. */
static bool pump_one(struct file_input *in, size_t *budget)
{
	struct tail *t = CONTAINER(in->ready.next, struct tail, ready);
	uint64_t before = t->read + t->partial;
	struct tail *next;
	enum tail_result r;
	struct error e;

	if (t->fd < 0) {
		t->fd = still_at(t) ? open_file(in, t->path) : -1;
		if (t->fd < 0) {
			not_ready(t);
			scan_soon(in);
			return true;
		}
	}
	if (in->reserved == 0) {
		if (!courier_reserve(in->courier, in->reserve))
			return false;
		in->reserved = in->reserve;
	}
	line_reader_now(&in->lines);
	r = tail_read(t, &in->io, in->s->once || (t->partial && certainly_finished(in, t)), &e);
	if (in->io.n_unfit) {
		in->env->sink->account(in->env->sink, in->env->tenant, STR("file"), "limit",
			in->io.n_unfit, false);
		in->io.n_unfit = 0;
	}
	if (t->read + t->partial != before) {
		t->quiet_mono = clock_mono_ns(in->env->clock);
		*budget -= *budget < TAIL_CHUNK ? *budget : TAIL_CHUNK;
		in->n_builder_sources++;
	}
	not_ready(t);
	switch (r) {
	case TAIL_REPLACED: tail_renew(in, t); break;
	case TAIL_FULL:
	case TAIL_MORE:
		make_ready(in, t); /* behind the others */
		break;
	case TAIL_FAILED: log_warn("input", "file: %s", e.text); break;
	case TAIL_END: break;
	}
	next = tail_behind(t);
	if (next && (r == TAIL_END || r == TAIL_FAILED || t->read + t->partial >= next->wait_to))
		let_next(in, t);
	if (batch_builder_count(in->io.builder) > 0 &&
		(r == TAIL_FULL || batch_builder_bytes(in->io.builder) >= BATCH_TARGET ||
			in->n_builder_sources >= SOURCES_MAX))
		send_builder(in);
	return true;
}

static void say_ended(struct file_input *in)
{
	if (!in->s->once || in->ended || in->stopping || in->n_scans == 0 || in->scan_due ||
		!list_empty(&in->ready) || !courier_idle(in->courier) ||
		batch_builder_count(in->io.builder) > 0)
		return;
	LIST_EACH (at, &in->tails) {
		const struct tail *t = CONTAINER(at, struct tail, node);

		if (!t->known || t->waits)
			return;
	}
	in->ended = true;
	if (in->env->ended)
		in->env->ended(in->env->ended_arg);
}

static void pump(void *arg)
{
	struct file_input *in = arg;
	size_t budget = PUMP_BUDGET;

	in->pump_due = false;
	if (in->stopping)
		return;
	while (budget > 0 && !list_empty(&in->ready) && courier_ready(in->courier)) {
		if (!pump_one(in, &budget))
			break;
	}
	if (batch_builder_count(in->io.builder) > 0 && courier_idle(in->courier))
		send_builder(in);
	if (in->reserved && batch_builder_count(in->io.builder) == 0) {
		courier_unreserve(in->courier, in->reserved);
		in->reserved = 0;
	}
	if (budget == 0 && !list_empty(&in->ready))
		pump_soon(in);
	say_ended(in);
}

/* The courier's events. */

static void on_acked(void *arg, const struct batch *b, const struct sink_result *result)
{
	struct file_input *in = arg;

	(void)result;
	for (size_t i = 0; i < batch_n_sources(b); i++) {
		struct batch_source s = batch_source(b, i);
		struct tail *t = find(&in->by_source, s.id);

		if (!t)
			continue;
		if (s.to > t->acked)
			t->acked = s.to;
		/* It was sent again from further back than what turned out to be there. */
		if (t->acked > t->read)
			tail_rewind(t, t->acked);
		t->changed = true;
	}
	save_soon(in, save_pause(in));
}

static bool on_gap(void *arg, struct str source, uint64_t mark)
{
	struct file_input *in = arg;
	struct tail *t = find(&in->by_source, source);

	if (!t || in->stopping)
		return false;
	if (t->fd < 0)
		t->fd = still_at(t) ? open_file(in, t->path) : -1;
	if (t->fd < 0)
		return false;
	/* What was read but not sent yet is dropped with the rest. */
	if (batch_builder_count(in->io.builder) > 0)
		send_builder(in);
	tail_rewind(t, mark);
	make_ready(in, t);
	return true;
}

static void on_room(void *arg)
{
	pump_soon(arg);
}

/* Polling. */

static void poll_tail(struct file_input *in, struct tail *t, int64_t now_mono)
{
	struct stat st;
	bool read_all;

	if (t->fd >= 0 ? fstat(t->fd, &st) < 0 : stat(t->path, &st) < 0) {
		scan_soon(in);
		return;
	}
	if (t->fd < 0 && (st.st_ino != t->ino || st.st_dev != t->dev)) {
		scan_soon(in);
		return;
	}
	t->size = (uint64_t)st.st_size;
	t->deleted = st.st_nlink == 0;
	if (t->size != t->read + t->partial) {
		make_ready(in, t);
		return;
	}
	if (t->partial && certainly_finished(in, t)) {
		make_ready(in, t); /* the rest is the last line */
		return;
	}
	read_all = t->acked == t->read || t->read == t->start;
	if (t->is_ready || !t->known || !read_all || t->partial)
		return;
	if (!t->matched && certainly_finished(in, t)) {
		tail_drop(in, t, !t->deleted);
	} else if (t->fd >= 0 && t->matched && now_mono - t->quiet_mono > CLOSE_IDLE_NS) {
		close(t->fd);
		t->fd = -1;
	}
}

static void poll_all(void *arg)
{
	struct file_input *in = arg;
	int64_t now = clock_mono_ns(in->env->clock);
	int64_t lag = 0;

	LIST_EACH (at, &in->tails) {
		struct tail *t = CONTAINER(at, struct tail, node);
		uint64_t from = t->acked > t->start ? t->acked : t->start;

		lag += t->size > from ? (int64_t)(t->size - from) : 0;
		poll_tail(in, t, now);
	}
	metric_set(METRIC_forward_lag_bytes, "", lag);
	if (++in->n_polls % SCAN_POLLS == 0 && !in->s->once)
		scan_soon(in);
	pump_soon(in);
}

/* Life. */

static int load_positions(struct file_input *in, struct error *e)
{
	size_t n_damaged;
	int r = positions_load(&in->kept, in->positions_path, &n_damaged, e);

	if (r == ERR_CORRUPT)
		return error_wrap(
			e, r, "move this file away to send all files again from their start");
	if (r < 0)
		return r;
	if (n_damaged)
		log_warn("input", "file: %zu damaged lines in %s: their files are sent again",
			n_damaged, in->positions_path);
	in->first_scan = in->kept.fresh;
	LIST_EACH (node, &in->kept.lineages) {
		struct lineage *l = CONTAINER(node, struct lineage, node);
		union map_value *v = map_put(&in->lineages, str_c(l->path), NULL);

		if (v->p)
			positions_forget(&in->kept, v->p);
		v->p = l;
	}
	return 0;
}

static void input_free(struct file_input *in)
{
	LIST_EACH (at, &in->tails)
		tail_free(CONTAINER(at, struct tail, node));
	LIST_EACH (at, &in->watches)
		watch_close(CONTAINER(at, struct watch, node));
	courier_free(in->courier);
	batch_builder_free(in->io.builder);
	account_release(in->env->account, in->reserved + TAIL_BUFFER);
	timer_fini(&in->poll);
	timer_fini(&in->pump);
	timer_fini(&in->scan_timer);
	timer_fini(&in->save_timer);
	map_fini(&in->lineages);
	map_fini(&in->looked);
	free(in->found);
	map_fini(&in->by_inode);
	map_fini(&in->by_path);
	map_fini(&in->by_source);
	map_fini(&in->complained);
	positions_fini(&in->kept);
	buf_fini(&in->io.meta);
	free(in->io.buffer);
	free(in->positions_path);
	free(in);
}

static int start(void **out, const void *settings, const struct input_env *env, struct error *e)
{
	static const struct courier_events events = {
		.acked = on_acked, .gap = on_gap, .room = on_room};
	struct file_input *in = xcalloc(1, sizeof(*in));
	struct buf path = {0};
	int r;

	in->s = settings;
	in->env_copy = *env;
	in->env = env = &in->env_copy;
	list_init(&in->tails);
	list_init(&in->ready);
	list_init(&in->watches);
	positions_init(&in->kept);
	if (env->account)
		account_force(env->account, TAIL_BUFFER);
	in->io.buffer = xmalloc(TAIL_BUFFER);
	in->io.lines = &in->lines;
	in->io.builder = batch_builder_new(env->tenant, STR("file"), clock_now_ns(env->clock));
	line_reader_init(&in->lines, env, in->s->detect_time);
	in->courier = courier_new(env, "file", &events, in);
	in->reserve = RESERVE;
	if (env->account && env->account->limit / 4 < in->reserve)
		in->reserve = env->account->limit / 4;
	timer_init(&in->poll, env->loop, poll_all, in);
	timer_init(&in->pump, env->loop, pump, in);
	timer_init(&in->scan_timer, env->loop, scan, in);
	timer_init(&in->save_timer, env->loop, save_positions, in);
	buf_printf(&path, "%s/positions", env->state_dir);
	in->positions_path = xstrdup(buf_cstr(&path));
	buf_fini(&path);
	if ((r = load_positions(in, e)) < 0) {
		input_free(in);
		return r;
	}
	scan(in);
	timer_set(&in->poll, POLL_MS, POLL_MS);
	*out = in;
	return 0;
}

static void finish_stop(struct file_input *in)
{
	loop_fn *stopped = in->stopped;
	void *arg = in->stopped_arg;
	struct buf text = {0};
	struct error e;

	if (in->saving || !in->courier_done)
		return;
	positions_text(in, &text);
	if (fs_write_all(fs_real(), in->positions_path, buf_view(&text), &e) < 0)
		log_warn("input", "file: positions not saved, lines are sent again: %s", e.text);
	buf_fini(&text);
	input_free(in);
	stopped(arg);
}

static void on_courier_stopped(void *arg)
{
	struct file_input *in = arg;

	in->courier_done = true;
	finish_stop(in);
}

static void stop(void *input, loop_fn *stopped, void *arg)
{
	struct file_input *in = input;

	in->stopping = true;
	in->stopped = stopped;
	in->stopped_arg = arg;
	timer_clear(&in->poll);
	timer_clear(&in->pump);
	timer_clear(&in->scan_timer);
	timer_clear(&in->save_timer);
	LIST_EACH (at, &in->watches)
		watch_close(CONTAINER(at, struct watch, node));
	if (batch_builder_count(in->io.builder) > 0)
		send_builder(in);
	courier_stop(in->courier, on_courier_stopped, in);
}

static void dump(const void *input, struct buf *out)
{
	const struct file_input *in = input;

	buf_printf(out, "file: %zu files, %zu positions kept, %llu scans, %llu saves\n",
		in->n_tails, in->kept.n, (unsigned long long)in->n_scans,
		(unsigned long long)in->n_saves);
	courier_dump(in->courier, out);
	LIST_EACH (at, &in->tails) {
		const struct tail *t = CONTAINER(at, struct tail, node);

		buf_printf(out,
			"  %s: %llu acknowledged, %llu read, %llu partial, %llu bytes%s%s%s%s%s\n",
			t->path, (unsigned long long)t->acked, (unsigned long long)t->read,
			(unsigned long long)t->partial, (unsigned long long)t->size,
			t->renamed ? ", renamed" : "", t->deleted ? ", deleted" : "",
			t->known ? "" : ", new", t->waits ? ", waits" : "",
			t->fd < 0 ? ", closed" : "");
	}
}

static int check(const void *settings, struct error *e)
{
	const struct file_settings *s = settings;

	for (size_t i = 0; i < s->labels.n; i++) {
		if (!label_name_valid(str_c(s->labels.items[i].name)))
			return error_set(e, ERR_ARG,
				"labels: \"%s\" is no label name: letters, digits and '_', no "
				"digit first",
				s->labels.items[i].name);
	}
	return 0;
}

static const char *const starts[] = {"begin", "end", NULL};

static const struct option options[] = {
	OPTION(struct file_settings, paths, .kind = OPT_PATHS, .required = true,
		.help = "Files to follow: paths or globs (* ? [a-z] {a,b})."),
	OPTION(struct file_settings, exclude, .kind = OPT_STRINGS,
		.help = "Globs of files to leave out; without a slash they are compared with the "
			"base name.  Compressed files are always left out."),
	OPTION(struct file_settings, labels, .kind = OPT_MAP,
		.help = "Labels of all lines, besides host, app, file and input."),
	OPTION(struct file_settings, app, .kind = OPT_STRING,
		.help = "The label app.  Without it: the file's base name without extension and "
			"rotation suffix."),
	OPTION(struct file_settings, start, .kind = OPT_ENUM, .values = starts, .fallback = "begin",
		.help = "Where to begin with the files that are there at the very first start."),
	OPTION(struct file_settings, detect_time, .kind = OPT_BOOL, .fallback = "true",
		.help = "Take the time at the head of a line as its timestamp; else, and where "
			"there is none, it is when the line was read."),
	OPTION(struct file_settings, rotate_wait, .kind = OPT_DURATION, .fallback = "60s",
		.help = "How long a renamed file must be quiet before it is let go."),
	OPTION(struct file_settings, once, .kind = OPT_BOOL, .fallback = "false",
		.help = "Read what there is and end."),
	OPTION_END,
};

const struct input_type input_file = {
	.name = "file",
	.summary = "lines of files, followed through rotation and truncation",
	.size = sizeof(struct file_settings),
	.options = options,
	.check = check,
	.start = start,
	.stop = stop,
	.dump = dump,
};
