/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as lines: what is written comes back, out of lines and out of rows
 * of another block.  The first byte says how often the lines are repeated.
 */
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"
#include "store/lines/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { LINES_MAX = 20000 };

static int read_payload(void *ctx, uint64_t at, size_t n, void *to, struct error *e)
{
	const struct buf *payload = ctx;

	if (at > payload->n || n > payload->n - at)
		return error_set(e, ERR_CORRUPT, "read outside of the payload");
	memcpy(to, payload->p + at, n);
	return 0;
}

/* Finish the writer's rows and read them back; `append` gets them as rows. */
static void check(struct lines_writer *w, const struct str *lines, const int64_t *times, uint32_t n,
	struct lines_writer *append)
{
	struct lines_written written;
	struct buf payload = {0};
	struct lines_reader *r = lines_reader_new();
	uint32_t *pick = xcalloc(n, sizeof *pick);
	struct str *got = xcalloc(n, sizeof *got);

	lines_writer_finish(w, &payload, &written);
	struct template *templates = xcalloc(written.n_templates, sizeof *templates);
	const struct template **pointers = xcalloc(written.n_templates, sizeof(struct template *));
	for (size_t i = 0; i < written.n_templates; i++) {
		if (template_parse(&templates[i], written.keys[i], NULL) < 0)
			abort();
		pointers[i] = &templates[i];
	}
	struct lines_source s = {.ctx = &payload,
		.read = read_payload,
		.bytes = payload.n,
		.n_rows = n,
		.templates = pointers,
		.n_templates = written.n_templates,
		.timestamps = times};
	for (uint32_t i = 0; i < n; i++)
		pick[i] = i;
	if (lines_open(r, &s, NULL) < 0 || lines_get(r, pick, n, got, NULL) < 0)
		abort();
	for (uint32_t i = 0; i < n; i++)
		if (!str_eq(got[i], lines[i]))
			abort();
	for (uint32_t at = 0, step = 1; append && at < n; at += step, step = step * 3 % 100 + 1) {
		if (step > n - at)
			step = n - at;
		if (lines_writer_append(append, r, at, step, NULL) < 0)
			abort();
	}
	lines_reader_free(r);
	for (size_t i = 0; i < written.n_templates; i++)
		template_fini(&templates[i]);
	free(templates);
	free(pointers);
	free(pick);
	free(got);
	buf_fini(&payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct lines_writer *w = lines_writer_new(NULL, 1), *append = lines_writer_new(NULL, 1);
	struct str *lines = xcalloc(LINES_MAX, sizeof *lines);
	int64_t *times = xcalloc(LINES_MAX, sizeof *times);
	int repeat = n ? data[0] % 8 + 1 : 0;
	uint32_t n_lines = 0;

	for (int i = 0; i < repeat; i++) {
		struct str rest = str_make(data + 1, n - 1);
		while (rest.n && n_lines < LINES_MAX) {
			lines[n_lines] = str_cut(&rest, '\n');
			times[n_lines] = (int64_t)(hash_stable(lines[n_lines]) >> (i * 8));
			n_lines++;
		}
	}
	for (uint32_t i = 0; i < n_lines; i++)
		lines_writer_add(w, lines[i], times[i]);
	check(w, lines, times, n_lines, append);
	check(append, lines, times, n_lines, NULL);
	lines_writer_free(w);
	lines_writer_free(append);
	free(lines);
	free(times);
	return 0;
}
