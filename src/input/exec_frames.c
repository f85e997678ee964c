/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of `sawlog forward --stdio`.
 *
 *   GREETING ─► PREFIX ─► FRAME ─► submitted, FLYING ─► answered ─► PREFIX
 *                           │         ▲
 *                           └ HELD ───┘ the sink is busy: tried again
 *
 * Batches pass as they are, with their sources and positions: who sent them
 * keeps them until they are answered, and sends them again to the next run
 * of the command; so nothing of a run that breaks needs to be remembered.
 * Its answer to a batch that still flies then finds nobody and is dropped.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "input/exec.h"
#include "proto/frame.h"

enum {
	CHUNK = 256 << 10,
	GREETING_MAX = 64 << 10, /* what a login shell may say before it */
	BUSY_MS = 100,
};

enum frame_state { GREETING, PREFIX, FRAME, HELD, FLYING };

struct exec_frames {
	const struct input_env *env;
	struct exec_events events;
	void *arg;
	enum frame_state state;
	struct buf in;
	size_t length; /* of the frame, without its prefix */
	unsigned flags;
	uint64_t charged;
	struct batch *batch; /* HELD */
	struct timer retry;
	unsigned run; /* number of the run, so that a late answer is known */
	unsigned n_flying;
	uint64_t n_answered;
	loop_fn *stopped;
	void *stopped_arg;
};

struct flight {
	struct exec_frames *frames;
	unsigned run;
	struct sink_result result;
};

static void answer(struct exec_frames *f, const struct sink_result *result)
{
	struct buf line = {0}, json = {0};
	int status = frame_answer(&json, result);

	buf_printf(&line, "%d %.*s\n", status, STR_ARG(buf_view(&json)));
	f->state = PREFIX;
	f->n_answered++;
	f->events.answer(f->arg, buf_view(&line));
	buf_fini(&line);
	buf_fini(&json);
}

static void uncharge(struct exec_frames *f)
{
	account_release(f->env->account, f->charged);
	f->charged = 0;
}

static void say_stopped(void *arg)
{
	struct exec_frames *f = arg;

	f->stopped(f->stopped_arg);
}

static void landed(void *arg) /* loop */
{
	struct flight *fl = arg;
	struct exec_frames *f = fl->frames;

	f->n_flying--;
	if (f->stopped) {
		if (f->n_flying == 0)
			loop_post(f->env->loop, say_stopped, f);
	} else if (fl->run == f->run && f->state == FLYING) {
		answer(f, &fl->result);
		f->events.room(f->arg);
	}
	free(fl);
}

static void on_done(void *arg, const struct sink_result *result) /* sink's thread -> loop */
{
	struct flight *fl = arg;

	fl->result = *result;
	loop_post(fl->frames->env->loop, landed, fl);
}

static void submit(struct exec_frames *f)
{
	struct flight *fl = xcalloc(1, sizeof *fl);
	struct sink_result refused = {0};
	int r;

	fl->frames = f;
	fl->run = f->run;
	f->state = FLYING;
	f->n_flying++;
	r = sink_submit(f->env->sink, f->batch, on_done, fl, &refused.error);
	if (r >= 0) {
		f->batch = NULL;
		uncharge(f);
		return;
	}
	f->n_flying--;
	free(fl);
	if (r == ERR_BUSY) {
		f->state = HELD;
		timer_set(&f->retry, BUSY_MS, 0);
		return;
	}
	batch_unref(f->batch);
	f->batch = NULL;
	uncharge(f);
	refused.code = r;
	answer(f, &refused);
}

static void on_retry(void *arg)
{
	struct exec_frames *f = arg;

	if (f->state == HELD)
		submit(f);
	f->events.room(f->arg);
}

static void take_frame(struct exec_frames *f)
{
	struct sink_result refused = {0};
	struct str frame = str_sub(buf_view(&f->in), 0, f->length);
	int r = frame_read(&f->batch, frame, &refused.error);

	buf_shift(&f->in, f->length);
	if (f->in.n == 0)
		buf_fini(&f->in);
	if (r == 0 && !str_eq(batch_tenant(f->batch), f->env->tenant)) {
		r = error_set(&refused.error, ERR_DENIED,
			"the batch is for tenant \"%.*s\", this input is of \"%.*s\"",
			STR_ARG(batch_tenant(f->batch)), STR_ARG(f->env->tenant));
		batch_unref(f->batch);
	}
	if (r < 0) {
		f->batch = NULL;
		uncharge(f);
		refused.code = r;
		answer(f, &refused);
		return;
	}
	if (f->flags & FRAME_ELSEWHERE)
		batch_set_jump(f->batch);
	submit(f);
}

/* Look for the greeting; what is before it says nothing to us. */
static int find_greeting(struct exec_frames *f, struct error *e)
{
	ptrdiff_t at = str_find(buf_view(&f->in), STR(FRAME_GREETING));

	if (at < 0 && f->in.n > GREETING_MAX)
		return error_set(e, ERR_NET,
			"its output does not begin as that of sawlog forward --stdio: \"%.*s\"",
			STR_ARG(str_sub(buf_view(&f->in), 0, 60)));
	if (at >= 0) {
		buf_shift(&f->in, (size_t)at + strlen(FRAME_GREETING));
		f->state = PREFIX;
	}
	return 0;
}

/* Charge up to n bytes in all, or try again later. */
static bool charge(struct exec_frames *f, uint64_t n)
{
	if (!f->env->account || f->charged >= n)
		return true;
	if (account_charge(f->env->account, n - f->charged) < 0) {
		timer_set(&f->retry, BUSY_MS, 0);
		return false;
	}
	f->charged = n;
	return true;
}

/* A whole frame is here.  False: there is no room to unpack it now. */
static bool settle_frame(struct exec_frames *f)
{
	struct sink_result refused = {0};
	uint64_t need = f->length + frame_length(str_sub(buf_view(&f->in), 0, f->length));

	if (f->env->account && need > f->env->account->limit) {
		refused.code = error_set(&refused.error, ERR_LIMIT,
			"a batch that takes %llu bytes is more than the ceiling of %llu",
			(unsigned long long)need, (unsigned long long)f->env->account->limit);
		buf_shift(&f->in, f->length);
		uncharge(f);
		answer(f, &refused);
		return true;
	}
	if (!charge(f, need))
		return false;
	take_frame(f);
	return true;
}

/* Use what is there for one step; *again: there may be another. */
static int step(struct exec_frames *f, bool *again, struct error *e)
{
	int r = 0;

	*again = false;
	if (f->state == GREETING) {
		r = find_greeting(f, e);
		*again = f->state == PREFIX;
	} else if (f->state == PREFIX && f->in.n >= FRAME_PREFIX) {
		r = frame_prefix_read(f->in.p, &f->length, &f->flags, e);
		if (r == 0) {
			buf_shift(&f->in, FRAME_PREFIX);
			f->state = FRAME;
			*again = true;
		}
	} else if (f->state == FRAME && f->in.n >= f->length) {
		*again = settle_frame(f);
	}
	return r;
}

char *exec_frames_room(struct exec_frames *f, size_t *n)
{
	size_t want = 0;

	if (f->state == GREETING)
		want = 4096;
	else if (f->state == PREFIX && f->in.n < FRAME_PREFIX)
		want = FRAME_PREFIX - f->in.n;
	else if (f->state == FRAME && f->in.n < f->length && charge(f, f->length))
		want = f->length - f->in.n < CHUNK ? f->length - f->in.n : CHUNK;
	*n = want;
	return want ? buf_reserve(&f->in, want) : NULL;
}

int exec_frames_put(struct exec_frames *f, size_t n, struct error *e)
{
	bool again = true;
	int r = 0;

	f->in.n += n;
	while (again && r == 0)
		r = step(f, &again, e);
	return r;
}

void exec_frames_end(struct exec_frames *f)
{
	f->run++;
	f->state = GREETING;
	timer_clear(&f->retry);
	batch_unref(f->batch);
	f->batch = NULL;
	uncharge(f);
	buf_fini(&f->in);
}

bool exec_frames_idle(const struct exec_frames *f)
{
	return f->n_flying == 0;
}

struct exec_frames *exec_frames_new(
	const struct input_env *env, const struct exec_events *events, void *arg)
{
	struct exec_frames *f = xcalloc(1, sizeof *f);

	f->env = env;
	f->events = *events;
	f->arg = arg;
	timer_init(&f->retry, env->loop, on_retry, f);
	return f;
}

void exec_frames_stop(struct exec_frames *f, loop_fn *stopped, void *arg)
{
	exec_frames_end(f);
	f->stopped = stopped;
	f->stopped_arg = arg;
	if (f->n_flying == 0)
		loop_post(f->env->loop, say_stopped, f);
}

void exec_frames_free(struct exec_frames *f)
{
	if (!f)
		return;
	assert(f->n_flying == 0);
	timer_fini(&f->retry);
	batch_unref(f->batch);
	uncharge(f);
	buf_fini(&f->in);
	free(f);
}

void exec_frames_dump(const struct exec_frames *f, struct buf *out)
{
	static const char *const states[] = {"waits for the greeting", "waits for a frame",
		"reads a frame", "the store is busy", "a batch is being stored"};

	buf_printf(out, "exec: %llu frames answered, %s\n", (unsigned long long)f->n_answered,
		states[f->state]);
}
