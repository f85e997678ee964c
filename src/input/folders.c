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

#include "base/hash.h"
#include "base/log.h"
#include "input/file.h"

enum {
	FIND_TRIES = 5,
	FIND_SCANS = 5, /* from the first one on, in which what was rotated is looked for */
};
static const int64_t LOOK_WAIT_NS = NS_PER_SEC; /* for a path that rotates all the time */

static const int64_t MEASURE_NS = 20 * NS_PER_MS;

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

/* It was written to and could not be read since: what it has may be truncated before it can. */
static void measure_waiting(struct file_input *in, struct tail *t)
{
	int64_t now = clock_mono_ns(in->env->clock);

	if (courier_ready(in->courier) || now - t->measured_mono < MEASURE_NS)
		return;
	t->measured_mono = now;
	tail_measure(t);
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
	if (!t) {
		union map_value *v = map_get(&in->targets, buf_view(&path));
		const struct lineage *l = v ? v->p : NULL;

		t = l ? tails_find(&in->by_path, str_c(l->path)) : NULL;
	}
	buf_fini(&path);
	if (t && t->is_ready && t->fd >= 0)
		measure_waiting(in, t);
	else if (t)
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
	union map_value *v = map_get(&w->input->watched, str_c(w->dir));

	if (v && v->p == w)
		map_remove(&w->input->watched, str_c(w->dir));
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
	union map_value *v;
	struct watch *w;
	struct stat st;
	int r;

	if (in->s->once || stat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
		return;
	w = (v = map_get(&in->watched, str_c(dir))) ? v->p : NULL;
	if (w && w->dev == st.st_dev && w->ino == st.st_ino) {
		w->scan = in->scan;
		return;
	}
	w = xcalloc(1, sizeof(*w));
	w->input = in;
	w->dir = xstrdup(dir);
	w->dev = st.st_dev;
	w->ino = st.st_ino;
	w->scan = in->scan;
	list_append(&in->watches, &w->node);
	map_put(&in->watched, str_c(dir), NULL)->p = w;
	uv_fs_event_init(loop_uv(in->env->loop), &w->handle);
	r = uv_fs_event_start(&w->handle, on_event, dir, 0);
	if (r == 0)
		return;
	/* Without a watch the poll still finds everything, a second later. */
	watch_close(w);
	if (!in->said_unwatched)
		log_warn("input",
			"file: %s cannot be watched (%s): what is written there is seen once a "
			"second (fs.inotify.max_user_watches, max_user_instances)",
			dir, uv_strerror(r));
	in->said_unwatched = true;
}

/* Scanning. */

static bool excluded(const struct file_input *in, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	for (size_t i = 0; i < in->s->exclude.n; i++) {
		const char *pattern = in->s->exclude.items[i];

		if (fnmatch(pattern, strchr(pattern, '/') ? path : name, 0) == 0)
			return true;
	}
	return false;
}

/* Patterns. */

/* Add what `rest` stands for behind `done`: the first brace is each of its words in turn. */
static int expand(struct file_input *in, const char *whole, struct str done, const char *rest,
	struct error *e)
{
	const char *open = rest, *at, *close;
	int depth = 0, r = 0;

	while (*open && *open != '{')
		open += *open == '\\' && open[1] ? 2 : 1;
	for (close = open; *close; close++) {
		if (*close == '\\' && close[1])
			close++;
		else if ((*close == '{' && ++depth > 0) || (*close == '}' && --depth == 0))
			if (depth == 0)
				break;
	}
	if (!*open || !*close || close == open + 1) {
		struct buf text = {0};

		if (in->n_patterns == PATTERNS_MAX)
			return error_set(
				e, ERR_LIMIT, "paths: more than %d patterns", PATTERNS_MAX);
		if (in->n_patterns == in->cap_patterns) {
			in->cap_patterns = in->cap_patterns ? 2 * in->cap_patterns : 8;
			in->patterns =
				xrealloc(in->patterns, in->cap_patterns * sizeof(*in->patterns));
		}
		buf_str(&text, done);
		buf_c(&text, rest);
		in->patterns[in->n_patterns++] =
			(struct pattern){.text = str_dup(buf_view(&text)), .whole = whole};
		buf_fini(&text);
		return 0;
	}
	for (const char *from = at = open + 1; r == 0 && from <= close; from = ++at) {
		struct buf text = {0}, next = {0};

		for (depth = 0; at < close && (depth > 0 || *at != ','); at++) {
			depth += (*at == '{') - (*at == '}');
			if (*at == '\\' && at + 1 < close)
				at++;
		}
		buf_str(&text, done);
		buf_put(&text, rest, (size_t)(open - rest));
		buf_put(&next, from, (size_t)(at - from));
		buf_c(&next, close + 1);
		r = expand(in, whole, buf_view(&text), buf_cstr(&next), e);
		buf_fini(&text);
		buf_fini(&next);
	}
	return r;
}

int folders_patterns(struct file_input *in, struct error *e)
{
	int r = 0;

	for (size_t i = 0; i < in->s->paths.n && r == 0; i++)
		r = expand(in, in->s->paths.items[i], STR(""), in->s->paths.items[i], e);
	return r;
}

static bool matches(const struct file_input *in, const char *path)
{
	for (size_t i = 0; i < in->n_patterns; i++) {
		const struct pattern *p = &in->patterns[i];

		if (fnmatch(p->text, path, FNM_PATHNAME | FNM_PERIOD) == 0 ||
			strcmp(p->whole, path) == 0)
			return true;
	}
	return false;
}

/* What was followed before, by whichever input, and is from now on. */
static void learn_patterns(struct file_input *in)
{
	struct map *globs = &in->book->kept.globs;

	for (size_t i = 0; i < in->n_patterns; i++) {
		struct pattern *p = &in->patterns[i];

		p->is_new = in->n_scans == 1 && !in->book->globs_unknown &&
			    !map_get(globs, str_c(p->whole));
	}
	for (size_t i = 0; i < in->n_patterns; i++)
		map_put(globs, str_c(in->patterns[i].whole), NULL)->u =
			(uint64_t)book_now_s(in->book);
}

/* Two inputs that match one file: the first has it. */
static void say_taken(struct file_input *in, const char *path, const struct file_input *by)
{
	struct buf key = {0};
	bool added;

	buf_printf(&key, "%s\n", path);
	map_put(&in->complained, buf_view(&key), &added);
	buf_fini(&key);
	if (added)
		log_warn("input",
			"file: %s is read by the input with the paths %s, and not by the one with "
			"%s: exclude it in one of them",
			path, file_name(by), file_name(in));
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
	t = tails_find_inode(in->book, st.st_dev, st.st_ino);
	if (t && t->input != in) {
		say_taken(in, path, t->input);
		return;
	}
	if (!t) {
		/* It came after the look.  There may be others that came and went in between. */
		int64_t now = clock_mono_ns(in->env->clock);

		if (!l->deferred_mono)
			l->deferred_mono = now;
		if (now - l->deferred_mono < LOOK_WAIT_NS) {
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
	t->scan = in->scan;
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
	if (strpbrk(pattern, "*?[\\") && glob(pattern, GLOB_NOSORT | flags, NULL, &g) == 0) {
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

/* The inodes of a folder. */
struct folder {
	struct map names; /* inode -> heap name */
};

/* folders: folder -> struct folder, read once a scan. */
static void folders_clear(struct map *folders)
{
	const struct map_slot *slot, *name;
	size_t at = 0;

	while ((slot = map_next(folders, &at))) {
		struct folder *f = slot->value.p;

		for (size_t i = 0; (name = map_next(&f->names, &i));)
			free(name->value.p);
		map_fini(&f->names);
		free(f);
	}
	map_fini(folders);
}

static struct folder *folder_read(struct map *folders, const char *dir)
{
	bool added;
	union map_value *at = map_put(folders, str_c(dir), &added);
	struct folder *f = at->p;
	struct dirent *entry;
	DIR *d;

	if (!added)
		return f;
	at->p = f = xcalloc(1, sizeof(*f));
	if (!(d = opendir(dir)))
		return f;
	while ((entry = readdir(d))) {
		uint64_t ino = entry->d_ino;
		union map_value *v = map_put(&f->names, str_make(&ino, sizeof(ino)), NULL);

		free(v->p);
		v->p = xstrdup(entry->d_name);
	}
	closedir(d);
	return f;
}

/* Where in the folder of `path` is the inode now?  False: nowhere. */
static bool folder_find(struct map *folders, const char *path, uint64_t ino, struct buf *out)
{
	char *dir = dir_of(path);
	struct folder *f = folder_read(folders, dir);
	union map_value *v = map_get(&f->names, str_make(&ino, sizeof(ino)));

	if (v) {
		buf_clear(out);
		buf_printf(out, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, (const char *)v->p);
	}
	free(dir);
	return v != NULL;
}

/* Does this input follow the path, in this scan? */
static const struct lineage *followed_here(const struct file_input *in, const char *path)
{
	union map_value *v = map_get(&in->book->lineages, str_c(path));
	const struct lineage *l = v ? v->p : NULL;

	return l && l->owner == in && l->scan == in->scan ? l : NULL;
}

bool folders_follow(const struct file_input *in, const char *path)
{
	return followed_here(in, path) != NULL;
}

/* Take up the file of a kept position at the path where it is now. */
static void take_up(struct file_input *in, const struct position *at, const char *path)
{
	struct identity id = {0};
	struct error e;
	struct stat st;
	struct tail *t;
	int fd = tails_open(in, path);

	if (fd < 0)
		return;
	if (identity_of(fd, &id, &st, &e) < 0 ||
		tails_kept(in->book, fd, &id, path, (uint64_t)st.st_size) != at) {
		close(fd);
		return;
	}
	t = tails_begin(in, fd, path, at->path); /* frees `at` */
	if (!t)
		return;
	t->renamed = true;
	t->scan = in->scan;
}

/* Files that were being read when an input stopped, and that no glob matches any more: rotated. */
static bool find_rotated(struct file_input *in, struct map *folders)
{
	struct buf path = {0};
	bool found = false;

	LIST_EACH (node, &in->book->kept.list) {
		struct position *at = CONTAINER(node, struct position, node);
		const struct lineage *l = followed_here(in, at->path);
		struct stat st;

		if (!l || at->gone ||
			!folder_find(
				folders, l->target ? l->target : at->path, at->id.ino, &path) ||
			stat(buf_cstr(&path), &st) < 0 || !S_ISREG(st.st_mode) ||
			(uint64_t)st.st_size <= at->offset ||
			tails_find_inode(in->book, st.st_dev, at->id.ino))
			continue;
		take_up(in, at, buf_cstr(&path));
		found = true;
	}
	buf_fini(&path);
	return found;
}

/* A folder whose files are being renamed may show one of them not at all, or under a name that is
 * another's by now.  So this is done until nothing more is found, and by the next scans again. */
static void find_all_rotated(struct file_input *in)
{
	bool found = true;

	for (int i = 0; i < FIND_TRIES && (found || i < 2); i++) {
		struct map folders = {0};

		found = find_rotated(in, &folders);
		folders_clear(&folders);
	}
}

/* Files that an input before us was not done with and left open. */
static void take_parked(struct file_input *in)
{
	LIST_EACH (node, &in->book->parked) {
		struct parked *p = CONTAINER(node, struct parked, node);
		struct tail *t;

		if (!followed_here(in, p->origin) && !matches(in, p->origin))
			continue;
		t = tails_begin(in, p->fd, p->path, p->origin);
		p->fd = -1;
		if (t) {
			t->renamed = !tails_still_at(t);
			t->scan = in->scan;
		}
		parked_free(p);
	}
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
static void unmatched(struct file_input *in, struct tail *t, struct map *folders)
{
	const char *target = t->lineage->target;
	struct buf path = {0};

	t->matched = false;
	t->renamed = true;
	if (folder_find(folders, target ? target : t->path, t->ino, &path)) {
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

/* Where a link leads: its family is there.  While the file it leads to is being rotated it leads
 * nowhere, and its family is where it was. */
static void resolve(struct file_input *in, struct lineage *l)
{
	struct stat st;
	char *target = NULL;
	uint64_t hash;

	if (lstat(l->path, &st) < 0)
		return;
	if (S_ISLNK(st.st_mode) && !(target = realpath(l->path, NULL)))
		target = xstrdup(l->target);
	if (S_ISLNK(st.st_mode) && !target)
		return;
	hash = target ? hash_stable(str_c(target)) : 0;
	if (hash != l->target_hash)
		l->looked = false; /* another family: what is there already is known */
	l->target_hash = hash;
	free(l->target);
	l->target = target;
	if (target) {
		char *dir = dir_of(target);

		map_put(&in->targets, str_c(target), NULL)->p = l;
		watch_dir(in, dir);
		free(dir);
	}
}

/* Compressed files are read when a pattern names their suffix, and else as what was rotated. */
static bool asked_for(const struct pattern *p, const char *path)
{
	struct str stem;
	enum packing packing = packing_of(str_c(path), &stem);

	if (packing == PACKING_GZIP || packing == PACKING_ZSTD)
		return packing_of(str_c(p->text), NULL) == packing;
	return packing == PACKING_NONE;
}

/* A path that is to be followed: a file that a glob matches, or one that was named. */
static void follow(struct file_input *in, const char *path)
{
	struct lineage *l;
	struct stat st;

	if (!asked_for(in->following, path) || excluded(in, path) ||
		(stat(path, &st) == 0 && !S_ISREG(st.st_mode)))
		return;
	l = book_lineage(in->book, path);
	if (l->owner && l->owner != in) {
		say_taken(in, path, l->owner);
		return;
	}
	l->fresh = in->following->is_new && (l->fresh || l->scan != in->scan);
	if (l->scan == in->scan)
		return;
	l->owner = in;
	l->scan = in->scan;
	l->seen_s = book_now_s(in->book);
	resolve(in, l);
	if (in->n_found == in->cap_found) {
		in->cap_found = in->cap_found ? 2 * in->cap_found : 64;
		in->found = xrealloc(in->found, in->cap_found * sizeof(struct lineage *));
	}
	in->found[in->n_found++] = l;
}

static void follow_all(struct file_input *in)
{
	in->n_found = 0;
	map_fini(&in->targets);
	for (size_t i = 0; i < in->n_patterns; i++) {
		const struct pattern *p = in->following = &in->patterns[i];
		struct stat st;

		glob_each(in, p->text, 0, follow);
		if (!strpbrk(p->text, "*?[") || (p->text != p->whole && stat(p->whole, &st) == 0))
			follow(in, strpbrk(p->text, "*?[") ? p->whole : p->text);
	}
	/* Rotated away and not there again yet. */
	LIST_EACH (at, &in->book->kept.lineages) {
		struct lineage *l = CONTAINER(at, struct lineage, node);

		if (l->scan == in->scan || (l->owner && l->owner != in) || !matches(in, l->path))
			continue;
		l->owner = in;
		l->scan = in->scan;
		l->fresh = false;
	}
}

static bool look_known(void *arg, dev_t dev, uint64_t ino, bool kept)
{
	struct file_input *in = arg;

	if (tails_find_inode(in->book, dev, ino))
		return true;
	if (!kept)
		return false;
	for (const struct position *at = positions_find(&in->book->kept, ino); at; at = at->same) {
		if (at->id.dev == dev && !at->gone)
			return true;
	}
	return false;
}

/* Take up what is new in a folder, the older before the younger.  False: not now. */
static bool look_folder(struct file_input *in, struct str prefix)
{
	struct look k = {.lineages = &in->book->lineages,
		.targets = &in->targets,
		.scan = in->scan,
		.known = look_known};
	struct buf dir = {0};
	union map_value *v;
	struct stat st;
	int64_t changed;
	bool readable, waits;
	int64_t began_s = book_now_s(in->book);
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
	waits = rotated_take(in, &k, began_s);
	for (size_t i = 0; i < k.n; i++) {
		struct look_file *f = &k.files[i];
		struct tail *t;

		if (f->fd < 0 || excluded(in, f->path))
			continue;
		t = tails_begin(in, f->fd, f->current ? f->of->path : f->path, f->of->path);
		f->fd = -1;
		if (t)
			t->renamed = !f->current;
	}
	if (look_learn(&k))
		book_save_later(in->book);
	/* A change right behind another may leave the time as it is: clocks tick. */
	if (!waits && !k.unread && !k.unsteady &&
		clock_now_ns(in->env->clock) - changed > NS_PER_SEC)
		map_put(&in->looked, prefix, NULL)->u = (uint64_t)changed;
	look_fini(&k);
	return true;
}

static struct str prefix_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return str_make(path, slash ? (size_t)(slash + 1 - path) : 0);
}

static struct str family_of(const struct lineage *l)
{
	return prefix_of(l->target ? l->target : l->path);
}

static void look_all(struct file_input *in)
{
	struct map prefixes = {0};
	const struct map_slot *slot;
	size_t i = 0;

	LIST_EACH (at, &in->book->kept.lineages) {
		struct lineage *l = CONTAINER(at, struct lineage, node);

		if (l->owner == in && l->scan == in->scan)
			map_put(&prefixes, family_of(l), NULL);
	}
	while ((slot = map_next(&prefixes, &i)))
		map_get(&prefixes, slot->key)->u = look_folder(in, slot->key);
	/* Those of which there is nothing yet: what comes is new. */
	LIST_EACH (at, &in->book->kept.lineages) {
		struct lineage *l = CONTAINER(at, struct lineage, node);

		if (!l->looked && !l->unread && l->owner == in && l->scan == in->scan &&
			map_get(&prefixes, family_of(l))->u)
			l->looked = true;
	}
	map_fini(&prefixes);
}

void folders_scan(void *arg)
{
	struct file_input *in = arg;
	struct map folders = {0};
	int64_t began = clock_mono_ns(in->env->clock);

	in->scan_due = false;
	in->n_scans++;
	in->scan = ++in->book->n_scans;
	learn_patterns(in);
	for (size_t i = 0; i < in->n_patterns; i++) {
		char *dir = dir_of(in->patterns[i].text);

		/* The watch first: what appears between it and the glob makes an event. */
		glob_each(in, dir, GLOB_ONLYDIR, watch_dir);
		free(dir);
	}
	follow_all(in);
	take_parked(in);
	look_all(in);
	for (size_t i = 0; i < in->n_found; i++)
		consider(in, in->found[i]);
	if (in->released != in->book->n_released)
		in->first_scan = in->n_scans;
	if (in->n_scans < in->first_scan + FIND_SCANS)
		find_all_rotated(in);
	if (in->n_scans == 1 || in->released != in->book->n_released || in->truncated)
		gaps_due(in);
	in->truncated = false;
	in->released = in->book->n_released;
	LIST_EACH (at, &in->tails) {
		struct tail *t = CONTAINER(at, struct tail, node);

		if (t->scan != in->scan && t->matched)
			unmatched(in, t, &folders);
	}
	LIST_EACH (at, &in->watches) {
		struct watch *w = CONTAINER(at, struct watch, node);

		if (w->scan != in->scan)
			watch_close(w);
	}
	folders_clear(&folders);
	book_forget_old(in->book);
	in->scanned_mono = clock_mono_ns(in->env->clock);
	in->scan_took_ns = in->scanned_mono - began;
	if (in->s->once)
		file_pump_soon(in);
}
