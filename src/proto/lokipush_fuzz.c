/* SPDX-License-Identifier: Apache-2.0 */
/* Any body; what was added is a batch that readers take, and as large as the report says. */
#include <assert.h>

#include "proto/lokipush.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct json_parser *parser;
	struct push_options o = {.discover = {true, true}, .observed_ns = 1, .max_line = 16};
	struct batch_builder *b = batch_builder_new(STR("t"), STR("loki"), 1);
	struct push_report report = {0};
	struct batch *batch, *again = NULL;
	struct buf bytes = {0};
	struct error e;
	int r;

	if (!parser)
		parser = json_parser_new();
	r = lokipush_json(parser, str_make(data, n), &o, b, &report, &e);
	batch = batch_builder_finish(b, 0);
	assert(batch_count(batch) == report.n_accepted);
	assert(r == 0 || batch_count(batch) == 0);
	assert(!report.first.code == !(report.n_bad_labels + report.n_bad_timestamp +
					     report.n_bad_entry + report.n_over_limit));
	for (size_t i = 0; i < batch_count(batch); i++)
		assert(batch_record(batch, i).body.n <= o.max_line);
	buf_str(&bytes, batch_bytes(batch));
	assert(batch_from_bytes(&again, &bytes, NULL) == 0);
	batch_unref(again);
	batch_unref(batch);
	batch_builder_free(b);
	return 0;
}
