/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The agent behind `sawlog forward`: runs file, stdin and configured inputs
 * with an uplink as their sink, until it is told to stop.
 *
 * The settings are described by forward_settings, for conf_load; the command
 * maps --to to `url`, --data to `data`, and its operands to `paths`.
 * Threads: forward_run takes the calling thread (it handles SIGINT, SIGTERM
 * and SIGHUP meanwhile), one more runs the loop and one the uplink.
 */
#include "base/arena.h"
#include "conf/option.h"

struct forward_options {
	struct strings
		url; /* in order of preference; none: $SAWLOG_ADDR, else http://127.0.0.1:3100 */
	const char *data;       /* NULL: forward_data_default */
	struct strings paths;   /* files and globs, "-" is stdin; may be empty with inputs */
	struct strings exclude; /* globs */
	struct string_map labels;
	const char *app;  /* label app of all paths; NULL: by file */
	const char *host; /* label host; NULL: the host's name */
	int start;        /* index of "begin", "end" */
	bool detect_time;
	uint64_t memory;
	const char *tenant;     /* NULL: default */
	const char *token_file; /* NULL: no token; read again when it changes */
	const char *ca, *cert, *key;
	bool insecure;
	int64_t failover_after, return_after; /* ns */
	int packing;                          /* enum uplink_packing */
	bool once;           /* end when all files are read to their end and acknowledged */
	bool quiet;          /* no progress line */
	struct kinds inputs; /* of the config file, besides paths */
	struct strings insecure_allow;
	/* Not settings: */
	bool stdio; /* frames over stdout, answers on stdin; no servers */
	/* For SIGHUP: load the settings again, into memory of the arena.  NULL: SIGHUP ends it. */
	int (*load)(void *arg, struct forward_options *out, struct arena *arena, struct error *e);
	void *load_arg;
};

extern const struct option forward_settings[];

/* Rules between settings: ERR_ARG with the one at fault.  Part of forward_run and of a reload. */
int forward_check(const struct forward_options *o, struct error *e);
/* Where positions are kept without --data: /var/lib/sawlog-forward for root, else
 * $XDG_STATE_HOME/sawlog/forward. */
void forward_data_default(struct buf *out);

/* Runs until SIGINT or SIGTERM, with `stdio` until the other side goes, the end of stdin, or with
 * `once` the end of all files.  0 when everything that was read is acknowledged.  ERR_ARG: a
 * setting is wrong (exit code 78); ERR_BUSY: another instance uses the data folder (75);
 * ERR_CLOSED: it was told to stop and some lines wait for the next run (75; nothing is lost for
 * files); else the folder or an input could not be used. */
int forward_run(const struct forward_options *o, struct error *e);
