/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the two strings of a pool: no crash, and a pool that is decoded holds a value for
 * each use, which a pool of the same uses gives back.  First bytes: kind, width, uses (2), length
 * of the references (2). */
#include <stdlib.h>

#include "store/lines/column_code.h"
#include "store/lines/pool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { HEAD = 6, USES_MAX = 1 << 12 };

static void spell_uses(const struct pool_view *v, struct buf *out)
{
	for (uint32_t i = 0; i < v->n_uses; i++) {
		if (v->use[i] >= v->values.n)
			abort();
		column_spell(&v->values, v->use[i], out);
		buf_char(out, '\n');
	}
}

static void again(const struct pool_view *v, uint8_t kind, uint8_t width)
{
	struct buf references = {0}, values = {0}, once = {0}, twice = {0};
	struct pool *p = pool_new(kind, width);
	struct pool_view back;

	for (uint32_t i = 0; i < v->n_uses; i++)
		pool_add(p, &v->values, v->use[i]);
	pool_encode(p, &references, &values);
	if (pool_decode(&back, kind, width, v->n_uses, buf_view(&references), buf_view(&values),
		    NULL) < 0)
		abort();
	spell_uses(v, &once);
	spell_uses(&back, &twice);
	if (!str_eq(buf_view(&once), buf_view(&twice)))
		abort();
	pool_view_fini(&back);
	pool_free(p);
	buf_fini(&references);
	buf_fini(&values);
	buf_fini(&once);
	buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct pool_view v;

	if (n < HEAD)
		return 0;
	uint8_t kind = (uint8_t)(1 + data[0] % SLOT_TEXT), width = 0;
	if (kind == SLOT_NUMBER)
		width = (uint8_t)(1 + data[1] % 9);
	else if (kind == SLOT_LONG)
		width = (uint8_t)(10 + data[1] % 10);
	else if (kind == SLOT_HEX || kind == SLOT_HEX_UPPER)
		width = (uint8_t)(6 + data[1] % 123);
	uint32_t uses = (data[2] | (uint32_t)data[3] << 8) % USES_MAX;
	struct str bytes = str_make(data + HEAD, n - HEAD);
	size_t cut = data[4] | (size_t)data[5] << 8;
	if (pool_decode(&v, kind, width, uses, str_sub(bytes, 0, cut), str_sub(bytes, cut, bytes.n),
		    NULL) == 0) {
		again(&v, kind, width);
		pool_view_fini(&v);
	}
	return 0;
}
