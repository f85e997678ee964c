/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What messages were taken lately: a window of hashes in the order of their
 * coming, with which one that comes again is known, and which outlives the
 * process.
 *
 * The window is kept in slots of SEEN_SLOT hashes, a ring.  Each batch carries
 * the slots that changed since the last one as tokens (POSITION_TOKEN), so
 * that they are committed together with the messages that they stand for;
 * seen_load takes them back at the next start.  A token:
 *
 *	u8 version, u64 generation, then 16 bytes each hash; little endian
 *
 * The generation counts slots since the first start: generation g lies in slot
 * g modulo the number of slots.  One thread at a time.
 */
#include "base/buf.h"

enum {
	SEEN_SLOT = 256,
	SEEN_WINDOW_MAX = 200000,
	SEEN_SLOTS_MAX = 2 * SEEN_WINDOW_MAX / SEEN_SLOT + 2,
};

struct seen;

struct seen_hash {
	uint64_t w[2]; /* both 0: none */
};

/* One that knows at least the last `window` ones, though `undo` of them be forgotten again. */
struct seen *seen_new(size_t window, size_t undo);
void seen_free(struct seen *s);
/* Of what tells messages apart. */
struct seen_hash seen_hash_of(struct str id, struct str key, struct str body);
bool seen_has(const struct seen *s, struct seen_hash h);
void seen_put(struct seen *s, struct seen_hash h);
/* How many were ever put; forget those behind `count` again. */
uint64_t seen_count(const struct seen *s);
void seen_undo(struct seen *s, uint64_t count);
/* Tell the token of each slot that changed since the last call. */
void seen_save(struct seen *s, void (*each)(void *arg, size_t slot, struct str token), void *arg);
/* All tokens of a life before, in any order, from slots of any number; before the first seen_put.
 * What is no token is passed by. */
void seen_load(struct seen *s, const struct str tokens[], size_t n);
size_t seen_size(const struct seen *s); /* how many it knows */
