/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/lock.h"
#include "os/fake.h"

static struct fs *fs;

static int set_up(void **state)
{
	fs = fs_fake_new(1);
	return 0;
}

static int tear_down(void **state)
{
	fs_fake_free(fs);
	fs = NULL;
	return 0;
}

/* --- short hands -------------------------------------------------------- */

static struct file *open_file(const char *path)
{
	struct file *f;

	assert_int_equal(fs_open(fs, path, FILE_WRITE | FILE_CREATE, &f, NULL), 0);
	return f;
}

static int write_at(struct file *f, uint64_t offset, struct str s)
{
	struct iovec iov = {(void *)s.p, s.n};

	return file_write(f, offset, &iov, 1, NULL);
}

/* Create without any sync. */
static void put(const char *path, const char *content)
{
	struct file *f = open_file(path);

	assert_int_equal(file_truncate(f, 0, NULL), 0);
	assert_int_equal(write_at(f, 0, str_c(content)), 0);
	file_close(f);
}

static void sync_path(const char *path)
{
	struct file *f = open_file(path);

	assert_int_equal(file_sync(f, NULL), 0);
	file_close(f);
}

static void check(const char *path, const char *content)
{
	struct buf b = {0};
	int r = fs_read_all(fs, path, 1 << 20, &b, NULL);

	assert_int_equal(r, content ? 0 : ERR_NOT_FOUND);
	if (content)
		assert_string_equal(buf_cstr(&b), content);
	buf_fini(&b);
}

static void check_list(const char *dir, const char *names)
{
	struct buf b = {0};
	size_t n;

	assert_int_equal(fs_list(fs, dir, &b, &n, NULL), 0);
	for (size_t i = 0; i < b.n; i++)
		if (b.p[i] == 0)
			b.p[i] = ' ';
	assert_string_equal(buf_cstr(&b), names);
	buf_fini(&b);
}

static uint64_t space_left(void)
{
	uint64_t left, total;

	assert_int_equal(fs_space(fs, "/", &left, &total, NULL), 0);
	assert_true(left <= total);
	return left;
}

/* --- an ordinary disk --------------------------------------------------- */

static void reads_what_was_written(void **state)
{
	struct file *f = open_file("/a");
	struct iovec iov[] = {{(char[]){"he"}, 2}, {NULL, 0}, {(char[]){"llo"}, 3}};
	struct error e;
	uint64_t size;
	size_t got;
	char p[20];

	assert_int_equal(file_write(f, 3, iov, 3, NULL), 0);
	assert_int_equal(file_read(f, 0, p, 8, NULL), 0);
	assert_memory_equal(p, "\0\0\0hello", 8);
	assert_int_equal(file_read(f, 5, p, 4, &e), ERR_CORRUPT);
	assert_string_equal(e.text, "/a: ends at 8, inside 4 bytes wanted at 5");
	assert_int_equal(file_read_some(f, 5, p, 20, &got, NULL), 0);
	assert_int_equal(got, 3);
	assert_int_equal(file_read_some(f, 50, p, 20, &got, NULL), 0);
	assert_int_equal(got, 0);
	/* A preallocated tail reads as zeros. */
	assert_int_equal(file_allocate(f, 20, NULL), 0);
	assert_int_equal(file_allocate(f, 10, NULL), 0);
	assert_int_equal(file_size(f, &size, NULL), 0);
	assert_int_equal(size, 20);
	assert_int_equal(file_read(f, 4, p, 16, NULL), 0);
	assert_memory_equal(p, "ello\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	/* What was cut off does not come back. */
	assert_int_equal(file_truncate(f, 4, NULL), 0);
	assert_int_equal(file_truncate(f, 6, NULL), 0);
	assert_int_equal(file_read(f, 3, p, 3, NULL), 0);
	assert_memory_equal(p, "h\0\0", 3);
	file_close(f);
}

static void has_modes_and_sentences(void **state)
{
	struct file *f;
	struct error e;

	assert_int_equal(fs_open(fs, "x", FILE_READ, &f, &e), ERR_NOT_FOUND);
	assert_string_equal(e.text, "x: cannot open: No such file or directory");
	assert_int_equal(fs_open(fs, "x", FILE_WRITE, &f, NULL), ERR_NOT_FOUND);
	assert_int_equal(fs_open(fs, "x", FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, &f, NULL), 0);
	file_close(f);
	assert_int_equal(
		fs_open(fs, "x", FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, &f, &e), ERR_EXISTS);
	assert_int_equal(e.code, ERR_EXISTS);
	assert_int_equal(fs_open(fs, "x", FILE_READ, &f, NULL), 0);
	assert_int_equal(write_at(f, 0, STR("x")), ERR_IO);
	file_close(f);
	file_close(NULL);
	assert_int_equal(fs_open(fs, "x/y", FILE_READ, &f, NULL), ERR_IO);
	assert_int_equal(fs_open(fs, "no/y", FILE_WRITE | FILE_CREATE, &f, NULL), ERR_NOT_FOUND);
	assert_int_equal(fs_mkdir(fs, "x", &e), ERR_IO);
	assert_string_equal(e.text, "x: cannot make the directory: Not a directory");
}

static void has_directories(void **state)
{
	struct file_stat s;

	assert_int_equal(fs_mkdir(fs, "/a/b/c", NULL), 0);
	assert_int_equal(fs_mkdir(fs, "/a/b/c/", NULL), 0);
	put("/a/b/y", "1");
	put("/a/b/x", "22");
	check_list("/a/b", "c x y ");
	check_list("/", "a ");
	assert_int_equal(fs_stat(fs, "a/b/x", &s, NULL), 0);
	assert_int_equal(s.kind, FILE_REGULAR);
	assert_int_equal(s.size, 2);
	assert_int_equal(s.n_links, 1);
	assert_int_equal(fs_stat(fs, "a/b/", &s, NULL), 0);
	assert_int_equal(s.kind, FILE_DIRECTORY);
	assert_int_equal(fs_stat(fs, "a/b/z", &s, NULL), ERR_NOT_FOUND);
	assert_int_equal(fs_unlink(fs, "/a/b", NULL), ERR_IO); /* not empty */
	assert_int_equal(fs_unlink(fs, "/a/b/c", NULL), 0);
	assert_int_equal(fs_unlink(fs, "/a/b/c", NULL), ERR_NOT_FOUND);
	assert_int_equal(fs_rename(fs, "/a", "/a/b/c", NULL), ERR_IO);
	assert_int_equal(fs_rename(fs, "/a/b", "/d", NULL), 0);
	check("/d/x", "22");
	check_list("/a", "");
	assert_int_equal(fs_rename(fs, "/d/x", "/d/y", NULL), 0);
	check_list("/d", "y ");
	check("/d/y", "22");
	assert_int_equal(fs_rename(fs, "/d/y", "/a", NULL), ERR_IO);
	assert_int_equal(fs_rename(fs, "/d", "/a", NULL), 0); /* an empty one is replaced */
	check("/a/y", "22");
}

static void unlinked_files_live_while_open(void **state)
{
	struct file *f = open_file("a");
	struct file_stat s;
	char p[1];

	write_at(f, 0, STR("x"));
	assert_int_equal(fs_unlink(fs, "a", NULL), 0);
	put("a", "new");
	assert_int_equal(file_read(f, 0, p, 1, NULL), 0);
	assert_int_equal(p[0], 'x');
	assert_int_equal(file_stat(f, &s, NULL), 0);
	assert_int_equal(s.n_links, 0);
	file_close(f);
	check("a", "new");
}

static void locks(void **state)
{
	struct file *f, *g;
	struct error e;

	assert_int_equal(fs_lock(fs, "lock", &f, NULL), 0);
	assert_int_equal(fs_lock(fs, "lock", &g, &e), ERR_BUSY);
	assert_string_equal(e.text, "lock: locked by another process");
	file_close(f);
	assert_int_equal(fs_lock(fs, "lock", &f, NULL), 0);
	/* The holder dies with the power. */
	fake_crash(fs, false);
	assert_int_equal(fs_lock(fs, "lock", &g, NULL), 0);
	file_close(f); /* stale: does not drop the new lock */
	assert_int_equal(fs_lock(fs, "lock", &f, NULL), ERR_BUSY);
	file_close(g);
}

static void whole_files(void **state)
{
	struct buf b = {0};
	struct error e;

	assert_int_equal(fs_mkdir(fs, "d", NULL), 0);
	assert_int_equal(fs_write_all(fs, "d/f", STR("one"), NULL), 0);
	check("d/f", "one");
	put("d/f.tmp", "a longer rest of a crash");
	assert_int_equal(fs_write_all(fs, "d/f", STR("two"), NULL), 0);
	check_list("d", "f ");
	buf_c(&b, "+");
	assert_int_equal(fs_read_all(fs, "d/f", 2, &b, &e), ERR_LIMIT);
	assert_string_equal(e.text, "d/f: larger than 2 bytes");
	assert_string_equal(buf_cstr(&b), "+");
	assert_int_equal(fs_read_all(fs, "d/f", 3, &b, NULL), 0);
	assert_string_equal(buf_cstr(&b), "+two");
	buf_fini(&b);
	/* Durable and atomic. */
	fake_crash(fs, false);
	check("d/f", "two");
	for (int op = FAKE_OPEN; op <= FAKE_SYNC; op++) {
		if (op == FAKE_READ)
			continue;
		fake_fail(fs, (enum fake_op)op, 1, EIO, false);
		assert_int_equal(fs_write_all(fs, "d/f", STR("three"), NULL), ERR_IO);
		check_list("d", "f ");
	}
	fake_crash(fs, true);
	check("d/f", "two");
}

/* --- beside the real disk ------------------------------------------------ */

enum { N_PATHS = 8, N_HANDLES = 4 };
static const char *const paths[N_PATHS] = {"a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "x/y"};

/* One disk of the pair, and what is open on it. */
struct side {
	struct fs *fs;
	char root[64];
	struct file *open[N_HANDLES];
};

static unsigned pick(unsigned n)
{
	return (unsigned)random() % n;
}

/* A call with its arguments drawn beforehand, so that both sides get the same. */
struct call {
	unsigned what, handle, n, size;
	const char *path, *to;
	char bytes[64];
	int mode;
};

static void draw_call(struct call *c)
{
	static const int modes[] = {FILE_READ, FILE_WRITE, FILE_WRITE | FILE_CREATE,
		FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE};

	c->what = pick(12);
	c->handle = pick(N_HANDLES);
	c->path = paths[pick(N_PATHS)];
	c->to = paths[pick(N_PATHS)];
	c->mode = modes[pick(4)];
	c->n = pick(sizeof c->bytes);
	c->size = pick(100);
	memset(c->bytes, 'A' + (int)pick(26), sizeof c->bytes);
}

static int call_file(struct file *f, const struct call *c, struct buf *said, struct error *e)
{
	struct file_stat s;
	size_t got;
	char p[64];
	int r;

	switch (c->what) {
	case 0: {
		struct iovec iov[2] = {{(char *)c->bytes, c->n}, {(char *)c->bytes, 3}};
		return file_write(f, c->size, iov, 2, e);
	}
	case 1:
		r = file_read_some(f, c->size, p, c->n, &got, e);
		if (r == 0)
			buf_put(said, p, got);
		return r;
	case 2: return file_allocate(f, c->size, e);
	case 3: return file_truncate(f, c->size, e);
	case 4: return file_sync(f, e);
	default:
		r = file_stat(f, &s, e);
		if (r == 0 && s.kind == FILE_REGULAR)
			buf_printf(said, "%d of %d", (int)s.size, (int)s.n_links);
		return r;
	}
}

/* Do it; what came of it is appended to `said`. */
static void do_call(struct side *side, const struct call *c, struct buf *said)
{
	struct error e = {0};
	char path[128], to[128];
	struct file **f = &side->open[c->handle];
	struct file_stat s;
	size_t n = 0, skip = strlen(side->root);
	int r = 0;

	snprintf(path, sizeof path, "%s/%s", side->root, c->path);
	snprintf(to, sizeof to, "%s/%s", side->root, c->to);
	if (c->what < 6) {
		if (*f)
			r = call_file(*f, c, said, &e);
	} else if (c->what == 6) {
		file_close(*f);
		*f = NULL;
		r = fs_open(side->fs, path, c->mode, f, &e);
		if (r < 0)
			*f = NULL;
	} else if (c->what == 7) {
		r = fs_rename(side->fs, path, to, &e);
	} else if (c->what == 8) {
		r = fs_unlink(side->fs, path, &e);
	} else if (c->what == 9) {
		r = fs_mkdir(side->fs, path, &e);
	} else if (c->what == 10) {
		r = fs_list(side->fs, path, said, &n, &e);
	} else {
		r = fs_stat(side->fs, path, &s, &e);
		if (r == 0)
			buf_printf(said, "kind %d", s.kind);
	}
	buf_printf(said, " %d %s", r, r < 0 ? e.text + skip : "");
}

static void remove_tree(struct fs *disk, const char *path)
{
	struct buf names = {0};
	size_t n;

	/* Not a directory: an error, and nothing to descend into. */
	if (fs_list(disk, path, &names, &n, NULL) == 0)
		for (const char *p = names.p; n--; p += strlen(p) + 1) {
			char child[512];
			snprintf(child, sizeof child, "%s/%s", path, p);
			remove_tree(disk, child);
		}
	assert_int_equal(fs_unlink(disk, path, NULL), 0);
	buf_fini(&names);
}

static void clean_up(struct side *side)
{
	for (int i = 0; i < N_HANDLES; i++)
		file_close(side->open[i]);
	remove_tree(side->fs, side->root);
}

/* Any calls do the same on both, to the letter of the sentences. */
static void agrees_with_the_real_disk(void **state)
{
	struct buf real_said = {0}, fake_said = {0};

	for (unsigned seed = 0; seed < 40; seed++) {
		struct side real = {.fs = fs_real(), .root = "/tmp/fake_test.XXXXXX"}, fake = {0};
		assert_non_null(mkdtemp(real.root));
		strcpy(fake.root, real.root);
		fake.fs = fs;
		assert_int_equal(fs_mkdir(fs, fake.root, NULL), 0);
		srandom(seed);
		for (int i = 0; i < 400; i++) {
			struct call c;
			draw_call(&c);
			buf_clear(&real_said);
			buf_clear(&fake_said);
			do_call(&real, &c, &real_said);
			do_call(&fake, &c, &fake_said);
			if (!str_eq(buf_view(&real_said), buf_view(&fake_said)))
				fail_msg(
					"seed %u call %d: %u %s %s mode %d: real \"%s\" fake \"%s\"",
					seed, i, c.what, c.path, c.to, c.mode, buf_cstr(&real_said),
					buf_cstr(&fake_said));
		}
		clean_up(&real);
		clean_up(&fake);
	}
	buf_fini(&real_said);
	buf_fini(&fake_said);
}

/* --- power cuts --------------------------------------------------------- */

static void unsynced_bytes_are_lost(void **state)
{
	struct file *f = open_file("a");
	uint64_t size;

	write_at(f, 0, STR("hello"));
	assert_int_equal(file_sync(f, NULL), 0);
	assert_int_equal(fs_sync_dir(fs, "/", NULL), 0);
	write_at(f, 1, STR("EL"));
	write_at(f, 5, STR(" world"));
	assert_int_equal(file_allocate(f, 100, NULL), 0);
	file_close(f);
	fake_crash(fs, false);
	check("a", "hello");
	f = open_file("a");
	file_truncate(f, 2, NULL);
	fake_crash(fs, false);
	/* The handle is stale, also for reads and after the crash. */
	assert_int_equal(file_size(f, &size, NULL), ERR_IO);
	assert_int_equal(file_read(f, 0, &size, 1, NULL), ERR_IO);
	assert_int_equal(write_at(f, 0, STR("x")), ERR_IO);
	assert_int_equal(file_sync(f, NULL), ERR_IO);
	assert_int_equal(file_allocate(f, 1, NULL), ERR_IO);
	assert_int_equal(file_truncate(f, 1, NULL), ERR_IO);
	file_close(f);
	check("a", "hello");
	f = open_file("a");
	file_truncate(f, 2, NULL);
	file_allocate(f, 3, NULL);
	file_sync(f, NULL);
	file_size(f, &size, NULL);
	file_close(f);
	fake_crash(fs, false);
	assert_int_equal(size, 3);
	check("a", "he");
}

static void entries_need_their_own_sync(void **state)
{
	/* Data synced, entry not: gone. */
	put("a", "x");
	sync_path("a");
	fake_crash(fs, false);
	check("a", NULL);
	/* Entry synced, data not: empty. */
	put("a", "x");
	fs_sync_dir(fs, ".", NULL);
	fake_crash(fs, false);
	check("a", "");
	/* A rename and an unlink that were not synced are undone. */
	put("a", "x");
	sync_path("a");
	fs_rename(fs, "a", "b", NULL);
	check("a", NULL);
	fake_crash(fs, false);
	check("a", "x");
	check("b", NULL);
	fs_unlink(fs, "a", NULL);
	fake_crash(fs, false);
	check("a", "x");
	fs_rename(fs, "a", "b", NULL);
	fs_sync_dir(fs, "/", NULL);
	fake_crash(fs, false);
	check_list("/", "b ");
	fs_unlink(fs, "b", NULL);
	fs_sync_dir(fs, "/", NULL);
	fake_crash(fs, false);
	check_list("/", "");
}

static void directories_stand_apart(void **state)
{
	fs_mkdir(fs, "d", NULL);
	fs_mkdir(fs, "e", NULL);
	fake_crash(fs, false);
	check_list("/", "d e "); /* fs_mkdir is durable by itself */
	put("d/x", "1");
	sync_path("d/x");
	fs_sync_dir(fs, "/", NULL); /* not that of d */
	fake_crash(fs, false);
	check("d/x", NULL);
	put("d/x", "1");
	sync_path("d/x");
	fs_sync_dir(fs, "d", NULL);
	fs_rename(fs, "d/x", "e/x", NULL);
	fs_sync_dir(fs, "e", NULL);
	fake_crash(fs, false);
	check("d/x", "1"); /* the old name was never synced away */
	check("e/x", "1");
	fs_rename(fs, "d/x", "e/y", NULL);
	fs_sync_dir(fs, "d", NULL);
	fake_crash(fs, false);
	check_list("d", ""); /* the order that loses a file */
	check_list("e", "x ");
	/* A whole directory moves with its files. */
	fs_rename(fs, "e", "f", NULL);
	fs_sync_dir(fs, "/", NULL);
	fake_crash(fs, false);
	check("f/x", "1");
}

static void a_recreated_file_is_another(void **state)
{
	put("a", "old");
	sync_path("a");
	fs_sync_dir(fs, "/", NULL);
	fs_unlink(fs, "a", NULL);
	put("a", "new");
	sync_path("a");
	fake_crash(fs, false);
	check("a", "old");
}

static void crash_twice_is_once(void **state)
{
	put("a", "x");
	sync_path("a");
	fs_sync_dir(fs, "/", NULL);
	fake_crash(fs, false);
	fake_crash(fs, true);
	check("a", "x");
}

enum { SECTORS = 40, SECTOR = 512 };

/* One crash with keep_some: an old file of 'o' half overwritten with 'n', and new names. */
static void keep_some_once(uint64_t seed, struct buf *bytes, struct buf *names)
{
	char old[SECTORS * SECTOR], new[SECTORS * SECTOR];
	struct file *f;
	size_t n;

	memset(old, 'o', sizeof old);
	memset(new, 'n', sizeof new);
	fs_fake_free(fs);
	fs = fs_fake_new(seed);
	f = open_file("a");
	write_at(f, 0, str_make(old, sizeof old));
	file_sync(f, NULL);
	fs_sync_dir(fs, "/", NULL);
	/* Not aligned, and beyond the end. */
	write_at(f, 100 + SECTORS / 2 * SECTOR, str_make(new, sizeof new));
	file_close(f);
	put("b", "b");
	sync_path("b");
	put("c", "c");
	fs_rename(fs, "b", "d", NULL);
	fake_crash(fs, true);
	buf_clear(bytes);
	buf_clear(names);
	assert_int_equal(fs_read_all(fs, "a", 1 << 20, bytes, NULL), 0);
	assert_int_equal(fs_list(fs, "/", names, &n, NULL), 0);
}

static void keeps_some_by_seed(void **state)
{
	struct buf bytes = {0}, again = {0}, names = {0};
	unsigned whole = 0, lost = 0, torn = 0, b = 0, c = 0, d = 0, grown = 0, zeros = 0;

	for (uint64_t seed = 0; seed < 300; seed++) {
		size_t n_new = 0;
		keep_some_once(seed, &bytes, &names);
		assert_true(bytes.n >= SECTORS * SECTOR);
		for (size_t i = 0; i < bytes.n; i++) {
			size_t from = SECTORS / 2 * SECTOR + 100;
			assert_true(bytes.p[i] == 'o' || bytes.p[i] == 'n' || bytes.p[i] == 0);
			/* What was synced and not written since stays. */
			if (i < from)
				assert_int_equal(bytes.p[i], 'o');
			/* Torn at sectors alone. */
			if (i > from && i % SECTOR && i != SECTORS * SECTOR)
				assert_int_equal(bytes.p[i], bytes.p[i - 1]);
			n_new += bytes.p[i] == 'n';
			zeros += bytes.p[i] == 0;
		}
		whole += n_new == SECTORS * SECTOR;
		lost += n_new == 0;
		torn += n_new > 0 && n_new < SECTORS * SECTOR;
		grown += bytes.n > SECTORS * SECTOR;
		b += str_find(buf_view(&names), STR("b\0")) >= 0;
		c += str_find(buf_view(&names), STR("c\0")) >= 0;
		d += str_find(buf_view(&names), STR("d\0")) >= 0;
		/* Same seed, same story. */
		buf_clear(&again);
		buf_str(&again, buf_view(&bytes));
		buf_str(&again, buf_view(&names));
		keep_some_once(seed, &bytes, &names);
		buf_str(&bytes, buf_view(&names));
		assert_true(str_eq(buf_view(&again), buf_view(&bytes)));
	}
	/* Each outcome happens often. */
	assert_true(whole > 30 && lost > 30 && torn > 30 && grown > 30 && zeros > 0);
	assert_true(b > 30 && c > 30 && d > 30 && b < 270 && c < 270 && d < 270);
	buf_fini(&bytes);
	buf_fini(&again);
	buf_fini(&names);
}

static void what_was_synced_is_kept_by_any_crash(void **state)
{
	for (uint64_t seed = 0; seed < 50; seed++) {
		fs_fake_free(fs);
		fs = fs_fake_new(seed);
		put("a", "hello");
		sync_path("a");
		fs_rename(fs, "a", "b", NULL);
		fs_sync_dir(fs, "/", NULL);
		fake_crash(fs, true);
		check_list("/", "b ");
		check("b", "hello");
	}
}

/* --- faults ------------------------------------------------------------- */

static void fails_the_nth_call(void **state)
{
	struct file *f = open_file("a");
	struct buf b = {0};
	struct error e;

	fake_fail(fs, FAKE_WRITE, 2, EIO, false);
	assert_int_equal(write_at(f, 0, STR("1")), 0);
	assert_int_equal(write_at(f, 0, STR("2")), ERR_IO);
	assert_int_equal(write_at(f, 1, STR("3")), 0);
	fake_fail(fs, FAKE_WRITE, 1, EDQUOT, true);
	assert_int_equal(write_at(f, 0, STR("4")), ERR_FULL);
	struct iovec iov = {(char[]){"5"}, 1};
	assert_int_equal(file_write(f, 7, &iov, 1, &e), ERR_FULL);
	assert_string_equal(e.text, "a: cannot write 1 bytes at 7: Disk quota exceeded");
	fake_fail(fs, FAKE_WRITE, 0, 0, false);
	file_close(f);
	check("a", "13");
	fake_fail(fs, FAKE_RENAME, 1, EIO, false);
	assert_int_equal(fs_rename(fs, "a", "b", NULL), ERR_IO);
	fake_fail(fs, FAKE_UNLINK, 1, EIO, false);
	assert_int_equal(fs_unlink(fs, "a", NULL), ERR_IO);
	fake_fail(fs, FAKE_MKDIR, 1, ENOSPC, false);
	assert_int_equal(fs_mkdir(fs, "d", NULL), ERR_FULL);
	fake_fail(fs, FAKE_OPEN, 1, EMFILE, false);
	assert_int_equal(fs_open(fs, "a", FILE_READ, &f, NULL), ERR_IO);
	fake_fail(fs, FAKE_SYNC_DIR, 1, EIO, false);
	assert_int_equal(fs_sync_dir(fs, "/", NULL), ERR_IO);
	fake_fail(fs, FAKE_READ, 1, EIO, true);
	assert_int_equal(fs_read_all(fs, "a", 10, &b, NULL), ERR_IO);
	buf_fini(&b);
	fake_crash(fs, false); /* the disk works again */
	assert_int_equal(fs_sync_dir(fs, "/", NULL), 0);
}

static void a_failed_sync_poisons_the_file(void **state)
{
	unsigned lost = 0, kept = 0;

	for (uint64_t seed = 0; seed < 40; seed++) {
		struct buf b = {0};
		struct file *f;
		fs_fake_free(fs);
		fs = fs_fake_new(seed);
		put("a", "old");
		sync_path("a");
		fs_sync_dir(fs, "/", NULL);
		f = open_file("a");
		write_at(f, 0, STR("new"));
		fake_fail(fs, FAKE_SYNC, 1, EIO, false);
		assert_int_equal(file_sync(f, NULL), ERR_IO);
		assert_int_equal(file_sync(f, NULL), 0); /* and proves nothing */
		file_close(f);
		check("a", "new");
		fake_crash(fs, false);
		fs_read_all(fs, "a", 10, &b, NULL);
		lost += str_eq(buf_view(&b), STR("old"));
		kept += str_eq(buf_view(&b), STR("new"));
		buf_fini(&b);
	}
	assert_int_equal(lost + kept, 40);
	assert_true(lost > 5 && kept > 5);
}

static void space_runs_out(void **state)
{
	struct file *f = open_file("a"), *g;

	write_at(f, 0, STR("12345"));
	fake_set_space(fs, 10);
	assert_int_equal(write_at(f, 0, STR("abcde")), 0); /* overwriting is free */
	assert_int_equal(space_left(), 10);
	assert_int_equal(write_at(f, 3, STR("DEFG")), 0);
	assert_int_equal(space_left(), 8);
	assert_int_equal(file_allocate(f, 16, NULL), ERR_FULL);
	assert_int_equal(space_left(), 8);
	assert_int_equal(file_allocate(f, 15, NULL), 0);
	assert_int_equal(space_left(), 0);
	/* What was reserved can be written. */
	assert_int_equal(write_at(f, 7, STR("HIJKLMNO")), 0);
	/* What fits is written before the error. */
	file_truncate(f, 13, NULL);
	assert_int_equal(write_at(f, 13, STR("nopq")), ERR_FULL);
	check("a", "abcDEFGHIJKLMno");
	g = open_file("b");
	assert_int_equal(write_at(g, 0, STR("x")), ERR_FULL);
	file_close(g);
	/* Unlinking frees when the last handle goes. */
	fs_unlink(fs, "a", NULL);
	assert_int_equal(space_left(), 0);
	file_close(f);
	assert_int_equal(space_left(), 15);
	put("c", "0123456789");
	assert_int_equal(space_left(), 5);
	fake_crash(fs, false); /* c was never durable */
	assert_int_equal(space_left(), 15);
}

static void crashes_at_the_nth_change(void **state)
{
	struct buf content = {0}, last = {0};
	uint64_t n_changes;

	/* Replace a file by write, sync, rename, sync_dir: at each point the old or the new. */
	fs_write_all(fs, "a", STR("old"), NULL);
	n_changes = fake_changes(fs);
	fs_write_all(fs, "a", STR("new"), NULL);
	n_changes = fake_changes(fs) - n_changes;
	assert_int_equal(n_changes, 5); /* truncate, write, sync, rename, sync_dir */
	for (uint64_t n = 1; n <= n_changes; n++) {
		for (uint64_t seed = 0; seed < 20; seed++) {
			bool some = seed > 0;
			int r;
			fs_fake_free(fs);
			fs = fs_fake_new(seed);
			fs_write_all(fs, "a", STR("old"), NULL);
			fake_crash_at(fs, n);
			r = fs_write_all(fs, "a", STR("new"), NULL);
			/* The last one takes effect, and may even be told. */
			assert_int_equal(r, n == n_changes ? 0 : ERR_IO);
			assert_int_equal(fs_read_all(fs, "a", 9, &content, NULL), ERR_IO);
			assert_int_equal(fs_sync_dir(fs, "/", NULL), ERR_IO);
			fake_crash(fs, some);
			buf_clear(&content);
			assert_int_equal(fs_read_all(fs, "a", 9, &content, NULL), 0);
			assert_true(str_eq(buf_view(&content), STR("new")) ||
				    (n < n_changes && str_eq(buf_view(&content), STR("old"))));
			if (n < n_changes && !some)
				assert_true(str_eq(buf_view(&content), STR("old")));
		}
	}
	buf_fini(&content);
	buf_fini(&last);
}

static void a_write_is_cut_half_way(void **state)
{
	struct file *f = open_file("a");
	struct buf b = {0};
	bool seen[5] = {0};

	fs_sync_dir(fs, "/", NULL);
	fake_crash_at(fs, 1);
	assert_int_equal(write_at(f, 0, STR("12345678")), ERR_IO);
	assert_int_equal(write_at(f, 0, STR("x")), ERR_IO);
	file_close(f);
	fake_crash(fs, false);
	check("a", "");
	/* What reached the disk is at most the first half. */
	for (uint64_t seed = 0; seed < 50; seed++) {
		fs_fake_free(fs);
		fs = fs_fake_new(seed);
		f = open_file("a");
		fs_sync_dir(fs, "/", NULL);
		fake_crash_at(fs, 1);
		write_at(f, 0, STR("12345678"));
		file_close(f);
		fake_crash(fs, true);
		buf_clear(&b);
		fs_read_all(fs, "a", 20, &b, NULL);
		assert_true(b.n == 0 || b.n == 4);
		assert_true(b.n == 0 || b.p[0] == 0 || memcmp(b.p, "1234", 4) == 0);
		seen[b.n] = true;
	}
	assert_true(seen[0] && seen[4]);
	buf_fini(&b);
}

/* The positive control: a build whose sync does nothing must be caught by a crash test. */
static void a_lying_sync_loses_data(void **state)
{
	put("a", "old");
	sync_path("a");
	fs_sync_dir(fs, "/", NULL);
	fake_sync_lies(fs, true);
	put("a", "new");
	sync_path("a"); /* says 0 */
	check("a", "new");
	fake_crash(fs, false);
	check("a", "old");
	fake_sync_lies(fs, false);
	put("a", "new");
	sync_path("a");
	fake_crash(fs, false);
	check("a", "new");
}

enum { N_FILES = 3 };

/* Replace files by fs_write_all until the power goes.  False when one of them then holds
 * neither what was last acknowledged nor what was being written. */
static bool survives(uint64_t seed, bool lies)
{
	char acked[N_FILES][32] = {"", "", ""}, tried[32], path[16];
	struct buf b = {0};
	bool good = true;
	int last = 0;

	fs_fake_free(fs);
	fs = fs_fake_new(seed);
	fake_sync_lies(fs, lies);
	srandom((unsigned)seed);
	fake_crash_at(fs, pick(60) + 1);
	for (int i = 0;; i++) {
		last = (int)pick(N_FILES);
		snprintf(path, sizeof path, "%d", last);
		snprintf(tried, sizeof tried, "content %d", i);
		if (fs_write_all(fs, path, str_c(tried), NULL) < 0)
			break;
		strcpy(acked[last], tried);
	}
	fake_crash(fs, pick(2));
	for (int i = 0; i < N_FILES; i++) {
		snprintf(path, sizeof path, "%d", i);
		buf_clear(&b);
		if (fs_read_all(fs, path, 100, &b, NULL) < 0 && !acked[i][0])
			continue;
		good &= str_eq_c(buf_view(&b), acked[i]) ||
			(i == last && str_eq_c(buf_view(&b), tried));
	}
	buf_fini(&b);
	return good;
}

static void the_protocol_survives_and_a_lie_does_not(void **state)
{
	unsigned n_bad = 0;

	for (uint64_t seed = 0; seed < 500; seed++) {
		assert_true(survives(seed, false));
		n_bad += !survives(seed, true);
	}
	assert_true(n_bad > 100);
}

static void flips_a_bit_for_good(void **state)
{
	struct file *f;
	char p[1];

	put("a", "@@");
	fake_flip(fs, "a", 8); /* not yet synced: sync must not heal it */
	check("a", "@A");
	sync_path("a");
	fs_sync_dir(fs, "/", NULL);
	fake_flip(fs, "a", 1);
	check("a", "BA");
	fake_crash(fs, false);
	check("a", "BA");
	f = open_file("a");
	file_allocate(f, 1000, NULL);
	file_sync(f, NULL);
	fake_flip(fs, "a", 900 * 8 + 7);
	fake_flip(fs, "a", 901 * 8);
	fake_flip(fs, "a", 901 * 8);
	assert_int_equal(file_read(f, 900, p, 1, NULL), 0);
	assert_int_equal((unsigned char)p[0], 0x80);
	file_close(f);
}

/* --- threads ------------------------------------------------------------ */

static void *work_alone(void *arg)
{
	char path[32], temp[40], text[32];

	snprintf(path, sizeof path, "d/%d", (int)(intptr_t)arg);
	for (int i = 0; i < 300; i++) {
		struct buf b = {0};
		snprintf(text, sizeof text, "%d", i);
		assert(fs_write_all(fs, path, str_c(text), NULL) == 0);
		assert(fs_read_all(fs, path, 100, &b, NULL) == 0);
		assert(str_eq_c(buf_view(&b), text));
		buf_fini(&b);
		snprintf(temp, sizeof temp, "%s.%d", path, i);
		assert(fs_rename(fs, path, temp, NULL) == 0);
		assert(fs_unlink(fs, temp, NULL) == 0);
	}
	return NULL;
}

static void threads_share_it(void **state)
{
	pthread_t threads[3];

	fs_mkdir(fs, "d", NULL);
	for (intptr_t i = 0; i < 3; i++)
		threads[i] = thread_start("worker", work_alone, (void *)i);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	check_list("d", "");
}

static void clock_moves_when_told(void **state)
{
	struct clock *c = clock_fake_new(1000);
	int64_t mono = clock_mono_ns(c);

	assert_int_equal(clock_now_ns(c), 1000);
	assert_int_equal(clock_now_ns(c), 1000);
	clock_fake_advance(c, 50);
	assert_int_equal(clock_now_ns(c), 1050);
	assert_int_equal(clock_mono_ns(c), mono + 50);
	clock_fake_set(c, 10);
	assert_int_equal(clock_now_ns(c), 10);
	assert_int_equal(clock_mono_ns(c), mono + 50);
	clock_fake_free(c);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reads_what_was_written),
		TEST(has_modes_and_sentences),
		TEST(has_directories),
		TEST(unlinked_files_live_while_open),
		TEST(locks),
		TEST(whole_files),
		TEST(agrees_with_the_real_disk),
		TEST(unsynced_bytes_are_lost),
		TEST(entries_need_their_own_sync),
		TEST(directories_stand_apart),
		TEST(a_recreated_file_is_another),
		TEST(crash_twice_is_once),
		TEST(keeps_some_by_seed),
		TEST(what_was_synced_is_kept_by_any_crash),
		TEST(fails_the_nth_call),
		TEST(a_failed_sync_poisons_the_file),
		TEST(space_runs_out),
		TEST(crashes_at_the_nth_change),
		TEST(a_write_is_cut_half_way),
		TEST(a_lying_sync_loses_data),
		TEST(the_protocol_survives_and_a_lie_does_not),
		TEST(flips_a_bit_for_good),
		TEST(threads_share_it),
		TEST(clock_moves_when_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
