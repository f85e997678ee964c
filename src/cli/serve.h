/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Running a server by the flags --config, --http and --input, for `serve` and `route`.  Takes the
 * calling thread (cli/server.h). */
#include "cli/command.h"
#include "cli/config.h"

/* As config_load. */
typedef int serve_loader(struct serve_config *out, const char *file, const char *const *flags,
	const char *const *inputs, struct arena *arena, struct conf_errors *errors);

/* An exit code. */
int serve_run(struct command_line *cl, serve_loader *load);
