/* SPDX-License-Identifier: Apache-2.0 */
/* The notifier `webhook`: what Alertmanager sends to its receivers, by POST. */
#include <stdlib.h>

#include "alert/notify_http.h"
#include "alert/notify_json.h"
#include "base/memory.h"

struct webhook_settings {
	struct notifier_settings common;
	struct notifier_http_settings http;
};

struct webhook {
	const struct webhook_settings *s;
	struct notifier_env env;
	struct notifier_http *http;
};

static int check(const void *settings, struct error *e)
{
	return notifier_http_check(&((const struct webhook_settings *)settings)->http, e);
}

static int open_webhook(
	void **out, const void *settings, const struct notifier_env *env, struct error *e)
{
	struct webhook *w = xcalloc(1, sizeof *w);

	w->s = settings;
	w->env = *env;
	w->http = notifier_http_new(&w->s->http, w->s->common.allow_private, env);
	*out = w;
	return 0;
}

static int send_notes(void *notifier, const struct alert_note *notes, size_t n, struct error *e)
{
	struct webhook *w = notifier;
	struct buf json = {0};
	int r;

	notify_json_message(&json, notes, n, &w->s->common, &w->env);
	r = notifier_http_post(w->http, "", buf_view(&json), e);
	buf_fini(&json);
	return r;
}

static void close_webhook(void *notifier)
{
	struct webhook *w = notifier;

	if (!w)
		return;
	notifier_http_free(w->http);
	free(w);
}

static const struct option options[] = {
	{.name = "url",
		.offset = offsetof(struct webhook_settings, http.url),
		.kind = OPT_STRING,
		.required = true,
		.secret = true,
		.check = notifier_http_check_url,
		.help = "Where messages are posted to, as JSON in the form that Alertmanager's "
			"receivers know: https://host/path. Redirects are not followed."},
	NOTIFIER_OPTIONS(struct webhook_settings, "4h"),
	NOTIFIER_GROUPING(struct webhook_settings, "0s"),
	NOTIFIER_HTTP_OPTIONS(struct webhook_settings),
	OPTION_END,
};

const struct notifier_type notifier_webhook = {
	.name = "webhook",
	.summary = "a POST of JSON, as Alertmanager sends it to its receivers",
	.size = sizeof(struct webhook_settings),
	.by_group = true,
	.options = options,
	.check = check,
	.open = open_webhook,
	.send = send_notes,
	.close = close_webhook,
};
