/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A sink for the tests of inputs: keeps marks and tokens as the store does,
 * and what was committed by source and by the label file; it is late, busy
 * or fails as told.  Included by tests alone.
 */
#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/map.h"
#include "input/input.h"

struct fake_parcel {
	struct list node;
	struct batch *batch;
	sink_done *done;
	void *arg;
};

struct fake_sink {
	struct sink sink;
	pthread_t thread;
	struct lock lock;
	struct cond changed;
	struct list queue;
	bool quit, hold;     /* hold: acknowledge nothing */
	unsigned delay_us;   /* before each batch */
	unsigned busy_every; /* every nth submit is ERR_BUSY */
	unsigned fail_every; /* every nth batch fails with fail_code */
	int fail_code;
	const char *poison;    /* a batch with this text in a line is ERR_ARG */
	const char *bad_label; /* and with this label value ERR_LIMIT */
	unsigned n_submits, n_batches;
	uint64_t n_records, n_duplicates, n_gaps, n_accounted, n_order_errors;
	struct map marks;     /* source -> mark */
	struct map tokens;    /* source -> heap string */
	struct map bodies;    /* label file -> heap struct buf: bodies with a newline each */
	struct map positions; /* source -> last position, to see that order holds */
	int64_t last_commit_mono;
	struct buf labels; /* of the last committed record, as text */
	struct buf meta;   /* metadata of all committed records with any, as text */
	int64_t last_time;
	uint8_t last_flags, last_severity;
};

static struct buf *fake_body(struct fake_sink *f, struct str file)
{
	bool added;
	union map_value *v = map_put(&f->bodies, file, &added);

	if (added)
		v->p = xcalloc(1, sizeof(struct buf));
	return v->p;
}

static int fake_check(struct fake_sink *f, struct batch *b, struct sink_result *r)
{
	f->n_batches++;
	if (f->fail_every && f->n_batches % f->fail_every == 0)
		return r->code = error_set(&r->error, f->fail_code, "told to fail");
	for (size_t i = 0; i < batch_count(b); i++) {
		struct record rec = batch_record(b, i);
		struct str value;

		if (f->poison && !(rec.flags & RECORD_GAP) &&
			str_find(rec.body, str_c(f->poison)) >= 0)
			return r->code = error_set(&r->error, ERR_ARG, "poison");
		if (f->bad_label && labels_get(batch_stream(b, rec.stream), STR("app"), &value) &&
			str_eq_c(value, f->bad_label))
			return r->code = error_set(&r->error, ERR_LIMIT, "bad label");
	}
	for (size_t i = 0; i < batch_n_sources(b); i++) {
		struct batch_source s = batch_source(b, i);
		union map_value *mark = map_put(&f->marks, s.id, NULL);

		if (s.kind == POSITION_MARK && s.from > mark->u) {
			f->n_gaps++;
			r->mark = mark->u;
			return r->code = error_set(&r->error, ERR_GAP, "gap");
		}
	}
	return 0;
}

static void fake_commit(struct fake_sink *f, struct batch *b, struct sink_result *r)
{
	for (size_t i = 0; i < batch_count(b); i++) {
		struct record rec = batch_record(b, i);
		struct str labels = batch_stream(b, rec.stream), file = STR("");

		if (rec.source) {
			struct batch_source s = batch_source(b, rec.source - 1u);
			union map_value *last = map_put(&f->positions, s.id, NULL);

			assert(s.kind != POSITION_MARK || rec.position <= s.to);
			if (s.kind == POSITION_MARK &&
				rec.position <= map_get(&f->marks, s.id)->u) {
				r->n_duplicates++;
				f->n_duplicates++;
				continue;
			}
			if (s.kind == POSITION_MARK && rec.position <= last->u)
				f->n_order_errors++;
			last->u = rec.position;
		}
		labels_get(labels, STR("file"), &file);
		buf_str(fake_body(f, file), rec.body);
		buf_char(fake_body(f, file), '\n');
		buf_clear(&f->labels);
		labels_text(&f->labels, labels);
		if (rec.meta.n)
			labels_text(&f->meta, rec.meta);
		f->last_time = rec.timestamp;
		f->last_flags = rec.flags;
		f->last_severity = rec.severity;
		f->n_records++;
		r->n_committed++;
	}
	for (size_t i = 0; i < batch_n_sources(b); i++) {
		struct batch_source s = batch_source(b, i);

		if (s.kind == POSITION_MARK) {
			union map_value *mark = map_put(&f->marks, s.id, NULL);

			mark->u = s.to > mark->u ? s.to : mark->u;
		} else {
			union map_value *token = map_put(&f->tokens, s.id, NULL);

			free(token->p);
			token->p = str_dup(s.token);
		}
	}
	f->last_commit_mono = clock_mono_ns(clock_real());
}

static void *fake_thread(void *arg)
{
	struct fake_sink *f = arg;

	lock_take(&f->lock);
	for (;;) {
		struct sink_result r = {0};
		struct fake_parcel *p;

		while ((list_empty(&f->queue) || f->hold) && !f->quit)
			cond_wait(&f->changed, &f->lock);
		if (list_empty(&f->queue))
			break;
		p = CONTAINER(f->queue.next, struct fake_parcel, node);
		list_remove(&p->node);
		if (f->delay_us) {
			unsigned us = f->delay_us;

			lock_drop(&f->lock);
			usleep(us);
			lock_take(&f->lock);
		}
		if (fake_check(f, p->batch, &r) == 0)
			fake_commit(f, p->batch, &r);
		lock_drop(&f->lock);
		p->done(p->arg, &r);
		batch_unref(p->batch);
		free(p);
		lock_take(&f->lock);
	}
	lock_drop(&f->lock);
	return NULL;
}

static int fake_submit(struct sink *s, struct batch *b, sink_done *done, void *arg, struct error *e)
{
	struct fake_sink *f = CONTAINER(s, struct fake_sink, sink);
	struct fake_parcel *p;

	lock_take(&f->lock);
	f->n_submits++;
	if (f->busy_every && f->n_submits % f->busy_every == 0) {
		lock_drop(&f->lock);
		return error_set(e, ERR_BUSY, "busy");
	}
	p = xcalloc(1, sizeof(*p));
	*p = (struct fake_parcel){.batch = b, .done = done, .arg = arg};
	list_append(&f->queue, &p->node);
	cond_broadcast(&f->changed);
	lock_drop(&f->lock);
	return 0;
}

static int fake_position(
	struct sink *s, struct str tenant, struct str source, struct buf *token, uint64_t *mark)
{
	struct fake_sink *f = CONTAINER(s, struct fake_sink, sink);
	union map_value *v;
	int r = ERR_NOT_FOUND;

	(void)tenant;
	lock_take(&f->lock);
	if ((v = map_get(&f->marks, source)) && mark) {
		*mark = v->u;
		r = 0;
	}
	if ((v = map_get(&f->tokens, source)) && token) {
		buf_c(token, v->p);
		r = 0;
	}
	lock_drop(&f->lock);
	return r;
}

static void fake_account(struct sink *s, struct str tenant, struct str input, const char *reason,
	uint64_t n, bool answered)
{
	struct fake_sink *f = CONTAINER(s, struct fake_sink, sink);

	(void)tenant;
	(void)input;
	(void)reason;
	(void)answered;
	lock_take(&f->lock);
	f->n_accounted += n;
	lock_drop(&f->lock);
}

static void fake_init(struct fake_sink *f)
{
	*f = (struct fake_sink){
		.sink = {.submit = fake_submit, .position = fake_position, .account = fake_account},
		.fail_code = ERR_IO};
	lock_init(&f->lock);
	cond_init(&f->changed);
	list_init(&f->queue);
	f->thread = thread_start("sink", fake_thread, f);
}

static inline void fake_set_hold(struct fake_sink *f, bool hold)
{
	lock_take(&f->lock);
	f->hold = hold;
	cond_broadcast(&f->changed);
	lock_drop(&f->lock);
}

static void fake_fini(struct fake_sink *f)
{
	const struct map_slot *slot;
	size_t at = 0;

	lock_take(&f->lock);
	f->quit = true;
	cond_broadcast(&f->changed);
	lock_drop(&f->lock);
	pthread_join(f->thread, NULL);
	while ((slot = map_next(&f->bodies, &at))) {
		buf_fini(slot->value.p);
		free(slot->value.p);
	}
	at = 0;
	while ((slot = map_next(&f->tokens, &at)))
		free(slot->value.p);
	map_fini(&f->marks);
	map_fini(&f->tokens);
	map_fini(&f->bodies);
	map_fini(&f->positions);
	buf_fini(&f->labels);
	buf_fini(&f->meta);
	lock_fini(&f->lock);
	cond_fini(&f->changed);
}

/* A copy of the bodies committed under the label file. */
static inline struct buf fake_text(struct fake_sink *f, const char *file)
{
	struct buf out = {0};

	lock_take(&f->lock);
	buf_str(&out, buf_view(fake_body(f, str_c(file))));
	lock_drop(&f->lock);
	return out;
}

static uint64_t fake_count(struct fake_sink *f)
{
	uint64_t n;

	lock_take(&f->lock);
	n = f->n_records;
	lock_drop(&f->lock);
	return n;
}

/* Wait until `n` records are committed; false after `ms`. */
static inline bool fake_wait(struct fake_sink *f, uint64_t n, unsigned ms)
{
	for (unsigned i = 0; i < ms; i++) {
		if (fake_count(f) >= n)
			return true;
		usleep(1000);
	}
	return fake_count(f) >= n;
}

/* An input that runs on a loop of its own. */
struct fake_run {
	struct loop *loop;
	const struct input_type *type;
	const void *settings;
	struct input_env env;
	void *input;
	struct error error;
	int code;
	_Atomic int done, ended;
};

static void fake_started(void *arg)
{
	struct fake_run *r = arg;

	r->code = r->type->start(&r->input, r->settings, &r->env, &r->error);
	r->done = 1;
}

static void fake_stopped(void *arg)
{
	((struct fake_run *)arg)->done = 1;
}

static void fake_stop(void *arg)
{
	struct fake_run *r = arg;

	r->type->stop(r->input, fake_stopped, r);
}

static void fake_ended(void *arg)
{
	((struct fake_run *)arg)->ended = 1;
}

static bool fake_wait_done(struct fake_run *r)
{
	for (int i = 0; i < 20000 && !r->done; i++)
		usleep(1000);
	return r->done;
}

static inline int fake_start_input(struct fake_run *r, const struct input_type *type,
	const void *settings, struct fake_sink *f, struct account *account, const char *state_dir)
{
	*r = (struct fake_run){.type = type, .settings = settings};
	r->loop = loop_new("test");
	r->env = (struct input_env){.loop = r->loop,
		.sink = &f->sink,
		.clock = clock_real(),
		.account = account,
		.discover = {true, true},
		.state_dir = state_dir,
		.host = "h1",
		.tenant = STR("default"),
		.ended = fake_ended,
		.ended_arg = r};
	loop_start(r->loop);
	loop_post(r->loop, fake_started, r);
	fake_wait_done(r);
	if (r->code < 0) {
		loop_stop(r->loop);
		loop_free(r->loop);
	}
	return r->code;
}

static inline bool fake_stop_input(struct fake_run *r)
{
	bool ok;

	r->done = 0;
	loop_post(r->loop, fake_stop, r);
	ok = fake_wait_done(r);
	loop_stop(r->loop);
	loop_free(r->loop);
	return ok;
}
