/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"
#include "input/input.h"

/* Inputs left out of this build come with the package that is missing: their type is NULL. */
static int run(struct command_line *cl)
{
	fprintf(cl->out, "sawlog " SAWLOG_VERSION "\ninputs:");
	for (size_t i = 0; input_types[i]; i++)
		fprintf(cl->out, " %s", input_types[i]->name);
	fprintf(cl->out, "\n");
	return EXIT_OK;
}

const struct command command_version = {
	.name = "version",
	.args = "",
	.summary = "print the version and what is built in",
	.run = run,
};
