/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front of every disk (dispatch, sentences, what is composed of several
 * calls), and below it the system's own disk.
 *
 * Three rules of the real one.  EINTR and short transfers never reach the
 * caller.  Files are closed on exec.  A failed fdatasync is reported once and
 * not tried again: the kernel may have dropped the dirty pages and would
 * answer 0 the second time.
 */
#include "os/fs.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/memory.h"
#include "os/fs_ops.h"

/* Readable by the owner's group, as log files are elsewhere; never by all. */
enum { FILE_BITS = 0640, PRIVATE_BITS = 0600, DIR_BITS = 0750 };
enum { IOV_BATCH = 64, ZERO_CHUNK = 256 << 10, READ_CHUNK = 64 << 10 };

static int say(struct error *e, int number, const char *path, const char *what)
{
	int code = error_errno(e, number, "%s: cannot %s", path, what);

	if (number == EEXIST)
		code = ERR_EXISTS;
	assert(code < 0); /* also tells gcc -O3 that no caller goes on with an unset file */
	if (e)
		e->code = code;
	return code;
}

/* --- files -------------------------------------------------------------- */

static int finish_open(struct fs *fs, const char *path, struct file *f, struct file **out)
{
	f->fs = fs;
	f->path = xstrdup(path);
	*out = f;
	return 0;
}

int fs_open(struct fs *fs, const char *path, int mode, struct file **out, struct error *e)
{
	struct file *f;
	int number;

	assert(!(mode & FILE_CREATE) || (mode & FILE_WRITE));
	assert(!(mode & FILE_EXCLUSIVE) || (mode & FILE_CREATE));
	number = fs->ops->open(fs, path, mode, &f);
	if (number)
		return say(e, number, path, mode & FILE_CREATE ? "create" : "open");
	return finish_open(fs, path, f, out);
}

int fs_lock(struct fs *fs, const char *path, struct file **out, struct error *e)
{
	struct file *f;
	int number = fs->ops->lock(fs, path, &f);

	if (number == EWOULDBLOCK)
		return error_set(e, ERR_BUSY, "%s: locked by another process", path);
	if (number)
		return say(e, number, path, "lock");
	return finish_open(fs, path, f, out);
}

void file_close(struct file *f)
{
	char *path;

	if (!f)
		return;
	path = f->path;
	f->fs->ops->close(f);
	free(path);
}

int file_read_some(struct file *f, uint64_t offset, void *p, size_t n, size_t *got, struct error *e)
{
	int number = f->fs->ops->read(f, offset, p, n, got);

	return number ? error_errno(e, number, "%s: cannot read %zu bytes at %llu", f->path, n,
				(unsigned long long)offset)
		      : 0;
}

int file_read(struct file *f, uint64_t offset, void *p, size_t n, struct error *e)
{
	size_t got;
	int r = file_read_some(f, offset, p, n, &got, e);

	if (r < 0)
		return r;
	if (got < n)
		return error_set(e, ERR_CORRUPT,
			"%s: ends at %llu, inside %zu bytes wanted at %llu", f->path,
			(unsigned long long)offset + got, n, (unsigned long long)offset);
	return 0;
}

int file_write(struct file *f, uint64_t offset, const struct iovec *iov, int n, struct error *e)
{
	int number = f->fs->ops->write(f, offset, iov, n);
	size_t total = 0;

	if (!number)
		return 0;
	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	return error_errno(e, number, "%s: cannot write %zu bytes at %llu", f->path, total,
		(unsigned long long)offset);
}

int file_sync(struct file *f, struct error *e)
{
	int number = f->fs->ops->sync(f);

	return number ? say(e, number, f->path, "sync") : 0;
}

int file_allocate(struct file *f, uint64_t size, struct error *e)
{
	int number = f->fs->ops->allocate(f, size);

	return number ? error_errno(e, number, "%s: cannot reserve %llu bytes", f->path,
				(unsigned long long)size)
		      : 0;
}

int file_truncate(struct file *f, uint64_t size, struct error *e)
{
	int number = f->fs->ops->truncate(f, size);

	return number ? error_errno(e, number, "%s: cannot set the size to %llu", f->path,
				(unsigned long long)size)
		      : 0;
}

int file_stat(struct file *f, struct file_stat *out, struct error *e)
{
	int number = f->fs->ops->file_stat(f, out);

	return number ? say(e, number, f->path, "examine") : 0;
}

int file_size(struct file *f, uint64_t *out, struct error *e)
{
	struct file_stat s;
	int r = file_stat(f, &s, e);

	if (r == 0)
		*out = s.size;
	return r;
}

/* --- directories -------------------------------------------------------- */

int fs_stat(struct fs *fs, const char *path, struct file_stat *out, struct error *e)
{
	int number = fs->ops->stat(fs, path, out);

	return number ? say(e, number, path, "examine") : 0;
}

int fs_rename(struct fs *fs, const char *from, const char *to, struct error *e)
{
	int number = fs->ops->rename(fs, from, to);

	return number ? error_errno(e, number, "%s: cannot rename to %s", from, to) : 0;
}

int fs_unlink(struct fs *fs, const char *path, struct error *e)
{
	int number = fs->ops->unlink(fs, path);

	return number ? say(e, number, path, "remove") : 0;
}

int fs_sync_dir(struct fs *fs, const char *dir, struct error *e)
{
	int number = fs->ops->sync_dir(fs, dir);

	return number ? say(e, number, dir, "sync the directory") : 0;
}

int fs_space(struct fs *fs, const char *dir, uint64_t *free_bytes, uint64_t *total_bytes,
	struct error *e)
{
	int number = fs->ops->space(fs, dir, free_bytes, total_bytes);

	return number ? say(e, number, dir, "ask for the free space") : 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sort the n terminated names that begin at `from`. */
static void sort_names(struct buf *names, size_t from, size_t n)
{
	const char **sorted = xcalloc(n, sizeof *sorted);
	struct buf copy = {0};
	size_t at = from;

	for (size_t i = 0; i < n; i++) {
		sorted[i] = names->p + at;
		at += strlen(names->p + at) + 1;
	}
	qsort(sorted, n, sizeof *sorted, by_name);
	for (size_t i = 0; i < n; i++)
		buf_put(&copy, sorted[i], strlen(sorted[i]) + 1);
	if (copy.n)
		memcpy(names->p + from, copy.p, copy.n);
	buf_fini(&copy);
	free(sorted);
}

int fs_list(struct fs *fs, const char *dir, struct buf *out, size_t *n_out, struct error *e)
{
	size_t from = out->n, n = 0;
	int number = fs->ops->list(fs, dir, out, &n);

	if (number) {
		out->n = from;
		return say(e, number, dir, "list");
	}
	sort_names(out, from, n);
	*n_out = n;
	return 0;
}

/* The directory that holds `path`, without slashes at its end; the caller frees it. */
static char *parent_of(const char *path)
{
	size_t n = strlen(path);

	while (n && path[n - 1] == '/')
		n--;
	while (n && path[n - 1] != '/')
		n--;
	if (n == 0)
		return xstrdup(".");
	while (n > 1 && path[n - 1] == '/')
		n--;
	return str_dup(str_make(path, n));
}

int fs_mkdir(struct fs *fs, const char *path, struct error *e)
{
	int number = fs->ops->mkdir(fs, path), r = 0;
	struct file_stat s;
	char *parent;

	if (number == EEXIST) {
		if ((r = fs_stat(fs, path, &s, e)) < 0)
			return r;
		return s.kind == FILE_DIRECTORY ? 0 : say(e, ENOTDIR, path, "make the directory");
	}
	parent = parent_of(path);
	/* The root and "." are their own parents: there the climb ends. */
	if (number == ENOENT && strcmp(parent, ".") != 0 && strcmp(parent, path) != 0) {
		r = fs_mkdir(fs, parent, e);
		number = r < 0 ? 0 : fs->ops->mkdir(fs, path);
		if (number == EEXIST) /* somebody else was quicker */
			number = 0;
	}
	if (r == 0 && number)
		r = say(e, number, path, "make the directory");
	if (r == 0)
		r = fs_sync_dir(fs, parent, e);
	free(parent);
	return r;
}

/* --- whole files -------------------------------------------------------- */

/* To the end rather than by size: files of /proc say 0, and a file may grow. */
static int read_to_end(struct file *f, size_t limit, struct buf *out, struct error *e)
{
	size_t from = out->n, got;
	int r;

	do {
		size_t room = limit - (out->n - from);
		/* One byte beyond the limit tells a file that is too large. */
		size_t want = room < READ_CHUNK ? room + 1 : READ_CHUNK;
		r = file_read_some(f, out->n - from, buf_reserve(out, want), want, &got, e);
		if (r < 0)
			return r;
		if (got > room)
			return error_set(e, ERR_LIMIT, "%s: larger than %zu bytes", f->path, limit);
		out->n += got;
	} while (got);
	return 0;
}

int fs_read_all(struct fs *fs, const char *path, size_t limit, struct buf *out, struct error *e)
{
	size_t from = out->n;
	struct file *f;
	int r;

	if ((r = fs_open(fs, path, FILE_READ, &f, e)) < 0)
		return r;
	r = read_to_end(f, limit, out, e);
	if (r < 0)
		out->n = from;
	file_close(f);
	return r;
}

static int write_new(struct fs *fs, const char *path, int mode, struct str content, struct error *e)
{
	struct iovec iov = {(void *)content.p, content.n};
	struct file *f;
	int r;

	if ((r = fs_open(fs, path, FILE_WRITE | FILE_CREATE | mode, &f, e)) < 0)
		return r;
	/* One left by a crash may be longer than what is written now. */
	if ((r = file_truncate(f, 0, e)) == 0 && (r = file_write(f, 0, &iov, 1, e)) == 0)
		r = file_sync(f, e);
	file_close(f);
	return r;
}

static int replace_file(
	struct fs *fs, const char *path, int mode, struct str content, struct error *e)
{
	char *parent = parent_of(path);
	struct buf name = {0};
	const char *temp;
	int r;

	buf_printf(&name, "%s.tmp", path);
	temp = buf_cstr(&name);
	r = write_new(fs, temp, mode, content, e);
	if (r == 0)
		r = fs_rename(fs, temp, path, e);
	if (r < 0)
		fs_unlink(fs, temp, NULL);
	else
		r = fs_sync_dir(fs, parent, e);
	buf_fini(&name);
	free(parent);
	return r;
}

int fs_write_all(struct fs *fs, const char *path, struct str content, struct error *e)
{
	return replace_file(fs, path, 0, content, e);
}

int fs_write_private(struct fs *fs, const char *path, struct str content, struct error *e)
{
	return replace_file(fs, path, FILE_PRIVATE, content, e);
}

int fs_put_aside(struct fs *fs, const char *path, struct buf *to, struct error *e)
{
	size_t from = to->n;

	buf_printf(to, "%s.damaged", path);
	return fs_rename(fs, path, buf_cstr(to) + from, e);
}

/* --- the system's disk -------------------------------------------------- */

struct real_file {
	struct file file;
	int fd;
};

static int fd_of(const struct file *f)
{
	return ((const struct real_file *)f)->fd;
}

static int open_fd(const char *path, int flags, mode_t bits)
{
	int fd;

	do
		fd = open(path, flags | O_CLOEXEC | O_NOCTTY, bits);
	while (fd < 0 && errno == EINTR);
	return fd;
}

static void wrap_fd(int fd, struct file **out)
{
	struct real_file *f = xcalloc(1, sizeof *f);

	f->fd = fd;
	*out = &f->file;
}

static int real_open(struct fs *fs, const char *path, int mode, struct file **out)
{
	/* Without O_NONBLOCK a FIFO found under a log path would block the opener for ever. */
	int flags = mode & FILE_WRITE ? O_RDWR : O_RDONLY | O_NONBLOCK;
	int fd;

	if (mode & FILE_CREATE)
		flags |= O_CREAT;
	if (mode & FILE_EXCLUSIVE)
		flags |= O_EXCL;
	if ((fd = open_fd(path, flags, mode & FILE_PRIVATE ? PRIVATE_BITS : FILE_BITS)) < 0)
		return errno;
	wrap_fd(fd, out);
	return 0;
}

static int real_lock(struct fs *fs, const char *path, struct file **out)
{
	int fd = open_fd(path, O_RDWR | O_CREAT, FILE_BITS), number;

	if (fd < 0)
		return errno;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		number = errno;
		if (number == EINTR)
			continue;
		close(fd);
		return number;
	}
	wrap_fd(fd, out);
	return 0;
}

static void real_close(struct file *f)
{
	/* Linux has closed it even when it says EINTR. */
	close(fd_of(f));
	free(f);
}

static int real_read(struct file *f, uint64_t offset, void *p, size_t n, size_t *got)
{
	*got = 0;
	while (*got < n) {
		ssize_t r = pread(fd_of(f), (char *)p + *got, n - *got, (off_t)(offset + *got));
		if (r == 0)
			break;
		if (r > 0)
			*got += (size_t)r;
		else if (errno != EINTR)
			return errno;
	}
	return 0;
}

/* What is left of iov after `done` bytes of its first member; at most IOV_BATCH of them. */
static int iov_rest(struct iovec *out, const struct iovec *iov, int n, size_t done)
{
	int k = 0;

	for (; k < n && k < IOV_BATCH; k++)
		out[k] = iov[k];
	if (k) {
		out[0].iov_base = done ? (char *)out[0].iov_base + done : out[0].iov_base;
		out[0].iov_len -= done;
	}
	return k;
}

static int real_write(struct file *f, uint64_t offset, const struct iovec *iov, int n)
{
	struct iovec rest[IOV_BATCH];
	size_t done = 0; /* of iov[0] */

	for (;;) {
		ssize_t r;
		for (; n && done == iov->iov_len; iov++, n--)
			done = 0;
		if (n == 0)
			return 0;
		r = pwritev(fd_of(f), rest, iov_rest(rest, iov, n, done), (off_t)offset);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? errno : EIO;
		offset += (uint64_t)r;
		for (done += (size_t)r; n && done >= iov->iov_len; iov++, n--)
			done -= iov->iov_len;
	}
}

static int real_sync(struct file *f)
{
	int r;

	do
		r = fdatasync(fd_of(f));
	while (r < 0 && errno == EINTR);
	return r < 0 ? errno : 0;
}

/* For file systems without fallocate: zeros behind the end, so that the space is
 * really taken and a later write cannot meet a full disk. */
static int fill_with_zeros(struct file *f, uint64_t from, uint64_t size)
{
	char *zeros = xcalloc(1, ZERO_CHUNK);
	int number = 0;

	while (from < size && !number) {
		struct iovec iov = {zeros, size - from < ZERO_CHUNK ? size - from : ZERO_CHUNK};
		number = real_write(f, from, &iov, 1);
		from += iov.iov_len;
	}
	free(zeros);
	return number;
}

static int real_allocate(struct file *f, uint64_t size)
{
	struct stat s;
	int r;

	if (size == 0)
		return 0;
	do
		r = fallocate(fd_of(f), 0, 0, (off_t)size);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return errno;
	return fstat(fd_of(f), &s) < 0 ? errno : fill_with_zeros(f, (uint64_t)s.st_size, size);
}

static int real_truncate(struct file *f, uint64_t size)
{
	int r;

	do
		r = ftruncate(fd_of(f), (off_t)size);
	while (r < 0 && errno == EINTR);
	return r < 0 ? errno : 0;
}

static void fill_stat(const struct stat *s, struct file_stat *out)
{
	*out = (struct file_stat){
		.kind = S_ISREG(s->st_mode)   ? FILE_REGULAR
			: S_ISDIR(s->st_mode) ? FILE_DIRECTORY
					      : FILE_OTHER,
		.size = (uint64_t)s->st_size,
		.device = s->st_dev,
		.inode = s->st_ino,
		.n_links = s->st_nlink,
		.modified_ns = s->st_mtim.tv_sec * INT64_C(1000000000) + s->st_mtim.tv_nsec,
	};
}

static int real_file_stat(struct file *f, struct file_stat *out)
{
	struct stat s;

	if (fstat(fd_of(f), &s) < 0)
		return errno;
	fill_stat(&s, out);
	return 0;
}

static int real_stat(struct fs *fs, const char *path, struct file_stat *out)
{
	struct stat s;

	if (stat(path, &s) < 0)
		return errno;
	fill_stat(&s, out);
	return 0;
}

static int real_rename(struct fs *fs, const char *from, const char *to)
{
	return rename(from, to) < 0 ? errno : 0;
}

static int real_unlink(struct fs *fs, const char *path)
{
	if (unlink(path) == 0)
		return 0;
	if (errno != EISDIR)
		return errno;
	return rmdir(path) < 0 ? errno : 0;
}

static int real_mkdir(struct fs *fs, const char *path)
{
	return mkdir(path, DIR_BITS) < 0 ? errno : 0;
}

static int real_sync_dir(struct fs *fs, const char *dir)
{
	int fd = open_fd(dir, O_RDONLY | O_DIRECTORY, 0), r, number;

	if (fd < 0)
		return errno;
	do
		r = fsync(fd);
	while (r < 0 && errno == EINTR);
	number = r < 0 ? errno : 0;
	close(fd);
	/* EINVAL: this file system keeps directories durable by itself, or cannot at all. */
	return number == EINVAL ? 0 : number;
}

static int real_list(struct fs *fs, const char *dir, struct buf *out, size_t *n_out)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	int number;

	if (!d)
		return errno;
	while (errno = 0, (entry = readdir(d))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		buf_put(out, entry->d_name, strlen(entry->d_name) + 1);
		++*n_out;
	}
	number = errno;
	closedir(d);
	return number;
}

static int real_space(struct fs *fs, const char *dir, uint64_t *free_bytes, uint64_t *total_bytes)
{
	struct statvfs s;
	int r;

	do
		r = statvfs(dir, &s);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno;
	*free_bytes = (uint64_t)s.f_bavail * s.f_frsize;
	*total_bytes = (uint64_t)s.f_blocks * s.f_frsize;
	return 0;
}

static const struct fs_ops real_ops = {
	.open = real_open,
	.lock = real_lock,
	.close = real_close,
	.read = real_read,
	.write = real_write,
	.sync = real_sync,
	.allocate = real_allocate,
	.truncate = real_truncate,
	.file_stat = real_file_stat,
	.stat = real_stat,
	.rename = real_rename,
	.unlink = real_unlink,
	.mkdir = real_mkdir,
	.sync_dir = real_sync_dir,
	.list = real_list,
	.space = real_space,
};

struct fs *fs_real(void)
{
	static struct fs real = {&real_ops};

	return &real;
}
