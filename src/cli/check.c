/* SPDX-License-Identifier: Apache-2.0 */
/* sawlog check FILE: the same code that serve and reload run, and nothing is touched. */
#include "cli/command.h"
#include "cli/config.h"

static const struct flag flags[] = {
	{.name = "effective",
		.letter = 'e',
		.kind = FLAG_BOOL,
		.help = "Print the settings as they would be used, defaults and environment included."},
	FLAG_END,
};

static int run(struct command_line *cl)
{
	struct conf_errors errors = {0};
	struct serve_config config;
	int r = config_load(&config, cl->args[0], cl->settings, NULL, &cl->arena, &errors);
	struct buf text = {0};

	if (r < 0) {
		fprintf(cl->err, "%.*s", STR_ARG(buf_view(&errors.text)));
		fprintf(cl->err, "%s: %zu problem%s\n", cl->args[0], errors.n,
			errors.n == 1 ? "" : "s");
	} else if (flag_bool(cl, "effective")) {
		conf_effective(&config, serve_options, &text);
		fprintf(cl->out, "%.*s", STR_ARG(buf_view(&text)));
	} else {
		fprintf(cl->out, "%s: ok, %zu input%s\n", cl->args[0], config.inputs.n,
			config.inputs.n == 1 ? "" : "s");
	}
	buf_fini(&text);
	buf_fini(&errors.text);
	return r < 0 ? EXIT_CONFIG : EXIT_OK;
}

const struct command command_check = {
	.name = "check",
	.args = "FILE",
	.summary = "validate a configuration file",
	.description =
		"Reads FILE as `sawlog serve -c FILE` would, and says for each problem where it "
		"is, what is allowed, and the nearest name.",
	.examples = "sawlog check sawlog.yaml\n  ok, or file:line:column: what is wrong\n",
	.flags = flags,
	.min_args = 1,
	.max_args = 1,
	.settings = true,
	.options = serve_options,
	.run = run,
};
