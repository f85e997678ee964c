/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A query over files and the standard input in place of a server: the same
 * language and the same output.  One thread.
 */
#include "cli/print.h"

struct query_files {
	struct command_line *cl;
	struct printer *printer;
	const char *query;
	const char *const *paths; /* "-": the standard input */
	size_t n_paths;
	uint64_t limit; /* of lines; 0: no limit */
	bool forward, instant, explain;
	int64_t step_ns;        /* of metric queries; 0: by the window */
	int64_t from_ns, to_ns; /* INT64_MIN and INT64_MAX: all there is */
	bool incomplete;        /* set: something could not be read, which was told */
};

/* Print the answer.  ERR_ARG for a bad query, what source_files_open and query_run tell, ERR_CLOSED
 * when nobody reads the output any more. */
int query_files_run(struct query_files *q, struct error *e);
