/* SPDX-License-Identifier: Apache-2.0 */
#include "os/file_stamp.h"

struct file_stamp file_stamp_of(const struct stat *st)
{
	return (struct file_stamp){
		true, st->st_dev, st->st_ino, st->st_size, st->st_mtim, st->st_ctim};
}

struct file_stamp file_stamp_read(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? file_stamp_of(&st) : (struct file_stamp){0};
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool file_stamp_same(const struct file_stamp *a, const struct file_stamp *b)
{
	if (!a->there || !b->there)
		return a->there == b->there;
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       same_time(a->modified, b->modified) && same_time(a->changed, b->changed);
}
