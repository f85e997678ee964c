/* SPDX-License-Identifier: Apache-2.0 */
/*
 * <data>/outputs/drain-bindings, replaced as a whole, readable by its owner
 * alone, as URLs may hold passwords:
 *
 *   {"version":1,"drains":[{"tenant":"default","app":"a","url":"syslog://…","origins":2,"after":17}]}
 *
 * Bindings of the configuration alone are not in it.
 */
#include <inttypes.h>

#include "codec/json.h"
#include "output/drains_core.h"
#include "record/batch.h"

enum { FILE_MAX = 16 << 20, KEPT = DRAIN_API | DRAIN_ENVELOPE };

static bool read_number(const struct json *j, size_t at, const char *key, uint64_t *out)
{
	size_t i = json_get(j, at, key);

	return i && j->nodes[i].type == JSON_NUMBER && str_u64(j->nodes[i].text, out);
}

static bool read_binding(struct drains *d, const struct json *j, size_t i) REQUIRES(d->lock)
{
	struct str tenant = json_get_text(j, i, "tenant"), app = json_get_text(j, i, "app");
	struct str url = json_get_text(j, i, "url");
	uint64_t origins, after;
	struct binding *b;

	if (!tenant_valid(tenant) || app.n == 0 || app.n > DRAIN_APP_MAX ||
		drains_check_url(url, NULL) < 0 || !read_number(j, i, "origins", &origins) ||
		!read_number(j, i, "after", &after) || (origins & KEPT) == 0)
		return false;
	b = drains_insert(d, tenant, app, url);
	b->origins = origins & KEPT;
	b->was_kept = true;
	b->after_seq = after;
	return true;
}

static int read_all(struct drains *d, const struct json *j, struct error *e)
{
	size_t list = json_get(j, 0, "drains");
	uint64_t version;
	bool fine = read_number(j, 0, "version", &version) && version == 1 && list &&
		    j->nodes[list].type == JSON_ARRAY;

	lock_take(&d->lock);
	for (size_t i = fine ? json_first(j, list) : 0; fine && i < json_end(j, list);
		i = json_next(j, i))
		fine = read_binding(d, j, i);
	lock_drop(&d->lock);
	return fine ? 0 : error_set(e, ERR_CORRUPT, "%s is damaged", d->path);
}

int drain_file_load(struct drains *d, struct error *e)
{
	struct json_parser *parser;
	struct buf text = {0};
	struct json j;
	int r = fs_read_all(d->env.fs, d->path, FILE_MAX, &text, e);

	if (r < 0) {
		buf_fini(&text);
		return r == ERR_NOT_FOUND ? 0 : r;
	}
	parser = json_parser_new();
	r = json_parse(parser, buf_view(&text), &j, e);
	if (r == 0)
		r = read_all(d, &j, e);
	else
		r = error_set(e, ERR_CORRUPT, "%s is damaged", d->path);
	json_parser_free(parser);
	buf_fini(&text);
	return r;
}

int drain_file_save(struct drains *d, struct error *e)
{
	struct buf text = {0};
	size_t n = 0;
	int r;

	lock_take(&d->file);
	buf_c(&text, "{\"version\":1,\"drains\":[");
	lock_take(&d->lock);
	for (size_t i = 0; i < d->n; i++) {
		const struct binding *b = d->items[i];

		if ((b->origins & KEPT) == 0)
			continue;
		buf_c(&text, n++ ? ",\n{\"tenant\":" : "\n{\"tenant\":");
		buf_json(&text, str_c(b->tenant));
		buf_c(&text, ",\"app\":");
		buf_json(&text, str_c(b->app));
		buf_c(&text, ",\"url\":");
		buf_json(&text, str_c(b->url));
		buf_printf(&text, ",\"origins\":%u,\"after\":%" PRIu64 "}", b->origins & KEPT,
			b->after_seq);
	}
	lock_drop(&d->lock);
	buf_c(&text, "]}\n");
	r = fs_write_private(d->env.fs, d->path, buf_view(&text), e);
	lock_drop(&d->file);
	buf_fini(&text);
	return r;
}
