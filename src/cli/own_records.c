/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/own_records.h"

#include "base/log.h"
#include "os/clock.h"

void own_records_init(struct own_records *o, struct sink *sink)
{
	*o = (struct own_records){.sink = sink};
	lock_init(&o->lock);
	cond_init(&o->committed);
}

static void on_done(void *arg, const struct sink_result *result)
{
	struct own_records *o = arg;

	if (result->code < 0)
		log_warn("serve", "a record of the server's own was not stored: %s",
			result->error.text);
	lock_take(&o->lock);
	o->n_open--;
	cond_signal(&o->committed);
	lock_drop(&o->lock);
}

static void submit(struct own_records *o, struct batch *b)
{
	struct error e;

	lock_take(&o->lock);
	o->n_open++;
	lock_drop(&o->lock);
	if (sink_submit(o->sink, b, on_done, o, &e) == 0)
		return;
	batch_unref(b);
	on_done(o, &(struct sink_result){.code = e.code, .error = e});
}

static void write_labels(
	const struct discover *d, const char *input, const char *logger, struct buf *out)
{
	struct labels_builder labels = {0};

	labels_builder_set(&labels, STR("app"), str_c(logger), NULL);
	labels_builder_set(&labels, STR("logger"), str_c(logger), NULL);
	labels_builder_set(&labels, STR("input"), str_c(input), NULL);
	discover_service_name(d, &labels);
	labels_builder_write(&labels, out);
	labels_builder_fini(&labels);
}

void own_records_say(struct own_records *o, const struct discover *d, const char *input,
	const char *logger, uint8_t severity, struct str line)
{
	int64_t now = clock_now_ns(clock_real());
	struct batch_builder *b = batch_builder_new(STR("default"), str_c(input), now);
	struct record r = {.timestamp = now, .severity = severity, .body = line};
	struct buf labels = {0};

	write_labels(d, input, logger, &labels);
	discover_level(d, buf_view(&labels), &r);
	r.stream = batch_builder_stream(b, buf_view(&labels));
	if (batch_builder_add(b, &r, NULL) == 0)
		submit(o, batch_builder_finish(b, now));
	batch_builder_free(b);
	buf_fini(&labels);
}

void own_records_wait(struct own_records *o, unsigned ms)
{
	int64_t end = clock_mono_ns(clock_real()) + ms * NS_PER_MS, left;

	lock_take(&o->lock);
	while (o->n_open > 0 && (left = end - clock_mono_ns(clock_real())) > 0)
		cond_wait_for(&o->committed, &o->lock, left);
	lock_drop(&o->lock);
}
