/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A part: an immutable, sorted, checksummed run of records on disk.
 * Format: doc/format/part.md.
 *
 * What is known of a part without opening its file is its summary, which the
 * manifest holds too.  The footer is loaded when a scan needs it, and kept
 * while somebody uses it or the cache has room.
 * Thread rule: a part never changes after part_new; any thread may use it.
 */
#include "base/lock.h"
#include "os/fs.h"
#include "record/batch.h"
#include "store/lines/lines.h"
#include "store/scan.h"
#include "store/visible.h"

enum {
	BLOCK_RAW_MAX = 8 << 20,   /* bytes of lines in a block, unless one line is longer */
	BLOCK_RAW_MIN = 256 << 10, /* under a small ceiling */
	BLOCK_ROWS_MAX = 128 << 10,
	COLUMN_RAW_MAX = BATCH_BYTES_MAX + (1 << 20), /* of one column, decoded */
	FOOTER_RAW_MAX = 256 << 20,
};

#define NS_PER_HOUR INT64_C(3600000000000)
#define NS_PER_DAY  (24 * NS_PER_HOUR)

struct part_summary {
	uint64_t first_seq, last_seq; /* also its file name */
	uint32_t revision;            /* of its name alone, not in the footer: see part_name */
	uint64_t n_rows, raw_bytes, file_bytes;
	int64_t min_ns, max_ns;
	/* The day (since 1970, UTC) it belongs to, for merges and retention: that of its newest
	 * record, but not later than that of its newest observation. */
	int32_t day;
	uint32_t level; /* 0 built from the head; merged from parts of lower levels: one more */
	uint64_t n_blocks;
	/* Deletions up to this id are carried out in it; see retain.h. */
	uint64_t cleaned;
};

struct part_stream {
	struct str labels;
	uint32_t tenant;
	uint64_t n_rows;
	int64_t min_ns, max_ns;
};

struct part_source {
	uint32_t tenant;
	struct str id;
};

struct part_block {
	uint64_t offset;
	uint32_t size; /* header and columns on disk */
	uint32_t n_rows;
	uint64_t raw_bytes; /* of its lines */
	int64_t min_ns, max_ns;
	uint64_t min_seq, max_seq;
	/* Local ids of the block -> the part's: each occurs.  Those of streams ascend, those of
	 * sources and templates are in any order. */
	const uint32_t *streams, *sources, *templates;
	uint32_t n_streams, n_sources, n_templates;
	/* How many counts block_counts_get gives; 0 where there would be more than one for 16 rows
	 * (many small streams): then rows must be read. */
	uint32_t n_counts, n_hours;
	struct str counts; /* both, packed: they would be the larger part of a footer */
	uint32_t n_plain;  /* rows without a template: no filter rules them out unread */
	bool has_meta;     /* some row has metadata: then counts do not tell all of it */
};

/* Rows of a block that are alike: counted when it was written, so that counting reads no row. */
struct block_count {
	uint32_t stream, template; /* local; template TEMPLATE_NONE or 1 + local index */
	uint8_t severity, level_detected;
	uint32_t rows;
	uint64_t bytes; /* of lines */
};

struct block_hour {
	uint32_t stream;
	uint8_t severity, level_detected;
	/* Since 1970: hour * NS_PER_HOUR < time <= (hour + 1) * NS_PER_HOUR, as windows of queries
	 * go. */
	int64_t hour;
	uint32_t rows;
	uint64_t bytes;
};

/* The counts of a block, unpacked; zeroed is empty.  Reused from block to block. */
struct block_counts {
	struct block_count *counts; /* b->n_counts, by ascending stream */
	struct block_hour *hours;   /* b->n_hours, by ascending stream, hour */
	size_t cap_counts, cap_hours;
};

/* Cannot fail: what is packed was checked when the footer was read. */
void block_counts_get(struct block_counts *c, const struct part_block *b);
void block_counts_fini(struct block_counts *c);

struct part_footer {
	struct part_summary summary; /* file_bytes is not set */
	struct str *tenants;
	struct part_stream *streams; /* sorted by tenant, labels */
	struct part_source *sources;
	struct template *templates; /* all that its blocks use, once each */
	struct part_block *blocks;
	size_t n_tenants, n_streams, n_sources, n_templates, n_blocks;
	uint32_t *ids;   /* those of all blocks */
	struct buf text; /* what the views point into */
	size_t bytes;    /* of all of it */
};

/* Footers that no scan uses are kept while they fit. */
struct footer_cache {
	struct account *account;
	uint64_t limit;
	_Atomic uint64_t idle; /* bytes of loaded footers without users */
};

struct part {
	/* Fixed. */
	struct fs *fs;
	char *path;
	struct part_summary summary;
	struct footer_cache *cache;
	/* Atomic. */
	_Atomic uint32_t refs;
	_Atomic bool retired;     /* unlink when the last reference goes */
	_Atomic uint64_t cleaned; /* as in the summary, or later: nothing in it is to be deleted */
	/* Under lock. */
	struct lock lock;
	struct part_footer *footer;
	uint32_t users;
};

/* Copies path and summary; borrows the rest. */
struct part *part_new(struct fs *fs, const char *path, const struct part_summary *summary,
	struct footer_cache *cache);
struct part *part_ref(struct part *p);
void part_unref(struct part *p);  /* NULL is fine */
void part_retire(struct part *p); /* its file goes with the last reference */
/* The footer, valid until part_release.  ERR_CORRUPT when both copies are damaged. */
int part_load(struct part *p, const struct part_footer **out, struct error *e);
void part_release(struct part *p);

/* Read a footer from an open file; both are for tools and tests as well. */
int part_footer_read(struct file *f, struct part_footer **out, struct error *e);
void part_footer_free(struct part_footer *footer);
/* What part_footer_read can do without and is damaged: the header, one of the two tails, one of the
 * two footers; their names are appended, separated by commas. */
void part_copies_check(struct file *f, struct buf *out);

/* "<first>-<last>.part", "<first>-<last>-r<revision>.part" when revision is not 0, and back: first,
 * last and revision of a summary.  A part that is written anew over the same range has another
 * name, as views still read the old file: part_merge of one part makes its revision plus one, of
 * several 0. */
void part_name(struct buf *out, const struct part_summary *s);
bool part_name_parse(struct str name, struct part_summary *s);

/* Columns of a block, in the order in which they lie; the payload of lines.h follows. */
enum part_column {
	COLUMN_TIME,
	COLUMN_SEQ,
	COLUMN_STREAM,
	COLUMN_SEVERITY,
	COLUMN_FLAGS,
	COLUMN_META,
	COLUMN_SOURCE, /* and position */
	N_COLUMNS,
};

enum {
	PART_VERSION = 2,
	PART_HEADER_BYTES = 16,
	BLOCK_HEADER_BYTES = 16 + N_COLUMNS * 8 + 4,
	PART_TAIL_BYTES = 72,
};
#define PART_MAGIC  UINT32_C(0x32504c53) /* "SLP2" */
#define BLOCK_MAGIC UINT32_C(0x324b4c53) /* "SLK2" */
#define TAIL_MAGIC  UINT32_C(0x32544c53) /* "SLT2" */

struct part_writer {
	struct fs *fs;
	const char *dir;
	struct account *account; /* what the builder holds, charged without asking */
	size_t block_raw;
	int level; /* of zstd; 0: its default */
};

/* Write the records of a run as a part; durable when it returns 0. */
int part_write(const struct part_writer *w, struct batch *const *batches, size_t n,
	struct part_summary *out, struct error *e);

/* Reading blocks: one thread.  Columns are read and decoded when they are asked for. */
struct unit;
struct fixed_zone;
struct block_place {
	uint32_t at, stored, crc; /* at is from the block's start */
};
struct block_reader {
	struct file *file;
	const struct part *part; /* whose file it is */
	struct account *account;
	struct lines_reader *lines;
	const struct part_footer *footer;
	const struct part_block *block;
	/* part_read.c's own. */
	struct block_place places[N_COLUMNS];
	uint64_t payload_at, payload_bytes;
	const struct template **templates; /* of the block */
	uint32_t cap_templates;
	struct block_counts counts;
	struct fixed_zone *zones;
	uint32_t n_zones;
	uint32_t *streams;   /* by row, local; NULL: as the zones say */
	int64_t *timestamps; /* for the lines; NULL before they were decoded */
	uint32_t *lengths;   /* of the lines; the same */
	struct meta_reader *meta;
	struct buf io;
	uint64_t charged, bytes_read;
};

void block_reader_init(struct block_reader *br, struct account *a);
void block_reader_fini(struct block_reader *br); /* closes the file */
/* Begin with a block: reads its header.  ERR_CORRUPT or ERR_IO: this block is damaged;
 * ERR_LIMIT: the account has no room.  The same of all below. */
int block_open(struct block_reader *br, const struct part *p, const struct part_footer *footer,
	const struct part_block *b, struct error *e);
/* Decode fixed columns into those of u, which have room for the rows: a set of 1 << enum
 * part_column.  COLUMN_STREAM and COLUMN_SOURCE become the part's ids (source: 1 + index, 0 none).
 * Metadata is valid until the next block_open.  COLUMN_SOURCE may decode the columns of all lines,
 * whose lengths tell the positions. */
int block_columns(struct block_reader *br, unsigned columns, struct unit *u, struct error *e);
/* Decode the lengths of all lines; valid until the next block_open. */
int block_lengths(struct block_reader *br, const uint32_t **out, struct error *e);
/* The local stream of each row; valid until the next block_open. */
int block_streams(struct block_reader *br, const uint32_t **out, struct error *e);
/* Check all bytes of the block against their checksums; appends them to `out`. */
int block_bytes(struct block_reader *br, struct buf *out, struct error *e);
/* The lines.  Before they are spelled or filtered, COLUMN_TIME must have been asked for. */
struct lines_reader *block_lines(struct block_reader *br);
uint64_t block_bytes_read(struct block_reader *br); /* since the last call */

/* Merging: write parts that are neighbours in sequence (ascending) as one.  Blocks that are large
 * enough are copied, small ones made into larger ones, stream by stream.  `visibility` (NULL:
 * nothing) says which records are left out for good; what a damaged block held is left out too
 * and told.  *out has no rows when nothing is left: then no file was written.  Durable when it
 * returns 0.  ERR_FULL and others leave nothing behind; ERR_LIMIT: the ceiling is too small for it,
 * ERR_BUSY: it has no room now; ERR_IO: a part cannot be read at present. */
struct part_merge {
	struct part *const *parts;
	size_t n;
	struct visibility *visibility;
	uint64_t cleaned;           /* for the new summary */
	bool regroup;               /* blocks of several streams are cut up, so that each stream
				     * gets blocks of its own, whatever their size */
	const _Atomic bool *cancel; /* ERR_CANCELLED; may be NULL */
	void (*warn)(void *ctx, const char *sentence);
	void *ctx;
};

int part_merge(const struct part_writer *w, const struct part_merge *m, struct part_summary *out,
	struct error *e);
