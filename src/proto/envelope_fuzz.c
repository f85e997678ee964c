/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "recipe \0 body": whatever the two are, rebuilding ends, and its pieces lie
 * in order before the record's position.
 */
#include <assert.h>

#include "proto/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { POSITION = 1 << 20 };

static int piece(void *arg, uint64_t offset, struct str bytes, struct error *e)
{
	uint64_t *end = arg;

	(void)e;
	assert(offset >= *end && bytes.n <= POSITION && offset <= POSITION - bytes.n);
	*end = offset + bytes.n;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str recipe, body = str_make(data, size);
	struct labels_builder b = {.names_free = true};
	struct buf meta = {0};
	struct record r = {.timestamp = INT64_C(1787306400500000000), .position = POSITION};
	uint64_t end = 0;

	if (size > 60000)
		return 0;
	recipe = str_cut(&body, 0);
	if (recipe.n)
		labels_builder_set(&b, STR(ENVELOPE_META), recipe, NULL);
	labels_builder_write(&b, &meta);
	r.meta = buf_view(&meta);
	r.body = body;
	if (envelope_rebuild(&r, POSITION - size, piece, &end, NULL) >= 0)
		assert(end == POSITION);
	labels_builder_fini(&b);
	buf_fini(&meta);
	return 0;
}
