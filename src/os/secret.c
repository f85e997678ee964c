/* SPDX-License-Identifier: Apache-2.0 */
#include "os/secret.h"

int secret_read(const char *path, struct buf *out, struct error *e)
{
	struct buf text = {0};
	struct str rest, line;
	int r;

	/* One that grows leaves copies behind. */
	buf_reserve(&text, SECRET_MAX + 1);
	if ((r = fs_read_all(fs_real(), path, SECRET_MAX, &text, e)) == 0) {
		rest = buf_view(&text);
		line = str_cut(&rest, '\n');
		if (str_ends(line, STR("\r")))
			line.n--;
		buf_reserve(out, line.n + 1);
		buf_str(out, line);
	}
	secret_fini(&text);
	return r;
}

void secret_fini(struct buf *b)
{
	if (b->p)
		explicit_bzero(b->p, b->cap);
	buf_fini(b);
}
