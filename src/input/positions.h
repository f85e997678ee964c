/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The file of positions: which files an input knows, by identity, and how far
 * they are acknowledged.
 *
 * A file's identity is device, inode and a generation that is never used
 * twice; birth time and a fingerprint of its first bytes tell whether the
 * inode is still the same file.  An identity must be on disk before its first
 * batch is sent; offsets may lag behind, as the server knows its marks.  Of
 * each path that was followed the newest birth seen is kept, which tells what
 * rotation did there meanwhile (lineage.h).
 *
 *   sawlog-positions 1
 *   id <forwarder id, 16 hex digits>
 *   last <the largest generation given out>
 *   file <dev> <ino> <generation> <birth ns> <n> <fingerprint, hex> <start> <offset> <seen s>
 * <path>
 *   path <newest birth ns> <seen s> <n> <n inodes with that birth> <path>
 *
 * Numbers are decimal; in the path, backslash and newline are \\ and \n.
 * Pure but for positions_load; one thread.
 */
#include "base/buf.h"
#include "base/error.h"
#include "base/list.h"
#include "input/lineage.h"

enum {
	FINGERPRINT_BYTES = 1024,
	POSITIONS_MAX = 256 << 20, /* bytes of the file */
};

struct identity {
	uint64_t dev, ino;
	uint64_t generation;
	int64_t birth_ns;     /* 0: the file system does not tell */
	uint64_t fingerprint; /* of the first n_fingerprint bytes */
	uint32_t n_fingerprint;
};

struct position {
	struct list node;
	struct identity id;
	uint64_t start;  /* where reading began: not 0 for start: end */
	uint64_t offset; /* acknowledged up to here; below `start` when nothing was yet */
	int64_t seen_s;  /* when the file was last there */
	char *path;      /* as first found */
};

struct positions {
	uint64_t id;
	uint64_t last_generation;
	struct list list; /* struct position */
	size_t n;
	struct list lineages; /* struct lineage */
	size_t n_lineages;
	bool fresh; /* there was no file: a first start */
};

void positions_init(struct positions *p);
void positions_fini(struct positions *p);
/* Read `path` into an empty p.  When there is none p is `fresh` with a random id.  A damaged line
 * is skipped and counted in *n_damaged.  ERR_CORRUPT when it is no positions file at all. */
int positions_load(struct positions *p, const char *path, size_t *n_damaged, struct error *e);
int positions_parse(struct positions *p, struct str text, size_t *n_damaged, struct error *e);
void positions_write_head(const struct positions *p, struct buf *out);
void position_write(const struct position *at, struct buf *out);
struct position *position_add(struct positions *p); /* zeroed, at the end */
void position_remove(struct positions *p, struct position *at);
struct lineage *positions_lineage(struct positions *p, const char *path); /* new, at the end */
void positions_forget(struct positions *p, struct lineage *l);
void lineage_write(const struct lineage *l, struct buf *out);
/* A generation larger than any before: the time, so that one that was forgotten with a lost
 * or restored file is not given out again. */
uint64_t positions_generation(struct positions *p, int64_t now_ns);
