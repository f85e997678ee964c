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
	int64_t group_wait;      /* gather so long before the first of a message: 5 s */
	int64_t repeat;          /* tell again what still fires: 4 h; alertmanager 1 m */
	bool send_resolved;
	bool allow_private;
};

/* An alert on its way; views valid for the call. */
struct alert_note {
	const struct alert *alert;
	struct str tenant, space, group;
	struct str rule, expr;
	struct str
		url; /* where to look: the server's page with the query; "" without external_url */
};

struct notifier_env {
	struct clock *clock;
	struct sink *sink; /* for records of its own */
	const char *name, *host, *external_url;
	bool (*ending)(void *arg); /* give up waiting */
	void *ending_arg;
};

struct notifier_type {
	const char *name, *summary;
	size_t size;
	const struct option *options; /* the first one is what `- webhook: URL` sets */
	int (*check)(const void *settings, struct error *e); /* may be NULL */
	int (*open)(
		void **out, const void *settings, const struct notifier_env *env, struct error *e);
	/* Tell of n alerts, n > 0, in one message where the kind has such.  ERR_ARG, ERR_LIMIT:
	 * never will be taken: passed by, counted and logged; others are tried again. */
	int (*send)(void *notifier, const struct alert_note *notes, size_t n, struct error *e);
	void (*close)(void *notifier);
};

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
/* Main thread.  What stays the same runs on.  What `kinds` lives in must stay until the next one.
 */
int notify_apply(
	struct notify *n, const struct kinds *kinds, const char *external_url, struct error *e);
/* The state of an alert after an evaluation: firing or resolved; each evaluation tells all that
 * fire, so that `repeat` and missed ones work.  Silenced ones are held back until the silence ends.
 * `speak` false: another server notifies; it is remembered as told.  Copies. */
void notify_put(struct notify *n, const struct alert_note *note, bool speak);
void notify_free(struct notify *n, unsigned ms); /* main thread; lets them deliver for at most ms */

struct notifier_status {
	const char *name, *kind;
	uint64_t sent, failed, waiting;
	const char *error; /* "" */
	int64_t retry_ns;  /* until the next try; 0: none due */
};

void notify_each(
	struct notify *n, void (*each)(void *arg, const struct notifier_status *s), void *arg);
void notify_metrics(struct notify *n);
