/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Silences are few and change seldom: each change writes all of them to one
 * file, and is in memory once that is durable.
 *
 * One that is changed while it runs keeps its id; one that has ended comes back
 * under a new id, as in Alertmanager, so that what people see as ended stays so.
 * A file that cannot be read is put aside and told in the log: without silences
 * too many are told, which is better than nobody.
 */
#include "alert/silences.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/memory.h"
#include "codec/json.h"
#include "codec/regex.h"
#include "record/labels.h"
#include "record/time.h"

enum {
	FILE_BYTES_MAX = 64 << 20,
	JSON_BYTES_MAX = 1 << 20,
	VALUE_MAX = 4096,
	CREATOR_MAX = 256,
	COMMENT_MAX = 4096,
	ID_BYTES = 36,
};

#define KEPT_NS (24 * 3600 * NS_PER_SEC)

struct matcher {
	char *name, *value;
	bool is_regex, is_equal;
	struct regex *regex; /* NULL unless is_regex */
};

struct silence {
	char *tenant, *id, *created_by, *comment;
	struct matcher *matchers;
	size_t n;
	int64_t starts_ns, ends_ns, updated_ns;
};

struct silences {
	/* Fixed. */
	struct fs *fs;
	struct clock *clock;
	char *path;
	/* Under `lock`. */
	struct lock lock;
	struct json_parser *parser;
	struct silence **all; /* in the order they were made */
	size_t n;
};

static void silence_free(struct silence *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++) {
		free(s->matchers[i].name);
		free(s->matchers[i].value);
		regex_free(s->matchers[i].regex);
	}
	free(s->matchers);
	free(s->tenant);
	free(s->id);
	free(s->created_by);
	free(s->comment);
	free(s);
}

/* --- reading one ----------------------------------------------------------------------- */

/* A member that is text; absent and null are empty. */
static int get_text(
	const struct json *j, size_t at, const char *key, size_t most, char **out, struct error *e)
{
	size_t i = json_get(j, at, key);
	struct str text = STR_NONE;

	if (i && j->nodes[i].type != JSON_NULL) {
		text = j->nodes[i].text;
		if (j->nodes[i].type != JSON_STRING || str_chr(text, 0) >= 0)
			return error_set(e, ERR_ARG, "%s: must be text without NUL", key);
		if (text.n > most)
			return error_set(e, ERR_LIMIT, "%s: at most %zu bytes", key, most);
	}
	*out = str_dup(text);
	return 0;
}

static int get_bool(
	const struct json *j, size_t at, const char *key, bool fallback, bool *out, struct error *e)
{
	size_t i = json_get(j, at, key);

	*out = fallback;
	if (i == 0 || j->nodes[i].type == JSON_NULL)
		return 0;
	if (j->nodes[i].type != JSON_TRUE && j->nodes[i].type != JSON_FALSE)
		return error_set(e, ERR_ARG, "%s: must be true or false", key);
	*out = j->nodes[i].type == JSON_TRUE;
	return 0;
}

/* *out stays when it is absent. */
static int get_time(const struct json *j, size_t at, const char *key, int64_t *out, struct error *e)
{
	size_t i = json_get(j, at, key);

	if (i == 0 || j->nodes[i].type == JSON_NULL)
		return 0;
	if (j->nodes[i].type != JSON_STRING || !time_parse_rfc3339(j->nodes[i].text, out))
		return error_set(
			e, ERR_ARG, "%s: must be a time like \"2026-08-21T10:00:00Z\"", key);
	return 0;
}

static int read_matcher(const struct json *j, size_t at, struct matcher *m, struct error *e)
{
	int r;

	if (j->nodes[at].type != JSON_OBJECT)
		return error_set(e, ERR_ARG, "must be an object with name and value");
	if ((r = get_text(j, at, "name", LABEL_NAME_MAX, &m->name, e)) < 0 ||
		(r = get_text(j, at, "value", VALUE_MAX, &m->value, e)) < 0 ||
		(r = get_bool(j, at, "isRegex", false, &m->is_regex, e)) < 0 ||
		(r = get_bool(j, at, "isEqual", true, &m->is_equal, e)) < 0)
		return r;
	if (!label_name_valid(str_c(m->name)))
		return error_set(e, ERR_ARG, "name: \"%s\" is no name of a label", m->name);
	if (m->is_regex && (r = regex_new(&m->regex, str_c(m->value), true, e)) < 0)
		return error_wrap(e, r, "value");
	return 0;
}

static bool matcher_fits(const struct matcher *m, struct str value)
{
	/* What exhausts the budget of a match is no match: then somebody is told. */
	bool same = m->is_regex ? regex_match(m->regex, value) == 1 : str_eq_c(value, m->value);

	return same == m->is_equal;
}

static int read_matchers(const struct json *j, size_t at, struct silence *s, struct error *e)
{
	size_t list = json_get(j, at, "matchers");
	bool picks = false;
	int r;

	if (list == 0 || j->nodes[list].type != JSON_ARRAY || j->nodes[list].inside == 0)
		return error_set(e, ERR_ARG, "matchers: must be a list of at least one matcher");
	for (size_t i = json_first(j, list); i < json_end(j, list); i = json_next(j, i)) {
		if (s->n == SILENCE_MATCHERS_MAX)
			return error_set(
				e, ERR_LIMIT, "matchers: at most %d of them", SILENCE_MATCHERS_MAX);
		s->matchers = xrealloc(s->matchers, (s->n + 1) * sizeof *s->matchers);
		s->matchers[s->n++] = (struct matcher){0};
		if ((r = read_matcher(j, i, &s->matchers[s->n - 1], e)) < 0)
			return error_wrap(e, r, "matchers: number %zu", s->n);
		picks |= !matcher_fits(&s->matchers[s->n - 1], STR_NONE);
	}
	/* Else a slip of the pen would silence everything. */
	return picks ? 0
		     : error_set(e, ERR_ARG,
			       "matchers: at least one must not match an empty value, as all "
			       "together would match every alert without these labels");
}

/* What the object at `at` says, but for tenant and updated_ns.  Times that are absent stay as the
 * caller set them. */
static int read_silence(const struct json *j, size_t at, struct silence *s, struct error *e)
{
	int r;

	if (j->nodes[at].type != JSON_OBJECT)
		return error_set(e, ERR_ARG, "a silence is a JSON object");
	if ((r = get_text(j, at, "id", ID_BYTES, &s->id, e)) < 0 ||
		(r = read_matchers(j, at, s, e)) < 0 ||
		(r = get_time(j, at, "startsAt", &s->starts_ns, e)) < 0 ||
		(r = get_time(j, at, "endsAt", &s->ends_ns, e)) < 0 ||
		(r = get_text(j, at, "createdBy", CREATOR_MAX, &s->created_by, e)) < 0)
		return r;
	return get_text(j, at, "comment", COMMENT_MAX, &s->comment, e);
}

/* --- writing one ----------------------------------------------------------------------- */

static const char *state_of(const struct silence *s, int64_t now_ns)
{
	return now_ns < s->starts_ns ? "pending" : now_ns < s->ends_ns ? "active" : "expired";
}

static void put_silence(struct buf *out, const struct silence *s, int64_t now_ns)
{
	buf_c(out, "{\"id\":");
	buf_json(out, str_c(s->id));
	buf_printf(out, ",\"status\":{\"state\":\"%s\"},\"matchers\":[", state_of(s, now_ns));
	for (size_t i = 0; i < s->n; i++) {
		const struct matcher *m = &s->matchers[i];

		buf_c(out, i ? ",{\"name\":" : "{\"name\":");
		buf_json(out, str_c(m->name));
		buf_c(out, ",\"value\":");
		buf_json(out, str_c(m->value));
		buf_printf(out, ",\"isRegex\":%s,\"isEqual\":%s}", m->is_regex ? "true" : "false",
			m->is_equal ? "true" : "false");
	}
	buf_char(out, ']');
	time_json(out, "startsAt", s->starts_ns);
	time_json(out, "endsAt", s->ends_ns);
	time_json(out, "updatedAt", s->updated_ns);
	buf_c(out, ",\"createdBy\":");
	buf_json(out, str_c(s->created_by));
	buf_c(out, ",\"comment\":");
	buf_json(out, str_c(s->comment));
	buf_char(out, '}');
}

/* --- the file -------------------------------------------------------------------------- */

/* Write them all, with `in` in the place of `at` (NULL: behind the last). */
static int save(const struct silences *s, const struct silence *at, const struct silence *in,
	struct error *e) REQUIRES(s->lock)
{
	struct buf text = {0};
	int r;

	buf_c(&text, "{\"version\":1,\"silences\":[");
	for (size_t i = 0; i <= s->n; i++) {
		const struct silence *one = i == s->n         ? (at ? NULL : in)
					    : s->all[i] == at ? in
							      : s->all[i];

		if (!one)
			continue;
		buf_c(&text, i ? ",\n{\"tenant\":" : "\n{\"tenant\":");
		buf_json(&text, str_c(one->tenant));
		buf_c(&text, ",\"silence\":");
		put_silence(&text, one, 0);
		buf_char(&text, '}');
	}
	buf_c(&text, "\n]}\n");
	r = fs_write_all(s->fs, s->path, buf_view(&text), e);
	buf_fini(&text);
	return r;
}

static int load_one(struct silences *s, const struct json *j, size_t at, struct error *e)
	REQUIRES(s->lock)
{
	struct silence *one = xcalloc(1, sizeof *one);
	size_t inside = json_get(j, at, "silence");
	int r;

	if (inside == 0 || s->n == SILENCES_MAX)
		r = error_set(e, ERR_CORRUPT, "entry %zu is no silence, or one too many", s->n + 1);
	else if ((r = get_text(j, at, "tenant", 1024, &one->tenant, e)) == 0 &&
		 (r = read_silence(j, inside, one, e)) == 0)
		r = get_time(j, inside, "updatedAt", &one->updated_ns, e);
	if (r < 0) {
		silence_free(one);
		return r;
	}
	s->all = xrealloc(s->all, (s->n + 1) * sizeof *s->all);
	s->all[s->n++] = one;
	return 0;
}

static int load_text(struct silences *s, struct str text, struct error *e) REQUIRES(s->lock)
{
	struct json j;
	size_t list;
	int r = json_parse(s->parser, text, &j, e);

	if (r < 0)
		return r;
	list = json_get(&j, 0, "silences");
	if (list == 0 || j.nodes[list].type != JSON_ARRAY)
		return error_set(e, ERR_CORRUPT, "it holds no list of silences");
	for (size_t i = json_first(&j, list); r == 0 && i < json_end(&j, list);
		i = json_next(&j, i))
		r = load_one(s, &j, i, e);
	return r;
}

static void drop_all(struct silences *s) REQUIRES(s->lock)
{
	for (size_t i = 0; i < s->n; i++)
		silence_free(s->all[i]);
	s->n = 0;
}

static int load(struct silences *s, struct error *e) REQUIRES(s->lock)
{
	struct buf text = {0}, aside = {0};
	struct error bad;
	int r = fs_read_all(s->fs, s->path, FILE_BYTES_MAX, &text, e);

	if (r == 0 && load_text(s, buf_view(&text), &bad) < 0) {
		drop_all(s);
		if ((r = fs_put_aside(s->fs, s->path, &aside, e)) == 0)
			log_error("alert",
				"%s: %s; it is put aside as %s, and no alert is silenced", s->path,
				bad.text, buf_cstr(&aside));
	}
	buf_fini(&text);
	buf_fini(&aside);
	return r == ERR_NOT_FOUND ? 0 : r;
}

int silences_open(struct silences **out, struct fs *fs, struct clock *clock, const char *path,
	struct error *e)
{
	struct silences *s = xcalloc(1, sizeof *s);
	int r;

	s->fs = fs;
	s->clock = clock;
	s->path = xstrdup(path);
	s->parser = json_parser_new();
	lock_init(&s->lock);
	lock_take(&s->lock);
	r = load(s, e);
	lock_drop(&s->lock);
	if (r < 0) {
		silences_close(s);
		return error_wrap(e, r, "silences");
	}
	*out = s;
	return 0;
}

static void free_list(struct silences *s) UNCHECKED
{
	drop_all(s);
	free(s->all);
}

void silences_close(struct silences *s)
{
	if (!s)
		return;
	free_list(s);
	json_parser_free(s->parser);
	free(s->path);
	lock_fini(&s->lock);
	free(s);
}

/* --- changing -------------------------------------------------------------------------- */

static struct silence *find(const struct silences *s, struct str tenant, struct str id)
	REQUIRES(s->lock)
{
	for (size_t i = 0; i < s->n; i++)
		if (str_eq_c(tenant, s->all[i]->tenant) && str_eq_c(id, s->all[i]->id))
			return s->all[i];
	return NULL;
}

/* Forget those that ended a day ago; the file follows with the next change. */
static void forget_old(struct silences *s, int64_t now_ns) REQUIRES(s->lock)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (s->all[i]->ends_ns < now_ns - KEPT_NS)
			silence_free(s->all[i]);
		else
			s->all[kept++] = s->all[i];
	}
	s->n = kept;
}

/* A random UUID, RFC 4122 version 4, as Alertmanager's ids are. */
static char *new_id(void)
{
	unsigned char raw[16];
	struct buf text = {0};

	hash_random(raw, sizeof raw);
	raw[6] = (raw[6] & 0x0f) | 0x40;
	raw[8] = (raw[8] & 0x3f) | 0x80;
	for (size_t i = 0; i < sizeof raw; i++)
		buf_printf(&text, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", raw[i]);
	buf_cstr(&text);
	return buf_take(&text).p;
}

static int check_times(struct silence *s, bool is_new, int64_t now_ns, struct error *e)
{
	/* Nobody can have been silent before it was asked for. */
	if (is_new && s->starts_ns < now_ns)
		s->starts_ns = now_ns;
	if (s->ends_ns == 0)
		return error_set(
			e, ERR_ARG, "endsAt: say when it ends, as in \"2026-08-21T10:00:00Z\"");
	if (s->ends_ns <= now_ns)
		return error_set(e, ERR_ARG, "endsAt: must not lie in the past");
	if (s->ends_ns <= s->starts_ns)
		return error_set(e, ERR_ARG, "endsAt: must be later than startsAt");
	return 0;
}

/* Put `fresh` where `old` is, or add it.  Takes `fresh` when it returns 0. */
static int replace(struct silences *s, struct silence *old, struct silence *fresh, struct error *e)
	REQUIRES(s->lock)
{
	int r = save(s, old, fresh, e);

	if (r < 0)
		return r;
	if (!old) {
		s->all = xrealloc(s->all, (s->n + 1) * sizeof *s->all);
		s->all[s->n++] = fresh;
		return 0;
	}
	for (size_t i = 0; i < s->n; i++)
		if (s->all[i] == old)
			s->all[i] = fresh;
	silence_free(old);
	return 0;
}

static int put(struct silences *s, struct silence *fresh, int64_t now_ns, struct error *e)
	REQUIRES(s->lock)
{
	struct silence *old = NULL;
	int r;

	forget_old(s, now_ns);
	if (*fresh->id && !(old = find(s, str_c(fresh->tenant), str_c(fresh->id))))
		return error_set(e, ERR_NOT_FOUND, "there is no silence %s", fresh->id);
	if (old && old->ends_ns <= now_ns)
		old = NULL;
	if ((r = check_times(fresh, !old, now_ns, e)) < 0)
		return r;
	if (!old && s->n >= SILENCES_MAX)
		return error_set(e, ERR_LIMIT,
			"there are %d silences, those that ended within a day among them: end some "
			"first",
			SILENCES_MAX);
	if (!old) {
		free(fresh->id);
		fresh->id = new_id();
	}
	return replace(s, old, fresh, e);
}

int silences_put(
	struct silences *s, struct str tenant, struct str json, struct buf *id, struct error *e)
{
	struct silence *fresh = xcalloc(1, sizeof *fresh);
	int64_t now = clock_now_ns(s->clock);
	struct json j;
	int r;

	fresh->tenant = str_dup(tenant);
	fresh->starts_ns = fresh->updated_ns = now;
	lock_take(&s->lock);
	if (json.n > JSON_BYTES_MAX)
		r = error_set(e, ERR_LIMIT, "a silence takes at most %d bytes", JSON_BYTES_MAX);
	else if ((r = json_parse(s->parser, json, &j, e)) == 0 &&
		 (r = read_silence(&j, 0, fresh, e)) == 0)
		r = put(s, fresh, now, e);
	if (r == 0)
		buf_c(id, fresh->id);
	lock_drop(&s->lock);
	if (r < 0)
		silence_free(fresh);
	return r;
}

int silences_expire(struct silences *s, struct str tenant, struct str id, struct error *e)
{
	int64_t now = clock_now_ns(s->clock);
	struct silence *one, before;
	int r = 0;

	lock_take(&s->lock);
	one = find(s, tenant, id);
	if (!one) {
		r = error_set(
			e, ERR_NOT_FOUND, "there is no silence %.*s", STR_ARG(str_sub(id, 0, 100)));
	} else if (one->ends_ns > now) {
		before = *one;
		one->ends_ns = one->updated_ns = now;
		if (one->starts_ns > now)
			one->starts_ns = now;
		if ((r = save(s, one, one, e)) < 0)
			*one = before;
	}
	lock_drop(&s->lock);
	return r;
}

/* --- asking ---------------------------------------------------------------------------- */

int silences_json(
	struct silences *s, struct str tenant, struct str id, struct buf *out, struct error *e)
{
	int64_t now = clock_now_ns(s->clock);
	const struct silence *one;
	size_t n = 0;
	int r = 0;

	lock_take(&s->lock);
	forget_old(s, now);
	if (id.n > 0) {
		if ((one = find(s, tenant, id)))
			put_silence(out, one, now);
		else
			r = error_set(e, ERR_NOT_FOUND, "there is no silence %.*s",
				STR_ARG(str_sub(id, 0, 100)));
	} else {
		buf_char(out, '[');
		for (size_t i = 0; i < s->n; i++) {
			if (!str_eq_c(tenant, s->all[i]->tenant))
				continue;
			if (n++)
				buf_char(out, ',');
			put_silence(out, s->all[i], now);
		}
		buf_char(out, ']');
	}
	lock_drop(&s->lock);
	return r;
}

static bool silence_fits(const struct silence *s, struct str labels)
{
	for (size_t i = 0; i < s->n; i++) {
		struct str value = STR_NONE;

		labels_get(labels, str_c(s->matchers[i].name), &value);
		if (!matcher_fits(&s->matchers[i], value))
			return false;
	}
	return true;
}

bool silences_match(struct silences *s, struct str tenant, struct str labels, int64_t now_ns)
{
	bool found = false;

	lock_take(&s->lock);
	for (size_t i = 0; i < s->n && !found; i++) {
		const struct silence *one = s->all[i];

		found = now_ns >= one->starts_ns && now_ns < one->ends_ns &&
			str_eq_c(tenant, one->tenant) && silence_fits(one, labels);
	}
	lock_drop(&s->lock);
	return found;
}
