/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

void hash_random(void *out, size_t n)
{
	char *p = out;

	/* Beyond 256 bytes a signal may cut it short. */
	while (n) {
		ssize_t got = getrandom(p, n, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			perror("sawlog: getrandom");
			abort();
		}
		p += got;
		n -= (size_t)got;
	}
}

uint64_t hash_stable(struct str s)
{
	return XXH3_64bits(s.p ? s.p : "", s.n);
}

void hash_stable_wide(uint64_t out[2], struct str s)
{
	XXH128_hash_t h = XXH3_128bits(s.p ? s.p : "", s.n);

	out[0] = h.low64;
	out[1] = h.high64;
}

static uint64_t key[2];

static void draw_key(void)
{
	hash_random(key, sizeof key);
}

static uint64_t rotl(uint64_t x, int by)
{
	return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

uint64_t hash_keyed(struct str s)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	uint64_t v[4], word;
	size_t i = 0;

	pthread_once(&once, draw_key);
	v[0] = key[0] ^ 0x736f6d6570736575;
	v[1] = key[1] ^ 0x646f72616e646f6d;
	v[2] = key[0] ^ 0x6c7967656e657261;
	v[3] = key[1] ^ 0x7465646279746573;
	for (; i + 8 <= s.n; i += 8) {
		memcpy(&word, s.p + i, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	word = (uint64_t)s.n << 56;
	for (size_t k = 0; i + k < s.n; k++)
		word |= (uint64_t)(unsigned char)s.p[i + k] << (8 * k);
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
