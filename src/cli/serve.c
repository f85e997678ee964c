/* SPDX-License-Identifier: Apache-2.0 */
/* sawlog serve: a server with the settings of a file, the environment and the command line. */
#include "cli/serve.h"

#include "cli/input_flags.h"
#include "cli/server.h"

/* Where the settings come from. */
struct given {
	serve_loader *load;
	const char *file; /* of the config; NULL: none */
	const char *const *flags;
	const char *const *inputs; /* KIND=VALUE */
};

static int load(
	void *arg, struct serve_config *out, struct arena *arena, struct conf_errors *errors)
{
	const struct given *g = arg;

	return g->load(out, g->file, g->flags, g->inputs, arena, errors);
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

int serve_run(struct command_line *cl, serve_loader *load_config)
{
	struct given given = {.load = load_config,
		.file = flag_string(cl, "config"),
		.flags = cl->settings,
		.inputs = input_flags_given(cl, &cl->arena)};

	return server_run(cl, &(struct server_plan){.load = load, .arg = &given});
}

static int run(struct command_line *cl)
{
	return serve_run(cl, config_load);
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
