/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A run of bytes that every match of an expression contains: at each place a
 * byte of a set.  It tells where an expression without any constant text cannot
 * match.  Thread rule: pure.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum { REGEX_RUN_MAX = 16 };

struct regex_set {
	uint64_t bits[2]; /* of ASCII */
};

struct regex_run {
	struct regex_set set[REGEX_RUN_MAX];
	size_t n; /* 0: none is known */
};

static inline bool regex_set_has(const struct regex_set *set, unsigned char c)
{
	return c < 0x80 && set->bits[c >> 6] >> (c & 63) & 1;
}

/* Of an expression that regex_new takes. */
void regex_run_find(struct regex_run *out, struct str pattern);
