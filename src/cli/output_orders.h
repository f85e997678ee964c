/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Orders to outputs, for `sawlog output` and, as drains are outputs, `sawlog drain`.  One thread.
 */
#include "cli/remote.h"

/* POST the action for each of the arguments; `to`: NULL for all but rewind.  An exit code. */
int output_order(struct command_line *cl, const char *action, const char *to);
extern const struct flag output_rewind_flags[]; /* --to */
int output_run_rewind(struct command_line *cl); /* reads it */
