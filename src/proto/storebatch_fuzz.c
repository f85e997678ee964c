/* SPDX-License-Identifier: Apache-2.0 */
/* Any body: taken whole, as a batch that readers take, or refused whole. */
#include <assert.h>

#include "proto/storebatch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct json_parser *parser;
	struct push_options o = {.discover = {true, true}, .observed_ns = 1, .max_line = 64};
	struct batch_builder *b = batch_builder_new(STR("t"), STR("batch"), 1);
	struct batch *batch, *again = NULL;
	struct buf bytes = {0};
	struct error e;

	if (!parser)
		parser = json_parser_new();
	if (storebatch_json(parser, str_make(data, n), &o, b, &e) < 0)
		assert(batch_builder_count(b) == 0);
	batch = batch_builder_finish(b, 0);
	for (size_t i = 0; i < batch_count(batch); i++)
		assert(batch_record(batch, i).source > 0);
	buf_str(&bytes, batch_bytes(batch));
	assert(batch_from_bytes(&again, &bytes, NULL) == 0);
	batch_unref(again);
	batch_unref(batch);
	batch_builder_free(b);
	return 0;
}
