/* SPDX-License-Identifier: Apache-2.0 */
/* The same bytes as canonical labels and as text; what parses must come back the same. */
#include <assert.h>

#include "record/labels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void walk(struct str bytes)
{
	struct buf out = {0};
	struct str at = bytes;
	struct label l;
	size_t count = labels_start(&at), seen = 0;

	for (; labels_next(&at, &l); seen++)
		assert(labels_get(bytes, l.name, &l.value));
	assert(seen == count && at.n == 0);
	labels_text(&out, bytes);
	labels_json(&out, bytes);
	assert(str_utf8_valid(str_sub(buf_view(&out), out.n - 1, out.n)) == 1);
	buf_fini(&out);
}

static void round_trip(struct labels_builder *b)
{
	struct labels_builder again = {0};
	struct buf first = {0}, text = {0}, second = {0};

	labels_builder_write(b, &first);
	assert(labels_check(buf_view(&first), NULL) == 0);
	walk(buf_view(&first));
	labels_text(&text, buf_view(&first));
	assert(labels_parse(&again, buf_view(&text), NULL) == 0);
	labels_builder_write(&again, &second);
	assert(str_eq(buf_view(&first), buf_view(&second)));
	labels_builder_fini(&again);
	buf_fini(&first);
	buf_fini(&text);
	buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str bytes = str_make(data, n);
	struct labels_builder b = {0};
	struct error e;

	if (labels_check(bytes, &e) == 0)
		walk(bytes);
	if (labels_parse(&b, bytes, &e) == 0)
		round_trip(&b);
	labels_builder_fini(&b);
	return 0;
}
