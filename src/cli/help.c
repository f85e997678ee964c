/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/config.h"
#include "cli/manual.h"

static int run(struct command_line *cl)
{
	bool man = flag_bool(cl, "man");
	struct buf text = {0}, name = {0};
	struct error e = {0};

	if (cl->n_args == 0) {
		(man ? manual_page_overview : manual_overview)(&text);
	} else if (!strcmp(cl->args[0], "sawlog.yaml")) {
		(man ? manual_page_config : conf_help)(serve_options, &text);
	} else {
		const struct command *c;

		buf_printf(&name, "%s%s%s", cl->args[0], cl->n_args > 1 ? " " : "",
			cl->n_args > 1 ? cl->args[1] : "");
		c = command_find(buf_view(&name), &e);
		buf_fini(&name);
		if (!c)
			return command_usage(cl, &e);
		(man ? manual_page : manual_help)(c, &text);
	}
	fwrite(text.p, 1, text.n, cl->out);
	buf_fini(&text);
	return EXIT_OK;
}

static const struct flag flags[] = {
	{.name = "man", .kind = FLAG_BOOL, .help = "Print the manual page as roff, for man -l -."},
	FLAG_END,
};

const struct command command_help = {
	.name = "help",
	.args = "[COMMAND…|sawlog.yaml]",
	.summary = "tell about a command, or the config file",
	.flags = flags,
	/* Of three words, as `alert silence add`, the last is an operand of the command. */
	.max_args = 3,
	.examples = "sawlog help --man query | man -l -\n",
	.run = run,
};
