/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules are few and change seldom, so each namespace is one small file that is
 * written anew as a whole, and one arena that is parsed anew out of that text:
 * what is in memory is always what is on the disk.
 */
#include "alert/rules.h"

#include <stdlib.h>

#include "alert/expand.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/memory.h"

struct space {
	char *tenant, *name;
	bool broken; /* its file cannot be read */
	struct arena arena;
	struct rule_group *groups;
	size_t n;
	uint64_t bytes; /* of its file */
};

struct rules {
	/* Fixed. */
	struct fs *fs;
	char *dir;
	/* Under `lock`. */
	struct lock lock;
	struct space **spaces; /* sorted by tenant and name */
	size_t n;
};

/* --- paths ---------------------------------------------------------------------------- */

static bool is_plain(char c)
{
	char low = (char)(c | 0x20);

	return (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static void put_path(const struct rules *r, struct str tenant, struct str space, struct buf *out)
{
	buf_printf(out, "%s/%.*s/", r->dir, STR_ARG(tenant));
	for (size_t i = 0; i < space.n; i++) {
		if (is_plain(space.p[i]))
			buf_char(out, space.p[i]);
		else
			buf_printf(out, "%%%02X", (unsigned char)space.p[i]);
	}
	buf_c(out, ".yaml");
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The namespace of a file; false when its name is none of ours. */
static bool space_of_file(struct str file, struct buf *out)
{
	if (!str_ends(file, STR(".yaml")))
		return false;
	file.n -= 5;
	for (size_t i = 0; i < file.n; i++) {
		int high, low;
		if (is_plain(file.p[i])) {
			buf_char(out, file.p[i]);
			continue;
		}
		if (file.p[i] != '%' || i + 2 >= file.n || (high = hex(file.p[i + 1])) < 0 ||
			(low = hex(file.p[i + 2])) < 0)
			return false;
		buf_char(out, (char)(high * 16 + low));
		i += 2;
	}
	return out->n > 0 && out->n <= RULE_NAMESPACE_MAX;
}

/* --- the table ------------------------------------------------------------------------ */

static struct space *space_new(struct str tenant, struct str name)
{
	struct space *s = xcalloc(1, sizeof *s);

	s->tenant = str_dup(tenant);
	s->name = str_dup(name);
	arena_init(&s->arena, NULL);
	return s;
}

static void space_free(struct space *s)
{
	if (!s)
		return;
	arena_fini(&s->arena);
	free(s->tenant);
	free(s->name);
	free(s);
}

/* Where it is, or where it would be. */
static size_t find(const struct rules *r, struct str tenant, struct str name, bool *there)
	REQUIRES(r->lock)
{
	size_t i = 0;
	int order = 1;

	for (; i < r->n; i++) {
		order = str_cmp(str_c(r->spaces[i]->tenant), tenant);
		if (order == 0)
			order = str_cmp(str_c(r->spaces[i]->name), name);
		if (order >= 0)
			break;
	}
	*there = i < r->n && order == 0;
	return i;
}

static void insert(struct rules *r, size_t at, struct space *s) REQUIRES(r->lock)
{
	r->spaces = xrealloc(r->spaces, (r->n + 1) * sizeof(struct space *));
	memmove(r->spaces + at + 1, r->spaces + at, (r->n - at) * sizeof(struct space *));
	r->spaces[at] = s;
	r->n++;
}

static void take_out(struct rules *r, size_t at) REQUIRES(r->lock)
{
	space_free(r->spaces[at]);
	r->n--;
	memmove(r->spaces + at, r->spaces + at + 1, (r->n - at) * sizeof(struct space *));
}

/* --- loading -------------------------------------------------------------------------- */

static void load_space(struct rules *r, struct str tenant, struct str name, const char *path)
	REQUIRES(r->lock)
{
	struct space *s = space_new(tenant, name);
	struct buf text = {0};
	struct error e;
	bool there;

	if (fs_read_all(r->fs, path, RULE_FILE_MAX, &text, &e) < 0 ||
		rule_groups_parse(&s->groups, &s->n, buf_view(&text), &s->arena, &e) < 0) {
		log_warn("rules", "%s: %s; its groups are left out", path, e.text);
		s->broken = true;
		s->n = 0;
	}
	s->bytes = text.n;
	buf_fini(&text);
	insert(r, find(r, tenant, name, &there), s);
}

static void load_tenant(struct rules *r, struct str tenant) REQUIRES(r->lock)
{
	struct buf names = {0}, space = {0}, path = {0};
	struct error e;
	size_t n = 0;
	const char *at;

	buf_printf(&path, "%s/%.*s", r->dir, STR_ARG(tenant));
	if (fs_list(r->fs, buf_cstr(&path), &names, &n, &e) < 0) {
		log_warn("rules", "%s", e.text);
		n = 0;
	}
	at = names.p;
	for (size_t i = 0; i < n; i++, at += strlen(at) + 1) {
		buf_clear(&space);
		if (!space_of_file(str_c(at), &space))
			continue;
		buf_clear(&path);
		buf_printf(&path, "%s/%.*s/%s", r->dir, STR_ARG(tenant), at);
		load_space(r, tenant, buf_view(&space), buf_cstr(&path));
	}
	buf_fini(&names);
	buf_fini(&space);
	buf_fini(&path);
}

int rules_open(struct rules **out, struct fs *fs, const char *dir, struct error *e)
{
	struct rules *r = xcalloc(1, sizeof *r);
	struct buf names = {0};
	const char *at;
	size_t n = 0;
	int code;

	r->fs = fs;
	r->dir = xstrdup(dir);
	lock_init(&r->lock);
	code = fs_list(fs, dir, &names, &n, e);
	if (code == ERR_NOT_FOUND)
		code = 0;
	at = names.p;
	lock_take(&r->lock);
	for (size_t i = 0; code == 0 && i < n; i++, at += strlen(at) + 1)
		load_tenant(r, str_c(at));
	lock_drop(&r->lock);
	buf_fini(&names);
	if (code < 0)
		rules_close(r);
	else
		*out = r;
	return code;
}

void rules_close(struct rules *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++)
		space_free(r->spaces[i]);
	free(r->spaces);
	free(r->dir);
	lock_fini(&r->lock);
	free(r);
}

/* --- changing ------------------------------------------------------------------------- */

static int check_space(struct str space, struct error *e)
{
	if (space.n == 0 || space.n > RULE_NAMESPACE_MAX || memchr(space.p, 0, space.n))
		return error_set(e, ERR_ARG, "a namespace has 1 to %d bytes", RULE_NAMESPACE_MAX);
	return 0;
}

static int check_room(const struct rules *r, uint64_t bytes, struct error *e) REQUIRES(r->lock)
{
	uint64_t groups = 1;

	for (size_t i = 0; i < r->n; i++) {
		groups += r->spaces[i]->n;
		bytes += r->spaces[i]->bytes;
	}
	if (groups > RULE_GROUPS_MAX)
		return error_set(e, ERR_LIMIT, "there are %d rule groups: delete some first",
			RULE_GROUPS_MAX);
	if (bytes > RULE_BYTES_MAX)
		return error_set(e, ERR_LIMIT,
			"the rule files would take more than %d MiB: delete some groups first",
			RULE_BYTES_MAX >> 20);
	return 0;
}

static void put_groups(struct buf *out, const struct space *s, const struct rule_group *in_place,
	struct str without)
{
	bool replaced = false;

	buf_c(out, "groups:\n");
	for (size_t i = 0; s && i < s->n; i++) {
		const struct rule_group *g = &s->groups[i];
		if (str_eq(g->name, without))
			continue;
		if (in_place && str_eq(g->name, in_place->name)) {
			g = in_place;
			replaced = true;
		}
		rule_group_write(g, 4, true, out);
	}
	if (in_place && !replaced)
		rule_group_write(in_place, 4, true, out);
}

/* Write the file and have what it says in memory. */
static int store(struct rules *r, struct str tenant, struct str space, struct str text,
	struct error *e) REQUIRES(r->lock)
{
	struct space *s = space_new(tenant, space);
	struct buf path = {0};
	bool there;
	size_t at;
	int code;

	s->bytes = text.n;
	buf_printf(&path, "%s/%.*s", r->dir, STR_ARG(tenant));
	if (text.n > RULE_FILE_MAX)
		code = error_set(e, ERR_LIMIT, "the groups of a namespace take at most %d MiB",
			RULE_FILE_MAX >> 20);
	else if ((code = rule_groups_parse(&s->groups, &s->n, text, &s->arena, e)) == 0)
		code = fs_mkdir(r->fs, buf_cstr(&path), e);
	if (code == 0) {
		buf_clear(&path);
		put_path(r, tenant, space, &path);
		code = fs_write_all(r->fs, buf_cstr(&path), text, e);
	}
	buf_fini(&path);
	if (code < 0) {
		space_free(s);
		return code;
	}
	at = find(r, tenant, space, &there);
	if (there) {
		space_free(r->spaces[at]);
		r->spaces[at] = s;
	} else {
		insert(r, at, s);
	}
	return 0;
}

static int put(struct rules *r, struct str tenant, struct str space, const struct rule_group *g,
	struct error *e) REQUIRES(r->lock)
{
	struct buf text = {0};
	bool there;
	size_t at = find(r, tenant, space, &there);
	const struct space *s = there ? r->spaces[at] : NULL;
	int code;

	if (s && s->broken)
		return error_set(e, ERR_CORRUPT,
			"the file of namespace %s cannot be read (see the log): mend it, or delete "
			"the namespace",
			s->name);
	put_groups(&text, s, g, STR_NONE);
	if ((code = check_room(r, text.n, e)) == 0)
		code = store(r, tenant, space, buf_view(&text), e);
	buf_fini(&text);
	return code;
}

/* Only of what is put: a group that is there already stays, as its alerts say what is wrong. */
static int check_texts(const struct rule_group *g, struct error *e)
{
	int code = 0;

	for (size_t i = 0; i < g->n && code == 0; i++)
		code = expand_check(&g->rules[i], e);
	return code;
}

int rules_put(
	struct rules *r, struct str tenant, struct str space, struct str yaml, struct error *e)
{
	struct rule_group g;
	struct arena a;
	int code;

	arena_init(&a, NULL);
	if ((code = check_space(space, e)) == 0 &&
		(code = rule_group_parse(&g, yaml, &a, e)) == 0 &&
		(code = check_texts(&g, e)) == 0) {
		lock_take(&r->lock);
		code = put(r, tenant, space, &g, e);
		lock_drop(&r->lock);
	}
	arena_fini(&a);
	return code;
}

static bool has_group(const struct space *s, struct str group)
{
	for (size_t i = 0; i < s->n; i++)
		if (str_eq(s->groups[i].name, group))
			return true;
	return false;
}

static int remove_space(struct rules *r, size_t at, struct error *e) REQUIRES(r->lock)
{
	struct buf path = {0};
	int code;

	put_path(r, str_c(r->spaces[at]->tenant), str_c(r->spaces[at]->name), &path);
	code = fs_unlink(r->fs, buf_cstr(&path), e);
	if (code == 0 || code == ERR_NOT_FOUND) {
		buf_clear(&path);
		buf_printf(&path, "%s/%s", r->dir, r->spaces[at]->tenant);
		code = fs_sync_dir(r->fs, buf_cstr(&path), e);
		take_out(r, at);
	}
	buf_fini(&path);
	return code;
}

static int delete_found(struct rules *r, size_t at, struct str group, struct error *e)
	REQUIRES(r->lock)
{
	const struct space *s = r->spaces[at];
	struct buf text = {0};
	int code;

	if (group.n == 0 || (s->n == 1 && has_group(s, group)))
		return remove_space(r, at, e);
	if (!has_group(s, group))
		return error_set(e, ERR_NOT_FOUND, "group does not exist");
	put_groups(&text, s, NULL, group);
	code = store(r, str_c(s->tenant), str_c(s->name), buf_view(&text), e);
	buf_fini(&text);
	return code;
}

int rules_delete(
	struct rules *r, struct str tenant, struct str space, struct str group, struct error *e)
{
	bool there;
	size_t at;
	int code;

	lock_take(&r->lock);
	at = find(r, tenant, space, &there);
	code = there ? delete_found(r, at, group, e)
		     : error_set(e, ERR_NOT_FOUND, "namespace does not exist");
	lock_drop(&r->lock);
	return code;
}

void rules_each(struct rules *r, struct str tenant, struct str space, struct str group,
	void (*each)(void *ctx, struct str space, const struct rule_group *g), void *ctx)
{
	lock_take(&r->lock);
	for (size_t i = 0; i < r->n; i++) {
		const struct space *s = r->spaces[i];
		if (!str_eq_c(tenant, s->tenant) || (space.n > 0 && !str_eq_c(space, s->name)))
			continue;
		for (size_t k = 0; k < s->n; k++)
			if (group.n == 0 || str_eq(group, s->groups[k].name))
				each(ctx, str_c(s->name), &s->groups[k]);
	}
	lock_drop(&r->lock);
}

void rules_each_tenant(struct rules *r,
	void (*each)(void *ctx, struct str tenant, struct str space, const struct rule_group *g),
	void *ctx)
{
	lock_take(&r->lock);
	for (size_t i = 0; i < r->n; i++)
		for (size_t k = 0; k < r->spaces[i]->n; k++)
			each(ctx, str_c(r->spaces[i]->tenant), str_c(r->spaces[i]->name),
				&r->spaces[i]->groups[k]);
	lock_drop(&r->lock);
}
