/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread of one notifier: looks at its book whenever something was put, a
 * message may go, or a failed one is due again; sends, and keeps on disk what
 * it was told.  Each state is written before it is told and after; where that
 * takes long, because much is remembered, less often: then a crash repeats
 * what was told since.
 */
#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "alert/notify_core.h"
#include "alert/silences.h"
#include "base/log.h"
#include "base/memory.h"

enum {
	FILE_BYTES_MAX = 512 << 20,
	BACKOFF_BASE_MS = 1000,
	BACKOFF_MAX_MS = 5 * 60 * 1000,
	/* Of the time, one part in so many is spent on writing, and on looking. */
	SAVE_SHARE = 10,
	LOOK_SHARE = 10,
};

#define TELL_AGAIN_NS (600 * NS_PER_SEC)

/* --- the disk -------------------------------------------------------------------------- */

static void load(struct teller *t)
{
	struct buf text = {0}, aside = {0};
	struct error e;
	int r = fs_read_all(t->env.fs, t->path, FILE_BYTES_MAX, &text, &e);

	if (r == 0)
		r = notebook_read(&t->book, buf_view(&text), clock_now_ns(t->env.clock), &e);
	if (r < 0 && r != ERR_NOT_FOUND) {
		fs_put_aside(t->env.fs, t->path, &aside, NULL);
		log_error("alert",
			"%s: %s: %s; it is put aside as %s, and what still fires is told again",
			t->name, t->path, e.text, buf_cstr(&aside));
	}
	buf_fini(&text);
	buf_fini(&aside);
}

/* Write the book if it has changed; the lock is given up meanwhile. */
static void save(struct teller *t) REQUIRES(t->lock)
{
	int64_t began = clock_mono_ns(t->env.clock);
	struct buf text = {0};
	struct error e;
	int r;

	t->book.dirty = false;
	notebook_write(&t->book, &text);
	lock_drop(&t->lock);
	r = fs_write_all(t->env.fs, t->path, buf_view(&text), &e);
	if (r < 0 && (t->unsaved_mono == 0 || began - t->unsaved_mono >= TELL_AGAIN_NS)) {
		t->unsaved_mono = began;
		log_error("alert",
			"%s: %s; a restart may tell again what was told, or forget what is owed",
			t->name, e.text);
	} else if (r == 0) {
		t->unsaved_mono = 0;
	}
	buf_fini(&text);
	lock_take(&t->lock);
	t->saved_mono = clock_mono_ns(t->env.clock);
	t->save_ns = r < 0 ? NS_PER_SEC : t->saved_mono - began;
	t->book.dirty |= r < 0;
}

static int64_t save_due(const struct teller *t) REQUIRES(t->lock)
{
	return t->book.dirty ? t->saved_mono + SAVE_SHARE * t->save_ns : INT64_MAX;
}

/* --- sending --------------------------------------------------------------------------- */

static bool is_ending(void *arg)
{
	return atomic_load(&((struct teller *)arg)->ending);
}

static int send_message(struct teller *t, const struct message *m, struct error *e)
{
	struct notifier_env env = {.clock = t->env.clock,
		.sink = t->env.sink,
		.name = t->name,
		.host = t->env.host,
		.external_url = t->external_url,
		.ending = is_ending,
		.ending_arg = t};
	int r;

	if (!t->notifier && (r = t->type->open(&t->notifier, t->settings, &env, e)) < 0) {
		t->notifier = NULL;
		/* Nothing is wrong with the message. */
		return r == ERR_ARG || r == ERR_LIMIT ? ERR_IO : r;
	}
	return t->type->send(t->notifier, m->notes, m->n, e);
}

static void delivered(struct teller *t, int r, const struct message *m, const struct error *e)
	REQUIRES(t->lock)
{
	notebook_told(&t->book, m, clock_now_ns(t->env.clock));
	if (r == 0) {
		t->sent++;
	} else {
		t->skipped += m->n_owed;
		log_error("alert",
			"%s: a message of %zu alerts is refused for good and passed by: %s",
			t->name, m->n, e->text);
	}
	if (t->failing_mono)
		log_info("alert", "%s: takes notifications again", t->name);
	t->failing_mono = t->retry_mono = 0;
	t->error[0] = 0;
	backoff_reset(&t->backoff);
}

static void failed(struct teller *t, const struct message *m, const struct error *e)
	REQUIRES(t->lock)
{
	int64_t mono = clock_mono_ns(t->env.clock);
	uint64_t wait_ms = backoff_next(&t->backoff);

	notebook_failed(&t->book, m, clock_now_ns(t->env.clock));
	t->failed++;
	t->retry_mono = mono + (int64_t)wait_ms * NS_PER_MS;
	str_copy(str_c(e->text), t->error, sizeof t->error);
	if (t->failing_mono && mono - t->told_mono < TELL_AGAIN_NS)
		return;
	if (!t->failing_mono)
		t->failing_mono = mono;
	t->told_mono = mono;
	log_error("alert", "%s: %s; it is tried again", t->name, e->text);
}

/* The lock is given up while the message is under way. */
static void deliver(struct teller *t, struct message *m) REQUIRES(t->lock)
{
	struct error e = {0};
	int r;

	lock_drop(&t->lock);
	r = send_message(t, m, &e);
	lock_take(&t->lock);
	if (r == 0 || r == ERR_ARG || r == ERR_LIMIT)
		delivered(t, r, m, &e);
	else if (!is_ending(t))
		failed(t, m, &e);
}

/* --- the thread ------------------------------------------------------------------------ */

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void tell_too_many(struct teller *t, int64_t mono) REQUIRES(t->lock)
{
	if (t->book.n_too_many == t->too_many_told ||
		(t->too_many_mono && mono - t->too_many_mono < TELL_AGAIN_NS))
		return;
	t->too_many_told = t->book.n_too_many;
	t->too_many_mono = mono;
	log_error("alert",
		"%s: there are more alerts than the %d, or more of their texts than the %d MiB or "
		"the memory, that are remembered: the others are told to nobody",
		t->name, NOTIFIED_ALERTS_MAX, BOOK_BYTES_MAX >> 20);
}

/* ns until there is something to do without anybody's signal; INT64_MAX: never. */
static int64_t time_to_wait(struct teller *t, int64_t again_ns, int64_t ready_ns) REQUIRES(t->lock)
{
	int64_t now = clock_now_ns(t->env.clock), mono = clock_mono_ns(t->env.clock);
	int64_t wait = INT64_MAX, saving = save_due(t);

	if (again_ns != INT64_MAX)
		wait = again_ns - now;
	if (ready_ns != INT64_MAX) {
		int64_t ready = ready_ns - now;

		if (t->retry_mono && t->retry_mono - mono > ready)
			ready = t->retry_mono - mono;
		wait = earlier(wait, ready);
	}
	if (saving != INT64_MAX)
		wait = earlier(wait, saving - mono);
	return wait;
}

static void rest(struct teller *t, int64_t again_ns, int64_t ready_ns) REQUIRES(t->lock)
{
	int64_t wait = time_to_wait(t, again_ns, ready_ns);

	t->idle = t->hurry && (ready_ns == INT64_MAX || t->retry_mono);
	if (t->idle)
		cond_broadcast(&t->rest);
	if (wait == INT64_MAX)
		cond_wait(&t->wake, &t->lock);
	else if (wait > 0)
		/* The wall clock may be set meanwhile. */
		cond_wait_for(&t->wake, &t->lock, earlier(wait, 60 * NS_PER_SEC));
}

/* An evaluation puts many, one after the other: looked at together when that takes long. */
static int64_t look(struct teller *t, int64_t now_ns, int64_t *ready_ns) REQUIRES(t->lock)
{
	int64_t began = clock_mono_ns(t->env.clock), again;
	int64_t wait = t->looked_mono + LOOK_SHARE * t->look_ns - began;

	if (wait > 0 && !t->stopping && !t->hurry) {
		lock_drop(&t->lock);
		usleep((unsigned)(wait > NS_PER_SEC ? 1000000 : wait / 1000));
		lock_take(&t->lock);
		began = clock_mono_ns(t->env.clock);
	}
	t->changed = false;
	again = notebook_look(&t->book, t->env.silences, now_ns, t->hurry, ready_ns);
	t->looked_mono = clock_mono_ns(t->env.clock);
	t->look_ns = t->looked_mono - began;
	return again;
}

static void *run(void *arg)
{
	struct teller *t = arg;
	struct message m;

	lock_take(&t->lock);
	while (!t->stopping) {
		int64_t now = clock_now_ns(t->env.clock), ready, again = look(t, now, &ready);
		int64_t mono = clock_mono_ns(t->env.clock);

		tell_too_many(t, mono);
		if (save_due(t) <= mono)
			save(t);
		if (t->stopping)
			break;
		if (ready <= now && mono >= t->retry_mono &&
			notebook_message(&t->book, now, t->hurry, &m)) {
			deliver(t, &m);
			message_fini(&m);
		} else if (!t->changed) {
			rest(t, again, ready);
		}
	}
	if (t->book.dirty)
		save(t);
	lock_drop(&t->lock);
	t->type->close(t->notifier);
	return NULL;
}

/* --- life ------------------------------------------------------------------------------ */

struct teller *teller_new(const struct notify_env *env, const struct notifier_type *type,
	const void *settings, const char *external_url)
{
	struct teller *t = xcalloc(1, sizeof *t);
	struct buf path = {0};

	t->env = *env;
	t->type = type;
	arena_init(&t->arena, NULL);
	t->settings = conf_copy(settings, type->size, type->options, &t->arena);
	t->common = t->settings;
	t->name = xstrdup(t->common->name ? t->common->name : type->name);
	t->external_url = xstrdup(external_url);
	t->backoff = (struct backoff){.base_ms = BACKOFF_BASE_MS, .max_ms = BACKOFF_MAX_MS};
	buf_printf(&path, "%s/notified-%s.json", env->dir, t->name);
	buf_cstr(&path);
	t->path = buf_take(&path).p;
	lock_init(&t->lock);
	cond_init(&t->wake);
	cond_init(&t->rest);
	notebook_init(&t->book, t->common, type->by_group, env->account);
	load(t);
	return t;
}

void teller_start(struct teller *t)
{
	struct buf name = {0};

	buf_printf(&name, "tell %s", t->name);
	t->thread = thread_start(buf_cstr(&name), run, t);
	buf_fini(&name);
}

void teller_put(struct teller *t, const struct alert_note *note, bool speak)
{
	lock_take(&t->lock);
	if (notebook_wants(&t->book, note)) {
		notebook_put(&t->book, note, speak, clock_now_ns(t->env.clock));
		t->changed = true;
		cond_signal(&t->wake);
	}
	lock_drop(&t->lock);
}

void teller_hurry(struct teller *t)
{
	lock_take(&t->lock);
	t->hurry = true;
	t->idle = false;
	t->retry_mono = 0;
	t->changed = true;
	cond_signal(&t->wake);
	lock_drop(&t->lock);
}

void teller_finish(struct teller *t, int64_t until_mono)
{
	int64_t left;

	lock_take(&t->lock);
	while (!t->idle && (left = until_mono - clock_mono_ns(t->env.clock)) > 0)
		cond_wait_for(&t->rest, &t->lock, left);
	lock_drop(&t->lock);
}

void teller_free(struct teller *t)
{
	lock_take(&t->lock);
	t->stopping = true;
	cond_signal(&t->wake);
	lock_drop(&t->lock);
	atomic_store(&t->ending, true);
	pthread_join(t->thread, NULL);
	notebook_fini(&t->book);
	arena_fini(&t->arena);
	lock_fini(&t->lock);
	cond_fini(&t->wake);
	cond_fini(&t->rest);
	free(t->name);
	free(t->path);
	free(t->external_url);
	free(t);
}

void teller_status(struct teller *t, struct notifier_status *out, char *error, size_t size)
{
	int64_t mono = clock_mono_ns(t->env.clock);

	lock_take(&t->lock);
	*out = (struct notifier_status){.name = t->name,
		.kind = t->type->name,
		.sent = t->sent,
		.failed = t->failed,
		.skipped = t->skipped + t->book.n_too_many,
		.error = str_copy(str_c(t->error), error, size),
		.retry_ns = t->retry_mono > mono ? t->retry_mono - mono : 0};
	notebook_count(&t->book, &out->waiting, &out->silenced);
	lock_drop(&t->lock);
}
