/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.
 *
 *   configuration ─┐
 *   API ───────────┼─► bindings ──thread──► outputs_add, outputs_remove
 *   drain urls ────┘   (origins)            (one output a binding)
 *
 * A binding has a set of origins and lives as long as one is left.  Who changes
 * the set only notes what is wanted and wakes the thread, which makes outputs
 * agree with it, as that may have to wait for one that hangs.  Only the thread
 * frees bindings.
 *
 * Drain urls are read by drain_urls.c.
 */
#include "output/drains.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "output/drains_core.h"
#include "output/syslog_format.h"

enum {
	LOOK_S = 10, /* for what could not be started, and notes that are due */
	PER_APP_MAX = 1000,
	ALL_MAX = 10000,
};

static const struct drains_settings no_settings;

const struct option drains_options[] = {
	OPTION(struct drains_settings, apps, .kind = OPT_GROUPS,
		.help = "Applications (the label app) and the URLs that their lines go to: "
			"{APP: [syslog-tls://HOST:6514, https://HOST/PATH]}."),
	OPTION(struct drains_settings, from_envelopes, .kind = OPT_BOOL, .fallback = "false",
		.help = "Drain to the URLs that Loggregator's messages name. Whoever may send "
			"messages may then send an application's log elsewhere."),
	OPTION(struct drains_settings, allow_private, .kind = OPT_BOOL, .fallback = "false",
		.help = "Allow drains that are not in this file to lead to this machine, private "
			"and link-local addresses."),
	OPTION(struct drains_settings, format, .kind = OPT_ENUM, .values = syslog_shapes,
		.fallback = "loggregator", .help = "The shape of messages, as of an output."),
	OPTION(struct drains_settings, tags, .kind = OPT_BOOL, .fallback = "true",
		.help = "Tags as structured data, unless the URL says ?disable-metadata=true."),
	OPTION(struct drains_settings, hostname, .kind = OPT_STRING,
		.check = syslog_format_check_hostname,
		.help = "The field HOSTNAME, a Go template. Default: organization.space.app, "
			"else this machine's name."),
	OPTION(struct drains_settings, tls, .kind = OPT_OBJECT, .fields = client_tls_options,
		.help = "For syslog-tls:// and https://."),
	OPTION(struct drains_settings, max_per_app, .kind = OPT_INT, .fallback = "10", .min = 1,
		.max = PER_APP_MAX, .help = "More drains of an application are refused."),
	OPTION(struct drains_settings, max, .kind = OPT_INT, .fallback = "500", .min = 1,
		.max = ALL_MAX, .help = "More drains in all are refused: each is a thread."),
	OPTION_END,
};

static int check_group(const struct string_group *g, struct error *e)
{
	if (strlen(g->name) > DRAIN_APP_MAX)
		return error_set(e, ERR_ARG, "a name has at most %d bytes", DRAIN_APP_MAX);
	for (size_t i = 0; i < g->values.n; i++) {
		struct drain_target target;
		int r = drain_target_parse(&target, str_c(g->values.items[i]), e);

		if (r == 0)
			r = drain_target_check_words(&target, e);
		drain_target_fini(&target);
		if (r < 0)
			return error_wrap(e, ERR_ARG, "%s", g->name);
	}
	return 0;
}

int drains_check(const struct drains_settings *s, struct error *e)
{
	int r = client_tls_check(&s->tls, e);

	if (r < 0)
		return error_wrap(e, r, "drains");
	for (size_t i = 0; i < s->apps.n; i++)
		if ((r = check_group(&s->apps.items[i], e)) < 0)
			return error_wrap(e, r, "drains.apps");
	return 0;
}

/* Bindings. */

void drains_id(struct str tenant, struct str app, struct str url, char out[DRAIN_ID_SIZE])
{
	struct buf text = {0};

	buf_str(&text, tenant);
	buf_char(&text, '\0');
	buf_str(&text, app);
	buf_char(&text, '\0');
	buf_str(&text, url);
	snprintf(out, DRAIN_ID_SIZE, OUTPUT_ADDED_PREFIX "%012" PRIx64,
		hash_stable(buf_view(&text)) >> 16);
	buf_fini(&text);
}

struct binding *drains_find(struct drains *d, struct str id)
{
	for (size_t i = 0; i < d->n; i++)
		if (str_eq_c(id, d->items[i]->id))
			return d->items[i];
	return NULL;
}

/* The one of these, or a new one without origins. */
struct binding *drains_insert(struct drains *d, struct str tenant, struct str app, struct str url)
{
	char id[DRAIN_ID_SIZE];
	struct binding *b;

	drains_id(tenant, app, url, id);
	if ((b = drains_find(d, str_c(id))))
		return b;
	b = xcalloc(1, sizeof *b);
	str_copy(str_c(id), b->id, sizeof b->id);
	b->tenant = str_dup(tenant);
	b->app = str_dup(app);
	b->url = str_dup(url);
	if (d->n == d->cap) {
		d->cap = d->cap ? 2 * d->cap : 16;
		d->items = xrealloc(d->items, d->cap * sizeof(struct binding *));
	}
	d->items[d->n++] = b;
	return b;
}

static void binding_free(struct binding *b)
{
	free(b->tenant);
	free(b->app);
	free(b->url);
	free(b);
}

static void wake(struct drains *d) REQUIRES(d->lock)
{
	d->changed = true;
	cond_signal(&d->wake);
}

/* Is there room for one more of the application? */
static int check_room(struct drains *d, struct str tenant, struct str app, struct error *e)
	REQUIRES(d->lock)
{
	int64_t all = 0, of_app = 0;

	for (size_t i = 0; i < d->n; i++) {
		const struct binding *b = d->items[i];

		if (b->origins == 0)
			continue;
		all++;
		of_app += str_eq_c(tenant, b->tenant) && str_eq_c(app, b->app);
	}
	if (of_app >= d->s->max_per_app)
		return error_set(e, ERR_LIMIT,
			"the application has %" PRId64 " drains: more than max_per_app, %" PRId64
			", are not allowed",
			of_app, d->s->max_per_app);
	if (all >= d->s->max)
		return error_set(e, ERR_LIMIT,
			"there are %" PRId64 " drains: more than max, %" PRId64 ", are not allowed",
			all, d->s->max);
	return 0;
}

int drains_bind(struct drains *d, struct str tenant, struct str app, struct str url,
	enum drain_origin origin, uint64_t after_seq, struct error *e)
{
	char id[DRAIN_ID_SIZE];
	struct binding *b;
	int r;

	drains_id(tenant, app, url, id);
	b = drains_find(d, str_c(id));
	if (b && (b->origins & origin))
		return 1;
	if ((!b || b->origins == 0) && origin != DRAIN_CONFIG &&
		(r = check_room(d, tenant, app, e)) < 0)
		return r;
	if (!b)
		b = drains_insert(d, tenant, app, url);
	if (b->origins == 0)
		b->after_seq = after_seq;
	b->origins |= origin;
	b->was_kept = b->was_kept || origin != DRAIN_CONFIG;
	wake(d);
	return 0;
}

void drains_unbind(struct drains *d, struct binding *b, unsigned origins)
{
	b->origins &= ~origins;
	if (b->origins == 0)
		wake(d);
}

/* The output of a binding. */

void drain_memory_free(void *memory)
{
	struct drain_memory *m = memory;

	arena_fini(&m->arena);
	free(m);
}

/* Settings as they would be written, but never with anything of the environment in them. */
struct pairs {
	struct arena *arena;
	const char *items[24];
	size_t n;
};

static void add_pair(struct pairs *p, const char *name, const char *value)
{
	assert(p->n + 1 < sizeof p->items / sizeof *p->items);
	if (value)
		p->items[p->n++] = arena_printf(p->arena, "%s=%s", name, value);
}

static void put_match(
	const char *app_label, const char *app, enum drain_content content, struct buf *out)
{
	static const char *const events[] = {
		", event=\"\"", ", event=~\"counter|gauge|timer\"", ""};

	buf_printf(out, "{%s=", app_label);
	buf_json(out, str_c(app));
	buf_c(out, events[content]);
	buf_char(out, '}');
}

static bool allows_private(const struct drains_settings *s, const struct binding *b)
{
	return s->allow_private || (b->origins & DRAIN_CONFIG);
}

static struct pairs pairs_of(struct arena *arena, const struct drains_settings *s,
	const struct binding *b, const struct drain_target *t, const char *app_label)
{
	bool private = allows_private(s, b);
	bool encrypted = !str_starts(str_c(t->url), STR("syslog://"));
	struct pairs p = {.arena = arena};
	struct buf match = {0};

	put_match(app_label, b->app, t->content, &match);
	add_pair(&p, "name", b->id);
	add_pair(&p, "url", t->url);
	add_pair(&p, "tenant", b->tenant);
	add_pair(&p, "match", buf_cstr(&match));
	add_pair(&p, "allow_private", private ? "true" : "false");
	add_pair(&p, "format", syslog_shapes[s->format]);
	add_pair(&p, "tags", s->tags && t->tags ? "true" : "false");
	add_pair(&p, "hostname", s->hostname);
	if (encrypted) {
		add_pair(&p, "tls.ca", s->tls.ca);
		add_pair(&p, "tls.cert", s->tls.cert);
		add_pair(&p, "tls.key", s->tls.key);
		add_pair(&p, "tls.insecure", s->tls.insecure ? "true" : "false");
	}
	buf_fini(&match);
	return p;
}

static int load_settings(struct drain_memory *m, const struct drains_settings *s,
	const struct binding *b, const char *app_label, struct error *e)
{
	struct conf_errors errors = {0};
	const struct output_type *type;
	struct drain_target target;
	struct output_settings *common = NULL;
	struct pairs p;
	int r = drain_target_parse(&target, str_c(b->url), e);

	if (r < 0) {
		drain_target_fini(&target);
		return r;
	}
	type = target.type;
	common = arena_alloc(&m->arena, type->size);
	memset(common, 0, type->size);
	p = pairs_of(&m->arena, s, b, &target, app_label);
	r = conf_load(
		common, type->options, &(struct conf_source){.flags = p.items}, &m->arena, &errors);
	if (r < 0)
		r = error_set(e, r, "%.*s", STR_ARG(str_trim(buf_view(&errors.text))));
	else if (type->check)
		r = type->check(common, e);
	common->no_loopback = true;
	m->entry = (struct kind_entry){.kind = type->name, .type = type, .settings = common};
	buf_fini(&errors.text);
	drain_target_fini(&target);
	return r;
}

/* `b` is a copy. */
static int start_output(struct drains *d, const struct drains_settings *s, const struct binding *b,
	const char *app_label, struct error *e)
{
	struct drain_memory *m = xcalloc(1, sizeof *m);
	int r;

	arena_init(&m->arena, NULL);
	if ((r = load_settings(m, s, b, app_label, e)) == 0)
		r = outputs_add(d->env.outputs,
			&(struct outputs_added){.entry = &m->entry,
				.memory = m,
				.unref = drain_memory_free,
				.after_seq = b->after_seq,
				.told = drain_notes_told,
				.arg = d},
			e);
	if (r < 0)
		drain_memory_free(m);
	return r;
}

/* The thread. */

/* Does its output run as it is wanted now? */
static bool is_current(const struct drains *d, const struct binding *b) REQUIRES(d->lock)
{
	return b->running == d->settings && b->runs_private == allows_private(d->s, b);
}

/* The first that is not as it is wanted, from `from` on. */
static size_t next_to_do(struct drains *d, size_t from) REQUIRES(d->lock)
{
	while (from < d->n) {
		const struct binding *b = d->items[from];

		if (b->origins == 0 || !is_current(d, b))
			return from;
		from++;
	}
	return from;
}

static void drop_binding(struct drains *d, size_t i) REQUIRES(d->lock)
{
	binding_free(d->items[i]);
	d->items[i] = d->items[--d->n];
}

static void end_output(struct drains *d, struct binding *b) REQUIRES(d->lock)
{
	/* A place that the configuration made stays, as that of outputs does. */
	bool forget = b->origins == 0 && b->was_kept;

	b->running = 0;
	lock_drop(&d->lock);
	outputs_remove(d->env.outputs, str_c(b->id), forget);
	lock_take(&d->lock);
}

static void begin_output(struct drains *d, struct binding *b) REQUIRES(d->lock)
{
	struct binding copy = *b; /* only we free it */
	uint64_t settings = d->settings;
	char app_label[sizeof d->app_label];
	struct arena arena;
	const struct drains_settings *s;
	struct error e;
	int r;

	arena_init(&arena, NULL);
	s = conf_copy(d->s, sizeof *s, drains_options, &arena);
	str_copy(str_c(d->app_label), app_label, sizeof app_label);
	lock_drop(&d->lock);
	r = start_output(d, s, &copy, app_label, &e);
	lock_take(&d->lock);
	if (r == 0) {
		b->running = settings;
		b->runs_private = allows_private(s, &copy);
		b->problem[0] = '\0';
	} else if (strcmp(b->problem, e.text) != 0) {
		str_copy(str_c(e.text), b->problem, sizeof b->problem);
		log_error("drains", "%s of application %s does not run: %s", b->id, b->app, e.text);
	}
	arena_fini(&arena);
}

/* What a reload changed of what is kept: it does not wait for the disk. */
static void save_late(struct drains *d) REQUIRES(d->lock)
{
	struct error e;

	if (!d->unsaved)
		return;
	d->unsaved = false;
	lock_drop(&d->lock);
	if (drain_file_save(d, &e) < 0)
		log_error(
			"drains", "what was ended may be there again after a restart: %s", e.text);
	lock_take(&d->lock);
}

/* Make outputs agree with what is wanted.  The lock is dropped meanwhile; only this thread takes
 * bindings out, so that none vanishes under it. */
static void reconcile(struct drains *d) REQUIRES(d->lock)
{
	size_t i = 0;

	d->changed = false;
	drains_follow(d);
	save_late(d);
	while (!d->stopping && (i = next_to_do(d, i)) < d->n) {
		struct binding *b = d->items[i];

		if (b->running || b->origins == 0)
			end_output(d, b);
		if (b->origins == 0) {
			drop_binding(d, i);
			continue; /* another has its place */
		}
		begin_output(d, b);
		i++;
	}
}

static void *run(void *arg)
{
	struct drains *d = arg;

	lock_take(&d->lock);
	while (!d->stopping) {
		if (d->settings > 0)
			reconcile(d);
		if (!d->changed && !d->stopping)
			cond_wait_for(&d->wake, &d->lock, LOOK_S * NS_PER_SEC);
		lock_drop(&d->lock);
		drain_notes_flush(d);
		lock_take(&d->lock);
	}
	lock_drop(&d->lock);
	return NULL;
}

/* The calls. */

int drains_open(struct drains **out, const struct drains_env *env, struct error *e)
{
	struct drains *d = xcalloc(1, sizeof *d);
	struct buf path = {0}, aside = {0};
	int r;

	d->env = *env;
	d->s = &no_settings;
	arena_init(&d->arena, NULL);
	lock_init(&d->file);
	lock_init(&d->lock);
	cond_init(&d->wake);
	buf_printf(&path, "%s/drain-bindings", env->dir);
	buf_cstr(&path);
	d->path = buf_take(&path).p;
	if ((r = fs_mkdir(env->fs, env->dir, e)) == 0)
		r = drain_file_load(d, e);
	if (r == ERR_CORRUPT || r == ERR_LIMIT) {
		r = fs_put_aside(env->fs, d->path, &aside, e);
		if (r == 0)
			log_error("drains",
				"%s is damaged and was put aside as %s: drains that were added "
				"by the API are gone",
				d->path, buf_cstr(&aside));
		buf_fini(&aside);
	}
	if (r < 0) {
		drains_free(d);
		return error_wrap(e, r, "drains");
	}
	*out = d;
	return 0;
}

static bool same_text(const char *a, const char *b)
{
	return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

/* Do both make the same outputs?  A list that grew by one drain is no reason to start all anew. */
static bool same_outputs(const struct drains_settings *a, const struct drains_settings *b)
{
	return a->format == b->format && a->tags == b->tags &&
	       same_text(a->hostname, b->hostname) &&
	       conf_same(&a->tls, &b->tls, client_tls_options);
}

static void apply_settings(struct drains *d, const struct drains_settings *s, const char *app_label)
	REQUIRES(d->lock)
{
	bool same =
		d->settings > 0 && same_outputs(d->s, s) && strcmp(d->app_label, app_label) == 0;

	arena_clear(&d->arena);
	str_copy(str_c(app_label), d->app_label, sizeof d->app_label);
	d->s = conf_copy(s, sizeof *s, drains_options, &d->arena);
	/* A counter that no binding has: those that run are started anew. */
	if (!same)
		d->settings++;
	wake(d);
}

/* Nobody's messages name drains any more. */
static void unbind_named(struct drains *d) REQUIRES(d->lock)
{
	for (size_t i = 0; i < d->n; i++) {
		if (!(d->items[i]->origins & DRAIN_ENVELOPE))
			continue;
		drains_unbind(d, d->items[i], DRAIN_ENVELOPE);
		d->unsaved = true;
	}
}

static void bind_configured(struct drains *d, const struct drains_settings *s) REQUIRES(d->lock)
{
	uint64_t last = store_last_seq(d->env.store);

	for (size_t i = 0; i < s->apps.n; i++) {
		const struct string_group *g = &s->apps.items[i];

		for (size_t k = 0; k < g->values.n; k++)
			(void)drains_bind(d, STR("default"), str_c(g->name),
				str_c(g->values.items[k]), DRAIN_CONFIG, last, NULL);
	}
}

static bool is_configured(const struct drains_settings *s, const struct binding *b)
{
	for (size_t i = 0; i < s->apps.n; i++) {
		const struct string_group *g = &s->apps.items[i];

		for (size_t k = 0; k < g->values.n; k++)
			if (strcmp(g->name, b->app) == 0 && strcmp(g->values.items[k], b->url) == 0)
				return strcmp(b->tenant, "default") == 0;
	}
	return false;
}

void drains_configure(struct drains *d, const struct drains_settings *s, const char *app_label,
	const struct discover *discover)
{
	lock_take(&d->lock);
	d->discover = *discover;
	apply_settings(d, s, app_label ? app_label : "app");
	for (size_t i = 0; i < d->n; i++)
		if (!is_configured(s, d->items[i]))
			drains_unbind(d, d->items[i], DRAIN_CONFIG);
	bind_configured(d, s);
	if (!s->from_envelopes)
		unbind_named(d);
	lock_drop(&d->lock);
	if (!d->started)
		d->thread = thread_start("drains", run, d);
	d->started = true;
}

void drains_stop(struct drains *d)
{
	if (!d || !d->started)
		return;
	lock_take(&d->lock);
	d->stopping = true;
	cond_signal(&d->wake);
	lock_drop(&d->lock);
	pthread_join(d->thread, NULL);
	d->started = false;
}

void drains_free(struct drains *d)
{
	if (!d)
		return;
	assert(!d->started);
	for (size_t i = 0; i < d->n; i++)
		binding_free(d->items[i]);
	free(d->items);
	free(d->path);
	arena_fini(&d->arena);
	lock_fini(&d->file);
	lock_fini(&d->lock);
	cond_fini(&d->wake);
	free(d);
}

void drains_list(struct drains *d, struct str tenant,
	void (*each)(void *arg, const struct drain *drain), void *arg)
{
	lock_take(&d->lock);
	for (size_t i = 0; i < d->n; i++) {
		const struct binding *b = d->items[i];
		struct drain drain = {b->id, b->app, b->url, b->tenant, b->origins, b->problem};

		if (b->origins != 0 && (tenant.n == 0 || str_eq_c(tenant, b->tenant)))
			each(arg, &drain);
	}
	lock_drop(&d->lock);
}

static int check_app(struct str app, struct error *e)
{
	if (app.n > 0 && app.n <= DRAIN_APP_MAX && str_utf8_valid(app) == app.n &&
		!memchr(app.p, '\0', app.n))
		return 0;
	return error_set(e, ERR_ARG, "app: must be 1 to %d bytes of UTF-8", DRAIN_APP_MAX);
}

int drains_add(struct drains *d, struct str tenant, struct str app, struct str url,
	char id[DRAIN_ID_SIZE], struct error *e)
{
	struct drain_target target = {0};
	struct binding *b;
	int r, saved;

	if ((r = check_app(app, e)) < 0)
		return r;
	drains_id(tenant, app, url, id);
	if ((r = drain_target_parse(&target, url, e)) == 0)
		r = drain_target_check_words(&target, e);
	lock_take(&d->lock);
	if (r == 0 && !d->s->allow_private)
		r = drain_target_check_host(&target, e);
	if (r == 0)
		r = drains_bind(d, tenant, app, url, DRAIN_API, store_last_seq(d->env.store), e);
	lock_drop(&d->lock);
	drain_target_fini(&target);
	if (r != 0)
		return r;
	if ((saved = drain_file_save(d, e)) == 0)
		return 0;
	lock_take(&d->lock);
	if ((b = drains_find(d, str_c(id))))
		drains_unbind(d, b, DRAIN_API);
	lock_drop(&d->lock);
	return saved;
}

int drains_remove(struct drains *d, struct str tenant, struct str id, struct error *e)
{
	struct binding *b;
	unsigned had = 0;
	int r = 0;

	lock_take(&d->lock);
	b = drains_find(d, id);
	if (!b || b->origins == 0 || !str_eq_c(tenant, b->tenant)) {
		r = error_set(e, ERR_NOT_FOUND, "there is no drain \"%.*s\"",
			STR_ARG(str_sub(id, 0, 100)));
	} else if (b->origins & DRAIN_CONFIG) {
		r = error_set(e, ERR_DENIED,
			"%s is in the configuration: remove it there (drains.apps)", b->id);
	} else {
		had = b->origins;
		drains_unbind(d, b, had);
	}
	lock_drop(&d->lock);
	if (r < 0 || (r = drain_file_save(d, e)) == 0)
		return r;
	/* It would be there again after a restart: then rather now. */
	lock_take(&d->lock);
	if ((b = drains_find(d, id)))
		b->origins |= had;
	wake(d);
	lock_drop(&d->lock);
	return r;
}

void drains_dump(struct drains *d, struct buf *out)
{
	lock_take(&d->lock);
	buf_printf(out, "drains: %zu%s, %" PRIu64 " refusals of drain urls were not told\n", d->n,
		d->follows ? ", drain urls are followed" : "", d->unsaid);
	for (size_t i = 0; i < d->n; i++) {
		const struct binding *b = d->items[i];

		buf_printf(out, "  %s application %s%s%s%s: ", b->id, b->app,
			b->origins & DRAIN_CONFIG ? ", configured" : "",
			b->origins & DRAIN_API ? ", added" : "",
			b->origins & DRAIN_ENVELOPE ? ", named by messages" : "");
		drains_plain_url(str_c(b->url), out);
		buf_printf(out, "%s%s\n", *b->problem ? ": " : "", b->problem);
	}
	lock_drop(&d->lock);
}
