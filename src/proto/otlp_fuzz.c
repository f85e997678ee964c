/* SPDX-License-Identifier: Apache-2.0 */
/* Any body, JSON when it begins so.  What JSON becomes can be read but for its depth, and what was
 * added is a batch that readers take, as large as the report says. */
#include <assert.h>

#include "proto/otlp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct json_parser *parser;
	struct push_options o = {.discover = {true, true}, .observed_ns = 1, .max_line = 16};
	struct batch_builder *b = batch_builder_new(STR("t"), STR("otlp"), 1);
	struct push_report report = {0};
	struct str body = str_make(data, n);
	struct batch *batch, *again = NULL;
	struct buf bytes = {0}, made = {0};
	size_t n_records = 0;
	int r = 0;

	if (!parser)
		parser = json_parser_new();
	if (str_starts(body, STR("{"))) {
		r = otlp_from_json(parser, body, &made, NULL);
		assert(made.n <= 2 * n + 16);
		body = buf_view(&made);
	}
	if (r == 0 && otlp_check(body, &n_records, NULL) == 0)
		otlp_add(body, &o, b, &report);
	batch = batch_builder_finish(b, 0);
	assert(batch_count(batch) == report.n_accepted);
	assert(report.n_accepted + report.n_bad_labels + report.n_bad_timestamp +
			report.n_bad_entry + report.n_over_limit <=
		n_records);
	for (size_t i = 0; i < batch_count(batch); i++)
		assert(batch_record(batch, i).body.n <= o.max_line);
	buf_str(&bytes, batch_bytes(batch));
	assert(batch_from_bytes(&again, &bytes, NULL) == 0);
	batch_unref(again);
	batch_unref(batch);
	batch_builder_free(b);
	buf_fini(&made);
	return 0;
}
