/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What lines_write.c needs of a reader to take its rows over column by column.
 * Private to this folder.
 */
#include "store/lines/lines.h"

/* What it was opened with, timestamps as set last. */
const struct lines_source *lines_source_of(const struct lines_reader *r);
/* The decoded values of a slot of the template with this local index, one for each of its rows in
 * their order; those of pooled columns gathered.  Valid until the next open, get or filter.
 * ERR_CORRUPT, ERR_IO, ERR_LIMIT. */
int lines_column(struct lines_reader *r, uint32_t template, uint32_t slot,
	const struct column **out, struct error *e);
