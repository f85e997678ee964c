/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static _Atomic int max_level = LOG_INFO;

void log_set_level(enum log_level level)
{
	max_level = level;
}

enum log_level log_get_level(void)
{
	return max_level;
}

/* Does stderr lead to the journal?  The variable alone does not say: it is inherited by
 * children whose stderr goes elsewhere. */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat s;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(2, &s) == 0 &&
	       s.st_dev == device && s.st_ino == inode;
}

static int prefix(char *line, size_t size, enum log_level level, const char *area)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	static const int syslog_level[] = {3, 4, 6, 7};
	struct timespec now;
	struct tm tm;
	char day[32];

	if (is_journal())
		return snprintf(line, size, "<%d>%.40s: ", syslog_level[level], area);
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
	return snprintf(
		line, size, "%s.%03ldZ %s %.40s: ", day, now.tv_nsec / 1000000, names[level], area);
}

/* Append `text` at line[n], control bytes as \n, \t or \x1b: a message often quotes what a
 * peer sent, and must neither forge a line nor talk to the terminal.  Returns the new n. */
static size_t escape(char *line, size_t n, size_t size, const char *text)
{
	for (; *text && n + 4 < size; text++) {
		unsigned char c = (unsigned char)*text;
		if (c >= 0x20 && c != 0x7f)
			line[n++] = (char)c;
		else if (c == '\n' || c == '\t')
			n += (size_t)sprintf(line + n, "\\%c", c == '\n' ? 'n' : 't');
		else
			n += (size_t)sprintf(line + n, "\\x%02x", c);
	}
	return n;
}

void log_write(enum log_level level, const char *area, const char *fmt, ...)
{
	char text[1024], line[1280];
	va_list ap;
	size_t n;

	if ((int)level > max_level)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	n = (size_t)prefix(line, sizeof line, level, area);
	n = escape(line, n, sizeof line - 1, text);
	line[n++] = '\n';
	/* One write a line, so that lines of several threads do not mix. */
	if (write(2, line, n) < 0)
		return;
}
