/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/unpacker.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/memory.h"

enum {
	GZIP_ONLY = 15 + 16,
	WINDOW_LOG_MAX = 27, /* what zstd itself unpacks without being told to */
};

struct unpacker {
	enum unpacker_kind kind;
	z_stream z;
	ZSTD_DCtx *d;
	bool began, inside; /* of a member or frame */
	bool padding;       /* what follows the last gzip member is none */
};

enum unpacker_kind unpacker_kind_of(struct str head)
{
	if (str_starts(head, STR("\x1f\x8b")))
		return UNPACKER_GZIP;
	return str_starts(head, STR("\x28\xb5\x2f\xfd")) ? UNPACKER_ZSTD : UNPACKER_PLAIN;
}

struct unpacker *unpacker_new(enum unpacker_kind kind)
{
	struct unpacker *u = xcalloc(1, sizeof *u);

	u->kind = kind;
	if (kind == UNPACKER_GZIP && inflateInit2(&u->z, GZIP_ONLY) != Z_OK)
		abort();
	if (kind == UNPACKER_ZSTD) {
		if (!(u->d = ZSTD_createDCtx()))
			abort();
		ZSTD_DCtx_setParameter(u->d, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	}
	return u;
}

void unpacker_free(struct unpacker *u)
{
	if (!u)
		return;
	if (u->kind == UNPACKER_GZIP)
		inflateEnd(&u->z);
	ZSTD_freeDCtx(u->d);
	free(u);
}

static struct str skip(struct str s, size_t n)
{
	return str_make(s.p + n, s.n - n);
}

static int gzip_some(
	struct unpacker *u, struct str *in, char *out, size_t n, size_t *got, struct error *e)
{
	size_t in_n = in->n < UINT32_MAX ? in->n : UINT32_MAX;
	int r;

	/* Behind the first member, what does not begin another is padding. */
	if (!u->inside && u->began && in->p[0] != '\x1f')
		u->padding = true;
	if (u->padding) {
		*in = STR_NONE;
		return 0;
	}
	u->began = u->inside = true;
	u->z.next_in = (Bytef *)(uintptr_t)in->p;
	u->z.avail_in = (uInt)in_n;
	u->z.next_out = (Bytef *)out;
	u->z.avail_out = (uInt)n;
	r = inflate(&u->z, Z_NO_FLUSH);
	*in = skip(*in, in_n - u->z.avail_in);
	*got = n - u->z.avail_out;
	if (r == Z_STREAM_END) {
		u->inside = false;
		inflateReset(&u->z);
		return 0;
	}
	if (r == Z_OK || r == Z_BUF_ERROR)
		return 0;
	return error_set(e, ERR_CORRUPT, "gzip: %s", u->z.msg ? u->z.msg : "damaged");
}

static int zstd_some(
	struct unpacker *u, struct str *in, char *out, size_t n, size_t *got, struct error *e)
{
	ZSTD_inBuffer from = {in->p, in->n, 0};
	ZSTD_outBuffer to = {out, n, 0};
	size_t r = ZSTD_decompressStream(u->d, &to, &from);

	*in = skip(*in, from.pos);
	*got = to.pos;
	if (ZSTD_isError(r))
		return error_set(e, ERR_CORRUPT, "zstd: %s", ZSTD_getErrorName(r));
	u->inside = r != 0;
	return 0;
}

static int plain_some(struct str *in, char *out, size_t n, size_t *got)
{
	*got = in->n < n ? in->n : n;
	memcpy(out, in->p, *got);
	*in = skip(*in, *got);
	return 0;
}

int unpacker_some(
	struct unpacker *u, struct str *in, char *out, size_t n, size_t *got, struct error *e)
{
	n = n < UINT32_MAX ? n : UINT32_MAX;
	*got = 0;
	/* A window may hold what was unpacked already: zstd is asked without input, too. */
	if (n == 0 || (in->n == 0 && !(u->kind == UNPACKER_ZSTD && u->inside)))
		return 0;
	switch (u->kind) {
	case UNPACKER_GZIP: return gzip_some(u, in, out, n, got, e);
	case UNPACKER_ZSTD: return zstd_some(u, in, out, n, got, e);
	case UNPACKER_PLAIN: break;
	}
	return plain_some(in, out, n, got);
}

bool unpacker_whole(const struct unpacker *u)
{
	return !u->inside;
}
