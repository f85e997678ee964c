/* SPDX-License-Identifier: Apache-2.0 */
/* Outputs over the real store on a fake disk, with a kind that does what a test tells it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "output/outputs_core.h"
#include "store/store_rig.h"

enum { GOT_MAX = 100000, WAIT_S = 60, STOP_MS = 20000 };

/* The kind: what it got, and how it behaves; one for each name. */
struct probe {
	struct lock lock;
	struct cond changed;
	char *lines[GOT_MAX];
	uint64_t seqs[GOT_MAX];
	size_t n;
	unsigned opens, closes, syncs, reopens, ticks;
	char state[64]; /* at the last open */
	/* Orders. */
	size_t most; /* takes at most so many at once; 0: all */
	int open_code, write_code, sync_code;
	const char *poison; /* lines that it refuses */
	bool block;         /* writes hang */
	bool writing;
};

struct probe_settings {
	struct output_settings common;
	const char *extra;
};

static struct probe probes[3];

static struct probe *probe_of(const char *name)
{
	return &probes[name[strlen(name) - 1] - 'a'];
}

static int probe_open(void **out, const void *settings, const struct output_env *env,
	struct str state, struct error *e)
{
	struct probe *p = probe_of(env->name);
	int code;

	lock_take(&p->lock);
	p->opens++;
	str_copy(state, p->state, sizeof p->state);
	code = p->open_code;
	cond_broadcast(&p->changed);
	lock_drop(&p->lock);
	*out = p;
	return code < 0 ? error_set(e, code, "cannot be opened") : 0;
}

static int probe_write(void *output, const struct output_record *records, size_t n, struct error *e)
{
	struct probe *p = output;
	int taken = 0;

	lock_take(&p->lock);
	p->writing = true;
	cond_broadcast(&p->changed);
	while (p->block)
		cond_wait(&p->changed, &p->lock);
	p->writing = false;
	if (p->write_code < 0)
		taken = error_set(e, p->write_code, "nobody there");
	for (size_t i = 0; i < n && taken >= 0 && (p->most == 0 || i < p->most); i++) {
		if (p->poison && str_find(records[i].line, str_c(p->poison)) >= 0) {
			if (i == 0)
				taken = error_set(e, ERR_ARG, "poison");
			break;
		}
		assert_true(p->n < GOT_MAX);
		p->seqs[p->n] = records[i].seq;
		p->lines[p->n++] = str_dup(records[i].line);
		taken++;
	}
	cond_broadcast(&p->changed);
	lock_drop(&p->lock);
	return taken;
}

static int probe_sync(void *output, struct buf *state, struct error *e)
{
	struct probe *p = output;
	int code;

	lock_take(&p->lock);
	p->syncs++;
	code = p->sync_code;
	buf_printf(state, "%zu", p->n);
	cond_broadcast(&p->changed);
	lock_drop(&p->lock);
	return code < 0 ? error_set(e, code, "cannot sync") : code;
}

static int probe_tick(void *output, int64_t now_ns, int64_t *due_ns, struct error *e)
{
	struct probe *p = output;

	lock_take(&p->lock);
	p->ticks++;
	cond_broadcast(&p->changed);
	lock_drop(&p->lock);
	*due_ns = now_ns + 20 * NS_PER_MS;
	return 0;
}

static void probe_reopen(void *output)
{
	struct probe *p = output;

	lock_take(&p->lock);
	p->reopens++;
	cond_broadcast(&p->changed);
	lock_drop(&p->lock);
}

static void probe_close(void *output)
{
	struct probe *p = output;

	lock_take(&p->lock);
	p->closes++;
	cond_broadcast(&p->changed);
	lock_drop(&p->lock);
}

static void probe_dump(const void *output, struct buf *out)
{
	buf_c(out, "    a probe\n");
}

static const struct option probe_options[] = {
	OUTPUT_OPTIONS(struct probe_settings),
	OPTION(struct probe_settings, extra, .kind = OPT_STRING, .secret = true,
		.help = "Something that is not shown."),
	OPTION_END,
};

static const struct output_type probe_type = {
	.name = "probe",
	.size = sizeof(struct probe_settings),
	.options = probe_options,
	.open = probe_open,
	.write = probe_write,
	.sync = probe_sync,
	.tick = probe_tick,
	.reopen = probe_reopen,
	.close = probe_close,
	.dump = probe_dump,
};

/* Wait for something about a probe. */
#define WAIT(p, condition)                                                                         \
	do {                                                                                       \
		int64_t end = clock_mono_ns(clock_real()) + WAIT_S * NS_PER_SEC, left;             \
		lock_take(&(p)->lock);                                                             \
		while (!(condition) && (left = end - clock_mono_ns(clock_real())) > 0)             \
			cond_wait_for(&(p)->changed, &(p)->lock, left);                            \
		if (!(condition))                                                                  \
			fail_msg("did not come: %s", #condition);                                  \
		lock_drop(&(p)->lock);                                                             \
	} while (0)

#define ORDER(p, what)                                                                             \
	do {                                                                                       \
		lock_take(&(p)->lock);                                                             \
		what;                                                                              \
		cond_broadcast(&(p)->changed);                                                     \
		lock_drop(&(p)->lock);                                                             \
	} while (0)

struct bench {
	struct rig rig;
	struct outputs *o;
	struct probe_settings settings[3]; /* of the next configuration */
	struct arena arena;                /* those of each so far */
	struct kind_entry entries[3];
	struct kinds kinds;
	uint64_t n_sent;
};

static struct probe *const a = &probes[0], *const b = &probes[1];

static void open_store(struct bench *t)
{
	struct error e;

	if (store_open(&t->rig.s, &t->rig.o, &e) < 0)
		fail_msg("%s", e.text);
}

static void apply(struct bench *t, size_t n)
{
	struct error e;

	for (size_t i = 0; i < n; i++)
		t->entries[i] = (struct kind_entry){.kind = "probe",
			.type = &probe_type,
			.settings = conf_copy(
				&t->settings[i], sizeof *t->settings, probe_options, &t->arena),
			.line = (int)i + 1};
	t->kinds = (struct kinds){.items = t->entries, .n = n};
	if (outputs_apply(t->o, &(struct outputs_wanted){.kinds = &t->kinds}, &e) < 0)
		fail_msg("%s", e.text);
}

static void start(struct bench *t, size_t n)
{
	struct outputs_env env = {.store = t->rig.s,
		.fs = t->rig.fs,
		.clock = clock_real(),
		.account = &t->rig.memory,
		.dir = "data/outputs",
		.host = "h"};

	t->o = outputs_new(&env);
	apply(t, n);
}

static void stop(struct bench *t)
{
	outputs_stop(t->o, STOP_MS);
	outputs_free(t->o);
	t->o = NULL;
}

static void forget(struct probe *p)
{
	lock_take(&p->lock);
	for (size_t i = 0; i < p->n; i++)
		free(p->lines[i]);
	p->n = 0;
	p->opens = p->closes = p->syncs = p->reopens = p->ticks = 0;
	p->most = 0;
	p->open_code = p->write_code = p->sync_code = 0;
	p->poison = NULL;
	p->block = false;
	lock_drop(&p->lock);
}

static void init(struct bench *t)
{
	*t = (struct bench){0};
	rig_init(&t->rig, 1, 64 << 20);
	t->rig.o.segment_bytes = 1 << 20;
	arena_init(&t->arena, NULL);
	for (size_t i = 0; i < 3; i++) {
		static const char *const names[] = {"out-a", "out-b", "out-c"};

		lock_init(&probes[i].lock);
		cond_init(&probes[i].changed);
		forget(&probes[i]); /* what a test that failed left */
		t->settings[i].common = (struct output_settings){
			.name = names[i], .match = "{}", .start = OUTPUT_START_BEGIN};
	}
	open_store(t);
}

static void fini(struct bench *t)
{
	if (t->o)
		stop(t);
	assert_int_equal(rig_fini(&t->rig), 0);
	for (size_t i = 0; i < 3; i++)
		forget(&probes[i]);
	arena_fini(&t->arena);
}

/* Commit n lines "line <number>", over a few streams. */
static void commit_as(struct bench *t, size_t n, uint8_t severity, const char *tenant)
{
	struct batch_builder *builder = batch_builder_new(str_c(tenant), STR("test"), 1);

	for (size_t i = 0; i < n; i++) {
		static const char *const apps[] = {"web", "db", "mail"};
		struct buf line = {0}, labels = {0};
		struct record r = {.timestamp = RIG_TODAY - (int64_t)(t->n_sent * 7919 % 1000),
			.severity = severity};

		buf_printf(&line, "line %llu", (unsigned long long)++t->n_sent);
		rig_labels(&labels, apps[t->n_sent % 3], NULL);
		r.body = buf_view(&line);
		r.stream = batch_builder_stream(builder, buf_view(&labels));
		assert_int_equal(batch_builder_add(builder, &r, NULL), 0);
		buf_fini(&line);
		buf_fini(&labels);
	}
	assert_int_equal(rig_submit(t->rig.s, batch_builder_finish(builder, 1)).code, 0);
	batch_builder_free(builder);
}

static void commit(struct bench *t, size_t n)
{
	commit_as(t, n, 0, "default");
}

struct seen {
	const char *name;
	struct output_status s;
	char error[200];
	bool found;
};

static void see(void *arg, const struct output_status *s)
{
	struct seen *x = arg;

	if (strcmp(s->name, x->name) != 0)
		return;
	x->s = *s;
	str_copy(str_c(s->error), x->error, sizeof x->error);
	x->found = true;
}

static struct seen status(struct bench *t, const char *name)
{
	struct seen x = {.name = name};

	outputs_list(t->o, see, &x);
	assert_true(x.found);
	return x;
}

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

#define WAIT_STATUS(t, name, condition)                                                            \
	do {                                                                                       \
		int64_t end = clock_mono_ns(clock_real()) + WAIT_S * NS_PER_SEC;                   \
		struct seen x = status(t, name);                                                   \
		while (!(condition) && clock_mono_ns(clock_real()) < end) {                        \
			nap();                                                                     \
			x = status(t, name);                                                       \
		}                                                                                  \
		if (!(condition))                                                                  \
			fail_msg("did not come: %s", #condition);                                  \
	} while (0)

static void control(
	struct bench *t, const char *name, enum output_action action, struct output_rewind to)
{
	struct error e;

	if (outputs_control(t->o, str_c(name), action, &to, &e) < 0)
		fail_msg("%s", e.text);
}

/* The probe has got lines first..first+n-1, in this order, from index `at` on. */
static void check_run(struct probe *p, size_t at, uint64_t first, size_t n)
{
	lock_take(&p->lock);
	assert_true(p->n >= at + n);
	for (size_t i = 0; i < n; i++) {
		char want[40];

		snprintf(want, sizeof want, "line %llu", (unsigned long long)(first + i));
		assert_string_equal(p->lines[at + i], want);
		assert_int_equal(p->seqs[at + i], first + i);
	}
	lock_drop(&p->lock);
}

/* --- tests --- */

static void delivers_in_order_and_goes_on(void **state)
{
	struct bench t;

	init(&t);
	commit(&t, 100);
	start(&t, 2);
	WAIT(a, a->n == 100);
	for (int i = 0; i < 20; i++)
		commit(&t, 50);
	WAIT(a, a->n == 1100);
	WAIT(b, b->n == 1100);
	check_run(a, 0, 1, 1100);
	WAIT_STATUS(&t, "out-a", x.s.behind == 0 && x.s.behind_ns == 0 && x.s.delivered == 1100);
	stop(&t);
	assert_int_equal(a->closes, 1);
	/* Goes on behind what it had, with the state of the last sync. */
	commit(&t, 10);
	start(&t, 1);
	WAIT(a, a->n == 1110);
	check_run(a, 1100, 1101, 10);
	assert_string_equal(a->state, "1100");
	fini(&t);
}

static void begins_now(void **state)
{
	struct bench t;

	init(&t);
	t.settings[0].common.start = OUTPUT_START_NOW;
	commit(&t, 10);
	start(&t, 1);
	/* A crash before its first record does not make it begin later. */
	fake_crash(t.rig.fs, false);
	struct place p = {0};
	assert_int_equal(place_load(&p, t.rig.fs, "data/outputs/out-a", NULL), 1);
	assert_int_equal(p.seq, 10);
	place_fini(&p);
	stop(&t);
	store_close(t.rig.s);
	open_store(&t);
	commit(&t, 5);
	start(&t, 1);
	WAIT(a, a->n == 5);
	check_run(a, 0, 11, 5);
	fini(&t);
}

static void match_severity_and_tenant(void **state)
{
	struct bench t;

	init(&t);
	t.settings[0].common.match = "{app=\"web\"} |= \"line\" | line_format \"<{{.app}}>\"";
	t.settings[1].common.min_severity = 4; /* warn */
	commit_as(&t, 30, 9, "default");
	commit_as(&t, 30, 13, "default");
	commit_as(&t, 30, 21, "other");
	commit_as(&t, 30, 0, "default"); /* tells none: passes */
	start(&t, 2);
	WAIT(a, a->n == 30);
	WAIT(b, b->n == 60);
	assert_string_equal(a->lines[0], "<web>");
	check_run(b, 0, 31, 30);
	check_run(b, 30, 91, 30);
	WAIT_STATUS(&t, "out-b", x.s.behind == 0);
	fini(&t);
}

static void catches_up_from_parts_in_order(void **state)
{
	struct bench t;
	struct error e;

	init(&t);
	for (int part = 0; part < 5; part++) {
		for (int i = 0; i < 8; i++)
			commit(&t, 250);
		if (store_flush(t.rig.s, &e) < 0)
			fail_msg("%s", e.text);
	}
	commit(&t, 100);
	a->most = 7;
	start(&t, 2);
	WAIT(b, b->n == 10100);
	check_run(b, 0, 1, 10100);
	WAIT(a, a->n == 10100);
	check_run(a, 0, 1, 10100);
	fini(&t);
}

static void a_failing_one_tries_again(void **state)
{
	struct bench t;

	init(&t);
	a->open_code = ERR_NET;
	start(&t, 2);
	commit(&t, 10);
	WAIT(b, b->n == 10);
	WAIT(a, a->opens >= 2);
	WAIT_STATUS(&t, "out-a", x.s.state == OUTPUT_FAILS && x.s.retry_ns > 0);
	assert_string_equal(status(&t, "out-a").error, "cannot be opened");
	assert_int_equal(status(&t, "out-a").s.behind, 10);
	ORDER(a, (a->open_code = 0, a->write_code = ERR_IO));
	control(&t, "out-a", OUTPUT_RESUME, (struct output_rewind){0});
	WAIT_STATUS(&t, "out-a", strcmp(x.error, "nobody there") == 0);
	ORDER(a, a->write_code = 0);
	WAIT(a, a->n == 10);
	check_run(a, 0, 1, 10);
	WAIT_STATUS(&t, "out-a", x.s.state == OUTPUT_RUNS && !x.error[0] && x.s.behind_ns == 0);
	fini(&t);
}

/* What is taken and not synced is not delivered, and each try is one to sync: it fails all the
 * time, not every other moment. */
static void a_failing_sync_goes_on_failing(void **state)
{
	struct bench t;
	unsigned syncs = 0;

	init(&t);
	a->sync_code = ERR_NET;
	start(&t, 1);
	commit(&t, 10);
	WAIT_STATUS(&t, "out-a", x.s.state == OUTPUT_FAILS && x.s.retry_ns > 0);
	ORDER(a, syncs = a->syncs);
	for (int i = 0; i < 200; i++) {
		struct seen x = status(&t, "out-a");

		assert_int_equal(x.s.state, OUTPUT_FAILS);
		assert_int_equal(x.s.delivered, 0);
		assert_int_equal(x.s.behind, 10);
		assert_true(x.s.behind_ns > 0);
		if (i % 20 == 0)
			control(&t, "out-a", OUTPUT_RESUME, (struct output_rewind){0});
		nap();
	}
	WAIT(a, a->syncs >= syncs + 5);
	ORDER(a, a->sync_code = 0);
	control(&t, "out-a", OUTPUT_RESUME, (struct output_rewind){0});
	WAIT_STATUS(
		&t, "out-a", x.s.state == OUTPUT_RUNS && x.s.delivered == 10 && x.s.behind == 0);
	assert_int_equal(a->n, 10);
	fini(&t);
}

/* It is tried once more, and its next time is not waited for, which may be a minute away. */
static void a_failing_one_ends_at_once(void **state)
{
	struct bench t;
	int64_t began;
	unsigned opens = 0;

	init(&t);
	a->open_code = ERR_NET;
	start(&t, 1);
	commit(&t, 10);
	for (int i = 0; i < 8; i++) {
		WAIT(a, a->opens > opens);
		ORDER(a, opens = a->opens);
		WAIT_STATUS(&t, "out-a", x.s.state == OUTPUT_FAILS && x.s.retry_ns > 0);
		control(&t, "out-a", OUTPUT_RESUME, (struct output_rewind){0});
	}
	WAIT(a, a->opens > opens);
	began = clock_mono_ns(clock_real());
	stop(&t);
	assert_true(clock_mono_ns(clock_real()) - began < 5 * NS_PER_SEC);
	ORDER(a, a->open_code = 0);
	start(&t, 1);
	WAIT(a, a->n == 10);
	check_run(a, 0, 1, 10);
	fini(&t);
}

static void poison_is_passed_by(void **state)
{
	struct bench t;

	init(&t);
	a->poison = "7";
	commit(&t, 20);
	start(&t, 1);
	WAIT_STATUS(&t, "out-a", x.s.delivered == 18 && x.s.skipped == 2 && x.s.behind == 0);
	stop(&t);
	start(&t, 1);
	/* Counts outlast restarts. */
	WAIT_STATUS(&t, "out-a", x.s.delivered == 18 && x.s.skipped == 2);
	assert_int_equal(a->n, 18);
	fini(&t);
}

static void a_hanging_one_holds_up_nobody(void **state)
{
	struct bench t;
	int64_t began;

	init(&t);
	ORDER(a, a->block = true);
	start(&t, 2);
	commit(&t, 10);
	WAIT(a, a->writing);
	for (int i = 0; i < 50; i++)
		commit(&t, 100);
	WAIT(b, b->n == 5010);
	WAIT_STATUS(&t, "out-a", x.s.behind == 5010 && x.s.behind_ns > 0);
	/* Commands and dumps come back. */
	control(&t, "out-a", OUTPUT_PAUSE, (struct output_rewind){0});
	control(&t, "out-a", OUTPUT_RESUME, (struct output_rewind){0});
	struct buf text = {0};
	struct error e;
	outputs_dump(t.o, &text);
	assert_true(str_find(buf_view(&text), STR("busy with a write")) > 0);
	assert_true(str_find(buf_view(&text), STR("a probe")) > 0);
	buf_fini(&text);
	assert_int_equal(outputs_control(t.o, STR("out-a"), OUTPUT_REWIND,
				 &(struct output_rewind){.to = REWIND_NOW}, &e),
		ERR_TIMEOUT);
	/* The end comes all the same, and the next life has what was not synced. */
	began = clock_mono_ns(clock_real());
	outputs_stop(t.o, 500);
	assert_true(clock_mono_ns(clock_real()) - began < 5 * NS_PER_SEC);
	outputs_free(t.o);
	ORDER(a, a->block = false);
	WAIT(a, !a->writing);
	forget(a);
	start(&t, 1);
	WAIT(a, a->n >= 5010);
	check_run(a, a->n - 5010, 1, 5010);
	fini(&t);
}

static void nothing_is_lost_in_a_crash(void **state)
{
	for (uint64_t at = 1; at < 40; at++) {
		struct bench t;
		size_t before;

		init(&t);
		start(&t, 1);
		for (int i = 0; i < 5; i++)
			commit(&t, 20);
		WAIT(a, a->n == 100);
		/* The disk stops taking changes at some moment of the end. */
		fake_crash_at(t.rig.fs, at % 8 + 1);
		stop(&t);
		store_close(t.rig.s);
		fake_crash(t.rig.fs, at % 2);
		open_store(&t);
		before = a->n;
		start(&t, 1);
		commit(&t, 20);
		WAIT(a, a->n > before && a->seqs[a->n - 1] == 120);
		/* From some place that was reached on, without a gap. */
		uint64_t first = a->seqs[before];
		assert_true(first >= 1 && first <= 101);
		check_run(a, before, first, 121 - first);
		fini(&t);
	}
}

static void the_place_follows_the_sync(void **state)
{
	struct bench t;
	struct place p = {0};

	init(&t);
	a->sync_code = 1; /* a digest that waits */
	commit(&t, 10);
	start(&t, 1);
	WAIT(a, a->n == 10 && a->syncs >= 2);
	assert_int_equal(place_load(&p, t.rig.fs, "data/outputs/out-a", NULL), 1);
	assert_int_equal(p.seq, 0);
	place_fini(&p);
	ORDER(a, a->sync_code = ERR_GAP); /* lost: again from the start */
	WAIT(a, a->n >= 20 && a->opens >= 2);
	check_run(a, 10, 1, 10);
	ORDER(a, a->sync_code = 0);
	stop(&t);
	assert_int_equal(place_load(&p, t.rig.fs, "data/outputs/out-a", NULL), 1);
	assert_int_equal(p.seq, 10);
	place_fini(&p);
	fini(&t);
}

static void pause_outlasts_a_restart(void **state)
{
	struct bench t;

	init(&t);
	start(&t, 1);
	commit(&t, 10);
	WAIT(a, a->n == 10);
	control(&t, "out-a", OUTPUT_PAUSE, (struct output_rewind){0});
	WAIT_STATUS(&t, "out-a", x.s.state == OUTPUT_PAUSED);
	stop(&t);
	store_close(t.rig.s);
	open_store(&t);
	start(&t, 1);
	commit(&t, 10);
	assert_int_equal(status(&t, "out-a").s.state, OUTPUT_PAUSED);
	assert_int_equal(status(&t, "out-a").s.behind, 10);
	assert_int_equal(a->n, 10);
	control(&t, "out-a", OUTPUT_RESUME, (struct output_rewind){0});
	WAIT(a, a->n == 20);
	check_run(a, 0, 1, 20);
	stop(&t);
	start(&t, 1);
	assert_int_equal(status(&t, "out-a").s.state, OUTPUT_RUNS);
	fini(&t);
}

static void rewinds(void **state)
{
	struct bench t;
	struct error e;
	size_t n;

	init(&t);
	start(&t, 1);
	commit(&t, 100);
	WAIT(a, a->n == 100);
	control(&t, "out-a", OUTPUT_REWIND, (struct output_rewind){.to = REWIND_BEGIN});
	WAIT(a, a->n == 200);
	check_run(a, 100, 1, 100);
	control(&t, "out-a", OUTPUT_REWIND, (struct output_rewind){.to = REWIND_SEQ, .seq = 91});
	WAIT(a, a->n == 210);
	check_run(a, 200, 91, 10);
	/* The first that is not older. */
	store_flush(t.rig.s, NULL);
	control(&t, "out-a", OUTPUT_REWIND,
		(struct output_rewind){.to = REWIND_TIME, .time_ns = RIG_TODAY - 81});
	WAIT(a, a->n > 210 && a->seqs[a->n - 1] == 100);
	for (n = 1; (int64_t)((n - 1) * 7919 % 1000) > 81; n++)
		;
	check_run(a, 210, n, 101 - n);
	n = a->n;
	control(&t, "out-a", OUTPUT_REWIND,
		(struct output_rewind){.to = REWIND_TIME, .time_ns = RIG_TODAY + 1});
	control(&t, "out-a", OUTPUT_REWIND, (struct output_rewind){.to = REWIND_NOW});
	commit(&t, 5);
	WAIT(a, a->n == n + 5);
	check_run(a, n, 101, 5);
	assert_int_equal(outputs_control(t.o, STR("out-a"), OUTPUT_REWIND,
				 &(struct output_rewind){.to = REWIND_SEQ, .seq = 200}, &e),
		ERR_ARG);
	assert_int_equal(outputs_control(t.o, STR("none"), OUTPUT_REOPEN, NULL, &e), ERR_NOT_FOUND);
	assert_string_equal(e.text, "there is no output \"none\"; there is out-a");
	/* What a rewind says is on disk. */
	control(&t, "out-a", OUTPUT_PAUSE, (struct output_rewind){0});
	control(&t, "out-a", OUTPUT_REWIND, (struct output_rewind){.to = REWIND_SEQ, .seq = 50});
	fake_crash(t.rig.fs, false);
	struct place p = {0};
	assert_int_equal(place_load(&p, t.rig.fs, "data/outputs/out-a", NULL), 1);
	assert_int_equal(p.seq, 49);
	place_fini(&p);
	fini(&t);
}

static void a_reload_touches_what_changed(void **state)
{
	struct bench t;

	init(&t);
	t.settings[1].extra = "old"; /* a secret, which is the same where settings are shown */
	start(&t, 2);
	commit(&t, 10);
	WAIT(a, a->n == 10);
	WAIT(b, b->n == 10);
	t.settings[1].extra = "new";
	apply(&t, 2);
	commit(&t, 10);
	WAIT(b, b->n == 20);
	check_run(b, 0, 1, 20);
	assert_int_equal(b->opens, 2);
	assert_string_equal(b->state, "10");
	WAIT(a, a->n == 20 && a->reopens == 1);
	assert_int_equal(a->opens, 1);
	apply(&t, 1);
	assert_int_equal(b->closes, 2);
	commit(&t, 10);
	WAIT(a, a->n == 30);
	assert_int_equal(b->n, 20);
	/* Wanted again: it goes on where it was. */
	apply(&t, 2);
	WAIT(b, b->n == 30);
	check_run(b, 0, 1, 30);
	fini(&t);
}

static void a_successor_waits_for_one_that_hangs(void **state)
{
	struct bench t;

	init(&t);
	ORDER(a, a->block = true);
	start(&t, 2);
	commit(&t, 10);
	WAIT(a, a->writing);
	t.settings[0].extra = "new";
	apply(&t, 1); /* b hangs on nothing and goes */
	assert_int_equal(a->opens, 1);
	ORDER(a, a->block = false);
	WAIT(a, a->opens == 2);
	commit(&t, 10);
	WAIT(a, a->n > 0 && a->seqs[a->n - 1] == 20);
	fini(&t);
}

static void what_retention_took_is_told(void **state)
{
	struct bench t;
	struct retention r = {.age_ns = 3600 * NS_PER_SEC};
	struct error e;

	init(&t);
	start(&t, 1);
	commit(&t, 10);
	WAIT(a, a->n == 10);
	control(&t, "out-a", OUTPUT_PAUSE, (struct output_rewind){0});
	commit(&t, 90);
	assert_int_equal(store_flush(t.rig.s, &e), 0);
	assert_int_equal(store_retain(t.rig.s, &r, &e), 0);
	clock_fake_advance(t.rig.clock, 2 * 3600 * NS_PER_SEC);
	assert_int_equal(store_settle(t.rig.s, &e), 0);
	WAIT_STATUS(&t, "out-a", x.s.missed == 90);
	control(&t, "out-a", OUTPUT_RESUME, (struct output_rewind){0});
	WAIT_STATUS(&t, "out-a", x.s.behind == 0);
	assert_int_equal(a->n, 10);
	stop(&t);
	start(&t, 1);
	assert_int_equal(status(&t, "out-a").s.missed, 90);
	fini(&t);
}

static void a_damaged_place_begins_anew(void **state)
{
	struct bench t;
	struct error e;

	init(&t);
	start(&t, 1);
	commit(&t, 10);
	WAIT(a, a->n == 10);
	stop(&t);
	fake_flip(t.rig.fs, "data/outputs/out-a/cursor", 8 * 24);
	start(&t, 1);
	WAIT(a, a->n == 20);
	stop(&t);
	/* One of another store is cut to what there is. */
	struct place p = {.seq = 1000};
	buf_c(&p.kind, "other");
	buf_c(&p.state, "secret");
	assert_int_equal(place_save(&p, t.rig.fs, "data/outputs/out-a", &e), 0);
	place_fini(&p);
	start(&t, 1);
	commit(&t, 1);
	WAIT(a, a->n == 21);
	assert_string_equal(a->state, ""); /* what another kind left is not for it */
	fini(&t);
}

static void ticks_come(void **state)
{
	struct bench t;

	init(&t);
	start(&t, 1);
	WAIT(a, a->ticks >= 3);
	control(&t, "out-a", OUTPUT_PAUSE, (struct output_rewind){0});
	unsigned n = a->ticks;
	WAIT(a, a->ticks >= n + 3);
	control(&t, "out-a", OUTPUT_REOPEN, (struct output_rewind){0});
	WAIT(a, a->reopens == 1);
	fini(&t);
}

static void names_are_unique(void **state)
{
	struct probe_settings one = {.common.name = "x"}, two = {.common.name = "x"}, three = {0};
	struct kind_entry entries[] = {{.type = &probe_type, .settings = &one, .line = 3},
		{.type = &probe_type, .settings = &three, .line = 5},
		{.type = &probe_type, .settings = &two, .line = 7}};
	struct kinds kinds = {.items = entries, .n = 3};
	struct error e;

	assert_int_equal(outputs_check(&kinds, &e), ERR_ARG);
	assert_string_equal(e.text,
		"outputs: those of line 3 and line 7 are both called \"x\": give one of them another "
		"name");
	two.common.name = "probe";
	assert_int_equal(outputs_check(&kinds, &e), ERR_ARG);
	two.common.name = "y";
	assert_int_equal(outputs_check(&kinds, &e), 0);
}

static void settings_are_checked(void **state)
{
	struct error e;

	assert_int_equal(output_check_match(STR("{app=\"x\"} |= \"y\" | json"), &e), 0);
	assert_int_equal(output_check_match(STR("{app="), &e), ERR_ARG);
	assert_int_equal(output_check_match(STR("rate({}[5m])"), &e), ERR_ARG);
	assert_int_equal(output_check_match(STR("{} | uniq"), &e), ERR_ARG);
	assert_int_equal(output_check_name(STR("a-b_c.1"), &e), 0);
	assert_int_equal(output_check_name(STR(""), &e), ERR_ARG);
	assert_int_equal(output_check_name(STR(".."), &e), ERR_ARG);
	assert_int_equal(output_check_name(STR("a/b"), &e), ERR_ARG);
	assert_int_equal(output_severity_floor(0), 0);
	assert_int_equal(output_severity_floor(7), 23);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delivers_in_order_and_goes_on),
		cmocka_unit_test(begins_now),
		cmocka_unit_test(match_severity_and_tenant),
		cmocka_unit_test(catches_up_from_parts_in_order),
		cmocka_unit_test(a_failing_one_tries_again),
		cmocka_unit_test(a_failing_sync_goes_on_failing),
		cmocka_unit_test(a_failing_one_ends_at_once),
		cmocka_unit_test(poison_is_passed_by),
		cmocka_unit_test(a_hanging_one_holds_up_nobody),
		cmocka_unit_test(nothing_is_lost_in_a_crash),
		cmocka_unit_test(the_place_follows_the_sync),
		cmocka_unit_test(pause_outlasts_a_restart),
		cmocka_unit_test(rewinds),
		cmocka_unit_test(a_reload_touches_what_changed),
		cmocka_unit_test(a_successor_waits_for_one_that_hangs),
		cmocka_unit_test(what_retention_took_is_told),
		cmocka_unit_test(a_damaged_place_begins_anew),
		cmocka_unit_test(ticks_come),
		cmocka_unit_test(names_are_unique),
		cmocka_unit_test(settings_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
