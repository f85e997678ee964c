/* SPDX-License-Identifier: Apache-2.0 */
/* sawlog forward: the command line of the agent; the agent itself is src/forward. */
#include <glob.h>
#include <string.h>

#include "cli/command.h"
#include "cli/input_flags.h"
#include "forward/forward.h"

static const struct flag flags[] = {
	{.name = "config",
		.letter = 'c',
		.kind = FLAG_STRING,
		.value = "FILE",
		.env = "SAWLOG_FORWARD_CONFIG",
		.help = "Configuration file, YAML. Every key of it is also a flag."},
	{.name = "to",
		.kind = FLAG_REPEATED,
		.value = "URL",
		.help = "The server; several, with commas or one flag each, in order of "
			"preference: when one fails, the next is used. Default: SAWLOG_ADDR, else "
			"http://127.0.0.1:3100."},
	{.name = "insecure", .kind = FLAG_BOOL, .help = "Do not check the server's certificate."},
	{.name = "stdio",
		.kind = FLAG_BOOL,
		.help = "Send to whoever started this: frames on standard output, answers on "
			"standard input. For an exec input, as over ssh."},
	INPUT_FLAG,
	{.name = "data",
		.kind = FLAG_STRING,
		.value = "DIR",
		.setting = "data",
		.help = "Where positions are kept, so that the next run goes on behind what was "
			"acknowledged. Default: /var/lib/sawlog-forward for root, else "
			"~/.local/state/sawlog/forward."},
	{.name = "app",
		.kind = FLAG_STRING,
		.value = "NAME",
		.setting = "app",
		.help = "Label app of all lines. Default: by the file's name."},
	{.name = "once",
		.kind = FLAG_BOOL,
		.help = "End when every file is read to its end and acknowledged."},
	{.name = "quiet", .letter = 'q', .kind = FLAG_BOOL, .help = "No progress line."},
	FLAG_END,
};

/* Operands come behind the paths of the config file. */
static void add_paths(struct command_line *cl, struct arena *arena, struct strings *paths)
{
	size_t n = paths->n + cl->n_args;
	const char **all = ARENA_ARRAY(arena, const char *, n + 1);

	for (size_t i = 0; i < paths->n; i++)
		all[i] = paths->items[i];
	for (size_t i = 0; i < cl->n_args; i++)
		all[paths->n + i] = cl->args[i];
	paths->items = all;
	paths->n = n;
}

/* The settings of the command line, with those of --to as one. */
static const char **settings_of(struct command_line *cl, struct arena *arena)
{
	size_t n = 0, n_to = flag_count(cl, "to");
	struct buf url = {0};
	const char **out;

	while (cl->settings[n])
		n++;
	out = ARENA_ARRAY(arena, const char *, n + 2);
	memcpy(out, cl->settings, n * sizeof(*out));
	for (size_t i = 0; i < n_to; i++)
		buf_printf(&url, "%s%s", i ? "," : "url=", flag_nth(cl, "to", i));
	if (n_to > 0)
		out[n] = arena_c(arena, buf_view(&url));
	buf_fini(&url);
	return out;
}

static int load(void *arg, struct forward_options *o, struct arena *arena, struct error *e)
{
	struct command_line *cl = arg;
	struct conf_source src = {.file = flag_string(cl, "config"),
		.flags = settings_of(cl, arena),
		.environment = true};
	struct conf_errors errors = {0};
	int r = conf_load(o, forward_settings, &src, arena, &errors);

	if (r == 0)
		r = input_flags_add(&o->inputs, input_flags_given(cl, arena), arena, &errors);
	if (r < 0)
		error_set(e, r, "%.*s", STR_ARG(str_trim(buf_view(&errors.text))));
	/* At the start each problem is a line of its own. */
	if (r < 0 && arena == &cl->arena)
		fprintf(cl->err, "%.*s", STR_ARG(buf_view(&errors.text)));
	buf_fini(&errors.text);
	if (r == 0) {
		add_paths(cl, arena, &o->paths);
		o->once |= flag_bool(cl, "once");
		o->quiet |= flag_bool(cl, "quiet");
		o->insecure |= flag_bool(cl, "insecure");
		o->stdio = flag_bool(cl, "stdio");
	}
	return r;
}

/* A path with a typing error would be waited for in silence, or, with --once, be a success. */
static int check_operands(struct command_line *cl, bool once)
{
	struct error e = {0};

	for (size_t i = 0; i < cl->n_args; i++) {
		const char *path = cl->args[i];
		glob_t found = {0};
		bool missing = strcmp(path, "-") != 0 &&
			       glob(path, GLOB_BRACE, NULL, &found) == GLOB_NOMATCH;

		globfree(&found);
		if (missing && once) {
			error_set(&e, ERR_NOT_FOUND,
				"%s: there is no such file; nothing was sent.  Without --once it is "
				"waited for",
				path);
			return command_fail(cl, &e);
		}
		if (missing)
			fprintf(cl->err,
				"sawlog forward: %s: not there yet; it is read when it is\n", path);
	}
	return EXIT_OK;
}

static int run(struct command_line *cl)
{
	struct forward_options o = {0};
	struct error e = {0};
	int r;

	if (load(cl, &o, &cl->arena, &e) < 0)
		return EXIT_CONFIG;
	if (flag_string(cl, "config")) {
		o.load = load;
		o.load_arg = cl;
	}
	if (o.paths.n == 0 && o.inputs.n == 0) {
		error_set(&e, ERR_ARG,
			"nothing to read: give a PATH, a GLOB or -, an --input, or inputs "
			"in a config file");
		return command_usage(cl, &e);
	}
	if ((r = check_operands(cl, o.once)) != EXIT_OK)
		return r;
	if ((r = forward_run(&o, &e)) == 0)
		return EXIT_OK;
	command_fail(cl, &e);
	return r == ERR_ARG ? EXIT_CONFIG : exit_code_of(r);
}

const struct command command_forward = {
	.name = "forward",
	.args = "[PATH|GLOB|-]…",
	.summary = "ship files or standard input to a server",
	.description =
		"Reads files, follows them through rotation, and sends their lines to a server. A "
		"line counts as sent when the server has it on disk; positions are kept, so that a "
		"restart on either side loses and repeats nothing.\n\n"
		"Quote a GLOB: then files that come later are read too.\n\n"
		"With --config, SIGHUP reads the file again: servers and inputs that changed are "
		"exchanged, all or none.",
	.examples =
		"sawlog forward --to http://logs:3100 '/var/log/*.log'\n"
		"make 2>&1 | sawlog forward --app build -\n"
		"sawlog forward --to https://a:3100,https://b:3100 --ca ca.pem --token_file "
		"token /var/log/syslog\n  b is used while a is away\n"
		"sawlog forward --stdio --input python=tcp://127.0.0.1:9020\n  what Python's "
		"SocketHandlers of this host send goes to whoever started this, as through ssh\n",
	.flags = flags,
	.settings = true,
	.options = forward_settings,
	.max_args = ARGS_ANY,
	.run = run,
};
