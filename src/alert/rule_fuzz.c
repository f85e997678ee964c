/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a rule group: what is taken must read back the same from what is written. */
#include <assert.h>
#include <stdint.h>

#include "alert/rule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct buf first = {0}, second = {0};
	struct rule_group g;
	struct arena a;
	struct error e;

	arena_init(&a, NULL);
	if (rule_group_parse(&g, str_make(data, n), &a, &e) == 0) {
		rule_group_write(&g, 0, false, &first);
		assert(rule_group_parse(&g, buf_view(&first), &a, &e) == 0);
		rule_group_write(&g, 0, false, &second);
		assert(str_eq(buf_view(&first), buf_view(&second)));
	}
	arena_fini(&a);
	buf_fini(&first);
	buf_fini(&second);
	return 0;
}
