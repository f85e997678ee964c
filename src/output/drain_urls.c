/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drain urls of messages are read by an output of our own (`drain-urls`), so
 * that where it is in the log outlasts restarts like that of any other; a drain
 * that it finds begins with the very record that named it.
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "output/drains_core.h"
#include "proto/loggregator.h"

enum {
	ENDING_MAX = 64, /* drains that end; messages that name others wait for them */
	ENDING_LOOK_MS = 50,
};

#define FOLLOWER   OUTPUT_ADDED_PREFIX "urls"
#define REFUSAL_NS (60 * NS_PER_SEC)

struct follower_settings {
	struct output_settings common;
	struct drains *drains;
};

struct follower {
	struct drains *drains;
	struct output_env env;
};

static int follower_open(void **out, const void *settings, const struct output_env *env,
	struct str state, struct error *e)
{
	struct follower *f = xcalloc(1, sizeof *f);

	f->drains = ((const struct follower_settings *)settings)->drains;
	f->env = *env;
	*out = f;
	return 0;
}

/* Does the blank-separated list hold the url? */
static bool holds(struct str list, const char *url)
{
	while (list.p)
		if (str_eq_c(str_cut(&list, ' '), url))
			return true;
	return false;
}

static int bind_envelope(struct drains *d, struct str tenant, struct str app, struct str url,
	uint64_t seq, struct error *e)
{
	struct drain_target target;
	int r = drain_target_parse(&target, url, e);

	lock_take(&d->lock);
	if (r == 0 && !d->s->allow_private)
		r = drain_target_check_host(&target, e);
	if (r == 0)
		r = drains_bind(d, tenant, app, url, DRAIN_ENVELOPE, seq - 1, e);
	lock_drop(&d->lock);
	drain_target_fini(&target);
	return r;
}

/* May the application be told now?  Whoever sends messages chooses how many URLs they name. */
static bool may_tell(struct drains *d, struct str tenant, struct str app)
{
	uint64_t hash = hash_stable(app) ^ hash_stable(tenant);
	int64_t now = clock_mono_ns(d->env.clock);
	struct drain_refusal *slot = &d->refusals[hash % DRAIN_REFUSALS];
	bool may;

	lock_take(&d->lock);
	may = slot->mono == 0 || now - slot->mono >= REFUSAL_NS;
	if (may)
		*slot = (struct drain_refusal){hash, now};
	else
		d->unsaid++;
	lock_drop(&d->lock);
	return may;
}

static void tell_refused(struct drains *d, struct str tenant, struct str app, struct str url,
	const struct error *why)
{
	struct buf line = {0};

	if (!may_tell(d, tenant, app))
		return;
	buf_c(&line, "Syslog Sink ");
	drains_plain_url(url, &line);
	buf_printf(&line, ": is no drain here: %s", why->text);
	log_warn("drains", "%.*s: %.*s", STR_ARG(app), STR_ARG(buf_view(&line)));
	drain_notes_say(d, tenant, app, buf_view(&line));
	buf_fini(&line);
}

/* A record names all drains of its application. */
static void follow(
	struct drains *d, struct str tenant, struct str app, struct str urls, uint64_t seq)
{
	struct str list = str_eq(urls, STR(LOGGREGATOR_NO_DRAINS)) ? STR("") : urls;
	struct error e;

	if (app.n == 0 || app.n > DRAIN_APP_MAX)
		return;
	lock_take(&d->lock);
	for (size_t i = 0; i < d->n; i++) {
		struct binding *b = d->items[i];

		if (str_eq_c(tenant, b->tenant) && str_eq_c(app, b->app) && !holds(list, b->url))
			drains_unbind(d, b, DRAIN_ENVELOPE);
	}
	lock_drop(&d->lock);
	while (list.n > 0) {
		struct str url = str_cut(&list, ' ');

		if (url.n > 0 && bind_envelope(d, tenant, app, url, seq, &e) < 0)
			tell_refused(d, tenant, app, url, &e);
	}
}

static size_t count_ending(struct drains *d)
{
	size_t n = 0;

	lock_take(&d->lock);
	for (size_t i = 0; i < d->n; i++)
		n += d->items[i]->origins == 0;
	lock_drop(&d->lock);
	return n;
}

/* An application whose messages name others each time must not have drains pile up: to end one
 * takes its time.  False: the end has come first. */
static bool wait_for_ends(const struct follower *f)
{
	while (count_ending(f->drains) > ENDING_MAX) {
		if (f->env.ending(f->env.ending_arg))
			return false;
		usleep(ENDING_LOOK_MS * 1000);
	}
	return true;
}

static int follower_write(
	void *output, const struct output_record *records, size_t n, struct error *e)
{
	struct follower *f = output;
	struct drains *d = f->drains;
	char app_label[sizeof d->app_label];

	for (size_t i = 0; i < n; i++) {
		struct str app = STR_NONE, urls = STR_NONE;

		if (!wait_for_ends(f))
			return i > 0 ? (int)i
				     : error_set(e, ERR_CANCELLED, "the end has come first");
		lock_take(&d->lock);
		str_copy(str_c(d->app_label), app_label, sizeof app_label);
		lock_drop(&d->lock);
		if (!labels_get(records[i].labels, str_c(app_label), &app))
			labels_get(records[i].labels, STR("app"), &app);
		if (labels_get(records[i].labels, STR(LOGGREGATOR_DRAIN_URLS), &urls))
			follow(d, STR("default"), app, urls, records[i].seq);
	}
	return (int)n;
}

static int follower_sync(void *output, struct buf *state, struct error *e)
{
	return drain_file_save(((struct follower *)output)->drains, e);
}

static void follower_close(void *output)
{
	free(output);
}

static const struct option follower_options[] = {
	OUTPUT_OPTIONS(struct follower_settings),
	OPTION_END,
};

static const struct output_type follower_type = {
	.name = "drain-urls",
	.summary = "",
	.size = sizeof(struct follower_settings),
	.options = follower_options,
	.open = follower_open,
	.write = follower_write,
	.sync = follower_sync,
	.close = follower_close,
};

static void start_follower(struct drains *d)
{
	struct drain_memory *m = xcalloc(1, sizeof *m);
	struct follower_settings *s;
	struct error e;

	arena_init(&m->arena, NULL);
	s = ARENA_NEW(&m->arena, struct follower_settings);
	*s = (struct follower_settings){
		.common = {.name = FOLLOWER, .match = "{input=\"loggregator\"} | drain_urls!=\"\""},
		.drains = d};
	m->entry = (struct kind_entry){
		.kind = follower_type.name, .type = &follower_type, .settings = s};
	if (outputs_add(d->env.outputs,
		    &(struct outputs_added){.entry = &m->entry,
			    .memory = m,
			    .unref = drain_memory_free,
			    .after_seq = store_last_seq(d->env.store)},
		    &e) == 0)
		return;
	log_error("drains", "drain urls are not followed: %s", e.text);
	drain_memory_free(m);
}

void drains_follow(struct drains *d)
{
	bool wanted = d->s->from_envelopes;

	if (d->follows == wanted)
		return;
	d->follows = wanted;
	lock_drop(&d->lock);
	if (wanted)
		start_follower(d);
	else
		outputs_remove(d->env.outputs, STR(FOLLOWER), false);
	lock_take(&d->lock);
}
