/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Inputs: where records come from.  One file and one row of inputs.def a kind.
 *
 * An input owns its sockets and files on one loop; it decodes with src/proto,
 * builds batches and puts them into its sink.  It never sees the store.
 * All callbacks run on the input's loop.
 */
#include "conf/option.h"
#include "loop/loop.h"
#include "os/clock.h"
#include "record/discover.h"
#include "record/sink.h"

struct tokens;

/* What an input gets from its surroundings.  start copies the struct; what it points to is
 * borrowed for the input's life. */
struct input_env {
	struct loop *loop;
	struct sink *sink;
	struct clock *clock;
	struct account *account; /* charge what is held between read and submit */
	struct discover discover;
	const char *state_dir; /* for positions: exists, private to this input's name */
	const char *host;      /* value of the label host */
	struct str tenant;
	struct tokens *tokens; /* of `auth`, for listeners that take tokens; NULL: no auth */
	/* Called once, on the loop, by an input that comes to its end by itself (stdin, a file
	 * input with `once`) after all it read is acknowledged; stop is still due.  May be NULL. */
	void (*ended)(void *arg);
	void *ended_arg;
	/* True when a stop is for good: nobody will take over what listens, so that what has come
	 * is taken, and not left behind.  NULL: always. */
	const bool *ending;
	/* True when an input that starts after this one's stop will listen on the address, so that
	 * the listener is left to it with its connections.  NULL: none will. */
	bool (*wanted)(void *arg, const char *address);
	void *wanted_arg;
};

struct input_type {
	const char *name;    /* "journald": its key in the config and its label `input` */
	const char *summary; /* one sentence for help and manual */
	size_t size;         /* of the settings struct, which begins with nothing of ours */
	/* All inputs of this kind of a process use one state_dir (they share what they know):
	 * env.state_dir is then "<data>/<kind>" and not "<data>/<kind>-<n>". */
	bool shared_state;
	/* What was read and is not acknowledged when it ends is read again by its next life. */
	bool rereads;
	/* The first row is the one that `--input KIND=VALUE` sets. */
	const struct option *options;
	/* Rules between settings; may be NULL. */
	int (*check)(const void *settings, struct error *e);
	/* Begin to read.  *out is the running input.  `settings` are valid until stop. */
	int (*start)(
		void **out, const void *settings, const struct input_env *env, struct error *e);
	/* Stop reading, then call stopped(arg) once all that was read is acknowledged or given
	 * up; frees the running input after. */
	void (*stop)(void *input, loop_fn *stopped, void *arg);
	void (*dump)(const void *input, struct buf *out); /* may be NULL */
	/* An exchange of inputs is over: what a stop left for a start that did not take it is
	 * closed.  May be NULL. */
	void (*settled)(struct loop *loop);
	/* Tell each address it listens on, and whether only those who prove who they are get in
	 * (certificate or token, over TLS); and what else it wants to have of its forerunner, as
	 * guarded.  NULL: it does not listen. */
	void (*listens)(const void *settings,
		void (*each)(void *arg, const char *address, bool guarded), void *arg);
	/* Does it read the standard input, which a process has but once?  NULL: never. */
	bool (*reads_stdin)(const void *settings);
};

/* By name; NULL when there is no such kind.  *missing is set to the package to build with when
 * the kind exists but was left out of this build. */
const struct input_type *input_type_find(struct str name, const char **missing);
/* All of them, NULL-terminated. */
extern const struct input_type *const input_types[];
/* Are these names of labels?  ERR_ARG.  A kind's own option `labels` is checked with its kind. */
int input_check_labels(const struct string_map *labels, struct error *e);
/* Inputs as a class of kinds, for OPT_KINDS rows. */
extern const struct kind_class input_kinds;
/* Are there journal files in `dir`, or with NULL where journald keeps them?  False in a build
 * without the journald input.  For a default config that reads the journal where there is one. */
bool journald_available(const char *dir);
