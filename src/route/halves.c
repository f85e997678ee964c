/* SPDX-License-Identifier: Apache-2.0 */
#include "route/halves.h"

#include "base/log.h"
#include "base/metric.h"
#include "route/split.h"

static bool deliver_part(const struct halves *h, const struct batch *b, size_t from, size_t to)
{
	struct batch *part = split_part(b, from, to);
	bool went = halves_deliver(h, part);

	batch_unref(part);
	return went;
}

bool halves_deliver(const struct halves *h, struct batch *b)
{
	size_t n = batch_count(b);
	struct sink_result result;

	if (!h->deliver(h->arg, b, &result))
		return false;
	if (result.code == 0)
		return true;
	if (n > 1)
		return deliver_part(h, b, 0, n / 2) && deliver_part(h, b, n / 2, n);
	if (n == 1)
		h->refused(h->arg, b, &result.error);
	return true;
}

void halves_tell_lost(const char *where, const struct batch *b, const struct error *why)
{
	struct record r = batch_record(b, 0);
	struct buf labels = {0}, stream = {0};

	labels_text(&stream, batch_stream(b, r.stream));
	log_error("route", "%s refuses a record of %s, which is lost: %s", where, buf_cstr(&stream),
		why->text);
	metric_label(&labels, "input", batch_input(b));
	metric_label(&labels, "tenant", batch_tenant(b));
	metric_label(&labels, "reason", str_c(error_name(why->code)));
	metric_add(METRIC_dropped_records_total, buf_cstr(&labels), 1);
	buf_fini(&labels);
	buf_fini(&stream);
}
