/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The inside of the parts engine: parts.c (writing, figures), parts_upkeep.c
 * (merging, cleaning, dropping) and parts_load.c (opening).
 */
#include "store/parts/manifest.h"
#include "store/parts/merger.h"
#include "store/parts/part_set.h"
#include "store/parts/parts.h"

/* A file that no set has any more and that goes with its last reader. */
struct gone {
	char *path;
	struct part_summary summary;
};

struct parts {
	struct engine_base base;
	/* Fixed. */
	struct fs *fs;
	char *dir;
	struct clock *clock;
	struct part_writer writer, merge_writer;
	struct account merge_account; /* of the merge_writer; its limit is the process's */
	struct footer_cache cache;
	struct lock *store_lock;
	struct seq_range *unread; /* of files that were left out at the start */
	size_t n_unread, merge_parts;
	/* Under change, which is held from the making of a set to its showing, and is taken before
	 * the store's lock. */
	struct lock change;
	struct seq_range *holes;
	size_t n_holes;
	struct part_set *next; /* what publish shows */
	int32_t active_day;    /* of the part that was built last */
	int64_t built_mono_ns;
	/* Changed under change and the store's lock, read under one of the two. */
	struct part_set *set;
	/* The upkeep thread's. */
	struct gone *gone;
	size_t n_gone, most_parts;
	/* The pass that looks for what is too old goes on behind this sequence. */
	uint64_t look_from;
	int64_t looked_mono_ns;  /* when the last one ended */
	struct seq_range *stuck; /* of parts whose merge failed for what they hold */
	size_t n_stuck;
	/* Atomic. */
	_Atomic uint64_t flushed_until; /* written under change */
	_Atomic uint64_t gone_bytes, written_bytes;
};

static inline struct parts *parts_of(struct engine *g)
{
	return (struct parts *)g;
}

struct part *parts_make(struct parts *ps, const struct part_summary *summary);
/* Write the manifest as it will be with this set. */
int parts_save(struct parts *ps, const struct part_set *set, struct error *e);

/* parts_load.c: fill set, flushed_until, holes and unread from the directory. */
int parts_load(struct parts *ps, struct error *e);

/* parts_upkeep.c: as in engine_type. */
int parts_upkeep(struct engine *g, const struct engine_upkeep *u, struct error *e);
int parts_drop(struct engine *g, struct engine_drop *d, struct error *e);
bool parts_carried_out(struct engine *g, const struct engine_deletion *d);
void parts_upkeep_fini(struct parts *ps);
