/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an encoded column: no crash, and what is decoded can be spelled, tested, and encoded
 * again to the same values.  First bytes: kind, width, number of values (2). */
#include <stdlib.h>

#include "store/lines/column_code.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { HEAD = 4, ROWS_MAX = 1 << 10 };

static void spell_all(const struct column *c, struct buf *out)
{
	for (uint32_t i = 0; i < c->n; i++) {
		size_t before = out->n;
		column_spell(c, i, out);
		if (out->n - before > column_spell_max(c))
			abort();
		buf_char(out, '\n');
	}
}

/* Each test of a part of a spelled value keeps at least that value. */
static void keep_all(const struct column *c)
{
	struct buf value = {0};
	uint32_t pick[1];

	for (uint32_t i = 0; i < c->n && i < 16; i++) {
		buf_clear(&value);
		column_spell(c, i, &value);
		for (int test = COLUMN_EQUALS; test <= COLUMN_CONTAINS; test++) {
			size_t from =
				test == COLUMN_ENDS || test == COLUMN_CONTAINS ? value.n / 2 : 0;
			size_t to = test == COLUMN_BEGINS ? value.n / 2 : value.n;
			pick[0] = i;
			if (column_keep(c, (enum column_test)test,
				    str_sub(buf_view(&value), from, to), pick, 1) != 1)
				abort();
		}
	}
	buf_fini(&value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct column c = {0}, again = {0};
	struct column_times times = {0};
	struct buf once = {0}, twice = {0}, encoded = {0};
	static int64_t ns[ROWS_MAX];

	if (n < HEAD)
		return 0;
	c.kind = again.kind = (uint8_t)(1 + data[0] % SLOT_TEXT);
	if (c.kind == SLOT_LONG)
		c.width = (uint8_t)(10 + data[1] % 10);
	else if (c.kind == SLOT_HEX || c.kind == SLOT_HEX_UPPER)
		c.width = (uint8_t)(6 + data[1] % 123);
	again.width = c.width;
	uint32_t rows = 1 + (data[2] | (uint32_t)data[3] << 8) % ROWS_MAX;
	for (uint32_t i = 0; i < rows; i++)
		ns[i] = (int64_t)i * 987654321987 - 40000000000000000;
	column_times_set(&times, ns, rows);
	struct str bytes = str_make(data + HEAD, n - HEAD);
	if (column_decode(&c, bytes, &times, rows, NULL) == 0) {
		spell_all(&c, &once);
		keep_all(&c);
		column_encode_values(&c, &times, &encoded);
		if (column_decode(&again, buf_view(&encoded), &times, rows, NULL) < 0)
			abort();
		spell_all(&again, &twice);
		if (!str_eq(buf_view(&once), buf_view(&twice)))
			abort();
	}
	column_fini(&c);
	column_fini(&again);
	column_times_fini(&times);
	buf_fini(&once);
	buf_fini(&twice);
	buf_fini(&encoded);
	return 0;
}
