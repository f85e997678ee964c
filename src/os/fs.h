/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The disk: every file and directory call of the store goes through a
 * `struct fs`, so that tests can put a fake in its place (os/fake.h).
 *
 * Paths are relative to the root the fs was made for, or absolute for
 * fs_real.  Sentences name the path; codes are those of error_errno.
 * Thread rule: an fs is shared by all threads; one file handle may be read
 * (file_read) by many threads at once and written by one.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/error.h"

struct fs;
struct file;

enum file_mode {
	FILE_READ = 0,
	FILE_WRITE = 1,     /* read and write */
	FILE_CREATE = 2,    /* with FILE_WRITE: make it when absent */
	FILE_EXCLUSIVE = 4, /* with FILE_CREATE: ERR_EXISTS when present */
	FILE_PRIVATE = 8    /* with FILE_CREATE: nobody but the owner may read it */
};

enum file_kind { FILE_REGULAR, FILE_DIRECTORY, FILE_OTHER };

struct file_stat {
	enum file_kind kind;
	uint64_t size;
	uint64_t device, inode; /* the identity of a file while somebody has it open */
	uint64_t n_links;       /* 0: unlinked, and alive only through open handles */
	int64_t modified_ns;
};

struct fs *fs_real(void); /* the system's own; never freed */

int fs_open(struct fs *fs, const char *path, int mode, struct file **out, struct error *e);
void file_close(struct file *f); /* NULL is fine; errors were seen by file_sync */
/* Read exactly n bytes at `offset`: ERR_CORRUPT when the file ends before. */
int file_read(struct file *f, uint64_t offset, void *p, size_t n, struct error *e);
/* Read up to n bytes; *got is less than n only at the end of the file. */
int file_read_some(
	struct file *f, uint64_t offset, void *p, size_t n, size_t *got, struct error *e);
/* Write all of it (short writes and EINTR are handled here). */
int file_write(struct file *f, uint64_t offset, const struct iovec *iov, int n, struct error *e);
/* fdatasync.  After an error the state of the file is unknown: never retry as proof. */
int file_sync(struct file *f, struct error *e);
/* Reserve disk space and set the size to at least `size`, reading as zeros. */
int file_allocate(struct file *f, uint64_t size, struct error *e);
int file_truncate(struct file *f, uint64_t size, struct error *e);
int file_size(struct file *f, uint64_t *out, struct error *e);
int file_stat(struct file *f, struct file_stat *out, struct error *e);

/* Follows symbolic links. */
int fs_stat(struct fs *fs, const char *path, struct file_stat *out, struct error *e);

int fs_rename(struct fs *fs, const char *from, const char *to, struct error *e);
int fs_unlink(struct fs *fs, const char *path, struct error *e); /* or an empty directory */
/* Parents too; existing is fine.  What it makes is durable when it returns. */
int fs_mkdir(struct fs *fs, const char *path, struct error *e);
/* Make the entries of `dir` durable: after create, rename and unlink. */
int fs_sync_dir(struct fs *fs, const char *dir, struct error *e);
/* Names (not paths) of the entries of `dir`, sorted, each terminated, appended to `out`;
 * *n_out counts them. */
int fs_list(struct fs *fs, const char *dir, struct buf *out, size_t *n_out, struct error *e);
/* Bytes that an unprivileged process may still write there, and the size of the disk. */
int fs_space(struct fs *fs, const char *dir, uint64_t *free_bytes, uint64_t *total_bytes,
	struct error *e);
/* Take an exclusive advisory lock on `path` (created when absent), held until file_close or
 * the end of the process: ERR_BUSY when another process holds it. */
int fs_lock(struct fs *fs, const char *path, struct file **out, struct error *e);
/* Whole small file: appended to out; ERR_LIMIT beyond `limit` bytes. */
int fs_read_all(struct fs *fs, const char *path, size_t limit, struct buf *out, struct error *e);
/* Replace `path` atomically and durably: "<path>.tmp", sync, rename, sync of the directory.
 * After an error the old or the new content is there, whole.  One writer a path. */
int fs_write_all(struct fs *fs, const char *path, struct str content, struct error *e);
/* The same for secrets: nobody but the owner may read the file. */
int fs_write_private(struct fs *fs, const char *path, struct str content, struct error *e);
/* What cannot be read stays for people, as "<path>.damaged", which is appended to `to`. */
int fs_put_aside(struct fs *fs, const char *path, struct buf *to, struct error *e);
