/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where rules come from does not matter behind here: each group is its
 * canonical text, and one whose text is the same is the same.  What became of
 * alerts goes on with a rule of the same names and labels, though its
 * expression may be another, so that what fires is either still there or told
 * as resolved.
 */
#include <stdlib.h>

#include "alert/alerts_core.h"
#include "alert/expand.h"
#include "alert/ready.h"
#include "base/map.h"
#include "base/memory.h"

/* --- groups ---------------------------------------------------------------------------- */

static int watched_init(struct watched *w, const struct rule *r, struct error *e)
{
	w->rule = r;
	if (!r->alerts)
		return 0;
	if (!new_template_is(r->expr))
		return query_parse(&w->query, r->expr, e);
	w->memory = new_template_memory_new();
	return new_template_parse(&w->fresh, r->expr, e);
}

int watch_new(
	struct watch **out, struct str tenant, struct str space, struct str text, struct error *e)
{
	struct watch *w = xcalloc(1, sizeof *w);
	int r;

	w->refs = 1;
	arena_init(&w->arena, NULL);
	w->tenant = arena_str(&w->arena, tenant);
	w->space = arena_str(&w->arena, space);
	w->text = arena_str(&w->arena, text);
	r = rule_group_parse(&w->group, w->text, &w->arena, e);
	w->rules = xcalloc(w->group.n, sizeof *w->rules);
	for (size_t i = 0; i < w->group.n && r == 0; i++)
		r = watched_init(&w->rules[i], &w->group.rules[i], e);
	if (r < 0) {
		watch_unref(w);
		return r;
	}
	*out = w;
	return 0;
}

void watch_unref(struct watch *w)
{
	if (!w || --w->refs > 0)
		return;
	for (size_t i = 0; w->rules && i < w->group.n; i++) {
		struct watched *r = &w->rules[i];

		query_free(r->query);
		new_template_fini(&r->fresh);
		new_template_memory_free(r->memory);
		alert_set_fini(&r->set);
	}
	free(w->rules);
	arena_fini(&w->arena);
	free(w);
}

/* --- the book -------------------------------------------------------------------------- */

void book_add(struct book *b, struct watch *w)
{
	if (b->n == b->cap) {
		b->cap = b->cap ? 2 * b->cap : 8;
		b->all = xrealloc(b->all, b->cap * sizeof(struct watch *));
	}
	b->all[b->n++] = w;
}

void book_fini(struct book *b)
{
	for (size_t i = 0; i < b->n; i++)
		watch_unref(b->all[i]);
	free(b->all);
	*b = (struct book){0};
}

struct watch *book_find(const struct book *b, struct str tenant, struct str space, struct str text)
{
	for (size_t i = 0; i < b->n; i++) {
		struct watch *w = b->all[i];

		if (str_eq(w->text, text) && str_eq(w->space, space) && str_eq(w->tenant, tenant))
			return w;
	}
	return NULL;
}

/* What a rule is known by: where it is, its names, its labels, and the how manieth of these. */
static void put_key(
	struct buf *out, const struct watch *w, const struct watched *r, struct map *counts)
{
	union map_value *n;

	buf_clear(out);
	for (const struct str *s = (const struct str[]){w->tenant, w->space, w->group.name,
		     r->rule->name, {0}};
		s->p; s++) {
		buf_str(out, *s);
		buf_char(out, '\0');
	}
	for (size_t i = 0; i < r->rule->n_labels; i++) {
		buf_str(out, r->rule->labels[i].name);
		buf_char(out, '\0');
		buf_str(out, r->rule->labels[i].value);
		buf_char(out, '\0');
	}
	n = map_put(counts, buf_view(out), NULL);
	buf_printf(out, "%llu", (unsigned long long)n->u++);
}

static bool is_in(const struct book *b, const struct watch *w)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->all[i] == w)
			return true;
	return false;
}

static void move(struct watched *to, struct watched *from)
{
	struct alert_set old = to->set;

	to->set = from->set;
	to->set.external_url = old.external_url;
	old.external_url = STR_NONE;
	from->set = (struct alert_set){0};
	alert_set_fini(&old);
	memcpy(to->error, from->error, sizeof to->error);
	memcpy(to->warning, from->warning, sizeof to->warning);
	to->evaluated_ns = from->evaluated_ns;
	to->took_ns = from->took_ns;
}

/* Those of the book by their keys. */
static void index_rules(const struct book *b, struct map *out)
{
	struct map counts = {0};
	struct buf key = {0};

	for (size_t i = 0; i < b->n; i++)
		for (size_t k = 0; k < b->all[i]->group.n; k++) {
			put_key(&key, b->all[i], &b->all[i]->rules[k], &counts);
			map_put(out, buf_view(&key), NULL)->p = &b->all[i]->rules[k];
		}
	map_fini(&counts);
	buf_fini(&key);
}

void book_succeed(struct book *old, const struct book *fresh,
	void (*lost)(void *arg, const struct watch *w, struct watched *r), void *arg)
{
	struct map by_key = {0}, counts = {0};
	struct buf key = {0};

	index_rules(fresh, &by_key);
	for (size_t i = 0; i < old->n; i++) {
		struct watch *w = old->all[i];
		bool stays = is_in(fresh, w);

		for (size_t k = 0; k < w->group.n; k++) {
			struct watched *r = &w->rules[k];
			const union map_value *heir;

			put_key(&key, w, r, &counts);
			heir = map_get(&by_key, buf_view(&key));
			if (stays)
				continue;
			if (heir && heir->p != r)
				move(heir->p, r);
			else
				lost(arg, w, r);
		}
		w->gone = !stays;
	}
	map_fini(&by_key);
	map_fini(&counts);
	buf_fini(&key);
	book_fini(old);
}

/* --- groups of the configuration ------------------------------------------------------- */

void group_texts_fini(struct group_texts *g)
{
	free(g->all);
	arena_fini(&g->arena);
	*g = (struct group_texts){0};
}

static int add_group(
	struct group_texts *out, struct str space, const struct rule_group *g, struct error *e)
{
	struct rule_group again;
	struct buf text = {0};
	int r;

	for (size_t i = 0; i < g->n; i++)
		if ((r = expand_check(&g->rules[i], e)) < 0)
			return error_wrap(e, r, "group %.*s", STR_ARG(g->name));
	rule_group_write(g, 0, false, &text);
	/* Ready-made ones were not read so far: a name may be none. */
	if ((r = rule_group_parse(&again, buf_view(&text), &out->arena, e)) < 0) {
		buf_fini(&text);
		return error_wrap(e, r, "group %.*s", STR_ARG(g->name));
	}
	if (out->n == out->cap) {
		out->cap = out->cap ? 2 * out->cap : 8;
		out->all = xrealloc(out->all, out->cap * sizeof *out->all);
	}
	out->all[out->n++] = (struct group_text){space, arena_str(&out->arena, buf_view(&text))};
	buf_fini(&text);
	return 0;
}

static int check_names(const struct rule_group *groups, size_t n, struct error *e)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++)
			if (str_eq(groups[i].name, groups[k].name))
				return error_set(e, ERR_ARG,
					"two groups are called %.*s: rename one of them",
					STR_ARG(groups[i].name));
	return 0;
}

static int add_file(struct group_texts *out, const char *path, struct fs *fs, struct error *e)
{
	struct buf text = {0};
	struct rule_group *groups;
	struct str space = arena_str(&out->arena, str_c(path));
	size_t n = 0;
	int r;

	if ((r = fs_read_all(fs, path, RULE_FILE_MAX, &text, e)) == 0 &&
		((r = rule_groups_parse(&groups, &n, buf_view(&text), &out->arena, e)) < 0 ||
			(r = check_names(groups, n, e)) < 0))
		r = error_wrap(e, r, "%s", path);
	for (size_t i = 0; i < n && r == 0; i++)
		if ((r = add_group(out, space, &groups[i], e)) < 0)
			r = error_wrap(e, r, "%s", path);
	buf_fini(&text);
	return r;
}

int group_texts_load(
	struct group_texts *out, const struct alert_settings *s, struct fs *fs, struct error *e)
{
	int r = ready_check(&s->ready, e);

	*out = (struct group_texts){0};
	arena_init(&out->arena, NULL);
	for (size_t i = 0; i < s->groups_file.n && r == 0; i++)
		r = add_file(out, s->groups_file.items[i], fs, e);
	for (size_t i = 0; i < s->ready.n && r == 0; i++) {
		struct rule_group g = ready_group(&s->ready.items[i], &out->arena);
		r = add_group(out, STR("sawlog"), &g, e);
	}
	if (r < 0)
		group_texts_fini(out);
	return r < 0 ? error_wrap(e, r, "alerts") : 0;
}
