/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Looking after a store that is not being served: verify, repair, statistics.
 * verify and statistics change nothing, and also work beside a server.
 */
#include "base/buf.h"
#include "os/fs.h"

struct store_check {
	uint64_t files, bytes, blocks, records; /* that were looked at */
	uint64_t damaged_files, damaged_blocks; /* with something wrong */
	uint64_t lost_records;                  /* in damaged blocks and parts, where known */
};

/* Read every byte of every file below `dir` and check it.  `tell` gets a sentence for each thing
 * that is wrong: file, block, what, how many records it costs, and what to do.  0 even then; < 0
 * only when the folder cannot be read. */
int store_verify(struct fs *fs, const char *dir, struct store_check *out,
	void (*tell)(void *ctx, const char *sentence), void *ctx, struct error *e);
/* Make whole what can be: parts with damaged blocks are written anew without them (the damaged
 * file is kept beside, as NAME.damaged), the manifest is made again, leftovers go.  ERR_BUSY when
 * a server has the store. */
int store_repair(struct fs *fs, const char *dir, struct store_check *out,
	void (*tell)(void *ctx, const char *sentence), void *ctx, struct error *e);

/* Where the bytes are.  Rows: what, of what, stored bytes, raw bytes, records. */
enum stats_of {
	STATS_FILES,   /* "journal", "parts", "manifest", … */
	STATS_COLUMNS, /* "time", "sequence", "templates", "numbers", "pools", "plain lines", … */
	STATS_TEMPLATES, /* a template as people see it */
	STATS_STREAMS,   /* labels, as {a="b"} */
	STATS_DAYS,      /* "2026-11-21" */
};
struct stats_row {
	enum stats_of of;
	struct str name;
	uint64_t stored, raw, records; /* 0 where it makes no sense */
};
/* `each` gets the rows of each kind, largest first; at most `max` of each. */
int store_stats(struct fs *fs, const char *dir, size_t max,
	void (*each)(void *ctx, const struct stats_row *row), void *ctx, struct error *e);
