/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The file output from inside: its settings, the files it writes, and what
 * file.c, file_write.c and file_rotate.c have of each other.
 *
 * Thread rule: the output's, but for `reopen`.
 */
#include <stdatomic.h>

#include "base/list.h"
#include "base/map.h"
#include "output/file_path.h"
#include "output/file_resume.h"
#include "output/line_format.h"

enum rotate_every {
	EVERY_NONE,
	EVERY_HOUR,
	EVERY_DAY,
	EVERY_MIDNIGHT,
	EVERY_MONDAY, /* and the other days of the week, up to EVERY_SUNDAY */
	EVERY_SUNDAY = EVERY_MONDAY + 6,
};
enum compression { COMPRESS_NONE, COMPRESS_GZIP, COMPRESS_ZSTD };
enum fsync_policy { FSYNC_SYNC, FSYNC_INTERVAL, FSYNC_NEVER };

struct rotate_settings {
	uint64_t size; /* 0: not by size */
	int every;     /* enum rotate_every */
	const char *at;
	int64_t keep;
	int compress; /* enum compression */
};

struct file_output_settings {
	struct output_settings common;
	struct line_settings line;
	const char *path, *root, *hierarchy, *separator, *consolidate;
	struct rotate_settings rotate;
	bool watch;
	const char *mode, *dir_mode;
	int fsync; /* enum fsync_policy */
	int64_t max_open, max_files;
};

/* A path that is written. */
struct logfile {
	struct list open;  /* in file_output.open, when fd >= 0; least recently used first */
	struct list busy;  /* in file_output.busy: has pending bytes */
	struct list dirty; /* in file_output.dirty: written since its last fsync */
	struct list work;  /* in file_output.work: has files to compress */
	char *path;        /* below the root */
	int fd;            /* -1: closed */
	uint64_t device, inode;
	uint64_t size;   /* without what is pending */
	uint64_t count;  /* lines given to it, see file_resume.c */
	uint64_t burst;  /* when it was last looked at */
	uint64_t epoch;  /* when its place was last noted; 0: not this file's */
	uint64_t pinned; /* the record that is about to be added to it */
	int64_t due_ns;  /* rotation by time; 0: none */
	struct buf pending;
	bool opened_before;
	bool resumed; /* lines of the last run are still expected */
	bool rerun_here;
	uint64_t skip_to, rerun_inode;
	struct rerun rerun;
};

/* One file that is being compressed. */
struct packing {
	struct logfile *f; /* NULL: none */
	unsigned generation;
	int dir, from, to;
	uint64_t at;
};

struct file_output {
	const struct file_output_settings *s;
	struct output_env env;
	unsigned mode;
	struct folder_modes folders;
	struct path_template *path;
	const char *root; /* of path */
	struct line_format *line;
	struct resume *resume;
	struct map files;     /* path -> struct logfile */
	struct logfile *only; /* when all records go there; NULL: not known yet */
	struct list open, busy, dirty, work;
	size_t n_open;
	uint64_t pending; /* bytes */
	uint64_t burst, epoch, record;
	int64_t synced_ns; /* monotonic */
	struct packing packing;
	uint64_t rotations;
	bool within; /* what stages made of one record was taken in part */
	struct buf text, name, packed;
	/* Any thread. */
	atomic_bool reopen;
};

/* What adding a line to a file will do. */
struct placing {
	struct logfile *f;
	struct rerun_found found;
	bool passed; /* it is there already, or its file has been rotated away */
	bool over;   /* nothing else of the last run is to be expected */
};

/* file_write.c */
/* The file of this path; ERR_LIMIT when there are max_files others. */
int logfile_of(struct file_output *o, struct str path, struct logfile **out, struct error *e);
void logfile_free(struct file_output *o, struct logfile *f);
/* Open, moved, rotated, noted as need be: after this logfile_put cannot fail. */
int logfile_ready(struct file_output *o, struct logfile *f, struct str line, struct placing *out,
	struct error *e);
void logfile_put(struct file_output *o, const struct placing *p, struct str line);
/* Note in the journal where it stands; once an epoch, and when that has changed. */
void logfile_note(struct file_output *o, struct logfile *f);
int logfile_open(struct file_output *o, struct logfile *f, struct error *e);
void logfile_close(struct file_output *o, struct logfile *f);
/* Write what is pending, after the journal.  What could not be written stays pending. */
int file_output_flush(struct file_output *o, struct error *e);
int logfile_flush(struct file_output *o, struct logfile *f, struct error *e);
int file_output_fsync(struct file_output *o, struct error *e);
int logfile_fsync(struct file_output *o, struct logfile *f, struct error *e);
bool logfile_durable(const struct file_output *o);

/* file_rotate.c */
int rotate_check(const struct rotate_settings *s, struct error *e);
bool rotate_wanted(const struct rotate_settings *s);
/* The first time behind after_ns at which a file is to be rotated; 0: never. */
int64_t rotate_due(const struct rotate_settings *s, bool utc, int64_t after_ns);
/* Is a line of n bytes to go to a new file? */
bool rotate_now(const struct file_output *o, const struct logfile *f, size_t n);
/* Nothing is pending.  Leaves a new file open. */
int logfile_rotate(struct file_output *o, struct logfile *f, struct error *e);
/* A file was opened for the first time: see to what an earlier run left behind. */
void rotate_found(struct file_output *o, struct logfile *f);
/* Compress a little. */
void rotate_work(struct file_output *o);
void rotate_stop(struct file_output *o);
