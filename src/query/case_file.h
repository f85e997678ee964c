/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The files of tests/logql: sets of lines, queries, expected answers.  Their
 * form is told in tests/logql/README.md.  For tests: what is wrong in a file
 * ends the program with its place.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "os/clock.h"
#include "query/quote.h"
#include "record/labels.h"

#define CASE_BASE_NS (INT64_C(1704067200) * NS_PER_SEC) /* 2024-01-01T00:00:00Z */

enum { CASE_ROWS_MAX = 64 };

struct case_line {
	int64_t timestamp;
	struct str labels, meta; /* canonical */
	struct str body;
};

struct case_data {
	char tenant[100]; /* FILE.NAME */
	struct str name;
	struct case_line *lines;
	size_t n, cap;
	struct case_data *next;
};

struct case_settings {
	double at, start, end, step;
	uint64_t limit;
	bool backward, strict, ordered;
};

struct case_row {
	char kind; /* the letter of README.md */
	struct str text;
};

struct a_case {
	const char *file;
	unsigned line;
	struct case_data *data;
	struct case_settings settings;
	struct str query;
	struct case_row rows[CASE_ROWS_MAX];
	size_t n_rows;
	/* For the runner: over the first arrangement of the data. */
	bool passed;
	uint64_t big; /* a hash of the answer over all lines */
	struct a_case *next;
};

struct case_set {
	struct arena arena;
	struct case_data *data;
	struct a_case *cases, **end;
	size_t n_cases;
	/* Of the file that is being read. */
	const char *file;
	unsigned line;
	struct case_data *at;
	struct case_settings settings;
	struct str stream, wrap;
	struct a_case *open;
};

static const struct case_settings case_defaults = {
	.at = 60, .start = -3600, .end = 86400, .step = 60};

static inline _Noreturn void case_bad(const struct case_set *s, const char *what)
{
	fprintf(stderr, "%s:%u: %s\n", s->file, s->line, what);
	exit(1);
}

static inline int64_t case_time(double seconds)
{
	return CASE_BASE_NS + (int64_t)(seconds * 1e9 + (seconds < 0 ? -0.5 : 0.5));
}

static inline struct str case_escapes(struct case_set *s, struct str text)
{
	struct buf out = {0};
	struct str copy;

	if (!quote_go_read(&out, text))
		case_bad(s, "an escape that Go does not know");
	copy = arena_str(&s->arena, buf_view(&out));
	buf_fini(&out);
	return copy;
}

/* Canonical bytes of the set at the front of *text, which is cut off with the blank behind it. */
static inline struct str case_labels(struct case_set *s, struct str *text)
{
	struct labels_builder lb = {.names_free = true};
	struct buf out = {0};
	struct error e = {0};
	struct str copy;
	size_t end = 0;
	bool quoted = false;

	while (end < text->n && (quoted || text->p[end] != '}')) {
		quoted ^= text->p[end] == '"';
		end += quoted && text->p[end] == '\\' ? 2 : 1;
	}
	if (end >= text->n || text->p[0] != '{' ||
		labels_parse(&lb, str_sub(*text, 0, end + 1), &e) < 0)
		case_bad(s, e.text[0] ? e.text : "labels are {name=\"value\"}");
	labels_builder_write(&lb, &out);
	copy = arena_str(&s->arena, buf_view(&out));
	buf_fini(&out);
	labels_builder_fini(&lb);
	*text = str_sub(*text, end + 1, text->n);
	if (text->n && text->p[0] == ' ')
		*text = str_sub(*text, 1, text->n);
	return copy;
}

static inline void case_data_line(struct case_set *s, struct str text)
{
	struct str rest = text, time = str_cut(&rest, ' ');
	struct case_data *d = s->at;
	struct case_line *l;
	double seconds;

	if (!d || !s->stream.n || !str_double(time, &seconds))
		case_bad(s, "neither a line of data nor a word that is known");
	if (d->n == d->cap) {
		struct case_line *more = ARENA_ARRAY(&s->arena, struct case_line, 2 * d->cap + 16);
		if (d->n)
			memcpy(more, d->lines, d->n * sizeof *more);
		d->lines = more;
		d->cap = 2 * d->cap + 16;
	}
	l = &d->lines[d->n++];
	*l = (struct case_line){.timestamp = case_time(seconds), .labels = s->stream};
	if (rest.n && rest.p[0] == '{')
		l->meta = case_labels(s, &rest);
	if (rest.n == 0 || (rest.p[0] != '|' && rest.p[0] != '$'))
		case_bad(s, "a line of data is TIME [{metadata}] | LINE");
	l->body = str_sub(rest, 2, rest.n);
	if (rest.p[0] == '$')
		l->body = case_escapes(s, l->body);
}

static inline void case_data_find(struct case_set *s, struct str name, bool add)
{
	struct case_data *d = s->data;
	char tenant[sizeof d->tenant];

	snprintf(tenant, sizeof tenant, "%s.%.*s", s->file, STR_ARG(name));
	while (d && strcmp(d->tenant, tenant) != 0)
		d = d->next;
	if ((d != NULL) == add)
		case_bad(s, add ? "the data set is there already" : "no such data set");
	if (add) {
		d = ARENA_NEW(&s->arena, struct case_data);
		d->name = name;
		memcpy(d->tenant, tenant, sizeof tenant);
		d->next = s->data;
		s->data = d;
	}
	s->at = d;
	s->stream = STR_NONE;
}

static inline void case_set_one(struct case_set *s, struct case_settings *to, struct str word)
{
	struct str value = word, key = str_cut(&value, '=');
	double v = 0;

	if (str_eq_c(key, "direction")) {
		to->backward = str_eq_c(value, "backward");
		return;
	}
	if (!str_double(value, &v))
		case_bad(s, "a setting is NAME=NUMBER");
	if (str_eq_c(key, "at"))
		to->at = v;
	else if (str_eq_c(key, "start"))
		to->start = v;
	else if (str_eq_c(key, "end"))
		to->end = v;
	else if (str_eq_c(key, "step"))
		to->step = v;
	else if (str_eq_c(key, "limit"))
		to->limit = (uint64_t)v;
	else if (str_eq_c(key, "strict"))
		to->strict = v != 0;
	else if (str_eq_c(key, "ordered"))
		to->ordered = v != 0;
	else
		case_bad(s, "no such setting");
}

static inline void case_set_all(struct case_set *s, struct case_settings *to, struct str words)
{
	while (words.n) {
		struct str word = str_cut(&words, ' ');
		if (word.n)
			case_set_one(s, to, word);
	}
}

static inline void case_row(struct case_set *s, char kind, struct str text)
{
	struct a_case *c = s->open;

	if (!c)
		case_bad(s, "an answer without a query");
	if (c->n_rows == CASE_ROWS_MAX)
		case_bad(s, "more rows than CASE_ROWS_MAX");
	if (kind == '$') {
		text = case_escapes(s, text);
		kind = '=';
	}
	c->rows[c->n_rows++] = (struct case_row){kind, text};
}

/* ` ==C ` in one line: where it begins, or -1. */
static inline ptrdiff_t case_short(struct str text)
{
	for (size_t i = 0; i + 4 <= text.n; i++) {
		if (memcmp(text.p + i, " ==", 3) == 0 && strchr(">!$svmf0n+~*@", text.p[i + 3]) &&
			(i + 4 == text.n || text.p[i + 4] == ' '))
			return (ptrdiff_t)i;
	}
	return -1;
}

static inline struct str case_wrapped(struct case_set *s, struct str text)
{
	ptrdiff_t at = str_chr(s->wrap, '@');

	if (at < 0)
		case_bad(s, "t: without a wrap that has an @");
	return str_c(arena_printf(&s->arena, "%.*s%.*s%.*s", (int)at, s->wrap.p, STR_ARG(text),
		STR_ARG(str_sub(s->wrap, (size_t)at + 1, s->wrap.n))));
}

/* q: …, q$: …, q[…]: …, t: … */
static inline void case_begin(struct case_set *s, struct str text)
{
	struct a_case *c = ARENA_NEW(&s->arena, struct a_case);
	bool wrapped = text.p[0] == 't', escapes = false;
	ptrdiff_t at;

	c->file = s->file;
	c->line = s->line;
	c->data = s->at;
	c->settings = s->settings;
	s->open = *s->end = c;
	s->end = &c->next;
	s->n_cases++;
	text = str_sub(text, 1, text.n);
	if (text.n && text.p[0] == '$') {
		escapes = true;
		text = str_sub(text, 1, text.n);
	}
	if (text.n && text.p[0] == '[') {
		struct str rest = str_sub(text, 1, text.n);
		case_set_all(s, &c->settings, str_cut(&rest, ']'));
		text = rest;
	}
	if (!str_starts(text, STR(":")))
		case_bad(s, "a query begins with q: or t:");
	text = str_sub(text, 2, text.n);
	if ((at = case_short(text)) >= 0) {
		char kind = text.p[at + 3];
		case_row(s, kind == '>' ? '=' : kind, str_sub(text, (size_t)at + 5, text.n));
		text = str_sub(text, 0, (size_t)at);
	}
	if (escapes)
		text = case_escapes(s, text);
	c->query = wrapped ? case_wrapped(s, text) : text;
}

static inline void case_read_line(struct case_set *s, struct str line)
{
	struct str rest = line, word = str_cut(&rest, ' ');

	if (line.n == 0 || line.p[0] == '#')
		return;
	if (str_eq_c(word, "data") || str_eq_c(word, "use")) {
		case_data_find(s, rest, line.p[0] == 'd');
	} else if (str_eq_c(word, "stream")) {
		s->stream = case_labels(s, &rest);
	} else if (str_eq_c(word, "set")) {
		if (!rest.n)
			s->settings = case_defaults;
		case_set_all(s, &s->settings, rest);
	} else if (str_eq_c(word, "wrap")) {
		s->wrap = rest;
	} else if (str_eq_c(word, "none")) {
		case_row(s, '0', STR_NONE);
	} else if (word.n == 1 && strchr("=$+~*c@nvsm!f", word.p[0])) {
		case_row(s, word.p[0], rest);
	} else if (line.n > 2 && strchr("qt", line.p[0]) && strchr(":$[", line.p[1])) {
		case_begin(s, line);
	} else {
		case_data_line(s, line);
	}
}

static inline void case_read_file(struct case_set *s, const char *dir, const char *name)
{
	char *path = arena_printf(&s->arena, "%s/%s", dir, name);
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	s->file = arena_c(&s->arena, str_make(name, strlen(name) - strlen(".case")));
	s->line = 0;
	s->at = NULL;
	s->open = NULL;
	s->settings = case_defaults;
	s->wrap = s->stream = STR_NONE;
	while (f && (n = getline(&line, &cap, f)) >= 0) {
		s->line++;
		while (n > 0 && line[n - 1] == '\n')
			n--;
		case_read_line(s, arena_str(&s->arena, str_make(line, (size_t)n)));
	}
	free(line);
	if (!f || fclose(f) != 0)
		case_bad(s, "cannot be read");
}

/* All files of the folder whose name holds `part`, in the order of their names. */
static inline void case_set_read(struct case_set *s, const char *dir, struct str part)
{
	struct dirent **names = NULL;
	int n = scandir(dir, &names, NULL, alphasort);

	*s = (struct case_set){0};
	arena_init(&s->arena, NULL);
	s->end = &s->cases;
	s->file = dir;
	if (n < 0)
		case_bad(s, "no such folder");
	for (int i = 0; i < n; i++) {
		struct str name = str_c(names[i]->d_name);
		if (str_ends(name, STR(".case")) && (!part.n || str_find(name, part) >= 0))
			case_read_file(s, dir, names[i]->d_name);
		free(names[i]);
	}
	free(names);
}
