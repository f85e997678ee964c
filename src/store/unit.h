/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One unit of a scan on its way to the callback: its columns, which rows pass,
 * and what its memory is charged to.  For the head and the engines.
 * One thread at a time.
 */
#include "store/scan.h"

struct unit {
	struct account *account; /* may be NULL */
	size_t cap;              /* rows the columns have room for */
	void *memory;
	int64_t *timestamp;
	uint64_t *seq;
	struct str *body, *meta;
	uint64_t *position;
	uint32_t *stream, *source, *pick;
	uint8_t *severity, *flags;
};

/* A zeroed unit with its account set is empty. */
void unit_fini(struct unit *u);
/* Room for n rows: ERR_LIMIT when the account has none.  Contents are lost. */
int unit_reserve(struct unit *u, size_t n, struct error *e);
/* Records from, from + 1, … of a batch become the first n rows; there is room for them. */
void unit_fill(struct unit *u, const struct batch *b, size_t from, size_t n);
/* Put the numbers of the rows among the first n that pass into pick; returns how many.
 * wanted[stream] says which streams pass (NULL: all); source is 0 for any. */
size_t unit_pick(struct unit *u, size_t n, const struct scan *scan, uint64_t until_seq,
	const uint8_t *wanted, uint32_t source);
/* Keep of the n_picked rows those whose line contains these bytes; returns how many.  Lines must
 * lie in memory by ascending row, as those of a block and of a batch do. */
size_t unit_keep(struct unit *u, size_t n_picked, struct str contains);
/* The first n rows of the unit; the caller adds streams and sources. */
struct rows unit_rows(const struct unit *u, size_t n_picked);

/* Does a unit with these spans overlap what the scan asks for? */
bool unit_overlaps(const struct scan *scan, uint64_t until_seq, int64_t min_ns, int64_t max_ns,
	uint64_t min_seq, uint64_t max_seq);
/* Asked right before a unit is read: scan->want_span, and the cancel flag (ERR_CANCELLED). */
int unit_wanted(const struct scan *scan, int64_t min_ns, int64_t max_ns, struct error *e);
/* The key by which units are ordered: the smallest comes first. */
uint64_t unit_key(enum scan_order order, int64_t min_ns, int64_t max_ns, uint64_t min_seq);
/* Charge n bytes to the scan: ERR_LIMIT with a sentence. */
int scan_charge(struct account *a, uint64_t n, struct error *e);
/* Tell of damage that was stepped over. */
void scan_warn(const struct scan *scan, const char *fmt, ...) PRINTF(2, 3);
