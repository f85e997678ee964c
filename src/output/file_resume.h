/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a file output must know after a crash, so that no line is written twice
 * and none is missing: where each file stood when the output's place in the log
 * was last kept, and how to tell, line by line, what had been written since.
 *
 * Thread rule: the output's.
 */
#include "base/map.h"
#include "output/output.h"

/* What was under way for one file when the last run ended. */
struct resume_file {
	uint64_t base;    /* lines that it had been given at the kept place */
	uint64_t skip_to; /* up to this count lines are in files that have been rotated away */
	/* Those after begin at `from` of this file. */
	bool placed;
	uint64_t inode, from;
	/* Rotation had begun, or somebody had moved the file: then these hold, unless the file
	 * under the path is still `inode`. */
	bool ended;
	uint64_t ended_count;
};

struct resume;

/* Read the journal in `dir` from the mark in `state` on; an empty state is its beginning. */
int resume_open(
	struct resume **out, struct fs *fs, const char *dir, struct str state, struct error *e);
void resume_close(struct resume *r); /* NULL is fine */
/* What is known of the path; false when nothing.  It is forgotten here: the caller goes on. */
bool resume_take(struct resume *r, const char *path, struct resume_file *out);
void resume_give(struct resume *r, const char *path, const struct resume_file *f);
/* Walk what was not taken.  No change while walking. */
const char *resume_next(struct resume *r, size_t *at, const struct resume_file **out);

/* To be on disk, by resume_write, before the file is changed. */
/* The file under the path, from which on what follows is written.  count: lines before. */
void resume_note_begin(
	struct resume *r, const char *path, uint64_t inode, uint64_t from, uint64_t count);
/* This file is about to be, or was, moved away with all its lines up to count. */
void resume_note_end(struct resume *r, const char *path, uint64_t inode, uint64_t count);
/* As it is: what was not gone through yet. */
void resume_note_rest(struct resume *r, const char *path, const struct resume_file *f);
bool resume_noted(const struct resume *r);
int resume_write(struct resume *r, bool sync, struct error *e);
/* Append the state from which all that is noted from now on counts. */
void resume_mark(struct resume *r, struct buf *state);

/* Goes along the lines that a file had got since the kept place. */
struct rerun {
	int fd; /* its own; -1: none */
	uint64_t at, end;
	char *window; /* bytes of the file from window_at on */
	uint64_t window_at;
	size_t window_n;
};

/* Takes fd. */
void rerun_begin(struct rerun *r, int fd, uint64_t from, uint64_t end);
void rerun_end(struct rerun *r);
struct rerun_found {
	bool whole; /* the line is there, up to `next` */
	uint64_t next;
	size_t done;    /* else: so many bytes of it are the end of the file */
	bool line_open; /* else: the file ends within a line that is not this one */
};
/* Look for a line (with its end) from r->at on; nothing is changed but for the window.  Not whole:
 * it is not there, nor is any after it. */
int rerun_find(struct rerun *r, struct str line, struct rerun_found *out, struct error *e);
