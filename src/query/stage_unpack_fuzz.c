/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a packed line: the row is kept, its line is the entry or stays,
 * and what is found for a few names is what is found for all.
 */
#include <assert.h>

#include "query/parser_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str line = str_make(data, n), after, value, at;
	struct buf all = {0}, entry = {0}, names = {0};
	struct parser_rig r;
	struct label l;
	int kept;

	rig_init(&r);
	rig_stage(&r, unpack_new(&r.query), NULL);
	kept = rig_run(&r, "{app=\"x\"}", "{meta=\"y\"}", line);
	assert(kept == 1);
	fields_write(r.fields, FIELD_PARSED, &all);
	buf_str(&entry, r.line);
	at = buf_view(&all);
	for (labels_start(&at); labels_next(&at, &l);) {
		buf_str(&names, l.name);
		buf_char(&names, ' ');
		if (names.n > 300)
			break;
	}
	rig_stage(&r, unpack_new(&r.query), buf_cstr(&names));
	kept = rig_run(&r, "{app=\"x\"}", "{meta=\"y\"}", line);
	assert(kept == 1);
	after = r.line;
	assert(str_eq(after, buf_view(&entry)));
	at = str_c(buf_cstr(&names));
	while (at.n) {
		struct str name = str_cut(&at, ' ');
		struct str full;
		bool there = fields_get(r.fields, name, &value);
		assert(there && labels_get(buf_view(&all), name, &full) && str_eq(full, value));
	}
	buf_fini(&all);
	buf_fini(&entry);
	buf_fini(&names);
	rig_fini(&r);
	return 0;
}
