/* SPDX-License-Identifier: Apache-2.0 */
/* Pages from a peer: whatever comes, nothing is read that is not there, and what passes is whole.
 */
#include <assert.h>
#include <stdlib.h>

#include "query/pages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(const struct page *p)
{
	const struct row_counts *c = &p->counts;

	for (size_t i = 0; i < c->n; i++) {
		assert(c->counts[i].stream < c->n_streams);
		assert(c->counts[i].min_ns <= c->counts[i].max_ns);
		assert(c->counts[i].template == ROWS_NO_TEMPLATE ||
			c->counts[i].template <c->n_templates);
	}
	for (size_t i = 0; i < c->n_streams; i++)
		assert(labels_count(c->streams[i]) <= LABELS_MAX);
	for (size_t i = 0; p->rows && i < batch_count(p->rows); i++)
		assert(batch_record(p->rows, i).stream < batch_n_streams(p->rows));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf body = {0};
	struct page p;
	struct error e;

	buf_put(&body, data, size);
	if (page_read(&p, &body, 1 << 20, &e) == 0)
		look_at(&p);
	page_fini(&p);
	assert(body.p == NULL);
	return 0;
}
