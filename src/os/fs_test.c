/* SPDX-License-Identifier: Apache-2.0 */
/* The real disk, with some system calls put through a hand that cuts and interrupts them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
	unsigned eintr;     /* so many calls are interrupted first */
	size_t most;        /* bytes of one transfer; 0: no limit */
	int fail;           /* errno of every call, 0: none */
	unsigned n_calls;   /* transfers and syncs that reached the system */
	int fallocate_fail; /* errno */
} hand;

static bool interrupted(void)
{
	if (hand.eintr) {
		hand.eintr--;
		errno = EINTR;
		return true;
	}
	if (hand.fail) {
		errno = hand.fail;
		return true;
	}
	hand.n_calls++;
	return false;
}

static ssize_t cut_pread(int fd, void *p, size_t n, off_t offset)
{
	if (interrupted())
		return -1;
	return pread(fd, p, hand.most && n > hand.most ? hand.most : n, offset);
}

static ssize_t cut_pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
	struct iovec cut[64];
	size_t left = hand.most ? hand.most : SIZE_MAX;
	int k = 0;

	if (interrupted())
		return -1;
	for (; k < n && left; k++) {
		cut[k] = iov[k];
		if (cut[k].iov_len > left)
			cut[k].iov_len = left;
		left -= cut[k].iov_len;
	}
	return pwritev(fd, cut, k, offset);
}

static int cut_sync(int fd)
{
	return interrupted() ? -1 : fsync(fd);
}

static int cut_fallocate(int fd, int mode, off_t offset, off_t n)
{
	if (interrupted())
		return -1;
	if (hand.fallocate_fail) {
		errno = hand.fallocate_fail;
		return -1;
	}
	return fallocate(fd, mode, offset, n);
}

#define pread     cut_pread
#define pwritev   cut_pwritev
#define fdatasync cut_sync
#define fsync     cut_sync
#define fallocate cut_fallocate
#include "os/fs.c"
#undef pread
#undef pwritev
#undef fdatasync
#undef fsync
#undef fallocate

#include "os/clock.h"

static char root[64];
static struct fs *disk;

static int set_up(void **state)
{
	strcpy(root, "/tmp/fs_test.XXXXXX");
	assert_non_null(mkdtemp(root));
	disk = fs_real();
	memset(&hand, 0, sizeof hand);
	return 0;
}

static void remove_tree(const char *path)
{
	struct buf names = {0};
	struct file_stat s;
	size_t n;

	if (fs_stat(disk, path, &s, NULL) == 0 && s.kind == FILE_DIRECTORY) {
		assert_int_equal(fs_list(disk, path, &names, &n, NULL), 0);
		for (const char *p = names.p; n--; p += strlen(p) + 1) {
			char child[512];
			snprintf(child, sizeof child, "%s/%s", path, p);
			remove_tree(child);
		}
	}
	assert_int_equal(fs_unlink(disk, path, NULL), 0);
	buf_fini(&names);
}

static int tear_down(void **state)
{
	memset(&hand, 0, sizeof hand);
	remove_tree(root);
	return 0;
}

/* The path of `name` in the test's folder; valid until four more. */
static const char *at(const char *name)
{
	static char paths[4][512];
	static unsigned next;
	char *p = paths[next++ % 4];

	snprintf(p, sizeof paths[0], "%s/%s", root, name);
	return p;
}

static struct file *open_file(const char *name)
{
	struct file *f = NULL;

	assert_int_equal(fs_open(disk, at(name), FILE_WRITE | FILE_CREATE, &f, NULL), 0);
	return f;
}

static int write_at(struct file *f, uint64_t offset, struct str s)
{
	struct iovec iov = {(void *)s.p, s.n};

	return file_write(f, offset, &iov, 1, NULL);
}

static void check(const char *name, struct str content)
{
	struct buf b = {0};

	assert_int_equal(fs_read_all(disk, at(name), 1 << 20, &b, NULL), 0);
	assert_int_equal(b.n, content.n);
	assert_memory_equal(buf_cstr(&b), content.p, content.n);
	buf_fini(&b);
}

/* --- tests -------------------------------------------------------------- */

/* Any cut of any list of pieces gives the same file. */
static void transfers_are_whole(void **state)
{
	enum { N = 150, BYTES = N * (N - 1) / 2 };
	struct iovec iov[N];
	char bytes[BYTES], back[BYTES + 10];
	struct file *f = NULL;
	size_t done = 0, got;

	for (size_t i = 0; i < BYTES; i++)
		bytes[i] = (char)(i * 7 + i / 256);
	/* 0, 1, … 149 bytes: more pieces than one call takes. */
	for (size_t i = 0; i < N; i++) {
		iov[i] = (struct iovec){bytes + done, i};
		done += i;
	}
	for (size_t most = 0; most < 3000; most = most * 2 + 1) {
		f = open_file("f");
		hand.most = most;
		hand.eintr = 3;
		assert_int_equal(file_write(f, 5, iov, N, NULL), 0);
		hand.eintr = 3;
		assert_int_equal(file_read_some(f, 5, back, sizeof back, &got, NULL), 0);
		assert_int_equal(got, BYTES);
		assert_memory_equal(back, bytes, BYTES);
		hand.most = 0;
		assert_int_equal(file_read(f, 0, back, BYTES + 5, NULL), 0);
		assert_memory_equal(back, "\0\0\0\0\0", 5);
		assert_memory_equal(back + 5, bytes, BYTES);
		file_close(f);
		fs_unlink(disk, at("f"), NULL);
	}
	f = open_file("f");
	assert_int_equal(file_write(f, 0, NULL, 0, NULL), 0);
	hand.n_calls = 0;
	assert_int_equal(file_write(f, 0, iov, 1, NULL), 0); /* a piece of no bytes */
	assert_int_equal(hand.n_calls, 0);
	file_close(f);
}

static void errors_name_path_and_reason(void **state)
{
	struct file *f = open_file("f");
	struct iovec iov = {(char[]){"hello"}, 5};
	struct error e;
	char expect[600];

	hand.fail = ENOSPC;
	assert_int_equal(file_write(f, 7, &iov, 1, &e), ERR_FULL);
	snprintf(expect, sizeof expect, "%s/f: cannot write 5 bytes at 7: No space left on device",
		root);
	assert_string_equal(e.text, expect);
	hand.fail = EDQUOT;
	assert_int_equal(file_write(f, 7, &iov, 1, &e), ERR_FULL);
	hand.fail = EIO;
	assert_int_equal(file_write(f, 7, &iov, 1, &e), ERR_IO);
	hand.n_calls = 0;
	assert_int_equal(file_sync(f, &e), ERR_IO);
	assert_int_equal(hand.n_calls, 0); /* not tried again */
	snprintf(expect, sizeof expect, "%s/f: cannot sync: Input/output error", root);
	assert_string_equal(e.text, expect);
	hand.fail = 0;
	hand.eintr = 2;
	assert_int_equal(file_sync(f, &e), 0); /* an interruption is no answer */
	assert_int_equal(hand.n_calls, 1);
	assert_int_equal(file_read(f, 3, expect, 4, &e), ERR_CORRUPT);
	file_close(f);
}

static void opens_by_mode(void **state)
{
	struct file *f = NULL;
	struct error e;
	struct stat s;

	assert_int_equal(fs_open(disk, at("x"), FILE_READ, &f, &e), ERR_NOT_FOUND);
	assert_int_equal(fs_open(disk, at("x"), FILE_WRITE, &f, &e), ERR_NOT_FOUND);
	assert_int_equal(
		fs_open(disk, at("x"), FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, &f, &e), 0);
	assert_int_equal(fcntl(fd_of(f), F_GETFD), FD_CLOEXEC);
	file_close(f);
	assert_int_equal(fs_open(disk, at("x"), FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, &f, &e),
		ERR_EXISTS);
	assert_int_equal(stat(at("x"), &s), 0);
	assert_int_equal(s.st_mode & 07, 0); /* nothing for others, whatever the umask */
	assert_int_equal(fs_open(disk, at("x"), FILE_READ, &f, &e), 0);
	assert_int_equal(write_at(f, 0, STR("x")), ERR_IO);
	file_close(f);
	file_close(NULL);
	/* Nobody writes to it: a blocking open would wait for ever. */
	assert_int_equal(mkfifo(at("fifo"), 0600), 0);
	assert_int_equal(fs_open(disk, at("fifo"), FILE_READ, &f, &e), 0);
	file_close(f);
}

static void allocates(void **state)
{
	static const int numbers[] = {0, EOPNOTSUPP, ENOSYS};
	enum { SIZE = 600000 };
	struct file *f = NULL;
	uint64_t size;
	char p[4];
	struct stat s;

	for (size_t i = 0; i < 3; i++) {
		f = open_file("f");
		hand.fallocate_fail = numbers[i];
		hand.eintr = 1;
		assert_int_equal(write_at(f, 0, STR("head")), 0);
		assert_int_equal(file_allocate(f, SIZE, NULL), 0);
		assert_int_equal(file_size(f, &size, NULL), 0);
		assert_int_equal(size, SIZE);
		assert_int_equal(file_read(f, 0, p, 4, NULL), 0);
		assert_memory_equal(p, "head", 4);
		assert_int_equal(file_read(f, SIZE - 4, p, 4, NULL), 0);
		assert_memory_equal(p, "\0\0\0\0", 4);
		/* The space is taken, not a hole. */
		assert_int_equal(fstat(fd_of(f), &s), 0);
		assert_true(s.st_blocks * 512 >= SIZE);
		/* Never shrinks. */
		assert_int_equal(file_allocate(f, 10, NULL), 0);
		assert_int_equal(file_allocate(f, 0, NULL), 0);
		assert_int_equal(file_size(f, &size, NULL), 0);
		assert_int_equal(size, SIZE);
		assert_int_equal(file_truncate(f, 2, NULL), 0);
		file_close(f);
		check("f", STR("he"));
		fs_unlink(disk, at("f"), NULL);
	}
	f = open_file("f");
	hand.fallocate_fail = ENOSPC;
	assert_int_equal(file_allocate(f, SIZE, NULL), ERR_FULL);
	file_close(f);
}

static void makes_directories(void **state)
{
	struct error e;
	struct file_stat s;
	struct file *f = NULL;
	char expect[600];

	hand.n_calls = 0;
	assert_int_equal(fs_mkdir(disk, at("a/b/c"), NULL), 0);
	assert_int_equal(hand.n_calls, 3); /* each parent was synced */
	assert_int_equal(fs_mkdir(disk, at("a/b/c/"), NULL), 0);
	assert_int_equal(fs_mkdir(disk, "/", NULL), 0);
	assert_int_equal(fs_mkdir(disk, ".", NULL), 0);
	assert_int_equal(fs_stat(disk, at("a//b"), &s, NULL), 0);
	assert_int_equal(s.kind, FILE_DIRECTORY);
	file_close(open_file("file"));
	assert_int_equal(fs_mkdir(disk, at("file"), &e), ERR_IO);
	snprintf(
		expect, sizeof expect, "%s/file: cannot make the directory: Not a directory", root);
	assert_string_equal(e.text, expect);
	assert_int_equal(fs_mkdir(disk, at("file/x/y"), &e), ERR_IO);
	assert_int_equal(fs_open(disk, at("a"), FILE_WRITE, &f, NULL), ERR_IO);
	hand.fail = EIO;
	assert_int_equal(fs_mkdir(disk, at("d"), &e), ERR_IO); /* made, but not durable */
	hand.fail = EINVAL; /* file systems that cannot sync a directory */
	assert_int_equal(fs_sync_dir(disk, root, &e), 0);
	hand.fail = 0;
	assert_int_equal(fs_sync_dir(disk, at("file"), &e), ERR_IO);
	assert_int_equal(fs_sync_dir(disk, at("no"), &e), ERR_NOT_FOUND);
}

static void parents(void **state)
{
	static const char *const pairs[][2] = {{"/a/b", "/a"}, {"/a/b//", "/a"}, {"/a//b", "/a"},
		{"/a", "/"}, {"/", "."}, {"a", "."}, {"a/b", "a"}, {"", "."}, {"//a", "/"}};

	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		char *p = parent_of(pairs[i][0]);
		assert_string_equal(p, pairs[i][1]);
		free(p);
	}
}

static void lists_sorted(void **state)
{
	static const char *const names[] = {"b", "a", "B", "10", "9", ".hidden"};
	struct buf b = {0};
	size_t n = 77;

	assert_int_equal(fs_list(disk, root, &b, &n, NULL), 0);
	assert_int_equal(n, 0);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		file_close(open_file(names[i]));
	buf_c(&b, "before");
	assert_int_equal(fs_list(disk, root, &b, &n, NULL), 0);
	assert_int_equal(n, 6);
	assert_true(str_eq(buf_view(&b), STR("before.hidden\00010\0009\0B\0a\0b\0")));
	assert_int_equal(fs_list(disk, at("no"), &b, &n, NULL), ERR_NOT_FOUND);
	assert_int_equal(b.n, sizeof "before.hidden\00010\0009\0B\0a\0b\0" - 1);
	buf_fini(&b);
}

static void renames_and_unlinks(void **state)
{
	struct file *f = open_file("a");
	struct file_stat before, after;
	struct error e;

	write_at(f, 0, STR("x"));
	assert_int_equal(file_stat(f, &before, NULL), 0);
	assert_int_equal(before.kind, FILE_REGULAR);
	assert_true(before.modified_ns > 1500000000 * NS_PER_SEC);
	assert_int_equal(fs_rename(disk, at("a"), at("b"), NULL), 0);
	assert_int_equal(fs_rename(disk, at("a"), at("b"), &e), ERR_NOT_FOUND);
	assert_int_equal(fs_stat(disk, at("b"), &after, NULL), 0);
	assert_int_equal(before.inode, after.inode);
	assert_int_equal(before.device, after.device);
	assert_int_equal(fs_unlink(disk, at("b"), NULL), 0);
	assert_int_equal(fs_unlink(disk, at("b"), NULL), ERR_NOT_FOUND);
	assert_int_equal(file_stat(f, &after, NULL), 0);
	assert_int_equal(after.n_links, 0);
	file_close(f);
	assert_int_equal(fs_mkdir(disk, at("d/e"), NULL), 0);
	assert_int_equal(fs_unlink(disk, at("d"), NULL), ERR_IO);
	assert_int_equal(fs_unlink(disk, at("d/e"), NULL), 0);
}

static void locks_between_processes(void **state)
{
	struct file *f = NULL, *g = NULL;
	struct error e;
	int status;
	pid_t pid;

	assert_int_equal(fs_lock(disk, at("lock"), &f, NULL), 0);
	pid = fork();
	if (pid == 0) /* not the child's: the fork shares it, a new open does not */
		_exit(fs_lock(disk, at("lock"), &g, &e) == ERR_BUSY ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	file_close(f);
	/* Held by a process that is killed. */
	pid = fork();
	if (pid == 0)
		_exit(fs_lock(disk, at("lock"), &g, &e) == 0 ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(fs_lock(disk, at("lock"), &f, NULL), 0);
	file_close(f);
	assert_int_equal(fs_lock(disk, at("no/lock"), &f, NULL), ERR_NOT_FOUND);
}

static void whole_files(void **state)
{
	struct buf b = {0};
	struct stat st;
	struct error e;
	size_t n;
	char *large = calloc(1, 200000);

	hand.eintr = 3;
	assert_int_equal(fs_write_all(disk, at("f"), STR("one"), NULL), 0);
	assert_int_equal(fs_write_all(disk, at("f"), STR("two"), NULL), 0);
	check("f", STR("two"));
	buf_c(&b, "as ");
	assert_int_equal(fs_put_aside(disk, at("f"), &b, NULL), 0);
	assert_true(str_starts(buf_view(&b), STR("as /")));
	check("f.damaged", STR("two"));
	assert_int_equal(fs_put_aside(disk, at("f"), &b, NULL), ERR_NOT_FOUND);
	assert_int_equal(fs_unlink(disk, at("f.damaged"), NULL), 0);
	buf_clear(&b);
	assert_int_equal(fs_write_private(disk, at("f"), STR("secret"), NULL), 0);
	check("f", STR("secret"));
	assert_int_equal(stat(at("f"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(fs_write_all(disk, at("f"), STR_NONE, NULL), 0);
	check("f", STR(""));
	assert_int_equal(fs_write_all(disk, at("f"), str_make(large, 200000), NULL), 0);
	check("f", str_make(large, 200000));
	hand.fail = ENOSPC;
	assert_int_equal(fs_write_all(disk, at("f"), STR("four"), &e), ERR_FULL);
	hand.fail = 0;
	check("f", str_make(large, 200000));
	assert_int_equal(fs_list(disk, root, &b, &n, NULL), 0);
	assert_int_equal(n, 1); /* no temporary file stays */
	buf_clear(&b);
	assert_int_equal(fs_read_all(disk, at("f"), 199999, &b, &e), ERR_LIMIT);
	assert_int_equal(fs_read_all(disk, at("f"), 200000, &b, &e), 0);
	assert_int_equal(b.n, 200000);
	assert_int_equal(fs_read_all(disk, at("f"), 0, &b, &e), ERR_LIMIT);
	assert_int_equal(b.n, 200000);
	/* Files of /proc say that they have no bytes. */
	buf_clear(&b);
	assert_int_equal(fs_read_all(disk, "/proc/self/status", 1 << 20, &b, &e), 0);
	assert_true(b.n > 100);
	assert_int_equal(fs_read_all(disk, root, 100, &b, &e), ERR_IO);
	buf_fini(&b);
	free(large);
}

static void knows_the_space(void **state)
{
	uint64_t left, total;

	assert_int_equal(fs_space(disk, root, &left, &total, NULL), 0);
	assert_true(total > 0 && left <= total);
	assert_int_equal(fs_space(disk, at("no"), &left, &total, NULL), ERR_NOT_FOUND);
}

/* Offsets of more than 32 bits. */
static void takes_large_offsets(void **state)
{
	uint64_t far = UINT64_C(5) << 30, size;
	struct file *f = open_file("f");
	char p[3];

	assert_int_equal(write_at(f, far, STR("far")), 0);
	assert_int_equal(file_read(f, far, p, 3, NULL), 0);
	assert_memory_equal(p, "far", 3);
	assert_int_equal(file_size(f, &size, NULL), 0);
	assert_true(size == far + 3);
	/* Beyond what off_t holds: an error, not another place. */
	assert_int_equal(write_at(f, UINT64_MAX - 10, STR("x")), ERR_IO);
	assert_int_equal(file_truncate(f, UINT64_MAX, NULL), ERR_IO);
	assert_int_equal(file_allocate(f, UINT64_MAX, NULL), ERR_IO);
	file_close(f);
}

static void clock_goes_on(void **state)
{
	struct clock *c = clock_real();
	int64_t mono = clock_mono_ns(c), now = clock_now_ns(c);

	assert_true(now > 1700000000 * NS_PER_SEC);
	assert_true(clock_mono_ns(c) >= mono);
	usleep(2000);
	assert_true(clock_mono_ns(c) - mono >= 2 * NS_PER_MS);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(transfers_are_whole),
		TEST(errors_name_path_and_reason),
		TEST(opens_by_mode),
		TEST(allocates),
		TEST(makes_directories),
		TEST(parents),
		TEST(lists_sorted),
		TEST(renames_and_unlinks),
		TEST(locks_between_processes),
		TEST(whole_files),
		TEST(knows_the_space),
		TEST(takes_large_offsets),
		TEST(clock_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
