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
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/metric.h"
#include "forward/plan.h"
#include "forward/progress.h"
#include "os/fs.h"
#include "os/heap.h"
#include "os/process.h"

enum {
	DRAIN_MS = 10000,
	DRAIN_AWAY_MS = 1000, /* no server answers, and nothing is lost by going */
	SHOW_MS = 500,
	PIPES_MAX = 1000, /* forwarders of one user that share the default folder */
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
	bool masked;
	bool reloads_on; /* SIGHUP is a reload, else the end */
	/* The loop's, while it runs. */
	struct plan now, fresh;
	struct inputs *inputs;
	struct reloads reloads;
	/* Main thread. */
	struct progress progress;
	bool told_to_end; /* by a signal */
	/* Under `lock`. */
	struct lock lock;
	bool start_done, ended, stopped, gone;
	bool rereads; /* all inputs do */
	struct error start_error;
};

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

/* Inputs, on the loop. */

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
	bool rereads = true;
	struct error e;

	for (size_t i = 0; i < a->now.kinds.n; i++)
		rereads &= ((const struct input_type *)a->now.kinds.items[i].type)->rereads;
	lock_take(&a->lock);
	a->rereads = rereads;
	lock_drop(&a->lock);
	error_set(&e, ERR_CLOSED, "the forwarder is ending");
	reloads_end(&a->reloads, &e);
	inputs_stop(a->inputs, on_stopped, a);
}

/* Reload, on the loop. */

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
	process_notify("READY=1");
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
		if (!plan_same_servers(&old, &fresh) && e->code != ERR_CLOSED &&
			use_servers(a, &old, NULL) < 0)
			log_error("forward", "the servers before the reload cannot be used again");
		generation_unref(fresh.generation);
	}
	reload_end(a, e);
}

static int reload_try(struct agent *a, struct error *e)
{
	const struct forward_options *old = a->now.o;
	struct generation *g = generation_new();
	struct forward_options *o = ARENA_NEW(&g->arena, struct forward_options);
	struct inputs_wanted w;
	int r;

	if ((r = old->load(old->load_arg, o, &g->arena, e)) < 0 ||
		(r = plan_check_fixed(old, o, e)) < 0 || (r = plan_make(&a->fresh, g, o, e)) < 0)
		goto fail;
	o->load = old->load;
	o->load_arg = old->load_arg;
	if (!plan_same_servers(&a->now, &a->fresh) && (r = use_servers(a, &a->fresh, e)) < 0)
		goto fail;
	w = wanted_of(a, &a->fresh);
	if ((r = inputs_apply(a->inputs, &w, on_exchanged, a, e)) == 0)
		return 0;
	if (!plan_same_servers(&a->now, &a->fresh))
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

	process_notify("RELOADING=1");
	if (reload_try(a, &e) < 0)
		reload_end(a, &e);
}

/* To standard error: the output may carry frames. */
static void on_dump(void *arg)
{
	struct agent *a = arg;
	struct uplink_stats u;
	struct buf out = {0};

	uplink_stats(a->uplink, &u);
	buf_printf(&out,
		"sawlog %s forward, process %d, %llu of %llu bytes of memory charged\n"
		"uplink: %s %s; %llu records in %llu batches acknowledged, %llu of them known there "
		"already, %llu retries%s%s\n",
		SAWLOG_VERSION, (int)getpid(), (unsigned long long)account_held(&a->memory),
		(unsigned long long)a->memory.limit,
		u.connected ? "connected to" : "not connected to", u.url,
		(unsigned long long)u.records, (unsigned long long)u.batches,
		(unsigned long long)u.duplicates, (unsigned long long)u.retries,
		u.last_error.code ? "; last: " : "", u.last_error.code ? u.last_error.text : "");
	inputs_dump(a->inputs, &out);
	metric_render(&out);
	fwrite(out.p, 1, out.n, stderr);
	fflush(stderr);
	buf_fini(&out);
}

static void on_reload(void *arg)
{
	struct agent *a = arg;

	reloads_ask(&a->reloads, NULL, NULL);
}

/* Setting up. */

static int lock_data(struct agent *a, struct error *e)
{
	struct buf lock_path = {0};
	int r;

	if ((r = fs_mkdir(fs_real(), buf_cstr(&a->data), e)) < 0)
		return error_wrap(e, r, "the folder for positions (--data)");
	buf_printf(&lock_path, "%s/LOCK", buf_cstr(&a->data));
	r = fs_lock(fs_real(), buf_cstr(&lock_path), &a->lock_file, e);
	buf_fini(&lock_path);
	return r;
}

/* What comes over a pipe or a socket has no positions: any folder will do, so that as many of these
 * as are started run side by side. */
static int lock_any_data(struct agent *a, struct error *e)
{
	size_t n = a->data.n;
	int r;

	for (int i = 1; i <= PIPES_MAX; i++) {
		a->data.n = n;
		buf_printf(&a->data, "/pipe-%d", i);
		if ((r = lock_data(a, e)) != ERR_BUSY)
			return r;
	}
	a->data.n = n;
	return ERR_BUSY;
}

static int set_data(struct agent *a, struct error *e)
{
	int r;

	if (a->now.o->data)
		buf_c(&a->data, a->now.o->data);
	else
		forward_data_default(&a->data);
	if (a->now.o->data || plan_keeps_positions(&a->now))
		r = lock_data(a, e);
	else
		r = lock_any_data(a, e);
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
	sigaddset(&mask, SIGUSR1);
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

/* Waiting. */

static void show(struct agent *a)
{
	struct uplink_stats now;

	uplink_stats(a->uplink, &now);
	progress_show(&a->progress, &now, clock_mono_ns(clock_real()));
	heap_guard(&a->memory);
}

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
	if (info.ssi_signo == SIGUSR1)
		loop_post(a->loop, on_dump, a);
	else if (info.ssi_signo == SIGHUP && a->reloads_on)
		loop_post(a->loop, on_reload, a);
	else
		return true;
	return false;
}

static int wait_started(struct agent *a, struct error *e)
{
	int r;

	while (!get_flag(a, &a->start_done))
		a->told_to_end |= wait_for(a, SHOW_MS);
	r = a->start_error.code;
	if (r < 0 && e)
		*e = a->start_error;
	return r;
}

/* Wait until the show is over. */
static void wait_end(struct agent *a)
{
	int64_t shown = clock_mono_ns(clock_real());

	a->progress.shown_mono = shown;
	while (!a->told_to_end && !get_flag(a, &a->ended) && !get_flag(a, &a->gone)) {
		int64_t now = clock_mono_ns(clock_real());

		if ((now - shown) / NS_PER_MS >= SHOW_MS) {
			show(a);
			shown = now;
		}
		a->told_to_end = wait_for(a, SHOW_MS - (int)((now - shown) / NS_PER_MS));
	}
}

static void drain(struct agent *a)
{
	int64_t began = clock_mono_ns(clock_real());
	bool aborted = false;

	a->reloads_on = false;
	loop_post(a->loop, stop_inputs, a);
	while (!get_flag(a, &a->stopped)) {
		bool again = wait_for(a, 100);
		int64_t took_ms = (clock_mono_ns(clock_real()) - began) / NS_PER_MS;
		struct uplink_stats now;

		uplink_stats(a->uplink, &now);
		if (!aborted && (again || took_ms > DRAIN_MS ||
					(took_ms > DRAIN_AWAY_MS && !now.connected &&
						get_flag(a, &a->rereads)))) {
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
	a.progress.tty = !o->quiet && !o->stdio && process_is_tty(STDERR_FILENO);
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
	if ((r = wait_started(&a, e)) >= 0) {
		process_notify("READY=1");
		wait_end(&a);
	}
	process_notify("STOPPING=1");
	drain(&a);
	show(&a);
	progress_end(&a.progress);
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
