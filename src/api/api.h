/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The HTTP surface: Loki's API, the five systems' own endpoints, and ours.
 * One family of routes a file, all listed in routes.def.
 *
 * Handlers run on the HTTP server's threads and never block: pushes go to the
 * sink and are answered when it is done with them, queries go to a pool of
 * workers, tails to a pool of their own.
 * Ownership: an api borrows all that api_options names until api_free.
 */
#include "loop/loop.h"
#include "loop/worker.h"
#include "net/http.h"
#include "net/token.h"
#include "os/clock.h"
#include "record/discover.h"
#include "store/store.h"

struct api;
struct alerts;               /* alert/alerts.h */
struct rules;                /* alert/rules.h */
struct peers;                /* query/peers.h */
struct outputs;              /* output/outputs.h */
struct drains;               /* output/drains.h */
struct silences;             /* alert/silences.h */
struct notify;               /* alert/notify.h */
struct loggregator_settings; /* api/loggregator.h */

struct api_options {
	struct store *store;
	struct sink *sink; /* where pushes go; NULL: the store */
	/* Of a router: the servers, which alone carry out deletions, rules, silences, outputs and
	 * drains; NULL: this is a server. */
	const char *servers;
	void (*metrics)(void *ctx); /* set gauges before /metrics is answered; NULL: none */
	void *metrics_ctx;
	struct clock *clock;
	struct account *account; /* the process's; queries get a quarter of it */
	struct loop *loop;       /* for the timer that looks for gone clients */
	struct discover discover;
	bool strict;       /* refuse what Loki refuses, see query_check_strict */
	uint64_t max_line; /* bytes: longer pushed lines are cut and marked */
	uint64_t max_body; /* bytes of a decompressed push */
	int64_t query_timeout_ns;
	struct tokens *tokens;  /* requests must show one; NULL: all are let in */
	const char *host;       /* of this machine */
	const char *durability; /* "sync" or "os", shown where health is shown */
	/* POST /-/reload, called on an HTTP thread: calls done once, from any thread, with the
	 * sentence that says why the old config stays, or NULL. */
	void (*reload)(void *ctx, void (*done)(void *arg, const struct error *e), void *arg);
	void *reload_ctx;
	struct rules *rules; /* rule groups of all tenants */
	struct outputs *outputs;
	struct drains *drains;     /* NULL: none are here */
	struct peers *peers;       /* whose records belong to answers; NULL: none */
	const char *instance;      /* the id of this server's data, for its peers; NULL: none */
	struct alerts *alerts;     /* NULL: rules are not evaluated here */
	struct silences *silences; /* NULL: alerts are not evaluated here */
	struct notify *notify;     /* the same */
	const struct loggregator_settings *loggregator; /* copied */
};

struct api *api_new(const struct api_options *o);
/* The rows for http_options.routes; ctx is the api. */
const struct http_route *api_routes(void);
void api_served(void *api, const char *route, int status);
void api_refused(void *api, const char *route, int status, const char *reason);
int api_admit(void *api, const struct http_request *r, struct http_identity *who, struct error *e);
/* What waits in the sockets of tails is charged here. */
struct account *api_tail_account(struct api *a);
/* After a reload. */
void api_set_discover(struct api *a, struct discover d);
void api_set_strict(struct api *a, bool strict);
/* The configuration in force as YAML, without secrets, for /config.  Copies. */
void api_set_config(struct api *a, struct str yaml);
/* What listens has been opened: /ready says so from now on. */
void api_set_ready(struct api *a);
/* Refuse new work with 503, cancel the queries, end the tails: before http_server_stop. */
void api_drain(struct api *a);
/* After http_server_stop. */
void api_free(struct api *a);
void api_dump(struct api *a, struct buf *out);
