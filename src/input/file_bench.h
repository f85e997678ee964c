/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the tests of the file input share.  Included by tests alone, behind cmocka.h. */
#include <stdio.h>
#include <sys/stat.h>

#include "input/fake_sink.h"
#include "input/settings.h"

extern const struct input_type input_file;

/* A folder with logs, a state folder, a sink and an input over all of it. */
struct bench {
	char dir[64], state[80];
	struct buf path;
	const char *globs[2];
	struct file_settings s;
	struct fake_sink sink;
	struct account account;
	struct fake_run run;
};

static inline const char *path_of(struct bench *b, const char *name)
{
	buf_clear(&b->path);
	buf_printf(&b->path, "%s/%s", b->dir, name);
	return buf_cstr(&b->path);
}

static inline void append(struct bench *b, const char *name, const char *text)
{
	FILE *f = fopen(path_of(b, name), "a");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	fclose(f);
}

static inline void rename_log(struct bench *b, const char *from, const char *to)
{
	char *old = xstrdup(path_of(b, from));

	assert_int_equal(rename(old, path_of(b, to)), 0);
	free(old);
}

static inline void bench_init(struct bench *b, const char *glob)
{
	memset(b, 0, sizeof(*b));
	strcpy(b->dir, "/tmp/sawlog-file-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(b->state, sizeof(b->state), "%s/state", b->dir);
	assert_int_equal(mkdir(b->state, 0700), 0);
	b->globs[0] = xstrdup(path_of(b, glob));
	b->s = (struct file_settings){
		.paths = {b->globs, 1}, .detect_time = true, .rotate_wait = NS_PER_SEC};
	account_init(&b->account, "test", 32 << 20, NULL);
	fake_init(&b->sink);
}

static inline void bench_start(struct bench *b)
{
	assert_int_equal(
		fake_start_input(&b->run, &input_file, &b->s, &b->sink, &b->account, b->state), 0);
}

static inline void bench_stop(struct bench *b)
{
	assert_true(fake_stop_input(&b->run));
	assert_int_equal(account_held(&b->account), 0);
}

static inline void bench_fini(struct bench *b)
{
	struct buf cmd = {0};

	assert_int_equal(b->sink.n_order_errors, 0);
	fake_fini(&b->sink);
	buf_printf(&cmd, "rm -rf %s", b->dir);
	assert_int_equal(system(buf_cstr(&cmd)), 0);
	buf_fini(&cmd);
	buf_fini(&b->path);
	free((char *)b->globs[0]);
}

static inline void expect(struct bench *b, const char *name, const char *text)
{
	struct buf got = fake_text(&b->sink, path_of(b, name));

	assert_string_equal(buf_cstr(&got), text);
	buf_fini(&got);
}

/* n numbered lines, from `from` on, appended to the log and to `model`. */
static inline void numbered(struct bench *b, const char *name, struct buf *model, int from, int n)
{
	struct buf text = {0};

	for (int i = from; i < from + n; i++)
		buf_printf(&text, "line %d of the test, with some text behind it\n", i);
	append(b, name, buf_cstr(&text));
	buf_str(model, buf_view(&text));
	buf_fini(&text);
}

static inline void copy_file(struct bench *b, const char *from, const char *to)
{
	struct buf cmd = {0};

	buf_printf(&cmd, "cp %s/%s %s/%s", b->dir, from, b->dir, to);
	assert_int_equal(system(buf_cstr(&cmd)), 0);
	buf_fini(&cmd);
}

/* Move app.log.N to app.log.N+1, and app.log to app.log.1. */
static inline void rotate_down(struct bench *b)
{
	char from[32], to[32];
	struct stat st;
	int n = 1;

	for (;; n++) {
		snprintf(from, sizeof(from), "app.log.%d", n);
		if (stat(path_of(b, from), &st) < 0)
			break;
	}
	for (; n > 0; n--) {
		snprintf(to, sizeof(to), "app.log.%d", n);
		snprintf(from, sizeof(from), n > 1 ? "app.log.%d" : "app.log", n - 1);
		rename_log(b, from, to);
	}
}
