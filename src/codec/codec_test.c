/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <snappy-c.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "base/lock.h"
#include "codec/crc.c"

static struct buf sample(size_t n)
{
	struct buf b = {0};
	uint64_t x = 88172645463325252ull;

	while (b.n < n) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		buf_printf(&b, "2026-08-21 request %llu took %llu ms\n",
			(unsigned long long)(x >> 40), (unsigned long long)(x & 0xff));
	}
	b.n = n;
	return b;
}

static void test_crc(void **state)
{
	unsigned char zeros[32] = {0}, ones[32], up[32];
	struct buf text = sample(5000);

	(void)state;
	memset(ones, 0xff, sizeof ones);
	for (unsigned i = 0; i < sizeof up; i++)
		up[i] = (unsigned char)i;
	/* RFC 3720, appendix B.4, in the byte order of a number. */
	assert_int_equal(crc32c(0, zeros, sizeof zeros), 0x8a9136aa);
	assert_int_equal(crc32c(0, ones, sizeof ones), 0x62a8ab43);
	assert_int_equal(crc32c(0, up, sizeof up), 0x46dd794e);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, NULL, 0), 0);
	for (size_t cut = 0; cut < 40; cut++)
		assert_int_equal(crc32c(crc32c(0, text.p, cut), text.p + cut, text.n - cut),
			crc32c(0, text.p, text.n));
	buf_fini(&text);
}

static void test_crc_tables(void **state)
{
	struct buf text = sample(4000);

	(void)state;
	fill_tables();
	for (size_t from = 0; from < 9; from++)
		for (size_t n = 0; n < 70; n++)
			assert_int_equal(~crc_by_table(~0u, (unsigned char *)text.p + from, n),
				crc32c(0, text.p + from, n));
	assert_int_equal(
		~crc_by_table(~0u, (unsigned char *)text.p, text.n), crc32c(0, text.p, text.n));
	buf_fini(&text);
}

static void test_varint(void **state)
{
	static const uint64_t values[] = {
		0, 1, 127, 128, 300, 16383, 16384, UINT32_MAX, INT64_MAX, UINT64_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		struct buf b = {0};
		uint64_t v = 7;
		varint_put(&b, values[i]);
		assert_int_equal(varint_get(buf_view(&b), &v), b.n);
		assert_true(v == values[i]);
		for (size_t cut = 0; cut < b.n; cut++)
			assert_int_equal(varint_get(str_make(b.p, cut), &v), 0);
		buf_char(&b, 'x'); /* what follows is not read */
		assert_int_equal(varint_get(buf_view(&b), &v), b.n - 1);
		buf_fini(&b);
	}
	uint64_t v;
	assert_int_equal(varint_get(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), &v), 0);
	assert_int_equal(varint_get(STR("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), &v), 0);
	assert_true(unzigzag(zigzag(INT64_MIN)) == INT64_MIN);
	assert_true(unzigzag(zigzag(-1)) == -1 && zigzag(-1) == 1 && zigzag(1) == 2);
}

static const size_t sizes[] = {0, 1, 100, 16383, 16384, 16385, 300000, 5 << 20};

static void test_zstd(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct buf in = sample(sizes[i]), packed = {0}, out = {0};
		struct error e;
		zstd_pack(&packed, buf_view(&in), 3);
		buf_c(&out, "head");
		assert_int_equal(zstd_unpack(&out, buf_view(&packed), in.n, &e), 0);
		assert_int_equal(out.n, in.n + 4);
		assert_true(str_eq(str_make(out.p + 4, in.n), buf_view(&in)));
		if (in.n) {
			out.n = 4;
			assert_int_equal(
				zstd_unpack(&out, buf_view(&packed), in.n - 1, &e), ERR_LIMIT);
			assert_int_equal(out.n, 4);
		}
		for (size_t cut = 0; cut < packed.n; cut += packed.n / 7 + 1)
			assert_int_equal(
				zstd_unpack(&out, str_make(packed.p, cut), in.n, &e), ERR_CORRUPT);
		assert_int_equal(out.n, in.n ? 4 : 4 + in.n);
		buf_fini(&in), buf_fini(&packed), buf_fini(&out);
	}
}

/* Columns are packed two ways: never larger than the one way. */
static void test_zstd_columns(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		for (int plane = 0; plane < 2; plane++) {
			struct buf in = sample(sizes[i]), packed = {0}, columns = {0}, out = {0};
			struct error e;
			for (size_t k = 0; plane && k < in.n; k++)
				in.p[k] = (char)(k * k >> 5 & (size_t)in.p[k]);
			buf_c(&columns, "head");
			zstd_pack(&packed, buf_view(&in), 3);
			zstd_pack_columns(&columns, buf_view(&in), 0, 3);
			assert_true(columns.n - 4 <= packed.n);
			assert_int_equal(
				zstd_unpack(
					&out, str_sub(buf_view(&columns), 4, columns.n), in.n, &e),
				0);
			assert_true(str_eq(buf_view(&out), buf_view(&in)));
			buf_fini(&in), buf_fini(&packed), buf_fini(&columns), buf_fini(&out);
		}
	}
}

/* Planes of any size come back, and unlike ones take less apart. */
static void test_zstd_planes(void **state)
{
	static const size_t planes[] = {1, 100, 1024, 5000, 70000, 1 << 20};

	(void)state;
	for (size_t i = 0; i < sizeof planes / sizeof planes[0]; i++) {
		struct buf in = {0}, apart = {0}, together = {0}, out = {0};
		struct error e;
		buf_c(&in, "head");
		for (uint32_t k = 0; k < 3 * planes[i]; k++) {
			uint32_t noise = k * 0x9e3779b9u >> 16;
			noise = noise * noise >> 7;
			buf_char(&in, (char)(k < planes[i] ? noise % 16 : 100 + noise % 128));
		}
		zstd_pack_columns(&apart, buf_view(&in), planes[i], 3);
		zstd_pack_columns(&together, buf_view(&in), in.n, 3);
		if (planes[i] >= 5000)
			assert_true(apart.n < together.n);
		assert_int_equal(zstd_unpack(&out, buf_view(&apart), in.n, &e), 0);
		assert_true(str_eq(buf_view(&out), buf_view(&in)));
		buf_fini(&in), buf_fini(&apart), buf_fini(&together), buf_fini(&out);
	}
}

/* A frame as a streaming sender makes it: its size is not in the header. */
static struct buf zstd_streamed(struct str in, int window_log)
{
	struct buf out = {0};
	ZSTD_CCtx *c = ZSTD_createCCtx();
	ZSTD_inBuffer from = {in.p, in.n, 0};
	size_t left;

	ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window_log);
	ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0);
	do {
		ZSTD_EndDirective how = from.pos < from.size / 2 ? ZSTD_e_flush : ZSTD_e_end;
		ZSTD_inBuffer half = {in.p, how == ZSTD_e_flush ? in.n / 2 : in.n, from.pos};
		ZSTD_outBuffer to = {buf_reserve(&out, 1000), 1000, 0};
		left = ZSTD_compressStream2(c, &to, &half, how);
		assert_false(ZSTD_isError(left));
		from.pos = half.pos;
		out.n += to.pos;
		if (how == ZSTD_e_flush)
			left = 1;
	} while (left);
	ZSTD_freeCCtx(c);
	return out;
}

static void test_zstd_stream(void **state)
{
	struct buf in = sample(700000), wide = zstd_streamed(buf_view(&in), 24), out = {0};
	struct buf packed = zstd_streamed(buf_view(&in), 20);
	struct error e;

	(void)state;
	assert_int_equal(zstd_unpack(&out, buf_view(&packed), in.n, &e), 0);
	assert_true(str_eq(buf_view(&out), buf_view(&in)));
	buf_clear(&out);
	assert_int_equal(zstd_unpack(&out, buf_view(&packed), in.n - 1, &e), ERR_LIMIT);
	assert_int_equal(out.n, 0);
	assert_int_equal(zstd_unpack(&out, buf_view(&packed), 0, &e), ERR_LIMIT);
	/* A window of 16 MiB is more than a peer may ask for. */
	assert_int_equal(zstd_unpack(&out, buf_view(&wide), in.n, &e), ERR_CORRUPT);
	/* Frames in a row are one content; anything else behind is not. */
	zstd_pack(&packed, buf_view(&in), 1);
	assert_int_equal(zstd_unpack(&out, buf_view(&packed), 2 * in.n, &e), 0);
	assert_int_equal(out.n, 2 * in.n);
	buf_clear(&out);
	assert_int_equal(zstd_unpack(&out, buf_view(&packed), 2 * in.n - 1, &e), ERR_LIMIT);
	buf_c(&packed, "junk");
	assert_int_equal(zstd_unpack(&out, buf_view(&packed), 3 * in.n, &e), ERR_CORRUPT);
	/* A claim that the bytes cannot hold: 1 TiB in a few bytes. */
	assert_int_equal(
		zstd_unpack(&out, STR("\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\1\0\0\1\0\0"), SIZE_MAX, &e),
		ERR_CORRUPT);
	assert_int_equal(out.n, 0);
	buf_fini(&in), buf_fini(&packed), buf_fini(&out), buf_fini(&wide);
}

static void test_lz4(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct buf in = sample(sizes[i]), packed = {0}, out = {0};
		struct error e;
		lz4_pack(&packed, buf_view(&in));
		assert_int_equal(lz4_unpack(&out, buf_view(&packed), in.n, &e), 0);
		assert_true(str_eq(buf_view(&out), buf_view(&in)));
		assert_int_equal(lz4_unpack(&out, buf_view(&packed), in.n + 1, &e), ERR_CORRUPT);
		assert_int_equal(out.n, in.n);
		if (in.n > 1)
			assert_int_equal(
				lz4_unpack(&out, buf_view(&packed), in.n - 1, &e), ERR_CORRUPT);
		buf_fini(&in), buf_fini(&packed), buf_fini(&out);
	}
	struct buf out = {0};
	assert_int_equal(lz4_unpack(&out, STR("abc"), 1 << 30, NULL), ERR_CORRUPT);
	assert_int_equal(lz4_unpack(&out, STR("abc"), (size_t)1 << 40, NULL), ERR_LIMIT);
	assert_int_equal(lz4_unpack(&out, STR_NONE, 1, NULL), ERR_CORRUPT);
	buf_fini(&out);
}

static void test_gzip(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct buf in = sample(sizes[i]), packed = {0}, out = {0};
		struct error e;
		size_t one;
		gzip_pack(&packed, buf_view(&in), 1 + (int)i % 9);
		one = packed.n;
		buf_c(&out, "head");
		assert_int_equal(gzip_unpack(&out, buf_view(&packed), in.n, &e), 0);
		assert_true(str_eq(str_make(out.p + 4, out.n - 4), buf_view(&in)));
		out.n = 4;
		if (in.n)
			assert_int_equal(
				gzip_unpack(&out, buf_view(&packed), in.n - 1, &e), ERR_LIMIT);
		for (size_t cut = 0; cut < packed.n; cut += packed.n / 7 + 1)
			assert_int_equal(
				gzip_unpack(&out, str_make(packed.p, cut), in.n, &e), ERR_CORRUPT);
		/* A second member, then padding, then junk. */
		gzip_pack(&packed, buf_view(&in), 6);
		assert_int_equal(gzip_unpack(&out, buf_view(&packed), 2 * in.n, &e), 0);
		assert_int_equal(out.n, 4 + 2 * in.n);
		out.n = 4;
		buf_put(&packed, "\0\0\0", 3);
		assert_int_equal(gzip_unpack(&out, buf_view(&packed), 2 * in.n, &e), 0);
		out.n = 4;
		buf_c(&packed, "x");
		assert_int_equal(gzip_unpack(&out, buf_view(&packed), 2 * in.n, &e), ERR_CORRUPT);
		packed.p[one / 2] ^= 0x40;
		assert_true(gzip_unpack(&out, str_make(packed.p, one), in.n, &e) < 0);
		assert_int_equal(out.n, 4);
		buf_fini(&in), buf_fini(&packed), buf_fini(&out);
	}
}

static void test_zlib(void **state)
{
	struct buf in = sample(50000), out = {0};
	uLongf n = compressBound(in.n);
	unsigned char *packed = malloc(n);
	struct error e;

	(void)state;
	assert_int_equal(compress(packed, &n, (unsigned char *)in.p, in.n), Z_OK);
	assert_int_equal(gzip_unpack(&out, str_make(packed, n), in.n, &e), 0);
	assert_true(str_eq(buf_view(&out), buf_view(&in)));
	assert_int_equal(gzip_unpack(&out, STR("not compressed"), 1000, &e), ERR_CORRUPT);
	assert_int_equal(out.n, in.n);
	free(packed);
	buf_fini(&in), buf_fini(&out);
}

static void *pack_in_thread(void *arg)
{
	struct buf *in = arg, packed = {0}, out = {0};

	for (int i = 0; i < 20; i++) {
		buf_clear(&packed), buf_clear(&out);
		zstd_pack(&packed, buf_view(in), 1);
		if (zstd_unpack(&out, buf_view(&packed), in->n, NULL) < 0)
			abort();
		buf_clear(&packed), buf_clear(&out);
		gzip_pack(&packed, buf_view(in), 1);
		if (gzip_unpack(&out, buf_view(&packed), in->n, NULL) < 0 || out.n != in->n)
			abort();
	}
	buf_fini(&packed), buf_fini(&out);
	return NULL;
}

static void test_snappy(void **state)
{
	struct buf out = {0};
	struct error e;
	size_t length;

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct buf in = sample(sizes[i]), packed = {0};
		size_t n = snappy_max_compressed_length(in.n);

		buf_clear(&out);
		assert_int_equal(
			snappy_compress(in.n ? in.p : "", in.n, buf_reserve(&packed, n), &n), 0);
		packed.n = n;
		assert_int_equal(snappy_length(buf_view(&packed), &length, &e), 0);
		assert_int_equal(length, in.n);
		assert_int_equal(snappy_unpack(&out, buf_view(&packed), in.n, &e), 0);
		assert_true(str_eq(buf_view(&out), buf_view(&in)));
		if (in.n > 0) {
			assert_int_equal(
				snappy_unpack(&out, buf_view(&packed), in.n - 1, &e), ERR_LIMIT);
			assert_int_equal(
				snappy_unpack(&out, str_sub(buf_view(&packed), 0, n - 1), in.n, &e),
				ERR_CORRUPT);
		}
		assert_int_equal(out.n, in.n);
		buf_fini(&in), buf_fini(&packed);
	}
	/* A claim of 4 GiB in 6 bytes costs nothing. */
	assert_int_equal(
		snappy_unpack(&out, STR("\xff\xff\xff\xff\x0f\x00"), SIZE_MAX, &e), ERR_CORRUPT);
	assert_string_equal(e.text, "snappy: 6 bytes cannot hold the 4294967295 they claim");
	assert_int_equal(snappy_unpack(&out, STR_NONE, 100, &e), ERR_CORRUPT);
	assert_int_equal(snappy_unpack(&out, STR("\x80"), 100, &e), ERR_CORRUPT);
	buf_fini(&out);
}

/* Each thread has its own contexts and leaves none behind. */
static void test_threads(void **state)
{
	struct buf in = sample(20000);
	pthread_t threads[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		threads[i] = thread_start("pack", pack_in_thread, &in);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	buf_fini(&in);
}

/* The vectors of RFC 4648, section 10, and what is no base64. */
static void test_base64(void **state)
{
	static const char *const vectors[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="},
		{"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"}, {"\xff\xfb\xbf", "//u/"}};
	static const char *const bad[] = {
		"Z", "Zg", "Zg=", "=", "Z===", "Zm9v=", "Zg==Zg==", "Zm 8"};
	struct buf out = {0};

	for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
		buf_clear(&out);
		base64_put(&out, str_c(vectors[i][0]));
		assert_string_equal(buf_cstr(&out), vectors[i][1]);
		buf_clear(&out);
		assert_true(base64_get(&out, str_c(vectors[i][1])));
		assert_string_equal(buf_cstr(&out), vectors[i][0]);
	}
	buf_clear(&out);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(base64_get(&out, str_c(bad[i])));
	assert_int_equal(out.n, 0);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc),
		cmocka_unit_test(test_crc_tables),
		cmocka_unit_test(test_varint),
		cmocka_unit_test(test_zstd),
		cmocka_unit_test(test_zstd_columns),
		cmocka_unit_test(test_zstd_planes),
		cmocka_unit_test(test_zstd_stream),
		cmocka_unit_test(test_lz4),
		cmocka_unit_test(test_gzip),
		cmocka_unit_test(test_zlib),
		cmocka_unit_test(test_snappy),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
