/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a file of positions; what is understood is written and read back the same. */
#include <stdlib.h>

#include "input/positions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void write_all(const struct positions *p, struct buf *out)
{
	positions_write_head(p, out);
	for (struct list *at = p->list.next; at != &p->list; at = at->next)
		position_write(CONTAINER(at, struct position, node), out);
	for (struct list *at = p->lineages.next; at != &p->lineages; at = at->next)
		lineage_write(CONTAINER(at, struct lineage, node), out);
	positions_write_globs(p, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct positions a, b;
	struct buf first = {0}, second = {0};
	size_t n_damaged = 0;

	positions_init(&a);
	positions_init(&b);
	if (positions_parse(&a, str_make(data, n), &n_damaged, NULL) == 0) {
		write_all(&a, &first);
		n_damaged = 0;
		if (positions_parse(&b, buf_view(&first), &n_damaged, NULL) < 0 || n_damaged)
			abort();
		write_all(&b, &second);
		if (!str_eq(buf_view(&first), buf_view(&second)))
			abort();
	}
	positions_fini(&a);
	positions_fini(&b);
	buf_fini(&first);
	buf_fini(&second);
	return 0;
}
