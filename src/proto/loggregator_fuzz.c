/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever is decoded becomes a record with sound metadata, and comes back from it; what is then
 * written in any form is read again. */
#include <assert.h>

#include "proto/loggregator_core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct rig {
	struct arena scratch;
	struct buf line, meta, labels, out, again;
	struct loggregator_parts parts;
};

static void write_labels(struct rig *g)
{
	static const struct str names[] = {
		STR_INIT("app"), STR_INIT("event"), STR_INIT("input"), STR_INIT("source")};
	struct str values[] = {g->parts.app, g->parts.event, STR("loggregator"), g->parts.source};

	buf_clear(&g->labels);
	labels_write(&g->labels, names, values, 4);
}

static void write_all(struct rig *g, const struct loggregator *x)
{
	static const struct loggregator_secret none;
	struct loggregator y;
	const char *reason;

	buf_clear(&g->out);
	loggregator_put_v2(&g->out, x);
	assert(loggregator_decode_v2(&y, buf_view(&g->out), &g->scratch, NULL) == 0);
	assert(y.kind == x->kind || x->kind == LOGGREGATOR_ERROR);
	assert(y.n_metrics == x->n_metrics && str_eq(y.source_id, x->source_id));
	buf_clear(&g->out);
	loggregator_put_json(&g->out, x);
	buf_clear(&g->out);
	loggregator_put_message(&g->out, x);
	if (x->source_id.n && g->out.n < LOGGREGATOR_DATAGRAM_MAX)
		assert(loggregator_decode(&y, buf_view(&g->out), LOGGREGATOR_2013, &none,
			       &g->scratch, &reason, NULL) == 0);
	for (size_t i = 0; i < loggregator_n_envelopes(x); i++) {
		buf_clear(&g->out);
		loggregator_put_envelope(&g->out, x, i);
		if (g->out.n < LOGGREGATOR_DATAGRAM_MAX)
			assert(loggregator_decode(&y, buf_view(&g->out), LOGGREGATOR_DROPSONDE,
				       &none, &g->scratch, &reason, NULL) == 0);
	}
}

static int take(void *arg, const struct loggregator *x)
{
	struct rig *g = arg;
	struct loggregator y;
	struct record r;

	buf_clear(&g->again);
	loggregator_drain_urls(x, &g->again);
	loggregator_record(x, &(struct loggregator_beside){.drain_urls = buf_view(&g->again)},
		&g->parts, &g->line, &g->meta, &r);
	assert(r.meta.n == 0 || labels_check(r.meta, NULL) == 0);
	write_labels(g);
	loggregator_of(&y, r.timestamp, buf_view(&g->labels), r.meta, r.body, 0);
	assert(y.kind == x->kind || x->kind == LOGGREGATOR_LOG);
	assert(y.timestamp == x->timestamp);
	if (x->kind == LOGGREGATOR_LOG || x->kind == LOGGREGATOR_ERROR)
		assert(str_eq(y.payload, x->payload) && y.err == x->err);
	if (x->kind == LOGGREGATOR_COUNTER)
		assert(y.delta == x->delta && y.total == x->total);
	if (x->kind == LOGGREGATOR_TIMER)
		assert(y.start_ns == x->start_ns && y.stop_ns == x->stop_ns);
	write_all(g, x);
	write_all(g, &y);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct loggregator_secret secret = {0};
	struct str bytes = str_make(data, size);
	struct rig g = {0};
	struct loggregator x;
	const char *reason;

	arena_init(&g.scratch, NULL);
	for (int i = 0; i < 6; i++) {
		if (i == 3)
			loggregator_secret_init(&secret, STR("secret"));
		secret.required = false;
		if (loggregator_decode(&x, bytes, i % 3, &secret, &g.scratch, &reason, NULL) == 0)
			take(&g, &x);
	}
	loggregator_signature(bytes);
	loggregator_decode_batch(bytes, &g.scratch, take, &g, NULL);
	if (loggregator_decode_v2(&x, bytes, &g.scratch, NULL) == 0)
		take(&g, &x);
	/* Labels and metadata of any input. */
	if (labels_check(bytes, NULL) == 0) {
		loggregator_of(&x, 1, bytes, bytes, bytes, 17);
		write_all(&g, &x);
	}
	arena_fini(&g.scratch);
	buf_fini(&g.line);
	buf_fini(&g.meta);
	buf_fini(&g.labels);
	buf_fini(&g.out);
	buf_fini(&g.again);
	buf_fini(&g.parts.source_text);
	return 0;
}
