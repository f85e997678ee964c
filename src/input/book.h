/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The book of the `file` inputs: what all of them together know about files,
 * one a state folder.  Positions, lineages and open files are found here
 * whichever input they belong to, so that a path that moves from one input to
 * another, or an input that moves in the config, changes nothing: the next one
 * reads on where the last one was.
 *
 * A path belongs to the first input that follows it, until that one stops.
 *
 * Opening and leaving from any thread; the rest on the one loop of its inputs.
 */
#include "base/map.h"
#include "input/input.h"
#include "input/positions.h"

struct file_input;

/* A file that an input was not done with when it stopped: it may be deleted or renamed before the
 * next one starts, so it stays open. */
struct parked {
	struct list node;
	int fd;
	char *dir; /* of the book */
	char *path, *origin;
	int64_t since_mono;
};

struct book {
	/* Under the lock of all books. */
	struct list node;
	unsigned refs;
	/* Fixed once open. */
	char *dir, *path;
	struct loop *loop;
	struct clock *clock;
	/* Its loop. */
	struct positions kept; /* of files that are not open: not there, or done with */
	struct map lineages;   /* path -> struct lineage, of kept */
	struct map by_inode;   /* -> struct tail, of all inputs */
	struct list inputs;    /* struct file_input */
	struct list parked;
	uint64_t n_scans;    /* of all inputs: the number of a scan is its own */
	uint64_t n_released; /* how often an input let go of what it had */
	int64_t opened_mono;
	bool globs_unknown; /* the file is of a version that did not tell them */
	struct buf merged;  /* older files of positions that are in this one now, each terminated */
	struct timer save_timer;
	bool save_due, saving, unsaved, urgent, save_failing;
	uint64_t n_saves;
	int64_t save_took_ns, text_took_ns;
	struct list leaving; /* struct file_input: wait for the save under way */
};

/* The book of env->state_dir, read when no input has it open; *out holds one reference.
 * ERR_CORRUPT, ERR_IO. */
int book_open(struct book **out, const struct input_env *env, struct error *e);
void book_join(struct book *b, struct file_input *in);
/* Let go of all that `in` has but its reference; the last one saves the book.  file_left(in) is
 * called when that is done, maybe at once. */
void book_leave(struct book *b, struct file_input *in);
void book_unref(struct book *b); /* NULL is fine */

/* Save at once: a new file waits for its identity. */
void book_save_now(struct book *b);
/* Save when it is cheap. */
void book_save_later(struct book *b);
int64_t book_now_s(const struct book *b);
/* The lineage of a path, made when there is none. */
struct lineage *book_lineage(struct book *b, const char *path);
/* Remember a position; takes v->path.  The oldest goes when there are too many. */
struct position *book_keep(struct book *b, const struct position *v);
void book_forget_old(struct book *b);
void parked_free(struct parked *p);
