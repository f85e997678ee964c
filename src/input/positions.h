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
 *   sawlog-positions 2
 *   id <forwarder id, 16 hex digits>
 *   last <the largest generation given out>
 *   file <giver, hex> <dev> <ino> <generation> <birth ns> <n> <fingerprint, hex> <start> <offset>
 * <size> <seen s> <path>
 *   gone <the same>
 *   packed <generation of the line before> <inode> <birth ns> <1 when done with it, or 0>
 *   path <newest birth ns> <newest packed birth ns> <accounted s> <hash of the
 * target of a link, hex> <seen s> <n> <n inodes with the
 * newest birth> <path>
 *   glob <seen s> <pattern>
 *
 * `gone` are generations whose bytes are no longer at their inode.  Version 1 is read as well: it
 * had no giver, size, packed birth, accounted, gone and glob.
 *
 * Numbers are decimal; in the path, backslash and newline are \\ and \n.
 * Pure but for positions_load; one thread.
 */
#include "base/buf.h"
#include "base/error.h"
#include "base/list.h"
#include "base/map.h"
#include "input/lineage.h"

enum {
	FINGERPRINT_BYTES = 1024,
	POSITIONS_MAX = 256 << 20, /* bytes of the file */
};

struct identity {
	uint64_t giver; /* id of the file of positions that gave the generation out */
	uint64_t dev, ino;
	uint64_t generation;
	int64_t birth_ns;     /* 0: the file system does not tell */
	uint64_t fingerprint; /* of the first n_fingerprint bytes */
	uint32_t n_fingerprint;
};

/* The compressed file that holds a generation's content; ino 0: none that is known. */
struct packed_as {
	uint64_t ino;
	int64_t birth_ns;
	bool done; /* all that can be read of it is acknowledged */
};

struct position {
	struct list node;
	struct identity id;
	uint64_t start;    /* where reading began: not 0 for start: end */
	uint64_t offset;   /* acknowledged up to here; below `start` when nothing was yet */
	uint64_t size;     /* it certainly had so many bytes */
	int64_t seen_s;    /* when the file was last there */
	char *path;        /* as first found */
	bool saved;        /* its identity is certainly on disk, */
	uint32_t n_sealed; /* and so many bytes of its fingerprint */
	struct packed_as as;
	bool gone;             /* its inode holds other bytes now: truncated */
	struct position *same; /* the next one of this inode's number */
};

struct positions {
	uint64_t id;
	uint64_t last_generation;
	struct list list; /* struct position */
	size_t n;
	struct map by_ino;    /* -> struct position, the first of those with it */
	struct list lineages; /* struct lineage */
	size_t n_lineages;
	struct map globs; /* pattern -> when it was last followed, s */
	bool fresh;       /* there was no file: a first start */
};

void positions_init(struct positions *p);
void positions_fini(struct positions *p);
/* Read `path` into an empty p.  When there is none p is `fresh` with a random id.  A damaged line
 * is skipped and counted in *n_damaged.  ERR_CORRUPT when it is no positions file at all. */
int positions_load(struct positions *p, const char *path, size_t *n_damaged, struct error *e);
int positions_parse(struct positions *p, struct str text, size_t *n_damaged, struct error *e);
void positions_write_head(const struct positions *p, struct buf *out);
void position_write(const struct position *at, struct buf *out);
/* A copy of v at the end; takes v->path. */
struct position *position_add(struct positions *p, const struct position *v);
void position_remove(struct positions *p, struct position *at);
/* Those with this inode's number, linked by `same`; NULL: none. */
struct position *positions_find(const struct positions *p, uint64_t ino);
/* Take over what `from` holds and p does not; `from` is empty after. */
void positions_merge(struct positions *p, struct positions *from);
struct lineage *positions_lineage(struct positions *p, const char *path); /* new, at the end */
void positions_forget(struct positions *p, struct lineage *l);
void lineage_write(const struct lineage *l, struct buf *out);
void positions_write_globs(const struct positions *p, struct buf *out);
/* A generation larger than any before: the time, so that one that was forgotten with a lost
 * or restored file is not given out again. */
uint64_t positions_generation(struct positions *p, int64_t now_ns);
