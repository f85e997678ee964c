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

struct position *position_add(struct positions *p)
{
	struct position *at = xcalloc(1, sizeof(*at));

	list_append(&p->list, &at->node);
	p->n++;
	return at;
}

void position_remove(struct positions *p, struct position *at)
{
	list_remove(&at->node);
	p->n--;
	free(at->path);
	free(at);
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

static bool position_read(struct positions *p, struct str rest)
{
	struct position v = {0}, *at;
	uint64_t n;
	bool ok =
		str_u64(str_cut(&rest, ' '), &v.id.dev) &&
		str_u64(str_cut(&rest, ' '), &v.id.ino) &&
		str_u64(str_cut(&rest, ' '), &v.id.generation) &&
		str_i64(str_cut(&rest, ' '), &v.id.birth_ns) && str_u64(str_cut(&rest, ' '), &n) &&
		n <= FINGERPRINT_BYTES && hex_u64(str_cut(&rest, ' '), &v.id.fingerprint) &&
		str_u64(str_cut(&rest, ' '), &v.start) && str_u64(str_cut(&rest, ' '), &v.offset) &&
		str_i64(str_cut(&rest, ' '), &v.seen_s);

	if (!ok || !(v.path = path_read(rest)))
		return false;
	v.id.n_fingerprint = (uint32_t)n;
	at = position_add(p);
	v.node = at->node;
	*at = v;
	if (v.id.generation > p->last_generation)
		p->last_generation = v.id.generation;
	return true;
}

static bool lineage_read(struct positions *p, struct str rest)
{
	struct lineage v = {.looked = true}, *l;
	uint64_t n;
	char *path;
	bool ok = str_i64(str_cut(&rest, ' '), &v.newest_ns) &&
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
	l->seen_s = v.seen_s;
	l->n_inodes = v.n_inodes;
	memcpy(l->inodes, v.inodes, sizeof(v.inodes));
	return true;
}

int positions_parse(struct positions *p, struct str text, size_t *n_damaged, struct error *e)
{
	bool has_id = false;

	if (!str_eq(str_cut(&text, '\n'), STR("sawlog-positions 1")))
		return error_set(e, ERR_CORRUPT,
			"this is no file of positions: its first line is "
			"not \"sawlog-positions 1\"");
	while (text.p) {
		struct str line = str_cut(&text, '\n'), word = str_cut(&line, ' ');
		uint64_t v;

		if (word.n == 0 && !line.p)
			continue;
		if (str_eq(word, STR("id")) && hex_u64(line, &v)) {
			p->id = v;
			has_id = true;
		} else if (str_eq(word, STR("last")) && str_u64(line, &v)) {
			if (v > p->last_generation)
				p->last_generation = v;
		} else if (!(str_eq(word, STR("file")) && position_read(p, line)) &&
			   !(str_eq(word, STR("path")) && lineage_read(p, line))) {
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
	buf_printf(out, "sawlog-positions 1\nid %016" PRIx64 "\nlast %" PRIu64 "\n", p->id,
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
		"file %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %u %016" PRIx64 " %" PRIu64
		" %" PRIu64 " %" PRId64 " ",
		at->id.dev, at->id.ino, at->id.generation, at->id.birth_ns, at->id.n_fingerprint,
		at->id.fingerprint, at->start, at->offset, at->seen_s);
	path_write(at->path, out);
}

void lineage_write(const struct lineage *l, struct buf *out)
{
	buf_printf(out, "path %" PRId64 " %" PRId64 " %zu ", l->newest_ns, l->seen_s, l->n_inodes);
	for (size_t i = 0; i < l->n_inodes; i++)
		buf_printf(out, "%" PRIu64 " ", l->inodes[i]);
	path_write(l->path, out);
}
