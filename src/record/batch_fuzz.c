/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a batch; what is taken is read whole, and is the one encoding of what it says. */
#include <assert.h>
#include <stdlib.h>

#include "record/batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile uint64_t sum; /* keeps the reads */

static void read_text(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		sum += (unsigned char)s.p[i];
}

static void read_labels(struct str labels)
{
	struct label l;

	labels_start(&labels);
	while (labels_next(&labels, &l)) {
		read_text(l.name);
		read_text(l.value);
	}
}

static void read_batch(const struct batch *b)
{
	uint64_t raw = 0;

	assert(tenant_valid(batch_tenant(b)));
	read_text(batch_input(b));
	for (size_t i = 0; i < batch_n_streams(b); i++)
		read_labels(batch_stream(b, i));
	for (size_t i = 0; i < batch_n_sources(b); i++) {
		struct batch_source s = batch_source(b, i);
		read_text(s.id);
		read_text(s.token);
	}
	for (size_t i = 0; i < batch_count(b); i++) {
		struct record r = batch_record(b, i);
		read_text(r.body);
		read_labels(r.meta);
		assert(r.stream < batch_n_streams(b) && r.source <= batch_n_sources(b));
		assert(r.timestamp >= batch_min_time(b) && r.timestamp <= batch_max_time(b));
		raw += r.body.n;
	}
	assert(raw == batch_raw_bytes(b));
}

static void copy(const struct batch *b)
{
	uint8_t *none = calloc(1, batch_count(b) / 8 + 1);
	struct batch *same = batch_without(b, none), *checked = NULL;
	struct buf bytes = {0};

	read_batch(same);
	assert(batch_count(same) == batch_count(b));
	buf_str(&bytes, batch_bytes(same));
	assert(batch_from_bytes(&checked, &bytes, NULL) == 0);
	batch_unref(checked);
	batch_unref(same);
	free(none);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct batch *b = NULL;
	struct buf bytes = {malloc(n ? n : 1), n, n};
	struct error e;

	assert(bytes.p);
	memcpy(bytes.p, data, n);
	if (batch_from_bytes(&b, &bytes, &e) < 0)
		return 0;
	read_batch(b);
	copy(b);
	batch_unref(b);
	return 0;
}
