/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Drain bindings: which application's lines go to which URL.  A binding makes
 * an output (name "drain-…") of the kind that the URL's scheme names:
 *
 *   syslog://  syslog-tls://           output `syslog`
 *   https://                           output `https`, or with ?batch=true
 *   https-batch://                     output `https-batch`
 *
 * Of the URL's query, ?drain-type=logs|metrics|all (default logs) chooses what
 * is drained, and ?disable-metadata=true leaves the tags out.
 *
 * They come from the configuration (`drains: {apps: {APP: [URL…]}}`), from the
 * API (/api/v1/drains, `sawlog drain add`), kept in <data>/outputs/drain-bindings,
 * and where `drains: {from_envelopes: true}` from the drain urls of Loggregator's
 * messages, which the input puts into the records' metadata `drain_urls`.
 * What a drain has to tell (that it cannot connect, that retention overtook
 * it) is put into the application's own stream, source LGR, now and then.
 *
 * Starting and ending outputs may take seconds: a thread of the drains' own
 * does it, after those who asked have their answer.
 * Thread rule: drains_list, _add and _remove from any thread; the rest from
 * the main loop's.
 */
#include "output/client_tls.h"
#include "output/outputs.h"
#include "record/discover.h"

struct drains;

enum { DRAIN_ID_SIZE = 32, DRAIN_URL_MAX = 2048, DRAIN_APP_MAX = 256 };

enum drain_origin { DRAIN_CONFIG = 1, DRAIN_API = 2, DRAIN_ENVELOPE = 4 };

struct drain {
	const char *id; /* "drain-" and 12 hex digits of the hash of tenant, app and url */
	const char *app, *url, *tenant;
	unsigned origins;    /* enum drain_origin, of which it has at least one */
	const char *problem; /* why it does not run; "" */
};

struct drains_settings {           /* `drains` of the configuration */
	struct string_groups apps; /* application: URLs */
	bool from_envelopes;
	bool allow_private; /* of those that are not in the configuration */
	int format;         /* enum syslog_shape */
	bool tags;
	const char *hostname;
	struct client_tls_settings tls;
	int64_t max_per_app, max; /* those of the configuration are counted, and not limited */
};

extern const struct option drains_options[]; /* for an OPT_OBJECT row */
int drains_check(const struct drains_settings *s, struct error *e);

/* ERR_ARG, ERR_LIMIT with a sentence. */
int drains_check_url(struct str url, struct error *e);
void drains_id(struct str tenant, struct str app, struct str url, char out[DRAIN_ID_SIZE]);
/* The URL without what may be secret in it: user, password and query. */
void drains_plain_url(struct str url, struct buf *out);

struct drains_env { /* borrowed */
	struct outputs *outputs;
	struct store *store;
	struct fs *fs;
	struct clock *clock;
	const char *dir; /* <data>/outputs */
};

/* Bindings that were kept are read; those that cannot be are put aside, and that is logged.
 * Nothing runs before drains_configure.  ERR_IO. */
int drains_open(struct drains **out, const struct drains_env *env, struct error *e);
/* At the start, and at each reload; `app_label`: the label that names the application.  Copies. */
void drains_configure(struct drains *d, const struct drains_settings *s, const char *app_label,
	const struct discover *discover);
/* Before outputs_stop: nothing is started or ended any more. */
void drains_stop(struct drains *d);
/* After it.  NULL is fine. */
void drains_free(struct drains *d);

/* Those of a tenant; none: of all.  each() is called under a lock: copy. */
void drains_list(struct drains *d, struct str tenant,
	void (*each)(void *arg, const struct drain *drain), void *arg);
/* 0, or 1 when it was there already; id is its id either way.  ERR_ARG: no app or no URL of a
 * drain; ERR_LIMIT: there are max_per_app or max; ERR_DENIED: an address that is private. */
int drains_add(struct drains *d, struct str tenant, struct str app, struct str url,
	char id[DRAIN_ID_SIZE], struct error *e);
/* Its place in the log is forgotten too.  ERR_NOT_FOUND; ERR_DENIED: it is of the configuration. */
int drains_remove(struct drains *d, struct str tenant, struct str id, struct error *e);
void drains_dump(struct drains *d, struct buf *out);
