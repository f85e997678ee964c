/* SPDX-License-Identifier: Apache-2.0 */
/* Any body, as a snappy block and as it is; what was added is a batch that readers take. */
#include <assert.h>

#include "codec/codec.h"
#include "proto/lokipush.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void push(struct str body)
{
	struct push_options o = {.discover = {true, true}, .observed_ns = 1, .max_line = 16};
	struct batch_builder *b = batch_builder_new(STR("t"), STR("loki"), 1);
	struct push_report report = {0};
	struct batch *batch, *again = NULL;
	struct buf bytes = {0};
	uint64_t n_refused;
	size_t n_entries;
	struct error e;

	if (lokipush_protobuf_check(body, &n_entries, &e) < 0) {
		assert(e.code == ERR_ARG);
		batch_builder_free(b);
		return;
	}
	lokipush_protobuf(body, &o, b, &report);
	n_refused = report.n_bad_labels + report.n_bad_timestamp + report.n_bad_entry +
		    report.n_over_limit;
	assert(report.n_accepted + n_refused == n_entries);
	assert(!report.first.code == !n_refused);
	batch = batch_builder_finish(b, 0);
	assert(batch_count(batch) == report.n_accepted);
	for (size_t i = 0; i < batch_count(batch); i++)
		assert(batch_record(batch, i).body.n <= o.max_line);
	buf_str(&bytes, batch_bytes(batch));
	assert(batch_from_bytes(&again, &bytes, NULL) == 0);
	batch_unref(again);
	batch_unref(batch);
	batch_builder_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct buf inflated = {0};
	struct str body = str_make(data, n);

	push(body);
	if (snappy_unpack(&inflated, body, 1 << 20, NULL) == 0)
		push(buf_view(&inflated));
	else
		assert(inflated.n == 0);
	buf_fini(&inflated);
	return 0;
}
