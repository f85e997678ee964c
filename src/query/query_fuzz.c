/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a query: the parser survives them, gives a sentence or a tree,
 * and the canonical text of a tree is a fixed point.
 */
#include <assert.h>

#include "query/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct query *q = NULL, *again = NULL;
	struct buf once = {0}, twice = {0};
	struct error e = {0};

	if (query_parse(&q, str_make(data, n), &e) < 0) {
		assert(!q && e.code < 0 && e.text[0]);
		return 0;
	}
	query_format(q, &once);
	/* Escapes can make the text longer than a query may be. */
	if (query_parse(&again, buf_view(&once), &e) == 0) {
		query_format(again, &twice);
		assert(str_eq(buf_view(&once), buf_view(&twice)));
		assert(query_is_log(q) == query_is_log(again));
		assert(query_want_line(q, STR("a line")) == query_want_line(again, STR("a line")));
	} else {
		assert(once.n > 128 << 10);
	}
	query_free(q);
	query_free(again);
	buf_fini(&once);
	buf_fini(&twice);
	return 0;
}
