/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "net/token.c"
#include "os/fs.h"

struct place {
	char folder[64], file[96];
};

static int setup(void **state)
{
	struct place *p = xcalloc(1, sizeof *p);

	snprintf(p->folder, sizeof p->folder, "/tmp/token-test-XXXXXX");
	assert_non_null(mkdtemp(p->folder));
	snprintf(p->file, sizeof p->file, "%s/tokens", p->folder);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", p->folder);
	assert_int_equal(system(command), 0);
	free(p);
	return 0;
}

static struct buf create(const struct place *p, unsigned flags, const char *tenant,
	int64_t expires_ns, const char *name)
{
	struct token t = {.scopes = flags, .expires_ns = expires_ns};
	struct buf secret = {0};
	struct error e = {0};

	str_copy(str_c(tenant), t.tenant, sizeof t.tenant);
	str_copy(str_c(name), t.name, sizeof t.name);
	if (tokens_create(p->file, &t, &secret, &e) < 0)
		fail_msg("%s", e.text);
	return secret;
}

static void write_text(const struct place *p, const char *text)
{
	FILE *f = fopen(p->file, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	chmod(p->file, 0600);
}

static void read_text(const struct place *p, struct buf *out)
{
	assert_int_equal(fs_read_all(fs_real(), p->file, TOKEN_FILE_MAX, out, NULL), 0);
}

/* As if the second between two looks had passed. */
static void look_again(struct tokens *t)
{
	lock_take(&t->lock);
	t->looked_mono -= LOOK_NS;
	lock_drop(&t->lock);
}

static struct str id_of(const struct buf *secret)
{
	struct str rest = str_sub(buf_view(secret), 4, secret->n);

	return str_cut(&rest, '_');
}

static void created_works(void **state)
{
	const struct place *p = *state;
	struct buf a = create(p, SCOPE_INGEST, "default", 0, "web servers, rack 3"), b;
	struct buf text = {0};
	struct tokens *t;
	struct token got;
	struct error e;
	struct stat st;

	b = create(p, SCOPE_READ | SCOPE_ADMIN, "*", 0, "me");
	assert_int_equal(a.n, 4 + 8 + 1 + 64);
	assert_int_equal(tokens_open(&t, p->file, &e), 0);
	assert_int_equal(tokens_check(t, buf_view(&a), &got, &e), 0);
	assert_string_equal(got.name, "web servers, rack 3");
	assert_string_equal(got.tenant, "default");
	assert_int_equal(got.scopes, SCOPE_INGEST);
	assert_int_equal(tokens_check(t, buf_view(&b), &got, &e), 0);
	assert_string_equal(got.tenant, "*");
	assert_true(tokens_alive(t, got.id));
	assert_int_equal(stat(p->file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* The file does not hold what opens the door. */
	read_text(p, &text);
	assert_true(str_find(buf_view(&text), str_sub(buf_view(&a), 13, a.n)) < 0);
	tokens_free(t);
	buf_fini(&a);
	buf_fini(&b);
	buf_fini(&text);
}

static void others_do_not(void **state)
{
	const struct place *p = *state;
	struct buf a = create(p, SCOPE_INGEST, "default", 0, "x"), long_one = {0};
	static const char *const wrong[] = {"", "slt_", "slt__", "hunter2", "slt_zz_00", "Bearer"};
	struct tokens *t;
	struct token got;
	struct error e;

	assert_int_equal(tokens_open(&t, p->file, &e), 0);
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		assert_int_equal(tokens_check(t, str_c(wrong[i]), &got, &e), ERR_DENIED);
	for (size_t i = 0; i < a.n; i++) {
		char kept = a.p[i];
		a.p[i] = kept == '0' ? '1' : '0';
		assert_int_equal(tokens_check(t, buf_view(&a), &got, &e), ERR_DENIED);
		assert_null(strstr(e.text, a.p + 13));
		a.p[i] = kept;
	}
	assert_int_equal(tokens_check(t, str_sub(buf_view(&a), 0, a.n - 1), &got, &e), ERR_DENIED);
	for (int i = 0; i < 1000; i++)
		buf_c(&long_one, "slt_");
	assert_int_equal(tokens_check(t, buf_view(&long_one), &got, &e), ERR_DENIED);
	assert_int_equal(tokens_check(t, buf_view(&a), &got, &e), 0);
	tokens_free(t);
	buf_fini(&a);
	buf_fini(&long_one);
}

static void revoked_stops(void **state)
{
	const struct place *p = *state;
	struct buf a = create(p, SCOPE_INGEST, "default", 0, "a");
	struct buf b = create(p, SCOPE_INGEST, "default", 0, "b");
	struct tokens *t;
	struct token got;
	struct error e;

	assert_int_equal(tokens_open(&t, p->file, &e), 0);
	assert_int_equal(tokens_revoke(p->file, id_of(&a), &e), 0);
	assert_int_equal(tokens_revoke(p->file, id_of(&a), &e), ERR_NOT_FOUND);
	look_again(t);
	assert_int_equal(tokens_check(t, buf_view(&a), &got, &e), ERR_DENIED);
	assert_int_equal(tokens_check(t, buf_view(&b), &got, &e), 0);
	assert_int_equal(tokens_revoke(p->file, id_of(&b), &e), 0);
	look_again(t);
	assert_false(tokens_alive(t, got.id));
	/* The file goes: nobody gets in. */
	buf_fini(&b);
	b = create(p, SCOPE_INGEST, "default", 0, "b");
	look_again(t);
	assert_int_equal(tokens_check(t, buf_view(&b), &got, &e), 0);
	unlink(p->file);
	look_again(t);
	assert_int_equal(tokens_check(t, buf_view(&b), &got, &e), ERR_DENIED);
	tokens_free(t);
	buf_fini(&a);
	buf_fini(&b);
}

/* A line that was copied by hand goes with the first one, wherever it stands. */
static void copies_are_revoked(void **state)
{
	const struct place *p = *state;
	struct buf a = create(p, SCOPE_INGEST, "default", 0, "a"), text = {0}, twice = {0};
	struct buf b = create(p, SCOPE_INGEST, "default", 0, "b");
	struct tokens *t;
	struct token got;
	struct error e;

	read_text(p, &text);
	buf_str(&twice, buf_view(&text));
	buf_c(&twice, "# kept\n");
	buf_str(&twice, buf_view(&text));
	twice.n--; /* no newline at the end */
	write_text(p, buf_cstr(&twice));
	assert_int_equal(tokens_open(&t, p->file, &e), 0);
	assert_int_equal(tokens_check(t, buf_view(&b), &got, &e), 0);
	assert_int_equal(tokens_revoke(p->file, id_of(&b), &e), 0);
	look_again(t);
	assert_int_equal(tokens_check(t, buf_view(&b), &got, &e), ERR_DENIED);
	assert_int_equal(tokens_check(t, buf_view(&a), &got, &e), 0);
	buf_clear(&text);
	read_text(p, &text);
	assert_true(str_find(buf_view(&text), STR("# kept\n")) > 0);
	tokens_free(t);
	buf_fini(&a);
	buf_fini(&b);
	buf_fini(&text);
	buf_fini(&twice);
}

static void expired_stops(void **state)
{
	const struct place *p = *state;
	int64_t now = clock_now_ns(clock_real());
	struct buf a = create(p, SCOPE_READ, "default", now + 200000000, "soon");
	struct buf b = create(p, SCOPE_READ, "default", now - NS_PER_SEC, "gone");
	struct tokens *t;
	struct token got;
	struct error e;

	assert_int_equal(tokens_open(&t, p->file, &e), 0);
	assert_int_equal(tokens_check(t, buf_view(&b), &got, &e), ERR_DENIED);
	assert_non_null(strstr(e.text, "expired"));
	assert_int_equal(tokens_check(t, buf_view(&a), &got, &e), 0);
	usleep(250000);
	assert_int_equal(tokens_check(t, buf_view(&a), &got, &e), ERR_DENIED);
	assert_false(tokens_alive(t, got.id));
	tokens_free(t);
	buf_fini(&a);
	buf_fini(&b);
}

static void unsafe_file_is_refused(void **state)
{
	const struct place *p = *state;
	struct buf a = create(p, SCOPE_READ, "default", 0, "a"), more = {0};
	struct token what = {.scopes = SCOPE_READ, .tenant = "default", .name = "x"};
	struct tokens *t, *other;
	struct token got;
	struct error e;

	assert_int_equal(tokens_open(&t, p->file, &e), 0);
	chmod(p->file, 0660);
	assert_int_equal(tokens_open(&other, p->file, &e), ERR_DENIED);
	assert_non_null(strstr(e.text, "chmod 600"));
	assert_int_equal(tokens_create(p->file, &what, &more, &e), ERR_DENIED);
	assert_int_equal(more.n, 0);
	/* Found at a later look, it lets nobody in, until it is put right. */
	look_again(t);
	assert_int_equal(tokens_check(t, buf_view(&a), &got, &e), ERR_DENIED);
	chmod(p->file, 0600);
	look_again(t);
	assert_int_equal(tokens_check(t, buf_view(&a), &got, &e), 0);
	tokens_free(t);
	buf_fini(&a);
}

static void damaged_line_is_told(void **state)
{
	const struct place *p = *state;
	struct buf a = create(p, SCOPE_READ, "default", 0, "a"), text = {0}, after = {0}, b;
	struct tokens *t, *other;
	struct token got;
	struct error e;

	assert_int_equal(tokens_open(&t, p->file, &e), 0);
	read_text(p, &text);
	buf_c(&text, "oops\n# note\n");
	write_text(p, buf_cstr(&text));
	assert_int_equal(tokens_open(&other, p->file, &e), ERR_CORRUPT);
	assert_non_null(strstr(e.text, "line 4"));
	look_again(t);
	assert_int_equal(tokens_check(t, buf_view(&a), &got, &e), 0);
	/* Commands leave it as it is, and work. */
	b = create(p, SCOPE_READ, "default", 0, "b");
	assert_int_equal(tokens_revoke(p->file, id_of(&a), &e), 0);
	read_text(p, &after);
	assert_true(str_find(buf_view(&after), STR("oops\n# note\n")) > 0);
	look_again(t);
	assert_int_equal(tokens_check(t, buf_view(&b), &got, &e), 0);
	assert_int_equal(tokens_revoke(p->file, STR("oops"), &e), 0);
	tokens_free(t);
	buf_fini(&a);
	buf_fini(&b);
	buf_fini(&text);
	buf_fini(&after);
}

static void bad_wishes_are_refused(void **state)
{
	const struct place *p = *state;
	static const struct token wishes[] = {
		{.tenant = "default", .name = "x"},
		{.scopes = SCOPE_READ, .tenant = "..", .name = "x"},
		{.scopes = SCOPE_READ, .tenant = "a b", .name = "x"},
		{.scopes = SCOPE_READ, .tenant = "", .name = "x"},
		{.scopes = SCOPE_READ, .tenant = "default", .name = ""},
		{.scopes = SCOPE_READ, .tenant = "default", .name = " x"},
		{.scopes = SCOPE_READ, .tenant = "default", .name = "x\ny"},
		{.scopes = SCOPE_READ, .tenant = "default", .name = "\xff"},
	};
	struct buf secret = {0};
	struct error e;

	for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++)
		assert_int_equal(tokens_create(p->file, &wishes[i], &secret, &e), ERR_ARG);
	assert_int_equal(access(p->file, F_OK), -1);
}

static void count_one(void *arg, const struct token *t)
{
	++*(int *)arg;
}

/* Eight processes at once: each token is there in the end, but the revoked. */
static void at_once(void **state)
{
	enum { PROCESSES = 8, EACH = 10 };
	const struct place *p = *state;
	int n = 0;
	struct error e;

	for (int i = 0; i < PROCESSES; i++) {
		pid_t child = fork();
		assert_true(child >= 0);
		for (int k = 0; child == 0 && k < EACH; k++) {
			struct buf s = create(p, SCOPE_INGEST, "default", 0, "many");
			if (k % 2 && tokens_revoke(p->file, id_of(&s), NULL) < 0)
				_exit(1);
			buf_fini(&s);
		}
		if (child == 0)
			_exit(0);
	}
	for (int i = 0; i < PROCESSES; i++) {
		int status;
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(tokens_list(p->file, count_one, &n, &e), 0);
	assert_int_equal(n, PROCESSES * EACH / 2);
}

static void scopes_are_words(void **state)
{
	static const char *const bad[] = {"", ",", "read,", "write", "read ingest", "admin,,read"};
	struct buf text = {0};
	unsigned flags;

	assert_true(token_scopes_parse(STR("read, ingest"), &flags));
	assert_int_equal(flags, SCOPE_READ | SCOPE_INGEST);
	token_scopes_format(&text, flags | SCOPE_ADMIN);
	assert_string_equal(buf_cstr(&text), "ingest,read,admin");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(token_scopes_parse(str_c(bad[i]), &flags));
	assert_true(token_may(SCOPE_ADMIN, SCOPE_INGEST) && token_may(0, 0));
	assert_true(token_may(SCOPE_READ | SCOPE_INGEST, SCOPE_READ));
	assert_false(token_may(SCOPE_READ, SCOPE_INGEST) || token_may(SCOPE_INGEST, SCOPE_ADMIN));
	buf_fini(&text);
}

static void headers_are_read(void **state)
{
	static const struct {
		const char *value, *secret;
	} cases[] = {
		{"Bearer slt_1_2", "slt_1_2"},
		{" bearer   slt_1_2 ", "slt_1_2"},
		{"Basic bWU6c2x0XzFfMg==", "slt_1_2"}, /* me:slt_1_2 */
		{"Basic OnNsdF8xXzI=", "slt_1_2"},     /* :slt_1_2 */
		{"Basic YTpiOmM=", "b:c"},             /* a:b:c */
		{"Basic bWU6", NULL},                  /* me: */
		{"Basic bWU=", NULL},                  /* me */
		{"Basic !!!!", NULL},
		{"Basic", NULL},
		{"Bearer", NULL},
		{"Bearer ", NULL},
		{"", NULL},
		{"slt_1_2", NULL},
		{"Digest x", NULL},
	};
	char room[TOKEN_HEADER_MAX];
	struct buf large = {0};
	struct str secret;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		bool found = token_of_header(str_c(cases[i].value), room, &secret);
		assert_int_equal(found, cases[i].secret != NULL);
		assert_true(!found || str_eq_c(secret, cases[i].secret));
	}
	buf_c(&large, "Bearer ");
	while (large.n <= TOKEN_HEADER_MAX)
		buf_char(&large, 'x');
	assert_false(token_of_header(buf_view(&large), room, &secret));
	buf_fini(&large);
}

/* An edit in place, of the same length and within the clock's step, is seen. */
static void edit_in_place_is_seen(void **state)
{
	const struct place *p = *state;
	struct buf a = create(p, SCOPE_READ, "default", 0, "a"), text = {0};
	struct tokens *t;
	struct token got;
	ptrdiff_t at;
	struct error e;

	assert_int_equal(tokens_open(&t, p->file, &e), 0);
	read_text(p, &text);
	at = str_find(buf_view(&text), STR(" read "));
	assert_true(at > 0);
	at = str_find(buf_view(&text), STR("default"));
	memcpy(text.p + at, "another", 7);
	write_text(p, buf_cstr(&text));
	look_again(t);
	assert_int_equal(tokens_check(t, buf_view(&a), &got, &e), 0);
	assert_string_equal(got.tenant, "another");
	tokens_free(t);
	buf_fini(&a);
	buf_fini(&text);
}

static void another_file_is_adopted(void **state)
{
	struct place *p = *state;
	struct buf a = create(p, SCOPE_READ, "default", 0, "a"), b;
	struct tokens *t, *fresh;
	struct token got;
	struct error e;

	assert_int_equal(tokens_open(&t, p->file, &e), 0);
	str_copy(STR("/other/tokens"), p->file + strlen(p->folder), 20);
	b = create(p, SCOPE_READ, "default", 0, "b");
	assert_int_equal(tokens_open(&fresh, p->file, &e), 0);
	tokens_adopt(t, fresh);
	assert_int_equal(tokens_count(t), 1);
	assert_int_equal(tokens_check(t, buf_view(&a), &got, &e), ERR_DENIED);
	assert_int_equal(tokens_check(t, buf_view(&b), &got, &e), 0);
	look_again(t);
	assert_int_equal(tokens_check(t, buf_view(&b), &got, &e), 0);
	tokens_free(t);
	buf_fini(&a);
	buf_fini(&b);
}

static void cost(void **state)
{
	enum { CHECKS = 20000 };
	const struct place *p = *state;
	struct buf a = {0};
	struct timespec begin, end;
	struct tokens *t;
	struct token got;
	struct error e;

	for (int i = 0; i < 100; i++) {
		buf_fini(&a);
		a = create(p, SCOPE_INGEST, "default", 0, "x");
	}
	assert_int_equal(tokens_open(&t, p->file, &e), 0);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (int i = 0; i < CHECKS; i++)
		assert_int_equal(tokens_check(t, buf_view(&a), &got, &e), 0);
	clock_gettime(CLOCK_MONOTONIC, &end);
	print_message("%.2f us a check\n", ((double)(end.tv_sec - begin.tv_sec) * 1e6 +
						   (double)(end.tv_nsec - begin.tv_nsec) / 1e3) /
						   CHECKS);
	tokens_free(t);
	buf_fini(&a);
}

#define ON_DISK(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_DISK(created_works),
		ON_DISK(others_do_not),
		ON_DISK(revoked_stops),
		ON_DISK(copies_are_revoked),
		ON_DISK(expired_stops),
		ON_DISK(unsafe_file_is_refused),
		ON_DISK(damaged_line_is_told),
		ON_DISK(bad_wishes_are_refused),
		ON_DISK(at_once),
		ON_DISK(edit_in_place_is_seen),
		ON_DISK(another_file_is_adopted),
		ON_DISK(cost),
		cmocka_unit_test(scopes_are_words),
		cmocka_unit_test(headers_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
