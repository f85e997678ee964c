/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last number of each publisher, from a stop in order to the next start,
 * so that what was sent in between is told.  After a kill nothing is known,
 * and nothing told: what was read last and what was stored last may differ.
 * A file for each address, as that is what stays when the settings change:
 *
 *	u8 version, varint length, address; then for each publisher of it: varint length, key,
 *	varint number; then crc32c of all of it, 4 bytes, little endian
 */
#include "input/zeromq_input.h"

#include <endian.h>
#include <inttypes.h>

#include "base/hash.h"
#include "base/log.h"
#include "codec/codec.h"
#include "os/fs.h"

enum { VERSION = 1, FILE_BYTES_MAX = 16 << 20 };

static void file_path(const struct source *s, struct buf *out)
{
	buf_printf(out, "%s/numbers-%016" PRIx64, s->in->env->state_dir,
		hash_stable(str_c(s->address)));
}

static void put_text(struct buf *out, struct str s)
{
	varint_put(out, s.n);
	buf_str(out, s);
}

void zeromq_numbers_save(struct source *s)
{
	struct buf path = {0}, out = {0};
	const struct map_slot *slot;
	struct error e;
	size_t at = 0;
	uint32_t crc;

	if (s->numbers.n == 0)
		return;
	buf_char(&out, VERSION);
	put_text(&out, str_c(s->address));
	while ((slot = map_next(&s->numbers, &at)) && out.n < FILE_BYTES_MAX / 2) {
		put_text(&out, slot->key);
		varint_put(&out, slot->value.u);
	}
	crc = htole32(crc32c(0, out.p, out.n));
	buf_put(&out, &crc, sizeof crc);
	file_path(s, &path);
	if (fs_write_all(fs_real(), buf_cstr(&path), buf_view(&out), &e) < 0)
		log_warn("input", "zeromq: the numbers of publishers cannot be saved: %s", e.text);
	buf_fini(&path);
	buf_fini(&out);
}

static bool get_text(struct str *rest, struct str *out)
{
	uint64_t n;
	size_t used = varint_get(*rest, &n);

	if (used == 0 || n > rest->n - used)
		return false;
	*out = str_sub(*rest, used, used + (size_t)n);
	*rest = str_sub(*rest, used + (size_t)n, rest->n);
	return true;
}

static bool read_all(struct source *s, struct str bytes)
{
	struct str rest, address, key;
	uint64_t number;
	uint32_t crc;
	size_t used;
	bool added;

	if (bytes.n < 1 + sizeof crc || bytes.p[0] != VERSION)
		return false;
	memcpy(&crc, bytes.p + bytes.n - sizeof crc, sizeof crc);
	if (le32toh(crc) != crc32c(0, bytes.p, bytes.n - sizeof crc))
		return false;
	rest = str_sub(bytes, 1, bytes.n - sizeof crc);
	if (!get_text(&rest, &address))
		return false;
	while (rest.n && str_eq_c(address, s->address)) {
		if (!get_text(&rest, &key) || (used = varint_get(rest, &number)) == 0)
			return false;
		rest = str_sub(rest, used, rest.n);
		/* What a socket brought that was taken over is newer. */
		union map_value *v = map_put(&s->numbers, key, &added);
		if (added)
			v->u = number;
	}
	return true;
}

void zeromq_numbers_load(struct source *s)
{
	struct buf path = {0}, bytes = {0};
	struct error e;
	int r;

	file_path(s, &path);
	r = fs_read_all(fs_real(), buf_cstr(&path), FILE_BYTES_MAX, &bytes, &e);
	if (r == 0 && !read_all(s, buf_view(&bytes)))
		r = error_set(&e, ERR_CORRUPT, "%s: bad checksum", buf_cstr(&path));
	if (r < 0 && r != ERR_NOT_FOUND)
		log_warn("input", "zeromq: what was sent before this start cannot be told: %s",
			e.text);
	/* Good once: after a kill it would tell of what was taken. */
	if (r != ERR_NOT_FOUND)
		fs_unlink(fs_real(), buf_cstr(&path), NULL);
	buf_fini(&path);
	buf_fini(&bytes);
}
