/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static _Atomic int max_level = LOG_INFO;

void log_set_level(enum log_level level)
{
	max_level = level;
}

static int prefix(char *line, size_t size, enum log_level level, const char *area)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	static const int syslog_level[] = {3, 4, 6, 7};
	struct timespec now;
	struct tm tm;
	char day[32];

	if (getenv("JOURNAL_STREAM"))
		return snprintf(line, size, "<%d>%s: ", syslog_level[level], area);
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
	return snprintf(
		line, size, "%s.%03ldZ %s %s: ", day, now.tv_nsec / 1000000, names[level], area);
}

void log_write(enum log_level level, const char *area, const char *fmt, ...)
{
	char line[1200];
	va_list ap;
	int n, m;

	if ((int)level > max_level)
		return;
	n = prefix(line, sizeof line, level, area);
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof line - 1 - (size_t)n, fmt, ap);
	va_end(ap);
	if (m >= (int)sizeof line - 1 - n)
		m = (int)sizeof line - 2 - n;
	for (int i = n; i < n + m; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[n + m] = '\n';
	/* One write a line, so that lines of several threads do not mix. */
	if (write(2, line, (size_t)(n + m) + 1) < 0)
		return;
}
