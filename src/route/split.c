/* SPDX-License-Identifier: Apache-2.0 */
#include "route/split.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"

enum { SUFFIX_BYTES = 17 }; /* a mark as text */

void split_marks(const struct split_options *o, uint64_t *marks)
{
	struct buf text = {0};
	uint64_t all = 0;
	size_t shape;

	/* Their order matters to modulo alone. */
	for (size_t i = 0; i < o->n_servers; i++) {
		uint64_t hash = hash_stable(o->servers[i]);

		all = o->scheme == ROUTE_MODULO ? all * 31 + hash : all + hash;
	}
	buf_printf(&text, "%d %d %" PRIx64 " ", o->scheme, o->by, all);
	shape = text.n;
	for (size_t i = 0; i < o->n_servers; i++) {
		text.n = shape;
		buf_str(&text, o->servers[i]);
		marks[i] = hash_stable(buf_view(&text));
	}
	buf_fini(&text);
}

size_t split_server(const struct split_options *o, struct str tenant, struct str labels)
{
	struct str app = STR_NONE;
	struct buf key = {0};
	size_t server;

	labels_get(labels, STR("app"), &app);
	if (o->scheme == ROUTE_MODULO && app.n)
		return shard_modulo(o->n_servers, app);
	if (o->n_servers == 1)
		return 0;
	buf_str(&key, tenant);
	buf_char(&key, 0);
	buf_str(&key, o->by == ROUTE_BY_APP && app.n ? app : labels);
	server = shard_rendezvous(o->servers, o->n_servers, buf_view(&key));
	buf_fini(&key);
	return server;
}

/* One server's share that is being built. */
struct share {
	struct batch_builder *builder;
	uint32_t *streams;  /* 1 + index in it of the batch's streams; 0: not there yet */
	uint16_t *sources;  /* index in it + 1 of the batch's sources; 0: not there yet */
	size_t n_own;       /* records that need the router's source */
	uint64_t own_first; /* number of the first of them */
	uint16_t own;       /* that source */
};

struct split {
	const struct split_options *o;
	const struct batch *b;
	uint32_t *servers; /* of each stream */
	struct share *shares;
};

/* Would a server know a record of this source again?  A token alone does not tell. */
static bool is_known_again(const struct batch *b, uint16_t source)
{
	return source && batch_source(b, source - 1).kind != POSITION_TOKEN;
}

static void share_begin(struct split *s, struct share *share)
{
	share->builder =
		batch_builder_new(batch_tenant(s->b), batch_input(s->b), batch_observed(s->b));
	share->streams = xcalloc(batch_n_streams(s->b), sizeof *share->streams);
	share->sources = xcalloc(batch_n_sources(s->b) + 1, sizeof *share->sources);
}

static void share_fini(struct share *share)
{
	if (!share->builder)
		return;
	batch_builder_free(share->builder);
	free(share->streams);
	free(share->sources);
}

/* Who gets what, and how many numbers each needs. */
static void assign(struct split *s)
{
	for (size_t i = 0; i < batch_n_streams(s->b); i++)
		s->servers[i] =
			(uint32_t)split_server(s->o, batch_tenant(s->b), batch_stream(s->b, i));
	for (size_t i = 0; i < batch_count(s->b); i++) {
		struct record r = batch_record(s->b, i);
		struct share *share = &s->shares[s->servers[r.stream]];

		if (!share->builder)
			share_begin(s, share);
		share->n_own += !is_known_again(s->b, r.source);
	}
}

static int own_source(struct split *s, struct share *share, struct error *e)
{
	size_t server = (size_t)(share - s->shares);
	struct batch_source own = {.id = s->o->sources[server], .kind = POSITION_RANGES};

	own.from = share->own_first = s->o->number(s->o->arg, server, share->n_own);
	own.to = own.from + share->n_own;
	share->own = batch_builder_source(share->builder, &own);
	return share->own ? 0
			  : error_set(e, ERR_LIMIT, "a batch of %zu sources has room for no more",
				    batch_n_sources(s->b));
}

/* The name of a server's share of a source.  A number of a POSITION_SET stands for its own record
 * alone, so that one has no shares. */
static void share_name(
	const struct split *s, size_t server, const struct batch_source *source, struct buf *out)
{
	size_t room = SOURCE_ID_MAX - SUFFIX_BYTES;

	buf_str(out, source->id);
	if (source->kind != POSITION_RANGES || s->o->n_servers == 1)
		return;
	if (out->n > room) {
		out->n = room - SUFFIX_BYTES;
		buf_printf(out, "|%016" PRIx64, hash_stable(source->id));
	}
	buf_printf(out, "|%016" PRIx64, s->o->marks[server]);
	assert(out->n <= SOURCE_ID_MAX);
}

/* The source of the batch in a share: as of batch_builder_source. */
static uint16_t share_source(struct split *s, struct share *share, uint16_t index)
{
	struct batch_source from = batch_source(s->b, index);
	struct buf name = {0};
	uint16_t number;

	/* It may come by another router, or later out of a buffer. */
	if (from.kind == POSITION_MARK)
		from.kind = POSITION_RANGES;
	share_name(s, (size_t)(share - s->shares), &from, &name);
	from.id = buf_view(&name);
	number = batch_builder_source(share->builder, &from);
	buf_fini(&name);
	return number;
}

static int add_record(struct split *s, struct record r, struct error *e)
{
	struct share *share = &s->shares[s->servers[r.stream]];
	struct batch_builder *to = share->builder;
	int code;

	if (!is_known_again(s->b, r.source)) {
		if (!share->own && (code = own_source(s, share, e)) < 0)
			return code;
		r.source = share->own;
		r.position = ++share->own_first;
	} else {
		uint16_t *source = &share->sources[r.source - 1];

		if (!*source)
			*source = share_source(s, share, r.source - 1);
		if (!*source)
			return error_set(e, ERR_LIMIT, "two sources of a batch have one name");
		r.source = *source;
	}
	if (!share->streams[r.stream]) {
		uint32_t stream = batch_builder_stream(to, batch_stream(s->b, r.stream));

		if (stream == BATCH_NO_STREAM)
			return error_set(e, ERR_LIMIT, "too large to be divided");
		share->streams[r.stream] = stream + 1;
	}
	r.stream = share->streams[r.stream] - 1;
	return batch_builder_add(to, &r, e);
}

int split_batch(
	const struct split_options *o, const struct batch *b, struct batch **out, struct error *e)
{
	struct split s = {.o = o, .b = b};
	int r = 0;

	s.servers = xcalloc(batch_n_streams(b) + 1, sizeof *s.servers);
	s.shares = xcalloc(o->n_servers, sizeof *s.shares);
	assign(&s);
	for (size_t i = 0; i < batch_count(b) && r == 0; i++)
		r = add_record(&s, batch_record(b, i), e);
	for (size_t i = 0; i < o->n_servers; i++) {
		struct share *share = &s.shares[i];

		out[i] = r == 0 && share->builder ? batch_builder_finish(share->builder, 0) : NULL;
		share_fini(share);
	}
	free(s.servers);
	free(s.shares);
	return r < 0 ? error_wrap(e, r, "dividing a batch over servers") : 0;
}

/* What of a source the records before the n-th cover. */
static uint64_t covered(const struct batch *b, uint16_t source, size_t n)
{
	struct batch_source s = batch_source(b, source - 1);
	uint64_t end = s.from;
	size_t i;

	for (i = 0; i < n; i++) {
		struct record r = batch_record(b, i);

		if (r.source == source && r.position > end)
			end = r.position;
	}
	while (i < batch_count(b) && batch_record(b, i).source != source)
		i++;
	return i == batch_count(b) || end > s.to ? s.to : end;
}

/* The number in the part of a source of the batch; `sources` holds those that are known. */
static uint16_t part_source(const struct batch *b, struct batch_builder *part, uint16_t source,
	size_t from, size_t to, uint16_t *sources)
{
	uint16_t *number = &sources[source - 1];

	if (!*number) {
		struct batch_source s = batch_source(b, source - 1);

		s.to = covered(b, source, to);
		if (from)
			s.from = covered(b, source, from);
		*number = batch_builder_source(part, &s);
	}
	return *number;
}

struct batch *split_part(const struct batch *b, size_t from, size_t to)
{
	struct batch_builder *part =
		batch_builder_new(batch_tenant(b), batch_input(b), batch_observed(b));
	uint16_t *sources = xcalloc(batch_n_sources(b) + 1, sizeof *sources);
	struct batch *out;

	for (size_t i = from; i < to; i++) {
		struct record r = batch_record(b, i);

		r.stream = batch_builder_stream(part, batch_stream(b, r.stream));
		if (r.source)
			r.source = part_source(b, part, r.source, from, to, sources);
		batch_builder_add(part, &r, NULL); /* a part of a batch has room */
	}
	out = batch_builder_finish(part, 0);
	batch_builder_free(part);
	free(sources);
	return out;
}
