/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shape's settings: compiled, checked, and the labels they give.
 */
#include <stdlib.h>

#include "input/shaper.h"
#include "record/zone.h"

static int path_labels_new(struct shape *s, struct error *e)
{
	const char *text = s->settings->path_labels;
	int r;

	if (!text)
		return 0;
	if ((r = regex_new_groups(&s->path_labels, str_c(text), e)) < 0)
		return r;
	for (size_t i = 1; i <= regex_n_groups(s->path_labels); i++) {
		if (*regex_group_name(s->path_labels, i))
			return 0;
	}
	return error_set(e, ERR_ARG, "no group has a name, as in (?P<namespace>[^/]+)");
}

static int env_labels_check(const struct shape *s, struct error *e)
{
	const struct string_map *m = &s->settings->env_labels;

	for (size_t i = 0; i < m->n; i++) {
		if (!label_name_valid(str_c(m->items[i].name)))
			return error_set(e, ERR_ARG, "\"%s\" is no label name", m->items[i].name);
	}
	return 0;
}

int shape_new(struct shape **out, const struct shape_settings *settings, struct error *e)
{
	struct shape *s = xcalloc(1, sizeof(*s));
	const char *at = NULL;
	int r;

	s->settings = settings;
	if ((r = rules_new(&s->rules, &settings->drop, &settings->redact, e)) < 0)
		goto fail;
	at = "timezone";
	if (settings->timezone && (r = zone_new(&s->zone, str_c(settings->timezone), e)) < 0)
		goto fail;
	at = "path_labels";
	if ((r = path_labels_new(s, e)) < 0)
		goto fail;
	at = "env_labels";
	if ((r = env_labels_check(s, e)) < 0)
		goto fail;
	*out = s;
	return 0;
fail:
	shape_free(s);
	return at ? error_wrap(e, r, "%s", at) : r;
}

void shape_free(struct shape *s)
{
	if (!s)
		return;
	rules_free(s->rules);
	zone_free(s->zone);
	regex_free(s->path_labels);
	free(s);
}

int shape_check(const struct shape_settings *settings, struct error *e)
{
	struct shape *s;
	int r = shape_new(&s, settings, e);

	if (r >= 0)
		shape_free(s);
	return r;
}

bool shape_plain(const struct shape *s)
{
	return rules_empty(s->rules);
}

int64_t shape_timeout(const struct shape *s)
{
	(void)s;
	return 0;
}

const struct zone *shape_zone(const struct shape *s)
{
	return s->zone;
}

uint64_t shape_align(const struct shape *s, uint64_t offset)
{
	(void)s;
	return offset;
}

static int add_groups(
	const struct regex *r, struct str path, struct labels_builder *out, struct error *e)
{
	struct str groups[32] = {{0}};
	size_t n = regex_n_groups(r);
	int code;

	if (regex_find(r, path, 0, groups, 32) <= 0)
		return 0;
	for (size_t i = 1; i <= n && i < 32; i++) {
		const char *name = regex_group_name(r, i);

		if (*name && groups[i].n > 0 &&
			(code = labels_builder_set(out, str_c(name), groups[i], e)) < 0)
			return code;
	}
	return 0;
}

int shape_labels(
	const struct shape *s, const char *path, struct labels_builder *out, struct error *e)
{
	const struct string_map *env = s ? &s->settings->env_labels : NULL;
	int r;

	if (!s)
		return 0;
	if (path && s->path_labels && (r = add_groups(s->path_labels, str_c(path), out, e)) < 0)
		return error_wrap(e, r, "path_labels");
	for (size_t i = 0; i < env->n; i++) {
		const char *value = getenv(env->items[i].value);

		if (value && (r = labels_builder_set(
				      out, str_c(env->items[i].name), str_c(value), e)) < 0)
			return error_wrap(e, r, "env_labels");
	}
	return 0;
}
