/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Group commit.
 *
 * The group clocks itself: while one is being written and synced, what arrives
 * queues up and is the next group.  No timer, no tuning: a lone batch is
 * synced at once, a flood is synced in large groups.
 *
 * The order for each group is the promise of the product: duplicates out,
 * sequences given, one write, one sync; then visible, counted, watches, and
 * only then `done`.
 *
 * A group that cannot be made durable, in this segment and in a new one, is
 * refused as a whole and leaves no trace: positions and counts of it are
 * aborted, its sequences are given again.  The store is then unhealthy;
 * submits are refused at the door, and the committer itself tries every 100 ms
 * whether a new segment can be started, so that it accepts again by itself.
 */
#include "store/commit.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/metric.h"
#include "store/appcount.h"
#include "store/core.h"

enum {
	GROUP_BYTES = 8 << 20,
	GROUP_BATCHES = 256,
	SPACE_CHECK_GROUPS = 64, /* groups between two looks at the free space, or a second */
};
#define HEAL_NS   (100 * NS_PER_MS)
#define LEDGER_NS NS_PER_SEC /* counts without a batch are written at most this late */

/* A batch on its way. */
struct waiting {
	struct list node;
	struct batch *batch;
	sink_done *done;
	void *arg;
	struct sink_result result;
	/* Of the head's account.  The batch takes it over when it is in the head and not before:
	 * one that was not stored is its sender's, who may submit it again. */
	uint64_t charged;
	bool write; /* goes into the journal */
};

struct committer {
	/* Fixed. */
	struct store *s;
	pthread_t thread;
	/* Under lock. */
	struct lock lock;
	struct cond wake;
	struct list queue; /* of struct waiting */
	size_t n_queued;
	bool stopping;
	bool roll_wanted;
	struct error health; /* code 0: accepting */
	/* The committer thread's. */
	uint64_t next_seq, groups, space_checked_group;
	int64_t space_checked_ns, heal_tried_ns;
	struct appcount apps;
};

struct group {
	struct waiting **w;
	size_t n;
	struct journal_entry *entries;
	size_t n_entries;
	uint64_t first_seq, next_seq, bytes;
	int64_t now_ns;
	struct buf ledger;
};

/* Memory may be full by those who wait for just this batch (connections with halves of messages,
 * which are freed when the whole ones are taken).  So while none is queued, one comes in whatever
 * others hold: then the head is all that grows, and it has a limit of its own. */
static bool charge_head(struct committer *c, size_t bytes)
{
	struct account *head = &c->s->head_account;
	uint64_t held = account_held(head);
	bool queued;

	if (account_charge(head, bytes) == 0)
		return true;
	lock_take(&c->lock);
	queued = !list_empty(&c->queue);
	lock_drop(&c->lock);
	if (queued || held > head->limit || bytes > head->limit - held)
		return false;
	account_force(head, bytes);
	return true;
}

int committer_submit(
	struct committer *c, struct batch *b, sink_done *done, void *arg, struct error *e)
{
	struct account *head = &c->s->head_account;
	size_t bytes = batch_bytes(b).n;
	struct waiting *w;
	int r = 0;

	if (bytes > head->limit)
		return error_set(e, ERR_LIMIT,
			"a batch of %zu bytes is more than the %llu that may be held: send smaller "
			"ones or raise memory",
			bytes, (unsigned long long)head->limit);
	if (!charge_head(c, bytes))
		return error_set(e, ERR_BUSY,
			"memory for lines on their way into parts is full: %llu of %llu bytes",
			(unsigned long long)account_held(head), (unsigned long long)head->limit);
	w = xcalloc(1, sizeof *w);
	*w = (struct waiting){.batch = b, .done = done, .arg = arg, .charged = bytes};
	lock_take(&c->lock);
	if (c->stopping) {
		r = error_set(e, ERR_CLOSED, "the store is closing");
	} else if (c->health.code < 0) {
		r = error_set(e, c->health.code, "%s", c->health.text);
	} else {
		list_append(&c->queue, &w->node);
		c->n_queued++;
		cond_signal(&c->wake);
	}
	lock_drop(&c->lock);
	if (r < 0) {
		account_release(head, bytes);
		free(w);
	}
	return r;
}

void committer_poke(struct committer *c)
{
	lock_take(&c->lock);
	cond_signal(&c->wake);
	lock_drop(&c->lock);
}

void committer_roll(struct committer *c)
{
	lock_take(&c->lock);
	c->roll_wanted = true;
	cond_signal(&c->wake);
	lock_drop(&c->lock);
}

int committer_healthy(struct committer *c, struct error *e)
{
	int r;

	lock_take(&c->lock);
	r = c->health.code;
	if (r < 0)
		error_set(e, r, "%s", c->health.text);
	lock_drop(&c->lock);
	return r;
}

static void set_health(struct committer *c, const struct error *e)
{
	bool changed;

	lock_take(&c->lock);
	changed = (e != NULL) != (c->health.code < 0);
	if (e)
		c->health = *e;
	else
		c->health = (struct error){0};
	/* Callers know a full disk and a broken one; nothing else is theirs to tell apart. */
	if (e && c->health.code != ERR_FULL)
		c->health.code = ERR_IO;
	lock_drop(&c->lock);
	if (changed && e)
		log_error("store", "not accepting records: %s", e->text);
	else if (changed)
		log_info("store", "accepting records again");
}

/* Space */

static int check_space(struct committer *c, struct error *e)
{
	const struct store_options *o = &c->s->o;
	uint64_t free_bytes, total;

	c->space_checked_group = c->groups;
	c->space_checked_ns = clock_mono_ns(o->clock);
	if (fs_space(o->fs, o->dir, &free_bytes, &total, NULL) < 0 ||
		free_bytes >= o->reserve_bytes)
		return 0; /* unknown is not full: the write will tell */
	return error_set(e, ERR_FULL,
		"disk full: %s has %lluMiB free, %lluMiB are kept in reserve: free some space, "
		"records are taken again at once",
		o->dir, (unsigned long long)(free_bytes >> 20),
		(unsigned long long)(o->reserve_bytes >> 20));
}

static bool space_check_due(const struct committer *c)
{
	return c->groups == 0 || c->groups - c->space_checked_group >= SPACE_CHECK_GROUPS ||
	       clock_mono_ns(c->s->o.clock) - c->space_checked_ns >= NS_PER_SEC;
}

/* Duplicates */

struct finder {
	struct position_old *old;
	size_t n;
};

static int compare_old(const void *a, const void *b)
{
	const struct position_old *x = a, *y = b;

	return x->position < y->position ? -1 : x->position > y->position;
}

static int found_rows(void *ctx, const struct rows *rows, struct error *e)
{
	struct finder *f = ctx;

	for (size_t i = 0; i < rows->n; i++) {
		uint32_t at = rows->pick[i];
		struct position_old key = {.position = rows->position[at]};
		struct position_old *old = bsearch(&key, f->old, f->n, sizeof key, compare_old);

		if (old && rows->seq[at] > old->seq) {
			old->seq = rows->seq[at];
			old->hash = hash_stable(rows->body[at]);
		}
	}
	return 0;
}

/* The committed lines under these numbers: one scan of what the source has sent.  It is not
 * charged, as it must not fail for want of memory, and holds one block at a time. */
static void find_old(
	void *ctx, struct str tenant, struct str source, struct position_old *old, size_t n)
{
	struct store *s = ctx;
	struct finder f = {.old = old, .n = n};
	struct scan scan = {
		.tenant = tenant,
		.from_ns = INT64_MIN,
		.to_ns = INT64_MAX,
		.source = source,
		.order = SCAN_BY_SEQ,
		.columns = SCAN_BODY | SCAN_SOURCE,
		.hidden_too = true,
		.ctx = &f,
		.rows = found_rows,
	};
	struct snapshot *sn = snapshot_take(s);
	struct error e;

	if (snapshot_scan(sn, &scan, &e) < 0)
		log_warn("store", "looking for earlier lines of %.*s: %s", STR_ARG(source), e.text);
	snapshot_free(sn);
}

/* Groups */

static void add_entry(
	struct group *g, enum journal_type type, uint64_t n_records, struct str payload)
{
	g->entries[g->n_entries++] = (struct journal_entry){
		.type = type,
		.first_seq = g->next_seq,
		.n_records = (uint32_t)n_records,
		.commit_ns = g->now_ns,
		.payload = payload,
	};
	g->next_seq += n_records;
	g->bytes += payload.n + 64;
}

static void replace_batch(struct committer *c, struct waiting *w, const uint8_t *drop)
{
	struct batch *kept = batch_without(w->batch, drop);

	account_force(&c->s->head_account, batch_bytes(kept).n);
	account_release(&c->s->head_account, w->charged);
	batch_unref(w->batch);
	w->batch = kept;
	w->charged = batch_bytes(kept).n;
}

static void drop_duplicates(struct committer *c, struct waiting *w, struct position_check *check)
{
	replace_batch(c, w, check->drop);
	w->result.n_duplicates = check->n_drop;
	free(check->drop);
}

/* Records that are older than retention keeps any are not stored. */
static void drop_old(struct committer *c, struct waiting *w)
{
	uint8_t *drop;
	size_t n = store_too_old(c->s, w->batch, &drop);

	if (n > 0) {
		ledger_stage(c->s->ledger, LEDGER_REJECTED, batch_tenant(w->batch),
			batch_input(w->batch), STR("too_old"), n);
		replace_batch(c, w, drop);
		w->result.n_too_old = n;
	}
	free(drop);
}

/* Decide what of one batch goes into the group. */
static void prepare(struct committer *c, struct group *g, struct waiting *w)
{
	struct store *s = c->s;
	struct position_check check;
	size_t n;

	w->result.code =
		positions_check(s->positions, w->batch, find_old, s, &check, &w->result.error);
	if (w->result.code < 0) {
		w->result.mark = check.mark;
		return;
	}
	if (check.n_drop > 0 && s->o.dedupe_off) {
		free(check.drop);
	} else if (check.n_drop > 0) {
		drop_duplicates(c, w, &check);
		ledger_stage(s->ledger, LEDGER_DEDUPLICATED, batch_tenant(w->batch),
			batch_input(w->batch), STR_NONE, check.n_drop);
	}
	drop_old(c, w);
	n = batch_count(w->batch);
	w->result.first_seq = n > 0 ? g->next_seq : 0;
	w->result.n_committed = n;
	if (n == 0 && !check.moves)
		return;
	w->write = true;
	batch_set_first_seq(w->batch, g->next_seq);
	positions_stage(s->positions, w->batch);
	add_entry(g, JOURNAL_BATCH, n, batch_bytes(w->batch));
}

static int roll(struct committer *c, const struct group *g, struct error *e)
{
	struct chunks state = {0};
	int r;

	store_snapshot_state(c->s, &state);
	r = journal_roll(c->s->journal, g->first_seq, g->now_ns, &state, NULL, 0, e);
	chunks_fini(&state);
	return r;
}

static int write_once(struct committer *c, const struct group *g, struct error *e)
{
	struct journal *j = c->s->journal;
	int r = journal_wants_roll(j, g->bytes) ? roll(c, g, e) : 0;

	return r < 0 ? r : journal_append(j, g->entries, g->n_entries, e);
}

static int write_group(struct committer *c, const struct group *g, struct error *e)
{
	int r;

	if (space_check_due(c) && (r = check_space(c, e)) < 0)
		return r;
	if ((r = write_once(c, g, e)) == 0)
		return 0;
	/* The state of that file is unknown now: once more, in a new one. */
	log_warn("store", "%s; writing the group again in a new segment", e->text);
	return write_once(c, g, e);
}

static void publish(struct committer *c, struct group *g)
{
	struct store *s = c->s;
	uint64_t chunk_bytes = s->o.part_bytes / 4;
	int64_t mono_ns = clock_mono_ns(s->o.clock);
	bool was_empty;

	lock_take(&s->lock);
	was_empty = s->head.n == 0;
	for (size_t i = 0; i < g->n; i++) {
		struct waiting *w = g->w[i];

		if (!w->write || batch_count(w->batch) == 0)
			continue;
		batch_set_account(w->batch, &s->head_account);
		w->charged = 0;
		head_append(&s->head, batch_ref(w->batch), chunk_bytes, mono_ns);
	}
	atomic_store(&s->last_seq, g->next_seq - 1);
	if (was_empty || s->head.bytes >= s->o.part_bytes)
		cond_signal(&s->work);
	lock_drop(&s->lock);
	c->next_seq = g->next_seq;
	positions_commit(s->positions);
	ledger_commit(s->ledger);
	for (size_t i = 0; i < g->n; i++) {
		if (!g->w[i]->write || batch_count(g->w[i]->batch) == 0)
			continue;
		ledger_committed(s->ledger, g->w[i]->batch, false);
		appcount_batch(&c->apps, g->w[i]->batch);
	}
	store_run_watches(s);
}

static void refuse(struct committer *c, struct group *g, const struct error *e)
{
	positions_abort(c->s->positions);
	ledger_abort(c->s->ledger);
	for (size_t i = 0; i < g->n; i++) {
		struct sink_result *result = &g->w[i]->result;

		/* A gap's mark may be one that was staged with this group and is void now. */
		if (result->code < 0 && result->code != ERR_GAP)
			continue;
		*result = (struct sink_result){.code = e->code == ERR_FULL ? ERR_FULL : ERR_IO};
		error_set(&result->error, result->code, "%s", e->text);
	}
}

static void acknowledge(struct group *g)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->w[i]->done)
			g->w[i]->done(g->w[i]->arg, &g->w[i]->result);
}

static void run_group(struct committer *c, struct waiting **w, size_t n, const struct error *health)
{
	struct group g = {
		.w = w,
		.n = n,
		.entries = xcalloc(n + 1, sizeof *g.entries),
		.first_seq = c->next_seq,
		.next_seq = c->next_seq,
		.now_ns = clock_now_ns(c->s->o.clock),
	};
	struct error e = *health;
	bool acknowledged = false;
	int r = health->code;

	for (size_t i = 0; i < n && r == 0; i++)
		prepare(c, &g, w[i]);
	if (r == 0 && ledger_pending(c->s->ledger)) {
		ledger_take(c->s->ledger, &g.ledger);
		add_entry(&g, JOURNAL_LEDGER, 0, buf_view(&g.ledger));
	}
	if (c->s->o.ack_early && r == 0) {
		acknowledge(&g);
		acknowledged = true;
	}
	if (r == 0 && g.n_entries > 0) {
		r = write_group(c, &g, &e);
		c->groups++;
	}
	if (r == 0) {
		publish(c, &g);
	} else {
		refuse(c, &g, &e);
		if (health->code == 0)
			set_health(c, &e);
	}
	/* Before somebody is told, who may want the room for another try. */
	for (size_t i = 0; i < n; i++)
		account_release(&c->s->head_account, w[i]->charged);
	if (!acknowledged)
		acknowledge(&g);
	for (size_t i = 0; i < n; i++) {
		batch_unref(w[i]->batch);
		free(w[i]);
	}
	buf_fini(&g.ledger);
	free(g.entries);
}

/* Try whether the disk takes a new segment again. */
static void heal(struct committer *c)
{
	struct group empty = {
		.first_seq = c->next_seq,
		.now_ns = clock_now_ns(c->s->o.clock),
	};
	struct error e = {0};

	c->heal_tried_ns = clock_mono_ns(c->s->o.clock);
	if (check_space(c, &e) < 0 || roll(c, &empty, &e) < 0)
		set_health(c, &e);
	else
		set_health(c, NULL);
}

/* One that is asked for.  A failure shows in the next group, which then begins one. */
static void begin_segment(struct committer *c)
{
	struct group empty = {
		.first_seq = c->next_seq,
		.now_ns = clock_now_ns(c->s->o.clock),
	};
	struct error e;

	if (roll(c, &empty, &e) < 0)
		log_warn("store", "a new segment of the journal: %s", e.text);
}

static int64_t heal_left_ns(const struct committer *c)
{
	int64_t left = c->heal_tried_ns + HEAL_NS - clock_mono_ns(c->s->o.clock);

	return left > 0 ? left : 0;
}

/* The thread */

static size_t take_group(struct committer *c, struct waiting **w) REQUIRES(c->lock)
{
	uint64_t bytes = 0;
	size_t n = 0;

	while (!list_empty(&c->queue) && n < GROUP_BATCHES && bytes < GROUP_BYTES) {
		w[n] = CONTAINER(c->queue.next, struct waiting, node);
		bytes += batch_bytes(w[n]->batch).n;
		list_remove(&w[n]->node);
		n++;
	}
	c->n_queued -= n;
	return n;
}

/* An empty record behind the last group: it proves to the next start that all before it was
 * synced (journal.c). */
static void close_journal(struct committer *c)
{
	struct group g = {.first_seq = c->next_seq, .now_ns = clock_now_ns(c->s->o.clock)};
	struct journal_entry entry = {
		.type = JOURNAL_LEDGER, .first_seq = c->next_seq, .commit_ns = g.now_ns};
	struct error e;

	if (committer_healthy(c, NULL) < 0)
		return;
	ledger_take(c->s->ledger, &g.ledger);
	entry.payload = buf_view(&g.ledger);
	g.entries = &entry;
	g.n_entries = 1;
	if (write_once(c, &g, &e) < 0)
		log_warn("store", "closing the journal: %s", e.text);
	ledger_commit(c->s->ledger);
	buf_fini(&g.ledger);
}

static void *run(void *arg)
{
	struct committer *c = arg;
	struct waiting **w = xmalloc(GROUP_BATCHES * sizeof(struct waiting *));
	bool stop = false;

	while (!stop) {
		struct error health;
		bool timed_out = false, roll_wanted;
		size_t n;

		lock_take(&c->lock);
		while (list_empty(&c->queue) && !c->stopping && !timed_out && !c->roll_wanted) {
			/* By the clock: senders that keep trying must not put it off. */
			if (c->health.code < 0)
				timed_out = !cond_wait_for(&c->wake, &c->lock, heal_left_ns(c));
			else if (ledger_pending(c->s->ledger))
				timed_out = !cond_wait_for(&c->wake, &c->lock, LEDGER_NS);
			else
				cond_wait(&c->wake, &c->lock);
		}
		n = take_group(c, w);
		health = c->health;
		stop = c->stopping && list_empty(&c->queue);
		roll_wanted = c->roll_wanted;
		c->roll_wanted = false;
		lock_drop(&c->lock);
		if (roll_wanted && health.code == 0)
			begin_segment(c);
		if (health.code < 0 && !stop && (timed_out || heal_left_ns(c) == 0)) {
			heal(c);
			lock_take(&c->lock);
			health = c->health;
			lock_drop(&c->lock);
		}
		if (n > 0 || (timed_out && health.code == 0))
			run_group(c, w, n, &health);
	}
	close_journal(c);
	free(w);
	return NULL;
}

struct committer *committer_new(struct store *s, uint64_t next_seq, const struct error *health)
{
	struct committer *c = xcalloc(1, sizeof *c);

	c->s = s;
	c->next_seq = next_seq;
	c->health = *health;
	lock_init(&c->lock);
	cond_init(&c->wake);
	list_init(&c->queue);
	c->thread = thread_start("commit", run, c);
	return c;
}

void committer_stop(struct committer *c)
{
	lock_take(&c->lock);
	c->stopping = true;
	cond_signal(&c->wake);
	lock_drop(&c->lock);
	pthread_join(c->thread, NULL);
}

void committer_free(struct committer *c)
{
	if (!c)
		return;
	assert(list_empty(&c->queue));
	appcount_fini(&c->apps);
	cond_fini(&c->wake);
	lock_fini(&c->lock);
	free(c);
}

void committer_dump(struct committer *c, struct buf *out)
{
	lock_take(&c->lock);
	buf_printf(out, "committer: %zu batches queued, %s\n", c->n_queued,
		c->health.code < 0 ? c->health.text : "healthy");
	lock_drop(&c->lock);
}
