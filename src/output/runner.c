/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread of an output.
 *
 *   store ──cursor──► match ──► chunk (copies) ──write──► kind ──sync──► place on disk
 *          read as far    taken_seq: what the kind took      place.seq: what is where it should be
 *
 * One step at a time: open, sync when it is due, tick, read, write.  Each step
 * begins with what failed last, so a step that went through tells that all is
 * well again.  Only calls of the kind may block for long, and while one does
 * the thread holds nothing of the store: the backlog stays where it is.
 *
 * The place moves when `sync` said so, at most once a second: a crash repeats
 * what came after that.  Where nothing matched the place follows what was read,
 * now and then.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/metric.h"
#include "output/outputs_core.h"
#include "query/entry.h"

enum {
	CHUNK_BYTES = 256 << 10,
	CHUNK_ROWS = 4096,      /* read at once, whether they match or not */
	WINDOW_BYTES = 2 << 20, /* what one far behind may hold of parts */
	BACKOFF_MS = 500,
	BACKOFF_MAX_MS = 60000,
	CROWD = 10, /* drains from which on they linger */
};

#define LINGER_NS (NS_PER_MS / 10) /* for each */

#define SYNC_NS NS_PER_SEC
#define SAVE_NS (10 * NS_PER_SEC) /* where nothing but the place moved */
#define TOLD_NS (600 * NS_PER_SEC)
#define LOOK_NS (60 * NS_PER_SEC)

static int64_t mono(void)
{
	return clock_mono_ns(clock_real());
}

/* What others see and ask. */

void runner_committed(void *arg)
{
	struct runner *r = arg;

	lock_take(&r->lock);
	/* One that knows already is not woken again. */
	if (!r->committed)
		cond_signal(&r->wake);
	r->committed = true;
	if (r->oldest_ns == 0)
		r->oldest_ns = clock_now_ns(r->env.clock);
	lock_drop(&r->lock);
}

void runner_dropped(struct runner *r, uint64_t first_seq, uint64_t last_seq, uint64_t records)
{
	lock_take(&r->lock);
	if (r->n_drops == DROPS_MAX) {
		struct dropped *d = &r->drops[DROPS_MAX - 1];

		/* It has been busy for very long: the total stays right. */
		d->first_seq = first_seq < d->first_seq ? first_seq : d->first_seq;
		d->last_seq = last_seq > d->last_seq ? last_seq : d->last_seq;
		d->records += records;
	} else {
		r->drops[r->n_drops++] = (struct dropped){first_seq, last_seq, records};
	}
	cond_signal(&r->wake);
	lock_drop(&r->lock);
}

bool runner_ending(void *arg)
{
	struct runner *r = arg;

	return atomic_load(&r->ending);
}

/* Tell what outputs_list shows. */
static void show(struct runner *r)
{
	/* What a kind took and cannot make last is not delivered. */
	bool stuck = r->retry_mono && r->dirty;

	lock_take(&r->lock);
	r->shown.seq = stuck ? r->place.seq : r->taken_seq;
	r->shown.delivered = r->place.delivered + (stuck ? 0 : r->unsynced);
	r->shown.skipped = r->place.skipped;
	r->shown.missed = r->place.missed;
	r->shown.retry_ns =
		r->retry_mono ? clock_now_ns(r->env.clock) + (r->retry_mono - mono()) : 0;
	lock_drop(&r->lock);
}

static void tell(const struct runner *r, enum output_note_kind what, const char *sentence,
	uint64_t n, int64_t wait_ns)
{
	if (r->told)
		r->told(r->told_arg, &(struct output_note){what, r->name, sentence, n, wait_ns});
}

/* Calls of the kind.  One that does not come back when the process ends is left behind: then
 * nothing may be touched any more. */

static void kind_enter(struct runner *r)
{
	lock_take(&r->lock);
	r->in_kind = true;
	lock_drop(&r->lock);
}

static void kind_leave(struct runner *r)
{
	bool abandoned;

	lock_take(&r->lock);
	r->in_kind = false;
	abandoned = r->abandoned;
	lock_drop(&r->lock);
	if (abandoned)
		pthread_exit(NULL);
}

static int open_kind(struct runner *r, struct error *e)
{
	int code;

	kind_enter(r);
	code = r->type->open(&r->output, r->settings, &r->kind_env, buf_view(&r->place.state), e);
	kind_leave(r);
	if (code < 0)
		r->output = NULL;
	return code;
}

static void close_kind(struct runner *r)
{
	if (!r->output)
		return;
	kind_enter(r);
	r->type->close(r->output);
	kind_leave(r);
	r->output = NULL;
	r->tick_ns = 0;
}

/* The place. */

static void save(struct runner *r)
{
	struct error e;

	r->save_mono = mono();
	lock_take(&r->lock);
	r->place.oldest_ns = r->oldest_ns;
	lock_drop(&r->lock);
	buf_clear(&r->place.kind);
	buf_c(&r->place.kind, r->type->name);
	if (place_save(&r->place, r->env.fs, r->dir, &e) == 0) {
		r->moved = r->unsaved_told = false;
		return;
	}
	/* It goes on: what it delivers is right, and a crash repeats more of it. */
	if (!r->unsaved_told)
		log_warn("output", "%s: its place is not saved: %s", r->name, e.text);
	r->unsaved_told = true;
	r->moved = true;
}

static void chunk_clear(struct runner *r)
{
	struct chunk *c = &r->chunk;

	account_release(r->env.account, c->charged);
	c->charged = 0;
	c->n = c->at = 0;
	/* A large line must not stay for ever. */
	if (c->text.cap > 2 * CHUNK_BYTES)
		buf_fini(&c->text);
	buf_clear(&c->text);
}

/* All that was read and not taken is forgotten, and read again from behind `seq`. */
static void go_to(struct runner *r, uint64_t seq)
{
	cursor_fini(&r->cursor);
	chunk_clear(r);
	r->cursor.after_seq = r->taken_seq = seq;
	r->caught_up = false;
}

/* What the kind says of itself after a sync that went well: where the place goes. */
static void ask_kind(struct runner *r)
{
	uint64_t settled = r->taken_seq, refused = 0;

	if (r->type->settled && r->type->settled(r->output) < settled)
		settled = r->type->settled(r->output);
	if (r->type->refused)
		refused = r->type->refused(r->output);
	/* What is not settled is asked for again; what is behind the place by now stays there. */
	r->dirty = settled < r->taken_seq;
	if (settled > r->place.seq || !r->dirty)
		r->place.seq = settled;
	if (refused > r->unsynced)
		refused = r->unsynced;
	r->place.delivered += r->unsynced - refused;
	r->place.skipped += refused;
	r->unsynced = 0;
	if (refused)
		tell(r, OUTPUT_REFUSED, "", refused, 0);
}

/* 0 when the place is where the kind is, 1 when the kind waits with something. */
static int sync_kind(struct runner *r, struct error *e)
{
	struct buf state = {0};
	int code;

	kind_enter(r);
	code = r->type->sync(r->output, &state, e);
	kind_leave(r);
	/* One that failed is due at the next try, which tells whether all is well again. */
	r->sync_mono = mono() + (code < 0 ? 0 : SYNC_NS);
	if (code == 0 && state.n > OUTPUT_STATE_MAX)
		code = error_set(
			e, ERR_LIMIT, "its state is larger than %d bytes", OUTPUT_STATE_MAX);
	if (code == 0) {
		r->proven = true;
		buf_fini(&r->place.state);
		r->place.state = state;
		ask_kind(r);
		save(r);
		return 0;
	}
	buf_fini(&state);
	return code;
}

/* The kind lost what it took: again from where it was. */
static void begin_anew(struct runner *r)
{
	close_kind(r);
	r->dirty = false;
	r->unsynced = 0;
	go_to(r, r->place.seq);
}

/* What retention took.  Nobody can tell any more what of it would have matched. */

static void count_drop(struct runner *r, const struct dropped *d)
{
	uint64_t after = r->cursor.after_seq, span, left;

	if (d->last_seq <= after)
		return;
	left = d->last_seq - (after < d->first_seq ? d->first_seq - 1 : after);
	span = d->last_seq - d->first_seq + 1;
	left = (uint64_t)((double)d->records * ((double)left / (double)span) + 0.5);
	if (left == 0)
		return;
	r->place.missed += left;
	r->moved = true;
	log_warn("output",
		"%s: retention took up to %" PRIu64 " records (sequences %" PRIu64 " to %" PRIu64
		") before they were delivered",
		r->name, left, d->first_seq > after ? d->first_seq : after + 1, d->last_seq);
	tell(r, OUTPUT_MISSED, "", left, 0);
}

static void count_drops(struct runner *r)
{
	struct dropped drops[DROPS_MAX];
	size_t n;

	lock_take(&r->lock);
	n = r->n_drops;
	memcpy(drops, r->drops, n * sizeof *drops);
	r->n_drops = 0;
	lock_drop(&r->lock);
	/* What it holds of them goes too, so that the count is right. */
	if (n > 0)
		cursor_fini(&r->cursor);
	for (size_t i = 0; i < n; i++)
		count_drop(r, &drops[i]);
}

/* Reading. */

/* Views hold offsets until the text is whole. */
static struct str put_text(struct buf *text, struct str s)
{
	struct str place = {(const char *)(uintptr_t)text->n, s.n};

	buf_str(text, s);
	return place;
}

static int on_entry(void *ctx, const struct query_entry *x)
{
	struct runner *r = ctx;
	struct chunk *c = &r->chunk;
	struct output_record *o;
	size_t at = c->text.n;

	if (c->n == c->cap) {
		c->cap = c->cap ? 2 * c->cap : 64;
		c->records = xrealloc(c->records, c->cap * sizeof *c->records);
	}
	o = &c->records[c->n++];
	*o = (struct output_record){.seq = x->seq, .timestamp = x->timestamp};
	entry_labels(x, &c->text);
	o->labels = (struct str){(const char *)(uintptr_t)at, c->text.n - at};
	o->line = put_text(&c->text, x->line);
	return 0;
}

static int on_rows(void *ctx, const struct rows *rows)
{
	struct runner *r = ctx;
	uint8_t floor = output_severity_floor(r->settings->min_severity);

	query_tail_unit(r->match, rows);
	for (size_t k = 0; k < rows->n; k++) {
		uint32_t i = rows->pick[k];
		uint8_t severity = rows->severity[i];
		size_t before = r->chunk.n;

		if (severity != 0 && severity < floor)
			continue;
		query_tail_row(r->match, rows, i, on_entry, r);
		for (size_t j = before; j < r->chunk.n; j++)
			r->chunk.records[j].severity = severity;
		if (r->chunk.text.n >= CHUNK_BYTES)
			return (int)k + 1;
	}
	return 0;
}

static void chunk_finish(struct runner *r)
{
	struct chunk *c = &r->chunk;

	for (size_t i = 0; i < c->n; i++) {
		struct output_record *o = &c->records[i];

		o->labels.p = c->text.p + (uintptr_t)o->labels.p;
		o->line.p = c->text.p ? c->text.p + (uintptr_t)o->line.p : "";
	}
	/* It is there: what it delays is reading on, not what comes in. */
	c->charged = c->text.cap;
	account_force(r->env.account, c->charged);
	c->end_seq = r->cursor.after_seq;
}

/* How long the oldest of what is committed waits: as exact as the moments at which somebody
 * looked. */
static void mark_time(struct runner *r)
{
	uint64_t last = store_last_seq(r->env.store);
	int64_t now = clock_now_ns(r->env.clock);

	lock_take(&r->lock);
	if (r->taken_seq >= last) {
		r->oldest_ns = 0;
		r->mark_seq = 0;
	} else if (r->mark_seq == 0 || r->taken_seq >= r->mark_seq) {
		if (r->mark_seq)
			r->oldest_ns = r->mark_ns;
		else if (r->oldest_ns == 0)
			r->oldest_ns = now;
		r->mark_seq = last;
		r->mark_ns = now;
	}
	lock_drop(&r->lock);
}

/* Nothing is left to be taken of what was read. */
static void taken_all(struct runner *r)
{
	r->taken_seq = r->chunk.end_seq;
	chunk_clear(r);
	if (!r->dirty && r->place.seq != r->taken_seq) {
		r->place.seq = r->taken_seq;
		r->moved = true;
	}
}

static int fill(struct runner *r, struct error *e)
{
	int code;

	count_drops(r);
	code = cursor_next(&r->cursor, CHUNK_ROWS, on_rows, r, e);
	if (code < 0) {
		chunk_clear(r);
		return code;
	}
	chunk_finish(r);
	r->caught_up = code == 0;
	if (r->chunk.n == 0)
		taken_all(r);
	return 0;
}

/* Writing. */

static void skip(struct runner *r, const struct error *e)
{
	int64_t now = mono();

	if (r->place.skipped == 0 || now - r->told_mono > NS_PER_SEC) {
		log_warn("output", "%s: the record of sequence %" PRIu64 " is passed by: %s",
			r->name, r->chunk.records[r->chunk.at].seq, e->text);
		r->told_mono = now;
	}
	r->place.skipped++;
	r->moved = true;
	r->chunk.at++;
	tell(r, OUTPUT_REFUSED, e->text, 1, 0);
}

static int write_some(struct runner *r, struct error *e)
{
	struct chunk *c = &r->chunk;
	size_t n = c->n - c->at;
	int code;

	kind_enter(r);
	code = r->type->write(r->output, c->records + c->at, n, e);
	kind_leave(r);
	if (code == ERR_ARG || code == ERR_LIMIT) {
		skip(r, e);
	} else if (code <= 0) {
		return code < 0 ? code : error_set(e, ERR_IO, "it took nothing");
	} else {
		c->at += (size_t)code < n ? (size_t)code : n;
		r->unsynced += (size_t)code < n ? (size_t)code : n;
		if (!r->dirty) {
			r->sync_mono = mono() + SYNC_NS;
			r->dirty_ns = clock_now_ns(r->env.clock);
		}
		r->dirty = true;
	}
	if (c->at == c->n) {
		taken_all(r);
	} else {
		/* All that stages made of a record must be taken before it counts. */
		r->taken_seq = c->records[c->at].seq - 1;
	}
	return 0;
}

static int tick(struct runner *r, struct error *e)
{
	int64_t now = clock_now_ns(r->env.clock);
	int code;

	if (!r->type->tick || (r->tick_ns != 0 && now < r->tick_ns))
		return 0;
	kind_enter(r);
	code = r->type->tick(r->output, now, &r->tick_ns, e);
	kind_leave(r);
	return code;
}

/* One step.  1 when there may be more to do at once. */
static int step(struct runner *r, struct error *e)
{
	int code = 0;

	if (!r->output && (code = open_kind(r, e)) < 0)
		return code;
	if (r->dirty && mono() >= r->sync_mono && (code = sync_kind(r, e)) < 0)
		return code;
	if ((code = tick(r, e)) < 0)
		return code;
	if (r->chunk.at == r->chunk.n && (code = fill(r, e)) < 0)
		return code;
	if (r->chunk.at < r->chunk.n) {
		if ((code = write_some(r, e)) < 0)
			return code;
		/* A kind without a time may have one now. */
		if (r->tick_ns == 0 && (code = tick(r, e)) < 0)
			return code;
	}
	if (r->moved && mono() - r->save_mono >= SAVE_NS)
		save(r);
	mark_time(r);
	return r->chunk.at < r->chunk.n || !r->caught_up;
}

/* Failing. */

static void failed(struct runner *r, int code, const struct error *e)
{
	int64_t now = mono(), wait = (int64_t)backoff_next(&r->backoff) * NS_PER_MS;
	struct buf labels = {0};
	bool log;

	lock_take(&r->lock);
	log = !r->failing || strcmp(r->error, e->text) != 0 || now - r->failing_mono > TOLD_NS;
	str_copy(str_c(e->text), r->error, sizeof r->error);
	r->failures++;
	if (r->dirty && r->oldest_ns == 0)
		r->oldest_ns = r->dirty_ns;
	lock_drop(&r->lock);
	if (log) {
		log_warn("output", "%s: %s; tried again in %.1f s", r->name, e->text,
			(double)wait / 1e9);
		r->failing_mono = now;
	}
	r->retry_mono = now + wait;
	r->failing = true;
	r->proven = false;
	metric_label(&labels, "output", str_c(r->name));
	metric_add(METRIC_output_failures_total, buf_cstr(&labels), 1);
	buf_fini(&labels);
	tell(r, OUTPUT_FAILED, e->text, 0, wait);
	/* It may be long. */
	cursor_fini(&r->cursor);
	if (code == ERR_GAP)
		begin_anew(r);
}

static void forgive(struct runner *r)
{
	r->retry_mono = 0;
	r->failing = false;
	backoff_reset(&r->backoff);
	lock_take(&r->lock);
	r->error[0] = '\0';
	lock_drop(&r->lock);
}

/* A step went through.  That a kind took something says little, as a target may take it and break
 * off each time: then it is not to be tried ever faster, nor told of each time. */
static void recovered(struct runner *r)
{
	bool idle = !r->dirty && r->chunk.n == 0 && r->caught_up;

	r->retry_mono = 0;
	if (!r->failing || !(r->proven || idle))
		return;
	log_info("output", "%s: works again", r->name);
	tell(r, OUTPUT_WORKS, "", 0, 0);
	forgive(r);
}

/* Orders. */

struct orders {
	bool paused, stopping, reopen, retry, rewind, dump;
	uint64_t rewind_seq, until_seq;
};

/* When to wake up though nothing happens; monotonic. */
static int64_t wake_at(struct runner *r, bool paused)
{
	int64_t now = mono(), at = now + LOOK_NS, due;

	if (r->retry_mono && !paused)
		return r->retry_mono;
	if (r->dirty && r->sync_mono < at)
		at = r->sync_mono;
	if (r->moved && r->save_mono + SAVE_NS < at)
		at = r->save_mono + SAVE_NS;
	if (r->tick_ns) {
		due = now + (r->tick_ns - clock_now_ns(r->env.clock));
		at = due < at ? due : at;
	}
	return at;
}

static bool asked(const struct runner *r)
{
	return r->ask_reopen || r->ask_retry || r->ask_rewind || r->ask_dump || r->n_drops > 0;
}

/* Where there are many, each commit would wake them all, nearly all for nothing: 1,000 look ten
 * times a second, 100 a hundred times. */
static void linger(struct runner *r) REQUIRES(r->lock)
{
	size_t crowd = r->added ? atomic_load(r->crowd) : 0;
	int64_t until = mono() + (int64_t)crowd * LINGER_NS, left;

	if (crowd < CROWD || r->retry_mono)
		return;
	while (r->committed && !asked(r) && !r->stopping && !r->paused &&
		!atomic_load(&r->ending) && (left = until - mono()) > 0)
		cond_wait_for(&r->wake, &r->lock, left);
}

/* Wait for something to do, and take what is asked for. */
static void wait_for_orders(struct runner *r, struct orders *o, bool more)
{
	bool was_stopping = o->stopping;
	bool was_paused = o->paused;
	int64_t at, left;

	lock_take(&r->lock);
	at = wake_at(r, r->paused);
	/* One that fails is tried once more when it is told to stop, and does not wait for the next
	 * time. */
	while (!asked(r) && r->stopping == was_stopping && r->paused == was_paused &&
		!(was_stopping && r->retry_mono) && !atomic_load(&r->ending) &&
		(r->paused || r->retry_mono || (!more && !r->committed)) &&
		(left = at - mono()) > 0)
		cond_wait_for(&r->wake, &r->lock, left);
	if (!more)
		linger(r);
	*o = (struct orders){.paused = r->paused,
		.stopping = r->stopping,
		.reopen = r->ask_reopen,
		.retry = r->ask_retry || (r->stopping && !was_stopping),
		.rewind = r->ask_rewind,
		.dump = r->ask_dump,
		.rewind_seq = r->rewind_seq,
		.until_seq = r->until_seq};
	r->ask_reopen = r->ask_retry = r->ask_rewind = r->ask_dump = false;
	r->committed = false;
	lock_drop(&r->lock);
}

/* Have what was taken made last before the place is changed; when it cannot be, the kind begins
 * anew with what it knew. */
static void settle(struct runner *r)
{
	struct error e;

	if (r->output && r->dirty && sync_kind(r, &e) < 0) {
		log_warn("output", "%s: %s", r->name, e.text);
		begin_anew(r);
	}
}

static void rewind_to(struct runner *r, uint64_t seq)
{
	settle(r);
	go_to(r, seq);
	r->place.seq = seq;
	save(r);
	lock_take(&r->lock);
	r->rewinds++;
	r->oldest_ns = 0;
	r->mark_seq = 0;
	cond_broadcast(&r->rest);
	lock_drop(&r->lock);
}

static void tell_dump(struct runner *r)
{
	struct buf text = {0};

	if (r->output && r->type->dump)
		r->type->dump(r->output, &text);
	lock_take(&r->lock);
	buf_fini(&r->dump);
	r->dump = text;
	r->dumps++;
	cond_broadcast(&r->rest);
	lock_drop(&r->lock);
}

static void obey(struct runner *r, const struct orders *o)
{
	if (o->rewind)
		rewind_to(r, o->rewind_seq);
	if (o->reopen && r->output && r->type->reopen) {
		kind_enter(r);
		r->type->reopen(r->output);
		kind_leave(r);
	}
	if (o->dump)
		tell_dump(r);
	if ((o->retry || o->reopen) && r->retry_mono)
		r->retry_mono = mono();
	count_drops(r);
}

/* While it is paused: what was taken is made last, what is due by the clock is done.  What fails
 * is tried when it resumes. */
static void step_paused(struct runner *r)
{
	struct error e;

	cursor_fini(&r->cursor);
	if (r->dirty && mono() >= r->sync_mono)
		settle(r);
	if (r->output && tick(r, &e) < 0)
		log_warn("output", "%s: %s", r->name, e.text);
	if (r->moved && !r->dirty && mono() - r->save_mono >= NS_PER_SEC)
		save(r);
	forgive(r);
}

/* Is there nothing left to be done before the end? */
static bool at_end(const struct runner *r, const struct orders *o, bool tried)
{
	if (!o->stopping)
		return false;
	return o->paused || atomic_load(&r->ending) || (tried && r->retry_mono) ||
	       r->taken_seq >= o->until_seq;
}

static void finish(struct runner *r)
{
	struct error e;

	atomic_store(&r->ending, true);
	if (r->output && r->dirty && sync_kind(r, &e) != 0)
		log_warn("output", "%s: what it took last is delivered again at the next start",
			r->name);
	close_kind(r);
	if (r->moved)
		save(r);
	chunk_clear(r);
	cursor_fini(&r->cursor);
}

/* Where it goes on, or where it begins. */
void runner_load(struct runner *r)
{
	uint64_t last = store_last_seq(r->env.store);
	struct error e;
	int code = place_load(&r->place, r->env.fs, r->dir, &e);

	if (code < 0)
		log_error("output",
			"%s: %s: it begins as a new one does; `sawlog output rewind` takes it back",
			r->name, e.text);
	/* What another kind of the same name left says nothing. */
	if (!str_eq_c(buf_view(&r->place.kind), r->type->name))
		buf_clear(&r->place.state);
	if (code <= 0) {
		r->place.seq = r->settings->start == OUTPUT_START_BEGIN ? 0 : last;
		if (r->added && r->after_seq < r->place.seq)
			r->place.seq = r->after_seq;
		/* A crash before its first record must not make it begin later. */
		save(r);
	} else if (r->place.seq > last) {
		log_warn("output",
			"%s: its place is %" PRIu64 ", but the last record stored is %" PRIu64
			": it goes on there",
			r->name, r->place.seq, last);
		r->place.seq = last;
		save(r);
	}
	r->oldest_ns = r->place.seq < last ? r->place.oldest_ns : 0;
	r->taken_seq = r->place.seq;
	show(r);
}

static void wait_for_before(struct runner *r)
{
	struct runner *b = r->before;

	if (!b)
		return;
	lock_take(&b->lock);
	while (!b->done && !atomic_load(&r->ending))
		cond_wait_for(&b->rest, &b->lock, 100 * NS_PER_MS);
	lock_drop(&b->lock);
}

static void run_step(struct runner *r, struct error *e, bool *more)
{
	int code = step(r, e);

	*more = code > 0;
	if (code < 0)
		failed(r, code, e);
	else
		recovered(r);
}

static void run(struct runner *r)
{
	struct orders o = {0};
	struct error e;
	bool more = true, tried = false;

	while (true) {
		wait_for_orders(r, &o, more);
		obey(r, &o);
		if (at_end(r, &o, tried))
			return;
		e.text[0] = '\0';
		if (o.paused)
			step_paused(r);
		else if (r->retry_mono == 0 || mono() >= r->retry_mono)
			run_step(r, &e, &more);
		tried = o.stopping;
		show(r);
	}
}

void *runner_run(void *arg)
{
	struct runner *r = arg;

	r->backoff = (struct backoff){.base_ms = BACKOFF_MS, .max_ms = BACKOFF_MAX_MS};
	r->cursor = (struct cursor){.store = r->env.store,
		.tenant = str_c(r->settings->tenant ? r->settings->tenant : "default"),
		.account = r->env.account,
		.window_bytes = WINDOW_BYTES};
	r->save_mono = mono();
	wait_for_before(r);
	if (!atomic_load(&r->ending)) {
		if (r->before)
			runner_load(r);
		go_to(r, r->place.seq);
		/* It was found fit when the settings were checked. */
		query_tail_new(&r->match, r->query, false, r->env.account, NULL);
		run(r);
		finish(r);
		show(r);
	}
	query_tail_free(r->match);
	r->match = NULL;
	lock_take(&r->lock);
	r->done = true;
	cond_broadcast(&r->rest);
	lock_drop(&r->lock);
	return NULL;
}
