/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/codec.h"
#include "query/source_files.h"
#include "record/time.h"

static char dir[] = "/tmp/source_files_XXXXXX";

static const char *path_of(const char *name)
{
	static char paths[4][200];
	static unsigned at;
	char *path = paths[at++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", dir, name);
	return path;
}

static const char *put(const char *name, struct str bytes)
{
	const char *path = path_of(name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes.p, 1, bytes.n, f), bytes.n);
	fclose(f);
	return path;
}

static int64_t at(const char *text)
{
	int64_t ns;

	assert_true(time_parse_rfc3339(str_c(text), &ns));
	return ns;
}

static int run(const char *const *paths, size_t n, const char *text, struct query_params p,
	struct query_result *out)
{
	struct source_files *s;
	struct query *q;
	struct error e = {0};
	int r;

	if (query_parse(&q, str_c(text), &e) < 0)
		fail_msg("%s: %s", text, e.text);
	assert_int_equal(source_files_open(&s, paths, n, at("2026-08-22T00:00:00Z"), &e), 0);
	p.start_ns = p.start_ns ? p.start_ns : INT64_MIN;
	p.end_ns = p.end_ns ? p.end_ns : INT64_MAX;
	r = source_query(source_files_source(s), q, &p, out, &e);
	source_files_close(s);
	query_free(q);
	return r;
}

/* 3000 lines, more than a buffer of packed bytes, of which each third is a continuation. */
static void make_text(struct buf *out)
{
	for (int i = 0; i < 3000; i++) {
		if (i % 3 == 2)
			buf_c(out, "    at frame\r\n");
		else
			buf_printf(out, "2026-08-21T10:%02d:%02dZ level=%s n=%d %0100d\n",
				i / 60 % 60, i % 60, i % 7 ? "info" : "error", i, i * 7919);
	}
	out->n--; /* the last line has no end */
}

static void kinds_are_alike(void **state)
{
	struct buf text = {0}, gz = {0}, zst = {0};
	const char *paths[3];

	(void)state;
	make_text(&text);
	/* Two members, with padding; two frames. */
	gzip_pack(&gz, str_sub(buf_view(&text), 0, 100001), 6);
	gzip_pack(&gz, str_sub(buf_view(&text), 100001, text.n), 6);
	buf_put(&gz, "\0\0\0", 3);
	zstd_pack(&zst, str_sub(buf_view(&text), 0, 777), 3);
	zstd_pack(&zst, str_sub(buf_view(&text), 777, text.n), 3);
	paths[0] = put("plain", buf_view(&text));
	paths[1] = put("gz", buf_view(&gz));
	paths[2] = put("zst", buf_view(&zst));
	for (size_t i = 0; i < 3; i++) {
		struct query_params p = {.forward = true};
		struct query_result r;
		struct str name;

		assert_int_equal(run(&paths[i], 1, "{}", p, &r), 0);
		assert_int_equal(r.n_warnings, 0);
		assert_int_equal(r.n_entries, 3000);
		assert_true(labels_get(r.entries[0].labels, STR("filename"), &name));
		assert_true(str_eq_c(name, paths[i]));
		/* Without \r; at the time of the line before. */
		assert_true(str_eq(r.entries[2].line, STR("    at frame")));
		assert_int_equal(r.entries[2].timestamp, at("2026-08-21T10:00:01Z"));
		query_result_fini(&r);
		assert_int_equal(
			run(&paths[i], 1, "{detected_level=\"error\"} | logfmt | n > 2900", p, &r),
			0);
		assert_true(r.n_entries > 3 && r.n_entries < 15);
		query_result_fini(&r);
		p.start_ns = at("2026-08-21T10:00:10Z");
		p.end_ns = at("2026-08-21T10:00:12Z");
		assert_int_equal(run(&paths[i], 1, "{} != \"frame\"", p, &r), 0);
		assert_int_equal(r.n_entries, 1);
		query_result_fini(&r);
	}
	buf_fini(&text);
	buf_fini(&gz);
	buf_fini(&zst);
}

static void files_are_streams(void **state)
{
	const char *paths[] = {
		put("a", STR("2026-08-21T10:00:00Z one\n2026-08-21T10:00:02Z two\n")),
		put("b", STR("2026-08-21T10:00:01Z three\n"))};
	struct query_params p = {
		.start_ns = at("2026-08-21T10:01:00Z"), .end_ns = at("2026-08-21T10:01:00Z")};
	struct query_result r;

	(void)state;
	assert_int_equal(run(paths, 2, "{}", (struct query_params){.limit = 2}, &r), 0);
	assert_int_equal(r.n_entries, 2);
	assert_int_equal(r.entries[0].seq, 2);
	assert_int_equal(r.entries[1].seq, 3);
	query_result_fini(&r);
	assert_int_equal(run(paths, 2, "{filename=~\".*/a\"}", (struct query_params){0}, &r), 0);
	assert_int_equal(r.n_entries, 2);
	query_result_fini(&r);
	assert_int_equal(run(paths, 2, "sum(count_over_time({}[5m]))", p, &r), 0);
	assert_int_equal(r.n_series, 1);
	assert_true(r.series[0].samples[0].value == 3);
	query_result_fini(&r);
}

/* What is damaged is read up to there, and told. */
static void damage_is_told(void **state)
{
	struct buf text = {0}, gz = {0}, zst = {0};
	const char *path;
	struct query_result r;

	(void)state;
	make_text(&text);
	gzip_pack(&gz, buf_view(&text), 6);
	zstd_pack(&zst, str_sub(buf_view(&text), 0, text.n / 2), 3);
	buf_c(&zst, "what follows is no frame");
	path = put("cut.gz", str_sub(buf_view(&gz), 0, gz.n - 100));
	assert_int_equal(run(&path, 1, "{}", (struct query_params){0}, &r), 0);
	assert_true(r.n_entries > 1000 && r.n_entries <= 3000);
	assert_int_equal(r.n_warnings, 1);
	query_result_fini(&r);
	path = put("bad.zst", buf_view(&zst));
	assert_int_equal(run(&path, 1, "{}", (struct query_params){0}, &r), 0);
	assert_true(r.n_entries > 1400 && r.n_entries < 1600);
	assert_int_equal(r.n_warnings, 1);
	query_result_fini(&r);
	buf_fini(&text);
	buf_fini(&gz);
	buf_fini(&zst);
}

static void long_lines_come_in_pieces(void **state)
{
	struct buf text = {0};
	const size_t lengths[] = {SOURCE_LINE_MAX, SOURCE_LINE_MAX + 1, 3 * SOURCE_LINE_MAX, 0, 5};
	const size_t want[] = {SOURCE_LINE_MAX, SOURCE_LINE_MAX, 1, SOURCE_LINE_MAX,
		SOURCE_LINE_MAX, SOURCE_LINE_MAX, 0, 5};
	const char *path;
	struct query_result r;

	(void)state;
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		memset(buf_reserve(&text, lengths[i] + 1), 'x', lengths[i]);
		text.n += lengths[i];
		buf_char(&text, '\n');
	}
	path = put("long", buf_view(&text));
	assert_int_equal(run(&path, 1, "{}", (struct query_params){.forward = true}, &r), 0);
	assert_int_equal(r.n_entries, sizeof want / sizeof *want);
	for (size_t i = 0; i < r.n_entries; i++)
		assert_int_equal(r.entries[i].line.n, want[i]);
	query_result_fini(&r);
	buf_fini(&text);
}

static void what_is_piped_is_kept_or_not(void **state)
{
	struct query *q;
	struct query_result r;
	struct error e = {0};

	(void)state;
	assert_int_equal(query_parse(&q, STR("{} | context -B 1"), &e), 0);
	for (unsigned once = 0; once < 2; once++) {
		const char *path = "/dev/stdin";
		struct query_params p = {.start_ns = INT64_MIN, .end_ns = INT64_MAX};
		struct source_files *s;
		int ends[2], saved = dup(STDIN_FILENO);

		assert_int_equal(pipe(ends), 0);
		assert_int_equal(write(ends[1], "one\ntwo\n", 8), 8);
		close(ends[1]);
		dup2(ends[0], STDIN_FILENO);
		close(ends[0]);
		path = "-";
		assert_int_equal(source_files_open(&s, &path, 1, 1000, &e), 0);
		if (once)
			source_files_once(s);
		/* With its neighbours it is read thrice. */
		if (once) {
			assert_int_equal(source_query(source_files_source(s), q, &p, &r, &e),
				ERR_UNSUPPORTED);
		} else {
			assert_int_equal(source_query(source_files_source(s), q, &p, &r, &e), 0);
			assert_int_equal(r.n_entries, 2);
			query_result_fini(&r);
		}
		source_files_close(s);
		dup2(saved, STDIN_FILENO);
		close(saved);
	}
	query_free(q);
}

static void what_is_no_file(void **state)
{
	struct source_files *s;
	struct error e = {0};
	const char *path = dir;

	(void)state;
	assert_int_equal(source_files_open(&s, &path, 1, 0, &e), ERR_ARG);
	path = path_of("missing");
	assert_int_equal(source_files_open(&s, &path, 1, 0, &e), ERR_NOT_FOUND);
}

static int setup(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	static const char *const names[] = {
		"plain", "gz", "zst", "a", "b", "cut.gz", "bad.zst", "long"};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		unlink(path_of(names[i]));
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds_are_alike),
		cmocka_unit_test(files_are_streams),
		cmocka_unit_test(damage_is_told),
		cmocka_unit_test(long_lines_come_in_pieces),
		cmocka_unit_test(what_is_piped_is_kept_or_not),
		cmocka_unit_test(what_is_no_file),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
