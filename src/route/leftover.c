/* SPDX-License-Identifier: Apache-2.0 */
#include "route/leftover.h"

#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/memory.h"
#include "os/clock.h"
#include "route/halves.h"
#include "route/spool.h"

enum { PAUSE_MS = 200, PAUSE_MAX_MS = 2000 };

struct leftover {
	/* Fixed. */
	struct fs *fs;
	struct sink *sink;
	struct buf folders; /* paths, each terminated */
	size_t n;
	pthread_t thread;
	/* Under lock. */
	struct lock lock;
	struct cond changed;
	bool ending, told;
	struct sink_result result; /* of the batch that was submitted */
};

static void on_done(void *arg, const struct sink_result *result)
{
	struct leftover *l = arg;

	lock_take(&l->lock);
	l->told = true;
	l->result = *result;
	cond_broadcast(&l->changed);
	lock_drop(&l->lock);
}

/* False: it ends. */
static bool pause_for(struct leftover *l, unsigned ms)
{
	int64_t until = clock_mono_ns(clock_real()) + ms * NS_PER_MS, left;
	bool go_on;

	lock_take(&l->lock);
	while (!l->ending && (left = until - clock_mono_ns(clock_real())) > 0)
		cond_wait_for(&l->changed, &l->lock, left);
	go_on = !l->ending;
	lock_drop(&l->lock);
	return go_on;
}

/* Submit and wait: *result is about what is at its servers or in their buffers then. */
static void hand_over(struct leftover *l, struct batch *b, struct sink_result *result)
{
	*result = (struct sink_result){0};
	lock_take(&l->lock);
	l->told = false;
	if (l->ending)
		result->code = error_set(&result->error, ERR_CLOSED, "the router is stopping");
	lock_drop(&l->lock);
	if (result->code < 0)
		return;
	result->code = sink_submit(l->sink, batch_ref(b), on_done, l, &result->error);
	if (result->code < 0) {
		batch_unref(b);
		return;
	}
	lock_take(&l->lock);
	while (!l->told)
		cond_wait(&l->changed, &l->lock);
	*result = l->result;
	lock_drop(&l->lock);
}

static bool is_final(int code)
{
	return code == 0 || code == ERR_ARG || code == ERR_LIMIT || code == ERR_DENIED;
}

static bool deliver(void *arg, struct batch *b, struct sink_result *result)
{
	struct leftover *l = arg;
	unsigned pause = PAUSE_MS;

	for (;;) {
		hand_over(l, b, result);
		if (is_final(result->code))
			return true;
		if (!pause_for(l, pause))
			return false;
		pause = pause * 2 < PAUSE_MAX_MS ? pause * 2 : PAUSE_MAX_MS;
	}
}

static void lose_refused(void *arg, const struct batch *b, const struct error *why)
{
	(void)arg;
	halves_tell_lost("a server of the zone", b, why);
}

/* False: it ends, or the folder cannot be read. */
static bool empty(struct leftover *l, struct spool *s, const char *dir)
{
	const struct halves h = {.deliver = deliver, .refused = lose_refused, .arg = l};
	struct batch *b;
	struct error e;
	int r;

	while ((r = spool_next(s, &b, &e)) > 0) {
		bool went = halves_deliver(&h, b);

		batch_unref(b);
		if (!went)
			return false;
		spool_advance(s);
	}
	if (r < 0)
		log_error("route", "%s: %s", dir, e.text);
	return r == 0;
}

static void remove_folder(struct leftover *l, const char *dir)
{
	struct buf names = {0}, path = {0};
	const char *name;
	size_t n = 0;

	fs_list(l->fs, dir, &names, &n, NULL);
	name = names.p;
	for (size_t i = 0; i < n; i++, name += strlen(name) + 1) {
		buf_clear(&path);
		buf_printf(&path, "%s/%s", dir, name);
		fs_unlink(l->fs, buf_cstr(&path), NULL);
	}
	fs_unlink(l->fs, dir, NULL);
	buf_fini(&names);
	buf_fini(&path);
}

static void *run(void *arg)
{
	struct leftover *l = arg;
	const char *dir = l->folders.p;

	for (size_t i = 0; i < l->n; i++, dir += strlen(dir) + 1) {
		struct spool *s;
		struct error e;
		bool done;

		if (spool_open(&s, l->fs, dir, &e) < 0) {
			log_error("route", "%s", e.text);
			continue;
		}
		if (spool_batches(s))
			log_warn("route",
				"%s: its server is no longer in the zone: the %llu batches that "
				"wait for it go to the others",
				dir, (unsigned long long)spool_batches(s));
		done = empty(l, s, dir);
		spool_close(s);
		if (done)
			remove_folder(l, dir);
	}
	return NULL;
}

static bool is_kept(const char *path, const struct buf *keep, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(str_c(path), buf_view(&keep[i])))
			return true;
	return false;
}

int leftover_open(struct leftover **out, struct fs *fs, const char *dir, const struct buf *keep,
	size_t n_keep, struct sink *sink, struct error *e)
{
	struct leftover *l = xcalloc(1, sizeof *l);
	struct buf names = {0}, path = {0};
	const char *name;
	size_t n;
	int r = fs_list(fs, dir, &names, &n, e);

	*out = NULL;
	name = names.p;
	for (size_t i = 0; r == 0 && i < n; i++, name += strlen(name) + 1) {
		struct file_stat st;

		buf_clear(&path);
		buf_printf(&path, "%s/%s", dir, name);
		if (is_kept(buf_cstr(&path), keep, n_keep) ||
			fs_stat(fs, buf_cstr(&path), &st, NULL) < 0 || st.kind != FILE_DIRECTORY)
			continue;
		buf_put(&l->folders, path.p, path.n + 1);
		l->n++;
	}
	buf_fini(&names);
	buf_fini(&path);
	if (l->n == 0) {
		free(l);
		return r;
	}
	l->fs = fs;
	l->sink = sink;
	lock_init(&l->lock);
	cond_init(&l->changed);
	l->thread = thread_start("route leftover", run, l);
	*out = l;
	return 0;
}

void leftover_end(struct leftover *l)
{
	if (!l)
		return;
	lock_take(&l->lock);
	l->ending = true;
	cond_broadcast(&l->changed);
	lock_drop(&l->lock);
}

void leftover_close(struct leftover *l)
{
	if (!l)
		return;
	leftover_end(l);
	pthread_join(l->thread, NULL);
	lock_fini(&l->lock);
	cond_fini(&l->changed);
	buf_fini(&l->folders);
	free(l);
}
