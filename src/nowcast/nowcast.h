/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A NEMO_Nowcast configuration as its log aggregator reads it, translated into
 * sawlog's own YAML: the publishers of zmq.ports.logging become a `zeromq` input,
 * each handler of logging.aggregator an output that writes what the handler wrote.
 *
 *   zmq: {host: salish, ports: {logging: {make_plots: 5562}}}
 *   -> inputs: [{zeromq: {connect: {make_plots: [tcp://salish:5562]}}}]
 *
 * Sources: nemo-nowcast.readthedocs.io/en/latest/architecture.html,
 * docs.python.org/3/library/logging.config.html#logging-config-dictschema.
 * Pure: no file, clock or environment but by the options.  Any thread.
 */
#include "conf/option.h"

struct nowcast_options {
	const char *cwd;         /* where relative file names start, as in Python; absolute */
	const char *secrets_dir; /* where the caller keeps passwords: see nowcast_secret */
	unsigned file_mode;      /* of new log files: in Python 0666 without the umask's bits */
	const char *multiline;   /* of the outputs: "raw" is what Python writes */
	/* Names of handlers to leave out, NULL-terminated; may be NULL. */
	const char *const *without;
	/* The value of an environment variable, or NULL. */
	const char *(*env)(void *arg, const char *name);
	void *env_arg;
};

/* "subscribed to HOST port PORT for all messages from NAME" */
struct nowcast_publisher {
	const char *name, *host;
	unsigned port;
};

/* sawlog reads passwords from files alone: `text` is to be at `path` before the YAML is loaded. */
struct nowcast_secret {
	const char *path;
	struct str text;
};

struct nowcast {
	struct str yaml; /* for conf_load as `text`; begins with the notes as comments */
	struct nowcast_publisher *publishers;
	size_t n_publishers;
	struct nowcast_secret *secrets;
	size_t n_secrets;
	const char **notes; /* sentences about what is done otherwise than by the original */
	size_t n_notes;
	size_t n_outputs;
};

/* Translate `text`, named `file` in sentences.  All that *out points to is in the arena.  ERR_ARG
 * with every problem a line in `errors`: "nowcast.yaml:12:5: zmq.ports.manager: …". */
int nowcast_translate(struct nowcast *out, struct str text, const char *file,
	const struct nowcast_options *o, struct arena *arena, struct conf_errors *errors);
