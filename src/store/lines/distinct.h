/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The distinct values of some rows of a column, in the order in which they come
 * first, and how often each does.  Private to the encoder of columns.
 * Thread rule: one thread.
 */
#include "store/lines/column.h"

struct distinct {
	struct distinct_value {
		uint64_t key;        /* the integer, or a hash */
		uint32_t row, count; /* the first row of it */
		uint32_t born;       /* for column_guess.c: when a pool took it for new last */
		uint8_t rank;        /* for column_encode.c */
	} * values;
	uint32_t *table; /* 1 + index into values; 0 is empty */
	uint32_t n, max, mask;
};

enum { DISTINCT_NONE = UINT32_MAX };

/* Room for so many values. */
void distinct_init(struct distinct *d, uint32_t max);
void distinct_fini(struct distinct *d);
/* Index of the value of a row, counted; DISTINCT_NONE when there is no room for a new one. */
uint32_t distinct_put(struct distinct *d, const struct column *c, uint32_t row);
