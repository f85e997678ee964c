/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The server behind `sawlog serve` and `sawlog nowcast`: store, API, inputs
 * and outputs on one main loop, from start to drained stop.
 * Thread rule: server_run takes the calling thread; callbacks run on it.
 */
#include "cli/command.h"
#include "cli/config.h"

struct server;

enum server_event {
	SERVER_STARTED,   /* inputs and outputs run */
	SERVER_RELOADING, /* before the config is read; `signal` is SIGHUP, or 0 for /-/reload */
	SERVER_RELOADED,  /* inputs and outputs run anew */
	SERVER_STOPPING,  /* `signal` says by which */
};

struct server_plan {
	/* The settings, at the start and at each reload; all problems go to `errors`.  0 or as
	 * config_load. */
	int (*load)(void *arg, struct serve_config *out, struct arena *arena,
		struct conf_errors *errors);
	/* May be NULL. */
	void (*told)(void *arg, struct server *s, enum server_event event, int signal);
	void *arg;
};

/* Returns an exit code; failures are told on cl->err. */
int server_run(struct command_line *cl, const struct server_plan *plan);
/* Within `told`: submit a record of the program's own, {app=<logger>, logger=<logger>,
 * input=<input>}, which outputs get as any other. */
void server_say(struct server *s, const char *input, const char *logger, uint8_t severity,
	const char *fmt, ...) PRINTF(5, 6);
