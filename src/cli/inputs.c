/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An input is known by its kind and its place among those of its kind
 * ("file-0"): that is the name of the folder where it keeps its positions.
 * Two configurations of the same name are the same input with other settings.
 */
#include "cli/inputs.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "os/fs.h"

struct running {
	char *name; /* "file-0" */
	char *state_dir;
	char *signature; /* its settings as text */
	const struct input_type *type;
	const void *settings;
	struct config_generation *generation; /* one reference: settings live in it */
	void *input;                          /* NULL: not running */
	struct inputs *owner;
};

struct inputs {
	struct input_env env;
	char *data;
	struct running **items;
	size_t n;
	/* An exchange under way. */
	struct running **next; /* what shall run after it; NULL: none under way */
	size_t n_next;
	unsigned n_stopping;
	void (*done)(void *arg, const struct error *e);
	loop_fn *stopped;
	void *arg;
};

struct config_generation *generation_new(void)
{
	struct config_generation *g = xcalloc(1, sizeof *g);

	arena_init(&g->arena, NULL);
	g->refs = 1;
	return g;
}

void generation_unref(struct config_generation *g)
{
	if (!g || --g->refs)
		return;
	arena_fini(&g->arena);
	free(g);
}

static char *print(const char *fmt, ...) PRINTF(1, 2);

static char *print(const char *fmt, ...)
{
	struct buf b = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	buf_cstr(&b);
	return b.p;
}

static struct running *running_new(struct inputs *in, struct config_generation *g,
	const struct kind_entry *entry, unsigned place)
{
	struct running *r = xcalloc(1, sizeof *r);
	struct buf text = {0};

	r->owner = in;
	r->type = entry->type;
	r->settings = entry->settings;
	r->generation = g;
	g->refs++;
	r->name = print("%s-%u", entry->kind, place);
	r->state_dir = print("%s/inputs/%s", in->data, r->name);
	conf_effective(entry->settings, r->type->options, &text);
	r->signature = str_dup(buf_view(&text));
	buf_fini(&text);
	return r;
}

static void running_free(struct running *r)
{
	if (!r)
		return;
	assert(!r->input);
	generation_unref(r->generation);
	free(r->name);
	free(r->state_dir);
	free(r->signature);
	free(r);
}

static int running_start(struct running *r, struct error *e)
{
	struct input_env env = r->owner->env;
	int code;

	env.state_dir = r->state_dir;
	if ((code = fs_mkdir(fs_real(), r->state_dir, e)) < 0 ||
		(code = r->type->start(&r->input, r->settings, &env, e)) < 0) {
		r->input = NULL;
		return error_wrap(e, code, "input %s", r->name);
	}
	return 0;
}

struct inputs *inputs_new(const struct input_env *env, const char *data)
{
	struct inputs *in = xcalloc(1, sizeof *in);

	in->env = *env;
	in->data = xstrdup(data);
	return in;
}

void inputs_set_discover(struct inputs *in, struct discover d)
{
	in->env.discover = d;
}

static struct running *find(struct running **items, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (items[i] && strcmp(items[i]->name, name) == 0)
			return items[i];
	return NULL;
}

static void finish(struct inputs *in, const struct error *e)
{
	void (*done)(void *arg, const struct error *e) = in->done;

	in->done = NULL;
	if (done)
		done(in->arg, e);
}

/* All that had to stop has stopped: start what is new. */
static void start_next(struct inputs *in)
{
	struct error e, first = {0};

	for (size_t i = 0; i < in->n_next; i++) {
		struct running *fresh = in->next[i], *old = find(in->items, in->n, fresh->name);
		if (fresh->input || running_start(fresh, &e) == 0)
			continue;
		if (first.code == 0)
			first = e;
		if (!old)
			continue;
		/* Its old settings run again. */
		if (running_start(old, &e) < 0)
			log_error("input", "%s", e.text);
		struct running swap = *fresh;
		*fresh = *old;
		*old = swap;
	}
	for (size_t i = 0; i < in->n; i++)
		if (in->items[i]) {
			in->items[i]->input = NULL;
			running_free(in->items[i]);
		}
	free(in->items);
	in->items = in->next;
	in->n = in->n_next;
	in->next = NULL;
	finish(in, first.code ? &first : NULL);
}

static void one_stopped(void *arg)
{
	struct running *r = arg;
	struct inputs *in = r->owner;

	r->input = NULL;
	if (--in->n_stopping)
		return;
	if (in->next)
		start_next(in);
	else if (in->stopped)
		in->stopped(in->arg);
}

int inputs_apply(struct inputs *in, struct config_generation *g,
	void (*done)(void *arg, const struct error *e), void *arg, struct error *e)
{
	const struct kinds *kinds = &g->config.inputs;

	if (in->next || in->stopped)
		return error_set(e, ERR_BUSY, "a reload is under way already: try again");
	in->next = xcalloc(kinds->n, sizeof *in->next);
	in->n_next = kinds->n;
	in->done = done;
	in->arg = arg;
	for (size_t i = 0; i < kinds->n; i++) {
		unsigned place = 0;
		for (size_t k = 0; k < i; k++)
			place += kinds->items[k].type == kinds->items[i].type;
		in->next[i] = running_new(in, g, &kinds->items[i], place);
	}
	/* The same name and settings: hand the running input over. */
	in->n_stopping = 1;
	for (size_t i = 0; i < in->n; i++) {
		struct running *old = in->items[i], *fresh = find(in->next, in->n_next, old->name);
		if (fresh && old->input && strcmp(fresh->signature, old->signature) == 0) {
			for (size_t k = 0; k < in->n_next; k++)
				if (in->next[k] == fresh)
					in->next[k] = old;
			running_free(fresh);
			in->items[i] = NULL;
		} else if (old->input) {
			in->n_stopping++;
			old->type->stop(old->input, one_stopped, old);
		}
	}
	if (--in->n_stopping == 0)
		start_next(in);
	return 0;
}

void inputs_stop(struct inputs *in, loop_fn *stopped, void *arg)
{
	in->stopped = stopped;
	in->arg = arg;
	in->n_stopping++;
	for (size_t i = 0; i < in->n; i++)
		if (in->items[i] && in->items[i]->input) {
			in->n_stopping++;
			in->items[i]->type->stop(in->items[i]->input, one_stopped, in->items[i]);
		}
	if (--in->n_stopping == 0)
		stopped(arg);
}

void inputs_free(struct inputs *in)
{
	if (!in)
		return;
	for (size_t i = 0; i < in->n; i++)
		running_free(in->items[i]);
	free(in->items);
	free(in->data);
	free(in);
}

size_t inputs_count(const struct inputs *in)
{
	size_t n = 0;

	for (size_t i = 0; i < in->n; i++)
		n += in->items[i]->input != NULL;
	return n;
}

void inputs_dump(const struct inputs *in, struct buf *out)
{
	for (size_t i = 0; i < in->n; i++) {
		const struct running *r = in->items[i];
		if (!r)
			continue;
		buf_printf(out, "input %s: %s\n", r->name, r->input ? "running" : "not running");
		if (r->input && r->type->dump)
			r->type->dump(r->input, out);
	}
}
