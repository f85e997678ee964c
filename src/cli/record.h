/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `query --record SEQ`: one record by its number.  One thread. */
#include "cli/print.h"
#include "cli/remote.h"

/* Print the record of --record, with --context of its stream around it, through `p`.  *missing says
 * that the server has no such record: the sentence is in e. */
int record_print(struct command_line *cl, struct remote *remote, struct printer *p, bool *missing,
	struct error *e);
