/* SPDX-License-Identifier: Apache-2.0 */
/* The store as its users see it, on the fake disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/log.h"
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commits_and_reads_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
