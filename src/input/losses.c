/* SPDX-License-Identifier: Apache-2.0 */
#include "input/losses.h"

#include <inttypes.h>

#include "base/log.h"
#include "base/metric.h"
#include "record/severity.h"
#include "record/time.h"

enum { SAY_S = 10 /* between two warnings of one address */ };

void losses_count(struct losses *l, const char *reason, uint64_t n)
{
	l->env->sink->account(l->env->sink, l->env->tenant, str_c(l->input), reason, n, false);
}

void losses_add(struct losses *l, uint64_t n)
{
	/* Told once a second: one record says as much as one for each read. */
	l->to_ns = clock_now_ns(l->env->clock);
	if (l->n == 0)
		l->from_ns = l->to_ns;
	l->n += n;
}

void losses_tell(struct losses *l, struct outlet *o, const struct str values[])
{
	struct record r = {.timestamp = l->to_ns,
		.severity = SEV_WARN,
		.flags = RECORD_GAP | RECORD_TIME_OBSERVED};
	struct buf body = {0};

	if (l->n == 0)
		return;
	losses_count(l, "kernel_drop", l->n);
	buf_printf(
		&body, "sawlog: %" PRIu64 " datagrams to %s were lost between ", l->n, l->address);
	time_format(&body, l->from_ns);
	buf_c(&body, " and ");
	time_format(&body, l->to_ns);
	buf_c(&body, ": the receive buffer was full (receive_buffer is ");
	size_format(&body, l->receive_buffer);
	buf_c(&body, ")");
	log_warn("input", "%s: %.*s", l->input, STR_ARG(buf_view(&body)));
	r.body = buf_view(&body);
	outlet_add(o, outlet_stream(o, values), &r);
	buf_fini(&body);
	l->n = 0;
}

void losses_warn(struct losses *l, const char *what, const char *peer)
{
	int64_t now = clock_mono_ns(l->env->clock);

	if (l->said_ns && now - l->said_ns < SAY_S * NS_PER_SEC)
		return;
	l->said_ns = now;
	log_warn("input", "%s: %s: %s %s (more of it is counted and not told for %d s)", l->input,
		l->address, *peer ? peer : "a client", what, SAY_S);
}

void losses_warn_refused(struct losses *l, const char *why, const char *peer)
{
	struct buf what = {0};

	buf_printf(&what, "is refused: %s", why);
	losses_warn(l, buf_cstr(&what), peer);
	buf_fini(&what);
}

void losses_refused(struct losses *l, const struct refusal *r)
{
	struct buf labels = {0};

	l->n_refused++;
	if (l->datagrams) {
		losses_count(l, r->reason, 1);
	} else {
		metric_label(&labels, "input", str_c(l->input));
		metric_label(&labels, "reason", str_c(r->reason));
		metric_add(METRIC_refused_connections_total, buf_cstr(&labels), 1);
		buf_fini(&labels);
	}
	losses_warn_refused(l, r->why, r->peer);
}
