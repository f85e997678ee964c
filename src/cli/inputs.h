/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The running inputs of a server, and their exchange at a reload.
 * Loop thread only.
 */
#include "cli/config.h"
#include "input/input.h"

struct inputs;

/* A loaded configuration and the memory it lives in; freed when neither the server nor a running
 * input uses it any more. */
struct config_generation {
	struct arena arena;
	struct serve_config config;
	unsigned refs;
};

struct config_generation *generation_new(void); /* one reference */
void generation_unref(struct config_generation *g);

/* `env` is copied; its state_dir is ignored: each input gets <data>/inputs/<kind>-<n>. */
struct inputs *inputs_new(const struct input_env *env, const char *data);
/* Make what runs agree with g: inputs whose settings did not change go on untouched, the others
 * are stopped once all they read is acknowledged, then the new ones start.  When one cannot
 * start, its old settings run again.  done(arg, e) is called once, e NULL when all is well.
 * ERR_BUSY when an exchange is under way (done is not called then). */
int inputs_apply(struct inputs *in, struct config_generation *g,
	void (*done)(void *arg, const struct error *e), void *arg, struct error *e);
void inputs_set_discover(struct inputs *in, struct discover d); /* for inputs started later */
/* Stop all; stopped(arg) once the last is. */
void inputs_stop(struct inputs *in, loop_fn *stopped, void *arg);
void inputs_free(struct inputs *in); /* after inputs_stop */
size_t inputs_count(const struct inputs *in);
void inputs_dump(const struct inputs *in, struct buf *out);
