/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A path that is followed, and the files that were born at it one after the
 * other while rotation renamed them: `app.log`, `app.log.1`, `app.log-20260821`.
 *
 * A lineage remembers the newest birth among the files of its names.  What is
 * born later came after the last look, and if it is older than what the path
 * holds now it was the path's file for a while, unseen.
 *
 * Looking reads one folder and changes nothing but what lineage_saw says.
 * One thread.
 */
#include <sys/types.h>

#include "base/list.h"
#include "base/map.h"
#include "input/packed.h"

enum { LINEAGE_TIES = 16 };

struct look_file;

struct lineage {
	struct list node;
	char *path;
	char *target;         /* where the path leads when it is a symbolic link, else NULL */
	uint64_t target_hash; /* of the target, also when it is not known now; 0: no link */
	int64_t seen_s;       /* when it was last followed */
	/* The newest birth (or change, where the file system knows no births) of all files seen,
	 * and whose it is: clocks of file systems tick a few milliseconds apart. */
	bool looked;
	int64_t newest_ns;
	uint64_t inodes[LINEAGE_TIES];
	size_t n_inodes;
	/* Of compressed files of its names: the newest birth that was seen, and up to when it is
	 * known what each of them held (rotated.c). */
	int64_t packed_ns, accounted_s;
	void *owner;           /* the input that follows it, or NULL: it is kept alone */
	struct list tails;     /* of tails.c: by generation, oldest first */
	uint64_t scan;         /* number of the scan that followed it last */
	int64_t deferred_mono; /* since when its new file is left to the next look, or 0 */
	/* Of the scan under way: only patterns match it that were never followed before. */
	bool fresh;
	/* Of the look under way. */
	uint64_t reading, digest, before; /* its files in this reading and in the one before */
	struct look_file *current;        /* what is at the path; NULL: no regular file */
	bool unsteady;                    /* it is being rotated just now */
	int64_t packed_floor_ns;          /* the oldest compressed one of it not done with */
	bool unread;                      /* a file of it cannot be opened */
};

struct lineage *lineage_new(const char *path);
void lineage_free(struct lineage *l); /* also takes it off its list */
/* Was a file with this inode and birth made after the last look? */
bool lineage_is_new(const struct lineage *l, uint64_t ino, int64_t birth_ns);
/* Whatever is no younger than this is known from now on.  True when that is news. */
bool lineage_saw(struct lineage *l, uint64_t ino, int64_t birth_ns);
/* The next place behind `from` where a name may have been continued by rotation: `.` or `-`, then
 * a number, a date, `old` or `prev`, to the end.  0: no more.  Anything else is not taken for a
 * rotated name, as `mail.err` is not of `mail`. */
size_t lineage_cut(struct str name, size_t from);

/* A file with the name of a lineage. */
struct look_file {
	struct lineage *of;
	char *path;
	dev_t dev;
	uint64_t ino;
	int64_t birth_ns, changed_ns; /* birth_ns 0: the file system does not tell */
	bool current;                 /* at the path itself */
	int fd;                       /* open when it is to be taken up, else -1 */
	uint64_t number;              /* the digits of its suffix */
};

/* A compressed file whose name without that suffix is one of a lineage. */
struct look_packed {
	struct lineage *of;
	char *path;
	size_t stem; /* bytes of the path before the suffix */
	enum packing packing;
	dev_t dev;
	uint64_t ino;
	int64_t birth_ns, changed_ns;
};

struct look {
	const struct map *lineages; /* path -> struct lineage */
	const struct map *targets;  /* the same of those that are links, by where they lead */
	uint64_t scan;              /* those with this number are followed */
	/* Is the file open already, or (kept) known from before? */
	bool (*known)(void *arg, dev_t dev, uint64_t ino, bool kept);
	void *arg;
	struct look_file *files; /* in the order in which they are to be taken up */
	size_t n, cap;
	struct look_packed *packed;
	size_t n_packed, cap_packed;
	uint64_t reading;      /* never the same twice: goes on from one look to the next */
	bool unsteady, unread; /* of any lineage */
};

/* Look at the folder `prefix` names: up to its last slash, or empty.  False when it cannot be read.
 * Files of a lineage that did not stand still long enough to be sure are not open: look again. */
bool look_at(struct look *k, struct str prefix);
/* All that was seen is known from now on; but a lineage that did not stand still, or with a file
 * that could not be opened, stays where it is.  True when there is news. */
bool look_learn(const struct look *k);
void look_fini(struct look *k);
/* Birth, or last change. */
int64_t look_stamp(const struct look_file *f);
