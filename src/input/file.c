/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `file` input: follows files named by globs.
 *
 * Design.  inotify on the folders tells what to read at once; a poll every
 * second finds what inotify missed (network file systems, no watches left).
 * A scan of the globs decides which files there are; a file is its inode, so
 * a rename is nothing, and what takes its name is another file.  What came to
 * a path and was renamed between two scans is found by its birth (lineage.c).
 *
 *   scan ──► new file ──► identity saved ──► ready ──► read ──► builder ──► courier
 *                                              ▲                               │
 *                event, poll ──────────────────┘          acknowledged ──► positions
 *
 * Reading is self-clocked: a batch goes when none is under way, or when it is
 * large; so one line goes at once and a flood in large batches.
 *
 * A file that was renamed away from its globs, or deleted, is read to its end
 * through the descriptor, and let go after it has been quiet for rotate_wait
 * and all of it is acknowledged.
 *
 * Here: the input's life, when what is done, reading and polling.  The files
 * that are followed are tails.c, which ones those are is folders.c, and what
 * all inputs of this kind know together, and save, is book.c.
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metric.h"
#include "input/file.h"
#include "os/fs.h"

enum {
	RESERVE = 3 << 20,     /* charged for a batch while it is built: it and its growth */
	PUMP_BUDGET = 4 << 20, /* bytes read before others on the loop get their turn */
	SOURCES_MAX = 1000,    /* files in a batch */
	POLL_MS = 1000,
	SCAN_POLLS = 5, /* every so many polls a scan of the globs */
};
static const int64_t CLOSE_IDLE_NS = 60 * NS_PER_SEC;
static const int64_t DELETED_WAIT_NS = 5 * NS_PER_SEC;

/* What is to be done soon. */

void file_pump_soon(struct file_input *in)
{
	if (in->pump_due || in->stopping)
		return;
	in->pump_due = true;
	timer_set(&in->pump, 0, 0);
}

void file_scan_soon(struct file_input *in)
{
	uint64_t ms = (uint64_t)(in->scan_took_ns * 10 / NS_PER_MS);
	int64_t since_ms = (clock_mono_ns(in->env->clock) - in->scanned_mono) / NS_PER_MS;

	if (in->scan_due || in->stopping)
		return;
	in->scan_due = true;
	timer_set(&in->scan_timer, since_ms < (int64_t)ms ? ms - (uint64_t)since_ms : 0, 0);
}

const char *file_name(const struct file_input *in)
{
	return in->s->paths.n ? in->s->paths.items[0] : "";
}

/* Reading. */

void file_send(struct file_input *in)
{
	struct batch *b = batch_builder_finish(in->io.builder, in->lines.observed_ns);
	uint64_t reserved = in->reserved;

	in->reserved = 0;
	in->n_builder_sources = 0;
	courier_send(in->courier, b, reserved);
}

/* A renamed or deleted file that nobody writes to any more. */
static bool certainly_finished(const struct file_input *in, const struct tail *t)
{
	int64_t quiet = clock_mono_ns(in->env->clock) - t->quiet_mono;

	if (in->s->once)
		return true;
	if (t->deleted && quiet >= DELETED_WAIT_NS)
		return true;
	return (t->renamed || t->deleted) && quiet >= in->s->rotate_wait;
}

/* Nothing came for as long as a record may wait for what follows it. */
static bool quiet(const struct file_input *in, const struct tail *t)
{
	int64_t timeout = shape_timeout(in->shape);

	return timeout && t->partial && t->partial != t->rested &&
	       clock_mono_ns(in->env->clock) - t->quiet_mono >= timeout;
}

static enum shape_more more_of(const struct file_input *in, const struct tail *t)
{
	if (in->s->once || (t->partial && certainly_finished(in, t)))
		return SHAPE_END;
	return quiet(in, t) ? SHAPE_QUIET : SHAPE_MORE;
}

/* Charge what it holds; and the next one's turn when it is at its end. */
static void after_packed(
	struct file_input *in, struct tail *t, enum tail_result r, const struct error *e)
{
	size_t held = packed_bytes(t->packed);
	struct stat st;

	if (in->env->account && held > t->packed_held) {
		account_force(in->env->account, held - t->packed_held);
		t->packed_held = held;
	}
	if (r != TAIL_END && r != TAIL_FAILED)
		return;
	t->file_size = r == TAIL_END && fstat(t->fd, &st) == 0 ? st.st_size : -1;
	if (t->damaged)
		gaps_damaged(in, t, e->text);
	tails_unpack_next(in);
}

/* No byte of a generation goes before a fingerprint that covers it, or its first FINGERPRINT_BYTES,
 * is on disk.  Else, after a kill, another content of the same inode that begins alike, with the
 * same head line or with nothing yet, would be taken for it, and the server drop what it already
 * has.  So a file that grows line by line costs a save a line until it has the first kilobyte; one
 * save serves all files.  True: it waits for that. */
static bool seal(struct file_input *in, struct tail *t, enum tail_result *r)
{
	*r = TAIL_MORE;
	if (t->packing || t->n_sealed == FINGERPRINT_BYTES)
		return false;
	if (!identity_check(t->fd, &t->id)) {
		*r = TAIL_REPLACED;
		return false;
	}
	if (t->id.n_fingerprint == t->n_sealed)
		return false;
	t->sealing = true;
	t->save = 0;
	tails_unready(t); /* the save makes it ready again */
	book_save_now(in->book);
	return true;
}

/* Read one chunk of the first ready file.  False when there is nothing to do but wait. */
static bool pump_one(struct file_input *in, size_t *budget)
{
	struct tail *t = CONTAINER(in->ready.next, struct tail, ready);
	uint64_t before = t->read + t->partial;
	enum shape_more more;
	struct tail *next;
	enum tail_result r;
	struct error e;

	if (t->fd < 0) {
		t->fd = tails_still_at(t) ? tails_open(in, t->path) : -1;
		if (t->fd < 0) {
			tails_unready(t);
			file_scan_soon(in);
			return true;
		}
	}
	if (in->reserved == 0) {
		in->reserved = courier_reserve(in->courier, in->reserve);
		if (in->reserved == 0)
			return false;
	}
	if (t->packing && !t->finished)
		tail_unpack(t);
	line_reader_now(&in->lines);
	more = more_of(in, t);
	if (seal(in, t, &r))
		return true;
	if (r != TAIL_REPLACED)
		r = tail_read(t, &in->io, more, &e);
	t->rested = more == SHAPE_QUIET ? t->partial : 0;
	tail_settle(t);
	if (in->io.n_unfit) {
		in->env->sink->account(in->env->sink, in->env->tenant, STR("file"), "limit",
			in->io.n_unfit, false);
		in->io.n_unfit = 0;
	}
	if (t->read + t->partial != before) {
		t->quiet_mono = clock_mono_ns(in->env->clock);
		*budget -= *budget < TAIL_CHUNK ? *budget : TAIL_CHUNK;
		in->n_builder_sources++;
	}
	tails_unready(t);
	switch (r) {
	case TAIL_REPLACED: tails_renew(in, t); break;
	case TAIL_FULL:
	case TAIL_MORE:
		tails_ready(in, t); /* behind the others */
		break;
	case TAIL_FAILED: log_warn("input", "file: %s", e.text); break;
	case TAIL_END: break;
	}
	if (t->packing && in->unpacking == t)
		after_packed(in, t, r, &e);
	next = tails_behind(t);
	if (next && (r == TAIL_END || r == TAIL_FAILED || t->read + t->partial >= next->wait_to))
		tails_let_next(in, t);
	/* Full it may also be of a source alone. */
	if (r == TAIL_FULL ||
		(batch_builder_count(in->io.builder) > 0 &&
			(batch_builder_bytes(in->io.builder) >= courier_target(in->reserved) ||
				in->n_builder_sources >= SOURCES_MAX)))
		file_send(in);
	return true;
}

static void say_ended(struct file_input *in)
{
	if (!in->s->once || in->ended || in->stopping || in->n_scans == 0 || in->scan_due ||
		!list_empty(&in->ready) || !courier_idle(in->courier) ||
		batch_builder_count(in->io.builder) > 0)
		return;
	LIST_EACH (at, &in->tails) {
		const struct tail *t = CONTAINER(at, struct tail, node);

		if (!t->known || t->sealing || t->waits || (t->packing && in->unpacking))
			return;
	}
	in->ended = true;
	if (in->env->ended)
		in->env->ended(in->env->ended_arg);
}

static void pump(void *arg)
{
	struct file_input *in = arg;
	size_t budget = PUMP_BUDGET;

	in->pump_due = false;
	if (in->stopping)
		return;
	while (budget > 0 && !list_empty(&in->ready) && courier_ready(in->courier)) {
		if (!pump_one(in, &budget))
			break;
	}
	if (batch_builder_count(in->io.builder) > 0 && courier_idle(in->courier))
		file_send(in);
	if (in->reserved && batch_builder_count(in->io.builder) == 0) {
		courier_unreserve(in->courier, in->reserved);
		in->reserved = 0;
	}
	if (budget == 0 && !list_empty(&in->ready))
		file_pump_soon(in);
	say_ended(in);
}

/* The courier's events. */

static void on_acked(void *arg, const struct batch *b, const struct sink_result *result)
{
	struct file_input *in = arg;

	(void)result;
	for (size_t i = 0; i < batch_n_sources(b); i++) {
		struct batch_source s = batch_source(b, i);
		struct tail *t = tails_find(&in->by_source, s.id);

		if (!list_empty(&in->gaps))
			gaps_acked(in, s.id, s.to);
		if (!t)
			continue;
		if (s.to > t->acked)
			t->acked = s.to;
		tail_settle(t);
		/* It was sent again from further back than what turned out to be there. */
		if (t->acked > t->read)
			tail_rewind(t, t->acked);
		t->changed = true;
	}
	book_save_later(in->book);
}

static bool on_gap(void *arg, struct str source, uint64_t mark)
{
	struct file_input *in = arg;
	struct tail *t = tails_find(&in->by_source, source);

	if (!t || in->stopping)
		return false;
	if (t->fd < 0)
		t->fd = tails_still_at(t) ? tails_open(in, t->path) : -1;
	if (t->fd < 0)
		return false;
	/* What was read but not sent yet is dropped with the rest. */
	if (batch_builder_count(in->io.builder) > 0)
		file_send(in);
	tail_rewind(t, mark);
	t->finished = false;
	tails_ready(in, t);
	return true;
}

static void on_room(void *arg)
{
	file_pump_soon(arg);
}

/* Polling. */

static void poll_packed(struct file_input *in, struct tail *t)
{
	bool read_all = t->acked == t->read || t->read == t->start;
	struct stat st = {0};

	if (t->is_ready || !t->known || in->unpacking == t)
		return;
	if (!t->finished) {
		/* It ended early: it may have grown, or is given up. */
		t->cut = fstat(t->fd, &st) == 0 && st.st_size == t->file_size &&
			 book_now_s(in->book) - st.st_mtim.tv_sec > PACKED_WAIT_S;
		if (t->cut || st.st_size != t->file_size)
			tails_ready(in, t);
		return;
	}
	if (!read_all)
		return;
	t->changed |= !t->as.done;
	t->as.done = true;
	if (!t->matched) {
		tails_drop(in, t, true);
	} else if (t->fd >= 0) {
		close(t->fd);
		t->fd = -1;
	}
}

static void poll_tail(struct file_input *in, struct tail *t, int64_t now_mono)
{
	struct stat st;
	bool read_all;

	if (t->packing) {
		poll_packed(in, t);
		return;
	}
	if (t->fd >= 0 ? fstat(t->fd, &st) < 0 : stat(t->path, &st) < 0) {
		file_scan_soon(in);
		return;
	}
	if (t->fd < 0 && (st.st_ino != t->ino || st.st_dev != t->dev)) {
		file_scan_soon(in);
		return;
	}
	t->size = (uint64_t)st.st_size;
	t->deleted = st.st_nlink == 0;
	if (t->size != t->read + t->partial) {
		/* It could not be read since the last look: what it has now may be truncated. */
		if (t->fd >= 0 && (t->is_ready || t->waits))
			tail_measure(t);
		tails_ready(in, t);
		return;
	}
	if (t->partial && (certainly_finished(in, t) || quiet(in, t))) {
		tails_ready(in, t); /* the rest is the last record */
		return;
	}
	read_all = t->acked == t->read || t->read == t->start;
	if (t->is_ready || !t->known || t->sealing || !read_all || t->partial)
		return;
	if (!t->matched && certainly_finished(in, t)) {
		tails_drop(in, t, !t->deleted || rotated_packs(in, t->origin));
	} else if (t->fd >= 0 && t->matched && now_mono - t->quiet_mono > CLOSE_IDLE_NS) {
		close(t->fd);
		t->fd = -1;
	}
}

static void poll_all(void *arg)
{
	struct file_input *in = arg;
	int64_t now = clock_mono_ns(in->env->clock);
	int64_t lag = 0;

	LIST_EACH (at, &in->tails) {
		struct tail *t = CONTAINER(at, struct tail, node);
		uint64_t from = t->acked > t->start ? t->acked : t->start;

		lag += t->size > from ? (int64_t)(t->size - from) : 0;
		poll_tail(in, t, now);
	}
	in->lag = lag;
	lag = 0;
	LIST_EACH (at, &in->book->inputs)
		lag += CONTAINER(at, struct file_input, in_book)->lag;
	metric_set(METRIC_forward_lag_bytes, "", lag);
	if (++in->n_polls % SCAN_POLLS == 0 && !in->s->once)
		file_scan_soon(in);
	file_pump_soon(in);
}

/* Life. */

static void input_free(struct file_input *in)
{
	LIST_EACH (at, &in->tails)
		tail_free(CONTAINER(at, struct tail, node));
	gaps_fini(in);
	folders_unwatch(in);
	courier_free(in->courier);
	batch_builder_free(in->io.builder);
	book_unref(in->book);
	shaper_free(in->io.shaper);
	shape_free(in->shape);
	account_release(in->env->account, in->reserved + TAIL_BUFFER);
	timer_fini(&in->poll);
	timer_fini(&in->pump);
	timer_fini(&in->scan_timer);
	map_fini(&in->looked);
	map_fini(&in->targets);
	map_fini(&in->watched);
	free(in->found);
	map_fini(&in->by_path);
	map_fini(&in->by_source);
	map_fini(&in->complained);
	map_fini(&in->packs);
	for (size_t i = 0; i < in->n_patterns; i++)
		free(in->patterns[i].text);
	free(in->patterns);
	buf_fini(&in->io.meta);
	free(in->io.buffer);
	free(in);
}

static int start(void **out, const void *settings, const struct input_env *env, struct error *e)
{
	static const struct courier_events events = {
		.acked = on_acked, .gap = on_gap, .room = on_room, .rereads = true};
	struct file_input *in = xcalloc(1, sizeof(*in));
	int r;

	in->s = settings;
	in->env_copy = *env;
	in->env = env = &in->env_copy;
	list_init(&in->tails);
	list_init(&in->ready);
	list_init(&in->watches);
	list_init(&in->gaps);
	list_init(&in->in_book);
	if (env->account)
		account_force(env->account, TAIL_BUFFER);
	in->io.buffer = xmalloc(TAIL_BUFFER);
	in->io.lines = &in->lines;
	in->io.builder = batch_builder_new(env->tenant, STR("file"), clock_now_ns(env->clock));
	line_reader_init(&in->lines, env, in->s->detect_time);
	in->courier = courier_new(env, "file", &events, in);
	in->reserve = RESERVE;
	if (env->account && env->account->limit / 4 < in->reserve)
		in->reserve = env->account->limit / 4;
	timer_init(&in->poll, env->loop, poll_all, in);
	timer_init(&in->pump, env->loop, pump, in);
	timer_init(&in->scan_timer, env->loop, folders_scan, in);
	if ((r = shape_new(&in->shape, &in->s->shape, e)) < 0 ||
		(r = folders_patterns(in, e)) < 0 || (r = book_open(&in->book, env, e)) < 0) {
		input_free(in);
		return r;
	}
	line_reader_zone(&in->lines, shape_zone(in->shape));
	if (!shape_plain(in->shape))
		in->io.shaper = shaper_new(in->shape, &in->lines);
	book_join(in->book, in);
	folders_scan(in);
	timer_set(&in->poll, POLL_MS, POLL_MS);
	*out = in;
	return 0;
}

void file_left(struct file_input *in)
{
	loop_fn *stopped = in->stopped;
	void *arg = in->stopped_arg;

	input_free(in);
	stopped(arg);
}

static void on_courier_stopped(void *arg)
{
	struct file_input *in = arg;

	book_leave(in->book, in);
}

static void stop(void *input, loop_fn *stopped, void *arg)
{
	struct file_input *in = input;

	in->stopping = true;
	in->stopped = stopped;
	in->stopped_arg = arg;
	timer_clear(&in->poll);
	timer_clear(&in->pump);
	timer_clear(&in->scan_timer);
	folders_unwatch(in);
	if (batch_builder_count(in->io.builder) > 0)
		file_send(in);
	courier_stop(in->courier, on_courier_stopped, in);
}

static void dump(const void *input, struct buf *out)
{
	const struct file_input *in = input;

	buf_printf(out, "file: %zu files, %zu positions kept, %llu scans, %llu saves\n",
		in->n_tails, in->book->kept.n, (unsigned long long)in->n_scans,
		(unsigned long long)in->book->n_saves);
	courier_dump(in->courier, out);
	LIST_EACH (at, &in->tails) {
		const struct tail *t = CONTAINER(at, struct tail, node);

		buf_printf(out,
			"  %s: %llu acknowledged, %llu read, %llu partial, %llu bytes%s%s%s%s%s\n",
			t->path, (unsigned long long)t->acked, (unsigned long long)t->read,
			(unsigned long long)t->partial, (unsigned long long)t->size,
			t->renamed ? ", renamed" : "", t->deleted ? ", deleted" : "",
			!t->known    ? ", new"
			: t->sealing ? ", sealing"
				     : "",
			t->waits ? ", waits" : "", t->fd < 0 ? ", closed" : "");
	}
}

static int check(const void *settings, struct error *e)
{
	const struct file_settings *s = settings;

	if (s->paths.n == 0)
		return error_set(e, ERR_ARG, "paths: none is named: give files or globs");
	return shape_check(&s->shape, e);
}

static const char *const starts[] = {"begin", "end", NULL};

static const struct option options[] = {
	OPTION(struct file_settings, paths, .kind = OPT_PATHS, .required = true,
		.help = "Files to follow: paths or globs (* ? [a-z] {a,b})."),
	OPTION(struct file_settings, exclude, .kind = OPT_STRINGS,
		.help = "Globs of files to leave out; without a slash they are compared with the "
			"base name.  Compressed files are left out but where a path names .gz or "
			".zst: then their content is read."),
	OPTION(struct file_settings, labels, .kind = OPT_MAP,
		.help = "Labels of all lines, besides host, app, file and input."),
	OPTION(struct file_settings, app, .kind = OPT_STRING,
		.help = "The label app.  Without it: the label container where the path tells one, "
			"else the file's base name without extension and rotation suffix."),
	OPTION(struct file_settings, start, .kind = OPT_ENUM, .values = starts, .fallback = "begin",
		.help = "Where to begin with the files that are there at the very first start."),
	OPTION(struct file_settings, detect_time, .kind = OPT_BOOL, .fallback = "true",
		.help = "Take the time at the head of a line as its timestamp; else, and where "
			"there is none, it is when the line was read."),
	OPTION(struct file_settings, rotate_wait, .kind = OPT_DURATION, .fallback = "60s",
		.help = "How long a renamed file must be quiet before it is let go."),
	OPTION(struct file_settings, once, .kind = OPT_BOOL, .fallback = "false",
		.help = "Read what there is and end."),
	SHAPE_OPTIONS(struct file_settings, shape),
	SHAPE_PATH_OPTIONS(struct file_settings, shape),
	OPTION_END,
};

const struct input_type input_file = {
	.name = "file",
	.summary = "lines of files, followed through rotation and truncation",
	.size = sizeof(struct file_settings),
	.shared_state = true,
	.rereads = true,
	.options = options,
	.check = check,
	.start = start,
	.stop = stop,
	.dump = dump,
};
