/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * --input KIND=VALUE: an input of the command line, besides those of a config
 * file.  VALUE sets the first option of the kind: --input python=tcp://127.0.0.1:9020,
 * --input journald.  Serve and forward have it.  Main thread.
 */
#include "cli/command.h"
#include "conf/option.h"

#define INPUT_FLAG                                                                                 \
	{                                                                                          \
		.name = "input", .kind = FLAG_REPEATED, .value = "KIND=VALUE",                     \
		.help = "An input besides those of the file: --input 'file=/var/log/*.log', "      \
			"--input journald."                                                        \
	}

/* What --input was given, NULL-terminated, in memory of the arena. */
const char *const *input_flags_given(struct command_line *cl, struct arena *arena);
/* Put the inputs of `given` behind those of `inputs`, all in memory of the arena.  0, or ERR_ARG
 * with every problem a line in `errors`. */
int input_flags_add(struct kinds *inputs, const char *const *given, struct arena *arena,
	struct conf_errors *errors);
