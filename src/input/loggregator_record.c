/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a message to a record, and what is not taken.
 *
 * An application's drain urls ride in each of its messages.  They are put into
 * the metadata of the first one, when they change, and where there are any once
 * an hour; so much is remembered of each application in one number.
 */
#include "input/loggregator_input.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/metric.h"
#include "codec/rune.h"
#include "net/loopback.h"
#include "record/severity.h"
#include "record/time.h"

enum {
	DRAINS_BYTES_MAX = 4 << 20, /* of what is remembered of applications */
	HOUR_BITS = 24,
};

/* Of the metadata, when they are due. */
static struct str drains_due(struct loggregator_input *in, const struct loggregator *x)
{
	uint64_t hour = (uint64_t)(in->observed_ns / (3600 * NS_PER_SEC)) & ((1 << HOUR_BITS) - 1);
	union map_value *v;
	uint64_t now;
	bool added;

	if (!x->drains_told)
		return STR("");
	buf_clear(&in->urls);
	loggregator_drain_urls(x, &in->urls);
	/* That an application has none is told once, not each hour. */
	if (x->n_drains == 0)
		hour = 0;
	now = hash_stable(buf_view(&in->urls)) << HOUR_BITS | hour;
	if (in->drains.bytes > DRAINS_BYTES_MAX)
		map_fini(&in->drains);
	v = map_put(&in->drains, x->source_id, &added);
	if (!added && v->u == now)
		return STR("");
	v->u = now;
	return buf_view(&in->urls);
}

/* The level that the text tells, or else of what it was written to. */
static void set_level(struct loggregator_input *in, const struct loggregator *x, struct str labels,
	struct record *r)
{
	discover_level(&in->env->discover, labels, r);
	if (r->severity == SEV_UNKNOWN && x->kind == LOGGREGATOR_LOG)
		r->severity = x->err ? SEV_ERROR : SEV_INFO;
	if (x->kind == LOGGREGATOR_ERROR)
		r->severity = SEV_ERROR;
}

/* The address of who sent it, unless it is this machine. */
static struct str peer_host(const char *peer)
{
	struct str ip = str_c(peer);

	while (ip.n && ip.p[ip.n - 1] != ':')
		ip.n--;
	ip = str_sub(ip, 0, ip.n ? ip.n - 1 : 0);
	return ip.n && !loopback_peer(ip) ? ip : STR("");
}

void loggregator_take(struct loggregator_input *in, const struct loggregator_origin *from,
	const struct loggregator *x)
{
	struct loggregator_beside beside = {
		.peer = peer_host(from->peer), .certificate = from->certificate};
	struct outlet_stream *st;
	struct outlet *o;
	struct record r;
	char length[24];

	if (!(in->kinds & 1U << x->kind)) {
		in->n_unwanted++;
		return;
	}
	beside.drain_urls = drains_due(in, x);
	if (x->payload.n > in->s->max_line) {
		snprintf(length, sizeof length, "%zu", x->payload.n);
		beside.truncated_from = str_c(length);
	}
	loggregator_record(x, &beside, &in->parts, &in->line, &in->meta, &r);
	if (r.body.n > in->s->max_line) {
		r.body = rune_fit(r.body, in->s->max_line);
		r.flags |= RECORD_CUT;
		metric_add(METRIC_cut_records_total, "input=\"loggregator\"", 1);
	}
	if (r.timestamp == 0) {
		r.timestamp = in->observed_ns;
		r.flags |= RECORD_TIME_OBSERVED;
	}
	o = outlets_of(in->outlets, STR_NONE);
	st = outlet_stream(
		o, (struct str[]){STR(""), in->parts.app, in->parts.source, in->parts.event});
	set_level(in, x, outlet_stream_labels(st), &r);
	outlet_add(o, st, &r);
	in->n_taken++;
}

/* What is not taken. */

static void count_refused(struct refusals *f, const char *reason, uint64_t n)
{
	size_t i = 0;

	while (i < f->n && strcmp(f->by[i].reason, reason) != 0)
		i++;
	if (i == REFUSALS_MAX)
		i--; /* there are not so many reasons */
	else if (i == f->n)
		f->by[f->n++].reason = reason;
	f->by[i].n += n;
}

void loggregator_refuse(struct loggregator_input *in, const struct loggregator_origin *from,
	const char *reason, const char *why, uint64_t n)
{
	struct loggregator_port *p = from->port;
	struct refusals *f = &p->refusals;

	in->n_refused += n;
	losses_count(&p->port.losses, reason, n);
	losses_warn(&p->port.losses, why, from->peer);
	f->to_ns = in->observed_ns;
	if (f->n == 0)
		f->from_ns = f->to_ns;
	count_refused(f, reason, n);
	str_copy(str_c(from->peer), f->peer, sizeof f->peer);
}

static void put_refused(const struct loggregator_port *p, struct buf *out)
{
	const struct refusals *f = &p->refusals;
	uint64_t n = 0;

	for (size_t i = 0; i < f->n; i++)
		n += f->by[i].n;
	buf_printf(out, "sawlog: %" PRIu64 " message%s to %s %s refused between ", n,
		n == 1 ? "" : "s", p->port.address, n == 1 ? "was" : "were");
	time_format(out, f->from_ns);
	buf_c(out, " and ");
	time_format(out, f->to_ns);
	for (size_t i = 0; i < f->n; i++)
		buf_printf(out, "%s %" PRIu64 " %s", i ? "," : ":", f->by[i].n, f->by[i].reason);
	if (*f->peer)
		buf_printf(out, "; the last from %s", f->peer);
}

/* In the stream in which lost datagrams are told. */
static void tell_refused(struct loggregator_input *in, struct loggregator_port *p)
{
	struct str values[] = {str_c(in->env->host), STR("loggregator-drops"), STR(""), STR("")};
	struct record r = {.timestamp = p->refusals.to_ns,
		.severity = SEV_WARN,
		.flags = RECORD_GAP | RECORD_TIME_OBSERVED};
	struct outlet *o = outlets_of(in->outlets, STR_NONE);
	struct buf body = {0};

	if (p->refusals.n == 0)
		return;
	put_refused(p, &body);
	r.body = buf_view(&body);
	outlet_add(o, outlet_stream(o, values), &r);
	buf_fini(&body);
	p->refusals = (struct refusals){0};
}

void loggregator_tell_refused(struct loggregator_input *in)
{
	uint64_t unwanted = in->n_unwanted - in->unwanted_told;

	for (size_t i = 0; i < in->ports.n; i++)
		tell_refused(in, &in->all_ports[i]);
	/* The settings say so: it is counted, as all that came is, and no more. */
	if (unwanted)
		losses_count(&in->all_ports[0].port.losses, "type", unwanted);
	in->unwanted_told = in->n_unwanted;
}
