/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests/interop/test_line_format.py: what line formats make of records that
 * Python's logging has pickled.
 *
 * Standard input is items, "5:hello" each.  A case is style, format, datefmt,
 * "utc" or "", breaks, the number of records, and each record's pickle.  The
 * answer is items as well: for each case "ok" and its lines, or the sentence.
 */
#include <stdio.h>
#include <stdlib.h>

#include "output/line_format.h"
#include "proto/pylog.h"
#include "record/labels.h"

struct items {
	struct str rest;
};

static void die(const char *what)
{
	fprintf(stderr, "line_format_print: %s\n", what);
	exit(1);
}

static struct str next(struct items *in)
{
	struct str length = str_cut(&in->rest, ':'), item;
	uint64_t n;

	if (!str_u64(length, &n) || n > in->rest.n)
		die("an item is not whole");
	item = str_sub(in->rest, 0, n);
	in->rest = str_sub(in->rest, n, in->rest.n);
	return item;
}

static void put(struct str s)
{
	printf("%zu:", s.n);
	fwrite(s.p, 1, s.n, stdout);
}

static int index_of(struct str name, const char *const *names)
{
	for (int i = 0; names[i]; i++)
		if (str_eq_c(name, names[i]))
			return i;
	die("no such style or mode");
	return -1;
}

/* The labels that the python input gives a record, and its metadata. */
static void put_labels(const struct pylog_record *p, struct buf *out)
{
	struct labels_builder b = {.names_free = true};
	struct str meta = p->record.meta;
	struct label l;

	if (meta.n)
		for (labels_start(&meta); labels_next(&meta, &l);)
			labels_builder_set(&b, l.name, l.value, NULL);
	labels_builder_set(&b, STR("app"), STR("python"), NULL);
	labels_builder_set(&b, STR("logger"), p->logger, NULL);
	labels_builder_write(&b, out);
	labels_builder_fini(&b);
}

static void run_record(struct pylog *reader, struct str pickle, struct line_format *f)
{
	struct buf labels = {0}, out = {0};
	struct pylog_record p;
	struct error e;

	if (pylog_pickle(reader, pickle, 0, &p, &e) < 0)
		die(e.text);
	put_labels(&p, &labels);
	line_format_put(f,
		&(struct output_record){.timestamp = p.record.timestamp,
			.line = p.record.body,
			.labels = buf_view(&labels),
			.severity = p.record.severity},
		&out);
	put(buf_view(&out));
	buf_fini(&labels);
	buf_fini(&out);
}

static void run_case(struct pylog *reader, struct items *in)
{
	struct line_settings s = {.style = index_of(next(in), line_styles)};
	char *format = str_dup(next(in)), *datefmt = str_dup(next(in));
	struct line_format *f = NULL;
	struct error e;
	uint64_t n;

	s.format = format;
	s.datefmt = datefmt;
	s.utc = next(in).n > 0;
	s.breaks = index_of(next(in), line_break_names);
	if (!str_u64(next(in), &n))
		die("no number of records");
	if (line_format_new(&f, &s, &e) < 0)
		put(str_c(e.text));
	else
		put(STR("ok"));
	for (; n > 0; n--) {
		struct str pickle = next(in);
		if (f)
			run_record(reader, pickle, f);
	}
	line_format_free(f);
	free(format);
	free(datefmt);
}

int main(void)
{
	struct pylog *reader = pylog_new();
	struct buf all = {0};
	struct items in;
	size_t n;

	while ((n = fread(buf_reserve(&all, 65536), 1, 65536, stdin)) > 0)
		all.n += n;
	in.rest = buf_view(&all);
	while (in.rest.n)
		run_case(reader, &in);
	pylog_free(reader);
	buf_fini(&all);
	return 0;
}
