/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shape's settings: compiled, checked, and the labels they give.
 */
#include <stdlib.h>

#include "input/multiline.h"
#include "input/shaper.h"
#include "proto/envelope.h"
#include "record/zone.h"

enum { MAX_LINES = 500, MAX_LINES_MOST = 5000 };
static const int64_t JOIN_TIMEOUT_NS = 1000000000;
static const int64_t PIECE_TIMEOUT_NS = INT64_C(5) * 1000000000;

const char *const shape_formats[] = {"plain", "docker", "cri", "container", NULL};

const struct option multiline_options[] = {
	OPTION(struct multiline_settings, rule, .kind = OPT_STRING,
		.help = "Join stack traces with the line before them: java, python, go, ruby, php, "
			"dotnet or all."),
	OPTION(struct multiline_settings, first, .kind = OPT_STRING,
		.help = "Or: an expression that the first line of a record matches; all others go "
			"on with it."),
	OPTION(struct multiline_settings, timeout, .kind = OPT_DURATION, .fallback = "1s",
		.min = 1000000, .max = INT64_C(3600) * 1000000000,
		.help = "How long a record waits for its next line."),
	OPTION(struct multiline_settings, max_lines, .kind = OPT_INT, .fallback = "500", .min = 2,
		.max = MAX_LINES_MOST, .help = "A record with more lines is cut."),
	OPTION_END,
};

/* Where Kubernetes' node agent keeps logs, and where it links them. */
static const char *const kubernetes_paths[] = {
	"/pods/(?P<namespace>[^/_]+)_(?P<pod>[^/_]+)_[^/]+/(?P<container>[^/]+)/[^/]*$",
	"/containers/(?P<pod>[^/_]+)_(?P<namespace>[^/_]+)_(?P<container>[^/]+)-[0-9a-f]+\\.log$"};

static int path_labels_new(struct shape *s, struct error *e)
{
	const char *text = s->settings->path_labels;
	int r;

	if (!text && !s->cri)
		return 0;
	for (size_t i = 0; !text && i < 2; i++) {
		r = regex_new_groups(&s->path_labels[i], str_c(kubernetes_paths[i]), e);
		if (r < 0)
			return r;
	}
	if (!text)
		return 0;
	if ((r = regex_new_groups(&s->path_labels[0], str_c(text), e)) < 0)
		return r;
	for (size_t i = 1; i <= regex_n_groups(s->path_labels[0]); i++) {
		const char *name = regex_group_name(s->path_labels[0], i);

		if (*name && !label_name_valid(str_c(name)))
			return error_set(e, ERR_ARG, "\"%s\" is no label name", name);
	}
	for (size_t i = 1; i <= regex_n_groups(s->path_labels[0]); i++) {
		if (*regex_group_name(s->path_labels[0], i))
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

static int multiline_new(struct shape *s, struct error *e)
{
	const struct multiline_settings *m = &s->settings->multiline;
	int r;

	s->max_lines = m->max_lines ? (size_t)m->max_lines : MAX_LINES;
	if (s->docker || s->cri)
		s->timeout_ns = PIECE_TIMEOUT_NS;
	if (!m->rule && !m->first)
		return 0;
	if (m->rule && m->first)
		return error_set(e, ERR_ARG, "rule and first exclude each other");
	s->joins = true;
	s->timeout_ns = m->timeout ? m->timeout : JOIN_TIMEOUT_NS;
	if (m->rule && (r = trace_rules(str_c(m->rule), &s->traces, e)) < 0)
		return error_wrap(e, r, "rule");
	if (m->first && (r = regex_new(&s->first, str_c(m->first), false, e)) < 0)
		return error_wrap(e, r, "first");
	return 0;
}

/* Names of encodings with a byte order of their own; iconv's own "utf-16" writes a mark. */
static const struct {
	const char *name, *encoding, *swapped;
	unsigned unit;
	bool big;
} wide[] = {
	{"utf-16", "utf-16le", "utf-16be", 2, false},
	{"utf16", "utf-16le", "utf-16be", 2, false},
	{"utf-32", "utf-32le", "utf-32be", 4, false},
	{"utf32", "utf-32le", "utf-32be", 4, false},
	{"utf-16le", "utf-16le", NULL, 2, false},
	{"utf-16be", "utf-16be", NULL, 2, true},
	{"utf-32le", "utf-32le", NULL, 4, false},
	{"utf-32be", "utf-32be", NULL, 4, true},
};

static int encoding_new(struct shape *s, struct error *e)
{
	struct str name = str_c(s->settings->encoding);
	struct buf newline = {0};
	int r;

	s->unit = 1;
	if (!name.p || str_eq_nocase(name, STR("utf-8")) || str_eq_nocase(name, STR("utf8")))
		return 0;
	if (s->docker || s->cri)
		return error_set(
			e, ERR_ARG, "lines of containers are UTF-8: leave it out with format");
	if (!envelope_encoding_valid(name))
		return error_set(e, ERR_ARG, "\"%.*s\" is no encoding", STR_ARG(name));
	str_copy(name, s->encoding, sizeof(s->encoding));
	for (size_t i = 0; i < sizeof(wide) / sizeof(*wide); i++) {
		if (!str_eq_nocase(name, str_c(wide[i].name)))
			continue;
		str_copy(str_c(wide[i].encoding), s->encoding, sizeof(s->encoding));
		str_copy(str_c(wide[i].swapped), s->swapped, sizeof(s->swapped));
		s->unit = wide[i].unit;
		s->big = wide[i].big;
		return 0;
	}
	if ((r = envelope_encode(s->encoding, STR("\n"), &newline, e)) == 0 &&
		!str_eq(buf_view(&newline), STR("\n")))
		r = error_set(e, ERR_ARG,
			"\"%s\" writes a newline in another way than \\n: of such encodings only UTF-16 "
			"and UTF-32 are read",
			s->encoding);
	buf_fini(&newline);
	return r < 0 ? ERR_ARG : 0;
}

int shape_new(struct shape **out, const struct shape_settings *settings, struct error *e)
{
	struct shape *s = xcalloc(1, sizeof(*s));
	const char *at = NULL;
	int r;

	s->settings = settings;
	s->docker = settings->format == FORMAT_DOCKER || settings->format == FORMAT_CONTAINER;
	s->cri = settings->format == FORMAT_CRI || settings->format == FORMAT_CONTAINER;
	if ((r = rules_new(&s->rules, &settings->drop, &settings->redact, e)) < 0)
		goto fail;
	at = "timezone";
	if (settings->timezone && (r = zone_new(&s->zone, str_c(settings->timezone), e)) < 0)
		goto fail;
	at = "encoding";
	if ((r = encoding_new(s, e)) < 0)
		goto fail;
	at = "multiline";
	if ((r = multiline_new(s, e)) < 0)
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
	regex_free(s->path_labels[0]);
	regex_free(s->path_labels[1]);
	regex_free(s->first);
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
	return rules_empty(s->rules) && !s->joins && !s->docker && !s->cri && !*s->encoding;
}

int64_t shape_timeout(const struct shape *s)
{
	return s->timeout_ns;
}

const struct zone *shape_zone(const struct shape *s)
{
	return s->zone;
}

uint64_t shape_align(const struct shape *s, uint64_t offset)
{
	return s ? (offset + s->unit - 1) / s->unit * s->unit : offset;
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
	for (size_t i = 0; path && i < 2 && s->path_labels[i]; i++) {
		if ((r = add_groups(s->path_labels[i], str_c(path), out, e)) < 0)
			return error_wrap(e, r, "path_labels");
	}
	for (size_t i = 0; i < env->n; i++) {
		const char *value = getenv(env->items[i].value);

		if (value && (r = labels_builder_set(
				      out, str_c(env->items[i].name), str_c(value), e)) < 0)
			return error_wrap(e, r, "env_labels");
	}
	return 0;
}
