/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the process says of itself, on stderr: one line a message,
 * "2026-08-21T10:00:00.000Z warn store: …"; under systemd with its "<4>"
 * prefixes instead of the time.  Any thread.  Control bytes are escaped.
 */
#include "base/error.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level); /* default LOG_INFO */
enum log_level log_get_level(void);
void log_write(enum log_level level, const char *area, const char *fmt, ...) PRINTF(3, 4);

#define log_error(area, ...) log_write(LOG_ERROR, area, __VA_ARGS__)
#define log_warn(area, ...)  log_write(LOG_WARN, area, __VA_ARGS__)
#define log_info(area, ...)  log_write(LOG_INFO, area, __VA_ARGS__)
#define log_debug(area, ...) log_write(LOG_DEBUG, area, __VA_ARGS__)
