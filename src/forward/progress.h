/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * How it goes, for people: a line on a terminal that is written again and
 * again, elsewhere a line of the log when the connection comes or goes.
 * One thread.
 */
#include "forward/uplink.h"

/* Zeroed, but for what is set. */
struct progress {
	bool tty;           /* set: standard error is a terminal, and somebody wants to look */
	int64_t shown_mono; /* set once at the start: rates count from here */
	struct uplink_stats last;
	bool shown_connected, shown_any;
	char shown_reason[500];
};

void progress_show(struct progress *p, const struct uplink_stats *now, int64_t mono_ns);
void progress_end(const struct progress *p); /* the terminal's line stays as it is */
