/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The inside of tools.h, for verify.c, repair.c and stats.c.
 * One thread at a time.
 */
#include "store/parts/part_set.h"
#include "store/tools.h"

/* Where sentences go. */
struct tools_tell {
	void (*tell)(void *ctx, const char *sentence);
	void *ctx;
};

void tools_say(const struct tools_tell *t, const char *fmt, ...) PRINTF(2, 3);
/* "dir/name" in a buffer that is emptied first; the string is valid until its next change. */
const char *tools_path(struct buf *out, const char *dir, const char *name);
/* Names of a folder's entries, each terminated; a folder that is not there has none. */
int tools_list(struct fs *fs, const char *dir, struct buf *out, size_t *n, struct error *e);

/* Part files of a store, sorted by name, each as a part that can be read. */
struct tools_parts {
	struct account account;
	struct footer_cache cache;
	struct part **parts;
	size_t n;
};

int tools_parts_open(struct tools_parts *p, struct fs *fs, const char *dir, struct error *e);
void tools_parts_close(struct tools_parts *p);

/* What is wrong with a part. */
struct part_check {
	bool gone;     /* no such file any more */
	bool unusable; /* no footer can be read */
	bool copies;   /* one of the things that are there twice */
	uint64_t blocks, rows, bytes;
	uint64_t damaged_blocks, lost_rows;
};

/* Read all of a part and tell what is wrong. */
void tools_check_part(struct part *p, const struct tools_tell *t, struct part_check *out);
