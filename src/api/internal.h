/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the route families share.  Not for other folders. */
#include <stdatomic.h>

#include "api/api.h"
#include "api/loggregator.h"
#include "base/list.h"
#include "base/lock.h"
#include "query/peers.h"
#include "query/query.h"

/* Of Loki, whose API this is: what clients choose their features by. */
#define API_VERSION "3.5.0"

enum {
	API_SERIES_MAX = 100000, /* of a metric query's answer; their samples are charged besides */
};

struct relays; /* live.h */

struct api {
	/* Fixed after api_new: any thread. */
	struct api_options o;
	struct workers *queries, *scans, *tails;
	struct account query_account;  /* a quarter of the ceiling, for all queries together */
	struct relays *relays;         /* of live records of the peers; NULL: there are none */
	struct account tail_account;   /* the same for what waits in the sockets of tails */
	struct account answer_account; /* the same for answers that are on their way */
	struct arena settings;         /* holds `loggregator` */
	const struct loggregator_settings *loggregator;
	struct checks *checks; /* NULL: tokens decide, there too */
	/* HTTP and loop threads. */
	_Atomic unsigned discover_bits; /* 1 service_name, 2 level */
	_Atomic bool draining, ready;
	_Atomic bool strict;            /* for every query; else for those that ask for it */
	_Atomic int64_t auth_told_mono; /* of the last line about refused requests */
	_Atomic uint64_t auth_untold;   /* refused since then */
	/* Loop thread only. */
	struct timer gone_timer;
	/* Under `lock`. */
	struct lock lock;
	struct buf config;     /* as YAML */
	struct list jobs;      /* struct job.node: queries queued or running */
	struct list tail_list; /* struct feed.node, of live.c */
	struct list held_list; /* struct live_join.held_node */
	unsigned n_tails;
	struct json_parser *parsers[4]; /* of push.c, for the next push */
	unsigned n_parsers;
};

#define ROUTE(path, flags, scope, handler, help) void handler(struct http_request *r, void *ctx);
#include "api/routes.def"
#undef ROUTE

struct discover api_discover(struct api *a);
struct sink *api_sink(struct api *a); /* where pushes go */
/* For what a server alone can do: a router answers 501 with where to ask, and returns true. */
bool api_is_router(struct api *a, struct http_request *r);
/* Is Loki's own language alone to be answered: by the config, or with ?strict=true? */
bool api_strict(struct api *a, struct http_request *r);

/* The tenant of a request: X-Scope-OrgID, or its token's, or "default".  On a bad name it answers
 * 400 and returns false. */
bool api_tenant(struct http_request *r, struct str *out);
/* The same for reading: several with | between them are all read. */
bool api_tenants(struct http_request *r, struct str *out);
/* What decoding a body takes besides the body itself, charged while it is held (push.c). */
struct room {
	struct account *account;
	uint64_t charged;
	struct buf inflated;
};

/* Charge n bytes more: ERR_BUSY, or ERR_LIMIT when that much could never be had. */
int room_take(struct room *m, uint64_t n, struct error *e);
void room_fini(struct room *m);
/* The status of HTTP that an error's code means. */
int api_status(int code);
/* Answer with the sentence, text/plain; 429 and 503 with Retry-After: 1. */
void api_fail(struct http_request *r, const struct error *e);
/* Count n records refused by reason with an answer. */
void api_reject(
	struct api *a, struct str tenant, const char *input, const char *reason, uint64_t n);

/* Submit a batch for a request: `answer` is called once, on any thread, and must reply.
 * Takes the batch's reference. */
typedef void push_answer(struct http_request *r, const struct sink_result *result, void *arg);
void api_submit(
	struct api *a, struct http_request *r, struct batch *b, push_answer *answer, void *arg);

/* A unit of blocking work for a request, on a query worker: fill body and return 0, or return a
 * code with the sentence in e.  The request is answered after it. */
struct job;
typedef int job_fn(struct job *j, struct error *e);

struct job {
	struct list node; /* in api.jobs */
	struct api *api;
	struct http_request *request;
	struct str tenant; /* valid until the answer */
	job_fn *run;
	struct buf body;
	const char *content_type; /* NULL: JSON */
	char type[100];           /* what it may be a view of */
	int status;               /* of success; 0: 200 */
	_Atomic bool cancel;      /* the client has gone or the server drains */
	int64_t started_mono;
};

/* Queue run for a request; answers 429 itself when too much waits. */
void api_job(struct api *a, struct http_request *r, struct str tenant, job_fn *run);
/* The same for other workers than those of queries. */
void api_job_on(
	struct api *a, struct workers *w, struct http_request *r, struct str tenant, job_fn *run);
/* The same for one that reads, for the tenants that the request names. */
void api_read_job(struct api *a, struct http_request *r, job_fn *run);
/* The same for one that is about one tenant alone. */
void api_tenant_job(struct api *a, struct http_request *r, job_fn *run);

/* What the job reads: this server's records and those of its peers, or with local=true the first
 * alone. */
struct view *api_view(struct job *j);
/* Parse a query; where strictness is asked for, by query_check_strict too. */
int api_query_text(struct job *j, struct str text, struct query **out, struct error *e);
/* The same with the query in a parameter. */
int api_query_parse(struct job *j, const char *param, struct query **out, struct error *e);
/* Count a query that ended so. */
void api_query_count(int code);
/* params.c: what requests name in parameters.  An empty one is as one that is absent; on a bad
 * value they return ERR_ARG with the sentence. */
bool api_param_bool(struct http_request *r, const char *param, bool fallback); /* "true" is */
/* A whole number from 0 on, `fallback` when absent. */
int api_param_u64(struct http_request *r, const char *param, uint64_t fallback, uint64_t *out,
	struct error *e);
/* A time as RFC 3339, or as seconds or nanoseconds since 1970; *out stays when absent. */
int api_param_time(struct http_request *r, const char *param, int64_t *out, struct error *e);
/* start, end and since of Loki's API: defaults are end = now_ns, start = end - default_since_ns. */
int api_time_range(struct http_request *r, int64_t now_ns, int64_t default_since_ns, int64_t *start,
	int64_t *end, struct error *e);
/* The step of samples over [p->start_ns, p->end_ns). */
int api_step(struct http_request *r, struct query_params *p, struct error *e);
/* Tenant, budget, timeout and cancel flag of a query that the job runs. */
void api_query_params(struct job *j, struct query_params *p);
/* The same, and the request's time range, by default of the last hour, which must not be empty. */
int api_window(struct job *j, struct query_params *p, struct error *e);

enum answer_flags {
	/* Structured metadata and what was parsed behind each line, not among the labels of its
	 * stream. */
	ANSWER_CATEGORIZE = 1,
	/* Beyond Loki: the record's sequence behind each line, "seq", by which records of one time
	 * are in order across streams. */
	ANSWER_SEQUENCE = 2,
	/* "sawlog" tells that records of other servers are in the answer: its last_seq is no place
	 * for a tail to begin at. */
	ANSWER_PEERS = 4,
};

/* JSON of results, as Loki words it. */
void api_write_result(struct buf *out, const struct query_result *res, const struct query_params *p,
	unsigned flags, const char *next_cursor);
/* Append ",\"warnings\":[…]", or nothing. */
void api_write_warnings(struct buf *out, const struct query_result *res);
/* Those of n results, each once. */
void api_write_all_warnings(struct buf *out, const struct query_result *const *all, size_t n);
/* The same of the listings of streams of a view. */
void api_write_view_warnings(struct buf *out, const struct view *v);
/* One entry's labels, metadata and what was parsed, as Loki shows them: one JSON object. */
void api_write_labels(struct buf *out, struct str labels, struct str meta, struct str parsed);

/* live.c */
void live_end_all(struct api *a);
/* Close those whose token was revoked or has expired. */
void live_end_denied(struct api *a);
/* Have those go on that wait for memory, or for whom it is time: now and then. */
void live_tick(struct api *a);
void live_init(struct api *a);
/* Nobody is told anything any more, and no worker runs. */
void live_fini(struct api *a);
