/* SPDX-License-Identifier: Apache-2.0 */
/* The parts engine keeps the promises of the store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/store_conformance.c"

static void tell(const char *name, const char *what)
{
	print_error("broken: %s: %s\n", name, what);
}

static void parts_keep_the_promises(void **state)
{
	assert_int_equal(store_conformance(store_open, tell), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(parts_keep_the_promises)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
