/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * `loggregator` of the configuration: how sawlog answers the clients of
 * Loggregator and log-cache.  What comes in is the matter of the inputs.
 * Fixed from the start of the server on: any thread.
 */
#include "api/check.h"

struct varz_settings {
	const char *user, *password_file; /* NULL both: a token decides, as for the metrics */
};

struct loggregator_settings {
	int64_t recent; /* lines of an application that /recent tells */
	const char *app_label;
	struct check_settings check;
	struct varz_settings varz;
};

extern const struct option loggregator_options[];

/* What rows alone cannot say: ERR_ARG. */
int loggregator_check(const struct loggregator_settings *s, struct error *e);
