/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  An exchange goes through phases; each ends when the last input that
 * was told to stop has stopped:
 *
 *   IDLE ─► OLD_STOP ──► all new started ──────────────────────► commit ─► IDLE
 *                    └─► one could not ─► NEW_STOP ─► old started again ─► IDLE
 *
 * Old before new, as both may want the same port or file; a listener whose
 * address is wanted by those that start next is left behind for them with its
 * connections (net/listener.h), any other is drained.
 * What runs in both is in both lists and is never touched.
 */
#include "input/set.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "net/listener.h"
#include "os/fs.h"

enum { RETRY_MS = 1000, RETRY_MAX_MS = 60000 };

enum state { STOPPED, RUNNING, STOPPING };
enum phase { IDLE, OLD_STOP, NEW_STOP };

struct running {
	struct inputs *owner;
	const struct input_type *type;
	const void *settings;
	struct generation *generation; /* one reference: settings live in it */
	struct input_env env;
	char *name; /* "exec-0123456789abcdef" */
	char *state_dir;
	char *signature; /* kind, settings and surroundings as text */
	void *input;     /* while RUNNING or STOPPING */
	enum state state;
	bool ended;       /* by itself */
	bool kept;        /* in an exchange: it is in both lists */
	bool interrupted; /* in an exchange: was stopped for it */
};

struct list_of {
	struct running **items;
	size_t n;
};

struct inputs {
	struct loop *loop;
	char *dir;
	loop_fn *ended;
	void *ended_arg;
	struct list_of now, next; /* next: in an exchange alone */
	enum phase phase;
	unsigned n_stopping;
	bool most;
	struct error problem; /* of the exchange */
	reload_done *done;
	void *done_arg;
	bool ending; /* inputs_stop: nobody comes after */
	loop_fn *stopped;
	void *stopped_arg;
	struct timer retry;
	struct backoff backoff;
};

struct generation *generation_new(void)
{
	struct generation *g = xcalloc(1, sizeof *g);

	arena_init(&g->arena, NULL);
	g->refs = 1;
	return g;
}

void generation_unref(struct generation *g)
{
	if (!g || --g->refs)
		return;
	arena_fini(&g->arena);
	free(g);
}

/* One input. */

static char *text_of(struct buf *b)
{
	char *s = str_dup(buf_view(b));

	buf_fini(b);
	return s;
}

static char *signature_of(const struct kind_entry *k, const struct input_env *env)
{
	const struct input_type *type = k->type;
	struct buf text = {0};

	buf_printf(&text, "%s %s %.*s %d %d\n", type->name, env->host, STR_ARG(env->tenant),
		env->discover.service_name, env->discover.level);
	conf_effective(k->settings, type->options, &text);
	return text_of(&text);
}

static struct running *running_new(struct inputs *in, const struct inputs_wanted *w,
	const struct kind_entry *k, char *signature)
{
	struct running *r = xcalloc(1, sizeof *r);

	r->owner = in;
	r->type = k->type;
	r->settings = k->settings;
	r->generation = w->generation;
	r->generation->refs++;
	r->env = w->env;
	r->signature = signature;
	return r;
}

static void running_free(struct running *r)
{
	if (!r)
		return;
	assert(r->state == STOPPED);
	generation_unref(r->generation);
	free(r->name);
	free(r->state_dir);
	free(r->signature);
	free(r);
}

/* Tell when every one has come to its end. */
static void check_ended(struct inputs *in)
{
	if (in->phase != IDLE || in->stopped || in->now.n == 0)
		return;
	for (size_t i = 0; i < in->now.n; i++)
		if (!in->now.items[i]->ended)
			return;
	if (in->ended)
		in->ended(in->ended_arg);
}

static void on_ended(void *arg)
{
	struct running *r = arg;

	r->ended = true;
	check_ended(r->owner);
}

struct search {
	const char *address;
	bool found;
};

static void compare(void *arg, const char *address, bool guarded)
{
	struct search *s = arg;

	(void)guarded;
	s->found |= strcmp(s->address, address) == 0;
}

/* Will one of those that start next in the exchange listen there? */
static bool wanted(void *arg, const char *address)
{
	struct inputs *in = ((struct running *)arg)->owner;
	const struct list_of *l = in->phase == OLD_STOP ? &in->next : &in->now;
	struct search s = {.address = address};

	if (in->ending || in->phase == IDLE)
		return false;
	for (size_t i = 0; i < l->n; i++) {
		const struct running *r = l->items[i];

		if (!r->kept && (in->phase == OLD_STOP || r->interrupted) && r->type->listens)
			r->type->listens(r->settings, compare, &s);
	}
	return s.found;
}

static int running_start(struct running *r, struct error *e)
{
	int code;

	r->env.state_dir = r->state_dir;
	r->env.ended = on_ended;
	r->env.ended_arg = r;
	r->env.ending = &r->owner->ending;
	r->env.wanted = wanted;
	r->env.wanted_arg = r;
	r->ended = false;
	r->interrupted = false;
	/* Before: an input may end within its start. */
	r->state = RUNNING;
	if ((code = r->type->start(&r->input, r->settings, &r->env, e)) < 0) {
		r->input = NULL;
		r->state = STOPPED;
		return error_wrap(e, code, "input %s", r->name);
	}
	return 0;
}

static void all_stopped(struct inputs *in);

static void on_stopped(void *arg)
{
	struct running *r = arg;
	struct inputs *in = r->owner;

	r->input = NULL;
	r->state = STOPPED;
	assert(in->n_stopping > 0);
	if (--in->n_stopping == 0)
		all_stopped(in);
}

/* n_stopping is held above zero by the caller, who stops several. */
static void running_stop(struct running *r)
{
	if (r->state != RUNNING)
		return;
	r->state = STOPPING;
	r->owner->n_stopping++;
	r->type->stop(r->input, on_stopped, r);
}

static void stop_end(struct inputs *in)
{
	if (--in->n_stopping == 0)
		all_stopped(in);
}

/* Names. */

static bool name_taken(const struct inputs *in, const char *name)
{
	for (size_t i = 0; i < in->next.n; i++) {
		const struct running *r = in->next.items[i];

		if (r->name && strcmp(r->name, name) == 0)
			return true;
	}
	return false;
}

/* The text of the first option as it would be written, or none when it is not set. */
static void first_option(const struct running *r, struct buf *out)
{
	struct option first[2] = { r->type->options[0], OPTION_END };

	if (first[0].name && first[0].kind != OPT_OBJECT)
		conf_effective(r->settings, first, out);
}

static bool first_option_set(const struct running *r)
{
	const struct option *o = &r->type->options[0];
	const char *at = (const char *)r->settings + o->offset;

	switch (o->name ? o->kind : OPT_OBJECT) {
	case OPT_STRING:
	case OPT_PATH: {
		const char *s = *(const char *const *)at;

		return s && (!o->fallback || strcmp(s, o->fallback) != 0);
	}
	case OPT_GROUPS: return ((const struct string_groups *)at)->n > 0;
	case OPT_STRINGS:
	case OPT_PATHS:
	case OPT_LISTEN: return ((const struct strings *)at)->n > 0;
	default: return false;
	}
}

static void name_input(struct inputs *in, struct running *r)
{
	struct buf base = {0}, name = {0}, first = {0};

	buf_c(&base, r->type->name);
	if (!r->type->shared_state && first_option_set(r)) {
		first_option(r, &first);
		buf_printf(&base, "-%016" PRIx64, hash_stable(buf_view(&first)));
	}
	buf_str(&name, buf_view(&base));
	for (unsigned k = 2; !r->type->shared_state && name_taken(in, buf_cstr(&name)); k++) {
		buf_clear(&name);
		buf_printf(&name, "%s-%u", buf_cstr(&base), k);
	}
	buf_fini(&base);
	buf_fini(&first);
	r->name = text_of(&name);
	buf_printf(&name, "%s/%s", in->dir, r->name);
	r->state_dir = text_of(&name);
}

/* Older versions named the folder by the place among those of its kind. */
static void take_over(struct inputs *in, const struct running *r, unsigned place)
{
	struct buf old = {0};
	struct file_stat st;
	struct error e;

	if (r->type->shared_state)
		return; /* those of several become one: the kind does that itself */
	buf_printf(&old, "%s/%s-%u", in->dir, r->type->name, place);
	if (fs_stat(fs_real(), buf_cstr(&old), &st, NULL) < 0)
		goto done;
	if (fs_stat(fs_real(), r->state_dir, &st, NULL) == 0)
		log_warn("input", "%s: what %s holds of an older version is not used: %s is there",
			r->name, buf_cstr(&old), r->state_dir);
	else if (fs_rename(fs_real(), buf_cstr(&old), r->state_dir, &e) < 0)
		log_warn("input", "%s: taking over %s: %s", r->name, buf_cstr(&old), e.text);
done:
	buf_fini(&old);
}

/* An exchange. */

static struct running *find_same(struct list_of *l, const char *signature)
{
	for (size_t i = 0; i < l->n; i++)
		if (!l->items[i]->kept && strcmp(l->items[i]->signature, signature) == 0)
			return l->items[i];
	return NULL;
}

static void plan(struct inputs *in, const struct inputs_wanted *w)
{
	in->next.items = xcalloc(w->kinds->n + 1, sizeof *in->next.items);
	for (size_t i = 0; i < w->kinds->n; i++) {
		const struct kind_entry *k = &w->kinds->items[i];
		char *signature = signature_of(k, &w->env);
		struct running *same = find_same(&in->now, signature);

		if (same) {
			same->kept = true;
			free(signature);
		} else {
			same = running_new(in, w, k, signature);
		}
		in->next.items[in->next.n++] = same;
	}
	for (size_t i = 0; i < in->next.n; i++)
		if (!in->next.items[i]->name)
			name_input(in, in->next.items[i]);
}

static int make_folders(struct inputs *in, struct error *e)
{
	int code;

	for (size_t i = 0; i < in->next.n; i++) {
		struct running *r = in->next.items[i];
		unsigned place = 0;

		if (r->kept)
			continue;
		for (size_t k = 0; k < i; k++)
			place += in->next.items[k]->type == r->type;
		take_over(in, r, place);
		if ((code = fs_mkdir(fs_real(), r->state_dir, e)) < 0)
			return error_wrap(e, code, "input %s", r->name);
	}
	return 0;
}

/* Free what of `l` is not in both lists, and the list. */
static void drop(struct list_of *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (!l->items[i]->kept)
			running_free(l->items[i]);
	free(l->items);
	*l = (struct list_of){0};
}

static void unmark(struct inputs *in)
{
	for (size_t i = 0; i < in->now.n; i++)
		in->now.items[i]->kept = false;
}

static void retry_later(struct inputs *in)
{
	for (size_t i = 0; i < in->now.n; i++) {
		if (in->now.items[i]->state == STOPPED) {
			timer_set(&in->retry, backoff_next(&in->backoff), 0);
			return;
		}
	}
	backoff_reset(&in->backoff);
}

/* Try those again that could not start. */
static void retry(void *arg)
{
	struct inputs *in = arg;
	struct error e;

	if (in->phase != IDLE || in->stopped)
		return;
	for (size_t i = 0; i < in->now.n; i++) {
		struct running *r = in->now.items[i];

		if (r->state == STOPPED && running_start(r, &e) == 0)
			log_info("input", "%s runs now", r->name);
		else if (r->state == STOPPED)
			log_debug("input", "%s", e.text);
	}
	retry_later(in);
}

static void finish(struct inputs *in)
{
	reload_done *done = in->done;
	struct error problem = in->problem;

	/* Of one that failed to start, and of the others when all are told to stop meanwhile. */
	listener_drop_parked(in->loop);
	for (size_t i = 0; input_types[i]; i++)
		if (input_types[i]->settled)
			input_types[i]->settled(in->loop);
	in->phase = IDLE;
	in->done = NULL;
	unmark(in);
	if (!in->stopped)
		retry_later(in);
	if (done)
		done(in->done_arg, problem.code ? &problem : NULL);
	check_ended(in);
}

static void start_old(struct inputs *in)
{
	struct error e;

	drop(&in->next);
	for (size_t i = 0; i < in->now.n; i++) {
		struct running *r = in->now.items[i];

		if (r->interrupted && running_start(r, &e) < 0)
			log_error("input", "%s: it ran before the reload; trying again", e.text);
	}
	finish(in);
}

static void start_new(struct inputs *in)
{
	struct error e;

	for (size_t i = 0; i < in->next.n; i++) {
		struct running *r = in->next.items[i];

		if (r->state != STOPPED || (running_start(r, &e) == 0) || r->kept)
			continue;
		if (in->problem.code == 0)
			in->problem = e;
		if (in->most)
			continue;
		in->phase = NEW_STOP;
		in->n_stopping = 1;
		for (size_t k = 0; k < in->next.n; k++)
			if (!in->next.items[k]->kept)
				running_stop(in->next.items[k]);
		stop_end(in);
		return;
	}
	drop(&in->now);
	in->now = in->next;
	in->next = (struct list_of){0};
	finish(in);
}

static void all_stopped(struct inputs *in)
{
	loop_fn *stopped = in->stopped;

	if (stopped) {
		if (in->phase != IDLE) {
			drop(&in->next);
			if (in->problem.code == 0)
				error_set(&in->problem, ERR_CLOSED, "the process is ending");
			finish(in);
		}
		stopped(in->stopped_arg);
	} else if (in->phase == OLD_STOP) {
		start_new(in);
	} else {
		assert(in->phase == NEW_STOP);
		start_old(in);
	}
}

int inputs_apply(struct inputs *in, const struct inputs_wanted *w, reload_done *done, void *arg,
	struct error *e)
{
	int code;

	if (in->phase != IDLE || in->stopped)
		return error_set(e, ERR_BUSY, "a reload is under way already: try again");
	plan(in, w);
	if ((code = make_folders(in, e)) < 0) {
		drop(&in->next);
		unmark(in);
		return code;
	}
	timer_clear(&in->retry);
	backoff_reset(&in->backoff);
	in->phase = OLD_STOP;
	in->most = w->most;
	in->problem = (struct error){0};
	in->done = done;
	in->done_arg = arg;
	in->n_stopping = 1;
	for (size_t i = 0; i < in->now.n; i++) {
		struct running *r = in->now.items[i];

		if (r->kept)
			continue;
		/* One that could not start is not worse off than before. */
		r->interrupted = r->state == RUNNING;
		running_stop(r);
	}
	stop_end(in);
	return 0;
}

/* The set. */

struct inputs *inputs_new(struct loop *loop, const char *dir, loop_fn *ended, void *arg)
{
	struct inputs *in = xcalloc(1, sizeof *in);

	in->loop = loop;
	in->dir = xstrdup(dir);
	in->ended = ended;
	in->ended_arg = arg;
	in->backoff = (struct backoff){.base_ms = RETRY_MS, .max_ms = RETRY_MAX_MS};
	timer_init(&in->retry, loop, retry, in);
	return in;
}

void inputs_stop(struct inputs *in, loop_fn *stopped, void *arg)
{
	assert(!in->stopped);
	in->ending = true;
	in->stopped = stopped;
	in->stopped_arg = arg;
	timer_clear(&in->retry);
	in->n_stopping++;
	for (size_t i = 0; i < in->now.n; i++)
		running_stop(in->now.items[i]);
	for (size_t i = 0; i < in->next.n; i++)
		running_stop(in->next.items[i]);
	stop_end(in);
}

void inputs_free(struct inputs *in)
{
	if (!in)
		return;
	assert(in->phase == IDLE);
	drop(&in->now);
	timer_fini(&in->retry);
	free(in->dir);
	free(in);
}

size_t inputs_count(const struct inputs *in)
{
	size_t n = 0;

	for (size_t i = 0; i < in->now.n; i++)
		n += in->now.items[i]->state != STOPPED;
	for (size_t i = 0; i < in->next.n; i++)
		n += !in->next.items[i]->kept && in->next.items[i]->state != STOPPED;
	return n;
}

void inputs_dump(const struct inputs *in, struct buf *out)
{
	static const char *const states[] = {"not running", "running", "stopping"};

	if (in->phase != IDLE)
		buf_printf(out, "inputs: a reload is under way, %u stopping\n", in->n_stopping);
	for (size_t i = 0; i < in->now.n; i++) {
		const struct running *r = in->now.items[i];

		buf_printf(out, "input %s: %s%s\n", r->name, states[r->state],
			r->ended ? ", at its end" : "");
		if (r->state == RUNNING && r->type->dump)
			r->type->dump(r->input, out);
	}
}

/* Reloads. */

static void reloads_begin(struct reloads *r)
{
	r->running = true;
	r->again = false;
	r->n_current = r->n_waiters;
	r->begin(r->ctx);
}

void reloads_ask(struct reloads *r, reload_done *done, void *arg)
{
	if (done) {
		r->waiters = xrealloc(r->waiters, (r->n_waiters + 1) * sizeof *r->waiters);
		r->waiters[r->n_waiters++] = (struct reload_waiter){done, arg};
	}
	if (r->running)
		r->again = true;
	else
		reloads_begin(r);
}

static void answer(struct reloads *r, size_t n, const struct error *e)
{
	struct reload_waiter *waiters = r->waiters;
	size_t left = r->n_waiters - n;

	if (n == 0)
		return;
	r->waiters = xcalloc(left + 1, sizeof *r->waiters);
	memcpy(r->waiters, waiters + n, left * sizeof *waiters);
	r->n_waiters = left;
	for (size_t i = 0; i < n; i++)
		waiters[i].done(waiters[i].arg, e);
	free(waiters);
}

void reloads_finish(struct reloads *r, const struct error *e)
{
	assert(r->running);
	if (!r->ended)
		answer(r, r->n_current, e);
	r->n_current = 0;
	r->running = false;
	if (r->again)
		reloads_begin(r);
}

void reloads_end(struct reloads *r, const struct error *e)
{
	answer(r, r->n_waiters, e);
	r->ended = true;
	r->again = false;
	r->n_current = 0;
	free(r->waiters);
	r->waiters = NULL;
}
