/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * How a record becomes a message of RFC 5424, for the kinds `syslog`, `https`
 * and `https-batch`.  Manual: doc/output/syslog.md.
 *
 *   rfc5424           <29>1 2026-11-21T10:00:00.123456Z web1 nginx 77 ID47 [tags@47450 …] text
 *   loggregator       <14>1 2026-11-21T10:00:00.123456+00:00 org.space.app ID [APP/PROC/WEB/0]
 *                     - [tags@47450 …] text\n
 *   loggregator-2016  <14>1 2026-11-21T10:00:00.123456+00:00 loggregator ID [APP/0] - - text\n
 *   loggregator-2014  <14>1 2026-11-21T10:00:00+00:00 loggregator ID [App/0] - - text\n
 *   loggregator-2013  <14>1 2026-11-21T10:00:00+00:00 loggregator ID App - - text\n
 *
 * No field can be forged by what a record holds: fields are printable ASCII without blanks and
 * cut at their limits, values of structured data are escaped, and a message's end is told by its
 * length.  NUL bytes of a text are left out.
 * Sources: RFC 5424, RFC 6587 3.4.1; the drains of Loggregator's generations.
 * Thread rule: a format belongs to one thread: it holds what the last record made.
 */
#include "output/output.h"

enum syslog_shape {
	SHAPE_RFC5424,
	SHAPE_LOGGREGATOR,
	SHAPE_LOGGREGATOR_2016,
	SHAPE_LOGGREGATOR_2014,
	SHAPE_LOGGREGATOR_2013,
};

extern const char *const syslog_shapes[];

/* The part of a kind's settings; SYSLOG_FORMAT_OPTIONS puts it in the table. */
struct syslog_format_settings {
	int shape; /* enum syslog_shape */
	bool tags;
	const char *hostname;
	uint64_t max_message;
};

#define SYSLOG_FORMAT_OPTIONS(type, usual_shape)                                                   \
	{.name = "format",                                                                         \
		.offset = offsetof(type, format.shape),                                            \
		.kind = OPT_ENUM,                                                                  \
		.values = syslog_shapes,                                                           \
		.fallback = usual_shape,                                                           \
		.help = "RFC 5424 with what a record tells of itself, or as the drains of "        \
			"Loggregator, today's or those of a year, have it."},                      \
		{.name = "tags",                                                                   \
			.offset = offsetof(type, format.tags),                                     \
			.kind = OPT_BOOL,                                                          \
			.fallback = "true",                                                        \
			.help = "Labels and metadata as structured data [tags@47450 …]; not in " \
				"the shapes of a year."},                                          \
		{.name = "hostname",                                                               \
			.offset = offsetof(type, format.hostname),                                 \
			.kind = OPT_STRING,                                                        \
			.check = syslog_format_check_hostname,                                     \
			.help = "The field HOSTNAME, a Go template over labels and metadata. "     \
				"Default: the record's host, or of Loggregator's "                 \
				"organization.space.app, else this machine's name."},              \
	{                                                                                          \
		.name = "max_message", .offset = offsetof(type, format.max_message),               \
		.kind = OPT_SIZE, .fallback = "0", .min = 0, .max = 64 << 20,                      \
		.help = "Cut a longer text there. 0: never (but over udp:// at 60KiB)."            \
	}

struct syslog_format;

int syslog_format_check_hostname(struct str text, struct error *e);
/* Settings and host are borrowed.  `line_end`: each message ends with one, whatever its shape.
 * ERR_ARG: hostname is no template. */
int syslog_format_new(struct syslog_format **out, const struct syslog_format_settings *s,
	const char *host, bool line_end, struct error *e);
void syslog_format_free(struct syslog_format *f); /* NULL is fine */
/* Make the messages of a record: one, or of a gauge one for each of its metrics.  How many; they
 * are valid until the next. */
size_t syslog_format_make(struct syslog_format *f, const struct output_record *r);
struct str syslog_format_message(const struct syslog_format *f, size_t i);
