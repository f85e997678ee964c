/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Following a query's tail over lost connections: what `tail` and `logs` share.
 *
 * Each frame of a sawlog brings a token; after a lost connection the tail goes
 * on behind the last one, so that no line is missed or told twice, even when
 * nothing matched before the loss.  Loki has none: there a connection starts
 * behind the time of the last line, which may miss lines of that same time.
 * One thread, one of them at a time in a process: it takes SIGINT and SIGTERM.
 */
#include "cli/print.h"
#include "cli/remote.h"

enum {
	FOLLOW_WAIT_MS = 250, /* how long a signal or a reader that left may go unnoticed */
	FOLLOW_CURSOR_MAX = 4096,
};

struct follow {
	/* Set by the caller. */
	struct command_line *cl;
	struct remote *remote;
	const char *query;
	int64_t start_ns; /* without a token: where a connection's history begins */
	uint64_t limit;   /* and how many lines of it are wanted */
	/* One line, valid for the call. */
	void (*entry)(void *ctx, const struct print_entry *en);
	/* Behind the lines of a frame, and when none came for `wait_ms`.  A negative code ends. */
	int (*pause)(void *ctx, struct error *e);
	/* The first connection is there; may be NULL. */
	void (*connected)(void *ctx);
	void *ctx;
	/* May be changed within `pause`; 0: FOLLOW_WAIT_MS. */
	unsigned wait_ms;
	/* follow.c's; to be read. */
	struct buf cursor; /* the token behind what was told; empty: none yet */
	int64_t last_ns;   /* the latest time of a line */
	bool began;
	struct json_parser *parser;
};

/* Go on behind this token; no more than FOLLOW_CURSOR_MAX, else it is left out. */
void follow_cursor(struct follow *f, struct str token);
/* Until a signal, the reader of cl->out leaves, or an error that time does not cure. */
int follow_run(struct follow *f, struct error *e);
void follow_fini(struct follow *f);
/* The signal that ended it; 0: none. */
int follow_stopped_by(void);
/* The exit code for that, or `code` when there was none or it is no success. */
int follow_exit_code(int code);
