/* SPDX-License-Identifier: Apache-2.0 */
/* The set of notifiers, and their kinds. */
#include "alert/notify.h"

#include <stdlib.h>
#include <string.h>

#include "alert/notify_core.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metric.h"

enum { NAME_BYTES_MAX = 64 };

struct notify {
	/* Fixed. */
	struct notify_env env;
	/* Under `lock`; changed by the main thread alone. */
	struct lock lock;
	struct teller **all;
	size_t n;
};

/* --- kinds ----------------------------------------------------------------------------- */

#define NOTIFIER(id) extern const struct notifier_type notifier_##id;
#include "alert/notifiers.def"
#undef NOTIFIER

const struct notifier_type *const notifier_types[] = {
#define NOTIFIER(id) &notifier_##id,
#include "alert/notifiers.def"
#undef NOTIFIER
	NULL,
};

void notify_put_words(struct buf *out, struct str words)
{
	words = str_trim(words);
	for (size_t i = 0; i < words.n; i++)
		buf_char(out, words.p[i] >= ' ' && words.p[i] <= '~' ? words.p[i] : ' ');
}

const struct notifier_type *notifier_type_find(struct str name)
{
	for (size_t i = 0; notifier_types[i]; i++)
		if (str_eq_c(name, notifier_types[i]->name))
			return notifier_types[i];
	return NULL;
}

static const void *kind_find(struct str name, struct error *e)
{
	const struct notifier_type *type = notifier_type_find(name);

	if (!type)
		error_set(e, ERR_ARG, "there is no notifier \"%.*s\"", STR_ARG(name));
	return type;
}

static const struct option *kind_options(const void *type)
{
	return ((const struct notifier_type *)type)->options;
}

static size_t kind_size(const void *type)
{
	return ((const struct notifier_type *)type)->size;
}

static int kind_check(const void *type, const void *settings, struct error *e)
{
	const struct notifier_type *t = type;

	return t->check ? t->check(settings, e) : 0;
}

static const char *const *kind_names(void)
{
	static const char *const names[] = {
#define NOTIFIER(id) #id,
#include "alert/notifiers.def"
#undef NOTIFIER
		NULL,
	};

	return names;
}

const struct kind_class notifier_kinds = {
	.noun = "notifier",
	.find = kind_find,
	.options = kind_options,
	.size = kind_size,
	.check = kind_check,
	.names = kind_names,
};

/* --- configuration --------------------------------------------------------------------- */

int notifier_check_name(struct str text, struct error *e)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
	bool good = text.n > 0 && text.n <= NAME_BYTES_MAX;

	for (size_t i = 0; good && i < text.n; i++)
		good = text.p[i] && strchr(letters, text.p[i]);
	if (good)
		return 0;
	return error_set(e, ERR_ARG,
		"must be 1 to %d letters, digits, '_', '-' and '.': a file is called by it",
		NAME_BYTES_MAX);
}

static const char *name_of(const struct kind_entry *k)
{
	const struct notifier_settings *s = k->settings;

	return s->name ? s->name : k->kind;
}

int notify_check(const struct kinds *kinds, struct error *e)
{
	for (size_t i = 0; i < kinds->n; i++)
		for (size_t k = 0; k < i; k++) {
			const struct kind_entry *a = &kinds->items[k], *b = &kinds->items[i];

			if (strcmp(name_of(a), name_of(b)) == 0)
				return error_set(e, ERR_ARG,
					"alerts.notify: the notifiers on lines %d and %d are both "
					"called %s: give one of them a `name`",
					a->line, b->line, name_of(a));
		}
	return 0;
}

/* --- life ------------------------------------------------------------------------------ */

struct notify *notify_new(const struct notify_env *env)
{
	struct notify *n = xcalloc(1, sizeof *n);

	n->env = *env;
	lock_init(&n->lock);
	return n;
}

static struct teller *find_same(
	const struct notify *n, const struct kind_entry *k, const char *external_url)
{
	for (size_t i = 0; i < n->n; i++) {
		struct teller *t = n->all[i];

		if (t->type == k->type && strcmp(t->name, name_of(k)) == 0 &&
			str_same(t->external_url, external_url) &&
			conf_same(t->settings, k->settings, t->type->options))
			return t;
	}
	return NULL;
}

int notify_apply(
	struct notify *n, const struct kinds *kinds, const char *external_url, struct error *e)
{
	struct teller **old = n->all, **fresh;
	size_t n_old = n->n;
	int r = notify_check(kinds, e);

	if (r < 0)
		return r;
	fresh = xcalloc(kinds->n, sizeof(struct teller *));
	for (size_t i = 0; i < kinds->n; i++)
		if ((fresh[i] = find_same(n, &kinds->items[i], external_url)))
			fresh[i]->kept = true;
	/* Those that go are out of reach first; and have written what they were told before one of
	 * their name reads it. */
	lock_take(&n->lock);
	n->n = 0;
	n->all = xcalloc(kinds->n, sizeof(struct teller *));
	for (size_t i = 0; i < kinds->n; i++)
		if (fresh[i])
			n->all[n->n++] = fresh[i];
	lock_drop(&n->lock);
	for (size_t i = 0; i < n_old; i++)
		if (!old[i]->kept)
			teller_free(old[i]);
	free(old);
	for (size_t i = 0; i < kinds->n; i++)
		if (!fresh[i]) {
			fresh[i] = teller_new(&n->env, kinds->items[i].type,
				kinds->items[i].settings, external_url);
			teller_start(fresh[i]);
		}
	lock_take(&n->lock);
	for (n->n = 0; n->n < kinds->n; n->n++) {
		n->all[n->n] = fresh[n->n];
		fresh[n->n]->kept = false;
	}
	lock_drop(&n->lock);
	free(fresh);
	return 0;
}

void notify_put(struct notify *n, const struct alert_note *note, bool speak)
{
	lock_take(&n->lock);
	for (size_t i = 0; i < n->n; i++)
		teller_put(n->all[i], note, speak);
	lock_drop(&n->lock);
}

void notify_free(struct notify *n, unsigned ms)
{
	int64_t until;

	if (!n)
		return;
	until = clock_mono_ns(n->env.clock) + (int64_t)ms * NS_PER_MS;
	/* All hurry at once: the first wait is for the slowest. */
	for (size_t i = 0; i < n->n && ms > 0; i++)
		teller_hurry(n->all[i]);
	for (size_t i = 0; i < n->n && ms > 0; i++)
		teller_finish(n->all[i], until);
	for (size_t i = 0; i < n->n; i++)
		atomic_store(&n->all[i]->ending, true);
	for (size_t i = 0; i < n->n; i++)
		teller_free(n->all[i]);
	free(n->all);
	lock_fini(&n->lock);
	free(n);
}

/* --- asking ---------------------------------------------------------------------------- */

void notify_each(
	struct notify *n, void (*each)(void *arg, const struct notifier_status *s), void *arg)
{
	struct notifier_status s;
	char error[512];

	lock_take(&n->lock);
	for (size_t i = 0; i < n->n; i++) {
		teller_status(n->all[i], &s, error, sizeof error);
		each(arg, &s);
	}
	lock_drop(&n->lock);
}

static void set_metrics(void *arg, const struct notifier_status *s)
{
	struct buf labels = {0};
	const char *text;

	metric_label(&labels, "notifier", str_c(s->name));
	text = buf_cstr(&labels);
	metric_set(METRIC_notifications_total, text, (int64_t)s->sent);
	metric_set(METRIC_notification_failures_total, text, (int64_t)s->failed);
	metric_set(METRIC_notifications_skipped_total, text, (int64_t)s->skipped);
	metric_set(METRIC_notifications_waiting, text, (int64_t)s->waiting);
	buf_fini(&labels);
}

void notify_metrics(struct notify *n)
{
	notify_each(n, set_metrics, NULL);
}

static void dump_one(void *arg, const struct notifier_status *s)
{
	buf_printf(arg,
		"notifier %s (%s): %llu messages taken, %llu tries failed, %llu alerts skipped, "
		"%llu waiting, %llu silenced%s%s\n",
		s->name, s->kind, (unsigned long long)s->sent, (unsigned long long)s->failed,
		(unsigned long long)s->skipped, (unsigned long long)s->waiting,
		(unsigned long long)s->silenced, *s->error ? "; " : "", s->error);
}

void notify_dump(struct notify *n, struct buf *out)
{
	notify_each(n, dump_one, out);
}
