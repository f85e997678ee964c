/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zstd, LZ4, gzip and snappy over whole buffers.
 *
 * Setting up a compressor costs more than packing a small block with it, so
 * each thread keeps one of each kind it has used, until the thread ends.
 *
 * Output is sized by what the input can honestly hold: a frame that claims
 * more than its blocks could produce is refused before memory is reserved, and
 * without a claim the output grows as it is filled, up to the limit.  On any
 * failure `out` has its old length.
 */
#include "codec/codec.h"

#include <lz4.h>
#include <pthread.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "base/memory.h"

enum {
	ZSTD_LEVEL_MAX = 19,        /* beyond it the window passes 8 MiB */
	ZSTD_WINDOW_LOG = 23,       /* 8 MiB, what RFC 8878 asks every decoder to have */
	ZSTD_BLOCK_BYTES = 1 << 17, /* most that one block of at least 4 bytes decodes to */
	/* Bytes of the shortest match that is worth its place among bytes of columns: with 7 the
	 * fastest level is smaller than level 3 on half of them. */
	ZSTD_MATCH_MIN = 7,
	/* Smaller planes do not pay for a block with codes of its own. */
	ZSTD_PLANE_MIN = 1 << 10,
	ZSTD_BLOCK_HEAD = 8,   /* bytes of a block besides its content, at most */
	ZSTD_LEVEL_ONCE = 3,   /* where speed counts: a second try saves 1 % */
	LZ4_RATIO_MAX = 255,   /* one input byte stands for at most so many */
	SNAPPY_RATIO_MAX = 22, /* a copy of 3 bytes stands for at most 64 */
	GROW_MIN = 16 << 10,
	GZIP_DETECT = 15 + 32, /* window bits: zlib or gzip by the header */
	GZIP_WRAP = 15 + 16,
	KEEP_BYTES = 8 << 20, /* a context that has grown beyond is not kept */
};

/* What a thread keeps. */
struct contexts {
	ZSTD_CCtx *zstd_pack;
	ZSTD_DCtx *zstd_unpack;
	z_stream *inflate;
	z_stream *deflate;
	int deflate_level;
};

static _Thread_local struct contexts *mine;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void contexts_free(void *p)
{
	struct contexts *c = p;

	ZSTD_freeCCtx(c->zstd_pack);
	ZSTD_freeDCtx(c->zstd_unpack);
	if (c->inflate)
		inflateEnd(c->inflate);
	if (c->deflate)
		deflateEnd(c->deflate);
	free(c->inflate);
	free(c->deflate);
	free(c);
	mine = NULL;
}

static void make_key(void)
{
	if (pthread_key_create(&key, contexts_free) != 0)
		abort();
}

static struct contexts *contexts(void)
{
	if (!mine) {
		pthread_once(&once, make_key);
		mine = xcalloc(1, sizeof *mine);
		if (pthread_setspecific(key, mine) != 0)
			abort();
	}
	return mine;
}

/* The libraries allocate a fixed small amount for a context: without it nothing goes on. */
static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

/* The compressor of this thread. */
static ZSTD_CCtx *compressor(void)
{
	struct contexts *c = contexts();

	if (!c->zstd_pack)
		c->zstd_pack = must(ZSTD_createCCtx());
	return c->zstd_pack;
}

/* Count what a compressor wrote; one that has grown large is not kept. */
static void packed(struct buf *out, size_t n)
{
	if (ZSTD_isError(n))
		abort(); /* the room is the bound, so only memory can be short */
	out->n += n;
	if (ZSTD_sizeof_CCtx(mine->zstd_pack) > KEEP_BYTES) {
		ZSTD_freeCCtx(mine->zstd_pack);
		mine->zstd_pack = NULL;
	}
}

void zstd_pack(struct buf *out, struct str in, int level)
{
	size_t bound = ZSTD_compressBound(in.n);

	if (level > ZSTD_LEVEL_MAX)
		level = ZSTD_LEVEL_MAX;
	packed(out,
		ZSTD_compressCCtx(compressor(), buf_reserve(out, bound), bound, in.p, in.n, level));
}

/* Pack without short matches; bytes of one plane share their codes with no other. */
static void pack_planes(struct buf *out, struct str in, size_t plane)
{
	size_t bound = ZSTD_compressBound(in.n), left;
	ZSTD_CCtx *c = compressor();
	ZSTD_inBuffer from = {in.p, 0, 0};
	ZSTD_outBuffer to = {NULL, 0, 0};

	if (plane >= ZSTD_PLANE_MIN)
		bound += in.n / plane * ZSTD_BLOCK_HEAD;
	to = (ZSTD_outBuffer){buf_reserve(out, bound), bound, 0};
	/* ZSTD_compressCCtx does not look at parameters, so they need not be taken back. */
	ZSTD_CCtx_reset(c, ZSTD_reset_session_and_parameters);
	ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, 1);
	ZSTD_CCtx_setParameter(c, ZSTD_c_minMatch, ZSTD_MATCH_MIN);
	ZSTD_CCtx_setPledgedSrcSize(c, in.n);
	from.size = plane >= ZSTD_PLANE_MIN ? in.n % plane : in.n;
	for (; from.size < in.n; from.size += plane) {
		left = ZSTD_compressStream2(c, &to, &from, ZSTD_e_flush);
		if (left != 0)
			abort(); /* the room is the bound, so only memory can be short */
	}
	left = ZSTD_compressStream2(c, &to, &from, ZSTD_e_end);
	packed(out, left ? (size_t)-1 : to.pos);
}

void zstd_pack_columns(struct buf *out, struct str in, size_t plane, int level)
{
	size_t start = out->n, middle;

	pack_planes(out, in, plane);
	if (plane && level <= ZSTD_LEVEL_ONCE)
		return;
	middle = out->n;
	zstd_pack(out, in, level);
	if (out->n - middle < middle - start) {
		memmove(out->p + start, out->p + middle, out->n - middle);
		out->n = start + (out->n - middle);
	} else {
		out->n = middle;
	}
}

/* A frame that says its content's size: decode straight into place. */
static int unpack_sized(struct buf *out, struct str frame, uint64_t size, struct error *e)
{
	size_t n;

	if (size / ZSTD_BLOCK_BYTES > frame.n / 4)
		return error_set(e, ERR_CORRUPT, "zstd: %zu bytes cannot hold %llu", frame.n,
			(unsigned long long)size);
	n = ZSTD_decompressDCtx(mine->zstd_unpack, buf_reserve(out, (size_t)size + 1), (size_t)size,
		frame.p, frame.n);
	if (ZSTD_isError(n))
		return error_set(e, ERR_CORRUPT, "zstd: %s", ZSTD_getErrorName(n));
	out->n += n;
	return 0;
}

/* A frame without a size: grow as it comes.  `end` is the largest out->n. */
static int unpack_stream(struct buf *out, struct str frame, size_t end, struct error *e)
{
	ZSTD_DCtx *d = mine->zstd_unpack;
	ZSTD_inBuffer in = {frame.p, frame.n, 0};
	size_t chunk = GROW_MIN, r;

	ZSTD_DCtx_reset(d, ZSTD_reset_session_only);
	do {
		/* One byte beyond the limit tells "just full" from "too large". */
		size_t room = end - out->n + 1 < chunk ? end - out->n + 1 : chunk;
		ZSTD_outBuffer to = {buf_reserve(out, room), room, 0};
		r = ZSTD_decompressStream(d, &to, &in);
		if (ZSTD_isError(r))
			return error_set(e, ERR_CORRUPT, "zstd: %s", ZSTD_getErrorName(r));
		out->n += to.pos;
		if (out->n > end)
			return ERR_LIMIT;
		if (r != 0 && to.pos < to.size && in.pos == in.size)
			return error_set(e, ERR_CORRUPT, "zstd: the frame is cut short");
		chunk = chunk < (4 << 20) ? chunk * 2 : chunk;
	} while (r != 0);
	return 0;
}

static int unpack_frame(struct buf *out, struct str frame, size_t end, struct error *e)
{
	unsigned long long size = ZSTD_getFrameContentSize(frame.p, frame.n);

	if (size == ZSTD_CONTENTSIZE_ERROR)
		return error_set(e, ERR_CORRUPT, "zstd: the frame's header is damaged");
	if (size == ZSTD_CONTENTSIZE_UNKNOWN)
		return unpack_stream(out, frame, end, e);
	return size > end - out->n ? ERR_LIMIT : unpack_sized(out, frame, size, e);
}

int zstd_unpack(struct buf *out, struct str in, size_t limit, struct error *e)
{
	struct contexts *c = contexts();
	size_t start = out->n, end = start + limit < start ? SIZE_MAX - 1 : start + limit;
	int r = in.n ? 0 : error_set(e, ERR_CORRUPT, "zstd: no bytes");

	if (!c->zstd_unpack) {
		c->zstd_unpack = must(ZSTD_createDCtx());
		ZSTD_DCtx_setParameter(c->zstd_unpack, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
	}
	while (r == 0 && in.n) {
		size_t n = ZSTD_findFrameCompressedSize(in.p, in.n);
		if (ZSTD_isError(n)) {
			r = error_set(e, ERR_CORRUPT, "zstd: %s", ZSTD_getErrorName(n));
			break;
		}
		r = unpack_frame(out, str_make(in.p, n), end, e);
		in = str_make(in.p + n, in.n - n);
	}
	if (r < 0)
		out->n = start;
	if (ZSTD_sizeof_DCtx(c->zstd_unpack) > KEEP_BYTES / 8) { /* a window of streaming */
		ZSTD_freeDCtx(c->zstd_unpack);
		c->zstd_unpack = NULL;
	}
	return r == ERR_LIMIT ? error_set(e, r, "zstd: the content is over %zu bytes", limit) : r;
}

void lz4_pack(struct buf *out, struct str in)
{
	int bound, n;

	if (in.n > LZ4_MAX_INPUT_SIZE)
		abort(); /* callers pack blocks; 2 GiB is none */
	bound = LZ4_compressBound((int)in.n);
	n = LZ4_compress_default(
		in.n ? in.p : "", buf_reserve(out, (size_t)bound), (int)in.n, bound);
	if (n <= 0)
		abort();
	out->n += (size_t)n;
}

int lz4_unpack(struct buf *out, struct str in, size_t exact, struct error *e)
{
	int n;

	if (in.n > INT32_MAX || exact > INT32_MAX)
		return error_set(e, ERR_LIMIT, "lz4: a block is at most 2 GiB");
	if (exact / LZ4_RATIO_MAX > in.n)
		return error_set(e, ERR_CORRUPT, "lz4: %zu bytes cannot hold %zu", in.n, exact);
	n = LZ4_decompress_safe(
		in.n ? in.p : "", buf_reserve(out, exact + 1), (int)in.n, (int)exact);
	if (n < 0 || (size_t)n != exact)
		return error_set(
			e, ERR_CORRUPT, "lz4: the block is damaged or not of %zu bytes", exact);
	out->n += exact;
	return 0;
}

static void set_input(z_stream *z, struct str in)
{
	z->next_in = (Bytef *)(uintptr_t)in.p;
	z->avail_in = (uInt)in.n;
}

/* Inflate one member from *in, which moves behind it.  `end` is the largest out->n. */
static int inflate_member(struct buf *out, z_stream *z, struct str *in, size_t end, struct error *e)
{
	size_t chunk = GROW_MIN;
	int r = Z_OK;

	while (r != Z_STREAM_END) {
		size_t room = end - out->n + 1 < chunk ? end - out->n + 1 : chunk;
		size_t part = in->n < 1 << 30 ? in->n : 1 << 30; /* avail_in has 32 bits */
		z->next_out = (Bytef *)buf_reserve(out, room);
		z->avail_out = (uInt)room;
		set_input(z, str_make(in->p, part));
		r = inflate(z, Z_NO_FLUSH);
		out->n += room - z->avail_out;
		in->p += part - z->avail_in;
		in->n -= part - z->avail_in;
		if (out->n > end)
			return ERR_LIMIT;
		if (r == Z_BUF_ERROR || (r == Z_OK && in->n == 0 && z->avail_out))
			return error_set(e, ERR_CORRUPT, "gzip: the stream is cut short");
		if (r != Z_OK && r != Z_STREAM_END)
			return error_set(e, ERR_CORRUPT, "gzip: %s",
				z->msg             ? z->msg
				: r == Z_NEED_DICT ? "needs a dictionary"
						   : "damaged");
		chunk = chunk < (4 << 20) ? chunk * 2 : chunk;
	}
	return 0;
}

/* What may follow a member besides another: zero bytes, as tape and block writers pad. */
static bool is_padding(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i])
			return false;
	return true;
}

int gzip_unpack(struct buf *out, struct str in, size_t limit, struct error *e)
{
	struct contexts *c = contexts();
	size_t start = out->n, end = start + limit < start ? SIZE_MAX - 1 : start + limit;
	bool members = str_starts(in, STR("\x1f\x8b"));
	int r;

	if (in.n == 0)
		return error_set(e, ERR_CORRUPT, "gzip: no bytes");
	if (!c->inflate) {
		c->inflate = xcalloc(1, sizeof *c->inflate);
		if (inflateInit2(c->inflate, GZIP_DETECT) != Z_OK)
			abort();
	}
	do {
		inflateReset2(c->inflate, GZIP_DETECT);
		r = inflate_member(out, c->inflate, &in, end, e);
	} while (r == 0 && members && str_starts(in, STR("\x1f\x8b")));
	if (r == 0 && !is_padding(in))
		r = error_set(e, ERR_CORRUPT, "gzip: %zu bytes too many at the end", in.n);
	if (r < 0)
		out->n = start;
	return r == ERR_LIMIT ? error_set(e, r, "gzip: the content is over %zu bytes", limit) : r;
}

static z_stream *deflater(int level)
{
	struct contexts *c = contexts();

	if (c->deflate && c->deflate_level != level) {
		deflateEnd(c->deflate);
		free(c->deflate);
		c->deflate = NULL;
	}
	if (!c->deflate) {
		c->deflate = xcalloc(1, sizeof *c->deflate);
		if (deflateInit2(c->deflate, level, Z_DEFLATED, GZIP_WRAP, 8, Z_DEFAULT_STRATEGY) !=
			Z_OK)
			abort();
		c->deflate_level = level;
	}
	deflateReset(c->deflate);
	return c->deflate;
}

void gzip_pack(struct buf *out, struct str in, int level)
{
	z_stream *z = deflater(level < 1 ? 1 : level > 9 ? 9 : level);
	int r;

	if (!in.p)
		in.p = "";
	do {
		size_t part = in.n < 1 << 30 ? in.n : 1 << 30;
		size_t room = GROW_MIN + part / 4;
		z->next_out = (Bytef *)buf_reserve(out, room);
		z->avail_out = (uInt)room;
		set_input(z, str_make(in.p, part));
		r = deflate(z, part == in.n ? Z_FINISH : Z_NO_FLUSH);
		out->n += room - z->avail_out;
		in = str_make(in.p + (part - z->avail_in), in.n - (part - z->avail_in));
	} while (r == Z_OK || r == Z_BUF_ERROR);
	if (r != Z_STREAM_END)
		abort();
}

int snappy_length(struct str in, size_t *out, struct error *e)
{
	size_t n;

	if (in.n == 0 || snappy_uncompressed_length(in.p, in.n, &n) != SNAPPY_OK)
		return error_set(e, ERR_CORRUPT, "snappy: no block of it");
	if (n / SNAPPY_RATIO_MAX > in.n)
		return error_set(e, ERR_CORRUPT, "snappy: %zu bytes cannot hold the %zu they claim",
			in.n, n);
	*out = n;
	return 0;
}

int snappy_unpack(struct buf *out, struct str in, size_t limit, struct error *e)
{
	size_t n;
	int r;

	if ((r = snappy_length(in, &n, e)) < 0)
		return r;
	if (n > limit)
		return error_set(e, ERR_LIMIT, "snappy: the content is over %zu bytes: it has %zu",
			limit, n);
	if (snappy_uncompress(in.p, in.n, buf_reserve(out, n + 1), &n) != SNAPPY_OK)
		return error_set(e, ERR_CORRUPT, "snappy: the block is damaged");
	out->n += n;
	return 0;
}
