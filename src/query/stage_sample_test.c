/* SPDX-License-Identifier: Apache-2.0 */
#include "query/stage_rig.h"

/* About one in n, the same ones each time, and none of the rows' own rhythms. */
static void share(void **state)
{
	static const uint64_t one_in[] = {1, 2, 10, 64, 1000};
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t k = 0; k < sizeof one_in / sizeof *one_in; k++) {
		size_t n = 0, even = 0;
		struct stage *s = NULL;
		assert_int_equal(sample_new(&g.query, one_in[k], &s, NULL), 0);
		for (uint64_t seq = 1; seq <= 200000; seq++) {
			struct pipe_row row = {.seq = seq};
			int r = s->type->run(s, NULL, &row);
			assert_int_equal(r, s->type->run(s, NULL, &row));
			n += r == 1;
			even += r == 1 && seq % 2 == 0;
		}
		double want = 200000.0 / (double)one_in[k], slack = 6 * __builtin_sqrt(want);
		if (one_in[k] == 1)
			assert_int_equal(n, 200000);
		assert_true((double)n > want - slack && (double)n < want + slack);
		assert_true((double)even > want / 2 - slack && (double)even < want / 2 + slack);
	}
	rig_fini(&g);
}

static void text(void **state)
{
	struct stage *s = NULL;
	struct error e = {0};
	struct rig g;

	(void)state;
	rig_init(&g);
	assert_int_equal(sample_new(&g.query, 0, &s, &e), ERR_ARG);
	assert_true(e.text[0]);
	assert_string_equal(rig_canonical(&g, "| sample 100"), "| sample 100");
	rig_fini(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(share),
		cmocka_unit_test(text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
