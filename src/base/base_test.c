/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metric.h"
/* For the key, which the vectors of the hash need known. */
#include "base/hash.c"

/* --- error -------------------------------------------------------------- */

static void error_speaks(void **state)
{
	struct error e = {0};

	assert_int_equal(error_set(&e, ERR_ARG, "bad %s", "thing"), ERR_ARG);
	assert_string_equal(e.text, "bad thing");
	assert_int_equal(error_wrap(&e, ERR_CORRUPT, "part %d", 7), ERR_CORRUPT);
	assert_string_equal(e.text, "part 7: bad thing");
	assert_int_equal(e.code, ERR_CORRUPT);
	assert_int_equal(error_errno(&e, ENOSPC, "x"), ERR_FULL);
	assert_string_equal(e.text, "x: No space left on device");
	assert_int_equal(error_errno(NULL, EDQUOT, "x"), ERR_FULL);
	assert_int_equal(error_errno(NULL, ENOENT, "x"), ERR_NOT_FOUND);
	assert_int_equal(error_errno(NULL, EACCES, "x"), ERR_IO);
	assert_int_equal(error_set(NULL, ERR_NET, "x"), ERR_NET);
	assert_int_equal(error_wrap(NULL, ERR_NET, "x"), ERR_NET);
}

static void error_is_cut_to_fit(void **state)
{
	struct error e;
	char longer[1000];

	memset(longer, 'a', sizeof longer - 1);
	longer[sizeof longer - 1] = 0;
	error_set(&e, ERR_IO, "%s", longer);
	assert_int_equal(strlen(e.text), sizeof e.text - 1);
	error_wrap(&e, ERR_IO, "where");
	assert_int_equal(strlen(e.text), sizeof e.text - 1);
	assert_memory_equal(e.text, "where: aaa", 10);
	error_wrap(&e, ERR_IO, "%s", longer);
	assert_int_equal(strlen(e.text), sizeof e.text - 1);
	error_errno(&e, EIO, "%s", longer);
	assert_int_equal(strlen(e.text), sizeof e.text - 1);
}

static void every_code_has_a_name(void **state)
{
	for (int code = ERR_CANCELLED; code <= ERR_ARG; code++) {
		assert_string_not_equal(error_name(code), "unknown");
		for (int other = ERR_CANCELLED; other < code; other++)
			assert_string_not_equal(error_name(code), error_name(other));
	}
	assert_string_equal(error_name(0), "unknown");
}

/* --- memory ------------------------------------------------------------- */

static void accounts_charge_parents(void **state)
{
	struct account root, a, b;

	account_init(&root, "root", 100, NULL);
	account_init(&a, "a", 80, &root);
	account_init(&b, "b", UINT64_MAX, &root);
	assert_int_equal(account_charge(&a, 80), 0);
	assert_int_equal(account_held(&root), 80);
	assert_int_equal(account_charge(&a, 1), ERR_LIMIT);
	assert_int_equal(a.refused, 1);
	assert_int_equal(root.refused, 0);
	/* Refused by the parent: nothing stays at the child. */
	assert_int_equal(account_charge(&b, 21), ERR_LIMIT);
	assert_int_equal(account_held(&b), 0);
	assert_int_equal(b.peak, 0);
	assert_int_equal(b.refused, 0);
	assert_int_equal(root.refused, 1);
	assert_int_equal(account_charge(&b, 20), 0);
	assert_int_equal(account_held(&root), 100);
	assert_int_equal(account_charge(&b, UINT64_MAX), ERR_LIMIT);
	assert_int_equal(account_charge(&b, UINT64_MAX - 19), ERR_LIMIT); /* would wrap to 0 */
	assert_int_equal(account_charge(&b, 0), 0);
	account_force(&a, 50);
	assert_int_equal(account_held(&a), 130);
	assert_int_equal(root.peak, 150);
	assert_int_equal(account_charge(&a, 1), ERR_LIMIT); /* above the limit, without wrapping */
	account_release(&a, 130);
	account_release(&b, 20);
	account_release(NULL, 5);
	assert_int_equal(account_held(&root) + account_held(&a) + account_held(&b), 0);
	assert_int_equal(a.peak, 130);
	assert_int_equal(account_charge(NULL, 5), 0);
}

static void account_room_is_the_least(void **state)
{
	struct account root, a;

	account_init(&root, "root", 100, NULL);
	account_init(&a, "a", 60, &root);
	assert_true(account_room(NULL) == UINT64_MAX);
	assert_int_equal(account_room(&a), 60);
	account_force(&root, 70);
	assert_int_equal(account_room(&a), 30);
	/* However much nobody charges, half can be charged. */
	account_set_uncharged(&root, 1000);
	assert_int_equal(account_room(&a), 0);
	account_release(&root, 70);
	assert_int_equal(account_room(&a), 50);
	assert_int_equal(account_charge(&a, 50), 0);
	assert_int_equal(account_charge(&a, 1), ERR_LIMIT);
	account_release(&a, 50);
}

static struct account shared_root, shared_child;

static void *charge_much(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (int i = 0; i < 20000; i++) {
		uint64_t n = (uint64_t)rand_r(&seed) % 40 + 1;
		/* Sums that would wrap must disturb nobody. */
		assert(account_charge(&shared_child, UINT64_MAX - 10) == ERR_LIMIT);
		if (account_charge(&shared_child, n) == 0) {
			assert(account_held(&shared_root) <= 100);
			account_release(&shared_child, n);
		}
	}
	return NULL;
}

static void accounts_never_pass_the_limit(void **state)
{
	pthread_t threads[4];

	account_init(&shared_root, "root", 100, NULL);
	account_init(&shared_child, "child", UINT64_MAX, &shared_root);
	for (uintptr_t i = 0; i < 4; i++)
		threads[i] = thread_start("charger-with-a-long-name", charge_much, (void *)i);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(account_held(&shared_root), 0);
	assert_int_equal(account_held(&shared_child), 0);
	assert_true(shared_root.peak > 0 && shared_root.peak <= 100);
}

/* Run fn in a child and say whether it ended by abort. */
static bool aborts(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGABRT, SIG_DFL); /* cmocka and sanitizers have their own */
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		fn();
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void release_too_much(void)
{
	struct account a;

	account_init(&a, "a", 10, NULL);
	account_release(&a, 1);
}

static void array_too_large(void)
{
	struct arena a;

	arena_init(&a, NULL);
	ARENA_ARRAY(&a, uint64_t, SIZE_MAX / 4);
}

static void alloc_too_large(void)
{
	struct arena a;

	arena_init(&a, NULL);
	arena_alloc(&a, SIZE_MAX); /* rounding up would wrap to 0 */
}

static void programmer_errors_abort(void **state)
{
	assert_true(aborts(release_too_much));
	assert_true(aborts(array_too_large));
	assert_true(aborts(alloc_too_large));
}

static void allocates(void **state)
{
	char *p = xmalloc(0), *q;

	assert_non_null(p);
	free(p);
	p = xcalloc(0, 8);
	assert_non_null(p);
	p = xrealloc(p, 0);
	assert_non_null(p);
	free(p);
	q = xstrdup("x");
	assert_string_equal(q, "x");
	free(q);
	assert_null(xstrdup(NULL));
}

/* --- arena -------------------------------------------------------------- */

static void arena_gives_zeroed_aligned_memory(void **state)
{
	struct account account;
	struct arena a;
	char *parts[400];
	size_t sizes[400];

	srandom(3);
	account_init(&account, "arena", 1, NULL);
	arena_init(&a, &account);
	for (int i = 0; i < 400; i++) {
		sizes[i] = (size_t)random() % (i % 20 ? 100 : 40000);
		parts[i] = arena_alloc(&a, sizes[i]);
		assert_int_equal((uintptr_t)parts[i] % 16, 0);
		for (size_t k = 0; k < sizes[i]; k++)
			assert_int_equal(parts[i][k], 0);
		memset(parts[i], i, sizes[i]);
	}
	for (int i = 0; i < 400; i++)
		for (size_t k = 0; k < sizes[i]; k++)
			assert_int_equal(parts[i][k], (char)i);
	/* Charged beyond its limit too. */
	assert_int_equal(account_held(&account), a.bytes);
	assert_true(a.bytes > 1);
	arena_clear(&a);
	assert_int_equal(account_held(&account), 0);
	assert_string_equal(arena_c(&a, STR("after")), "after");
	arena_fini(&a);
	assert_int_equal(account_held(&account), 0);
	arena_fini(&a);
}

static void arena_keeps_a_chunk_with_room(void **state)
{
	struct arena a;
	size_t bytes;

	arena_init(&a, NULL);
	arena_alloc(&a, 16);
	arena_alloc(&a, 100000);
	bytes = a.bytes;
	arena_alloc(&a, 4000);
	assert_int_equal(a.bytes, bytes);
	arena_fini(&a);
}

static void arena_makes_strings(void **state)
{
	struct arena a;
	struct str s;

	arena_init(&a, NULL);
	s = arena_str(&a, STR("a\0b"));
	assert_true(str_eq(s, STR("a\0b")));
	assert_int_equal(s.p[3], 0);
	assert_string_equal(arena_c(&a, STR_NONE), "");
	assert_string_equal(arena_printf(&a, "%d-%s", 7, "x"), "7-x");
	assert_int_equal(ARENA_ARRAY(&a, uint64_t, 10)[9], 0);
	arena_fini(&a);
}

/* --- hash, list, lock --------------------------------------------------- */

static void hashes_by_the_book(void **state)
{
	static const char zeros[8];
	char in[64];
	uint64_t a, b, saved[2];

	/* XXH3 of nothing, seed 0: it is on disks, so it may never change. */
	assert_true(hash_stable(STR_NONE) == UINT64_C(0x2d06800538d394c2));
	hash_keyed(STR_NONE);
	memcpy(saved, key, sizeof key);
	/* SipHash-1-3 under the key 00 01 … 0f of the bytes "", 00, 00 01. */
	for (size_t i = 0; i < sizeof key; i++)
		((char *)key)[i] = (char)i;
	for (size_t i = 0; i < sizeof in; i++)
		in[i] = (char)i;
	assert_true(hash_keyed(STR_NONE) == UINT64_C(0xabac0158050fc4dc));
	assert_true(hash_keyed(str_make(in, 1)) == UINT64_C(0xc9f49bf37d57ca93));
	assert_true(hash_keyed(str_make(in, 2)) == UINT64_C(0x82cb9b024dc7d44d));
	for (size_t n = 0; n < sizeof zeros; n++)
		assert_true(hash_keyed(str_make(zeros, n)) != hash_keyed(str_make(zeros, n + 1)));
	memcpy(key, saved, sizeof key);
	hash_random(&a, sizeof a);
	hash_random(&b, sizeof b);
	assert_true(a != b);
	hash_random(NULL, 0);
}

struct member {
	int id;
	struct list node;
};

static void lists_walk_while_removing(void **state)
{
	struct member m[5];
	struct list head;
	int sum = 0;

	list_init(&head);
	assert_true(list_empty(&head));
	for (int i = 0; i < 5; i++) {
		m[i].id = 1 << i;
		list_append(&head, &m[i].node);
	}
	LIST_EACH (at, &head) {
		struct member *one = CONTAINER(at, struct member, node);
		if (one->id & 0x15)
			list_remove(&one->node);
	}
	LIST_EACH (at, &head)
		sum = sum * 100 + CONTAINER(at, struct member, node)->id;
	assert_int_equal(sum, 208);
	list_remove(&m[0].node); /* twice is harmless */
	list_remove(&m[1].node);
	list_remove(&m[3].node);
	assert_true(list_empty(&head));
}

static void conditions_time_out(void **state) UNCHECKED
{
	static const int64_t waits[] = {0, -5, INT64_MIN, 1000000, 1999999};
	struct lock l;
	struct cond c;

	lock_init(&l);
	cond_init(&c);
	lock_take(&l);
	for (size_t i = 0; i < sizeof waits / sizeof *waits; i++)
		assert_false(cond_wait_for(&c, &l, waits[i]));
	lock_drop(&l);
	cond_fini(&c);
	lock_fini(&l);
}

struct meeting {
	struct lock lock;
	struct cond cond;
	bool here;
	char name[16];
};

static void *come(void *arg)
{
	struct meeting *m = arg;
	sigset_t blocked;

	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	/* Signals are for the main thread, faults for whom they concern. */
	assert(sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGHUP));
	assert(!sigismember(&blocked, SIGSEGV) && !sigismember(&blocked, SIGABRT));
	lock_take(&m->lock);
	m->here = true;
	/* By now thread_start has given it: the starter held the lock so long. */
	pthread_getname_np(pthread_self(), m->name, sizeof m->name);
	cond_signal(&m->cond);
	lock_drop(&m->lock);
	return NULL;
}

static void conditions_wake(void **state) UNCHECKED
{
	struct meeting m = {0};
	pthread_t thread;

	lock_init(&m.lock);
	cond_init(&m.cond);
	lock_take(&m.lock);
	thread = thread_start("a-name-that-is-longer", come, &m);
	/* INT64_MAX must not wrap into the past. */
	while (!m.here)
		assert_true(cond_wait_for(&m.cond, &m.lock, INT64_MAX));
	lock_drop(&m.lock);
	assert_string_equal(m.name, "a-name-that-is-");
	pthread_join(thread, NULL);
	cond_fini(&m.cond);
	lock_fini(&m.lock);
}

/* --- log ---------------------------------------------------------------- */

/* What `fn` writes to stderr; returns its length. */
static size_t catch_stderr(void (*fn)(void), char *out, size_t size)
{
	int pipes[2], saved = dup(2);
	ssize_t n;

	fflush(stderr);
	assert_int_equal(pipe(pipes), 0);
	dup2(pipes[1], 2);
	close(pipes[1]);
	fn();
	dup2(saved, 2);
	close(saved);
	n = read(pipes[0], out, size - 1);
	close(pipes[0]);
	assert_true(n >= 0);
	out[n] = 0;
	return (size_t)n;
}

static void log_some(void)
{
	log_debug("area", "not shown");
	log_warn("area", "forged\nline \x1b[31m %s", "\xc3\xa9");
}

static void log_much(void)
{
	char longer[3000];

	memset(longer, '\x01', sizeof longer - 1);
	longer[sizeof longer - 1] = 0;
	log_error(longer, "%s", longer);
}

static void log_to_journal(void)
{
	struct stat s;
	char stream[64];

	assert_int_equal(fstat(2, &s), 0);
	snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)s.st_dev,
		(unsigned long long)s.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_info("area", "hello");
}

static void logs_one_line_a_message(void **state)
{
	char out[4096];
	size_t n;

	unsetenv("JOURNAL_STREAM");
	catch_stderr(log_some, out, sizeof out);
	assert_int_equal(out[10], 'T');
	assert_string_equal(out + 24, " warn area: forged\\nline \\x1b[31m \xc3\xa9\n");
	n = catch_stderr(log_much, out, sizeof out);
	assert_true(n > 1000 && n < 1400);
	assert_ptr_equal(strchr(out, '\n'), out + n - 1);
	/* Set by a service manager for another stderr than ours. */
	setenv("JOURNAL_STREAM", "1:1", 1);
	catch_stderr(log_some, out, sizeof out);
	assert_int_equal(out[10], 'T');
	catch_stderr(log_to_journal, out, sizeof out);
	assert_string_equal(out, "<6>area: hello\n");
	unsetenv("JOURNAL_STREAM");
}

/* --- metric ------------------------------------------------------------- */

static void metrics_render(void **state)
{
	struct buf labels = {0}, out = {0};

	metric_label(&labels, "a", STR("x\"y\\z\n"));
	metric_label(&labels, "b", STR("\xc3\xa9\xff!\xff"));
	metric_label(&labels, "c", STR_NONE);
	assert_string_equal(buf_cstr(&labels),
		"a=\"x\\\"y\\\\z\\n\",b=\"\xc3\xa9\xef\xbf\xbd!\xef\xbf\xbd\",c=\"\"");
	metric_add(METRIC_sequence, buf_cstr(&labels), 5);
	metric_add(METRIC_sequence, buf_cstr(&labels), -2);
	metric_set(METRIC_sequence, "", 1);
	assert_int_equal(metric_get(METRIC_sequence, buf_cstr(&labels)), 3);
	assert_int_equal(metric_get(METRIC_sequence, "none"), 0);
	assert_ptr_equal(metric_series(METRIC_sequence, ""), metric_series(METRIC_sequence, ""));
	metric_render(&out);
	assert_string_equal(buf_cstr(&out),
		"# HELP sawlog_sequence Last committed sequence number.\n"
		"# TYPE sawlog_sequence gauge\n"
		"sawlog_sequence 1\n"
		"sawlog_sequence{a=\"x\\\"y\\\\z\\n\",b=\"\xc3\xa9\xef\xbf\xbd!\xef\xbf\xbd\",c=\"\"} 3\n");
	buf_fini(&labels);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(error_speaks),
		cmocka_unit_test(error_is_cut_to_fit),
		cmocka_unit_test(every_code_has_a_name),
		cmocka_unit_test(accounts_charge_parents),
		cmocka_unit_test(account_room_is_the_least),
		cmocka_unit_test(accounts_never_pass_the_limit),
		cmocka_unit_test(programmer_errors_abort),
		cmocka_unit_test(allocates),
		cmocka_unit_test(arena_gives_zeroed_aligned_memory),
		cmocka_unit_test(arena_keeps_a_chunk_with_room),
		cmocka_unit_test(arena_makes_strings),
		cmocka_unit_test(hashes_by_the_book),
		cmocka_unit_test(lists_walk_while_removing),
		cmocka_unit_test(conditions_time_out),
		cmocka_unit_test(conditions_wake),
		cmocka_unit_test(logs_one_line_a_message),
		cmocka_unit_test(metrics_render),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
