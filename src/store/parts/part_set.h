/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * An immutable set of parts, sorted by sequence, shared by reference between
 * the engine and its views; and the scan over one.
 */
#include "store/parts/part.h"

struct part_set {
	_Atomic uint32_t refs;
	size_t n;
	struct part *parts[]; /* one reference each */
};

/* Takes the references in `parts`; copies the array. */
struct part_set *part_set_new(struct part *const *parts, size_t n);
struct part_set *part_set_ref(struct part_set *set);
void part_set_unref(struct part_set *set); /* NULL is fine */

struct part_scan;

/* As the functions of engine_type.  Borrows the set and the scan. */
int part_scan_begin(const struct part_set *set, struct scan *scan, uint64_t until_seq,
	struct part_scan **out, struct error *e);
int part_scan_peek(struct part_scan *ps, uint64_t *key, struct error *e);
int part_scan_read(struct part_scan *ps, struct error *e);
void part_scan_end(struct part_scan *ps);
int part_set_streams(const struct part_set *set, struct str tenant, int64_t from_ns, int64_t to_ns,
	void (*stream)(void *ctx, struct str labels), void *ctx, struct error *e);
