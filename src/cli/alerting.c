/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/alerting.h"

#include "store/store.h"

int alerting_check(const struct alert_settings *s, struct error *e)
{
	int r = alerts_check(s, e);

	return r < 0 ? r : notify_check(&s->notify, e);
}

static int open_silences(struct alerting *x, const char *dir, struct buf *path, struct error *e)
{
	buf_printf(path, "%s/silences.json", dir);
	return silences_open(&x->silences, fs_real(), clock_real(), buf_cstr(path), e);
}

static void start(struct alerting *x, const struct alerting_env *env, const char *dir)
{
	struct notify_env notify = {.fs = fs_real(),
		.clock = clock_real(),
		.account = env->account,
		.sink = store_sink(env->store),
		.silences = x->silences,
		.dir = dir,
		.host = env->host};
	struct alerts_env alerts = {.store = env->store,
		.fs = fs_real(),
		.clock = clock_real(),
		.account = env->account,
		.rules = env->rules,
		.silences = x->silences,
		.dir = dir};

	alerts.notify = x->notify = notify_new(&notify);
	x->alerts = alerts_new(&alerts);
}

int alerting_open(struct alerting *x, const struct alerting_env *env, struct error *e)
{
	struct buf path = {0};
	int r;

	buf_printf(&x->dir, "%s/alerts", env->data);
	if ((r = fs_mkdir(fs_real(), buf_cstr(&x->dir), e)) == 0 &&
		(r = open_silences(x, buf_cstr(&x->dir), &path, e)) == 0)
		start(x, env, buf_cstr(&x->dir));
	buf_fini(&path);
	return r;
}

int alerting_apply(
	struct alerting *x, const struct alert_settings *s, struct peers *peers, struct error *e)
{
	int r = notify_apply(x->notify, &s->notify, s->external_url, e);

	return r < 0 ? r : alerts_apply(x->alerts, s, peers, e);
}

void alerting_close(struct alerting *x, unsigned ms)
{
	alerts_free(x->alerts);
	if (x->notify)
		notify_free(x->notify, ms);
	silences_close(x->silences);
	buf_fini(&x->dir);
	*x = (struct alerting){0};
}

void alerting_dump(struct alerting *x, struct buf *out)
{
	alerts_dump(x->alerts, out);
	notify_dump(x->notify, out);
}
