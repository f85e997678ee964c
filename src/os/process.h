/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the process asks of the system about itself, and tells its supervisor.  Any thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

/* The name of this host, cut to fit; "localhost" when it has none.  Returns `out`. */
char *process_hostname(char *out, size_t size);
bool process_is_tty(int fd);
/* Append where a user's programs keep what they remember: $XDG_STATE_HOME/sawlog, else
 * ~/.local/state/sawlog (XDG Base Directory Specification).  The folder need not be there. */
void process_state_folder(struct buf *out);
/* Anonymous memory this process holds now: what the ceiling `memory` speaks of. */
int process_rss_anon(uint64_t *bytes, struct error *e);
/* The calling thread gives way to others from now on, for good: an unprivileged process cannot take
 * it back.  Threads that it starts inherit it.  For work that has turned out to be long beside work
 * that must not wait.  True when it did not before. */
bool thread_give_way(void);
bool thread_gives_way(void);
/* Tell systemd: "READY=1", "STOPPING=1", "STATUS=…", "WATCHDOG=1".  True when it was sent;
 * false, and harmless, without a supervisor or in a build without systemd. */
bool process_notify(const char *state);
