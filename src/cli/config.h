/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The configuration of `sawlog serve`: sawlog.yaml, environment, command line.
 * Loaded by serve (start and reload) and by check: the same code.
 */
#include "conf/option.h"

enum durability { DURABILITY_SYNC, DURABILITY_OS };

struct serve_config {
	const char *data; /* NULL: config_data_default */
	struct {
		struct strings listen;
	} http;
	uint64_t memory;
	int durability; /* enum durability */
	struct {
		bool service_name, level;
	} discover;
	struct {
		uint64_t max_line, max_body;
		int64_t query_timeout;
	} limits;
	struct strings insecure_allow;
	struct kinds inputs;
};

extern const struct option serve_options[];

/* /var/lib/sawlog for root, else $XDG_STATE_HOME/sawlog. */
void config_data_default(struct buf *out);

/* Load `file` (NULL: none) with the environment, "key=value" flags and inputs given as
 * "KIND=VALUE" (both NULL-terminated, may be NULL), into memory of the arena.  0, or ERR_ARG
 * with every problem a line in `errors`; ERR_NOT_FOUND, ERR_IO when the file cannot be read. */
int config_load(struct serve_config *out, const char *file, const char *const *flags,
	const char *const *inputs, struct arena *arena, struct conf_errors *errors);
