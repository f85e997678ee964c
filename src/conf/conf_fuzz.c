/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a config: no crash, and what is taken can be written out and read back. */
#include <stdlib.h>

#include "conf/sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int load(struct str text, struct arena *arena, struct buf *effective)
{
	struct conf_source src = {.file = "/etc/fuzz.yaml", .text = text};
	struct conf_errors errors = {0};
	struct sample s = {0};
	int r = conf_load(&s, sample_table, &src, arena, &errors);

	if ((r == 0) != (errors.n == 0))
		abort();
	if (r == 0)
		conf_effective(&s, sample_table, effective);
	buf_fini(&errors.text);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct buf once = {0}, twice = {0};
	struct arena arena;

	arena_init(&arena, NULL);
	if (load(str_make(data, n), &arena, &once) == 0) {
		if (load(buf_view(&once), &arena, &twice) < 0)
			abort();
		if (!str_eq(buf_view(&once), buf_view(&twice)))
			abort();
	}
	arena_fini(&arena);
	buf_fini(&once);
	buf_fini(&twice);
	return 0;
}
