/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of open addressing, never more than half full.  Integers are their own
 * keys; of others the key is a hash, and equal keys are compared.
 */
#include "store/lines/distinct.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"
#include "store/lines/column_code.h"

void distinct_init(struct distinct *d, uint32_t max)
{
	uint32_t slots = 16;

	while (slots < 2 * max)
		slots *= 2;
	*d = (struct distinct){.max = max, .mask = slots - 1};
	d->values = xmalloc(max * sizeof(*d->values));
	d->table = xcalloc(slots, sizeof(*d->table));
}

void distinct_fini(struct distinct *d)
{
	free(d->values);
	free(d->table);
}

uint32_t distinct_put(struct distinct *d, const struct column *c, uint32_t row)
{
	bool integer = column_is_integer(c->kind);
	uint64_t key = integer ? c->number[row] : hash_stable(column_value(c, row));
	uint32_t at = (uint32_t)(key * 0x9e3779b97f4a7c15 >> 32) & d->mask;

	for (; d->table[at]; at = (at + 1) & d->mask) {
		struct distinct_value *v = &d->values[d->table[at] - 1];
		if (v->key != key ||
			(!integer && !str_eq(column_value(c, v->row), column_value(c, row))))
			continue;
		v->count++;
		return d->table[at] - 1;
	}
	if (d->n == d->max)
		return DISTINCT_NONE;
	d->values[d->n] = (struct distinct_value){.key = key, .row = row, .count = 1};
	d->table[at] = ++d->n;
	return d->n - 1;
}
