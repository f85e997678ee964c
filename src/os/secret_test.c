/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/secret.h"

static char dir[] = "/tmp/secret_test.XXXXXX";

static void first_line(void **state)
{
	static const struct {
		const char *file, *want;
	} rows[] = {{"abc", "abc"}, {"abc\n", "abc"}, {"abc\r\ndef\n", "abc"}, {" a b \n", " a b "},
		{"", ""}, {"\nabc", ""}};
	struct buf path = {0}, got = {0}, large = {0};
	struct error e;

	(void)state;
	assert_non_null(mkdtemp(dir));
	buf_printf(&path, "%s/token", dir);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_int_equal(
			fs_write_all(fs_real(), buf_cstr(&path), str_c(rows[i].file), &e), 0);
		buf_c(&got, "user:");
		assert_int_equal(secret_read(path.p, &got, &e), 0);
		assert_true(str_eq_c(str_sub(buf_view(&got), 5, got.n), rows[i].want));
		secret_fini(&got);
		assert_int_equal(got.n, 0);
	}
	while (large.n <= SECRET_MAX)
		buf_char(&large, 'x');
	assert_int_equal(fs_write_all(fs_real(), path.p, buf_view(&large), &e), 0);
	assert_int_equal(secret_read(path.p, &got, &e), ERR_LIMIT);
	assert_int_equal(fs_unlink(fs_real(), path.p, &e), 0);
	assert_int_equal(secret_read(path.p, &got, &e), ERR_NOT_FOUND);
	assert_int_equal(got.n, 0);
	assert_int_equal(rmdir(dir), 0);
	secret_fini(&got);
	buf_fini(&path);
	buf_fini(&large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_line),
	};

	return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
