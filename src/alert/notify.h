/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Notifications: who is told of alerts, and how.  One file and one row of
 * notifiers.def a kind (alertmanager, webhook, email, command, stream).
 *
 * Each configured one has a thread and a queue of its own, so that a dead one
 * holds up nobody, and remembers on disk (<dir>/notified-<name>.json) what it
 * was told last of each alert: what is owed survives restarts, what was told
 * is not told again but after `repeat`.  Failures are tried again with
 * backoff; the newest state counts, so what fired and was resolved while the
 * target was away is told as resolved once.
 * Thread rule: notify_put and the rest from any thread unless a line says
 * otherwise; a kind's functions run on its thread and may block.
 */
#include "alert/alert.h"
#include "conf/option.h"
#include "os/clock.h"
#include "os/fs.h"
#include "record/sink.h"

/* What every kind has: first member of its settings, and NOTIFIER_OPTIONS in its table. */
struct notifier_settings {
	const char *name;        /* unique; default: the kind's name */
	struct string_map match; /* only alerts with these labels: {severity: page} */
	struct strings group_by; /* labels: alerts with the same values go in one message */
	int64_t group_wait;      /* gather so long before the first of a message: 5 s */
	int64_t group_interval;  /* between two messages of a group */
	int64_t repeat;          /* tell again what still fires: 4 h; alertmanager 1 m; 0: never */
	bool send_resolved;
	bool allow_private;
};

int notifier_check_name(struct str text, struct error *e); /* a file is called by it */

/* Behind the kind's first option.  `again`: fallback of repeat. */
#define NOTIFIER_OPTIONS(type, again)                                                              \
	{.name = "name",                                                                           \
		.offset = offsetof(type, common.name),                                             \
		.kind = OPT_STRING,                                                                \
		.check = notifier_check_name,                                                      \
		.help = "Its name, by which it is remembered what it was told. Default: the "      \
			"kind's."},                                                                \
		{.name = "match",                                                                  \
			.offset = offsetof(type, common.match),                                    \
			.kind = OPT_MAP,                                                           \
			.help = "Only alerts with these labels: {severity: page}. Default: all."}, \
		{.name = "group_wait",                                                             \
			.offset = offsetof(type, common.group_wait),                               \
			.kind = OPT_DURATION,                                                      \
			.fallback = "5s",                                                          \
			.max = 3600 * NS_PER_SEC,                                                  \
			.help = "How long alerts are gathered before a message goes out."},        \
		{.name = "repeat",                                                                 \
			.offset = offsetof(type, common.repeat),                                   \
			.kind = OPT_DURATION,                                                      \
			.fallback = again,                                                         \
			.max = 365 * 24 * 3600 * NS_PER_SEC,                                       \
			.help = "What still fires after this time is told again; 0s: never."},     \
	{                                                                                          \
		.name = "send_resolved", .offset = offsetof(type, common.send_resolved),           \
		.kind = OPT_BOOL, .fallback = "true", .help = "Tell also when an alert is over."   \
	}

/* Of kinds with by_group.  `interval`: fallback of group_interval. */
#define NOTIFIER_GROUPING(type, interval)                                                          \
	{.name = "group_by",                                                                       \
		.offset = offsetof(type, common.group_by),                                         \
		.kind = OPT_STRINGS,                                                               \
		.fallback = "alertname",                                                           \
		.help = "Alerts with the same values of these labels go in one message; []: all "  \
			"of them do."},                                                            \
	{                                                                                          \
		.name = "group_interval", .offset = offsetof(type, common.group_interval),         \
		.kind = OPT_DURATION, .fallback = interval, .max = 24 * 3600 * NS_PER_SEC,         \
		.help = "The shortest time between two messages of a group."                       \
	}

/* Of kinds that go over the network. */
#define NOTIFIER_PRIVATE(type, what)                                                               \
	{                                                                                          \
		.name = "allow_private", .offset = offsetof(type, common.allow_private),           \
		.kind = OPT_BOOL, .fallback = "false", .help = what                                \
	}

/* An alert on its way; views valid for the call. */
struct alert_note {
	const struct alert *alert;
	struct str tenant, space, group;
	struct str rule, expr;
	struct str
		url; /* where to look: the server's page with the query; "" without external_url */
};

enum {
	NOTES_MAX = 1000,            /* alerts in a message */
	NOTIFIED_ALERTS_MAX = 10000, /* that a notifier remembers */
};

struct notifier_env {
	struct clock *clock;
	struct sink *sink; /* for records of its own; NULL: there is none */
	const char *name, *host, *external_url;
	bool (*ending)(void *arg); /* give up waiting */
	void *ending_arg;
};

struct notifier_type {
	const char *name, *summary;
	size_t size;
	/* A message is the state of a group (group_by): what else of it fires is in it too, so
	 * that it says "resolved" when nothing of it fires any more.  Else it is what is new. */
	bool by_group;
	const struct option *options; /* the first one is what `- webhook: URL` sets */
	int (*check)(const void *settings, struct error *e); /* may be NULL */
	int (*open)(
		void **out, const void *settings, const struct notifier_env *env, struct error *e);
	/* Tell of n alerts of one tenant, 0 < n <= NOTES_MAX, those that fire first; in one message
	 * where the kind has such.  ERR_ARG, ERR_LIMIT: never will be taken: passed by, counted and
	 * logged; others are tried again. */
	int (*send)(void *notifier, const struct alert_note *notes, size_t n, struct error *e);
	void (*close)(void *notifier);
};

/* For the kinds: append what a target says, which may be anything, as one line of plain text. */
void notify_put_words(struct buf *out, struct str words);

const struct notifier_type *notifier_type_find(struct str name);
extern const struct notifier_type *const notifier_types[]; /* NULL-terminated */
extern const struct kind_class notifier_kinds;

struct silences;
struct notify;

struct notify_env { /* borrowed for its life */
	struct fs *fs;
	struct clock *clock;
	struct account *account;
	struct sink *sink;
	struct silences *silences;
	const char *dir, *host;
};

struct notify *notify_new(const struct notify_env *env);
int notify_check(const struct kinds *kinds, struct error *e); /* two of one name */
/* Main thread.  What stays the same runs on; what goes or changes gives up what it is about, and
 * is waited for.  Copies. */
int notify_apply(
	struct notify *n, const struct kinds *kinds, const char *external_url, struct error *e);
/* The state of an alert after an evaluation: firing or resolved (pending: nothing is done).  Each
 * evaluation tells all that fire, so that `repeat` and missed ones work, and again those that are
 * resolved as long as they are kept, so that none is missed by a crash; what was told is not told
 * twice.  An alert whose rule is gone is put once as resolved.  What was never put as firing is
 * not told as resolved.  Silenced ones are held back until the silence ends.
 * `speak` false: another server notifies; it is remembered as told.  Copies; does not wait for
 * targets. */
void notify_put(struct notify *n, const struct alert_note *note, bool speak);
void notify_free(struct notify *n, unsigned ms); /* main thread; lets them deliver for at most ms */

struct notifier_status {
	const char *name, *kind;
	uint64_t sent, failed; /* messages taken, tries that failed; since the start */
	uint64_t skipped;      /* alerts that never will be taken, or one too many to remember */
	uint64_t waiting;      /* alerts that are owed, silenced ones not */
	uint64_t silenced;
	const char *error; /* why it fails, "" */
	int64_t retry_ns;  /* until the next try; 0: none due */
};

void notify_each(
	struct notify *n, void (*each)(void *arg, const struct notifier_status *s), void *arg);
void notify_metrics(struct notify *n);
void notify_dump(struct notify *n, struct buf *out);
