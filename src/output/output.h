/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Outputs: where committed records go besides the store.  One file and one row
 * of outputs.def a kind.
 *
 * An output is a named cursor on the journal (outputs.h): the cursor hands it
 * records in the order of their commit, and is kept on disk only after `sync`
 * said that they are where they should be.  Each output has a thread of its
 * own and may block; a dead one holds up nobody, its backlog is the store.
 */
#include "base/memory.h"
#include "conf/option.h"
#include "os/clock.h"
#include "os/fs.h"

/* What every kind has: the first member of its settings, and OUTPUT_OPTIONS in its table. */
struct output_settings {
	const char *name;   /* unique; default: the kind's name */
	const char *match;  /* a log query: selector, filters, stages.  Default {} */
	const char *tenant; /* NULL: default */
	int start;          /* enum output_start, for a cursor that is not known yet */
	int min_severity;   /* index of output_severities; 0: all.  A record without a severity
			     * passes always */
	bool allow_private; /* may connect to private and link-local addresses */
	/* Unless allow_private, not to this machine either: of drains, whose targets are named by
	 * those who may not reach what listens here.  No row of the table. */
	bool no_loopback;
};

enum output_start { OUTPUT_START_NOW, OUTPUT_START_BEGIN };

extern const char *const output_severities[]; /* any trace debug info warn error fatal critical */
extern const char *const output_starts[];     /* now begin */
/* A matching min_severity: lowest severity number of the index. */
uint8_t output_severity_floor(int min_severity);
int output_check_match(struct str text, struct error *e);
int output_check_name(struct str text, struct error *e); /* a folder is called by it */

#define OUTPUT_OPTIONS(type)                                                                           \
	{.name = "name",                                                                               \
		.offset = offsetof(type, common.name),                                                 \
		.kind = OPT_STRING,                                                                    \
		.check = output_check_name,                                                            \
		.help = "Its name, by which its place in the log is remembered. Default: the "         \
			"kind's."},                                                                    \
		{.name = "match",                                                                      \
			.offset = offsetof(type, common.match),                                        \
			.kind = OPT_STRING,                                                            \
			.fallback = "{}",                                                              \
			.check = output_check_match,                                                   \
			.help = "What it gets: a log query, as '{app=\"billing\"} |= \"paid\"'."},     \
		{.name = "tenant",                                                                     \
			.offset = offsetof(type, common.tenant),                                       \
			.kind = OPT_STRING,                                                            \
			.help = "The tenant whose records it gets. Default: `default`."},              \
		{.name = "start",                                                                      \
			.offset = offsetof(type, common.start),                                        \
			.kind = OPT_ENUM,                                                              \
			.values = output_starts,                                                       \
			.fallback = "now",                                                             \
			.help = "Where a new output begins: with what comes from now on, or with the " \
				"oldest record that there is."},                                       \
		{.name = "min_severity",                                                               \
			.offset = offsetof(type, common.min_severity),                                 \
			.kind = OPT_ENUM,                                                              \
			.values = output_severities,                                                   \
			.fallback = "any",                                                             \
			.help = "Leave out what is less severe. Records that tell no severity always " \
				"pass."},                                                              \
	{                                                                                              \
		.name = "allow_private", .offset = offsetof(type, common.allow_private),               \
		.kind = OPT_BOOL, .fallback = "false",                                                 \
		.help = "Allow a target in a private or link-local address range."                     \
	}

/* A record as the match left it.  Views are valid for the call. */
struct output_record {
	uint64_t seq;
	int64_t timestamp; /* ns */
	struct str line;
	struct str labels; /* canonical: stream's, metadata and parsed fields in one */
	uint8_t severity;
};

/* Copied by open; what it points to is borrowed for the output's life. */
struct output_env {
	struct fs *fs;
	struct clock *clock;
	struct account *account;
	const char *dir;  /* its own folder under the data folder; exists */
	const char *name; /* of the output */
	const char *host;
	/* True when the process ends: give up waiting.  Any thread. */
	bool (*ending)(void *arg);
	void *ending_arg;
};

enum { OUTPUT_STATE_MAX = 16 << 10 };

struct output_type {
	const char *name, *summary;
	size_t size; /* of the settings, which begin with struct output_settings */
	const struct option *options;
	int (*check)(const void *settings, struct error *e); /* may be NULL */
	/* Append what no two outputs may both write to, alike for all ways to spell it; nothing
	 * when there is no such thing.  May be NULL. */
	void (*claim)(const void *settings, struct buf *out);
	/* *state is what `sync` last gave, or empty.  Errors: tried again, with backoff. */
	int (*open)(void **out, const void *settings, const struct output_env *env,
		struct str state, struct error *e);
	/* Take some of the n records, from the first on: how many (> 0), or an error.  ERR_ARG,
	 * ERR_LIMIT: records[0] can never be delivered: it is passed by, counted and told.  Others
	 * are transient: tried again with backoff. */
	int (*write)(void *output, const struct output_record *records, size_t n, struct error *e);
	/* Make what was taken last: then the cursor moves.  Append what is to be known at the next
	 * open (at most OUTPUT_STATE_MAX).  Called at least every second while there is something.
	 * 1: not yet, ask again (a digest that waits); errors are transient.  ERR_GAP, of write
	 * too: what was taken is lost: it is closed and opened with the state that it last gave,
	 * and gets everything behind that again. */
	int (*sync)(void *output, struct buf *state, struct error *e);
	/* After a sync that went well: the sequence up to which what was taken is certain to be
	 * where it should be, UINT64_MAX for all of it.  The cursor moves up to it alone, and sync
	 * is called again for the rest.  What lies behind it may come again after ERR_GAP and is
	 * then counted again.  NULL: all of it. */
	uint64_t (*settled)(const void *output);
	/* Records that were taken and then refused for good, since it was last asked: they are
	 * counted as skipped.  After a sync that went well.  May be NULL. */
	uint64_t (*refused)(void *output);
	/* Something is due by the clock (rotation, a digest).  Called when *due_ns, which it set
	 * last (wall clock), has passed; while *due_ns is 0, as it is at first, after open and
	 * after each write as well: it may set a time then.  So it asks itself what is due.  May be
	 * NULL. */
	int (*tick)(void *output, int64_t now_ns, int64_t *due_ns, struct error *e);
	/* SIGHUP, and `sawlog output reopen`.  May be NULL. */
	void (*reopen)(void *output);
	void (*close)(void *output);
	void (*dump)(const void *output, struct buf *out); /* may be NULL */
	/* All of them are called on the output's thread. */
};

const struct output_type *output_type_find(struct str name, const char **missing);
extern const struct output_type *const output_types[]; /* NULL-terminated */
extern const struct kind_class output_kinds;
