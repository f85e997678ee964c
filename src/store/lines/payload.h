/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The payload of a block: chunks, and a directory that says what is in them.
 *
 *     header     stored and raw bytes of the directory, CRC-32C of both and of
 *                the stored directory: three 32-bit numbers, little-endian
 *     directory  packed with zstd when raw > stored
 *     chunks     one behind the other, in the order of the directory:
 *                  1. template ids, when there are templates: per row 0 (plain)
 *                     or 1 + local index; one byte a row with up to 255
 *                     templates, else all low bytes, then all high bytes
 *                  2. shared chunks: encoded columns and strings of pools of
 *                     less than PAYLOAD_SMALL bytes, one behind the other
 *                  3. encoded columns that have a chunk of their own, by
 *                     template and slot; then those of the pools
 *                  4. when there are plain rows: their lengths, a varint each
 *                  5. their bytes, as one string cut into pieces of exactly
 *                     PAYLOAD_PIECE bytes, but for the last: so a plain line
 *                     lies in pieces at / PAYLOAD_PIECE and following
 *
 * The directory: varints n_rows, n_plain, plain_bytes, n_templates, n_shared,
 * n_pools, n_chunks; per chunk varint stored << 1 | packed, varint raw when it
 * is packed, CRC-32C of the stored bytes (32 bits, little-endian); per template
 * and slot a varint: 0 in a pool, whose number follows as a varint, 1 the next
 * chunk of its own, 1 + n: n bytes at the next place of the shared chunks (a place
 * does not straddle two of them); behind it, unless it is 0, where the slot is
 * SLOT_NUMBER or SLOT_TEXT, a byte: how long its longest value is, so that a search
 * for a longer text leaves the column alone; per pool kind, width (a byte each; that
 * of numbers is how long the longest is), varint uses and two varints as those of
 * slots: references, values.  How many slots a template has is said by the
 * templates, which are not in the block.
 *
 * The uses of a pool go by row, then by slot, over all columns that are in it:
 * column i of a template takes the next use for each row.
 *
 * Nothing is trusted: payload_decode checks every number against the others
 * and the limits here before it reserves memory for it, and the chunks fill the
 * payload exactly.  Thread rule: pure.
 */
#include "base/buf.h"
#include "base/error.h"
#include "store/lines/template.h"

enum {
	PAYLOAD_HEADER = 12,             /* bytes */
	PAYLOAD_SMALL = 1 << 10,         /* a column of so many has a chunk of its own */
	PAYLOAD_SHARED = 256 << 10,      /* a shared chunk of so many is closed */
	PAYLOAD_PIECE = 1 << 20,         /* of plain lines */
	PAYLOAD_CHUNK_MAX = 65 << 20,    /* raw bytes of a chunk */
	PAYLOAD_DIRECTORY_MAX = 8 << 20, /* raw bytes */
	PAYLOAD_SLOTS_MAX = 1 << 19,     /* of all templates of a block */
	PAYLOAD_POOLS_MAX = 512,
	PAYLOAD_ROWS_MAX = 1 << 24,
};

struct payload_chunk {
	uint64_t at; /* in the payload */
	uint32_t stored, raw;
	uint32_t crc; /* of the stored bytes */
	bool packed;  /* else stored as it is */
};

/* Where the encoded bytes of a column or of a pool's string lie. */
#define PAYLOAD_POOLED UINT32_MAX
struct payload_place {
	uint32_t chunk; /* index; PAYLOAD_POOLED: the values are in pool `at` */
	uint32_t at, n; /* in the unpacked chunk */
	uint8_t most;   /* bytes of the longest value, 0 where that is not known: see above */
};

struct payload_pool {
	uint8_t kind, width;
	uint32_t uses;
	struct payload_place references, values;
};

#define PAYLOAD_NONE UINT32_MAX
struct payload {
	uint32_t n_rows, n_plain, n_templates, n_pools, n_chunks, n_shared;
	uint64_t plain_bytes;
	struct payload_chunk *chunks;
	struct payload_pool *pools;
	uint32_t *first; /* by template: its slots are places[first[t]] and following */
	struct payload_place *places;
	/* Indices of chunks, PAYLOAD_NONE where there is none. */
	uint32_t ids, lengths, pieces; /* pieces: the first one */
};

/* The size of header and directory together, out of the first PAYLOAD_HEADER bytes of a payload of
 * so many bytes; ERR_CORRUPT. */
int payload_head(struct str head, uint64_t bytes, size_t *out, struct error *e);
/* Decode header and directory, which `head` is exactly, of a payload of so many bytes and a block
 * of these rows and templates.  ERR_CORRUPT; *out is to be left by payload_fini either way. */
int payload_decode(struct payload *out, struct str head, uint64_t bytes, uint32_t n_rows,
	const struct template *const *templates, size_t n_templates, struct error *e);
void payload_fini(struct payload *p);          /* leaves it zeroed */
size_t payload_bytes(const struct payload *p); /* memory that it holds */
/* Append header and directory; the offsets of chunks are not looked at.  `n_slots` of all
 * templates. */
void payload_encode(const struct payload *p, uint32_t n_slots, int level, struct buf *out);

/* Append the content of a chunk, whose stored bytes these are, after checking them; exactly c->raw
 * bytes.  ERR_CORRUPT. */
int payload_unpack(
	const struct payload_chunk *c, struct str stored, struct buf *out, struct error *e);
/* Append `raw` as a chunk to `out` and describe it, but for its offset.  `plane`: it is bytes of
 * columns, as zstd_pack_columns takes it; PAYLOAD_TEXT: bytes of lines. */
#define PAYLOAD_TEXT SIZE_MAX
void payload_pack(
	struct payload_chunk *c, struct str raw, size_t plane, int level, struct buf *out);
