/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The notifier `alertmanager`: alerts to an Alertmanager's API v2, as
 * Prometheus sends them.  It forgets an alert that is not told again, so what
 * fires is told again each `repeat` and said to end after four of them: then a
 * server that is gone leaves no alert behind for ever.
 */
#include <stdlib.h>

#include "alert/notify_http.h"
#include "alert/notify_json.h"
#include "base/memory.h"

enum { REPEATS_TO_LIVE = 4 };

struct alertmanager_settings {
	struct notifier_settings common;
	struct notifier_http_settings http;
};

struct alertmanager {
	const struct alertmanager_settings *s;
	struct notifier_env env;
	struct notifier_http *http;
};

static int check(const void *settings, struct error *e)
{
	const struct alertmanager_settings *s = settings;

	if (str_chr(str_c(s->http.url), '?') >= 0)
		return error_set(e, ERR_ARG, "url: must end with the path, without ?");
	if (s->common.repeat < NS_PER_SEC)
		return error_set(e, ERR_ARG,
			"repeat: must be at least 1s: an Alertmanager takes what is not told again "
			"for resolved");
	return notifier_http_check(&s->http, e);
}

static int open_alertmanager(
	void **out, const void *settings, const struct notifier_env *env, struct error *e)
{
	struct alertmanager *m = xcalloc(1, sizeof *m);

	m->s = settings;
	m->env = *env;
	m->http = notifier_http_new(&m->s->http, m->s->common.allow_private, env);
	*out = m;
	return 0;
}

static int send_notes(void *notifier, const struct alert_note *notes, size_t n, struct error *e)
{
	struct alertmanager *m = notifier;
	int64_t until = clock_now_ns(m->env.clock) + REPEATS_TO_LIVE * m->s->common.repeat;
	struct buf json = {0};
	int r;

	notify_json_list(&json, notes, n, until);
	r = notifier_http_post(m->http, "/api/v2/alerts", buf_view(&json), e);
	buf_fini(&json);
	return r;
}

static void close_alertmanager(void *notifier)
{
	struct alertmanager *m = notifier;

	if (!m)
		return;
	notifier_http_free(m->http);
	free(m);
}

static const struct option options[] = {
	{.name = "url",
		.offset = offsetof(struct alertmanager_settings, http.url),
		.kind = OPT_STRING,
		.required = true,
		.secret = true,
		.check = notifier_http_check_url,
		.help = "The Alertmanager: http://host:9093, with its path where it has one. Of a "
			"cluster name each member as a notifier of its own."},
	NOTIFIER_OPTIONS(struct alertmanager_settings, "1m"),
	NOTIFIER_HTTP_OPTIONS(struct alertmanager_settings),
	OPTION_END,
};

const struct notifier_type notifier_alertmanager = {
	.name = "alertmanager",
	.summary = "alerts to an Alertmanager, as Prometheus sends them",
	.size = sizeof(struct alertmanager_settings),
	.options = options,
	.check = check,
	.open = open_alertmanager,
	.send = send_notes,
	.close = close_alertmanager,
};
