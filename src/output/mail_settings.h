/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The settings of who sends mails, the `email` output and the `email` notifier
 * of alerts: what they ask of the mail server, and to whom they write.
 * Pure; what is made of settings borrows their texts.
 */
#include "conf/option.h"
#include "output/smtp.h"

struct mail_settings {
	const char *smtp, *from; /* from may be NULL where its row says so */
	struct strings to;
	const char *user, *password_file, *ca;
};

/* Rows for `member` of the kind's settings, but for `from`, which each kind words itself.  The
 * first is what a kind takes that is given one value alone. */
#define MAIL_OPTIONS(type, member)                                                                      \
	{.name = "to",                                                                                  \
		.offset = offsetof(type, member.to),                                                    \
		.kind = OPT_STRINGS,                                                                    \
		.required = true,                                                                       \
		.help = "Who gets the mails."},                                                         \
		{.name = "smtp",                                                                        \
			.offset = offsetof(type, member.smtp),                                          \
			.kind = OPT_STRING,                                                             \
			.required = true,                                                               \
			.check = smtp_check_url,                                                        \
			.help = "The mail server: smtp://host:port, encrypted by STARTTLS where it is " \
				"offered, or smtps://host:port."},                                      \
		{.name = "user",                                                                        \
			.offset = offsetof(type, member.user),                                          \
			.kind = OPT_STRING,                                                             \
			.secret = true,                                                                 \
			.help = "Name at the mail server. Then the line must be encrypted, but to "     \
				"this machine itself."},                                                \
		{.name = "password_file",                                                               \
			.offset = offsetof(type, member.password_file),                                 \
			.kind = OPT_PATH,                                                               \
			.secret = true,                                                                 \
			.help = "File whose first line is the password; read again for each mail."},    \
	{                                                                                               \
		.name = "ca", .offset = offsetof(type, member.ca), .kind = OPT_PATH,                    \
		.help = "PEM file with the certificates that sign the server's. Default: the "          \
			"system's."                                                                     \
	}

/* ERR_ARG with the setting at fault. */
int mail_settings_check(const struct mail_settings *s, struct error *e);
/* The options of a connection; what is not of the settings is left out. */
struct smtp_options mail_settings_smtp(const struct mail_settings *s);
