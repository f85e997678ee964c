/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sawlog nowcast: the place of `python -m nemo_nowcast.log_aggregator`.
 *
 * The file is translated (nowcast/nowcast.h) at the start and at each reload, and
 * the server runs with what came out.  What the original says of itself in its own
 * log is said here too, in its order and under its name, so that who watches
 * those files sees what he is used to.
 */
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/server.h"
#include "nowcast/nowcast.h"
#include "os/fs.h"
#include "record/severity.h"

enum { FILE_MAX = 16 << 20 };

#define LOGGER "log_aggregator"

struct drop_in {
	struct command_line *cl;
	const char *file, *secrets_dir;
	char cwd[PATH_MAX];
	unsigned file_mode;
	const char **without;
	struct nowcast translated; /* what `load` made last */
};

static const char *variable(void *arg, const char *name)
{
	(void)arg;
	return getenv(name);
}

static void problem(struct conf_errors *errors, const struct error *e)
{
	buf_printf(&errors->text, "%s\n", e->text);
	errors->n++;
}

static int translate(struct drop_in *d, struct arena *arena, struct conf_errors *errors)
{
	static const char *const multiline[] = {"raw", "indent", "escape"};
	struct nowcast_options o = {.cwd = d->cwd,
		.secrets_dir = d->secrets_dir,
		.file_mode = d->file_mode,
		.multiline = multiline[flag_choice(d->cl, "multiline")],
		.without = d->without,
		.env = variable};
	struct buf text = {0};
	struct error e;
	int r = fs_read_all(fs_real(), d->file, FILE_MAX, &text, &e);

	if (r < 0)
		problem(errors, &e);
	else
		r = nowcast_translate(&d->translated, arena_str(arena, buf_view(&text)), d->file,
			&o, arena, errors);
	buf_fini(&text);
	return r;
}

static int load_translated(struct drop_in *d, struct serve_config *out, struct arena *arena,
	struct conf_errors *errors)
{
	const char *name =
		arena_printf(arena, "%s, translated (sawlog nowcast --print shows it)", d->file);

	return config_load_text(out, d->translated.yaml, name, d->cl->settings, arena, errors);
}

static int keep_secrets(struct drop_in *d, struct conf_errors *errors)
{
	struct error e;
	int r = 0;

	if (d->translated.n_secrets && (r = fs_mkdir(fs_real(), d->secrets_dir, &e)) < 0)
		problem(errors, &e);
	for (size_t i = 0; r == 0 && i < d->translated.n_secrets; i++) {
		const struct nowcast_secret *s = &d->translated.secrets[i];
		if ((r = fs_write_private(fs_real(), s->path, s->text, &e)) < 0)
			problem(errors, &e);
	}
	return r;
}

static int load(
	void *arg, struct serve_config *out, struct arena *arena, struct conf_errors *errors)
{
	struct drop_in *d = arg;
	int r = translate(d, arena, errors);

	if (r < 0 || (r = keep_secrets(d, errors)) < 0)
		return r;
	return load_translated(d, out, arena, errors);
}

static void say_running(struct drop_in *d, struct server *s)
{
	const struct nowcast *n = &d->translated;

	server_say(s, "nowcast", LOGGER, SEV_INFO, "running in process %d", (int)getpid());
	server_say(s, "nowcast", LOGGER, SEV_INFO, "read config from %s", d->file);
	for (size_t i = 0; i < n->n_publishers; i++) {
		const struct nowcast_publisher *p = &n->publishers[i];
		server_say(s, "nowcast", LOGGER, SEV_INFO,
			"subscribed to %s port %u for all messages from %s", p->host, p->port,
			p->name);
	}
}

static const char *sentence_of(int signum)
{
	switch (signum) {
	case SIGHUP: return "hangup signal (SIGHUP) received; reloading configuration";
	case SIGINT: return "interrupt signal (SIGINT or Ctrl-C) received; shutting down";
	case SIGTERM: return "termination signal (SIGTERM) received; shutting down";
	default: return NULL;
	}
}

static void told(void *arg, struct server *s, enum server_event event, int signum)
{
	const char *sentence = sentence_of(signum);
	struct drop_in *d = arg;

	switch (event) {
	case SERVER_STARTED:
	case SERVER_RELOADED: say_running(d, s); break;
	case SERVER_RELOADING:
	case SERVER_STOPPING:
		if (sentence)
			server_say(s, "nowcast", LOGGER, SEV_INFO, "%s", sentence);
		break;
	}
}

/* --print and --check: nothing is started and nothing written. */
static int look(struct drop_in *d)
{
	struct command_line *cl = d->cl;
	struct serve_config *config = ARENA_NEW(&cl->arena, struct serve_config);
	const struct nowcast *n = &d->translated;
	struct conf_errors errors = {0};
	int r = translate(d, &cl->arena, &errors);

	if (r == 0)
		r = load_translated(d, config, &cl->arena, &errors);
	fprintf(cl->err, "%.*s", STR_ARG(buf_view(&errors.text)));
	buf_fini(&errors.text);
	if (r < 0)
		return EXIT_CONFIG;
	if (flag_bool(cl, "print")) {
		fprintf(cl->out, "%.*s", STR_ARG(n->yaml));
		return EXIT_OK;
	}
	for (size_t i = 0; i < n->n_notes; i++)
		fprintf(cl->out, "%s\n", n->notes[i]);
	fprintf(cl->out, "%s: ok for sawlog nowcast, %zu port%s of publishers, %zu output%s\n",
		d->file, n->n_publishers, n->n_publishers == 1 ? "" : "s", n->n_outputs,
		n->n_outputs == 1 ? "" : "s");
	return EXIT_OK;
}

/* Where the server will keep its data. */
static const char *secrets_folder(struct command_line *cl)
{
	const char *given = flag_string(cl, "data");
	struct buf path = {0};
	const char *dir;

	if (given)
		buf_c(&path, given);
	else
		config_default_data(&path);
	dir = arena_printf(&cl->arena, "%.*s/nowcast", STR_ARG(buf_view(&path)));
	buf_fini(&path);
	return dir;
}

/* What open() of Python gives a new file.  The umask can only be read by setting it: before there
 * are threads. */
static unsigned new_file_mode(void)
{
	mode_t mask = umask(077);

	umask(mask);
	return 0666 & ~(unsigned)mask;
}

static const char *const multilines[] = {"raw", "indent", "escape", NULL};

static const struct flag flags[] = {
	{.name = "data",
		.kind = FLAG_STRING,
		.value = "DIR",
		.env = "SAWLOG_DATA",
		.setting = "data",
		.help = "Folder of the store. Default: /var/lib/sawlog for root, else "
			"~/.local/state/sawlog."},
	{.name = "http",
		.kind = FLAG_STRING,
		.value = "ADDR",
		.setting = "http.listen",
		.help = "Address of the API and the page, default 127.0.0.1:3100."},
	{.name = "print",
		.kind = FLAG_BOOL,
		.help = "Print the configuration as translated, and end: for a sawlog.yaml of your "
			"own."},
	{.name = "check",
		.kind = FLAG_BOOL,
		.help = "Say what is wrong with the file and what is done otherwise than by the "
			"original, and end."},
	{.name = "without",
		.kind = FLAG_REPEATED,
		.value = "HANDLER",
		.help = "Leave out a handler of the file, one whose class is not Python's own."},
	{.name = "multiline",
		.kind = FLAG_CHOICE,
		.choices = multilines,
		.fallback = "raw",
		.help = "Further lines of a message: as they are, as the original writes them, or so "
			"that no message can forge a line: indented by a tab, or escaped."},
	FLAG_END,
};

static int run(struct command_line *cl)
{
	struct drop_in d = {.cl = cl, .file = cl->args[0], .secrets_dir = secrets_folder(cl)};
	size_t n_without = flag_count(cl, "without");
	struct error e;

	d.file_mode = new_file_mode();
	d.without = ARENA_ARRAY(&cl->arena, const char *, n_without + 1);
	for (size_t i = 0; i < n_without; i++)
		d.without[i] = flag_nth(cl, "without", i);
	if (!getcwd(d.cwd, sizeof d.cwd)) {
		error_set(&e, ERR_IO, "the working folder is not there any more");
		return command_fail(cl, &e);
	}
	if (flag_bool(cl, "print") || flag_bool(cl, "check"))
		return look(&d);
	return server_run(cl, &(struct server_plan){.load = load, .told = told, .arg = &d});
}

const struct command command_nowcast = {
	.name = "nowcast",
	.args = "CONFIG",
	.summary = "take the place of NEMO_Nowcast's log aggregator",
	.description =
		"Reads a NEMO_Nowcast configuration as it stands, subscribes to the publishers of "
		"zmq.ports.logging, and writes what the handlers of logging.aggregator wrote: the "
		"same lines to the same files. All of it is also stored and can be searched "
		"meanwhile.\n\n"
		"A port that is used twice is refused, with both places. One odd message costs "
		"that message at most. SIGHUP reads CONFIG again, and loses nothing; a broken one "
		"is told and the old stays. SIGTERM and SIGINT stop within 10 seconds.",
	.examples =
		"sawlog nowcast nowcast.yaml\n  run it, in place of the log aggregator\n"
		"sawlog nowcast --check nowcast.yaml\n  what is wrong, and what is done otherwise\n"
		"sawlog query '{logger=\"make_plots\"} |= \"error\"'\n  search what came\n",
	.flags = flags,
	.min_args = 1,
	.max_args = 1,
	.settings = true,
	.options = serve_options,
	.run = run,
};
