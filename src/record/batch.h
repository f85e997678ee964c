/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A batch: an immutable, reference-counted run of records of one tenant from
 * one input.  The bytes are the same on the wire between sawlogs, in the
 * journal and in memory, and are read in place.  Format: doc/format/batch.md.
 *
 * Built once by an input (batch_builder), handed to a sink; the committer sets
 * first_seq before it publishes the batch, after that nothing changes and any
 * thread may read.
 */
#include "base/memory.h"
#include "record/labels.h"

enum {
	BATCH_BYTES_MAX = 64 << 20, /* of one encoded batch */
	BATCH_RECORDS_MAX = 1 << 20,
	BATCH_SOURCES_MAX = UINT16_MAX,
	TENANT_MAX = 150, /* bytes of a tenant's name (Loki's limit) */
	INPUT_MAX = 64,   /* bytes of an input's kind */
	SOURCE_ID_MAX = 1024,
	SOURCE_TOKEN_MAX = 65536,
};

/* How a source's position is kept; see struct batch_source. */
enum position_kind {
	/* Contiguous byte offsets, a high-water mark: a record is a duplicate when its position
	 * (the offset behind its last byte) is at or below the mark.  `from` above the mark is
	 * ERR_GAP: the sender goes back to the mark; unless batch_set_jump. */
	POSITION_MARK = 1,
	/* Numbered lines, an interval set: a record is a duplicate when its number was committed
	 * with the same bytes; with other bytes it is a new version. */
	POSITION_SET = 2,
	/* An opaque token of the input's own (journald's cursor): replaced at commit. */
	POSITION_TOKEN = 3,
	/* Offsets as of POSITION_MARK that come by several ways (routers), so in any order: a
	 * record is a duplicate when its position lies in a range [from, to) that was committed.
	 * There is no gap; a source kept by its mark is from then on kept by its ranges. */
	POSITION_RANGES = 4,
};

struct batch_source {
	struct str id;     /* unique per tenant, at most 1024 bytes */
	struct str token;  /* POSITION_TOKEN */
	uint64_t from, to; /* POSITION_MARK, _RANGES: this batch covers offsets [from, to) */
	enum position_kind kind;
};

enum record_flags {
	RECORD_LEVEL_DETECTED = 1, /* severity shows as structured metadata detected_level */
	RECORD_CUT = 2,            /* the line was longer than max_line, or broke off */
	RECORD_GAP = 4,            /* says what was lost */
	RECORD_TIME_OBSERVED = 8,  /* the sender gave no time */
};

struct record {
	int64_t timestamp; /* ns */
	struct str body;   /* the line, any bytes, without its newline */
	struct str meta;   /* structured metadata as canonical labels bytes; empty for none */
	uint64_t position; /* in its source; 0 without one */
	uint32_t stream;   /* index of the batch's stream table */
	uint16_t source;   /* 1 + index of the batch's source table; 0 for none */
	uint8_t severity;  /* record/severity.h */
	uint8_t flags;     /* enum record_flags */
};

struct batch;

/* 1..TENANT_MAX bytes of [a-zA-Z0-9!_.*'()-], and neither "." nor ".." (it names folders). */
bool tenant_valid(struct str tenant);

struct batch *batch_ref(struct batch *b);
void batch_unref(struct batch *b); /* NULL is fine; releases its account */
/* Take the bytes of an encoded batch (heap memory, freed with it) after checking every offset,
 * label set and limit in them: ERR_CORRUPT.  On failure the bytes are freed too. */
int batch_from_bytes(struct batch **out, struct buf *take, struct error *e);
/* The same of bytes that begin at offset `at`, a multiple of 8, of that memory. */
int batch_from_bytes_at(struct batch **out, struct buf *take, size_t at, struct error *e);
struct str batch_bytes(const struct batch *b); /* valid as long as b */

size_t batch_count(const struct batch *b);
struct str batch_tenant(const struct batch *b);
struct str batch_input(const struct batch *b); /* the input's kind: "loki" */
int64_t batch_observed(const struct batch *b);
uint64_t batch_raw_bytes(const struct batch *b); /* of all lines */
size_t batch_n_streams(const struct batch *b);
struct str batch_stream(const struct batch *b, size_t i); /* canonical labels */
size_t batch_n_sources(const struct batch *b);
struct batch_source batch_source(const struct batch *b, size_t i);
struct record batch_record(const struct batch *b, size_t i); /* views into b */
int64_t batch_min_time(const struct batch *b); /* of its records; INT64_MAX when empty */
int64_t batch_max_time(const struct batch *b);

/* Sequence of record 0, set once before publication; record i has first_seq + i. */
uint64_t batch_first_seq(const struct batch *b);
void batch_set_first_seq(struct batch *b, uint64_t seq);
/* The bytes before `from` of its POSITION_MARK sources are known to be committed elsewhere (at
 * another server): the mark may jump over them.  Not part of the bytes; set before it is submitted.
 */
void batch_set_jump(struct batch *b);
bool batch_jumps(const struct batch *b);
/* The batch now counts batch_bytes' length in `a` until it is freed.  The caller has charged
 * it (account_charge or account_force): ownership of the charge moves to the batch. */
void batch_set_account(struct batch *b, struct account *a);
/* A new batch without the records whose bit is set in drop (bit i of byte i/8).  Sources stay
 * all, with their indices: what they cover is committed even when every record was known. */
struct batch *batch_without(const struct batch *b, const uint8_t *drop);

struct batch_builder;

/* One thread.  Tenant (tenant_valid) and input kind are copied. */
struct batch_builder *batch_builder_new(struct str tenant, struct str input, int64_t observed_ns);
void batch_builder_free(struct batch_builder *b);
#define BATCH_NO_STREAM UINT32_MAX
/* Index of this label set (canonical bytes, copied), added when new.  BATCH_NO_STREAM when the
 * batch would pass its limits: batch_builder_add then says so. */
uint32_t batch_builder_stream(struct batch_builder *b, struct str labels);
/* Index + 1 for record.source.  `id` and `token` are copied.  Same id again: the same
 * index; `to` and the token are replaced, `from` stays.  0 when the batch is full: it has
 * BATCH_SOURCES_MAX sources, or the id or token is longer than its limit.  0 also when this one
 * cannot be in it a second time: it has another kind, or `to` lies before what is there already,
 * as the file is read again from further back.  Finish this batch then, and ask the next one. */
uint16_t batch_builder_source(struct batch_builder *b, const struct batch_source *s);
/* Copies body and meta.  ERR_LIMIT when the batch would pass its limits.  A timestamp of INT64_MAX
 * becomes the one before it. */
int batch_builder_add(struct batch_builder *b, const struct record *r, struct error *e);
size_t batch_builder_count(const struct batch_builder *b);
size_t batch_builder_bytes(const struct batch_builder *b); /* of the batch it would make */
/* The batch, one reference; the builder is empty after, with the same tenant and input, and
 * `observed_ns` for the next one. */
struct batch *batch_builder_finish(struct batch_builder *b, int64_t observed_ns);
