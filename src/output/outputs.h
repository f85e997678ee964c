/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The outputs of a process: each a thread that reads its cursor, runs its match
 * over what was committed, and hands that to its kind.
 *
 * Where an output is lies in <dir>/<name>/cursor, written after `sync`: a crash
 * repeats at most what came after that, unless the kind knows better.
 * A cursor that retention has overtaken goes on with the oldest record there
 * is; what it missed is counted and told.
 * Thread rule: all calls from the main loop's thread, but for outputs_list, outputs_control,
 * outputs_metrics, outputs_add and outputs_remove, which any thread may call; the last two not
 * beside outputs_stop.
 */
#include "output/output.h"
#include "store/store.h"

struct outputs;

struct outputs_env {
	struct store *store;
	struct fs *fs;
	struct clock *clock;
	struct account *account;
	const char *dir;  /* <data>/outputs */
	const char *host; /* all borrowed */
};

struct outputs *outputs_new(const struct outputs_env *env);
/* Rules between outputs: two of one name.  ERR_ARG naming both lines. */
int outputs_check(const struct kinds *kinds, struct error *e);
/* Make the folders that outputs_apply needs, so that it has nothing left to fail: for a reload that
 * changes everything or nothing. */
int outputs_prepare(struct outputs *o, const struct kinds *kinds, struct error *e);
/* What shall run. */
struct outputs_wanted {
	const struct kinds *kinds;
	/* What the settings live in: a reference is taken for each output that is started. */
	void *memory;
	void (*ref)(void *memory);
	void (*unref)(void *memory);
};

/* Make what runs agree with `w`: one whose kind and settings are the same runs on and reopens;
 * what changed or is no longer wanted syncs and ends, what is new starts.  One that does not come
 * to rest within a few seconds is left to end by itself, and its successor waits for it.
 * ERR_IO when a folder cannot be made: then nothing changed. */
int outputs_apply(struct outputs *o, const struct outputs_wanted *w, struct error *e);
/* What an output that was added has to tell, for whom its records are of: on its thread, which
 * holds no lock meanwhile. */
struct output_note {
	enum output_note_kind {
		OUTPUT_FAILED,  /* each time; wait_ns: until it is tried again */
		OUTPUT_WORKS,   /* again */
		OUTPUT_MISSED,  /* n records that retention took before they were delivered */
		OUTPUT_REFUSED, /* n records that were passed by */
	} what;
	const char *output;
	const char *sentence; /* why; "" */
	uint64_t n;
	int64_t wait_ns;
};

/* An output that is not of the configuration: outputs_apply leaves it alone. */
struct outputs_added {
	const struct kind_entry *entry; /* borrowed, with its settings, until unref(memory) */
	void *memory;
	void (*unref)(void *memory); /* any thread */
	uint64_t after_seq;          /* behind this it begins, when it has no place yet */
	void (*told)(void *arg, const struct output_note *n); /* may be NULL */
	void *arg;
};

/* Any thread.  ERR_EXISTS: there is one of that name; ERR_IO: no folder.  After an error `memory`
 * stays with the caller. */
int outputs_add(struct outputs *o, const struct outputs_added *a, struct error *e);
/* Sync and end one that was added; `forget`: its place too.  Waits for a few seconds at most.
 * False: there is none.  Any thread. */
bool outputs_remove(struct outputs *o, struct str name, bool forget);
/* Names that begin so are of those that are added. */
#define OUTPUT_ADDED_PREFIX "drain-"
/* Let each deliver what is committed by now, for at most `ms`, sync, and end.  One that hangs in a
 * write even then is left behind: the process is about to end, and its place is what was synced. */
void outputs_stop(struct outputs *o, unsigned ms);
void outputs_free(struct outputs *o); /* after outputs_stop */

/* What `sawlog output list` shows. */
struct output_status {
	const char *name, *kind;
	enum { OUTPUT_RUNS, OUTPUT_PAUSED, OUTPUT_FAILS } state;
	uint64_t seq, behind; /* cursor, and records committed behind it */
	int64_t behind_ns;    /* age of the oldest of them, 0 for none */
	/* Records since it was first started; skipped: what could never be delivered. */
	uint64_t delivered, skipped;
	uint64_t missed;   /* that retention took before they were delivered */
	const char *error; /* why it fails, "" */
	int64_t retry_ns;  /* when it tries again */
};

/* each() for every one, under a lock: copy. */
void outputs_list(
	struct outputs *o, void (*each)(void *arg, const struct output_status *s), void *arg);

enum output_action { OUTPUT_PAUSE, OUTPUT_RESUME, OUTPUT_REWIND, OUTPUT_REOPEN };

/* Pause outlasts restarts.  Rewind goes to the first record at or behind `to`, or to its end.
 * ERR_NOT_FOUND with the names there are. */
struct output_rewind {
	enum { REWIND_BEGIN, REWIND_NOW, REWIND_TIME, REWIND_SEQ } to;
	int64_t time_ns;
	uint64_t seq;
};

int outputs_control(struct outputs *o, struct str name, enum output_action action,
	const struct output_rewind *to, struct error *e);
/* Set the metrics of base/metrics.def that are told by output. */
void outputs_metrics(struct outputs *o);
void outputs_dump(struct outputs *o, struct buf *out);
