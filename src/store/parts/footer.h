/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Making the footer of a part, and the file around it.
 * Format: doc/format/part.md.  Thread rule: one thread.
 */
#include "base/map.h"
#include "store/parts/part.h"

/* Streams, sources and templates get their numbers first; blocks speak of them by number.  Streams
 * that have no rows in the end, and what no block speaks of, are left out and the others numbered
 * anew. */
struct footer_builder {
	struct account *account; /* what it holds is charged here without asking */
	uint64_t charged;
	struct part_summary summary;
	/* Borrowed text.  Streams are added sorted by tenant and labels. */
	struct str *tenants;
	struct part_stream *streams;
	struct part_source *sources; /* sorted by tenant only by chance */
	struct str *templates;       /* keys, owned by template_index */
	struct map template_index;
	size_t n_tenants, n_streams, n_sources, n_templates;
	size_t cap_tenants, cap_streams, cap_sources, cap_templates;
	struct part_block *blocks; /* their lists are offsets into ids, counts copied into text */
	struct footer_lists *lists;
	size_t n_blocks, cap_blocks;
	struct buf ids, text;
};

void footer_builder_fini(struct footer_builder *f);
/* The number of the tenant that is the last one added, or comes new. */
uint32_t footer_add_tenant(struct footer_builder *f, struct str tenant);
uint32_t footer_add_stream(struct footer_builder *f, uint32_t tenant, struct str labels);
uint32_t footer_add_source(struct footer_builder *f, uint32_t tenant, struct str id);
uint32_t footer_add_template(struct footer_builder *f, struct str key); /* the same key once */
/* Copies lists and counts.  n_rows and so on of the summary are summed up here. */
void footer_add_block(struct footer_builder *f, const struct part_block *b);

/* Counts of a block, packed. */
void footer_pack_counts(const struct block_count *counts, uint32_t n_counts,
	const struct block_hour *hours, uint32_t n_hours, struct buf *out);

/* A part on its way to the disk: written as "<name>.tmp". */
struct part_file {
	const struct part_writer *w;
	struct file *file;
	uint64_t at;
	struct buf name, path, temp;
};

int part_file_create(struct part_file *pf, const struct part_writer *w,
	const struct part_summary *name, struct error *e);
int part_file_put(struct part_file *pf, struct str bytes, struct error *e);
/* Write the footer and make the part durable under its name; *out is its summary. */
int part_file_finish(
	struct part_file *pf, struct footer_builder *f, struct part_summary *out, struct error *e);
/* Closes; what was not finished goes. */
void part_file_close(struct part_file *pf);
