/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pattern is known by the hash of its text.  The memory has for each when it
 * was first found to be new (INT64_MIN: it was there before), and when it was
 * last seen, so that what was not seen for the history is forgotten.
 */
#include "alert/new_template.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/duration.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/memory.h"

#define PREFIX STR("new_template(")

enum { KNOWN_MAX = 8 * PATTERNS_MAX, PATTERN_LABEL_MAX = 1024 };

struct known {
	int64_t first_ns, last_ns;
};

struct new_template_memory {
	struct map by_hash; /* index into known */
	struct known *known;
	size_t n, cap;
	int64_t last_ns; /* when it was last asked */
};

/* --- the expression -------------------------------------------------------------------- */

bool new_template_is(struct str expr)
{
	return str_starts(str_trim(expr), PREFIX);
}

static int bad(struct error *e, const char *why)
{
	return error_set(e, ERR_ARG,
		"%s: it is written new_template({app=\"shop\"} [5m], 7d): lines, for how long they "
		"are new, and how long before they must not have come",
		why);
}

/* From behind: ")", the history, ",", "]", the window, "[". */
static bool cut_last(struct str *rest, char c, struct str *behind)
{
	for (size_t i = rest->n; i-- > 0;) {
		if (rest->p[i] != c)
			continue;
		*behind = str_trim(str_sub(*rest, i + 1, rest->n));
		*rest = str_trim(str_sub(*rest, 0, i));
		return true;
	}
	return false;
}

int new_template_parse(struct new_template *out, struct str expr, struct error *e)
{
	struct str rest = str_trim(expr), history, window, behind;
	int r;

	if (!str_starts(rest, PREFIX))
		return bad(e, "no new_template expression");
	rest = str_sub(rest, PREFIX.n, rest.n);
	if (!cut_last(&rest, ')', &behind) || behind.n)
		return bad(e, "the ) at the end is missing");
	if (!cut_last(&rest, ',', &history) || !duration_parse(history, &out->history_ns) ||
		out->history_ns <= 0)
		return bad(e, "the history is no duration");
	if (!cut_last(&rest, ']', &behind) || behind.n || !cut_last(&rest, '[', &window) ||
		!duration_parse(window, &out->window_ns) || out->window_ns <= 0)
		return bad(e, "the window is no duration in brackets");
	if ((r = query_parse(&out->query, rest, e)) < 0)
		return r;
	if (!query_is_log(out->query) || query_reshapes(out->query)) {
		query_free(out->query);
		return bad(e, "the lines are not those of a selector with filters");
	}
	return 0;
}

void new_template_fini(struct new_template *n)
{
	query_free(n->query);
}

/* --- the memory ------------------------------------------------------------------------ */

struct new_template_memory *new_template_memory_new(void)
{
	return xcalloc(1, sizeof(struct new_template_memory));
}

static void forget(struct new_template_memory *m)
{
	map_fini(&m->by_hash);
	m->n = 0;
}

void new_template_memory_free(struct new_template_memory *m)
{
	if (!m)
		return;
	forget(m);
	free(m->known);
	free(m);
}

static struct str key_of(const struct pattern *p, uint64_t *hash)
{
	*hash = hash_stable(p->text);
	return str_make(hash, sizeof *hash);
}

/* NULL: it is not known. */
static struct known *find(struct new_template_memory *m, const struct pattern *p)
{
	uint64_t hash;
	const union map_value *at = map_get(&m->by_hash, key_of(p, &hash));

	return at ? &m->known[at->u] : NULL;
}

static void learn(struct new_template_memory *m, const struct pattern *p, struct known k)
{
	uint64_t hash;
	bool added;
	union map_value *at = map_put(&m->by_hash, key_of(p, &hash), &added);

	if (!added) {
		m->known[at->u] = k;
		return;
	}
	if (m->n == m->cap) {
		m->cap = m->cap ? 2 * m->cap : 256;
		m->known = xrealloc(m->known, m->cap * sizeof *m->known);
	}
	at->u = m->n;
	m->known[m->n++] = k;
}

/* --- running --------------------------------------------------------------------------- */

struct run {
	const struct new_template *n;
	struct new_template_memory *m;
	struct source *source;
	const struct query_params *params;
	int64_t now_ns;
};

static int look(
	const struct run *r, int64_t from_ns, int64_t to_ns, struct patterns *out, struct error *e)
{
	struct patterns_params p = {.query = *r->params};

	p.query.start_ns = from_ns;
	p.query.end_ns = to_ns;
	p.query.step_ns = 0;
	p.query.limit = 0;
	return source_patterns(r->source, r->n->query, &p, out, e);
}

static bool is_unknown(const struct run *r, const struct pattern *p)
{
	const struct known *k = find(r->m, p);

	return !k || k->last_ns < r->now_ns - r->n->window_ns - r->n->history_ns;
}

/* What was there before is learnt; *any says whether anything was. */
static int learn_history(const struct run *r, bool *any, struct error *e)
{
	int64_t until_ns = r->now_ns - r->n->window_ns;
	struct patterns before;
	int code = look(r, until_ns - r->n->history_ns, until_ns, &before, e);

	if (code < 0)
		return code;
	*any = before.lines > 0;
	if (before.inexact)
		code = error_set(e, ERR_LIMIT,
			"there are too many kinds of lines to tell which are new: narrow the "
			"selector, or leave out lines that are no text");
	for (size_t i = 0; i < before.n && code == 0; i++)
		learn(r->m, &before.patterns[i], (struct known){INT64_MIN, until_ns});
	patterns_fini(&before);
	return code;
}

static int learn_window(const struct run *r, const struct patterns *now, struct error *e)
{
	bool any = true, asked = false;
	int code;

	for (size_t i = 0; i < now->n; i++) {
		const struct pattern *p = &now->patterns[i];
		struct known k = {.first_ns = r->now_ns, .last_ns = r->now_ns};

		if (is_unknown(r, p) && !asked) {
			if ((code = learn_history(r, &any, e)) < 0)
				return code;
			asked = true;
		}
		if (!is_unknown(r, p))
			k.first_ns = find(r->m, p)->first_ns;
		else if (!any)
			k.first_ns = INT64_MIN;
		learn(r->m, p, k);
	}
	return 0;
}

/* Only of what is in the window: it may have come once and be learnt already. */
static bool is_new(const struct run *r, const struct pattern *p)
{
	const struct known *k = find(r->m, p);

	return k && k->first_ns != INT64_MIN && k->first_ns > r->now_ns - r->n->window_ns;
}

static struct str put_series(struct labels_builder *b, const struct pattern *p, struct arena *a)
{
	struct str text = str_sub(p->text, 0, PATTERN_LABEL_MAX), made;
	struct buf out = {0};

	labels_builder_clear(b);
	if (text.n < p->text.n) {
		/* Others may begin alike, and must not have the same labels. */
		buf_str(&out, str_sub(text, 0, str_utf8_valid(text)));
		buf_printf(&out, "... (%016" PRIx64 ")", hash_stable(p->text));
		text = buf_view(&out);
	}
	labels_builder_set(b, STR("pattern"), text, NULL);
	buf_clear(&out);
	if (p->level)
		labels_builder_set(b, STR("detected_level"), str_c(p->level), NULL);
	labels_builder_write(b, &out);
	made = arena_str(a, buf_view(&out));
	buf_fini(&out);
	return made;
}

/* The most frequent come first. */
static void put_result(const struct run *r, const struct patterns *now, struct query_result *out)
{
	struct labels_builder b = {0};

	*out = (struct query_result){.type = RESULT_VECTOR, .last_seq = now->result.last_seq};
	arena_init(&out->arena, NULL);
	out->series = ARENA_ARRAY(&out->arena, struct query_series, NEW_TEMPLATES_MAX);
	for (size_t i = 0; i < now->n && out->n_series < NEW_TEMPLATES_MAX; i++) {
		const struct pattern *p = &now->patterns[i];
		struct query_series *s = &out->series[out->n_series];

		if (!is_new(r, p))
			continue;
		s->labels = put_series(&b, p, &out->arena);
		s->samples = ARENA_NEW(&out->arena, struct query_sample);
		s->samples[0] = (struct query_sample){r->now_ns, (double)p->count};
		s->n = 1;
		out->n_series++;
	}
	labels_builder_fini(&b);
}

int new_template_run(const struct new_template *n, struct new_template_memory *m, struct source *s,
	const struct query_params *p, struct query_result *out, struct error *e)
{
	struct run r = {.n = n, .m = m, .source = s, .params = p, .now_ns = p->end_ns};
	struct patterns now;
	int code;

	/* The clock was set back, or there is too much: it is found out anew. */
	if (r.now_ns < m->last_ns || m->n > KNOWN_MAX)
		forget(m);
	m->last_ns = r.now_ns;
	if ((code = look(&r, r.now_ns - n->window_ns, r.now_ns, &now, e)) < 0)
		return code;
	code = learn_window(&r, &now, e);
	if (code == 0)
		put_result(&r, &now, out);
	patterns_fini(&now);
	return code;
}
