/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The fixed columns of a block: all that its rows have besides lines and
 * metadata.  How each is written, and read again.  Format: doc/format/part.md.
 *
 * Rows stand in zones in which times do not descend, and differences begin anew
 * with each zone.  Where streams are large the rows of each stand together, in
 * one zone or, after a merge of parts whose times overlap, several.  Where they
 * are small a block is mixed: a zone holds rows of any of them.
 * Thread rule: pure; a struct fixed belongs to one thread.
 */
#include "store/parts/numbers.h"
#include "store/parts/part.h"

/* How a position is foretold; on disk. */
enum fixed_foretold {
	FORETOLD_NOT,    /* it is not */
	FORETOLD_NEXT,   /* one more than that of the row before of its source */
	FORETOLD_OFFSET, /* the same plus the length of the line: offsets behind newlines */
	N_FORETOLD,
};

struct fixed_zone {
	uint32_t stream; /* local; 0 in a mixed block */
	uint32_t n;      /* rows */
};

/* As the writer gathers them. */
struct fixed {
	struct account *account; /* what it holds is charged here without asking */
	uint32_t n, cap;
	int64_t *timestamp;
	uint64_t *seq, *position;
	uint32_t *stream; /* local when it is written; of rows that come, the part's */
	uint32_t *source; /* 1 + local index, 0 for none */
	uint32_t *length; /* of the line; not written */
	uint32_t *meta;   /* 1 + index of an entry, 0 for none; see meta.h */
	uint8_t *severity, *flags;
	struct fixed_zone *zones; /* made of times and streams by fixed_make_zones */
	uint32_t n_zones, cap_zones;
	bool mixed;
};

/* Room for one more row. */
void fixed_grow(struct fixed *f);
/* The streams of the rows are local now: cut them into zones. */
void fixed_make_zones(struct fixed *f);
void fixed_clear(struct fixed *f);
void fixed_fini(struct fixed *f);

void fixed_put_zones(const struct fixed *f, struct buf *out, int level);
void fixed_put_times(const struct fixed *f, struct buf *out, int level);
void fixed_put_seqs(const struct fixed *f, struct buf *out, int level);
/* Severities or flags: most lines of a template have the same. */
void fixed_put_bytes(const uint8_t *v, uint32_t n, const uint32_t *template_of, size_t n_templates,
	struct buf *out, int level);
void fixed_put_sources(const struct fixed *f, uint32_t n_sources, struct buf *out, int level);

/* Reading: all make the reader bad at what does not fit, also at bytes that are left over. */

/* Returns how many zones.  *zones and *streams, the local stream of each row of a mixed block (else
 * NULL), are on the heap, whatever happens. */
uint32_t fixed_get_zones(struct reader *in, uint32_t n, uint32_t n_streams,
	struct fixed_zone **zones, uint32_t **streams);
void fixed_get_times(struct reader *in, const struct fixed_zone *zones, uint32_t n_zones,
	uint32_t n, int64_t *out);
void fixed_get_seqs(struct reader *in, const struct fixed_zone *zones, uint32_t n_zones, uint32_t n,
	uint64_t *out);
/* `template_of` is asked for where it is needed; ctx and e are handed to it. */
typedef int fixed_templates(void *ctx, const uint16_t **out, struct error *e);
int fixed_get_bytes(struct reader *in, uint32_t n, size_t n_templates, fixed_templates *templates,
	void *ctx, uint8_t *out, struct error *e);
/* An empty column is: no sources, no positions.  `lengths` as templates above. */
typedef int fixed_lengths(void *ctx, const uint32_t **out, struct error *e);
int fixed_get_sources(struct reader *in, const struct fixed_zone *zones, uint32_t n_zones,
	uint32_t n, uint32_t n_sources, fixed_lengths *lengths, void *ctx, uint32_t *source,
	uint64_t *position, struct error *e);
