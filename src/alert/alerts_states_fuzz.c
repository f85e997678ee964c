/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes in the place of states.json: what is read can be written, and read again the same. */
#include <assert.h>

#include "alert/alerts_core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const int64_t now = INT64_C(1800000000) * NS_PER_SEC;
	struct buf once = {0}, twice = {0};
	struct book b;
	struct error e;

	if (states_read(&b, str_make(data, size), now, &e) < 0)
		return 0;
	states_write(&b, now, &once);
	book_fini(&b);
	if (states_read(&b, buf_view(&once), now, &e) < 0)
		assert(!"what was written is not read");
	states_write(&b, now, &twice);
	assert(str_eq(buf_view(&once), buf_view(&twice)));
	book_fini(&b);
	buf_fini(&once);
	buf_fini(&twice);
	return 0;
}
