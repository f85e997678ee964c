/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/roff.h"

static const struct str dots = STR_INIT("…");

void roff_put(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool at_start = out->n == 0 || out->p[out->n - 1] == '\n';

		if (at_start && (c == '.' || c == '\''))
			buf_c(out, "\\&");
		if (c == '\\') {
			buf_c(out, "\\e");
		} else if (c == '-') {
			buf_c(out, "\\-");
		} else if (str_starts(str_sub(s, i, s.n), dots)) {
			buf_c(out, "\\&...");
			i += dots.n - 1;
		} else {
			buf_char(out, c);
		}
	}
}
