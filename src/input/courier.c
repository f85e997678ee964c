/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  Batches stand in one queue, each waiting, flying or failed:
 *
 *   send ──► WAITING ──submit──► FLYING ──done 0──► acked, gone
 *               ▲                  │
 *               └──── settle ◄── FAILED
 *
 * Several may fly at once.  After a failure nothing more is submitted until
 * all that fly have landed; only then is the queue settled from its head: so
 * the order within a source holds, and an ERR_GAP behind another failure is
 * known to be its consequence and not a loss at the server (go-back-N).
 *
 * A batch stays referenced here until it is acknowledged, so that inputs that
 * cannot read twice (a pipe) lose nothing by a failed submit.  Its bytes are
 * charged to the input's account as long.
 *
 * A refusal for good is halved: the server's rule may concern one record of
 * ten thousand.  The halves keep the source's offsets contiguous, else the
 * second would be taken for a duplicate.  The record at fault is replaced by
 * a gap record at the same position, so the mark moves past it.
 *
 * Memory that is short must never stop an input for good.  What fills the
 * account may be the input's own, halves of messages that only the taking of
 * messages frees, or belong to one who waits for this input in turn.  So an
 * input with nothing under way asks for less and less, and after a second
 * takes the floor by force, for one batch; the next when that one is durable.
 * So each input passes the ceiling by COURIER_FLOOR at most (and by a record,
 * where a single one is larger).
 */
#include "input/courier.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "os/fs.h"

enum {
	ITEMS_MAX = 8, /* batches under way: enough to keep the sink's group commit filled */
	BUSY_MS = 100,
	RETRY_MS = 200,
	RETRY_MAX_MS = 5000,
	SHORT_MAX = 10,    /* pauses of BUSY_MS without memory, until it is taken all the same */
	RESERVE_SHARE = 3, /* a batch is to be this part of what is reserved for it */
	TARGET_MAX = 1 << 20,
	TARGET_MIN = COURIER_FLOOR / 4,
	QUARANTINE_MAX = 10000, /* files; beyond it the input waits for a person */
};

enum item_state { WAITING, FLYING, FAILED };

struct item {
	struct list node;
	struct courier *courier;
	struct batch *batch;
	uint64_t charged;
	enum item_state state;
	unsigned n_notes;          /* it is a gap record, and how often that was refused */
	struct sink_result result; /* written on the sink's thread before it posts */
};

struct courier {
	const struct input_env *env;
	const char *input;
	struct courier_events events;
	void *arg;
	struct list items;
	unsigned n_items, n_flying, n_failed;
	struct timer timer;
	unsigned n_short; /* reserves refused one after another while nothing was under way */
	bool pausing;     /* the timer runs */
	bool settling;    /* items are being decided on: none may take off */
	struct backoff backoff;
	loop_fn *stopped;
	void *stopped_arg;
	bool said_stopped;
	uint64_t n_acked, n_retried, n_quarantined, n_forced;
	int last_code; /* of a failure, to log a change alone */
};

static void advance(struct courier *c);

static void charge(struct courier *c, uint64_t n)
{
	if (c->env->account)
		account_force(c->env->account, n);
}

static struct item *item_new(struct courier *c, struct batch *b)
{
	struct item *it = xcalloc(1, sizeof(*it));

	it->courier = c;
	it->batch = b;
	it->charged = batch_bytes(b).n;
	charge(c, it->charged);
	c->n_items++;
	return it;
}

static void item_free(struct item *it)
{
	struct courier *c = it->courier;

	list_remove(&it->node);
	account_release(c->env->account, it->charged);
	batch_unref(it->batch);
	assert(c->n_items > 0);
	c->n_items--;
	free(it);
}

/* Put a new item for b right before `at`, takes b. */
static struct item *item_before(struct item *at, struct batch *b)
{
	struct item *it = item_new(at->courier, b);

	list_append(&at->node, &it->node); /* in front of it: lists are rings */
	return it;
}

static void pause_over(void *arg)
{
	struct courier *c = arg;

	c->pausing = false;
	advance(c);
	if (!c->stopped && c->events.room)
		c->events.room(c->arg);
}

static void pause_for(struct courier *c, uint64_t ms)
{
	if (c->pausing)
		return;
	c->pausing = true;
	timer_set(&c->timer, ms, 0);
}

struct courier *courier_new(const struct input_env *env, const char *input,
	const struct courier_events *events, void *arg)
{
	struct courier *c = xcalloc(1, sizeof(*c));

	c->env = env;
	c->input = input;
	c->events = *events;
	c->arg = arg;
	c->backoff = (struct backoff){.base_ms = RETRY_MS, .max_ms = RETRY_MAX_MS};
	list_init(&c->items);
	timer_init(&c->timer, env->loop, pause_over, c);
	return c;
}

void courier_free(struct courier *c)
{
	if (!c)
		return;
	assert(c->n_flying == 0);
	LIST_EACH (at, &c->items)
		item_free(CONTAINER(at, struct item, node));
	timer_fini(&c->timer);
	free(c);
}

bool courier_idle(const struct courier *c)
{
	return c->n_items == 0;
}

bool courier_ready(const struct courier *c)
{
	return c->n_items < ITEMS_MAX && c->n_failed == 0 && !c->pausing && !c->stopped;
}

uint64_t courier_reserve(struct courier *c, uint64_t most)
{
	struct account *a = c->env->account;
	uint64_t n = most;

	if (!a)
		return most;
	/* With something under way its `done` frees memory soon, and calls `room`. */
	if (!courier_idle(c))
		return account_charge(a, n) == 0 ? n : 0;
	while (n / 2 >= COURIER_FLOOR && n > account_room(a))
		n /= 2;
	if (account_charge(a, n) == 0) {
		if (n == most)
			c->n_short = 0;
		return n;
	}
	/* Others hold the memory: there is no `done` of ours to wait for.  n_short stays, so that
	 * the next batch goes as soon as this one is done. */
	if (c->n_short < SHORT_MAX) {
		c->n_short++;
		pause_for(c, BUSY_MS);
		return 0;
	}
	if (c->n_short == SHORT_MAX) {
		c->n_short++;
		log_warn("input",
			"%s: no memory for %d ms and nothing under way that would free some: it "
			"goes on with one small batch at a time beyond `memory:`",
			c->input, SHORT_MAX * BUSY_MS);
	}
	account_force(a, n);
	c->n_forced++;
	return n;
}

size_t courier_target(uint64_t reserved)
{
	/* Its buffers double while they grow, and some of it is there twice when it is sent. */
	uint64_t n = reserved / RESERVE_SHARE;

	return n > TARGET_MAX ? TARGET_MAX : n < TARGET_MIN ? TARGET_MIN : (size_t)n;
}

void courier_unreserve(struct courier *c, uint64_t n)
{
	account_release(c->env->account, n);
}

void courier_send(struct courier *c, struct batch *b, uint64_t reserved)
{
	struct item *it = item_new(c, b);

	courier_unreserve(c, reserved);
	list_append(&c->items, &it->node);
	advance(c);
}

/* Quarantine. */

static size_t quarantine_count(const char *dir)
{
	struct buf names = {0};
	size_t n = 0;

	if (fs_list(fs_real(), dir, &names, &n, NULL) < 0)
		n = 0;
	buf_fini(&names);
	return n;
}

/* Write the record's bytes behind one line of JSON that tells why.  The name is made of source
 * and position, so that the same record refused again after a restart is kept once. */
static int quarantine_write(struct item *it, struct buf *path, struct error *e)
{
	struct courier *c = it->courier;
	struct record rec = batch_record(it->batch, 0);
	struct batch_source src = {0};
	struct buf content = {0}, key = {0};
	int r;

	if (rec.source)
		src = batch_source(it->batch, rec.source - 1u);
	buf_printf(path, "%s/quarantine", c->env->state_dir);
	if ((r = fs_mkdir(fs_real(), buf_cstr(path), e)) < 0)
		goto done;
	if (quarantine_count(buf_cstr(path)) >= QUARANTINE_MAX) {
		r = error_set(e, ERR_LIMIT,
			"%s holds %d refused records: look at them and clear it", buf_cstr(path),
			QUARANTINE_MAX);
		goto done;
	}
	buf_str(&key, src.id);
	buf_char(&key, 0);
	if (!rec.position)
		buf_str(&key, rec.body);
	buf_printf(path, "/%016llx-%llu", (unsigned long long)hash_stable(buf_view(&key)),
		(unsigned long long)rec.position);
	buf_printf(&content, "{\"error\":");
	buf_json(&content, str_c(it->result.error.text));
	buf_c(&content, ",\"code\":");
	buf_json(&content, str_c(error_name(it->result.code)));
	buf_c(&content, ",\"labels\":");
	labels_json(&content, batch_stream(it->batch, rec.stream));
	buf_c(&content, ",\"source\":");
	buf_json(&content, src.id);
	buf_printf(&content, ",\"position\":%llu,\"timestamp\":%lld,\"bytes\":%zu}\n",
		(unsigned long long)rec.position, (long long)rec.timestamp, rec.body.n);
	buf_str(&content, rec.body);
	r = fs_write_all(fs_real(), buf_cstr(path), buf_view(&content), e);
done:
	buf_fini(&key);
	buf_fini(&content);
	return r;
}

/* Rebuilding batches. */

/* A piece of a batch: records [lo, hi), of one source alone when only >= 0 (its number as in
 * record.source).  froms[i] is where source i stands, and is moved along; the last piece takes
 * the rest of each range and the token. */
struct piece {
	size_t lo, hi;
	int only;
	bool last;
	uint64_t *froms;
};

static bool piece_has(const struct piece *p, const struct record *r)
{
	return p->only < 0 || r->source == p->only;
}

static struct batch *piece_build(const struct batch *b, const struct piece *p)
{
	size_t n_sources = batch_n_sources(b);
	struct batch_builder *bb =
		batch_builder_new(batch_tenant(b), batch_input(b), batch_observed(b));
	uint64_t *ends = xcalloc(n_sources + 1, sizeof(*ends));
	uint16_t *numbers = xcalloc(n_sources + 1, sizeof(*numbers));
	struct batch *out;

	for (size_t i = p->lo; i < p->hi; i++) {
		struct record r = batch_record(b, i);

		if (r.source && piece_has(p, &r) && r.position > ends[r.source - 1])
			ends[r.source - 1] = r.position;
	}
	for (size_t i = 0; i < n_sources; i++) {
		struct batch_source s = batch_source(b, i);

		if (p->only >= 0 && p->only != (int)i + 1)
			continue;
		/* A token stands for the whole batch, an unfinished one carries none. */
		if (!p->last && (s.kind == POSITION_TOKEN || ends[i] == 0))
			continue;
		if (s.kind == POSITION_MARK) {
			s.from = p->froms[i];
			s.to = p->last ? s.to : ends[i];
			p->froms[i] = s.to;
		}
		numbers[i] = batch_builder_source(bb, &s);
	}
	for (size_t i = p->lo; i < p->hi; i++) {
		struct record r = batch_record(b, i);
		int added;

		if (!piece_has(p, &r))
			continue;
		r.stream = batch_builder_stream(bb, batch_stream(b, r.stream));
		if (r.source)
			r.source = numbers[r.source - 1];
		added = batch_builder_add(bb, &r, NULL);
		assert(added == 0); /* it was in a batch that is no smaller */
		(void)added;
	}
	out = batch_builder_finish(bb, batch_observed(b));
	batch_builder_free(bb);
	free(ends);
	free(numbers);
	return out;
}

static uint64_t *froms_of(const struct batch *b)
{
	size_t n = batch_n_sources(b);
	uint64_t *froms = xcalloc(n + 1, sizeof(*froms));

	for (size_t i = 0; i < n; i++)
		froms[i] = batch_source(b, i).from;
	return froms;
}

static void halve(struct item *it)
{
	size_t n = batch_count(it->batch);
	uint64_t *froms = froms_of(it->batch);
	struct piece p = {.lo = 0, .hi = n / 2, .only = -1, .froms = froms};

	item_before(it, piece_build(it->batch, &p));
	p = (struct piece){.lo = n / 2, .hi = n, .only = -1, .last = true, .froms = froms};
	item_before(it, piece_build(it->batch, &p));
	free(froms);
	item_free(it);
}

/* One item a source, so that a gap tells whose it is and a source can be dropped alone. */
static void split_by_source(struct item *it)
{
	size_t n = batch_count(it->batch), n_sources = batch_n_sources(it->batch);
	uint64_t *froms = froms_of(it->batch);

	for (size_t s = 0; s <= n_sources; s++) {
		struct piece p = {.lo = 0, .hi = n, .only = (int)s, .last = true, .froms = froms};
		struct batch *b = piece_build(it->batch, &p);

		if (batch_count(b) > 0 || batch_n_sources(b) > 0)
			item_before(it, b);
		else
			batch_unref(b);
	}
	free(froms);
	item_free(it);
}

/* Replace the single record by one that says that it was lost.  The first try goes to the
 * record's own stream; when its labels are what is refused, to one that sawlog keeps itself. */
static void put_note(struct item *it, struct str where)
{
	struct courier *c = it->courier;
	struct record rec = batch_record(it->batch, 0);
	struct batch_builder *bb = batch_builder_new(
		batch_tenant(it->batch), batch_input(it->batch), batch_observed(it->batch));
	struct buf labels = {0}, body = {0};
	struct item *note;

	if (it->n_notes == 0) {
		buf_str(&labels, batch_stream(it->batch, rec.stream));
		buf_printf(&body,
			"sawlog: the server refused a line of %zu bytes (%s); it is kept in %.*s",
			rec.body.n, it->result.error.text, STR_ARG(where));
	} else {
		struct labels_builder lb = {0};

		labels_builder_set(&lb, STR("app"), STR("sawlog"), NULL);
		labels_builder_set(&lb, STR("host"), str_c(c->env->host), NULL);
		labels_builder_set(&lb, STR("input"), str_c(c->input), NULL);
		discover_service_name(&c->env->discover, &lb);
		labels_builder_write(&lb, &labels);
		labels_builder_fini(&lb);
		buf_str(&body, rec.body);
	}
	if (rec.source) {
		struct batch_source s = batch_source(it->batch, rec.source - 1u);

		rec.source = batch_builder_source(bb, &s);
	}
	rec.stream = batch_builder_stream(bb, buf_view(&labels));
	rec.body = buf_view(&body);
	rec.meta = STR_NONE;
	rec.timestamp = batch_observed(it->batch);
	rec.severity = 13; /* a warning, of ours and not of the line */
	rec.flags = RECORD_GAP | RECORD_TIME_OBSERVED;
	batch_builder_add(bb, &rec, NULL);
	note = item_before(it, batch_builder_finish(bb, batch_observed(it->batch)));
	note->n_notes = it->n_notes + 1;
	batch_builder_free(bb);
	buf_fini(&labels);
	buf_fini(&body);
	item_free(it);
}

/* Refused for good.  False: nothing could be done, try again later. */
static bool refuse(struct item *it)
{
	struct courier *c = it->courier;
	struct buf path = {0};
	struct error e;
	bool done = false;

	if (batch_count(it->batch) > 1) {
		halve(it);
		return true;
	}
	if (batch_count(it->batch) == 0 || it->n_notes > 1) {
		log_warn("input", "%s: the server refuses even notes of what it refused: %s",
			c->input, it->result.error.text);
		return false;
	}
	if (it->n_notes == 1) {
		put_note(it, STR_NONE);
		return true;
	}
	if (quarantine_write(it, &path, &e) < 0) {
		log_error("input", "%s: a refused line cannot be put aside: %s", c->input, e.text);
	} else {
		log_warn("input", "%s: a line was refused (%s) and is kept in %s", c->input,
			it->result.error.text, buf_cstr(&path));
		c->n_quarantined++;
		c->env->sink->account(c->env->sink, c->env->tenant, str_c(c->input),
			error_name(it->result.code), 1, true);
		put_note(it, buf_view(&path));
		done = true;
	}
	buf_fini(&path);
	return done;
}

/* Drop what waits of a source. */
static void forget(struct courier *c, struct str source)
{
	LIST_EACH (at, &c->items) {
		struct item *it = CONTAINER(at, struct item, node);

		if (batch_n_sources(it->batch) > 1)
			split_by_source(it);
	}
	LIST_EACH (at, &c->items) {
		struct item *it = CONTAINER(at, struct item, node);

		if (batch_n_sources(it->batch) == 1 &&
			str_eq(batch_source(it->batch, 0).id, source)) {
			assert(it->state != FLYING);
			item_free(it);
		}
	}
}

/* The first failure of the queue is a gap: the server has lost, or never had, what comes before.
 * False: wait and try again. */
static bool fill_gap(struct item *it)
{
	struct courier *c = it->courier;
	uint64_t mark = it->result.mark;
	struct batch_source src;
	struct buf id = {0};

	if (batch_n_sources(it->batch) > 1) {
		split_by_source(it);
		return true;
	}
	if (batch_n_sources(it->batch) == 0)
		return false;
	src = batch_source(it->batch, 0);
	if (src.kind != POSITION_MARK || mark >= src.from)
		return false;
	buf_str(&id, src.id);
	log_warn("input", "%s: the server has %s up to %llu only, not %llu", c->input,
		buf_cstr(&id), (unsigned long long)mark, (unsigned long long)src.from);
	if (c->events.gap && c->events.gap(c->arg, buf_view(&id), mark)) {
		forget(c, buf_view(&id));
	} else {
		struct piece p = {.lo = 0,
			.hi = batch_count(it->batch),
			.only = -1,
			.last = true,
			.froms = &mark};

		item_before(it, piece_build(it->batch, &p));
		item_free(it);
	}
	buf_fini(&id);
	return true;
}

static bool is_refusal(int code)
{
	return code == ERR_ARG || code == ERR_LIMIT || code == ERR_DENIED;
}

static void say_failure(struct courier *c, const struct sink_result *r)
{
	if (r->code != c->last_code && r->code != ERR_BUSY && r->code != ERR_CLOSED)
		log_warn(
			"input", "%s: batch not stored, trying again: %s", c->input, r->error.text);
	c->last_code = r->code;
}

/* All that flew has landed and something failed: decide in order what becomes of it.  Handling an
 * item may change the queue around it, so the walk starts anew after each. */
static void settle(struct courier *c)
{
	bool first = true, again = true, wait = false, busy = true;

	/* events.gap may send what the input had gathered, which comes back to advance(). */
	c->settling = true;
	while (again) {
		again = false;
		LIST_EACH (at, &c->items) {
			struct item *it = CONTAINER(at, struct item, node);
			int code = it->result.code;
			bool handled;

			if (it->state != FAILED)
				continue;
			it->state = WAITING;
			c->n_failed--;
			if (is_refusal(code)) {
				handled = refuse(it);
			} else if (code == ERR_GAP) {
				handled = !first || fill_gap(it);
			} else {
				say_failure(c, &it->result);
				handled = false;
			}
			wait |= !handled;
			busy &= code == ERR_BUSY;
			first = false;
			again = true;
			break;
		}
	}
	c->settling = false;
	/* forget() may have freed failed ones. */
	c->n_failed = 0;
	if (wait) {
		c->n_retried++;
		pause_for(c, busy ? BUSY_MS : backoff_next(&c->backoff));
	}
}

static void give_up(struct courier *c)
{
	struct sink *sink = c->env->sink;
	uint64_t n_lost = 0;

	LIST_EACH (at, &c->items) {
		struct item *it = CONTAINER(at, struct item, node);
		size_t n = batch_count(it->batch);

		if (!c->events.rereads && n > 0) {
			sink->account(sink, batch_tenant(it->batch), str_c(c->input), "not_stored",
				n, false);
			n_lost += n;
		}
		item_free(it);
	}
	c->n_failed = 0;
	if (n_lost > 0)
		log_error("input",
			"%s: %llu records are lost: the store failed until the input stopped, and "
			"they cannot be read again",
			c->input, (unsigned long long)n_lost);
}

static void item_done(void *arg) /* loop */
{
	struct item *it = arg;
	struct courier *c = it->courier;

	assert(it->state == FLYING && c->n_flying > 0);
	c->n_flying--;
	if (it->result.code >= 0) {
		c->n_acked++;
		c->last_code = 0;
		backoff_reset(&c->backoff);
		c->events.acked(c->arg, it->batch, &it->result);
		item_free(it);
	} else {
		it->state = FAILED;
		c->n_failed++;
	}
	advance(c);
	if (!c->stopped && c->events.room && courier_ready(c))
		c->events.room(c->arg);
}

static void on_done(void *arg, const struct sink_result *result) /* sink's thread -> loop */
{
	struct item *it = arg;

	it->result = *result;
	loop_post(it->courier->env->loop, item_done, it);
}

/* Submit in order what waits. */
static void submit_waiting(struct courier *c)
{
	struct error e;

	LIST_EACH (at, &c->items) {
		struct item *it = CONTAINER(at, struct item, node);
		int r;

		if (it->state != WAITING)
			continue;
		it->state = FLYING;
		c->n_flying++;
		r = sink_submit(c->env->sink, batch_ref(it->batch), on_done, it, &e);
		if (r >= 0)
			continue;
		batch_unref(it->batch);
		it->state = WAITING;
		c->n_flying--;
		it->result = (struct sink_result){.code = r, .error = e};
		if (c->stopped && r != ERR_BUSY) {
			it->state = FAILED;
			c->n_failed++;
			return;
		}
		say_failure(c, &it->result);
		/* The next done, or this pause, whichever is first. */
		if (c->n_flying == 0 || r != ERR_BUSY)
			pause_for(c, r == ERR_BUSY ? BUSY_MS : backoff_next(&c->backoff));
		return;
	}
}

/* Deferred through the loop: a caller of courier_stop is not called back from within it. */
static void say_stopped(void *arg)
{
	struct courier *c = arg;
	loop_fn *stopped = c->stopped;

	stopped(c->stopped_arg);
}

static void advance(struct courier *c)
{
	if (c->settling)
		return;
	if (c->n_failed > 0 && c->n_flying == 0) {
		bool transient = false;

		LIST_EACH (at, &c->items) {
			struct item *it = CONTAINER(at, struct item, node);

			if (it->state == FAILED && !is_refusal(it->result.code))
				transient = true;
		}
		/* On the way out nothing is tried again: positions stay where they are. */
		if (c->stopped && transient)
			give_up(c);
		else
			settle(c);
	}
	if (c->n_failed == 0 && !c->pausing)
		submit_waiting(c);
	if (c->n_failed > 0 && c->n_flying == 0 && c->stopped)
		give_up(c);
	if (c->stopped && c->n_items == 0 && !c->said_stopped) {
		timer_clear(&c->timer);
		c->said_stopped = loop_post(c->env->loop, say_stopped, c);
	}
}

void courier_stop(struct courier *c, loop_fn *stopped, void *arg)
{
	assert(stopped && !c->stopped);
	c->stopped = stopped;
	c->stopped_arg = arg;
	timer_clear(&c->timer);
	c->pausing = false;
	advance(c);
}

void courier_dump(const struct courier *c, struct buf *out)
{
	buf_printf(out,
		"courier: %u batches under way, %u flying, %u failed%s; %llu acknowledged, "
		"%llu pauses, %llu quarantined, %llu sent beyond the ceiling\n",
		c->n_items, c->n_flying, c->n_failed, c->pausing ? ", pausing" : "",
		(unsigned long long)c->n_acked, (unsigned long long)c->n_retried,
		(unsigned long long)c->n_quarantined, (unsigned long long)c->n_forced);
}
