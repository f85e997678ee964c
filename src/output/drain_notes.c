/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What drains tell in their applications' streams.
 *
 * Design.  A note is a record like any other, so the drain it is about gets it
 * as well, when it works again.  That cannot become a loop: only failing makes
 * notes, and it makes them at most so often: the first one at once, the next
 * after a minute, then twice as late each time, up to an hour.  Counts of what
 * was lost gather, and are told once a minute; a drain that refuses the note
 * itself adds nothing to them.
 * URLs are told without user, password and query: more people read an
 * application's log than know those.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "output/drains_core.h"
#include "record/labels.h"
#include "record/severity.h"
#include "record/sink.h"

enum { OWN_MAX = 8 };

#define FIRST_WAIT_NS (60 * NS_PER_SEC)
#define LAST_WAIT_NS  (3600 * NS_PER_SEC)
#define COUNT_WAIT_NS (60 * NS_PER_SEC)

static void on_done(void *arg, const struct sink_result *result)
{
	if (result->code < 0)
		log_warn("drains", "a note of a drain was not stored: %s", result->error.text);
}

static void write_labels(
	const struct discover *discover, const char *app_label, struct str app, struct buf *out)
{
	struct labels_builder labels = {0};

	labels_builder_set(&labels, str_c(app_label), app, NULL);
	labels_builder_set(&labels, STR("input"), STR("loggregator"), NULL);
	labels_builder_set(&labels, STR("source"), STR("LGR"), NULL);
	discover_service_name(discover, &labels);
	labels_builder_write(&labels, out);
	labels_builder_fini(&labels);
}

static void write_meta(struct buf *out)
{
	static const struct str names[] = {STR_INIT("message_type"), STR_INIT("source_type")};
	static const struct str values[] = {STR_INIT("ERR"), STR_INIT("LGR")};

	labels_write(out, names, values, 2);
}

/* The application's drains get the note too. */
static void expect_note(struct drains *d, struct str tenant, struct str app) REQUIRES(d->lock)
{
	for (size_t i = 0; i < d->n; i++) {
		struct binding *b = d->items[i];

		if (b->notes.own < OWN_MAX && str_eq_c(tenant, b->tenant) && str_eq_c(app, b->app))
			b->notes.own++;
	}
}

void drain_notes_say(struct drains *d, struct str tenant, struct str app, struct str line)
{
	int64_t now = clock_now_ns(d->env.clock);
	struct batch_builder *builder = batch_builder_new(tenant, STR("loggregator"), now);
	struct record r = {.timestamp = now, .severity = SEV_ERROR, .body = line};
	struct buf labels = {0}, meta = {0};
	char app_label[LABEL_NAME_MAX + 1];
	struct discover discover;
	struct batch *b;
	struct error e;

	lock_take(&d->lock);
	discover = d->discover;
	expect_note(d, tenant, app);
	str_copy(str_c(d->app_label), app_label, sizeof app_label);
	lock_drop(&d->lock);
	write_labels(&discover, app_label, app, &labels);
	write_meta(&meta);
	r.meta = buf_view(&meta);
	discover_level(&discover, buf_view(&labels), &r);
	r.stream = batch_builder_stream(builder, buf_view(&labels));
	if (batch_builder_add(builder, &r, NULL) == 0) {
		b = batch_builder_finish(builder, now);
		if (sink_submit(store_sink(d->env.store), b, on_done, d, &e) < 0) {
			batch_unref(b);
			on_done(d, &(struct sink_result){.code = e.code, .error = e});
		}
	}
	batch_builder_free(builder);
	buf_fini(&labels);
	buf_fini(&meta);
}

/* A note that is due, taken out of the lock with whom it is for. */
struct due {
	struct buf line;
	char *tenant, *app;
};

static void put_counts(struct binding *b, int64_t now, struct buf *out)
{
	struct buf url = {0};

	if ((b->notes.missed == 0 && b->notes.refused == 0) || now < b->notes.counts_mono)
		return;
	drains_plain_url(str_c(b->url), &url);
	if (b->notes.missed > 0)
		buf_printf(out,
			"up to %" PRIu64
			" messages lost for application %s in user provided syslog drain with url "
			"%s",
			b->notes.missed, b->app, buf_cstr(&url));
	if (b->notes.refused > 0)
		buf_printf(out,
			"%s%" PRIu64
			" messages for application %s were refused by the drain with url %s",
			b->notes.missed ? "; " : "", b->notes.refused, b->app, buf_cstr(&url));
	b->notes.missed = b->notes.refused = 0;
	b->notes.counts_mono = now + COUNT_WAIT_NS;
	buf_fini(&url);
}

static void put_failure(
	struct binding *b, const struct output_note *n, int64_t now, struct buf *out)
{
	if (now < b->notes.next_mono)
		return;
	buf_c(out, "Syslog Sink ");
	drains_plain_url(str_c(b->url), out);
	buf_printf(out, ": Error when dialing out. Backing off for %.1fs. Err: %s",
		(double)n->wait_ns / 1e9, n->sentence);
	/* One that comes and goes is told as seldom as one that stays away. */
	if (!b->notes.failing &&
		(b->notes.wait_ns == 0 || now - b->notes.works_mono > b->notes.wait_ns))
		b->notes.wait_ns = FIRST_WAIT_NS;
	b->notes.failing = true;
	b->notes.next_mono = now + b->notes.wait_ns;
	b->notes.wait_ns =
		2 * b->notes.wait_ns > LAST_WAIT_NS ? LAST_WAIT_NS : 2 * b->notes.wait_ns;
}

static void put_works(struct binding *b, int64_t now, struct buf *out)
{
	if (!b->notes.failing)
		return;
	buf_c(out, "Syslog Sink ");
	drains_plain_url(str_c(b->url), out);
	buf_c(out, ": delivers again");
	b->notes.failing = false;
	b->notes.works_mono = now;
}

/* Notes that are refused are not told, as that would be a note again, and so on.  One that was
 * delivered may hide one refusal after it; the metrics count all. */
static void count_refused(struct binding *b, uint64_t n)
{
	uint64_t own = b->notes.own < n ? b->notes.own : n;

	b->notes.own -= (unsigned)own;
	b->notes.refused += n - own;
}

void drain_notes_told(void *arg, const struct output_note *n)
{
	struct drains *d = arg;
	int64_t now = clock_mono_ns(d->env.clock);
	struct due due = {0};
	struct binding *b;

	lock_take(&d->lock);
	if ((b = drains_find(d, str_c(n->output)))) {
		switch (n->what) {
		case OUTPUT_FAILED: put_failure(b, n, now, &due.line); break;
		case OUTPUT_WORKS: put_works(b, now, &due.line); break;
		case OUTPUT_MISSED: b->notes.missed += n->n; break;
		case OUTPUT_REFUSED: count_refused(b, n->n); break;
		}
		if (due.line.n == 0)
			put_counts(b, now, &due.line);
		due.tenant = xstrdup(b->tenant);
		due.app = xstrdup(b->app);
	}
	lock_drop(&d->lock);
	if (due.line.n > 0)
		drain_notes_say(d, str_c(due.tenant), str_c(due.app), buf_view(&due.line));
	free(due.tenant);
	free(due.app);
	buf_fini(&due.line);
}

/* The next one with something to tell. */
static bool take_due(struct drains *d, struct due *due)
{
	int64_t now = clock_mono_ns(d->env.clock);

	lock_take(&d->lock);
	for (size_t i = 0; i < d->n && due->line.n == 0; i++) {
		put_counts(d->items[i], now, &due->line);
		if (due->line.n == 0)
			continue;
		due->tenant = xstrdup(d->items[i]->tenant);
		due->app = xstrdup(d->items[i]->app);
	}
	lock_drop(&d->lock);
	return due->line.n > 0;
}

void drain_notes_flush(struct drains *d)
{
	struct due due = {0};

	while (take_due(d, &due)) {
		drain_notes_say(d, str_c(due.tenant), str_c(due.app), buf_view(&due.line));
		free(due.tenant);
		free(due.app);
		buf_fini(&due.line);
		due = (struct due){0};
	}
}
