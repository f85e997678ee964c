/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast the stages of a pipeline are, on rows of one stream:
 *
 *     stages_bench [-r TIMES] [-q NAME] [FILE]
 *
 * Each row of the table is a pipeline as a query writes it, the fields that are
 * wanted behind it, and the kind of lines it reads, of which there are some MiB.
 * With FILE the lines of that file are read in place of all kinds.  Printed is
 * the best of TIMES (5) runs, of all rows or of those whose name has NAME in it.
 * Not a test.  A new stage is a row in the table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "codec/json.h"
#include "query/ast.h"
#include "query/pipeline.h"
#include "query/query.h"

enum { BYTES = 4 << 20, KINDS = 4 };

enum kind { JSON, LOGFMT, PACKED, TEXT };

struct bench {
	const char *name;
	enum kind kind;
	const char *stages;
	const char *wanted; /* names with blanks between; NULL: all */
	/* Ends in these being written for each row that is kept: what a log query and
	 * `sum by (…)` do.  NULL: neither. */
	bool write_all;
	const char *by;
	bool line; /* the line is wanted too */
};

/* clang-format off */
static const struct bench benches[] = {
	{"row alone", JSON, "", .wanted = ""},
	{"labels of a row", JSON, "", .wanted = "", .by = "app level"},
	{"json, one field", JSON, "| json", .wanted = "status"},
	{"json, one field far behind", JSON, "| json", .wanted = "trace_id"},
	{"json, one nested field", JSON, "| json", .wanted = "request_headers_Accept"},
	{"json, one field of none", JSON, "| json", .wanted = "absent"},
	{"json, three fields", JSON, "| json", .wanted = "level status duration"},
	{"json, three fields by", JSON, "| json", .wanted = "level status duration", .by = "level status"},
	{"json, all", JSON, "| json", .wanted = NULL},
	{"json, all, written", JSON, "| json", .wanted = NULL, .write_all = true},
	{"json, two paths", JSON, "| json s=\"status\", ua=\"request.headers[\\\"User-Agent\\\"]\"", .wanted = NULL},
	{"json of what is none", LOGFMT, "| json", .wanted = "status"},
	{"logfmt, one field", LOGFMT, "| logfmt", .wanted = "status"},
	{"logfmt, last field", LOGFMT, "| logfmt", .wanted = "trace_id"},
	{"logfmt, three fields", LOGFMT, "| logfmt", .wanted = "level status duration"},
	{"logfmt --strict, one field", LOGFMT, "| logfmt --strict", .wanted = "status"},
	{"logfmt, all", LOGFMT, "| logfmt", .wanted = NULL},
	{"logfmt, all, written", LOGFMT, "| logfmt", .wanted = NULL, .write_all = true},
	{"logfmt of text", TEXT, "| logfmt", .wanted = "status"},
	{"unpack", PACKED, "| unpack", .wanted = NULL},
	{"unpack, no field", PACKED, "| unpack", .wanted = ""},
	{"pattern, one field", TEXT, "| pattern `<ip> - - [<_>] \"<method> <path> <_>\" <status> <size> <_>`", .wanted = "ip"},
	{"pattern, far field", TEXT, "| pattern `<ip> - - [<_>] \"<method> <path> <_>\" <status> <size> <_>`", .wanted = "size"},
	{"pattern, all", TEXT, "| pattern `<ip> - - [<_>] \"<method> <path> <_>\" <status> <size> <_>`", .wanted = NULL},
	{"regexp, two fields", TEXT, "| regexp `\"(?P<method>\\w+) (?P<path>\\S+)`", .wanted = NULL},
	{"regexp of none", TEXT, "| regexp `PUT (?P<path>\\S+)`", .wanted = NULL},
	{"decolorize of plain", TEXT, "| decolorize", .wanted = ""},
	{"filter, string", TEXT, "| host = \"web-17\"", .wanted = ""},
	{"filter, three strings", TEXT, "| host = \"web-17\" and (app = \"x\" or app = \"shop\")", .wanted = ""},
	{"filter, regex", TEXT, "| host =~ \"web-1.\"", .wanted = ""},
	{"pattern, number", TEXT, "| pattern `<_>\" <status> <size> <_>` | status >= 500", .wanted = ""},
	{"logfmt, number", LOGFMT, "| logfmt | status >= 500", .wanted = ""},
	{"logfmt, duration", LOGFMT, "| logfmt | duration > 1s", .wanted = ""},
	{"json, number", JSON, "| json | status >= 500", .wanted = ""},
	{"json, drop", JSON, "| json | drop time, msg", .wanted = NULL},
	{"json, keep", JSON, "| json | keep level, status", .wanted = NULL},
	{"json, unroll", JSON, "| json sizes=\"sizes\" | unroll sizes", .wanted = NULL},
	{"sample", TEXT, "| sample 100", .wanted = ""},
	{"ip of few", TEXT, "|= ip(\"10.1.7.0/24\")", .wanted = ""},
	{"ip of both kinds", TEXT, "|= ip(\"10.1.7.0/24\") or ip(\"2001:db8::/32\")", .wanted = ""},
	{"pattern filter", TEXT, "|> `<_> \"GET <_>\" 500 <_>`", .wanted = ""},
	{"line_format, pieces", TEXT, "| line_format `{{.host}} {{.app}}: {{__line__}}`", "", .line = true},
	{"line_format, one field", TEXT, "| line_format `{{.host}}`", "", .line = true},
	{"line_format, unread", TEXT, "| line_format `{{.host}} {{.app}}`", ""},
	{"line_format, functions", TEXT, "| line_format `{{.host | upper | trunc 5}} {{.app}}`", "", .line = true},
	{"line_format, if", TEXT, "| line_format `{{if eq .app \"shop\"}}{{.host}}{{else}}other{{end}}`", "", .line = true},
	{"line_format, printf", TEXT, "| line_format `{{printf \"%-10.10s %s\" .host .app}}`", "", .line = true},
	{"line_format, regex", TEXT, "| line_format `{{regexReplaceAll \"/items/[0-9]+\" __line__ \"/items/N\"}}`", "", .line = true},
	{"line_format, date", TEXT, "| line_format `{{__timestamp__ | date \"15:04:05.000\"}} {{.host}}`", "", .line = true},
	{"json, line_format", JSON, "| json | line_format `{{.level}} {{.status}} {{.msg}}`", "", .line = true},
	{"line_format, fromJson", JSON, "| line_format `{{(fromJson __line__).msg}}`", "", .line = true},
	{"label_format, rename", TEXT, "| label_format node=host", "node"},
	{"label_format, template", TEXT, "| label_format where=`{{.host}}/{{.app}}`", "where"},
	{"label_format, unread", TEXT, "| label_format where=`{{.host}}/{{.app}}`", ""},
};
/* clang-format on */

/* ---- lines ---- */

static void put_line(struct buf *b, enum kind kind, unsigned i)
{
	static const char *const levels[] = {"debug", "info", "info", "info", "warn", "error"};
	const char *level = levels[i * 7 % 6];
	unsigned status = i % 9 ? 200 : 500, ms = i * 7919 % 2000;

	switch (kind) {
	case JSON:
		buf_printf(b,
			"{\"time\":\"2026-01-02T03:%02u:%02u.%03uZ\",\"level\":\"%s\",\"status\":%u,"
			"\"duration\":\"%ums\",\"msg\":\"request %u was served from the cache\","
			"\"request\":{\"method\":\"GET\",\"path\":\"/api/v1/items/%u\","
			"\"headers\":{\"Accept\":\"*/*\",\"User-Agent\":\"curl/7.68.0\"}},"
			"\"sizes\":[%u,%u],\"trace_id\":\"%08x%08x\"}",
			i / 60 % 60, i % 60, i % 1000, level, status, ms, i, i * 31 % 5000, ms * 3,
			ms, i * 2654435761u, i);
		break;
	case LOGFMT:
		buf_printf(b,
			"time=2026-01-02T03:%02u:%02u.%03uZ level=%s status=%u duration=%ums "
			"msg=\"request %u was served from the cache\" method=GET path=/api/v1/items/%u "
			"accept=*/* agent=curl/7.68.0 size=%u trace_id=%08x%08x",
			i / 60 % 60, i % 60, i % 1000, level, status, ms, i, i * 31 % 5000, ms,
			i * 2654435761u, i);
		break;
	case PACKED:
		buf_printf(b,
			"{\"container\":\"myapp\",\"pod\":\"pod-%04x\",\"_entry\":\"level=%s took %ums\"}",
			i % 4096, level, ms);
		break;
	case TEXT:
		buf_printf(b,
			"10.1.%u.%u - - [02/Jan/2026:03:%02u:%02u +0000] \"GET /api/v1/items/%u "
			"HTTP/1.1\" %u %u \"-\" \"curl/7.68.0\"",
			i / 250 % 250, i % 250, i / 60 % 60, i % 60, i * 31 % 5000, status, ms);
		break;
	}
	buf_char(b, '\n');
}

struct lines {
	struct buf text;
	struct str *lines;
	size_t n;
};

static void split(struct lines *l)
{
	struct str rest = buf_view(&l->text);
	size_t cap = 0;

	while (rest.n) {
		struct str line = str_cut(&rest, '\n');
		if (l->n == cap) {
			cap = cap ? 2 * cap : 1024;
			l->lines = xrealloc(l->lines, cap * sizeof *l->lines);
		}
		l->lines[l->n++] = line;
	}
}

static void read_file(struct lines *l, const char *path)
{
	FILE *f = fopen(path, "r");
	size_t n;

	if (!f) {
		perror(path);
		exit(1);
	}
	do {
		n = fread(buf_reserve(&l->text, 1 << 20), 1, 1 << 20, f);
		l->text.n += n;
	} while (n);
	fclose(f);
}

/* ---- runs ---- */

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct query *parse(const char *stages)
{
	struct buf text = {0};
	struct query *q = NULL;
	struct error e = {0};

	buf_printf(&text, "{app=\"shop\"} %s", stages);
	if (query_parse(&q, buf_view(&text), &e) < 0) {
		fprintf(stderr, "stages_bench: %s: %s\n", buf_cstr(&text), e.text);
		exit(1);
	}
	buf_fini(&text);
	return q;
}

static size_t names_of(const char *text, struct str *out, size_t max)
{
	struct str rest = str_c(text);
	size_t n = 0;

	while (rest.n && n < max)
		out[n++] = str_cut(&rest, ' ');
	return n;
}

static struct buf stream_labels(void)
{
	struct labels_builder b = {0};
	struct buf out = {0};

	labels_builder_set(&b, STR("app"), STR("shop"), NULL);
	labels_builder_set(&b, STR("host"), STR("web-17"), NULL);
	labels_builder_set(&b, STR("namespace"), STR("production"), NULL);
	labels_builder_write(&b, &out);
	labels_builder_fini(&b);
	return out;
}

static int count_row(void *ctx, struct pipe_row *row)
{
	(void)row;
	++*(size_t *)ctx;
	return 0;
}

/* Seconds for all lines; *kept counts rows, so that none of it can be left out. */
static double run(const struct bench *b, const struct lines *l, size_t *kept)
{
	struct query *q = parse(b->stages);
	struct wanted w = {.all = !b->wanted, .line = b->line};
	struct str wanted[WANTED_MAX], by[8];
	struct grouping g = {.kind = GROUP_BY, .names = by, .n = names_of(b->by, by, 8)};
	struct fields *f = fields_new(NULL);
	struct buf labels = stream_labels(), out = {0};
	struct pipeline *p;
	double began;

	for (size_t i = 0, n = names_of(b->wanted, wanted, WANTED_MAX); i < n; i++)
		wanted_add(&w, wanted[i]);
	p = pipeline_new(expr_log(q->root)->stages, &w, NULL);
	*kept = 0;
	began = now_s();
	for (size_t i = 0; i < l->n; i++) {
		struct pipe_row row = {.fields = f, .line = l->lines[i]};
		fields_begin(f, buf_view(&labels), STR_NONE, "info");
		if (pipeline_spreads(p)) {
			pipeline_each(p, &row, count_row, kept);
			continue;
		}
		if (pipeline_run(p, &row) != 1)
			continue;
		++*kept;
		buf_clear(&out);
		if (b->write_all)
			fields_write_all(f, &out);
		if (b->by)
			fields_project(f, &g, &out);
	}
	began = now_s() - began;
	pipeline_free(p);
	fields_free(f);
	query_free(q);
	buf_fini(&labels);
	buf_fini(&out);
	return began;
}

static void print(const char *name, const struct lines *l, double s, size_t kept)
{
	printf("%-28s %8.2f M rows/s %8.0f MB/s %6.0f ns/row %6.1f%% kept\n", name,
		(double)l->n / s / 1e6, (double)l->text.n / s / 1e6, s / (double)l->n * 1e9,
		100 * (double)kept / (double)l->n);
}

/* What json stages would cost at least over a tree. */
static void run_tree(const struct lines *l, int times)
{
	struct json_parser *p = json_parser_new();
	struct json j;
	double best = 1e9;
	size_t ok = 0;

	for (int t = 0; t < times; t++) {
		double began = now_s(), took;
		ok = 0;
		for (size_t i = 0; i < l->n; i++)
			ok += json_parse(p, l->lines[i], &j, NULL) == 0;
		took = now_s() - began;
		best = took < best ? took : best;
	}
	json_parser_free(p);
	print("(json_parse alone)", l, best, ok);
}

int main(int argc, char **argv)
{
	struct lines kinds[KINDS] = {0};
	const char *only = "";
	int c, times = 5;

	while ((c = getopt(argc, argv, "r:q:")) != -1) {
		if (c == 'r')
			times = atoi(optarg);
		else if (c == 'q')
			only = optarg;
		else
			return 2;
	}
	for (unsigned k = 0; k < KINDS; k++) {
		if (optind < argc)
			read_file(&kinds[k], argv[optind]);
		for (unsigned i = 0; optind == argc && kinds[k].text.n < BYTES; i++)
			put_line(&kinds[k].text, k, i);
		split(&kinds[k]);
	}
	for (size_t i = 0; i < sizeof benches / sizeof *benches; i++) {
		const struct lines *l = &kinds[benches[i].kind];
		double best = 1e9, took;
		size_t kept = 0;
		if (!strstr(benches[i].name, only))
			continue;
		for (int t = 0; t < times; t++) {
			took = run(&benches[i], l, &kept);
			best = took < best ? took : best;
		}
		print(benches[i].name, l, best, kept);
	}
	if (strstr("json", only))
		run_tree(&kinds[JSON], times);
	for (unsigned k = 0; k < KINDS; k++) {
		buf_fini(&kinds[k].text);
		free(kinds[k].lines);
	}
	return 0;
}
