/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the rows and counts of a page of a scan have in common: streams,
 * templates, and the counts themselves, added up by what makes rows alike.
 * What they hold is charged to the run.  One thread; internal to scan_page.c
 * and page_heap.c.
 */
#include "query/pages.h"
#include "query/run.h"

struct page_tables {
	/* Set by the owner. */
	struct run *run;
	struct scan_buckets buckets;
	/* Private but for reading. */
	struct map stream_index, template_index, count_index;
	struct str *streams; /* views of the map's keys, once they were named */
	struct template *templates;
	size_t n_streams, cap_streams, n_templates, cap_templates;
	struct row_count *counts;
	size_t n_counts, cap_counts;
	uint64_t charged;
};

/* The index of a stream, or a template, which is new or not.  ERR_LIMIT. */
int page_tables_stream(struct page_tables *t, struct str labels, uint32_t *out, struct error *e);
int page_tables_template(
	struct page_tables *t, const struct template *x, uint32_t *out, struct error *e);
/* Add rows that lie in one bucket; stream and template are indexes of these tables. */
int page_tables_count(struct page_tables *t, const struct row_count *c, struct error *e);
/* Nothing is put in any more: from now on `streams` can be read. */
void page_tables_name_streams(struct page_tables *t);
/* Append the counts as the wire has them. */
int page_tables_write(struct page_tables *t, struct buf *out, struct error *e);
void page_tables_fini(struct page_tables *t);
