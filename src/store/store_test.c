/* SPDX-License-Identifier: Apache-2.0 */
/* The store as its users see it, on the fake disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/lock.h"
#include "base/metric.h"
#include "os/fake.h"
#include "store/cursor.h"
#include "store/store.h"

struct env {
	struct fs *fs;
	struct clock *clock;
	struct account memory;
	struct store_options o;
	struct store *s;
};

static void env_init(struct env *v, uint64_t seed, uint64_t memory)
{
	*v = (struct env){.fs = fs_fake_new(seed), .clock = clock_fake_new(1000 * NS_PER_SEC)};
	account_init(&v->memory, "memory", memory, NULL);
	v->o = (struct store_options){
		.fs = v->fs, .clock = v->clock, .dir = "data", .account = &v->memory};
}

static void env_open(struct env *v)
{
	struct error e = {0};

	if (store_open(&v->s, &v->o, &e) < 0)
		fail_msg("%s", e.text);
}

static void env_close(struct env *v)
{
	store_close(v->s);
	v->s = NULL;
}

static void env_fini(struct env *v)
{
	store_close(v->s);
	assert_int_equal(account_held(&v->memory), 0);
	fs_fake_free(v->fs);
	clock_fake_free(v->clock);
}

struct done {
	struct lock lock;
	struct cond cond;
	bool called;
	struct sink_result result;
};

static void on_done(void *arg, const struct sink_result *result)
{
	struct done *d = arg;

	lock_take(&d->lock);
	d->called = true;
	d->result = *result;
	cond_signal(&d->cond);
	lock_drop(&d->lock);
}

static struct sink_result submit(struct store *s, struct batch *b)
{
	struct done d = {0};
	struct error e = {0};
	int r;

	lock_init(&d.lock);
	cond_init(&d.cond);
	while ((r = sink_submit(store_sink(s), b, on_done, &d, &e)) == ERR_BUSY) {
		struct timespec ts = {.tv_nsec = 1000000};

		nanosleep(&ts, NULL);
	}
	if (r < 0) {
		d.result.code = r;
		d.result.error = e;
		batch_unref(b);
	} else {
		lock_take(&d.lock);
		while (!d.called)
			cond_wait(&d.cond, &d.lock);
		lock_drop(&d.lock);
	}
	cond_fini(&d.cond);
	lock_fini(&d.lock);
	return d.result;
}

static int sink_mark(struct store *s, const char *source, uint64_t *mark)
{
	return store_sink(s)->position(store_sink(s), STR("t"), str_c(source), NULL, mark);
}

static struct buf labels_of(const char *app)
{
	struct labels_builder lb = {0};
	struct buf out = {0};

	assert_int_equal(labels_builder_set(&lb, STR("app"), str_c(app), NULL), 0);
	labels_builder_write(&lb, &out);
	labels_builder_fini(&lb);
	return out;
}

/* n lines "<app> <position> …" of a source, positions from + 1 … from + n. */
static struct batch *make_batch(const char *tenant, const char *app, const char *source,
	enum position_kind kind, uint64_t from, size_t n, const char *tag)
{
	struct batch_builder *bb = batch_builder_new(str_c(tenant), STR("test"), 5);
	struct buf labels = labels_of(app), line = {0};
	uint32_t stream = batch_builder_stream(bb, buf_view(&labels));
	struct batch_source bs = {.id = str_c(source), .from = from, .to = from + n, .kind = kind};
	uint16_t index = source ? batch_builder_source(bb, &bs) : 0;
	struct batch *b;

	for (size_t i = 0; i < n; i++) {
		struct record r = {.stream = stream, .source = index, .severity = 9};

		buf_clear(&line);
		buf_printf(&line, "%s %s %llu%s", app, source ? source : "-",
			(unsigned long long)(from + i + 1), tag);
		r.position = source ? from + i + 1 : 0;
		r.timestamp = (int64_t)((from + i) * 7919 % 1000) * NS_PER_SEC;
		r.body = buf_view(&line);
		assert_int_equal(batch_builder_add(bb, &r, NULL), 0);
	}
	b = batch_builder_finish(bb, 0);
	batch_builder_free(bb);
	buf_fini(&labels);
	buf_fini(&line);
	return b;
}

/* All lines of a tenant, by sequence. */
struct line {
	uint64_t seq, position;
	char *body, *source;
};

struct lines {
	struct line *p;
	size_t n, cap;
	size_t warnings;
};

static int add_lines(void *ctx, const struct rows *rows, struct error *e)
{
	struct lines *l = ctx;

	for (size_t i = 0; i < rows->n; i++) {
		uint32_t at = rows->pick[i];
		struct str source =
			rows->source[at] ? rows->sources[rows->source[at] - 1] : STR("");

		if (l->n == l->cap) {
			l->cap = l->cap ? l->cap * 2 : 64;
			l->p = xrealloc(l->p, l->cap * sizeof *l->p);
		}
		l->p[l->n++] = (struct line){rows->seq[at], rows->position[at],
			str_dup(rows->body[at]), str_dup(source)};
	}
	return 0;
}

static void add_warning(void *ctx, const char *sentence)
{
	((struct lines *)ctx)->warnings++;
}

static int compare_lines(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static struct lines read_all(struct store *s, const char *tenant, enum scan_order order)
{
	struct lines l = {0};
	struct scan scan = {
		.tenant = str_c(tenant),
		.from_ns = INT64_MIN,
		.to_ns = INT64_MAX,
		.order = order,
		.columns = SCAN_BODY | SCAN_META | SCAN_SOURCE,
		.ctx = &l,
		.rows = add_lines,
		.warn = add_warning,
	};
	struct snapshot *sn = snapshot_take(s);
	struct error e = {0};

	if (snapshot_scan(sn, &scan, &e) < 0)
		fail_msg("%s", e.text);
	snapshot_free(sn);
	if (l.n > 1)
		qsort(l.p, l.n, sizeof *l.p, compare_lines);
	for (size_t i = 1; i < l.n; i++)
		assert_true(l.p[i - 1].seq < l.p[i].seq);
	return l;
}

static void lines_free(struct lines *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->p[i].body);
		free(l->p[i].source);
	}
	free(l->p);
}

/* ---- tests ---- */

static void commits_and_reads_back(void **state)
{
	struct env v;
	struct sink_result r;
	struct lines l;

	env_init(&v, 1, 16 << 20);
	env_open(&v);
	r = submit(v.s, make_batch("t", "web", NULL, 0, 0, 10, ""));
	assert_int_equal(r.code, 0);
	assert_int_equal(r.first_seq, 1);
	assert_int_equal(r.n_committed, 10);
	submit(v.s, make_batch("other", "web", NULL, 0, 0, 3, ""));
	for (int i = 0; i < 3; i++) {
		l = read_all(v.s, "t", SCAN_NEWEST_FIRST);
		assert_int_equal(l.n, 10);
		assert_string_equal(l.p[9].body, "web - 10");
		lines_free(&l);
		if (i == 0) {
			env_close(&v);
			env_open(&v);
			assert_int_equal(store_last_seq(v.s), 13);
			assert_int_equal(store_recovery(v.s)->records, 13);
		} else {
			assert_int_equal(store_flush(v.s, NULL), 0);
		}
	}
	env_close(&v);
	env_open(&v);
	assert_int_equal(store_recovery(v.s)->records, 0);
	assert_int_equal(store_recovery(v.s)->damaged, 0);
	r = submit(v.s, make_batch("t", "web", NULL, 0, 0, 1, ""));
	assert_int_equal(r.first_seq, 14);
	env_fini(&v);
}

static void positions_are_exactly_once(void **state)
{
	struct env v;
	struct sink_result r;
	struct lines l;
	uint64_t mark = 0;

	env_init(&v, 2, 16 << 20);
	env_open(&v);
	assert_int_equal(sink_mark(v.s, "f", &mark), ERR_NOT_FOUND);
	for (int round = 0; round < 4; round++) {
		r = submit(v.s, make_batch("t", "a", "f", POSITION_MARK, 100, 10, ""));
		assert_int_equal(r.code, 0);
		assert_int_equal(r.n_committed, round == 0 ? 10 : 0);
		assert_int_equal(r.n_duplicates, round == 0 ? 0 : 10);
		r = submit(v.s, make_batch("t", "a", "n", POSITION_SET, 5, 10, ""));
		assert_int_equal(r.n_duplicates, round == 0 ? 0 : 10);
		/* Half old, half new. */
		r = submit(v.s, make_batch("t", "a", "f", POSITION_MARK, 105 + 5 * (uint64_t)round,
					10, ""));
		assert_int_equal(r.n_committed, 5);
		r = submit(v.s, make_batch("t", "a", "f", POSITION_MARK, 1000, 10, ""));
		assert_int_equal(r.code, ERR_GAP);
		assert_int_equal(r.mark, 115 + 5 * (uint64_t)round);
		/* After a restart the hashes of lines are gone, with the parts they are read again.
		 */
		if (round == 1)
			assert_int_equal(store_flush(v.s, NULL), 0);
		env_close(&v);
		env_open(&v);
		assert_int_equal(sink_mark(v.s, "f", &mark), 0);
		assert_int_equal(mark, 115 + 5 * (uint64_t)round);
	}
	r = submit(v.s, make_batch("t", "a", "n", POSITION_SET, 5, 10, " new"));
	assert_int_equal(r.n_committed, 10);
	/* The newest version counts. */
	r = submit(v.s, make_batch("t", "a", "n", POSITION_SET, 5, 10, ""));
	assert_int_equal(r.n_committed, 10);
	r = submit(v.s, make_batch("t", "a", "n", POSITION_MARK, 0, 1, ""));
	assert_int_equal(r.code, ERR_ARG);
	l = read_all(v.s, "t", SCAN_OLDEST_FIRST);
	assert_int_equal(l.n, 10 + 4 * 5 + 30);
	lines_free(&l);
	env_fini(&v);
}

/* A sender that says that the missing bytes are elsewhere: the mark jumps, once and for good. */
static void a_mark_jumps_when_told(void **state)
{
	struct env v;
	struct sink_result r;
	struct batch *b;
	uint64_t mark = 0;

	env_init(&v, 2, 16 << 20);
	env_open(&v);
	submit(v.s, make_batch("t", "a", "f", POSITION_MARK, 100, 10, ""));
	r = submit(v.s, make_batch("t", "a", "f", POSITION_MARK, 500, 10, ""));
	assert_int_equal(r.code, ERR_GAP);
	assert_int_equal(r.mark, 110);
	b = make_batch("t", "a", "f", POSITION_MARK, 500, 10, "");
	batch_set_jump(b);
	r = submit(v.s, b);
	assert_int_equal(r.code, 0);
	assert_int_equal(r.n_committed, 10);
	/* It says nothing of what comes behind it, and a resend is one still. */
	r = submit(v.s, make_batch("t", "a", "f", POSITION_MARK, 600, 10, ""));
	assert_int_equal(r.code, ERR_GAP);
	assert_int_equal(r.mark, 510);
	b = make_batch("t", "a", "f", POSITION_MARK, 505, 10, "");
	batch_set_jump(b);
	r = submit(v.s, b);
	assert_int_equal(r.n_duplicates, 5);
	assert_int_equal(r.n_committed, 5);
	env_close(&v);
	env_open(&v);
	assert_int_equal(sink_mark(v.s, "f", &mark), 0);
	assert_int_equal(mark, 515);
	env_fini(&v);
}

/* ---- crashes ---- */

enum { SOURCES = 3, STEPS = 14, STEP_LINES = 6 };

struct script {
	uint64_t acked[SOURCES], sent[SOURCES]; /* lines of each source */
};

static const char *const source_names[SOURCES] = {"mark-a", "mark-b", "set"};

static enum position_kind kind_of(int source)
{
	return source == 2 ? POSITION_SET : POSITION_MARK;
}

/* Send batches to three sources, with resends, flushes and a restart; note what is acked. */
static void run_script(struct env *v, struct script *sc)
{
	if (store_open(&v->s, &v->o, NULL) < 0)
		return;
	for (int step = 0; step < STEPS; step++) {
		for (int i = 0; i < SOURCES; i++) {
			/* A sender goes on from what was acknowledged, and sometimes from before.
			 */
			uint64_t from = sc->acked[i];
			struct sink_result r;

			if (step % 4 == 3 && from >= 2)
				from -= 2;
			if (sc->sent[i] < from + STEP_LINES)
				sc->sent[i] = from + STEP_LINES;
			r = submit(v->s, make_batch("t", "app", source_names[i], kind_of(i), from,
						 STEP_LINES, ""));
			if (r.code == 0)
				sc->acked[i] = from + STEP_LINES;
		}
		if (step % 5 == 4)
			store_flush(v->s, NULL);
		if (step == 8) {
			store_close(v->s);
			v->s = NULL;
			if (store_open(&v->s, &v->o, NULL) < 0)
				return;
		}
	}
	store_close(v->s);
	v->s = NULL;
}

/* The number of promises that were broken. */
static int check_script(struct env *v, const struct script *sc)
{
	uint64_t next[SOURCES] = {0};
	struct lines l = read_all(v->s, "t", SCAN_BY_SEQ);
	int broken = (int)l.warnings;

	for (size_t k = 0; k < l.n; k++) {
		const struct line *line = &l.p[k];
		char want[64];
		int i = 0;

		while (i < SOURCES - 1 && strcmp(line->source, source_names[i]) != 0)
			i++;
		snprintf(want, sizeof want, "app %s %llu", line->source,
			(unsigned long long)line->position);
		/* Bytes as sent, in order, no hole, none twice, none that was never sent. */
		broken += strcmp(line->body, want) != 0 || line->position != next[i] + 1 ||
			  line->position > sc->sent[i];
		next[i] = line->position;
	}
	for (int i = 0; i < SOURCES; i++)
		broken += next[i] < sc->acked[i];
	lines_free(&l);
	return broken;
}

/* Crash at every change of the script: how many runs broke a promise? */
static int crash_everywhere(bool keep_some, bool ack_early, bool lies, int *runs)
{
	int broken = 0;
	bool reached = true;

	*runs = 0;
	for (uint64_t n = 1; reached; n += 1) {
		struct script sc = {0};
		struct env v;
		bool bad;

		env_init(&v, n, 16 << 20);
		v.o.segment_bytes = 8 << 10;
		v.o.part_bytes = 6 << 10;
		v.o.ack_early = ack_early;
		fake_sync_lies(v.fs, lies);
		fake_crash_at(v.fs, n);
		run_script(&v, &sc);
		reached = fake_changes(v.fs) >= n;
		fake_sync_lies(v.fs, false);
		fake_crash(v.fs, keep_some);
		v.o.ack_early = false;
		env_open(&v);
		bad = check_script(&v, &sc) > 0;
		/* The sender goes on, from what it knows; then once more over a clean restart. */
		for (int i = 0; i < SOURCES && !bad; i++) {
			struct sink_result r =
				submit(v.s, make_batch("t", "app", source_names[i], kind_of(i),
						    sc.acked[i], STEP_LINES, ""));

			bad = r.code != 0;
			sc.acked[i] += STEP_LINES;
			sc.sent[i] = sc.sent[i] < sc.acked[i] ? sc.acked[i] : sc.sent[i];
		}
		if (!bad) {
			env_close(&v);
			env_open(&v);
			bad = check_script(&v, &sc) > 0 || store_recovery(v.s)->damaged > 0;
		}
		if (bad && !ack_early && !lies)
			print_message("crash at change %llu, keep_some %d: broken\n",
				(unsigned long long)n, keep_some);
		broken += bad;
		++*runs;
		env_fini(&v);
	}
	return broken;
}

static void survives_a_crash_at_every_change(void **state)
{
	int runs;

	assert_int_equal(crash_everywhere(false, false, false, &runs), 0);
	print_message("%d crashes, all lost\n", runs);
	assert_true(runs > 100);
	assert_int_equal(crash_everywhere(true, false, false, &runs), 0);
	print_message("%d crashes, some kept\n", runs);
}

/* The checker must see what it is there to see. */
static void mutants_are_caught(void **state)
{
	int runs;

	assert_true(crash_everywhere(false, true, false, &runs) > 0);
	assert_true(crash_everywhere(false, false, true, &runs) > 0);
}

/* ---- a failing disk ---- */

static void refuses_when_full_and_accepts_again(void **state)
{
	struct env v;
	struct error e = {0};
	struct sink_result r;
	uint64_t at = 0;
	struct lines l;
	int refused = 0;

	env_init(&v, 3, 16 << 20);
	v.o.segment_bytes = 64 << 10;
	v.o.reserve_bytes = 128 << 10;
	fake_set_space(v.fs, 512 << 10);
	env_open(&v);
	for (int i = 0; i < 400 && refused < 3; i++) {
		r = submit(v.s, make_batch("t", "a", "f", POSITION_MARK, at, 50, ""));
		if (r.code == 0) {
			at += 50;
			continue;
		}
		assert_int_equal(r.code, ERR_FULL);
		assert_int_equal(store_healthy(v.s, &e), ERR_FULL);
		refused++;
	}
	assert_int_equal(refused, 3);
	l = read_all(v.s, "t", SCAN_NEWEST_FIRST); /* reading goes on */
	assert_int_equal(l.n, at);
	lines_free(&l);
	fake_set_space(v.fs, 64 << 20);
	for (int i = 0; i < 200 && store_healthy(v.s, NULL) < 0; i++)
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	r = submit(v.s, make_batch("t", "a", "f", POSITION_MARK, at, 50, ""));
	assert_int_equal(r.code, 0);
	env_close(&v);
	env_open(&v);
	l = read_all(v.s, "t", SCAN_NEWEST_FIRST);
	assert_int_equal(l.n, at + 50);
	lines_free(&l);
	env_fini(&v);
}

/* Inputs of the same process keep what was refused and submit the same batch again. */
static void takes_the_same_batch_again(void **state)
{
	struct env v;
	struct batch *b = make_batch("t", "a", "f", POSITION_MARK, 0, 50, "");
	struct sink_result r;
	struct lines l;

	env_init(&v, 3, 16 << 20);
	v.o.reserve_bytes = 128 << 10;
	env_open(&v);
	for (int round = 0; round < 3; round++) {
		/* The space is looked at once a second: then the first batch is refused when it is
		 * about to be written, and those behind it right away. */
		fake_set_space(v.fs, 64 << 10);
		for (int i = 0; i < 200 && store_healthy(v.s, NULL) == 0; i++) {
			r = submit(v.s, batch_ref(b));
			assert_true(r.code == ERR_FULL || (round > 0 && r.n_duplicates == 50));
			nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
		}
		assert_int_equal(store_healthy(v.s, NULL), ERR_FULL);
		fake_set_space(v.fs, 64 << 20);
		for (int i = 0; i < 200 && store_healthy(v.s, NULL) < 0; i++)
			nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
		r = submit(v.s, batch_ref(b));
		assert_int_equal(r.code, 0);
		assert_int_equal(r.n_committed, round == 0 ? 50 : 0);
	}
	batch_unref(b);
	l = read_all(v.s, "t", SCAN_NEWEST_FIRST);
	assert_int_equal(l.n, 50);
	lines_free(&l);
	env_fini(&v);
}

static void survives_failed_calls(void **state)
{
	static const enum fake_op ops[] = {FAKE_WRITE, FAKE_SYNC, FAKE_ALLOCATE, FAKE_RENAME,
		FAKE_SYNC_DIR, FAKE_OPEN, FAKE_UNLINK};
	static const int numbers[] = {EIO, ENOSPC};

	for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
		for (uint64_t n = 1; n <= 12; n++) {
			for (int how = 0; how < 4; how++) {
				struct script sc = {0};
				struct env v;

				env_init(&v, n, 16 << 20);
				v.o.segment_bytes = 8 << 10;
				v.o.part_bytes = 6 << 10;
				fake_fail(v.fs, ops[k], n, numbers[how & 1], false);
				run_script(&v, &sc);
				fake_fail(v.fs, ops[k], 0, 0, false);
				if (how & 2)
					fake_crash(v.fs, true);
				if (v.s)
					env_close(&v);
				env_open(&v);
				assert_int_equal(check_script(&v, &sc), 0);
				env_fini(&v);
			}
		}
	}
}

/* ---- damage ---- */

static void flipped_bits_cost_what_they_hit(void **state)
{
	static const char *const dirs[] = {"data/journal", "data/parts"};
	size_t flips = 0, lost = 0;

	for (int d = 0; d < 2; d++) {
		for (uint64_t step = 0; step < 60; step++) {
			struct buf names = {0}, path = {0};
			struct script sc = {0};
			struct env v;
			struct file *f;
			const char *name;
			uint64_t size = 0;
			size_t n = 0, missing;
			struct lines l;

			env_init(&v, step, 16 << 20);
			v.o.segment_bytes = 8 << 10;
			v.o.part_bytes = 6 << 10;
			run_script(&v, &sc);
			assert_int_equal(fs_list(v.fs, dirs[d], &names, &n, NULL), 0);
			name = names.p;
			for (size_t i = 0; i < step % n; i++)
				name += strlen(name) + 1;
			buf_printf(&path, "%s/%s", dirs[d], name);
			assert_int_equal(fs_open(v.fs, buf_cstr(&path), FILE_READ, &f, NULL), 0);
			file_size(f, &size, NULL);
			file_close(f);
			fake_flip(v.fs, buf_cstr(&path), (step * 7919 + 13) % (size * 8));
			env_open(&v);
			l = read_all(v.s, "t", SCAN_BY_SEQ);
			for (size_t i = 0; i < l.n; i++) {
				char want[64];

				snprintf(want, sizeof want, "app %s %llu", l.p[i].source,
					(unsigned long long)l.p[i].position);
				assert_string_equal(l.p[i].body, want);
			}
			/* What is missing is told, and of the journal it is one batch. */
			missing = sc.acked[0] + sc.acked[1] + sc.acked[2] - l.n;
			assert_true(missing == 0 || l.warnings + store_recovery(v.s)->damaged > 0);
			assert_true(d == 1 || missing <= STEP_LINES);
			lost += missing > 0;
			flips++;
			lines_free(&l);
			buf_fini(&names);
			buf_fini(&path);
			assert_int_equal(
				submit(v.s, make_batch("t", "b", NULL, 0, 0, 1, "")).code, 0);
			env_fini(&v);
		}
	}
	print_message("%zu flips, %zu cost lines\n", flips, lost);
}

/* ---- memory ---- */

static int count_rows(void *ctx, const struct rows *rows, struct error *e)
{
	*(uint64_t *)ctx += rows->n;
	return 0;
}

static void takes_far_more_than_memory(void **state)
{
	const uint64_t memory = 4 << 20;
	uint64_t sent = 0, bytes = 0, count = 0;
	struct account query;
	struct env v;
	struct scan scan = {.tenant = STR("t"),
		.from_ns = INT64_MIN,
		.to_ns = INT64_MAX,
		.columns = SCAN_BODY | SCAN_META | SCAN_SOURCE,
		.ctx = &count,
		.rows = count_rows};
	struct snapshot *sn;
	struct error e = {0};

	env_init(&v, 4, memory);
	env_open(&v);
	while (bytes < 20 * memory) {
		struct batch *b = make_batch("t", sent % 3 ? "a" : "b", NULL, 0, sent, 2000, "");

		bytes += batch_bytes(b).n;
		assert_int_equal(submit(v.s, b).code, 0);
		sent += 2000;
	}
	print_message("peak %llu of %llu\n", (unsigned long long)v.memory.peak,
		(unsigned long long)memory);
	assert_true(v.memory.peak <= memory);
	for (int i = 0; i < 2; i++) {
		account_init(&query, "query", memory / 4, &v.memory);
		scan.account = &query;
		scan.order = i ? SCAN_NEWEST_FIRST : SCAN_BY_SEQ;
		count = 0;
		sn = snapshot_take(v.s);
		if (snapshot_scan(sn, &scan, &e) < 0)
			fail_msg("%s", e.text);
		snapshot_free(sn);
		assert_int_equal(count, sent);
		assert_int_equal(account_held(&query), 0);
		env_close(&v);
		env_open(&v);
	}
	env_fini(&v);
}

static void recovers_more_than_memory(void **state)
{
	struct env v;
	struct lines l;

	env_init(&v, 9, 64 << 20);
	v.o.segment_bytes = 256 << 10;
	v.o.part_bytes = 32 << 20;
	env_open(&v);
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(
			submit(v.s, make_batch("t", "a", "f", POSITION_MARK, i * 800, 800, ""))
				.code,
			0);
	env_close(&v);
	fake_crash(v.fs, false);
	account_init(&v.memory, "memory", 2 << 20, NULL);
	v.o.part_bytes = 0;
	env_open(&v);
	print_message("journal of %llu bytes, peak %llu\n",
		(unsigned long long)store_recovery(v.s)->journal_bytes,
		(unsigned long long)v.memory.peak);
	assert_true(v.memory.peak <= 2 << 20);
	for (int i = 0; i < 2; i++) {
		l = read_all(v.s, "t", SCAN_BY_SEQ);
		assert_int_equal(l.n, 80000);
		lines_free(&l);
		assert_int_equal(submit(v.s, make_batch("t", "a", "f", POSITION_MARK, 0, 800, ""))
					 .n_duplicates,
			800);
		env_close(&v);
		env_open(&v);
	}
	env_fini(&v);
}

struct one_line {
	struct str want;
	size_t n;
};

static int check_line(void *ctx, const struct rows *rows, struct error *e)
{
	struct one_line *one = ctx;

	for (size_t i = 0; i < rows->n; i++)
		one->n += str_eq(rows->body[rows->pick[i]], one->want);
	return 0;
}

static void a_line_of_50_mib_is_a_line(void **state)
{
	struct batch_builder *bb = batch_builder_new(STR("t"), STR("test"), 5);
	struct record rec = {.stream = batch_builder_stream(bb, STR_NONE)};
	struct account query;
	struct one_line one = {0};
	struct scan scan = {.tenant = STR("t"),
		.from_ns = INT64_MIN,
		.to_ns = INT64_MAX,
		.columns = SCAN_BODY,
		.account = &query,
		.ctx = &one,
		.rows = check_line};
	struct buf line = {0};
	struct batch *b;
	struct env v;

	while (line.n < 50 << 20)
		buf_printf(&line, "%zu words and numbers; ", line.n * 7919);
	rec.body = one.want = buf_view(&line);
	assert_int_equal(batch_builder_add(bb, &rec, NULL), 0);
	b = batch_builder_finish(bb, 0);
	batch_builder_free(bb);
	env_init(&v, 7, 256 << 20);
	account_init(&query, "query", 64 << 20, &v.memory);
	env_open(&v);
	assert_int_equal(submit(v.s, b).code, 0);
	for (size_t i = 1; i <= 3; i++) {
		struct snapshot *sn = snapshot_take(v.s);
		struct error e = {0};

		if (snapshot_scan(sn, &scan, &e) < 0)
			fail_msg("%s", e.text);
		snapshot_free(sn);
		assert_int_equal(one.n, i);
		if (i == 1) {
			env_close(&v);
			env_open(&v);
		}
		assert_int_equal(store_flush(v.s, NULL), 0);
	}
	buf_fini(&line);
	env_fini(&v);
}

/* ---- the ledger ---- */

static int64_t counted(enum metric m, const char *reason)
{
	struct buf labels = {0};
	int64_t n;

	metric_label(&labels, "input", STR("test"));
	metric_label(&labels, "tenant", STR("ledger"));
	if (reason)
		metric_label(&labels, "reason", str_c(reason));
	n = metric_get(m, buf_cstr(&labels));
	buf_fini(&labels);
	return n;
}

static void every_record_is_accounted_for(void **state)
{
	struct env v;

	env_init(&v, 8, 16 << 20);
	v.o.segment_bytes = 2 << 10; /* snapshots and deltas both */
	env_open(&v);
	for (uint64_t i = 0; i < 10; i++) {
		struct sink *sink = store_sink(v.s);

		submit(v.s, make_batch("ledger", "a", "f", POSITION_MARK, i * 10, 10, ""));
		submit(v.s, make_batch("ledger", "a", "f", POSITION_MARK, i * 10, 10, ""));
		sink->account(sink, STR("ledger"), STR("test"), "too_long", 3, true);
		sink->account(sink, STR("ledger"), STR("test"), "overrun", 2, false);
	}
	for (int run = 1; run <= 3; run++) {
		/* The table of metrics outlives the store: each start adds what was recovered. */
		assert_int_equal(counted(METRIC_committed_records_total, NULL), run * 100);
		assert_int_equal(counted(METRIC_deduplicated_records_total, NULL), run * 100);
		assert_int_equal(counted(METRIC_rejected_records_total, "too_long"), run * 30);
		assert_int_equal(counted(METRIC_dropped_records_total, "overrun"), run * 20);
		assert_int_equal(counted(METRIC_received_records_total, NULL), run * 250);
		env_close(&v);
		if (run == 1)
			fake_crash(v.fs, false);
		env_open(&v);
	}
	env_fini(&v);
}

/* ---- cursors ---- */

struct follow {
	uint64_t last_seq, n;
	size_t most;
};

static int follow_rows(void *ctx, const struct rows *rows)
{
	struct follow *f = ctx;

	for (size_t i = 0; i < rows->n; i++) {
		assert_true(rows->seq[rows->pick[i]] > f->last_seq);
		f->last_seq = rows->seq[rows->pick[i]];
		assert_true(rows->stream[rows->pick[i]] < rows->n_streams);
	}
	f->n += rows->n;
	f->most = rows->n > f->most ? rows->n : f->most;
	return 0;
}

static void cursors_see_all_in_order(void **state)
{
	struct env v;
	struct error e = {0};
	int r;

	env_init(&v, 5, 16 << 20);
	v.o.part_bytes = 64 << 10;
	env_open(&v);
	for (uint64_t i = 0; i < 60; i++) {
		submit(v.s, make_batch(i % 7 == 3 ? "other" : "t", i % 2 ? "a" : "b", "f",
				    POSITION_SET, i * 100, 100, ""));
		if (i == 20 || i == 50)
			assert_int_equal(store_flush(v.s, NULL), 0);
	}
	for (size_t max = 1; max < 2000; max = max * 7 + 1) {
		struct follow f = {0}, other = {0};
		struct cursor c = {.store = v.s, .tenant = STR("t")};
		struct cursor o = {.store = v.s, .tenant = STR("other"), .account = &v.memory};

		while (max > 1 && (r = cursor_next(&c, max, follow_rows, &f, &e)) > 0)
			;
		while (max > 1 && (r = cursor_next(&o, max, follow_rows, &other, &e)) > 0)
			;
		if (max == 1)
			continue;
		assert_int_equal(r, 0);
		assert_int_equal(f.n + other.n, 6000);
		assert_true(f.most <= max);
		assert_int_equal(c.after_seq, 6000);
	}
	env_fini(&v);
}

/* Takes a third of what it is given, and checks that all is of one source. */
static int follow_source(void *ctx, const struct rows *rows)
{
	struct follow *f = ctx;
	size_t n = (rows->n + 2) / 3;

	for (size_t i = 0; i < n; i++) {
		uint32_t at = rows->pick[i];

		assert_true(rows->seq[at] > f->last_seq && rows->source[at] > 0);
		assert_true(str_eq(rows->sources[rows->source[at] - 1], STR("f")));
		assert_int_equal(rows->position[at], f->n + i + 1);
		f->last_seq = rows->seq[at];
	}
	f->n += n;
	return n < rows->n ? (int)n : 0;
}

static void cursors_follow_one_source(void **state)
{
	struct env v;
	struct error e = {0};
	uint64_t n = 0;

	env_init(&v, 6, 16 << 20);
	v.o.part_bytes = 64 << 10;
	env_open(&v);
	for (uint64_t i = 0; i < 60; i++) {
		bool wanted = i % 5 == 2;

		submit(v.s, make_batch("t", i % 2 ? "a" : "b", wanted ? "f" : "g", POSITION_SET,
				    wanted ? n : i * 100, 100, ""));
		n += wanted ? 100 : 0;
		if (i == 20 || i == 50)
			assert_int_equal(store_flush(v.s, NULL), 0);
	}
	for (size_t max = 2; max < 2000; max = max * 7 + 1) {
		struct follow f = {0};
		struct cursor c = {.store = v.s, .tenant = STR("t"), .source = STR("f")};
		int r;

		while ((r = cursor_next(&c, max, follow_source, &f, &e)) > 0)
			;
		assert_int_equal(r, 0);
		assert_int_equal(f.n, n);
		assert_int_equal(c.after_seq, 6000);
	}
	env_fini(&v);
}

/* ---- threads ---- */

struct worker {
	struct store *s;
	char name[16];
	uint64_t n;
	_Atomic bool *stop;
};

static void *submit_many(void *arg)
{
	struct worker *w = arg;

	for (uint64_t i = 0; i < w->n; i++) {
		struct sink_result r;

		do /* each batch twice: the second is a duplicate */
			r = submit(w->s,
				make_batch("t", w->name, w->name, POSITION_MARK, i * 20, 20, ""));
		while (r.n_committed > 0);
		assert_int_equal(r.code, 0);
	}
	return NULL;
}

static void *scan_many(void *arg)
{
	struct worker *w = arg;
	uint64_t before = 0;

	while (!atomic_load(w->stop)) {
		struct lines l = read_all(w->s, "t", SCAN_NEWEST_FIRST);

		assert_true(l.n >= before); /* never less than was seen already */
		before = l.n;
		lines_free(&l);
		store_flush(w->s, NULL);
		store_metrics(w->s);
	}
	return NULL;
}

static void on_commit(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
}

static void many_threads_agree(void **state)
{
	struct worker w[4] = {{0}}, reader;
	_Atomic bool stop = false;
	_Atomic int commits = 0;
	struct store_watch *watch;
	pthread_t t[4], rt;
	struct buf dump = {0};
	struct env v;
	struct lines l;

	env_init(&v, 6, 16 << 20);
	v.o.segment_bytes = 64 << 10;
	v.o.part_bytes = 32 << 10;
	env_open(&v);
	watch = store_watch_add(v.s, on_commit, &commits);
	reader = (struct worker){.s = v.s, .stop = &stop};
	rt = thread_start("reader", scan_many, &reader);
	for (int i = 0; i < 4; i++) {
		w[i] = (struct worker){.s = v.s, .n = 40};
		snprintf(w[i].name, sizeof w[i].name, "w%d", i);
		t[i] = thread_start("writer", submit_many, &w[i]);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	atomic_store(&stop, true);
	pthread_join(rt, NULL);
	store_watch_remove(v.s, watch);
	assert_true(commits > 0);
	l = read_all(v.s, "t", SCAN_OLDEST_FIRST);
	assert_int_equal(l.n, 4 * 40 * 20);
	lines_free(&l);
	store_dump(v.s, &dump);
	assert_true(dump.n > 100);
	buf_fini(&dump);
	env_fini(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commits_and_reads_back),
		cmocka_unit_test(positions_are_exactly_once),
		cmocka_unit_test(a_mark_jumps_when_told),
		cmocka_unit_test(every_record_is_accounted_for),
		cmocka_unit_test(a_line_of_50_mib_is_a_line),
		cmocka_unit_test(cursors_see_all_in_order),
		cmocka_unit_test(cursors_follow_one_source),
		cmocka_unit_test(takes_far_more_than_memory),
		cmocka_unit_test(recovers_more_than_memory),
		cmocka_unit_test(many_threads_agree),
		cmocka_unit_test(refuses_when_full_and_accepts_again),
		cmocka_unit_test(takes_the_same_batch_again),
		cmocka_unit_test(survives_failed_calls),
		cmocka_unit_test(flipped_bits_cost_what_they_hit),
		cmocka_unit_test(survives_a_crash_at_every_change),
		cmocka_unit_test(mutants_are_caught),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
