/* SPDX-License-Identifier: Apache-2.0 */
#include "input/positions.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"
#include "os/fs.h"

void positions_init(struct positions *p)
{
	*p = (struct positions){0};
	list_init(&p->list);
	list_init(&p->lineages);
}

struct position *positions_find(const struct positions *p, uint64_t ino)
{
	union map_value *v = map_get(&p->by_ino, str_make(&ino, sizeof(ino)));

	return v ? v->p : NULL;
}

struct position *position_add(struct positions *p, const struct position *v)
{
	struct position *at = xmalloc(sizeof(*at));
	union map_value *first = map_put(&p->by_ino, str_make(&v->id.ino, sizeof(v->id.ino)), NULL);

	*at = *v;
	at->same = first->p;
	first->p = at;
	list_append(&p->list, &at->node);
	p->n++;
	return at;
}

void position_remove(struct positions *p, struct position *at)
{
	struct str key = str_make(&at->id.ino, sizeof(at->id.ino));
	union map_value *first = map_get(&p->by_ino, key);

	if (first->p == at && !at->same) {
		map_remove(&p->by_ino, key);
	} else if (first->p == at) {
		first->p = at->same;
	} else {
		struct position *before = first->p;

		while (before->same != at)
			before = before->same;
		before->same = at->same;
	}
	list_remove(&at->node);
	p->n--;
	free(at->path);
	free(at);
}

static bool has_position(const struct positions *p, const struct identity *id)
{
	for (struct position *at = positions_find(p, id->ino); at; at = at->same) {
		if (at->id.giver == id->giver && at->id.dev == id->dev &&
			at->id.generation == id->generation)
			return true;
	}
	return false;
}

void positions_merge(struct positions *p, struct positions *from)
{
	const struct map_slot *slot;
	size_t i = 0;

	LIST_EACH (node, &from->list) {
		struct position *at = CONTAINER(node, struct position, node);

		if (!has_position(p, &at->id)) {
			position_add(p, at);
			at->path = NULL;
		}
	}
	if (from->last_generation > p->last_generation)
		p->last_generation = from->last_generation;
	LIST_EACH (node, &from->lineages) {
		list_remove(node);
		list_append(&p->lineages, node);
		p->n_lineages++;
	}
	while ((slot = map_next(&from->globs, &i)))
		map_put(&p->globs, slot->key, NULL)->u = slot->value.u;
	positions_fini(from);
	positions_init(from);
}

struct lineage *positions_lineage(struct positions *p, const char *path)
{
	struct lineage *l = lineage_new(path);

	list_append(&p->lineages, &l->node);
	p->n_lineages++;
	return l;
}

void positions_forget(struct positions *p, struct lineage *l)
{
	p->n_lineages--;
	lineage_free(l);
}

void positions_fini(struct positions *p)
{
	LIST_EACH (at, &p->lineages)
		positions_forget(p, CONTAINER(at, struct lineage, node));
	LIST_EACH (at, &p->list)
		position_remove(p, CONTAINER(at, struct position, node));
	map_fini(&p->by_ino);
	map_fini(&p->globs);
}

uint64_t positions_generation(struct positions *p, int64_t now_ns)
{
	uint64_t now_us = now_ns > 0 ? (uint64_t)now_ns / 1000 : 0;

	p->last_generation = now_us > p->last_generation ? now_us : p->last_generation + 1;
	return p->last_generation;
}

/* Reading. */

static bool hex_u64(struct str s, uint64_t *out)
{
	uint64_t v = 0;

	if (s.n == 0 || s.n > 16)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		const char *digits = "0123456789abcdef";
		const char *at = s.p[i] ? strchr(digits, s.p[i]) : NULL;

		if (!at)
			return false;
		v = v << 4 | (uint64_t)(at - digits);
	}
	*out = v;
	return true;
}

/* The path without its escapes, on the heap; NULL when it is none. */
static char *path_read(struct str s)
{
	char *out, *to;

	if (s.n == 0 || memchr(s.p, 0, s.n))
		return NULL;
	out = to = xmalloc(s.n + 1);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != '\\') {
			*to++ = s.p[i];
		} else if (i + 1 < s.n && (s.p[i + 1] == '\\' || s.p[i + 1] == 'n')) {
			*to++ = s.p[++i] == 'n' ? '\n' : '\\';
		} else {
			free(out);
			return NULL;
		}
	}
	*to = 0;
	return out;
}

static bool position_read(struct positions *p, unsigned version, bool gone, struct str rest)
{
	struct position v = {.gone = gone, .saved = true, .id = {.giver = p->id}};
	uint64_t n;
	bool ok =
		(version < 2 || hex_u64(str_cut(&rest, ' '), &v.id.giver)) &&
		str_u64(str_cut(&rest, ' '), &v.id.dev) &&
		str_u64(str_cut(&rest, ' '), &v.id.ino) &&
		str_u64(str_cut(&rest, ' '), &v.id.generation) &&
		str_i64(str_cut(&rest, ' '), &v.id.birth_ns) && str_u64(str_cut(&rest, ' '), &n) &&
		n <= FINGERPRINT_BYTES && hex_u64(str_cut(&rest, ' '), &v.id.fingerprint) &&
		str_u64(str_cut(&rest, ' '), &v.start) && str_u64(str_cut(&rest, ' '), &v.offset) &&
		(version < 2 || str_u64(str_cut(&rest, ' '), &v.size)) &&
		str_i64(str_cut(&rest, ' '), &v.seen_s);

	if (!ok || !(v.path = path_read(rest)))
		return false;
	v.id.n_fingerprint = v.n_sealed = (uint32_t)n;
	position_add(p, &v);
	if (v.id.generation > p->last_generation)
		p->last_generation = v.id.generation;
	return true;
}

/* Of the position that was read last. */
static bool packed_as_read(struct positions *p, struct str rest)
{
	struct position *at = CONTAINER(p->list.prev, struct position, node);
	struct packed_as as;
	uint64_t generation;

	if (list_empty(&p->list) || !str_u64(str_cut(&rest, ' '), &generation) ||
		generation != at->id.generation || !str_u64(str_cut(&rest, ' '), &as.ino) ||
		!str_i64(str_cut(&rest, ' '), &as.birth_ns) || rest.n != 1)
		return false;
	as.done = rest.p[0] == '1';
	at->as = as;
	return as.ino != 0 && (as.done || rest.p[0] == '0');
}

static bool lineage_read(struct positions *p, unsigned version, struct str rest)
{
	struct lineage v = {.looked = true}, *l;
	uint64_t n;
	char *path;
	bool ok = str_i64(str_cut(&rest, ' '), &v.newest_ns) &&
		  (version < 2 || (str_i64(str_cut(&rest, ' '), &v.packed_ns) &&
					  str_i64(str_cut(&rest, ' '), &v.accounted_s) &&
					  hex_u64(str_cut(&rest, ' '), &v.target_hash))) &&
		  str_i64(str_cut(&rest, ' '), &v.seen_s) && str_u64(str_cut(&rest, ' '), &n) &&
		  n <= LINEAGE_TIES;

	for (v.n_inodes = 0; ok && v.n_inodes < n; v.n_inodes++)
		ok = str_u64(str_cut(&rest, ' '), &v.inodes[v.n_inodes]);
	if (!ok || !(path = path_read(rest)))
		return false;
	l = positions_lineage(p, path);
	free(path);
	l->looked = true;
	l->newest_ns = v.newest_ns;
	l->packed_ns = v.packed_ns;
	l->target_hash = v.target_hash;
	l->accounted_s = version < 2 ? v.seen_s : v.accounted_s;
	l->seen_s = v.seen_s;
	l->n_inodes = v.n_inodes;
	memcpy(l->inodes, v.inodes, sizeof(v.inodes));
	return true;
}

static bool glob_read(struct positions *p, struct str rest)
{
	int64_t seen_s;
	char *pattern;

	if (!str_i64(str_cut(&rest, ' '), &seen_s) || !(pattern = path_read(rest)))
		return false;
	map_put(&p->globs, str_c(pattern), NULL)->u = (uint64_t)seen_s;
	free(pattern);
	return true;
}

static bool line_read(struct positions *p, unsigned version, struct str word, struct str rest)
{
	uint64_t v;

	if (str_eq(word, STR("last")) && str_u64(rest, &v)) {
		if (v > p->last_generation)
			p->last_generation = v;
		return true;
	}
	if (str_eq(word, STR("file")))
		return position_read(p, version, false, rest);
	if (str_eq(word, STR("path")))
		return lineage_read(p, version, rest);
	if (version >= 2 && str_eq(word, STR("gone")))
		return position_read(p, version, true, rest);
	if (version >= 2 && str_eq(word, STR("packed")))
		return packed_as_read(p, rest);
	return version >= 2 && str_eq(word, STR("glob")) && glob_read(p, rest);
}

int positions_parse(struct positions *p, struct str text, size_t *n_damaged, struct error *e)
{
	struct str first = str_cut(&text, '\n');
	unsigned version = str_eq(first, STR("sawlog-positions 2"))   ? 2
			   : str_eq(first, STR("sawlog-positions 1")) ? 1
								      : 0;
	bool has_id = false;

	if (!version)
		return error_set(e, ERR_CORRUPT,
			"this is no file of positions: its first line is "
			"not \"sawlog-positions 2\"");
	while (text.p) {
		struct str line = str_cut(&text, '\n'), word = str_cut(&line, ' ');
		uint64_t v;

		if (word.n == 0 && !line.p)
			continue;
		if (str_eq(word, STR("id")) && hex_u64(line, &v)) {
			p->id = v;
			has_id = true;
		} else if (!line_read(p, version, word, line)) {
			++*n_damaged;
		}
	}
	if (!has_id)
		return error_set(e, ERR_CORRUPT, "the file of positions has no id");
	return 0;
}

int positions_load(struct positions *p, const char *path, size_t *n_damaged, struct error *e)
{
	struct buf text = {0};
	int r = fs_read_all(fs_real(), path, POSITIONS_MAX, &text, e);

	*n_damaged = 0;
	if (r == ERR_NOT_FOUND) {
		hash_random(&p->id, sizeof(p->id));
		p->fresh = true;
		r = 0;
	} else if (r >= 0) {
		r = positions_parse(p, buf_view(&text), n_damaged, e);
	}
	buf_fini(&text);
	return r < 0 ? error_wrap(e, r, "%s", path) : 0;
}

/* Writing. */

void positions_write_head(const struct positions *p, struct buf *out)
{
	buf_printf(out, "sawlog-positions 2\nid %016" PRIx64 "\nlast %" PRIu64 "\n", p->id,
		p->last_generation);
}

/* The path with its escapes, and the end of the line. */
static void path_write(const char *path, struct buf *out)
{
	for (const char *c = path; *c; c++) {
		if (*c == '\\' || *c == '\n')
			buf_char(out, '\\');
		buf_char(out, *c == '\n' ? 'n' : *c);
	}
	buf_char(out, '\n');
}

void position_write(const struct position *at, struct buf *out)
{
	buf_printf(out,
		"%s %016" PRIx64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %u %016" PRIx64
		" %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " ",
		at->gone ? "gone" : "file", at->id.giver, at->id.dev, at->id.ino, at->id.generation,
		at->id.birth_ns, at->id.n_fingerprint, at->id.fingerprint, at->start, at->offset,
		at->size, at->seen_s);
	path_write(at->path, out);
	if (at->as.ino)
		buf_printf(out, "packed %" PRIu64 " %" PRIu64 " %" PRId64 " %d\n",
			at->id.generation, at->as.ino, at->as.birth_ns, at->as.done);
}

void lineage_write(const struct lineage *l, struct buf *out)
{
	buf_printf(out, "path %" PRId64 " %" PRId64 " %" PRId64 " %016" PRIx64 " %" PRId64 " %zu ",
		l->newest_ns, l->packed_ns, l->accounted_s, l->target_hash, l->seen_s, l->n_inodes);
	for (size_t i = 0; i < l->n_inodes; i++)
		buf_printf(out, "%" PRIu64 " ", l->inodes[i]);
	path_write(l->path, out);
}

static int compare_keys(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

void positions_write_globs(const struct positions *p, struct buf *out)
{
	struct str *keys = xcalloc(p->globs.n + 1, sizeof(*keys));
	const struct map_slot *slot;
	size_t i = 0, n = 0;

	while ((slot = map_next(&p->globs, &i)))
		keys[n++] = slot->key;
	qsort(keys, n, sizeof(*keys), compare_keys);
	for (i = 0; i < n; i++) {
		char *pattern = str_dup(keys[i]);

		buf_printf(out, "glob %" PRId64 " ", (int64_t)map_get(&p->globs, keys[i])->u);
		path_write(pattern, out);
		free(pattern);
	}
	free(keys);
}
