/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The engine that keeps records in part files.  Threads: store/engine.h.
 */
#include "os/clock.h"
#include "os/fs.h"
#include "store/engine.h"

struct parts_options {
	struct fs *fs;
	const char *dir;
	struct account *account; /* charged without asking: footers, the builder */
	uint64_t memory;         /* the process's ceiling, by which blocks are sized */
	struct clock *clock;
	struct lock *lock;  /* the store's, under which sets of parts are exchanged */
	size_t merge_parts; /* parts of a level that are merged; 0: MERGE_PARTS */
};

/* Reads the manifest, or makes it anew out of the part files; damaged parts are told and left
 * where they are, what a build or merge left behind is removed.  Fails only when the directory
 * cannot be used. */
int parts_open(struct engine **out, const struct parts_options *o, struct error *e);
