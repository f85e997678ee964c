/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The inputs of a process, and their exchange at a reload: all or nothing.
 * `serve` and `forward` have one each.
 *
 * An input is itself as long as its kind and all its settings stay: then it
 * runs on untouched, wherever it stands in the list.  Where it keeps its
 * state does not depend on its place either (inputs_apply).
 * Loop's thread only.
 */
#include "input/input.h"

/* Memory in which settings live; it goes with its last reference. */
struct generation {
	struct arena arena;
	unsigned refs;
};

struct generation *generation_new(void); /* one reference */
void generation_unref(struct generation *g);

struct inputs;

/* What shall run. */
struct inputs_wanted {
	const struct kinds *kinds;
	struct generation *generation; /* what kinds, host and tenant live in */
	/* For those that are started; state_dir, ended and ended_arg are the set's own. */
	struct input_env env;
	bool most; /* what cannot start does not keep the others from running, and is tried again */
};

/* ended(arg), which may be NULL, is called when every input came to its end by itself. */
struct inputs *inputs_new(struct loop *loop, const char *dir, loop_fn *ended, void *arg);
/* Make what runs agree with `w`: what changed or is no longer wanted is stopped once all it read is
 * acknowledged, then what is new starts.  When one cannot start, the new ones are stopped and all
 * of the old run again.  done(arg, e) is called once, later or from within; e is NULL when all is
 * well, ERR_CLOSED when inputs_stop came between.
 *
 * The state lies in <dir>/<kind>, where inputs of the kind share it or there is only one without
 * its first option, else in <dir>/<kind>-<hash of the first option>; the second one of a name
 * gets "-2".  What an older version left in <dir>/<kind>-<place> is taken over.
 * ERR_BUSY while an exchange is under way; a folder's error: then nothing changed and done is not
 * called. */
int inputs_apply(struct inputs *in, const struct inputs_wanted *w,
	void (*done)(void *arg, const struct error *e), void *arg, struct error *e);
/* Stop all; stopped(arg) once the last is.  An exchange under way is given up. */
void inputs_stop(struct inputs *in, loop_fn *stopped, void *arg);
void inputs_free(struct inputs *in); /* after inputs_stop */
size_t inputs_count(const struct inputs *in);
void inputs_dump(const struct inputs *in, struct buf *out);

/*
 * One reload at a time: who asks while one runs is answered by the next one,
 * which sees what they changed.  Zeroed but for `begin` and `ctx` it is idle.
 */
typedef void reload_done(void *arg, const struct error *e); /* e NULL: all is well */

struct reload_waiter {
	reload_done *done; /* NULL: a signal, nobody waits */
	void *arg;
};

struct reloads {
	void (*begin)(void *ctx); /* must lead to reloads_finish, later or from within */
	void *ctx;
	bool running, again, ended;
	struct reload_waiter *waiters; /* those of the running one first */
	size_t n_waiters, n_current;
};

void reloads_ask(struct reloads *r, reload_done *done, void *arg);
void reloads_finish(struct reloads *r, const struct error *e);
/* Nobody is answered by a reload any more: all who wait get `e`.  No reloads_ask after it. */
void reloads_end(struct reloads *r, const struct error *e);
