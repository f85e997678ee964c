/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  A line is added in two steps.  logfile_ready does all that can fail: it opens the file,
 * looks whether somebody has moved it, rotates it, and looks the line up among those of the last
 * run.  logfile_put then appends it to bytes in memory, so that a record which goes to several
 * files goes to all or to none.  The bytes of a burst are written at its end; what a full disk
 * leaves of them stays in memory, from the very byte on at which it stopped, and is written first
 * when there is room again.
 *
 * A file with pending bytes is never closed and never swapped for another, so all of a line ends in
 * one file.  Files are opened with O_APPEND: others may write to them too.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "output/file_output.h"

enum { PENDING_KEEP = 16 << 10 };

bool logfile_durable(const struct file_output *o)
{
	return o->s->fsync == FSYNC_SYNC;
}

int logfile_of(struct file_output *o, struct str path, struct logfile **out, struct error *e)
{
	union map_value *v = map_get(&o->files, path);
	struct logfile *f;

	if (v) {
		*out = v->p;
		return 0;
	}
	if (o->files.n >= (uint64_t)o->s->max_files)
		return error_set(e, ERR_LIMIT,
			"%s/%.*s: there are already %zu different files (max_files)", o->root,
			STR_ARG(path), o->files.n);
	f = xcalloc(1, sizeof *f);
	f->path = str_dup(path);
	f->fd = f->rerun.fd = -1;
	list_init(&f->open);
	list_init(&f->busy);
	list_init(&f->dirty);
	list_init(&f->work);
	map_put(&o->files, path, NULL)->p = f;
	*out = f;
	return 0;
}

void logfile_free(struct file_output *o, struct logfile *f)
{
	o->pending -= f->pending.n;
	logfile_close(o, f);
	list_remove(&f->busy);
	list_remove(&f->work);
	rerun_end(&f->rerun);
	buf_fini(&f->pending);
	free(f->path);
	free(f);
}

/* --- opening -------------------------------------------------------------- */

void logfile_close(struct file_output *o, struct logfile *f)
{
	if (f->fd < 0)
		return;
	close(f->fd);
	f->fd = -1;
	o->n_open--;
	list_remove(&f->open);
	list_remove(&f->dirty);
}

/* Make room for one more open file. */
static int evict(struct file_output *o, struct error *e)
{
	int r;

	while (o->n_open >= (uint64_t)o->s->max_open) {
		struct logfile *oldest = NULL;
		LIST_EACH (at, &o->open) {
			struct logfile *f = CONTAINER(at, struct logfile, open);
			if (f->pinned != o->record && f->pending.n == 0) {
				oldest = f;
				break;
			}
		}
		if (!oldest && (r = file_output_flush(o, e)) < 0)
			return r;
		if (!oldest && o->pending == 0) {
			LIST_EACH (at, &o->open) {
				struct logfile *f = CONTAINER(at, struct logfile, open);
				if (f->pinned != o->record) {
					oldest = f;
					break;
				}
			}
			/* max_open is more than a record has files. */
			assert(oldest);
		}
		if (!oldest)
			continue;
		if (o->s->fsync != FSYNC_NEVER && (r = logfile_fsync(o, oldest, e)) < 0)
			return r;
		logfile_close(o, oldest);
	}
	return 0;
}

static int say(const struct file_output *o, const struct logfile *f, int number, const char *what,
	struct error *e)
{
	if (number == ELOOP)
		return error_set(e, ERR_DENIED, "%s/%s: is a symbolic link, which is not followed",
			o->root, f->path);
	return error_errno(e, number, "%s/%s: cannot %s", o->root, f->path, what);
}

/* Open the file in its folder, or make it; the mode is exact, whatever the umask. */
static int open_in(struct file_output *o, int dir, const char *name)
{
	enum { FLAGS = O_WRONLY | O_APPEND | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC };

	for (int tries = 0; tries < 100; tries++) {
		int fd = openat(dir, name, FLAGS);
		if (fd >= 0 || (errno != ENOENT && errno != EINTR))
			return fd;
		fd = openat(dir, name, FLAGS | O_CREAT | O_EXCL, o->mode);
		if (fd >= 0) {
			fchmod(fd, o->mode);
			if (logfile_durable(o))
				fsync(dir);
			return fd;
		}
		/* Somebody else has made it, or it is a link to nowhere: the next open tells. */
		if (errno != EEXIST && errno != EINTR)
			return -1;
	}
	errno = ELOOP;
	return -1;
}

/* What is noted of the file is not about the one under its path now. */
static void forget_place(struct file_output *o, struct logfile *f)
{
	if (f->epoch == o->epoch && !f->resumed)
		resume_note_end(o->resume, f->path, f->inode, f->count);
	f->epoch = 0;
	f->rerun_here = false;
}

/* Where the lines of the last run are: this file, or one in its folder that has been renamed. */
static int find_inode(int dir, const char *name, uint64_t inode, bool *here)
{
	struct dirent *entry;
	struct stat st;
	DIR *d;
	int fd;

	*here = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == inode;
	if (*here)
		return openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if ((fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || !(d = fdopendir(fd)))
		return -1;
	fd = -1;
	while (fd < 0 && (entry = readdir(d)))
		if (entry->d_ino == inode && entry->d_type != DT_LNK)
			fd = openat(
				dir, entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	closedir(d);
	return fd;
}

/* The first opening in this run: is something of the last one to be expected? */
static void take_up(struct file_output *o, struct logfile *f, int dir, const char *name)
{
	struct resume_file was;
	struct stat st;
	int fd;

	f->opened_before = true;
	if (!resume_take(o->resume, f->path, &was))
		return;
	f->count = was.base;
	f->skip_to = was.skip_to;
	if (was.ended && f->inode != was.inode) {
		f->skip_to = was.ended_count;
		was.placed = false;
	}
	if (was.placed && was.from != UINT64_MAX) {
		fd = find_inode(dir, name, was.inode, &f->rerun_here);
		if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
			st.st_ino == was.inode) {
			/* Shorter than it was: somebody has emptied it. */
			if ((uint64_t)st.st_size < was.from)
				was.from = 0;
			rerun_begin(&f->rerun, fd, was.from, (uint64_t)st.st_size);
			f->rerun_inode = was.inode;
		} else {
			log_warn("output",
				"%s/%s: has been moved away while sawlog did not run: up to a second "
				"of lines before its end is written again",
				o->root, f->path);
			if (fd >= 0)
				close(fd);
		}
	}
	f->resumed = f->skip_to > f->count || f->rerun.at < f->rerun.end;
}

int logfile_open(struct file_output *o, struct logfile *f, struct error *e)
{
	const char *name;
	struct stat st;
	int r, dir, fd, number;

	assert(f->fd < 0 && f->pending.n == 0);
	if ((r = evict(o, e)) < 0)
		return r;
	if ((dir = folder_open(o->root, f->path, &o->folders, &name, e)) < 0)
		return dir;
	fd = open_in(o, dir, name);
	number = errno;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		r = fd < 0 ? say(o, f, number, "open", e)
			   : error_set(
				     e, ERR_DENIED, "%s/%s: is no regular file", o->root, f->path);
		if (fd >= 0)
			close(fd);
		close(dir);
		return r;
	}
	if (f->opened_before &&
		(st.st_ino != f->inode || st.st_dev != f->device || (uint64_t)st.st_size < f->size))
		forget_place(o, f);
	f->fd = fd;
	f->device = st.st_dev;
	f->inode = st.st_ino;
	f->size = (uint64_t)st.st_size;
	f->due_ns = rotate_due(&o->s->rotate, o->s->line.utc,
		f->size ? st.st_mtim.tv_sec * NS_PER_SEC + st.st_mtim.tv_nsec
			: clock_now_ns(o->env.clock));
	o->n_open++;
	list_append(&o->open, &f->open);
	if (!f->opened_before) {
		take_up(o, f, dir, name);
		rotate_found(o, f);
	}
	close(dir);
	return 0;
}

/* Once a burst: is the file under the path still this one?  What WatchedFileHandler does. */
static int look_again(struct file_output *o, struct logfile *f, struct error *e)
{
	struct stat st;
	int r;

	buf_clear(&o->name);
	buf_printf(&o->name, "%s/%s", o->root, f->path);
	r = fstatat(AT_FDCWD, buf_cstr(&o->name), &st, AT_SYMLINK_NOFOLLOW);
	if (r == 0 ? st.st_ino != f->inode || st.st_dev != f->device
		   : errno == ENOENT || errno == ENOTDIR) {
		if (o->s->fsync != FSYNC_NEVER && (r = logfile_fsync(o, f, e)) < 0)
			return r;
		logfile_close(o, f);
		return logfile_open(o, f, e);
	}
	if (r == 0 && (uint64_t)st.st_size < f->size)
		forget_place(o, f); /* emptied, as logrotate's copytruncate does */
	if (r == 0)
		f->size = (uint64_t)st.st_size;
	return 0;
}

/* --- adding --------------------------------------------------------------- */

/* All that the last run wrote has been gone through. */
static void rerun_over(struct file_output *o, struct logfile *f)
{
	if (!f->rerun_here) {
		/* What is noted is about files that have been moved away. */
		if (f->rerun.fd >= 0 && f->epoch == o->epoch)
			resume_note_end(o->resume, f->path, f->rerun_inode, f->count);
		f->epoch = 0;
	}
	f->resumed = false;
	rerun_end(&f->rerun);
}

static int look_up(struct file_output *o, struct logfile *f, struct str line, struct placing *out,
	struct error *e)
{
	int r;

	if (f->count < f->skip_to) {
		out->passed = true;
		return 0;
	}
	if ((r = rerun_find(&f->rerun, line, &out->found, e)) < 0)
		return error_wrap(e, r, "%s", f->path);
	out->passed = out->found.whole;
	out->over = !out->passed;
	/* Half a line in a file that has been moved away stays there, and is written whole here. */
	if (!f->rerun_here) {
		out->found.done = 0;
		out->found.line_open = false;
		if (out->over)
			rerun_over(o, f);
	}
	return 0;
}

void logfile_note(struct file_output *o, struct logfile *f)
{
	struct resume_file now = {.base = f->count,
		.skip_to = f->skip_to > f->count ? f->skip_to : f->count,
		.placed = f->rerun.fd >= 0,
		.inode = f->rerun_inode,
		.from = f->rerun.at};

	if (f->resumed)
		resume_note_rest(o->resume, f->path, &now);
	else
		resume_note_begin(o->resume, f->path, f->inode, f->size, f->count);
	f->epoch = o->epoch;
}

int logfile_ready(struct file_output *o, struct logfile *f, struct str line, struct placing *out,
	struct error *e)
{
	int r = 0;

	*out = (struct placing){.f = f};
	f->pinned = o->record;
	if (f->fd < 0)
		r = logfile_open(o, f, e);
	else if (f->burst != o->burst && o->s->watch && f->pending.n == 0)
		r = look_again(o, f, e);
	if (r < 0)
		return r;
	f->burst = o->burst;
	if (f->resumed && (r = look_up(o, f, line, out, e)) < 0)
		return r;
	/* A file is not rotated while lines of the last run are looked for in it. */
	if ((!f->resumed || (out->over && !out->found.done)) && rotate_now(o, f, line.n)) {
		if (f->resumed)
			rerun_over(o, f);
		out->found = (struct rerun_found){0};
		if ((r = logfile_flush(o, f, e)) < 0 || (r = logfile_rotate(o, f, e)) < 0)
			return r;
	}
	if (f->epoch != o->epoch)
		logfile_note(o, f);
	/* The most recently used stands last. */
	list_remove(&f->open);
	list_append(&o->open, &f->open);
	return 0;
}

void logfile_put(struct file_output *o, const struct placing *p, struct str line)
{
	struct logfile *f = p->f;
	size_t before = f->pending.n;

	f->count++;
	if (p->found.whole)
		f->rerun.at = p->found.next;
	if (f->resumed && (p->over || (f->count >= f->skip_to && f->rerun.at >= f->rerun.end)))
		rerun_over(o, f);
	if (p->passed)
		return;
	assert(f->fd >= 0);
	if (p->found.line_open)
		buf_char(&f->pending, '\n');
	buf_str(&f->pending, str_sub(line, p->found.done, line.n));
	o->pending += f->pending.n - before;
	if (before == 0)
		list_append(&o->busy, &f->busy);
}

/* --- writing -------------------------------------------------------------- */

int logfile_flush(struct file_output *o, struct logfile *f, struct error *e)
{
	size_t done = 0;
	int r, number = 0;

	if (f->pending.n == 0)
		return 0;
	/* The journal is always ahead of the file. */
	if ((r = resume_write(o->resume, logfile_durable(o), e)) < 0)
		return r;
	while (done < f->pending.n && !number) {
		ssize_t n = write(f->fd, f->pending.p + done, f->pending.n - done);
		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			number = n == 0 ? EIO : errno;
	}
	if (done && list_empty(&f->dirty))
		list_append(&o->dirty, &f->dirty);
	f->size += done;
	o->pending -= done;
	buf_shift(&f->pending, done);
	if (number)
		return say(o, f, number, "write", e);
	list_remove(&f->busy);
	/* What a burst needed is not kept for each of many files. */
	if (f->pending.cap > PENDING_KEEP && o->n_open > 1)
		buf_fini(&f->pending);
	return 0;
}

int file_output_flush(struct file_output *o, struct error *e)
{
	int first = resume_write(o->resume, logfile_durable(o), e), r;

	if (first < 0)
		return first;
	LIST_EACH (at, &o->busy) {
		/* One file that cannot be written holds up the others no longer than this. */
		r = logfile_flush(o, CONTAINER(at, struct logfile, busy), first < 0 ? NULL : e);
		if (first == 0)
			first = r;
	}
	return first;
}

int logfile_fsync(struct file_output *o, struct logfile *f, struct error *e)
{
	int r;

	if (list_empty(&f->dirty))
		return 0;
	do
		r = fdatasync(f->fd);
	while (r < 0 && errno == EINTR);
	/* The kernel may answer 0 the next time although bytes are lost: it was told. */
	if (r < 0)
		return say(o, f, errno, "sync", e);
	list_remove(&f->dirty);
	return 0;
}

int file_output_fsync(struct file_output *o, struct error *e)
{
	int r;

	LIST_EACH (at, &o->dirty) {
		if ((r = logfile_fsync(o, CONTAINER(at, struct logfile, dirty), e)) < 0)
			return r;
	}
	return 0;
}
