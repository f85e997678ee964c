/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What stands behind a `struct fs`: the system's disk (fs.c) or the fake one
 * (fake.c).  Inside os/ only.
 *
 * Every operation returns 0 or a positive errno value; fs.c turns it into a
 * code and a sentence that names the path, so both disks speak alike.
 * Thread rule: that of os/fs.h.
 */
#include "os/fs.h"

struct fs_ops {
	int (*open)(struct fs *fs, const char *path, int mode, struct file **out);
	/* As open with FILE_CREATE, and locked: EWOULDBLOCK when somebody else has it. */
	int (*lock)(struct fs *fs, const char *path, struct file **out);
	void (*close)(struct file *f);
	/* *got is less than n only at the end of the file. */
	int (*read)(struct file *f, uint64_t offset, void *p, size_t n, size_t *got);
	int (*write)(struct file *f, uint64_t offset, const struct iovec *iov, int n);
	int (*sync)(struct file *f);
	int (*allocate)(struct file *f, uint64_t size);
	int (*truncate)(struct file *f, uint64_t size);
	int (*file_stat)(struct file *f, struct file_stat *out);

	int (*stat)(struct fs *fs, const char *path, struct file_stat *out);
	int (*rename)(struct fs *fs, const char *from, const char *to);
	int (*unlink)(struct fs *fs, const char *path); /* a file or an empty directory */
	int (*mkdir)(struct fs *fs, const char *path);  /* one level; EEXIST, ENOENT */
	int (*sync_dir)(struct fs *fs, const char *dir);
	/* Appended in any order, each terminated, without "." and "..". */
	int (*list)(struct fs *fs, const char *dir, struct buf *out, size_t *n_out);
	int (*space)(struct fs *fs, const char *dir, uint64_t *free_bytes, uint64_t *total_bytes);
};

/* Embedded first in what an implementation keeps. */
struct fs {
	const struct fs_ops *ops;
};

struct file {
	struct fs *fs;
	char *path; /* for sentences; set by fs.c after open, freed by it after close */
};
