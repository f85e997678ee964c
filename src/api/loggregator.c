/* SPDX-License-Identifier: Apache-2.0 */
#include "api/loggregator.h"

#include "record/labels.h"

enum { RECENT_MAX = 1000000 };

static int check_label(struct str name, struct error *e)
{
	if (label_name_valid(name))
		return 0;
	return error_set(
		e, ERR_ARG, "a label's name has letters, digits and _, and no digit in front");
}

static const struct option varz_options[] = {
	OPTION(struct varz_settings, user, .kind = OPT_STRING,
		.help = "Who may read /varz by Basic authentication. Not set: a token decides, as for "
			"/metrics."),
	OPTION(struct varz_settings, password_file, .kind = OPT_PATH, .secret = true,
		.help = "File whose first line is his password. Read for each request."),
	OPTION_END,
};

const struct option loggregator_options[] = {
	OPTION(struct loggregator_settings, recent, .kind = OPT_INT, .fallback = "1000", .min = 1,
		.max = RECENT_MAX,
		.help = "How many of an application's lines /recent and /apps/ID/recentlogs tell, "
			"the newest."),
	OPTION(struct loggregator_settings, app_label, .kind = OPT_STRING, .fallback = "app",
		.check = check_label,
		.help = "The label that holds an application's id, which its clients ask by."),
	OPTION(struct loggregator_settings, check, .kind = OPT_OBJECT, .fields = check_options,
		.help = "Who may read, decided by another server."),
	OPTION(struct loggregator_settings, varz, .kind = OPT_OBJECT, .fields = varz_options,
		.help = "Who may read /varz."),
	OPTION_END,
};

int loggregator_check(const struct loggregator_settings *s, struct error *e)
{
	if (!s->varz.user != !s->varz.password_file)
		return error_set(e, ERR_ARG,
			"loggregator.varz: %s is missing: user and password_file come together",
			s->varz.user ? "password_file" : "user");
	if (s->check.firehose_url && !s->check.url)
		return error_set(e, ERR_ARG,
			"loggregator.check: url is missing: firehose_url alone is never asked");
	return 0;
}
