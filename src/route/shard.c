/* SPDX-License-Identifier: Apache-2.0 */
/* Which server a stream belongs to: pure arithmetic, the same in every router. */
#include <assert.h>

#include "base/buf.h"
#include "base/hash.h"
#include "route/route.h"

size_t shard_rendezvous(const struct str *servers, size_t n, struct str key)
{
	struct buf text = {0};
	uint64_t most = 0;
	size_t best = 0;

	assert(n > 0);
	for (size_t i = 0; i < n; i++) {
		uint64_t hash;

		/* No name of a server has a NUL: none is the beginning of another one and its key.
		 */
		buf_clear(&text);
		buf_str(&text, servers[i]);
		buf_char(&text, 0);
		buf_str(&text, key);
		hash = hash_stable(buf_view(&text));
		if (i == 0 || hash > most) {
			most = hash;
			best = i;
		}
	}
	buf_fini(&text);
	return best;
}

size_t shard_modulo(size_t n, struct str app)
{
	size_t rest = 0;

	assert(n > 0 && n <= SIZE_MAX >> 8);
	for (size_t i = 0; i < app.n; i++)
		rest = (rest << 8 | (unsigned char)app.p[i]) % n;
	return rest;
}
