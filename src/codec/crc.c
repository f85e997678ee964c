/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C, by the instruction of the processor where there is one and by
 * tables otherwise.  The choice is made once.
 *
 * The tables are "slicing by 8": table[k][b] is the checksum of byte b with k
 * zero bytes behind it, so that eight bytes are folded with eight look-ups that
 * do not wait for each other.
 */
#include "codec/codec.h"

#include <pthread.h>

#if defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

#define POLYNOMIAL 0x82f63b78u /* 0x1edc6f41 with its bits reversed */

typedef uint32_t crc_function(uint32_t crc, const unsigned char *p, size_t n);

static uint32_t table[8][256];
static crc_function *chosen;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_tables(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t crc = b;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
		table[0][b] = crc;
	}
	for (uint32_t b = 0; b < 256; b++)
		for (int k = 1; k < 8; k++)
			table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 0xff];
}

static uint64_t load64(const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap64(v);
#endif
	return v;
}

static uint32_t crc_by_table(uint32_t crc, const unsigned char *p, size_t n)
{
	for (; n >= 8; p += 8, n -= 8) {
		uint64_t v = load64(p) ^ crc;
		crc = table[7][v & 0xff] ^ table[6][v >> 8 & 0xff] ^ table[5][v >> 16 & 0xff] ^
		      table[4][v >> 24 & 0xff] ^ table[3][v >> 32 & 0xff] ^
		      table[2][v >> 40 & 0xff] ^ table[1][v >> 48 & 0xff] ^ table[0][v >> 56];
	}
	for (; n; p++, n--)
		crc = crc >> 8 ^ table[0][(crc ^ *p) & 0xff];
	return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_by_sse42(
	uint32_t crc, const unsigned char *p, size_t n)
{
	uint64_t wide = crc;

	for (; n >= 8; p += 8, n -= 8)
		wide = __builtin_ia32_crc32di(wide, load64(p));
	crc = (uint32_t)wide;
	for (; n; p++, n--)
		crc = __builtin_ia32_crc32qi(crc, *p);
	return crc;
}
#elif defined(__ARM_FEATURE_CRC32)
static uint32_t crc_by_arm(uint32_t crc, const unsigned char *p, size_t n)
{
	for (; n >= 8; p += 8, n -= 8)
		crc = __crc32cd(crc, load64(p));
	for (; n; p++, n--)
		crc = __crc32cb(crc, *p);
	return crc;
}
#endif

static void choose(void)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2")) {
		chosen = crc_by_sse42;
		return;
	}
#elif defined(__ARM_FEATURE_CRC32)
	chosen = crc_by_arm;
	return;
#endif
	fill_tables();
	chosen = crc_by_table;
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
	pthread_once(&once, choose);
	return ~chosen(~crc, p, n);
}
