/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The inside of the `file` input, for the files of this folder alone: file.c
 * (life, reading, saving, polling), tails.c (the files that are followed) and
 * folders.c (which files there are: globs, watches, rotation).
 *
 * A struct file_input is made by start and freed when its stop is done, both
 * in file.c; it owns all it holds but `s` and what env_copy points to.  A tail
 * is in `tails` from tails_begin until tails_drop, which frees it; the other
 * lists and maps borrow it.
 * Loop's thread only.  What libuv's pool writes is a copy (struct save).
 */
#include "base/map.h"
#include "input/book.h"
#include "input/courier.h"
#include "input/settings.h"
#include "input/tail.h"

enum {
	KEPT_MAX = 10000, /* positions of files that are not there: the oldest go */
	PATTERNS_MAX = 10000,
	PACKED_WAIT_S = 600, /* a compressed file without content is given up after */
};

/* A path or glob of the settings, without braces. */
struct pattern {
	char *text;
	const char *whole; /* as it is in the settings */
	bool is_new;       /* never followed before this input's first scan */
};

struct file_input {
	struct list in_book;
	struct book *book;
	const struct file_settings *s;
	const struct input_env *env; /* env_copy: what it points to is borrowed */
	struct input_env env_copy;
	struct courier *courier;
	struct pattern *patterns;
	size_t n_patterns, cap_patterns;
	const struct pattern *following; /* whose matches are being followed */
	struct list tails, ready, watches, gaps;
	struct map watched;     /* folder -> struct watch */
	struct map targets;     /* where links lead -> struct lineage, of the last scan */
	struct map looked;      /* folder -> when it had last changed at the last look */
	struct lineage **found; /* what the globs match in this scan */
	size_t n_found, cap_found;
	struct map by_path, by_source; /* -> struct tail */
	struct map packs;              /* families of which compressed files were seen */
	struct map complained;         /* paths that could not be opened, or are another's */
	struct tail *unpacking;        /* the one compressed file that is being read */
	struct tail_io io;
	struct shape *shape;
	struct line_reader lines;
	uint64_t reserved, reserve;
	size_t n_tails;
	uint64_t n_builder_sources;
	struct timer poll, pump, scan_timer;
	bool scan_due, pump_due;
	unsigned n_polls;
	uint64_t n_scans, scan, reading; /* scan: the number of the last one, in the book */
	uint64_t first_scan; /* since an input, maybe another one, let go of its files */
	uint64_t released;   /* book->n_released as seen by the last scan */
	int64_t scan_took_ns, scanned_mono, lag;
	bool truncated; /* a generation was found to be gone: its gap may be due */
	bool ended, stopping, said_unwatched;
	loop_fn *stopped;
	void *stopped_arg;
};

/* file.c: what is to be done soon, once however often it is asked for. */
void file_pump_soon(struct file_input *in);
void file_scan_soon(struct file_input *in);
/* All that `in` had is in the book now: the end of its stop. */
void file_left(struct file_input *in);

/* tails.c: find one in by_path or by_source; NULL: not there. */
struct tail *tails_find(const struct map *m, struct str key);
struct tail *tails_find_inode(const struct book *b, uint64_t dev, uint64_t ino);
/* The queue of files to read.  One that is not known yet, or waits for another, stays out of it. */
void tails_ready(struct file_input *in, struct tail *t);
void tails_unready(struct tail *t);
/* The next younger one of the same path, or NULL. */
struct tail *tails_behind(const struct tail *t);
/* t is read to its end, or will not be: the turn is the next one's. */
void tails_let_next(struct file_input *in, struct tail *t);
/* Opened for reading, or -1; why not is logged once per path. */
int tails_open(struct file_input *in, const char *path);
/* Is it where it was last seen? */
bool tails_still_at(const struct tail *t);
/* A kept position that is this file's, or NULL; its identity is then as of now. */
struct position *tails_kept(
	const struct book *b, int fd, const struct identity *id, const char *path, uint64_t size);
/* Take up a file: where it was left when it is known, else anew, as one that was at `origin`.
 * Takes fd.  NULL: it is followed already, or cannot be. */
struct tail *tails_begin(struct file_input *in, int fd, const char *path, const char *origin);
void tails_moved(struct file_input *in, struct tail *t, const char *path);
/* The same inode holds other bytes: they are a new source from 0 on. */
void tails_renew(struct file_input *in, struct tail *t);
/* Let go of a tail.  With `keep` its position is remembered, should the file come back. */
void tails_drop(struct file_input *in, struct tail *t, bool keep);
/* What is to be saved of it; the path is borrowed from it. */
void tails_position(const struct tail *t, struct position *out);

/* Its first path or pattern, which names an input in messages. */
const char *file_name(const struct file_input *in);

/* The stream of the file. */
int tail_label(struct file_input *in, struct tail *t, struct error *e);
/* Send what the builder holds. */
void file_send(struct file_input *in);

/* Once per path and reason. */
void tails_complain(struct file_input *in, const char *path, const char *what);
/* Take up a compressed file, whose content begins with `head`: at a kept position, or whole when
 * that is NULL.  Borrows fd. */
bool tails_begin_packed(struct file_input *in, int fd, const struct look_packed *f,
	struct position *at, struct str head);
/* Its next one's turn to be unpacked: one at a time. */
void tails_unpack_next(struct file_input *in);

/* rotated.c: take up compressed files that a look has found.  True: look again. */
bool rotated_take(struct file_input *in, struct look *k, int64_t began_s);

/* Are there compressed files of the family of `path`? */
bool rotated_packs(const struct file_input *in, const char *path);

/* gaps.c: the rest of a compressed file cannot be read; tell so in its stream. */
void gaps_damaged(struct file_input *in, struct tail *t, const char *why);
/* gaps.c: the inode of t holds other bytes now; what it was is kept as gone, and told as lost as
 * far as it was not read. */
void gaps_truncated(struct file_input *in, const struct tail *t);
/* Tell what is gone and was not told yet. */
void gaps_due(struct file_input *in);
bool gaps_under_way(const struct file_input *in, struct str source);
void gaps_acked(struct file_input *in, struct str source, uint64_t to);
void gaps_fini(struct file_input *in);

/* folders.c: is the path followed by this input, as of its last scan? */
bool folders_follow(const struct file_input *in, const char *path);
/* folders.c: make patterns of the settings' paths.  ERR_LIMIT when there are too many. */
int folders_patterns(struct file_input *in, struct error *e);
/* folders.c: see which files there are now, and watch their folders.  arg: struct file_input. */
void folders_scan(void *arg);
/* Close all watches. */
void folders_unwatch(struct file_input *in);
