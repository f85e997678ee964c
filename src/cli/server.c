/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wires store, API, inputs and outputs together and runs the main loop.
 *
 * Start: config, memory ceiling, store (recovers), outputs, HTTP, inputs, READY.
 * SIGHUP and POST /-/reload: load the config again, exchange the inputs and outputs that changed.
 * SIGUSR1: dump to stdout.
 * SIGTERM, SIGINT: stop inputs, answer what is under way, commit, let outputs deliver that, close:
 * within 10 s.
 */
#include "cli/server.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/api.h"
#include "base/log.h"
#include "cli/access.h"
#include "cli/alerting.h"
#include "cli/own_records.h"
#include "input/exposed.h"
#include "input/set.h"
#include "os/heap.h"
#include "os/instance.h"
#include "os/process.h"
#include "os/stacks.h"
#include "output/outputs.h"
#include "output/stream.h"
#include "query/peers.h"
#include "query/selector.h"
#include "route/route.h"
#include "store/retain.h"

enum {
	DRAIN_MS = 5000, /* of the 10 s that a stop may take, for inputs */
	SAID_MS = 500,
	HTTP_DRAIN_MS = 1500,
	OUTPUT_DRAIN_MS = 2000,
	ROUTE_DRAIN_MS = 1000,
	NOTIFY_DRAIN_MS = 1000,
	HTTP_THREADS = 2,
	GUARD_MS = 100,
	LOOK_MS = 2000, /* for replaced certificates */
	PRINT_MS = 100, /* for who reads stdout: one that has stopped holds up nothing */
};

struct server {
	const struct server_plan *plan;
	struct generation *generation; /* holds config */
	const struct serve_config *config;
	struct account account;
	struct access access;
	struct store *store;
	struct router *router; /* NULL: records go to the store */
	char *servers;         /* of a router, for sentences */
	struct loop *loop;
	struct rules *rules;
	struct alerting alerting;
	struct peers *peers; /* NULL: none */
	char instance[INSTANCE_ID_SIZE];
	struct api *api;
	struct http_server *http;
	struct inputs *inputs;
	struct outputs *outputs;
	struct drains *drains; /* NULL: of a router */
	char *outputs_dir;
	struct reloads reloads;
	/* Of a reload under way. */
	struct generation *fresh;
	const struct serve_config *fresh_config;
	char host[256];
	uv_signal_t signals[4];
	struct own_records own;
	struct timer drain_timer, guard_timer, look_timer;
	/* At the last dump. */
	uint64_t dumped_seq;
	int64_t dumped_mono;
	bool stopping;
	bool hung_up; /* SIGHUP is among those who asked for the next reload */
};

static void tell(struct server *s, enum server_event event, int signum)
{
	if (s->plan->told)
		s->plan->told(s->plan->arg, s, event, signum);
}

static void guard_memory(void *arg)
{
	struct server *s = arg;

	heap_guard(&s->account);
}

/* Each connection and each part holds a file open. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* What a config is loaded into; it lives in its own memory. */
static int load(struct server *s, struct generation **out, const struct serve_config **config,
	struct conf_errors *errors)
{
	struct generation *g = generation_new();
	struct serve_config *c = ARENA_NEW(&g->arena, struct serve_config);
	int r = s->plan->load(s->plan->arg, c, &g->arena, errors);

	if (r < 0) {
		generation_unref(g);
		return r;
	}
	*out = g;
	*config = c;
	return 0;
}

static struct discover discover_of(const struct serve_config *c)
{
	return (struct discover){c->discover.service_name, c->discover.level};
}

static struct sink *sink_of(struct server *s)
{
	return s->router ? router_sink(s->router) : store_sink(s->store);
}

static struct inputs_wanted wanted_of(
	struct server *s, struct generation *g, const struct serve_config *c)
{
	return (struct inputs_wanted){
		.kinds = &c->inputs,
		.generation = g,
		.env = {.loop = s->loop,
			.sink = sink_of(s),
			.clock = clock_real(),
			.account = &s->account,
			.discover = discover_of(c),
			.host = s->host,
			.tenant = STR("default"),
			.tokens = s->access.tokens},
	};
}

/* The rules are the caller's to free. */
static struct retention retention_of(const struct serve_config *c)
{
	const struct config_rule *rules = c->retention.rules.items;
	struct retention r = {.age_ns = c->retention.age,
		.delete_wait_ns = c->retention.delete_wait,
		.n_rules = c->retention.rules.n};
	struct retention_rule *copy = xcalloc(r.n_rules, sizeof *copy);

	for (size_t i = 0; i < r.n_rules; i++)
		copy[i] = (struct retention_rule){str_c(rules[i].match), rules[i].age};
	r.rules = copy;
	config_retention_size(str_c(c->retention.size), &r.size_bytes, &r.size_percent);
	return r;
}

static void retain(struct server *s, const struct serve_config *c)
{
	struct retention r = retention_of(c);
	struct error e;

	if (store_retain(s->store, &r, &e) < 0)
		log_error("config", "%s", e.text); /* not to be expected: it was checked */
	free((struct retention_rule *)r.rules);
}

void server_say(struct server *s, const char *input, const char *logger, uint8_t severity,
	const char *fmt, ...)
{
	struct discover discover = discover_of(s->config);
	struct buf line = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&line, fmt, ap);
	va_end(ap);
	own_records_say(&s->own, &discover, input, logger, severity, buf_view(&line));
	buf_fini(&line);
}

/* Outputs. */

static void hold(void *generation)
{
	struct generation *g = generation;

	g->refs++;
}

static void let_go(void *generation)
{
	generation_unref(generation);
}

static int apply_outputs(
	struct server *s, struct generation *g, const struct serve_config *c, struct error *e)
{
	return outputs_apply(s->outputs,
		&(struct outputs_wanted){
			.kinds = &c->outputs, .memory = g, .ref = hold, .unref = let_go},
		e);
}

/* Before anything comes in: a new output that begins `now` misses nothing. */
static int start_outputs(struct server *s, struct error *e)
{
	struct outputs_env env = {.store = s->store,
		.fs = fs_real(),
		.clock = clock_real(),
		.account = &s->account,
		.host = s->host};
	struct buf dir = {0};

	buf_printf(&dir, "%s/outputs", s->config->data);
	env.dir = s->outputs_dir = str_dup(buf_view(&dir));
	buf_fini(&dir);
	s->outputs = outputs_new(&env);
	return apply_outputs(s, s->generation, s->config, e);
}

static void apply_drains(struct server *s)
{
	struct discover discover = discover_of(s->config);

	if (s->drains)
		drains_configure(
			s->drains, &s->config->drains, s->config->loggregator.app_label, &discover);
}

/* Behind the outputs, which they are a part of; a router has no records to drain. */
static int start_drains(struct server *s, struct error *e)
{
	struct drains_env env = {.outputs = s->outputs,
		.store = s->store,
		.fs = fs_real(),
		.clock = clock_real(),
		.dir = s->outputs_dir};
	int r;

	if (s->router)
		return 0;
	if ((r = drains_open(&s->drains, &env, e)) == 0)
		apply_drains(s);
	return r;
}

/* What is in force, for /config; conf_effective leaves secrets out. */
static void tell_config(struct server *s)
{
	struct buf text = {0};

	conf_effective(s->config, serve_options, &text);
	api_set_config(s->api, buf_view(&text));
	buf_fini(&text);
}

/* Reloads.  Nothing is changed before it is known that everything can be: settings first, then the
 * inputs as a whole, last what the API has of them. */

static void reload_finish(struct server *s, const struct error *e)
{
	if (e)
		log_error("config", "reload: the old configuration stays: %s", e->text);
	else
		log_info("config", "reloaded: %zu inputs run", inputs_count(s->inputs));
	process_notify("READY=1");
	if (!e)
		tell(s, SERVER_RELOADED, 0);
	reloads_finish(&s->reloads, e);
}

static void inputs_exchanged(void *arg, const struct error *e)
{
	struct server *s = arg;
	struct error bad;

	if (e) {
		access_drop(&s->access);
		generation_unref(s->fresh);
	} else {
		/* They were checked and prepared: not to be expected. */
		if (apply_outputs(s, s->fresh, s->fresh_config, &bad) < 0)
			log_error("config", "reload: the old outputs stay: %s", bad.text);
		if (alerting_apply(&s->alerting, &s->fresh_config->alerts, s->peers, &bad) < 0)
			log_error("config", "reload: the old alerts stay: %s", bad.text);
		generation_unref(s->generation);
		s->generation = s->fresh;
		s->config = s->fresh_config;
		api_set_discover(s->api, discover_of(s->config));
		api_set_strict(s->api, s->config->logql.strict);
		retain(s, s->config);
		apply_drains(s);
		tell_config(s);
		access_commit(&s->access, s->http);
	}
	s->fresh = NULL;
	reload_finish(s, e);
}

/* What a reload cannot change: it needs a restart. */
static int check_fixed(
	const struct serve_config *old, const struct serve_config *fresh, struct error *e)
{
	if (!strings_same(&old->http.listen, &fresh->http.listen))
		return error_set(e, ERR_ARG, "http.listen changed: this needs a restart");
	if (!strings_same(&old->peers, &fresh->peers) ||
		!str_same(old->peer.token_file, fresh->peer.token_file) ||
		!str_same(old->peer.ca, fresh->peer.ca) || old->peer.timeout != fresh->peer.timeout)
		return error_set(e, ERR_ARG, "peers changed: this needs a restart");
	if (!old->http.tls.cert != !fresh->http.tls.cert)
		return error_set(e, ERR_ARG, "http.tls was added or removed: this needs a restart");
	if (!old->auth.tokens_file != !fresh->auth.tokens_file)
		return error_set(e, ERR_ARG, "auth was added or removed: this needs a restart");
	if (!conf_same(&old->loggregator, &fresh->loggregator, loggregator_options))
		return error_set(e, ERR_ARG, "loggregator changed: this needs a restart");
	if (!conf_same(&old->route, &fresh->route, route_options))
		return error_set(e, ERR_ARG, "route changed: this needs a restart");
	if (strcmp(old->data, fresh->data) != 0)
		return error_set(e, ERR_ARG, "data changed: this needs a restart");
	if (old->memory != fresh->memory)
		return error_set(e, ERR_ARG, "memory changed: this needs a restart");
	if (old->durability != fresh->durability)
		return error_set(e, ERR_ARG, "durability changed: this needs a restart");
	if (old->limits.max_line != fresh->limits.max_line ||
		old->limits.max_body != fresh->limits.max_body ||
		old->limits.query_timeout != fresh->limits.query_timeout)
		return error_set(e, ERR_ARG, "limits changed: this needs a restart");
	return 0;
}

static void reload_begin(void *ctx)
{
	struct server *s = ctx;
	struct conf_errors errors = {0};
	struct inputs_wanted w;
	struct error e;
	int r;

	process_notify("RELOADING=1");
	tell(s, SERVER_RELOADING, s->hung_up ? SIGHUP : 0);
	s->hung_up = false;
	r = load(s, &s->fresh, &s->fresh_config, &errors);
	if (r < 0)
		error_set(&e, r, "%.*s", STR_ARG(str_trim(buf_view(&errors.text))));
	buf_fini(&errors.text);
	if (r == 0 && (r = check_fixed(s->config, s->fresh_config, &e)) == 0 &&
		(r = outputs_prepare(s->outputs, &s->fresh_config->outputs, &e)) == 0 &&
		(r = access_prepare(&s->access, s->fresh_config, &e)) == 0) {
		w = wanted_of(s, s->fresh, s->fresh_config);
		if ((r = inputs_apply(s->inputs, &w, inputs_exchanged, s, &e)) < 0)
			access_drop(&s->access);
	}
	if (r < 0) {
		generation_unref(s->fresh);
		s->fresh = NULL;
		reload_finish(s, &e);
	}
}

/* One that was asked for over HTTP, on its way to the loop. */
struct request {
	struct server *serve;
	reload_done *done;
	void *arg;
};

static void on_request(void *arg)
{
	struct request *r = arg;
	struct error e;

	if (!r->serve->stopping) {
		reloads_ask(&r->serve->reloads, r->done, r->arg);
	} else {
		error_set(&e, ERR_CLOSED, "the server is stopping");
		r->done(r->arg, &e);
	}
	free(r);
}

/* Any thread. */
static void reload_ask(void *ctx, void (*done)(void *arg, const struct error *e), void *arg)
{
	struct request *r = xcalloc(1, sizeof *r);
	struct server *s = ctx;
	struct error e;

	*r = (struct request){.serve = s, .done = done, .arg = arg};
	if (loop_post(s->loop, on_request, r))
		return;
	error_set(&e, ERR_CLOSED, "the server is stopping");
	done(arg, &e);
	free(r);
}

/* Since the last dump. */
static void dump_rate(struct server *s, struct buf *out)
{
	int64_t now = clock_mono_ns(clock_real());
	uint64_t seq = store_last_seq(s->store);
	double seconds = (double)(now - s->dumped_mono) / 1e9;

	buf_printf(out, "rate: %.1f records/s committed in the last %.1f s\n",
		seconds > 0 ? (double)(seq - s->dumped_seq) / seconds : 0, seconds);
	s->dumped_mono = now;
	s->dumped_seq = seq;
}

static void dump(struct server *s)
{
	struct buf out = {0};

	buf_printf(&out, "sawlog %s, process %d, %llu of %llu bytes of memory charged\n",
		SAWLOG_VERSION, (int)getpid(), (unsigned long long)account_held(&s->account),
		(unsigned long long)s->account.limit);
	dump_rate(s, &out);
	store_dump(s->store, &out);
	http_server_dump(s->http, &out);
	api_dump(s->api, &out);
	inputs_dump(s->inputs, &out);
	outputs_dump(s->outputs, &out);
	if (s->drains)
		drains_dump(s->drains, &out);
	peers_dump(s->peers, &out);
	if (s->router)
		router_dump(s->router, &out);
	alerting_dump(&s->alerting, &out);
	stacks_dump(&out);
	stream_print(STDOUT_FILENO, buf_view(&out), PRINT_MS);
	buf_fini(&out);
}

static void end_loop(void *arg)
{
	struct server *s = arg;

	loop_stop(s->loop);
}

static void drain_late(void *arg)
{
	log_warn("serve",
		"inputs did not come to an end in %d ms: what they read and was not "
		"acknowledged is read again at the next start",
		DRAIN_MS);
	end_loop(arg);
}

static void stop(struct server *s, int signum)
{
	struct error e;

	if (s->stopping) {
		/* Asked twice: now. */
		end_loop(s);
		return;
	}
	s->stopping = true;
	log_info("serve", "stopping");
	process_notify("STOPPING=1");
	tell(s, SERVER_STOPPING, signum);
	timer_init(&s->drain_timer, s->loop, drain_late, s);
	timer_set(&s->drain_timer, DRAIN_MS, 0);
	error_set(&e, ERR_CLOSED, "the server is stopping");
	reloads_end(&s->reloads, &e);
	if (s->router)
		router_hurry(s->router);
	inputs_stop(s->inputs, end_loop, s);
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct server *s = handle->data;

	switch (signum) {
	case SIGHUP:
		if (!s->stopping) {
			s->hung_up = true;
			reloads_ask(&s->reloads, NULL, NULL);
		}
		break;
	case SIGUSR1: dump(s); break;
	default: stop(s, signum);
	}
}

static void watch_signals(struct server *s)
{
	static const int numbers[] = {SIGHUP, SIGUSR1, SIGTERM, SIGINT};

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		uv_signal_init(loop_uv(s->loop), &s->signals[i]);
		s->signals[i].data = s;
		uv_signal_start(&s->signals[i], on_signal, numbers[i]);
	}
}

/* The mutant of this program, which the crash campaign must catch, stores resent records again.  It
 * is a build of its own (cli/CMakeLists.txt).  The one that acknowledges too early is caught on the
 * fake disk (store/store_test.c): a kill does not lose what the system has in its cache. */
static void weaken(struct store_options *o)
{
#ifdef SAWLOG_MUTANT
	o->dedupe_off = true;
	log_warn("serve", "this build stores lines twice on purpose");
#endif
}

/* Small segments, so that a small limit leaves room for parts. */
static uint64_t segment_bytes(const struct serve_config *c)
{
	uint64_t bytes, most = c->memory / 4;
	unsigned percent;

	config_retention_size(str_c(c->retention.size), &bytes, &percent);
	if (bytes == 0 || bytes / 16 >= most)
		return 0;
	return bytes / 16;
}

static int open_store(struct server *s, struct error *e)
{
	const struct serve_config *c = s->config;
	struct retention retention = retention_of(c);
	struct store_options o = {.fs = fs_real(),
		.clock = clock_real(),
		.dir = c->data,
		.account = &s->account,
		.segment_bytes = segment_bytes(c),
		.selectors = &query_selectors,
		.retention = &retention,
		.sync_off = c->durability == DURABILITY_OS};
	const struct store_recovery *rec;
	int r;

	weaken(&o);
	r = store_open(&s->store, &o, e);
	free((struct retention_rule *)retention.rules);
	if (r < 0)
		return error_wrap(e, r, "data folder %s", c->data);
	rec = store_recovery(s->store);
	if (rec->records || rec->damaged)
		log_info("serve", "recovered %llu records from the journal in %.2f s, %llu damaged",
			(unsigned long long)rec->records, (double)rec->took_ns / 1e9,
			(unsigned long long)rec->damaged);
	if (o.sync_off)
		log_warn("serve", "durability: os. A power cut may lose acknowledged lines");
	return 0;
}

static int open_rules(struct server *s, struct error *e)
{
	struct buf dir = {0};
	int r;

	buf_printf(&dir, "%s/rules", s->config->data);
	r = rules_open(&s->rules, fs_real(), buf_cstr(&dir), e);
	buf_fini(&dir);
	return r;
}

/* For who asks a router for what servers do.  Frees the items. */
static void name_servers(struct server *s, struct strings *urls)
{
	struct buf text = {0};

	for (size_t i = 0; i < urls->n; i++)
		buf_printf(&text, "%s%s", i ? ", " : "", urls->items[i]);
	s->servers = str_dup(buf_view(&text));
	buf_fini(&text);
	free(urls->items);
}

/* The folder is there: the store has been opened. */
static int open_peers(struct server *s, struct error *e)
{
	const struct serve_config *c = s->config;
	int64_t timeout = c->peer.timeout, most = c->limits.query_timeout / 2;
	int r = instance_id(fs_real(), c->data, s->instance, e);
	struct strings urls = c->peers, zones = {0};

	if (r < 0)
		return r;
	if (c->route.zones.n)
		route_servers(&c->route, &urls, &zones);
	if (urls.n)
		r = peers_new(&s->peers,
			&(struct peers_options){.urls = &urls,
				.zones = zones.n ? &zones : NULL,
				.token_file =
					c->route.zones.n ? c->route.token_file : c->peer.token_file,
				.ca = c->route.zones.n ? c->route.ca : c->peer.ca,
				/* A query is not to end before what it waits for is given up. */
				.timeout_ns = timeout < most ? timeout : most,
				.instance = s->instance},
			e);
	if (c->route.zones.n)
		name_servers(s, &urls);
	free(zones.items);
	return r;
}

static int open_router(struct server *s, struct error *e)
{
	const struct serve_config *c = s->config;
	struct buf dir = {0};
	int r;

	if (c->route.zones.n == 0)
		return 0;
	buf_printf(&dir, "%s/route", c->data);
	r = router_open(&s->router,
		&(struct router_options){.s = &c->route,
			.fs = fs_real(),
			.account = &s->account,
			.dir = buf_cstr(&dir),
			.instance = s->instance},
		e);
	buf_fini(&dir);
	return r;
}

static int open_alerts(struct server *s, struct error *e)
{
	struct alerting_env env = {.store = s->store,
		.account = &s->account,
		.rules = s->rules,
		.data = s->config->data,
		.host = s->host};

	return alerting_open(&s->alerting, &env, e);
}

static void set_metrics(void *ctx)
{
	struct server *s = ctx;

	router_metrics(s->router);
}

static int start_http(struct server *s, struct error *e)
{
	const struct serve_config *c = s->config;
	struct api_options ao = {.store = s->store,
		.sink = sink_of(s),
		.servers = s->servers,
		.metrics = s->router ? set_metrics : NULL,
		.metrics_ctx = s,
		.clock = clock_real(),
		.account = &s->account,
		.loop = s->loop,
		.discover = {c->discover.service_name, c->discover.level},
		.strict = c->logql.strict,
		.max_line = c->limits.max_line,
		.max_body = c->limits.max_body,
		.query_timeout_ns = c->limits.query_timeout,
		.tokens = s->access.tokens,
		.host = s->host,
		.durability = c->durability == DURABILITY_OS ? "os" : "sync",
		.reload = reload_ask,
		.reload_ctx = s,
		.rules = s->rules,
		.alerts = s->alerting.alerts,
		.silences = s->alerting.silences,
		.notify = s->alerting.notify,
		.outputs = s->outputs,
		.drains = s->drains,
		.peers = s->peers,
		.instance = s->instance,
		.loggregator = &c->loggregator};
	const char **listen = xcalloc(c->http.listen.n + 1, sizeof *listen);
	struct http_options ho = {.listen = listen,
		.n_threads = HTTP_THREADS,
		.max_body = c->limits.max_body / 2,
		.account = &s->account,
		.routes = api_routes(),
		.served = api_served,
		.refused = api_refused,
		.admit = api_admit,
		.tls = s->access.tls};
	int r;

	for (size_t i = 0; i < c->http.listen.n; i++)
		listen[i] = c->http.listen.items[i];
	ho.ctx = s->api = api_new(&ao);
	tell_config(s);
	ho.ws_account = api_tail_account(s->api);
	r = http_server_start(&s->http, &ho, e);
	free(listen);
	return r;
}

static void put_route(const struct route_settings *s, struct buf *out)
{
	const struct string_group *own = route_zone(s);
	size_t all = 0;

	for (size_t i = 0; i < s->zones.n; i++)
		all += s->zones.items[i].values.n;
	buf_printf(out, "router of zone %s: records go to %zu servers, answers come from %zu\n",
		own->name, own->values.n, all);
}

static void announce(struct server *s)
{
	const struct serve_config *c = s->config;
	struct buf out = {0};

	for (size_t i = 0; i < c->http.listen.n; i++) {
		struct str host = str_c(c->http.listen.items[i]);
		while (host.n && host.p[host.n - 1] != ':')
			host.n--;
		buf_printf(&out, "sawlog %s: page and API at %s://%.*s%u/\n", SAWLOG_VERSION,
			s->access.tls ? "https" : "http", STR_ARG(host),
			http_server_port(s->http, i));
		if (config_open_to_all(c) && !exposed_loopback(c->http.listen.items[i]))
			log_warn("serve", "%s %s (insecure_allow)", c->http.listen.items[i],
				s->access.tokens ? "takes tokens over a line that others can read"
						 : "answers anyone who reaches it");
	}
	if (s->router)
		put_route(&c->route, &out);
	buf_printf(&out, "store %s, memory %llu MiB, %zu inputs running", c->data,
		(unsigned long long)c->memory >> 20, inputs_count(s->inputs));
	if (c->outputs.n)
		buf_printf(&out, ", %zu outputs", c->outputs.n);
	buf_c(&out, "\n"
		    "search: sawlog query '{} |= \"error\"'    follow: sawlog tail '{}'\n");
	stream_print(STDOUT_FILENO, buf_view(&out), PRINT_MS);
	buf_fini(&out);
	process_notify("READY=1");
}

static void inputs_started(void *arg, const struct error *e)
{
	struct server *s = arg;

	/* A source that is not there (no journal on this machine) must not keep the others
	 * from being collected. */
	if (e && e->code == ERR_NOT_FOUND)
		log_warn("serve", "%s", e->text);
	else if (e)
		log_error("serve", "%s", e->text);
	api_set_ready(s->api);
	announce(s);
	tell(s, SERVER_STARTED, 0);
}

static int start_inputs(struct server *s, struct error *e)
{
	struct inputs_wanted w = wanted_of(s, s->generation, s->config);
	struct buf dir = {0};

	buf_printf(&dir, "%s/inputs", s->config->data);
	s->inputs = inputs_new(s->loop, buf_cstr(&dir), NULL, NULL);
	buf_fini(&dir);
	s->reloads = (struct reloads){.begin = reload_begin, .ctx = s};
	w.most = true;
	return inputs_apply(s->inputs, &w, inputs_started, s, e);
}

static void look_at_files(void *arg)
{
	struct server *s = arg;

	access_look(&s->access, s->config, s->http);
}

/* Against the flow of a record: what answers and feeds ends before the store does. */
static void close_all(struct server *s)
{
	if (s->api)
		api_drain(s->api);
	if (s->http)
		http_server_stop(s->http, HTTP_DRAIN_MS);
	api_free(s->api);
	alerting_close(&s->alerting, NOTIFY_DRAIN_MS);
	rules_close(s->rules);
	peers_free(s->peers);
	/* An input that did not stop in time still uses its handles and settings; the process is
	 * about to end. */
	if (s->inputs && inputs_count(s->inputs) == 0) {
		inputs_free(s->inputs);
		s->inputs = NULL;
	}
	/* They deliver what was committed: all that will be. */
	if (s->outputs) {
		own_records_wait(&s->own, SAID_MS);
		drains_stop(s->drains);
		outputs_stop(s->outputs, OUTPUT_DRAIN_MS);
		outputs_free(s->outputs);
		drains_free(s->drains);
		free(s->outputs_dir);
	}
	/* An input that has not stopped may still call it. */
	if (s->router && !s->inputs)
		router_close(s->router, ROUTE_DRAIN_MS);
	if (s->store)
		store_close(s->store);
	if (s->inputs)
		return;
	timer_fini(&s->drain_timer);
	timer_fini(&s->guard_timer);
	timer_fini(&s->look_timer);
	loop_free(s->loop);
	free(s->servers);
	access_close(&s->access);
	generation_unref(s->generation);
}

static int serve(struct server *s, struct error *e)
{
	int r;

	raise_file_limit();
	process_hostname(s->host, sizeof s->host);
	heap_tune(s->config->memory);
	account_init(&s->account, "memory", s->config->memory, NULL);
	s->loop = loop_new("main");
	if ((r = open_store(s, e)) < 0)
		return r;
	own_records_init(&s->own, store_sink(s->store));
	if ((r = open_peers(s, e)) < 0 || (r = open_router(s, e)) < 0 ||
		(r = start_outputs(s, e)) < 0 || (r = start_drains(s, e)) < 0 ||
		(r = open_rules(s, e)) < 0 || (r = open_alerts(s, e)) < 0 ||
		(r = start_http(s, e)) < 0 ||
		(r = alerting_apply(&s->alerting, &s->config->alerts, s->peers, e)) < 0)
		return r;
	s->dumped_seq = store_last_seq(s->store);
	s->dumped_mono = clock_mono_ns(clock_real());
	watch_signals(s); /* before anybody is told that we are there */
	if ((r = start_inputs(s, e)) < 0)
		return r;
	timer_init(&s->guard_timer, s->loop, guard_memory, s);
	timer_set(&s->guard_timer, GUARD_MS, GUARD_MS);
	timer_init(&s->look_timer, s->loop, look_at_files, s);
	timer_set(&s->look_timer, LOOK_MS, LOOK_MS);
	loop_run(s->loop);
	return 0;
}

int server_run(struct command_line *cl, const struct server_plan *plan)
{
	struct server s = {.plan = plan};
	struct conf_errors errors = {0};
	struct error e;
	int r;

	stacks_init();
	r = load(&s, &s.generation, &s.config, &errors);

	if (r < 0) {
		fprintf(cl->err, "%.*s", STR_ARG(buf_view(&errors.text)));
		buf_fini(&errors.text);
		close_all(&s);
		return EXIT_CONFIG;
	}
	buf_fini(&errors.text);
	if (access_open(&s.access, s.config, &e) < 0) {
		close_all(&s);
		command_fail(cl, &e);
		return EXIT_CONFIG;
	}
	r = serve(&s, &e);
	close_all(&s);
	if (r < 0)
		return command_fail(cl, &e);
	log_info("serve", "stopped");
	return EXIT_OK;
}
