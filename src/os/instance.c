/* SPDX-License-Identifier: Apache-2.0 */
#include "os/instance.h"

#include <stdio.h>

#include "base/hash.h"

enum { FILE_MAX = 64 };

static bool is_id(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
			return false;
	return s.n == INSTANCE_ID_SIZE - 1;
}

static int make(struct fs *fs, const char *path, char *out, struct error *e)
{
	struct buf text = {0};
	uint64_t number;
	int r;

	hash_random(&number, sizeof number);
	snprintf(out, INSTANCE_ID_SIZE, "%016llx", (unsigned long long)number);
	buf_printf(&text, "%s\n", out);
	r = fs_write_all(fs, path, buf_view(&text), e);
	buf_fini(&text);
	return r;
}

int instance_id(struct fs *fs, const char *dir, char out[INSTANCE_ID_SIZE], struct error *e)
{
	struct buf path = {0}, text = {0};
	struct str id;
	int r;

	buf_printf(&path, "%s/instance", dir);
	r = fs_read_all(fs, buf_cstr(&path), FILE_MAX, &text, e);
	id = str_trim(buf_view(&text));
	if (r == ERR_NOT_FOUND)
		r = make(fs, buf_cstr(&path), out, e);
	else if (r == 0 && is_id(id))
		str_copy(id, out, INSTANCE_ID_SIZE);
	else if (r == 0)
		r = error_set(e, ERR_CORRUPT,
			"%s does not hold 16 hex digits: remove it, and this server is taken for "
			"another one from then on",
			buf_cstr(&path));
	buf_fini(&path);
	buf_fini(&text);
	return r;
}
