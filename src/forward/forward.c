/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  The calling thread only waits: for a signal, for the inputs to end
 * by themselves, and twice a second to show how it goes.  Inputs live on one
 * loop, the uplink on its thread.
 *
 *   start on the loop ──► wait ──► stop on the loop ──► all stopped ──► close
 *                          │ signal, end      │ 10 s or a second signal:
 *                          └──────────────────┘ uplink_abort, then they stop at once
 *
 * SIGHUP loads the settings again on the loop.  Servers are exchanged first:
 * the old ones may be the reason why inputs that are to stop cannot.
 */
#include "forward/forward.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/metric.h"
#include "forward/uplink.h"
#include "input/set.h"
#include "input/settings.h"
#include "os/fs.h"
#include "os/heap.h"
#include "os/process.h"

enum {
	DRAIN_MS = 10000,
	SHOW_MS = 500,
};

/* Settings with what was made of them, in one memory. */
struct plan {
	struct generation *generation;
	const struct forward_options *o;
	struct servers_options servers;
	struct kinds kinds; /* o->inputs, and files and stdin of o->paths */
	const char *host;
};

struct agent {
	/* Fixed once started. */
	struct buf data;
	struct file *lock_file;
	struct account memory, reading;
	struct uplink *uplink;
	struct loop *loop;
	int bell; /* eventfd: something below changed */
	int signals;
	sigset_t old_mask;
	bool masked, tty;
	bool reloads_on; /* SIGHUP is a reload, else the end */
	/* The loop's, while it runs. */
	struct plan now, fresh;
	struct inputs *inputs;
	struct reloads reloads;
	/* Main thread. */
	bool shown_connected, shown_any;
	char shown_reason[500];
	struct uplink_stats last;
	int64_t last_mono;
	/* Under `lock`. */
	struct lock lock;
	bool start_done, ended, stopped, gone;
	struct error start_error;
};

void forward_data_default(struct buf *out)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	if (geteuid() == 0)
		buf_c(out, "/var/lib/sawlog-forward");
	else if (state && state[0] == '/')
		buf_printf(out, "%s/sawlog/forward", state);
	else
		buf_printf(out, "%s/.local/state/sawlog/forward", home ? home : "");
}

static void ring(struct agent *a)
{
	uint64_t one = 1;

	/* It cannot fail but by a full counter, which rings as well. */
	if (write(a->bell, &one, sizeof(one)) < 0)
		return;
}

static void set_flag(struct agent *a, bool *flag)
{
	lock_take(&a->lock);
	*flag = true;
	lock_drop(&a->lock);
	ring(a);
}

static bool get_flag(struct agent *a, const bool *flag)
{
	bool yes;

	lock_take(&a->lock);
	yes = *flag;
	lock_drop(&a->lock);
	return yes;
}

/* Plans. */

/* Relative paths start at the working folder. */
static const char *absolute(struct arena *arena, const char *path)
{
	char *cwd;
	const char *out;

	if (path[0] == '/')
		return path;
	cwd = getcwd(NULL, 0);
	while (path[0] == '.' && path[1] == '/')
		path += 2;
	out = arena_printf(arena, "%s/%s", cwd ? cwd : "", path);
	free(cwd);
	return out;
}

static void add_kind(struct plan *p, const char *name, void *settings)
{
	p->kinds.items[p->kinds.n++] = (struct kind_entry){
		.kind = name, .type = input_type_find(str_c(name), NULL), .settings = settings};
}

static int plan_inputs(struct plan *p, struct error *e)
{
	const struct forward_options *o = p->o;
	struct arena *arena = &p->generation->arena;
	const char **paths = ARENA_ARRAY(arena, const char *, o->paths.n + 1);
	bool use_stdin = false;
	size_t n = 0;

	for (size_t i = 0; i < o->paths.n; i++) {
		if (strcmp(o->paths.items[i], "-") == 0)
			use_stdin = true;
		else
			paths[n++] = absolute(arena, o->paths.items[i]);
	}
	if (n == 0 && !use_stdin && o->inputs.n == 0)
		return error_set(e, ERR_ARG,
			"nothing to forward: name files or globs, or - for the standard input");
	if (use_stdin && o->stdio)
		return error_set(e, ERR_ARG,
			"with --stdio the standard input holds the server's answers: it "
			"cannot be read as lines too");
	p->kinds.items = ARENA_ARRAY(arena, struct kind_entry, o->inputs.n + 2);
	if (n > 0) {
		struct file_settings *s = ARENA_NEW(arena, struct file_settings);

		*s = (struct file_settings){.paths = {paths, n},
			.exclude = o->exclude,
			.labels = o->labels,
			.app = o->app,
			.start = o->start,
			.detect_time = o->detect_time,
			.rotate_wait = 60 * NS_PER_SEC,
			.once = o->once};
		add_kind(p, "file", s);
	}
	if (use_stdin) {
		struct stdin_settings *s = ARENA_NEW(arena, struct stdin_settings);

		*s = (struct stdin_settings){.app = o->app ? o->app : "stdin",
			.labels = o->labels,
			.detect_time = o->detect_time};
		add_kind(p, "stdin", s);
	}
	for (size_t i = 0; i < o->inputs.n; i++)
		p->kinds.items[p->kinds.n++] = o->inputs.items[i];
	return 0;
}

static void plan_servers(struct plan *p)
{
	const struct forward_options *o = p->o;
	const char *env = getenv("SAWLOG_ADDR");
	const char **urls = ARENA_ARRAY(&p->generation->arena, const char *, o->url.n + 1);

	for (size_t i = 0; i < o->url.n; i++)
		urls[i] = o->url.items[i];
	if (o->url.n == 0)
		urls[0] = arena_c(
			&p->generation->arena, str_c(env && *env ? env : "http://127.0.0.1:3100"));
	p->servers = (struct servers_options){.urls = urls,
		.n_urls = o->url.n ? o->url.n : 1,
		.tenant = o->tenant,
		.token_file = o->token_file,
		.ca = o->ca,
		.cert = o->cert,
		.key = o->key,
		.insecure = o->insecure,
		.failover_after_ns = o->failover_after,
		.return_after_ns = o->return_after};
}

/* `o` and what it points to live as long as the plan, or in its generation. */
static int plan_make(
	struct plan *p, struct generation *g, const struct forward_options *o, struct error *e)
{
	char name[256];

	*p = (struct plan){.generation = g, .o = o};
	process_hostname(name, sizeof(name));
	p->host = o->host ? o->host : arena_c(&g->arena, str_c(name));
	plan_servers(p);
	return plan_inputs(p, e);
}

static struct inputs_wanted wanted_of(struct agent *a, const struct plan *p)
{
	return (struct inputs_wanted){
		.kinds = &p->kinds,
		.generation = p->generation,
		.env = {.loop = a->loop,
			.sink = uplink_sink(a->uplink),
			.clock = clock_real(),
			.account = &a->reading,
			.discover = {.service_name = true, .level = true},
			.host = p->host,
			.tenant = p->o->tenant ? str_c(p->o->tenant) : STR("default")},
	};
}

/* Inputs, on the loop. */

static void on_ended(void *arg)
{
	struct agent *a = arg;

	set_flag(a, &a->ended);
}

static void on_gone(void *arg) /* the pipe's thread */
{
	struct agent *a = arg;

	set_flag(a, &a->gone);
}

static void on_started(void *arg, const struct error *e)
{
	struct agent *a = arg;

	lock_take(&a->lock);
	if (e)
		a->start_error = *e;
	lock_drop(&a->lock);
	set_flag(a, &a->start_done);
}

static void start_inputs(void *arg)
{
	struct agent *a = arg;
	struct inputs_wanted w = wanted_of(a, &a->now);
	struct error e;

	a->inputs = inputs_new(a->loop, buf_cstr(&a->data), on_ended, a);
	if (inputs_apply(a->inputs, &w, on_started, a, &e) < 0)
		on_started(a, &e);
}

static void on_stopped(void *arg)
{
	struct agent *a = arg;

	set_flag(a, &a->stopped);
}

static void stop_inputs(void *arg)
{
	struct agent *a = arg;
	struct error e;

	error_set(&e, ERR_CLOSED, "the forwarder is ending");
	reloads_end(&a->reloads, &e);
	inputs_stop(a->inputs, on_stopped, a);
}

/* Reload, on the loop. */

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_servers(const struct plan *a, const struct plan *b)
{
	const struct servers_options *x = &a->servers, *y = &b->servers;
	bool same = x->n_urls == y->n_urls && same_text(x->token_file, y->token_file) &&
		    same_text(x->ca, y->ca) && same_text(x->cert, y->cert) &&
		    same_text(x->key, y->key) && x->insecure == y->insecure &&
		    x->failover_after_ns == y->failover_after_ns &&
		    x->return_after_ns == y->return_after_ns && a->o->packing == b->o->packing;

	for (size_t i = 0; same && i < x->n_urls; i++)
		same = strcmp(x->urls[i], y->urls[i]) == 0;
	return same;
}

static int use_servers(struct agent *a, const struct plan *p, struct error *e)
{
	return uplink_set_servers(a->uplink, &p->servers, (enum uplink_packing)p->o->packing, e);
}

static void reload_end(struct agent *a, const struct error *e)
{
	if (e)
		log_error("config", "reload: the old configuration stays: %s", e->text);
	else
		log_info("config", "reloaded: %zu inputs run", inputs_count(a->inputs));
	reloads_finish(&a->reloads, e);
}

static void on_exchanged(void *arg, const struct error *e)
{
	struct agent *a = arg;
	struct plan old = a->now, fresh = a->fresh;

	a->fresh = (struct plan){0};
	if (!e) {
		a->now = fresh;
		generation_unref(old.generation);
	} else {
		if (!same_servers(&old, &fresh) && e->code != ERR_CLOSED &&
			use_servers(a, &old, NULL) < 0)
			log_error("forward", "the servers before the reload cannot be used again");
		generation_unref(fresh.generation);
	}
	reload_end(a, e);
}

static int check_fixed(
	const struct forward_options *old, const struct forward_options *fresh, struct error *e)
{
	if (!same_text(old->data, fresh->data))
		return error_set(e, ERR_ARG, "data changed: this needs a restart");
	if (old->memory != fresh->memory)
		return error_set(e, ERR_ARG, "memory changed: this needs a restart");
	/* What is under way is of the old tenant. */
	if (!same_text(old->tenant, fresh->tenant))
		return error_set(e, ERR_ARG, "tenant changed: this needs a restart");
	return 0;
}

static int reload_try(struct agent *a, struct error *e)
{
	const struct forward_options *old = a->now.o;
	struct generation *g = generation_new();
	struct forward_options *o = ARENA_NEW(&g->arena, struct forward_options);
	struct inputs_wanted w;
	int r;

	if ((r = old->load(old->load_arg, o, &g->arena, e)) < 0 ||
		(r = check_fixed(old, o, e)) < 0 || (r = plan_make(&a->fresh, g, o, e)) < 0)
		goto fail;
	o->load = old->load;
	o->load_arg = old->load_arg;
	if (!same_servers(&a->now, &a->fresh) && (r = use_servers(a, &a->fresh, e)) < 0)
		goto fail;
	w = wanted_of(a, &a->fresh);
	if ((r = inputs_apply(a->inputs, &w, on_exchanged, a, e)) == 0)
		return 0;
	if (!same_servers(&a->now, &a->fresh))
		use_servers(a, &a->now, NULL);
fail:
	a->fresh = (struct plan){0};
	generation_unref(g);
	return r;
}

static void reload_begin(void *ctx)
{
	struct agent *a = ctx;
	struct error e;

	if (reload_try(a, &e) < 0)
		reload_end(a, &e);
}

static void on_reload(void *arg)
{
	struct agent *a = arg;

	reloads_ask(&a->reloads, NULL, NULL);
}

/* Setting up. */

static int set_data(struct agent *a, struct error *e)
{
	struct buf lock_path = {0};
	int r;

	if (a->now.o->data)
		buf_c(&a->data, a->now.o->data);
	else
		forward_data_default(&a->data);
	if ((r = fs_mkdir(fs_real(), buf_cstr(&a->data), e)) < 0)
		return error_wrap(e, r, "the folder for positions (--data)");
	buf_printf(&lock_path, "%s/LOCK", buf_cstr(&a->data));
	r = fs_lock(fs_real(), buf_cstr(&lock_path), &a->lock_file, e);
	buf_fini(&lock_path);
	if (r == ERR_BUSY)
		error_set(e, ERR_BUSY,
			"another sawlog forward uses %s: give this one a folder of its own with "
			"--data",
			buf_cstr(&a->data));
	return r;
}

static int set_uplink(struct agent *a, struct error *e)
{
	const struct forward_options *o = a->now.o;
	struct uplink_options uo = {.servers = a->now.servers,
		.stdio = o->stdio,
		.gone = on_gone,
		.gone_arg = a,
		.packing = (enum uplink_packing)o->packing,
		.account = &a->memory,
		.max_queued_bytes = o->memory / 4};

	account_init(&a->memory, "memory", o->memory, NULL);
	/* A quarter stays for what the uplink packs and for the rest of the process. */
	account_init(&a->reading, "inputs", o->memory / 4 * 3, &a->memory);
	return uplink_open(&a->uplink, &uo, e);
}

/* Each followed file is a descriptor: take as many as the system lets us. */
static void raise_file_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

/* Signals arrive as events; the mask is set before any thread is made, which inherit it. */
static int set_signals(struct agent *a, struct error *e)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &mask, &a->old_mask);
	a->masked = true;
	sigdelset(&mask, SIGPIPE);
	a->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	a->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (a->signals < 0 || a->bell < 0)
		return error_errno(e, errno, "signalfd, eventfd");
	return 0;
}

/* Showing. */

static void show_line(struct agent *a, const struct uplink_stats *now, double seconds)
{
	struct buf line = {0};
	int64_t lag = metric_get(METRIC_forward_lag_bytes, "");

	buf_printf(&line, "%.0f lines/s  ",
		seconds > 0 ? (double)(now->records - a->last.records) / seconds : 0);
	size_format(&line,
		seconds > 0 ? (uint64_t)((double)(now->raw_bytes - a->last.raw_bytes) / seconds)
			    : 0);
	buf_printf(&line, "/s  %llu lines, ", (unsigned long long)now->records);
	size_format(&line, now->raw_bytes);
	buf_c(&line, " acknowledged  lag ");
	size_format(&line, lag > 0 ? (uint64_t)lag : 0);
	if (now->connected)
		buf_c(&line, "  connected");
	else if (now->last_error.code)
		buf_printf(&line, "  %s", now->last_error.text);
	else
		buf_c(&line, "  connecting");
	if (line.n > 160)
		line.n = 160;
	fprintf(stderr, "\r\033[K%s", buf_cstr(&line));
	fflush(stderr);
	buf_fini(&line);
}

static void log_changes(struct agent *a, const struct uplink_stats *now)
{
	const char *reason = now->last_error.text;

	if (now->connected && (!a->shown_any || !a->shown_connected)) {
		log_info("forward", "connected to %s", now->url[0] ? now->url : "the other side");
	} else if (!now->connected && now->last_error.code &&
		   (!a->shown_any || a->shown_connected || strcmp(reason, a->shown_reason) != 0)) {
		log_warn("forward", "not connected, lines wait: %s", reason);
		snprintf(a->shown_reason, sizeof(a->shown_reason), "%s", reason);
	} else {
		return;
	}
	a->shown_any = true;
	a->shown_connected = now->connected;
}

static void show(struct agent *a)
{
	struct uplink_stats now;
	int64_t mono = clock_mono_ns(clock_real());

	uplink_stats(a->uplink, &now);
	if (a->tty)
		show_line(a, &now, (double)(mono - a->last_mono) / 1e9);
	else
		log_changes(a, &now);
	a->last = now;
	a->last_mono = mono;
	heap_guard(&a->memory);
}

/* Waiting. */

/* Wait for a bell, a signal to end (true) or `ms`. */
static bool wait_for(struct agent *a, int ms)
{
	struct pollfd fds[2] = {
		{.fd = a->bell, .events = POLLIN}, {.fd = a->signals, .events = POLLIN}};
	struct signalfd_siginfo info;
	uint64_t n;

	if (poll(fds, 2, ms) <= 0)
		return false;
	if (fds[0].revents && read(a->bell, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return false;
	if (!fds[1].revents || read(a->signals, &info, sizeof(info)) != sizeof(info))
		return false;
	if (info.ssi_signo != SIGHUP || !a->reloads_on)
		return true;
	loop_post(a->loop, on_reload, a);
	return false;
}

static int wait_started(struct agent *a, struct error *e)
{
	int r;

	while (!get_flag(a, &a->start_done))
		wait_for(a, SHOW_MS);
	r = a->start_error.code;
	if (r < 0 && e)
		*e = a->start_error;
	return r;
}

/* Wait until the show is over. */
static void wait_end(struct agent *a)
{
	a->last_mono = clock_mono_ns(clock_real());
	while (!get_flag(a, &a->ended) && !get_flag(a, &a->gone)) {
		int64_t since_ms = (clock_mono_ns(clock_real()) - a->last_mono) / NS_PER_MS;

		if (since_ms >= SHOW_MS) {
			show(a);
			since_ms = 0;
		}
		if (wait_for(a, SHOW_MS - (int)since_ms))
			return;
	}
}

static void drain(struct agent *a)
{
	int64_t until = clock_mono_ns(clock_real()) + DRAIN_MS * NS_PER_MS;
	bool aborted = false;

	a->reloads_on = false;
	loop_post(a->loop, stop_inputs, a);
	while (!get_flag(a, &a->stopped)) {
		bool again = wait_for(a, 100);

		if (!aborted && (again || clock_mono_ns(clock_real()) > until)) {
			uplink_abort(a->uplink);
			aborted = true;
		}
	}
}

static void agent_fini(struct agent *a)
{
	if (a->loop)
		loop_stop(a->loop);
	inputs_free(a->inputs);
	if (a->loop)
		loop_free(a->loop);
	uplink_close(a->uplink, 0);
	generation_unref(a->now.generation);
	file_close(a->lock_file);
	buf_fini(&a->data);
	lock_fini(&a->lock);
	if (a->bell >= 0)
		close(a->bell);
	if (a->signals >= 0)
		close(a->signals);
	if (a->masked)
		pthread_sigmask(SIG_SETMASK, &a->old_mask, NULL);
}

int forward_run(const struct forward_options *o, struct error *e)
{
	struct agent a = {.bell = -1, .signals = -1};
	struct uplink_stats stats;
	int r;

	lock_init(&a.lock);
	a.tty = !o->quiet && !o->stdio && process_is_tty(STDERR_FILENO);
	heap_tune(o->memory);
	raise_file_limit();
	if ((r = set_signals(&a, e)) < 0 || (r = plan_make(&a.now, generation_new(), o, e)) < 0 ||
		(r = set_data(&a, e)) < 0 || (r = set_uplink(&a, e)) < 0)
		goto done;
	a.loop = loop_new("forward");
	a.reloads = (struct reloads){.begin = reload_begin, .ctx = &a};
	a.reloads_on = o->load && !o->stdio;
	loop_start(a.loop);
	loop_post(a.loop, start_inputs, &a);
	if ((r = wait_started(&a, e)) >= 0)
		wait_end(&a);
	drain(&a);
	show(&a);
	if (a.tty)
		fputc('\n', stderr);
	uplink_stats(a.uplink, &stats);
	if (r >= 0 && stats.given_up > 0)
		r = error_set(e, ERR_CLOSED,
			"stopped before all was delivered; files are read again from where "
			"they are acknowledged (%s)",
			stats.last_error.text);
done:
	agent_fini(&a);
	return r;
}

/* Settings. */

static const char *const starts[] = {"begin", "end", NULL};
static const char *const packings[] = {"auto", "plain", "lz4", "zstd", NULL};

const struct option forward_settings[] = {
	OPTION(struct forward_options, url, .kind = OPT_STRINGS,
		.help = "The server, or several in order of preference: when one fails, the next is "
			"used.  Without it $SAWLOG_ADDR, else http://127.0.0.1:3100."),
	OPTION(struct forward_options, data, .kind = OPT_PATH,
		.help = "Folder for positions, one forwarder each.  Without it "
			"/var/lib/sawlog-forward for root, else "
			"$XDG_STATE_HOME/sawlog/forward."),
	OPTION(struct forward_options, paths, .kind = OPT_STRINGS,
		.help = "Files and globs to follow; - is the standard input."),
	OPTION(struct forward_options, exclude, .kind = OPT_STRINGS,
		.help = "Globs of files to leave out."),
	OPTION(struct forward_options, labels, .kind = OPT_MAP, .help = "Labels of all lines."),
	OPTION(struct forward_options, app, .kind = OPT_STRING,
		.help = "The label app; without it by file."),
	OPTION(struct forward_options, host, .kind = OPT_STRING,
		.help = "The label host; without it the host's name."),
	OPTION(struct forward_options, start, .kind = OPT_ENUM, .values = starts,
		.fallback = "begin",
		.help = "Where to begin with files that are there at the very first start."),
	OPTION(struct forward_options, detect_time, .kind = OPT_BOOL, .fallback = "true",
		.help = "Take the time at the head of a line as its timestamp."),
	OPTION(struct forward_options, memory, .kind = OPT_SIZE, .fallback = "32MiB",
		.min = 8 << 20, .max = INT64_C(64) << 30,
		.help = "Ceiling of what is held between reading and acknowledgement."),
	OPTION(struct forward_options, tenant, .kind = OPT_STRING, .help = "The tenant."),
	OPTION(struct forward_options, token_file, .kind = OPT_PATH,
		.help = "File with the token for the server; read again when it changes."),
	OPTION(struct forward_options, ca, .kind = OPT_PATH,
		.help = "PEM file with the certificates that sign the server's.  Without it the "
			"system's."),
	OPTION(struct forward_options, cert, .kind = OPT_PATH,
		.help = "PEM file with the client's certificate, for a server that asks for one."),
	OPTION(struct forward_options, key, .kind = OPT_PATH,
		.help = "PEM file with the key of `cert`."),
	OPTION(struct forward_options, insecure, .kind = OPT_BOOL, .fallback = "false",
		.help = "Do not check the server's certificate: whoever is in between reads the "
			"lines and the token."),
	OPTION(struct forward_options, failover_after, .kind = OPT_DURATION, .fallback = "30s",
		.min = NS_PER_SEC / 10, .max = 3600 * NS_PER_SEC,
		.help = "How long a server fails before the next one is used."),
	OPTION(struct forward_options, return_after, .kind = OPT_DURATION, .fallback = "1m",
		.min = NS_PER_SEC / 10, .max = 24 * 3600 * NS_PER_SEC,
		.help = "How long a preferred server is ready without a break before it is used "
			"again."),
	OPTION(struct forward_options, packing, .kind = OPT_ENUM, .values = packings,
		.fallback = "auto",
		.help = "Compression on the way: auto is plain on this machine, else zstd."),
	OPTION(struct forward_options, once, .kind = OPT_BOOL, .fallback = "false",
		.help = "End when all files are read to their end and acknowledged."),
	OPTION(struct forward_options, quiet, .kind = OPT_BOOL, .fallback = "false",
		.help = "No progress line."),
	OPTION(struct forward_options, inputs, .kind = OPT_KINDS, .kinds = &input_kinds,
		.help = "Further inputs, as in sawlog.yaml."),
	OPTION_END,
};
