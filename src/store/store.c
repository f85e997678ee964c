/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of the store, and the builder.
 *
 * The builder takes sealed chunks from the front of the head, lets the engine
 * make them durable, and then, under one lock, shows the part and drops the
 * chunks: a snapshot finds each record in one of the two.  It never holds the
 * lock while it builds, so commits go on.  A build that fails (disk full)
 * is tried again each second; until it works the head fills and inputs get
 * ERR_BUSY: nothing is lost, the journal has it.
 */
#include "store/store.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/metric.h"
#include "store/core.h"
#include "store/parts/parts.h"
#include "store/retain.h"

#define BUILD_RETRY_NS NS_PER_SEC
#define AGE_LOOK_NS    (60 * NS_PER_SEC) /* how often an old head is looked for */

enum {
	DEFAULT_MEMORY = 256 << 20, /* when the account has no limit */
	SMALL_MEMORY = 64 << 20,
	PART_BYTES_MAX = 64 << 20,
	PART_BYTES_MIN = 64 << 10,
	SEGMENT_BYTES_MAX = 64 << 20,
	SEGMENT_BYTES_MIN = 256 << 10,
	RESERVE_BYTES = 64 << 20,
	HASH_BYTES = 16, /* of a remembered line */
};

struct store_watch {
	struct list node;
	void (*committed)(void *arg);
	void *arg;
};

struct drop_watch {
	struct list node;
	void (*dropped)(void *arg, uint64_t first_seq, uint64_t last_seq, uint64_t records);
	void *arg;
};

static struct store *store_of(struct sink *sink)
{
	return (struct store *)sink;
}

/* The sink */

static int submit(struct sink *sink, struct batch *b, sink_done *done, void *arg, struct error *e)
{
	return committer_submit(store_of(sink)->committer, b, done, arg, e);
}

static int position(
	struct sink *sink, struct str tenant, struct str source, struct buf *token, uint64_t *mark)
{
	return positions_get(store_of(sink)->positions, tenant, source, token, mark);
}

static void account(struct sink *sink, struct str tenant, struct str input, const char *reason,
	uint64_t n, bool answered)
{
	struct store *s = store_of(sink);

	ledger_add(s->ledger, answered ? LEDGER_REJECTED : LEDGER_DROPPED, tenant, input,
		str_c(reason), n);
	committer_poke(s->committer);
}

struct sink *store_sink(struct store *s)
{
	return &s->sink;
}

/* Building */

int store_build(struct store *s, struct error *e)
{
	const struct engine_type *type = engine_type(s->engine);
	struct batch **batches;
	size_t chunks, n;
	int r;

	lock_take(&s->lock);
	chunks = head_run(&s->head, s->o.part_bytes, &batches, &n);
	lock_drop(&s->lock);
	if (chunks == 0)
		return 0;
	/* The chunks stay in the head until head_drop, and only this thread drops. */
	r = type->write(s->engine, batches, n, e);
	free(batches);
	if (r < 0)
		return r;
	lock_take(&s->lock);
	type->publish(s->engine);
	head_drop(&s->head, chunks);
	lock_drop(&s->lock);
	retainer_wake(s->retainer);
	return 0;
}

/* Not during recovery, which is still reading them and has no segment of its own yet. */
void store_trim_journal(struct store *s)
{
	uint64_t safe_seq;

	lock_take(&s->lock);
	safe_seq = s->head.n > 0 ? head_first_seq(&s->head) - 1 : atomic_load(&s->last_seq);
	lock_drop(&s->lock);
	journal_delete_upto(s->journal, safe_seq);
}

static bool should_build(struct store *s) REQUIRES(s->lock)
{
	if (s->head.n == 0)
		return false;
	return s->head.bytes >= s->o.part_bytes || head_first_seq(&s->head) <= s->flush_seq ||
	       clock_mono_ns(s->o.clock) - s->head.chunks[0]->born_mono_ns >= s->o.part_age_ns;
}

static void *run_builder(void *arg)
{
	struct store *s = arg;

	lock_take(&s->lock);
	while (!s->stopping) {
		struct error e = {0};
		int r;

		if (!should_build(s)) {
			if (s->head.n == 0)
				cond_wait(&s->work, &s->lock);
			else
				cond_wait_for(&s->work, &s->lock, AGE_LOOK_NS);
			continue;
		}
		lock_drop(&s->lock);
		if ((r = store_build(s, &e)) < 0)
			log_warn("store", "cannot build a part, trying again: %s", e.text);
		else
			store_trim_journal(s);
		lock_take(&s->lock);
		s->build_error = e;
		s->build_failures += r < 0;
		cond_broadcast(&s->built);
		if (r < 0) {
			s->flush_seq = 0;
			if (!s->stopping)
				cond_wait_for(&s->work, &s->lock, BUILD_RETRY_NS);
		}
	}
	lock_drop(&s->lock);
	return NULL;
}

void store_ask_build(struct store *s, uint64_t seq)
{
	lock_take(&s->lock);
	s->flush_seq = seq > s->flush_seq ? seq : s->flush_seq;
	cond_signal(&s->work);
	lock_drop(&s->lock);
}

int store_flush(struct store *s, struct error *e)
{
	uint64_t failures, seq;
	int r = 0;

	lock_take(&s->lock);
	seq = atomic_load(&s->last_seq);
	failures = s->build_failures;
	while (s->head.n > 0 && head_first_seq(&s->head) <= seq && !s->stopping) {
		if (s->build_failures != failures) {
			r = error_set(e, s->build_error.code, "%s", s->build_error.text);
			break;
		}
		s->flush_seq = seq > s->flush_seq ? seq : s->flush_seq;
		cond_signal(&s->work);
		cond_wait(&s->built, &s->lock);
	}
	lock_drop(&s->lock);
	return r;
}

/* Watches */

struct store_watch *store_watch_add(struct store *s, void (*committed)(void *arg), void *arg)
{
	struct store_watch *w = xcalloc(1, sizeof *w);

	w->committed = committed;
	w->arg = arg;
	lock_take(&s->watch_lock);
	list_append(&s->watches, &w->node);
	lock_drop(&s->watch_lock);
	return w;
}

void store_watch_remove(struct store *s, struct store_watch *w)
{
	if (!w)
		return;
	lock_take(&s->watch_lock);
	list_remove(&w->node);
	lock_drop(&s->watch_lock);
	free(w);
}

void store_watch_drops(struct store *s,
	void (*dropped)(void *arg, uint64_t first_seq, uint64_t last_seq, uint64_t records),
	void *arg)
{
	struct drop_watch *w = NULL;

	lock_take(&s->watch_lock);
	LIST_EACH (at, &s->drop_watches)
		if (CONTAINER(at, struct drop_watch, node)->arg == arg)
			w = CONTAINER(at, struct drop_watch, node);
	if (!w && dropped) {
		w = xcalloc(1, sizeof *w);
		w->arg = arg;
		list_append(&s->drop_watches, &w->node);
	} else if (w && !dropped) {
		list_remove(&w->node);
		free(w);
		w = NULL;
	}
	if (w)
		w->dropped = dropped;
	lock_drop(&s->watch_lock);
}

void store_run_drop_watches(
	struct store *s, uint64_t first_seq, uint64_t last_seq, uint64_t records)
{
	lock_take(&s->watch_lock);
	LIST_EACH (at, &s->drop_watches) {
		struct drop_watch *w = CONTAINER(at, struct drop_watch, node);

		w->dropped(w->arg, first_seq, last_seq, records);
	}
	lock_drop(&s->watch_lock);
}

void store_run_watches(struct store *s)
{
	lock_take(&s->watch_lock);
	LIST_EACH (at, &s->watches) {
		struct store_watch *w = CONTAINER(at, struct store_watch, node);

		w->committed(w->arg);
	}
	lock_drop(&s->watch_lock);
}

/* Open and close */

static uint64_t clamp(uint64_t v, uint64_t min, uint64_t max)
{
	return v < min ? min : v > max ? max : v;
}

static void fill_defaults(struct store_options *o)
{
	uint64_t memory = o->account->limit == UINT64_MAX ? DEFAULT_MEMORY : o->account->limit;

	/* A segment goes when all of it is in parts: small ones go sooner, and the next reuses
	 * their pages.  With 128 MiB, ingest took 10 % more time by segments of half of it and of
	 * an eighth, which change too often. */
	if (o->segment_bytes == 0)
		o->segment_bytes = clamp(memory / 4, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
	/* The head holds one run that is built and one that comes, so this decides what ingest
	 * needs.  With 128 MiB, 288 MiB of logs at full speed: parts of a quarter of it 98 MiB in
	 * all and 13.2 MB on the disk, of an eighth the same memory and 14.0 MB.
	 * Where a merge takes a large share of the ceiling it is an eighth, with smaller blocks:
	 * with 16 MiB of memory 12 instead of 20 MiB. */
	if (o->part_bytes == 0)
		o->part_bytes = clamp(
			memory / (memory < SMALL_MEMORY ? 8 : 4), PART_BYTES_MIN, PART_BYTES_MAX);
	if (o->part_age_ns == 0)
		o->part_age_ns = 3600 * NS_PER_SEC;
	if (o->reserve_bytes == 0)
		o->reserve_bytes = RESERVE_BYTES;
	o->dir = xstrdup(o->dir);
}

static struct store *store_new(const struct store_options *o)
{
	struct store *s = xcalloc(1, sizeof *s);
	uint64_t limit;

	assert(o->fs && o->clock && o->dir && o->account);
	s->o = *o;
	fill_defaults(&s->o);
	limit = o->account->limit == UINT64_MAX ? UINT64_MAX : o->account->limit / 2;
	account_init(&s->head_account, "head", limit, o->account);
	account_init(&s->work_account, "store", UINT64_MAX, o->account);
	s->sink = (struct sink){.submit = submit, .position = position, .account = account};
	lock_init(&s->lock);
	lock_init(&s->watch_lock);
	cond_init(&s->work);
	cond_init(&s->built);
	list_init(&s->watches);
	list_init(&s->drop_watches);
	s->ledger = ledger_new();
	s->retainer = retainer_new(s);
	s->positions = positions_new(
		&s->work_account, clamp(s->o.part_bytes / (HASH_BYTES * 4), 256, 128 << 10));
	return s;
}

/* Copes with a half-open store. */
static void store_free(struct store *s)
{
	committer_free(s->committer);
	retainer_free(s->retainer);
	head_fini(&s->head);
	if (s->engine)
		engine_type(s->engine)->close(s->engine);
	journal_close(s->journal);
	positions_free(s->positions);
	ledger_free(s->ledger);
	file_close(s->lock_file);
	assert(list_empty(&s->watches));
	cond_fini(&s->work);
	cond_fini(&s->built);
	lock_fini(&s->lock);
	lock_fini(&s->watch_lock);
	free((char *)s->o.dir);
	free(s);
}

static int open_files(struct store *s, struct error *e)
{
	struct buf path = {0};
	int r;

	buf_printf(&path, "%s/LOCK", s->o.dir);
	if ((r = fs_mkdir(s->o.fs, s->o.dir, e)) < 0)
		goto out;
	if ((r = fs_lock(s->o.fs, buf_cstr(&path), &s->lock_file, e)) < 0) {
		if (r == ERR_BUSY)
			error_set(e, r, "another process is using it");
		goto out;
	}
	buf_clear(&path);
	buf_printf(&path, "%s/parts", s->o.dir);
	r = parts_open(&s->engine,
		&(struct parts_options){
			.fs = s->o.fs,
			.dir = buf_cstr(&path),
			.account = &s->work_account,
			.memory = s->o.account->limit == UINT64_MAX ? DEFAULT_MEMORY
								    : s->o.account->limit,
			.clock = s->o.clock,
			.lock = &s->lock,
			.merge_parts = s->o.merge_parts,
		},
		e);
	if (r < 0)
		goto out;
	buf_clear(&path);
	buf_printf(&path, "%s/journal", s->o.dir);
	r = journal_open(&s->journal,
		&(struct journal_options){
			.fs = s->o.fs,
			.dir = buf_cstr(&path),
			.segment_bytes = s->o.segment_bytes,
			.sync_off = s->o.sync_off,
		},
		e);
	/* The two directories themselves. */
	if (r == 0)
		r = fs_sync_dir(s->o.fs, s->o.dir, e);
out:
	buf_fini(&path);
	return r;
}

int store_open(struct store **out, const struct store_options *o, struct error *e)
{
	struct store *s = store_new(o);
	struct error trouble = {0};
	uint64_t next_seq = 1;
	int r, found;

	if ((r = open_files(s, e)) < 0 || (r = store_recover(s, &next_seq, &trouble)) < 0) {
		if (trouble.code < 0)
			error_set(e, trouble.code, "%s", trouble.text);
		store_free(s);
		return error_wrap(e, r, "store %s", o->dir);
	}
	atomic_store(&s->last_seq, next_seq - 1);
	retainer_load(s->retainer);
	if (o->retention && (found = store_retain(s, o->retention, e)) < 0) {
		store_free(s);
		return error_wrap(e, found, "store %s", o->dir);
	}
	s->o.retention = NULL; /* the caller's */
	ledger_show(s->ledger);
	if (r > 0) {
		trouble.code = trouble.code == ERR_FULL ? ERR_FULL : ERR_IO;
		log_error("store", "not accepting records: %s", trouble.text);
	} else {
		trouble = (struct error){0};
		store_trim_journal(s);
	}
	s->committer = committer_new(s, next_seq, &trouble);
	s->builder = thread_start("builder", run_builder, s);
	retainer_start(s->retainer);
	*out = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	retainer_stop(s->retainer);
	committer_stop(s->committer);
	lock_take(&s->lock);
	s->stopping = true;
	cond_signal(&s->work);
	cond_broadcast(&s->built);
	lock_drop(&s->lock);
	pthread_join(s->builder, NULL);
	store_free(s);
}

/* Figures */

const struct store_recovery *store_recovery(const struct store *s)
{
	return &s->recovery;
}

int store_healthy(struct store *s, struct error *e)
{
	return committer_healthy(s->committer, e);
}

uint64_t store_last_seq(struct store *s)
{
	return atomic_load(&s->last_seq);
}

static void figures(
	struct store *s, struct engine_figures *parts, uint64_t *head_bytes, uint64_t *head_records)
{
	lock_take(&s->lock);
	engine_type(s->engine)->figures(s->engine, parts);
	*head_bytes = s->head.bytes;
	*head_records = s->head.records;
	lock_drop(&s->lock);
}

static void account_metrics(const struct account *a)
{
	struct buf labels = {0};

	metric_label(&labels, "account", str_c(a->name));
	metric_set(METRIC_memory_held_bytes, buf_cstr(&labels), (int64_t)account_held(a));
	metric_set(METRIC_memory_refused_total, labels.p, (int64_t)atomic_load(&a->refused));
	if (a->limit != UINT64_MAX)
		metric_set(METRIC_memory_limit_bytes, labels.p, (int64_t)a->limit);
	buf_fini(&labels);
}

void store_metrics(struct store *s)
{
	struct engine_figures parts;
	uint64_t head_bytes, head_records, own, limit;
	int64_t syncs = (int64_t)journal_syncs(s->journal);

	figures(s, &parts, &head_bytes, &head_records);
	metric_set(METRIC_journal_bytes, "", (int64_t)journal_bytes(s->journal));
	metric_set(METRIC_journal_syncs_total, "", syncs);
	metric_set(METRIC_head_bytes, "", (int64_t)head_bytes);
	metric_set(METRIC_head_records, "", (int64_t)head_records);
	metric_set(METRIC_parts, "", (int64_t)parts.parts);
	metric_set(METRIC_part_bytes, "", (int64_t)parts.bytes);
	metric_set(METRIC_part_records, "", (int64_t)parts.records);
	metric_set(METRIC_part_bytes_written_total, "", (int64_t)parts.written_bytes);
	store_size(s, &own, &limit);
	metric_set(METRIC_store_bytes, "", (int64_t)own);
	metric_set(METRIC_oldest_record_timestamp_seconds, "",
		parts.oldest_ns == INT64_MAX ? 0 : parts.oldest_ns / NS_PER_SEC);
	metric_set(METRIC_store_limit_bytes, "", (int64_t)limit);
	metric_set(METRIC_retention_clock_ahead, "", retainer_clock_ahead(s->retainer));
	metric_set(METRIC_sequence, "", (int64_t)store_last_seq(s));
	metric_set(METRIC_healthy, "", store_healthy(s, NULL) == 0);
	account_metrics(s->o.account);
	account_metrics(&s->head_account);
	account_metrics(&s->work_account);
}

void store_dump(struct store *s, struct buf *out)
{
	struct engine_figures parts;
	uint64_t head_bytes, head_records;

	figures(s, &parts, &head_bytes, &head_records);
	buf_printf(out, "store %s: last sequence %llu\n", s->o.dir,
		(unsigned long long)store_last_seq(s));
	committer_dump(s->committer, out);
	buf_printf(out, "head: %llu records, %llu bytes; account %llu of %llu, %llu refused\n",
		(unsigned long long)head_records, (unsigned long long)head_bytes,
		(unsigned long long)account_held(&s->head_account),
		(unsigned long long)s->head_account.limit,
		(unsigned long long)atomic_load(&s->head_account.refused));
	buf_printf(out, "positions: %zu sources\n", positions_count(s->positions));
	journal_dump(s->journal, out);
	lock_take(&s->lock);
	engine_type(s->engine)->dump(s->engine, out);
	lock_drop(&s->lock);
	retainer_dump(s->retainer, out);
}
