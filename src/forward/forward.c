/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  The calling thread only waits: for a signal, for the inputs to end
 * by themselves, and twice a second to show how it goes.  Inputs live on one
 * loop, the uplink on its thread.
 *
 *   start on the loop ──► wait ──► stop on the loop ──► all stopped ──► close
 *                          │ signal, end      │ 10 s or a second signal:
 *                          └──────────────────┘ uplink_abort, then they stop at once
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
#include "input/input.h"
#include "input/settings.h"
#include "os/fs.h"
#include "os/process.h"

enum {
	DRAIN_MS = 10000,
	SHOW_MS = 500,
	TOKEN_MAX = 64 << 10,
};

/* One input of the agent. */
struct agent_input {
	struct agent *agent;
	const struct input_type *type;
	const void *settings;
	char *state_dir;
	void *running;
	bool ended;
};

struct agent {
	const struct forward_options *o;
	/* Fixed once started. */
	struct buf url, data, token;
	struct file *lock_file;
	struct account memory, reading;
	struct uplink *uplink;
	struct loop *loop;
	char host[256];
	struct arena arena;
	struct file_settings files;
	struct stdin_settings piped;
	struct agent_input *inputs;
	size_t n_inputs;
	int bell; /* eventfd: something below changed */
	int signals;
	sigset_t old_mask;
	bool masked, tty;
	/* Main thread. */
	bool shown_connected, shown_any;
	char shown_reason[500];
	struct uplink_stats last;
	int64_t last_mono;
	/* Under `lock`. */
	struct lock lock;
	size_t n_started, n_ended, n_stopped;
	bool start_done;
	int start_code;
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

/* Inputs, on the loop. */

static void on_ended(void *arg)
{
	struct agent_input *in = arg;

	lock_take(&in->agent->lock);
	in->agent->n_ended += !in->ended;
	in->ended = true;
	lock_drop(&in->agent->lock);
	ring(in->agent);
}

static void on_stopped(void *arg)
{
	struct agent_input *in = arg;

	in->running = NULL;
	lock_take(&in->agent->lock);
	in->agent->n_stopped++;
	lock_drop(&in->agent->lock);
	ring(in->agent);
}

static void start_inputs(void *arg)
{
	struct agent *a = arg;
	size_t n = 0;
	struct error e = {0};
	int r = 0;

	for (; n < a->n_inputs && r >= 0; n++) {
		struct agent_input *in = &a->inputs[n];
		struct input_env env = {
			.loop = a->loop,
			.sink = uplink_sink(a->uplink),
			.clock = clock_real(),
			.account = &a->reading,
			.discover = {.service_name = true, .level = true},
			.state_dir = in->state_dir,
			.host = a->host,
			.tenant = a->o->tenant ? str_c(a->o->tenant) : STR("default"),
			.ended = on_ended,
			.ended_arg = in,
		};

		if ((r = in->type->start(&in->running, in->settings, &env, &e)) < 0) {
			error_wrap(&e, r, "input %s", in->type->name);
			break;
		}
	}
	lock_take(&a->lock);
	a->n_started = n;
	a->start_code = r < 0 ? r : 0;
	a->start_error = e;
	a->start_done = true;
	lock_drop(&a->lock);
	ring(a);
}

static void stop_inputs(void *arg)
{
	struct agent *a = arg;

	for (size_t i = 0; i < a->n_inputs; i++) {
		if (a->inputs[i].running)
			a->inputs[i].type->stop(a->inputs[i].running, on_stopped, &a->inputs[i]);
	}
}

/* Setting up. */

/* Relative paths start at the working folder. */
static const char *absolute(struct agent *a, const char *path)
{
	char *cwd;
	const char *out;

	if (path[0] == '/')
		return path;
	cwd = getcwd(NULL, 0);
	while (path[0] == '.' && path[1] == '/')
		path += 2;
	out = arena_printf(&a->arena, "%s/%s", cwd ? cwd : "", path);
	free(cwd);
	return out;
}

static int add_input(struct agent *a, const struct input_type *type, const void *settings,
	const char *name, struct error *e)
{
	struct agent_input *in = &a->inputs[a->n_inputs++];

	in->agent = a;
	in->type = type;
	in->settings = settings;
	in->state_dir = arena_printf(&a->arena, "%s/%s", buf_cstr(&a->data), name);
	return fs_mkdir(fs_real(), in->state_dir, e);
}

static int set_inputs(struct agent *a, struct error *e)
{
	const struct forward_options *o = a->o;
	const char **paths = ARENA_ARRAY(&a->arena, const char *, o->paths.n + 1);
	bool use_stdin = false;
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < o->paths.n; i++) {
		if (strcmp(o->paths.items[i], "-") == 0)
			use_stdin = true;
		else
			paths[n++] = absolute(a, o->paths.items[i]);
	}
	if (n == 0 && !use_stdin && o->inputs.n == 0)
		return error_set(e, ERR_ARG,
			"nothing to forward: name files or globs, or - for the standard input");
	a->inputs = ARENA_ARRAY(&a->arena, struct agent_input, o->inputs.n + 2);
	a->files = (struct file_settings){.paths = {paths, n},
		.exclude = o->exclude,
		.labels = o->labels,
		.app = o->app,
		.start = o->start,
		.detect_time = o->detect_time,
		.rotate_wait = 60 * NS_PER_SEC,
		.once = o->once};
	a->piped = (struct stdin_settings){.app = o->app ? o->app : "stdin",
		.labels = o->labels,
		.detect_time = o->detect_time};
	if (n > 0)
		r = add_input(a, input_type_find(STR("file"), NULL), &a->files, "file", e);
	if (r >= 0 && use_stdin)
		r = add_input(a, input_type_find(STR("stdin"), NULL), &a->piped, "stdin", e);
	for (size_t i = 0; r >= 0 && i < o->inputs.n; i++) {
		const struct kind_entry *k = &o->inputs.items[i];
		char *name = arena_printf(&a->arena, "%s-%zu", k->kind, i);

		r = add_input(a, k->type, k->settings, name, e);
	}
	return r;
}

static int set_data(struct agent *a, struct error *e)
{
	struct buf lock_path = {0};
	int r;

	if (a->o->data)
		buf_c(&a->data, a->o->data);
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

static int set_token(struct agent *a, struct error *e)
{
	struct str token;
	int r;

	if (!a->o->token_file)
		return 0;
	r = fs_read_all(fs_real(), a->o->token_file, TOKEN_MAX, &a->token, e);
	if (r < 0)
		return error_set(e, ERR_ARG, "token_file: %s", e ? e->text : "");
	token = str_trim(buf_view(&a->token));
	if (token.n == 0 || str_chr(token, '\n') >= 0)
		return error_set(
			e, ERR_ARG, "token_file: %s must hold one token", a->o->token_file);
	token = arena_str(&a->arena, token);
	buf_clear(&a->token);
	buf_str(&a->token, token);
	return 0;
}

/* Is the server on this machine?  Then the bytes are cheaper than packing them. */
static bool is_loopback(struct str url)
{
	ptrdiff_t at = str_find(url, STR("://"));
	struct str host = at >= 0 ? str_sub(url, (size_t)at + 3, url.n) : url;

	return str_starts(host, STR("127.")) || str_starts(host, STR("localhost:")) ||
	       str_starts(host, STR("localhost/")) || str_eq(host, STR("localhost")) ||
	       str_starts(host, STR("[::1]"));
}

static enum frame_packing packing_of(const struct agent *a)
{
	switch ((enum forward_packing)a->o->packing) {
	case FORWARD_PLAIN: return FRAME_PLAIN;
	case FORWARD_LZ4: return FRAME_LZ4;
	case FORWARD_ZSTD: return FRAME_ZSTD;
	case FORWARD_AUTO: break;
	}
	return is_loopback(buf_view(&a->url)) ? FRAME_PLAIN : FRAME_ZSTD;
}

static int set_uplink(struct agent *a, struct error *e)
{
	const char *env = getenv("SAWLOG_ADDR");
	struct uplink_options uo = {0};
	int r;

	buf_c(&a->url, a->o->url ? a->o->url : env && *env ? env : "http://127.0.0.1:3100");
	if ((r = set_token(a, e)) < 0)
		return r;
	account_init(&a->memory, "memory", a->o->memory, NULL);
	/* A quarter stays for what the uplink packs and for the rest of the process. */
	account_init(&a->reading, "inputs", a->o->memory / 4 * 3, &a->memory);
	uo.url = buf_cstr(&a->url);
	uo.tenant = a->o->tenant;
	uo.token = a->token.n ? buf_cstr(&a->token) : NULL;
	uo.packing = packing_of(a);
	uo.account = &a->memory;
	uo.max_queued_bytes = a->o->memory / 4;
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
		log_info("forward", "connected to %s", buf_cstr(&a->url));
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
}

/* Waiting. */

/* Wait for a bell, a signal (true) or `ms`. */
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
	return fds[1].revents && read(a->signals, &info, sizeof(info)) == sizeof(info);
}

static bool all_ended(struct agent *a)
{
	bool yes;

	lock_take(&a->lock);
	yes = a->n_ended == a->n_inputs;
	lock_drop(&a->lock);
	return yes;
}

static bool all_stopped(struct agent *a)
{
	bool yes;

	lock_take(&a->lock);
	yes = a->n_stopped == a->n_started;
	lock_drop(&a->lock);
	return yes;
}

static int wait_started(struct agent *a, struct error *e)
{
	int r = 1;

	while (r > 0) {
		wait_for(a, SHOW_MS);
		lock_take(&a->lock);
		if (a->start_done) {
			r = a->start_code;
			if (r < 0 && e)
				*e = a->start_error;
		}
		lock_drop(&a->lock);
	}
	return r;
}

/* Wait until the show is over. */
static void wait_end(struct agent *a)
{
	a->last_mono = clock_mono_ns(clock_real());
	while (!all_ended(a)) {
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

	loop_post(a->loop, stop_inputs, a);
	while (!all_stopped(a)) {
		bool again = wait_for(a, 100);

		if (!aborted && (again || clock_mono_ns(clock_real()) > until)) {
			uplink_abort(a->uplink);
			aborted = true;
		}
	}
}

static void agent_fini(struct agent *a)
{
	if (a->loop) {
		loop_stop(a->loop);
		loop_free(a->loop);
	}
	uplink_close(a->uplink, 0);
	file_close(a->lock_file);
	buf_fini(&a->url);
	buf_fini(&a->data);
	buf_fini(&a->token);
	arena_fini(&a->arena);
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
	struct agent a = {.o = o, .bell = -1, .signals = -1};
	struct uplink_stats stats;
	int r;

	lock_init(&a.lock);
	arena_init(&a.arena, NULL);
	a.tty = !o->quiet && process_is_tty(STDERR_FILENO);
	if (o->host)
		snprintf(a.host, sizeof(a.host), "%s", o->host);
	else
		process_hostname(a.host, sizeof(a.host));
	raise_file_limit();
	if ((r = set_signals(&a, e)) < 0 || (r = set_data(&a, e)) < 0 ||
		(r = set_inputs(&a, e)) < 0 || (r = set_uplink(&a, e)) < 0)
		goto done;
	a.loop = loop_new("forward");
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
	OPTION(struct forward_options, url, .kind = OPT_STRING,
		.help = "The server.  Without it $SAWLOG_ADDR, else http://127.0.0.1:3100."),
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
		.help = "File with the token for the server."),
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
