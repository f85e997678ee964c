/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sawlog serve: wires store, API and inputs together and runs the main loop.
 *
 * Start: config, memory ceiling, store (recovers), HTTP, inputs, READY.
 * SIGHUP and POST /-/reload: load the config again, exchange the inputs that changed.
 * SIGUSR1: dump to stdout.
 * SIGTERM, SIGINT: stop inputs, answer what is under way, commit, close: within 10 s.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/api.h"
#include "base/log.h"
#include "cli/access.h"
#include "cli/command.h"
#include "cli/input_flags.h"
#include "input/exposed.h"
#include "alert/rules.h"
#include "input/set.h"
#include "os/heap.h"
#include "os/process.h"
#include "query/selector.h"
#include "store/retain.h"

enum {
	DRAIN_MS = 8000, /* of the 10 s that a stop may take, for inputs and answers */
	HTTP_DRAIN_MS = 1500,
	HTTP_THREADS = 2,
	GUARD_MS = 100,
	LOOK_MS = 2000, /* for replaced certificates */
};

struct serve {
	const char *file; /* of the config; NULL: none */
	const char *const *flags;
	const char **inputs_given;
	struct generation *generation; /* holds config */
	const struct serve_config *config;
	struct account account;
	struct access access;
	struct store *store;
	struct loop *loop;
	struct rules *rules;
	struct api *api;
	struct http_server *http;
	struct inputs *inputs;
	struct reloads reloads;
	/* Of a reload under way. */
	struct generation *fresh;
	const struct serve_config *fresh_config;
	char host[256];
	uv_signal_t signals[4];
	struct timer drain_timer, guard_timer, look_timer;
	bool stopping;
};

static void guard_memory(void *arg)
{
	struct serve *s = arg;

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
static int load(struct serve *s, struct generation **out, const struct serve_config **config,
	struct conf_errors *errors)
{
	struct generation *g = generation_new();
	struct serve_config *c = ARENA_NEW(&g->arena, struct serve_config);
	int r = config_load(c, s->file, s->flags, s->inputs_given, &g->arena, errors);

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

static struct inputs_wanted wanted_of(
	struct serve *s, struct generation *g, const struct serve_config *c)
{
	return (struct inputs_wanted){
		.kinds = &c->inputs,
		.generation = g,
		.env = {.loop = s->loop,
			.sink = store_sink(s->store),
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

static void retain(struct serve *s, const struct serve_config *c)
{
	struct retention r = retention_of(c);
	struct error e;

	if (store_retain(s->store, &r, &e) < 0)
		log_error("config", "%s", e.text); /* not to be expected: it was checked */
	free((struct retention_rule *)r.rules);
}

/* What is in force, for /config; conf_effective leaves secrets out. */
static void tell_config(struct serve *s)
{
	struct buf text = {0};

	conf_effective(s->config, serve_options, &text);
	api_set_config(s->api, buf_view(&text));
	buf_fini(&text);
}

/* Reloads.  Nothing is changed before it is known that everything can be: settings first, then the
 * inputs as a whole, last what the API has of them. */

static void reload_finish(struct serve *s, const struct error *e)
{
	if (e)
		log_error("config", "reload: the old configuration stays: %s", e->text);
	else
		log_info("config", "reloaded: %zu inputs run", inputs_count(s->inputs));
	process_notify("READY=1");
	reloads_finish(&s->reloads, e);
}

static void inputs_exchanged(void *arg, const struct error *e)
{
	struct serve *s = arg;

	if (e) {
		access_drop(&s->access);
		generation_unref(s->fresh);
	} else {
		generation_unref(s->generation);
		s->generation = s->fresh;
		s->config = s->fresh_config;
		api_set_discover(s->api, discover_of(s->config));
		api_set_strict(s->api, s->config->logql.strict);
		retain(s, s->config);
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
	bool same = old->http.listen.n == fresh->http.listen.n;

	for (size_t i = 0; same && i < old->http.listen.n; i++)
		same = strcmp(old->http.listen.items[i], fresh->http.listen.items[i]) == 0;
	if (!same)
		return error_set(e, ERR_ARG, "http.listen changed: this needs a restart");
	if (!old->http.tls.cert != !fresh->http.tls.cert)
		return error_set(e, ERR_ARG, "http.tls was added or removed: this needs a restart");
	if (!old->auth.tokens_file != !fresh->auth.tokens_file)
		return error_set(e, ERR_ARG, "auth was added or removed: this needs a restart");
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
	struct serve *s = ctx;
	struct conf_errors errors = {0};
	struct inputs_wanted w;
	struct error e;
	int r;

	process_notify("RELOADING=1");
	r = load(s, &s->fresh, &s->fresh_config, &errors);
	if (r < 0)
		error_set(&e, r, "%.*s", STR_ARG(str_trim(buf_view(&errors.text))));
	buf_fini(&errors.text);
	if (r == 0 && (r = check_fixed(s->config, s->fresh_config, &e)) == 0 &&
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
	struct serve *serve;
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
	struct serve *s = ctx;
	struct error e;

	*r = (struct request){.serve = s, .done = done, .arg = arg};
	if (loop_post(s->loop, on_request, r))
		return;
	error_set(&e, ERR_CLOSED, "the server is stopping");
	done(arg, &e);
	free(r);
}

static void dump(struct serve *s)
{
	struct buf out = {0};

	buf_printf(&out, "sawlog %s, process %d, %llu of %llu bytes of memory charged\n",
		SAWLOG_VERSION, (int)getpid(), (unsigned long long)account_held(&s->account),
		(unsigned long long)s->account.limit);
	store_dump(s->store, &out);
	api_dump(s->api, &out);
	inputs_dump(s->inputs, &out);
	fwrite(out.p, 1, out.n, stdout);
	fflush(stdout);
	buf_fini(&out);
}

static void end_loop(void *arg)
{
	struct serve *s = arg;

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

static void stop(struct serve *s)
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
	timer_init(&s->drain_timer, s->loop, drain_late, s);
	timer_set(&s->drain_timer, DRAIN_MS, 0);
	error_set(&e, ERR_CLOSED, "the server is stopping");
	reloads_end(&s->reloads, &e);
	inputs_stop(s->inputs, end_loop, s);
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct serve *s = handle->data;

	switch (signum) {
	case SIGHUP:
		if (!s->stopping)
			reloads_ask(&s->reloads, NULL, NULL);
		break;
	case SIGUSR1: dump(s); break;
	default: stop(s);
	}
}

static void watch_signals(struct serve *s)
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

static int open_store(struct serve *s, struct error *e)
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

static int open_rules(struct serve *s, struct error *e)
{
	struct buf dir = {0};
	int r;

	buf_printf(&dir, "%s/rules", s->config->data);
	r = rules_open(&s->rules, fs_real(), buf_cstr(&dir), e);
	buf_fini(&dir);
	return r;
}

static int start_http(struct serve *s, struct error *e)
{
	const struct serve_config *c = s->config;
	struct api_options ao = {.store = s->store,
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
		.rules = s->rules};
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

static void announce(struct serve *s)
{
	const struct serve_config *c = s->config;

	for (size_t i = 0; i < c->http.listen.n; i++) {
		struct str host = str_c(c->http.listen.items[i]);
		while (host.n && host.p[host.n - 1] != ':')
			host.n--;
		printf("sawlog %s: page and API at %s://%.*s%u/\n", SAWLOG_VERSION,
			s->access.tls ? "https" : "http", STR_ARG(host),
			http_server_port(s->http, i));
		if (config_open_to_all(c) && !exposed_loopback(c->http.listen.items[i]))
			log_warn("serve", "%s %s (insecure_allow)", c->http.listen.items[i],
				s->access.tokens ? "takes tokens over a line that others can read"
						 : "answers anyone who reaches it");
	}
	printf("store %s, memory %llu MiB, %zu inputs running\n", c->data,
		(unsigned long long)c->memory >> 20, inputs_count(s->inputs));
	printf("search: sawlog query '{} |= \"error\"'    follow: sawlog tail '{}'\n");
	fflush(stdout);
	process_notify("READY=1");
}

static void inputs_started(void *arg, const struct error *e)
{
	struct serve *s = arg;

	/* A source that is not there (no journal on this machine) must not keep the others
	 * from being collected. */
	if (e && e->code == ERR_NOT_FOUND)
		log_warn("serve", "%s", e->text);
	else if (e)
		log_error("serve", "%s", e->text);
	api_set_ready(s->api);
	announce(s);
}

static int start_inputs(struct serve *s, struct error *e)
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
	struct serve *s = arg;

	access_look(&s->access, s->config, s->http);
}

/* Against the flow of a record: what answers and feeds ends before the store does. */
static void close_all(struct serve *s)
{
	if (s->api)
		api_drain(s->api);
	if (s->http)
		http_server_stop(s->http, HTTP_DRAIN_MS);
	api_free(s->api);
	rules_close(s->rules);
	/* An input that did not stop in time still uses its handles and settings; the process is
	 * about to end. */
	if (s->inputs && inputs_count(s->inputs) == 0) {
		inputs_free(s->inputs);
		s->inputs = NULL;
	}
	if (s->store)
		store_close(s->store);
	if (s->inputs)
		return;
	timer_fini(&s->drain_timer);
	timer_fini(&s->guard_timer);
	timer_fini(&s->look_timer);
	loop_free(s->loop);
	access_close(&s->access);
	generation_unref(s->generation);
	free(s->inputs_given);
}

static int serve(struct serve *s, struct error *e)
{
	int r;

	raise_file_limit();
	process_hostname(s->host, sizeof s->host);
	heap_tune(s->config->memory);
	account_init(&s->account, "memory", s->config->memory, NULL);
	s->loop = loop_new("main");
	if ((r = open_store(s, e)) < 0 || (r = open_rules(s, e)) < 0 || (r = start_http(s, e)) < 0)
		return r;
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

static const struct flag flags[] = {
	{.name = "config",
		.letter = 'c',
		.kind = FLAG_STRING,
		.value = "FILE",
		.env = "SAWLOG_CONFIG",
		.help = "Configuration file, YAML. Every key of it is also a flag (--http.listen, "
			"--memory) and an environment variable (SAWLOG_MEMORY)."},
	{.name = "http",
		.kind = FLAG_STRING,
		.value = "ADDR",
		.setting = "http.listen",
		.help = "Address of the API and the page, default 127.0.0.1:3100."},
	INPUT_FLAG,
	FLAG_END,
};

static int run(struct command_line *cl)
{
	struct serve s = {.file = flag_string(cl, "config"), .flags = cl->settings};
	struct conf_errors errors = {0};
	size_t n_inputs = flag_count(cl, "input");
	struct error e;
	int r;

	s.inputs_given = xcalloc(n_inputs + 1, sizeof *s.inputs_given);
	for (size_t i = 0; i < n_inputs; i++)
		s.inputs_given[i] = flag_nth(cl, "input", i);
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

const struct command command_serve = {
	.name = "serve",
	.args = "",
	.summary = "collect, store and answer",
	.description =
		"Runs the server: takes pushes (Loki, batch API, sawlog forward) and reads its "
		"inputs, keeps the records, answers Loki's API and serves the page.\n\n"
		"A record is acknowledged when it is on disk. SIGHUP reads the configuration "
		"again, SIGUSR1 prints the state, SIGTERM stops within 10 seconds.",
	.examples =
		"sawlog serve\n  listen on 127.0.0.1:3100, keep the data in the default folder\n"
		"sawlog serve --data ./data --input journald --input 'file=/var/log/*.log'\n"
		"  collect this machine's logs\n",
	.flags = flags,
	.settings = true,
	.options = serve_options,
	.run = run,
};
