/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the head of a line, at a time that the first bytes choose; what is found does not
 * depend on what lies behind the line. */
#include <assert.h>
#include <stdlib.h>

#include "record/severity.h"
#include "record/time.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	int64_t observed = 1787306400000000000, ns = 7, again = 7;
	struct str line;
	size_t taken;
	char *copy;
	bool found;

	if (n > 0 && data[0] == 0xff && n > 8) {
		memcpy(&observed, data + 1, 8);
		data += 9;
		n -= 9;
	}
	line = str_make(data, n);
	found = time_detect(line, observed, 3600, &ns);
	assert(found || ns == 7);
	assert(severity_detect(line) <= 24);
	copy = malloc(n + 1);
	memcpy(copy, data, n);
	copy[n] = '9';
	assert(time_detect(str_make(copy, n), observed, 3600, &again) == found && again == ns);
	assert(severity_detect(str_make(copy, n)) == severity_detect(line));
	taken = time_read(line, observed, 0, &ns);
	assert(taken <= n);
	/* Its own bytes are enough for it. */
	if (taken > 0)
		assert(time_read(str_sub(line, 0, taken), observed, 0, &again) == taken &&
			again == ns);
	free(copy);
	return 0;
}
