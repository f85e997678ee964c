/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  A batch that comes in is divided (split.c) on its sender's thread,
 * and each share goes to its server's lane (lane.c).  It is acknowledged when
 * all shares are.  Nothing is taken unless all lanes that get a share have
 * room: so a sender is never told "half of it".
 *
 * A server is known by its URL: also its buffer's folder is.  A folder whose
 * server is no longer in the zone is emptied first: its batches are divided
 * anew, as any that come in (leftover.c).
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metric.h"
#include "os/clock.h"
#include "record/civil.h"
#include "route/lane.h"
#include "route/leftover.h"
#include "route/route.h"
#include "route/split.h"

enum {
	MEMORY_SHARE = 4, /* of the ceiling: what all lanes together have under way at most */
	MEMORY_MIN = 256 << 10,
};

struct router {
	struct sink sink; /* first: the sink is the router */
	/* Fixed after open. */
	struct account *account;
	char *zone;
	struct lane **lanes;
	struct str *servers; /* their URLs */
	struct str *sources; /* ids of its own, one for each: terminated, on the heap */
	uint64_t *marks;     /* of their shares */
	size_t n;
	struct split_options split;
	struct leftover *leftover; /* NULL: none */
	/* Atomic. */
	_Atomic uint64_t batches, refused;
};

/* A batch on its way to several servers. */
struct delivery {
	sink_done *done;
	void *arg;
	/* Of the whole batch, which may be gone by then. */
	char tenant[TENANT_MAX + 1], input[INPUT_MAX + 1];
	uint64_t n_records;
	_Atomic unsigned n_open;
	/* Under lock. */
	struct lock lock;
	struct sink_result result;
};

/* What becomes of records is counted as by a store: each is received then, too. */
static void count(
	enum metric what, struct str tenant, struct str input, const char *reason, uint64_t n)
{
	struct buf labels = {0};

	if (n == 0)
		return;
	metric_label(&labels, "input", input);
	metric_label(&labels, "tenant", tenant);
	metric_add(METRIC_received_records_total, buf_cstr(&labels), (int64_t)n);
	if (reason)
		metric_label(&labels, "reason", str_c(reason));
	metric_add(what, buf_cstr(&labels), (int64_t)n);
	buf_fini(&labels);
}

/* How bad: a refusal for good first, as its sender must change something. */
static int rank(int code)
{
	switch (code) {
	case 0: return 0;
	case ERR_ARG:
	case ERR_LIMIT:
	case ERR_DENIED: return 2;
	default: return 1;
	}
}

static void count_taken(const struct delivery *d)
{
	uint64_t n = d->n_records, known = d->result.n_duplicates;

	if (known > n)
		known = n;
	count(METRIC_deduplicated_records_total, str_c(d->tenant), str_c(d->input), NULL, known);
	count(METRIC_committed_records_total, str_c(d->tenant), str_c(d->input), NULL, n - known);
}

static void delivered(void *arg, const struct sink_result *part)
{
	struct delivery *d = arg;

	lock_take(&d->lock);
	if (rank(part->code) > rank(d->result.code)) {
		d->result.code = part->code;
		d->result.error = part->error;
	}
	d->result.n_committed += part->n_committed;
	d->result.n_duplicates += part->n_duplicates;
	d->result.n_too_old += part->n_too_old;
	lock_drop(&d->lock);
	if (atomic_fetch_sub(&d->n_open, 1) > 1)
		return;
	if (d->result.code == 0)
		count_taken(d);
	d->done(d->arg, &d->result);
	lock_fini(&d->lock);
	free(d);
}

static uint64_t take_numbers(void *arg, size_t server, uint64_t n)
{
	struct router *r = arg;

	return lane_number(r->lanes[server], n);
}

static void hand_out(
	struct router *r, const struct batch *b, struct batch **shares, sink_done *done, void *arg)
{
	struct delivery *d = xcalloc(1, sizeof *d);
	struct sink_result closed = {0};
	unsigned n = 1; /* nobody is told before all are handed out */

	lock_init(&d->lock);
	d->done = done;
	d->arg = arg;
	d->n_records = batch_count(b);
	str_copy(batch_tenant(b), d->tenant, sizeof d->tenant);
	str_copy(batch_input(b), d->input, sizeof d->input);
	for (size_t i = 0; i < r->n; i++)
		n += shares[i] != NULL;
	atomic_store(&d->n_open, n);
	for (size_t i = 0; i < r->n; i++) {
		if (!shares[i] || lane_add(r->lanes[i], shares[i], delivered, d))
			continue;
		batch_unref(shares[i]);
		closed.code = error_set(
			&closed.error, ERR_CLOSED, "the router is stopping: send it again later");
		delivered(d, &closed);
	}
	delivered(d, &(struct sink_result){0});
}

static int check_room(struct router *r, struct batch **shares, struct error *e)
{
	int code = 0;

	for (size_t i = 0; i < r->n && code == 0; i++)
		if (shares[i])
			code = lane_room(r->lanes[i], batch_bytes(shares[i]).n, e);
	return code;
}

static int submit(struct sink *s, struct batch *b, sink_done *done, void *arg, struct error *e)
{
	struct router *r = CONTAINER(s, struct router, sink);
	uint64_t bytes = batch_bytes(b).n;
	struct batch **shares;
	int code;

	/* While it is divided it is there twice. */
	if (account_charge(r->account, bytes) < 0)
		return error_set(e, ERR_BUSY,
			"no memory for %" PRIu64 " bytes of records now: try again in a second",
			bytes);
	shares = xcalloc(r->n, sizeof *shares);
	if ((code = split_batch(&r->split, b, shares, e)) == 0 &&
		(code = check_room(r, shares, e)) == 0) {
		atomic_fetch_add(&r->batches, 1);
		hand_out(r, b, shares, done, arg);
		batch_unref(b);
	} else {
		atomic_fetch_add(&r->refused, 1);
		for (size_t i = 0; i < r->n; i++)
			batch_unref(shares[i]);
	}
	free(shares);
	account_release(r->account, bytes);
	return code;
}

/* Servers know their marks; nobody is asked before. */
static int position(
	struct sink *s, struct str tenant, struct str source, struct buf *token, uint64_t *mark)
{
	(void)s;
	(void)tenant;
	(void)source;
	(void)token;
	(void)mark;
	return ERR_NOT_FOUND;
}

static void count_lost(struct sink *s, struct str tenant, struct str input, const char *reason,
	uint64_t n, bool answered)
{
	(void)s;
	count(answered ? METRIC_rejected_records_total : METRIC_dropped_records_total, tenant,
		input, reason, n);
}

/* Life */

/* A name for people, and a hash that tells those apart that look alike. */
static void folder_of(const char *dir, const char *url, struct buf *out)
{
	struct str name = str_c(url);
	ptrdiff_t at = str_find(name, STR("://"));

	buf_printf(out, "%s/", dir);
	if (at >= 0)
		name = str_sub(name, (size_t)at + 3, name.n);
	for (size_t i = 0; i < name.n && i < 100; i++) {
		char c = name.p[i];
		bool plain = is_alpha(c) || is_digit(c) || (c == '.' && i > 0) || c == '-';

		buf_char(out, plain ? c : '_');
	}
	buf_printf(out, "-%08" PRIx32, (uint32_t)hash_stable(str_c(url)));
}

/* Each life counts its numbers from 0, for each server. */
static struct str own_source(const struct router_options *o, const char *url)
{
	struct buf id = {0};

	buf_printf(&id, "route:%s:%" PRIx64 ":%08" PRIx32, o->instance,
		(uint64_t)clock_now_ns(clock_real()), (uint32_t)hash_stable(str_c(url)));
	buf_cstr(&id); /* terminated */
	return str_c(buf_take(&id).p);
}

static int open_lane(struct router *r, const struct router_options *o, const char *url,
	const char *dir, uint64_t memory, struct error *e)
{
	const struct route_settings *s = o->s;
	struct lane_options lane = {.server = {.urls = &url,
					    .n_urls = 1,
					    .token_file = s->token_file,
					    .ca = s->ca,
					    .cert = s->cert,
					    .key = s->key,
					    .router = true},
		.zone = r->zone,
		.fs = o->fs,
		.dir = dir,
		.account = o->account,
		.memory = memory,
		.buffer = s->buffer,
		.spill_after_ns = s->spill_after};
	int code = lane_open(&r->lanes[r->n], &lane, e);

	if (code < 0)
		return error_wrap(e, code, "route: %s", url);
	r->servers[r->n] = str_c(lane_url(r->lanes[r->n]));
	r->sources[r->n] = own_source(o, url);
	r->n++;
	return 0;
}

static int open_lanes(struct router *r, const struct router_options *o, const struct strings *urls,
	struct error *e)
{
	uint64_t memory = o->account->limit / MEMORY_SHARE / urls->n;
	struct buf *dirs = xcalloc(urls->n, sizeof *dirs);
	int code = 0;

	r->lanes = xcalloc(urls->n, sizeof *r->lanes);
	r->servers = xcalloc(urls->n, sizeof *r->servers);
	r->sources = xcalloc(urls->n, sizeof *r->sources);
	for (size_t i = 0; i < urls->n && code == 0; i++) {
		folder_of(o->dir, urls->items[i], &dirs[i]);
		code = open_lane(r, o, urls->items[i], buf_cstr(&dirs[i]),
			memory < MEMORY_MIN ? MEMORY_MIN : memory, e);
	}
	r->marks = xcalloc(urls->n, sizeof *r->marks);
	r->split = (struct split_options){.servers = r->servers,
		.n_servers = r->n,
		.scheme = (enum route_scheme)o->s->scheme,
		.by = (enum route_key)o->s->by,
		.sources = r->sources,
		.marks = r->marks,
		.number = take_numbers,
		.arg = r};
	split_marks(&r->split, r->marks);
	if (code == 0)
		code = leftover_open(&r->leftover, o->fs, o->dir, dirs, urls->n, &r->sink, e);
	for (size_t i = 0; i < urls->n; i++)
		buf_fini(&dirs[i]);
	free(dirs);
	return code;
}

int router_open(struct router **out, const struct router_options *o, struct error *e)
{
	const struct string_group *zone = route_zone(o->s);
	struct router *r;
	int code;

	if ((code = route_check(o->s, e)) < 0 || (code = fs_mkdir(o->fs, o->dir, e)) < 0)
		return code;
	r = xcalloc(1, sizeof *r);
	r->sink = (struct sink){.submit = submit, .position = position, .account = count_lost};
	r->account = o->account;
	r->zone = xstrdup(zone->name);
	code = open_lanes(r, o, &zone->values, e);
	if (code < 0) {
		router_close(r, 0);
		return code;
	}
	*out = r;
	return 0;
}

struct sink *router_sink(struct router *r)
{
	return &r->sink;
}

void router_hurry(struct router *r)
{
	for (size_t i = 0; i < r->n; i++)
		lane_hurry(r->lanes[i]);
}

void router_close(struct router *r, unsigned ms)
{
	int64_t until = clock_mono_ns(clock_real()) + ms * NS_PER_MS;

	leftover_end(r->leftover);
	for (size_t i = 0; i < r->n; i++)
		lane_end(r->lanes[i]);
	router_hurry(r);
	for (size_t i = 0; i < r->n; i++)
		lane_close(r->lanes[i], until);
	leftover_close(r->leftover);
	free(r->zone);
	for (size_t i = 0; i < r->n; i++)
		free((char *)r->sources[i].p);
	free(r->sources);
	free(r->marks);
	free(r->lanes);
	free(r->servers);
	free(r);
}

void router_dump(struct router *r, struct buf *out)
{
	buf_printf(out,
		"route: zone %s, %zu servers, %" PRIu64 " batches taken, %" PRIu64 " refused\n",
		r->zone, r->n, atomic_load(&r->batches), atomic_load(&r->refused));
	for (size_t i = 0; i < r->n; i++) {
		struct lane_stats s;

		lane_stats(r->lanes[i], &s);
		buf_printf(out,
			"  %s: %s, %" PRIu64 " batches of %" PRIu64 " records (%" PRIu64
			" duplicates), %" PRIu64 " retries, %" PRIu64 " bytes in memory, %" PRIu64
			" batches of %" PRIu64 " bytes in its buffer\n",
			lane_url(r->lanes[i]),
			s.connected         ? "connected"
			: s.last_error.code ? s.last_error.text
					    : "not used yet",
			s.batches, s.records, s.duplicates, s.retries, s.queued_bytes,
			s.buffer_batches, s.buffer_bytes);
	}
}

void router_metrics(struct router *r)
{
	for (size_t i = 0; i < r->n; i++) {
		struct buf labels = {0};
		struct lane_stats s;

		lane_stats(r->lanes[i], &s);
		metric_label(&labels, "server", r->servers[i]);
		metric_set(METRIC_route_records_total, buf_cstr(&labels), (int64_t)s.records);
		metric_set(METRIC_route_bytes_total, buf_cstr(&labels), (int64_t)s.bytes);
		metric_set(METRIC_route_failures_total, buf_cstr(&labels), (int64_t)s.retries);
		metric_set(METRIC_route_refused_records_total, buf_cstr(&labels),
			(int64_t)s.refused_records);
		metric_set(METRIC_route_spilled_batches_total, buf_cstr(&labels),
			(int64_t)s.spilled_batches);
		metric_set(METRIC_route_buffer_bytes, buf_cstr(&labels), (int64_t)s.buffer_bytes);
		metric_set(METRIC_route_memory_bytes, buf_cstr(&labels), (int64_t)s.queued_bytes);
		metric_set(METRIC_route_connected, buf_cstr(&labels), s.failing_ns == 0);
		buf_fini(&labels);
	}
}
