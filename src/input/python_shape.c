/* SPDX-License-Identifier: Apache-2.0 */
#include "input/python.h"

#include <inttypes.h>
#include <stdio.h>

#include "codec/codec.h"
#include "codec/rune.h"
#include "net/loopback.h"

enum { STREAM_VALUE_MAX = 255 /* bytes of a logger's name as a label */ };

const char *const python_keys[PYTHON_KEYS] = {"host", "app", "logger"};

/* What is known of a record, in the order of the names. */
enum { MORE_CERTIFICATE, MORE_NAME, MORE_PEER, MORE_TRUNCATED, N_MORE };

void python_shaper_fini(struct python_shaper *s)
{
	buf_fini(&s->meta);
}

static void put_pair(struct buf *out, const struct label *l)
{
	varint_put(out, l->name.n);
	buf_str(out, l->name);
	varint_put(out, l->value.n);
	buf_str(out, l->value);
}

/* Merge what is known into the metadata.  Where the sender uses the same name, ours counts: what a
 * sender says of its own address is worth nothing.  Both are sorted. */
static struct str merge(struct buf *out, struct str meta, const struct label more[N_MORE])
{
	size_t n = meta.n ? labels_count(meta) : 0, i = 0;
	struct str at = meta, twin;
	struct label l;

	for (size_t k = 0; k < N_MORE; k++)
		n += more[k].value.n && !(meta.n && labels_get(meta, more[k].name, &twin));
	if (n > LABELS_MAX)
		return meta;
	buf_clear(out);
	varint_put(out, n);
	if (meta.n)
		labels_start(&at);
	while (meta.n && labels_next(&at, &l)) {
		int order = 1;

		for (; i < N_MORE && (order = str_cmp(more[i].name, l.name)) < 0; i++)
			if (more[i].value.n)
				put_pair(out, &more[i]);
		if (i == N_MORE || order != 0 || more[i].value.n == 0)
			put_pair(out, &l);
	}
	for (; i < N_MORE; i++)
		if (more[i].value.n)
			put_pair(out, &more[i]);
	return buf_view(out);
}

bool python_shape(struct python_shaper *s, const struct python_sender *from, struct pylog_record *p,
	struct str values[PYTHON_KEYS])
{
	struct label more[N_MORE] = {
		[MORE_CERTIFICATE] = {STR("certificate"), from->certificate},
		[MORE_NAME] = {STR("name"), STR_NONE},
		[MORE_PEER] = {STR("peer"), STR_NONE},
		[MORE_TRUNCATED] = {STR("truncated_from"), STR_NONE},
	};
	struct record *r = &p->record;
	bool local = loopback_peer(from->ip), known = from->certificate.n > 0;
	bool cut = r->body.n > s->max_line;
	char length[24];

	for (size_t i = 0; i < PYTHON_KEYS; i++)
		values[i] = s->fixed[i];
	if (values[PYTHON_HOST].n == 0)
		values[PYTHON_HOST] = local ? s->own_host : from->ip;
	if (values[PYTHON_LOGGER].n == 0)
		values[PYTHON_LOGGER] = rune_fit(p->logger, STREAM_VALUE_MAX);
	if (!str_eq(values[PYTHON_LOGGER], p->logger))
		more[MORE_NAME].value = rune_fit(p->logger, LABEL_VALUE_MAX);
	/* From this host under its own name: there is nothing to tell. */
	if (from->ip.n && !str_eq(from->ip, values[PYTHON_HOST]) &&
		!(local && str_eq(values[PYTHON_HOST], s->own_host)))
		more[MORE_PEER].value = from->ip;
	if (cut) {
		snprintf(length, sizeof length, "%zu", r->body.n);
		more[MORE_TRUNCATED].value = str_c(length);
		r->body = rune_fit(r->body, s->max_line);
		r->flags |= RECORD_CUT;
	}
	for (size_t i = 0; i < N_MORE; i++)
		known |= more[i].value.n > 0;
	if (known)
		r->meta = merge(&s->meta, r->meta, more);
	return cut;
}

void python_set_level(const struct discover *d, struct str labels, struct record *r)
{
	if (r->severity == 0)
		discover_level(d, labels, r);
	else if (d->level)
		r->flags |= RECORD_LEVEL_DETECTED;
}
