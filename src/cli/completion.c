/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/manual.h"

static int run(struct command_line *cl)
{
	struct buf text = {0};
	struct error e = {0};

	if (manual_completion(str_c(cl->args[0]), &text, &e) < 0)
		return command_usage(cl, &e);
	fwrite(text.p, 1, text.n, cl->out);
	buf_fini(&text);
	return EXIT_OK;
}

const struct command command_completion = {
	.name = "completion",
	.args = "bash|zsh|fish",
	.summary = "print completion for a shell",
	.min_args = 1,
	.max_args = 1,
	.examples = "source <(sawlog completion bash)\nsawlog completion fish | source\n",
	.run = run,
};
