/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a query: the parser survives them, gives a sentence or a tree;
 * the canonical text of a tree, in one line or laid out, is the same tree
 * again, and its own canonical text.
 */
#include <assert.h>
#include <string.h>

#include "query/ast_test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

typedef void write_query(const struct query *q, struct buf *out);

static void check_again(const struct query *q, write_query *write)
{
	struct query *again = NULL;
	struct buf once = {0}, twice = {0}, tree = {0}, same = {0};
	struct error e = {0};

	write(q, &once);
	if (query_parse(&again, buf_view(&once), &e) == 0) {
		write(again, &twice);
		assert(str_eq(buf_view(&once), buf_view(&twice)));
		dump_query(&tree, q);
		dump_query(&same, again);
		assert(str_eq(buf_view(&tree), buf_view(&same)));
	} else {
		/* Escapes, and blanks before a line, can make the text longer than a query may be,
		 * and what stands for an infinity nests. */
		assert(once.n > QUERY_TEXT_MAX || strstr(e.text, "nested deeper"));
	}
	query_free(again);
	buf_fini(&once);
	buf_fini(&twice);
	buf_fini(&tree);
	buf_fini(&same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct query *q = NULL;
	struct error e = {0};

	if (query_parse(&q, str_make(data, n), &e) < 0) {
		assert(!q && e.code < 0 && e.text[0]);
		return 0;
	}
	check_again(q, query_format_line);
	check_again(q, query_format);
	(void)query_check_strict(q, &e);
	query_free(q);
	return 0;
}
