/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The deletions that were asked for, and the two files that keep them.
 *
 * A lost deletion would show again what somebody wanted gone, so the list is
 * written whole to two files, one after the other; the newer one that can be
 * read counts.  Thread rule: one thread at a time.
 */
#include "store/retain.h"

enum {
	DELETIONS_MAX = 10000,  /* not carried out, at one time */
	DELETIONS_DONE = 1000,  /* that are remembered */
	SELECTOR_MAX = 8 << 10, /* bytes of a selector */
};

struct deletion_entry {
	struct deletion d; /* its texts are owned */
	struct hide *hide; /* NULL once it is done, and where the selector cannot be read */
	bool begun;        /* records may have been removed for it */
};

struct deletions {
	struct deletion_entry *all; /* by ascending id */
	size_t n, cap;
	uint64_t next_id;
	uint64_t generation; /* of the files */
};

void deletions_fini(struct deletions *ds);
/* Read them; what cannot be recovered is told in the log.  `above`: ids that are known to have been
 * given. */
void deletions_load(struct deletions *ds, struct fs *fs, const char *dir,
	const struct store_selectors *fns, uint64_t above);
/* Durable in one of the files at least when it returns 0. */
int deletions_save(struct deletions *ds, struct fs *fs, const char *dir, struct error *e);
/* Append one with the next id.  Takes the hide, copies the texts. */
struct deletion_entry *deletions_add(
	struct deletions *ds, const struct deletion *d, struct hide *hide);
void deletions_remove(struct deletions *ds, size_t i);
/* Take one out, or in again at its place. */
struct deletion_entry deletions_take(struct deletions *ds, struct deletion_entry *x);
void deletions_put_back(struct deletions *ds, const struct deletion_entry *x);
void deletion_entry_fini(struct deletion_entry *x);
/* NULL when there is none. */
struct deletion_entry *deletions_find(struct deletions *ds, struct str tenant, uint64_t id);
/* Forget the oldest of those that are done. */
void deletions_forget(struct deletions *ds);
void deletions_encode(const struct deletions *ds, struct buf *out);
/* Without hides.  ERR_CORRUPT; ds is empty then. */
int deletions_decode(struct deletions *ds, struct str bytes, struct error *e);
