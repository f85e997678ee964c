/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read out of pickles and forms, as JSON, for tests that compare it
 * with CPython:
 *
 *     pylog_json value|literal|record|form <FRAMES
 *
 * A frame is four bytes of its length, the highest first, and its bytes; each
 * gives one line.  Of a value str() and repr() are printed, of a record all.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "codec/pickle.h"
#include "proto/pylog.h"

enum { FRAME_MAX = 64 << 20, OBSERVED_NS = 1000, VALUE_BYTES = 64 << 20 };

static void put_error(struct buf *out, int r, const struct error *e)
{
	buf_printf(out, "{\"code\": \"%s\", \"error\": ", error_name(r));
	buf_json(out, str_c(e->text));
	buf_char(out, '}');
}

static void put_value(struct buf *out, const struct pickle_value *v, size_t used)
{
	static const char *const kinds[] = {"none", "bool", "int", "big", "float", "text", "bytes",
		"list", "tuple", "set", "dict", "object"};
	struct buf text = {0};

	buf_printf(out, "{\"kind\": \"%s\", \"used\": %zu, \"str\": ", kinds[v->kind], used);
	pickle_str(v, 1 << 20, &text);
	buf_json(out, buf_view(&text));
	buf_c(out, ", \"repr\": ");
	buf_clear(&text);
	pickle_repr(v, 1 << 20, &text);
	buf_json(out, buf_view(&text));
	buf_char(out, '}');
	buf_fini(&text);
}

static void put_record(struct buf *out, const struct pylog_record *r)
{
	buf_printf(out, "{\"end\": %s, \"timestamp\": %jd, \"severity\": %u, \"flags\": %u",
		r->end ? "true" : "false", (intmax_t)r->record.timestamp, r->record.severity,
		r->record.flags);
	buf_c(out, ", \"body\": ");
	buf_json(out, r->record.body);
	buf_c(out, ", \"logger\": ");
	buf_json(out, r->logger);
	buf_c(out, ", \"process\": ");
	buf_json(out, r->process_name);
	buf_c(out, ", \"meta\": ");
	if (r->record.meta.n)
		labels_json(out, r->record.meta);
	else
		buf_c(out, "{}");
	buf_char(out, '}');
}

static void put_frame(
	struct buf *out, const char *what, struct str frame, struct pickle *values, struct pylog *p)
{
	const struct pickle_value *v;
	struct pylog_record record;
	struct error e;
	size_t used = 0;
	int r;

	if (str_eq_c(STR("value"), what) || str_eq_c(STR("literal"), what)) {
		r = what[0] == 'v' ? pickle_read(values, frame, &v, &used, &e)
				   : pickle_literal(values, frame, &v, &e);
		if (r == 0)
			put_value(out, v, used);
	} else {
		r = what[0] == 'f' ? pylog_form(p, frame, OBSERVED_NS, &record, &e)
				   : pylog_pickle(p, frame, OBSERVED_NS, &record, &e);
		if (r == 0)
			put_record(out, &record);
	}
	if (r < 0)
		put_error(out, r, &e);
	buf_char(out, '\n');
}

/* The next frame of standard input, of which each lies in memory of exactly its size, so that a
 * sanitizer sees what is read behind it. */
static bool next_frame(struct buf *frame)
{
	uint8_t head[4];
	size_t n;

	buf_fini(frame);
	if (fread(head, 1, sizeof head, stdin) != sizeof head)
		return false;
	n = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
	if (n > FRAME_MAX)
		return false;
	frame->p = xmalloc(n ? n : 1);
	frame->cap = n ? n : 1;
	frame->n = fread(frame->p, 1, n, stdin);
	return frame->n == n;
}

int main(int argc, char **argv)
{
	struct pickle *values = pickle_new(VALUE_BYTES);
	struct pylog *p = pylog_new();
	struct buf frame = {0}, out = {0};

	if (argc != 2 || !strstr("value literal record form", argv[1])) {
		fprintf(stderr, "usage: pylog_json value|literal|record|form <FRAMES\n");
		return 2;
	}
	while (next_frame(&frame)) {
		buf_clear(&out);
		put_frame(&out, argv[1], buf_view(&frame), values, p);
		fwrite(out.p, 1, out.n, stdout);
	}
	buf_fini(&frame);
	buf_fini(&out);
	pylog_free(p);
	pickle_free(values);
	return fflush(stdout) ? 1 : 0;
}
