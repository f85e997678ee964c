/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The entries of a push on their way into a batch: what its forms, JSON and
 * protobuf, have in common.  One stream at a time, and one entry of it; what
 * is refused costs itself, is counted by reason, and the first is told in full.
 *
 *   entries_init
 *     labels_builder_set(&e.labels, …), then entries_stream     each stream
 *       entries_begin, entries_meta …, entries_add              each entry
 *   entries_fini
 *
 * Labels and metadata go through builders that are kept for the whole body:
 * an entry allocates nothing.  One thread.
 */
#include "proto/lokipush.h"

struct entries {
	const struct push_options *options;
	struct push_report *report;
	struct batch_builder *into;
	size_t max_line;
	/* Their names in the body, for sentences: "streams", "values". */
	const char *streams, *list;
	/* The stream at hand. */
	size_t stream_i;              /* in the body; the caller counts */
	struct labels_builder labels; /* filled by the caller */
	struct buf stream;            /* canonical bytes */
	uint8_t told;                 /* the level of its labels */
	uint32_t stream_id;           /* in the batch, once an entry was taken */
	bool has_id;
	/* The entry at hand. */
	size_t entry_i; /* the caller counts */
	struct labels_builder meta;
	struct buf meta_bytes;
	uint8_t severity, flags; /* told by the sender; the caller sets them behind entries_begin */
};

void entries_init(struct entries *p, const char *list, const struct push_options *o,
	struct batch_builder *into, struct push_report *report);
void entries_fini(struct entries *p);

/* Where the sentence of a refusal goes: NULL but for the first. */
struct error *entries_error(struct entries *p);
/* A text of the sender's as it may stand in a sentence. */
enum { ENTRIES_SHOWN = 104 };
const char *entries_show(struct str text, char out[ENTRIES_SHOWN]);

/* Forget the labels of the stream before. */
void entries_clear(struct entries *p);
/* The labels are there: false when there are none, which refuses the stream's n_entries. */
bool entries_stream(struct entries *p, size_t n_entries);
/* Refuse a stream for labels that make no sense: `text` is what they were. */
void entries_bad_labels(
	struct entries *p, struct str text, const struct error *why, size_t n_entries);

void entries_begin(struct entries *p);
/* Refuse the entry: "entry for stream '{a="b"}' <what> (streams[0].values[7])". */
void entries_refuse(struct entries *p, uint64_t *counter, int code, const char *what);
/* Add a pair to the entry's metadata; false: the entry is refused. */
bool entries_meta(struct entries *p, struct str name, struct str value);
void entries_add(struct entries *p, int64_t timestamp, struct str line);
