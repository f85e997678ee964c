/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file output on real folders, with calls to the system that fail or end
 * the process when told to.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "codec/codec.h"
#include "os/fake.h"
#include "output/output.h"
#include "record/labels.h"

static uint64_t die_at;                 /* the how manyth change ends the process; 0: none */
static uint64_t disk_room = UINT64_MAX; /* bytes that the disk takes */

static void change(void)
{
	if (die_at && --die_at == 0)
		_exit(9);
}

static ssize_t test_write(int fd, const void *p, size_t n)
{
	if (die_at == 1 && n > 1) {
		/* SIGKILL may cut a write in two. */
		ssize_t k = write(fd, p, n / 2);
		_exit(k < 0 ? 8 : 9);
	}
	change();
	if (disk_room == 0) {
		errno = ENOSPC;
		return -1;
	}
	if (n > disk_room)
		n = (size_t)disk_room;
	if (disk_room != UINT64_MAX)
		disk_room -= n;
	return write(fd, p, n);
}

static int test_renameat(int a, const char *from, int b, const char *to)
{
	int r = renameat(a, from, b, to);

	change();
	return r;
}

static int test_unlinkat(int dir, const char *name, int flags)
{
	change();
	return unlinkat(dir, name, flags);
}

/* With arguments, so that the member of output_type keeps its name. */
#define write(fd, p, n) test_write(fd, p, n)
#define renameat        test_renameat
#define unlinkat        test_unlinkat
#include "output/file_rotate.c"
#include "output/file_write.c"
#undef write
#undef renameat
#undef unlinkat

/* --- rig ------------------------------------------------------------------- */

extern const struct output_type output_file;

static char folder[] = "/tmp/sawlog-file-XXXXXX";
static struct clock *now;
static struct file_output_settings settings;
static void *output;
static struct buf state;
static struct error e;
static uint64_t seq;
static struct fs *journal; /* where the state folder is */

static const int64_t start_ns = INT64_C(1795257000) * NS_PER_SEC; /* 2026-11-21 10:30 UTC */

static void remove_all(void)
{
	char command[100];

	snprintf(command, sizeof command, "chmod -R u+rwx %s; rm -rf %s", folder, folder);
	assert_int_equal(system(command), 0);
}

static const char *in(const char *name)
{
	static char paths[8][600];
	static int at;
	char *path = paths[at++ % 8];

	snprintf(path, 600, "%s/%s", folder, name);
	return path;
}

static int set_up(void **unused)
{
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	assert_non_null(mkdtemp(folder));
	mkdir(in("state"), 0700);
	now = clock_fake_new(start_ns);
	settings = (struct file_output_settings){
		.path = strdup(in("log/app.log")),
		.separator = ".",
		.rotate = {.keep = 7},
		.watch = true,
		.mode = "0640",
		.dir_mode = "0750",
		.line = {.utc = true, .breaks = LINE_RAW},
		.max_open = 32,
		.max_files = 1000,
	};
	seq = 0;
	journal = fs_real();
	return 0;
}

static void shut(void)
{
	if (output)
		output_file.close(output);
	output = NULL;
}

static int tear_down(void **unused)
{
	shut();
	buf_fini(&state);
	disk_room = UINT64_MAX;
	free((void *)(uintptr_t)settings.path);
	clock_fake_free(now);
	remove_all();
	return 0;
}

static void set_path(const char *below)
{
	free((void *)(uintptr_t)settings.path);
	settings.path = strdup(in(below));
}

static void begin(void)
{
	static char dir[100];
	struct output_env env = {.fs = journal, .clock = now, .dir = dir, .name = "f"};
	int r;

	str_copy(str_c(in("state")), dir, sizeof dir);
	r = output_file.check(&settings, &e);
	if (r == 0)
		r = output_file.open(&output, &settings, &env, buf_view(&state), &e);
	if (r < 0)
		fail_msg("%s", e.text);
}

static int put(const char *labels, const char *line)
{
	struct labels_builder b = {.names_free = true};
	struct output_record r = {.seq = ++seq, .timestamp = start_ns, .line = str_c(line)};
	struct buf bytes = {0};
	int code;

	if (!output)
		begin();
	if (labels)
		assert_int_equal(labels_parse(&b, str_c(labels), &e), 0);
	labels_builder_write(&b, &bytes);
	r.labels = buf_view(&bytes);
	code = output_file.write(output, &r, 1, &e);
	buf_fini(&bytes);
	labels_builder_fini(&b);
	return code;
}

static void puts_all(const char *labels, const char *const *lines)
{
	for (; *lines; lines++)
		assert_int_equal(put(labels, *lines), 1);
}

#define PUTS(labels, ...) puts_all(labels, (const char *const[]){__VA_ARGS__, NULL})

static int keep_place(void)
{
	struct buf fresh = {0};
	int r = output_file.sync(output, &fresh, &e);

	if (r == 0) {
		buf_fini(&state);
		state = fresh;
	} else {
		buf_fini(&fresh);
	}
	return r;
}

/* As at a stop, or a change of the settings. */
static void restart(void)
{
	assert_int_equal(keep_place(), 0);
	shut();
}

/* The process ends without a word: what is in memory is lost. */
static void crash(void)
{
	struct file_output *o = output;

	LIST_EACH (at, &o->busy) {
		struct logfile *f = CONTAINER(at, struct logfile, busy);
		o->pending -= f->pending.n;
		buf_clear(&f->pending);
	}
	shut();
}

static char *content(const char *name)
{
	static struct buf text[4];
	static int at;
	struct buf *b = &text[at++ % 4];

	buf_clear(b);
	if (fs_read_all(fs_real(), in(name), 1 << 20, b, &e) < 0)
		return NULL;
	return (char *)(uintptr_t)buf_cstr(b);
}

static void there(const char *name, const char *wanted)
{
	char *text = content(name);

	if (!text)
		fail_msg("%s", e.text);
	assert_string_equal(text, wanted);
}

static void absent(const char *name)
{
	assert_null(content(name));
}

/* --- paths ------------------------------------------------------------------ */

static const char *value(const char *s, size_t n, size_t max)
{
	static struct buf b;

	buf_clear(&b);
	path_value_put(&b, str_make(s, n), max);
	assert_true(b.n <= max);
	return buf_cstr(&b);
}

static void values_become_names(void **unused)
{
	static const char *const cases[][2] = {
		{"billing", "billing"},
		{"a.b-c_d+e@f=g,h:i", "a.b-c_d+e@f=g,h:i"},
		{"", "~none"},
		{"~none", "%7Enone"},
		{".", "%2E"},
		{"..", "%2E."},
		{"../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"},
		{"/etc/passwd", "%2Fetc%2Fpasswd"},
		{"-rf", "%2Drf"},
		{"a b", "a%20b"},
		{"a%20b", "a%2520b"},
		{"a\nb\x1b[31m\x7f", "a%0Ab%1B%5B31m%7F"},
		{"caf\xc3\xa9", "caf\xc3\xa9"},
		{"caf\xc2\x85", "caf%C2%85"},
		{"caf\xe9", "caf%E9"},
	};
	char x[4096], a[300];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_string_equal(value(cases[i][0], strlen(cases[i][0]), 200), cases[i][1]);
	assert_string_equal(value("a\0b", 3, 200), "a%00b");
	/* Long ones differ by their hash, and are cut between characters. */
	memset(x, 'x', sizeof x);
	assert_int_equal(strlen(value(x, 200, 200)), 200);
	str_copy(str_c(value(x, 201, 200)), a, sizeof a);
	assert_int_equal(strlen(a), 200);
	assert_non_null(strchr(a, '~'));
	assert_string_not_equal(a, value(x, 202, 200));
	for (size_t i = 0; i + 1 < sizeof x; i += 2)
		memcpy(x + i, "\xc3\xa9", 2);
	str_copy(str_c(value(x, sizeof x, 101)), a, sizeof a);
	assert_int_equal(str_utf8_valid(str_c(a)), strlen(a));
	memset(x, '/', sizeof x);
	str_copy(str_c(value(x, sizeof x, 101)), a, sizeof a);
	assert_int_equal((strchr(a, '~') - a) % 3, 0);
}

static void refuses(const char *sentence)
{
	e.text[0] = '\0';
	if (output_file.check(&settings, &e) != ERR_ARG || !strstr(e.text, sentence))
		fail_msg("\"%s\" is not in \"%s\"", sentence, e.text);
}

static void bad_settings_are_refused(void **unused)
{
	set_path("log/../../etc/{{.app}}.log");
	settings.root = in("log");
	refuses("\"..\" below the root");
	settings.root = in("other");
	refuses("not below the root");
	settings.root = in("lo");
	refuses("not below the root");
	settings.root = NULL;
	set_path("log/");
	refuses("must end in the name of a file");
	set_path("log/{{.app}}/");
	refuses("must end in the name of a file");
	set_path("log/{{.app");
	refuses("has no \"}}\"");
	set_path("log/%(app)d");
	refuses("has no \")s\"");
	set_path("log/{{if .app}}x{{end}}");
	refuses("must be a value by itself");
	set_path("log/a\nb");
	refuses("control character");
	set_path("log/{{.app}}");
	settings.rotate.size = 100;
	refuses("must end in text like");
	set_path("log/{{.app}}.7");
	refuses("must end in text like");
	set_path("log/{{.app}}.gz");
	refuses("must end in text like");
	set_path("log/{{.app}}.log");
	assert_int_equal(output_file.check(&settings, &e), 0);
	settings.rotate.keep = 0;
	refuses("keep must be at least 1");
	settings.rotate.keep = 1;
	settings.rotate.at = "25:00";
	refuses("a time of day");
	settings.rotate.at = "01:00";
	refuses("at needs every");
	settings.rotate.at = NULL;
	settings.consolidate = "all";
	refuses("consolidate needs hierarchy");
	settings.hierarchy = "logger";
	set_path("log/all.log");
	refuses("hierarchy needs a path with that label");
}

static void a_file_for_each_value(void **unused)
{
	set_path("log//{{ .app }}/%(level)s-{{.app | ToUpper}}.log");
	PUTS("{app=\"a\", level=\"x\"}", "1");
	PUTS("{app=\"../b\"}", "2");
	there("log/a/x-A.log", "1\n");
	there("log/%2E.%2Fb/~none-%2E.%2FB.log", "2\n");
}

static void no_link_is_followed(void **unused)
{
	set_path("log/{{.app}}/x.log");
	PUTS("{app=\"a\"}", "1");
	mkdir(in("outside"), 0700);
	assert_int_equal(symlink(in("outside"), in("log/b")), 0);
	assert_int_equal(put("{app=\"b\"}", "2"), ERR_DENIED);
	assert_non_null(strstr(e.text, "symbolic link"));
	absent("outside/x.log");
	/* Planted while the file is open. */
	unlink(in("log/a/x.log"));
	assert_int_equal(symlink(in("outside/y"), in("log/a/x.log")), 0);
	assert_int_equal(put("{app=\"a\"}", "3"), ERR_DENIED);
	absent("outside/y");
	unlink(in("log/a/x.log"));
	PUTS("{app=\"a\"}", "3");
	there("log/a/x.log", "3\n");
	/* No regular file. */
	mkdir(in("log/c"), 0700);
	assert_int_equal(mkfifo(in("log/c/x.log"), 0600), 0);
	assert_true(put("{app=\"c\"}", "4") < 0);
}

/* --- writing ---------------------------------------------------------------- */

static void modes_are_exact(void **unused)
{
	struct stat st;
	mode_t old = umask(0077);

	settings.mode = "0664";
	settings.dir_mode = "0775";
	set_path("log/deep/{{.app}}/x.log");
	PUTS("{app=\"a\"}", "1");
	umask(old);
	assert_int_equal(stat(in("log/deep/a/x.log"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0664);
	assert_int_equal(stat(in("log/deep/a"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0775);
	assert_int_equal(stat(in("log"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0775);
}

static void append(const char *name, const char *text)
{
	FILE *f = fopen(in(name), "a");

	fputs(text, f);
	fclose(f);
}

static void appends_to_what_is_there(void **unused)
{
	mkdir(in("log"), 0700);
	append("log/app.log", "old\n");
	PUTS(NULL, "1");
	append("log/app.log", "other\n");
	PUTS(NULL, "2");
	there("log/app.log", "old\n1\nother\n2\n");
}

static void moved_deleted_and_emptied(void **unused)
{
	PUTS(NULL, "1");
	rename(in("log/app.log"), in("log/moved"));
	PUTS(NULL, "2");
	there("log/moved", "1\n");
	there("log/app.log", "2\n");
	unlink(in("log/app.log"));
	PUTS(NULL, "3");
	there("log/app.log", "3\n");
	assert_int_equal(truncate(in("log/app.log"), 0), 0);
	PUTS(NULL, "4");
	there("log/app.log", "4\n");
	/* The whole folder. */
	rename(in("log"), in("gone"));
	PUTS(NULL, "5");
	there("log/app.log", "5\n");
	/* Without watch only when it is asked to. */
	restart();
	settings.watch = false;
	PUTS(NULL, "6");
	rename(in("log/app.log"), in("log/moved"));
	PUTS(NULL, "7");
	there("log/moved", "5\n6\n7\n");
	output_file.reopen(output);
	PUTS(NULL, "8");
	there("log/app.log", "8\n");
}

static void a_full_disk_loses_and_repeats_nothing(void **unused)
{
	PUTS(NULL, "1111");
	disk_room = 7;
	assert_int_equal(put(NULL, "2222"), 1);
	assert_int_equal(put(NULL, "3333"), 1);
	there("log/app.log", "1111\n2222\n33");
	assert_int_equal(put(NULL, "4444"), ERR_FULL);
	assert_int_equal(keep_place(), ERR_FULL);
	assert_int_equal(state.n, 0);
	disk_room = UINT64_MAX;
	assert_int_equal(put(NULL, "4444"), 1);
	assert_int_equal(keep_place(), 0);
	there("log/app.log", "1111\n2222\n3333\n4444\n");
}

static void levels_and_consolidation(void **unused)
{
	struct buf deep = {0};

	settings.hierarchy = "logger";
	settings.consolidate = "all";
	set_path("log/{{.logger}}.log");
	PUTS("{logger=\"A.B.C\"}", "1");
	PUTS("{logger=\"A.B\"}", "2");
	PUTS("{logger=\"all\"}", "3");
	PUTS("{app=\"x\"}", "4");
	PUTS("{logger=\".A..D\"}", "5");
	there("log/A.B.C.log", "1\n");
	there("log/A.B.log", "1\n2\n");
	there("log/A.log", "1\n2\n");
	there("log/all.log", "1\n2\n3\n4\n5\n");
	there("log/~none.log", "4\n");
	there("log/%2EA..D.log", "5\n");
	there("log/%2EA.log", "5\n");
	/* A logger that is nothing but levels makes no more than a few. */
	buf_c(&deep, "{logger=\"");
	for (int i = 0; i < 1000; i++)
		buf_c(&deep, "q.");
	buf_c(&deep, "q\"}");
	PUTS(buf_cstr(&deep), "6");
	there("log/q.q.q.log", "6\n");
	assert_true(((struct file_output *)output)->files.n < 7 + 20);
	buf_fini(&deep);
}

static void files_are_bounded(void **unused)
{
	char labels[64], name[64];
	struct file_output *o;

	settings.max_files = 100;
	set_path("log/{{.app}}.log");
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < 100; i++) {
			snprintf(labels, sizeof labels, "{app=\"a%d\"}", i);
			PUTS(labels, "x");
			o = output;
			assert_true(o->n_open <= 32);
		}
	assert_int_equal(put("{app=\"more\"}", "x"), ERR_LIMIT);
	assert_non_null(strstr(e.text, "max_files"));
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof name, "log/a%d.log", i);
		there(name, "x\nx\nx\n");
	}
	assert_int_equal(keep_place(), 0);
}

/* --- rotating --------------------------------------------------------------- */

static void rotates_by_size(void **unused)
{
	settings.rotate.size = 10;
	settings.rotate.keep = 2;
	/* "aaa\n" twice is 8 bytes; a third would reach 10. */
	PUTS(NULL, "aaa", "bbb", "ccc", "ddd", "eee");
	there("log/app.log", "eee\n");
	there("log/app.log.1", "ccc\nddd\n");
	there("log/app.log.2", "aaa\nbbb\n");
	/* Larger than the size alone: a file of its own, and no empty ones. */
	PUTS(NULL, "a line of many bytes", "f");
	there("log/app.log", "f\n");
	there("log/app.log.1", "a line of many bytes\n");
	there("log/app.log.2", "eee\n");
	absent("log/app.log.3");
	/* Exactly: 9 bytes stay below 10. */
	PUTS(NULL, "123456");
	there("log/app.log", "f\n123456\n");
}

static void advance_to(int64_t ns)
{
	clock_fake_advance(now, ns - clock_now_ns(now));
}

static void tick(void)
{
	int64_t due = 0;

	for (int i = 0; i < 1000; i++) {
		assert_int_equal(output_file.tick(output, clock_now_ns(now), &due, &e), 0);
		if (due == 0 || due > clock_now_ns(now))
			return;
	}
	fail_msg("it always has something to do");
}

static void rotates_by_time(void **unused)
{
	settings.rotate.every = EVERY_HOUR;
	/* The file's time is the disk's, so the clock is set to it. */
	advance_to(clock_now_ns(clock_real()));
	PUTS(NULL, "1");
	tick();
	absent("log/app.log.1");
	clock_fake_advance(now, 3600 * NS_PER_SEC);
	PUTS(NULL, "2");
	there("log/app.log.1", "1\n");
	there("log/app.log", "2\n");
	/* Also without a line, and not when it is empty. */
	clock_fake_advance(now, 3600 * NS_PER_SEC);
	tick();
	there("log/app.log.1", "2\n");
	there("log/app.log", "");
	clock_fake_advance(now, 3600 * NS_PER_SEC);
	tick();
	there("log/app.log.1", "2\n");
	/* A file of an earlier day, found at the start. */
	restart();
	append("log/app.log", "old\n");
	clock_fake_advance(now, 48 * 3600 * NS_PER_SEC);
	PUTS(NULL, "3");
	there("log/app.log.1", "old\n");
	there("log/app.log", "3\n");
}

static void times_of_rotation(void **unused)
{
	struct rotate_settings s = {.every = EVERY_HOUR};
	const int64_t h = 3600 * NS_PER_SEC, half = 1800 * NS_PER_SEC, d = 24 * h;
	const int64_t day = start_ns - 10 * h - half; /* a Saturday */

	assert_int_equal(rotate_due(&s, true, start_ns), start_ns + half);
	assert_int_equal(rotate_due(&s, true, start_ns + half), start_ns + half + h);
	assert_int_equal(rotate_due(&s, true, start_ns + half - 1), start_ns + half);
	s.every = EVERY_DAY;
	assert_int_equal(rotate_due(&s, true, start_ns), day + d);
	assert_int_equal(rotate_due(&s, true, day), day + d);
	s.every = EVERY_MIDNIGHT;
	s.at = "10:31";
	assert_int_equal(rotate_due(&s, true, start_ns), start_ns + 60 * NS_PER_SEC);
	assert_int_equal(
		rotate_due(&s, true, start_ns + 60 * NS_PER_SEC), start_ns + d + 60 * NS_PER_SEC);
	s.at = NULL;
	s.every = EVERY_MONDAY;
	assert_int_equal(rotate_due(&s, true, start_ns), day + 2 * d);
	s.every = EVERY_SUNDAY - 1;
	assert_int_equal(rotate_due(&s, true, start_ns), day + 7 * d);
	s.at = "12:00:30";
	assert_int_equal(rotate_due(&s, true, start_ns), day + 12 * h + 30 * NS_PER_SEC);
	assert_int_equal(rotate_due(&s, true, -start_ns) > -start_ns, 1);
}

/* Days of 25 and 23 hours. */
static void days_of_local_time(void **unused)
{
	struct rotate_settings s = {.every = EVERY_DAY};
	const int64_t autumn = INT64_C(1792881000), spring = INT64_C(1774699200);
	char *old = getenv("TZ");
	char keep[100] = "";

	if (old)
		str_copy(str_c(old), keep, sizeof keep);
	setenv("TZ", "Europe/Berlin", 1);
	tzset();
	/* 00:30 of the day that summer time ends on; midnight is at 23:00 UTC. */
	assert_int_equal(rotate_due(&s, false, autumn * NS_PER_SEC),
		(autumn + 24 * 3600 + 1800) * NS_PER_SEC);
	/* Noon before it begins, and a time of day that does not come. */
	assert_int_equal(
		rotate_due(&s, false, spring * NS_PER_SEC), (spring + 11 * 3600) * NS_PER_SEC);
	s.at = "02:30";
	assert_in_range(rotate_due(&s, false, spring * NS_PER_SEC),
		(spring + 12 * 3600) * NS_PER_SEC, (spring + 14 * 3600) * NS_PER_SEC);
	if (old)
		setenv("TZ", keep, 1);
	else
		unsetenv("TZ");
	tzset();
}

static void unpacked(const char *name, bool zstd, const char *wanted)
{
	struct buf packed = {0}, plain = {0};

	assert_int_equal(fs_read_all(fs_real(), in(name), 1 << 20, &packed, &e), 0);
	if (zstd)
		assert_int_equal(zstd_unpack(&plain, buf_view(&packed), 1 << 20, &e), 0);
	else
		assert_int_equal(gzip_unpack(&plain, buf_view(&packed), 1 << 20, &e), 0);
	assert_string_equal(buf_cstr(&plain), wanted);
	buf_fini(&packed);
	buf_fini(&plain);
}

static void rotated_files_are_compressed(void **unused)
{
	settings.rotate.size = 6;
	settings.rotate.keep = 3;
	settings.rotate.compress = COMPRESS_GZIP;
	PUTS(NULL, "aaa", "bbb", "ccc");
	tick();
	unpacked("log/app.log.2.gz", false, "aaa\n");
	unpacked("log/app.log.1.gz", false, "bbb\n");
	absent("log/app.log.1");
	absent("log/app.log.gz.tmp");
	/* Renamed as plain ones, and compressed while rotation goes on. */
	PUTS(NULL, "ddd", "eee");
	rotate_work(output);
	PUTS(NULL, "fff");
	tick();
	unpacked("log/app.log.1.gz", false, "eee\n");
	unpacked("log/app.log.2.gz", false, "ddd\n");
	unpacked("log/app.log.3.gz", false, "ccc\n");
	absent("log/app.log.4.gz");
	there("log/app.log", "fff\n");
	/* What a crash leaves: half a file, or both. */
	restart();
	append("log/app.log.gz.tmp", "half");
	rename(in("log/app.log.1.gz"), in("log/keep"));
	append("log/app.log.1", "eee\n");
	append("log/app.log.2", "ddd\n");
	PUTS(NULL, "");
	tick();
	absent("log/app.log.gz.tmp");
	absent("log/app.log.2");
	unpacked("log/app.log.1.gz", false, "eee\n");
	unpacked("log/app.log.2.gz", false, "ddd\n");
	/* Another compression later. */
	restart();
	settings.rotate.compress = COMPRESS_ZSTD;
	PUTS(NULL, "ggg");
	tick();
	unpacked("log/app.log.1.zst", true, "fff\n\n");
	unpacked("log/app.log.2.gz", false, "eee\n");
	unpacked("log/app.log.3.gz", false, "ddd\n");
}

/* --- resuming --------------------------------------------------------------- */

static void again_from(uint64_t to)
{
	seq = to;
}

static void what_is_there_is_not_written_again(void **unused)
{
	PUTS(NULL, "same", "same");
	assert_int_equal(keep_place(), 0);
	PUTS(NULL, "same", "same", "x");
	crash();
	again_from(2);
	PUTS(NULL, "same", "same", "x", "same");
	there("log/app.log", "same\nsame\nsame\nsame\nx\nsame\n");
	/* Half a line, and lines of others. */
	assert_int_equal(keep_place(), 0);
	PUTS(NULL, "one");
	crash();
	append("log/app.log", "alien\ntw");
	PUTS(NULL, "one", "two", "three");
	there("log/app.log", "same\nsame\nsame\nsame\nx\nsame\none\nalien\ntwo\nthree\n");
	/* Half a line that is none of ours. */
	assert_int_equal(keep_place(), 0);
	PUTS(NULL, "four");
	crash();
	append("log/app.log", "alien");
	PUTS(NULL, "four", "five");
	assert_true(str_ends(str_c(content("log/app.log")), STR("four\nalien\nfive\n")));
	/* A place kept in the midst of it. */
	assert_int_equal(keep_place(), 0);
	PUTS(NULL, "6", "7", "8");
	crash();
	PUTS(NULL, "6");
	assert_int_equal(keep_place(), 0);
	crash();
	PUTS(NULL, "7");
	crash();
	PUTS(NULL, "7", "8", "9");
	assert_true(str_ends(str_c(content("log/app.log")), STR("five\n6\n7\n8\n9\n")));
}

static void a_moved_file_is_found_again(void **unused)
{
	PUTS(NULL, "1", "2");
	assert_int_equal(keep_place(), 0);
	PUTS(NULL, "3", "4");
	crash();
	rename(in("log/app.log"), in("log/app.log-2026"));
	PUTS(NULL, "3", "4", "5");
	there("log/app.log-2026", "1\n2\n3\n4\n");
	there("log/app.log", "5\n");
	crash();
	PUTS(NULL, "3", "4", "5", "6");
	there("log/app.log-2026", "1\n2\n3\n4\n");
	there("log/app.log", "5\n6\n");
}

/* Nothing is written before it is noted where. */
static void the_journal_is_ahead(void **unused)
{
	journal = fs_fake_new(1);
	assert_int_equal(fs_mkdir(journal, in("state"), &e), 0);
	fake_fail(journal, FAKE_WRITE, 1, ENOSPC, true);
	assert_int_equal(put(NULL, "1"), 1);
	there("log/app.log", "");
	assert_int_equal(put(NULL, "2"), ERR_FULL);
	assert_int_equal(keep_place(), ERR_FULL);
	fake_fail(journal, FAKE_WRITE, 0, 0, false);
	assert_int_equal(put(NULL, "2"), 1);
	there("log/app.log", "1\n2\n");
	assert_int_equal(keep_place(), 0);
	/* A power cut takes of the journal what was not synced: with fsync: sync nothing. */
	assert_int_equal(put(NULL, "3"), 1);
	shut();
	fake_crash(journal, false);
	again_from(2);
	PUTS(NULL, "3", "4");
	there("log/app.log", "1\n2\n3\n4\n");
	shut();
	fs_fake_free(journal);
}

static void what_cannot_be_written_waits(void **unused)
{
	set_path("log/{{.app}}/x.log");
	settings.hierarchy = "app";
	PUTS("{app=\"a\"}", "1");
	append("log/a.b", "a file in the place of a folder");
	/* Neither of the two files gets it, so that it is there once when it can be. */
	assert_true(put("{app=\"a.b\"}", "2") < 0);
	there("log/a/x.log", "1\n");
	unlink(in("log/a.b"));
	PUTS("{app=\"a.b\"}", "2");
	there("log/a/x.log", "1\n2\n");
	there("log/a.b/x.log", "2\n");
}

/*
 * Random records for a few files are given to an output in processes that end at a random change of
 * the disk, each time from the place that was kept last, until all is written.  Then every line is
 * there once, in order.
 */
enum { APPS = 5, RECORDS = 400 };

static uint64_t place_of(void)
{
	struct buf text = {0};
	struct str rest;
	uint64_t at = 0;

	buf_clear(&state);
	if (fs_read_all(fs_real(), in("place"), 1 << 20, &text, &e) == 0) {
		rest = buf_view(&text);
		assert_true(str_u64(str_cut(&rest, '\n'), &at));
		buf_str(&state, rest);
	}
	buf_fini(&text);
	return at;
}

static void save_place(uint64_t at)
{
	struct buf text = {0};
	FILE *f;

	change();
	if (keep_place() < 0)
		_exit(7);
	change();
	buf_printf(&text, "%llu\n", (unsigned long long)at);
	buf_str(&text, buf_view(&state));
	/* Not synced, as a power cut is not what is tried here. */
	if (!(f = fopen(in("place.tmp"), "w")) || fwrite(text.p, 1, text.n, f) != text.n ||
		fclose(f) != 0 || rename(in("place.tmp"), in("place")) < 0)
		_exit(7);
	buf_fini(&text);
}

static void line_of(unsigned seed, uint64_t i, char *labels, char *line)
{
	/* Half of the lines are alike. */
	uint64_t x = (i + 1) * (seed * 2 + 1) * UINT64_C(0x9E3779B97F4A7C15);

	sprintf(labels, "{app=\"a%llu\"}", (unsigned long long)(x >> 40) % APPS);
	if (x >> 60 & 1)
		sprintf(line, "tick %0*d", (int)(x >> 50 & 15) + 1, 0);
	else
		sprintf(line, "line %llu", (unsigned long long)i);
}

static void child(unsigned seed)
{
	uint64_t at = place_of();
	char labels[40], line[60];

	srand(seed + (unsigned)die_at);
	begin();
	for (; at < RECORDS; at++) {
		line_of(seed, at, labels, line);
		if (put(labels, line) != 1)
			_exit(6);
		if (rand() % 8 == 0)
			save_place(at + 1);
		if (rand() % 16 == 0)
			rotate_work(output);
	}
	save_place(at);
	while (((struct file_output *)output)->packing.f ||
		!list_empty(&((struct file_output *)output)->work))
		rotate_work(output);
	_exit(0);
}

/* All that was written to an app's files, the oldest first. */
static void gather(int app, struct buf *out)
{
	for (int i = 300; i >= 0; i--) {
		char name[60];
		struct buf raw = {0};

		snprintf(name, sizeof name, i ? "log/a%d.log.%d" : "log/a%d.log", app, i);
		strcat(name, ".gz");
		/* Both: the crash came before the plain one was removed, and nobody wrote since. */
		if (fs_read_all(fs_real(), in(name), 1 << 20, &raw, NULL) == 0)
			assert_int_equal(gzip_unpack(out, buf_view(&raw), 1 << 20, &e), 0);
		else {
			name[strlen(name) - 3] = '\0';
			fs_read_all(fs_real(), in(name), 1 << 20, out, NULL);
		}
		buf_fini(&raw);
	}
}

static bool audit(unsigned seed)
{
	bool same = true;

	for (int app = 0; app < APPS; app++) {
		struct buf wanted = {0}, found = {0};
		char labels[40], line[60], mine[40];

		sprintf(mine, "{app=\"a%d\"}", app);
		for (uint64_t i = 0; i < RECORDS; i++) {
			line_of(seed, i, labels, line);
			if (strcmp(labels, mine) == 0)
				buf_printf(&wanted, "%s\n", line);
		}
		gather(app, &found);
		same = same && str_eq(buf_view(&wanted), buf_view(&found));
		buf_fini(&wanted);
		buf_fini(&found);
	}
	return same;
}

static unsigned campaign(unsigned seed, bool forget)
{
	unsigned kills = 0;
	int status;

	set_path("log/{{.app}}.log");
	settings.rotate = (struct rotate_settings){.size = seed % 2 ? 60 : 0,
		.keep = 300,
		.compress = seed % 4 == 3 ? COMPRESS_GZIP : COMPRESS_NONE};
	settings.fsync = FSYNC_NEVER;
	settings.max_open = 32;
	do {
		pid_t pid;
		fflush(NULL);
		pid = fork();
		if (pid == 0) {
			die_at = 1 + (seed * 7919 + kills * 104729) % 60;
			child(seed);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 9);
		kills += WEXITSTATUS(status) == 9;
		if (forget) {
			/* The control: without its journal it must repeat lines. */
			char command[100];
			snprintf(command, sizeof command, "rm -f %s/state/*", folder);
			assert_int_equal(system(command), 0);
		}
	} while (WEXITSTATUS(status) != 0 && kills < 2000);
	assert_int_equal(WEXITSTATUS(status), 0);
	return kills;
}

static void no_line_twice_and_none_missing(void **unused)
{
	unsigned kills = 0;

	for (unsigned seed = 1; seed <= 12; seed++) {
		kills += campaign(seed, false);
		if (!audit(seed))
			fail_msg("seed %u: lines are missing or there twice", seed);
		tear_down(NULL);
		set_up(NULL);
	}
	assert_true(kills > 200);
	print_message("%u kills\n", kills);
}

static void the_control_is_caught(void **unused)
{
	campaign(2, true);
	assert_false(audit(2));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(values_become_names),
		TEST(bad_settings_are_refused),
		TEST(a_file_for_each_value),
		TEST(no_link_is_followed),
		TEST(modes_are_exact),
		TEST(appends_to_what_is_there),
		TEST(moved_deleted_and_emptied),
		TEST(a_full_disk_loses_and_repeats_nothing),
		TEST(levels_and_consolidation),
		TEST(files_are_bounded),
		TEST(rotates_by_size),
		TEST(rotates_by_time),
		TEST(times_of_rotation),
		TEST(days_of_local_time),
		TEST(rotated_files_are_compressed),
		TEST(what_is_there_is_not_written_again),
		TEST(a_moved_file_is_found_again),
		TEST(the_journal_is_ahead),
		TEST(what_cannot_be_written_waits),
		TEST(no_line_twice_and_none_missing),
		TEST(the_control_is_caught),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
