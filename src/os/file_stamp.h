/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What tells one state of a file from another: whether to read it again.
 * Pure but for file_stamp_read; any thread.
 */
#include <stdbool.h>
#include <sys/stat.h>

struct file_stamp {
	bool there;
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified, changed;
};

struct file_stamp file_stamp_of(const struct stat *st);
/* By stat(2), which follows links; one that cannot be looked at is not there. */
struct file_stamp file_stamp_read(const char *path);
bool file_stamp_same(const struct file_stamp *a, const struct file_stamp *b);
