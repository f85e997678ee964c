/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One file that is being followed: who it is, how far it is read, and how its
 * next bytes become records.  The set of files is tails.c's.
 * Loop's thread only.
 */
#include <sys/stat.h>

#include "base/list.h"
#include "input/lines.h"
#include "input/positions.h"
#include "input/shape.h"

enum {
	TAIL_CHUNK = 256 << 10, /* one read: large enough to be cheap, small enough to be fair */
	TAIL_BUFFER = LINE_FRAGMENT + TAIL_CHUNK,
};

/*
 *      0        acked         sent = read       read + partial        size
 *      |  durable |  under way    |  not complete    |   not yet read   |
 *
 * `sent` lags behind `read` before the first batch of a file that is read from its end, and where
 * the bytes between are dropped by a rule: `skipped` are those right before `read`.
 */
struct tail {
	struct list node;
	struct file_input *input;
	struct list ready; /* in the queue of files to read, or on its own */
	struct lineage *lineage;
	struct list sibling; /* in it */
	uint64_t wait_to;    /* how far the one before it is to be read first */
	uint64_t began;      /* number of the scan that took it up */
	struct identity id;  /* as known to the server; dev may be of before a reboot */
	uint64_t dev, ino;   /* as they are now */
	char *path;          /* where it was last seen */
	char *origin;        /* where it was first found: its label */
	int fd;              /* -1: closed */
	uint64_t start, acked, sent, read;
	uint64_t partial; /* bytes behind `read` that are no complete unit */
	uint64_t rested;  /* what `partial` was when the file was last read as quiet */
	uint64_t skipped; /* bytes right before `read` that are not stored */
	uint64_t size;    /* as last seen */
	uint64_t sure;    /* the largest size that was certainly this generation's */
	int64_t measured_mono;
	uint64_t fragment;      /* pieces of the line at `read` already taken */
	struct record head;     /* time and severity of a line that comes in pieces */
	char first[SHAPE_HEAD]; /* its first bytes */
	uint8_t n_first;
	struct buf labels, source;
	enum packing packing;  /* of a compressed file, which is never written to again */
	struct packed_as as;   /* which one that is, when it was a plain file before */
	struct packed *packed; /* while it is its turn */
	size_t packed_held;    /* charged for it */
	bool refragment;       /* where its line began is to be found out */
	bool finished;         /* it is read to its end, or as far as it can be */
	bool cut;              /* it has no end, and there will be none */
	bool damaged;
	int64_t file_size;  /* of the compressed file when its end was met last */
	int64_t quiet_mono; /* when it last grew */
	uint64_t scan;      /* number of the scan that saw it last */
	uint32_t n_sealing; /* bytes of the fingerprint that the save below holds, */
	uint32_t n_sealed;  /* and that are on disk: the head is read no further */
	uint64_t save;      /* number of the save under way that holds its identity, or 0 */
	bool is_ready;
	bool waits;   /* for the file that was at its path before it */
	bool known;   /* its identity is on disk: it may be sent */
	bool sealing; /* waits for more of its fingerprint to be on disk */
	bool renamed; /* no longer at the path it was found at, or none that a glob matches */
	bool matched;
	bool deleted;
	bool changed; /* its position is to be saved */
};

/* Where the records go. */
struct tail_io {
	char *buffer; /* TAIL_BUFFER bytes */
	struct batch_builder *builder;
	struct line_reader *lines;
	struct shaper *shaper; /* NULL: plain lines */
	struct buf meta;
	uint64_t n_unfit; /* records that no batch can hold */
};

enum tail_result {
	TAIL_MORE,     /* there may be more: call again */
	TAIL_END,      /* at the end for now */
	TAIL_FULL,     /* the builder is full: finish it and call again */
	TAIL_REPLACED, /* truncated or rewritten: these are other bytes now, of a new generation */
	TAIL_FAILED,   /* it cannot be read: e */
};

/* Device, inode, birth time; the fingerprint is left alone. */
int identity_of(int fd, struct identity *out, struct stat *st, struct error *e);
/* Does the fingerprint still hold?  It is extended while the file grows to FINGERPRINT_BYTES. */
bool identity_check(int fd, struct identity *id);

/* Takes fd; copies the path.  labels and source are empty. */
struct tail *tail_new(int fd, const char *path);
void tail_free(struct tail *t); /* NULL is fine */
/* Set the source's id from t->id. */
void tail_name(struct tail *t);
/* Read one chunk and add its complete units; what the rest is at the end of the file is `more`'s.
 */
enum tail_result tail_read(
	struct tail *t, struct tail_io *io, enum shape_more more, struct error *e);
/* The same for n bytes that are in io->buffer already, those from t->read on: what was taken is
 * what t->read moved by.  TAIL_MORE or TAIL_FULL. */
enum tail_result tail_split(struct tail *t, struct tail_io *io, size_t n, enum shape_more more);
/* Begin and end to unpack. */
void tail_unpack(struct tail *t);
void tail_packed_done(struct tail *t);
/* See how large this generation is. */
void tail_measure(struct tail *t);
/* What was dropped behind the last record that is acknowledged needs no acknowledgement. */
void tail_settle(struct tail *t);
/* Read on from `offset`, which is the end of a record. */
void tail_rewind(struct tail *t, uint64_t offset);
/* The offset behind the last newline before the end, 0 if there is none near. */
uint64_t tail_last_line(int fd, uint64_t size);
