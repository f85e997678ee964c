/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a number: what is read and written reads back as the same. */
#include <assert.h>
#include <math.h>

#include "base/duration.h"
#include "query/number.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str s = str_make(data, n);
	struct buf out = {0};
	double v, back;
	int64_t i, j;
	uint64_t u;

	if (number_float(s, &v) && !isnan(v)) {
		number_put_f(&out, v);
		assert(number_float(buf_view(&out), &back) && back == v);
		buf_clear(&out);
		number_put_g(&out, v);
		assert(number_float(buf_view(&out), &back) && back == v);
	}
	if (number_duration(s, &i)) {
		buf_clear(&out);
		duration_format(&out, i);
		assert(number_duration(buf_view(&out), &j));
		assert(i == j);
	}
	for (int base = 0; base <= 36; base++)
		(void)number_int(s, base, &i);
	(void)number_bytes(s, &u);
	buf_fini(&out);
	return 0;
}
